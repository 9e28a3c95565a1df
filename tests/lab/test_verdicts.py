"""Intervals against every resample there is; verdicts as the rule says."""

from __future__ import annotations

import itertools
import math
import random
from statistics import median

import pytest

from analysis.lab.verdicts import compare, interval

INF = math.inf


def resampled(values: list[float]) -> tuple[float, float, float]:
    """The same by going through all n^n resamples."""
    medians = sorted(median(sample) for sample in itertools.product(values, repeat=len(values)))
    ends = [medians[math.ceil(share * len(medians) - 1e-9) - 1] for share in (0.025, 0.975)]
    return median(values), *ends


@pytest.mark.parametrize("count", range(1, 7))
def test_the_interval_is_that_of_all_resamples(count: int) -> None:
    chance = random.Random(count)
    for _ in range(5):
        values = [chance.choice([chance.random(), 0.5, 2.0]) for _ in range(count)]  # ties too
        found = interval(values)
        assert (found.median, found.lo, found.hi) == pytest.approx(resampled(values), abs=0)


def test_one_dissenting_seed_of_five_is_enough_to_decide_nothing_and_one_of_nine_is_not() -> None:
    before = dict.fromkeys(range(9), 1.0)
    after = dict.fromkeys(range(9), 0.5) | {4: 1.5}
    five = {seed: after[seed] for seed in range(5)}
    assert compare(before, five).verdict == "unchanged"  # type: ignore[union-attr]
    assert compare(before, after).verdict == "cured"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("after", "seeds", "verdict", "direction"),
    [
        (0.5, 5, "cured", "better"),
        (2.0, 5, "worse", "worse"),
        (1.0, 5, "unchanged", "none"),
        (0.5, 4, "indicative", "better"),
        (2.0, 3, "indicative", "worse"),
        (1.0, 3, "unchanged", "none"),
        (math.nan, 5, "worse", "worse"),
        (INF, 5, "worse", "worse"),
    ],
)
def test_verdicts(after: float, seeds: int, verdict: str, direction: str) -> None:
    found = compare(dict.fromkeys(range(seeds), 1.0), dict.fromkeys(range(seeds), after))
    assert found is not None
    assert (found.verdict, found.direction, found.seeds) == (verdict, direction, seeds)


def test_what_is_no_number_in_both_is_no_difference() -> None:
    found = compare(dict.fromkeys(range(5), math.nan), dict.fromkeys(range(5), INF))
    assert found is not None
    assert (found.verdict, found.difference.median) == ("unchanged", 0.0)
    cured = compare(dict.fromkeys(range(5), math.nan), dict.fromkeys(range(5), 0.1))
    assert cured is not None
    assert cured.verdict == "cured"


def test_pairs_are_made_by_seed() -> None:
    before = {seed: float(seed) for seed in range(6)}  # they differ far more than the mitigation does
    found = compare(before, {seed: seed - 0.125 for seed in range(5, -1, -1)})
    assert found is not None
    assert (found.verdict, found.difference.lo, found.difference.hi) == ("cured", -0.125, -0.125)
    assert compare({0: 1.0}, {1: 1.0}) is None
