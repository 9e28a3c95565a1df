"""``floatemu validate``: does what is installed, or was captured, give the bits that it should."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

from ...terminal import BadInput, head, progress_bar, writable_folder
from ..making import Answer, about, command
from ..options import Whole, Word


@command("validate")
@click.argument("capture", required=False, type=Word())
@click.option("--self", "own", is_flag=True, help="Check this installation against what the package carries.")
@click.option("--torch", "library", is_flag=True, help="Compare with the torch that is installed.")
@click.option("--device", type=Word(), default=None, help="For --torch, as torch names it.  [default: cpu]")
@click.option("--vectors", type=Word(), metavar="FOLDER", default=None, help="Published results of GPUs.")
@click.option("--chunks", type=Whole(1, 4096), default=None, help="For CAPTURE: chunks of each cast.  [default: 64]")
@click.option("--out", type=Word(), metavar="FOLDER", default=None, help="Folder for the report as JSON and HTML.")
def validate(
    capture: str | None,
    own: bool,
    library: bool,
    device: str | None,
    vectors: str | None,
    chunks: int | None,
    out: str | None,
) -> Answer:
    """Compare with what devices gave, bit for bit.

    CAPTURE is a folder that scripts/capture_gpu.py wrote on a machine with a GPU; it is replayed here, without one.
    Or it is the validation.json that --torch --out wrote anywhere, whose hashes are compared again.
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
    from ...validate import run_validation

    folder = None if out is None else writable_folder(Path(out))
    given, place = capture or vectors or device, (device or "cpu") if library else None
    with about(given, "see `floatemu validate --help`"), progress_bar() as progress:
        found = run_validation(capture, vectors, chunks, progress, place)
    files: list[str] = []
    if folder is not None:
        from ...validation_page import FILES, save_validation

        files = list(FILES)
        save_validation({**head("validate", ok=found["ok"]), **found, "files": files}, folder)
    return {**found, "files": files}, functools.partial(_page, folder)


def _page(folder: Path | None, result: dict[str, Any], out: Any) -> None:
    from rich.text import Text

    from ...validate import print_validation

    print_validation(result, out)
    if folder is not None:
        out.print(Text(f"files in {folder}: {', '.join(result['files'])}"))
