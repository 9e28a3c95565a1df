"""Storages of a recorded run as values of a tape: what a view shows, and what a write changes, by index arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..arithmetics.base import Array
from ..ops import Builder, Var
from .calls import Ref
from .context import NoRule, rests_on_reals

__all__ = ["Leaf", "Memory", "overlay", "places", "take"]

Key = tuple[tuple[int, ...], tuple[int, ...], int]


@dataclass(frozen=True)
class Leaf:
    """Data that becomes a leaf of the tape when it is first used.

    Attributes
    ----------
    data : ndarray
    role, path, direction : str
        Of the leaf.
    """

    data: Array
    role: str = "constant"
    path: str = ""
    direction: str = "forward"


@dataclass
class _State:
    base: Var | Leaf
    ref: Ref
    known: dict[Key, Var]


def places(ref: Ref) -> Array:
    """Return where in its storage each element of a tensor lies.

    Parameters
    ----------
    ref : Ref

    Returns
    -------
    ndarray of int64
        Shape of the tensor.
    """
    index = np.full(ref.shape, ref.offset, dtype=np.int64)
    for axis, (extent, stride) in enumerate(zip(ref.shape, ref.strides)):
        shape = [1] * len(ref.shape)
        shape[axis] = extent
        index += (np.arange(extent) * stride).reshape(shape)
    return index


def take(x: Var, order: Array) -> Var:
    """Record the elements of a value that ``order`` names, by the plainest operations that do it.

    Parameters
    ----------
    x : Var
    order : ndarray of int64
        Positions in the flat value.

    Returns
    -------
    Var
        Shape of ``order``.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> x = b.leaf("input", np.arange(6.0).reshape(2, 3))
    >>> take(x, np.array([[0, 3], [1, 4], [2, 5]])).value.tolist(), b.nodes[-1].op
    ([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], 'transpose')
    """
    if not order.size:
        return x.builder.leaf("constant", np.zeros(order.shape, x.value.dtype))
    repeated = [axis for axis, n in enumerate(order.shape) if n > 1 and (order == order.take([0], axis)).all()]
    if repeated:  # an expanded axis: take it once, then repeat it
        return take(x, _first(order, repeated)).broadcast(order.shape)
    if order.size == x.value.size and (order.ravel() == np.arange(order.size)).all():
        return x.reshape(order.shape)
    found = _rectangle(x, order)
    if found is not None:
        return found
    axes = tuple(int(axis) for axis in np.argsort([_stride(order, axis) for axis in range(order.ndim)])[::-1])
    if order.size == x.value.size and (order.transpose(axes).ravel() == np.arange(order.size)).all():
        turned = x.reshape(order.transpose(axes).shape)
        return turned.transpose(tuple(axes.index(axis) for axis in range(order.ndim)))
    builder = x.builder
    return builder.apply("gather", x.reshape((x.value.size,)), builder.leaf("constant", order), axis=0)


def _first(order: Array, axes: Sequence[int]) -> Array:
    return order[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(order.ndim))]


def _stride(order: Array, axis: int) -> int:
    line = order[tuple(slice(None) if one == axis else 0 for one in range(order.ndim))]
    return abs(int(line[-1]) - int(line[0]))


def _rectangle(x: Var, order: Array) -> Var | None:
    # a slice of every axis of x, perhaps with axes exchanged and lengths of one put in or left out
    if not order.size or not x.shape or order.size > x.value.size:
        return None
    coordinates = np.unravel_index(order, x.shape)
    slices, driver = [], []
    for own in coordinates:
        moving = [axis for axis in range(order.ndim) if order.shape[axis] > 1 and (own != own.take([0], axis)).any()]
        if len(moving) > 1:
            return None
        first = int(own.flat[0])
        if not moving:
            slices.append((first, first + 1, 1))
            continue
        line = own[tuple(slice(None) if axis == moving[0] else 0 for axis in range(order.ndim))]
        step = int(line[1] - line[0])
        if step < 1:
            return None
        slices.append((first, int(line[-1]) + 1, step))
        driver.append(moving[0])
    cut = tuple(slice(*one) for one in slices)
    positions = np.arange(x.value.size).reshape(x.shape)[cut]
    if positions.size != order.size or len(set(driver)) != len(driver):
        return None
    kept = tuple(n for n in positions.shape if n > 1)
    axes = tuple(int(axis) for axis in np.argsort(driver))
    if len(kept) != len(driver) or not (positions.reshape(kept).transpose(axes).reshape(order.shape) == order).all():
        return None
    if any(one != (0, n, 1) for one, n in zip(slices, x.shape)):
        x = x.builder.apply("slice", x, slices=tuple(slices))
    x = x.reshape(kept)
    return (x if axes == tuple(range(len(axes))) else x.transpose(axes)).reshape(order.shape)


def overlay(below: Var, above: Var, order: Array) -> Var:
    """Record a value with some of its elements replaced.

    Parameters
    ----------
    below, above : Var
    order : ndarray of int64
        Positions in the flat ``below`` that the elements of ``above`` take.

    Returns
    -------
    Var
        Shape of ``below``.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> overlay(b.leaf("input", np.zeros(3)), b.leaf("input", np.ones(1)), np.array([1])).value.tolist()
    [0.0, 1.0, 0.0]
    """
    builder, size = below.builder, below.value.size
    index = np.arange(size)
    index[order.ravel()] = size + np.arange(order.size)
    both = builder.apply("concat", below.reshape((size,)), above.reshape((order.size,)), axis=0)
    return builder.apply("gather", both, builder.leaf("constant", index.reshape(below.shape)), axis=0)


def _key(ref: Ref) -> Key:
    strides = tuple(0 if extent <= 1 else stride for extent, stride in zip(ref.shape, ref.strides))
    return ref.shape, strides, ref.offset


class Memory:
    """The current value of every storage, and the views of it that have been used.

    Parameters
    ----------
    builder : Builder
    """

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self._states: dict[int, _State] = {}

    def define(self, ref: Ref, value: Var | Leaf) -> None:
        """Say what a new storage holds.

        Parameters
        ----------
        ref : Ref
            A tensor that reaches every element that will be used.
        value : Var or Leaf
            Of its shape.
        """
        known = {_key(ref): value} if isinstance(value, Var) else {}
        self._states[ref.storage] = _State(value, ref, known)

    def computed(self, ref: Ref) -> bool:
        """Whether a tensor rests on real numbers, so that another arithmetic may give others.

        Parameters
        ----------
        ref : Ref
        """
        base = self._states[ref.storage].base
        return base.data.dtype.kind == "f" if isinstance(base, Leaf) else rests_on_reals(base)

    def read(self, ref: Ref) -> Var:
        """Return the value of a tensor now.

        Parameters
        ----------
        ref : Ref

        Returns
        -------
        Var

        Raises
        ------
        NoRule
            If bits of other numbers are looked at as such, with signs turned, or outside of what is known.
        """
        state = self._states[ref.storage]
        if not _alike(state.ref, ref):
            raise NoRule
        if isinstance(state.base, Leaf):
            leaf = state.base
            with self.builder.at(leaf.path or None, direction=leaf.direction):
                state.base = self.builder.leaf(leaf.role, leaf.data)
            state.known[_key(state.ref)] = state.base
        key = _key(ref)
        if key not in state.known:
            state.known[key] = take(state.base, _within(state.ref, ref))
        return state.known[key]

    def view(self, ref: Ref, source: Ref) -> None:
        """Say that a tensor is a view of another, to record it where it was made and by the shortest way.

        Parameters
        ----------
        ref, source : Ref
        """
        state = self._states[ref.storage]
        if isinstance(state.base, Leaf) or not _alike(state.ref, ref) or _key(ref) in state.known:
            return
        inside = places(source)
        if inside.size == np.unique(inside).size and np.isin(places(ref), inside).all():
            state.known[_key(ref)] = take(self.read(source), _within(source, ref))

    def write(self, ref: Ref, value: Var) -> None:
        """Say what was written to a tensor; other views of the storage see it.

        Parameters
        ----------
        ref : Ref
        value : Var
            Of its shape.
        """
        state = self._states[ref.storage]
        inside, written = places(state.ref), places(ref)
        if (
            _alike(state.ref, ref)
            and inside.size == written.size
            and np.array_equal(np.sort(inside, None), np.sort(written, None))
        ):
            if isinstance(state.base, Var):
                value = self._shared(value, state.base)
            self._states[ref.storage] = _State(value, ref, {_key(ref): value})
            return
        if not _alike(state.ref, ref):  # what these bits are as other numbers is not known any more
            self._states[ref.storage] = _State(value, ref, {_key(ref): value})
            return
        self.read(state.ref)
        assert isinstance(state.base, Var)
        base = self._shared(overlay(state.base, value, _within(state.ref, ref)), state.base)
        self._states[ref.storage] = _State(base, state.ref, {_key(state.ref): base, _key(ref): value})

    def _shared(self, value: Var, before: Var) -> Var:
        # the new value lies where the old one was
        node, old = self.builder.nodes[value.ref.node], self.builder.nodes[before.ref.node]
        if not node.leaf:
            output = replace(node.outputs[0], storage=old.outputs[0].storage)
            self.builder.nodes[node.id] = replace(node, outputs=(output,))
        return value


def _alike(known: Ref, ref: Ref) -> bool:
    # a complex number's place counts differently from that of its parts
    return known.dtype == ref.dtype and not (ref.conjugate or ref.negative)


def _within(outer: Ref, inner: Ref) -> Array:
    # positions of inner's elements in the flat value of outer
    inside, wanted = places(outer).ravel(), places(inner)
    order = np.argsort(inside, kind="stable")
    if not wanted.size:
        return wanted
    found = np.minimum(np.searchsorted(inside, wanted.ravel(), sorter=order), len(order) - 1)
    if not len(order) or (inside[order[found]] != wanted.ravel()).any():
        raise NoRule
    return np.asarray(order[found], dtype=np.int64).reshape(wanted.shape)
