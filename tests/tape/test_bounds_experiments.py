"""Published and derived figures of low-precision sums, constants and updates, each under its number.

The numbers are those of the acceptance experiments; every expected figure is derived where it stands.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from analysis import bounds
from analysis.arithmetics.stochastic import Stochastic
from analysis.ensembles import ensemble
from analysis.formulas import drift
from analysis.ops import Builder
from analysis.tape import Tape


def _sum(terms: np.ndarray) -> Tape:
    builder = Builder("sum")
    builder.target("total", builder.leaf("input", terms).sum(0))
    return builder.build()


# Experiment 2. Adding ones is exact up to 2^p; 2^p + 1 lies halfway to 2^p + 2, and the tie goes back to the even 2^p.
# Of E2M1's values 0 .. 6, 4 = 2^p too: 5 lies halfway to 6, whose significand is odd.
STOPS = {"fp16": 2048, "bf16": 256, "tf32": 2048, "e4m3fn": 16, "e5m2": 8, "e3m2fn": 8, "e2m1fn": 4}


@pytest.mark.parametrize("fmt", STOPS)
def test_experiment_2_sum_of_ones_stops_at_two_to_the_p(fmt: str) -> None:
    p = fe.get_format(fmt).p
    assert STOPS[fmt] == 2**p
    assert fe.sum(np.ones(2 * 2**p + 3), fmt) == 2**p
    tape = _sum(np.ones(2 * 2**p))
    policy = an.Policy.mixed(fmt, accumulate=fmt)
    run = an.replay(tape, policy)
    assert run.value("total") == 2**p
    found = bounds.of(run, 1, policy)
    assert found.measured == 2**p
    assert found.drift == pytest.approx(-math.sqrt(2**p), rel=1e-12)


def test_experiment_2_sum_of_ones_stops_at_16777216_in_binary32() -> None:
    assert fe.sum(np.ones(2**24 + 5, np.float32), "fp32") == 2**24 == 16777216


# Experiment 4. bfloat16 at w = 1: 2^-7 is the spacing above 1, 2^-8 that below.
@pytest.mark.parametrize(
    ("step", "after"),
    [
        (2.0**-8, 1.0),  # a tie between 1 and 1 + 2^-7: 1 is even
        (-(2.0**-8), 1.0 - 2.0**-8),  # representable
        (-(2.0**-9), 1.0),  # a tie between 1 - 2^-8, odd, and 1
        (2.0**-10, 1.0),
        (-(2.0**-10), 1.0),
    ],
    ids=["plus 2^-8 lost", "minus 2^-8 moves", "minus 2^-9 lost", "plus 2^-10 lost", "minus 2^-10 lost"],
)
def test_experiment_4_updates_of_one_in_bfloat16(step: float, after: float) -> None:
    builder = Builder("update")
    w, g = builder.leaf("parameter", np.array(1.0)), builder.leaf("input", np.array(step))
    with builder.at("w", direction="update"):
        builder.target("w", w + g)
    run = an.replay(builder.build(), "bf16")
    assert run.value("w") == after
    kinds = [event.kind for event in run.events]
    assert kinds == ([] if after != 1.0 else ["lost_update"])


# Experiment 5. fp16's least number is 2^-24 = 6e-8, and 1e-8 is below half of it; 0.999 lies 0.001 from 1 in bfloat16,
# whose spacing below 1 is 2^-8 = 0.0039; -3.4028e38 lies beyond bfloat16's 3.3895e38 and half a spacing, 3.3962e38.
@pytest.mark.parametrize(
    ("fmt", "number", "held"),
    [
        ("fp16", 1e-8, 0.0),
        ("bf16", 0.999, 1.0),
        ("bf16", 0.9, 0.8984375),
        ("fp16", 0.999, 0.9990234375),
        ("e4m3fn", 0.999, 1.0),
        ("e5m2", 0.999, 1.0),
        ("e5m2", 0.95, 1.0),
        ("bf16", float(np.finfo(np.float32).min), -math.inf),
        ("fp16", float(np.finfo(np.float32).min), -math.inf),
    ],
)
def test_experiment_5_constants_of_optimisers_and_masks(fmt: str, number: float, held: float) -> None:
    builder = Builder("constant")
    builder.target("c", builder.constant(number))
    assert an.replay(builder.build(), fmt).value("c") == held


# Experiment 6. N. Wang et al., "Training deep neural networks with 8-bit floating point numbers", NeurIPS 2018: sums of
# numbers of mean 1 and standard deviation 1 in their FP16, (1, 6, 9). Here uniform on 1 -+ sqrt(3), so that no term
# exceeds 2.74. From 4096 on the spacing is 8: a term below 4 changes nothing, and the sum stays at 4096 exactly.
WANG = fe.Format(name="1, 6, 9", k=16, p=10, high_nans=2**9 - 1)


def _wang(n: int, seed: int = 0) -> np.ndarray:
    return fe.round(1.0 + an.nets.uniform(seed, 6, (n,), math.sqrt(3.0)), WANG)


@pytest.mark.parametrize(("n", "ratio"), [(16384, 0.25), (65536, 0.0625)])
def test_experiment_6_swamping_stops_the_sum_at_4096(n: int, ratio: float) -> None:
    terms = _wang(n)
    assert fe.sum(terms, WANG) == 4096.0
    assert 4096.0 / terms.sum() == pytest.approx(ratio, rel=0.03)


def test_experiment_6_4096_terms_lose_some_seven_percent() -> None:
    # above 2048 the spacing is 4: terms below 2 vanish, those above, 21 in 100, count as 4: growth 0.85 for 1
    ratios = [fe.sum(_wang(4096, seed), WANG) / _wang(4096, seed).sum() for seed in range(8)]
    assert all(0.90 < ratio < 0.96 for ratio in ratios)


@pytest.mark.parametrize(
    ("n", "block", "low", "high"), [(16384, 32, 0.995, 1.005), (65536, 32, 0.95, 1.0), (65536, 64, 0.99, 1.01)]
)
def test_experiment_6_blocks_of_32_or_64_are_enough(n: int, block: int, low: float, high: float) -> None:
    # block sums near 32 meet totals of spacing 32 and 64 only beyond 2^15 = 32768: there a few in a hundred are lost
    terms = _wang(n)
    assert low < fe.sum(terms, WANG, order=f"blocked({block})") / terms.sum() < high


def test_experiment_6_stochastic_rounding_keeps_the_mean() -> None:
    terms = _wang(65536)
    drawn = np.array(
        [fe.sum(terms, WANG, "stochastic_c", random_bits=32, seed=seed) / terms.sum() for seed in range(40)]
    )
    error = drawn.std(ddof=1) / math.sqrt(40)
    assert abs(drawn.mean() - 1) < 4 * error
    assert 0.005 < drawn.std() < 0.05  # a single run, such as the 0.966 of one report, lies within two of these


def test_experiment_6_an_ensemble_on_the_tape_says_the_same() -> None:
    found = ensemble(_sum(_wang(3000)), lambda k: Stochastic(WANG, 3, k), 6).targets["total"]
    assert abs(found.mean - _wang(3000).sum()) < 5 * found.standard_error


# Experiment 16. Flash attention in bfloat16 (H. Qiu and Q. Yao, arXiv 2510.04212): where the largest probability is
# exactly 1 for several keys and the values share their sign, adding them carries into the next binade; what falls off
# is one bit, always a tie, and the small rest of the row, of the same sign, puts each tie on the same side.
PAIRS = 4096


def _attention(rest: float) -> tuple[Tape, an.Policy]:
    odd = np.round((an.nets.uniform(16, 0, (2, PAIRS), 1.0) + 1.0) * 63.5)  # 0 .. 127: all significands of [-2, -1)
    values = np.vstack([-(1.0 + odd * 2.0**-7), np.full((1, PAIRS), rest)])
    builder = Builder("attention")
    p = builder.leaf("input", np.array([[1.0, 1.0, 2.0**-9]]))
    builder.target("o", p @ builder.leaf("input", values))
    numerics = an.Numerics(accumulate="fp32", result="bf16")
    return builder.build(), an.Policy("bf16 from fp32", (an.Rule(an.Numerics(), op="input"), an.Rule(numerics)))


def _rounding_errors(rest: float) -> tuple[np.ndarray, float]:
    """Errors in spacings of [2, 4), 2^-6, and their drift; binary32 holds the sums exactly."""
    tape, policy = _attention(rest)
    run = an.replay(tape, policy)
    (bound,) = bounds.check(run, policy)
    errors = (run.value("o") - tape.data[0] @ tape.data[1]).ravel()
    assert bound.drift == 0.0
    assert bound.result_drift == drift(errors, run.value("o").ravel())
    assert bound.biased == (abs(bound.result_drift) > bounds.DRIFT)
    return errors * 2.0**6, bound.result_drift


def test_experiment_16_one_sided_ties_bias_the_mean_by_a_quarter_of_a_spacing() -> None:
    errors, drifted = _rounding_errors(-1.0)
    standard_error = errors.std(ddof=1) / math.sqrt(PAIRS)
    # half of the sums are ties and all of these go away from zero, by 1/2 less the rest of 1/8; the others lose 1/8
    assert errors.mean() == pytest.approx(-0.25 + 0.125, abs=4 * standard_error)
    assert abs(errors.mean()) > 15 * standard_error
    assert drifted > bounds.DRIFT


def test_experiment_16_ties_without_a_rest_are_not_biased() -> None:
    errors, drifted = _rounding_errors(0.0)
    standard_error = errors.std(ddof=1) / math.sqrt(PAIRS)
    assert set(np.abs(errors).tolist()) == {0.0, 0.5}
    assert abs(errors.mean()) < 4 * standard_error
    assert abs(drifted) < 4


def test_experiment_16_a_rest_of_the_other_sign_turns_the_bias_round() -> None:
    errors, drifted = _rounding_errors(1.0)
    assert errors.mean() > 15 * errors.std(ddof=1) / math.sqrt(PAIRS) > 0
    assert drifted < -bounds.DRIFT
