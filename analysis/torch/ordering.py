"""Rules for what is sorted and chosen by rank, whose order stays as recorded, and sums and products along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops import Var
from .context import Context, NoRule
from .indexing import along
from .memory import take

__all__ = ["RULES"]

_FACTORS = 128  # of a product, each of which is a node
_MOST = 2**22  # numbers of a running sum, each of which is a sum of its own


def _ranked(position: int) -> Callable[..., tuple[Var, None]]:
    # the axis is the argument at this position; where it is left out, it is the last
    def rule(c: Context, x: Any, *rest: Any, **named: Any) -> tuple[Var, None]:
        if len(c.results) < 2:  # without an axis: the index is not told
            raise NoRule
        dim = named.get("dim", rest[position] if len(rest) > position else -1)
        x, index = c.real(x), c.results[1].detach().cpu().numpy()
        assert c.call is not None
        c.frozen[c.call.name] += 1
        if index.ndim < len(x.shape):
            index = np.expand_dims(index, dim)
        return take(x, along(x.shape, dim, index)).reshape(c.shape), None

    return rule


def _running_sum(c: Context, x: Any, dim: int, dtype: Any = None) -> Var:
    given = c.real(x)
    if not given.shape or not given.value.size:
        return given
    axis, n = dim % len(given.shape), given.shape[dim]
    if given.value.size * n > _MOST:
        raise NoRule
    # each of them is a sum, as kernels keep it wide: nothing is rounded on the way
    places = np.tril(np.broadcast_to(np.arange(n) + 1, (n, n))) - 1
    return c.builder.apply("gather", given, c.builder.leaf("constant", places), axis=axis).sum(axis + 1)


def _product(c: Context, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Var:
    x = c.real(x)
    if dim is None:
        x, dim = x.reshape((x.value.size,)), 0
    parts = _along_axis(c, x, dim)
    while len(parts) > 1:
        parts = [one * two for one, two in zip(parts[::2], parts[1::2])] + parts[len(parts) // 2 * 2 :]
    return parts[0].reshape(c.shape)


def _running_product(c: Context, x: Any, dim: int, dtype: Any = None) -> Var:
    given = c.real(x)
    if not given.shape:
        return given
    parts = _along_axis(c, given, dim)
    found = last = parts[0]
    for part in parts[1:]:
        last = last * part
        found = c.builder.apply("concat", found, last, axis=dim % len(given.shape))
    return found


def _along_axis(c: Context, x: Var, dim: int) -> list[Var]:
    axis = dim % len(x.shape)
    if not 1 <= x.shape[axis] <= _FACTORS:
        raise NoRule
    cuts = [
        tuple((i, i + 1, 1) if k == axis else (0, n, 1) for k, n in enumerate(x.shape)) for i in range(x.shape[axis])
    ]
    return [c.builder.apply("slice", x, slices=cut) for cut in cuts]


RULES: dict[str, Callable[..., Any]] = {
    "topk": _ranked(1),
    "sort": _ranked(0),
    "kthvalue": _ranked(1),
    "median": _ranked(0),
    "nanmedian": _ranked(0),
    "mode": _ranked(0),
    "cumsum": _running_sum,
    "prod": _product,
    "cumprod": _running_product,
}
"""By name without overload."""
