"""Rules for the gradients of images that were made larger or smaller: each element's share of those it was made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arithmetics.base import Array
from ..ops import Var, scatter_add
from .context import Context
from .windows import flat_places

__all__ = ["RULES", "taps"]

_CUBIC = -0.75  # the parameter of torch's cubic convolution


def taps(kind: str, extent: int, count: int, aligned: bool = False, scale: float | None = None) -> tuple[Array, Array]:
    """Return what each element along an axis is made of.

    Parameters
    ----------
    kind : {"nearest", "nearest_exact", "linear", "cubic"}
    extent, count : int
        Lengths before and after.
    aligned : bool
        Whether the centres of the corners stay where they are.
    scale : float, optional
        By which the caller asked the axis to grow.

    Returns
    -------
    positions : ndarray of int64
        (count, elements), along the axis as it was.
    weights : ndarray of float64

    Examples
    --------
    >>> [one.tolist() for one in taps("linear", 2, 3, aligned=True)]
    [[[0, 1], [0, 1], [1, 1]], [[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]]]
    """
    step = extent / count if scale is None else 1.0 / scale
    if kind.startswith("nearest"):  # in binary32, as torch chooses for every dtype
        half = np.float32(0.5 if kind == "nearest_exact" else 0.0)
        at = np.floor((np.arange(count, dtype=np.float32) + half) * np.float32(step)).astype(np.int64)
        return np.minimum(at, extent - 1)[:, None], np.ones((count, 1))
    if aligned:
        place = np.arange(count) * ((extent - 1) / (count - 1) if count > 1 else 0.0)
    else:
        place = (np.arange(count) + 0.5) * step - 0.5
    if kind == "linear":
        place = np.maximum(place, 0.0)
        first = np.minimum(np.floor(place).astype(np.int64), extent - 1)
        share = np.clip(place - first, 0.0, 1.0)
        return np.stack([first, np.minimum(first + 1, extent - 1)], 1), np.stack([1.0 - share, share], 1)
    first, share = np.floor(place).astype(np.int64), place - np.floor(place)
    weights = np.stack([_far(share + 1.0), _near(share), _near(1.0 - share), _far(2.0 - share)], 1)
    return np.clip(first[:, None] + np.arange(-1, 3), 0, extent - 1), weights


def _near(x: Array) -> Array:
    return ((_CUBIC + 2.0) * x - (_CUBIC + 3.0)) * x * x + 1.0


def _far(x: Array) -> Array:
    return ((_CUBIC * x - 5.0 * _CUBIC) * x + 8.0 * _CUBIC) * x - 4.0 * _CUBIC


def _backward(kind: str, n: int, corners: bool) -> Callable[..., Var]:
    def rule(c: Context, g: Any, after: Sequence[int], before: Sequence[int], *rest: Any) -> Var:
        g, shape = c.real(g), tuple(before)
        aligned, scales = (bool(rest[0]), rest[1:]) if corners else (False, rest)
        found = [
            taps(kind, extent, count, aligned, scale)
            for extent, count, scale in zip(shape[-n:], after[-n:], (*scales, *[None] * n))
        ]
        index, weights = flat_places([at for at, _ in found], shape[-n:]), np.ones((1, 1))
        for _, each in found:
            weights = (weights[:, None, :, None] * each[None, :, None, :]).reshape(
                len(weights) * len(each), weights.shape[1] * each.shape[1]
            )
        lead, many = shape[:-n], len(index)
        spread = g.reshape((*lead, many, 1)).broadcast((*lead, *index.shape))
        if (weights != 1.0).any():
            spread = spread * c.builder.leaf("constant", weights)
        leaf = c.builder.leaf("constant", index)
        return scatter_add(spread, leaf, len(lead), math.prod(shape[-n:])).reshape(shape)

    return rule


_LINEAR = {"upsample_linear1d": 1, "upsample_bilinear2d": 2, "upsample_trilinear3d": 3}
RULES: dict[str, Callable[..., Any]] = {
    **{f"{name}_backward": _backward("linear", n, True) for name, n in _LINEAR.items()},
    **{f"upsample_nearest{n}d_backward": _backward("nearest", n, False) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d_backward": _backward("nearest_exact", n, False) for n in (1, 2, 3)},
    "upsample_bicubic2d_backward": _backward("cubic", 2, True),
}
"""By name without overload."""
