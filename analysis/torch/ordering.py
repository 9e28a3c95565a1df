"""Rules for what is sorted and chosen by rank, whose order stays as it was recorded, and for sums along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops import Var
from .context import Context, NoRule
from .indexing import along
from .memory import take

__all__ = ["RULES"]

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


RULES: dict[str, Callable[..., Any]] = {
    "topk": _ranked(1),
    "sort": _ranked(0),
    "kthvalue": _ranked(1),
    "median": _ranked(0),
    "nanmedian": _ranked(0),
    "mode": _ranked(0),
    "cumsum": _running_sum,
}
"""By name without overload."""
