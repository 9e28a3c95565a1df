"""``floatemu identify``: how a matrix unit adds."""

from __future__ import annotations

import click

from ...terminal import BadInput, progress_bar
from ..making import Answer, about, command
from ..options import Whole, Word


@command("identify")
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
    from ...identify import print_identification, run_identify

    with about(capture or unit, "see `floatemu identify --help`"), progress_bar() as progress:
        return run_identify(capture, unit, test, products, progress), print_identification
