"""Rounding of values: round, round_with_flags, rounder."""

from __future__ import annotations

import enum
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from floatemu._core import kernels
from floatemu._core import rounding as core
from floatemu._core.random import MASK, draw, stream_state
from floatemu.format import Format, as_integer
from floatemu.formats import get_format
from floatemu.operands import as_array, is_number
from floatemu.projecting import Request, carrier_block, number_of_code, project_array, project_number
from floatemu.projection import Rounding, Saturation
from floatemu.results import check_out, result_dtype
from floatemu.target import carried_by, carrier_target, layout, scaled_target, smallest_float

NEAREST_TIES_TO_EVEN = Rounding.NEAREST_TIES_TO_EVEN
_FLOAT64 = np.dtype(np.float64)


class Flag(enum.IntFlag):
    """What happened to one element, as bits of a uint8 (IEEE 754-2019, section 7, and a few more).

    ``OVERFLOW`` is raised for finite values beyond the range, ``SATURATED`` where the result is the
    end of the range in place of something beyond, ``UNDERFLOW`` where a result is inexact and tiny
    after rounding, ``FLUSHED`` where such a result is zero, ``NAN_BORN`` where a number became NaN.
    """

    INEXACT = core.INEXACT
    OVERFLOW = core.OVERFLOW
    UNDERFLOW = core.UNDERFLOW
    FLUSHED = core.FLUSHED
    SATURATED = core.SATURATED
    INVALID = core.INVALID
    DIVIDE_BY_ZERO = core.DIVIDE_BY_ZERO
    NAN_BORN = core.NAN_BORN


@lru_cache(maxsize=512)
def _fits_binary64(fmt: Format) -> bool:
    return get_format("binary64").holds(fmt)


def _round(x: Any, request: Request, dtype: Any, out: Any, flagged: bool) -> tuple[Any, Any]:
    fmt = request.fmt
    beyond = not _fits_binary64(fmt)
    single = is_number(x) or (beyond and isinstance(x, (float, np.floating)))
    if single and out is None:
        code, flag = project_number(x, request)
        value: Any = number_of_code(code, fmt)
        if not beyond or dtype is not None:
            value = result_dtype((), fmt, dtype, None).type(float(value))
        return value, np.uint8(flag)
    array = np.asarray(x, object) if single else as_array(x)
    result = out
    if out is not None:
        check_out(out, array.shape)
    kind = result_dtype((array.dtype,), fmt, dtype, out)
    if out is None:
        result = np.empty(array.shape, kind)
    flags = np.empty(array.shape, np.uint8) if flagged else None
    project_array(array, request, result, coded=False, flags=flags)
    if out is None and not isinstance(x, np.ndarray) and array.ndim == 0:
        return result[()], (flags[()] if flags is not None else None)
    return result, flags


