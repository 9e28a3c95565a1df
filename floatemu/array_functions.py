"""What numpy's functions mean for arrays that keep their format: tables from names to the faces that do the work.

Everything here is about names; :mod:`floatemu.array` wraps the results. What is composed of several rounded
operations is written in numpy's own words, so that each of them goes back through the array's format.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from floatemu import arithmetic, functions, functions_circular, gemm, reductions
from floatemu._core.random import stream_state
from floatemu.errors import UnsupportedError
from floatemu.format import Format


def _square(x: Any, fmt: Format, rounding: Any, **options: Any) -> Any:
    return arithmetic.mul(x, x, fmt, rounding, **options)


def _reciprocal(x: Any, fmt: Format, rounding: Any, **options: Any) -> Any:
    return arithmetic.div(1.0, x, fmt, rounding, **options)


ROUNDED: dict[str, Callable[..., Any]] = {
    "add": arithmetic.add,
    "subtract": arithmetic.sub,
    "multiply": arithmetic.mul,
    "divide": arithmetic.div,
    "sqrt": arithmetic.sqrt,
    "minimum": arithmetic.minimum,
    "maximum": arithmetic.maximum,
    "fmin": arithmetic.minimumNumber,
    "fmax": arithmetic.maximumNumber,
    "square": _square,
    "reciprocal": _reciprocal,
    "matmul": gemm.matmul,
    "power": functions.pow,
    "float_power": functions.pow,
    "arcsin": functions_circular.asin,
    "arccos": functions_circular.acos,
    "arctan": functions_circular.atan,
    **{f.__name__: f for f in (functions_circular.sin, functions_circular.cos, functions_circular.tan)},
    **{f.__name__: f for f in (functions.exp, functions.exp2, functions.expm1, functions.hypot)},
    **{f.__name__: f for f in (functions.log, functions.log2, functions.log10, functions.log1p)},
    **{f.__name__: f for f in (functions.sinh, functions.cosh, functions.tanh)},
}
"""numpy's universal functions that round, and the faces that do it."""

MOVES = {"negative", "positive", "absolute", "fabs", "copysign", "sign", "floor", "ceil", "trunc", "rint"}
"""Universal functions whose exact result binary64 holds; most are values of the format already."""

EXACT = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "isnan", "isinf", "isfinite", "signbit",
}  # fmt: skip
"""Universal functions with boolean results."""

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": reductions.sum,
    "mean": reductions.mean,
    "norm": reductions.norm,
}
"""numpy's reductions: first to last, every partial sum in the array's own format; floatemu's own name other orders."""

SHAPES = {
    "reshape", "transpose", "ravel", "squeeze", "expand_dims", "moveaxis", "swapaxes", "flip", "fliplr", "flipud",
    "rot90", "roll", "repeat", "tile", "broadcast_to", "broadcast_arrays", "atleast_1d", "atleast_2d", "atleast_3d",
    "split", "array_split", "hsplit", "vsplit", "take", "take_along_axis", "compress", "delete", "copy", "diag",
    "diagonal", "triu", "tril", "meshgrid", "unique", "argmax", "argmin",
    "argsort", "argwhere", "nonzero", "flatnonzero", "count_nonzero", "searchsorted", "amax", "amin", "max", "min",
    "nanmax", "nanmin", "sort", "partition", "any", "all", "shape", "ndim", "size", "array_equal",
}  # fmt: skip
"""numpy functions that move or choose numbers and make no new ones."""

JOINS = {"concatenate", "stack", "vstack", "hstack", "dstack", "column_stack"}
"""Those that take several arrays in one sequence; each needs the format."""

FILLED = {"zeros_like": 0.0, "empty_like": 0.0, "ones_like": 1.0, "full_like": None}
"""Those that make an array of one number, which is rounded like any literal; None: it is the second argument."""


def _dot(a: Any, b: Any) -> Any:
    if np.ndim(b) > 2:
        raise UnsupportedError(
            f"np.dot with b of {np.ndim(b)} axes is not defined for EmulatedArray; use @ or np.matmul"
        )
    return a * b if 0 in (np.ndim(a), np.ndim(b)) else a @ b


def _inner(a: Any, b: Any) -> Any:
    return _dot(a, np.transpose(b) if np.ndim(b) < 3 else b)


