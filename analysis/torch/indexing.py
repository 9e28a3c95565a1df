"""Rules for products, lookups, scattered writes and joins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arithmetics.base import Array
from ..ops import Var, scatter_add
from .context import Context, NoRule
from .memory import overlay, take

__all__ = ["RULES", "along"]


def _matmul(c: Context, x: Any, y: Any) -> Var:
    left, right = c.real(x), c.real(y)
    left = left.reshape((1, *left.shape)) if len(left.shape) == 1 else left
    right = right.reshape((*right.shape, 1)) if len(right.shape) == 1 else right
    return (left @ right).reshape(c.shape)


def _added_product(c: Context, added: Any, x: Any, y: Any, beta: Any = 1, alpha: Any = 1) -> Var:
    product = c.real(x) @ c.real(y)
    if alpha != 1:
        product = c.real(alpha) * product
    if beta == 0:
        return product
    term = c.real(added)
    return (term if beta == 1 else c.real(beta) * term) + product


def _cat(c: Context, parts: Sequence[Any], dim: int = 0) -> Var:
    given = [c.real(part) for part in parts]
    given = [part for part in given if part.shape != (0,)] or given[:1]
    axis, found = dim % len(given[0].shape), given[0]
    for part in given[1:]:
        found = c.builder.apply("concat", found, part, axis=axis)
    return found


def _stack(c: Context, parts: Sequence[Any], dim: int = 0) -> Var:
    given = [c.real(part) for part in parts]
    axis = dim % (len(given[0].shape) + 1)
    shape = (*given[0].shape[:axis], 1, *given[0].shape[axis:])
    return _cat(c, [part.reshape(shape) for part in given], axis)


def _embedding(c: Context, table: Any, index: Any, *_: Any, **__: Any) -> Var:
    return c.builder.apply("gather", c.real(table), c.index(index), axis=0)


def _index_select(c: Context, x: Any, dim: int, index: Any) -> Var:
    x = c.real(x)
    return c.builder.apply("gather", x, c.index(index), axis=dim % len(x.shape))


def _order(c: Context, shape: tuple[int, ...], indices: Sequence[Any]) -> Array:
    positions = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    key = tuple(slice(None) if one is None else c.fixed(one) for one in indices)
    return np.asarray(positions[key], dtype=np.int64)


def _index(c: Context, x: Any, indices: Sequence[Any]) -> Var:
    x = c.real(x)
    if len(indices) == 1 and isinstance(indices[0], Var) and indices[0].value.dtype.kind == "i":
        rows = c.fixed(indices[0])
        if (rows >= 0).all():
            return c.builder.apply("gather", x, c.index(indices[0]), axis=0)
    return take(x, _order(c, x.shape, indices))


def _index_put(c: Context, x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Var:
    x = c.real(x)
    order = _order(c, x.shape, indices)
    values = c.real(values).broadcast(order.shape)
    if not accumulate:
        if np.unique(order).size != order.size:
            raise NoRule  # which of two writes to one place comes last is not said
        return overlay(x, values, order)
    index = None if len(indices) != 1 or not isinstance(indices[0], Var) else indices[0]
    if index is not None and index.value.dtype.kind == "i" and (index.value >= 0).all():
        found = scatter_add(values, c.index(index), 0, x.shape[0])
    else:
        found = scatter_add(values, c.builder.leaf("constant", order), 0, x.value.size).reshape(x.shape)
    return found if _zeros(c, x) else x + found


def _zeros(c: Context, x: Var) -> bool:
    return c.builder.nodes[x.ref.node].op == "constant" and not x.value.any()


def along(shape: tuple[int, ...], dim: int, index: Array) -> Array:
    """Return the positions in a flat array that indices along an axis mean.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    dim : int
    index : ndarray of int64
        Of as many axes.

    Returns
    -------
    ndarray of int64
        Shape of ``index``.

    Examples
    --------
    >>> along((2, 3), 1, np.array([[2], [0]])).tolist()
    [[2], [3]]
    """
    if not shape:
        return np.zeros(index.shape, dtype=np.int64)
    grid: list[Array] = list(np.indices(index.shape))
    grid[dim % len(shape)] = index
    return np.asarray(np.ravel_multi_index(grid, shape), dtype=np.int64)


def _along(c: Context, shape: tuple[int, ...], dim: int, index: Any) -> Array:
    return along(shape, dim, c.fixed(index))


def _gather(c: Context, x: Any, dim: int, index: Any, sparse_grad: bool = False) -> Var:
    x = c.real(x)
    return take(x, _along(c, x.shape, dim, index))


def _scatter(c: Context, x: Any, dim: int, index: Any, source: Any) -> Var:
    x = c.real(x)
    order = _along(c, x.shape, dim, index)
    source = c.real(source)
    if np.unique(order).size != order.size:
        raise NoRule
    if source.shape and source.shape != order.shape:
        source = c.builder.apply("slice", source, slices=tuple((0, n, 1) for n in order.shape))
    return overlay(x, source.broadcast(order.shape), order)


def _scatter_add(c: Context, x: Any, dim: int, index: Any, source: Any) -> Var:
    x, source = c.real(x), c.real(source)
    order = _along(c, x.shape, dim, index)
    if source.shape != order.shape:
        source = c.builder.apply("slice", source, slices=tuple((0, n, 1) for n in order.shape))
    found = scatter_add(source, c.builder.leaf("constant", order), 0, x.value.size).reshape(x.shape)
    return found if _zeros(c, x) else x + found


def _slice_scatter(
    c: Context, x: Any, source: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Var:
    x = c.real(x)
    cut = [slice(None)] * len(x.shape)
    cut[dim] = slice(start, end, step)
    return overlay(x, c.real(source), np.arange(x.value.size).reshape(x.shape)[tuple(cut)])


def _select_scatter(c: Context, x: Any, source: Any, dim: int, index: int) -> Var:
    x = c.real(x)
    return overlay(x, c.real(source), np.arange(x.value.size).reshape(x.shape).take(index, dim))


def _diagonal_scatter(c: Context, x: Any, source: Any, offset: int = 0, one: int = 0, other: int = 1) -> Var:
    x = c.real(x)
    return overlay(x, c.real(source), np.arange(x.value.size).reshape(x.shape).diagonal(offset, one, other))


def _masked(c: Context, x: Var, mask: Any) -> Array:
    # where a mask is true, in the order of the elements
    return np.flatnonzero(np.broadcast_to(c.fixed(mask), x.shape))


def _masked_select(c: Context, x: Any, mask: Any) -> Var:
    x = c.real(x)
    if x.shape != np.broadcast_shapes(x.shape, mask.shape):
        x = x.broadcast(np.broadcast_shapes(x.shape, mask.shape))
    return take(x, _masked(c, x, mask))


def _masked_scatter(c: Context, x: Any, mask: Any, source: Any) -> Var:
    x, source = c.real(x), c.real(source)
    if x.shape != np.broadcast_shapes(x.shape, mask.shape):
        x = x.broadcast(np.broadcast_shapes(x.shape, mask.shape))
    order = _masked(c, x, mask)
    return overlay(x, take(source, np.arange(order.size)), order) if order.size else x


def _masked_scatter_backward(c: Context, g: Any, mask: Any, sizes: Sequence[int]) -> Var:
    # of the source: its first elements were written, in their order
    g = c.real(g)
    order = _masked(c, g, mask)
    size = int(np.prod(sizes))
    return c.builder.apply("embed", take(g, order), slices=((0, order.size, 1),), shape=(size,)).reshape(tuple(sizes))


def _put(c: Context, x: Any, index: Any, source: Any, accumulate: bool = False) -> Var:
    x, source, order = c.real(x), c.real(source), c.fixed(index)
    order = np.where(order < 0, order + x.value.size, order)
    source = source.reshape(order.shape)
    if accumulate:
        found = scatter_add(source, c.builder.leaf("constant", order), 0, x.value.size).reshape(x.shape)
        return found if _zeros(c, x) else x + found
    if np.unique(order).size != order.size:
        raise NoRule
    return overlay(x, source, order)


def _replication_backward(c: Context, g: Any, x: Any, padding: Sequence[int]) -> Var:
    # what lies beyond the rim is a copy of the rim
    g, x = c.real(g), c.real(x)
    n = len(padding) // 2
    axes = [np.clip(np.arange(g.shape[i - n]) - padding[-2 * i - 2], 0, x.shape[i - n] - 1) for i in range(n)]
    places = np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), x.shape[-n:]).ravel()
    lead, size = x.shape[:-n], int(np.prod(x.shape[-n:]))
    values = g.reshape((*lead, places.size))
    return scatter_add(values, c.builder.leaf("constant", places), len(lead), size).reshape(x.shape)


def _pad(c: Context, x: Any, pad: Sequence[int], value: Any = 0) -> Var:
    x = c.real(x)
    sides = [(0, 0)] * (len(x.shape) - len(pad) // 2) + list(zip(pad[::2], pad[1::2]))[::-1]
    cut = tuple((max(0, -low), n - max(0, -high), 1) for (low, high), n in zip(sides, x.shape))
    if any(one != (0, n, 1) for one, n in zip(cut, x.shape)):
        x = c.builder.apply("slice", x, slices=cut)
    inside = tuple((max(0, low), max(0, low) + n, 1) for (low, _), n in zip(sides, x.shape))
    found = c.builder.apply("embed", x, slices=inside, shape=c.shape)
    if not value:
        return found
    within = np.zeros(c.shape, np.bool_)
    within[tuple(slice(*one) for one in inside)] = True
    filled = c.real(value).broadcast(c.shape)
    return c.builder.apply("select", c.builder.leaf("constant", within), found, filled)


def _triangle(rule: Callable[..., Array]) -> Callable[..., Var]:
    def triangle(c: Context, x: Any, diagonal: int = 0) -> Var:
        x = c.real(x)
        keep = rule(np.ones(x.shape, dtype=np.bool_), diagonal)
        return c.builder.apply("mask", x, c.builder.leaf("constant", keep))

    return triangle


def _flip(c: Context, x: Any, dims: Sequence[int]) -> Var:
    x = c.real(x)
    return take(x, np.flip(np.arange(x.value.size).reshape(x.shape), tuple(dims)))


def _repeat(c: Context, x: Any, times: Sequence[int]) -> Var:
    x = c.real(x)
    return take(x, np.tile(np.arange(x.value.size).reshape(x.shape), tuple(times)))


RULES: dict[str, Callable[..., Any]] = {
    "mm": _matmul,
    "bmm": _matmul,
    "mv": _matmul,
    "dot": _matmul,
    "matmul": _matmul,
    "addmm": _added_product,
    "baddbmm": _added_product,
    "cat": _cat,
    "stack": _stack,
    "embedding": _embedding,
    "index_select": _index_select,
    "index": _index,
    "_unsafe_index": _index,
    "index_put": _index_put,
    "_unsafe_index_put": _index_put,
    "gather": _gather,
    "scatter": _scatter,
    "scatter_add": _scatter_add,
    "slice_scatter": _slice_scatter,
    "select_scatter": _select_scatter,
    "diagonal_scatter": _diagonal_scatter,
    "masked_select": _masked_select,
    "masked_scatter": _masked_scatter,
    "masked_scatter_backward": _masked_scatter_backward,
    "put": _put,
    **{f"replication_pad{n}d_backward": _replication_backward for n in (1, 2, 3)},
    "constant_pad_nd": _pad,
    "tril": _triangle(np.tril),
    "triu": _triangle(np.triu),
    "flip": _flip,
    "repeat": _repeat,
}
"""By name without overload."""
