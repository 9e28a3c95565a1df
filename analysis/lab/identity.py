"""What a case is known by: hashes of its specification and of the source that computes it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import Any, Protocol

from ..terminal import plain

__all__ = ["Specified", "key_of", "source_hash", "spec_hash"]

PACKAGES = ("floatemu", "analysis")


class Specified(Protocol):
    """Anything that can say, in JSON values, all that it takes to compute it again."""

    def to_json(self) -> dict[str, Any]:
        """Return the whole specification."""


def _digest(value: object) -> str:
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def source_hash() -> str:
    """Return the SHA-256 of all files of floatemu and analysis: other source, other results.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> len(source_hash())
    64
    """
    digest = hashlib.sha256()
    for package in PACKAGES:
        found = util.find_spec(package)  # without importing it: workers ask before numpy is loaded
        assert found is not None
        assert found.submodule_search_locations
        root = Path(found.submodule_search_locations[0])
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = path.read_bytes()
                digest.update(f"{package}/{path.relative_to(root).as_posix()} {len(content)}\n".encode())
                digest.update(content)
    return digest.hexdigest()


def key_of(case: Specified, source: str | None = None) -> str:
    """Return the name under which a case's result is kept.

    Parameters
    ----------
    case : Specified
    source : str, optional
        Hash of the source; default that of this installation.

    Returns
    -------
    str
        32 hexadecimal digits of the SHA-256 of the specification, keys sorted, and the source's hash.

    Examples
    --------
    >>> class Case:
    ...     def __init__(self, seed): self.seed = seed
    ...     def to_json(self): return {"seed": self.seed}
    >>> key_of(Case(1)) == key_of(Case(1)), key_of(Case(1)) == key_of(Case(2)), key_of(Case(1)) == key_of(Case(1), "x")
    (True, False, False)
    """
    return _digest([case.to_json(), source or source_hash()])[:32]


def spec_hash(cases: Sequence[Specified] | Sequence[Mapping[str, Any]]) -> str:
    """Return the hash of what a sweep was asked for: all its cases, in order, whatever the source.

    Parameters
    ----------
    cases : sequence of Specified, or of their specifications

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> spec_hash([{"seed": 1}]) == spec_hash([{"seed": 2}])
    False
    """
    return _digest([case if isinstance(case, Mapping) else case.to_json() for case in cases])
