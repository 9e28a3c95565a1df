"""Reading DLPack capsules of formats that numpy's own reader refuses: bfloat16 and the 8-bit ones.

The structure is that of dmlc/dlpack, include/dlpack/dlpack.h, version 1.1. A capsule that is read and not renamed
stays its producer's, whose destructor frees it: nothing is shared after the copy.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format

CPU = 1
FLOATS = {(2, 16): "binary16", (2, 32): "binary32", (2, 64): "binary64", (4, 16): "bfloat16"}
FLOATS |= {(7, 8): "e3m4", (8, 8): "e4m3", (9, 8): "e4m3b11fnuz", (10, 8): "e4m3fn", (11, 8): "e4m3fnuz"}
FLOATS |= {(12, 8): "e5m2", (13, 8): "e5m2fnuz", (14, 8): "e8m0fnu"}
"""Type code and width: the format."""


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


def read(x: Any) -> tuple[np.ndarray[Any, Any], Format] | None:
    """Return the codes of a tensor of a floating-point format, and the format.

    Parameters
    ----------
    x : object with ``__dlpack__`` and ``__dlpack_device__``
        On the CPU.

    Returns
    -------
    (ndarray of unsigned integers, Format) or None
        A copy of the codes; None if the type is no floating-point format with whole bytes.

    Raises
    ------
    UnsupportedError
        If the tensor lies on another device, or its producer refuses to export it.

    Examples
    --------
    >>> import numpy as np
    >>> codes, fmt = read(np.array([1.0, 2.0], np.float16))
    >>> codes.tolist(), fmt.name
    ([15360, 16384], 'binary16')
    """
    try:
        device = int(x.__dlpack_device__()[0])
        if device != CPU:
            raise UnsupportedError(f"x lies on DLPack device {device}; copy it to the CPU first")
        capsule = x.__dlpack__()
    except (BufferError, RuntimeError, ValueError) as error:
        raise UnsupportedError(f"{type(x).__name__} cannot be exported: {error}") from None
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = _Tensor.from_address(pointer(capsule, b"dltensor"))
    name = FLOATS.get((tensor.code, tensor.bits))
    if name is None or tensor.lanes != 1:
        return None
    shape = tuple(tensor.shape[: tensor.ndim])
    dtype = np.dtype(f"u{tensor.bits // 8}")
    if 0 in shape:
        return np.empty(shape, dtype), get_format(name)
    # Without strides the tensor is C-contiguous.
    strides = tuple(s * dtype.itemsize for s in tensor.strides[: tensor.ndim]) if tensor.strides else None
    reach = [(n - 1) * s for n, s in zip(shape, strides or (), strict=bool(strides))]
    if strides is None:
        reach = [(int(np.prod(shape)) - 1) * dtype.itemsize]
    below, above = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0) + dtype.itemsize
    memory = (ctypes.c_uint8 * (above - below)).from_address(tensor.data + tensor.byte_offset + below)
    view: np.ndarray[Any, Any] = np.ndarray(shape, dtype, memory, -below, strides)
    return view.copy(), get_format(name)
