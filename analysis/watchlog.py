"""The log of a watch: what a row is, the folder it is streamed to, and how that is read again. Knows no torch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from floatemu.errors import FileError, UnsupportedError

from .tape import Tape
from .tensorboard import EventWriter
from .terminal import plain, version

__all__ = ["COLUMNS", "SCHEMA", "Log", "NonFinite", "Row", "is_log", "read_log", "read_tape", "to_dataframe"]

SCHEMA = "floatemu.watch/1"
MANIFEST, ROWS, NONFINITE, BOARD, TAPES = "watch.json", "rows", "nonfinite.jsonl", "tensorboard", "tapes"
KINDS = ("nonfinite", "first")
"""Steps that a log has tapes of: the first that made an infinity or NaN, and the first sampled."""
BEFORE = "was there before the step"
"""Cause of what no call of the step made."""
_MOST = 1 << 20  # bytes of a manifest


class Row(NamedTuple):
    """One computed result of one call, in one run of one sampled step; the columns of the log, in order.

    Attributes
    ----------
    step, call, output : int
    run, op, path, direction, site, format : str
    shape : tuple of int
    elements : int
    amax, amin, norm, norm_ratio, error, local_error : float
    zeros, zeros_new, flushed, subnormal, saturated, overflowed, nonfinite, nonfinite_reference : int
    producer : bool
    """

    step: int
    call: int
    output: int
    run: str
    op: str
    path: str
    direction: str
    site: str
    format: str
    shape: tuple[int, ...]
    elements: int
    amax: float
    amin: float
    norm: float
    norm_ratio: float
    error: float
    local_error: float
    zeros: int
    zeros_new: int
    flushed: int
    subnormal: int
    saturated: int
    overflowed: int
    nonfinite: int
    nonfinite_reference: int
    producer: bool


COLUMNS: Mapping[str, tuple[str, str]] = {
    "step": ("int", "the training step"),
    "call": ("int", "which call of the step, in the order in which they ran"),
    "output": ("int", "which result of the call"),
    "run": ("text", '"live": the program\'s own numbers; "emulated": those in the policy'),
    "op": ("text", "name of the ATen operation, without namespace and overload"),
    "path": ("text", 'module path; "loss" outside the module, "optimizer" in its step'),
    "direction": ("text", "forward, backward or update"),
    "site": ("text", "file and line of your program; of the forward operation for a backward one"),
    "format": ("text", 'format of the result; "" where the policy leaves binary64'),
    "shape": ("ints", "shape of the result"),
    "elements": ("int", "number of elements"),
    "amax": ("float", "largest finite magnitude, in the reference"),
    "amin": ("float", "smallest nonzero magnitude, in the reference; infinite if there is none"),
    "norm": ("float", "2-norm of the reference"),
    "norm_ratio": ("float", "2-norm of the run by that of the reference"),
    "error": ("float", "2-norm of the difference by that of the reference: what has accumulated"),
    "local_error": ("float", "2-norm of what this one rounding changed, by that of the unrounded result"),
    "zeros": ("int", "elements that are zero in the reference"),
    "zeros_new": ("int", "elements that are zero in the run, and not in the reference"),
    "flushed": ("int", "elements that this rounding made zero"),
    "subnormal": ("int", "elements in the format's subnormal range"),
    "saturated": ("int", "elements that this rounding stopped at the largest finite value"),
    "overflowed": ("int", "elements that this rounding made infinite or NaN"),
    "nonfinite": ("int", "infinities and NaN in the run"),
    "nonfinite_reference": ("int", "infinities and NaN in the reference"),
    "producer": ("bool", "whether the call made the first infinity or NaN out of healthy numbers"),
}
"""Kind and meaning of each column of a row."""


@dataclass(frozen=True)
class NonFinite:
    """A call that made infinities or NaN out of healthy numbers.

    Attributes
    ----------
    step : int
    run : str
        "live" or "emulated".
    op, path, direction, site : str
        As in a row; for a storage from outside, ``op`` is its role.
    cause : str
        "overflow" or "invalid operation" of the operation itself; "rounding", of a finite result into the format.
    count : int
        Elements.
    index : tuple of int
        The first of them.
    value : float
        There, before rounding.
    operands : tuple of str
        Shape, element there, and range of each operand.

    Examples
    --------
    >>> print(NonFinite(7, "live", "exp", "head", "forward", "net.py:12", "overflow", 1, (0, 3), float("inf"),
    ...                 ("2x4: 91.5 there, magnitudes 0 to 91.5",)).text)
    step 7, live run: exp in head (net.py:12, forward) made 1 non-finite number out of healthy ones by overflow; \
