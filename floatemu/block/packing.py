"""Packed storage: narrow codes side by side in bytes, and scales in the order in which cuBLAS reads them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from floatemu.block.formats import BlockFormat
from floatemu.codec import code_dtype
from floatemu.errors import FormatError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format

Array = np.ndarray[Any, Any]

ORDERS = ("low", "high")
ROWS, COLUMNS = 128, 4
"""A tile of swizzled scales."""


class Packed(NamedTuple):
    """Bytes of a :class:`~floatemu.BlockArray`."""

    elements: Array  #: uint8
    scales: Array  #: uint8


class _Group(NamedTuple):
    """Codes that fill whole bytes, in a word of 64 bits."""

    n: int
    bytes: int
    width: int  #: bits of a code
    code_shifts: Array
    byte_shifts: Array


def _group(fmt: Format, order: str) -> _Group:
    if order not in ORDERS:
        raise UnsupportedError(f"order={order!r} is unknown; accepted: 'low' (first code in the low bits), 'high'")
    own = code_dtype(fmt)
    width = fmt.k if math.lcm(fmt.k, 8) <= 64 else 8 * own.itemsize
    codes, count = math.lcm(width, 8) // width, math.lcm(width, 8) // 8
    shifts = [np.arange(n, dtype=np.uint64) * np.uint64(b) for n, b in ((codes, width), (count, 8))]
    first, second = shifts if order == "low" else (s[::-1] for s in shifts)
    return _Group(codes, count, width, first, second)


def pack(codes: Any, fmt: Format | str, order: str = "low") -> Array:
    """Put codes side by side: two of 4 bits to a byte, four of 6 bits to three bytes.

    Parameters
    ----------
    codes : array_like of unsigned integers
        (..., n), right-aligned.
    fmt : Format or str
        Codes of more than 8 bits that do not fill 8 bytes together take two or four bytes each.
    order : {"low", "high"}
        ``low``: the first code takes the lowest bits of the first byte, as in torch's ``float4_e2m1fn_x2``, and bytes
        follow in little-endian order. ``high``: the first code takes the highest bits of the first byte.

    Returns
    -------
    numpy.ndarray of uint8
        (..., m); a last group of fewer codes is filled with zeros.

    Raises
    ------
    FormatError
        If a code is out of range.
    UnsupportedError
        If codes are no integers, or the order is unknown.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.block.pack([1, 2, 3], "e2m1fn").tobytes().hex(), fe.block.pack([1, 2, 3], "e2m1fn", "high").tobytes().hex()
    ('2103', '1230')
    >>> fe.block.pack([1, 2, 3, 4], "e3m2fn").tolist()  # 4 << 18 | 3 << 12 | 2 << 6 | 1
    [129, 48, 16]
    """
    fmt = get_format(fmt)
    group = _group(fmt, order)
    array = np.asarray(codes)
    if array.dtype.kind not in "iu" or array.ndim == 0:
        raise UnsupportedError(f"codes have dtype {array.dtype} and shape {array.shape}; give an array of integers")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < 2**fmt.k:
        raise FormatError(f"codes hold {array.min()}..{array.max()}; those of {fmt.name} are 0..{2**fmt.k - 1}")
    if group.bytes == group.n:  # a byte each
        return array.astype(np.uint8)
    rows, n = array.shape[:-1], array.shape[-1]
    groups = -(-n // group.n)
    full = np.zeros((*rows, groups * group.n), np.uint64)
    full[..., :n] = array
    words = np.bitwise_or.reduce(full.reshape(*rows, groups, group.n) << group.code_shifts, axis=-1)
    found: Array = (words[..., None] >> group.byte_shifts).astype(np.uint8)
    return found.reshape(*rows, groups * group.bytes)


def unpack(data: Any, fmt: Format | str, n: int, order: str = "low") -> Array:
    """Take codes apart that :func:`pack` put together.

    Parameters
    ----------
    data : array_like of uint8
        (..., m).
    fmt : Format or str
    n : int
        Codes along the last axis.
    order : {"low", "high"}

    Returns
    -------
    numpy.ndarray of unsigned integers
        (..., n).

    Raises
    ------
    FormatError
        If n codes do not take m bytes, or bits that no code takes are set.
    UnsupportedError
        If ``data`` is not of bytes, or as for :func:`pack`.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> fe.block.unpack(np.array([129, 48, 16], np.uint8), "e3m2fn", 4).tolist()
    [1, 2, 3, 4]
    """
    fmt = get_format(fmt)
    group = _group(fmt, order)
    array = np.asarray(data)
    if array.dtype != np.uint8 or array.ndim == 0:
        raise UnsupportedError(f"data has dtype {array.dtype} and shape {array.shape}; give an array of uint8")
    groups = -(-n // group.n)
    if array.shape[-1] != groups * group.bytes:
        raise FormatError(
            f"data has {array.shape[-1]} bytes a row, but {n} codes of {fmt.name} take {groups * group.bytes}"
        )
    kind, rows = code_dtype(fmt), array.shape[:-1]
    if group.bytes == group.n:
        return array.astype(kind)
    words = array.reshape(*rows, groups, group.bytes).astype(np.uint64) << group.byte_shifts
    words = np.bitwise_or.reduce(words, axis=-1)[..., None] >> group.code_shifts
    codes = (words & np.uint64(2**group.width - 1)).astype(kind).reshape(*rows, groups * group.n)
    if np.any(codes[..., n:]):
        raise FormatError(f"the bits behind the last of {n} codes are not zero: the data are damaged, or n is wrong")
    return np.ascontiguousarray(codes[..., :n])


def swizzle(scales: Any) -> Array:
    """Lay one-byte scales out in tiles of 128 by 4, as cuBLAS and the tensor cores of Blackwell read them.

    The scale of row r and block c of a matrix with C blocks a row stands at
    ``((r // 128) * ceil(C / 4) + c // 4) * 512 + (r % 32) * 16 + (r % 128 // 32) * 4 + c % 4``
    (cuBLAS documentation, "1D Block Scaling Factors Layout"), for MX (E8M0) and NVFP4 (E4M3) alike.

    Parameters
    ----------
    scales : array_like of uint8
        (rows, blocks): one row for each row (column) of a matrix whose blocks lie along K.

    Returns
    -------
    numpy.ndarray of uint8
        Flat, 512 bytes a tile; tiles that stick out are filled with zeros.

    Raises
    ------
    UnsupportedError
        If it is not a matrix of bytes.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> flat = fe.block.swizzle(np.arange(256, dtype=np.uint8).reshape(64, 4))
    >>> flat.size, flat[:8].tolist(), flat[16:20].tolist()
    (512, [0, 1, 2, 3, 128, 129, 130, 131], [4, 5, 6, 7])
    """
    array = np.asarray(scales)
    if array.dtype != np.uint8 or array.ndim != 2:
        raise UnsupportedError(f"scales have dtype {array.dtype} and shape {array.shape}; give a matrix of uint8")
    rows, columns = (-(-n // t) for n, t in zip(array.shape, (ROWS, COLUMNS), strict=True))
    full = np.zeros((rows * ROWS, columns * COLUMNS), np.uint8)
    full[: array.shape[0], : array.shape[1]] = array
    return full.reshape(rows, 4, 32, columns, COLUMNS).transpose(0, 3, 2, 1, 4).reshape(-1)


def unswizzle(data: Any, rows: int, blocks: int) -> Array:
    """Bring scales that :func:`swizzle` laid out back to (rows, blocks).

    Parameters
    ----------
    data : array_like of uint8
    rows, blocks : int

    Returns
    -------
    numpy.ndarray of uint8
        (rows, blocks).

    Raises
    ------
    FormatError
        If there are not as many bytes as tiles need.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> scales = np.arange(6, dtype=np.uint8).reshape(2, 3)
    >>> fe.block.unswizzle(fe.block.swizzle(scales), 2, 3).tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    array = np.asarray(data)
    down, across = -(-rows // ROWS), -(-blocks // COLUMNS)
    if array.dtype != np.uint8 or array.size != down * across * ROWS * COLUMNS:
        raise FormatError(
            f"data has {array.size} numbers of {array.dtype}; scales of {rows} by {blocks} take "
            f"{down * across * ROWS * COLUMNS} bytes"
        )
    tiles = array.reshape(down, across, 32, 4, COLUMNS).transpose(0, 3, 2, 1, 4)
    return np.ascontiguousarray(tiles.reshape(down * ROWS, across * COLUMNS)[:rows, :blocks])


def pack_blocks(
    fmt: BlockFormat, elements: Array, scales: Array, axis: int | None, order: str, swizzled: bool
) -> Packed:
    """Bytes of elements and scales; see :meth:`floatemu.BlockArray.pack`."""
    packed = pack(np.atleast_1d(elements), fmt.element, order)
    if not swizzled:
        return Packed(packed, pack(np.atleast_1d(scales), fmt.scale))
    if fmt.scale.k != 8 or isinstance(fmt.block, (tuple, str)) or axis != elements.ndim - 1:
        raise UnsupportedError(
            f"scales of {fmt.name} along axis {axis} of {elements.ndim} have no tiles of 128 by 4; those of one byte "
            "in blocks along the last axis have: mxfp8, mxfp6, mxfp4, nvfp4"
        )
    return Packed(packed, swizzle(scales.reshape(-1, scales.shape[-1])))
