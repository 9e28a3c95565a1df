"""Results as text: what ``floatemu demo`` and ``floatemu trace`` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..verdict import value

__all__ = ["print_demo", "print_trace"]

WORST = 6
MEDIUM = 100  # characters a terminal must have for bits, starts as stored and the formats of nodes
WIDE = 130  # characters a terminal must have for the full table of nodes
_COMMON = {"binary64": "float64", "binary32": "float32", "binary16": "float16", "e4m3fn": "OCP's E4M3"}
_COLUMNS = (
    # heading, key, and whether narrow terminals show it too
    ("share", "contribution", True),
    ("local", "local_error", True),
    ("inherited", "inherited_error", False),
    ("error", "error", True),
    ("ulp", "ulp_max", False),
    ("condition", "condition", False),
    ("amax", "amax", False),
    ("zeros", "zeros_new", True),
)


def _number(value: Any, digits: int = 4) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):  # "inf", "-inf", "nan"
        return "NaN" if value == "nan" else value
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.{digits}g}"


def _shortest(value: Any) -> str:
    """Return a number in the shortest form that reads back as the same binary64 number."""
    if isinstance(value, str) or (value == int(value) and abs(value) < 1e6):
        return _number(value)
    return repr(float(value)).removesuffix(".0")


def _grid(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))
    console.print()


def _chain(console: Console, runs: Sequence[Mapping[str, Any]], sentences: bool) -> None:
    medium = console.width >= MEDIUM
    columns = ("format", "stored", "result", "bits", "first loss", "rounded")
    shown = [column for column in columns if medium or column not in ("stored", "bits")]
    table = _grid(*shown, right=("stored", "result", "rounded"))
    for run in runs:
        loss = run["first_loss"]
        where = "none"
        if loss["step"] is not None:
            where = f"{loss['cause']}, {'cast' if loss['step'] == 0 else 'step ' + str(loss['step'])}"
        # Text, never markup: names come from the user
        cells = {
            "format": Text(run["label"]),
            "stored": Text(value(float(run["values"][0]))),
            "result": Text(_shortest(run["result"]), style="" if run["is_exact"] else "red"),
            "bits": Text(run["bits"]),
            "first loss": Text(where),
            "rounded": Text(f"{run['rounded_multiplications']} of {len(run['values']) - 1}"),
        }
        table.add_row(*(cells[column] for column in shown))
    console.print(table)
    if sentences:
        console.print()
        for run in runs:
            console.print(Text(f"• {run['sentence']}"))


def print_demo(result: Mapping[str, Any], console: Console) -> None:
    """Print what :func:`analysis.demo.run_demo` returned.

    Parameters
    ----------
    result : mapping
    console : rich.console.Console

    Examples
    --------
    >>> import io
    >>> from analysis.demo import run_demo
    >>> page = Console(file=io.StringIO(), width=300)
    >>> print_demo(run_demo(quick=True, formats=["float16"]), page)
    >>> "range was lost, not precision" in page.file.getvalue()
    True
    """
    chain, shown = result["chain"], [run["format"] for run in result["runs"]]
    factor, steps = _shortest(chain["multiplier"]), chain["steps"]
    times = "time" if steps == 1 else "times"
    _heading(console, f"1. A gradient of {_shortest(chain['start'])}, multiplied by {factor}, {steps} {times}")
    console.print(Text(f"Exact result: {result['runs'][0]['exact_text']}"))
    if known := [f"{name} is {alias}" for name, alias in _COMMON.items() if name in shown]:
        console.print(Text(f"({', '.join(known)})", style="dim"))
    console.print()
    _chain(console, result["runs"], sentences=True)
    start = _shortest(result["in_range_start"])
    _heading(console, f"2. The same factor, starting at {start}, in range of every format")
    _chain(console, result["in_range"], sentences=True)
    if result["statements"]:
        _heading(console, "What the two together say")
        for statement in result["statements"]:
            console.print(Text(f"• {statement}"))
    if result["mlp"] is not None:
        _network(console, result["mlp"])


def _network(console: Console, mlp: Mapping[str, Any]) -> None:
    net = mlp["net"]
    sizes = "-".join(map(str, net["sizes"]))
    title = f"3. A real backward pass: {mlp['target']} of a {sizes} {net['activation']} network, {mlp['batch']} digits"
    _heading(console, title)
    kind, bits = mlp["reference"]["kind"], mlp["reference"]["bits"]
    console.print(Text(f"{mlp['nodes']} operations, forward and backward; reference: {kind} at {bits} bits"))
    console.print()
    columns = ("format", "rel. error", "bits kept", "norm ratio", "zeros", "pinned", "most harm by")
    narrow = ("format", "rel. error", "pinned", "most harm by")
    shown = columns if console.width >= MEDIUM else narrow
    table = _grid(*shown, right=columns[1:-1])
    for run in mlp["runs"]:
        worst, bits_kept, zeros = run["worst"], run["bits"], run["zero_fraction"]
        by = "-" if worst is None else f"%{worst['node']} {worst['op']} ({worst['path']}, {worst['direction']})"
        cells = {
            "format": run["label"],
            "rel. error": _number(run["rel_error"], 3),
            "bits kept": bits_kept if isinstance(bits_kept, str) else f"{bits_kept:.1f}",
            "norm ratio": _number(run["norm_ratio"], 4),
            "zeros": zeros if isinstance(zeros, str) else f"{100 * zeros:.1f} %",
            "pinned": _number(run["pinned_rel_error"], 3),
            "most harm by": by,
        }
        table.add_row(*(Text(cells[column]) for column in shown))
    console.print(table)
    zeros = f"zeros: the exact gradient has {100 * mlp['exact_zero_fraction']:.1f} %"
    pinned = "pinned: relative error when every comparison falls as in the exact run"
    console.print(Text(f"{zeros}; {pinned}", style="dim"))
    console.print()
    for run in mlp["runs"]:
        console.print(Text(f"• {run['sentence']}"))


def _worst(nodes: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    def harm(node: Mapping[str, Any]) -> float:
        value = node["contribution"] if node["contribution"] is not None else node["local_error"]
        return float("inf") if isinstance(value, str) else abs(float(value or 0.0))

    return [node for node in sorted(nodes, key=harm, reverse=True) if harm(node) > 0][:count]


def print_trace(result: Mapping[str, Any], console: Console) -> None:
    """Print what :func:`analysis.traced.run_trace` returned: the verdict and the worst nodes of each policy.

    Parameters
    ----------
    result : mapping
    console : rich.console.Console

    Examples
    --------
    >>> import io
    >>> from analysis.traced import run_trace
    >>> page = Console(file=io.StringIO(), width=120)
    >>> print_trace(run_trace(net="chain", formats=["bf16"]), page)
    >>> "result keeps 9.3 bits in bfloat16" in page.file.getvalue()
    True
    """
    net, reference = result["net"], result["reference"]
    statement = reference.get("statement", "unchecked")
    words = "the same at half the precision" if reference.get("stable_under_doubling") else statement
    console.print(Text(f"{net['name']}: reference {reference['kind']} at {reference['bits']} bits, {words}"))
    if reference.get("note"):
        console.print(Text(reference["note"]))
    columns = [column for column in _COLUMNS if column[2] or console.width >= WIDE]
    right = (*(heading for heading, _, _ in columns), "beyond")
    middle = ("format",) if console.width >= MEDIUM else ()
    for run in result["runs"]:
        _heading(console, f"{run['policy']}: {run['target']['name']}")
        console.print(Text(run["verdict"]))
        worst = _worst(run["nodes"], WORST)
        if not worst:
            continue
        console.print()
        table = _grid("worst nodes", *middle, *right, right=right)
        for node in worst:
            table.add_row(
                Text(f"%{node['id']} {node['op']} ({node['path']}, {node['direction']})"),
                *(Text(node["format"]) for _ in middle),
                *(_number(node[key], 2) for _, key, _ in columns),
                str(node["beyond"]),
            )
        console.print(table)
        caption = (
            "errors relative to exact norms; share: what the node's own error contributes to the target's; "
            "zeros: flushed here; beyond: overflowed or saturated here"
        )
        console.print(Text(caption, style="dim"))
    for note in result.get("notes", ()):
        console.print(Text(note, style="yellow"))
    if result["files"]:
        console.print()
        console.print(Text(f"files in {result['out']}: {', '.join(result['files'])}"))
