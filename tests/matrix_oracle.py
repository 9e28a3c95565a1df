"""Matrix units by definition, over fractions: written from the published models' text, not from the code.

* T-FDPA, ST-FDPA, GST-FDPA, E-FDPA, TR-FDPA, GTR-FDPA, FTZ, FMA: MMA-Sim, arXiv 2511.10909 v2, and its package 2.1.1;
  Khattak & Mikaitis, arXiv 2512.07004.
* fp8 ``mma.sync`` in software: what nvcc 13.0 makes of the instruction for sm_90a and sm_100a.

One function a model; every one takes numbers and gives a number, for one element of the result. The constants
are typed in here once more on purpose: the table under test has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from math import floor
from typing import NamedTuple

from floatemu import reference
from floatemu.formats import get_format


class Num(NamedTuple):
    """A signed magnitude; ``kind`` is finite, infinite or nan."""

    kind: str = "finite"
    negative: bool = False
    size: Fraction = Fraction(0)

    @property
    def value(self) -> Fraction:
        return -self.size if self.negative else self.size


NAN, ZERO = Num("nan"), Num()
EMIN = {
    "binary16": -14, "bfloat16": -126, "tf32": -126, "binary32": -126, "binary64": -1022, "e4m3fn": -6, "e5m2": -14,
    "e3m2fn": -2, "e2m3fn": 0, "e2m1fn": 0, "e8m0fnu": -127, "e4m3fnuz": -7, "e5m2fnuz": -15,
}  # fmt: skip


@cache
def number(code: int, fmt: str) -> Num:
    """The number behind a code."""
    datum = reference.decode(code, get_format(fmt))
    return Num(datum.kind, datum.negative, datum.magnitude)


def code(x: Num, fmt: str, nan: int) -> int:
    """The code of a number that the format holds; ``nan`` is what a NaN is given."""
    found = get_format(fmt)
    if x.kind == "nan":
        return nan
    return reference.encode(reference.Datum(x.size, x.negative, x.kind), found)


@cache
def power(e: int) -> Fraction:
    """2^e."""
    return Fraction(2) ** e


def floor_log2(x: Fraction) -> int:
    """Largest e with 2^e <= x, for x > 0."""
    high, low = x.numerator, x.denominator
    e = high.bit_length() - low.bit_length()
    return e if (high >= low << e if e >= 0 else high << -e >= low) else e - 1


def exponent(x: Num, emin: int) -> int:
    """max(floor(log2 |x|), emin): subnormal numbers keep emin."""
    return max(floor_log2(x.size), emin) if x.size else emin


def truncated(v: Fraction, quantum: Fraction) -> Fraction:
    """Toward zero, to a multiple of the quantum."""
    return int(v / quantum) * quantum


def floored(v: Fraction, quantum: Fraction) -> Fraction:
    """Toward minus infinity."""
    return floor(v / quantum) * quantum


def nearest(v: Fraction, quantum: Fraction) -> Fraction:
    """To nearest, ties to even."""
    return round(v / quantum) * quantum


def finish(v: Fraction, p: int, emin: int, emax: int, cut: Callable[[Fraction, Fraction], Fraction]) -> Num:
    """Round to p bits with gradual underflow; from 2^(emax + 1) on it is an infinity in every mode; 0 is +0."""
    if not v:
        return ZERO
    quantum = power(max(floor_log2(abs(v)), emin) - p + 1)
    result = cut(v, quantum)
    if abs(result) >= power(emax + 1):
        return Num("infinite", v < 0)
    return Num(negative=v < 0, size=abs(result))


def rz_fp32(v: Fraction) -> Num:
    return finish(v, 24, -126, 127, truncated)


def rz_e8m13(v: Fraction) -> Num:
    return finish(v, 14, -126, 127, truncated)


def rne_fp16(v: Fraction) -> Num:
    return finish(v, 11, -14, 15, nearest)


def rne_fp32(v: Fraction) -> Num:
    return finish(v, 24, -126, 127, nearest)


def rne_fp64(v: Fraction) -> Num:
    return finish(v, 53, -1022, 1023, nearest)


def fused_end(v: Fraction, rho: str) -> Num:
    """How NVIDIA's steps end: a zero is +0, even one that a negative number was rounded to."""
    result = RHO[rho](v)
    return result if result.size or result.kind != "finite" else ZERO


