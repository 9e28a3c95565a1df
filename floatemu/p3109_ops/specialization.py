"""Operation specializations by their written form: an operation with all of its formats, from codes to codes.

The standard recommends that an implementation answers whether a specialization exists, asked for by a text such as
``Exp<Binary8p3se, Binary8p4se, (NearestTiesToEven, SatFinite)>`` (P3109 v4.0, 4.5 and annex E).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from floatemu.codec import decode, encode
from floatemu.errors import FormatError, ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.p3109_ops import formats, predicates
from floatemu.p3109_ops.blocks import scaled_operation
from floatemu.p3109_ops.engine import OPERATIONS, number_of_operands, operate, standard_format
from floatemu.projection import Projection

_PAIRS = ("CompareLess", "CompareLessEqual", "CompareEqual", "CompareGreater", "CompareGreaterEqual", "TotalOrder")
_SINGLE = ("IsZero", "IsOne", "IsNaN", "IsInfinite", "IsFinite", "IsSignMinus")
_OF_A_FORMAT = ("IsNormal", "IsSubnormal", "Class", "NextGreaterThan", "NextLessThan")
QUERIES = (
    *("BitwidthOf", "PrecisionOf", "SignednessOf", "DomainOf", "ExponentBitwidthOf", "TrailingSignificandBitwidthOf"),
    *("ExponentBiasOf", "MaxFiniteOf", "MinFiniteOf", "MinPositiveOf", "MaxSubnormalOf", "MinNormalOf"),
)
"""The twelve queries of a format."""
_FACES = {name: getattr(predicates, name) for name in (*_PAIRS, *_SINGLE, "IsNormal", "IsSubnormal", "Class")}
_FACES |= {name: getattr(formats, name) for name in ("NextGreaterThan", "NextLessThan", *QUERIES)}


@dataclass(frozen=True)
class Specialization:
    """An operation with its formats and projection fixed; calling it takes codes and returns codes.

    Attributes
    ----------
    name : str
        The operation's name in the standard.
    operands : tuple of Format
        Of the operands in turn; a scale's comes before its element's.
    result : Format or None
        Of the result; None where that is no code.
    projection : Projection or None
        Of the result; None where nothing is projected.

    Examples
    --------
    >>> recip = specialization("Recip<Binary8p4se, Binary8p4se, (NearestTiesToEven, SatNone)>")
    >>> [hex(code) for code in recip([0x40, 0x00, 0x44])]  # of 1, 0 and 3/2
    ['0x40', '0x80', '0x3b']
    """

    name: str
    operands: tuple[Format, ...]
    result: Format | None = None
    projection: Projection | None = None

    def __call__(self, *codes: Any, random: Any = None, seed: int | None = None, stream: int = 0) -> Any:
        """Return the result for operands given by their codes.

        Parameters
        ----------
        *codes : array_like of int
            One for each operand; none for a query of a format.
        random : array_like of int, optional
            R of a stochastic projection; else ``seed`` and ``stream`` as for :func:`~floatemu.round`.
        seed, stream : int

        Returns
        -------
        numpy.ndarray or scalar
            Codes in the smallest unsigned dtype; booleans or names of classes of predicates; int or str of queries.

        Raises
        ------
        UnsupportedError
            If the number of operands is wrong.
        FormatError
            If a code is out of range.
        """
        wanted = 0 if self.name in QUERIES else len(self.operands)
        if len(codes) != wanted:
            raise UnsupportedError(f"{self.name} takes {wanted} operands by their codes; given {len(codes)}")
        if self.name in QUERIES:
            return _FACES[self.name](self.operands[0])
        values = [decode(given, fmt) for given, fmt in zip(codes, self.operands)]
        if self.projection is None:
            given = self.operands if self.name in _OF_A_FORMAT else ()
            result = _FACES[self.name](*values, *given)
            return result if self.result is None else encode(result, self.result)
        assert self.result is not None
        by = self.projection
        options: dict[str, Any] = {"saturation": by.saturation, "random_bits": by.random_bits, "dtype": np.float64}
        options |= {"random": random, "seed": seed, "stream": stream}
        return encode(self._project(values, options), self.result)

    def _project(self, values: list[Any], options: dict[str, Any]) -> Any:
        assert self.result is not None
        assert self.projection is not None
        rounding = self.projection.rounding
        if self.name in OPERATIONS:
            return operate(OPERATIONS[self.name], tuple(values), self.result, rounding, options)
        return scaled_operation(self.name.removeprefix("Scaled"))(*values, self.result, rounding, **options)


def specialization(text: str) -> Specialization:
    """Return the specialization that a text names, if there is one.

    Parameters
    ----------
    text : str
        ``Name<format, ..., format, (rounding, saturation)>``, formats in the order of the operands and that of the
        result last; predicates have no result format, queries and neighbours one format, ``Scaled...`` operations
        ``(scale format, element format)`` for each operand. A stochastic mode is followed by its count of bits, as
        ``StochasticA(8)``.

    Returns
    -------
    Specialization

    Raises
    ------
    UnsupportedError
        If the text names no operation here, or not as many formats as it has.
    FormatError, ProjectionError
        If it names no format or no mode of the standard.

    Examples
    --------
    >>> exp = specialization("Exp<Binary8p3se, Binary8p4se, (NearestTiesToEven, SatFinite)>")
    >>> hex(exp(0x40)), specialization("MaxFiniteOf<Binary8p4se>")()
    ('0x4b', 126)
    """
    found = re.fullmatch(r"\s*(\w+)\s*[<⟨](.*)[>⟩]\s*", text, re.DOTALL) if isinstance(text, str) else None
    if not found:
        raise UnsupportedError(f"{text!r} is no specialization; write Name<format, ..., (rounding, saturation)>")
    name, inside = found[1], re.sub(r"\s+", "", found[2])
    projects = name in OPERATIONS or name.removeprefix("Scaled") in OPERATIONS
    if not projects and name not in _FACES:
        raise UnsupportedError(
            f"{name} is no operation that can be asked for by codes; accepted: {', '.join((*OPERATIONS, *_FACES))}, "
            "and Scaled before the name of an operation that projects"
        )
    projection = None
    if projects:
        last = re.fullmatch(r"(.*),\((\w+(?:\(\d+\))?),(\w+)\)", inside)
        if not last:
            raise UnsupportedError(f"{text!r} ends in no projection, such as (NearestTiesToEven, SatNone)")
        inside, projection = last[1], _projection(last[2], last[3])
    given = [standard_format(word) for word in inside.replace("(", "").replace(")", "").split(",")]
    scaled = projects and name not in OPERATIONS
    _check_count(name, inside, given, scaled, projects)
    if not projects:
        result = given[0] if name.startswith("Next") else None
        return Specialization(name, tuple(given), result)
    return Specialization(name, tuple(given[:-1]), given[-1], projection)


def _check_count(name: str, inside: str, given: list[Format], scaled: bool, projects: bool) -> None:
    if projects:
        operands = number_of_operands(name.removeprefix("Scaled") if scaled else name)
        wanted = operands * (1 + scaled) + 1
    else:
        operands, wanted = 0, 2 if name in _PAIRS else 1
    paired = inside.count("(") == inside.count(")") == (operands if scaled else 0)
    if len(given) != wanted or not paired:
        how = f"{operands} pairs (scale format, element format) and a result format" if scaled else f"{wanted} formats"
        raise UnsupportedError(f"{name} has {how}; given <{inside}>")


def _projection(rounding: str, saturation: str) -> Projection:
    """A projection by the standard's own names alone."""
    mode, _, bits = rounding.rstrip(")").partition("(")
    modes = {name: key for key, name in formats.ROUNDING_NAMES.items()}
    saturations = {name: key for key, name in formats.SATURATION_NAMES.items()}
    if mode not in modes or saturation not in saturations:
        raise ProjectionError(
            f"({rounding}, {saturation}) is no projection of P3109; accepted: {', '.join(modes)} (a stochastic one "
            f"with its count of bits, as StochasticA(8)); {', '.join(saturations)}"
        )
    return Projection(modes[mode], saturations[saturation], int(bits) if bits else None)


def exists(text: str) -> bool:
    """Whether a specialization exists here: the query that the standard recommends.

    Parameters
    ----------
    text : str
        As for :func:`specialization`.

    Returns
    -------
    bool

    Examples
    --------
    >>> exists("Exp<Binary8p3se, Binary8p4se, (NearestTiesToEven, SatFinite)>")
    True
    >>> exists("Pow<Binary8p3se, Binary8p3se, Binary8p4se, (NearestTiesToEven, SatFinite)>")
    False
    """
    try:
        specialization(text)
    except (UnsupportedError, FormatError, ProjectionError):
        return False
    return True
