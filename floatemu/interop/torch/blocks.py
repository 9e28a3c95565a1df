"""Block arrays as tensors of torch's own dtypes, and back, without a copy of the codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from floatemu.block import BlockArray, BlockFormat, get_block_format, pack, unpack
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.interop.torch.tensors import DTYPES, codes, on_cpu

PAIRS = torch.float4_e2m1fn_x2
"""torch's dtype of two E2M1 codes in a byte, the first one in the low bits."""

E2M1 = get_format("e2m1fn")
_BY_FORMAT = {fmt: dtype for dtype, fmt in DTYPES.items()}
_NO_NAME = (torch.uint8, torch.uint16)


def _tensor(array: np.ndarray[Any, Any], fmt: Format | None) -> Any:
    dtype = None if fmt is None else _BY_FORMAT.get(fmt)
    found = torch.from_numpy(array)
    return found if dtype is None else found.view(dtype)


def block_tensors(blocks: BlockArray) -> tuple[Any, Any]:
    """Return the elements and the scales of a block array as tensors.

    Parameters
    ----------
    blocks : BlockArray

    Returns
    -------
    elements, scales : torch.Tensor
        Of the dtype of their format, such as ``torch.float8_e4m3fn`` and ``torch.float8_e8m0fnu``, sharing the memory
        of the codes. Elements in E2M1 are packed (a copy) to ``torch.float4_e2m1fn_x2``, half as long along the last
        axis. Codes of formats that torch has not (FP6, integers) stay unsigned integers.

    Raises
    ------
    UnsupportedError
        If E2M1 elements are an odd number along the last axis.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> import floatemu.interop.torch as ft
    >>> elements, scales = ft.block_tensors(fe.quantize(np.ones((2, 64), np.float32), "mxfp8"))
    >>> elements.dtype, elements.shape, scales.dtype
    (torch.float8_e4m3fn, torch.Size([2, 64]), torch.float8_e8m0fnu)
    """
    element, scales = blocks.format.element, _tensor(blocks.scales, blocks.format.scale)
    if blocks.format.integer or element != E2M1:
        return _tensor(blocks.elements, None if blocks.format.integer else element), scales
    if blocks.elements.ndim == 0 or blocks.elements.shape[-1] % 2:
        raise UnsupportedError(
            f"elements have shape {blocks.shape}; {PAIRS} holds two to a byte along the last axis, which must be even"
        )
    return torch.from_numpy(pack(blocks.elements, element)).view(PAIRS), scales


def block_array(
    elements: Any, scales: Any, fmt: BlockFormat | str, *, axis: int | None = -1, outer: float = 1.0
) -> BlockArray:
    """Return the block array that tensors of elements and scales are.

    Parameters
    ----------
    elements, scales : torch.Tensor
        On the CPU, of the dtypes that :func:`block_tensors` gives. Contiguous ones share their memory with the codes,
        but for E2M1, which is unpacked.
    fmt : BlockFormat or str
    axis, outer
        As for :class:`floatemu.BlockArray`.

    Returns
    -------
    BlockArray

    Raises
    ------
    FormatError, UnsupportedError
        If dtypes, shapes or codes are not those of ``fmt``.

    Examples
    --------
    >>> import torch
    >>> import floatemu.interop.torch as ft
    >>> elements = torch.tensor([1.0, 448.0]).to(torch.float8_e4m3fn)
    >>> ft.block_array(elements, torch.tensor([2.0]).to(torch.float8_e8m0fnu), "mxfp8").dequantize().tolist()
    [2.0, 896.0]
    """
    fmt = get_block_format(fmt)
    own = None if fmt.integer else fmt.element
    return BlockArray(fmt, _codes(elements, own, "elements"), _codes(scales, fmt.scale, "scales"), axis, outer)


def _codes(x: Any, fmt: Format | None, what: str) -> np.ndarray[Any, Any]:
    if not isinstance(x, torch.Tensor):
        raise UnsupportedError(f"{what} is {type(x).__name__}, not a tensor")
    on_cpu(x, what, "reading codes")
    wanted = None if fmt is None else PAIRS if fmt == E2M1 else _BY_FORMAT.get(fmt)
    if x.dtype == PAIRS == wanted and fmt is not None:
        packed = x.view(torch.uint8).numpy()
        return unpack(packed, fmt, 2 * packed.shape[-1])
    if x.dtype == wanted:
        return np.asarray(codes(x).numpy())
    if x.dtype in _NO_NAME:
        return np.asarray(x.numpy())
    raise UnsupportedError(f"{what} has dtype {x.dtype}; accepted: {wanted or 'codes'} or unsigned integers")
