"""Formats nobody named, numbers nobody chose: values, codes and flags against the literal oracle."""

from __future__ import annotations

from numbers import Rational
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from oracles import assert_bits
from strategies import Case, cases, formats, numbers, projections

import floatemu as fe
from floatemu import Projection, Rounding, Saturation, reference


def describe(case: Case) -> str:
    # Hexadecimal, because Python refuses to print integers of more than 4300 decimal digits.
    x = f"{case.x.numerator:#x}/{case.x.denominator:#x}" if isinstance(case.x, Rational) else repr(case.x)
    return f"{x} to {case.fmt!r} by {case.by} R={case.random} nan={case.nan}"


def oracle(case: Case) -> tuple[reference.Datum, int, int]:
    arguments: tuple[Any, ...] = (case.x, case.fmt, case.by, case.random, case.nan)
    value = reference.round(*arguments)
    return value, reference.encode(value, case.fmt), reference.flags(*arguments)


@given(cases())
def test_scalar_faces(case: Case) -> None:
    value, code, flags = oracle(case)
    got, mask = fe.round_with_flags(case.x, case.fmt, **case.arguments)
    assert_bits(np.float64(got), np.float64(float(value)), None, describe(case))
    assert mask == flags, describe(case)
    assert_bits(
        np.float64(fe.round(case.x, case.fmt, **case.arguments)), np.float64(float(value)), None, describe(case)
    )
    assert int(fe.encode(case.x, case.fmt, **case.arguments)) == code, describe(case)


@given(cases(in_binary64=False))
def test_formats_beyond_binary64(case: Case) -> None:
    """Scalar faces give a Fraction where binary64 cannot hold the format; codes need no carrier at all."""
    value, code, flags = oracle(case)
    assert int(fe.encode(case.x, case.fmt, **case.arguments)) == code, describe(case)
    got, mask = fe.round_with_flags(case.x, case.fmt, **case.arguments)
    assert mask == flags, describe(case)
    if value.kind != "finite":
        assert_bits(np.float64(float(got)), np.float64(float(value)), None, describe(case))
    else:
        assert reference.exact(got).value == value.value, describe(case)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[np.ndarray, list[int], fe.Format, Projection]:
    fmt = draw(formats())
    size = draw(st.integers(0, 9))
    raw = [draw(numbers(fmt)) for _ in range(size)]
    dtype = draw(st.sampled_from((np.float64, np.float32)))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        x = np.array([_narrow(number) for number in raw], np.float64).astype(dtype)
    by, random = draw(projections())
    randoms = [random ^ (draw(st.integers(0, 2 ** (by.random_bits or 0) - 1))) for _ in range(size)]
    return x, randoms, fmt, by


def _narrow(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf")


@given(arrays())
def test_array_faces(given_arrays: tuple[np.ndarray, list[int], fe.Format, Projection]) -> None:
    x, randoms, fmt, by = given_arrays
    nan = None if fmt.has_nan else "max"
    call: dict[str, Any] = {"rounding": by.rounding, "saturation": by.saturation, "nan": nan}
    if by.random_bits:
        call |= {"random_bits": by.random_bits, "random": np.array(randoms, np.uint64)}
    values, flags = fe.round_with_flags(x, fmt, **call)
    codes = fe.encode(x, fmt, **call)
    what = f"{x!r} to {fmt!r} by {by} R={randoms}"
    right = [oracle(Case(float(v), fmt, by, r, nan)) for v, r in zip(x, randoms, strict=True)]
    assert_bits(values.astype(np.float64), np.array([float(value) for value, _, _ in right], np.float64), x, what)
    assert codes.tolist() == [code for _, code, _ in right], what
    assert flags.tolist() == [mask for _, _, mask in right], what
    assert_bits(fe.round(x, fmt, **call), values, x, what)
    assert_bits(fe.decode(codes, fmt), values.astype(np.float64), x, what)


@given(formats(), st.data())
def test_rounding_is_idempotent_and_monotone(fmt: fe.Format, data: st.DataObject) -> None:
    finite = numbers(fmt).filter(lambda x: reference.exact(x).kind == "finite")
    low, high = sorted((data.draw(finite), data.draw(finite)), key=lambda x: reference.exact(x).value)
    mode = data.draw(st.sampled_from([mode for mode in Rounding if not mode.stochastic]))
    first = fe.round(low, fmt, mode, saturation=Saturation.SAT_FINITE)
    second = fe.round(high, fmt, mode, saturation=Saturation.SAT_FINITE)
    assert first <= second
    assert_bits(np.float64(fe.round(first, fmt, mode)), np.float64(first), None, f"{fmt!r} {mode}")


@given(formats(), st.data())
def test_every_code_is_decoded_by_definition(fmt: fe.Format, data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.integers(0, 2**fmt.k - 1), min_size=1, max_size=20))
    array = np.array(codes, np.uint64)
    right = np.array([float(reference.decode(code, fmt)) for code in codes])
    assert_bits(fe.decode(array, fmt), right, array, repr(fmt))


@given(formats(in_binary64=False))
@example(fe.Format("widest", k=64, p=53, bias=2**11))
@example(fe.Format("lowest", k=16, p=1, bias=-(2**15)))
def test_formats_are_consistent(fmt: fe.Format) -> None:
    """What Format derives agrees with decoding by definition."""
    assert reference.decode(fmt.max_code, fmt).value == fmt.max
    assert reference.encode(reference.exact(fmt.min_positive), fmt) == (
        0 if not fmt.zero else 1 if fmt.subnormals or fmt.p == 1 else 2**fmt.trailing_bits
    )
    if fmt.inf_code is not None:
        assert reference.decode(fmt.inf_code, fmt) == reference.infinity()
    if fmt.nan_code is not None:
        assert reference.decode(fmt.nan_code, fmt) == reference.NAN
