"""Projections on any device: by the Triton kernel on CUDA, else by the core's rounding text in torch's operations.

Nothing of rounding stands here. The functions of ``floatemu._core.rounding`` and ``.random`` are given int64 tensors,
and torch's ``clamp``, ``maximum`` and ``minimum`` for the builtins ``max`` and ``min``, which branch; the numbers they
are called with come from the same :class:`~floatemu._core.rounding.Target` as on the CPU.
"""

from __future__ import annotations

from functools import cache
from types import FunctionType
from typing import Any

import torch

from floatemu._core import random as core_random
from floatemu._core import rounding as core
from floatemu.codec import code_dtype
from floatemu.errors import ProjectionError
from floatemu.format import Format
from floatemu.interop.torch import triton_kernel
from floatemu.interop.torch.tensors import DTYPES, UNSIGNED
from floatemu.projecting import Request, nan_message
from floatemu.target import carried_by, carrier_target

WIDTHS = {torch.float32: ("float32", 23, torch.int32), torch.float64: ("float64", 52, torch.int64)}
LOW = 0xFFFFFFFF


def _word(x: Any) -> Any:
    """The core's word: int64, in which integers of 64 bits stand by their two's complement."""
    if isinstance(x, torch.Tensor):
        return x.to(torch.int64)
    return (int(x) + 2**63) % 2**64 - 2**63


def _extreme(a: Any, b: Any, pair: Any, bound: str) -> Any:
    tensors = [x for x in (a, b) if isinstance(x, torch.Tensor)]
    if len(tensors) == 2:
        return pair(a, b)
    if not tensors:
        return max(a, b) if bound == "min" else min(a, b)
    return torch.clamp(tensors[0], **{bound: b if tensors[0] is a else a})


def _max(a: Any, b: Any) -> Any:
    return _extreme(a, b, torch.maximum, "min")


def _min(a: Any, b: Any) -> Any:
    return _extreme(a, b, torch.minimum, "max")


class _Logical:
    """A tensor of 64-bit words whose shift to the right brings zeros in: what the generator of random bits needs."""

    def __init__(self, bits: Any) -> None:
        self.bits = bits

    def __rshift__(self, n: Any) -> _Logical:
        n = n.bits if isinstance(n, _Logical) else torch.as_tensor(n, device=self.bits.device)
        mask = torch.where(n == 0, -1, (2**63 - 1) >> torch.clamp(n - 1, min=0))
        return _Logical((self.bits >> n) & mask)


def _operator(name: str) -> Any:
    def apply(self: _Logical, other: Any) -> _Logical:
        return _Logical(getattr(self.bits, name)(other.bits if isinstance(other, _Logical) else other))

    return apply


for _name in ("__add__", "__radd__", "__mul__", "__rmul__", "__and__", "__rand__", "__xor__", "__lshift__"):
    setattr(_Logical, _name, _operator(_name))


def _logical_word(x: Any) -> Any:
    return x if isinstance(x, _Logical) else _word(x)


@cache
def _text() -> dict[str, Any]:
    """The core's functions with their names bound to each other, and to torch's in place of the builtins."""
    names: dict[str, Any] = {**vars(core_random), **vars(core), "max": _max, "min": _min}
    for function in (*core_random.TEXT, *core.TEXT):
        names[function.__name__] = FunctionType(function.__code__, names, function.__name__)
    return names


def given_bits(shape: tuple[int, ...], request: Request, device: Any) -> Any:
    """The caller's own random integers for every element, as int64; None if there are none.

    Raises
    ------
    ProjectionError
        If they are out of range or do not broadcast.
    """
    if request.random is None:
        return None
    given = torch.as_tensor(request.random, device=device).to(torch.int64)
    if given.numel() and (int(given.min()) < 0 or int(given.max()) >= 2**request.bits):
        raise ProjectionError(
            f"random holds {int(given.min())}..{int(given.max())}, outside 0..2^{request.bits} - 1; "
            "mask it, or give random_bits the count it has"
        )
    try:
        return torch.broadcast_to(given, shape)
    except RuntimeError:
        raise ProjectionError(f"random of shape {tuple(given.shape)} does not broadcast to x's shape {shape}") from None


