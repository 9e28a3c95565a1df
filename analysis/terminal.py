"""What every command of ``floatemu`` shares: one JSON object or one page, clear errors, exit codes.

Nothing here imports numpy or numba: ``floatemu --help`` must come at once.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, what is being done)."""

OK, CHECK_FAILED, BAD_INPUT = 0, 1, 2


class BadInput(Exception):
    """The user gave something that the command cannot use.

    Parameters
    ----------
    message : str
        One line that says what is wrong.
    given : object
        What was given.
    accepted : object
        What is accepted: a text or a list of texts.
    hint : str
        What to do.

    Examples
    --------
    >>> BadInput("'0.1.2' is not a number", given="0.1.2", accepted="a decimal", hint="write 0.12").as_dict()["hint"]
    'write 0.12'
    """

    def __init__(self, message: str, *, given: object = None, accepted: object = None, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.given, self.accepted, self.hint = message, given, accepted, hint

    def as_dict(self) -> dict[str, object]:
        """Return the object that ``--json`` prints under ``error``.

        Returns
        -------
        dict
            Keys message, given, accepted, hint.

        Examples
        --------
        >>> BadInput("no such thing", given="x").as_dict()
        {'message': 'no such thing', 'given': 'x', 'accepted': None, 'hint': ''}
        """
        return {"message": self.message, "given": self.given, "accepted": self.accepted, "hint": self.hint}


def version() -> str:
    """Return the version of the installed floatemu, or "unknown" if it is run from a bare folder.

    Returns
    -------
    str

    Examples
    --------
    >>> version().count(".") >= 1 or version() == "unknown"
    True
    """
    from importlib import metadata

    try:
        return metadata.version("floatemu")
    except metadata.PackageNotFoundError:
        return "unknown"


def head(command: str | None, *, ok: bool, seed: int | None = None) -> dict[str, Any]:
    """Return the keys that every JSON object of the command line begins with.

    Parameters
    ----------
    command : str or None
        Name of the command; None if none could be made out.
    ok : bool
        False if a check failed or the input was bad.
    seed : int, optional
        The seed that the command used.

    Returns
    -------
    dict

    Examples
    --------
    >>> head("inspect", ok=True)["schema"]
    'floatemu.inspect/1'
    """
    schema = f"floatemu.{command or 'error'}/1"
    return {"schema": schema, "floatemu": version(), "command": command, "seed": seed, "ok": ok}


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: non-finite floats as "inf", "-inf", "nan".

    Parameters
    ----------
    value : object
        Nested mappings, lists, tuples, numbers, texts, None; numpy scalars through their ``item``.

    Returns
    -------
    object

    Examples
    --------
    >>> plain({"a": (1.5, float("-inf")), "b": float("nan")})
    {'a': [1.5, '-inf'], 'b': 'nan'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if callable(item := getattr(value, "item", None)):
        return plain(item())
    raise TypeError(f"{value!r} of type {type(value).__name__} has no place in a JSON object")


def write_json(result: Mapping[str, Any]) -> None:
    """Print one JSON object to standard output.

    Parameters
    ----------
    result : mapping

    Examples
    --------
    >>> write_json({"ok": True, "rel_error": float("inf")})
    {
      "ok": true,
      "rel_error": "inf"
    }
    """
    utf = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    text = json.dumps(plain(result), indent=2, ensure_ascii=not utf, allow_nan=False)
    sys.stdout.write(re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


class ReaderGone(Exception):
    """The program that reads standard output (head, less) has left."""


class OutputError(Exception):
    """Standard output cannot be written to."""


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Tell failures to write standard output from all others, and meet them here, not when the process ends.

    Raises
    ------
    ReaderGone
        If there is nobody to read.
    OutputError
        If the device is full or cannot be written to.

    Examples
    --------
    >>> with writing():
    ...     print("a page")
    a page
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        raise OutputError(error.strerror or str(error)) from None


def discard_output() -> None:
    """Drop what standard output still buffers, so that nothing is raised again when the process ends."""
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor has nothing to drop
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: str) -> str:
    """Return a text with its control characters, such as those that command a terminal, as Python writes them.

    Parameters
    ----------
    text : str
        Line feeds and tabs are kept.

    Returns
    -------
    str

    Examples
    --------
    >>> print(printable("red: \\x1b[31m"))
    red: \\x1b[31m
    """
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def say(text: str) -> None:
    """Write one line to standard error; if that cannot be written to either, there is nobody left to tell.

    Parameters
    ----------
    text : str
        May come from others: control characters are written out.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(printable(text.replace("\n", " ")) + "\n")
            sys.stderr.flush()


_IN_ASCII = {"•": "*", "≈": "~", "±": "+-", "−": "-", "–": "-", "·": "*", "→": "->", "←": "<-", "’": "'", "…": "..."}


def _unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_IN_ASCII.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


def take_any_text() -> None:
    """Let both streams take every text: signs that their encoding lacks are written in ASCII."""
    codecs.register_error("floatemu", _unencodable)
    for stream in (sys.stdout, sys.stderr):
        if callable(reconfigure := getattr(stream, "reconfigure", None)):
            reconfigure(errors="floatemu")


def console(*, stderr: bool = False) -> Console:
    """Return a rich console on standard output or standard error, which writes out control characters in texts.

    Parameters
    ----------
    stderr : bool

    Returns
    -------
    rich.console.Console

    Examples
    --------
    >>> console(stderr=True).stderr
    True
    """
    from rich.console import Console
    from rich.segment import Segment

    class Page(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterable[Any]:
            for part in super().render(
                renderable, options
            ):  # styles are apart: what commands in a text is a stranger's
                yield part if part.control else Segment(printable(part.text), part.style)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process with status 1, which says that a check failed

    return Page(stderr=stderr, highlight=False)


@contextlib.contextmanager
def progress_bar(left: bool = False) -> Iterator[Progress | None]:
    """Show a progress bar on standard error while the block runs, if that is a terminal.

    Parameters
    ----------
    left : bool
        Whether it shows the time left and the number of steps, too: where there are many of one size.

    Yields
    ------
    callable or None
        Call it with (done, total, text); None where there is no terminal to draw on.

    Examples
    --------
    >>> with progress_bar() as progress:
    ...     if progress is not None:
    ...         progress(1, 2, "half way")
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
    if left:
        columns += [TextColumn("left"), TimeRemainingColumn(), MofNCompleteColumn()]
    with Bar(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)


@contextlib.contextmanager
def status_line() -> Iterator[Callable[[str], None] | None]:
    """Show one line on standard error while the block runs, if that is a terminal.

    Yields
    ------
    callable or None
        Call it with the text; None where there is no terminal to draw on.

    Examples
    --------
    >>> with status_line() as show:
    ...     if show is not None:
    ...         show("step 50")
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.live import Live
    from rich.text import Text

    with Live(console=console(stderr=True), auto_refresh=False, transient=True) as live:
        yield lambda text: live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)


def writable_folder(path: Path) -> Path:
    """Create the folder if need be, and make sure now, not after the work, that it can be written to.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Path

    Raises
    ------
    BadInput
        If it cannot be created or written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writable_folder(Path(folder) / "new").is_dir()
    True
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadInput(
            f"cannot write to the folder {str(path)!r}: {reason}",
            given=str(path),
            accepted="a folder that exists or can be created, with permission to write",
            hint="choose another folder with --out",
        ) from None
    return path
