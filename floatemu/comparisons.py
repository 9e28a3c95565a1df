"""Comparisons of exact values (IEEE 754-2019, 5.11): every predicate of the standard, under its name there."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from floatemu._core.rounding import INVALID
from floatemu.errors import UnsupportedError
from floatemu.operands import Exact, array_operand, as_fraction, broadcast_shape, exact_number

# A predicate holds for some of the four relations, of which exactly one holds between any two operands.
LESS, EQUAL, GREATER, UNORDERED = (1 << i for i in range(4))
_HOLDS = {
    "Equal": EQUAL,
    "NotEqual": LESS | GREATER | UNORDERED,
    "Greater": GREATER,
    "GreaterEqual": GREATER | EQUAL,
    "Less": LESS,
    "LessEqual": LESS | EQUAL,
    "NotGreater": LESS | EQUAL | UNORDERED,
    "LessUnordered": LESS | UNORDERED,
    "NotLess": GREATER | EQUAL | UNORDERED,
    "GreaterUnordered": GREATER | UNORDERED,
}
PREDICATES = {f"compare{kind}{name}": holds for kind in ("Quiet", "Signaling") for name, holds in _HOLDS.items()}
PREDICATES |= {"compareQuietUnordered": UNORDERED, "compareQuietOrdered": LESS | EQUAL | GREATER}
"""The standard's 22 predicates (tables 5.1 to 5.3), and the relations for which each is true."""
ALIASES = {
    "equal": "compareQuietEqual",
    "not_equal": "compareQuietNotEqual",
    "less": "compareQuietLess",
    "less_equal": "compareQuietLessEqual",
    "greater": "compareQuietGreater",
    "greater_equal": "compareQuietGreaterEqual",
    "unordered": "compareQuietUnordered",
    "ordered": "compareQuietOrdered",
}


def compare(x: Any, y: Any, predicate: str, *, flags: bool = False) -> Any:
    """Return whether a predicate of IEEE 754-2019, 5.11, holds between x and y, element by element.

    Operands are compared as the exact values they have, whatever their types: an int64 with a binary64 number, a
    Fraction with an array of bfloat16. Nothing is rounded. -0 equals +0; a NaN is unordered with everything.

    Parameters
    ----------
    x, y : array_like
        Arrays of any dtype that :func:`~floatemu.round` takes, EmulatedArray, lists, single numbers.
    predicate : str
        ``compareQuiet`` or ``compareSignaling`` with ``Equal``, ``NotEqual``, ``Greater``, ``GreaterEqual``,
        ``Less``, ``LessEqual``, ``NotGreater``, ``LessUnordered``, ``NotLess`` or ``GreaterUnordered``;
        ``compareQuietUnordered``, ``compareQuietOrdered``. ``equal``, ``not_equal``, ``less``, ``less_equal``,
        ``greater``, ``greater_equal``, ``unordered`` and ``ordered`` name the quiet ones.
    flags : bool
        Whether to return (results, flags) instead of results. Signaling predicates raise ``INVALID`` for every
        NaN, quiet ones nothing: all NaN count as quiet.

    Returns
    -------
    numpy.ndarray of bool, or numpy.bool
        Broadcast shape of the operands; with ``flags=True`` also a uint8 array of :class:`~floatemu.Flag` bits.

    Raises
    ------
    UnsupportedError
        For an unknown predicate; operands that are no real numbers; shapes that do not broadcast.

    Examples
    --------
    >>> import floatemu as fe
    >>> bool(fe.compare(2**53 + 1, 2.0**53, "greater"))  # float(2**53 + 1) == 2.0**53
    True
    >>> nan = float("nan")
    >>> fe.compare([1.0, nan], [1.0, 1.0], "compareSignalingLessEqual", flags=True)[1].tolist()
    [0, 32]
    """
    name = ALIASES.get(predicate, predicate) if isinstance(predicate, str) else ""
    if name not in PREDICATES:
        raise UnsupportedError(
            f"predicate={predicate!r} is no comparison; accepted: {', '.join(ALIASES)}, and the standard's "
            f"{', '.join(PREDICATES)}"
        )
    arrays = [array_operand(operand, label) for operand, label in ((x, "x"), (y, "y"))]
    shape = broadcast_shape(arrays)
    relation = _relation(np.broadcast_to(arrays[0], shape), np.broadcast_to(arrays[1], shape))
    holds: Any = (relation & PREDICATES[name]) != 0
    raised = ((relation & UNORDERED) != 0) * np.uint8(INVALID if "Signaling" in name else 0)
    if not shape and not isinstance(x, np.ndarray) and not isinstance(y, np.ndarray):
        holds, raised = holds[()], raised[()]
    else:
        holds, raised = np.asarray(holds), np.asarray(raised)
    return (holds, raised) if flags else holds


def _relation(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The relation between each pair of elements, as one bit of a uint8."""
    if object in (x.dtype, y.dtype):
        relation = np.empty(x.shape, np.uint8)
        for index in np.ndindex(x.shape):
            pair = [a[index] if a.dtype == object else a[index].item() for a in (x, y)]
            relation[index] = _between(*(exact_number(number, 1) for number in pair), *pair)
        return relation
    with np.errstate(invalid="ignore"):  # a signalling NaN
        first, second = x.astype(np.float64), y.astype(np.float64)
        return np.select(
            [first < second, first == second, first > second],
            [np.uint8(LESS), np.uint8(EQUAL), np.uint8(GREATER)],
            np.uint8(UNORDERED),
        )


def _between(x: Exact, y: Exact, first: Any, second: Any) -> int:
    """The relation between two numbers, given in two forms: an Exact for what is special, the number for the rest."""
    if "nan" in (x.special, y.special):
        return UNORDERED
    infinite = [(n.special == "inf") * (-1 if n.negative else 1) for n in (x, y)]
    if any(infinite):
        difference = Fraction(infinite[0] - infinite[1])
    else:
        difference = as_fraction(first) - as_fraction(second)
    return LESS if difference < 0 else GREATER if difference > 0 else EQUAL
