"""How an operation of P3109 runs: operands decoded to exact values, its rule on them, one projection of the result.

A rule is a function of where its result goes (:class:`Into`) and of the operands' exact values, binary64 arrays of one
shape in which there is no -0. It leaves rounding to ``Into``, so that the same rule serves every result
format, and block operations, which divide by a scale before they project.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from floatemu.errors import FormatError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format, p3109
from floatemu.functions_engine import odd_float, odd_serves
from floatemu.functions_exact import function
from floatemu.operands import Exact, broadcast_shape
from floatemu.projection import Projection, Rounding
from floatemu.reductions import dot, operand
from floatemu.results import check_out, own_dtypes, result_dtype
from floatemu.rounding import round as round_values

Array = Any
Rule = Callable[..., Array]
EXTERNAL = ("binary64", "binary32", "binary16", "bfloat16")
"""The formats outside of the standard that its operations read and write."""
_ACCEPTED = ("saturation", "random_bits", "random", "seed", "stream", "dtype", "out")


def standard_format(fmt: Format | str) -> Format:
    """Return the format if P3109 v4.0 knows it: one of its own, or one of :data:`EXTERNAL`.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    Format

    Raises
    ------
    FormatError
        For any other format.

    Examples
    --------
    >>> standard_format("Binary8p4se").name
    'binary8p4se'
    """
    found = get_format(fmt)
    if not _is_standard(found):
        raise FormatError(
            f"{found.name} is not a format of P3109 v4.0; accepted: Binary<K>p<P><s|u><e|f>, as fe.p3109() makes them, "
            f"and {', '.join(EXTERNAL)}. Arithmetic of IEEE 754 into any format is fe.add, fe.div and so on"
        )
    return found


@lru_cache(maxsize=1024)
def _is_standard(fmt: Format) -> bool:
    if any(fmt == get_format(name) for name in EXTERNAL):
        return True
    try:
        return fmt == p3109(fmt.k, fmt.p, fmt.signed, fmt.infinities)
    except FormatError:
        return False


@dataclass(frozen=True)
class Into:
    """Where the exact result of an operation goes: a format, a projection, random bits, the dtype of the array.

    Calling it with one of floatemu's faces and operands computes that face's exact result, rounded once.
    """

    fmt: Format
    projection: Projection
    dtype: Any = None
    random: Any = None
    seed: int | None = None
    stream: int = 0

    @property
    def bits(self) -> int:
        """N, the count of random bits; 0 where none are used."""
        return self.projection.random_bits or 0

    def __call__(self, face: Callable[..., Any], *operands: Array) -> Array:
        stochastic = self.projection.rounding.stochastic
        return face(
            *operands,
            self.fmt,
            self.projection.rounding,
            saturation=self.projection.saturation,
            random_bits=self.projection.random_bits,
            random=self.random if stochastic else None,
            seed=self.seed,
            stream=self.stream,
            dtype=self.dtype,
        )

    def of(self, values: Array) -> Array:
        """Project exact values: binary64 numbers, or objects that are exact numbers."""
        return self(round_values, values)

    def function(self, name: str, *operands: Array, where: Array, otherwise: Array) -> Array:
        """Project an elementary function of :mod:`floatemu.functions_exact` where it holds, other values elsewhere.

        Each distinct operand is computed once, with mpmath, and remembered: formats of 8 bits have at most 256.
        """
        odd = odd_serves(self.fmt, self.bits)
        result = np.broadcast_to(otherwise, where.shape).astype(np.float64 if odd else object)
        chosen = [np.broadcast_to(x, where.shape)[where] for x in operands]
        distinct, place = _distinct(chosen)
        need = 53 if odd else self.fmt.p + self.bits + 4
        numbers = np.empty(len(distinct), result.dtype)
        for i, row in enumerate(distinct):
            exact = _at(name, row, need)
            numbers[i] = odd_float(exact) if odd else _fraction(exact)
        result[where] = numbers[place]
        return self.of(result)

    def total(self, x: Array, y: Array | None = None) -> Array:
        """Project the exact sum of the last axis of x, or of x y: one rounding, whatever the terms are."""
        y = np.ones(1) if y is None else y
        if odd_serves(self.fmt, self.bits):
            # Sums of binary64 numbers end at the last bit of these, sums of products are rounded to odd below it.
            options: Any = {"saturation": "SatPropagate", "order": "exact"}
            return self.of(dot(x, y, "binary64", Rounding.TO_ODD, **options))
        x, y = np.broadcast_arrays(x, y)
        rows = [_exact_dot(a, b) for a, b in zip(_rows(x), _rows(y))]
        return self.of(_objects(rows, x.shape[:-1]))

    def product(self, x: Array) -> Array:
        """Project the exact product of the last axis of x."""
        return self.of(_objects([_exact_product(row) for row in _rows(x)], x.shape[:-1]))


def _distinct(columns: list[Array]) -> tuple[list[tuple[float, ...]], Array]:
    """The distinct rows of one or two columns, and the place of each row among them."""
    rows = columns[0]
    if len(columns) == 2:  # as complex numbers, which are sorted faster than rows
        rows = np.empty(rows.shape, np.complex128)
        rows.real, rows.imag = columns
    distinct, place = np.unique(rows, return_inverse=True)
    if len(columns) == 2:
        return list(zip(distinct.real.tolist(), distinct.imag.tolist())), place
    return [(x,) for x in distinct.tolist()], place


@lru_cache(maxsize=1 << 16)
def _at(name: str, operands: tuple[float, ...], bits: int) -> Exact:
    return function(name, tuple(Fraction(x) for x in operands), bits)


def _rows(x: Array) -> Array:
    return x.reshape(int(np.prod(x.shape[:-1])), x.shape[-1])


def _objects(numbers: list[Any], shape: tuple[int, ...]) -> Array:
    result = np.empty(len(numbers), object)
    result[:] = numbers
    return result.reshape(shape)


def _exact_dot(x: Array, y: Array) -> Fraction | float:
    """The sum of the products of two rows, exactly; what is not finite by binary64's rules, which are P3109's here."""
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        with np.errstate(all="ignore"):
            # Finite products are replaced by 0, so that none of them overflows.
            kept = np.where(np.isfinite(x) & np.isfinite(y), 0.0, x * y)
            return float(np.sum(kept))
    return sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(x, y)), Fraction(0))


def _exact_product(x: Array) -> Fraction | float:
    """The product of a row, exactly; where it is not finite, or zero, binary64's signs and NaN are right."""
    if np.isfinite(x).all():
        ratios = [float(value).as_integer_ratio() for value in x]
        return Fraction(prod(n for n, _ in ratios), prod(d for _, d in ratios))
    with np.errstate(invalid="ignore"):  # 0 times infinity, the sign of NaN
        return float(np.prod(np.where(np.isinf(x), x, np.sign(x))))


