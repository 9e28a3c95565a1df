"""``floatemu formats``: the table of formats, one of them, or a picture of some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..making import Answer, about, announce, command
from ..options import Word


@command("formats")
@click.argument("names", nargs=-1, type=Word(), metavar="[NAME]...")
@click.option("--plot", type=Word(), metavar="FILE", default=None, help="Draw the formats into a .png or .svg file.")
def formats(names: tuple[str, ...], plot: str | None) -> Answer:
    """List the formats, show one's landmarks, or draw some.

    The picture shows values, how many there are in a binade, and their relative spacing over one axis of magnitudes;
    without names: bfloat16, binary16, e5m2, e4m3fn, e2m1fn."""
    import floatemu as fe

    from ... import landmarks

    chosen = [landmarks.find(name) for name in names]
    announce(names)
    files = []
    if plot is not None:
        with about(plot, "floatemu formats --plot formats.svg e4m3fn e5m2"):
            from ...report.formats_figure import DEFAULT
            from ...report.plots import plot_formats

            chosen = chosen or [fe.get_format(name) for name in DEFAULT]
            plot_formats(chosen, Path(plot))
        files.append(plot)
    found = chosen or list(fe.FORMATS.values())
    facts = [landmarks.landmarks(fmt) for fmt in found]

    def page(result: dict[str, Any], out: Any) -> None:
        if len(found) == 1:
            landmarks.print_landmarks(facts[0], out)
        else:
            landmarks.print_table(found, out)
        if plot is not None:
            out.print(f"\nThe picture is in {plot}.", markup=False)

    payload: dict[str, Any] = {"formats": facts, "files": files}
    return payload if chosen else payload | {"blocks": landmarks.block_formats()}, page
