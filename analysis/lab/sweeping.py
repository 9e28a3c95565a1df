"""Many cases over any executor, each kept as soon as it is finished: a sweep that is killed goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from floatemu.errors import FloatEmuError

from ..terminal import Progress
from .executors import Here
from .identity import Specified, key_of, source_hash
from .store import Record, Store
from .work import attempt, deaf

__all__ = ["LabError", "Sweep", "sweep"]

WAITING = 64
"""Cases handed to an executor ahead of time: enough to keep a few dozen workers busy, few to call off."""


class LabError(FloatEmuError, RuntimeError):
    """A sweep cannot go on: its workers are gone, or they run other source than the one that asks.

    Examples
    --------
    >>> raise LabError("no worker is left")
    Traceback (most recent call last):
        ...
    analysis.lab.sweeping.LabError: no worker is left
    """


@dataclass(frozen=True)
class Sweep:
    """What became of the cases of a sweep.

    Attributes
    ----------
    records : tuple of dict
        One for each case, in the order of the cases; see :data:`analysis.lab.store.Record`.
    resumed : int
        Number of them that were there before.
    """

    records: tuple[Record, ...]
    resumed: int

    @property
    def counts(self) -> dict[str, int]:
        """Number of cases done, failed, and resumed (done or failed before)."""
        failed = sum(record["status"] == "failed" for record in self.records)
        return {"done": len(self.records) - failed, "failed": failed, "resumed": self.resumed}


def sweep(
    cases: Sequence[Specified],
    run: Callable[[Any], Mapping[str, Any]],
    folder: str | os.PathLike[str],
    executor: Executor | None = None,
    *,
    retry: bool = False,
    progress: Progress | None = None,
) -> Sweep:
    """Compute cases, each once: what the folder holds already is not computed again.

    Parameters
    ----------
    cases : sequence of Specified
        Picklable, where the executor has processes. Equal ones are computed once.
    run : callable
        Takes a case and gives its result as JSON values: a pure function, importable where workers import it.
    folder : path-like
        Where finished cases are kept, named by the hash of their specification and of the source.
    executor : Executor, optional
        Any of :mod:`concurrent.futures`; default: this process computes.
    retry : bool
        Whether cases that failed before are computed again.
    progress : callable, optional
        Called with (cases finished, all, text).

    Returns
    -------
    Sweep

    Raises
    ------
    LabError
        If workers die, or have other source. What was finished is kept.
    FileError
        If the folder cannot be written, or another sweep is writing to it.

    Notes
    -----
    A case that raises is finished: its record holds the traceback. The file of a case is renamed into place, so that
    a killed sweep leaves whole files alone.

    Examples
    --------
    >>> import tempfile
    >>> class Case:
    ...     def __init__(self, x): self.x = x
    ...     def to_json(self): return {"x": self.x}
    >>> cases = [Case(1), Case(0)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = sweep(cases, lambda case: {"ratio": 1 / case.x}, folder)
    ...     again = sweep(cases, lambda case: {"ratio": 1 / case.x}, folder)
    >>> first.records[0]["result"], first.counts, again.counts, first.records == again.records
    ({'ratio': 1.0}, {'done': 1, 'failed': 1, 'resumed': 0}, {'done': 1, 'failed': 1, 'resumed': 2}, True)
    """
    store, source = Store(folder), source_hash()
    keys = [key_of(case, source) for case in cases]
    with store.locked():
        found = {key: record for key in dict.fromkeys(keys) if (record := store.read(key)) is not None}
        if retry:
            found = {key: record for key, record in found.items() if record["status"] != "failed"}
        resumed = set(found)
        missing = {key: case for key, case in zip(keys, cases) if key not in found}
        total = len(found) + len(missing)
        for key, outcome in _finished(executor or Here(), run, missing):
            if outcome["source_hash"] != source:
                raise LabError("a worker runs other source than this process: install the same floatemu there")
            found[key] = store.write({"key": key, "case": missing[key].to_json(), **outcome})
            if progress is not None:
                progress(len(found), total, "cases")
    return Sweep(tuple(found[key] for key in keys), sum(key in resumed for key in keys))


def _finished(
    executor: Executor, run: Callable[[Any], Mapping[str, Any]], cases: Mapping[str, Specified]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Hand out the cases, and give each result as soon as it is there."""
    waiting: dict[Future[dict[str, Any]], str] = {}

    def ready() -> Iterator[tuple[str, dict[str, Any]]]:
        done = [future for future in waiting if future.done()]
        for future in sorted(done, key=lambda one: one.exception() is not None):  # what is finished, before all ends
            yield waiting.pop(future), future.result()

    try:
        for key, case in cases.items():
            with nullcontext() if isinstance(executor, Here) else deaf():
                waiting[executor.submit(attempt, run, case)] = key
            if len(waiting) >= WAITING:
                wait(waiting, return_when=FIRST_COMPLETED)
            yield from ready()
        while waiting:
            wait(waiting, return_when=FIRST_COMPLETED)
            yield from ready()
    except Exception as error:  # what a case raises is in its record: this is the executor's own failure
        reason = f"{type(error).__name__}: {error}"
        raise LabError(f"the workers failed ({reason}); finished cases are kept: run it again to go on") from None
    finally:
        for future in waiting:
            future.cancel()
