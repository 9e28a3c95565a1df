"""Block quantization by definition, over fractions: blocks cut out one by one, rules as their sources word them."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from floatemu import reference
from floatemu.format import Format
from floatemu.projection import Projection, Rounding, Saturation


def floor_log2(x: Fraction) -> int:
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if Fraction(2) ** e <= x else e - 1


def ceil_log2(x: Fraction) -> int:
    e = floor_log2(x)
    return e if Fraction(2) ** e == x else e + 1


def power(e: int, scale: Format) -> int:
    """The code of 2^e, or of the nearer end of the range."""
    value = min(max(Fraction(2) ** e, scale.min_positive), scale.max)
    return reference.encode(reference.exact(value), scale)


def fl(x: Any, single: bool) -> Any:
    return np.float32(x) if single else np.float64(x)


def ratio(amax: Fraction, divisor: Fraction, outer: Fraction, formula: str, single: bool) -> Fraction:
    """amax / (divisor outer), as a real number or as hardware forms it."""
    if formula == "exact":
        return amax / (divisor * outer)
    one, a, d, g = (fl(float(v), single) for v in (1, amax, divisor, outer))
    with np.errstate(all="ignore"):
        found = a / d / g if formula == "divide" else a * ((one / g) * (one / d))
    return Fraction(float(found)) if np.isfinite(found) else Fraction(2) ** 1023


def scale_code(amax: Fraction, element: Format, scale: Format, rule: str, outer: Fraction, single: bool) -> int:
    """The code of a block's scale, by the rule of that name."""
    name, _, formula = rule.partition("_")
    formula = formula.lower() or "exact"
    if amax == 0:
        return 0
    if name == "FLOOR":  # OCP MX 1.0, 6.3: the largest power of two <= amax, over the largest one in the elements
        return power(floor_log2(amax / outer) - element.emax, scale)
    if name == "CEIL":
        return power(ceil_log2(amax / outer) - element.emax, scale)
    if name == "EVEN":
        p = Format("p", k=element.p + 6, p=element.p)
        rounded = reference.round_to_precision(amax / outer * 2**200, p, Rounding.NEAREST_TIES_TO_EVEN, bounded=False)
        return power(floor_log2(rounded) - 200 - element.emax, scale)
    q = ratio(amax, element.max, outer, formula, single)
    if name == "RCEIL":
        return power(ceil_log2(q), scale) if q else 0
    mode = {"NEAREST": Rounding.NEAREST_TIES_TO_EVEN, "UP": Rounding.TOWARD_POSITIVE}[name]
    return reference.project(q, scale, Projection(mode, Saturation.SAT_FINITE))


class Elements(NamedTuple):
    """How elements are projected."""

    by: Projection = Projection(saturation=Saturation.SAT_FINITE)
    seed: int = 0
    stream: int = 0
    scaling: str = "exact"


NEAREST = Elements()


def element_code(x: Any, whole: Fraction, element: Format, how: Elements, position: int, single: bool) -> int:
    """The code of one number over its block's scale times the array's."""
    n = how.by.random_bits or 0
    r = reference.random_word(how.seed, how.stream, position) >> (32 - n) if n else 0
    given = reference.exact(x)
    if whole == 0:
        scaled = reference.Datum(Fraction(0), given.negative)
    elif how.scaling == "exact":
        scaled = reference.Datum(given.magnitude / whole, given.negative)
    else:
        a, s = fl(float(given), single), fl(float(whole), single)
        with np.errstate(all="ignore"):
            scaled = reference.exact(a / s if how.scaling == "divide" else a * (fl(1, single) / s))
    return reference.project(scaled, element, how.by, r)


def blocks(shape: tuple[int, ...], sizes: dict[int, int]) -> Any:
    """Yield (place among the blocks, slices of the array) for blocks of these sizes along these axes."""
    counts = [-(-n // sizes.get(a, 1)) for a, n in enumerate(shape)]
    for place in itertools.product(*map(range, counts)):
        yield place, tuple(slice(i * sizes.get(a, 1), (i + 1) * sizes.get(a, 1)) for a, i in enumerate(place))


def quantize(
    x: np.ndarray[Any, Any],
    sizes: dict[int, int],
    element: Format,
    scale: Format,
    rule: str,
    outer: float = 1.0,
    how: Elements = NEAREST,
    least: int = 0,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Codes of elements and scales of an array of finite numbers."""
    single = x.dtype.itemsize <= 4
    over = Fraction(outer)
    counts = tuple(-(-n // sizes.get(a, 1)) for a, n in enumerate(x.shape))
    codes, scales = np.zeros(x.shape, np.uint64), np.zeros(counts, np.uint64)
    index = np.arange(x.size).reshape(x.shape)
    for place, where in blocks(x.shape, sizes):
        amax = max((abs(Fraction(float(v))) for v in x[where].flat), default=Fraction(0))
        code = max(scale_code(amax, element, scale, rule, over, single), least)
        scales[place] = code
        whole = reference.decode(code, scale).magnitude * over
        found = [
            element_code(v, whole, element, how, int(i), single)
            for v, i in zip(x[where].flat, index[where].flat, strict=True)
        ]
        codes[where] = np.array(found, np.uint64).reshape(x[where].shape)
    return codes, scales


def sqnr(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    """In dB, sums over fractions."""
    pairs = [(Fraction(float(a)), Fraction(float(b))) for a, b in zip(x.flat, y.flat, strict=True)]
    signal, noise = sum(a * a for a, _ in pairs), sum((a - b) ** 2 for a, b in pairs)
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)
