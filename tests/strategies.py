"""Hypothesis strategies: formats valid by construction, projections, and numbers that sit where rounding errs."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any, NamedTuple

from hypothesis import strategies as st

from floatemu import reference
from floatemu.format import Format, Overflow
from floatemu.formats import FORMATS
from floatemu.projection import Projection, Rounding, Saturation

BINARY64 = FORMATS["binary64"]


class Case(NamedTuple):
    """One projection of one number: everything a face needs."""

    x: Any
    fmt: Format
    by: Projection
    random: int
    nan: str | None

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of ``fe.round`` and its kin."""
        given: dict[str, Any] = {"rounding": self.by.rounding, "saturation": self.by.saturation, "nan": self.nan}
        if self.by.rounding.stochastic:
            given |= {"random_bits": self.by.random_bits, "random": self.random}
        return given


@st.composite
def formats(draw: st.DrawFn, max_p: int = 53, max_exponent_bits: int = 15, in_binary64: bool = True) -> Format:
    """Formats of any precision, exponent field, bias, special values and overflow result."""
    signed = draw(st.booleans())
    p = draw(st.one_of(st.integers(1, min(8, max_p)), st.integers(1, max_p)))
    # 64 bits hold a sign, w bits of exponent and p - 1 of significand; in binary64 there are 11 for the exponent.
    limit = min(max_exponent_bits, 64 - p + (not signed), 10 if in_binary64 else 15)
    least_width = 1 if signed or p > 1 else 2
    width = draw(st.one_of(st.integers(least_width, min(5, limit)), st.integers(least_width, limit)))
    k = p + width - (not signed)
    zero = draw(st.booleans()) if not signed and p == 1 else True
    subnormals = draw(st.booleans()) if p > 1 else False
    infinities = draw(st.booleans())
    # Codes of one sign that special values may take, so that a positive finite value is left.
    first_positive = 0 if not zero else 1 if subnormals or p == 1 else 2 ** (p - 1)
    spare = 2 ** (k - signed) - 1 - first_positive
    infinities = infinities and spare >= 1
    spare -= infinities
    high_nans = draw(
        st.one_of(
            st.just(0), st.integers(0, min(spare, 2)), st.just(min(spare, 2 ** (p - 1) - 1)), st.integers(0, spare)
        )
    )
    negative_zero = draw(st.booleans()) if signed else False
    has_nan = high_nans > 0 or (signed and not negative_zero)
    accepted = [Overflow.MAX] + [Overflow.INFINITY] * infinities + [Overflow.NAN] * has_nan
    centre = 2 ** (width - 1) - 1
    if in_binary64:
        # emax <= 1023 and qmin >= -1074, with emin = (0 or 1) - bias.
        lowest, highest = 2**width - 1 - 1023, 1074 - p
    else:
        lowest, highest = -(2**15), 2**15
    # Biases that put the least normal or the largest value where an array dtype ends.
    ends = [end + off for end in (15, 127, 1023) for off in (-1, 0, 1, p - 1, p)]
    ends += [2**width - 1 - end + off for end in (15, 127, 1023) for off in (-1, 0, 1)]
    bias = draw(
        st.one_of(
            st.sampled_from([min(max(end, lowest), highest) for end in ends]),
            st.just(min(max(centre, lowest), highest)),
            st.integers(max(lowest, -40), min(highest, 40)) if lowest <= 40 else st.just(lowest),
            st.integers(lowest, highest),
        )
    )
    fmt = Format(
        f"k{k}p{p}",
        k=k,
        p=p,
        bias=bias,
        signed=signed,
        subnormals=subnormals,
        negative_zero=negative_zero,
        zero=zero,
        infinities=infinities,
        high_nans=high_nans,
        overflow=draw(st.sampled_from(accepted)),
    )
    if in_binary64:
        assert BINARY64.holds(fmt), fmt.describe()
    return fmt


def _between(fmt: Format, code: int, nu: Fraction, negative: bool) -> Fraction:
    """Return the number that lies nu of the way from the value of a non-negative code to the next value up."""
    significand, quantum = fmt.scaled(code)
    if fmt.zero and code < 2**fmt.trailing_bits:
        quantum = fmt.qmin
    value = (significand + nu) * Fraction(2) ** quantum
    return -value if negative else value


@st.composite
def numbers(draw: st.DrawFn, fmt: Format) -> Any:
    """Numbers of every kind: raw bits, values, ties and their surroundings, edges, subnormals, special values."""
    kind = draw(st.sampled_from(("near", "near", "near", "edge", "bits64", "bits32", "special", "integer", "fraction")))
    negative = draw(st.booleans())
    match kind:
        case "bits64":
            return struct.unpack("<d", struct.pack("<Q", draw(st.integers(0, 2**64 - 1))))[0]
        case "bits32":
            return struct.unpack("<f", struct.pack("<I", draw(st.integers(0, 2**32 - 1))))[0]
        case "special":
            return draw(st.sampled_from((0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324, -5e-324)))
        case "integer":
            return draw(st.integers(-(2**80), 2**80))
        case "fraction":
            return draw(st.fractions())
    landmarks = (0, 1, 2**fmt.trailing_bits - 1, 2**fmt.trailing_bits, fmt.max_code - 1, fmt.max_code)
    edges = [code for code in landmarks if 0 <= code <= fmt.max_code]
    code = draw(st.sampled_from(edges) if kind == "edge" else st.integers(0, fmt.max_code))
    eighths = Fraction(draw(st.integers(0, 16)), 8)
    shift = draw(st.sampled_from((0, 0, 1, -1))) * Fraction(1, 2 ** draw(st.sampled_from((2, 10, 30, 52, 80))))
    value = _between(fmt, code, eighths + shift, negative)
    if draw(st.booleans()):
        try:
            return float(value)
        except OverflowError:
            return value
    return value


@st.composite
def projections(draw: st.DrawFn) -> tuple[Projection, int]:
    """A projection and the integer R of its random bits."""
    rounding = draw(st.sampled_from(Rounding))
    saturation = draw(st.sampled_from(Saturation))
    if not rounding.stochastic:
        return Projection(rounding, saturation), 0
    n = draw(st.one_of(st.integers(1, 4), st.integers(1, 32)))
    top = 2**n - 1
    return Projection(rounding, saturation, n), draw(
        st.one_of(st.integers(0, top), st.sampled_from((0, top, top // 2)))
    )


@st.composite
def cases(draw: st.DrawFn, in_binary64: bool = True) -> Case:
    """A number, a format nobody named, and a projection."""
    fmt = draw(formats(in_binary64=in_binary64))
    x = draw(numbers(fmt))
    by, random = draw(projections())
    needs = reference.exact(x).kind == "nan" and not fmt.has_nan
    return Case(x, fmt, by, random, draw(st.sampled_from(("zero", "max"))) if needs else None)
