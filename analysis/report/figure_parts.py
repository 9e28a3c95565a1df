"""What interactive figures share: colours, axes, names that are only text. They are plotly's JSON, made without it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Any

from .content import Content

__all__ = ["Figure", "axis", "frame", "labels", "log", "safe"]

# Okabe and Ito's palette: told apart by everyone, and in grey by lightness
BLUE, ORANGE, GREEN, PURPLE, RED = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#D00000"
GREY = "#8a8f98"
POWER = {"tickprefix": "2<sup>", "ticksuffix": "</sup>", "exponentformat": "none", "separatethousands": False}
Figure = dict[str, Any]


def safe(text: str, longest: int = 60) -> str:
    """Return a name for plotly, which reads a subset of HTML in every text: escaped, and shortened.

    Parameters
    ----------
    text : str
    longest : int

    Returns
    -------
    str

    Examples
    --------
    >>> safe("<b>layer0</b>")
    '&lt;b&gt;layer0&lt;/b&gt;'
    """
    short = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return html.escape(short, quote=True)


def log(x: float | None) -> float | None:
    """Return log2, to four digits after the point; None where a logarithmic axis has no place."""
    return round(math.log2(x), 4) if x is not None and 0 < x < math.inf else None


def labels(content: Content, figures: Iterable[Figure]) -> dict[int, str]:
    """Return the names of the nodes that figures speak of.

    Parameters
    ----------
    content : Content
    figures : iterable of dict
        A trace's ``meta.label`` names the field that holds its nodes.

    Returns
    -------
    dict of int to str
    """
    named: set[int] = set()
    for figure in figures:
        for trace in figure["data"]:
            if field := trace.get("meta", {}).get("label"):
                for item in trace[field]:  # a list, or the rows of a heat map
                    named.update(item if isinstance(item, list) else [item])
    nodes = content.found.tape.nodes
    return {index: safe(nodes[index].label) for index in sorted(named - {None})}


def axis(title: str, **more: Any) -> Figure:
    """Return an axis with a title."""
    return {"title": {"text": title}, "zeroline": False, "automargin": True, **more}


def frame(height: int, **more: Any) -> Figure:
    """Return the layout of a figure, its height in pixels."""
    return {
        "height": height,
        "margin": {"l": 64, "r": 24, "t": 40, "b": 48},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        **more,
    }
