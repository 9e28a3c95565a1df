"""Behind ``floatemu validate``: what devices gave, against what this installation computes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from floatemu.errors import FileError

from .terminal import Progress

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["headline", "markdown", "print_validation", "remarks", "run_validation", "summary"]

LISTED = 40
"""Tests up to this number are listed one by one, more are summed up; what is not equal is always listed."""
SHOWN = 8
"""Operands of a difference that are written out."""
LARGEST = 2**24
"""Bytes of a report that is read."""
TITLES = ("test", "unit", "compared", "equal", "result")


def run_validation(
    capture: str | None = None,
    vectors: str | None = None,
    chunks: int | None = None,
    progress: Progress | None = None,
    torch: str | None = None,
) -> dict[str, Any]:
    """Compare, and return what ``floatemu validate --json`` prints.

    Parameters
    ----------
    capture : str, optional
        Folder of a capture to replay, or file of a report on torch: what ``validate --torch --out`` wrote, which
        is compared again by its hashes.
    vectors : str, optional
        Folder of published results. Without this, ``capture`` and ``torch``, the installation itself is checked.
    chunks : int, optional
        Chunks of 2^20 inputs that are computed for each conversion of a capture; None: the default of
        :func:`floatemu.matrix.replay.check_capture`.
    progress : callable, optional
        Called with (done, total, text).
    torch : str, optional
        Device on which the installed torch is compared.

    Returns
    -------
    dict
        ``ok``, ``subject``, ``tests``, ``totals``.

    Raises
    ------
    floatemu.UnsupportedError
        If the folder holds no published results, or damaged ones; if torch is not installed or has no such device.
    floatemu.matrix.capture.CaptureError
        If there is no capture, or a damaged one.
    floatemu.FileError
        If the report is too large, or no JSON.

    Examples
    --------
    >>> run_validation(vectors="no-such-folder")
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: no published vectors in 'no-such-folder'; accepted: ...
    """
    if torch is not None:
        from floatemu.interop.torch.check import check_torch

        found = check_torch(torch, progress)
    elif vectors is not None:
        from floatemu.matrix.conformance import check_vectors
        from floatemu.matrix.vectors import read_vectors

        found = check_vectors(read_vectors(vectors), progress)
    elif capture is not None and Path(capture).is_file() and Path(capture).name != "capture.json":
        from floatemu.interop.torch.check import replay_torch

        found = replay_torch(_report(Path(capture)))
    elif capture is not None:
        from floatemu.matrix.capture import read_capture
        from floatemu.matrix.replay import CHUNKS, check_capture

        found = check_capture(read_capture(capture), progress, CHUNKS if chunks is None else chunks)
    else:
        from floatemu.matrix.self_check import check_self

        found = check_self(progress)
    return {"ok": found.ok, **found.as_dict()}


def _report(path: Path) -> Any:
    """The JSON object in a file."""
    if path.stat().st_size > LARGEST:
        raise FileError(f"{path}: holds {path.stat().st_size} bytes; a report has at most {LARGEST}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise FileError(f"{path}: this is no JSON file: {str(error)[:80]}") from None


def _group(test: Mapping[str, Any]) -> str:
    if test["unit"] is not None:
        return ".".join(test["unit"].split(".")[:2])
    return str(test["id"]).split("/")[0] if test["op"] in ("decode", "round") else str(test["op"])


def _rows(tests: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Cells of the table: every test, or, if there are many, one line for those of an instruction."""
    if len(tests) <= LISTED:
        for test in tests:
            yield test["id"], test["unit"] or "", str(test["n"]), str(test["equal"]), test["status"]
        return
    groups: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for test in tests:
        groups[_group(test)].append(test)
    for name, members in groups.items():
        units = {test["unit"] for test in members if test["unit"]}
        counts = Counter(test["status"] for test in members)
        status = ", ".join(f"{counts[key]} {key}" for key in ("pass", "known", "fail", "skipped") if counts[key])
        n, equal = (str(sum(test[key] for test in members)) for key in ("n", "equal"))
        yield name, f"{len(units)} units" if units else "", n, equal, status


def _operands(inputs: Mapping[str, Any]) -> str:
    parts = []
    for name, codes in inputs.items():
        if isinstance(codes, list):
            more = f", … {len(codes)} in all" if len(codes) > SHOWN else ""
            parts.append(f"{name} = [{', '.join(codes[:SHOWN])}{more}]")
        else:
            parts.append(f"{name} = {codes}")
    return "; ".join(parts)


