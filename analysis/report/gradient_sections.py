"""Sections about the gradient on its way back: how it grows, and which loss scales keep it in range."""

from __future__ import annotations

import math
from collections import Counter

import floatemu as fe

from ..dynamics import Growth, Interval
from .content import MOST_NODES, Content
from .figure_parts import BLUE, GREEN, GREY, ORANGE, POWER, RED, Figure, axis, frame, log, safe
from .markup import Column, cell, escape, plot, table, wide

__all__ = ["growth", "growth_figure", "loss_scale", "scale_figure"]

MOST_TENSORS = 10
MANY_TICKS = 60


def _format(content: Content) -> fe.Format | None:
    """The format that most results of the backward pass are rounded to."""
    counts: Counter[str] = Counter()
    formats = {}
    for node in content.found.tape.nodes:
        fmt = content.format(node.id)
        if node.direction == "backward" and fmt is not None:
            counts[fmt.name] += 1
            formats[fmt.name] = fmt
    return formats[counts.most_common(1)[0][0]] if counts else None


def growth(content: Content, prefix: str) -> str:
    """Return how the gradient grows from stage to stage, and where that rate leads."""
    title = "<h3>Growth of the gradient</h3>"
    if isinstance(content.growth, str):
        return f'{title}<p class="empty">Not measured: {escape(content.growth)}.</p>'
    exact, emulated = content.growth["exact"], content.growth["emulated"]
    caption = "Norm of the gradient of the loss at each stage, in the order in which it travels."
    columns = (
        Column("run"),
        Column("factor per stage", "geometric mean of the factors of the norm", numeric=True),
        Column("Lyapunov exponents", "mean of ln of the factors of orthonormal directions, per stage", numeric=True),
        Column("largest element at the start", numeric=True),
    )
    rows = [
        (name, cell(part.rate, 4), ", ".join(cell(x) for x in part.exponents) or "–", cell(part.amax))
        for name, part in (("exact", exact), ("emulated", emulated))
    ]
    return (
        f"{title}<p>{escape(_leads_to(exact, _format(content)))}</p>"
        f"{wide(table(columns, rows, 'Growth per stage'))}{plot(f'{prefix}-growth', caption)}"
    )


def _leads_to(exact: Growth, fmt: fe.Format | None) -> str:
    rate = exact.rate
    if not math.isfinite(rate) or not rate:
        return "The exact gradient has no rate of growth: its norm is zero or not finite somewhere."
    moves = "grows" if rate > 1 else "shrinks" if rate < 1 else "stays as it is"
    words = f"The exact gradient {moves} by a factor of {cell(rate, 4)} per stage"
    if fmt is None:
        return f"{words}; nothing of the backward pass is rounded."
    crossings = (
        (exact.overflow_stage(fmt), f"its largest element overflows {fmt.name}"),
        (exact.underflow_stage(fmt), f"even its largest element rounds to zero in {fmt.name}"),
    )
    reached = [f"at that rate {what} after {stage} stages" for stage, what in crossings if stage is not None]
    return f"{words}; {' and '.join(reached) or f'at that rate it never leaves the range of {fmt.name}'}."


def growth_figure(content: Content) -> Figure | None:
    """Return the norms of the gradient, exact and emulated; None where there are none.

    Parameters
    ----------
    content : Content

    Returns
    -------
    dict or None
    """
    if isinstance(content.growth, str):
        return None
    stages = content.growth["exact"].stages
    step = -(-len(stages) // MANY_TICKS)
    places = list(range(0, len(stages), step))
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(stages) < 150 else "lines",
            "name": name,
            "x": list(range(len(part.norms))),
            "y": [log(norm) for norm in part.norms],
            "line": {"color": colour, "width": width, "dash": dash},
            "hovertext": [safe(stage) for stage in part.stages],
            "hovertemplate": f"%{{hovertext}}<br>{name}: 2<sup>%{{y:.2f}}</sup><extra></extra>",
        }
        for (name, part), colour, width, dash in zip(
            content.growth.items(), (GREY, ORANGE), (4, 1.6), ("solid", "solid")
        )
    ]
    across = axis(
        "stage, from the loss backward",
        tickmode="array",
        tickvals=places,
        ticktext=[safe(stages[place], 24) for place in places],
        tickangle=-90 if len(stages) > 8 else 0,
    )
    up = axis("norm of the gradient (log<sub>2</sub> axis)", **POWER)
    return {"data": traces, "layout": frame(320, xaxis=across, yaxis=up)}


