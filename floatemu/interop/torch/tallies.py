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
from floatemu.interop.torch.tensors import array, check

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
    largest, normal = _limits(get_format(fmt))
    given = [check(one, name) for one, name in ((before, "before"), (after, "after"), (exact, "exact"))]
    if len({(one.shape, one.device) for one in given}) > 1 or not all(one.is_floating_point() for one in given):
        shown = ", ".join(f"{one.dtype} {tuple(one.shape)} on {one.device}" for one in given)
        raise UnsupportedError(f"before, after, exact are {shown}; give floating tensors of one shape and device")
    if after.device.type != "cpu":
        return _by_operations(*(one.double() for one in given), largest, normal)
    flat = [array(one).reshape(-1) for one in given]
    flat = [one.astype(np.float32) if one.dtype == np.float16 else one for one in flat]
    if flat[0].dtype != flat[1].dtype:
        flat[:2] = [one.astype(np.float64) for one in flat[:2]]
    counts, ends, sums = np.empty(8, np.int64), np.empty(3, np.int64), np.empty(5)
    loop, bits = tally_loop(), np.array([largest, normal]).view(np.int64)
    loop(*flat, bits[0], bits[1], 1.0, counts, ends, sums)
    scale = _scale(float(ends.view(np.float64)[2]))
    if scale != 1.0:
        loop(*flat, bits[0], bits[1], scale, counts, ends, sums)
    top, least, _ = ends.view(np.float64).tolist()
    return Tally(flat[1].size, *counts.tolist(), top, least, *(np.sqrt(sums) / scale).tolist())


@lru_cache
def _limits(fmt: Format) -> tuple[float, float]:
    return float(fmt.max), float(fmt.min_normal)


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
    return Tally(y.numel(), *(int(one) for one in numbers[:8]), top, least, *numbers[-5:])
