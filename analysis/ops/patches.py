"""Convolution and pooling of images: patches are gathered, then multiplied, averaged or chosen from."""

from __future__ import annotations

import numpy as np

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Array
from ..ops.builder import Var
from ..ops.loss import mean

__all__ = ["average_pool", "conv2d", "max_pool"]


def _windows(height: int, width: int, size: int, stride: int, padding: int) -> tuple[Array, int, int]:
    # index into height * width of each element of each window, -1 outside: shape (windows, size * size)
    if not 1 <= size <= min(height, width) + 2 * padding or stride < 1 or padding < 0:
        raise UnsupportedError(
            f"windows of {size} by {size} with stride {stride} and padding {padding} do not fit an image of "
            f"{height} by {width}"
        )
    tops = np.arange(0, height + 2 * padding - size + 1, stride) - padding
    lefts = np.arange(0, width + 2 * padding - size + 1, stride) - padding
    inside = np.arange(size)
    rows = (tops[:, None, None, None] + inside[None, None, :, None]) * np.ones((1, len(lefts), 1, size), np.int64)
    columns = (lefts[None, :, None, None] + inside[None, None, None, :]) * np.ones((len(tops), 1, size, 1), np.int64)
    within = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    index = np.where(within, rows * width + columns, -1)
    return index.reshape(len(tops) * len(lefts), size * size), len(tops), len(lefts)


def _patches(x: Var, size: int, stride: int, padding: int) -> tuple[Var, int, int]:
    # (batch, channels, windows, size * size), and the numbers of windows down and across
    batch, channels, height, width = x.shape
    index, down, across = _windows(height, width, size, stride, padding)
    flat = x.reshape((batch, channels, height * width))
    return x.builder.apply("gather", flat, x.builder.leaf("constant", index), axis=2), down, across


def conv2d(x: Var, weight: Var, bias: Var | None = None, stride: int = 1, padding: int = 0) -> Var:
    """Record a convolution (as frameworks call it: without turning the kernel) as one matrix product of patches.

    Parameters
    ----------
    x : Var
        Shape (batch, channels, height, width).
    weight : Var
        Shape (filters, channels, size, size).
    bias : Var, optional
        Shape (filters,).
    stride, padding : int
        Zeros are put around the image.

    Returns
    -------
    Var
        Shape (batch, filters, down, across).

    Raises
    ------
    UnsupportedError
        If the shapes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> image, kernel = b.leaf("input", np.ones((1, 1, 3, 3))), b.leaf("parameter", np.ones((1, 1, 2, 2)))
    >>> conv2d(image, kernel).value.tolist()
    [[[[4.0, 4.0], [4.0, 4.0]]]]
    """
    if (
        len(x.shape) != 4
        or len(weight.shape) != 4
        or x.shape[1] != weight.shape[1]
        or weight.shape[2] != weight.shape[3]
    ):
        raise UnsupportedError(
            f"conv2d: shapes {x.shape} and {weight.shape} do not fit; (batch, channels, height, width) by "
            "(filters, channels, size, size)"
        )
    batch, channels = x.shape[:2]
    filters, size = weight.shape[0], weight.shape[2]
    found, down, across = _patches(x, size, stride, padding)
    rows = found.transpose((0, 2, 1, 3)).reshape((batch * down * across, channels * size * size))
    product = rows @ weight.reshape((filters, channels * size * size)).T
    if bias is not None:
        product = product + bias
    return product.reshape((batch, down, across, filters)).transpose((0, 3, 1, 2))


def max_pool(x: Var, size: int, stride: int | None = None) -> Var:
    """Record the largest element of each window, as a decision (argmax) and a selection.

    Parameters
    ----------
    x : Var
        Shape (batch, channels, height, width).
    size : int
    stride : int, optional
        Default ``size``.

    Returns
    -------
    Var

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> max_pool(Builder("t").leaf("input", np.arange(16.0).reshape(1, 1, 4, 4)), 2).value.tolist()
    [[[[5.0, 7.0], [13.0, 15.0]]]]
    """
    found, down, across = _patches(x, size, stride or size, 0)
    best = x.builder.apply("pick", found, x.builder.apply("argmax", found, axis=3), axis=3)
    return best.reshape((*x.shape[:2], down, across))


def average_pool(x: Var, size: int, stride: int | None = None) -> Var:
    """Record the mean of each window.

    Parameters
    ----------
    x : Var
        Shape (batch, channels, height, width).
    size : int
    stride : int, optional
        Default ``size``.

    Returns
    -------
    Var

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> average_pool(Builder("t").leaf("input", np.arange(16.0).reshape(1, 1, 4, 4)), 2).value.tolist()
    [[[[2.5, 4.5], [10.5, 12.5]]]]
    """
    found, down, across = _patches(x, size, stride or size, 0)
    return mean(found, 3).reshape((*x.shape[:2], down, across))
