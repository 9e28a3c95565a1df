"""Reductions in a named order: the text of every order, over operations that are each rounded once.

A reduction is a list of terms (numbers, or products) and an order in which they are added. Every
operation is :func:`operate`: the exact result of its operands, rounded once to a format that a
:class:`Step` describes. Orders are run-time data, and so are modes: one compiled loop serves all.

Random bits. Operation ``m`` of the result element at ``position`` (C order, among ``size``) uses the
random bits number ``m * size + position``: neighbouring elements have neighbouring bits. Products
rounded on their own are the operations 0 .. n - 1 of their element, term by term; then come the
additions in the order in which they are made, the start of an accumulator being one; last the result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from floatemu._core import kernels
from floatemu._core.arithmetic import far, invalid_flags, odd_bits, slowly, zero_of_sum
from floatemu._core.exact import ADD, FMA, MUL, float_of
from floatemu._core.random import draw
from floatemu._core.rounding import NAN_BORN, SA, pick, project_carrier

SEQUENTIAL, PAIRWISE, BLOCKED, LANED, KAHAN, NEUMAIER = range(6)
SUM, PRODUCTS, FUSED = range(3)
LOST = 256
"""Beside the flags of an element: a NaN came to a format without one."""
DEPTH = 64
"""Halvings of a list that any memory holds."""


class Step(NamedTuple):
    """How one kind of operation is rounded: the targets of its format, and the modes."""

    target: Any  #: for project_carrier, in binary64
    scaled: Any  #: for project_scaled
    layout: Any
    fast: Any  #: whether binary64 rounded to odd is wide enough
    mode: Any
    n: Any  #: random bits
    flagged: Any  #: whether flags are wanted


class Place(NamedTuple):
    """Where an element stands, which decides its random bits."""

    state: Any
    size: Any
    position: Any


def operate(w: Any, op: Any, a: Any, b: Any, c: Any, step: Any, place: Any, m: Any) -> Any:
    """Operation number ``m``, rounded once: its value, and its marks: flags if wanted, and ``LOST``."""
    g = kernels.GENERATOR_WORD
    r = w(0)
    if step.mode >= SA:
        r = w(draw(g, g(place.state), g(g(g(m) * g(place.size)) + g(place.position)), g(step.n)))
    ones = w(w(w(1) << step.n) - w(1))
    if step.fast and not (far(w, a) | far(w, b) | far(w, c)):
        bits = odd_bits(w, op, a, b, c)
        if op == ADD or op == FMA:
            bits = pick(w, w(bits << w(1)) == w(0), zero_of_sum(w, op, a, b, c, step.mode), bits)
        out, flags = project_carrier(w, 52, bits, step.target, step.mode, r, step.n, ones, False, step.flagged)
        isnan = w(bits << w(1)) > w(0x7FF0000000000000 << 1)
    else:
        out, flags, isnan = slowly(w, op, a, b, c, step.scaled, step.layout, step.mode, r, step.n, ones)
    marks = w(0)
    if step.flagged:
        marks = settled(w, w(flags) | invalid_flags(w, a, b, c, isnan), step)
    if isnan & (step.target.nan_flags != w(0)):
        marks = w(marks | w(LOST))
    return float_of(out), marks


def settled(w: Any, flags: Any, step: Any) -> Any:
    """Flags of one rounding: in a format without NaN what would be born is replaced, or refused."""
    return w(flags & w(0xFF ^ NAN_BORN)) if step.target.nan_flags != w(0) else w(flags)


def begin(w: Any, x: Any, y: Any, k: Any, fused: Any, step: Any, place: Any, m: Any) -> Any:
    """An accumulator that starts with term k: the term, rounded."""
    return operate(w, MUL, x[k], y[k] if fused else 1.0, 0.0, step, place, m)


def accumulate(w: Any, s: Any, x: Any, y: Any, k: Any, fused: Any, step: Any, place: Any, m: Any) -> Any:
    """The accumulator s with term k added: x_k, or in a fused operation x_k y_k."""
    if fused:
        return operate(w, FMA, x[k], y[k], s, step, place, m)
    return operate(w, ADD, s, x[k], 0.0, step, place, m)


def run(w: Any, x: Any, y: Any, start: Any, stop: Any, fused: Any, step: Any, place: Any, m: Any) -> Any:
    """Terms start .. stop - 1 from first to last: value, next operation number, marks."""
    s, marks = begin(w, x, y, start, fused, step, place, m)
    m += 1
    for k in range(start + 1, stop):
        s, born = accumulate(w, s, x, y, k, fused, step, place, m)
        marks |= born
        m += 1
    return s, m, marks


def pairwise(w: Any, x: Any, count: Any, step: Any, place: Any, m: Any) -> Any:
    """Neighbours added in pairs, level by level; an odd one out goes up as it is. Overwrites x."""
    marks = w(0)
    if count == 1:
        value, marks = operate(w, MUL, x[0], 1.0, 0.0, step, place, m)
        return value, m + 1, marks
    while count > 1:
        half = count // 2
        for k in range(half):
            x[k], born = operate(w, ADD, x[2 * k], x[2 * k + 1], 0.0, step, place, m)
            marks |= born
            m += 1
        if count % 2 == 1:
            x[half] = x[count - 1]
        count = half + count % 2
    return x[0], m, marks


def blocked(w: Any, x: Any, y: Any, count: Any, block: Any, fused: Any, step: Any, place: Any, m: Any) -> Any:
    """Blocks of consecutive terms, each from first to last; then their sums from first to last."""
    total, m, marks = run(w, x, y, 0, min(block, count), fused, step, place, m)
    for start in range(block, count, block):
        part, m, born = run(w, x, y, start, min(start + block, count), fused, step, place, m)
        total, late = operate(w, ADD, total, part, 0.0, step, place, m)
        marks |= born | late
        m += 1
    return total, m, marks


def laned(
    w: Any, x: Any, y: Any, start: Any, count: Any, lanes: Any, partial: Any, fused: Any, step: Any, place: Any, m: Any
) -> Any:
    """One leaf of numpy's pairwise sum: accumulators of every lanes-th term, added in pairs, then the remainder."""
    if count < lanes:
        return run(w, x, y, start, start + count, fused, step, place, m)
    marks = w(0)
    for lane in range(lanes):
        partial[lane], born = begin(w, x, y, start + lane, fused, step, place, m)
        marks |= born
        m += 1
    whole = count - count % lanes
    for k in range(lanes, whole):
        lane = k % lanes
        partial[lane], born = accumulate(w, partial[lane], x, y, start + k, fused, step, place, m)
        marks |= born
        m += 1
    if lanes == 1:
        s = partial[0]
    else:
        s, m, born = pairwise(w, partial, lanes, step, place, m)
        marks |= born
    for k in range(start + whole, start + count):
        s, born = accumulate(w, s, x, y, k, fused, step, place, m)
        marks |= born
        m += 1
    return s, m, marks


