"""How torch's casts and operations are known to deviate: each way computed by floatemu, with its cause in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import floatemu as fe
from floatemu.casting import DOUBLE
from floatemu.format import Format
from floatemu.presets import get

Array = np.ndarray[Any, Any]
Reading = tuple[str, Callable[[], Array]]
"""A cause, and the codes that it predicts."""

VIA = DOUBLE.format("binary32")
PRESETS = ("torch", "torch_2.12", "torch_cuda")
"""Whose casts are known ways."""

FAITHFUL = "one of the two numbers around the exact root, not always the nearer (a vectorised square root)"


def casts(x: Array, source: Format, fmt: Format) -> Iterator[Reading]:
    """Yield the known ways of casting ``x`` into ``fmt``: those of torch in the table of presets.

    Parameters
    ----------
    x : ndarray
        float16, float32 or float64.
    source : Format
        Of x.
    fmt : Format

    Yields
    ------
    tuple of str and callable
        The cause, and a function that returns the codes it predicts.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> x, source = np.array([1 + 2**-4 + 2**-40]), fe.get_format("binary64")
    >>> found = dict(casts(x, source, fe.get_format("e5m2")))
    >>> list(found)
    ['rounded to binary32 first, then again (double rounding)']
    """
    for name in PRESETS:
        preset = get(name)
        if source.name in preset.sources(fmt):
            cause = preset.rule(source.name, fmt).describe(source.name)
            yield cause, lambda preset=preset: preset.cast(x, fmt, source=source.name)  # type: ignore[misc]


def fused(operands: tuple[Array, ...], fmt: Format) -> Iterator[Reading]:
    """Yield the known ways of x y + z in ``fmt``: made in binary32, and rounded again; x y rounded before.

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
    >>> (cause, codes), *_ = fused(operands, fe.get_format("bfloat16"))
    >>> fe.decode(codes(), "bfloat16"), fe.fma(*operands, "bfloat16")
    (array([324.]), array([322.]))
    """
    if fmt.name != "binary32":
        yield VIA, lambda: np.asarray(fe.encode(fe.fma(*operands, "binary32"), fmt))
    x, y, z = operands
    apart = "the product is rounded to binary32 before the sum"
    yield apart, lambda: np.asarray(fe.encode(fe.add(fe.mul(x, y, "binary32"), z, "binary32"), fmt))


def faithful(x: Array, fmt: Format, want: Array) -> Iterator[Reading]:
    """Yield the known way of square roots: one of the two numbers around the exact root, not always the nearer.

    Parameters
    ----------
    x : ndarray
    fmt : Format
    want : ndarray of unsigned integers
        Codes that torch gave; the way does not say which of the two it is, only that it is one of them.

    Yields
    ------
    tuple of str and callable

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> fmt = fe.get_format("binary32")
    >>> near, far = fe.encode(np.array([1.4142135, 1.4142139], np.float32), fmt)
    >>> ((_, codes),) = faithful(np.array([2.0, 2.0]), fmt, np.array([near, far]))
    >>> (codes() == [near, far]).tolist()
    [True, False]
    """

    def codes() -> Array:
        down, up = (np.asarray(fe.encode(fe.sqrt(x, fmt, mode), fmt)) for mode in ("TOWARD_ZERO", "TOWARD_POSITIVE"))
        return np.where((want == down) | (want == up), want, down)

    yield FAITHFUL, codes


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
