"""Rounding that gradients pass: straight through, clipped to the format's range, rounded to a format of their own."""

from __future__ import annotations

from typing import Any

import torch

from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.interop.torch.faces import round as round_tensor
from floatemu.interop.torch.tensors import check, stores
from floatemu.projection import Rounding, Saturation

BACKWARD = 1 << 63
"""Added to the stream for the gradient's random bits, so that they are not the forward's."""


class _Through(torch.autograd.Function):  # type: ignore[misc]
    """Forward: :func:`round`. Backward: the gradient, clipped and rounded; its own derivative is of the same kind."""

    @staticmethod
    def forward(ctx: Any, x: Any, fmt: Format, backward: Format | None, clip: bool, options: dict[str, Any]) -> Any:
        ctx.settings = fmt, backward, options
        ctx.limits = None
        if clip:
            ctx.limits = (-float(fmt.max) if fmt.signed else 0.0), float(fmt.max)
            ctx.save_for_backward(x)
        return round_tensor(x, fmt, dtype=x.dtype, **options)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        _, backward, options = ctx.settings
        if ctx.limits is not None:
            (x,) = ctx.saved_tensors
            low, high = ctx.limits
            gradient = torch.where((x >= low) & (x <= high), gradient, torch.zeros_like(gradient))
        if backward is not None:
            options = options | {"stream": options["stream"] + BACKWARD}
            gradient = _Through.apply(gradient, backward, None, False, options)
        return gradient, None, None, None, None


def ste_round(
    x: Any,
    fmt: Format | str,
    backward: Format | str | None = None,
    clip: bool = False,
    *,
    rounding: Rounding | str = Rounding.NEAREST_TIES_TO_EVEN,
    saturation: Saturation | str = Saturation.SAT_NONE,
    random_bits: int | None = None,
    seed: int | None = None,
    stream: int = 0,
    nan: str | None = None,
) -> Any:
    """Round as :func:`round` does, and let the gradient through as if nothing had been rounded.

    The straight-through estimator (Bengio, Leonard and Courville, arXiv 1308.3432) takes d round(x) / dx = 1; with
    ``clip`` it is 0 where x lies outside the format's finite range, where the true function is flat.

    Parameters
    ----------
    x : torch.Tensor
        Floating, of a dtype that holds every value of ``fmt``, which is also the result's.
    fmt : Format or str
    backward : Format or str, optional
        Format to which the gradient is rounded, after clipping; None: it stays as it comes. E5M2 in fp8 recipes.
    clip : bool
        Whether the gradient is 0 where |x| is beyond the largest finite value (and for NaN).
    rounding, saturation, random_bits, seed, stream, nan
        As for :func:`round`, for values and gradients; gradients draw their random bits from stream + 2^63.

    Returns
    -------
    torch.Tensor
        Same shape, dtype and device.

    Raises
    ------
    FormatError, ProjectionError
        As for :func:`round`.
    UnsupportedError
        If the dtype of ``x`` does not hold the formats.

    Examples
    --------
    >>> import torch
    >>> import floatemu.interop.torch as ft
    >>> x = torch.tensor([1.1, 500.0], requires_grad=True)
    >>> y = ft.ste_round(x, "e4m3fn", clip=True, saturation="SAT_FINITE")
    >>> y.sum().backward()
    >>> y.tolist(), x.grad.tolist()
    ([1.125, 448.0], [1.0, 0.0])
    """
    fmt, other = get_format(fmt), None if backward is None else get_format(backward)
    check(x)
    for needed in (fmt, *(() if other is None else (other,))):
        if not stores(x.dtype, needed):
            raise UnsupportedError(
                f"x has dtype {x.dtype}, which does not hold every value of {needed.name}; use x.float()"
            )
    options = {"rounding": rounding, "saturation": saturation, "random_bits": random_bits}
    return _Through.apply(x, fmt, other, bool(clip), options | {"seed": seed, "stream": stream, "nan": nan})