def _outer(a: Any, b: Any) -> Any:
    return np.reshape(a, (-1, 1)) * np.reshape(b, (1, -1))


def _clip(a: Any, a_min: Any = None, a_max: Any = None) -> Any:
    low = a if a_min is None else np.maximum(a, a_min)
    return low if a_max is None else np.minimum(low, a_max)


def _trace(a: Any, offset: int = 0) -> Any:
    return np.sum(np.diagonal(a, offset), axis=-1)


def _diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    for _ in range(n):
        moved = np.moveaxis(a, axis, 0)
        a = np.moveaxis(moved[1:] - moved[:-1], 0, axis)
    return a


def _running(operation: Callable[[Any, Any], Any], a: Any, axis: int | None) -> list[Any]:
    rows = np.ravel(a) if axis is None else np.moveaxis(a, axis, 0)
    if not len(rows):
        raise UnsupportedError(f"no numbers along axis {axis} of shape {np.shape(a)}; nothing says what they make")
    result = [rows[0]]
    for row in rows[1:]:
        result.append(operation(result[-1], row))
    return result


def _cumsum(a: Any, axis: int | None = None) -> Any:
    return np.stack(_running(np.add, a, axis), axis=axis or 0)


def _cumprod(a: Any, axis: int | None = None) -> Any:
    return np.stack(_running(np.multiply, a, axis), axis=axis or 0)


def _prod(a: Any, axis: int | None = None) -> Any:
    return _running(np.multiply, a, axis)[-1]


COMPOSED: dict[str, Callable[..., Any]] = {
    "dot": _dot,
    "vdot": lambda a, b: np.ravel(a) @ np.ravel(b),
    "inner": _inner,
    "outer": _outer,
    "clip": _clip,
    "trace": _trace,
    "diff": _diff,
    "cumsum": _cumsum,
    "cumprod": _cumprod,
    "prod": _prod,
}
"""numpy functions that are several operations, each rounded, from first to last."""


def describe(x: Any) -> str:
    """The format and the projection of an array, for messages."""
    projection = x.settings.projection
    return f"{x.fmt.name} ({projection.rounding.name}, {projection.saturation.name})"


def derived(name: str, streams: tuple[int, ...]) -> int:
    """The stream of an operation: a mix of its name and its operands' streams, the same in every run."""
    state = zlib.crc32(name.encode())
    for stream in streams:
        state = stream_state(state, stream)
    return state


def of_part(x: Any, index: Any) -> int:
    """The stream of ``x[index]``: parts of one array must not share random bits."""
    if not x.settings.projection.rounding.stochastic:
        return int(x.stream)
    parts = index if isinstance(index, tuple) else (index,)
    return derived("getitem", (x.stream, *(zlib.crc32(_place(part)) for part in parts)))


def _place(part: Any) -> bytes:
    """One index in bytes that do not depend on the integer type it is written in."""
    if isinstance(part, slice):
        return b":".join(_place(v) for v in (part.start, part.stop, part.step))
    if part is None or part is Ellipsis:
        return repr(part).encode()
    array = np.asarray(part)
    return array.astype(np.bool_ if array.dtype == np.bool_ else np.int64).tobytes()


def by_shape(kind: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """Run a function that makes no new numbers on the values of arrays of ``kind``; wrap what comes back as floats."""
    found: list[Any] = []

    def strip(x: Any) -> Any:
        if isinstance(x, kind):
            if found and (x.fmt != found[0].fmt or x.settings != found[0].settings):
                raise UnsupportedError(
                    f"np.{function.__name__} of different formats or settings: {describe(found[0])}, {describe(x)}; "
                    "bring one to the other's with .astype(fmt)"
                )
            found.append(x)
            return x._data
        return type(x)(strip(item) for item in x) if isinstance(x, (list, tuple)) else x

    def wrap(x: Any, stream: int) -> Any:
        if isinstance(x, (list, tuple)):
            return type(x)(wrap(item, stream_state(stream, i)) for i, item in enumerate(x))
        if not isinstance(x, (np.ndarray, np.floating)) or np.asarray(x).dtype.kind != "f":
            return x
        return found[0]._like(np.asarray(x, found[0]._data.dtype), stream)

    stripped = [strip(x) for x in args]
    result = function(*stripped, **{key: strip(value) for key, value in kwargs.items()})
    return wrap(result, derived(function.__name__, tuple(x.stream for x in found)))