def round(
    x: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST_TIES_TO_EVEN,
    *,
    saturation: Saturation | str = Saturation.SAT_NONE,
    random_bits: int | None = None,
    random: Any = None,
    seed: int | None = None,
    stream: int = 0,
    nan: str | None = None,
    dtype: Any = None,
    out: Any = None,
) -> Any:
    """Round every number of ``x``, once, to a value of the format ``fmt``.

    ``Project = Saturate after RoundToPrecision`` (P3109 v4.0, 4.7): the exact value of each element is
    rounded to p bits, or to the quantum 2^qmin below 2^emin, with an unbounded exponent; what then
    lies outside the finite range becomes what ``saturation`` and the format say.

    Parameters
    ----------
    x : array_like or number
        float16, float32, float64, ml_dtypes or integer array of any shape, strides and byte order;
        list; Python int, float, Fraction, Decimal; mpmath mpf. Taken as the exact value it has.
    fmt : Format or str
        Target format.
    rounding : Rounding or str
        One of the nine modes.
    saturation : Saturation or str
        ``SAT_NONE``, ``SAT_FINITE`` or ``SAT_PROPAGATE``.
    random_bits : int, optional
        N, 1..32, for the stochastic modes; default 32.
    random : array_like of int, optional
        The random integers R themselves, 0 <= R < 2^N, broadcastable to ``x``.
    seed, stream : int
        Otherwise R are the top N bits of a word f(seed, stream, index), index being the element's
        C-order position. Equal (seed, stream) give equal bits: pass ``stream=step`` in a loop.
    nan : {None, "zero", "max"}
        What a NaN becomes in a format without NaN: an error, zero, or the largest finite value.
        Elsewhere a NaN gives the quiet NaN with clear sign and payload.
    dtype : dtype, optional
        Of the result. Default: that of ``x`` if it holds every value of ``fmt``, else the smaller of
        float32 and float64 that does; float64 for integers, fractions and lists.
    out : numpy.ndarray, optional
        Where the result goes; may be ``x``.

    Returns
    -------
    numpy.ndarray or scalar
        Same shape as ``x``. A single number into a format that binary64 does not hold gives a Fraction.

    Raises
    ------
    FormatError
        If the format is unknown.
    ProjectionError
        If a mode is unknown, random bits are missing, or a NaN has nowhere to go.
    UnsupportedError
        If the type of ``x`` is not accepted, or ``dtype`` or ``out`` cannot hold the format.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.round([0.1, 464.0, 465.0, -1e9], "e4m3fn").tolist()
    [0.1015625, 448.0, nan, nan]
    >>> float(fe.round(1 + 2**-4 + 2**-40, "e4m3fn"))  # through float32 this would give 1.0
    1.125
    >>> fe.round([1.03] * 4, "e4m3fn", "stochastic_a", seed=1, stream=0).tolist()
    [1.0, 1.0, 1.0, 1.125]
    """
    request = Request.make(get_format(fmt), rounding, saturation, random_bits, random, seed, stream, nan)
    return _round(x, request, dtype, out, flagged=False)[0]


def round_with_flags(
    x: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST_TIES_TO_EVEN,
    *,
    saturation: Saturation | str = Saturation.SAT_NONE,
    random_bits: int | None = None,
    random: Any = None,
    seed: int | None = None,
    stream: int = 0,
    nan: str | None = None,
    dtype: Any = None,
    out: Any = None,
) -> tuple[Any, Any]:
    """Round as :func:`round` does, and say for each element what happened.

    Parameters
    ----------
    x, fmt, rounding, saturation, random_bits, random, seed, stream, nan, dtype, out
        As for :func:`round`.

    Returns
    -------
    values : numpy.ndarray or scalar
        As :func:`round` returns.
    flags : numpy.ndarray of uint8, or numpy.uint8
        Same shape; bits of :class:`Flag`.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`round`.

    Examples
    --------
    >>> import floatemu as fe
    >>> values, flags = fe.round_with_flags([1.0, 0.1, 1e9, 1e-9], "e5m2")
    >>> [fe.Flag(int(f)).name for f in flags[1:]]
    ['INEXACT', 'INEXACT|OVERFLOW', 'INEXACT|UNDERFLOW|FLUSHED']
    """
    request = Request.make(get_format(fmt), rounding, saturation, random_bits, random, seed, stream, nan)
    return _round(x, request, dtype, out, flagged=True)


