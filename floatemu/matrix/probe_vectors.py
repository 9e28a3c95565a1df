"""Designed vectors, each of which reads one feature of a matrix unit.

A vector is K products and an accumulator. A product is given as a number, which is split into two operands, or as
the two operands; entries that are not named are +0. Vectors whose numbers the formats cannot hold are
left out, so that one table serves all formats. The ideas are those of Fasi, Higham, Mikaitis & Pranesh (PeerJ CS
7:e330), FPRev (arXiv 2411.00442), MMA-Sim (arXiv 2511.10909) and Khattak & Mikaitis (arXiv 2512.07004).

Like ``generator``, this file needs numpy alone and is loaded by its path where the package is not installed; hence the
relative import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .generator import Layout

__all__ = ["PROBES", "VERSION", "Probe", "code_of", "power", "probe_vectors", "split"]

Array = np.ndarray[Any, Any]
VERSION = 1
FRACTIONS = (13, 23, 24, 25, 35)
"""Fraction bits that known units keep when they align; probes at a given depth are made for each."""
KEPT = range(5, 41)
"""Depths below the largest term at which a term is tried."""

Number = Fraction | float | int
Operand = Number | str
"""A number; or ``inf``, ``-inf``, ``nan``, ``-0``; or ``code:N``, the register's bits."""
Product = Number | tuple[Operand, Operand]


def power(n: int) -> Fraction:
    """2^n, exactly.

    Parameters
    ----------
    n : int

    Returns
    -------
    Fraction

    Examples
    --------
    >>> power(-2)
    Fraction(1, 4)
    """
    return Fraction(2) ** n


def code_of(layout: Layout, x: Operand) -> int | None:
    """Register code of a number, if the format holds it.

    Parameters
    ----------
    layout : Layout
    x : number or str
        ``inf``, ``-inf``, ``nan``, ``-0`` and ``code:N`` (register bits) are words.

    Returns
    -------
    int or None

    Examples
    --------
    >>> from floatemu.matrix.generator import LAYOUTS
    >>> hex(code_of(LAYOUTS["binary16"], 1.5)), code_of(LAYOUTS["e4m3fn"], 449), code_of(LAYOUTS["e4m3fn"], "inf")
    ('0x3e00', None, None)
    """
    if isinstance(x, str):
        if x.startswith("code:"):
            return int(x[5:], 0)
        words = {"inf": layout.infinity, "nan": layout.nan, "-0": layout.sign}
        code = layout.infinity if x == "-inf" else words[x]
        if code is None or layout.p == 0:
            return None
        return (code | (layout.sign if x == "-inf" else 0)) << layout.spare
    value = Fraction(x)
    if layout.p == 0:
        least = 0 if layout.name.startswith("u") else -layout.sign
        inside = value.denominator == 1 and least <= value < least + 2**layout.k
        return int(value) & (2**layout.k - 1) if inside else None
    magnitude = abs(value)
    if magnitude == 0:
        return 0
    e = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    e = max(e if power(e) <= magnitude else e - 1, layout.emin)
    significand = magnitude / power(e - layout.p + 1)
    code = ((e + layout.bias - 1) << (layout.p - 1)) + int(significand)
    if significand.denominator != 1 or code > layout.largest:
        return None
    return (code | (layout.sign if value < 0 else 0)) << layout.spare


@cache
def split(a: Layout, b: Layout, x: Number) -> tuple[int, int] | None:
    """Codes of two numbers whose product is x: normal ones if any, their exponents as near each other as can be.

    Parameters
    ----------
    a, b : Layout
    x : number

    Returns
    -------
    tuple of int, or None
        None if the formats cannot.

    Examples
    --------
    >>> from floatemu.matrix.generator import LAYOUTS
    >>> half = LAYOUTS["binary16"]
    >>> split(half, half, -3 * 2**-20) == (code_of(half, -1.5 * 2**-9), code_of(half, 2**-10))
    True
    >>> split(half, half, 2**-60) is None
    True
    """
    value = Fraction(x)
    if value == 0 or a.p == 0:
        pair = code_of(a, value), code_of(b, int(value != 0))
        return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])
    middle = (value.numerator.bit_length() - value.denominator.bit_length()) // 2
    fallback = None
    for distance in range(0, max(b.emax - b.emin, 1) + b.p + abs(middle)):
        for e in (middle - distance, middle + distance):
            first, second = code_of(a, value / power(e)), code_of(b, power(e))
            if first is None or second is None:
                continue
            normal = abs(value) / power(e) >= power(a.emin) and e >= b.emin
            if normal:
                return first, second
            fallback = fallback or (first, second)
    return fallback


class Vector(NamedTuple):
    """What a probe asks for: products by place, the accumulator, and what stands in all other places."""

    label: str
    products: Mapping[int, Product]
    c: Operand = 0
    rest: Product = 0


