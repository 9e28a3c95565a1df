"""Matrix products, bit for bit against plain Python over exact rationals, in every order, mode and arrangement."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import summation
from oracles import assert_bits

import floatemu as fe
from floatemu.gemm import conv2d, matmul
from floatemu.projection import Projection, Rounding, Saturation
from floatemu.reductions import dot

FORMATS = [fe.get_format(n) for n in ("binary16", "bfloat16", "e4m3fn", "e5m2", "tf32", "binary32", "binary64")]
ODD = [
    fe.Format("no subnormals", k=9, p=5, subnormals=False),
    fe.Format("powers", k=6, p=1),
    fe.Format("wide", k=40, p=30),
    fe.Format("positive", k=8, p=4, signed=False),
    fe.get_format("e4m3fnuz"),
    fe.get_format("e2m3fn"),
]
ORDERS = ["sequential", "pairwise", "blocked(3)", "numpy_pairwise(4, 2)", "kahan", "neumaier", "exact"]
KINDS = ["fp8", "half", "plain", "gaps", "special"]


def operands(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> Any:
    if kind == "fp8":
        return fe.round(rng.standard_normal(shape).astype(np.float32) * 8, "e4m3fn")
    if kind == "half":
        return (rng.standard_normal(shape) * np.exp2(rng.integers(-12, 6, shape))).astype(np.float16)
    if kind == "plain":
        return rng.standard_normal(shape)
    if kind == "gaps":
        return rng.standard_normal(shape) * np.exp2(rng.integers(-30, 30, shape))
    pool = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 240.0, 2.0**-9, 448.0, -448.0])
    return rng.choice(pool, shape, p=[0.2, 0.2, 0.03, 0.03, 0.02, 0.12, 0.12, 0.1, 0.1, 0.05, 0.03])


def expected(
    a: Any, b: Any, order: str, by: Projection, product: Any, accumulate: Any, result: Any, fused: bool = False,
    size: int | None = None, first: int = 0,
) -> Any:  # fmt: skip
    """The product of two matrices and its flags by the oracle; ``size`` and ``first`` as for one of a batch."""
    m, n = len(a), b.shape[1]
    values, flags = np.empty((m, n), np.float64), np.empty((m, n), np.uint8)
    numbers = [int(v) for v in re.findall(r"\d+", order)]
    for i, j in np.ndindex(m, n):
        machine = summation.Machine(by, 5, 2, m * n if size is None else size, first + i * n + j, "zero")
        terms = (a[i], b[:, j])
        one = summation.reduce(machine, *terms, order.split("(")[0], numbers, fused, product, accumulate, result)
        values[i, j], flags[i, j] = float(one), machine.flags
    return values, flags


def check(a: Any, b: Any, fmt: Any, want: Any, what: str, flagged: bool, **given: Any) -> None:
    """Compare values, and if ``flagged`` those that come with flags, and the flags."""
    assert_bits(matmul(a, b, fmt, **given), want[0], what=what)
    if flagged:
        values, flags = matmul(a, b, fmt, **given, flags=True)
        assert_bits(values, want[0], what=f"{what}, with flags")
        assert_bits(flags, want[1], what=f"{what}, flags")


def settings(by: Projection) -> dict[str, Any]:
    given: dict[str, Any] = {"rounding": by.rounding, "saturation": by.saturation, "nan": "zero", "dtype": np.float64}
    if by.rounding.stochastic:
        given |= {"random_bits": by.random_bits, "seed": 5, "stream": 2}
    return given


def projection(rng: np.random.Generator, order: str) -> Projection:
    modes = [0, 0, 4, 8] if order == "sequential" else [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    mode = Rounding(int(rng.choice(modes)))
    bits = int(rng.choice([1, 3, 8, 32])) if mode.stochastic else None
    return Projection(mode, Saturation(int(rng.integers(3))), bits)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_any_formats_equal_the_oracle(order, kind):
    rng = np.random.default_rng([ORDERS.index(order), KINDS.index(kind)])
    for _ in range(12):
        m, k, n = (int(v) for v in rng.integers(1, 7, 3))
        a, b = operands(rng, (m, k), kind), operands(rng, (k, n), kind)
        pool = np.array([*FORMATS, *ODD], object)
        product, accumulate, result = (rng.choice(pool) for _ in range(3))
        by = projection(rng, order)
        fused = bool(rng.integers(2)) and order in ("sequential", "blocked(3)", "numpy_pairwise(4, 2)")
        want = expected(a, b, order, by, product, accumulate, result, fused)
        given = {} if fused else {"product": product}
        what = f"{product.name} {accumulate.name} {result.name} {by} {fused} {a!r} {b!r}"
        given |= {"order": order, "accumulate": accumulate, "fused": fused, **settings(by)}
        check(a, b, result, want, what, order != "sequential" or by.rounding is Rounding(0), **given)


def one_format(mode: Rounding, fmt: fe.Format, kind: str, n: int, flagged: bool) -> None:
    rng = np.random.default_rng([int(mode), KINDS.index(kind)])
    by = Projection(mode, random_bits=n if mode.stochastic else None)
    a, b = operands(rng, (2, 9), kind), operands(rng, (9, 19), kind)
    want = expected(a, b, "sequential", by, fmt, fmt, fmt)
    check(a, b, fmt, want, f"{fmt.name} {by} {kind}", flagged, **settings(by))


# Loops are compiled for each mode: three modes here, all nine in the slow test.
@pytest.mark.parametrize("mode", [Rounding.NEAREST_TIES_TO_EVEN, Rounding.TOWARD_NEGATIVE, Rounding.STOCHASTIC_C])
@pytest.mark.parametrize("fmt", [*FORMATS, *ODD], ids=lambda f: f.name)
@pytest.mark.parametrize("kind", KINDS)
def test_one_format_for_all_equals_the_oracle(mode, fmt, kind):
    one_format(mode, fmt, kind, 5, mode is Rounding(0) or (mode is Rounding(8) and fmt.name == "e5m2"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", Rounding)
@pytest.mark.parametrize("fmt", [*FORMATS, *ODD], ids=lambda f: f.name)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [5, 32])
def test_every_mode_equals_the_oracle(mode, fmt, kind, n):
    one_format(mode, fmt, kind, n, True)


@pytest.mark.parametrize("accumulate", ["binary16", "bfloat16", "e5m2", "binary32"])
@pytest.mark.parametrize("mode", ["rne", "rtn", "stochastic_c"])
def test_fp8_operands_into_each_accumulator(accumulate, mode):
    rng = np.random.default_rng(3)
    by = Projection(mode, random_bits=32 if mode == "stochastic_c" else None)
    pool = fe.values("e4m3fn")
    pool = pool[np.isfinite(pool)]
    a, b = rng.choice(pool, (5, 30)), rng.choice(pool, (30, 33))  # products beyond binary16's range among them
    fmt = fe.get_format(accumulate)
    want = expected(a, b, "sequential", by, fmt, fmt, fmt)
    check(a, b, fmt, want, accumulate, mode == "rne", **settings(by))


def test_shapes_are_those_of_numpy():
    rng = np.random.default_rng(0)
    for left, right in [
        ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((4, 2, 3), (3, 5)), ((4, 1, 2, 3), (6, 3, 5)), ((4, 2, 3), (3,)),
        ((3,), (4, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0, 2, 3), (3, 2)),
    ]:  # fmt: skip
        a, b = rng.integers(-3, 4, left).astype(np.float32), rng.integers(-3, 4, right).astype(np.float32)
        assert_bits(np.asarray(matmul(a, b, "binary16")), np.asarray(np.matmul(a, b)))


def test_a_batch_counts_its_elements_through():
    rng = np.random.default_rng(0)
    a, b = operands(rng, (2, 3, 4), "fp8"), operands(rng, (2, 4, 5), "fp8")
    by = Projection("stochastic_c", random_bits=4)
    fmt = fe.get_format("bfloat16")
    want = [expected(a[i], b[i], "sequential", by, fmt, fmt, fmt, size=30, first=15 * i)[0] for i in range(2)]
    assert_bits(matmul(a, b, fmt, **settings(by)), np.stack(want))


@pytest.mark.parametrize("mode", ["rne", "stochastic_c"])
@pytest.mark.parametrize("accumulate", ["binary16", "binary32", "binary64"])
def test_threads_and_strides_change_no_bit(mode, accumulate):
    rng = np.random.default_rng(0)
    a, b = operands(rng, (37, 29), "fp8"), operands(rng, (29, 41), "fp8")
    given = {"seed": 1} if mode == "stochastic_c" else {}

    def run(x: Any, y: Any, threads: int = 1) -> Any:
        return matmul(x, y, "binary16", mode, accumulate=accumulate, threads=threads, **given)

    want = run(a, b)
    for threads in (2, 3, 64):
        assert_bits(run(a, b, threads), want)
    assert_bits(run(np.asfortranarray(a), np.ascontiguousarray(b.T).T), want)
    assert_bits(run(np.repeat(a, 2, 1)[:, ::2], b[::-1][::-1]), want)
    assert_bits(run(a.astype(np.float64), b.astype(">f4")).astype(np.float32), want)


@pytest.mark.parametrize(
    ("mode", "accumulate"), [("rne", "binary16"), ("stochastic_c", "binary16"), ("rtn", "binary32")]
)
def test_blocks_of_columns_and_of_terms_leave_no_seam(mode, accumulate):
    """More columns and terms than the loop handles together; dot takes another way."""
    rng = np.random.default_rng(0)
    a, b = operands(rng, (2, 70), "fp8"), operands(rng, (70, 1037), "fp8")
    stochastic = mode == "stochastic_c"
    given = {"seed": 1, "random_bits": 7} if stochastic else {}
    got = matmul(a, b, accumulate, mode, **given)
    if not stochastic:
        want = dot(a[:, np.newaxis, :], b.T[np.newaxis], accumulate, mode)
        assert_bits(got, want)
    else:  # 2 x 1037 elements in the same order have the same random bits
        want = dot(np.repeat(a, 1037, 0), np.tile(b.T, (2, 1)), accumulate, mode, **given)
        assert_bits(got.ravel(), want)


def test_dot_and_matmul_agree():
    rng = np.random.default_rng(0)
    a, b = operands(rng, (5, 60), "half"), operands(rng, (60, 7), "half")

    for order in ORDERS:
        want = np.array([[dot(a[i], b[:, j], "binary16", order=order) for j in range(7)] for i in range(5)])
        assert_bits(matmul(a, b, "binary16", order=order), want)


@pytest.mark.parametrize(("fmt", "limit"), [("binary16", 2048), ("bfloat16", 256), ("e4m3fn", 16), ("e5m2", 8)])
def test_a_product_of_ones_stops_at_two_to_the_p(fmt, limit):
    c = matmul(np.ones((2, 3000), np.float32), np.ones((3000, 20), np.float32), fmt)
    assert np.all(c == limit)


@pytest.mark.parametrize(
    ("a", "b", "arguments", "words"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), {}, "rows of 3 elements, b of shape (2, 3) columns of 2"),
        (np.ones((2, 1, 1)), np.ones((3, 1, 1)), {}, "the leading axes do not broadcast: a (2, 1, 1), b (3, 1, 1)"),
        (3.0, np.ones((1, 1)), {}, "a is a single number"),
        (np.ones((1, 1)), np.ones((1, 1)), {"threads": 0}, "threads=0 is not a positive integer"),
        (np.ones((1, 1)), np.ones((1, 1)), {"order": "random"}, "accepted: sequential, pairwise, blocked(n)"),
        (np.ones((1, 1)), np.array([["1"]], object), {}, "b holds no number at index (0, 0): '1' of type str"),
    ],
)  # fmt: skip
def test_bad_arguments_are_one_clear_error(a, b, arguments, words):
    with pytest.raises(fe.UnsupportedError, match=re.escape(words)):
        matmul(a, b, "binary16", **arguments)


def test_a_nan_needs_a_format_that_has_one():
    a = np.array([[1.0], [np.inf]])
    with pytest.raises(fe.ProjectionError, match=re.escape("NaN at index (1, 0), but e2m1fn has no NaN")):
        matmul(a, np.zeros((1, 2)), "e2m1fn", accumulate="binary16")


# Convolution ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), ((1, 2), (2, 0))])
@pytest.mark.parametrize("order", ["sequential", "blocked(3)", "exact"])
def test_convolution_adds_channel_row_column(stride, padding, order):

    rng = np.random.default_rng(0)
    x, weight = operands(rng, (2, 3, 6, 7), "fp8"), operands(rng, (4, 3, 2, 3), "fp8")
    got = conv2d(x, weight, "binary16", stride=stride, padding=padding, order=order)
    (down, across), (above, beside) = (v if isinstance(v, tuple) else (v, v) for v in (stride, padding))
    padded = np.pad(x, ((0, 0), (0, 0), (above, above), (beside, beside)))
    want = np.empty_like(got)
    for image, one, row, column in np.ndindex(*got.shape):
        patch = padded[image, :, row * down : row * down + 2, column * across : column * across + 3]
        want[image, one, row, column] = dot(patch.ravel(), weight[one].ravel(), "binary16", order=order)
    assert got.shape[2:] == ((6 + 2 * above - 2) // down + 1, (7 + 2 * beside - 3) // across + 1)
    assert_bits(got, want)


@pytest.mark.parametrize(
    ("shape", "arguments", "words"),
    [
        ((1, 2, 2, 2), {}, "equal channels"),
        ((1, 3, 9, 2), {}, "weight covers (9, 2), but x with its padding has (4, 4)"),
        ((1, 3, 2, 2), {"stride": 0}, "stride=0 is not one or two integers of at least 1"),
        ((1, 3, 2, 2), {"padding": (1, -1)}, "padding=(1, -1) is not"),
    ],
)
def test_convolutions_that_do_not_fit_say_why(shape, arguments, words):

    with pytest.raises(fe.UnsupportedError, match=re.escape(words)):
        conv2d(np.ones((1, 3, 4, 4)), np.ones(shape), "binary16", **arguments)


# Without the JIT ------------------------------------------------------------------------------------------------------

PROGRAM = """
import hashlib
import numpy as np
import floatemu as fe
from floatemu.gemm import matmul
from floatemu.reductions import norm, sum
rng = np.random.default_rng(0)
a, b = fe.round(rng.standard_normal((3, 5)), "e4m3fn"), fe.round(rng.standard_normal((5, 4)), "e4m3fn")
results = []
for mode in (0, 4, 8):
    for fmt in ("binary16", "binary32", "e4m3fnuz"):
        results.append(matmul(a, b, fmt, fe.Rounding(mode), **({"seed": 1} if mode > 5 else {})))
for order in ("sequential", "pairwise", "numpy_pairwise(4, 2)", "kahan", "neumaier", "blocked(2)", "exact"):
    results += [sum(a, "bfloat16", order=order), norm(a, "bfloat16", order=order)]
print([np.asarray(r, np.float64).tolist() for r in results])
"""


def test_loops_do_the_same_without_the_jit():
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    outputs = [
        subprocess.run(
            command, env={**os.environ, "NUMBA_DISABLE_JIT": disabled}, capture_output=True, text=True, check=True
        ).stdout
        for disabled in ("0", "1")
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 1000
