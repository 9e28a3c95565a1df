"""Quantization: scales of blocks, and every number divided by its block's scale and rounded once."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np

from floatemu._core import blocks as core
from floatemu._core import kernels
from floatemu.block.array import BlockArray
from floatemu.block.formats import FORMULAS, BlockFormat, ScaleRule, get_block_format, get_rule
from floatemu.block.scaling import Making, Tiling, carrier_of, making, outer_scale, tiling
from floatemu.codec import code_dtype
from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.operands import array_operand, random_integers
from floatemu.projecting import Request, project_array, readonly
from floatemu.projection import Rounding, Saturation

Array = np.ndarray[Any, Any]

PIECE = 1 << 17
"""Numbers handled at a time: half a MiB of binary32."""

MANY = 1 << 15
"""Blocks beyond which their scales are looked up: finding where they step takes as long as making some thousands."""

NONFINITE = ("nan", "finite", "refuse")


def quantize(
    x: Any,
    fmt: BlockFormat | str,
    rounding: Rounding | str = Rounding.NEAREST_TIES_TO_EVEN,
    *,
    axis: int = -1,
    scale_rule: ScaleRule | str | None = None,
    scale_min: str = "subnormal",
    scaling: str = "exact",
    outer: float | None = None,
    nonfinite: str = "nan",
    saturation: Saturation | str = Saturation.SAT_FINITE,
    random_bits: int | None = None,
    random: Any = None,
    seed: int | None = None,
    stream: int = 0,
    nan: str | None = None,
    threads: int = 1,
) -> BlockArray:
    """Quantize numbers in blocks: choose a scale for each, divide by it, round once to the elements' format.

    Parameters
    ----------
    x : array_like
        float16, float32, float64, ml_dtypes or integer array of any shape; taken as the exact values it has.
    fmt : BlockFormat or str
        ``mxfp8_e4m3``, ``mxfp8_e5m2``, ``mxfp6_e2m3``, ``mxfp6_e3m2``, ``mxfp4``, ``mxint8``, ``nvfp4``,
        ``fp8_tensor``, ``fp8_row``, ``fp8_1x128``, ``fp8_128x128``, or your own.
    rounding : Rounding or str
        Of the elements, one of the nine modes.
    axis : int
        Along which blocks lie; the last one of a row or the array may be shorter.
    scale_rule : ScaleRule or str, optional
        ``FLOOR``, ``CEIL``, ``EVEN``, ``RCEIL``, ``NEAREST``, ``UP`` ...; default: the format's own.
    scale_min : {"subnormal", "normal"}
        The least scale: the least value of the scales' format (0 if it has one), or its least normal value.
    scaling : {"exact", "divide", "multiply"}
        How a number meets its scale s: the exact x / s is rounded; or fl(x / s) is, or fl(x * fl(1 / s)), as hardware
        does. fl rounds to nearest in binary32, in binary64 if x is binary64.
    outer : float, optional
        The scale of the whole array, a binary32 number, in formats that have one; 1: none. Default: the largest
        magnitude over the largest value that element and scale make.
    nonfinite : {"nan", "finite", "refuse"}
        What an infinity or a NaN does to its block: all of it becomes NaN; it is left out of the largest magnitude, and
        projected like any number; or it is an error.
    saturation : Saturation or str
        What becomes of elements beyond the range. FLOOR and EVEN leave such.
    random_bits, random, seed, stream, nan
        As for :func:`~floatemu.round`; an element's index is its C-order position in ``x``.
    threads : int
        Threads that work at once; bits do not depend on it.

    Returns
    -------
    BlockArray

    Raises
    ------
    FormatError
        If a format or a rule is unknown.
    ProjectionError
        If a mode is unknown, random bits are missing, or an infinity or NaN has nowhere to go.
    UnsupportedError
        If ``x`` is no array of numbers that binary64 holds, or has no such axis.

    Notes
    -----
    docs/blocks.md states what becomes of each kind of block at the edge: of zeros, of subnormal numbers, with
    infinities or NaN, shorter ones.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> x = np.array([465.0, 1.0, -0.3, 1000.0] * 8, np.float32)
    >>> q = fe.quantize(x, "mxfp8_e4m3")
    >>> q.scale_values.tolist(), q.dequantize()[:4].tolist()
    ([2.0], [480.0, 1.0, -0.3125, 896.0])
    >>> fe.quantize(x, "mxfp8_e4m3", scale_rule="RCEIL").dequantize()[:4].tolist()
    [480.0, 1.0, -0.3125, 1024.0]
    """
    fmt = get_block_format(fmt)
    rule = get_rule(fmt.rule if scale_rule is None else scale_rule)
    request = Request.make(fmt.element, rounding, saturation, random_bits, random, seed, stream, nan)
    _check(scaling, FORMULAS, "scaling")
    _check(nonfinite, NONFINITE, "nonfinite")
    if isinstance(threads, bool) or not isinstance(threads, (int, np.integer)) or threads < 1:
        raise UnsupportedError(f"threads={threads!r} is not a positive integer")
    array = carrier_of(array_operand(x, "x"))
    tiles = tiling(array.shape, fmt, axis)
    _refuse_nonfinite(array, fmt, nonfinite)
    finite = nonfinite == "finite"
    whole = _outer(array, fmt, outer, int(threads))
    # Quotients rounded to odd in binary32 round on as exact ones if they have two bits more than is looked at.
    wide = scaling == "exact" and (fmt.element.p + request.bits > 22 or fmt.element.qmin < -100)
    if not (finite or fmt.element.has_nan):
        request = replace(request, nan="zero")  # blocks with NaN, whose elements have none
    make = making(fmt, rule, whole, scale_min, finite)
    carrier = np.float64 if wide else array.dtype
    work = _Work(array, tiles, make, fmt.scale, FORMULAS.index(scaling), request, carrier)
    work.run(int(threads))
    elements = _twos_complement(work.elements, fmt) if fmt.integer else work.elements
    along = None if fmt.block == "tensor" else int(axis) % array.ndim
    return BlockArray(fmt, elements.reshape(array.shape), work.codes.reshape(tiles.shape), along, whole)


def _check(value: str, accepted: tuple[str, ...], what: str) -> None:
    if value not in accepted:
        raise ProjectionError(f"{what}={value!r} is unknown; accepted: {', '.join(accepted)}")


def _refuse_nonfinite(x: Array, fmt: BlockFormat, nonfinite: str) -> None:
    if nonfinite == "finite" or (nonfinite == "nan" and fmt.scale.has_nan):
        return
    wild = ~np.isfinite(x)
    if not wild.any():
        return
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(wild)), x.shape))
    why = "nonfinite='refuse'" if nonfinite == "refuse" else f"a scale in {fmt.scale.name} cannot be NaN"
    raise ProjectionError(f"{x[index]} at index {index}, and {why}; remove it, or use nonfinite='finite'")


def _outer(x: Array, fmt: BlockFormat, outer: float | None, threads: int) -> float:
    if outer is None:
        if fmt.outer is None or x.size == 0:
            return 1.0
        flat = x.reshape(-1)
        pieces = (flat[start : start + PIECE] for start in range(0, flat.size, PIECE))
        if threads == 1 or flat.size <= PIECE:
            return outer_scale(max(map(_largest, pieces)), fmt)
        with ThreadPoolExecutor(threads) as pool:
            return outer_scale(max(pool.map(_largest, pieces)), fmt)
    if fmt.outer is None and outer != 1:
        raise UnsupportedError(f"outer={outer!r}, but {fmt.name} has no scale of the whole array; leave it out")
    value = float(np.float32(outer))
    if value != outer or not math.isfinite(value) or value <= 0:
        raise ProjectionError(f"outer={outer!r} is not a positive number of binary32; round it first")
    return value


def _largest(x: Array) -> float:
    """The largest finite magnitude: a block with an infinity or NaN says nothing of the others."""
    least, most = float(np.min(x)), float(np.max(x))
    if math.isfinite(least) and math.isfinite(most):
        return max(-least, most)
    fine = x[np.isfinite(x)]
    return float(np.max(np.abs(fine), initial=0.0))


def _twos_complement(codes: Array, fmt: BlockFormat) -> Array:
    """Codes of a sign and a magnitude as two's complement ones of the same values."""
    sign = fmt.element.sign_code
    magnitude = codes & codes.dtype.type(sign - 1)
    negative = codes >= sign
    found: Array = np.where(negative, (2 * sign - magnitude.astype(np.int64)) % (2 * sign), magnitude)
    return found.astype(codes.dtype)


