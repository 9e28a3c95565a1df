"""YAML that may come from strangers: plain values only, sizes checked. The only file that imports yaml."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from floatemu.errors import FloatEmuError, UnsupportedError

try:
    import yaml
except ImportError:
    raise UnsupportedError("a file of experiments needs PyYAML: pip install 'floatemu[lab]'") from None

__all__ = ["SpecError", "parse_yaml", "read_yaml"]

MOST_BYTES = 2**17
DEEPEST = 12
PLAIN = (str, int, float, bool, type(None))


class SpecError(FloatEmuError, ValueError):
    """A description of experiments cannot be used.

    Examples
    --------
    >>> raise SpecError("my.yaml: the file is empty")
    Traceback (most recent call last):
        ...
    analysis.lab.specs.SpecError: my.yaml: the file is empty
    """


class _Plain(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without aliases, tags of its own, repeated keys, or great depth."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise SpecError(f"line {self._line()}: an alias (*name) is not accepted; write the value out")
        self.depth += 1
        if self.depth > DEEPEST:
            raise SpecError(f"line {self._line()}: more than {DEEPEST} levels; accepted: experiments in a flat list")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _line(self) -> int:
        return int(self.peek_event().start_mark.line) + 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            where = f"line {key.start_mark.line + 1}"
            if key.tag != "tag:yaml.org,2002:str":
                raise SpecError(f"{where}: a key is a word, not {str(key.value)[:40]!r}")
            if keys.count(key.value) > 1:
                raise SpecError(f"{where}: the key {key.value!r} occurs twice; keep one")
        found: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return found


def _check(value: Any, where: str) -> None:
    """Refuse what YAML knows and a specification does not: dates, binary data, sets."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check(item, f"{where}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    elif not isinstance(value, PLAIN):
        raise SpecError(f"{where} is a {type(value).__name__}; accepted: text, numbers, true, false, lists, mappings")
    elif isinstance(value, int) and abs(value) >= 2**64:  # too long even to print
        raise SpecError(f"{where} is an integer of {value.bit_length()} bits; accepted: at most 64")


def parse_yaml(text: str) -> Any:
    """Return the plain value that a YAML text describes.

    Parameters
    ----------
    text : str

    Returns
    -------
    object
        Mappings with words as keys, lists, texts, numbers, booleans, None.

    Raises
    ------
    SpecError
        If the text is too long or too deep, is no YAML, or holds aliases, tags, repeated keys or anything else.

    Examples
    --------
    >>> parse_yaml("name: mine\\nseeds: [1, 2]")
    {'name': 'mine', 'seeds': [1, 2]}
    >>> parse_yaml("a: !!python/object/apply:os.system [ls]")
    Traceback (most recent call last):
        ...
    analysis.lab.specs.SpecError: line 1: could not determine a constructor for the tag \
'tag:yaml.org,2002:python/object/apply:os.system'
    """
    if len(text) > MOST_BYTES:
        raise SpecError(f"{len(text)} characters; accepted: at most {MOST_BYTES}")
    try:
        found = yaml.load(text, Loader=_Plain)
    except SpecError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise SpecError(f"{where}{error.problem or error.context or 'no YAML'}") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        # values out of range speak through the constructors of Python's own types
        raise SpecError(f"no usable YAML ({(str(error).splitlines() or [type(error).__name__])[0]})") from None
    _check(found, "the file")
    return found


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Return the plain value in a YAML file.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    object

    Raises
    ------
    SpecError
        If there is no such file, it is too large, no text, or :func:`parse_yaml` refuses it.
    """
    file = Path(path)
    try:
        with open(file, "rb") as stream:
            content = stream.read(MOST_BYTES + 1)  # never more, whatever the file is
        return parse_yaml(content.decode("utf-8"))
    except OSError as error:
        raise SpecError(f"{file}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise SpecError(f"{file}: no text in UTF-8") from None
    except SpecError as error:
        raise SpecError(f"{file}: {error}") from None
