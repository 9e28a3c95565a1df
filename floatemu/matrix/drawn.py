"""Drawn inputs for identification: each distribution brings one part of a matrix unit to light.

All of them are matrices of a few rows and columns whose elements are asked for one by one, with an accumulator of its
own for each, so that a hypothesis answers hundreds of questions in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from floatemu.format import Format
from floatemu.matrix.hypotheses import Question, powers
from floatemu.matrix.probes import HEAD, Batch, Words, to_values
from floatemu.matrix.steps import BINARY16, Array
from floatemu.matrix.unit import Integer
from floatemu.rounding import round as project

Draw = Callable[[Question, int, int, int], Batch]
"""From the question, a seed, rows and columns to a batch."""


def _held(values: Array, fmt: Format) -> Array:
    return np.asarray(project(values, fmt, "TOWARD_ZERO", dtype=np.float64))


def _batch(
    name: str, q: Question, a: Array, b: Array, c: Array, scales: tuple[Array, Array] | None = None, few: bool = False
) -> Batch:  # fmt: skip
    i, j = (x.reshape(-1) for x in np.indices((len(a), len(b))))
    left, right = scales or (None, None)
    return Batch(name, q, a, b, c if q.accumulator else np.zeros_like(c), i, j, left, right, few=few)


def _scales(q: Question, w: Words, m: int, n: int, middle: int, spread: int) -> tuple[Array, Array] | None:
    """Scales about two to ``middle`` whose product is about two to twice that."""
    if q.scale is None or q.block is None:
        return None
    found = []
    for count in (m, n):
        e = w.whole(middle - spread, middle + spread, count, q.k // q.block)
        found.append(np.abs(w.numbers(q.scale, np.clip(e, q.scale.emin, q.scale.emax), 1)))
    return found[0], found[1]


def passing(q: Question, seed: int, m: int, n: int) -> Batch:
    """Accumulators beside products that are zero: every bit, runs of bits, and numbers of all lengths."""
    w, fmt = Words(seed, 1), q.formats[2]
    tails = np.arange(1, fmt.p)
    one = np.concatenate([1 + 2.0**-tails, 2 - 2.0**-tails, 1 + 1.5 * 2.0 ** -tails[:-1]])
    drawn = w.numbers(fmt, w.whole(-3, 6, n), fmt.p - 1)
    c = np.concatenate([one, -one, drawn])[None]
    a, b = np.zeros((1, q.k)), np.zeros((c.shape[1], q.k))
    return _batch("accumulators alone", q, a, b, c, _scales(q, w, 1, c.shape[1], 0, 0))


def ladder(q: Question, seed: int, m: int, n: int) -> Batch:
    """X and -X at two places, 1.5 units further down at a third, in steps of one binade."""
    a_fmt, b_fmt, _ = q.formats
    left, right = min(a_fmt.emax, 20), min(b_fmt.emax, 20)
    reach = right - max(b_fmt.qmin, right - 40)
    columns = np.arange(reach + 1)
    heads = list(range(left - 5, max(a_fmt.qmin, left - 46), -max(reach, 1))) or [a_fmt.qmin]
    # In every order and block that is tried the first two meet before the small one comes: no more is ever rounded.
    places = [j for j in (2, 4, 8, 3, 16, 32, 64) if j < q.k][: m if m else None]
    rows = [(0, 1, j, e, s) for j in places for e in heads for s in (1.5, -1.5)]
    a, b = np.zeros((len(rows), q.k)), np.empty((len(columns), q.k))
    b[:] = 2.0 ** (right - columns)[:, None]
    for row, (i, j, place, e, s) in zip(a, rows):
        row[[i, j, place]] = 2.0**left, -(2.0**left), s * 2.0**e
    b[:, :2] = 2.0**right
    a, b, c = _held(a, a_fmt), _held(b, b_fmt), np.zeros((len(a), len(b)))
    return _batch("two products that cancel beside a small one", q, a, b, c, _ones(q, len(a), len(b)), few=True)


def _ones(q: Question, m: int, n: int) -> tuple[Array, Array] | None:
    if q.block is None:
        return None
    return np.ones((m, q.k // q.block)), np.ones((n, q.k // q.block))


def cancelling(q: Question, seed: int, m: int, n: int) -> Batch:
    """Two large products that cancel, all others and the accumulator far below: everything is cut at their exponent."""
    w, (a_fmt, b_fmt, c_fmt) = Words(seed, 2), q.formats
    half = c_fmt == BINARY16
    left, right = min(a_fmt.emax, 7 if half else 20), min(b_fmt.emax, 6 if half else 20)
    low_a, low_b = (max(fmt.qmin, -9 if half else top - 20) for fmt, top in ((a_fmt, left), (b_fmt, right)))
    # Where few products are small, all of these are: in a sum of few bits a cut is not lost by rounding.
    tops = (low_a + 6, low_b + 6) if seed % 3 == 1 else (left - 1, right)
    a = w.numbers(a_fmt, w.whole(low_a, max(min(tops[0], left - 1), low_a), m, q.k), 2)
    b = w.numbers(b_fmt, w.whole(low_b, min(tops[1], right), n, q.k), 2)
    a = np.where(w.chance((40, 4, 0)[seed % 3], m, q.k), a, 0.0)
    if seed % 2 and not q.accumulator and q.k > HEAD:
        a[:, HEAD:] = 0.0
    reach = HEAD if not q.accumulator and seed % 2 else q.k
    near = min(reach, (2, 4, 8, 16, 32, 64, 128)[seed % 7])
    first, second = (int(x) for x in w.whole(0, max(near - 1, 0), 2))
    second = second if second != first else (first + 1) % q.k
    x = w.numbers(a_fmt, w.whole(max(left - 2, low_a), left, m), 1)
    a[:, first], a[:, second] = x, -x
    b[:, second] = b[:, first] = w.numbers(b_fmt, w.whole(max(right - 2, low_b), right, n), 1)
    top = left + right
    e = w.whole(top - 44, top + 2, m, n)
    c = np.where(w.chance(50, m, n), w.numbers(c_fmt, e, 3), w.numbers(c_fmt, e, c_fmt.p - 1))
    c = np.where(w.chance(25, m, n), 0.0, c)
    return _batch("large products that cancel", q, a, b, c, _falling(q, w, m, n, (first, second)))


def _falling(q: Question, w: Words, m: int, n: int, pair: tuple[int, int]) -> tuple[Array, Array] | None:
    """Scales of 1 for the blocks of two products, far smaller ones for the others."""
    if q.scale is None or q.block is None:
        return None
    found = []
    for count in (m, n):
        e = w.whole(-22, 1, count, q.k // q.block)
        scale = np.abs(w.numbers(q.scale, np.clip(e, q.scale.qmin, q.scale.emax), 1))
        scale[:, [place // q.block for place in pair]] = 1.0
        found.append(scale)
    return found[0], found[1]


def subnormal(q: Question, seed: int, m: int, n: int) -> Batch:
    """Large products of a subnormal operand that cancel, all others far below."""
    w, (a_fmt, b_fmt, c_fmt) = Words(seed, 10), q.formats
    turned = seed % 2 == 1  # which of the operands is subnormal
    count, other = (n, m) if turned else (m, n)
    low, high = (b_fmt, a_fmt) if turned else (a_fmt, b_fmt)
    place = w.whole(0, q.k - 1, 2)
    pair = [int(place[0]), int(place[1]) if place[1] != place[0] else (int(place[0]) + 1) % q.k]
    top = min(high.emax, 60)
    middle = int(np.clip((low.emin + top) // 2, low.qmin, low.emax))
    x = w.numbers(low, np.clip(middle + w.whole(-20, 2, count, q.k), low.qmin, low.emax), 2)
    y = w.numbers(high, np.clip(low.emin + top - middle + w.whole(-20, 2, other, q.k), high.qmin, high.emax), 2)
    x = np.where(w.chance((10, 40, 0)[seed // 2 % 3], count, q.k), x, 0.0)
    own = w.whole(1, 2 ** (low.p - 1) - 1, count) if low.p > 1 else np.ones(count)
    x[:, pair[0]] = own * 2.0**low.qmin
    x[:, pair[1]] = -x[:, pair[0]] if low.signed else 0.0
    y[:, pair[0]] = y[:, pair[1]] = 2.0 ** w.whole(top - 2, top, other)
    a, b = (y, x) if turned else (x, y)
    e = np.clip(low.emin + top - w.whole(0, 50, m, n), c_fmt.qmin, c_fmt.emax)
    c = np.where(w.chance(40, m, n), 0.0, w.numbers(c_fmt, e, 3))
    return _batch("subnormal operands that cancel", q, a, b, c, _falling(q, w, m, n, (pair[0], pair[1])))


def rolling(q: Question, seed: int, m: int, n: int) -> Batch:
    """Products of like size, and accumulators from far below to far above them: every sum is rounded."""
    w, (a_fmt, b_fmt, c_fmt) = Words(seed, 3), q.formats
    half = c_fmt == BINARY16
    low, high, bits = (-2, 3, 4) if half else (-3, 3, 23)
    a, b = (
        w.numbers(fmt, np.clip(w.whole(low, high, count, q.k), fmt.qmin, fmt.emax), bits)
        for fmt, count in ((a_fmt, m), (b_fmt, n))
    )  # fmt: skip
    a = np.where(w.chance((100, 50, 10)[seed % 3], m, q.k), a, 0.0)
    c = w.numbers(c_fmt, w.whole(-10, 14 if half else 34, m, n), c_fmt.p - 1)
    return _batch("products of like size", q, a, b, c, _scales(q, w, m, n, 0, 1))


def binades(q: Question, seed: int, m: int, n: int) -> Batch:
    """Accumulators that are powers of two, and products about half an ulp of them, above, and far below."""
    w, (a_fmt, b_fmt, c_fmt) = Words(seed, 11), q.formats
    lowest, highest = a_fmt.qmin + b_fmt.qmin, a_fmt.emax + b_fmt.emax - 3
    top = min(max(lowest + 34, min(10, highest + 8)), c_fmt.emax - 2)
    offsets = np.array([8, c_fmt.p, c_fmt.p + 7]) + w.whole(-1, 1, 3)
    goal = np.clip(top - offsets, lowest + 2, highest)[np.arange(q.k) % 3]
    middle = np.clip(goal // 2, np.maximum(a_fmt.qmin, goal - b_fmt.emax), np.minimum(a_fmt.emax, goal - b_fmt.qmin))
    a = w.numbers(a_fmt, middle + w.whole(-1, 1, m, q.k), (0, 1, a_fmt.p - 1)[seed % 3])
    b = w.numbers(b_fmt, goal - middle + w.whole(-1, 1, n, q.k), 1)
    a = np.where(w.chance((8, 25)[seed // 3 % 2], m, q.k), a, 0.0)
    c = np.where(w.chance(50, m, n), 2.0**top, -(2.0**top))
    return _batch("accumulators that are powers of two", q, a, b, c, _scales(q, w, m, n, 0, 0))


def carrying(q: Question, seed: int, m: int, n: int) -> Batch:
    """Products of one exponent and mostly one sign that carry as far as they can, beside small accumulators."""
    w, (a_fmt, b_fmt, c_fmt) = Words(seed, 12), q.formats
    ea, eb = min(a_fmt.emax - 1, 3), min(b_fmt.emax - 1, 2)
    tops = []
    for fmt, e, count in ((a_fmt, ea, m), (b_fmt, eb, n)):
        most = (2 - 2.0 ** (1 - fmt.p)) * 2.0**e
        drawn = np.abs(w.numbers(fmt, np.full((count, q.k), e), fmt.p - 1))
        tops.append(np.where(w.chance(40, count, 1), most, drawn))
    a, b = tops
    a *= np.where(w.chance(50, m, 1), -1.0, 1.0) * np.where(w.chance((0, 20)[seed % 2], m, q.k), 0.0, 1.0)
    # The last products: a later step would cut what they leave.
    a[:, : max(q.k - 2 ** (seed % 8), 0)] = 0.0
    c = w.numbers(c_fmt, w.whole(ea + eb - 34, ea + eb + 1, m, n), c_fmt.p - 1)
    near = (2 - w.whole(0, 2**10, m, n) * 2.0 ** -w.whole(11, 14, m, n)) * 2.0 ** (ea + eb)
    c = np.where(w.chance(50, m, n), c, near * np.where(w.chance(50, m, n), -1.0, 1.0))
    return _batch(
        "products that carry", q, _held(a, a_fmt), _held(b, b_fmt), _held(c, c_fmt), _scales(q, w, m, n, 0, 0)
    )


def opposed(q: Question, seed: int, m: int, n: int) -> Batch:
    """Exponents uniform in -7 .. 7, and accumulators near minus the largest product."""
    w, (a_fmt, b_fmt, c_fmt) = Words(seed, 4), q.formats
    spread = 4 if c_fmt == BINARY16 else 7
    a, b = (
        w.numbers(fmt, np.clip(w.whole(-spread, spread, count, q.k), fmt.qmin, fmt.emax), fmt.p - 1)
        for fmt, count in ((a_fmt, m), (b_fmt, n))
    )  # fmt: skip
    scales = _scales(q, w, m, n, 0, 3)
    sa, sb = (np.ones((1, q.k)),) * 2 if scales is None else (np.repeat(s, q.block or 1, 1) for s in scales)
    products = (a * sa)[:, None, :] * (b * sb)[None]
    largest = np.take_along_axis(products, np.abs(products).argmax(-1)[..., None], -1)[..., 0]
    moved = -largest * (1 + w.whole(-3, 3, m, n) * 2.0**-20)
    most = float(c_fmt.max)
    return _batch(
        "accumulators that oppose the largest product", q, a, b, _held(np.clip(moved, -most, most), c_fmt), scales
    )


def least(q: Question, seed: int, m: int, n: int, focus: int | None = None) -> Batch:
    """A few terms about the smallest numbers of the result, and far below: about two to ``focus``, if given."""
    w, (a_fmt, b_fmt, c_fmt) = Words(seed, 5), q.formats
    goal, scales = c_fmt.qmin, None
    exact = focus is not None and seed % 2 == 0
    if q.scale is not None and q.block is not None:
        blocks = q.k // q.block
        if focus is None:
            low = goal - w.whole(0, 44, blocks)
        else:
            low = focus + w.whole(-12, 3, blocks)
        total = np.where(w.chance(50, blocks), low, goal - w.whole(-4, 10, blocks))
        halves = (np.clip(e, q.scale.qmin, q.scale.emax) for e in (total // 2, total - total // 2))
        left, right = (np.ldexp(1.0, e) for e in halves)
        scales, goal = (np.tile(left, (m, 1)), np.tile(right, (n, 1))), 0
    middle = int(np.clip(goal // 2, b_fmt.qmin, b_fmt.emax))
    eb = np.clip(middle + w.whole(-8, 8, n, q.k) * (not exact), b_fmt.qmin, b_fmt.emax)
    deep = w.whole(-26, 4, m, q.k)
    if focus is not None and scales is None:
        deep = np.where(w.chance(50, m, q.k), w.whole(-3, 2, m, q.k), focus - goal + w.whole(-2, 2, m, q.k))
    ea = np.clip(goal - middle + deep, a_fmt.qmin, a_fmt.emax)
    coarse = w.chance(70, m, q.k)
    a = np.where(coarse, w.numbers(a_fmt, ea, 0), w.numbers(a_fmt, ea, 2))
    b = np.where(w.chance(70, n, 1), w.numbers(b_fmt, eb, 0), w.numbers(b_fmt, eb, 1))
    a = np.where(w.chance((max(2, 400 // q.k), 20, 100)[seed // 2 % 3], m, q.k), a, 0.0)
    if scales is not None and seed % 2:
        # Formats of few binades reach the result's quantum only as many products of one sign,
        # and small ones of the other sign show by themselves beside a multiple of it.
        a = np.abs(w.numbers(a_fmt, w.whole(a_fmt.emax - 2, a_fmt.emax, m, q.k), a_fmt.p - 1))
        b = np.abs(w.numbers(b_fmt, w.whole(b_fmt.emax - 2, b_fmt.emax, n, q.k), b_fmt.p - 1))
        a *= np.repeat(np.where(w.chance(50, m, q.k // (q.block or 1)), -1.0, 1.0), q.block or 1, 1)
    tiny = w.whole(-7, 7, m, n) * 2.0**c_fmt.qmin
    c = np.where(w.chance(50, m, n), tiny, w.numbers(c_fmt, w.whole(c_fmt.qmin, c_fmt.emin + 4, m, n), 3))
    c = np.where(w.chance(40, m, n), 0.0, c)
    return _batch("terms about the smallest result", q, a, b, c, scales)


def zeros(q: Question, seed: int, m: int, n: int) -> Batch:
    """Zeros of both signs, in operands and accumulators."""
    w, (a_fmt, b_fmt, c_fmt) = Words(seed, 6), q.formats
    rows = np.where(
        w.chance(50, m, 1), np.where(w.chance(50, m, 1), 0.0, -0.0), np.where(w.chance(50, m, q.k), 0.0, -0.0)
    )
    a = np.where(w.chance(3, m, q.k) & w.chance(30, m, 1), w.numbers(a_fmt, w.whole(0, 0, m, q.k), 1), rows)
    sign = np.where(
        w.chance(60, n, 1), np.where(w.chance(50, n, 1), 1.0, -1.0), np.where(w.chance(50, n, q.k), 1.0, -1.0)
    )
    b = np.abs(w.numbers(b_fmt, w.whole(0, 1, n, q.k), 1)) * sign
    signs = np.where(w.chance(50, m, n), 1.0, -1.0)
    c = np.where(w.chance(80, m, n), 0.0, np.where(w.chance(50, m, n), 2.0**c_fmt.qmin, 1.0)) * signs
    return _batch(
        "zeros of both signs", q, _held(a, a_fmt), _held(b, b_fmt), _held(c, c_fmt), _scales(q, w, m, n, 0, 0)
    )


def raw(q: Question, seed: int, m: int, n: int) -> Batch:
    """Random codes, most operands then made zero: infinities, NaN, and the whole range."""
    w = Words(seed, 7)
    kinds = ((q.a, (m, q.k)), (q.b, (n, q.k)), (q.output, (m, n)))
    a, b, c = (to_values(w.codes(fmt.k if isinstance(fmt, Format) else fmt.bits, *shape), fmt) for fmt, shape in kinds)
    a = np.where(w.chance((5, 10, 100)[seed % 3], m, q.k), a, np.zeros((), a.dtype))
    b = np.where(np.isfinite(b) | w.chance(5, n, q.k), b, np.ones((), b.dtype))
    return _batch("random codes", q, a, b, c, _scales(q, w, m, n, 0, 40))


def largest(q: Question, seed: int, m: int, n: int) -> Batch:
    """Sums about the largest number of the result."""
    w, (a_fmt, b_fmt, c_fmt) = Words(seed, 8), q.formats
    e = (a_fmt.emax, b_fmt.emax)
    low = max(c_fmt.emax - c_fmt.p - 3, 0)
    half = int(np.clip(low // 2, b_fmt.emin, e[1]))
    b = w.numbers(b_fmt, np.full((n, q.k), half), 1)
    a = w.numbers(a_fmt, np.clip(w.whole(low - half, c_fmt.emax - half, m, q.k), a_fmt.qmin, e[0]), 2)
    a = np.where(w.chance(max(2, 300 // q.k), m, q.k), a, 0.0)
    c = float(c_fmt.max) * (1 - w.whole(0, 3, m, n) * 2.0**-c_fmt.p) * np.where(w.chance(50, m, n), 1.0, -1.0)
    scales = _scales(q, w, m, n, max(low // 2 - 6, 0), 4)
    return _batch("sums about the largest result", q, a, b, _held(c, c_fmt), scales)


def clamped(q: Question, seed: int, m: int, n: int) -> Batch:
    """Integers: accumulators at the ends of the range, and a few products."""
    w, a_fmt, b_fmt = Words(seed, 9), q.a, q.b
    assert isinstance(a_fmt, Integer)
    assert isinstance(b_fmt, Integer)
    a, b = w.whole(a_fmt.least, a_fmt.most, m, q.k), w.whole(b_fmt.least, b_fmt.most, n, q.k)
    a = np.where(w.chance((3, 10, 50)[seed % 3], m, q.k), a, 0)
    near = w.whole(0, 3000, m, n)
    c = np.where(w.chance(50, m, n), 2**31 - 1 - near, -(2**31) + near)
    return _batch("sums about the ends of the range", q, a, b, c)


def opening(q: Question) -> Iterator[Batch]:
    """What every device is asked, small and decisive first.

    Parameters
    ----------
    q : Question

    Yields
    ------
    Batch
    """
    if isinstance(q.output, Integer):
        yield from (draw(q, seed, 4, 32) for seed in range(3) for draw in (clamped, raw))
        return
    if q.accumulator:
        yield passing(q, 0, 1, 24)
    if not q.accumulator or q.scale is None:
        yield ladder(q, 0, 2, 0)
    sizes = [(seed, 2, 24) for seed in range(7)] + [(seed, 6, 32) for seed in range(7, 7 + 2 * len(powers(q.k)))]
    for seed, m, n in sizes:
        yield cancelling(q, seed, m, n)
        if seed < 6:
            yield rolling(q, seed, m, n)
    yield ladder(q, 0, 0, 0)
    yield opposed(q, 0, 8, 32)


def searching(q: Question) -> tuple[Draw, ...]:
    """The distributions among which a separating input is looked for.

    Parameters
    ----------
    q : Question

    Returns
    -------
    tuple of callable
        ``draw(q, seed, m, n)``.
    """
    if isinstance(q.output, Integer):
        return clamped, raw
    return least, cancelling, subnormal, carrying, zeros, opposed, binades, raw, rolling, largest
