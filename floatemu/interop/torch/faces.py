"""floatemu's faces on tensors, element by element: round, encode, decode."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from floatemu import codec
from floatemu import rounding as numpy_face
from floatemu.errors import FormatError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.interop.torch import elementwise
from floatemu.interop.torch.tensors import DTYPES, NARROW, array, check, codes, result_dtype, tensor
from floatemu.projecting import Request
from floatemu.projection import Rounding, Saturation, as_rounding

NEAREST = Rounding.NEAREST_TIES_TO_EVEN
PIECE = 1 << 17
"""Numbers of dtypes that numpy has not that are handled at a time: half a MiB of binary32, which stays in the cache."""

ARRAYS = {torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64}
STE = "use floatemu.interop.torch.ste_round for a straight-through one"


def _random(random: Any) -> Any:
    return random.detach().cpu().numpy() if isinstance(random, torch.Tensor) else random


def _elsewhere(x: Any, fmt: Format) -> bool:
    """Whether torch's operations make the result where ``x`` lies; False if it makes a round trip to the CPU."""
    return x.device.type != "cpu" and elementwise.carrier(x.dtype, fmt) is not None


def _copy(out: Any, result: Any) -> Any:
    out.copy_(result)
    return out


def _check_out(out: Any, x: Any) -> None:
    if not isinstance(out, torch.Tensor) or out.shape != x.shape or out.device != x.device or out.requires_grad:
        given = f"{tuple(out.shape)} on {out.device}" if isinstance(out, torch.Tensor) else type(out).__name__
        raise UnsupportedError(
            f"out is {given}; it must be a tensor of shape {tuple(x.shape)} on {x.device} that requires no gradient"
        )


def round(
    x: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    saturation: Saturation | str = Saturation.SAT_NONE,
    random_bits: int | None = None,
    random: Any = None,
    seed: int | None = None,
    stream: int = 0,
    nan: str | None = None,
    dtype: Any = None,
    out: Any = None,
) -> Any:
    """Round every number of a tensor, once, to a value of the format ``fmt``.

    The bits are those of :func:`floatemu.round`. On the CPU its kernels read and write the tensors' memory; on
    CUDA the same text is a Triton kernel, elsewhere torch's integer operations, for formats that float32 or float64
    carries; others make a round trip through the CPU.

    Parameters
    ----------
    x : torch.Tensor
        float16, bfloat16, float8, float32, float64 or integers; any shape and strides. Taken as the
        exact values it has.
    fmt, rounding, saturation, random_bits, random, seed, stream, nan
        As for :func:`floatemu.round`; ``random`` may be a tensor.
    dtype : torch.dtype, optional
        Of the result. Default: that of ``x`` if it holds every value of ``fmt``, else the smaller of float32 and
        float64 that does; float64 for integers.
    out : torch.Tensor, optional
        Where the result goes; may be ``x``.

    Returns
    -------
    torch.Tensor
        Same shape and device.

    Raises
    ------
    FormatError, ProjectionError
        As for :func:`floatemu.round`.
    UnsupportedError
        If ``x`` is no tensor of numbers or requires a gradient, or ``dtype`` or ``out`` cannot hold the format.

    Examples
    --------
    >>> import torch
    >>> import floatemu.interop.torch as ft
    >>> ft.round(torch.tensor([1.0, 1.1], dtype=torch.bfloat16), "e4m3fn")
    tensor([1.0000, 1.1250], dtype=torch.bfloat16)
    """
    fmt, x = get_format(fmt), check(x, "x", STE)
    asked = dtype
    if out is not None:
        _check_out(out, x)
        asked = out.dtype
    kind = result_dtype((x.dtype,), fmt, asked, "out" if out is not None else "dtype")
    options: dict[str, Any] = {"saturation": saturation, "random_bits": random_bits, "random": _random(random)}
    options |= {"seed": seed, "stream": stream, "nan": nan}
    if _elsewhere(x, fmt):
        result = _narrowed(elementwise.project(x, Request.make(fmt, rounding, **options), coded=False), kind)
    else:
        direct = out is not None and out.device.type == "cpu" and kind not in NARROW
        result = out.detach() if direct else None
        result = _rounded(x, fmt, rounding, kind, options, result)
        if direct:
            torch.autograd.graph.increment_version(out)
            return out
    return result if out is None else _copy(out, result)


def _in_pieces(x: Any, fmt: Format, rounding: Any, kind: Any, options: dict[str, Any]) -> Any:
    """Pieces that stay in the cache while they are widened, rounded and narrowed."""
    result = torch.from_numpy(np.empty(x.shape, f"u{kind.itemsize}")).view(kind)
    source, target = x.reshape(-1), result.view(-1)
    for start in range(0, source.numel(), PIECE):
        part = source[start : start + PIECE]
        target[start : start + PIECE] = _rounded(part, fmt, rounding, kind, options, None)
    return result


