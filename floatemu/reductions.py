"""Reductions whose order and accumulator are named: sum, mean, dot, norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isqrt
from typing import Any

import numpy as np

from floatemu._core import exact as ops
from floatemu._core import reductions as core
from floatemu._core import rounding
from floatemu._core.exactsum import exact_loop, rounded_loop
from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.operands import Exact, as_array, is_number
from floatemu.orders import EXACT, NEAREST, Order, Plan
from floatemu.projecting import nan_message, number_of_code, project_number
from floatemu.projection import Rounding
from floatemu.results import check_out, result_dtype


def operand(x: Any, name: str) -> np.ndarray[Any, Any]:
    """Return ``x`` as a binary64 array of the same exact values.

    Raises
    ------
    UnsupportedError
        If an element is no binary64 number.
    """
    array = np.asarray(x, object) if is_number(x) else as_array(x, name)
    if array.dtype == np.float64:
        return array.astype(np.float64, copy=False)
    if array.dtype == object or (array.dtype.kind in "iu" and array.dtype.itemsize == 8):
        flat = array.reshape(-1)
        try:
            values = np.array([float(v) for v in flat], np.float64)
            same = all(v == f or f != f for v, f in zip(flat.tolist(), values.tolist()))
            same = same and not any(isinstance(v, (bool, np.bool_)) for v in flat)
        except (TypeError, ValueError, OverflowError):
            same = False
        if not same:
            raise UnsupportedError(
                f"{name} holds elements that are no binary64 numbers; reductions take exact binary64 values: "
                "round them first, or scale them"
            )
        return values.reshape(array.shape)
    return array.astype(np.float64)


def execute(
    plan: Plan, kind: int, x: Any, y: Any, columns: int, finish: int, divisor: float, size: int, first: int,
    out: np.ndarray[Any, Any], marks: np.ndarray[Any, Any],
) -> None:  # fmt: skip
    """Run the core's loop on rows of binary64 numbers; :func:`floatemu._core.reductions.reduction_loop` tells how."""
    if plan.order.number == EXACT and finish == ops.MUL:
        state, step = np.uint64(plan.request.state), plan.step(plan.result)
        rounded_loop()(plain(x), plain(y), columns, kind, step, state, np.uint64(size), first, out, marks)
        return
    if plan.order.number == EXACT:
        _exactly(plan, kind, x, y, columns, finish, int(divisor), first, out, marks)
        return
    product, step, result = plan.step(plan.product), plan.step(plan.accumulate), plan.step(plan.result)
    order = plan.order
    core.reduction_loop()(
        plain(x), plain(y), columns, kind, order.number, order.block, order.lanes, product, step, result,
        finish, divisor, np.uint64(plan.request.state), np.uint64(size), first, out, marks,
    )  # fmt: skip


def _exactly(
    plan: Plan, kind: int, x: Any, y: Any, columns: int, finish: int, count: int, first: int, out: Any,
    marks: Any,
) -> None:  # fmt: skip
    """Exact sums, finished exactly, rounded once; the rounding is the only operation, number 0."""
    request, fmt, n = plan.request, plan.result, out.size
    negative, sticky = np.empty(n, np.bool_), np.empty(n, np.bool_)
    high, low, exponent = np.empty(n, np.uint64), np.empty(n, np.uint64), np.empty(n, np.int64)
    special, given = np.empty(n, np.float64), np.empty(n, np.bool_)
    mode = int(request.projection.rounding)
    exact_loop()(plain(x), plain(y), columns, kind, mode, negative, high, low, exponent, sticky, special, given)
    # A NaN that has no place is marked and refused later, with its index.
    lenient = request if fmt.has_nan or request.nan else replace(request, nan="zero")
    need = fmt.p + request.bits + 4
    for i in range(n):
        number = Exact(bool(negative[i]), int(high[i]) << 64 | int(low[i]), int(exponent[i]) - 127, bool(sticky[i]))
        if not np.isfinite(special[i]):
            number = Exact(bool(special[i] < 0), 0, special="nan" if np.isnan(special[i]) else "inf")
        if finish == ops.DIV:
            number = _divided(number, count)
        elif finish == ops.SQRT:
            number = _root(number, need)
        code, flags = project_number(number, lenient, first + i)
        out[i] = float(number_of_code(code, fmt))
        if number.special == "nan":
            flags |= 0 if given[i] else rounding.INVALID | rounding.NAN_BORN
            flags |= 0 if fmt.has_nan else core.LOST
        marks[i] = flags if fmt.has_nan else flags & ~rounding.NAN_BORN


def _divided(number: Exact, count: int) -> Exact:
    if number.special or not number.significand:
        return number
    quotient, rest = divmod(number.significand << 64, count)
    return Exact(number.negative, quotient, number.quantum - 64, number.sticky or rest != 0)


