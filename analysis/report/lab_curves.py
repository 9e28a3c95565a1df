"""Loss curves as small SVG drawings inside the page: no script, colours from the page's theme."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ..verdict import number
from .lab_content import number_of
from .markup import escape

__all__ = ["Curve", "curves", "draw", "losses"]

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 8, 24
MOST_POINTS = 120
LEAST = 1e-12
TOP_OF = 100.0
"""How many times the first loss a drawing reaches: what explodes leaves it at the top."""


@dataclass(frozen=True)
class Curve:
    """One line of a drawing.

    Attributes
    ----------
    name : str
    kind : str
        Class of the line: "reference", "baseline", "first", "second" or "third".
    runs : sequence of sequence of float
        The loss in every step, one sequence for each seed.
    """

    name: str
    kind: str
    runs: Sequence[Sequence[float]]

    @property
    def middle(self) -> list[float]:
        """Median over the seeds, up to the first step in which it is no number."""
        found = []
        for values in zip(*self.runs):
            now = median(math.inf if math.isnan(value) else value for value in values)
            if not math.isfinite(now):
                break
            found.append(now)
        return found

    @property
    def steps(self) -> int:
        """Number of steps that all seeds have."""
        return min(map(len, self.runs), default=0)


def losses(records: Sequence[Mapping[str, Any]], key: str = "loss") -> list[list[float]]:
    """Return the losses of some records, step by step, those with at least two steps.

    Parameters
    ----------
    records : sequence of mapping
    key : str
        "loss", or "reference" for the same training in binary64.

    Returns
    -------
    list of list of float
    """
    found = []
    for record in records:
        given = record.get(key)
        if isinstance(given, dict):
            given = given.get("loss")
        if isinstance(given, list) and len(given) > 1:
            found.append([number_of(value) for value in given])
    return found


def curves(*given: tuple[str, str, Sequence[Sequence[float]]]) -> list[Curve]:
    """Return those of the given lines (name, kind, runs) that have a run."""
    return [Curve(name, kind, runs) for name, kind, runs in given if runs]


def _ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers between the ends, in powers of ten where the ends lie decades apart."""
    if high / low > 30:
        powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        return [10.0**power for power in powers[:: max(1, len(powers) // 5 + (len(powers) % 5 > 0))]]
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 5)
    return [step * index for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def draw(lines: Sequence[Curve], caption: str) -> str:
    """Return a figure with the losses over the steps; nothing where there is nothing to draw.

    Parameters
    ----------
    lines : sequence of Curve
    caption : str
        Plain text.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> draw([], "nothing")
    ''
    >>> drawn = draw([Curve("without", "baseline", [[2.0, 1.0, float("nan")]])], "Loss")
    >>> drawn.count("<polyline"), 'class="end' in drawn
    (1, True)
    """
    values = [value for line in lines for value in line.middle]
    if not values:
        return ""
    first = max(line.middle[0] for line in lines if line.middle)
    low, high = max(min(values), LEAST), max(min(max(values), TOP_OF * first), LEAST * 2)
    if high / low < 1.02:
        low, high = low / 1.05, high * 1.05
    steps = max(line.steps for line in lines)
    logarithmic = high / low > 30

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / max(1, steps - 1)

    def y(value: float) -> float:
        at = min(max(value, low), high)
        share = math.log(at / low) / math.log(high / low) if logarithmic else (at - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    parts = []
    for tick in _ticks(low, high):
        at = f"{y(tick):.1f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="tick n" x="{LEFT - 5}" y="{y(tick) + 3.5:.1f}">{number(tick, 3)}</text>')
    for step in sorted({0, steps - 1}):
        side = "" if step == 0 else " n"
        parts.append(f'<text class="tick{side}" x="{x(step):.1f}" y="{HEIGHT - 8}">{step + 1}</text>')
    parts.append(f'<text class="tick m" x="{x((steps - 1) / 2):.1f}" y="{HEIGHT - 8}">step</text>')
    for line in lines:
        middle = line.middle
        stride = max(1, math.ceil(len(middle) / MOST_POINTS))
        kept = [*range(0, len(middle), stride)]
        if middle and kept[-1] != len(middle) - 1:
            kept.append(len(middle) - 1)
        points = " ".join(f"{x(step):.1f},{y(middle[step]):.1f}" for step in kept)
        parts.append(f'<polyline class="{line.kind}" points="{points}"/>')
        if middle and len(middle) < line.steps:
            parts.append(_end(x(len(middle) - 1), y(middle[-1]), line.kind))
    text = escape(caption)
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text}" class="curve">'
    return f"<figure>{head}{''.join(parts)}</svg><figcaption>{text}<br>{_legend(lines)}</figcaption></figure>"


def _end(x: float, y: float, kind: str) -> str:
    return f'<path class="end {kind}" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'


def _legend(lines: Sequence[Curve]) -> str:
    names = []
    for line in lines:
        lost = "" if len(line.middle) == line.steps else f" (no number from step {len(line.middle) + 1})"
        names.append(f'<span class="key {line.kind}"><i></i>{escape(line.name + lost)}</span>')
    return " ".join(names)
