"""Interactive figures of magnitudes: value ranges against the range of the format, histograms by binade."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import floatemu as fe

from ..comparison import NodeReport
from .content import Content
from .figure_parts import BLUE, GREY, POWER, PURPLE, RED, Figure, axis, frame

__all__ = ["ENDS", "ends", "histogram_template", "ranges"]


def _segments(spans: Iterable[tuple[int, float, float]]) -> Figure:
    """Vertical strokes as one line with gaps, which stays quick for thousands of nodes."""
    x: list[int | None] = []
    y: list[float | None] = []
    for node, low, high in spans:
        x += [node, node, None]
        y += [low, high, None]
    ends = ["from", "up to", None] * (len(x) // 3)
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "customdata": ends, "meta": {"label": "x"}}


def ranges(content: Content) -> Figure:
    """Return the range of magnitudes of every node, exact and emulated, against the range of its format.

    Parameters
    ----------
    content : Content

    Returns
    -------
    dict
    """
    spans: tuple[list[tuple[int, float, float]], ...] = ([], [])
    for node, pair in content.histograms.items():
        for part, found in zip(spans, pair):
            if found.counts:
                part.append((node, found.low, found.high))
    count = max(1, len(content.nodes))
    width = min(9.0, max(1.2, 640 / count))
    hover = "%{text}<br>{}: %{customdata} 2<sup>%{y}</sup><extra></extra>"
    styles = (("exact", spans[1], GREY, 1.9, 0.45), ("emulated", spans[0], BLUE, 1.0, 1.0))
    traces = [
        {
            **_segments(part),
            "name": f"{name} values",
            "line": {"color": colour, "width": round(width * factor, 2)},
            "opacity": opacity,
            "hovertemplate": hover.replace("{}", name),
        }
        for name, part, colour, factor, opacity in styles
    ]
    traces += _limits(content) + _range_marks(content)
    backward = [node.id for node in content.nodes if node.direction == "backward"]
    views = _views([level for part in spans for _, *pair in part for level in pair], content)
    layout = frame(
        430,
        xaxis=axis("node, in the order of execution", range=[content.nodes[0].id - 1, content.nodes[-1].id + 1]),
        yaxis=axis("magnitude of non-zero values (log<sub>2</sub> axis)", range=views[views["first"]], **POWER),
        shapes=[],
        annotations=[],
        meta={"views": views},
    )
    if backward and len(backward) < len(content.nodes):
        first = min(backward) - 0.5
        band = {"type": "rect", "xref": "x", "yref": "paper", "x0": first, "x1": max(backward) + 0.5, "y0": 0, "y1": 1}
        layout["shapes"] = [{**band, "fillcolor": GREY, "opacity": 0.10, "line": {"width": 0}, "layer": "below"}]
        note = {"text": "backward", "x": first, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "top"}
        layout["annotations"] = [{**note, "showarrow": False, "font": {"size": 11, "color": GREY}}]
    return {"data": traces, "layout": layout}


def _views(levels: Sequence[float], content: Content) -> Figure:
    """Two ranges of the axis, and which comes first: the values', where the format's would make them a thin line."""
    limits = [level for node in content.nodes if (fmt := content.format(node.id)) for level in ends(fmt)]
    low, high = min(levels, default=0.0), max(levels, default=1.0)
    wide = min([low, *limits]), max([high, *limits])
    first = "values" if wide[1] - wide[0] > 4 * (high - low + 4) else "format"
    margins = {"values": (low, high, 2.0), "format": (*wide, 0.05 * (wide[1] - wide[0]) + 1)}
    return {"first": first} | {name: [a - pad, b + pad] for name, (a, b, pad) in margins.items()}


ENDS = ("largest", "least normal", "least positive")


def ends(fmt: fe.Format) -> list[float]:
    """Return log2 of the largest, the least normal and the least positive value of a format.

    Parameters
    ----------
    fmt : Format

    Returns
    -------
    list of float

    Examples
    --------
    >>> ends(fe.get_format("e5m2"))
    [15.8074, -14.0, -16.0]
    """
    return [round(math.log2(float(x)), 4) for x in (fmt.max, fmt.min_normal, fmt.min_positive)]


def _limits(content: Content) -> list[Figure]:
    lines: dict[str, tuple[list[float | None], list[float | None]]] = {name: ([], []) for name in ENDS}
    before: fe.Format | None = None
    for node in content.nodes:
        fmt = content.format(node.id)
        if fmt is None:  # decisions and moves are not rounded; the line goes on behind them
            continue
        for name, level in zip(ENDS, ends(fmt)):
            x, y = lines[name]
            if fmt is before:  # a stretch of one format has two points
                x[-1] = node.id + 0.5
            else:
                x += [None, node.id - 0.5, node.id + 0.5] if x else [node.id - 0.5, node.id + 0.5]
                y += [None, level, level] if y else [level, level]
        before = fmt
    dashes = {"largest": "solid", "least normal": "dash", "least positive": "dot"}
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{name} of the format",
            "x": x,
            "y": y,
            "line": {"color": PURPLE, "width": 1.4, "dash": dashes[name]},
            "hovertemplate": f"{name}: 2<sup>%{{y:.1f}}</sup><extra></extra>",
        }
        for name, (x, y) in lines.items()
        if x
    ]


def _range_marks(content: Content) -> list[Figure]:
    kinds: tuple[tuple[str, str, str, Callable[[NodeReport], int]], ...] = (
        ("flushed to zero", "triangle-down", "least positive", lambda node: node.zeros_new),
        ("beyond the range", "triangle-up", "largest", lambda node: node.beyond),
    )
    found: list[Figure] = []
    for name, symbol, end, count in kinds:
        hit = [(node, fmt) for node in content.nodes if count(node) and (fmt := content.format(node.id)) is not None]
        if hit:
            found.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [node.id for node, _ in hit],
                    "y": [ends(fmt)[ENDS.index(end)] for _, fmt in hit],
                    "hovertext": [f"{name}: {count(node)} elements" for node, _ in hit],
                    "hovertemplate": "%{text}<br>%{hovertext}<extra></extra>",
                    "meta": {"label": "x"},
                    "marker": {"symbol": symbol, "size": 9, "color": RED},
                }
            )
    return found


def histogram_template() -> Figure:
    """Return the figure that the page fills with the histogram of the node that is asked for.

    Returns
    -------
    dict
        Two bar traces, exact and emulated.

    Examples
    --------
    >>> [trace["name"] for trace in histogram_template()["data"]]
    ['exact', 'emulated']
    """
    styles = (("exact", GREY, 0.55, 1.0), ("emulated", BLUE, 1.0, 0.55))
    traces = [
        {
            "type": "bar",
            "name": name,
            "marker": {"color": colour, "opacity": opacity},
            "width": width,
            "hovertemplate": name + ": %{y} elements in 2<sup>%{x}</sup><extra></extra>",
        }
        for name, colour, opacity, width in styles
    ]
    layout = frame(
        240,
        barmode="overlay",
        xaxis=axis("magnitude, by binade (log<sub>2</sub> axis)", **POWER),
        yaxis=axis("elements", rangemode="tozero"),
    )
    return {"data": traces, "layout": layout}
