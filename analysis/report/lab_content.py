"""What the lab's table and page show, taken from its JSON object, which may come from a stranger's file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from floatemu.errors import FileError

from ..verdict import number

__all__ = ["SCHEMA", "Cell", "Results", "number_of", "read_results", "results"]

SCHEMA = "floatemu.lab/1"
MOST_BYTES = 2**28
_KINDS: Mapping[str, Any] = {
    "name": str,
    "spec_hash": str,
    "source_hash": str,
    "reproduce": str,
    "seeds": list,
    "failures": list,
    "mitigations": list,
    "cases": list,
    "matrix": list,
    "counts": dict,
}
_FAILURE = ("name", "title", "text", "metric", "metric_text")
_MITIGATION = ("name", "title", "text", "source", "level")
_MARKS = {"cured": "++", "better": "+", "unchanged": "=", "worse": "-", "failed": "!"}


def number_of(value: Any) -> float:
    """Return a number of a JSON object: a number, or "inf", "-inf", "nan" as text; NaN for anything else.

    Examples
    --------
    >>> number_of("inf"), number_of(2), number_of(None)
    (inf, 2.0, nan)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (
            float(value) if abs(value) < 2**1023 or isinstance(value, float) else math.inf if value > 0 else -math.inf
        )
    return float(value) if value in ("inf", "-inf") else math.nan


@dataclass(frozen=True)
class Cell:
    """What one mitigation does to one failure.

    Attributes
    ----------
    failure, mitigation : str
    word : str
        "cured" (better, and the failure is gone), "better", "unchanged", "worse" or "failed".
    sure : bool
        False if there were too few seeds for more than an indication.
    baseline, value, difference : tuple of (float, float, float)
        Median, and the ends of its interval.
    seeds : int
    """

    failure: str
    mitigation: str
    word: str
    sure: bool
    baseline: tuple[float, float, float]
    value: tuple[float, float, float]
    difference: tuple[float, float, float]
    seeds: int

    @property
    def label(self) -> str:
        """The word, with a question mark where it is an indication only."""
        return self.word if self.sure else f"{self.word}?"

    @property
    def mark(self) -> str:
        """The word in one or two signs, in brackets where it is an indication only."""
        return _MARKS[self.word] if self.sure else f"({_MARKS[self.word]})"

    @property
    def short(self) -> str:
        """The median with the mitigation, for a narrow cell."""
        return number(self.value[0], 3)


@dataclass(frozen=True)
class Results:
    """The results of a lab.

    Attributes
    ----------
    data : mapping
        The whole JSON object.
    failures, mitigations : mapping of str to mapping
        By name, in order.
    cells : mapping of (str, str) to Cell
        By failure and mitigation.
    """

    data: Mapping[str, Any]
    failures: Mapping[str, Mapping[str, Any]]
    mitigations: Mapping[str, Mapping[str, Any]]
    cells: Mapping[tuple[str, str], Cell]

    def baseline(self, failure: str) -> tuple[float, float, float] | None:
        """Median and interval of a failure's metric without any mitigation."""
        return next((cell.baseline for (name, _), cell in self.cells.items() if name == failure and cell.seeds), None)

    def best(self, failure: str) -> list[Cell]:
        """Cells of a failure in which something got better, the best first."""
        helped = [
            cell for (name, _), cell in self.cells.items() if name == failure and cell.word in ("cured", "better")
        ]
        return sorted(helped, key=lambda cell: cell.value[0])

    def records(self, failure: str, mitigation: str) -> list[Mapping[str, Any]]:
        """Finished cases of one failure with one mitigation ("" for none), by seed."""
        return [
            case
            for case in self.data["cases"]
            if case.get("failure") == failure and case.get("mitigation") == mitigation and case.get("status") == "done"
        ]


def _triple(given: Any) -> tuple[float, float, float]:
    found = given if isinstance(given, dict) else {}
    return number_of(found.get("median")), number_of(found.get("lo")), number_of(found.get("hi"))


def _cell(line: Mapping[str, Any]) -> Cell:
    verdict, direction = line.get("verdict"), line.get("direction")
    word = "unchanged"
    if verdict == "failed":
        word = "failed"
    elif direction == "worse":
        word = "worse"
    elif direction == "better":
        word = "cured" if line.get("healthy") is True else "better"
    baseline, value, difference = (_triple(line.get(key)) for key in ("baseline", "value", "difference"))
    seeds = line.get("seeds")
    return Cell(
        str(line.get("failure")),
        str(line.get("mitigation")),
        word,
        verdict != "indicative",
        baseline,
        value,
        difference,
        seeds if isinstance(seeds, int) else 0,
    )


def _named(items: list[Any], keys: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for item in items:
        if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in keys):
            raise FileError(f"an entry without {', '.join(keys)} as texts")
        found[item["name"]] = item
    return found


def results(data: Any) -> Results:
    """Return the results in the lab's JSON object.

    Parameters
    ----------
    data : mapping
        What ``floatemu lab --json`` prints.

    Returns
    -------
    Results

    Raises
    ------
    FileError
        If it is anything else.

    Examples
    --------
    >>> results({"schema": "floatemu.trace/1"})
    Traceback (most recent call last):
        ...
    floatemu.errors.FileError: schema is 'floatemu.trace/1'; accepted: 'floatemu.lab/1'
    """
    given = data if isinstance(data, dict) else {}
    if given.get("schema") != SCHEMA:
        raise FileError(f"schema is {str(given.get('schema'))[:60]!r}; accepted: {SCHEMA!r}")
    for key, kind in _KINDS.items():
        if not isinstance(given.get(key), kind):
            raise FileError(f"{key} is {type(given.get(key)).__name__}; accepted: {kind.__name__}")
    if not all(isinstance(item, dict) for key in ("cases", "matrix") for item in given[key]):
        raise FileError("an entry of cases or matrix is no object")
    failures, mitigations = _named(given["failures"], _FAILURE), _named(given["mitigations"], _MITIGATION)
    cells = {(cell.failure, cell.mitigation): cell for cell in map(_cell, given["matrix"])}
    for failure, mitigation in cells:
        if failure not in failures or mitigation not in mitigations:
            raise FileError(f"the matrix speaks of {failure[:60]!r} and {mitigation[:60]!r}, which are not described")
    return Results(given, failures, mitigations, cells)


def read_results(path: str | os.PathLike[str]) -> Results:
    """Return the results in a file that ``floatemu lab`` wrote.

    Parameters
    ----------
    path : path-like
        The file, or the folder that holds it as ``lab.json``.

    Returns
    -------
    Results

    Raises
    ------
    FileError
        If there is none, it is too large, or not what the lab writes.
    """
    file = Path(path)
    if file.is_dir():
        file /= "lab.json"
    try:
        if file.stat().st_size > MOST_BYTES:
            raise FileError(f"{file}: more than {MOST_BYTES} bytes")
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"{file}: there is no such file; `floatemu lab --out {file.parent}` writes it") from None
    except OSError as error:
        raise FileError(f"{file}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise FileError(f"{file}: no JSON ({(str(error).splitlines() or [''])[0]})") from None
    try:
        return results(data)
    except FileError as error:
        raise FileError(f"{file}: {error}") from None
