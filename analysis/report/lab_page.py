"""The lab's report: one self-contained page without any script. Matrix, loss curves, a section for each mitigation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ..lab.store import write_whole
from ..verdict import number, plural
from .lab_content import Cell, Results
from .lab_curves import curves, draw, losses
from .markup import Column, cell, escape, page_of, table, wide

__all__ = ["lab_page", "save_lab_page"]

LINES = ("first", "second", "third")
KEY = (
    "Each cell: what became of the failure, the median of its metric over the seeds, and the 95 % bootstrap interval "
    "of that median. Cured: the interval of the paired difference excludes 0, in the better direction, and the "
    "failure is gone. Better, worse: it excludes 0. Unchanged: it does not. A question mark: fewer than five seeds, "
    "an indication only. A dash: the mitigation does not apply."
)


def save_lab_page(content: Results, path: str | Path) -> None:
    """Write the page to a file.

    Parameters
    ----------
    content : Results
    path : path-like

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    write_whole(Path(path), lab_page(content))


def lab_page(content: Results) -> str:
    """Return the results of a lab as a page.

    Parameters
    ----------
    content : Results

    Returns
    -------
    str
        HTML without scripts: a browser is told to run none.
    """
    data, counts = content.data, content.data["counts"]
    style = "".join(
        (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")
        for name in ("report.css", "lab.css")
    )
    title = f"Mitigations: {data['name']}"
    about = (
        f"{plural(len(content.failures), 'failure')}, {plural(len(content.mitigations), 'mitigation')}, "
        f"{plural(len(data['seeds']), 'seed')}, {plural(len(data['cases']), 'case')}"
    )
    failed = f", {escape(counts.get('failed'))} failed" if counts.get("failed") else ""
    sections = "\n".join(_mitigation(content, name, index) for index, name in enumerate(content.mitigations))
    body = f"""<a class="skip" href="#matrix">Skip to the matrix</a>
<header>
<h1>{escape(title)}</h1>
<p class="soft">{escape(about)}{failed}; floatemu {escape(data.get("floatemu"))}</p>
<nav aria-label="sections"><a href="#matrix">Matrix</a><a href="#failures">Failures and loss curves</a>
<a href="#mitigations">Mitigations</a><a href="#run">How it was made</a></nav>
</header>
<main>
<section id="matrix"><h2>What cures what</h2>
{_matrix(content)}
<p class="soft">{escape(KEY)}</p></section>
<section id="failures"><h2>Failures</h2>
<div class="cards">{"".join(_failure(content, name) for name in content.failures)}</div></section>
<section id="mitigations"><h2>Mitigations</h2>
<ul class="toc">{"".join(_link(content, name, index) for index, name in enumerate(content.mitigations))}</ul>
{sections}</section>
<section id="run"><h2>How it was made</h2>
{_run(content)}</section>
</main>
<footer>Numbers are rounded for reading; lab.json holds them in full.</footer>
"""
    return page_of(title, style, body)


def _few(x: float, digits: int = 3) -> str:
    return number(x, digits).replace("-", "−")


def _span(given: tuple[float, float, float]) -> str:
    """Median and interval, the latter only where it says more."""
    middle, low, high = given
    return _few(middle) if low == high else f"{_few(middle)} <span>[{_few(low, 2)}, {_few(high, 2)}]</span>"


def _title(described: Mapping[str, Any]) -> str:
    text = str(described["title"])
    return text[:1].upper() + text[1:]


def _matrix(content: Results) -> str:
    columns = [Column("mitigation")]
    columns += [Column(_title(one), one["metric_text"]) for one in content.failures.values()]
    befores = [content.baseline(name) for name in content.failures]
    rows = [["none", *(cell(None) if one is None else f"<b>baseline</b> {_span(one)}" for one in befores)]]
    marks = [["", *("none" for _ in befores)]]
    for index, (name, described) in enumerate(content.mitigations.items()):
        found = [content.cells.get((failure, name)) for failure in content.failures]
        rows.append([f'<a href="#m{index}">{escape(_title(described))}</a>', *map(_text, found)])
        marks.append(["", *("none" if one is None else one.word for one in found)])
    caption = "The metric of each failure (columns; less is better) with each mitigation (rows)"
    return wide(table(columns, rows, caption, kind="matrix", marks=marks))


def _text(found: Cell | None) -> str:
    if found is None:
        return cell(None)
    return f"<b>{escape(found.label)}</b> " + (_span(found.value) if found.seeds else "")


def _failure(content: Results, name: str) -> str:
    failure = content.failures[name]
    best = content.best(name)
    runs = content.records(name, "")
    lines = curves(
        ("binary64", "reference", losses(runs, "reference")),
        ("no mitigation", "baseline", losses(runs)),
        *((one.mitigation, kind, losses(content.records(name, one.mitigation))) for one, kind in zip(best, LINES)),
    )
    drawn = draw(lines, "Training loss, median over the seeds: the three mitigations that helped most")
    helps = ", ".join(f"{one.mitigation} ({one.short})" for one in best[:5]) or "nothing that was tried"
    before = content.baseline(name)
    start = "" if before is None else f" Without any mitigation: {_span(before)}."
    return (
        f'<div class="card" id="f-{escape(name)}"><h4>{escape(_title(failure))}</h4><p>{escape(failure["text"])}</p>'
        f'<p class="soft">Metric: {escape(failure["metric_text"])}; less is better.{start}</p>'
        f"<p><b>Helps most:</b> {escape(helps)}.</p>{drawn}{_diagnosis(runs)}{_left_out(failure)}</div>"
    )


def _diagnosis(runs: list[Mapping[str, Any]]) -> str:
    text = next((run["diagnosis"] for run in runs if isinstance(run.get("diagnosis"), str)), None)
    return "" if text is None else f'<p class="soft">Diagnosed without mitigation: {escape(text)}</p>'


def _left_out(failure: Mapping[str, Any]) -> str:
    given = failure.get("left_out")
    if not isinstance(given, dict) or not given:
        return ""
    items = "".join(f"<li>{escape(name)}: {escape(reason)}" for name, reason in given.items())
    return f"<details><summary>{len(given)} mitigations do not apply</summary><ul>{items}</ul></details>"


def _link(content: Results, name: str, index: int) -> str:
    return f'<li><a href="#m{index}">{escape(_title(content.mitigations[name]))}</a>'


def _mitigation(content: Results, name: str, index: int) -> str:
    described = content.mitigations[name]
    columns = (
        Column("failure"),
        Column("verdict"),
        Column("without", "median and interval of the metric", numeric=True),
        Column("with", "median and interval of the metric", numeric=True),
        Column("paired difference", "with less without, by seed", numeric=True),
        Column("seeds", numeric=True),
        Column("metric"),
    )
    rows, drawn = [], []
    for failure, told in content.failures.items():
        found = content.cells.get((failure, name))
        if found is None:
            continue
        spans = [_span(part) if found.seeds else cell(None) for part in (found.baseline, found.value, found.difference)]
        title = f'<a href="#f-{escape(failure)}">{escape(_title(told))}</a>'
        rows.append([title, f"<b>{escape(found.label)}</b>", *spans, str(found.seeds), escape(told["metric_text"])])
        if found.word not in ("unchanged", "failed"):
            drawn.append(_pair(content, failure, name, f"{_title(told)}: {found.label}"))
    effects = wide(table(columns, rows, "What it does to each failure")) if rows else ""
    source = f'<p class="soft">Source: {escape(described["source"])}</p>' if described["source"] else ""
    title, text = escape(_title(described)), escape(described["text"])
    return (
        f'<section class="one" id="m{index}"><h3>{title}</h3>\n<p>{text}</p>{source}\n'
        f'{effects}\n<div class="cards">{"".join(drawn)}</div></section>'
    )


def _pair(content: Results, failure: str, mitigation: str, caption: str) -> str:
    before, after = content.records(failure, ""), content.records(failure, mitigation)
    lines = curves(
        ("binary64", "reference", losses(before, "reference")),
        ("without", "baseline", losses(before)),
        ("with", "first", losses(after)),
    )
    return draw(lines, caption)


def _run(content: Results) -> str:
    data = content.data
    facts = [
        ("command", data["reproduce"]),
        ("seeds", ", ".join(map(str, data["seeds"]))),
        ("specification (SHA-256)", data["spec_hash"]),
        ("source (SHA-256)", data["source_hash"]),
        ("cases", json.dumps(data["counts"])),
    ]
    listing = table((Column("what"), Column("value")), [[escape(a), escape(b)] for a, b in facts], "", kind="facts")
    broken = [case for case in data["cases"] if case.get("status") == "failed"]
    errors = "".join(
        f"<details><summary>{escape(case.get('failure'))}, {escape(case.get('mitigation') or 'no mitigation')}, seed "
        f"{escape(case.get('seed'))}</summary><pre>{escape(case.get('error'))}</pre></details>"
        for case in broken
    )
    return listing + (f"<h3>Cases that failed</h3>{errors}" if broken else "")
