"""softmax and logsumexp: every step rounded, the sum in a named order."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from floatemu import arithmetic, functions
from floatemu.format import Format
from floatemu.orders import NEAREST, Order, Plan
from floatemu.projection import Rounding
from floatemu.reductions import axes_of, deliver, operand
from floatemu.reductions import sum as rounded_sum

STEPS = 5
"""Streams that one call uses: step s of stream t has the random bits of stream 5 t + s."""


class _Steps:
    """One call's settings, handed to each step in turn with random bits of its own; gathers flags if wanted."""

    def __init__(self, plan: Plan, options: dict[str, Any]) -> None:
        self.options = dict(options)
        self.stream = operator.index(self.options.pop("stream", 0))
        self.rounding = plan.request.projection.rounding
        self.marks: Any = np.uint8(0)

    def __call__(
        self, function: Any, *operands: Any, fmt: Format, step: int, over: tuple[int, ...] | None = None, **more: Any
    ) -> Any:
        """One step; ``over``: the axes over which its results, and so its flags, go into the results of later ones."""
        stream = STEPS * self.stream + step
        found = function(*operands, fmt, self.rounding, stream=stream, dtype=np.float64, **more, **self.options)
        if not self.options.get("flags", False):
            return found
        values, flags = found
        self.marks = self.marks | (flags if over is None else np.bitwise_or.reduce(flags, over, keepdims=True))
        return values


def _exponentials(
    x: Any, plan: Plan, axis: Any, options: dict[str, Any]
) -> tuple[_Steps, tuple[int, ...], Any, Any, Any]:
    values = operand(x, "x")
    axes = axes_of(axis, values.ndim)
    step = _Steps(plan, options)
    largest = np.max(values, axis=axes, keepdims=True, initial=-np.inf)
    # An infinite maximum would make NaN of what has a limit: exp(-inf) = 0 and log(inf) = inf serve as they are.
    largest = np.where(np.isinf(largest), 0.0, largest)
    inner = plan.accumulate
    shifted = step(arithmetic.sub, values, largest, fmt=inner, step=0, over=axes)
    powers = step(functions.exp, shifted, fmt=inner, step=1, over=axes)
    total = step(rounded_sum, powers, fmt=inner, step=2, axis=axes, keepdims=True, order=plan.order)
    return step, axes, largest, powers, total


def softmax(
    x: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    axis: Any = -1,
    order: str | Order = "sequential",
    accumulate: Format | str | None = None,
    dtype: Any = None,
    out: Any = None,
    **options: Any,
) -> Any:
    """Return exp(x - m) / sum(exp(x - m)) with m the largest x, every step rounded once.

    Steps: the difference, its exponential and every addition are rounded to ``accumulate``, the quotient to
    ``fmt``. The maximum is exact; where it is infinite, 0 takes its place.

    Parameters
    ----------
    x : array_like
        Taken as the exact values they have.
    fmt : Format or str
        Format of the result.
    rounding : Rounding or str
        One of the nine modes, for every step.
    axis : int or tuple of int, optional
        Axes to sum over; None: all.
    order : str
        As for :func:`~floatemu.reductions.sum`.
    accumulate : Format or str, optional
        Format of the differences, exponentials and sums. Default: ``fmt``.
    dtype, out
        As for :func:`~floatemu.round`.
    **options
        ``saturation``, ``random_bits``, ``seed``, ``stream``, ``nan`` as for :func:`~floatemu.round`;
        ``flags=True`` returns (values, flags), flags being those of every step or-ed, each term's included:
        all terms go into each result. Difference, exponential, sum and quotient use the random bits of the streams
        5 ``stream`` + 0, 1, 2 and 3.

    Returns
    -------
    numpy.ndarray or scalar
        Shape of ``x``.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`~floatemu.reductions.sum`.

    Examples
    --------
    >>> from floatemu.normalisation import softmax
    >>> softmax([0.0, 1.0, 2.0], "bfloat16").tolist()
    [0.09033203125, 0.2451171875, 0.66796875]
    """
    plan = Plan.make(fmt, None, accumulate, order, False, rounding, options)
    step, _, _, powers, total = _exponentials(x, plan, axis, options)
    values = np.asarray(step(arithmetic.div, powers, total, fmt=plan.result, step=3))
    return deliver(values, step.marks, (x,), plan, dtype, out)


def logsumexp(
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
    """Return m + log(sum(exp(x - m))) with m the largest x, every step rounded once.

    Steps: the difference, its exponential, every addition and the logarithm are rounded to ``accumulate``, the
    last sum to ``fmt``. The maximum is exact; where it is infinite, 0 takes its place. No terms give -inf.

    Parameters
    ----------
    x, fmt, rounding, order, accumulate, dtype, out
        As for :func:`softmax`.
    axis : int or tuple of int, optional
        Reduced axes; None: all.
    keepdims : bool
        Whether reduced axes stay, with length 1.
    **options
        As for :func:`softmax`; logarithm and last sum use the streams 5 ``stream`` + 3 and 4.

    Returns
    -------
    numpy.ndarray or scalar

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`~floatemu.reductions.sum`.

    Examples
    --------
    >>> from floatemu.normalisation import logsumexp
    >>> float(logsumexp([0.0, 1.0, 2.0], "bfloat16"))
    2.40625
    """
    plan = Plan.make(fmt, None, accumulate, order, False, rounding, options)
    step, axes, largest, _, total = _exponentials(x, plan, axis, options)
    logarithm = step(functions.log, total, fmt=plan.accumulate, step=3)
    values = np.asarray(step(arithmetic.add, largest, logarithm, fmt=plan.result, step=4))
    marks = np.broadcast_to(step.marks, values.shape)
    if not keepdims:
        values, marks = values.squeeze(axes), marks.squeeze(axes)
    return deliver(values, marks, (x,), plan, dtype, out)
