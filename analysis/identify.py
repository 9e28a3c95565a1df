"""Behind ``floatemu identify``: how a matrix unit adds, from what it answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .terminal import Progress

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_identification", "run_identify"]

LISTED = 6
"""Classes that are written out in full, and units that have one."""


def run_identify(
    capture: str | None = None,
    unit: str | None = None,
    test: str | None = None,
    k: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Identify, and return what ``floatemu identify --json`` prints.

    Parameters
    ----------
    capture : str, optional
        Folder of a capture.
    unit : str, optional
        Name of a row of the hardware table, whose answers are then all that is looked at.
    test : str, optional
        Which instruction of the capture.
    k : int, optional
        Products in every question to a unit.
    progress : callable, optional
        Called with (done, total, text).

    Returns
    -------
    dict
        ``ok``: whether exactly one class of arithmetics is left; ``subject``, ``formats``, ``classes``, ``probes`` ...

    Examples
    --------
    >>> found = run_identify(unit="turing.mma.int8.int8.int32.satfinite")
    >>> found["ok"], found["classes"][0]["parameters"]["depth"]
    (True, 32)
    """
    import floatemu as fe

    if unit is not None:
        row = next((row for row in fe.matrix.UNITS if row.name == unit), None)
        if row is None:
            near = [row.name for row in fe.matrix.UNITS if unit.lower() in row.name][:LISTED]
            names = ", ".join(near) or "names of rows, which docs/matrix.md lists"
            raise fe.UnsupportedError(f"no unit is named {unit!r}; accepted: {names}")
        found = fe.matrix.identify(
            fe.matrix.answering(row), a=row.a, b=row.b, output=row.output, scale=row.scale, block=row.block, k=k,
            progress=progress,
        )  # fmt: skip
        subject = {"kind": "unit", "name": row.name, "test": None}
    else:
        found = fe.matrix.identify(capture, test=test, progress=progress)
        subject = {"kind": "capture", "name": capture, "test": test}
    return {"ok": found.ok, "subject": subject, **found.to_dict()}


def _lines(found: Mapping[str, Any]) -> list[str]:
    """One class in words."""
    values = {name: value for name, value in found["parameters"].items() if name not in found["unseen"]}
    lines = [", ".join(f"{name} = {value}" for name, value in values.items() if value not in (None, []))]
    lines += [f"{name} cannot be seen: {why}" for name, why in found["unseen"].items()]
    if found["units"]:
        more = f" and {len(found['units']) - LISTED} more" if len(found["units"]) > LISTED else ""
        lines.append(f"the arithmetic of {', '.join(found['units'][:LISTED])}{more}")
    return lines


def print_identification(result: Mapping[str, Any], console: Console) -> None:
    """Print what :func:`run_identify` found.

    Parameters
    ----------
    result : mapping
    console : rich.console.Console
    """
    from rich.markup import escape
    from rich.table import Table

    subject, formats, classes = result["subject"], result["formats"], result["classes"]
    console.print(f"[bold]{escape(subject['name'])}[/bold]: {formats['a']} x {formats['b']} -> {formats['output']}")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("probe", "inputs", "rejected", "reading"):
        table.add_column(title, justify="right" if title in ("inputs", "rejected") else "left", overflow="fold")
    for probe in result["probes"]:
        row = probe["probe"], str(probe["inputs"]), str(probe["rejected"]), probe["reading"] or probe["feature"]
        table.add_row(*map(escape, row))
    console.print(table)
    console.print()
    left = f"{len(classes)} of {result['hypotheses']} hypotheses left" if classes else "Nothing that was tried fits"
    console.print(escape(f"{left}; {result['tried']} inputs were tried on what was left."))
    for found in classes[:LISTED]:
        for line in _lines(found):
            console.print(f"  {escape(line)}")
    if len(classes) > LISTED:
        console.print(f"  and {len(classes) - LISTED} more, which --json lists")
    separating = result["separating"]
    if separating is not None:
        predictions = ", ".join(dict.fromkeys(separating["predictions"]))
        console.print(escape(f"An input that separates them gives one of {predictions}; --json has its codes."))
