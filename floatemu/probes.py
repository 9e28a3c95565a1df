"""Numbers that tell casts apart: every number of 16 bits, and the neighbours of every value and tie of a target."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from floatemu.codec import values
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format

Array = np.ndarray[Any, Any]
SEED = 20240229
RANDOM = 4096
SOURCES = ("binary16", "bfloat16", "binary32", "binary64", "int64")
NANS = (0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF, 0x7FC00000, 0xFFC00000, 0xFF800001, 0x7FA55555, 0xFFA55555)
"""Of binary32: canonical on CUDA devices, signalling with low bits alone, all ones, quiet, and mixed bits."""


def probes(source: str, target: Format | str) -> Array:
    """Return numbers of ``source`` whose casts into ``target`` tell ways of rounding apart.

    Parameters
    ----------
    source : str
        One of ``SOURCES``.
    target : Format or str
        Of at most 16 bits.

    Returns
    -------
    ndarray
        Every number of binary16 (float16) or bfloat16 (in float32), in the order of the codes. Of binary32, binary64:
        numbers at, just below and just above each value of the target and each tie between two, both signs, both ends
        of both ranges, infinities, NaNs of many kinds, and seeded random bits; in binary64 also numbers that rounding
        to binary32 would move onto a tie or off it. Of int64: sums of two powers of two, and their neighbours.

    Raises
    ------
    UnsupportedError
        If the source is another, or the target has more than 16 bits.

    Examples
    --------
    >>> x = probes("binary32", "e4m3fn")
    >>> bool((x == 464).any()), x.dtype, probes("bfloat16", "e5m2").size
    (True, dtype('float32'), 65536)
    """
    fmt = get_format(target)
    if fmt.k > 16:
        raise UnsupportedError(f"{fmt.name} has {fmt.k} bits; probes are made for targets of at most 16 bits")
    codes = np.arange(65536, dtype=np.uint32)
    if source == "binary16":
        return codes.astype(np.uint16).view(np.float16)
    if source == "bfloat16":
        return (codes << np.uint32(16)).view(np.float32)
    if source in ("binary32", "binary64"):
        return _near(np.dtype(np.float32 if source == "binary32" else np.float64), fmt)
    if source == "int64":
        return _integers()
    raise UnsupportedError(f"source={source!r} is no source of probes; accepted: {', '.join(SOURCES)}")


def _near(dtype: np.dtype[Any], target: Format) -> Array:
    word = np.dtype(f"u{dtype.itemsize}")
    known = values(target)
    known = np.unique(np.abs(known[np.isfinite(known)]))
    last = Fraction(2) ** (target.emax - target.trailing_bits)
    beyond = [float(target.max) + float(ulps * last) for ulps in (Fraction(1, 2), 1, 2)]
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
    random = rng.integers(0, 2 ** (8 * word.itemsize) - 1, RANDOM, dtype=word)
    found = np.concatenate([np.unique(moved).astype(word), random]).view(dtype)
    limits: Any = np.finfo(dtype)
    ends = np.array([0.0, np.inf, np.nan, limits.max, limits.tiny, limits.smallest_subnormal]).astype(dtype)
    found = np.concatenate([found, ends])
    found = np.concatenate([found, -found, _nans(dtype)])
    # A multiple of every vector length, so that no library treats the last ones apart.
    return np.concatenate([found, found[: -found.size % 64]])


def _nans(dtype: np.dtype[Any]) -> Array:
    narrow = np.array(NANS, np.uint32)
    if dtype == np.float32:
        return narrow.view(np.float32)
    wide = narrow.astype(np.uint64)
    sign, rest = (wide >> np.uint64(31)) << np.uint64(63), wide & np.uint64(0x7FFFFF)
    # Bits of binary32's significand, and the lowest for the one that is set alone.
    moved = np.where(rest == 1, np.uint64(1), rest << np.uint64(29))
    return (sign | np.uint64(0x7FF << 52) | moved).view(np.float64)


def _integers() -> Array:
    powers = 2 ** np.arange(63, dtype=np.int64)
    pairs = (powers[:, None] | powers[None, :]).reshape(-1)
    found = np.unique(np.concatenate([pairs - 1, pairs, pairs + 1, [0]]))
    return np.concatenate([found, -found])
