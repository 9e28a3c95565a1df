"""How torch's casts and operations are known to deviate: each way computed by floatemu, with its cause in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import floatemu as fe
from floatemu.format import Format

Array = np.ndarray[Any, Any]
Reading = tuple[str, Callable[[], Array]]
"""A cause, and the codes that it predicts."""

VIA = "rounded to binary32 first, then again (double rounding)"
SATURATES = "saturates: what is beyond the range, infinity included, becomes the largest value (since torch 2.13)"
MAGNITUDE = "e8m0fnu: the magnitude, ties away from zero; 0 becomes 2^-127; between 2^-127 and 2^-126 all goes up"


def _magnitudes(x: Array, fmt: Format) -> Array:
    least = float(fmt.min_positive)
    with np.errstate(invalid="ignore"):  # signalling NaNs
        magnitude = np.abs(x.astype(np.float64))
    codes = np.asarray(fe.encode(np.maximum(magnitude, least), fmt, "NEAREST_TIES_TO_AWAY"))
    # Such numbers are subnormal in binary32; torch takes their leading bit for the one that rounds.
    codes[(magnitude > least) & (magnitude < 2 * least)] = 1
    return codes


def casts(x: Array, fmt: Format) -> Iterator[Reading]:
    """Yield the known ways of casting ``x`` into ``fmt``: one deviation, then two.

    Parameters
    ----------
    x : ndarray
        float16, float32 or float64.
    fmt : Format

    Yields
    ------
    tuple of str and callable
        The cause, and a function that returns the codes it predicts.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> found = {cause: codes() for cause, codes in casts(np.array([1 + 2**-4 + 2**-40]), fe.get_format("e4m3fn"))}
    >>> hex(found[VIA][0])  # 1.0, not 1.125
    '0x38'
    """
    wide = x.dtype == np.float64
    narrow = np.asarray(fe.round(x, "binary32", dtype=np.float32)) if wide else x
    if fmt.name == "e8m0fnu":
        yield MAGNITUDE, lambda: _magnitudes(x, fmt)
        if wide:
            yield f"{MAGNITUDE}; {VIA}", lambda: _magnitudes(narrow, fmt)
        return
    if wide:
        yield VIA, lambda: np.asarray(fe.encode(narrow, fmt))
    yield SATURATES, lambda: np.asarray(fe.encode(x, fmt, saturation="SAT_FINITE"))
    if wide:
        yield f"{SATURATES}; {VIA}", lambda: np.asarray(fe.encode(narrow, fmt, saturation="SAT_FINITE"))


def fused(operands: tuple[Array, ...], fmt: Format) -> Iterator[Reading]:
    """Yield the known ways of x y + z in ``fmt``: made in binary32, and rounded again.

    Parameters
    ----------
    operands : tuple of ndarray
        x, y, z.
    fmt : Format

    Yields
    ------
    tuple of str and callable

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> operands = np.array([17.0]), np.array([19.0]), np.array([-(2.0**-60)])
    >>> (cause, codes), = fused(operands, fe.get_format("bfloat16"))
    >>> fe.decode(codes(), "bfloat16"), fe.fma(*operands, "bfloat16")
    (array([324.]), array([322.]))
    """
    yield VIA, lambda: np.asarray(fe.encode(fe.fma(*operands, "binary32"), fmt))


def products(a: Array, b: Array, dtype: str) -> Iterator[Reading]:
    """Yield the known ways of a float32 product of matrices whose exact result needs no rounding: shorter operands.

    Parameters
    ----------
    a, b : ndarray
        (M, K) and (K, N), of binary32 numbers.
    dtype : str
        Name of the operands' format.

    Yields
    ------
    tuple of str and callable

    Examples
    --------
    >>> import numpy as np
    >>> len(list(products(np.eye(2), np.eye(2), "binary32")))
    3
    """
    if dtype != "binary32":
        return

    def shorter(fmt: str, rounding: str) -> Callable[[], Array]:
        def codes() -> Array:
            left, right = (np.asarray(fe.round(x, fmt, rounding), np.float64) for x in (a, b))
            return np.asarray(fe.encode(left @ right, "binary32"))

        return codes

    yield "operands rounded to bfloat16 (float32 precision 'medium')", shorter("bfloat16", "rne")
    for mode in ("TOWARD_ZERO", "NEAREST_TIES_TO_EVEN"):
        yield f"operands rounded to tf32, {mode} (float32 precision 'high')", shorter("tf32", mode)
