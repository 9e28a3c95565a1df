"""The command ``floatemu``; each subcommand imports its own needs, so that ``--help`` comes at once."""

from __future__ import annotations

import contextlib
import errno
import functools
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from .options import Number, OneOf, Pair, Whole, Word
from .terminal import (
    BAD_INPUT,
    CHECK_FAILED,
    OK,
    BadInput,
    OutputError,
    ReaderGone,
    console,
    discard_output,
    head,
    progress_bar,
    say,
    take_any_text,
    version,
    writable_folder,
    write_json,
    writing,
)

# Nets by name, and those of them on the user's data: written here too, so that --help imports none of them.
NETS = ("mlp", "residual_mlp", "cnn", "rnn", "gru", "lstm", "attention", "transformer", "llama", "chain")
ON_DATA = ("mlp", "residual_mlp", "cnn")
Page = Callable[[dict[str, Any], Any], None]
Answer = tuple[dict[str, Any], Page]


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
            with writing():
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


_formats = functools.partial(click.option, "--format", "formats", type=Word(), metavar="NAME", multiple=True)
_Seed = Whole(0, 2**64 - 1, "0..2^64 - 1")


@_command("demo")
@click.option("--start", type=Number(), default=1e5, show_default=True, help="First gradient of the chain.")
@click.option("--multiplier", type=Number(), default=0.25, show_default=True, help="Factor of every step.")
@click.option("--steps", type=Whole(1, 10_000), default=10, show_default=True, help="Number of factors.")
@_formats(help="Format to show; repeat for more. Default: six, from binary64 to e4m3fn.")
@click.option("--quick", is_flag=True, help="The chain only, without the network.")
@click.option("--seed", type=_Seed, default=0, show_default=True, help="Seed of the network.")
def demo(start: float, multiplier: float, steps: int, formats: tuple[str, ...], quick: bool, seed: int) -> Answer:
    """Watch a gradient get lost in narrow formats.

    The chain g <- g * m, then the same chain starting in range, then a small network's first-layer gradient."""
    _announce(formats, replayed=True)
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
@click.option("--random-bits", type=Whole(1, 32), default=32, show_default=True, help="N of the stochastic modes.")
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
@click.option("--net", type=OneOf(NETS), default="mlp", show_default=True, help=f"One of {', '.join(NETS)}.")
@click.option(
    "--arg",
    "arguments",
    type=Pair(),
    metavar="NAME=VALUE",
    multiple=True,
    help="Argument of the net, such as length=100, sizes=64,32,10 or optimizer=adam; repeat for more. "
    "A wrong name lists those the net takes.",
)
@click.option(
    "--data", type=Word(), help=f"For {', '.join(ON_DATA)}: digits (default), or a .npz or .csv file with X and y."
)
@click.option("--policy", "policies", type=Word(), metavar="NAME", multiple=True, help="Policy; repeat for more.")
@_formats(help="Format of every node's output; repeat for more.")
@click.option(
    "--reference",
    type=OneOf(["mpmath", "ball", "float64", "auto"]),
    default="mpmath",
    show_default=True,
    help="mpmath; ball (proven radii); float64; auto (float64, or better where that is too weak).",
)
@click.option(
    "--target", type=Word(), default=None, help="Named result to judge, such as grad:W0. Default: the net's own."
)
@click.option("--out", type=Word(), metavar="FOLDER", default=None, help="Folder for the report, CSV, JSON and PNG.")
@click.option("--min-bits", type=Number(nan=False), default=None, help="Exit 1 if fewer bits of the target are right.")
@click.option("--seed", type=_Seed, default=None, help="Seed of weights and data; none for chain.  [default: 0]")
def trace(
    net: str,
    arguments: tuple[tuple[str, str], ...],
    data: str | None,
    policies: tuple[str, ...],
    formats: tuple[str, ...],
    reference: str,
    target: str | None,
    out: str | None,
    min_bits: float | None,
    seed: int | None,
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
    for option, value in (("--data", data), ("--seed", seed)):
        if net == "chain" and value is not None:
            raise BadInput(
                f"the chain takes no {option}: it starts from 100000, without data and without chance",
                given=f"{option} {value}",
                accepted=f"--net chain without {option}, or --net mlp",
                hint=f"leave {option} out, or trace --net mlp",
            )
    if data is not None and net not in ON_DATA:
        raise BadInput(
            f"{net} takes no --data: its data are synthetic",
            given=f"--data {data}",
            accepted=f"--net {net} without --data, or one of the nets on data: {', '.join(ON_DATA)}",
            hint="leave --data out",
        )
    from .policy import Policy
    from .report.table import print_trace
    from .results import run_trace

    _announce(formats, replayed=True)
    for name in policies:
        with _about(name, "see `floatemu trace --help`"):
            Policy.named(name)
    folder = None if out is None else writable_folder(Path(out))
    named = {"data": data, "target": target, **dict(arguments)}
    named = {key: value for key, value in named.items() if value is not None}
    given = named if arguments or len(named) > 1 else next(iter(named.values()), None)
    with _about(given, "see `floatemu trace --help`"), progress_bar() as progress:
        found = run_trace(
            net=net,
            arguments=dict(arguments),
            data="digits" if data is None else data,
            policies=list(policies),
            formats=list(formats),
            reference=reference,
            target=target,
            out=folder,
            min_bits=min_bits,
            seed=seed or 0,
            progress=progress,
        )
    if found["failures"]:
        say(f"floatemu: check failed: {'; '.join(found['failures'])}")
    return found, print_trace


@_command("validate")
@click.argument("capture", required=False, type=Word())
@click.option("--self", "own", is_flag=True, help="Check this installation against what the package carries.")
@click.option("--torch", "library", is_flag=True, help="Compare with the torch that is installed.")
@click.option("--device", type=Word(), default=None, help="For --torch, as torch names it.  [default: cpu]")
@click.option("--vectors", type=Word(), metavar="FOLDER", default=None, help="Published results of GPUs.")
@click.option("--chunks", type=Whole(1, 4096), default=None, help="For CAPTURE: chunks of each cast.  [default: 64]")
def validate(
    capture: str | None, own: bool, library: bool, device: str | None, vectors: str | None, chunks: int | None
) -> Answer:
    """Compare with what devices gave, bit for bit.

    CAPTURE is a folder that scripts/capture_gpu.py wrote on a machine with a GPU; it is replayed here, without one.
    Exit status 1: a result deviates, and no documented cause explains it."""
    subjects = {"CAPTURE": capture, "--self": own, "--torch": library, "--vectors FOLDER": vectors}
    chosen = [word for word, given in subjects.items() if given]
    stray = (chunks is not None and capture is None) or (device is not None and not library)
    if len(chosen) != 1 or stray:
        one = len(chosen) == 1
        raise BadInput(
            "--chunks is for CAPTURE, --device for --torch" if one else f"give one of {', '.join(subjects)}",
            given=" ".join(chosen) or None,
            accepted=list(subjects),
            hint="floatemu validate --self",
        )
    from .validate import print_validation, run_validation

    given, place = capture or vectors or device, (device or "cpu") if library else None
    with _about(given, "see `floatemu validate --help`"), progress_bar() as progress:
        return run_validation(capture, vectors, chunks, progress, place), print_validation


@_command("identify")
@click.argument("capture", required=False, type=Word())
@click.option("--unit", type=Word(), metavar="NAME", default=None, help="A row of the table of matrix units, blind.")
@click.option("--test", type=Word(), metavar="NAME", default=None, help="For CAPTURE: unit, instruction or test.")
@click.option("--products", type=Whole(1, 1024), default=None, help="For --unit: products in every question.")
def identify(capture: str | None, unit: str | None, test: str | None, products: int | None) -> Answer:
    """Find out how a matrix unit adds, from its answers alone.

    CAPTURE is a folder that scripts/capture_gpu.py wrote on a machine with a GPU.
    Exit status 1: not exactly one arithmetic is left of those that were tried."""
    alone = (capture is None) != (unit is None)
    if not alone or (test is not None and capture is None) or (products is not None and unit is None):
        raise BadInput(
            "give either CAPTURE or --unit NAME" if not alone else "--test is for CAPTURE, --products for --unit",
            given=capture or unit,
            accepted=["CAPTURE [--test NAME]", "--unit NAME [--products K]"],
            hint="floatemu identify --unit hopper.wgmma.e4m3fn.e4m3fn.binary32",
        )
    from .identify import print_identification, run_identify

    with _about(capture or unit, "see `floatemu identify --help`"), progress_bar() as progress:
        return run_identify(capture, unit, test, products, progress), print_identification


@_command("doctor")
def doctor() -> Answer:
    """Check this installation.

    What was found where, versions, CPU, cache, optional parts."""
    from .doctor import examine, print_doctor

    found = examine()
    return {"ok": all(check["ok"] for check in found["checks"]), **found}, print_doctor


def _announce(names: Sequence[str], replayed: bool = False) -> None:
    """Check the names of formats, and say on standard error what a user should know about them."""
    if not names:
        return
    from . import landmarks

    for name in names:
        landmarks.find(name)
        if replayed:
            from .policy import Policy

            with _about(name, "`floatemu inspect` takes every format"):
                Policy.uniform(name)
    for note in landmarks.notes(list(names)):
        say(note)


@contextlib.contextmanager
def _about(given: object, hint: str) -> Iterator[None]:
    """Turn an error of floatemu into one of the command line, with what was given."""
    try:
        yield
    except Exception as error:
        if not _ours(error):
            raise
        raise _input_error(error, given, hint) from None


def _input_error(error: Exception, given: object, hint: str) -> BadInput:
    message = str(error)
    # the messages of floatemu name what is accepted after this word
    accepted = message.rpartition("accepted: ")[2] if "accepted: " in message else hint
    return BadInput(message, given=given, accepted=accepted, hint=hint)


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
        from .numerals import ACCEPTED

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


def _ours(error: Exception) -> bool:
    """Whether the error was raised by floatemu about what it was given (without importing floatemu to find out)."""
    module = sys.modules.get("floatemu.errors")
    return module is not None and isinstance(error, module.FloatEmuError)


def _report(error: BadInput, command: str | None, as_json: bool) -> int:
    if as_json:
        with writing():
            write_json({**head(command, ok=False), "error": error.as_dict()})
    else:
        hint = f" ({error.hint})" if error.hint and error.hint not in error.message else ""
        say(f"floatemu: {error.message}{hint}")
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
        if not _ours(error):
            raise
        return _report(_input_error(error, shlex.join(words), f"see `floatemu {command} --help`"), command, as_json)
