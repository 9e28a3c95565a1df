"""Sums, means, dots and norms in every order, bit for bit against plain Python over exact rationals."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import summation
from oracles import assert_bits

import floatemu as fe
from floatemu import reductions
from floatemu.projection import Projection, Rounding, Saturation

ORDERS = [
    "sequential", "pairwise", "blocked(1)", "blocked(3)", "blocked(64)", "numpy_pairwise", "numpy_pairwise(4, 2)",
    "numpy_pairwise(9, 4)", "numpy_pairwise(3, 1)", "kahan", "neumaier", "exact",
]  # fmt: skip
FUSABLE = [order for order in ORDERS if order.startswith(("sequential", "blocked", "numpy"))]
ODD = [
    fe.Format("no subnormals", k=9, p=5, subnormals=False),
    fe.Format("powers", k=6, p=1),
    fe.Format("narrow", k=7, p=4, infinities=False, high_nans=1),
    fe.Format("wide", k=40, p=30),
    fe.Format("widest", k=63, p=53),
    fe.Format("positive", k=8, p=4, signed=False),
]
FORMATS = [
    fe.get_format(n) for n in ("binary16", "bfloat16", "e4m3fn", "e5m2", "e4m3fnuz", "tf32", "binary32", "binary64")
]


def operands(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> Any:
    if kind == "plain":
        return rng.standard_normal(shape)
    if kind == "cancelling":
        values = rng.standard_normal(shape) * np.exp2(rng.integers(-3, 12, shape))
        return np.where(rng.random(shape) < 0.4, -np.roll(values, 1, -1), values)
    if kind == "gaps":
        return rng.standard_normal(shape) * np.exp2(rng.integers(-40, 40, shape))
    if kind == "ends":
        return rng.standard_normal(shape) * np.exp2(rng.choice([-1060.0, -1020.0, 1019.0, 0.0, -24.0, 15.0], shape))
    pool = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 65504.0, 2.0**-24, 448.0, 1e300])
    return rng.choice(pool, shape, p=[0.2, 0.2, 0.03, 0.03, 0.02, 0.12, 0.12, 0.1, 0.1, 0.05, 0.03])


KINDS = ["plain", "cancelling", "gaps", "ends", "special"]


def numbers_of(order: str) -> tuple[str, list[int]]:
    numbers = [int(v) for v in re.findall(r"\d+", order)]
    kind = order.split("(")[0]
    return kind, numbers or ([128, 8] if kind == "numpy_pairwise" else [])


def expected(
    x: Any, y: Any, order: str, by: Projection, product: Any, accumulate: Any, result: Any, fused: bool = False,
    finish: str = "sum", nan: Any = None, seed: int = 5, stream: int = 2, flagged: bool = True,
) -> Any:  # fmt: skip
    """Reduce the last axis of 2-D operands with the oracle: values and flags, or None if not ``flagged``."""
    kind, numbers = numbers_of(order)
    values, flags = [], []
    for i in range(len(x)):
        machine = summation.Machine(by, seed, stream, len(x), i, nan, flagged=flagged)
        other = None if y is None else y[i]
        one = summation.reduce(machine, x[i], other, kind, numbers, fused, product, accumulate, result, finish)
        values.append(float(one))
        flags.append(machine.flags)
    return np.array(values, np.float64), np.array(flags, np.uint8) if flagged else None


def check(face: Any, *operands: Any, want: Any, what: str, **given: Any) -> None:
    """Compare a face's values, and if flags are known those that come with flags, and the flags."""
    assert_bits(face(*operands, **given), want[0], what=what)
    if want[1] is None:
        return
    values, flags = face(*operands, **given, flags=True)
    assert_bits(values, want[0], what=f"{what}, with flags")
    assert_bits(flags, want[1], what=f"{what}, flags")


def settings(by: Projection, nan: Any = None) -> dict[str, Any]:
    given: dict[str, Any] = {"rounding": by.rounding, "saturation": by.saturation, "nan": nan, "dtype": np.float64}
    if by.rounding.stochastic:
        given |= {"random_bits": by.random_bits, "seed": 5, "stream": 2}
    return given


