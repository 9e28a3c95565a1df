"""BlockArray: elements, scales, and what they are; back to numbers, to bytes, to files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from floatemu._core import blocks as core
from floatemu.block import files
from floatemu.block.errors import BlockErrors, measure
from floatemu.block.formats import BlockFormat, get_block_format
from floatemu.block.packing import Packed, pack_blocks
from floatemu.block.scaling import Tiling, tiling
from floatemu.codec import code_dtype, decode, values
from floatemu.errors import FileError, FormatError, UnsupportedError
from floatemu.projecting import readonly

Array = np.ndarray[Any, Any]


@lru_cache(maxsize=64)
def element_values(fmt: BlockFormat) -> Array:
    """Values of all codes of a format's elements, in the order of the codes."""
    if not fmt.integer:
        return values(fmt.element)
    codes = np.arange(2**fmt.element.k)
    signed = np.where(codes < fmt.element.sign_code, codes, codes - 2**fmt.element.k)
    found: Array = np.ldexp(signed, fmt.element.qmin)
    return found


@dataclass(frozen=True, eq=False)
class BlockArray:
    """Numbers quantized in blocks: codes of elements and of scales.

    Attributes
    ----------
    format : BlockFormat or str
    elements : numpy.ndarray of unsigned integers
        One code each, right-aligned, in the shape of the numbers.
    scales : numpy.ndarray of unsigned integers
        One code a block: that shape with ceil(n / block) along each blocked axis; shape () for one block.
    axis : int or None
        Along which blocks lie; None where the whole array is one.
    outer : float
        The scale of the whole array; 1 where there is none.

    Raises
    ------
    FormatError
        If a code is out of range.
    UnsupportedError
        If shapes or dtypes do not fit together.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> q = fe.quantize(np.arange(64.0).reshape(2, 32), "mxfp4")
    >>> q
    BlockArray(mxfp4, shape (2, 32), scales (2, 1), axis 1)
    >>> float(q.dequantize()[1, -1]), q.nbytes
    (48.0, 34)
    """

    format: Any
    elements: Array
    scales: Array
    axis: int | None = -1
    outer: float = 1.0

    def __post_init__(self) -> None:
        fmt = get_block_format(self.format)
        object.__setattr__(self, "format", fmt)
        for what, codes, own in (("elements", self.elements, fmt.element), ("scales", self.scales, fmt.scale)):
            if not isinstance(codes, np.ndarray) or codes.dtype != code_dtype(own):
                given = codes.dtype if isinstance(codes, np.ndarray) else type(codes).__name__
                raise UnsupportedError(f"{what} is {given}; codes of {own.name} are an array of {code_dtype(own)}")
            if codes.size and int(codes.max()) >= 2**own.k:
                raise FormatError(f"{what} hold {int(codes.max())}; codes of {own.name} are 0..{2**own.k - 1}")
        if fmt.block == "tensor":
            object.__setattr__(self, "axis", None)
        elif self.axis is None:
            raise UnsupportedError(f"axis=None, but {fmt.name} has blocks along an axis; give its number")
        else:
            object.__setattr__(self, "axis", int(self.axis) % max(self.elements.ndim, 1))
        if self.scales.shape != self.tiles.shape:
            raise UnsupportedError(
                f"scales have shape {self.scales.shape}; {fmt.name} has {self.tiles.shape} for elements of shape "
                f"{self.elements.shape} along axis {self.axis}"
            )
        if not (np.isfinite(self.outer) and self.outer > 0 and float(np.float32(self.outer)) == self.outer):
            raise FormatError(f"outer={self.outer!r} is not a positive number of binary32")
        if self.outer != 1 and fmt.outer is None:
            raise FormatError(f"outer={self.outer!r}, but {fmt.name} has no scale of the whole array")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the numbers."""
        shape: tuple[int, ...] = self.elements.shape
        return shape

    @cached_property
    def tiles(self) -> Tiling:
        """Where the blocks lie."""
        return tiling(self.elements.shape, self.format, 0 if self.axis is None else self.axis)

    @property
    def nbytes(self) -> int:
        """Bytes that the codes take when they are packed, each number and each scale for itself."""
        bits = (self.elements.size * self.format.element.k, self.scales.size * self.format.scale.k)
        return sum(-(-int(n) // 8) for n in bits)

    @property
    def scale_values(self) -> Array:
        """Values of the scales as binary64, ``outer`` included: what elements are multiplied with."""
        return np.asarray(decode(self.scales, self.format.scale)) * self.outer

    def dequantize(self, dtype: Any = np.float64) -> Array:
        """Return the numbers: element times scale times outer.

        Parameters
        ----------
        dtype : dtype
            float64 holds every product; into float32 or float16 it is rounded once, to nearest.

        Returns
        -------
        numpy.ndarray
            NaN in every place of a block whose scale is NaN.

        Raises
        ------
        UnsupportedError
            If ``dtype`` is none of the three.
        """
        kind = np.dtype(dtype)
        if kind not in (np.float16, np.float32, np.float64):
            raise UnsupportedError(f"dtype={dtype!r}; accepted: float64, float32, float16")
        if self.elements.size == 0:
            return np.empty(self.shape, kind)
        found = np.empty(self.shape, np.float32 if kind == np.float32 else np.float64)
        core.product_loop()(
            readonly(np.ascontiguousarray(self.elements).reshape(-1)),
            self.tiles[:5],
            readonly(self.scale_values.reshape(-1)),
            readonly(element_values(self.format)),
            found.reshape(-1),
        )
        with np.errstate(over="ignore"):
            return found.astype(kind, copy=False)

    def errors(self, x: Any) -> BlockErrors:
        """Return what quantization did to ``x``, block by block.

        Parameters
        ----------
        x : array_like
            What was quantized.

        Returns
        -------
        BlockErrors

        Raises
        ------
        UnsupportedError
            If ``x`` has another shape.
        """
        reference = np.asarray(x, np.float64)
        if reference.shape != self.shape:
            raise UnsupportedError(f"x has shape {reference.shape}, the blocks {self.shape}; give what was quantized")
        most = self.tiles.spread(self.scale_values * float(self.format.element.max))
        return measure(reference, self.dequantize(), most, self.tiles)

    def pack(self, order: str = "low", *, swizzle: bool = False) -> Packed:
        """Return the codes as bytes, several to a byte where they are narrow.

        Parameters
        ----------
        order : {"low", "high"}
            Whether the first code takes the low or the high bits.
        swizzle : bool
            Whether scales are laid out in tiles of 128 by 4, as cuBLAS reads them; for blocks along the last axis.

        Returns
        -------
        Packed
            ``elements`` (uint8; each row of the last axis begins with a byte of its own), ``scales`` (uint8).

        Raises
        ------
        UnsupportedError
            If the order is unknown, or the scales have no such layout.
        """
        return pack_blocks(self.format, self.elements, self.scales, self.axis, order, swizzle)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the packed codes and all that is needed to read them to a file.

        Parameters
        ----------
        path : path-like
            ``.npz``, or ``.safetensors`` with the extra of that name.

        Raises
        ------
        FileError
            If the suffix is another, or the file cannot be written.
        UnsupportedError
            If safetensors is not installed.
        """
        files.write(path, self.format, self.elements, self.scales, self.axis, self.outer)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> BlockArray:
        """Read a file that :meth:`save` wrote; what it says is checked, nothing in it is run.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        BlockArray

        Raises
        ------
        FileError
            If the file is not there, damaged, or says something else than it holds.
        UnsupportedError
            If safetensors is not installed.
        """
        found = files.read(path)
        try:
            return BlockArray(*found)
        except (FormatError, UnsupportedError) as error:
            raise FileError(f"{path}: {error}") from None

    def __repr__(self) -> str:
        axis = "" if self.axis is None else f", axis {self.axis}"
        outer = "" if self.outer == 1 else f", outer {self.outer!r}"
        return f"BlockArray({self.format.name}, shape {self.shape}, scales {self.scales.shape}{axis}{outer})"
