"""The picture of formats: every value, how many there are in a binade, and their relative spacing, over one axis.

Draws on a figure that :mod:`analysis.report.plots` makes; imports no matplotlib itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

import floatemu as fe

from ..numerals import decimal

__all__ = ["DEFAULT", "MOST", "draw"]

DEFAULT = ("bfloat16", "binary16", "e5m2", "e4m3fn", "e2m1fn")
MOST = 8
"""Formats in one picture: as many as there are colours that everyone can tell apart."""
TICKS = 260
"""Positive values up to this number are drawn one by one."""
LINEAR, SPREAD = 80, 12.0
"""Binades up to which the axis is linear in the exponent; beyond, it is so for about ``SPREAD`` binades around 1."""
POINTS = 430
"""Width of the axis, about."""
GREY = "0.35"
DASHES: tuple[Any, ...] = ("solid", (0, (3, 3)), (0, (1, 2)), (0, (5, 2, 1, 2)))
"""Of formats with one precision, whose lines lie on one another."""


def _exponent(value: Fraction) -> float:
    """log2 of a positive fraction, beyond binary64's range too."""
    shift = value.numerator.bit_length() - value.denominator.bit_length()
    return shift + math.log2(value / Fraction(2) ** shift)


def _ends(fmt: fe.Format) -> tuple[float, float, float]:
    """Exponents of the least positive, the least normal and the largest value."""
    return _exponent(fmt.min_positive), float(fmt.emin), _exponent(fmt.max)


def _power(exponent: float, _: object = None) -> str:
    return "1" if exponent == 0 else f"$2^{{{exponent:.0f}}}$"


def _short(value: Fraction) -> str:
    exponent = _exponent(value)
    if exponent == int(exponent) and not -5 < exponent < 20:
        return _power(exponent)
    exact = decimal(value, 6)
    if "e" not in exact and not exact.startswith("≈"):
        return exact
    text, _, ten = decimal(value, 4).removeprefix("≈").partition("e")
    return f"${text}·10^{{{int(ten)}}}$" if ten else text


def _positive(fmt: fe.Format) -> np.ndarray[Any, Any] | None:
    """Exponents of all positive values, if they are few enough to be seen."""
    if fmt.max_code > TICKS:
        return None
    scaled = [fmt.scaled(code) for code in range(1 if fmt.zero else 0, fmt.max_code + 1)]
    return np.array([math.log2(s) + q for s, q in scaled if s])


def _span(formats: Sequence[fe.Format]) -> tuple[float, float]:
    """Exponents of the least and the largest number of all formats."""
    ends = [end for fmt in formats for end in _ends(fmt)]
    return min(ends), max(ends)


def _place(formats: Sequence[fe.Format]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]] | None:
    """From exponents to places on the axis and back, if it is not linear."""
    low, high = _span(formats)
    if high - low <= LINEAR:
        return None
    return lambda e: np.arcsinh(e / SPREAD), lambda place: np.sinh(place) * SPREAD


def _thin(fmt: fe.Format, formats: Sequence[fe.Format], count: int) -> float:
    """Width of the lines of single values, so that they stay apart."""
    there = _place(formats) or (float, float)
    low, high = (float(there[0](end)) for end in _span(formats))
    least, _, largest = (float(there[0](end)) for end in _ends(fmt))
    return float(np.clip(0.4 * POINTS * (largest - least) / (high - low) / count, 0.2, 0.8))


def _rows(axes: Any, formats: Sequence[fe.Format], colours: Sequence[str]) -> None:
    for row, (fmt, colour) in enumerate(zip(formats, colours, strict=False)):
        least, normal, largest = _ends(fmt)
        y = len(formats) - 1 - row
        values = _positive(fmt)
        bar = {"height": 0.62, "linewidth": 0, "color": colour}
        strong = 0.8 if values is None else 0.22
        edge = min(normal, largest)
        axes.barh(y, largest - edge, left=edge, alpha=strong, **bar)
        axes.barh(y, edge - least, left=least, alpha=strong * 0.4, **bar)
        if values is not None:
            width = _thin(fmt, formats, values.size)
            axes.vlines(values, y - 0.31, y + 0.31, color=colour, linewidth=width)
        text = f"{_short(fmt.min_positive)} … {_short(fmt.max)}"
        style = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        axes.text(-0.012, y + 0.15, fmt.name, color=colour, fontsize=9.5, weight="bold", **style)
        axes.text(-0.012, y - 0.25, text, color=GREY, fontsize=7.5, **style)
    axes.set_ylim(-0.55, len(formats) - 0.45)
    axes.set_yticks([])
    _title(axes, "a", "positive values; pale: subnormal")


