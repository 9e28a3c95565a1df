"""Matrix products with every operation rounded: matmul and conv2d, with order, product and accumulator named."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

from floatemu._core import exact as ops
from floatemu._core import reductions as core
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.projection import Rounding
from floatemu.reductions import NEAREST, Order, Plan, deliver, execute, operand, refuse_nan


def matmul(
    a: Any,
    b: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    product: Format | str | None = None,
    accumulate: Format | str | None = None,
    order: str | Order = "sequential",
    fused: bool = False,
    threads: int = 1,
    dtype: Any = None,
    out: Any = None,
    **options: Any,
) -> Any:
    """Return the matrix product of a and b with every multiplication and addition rounded once.

    ``c[i, j]`` is the sum over k of ``a[i, k] b[k, j]``: each product rounded to ``product``, each addition to
    ``accumulate``, in ``order``, and the result to ``fmt``. Bits do not depend on strides or ``threads``.

    Parameters
    ----------
    a, b : array_like
        Shapes (..., m, k) and (..., k, n); vectors and leading axes as in ``numpy.matmul``. Taken as the exact
        values they have.
    fmt : Format or str
        Format of the result.
    rounding : Rounding or str
        One of the nine modes, for every operation.
    product, accumulate : Format or str, optional
        Format of the products (default: the accumulator's) and of the accumulator (default: ``fmt``).
    order : str
        As for :func:`~floatemu.reductions.sum`; see :class:`~floatemu.reductions.Order`.
    fused : bool
        Whether multiplication and addition are one operation.
    threads : int
        Threads that share the rows.
    dtype, out
        As for :func:`~floatemu.round`.
    **options
        ``saturation``, ``random_bits``, ``seed``, ``stream``, ``nan`` as for :func:`~floatemu.round`. Operation
        m of the element at C-order position i of a result of ``size`` elements uses the random bits of index
        ``m * size + i``; the product of term k is operation k, the additions follow in order (from 0 if
        fused), then comes the rounding to ``fmt``.

    Returns
    -------
    numpy.ndarray or scalar
        dtype: the operands' own if they share one that holds ``fmt``, else the smallest of float32 and
        float64 that does.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`~floatemu.round`; an unknown order; shapes that do not fit.

    Examples
    --------
    >>> from floatemu.gemm import matmul
    >>> import numpy as np
    >>> a, b = np.ones((1, 4096)), np.ones((4096, 1))
    >>> float(matmul(a, b, "binary16")[0, 0]), float(matmul(a, b, "binary16", accumulate="binary32")[0, 0])
    (2048.0, 4096.0)
    """
    plan = Plan.make(fmt, product, accumulate, order, fused, rounding, options)
    left, right = operand(a, "a"), operand(b, "b")
    values = _product(plan, left, right, _thread_count(threads))
    return deliver(values, (a, b), plan, dtype, out)


def _thread_count(threads: Any) -> int:
    if isinstance(threads, (bool, np.bool_)) or not isinstance(threads, (int, np.integer)) or threads < 1:
        raise UnsupportedError(f"threads={threads!r} is not a positive integer")
    return int(threads)


def _fit(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> tuple[int, ...]:
    """Check the shapes of two operands with at least two axes each; return the shape of the leading axes."""
    if a.shape[-1] != b.shape[-2]:
        raise UnsupportedError(
            f"a of shape {a.shape} has rows of {a.shape[-1]} elements, b of shape {b.shape} columns of {b.shape[-2]}: "
            "they must be equal; transpose one"
        )
    try:
        return np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise UnsupportedError(
            f"the leading axes do not broadcast: a {a.shape}, b {b.shape}; insert axes of length 1 or reshape"
        ) from None


def _product(plan: Plan, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], threads: int) -> np.ndarray[Any, Any]:
    """The product of binary64 operands, in binary64, with the shape that ``numpy.matmul`` gives it."""
    for name, array in (("a", a), ("b", b)):
        if array.ndim == 0:
            raise UnsupportedError(f"{name} is a single number; matmul takes vectors and matrices, use mul")
    left = a[np.newaxis, :] if a.ndim == 1 else a
    right = b[:, np.newaxis] if b.ndim == 1 else b
    batch = _fit(left, right)
    m, n = left.shape[-2], right.shape[-1]
    values = np.empty((*batch, m, n), np.float64)
    bad = np.zeros(values.shape, np.bool_)
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    tasks = [
        (plan, left[index], right[index], part, values[index], bad[index], position * m * n, values.size)
        for position, index in enumerate(np.ndindex(*batch))
        for part in _parts(m, threads)
    ]
    if values.size:
        if threads == 1:
            for task in tasks:
                _block(*task)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for done in [pool.submit(_block, *task) for task in tasks]:
                    done.result()
    shape = values.shape
    if a.ndim == 1:
        shape = (*shape[:-2], shape[-1])
    if b.ndim == 1:
        shape = shape[:-1]
    refuse_nan(plan, bad.reshape(shape))
    return values.reshape(shape)


def _parts(rows: int, threads: int) -> Iterator[slice]:
    """Slices of about equal length, one a thread."""
    bounds = [rows * t // threads for t in range(threads + 1)]
    for start, stop in pairwise(bounds):
        if start < stop:
            yield slice(start, stop)


def _block(
    plan: Plan, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], part: slice, out: np.ndarray[Any, Any],
    bad: np.ndarray[Any, Any], first: int, size: int,
) -> None:  # fmt: skip
    """Some rows of one matrix product; ``first`` is the position of the product's element (0, 0)."""
    columns = out.shape[-1]
    kind = core.FUSED if plan.fused else core.PRODUCTS
    rows = out[part].reshape(-1)
    marks = bad[part].reshape(-1)
    execute(plan, kind, a[part], b.T, columns, ops.MUL, 1.0, size, first + part.start * columns, rows, marks)
