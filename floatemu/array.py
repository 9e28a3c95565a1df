"""EmulatedArray: values and their format, used as if the format were a numpy dtype.

Casting rules. Every operation gives the exact result of its operands' values, rounded once to their common
format by their common settings. Two arrays of different formats or settings do not mix, nor does an array of
floats without a format: name the result format (``fe.add(x, y, fmt)``) or wrap the other operand
(``fe.asarray(y, fmt)``). A Python number is first rounded to the format, to nearest, as a literal would be.
Comparisons are exact and give booleans.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from floatemu import dlpack
from floatemu.array_functions import (
    COMPOSED,
    EXACT,
    FILLED,
    JOINS,
    MOVES,
    REDUCTIONS,
    ROUNDED,
    SHAPES,
    by_shape,
    derived,
    describe,
    of_part,
)
from floatemu.codec import decode, encode
from floatemu.comparisons import compare
from floatemu.errors import FormatError, ProjectionError, UnsupportedError
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
        Selects the random bits of the stochastic modes. An operation derives its own from its name and its operands'
        streams, a part from its index: a program gives the same bits in each run, and other bits in each operation
        but those that repeat one on the same operands.

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

    def __int__(self) -> int:
        return int(self._data)

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)

    def __repr__(self) -> str:
        body = np.array2string(self._data, separator=", ", prefix="EmulatedArray(")
        return f"EmulatedArray({body}, {self.fmt.name})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            if dtype is not None and np.dtype(dtype) != self._data.dtype:
                raise UnsupportedError(f"the values are {self._data.dtype}: as {np.dtype(dtype)} they need a copy")
            return self.values
        return self._data.astype(self._data.dtype if dtype is None else dtype, copy=True)

    def __dlpack__(self, *, copy: bool | None = None, **options: Any) -> Any:
        # A copy unless sharing is asked for: who writes into it does not round.
        data = self._data if copy is False else self._data.copy()
        return data.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()

    def __reduce__(self) -> Any:
        return EmulatedArray, (self._data, self.fmt, self.settings, self.stream)

    # Parts -----------------------------------------------------------------------------------------------------------

    def _like(self, data: Any, stream: int | None = None) -> EmulatedArray:
        return EmulatedArray(np.asarray(data), self.fmt, self.settings, self.stream if stream is None else stream)

    def __getitem__(self, index: Any) -> EmulatedArray:
        return self._like(self._data[index], of_part(self, index))

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, EmulatedArray) and value.fmt == self.fmt:
            self._data[index] = value._data
            return
        stream = derived("setitem", (self.stream,))
        options = self.settings.options(stream) | {"dtype": self._data.dtype}
        self._data[index] = round_values(_raw(value), self.fmt, self.settings.projection.rounding, **options)
        self.stream = stream  # the next assignment, and what is computed from it, has random bits of its own

    def reshape(self, *shape: Any) -> EmulatedArray:
        """As numpy's."""
        return self._like(self._data.reshape(*shape))

    def transpose(self, *axes: Any) -> EmulatedArray:
        """As numpy's."""
        return self._like(self._data.transpose(*axes))

    def ravel(self) -> EmulatedArray:
        """One axis, in C order; a view where numpy's is."""
        return self._like(self._data.ravel())

    def flatten(self) -> EmulatedArray:
        """One axis, in C order; a copy."""
        return self._like(self._data.flatten())

    def squeeze(self, axis: Any = None) -> EmulatedArray:
        """As numpy's."""
        return self._like(self._data.squeeze(axis))

    def copy(self) -> EmulatedArray:
        """A copy with data of its own."""
        return self._like(self._data.copy())

    def item(self, *index: Any) -> float:
        """One element as a Python float."""
        return float(self._data.item(*index))

    def tolist(self) -> Any:
        """The values as nested lists of Python floats."""
        return self._data.tolist()

    def astype(self, fmt: Format | str | type | np.dtype[Any], **options: Any) -> EmulatedArray:
        """Round to another format.

        Parameters
        ----------
        fmt : Format, str or dtype
            A dtype of numpy, ml_dtypes or torch stands for its format; the result is an EmulatedArray all the same.
        **options
            As for :func:`asarray`; with none of them the array's own settings hold.
        """
        target = _format(fmt)
        if options:
            return asarray(self._data, target, **options)
        rounding = self.settings.projection.rounding
        stream = derived("astype", (self.stream,))
        options = self.settings.options(stream) | {"dtype": smallest_float(target)}
        return EmulatedArray(round_values(self._data, target, rounding, **options), target, self.settings, stream)

    def to_ml_dtypes(self) -> np.ndarray[Any, Any]:
        """The same numbers as a plain array of the dtype that is this format: numpy's own, or ml_dtypes'.

        Raises
        ------
        UnsupportedError
            If no dtype is this format, or ml_dtypes is not installed.
        """
        if self.fmt.name in _NUMPY:
            return self.codes.view(_NUMPY[self.fmt.name])
        try:
            import ml_dtypes
        except ImportError:
            raise UnsupportedError("ml_dtypes is not installed: pip install ml_dtypes") from None
        kinds = [kind for kind in vars(ml_dtypes).values() if isinstance(kind, type) and issubclass(kind, np.generic)]
        for kind in kinds:
            if dtype_format(np.dtype(kind)) == self.fmt:
                return self.codes.view(kind)
        raise UnsupportedError(f"no dtype of numpy or ml_dtypes is {self.fmt.name}; use .values or .codes")

    # numpy's protocols -----------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        out = kwargs.pop("out", (None,))[0]
        if method != "__call__" or kwargs:
            raise UnsupportedError(
                f"np.{name}.{method} with {sorted(kwargs) or 'no options'} is not defined for EmulatedArray; "
                "call the function itself, or a floatemu reduction that names order and accumulator"
            )
        if name in EXACT:
            raw = [_raw(x) for x in self._aligned(inputs, exact=True)]
            truth = compare(raw[0], raw[1], name) if len(raw) == 2 else ufunc(raw[0])
            if out is None:
                return np.asarray(truth)[()]
            out[...] = truth
            return out
        if name not in ROUNDED and name not in MOVES:
            known = ", ".join(sorted({*ROUNDED, *MOVES, *EXACT}))
            raise UnsupportedError(f"np.{name} is not defined for EmulatedArray; defined: {known}")
        operands = self._aligned(inputs)
        stream = derived(name, tuple(x.stream if isinstance(x, EmulatedArray) else 0 for x in operands))
        raw = [_raw(x) for x in operands]
        if name in MOVES:
            # A value of the format, but for the sign of zero and for what an unsigned format has no room for.
            rounding = self.settings.projection.rounding
            data = round_values(ufunc(*raw), self.fmt, rounding, **self.settings.options(stream))
        else:
            options = self.settings.options(stream) | {"dtype": self._data.dtype}
            data = ROUNDED[name](*raw, self.fmt, self.settings.projection.rounding, **options)
        if out is None:
            return self._like(data, stream)
        if not isinstance(out, EmulatedArray) or out.fmt != self.fmt:
            raise UnsupportedError("out= must be an EmulatedArray of the same format; use a new array instead")
        out._data[...] = data
        out.stream = stream
        return out

    def _aligned(self, inputs: tuple[Any, ...], exact: bool = False) -> list[Any]:
        """The operands, Python numbers rounded to the format, after the casting rules have been checked."""
        result: list[Any] = []
        for x in inputs:
            if isinstance(x, EmulatedArray):
                if not exact and (x.fmt != self.fmt or x.settings != self.settings):
                    what = "formats" if x.fmt != self.fmt else "settings"
                    raise UnsupportedError(
                        f"the operands have different {what}: {describe(self)} and {describe(x)}; name the result's "
                        "format with fe.add(x, y, fmt) and its kind, or bring one to the other's with .astype(fmt)"
                    )
                result.append(x)
            elif hasattr(x, "_mpf_") or (
                isinstance(x, (int, float, Fraction)) and not isinstance(x, (bool, np.generic))
            ):
                saturation = self.settings.projection.saturation
                number = x if exact else round_values(x, self.fmt, saturation=saturation, nan=self.settings.nan)
                result.append(number if exact else np.float64(number))
            else:
                kind = getattr(x, "dtype", type(x).__name__)
                way = f"wrap it with fe.asarray(x, {self.fmt.name!r}), which rounds it"
                raise UnsupportedError(f"an operand of {kind} has no format; {way}")
        return result

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = function.__name__
        if name in SHAPES:
            return by_shape(EmulatedArray, function, args, kwargs)
        if name in JOINS and args:
            return by_shape(EmulatedArray, function, (self._aligned(tuple(args[0])), *args[1:]), kwargs)
        if name == "where" and len(args) == 3:
            return by_shape(EmulatedArray, function, (_raw(args[0]), *self._aligned(args[1:])), kwargs)
        if name in FILLED:
            value = args[1] if FILLED[name] is None else FILLED[name]
            return by_shape(EmulatedArray, np.full_like, (args[0], *self._aligned((value,))), kwargs)
        if name in REDUCTIONS:
            return self._reduced(name, args, kwargs)
        if name in COMPOSED:
            try:
                return COMPOSED[name](*args, **kwargs)
            except UnsupportedError:
                raise
            except TypeError as error:
                raise UnsupportedError(f"np.{name} of an EmulatedArray: {error}") from None
        known = ", ".join(sorted({*SHAPES, *JOINS, "where", *FILLED, *REDUCTIONS, *COMPOSED}))
        raise UnsupportedError(f"np.{name} is not defined for EmulatedArray; defined: {known}")

    def _reduced(self, name: str, args: Any, kwargs: Any) -> EmulatedArray:
        operands = self._aligned(args[:1])
        names = ("ord", "axis", "keepdims") if name == "norm" else ("axis",)
        given = dict(zip(names, args[1:], strict=False)) | kwargs
        of_vectors = given.get("ord") == 2 and (isinstance(given.get("axis"), int) or np.ndim(args[0]) == 1)
        if given.pop("ord", None) is not None and not of_vectors:
            raise UnsupportedError(
                "np.linalg.norm of an EmulatedArray is the root of the sum of squares: leave out ord"
            )
        unknown = sorted(set(given) - {"axis", "keepdims", "order", "accumulate"})
        if len(args) > len(names) + 1 or unknown:
            raise UnsupportedError(
                f"np.{name} of an EmulatedArray takes axis and keepdims; given {unknown or args[1:]}. Its method, and "
                f"fe.{name}(x, fmt), take order= and accumulate= too"
            )
        given = {key: value for key, value in given.items() if value is not None}
        stream = derived(name, tuple(x.stream for x in operands))
        options = self.settings.options(stream) | {"dtype": self._data.dtype} | given
        data = REDUCTIONS[name](*map(_raw, operands), self.fmt, self.settings.projection.rounding, **options)
        return self._like(data, stream)

    def sum(self, axis: Any = None, keepdims: bool = False, **how: Any) -> EmulatedArray:
        """Sum from first to last, every partial sum rounded to the format; or by ``order=`` and ``accumulate=``."""
        return self._reduced("sum", (self,), {"axis": axis, "keepdims": keepdims, **how})

    def mean(self, axis: Any = None, keepdims: bool = False, **how: Any) -> EmulatedArray:
        """:meth:`sum` divided by the count, rounded to the format; ``order=`` and ``accumulate=`` as there."""
        return self._reduced("mean", (self,), {"axis": axis, "keepdims": keepdims, **how})

    def dot(self, other: Any) -> Any:
        """The product with an array of the same format, as ``@``."""
        return np.dot(self, other)

    def max(self, axis: Any = None, keepdims: bool = False) -> EmulatedArray:
        """The largest number."""
        return self._like(self._data.max(axis=axis, keepdims=keepdims))

    def min(self, axis: Any = None, keepdims: bool = False) -> EmulatedArray:
        """The least number."""
        return self._like(self._data.min(axis=axis, keepdims=keepdims))

    def argmax(self, axis: Any = None) -> Any:
        """Where the largest number is."""
        return self._data.argmax(axis)

    def argmin(self, axis: Any = None) -> Any:
        """Where the least number is."""
        return self._data.argmin(axis)