def _title(axes: Any, letter: str, text: str) -> None:
    axes.set_title(rf"$\bf{{{letter}}}$  {text}", loc="left", fontsize=9, color=GREY)


def _per_binade(fmt: fe.Format) -> tuple[list[int], list[int]]:
    """Exponents, and how many values the format has in [2^e, 2^(e+1))."""
    least, _, largest = _ends(fmt)
    first, last = math.floor(least), math.floor(largest)
    top = fmt.max / Fraction(2) ** last  # in [1, 2)
    full = 2 ** (fmt.p - 1)
    counts = [full if e >= fmt.emin else 2 ** (e - fmt.qmin) for e in range(first, last)]
    return list(range(first, last + 1)), [*counts, int((top - 1) * full) + 1]


def _counts(axes: Any, formats: Sequence[fe.Format], colours: Sequence[str]) -> None:
    for index, (fmt, colour) in enumerate(zip(formats, colours, strict=False)):
        places, counts = _per_binade(fmt)
        # formats with equally many are drawn side by side
        shift = 2 ** (0.05 * (index - (len(formats) - 1) / 2))
        x = [e for place in places for e in (place, place + 1)]
        y = [count * shift for count in counts for _ in (0, 1)]
        axes.plot([x[0], *x, x[-1]], [0.6, *y, 0.6], color=colour, linewidth=1.4, solid_joinstyle="miter")
    axes.set_yscale("log", base=2)
    axes.set_ylim(0.7, 2 * max(2 ** (fmt.p - 1) for fmt in formats))
    _title(axes, "b", "values in a binade")


def _spacing(axes: Any, formats: Sequence[fe.Format], colours: Sequence[str]) -> None:
    for index, (fmt, colour) in enumerate(zip(formats, colours, strict=False)):
        low, normal, high = _ends(fmt)
        alike = sum(other.p == fmt.p for other in formats[:index])
        style = {"color": colour, "linewidth": 1.2, "linestyle": DASHES[alike % len(DASHES)]}
        if high - low > LINEAR:  # too many teeth to be seen: the band that they fill
            axes.fill_between([normal, high], -fmt.p, 1 - fmt.p, color=colour, alpha=0.35, linewidth=0)
            axes.plot([low, normal], [fmt.qmin - low, fmt.qmin - normal], **style)
            continue
        steps = range(math.floor(low) + 1, math.floor(high) + 1)
        x = np.array([low, *(place for e in steps for place in (e - 1e-9, e)), high])
        flat = np.maximum(np.floor(x), fmt.emin) if fmt.subnormals else np.floor(x)
        axes.plot(x, flat - fmt.trailing_bits - x, solid_joinstyle="miter", **style)
    axes.set_ylim(-max(fmt.p for fmt in formats) - 0.8, 0.8)
    axes.yaxis.set_major_formatter(_power)
    banded = any(high - low > LINEAR for low, _, high in map(_ends, formats))
    words = "; bands: teeth too fine to be seen" if banded else ""
    _title(axes, "c", f"distance to the next value, relative to the value{words}")


def _axis(panels: Sequence[Any], formats: Sequence[fe.Format]) -> None:
    low, high = _span(formats)
    bent = _place(formats)
    margin = 0.06 * max(abs(low), abs(high)) if bent else 0.03 * (high - low) + 0.1
    for axes in panels:
        if bent:
            axes.set_xscale("function", functions=bent)
        axes.set_xlim(low - margin, high + margin)
    step = next(s for s in (1, 2, 4, 8) if (high - low) / s <= 16 or s == 8)
    ticks = list(range(math.ceil(low / step) * step, math.floor(high) + 1, step))
    if bent:
        powers = [0, *(2**n for n in range(2, 16))]
        ticks = sorted({s * e for e in powers for s in (-1, 1) if low - 2 <= s * e <= high + 2})
    panels[-1].set_xticks(ticks)
    panels[-1].xaxis.set_major_formatter(_power)
    panels[-1].set_xlabel("magnitude", fontsize=9)


def draw(figure: Any, formats: Sequence[fe.Format], colours: Sequence[str]) -> None:
    """Draw formats on an empty figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    formats : sequence of Format
        1 to ``MOST``, in the order from top to bottom.
    colours : sequence of str
        At least as many.
    """
    heights = [0.34 * len(formats) + 0.15, 1.15, 1.75]
    panels = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": heights})
    _rows(panels[0], formats, colours)
    _counts(panels[1], formats, colours)
    _spacing(panels[2], formats, colours)
    _axis(panels, formats)
    for axes in panels:
        for side in ("top", "right", *(("left", "bottom") if axes is panels[0] else ())):
            axes.spines[side].set_visible(False)
        axes.grid(axis="x" if axes is panels[0] else "both", color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8, length=0 if axes is panels[0] else 3, color="0.6")
