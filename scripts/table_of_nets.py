"""The tables of nets and operations in docs/nets.md, from the code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analysis import nets
from analysis.ops.spec import TABLE


def _summary(function: Callable[..., Any]) -> str:
    text = (function.__doc__ or "").split("\n")[0]
    return text.removeprefix("Record ").rstrip(".").replace("``", "`")


def nets_table() -> str:
    """Return the table of nets with their arguments and defaults in Markdown."""
    lines = ["| net | what it is | arguments and defaults |", "|---|---|---|"]
    for name, function in nets.NETS.items():
        lines.append(f"| `{name}` | {_summary(function)} | `{nets.describe(name).removeprefix(f'{name}: ')}` |")
    return "\n".join(lines)


def operations_table() -> str:
    """Return the table of operations in Markdown: by what they do to numbers, and whether they have a derivative."""
    lines = ["| does | operations with a derivative | without |", "|---|---|---|"]
    meanings = {
        "compute": "makes new numbers, which a policy rounds",
        "move": "moves or selects numbers: exact in every format",
        "branch": "decides: what a pinned replay takes over",
    }
    for kind, meaning in meanings.items():
        names = sorted(name for name, spec in TABLE.items() if spec.kind.value == kind)
        with_rule = [f"`{name}`" for name in names if TABLE[name].vjps and not TABLE[name].stops]
        without = [f"`{name}`" for name in names if f"`{name}`" not in with_rule]
        lines.append(f"| {meaning} | {' '.join(with_rule)} | {' '.join(without)} |")
    return "\n".join(lines)