the first, at (0, 3), is inf; operands: 2x4: 91.5 there, magnitudes 0 to 91.5
    """

    step: int
    run: str
    op: str
    path: str
    direction: str
    site: str
    cause: str
    count: int
    index: tuple[int, ...]
    value: float
    operands: tuple[str, ...]

    @property
    def made(self) -> bool:
        """Whether the step made it: by a call, or by rounding what it began with."""
        return self.cause != BEFORE

    @property
    def text(self) -> str:
        """One sentence with place and values."""
        numbers = f"{self.count} non-finite number{'s' if self.count > 1 else ''}"
        if not self.operands and not self.site:
            where = f"{self.op} {self.path}".strip()
            return f"step {self.step}, {self.run} run: {where} holds {numbers} from outside ({self.cause})"
        place = ", ".join(word for word in (self.site, self.direction) if word)
        path = self.path or ("the training loop" if self.direction == "update" else "the model itself")
        return (
            f"step {self.step}, {self.run} run: {self.op} in {path} ({place}) made {numbers} "
            f"out of healthy ones by {self.cause}; the first, at {self.index}, is {self.value:.6g}; "
            f"operands: {', '.join(self.operands) or 'none'}"
        )


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UnsupportedError("the log of a watch needs pyarrow: pip install 'floatemu[report]'") from None
    return pyarrow, pyarrow.parquet


def _schema(pa: Any) -> Any:
    kinds = {"int": pa.int64(), "float": pa.float64(), "text": pa.string(), "bool": pa.bool_()}
    kinds["ints"] = pa.list_(pa.int64())
    return pa.schema([(name, kinds[kind]) for name, (kind, _) in COLUMNS.items()])


class Log:
    """A folder that a watch streams to: each part is written under a temporary name, then renamed.

    Parameters
    ----------
    folder : path-like
        Created where it does not exist; must hold no other log.
    manifest : mapping
        What was watched.

    Raises
    ------
    UnsupportedError
        Without pyarrow; the message names the extra.
    FileError
        If the folder holds a log already, or cannot be written to.
    """

    def __init__(self, folder: str | Path, manifest: Mapping[str, Any]) -> None:
        self._pa, self._parquet = _parquet()
        self.folder, self._parts = Path(folder), 0
        if (self.folder / MANIFEST).exists():
            raise FileError(f"{self.folder} holds the log of another watch; choose a new folder")
        head = {"schema": SCHEMA, "floatemu": version(), "columns": {name: kind for name, (kind, _) in COLUMNS.items()}}
        try:
            (self.folder / ROWS).mkdir(parents=True, exist_ok=True)
            (self.folder / BOARD).mkdir(exist_ok=True)
            text = json.dumps(plain({**head, **manifest}), indent=1, allow_nan=False)
            (self.folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
            name = f"events.out.tfevents.{int(time.time())}.floatemu"
            self._events = EventWriter(self.folder / BOARD / name)
        except OSError as error:
            raise FileError(f"{self.folder}: cannot be written ({error.strerror or error})") from None

    def write(self, step: int, rows: Sequence[Row], scalars: Mapping[str, float], found: Sequence[NonFinite]) -> None:
        """Write all of one step; it is safe from then on.

        Parameters
        ----------
        step : int
        rows : sequence of Row
        scalars : mapping of str to float
            For TensorBoard.
        found : sequence of NonFinite
        """
        if rows:
            columns = {name: [row[index] for row in rows] for index, name in enumerate(Row._fields)}
            table = self._pa.table(columns, schema=_schema(self._pa))
            name = f"part-{self._parts:06d}.parquet"
            hidden = self.folder / ROWS / f".{name}.tmp"
            self._parquet.write_table(table, hidden)
            hidden.rename(self.folder / ROWS / name)
            self._parts += 1
        if found:
            with open(self.folder / NONFINITE, "a", encoding="utf-8") as stream:
                for one in found:
                    stream.write(json.dumps(plain({**asdict(one), "text": one.text}), allow_nan=False) + "\n")
        self._events.scalars(scalars, step)

    def keep(self, kind: str, step: int, tape: Tape | str) -> None:
        """Write a step's tape, or why there is none.

        Parameters
        ----------
        kind : str
            One of ``KINDS``.
        step : int
        tape : Tape or str
        """
        folder = self.folder / TAPES
        folder.mkdir(exist_ok=True)
        made = isinstance(tape, Tape)
        about = {"kind": kind, "step": step, "nodes": len(tape) if made else 0, "refused": None if made else tape}
        if isinstance(tape, Tape):
            tape.save(folder / f"{kind}.npz")
        (folder / f"{kind}.json").write_text(json.dumps(about) + "\n", encoding="utf-8")

    def close(self) -> None:
        """Close what is open; everything has been written before."""
        self._events.close()


def read_log(folder: str | Path) -> tuple[dict[str, Any], list[Row], list[dict[str, Any]]]:
    """Read the log of a watch, that of an interrupted one too.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    manifest : dict
    rows : list of Row
    nonfinite : list of dict
        As :class:`NonFinite`, with "text".

    Raises
    ------
    FileError
        If the folder holds no such log, or something in it is no part of one.
    UnsupportedError
        Without pyarrow; the message names the extra.
    """
    pa, parquet = _parquet()
    place = Path(folder)
    try:
        manifest, rows = _manifest(place), []
        for part in sorted((place / ROWS).glob("part-*.parquet")):
            table = parquet.read_table(part)
            if table.schema.remove_metadata() != _schema(pa):
                raise FileError(f"{part} has other columns than a log of schema {SCHEMA!r}")
            columns = [table.column(name).to_pylist() for name in Row._fields]
            rows += [Row(*values)._replace(shape=tuple(values[9])) for values in zip(*columns, strict=True)]
        found = place / NONFINITE
        lines = found.read_text(encoding="utf-8").splitlines() if found.exists() else []
        return manifest, rows, [json.loads(line) for line in lines]
    except OSError as error:
        raise FileError(f"{error.filename or place}: cannot be read ({error.strerror or error})") from None
    except (ValueError, pa.ArrowInvalid) as error:
        raise FileError(f"{place}: not the log of a watch ({error})") from None


def is_log(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a watch's log.

    Parameters
    ----------
    path : path-like
    """
    return (Path(path) / MANIFEST).is_file()


