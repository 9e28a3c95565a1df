"""A validation as files: the JSON object, and one self-contained page without a script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from .report.markup import Column, cell, escape, page_of, table, wide
from .terminal import plain, version
from .validate import headline, remarks, summary

__all__ = ["FILES", "save_validation", "validation_page"]

FILES = "validation.json", "validation.html"
STATUSES = {"pass": "", "known": "mild", "fail": "fatal", "skipped": ""}
"""Each status, and the class of its mark."""
FACTS = {
    "device": "device", "sm": "compute capability", "driver": "driver", "cuda": "CUDA", "torch": "torch",
    "cpu": "processor",
}  # fmt: skip
COLUMNS = (
    Column("test", "its id in the JSON object"),
    Column("unit", "row of the table of matrix units"),
    Column("formats", "by operand; d is the result"),
    Column("compared", "results", numeric=True),
    Column("unlike", "results whose bits are not those recorded", numeric=True),
    Column("result"),
)


def save_validation(result: Mapping[str, Any], folder: Path) -> None:
    """Write what ``floatemu validate --json`` prints, and the same as a page.

    Parameters
    ----------
    result : mapping
        The whole object, head included.
    folder : Path
        Where ``FILES`` go; exists.

    Raises
    ------
    OSError
        If a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from analysis.validate import run_validation
    >>> from floatemu.matrix.conformance import check_vectors
    >>> with tempfile.TemporaryDirectory() as place:
    ...     save_validation({"ok": False, **check_vectors(()).as_dict()}, Path(place))
    ...     sorted(file.name for file in Path(place).iterdir())
    ['validation.html', 'validation.json']
    """
    data, page = FILES
    text = json.dumps(plain(result), indent=1, allow_nan=False)
    (folder / data).write_text(text + "\n", encoding="utf-8")
    (folder / page).write_text(validation_page(result), encoding="utf-8")


def validation_page(result: Mapping[str, Any]) -> str:
    """Return a validation as a page.

    Parameters
    ----------
    result : mapping
        From :func:`~analysis.validate.run_validation`.

    Returns
    -------
    str

    Examples
    --------
    >>> from floatemu.matrix.conformance import check_vectors
    >>> "<h1>Published results of &lt;GPU&gt;</h1>" in validation_page(
    ...     {"ok": False, **check_vectors(()).as_dict(), "subject": check_vectors(()).subject | {"device": "<GPU>"}}
    ... )
    True
    """
    style = (resources.files("analysis.report") / "assets" / "report.css").read_text(encoding="utf-8")
    title = headline(result, facts=False)
    tests = result["tests"]
    sources = "; ".join(dict.fromkeys(test["source"] for test in tests if test["source"]))
    deviations = "\n".join(_deviations(tests))
    body = f"""<header>
<h1>{escape(title)}</h1>
<p class="soft">bit for bit; floatemu {escape(version())}</p>
</header>
<main>
{_verdict(result)}
{_facts(result["subject"])}
{deviations}
<h3>All tests</h3>
<div class="tall" tabindex="0">{table(COLUMNS, map(_row, tests), f"{len(tests)} tests")}</div>
</main>
<footer>Recorded: {escape(sources) or "nothing"}. Computed: this installation of floatemu. <i>known</i>: a documented
cause, computed for every input of the test, gives every recorded bit; <i>fail</i>: none does.</footer>
"""
    return page_of(title, style, body)


def _verdict(result: Mapping[str, Any]) -> str:
    totals = result["totals"]
    if result["ok"]:
        lead = "Every result is equal" if not totals["known"] else "Every deviation has a known cause"
    else:
        lead = "Results deviate, and nothing explains them" if totals["fail"] else "Nothing was compared"
    tiles = "".join(f'<div class="tile"><b>{totals[key]}</b><span>{key}</span></div>' for key in STATUSES)
    mark = "" if result["ok"] else " lost"
    return (
        f'<div class="verdict{mark}"><p class="lead">{lead}</p><p>{escape(summary(result))}.</p></div>\n'
        f'<div class="tiles">{tiles}</div>'
    )


def _facts(subject: Mapping[str, Any]) -> str:
    rows = [(escape(name), escape(subject[key])) for key, name in FACTS.items() if subject[key]]
    return table((Column("what"), Column("which")), rows, "What was compared", kind="facts")


def _status(status: str) -> str:
    return f'<span class="kind {STATUSES[status]}">{escape(status)}</span>'


def _row(test: Mapping[str, Any]) -> tuple[str, ...]:
    formats = ", ".join(f"{operand}: {name}" for operand, name in test["formats"].items())
    unlike = test["n"] - test["equal"]
    return (
        escape(test["id"]), cell(test["unit"]), cell(formats), str(test["n"]), str(unlike), _status(test["status"]),
    )  # fmt: skip


def _deviations(tests: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is not simply equal, the unexplained first; tests with one remark in common are one row."""
    for status, title in (("fail", "Unexplained"), ("known", "Explained"), ("skipped", "Not compared")):
        found = [test for test in tests if test["status"] == status]
        if found:
            columns = (
                Column("test"),
                Column("unlike", "results whose bits differ", numeric=True),
                Column("what was found"),
            )
            rows = [
                (
                    escape(test["id"]),
                    f"{test['n'] - test['equal']} of {test['n']}",
                    "<br>".join(map(escape, remarks(test))),
                )
                for test in found
            ]
            yield f"<h3>{title}</h3>\n{wide(table(columns, rows, f'{len(found)} tests', kind='events'))}"
