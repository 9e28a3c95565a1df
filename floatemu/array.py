"""EmulatedArray: values and their format, used as if the format were a numpy dtype.

Casting rules. Every operation gives the exact result of its operands' values, rounded once to their common
format by their common settings. Two arrays of different formats or settings do not mix, nor does an array of
floats without a format: name the result format (``fe.add(x, y, fmt)``) or wrap the other operand
(``fe.asarray(y, fmt)``). A Python number is first rounded to the format, to nearest, as a literal would be.
Comparisons are exact and give booleans.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from floatemu import arithmetic, functions, functions_circular, gemm, reductions
from floatemu._core.random import stream_state
from floatemu.codec import encode
from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.operands import as_array, dtype_format
from floatemu.projection import Projection, Rounding, Saturation, as_rounding, as_saturation
from floatemu.rounding import round as round_values
from floatemu.target import smallest_float


@dataclass(frozen=True)
class Settings:
    """How an array rounds: the projection, the NaN policy and the seed of its random bits."""

    projection: Projection
    nan: str | None = None
    seed: int | None = None

    def options(self, stream: int) -> dict[str, Any]:
        """The keyword arguments that the faces take for one operation."""
        options: dict[str, Any] = {"saturation": self.projection.saturation, "nan": self.nan}
        if self.projection.rounding.stochastic:
            options |= {"random_bits": self.projection.random_bits, "seed": self.seed, "stream": stream}
        return options


class EmulatedArray(NDArrayOperatorsMixin):
    """An array whose numbers are values of a format, and whose operations round to it.

    Made by :func:`asarray`. numpy's operators and universal functions work on it; see the module for the casting rules.

    Attributes
    ----------
    fmt : Format
    settings : Settings
    values : numpy.ndarray
        The numbers as float32 or float64, a read-only view.
    codes : numpy.ndarray
        Their codes, in the smallest unsigned dtype.
    stream : int
        Selects the random bits of the stochastic modes: an operation derives its own from its name and its
        operands' streams, so that a program gives the same bits in each run and different ones in each operation.

    Examples
    --------
    >>> import floatemu as fe
    >>> x = fe.asarray([1.0, 0.1], "e4m3fn")
    >>> x + x * 3
    EmulatedArray([4.     , 0.40625], e4m3fn)
    """

    __slots__ = ("_data", "fmt", "settings", "stream")
    __array_priority__ = 1000.0

    def __init__(self, data: np.ndarray[Any, Any], fmt: Format, settings: Settings, stream: int = 0) -> None:
        self._data = data
        self.fmt = fmt
        self.settings = settings
        self.stream = stream

    # What it is ------------------------------------------------------------------------------------------------------

    @property
    def values(self) -> np.ndarray[Any, Any]:
        view = self._data.view()
        view.flags.writeable = False
        return view

    @property
    def codes(self) -> np.ndarray[Any, Any]:
        return np.asarray(encode(self._data, self.fmt))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, as numpy's."""
        return tuple(self._data.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._data.size

    @property
    def T(self) -> EmulatedArray:
        """Axes reversed; a view."""
        return self._like(self._data.T)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[EmulatedArray]:
        return (self[i] for i in range(len(self)))

    def __float__(self) -> float:
        return float(self._data)

    def __bool__(self) -> bool:
        return bool(self._data)

    def __repr__(self) -> str:
        body = np.array2string(self._data, separator=", ", prefix="EmulatedArray(")
        return f"EmulatedArray({body}, {self.fmt.name})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            return self.values if dtype is None else self.values.astype(dtype, copy=False)
        return self._data.astype(self._data.dtype if dtype is None else dtype, copy=True)

    def __dlpack__(self, **options: Any) -> Any:
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()

    def __reduce__(self) -> Any:
        return EmulatedArray, (self._data, self.fmt, self.settings, self.stream)

    # Parts -----------------------------------------------------------------------------------------------------------

    def _like(self, data: Any, stream: int | None = None) -> EmulatedArray:
        return EmulatedArray(np.asarray(data), self.fmt, self.settings, self.stream if stream is None else stream)

    def __getitem__(self, index: Any) -> EmulatedArray:
        return self._like(self._data[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, EmulatedArray) and value.fmt == self.fmt:
            self._data[index] = value._data
            return
        options = self.settings.options(_derived("setitem", (self.stream,)))
        raw = value._data if isinstance(value, EmulatedArray) else value
        rounded = round_values(raw, self.fmt, self.settings.projection.rounding, dtype=self._data.dtype, **options)
        self._data[index] = rounded

    def reshape(self, *shape: Any) -> EmulatedArray:
        """As numpy's."""
        return self._like(self._data.reshape(*shape))

    def transpose(self, *axes: Any) -> EmulatedArray:
        """As numpy's."""
        return self._like(self._data.transpose(*axes))

    def copy(self) -> EmulatedArray:
        """A copy with data of its own."""
        return self._like(self._data.copy())

    def tolist(self) -> Any:
        """The values as nested lists of Python floats."""
        return self._data.tolist()

    def astype(self, fmt: Format | str, **options: Any) -> EmulatedArray:
        """Round to another format; keyword arguments as for :func:`asarray`, default the array's own settings."""
        fmt = get_format(fmt)
        if not options:
            rounding = self.settings.projection.rounding
            stream = _derived("astype", (self.stream,))
            data = round_values(self._data, fmt, rounding, dtype=smallest_float(fmt), **self.settings.options(stream))
            return EmulatedArray(data, fmt, self.settings, stream)
        return asarray(self._data, fmt, **options)

    # numpy's protocols -----------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        out = kwargs.pop("out", (None,))[0]
        if method != "__call__" or kwargs:
            raise UnsupportedError(
                f"np.{name}.{method} with {sorted(kwargs) or 'no options'} is not defined for EmulatedArray; "
                "call the function itself, or a floatemu reduction that names order and accumulator"
            )
        if name in _EXACT:
            return ufunc(*(_raw(x) for x in self._aligned(inputs, compare=True)))
        if name not in _UFUNCS and name not in _MOVES:
            known = ", ".join(sorted({*_UFUNCS, *_MOVES, *_EXACT}))
            raise UnsupportedError(f"np.{name} is not defined for EmulatedArray; defined: {known}")
        operands = self._aligned(inputs)
        first = next(x for x in operands if isinstance(x, EmulatedArray))
        stream = _derived(name, tuple(x.stream if isinstance(x, EmulatedArray) else 0 for x in operands))
        raw = [_raw(x) for x in operands]
        if name in _MOVES:
            # A value of the format, but for the sign of zero and for what an unsigned format has no room for.
            rounding = first.settings.projection.rounding
            data = round_values(ufunc(*raw), first.fmt, rounding, **first.settings.options(stream))
        else:
            options = first.settings.options(stream) | {"dtype": first._data.dtype}
            data = _UFUNCS[name](*raw, first.fmt, first.settings.projection.rounding, **options)
        if out is None:
            return first._like(data, stream)
        if not isinstance(out, EmulatedArray) or out.fmt != first.fmt:
            raise UnsupportedError("out= must be an EmulatedArray of the same format; use a new array instead")
        out._data[...] = data
        out.stream = stream
        return out

    def _aligned(self, inputs: tuple[Any, ...], compare: bool = False) -> list[Any]:
        """The operands, Python numbers rounded to the format, after the casting rules have been checked."""
        result: list[Any] = []
        for x in inputs:
            if isinstance(x, EmulatedArray):
                if not compare and (x.fmt != self.fmt or x.settings != self.settings):
                    what = "formats" if x.fmt != self.fmt else "settings"
                    raise UnsupportedError(
                        f"the operands have different {what}: {_describe(self)} and {_describe(x)}; name the result's "
                        "format with fe.add(x, y, fmt) and its kind, or bring one to the other's with .astype(fmt)"
                    )
                result.append(x)
            elif hasattr(x, "_mpf_") or (
                isinstance(x, (int, float, Fraction)) and not isinstance(x, (bool, np.generic))
            ):
                saturation = self.settings.projection.saturation
                number = x if compare else round_values(x, self.fmt, saturation=saturation, nan=self.settings.nan)
                result.append(np.float64(number) if not compare else float(number))
            else:
                kind = getattr(x, "dtype", type(x).__name__)
                way = f"wrap it with fe.asarray(x, {self.fmt.name!r}), which rounds it"
                raise UnsupportedError(f"an operand of {kind} has no format; {way}")
        return result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = function.__name__
        if name in _SHAPES:
            return _by_shape(function, args, kwargs)
        if name in _REDUCTIONS:
            return self._reduced(name, args, kwargs)
        known = ", ".join(sorted({*_SHAPES, *_REDUCTIONS}))
        raise UnsupportedError(f"np.{name} is not defined for EmulatedArray; defined: {known}")

    def _reduced(self, name: str, args: Any, kwargs: Any) -> EmulatedArray:
        count = 2 if name == "dot" else 1
        operands = self._aligned(tuple(args[:count]))
        given = dict(zip(("axis",), args[count:], strict=False)) | kwargs
        if len(args) > count + 1 or set(given) - {"axis", "keepdims"}:
            raise UnsupportedError(
                f"np.{name} of an EmulatedArray takes axis and keepdims; given {sorted(given)}. For another order or "
                f"accumulator call floatemu's own with .values"
            )
        given = {key: value for key, value in given.items() if value is not None}
        stream = _derived(name, tuple(x.stream if isinstance(x, EmulatedArray) else 0 for x in operands))
        settings = self.settings
        options = settings.options(stream) | {"dtype": self._data.dtype} | given
        rounding = settings.projection.rounding
        return self._like(_REDUCTIONS[name](*map(_raw, operands), self.fmt, rounding, **options), stream)

    def sum(self, axis: Any = None, keepdims: bool = False) -> EmulatedArray:
        """Sum from first to last, every partial sum rounded to the format."""
        return self._reduced("sum", (self,), {"axis": axis, "keepdims": keepdims})

    def mean(self, axis: Any = None, keepdims: bool = False) -> EmulatedArray:
        """:meth:`sum` divided by the count, rounded to the format."""
        return self._reduced("mean", (self,), {"axis": axis, "keepdims": keepdims})


def _raw(x: Any) -> Any:
    return x._data if isinstance(x, EmulatedArray) else x


def _describe(x: EmulatedArray) -> str:
    projection = x.settings.projection
    return f"{x.fmt.name} ({projection.rounding.name}, {projection.saturation.name})"


def _derived(name: str, streams: tuple[int, ...]) -> int:
    """The stream of an operation: a mix of its name and its operands' streams, the same in every run."""
    state = zlib.crc32(name.encode())
    for stream in streams:
        state = stream_state(state, stream)
    return state


def _square(x: Any, fmt: Format, rounding: Any, **options: Any) -> Any:
    return arithmetic.mul(x, x, fmt, rounding, **options)


def _reciprocal(x: Any, fmt: Format, rounding: Any, **options: Any) -> Any:
    return arithmetic.div(1.0, x, fmt, rounding, **options)


_UFUNCS: dict[str, Callable[..., Any]] = {
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

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": reductions.sum,
    "mean": reductions.mean,
    "norm": reductions.norm,
    "dot": gemm.matmul,
}
"""numpy's reductions: first to last, every partial sum in the array's own format; floatemu's own name other orders."""

_MOVES = {"negative", "positive", "absolute", "fabs"}
"""Universal functions whose result is a value of the format already."""

_EXACT = {
    "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "isnan", "isinf", "isfinite", "signbit",
}  # fmt: skip
"""Universal functions with boolean results."""

_SHAPES = {
    "reshape", "transpose", "ravel", "squeeze", "expand_dims", "moveaxis", "swapaxes", "flip", "roll", "repeat", "tile",
    "concatenate", "stack", "vstack", "hstack", "where", "broadcast_to", "take", "copy", "diag", "triu", "tril",
    "zeros_like", "ones_like", "empty_like", "argmax", "argmin", "argsort", "amax", "amin", "max", "min", "sort",
    "shape", "ndim", "size", "array_equal",
}  # fmt: skip
"""numpy functions that move or choose numbers and make no new ones."""


def _by_shape(function: Any, args: Any, kwargs: Any) -> Any:
    """Run a function that makes no new numbers on the values; wrap what comes back as floats."""
    found: list[EmulatedArray] = []

    def strip(x: Any) -> Any:
        if isinstance(x, EmulatedArray):
            if found and (x.fmt != found[0].fmt or x.settings != found[0].settings):
                raise UnsupportedError(
                    f"np.{function.__name__} of different formats or settings: {_describe(found[0])}, {_describe(x)}; "
                    "bring one to the other's with .astype(fmt)"
                )
            found.append(x)
            return x._data
        if isinstance(x, (list, tuple)):
            return type(x)(strip(item) for item in x)
        return x

    stripped = [strip(x) for x in args]
    result = function(*stripped, **{key: strip(value) for key, value in kwargs.items()})
    if not isinstance(result, (np.ndarray, np.floating)) or np.asarray(result).dtype.kind != "f":
        return result
    if function.__name__ == "where" and not all(isinstance(x, EmulatedArray) for x in args[1:]):
        result = round_values(result, found[0].fmt, dtype=found[0]._data.dtype)  # a Python number among the choices
    stream = _derived(function.__name__, tuple(x.stream for x in found))
    return found[0]._like(np.asarray(result, found[0]._data.dtype), stream)


def asarray(
    x: Any,
    fmt: Format | str,
    rounding: Rounding | str = Rounding.NEAREST_TIES_TO_EVEN,
    *,
    saturation: Saturation | str = Saturation.SAT_NONE,
    random_bits: int | None = None,
    seed: int | None = None,
    stream: int = 0,
    nan: str | None = None,
) -> EmulatedArray:
    """Round numbers to a format and keep the format with them.

    Parameters
    ----------
    x : array_like
        As for :func:`~floatemu.round`; an EmulatedArray is rounded anew.
    fmt : Format or str
        A format that binary64 holds.
    rounding, saturation, random_bits, seed, nan
        How the array, and every result made of it, is rounded.
    stream : int
        Selects the random bits of this rounding, and seeds those of what is computed from it.

    Returns
    -------
    EmulatedArray
        With data of its own.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`~floatemu.round`.

    Examples
    --------
    >>> import floatemu as fe
    >>> x = fe.asarray([[1.0, 2.0], [3.0, 100.3]], "bfloat16")
    >>> x / 3
    EmulatedArray([[ 0.33398438,  0.66796875],
                   [ 1.        , 33.5       ]], bfloat16)
    """
    fmt = get_format(fmt)
    projection = Projection(as_rounding(rounding), as_saturation(saturation), random_bits)
    if projection.rounding.stochastic and seed is None:
        raise ProjectionError(f"{projection.rounding.name} needs seed=, and stream= where several arrays are made")
    settings = Settings(projection, nan, seed)
    source = as_array(_raw(x))
    own = dtype_format(source.dtype)
    kind = smallest_float(fmt)
    if own is not None and own == fmt:  # an ml_dtypes array of this very format: nothing to round
        data = source.astype(kind)
    else:
        data = np.asarray(round_values(source, fmt, projection.rounding, dtype=kind, **settings.options(stream)))
    return EmulatedArray(np.array(data, kind), fmt, settings, stream)
