"""Figures: error along the graph, and value ranges against the range of the format. The only user of matplotlib."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import floatemu as fe
from floatemu.errors import UnsupportedError

from . import formats_figure

try:
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator
except ImportError:
    raise UnsupportedError("figures need matplotlib: pip install 'floatemu[report]'") from None

__all__ = ["plot_errors", "plot_formats", "plot_ranges", "plot_summary"]

# Okabe and Ito's palette: told apart by everyone, and in grey by lightness
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*"
WIDTH = 7.2
FLOOR = 2.0**-60
STYLE: dict[str, Any] = {"size": 9}
_QUIET: dict[str, Any] = {"size": 9, "color": "0.35"}


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _text(name: str) -> str:
    # a dollar sign in a name is a dollar sign, not mathematics
    return name.replace("$", r"\$")


def _power(value: float, _: object = None) -> str:
    return f"$2^{{{value:.0f}}}$"


def _directions(axes: Any, nodes: Sequence[Mapping[str, Any]]) -> None:
    # a grey band behind the backward pass, named at its top
    backward = [node["id"] for node in nodes if node["direction"] == "backward"]
    if not backward or len(backward) == len(nodes):
        return
    first = min(backward) - 0.5
    axes.axvspan(first, len(nodes) - 0.5, color="0.94", zorder=0, linewidth=0)
    for where, name, side in ((first - 0.4, "forward", "right"), (first + 0.4, "backward", "left")):
        axes.text(where, 0.985, name, transform=axes.get_xaxis_transform(), ha=side, va="top", color="0.35", **STYLE)


def _paths(axes: Any, nodes: Sequence[Mapping[str, Any]]) -> None:
    # one tick for each stretch of nodes with one module path; names are dropped where they would collide
    places = [(node["path"], node["direction"]) for node in nodes]
    starts = [i for i, place in enumerate(places) if i == 0 or place != places[i - 1]]
    spans = [(a, b - 1) for a, b in zip(starts, [*starts[1:], len(nodes)])]
    axes.set_xticks([a - 0.5 for a, _ in spans], minor=False)
    axes.set_xticklabels([])
    axes.tick_params(axis="x", length=4, color="0.6")
    taken = -math.inf
    step = max(1.0, len(nodes) / 30)
    for a, b in spans:
        middle = (a + b) / 2
        if middle - taken >= step:
            text = _text(nodes[a]["path"] or "-")
            axes.text(
                middle, -0.03, text, transform=axes.get_xaxis_transform(), rotation=90, ha="center", va="top", **STYLE
            )
            taken = middle
    axes.set_xlim(-0.5, len(nodes) - 0.5)


def _clean(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", color="0.88", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=STYLE["size"])


def _save(figure: Figure, path: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    _write(figure, path, json.dumps([run.get("manifest") for run in runs], allow_nan=False))


def _write(figure: Figure, path: Path, made: str) -> None:
    # no date in the file, and names of an SVG's parts from a fixed seed: the same figure gives the same bytes
    vector = path.suffix.lower() == ".svg"
    metadata = {"Description": made, "Date": None} if vector else {"Description": made, "Software": None}
    with rc_context({"svg.hashsalt": "floatemu"}):
        figure.savefig(path, dpi=200, metadata=metadata)


def plot_formats(formats: Sequence[fe.Format], path: str | Path) -> None:
    """Draw formats over one axis of magnitudes: their values, how many lie in a binade, and their relative spacing.

    Parameters
    ----------
    formats : sequence of Format
        At most eight.
    path : path-like
        .png or .svg.

    Raises
    ------
    UnsupportedError
        If there are none or too many, or the suffix is another.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_formats([fe.get_format("e4m3fn"), fe.get_format("e5m2")], Path(folder) / "formats.svg")
    """
    path = Path(path)
    if not 1 <= len(formats) <= formats_figure.MOST:
        raise UnsupportedError(f"{len(formats)} formats given; accepted: 1 to {formats_figure.MOST} in one picture")
    if path.suffix.lower() not in (".png", ".svg"):
        raise UnsupportedError(f"a picture goes into a .png or .svg file, not {path.name!r}; accepted: .png, .svg")
    figure = Figure(figsize=(WIDTH, 3.4 + 0.36 * len(formats)), layout="constrained")
    formats_figure.draw(figure, formats, [*COLOURS[:6], "#999999", COLOURS[6]])
    _write(figure, path, ", ".join(fmt.describe() for fmt in formats))


def plot_errors(runs: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw the relative error of every node, forward to backward: one line per policy, events marked.

    Parameters
    ----------
    runs : sequence of mapping
        Run objects of ``floatemu trace`` (:meth:`analysis.results.Analysis.to_json`).
    path : path-like
        .png or .svg.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, analysis as an
    >>> found = an.analyze(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("bf16"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_errors([found.to_json()], Path(folder) / "errors.png")
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    _error_panel(axes, runs)
    _paths(axes, runs[0]["nodes"])
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=STYLE["size"])
    _save(figure, Path(path), runs)


def _error_panel(axes: Any, runs: Sequence[Mapping[str, Any]]) -> None:
    nodes = runs[0]["nodes"]
    _directions(axes, nodes)
    drawn: list[float] = []
    for index, run in enumerate(runs):
        colour = COLOURS[index % len(COLOURS)]
        chosen = [node for node in run["nodes"] if node["error"] is not None]
        where = [node["id"] for node in chosen]
        errors = [_float(node["error"]) for node in chosen]
        shown = [math.log2(error) if error and math.isfinite(error) and error > FLOOR else math.nan for error in errors]
        drawn += [value for value in shown if not math.isnan(value)]
        axes.plot(where, shown, color=colour, linewidth=1.3, label=_text(run["policy"]), zorder=3)
        rounding = [i for i, node in enumerate(chosen) if _float(node["local_error"]) > 0]
        marks = [where[i] for i in rounding], [shown[i] for i in rounding]
        axes.plot(*marks, MARKERS[index % 7], color=colour, markersize=3.4, zorder=4)
        lost = [node["id"] for node, error in zip(chosen, errors) if not math.isfinite(error)]
        height = 0.035 + 0.035 * index
        axes.plot(lost, [height] * len(lost), "x", color=colour, markersize=4, transform=axes.get_xaxis_transform())
    if drawn:
        axes.set_ylim(math.floor(min(drawn)) - 1.5, max(2.0, math.ceil(max(drawn)) + 2.0))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.yaxis.set_major_formatter(FuncFormatter(_power))
    axes.set_ylabel("relative error of the node's value (norm)", **STYLE)
    _clean(axes)
    note = "marks: nodes that round; gaps: no error; × at the bottom: inf or NaN"
    axes.set_title(note, loc="left", color="0.35", **STYLE)


def plot_summary(runs: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw one run: its verdict, the relative error of every node, and the range of magnitudes below it.

    Parameters
    ----------
    runs : sequence of mapping
        One run object; see :func:`plot_errors`.
    path : path-like
        .png or .svg.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, analysis as an
    >>> found = an.analyze(an.nets.chain(1e5, 0.25, 10), "bf16", "float64")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_summary([found.to_json()], Path(folder) / "summary.svg")
    """
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _error_panel(above, runs)
    levels = _range_panel(below, runs[0], COLOURS[0])
    low, high = min([0.0, *levels]), max([0.0, *levels])
    below.set_ylim(low - 0.09 * (high - low) - 0.5, high + 0.2 * (high - low) + 0.5)
    _format_limits(below, _limits(runs[0]["nodes"]))
    below.set_ylabel("magnitude (non-zero values)", **STYLE)
    below.set_title("filled: emulated; outlined: exact; red ▼ flushed to zero, ▲ beyond", loc="left", **_QUIET)
    _paths(below, runs[0]["nodes"])
    first = _text(runs[0]["verdict"].partition(". ")[0])
    figure.suptitle("\n".join(textwrap.wrap(first, 90)), fontsize=10, ha="left", x=0.01)
    _save(figure, Path(path), runs)


