"""THE TABLE of mitigations: what each is called, what it works on, and how texts name it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from floatemu.errors import UnsupportedError

from ..training import Setup

__all__ = ["MITIGATIONS", "Mitigation", "NotApplicable", "apply", "mitigation", "parse"]

LEVELS = ("policy", "training", "net")


class NotApplicable(UnsupportedError):
    """A mitigation finds nothing to work on: no accumulator to chunk, no Adam whose epsilon to raise."""


@dataclass(frozen=True)
class Mitigation:
    """One mitigation.

    Attributes
    ----------
    name : str
    change : callable
        Takes what the level says, and its own numbers; gives the same, changed.
    level : str
        "policy": a :class:`~analysis.policy.Policy`, so that any tape can be replayed with it. "training": a
        :class:`~analysis.training.Setup`, of which it changes how a step treats gradients and weights. "net": the same,
        but it needs another net to be built.
    home : tuple of str
        Names of the failures (:data:`analysis.experiments.FAILURES`) that it is meant for.
    text : str
        What it can and cannot fix.
    source : str

    Examples
    --------
    >>> MITIGATIONS["clip_norm"].level, MITIGATIONS["clip_norm"].title
    ('training', 'clip norm')
    """

    name: str
    change: Callable[..., Any]
    level: str
    home: tuple[str, ...]
    text: str
    source: str

    @property
    def title(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ")

    @property
    def parameters(self) -> dict[str, Any]:
        """Its numbers and their defaults."""
        found = list(inspect.signature(self.change).parameters.values())[1:]
        return {item.name: item.default for item in found}


MITIGATIONS: dict[str, Mitigation] = {}
"""Name to mitigation, in the order of the documentation."""


def mitigation(level: str, *home: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function into the table: its name is the mitigation's, its docstring says what it can and cannot fix.

    Parameters
    ----------
    level : str
        "policy", "training" or "net".
    *home : str
        Failures it is meant for.

    Returns
    -------
    callable
        A decorator.

    Examples
    --------
    >>> sorted({one.level for one in MITIGATIONS.values()})
    ['net', 'policy', 'training']
    """
    assert level in LEVELS

    def enter(change: Callable[..., Any]) -> Callable[..., Any]:
        doc = inspect.getdoc(change) or ""
        head, notes = doc.split("\n\nParameters\n")[0], doc.split("Notes\n-----\n")[1]
        text = " ".join(head.split("\n\n", 1)[1].split())
        source = " ".join(notes.split("\n\n")[0].split())
        MITIGATIONS[change.__name__] = Mitigation(change.__name__, change, level, home, text, source)
        return change

    return enter


def parse(text: str) -> tuple[Mitigation, dict[str, Any]]:
    """Return the mitigation that a text names, and the numbers it gives.

    Parameters
    ----------
    text : str
        A name, with numbers as in "clip_norm:limit=0.5,..."; a value alone is that of the first.

    Returns
    -------
    tuple of (Mitigation, dict)

    Raises
    ------
    UnsupportedError
        If the name or a number is unknown; the message lists what is accepted.

    Examples
    --------
    >>> parse("clip_norm:0.5")[1], parse("layer_norm")[1]
    ({'limit': 0.5}, {})
    >>> parse("clip_norm:size=1")
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: mitigation 'clip_norm:size=1': clip_norm has no 'size'; accepted: limit
    """
    if not isinstance(text, str) or len(text) > 200:
        raise UnsupportedError(f"mitigation {str(text)[:60]!r}; accepted: {', '.join(MITIGATIONS)}")
    name, _, rest = text.partition(":")
    if name not in MITIGATIONS:
        raise UnsupportedError(f"mitigation {text[:60]!r}; accepted: {', '.join(MITIGATIONS)}")
    found, known = MITIGATIONS[name], MITIGATIONS[name].parameters
    given: dict[str, Any] = {}
    for index, word in enumerate(filter(None, re.split(r",(?=\w+=)", rest))):
        key, mark, value = word.partition("=")
        if not mark and index == 0 and known:
            key, value = next(iter(known)), word
        if key not in known:
            listed = ", ".join(known) or "no number"
            raise UnsupportedError(f"mitigation {text!r}: {name} has no {key!r}; accepted: {listed}")
        given[key] = _value(text, key, value, known[key])
    return found, given


def _value(text: str, key: str, value: str, default: Any) -> Any:
    if isinstance(default, str) or default is None:
        return value
    try:
        base, _, exponent = value.partition("^")
        number = float(base) ** float(exponent) if exponent else float(base)  # 2^16
        return int(number) if isinstance(default, int) and number == int(number) else number
    except (ValueError, OverflowError):
        raise UnsupportedError(f"mitigation {text!r}: {key}={value!r} is no number, as in 0.5 or 2^16") from None


def apply(text: str, setup: Setup) -> Setup:
    """Return a training run with a mitigation.

    Parameters
    ----------
    text : str
        See :func:`parse`.
    setup : Setup

    Returns
    -------
    Setup

    Raises
    ------
    NotApplicable
        If there is nothing for it to work on.
    UnsupportedError
        If there is no such mitigation, or a number is out of range.

    Examples
    --------
    >>> from analysis.optimisers import sgd
    >>> from analysis.policy import Policy
    >>> setup = Setup("mlp", {}, Policy.uniform("bf16"), sgd(0.1))
    >>> apply("clip_norm:0.5", setup).clip
    Clip(kind='norm', limit=0.5)
    """
    found, given = parse(text)
    if found.level == "policy":
        return replace(setup, policy=found.change(setup.policy, **given))
    changed = found.change(setup, **given)
    assert isinstance(changed, Setup)
    return changed
