"""The command ``floatemu``; each subcommand imports its own needs, so that ``--help`` comes at once."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from .terminal import (
    BAD_INPUT,
    CHECK_FAILED,
    OK,
    BadInput,
    console,
    head,
    progress_bar,
    version,
    writable_folder,
    write_json,
)

Page = Callable[[dict[str, Any], Any], None]
Answer = tuple[dict[str, Any], Page]


# Releases of click before 8.5 cannot subscript the class when the program runs.
class Number(click.ParamType):  # type: ignore[type-arg]
    """A binary64 number; a text whose value lies beyond binary64 is refused, not made infinite."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            number = float.fromhex(value) if "0x" in str(value).lower() else float(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a number of binary64's range (0.25, 1e5, 0x1p-3, inf, nan)", param, ctx)
        if math.isinf(number) and "inf" not in str(value).lower():
            self.fail(f"{value!r} is beyond binary64's largest value 1.8e308; write inf if that is meant", param, ctx)
        return number


class NumberFirst(click.Command):
    """A command whose argument may be a negative number, which would otherwise read as an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            takes_value = {name for item in self.params if _takes_value(item) for name in item.opts}
            held = [
                index
                for index, word in enumerate(args)
                if re.match(r"[-−](\d|\.\d|inf|nan)", word) and not (index and args[index - 1] in takes_value)
            ]
            if held:
                rest = [word for index, word in enumerate(args) if index not in held]
                args = [*rest, "--", *(args[index] for index in held)]
        return super().parse_args(ctx, args)


def _takes_value(item: click.Parameter) -> bool:
    return isinstance(item, click.Option) and not item.is_flag


def _command(name: str, cls: type[click.Command] = click.Command) -> Callable[[Callable[..., Answer]], click.Command]:
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
            if as_json:
                write_json(result)
            else:
                page(result, console())
            return OK if result["ok"] else CHECK_FAILED

        return run

    return make


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


_formats = functools.partial(click.option, "--format", "formats", metavar="NAME", multiple=True)
_seed = click.option("--seed", type=click.IntRange(0, 2**64 - 1), default=0, show_default=True, help="Seed.")


@_command("demo")
@click.option("--start", type=Number(), default=1e5, show_default=True, help="First gradient of the chain.")
@click.option("--multiplier", type=Number(), default=0.25, show_default=True, help="Factor of every step.")
@click.option("--steps", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Number of factors.")
@_formats(help="Format to show; repeat for more. Default: six, from binary64 to E4M3.")
@click.option("--quick", is_flag=True, help="The chain only, without the network.")
@_seed
def demo(start: float, multiplier: float, steps: int, formats: tuple[str, ...], quick: bool, seed: int) -> Answer:
    """Watch a gradient get lost in narrow formats.

    The chain g <- g * m, then the same chain starting in range, then a small network's first-layer gradient."""
    _announce(formats)
    from .demo import run_demo
    from .report.table import print_demo

    with progress_bar() as progress:
        chosen = list(formats) or None
        return run_demo(start, multiplier, steps, chosen, quick, seed, progress=progress), print_demo


@_command("formats")
@click.argument("name", required=False)
def formats_(name: str | None) -> Answer:
    """List the formats, or show one's landmarks."""
    import floatemu as fe

    from . import landmarks

    if name is not None:
        fmt = landmarks.find(name)
        _announce((name,))
        facts = landmarks.landmarks(fmt)
        return {"formats": [facts]}, lambda result, page: landmarks.print_landmarks(facts, page)
    found = list(fe.FORMATS.values())
    return (
        {"formats": [landmarks.landmarks(fmt) for fmt in found]},
        lambda result, page: landmarks.print_table(found, page),
    )


@_command("inspect", cls=NumberFirst)
@click.argument("number")
@_formats(help="Format to look at; repeat for more. Default: binary16, bfloat16, e5m2, e4m3fn.")
@click.option(
    "--random-bits", type=click.IntRange(1, 32), default=32, show_default=True, help="N of the stochastic modes."
)
def inspect(number: str, formats: tuple[str, ...], random_bits: int) -> Answer:
    """Show what becomes of one number.

    Fields, neighbours, ulp, exact error, and what each rounding and saturation mode gives.

    NUMBER is read exactly (0.1 is 1/10, not the nearest binary64): a decimal, a fraction 1/3, a power
    2^-9, a hexadecimal float 0x1.8p-3, inf, nan, or a code 0x7e.
    """
    from . import landmarks
    from .inspection import inspect_number, print_inspection, print_summary
    from .numerals import parse, ratio

    numeral = parse(number)
    if numeral.kind == "code" and not formats:
        raise BadInput(
            f"{number} is a code, and a code means nothing without its format",
            given=number,
            accepted="a code together with --format",
            hint=f"floatemu inspect {number} --format e4m3fn (or write {number}p0 for the number)",
        )
    chosen = [landmarks.find(name) for name in formats or ("binary16", "bfloat16", "e5m2", "e4m3fn")]
    _announce(formats)
    results = [inspect_number(numeral, fmt, random_bits) for fmt in chosen]

    exact = ratio(numeral.value) if numeral.kind == "number" else None

    def page(result: dict[str, Any], out: Any) -> None:
        if exact is not None and not re.fullmatch(r"[-+]?\d+(/\d+)?|[-+]?2(\^|\*\*)[-+]?\d+", number):
            out.print(
                f"{number} is read exactly, as {exact if len(exact) <= 60 else f'a number of {len(exact)} digits'}"
            )
        if not formats:
            print_summary(results, out)
            out.print(f"`floatemu inspect {number} --format NAME` shows one format in full.")
            return
        for index, item in enumerate(results):
            if index or exact is not None:
                out.print()
            print_inspection(numeral, item, out)

    return {"input": {"text": number, "kind": numeral.kind, "exact": exact}, "formats": results}, page


