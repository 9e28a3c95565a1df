"""A section of a capture being made: its tests, its arrays, the clock; and how it comes to lie on the disk."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SCHEMA = "floatemu.capture/1"
MOST_BYTES = 16 * 2**20
TIME = "the time was up; run the script again"


class Clock:
    """How much of the time that was given is left."""

    reason = TIME

    def __init__(self, budget: float) -> None:
        self._end = time.monotonic() + budget

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end


class Section:
    """Tests and arrays of one section.

    Parameters
    ----------
    part : str
        ``instructions``, ``casts`` or ``gemm``.
    """

    def __init__(self, part: str) -> None:
        self.part = part
        self.tests: list[dict[str, Any]] = []
        self.arrays: dict[str, Array] = {}
        self.facts: dict[str, str | float | bool | None] = {}
        self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the section began."""
        return round(time.monotonic() - self._begin, 3)

    def key(self) -> str:
        """A name for the arrays of the next test."""
        return f"t{len(self.tests)}"

    def add(self, test: dict[str, Any], results: Array, inputs: dict[str, Array] | None = None) -> None:
        """Record a test that has results, with those inputs that cannot be drawn again."""
        test["d"] = self.key()
        self.arrays[test["d"]] = results
        for name, codes in (inputs or {}).items():
            self.arrays[f"{test['d']}.{name}"] = codes
        self.tests.append(test)

    def fail(self, test: dict[str, Any], reason: str) -> None:
        """Record a test that has no results because something is wrong."""
        self._without(test, "failed", reason)

    def skip(self, test: dict[str, Any], reason: str) -> None:
        """Record a test that was not made."""
        self._without(test, "skipped", reason)

    def _without(self, test: dict[str, Any], status: str, reason: str) -> None:
        if "inputs" in test and not test["inputs"]:
            test["inputs"] = {"kind": "stored"}
        self.tests.append({**test, "status": status, "reason": reason})

    def write(self, folder: Path) -> None:
        """Write NAME.npz, then NAME.json; each whole or not at all.

        Raises
        ------
        OSError
            If the folder cannot be written.
        ValueError
            If the arrays take more than 16 MiB.
        """
        target = folder / f"{self.part}.npz"
        part = folder / f".{target.name}.{os.getpid()}.part"
        with open(part, "wb") as stream:
            save: Any = np.savez_compressed  # its stub would have the names of arrays be options
            save(stream, **self.arrays)
        data = part.read_bytes()
        if len(data) > MOST_BYTES:
            part.unlink()
            raise ValueError(f"{target.name} would have {len(data)} bytes, more than {MOST_BYTES}: ask fewer --vectors")
        part.replace(target)
        npz = {"file": target.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        write_json(folder / f"{self.part}.json", {
            "schema": SCHEMA, "part": self.part, "seconds": self.seconds, "npz": npz, "environment": self.facts,
            "tests": self.tests,
        })  # fmt: skip


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document, a line for each test, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    lines = [json.dumps({key: value for key, value in document.items() if key != "tests"}, indent=1)]
    if "tests" in document:
        rows = ",\n  ".join(json.dumps(test) for test in document["tests"])
        lines = [lines[0].removesuffix("\n}") + ',\n "tests": [\n  ' + rows + "\n ]\n}"]
    part.write_text(lines[0] + "\n", encoding="utf-8")
    part.replace(path)


def finished(folder: Path, part: str) -> dict[str, Any] | None:
    """The JSON of a section that is there, whole, and was not cut short by the clock; else None."""
    path = folder / f"{part}.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        data = (folder / document["npz"]["file"]).read_bytes()
        whole = hashlib.sha256(data).hexdigest() == document["npz"]["sha256"]
        cut = any(test["reason"] == TIME for test in document["tests"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return document if whole and not cut else None
