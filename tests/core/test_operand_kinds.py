"""Operands that are easily rounded twice, lost on the way, or answered with somebody else's exception."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from numba import njit

import floatemu as fe
from floatemu import reference

BIG = 2**60 + 2**52 + 1  # just above a tie of bfloat16, which binary64 sees as the tie


@pytest.mark.parametrize(
    "given", [[BIG, 0.5], [[BIG], [0.5]], [2**63 + 2**55 + 1, -1], (np.int64(BIG), 0.25)], ids=repr
)
def test_integers_in_mixed_lists_are_rounded_once(given: Any) -> None:
    alone = np.asarray(given, object).reshape(-1)[0]
    assert fe.round(given, "bfloat16").reshape(-1)[0] == fe.round(int(alone), "bfloat16")
    assert fe.encode(given, "bfloat16").reshape(-1)[0] == fe.encode(int(alone), "bfloat16")


def test_a_rounder_refuses_the_integers_that_binary64_does_not_hold() -> None:
    to = fe.rounder("bfloat16")

    @njit
    def call(x):  # type: ignore[no-untyped-def]
        return to(x)

    assert call(2**53) == fe.round(2**53, "bfloat16")
    with pytest.raises(ValueError, match=r"beyond 2\^53"):
        call(BIG)
    assert to(BIG) == fe.round(BIG, "bfloat16")


def test_a_stochastic_rounder_is_round_in_every_respect() -> None:
    to = fe.rounder("e4m3fn", "sr", seed=1, random_bits=5)
    assert to(np.float32(1.03), 7).dtype == np.float32
    assert to(np.array(1.03), 7) == fe.round(np.full(8, 1.03), "e4m3fn", "sr", seed=1, random_bits=5)[7]
    with pytest.raises(fe.FormatError, match=r"index = 1\.5 is not an integer"):
        to(1.03, 1.5)


@pytest.mark.parametrize("k", [63, 64])
@pytest.mark.parametrize("bias", [17520, 2**11, -(2**11), 1023])
def test_codes_that_nearly_fill_the_word(k: int, bias: int) -> None:
    fmt = fe.Format("wide", k=k, p=53, bias=bias)
    x = np.array([764.0, -1e300, 5e-324, 1.0, 0.0])
    codes = fe.encode(x, fmt)
    assert codes.tolist() == [reference.project(float(v), fmt) for v in x]
    assert codes.tolist() == [fe.encode(Fraction(v), fmt) for v in x]


def test_a_format_that_uses_every_code_of_the_word() -> None:
    fmt = fe.Format("u", k=64, p=53, signed=False, infinities=False)
    x = np.array([1.0, 1e300, np.inf, 3.5])
    for saturation in fe.Saturation:
        expected = [reference.project(float(v), fmt, fe.Projection(saturation=saturation)) for v in x]
        assert fe.encode(x, fmt, saturation=saturation).tolist() == expected
    top = int(fmt.max) + int(fmt.max) // 2**55
    assert fe.encode(top, fmt) == fmt.max_code


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="long double is binary64 on this platform")
def test_long_doubles_are_refused_wherever_they_hide() -> None:
    wide = np.longdouble(1) + np.longdouble(2) ** -4 + np.longdouble(2) ** -60
    for x in (wide, np.array([wide]), np.array([wide], object), [Fraction(1, 2), wide]):
        with pytest.raises(fe.UnsupportedError, match="pass mpmath or Fraction numbers"):
            fe.round(x, "e4m3fn")


def test_random_integers_that_share_memory_with_the_result() -> None:
    draws = np.random.Generator(np.random.PCG64(0)).integers(0, 2**32, 4097, dtype=np.uint32)
    x = np.linspace(1, 2, 4096, dtype=np.float32)
    expected = fe.round(x, "e5m2", "sr", random=draws[:-1].copy())
    result = fe.round(x, "e5m2", "sr", random=draws[:-1], out=draws[1:].view(np.float32))
    assert np.array_equal(result, expected)


def test_questions_about_numbers_that_binary64_does_not_hold() -> None:
    assert not fe.isrepresentable(Fraction(1, 3), "binary64")
    assert not fe.isrepresentable(2**53 + 1, "binary64")
    assert not fe.isrepresentable(Decimal("0.1"), "binary64")
    assert fe.isrepresentable([Fraction(1, 2), Decimal("NaN"), mpmath.mpf("inf")], "binary16").tolist() == [True] * 3
    assert not fe.isrepresentable(10**400, "binary64")
    assert np.isnan(fe.ulp([Fraction(1, 2), Decimal("NaN")], "binary16")).tolist() == [False, True]
    for question in (lambda: fe.ulp(10**400, "binary64"), lambda: fe.nextafter(Fraction(1, 3), 1, "binary16")):
        with pytest.raises(fe.UnsupportedError, match="no binary64 number"):
            question()
    for junk in ({}, mpmath.mpc(1, 2), mpmath.mpi(1, 2), None):
        with pytest.raises(fe.UnsupportedError):
            fe.isrepresentable(junk, "binary16")
    with np.errstate(all="raise"):
        assert fe.nextafter(0.0, 1.0, "binary64") == 5e-324


def test_a_nan_among_objects_is_named_and_nothing_is_written() -> None:
    out = np.full((2, 2), 9.0)
    with pytest.raises(fe.ProjectionError, match=r"NaN at index \(1, 0\)"):
        fe.round(np.array([[Fraction(1, 2), 1], [float("nan"), 2]], object), "e2m1fn", out=out)
    assert out.tolist() == [[9.0, 9.0], [9.0, 9.0]]


@pytest.mark.parametrize(
    "call",
    [
        lambda: fe.round(1.0, "e5m2", dtype="abc"),
        lambda: fe.decode([1], "e5m2", dtype="abc"),
        lambda: fe.decode([[1], [1, 2]], "e5m2"),
        lambda: fe.round(1.0, "e5m2", nan=np.array([1, 2])),
        lambda: fe.add(1.0, 2.0, "e5m2", out=[0]),
        lambda: fe.round(np.ma.array([1.0, 2.0], mask=[0, 1]), "e5m2"),
        lambda: fe.round([True, 2.5], "e5m2"),
        lambda: fe.round(mpmath.mpc(1, 2), "e5m2"),
    ],
)
def test_bad_arguments_raise_our_own_errors(call: Any) -> None:
    with pytest.raises(fe.FloatEmuError):
        call()


def test_numbers_of_other_types_are_taken_as_they_are() -> None:
    assert np.isnan(fe.round(Decimal("sNaN"), "e5m2"))
    assert fe.round(Decimal("-0"), "e5m2").tobytes() == np.float64(-0.0).tobytes()
    assert fe.Projection("sr", random_bits=np.int64(8)).random_bits == 8
    assert fe.p3109(np.int64(8), np.int8(3)) == fe.p3109(8, 3)
    assert fe.Format("n", k=np.int16(8), p=np.int16(4)) == fe.Format("n", k=8, p=4)


PROGRAM = """
import numpy as np
import floatemu as fe
x = np.array([1.5, -2.0, np.inf, -np.inf, np.nan, 0.0, -0.0, 1e300])
for function in (fe.add, fe.sub, fe.mul, fe.div, fe.remainder, fe.minimum):
    print(function(x[:, None], x[None, :], "e5m2", "up").astype(str).tolist())
print(fe.sqrt(x, "e5m2").astype(str).tolist(), fe.fma(x, x[::-1], 1.0, "bfloat16").astype(str).tolist())
"""


def test_arithmetic_with_the_jit_disabled() -> None:
    results = []
    for disabled in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        command = [sys.executable, "-W", "error", "-c", PROGRAM]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results.append(done.stdout)
    assert results[0] == results[1]
