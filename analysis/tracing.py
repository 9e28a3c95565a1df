"""Tapes of the user's own numpy functions: traced through ``__array_ufunc__`` and ``__array_function__``."""

from __future__ import annotations

import inspect
import math
import operator
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from floatemu.errors import UnsupportedError

from .arithmetics.base import Array
from .ops import Builder, Var, absolute, clip, maximum, minimum, relu
from .sites import is_users
from .tape import Tape

__all__ = ["TracedArray", "record_numpy"]


class TracedArray(NDArrayOperatorsMixin):
    """Stands for an array inside a function that is being recorded.

    Arithmetic, numpy functions and slices record nodes; the concrete values are those of the recording run.

    Parameters
    ----------
    var : Var

    Examples
    --------
    >>> tape = record_numpy(lambda x: np.exp(x).sum(), np.zeros(3))
    >>> [node.op for node in tape.nodes]
    ['input', 'exp', 'sum']
    """

    __slots__ = ("var",)

    def __init__(self, var: Var) -> None:
        self.var = var

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.var.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.var.value.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the value."""
        return self.var.value.dtype

    @property
    def T(self) -> TracedArray:
        """All axes reversed."""
        return _transpose(self)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<TracedArray {self.dtype} {self.shape}>"

    def __bool__(self) -> bool:
        raise UnsupportedError(
            "a recorded function cannot branch on a traced value: the tape holds one course of events; "
            "use np.maximum or np.where"
        )

    def __float__(self) -> float:
        raise UnsupportedError("a traced value cannot leave the recording as a float; keep it an array")

    def __getitem__(self, key: Any) -> TracedArray:
        return _getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise UnsupportedError("a traced array cannot be assigned to: a tape has no changing values; use np.where")

    def __array__(self, *args: Any, **kwargs: Any) -> Array:
        raise UnsupportedError(
            "a traced array cannot become a plain array while it is recorded; keep to numpy functions"
        )

    def sum(self, axis: Any = None, keepdims: bool = False) -> TracedArray:
        """Record np.sum."""
        return _sum(self, axis, keepdims=keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> TracedArray:
        """Record np.mean."""
        return _mean(self, axis, keepdims=keepdims)

    def max(self, axis: int | None = None, keepdims: bool = False) -> TracedArray:
        """Record np.max."""
        return _max(self, axis, keepdims=keepdims)

    def reshape(self, *shape: Any) -> TracedArray:
        """Record np.reshape."""
        return _reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> TracedArray:
        """Record np.transpose."""
        return _transpose(self, axes[0] if len(axes) == 1 and axes[0] is not None else axes or None)

    def dot(self, other: Any) -> TracedArray:
        """Record np.dot."""
        return _ufunc(np.matmul, (self, other))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "reduce" and ufunc is np.add:
            kwargs.pop("dtype", None), kwargs.pop("out", None)
            return _sum(*inputs, **kwargs)
        if method != "__call__":
            raise UnsupportedError(f"np.{ufunc.__name__}.{method} cannot be recorded; np.add.reduce can")
        if kwargs:
            raise UnsupportedError(
                f"np.{ufunc.__name__}: the options {sorted(kwargs)} cannot be recorded; leave them out"
            )
        return _ufunc(ufunc, inputs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        rule = _FUNCTIONS.get(func)
        if rule is None:
            known = sorted(f"np.{key.__name__}" for key in _FUNCTIONS)
            raise UnsupportedError(
                f"{func.__module__}.{func.__name__} cannot be recorded; supported functions: {', '.join(known)}"
            )
        try:
            return rule(*args, **kwargs)
        except UnsupportedError:
            raise
        except TypeError as error:  # an option that the rule does not know
            raise UnsupportedError(f"{func.__module__}.{func.__name__} with these options: {error}") from None


def _site() -> str:
    # the innermost frame that is the user's: neither numpy's nor this package's
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if is_users(name, np):
            return f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _builder(*values: Any) -> Builder:
    builder = next(value.var.builder for value in values if isinstance(value, TracedArray))
    builder.site = _site()
    return builder


def _var(builder: Builder, value: Any) -> Var:
    if isinstance(value, TracedArray):
        if value.var.builder is not builder:
            raise UnsupportedError("arrays of two recordings meet in one operation; record one function at a time")
        return value.var
    array = np.asarray(value)
    return (
        builder.constant(float(array))
        if array.ndim == 0 and array.dtype.kind in "fiu"
        else builder.leaf("constant", array)
    )


def _as_matrix(var: Var, position: int) -> Var:
    # numpy's rule for one-dimensional operands of matmul
    if len(var.shape) != 1:
        return var
    return var.reshape((1, *var.shape) if position == 0 else (*var.shape, 1))


def _matmul(x: Var, y: Var) -> Var:
    product = _as_matrix(x, 0) @ _as_matrix(y, 1)
    shape = list(product.shape)
    if len(x.shape) == 1:
        del shape[-2]
    if len(y.shape) == 1:
        del shape[-1]
    return product.reshape(tuple(shape))


def _power(x: Var, y: Var) -> Var:
    exponent = y.value
    if exponent.ndim or float(exponent) not in (0.5, 2.0, 3.0, 4.0):
        raise UnsupportedError(f"np.power with exponent {exponent}: accepted are 0.5, 2, 3 and 4")
    match float(exponent):
        case 0.5:
            return x.sqrt()
        case 2.0:
            return x * x
        case 3.0:
            return x * x * x
    square = x * x
    return square * square


def _maximum(x: Var, y: Var) -> Var:
    if y.value.ndim == 0 and not y.value and x.builder.nodes[y.ref.node].op == "constant":
        return relu(x)
    return maximum(x, y)


_UFUNCS: dict[str, Callable[..., Var]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "positive": lambda x: x,
    "exp": Var.exp,
    "log": Var.log,
    "sqrt": Var.sqrt,
    "tanh": Var.tanh,
    "erf": Var.erf,  # scipy.special's
    "square": lambda x: x * x,
    "reciprocal": lambda x: x.builder.constant(1.0) / x,
    "power": _power,
    "matmul": _matmul,
    "maximum": _maximum,
    "minimum": minimum,
    "absolute": absolute,
    "sin": lambda x: x.builder.apply("sin", x),
    "cos": lambda x: x.builder.apply("cos", x),
    "greater": lambda x, y: _compare(x, y),
    "less": lambda x, y: _compare(y, x),
}


def _compare(x: Var, y: Var) -> Var:
    shape = np.broadcast_shapes(x.shape, y.shape)
    return x.builder.apply("greater", x.broadcast(shape), y.broadcast(shape))


def _ufunc(ufunc: np.ufunc, inputs: Sequence[Any]) -> TracedArray:
    rule = _UFUNCS.get(ufunc.__name__)
    if rule is None:
        known = ", ".join(f"np.{name}" for name in sorted(_UFUNCS) if name != "erf")
        raise UnsupportedError(f"np.{ufunc.__name__} cannot be recorded; supported: {known}, scipy.special.erf")
    builder = _builder(*inputs)
    return TracedArray(rule(*(_var(builder, value) for value in inputs)))


def _axes(x: Var, axis: Any) -> list[int]:
    if axis is None:
        return list(range(len(x.shape)))
    given = axis if isinstance(axis, tuple) else (axis,)
    return sorted({operator.index(one) % len(x.shape) for one in given})


def _sum(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    var = _var(_builder(x), x)
    for one in reversed(_axes(var, axis)):
        var = var.sum(one, keepdims)
    return TracedArray(var)


def _mean(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    var = _var(_builder(x), x)
    count = math.prod(var.shape[one] for one in _axes(var, axis))
    if not count:
        raise UnsupportedError(f"np.mean of an array of shape {var.shape} has no value")
    return TracedArray(_sum(x, axis, keepdims=keepdims).var / var.builder.constant(float(count)))


def _min(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    return TracedArray(-_max(-x, axis, keepdims=keepdims).var)


def _expand(x: Any, axis: int) -> TracedArray:
    return _reshape(x, np.expand_dims(np.empty(x.shape, np.bool_), axis).shape)


def _squeeze(x: Any, axis: Any = None) -> TracedArray:
    return _reshape(x, np.squeeze(np.empty(x.shape, np.bool_), axis).shape)


def _max(x: Any, axis: Any = None, keepdims: bool = False) -> TracedArray:
    builder = _builder(x)
    var = _var(builder, x)
    if axis is None:
        var, axis = var.reshape((var.value.size,)), 0
    position = operator.index(axis) % len(var.shape)
    best = builder.apply("pick", var, builder.apply("argmax", var, axis=position), axis=position)
    if keepdims:
        shape = list(var.shape)
        shape[position] = 1
        best = best.reshape(tuple(shape))
    return TracedArray(best)


def _reshape(x: Any, shape: Any) -> TracedArray:
    var = _var(_builder(x), x)
    return TracedArray(var.reshape(np.reshape(np.empty(var.shape, np.bool_), shape).shape))


def _transpose(x: Any, axes: Any = None) -> TracedArray:
    var = _var(_builder(x), x)
    chosen = tuple(reversed(range(len(var.shape)))) if axes is None else tuple(a % len(var.shape) for a in axes)
    return TracedArray(var.transpose(chosen))


def _broadcast(x: Any, shape: Any) -> TracedArray:
    chosen = (shape,) if isinstance(shape, int) else tuple(shape)
    return TracedArray(_var(_builder(x), x).broadcast(chosen))


def _where(condition: Any, x: Any, y: Any) -> TracedArray:
    builder = _builder(condition, x, y)
    parts = [_var(builder, part) for part in (condition, x, y)]
    if parts[0].value.dtype != np.bool_:
        raise UnsupportedError(f"np.where needs a condition of booleans, given {parts[0].value.dtype}")
    shape = np.broadcast_shapes(*(part.shape for part in parts))
    return TracedArray(builder.apply("select", *(part.broadcast(shape) for part in parts)))


def _clip(x: Any, low: Any = None, high: Any = None) -> TracedArray:
    ends = [end for end in (low, high) if end is not None]
    if any(isinstance(end, TracedArray) or np.ndim(end) for end in ends):
        raise UnsupportedError("np.clip between arrays cannot be recorded; use np.minimum(np.maximum(x, low), high)")
    bounds = [float(end) if end is not None else side for end, side in ((low, -math.inf), (high, math.inf))]
    return TracedArray(clip(_var(_builder(x), x), *bounds))


def _concatenate(parts: Sequence[Any], axis: int = 0) -> TracedArray:
    builder = _builder(*parts)
    first, *rest = (_var(builder, part) for part in parts)
    for part in rest:
        first = builder.apply("concat", first, part, axis=operator.index(axis) % len(first.shape))
    return TracedArray(first)


def _rows(x: TracedArray, key: Array) -> TracedArray:
    extent = x.shape[0] if x.ndim else 0
    if key.dtype.kind not in "iu" or (key < -extent).any() or (key >= extent).any():
        raise UnsupportedError(f"an index array of {key.dtype} into {extent} rows; accepted: integers within range")
    builder = _builder(x)
    return TracedArray(builder.apply("gather", x.var, builder.leaf("constant", key % extent), axis=0))


def _getitem(x: TracedArray, key: Any) -> TracedArray:
    if isinstance(key, (np.ndarray, list)):
        return _rows(x, np.asarray(key))
    builder = _builder(x)
    keys = list(key) if isinstance(key, tuple) else [key]
    given = sum(1 for one in keys if one is not None and one is not Ellipsis)
    if any(one is Ellipsis for one in keys):
        at = next(i for i, one in enumerate(keys) if one is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (x.ndim - given)
    else:
        keys += [slice(None)] * (x.ndim - given)
    slices: list[tuple[int, int, int]] = []
    shape: list[int] = []
    for one in keys:
        extent = x.shape[len(slices)] if len(slices) < x.ndim else 0
        if one is None:
            shape.append(1)
        elif isinstance(one, (int, np.integer)) and not isinstance(one, bool) and -extent <= one < extent:
            slices.append((int(one) % extent, int(one) % extent + 1, 1))
        elif isinstance(one, slice) and (one.step is None or one.step > 0) and len(slices) < x.ndim:
            slices.append(one.indices(extent))
            shape.append(len(range(*slices[-1])))
        else:
            accepted = "integers within range, slices forward, None, ..., one array of integers"
            raise UnsupportedError(f"x[{key!r}] of shape {x.shape} cannot be recorded; accepted: {accepted}")
    return TracedArray(builder.apply("slice", x.var, slices=tuple(slices)).reshape(tuple(shape)))


_FUNCTIONS: dict[Any, Callable[..., TracedArray]] = {
    np.sum: _sum,
    np.mean: _mean,
    np.max: _max,
    np.amax: _max,
    np.min: _min,
    np.amin: _min,
    np.expand_dims: _expand,
    np.squeeze: _squeeze,
    np.reshape: _reshape,
    np.transpose: _transpose,
    np.broadcast_to: _broadcast,
    np.where: _where,
    np.clip: _clip,
    np.concatenate: _concatenate,
    np.dot: lambda x, y: _ufunc(np.matmul, (x, y)),
}


def _names(fn: Callable[..., Any], count: int) -> list[str]:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [parameter.name for parameter in parameters if parameter.kind in kinds]
    return [names[i] if i < len(names) else f"arg{i}" for i in range(count)]


def record_numpy(fn: Callable[..., Any], *arrays: Any, wrt: int | str | Sequence[int | str] | None = None) -> Tape:
    """Record a numpy function: one run forward and, for ``wrt``, the unrolled backward pass.

    Parameters
    ----------
    fn : callable
        Takes arrays, returns one array. It may use + - * / @ **, slices, and the numpy functions that the error
        message for an unsupported one lists.
    *arrays : array_like
        Its arguments.
    wrt : int, str or sequence of these, optional
        Arguments (position or name) to differentiate by; the result must then be a scalar.

    Returns
    -------
    Tape
        Targets "result" and "grad:NAME" for each argument in ``wrt``. Each node's site is the file and line of
        the user's code that asked for it.

    Raises
    ------
    UnsupportedError
        If the function does what cannot be recorded; the message names it and what is supported.

    Examples
    --------
    >>> tape = record_numpy(lambda w, x: np.tanh(x @ w).sum(), np.ones(2), np.ones((3, 2)), wrt="w")
    >>> list(tape.targets), tape.targets["grad:w"].node < len(tape)
    (['result', 'grad:w'], True)
    """
    names = _names(fn, len(arrays))
    chosen = [] if wrt is None else [wrt] if isinstance(wrt, (int, str)) else list(wrt)
    positions = []
    for one in chosen:
        if isinstance(one, str) and one in names:
            positions.append(names.index(one))
        elif isinstance(one, int) and not isinstance(one, bool) and 0 <= one < len(arrays):
            positions.append(one)
        else:
            raise UnsupportedError(f"wrt={one!r}; accepted: 0..{len(arrays) - 1} or {', '.join(names)}")
    title = getattr(fn, "__name__", type(fn).__name__)
    builder = Builder(title)
    leaves = []
    for index, array in enumerate(arrays):
        with builder.at(names[index], site=title):
            leaves.append(builder.leaf("parameter" if index in positions else "input", array))
        if index in positions and leaves[-1].value.dtype.kind != "f":
            raise UnsupportedError(f"wrt={names[index]!r}: its dtype {leaves[-1].value.dtype} has no gradient")
    with builder.at(title):
        result = fn(*map(TracedArray, leaves))
    if not isinstance(result, TracedArray):
        raise UnsupportedError(
            f"{title} returned {type(result).__name__}; it must return one array computed from its arguments"
        )
    builder.target("result", result.var)
    if positions:
        gradients = builder.backward(result.var, [leaves[position] for position in positions])
        for position, gradient in zip(positions, gradients):
            builder.target(f"grad:{names[position]}", gradient)
    return builder.build(recorded=title)
