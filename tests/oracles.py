"""A second oracle, fast enough for exhaustive tests: sorted exact breakpoints made from decoded values.

For a format of at most 16 bits every value is an exact float64. Between two neighbouring values the
rounding of x changes once, at a breakpoint ``low + nu * gap`` that follows from the mode's definition
(P3109 v4.0, 4.7.4) solved for nu. Such a breakpoint has at most p + N + 2 <= 53 significant bits (the
gap is a power of two, nu a multiple of 2^-(N+1)), so it too is an exact float64, and "smallest float64
that goes away from zero" turns rounding into one ``np.searchsorted``. test_reference.py shows that it
equals floatemu.reference at every breakpoint and at its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from floatemu import reference
from floatemu.format import Format, Overflow
from floatemu.formats import FORMATS, p3109
from floatemu.projection import Rounding, Saturation

DETERMINISTIC = tuple(mode for mode in Rounding if not mode.stochastic)
STOCHASTIC = tuple(mode for mode in Rounding if mode.stochastic)
SATURATIONS = tuple(Saturation)


class Draw(NamedTuple):
    """A rounding mode with its random bits: N and R, 0 and 0 for deterministic modes."""

    rounding: Rounding
    n: int = 0
    r: int = 0


DRAWS = tuple(Draw(mode) for mode in DETERMINISTIC) + tuple(
    Draw(mode, n, r) for mode in STOCHASTIC for n in (1, 2, 3) for r in range(2**n)
)
"""Every deterministic mode, and every stochastic one with N = 1, 2, 3 and every R."""

SMALL = tuple(fmt for fmt in FORMATS.values() if fmt.k <= 8)
WIDE = tuple(fmt for fmt in FORMATS.values() if fmt.k > 8)
P3109_SMALL = tuple(
    p3109(k, p, signed, extended)
    for k in range(3, 9)
    for signed in (True, False)
    for p in range(1, k + (not signed))
    for extended in (True, False)
)


def call(draw: Draw, saturation: Saturation = Saturation.SAT_NONE) -> dict[str, Any]:
    """Return the keyword arguments of ``fe.round`` that ask for a draw."""
    arguments: dict[str, Any] = {"rounding": draw.rounding, "saturation": saturation}
    if draw.n:
        arguments |= {"random_bits": draw.n, "random": draw.r}
    return arguments


def bits(x: Any) -> NDArray[np.unsignedinteger]:
    """Return the bit patterns of a floating-point array or scalar."""
    array = np.asarray(x)
    return array.view(f"u{array.dtype.itemsize}")


def assert_bits(actual: Any, expected: Any, inputs: Any = None, what: str = "") -> None:
    """Fail with the first difference unless both have the same shape, dtype and bits."""
    got, want = np.asarray(actual), np.asarray(expected)
    assert (got.dtype, got.shape) == (want.dtype, want.shape), (
        f"{what}: {got.dtype}{got.shape}, not {want.dtype}{want.shape}"
    )
    if got.tobytes() == want.tobytes():
        return
    where = np.flatnonzero((bits(got) != bits(want)).ravel())
    first = where[0]
    source = "" if inputs is None else f" of input {np.asarray(inputs).ravel()[first]!r}"
    raise AssertionError(
        f"{what}: {where.size} of {got.size} differ, first at {first}{source}: "
        f"{got.ravel()[first]!r} ({bits(got).ravel()[first]:#x}), expected {want.ravel()[first]!r} "
        f"({bits(want).ravel()[first]:#x})"
    )


@dataclass(frozen=True)
class Grid:
    """Non-negative finite values of a format with their codes, and the value that would come next."""

    values: NDArray[np.float64]
    codes: NDArray[np.int64]

    @property
    def count(self) -> int:
        return len(self.codes)


@cache
def grid(fmt: Format) -> Grid:
    """Decode every non-negative finite code; values has one entry more, the first beyond the range."""
    if fmt.k > 16 or fmt.p > 45:
        raise ValueError(f"{fmt.name} is too wide for an oracle made of all its values")
    decoded: dict[float, int] = {}
    for code in range(fmt.max_code + 1):
        decoded.setdefault(float(reference.decode(code, fmt)), code)
    values = np.array(list(decoded))
    top = max(int(np.frexp(values[-1])[1]) - 1, fmt.emin)
    beyond = values[-1] + np.ldexp(1.0, top - fmt.p + 1 if values[-1] >= np.ldexp(1.0, fmt.emin) else fmt.qmin)
    assert np.all(np.diff(values) > 0)
    assert np.isfinite(beyond)
    return Grid(np.append(values, beyond), np.array(list(decoded.values())))


def _first_away(
    low: NDArray[np.float64], gap: NDArray[np.float64], odd: NDArray[np.bool_], draw: Draw, negative: bool
) -> NDArray[np.float64]:
    """Return the smallest float64 in (low, low + gap] that goes to low + gap."""
    nu, inclusive = 1.0, np.ones(low.shape, bool)  # "never" = only low + gap itself
    unit, mode = 2.0**-draw.n, draw.rounding
    match mode:
        case Rounding.NEAREST_TIES_TO_EVEN:
            nu, inclusive = 0.5, odd
        case Rounding.NEAREST_TIES_TO_AWAY:
            nu = 0.5
        case Rounding.TOWARD_POSITIVE | Rounding.TOWARD_NEGATIVE:
            if negative == (mode is Rounding.TOWARD_NEGATIVE):
                nu, inclusive = 0.0, ~inclusive
        case Rounding.STOCHASTIC_A:  # floor(nu 2^N) >= 2^N - R
            nu = 1 - draw.r * unit
        case Rounding.STOCHASTIC_B:  # floor(nu 2^(N+1)) >= 2^(N+1) - 2 R - 1
            nu = 1 - (draw.r + 0.5) * unit
        case Rounding.STOCHASTIC_C:  # rne(nu 2^N) >= m = 2^N - R: from the tie m - 1/2 on, which goes to the even one
            nu, inclusive = 1 - (draw.r + 0.5) * unit, np.full(low.shape, (2**draw.n - draw.r) % 2 == 0)
    if mode is Rounding.TO_ODD:
        return np.where(odd, low + gap, np.nextafter(low, np.inf))
    threshold = low + nu * gap
    return np.where(inclusive, threshold, np.nextafter(threshold, np.inf))


@lru_cache(maxsize=4096)
def cutoffs(fmt: Format, draw: Draw, negative: bool) -> NDArray[np.float64]:
    """Entry i is the smallest float64 magnitude whose rounding is beyond value i; sorted."""
    values, codes = grid(fmt).values, grid(fmt).codes
    return _first_away(values[:-1], np.diff(values), codes % 2 == 1, draw, negative)


@lru_cache(maxsize=4096)
def tiny_cutoff(fmt: Format, draw: Draw, negative: bool) -> float:
    """Smallest float64 magnitude that p bits and an unbounded exponent round to 2^emin or more."""
    gap = np.array([np.ldexp(1.0, fmt.emin - fmt.p)])
    odd = np.array([fmt.p > 1 or not fmt.zero])  # p = 1: the code would be 0 (even), or -1 where 2^emin has code 0
    cutoff = float(_first_away(np.ldexp(1.0, fmt.emin) - gap, gap, odd, draw, negative)[0])
    return max(cutoff, float(fmt.min_positive)) if not fmt.zero else cutoff


def _outside(fmt: Format, mode: Rounding, saturation: Saturation, negative: bool, infinite: bool) -> float:
    """What becomes of a value beyond the range, as the tables of P3109 4.7.5 say, extended to all formats."""
    below = negative and not fmt.signed
    nearest = float(fmt.min if negative else fmt.max)
    infinity = (-np.inf if negative else np.inf) if fmt.infinities and not below else None
    if saturation is Saturation.SAT_FINITE or (saturation is Saturation.SAT_PROPAGATE and not infinite):
        return nearest
    if saturation is Saturation.SAT_PROPAGATE:
        return nearest if infinity is None else infinity
    if below:
        stays = fmt.zero and not infinite and mode in (Rounding.TOWARD_ZERO, Rounding.TOWARD_POSITIVE)
        return nearest if stays or not fmt.has_nan else np.nan
    overflow = {Overflow.INFINITY: infinity, Overflow.NAN: np.nan, Overflow.MAX: nearest}[Overflow(fmt.overflow)]
    if infinite:
        return overflow if infinity is None else infinity
    inward = {Rounding.TOWARD_ZERO, Rounding.TOWARD_POSITIVE if negative else Rounding.TOWARD_NEGATIVE}
    if mode in inward or (mode is Rounding.TO_ODD and not fmt.signed and fmt.infinities):
        return nearest
    assert overflow is not None
    return overflow


class Expected(NamedTuple):
    """Correct results: values, codes and flag masks."""

    values: NDArray[np.float64]
    codes: NDArray[np.int64]
    flags: NDArray[np.uint8]


@lru_cache(maxsize=4096)
def _results(fmt: Format, mode: Rounding, saturation: Saturation, nan: str | None) -> Expected:
    """Results by index: grid points, beyond, infinity, NaN, first for positive and then for negative inputs.

    The flags are only those that being outside the range raises.
    """
    values, codes, masks = [], [], []
    for negative in (False, True):
        sign = -1.0 if negative else 1.0
        inside = grid(fmt).values[:-1] * sign
        inside_codes = grid(fmt).codes + fmt.sign_code * negative
        outside = _outside(fmt, mode, saturation, negative, infinite=False)
        mask = reference.OVERFLOW | reference.INEXACT
        mask |= reference.NAN_BORN if np.isnan(outside) else 0 if np.isinf(outside) else reference.SATURATED
        flags = np.zeros(len(inside), np.uint8)
        if negative and not fmt.signed:
            beyond = slice(1 if fmt.zero else 0, None)
            inside[beyond], inside_codes[beyond], flags[beyond] = outside, code_of(outside, fmt), mask
        if negative and fmt.zero and not fmt.negative_zero:
            inside[0], inside_codes[0] = 0.0, 0
        infinite = _outside(fmt, mode, saturation, negative, infinite=True)
        infinite_mask = reference.INVALID | reference.NAN_BORN if np.isnan(infinite) else reference.SATURATED
        infinite_mask *= not np.isinf(infinite)
        of_nan = {"zero": max(float(fmt.min), 0.0), "max": float(fmt.max), None: np.nan}[None if fmt.has_nan else nan]
        extra = [outside, infinite, of_nan]
        values.append(np.append(inside, extra))
        codes.append(np.append(inside_codes, [code_of(value, fmt) for value in extra]))
        masks.append(np.append(flags, [mask, infinite_mask, 0 if np.isnan(of_nan) else reference.INVALID]))
    return Expected(np.concatenate(values), np.concatenate(codes), np.concatenate(masks).astype(np.uint8))


def code_of(value: float, fmt: Format) -> int:
    """Code of a float64 that the format holds; -1 for a NaN that it does not hold."""
    if np.isnan(value):
        return -1 if fmt.nan_code is None else fmt.nan_code
    return reference.encode(reference.exact(float(value)), fmt)


class Projected:
    """Float64 inputs placed between the breakpoints of a format, once for all saturation modes.

    Parameters
    ----------
    x : ndarray of float64
        Inputs of any kind, NaN included.
    fmt : Format
        At most 16 bits wide.
    draw : Draw
        Mode and random bits.
    """

    def __init__(self, x: NDArray[np.float64], fmt: Format, draw: Draw) -> None:
        assert x.dtype == np.float64
        self.x, self.fmt, self.draw = x, fmt, draw
        self.negative = np.signbit(x)
        magnitude = np.abs(x)
        symmetric = draw.rounding not in (Rounding.TOWARD_POSITIVE, Rounding.TOWARD_NEGATIVE)
        index = np.searchsorted(cutoffs(fmt, draw, False), magnitude, side="right")
        self.tiny = magnitude < tiny_cutoff(fmt, draw, False)
        if not symmetric:
            mirrored = np.searchsorted(cutoffs(fmt, draw, True), magnitude, side="right")
            index = np.where(self.negative, mirrored, index)
            self.tiny = np.where(self.negative, magnitude < tiny_cutoff(fmt, draw, True), self.tiny)
        count = grid(fmt).count
        if not fmt.zero:  # zero of either sign lies below the range, where negative numbers are
            self.negative = self.negative | (x == 0)
        index[np.isinf(x)] = count + 1
        index[np.isnan(x)] = count + 2
        self.index = index + self.negative * (count + 3)

    def at(self, saturation: Saturation, nan: str | None = None) -> Expected:
        """Return the correct values, codes and flags under a saturation mode."""
        table = _results(self.fmt, self.draw.rounding, saturation, nan)
        values, codes, flags = (column[self.index] for column in table)
        inexact = np.isfinite(self.x) & (values != self.x) & (flags == 0)
        mask = np.where(inexact, reference.INEXACT, 0)
        mask |= np.where(inexact & self.tiny, reference.UNDERFLOW, 0)
        mask |= np.where(inexact & (values == 0), reference.FLUSHED, 0)
        flags = flags | mask.astype(np.uint8)
        if not self.fmt.zero:
            zero = self.x == 0
            below = zero | (self.negative & np.isfinite(self.x))
            flags[below & np.isnan(values)] = reference.INVALID | reference.NAN_BORN
            flags[zero & ~np.isnan(values)] = reference.SATURATED
        return Expected(values, codes, flags)


def expected(
    x: Any, fmt: Format, draw: Draw, saturation: Saturation = Saturation.SAT_NONE, nan: str | None = None
) -> Expected:
    """Return the correct values, codes and flags of float64 inputs."""
    return Projected(np.asarray(x, np.float64), fmt, draw).at(saturation, nan)


def jumps(fmt: Format, draw: Draw) -> NDArray[np.float64]:
    """Return both sides of every breakpoint: as rounding is monotone, being right there is being right everywhere."""
    first = np.unique(np.concatenate([cutoffs(fmt, draw, negative) for negative in (False, True)]))
    positive = np.concatenate([first, np.nextafter(first, 0)])
    return np.concatenate([positive, -positive, [0.0, -0.0, np.inf, -np.inf]])


def probes(fmt: Format, draw: Draw) -> NDArray[np.float64]:
    """Return every breakpoint of a mode and every value, each with its float64 and float32 neighbours; both signs."""
    points = [grid(fmt).values]
    for negative in (False, True):
        points.append(cutoffs(fmt, draw, negative))
        points.append([tiny_cutoff(fmt, draw, negative)])
    centre = np.unique(np.concatenate(points))
    with np.errstate(over="ignore", under="ignore"):
        single = centre.astype(np.float32)
        around = [np.nextafter(single, np.float32(side)).astype(np.float64) for side in (-np.inf, np.inf)]
    around += [single.astype(np.float64), np.nextafter(centre, -np.inf), centre, np.nextafter(centre, np.inf)]
    positive = np.unique(np.concatenate(around))
    positive = positive[np.isfinite(positive) & (positive > 0)]
    return np.concatenate([positive, -positive, [0.0, -0.0, np.inf, -np.inf]])
