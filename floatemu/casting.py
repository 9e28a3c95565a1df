"""What a cast of a real system does, as data: the steps, and what becomes of infinities, NaNs, zeros and signs."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from floatemu.codec import code_dtype, decode, encode
from floatemu.errors import FormatError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.projection import Projection, Rounding, Saturation
from floatemu.rounding import round as round_to

Array = np.ndarray[Any, Any]
FLOATS = "binary16 bfloat16 binary32 binary64"
DOUBLE = "rounded to {} first, then again (double rounding)"


class Nan(enum.Enum):
    """Which code a NaN becomes."""

    SIGNED = "the canonical NaN, with the operand's sign"
    PLUS = "the canonical NaN, sign clear"
    ONES = "the NaN of all ones, with the operand's sign"
    PLUS_ONES = "the NaN of all ones, sign clear"
    MINUS_ONES = "the NaN of all ones, sign set"
    LEADING = "a quiet NaN with the operand's sign and leading bits"
    SAME = "the operand's sign and leading bits, quiet or not"
    ZERO = "+0"
    MINUS_ZERO = "-0"
    OTHER_ZERO = "the zero of the other sign"
    MAX = "the largest value"
    SIGNED_MAX = "the largest value, with the operand's sign"
    KEPT = "NaN, where results are numbers and not codes"
    CARRIED = "the largest value, or the zero of the other sign if rounding the significand carries out of it"


class Zeros(enum.Enum):
    """Whether zeros keep their sign."""

    SIGNED = "zeros keep their sign"
    OPERANDS_PLUS = "-0 becomes +0"
    PLUS = "every zero is +0"


class Result(enum.Enum):
    """What takes the place of a number, with its sign."""

    MAX = "the largest value"
    INFINITY = "infinity"
    NAN = "NaN"
    LEAST = "the least positive value"
    SECOND = "the second positive value"


@dataclass(frozen=True)
class Span:
    """Magnitudes for which a system departs from its own rule: low <= |x| < high, or low < |x| if ``open``."""

    low: float
    high: float
    becomes: Result
    open: bool = False

    def holds(self, x: Array) -> Array:
        """Return where non-negative numbers lie in the span."""
        wide = np.asarray(x, np.float64)
        above = wide > self.low if self.open else wide >= self.low
        return np.asarray(above & (wide < self.high))

    def describe(self) -> str:
        """Return the span and its result in words."""
        ends = "above" if self.open else "from"
        return f"magnitudes {ends} {_number(self.low)} and below {_number(self.high)} become {self.becomes.value}"


def _number(x: float) -> str:
    exponent = np.log2(x) if 0 < x < 2.0**-20 else 0.5
    return f"2^{exponent:.0f}" if exponent == int(exponent) else f"{x:g}"


@dataclass(frozen=True)
class Rule:
    """How a system casts numbers of some formats into some others.

    Parameters
    ----------
    targets : str
        Names of formats, separated by spaces.
    sources : str
        Formats of the operand, of binary16, bfloat16, binary32, binary64 and int64.
    via : str or tuple of Format
        What an operand that it does not hold is rounded to first, one after the other, to nearest even.
    flush : bool
        Whether subnormal numbers of binary32 become zero on that way.
    projection : Projection
        Of the last step.
    infinity : Result, optional
        What infinities become. Default: what the projection says.
    nan : Nan
        What NaNs become.
    born : Nan
        Which NaN numbers become that become NaN.
    zeros : Zeros
        Whether they keep their sign.
    magnitude : bool
        Whether every operand loses its sign.
    spans : tuple of Span
        Where the result is another one.
    values : Format, optional
        The numbers that the system has, where they are not those of the target.
    carried : bool
        Whether results are numbers of binary32, not codes; infinities stay what they are, unless ``infinity`` says
        otherwise, and NaNs with ``Nan.KEPT``.

    Raises
    ------
    FormatError
        If a name is not a canonical one of a format, or a span is empty.

    Examples
    --------
    >>> rule = Rule("e4m3fn", via="binary32", projection=Projection(saturation="SAT_FINITE"))
    >>> print(rule.describe("binary64"))
    rounded to binary32 first, then again (double rounding); saturates, infinity included
    >>> apply(rule, np.array([1 + 2**-4 + 2**-40, 1e9]), get_format("binary64"), get_format("e4m3fn")).tolist()
    [56, 126]
    """

    targets: str
    sources: str = f"{FLOATS} int64"
    via: str | tuple[Format, ...] = ""
    flush: bool = False
    projection: Projection = field(default_factory=Projection)
    infinity: Result | None = None
    nan: Nan = Nan.SIGNED
    born: Nan = Nan.SIGNED
    zeros: Zeros = Zeros.SIGNED
    magnitude: bool = False
    spans: tuple[Span, ...] = ()
    values: Format | None = None
    carried: bool = False

    def __post_init__(self) -> None:
        for target in self.targets.split():
            if get_format(target).name != target:
                raise FormatError(f"a rule's targets are canonical names: {get_format(target).name}, not {target!r}")
        strange = set(self.sources.split()) - {*FLOATS.split(), "int64"}
        if strange or not self.sources.split() or not self.targets.split():
            raise FormatError(f"a rule's sources are {self.sources!r}; accepted: {FLOATS} int64, at least one")
        for span in self.spans:
            if not 0 <= span.low < span.high:
                raise FormatError(f"a span needs 0 <= low < high, but low = {span.low} and high = {span.high}")

    def narrowings(self, source: Format | None) -> list[Format]:
        """Return the formats of ``via`` that an operand of ``source`` (None: an integer) is rounded to."""
        steps = [get_format(name) for name in (self.via.split() if isinstance(self.via, str) else self.via)]
        return [step for step in steps if source is None or not step.holds(source)]

    def describe(self, source: str = "binary64") -> str:
        """Return what distinguishes the rule from one rounding to nearest even, in words."""
        return "; ".join(self._words(source)) or "one rounding to nearest even"

    def _words(self, source: str) -> Iterator[str]:
        steps = self.narrowings(None if source == "int64" else get_format(source))
        if steps:
            yield DOUBLE.format(", then to ".join(step.name for step in steps))
            if self.flush:
                yield "subnormal numbers of binary32 become zero on the way"
        if self.magnitude:
            yield "the sign is dropped"
        if self.projection.rounding is not Rounding.NEAREST_TIES_TO_EVEN:
            bits = self.projection.random_bits
            yield f"rounds {self.projection.rounding.name}" + (f" with {bits} random bits" if bits else "")
        if self.projection.saturation is not Saturation.SAT_NONE:
            yield "saturates" + (", infinity included" if self.infinity is None else "")
        if self.infinity is not None:
            yield f"infinity becomes {self.infinity.value}"
        yield from (span.describe() for span in self.spans)
        if self.zeros is not Zeros.SIGNED:
            yield self.zeros.value
        if self.values is not None:
            yield f"its numbers go up to {float(self.values.max):g}"
        if self.carried:
            yield "results are binary32 numbers, not codes"


def apply(
    rule: Rule, x: Array, source: Format | None, fmt: Format, *, random: Any = None, seed: int | None = None,
    stream: int = 0,
) -> Array:  # fmt: skip
    """Cast numbers as a rule says.

    Parameters
    ----------
    rule : Rule
    x : ndarray
        float16, float32, float64 or integers; numbers of bfloat16 lie in float32.
    source : Format or None
        What the numbers count as; None: integers.
    fmt : Format
        The target.
    random, seed, stream
        For the stochastic modes, as in :func:`floatemu.round`.

    Returns
    -------
    ndarray of unsigned integers
        Codes of ``rule.values``, or of ``fmt``.

    Notes
    -----
    The steps are those of a real system: round on the way, drop the sign, project; then the cases that it treats
    apart take the place of what came out.
    """
    with np.errstate(all="ignore"):  # infinities and signalling NaNs are operands like others
        return _applied(rule, x, source, rule.values or fmt, {"random": random, "seed": seed, "stream": stream})


def _applied(rule: Rule, x: Array, source: Format | None, kind: Format, chance: dict[str, Any]) -> Array:
    v = x
    for step in rule.narrowings(source):
        v = _narrowed(v, step, rule.flush)
    negative = np.signbit(v) if v.dtype.kind == "f" else v < 0
    if rule.magnitude:
        v, negative = np.abs(v), np.zeros_like(negative)
    projection = rule.projection
    codes = np.asarray(
        encode(
            v, kind, projection.rounding, saturation=projection.saturation, random_bits=projection.random_bits,
            nan=None if kind.has_nan else "zero", **chance,
        )
    )  # fmt: skip
    sign = np.where(negative, kind.sign_code, 0).astype(codes.dtype)
    for span in rule.spans:
        codes = np.where(span.holds(v if not kind.signed else np.abs(v)), _result(kind, span.becomes) | sign, codes)
    if rule.infinity is not None:
        codes = np.where(np.isinf(v), _result(kind, rule.infinity) | sign, codes)
    return _specials(rule, x, negative, codes, kind).astype(code_dtype(kind), copy=False)


def apply_values(rule: Rule, x: Array, source: Format | None, fmt: Format, **chance: Any) -> Array:
    """Return the values that :func:`apply` gives as codes, or the binary32 numbers of a system without codes.

    Parameters
    ----------
    rule, x, source, fmt
        As for :func:`apply`.
    **chance
        Its random, seed and stream.

    Returns
    -------
    ndarray of float64
    """
    values = np.asarray(decode(apply(rule, x, source, fmt, **chance), rule.values or fmt))
    if rule.carried and x.dtype.kind == "f":
        stays = np.isnan(x) & (rule.nan is Nan.KEPT)
        if rule.infinity is None:
            stays |= np.isinf(x)
        with np.errstate(invalid="ignore"):  # signalling NaNs
            values[stays] = x[stays]
    return values


def _narrowed(x: Array, step: Format, flush: bool) -> Array:
    v = np.asarray(round_to(x, step, dtype=np.float64))
    if flush and x.dtype.kind == "f":
        # Processors look at the number rounded as if there were no least exponent.
        scale = 2.0**64
        tiny = np.abs(np.asarray(round_to(x.astype(np.float64) * scale, step))) < float(step.min_normal) * scale
        v = np.where(tiny, np.copysign(0.0, v), v)
    return v


def _specials(rule: Rule, x: Array, negative: Array, codes: Array, fmt: Format) -> Array:
    """Put the system's own NaNs and zeros in the place of floatemu's."""
    nan = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)
    if fmt.signed and fmt.high_nans:
        born = ~nan & ((codes & ~codes.dtype.type(fmt.sign_code)) == fmt.nan_code)
        codes[born] = _nan_codes(rule.born, x[born], negative[born], fmt)
    if rule.zeros is not Zeros.SIGNED:
        codes[(x == 0) if rule.zeros is Zeros.OPERANDS_PLUS else (codes == fmt.sign_code)] = 0
    if nan.any():
        codes[nan] = _nan_codes(rule.nan, x[nan], np.signbit(x[nan]), fmt)
    return codes


def _result(fmt: Format, result: Result) -> int:
    if result is Result.LEAST or result is Result.SECOND:
        return (1 if fmt.zero else 0) + (result is Result.SECOND)
    code = {Result.MAX: fmt.max_code, Result.INFINITY: fmt.inf_code, Result.NAN: fmt.nan_code}[result]
    assert code is not None, f"{fmt.name} has no {result.value}"
    return code


def _nan_codes(rule: Nan, x: Array, negative: Array, fmt: Format) -> Array:
    """The codes of NaNs, from the bits and signs of the operands."""
    sign = np.where(negative, fmt.sign_code, 0)
    if fmt.nan_code == fmt.sign_code or not fmt.signed:  # the only NaN there is
        return np.full(x.shape, fmt.nan_code)
    ones = (1 << (fmt.k - 1)) - 1
    match rule:
        case Nan.SIGNED:
            return np.asarray(sign | fmt.nan_code)
        case Nan.PLUS:
            return np.full(x.shape, fmt.nan_code)
        case Nan.ONES:
            return sign | ones
        case Nan.PLUS_ONES:
            return np.full(x.shape, ones)
        case Nan.MINUS_ONES:
            return np.full(x.shape, ones | fmt.sign_code)
        case Nan.ZERO | Nan.KEPT:
            return np.zeros_like(sign)
        case Nan.MINUS_ZERO:
            return np.full(x.shape, fmt.sign_code)
        case Nan.OTHER_ZERO:
            return np.where(negative, 0, fmt.sign_code)
        case Nan.MAX:
            return np.full(x.shape, fmt.max_code)
        case Nan.SIGNED_MAX:
            return sign | fmt.max_code
        case Nan.CARRIED:
            trailing, bits = _significand(x)
            carries = bits + np.uint64(1 << (trailing - fmt.trailing_bits - 1)) >= np.uint64(1 << trailing)
            return np.where(carries, np.where(negative, 0, fmt.sign_code), sign | fmt.max_code)
    return sign | _leading(x, fmt, rule is Nan.LEADING)


def _significand(x: Array) -> tuple[int, Array]:
    """The width of the trailing significand of the array's own format, and its bits."""
    trailing = int(np.finfo(x.dtype).nmant)
    return trailing, x.view(f"u{x.dtype.itemsize}").astype(np.uint64) & np.uint64((1 << trailing) - 1)


def _leading(x: Array, fmt: Format, quiet: bool) -> Array:
    """A NaN's leading bits in the place of the target's significand, below the exponent of all ones."""
    trailing, bits = _significand(x)
    bits = bits >> np.uint64(trailing - fmt.trailing_bits)
    top = 1 << (fmt.trailing_bits - 1)
    found = (bits | np.uint64(top)) if quiet else np.maximum(bits, 1)
    exponent = ((1 << fmt.exponent_bits) - 1) << fmt.trailing_bits
    return found.astype(np.int64) | exponent
