"""Tensors as arrays and back: which formats torch's dtypes have, and views of memory without a copy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch

from floatemu.codec import encode
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format

Array = np.ndarray[Any, Any]

DTYPES: dict[Any, Format] = {
    torch.float16: get_format("binary16"),
    torch.bfloat16: get_format("bfloat16"),
    torch.float32: get_format("binary32"),
    torch.float64: get_format("binary64"),
    torch.float8_e4m3fn: get_format("e4m3fn"),
    torch.float8_e5m2: get_format("e5m2"),
    torch.float8_e4m3fnuz: get_format("e4m3fnuz"),
    torch.float8_e5m2fnuz: get_format("e5m2fnuz"),
    torch.float8_e8m0fnu: get_format("e8m0fnu"),
}
"""The format of each floating dtype."""

INTEGERS = (
    torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
)  # fmt: skip
UNSIGNED = {8: torch.uint8, 16: torch.uint16, 32: torch.uint32, 64: torch.uint64}
NARROW = tuple(dtype for dtype in DTYPES if dtype not in (torch.float16, torch.float32, torch.float64))
"""Floating dtypes that numpy has not: their numbers go through binary32, which holds them all, or as codes."""

ACCEPTED = "strided tensors of " + ", ".join(str(d).removeprefix("torch.") for d in DTYPES) + " and of integers"
_WAYS = {
    torch.bool: "use .to(torch.uint8) if 0 and 1 are meant",
    torch.complex64: "take .real and .imag apart",
    torch.complex128: "take .real and .imag apart",
}


def check(x: Any, what: str = "x", differentiable: str = "") -> Any:
    """Return ``x`` if it is a tensor that the faces take.

    Parameters
    ----------
    x : torch.Tensor
    what : str
        Its name in messages.
    differentiable : str
        What to use instead where a gradient is wanted; "" allows any tensor.

    Returns
    -------
    torch.Tensor
        Detached.

    Raises
    ------
    UnsupportedError
        If it is none, or of another layout or dtype, or a gradient is wanted that the face does not make.
    """
    if not isinstance(x, torch.Tensor):
        raise UnsupportedError(f"{what} is {type(x).__name__}, not a tensor; use torch.as_tensor({what})")
    if x.layout != torch.strided or x.device.type == "meta":
        raise UnsupportedError(f"{what} is a {x.layout} tensor on {x.device}; accepted: {ACCEPTED} (use .to_dense())")
    if x.dtype not in DTYPES and x.dtype not in INTEGERS:
        way = _WAYS.get(x.dtype, "unpack or convert it first")
        raise UnsupportedError(f"{what} has dtype {x.dtype}: {way}; accepted: {ACCEPTED}")
    if differentiable and x.requires_grad and torch.is_grad_enabled():
        raise UnsupportedError(f"{what} requires a gradient, which rounding has not: {differentiable}, or .detach()")
    return x.detach()


def on_cpu(x: Any, what: str, operation: str) -> None:
    """Raise UnsupportedError unless a tensor lies in the CPU's memory."""
    if x.device.type != "cpu":
        raise UnsupportedError(f"{what} lies on {x.device}, where {operation} is not implemented; use {what}.cpu()")


def codes(x: Any) -> Any:
    """The bits of a floating tensor of at most 16 bits, or of 32 or 64, as an unsigned tensor: a view."""
    return x.view(getattr(torch, f"uint{8 * x.dtype.itemsize}"))


def array(x: Any) -> Array:
    """The numbers of a tensor on the CPU: a view of its memory, or binary32 copies of numbers that numpy has not."""
    if x.dtype not in NARROW:
        return np.asarray(x.numpy(force=True))  # also where signs are turned in the view alone, or zeros have no memory
    wide = np.empty(x.shape, np.float32)
    torch.from_numpy(wide).copy_(x)
    return wide


@cache
def stores(dtype: Any, fmt: Format) -> bool:
    """Whether every value of ``fmt``, special ones included, is a value of a floating dtype."""
    own = DTYPES.get(dtype)
    if own is None:
        return False
    specials = own.infinities >= fmt.infinities and own.has_nan >= fmt.has_nan
    return own.holds(fmt) and specials and own.negative_zero >= fmt.negative_zero


@cache
def _least(fmt: Format) -> Any:
    return next((dtype for dtype in (torch.float32, torch.float64) if DTYPES[dtype].holds(fmt)), None)


def result_dtype(sources: tuple[Any, ...], fmt: Format, dtype: Any, what: str = "dtype") -> Any:
    """Return the dtype of a result in ``fmt``, by the rule of :func:`floatemu.round`.

    Parameters
    ----------
    sources : tuple of torch.dtype
        Of the operands.
    fmt : Format
    dtype : torch.dtype, optional
        What the caller asked for.
    what : str
        Where it stands, for messages.

    Returns
    -------
    torch.dtype
        The one asked for; else the operands' own, if they share one that holds every value of ``fmt``; else the
        smaller of float32 and float64 that does, float64 for integers.

    Raises
    ------
    UnsupportedError
        If the dtype asked for, or float64, cannot hold the format.

    Examples
    --------
    >>> import torch, floatemu as fe
    >>> result_dtype((torch.bfloat16,), fe.get_format("e4m3fn"), None)
    torch.bfloat16
    """
    if dtype is not None:
        if not isinstance(dtype, torch.dtype):
            raise UnsupportedError(f"{what} is {dtype!r}; give a torch dtype, such as torch.float32")
        if not stores(dtype, fmt):
            raise UnsupportedError(f"{what} {dtype} cannot hold every value of {fmt.name}; use a wider floating dtype")
        return dtype
    least = _least(fmt)
    if least is None:
        raise UnsupportedError(
            f"{fmt.name} has values that float64 does not hold; pass Python numbers to floatemu's own functions"
        )
    if any(source in INTEGERS for source in sources):
        return torch.float64
    common = sources[0]
    for source in sources[1:]:
        if {common, source} <= {torch.float16, torch.float32, torch.float64}:
            common = torch.promote_types(common, source)
        elif source != common:
            return least
    return common if stores(common, fmt) else least


def tensor(values: Array, dtype: Any) -> Any:
    """Values that ``dtype`` holds, as a tensor; shares memory where numpy has the dtype."""
    if dtype is torch.bfloat16 and values.dtype == np.float32:
        # The upper half of binary32: the lower is zero in its values, and in the NaN that rounding gives.
        upper = np.ascontiguousarray(values).view(np.uint32) >> np.uint32(16)
        return torch.from_numpy(upper.astype(np.uint16).reshape(values.shape)).view(dtype)
    if dtype in NARROW:
        return torch.from_numpy(np.asarray(encode(values, DTYPES[dtype]))).view(dtype)
    return torch.from_numpy(np.asarray(values)).to(dtype)
