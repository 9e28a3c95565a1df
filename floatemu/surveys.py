"""What became of arrays beside what they should have been: errors, ranges and counts in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from floatemu._core import survey as core
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format

PIECE = 2**14
"""Elements of arrays that are laid side by side for one pass: as many as stay in a cache."""
_FLOAT64, _UINT8 = np.dtype(np.float64), np.dtype(np.uint8)


class Survey(NamedTuple):
    """What :func:`survey` finds. Norms are Euclidean: infinite if an element is, NaN if one is NaN.

    Attributes
    ----------
    size : float
        Norm of the exact values.
    error, inherited, local : float
        Norms of value - exact, unrounded - exact, value - unrounded; equal infinities differ by 0.
    sensitivity : float
        Norm of ``sensitivity``.
    ulps, inherited_ulps, local_ulps : float
        Largest of each error of an element, in quanta of the format at its exact value.
    worst, inherited_worst, local_worst : float
        Largest of each error of an element, over the magnitude of its exact value; infinite where that is zero.
    amax, amin, exact_amax, exact_amin : float or None
        Largest magnitude, and smallest but zero, of values and exact values; None where there is none.
    ratio : float
        Largest finite quotient of ``sensitivity`` by the magnitude of the exact value; 0 where there is none.
    zeros_new, zeros_inherited : int
        Zeros whose unrounded value is none; other zeros whose exact value is none.
    subnormal : int
        Elements below the format's normal range that are not zero.
    overflowed, saturated, beyond : int
        Elements with the flag ``OVERFLOW``, with ``SATURATED``, with either.
    subnormal_new : int
        Of those below the normal range, the ones that the rounding changed.
    unfit_inherited : int
        Infinities and NaN whose unrounded value is one and whose exact value is none.

    Examples
    --------
    >>> survey(np.array([0.0]), np.array([-0.0])).amin is None
    True
    """

    size: float
    error: float
    inherited: float
    local: float
    sensitivity: float
    ulps: float
    inherited_ulps: float
    local_ulps: float
    worst: float
    inherited_worst: float
    local_worst: float
    amax: float | None
    amin: float | None
    exact_amax: float | None
    exact_amin: float | None
    ratio: float
    zeros_new: int
    zeros_inherited: int
    subnormal: int
    overflowed: int
    saturated: int
    beyond: int
    subnormal_new: int
    unfit_inherited: int


def survey(
    values: Any,
    exact: Any,
    fmt: Format | str | None = None,
    *,
    tail: Any = None,
    unrounded: Any = None,
    rest: Any = None,
    flags: Any = None,
    sensitivity: Any = None,
) -> Survey:
    """Compare rounded values with exact ones, in one pass.

    Parameters
    ----------
    values, exact : ndarray of float64
        Of one shape, as all arrays that follow.
    fmt : Format or str, optional
        Of the values: for errors in ulp and ``subnormal``, which are 0 without.
    tail : ndarray of float64, optional
        exact + tail is the exact value to twice the precision.
    unrounded, rest : ndarray of float64, optional
        What was rounded to ``values``, and its tail; default: the values themselves, of which a tail says nothing.
    flags : ndarray of uint8, optional
        Bits of :class:`floatemu.Flag` from that rounding.
    sensitivity : ndarray of float64, optional
        Absolute condition of each element.

    Returns
    -------
    Survey
        The same bits on every machine: each sum has one order, and carries the error of every addition.

    Raises
    ------
    UnsupportedError
        If an array has another shape or dtype, or binary64 does not hold the format.

    Examples
    --------
    >>> import floatemu as fe
    >>> x = np.array([0.1, 1e-9, 300.0])
    >>> values, flags = fe.round_with_flags(x, "e4m3fn")
    >>> found = survey(values, x, "e4m3fn", unrounded=x, flags=flags)
    >>> round(found.error, 6), found.error == found.local, found.zeros_new, found.amax
    (12.0, True, 1, 288.0)
    """
    return next(survey_all([Sample(values, exact, fmt, tail, unrounded, rest, sensitivity, flags)]))


class Sample(NamedTuple):
    """What one survey looks at: the arguments of :func:`survey`."""

    values: Any
    exact: Any
    fmt: Format | str | None = None
    tail: Any = None
    unrounded: Any = None
    rest: Any = None
    sensitivity: Any = None
    flags: Any = None


class Step(NamedTuple):
    """One rounding, for :func:`scan_all`.

    Attributes
    ----------
    unrounded, values : ndarray of float64
        Before and after it, of one shape, as all arrays that follow.
    flags : ndarray of uint8
        Bits of :class:`floatemu.Flag`.
    left, right : ndarray of float64, optional
        The operands, if left + right, or left - right, was rounded.
    subtracts : bool
        Which of them.
    """

    unrounded: Any
    values: Any
    flags: Any
    left: Any = None
    right: Any = None
    subtracts: bool = False


class Scan(NamedTuple):
    """What :func:`scan_all` finds in one rounding. Places are those of a flat array in C order, -1 for none.

    Attributes
    ----------
    raised : int
        All flags of its elements together.
    unfit, sick : int
        Number of infinities and NaN before and after it.
    underflows, first_underflow, flushes : int
        Number of elements with the flag ``UNDERFLOW``, the first of them, number of those with ``FLUSHED``.
    absorbed, first_absorbed : int
        Number of finite sums that equal one operand although the other is not 0, and the first of them.
    least : float
        Smallest magnitude that underflowed; infinite if none did.
    """

    raised: int
    unfit: int
    sick: int
    underflows: int
    first_underflow: int
    flushes: int
    absorbed: int
    first_absorbed: int
    least: float


_SAMPLE = (_FLOAT64, _FLOAT64, None, _FLOAT64, _FLOAT64, _FLOAT64, _FLOAT64, _UINT8)
_STEP = (_FLOAT64, _FLOAT64, _UINT8, _FLOAT64, _FLOAT64, None)
"""Dtypes of the fields; None for those that are no arrays."""
_LIKE = 1
"""The field of either whose shape the others have."""


def survey_all(samples: Iterable[Sample]) -> Iterator[Survey]:
    """Survey many arrays, some at a time: of small ones, a call costs more than the work.

    Parameters
    ----------
    samples : iterable of Sample

    Yields
    ------
    Survey
        What :func:`survey` finds in each, the same bits.

    Raises
    ------
    UnsupportedError
        As :func:`survey` does.

    Examples
    --------
    >>> x = np.array([3.0, 4.0])
    >>> [found.size for found in survey_all([Sample(x, x), Sample(x, 2 * x)])]
    [5.0, 10.0]
    """
    room = _Pools(_SAMPLE)
    for some, sizes in _pieces(samples, _SAMPLE):
        columns = list(zip(*some))
        pools, places = room.fill(columns, sizes)
        landmarks = [_landmarks(fmt) for fmt in columns[2]]
        marks, least = np.array([mark[:4] for mark in landmarks], np.int64), np.array([mark[4] for mark in landmarks])
        found, counts = np.empty((len(some), core.MEASURES)), np.empty((len(some), core.COUNTS), np.int64)
        with np.errstate(all="ignore"):  # as compiled code does; the same text runs without the compiler
            core.survey_loop()(*pools, places, sizes, marks, least, found, counts)
        rows: Any = found.tolist()
        for size, measures, counted in zip(sizes.tolist(), rows, counts.tolist()):
            if measures[core.AMIN] < 0:  # as where nothing but zeros is
                measures[core.AMIN] = None
            if measures[core.EXACT_AMIN] < 0:
                measures[core.EXACT_AMIN] = None
            if not size:
                measures[core.AMAX] = measures[core.EXACT_AMAX] = None
            yield Survey._make(measures + counted)


def scan_all(steps: Iterable[Step]) -> Iterator[Scan]:
    """Look through many roundings for what left the range, underflowed or was absorbed.

    Parameters
    ----------
    steps : iterable of Step

    Yields
    ------
    Scan

    Raises
    ------
    UnsupportedError
        If an array has another shape or dtype.

    Examples
    --------
    >>> import floatemu as fe
    >>> x, y = np.array([256.0, 1e-9]), np.array([1.0, 1e-9])
    >>> values, flags = fe.round_with_flags(x + y, "e4m3fn")
    >>> (found,) = scan_all([Step(x + y, values, flags, x, y)])
    >>> found.absorbed, found.underflows, found.first_underflow, found.least
    (1, 1, 1, 2e-09)
    """
    room = _Pools(_STEP)
    for some, sizes in _pieces(steps, _STEP):
        columns = list(zip(*some))
        pools, places = room.fill(columns, sizes)
        signs = np.where(columns[-1], -1.0, 1.0)
        marks, least = np.empty((len(some), core.SCANNED), np.int64), np.empty(len(some))
        with np.errstate(all="ignore"):
            core.scan_loop()(*pools, places, sizes, signs, marks, least)
        rows: Any = marks.tolist()
        for row, smallest in zip(rows, least.tolist()):
            row.append(smallest)
            yield Scan._make(row)


def _pieces(items: Iterable[Any], kinds: Sequence[Any]) -> Iterator[tuple[list[Any], Any]]:
    """Some of the items at a time, checked, and how many elements the arrays of each have: more than PIECE alone."""
    some: list[Any] = []
    sizes: list[int] = []
    room = PIECE
    for item in items:
        item = _checked(item, kinds)
        size = item[_LIKE].size
        if some and size > room:
            yield some, np.array(sizes)
            some, sizes, room = [], [], PIECE
        some.append(item)
        sizes.append(size)
        room -= size
    if some:
        yield some, np.array(sizes)


def _checked(item: Any, kinds: Sequence[Any]) -> Any:
    shape = getattr(item[_LIKE], "shape", ())
    for place, (array, kind) in enumerate(zip(item, kinds)):
        if array is None or kind is None:
            continue
        if array.__class__ is np.ndarray and array.dtype is kind and array.shape == shape:
            continue  # as nearly all: what follows takes its time
        if isinstance(array, np.generic):  # as other faces return what has no axes
            array = np.asarray(array)
            item = item._replace(**{item._fields[place]: array})
        if not isinstance(array, np.ndarray) or array.dtype != kind or array.shape != shape:
            what = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            name, model = item._fields[place], item._fields[_LIKE]
            raise UnsupportedError(f"{name} is {what}; accepted: an array of {kind}, of the shape of {model}, {shape}")
    return item


class _Pools:
    """Arrays of many items one behind the other, in the same memory for one piece after the other: it stays warm."""

    def __init__(self, kinds: Sequence[Any]) -> None:
        self._room = [None if kind is None else np.empty(PIECE, kind) for kind in kinds]

    def fill(self, columns: Sequence[Sequence[Any]], sizes: Any) -> tuple[list[Any], Any]:
        """Return each column's pool, and where each item's array starts in it; -1 where it has none."""
        pools, places, starts = [], [], np.cumsum(sizes) - sizes
        for column, room in zip(columns, self._room):
            if room is None:
                continue
            there = [array for array in column if array is not None]
            if len(there) == len(column):
                places.append(starts)
                total = starts[-1] + sizes[-1]
            else:
                given = np.array([array is not None for array in column])
                ends = np.cumsum(given * sizes)
                places.append(np.where(given, ends - sizes, -1))
                total = ends[-1]
            pools.append(_flat(there, room, total))
        return pools, np.stack(places, axis=1)


def _flat(arrays: Sequence[Any], room: Any, total: int) -> Any:
    if len(arrays) == 1:
        flat = np.require(arrays[0], room.dtype, ("C", "A")).reshape(-1).view()
    else:
        flat = room[:total]
        if arrays:
            np.concatenate(arrays, axis=None, out=flat)
    flat.flags.writeable = False  # one constness for all callers: the compiler tells read-only arrays from others
    return flat


@lru_cache(maxsize=512)
def _landmarks(fmt: Format | str | None) -> tuple[bool, int, int, int, float]:
    if fmt is None:
        return False, 1, 0, 0, 0.0
    fmt = get_format(fmt)
    if not get_format("binary64").holds(fmt):
        raise UnsupportedError(f"{fmt.name} has values that binary64 does not hold, as which values are given")
    return True, fmt.p, fmt.emin, fmt.qmin, float(fmt.min_normal)
