"""The section about bounds: of every sum and matrix product what is proven, what is estimated, and what came out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..bounds import Bound
from ..verdict import plural
from .content import Content
from .figure_parts import BLUE, GREEN, GREY, ORANGE, POWER, PURPLE, RED, Figure, axis, frame, log
from .markup import Column, cell, escape, plot, table, wide

__all__ = ["bounds", "bounds_figure"]

MOST_ROWS = 10
ESTIMATES = {
    "gamma": ("γ, worst case to first order", GREY, "dot"),
    "higham_mary": ("Higham and Mary, λ = 5", GREEN, "dash"),
    "stochastic_rounding": ("stochastic rounding, λ = 5", PURPLE, "dash"),
    "block_fma": ("matrix units", ORANGE, "dashdot"),
}
"""Name in words, colour and dash of each estimate."""


def bounds(content: Content, prefix: str) -> str:
    """Return measured errors of sums and products beside their bounds, and the alarm where roundings drift."""
    title = "<h3>Bounds next to measurements</h3>"
    found = content.bounds
    if not found:
        why = "the sums are too long for it here" if content.bounds_left else "the tape has no sum or matrix product"
        return f'{title}<p class="empty">Nothing to bound: {why}.</p>'
    caption = (
        "Each sum and matrix product: of the element that comes nearest its bound, error and bounds over the sum of "
        "its terms' magnitudes. The hard bound holds for all data and includes the rounding of the result; dashed and "
        "dotted lines are estimates for the partial sums alone, which data may exceed. Red crosses: bias alarm."
    )
    parts = [title, _proven(found), _alarm(content), plot(f"{prefix}-bounds", caption), wide(_table(content))]
    if content.bounds_left:
        parts.append(
            f'<p class="warn">{content.bounds_left} of {content.bounds_left + len(found)} sums and products are left '
            "out, for time: shown are those that contribute most. <code>Analysis.bounds</code> has all.</p>"
        )
    return "\n".join(parts)


def _proven(found: Sequence[Bound]) -> str:
    broken = [bound for bound in found if bound.broken]
    void = sum(bound.void == bound.hard.size for bound in found)
    if broken:
        said = f"%{broken[0].node} {broken[0].op}: {broken[0].complaint}."
        return f'<div class="complete bad"><p>{escape(said)}</p></div>'
    largest = max(bound.used for bound in found)
    said = f"In all {len(found)} sums and products every element lies within its hard bound, the nearest at "
    said += f"{100 * largest:.0f} % of it."
    if void:
        said += f" Of {void} nothing is proven: they left the range, or a device or a compensation adds in its own way."
    return f'<div class="complete good"><p>{escape(said)}</p></div>'


def _alarm(content: Content) -> str:
    drifting = sorted((b for b in content.bounds if b.biased), key=lambda b: -_drift(b))
    if not drifting:
        return (
            '<p class="empty">No bias alarm: the roundings of no sum lean to one side, so that estimates which suppose '
            "errors of mean zero may be read as such.</p>"
        )
    worst = drifting[0]
    where = content.found.tape.nodes[worst.node].label
    return (
        f'<p class="warn">Bias alarm at {plural(len(drifting), "node")}: roundings lean to one side, at '
        f"{escape(where)} by {_drift(worst):.0f} standard errors. A sum has stopped growing, "
        "ties fall alike, or results are flushed: estimates that grow like √n do not hold there.</p>"
    )


def _drift(bound: Bound) -> float:
    return max(abs(bound.drift), abs(bound.result_drift))


def _table(content: Content) -> str:
    columns = (
        Column("node"),
        Column("terms", numeric=True),
        Column("accumulator", "format of the partial sums"),
        Column("error", "largest measured, over the sum of the terms' magnitudes", numeric=True),
        Column("hard bound", "at that element, over the same", numeric=True),
        Column("reached", "largest share of its bound that an element reaches", numeric=True),
        Column("Higham and Mary", "estimate for the partial sums", numeric=True),
        Column("drift", "of the roundings, in standard errors; beyond 6 is an alarm", numeric=True),
    )
    ordered = sorted(content.bounds, key=lambda bound: (not bound.broken, not bound.biased, -bound.used))
    rows = []
    for bound in ordered[:MOST_ROWS]:
        measured, hard = bound.nearest
        rows.append(
            (
                escape(content.found.tape.nodes[bound.node].label),
                str(bound.terms),
                escape(bound.accumulator),
                cell(measured),
                cell(hard) if math.isfinite(hard) else "void",
                f"{100 * bound.used:.0f} %" if math.isfinite(hard) else "–",
                cell(bound.estimates["higham_mary"]),
                f"{_drift(bound):.1f}" + (" (alarm)" if bound.biased else ""),
            )
        )
    return table(columns, rows, "The alarms, and those nearest their bounds", kind="sort")


def bounds_figure(content: Content) -> Figure | None:
    """Return error, hard bound and estimates of each sum and product; None where there is none.

    Parameters
    ----------
    content : Content

    Returns
    -------
    dict or None
    """
    found = content.bounds
    if not found:
        return None
    pairs = [bound.nearest for bound in found]
    nodes = [bound.node for bound in found]
    traces = [_points("measured error", nodes, [pair[0] for pair in pairs], BLUE, "circle", 6)]
    traces.append(_points("hard bound", nodes, [pair[1] for pair in pairs], RED, "line-ew-open", 9))
    for name, (words, colour, dash) in ESTIMATES.items():
        values = [log(bound.estimates.get(name)) for bound in found]
        if any(value is not None for value in values):
            line = {"color": colour, "width": 1.2, "dash": dash, "shape": "hvh"}
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": f"estimate: {words}",
                    "x": nodes,
                    "y": values,
                    "line": line,
                    "meta": {"label": "x"},
                    "hovertemplate": f"%{{text}}<br>{words}: 2<sup>%{{y:.1f}}</sup><extra></extra>",
                }
            )
    if alarmed := [bound for bound in found if bound.biased]:
        places = [bound.node for bound in alarmed]
        traces.append(_points("bias alarm", places, [bound.nearest[0] for bound in alarmed], RED, "x", 9))
    across = axis("node, in the order of execution")
    up = axis("error over the sum of magnitudes (log<sub>2</sub> axis)", **POWER)
    return {"data": traces, "layout": frame(380, xaxis=across, yaxis=up)}


def _points(name: str, nodes: list[int], values: list[float], colour: str, symbol: str, size: int) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": nodes,
        "y": [log(value) for value in values],
        "marker": {"color": colour, "symbol": symbol, "size": size, "line": {"width": 1.6, "color": colour}},
        "meta": {"label": "x"},
        "hovertemplate": f"%{{text}}<br>{name}: 2<sup>%{{y:.1f}}</sup><extra></extra>",
    }