class Rounder:
    """A format and a projection, fixed: call it on arrays and numbers, or inside your own ``@njit``.

    Made by :func:`rounder`. In Python, ``r(x, stream=0)`` is ``fe.round`` with the settings given. In
    compiled code ``r(x, index)`` takes one number and its index and returns a float; ``index`` selects
    the random bits of the stochastic modes and is ignored by the others.

    Attributes
    ----------
    fmt : Format
    options : dict
        The keyword arguments for :func:`round`.
    """

    def __init__(self, fmt: Format, rounding: Any, options: dict[str, Any]) -> None:
        self.fmt = fmt
        self.rounding = rounding
        self.options = options
        self._request = Request.make(fmt, rounding, options["saturation"], options["random_bits"], None,
                                     options["seed"], options["stream"], options["nan"])  # fmt: skip

    def __call__(self, x: Any, index: int = 0, *, stream: int | None = None) -> Any:
        """Round ``x``; ``stream`` replaces the rounder's own, ``index`` is a single number's position.

        Parameters
        ----------
        x : array_like or number
        index : int
            Position whose random bits a single number uses; arrays count from 0 by themselves.
        stream : int, optional

        Returns
        -------
        numpy.ndarray or scalar
        """
        bits = self._request.bits
        one = bits and np.ndim(x) == 0
        if stream is None and not one:
            return _round(x, self._request, None, None, flagged=False)[0]
        options = self.options if stream is None else {**self.options, "stream": stream}
        if one:
            index, stream = as_integer(index, "index"), as_integer(options["stream"], "stream")
            state = stream_state(as_integer(options["seed"], "seed") & MASK, stream & MASK)
            options = {**options, "random": draw(int, state, index & MASK, bits)}
        return round(x, self.fmt, self.rounding, **options)

    def with_flags(self, x: Any) -> tuple[Any, Any]:
        """Round as :func:`round_with_flags` does; of small arrays it takes a third of the time.

        Parameters
        ----------
        x : array_like or number

        Returns
        -------
        values : numpy.ndarray or scalar
        flags : numpy.ndarray of uint8, or numpy.uint8
        """
        if x.__class__ is not np.ndarray or x.dtype is not _FLOAT64 or not self._direct:
            return _round(x, self._request, None, None, flagged=True)
        layout = x.flags
        if not (layout.c_contiguous and layout.aligned):
            x = x.copy()
        values, flags = np.empty(x.shape), np.empty(x.shape, np.uint8)
        carrier_block(x.reshape(-1), values.reshape(-1), flags.reshape(-1), None, "float64", self._request, False, 0)
        return values, flags

    @cached_property
    def _direct(self) -> bool:
        # whether arrays of binary64 go to the kernel as they are
        return carried_by(self.fmt, "float64") and (self.fmt.has_nan or self._request.nan is not None)

    @cached_property
    def compiled(self) -> Any:
        """The compiled scalar function ``f(x, index=0)`` on binary64 numbers."""
        smallest_float(self.fmt)
        request, fmt = self._request, self.fmt
        carried = carried_by(fmt, "float64")
        if carried:
            target = carrier_target(fmt, request.projection, request.nan, "float64", False)
        else:
            target = scaled_target(fmt, request.projection, request.nan)
        mode = int(request.projection.rounding)
        return kernels.scalar_projection(target, layout(fmt), mode, request.bits, request.state, carried)

    @property
    def _numba_type_(self) -> Any:
        # numba asks a global of a compiled function for its type by this name; ours is that of `compiled`.
        return self.compiled._numba_type_

    def __repr__(self) -> str:
        projection = self._request.projection
        return f"<rounder to {self.fmt.name}, {projection.rounding.name}, {projection.saturation.name}>"


def rounder(
    fmt: Format | str,
    rounding: Rounding | str = NEAREST_TIES_TO_EVEN,
    *,
    saturation: Saturation | str = Saturation.SAT_NONE,
    random_bits: int | None = None,
    seed: int | None = None,
    stream: int = 0,
    nan: str | None = None,
) -> Rounder:
    """Return a callable that rounds to ``fmt``, in Python and inside the caller's own ``@njit`` code.

    Parameters
    ----------
    fmt, rounding, saturation, random_bits, seed, stream, nan
        As for :func:`round`.

    Returns
    -------
    Rounder

    Raises
    ------
    FormatError, ProjectionError
        As for :func:`round`.

    Notes
    -----
    Compiled code has no exceptions to offer here: in a format without NaN and with ``nan=None`` a NaN
    becomes zero there, while the same call from Python raises.

    Examples
    --------
    >>> import floatemu as fe
    >>> from numba import njit
    >>> half = fe.rounder("binary16")
    >>> @njit
    ... def partial_sums(n):
    ...     s = 0.0
    ...     for _ in range(n):
    ...         s = half(s + 1.0)
    ...     return s
    >>> partial_sums(5000)  # 2048 + 1 rounds to 2048
    2048.0
    """
    options = {"saturation": saturation, "random_bits": random_bits, "seed": seed, "stream": stream, "nan": nan}
    return Rounder(get_format(fmt), rounding, options)