class Case(NamedTuple):
    """The formats and length that vectors are wanted for, and numbers that suit them."""

    a: Layout
    b: Layout
    c: Layout
    k: int

    @property
    def top(self) -> int:
        """Exponent of a large product that the accumulator holds too."""
        return min(30 if self.c.p < 53 else 100, 2 * min(self.a.emax, self.b.emax), self.c.emax)

    @property
    def scale(self) -> int:
        """Exponent of the product that stands for 1 where many smaller ones are wanted beside it."""
        return 0 if self.a.emin < -60 else min(14, self.top)

    @property
    def unit(self) -> Fraction:
        """A small product that a term of exponent ``top`` hides at any known F."""
        return power(0 if self.top >= 30 else max(self.top - 34, self.a.emin + self.b.emin, self.c.emin))


class Probe(NamedTuple):
    """A designed family of vectors.

    Attributes
    ----------
    id : str
    feature : str
        What it reads.
    reading : str
        How the results tell.
    wants : str
        ``float`` or ``int`` operands.
    build : callable
        From a :class:`Case` to vectors.
    """

    id: str
    feature: str
    reading: str
    wants: str
    build: Callable[[Case], Iterator[Vector]]


def _p1(x: Case) -> Iterator[Vector]:
    for k in KEPT:
        yield Vector(f"k={k}", {0: power(x.scale), 1: -power(x.scale), 2: power(x.scale - k)})


def _p1c(x: Case) -> Iterator[Vector]:
    for k in KEPT:
        yield Vector(f"k={k}", {0: power(x.scale), 1: -power(x.scale)}, power(x.scale - k))


def _p2(x: Case) -> Iterator[Vector]:
    yield Vector("sum", {}, 1 + power(-13) + power(-14) + power(-23))
    for bit in range(1, x.c.p):
        yield Vector(f"bit={bit}", {}, 1 + power(-bit))


def _p3(x: Case) -> Iterator[Vector]:
    for f in FRACTIONS:
        for q in ("3/2", "1", "3/4", "1/2", "1/4"):
            for sign in (1, -1):
                third = sign * Fraction(q) * power(x.scale - f)
                yield Vector(f"F={f},q={sign * Fraction(q)}", {0: power(x.scale), 1: -power(x.scale), 2: third})


def _p4(x: Case) -> Iterator[Vector]:
    step = power(1 - x.c.p)
    for units in range(1, 8):
        for sign in (1, -1):
            yield Vector(f"units={sign * units}", dict.fromkeys(range(3), sign), sign * (1 + units * step))
    if x.c.p == 24:
        yield Vector("E8M13", {0: Fraction(3, 2)}, Fraction(3, 2) + power(-13))


def _p5(x: Case) -> Iterator[Vector]:
    for j in range(1, x.k):
        yield Vector(f"j={j}", {0: -power(x.top), j: x.unit}, power(x.top))


def _p5t(x: Case) -> Iterator[Vector]:
    for i in range(x.k):
        for j in range(i + 1, x.k):
            yield Vector(f"i={i},j={j}", {i: power(x.top), j: -power(x.top)}, 0, x.unit)


def _p5b(x: Case) -> Iterator[Vector]:
    for f in range(8, 37):
        yield Vector(f"F={f}", {}, power(x.scale), power(x.scale - f - 1))


