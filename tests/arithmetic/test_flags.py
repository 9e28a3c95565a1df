"""Flags on request: codes beside values, convolution, and matrix products where they take another way than dots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import DETERMINISTIC, SATURATIONS, STOCHASTIC, Draw, assert_bits, call, expected, jumps

import floatemu as fe
from floatemu.gemm import Carried
from floatemu.orders import Plan

DRAWS = [*(Draw(mode) for mode in DETERMINISTIC), *(Draw(mode, 3, 5) for mode in STOCHASTIC)]


@pytest.mark.parametrize("draw", DRAWS, ids=lambda draw: draw.rounding.name)
@pytest.mark.parametrize("name", ["e4m3fn", "e5m2", "e4m3fnuz", "e2m1fn", "e8m0fnu", "binary16"])
def test_codes_come_with_the_flags_of_their_values(name, draw):
    fmt = fe.get_format(name)
    x = jumps(fmt, draw)[:: 1 if fmt.k <= 8 else 97]
    for saturation in SATURATIONS:
        want = expected(x, fmt, draw, saturation)
        given = call(draw, saturation) | ({"random": np.full(x.size, draw.r, np.uint32)} if draw.n else {})
        for source in (x, np.repeat(x, 2)[::2], x.reshape(1, -1), x.astype(">f8")):
            codes, flags = fe.encode(source, fmt, **given, flags=True)
            assert_bits(codes.ravel(), want.codes.astype(codes.dtype), x, f"{saturation}")
            assert_bits(flags.ravel(), want.flags, x, f"{saturation} flags")
            assert_bits(fe.encode(source, fmt, **given), codes)


def test_pieces_of_a_long_array_leave_no_seam():
    """Codes are made from the values of so many elements at a time."""
    x = np.random.default_rng(0).standard_normal(2**17 + 1001).astype(np.float32)
    for mode, given in (
        ("rtz", {}),
        ("stochastic_c", {"seed": 3}),
        ("stochastic_a", {"random": np.arange(x.size) % 8}),
    ):
        given = given | ({"random_bits": 3} if mode != "rtz" else {})
        values, raised = fe.round_with_flags(x, "e4m3fn", mode, **given)
        codes, flags = fe.encode(x, "e4m3fn", mode, **given, flags=True)
        assert_bits(fe.decode(codes, "e4m3fn", np.float32), values)
        assert_bits(flags, raised)
        assert_bits(fe.encode(x, "e4m3fn", mode, **given), codes)


def fp8(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Any:
    return fe.round(rng.standard_normal(shape).astype(np.float32), "e4m3fn") * np.float32(scale)


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("scale", [1.0, 64.0, 2.0**-9])
@pytest.mark.parametrize("mode", ["rne", "stochastic_c"])
@pytest.mark.parametrize("fmt", ["binary16", "e5m2"])
def test_products_by_rows_and_dots_raise_the_same(fmt, mode, scale, special):
    """More columns and terms than the vectorised loop handles together; products that overflow, or are tiny."""
    rng = np.random.default_rng(0)
    a, b = fp8(rng, (2, 70), scale), fp8(rng, (70, 1037), scale)
    if special:
        a[1, 3], b[5, 7], b[3, 9] = np.inf, np.nan, 0.0
    given = {"seed": 1, "random_bits": 7} if mode == "stochastic_c" else {}
    values, flags = fe.matmul(a, b, fmt, mode, flags=True, **given)
    want, raised = fe.dot(np.repeat(a, 1037, 0), np.tile(b.T, (2, 1)), fmt, mode, flags=True, **given)
    assert_bits(values.ravel(), want)
    assert_bits(flags.ravel(), raised)
    assert_bits(fe.matmul(a, b, fmt, mode, **given), values)
    assert_bits(fe.matmul(a, b, fmt, mode, flags=True, threads=3, **given)[1], flags)


def test_a_product_is_smooth_only_where_no_sum_is_tiny_or_invalid():
    rng = np.random.default_rng(0)

    def smooth(scale: float, fmt: str = "binary16", special: float = 1.0) -> bool:
        a, b = (fp8(rng, (9, 9), scale).astype(np.float64) for _ in range(2))
        a[0, 0] = special
        carried = Carried.make(Plan.make(fmt, None, None, "sequential", False, "rne", {"flags": True}), a, b)
        assert carried is not None
        return carried.smooth

    assert smooth(1.0)
    assert smooth(1.0, "bfloat16")
    assert not smooth(64.0)  # products beyond the range, whose infinities may cancel
    assert not smooth(1.0, special=np.inf)


@pytest.mark.parametrize("order", ["sequential", "blocked(3)"])
def test_convolution_has_flags(order):
    rng = np.random.default_rng(0)
    x, weight = fp8(rng, (2, 3, 5, 6), 128.0), fp8(rng, (4, 3, 2, 3), 64.0)
    values, flags = fe.conv2d(x, weight, "binary16", order=order, flags=True)
    assert_bits(fe.conv2d(x, weight, "binary16", order=order), values)
    out = np.empty(values.shape, np.float32)
    assert fe.conv2d(x, weight, "binary16", order=order, flags=True, out=out)[0] is out
    for image, one, row, column in np.ndindex(*values.shape):
        patch = x[image, :, row : row + 2, column : column + 3]
        want = fe.dot(patch.ravel(), weight[one].ravel(), "binary16", order=order, flags=True)
        assert (values[image, one, row, column], flags[image, one, row, column]) == want
    assert set(flags.ravel().tolist()) >= {0, fe.Flag.INEXACT, fe.Flag.INEXACT | fe.Flag.OVERFLOW}


def test_a_format_without_nan_marks_what_replaced_it():
    x = np.array([[1.0, 2.0], [np.inf, -np.inf], [np.nan, 1.0]])
    values, flags = fe.sum(x, "e2m1fn", axis=1, accumulate="binary32", nan="max", flags=True)
    assert values.tolist() == [3.0, 6.0, 6.0]
    assert flags.tolist() == [0, fe.Flag.INVALID | fe.Flag.NAN_BORN, fe.Flag.INVALID]  # born in binary32
    with pytest.raises(fe.ProjectionError, match="NaN at index 1, but e2m1fn has no NaN"):
        fe.sum(x, "e2m1fn", axis=1, accumulate="binary32", flags=True)