@_command("trace")
@click.option("--net", default="mlp", show_default=True, help="Network to trace: mlp or chain.")
@click.option("--data", default="digits", show_default=True, help="digits, or a .npz or .csv file with X and y.")
@click.option("--policy", "policies", metavar="NAME", multiple=True, help="Named policy; repeat for more.")
@_formats(help="Format of every node's output; repeat for more.")
@click.option("--reference", default="mpmath", show_default=True, help="mpmath or float64.")
@click.option("--target", default=None, help="Named result to judge, such as grad:W0. Default: the net's own.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Folder for CSV, JSON and PNG files.")
@click.option("--min-bits", type=Number(), default=None, help="Exit 1 if fewer bits of the target are right.")
@_seed
def trace(
    net: str,
    data: str,
    policies: tuple[str, ...],
    formats: tuple[str, ...],
    reference: str,
    target: str | None,
    out: Path | None,
    min_bits: float | None,
    seed: int,
) -> Answer:
    """Find the nodes that lose the gradient.

    One forward and backward pass, replayed in each format and against a reference."""
    if not policies and not formats:
        raise BadInput(
            "nothing to trace in: give at least one --format or --policy",
            given=None,
            accepted="--format NAME or --policy NAME, as often as needed",
            hint="floatemu trace --format bf16 --format e4m3fn",
        )
    from .report.table import print_trace
    from .results import run_trace

    _announce(formats)
    folder = None if out is None else writable_folder(out)
    with progress_bar() as progress:
        found = run_trace(
            net=net,
            data=data,
            policies=list(policies),
            formats=list(formats),
            reference=reference,
            target=target,
            out=folder,
            min_bits=min_bits,
            seed=seed,
            progress=progress,
        )
    return found, print_trace


@_command("doctor")
def doctor() -> Answer:
    """Check this installation.

    What was found where, versions, CPU, cache, optional parts."""
    from .doctor import examine, print_doctor

    found = examine()
    return {"ok": all(check["ok"] for check in found["checks"]), **found}, print_doctor


def _announce(names: Sequence[str]) -> None:
    """Check the names of formats, and say on standard error what a user should know about them."""
    if not names:
        return
    from . import landmarks

    for name in names:
        landmarks.find(name)
    for note in landmarks.notes(list(names)):
        click.echo(note, err=True)


def _usage(error: click.ClickException, words: Sequence[str]) -> BadInput:
    """Turn what click found wrong with the command line into the error that every command gives."""
    given: object = shlex.join(words)
    accepted: object = None
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption) and context is not None:
        given = error.option_name
        accepted = [name for item in context.command.get_params(context) for name in item.opts if name.startswith("-")]
    elif isinstance(error, click.BadParameter) and error.param is not None:
        given = None if isinstance(error, click.MissingParameter) else given
        accepted = error.param.get_error_hint(context) if context is not None else error.param.name
    elif context is not None and isinstance(context.command, click.Group):
        accepted = list(context.command.commands)
    path = context.command_path if context is not None else "floatemu"
    return BadInput(error.format_message().rstrip("."), given=given, accepted=accepted, hint=f"see `{path} --help`")


def _ours(error: Exception) -> bool:
    """Whether the error was raised by floatemu about what it was given (without importing floatemu to find out)."""
    module = sys.modules.get("floatemu.errors")
    return module is not None and isinstance(error, module.FloatEmuError)


def _report(error: BadInput, command: str | None, as_json: bool) -> int:
    if as_json:
        write_json({**head(command, ok=False), "error": error.as_dict()})
    else:
        hint = f" ({error.hint})" if error.hint and error.hint not in error.message else ""
        click.echo(f"floatemu: {error.message}{hint}".replace("\n", " "), err=True)
    return BAD_INPUT


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
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    command = next((word for word in words if word in app.commands), None)
    try:
        return int(app.main(words, prog_name="floatemu", standalone_mode=False) or OK)
    except BadInput as error:
        return _report(error, command, as_json)
    except click.ClickException as error:
        return _report(_usage(error, words), command, as_json)
    except click.Abort:
        click.echo("floatemu: interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone; what is left in the buffer must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        reason = f"{error.strerror or error}: {error.filename!r}" if error.filename else str(error)
        return _report(BadInput(reason, given=error.filename, hint="check the path"), command, as_json)
    except Exception as error:
        if not _ours(error):
            raise
        given = shlex.join(words)
        return _report(BadInput(str(error), given=given, hint=f"see `floatemu {command} --help`"), command, as_json)