def _root(number: Exact, need: int) -> Exact:
    if number.special or not number.significand:
        return number  # of squares: never negative
    shift = 2 * need + number.quantum % 2
    scaled = number.significand << shift
    root = isqrt(scaled)
    return Exact(False, root, (number.quantum - shift) // 2, number.sticky or root * root != scaled)


def plain(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A read-only C-contiguous array: one signature for the compiler."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def refuse_nan(plan: Plan, marks: np.ndarray[Any, Any]) -> None:
    """Raise ProjectionError if a NaN came to a format without one and no policy was given."""
    if plan.request.nan is None and not all(f.has_nan for f in (plan.product, plan.accumulate, plan.result)):
        lost = marks >= core.LOST
        if lost.any():
            index = tuple(int(i) for i in np.unravel_index(int(np.argmax(lost)), lost.shape))
            lacking = next(f for f in (plan.product, plan.accumulate, plan.result) if not f.has_nan)
            raise ProjectionError(nan_message(lacking, index))


def deliver(values: Any, marks: Any, sources: Sequence[Any], plan: Plan, dtype: Any, out: Any) -> Any:
    """Return binary64 results in the dtype that the contract promises, or in ``out``; with their flags if wanted."""
    if out is not None:
        check_out(out, values.shape)
    kind = result_dtype([np.asarray(s).dtype for s in sources], plan.result, dtype, out)
    if out is not None:
        out[...] = values
        result = out
    else:
        result = values.astype(kind)
        result = result if values.ndim else result[()]
    if not plan.flagged:
        return result
    flags = marks.astype(np.uint8)  # without what the core marks beside the flags
    return result, (flags if out is not None or values.ndim else flags[()])


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that ``axis`` names, in rising order; None names all."""
    if axis is None:
        return tuple(range(ndim))
    given = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    if any(isinstance(a, (bool, np.bool_)) or not isinstance(a, (int, np.integer)) for a in given):
        raise UnsupportedError(f"axis={axis!r} is not an axis; accepted: an integer, a tuple of integers, None for all")
    if given and ndim == 0:
        raise UnsupportedError(f"axis={axis} of a single number, which has none; use axis=None, or give x an axis")
    if any(not -ndim <= a < ndim for a in given):
        raise UnsupportedError(f"axis={axis} is out of range for x with {ndim} axes; accepted: {-ndim}..{ndim - 1}")
    axes = tuple(sorted(int(a) % ndim for a in given))
    if len(set(axes)) != len(axes):
        raise UnsupportedError(f"axis={axis} names an axis twice")
    return axes


def _rows(array: np.ndarray[Any, Any], axes: tuple[int, ...]) -> tuple[np.ndarray[Any, Any], tuple[int, ...]]:
    """The array as rows of terms (C order of the reduced axes), and the shape that is left."""
    kept = [a for a in range(array.ndim) if a not in axes]
    shape = tuple(array.shape[a] for a in kept)
    count = int(np.prod([array.shape[a] for a in axes], dtype=np.int64))
    rows = int(np.prod(shape, dtype=np.int64))
    return np.ascontiguousarray(array.transpose(*kept, *axes)).reshape(rows, count), shape


def _reduce(
    plan: Plan, kind: int, finish: int, x: Any, y: Any, axis: Any, keepdims: bool, dtype: Any, out: Any, by: str
) -> Any:
    first = operand(x, "x")
    second = first if y is x else operand(y, "y")
    sources = (x,) if y is x else (x, y)
    if y is not x:
        try:
            first, second = np.broadcast_arrays(first, second)
        except ValueError:
            raise UnsupportedError(
                f"the shapes do not broadcast: x {first.shape}, y {second.shape}; insert axes of length 1 or reshape"
            ) from None
    axes = axes_of(axis, first.ndim)
    rows, shape = _rows(first, axes)
    others = rows if second is first else _rows(second, axes)[0]
    count = rows.shape[1]
    if by == "mean" and count == 0:
        raise UnsupportedError(f"mean of no numbers: x has shape {first.shape}, reduced over axis {axis}")
    values = np.empty(rows.shape[0], np.float64)
    marks = np.zeros(rows.shape[0], np.uint16)
    divisor = float(count) if by == "mean" else 1.0
    execute(plan, kind, rows, others, 0, finish, divisor, values.size, 0, values, marks)
    refuse_nan(plan, marks.reshape(shape))
    if keepdims:
        shape = tuple(1 if a in axes else n for a, n in enumerate(first.shape))
    return deliver(values.reshape(shape), marks.reshape(shape), sources, plan, dtype, out)


# Faces ----------------------------------------------------------------------------------------------------------------


def _documented(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put the parameters that all reductions share into a docstring."""
    function.__doc__ = str(function.__doc__).replace("    %(shared)s\n", _SHARED)
    return function


_SHARED = """    fmt : Format or str
        Format of the result, and of the accumulator unless ``accumulate`` names another.
    rounding : Rounding or str
        One of the nine modes, for every operation.
    axis : int or tuple of int, optional
        Reduced axes; terms are taken in C order of them.
    keepdims : bool
        Whether reduced axes stay, with length 1.
    order : str
        "sequential", "pairwise", "blocked(n)", "numpy_pairwise(block, lanes)", "kahan", "neumaier" or "exact":
        see :class:`Order`.
    accumulate : Format or str, optional
        Format of every partial sum.
    dtype, out
        As for :func:`~floatemu.round`.
    **options
        ``saturation``, ``random_bits``, ``seed``, ``stream``, ``nan`` as for :func:`~floatemu.round`;
        ``flags=True`` returns (values, flags) instead of values. Operation m of the result element at C-order
        position i, of ``size`` elements, uses the random bits of index ``m * size + i``: products rounded on
        their own come first, then the additions in order, then the result.

    Returns
    -------
    numpy.ndarray or scalar
        dtype: the operands' own if they share one that holds ``fmt``, else the smallest of float32 and
        float64 that does. With ``flags=True`` also a uint8 array of :class:`~floatemu.Flag` bits: those of
        every operation that went into an element, the start of its accumulator and the rounding to ``fmt``
        included, or-ed.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`~floatemu.round`; an unknown order; axes or shapes that do not fit.
"""


@_documented
def sum(
    x: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    axis: Any = None,
    keepdims: bool = False,
    order: str | Order = "sequential",
    accumulate: Format | str | None = None,
    dtype: Any = None,
    out: Any = None,
    **options: Any,
) -> Any:
    """Return the sum of x, each addition rounded once to the accumulator's format, in a named order.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have. No terms give zero.
    %(shared)s
    Examples
    --------
    >>> from floatemu.reductions import sum
    >>> import numpy as np
    >>> ones = np.ones(5000)
    >>> float(sum(ones, "binary16")), float(sum(ones, "binary16", order="blocked(64)"))  # 2048 + 1 is a tie
    (2048.0, 5000.0)
    """
    plan = Plan.make(fmt, None, accumulate, order, False, rounding, options)
    return _reduce(plan, core.SUM, ops.MUL, x, x, axis, keepdims, dtype, out, "sum")


@_documented
def mean(
    x: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    axis: Any = None,
    keepdims: bool = False,
    order: str | Order = "sequential",
    accumulate: Format | str | None = None,
    dtype: Any = None,
    out: Any = None,
    **options: Any,
) -> Any:
    """Return the mean of x: its sum in the accumulator's format, divided by the count exactly, rounded to ``fmt``.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have; at least one.
    %(shared)s
    Examples
    --------
    >>> from floatemu.reductions import mean
    >>> import numpy as np
    >>> float(mean(np.ones(1000), "bfloat16")), float(mean(np.ones(1000), "bfloat16", accumulate="binary32"))
    (0.255859375, 1.0)
    """
    plan = Plan.make(fmt, None, accumulate, order, False, rounding, options)
    return _reduce(plan, core.SUM, ops.DIV, x, x, axis, keepdims, dtype, out, "mean")


@_documented
def dot(
    x: Any,
    y: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    axis: Any = -1,
    keepdims: bool = False,
    order: str | Order = "sequential",
    fused: bool = False,
    product: Format | str | None = None,
    accumulate: Format | str | None = None,
    dtype: Any = None,
    out: Any = None,
    **options: Any,
) -> Any:
    """Return the sum of the products x y over an axis; operands broadcast, as in ``numpy.vecdot``.

    Parameters
    ----------
    x, y : array_like
        Taken as the exact values they have.
    fused : bool
        Whether a product and the addition to the accumulator are one operation, rounded once. Else each
        product is rounded to ``product`` first.
    product : Format or str, optional
        Format of the products. Default: the accumulator's.
    %(shared)s
    Examples
    --------
    >>> from floatemu.reductions import dot
    >>> x, y = [1.0, 1 + 2**-7], [-1.0, 1 - 2**-7]
    >>> float(dot(x, y, "bfloat16")), float(dot(x, y, "bfloat16", fused=True))
    (0.0, -6.103515625e-05)
    """
    plan = Plan.make(fmt, product, accumulate, order, fused, rounding, options)
    kind = core.FUSED if fused else core.PRODUCTS
    return _reduce(plan, kind, ops.MUL, x, y, axis, keepdims, dtype, out, "dot")


@_documented
def norm(
    x: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    axis: Any = None,
    keepdims: bool = False,
    order: str | Order = "sequential",
    fused: bool = False,
    product: Format | str | None = None,
    accumulate: Format | str | None = None,
    dtype: Any = None,
    out: Any = None,
    **options: Any,
) -> Any:
    """Return the 2-norm of x: the sum of squares as :func:`dot` makes it, and its square root rounded to ``fmt``.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have. No terms give zero.
    fused, product
        As for :func:`dot`.
    %(shared)s
    Examples
    --------
    >>> from floatemu.reductions import norm
    >>> float(norm([300.0, 400.0], "binary16")), float(norm([300.0, 400.0], "binary16", accumulate="binary32"))
    (inf, 500.0)
    """
    plan = Plan.make(fmt, product, accumulate, order, fused, rounding, options)
    kind = core.FUSED if fused else core.PRODUCTS
    return _reduce(plan, kind, ops.SQRT, x, x, axis, keepdims, dtype, out, "norm")