RHO = {"RZ-FP32": rz_fp32, "RZ-E8M13": rz_e8m13, "RNE-FP16": rne_fp16}


def times(x: Num, y: Num) -> Num:
    """The exact product; 0 times an infinity is NaN."""
    if "nan" in (x.kind, y.kind):
        return NAN
    negative = x.negative != y.negative
    if "infinite" in (x.kind, y.kind):
        other = y if x.kind == "infinite" else x
        return NAN if other.kind == "finite" and not other.size else Num("infinite", negative)
    return Num("finite", negative, x.size * y.size)


def special(terms: Sequence[Num]) -> Num | None:
    """NaN, or an infinity, if the terms decide it; else None."""
    if any(t.kind == "nan" for t in terms):
        return NAN
    signs = {t.negative for t in terms if t.kind == "infinite"}
    return NAN if len(signs) == 2 else Num("infinite", signs.pop()) if signs else None


def aligned(parts: Sequence[tuple[Fraction, int]], fraction: int) -> Fraction:
    """The sum of all parts (value, exponent), each cut toward zero at 2^(E - F), E the largest exponent."""
    last = max(e for _, e in parts) - fraction
    return sum(int(v * power(-last)) for v, _ in parts) * power(last)


def t_fdpa(
    a: Sequence[Num], b: Sequence[Num], c: Num, *, ea: int, eb: int, ec: int, F: int, rho: str, zero: int,
    scale: tuple[Num, Num] | None = None, escale: int = 0,
) -> Num:  # fmt: skip
    """One step; ea, eb, ec: emin of the formats. ``scale``: ST-FDPA's two block scales, ``escale`` their emin."""
    products = [times(x, y) for x, y in zip(a, b)]
    spoiled = [NAN] if scale is not None and "nan" in (scale[0].kind, scale[1].kind) else []
    found = special([*products, c, *spoiled])
    if found is not None:
        return found
    factor = Fraction(1) if scale is None else scale[0].size * scale[1].size
    shift = 0 if scale is None else exponent(scale[0], escale) + exponent(scale[1], escale)
    parts = [
        (p.value * factor, exponent(x, ea) + exponent(y, eb) + shift if p.size else zero)
        for x, y, p in zip(a, b, products)
    ]
    parts.append((c.value, exponent(c, ec) if c.size else zero))
    # A step whose terms are all smaller still aligns at the exponent that zero has, if one of them is zero.
    return fused_end(aligned(parts, F), rho)


def gst_fdpa(
    a: Sequence[Num], b: Sequence[Num], c: Num, scales: Sequence[tuple[Num, Num]], *, escale: int, group: int = 16,
    F: int = 35, zero: int = -139,
) -> Num:  # fmt: skip
    """One step over K = 64: exact dots of 16, scaled; only the scales' exponents count. Scales: one pair a group."""
    products = [times(x, y) for x, y in zip(a, b)]
    spoiled = [NAN for pair in scales for s in pair if s.kind == "nan"]
    found = special([*products, c, *spoiled])
    if found is not None:
        return found
    parts = []
    for g, (left, right) in enumerate(scales):
        own = products[g * group : (g + 1) * group]
        value = sum((p.value for p in own), Fraction(0)) * left.size * right.size
        dead = all(not p.size for p in own) or not left.size * right.size
        parts.append((value, zero if dead else exponent(left, escale) + exponent(right, escale)))
    parts.append((c.value, exponent(c, -126) if c.size else zero))
    return fused_end(aligned(parts, F), "RZ-FP32")


def ieee_sum(x: Num, y: Num, rho: Callable[[Fraction], Num]) -> Num:
    """x + y as IEEE 754 has it, rounded once."""
    found = special([x, y])
    if found is not None:
        return found
    total = x.value + y.value
    return rho(total) if total else Num(negative=x.negative and y.negative)


def software_fp8(a: Sequence[Num], b: Sequence[Num], c: Num, *, rho: str, zero: int) -> Num:
    """fp8 mma.sync m16n8k32 on sm_90 and sm_100: two binary16 steps from zero, then one addition of C."""
    total = ZERO
    for kept in ((0, 1), (2, 3)):
        places = [k for k in range(32) if k % 4 in kept]
        left, right = [a[k] for k in places], [b[k] for k in places]
        accumulator = EMIN["binary16"] if rho == "RNE-FP16" else EMIN["binary32"]
        total = t_fdpa(left, right, total, ea=-14, eb=-14, ec=accumulator, F=25, rho=rho, zero=zero)
    return ieee_sum(total, c, rne_fp16 if rho == "RNE-FP16" else rne_fp32)