def significant_bits(values: Array) -> int:
    """Return the greatest number of significant bits among finite nonzero binary64 numbers."""
    significands = np.ldexp(np.frexp(values)[0], 53).astype(np.int64)
    lowest = significands & -significands
    return 53 - int(np.log2(lowest.min())) if lowest.size else 0


def products(scale: Array, elements: Array) -> Array:
    """Return the exact products of scales and elements, NaN for 0 times an infinity.

    Raises
    ------
    UnsupportedError
        If binary64 may not hold one.
    """
    shape = np.broadcast_shapes(scale.shape, elements.shape)
    s, x = np.broadcast_to(scale, shape), np.broadcast_to(elements, shape)
    chosen = np.isfinite(s) & np.isfinite(x) & (s != 0) & (x != 0)
    bits = significant_bits(s[chosen]) + significant_bits(x[chosen])
    exponents = np.frexp(s[chosen])[1] + np.frexp(x[chosen])[1]
    reach = int(abs(exponents).max()) if exponents.size else 0
    if bits > 53 or reach > 960:
        raise UnsupportedError(
            f"products of these scales and elements have up to {bits} bits and reach 2^{reach}, of the 53 bits and "
            "2^960 that are computed with: use scales with fewer bits, such as powers of two"
        )
    with np.errstate(invalid="ignore"):
        result: Array = s * x
    return result


def _fraction(number: Exact) -> Fraction:
    """A number rounded to odd: its sticky bit becomes its last one."""
    value = (number.significand * 2 + number.sticky) * Fraction(2) ** (number.quantum - 1)
    return -value if number.negative else value


