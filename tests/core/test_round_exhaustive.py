"""Every binary16 and every bfloat16 number into every small format, in every mode, with every R, bit by bit."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import oracles
import pytest
from faces import FACES, Face, result_dtype
from oracles import DRAWS, P3109_SMALL, SATURATIONS, SMALL, assert_bits

import floatemu as fe

SOURCES = {"binary16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def every(source: str) -> tuple[Any, np.ndarray]:
    """All 65536 numbers of a 16-bit source, and their values."""
    x = np.arange(2**16, dtype=np.uint16).view(SOURCES[source])
    with np.errstate(invalid="ignore"):  # some codes are signalling NaNs
        return x, x.astype(np.float64)


def check(source: str, fmt: fe.Format) -> None:
    x, exact = every(source)
    dtype = result_dtype(x, fmt)
    width = np.dtype(np.uint8)
    for draw in DRAWS:
        placed = oracles.Projected(exact, fmt, draw)
        for saturation in SATURATIONS:
            nan = None if fmt.has_nan else ("zero", "max")[draw.r % 2]
            right = placed.at(saturation, nan)
            arguments = oracles.call(draw, saturation) | {"nan": nan}
            what = f"{source} to {fmt.name} {draw} {saturation.name}"
            values, flags = fe.round_with_flags(x, fmt, **arguments)
            assert_bits(values, right.values.astype(dtype), x, what)
            assert_bits(flags, right.flags, x, f"flags of {what}")
            assert_bits(fe.round(x, fmt, **arguments), right.values.astype(dtype), x, what)
            assert_bits(fe.encode(x, fmt, **arguments), right.codes.astype(width), x, f"codes of {what}")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: fmt.name)
def test_every_sixteen_bit_number_into_every_named_small_format(fmt: fe.Format, source: str) -> None:
    check(source, fmt)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fmt", P3109_SMALL, ids=lambda fmt: fmt.name)
def test_every_sixteen_bit_number_into_every_small_p3109_format(fmt: fe.Format, source: str) -> None:
    check(source, fmt)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("face", FACES.values(), ids=FACES)
@pytest.mark.parametrize("name", ["e4m3fn", "e5m2fnuz", "e8m0fnu", "e2m1fn"])
def test_every_face_gives_the_same_bits(name: str, face: Face, source: str) -> None:
    fmt = fe.FORMATS[name]
    x, exact = every(source)
    step = 701 if face is FACES["scalar"] else 1
    x, exact = x[::step], exact[::step]
    nan = None if fmt.has_nan else "max"
    for draw in (*DRAWS[:6], oracles.Draw(fe.Rounding.STOCHASTIC_B, 3, 5)):
        right = oracles.expected(exact, fmt, draw, nan=nan).values.astype(result_dtype(x, fmt))
        assert_bits(face(x, fmt, nan=nan, **oracles.call(draw)), right, x, f"{source} to {name} {draw}")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("fmt", [fmt for fmt in SMALL if fmt.has_nan], ids=lambda fmt: fmt.name)
def test_rounder_gives_the_same_bits(fmt: fe.Format, source: str) -> None:
    x, exact = every(source)
    for draw in DRAWS[:6]:
        for saturation in SATURATIONS:
            right = oracles.expected(exact, fmt, draw, saturation).values
            call = fe.rounder(fmt, draw.rounding, saturation=saturation)
            assert_bits(call(x), right.astype(result_dtype(x, fmt)), x, f"{source} to {fmt.name} {draw}")
            for position in range(0, 2**16, 8191):
                assert_bits(np.float64(call(float(exact[position]))), right[position], exact[position], fmt.name)


@pytest.mark.parametrize("mode", fe.Rounding)
def test_a_format_holds_its_own_values(mode: fe.Rounding) -> None:
    """No mode and no random bits move a value of the format, in any face (trap 21: exact values never move)."""
    for fmt in SMALL:
        x = oracles.grid(fmt).values[:-1]
        x = np.concatenate([x, -x[1:]]) if fmt.signed else x
        for n in (1, 2, 32) if mode.stochastic else (0,):
            for r in {0, 2**n - 1}:
                call = oracles.call(oracles.Draw(mode, n, r))
                values, flags = fe.round_with_flags(x, fmt, **call)
                assert_bits(values, x, x, fmt.name)
                assert not flags.any()
