"""What a rounding changed in a tensor, and how far it is from exact values: counts, norms and extremes in one pass."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from floatemu._core.tallies import tally_loop
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.interop.torch.faces import round
from floatemu.interop.torch.tensors import array, check, stores
from floatemu.projection import Projection, Rounding, Saturation, as_rounding
from floatemu.target import carried_by, carrier_target

Array = np.ndarray[Any, Any]

SAFE = (1e-120, 1e140)
"""Largest magnitudes between which squares neither overflow nor, where they matter, underflow."""


class Tally(NamedTuple):
    """What one pass over a tensor found.

    Attributes
    ----------
    elements : int
    nonfinite, nonfinite_exact : int
        Rounded, and exact, elements that are infinite or NaN.
    overflowed : int
        Finite before the rounding, not after it.
    saturated : int
        Beyond the format's largest finite magnitude before the rounding, equal to it after.
    zeros_exact, zeros_new, flushed : int
        Exact elements that are zero; rounded ones that are zero where the exact one is not; and where the number before
        the rounding was not.
    subnormal : int
        Rounded elements that are nonzero and below the format's normal range.
    amax, amin : float
        Largest finite, and smallest nonzero, magnitude of the exact elements; 0 and infinity if there is none.
    local, before, error, exact, after : float
        2-norms of after - before, before, after - exact, exact and after, over the elements where all are finite.
    """

    elements: int
    nonfinite: int
    nonfinite_exact: int
    overflowed: int
    saturated: int
    zeros_exact: int
    zeros_new: int
    flushed: int
    subnormal: int
    amax: float
    amin: float
    local: float
    before: float
    error: float
    exact: float
    after: float


def tally(before: Any, after: Any, exact: Any, fmt: Format | str) -> Tally:
    """Compare a rounded tensor with what it was before the rounding, and with exact values.

    Parameters
    ----------
    before, after, exact : torch.Tensor
        Of one shape and device, floating. ``before`` may be ``after``.
    fmt : Format or str
        Whose range is meant by saturated and subnormal.

    Returns
    -------
    Tally
        Norms are right to about 1e-15 of themselves and depend on neither threads nor the processor, on the CPU.

    Raises
    ------
    UnsupportedError
        If shapes or devices differ, or something is no floating tensor.

    Examples
    --------
    >>> import torch
    >>> import floatemu.interop.torch as ft
    >>> x = torch.tensor([1.1, 500.0, 1e-4, 0.0])
    >>> found = ft.tally(x, ft.round(x, "e4m3fn", saturation="SAT_FINITE"), x, "e4m3fn")
    >>> found.saturated, found.flushed, found.zeros_exact, found.amax, found.local == found.error
    (1, 1, 1, 500.0, True)
    """
    fmt = get_format(fmt)
    given = [check(one, name) for one, name in ((before, "before"), (after, "after"), (exact, "exact"))]
    if len({(one.shape, one.device) for one in given}) > 1 or not all(one.is_floating_point() for one in given):
        shown = ", ".join(f"{one.dtype} {tuple(one.shape)} on {one.device}" for one in given)
        raise UnsupportedError(f"before, after, exact are {shown}; give floating tensors of one shape and device")
    if after.device.type != "cpu":
        limits = float(fmt.max), float(fmt.min_normal)
        return _by_operations(given[0].double(), given[1].double(), given[2].double(), *limits)
    flat = [_flat(one) for one in given]
    if flat[0].dtype != flat[1].dtype:
        flat[:2] = [one.astype(np.float64) for one in flat[:2]]
    return _counted(flat, fmt, Projection(), "max", False)


def round_with_tally(
    x: Any,
    fmt: Format | str,
    exact: Any,
    rounding: Rounding | str = Rounding.NEAREST_TIES_TO_EVEN,
    *,
    saturation: Saturation | str = Saturation.SAT_NONE,
    random_bits: int | None = None,
    seed: int | None = None,
    stream: int = 0,
    nan: str | None = None,
    out: Any = None,
) -> tuple[Any, Tally]:
    """Round a tensor and compare it with exact values: :func:`round` and :func:`tally`, in one pass or two.

    Parameters
    ----------
    x, exact : torch.Tensor
        Of one shape and device; ``x`` of float32 or float64.
    fmt, rounding, saturation, random_bits, seed, stream, nan
        As for :func:`round`.
    out : torch.Tensor, optional
        Where the rounded numbers go; may be ``x``.

    Returns
    -------
    rounded : torch.Tensor
        Of x's dtype.
    found : Tally

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`round` and :func:`tally`.

    Examples
    --------
    >>> import torch
    >>> import floatemu.interop.torch as ft
    >>> x = torch.tensor([1.1, 1000.0], dtype=torch.float64)
    >>> rounded, found = ft.round_with_tally(x, "e4m3fn", x)
    >>> rounded.tolist(), found.overflowed
    ([1.125, nan], 1)
    """
    fmt, mode = get_format(fmt), as_rounding(rounding)
    nearest = mode is Rounding.NEAREST_TIES_TO_EVEN and (fmt.has_nan or nan is not None) and carried_by(fmt, "float64")
    plain = x.device.type == exact.device.type == "cpu" and stores(x.dtype, fmt) and x.shape == exact.shape
    result = torch.empty_like(x) if out is None else out
    alike = result.dtype == x.dtype in (torch.float32, torch.float64) and result.shape == x.shape
    if nearest and plain and alike and exact.is_floating_point():
        parts = [one.detach() for one in (check(x), result, check(exact))]
        if not all(one.is_contiguous() for one in parts):
            # a transposed tensor lies as densely as a contiguous one: all three are read as they lie
            axes = sorted(range(x.dim()), key=x.stride, reverse=True)
            parts = [one.permute(axes) for one in parts]
        if all(one.is_contiguous() for one in parts):
            flat = [_flat(one) for one in parts]
            return result, _counted(flat, fmt, Projection(mode, saturation), nan, True)  # type: ignore[arg-type]
    random: dict[str, Any] = {"random_bits": random_bits, "seed": seed, "stream": stream} if mode.stochastic else {}
    rounded = round(x, fmt, mode, saturation=saturation, nan=nan, dtype=result.dtype, **random)
    found = tally(x, rounded, exact, fmt)
    return result.copy_(rounded), found


def _flat(x: Any) -> Array:
    found = array(x).reshape(-1)
    return found.astype(np.float32) if found.dtype == np.float16 else found


def _counted(flat: list[Array], fmt: Format, projection: Projection, nan: str | None, rounds: bool) -> Tally:
    narrow = all(one.dtype == np.float32 for one in flat) and carried_by(fmt, "float32")
    carrier = "float32" if narrow else "float64"
    counts, ends, sums = np.empty(8, np.int64), np.empty(3), np.empty(5)
    loop, settings = tally_loop(rounds, carrier), _settings(fmt, projection, nan, carrier)
    loop(*flat, *settings, 1.0, counts, ends, sums)
    top, least, largest = ends.tolist()
    scale = _scale(largest)  # 1 for all that binary32 holds
    if scale != 1.0:
        loop(*flat, *settings, scale, counts, ends, sums)
    norms = [math.sqrt(one) / scale for one in sums.tolist()]
    return Tally._make((flat[1].size, *counts.tolist(), top, least, *norms))


@lru_cache(maxsize=64)
def _settings(fmt: Format, projection: Projection, nan: str | None, carrier: str) -> tuple[Any, Any]:
    # where binary64's words cannot carry the format, the loop does not round, and any target does
    carried = fmt if carried_by(fmt, carrier) else get_format("binary64")
    target = carrier_target(carried, projection, nan, carrier, False)
    return target, np.array([float(fmt.max), float(fmt.min_normal)], carrier)


def _scale(largest: float) -> float:
    # a power of two that brings the largest magnitude near 1, where its square would leave binary64
    if largest == 0 or SAFE[0] < largest < SAFE[1]:
        return 1.0
    return 2.0 ** -max(math.frexp(largest)[1], -1000)


def _by_operations(x: Any, y: Any, e: Any, largest: float, normal: float) -> Tally:
    """The same on another device, by torch's own operations."""
    a, b, c = x.abs(), y.abs(), e.abs()
    open_a, open_b, open_c = (~torch.isfinite(one) for one in (a, b, c))
    fine = ~(open_a | open_b | open_c)
    masks = (
        open_b,
        open_c,
        open_b & ~open_a,
        (b == largest) & (a > largest),
        c == 0,
        (b == 0) & (c != 0),
        (b == 0) & (a != 0),
        (b > 0) & (b < normal),
    )
    ends = [torch.where(open_c, 0.0, c).amax(), torch.where((c > 0) & ~open_c, c, math.inf).amin()] if y.numel() else []
    every = [torch.where(bad, 0.0, one).amax() for bad, one in ((open_a, a), (open_b, b), (open_c, c)) if y.numel()]
    scale = _scale(max((one.item() for one in every), default=0.0))
    x, y, e = (torch.where(fine, one, 0.0) * scale for one in (x, y, e))
    norms = [one.square().sum().sqrt() for one in (y - x, x, y - e, e, y)]
    numbers = torch.stack([*(mask.sum().double() for mask in masks), *ends, *(one / scale for one in norms)]).tolist()
    top, least = numbers[8:10] if ends else (0.0, math.inf)
    return Tally._make((y.numel(), *(int(one) for one in numbers[:8]), top, least, *numbers[-5:]))