def decoded(x: Any, name: str) -> Array:
    """Return operands as binary64 numbers of the same values, -0 as 0 (P3109 v4.0, 4.9).

    Raises
    ------
    UnsupportedError
        If one is no binary64 number: every value of the formats that arrays have is one.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN
        return operand(x, name) + 0.0


def into(operands: tuple[Any, ...], fmt: Format | str, rounding: Any, options: dict[str, Any]) -> tuple[Into, Any]:
    """Check an operation's keyword arguments; return where its result goes, and ``out``."""
    unknown = sorted(set(options) - set(_ACCEPTED))
    if unknown:
        raise UnsupportedError(
            f"unknown option {', '.join(unknown)}; accepted: {', '.join(_ACCEPTED)} (P3109 has no flags, and its "
            "formats have a NaN)"
        )
    found = standard_format(fmt)
    projection = Projection(rounding, options.get("saturation", "SatNone"), options.get("random_bits"))
    given = own_dtypes(operands, [np.asarray(x) for x in operands])
    out = options.get("out")
    kind = result_dtype(given, found, options.get("dtype"), out)
    where = Into(found, projection, kind, options.get("random"), options.get("seed"), options.get("stream", 0))
    return where, out


def finished(values: Array, operands: tuple[Any, ...], out: Any = None) -> Array:
    """Return results without -0, in ``out`` if there is one, as a scalar if all operands are single numbers."""
    result = np.asarray(values)
    result[result == 0] = 0
    if out is not None:
        check_out(out, result.shape)
        out[...] = result
        return out
    single = not result.shape and not any(isinstance(x, np.ndarray) for x in operands)
    return result[()] if single else result


def operate(rule: Rule, operands: tuple[Any, ...], fmt: Format | str, rounding: Any, options: dict[str, Any]) -> Array:
    """Decode, apply the rule, project."""
    arrays = [decoded(x, "xyz"[i]) for i, x in enumerate(operands)]
    broadcast_shape(arrays)
    where, out = into(operands, fmt, rounding, options)
    return finished(rule(where, *np.broadcast_arrays(*arrays)), operands, out)


# Operations -----------------------------------------------------------------------------------------------------------

OPERATIONS: dict[str, Rule] = {}
"""Rules of the operations that project a result, by their names in the standard, in the order of their definition."""

_TEXT = """Return {summary}

    Parameters
    ----------
    {names} : array_like
        Values of any formats, taken exactly; -0 counts as 0.
    fmt : Format or str
        Format of the result: one of P3109's, or binary64, binary32, binary16, bfloat16.
    rounding : Rounding or str
        One of the nine modes.
    **options
        ``saturation``, ``random_bits``, ``random``, ``seed``, ``stream``, ``dtype``, ``out`` as for
        :func:`~floatemu.round`.

    Returns
    -------
    numpy.ndarray or scalar
        Values, never -0; broadcast shape of the operands. dtype: the operands' own if they share one that holds
        ``fmt``, else the smallest of float32 and float64 that does.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`~floatemu.round`; a result format that P3109 does not know.

    Examples
    --------
    {examples}
    """


def number_of_operands(name: str) -> int:
    """Return how many operands an operation of :data:`OPERATIONS` has."""
    return len(inspect.signature(OPERATIONS[name]).parameters) - 1


def operation(rule: Rule) -> Callable[..., Any]:
    """Make a rule ``(into, x, ...)`` with a one-line docstring and examples the public operation ``(x, ..., fmt)``."""
    name = rule.__name__
    OPERATIONS[name] = rule
    names = list(inspect.signature(rule).parameters)[1:]
    count = len(names)

    def face(*given: Any, **options: Any) -> Any:
        bound = signature.bind(*given, **options)
        rounding = bound.arguments.get("rounding", Rounding.NEAREST_TIES_TO_EVEN)
        return operate(rule, bound.args[:count], bound.arguments["fmt"], rounding, bound.arguments.get("options", {}))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature(
        [
            *(inspect.Parameter(each, kind, annotation="Any") for each in (*names, "fmt")),
            inspect.Parameter("rounding", kind, default=Rounding.NEAREST_TIES_TO_EVEN, annotation="Rounding | str"),
            inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD, annotation="Any"),
        ],
        return_annotation="Any",
    )
    summary, examples = str(rule.__doc__).split("\n\n")
    face.__name__ = face.__qualname__ = name
    face.__module__ = rule.__module__
    summary = summary.strip()
    if summary.startswith(("The ", "What ")):
        summary = summary[0].lower() + summary[1:]
    face.__doc__ = _TEXT.format(summary=summary, names=", ".join(names), examples=examples.strip())
    face.__dict__["__signature__"] = signature
    return face