def _limits(nodes: Sequence[Mapping[str, Any]]) -> fe.Format | None:
    # the format most nodes are rounded to: a mixed policy has several
    names = [node["format"] for node in nodes if node["format"] != "none"]
    if not names:
        return None
    try:
        return fe.get_format(max(sorted(set(names)), key=names.count))
    except fe.FormatError:  # a format of the user's own, known by name alone
        return None


def plot_ranges(runs: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw the range of magnitudes of every node against the range of the format: one panel per policy.

    Parameters
    ----------
    runs : sequence of mapping
        Run objects of ``floatemu trace``.
    path : path-like
        .png or .svg.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, analysis as an
    >>> found = an.analyze(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("e5m2"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_ranges([found.to_json()], Path(folder) / "ranges.svg")
    """
    figure = Figure(figsize=(WIDTH, 1.2 + 1.9 * len(runs)), layout="constrained")
    panels = figure.subplots(len(runs), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    levels = [0.0]
    for index, (run, axes) in enumerate(zip(runs, panels)):
        levels += _range_panel(axes, run, COLOURS[index % len(COLOURS)])
    low, high = min(levels), max(levels)
    panels[0].set_ylim(low - 0.09 * (high - low) - 0.5, high + 0.2 * (high - low) + 0.5)
    for run, axes in zip(runs, panels):
        _format_limits(axes, _limits(run["nodes"]))
    _paths(panels[-1], runs[-1]["nodes"])
    figure.supylabel("magnitude (non-zero values)", fontsize=STYLE["size"])
    note = "filled: emulated; outlined: exact; red ▼ flushed to zero, ▲ beyond the range"
    figure.suptitle(note, color="0.35", fontsize=STYLE["size"])
    _save(figure, Path(path), runs)


def _bars(axes: Any, nodes: Sequence[Mapping[str, Any]], high: str, low: str, **style: Any) -> list[float]:
    places, bottoms, tops = [], [], []
    for node in nodes:
        top, bottom = _float(node[high]), _float(node[low])
        if math.isfinite(top) and math.isfinite(bottom):
            places.append(node["id"])
            bottoms.append(math.log2(bottom))
            tops.append(math.log2(top))
    heights = [max(top - bottom, 0.3) for top, bottom in zip(tops, bottoms)]
    axes.bar(places, heights, bottom=bottoms, width=0.66, zorder=3, **style)
    return [*bottoms, *tops]


def _range_panel(axes: Any, run: Mapping[str, Any], colour: str) -> list[float]:
    nodes = run["nodes"]
    _directions(axes, nodes)
    levels = _bars(axes, nodes, "exact_amax", "exact_amin_nonzero", facecolor="none", edgecolor="0.3", linewidth=0.7)
    levels += _bars(axes, nodes, "amax", "amin_nonzero", color=colour, linewidth=0)
    for keys, mark, where in ((("zeros_new",), "v", 0.05), (("overflowed", "saturated"), "^", 0.83)):
        hit = [node["id"] for node in nodes if any(node[key] for key in keys)]
        axes.plot(hit, [where] * len(hit), mark, color="#D00000", ms=4, transform=axes.get_xaxis_transform(), zorder=5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.yaxis.set_major_formatter(FuncFormatter(_power))
    axes.set_title(_text(run["policy"]), loc="left", **STYLE)
    _clean(axes)
    return levels


def _format_limits(axes: Any, fmt: fe.Format | None) -> None:
    if fmt is None:
        return
    low, high = axes.get_ylim()
    # anchors keep the names apart where least normal and least positive are neighbours
    lines = (
        (math.log2(float(fmt.max)), "largest", "-", "center"),
        (float(fmt.emin), "least normal", "--", "bottom"),
        (float(fmt.qmin), "least positive", "-", "top"),
    )
    for level, name, style, anchor in lines:
        if low <= level <= high:
            axes.axhline(level, color="0.25", linewidth=0.9, linestyle=style, zorder=2)
            where = axes.get_yaxis_transform()
            axes.text(1.005, level, name, transform=where, va=anchor, color="0.25", fontsize=8)