def _p6(x: Case) -> Iterator[Vector]:
    half = Fraction(3, 2) * power(x.scale // 2)
    for k in KEPT:
        third = power(2 * (x.scale // 2) - k)
        yield Vector(f"k={k}", {0: (half, half), 1: (-half, half), 2: third})


def _p7(x: Case) -> Iterator[Vector]:
    small = power(-21) + power(-24)
    yield Vector("late", {0: small, 1: small}, 1 - power(-21))
    most = Fraction(2) - power(1 - x.a.p)
    for e in (0, min(x.a.emax, x.b.emax) - 1):
        big = most * power(e)
        for c in sorted({Fraction(0), Fraction(1), power(min(2 * e, x.c.emax))}):
            yield Vector(f"carry,e={e},c={c}", {}, c, (big, big))


def _p8(x: Case) -> Iterator[Vector]:
    # From below, the products lead to 1 + 2^-23 exactly if all their bits are kept; beside 1 they lie one place lower.
    for depth, units in ((25, (1, 1, 1, 3)), (26, (1, 1, 1, 3, 1, 1, 1, 3))):
        products = {place: n * power(-depth) for place, n in enumerate(units)}
        for c, name in ((1 - power(-24), "below"), (Fraction(1), "one")):
            yield Vector(f"depth={depth},c={name}", products, c)


def _p9(x: Case) -> Iterator[Vector]:
    if x.c.p == 11:
        for k in range(40, 49):
            yield Vector(f"k={k}", {0: power(-25), 1: power(-k)})


def _p10(x: Case) -> Iterator[Vector]:
    # 2^-150 + 2^-151 + ... + 2^-k + 2^-k = 2^-149
    for k in range(152, 165):
        ladder = {i: power(-150 - i) for i in range(k - 149)}
        if len(ladder) < x.k and x.c.p == 24:
            yield Vector(f"k={k}", {**ladder, len(ladder): power(-k)})


def _p11(x: Case) -> Iterator[Vector]:
    if x.c.p == 11:
        for c in (power(-23), power(-24), power(-15)):
            for k in range(26, 48):
                yield Vector(f"c={c},k={k}", {0: power(-25), 1: power(-k)}, c)


def _p12(x: Case) -> Iterator[Vector]:
    least, high = power(x.a.emin - x.a.p + 1), power(min(x.b.emax, 15))
    scale = x.a.emin + min(x.b.emax, 15)  # the exponent of the product, if a subnormal operand counts as emin
    for k in KEPT:
        yield Vector(f"k={k}", {0: (least, high), 1: (-least, high), 2: power(scale - k)})


def _p13(x: Case) -> Iterator[Vector]:
    if x.a.emax == 127:
        huge, limit = (power(100), power(100)), (power(127), power(127))
        for c in (1, 0, power(127)):
            yield Vector(f"cancel,c={c}", {0: huge, 1: (-power(100), power(100))}, c)
            yield Vector(f"alone,c={c}", {0: huge}, c)
            yield Vector(f"unequal,c={c}", {0: huge, 1: (-power(127), power(127))}, c)
            yield Vector(f"limit,c={c}", {0: limit, 1: (-power(127), power(127))}, c)


def _p14(x: Case) -> Iterator[Vector]:
    zeros: tuple[Operand, ...] = (0, "-0")
    for c in zeros:
        for a in zeros:
            for b in (*zeros, 1, -1):
                yield Vector(f"zeros,a={a},b={b},c={c}", {}, c, (a, b))
        yield Vector(f"cancel,c={c}", {0: 1, 1: -1}, c)
    words: tuple[Operand, ...] = (1, "inf", "-inf", "nan")
    for c in words:
        for a in words:
            for b in (*words, 0):
                yield Vector(f"specials,a={a},b={b},c={c}", {0: (a, b)}, c)
    for a in words[1:]:
        yield Vector(f"two,a={a}", {0: ("inf", 1), x.k - 1: (a, 1)})
    for code in (0x7F800001, 0xFFC00000, 0xFFFFFFFF):
        if x.c.k == 32:
            yield Vector(f"payload,c={code:#x}", {}, f"code:{code:#x}")
    largest = (2 - power(1 - x.c.p)) * power(x.c.emax)
    half = power(x.c.emax - 1)
    for sign in (1, -1):
        for name, extra in (("ulp", power(x.c.emax - x.c.p + 1)), ("half", power(x.c.emax - x.c.p)), ("much", half)):
            yield Vector(f"overflow,{name},{sign}", {0: sign * extra}, sign * largest)
    yield Vector("underflow", {0: power(x.c.emin - x.c.p - 11)})
    yield Vector("underflow,negative", {0: -power(x.c.emin - x.c.p - 11)})


def _p15(x: Case) -> Iterator[Vector]:
    if x.a.spare:
        one = 0x3F800000
        for bits in (1 << 12, (1 << 12) | 1, (1 << 13) - 1, 1 << 11, (1 << 12) - 1, 3 << 12, 1):
            yield Vector(f"low={bits:#x}", {0: (f"code:{one | bits:#x}", 1)})
        for code in (0x7F800001, 0x7F801000, 0xFF800001, 0x7F7FFFFF):
            yield Vector(f"code={code:#x}", {0: (f"code:{code:#x}", 1)})


def _p16(x: Case) -> Iterator[Vector]:
    if x.a.k == 8:
        for c in (Fraction(0), power(-18)):
            for i in (0, 2):
                for j in range(x.k):
                    if j != i:
                        yield Vector(f"i={i},j={j},c={c}", {i: power(16), j: -power(16)}, c, power(-18))


def _p17(x: Case) -> Iterator[Vector]:
    most, least = 2**31 - 1, -(2**31)
    for name, c, sign in (("most", most, 1), ("least", least, -1)):
        yield Vector(f"{name},one", {0: (sign, 1)}, c)
        yield Vector(f"{name},cancel", {0: (sign, 1), 1: (-sign, 1)}, c)
        yield Vector(f"{name},cancel late", {0: (sign * 127, 127), x.k - 1: (-sign * 127, 127)}, c)
        yield Vector(f"{name},back", {0: (-sign, 1), x.k - 1: (sign * 2, 1)}, c)
        yield Vector(f"{name},all", {}, c, (sign * 127, 127))


_F, _I = "float", "int"
PROBES: tuple[Probe, ...] = (
    Probe("P1", "fraction bits kept when products are aligned", "the largest k whose result is not zero is F", _F, _p1),
    Probe("P1c", "the same for the accumulator", "as P1; different if c is added apart", _F, _p1c),
    Probe("P2", "how much of C passes through", "bits of c that survive with A = B = 0", _F, _p2),
    Probe("P3", "rounding at alignment", "units of 2^-F: toward zero gives 1 1 0 0 0 with the sign", _F, _p3),
    Probe("P4", "rounding of the result, and its width", "which neighbour; 1.5 + 2^-13 + 1.5 tells E8M13", _F, _p4),
    Probe("P5", "products in a step, and their order", "0 while j shares p0's step, the unit afterwards", _F, _p5),
    Probe("P5t", "the whole tree of additions", "how many units survive X and -X at i and j", _F, _p5t),
    Probe("P5b", "whether c is added with the products", "c itself if they are cut one by one beside it", _F, _p5b),
    Probe("P6", "whether products are normalised", "as P1; one bit less if they are", _F, _p6),
    Probe("P7", "normalisation between additions, carry bits", "1 + 2^-21 + 2^-23 if late; no carry lost", _F, _p7),
    Probe("P8", "monotonicity", "a larger c may give a smaller result", _F, _p8),
    Probe("P9", "exponent of zero terms, binary16 output", "2^-24 while the second product is kept", _F, _p9),
    Probe("P10", "exponent of zero terms, binary32 output", "2^-149 while every rung is kept", _F, _p10),
    Probe("P11", "exponent of a subnormal binary16 C", "2 or 3 units of 2^-24 at k=40", _F, _p11),
    Probe("P12", "exponent of subnormal operands", "as P1 if their exponent field counts", _F, _p12),
    Probe("P13", "products beyond 2^128", "not infinite by themselves", _F, _p13),
    Probe("P14", "zeros, infinities, NaN, overflow", "the codes themselves", _F, _p14),
    Probe("P15", "how tf32 operands are cut", "1 if toward zero; 1 + 2^-10 if to nearest", _F, _p15),
    Probe("P16", "groups of emulated fp8 instructions", "how many small products survive", _F, _p16),
    Probe("P17", "integer overflow", "wraps or clamps, and where", _I, _p17),
)
"""THE TABLE of designed vectors."""


def _codes(x: Case, product: Product) -> tuple[int, int] | None:
    if not isinstance(product, tuple):
        return split(x.a, x.b, product)
    first, second = code_of(x.a, product[0]), code_of(x.b, product[1])
    return None if first is None or second is None else (first, second)


def _place(x: Case, vector: Vector) -> tuple[list[tuple[int, int]], int] | None:
    """The operand codes of a vector's places and its accumulator's, or None if it cannot be had."""
    rest, c = _codes(x, vector.rest), code_of(x.c, vector.c)
    if rest is None or c is None or any(place >= x.k for place in vector.products):
        return None
    places = [rest] * x.k
    for place, product in vector.products.items():
        pair = _codes(x, product)
        if pair is None:
            return None
        places[place] = pair
    return places, c


def probe_vectors(
    a: Layout, b: Layout, c: Layout, k: int, ids: tuple[str, ...] | None = None
) -> tuple[list[str], Array, Array, Array]:
    """Every designed vector that the formats can hold.

    Parameters
    ----------
    a, b, c : Layout
        Of the operands, and of accumulator and result.
    k : int
        Products in a vector.
    ids : tuple of str, optional
        Probes; by default all of ``PROBES``.

    Returns
    -------
    tuple
        Labels ``P1/k=5`` ...; register codes a (n, k), b (n, k), c (n,).

    Examples
    --------
    >>> from floatemu.matrix.generator import LAYOUTS
    >>> half, single = LAYOUTS["binary16"], LAYOUTS["binary32"]
    >>> labels, x, y, z = probe_vectors(half, half, single, 16, ids=("P4",))
    >>> labels[:2], x.shape, z.dtype
    (['P4/units=1', 'P4/units=-1'], (15, 16), dtype('uint32'))
    """
    case, labels, pairs, accumulators = Case(a, b, c, k), [], [], []
    wanted = "int" if a.p == 0 else "float"
    for probe in PROBES:
        if probe.wants != wanted or (ids is not None and probe.id not in ids):
            continue
        for vector in probe.build(case):
            placed = _place(case, vector)
            if placed is not None:
                labels.append(f"{probe.id}/{vector.label}")
                pairs.append(placed[0])
                accumulators.append(placed[1])
    both = np.array(pairs, np.uint64).reshape(-1, k, 2)
    ends = np.array(accumulators, np.uint64).astype(c.dtype)
    return labels, both[..., 0].astype(a.dtype), both[..., 1].astype(b.dtype), ends
