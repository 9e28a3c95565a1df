"""Rules for convolutions and pooling: windows are gathered, then multiplied, averaged or chosen from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arithmetics.base import Array
from ..ops import Var, scatter_add
from .context import Context, NoRule

__all__ = ["RULES", "adaptive", "each", "flat_places"]


def each(given: Any, count: int) -> list[int]:
    """Return a number for each axis, where one may be given for all.

    Parameters
    ----------
    given : int or sequence of int
    count : int
    """
    numbers = [given] if isinstance(given, int) else list(given)
    return numbers * count if len(numbers) == 1 else numbers


def flat_places(axes: Sequence[Array], space: Sequence[int]) -> Array:
    """Return where elements of windows lie in an image with its axes flattened.

    Parameters
    ----------
    axes : sequence of ndarray of int64
        For each axis (windows, elements): positions along it; outside of the image there is nothing.
    space : sequence of int
        The image's extents.

    Returns
    -------
    ndarray of int64
        (windows of all axes, elements of all axes); -1 outside.

    Examples
    --------
    >>> flat_places([np.array([[0], [1]]), np.array([[-1, 0], [1, 2]])], (2, 3)).tolist()
    [[-1, 0], [1, 2], [-1, 3], [4, 5]]
    """
    flat, inside = np.zeros((), np.int64), np.ones((), np.bool_)
    for i, (at, extent) in enumerate(zip(axes, space, strict=True)):
        shape = [1] * (2 * len(axes))
        shape[i], shape[len(axes) + i] = at.shape
        flat, inside = flat * extent + at.reshape(shape), inside & ((at >= 0) & (at < extent)).reshape(shape)
    counts = [math.prod(at.shape[k] for at in axes) for k in (0, 1)]
    return np.where(inside, flat, -1).reshape(counts)


def _windows(
    space: Sequence[int], size: Sequence[int], stride: Any, padding: Any, dilation: Any, ceil: bool = False
) -> tuple[list[Array], tuple[int, ...]]:
    # for each axis the positions of its windows' elements, and how many windows there are
    n = len(space)
    steps, pads, gaps = each(stride, n) or list(size), each(padding, n), each(dilation, n)
    axes = []
    for i in range(n):
        room = space[i] + 2 * pads[i] - gaps[i] * (size[i] - 1) - 1
        count = room // steps[i] + 1
        if ceil and room % steps[i] and count * steps[i] < space[i] + pads[i]:  # one more, which begins inside
            count += 1
        axes.append((np.arange(count) * steps[i] - pads[i])[:, None] + (np.arange(size[i]) * gaps[i])[None, :])
    return axes, tuple(len(at) for at in axes)


class _Convolution:
    """A convolution as one product of matrices for each group."""

    def __init__(
        self, c: Context, shape: tuple[int, ...], weight: Var, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> None:
        self.shape, self.weight, self.groups = shape, weight, groups
        self.batch, self.channels, *space = shape
        self.filters, self.size = weight.shape[0], weight.shape[2:]
        self.space, self.builder = tuple(space), c.builder
        axes, self.counts = _windows(space, self.size, stride, padding, dilation)
        self.index, self.many = c.builder.leaf("constant", flat_places(axes, space)), math.prod(self.counts)
        self.depth = self.channels // groups * math.prod(self.size)

    def columns(self, x: Var) -> Var:
        """(groups, batch * windows, channels * elements)."""
        flat = x.reshape((self.batch, self.channels, math.prod(self.space)))
        found = self.builder.apply("gather", flat, self.index, axis=2)
        parts = found.reshape((self.batch, self.groups, self.channels // self.groups, self.many, math.prod(self.size)))
        return parts.transpose((1, 0, 3, 2, 4)).reshape((self.groups, self.batch * self.many, self.depth))

    def kernels(self) -> Var:
        """(groups, filters, channels * elements)."""
        return self.weight.reshape((self.groups, self.filters // self.groups, self.depth))

    def forward(self, x: Var) -> Var:
        """(batch, filters, *windows)."""
        product = self.columns(x) @ self.kernels().T
        parts = product.reshape((self.groups, self.batch, self.many, self.filters // self.groups))
        return parts.transpose((1, 0, 3, 2)).reshape((self.batch, self.filters, *self.counts))

    def gradient(self, g: Var) -> Var:
        """The result's gradient, laid out as the product: (groups, batch * windows, filters)."""
        parts = g.reshape((self.batch, self.groups, self.filters // self.groups, self.many))
        return parts.transpose((1, 0, 3, 2)).reshape((self.groups, self.batch * self.many, self.filters // self.groups))

    def input_gradient(self, g: Var) -> Var:
        """Of the images."""
        columns = self.gradient(g) @ self.kernels()
        inner = (self.groups, self.batch, self.many, self.channels // self.groups, math.prod(self.size))
        parts = columns.reshape(inner).transpose((1, 0, 3, 2, 4))
        values = parts.reshape((self.batch, self.channels, self.many, math.prod(self.size)))
        return scatter_add(values, self.index, 2, math.prod(self.space)).reshape(self.shape)

    def weight_gradient(self, g: Var, x: Var) -> Var:
        """Of the kernels."""
        return (self.gradient(g).T @ self.columns(x)).reshape(self.weight.shape)


def _convolution(
    c: Context,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Var:
    x = c.real(x)
    # transposed, it is what takes the gradient of a convolution's result to that of its images
    work = _Convolution(c, c.shape if transposed else x.shape, c.real(weight), stride, padding, dilation, groups)
    found = work.input_gradient(x) if transposed else work.forward(x)
    return found if bias is None else found + c.real(bias).reshape((-1,) + (1,) * len(work.size))


def _convolution_backward(
    c: Context,
    g: Any,
    x: Any,
    weight: Any,
    bias_sizes: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    wanted: Sequence[bool],
) -> list[Var]:
    g, x = c.real(g), c.real(x)
    work = _Convolution(c, (g if transposed else x).shape, c.real(weight), stride, padding, dilation, groups)
    found = []
    if wanted[0]:
        found.append(work.forward(g) if transposed else work.input_gradient(g))
    if wanted[1]:
        found.append(work.weight_gradient(x, g) if transposed else work.weight_gradient(g, x))
    if wanted[2]:
        total = g
        for axis in (*range(len(g.shape) - 1, 1, -1), 0):
            total = total.sum(axis)
        found.append(total)
    return found


class _Pool:
    """Windows of the last axes of images, which are pooled."""

    def __init__(self, c: Context, x: Var, axes: Sequence[Array], counts: tuple[int, ...]) -> None:
        n = len(counts)
        self.builder, self.x = c.builder, x
        self.index = flat_places(axes, x.shape[-n:])
        self.leaf = c.builder.leaf("constant", self.index)
        self.lead, self.counts, self.size = x.shape[:-n], counts, math.prod(x.shape[-n:])

    def elements(self) -> Var:
        """(..., windows, elements); 0 outside of the image."""
        return self.builder.apply("gather", self.x.reshape((*self.lead, self.size)), self.leaf, axis=len(self.lead))

    def back(self, spread: Var) -> Var:
        """Add what belongs to one element of the image."""
        return scatter_add(spread, self.leaf, len(self.lead), self.size).reshape(self.x.shape)


def _fixed(c: Context, x: Var, size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, n: int) -> _Pool:
    return _Pool(c, x, *_windows(x.shape[-n:], each(size, n), stride or size, padding, dilation, ceil))


def adaptive(space: Sequence[int], counts: Sequence[int]) -> list[Array]:
    """Return the positions of windows that cover each axis, as nearly alike as can be.

    Parameters
    ----------
    space, counts : sequence of int
        Extents, and windows along each axis.

    Returns
    -------
    list of ndarray of int64
        For each axis (windows, elements), -1 where a window is shorter than another.

    Examples
    --------
    >>> [at.tolist() for at in adaptive([5], [2])]
    [[[0, 1, 2], [2, 3, 4]]]
    """
    axes = []
    for extent, count in zip(space, counts, strict=True):
        first = np.arange(count) * extent // count
        last = -(-(np.arange(count) + 1) * extent // count)
        at = first[:, None] + np.arange((last - first).max(initial=0))[None, :]
        axes.append(np.where(at < last[:, None], at, -1))
    return axes


def _largest(c: Context, pool: _Pool) -> tuple[Var, None]:
    axis, found = len(pool.lead), pool.elements()
    if (pool.index < 0).any():  # what lies outside is never the largest
        outside = c.builder.leaf("constant", np.broadcast_to(pool.index < 0, found.shape))
        found = c.builder.apply("select", outside, c.builder.constant(-math.inf).broadcast(found.shape), found)
    best = c.builder.apply("argmax", found, axis=axis + 1)
    assert c.call is not None
    c.notes[c.call.results[1].storage] = (best, pool)
    return c.builder.apply("pick", found, best, axis=axis + 1).reshape((*pool.lead, *pool.counts)), None


def _max_pool(n: int) -> Callable[..., tuple[Var, None]]:
    def rule(
        c: Context, x: Any, size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil: Any = False
    ) -> tuple[Var, None]:
        return _largest(c, _fixed(c, c.real(x), size, stride, padding, dilation, ceil, n))

    return rule


def _adaptive_max_pool(n: int) -> Callable[..., tuple[Var, None]]:
    def rule(c: Context, x: Any, counts: Any) -> tuple[Var, None]:
        x, counts = c.real(x), each(counts, n)
        return _largest(c, _Pool(c, x, adaptive(x.shape[-n:], counts), tuple(counts)))

    return rule


def _max_pool_backward(c: Context, g: Any, x: Any, *_: Any) -> Var:
    assert c.call is not None
    note = next((c.notes[ref.storage] for ref in c.call.operands if ref.storage in c.notes), None)
    if note is None:
        raise NoRule
    best, pool = note
    g, axis = c.real(g).reshape(best.shape), len(best.shape)
    found: Var = pool.back(c.builder.apply("place", g, best, axis=axis, size=pool.index.shape[1]))
    return found


def _weight(c: Context, pool: _Pool, n: int, given: tuple[Any, ...], divisor: Any, include: bool) -> Var:
    # what a window is divided by
    if divisor is not None:
        return c.builder.constant(float(divisor))
    number = (pool.index >= 0).sum(1)
    if include:  # what is padded counts, but nothing beyond
        space = pool.x.shape[-n:]
        size, stride, padding = (each(one, n) for one in given)
        wide = [extent + 2 * pad for extent, pad in zip(space, padding)]
        axes = [
            (np.arange(count) * step)[:, None] + np.arange(length)[None, :]
            for count, step, length in zip(pool.counts, stride or size, size)
        ]
        number = (flat_places(axes, wide) >= 0).sum(1)
    if (number == number[:1]).all():
        return c.builder.constant(float(number[0]))
    return c.builder.leaf("constant", number.astype(np.float64))


def _average_pool(n: int) -> Callable[..., Var]:
    def rule(
        c: Context,
        x: Any,
        size: Any,
        stride: Any = (),
        padding: Any = 0,
        ceil: Any = False,
        include: bool = True,
        divisor: Any = None,
    ) -> Var:
        pool = _fixed(c, c.real(x), size, stride, padding, 1, ceil, n)
        weight = _weight(c, pool, n, (size, stride, padding), divisor, include)
        found: Var = pool.elements().sum(len(pool.lead) + 1) / weight
        return found.reshape((*pool.lead, *pool.counts))

    return rule


def _averages_back(pool: _Pool, g: Var, weight: Var) -> Var:
    shape = (*pool.lead, len(pool.index))
    share = (g.reshape(shape) / weight).reshape((*shape, 1))
    return pool.back(share.broadcast((*shape, pool.index.shape[1])))


def _average_pool_backward(n: int) -> Callable[..., Var]:
    def rule(
        c: Context, g: Any, x: Any, size: Any, stride: Any, padding: Any, ceil: Any, include: bool, divisor: Any
    ) -> Var:
        pool = _fixed(c, c.real(x), size, stride, padding, 1, ceil, n)
        return _averages_back(pool, c.real(g), _weight(c, pool, n, (size, stride, padding), divisor, include))

    return rule


def _adaptive_average_backward(n: int) -> Callable[..., Var]:
    def rule(c: Context, g: Any, x: Any) -> Var:
        x, g = c.real(x), c.real(g)
        pool = _Pool(c, x, adaptive(x.shape[-n:], g.shape[-n:]), g.shape[-n:])
        return _averages_back(pool, g, _weight(c, pool, n, (), None, False))

    return rule


RULES: dict[str, Callable[..., Any]] = {
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
}
for _n in (2, 3):
    RULES |= {
        f"max_pool{_n}d_with_indices": _max_pool(_n),
        f"max_pool{_n}d_with_indices_backward": _max_pool_backward,
        f"adaptive_max_pool{_n}d": _adaptive_max_pool(_n),
        f"adaptive_max_pool{_n}d_backward": _max_pool_backward,
        f"avg_pool{_n}d": _average_pool(_n),
        f"avg_pool{_n}d_backward": _average_pool_backward(_n),
        f"_adaptive_avg_pool{_n}d_backward": _adaptive_average_backward(_n),
    }
"""By name without overload."""
