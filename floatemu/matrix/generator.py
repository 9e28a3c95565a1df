"""Inputs for matrix units, as codes: drawn by counter, without numpy's generators or any transcendental function.

Captures name their inputs by (distribution, seed, version) and pin them by hash, so the same codes must come out
of every numpy on every processor. The words are SplitMix64's (Steele, Lea and Flood, OOPSLA 2014), output
``index`` of the generator whose seed is output ``stream`` of the generator seeded ``seed``, as in the rest of
the package; everything after that is integer arithmetic, or binary64 arithmetic that is exact.

This file imports numpy and nothing else: a machine with a GPU may have neither numba nor this package, and
loads the file by its path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["CHUNK_BITS", "DISTRIBUTIONS", "LAYOUTS", "NAME", "VERSION", "Layout"]
__all__ += ["cast_samples", "chunk_hash", "draw", "mix", "operands", "vectors", "words"]

Array = np.ndarray[Any, Any]
NAME, VERSION = "floatemu.matrix.generator", 1
GAMMA, MASK = 0x9E3779B97F4A7C15, 2**64 - 1
CHUNK_BITS = 20
DISTRIBUTIONS = ("normal", "adversarial", "raw", "zeros", "underflow", "finite")
"""Names of the distributions; the place of one in this tuple is part of its stream."""
_WORDS = 4


class Layout(NamedTuple):
    """How the codes of a format are laid out.

    Attributes
    ----------
    name : str
    k, p, bias : int
        Width, precision (0: an integer type), exponent bias.
    largest : int
        Code of the largest finite value.
    infinity, nan : int or None
        Code of +infinity, and of a NaN.
    spare : int
        Bits below the code in the register that an operand lies in: 13 for tf32.
    """

    name: str
    k: int
    p: int = 0
    bias: int = 0
    largest: int = 0
    infinity: int | None = None
    nan: int | None = None
    spare: int = 0

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal number, 1 - bias."""
        return 1 - self.bias

    @property
    def emax(self) -> int:
        """Exponent of the largest finite number."""
        return (self.largest >> (self.p - 1)) - self.bias

    @property
    def sign(self) -> int:
        """The sign bit."""
        return 1 << (self.k - 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned dtype that holds a register."""
        width = next(width for width in (8, 16, 32, 64) if self.k + self.spare <= width)
        return np.dtype(f"uint{width}")


LAYOUTS = {
    row.name: row
    for row in (
        Layout("binary16", 16, 11, 15, 0x7BFF, 0x7C00, 0x7E00),
        Layout("bfloat16", 16, 8, 127, 0x7F7F, 0x7F80, 0x7FC0),
        Layout("tf32", 19, 11, 127, 0x3FBFF, 0x3FC00, 0x3FE00, spare=13),
        Layout("binary32", 32, 24, 127, 0x7F7FFFFF, 0x7F800000, 0x7FC00000),
        Layout("binary64", 64, 53, 1023, 0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0x7FF8000000000000),
        Layout("e4m3fn", 8, 4, 7, 0x7E, None, 0x7F),
        Layout("e5m2", 8, 3, 15, 0x7B, 0x7C, 0x7E),
        Layout("int8", 8),
        Layout("uint8", 8),
        Layout("int32", 32),
    )
}
"""The formats that captures draw inputs in; a test holds them to ``floatemu.FORMATS``."""


def mix(z: Array) -> Array:
    """SplitMix64's finaliser of uint64 words, a bijection."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Array = z ^ (z >> np.uint64(31))
    return result


def words(seed: int, stream: int, first: int, count: int) -> Array:
    """Words ``first`` .. ``first + count - 1`` of (seed, stream).

    Parameters
    ----------
    seed, stream : int
        Taken modulo 2^64.
    first, count : int

    Returns
    -------
    ndarray of uint64, shape (count,)

    Examples
    --------
    >>> [hex(int(word)) for word in words(0, 0, 0, 2)]
    ['0xa706dd2f4d197e6f', '0xb382a305f4414f5e']
    """
    root = np.array([(seed + (stream + 1) * GAMMA) & MASK], np.uint64)
    index = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    return mix(mix(root) + index * np.uint64(GAMMA))


def _signed(layout: Layout, magnitude: Array, negative: Array) -> Array:
    code: Array = magnitude.astype(np.uint64) | (negative.astype(np.uint64) << np.uint64(layout.k - 1))
    return code


def _cut(layout: Layout, negative: Array, significand: Array, exponent: Array) -> Array:
    """Codes of (-1)^negative significand 2^(exponent - 52), 2^52 <= significand < 2^53 or 0, cut to the format."""
    e = np.maximum(exponent, layout.emin)
    shift = np.minimum(e - exponent, 63).astype(np.uint64) + np.uint64(53 - layout.p)
    kept = (significand >> np.minimum(shift, np.uint64(63))).astype(np.int64)
    # A significand with its leading bit raises the field by one: the field counts from emin, and 0 is subnormal.
    code = np.where(kept == 0, 0, ((e + layout.bias - 1).astype(np.int64) << (layout.p - 1)) + kept)
    return _signed(layout, np.minimum(code, layout.largest), negative)


def _compose(layout: Layout, sign: Array, exponent: Array, fraction: Array) -> Array:
    """Codes of normal numbers of random sign bit and fraction; the exponent is kept within the format's."""
    e = np.clip(exponent, layout.emin, layout.emax).astype(np.int64)
    code = ((e + layout.bias) << (layout.p - 1)) + (fraction & np.uint64((1 << (layout.p - 1)) - 1)).astype(np.int64)
    return _signed(layout, np.minimum(code, layout.largest), sign & np.uint64(1))


def _normal(layout: Layout, w: Array) -> Array:
    # Twelve uniform numbers, less their mean (Irwin and Hall): variance 1, nothing beyond 6.
    parts = (w[..., :3, None] >> np.array([0, 16, 32, 48], np.uint64)) & np.uint64(0xFFFF)
    total = 2 * parts.astype(np.int64).sum((-1, -2)) - 12 * 0xFFFF  # in units of 2^-17
    m = (np.abs(total).astype(np.uint64) << np.uint64(32)) | (w[..., 3] >> np.uint64(32))  # 2^-49
    length = np.frexp(m.astype(np.float64))[1].astype(np.int64)  # exact: m has at most 52 bits
    return _cut(layout, total < 0, m << (53 - length).astype(np.uint64), length - 1 - 49)


def _between(word: Array, low: int, high: int) -> Array:
    """Integers low .. high; the bias of the remainder, below 2^-50, is part of the definition."""
    return (word % np.uint64(high - low + 1)).astype(np.int64) + low


def _underflow(layout: Layout, w: Array, result: Layout) -> Array:
    middle = (result.emin - result.p + 1) // 2  # half the exponent of the result's quantum
    if layout.emin <= middle - 17:
        return _compose(layout, w[..., 2], _between(w[..., 0], middle - 17, middle + 17), w[..., 1])
    return _low(layout, w, 3)


def _low(layout: Layout, w: Array, top: int) -> Array:
    """Codes of random sign and fraction whose exponent field is 0 .. top."""
    top = min(top, (layout.largest >> (layout.p - 1)) - 1)
    field = _between(w[..., 0], 0, top).astype(np.uint64) << np.uint64(layout.p - 1)
    code = field | (w[..., 1] & np.uint64((1 << (layout.p - 1)) - 1))
    return _signed(layout, code, w[..., 2] & np.uint64(1))


def draw(distribution: str, layout: Layout, shape: Sequence[int], seed: int, stream: int, result: Layout) -> Array:
    """Operand codes of a distribution.

    ``normal``: twelve uniform numbers added up, cut to the format. ``adversarial``: exponents uniform in -7 .. 7, as
    far as the format has them. ``raw``: random bits, NaN and infinities among them. ``zeros``: raw, seven in ten
    replaced by zeros of both signs. ``underflow``: products about the quantum of the result, or, in formats
    whose products cannot be that small, exponent fields 0 to 3. ``finite``: raw, the uppermost bit of the exponent
    cleared in NaN and infinities.

    Parameters
    ----------
    distribution : str
        One of ``DISTRIBUTIONS``; integer types have ``raw`` and ``zeros``.
    layout : Layout
        The operand's format.
    shape : sequence of int
    seed, stream : int
    result : Layout
        The format of the result, which ``underflow`` aims at.

    Returns
    -------
    ndarray of ``layout.dtype``
        What a register holds: the code, above ``layout.spare`` zero bits.

    Raises
    ------
    ValueError
        If the distribution is not one of them, or the type is an integer and it is made of numbers.

    Examples
    --------
    >>> draw("normal", LAYOUTS["binary16"], (2, 2), 1, 0, LAYOUTS["binary32"]).dtype
    dtype('uint16')
    """
    if distribution not in DISTRIBUTIONS or (layout.p == 0 and distribution not in ("raw", "zeros")):
        accepted = ("raw", "zeros") if layout.p == 0 else DISTRIBUTIONS
        raise ValueError(f"distribution {distribution!r} is not one of {', '.join(accepted)} ({layout.name})")
    count = int(np.prod(shape, dtype=np.int64))
    w = words(seed, stream, 0, count * _WORDS).reshape(*shape, _WORDS)
    if distribution == "normal":
        codes = _normal(layout, w)
    elif distribution == "adversarial":
        codes = _compose(layout, w[..., 2], _between(w[..., 0], -7, 7), w[..., 1])
    elif distribution == "underflow":
        codes = _underflow(layout, w, result)
    else:
        codes = w[..., 0] & np.uint64(2**layout.k - 1)
        if distribution == "finite":
            special = (codes & np.uint64(layout.sign - 1)) > np.uint64(layout.largest)
            codes = np.where(special, codes & ~np.uint64(layout.sign >> 1), codes)
        if distribution == "zeros":
            sign = np.uint64(layout.sign if layout.p else 0)
            codes = np.where(w[..., 1] < np.uint64(7 * 2**64 // 10), codes & sign, codes)
    return (codes << np.uint64(layout.spare)).astype(layout.dtype)


def _value(layout: Layout, codes: Array) -> Array:
    """Finite codes as binary64, exactly."""
    code = codes.astype(np.uint64) >> np.uint64(layout.spare)
    magnitude = (code & np.uint64(layout.sign - 1)).astype(np.int64)
    field = magnitude >> (layout.p - 1)
    leading = np.where(field > 0, 1 << (layout.p - 1), 0)
    significand = (magnitude & ((1 << (layout.p - 1)) - 1)) + leading
    value = np.ldexp(significand.astype(np.float64), np.maximum(field, 1) - layout.bias - (layout.p - 1))
    signed: Array = np.where(code & np.uint64(layout.sign), -value, value)
    return signed


def _opposite(layout: Layout, a: Layout, b: Layout, x: Array, y: Array, word: Array) -> Array:
    """Accumulators near minus the largest product: cut to the format, then moved by up to 3 of 2^-20 or of its ulps."""
    product = _value(a, x) * _value(b, y)
    largest = np.take_along_axis(product, np.abs(product).argmax(-1)[..., None], -1)[..., 0]
    fraction, exponent = np.frexp(largest)
    significand = np.ldexp(np.abs(fraction), 53).astype(np.uint64)
    code = _cut(layout, np.zeros(largest.shape, bool), significand, exponent.astype(np.int64) - 1).astype(np.int64)
    code = np.clip(code + _between(word, -3, 3) * (1 << max(layout.p - 21, 0)), 0, layout.largest)
    return _signed(layout, code, largest > 0)


def operands(
    distribution: str, a: Layout, b: Layout, result: Layout, rows: int, columns: int, k: int, seed: int
) -> tuple[Array, Array]:
    """Operand codes (rows, k) and (columns, k) of a matrix product, the second one transposed.

    Parameters
    ----------
    distribution : str
    a, b, result : Layout
    rows, columns, k : int
    seed : int

    Returns
    -------
    tuple of ndarray

    Raises
    ------
    ValueError
        As :func:`draw`.

    Examples
    --------
    >>> half, single = LAYOUTS["binary16"], LAYOUTS["binary32"]
    >>> [x.shape for x in operands("raw", half, half, single, 2, 3, 8, seed=1)]
    [(2, 8), (3, 8)]
    """
    stream = 8 * DISTRIBUTIONS.index(distribution) if distribution in DISTRIBUTIONS else 0
    return (
        draw(distribution, a, (rows, k), seed, stream, result),
        draw(distribution, b, (columns, k), seed, stream + 1, result),
    )


def vectors(
    distribution: str, a: Layout, b: Layout, c: Layout, n: int, k: int, seed: int
) -> tuple[Array, Array, Array]:
    """Codes of n dot products of k products each, and their accumulators.

    Accumulators are drawn like operands, but for ``adversarial`` (minus the largest product, moved by up to three
    units of 2^-20 of itself, or three ulps in narrower formats) and ``underflow`` (exponent fields 0 to 7).

    Parameters
    ----------
    distribution : str
        One of ``DISTRIBUTIONS``.
    a, b, c : Layout
    n, k : int
    seed : int

    Returns
    -------
    tuple of ndarray
        a (n, k), b (n, k), c (n,).

    Raises
    ------
    ValueError
        As :func:`draw`.

    Examples
    --------
    >>> half, single = LAYOUTS["binary16"], LAYOUTS["binary32"]
    >>> a, b, c = vectors("adversarial", half, half, single, 3, 16, seed=1)
    >>> a.shape, b.shape, c.dtype
    ((3, 16), (3, 16), dtype('uint32'))
    """
    x, y = operands(distribution, a, b, c, n, n, k, seed)
    stream = 8 * DISTRIBUTIONS.index(distribution) + 2
    if distribution == "adversarial":
        z = _opposite(c, a, b, x, y, words(seed, stream, 0, n)).astype(c.dtype)
    elif distribution == "underflow":
        z = _low(c, words(seed, stream, 0, n * _WORDS).reshape(n, _WORDS), 7).astype(c.dtype)
    else:
        z = draw(distribution, c, (n,), seed, stream, c)
    return x, y, z


def cast_samples(bits: int) -> Array:
    """Input codes whose conversions a capture stores in full: all up to 16 bits, else 2^16 of them.

    Parameters
    ----------
    bits : int
        Width of the source, at most 32.

    Returns
    -------
    ndarray of uint32
        Ascending; with 17 bits and more, i 2^(bits - 16) plus random low bits.

    Examples
    --------
    >>> cast_samples(8).tolist() == list(range(256)), cast_samples(32)[1] >> 16
    (True, np.uint32(1))
    """
    if bits <= 16:
        return np.arange(2**bits, dtype=np.uint32)
    low = words(VERSION, 64, 0, 2**16) & np.uint64(2 ** (bits - 16) - 1)
    return ((np.arange(2**16, dtype=np.uint64) << np.uint64(bits - 16)) | low).astype(np.uint32)


def chunk_hash(first: int, outputs: Array) -> int:
    """Sum over inputs of mix(2^32 input + output), modulo 2^64; in any order, so devices can add as they like.

    Parameters
    ----------
    first : int
        The input that ``outputs[0]`` belongs to; the others follow.
    outputs : ndarray of an unsigned dtype
        Output codes, of at most 32 bits.

    Returns
    -------
    int

    Examples
    --------
    >>> import numpy as np
    >>> outputs = np.arange(8, dtype=np.uint16)
    >>> chunk_hash(0, outputs) == (chunk_hash(0, outputs[:4]) + chunk_hash(4, outputs[4:])) % 2**64
    True
    """
    inputs = np.arange(first, first + outputs.size, dtype=np.uint64)
    return int(mix((inputs << np.uint64(32)) | outputs.astype(np.uint64).ravel()).sum(dtype=np.uint64))
