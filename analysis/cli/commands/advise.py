"""``floatemu advise``: which mitigations are worth trying on a recorded run."""

from __future__ import annotations

import click

from ...terminal import BadInput, progress_bar
from ..making import Answer, about, announce, command, formats_option
from ..options import OneOf, Word


@command("advise")
@click.argument("tape", type=Word())
@click.option("--policy", type=Word(), metavar="NAME", default=None, help="The arithmetic that gave trouble.")
@formats_option(help="The same, as the format of every node's output.")
@click.option(
    "--reference",
    type=OneOf(["float64", "mpmath", "ball", "auto"]),
    default="float64",
    show_default=True,
    help="What errors are measured against: float64, mpmath, ball, auto.",
)
@click.option("--target", type=Word(), default=None, help="Named result to judge, such as grad:W0.")
def advise(tape: str, policy: str | None, formats: tuple[str, ...], reference: str, target: str | None) -> Answer:
    """Find the mitigations worth trying on a recorded run.

    TAPE is a file that Tape.save wrote, or the folder of an.watch(..., out=FOLDER): its tape is that of the first step
    that made an infinity or NaN, else of the first step, and its policy the one that was watched, unless another is
    given. Each mitigation that a tape can be replayed with is measured on that very run, and the list is ordered by
    what it gained."""
    from ...watchlog import is_log

    names = [*formats, *([] if policy is None else [policy])]
    if len(names) > 1 or not (names or is_log(tape)):
        raise BadInput(
            "give the one arithmetic that gave trouble",
            given=" ".join(names) or None,
            accepted="--format NAME or --policy NAME",
            hint=f"floatemu advise {tape} --format fp16",
        )
    from ...advice import run_advise
    from ...report.advice_table import print_advice

    announce(formats, replayed=True)
    given = {"tape": tape, **({"policy": names[0]} if names else {}), **({} if target is None else {"target": target})}
    with about(given, "see `floatemu advise --help`"), progress_bar() as progress:
        return run_advise(tape, names[0] if names else None, reference, target, progress), print_advice