def numpy_pairwise(
    w: Any, x: Any, y: Any, count: Any, block: Any, lanes: Any, fused: Any, step: Any, place: Any, m: Any
) -> Any:
    """numpy's sum of a contiguous array: halves at multiples of ``lanes`` until ``block`` terms or fewer are left.

    numpy 2.x, ``loops_utils.h.src``, with block = 128 and lanes = 8. The recursion is an explicit stack
    of lengths; a length of 0 stands for the addition of the two sums finished last.
    """
    partial, sums = np.empty(lanes, np.float64), np.empty(DEPTH, np.float64)
    lengths = np.empty(2 * DEPTH, np.int64)
    lengths[0] = count
    waiting, done, start = 1, 0, 0
    marks = w(0)
    while waiting > 0:
        waiting -= 1
        length = lengths[waiting]
        if length == 0:
            done -= 1
            sums[done - 1], born = operate(w, ADD, sums[done - 1], sums[done], 0.0, step, place, m)
            m += 1
            marks |= born
        elif length <= block:
            sums[done], m, born = laned(w, x, y, start, length, lanes, partial, fused, step, place, m)
            start += length
            done += 1
            marks |= born
        else:
            half = length // 2 - (length // 2) % lanes
            lengths[waiting], lengths[waiting + 1], lengths[waiting + 2] = 0, length - half, half
            waiting += 3
    return sums[0], m, marks


def kahan(w: Any, x: Any, count: Any, step: Any, place: Any, m: Any) -> Any:
    """Kahan's compensated sum ("Further remarks on reducing truncation errors", CACM 8(1), 1965)."""
    s, marks = operate(w, MUL, x[0], 1.0, 0.0, step, place, m)
    m += 1
    c = 0.0
    for k in range(1, count):
        y, b0 = operate(w, ADD, x[k], -c, 0.0, step, place, m)
        t, b1 = operate(w, ADD, s, y, 0.0, step, place, m + 1)
        d, b2 = operate(w, ADD, t, -s, 0.0, step, place, m + 2)
        c, b3 = operate(w, ADD, d, -y, 0.0, step, place, m + 3)
        s = t
        marks |= b0 | b1 | b2 | b3
        m += 4
    return s, m, marks


