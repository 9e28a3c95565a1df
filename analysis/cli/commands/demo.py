"""``floatemu demo``: a gradient that gets lost, and why."""

from __future__ import annotations

import click

from ...terminal import progress_bar
from ..making import SEED, Answer, announce, command, formats_option
from ..options import Number, Whole


@command("demo")
@click.option("--start", type=Number(), default=1e5, show_default=True, help="First gradient of the chain.")
@click.option("--multiplier", type=Number(), default=0.25, show_default=True, help="Factor of every step.")
@click.option("--steps", type=Whole(1, 10_000), default=10, show_default=True, help="Number of factors.")
@formats_option(help="Format to show; repeat for more. Default: six, from binary64 to e4m3fn.")
@click.option("--quick", is_flag=True, help="The chain only, without the network.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the network.")
def demo(start: float, multiplier: float, steps: int, formats: tuple[str, ...], quick: bool, seed: int) -> Answer:
    """Watch a gradient get lost in narrow formats.

    The chain g <- g * m, then the same chain starting in range, then a small network's first-layer gradient."""
    announce(formats, replayed=True)
    from ...demo import run_demo
    from ...report.table import print_demo

    with progress_bar() as progress:
        chosen = list(formats) or None
        return run_demo(start, multiplier, steps, chosen, quick, seed, progress=progress), print_demo
