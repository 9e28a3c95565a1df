"""What became of an array beside what it should have been: errors, ranges and counts in one pass."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from floatemu._core import survey as core
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format

NOTHING = np.empty(0)
NOTHING.flags.writeable = False
NO_FLAGS = np.empty(0, np.uint8)
NO_FLAGS.flags.writeable = False


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
    shape = np.shape(exact)
    arrays = [
        NOTHING if array is None else _flat(array, name, np.float64, shape)
        for name, array in (
            ("values", values),
            ("exact", exact),
            ("tail", tail),
            ("unrounded", unrounded),
            ("rest", rest),
            ("sensitivity", sensitivity),
        )
    ]
    raised = NO_FLAGS if flags is None else _flat(flags, "flags", np.uint8, shape)
    found, counts = np.empty(core.MEASURES), np.empty(core.COUNTS, np.int64)
    with np.errstate(all="ignore"):  # as compiled code does; the same text runs without the compiler
        core.survey_loop()(*arrays, raised, *_landmarks(None if fmt is None else get_format(fmt)), found, counts)
    (
        size, error, inherited, local, felt, ulps, inherited_ulps, local_ulps, worst, inherited_worst, local_worst,
        amax, amin, exact_amax, exact_amin, ratio,
    ) = found.tolist()  # fmt: skip
    some = arrays[1].size > 0
    return Survey(
        size,
        error,
        inherited,
        local,
        felt,
        ulps,
        inherited_ulps,
        local_ulps,
        worst,
        inherited_worst,
        local_worst,
        amax if some else None,
        amin if amin > 0 else None,
        exact_amax if some else None,
        exact_amin if exact_amin > 0 else None,
        ratio,
        *counts.tolist(),
    )


@lru_cache(maxsize=512)
def _landmarks(fmt: Format | None) -> tuple[bool, int, int, int, float]:
    if fmt is None:
        return False, 1, 0, 0, 0.0
    if not get_format("binary64").holds(fmt):
        raise UnsupportedError(f"{fmt.name} has values that binary64 does not hold, as which values are given")
    return True, fmt.p, fmt.emin, fmt.qmin, float(fmt.min_normal)


def _flat(array: Any, name: str, kind: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if isinstance(array, np.generic):  # as other faces return what has no axes
        array = np.asarray(array)
    if not isinstance(array, np.ndarray) or array.dtype != kind or array.shape != shape:
        what = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise UnsupportedError(
            f"{name} is {what}; accepted: an array of {np.dtype(kind)}, of the shape of exact, {shape}"
        )
    flat = array.reshape(-1).view()
    flat = flat if flat.flags.c_contiguous and flat.flags.aligned else np.ascontiguousarray(flat).view()
    flat.flags.writeable = False  # one constness for all callers: the compiler tells read-only arrays from others
    return flat
