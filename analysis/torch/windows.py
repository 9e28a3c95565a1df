"""Rules for convolutions and pooling: windows are gathered, then multiplied, averaged or chosen from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arithmetics.base import Array
from ..ops import Var, scatter_add
from .context import Context, NoRule

__all__ = ["RULES"]


def _each(given: Any, count: int) -> list[int]:
    numbers = [given] if isinstance(given, int) else list(given)
    return numbers * count if len(numbers) == 1 else numbers


def _windows(
    space: Sequence[int], size: Sequence[int], stride: Any, padding: Any, dilation: Any
) -> tuple[Array, tuple[int, ...]]:
    # for each window the flat positions of its elements, -1 outside: (windows, elements), and windows along each axis
    n = len(space)
    steps, pads, gaps = _each(stride, n) or list(size), _each(padding, n), _each(dilation, n)
    counts = [(space[i] + 2 * pads[i] - gaps[i] * (size[i] - 1) - 1) // steps[i] + 1 for i in range(n)]
    flat = np.zeros((*counts, *size), dtype=np.int64)
    inside = np.ones(flat.shape, dtype=np.bool_)
    for i in range(n):
        at = (np.arange(counts[i]) * steps[i] - pads[i])[:, None] + (np.arange(size[i]) * gaps[i])[None, :]
        shape = [1] * (2 * n)
        shape[i], shape[n + i] = at.shape
        at = at.reshape(shape)
        flat = flat * space[i] + at
        inside &= (at >= 0) & (at < space[i])
    return np.where(inside, flat, -1).reshape(math.prod(counts), math.prod(size)), tuple(counts)


class _Convolution:
    """A convolution as one product of matrices for each group."""

    def __init__(
        self, c: Context, x: Var, weight: Var, stride: Any, padding: Any, dilation: Any, turned: bool, groups: int
    ) -> None:
        if turned:
            raise NoRule
        self.x, self.weight, self.groups = x, weight, groups
        self.batch, self.channels, *space = x.shape
        self.filters, self.size = weight.shape[0], weight.shape[2:]
        self.space, self.builder = tuple(space), c.builder
        index, self.counts = _windows(space, self.size, stride, padding, dilation)
        self.index, self.many = c.builder.leaf("constant", index), len(index)
        self.depth = self.channels // groups * math.prod(self.size)

    def columns(self) -> Var:
        """(groups, batch * windows, channels * elements)."""
        flat = self.x.reshape((self.batch, self.channels, math.prod(self.space)))
        found = self.builder.apply("gather", flat, self.index, axis=2)
        parts = found.reshape((self.batch, self.groups, self.channels // self.groups, self.many, math.prod(self.size)))
        return parts.transpose((1, 0, 3, 2, 4)).reshape((self.groups, self.batch * self.many, self.depth))

    def kernels(self) -> Var:
        """(groups, filters, channels * elements)."""
        return self.weight.reshape((self.groups, self.filters // self.groups, self.depth))

    def forward(self) -> Var:
        """(batch, filters, *windows)."""
        product = self.columns() @ self.kernels().T
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
        return scatter_add(values, self.index, 2, math.prod(self.space)).reshape(self.x.shape)

    def weight_gradient(self, g: Var) -> Var:
        """Of the kernels."""
        return (self.gradient(g).T @ self.columns()).reshape(self.weight.shape)


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
    work = _Convolution(c, c.real(x), c.real(weight), stride, padding, dilation, transposed, groups)
    found = work.forward()
    return found if bias is None else found + c.real(bias).reshape((work.filters,) + (1,) * len(work.size))


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
    g = c.real(g)
    work = _Convolution(c, c.real(x), c.real(weight), stride, padding, dilation, transposed, groups)
    found = []
    if wanted[0]:
        found.append(work.input_gradient(g))
    if wanted[1]:
        found.append(work.weight_gradient(g))
    if wanted[2]:
        total = g
        for axis in (*range(len(g.shape) - 1, 1, -1), 0):
            total = total.sum(axis)
        found.append(total)
    return found


def _pool_windows(c: Context, x: Var, size: Any, stride: Any, padding: Any, dilation: Any, ceil: Any) -> Any:
    space = x.shape[-2:]
    if ceil:
        raise NoRule
    index, counts = _windows(space, _each(size, 2), stride or size, padding, dilation)
    flat = x.reshape((*x.shape[:-2], math.prod(space)))
    return flat, index, counts


def _max_pool(
    c: Context, x: Any, size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil: Any = False
) -> tuple[Var, None]:
    flat, index, counts = _pool_windows(c, c.real(x), size, stride, padding, dilation, ceil)
    axis, leaf = len(flat.shape) - 1, c.builder.leaf("constant", index)
    found = c.builder.apply("gather", flat, leaf, axis=axis)
    if (index < 0).any():  # what lies outside is never the largest
        outside = c.builder.leaf("constant", np.broadcast_to(index < 0, found.shape))
        found = c.builder.apply("select", outside, c.builder.constant(-math.inf).broadcast(found.shape), found)
    best = c.builder.apply("argmax", found, axis=axis + 1)
    assert c.call is not None
    c.notes[c.call.results[1].storage] = (best, leaf, index.shape[1])
    return c.builder.apply("pick", found, best, axis=axis + 1).reshape((*flat.shape[:-1], *counts)), None


def _max_pool_backward(c: Context, g: Any, x: Any, *_: Any) -> Var:
    assert c.call is not None
    note = next((c.notes[ref.storage] for ref in c.call.operands if ref.storage in c.notes), None)
    if note is None:
        raise NoRule
    best, leaf, elements = note
    axis = len(best.shape) - 1
    spread = c.builder.apply("place", c.real(g).reshape(best.shape), best, axis=axis + 1, size=elements)
    return scatter_add(spread, leaf, axis, math.prod(x.shape[-2:])).reshape(x.shape)


def _average(c: Context, index: Array, divisor: Any, include: bool, padded: bool) -> float:
    if divisor is not None:
        return float(divisor)
    if padded and (not include or (index < 0).any()):
        raise NoRule  # windows of unequal weight
    return float(index.shape[1])


def _average_pool(
    c: Context,
    x: Any,
    size: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil: Any = False,
    include: bool = True,
    divisor: Any = None,
) -> Var:
    flat, index, counts = _pool_windows(c, c.real(x), size, stride, padding, 1, ceil)
    axis = len(flat.shape) - 1
    found = c.builder.apply("gather", flat, c.builder.leaf("constant", index), axis=axis).sum(axis + 1)
    weight = c.builder.constant(_average(c, index, divisor, include, any(_each(padding, 2))))
    return (found / weight).reshape((*flat.shape[:-1], *counts))


def _average_pool_backward(
    c: Context, g: Any, x: Any, size: Any, stride: Any, padding: Any, ceil: Any, include: bool, divisor: Any
) -> Var:
    flat, index, _ = _pool_windows(c, c.real(x), size, stride, padding, 1, ceil)
    axis = len(flat.shape) - 1
    weight = c.builder.constant(_average(c, index, divisor, include, any(_each(padding, 2))))
    share = (c.real(g) / weight).reshape((*flat.shape[:-1], len(index), 1))
    spread = share.broadcast((*flat.shape[:-1], *index.shape))
    leaf = c.builder.leaf("constant", index)
    return scatter_add(spread, leaf, axis, flat.shape[-1]).reshape(x.shape)


RULES: dict[str, Callable[..., Any]] = {
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d_with_indices_backward": _max_pool_backward,
    "avg_pool2d": _average_pool,
    "avg_pool2d_backward": _average_pool_backward,
}
"""By name without overload."""