def loss_scale(content: Content, prefix: str) -> str:
    """Return the loss scales that keep every gradient in range, or the two tensors that conflict."""
    title = "<h3>Loss scale</h3>"
    scale = content.loss_scale
    if isinstance(scale, str):
        return f'{title}<p class="empty">Not measured: {escape(scale)}.</p>'
    if scale.nonfinite:
        named = escape(", ".join(scale.nonfinite[:3]) + (" …" if len(scale.nonfinite) > 3 else ""))
        return f'{title}<p class="empty">None fits: {named} held an infinity or NaN even in exact arithmetic.</p>'
    if not scale.intervals:
        return f'{title}<p class="empty">No result of the backward pass is rounded, so every loss scale is as good.</p>'
    if scale.feasible:
        said = (
            f"Loss scales from 2^{scale.low} to 2^{scale.high} keep every rounded tensor of the backward pass in range."
        )
    else:
        high, low = scale.conflict
        said = (
            f"No loss scale keeps every tensor in range: {high.label} needs at least 2^{high.low}, "
            f"{low.label} bears at most 2^{low.high}."
        )
    ordered = sorted(scale.intervals, key=lambda part: part.high - part.low)[:MOST_TENSORS]
    columns = (
        Column("tensor"),
        Column("format"),
        Column("least scale", "below it more than the allowed share is lost", numeric=True),
        Column("greatest scale", "above it the largest element overflows", numeric=True),
    )
    rows = [(escape(part.label), escape(part.format), _power(part.low), _power(part.high)) for part in ordered]
    most = f" (the {MOST_NODES} narrowest)" if len(scale.intervals) > MOST_NODES else ""
    caption = (
        f"Loss scales that keep each rounded tensor of the backward pass{most} in range; green: those that suit all."
    )
    listing = table(columns, rows, f"The {len(ordered)} tensors with the narrowest ranges", kind="sort")
    state = "good" if scale.feasible else "bad"
    words = f'<div class="complete {state}"><p>{escape(said)}</p></div>'
    return f"{title}{words}{plot(f'{prefix}-scale', caption)}{wide(listing)}"


def _power(exponent: int) -> str:
    return f"2<sup>{exponent:+d}</sup>".replace("-", "−")


def scale_figure(content: Content) -> Figure | None:
    """Return the interval of loss scales of each tensor; None where there are none.

    Parameters
    ----------
    content : Content

    Returns
    -------
    dict or None
    """
    scale = content.loss_scale
    if isinstance(scale, str) or scale.nonfinite or not scale.intervals:
        return None
    widest_first = sorted(scale.intervals, key=lambda part: part.low - part.high)
    binding = {part.node: part for part in widest_first}  # of a node that rounds several times, the narrowest
    narrowest = [part for part in widest_first if binding[part.node] is part][-MOST_NODES:]
    shown = sorted({*narrowest, *scale.conflict}, key=lambda part: part.node)
    groups = (("keeps the tensor in range", BLUE, 0), ("the two that conflict", RED, 1))
    width = min(9.0, max(1.2, 640 / len(shown)))
    traces = []
    for name, colour, chosen in groups:
        parts = [part for part in shown if (part in scale.conflict) == bool(chosen)]
        if parts:
            traces.append(_strokes(parts, name, colour, max(width, 3.0) if chosen else width))
    shapes = []
    if scale.feasible:
        band = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": scale.low, "y1": scale.high}
        shapes.append({**band, "fillcolor": GREEN, "opacity": 0.22, "line": {"width": 0}, "layer": "below"})
    across = axis("node of the backward pass, in the order of execution")
    up = axis("loss scale (log<sub>2</sub> axis)", **POWER)
    return {"data": traces, "layout": frame(340, xaxis=across, yaxis=up, shapes=shapes)}


def _strokes(parts: list[Interval], name: str, colour: str, width: float) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [x for part in parts for x in (part.node, part.node, None)],
        "y": [y for part in parts for y in (part.low, part.high, None)],
        "customdata": ["at least", "at most", None] * len(parts),
        "line": {"color": colour, "width": round(width, 2)},
        "meta": {"label": "x"},
        "hovertemplate": "%{text}<br>%{customdata} 2<sup>%{y}</sup><extra></extra>",
    }