def fma(x: Num, y: Num, c: Num, rho: Callable[[Fraction], Num]) -> Num:
    """x y + c, rounded once."""
    return ieee_sum(times(x, y), c, rho)


def e_fdpa(a: Sequence[Num], b: Sequence[Num], c: Num) -> Num:
    """CDNA1: everything added exactly, one rounding; an exact zero is +0."""
    products = [times(x, y) for x, y in zip(a, b)]
    found = special([*products, c])
    return rne_fp32(sum((p.value for p in products), c.value)) if found is None else found


def flushed(x: Num) -> Num:
    """A subnormal binary32 result becomes a zero of its sign."""
    return Num(x.kind, x.negative) if x.kind == "finite" and x.size < power(-126) else x


def flushed_input(x: Num, emin: int) -> Num:
    """A subnormal operand becomes +0, and so does -0."""
    return ZERO if x.kind == "finite" and x.size < power(emin) else x


def ftz(a: Sequence[Num], b: Sequence[Num], c: Num, emin: int) -> Num:
    """CDNA2, one step of 2 or 4 products: added in pairs, flushed at every turn."""
    terms = []
    for x, y in zip(a, b):
        product = times(flushed_input(x, emin), flushed_input(y, emin))
        small = product.kind == "finite" and product.size > 0
        rounded = rne_fp32(product.value) if small else product
        terms.append(flushed(rounded))
    while len(terms) > 1:
        terms = [flushed(ieee_sum(x, y, rne_fp32)) for x, y in zip(terms[::2], terms[1::2])]
    return flushed(ieee_sum(c, terms[0], rne_fp32))


def _tr_sum(products: Sequence[Num], exponents: Sequence[int]) -> tuple[Fraction, int]:
    """Sum of products cut at their own largest exponent less 24, and that exponent; -999 without any."""
    parts = [(p.value, e if p.size else -999) for p, e in zip(products, exponents)]
    return aligned(parts, 24), max(e for _, e in parts)


def _tr_end(total: Fraction, top: int, c: Num, drop: bool) -> Num:
    """The products' sum meets the accumulator, both rounded down; the sum is cut once more, then rounded."""
    ec = exponent(c, -126)
    top = max(top, ec)
    own = floored(c.value, power(top - 24))
    if drop and ec < top - 25:
        own = Fraction(0)
    v = floored(total, power(top - 32)) + own
    if not v:
        return ZERO
    return rne_fp32(floored(v, power(max(floor_log2(abs(v)), -126) - 31)))


def tr_fdpa(a: Sequence[Num], b: Sequence[Num], c: Num, *, ea: int, eb: int) -> Num:
    """CDNA3, 16-bit formats and xf32."""
    products = [times(x, y) for x, y in zip(a, b)]
    products = [Num("infinite", p.negative) if p.kind == "finite" and p.size >= power(128) else p for p in products]
    found = special([*products, c])
    if found is not None:
        return found
    return _tr_end(*_tr_sum(products, [exponent(x, ea) + exponent(y, eb) for x, y in zip(a, b)]), c, drop=False)


def gtr_fdpa(a: Sequence[Num], b: Sequence[Num], c: Num, *, ea: int, eb: int) -> Num:
    """CDNA3, 8-bit formats: even and odd products apart; a small accumulator is dropped, whatever it is."""
    products = [times(x, y) for x, y in zip(a, b)]
    found = special(products)
    if found is not None:
        return found
    exponents = [exponent(x, ea) + exponent(y, eb) for x, y in zip(a, b)]
    halves = [_tr_sum(products[i::2], exponents[i::2]) for i in (0, 1)]
    top = max(e for _, e in halves)
    total = sum((floored(v, power(top - 24)) for v, _ in halves), Fraction(0))
    if c.kind != "finite":
        # frexp of an infinity or a NaN gives exponent 0, which the model takes for floor(log2) = -1.
        return _tr_end(total, top, ZERO, drop=False) if max(top, -1) - 25 > -1 else c
    return _tr_end(total, top, c, drop=True)