def projection(rng: np.random.Generator) -> Projection:
    mode = Rounding(int(rng.integers(9)))
    bits = int(rng.choice([1, 3, 8, 32])) if mode.stochastic else None
    return Projection(mode, Saturation(int(rng.integers(3))), bits)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_sum_equals_the_oracle(order, kind):
    rng = np.random.default_rng([ORDERS.index(order), KINDS.index(kind)])
    for count in (1, 2, 3, 7, 20):
        for trial in range(6):
            x = operands(rng, (3, count), kind)
            accumulate, result = (rng.choice(np.array([*FORMATS, *ODD], object)) for _ in range(2))
            by = projection(rng)
            nan = "max" if not (accumulate.has_nan and result.has_nan) else None
            want = expected(x, None, order, by, accumulate, accumulate, result, nan=nan, flagged=trial < 2)
            what = f"{accumulate.name} {result.name} {by} {x!r}"
            given = {"axis": 1, "order": order, "accumulate": accumulate, **settings(by, nan)}
            check(reductions.sum, x, result, want=want, what=what, **given)


@pytest.mark.parametrize("mode", Rounding)
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.name)
def test_sequential_sum_in_every_mode(mode, fmt):
    rng = np.random.default_rng(int(mode))
    by = Projection(mode, random_bits=7 if mode.stochastic else None)
    x = np.concatenate([operands(rng, (2, 24), kind) for kind in KINDS])
    want = expected(x, None, "sequential", by, fmt, fmt, fmt)
    check(reductions.sum, x, fmt, want=want, what=f"{fmt.name} {by}", axis=1, **settings(by))


@pytest.mark.parametrize("order", ORDERS)
def test_dot_equals_the_oracle(order):
    rng = np.random.default_rng(ORDERS.index(order))
    for trial in range(30):
        kind, count = KINDS[trial % 5], int(rng.integers(1, 20))
        x, y = operands(rng, (2, count), kind), operands(rng, (2, count), kind)
        product, accumulate, result = (rng.choice(np.array([*FORMATS, *ODD], object)) for _ in range(3))
        by = projection(rng)
        want = expected(x, y, order, by, product, accumulate, result, nan="zero", flagged=trial < 15)
        given = {"product": product} if order != "exact" else {}
        given |= {"order": order, "accumulate": accumulate, **settings(by, "zero")}
        what = f"{product.name} {accumulate.name} {result.name} {by} {x!r} {y!r}"
        check(reductions.dot, x, y, result, want=want, what=what, **given)


@pytest.mark.parametrize("order", FUSABLE)
def test_fused_dot_equals_the_oracle(order):
    rng = np.random.default_rng(ORDERS.index(order))
    for trial in range(30):
        kind, count = KINDS[trial % 5], int(rng.integers(1, 20))
        x, y = operands(rng, (2, count), kind), operands(rng, (2, count), kind)
        accumulate, result = (rng.choice(np.array([*FORMATS, *ODD], object)) for _ in range(2))
        by = projection(rng)
        want = expected(x, y, order, by, accumulate, accumulate, result, True, nan="zero", flagged=trial < 10)
        given = {"order": order, "accumulate": accumulate, "fused": True, **settings(by, "zero")}
        check(reductions.dot, x, y, result, want=want, what=f"{accumulate.name} {result.name} {by}", **given)


@pytest.mark.parametrize("finish", ["mean", "norm"])
@pytest.mark.parametrize("order", ORDERS)
def test_mean_and_norm_equal_the_oracle(order, finish):
    rng = np.random.default_rng(ORDERS.index(order))
    for trial in range(15):
        kind, count = KINDS[trial % 5], int(rng.integers(1, 12))
        x = operands(rng, (2, count), kind)
        accumulate, result = (rng.choice(np.array([*FORMATS, *ODD], object)) for _ in range(2))
        by = projection(rng)
        other = x if finish == "norm" else None
        want = expected(
            x, other, order, by, accumulate, accumulate, result, finish=finish, nan="zero", flagged=trial < 5
        )
        face = getattr(reductions, finish)
        given = {"axis": 1, "order": order, "accumulate": accumulate, **settings(by, "zero")}
        check(face, x, result, want=want, what=f"{accumulate.name} {result.name} {by} {x!r}", **given)


# Known limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fmt", "limit"), [("binary16", 2048), ("bfloat16", 256), ("e4m3fn", 16), ("e5m2", 8)])
def test_a_sum_of_ones_stops_at_two_to_the_p(fmt, limit):
    assert reductions.sum(np.ones(3000, np.float32), fmt) == limit
    assert reductions.dot(np.ones(3000), np.ones(3000), fmt) == limit
    assert reductions.sum(np.ones(limit, np.float32), fmt, order="pairwise") == limit


