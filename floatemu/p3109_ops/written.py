"""The written form of a specialization: which arguments each operation has, and how they are read.

A signature is a text of letters, one for each argument between the angle brackets: B a number of elements, f the format
of an operand or element, s that of its scale, S that of the result's scale, r that of the result, p the projection
of the result, q that of its scale; (sf) is a pair in parentheses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.p3109_ops.engine import OPERATIONS, number_of_operands, standard_format
from floatemu.p3109_ops.formats import ROUNDING_NAMES, SATURATION_NAMES
from floatemu.projection import Projection

PAIRS = ("CompareLess", "CompareLessEqual", "CompareEqual", "CompareGreater", "CompareGreaterEqual", "TotalOrder")
SINGLE = ("IsZero", "IsOne", "IsNaN", "IsInfinite", "IsFinite", "IsSignMinus")
OF_A_FORMAT = ("IsNormal", "IsSubnormal", "Class", "NextGreaterThan", "NextLessThan")
QUERIES = (
    *("BitwidthOf", "PrecisionOf", "SignednessOf", "DomainOf", "ExponentBitwidthOf", "TrailingSignificandBitwidthOf"),
    *("ExponentBiasOf", "MaxFiniteOf", "MinFiniteOf", "MinPositiveOf", "MaxSubnormalOf", "MinNormalOf"),
)
"""The twelve queries of a format."""
BLOCKS = {
    "ConvertFromBlock": "Bsfrp",
    "ConvertToBlock": "BfSrp",
    "ConvertToBlockMaxAbsFinite": "BfSrqp",
    "BlockReduceAdd": "Bsfrp",
    "BlockReduceMultiply": "Bsfrp",
    "BlockDotProduct": "Bsfsfrp",
}
"""Signatures of the operations on whole blocks."""
_WORDS = {
    "B": "number of elements",
    "f": "format of an operand",
    "s": "format of a scale",
    "S": "format of the result's scale",
    "r": "format of the result",
    "p": "(rounding, saturation)",
    "q": "(rounding, saturation) of the scale",
}


def signature(name: str) -> str:
    """Return an operation's signature.

    Raises
    ------
    UnsupportedError
        If there is no such operation; the message lists those that there are.
    """
    form, plain = next(((f, name[len(f) :]) for f in ("Block", "Scaled") if name.startswith(f)), ("", name))
    if name in BLOCKS:
        return BLOCKS[name]
    if name in PAIRS:
        return "ff"
    if name in (*SINGLE, *OF_A_FORMAT, *QUERIES):
        return "f"
    if plain not in OPERATIONS:
        accepted = (*OPERATIONS, *PAIRS, *SINGLE, *OF_A_FORMAT, *QUERIES, *BLOCKS)
        raise UnsupportedError(
            f"{name} is no operation that can be asked for by codes; accepted: {', '.join(accepted)}, and Block or "
            "Scaled before the name of an operation that projects"
        )
    count = number_of_operands(plain)
    return {"": "f" * count + "rp", "Scaled": "(sf)" * count + "rp", "Block": "B" + "(sf)" * count + "Srp"}[form]


@dataclass
class Arguments:
    """What stands between the angle brackets, by its letter."""

    operands: list[Format] = field(default_factory=list)
    length: int | None = None
    scale: Format | None = None
    result: Format | None = None
    projection: Projection | None = None
    scale_projection: Projection | None = None

    def take(self, letter: str, text: str) -> None:
        """Read one argument."""
        match letter:
            case "B":
                if not text.isdecimal() or int(text) < 1:
                    raise UnsupportedError(f"{text!r} is no number of elements; a block has at least one")
                self.length = int(text)
            case "p":
                self.projection = read_projection(text)
            case "q":
                self.scale_projection = read_projection(text)
            case "r":
                self.result = standard_format(text)
            case "S":
                self.scale = standard_format(text)
            case _:
                self.operands.append(standard_format(text))


def read(text: object) -> tuple[str, Arguments]:
    """Return the name of an operation and its arguments.

    Raises
    ------
    UnsupportedError, FormatError, ProjectionError
        If the text is none; the message says what is expected.
    """
    found = re.fullmatch(r"\s*(\w+)\s*[<⟨](.*)[>⟩]\s*", text, re.DOTALL) if isinstance(text, str) else None
    if not found:
        raise UnsupportedError(f"{text!r} is no specialization; write Name<format, ..., (rounding, saturation)>")
    name, inside = found[1], re.sub(r"\s+", "", found[2])
    expected = signature(name)
    given = split(inside)
    shape = re.findall(r"\(sf\)|\w", expected)
    if len(given) != len(shape):
        words = ", ".join(f"({_WORDS['s']}, {_WORDS['f']})" if part == "(sf)" else _WORDS[part] for part in shape)
        raise UnsupportedError(f"{name} has {len(shape)} arguments: {words}; given {len(given)}: <{inside}>")
    arguments = Arguments()
    for part, argument in zip(shape, given):
        if part != "(sf)":
            arguments.take(part, argument)
            continue
        pair = split(argument[1:-1]) if argument.startswith("(") else []
        if len(pair) != 2:
            raise UnsupportedError(f"{argument} in {name}<{inside}> is no pair (scale format, element format)")
        for letter, word in zip("sf", pair):
            arguments.take(letter, word)
    return name, arguments


def split(text: str) -> list[str]:
    """Return the parts of a text between the commas outside of its parentheses."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def read_projection(text: str) -> Projection:
    """Return the projection that is written with the standard's own names.

    Raises
    ------
    ProjectionError
        If the text is none.

    Examples
    --------
    >>> read_projection("(StochasticA(8),SatFinite)").random_bits
    8
    """
    found = re.fullmatch(r"\((\w+?)(?:\((\d+)\))?,(\w+)\)", text)
    modes = {name: mode for mode, name in ROUNDING_NAMES.items()}
    saturations = {name: mode for mode, name in SATURATION_NAMES.items()}
    if not found or found[1] not in modes or found[3] not in saturations:
        raise ProjectionError(
            f"{text} is no projection of P3109; write (rounding, saturation): {', '.join(modes)}, a stochastic one "
            f"with its count of bits, as StochasticA(8); {', '.join(saturations)}"
        )
    return Projection(modes[found[1]], saturations[found[3]], int(found[2]) if found[2] else None)
