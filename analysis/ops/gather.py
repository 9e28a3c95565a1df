"""Elements fetched by index, and their adjoint: contributions to one element are gathered side by side and summed.

Embeddings, the patches of a convolution and pooling are gathers. Their derivative adds up what came of each element;
recorded as a gather and a "sum", the additions are a node like any other sum, and take its accumulator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Arithmetic, Array
from ..ops.builder import Var
from ..ops.spec import Attributes, Kind, OpSpec, register

__all__ = ["scatter_add"]


def _gather(ar: Arithmetic, x: Sequence[Array], attributes: Attributes) -> Array:
    axis, index = attributes["axis"], x[1]
    found = np.take(x[0], np.maximum(index, 0), axis=axis)
    inside = (index >= 0).reshape(index.shape + (1,) * (x[0].ndim - axis - 1))
    return found if inside.all() else np.where(inside, found, ar.zero)


def _tables(index: Array, size: int) -> tuple[Array, Array | None]:
    # The users of each element that has any, in order and aligned to the right (-1: none), and the row of each element
    # in that table; None if every element has a row. Zeros to the left of a sum change none of its roundings.
    flat = index.ravel()
    users = np.argsort(flat, kind="stable")
    users = users[flat[users] >= 0]
    used, first, counts = np.unique(flat[users], return_index=True, return_counts=True)
    width = int(counts.max(initial=1))
    table = np.full((max(len(used), 1), width), -1, dtype=np.int64)  # a gather needs a row to point away from
    for row, (start, count) in enumerate(zip(first.tolist(), counts.tolist())):
        table[row, width - count :] = users[start : start + count]
    if len(used) == size:
        return table, None
    rows = np.full(size, -1, dtype=np.int64)
    rows[used] = np.arange(len(used))
    return table, rows


def scatter_add(values: Var, index: Var, axis: int, size: int) -> Var:
    """Record the sum, for each of ``size`` places, of the values whose index is that place.

    Parameters
    ----------
    values : Var
        Shape (*lead, *index.shape, *trail) with ``len(lead) == axis``.
    index : Var
        Integers, a leaf of the tape; negative ones go nowhere.
    axis : int
    size : int

    Returns
    -------
    Var
        Shape (*lead, size, *trail). Sums run in the order of the index, from the first to the last.

    Raises
    ------
    UnsupportedError
        If the index was computed: another replay might compute another, whose sums have other lengths.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> values, index = b.leaf("input", np.array([1.0, 2.0, 4.0])), b.leaf("target", np.array([2, 0, 2]))
    >>> scatter_add(values, index, 0, 4).value.tolist()
    [2.0, 0.0, 5.0, 0.0]
    """
    builder = values.builder
    if not builder.nodes[index.ref.node].leaf:
        raise UnsupportedError("scatter_add: the index is computed on the tape; accepted: a leaf")
    lead, trail = values.shape[:axis], values.shape[axis + len(index.shape) :]
    table, rows = _tables(index.value, size)
    flat = values.reshape((*lead, index.value.size, *trail))
    found = builder.apply("gather", flat, builder.leaf("constant", table), axis=axis)
    if table.shape[1] == 1:
        found = found.reshape((*lead, len(table), *trail))
    else:
        found = found.sum(axis + 1)
    return found if rows is None else builder.apply("gather", found, builder.leaf("constant", rows), axis=axis)


def _gather_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    axis = attributes["axis"]
    return scatter_add(g, x[1], axis, x[0].shape[axis])


register(OpSpec("gather", 2, Kind.MOVE, _gather, (_gather_vjp, None)))
