"""The lab's matrix as text: what ``floatemu lab`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..verdict import number
from .lab_content import Cell, Results, results

__all__ = ["print_lab"]

NAMES = 20  # characters of the column of mitigations
COLUMN = 14  # and of each failure's
KEY = (
    "Medians over the seeds; less is better. ++ better, and the failure is gone; + better; = no difference that the "
    "seeds agree on; - worse; (in brackets: fewer than five seeds, an indication only); ! no result; blank: does not "
    "apply."
)
_STYLE = {"cured": "bold green", "better": "green", "worse": "red", "failed": "bold red"}


def _cell(found: Cell | None) -> Text:
    if found is None:
        return Text("")
    if not found.seeds:
        return Text("!", style=_STYLE["failed"])
    return Text(f"{found.short} {found.mark}", style=_STYLE.get(found.word, ""))


def _part(content: Results, names: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("mitigation", no_wrap=True)
    for name in names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    lines: dict[str, list[Text]] = {"none": []}
    for name in names:
        before = content.baseline(name)
        lines["none"].append(Text("" if before is None else number(before[0], 3)))
    for mitigation in content.mitigations:
        cells = [content.cells.get((name, mitigation)) for name in names]
        if any(cell is not None for cell in cells):
            lines[mitigation] = [_cell(cell) for cell in cells]
    for title, texts in lines.items():
        table.add_row(Text(title, style="italic" if title == "none" else ""), *texts)
    return table


def print_lab(data: Mapping[str, Any], console: Console) -> None:
    """Print what :func:`analysis.lab.running.run_lab` returned.

    Parameters
    ----------
    data : mapping
    console : rich.console.Console
    """
    content = results(dict(data))
    counts, seeds = data["counts"], data["seeds"]
    names = list(content.failures)
    fit = max(1, (console.width - NAMES) // COLUMN)
    for start in range(0, len(names), fit):
        if start:
            console.print()
        console.print(_part(content, names[start : start + fit]))
    console.print()
    console.print(Text(KEY, style="dim"))
    console.print()
    for name, failure in content.failures.items():
        best = content.best(name)
        helps = ", ".join(f"{cell.mitigation} ({cell.short})" for cell in best[:3]) or "nothing that was tried"
        about = f" ({failure['metric_text']}): helped most by {helps}."
        console.print(Text.assemble((failure["title"], "bold"), about))
    console.print()
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    before = f"{counts['resumed']} of them from before"
    console.print(Text(f"{counts['done']} cases{failed}, {before}; {len(seeds)} seeds. {data['out']}"))