def _rounded(x: Any, fmt: Format, rounding: Any, kind: Any, options: dict[str, Any], out: Any) -> Any:
    # Random bits, and the place of a NaN that is refused, count from the tensor's first element.
    alone = not as_rounding(rounding).stochastic and (fmt.has_nan or options["nan"] is not None)
    if x.dtype in NARROW and out is None and alone and x.numel() > PIECE:
        return _in_pieces(x.cpu(), fmt, rounding, kind, options).to(x.device)
    numbers = array(x.cpu())
    if kind in NARROW:
        if DTYPES[kind] == fmt:
            bits = np.asarray(codec.encode(numbers, fmt, rounding, **options))
            return torch.from_numpy(bits).view(kind).to(x.device)
        # binary32 holds every narrow format's values: nothing is rounded but to fmt.
        return tensor(numpy_face.round(numbers, fmt, rounding, dtype=np.float32, **options), kind).to(x.device)
    if out is None:  # numpy's memory: it asks for huge pages, which a fresh result of torch's does not get
        out = torch.from_numpy(np.empty(x.shape, ARRAYS[kind]))
    numpy_face.round(numbers, fmt, rounding, out=out.numpy(), **options)
    return out.to(x.device)


def _narrowed(values: Any, kind: Any) -> Any:
    """Values that ``kind`` holds, cast to it on their device; NaN with the code that the CPU gives."""
    if values.dtype == kind or kind in (torch.float32, torch.float64):
        return values.to(kind)
    request = Request.make(DTYPES[kind], NEAREST, "SAT_NONE", None, None, None, 0, None)
    if elementwise.carrier(values.dtype, DTYPES[kind]) is None:
        return tensor(array(values.cpu()), kind).to(values.device)
    return elementwise.project(values, request, coded=True).view(kind)


def encode(
    x: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    saturation: Saturation | str = Saturation.SAT_NONE,
    random_bits: int | None = None,
    random: Any = None,
    seed: int | None = None,
    stream: int = 0,
    nan: str | None = None,
) -> Any:
    """Return the codes of the values that :func:`round` would give.

    Parameters
    ----------
    x, fmt, rounding, saturation, random_bits, random, seed, stream, nan
        As for :func:`round`.

    Returns
    -------
    torch.Tensor
        Same shape; uint8, uint16, uint32 or uint64, the smallest of at least k bits. Where torch has the format as a
        dtype, ``.view(dtype)`` makes it one.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`round`.

    Examples
    --------
    >>> import torch
    >>> import floatemu.interop.torch as ft
    >>> codes = ft.encode(torch.tensor([1.0, 448.0]), "e4m3fn")
    >>> codes.tolist(), codes.view(torch.float8_e4m3fn).float().tolist()
    ([56, 126], [1.0, 448.0])
    """
    fmt, x = get_format(fmt), check(x, "x", STE)
    options: dict[str, Any] = {"saturation": saturation, "random_bits": random_bits, "random": _random(random)}
    options |= {"seed": seed, "stream": stream, "nan": nan}
    if _elsewhere(x, fmt):
        return elementwise.project(x, Request.make(fmt, rounding, **options), coded=True)
    return torch.from_numpy(np.asarray(codec.encode(array(x.cpu()), fmt, rounding, **options))).to(x.device)


def decode(x: Any, fmt: Format | str, dtype: Any = torch.float64) -> Any:
    """Return the values of codes.

    Parameters
    ----------
    x : torch.Tensor
        Integers 0 .. 2^k - 1, or a tensor whose dtype is the format.
    fmt : Format or str
    dtype : torch.dtype
        Floating, able to hold every value of ``fmt``.

    Returns
    -------
    torch.Tensor
        Same shape and device.

    Raises
    ------
    FormatError
        If a code is out of range, or the dtype of ``x`` is another format.
    UnsupportedError
        If ``x`` is no tensor of integers, or ``dtype`` cannot hold the format.

    Examples
    --------
    >>> import torch
    >>> import floatemu.interop.torch as ft
    >>> ft.decode(torch.tensor([0x01, 0x7E], dtype=torch.uint8), "e4m3fn").tolist()
    [0.001953125, 448.0]
    """
    fmt, x = get_format(fmt), check(x, "x", "use .detach()")
    kind = result_dtype((), fmt, dtype)
    if x.dtype in DTYPES:
        if DTYPES[x.dtype] != fmt:
            raise FormatError(f"x has dtype {x.dtype}, which is not {fmt.name}; give its codes, or use round()")
        x = codes(x)
    values = np.asarray(codec.decode(x.cpu().numpy(), fmt, np.float64))
    return tensor(values, kind).to(x.device)
