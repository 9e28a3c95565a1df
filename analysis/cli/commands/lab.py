"""``floatemu lab``: what mitigations really do, measured."""

from __future__ import annotations

from pathlib import Path

import click

from ...terminal import BadInput, progress_bar, say, writable_folder
from ..making import Answer, about, command
from ..options import OneOf, Whole, Word

# Executors by name: written here too, so that --help imports none of them.
EXECUTORS = ("processes", "threads", "loky", "dask", "here")


@command("lab")
@click.argument("action", required=False, type=OneOf(["report"]), metavar="[report]")
@click.argument("folder", required=False, type=Word())
@click.option("--spec", type=Word(), metavar="FILE", default=None, help="Your own experiments, in YAML.")
@click.option("--seeds", type=Whole(1, 1000), default=None, help="Of the standard matrix.  [default: 3]")
@click.option("--out", type=Word(), metavar="FOLDER", default=None, help="Folder for the results.  [default: lab]")
@click.option(
    "--executor", type=OneOf(EXECUTORS), default="processes", show_default=True, help=f"One of {', '.join(EXECUTORS)}."
)
@click.option("--workers", type=Whole(1, 4096), default=None, help="Number of workers.  [default: one a core]")
@click.option("--scheduler", type=Word(), metavar="ADDRESS", default=None, help="Of a Dask cluster: tcp://host:8786.")
@click.option("--retry", is_flag=True, help="Compute cases again that failed before.")
def lab(
    action: str | None,
    folder: str | None,
    spec: str | None,
    seeds: int | None,
    out: str | None,
    executor: str,
    workers: int | None,
    scheduler: str | None,
    retry: bool,
) -> Answer:
    """Measure which mitigation cures which failure.

    Eight failures, each on its smallest net, with every mitigation that applies, over some seeds; or the experiments of
    --spec. What the folder holds already is not computed again: a run that was stopped goes on.

    `floatemu lab report FOLDER` makes a page, report.html, of the results in a folder.

    Exit status 1: a case failed; its traceback is among the results."""
    from ...report.lab_table import print_lab

    if action == "report":
        if folder is None or spec is not None or out is not None or seeds is not None:
            raise BadInput(
                "report takes a folder with results and nothing else",
                given=folder,
                accepted="floatemu lab report FOLDER",
                hint="floatemu lab report lab",
            )
        from ...report.lab_content import read_results
        from ...report.lab_page import save_lab_page

        with about(folder, "see `floatemu lab --help`"):
            content = read_results(folder)
            page = (Path(folder) if Path(folder).is_dir() else Path(folder).parent) / "report.html"
            save_lab_page(content, page)
        say(f"floatemu: wrote {page}")
        return {**content.data, "out": folder, "files": [str(page)]}, print_lab
    if spec is not None and seeds is not None:
        raise BadInput(
            "--seeds is for the standard matrix; the file of --spec has its own",
            given=f"--seeds {seeds}",
            accepted="--seeds N, or --spec FILE",
            hint="leave --seeds out",
        )
    if scheduler is not None and executor != "dask":
        raise BadInput(
            "--scheduler is for --executor dask",
            given=f"--executor {executor}",
            accepted="--executor dask --scheduler tcp://host:8786",
            hint="give --executor dask",
        )
    target = writable_folder(Path(out or "lab"))
    from ...lab.running import run_lab

    with about(spec or scheduler or out, "see `floatemu lab --help`"), progress_bar(left=True) as progress:
        found = run_lab(spec, seeds, str(target), executor, workers, scheduler, retry, progress)
    if found["counts"]["failed"]:
        say(f"floatemu: check failed: {found['counts']['failed']} cases raised; {target}/lab.json has the tracebacks")
    return found, print_lab
