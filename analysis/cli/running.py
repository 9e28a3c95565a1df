"""Run the command line: errors become one line or one JSON object, and every end has its exit status."""

from __future__ import annotations

import errno
import re
import shlex
import sys
from collections.abc import Sequence

import click

from ..terminal import (
    BAD_INPUT,
    OK,
    BadInput,
    OutputError,
    ReaderGone,
    discard_output,
    head,
    say,
    take_any_text,
    write_json,
    writing,
)
from .commands import app
from .making import bad_input, ours

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the console script exits with what this returns.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name. Default: those of this process.

    Returns
    -------
    int
        0 all is well, 1 a check failed, 2 the input cannot be used.

    Examples
    --------
    >>> main(["formats", "no-such-format", "--json"]) == 2  # doctest: +ELLIPSIS
    {
      "schema": "floatemu.formats/1",
    ...
    True
    """
    if sys.stdout is None:
        say("floatemu: standard output is closed; leave it open, or send it to a file")
        return BAD_INPUT
    take_any_text()
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        with writing():  # what click prints by itself, such as --help
            return status
    except ReaderGone:
        discard_output()
        return OK
    except OutputError as error:
        discard_output()
        say(f"floatemu: standard output cannot be written to: {error}")
        return BAD_INPUT


def _run(words: list[str]) -> int:
    as_json = "--json" in words
    command = next((word for word in words if word in app.commands), None)
    try:
        return int(app.main(words, prog_name="floatemu", standalone_mode=False) or OK)
    except BadInput as error:
        return _report(error, command, as_json)
    except click.ClickException as error:
        return _report(_usage(error, words), command, as_json)
    except click.Abort:
        say("floatemu: interrupted")
        return 130
    except SystemExit:  # click's answer to a reader that left while it printed its help
        raise ReaderGone from None
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise OutputError(error.strerror) from None
        reason = f"{error.strerror or error}: {error.filename!r}" if error.filename else str(error)
        return _report(BadInput(reason, given=error.filename, hint="check the path"), command, as_json)
    except Exception as error:
        if not ours(error):
            raise
        return _report(bad_input(error, shlex.join(words), f"see `floatemu {command} --help`"), command, as_json)


def _report(error: BadInput, command: str | None, as_json: bool) -> int:
    if as_json:
        with writing():
            write_json({**head(command, ok=False), "error": error.as_dict()})
    else:
        hint = f" ({error.hint})" if error.hint and error.hint not in error.message else ""
        say(f"floatemu: {error.message}{hint}")
    return BAD_INPUT


def _usage(error: click.ClickException, words: Sequence[str]) -> BadInput:
    """Turn what click found wrong with the command line into the error that every command gives."""
    message = error.format_message().rstrip(".")
    given: object = None
    accepted: object = None
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption) and context is not None:
        given = error.option_name
        accepted = [name for item in context.command.get_params(context) for name in item.opts if name.startswith("-")]
    elif isinstance(error, click.BadOptionUsage):
        given, accepted = error.option_name, f"{error.option_name} with a value after it"
    elif isinstance(error, click.BadParameter) and error.param is not None:
        from ..numerals import ACCEPTED

        accepted = list(ACCEPTED) if error.param.name == "number" else f"a value for {error.param.human_readable_name}"
    elif context is not None and isinstance(context.command, click.Group):
        given = next((word for word in words if not word.startswith("-")), None)
        accepted = list(context.command.commands)
    elif context is not None:  # words too many, which click puts in brackets
        found = re.search(r"\((.*)\)$", message)
        given = found[1] if found else shlex.join(words)
        accepted = context.command.get_usage(context).removeprefix("Usage: ")
    path = context.command_path if context is not None else "floatemu"
    return BadInput(message, given=given, accepted=accepted, hint=f"see `{path} --help`")
