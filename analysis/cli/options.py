"""Types of command-line options: each says what was given, what is accepted and what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from ..terminal import BadInput

__all__ = ["Number", "OneOf", "Pair", "Whole", "Word"]


def _refuse(value: object, param: click.Parameter | None, why: str, accepted: object, hint: str) -> NoReturn:
    where = "" if param is None else f"{param.opts[-1]}: "
    raise BadInput(f"{where}{value!r} {why}", given=value, accepted=accepted, hint=hint)


# Releases of click before 8.5 cannot subscript the class when the program runs.
class Number(click.ParamType):  # type: ignore[type-arg]
    """A binary64 number; a text whose value lies beyond binary64 is refused, not made infinite or zero.

    Parameters
    ----------
    nan : bool
        Whether NaN is a number here.

    Examples
    --------
    >>> Number().convert("0x1p-3", None, None)
    0.125
    """

    name = "number"

    def __init__(self, nan: bool = True) -> None:
        self.nan = nan
        self.accepted = f"a number of binary64's range (0.25, 1e5, 0x1p-3, inf{', nan' if nan else ''})"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or raise BadInput."""
        if isinstance(value, float):
            return value
        text = str(value).lower()
        try:
            number = float.fromhex(value) if "0x" in text else float(value)
        except (ValueError, OverflowError):
            _refuse(value, param, f"is not {self.accepted}", self.accepted, "write a number")
        if math.isnan(number) and not self.nan:
            _refuse(value, param, "is no number to compare with", self.accepted, "write a number")
        if math.isinf(number) and "inf" not in text:
            _refuse(value, param, "is beyond binary64's largest value 1.8e308", self.accepted, "write inf if meant")
        digits = re.split(r"p" if "0x" in text else r"e", text.replace("0x", ""))[0]
        if number == 0 and re.search(r"[1-9a-f]", digits):
            _refuse(value, param, "is below binary64's least value 4.9e-324", self.accepted, "write 0 if that is meant")
        return number


class Whole(click.ParamType):  # type: ignore[type-arg]
    """An integer within bounds.

    Parameters
    ----------
    low, high : int
        Both are accepted.
    shown : str, optional
        The bounds as users read them.

    Examples
    --------
    >>> Whole(1, 32).convert("7", None, None)
    7
    """

    name = "integer"

    def __init__(self, low: int, high: int, shown: str = "") -> None:
        self.low, self.high, self.accepted = low, high, f"an integer, {shown or f'{low}..{high}'}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the integer, or raise BadInput."""
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"[+-]?[0-9]{1,30}", value):
            _refuse(value, param, f"is not {self.accepted}", self.accepted, "write digits alone")
        if not self.low <= int(value) <= self.high:
            _refuse(value, param, f"is out of range; accepted: {self.accepted}", self.accepted, "choose one in range")
        return int(value)


class OneOf(click.ParamType):  # type: ignore[type-arg]
    """One of a few words.

    Parameters
    ----------
    words : sequence of str

    Examples
    --------
    >>> OneOf(["mlp", "chain"]).convert("mlp", None, None)
    'mlp'
    """

    name = "word"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or raise BadInput."""
        if value not in self.words:
            _refuse(value, param, f"is unknown; accepted: {', '.join(self.words)}", self.words, "choose one of these")
        return str(value)


class Word(click.ParamType):  # type: ignore[type-arg]
    """A name or path; the option that follows an option without its value is not one.

    Examples
    --------
    >>> Word().convert("bf16", None, None)
    'bf16'
    """

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or raise BadInput."""
        if str(value).startswith("--"):
            accepted = "a name" if param is None else f"{param.opts[-1]} {param.metavar or 'NAME'}"
            _refuse(value, param, "is an option, not a value", accepted, "write the value before the next option")
        return str(value)


class Pair(click.ParamType):  # type: ignore[type-arg]
    """A name and its value, written name=value.

    Examples
    --------
    >>> Pair().convert("length=100", None, None)
    ('length', '100')
    """

    name = "pair"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Return name and value, or raise BadInput."""
        if isinstance(value, tuple):
            return value
        key, sign, text = str(value).partition("=")
        if not sign or not key.isidentifier() or not text:
            _refuse(value, param, "is not NAME=VALUE", "NAME=VALUE, such as length=100", "write it without spaces")
        return key, text
