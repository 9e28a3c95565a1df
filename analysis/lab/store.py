"""A folder of finished cases: one file each, there whole or not at all, whenever the sweep is killed."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from floatemu.errors import FileError

from ..terminal import plain

__all__ = ["Record", "Store", "write_whole"]

Record = dict[str, Any]
"""A finished case as JSON values: key, source_hash, case, status, error, seconds, result."""

MOST_BYTES = 2**24
STATUSES = ("done", "failed")


def write_whole(path: Path, text: str) -> None:
    """Write a file that other programs see whole or not at all.

    Parameters
    ----------
    path : Path
    text : str

    Raises
    ------
    FileError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_whole(Path(folder) / "a.json", "{}")
    ...     os.listdir(folder)
    ['a.json']
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error})") from None


class Store:
    """The finished cases of a sweep in a folder: ``cases/KEY.json``, one line of JSON each.

    Parameters
    ----------
    folder : path-like
        Created if need be.

    Raises
    ------
    FileError
        If it cannot be created or written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(folder)
    ...     kept = store.write({"key": "ab", "status": "done", "result": {"loss": float("inf")}})
    ...     store.read("ab") == kept, kept["result"], store.read("cd")
    (True, {'loss': 'inf'}, None)
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.cases = self.folder / "cases"
        try:
            self.cases.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{self.folder}: cannot be created ({error.strerror or error})") from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other sweeps out of the folder while the block runs; the lock ends with the process, however it ends.

        Raises
        ------
        FileError
            If another sweep is at work there.
        """
        try:
            with open(self.folder / ".lock", "a", encoding="utf-8") as stream:
                self._lock(stream)
                yield
        except PermissionError as error:
            raise FileError(f"{error.filename}: cannot be written ({error.strerror})") from None

    def _lock(self, stream: IO[str]) -> None:
        if sys.platform == "win32":  # has no such locks: two sweeps of one folder are then the user's own affair
            return
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileError(
                f"{self.folder}: another sweep is writing to this folder; wait for it, or stop it"
            ) from None

    def read(self, key: str) -> Record | None:
        """Return a finished case, or None if there is none, or its file is damaged (it is then computed again).

        Parameters
        ----------
        key : str

        Returns
        -------
        dict or None
        """
        path = self.cases / f"{key}.json"
        try:
            if path.stat().st_size > MOST_BYTES:
                return None
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        whole = isinstance(found, dict) and found.get("key") == key and found.get("status") in STATUSES
        return found if whole and isinstance(found.get("result"), dict) else None

    def write(self, record: Mapping[str, Any]) -> Record:
        """Keep a finished case, and return it as it will be read.

        Parameters
        ----------
        record : mapping

        Returns
        -------
        dict
        """
        text = json.dumps(plain(record), allow_nan=False)
        write_whole(self.cases / f"{record['key']}.json", text + "\n")
        kept: Record = json.loads(text)
        return kept