def test_trap_27_the_order_and_the_accumulator_decide_a_sum_of_ones():
    ones = np.ones(1000)
    assert reductions.sum(ones, "bfloat16") == 256
    assert reductions.dot(ones, ones, "bfloat16", accumulate="binary32") == 1000
    assert reductions.mean(ones, "bfloat16") == 0.255859375  # printed as 0.2559
    assert reductions.sum(ones, "bfloat16", order="exact") == 1000


def test_chunks_keep_a_long_sum_from_stopping():
    """Wang et al., "Training deep neural networks with 8-bit floating point numbers" (NeurIPS 2018), figure 3.

    With p = 10 the spacing of 4096 .. 8192 is 8, so terms below 4 leave a sum of 4096 as it is. Here they have
    mean 1, deviation 1 and lie within 1 +- sqrt(3).
    """
    fmt = fe.Format("FP16 (1, 6, 9)", k=16, p=10)
    rng = np.random.default_rng(0)
    x = fe.round(1 + np.sqrt(3) * (2 * rng.random(65536) - 1), fmt)
    for count in (16384, 65536):
        exact = float(reductions.sum(x[:count], "binary64", order="exact"))
        assert abs(exact / count - 1) < 0.02
        assert reductions.sum(x[:count], fmt) == 4096
        for order in ("blocked(32)", "blocked(64)", "pairwise"):
            assert abs(float(reductions.sum(x[:count], fmt, order=order)) / exact - 1) < 0.03
        stochastic = reductions.sum(x[:count], fmt, "stochastic_c", seed=1)
        assert abs(float(stochastic) / exact - 1) < 0.05
    ones = np.ones(65536)  # 32-term chunks add up until their own sum of 2^p chunks' worth
    assert reductions.sum(ones, fmt) == 1024
    assert reductions.sum(ones, fmt, order="blocked(32)") == 32 * 1024


def test_numpy_pairwise_is_what_numpy_does():
    rng = np.random.default_rng(0)
    for count in (1, 7, 8, 9, 127, 128, 129, 135, 136, 1000, 4097):
        for dtype in (np.float32, np.float64):
            x = (rng.standard_normal(count) * np.exp2(rng.integers(-9, 9, count))).astype(dtype)
            got = reductions.sum(x, "binary32" if dtype is np.float32 else "binary64", order="numpy_pairwise")
            assert_bits(np.asarray(got), np.asarray(x.sum()))


def test_kahan_keeps_what_a_plain_sum_loses():
    x = np.full(4000, 1.0)
    assert reductions.sum(x, "binary16", order="sequential") == 2048
    assert reductions.sum(x, "binary16", order="kahan") == 4000


# Axes, dtypes, errors -------------------------------------------------------------------------------------------------


def test_axes_are_those_of_numpy():
    x = np.arange(-30.0, 30.0).reshape(3, 4, 5)
    for axis in (None, 0, 1, -1, (0, 2), (2, 1), (0, 1, 2)):
        for keepdims in (False, True):
            got = reductions.sum(x, "binary32", axis=axis, keepdims=keepdims)
            assert_bits(np.asarray(got), x.sum(axis=axis, keepdims=keepdims))


def test_strides_and_byte_order_change_nothing():
    x = np.random.default_rng(1).standard_normal((6, 8)).astype(np.float32)
    want = reductions.sum(x, "bfloat16", axis=0)
    for same in (np.asfortranarray(x), x.astype(">f4"), np.repeat(x, 2, 1)[:, ::2], x.tolist()):
        assert_bits(np.asarray(reductions.sum(same, "bfloat16", axis=0), np.float32), want)


def test_no_terms_give_zero():
    for order in ORDERS:
        assert_bits(
            reductions.sum(np.empty((3, 0), np.float32), "binary16", axis=1, order=order), np.zeros(3, np.float32)
        )
    assert reductions.norm([], "binary16") == 0
    assert reductions.sum(np.empty((0, 3)), "binary16", axis=1).shape == (0,)
    with pytest.raises(fe.UnsupportedError, match="mean of no numbers"):
        reductions.mean([], "binary16")


