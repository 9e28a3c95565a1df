"""How a subcommand is made: from a function that returns one JSON object and the page that shows it."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from ..terminal import CHECK_FAILED, OK, BadInput, console, head, say, version, write_json, writing
from .options import Whole, Word

__all__ = ["SEED", "Answer", "about", "announce", "app", "bad_input", "command", "formats_option", "ours"]

Page = Callable[[dict[str, Any], Any], None]
Answer = tuple[dict[str, Any], Page]
"""What a subcommand returns: the object that ``--json`` prints, and the function that shows it."""


class InOrder(click.Group):
    """A group that lists its commands in the order in which they are written."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=InOrder, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="floatemu")
@click.pass_context
def app(context: click.Context) -> None:
    """Emulate floating-point formats, and see what low precision does to training.

    Exit status: 0 all is well, 1 a check failed, 2 the input cannot be used.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


formats_option = functools.partial(click.option, "--format", "formats", type=Word(), metavar="NAME", multiple=True)
SEED = Whole(0, 2**64 - 1, "0..2^64 - 1")


def command(name: str, cls: type[click.Command] = click.Command) -> Callable[[Callable[..., Answer]], click.Command]:
    """Make a subcommand of a function that returns (JSON object, function that prints it)."""

    def make(work: Callable[..., Answer]) -> click.Command:
        @app.command(name, cls=cls)
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
        @functools.wraps(work)
        def run(as_json: bool, **options: Any) -> int:
            # Whatever a library prints meanwhile would break the one object on standard output.
            with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
                found, page = work(**options)
                result = {**head(name, ok=True, seed=options.get("seed")), **found}
            with writing():
                if as_json:
                    write_json(result)
                else:
                    page(result, console())
            return OK if result["ok"] else CHECK_FAILED

        return run

    return make


def announce(names: Sequence[str], replayed: bool = False) -> None:
    """Check the names of formats, and say on standard error what a user should know about them."""
    if not names:
        return
    from .. import landmarks

    for name in names:
        landmarks.find(name)
        if replayed:
            from ..policy import Policy

            with about(name, "`floatemu inspect` takes every format"):
                Policy.uniform(name)
    for note in landmarks.notes(list(names)):
        say(note)


@contextlib.contextmanager
def about(given: object, hint: str) -> Iterator[None]:
    """Turn an error of floatemu into one of the command line, with what was given."""
    try:
        yield
    except Exception as error:
        if not ours(error):
            raise
        raise bad_input(error, given, hint) from None


def bad_input(error: Exception, given: object, hint: str) -> BadInput:
    """Return an error of floatemu as the command line shows it: what was given, what is accepted, what to do."""
    message = str(error)
    # the messages of floatemu name what is accepted after this word
    accepted = message.rpartition("accepted: ")[2] if "accepted: " in message else hint
    return BadInput(message, given=given, accepted=accepted, hint=hint)


def ours(error: Exception) -> bool:
    """Whether the error was raised by floatemu about what it was given (without importing floatemu to find out)."""
    module = sys.modules.get("floatemu.errors")
    return module is not None and isinstance(error, module.FloatEmuError)