def _drawn(bits: Any, request: Request) -> Any:
    index = _Logical(torch.arange(bits.numel(), device=bits.device, dtype=torch.int64))
    return _text()["draw"](_logical_word, _word(request.state), index, request.bits).bits.reshape(bits.shape)


def _by_operations(bits: Any, t: int, target: core.Target, request: Request, random: Any, coded: bool) -> Any:
    """The text in torch's operations: results as int64."""
    wide = bits.to(torch.int64)
    wide = wide & LOW if t == 23 else wide
    n, mode = request.bits, int(request.projection.rounding)
    if n and random is None:
        random = _drawn(bits, request)
    integers = core.Target(*(_word(value) for value in target))
    out, _ = _text()["project_carrier"](_word, t, wide, integers, mode, random if n else 0, n, 2**n - 1, coded, False)
    return out


def carrier(dtype: Any, fmt: Format) -> Any:
    """The dtype in which a source's numbers are exact and the text serves the format; None if there is none."""
    source = DTYPES.get(dtype)
    narrow = dtype in (torch.int8, torch.int16, torch.uint8, torch.uint16)
    small = narrow or (source is not None and DTYPES[torch.float32].holds(source))
    if source is None and dtype.itemsize == 8:
        return None
    wanted = (torch.float32, torch.float64) if small else (torch.float64,)
    return next((d for d in wanted if carried_by(fmt, WIDTHS[d][0])), None)


def project(x: Any, request: Request, *, coded: bool) -> Any:
    """Round every element of ``x``, on its device, to values or to codes.

    Parameters
    ----------
    x : torch.Tensor
        Of a dtype and for a format that :func:`carrier` finds a carrier for.
    request : Request
    coded : bool

    Returns
    -------
    torch.Tensor
        Same shape: float32 or float64 values, or codes in the smallest unsigned dtype.

    Raises
    ------
    ProjectionError
        If ``x`` holds a NaN that the format cannot take, or random integers are out of range.

    Examples
    --------
    >>> import torch, floatemu as fe
    >>> from floatemu.projecting import Request
    >>> up = Request.make(fe.get_format("e5m2"), "ru", "SAT_NONE", None, None, None, 0, None)
    >>> project(torch.tensor([1.1, -1.1]), up, coded=False)
    tensor([ 1.2500, -1.0000])
    """
    held = carrier(x.dtype, request.fmt)
    assert held is not None
    if not request.fmt.has_nan and request.nan is None and x.is_floating_point():
        nans = torch.isnan(x.to(held))
        if bool(nans.any()):
            raise ProjectionError(nan_message(request.fmt, tuple(int(i) for i in nans.nonzero()[0])))
    name, t, word = WIDTHS[held]
    target = carrier_target(request.fmt, request.projection, request.nan, name, coded)
    bits = x.to(held).contiguous().view(word)
    random = given_bits(tuple(x.shape), request, x.device)
    kind = UNSIGNED[8 * code_dtype(request.fmt).itemsize] if coded else word
    if triton_kernel.serves(x.device):
        out = torch.empty_like(bits, dtype=kind)
        mode, n = int(request.projection.rounding), request.bits
        random = None if random is None else random.contiguous()
        triton_kernel.project(bits, t, target, mode, n, out, coded=coded, state=request.state, random=random)
    else:
        out = _by_operations(bits, t, target, request, random, coded)
        if not coded and t == 23:
            # int64 -> int32 keeps the low bits on every device once the value is in range.
            out = out - ((out >> 31) << 32)
        out = out.to(kind)
    return out if coded else out.view(held)
