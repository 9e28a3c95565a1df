"""Interactive figures of errors: by place and operation, along the net, in several policies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import floatemu as fe

from ..comparison import NodeReport
from .content import Content
from .figure_parts import BLUE, GREEN, GREY, ORANGE, POWER, PURPLE, RED, Figure, axis, frame, log, safe

__all__ = ["depth", "heat", "policies"]

DIRECTIONS = {"forward": BLUE, "backward": ORANGE, "update": GREEN}
# cividis at five places (Nuñez, Anderton and Renslow 2018): even in lightness, and the same for colour-blind readers
SCALE = [[0.0, "#00224e"], [0.25, "#3e4c6d"], [0.5, "#7d7c78"], [0.75, "#bcae6c"], [1.0, "#fee838"]]
MANY_TICKS = 60
MOST_LEVEL = 8
LONGEST_TICK = 24
MOST_POWERS = 9
Pick = Callable[[NodeReport], float | None]


def _stage_axis(content: Content, **more: Any) -> Figure:
    count = len(content.stages)
    step = -(-count // MANY_TICKS)
    places = list(range(0, count, step))
    both = {node.direction for node in content.found.nodes} >= {"forward", "backward"}
    return axis(
        "place in the net, in forward order" + (" (backward passes run from right to left)" if both else ""),
        tickmode="array",
        tickvals=places,
        ticktext=[_short(content.stages[place]) for place in places],
        tickangle=-90 if count > MOST_LEVEL else 0,
        range=[-0.6, count - 0.4],
        **more,
    )


def _short(stage: str) -> str:
    # the end of a path says more than its beginning
    return safe(stage if len(stage) <= LONGEST_TICK else f"…{stage[1 - LONGEST_TICK :]}")


def _below(content: Content) -> int:
    """Pixels that upright names of places take below a figure."""
    longest = max(map(len, content.stages))
    return 0 if len(content.stages) <= MOST_LEVEL else 6 * min(LONGEST_TICK, longest)


def _power_axis(title: str, levels: Iterable[float | None]) -> Figure:
    """An axis of log2 with ticks at whole powers of two."""
    known = [level for level in levels if level is not None] or [0.0]
    step = max(1, math.ceil((max(known) - min(known)) / MOST_POWERS))
    return axis(title, tick0=0, dtick=step, **POWER)


def _worst(content: Content, pick: Pick) -> dict[tuple[str, str, int], tuple[float, int]]:
    """Largest value of a quantity, and its node, by direction, operation and stage; NaN counts as largest."""
    found: dict[tuple[str, str, int], tuple[float, int]] = {}
    for node in content.found.nodes:
        value = pick(node)
        if value is None:
            continue
        key = node.direction, node.op, content.stage_of[node.id]
        before = found.get(key, (-math.inf, -1))[0]
        if (math.isnan(value) and not math.isnan(before)) or value > before:
            found[key] = value, node.id
    return found


_QUANTITIES: tuple[tuple[str, str, Pick], ...] = (
    ("total", "error", lambda node: node.error),
    ("local", "local error", lambda node: node.local_error),
)


def heat(content: Content) -> Figure:
    """Return the heat map: the largest relative error by place and operation, one panel per direction.

    Parameters
    ----------
    content : Content

    Returns
    -------
    dict
        Traces of the total error and of the local error; ``meta.group`` names which.
    """
    directions = [name for name in DIRECTIONS if any(node.direction == name for node in content.found.nodes)]
    cells = {group: _worst(content, pick) for group, _, pick in _QUANTITIES}
    rows = {
        name: sorted({op for part in cells.values() for direction, op, _ in part if direction == name}, reverse=True)
        for name in directions
    }
    directions = [name for name in directions if rows[name]]
    total = sum(len(rows[name]) for name in directions)
    gap = 0.045 if len(directions) > 1 else 0.0
    space = 1 - gap * (len(directions) - 1)
    traces: list[Figure] = []
    layout = frame(
        150 + 19 * total + 40 * len(directions) + _below(content),
        xaxis=_stage_axis(content, anchor=f"y{len(directions)}" if len(directions) > 1 else "y", showgrid=False),
        coloraxis=_colours([value for part in cells.values() for value, _ in part.values()]),
        annotations=[],
        showlegend=False,
    )
    top = 1.0
    for index, name in enumerate(directions):
        where = "y" if index == 0 else f"y{index + 1}"
        bottom = top - space * len(rows[name]) / max(1, total)
        ticks = [safe(op, 20) for op in rows[name]]
        layout[where.replace("y", "yaxis")] = axis(
            "",
            domain=[max(0.0, bottom), top],
            tickmode="array",
            tickvals=list(range(len(ticks))),
            ticktext=ticks,
            range=[-0.6, len(ticks) - 0.4],
            showgrid=False,
        )
        note = {"text": name, "x": 0, "y": top, "xref": "paper", "yref": "paper", "xanchor": "left"}
        layout["annotations"].append({**note, "yanchor": "bottom", "showarrow": False})
        for group, what, _ in _QUANTITIES:
            traces += _panel(content, rows[name], cells[group], name, where, group, what)
        top = bottom - gap
    return {"data": traces, "layout": layout}


def _colours(values: Iterable[float]) -> Figure:
    levels = [level for value in values if (level := log(value)) is not None] or [0.0]
    low, high = math.floor(min(levels)), max(math.ceil(max(levels)), math.floor(min(levels)) + 1)
    bar = {"title": {"text": "relative<br>error"}, "thickness": 14, "dtick": -(-(high - low) // 10), "tick0": low}
    return {"colorscale": SCALE, "cmin": low, "cmax": high, "colorbar": {**bar, **POWER}}


def _panel(
    content: Content,
    ops: Sequence[str],
    cells: dict[tuple[str, str, int], tuple[float, int]],
    direction: str,
    where: str,
    group: str,
    what: str,
) -> list[Figure]:
    grid: list[list[float | None]] = [[None] * len(content.stages) for _ in ops]
    who: list[list[int | None]] = [[None] * len(content.stages) for _ in ops]
    exact: list[tuple[int, int, int, str]] = []
    lost: list[tuple[int, int, int, str]] = []
    for (side, op, stage), (value, node) in cells.items():
        if side != direction:
            continue
        row = ops.index(op)
        if math.isfinite(value) and value > 0:
            grid[row][stage], who[row][stage] = log(value), node
        elif value == 0:
            exact.append((stage, row, node, "exact"))
        else:
            lost.append((stage, row, node, "NaN" if math.isnan(value) else "inf"))
    shared = {"yaxis": where, "visible": group == "total", "meta": {"group": group, "label": "customdata"}}
    hover = "%{text}<br>largest " + what + " 2<sup>%{z:.1f}</sup><extra></extra>"
    found: list[Figure] = [
        {
            "type": "heatmap",
            "z": grid,
            "customdata": who,
            "coloraxis": "coloraxis",
            "hoverongaps": False,
            "xgap": 1,
            "ygap": 1,
            "hovertemplate": hover,
            **shared,
        }
    ]
    for marks, symbol, colour in ((exact, "circle", GREEN), (lost, "x", RED)):
        if marks:
            found.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [mark[0] for mark in marks],
                    "y": [mark[1] for mark in marks],
                    "customdata": [mark[2] for mark in marks],
                    "marker": {"symbol": symbol, "size": 9 if symbol == "x" else 5, "color": colour},
                    "hovertext": [mark[3] for mark in marks],
                    "hovertemplate": f"%{{text}}<br>{what}: %{{hovertext}}<extra></extra>",
                    **shared,
                }
            )
    return found


def policies(contents: Sequence[Content]) -> Figure:
    """Return the error along the net in several policies: one colour each, the backward pass dashed.

    Parameters
    ----------
    contents : sequence of Content
        Of one tape.

    Returns
    -------
    dict
    """
    traces: list[Figure] = []
    for content, colour in zip(contents, itertools.cycle((BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9"))):
        cells = _worst(content, lambda node: node.error)
        for direction, dash in (("forward", "solid"), ("backward", "dash"), ("update", "dot")):
            points = _along(cells, direction)
            if points:
                traces.append(
                    {
                        "type": "scatter",
                        "mode": "lines+markers" if len(points) < 150 else "lines",
                        "name": f"{safe(content.found.policy.name, 24)}, {direction}",
                        "x": [stage for stage, _, _ in points],
                        "y": [log(value) for _, value, _ in points],
                        "customdata": [node for _, _, node in points],
                        "line": {"color": colour, "width": 2, "dash": dash},
                        "connectgaps": True,
                        "meta": {"label": "customdata"},
                        "hovertemplate": "%{text}<br>%{fullData.name}: 2<sup>%{y:.1f}</sup><extra></extra>",
                    }
                )
    levels = [level for trace in traces for level in trace["y"]]
    vertical = _power_axis("largest relative error (log<sub>2</sub> axis)", levels)
    height = 360 + _below(contents[0])
    return {"data": traces, "layout": frame(height, xaxis=_stage_axis(contents[0]), yaxis=vertical)}


def _along(cells: dict[tuple[str, str, int], tuple[float, int]], direction: str) -> list[tuple[int, float, int]]:
    """(stage, largest value, its node) of one direction, in order."""
    best: dict[int, tuple[float, int]] = {}
    for (side, _, stage), (value, node) in cells.items():
        before = best.get(stage, (-math.inf, -1))[0]
        if side == direction and not math.isnan(before) and (math.isnan(value) or value > before):
            best[stage] = value, node
    return [(stage, *found) for stage, found in sorted(best.items())]


def _unit_roundoff(content: Content) -> tuple[str, int] | None:
    """The format that most nodes are rounded to, and log2 of its unit roundoff."""
    names: dict[str, list[fe.Format]] = {}
    for node in content.found.tape.nodes:
        fmt = content.format(node.id)
        if fmt is not None:
            names.setdefault(fmt.name, []).append(fmt)
    if not names:
        return None
    most = max(names.values(), key=len)[0]
    return most.name, -most.p


def depth(content: Content) -> Figure:
    """Return the error along the depth or time of the net: one line for each direction, total and local.

    Parameters
    ----------
    content : Content

    Returns
    -------
    dict
    """
    traces: list[Figure] = []
    levels: list[float] = []
    lost: list[tuple[int, int, str, str]] = []
    for group, what, pick in _QUANTITIES:
        cells = _worst(content, pick)
        for direction, colour in DIRECTIONS.items():
            points = _along(cells, direction)
            if not points:
                continue
            levels += [level for _, value, _ in points if (level := log(value)) is not None]
            if group == "total":
                lost += [
                    (stage, node, direction, "NaN" if math.isnan(value) else "inf")
                    for stage, value, node in points
                    if not math.isfinite(value)
                ]
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(points) < 150 else "lines",
                    "name": f"{direction}: {what}",
                    "x": [stage for stage, _, _ in points],
                    "y": [log(value) for _, value, _ in points],
                    "customdata": [node for _, _, node in points],
                    "line": {"color": colour, "width": 2 if group == "total" else 1, "dash": _dash(group)},
                    "marker": {"size": 6 if group == "total" else 4},
                    "connectgaps": True,
                    "meta": {"label": "customdata"},
                    "hovertemplate": f"%{{text}}<br>largest {what} 2<sup>%{{y:.1f}}</sup><extra></extra>",
                }
            )
    top = max(levels, default=0.0) + 1.5
    if lost:
        traces.append(_lost(lost, top))
    unit = _unit_roundoff(content)
    if unit is not None:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"unit roundoff of {safe(unit[0], 24)}, 2<sup>{unit[1]}</sup>",
                "x": [-0.6, len(content.stages) - 0.4],
                "y": [unit[1], unit[1]],
                "line": {"color": GREY, "width": 1.2, "dash": "dashdot"},
                "hoverinfo": "skip",
            }
        )
        levels.append(unit[1])
    layout = frame(
        400 + _below(content),
        xaxis=_stage_axis(content),
        yaxis=_power_axis("largest relative error (log<sub>2</sub> axis)", levels),
    )
    return {"data": traces, "layout": layout}


def _dash(group: str) -> str:
    return "solid" if group == "total" else "dot"


def _lost(lost: Sequence[tuple[int, int, str, str]], height: float) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers+text" if len(lost) <= 24 else "markers",
        "name": "inf or NaN: beyond the axis",
        "x": [stage for stage, _, _, _ in lost],
        "y": [height] * len(lost),
        "text": [kind for _, _, _, kind in lost],
        "textposition": "top center",
        "textfont": {"color": RED, "size": 10},
        "hovertext": [f"{direction}: the error of %{node} is {kind}" for _, node, direction, kind in lost],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {"symbol": "x", "size": 8, "color": RED},
        "cliponaxis": False,
    }