def read_tape(folder: str | os.PathLike[str]) -> tuple[Tape, Path, dict[str, Any]]:
    """Read the tape that a watch kept: of the first step that made an infinity or NaN, or of the first sampled.

    Parameters
    ----------
    folder : path-like

    Returns
    -------
    tape : Tape
    path : Path
        Of its file.
    manifest : dict
        Of the log.

    Raises
    ------
    FileError
        If the folder holds no log or no tape, and why, or what it holds cannot be read.
    """
    place = Path(folder)
    refused = []
    try:
        manifest = _manifest(place)
        for kind in KINDS:
            file, beside = place / TAPES / f"{kind}.npz", place / TAPES / f"{kind}.json"
            if file.is_file():
                return Tape.load(file), file, manifest
            if beside.is_file():
                about = _object(beside)
                refused.append(f"of step {about.get('step')} none was made: {about.get('refused')}")
    except OSError as error:
        raise FileError(f"{error.filename or place}: cannot be read ({error.strerror or error})") from None
    why = "; ".join(refused) or f"none was written, under tape_limit={manifest.get('tape_limit')!r}"
    raise FileError(
        f"{place} is the log of a watch without a tape: {why}; accepted: the folder of an.watch(..., out=FOLDER, "
        "tape_limit=BYTES) with room for a step, or a tape that Tape.save wrote"
    )


def _manifest(place: Path) -> dict[str, Any]:
    manifest = _object(place / MANIFEST)
    if manifest.get("schema") != SCHEMA:
        raise FileError(f"{place / MANIFEST} has schema {manifest.get('schema')!r}; accepted: {SCHEMA!r}")
    return manifest


def _object(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST:
        raise FileError(f"{path} is larger than any that a watch writes")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: not of the log of a watch ({error})") from None
    if not isinstance(found, dict):
        raise FileError(f"{path} holds no JSON object")
    return found


def to_dataframe(rows: Sequence[Row]) -> Any:
    """Return rows as a pandas DataFrame.

    Parameters
    ----------
    rows : sequence of Row

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    UnsupportedError
        Without pandas; the message names the extra.
    """
    try:
        import pandas as pd
    except ImportError:
        raise UnsupportedError("to_dataframe needs pandas: pip install 'floatemu[report]'") from None
    return pd.DataFrame(list(rows), columns=list(Row._fields))
