"""Operands that tell ways of computing apart: pairs of numbers, and matrices with exact products."""

from __future__ import annotations

from typing import Any

import numpy as np

import floatemu as fe
from floatemu.format import Format

Array = np.ndarray[Any, Any]
SEED = 20240229
COUNT = 4096


def pairs(fmt: Format, count: int) -> list[Array]:
    """Codes of operands: every one of 16 bits if there is a single operand, else random and special ones.

    Parameters
    ----------
    fmt : Format
        Of 16 bits, or binary32.
    count : int
        Operands, 1 to 3.

    Returns
    -------
    list of ndarray of uint16 or uint32
        Random pairs, pairs of near exponents, and each special number with each other.

    Examples
    --------
    >>> import floatemu as fe
    >>> [x.shape for x in pairs(fe.get_format("bfloat16"), 1)]
    [(65536,)]
    """
    word = np.dtype(f"u{fmt.k // 8}")
    rng = np.random.default_rng(SEED + fmt.p)
    if count == 1 and fmt.k <= 16:
        return [np.arange(2**fmt.k, dtype=np.uint32).astype(word)]
    left, right = rng.integers(0, 2**fmt.k, (2, 8 * COUNT), dtype=word)
    if count == 1:
        return [left]
    alike = left ^ rng.integers(0, 2 ** (fmt.p + 2), left.size, dtype=word)
    # Of half the exponent: products near the subnormals.
    low = rng.integers(0, int(fe.encode(2.0 ** (fmt.emin // 2 + 2), fmt)), (2, left.size), dtype=word)
    ends = [0.0, float(fmt.min_positive), float(fmt.min_normal), 1.0, float(fmt.max), np.inf, np.nan]
    special = np.asarray(fe.encode(ends + [-x for x in ends], fmt))
    first, second = (x.reshape(-1) for x in np.meshgrid(special, special))
    found = [np.concatenate([left, left, low[0], first]), np.concatenate([right, alike, low[1], second])]
    if count == 2:
        return found
    # A third operand at the exponent of the product: sums that cancel or end on ties.
    x, y = (np.asarray(fe.decode(codes, fmt)) for codes in found)
    noise = rng.integers(0, 2 ** (fmt.p + 3), x.size, dtype=word)
    with np.errstate(all="ignore"):
        return [*found, (np.asarray(fe.encode(x * y, fmt)) ^ noise).astype(word)]


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