_NUMPY = {"binary16": np.float16, "binary32": np.float32, "binary64": np.float64}


def _format(fmt: Any) -> Format:
    """The format that a dtype is; otherwise as :func:`~floatemu.get_format`."""
    if isinstance(fmt, (type, np.dtype)) and (own := dtype_format(np.dtype(fmt))) is not None:
        return own
    return get_format(str(fmt) if str(fmt).startswith("torch.") else fmt)


def _raw(x: Any) -> Any:
    return x._data if isinstance(x, EmulatedArray) else x


def asarray(
    x: Any,
    fmt: Format | str | type | np.dtype[Any] | None = None,
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
        As for :func:`~floatemu.round`; an EmulatedArray is rounded anew. Tensors that speak DLPack are copied from
        the CPU, those of bfloat16 and 8 bits too.
    fmt : Format, str or dtype, optional
        A format that binary64 holds; a dtype of numpy, ml_dtypes or torch stands for its own. Default: the format
        that x already has.
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
        As for :func:`~floatemu.round`; no format given, and none that x has; a tensor on another device.

    Examples
    --------
    >>> import floatemu as fe
    >>> x = fe.asarray([[1.0, 2.0], [3.0, 100.3]], "bfloat16")
    >>> x / 3
    EmulatedArray([[ 0.33398438,  0.66796875],
                   [ 1.        , 33.5       ]], bfloat16)
    """
    source, own = _source(x)
    if fmt is None and own is None:
        raise FormatError(f"{type(x).__name__} has no format of its own: name one, as in fe.asarray(x, 'bfloat16')")
    target = _format(own if fmt is None else fmt)
    projection = Projection(as_rounding(rounding), as_saturation(saturation), random_bits)
    if projection.rounding.stochastic and seed is None:
        raise ProjectionError(f"{projection.rounding.name} needs seed=, and stream= where several arrays are made")
    settings = Settings(projection, nan, seed)
    kind = smallest_float(target)
    data = round_values(source, target, projection.rounding, dtype=kind, **settings.options(stream))
    return EmulatedArray(np.array(data, kind), target, settings, stream)


def _source(x: Any) -> tuple[np.ndarray[Any, Any], Format | None]:
    """What is to be wrapped as an array, and the format that its numbers have for certain."""
    if isinstance(x, EmulatedArray):
        return x._data, x.fmt
    if hasattr(x, "__dlpack__") and not isinstance(x, (np.ndarray, np.generic)):
        found = dlpack.read(x)
        if found is not None:
            return np.asarray(decode(*found)), found[1]
    try:
        array = as_array(x)
    except UnsupportedError:
        raise
    except TypeError as error:  # of a foreign library
        raise UnsupportedError(f"{type(x).__name__} cannot be read: {error}; accepted: arrays of numbers") from None
    return array, dtype_format(array.dtype) if hasattr(x, "dtype") else None
