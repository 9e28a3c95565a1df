"""What a mitigation does to a failure: paired differences over seeds, with exact bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["ENOUGH", "Comparison", "Interval", "compare", "interval"]

ENOUGH = 5
"""Number of seeds from which on an interval without 0 makes a verdict; with fewer it is indicative."""
TAIL = 0.025


@dataclass(frozen=True)
class Interval:
    """A median and the 95 % bootstrap interval around it.

    Attributes
    ----------
    median, lo, hi : float
    """

    median: float
    lo: float
    hi: float


@dataclass(frozen=True)
class Comparison:
    """A metric with a mitigation beside the same metric without it.

    Attributes
    ----------
    verdict : str
        "cured" or "worse" if the interval of the paired difference excludes 0 over at least ``ENOUGH`` seeds,
        "indicative" if it does so over fewer, "unchanged" if it does not.
    direction : str
        Where the difference points if the interval excludes 0: "better", "worse"; else "none".
    baseline, value, difference : Interval
        Without, with, and with less without, paired by seed.
    seeds : int
        Number of pairs.
    """

    verdict: str
    direction: str
    baseline: Interval
    value: Interval
    difference: Interval
    seeds: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)


def _middle(a: float, b: float) -> float:
    if a == b:
        return a
    return 0.0 if math.isinf(a) and math.isinf(b) else a / 2 + b / 2


def _medians(ordered: Sequence[float]) -> list[tuple[float, float]]:
    """Every median that a resample can have, with its probability, in order.

    The k-th of n order statistics of a resample is at most the i-th value with the probability that a binomial variable
    (n, i/n) is at least k (Efron, Bootstrap methods: another look at the jackknife, 1979). Of an even number n = 2 m,
    the two in the middle are the i-th and the j-th value, i < j, if m draws are at most the i-th, the largest of them
    equal to it, and the least of the others is the j-th.
    """
    n = len(ordered)

    def at_most(k: int, i: int) -> float:
        return sum(math.comb(n, c) * (i / n) ** c * (1 - i / n) ** (n - c) for c in range(k, n + 1))

    if n % 2:
        k = (n + 1) // 2
        return [(ordered[i - 1], at_most(k, i) - at_most(k, i - 1)) for i in range(1, n + 1)]
    m = n // 2
    found = []
    for i in range(1, n + 1):
        alone = at_most(m, i) - at_most(m, i - 1)
        for j in range(i + 1, n + 1):
            low = (i / n) ** m - ((i - 1) / n) ** m
            high = ((n - j + 1) / n) ** m - ((n - j) / n) ** m
            pair = math.comb(n, m) * low * high
            alone -= pair
            found.append((_middle(ordered[i - 1], ordered[j - 1]), pair))
        found.append((ordered[i - 1], alone))
    return sorted(found)


def interval(values: Sequence[float]) -> Interval:
    """Return the median of some values with its 95 % percentile bootstrap interval.

    Parameters
    ----------
    values : sequence of float
        At least one; infinite ones are allowed, NaN is not.

    Returns
    -------
    Interval

    Notes
    -----
    The distribution of the bootstrap median is computed, not drawn. With three to five seeds its interval reaches from
    the least to the largest value, so that it excludes 0 if and only if all differences have one sign.

    Examples
    --------
    >>> interval([3.0, 1.0, 2.0])
    Interval(median=2.0, lo=1.0, hi=3.0)
    >>> interval([float(x) for x in range(1, 12)])
    Interval(median=6.0, lo=3.0, hi=9.0)
    """
    ordered = sorted(values)
    total, ends = 0.0, []
    medians = _medians(ordered)
    for limit in (TAIL, 1 - TAIL):
        total = 0.0
        for value, share in medians:
            total += share
            if total >= limit:
                ends.append(value)
                break
        else:  # the shares' sum lacks a few roundings of 1
            ends.append(medians[-1][0])
    n = len(ordered)
    return Interval(_middle(ordered[(n - 1) // 2], ordered[n // 2]), *ends)


def _known(value: float) -> float:
    """What is no number is the worst there is."""
    return math.inf if math.isnan(value) else value


def compare(baseline: Mapping[int, float], value: Mapping[int, float]) -> Comparison | None:
    """Return what a mitigation does to a metric, of which less is better.

    Parameters
    ----------
    baseline, value : mapping of int to float
        The metric by seed, without and with the mitigation; NaN counts as the worst there is.

    Returns
    -------
    Comparison or None
        None if no seed has both.

    Examples
    --------
    >>> found = compare({0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.1, 1: 0.2, 2: 0.1})
    >>> found.verdict, found.direction, found.value.median
    ('indicative', 'better', 0.1)
    >>> compare({seed: 0.5 for seed in range(5)}, {seed: 0.6 for seed in range(5)}).verdict
    'worse'
    """
    seeds = [seed for seed in baseline if seed in value]
    if not seeds:
        return None
    before = [_known(baseline[seed]) for seed in seeds]
    after = [_known(value[seed]) for seed in seeds]
    difference = interval([0.0 if a == b else b - a for a, b in zip(before, after)])
    direction = "none"
    if difference.lo > 0 or difference.hi < 0:
        direction = "better" if difference.hi < 0 else "worse"
    verdict = "unchanged"
    if direction != "none":
        verdict = "indicative" if len(seeds) < ENOUGH else "cured" if direction == "better" else "worse"
    return Comparison(verdict, direction, interval(before), interval(after), difference, len(seeds))
