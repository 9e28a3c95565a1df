"""Advice as text: what ``floatemu advise`` prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..verdict import number, plural

__all__ = ["print_advice"]

WIDE = 120  # characters a terminal must have for all columns
_STYLE = {"better": "green", "worse": "red"}


def _number(value: Any) -> str:
    return value if isinstance(value, str) else number(float(value))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


_COLUMNS: tuple[tuple[str, Callable[[Mapping[str, Any]], str], bool], ...] = (
    # heading, content, and whether narrow terminals show it too
    ("bits\nkept", lambda effect: f"{effect['bits']:.1f}", True),
    ("relative\nerror", lambda effect: _number(effect["rel_error"]), True),
    ("with exact\ndecisions", lambda effect: _number(effect["pinned"]), False),
    ("norm\nratio", lambda effect: _number(effect["norm_ratio"]), False),
    ("\nzeros", lambda effect: _percent(effect["zero_fraction"]), True),
    ("out of\nrange", lambda effect: str(effect["range_events"]), True),
    ("flipped\ndecisions", lambda effect: str(effect["flips"]), False),
    ("lost\nupdates", lambda effect: _percent(effect["lost_updates"]), True),
)


def _gain(option: Mapping[str, Any], wide: bool) -> str:
    gained = option["bits_gained"]
    text = f"{gained['median']:+.1f}"
    return f"{text} [{gained['lo']:+.1f}, {gained['hi']:+.1f}]" if option["replays"] > 1 and wide else text


def _table(data: Mapping[str, Any], wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    shown = [(heading, show) for heading, show, narrow in _COLUMNS if narrow or wide]
    table.add_column("\nmitigation", no_wrap=True)
    for heading in ("bits\ngained", *(heading for heading, _ in shown)):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(Text("none", style="italic"), "", *(show(data["baseline"]) for _, show in shown))
    for option in data["options"]:
        style = _STYLE.get(option["verdict"], "")
        cells = (show(option["effect"]) for _, show in shown)
        table.add_row(Text(option["mitigation"], style=style), Text(_gain(option, wide), style=style), *cells)
    return table


def _watched(meta: Mapping[str, Any]) -> str:
    about = meta.get("watched")
    if not isinstance(about, dict):
        return ""
    made = {"nonfinite": ", the first that made an infinity or NaN", "first": ", the first one sampled"}
    return f"Step {about.get('step')} under watch{made.get(str(about.get('kind')), '')}"


def _constants(meta: Mapping[str, Any]) -> str:
    opaque = meta.get("opaque")
    if not isinstance(opaque, dict) or not opaque:
        return ""
    names = ", ".join(f"{name} ({count})" for name, count in opaque.items())
    return f"Operations that the tape holds as constants, so that no replay changes their results: {names}"


def print_advice(data: Mapping[str, Any], console: Console) -> None:
    """Print what :func:`analysis.advice.run_advise` returned.

    Parameters
    ----------
    data : mapping
    console : rich.console.Console
    """
    tape = data["tape"]
    about = f"{data['target']} of {tape['name']} ({tape['nodes']} nodes)"
    console.print(Text(f"{about} in {data['policy']}, against {data['reference']}"))
    if watched := _watched(tape["meta"]):
        console.print(Text(watched))
    for text in data["diagnosis"][:3]:
        console.print(Text(f"• {text}"))
    console.print()
    console.print(_table(data, console.width >= WIDE))
    console.print()
    if constants := _constants(tape["meta"]):
        console.print(Text(constants, style="yellow"))
    worth = [option for option in data["options"] if option["verdict"] == "better"]
    if not worth:
        console.print(Text("None of them makes this run clearly better."))
    for option in worth[:3]:
        console.print(Text.assemble((f"{option['title']}: ", "bold"), option["text"]))
    needs = plural(len(data["unmeasured"]), "mitigation")
    console.print(Text(f"{needs} cannot be replayed on a recorded run; `floatemu lab` measures them.", style="dim"))
