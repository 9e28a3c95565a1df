"""softmax and logsumexp, step by step against exact rationals and mpmath at 300 bits."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import summation
from oracles import assert_bits

import floatemu as fe
from floatemu import reference
from floatemu.normalisation import logsumexp, softmax
from floatemu.projection import Projection
from floatemu.reference import Datum


def rounded(value: Any, fmt: fe.Format, by: Projection, stream: int, position: int, raised: list[int]) -> Datum:
    """One rounding; its flags are added to ``raised``."""
    random = 0
    if by.random_bits:
        random = reference.random_word(9, stream, position) >> (32 - by.random_bits)
    raised.append(reference.flags(value, fmt, by, random))
    return reference.round(value, fmt, by, random)


def steps(x: Any, kind: str, numbers: list[int], by: Projection, inner: fe.Format, result: fe.Format) -> Any:
    """softmax and logsumexp of one row, with stream 1: values and flags of each."""
    top = max(x)
    with mpmath.workprec(300):
        powers, raised = [], []
        for i, v in enumerate(x):
            exact = reference.exact(float(v)).value - reference.exact(float(top)).value
            shifted = rounded(exact, inner, by, 5, i, raised)
            power = mpmath.exp(mpmath.mpf(float(shifted)))
            powers.append(float(rounded(power, inner, by, 6, i, raised)))
        machine = summation.Machine(by, 9, 7)
        total = summation.reduce(machine, powers, None, kind, numbers, False, inner, inner, inner)
        shared = int(np.bitwise_or.reduce([*raised, machine.flags]))
        late = [shared]
        log = rounded(mpmath.log(mpmath.mpf(float(total))), inner, by, 8, 0, late)
    last = float(rounded(reference.exact(float(top)).value + log.value, result, by, 9, 0, late))
    quotients, masks = [], []
    for i, p in enumerate(powers):
        own = [shared]
        quotients.append(float(rounded(reference.exact(p).value / total.value, result, by, 8, i, own)))
        masks.append(int(np.bitwise_or.reduce(own)))
    return (np.array(quotients), np.array(masks, np.uint8)), (last, np.uint8(np.bitwise_or.reduce(late)))


@pytest.mark.parametrize("mode", ["rne", "rtp", "rto", "stochastic_a"])
@pytest.mark.parametrize(
    ("order", "kind", "numbers"), [("sequential", "sequential", []), ("blocked(3)", "blocked", [3])]
)
@pytest.mark.parametrize(("inner", "result"), [("bfloat16", "bfloat16"), ("binary32", "e4m3fn"), ("binary16", "tf32")])
def test_every_step_is_rounded(mode, order, kind, numbers, inner, result):
    rng = np.random.default_rng(0)
    by = Projection(mode, random_bits=6 if mode == "stochastic_a" else None)
    given = {"seed": 9, "stream": 1, "random_bits": 6} if mode == "stochastic_a" else {}
    for scale in (0.3, 4.0):
        x = rng.standard_normal(11) * scale
        want, total = steps(x, kind, numbers, by, fe.get_format(inner), fe.get_format(result))
        given |= {"order": order, "accumulate": inner, "dtype": np.float64}
        assert_bits(softmax(x, result, mode, **given), want[0])
        assert_bits(np.asarray(logsumexp(x, result, mode, **given)), np.asarray(total[0]))
        for face, expected in ((softmax, want), (logsumexp, total)):
            for got, part in zip(face(x, result, mode, flags=True, **given), expected, strict=True):
                assert_bits(np.asarray(got), np.asarray(part))


def test_flags_of_one_row_stay_in_it():
    x = np.array([[0.0, 0.0], [0.0, -9.0], [0.0, -30.0]])
    flag = fe.Flag
    rows = softmax(x, "binary16", flags=True)[1]
    lost = flag.INEXACT | flag.UNDERFLOW | flag.FLUSHED
    assert rows.tolist() == [[0, 0], [flag.INEXACT] * 2, [lost] * 2]
    columns = logsumexp(x, "binary16", axis=1, keepdims=True, flags=True)[1]
    assert columns.shape == (3, 1)
    assert columns[:, 0].tolist() == [flag.INEXACT, flag.INEXACT, lost]


def test_rows_are_reduced_on_their_own():
    x = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    for axis in (0, 1, -1):
        moved = np.moveaxis(x, axis, -1)
        rows = np.array([[softmax(r, "bfloat16") for r in plane] for plane in moved])
        assert_bits(np.moveaxis(softmax(x, "bfloat16", axis=axis), axis, -1), rows)
        sums = np.array([[logsumexp(r, "bfloat16") for r in plane] for plane in moved])
        assert_bits(logsumexp(x, "bfloat16", axis=axis), sums)
        kept = logsumexp(x, "bfloat16", axis=axis, keepdims=True)
        assert_bits(kept, np.expand_dims(logsumexp(x, "bfloat16", axis=axis), axis))
    assert softmax(x, "bfloat16", axis=None).shape == x.shape


def test_infinities_and_empty_axes():
    inf = np.inf
    assert logsumexp([-inf, -inf], "binary16") == -inf
    assert logsumexp([1.0, inf], "binary16") == inf
    assert logsumexp([], "binary16") == -inf
    assert softmax([-inf, 0.0], "binary16").tolist() == [0.0, 1.0]
    assert np.isnan(softmax([-inf, -inf], "binary16")).all()
    assert np.isnan(logsumexp([np.nan, 1.0], "binary16"))
    assert softmax(np.empty((2, 0)), "binary16").shape == (2, 0)


def test_a_long_softmax_in_bfloat16_does_not_sum_to_one():
    """A sequential sum of 4096 ones stops at 256, so the probabilities add up to 16."""
    equal = softmax(np.zeros(4096), "bfloat16")
    assert np.all(equal == 1 / 256)
    assert np.all(softmax(np.zeros(4096), "bfloat16", order="pairwise") == 1 / 4096)
