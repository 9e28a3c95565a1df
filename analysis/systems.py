"""Behind ``floatemu diff``: on which numbers two systems disagree, and the list of systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import floatemu as fe

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["list_systems", "print_difference", "print_systems", "run_diff"]


def run_diff(a: str, b: str, fmt: str, source: str, examples: int = 3, seed: int = 0) -> dict[str, Any]:
    """Compare two systems, and return what ``floatemu diff --json`` prints.

    Parameters
    ----------
    a, b, fmt, source, examples, seed
        As for :func:`floatemu.diff`.

    Returns
    -------
    dict
        ``ok`` (whether they agree), ``a``, ``b``, ``format``, ``source``, ``exhaustive``, ``compared``, ``differ``,
        ``causes``, ``presets`` (empty).

    Raises
    ------
    floatemu.UnsupportedError
        If there is no such system or cast.

    Examples
    --------
    >>> found = run_diff("torch", "torch_2.12", "e4m3fn", "float16", examples=1)
    >>> found["ok"], [(cause["name"], cause["count"]) for cause in found["causes"]]
    (False, [('infinity', 2), ('overflow', 14718)])
    """
    found = fe.diff(a, b, fmt, source, examples=examples, seed=seed)
    return {"ok": found.differ == 0, **found.as_dict(), "presets": []}


def list_systems() -> dict[str, Any]:
    """Return the systems that are known, as ``floatemu diff --list --json`` prints them.

    Returns
    -------
    dict
        The keys of :func:`run_diff`, with nothing compared, and ``presets``: name, title, evidence, source, targets.

    Examples
    --------
    >>> list_systems()["presets"][0]["name"]
    'exact'
    """
    keys = ("name", "title", "evidence", "source", "targets")
    rows = [{key: getattr(preset, key) for key in keys} for preset in fe.presets.PRESETS.values()]
    nothing = {"a": None, "b": None, "format": None, "source": None, "exhaustive": False}
    return {"ok": True, **nothing, "compared": 0, "differ": 0, "causes": [], "presets": rows}


def print_systems(result: Mapping[str, Any], console: Console) -> None:
    """Print what :func:`list_systems` found.

    Parameters
    ----------
    result : mapping
    console : rich.console.Console
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("casts into", overflow="fold")
    table.add_column("system, and evidence", overflow="fold")
    for preset in result["presets"]:
        whole = len(preset["targets"]) > 12
        targets = "every format" if whole else " ".join(preset["targets"])
        table.add_row(preset["name"], targets, escape(f"{preset['title']} ({preset['evidence']})"))
    console.print(table)
    console.print("\nlive:NAME asks a library that is installed: live:torch, live:ml_dtypes, live:jax ...")


def print_difference(result: Mapping[str, Any], console: Console) -> None:
    """Print what :func:`run_diff` found.

    Parameters
    ----------
    result : mapping
    console : rich.console.Console
    """
    from rich.markup import escape
    from rich.table import Table

    kind = "numbers (all there are)" if result["exhaustive"] else "probes around every value and tie"
    console.print(f"[bold]{escape(result['a'])} and {escape(result['b'])}, casts into {result['format']}[/bold]")
    console.print(f"{result['compared']} {result['source']} {kind}: {result['differ']} results differ")
    for name in (result["a"], result["b"]):
        if name in fe.presets.PRESETS:
            preset = fe.presets.PRESETS[name]
            does = preset.rule(result["source"], result["format"]).describe(result["source"])
            console.print(escape(f"{name}: {preset.title} ({preset.evidence}); {does}"))
    for cause in result["causes"]:
        console.print(f"\n[bold]{cause['count']} {cause['name']}[/bold]: {cause['meaning']}")
        table = Table(box=None, header_style="bold", pad_edge=False)
        for title, key in (("x", "x"), (escape(result["a"]), "a"), (escape(result["b"]), "b")):
            width = max((len(shown[key] or "") for shown in cause["examples"]), default=0)
            table.add_column(title, justify="right", overflow="fold")
            table.add_column("", no_wrap=True, min_width=width)  # codes are whole, however narrow the page
        for shown in cause["examples"]:
            cells = (repr(shown["x_value"]), shown["x"], repr(shown["a_value"]), shown["a"] or "")
            table.add_row(*cells, repr(shown["b_value"]), shown["b"] or "")
        console.print(table)