def remarks(test: Mapping[str, Any]) -> Iterator[str]:
    """Yield what there is to say of a test that is not simply equal.

    Parameters
    ----------
    test : mapping

    Yields
    ------
    str

    Examples
    --------
    >>> list(remarks({"cause": "a double rounding", "reason": None, "first": None}))
    ['cause: a double rounding']
    """
    if test["cause"]:
        yield f"cause: {test['cause']}"
    if test["reason"]:
        yield str(test["reason"])
    first = test["first"]
    if first is not None:
        values = [first["expected_value"], first["actual_value"]]
        want, got = (code if value is None else f"{code} = {value!r}" for code, value in zip(_codes(first), values))
        yield f"first at {list(first['index'])}: recorded {want}, computed {got}"
        yield _operands(first["inputs"])


def _codes(first: Mapping[str, Any]) -> tuple[str, str]:
    return first["expected"], first["actual"]


def headline(result: Mapping[str, Any], facts: bool = True) -> str:
    """Return what was compared with what.

    Parameters
    ----------
    result : mapping
    facts : bool
        Whether to name versions.

    Returns
    -------
    str

    Examples
    --------
    >>> from floatemu.matrix.conformance import subject
    >>> headline({"subject": subject("torch", device="cpu", torch="2.13.0")})
    'This installation against torch on cpu (torch 2.13.0)'
    """
    about = result["subject"]
    known = [f"{name} {about[name]}" for name in ("sm", "driver", "cuda", "torch", "cpu") if about[name]]
    what = {
        "self": "This installation against what the package carries",
        "vectors": f"Published results of {about['device']}",
        "torch": f"This installation against torch on {about['device']}",
        "capture": f"Capture of {about['device'] or 'an unnamed device'}",
    }[about["kind"]]
    return f"{what} ({', '.join(known)})" if facts and known else what


def summary(result: Mapping[str, Any]) -> str:
    """Return how much was compared, and what came out, in numbers.

    Parameters
    ----------
    result : mapping

    Returns
    -------
    str

    Examples
    --------
    >>> from floatemu.matrix.conformance import check_vectors
    >>> summary(check_vectors(()).as_dict())
    '0 results compared in 0 tests: nothing to compare'
    """
    totals = result["totals"]
    counts = ", ".join(f"{totals[name]} {name}" for name in ("pass", "known", "fail", "skipped") if totals[name])
    return f"{totals['compared']} results compared in {len(result['tests'])} tests: {counts or 'nothing to compare'}"


def print_validation(result: Mapping[str, Any], console: Console) -> None:
    """Print what :func:`run_validation` found.

    Parameters
    ----------
    result : mapping
    console : rich.console.Console
    """
    from rich.markup import escape
    from rich.table import Table

    console.print(f"[bold]{escape(headline(result))}[/bold]")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in TITLES:
        table.add_column(title, justify="right" if title in ("compared", "equal") else "left", overflow="fold")
    for row in _rows(result["tests"]):
        table.add_row(*map(escape, row))
    console.print(table)
    for test in result["tests"]:
        if test["status"] != "pass":
            console.print()
            console.print(f"[bold]{test['status']}[/bold] {escape(test['id'])}: {test['equal']} of {test['n']} equal")
            for remark in remarks(test):
                console.print(f"  {escape(remark)}")
    console.print()
    console.print(escape(summary(result)))


def markdown(result: Mapping[str, Any]) -> str:
    """Return what :func:`print_validation` prints as a page of Markdown.

    Parameters
    ----------
    result : mapping

    Returns
    -------
    str

    Examples
    --------
    >>> from floatemu.matrix.conformance import check_vectors
    >>> print(markdown(check_vectors(()).as_dict()).splitlines()[2])
    0 results compared in 0 tests: nothing to compare.
    """
    lines = [f"# {headline(result)}", "", f"{summary(result)}.", ""]
    lines += [f"| {' | '.join(TITLES)} |", f"|{'---|' * len(TITLES)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in _rows(result["tests"])]
    for test in result["tests"]:
        if test["status"] != "pass":
            lines += ["", f"## {test['status']}: {test['id']}", "", *(f"- {remark}" for remark in remarks(test))]
    sources = dict.fromkeys(test["source"] for test in result["tests"])
    return "\n".join([*lines, "", f"Source: {'; '.join(sources)}.", ""])
