"""Parts of docs/mitigations.md, made from what scripts/keep_lab.py kept of the lab's results; used by make_docs.py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from analysis.mitigations import MITIGATIONS
from analysis.report.lab_content import Cell, Results, read_results
from analysis.verdict import number

KEPT = Path(__file__).resolve().parent.parent / "docs" / "lab"
Triple = tuple[float, float, float]


def kept(name: str) -> Results:
    """Return the results kept under a name."""
    return read_results(KEPT / f"{name}.json")


def span(given: Triple) -> str:
    """Return a median with its interval."""
    middle, low, high = given
    return number(middle) if low == high else f"{number(middle)} [{number(low)}, {number(high)}]"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def made_by(content: Results) -> str:
    """Return how the numbers above it can be made again."""
    seeds = len(content.data["seeds"])
    return f"`{content.data['reproduce']}`: medians of {seeds} seeds with 95 % bootstrap intervals."


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"


def effects(content: Results, title: str, failures: Sequence[str] | None = None) -> str:
    """Return a table: one line for each experiment and mitigation, with its verdict."""
    rows = []
    for name in failures or content.failures:
        cells = [cell for (failure, _), cell in content.cells.items() if failure == name]
        for index, cell in enumerate(cells):
            before = (name, span(cell.baseline)) if index == 0 else ("", "")
            rows.append([*before, f"`{cell.mitigation}`", span(cell.value), cell.label])
    return table([title, "without", "with", "", "verdict"], rows)


def told(cells: Sequence[Cell], total: str) -> str:
    """Return how often each verdict was given."""
    words = {word: sum(cell.word == word for cell in cells) for word in ("cured", "better", "unchanged", "worse")}
    return f"Of {len(cells)} {total}: " + ", ".join(f"{count} {word}" for word, count in words.items() if count)


def matrix() -> str:
    """Return the standard matrix: a line for each mitigation, a column for each failure."""
    content = kept("standard")
    before = [content.baseline(name) for name in content.failures]
    rows = [["none", *("" if one is None else number(one[0]) for one in before)]]
    for name in content.mitigations:
        cells = [content.cells.get((failure, name)) for failure in content.failures]
        rows.append([f"`{name}`", *("" if cell is None else f"{cell.short} {cell.mark}" for cell in cells)])
    return "\n\n".join([table(["mitigation", *content.failures], rows), made_by(content)])


def failures() -> str:
    """Return the failures: what they are, how they are measured, what helped most."""
    content = kept("standard")
    rows = []
    for name, told_of in content.failures.items():
        best = [f"`{cell.mitigation}` ({span(cell.value)})" for cell in content.best(name)[:4]]
        harm = [
            f"`{cell.mitigation}`" for cell in content.cells.values() if (cell.failure, cell.word) == (name, "worse")
        ]
        before = content.baseline(name)
        measured = f"{told_of['metric_text']}; gone at {number(float(told_of['healthy']))}"
        rows.append(
            [
                f"`{name}`: {told_of['title']}",
                measured,
                "" if before is None else span(before),
                listed(best),
                listed(harm),
            ]
        )
    titles = ["failure", "measured by", "without mitigation", "helped most", "made worse by"]
    return "\n\n".join([table(titles, rows), made_by(content)])


def mitigations() -> str:
    """Return every mitigation: what it can and cannot fix, its source, and what it did to each failure."""
    content = kept("standard")
    parts = []
    for name, one in MITIGATIONS.items():
        cells = [cell for (_, mitigation), cell in content.cells.items() if mitigation == name]
        labels = dict.fromkeys(cell.label for cell in cells if cell.word != "unchanged")
        groups = {label: [f"{c.failure} ({span(c.value)})" for c in cells if c.label == label] for label in labels}
        did = [f"{label}: {listed(group)}" for label, group in groups.items()]
        same = [cell.failure for cell in cells if cell.word == "unchanged"]
        if same:
            did.append(f"unchanged: {listed(same)}")
        found = "; ".join(did) if did else "applies to none of the eight failures"
        source = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", one.source)  # a reference in a docstring, as a reader knows it
        parts.append(f"### {one.title}\n\n{one.text}\n\nMeasured: {found}.\n\nSource: {source}")
    return "\n\n".join(parts)
