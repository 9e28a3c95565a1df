"""Inputs that tell ways of rounding apart: every binary16 number, neighbours of breakpoints, pairs, exact matrices."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

import floatemu as fe
from floatemu.format import Format

Array = np.ndarray[Any, Any]
SEED = 20240229
COUNT = 4096


def halves(source: Format, target: Format) -> Array:
    """Every binary16 number, NaNs included.

    Parameters
    ----------
    source, target : Format
        As for :func:`near`; they change nothing.

    Returns
    -------
    ndarray of float16
        Shape (65536,), in the order of the codes.

    Examples
    --------
    >>> import floatemu as fe
    >>> halves(fe.get_format("binary16"), fe.get_format("e5m2"))[0x3C00]
    np.float16(1.0)
    """
    return np.arange(65536, dtype=np.uint32).astype(np.uint16).view(np.float16)


def near(source: Format, target: Format) -> Array:
    """Numbers of ``source`` at, just below and just above each value of ``target`` and each tie between two of them.

    Parameters
    ----------
    source : Format
        binary32 or binary64.
    target : Format
        Of at most 16 bits.

    Returns
    -------
    ndarray of float32 or float64
        With both signs, zeros, the ends of both ranges, infinities, NaN and seeded random bit patterns; in binary64
        also numbers that rounding to binary32 would move onto a tie or off it.

    Examples
    --------
    >>> import floatemu as fe
    >>> x = near(fe.get_format("binary32"), fe.get_format("e4m3fn"))
    >>> bool((x == 464).any()), x.dtype
    (True, dtype('float32'))
    """
    dtype = np.dtype(np.float32 if source.p == 24 else np.float64)
    word = np.dtype(f"u{dtype.itemsize}")
    known = np.asarray(fe.values(target))
    known = np.unique(np.abs(known[np.isfinite(known)]))
    beyond = [float(target.max) + float(ulps) * float(_last(target)) for ulps in (Fraction(1, 2), 1, 2)]
    ties = (known[:-1] + known[1:]) / 2
    below = [float(target.min_positive) * scale for scale in (0.5, 0.25, 0.75, 2.0**-30)]
    centre = np.concatenate([known, ties, beyond, below])
    with np.errstate(over="ignore"):
        bits = centre.astype(dtype).view(word).astype(np.int64)
    steps = [0, -1, 1]
    if dtype == np.float64:
        # Half a unit of binary32 and what is next to it: where a first rounding ends up on the tie.
        steps += [s * (2**28 + d) for s in (-1, 1) for d in (-1, 0, 1)] + [-(2**12), 2**12]
    moved = np.concatenate([bits + step for step in steps])
    largest = int(np.array(np.inf, dtype).view(word))
    moved = moved[(moved >= 0) & (moved <= largest)]
    rng = np.random.default_rng(SEED)
    random = rng.integers(0, 2 ** (8 * word.itemsize) - 1, COUNT, dtype=word)
    values = np.concatenate([np.unique(moved).astype(word), random]).view(dtype)
    limits: Any = np.finfo(dtype)
    ends = np.array([0.0, np.inf, np.nan, limits.max, limits.tiny, limits.smallest_subnormal])
    values = np.concatenate([values, ends.astype(dtype)])
    return np.concatenate([values, -values])


def _last(fmt: Format) -> Fraction:
    """The quantum of the largest value."""
    return Fraction(2) ** (fmt.emax - fmt.trailing_bits)


def pairs(fmt: Format, count: int) -> list[Array]:
    """Codes of operands: every one of the format if there is a single operand, else random and special ones.

    Parameters
    ----------
    fmt : Format
        Of 16 bits.
    count : int
        Operands, 1 to 3.

    Returns
    -------
    list of ndarray of uint16
        Random pairs, pairs of near exponents, and each special number with each other.

    Examples
    --------
    >>> import floatemu as fe
    >>> [x.shape for x in pairs(fe.get_format("bfloat16"), 1)]
    [(65536,)]
    """
    if count == 1:
        return [np.arange(2**fmt.k, dtype=np.uint32).astype(np.uint16)]
    rng = np.random.default_rng(SEED + fmt.p)
    left, right = rng.integers(0, 2**16, (2, 8 * COUNT), dtype=np.uint16)
    alike = left ^ rng.integers(0, 2 ** (fmt.p + 2), left.size, dtype=np.uint16)
    # Of half the exponent: products near the subnormals.
    low = rng.integers(0, int(fe.encode(2.0 ** (fmt.emin // 2 + 2), fmt)), (2, left.size), dtype=np.uint16)
    ends = [0.0, float(fmt.min_positive), float(fmt.min_normal), 1.0, float(fmt.max), np.inf, np.nan]
    special = np.asarray(fe.encode(ends + [-x for x in ends], fmt))
    first, second = (x.reshape(-1) for x in np.meshgrid(special, special))
    found = [np.concatenate([left, left, low[0], first]), np.concatenate([right, alike, low[1], second])]
    if count == 2:
        return found
    # A third operand at the exponent of the product: sums that cancel or end on ties.
    x, y = (np.asarray(fe.decode(codes, fmt)) for codes in found)
    noise = rng.integers(0, 2 ** (fmt.p + 3), x.size, dtype=np.uint16)
    with np.errstate(all="ignore"):
        return [*found, (np.asarray(fe.encode(x * y, fmt)) ^ noise).astype(np.uint16)]


def matrices(fmt: Format) -> tuple[Array, Array]:
    """Two matrices whose product needs no rounding before the last, whatever the order of its additions.

    Parameters
    ----------
    fmt : Format
        Of operands and result.

    Returns
    -------
    tuple of ndarray of float64
        (48, 64) and (64, 40). Of 24 or 53 bits: numbers of full precision times a selection, so that a shorter
        operand would be seen. Else: integers whose exact sums stay below 2^24, to be rounded once.

    Examples
    --------
    >>> import floatemu as fe
    >>> a, b = matrices(fe.get_format("binary32"))
    >>> int((b != 0).sum(0).max())
    1
    """
    rng = np.random.default_rng(SEED)
    if fmt.p >= 24:
        a = np.asarray(fe.round(rng.normal(size=(48, 64)), fmt), np.float64)
        b = np.zeros((64, 40))
        b[rng.integers(0, 64, 40), np.arange(40)] = np.ldexp(rng.choice([-1.0, 1.0], 40), rng.integers(-3, 4, 40))
        return a, b
    most = 2**7
    return (
        rng.integers(-most, most + 1, (48, 64)).astype(np.float64),
        rng.integers(-most, most + 1, (64, 40)).astype(np.float64),
    )