def test_dtypes_follow_the_contract():
    assert reductions.sum(np.ones(3, np.float16), "e4m3fn", axis=0).dtype == np.float16
    assert reductions.sum(np.ones(3, np.float16), "binary32").dtype == np.float32
    assert reductions.sum([1, 2], "e4m3fn").dtype == np.float64
    out = np.empty(2, np.float32)
    assert reductions.sum(np.ones((2, 3)), "binary16", axis=1, out=out) is out
    assert out.tolist() == [3, 3]


def test_stochastic_bits_repeat_and_differ_by_stream():
    x = np.random.default_rng(0).standard_normal((4, 100))
    one, same, other = (
        reductions.sum(x, "bfloat16", "stochastic_c", axis=1, seed=3, stream=s).tolist() for s in (0, 0, 1)
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"order": "backwards"}, "order='backwards' is not an order of addition; accepted: sequential, pairwise"),
        ({"order": "blocked"}, "blocked(n) takes one number"),
        ({"order": "pairwise(3)"}, "pairwise takes no number"),
        ({"order": "blocked(0)"}, "a block holds 1 to"),
        ({"order": "blocked(99999999999999999999)"}, "a block holds 1 to 2147483647 terms"),
        ({"order": "numpy_pairwise(8, 3)"}, "lanes = 3 must be a power of two"),
        ({"order": "numpy_pairwise(8, 8)"}, "block = 8 at least 2 lanes - 1 = 15"),
        ({"order": 3}, "order=3 is not"),
        ({"axis": 2}, "axis=2 is out of range for x with 1 axes"),
        ({"axis": (0, 0)}, "names an axis twice"),
        ({"rounding": "stochastic_a"}, "needs random bits"),
        ({"accumulate": "binary128x"}, "binary128x"),
        ({"colour": 1}, "unknown option colour"),
    ],
)
def test_bad_arguments_are_one_clear_error(arguments, words):
    with pytest.raises(fe.FloatEmuError, match=re.escape(words)):
        reductions.sum([1.0, 2.0], "binary16", **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("blocked",), "a block holds 1 to"), (("blocked", 3, 2), "takes one number"),
        (("numpy_pairwise", 4, 4), "at least 2 lanes - 1 = 7"), (("numpy_pairwise", 128), "lanes = 0 must be"),
        (("kahan", 3), "kahan takes no number"), (("backwards",), "not an order"), (("blocked", 2.0), "are integers"),
    ],
)  # fmt: skip
def test_an_order_made_by_hand_is_checked_too(arguments, words):
    """Fewer terms than two halves would have sent the core's stack below its bottom."""
    with pytest.raises(fe.UnsupportedError, match=re.escape(words)):
        fe.Order(*arguments)


@pytest.mark.parametrize("lanes", [1, 2, 4, 8])
def test_the_smallest_blocks_of_numpys_order_hold_every_count(lanes):
    order = fe.Order("numpy_pairwise", 2 * lanes - 1, lanes)
    for count in range(1, 6 * lanes):
        assert reductions.sum(np.ones(count), "binary16", order=order) == count


def test_operands_that_do_not_fit_are_named():
    with pytest.raises(fe.UnsupportedError, match=re.escape("do not broadcast: x (2,), y (3,)")):
        reductions.dot([1, 2], [1, 2, 3], "binary16")
    with pytest.raises(fe.UnsupportedError, match="y holds elements that are no binary64 numbers"):
        reductions.dot([1.0], [2**60 + 1], "binary16")
    with pytest.raises(fe.UnsupportedError, match="fused=True with order='kahan'"):
        reductions.dot([1.0], [1.0], "binary16", fused=True, order="kahan")
    with pytest.raises(fe.UnsupportedError, match="a fused product is not rounded"):
        reductions.dot([1.0], [1.0], "binary16", fused=True, product="binary32")


def test_a_nan_needs_a_format_that_has_one():
    x = np.array([[1.0, 2.0], [np.inf, -np.inf], [1.0, 1.0]])
    with pytest.raises(fe.ProjectionError, match="NaN at index 1, but e2m1fn has no NaN"):
        reductions.sum(x, "e2m1fn", axis=1, accumulate="binary32")
    got = reductions.sum(x, "e2m1fn", axis=1, accumulate="binary32", nan="max")
    assert got.tolist() == [3.0, 6.0, 2.0]
