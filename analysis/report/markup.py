"""Pieces of a page: escaped text, numbers, tables with bars in their cells."""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..verdict import number

__all__ = ["Column", "bar", "cell", "escape", "page_of", "plot", "script_json", "table", "wide"]

NONE = "–"


def escape(text: object) -> str:
    """Return text as HTML that shows just that text, in elements and in attributes.

    Examples
    --------
    >>> escape('</script><b title="x">')
    '&lt;/script&gt;&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(str(text), quote=True)


def page_of(title: str, style: str, body: str, *scripts: str) -> str:
    """Return a whole page that a browser lets do nothing but run these very scripts, whatever a name smuggles in.

    Parameters
    ----------
    title : str
        Plain text.
    style, body : str
        The style sheet; the markup between ``<body>`` and ``</body>``, escaped where it must be.
    *scripts : str
        Contents of the script elements that may run, or that such a script may add; without, none runs.

    Returns
    -------
    str

    Examples
    --------
    >>> page = page_of("1 < 2", "p { color: red }", "<p>so it is</p>")
    >>> "<title>1 &lt; 2</title>" in page, "script-src" in page
    (True, False)
    """
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in digests)
    allowed = f"default-src 'none'; {f'script-src {sources}; ' if scripts else ''}style-src 'unsafe-inline'; "
    allowed += "img-src data: blob:; form-action 'none'; base-uri 'none'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{allowed}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
{body}</body>
</html>
"""


def script_json(value: Any) -> str:
    """Return a JSON value as the content of a script element: nothing in it can end the element or begin a comment.

    Parameters
    ----------
    value : JSON value

    Returns
    -------
    str

    Examples
    --------
    >>> script_json({"path": "</script><!--"})
    '{"path":"\\\\u003c/script\\\\u003e\\\\u003c!--"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def cell(value: object, digits: int = 3) -> str:
    """Return a value as a cell shows it: infinities and NaN by name, a dash for what there is none of.

    Parameters
    ----------
    value : object
    digits : int
        Significant digits of a float.

    Returns
    -------
    str

    Examples
    --------
    >>> [cell(x) for x in (None, 0.0, -1.5e-7, float("nan"), float("-inf"), (8, 64), ())]
    ['–', '0', '−1.5e−07', 'NaN', '−inf', '8×64', 'scalar']
    """
    if value is None or value == "":
        return NONE
    if isinstance(value, float):
        return number(value, digits).replace("-", "−")
    if isinstance(value, tuple):
        return "×".join(map(str, value)) or "scalar"
    return escape(value)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    title : str
    hint : str
        What stands in it, in a sentence; shown when the pointer rests on the title.
    numeric : bool
        Aligned to the right, and sorted as numbers.
    extra : bool
        Shown only on demand, where the page has room.
    """

    title: str
    hint: str = ""
    numeric: bool = False
    extra: bool = False


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    caption: str,
    *,
    kind: str = "",
    marks: Sequence[Sequence[str]] | None = None,
) -> str:
    """Return a table.

    Parameters
    ----------
    columns : sequence of Column
    rows : iterable of sequence of str
        Cells that are HTML already.
    caption : str
        Plain text.
    kind : str
        Classes of the element.
    marks : sequence of sequence of str, optional
        Classes of the cells, row by row. Default: those of their columns.

    Returns
    -------
    str

    Examples
    --------
    >>> print(table([Column("op")], [["mul"]], "Operations"))
    <table class=""><caption>Operations</caption>
    <thead><tr><th scope="col">op</thead>
    <tbody>
    <tr><td>mul
    </tbody></table>
    """
    heads = "".join(f'<th scope="col"{_classes(c)}{_hint(c)}>{escape(c.title)}' for c in columns)
    shared = [_classes(column) for column in columns]
    given = None if marks is None else ([f' class="{escape(mark)}"' if mark else "" for mark in row] for row in marks)
    # closing tags of cells and rows may be left out, which saves a quarter of a long table
    body = "\n".join(
        "<tr>" + "".join(f"<td{mark}>{text}" for mark, text in zip(own, row))
        for own, row in zip(itertools.repeat(shared) if given is None else given, rows)
    )
    return (
        f'<table class="{escape(kind)}"><caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{heads}</thead>\n<tbody>\n{body}\n</tbody></table>"
    )


def _classes(column: Column) -> str:
    names = [name for name, on in (("n", column.numeric), ("x", column.extra)) if on]
    return f' class="{" ".join(names)}"' if names else ""


def _hint(column: Column) -> str:
    return f' title="{escape(column.hint)}"' if column.hint else ""


def bar(share: float, full: float = 1.0) -> str:
    """Return a share of a whole as a bar to the left (negative) or right of a middle line, with its percentage.

    Parameters
    ----------
    share : float
    full : float
        Share that fills its half.

    Returns
    -------
    str

    Examples
    --------
    >>> bar(0.25)
    '<span class="bar"><i class="more" style="width:12.5%"></i></span><span class="percent">25.0 %</span>'
    """
    if not math.isfinite(share):
        return cell(share)
    width = min(50.0, 50.0 * abs(share) / full)
    side = "more" if share >= 0 else "less"
    percent = f"{100 * share:.1f}" if abs(share) >= 5e-4 else number(100 * share, 1)
    drawn = f'<span class="bar"><i class="{side}" style="width:{width:.1f}%"></i></span>'
    return f'{drawn}<span class="percent">{percent.replace("-", "−")} %</span>'


def wide(content: str) -> str:
    """Return content that may scroll sideways, by keyboard too."""
    return f'<div class="wide" tabindex="0">{content}</div>'


def plot(name: str, caption: str, controls: str = "") -> str:
    """Return the place of a figure, which the page draws by its name.

    Parameters
    ----------
    name : str
        Id of the element.
    caption : str
        Plain text: what the figure shows.
    controls : str
        HTML above it.

    Returns
    -------
    str
    """
    text = escape(caption)
    place = f'<div class="plot" id="{escape(name)}" role="img" aria-label="{text}"></div>'
    return f"{controls}<figure>{place}<figcaption>{text}</figcaption></figure>"