class Model(NamedTuple):
    """A unit by definition: ``step(a, b, c, scales)`` over ``depth`` products, chained in ascending k."""

    depth: int
    step: Callable[[Sequence[Num], Sequence[Num], Num, Sequence[tuple[Num, Num]]], Num]
    groups: int = 1  #: scales that a step takes, one pair for each
    start: Callable[[Num], Num] = lambda c: c  #: what becomes of the accumulator before the first step

    def run(self, a: Sequence[Num], b: Sequence[Num], c: Num, scales: Sequence[tuple[Num, Num]] = ()) -> Num:
        """The whole chain; K is filled up with zeros."""
        more = -len(a) % self.depth
        a, b = [*a, *[ZERO] * more], [*b, *[ZERO] * more]
        c = self.start(c)
        for i, k in enumerate(range(0, len(a), self.depth)):
            own = scales[i * self.groups : (i + 1) * self.groups]
            c = self.step(a[k : k + self.depth], b[k : k + self.depth], c, own)
        return c


# Architecture: products a step of 16-bit formats, F, e_zero for binary32 and for binary16 output.
CHIPS = {
    "volta": (4, 23, -131, -19),
    "turing": (8, 24, -132, -20),
    "ampere": (8, 24, -132, -20),
    "ada": (8, 24, -132, -20),
    "hopper": (16, 25, -133, -21),
    "blackwell": (16, 25, -133, -21),
    "rtx_blackwell": (16, 25, -133, -21),
}
TF32 = {"ampere": 4, "ada": 4, "hopper": 8, "blackwell": 8, "rtx_blackwell": 8}
FP8 = {("ada", "mma"): (16, 13), ("hopper", "wgmma"): (32, 13)}
SOFTWARE = {("hopper", "mma"), ("blackwell", "mma")}
FP8_FORMATS = {"e4m3fn", "e5m2"}


def nvidia(architecture: str, instruction: str, a: str, b: str, output: str, *, shape: str, scale: str | None) -> Model:
    """The model of an NVIDIA row, by its names."""
    if a == "binary64":
        return Model(1, lambda x, y, c, _: fma(x[0], y[0], c, rne_fp64))
    length, F, zero32, zero16 = CHIPS[architecture]
    zero = zero16 if output == "binary16" else zero32
    rho = "RNE-FP16" if output == "binary16" else "RZ-FP32"
    ea, eb, ec = EMIN[a], EMIN[b], EMIN[output]
    if "k64" in shape:
        return Model(64, lambda x, y, c, s: gst_fdpa(x, y, c, s, escale=EMIN[str(scale)]), groups=4)
    if scale is not None:
        return Model(
            32,
            lambda x, y, c, s: t_fdpa(x, y, c, ea=ea, eb=eb, ec=ec, F=25, rho=rho, zero=-133, scale=s[0], escale=-127),
        )
    if a not in ("binary16", "bfloat16", "tf32"):
        if (architecture, instruction) in SOFTWARE:
            return Model(32, lambda x, y, c, _: software_fp8(x, y, c, rho=rho, zero=zero))
        length, F = FP8.get((architecture, instruction), (32, 25))
        if F == 13 and output == "binary32":
            rho = "RZ-E8M13"
    elif a == "tf32":
        length = TF32[architecture]
    elif architecture == "turing" and shape == "m8n8k4":
        length, F, _, _ = CHIPS["volta"]
        zero = -19 if output == "binary16" else -131
    return Model(length, lambda x, y, c, _: t_fdpa(x, y, c, ea=ea, eb=eb, ec=ec, F=F, rho=rho, zero=zero))


def amd(architecture: str, a: str, b: str, *, note: str) -> Model:
    """The model of an AMD row, by its names."""
    ea, eb = EMIN[a], EMIN[b]
    if a in ("binary32", "binary64"):
        rho = rne_fp32 if a == "binary32" else rne_fp64
        return Model(1, lambda x, y, c, _: fma(x[0], y[0], c, rho))
    if architecture == "cdna1":
        return Model(4 if a == "binary16" else 2, lambda x, y, c, _: e_fdpa(x, y, c))
    if architecture == "cdna2":
        depth = 2 if (a, note) == ("bfloat16", "") else 4
        return Model(depth, lambda x, y, c, _: ftz(x, y, c, ea), start=lambda c: flushed_input(c, -126))
    if a.endswith("uz"):
        return Model(16, lambda x, y, c, _: gtr_fdpa(x, y, c, ea=ea, eb=eb))
    return Model(4 if a == "tf32" or note == "k4" else 8, lambda x, y, c, _: tr_fdpa(x, y, c, ea=ea, eb=eb))
