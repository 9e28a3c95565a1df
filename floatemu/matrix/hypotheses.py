"""What a matrix unit may be: every arithmetic that is tried, in the order of what decides, and what cannot be seen.

A hypothesis is a step of :mod:`floatemu.matrix.steps` or :mod:`floatemu.matrix.amd`, and is run as one. The fused
family has millions of members; they are enumerated in levels. A level fixes some parameters and is judged only by
inputs whose results the later parameters cannot change, which :mod:`floatemu.matrix.probes` decides input by input:

1. ``passing``: accumulators that pass by products that are all zero. Only F, the rounding at alignment and
   of the result, the result's format, and whether the accumulator is added apart can matter.
2. ``safe``: no term has a bit below 2^(emin - F) of the result for any F tried. The exponents of zero terms and of
   subnormal accumulators then never decide where anything is cut; block length, order, groups and
   normalisation do. Zeros count without their sign. Operands of more than 8 bits are normal numbers.
3. ``all``: anything.

Where no accumulator can be given, ``few`` comes first: products that cancel but for a term of two bits, so
that no result is ever rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from floatemu.format import Format
from floatemu.matrix.amd import Exact, PairwiseFlush, TwoStage
from floatemu.matrix.product import gemm
from floatemu.matrix.steps import BINARY16, BINARY32, BINARY64, Array, Chain, Fused, Integers, Operands
from floatemu.matrix.unit import Integer, MatrixUnit
from floatemu.projection import Rounding

NEAREST, ZERO = Rounding.NEAREST_TIES_TO_EVEN, Rounding.TOWARD_ZERO
DOWN, UP = Rounding.TOWARD_NEGATIVE, Rounding.TOWARD_POSITIVE
NO_FLOOR = -300
"""A zero exponent below that of every product: zero terms do not count."""
MOST_FRACTION = 40
WIDTHS = range(7, 23)
"""Fraction bits of accumulators that are narrower than the binary32 register they lie in."""


def powers(most: int, least: int = 1) -> list[int]:
    """The powers of two from ``least`` to ``most``."""
    return [2**i for i in range(64) if least <= 2**i <= most]


@dataclass(frozen=True)
class Question:
    """What is asked: the formats, and what the device takes.

    Attributes
    ----------
    a, b : Format or Integer
        Formats of the operands.
    output : Format or Integer
        Format of accumulator and result.
    k : int
        Products of a dot product.
    scale : Format, optional
        Format of block scales, one for ``block`` products.
    block : int, optional
    register : Format, optional
        Format of the register an operand lies in, if wider than its own.
    accumulator : bool
        Whether an accumulator can be given; else it starts at 0.
    promotion : bool
        Whether sums may be promoted, every so many products, to a total kept beside the unit.
    """

    a: Format | Integer
    b: Format | Integer
    output: Format | Integer
    k: int
    scale: Format | None = None
    block: int | None = None
    register: Format | None = None
    accumulator: bool = True
    promotion: bool = False

    @property
    def formats(self) -> tuple[Format, Format, Format]:
        """The formats of a, b and the output, none of which is an integer type."""
        assert isinstance(self.a, Format)
        assert isinstance(self.b, Format)
        assert isinstance(self.output, Format)
        return self.a, self.b, self.output

    @property
    def least_fraction(self) -> int:
        """The smallest F tried: below it the rounding of a binary16 result would be decided by the cut."""
        return 10 if self.output == BINARY16 else 8

    @property
    def bottom(self) -> int:
        """No bit of a ``safe`` input lies below two to this."""
        output = self.formats[2]
        return output.qmin if output == BINARY16 else output.emin - self.least_fraction + 8

    def unit(self, step: Any) -> MatrixUnit:
        """A row of the hardware table with these formats and that step."""
        nan = self.output.nan_code or 0 if isinstance(self.output, Format) else 0
        formats = self.a, self.b, self.output
        return MatrixUnit("hypothesis", "", (), "", (), *formats, step, self.scale, self.block, self.register, nan)


@dataclass(frozen=True)
class Promoted:
    """A step whose sums start anew every ``every`` products and are added up in binary32, as in ``gemm``.

    Attributes
    ----------
    step : Fused
    every : int
    """

    step: Fused
    every: int

    @property
    def depth(self) -> int:
        """K is filled with zeros up to a multiple of this."""
        return self.step.depth

    @property
    def accumulator(self) -> Format:
        """The format of the total."""
        return BINARY32

    def run(self, x: Operands) -> Array:
        """Return the totals (m, n), as binary64; the accumulators given are zeros."""
        formats = Question(x.a_format, x.b_format, BINARY32, 0, accumulator=False)
        return np.asarray(gemm(formats.unit(self.step), x.a, x.b, promote_every=self.every), np.float64)


Step = Any
"""Fused, Chain, Integers, Exact, PairwiseFlush, TwoStage or Promoted."""


class Level(NamedTuple):
    """One stage of an enumeration: from each survivor of the stage before to its refinements.

    ``sees`` is the kind of input that judges it. ``plain`` gives steps that inputs of few bits cannot tell apart the
    same form, so that these are run once.
    """

    name: str
    sees: str
    expand: Callable[[Step], Iterator[Step]]
    plain: Callable[[Step], Step] | None = None


class Family(NamedTuple):
    """A family of arithmetics and the stages in which it is enumerated."""

    name: str
    levels: tuple[Level, ...]


def results(output: Format) -> list[Format]:
    """Formats an accumulator may have that lies in a register of ``output``."""
    if output != BINARY32:
        return [output]
    return [output, *(Format(f"e8m{m}", k=9 + m, p=m + 1, bias=127, high_nans=2**m - 1) for m in WIDTHS)]


def _outputs(q: Question) -> Iterator[tuple[Format, Rounding]]:
    yield from product(results(q.formats[2]), (ZERO, NEAREST, DOWN, UP))


def _cuts(q: Question) -> Iterator[tuple[int, Rounding]]:
    yield from product(range(q.least_fraction, MOST_FRACTION + 1), (ZERO, DOWN, NEAREST))


def _orders(length: int, q: Question) -> Iterator[tuple[int, ...]]:
    """Orders of instructions that others emulate, accumulator last: ascending, and pairs taken alternately."""
    for depth in powers(min(q.k, length if q.scale else 4 * length), length):
        yield tuple(range(depth))
    if length % 2 == 0 and 2 * length <= q.k and not q.scale:
        yield tuple(i for half in ((0, 1), (2, 3)) for i in range(2 * length) if i % 4 in half)


def _structures(q: Question, late: bool) -> Iterator[dict[str, Any]]:
    """Block length, order and groups; ``late``: the accumulator is added apart."""
    for length in powers(q.k):
        if late:
            yield from ({"length": length, "order": order} for order in _orders(length, q))
        else:
            groups = powers(min(q.block, length)) if q.block else [1]
            yield from ({"length": length, "group": group} for group in groups)


def _exponents(q: Question, narrow: bool) -> list[dict[str, Any]]:
    """What exponents products count with: those of their factors' fields, of the factors, or their own.

    The factors' are tried with the block length if a format has few numbers that are not subnormal (``narrow``), else
    last, where subnormal operands first take part.
    """
    a, b, _ = q.formats
    few = max(a.k, b.k) <= 8
    found: list[dict[str, Any]] = [{}]
    if narrow:
        found.append({"normalised": True})
    if narrow == few:
        # Fields of a wider format that the operands are converted to, or of none.
        found += [{"operand_emin": e} for e in sorted({BINARY16.emin, min(a.qmin, b.qmin)}) if e < max(a.emin, b.emin)]
    return found


def _fused(q: Question) -> Family:
    output = q.formats[2]
    floors = [*range(output.emin, output.emin - 16, -1), NO_FLOOR]

    def base(**parts: Any) -> Fused:
        return Fused(**{"length": 4, "fraction": 24, "zero_exponent": NO_FLOOR, "result": output, **parts})

    def passing(_: Step) -> Iterator[Step]:
        for (fraction, alignment), (result, rounding) in product(_cuts(q), _outputs(q)):
            yield base(fraction=fraction, alignment=alignment, result=result, rounding=rounding)
        for result, rounding in _outputs(q):
            yield base(order=(0, 1, 2, 3), result=result, rounding=rounding)

    def structure(step: Step) -> Iterator[Step]:
        late = bool(step.order)
        cuts = _cuts(q) if late else [(step.fraction, step.alignment)]
        for (fraction, alignment), more in product(cuts, _exponents(q, narrow=True)):
            for parts in _structures(q, late):
                if parts.get("group", 1) == 1 or not more:
                    yield replace(step, fraction=fraction, alignment=alignment, **parts, **more)

    def small(step: Step) -> Iterator[Step]:
        late_more = [{}] if step.normalised or step.group > 1 else _exponents(q, narrow=False)
        for floor, emin, signed_zero, more in product(floors, (None, step.result.qmin), (False, True), late_more):
            yield replace(step, zero_exponent=floor, accumulator_emin=emin, signed_zero=signed_zero, **more)

    def everything(_: Step) -> Iterator[Step]:
        for late in (False, True):
            yield from structure_of(late)

    def structure_of(late: bool) -> Iterator[Step]:
        for (fraction, alignment), more in product(_cuts(q), _exponents(q, narrow=True)):
            for parts in _structures(q, late):
                if parts.get("group", 1) == 1 or not more:
                    yield base(fraction=fraction, alignment=alignment, **parts, **more)

    def rounded(step: Step) -> Iterator[Step]:
        for result, rounding in _outputs(q):
            yield replace(step, result=result, rounding=rounding)

    def promoted(step: Step) -> Iterator[Step]:
        if isinstance(step, Promoted):  # what adds the accumulator apart has been written so
            step = replace(step.step, order=tuple(range(step.every)))
        for every in (None, *powers(q.k // 2, step.depth)):
            yield step if every is None else Promoted(step, every)

    def plain(step: Step) -> Step:
        return replace(step, result=output, rounding=ZERO)

    if q.accumulator:
        stages = [
            Level("what passes", "passing", passing),
            Level("block length, order, cut, rounding", "safe", structure, plain),
            Level("zeros and subnormal numbers", "all", small),
        ]
    else:
        stages = [Level("block length, order, cut", "few", everything), Level("rounding", "safe", rounded)]
        if q.promotion:
            stages = [
                Level("block length, order, cut", "head few", everything),
                Level("rounding", "head safe", rounded),
                Level("zeros and subnormal numbers", "head all", small),
                Level("promotion", "all", promoted),
            ]
        else:
            stages.append(Level("zeros and subnormal numbers", "all", small))
    return Family("fused steps", tuple(stages))


def _two_stage(q: Question) -> Family:
    def first(_: Step) -> Iterator[Step]:
        for length, interleaved, fraction in product(powers(q.k), (False, True), range(8, MOST_FRACTION + 1)):
            if length > 1 or not interleaved:
                yield TwoStage(length, interleaved, fraction, final=52, first=52)

    def second(step: Step) -> Iterator[Step]:
        specials = (-1, 2**20) if step.interleaved else (-1,)
        bits = range(step.fraction, 37)
        pairs = [(final, final + more) for final in bits for more in (0, 1)] + [(60, first) for first in bits]
        for (final, first_bits), special in product(pairs, specials):
            # One more is the default, so that the published model is the same object.
            own = None if first_bits == final + 1 else first_bits
            yield TwoStage(step.length, step.interleaved, step.fraction, final, own, special)

    levels = Level("products", "few", first), Level("accumulator", "all", second)
    return Family("products, then accumulator", levels)


def _plain(name: str, steps: list[Step]) -> Family:
    return Family(name, (Level("all parameters", "all", lambda _: iter(steps)),))


def families(q: Question) -> list[Family]:
    """The families that formats leave possible.

    Parameters
    ----------
    q : Question

    Returns
    -------
    list of Family

    Examples
    --------
    >>> from floatemu.formats import get_format
    >>> half, single = get_format("binary16"), get_format("binary32")
    >>> [family.name for family in families(Question(half, half, single, 16))][:2]
    ['fused steps', 'products, then accumulator']
    """
    if isinstance(q.output, Integer):
        steps = [Integers(depth, saturate) for saturate in (False, True) for depth in powers(q.k)]
        return [_plain("integers", steps)]
    if BINARY64 in (q.a, q.b, q.output):
        return [_plain("chains of fused multiply-adds", [Chain(q.output)])]
    found = [_fused(q)]
    if q.scale is not None or q.promotion:
        return found  # no other family is known to be scaled or promoted
    if q.output == BINARY32:
        found.append(_two_stage(q))
        found.append(_plain("exact sums", [Exact(n) for n in powers(q.k)]))
        found.append(_plain("pairs with flushed subnormals", [PairwiseFlush(n) for n in powers(min(q.k, 16))]))
    found.append(_plain("chains of fused multiply-adds", [Chain(q.output)]))
    return found


def parameters(step: Step) -> dict[str, Any]:
    """A step's parameters as JSON can hold them.

    Parameters
    ----------
    step : Fused, Chain, Integers, Exact, PairwiseFlush, TwoStage or Promoted

    Returns
    -------
    dict

    Examples
    --------
    >>> parameters(TwoStage(8))["final"], parameters(Chain())["result"]
    (31, 'binary64')
    """
    if isinstance(step, Promoted):
        return {**parameters(step.step), "promote_every": step.every}
    found: dict[str, Any] = {"family": type(step).__name__}
    for item in fields(step):
        value = getattr(step, item.name)
        if isinstance(value, Format):
            value = value.name
        elif isinstance(value, Rounding):
            value = value.name
        elif isinstance(value, tuple):
            value = list(value)
        found[item.name] = value
    return found
