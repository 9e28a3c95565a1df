"""Quotients by a block's scale are rounded to odd, or are as good: bits against fractions."""

from fractions import Fraction

import numpy as np
import pytest

import floatemu as fe
from floatemu._core import blocks as core

WORDS = {"float32": np.uint32, "float64": np.uint64}
INFINITE = {"float32": 0xFF << 23, "float64": 0x7FF << 52}


def quotients(x, scale):
    """The loop's bits of the numbers of one block."""
    word = WORDS[x.dtype.name]
    result = np.empty(x.size, word)
    values = np.array([scale])
    for array in (x, values):
        array.flags.writeable = False
    core.divided_loop(x.dtype.name)(x, x.view(word), (1, x.size, 1, 1, x.size), values, core.EXACT, result)
    return result


def to_odd(x, scale):
    """Bits of x / scale rounded to odd, finite; by the number below it, found from the one to nearest."""
    word = WORDS[x.dtype.name]
    want = []
    for number in x:
        exact = abs(Fraction(float(number))) / Fraction(scale)
        largest = np.finfo(x.dtype).max
        near = largest if exact > Fraction(float(largest)) else x.dtype.type(float(exact))
        if x.dtype == np.float32 and near != largest:
            near = min((near, np.nextafter(near, x.dtype.type(0)), np.nextafter(near, largest)),
                       key=lambda value: abs(Fraction(float(value)) - exact))  # fmt: skip
        code = int(near.view(word))
        code -= Fraction(float(near)) > exact
        below = np.array(code, word).view(x.dtype)
        code |= Fraction(float(below)) != exact
        want.append(code | int(np.signbit(number)) << (8 * x.itemsize - 1))
    return np.array(want, word)


def numbers(dtype, scale, seed):
    """Of all magnitudes, subnormal ones, and products of the scale that are numbers, with those beside them."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, np.iinfo(WORDS[dtype]).max, 1500, WORDS[dtype], endpoint=True).view(dtype)
    with np.errstate(over="ignore"):
        exact = (np.ldexp(rng.integers(1, 2**12, 500) * 1.0, rng.integers(-100, 80, 500)) * scale).astype(dtype)
    near = np.concatenate([np.nextafter(exact, np.array(to, dtype)) for to in (-np.inf, np.inf)])
    low = rng.integers(0, 2**12, 200).astype(WORDS[dtype]).view(dtype)
    found = np.concatenate([drawn, exact, -exact, near, low, -low])
    return found[np.isfinite(found)]


SCALES = {
    "4 bits": 1.125,
    "28 bits": 13 * float(np.float32(0.0123)),
    "48 bits": float(np.float32(1 / 3)) * float(np.float32(0.7)),
    "huge": float(np.float32(3e38)) * 448.0,
    "tiny": 3 * 2.0**-149,
    "least": 9 * 2.0**-160,
}


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("dtype", WORDS)
def test_to_odd(dtype, name):
    scale = SCALES[name]
    x = numbers(dtype, scale, len(name))
    if dtype == "float64":  # where the remainder is not below binary64
        x = x[(abs(x) > 2.0**-900) | (x == 0)]
    assert np.array_equal(quotients(x, scale), to_odd(x, scale))


@pytest.mark.parametrize("exponent", [-127, -126, -20, -1, 0, 1, 20, 126, 127])
def test_powers_of_two(exponent):
    """Exact in the normal range; below it not zero, and at most 2^-126, where no rounding looks at more."""
    scale = 2.0**exponent
    x = numbers("float32", scale, exponent + 200)
    got, want = quotients(x, scale), to_odd(x, scale)
    normal = (want & 0x7FFFFFFF) >= 1 << 23
    assert np.array_equal(got[normal], want[normal])
    assert np.array_equal(got >> 31, want >> 31)
    low = got[~normal] & 0x7FFFFFFF
    assert np.all(low <= 1 << 23)
    assert np.array_equal(low == 0, x[~normal] == 0)


@pytest.mark.parametrize("scale", [0.75, 2.0, 2.0**-127, 0.0])
@pytest.mark.parametrize("dtype", WORDS)
def test_infinities_and_nan_stay(dtype, scale):
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0], dtype)
    got = quotients(x, scale).view(dtype)
    assert np.array_equal(got, x, equal_nan=True)
    assert np.array_equal(np.signbit(got[[0, 1, 3, 4]]), [False, True, False, True])


def test_a_scale_that_is_nan():
    """Beside powers of two: every number of its block is NaN, and of no other."""
    x = np.array([1.0, np.inf, 0.0, 3.0], np.float32)
    result = np.empty(4, np.uint32)
    values = np.array([np.nan, 2.0])
    for array in (x, values):
        array.flags.writeable = False
    core.divided_loop("float32")(x, x.view(np.uint32), (1, 4, 1, 1, 2), values, core.EXACT, result)
    assert np.array_equal(result.view(np.float32), np.array([np.nan, np.nan, 0.0, 1.5], np.float32), equal_nan=True)


@pytest.mark.parametrize("mode", ["up", "down", "to_odd", "stochastic_b"])
@pytest.mark.parametrize("cell", [5, 16, 21, 32, 48, 100])
def test_what_is_lost_below_binary32_does_not_vanish(mode, cell):
    """The least numbers under the largest scale, in blocks of all ways to find the largest magnitude."""
    fmt = fe.BlockFormat("low", fe.Format("low", k=8, p=2, bias=63), cell, "e8m0fnu", "RCEIL")
    x = np.full((3, cell), 2.0**-149, np.float32)
    x[:, 1::2] *= np.float32(-1)
    x[:, 2] = 0
    x[:, cell - 1] = np.float32(3e38)
    settings = {"random": np.full(x.shape, 15), "random_bits": 4} if mode == "stochastic_b" else {}
    got = fe.quantize(x, fmt, mode, **settings)
    wide = fe.quantize(x.astype(np.float64), fmt, mode, **settings)
    assert np.array_equal(got.elements, wide.elements)
    assert np.array_equal(got.scales, wide.scales)
    assert (got.elements[0, 0] != 0) == (mode in ("up", "to_odd"))
    assert (got.elements[0, 1] & 0x7F != 0) == (mode in ("down", "to_odd"))
