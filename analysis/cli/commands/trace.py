"""``floatemu trace``: which nodes lose the gradient."""

from __future__ import annotations

from pathlib import Path

import click

from ...terminal import BadInput, progress_bar, say, writable_folder
from ..making import SEED, Answer, about, announce, command, formats_option
from ..options import Number, OneOf, Pair, Word

# Nets by name, and those of them on the user's data: written here too, so that --help imports none of them.
NETS = ("mlp", "residual_mlp", "cnn", "rnn", "gru", "lstm", "attention", "transformer", "llama", "chain")
ON_DATA = ("mlp", "residual_mlp", "cnn")


@command("trace")
@click.option("--net", type=OneOf(NETS), default="mlp", show_default=True, help=f"One of {', '.join(NETS)}.")
@click.option(
    "--torch",
    "factory",
    type=Word(),
    metavar="MODULE:FUNCTION",
    default=None,
    help="Instead of a net: a function, or FILE.py:FUNCTION, that returns torch's (module, inputs, loss[, optimizer]).",
)
@click.option(
    "--arg",
    "arguments",
    type=Pair(),
    metavar="NAME=VALUE",
    multiple=True,
    help="Argument of the net, such as length=100, sizes=64,32,10 or optimizer=adam; repeat for more. "
    "A wrong name lists those the net takes. With --torch: of the function.",
)
@click.option(
    "--data", type=Word(), help=f"For {', '.join(ON_DATA)}: digits (default), or a .npz or .csv file with X and y."
)
@click.option("--policy", "policies", type=Word(), metavar="NAME", multiple=True, help="Policy; repeat for more.")
@formats_option(help="Format of every node's output; repeat for more.")
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
@click.option("--seed", type=SEED, default=None, help="Seed of weights and data; none for chain.  [default: 0]")
def trace(
    net: str,
    factory: str | None,
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
        if factory is None and net == "chain" and value is not None:
            raise BadInput(
                f"the chain takes no {option}: it starts from 100000, without data and without chance",
                given=f"{option} {value}",
                accepted=f"--net chain without {option}, or --net mlp",
                hint=f"leave {option} out, or trace --net mlp",
            )
    if factory is not None and (data is not None or net != "mlp"):
        raise BadInput(
            "--torch traces a model of your own, which brings its data: it goes with neither --net nor --data",
            given=f"--torch {factory}",
            accepted="--torch MODULE:FUNCTION, or --net with --data",
            hint="leave --net and --data out",
        )
    if data is not None and net not in ON_DATA:
        raise BadInput(
            f"{net} takes no --data: its data are synthetic",
            given=f"--data {data}",
            accepted=f"--net {net} without --data, or one of the nets on data: {', '.join(ON_DATA)}",
            hint="leave --data out",
        )
    from ...policy import Policy
    from ...report.table import print_trace
    from ...traced import run_trace

    announce(formats, replayed=True)
    for name in policies:
        with about(name, "see `floatemu trace --help`"):
            Policy.named(name)
    folder = None if out is None else writable_folder(Path(out))
    named = {"torch": factory, "data": data, "target": target, **dict(arguments)}
    named = {key: value for key, value in named.items() if value is not None}
    given = named if arguments or len(named) > 1 else next(iter(named.values()), None)
    with about(given, "see `floatemu trace --help`"), progress_bar() as progress:
        found = run_trace(
            net=net,
            factory=factory,
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
