"""``floatemu diff``: on which numbers two systems disagree."""

from __future__ import annotations

import click

from ..making import SEED, Answer, about, announce, command
from ..options import Whole, Word


@command("diff")
@click.option("--a", type=Word(), metavar="SYSTEM", default="torch", show_default=True, help="One system.")
@click.option("--b", type=Word(), metavar="SYSTEM", default="ml_dtypes", show_default=True, help="The other.")
@click.option("--format", "fmt", type=Word(), metavar="NAME", default="e4m3fn", show_default=True, help="The target.")
@click.option(
    "--source",
    type=Word(),
    metavar="NAME",
    default="float32",
    show_default=True,
    help="Operands: float16 or bfloat16 (every number), float32, float64 or int64 (probes).",
)
@click.option("--examples", type=Whole(0, 1000), default=3, show_default=True, help="Shown for each cause, at most.")
@click.option("--list", "listed", is_flag=True, help="List the systems, and where what is known of them comes from.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of systems that round at random.")
def diff(a: str, b: str, fmt: str, source: str, examples: int, listed: bool, seed: int) -> Answer:
    """Show the numbers that two systems cast differently, by cause.

    SYSTEM is a preset (`floatemu diff --list`), or live: and the name of a library that is installed (live:torch).
    Exit status 1: they differ."""
    from ...systems import list_systems, print_difference, print_systems, run_diff

    if listed:
        return list_systems(), print_systems
    announce((fmt,))
    with about(f"--a {a} --b {b} --format {fmt} --source {source}", "see `floatemu diff --list`"):
        return run_diff(a, b, fmt, source, examples, seed), print_difference