class _Part(NamedTuple):
    """Numbers and blocks that are handled together: whole bands, or a row's whole groups."""

    numbers: slice
    blocks: slice
    shape: tuple[int, int, int, int, int]  #: as the kernels take it

    def cuts(self) -> Iterator[_Part]:
        """Pieces of a part of one band or one group of columns, whose blocks all of them share."""
        rows, cols, inner, block_rows, block_cols = self.shape
        size = self.numbers.stop - self.numbers.start
        if size <= 2 * PIECE or (rows > block_rows or size > rows * cols * inner):
            yield self
        elif rows > 1:
            step = max(1, PIECE // (cols * inner))
            for r in range(0, rows, step):
                n = min(step, rows - r)
                yield self._piece(r * cols * inner, n * cols * inner, (n, cols, inner, n, block_cols))
        elif cols <= block_cols:
            step = max(1, PIECE // inner)
            for c in range(0, cols, step):
                n = min(step, cols - c)
                yield self._piece(c * inner, n * inner, (1, n, inner, 1, n))
        else:
            yield self

    def _piece(self, start: int, size: int, shape: tuple[int, int, int, int, int]) -> _Part:
        first = self.numbers.start + start
        return _Part(slice(first, first + size), self.blocks, shape)


def _parts(t: Tiling) -> Iterator[_Part]:
    """Parts of some PIECE numbers, in order."""
    width, per_row = t.cols * t.inner, t.groups
    if t.block_rows > 1 and t.rows > 1:
        matrix, blocks = t.rows * width, t.bands * per_row
        together = max(1, PIECE // matrix)
        bands = max(1, PIECE // (t.block_rows * width)) if together == 1 else t.bands
        for m in range(0, t.matrices, together):
            count = min(together, t.matrices - m)
            for band in range(0, t.bands, bands):
                first, last = band * t.block_rows, min((band + bands) * t.block_rows, t.rows)
                whole = (count - 1) * matrix, (count - 1) * blocks
                yield _Part(
                    slice(m * matrix + first * width, m * matrix + last * width + whole[0]),
                    slice(m * blocks + band * per_row, m * blocks + min(band + bands, t.bands) * per_row + whole[1]),
                    (last - first, t.cols, t.inner, t.block_rows, t.block_cols),
                )
        return
    rows = t.matrices * t.rows
    if t.inner == 1 and t.cols % t.block_cols == 0:
        rows, width, per_row = 1, rows * width, rows * per_row  # blocks follow one another
    together = max(1, PIECE // width)
    step = width // t.inner if together > 1 else max(1, PIECE // (t.block_cols * t.inner)) * t.block_cols
    for r in range(0, rows, together):
        count = min(together, rows - r)
        for c in range(0, width // t.inner, step):
            n = min(step, width // t.inner - c)
            first, place = r * width + c * t.inner, r * per_row + c // t.block_cols * t.inner
            blocks = -(-n // t.block_cols) * t.inner
            yield _Part(
                slice(first, first + (count - 1) * width + n * t.inner),
                slice(place, place + (count - 1) * per_row + blocks),
                (count, n, t.inner, 1, t.block_cols),
            )


class _Work:
    """One call's arrays, and what is done with a part of them."""

    def __init__(
        self, x: Array, tiles: Tiling, make: Making, scale: Format, formula: int, request: Request, carrier: Any
    ) -> None:
        self.x = readonly(x.reshape(-1))
        self.make, self.formula, self.request = make, formula, request
        self.carrier: np.dtype[Any] = np.dtype(carrier)
        self.random: Any = None
        if request.random is not None:
            given = random_integers(request.random, x.shape, request.bits)
            self.random = np.ascontiguousarray(given, np.uint32).reshape(-1)
        self.elements = np.empty(x.size, code_dtype(request.fmt))
        blocks = math.prod(tiles.shape)
        self.codes = np.empty(blocks, code_dtype(scale))
        self.parts = list(_parts(tiles)) if x.size else []
        self.local = threading.local()
        self.steps = make.steps(x.dtype.name) if blocks > MANY else None
        if not x.size:  # a block of no numbers has the scale of zeros
            self._scales(np.zeros(blocks, x.dtype), (1, blocks, 1, 1, 1), self.codes)

    def run(self, threads: int) -> None:
        """Do all parts."""
        if threads == 1:
            for part in self.parts:
                self.part(part)
            return
        with ThreadPoolExecutor(threads) as pool:
            if len(self.parts) > 1:
                list(pool.map(self.part, self.parts))
            for part in self.parts if len(self.parts) == 1 else ():
                list(pool.map(self.divide, part.cuts(), repeat(self.scales(part))))

    def part(self, part: _Part) -> None:
        """Scales of a part, and its elements."""
        factors = self.scales(part)
        for cut in part.cuts():
            self.divide(cut, factors)

    def scales(self, part: _Part) -> Array:
        """Make the scales of a part; return what numbers are divided by."""
        return self._scales(self.x[part.numbers], part.shape, self.codes[part.blocks])

    def _scales(self, x: Array, shape: tuple[int, ...], result: Array) -> Array:
        codes, factors = np.empty(result.size, np.uint64), np.empty(result.size)
        carrier = x.dtype.name
        self.make.run(readonly(x.view(kernels.CARRIERS[carrier][0])), shape, carrier, codes, factors, self.steps)
        result[...] = codes
        return factors

    def divide(self, part: _Part, factors: Array) -> None:
        """Elements of a part whose scales are made."""
        x = self.x[part.numbers].astype(self.carrier, copy=False)
        carrier = self.carrier.name
        word = kernels.CARRIERS[carrier][0]
        room = getattr(self.local, "room", None)
        if room is None or room.size < x.size:
            room = self.local.room = np.empty(x.size, self.carrier)
        quotients = room[: x.size]
        core.divided_loop(carrier)(
            readonly(x),
            readonly(x.view(word)),
            part.shape,
            readonly(factors),
            self.formula,
            quotients.view(word),
        )
        request = self.request
        if self.random is not None:
            request = replace(request, random=self.random[part.numbers])
        project_array(quotients, request, self.elements[part.numbers], coded=True, first=part.numbers.start)
