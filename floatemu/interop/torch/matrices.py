"""floatemu's faces on tensors, matrix products: matmul, mma, gemm."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from floatemu import gemm as products
from floatemu import matrix
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.interop.torch.tensors import INTEGERS, array, check, codes, result_dtype, tensor
from floatemu.matrix.unit import MatrixUnit
from floatemu.projection import Rounding

NEAREST = Rounding.NEAREST_TIES_TO_EVEN


def matmul(
    a: Any, b: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, *, dtype: Any = None, **options: Any
) -> Any:
    """Return the matrix product of two tensors with every multiplication and addition rounded once.

    The product is made on the CPU; tensors on another device are copied there and back.

    Parameters
    ----------
    a, b : torch.Tensor
        (..., M, K) and (..., K, N) on one device; taken as the exact values they have.
    fmt : Format or str
        Format of the result.
    rounding : Rounding or str
        For every operation.
    dtype : torch.dtype, optional
        Default: the operands' own if they share one that holds ``fmt``, else the smaller of float32 and float64 that
        does.
    **options
        ``product``, ``accumulate``, ``order``, ``fused``, ``threads``, ``saturation``, ``random_bits``, ``seed``,
        ``stream``, ``nan``, as for :func:`floatemu.matmul`.

    Returns
    -------
    torch.Tensor

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`floatemu.matmul`; if an operand is no tensor or requires a gradient, or operands lie on several
        devices.

    Examples
    --------
    >>> import torch
    >>> import floatemu.interop.torch as ft
    >>> ones = torch.ones(1, 4096)
    >>> ft.matmul(ones, ones.T, "binary16").item()
    2048.0
    """
    fmt = get_format(fmt)
    if {"flags", "out"} & set(options):
        raise UnsupportedError("matmul on tensors takes neither flags nor out; use floatemu.matmul on .numpy() arrays")
    operands, device = _operands({"a": a, "b": b})
    left, right = operands.values()
    kind = result_dtype((left.dtype, right.dtype), fmt, dtype)
    wide = np.float64 if kind is torch.float64 else np.float32
    found = products.matmul(array(left), array(right), fmt, rounding, dtype=wide, **options)
    return tensor(np.asarray(found), kind).to(device)


def _operands(given: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Operands that are there, on the CPU, and the device on which they lay."""
    way = "emulate() makes the products of a module differentiable"
    found = {name: check(x, name, way) for name, x in given.items() if x is not None}
    devices = {name: x.device for name, x in found.items()}
    if len(set(devices.values())) > 1:
        shown = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise UnsupportedError(f"operands lie apart: {shown}; bring them to one device with .to()")
    return {name: x.cpu() for name, x in found.items()}, next(iter(devices.values()))


def _instruction(face: Any, unit: MatrixUnit, operands: dict[str, Any], options: dict[str, Any]) -> Any:
    tensors, device = _operands(operands)
    coded = options.get("codes")
    arrays = {name: codes(x).numpy() if coded and x.dtype not in INTEGERS else array(x) for name, x in tensors.items()}
    left, right = arrays.pop("a"), arrays.pop("b")
    return torch.from_numpy(np.asarray(face(unit, left, right, **arrays, **options))).to(device)


def mma(
    unit: MatrixUnit, a: Any, b: Any, c: Any = None, *, scale_a: Any = None, scale_b: Any = None, **options: Any
) -> Any:
    """Return a b + c as a matrix unit's instruction computes it, chained over K.

    Parameters
    ----------
    unit : MatrixUnit
    a, b, c, scale_a, scale_b : torch.Tensor
        On one device, computed on the CPU: values of the unit's formats in any dtype that holds them (a float8 tensor
        for a float8 unit), or with ``codes=True`` codes.
    **options
        ``codes``, ``threads``, as for :func:`floatemu.matrix.mma`.

    Returns
    -------
    torch.Tensor
        As the array that :func:`floatemu.matrix.mma` returns, whose bits it has.

    Raises
    ------
    FormatError, UnsupportedError
        As for :func:`floatemu.matrix.mma`; if an operand is no tensor, or operands lie on several devices.

    Examples
    --------
    >>> import torch, floatemu as fe
    >>> import floatemu.interop.torch as ft
    >>> unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    >>> x = torch.tensor([[16.0, 16.0, 0.5]]).to(torch.float8_e4m3fn)
    >>> ft.mma(unit, x, x.T).item()
    512.25
    """
    return _instruction(matrix.mma, unit, {"a": a, "b": b, "c": c, "scale_a": scale_a, "scale_b": scale_b}, options)


def gemm(
    unit: MatrixUnit, a: Any, b: Any, c: Any = None, *, scale_a: Any = None, scale_b: Any = None, **options: Any
) -> Any:
    """Return cast(alpha * (a b) + beta * c): a whole matrix product around a unit's instruction.

    Parameters
    ----------
    unit, a, b, c, scale_a, scale_b
        As for :func:`mma`.
    **options
        ``promote_every``, ``split_k``, ``alpha``, ``beta``, ``output``, ``codes``, ``threads``, as for
        :func:`floatemu.matrix.gemm`.

    Returns
    -------
    torch.Tensor
        As the array that :func:`floatemu.matrix.gemm` returns, whose bits it has.

    Raises
    ------
    FormatError, UnsupportedError
        As for :func:`floatemu.matrix.gemm`; if an operand is no tensor, or operands lie on several devices.

    Examples
    --------
    >>> import torch, floatemu as fe
    >>> import floatemu.interop.torch as ft
    >>> unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    >>> a, b = torch.full((1, 4096), 2.0**-6), torch.ones(4096, 1)
    >>> a[0, 0] = 256
    >>> ft.gemm(unit, a, b).item(), ft.gemm(unit, a, b, promote_every=128).item()
    (256.0, 318.0)
    """
    return _instruction(matrix.gemm, unit, {"a": a, "b": b, "c": c, "scale_a": scale_a, "scale_b": scale_b}, options)