def neumaier(w: Any, x: Any, count: Any, step: Any, place: Any, m: Any) -> Any:
    """Neumaier's sum: the error of each addition, found by comparing magnitudes, is summed apart (ZAMM 54, 1974)."""
    s, marks = operate(w, MUL, x[0], 1.0, 0.0, step, place, m)
    m += 1
    c = 0.0
    for k in range(1, count):
        t, b0 = operate(w, ADD, s, x[k], 0.0, step, place, m)
        large, small = (s, x[k]) if abs(s) >= abs(x[k]) else (x[k], s)
        d, b1 = operate(w, ADD, large, -t, 0.0, step, place, m + 1)
        e, b2 = operate(w, ADD, d, small, 0.0, step, place, m + 2)
        c, b3 = operate(w, ADD, c, e, 0.0, step, place, m + 3)
        s = t
        marks |= b0 | b1 | b2 | b3
        m += 4
    s, born = operate(w, ADD, s, c, 0.0, step, place, m)
    return s, m + 1, marks | born


def reduce_terms(
    w: Any, x: Any, y: Any, count: Any, order: Any, block: Any, lanes: Any, fused: Any, step: Any, place: Any, m: Any
) -> Any:
    """Add ``count`` >= 1 terms in an order; y is read by fused operations only, x may be overwritten."""
    if order == SEQUENTIAL:
        return run(w, x, y, 0, count, fused, step, place, m)
    if order == PAIRWISE:
        return pairwise(w, x, count, step, place, m)
    if order == BLOCKED:
        return blocked(w, x, y, count, block, fused, step, place, m)
    if order == LANED:
        return numpy_pairwise(w, x, y, count, block, lanes, fused, step, place, m)
    if order == KAHAN:
        return kahan(w, x, count, step, place, m)
    return neumaier(w, x, count, step, place, m)


TEXT = (
    settled,
    operate,
    begin,
    accumulate,
    run,
    pairwise,
    blocked,
    laned,
    numpy_pairwise,
    kahan,
    neumaier,
    reduce_terms,
)
kernels.register(TEXT)


@cache
def reduction_loop() -> Callable[..., Any]:
    """Return the loop over the elements of a result; everything that can differ is run-time data.

    Returns
    -------
    callable
        ``loop(x, y, columns, kind, order, block, lanes, product, step, result, finish, divisor, state, size,
        first, out, marks)``: rows ``x[i // columns]`` and ``y[i % columns]``, or ``x[i]`` and ``y[i]`` where
        columns is 0, make element i, written to ``out[i]``; its position is ``first + i``. ``kind`` is SUM
        (y unused), PRODUCTS or FUSED; ``finish`` the operation MUL, DIV or SQRT that makes the result of the
        sum and ``divisor``. ``marks[i]`` (uint16) gets the flags of
        every operation or-ed, where wanted, and ``LOST``.
    """
    w = np.uint64

    def loop(
        x: Any, y: Any, columns: Any, kind: Any, order: Any, block: Any, lanes: Any, product: Any, step: Any,
        result: Any, finish: Any, divisor: Any, state: Any, size: Any, first: Any, out: Any, marks: Any,
    ) -> None:  # fmt: skip
        count = x.shape[1]
        terms = np.empty(count, np.float64)
        for i in range(out.size):
            place = Place(state, size, first + i)
            row = x[i // columns] if columns > 0 else x[i]
            other = row
            if kind != SUM:
                other = y[i % columns] if columns > 0 else y[i]
            m = 0
            lost = w(0)
            for k in range(count):
                terms[k] = row[k]
                if kind == PRODUCTS:
                    terms[k], born = operate(w, MUL, row[k], other[k], 0.0, product, place, m)
                    lost |= born
                    m += 1
            s = 0.0
            if count > 0:
                s, m, born = reduce_terms(w, terms, other, count, order, block, lanes, kind == FUSED, step, place, m)
                lost |= born
            out[i], born = operate(w, finish, s, divisor, 0.0, result, place, m)
            marks[i] = lost | born

    return kernels.compiled(loop, "reduction")
