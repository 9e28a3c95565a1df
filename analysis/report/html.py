"""One self-contained page: text and tables that need no script, figures by plotly, packed inside. No network."""

from __future__ import annotations

import base64
import functools
import gzip
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from floatemu.errors import UnsupportedError

from ..terminal import plain, version
from .bound_section import bounds_figure
from .content import MOST_NODES, Content, gather
from .error_figures import depth, heat, policies
from .figure_parts import Figure, labels
from .gradient_sections import growth_figure, scale_figure
from .manifest import Found
from .markup import Column, cell, escape, page_of, plot, script_json, table, wide
from .range_figures import ends, histogram_template, ranges
from .sections import SECTIONS, bits_kept

try:
    from plotly.offline import get_plotlyjs
except ImportError:
    raise UnsupportedError("report.html needs plotly: pip install 'floatemu[report]'") from None

__all__ = ["FIGURES", "page", "save_html"]

FIGURES: Mapping[str, Callable[[Content], Figure | None]] = {
    "heat": heat,
    "depth": depth,
    "ranges": ranges,
    "bounds": bounds_figure,
    "growth": growth_figure,
    "scale": scale_figure,
}
"""What draws each figure; its section holds the place by the same name."""


def save_html(found: Sequence[Found], path: str | Path) -> None:
    """Write a report of one or several analyses of a tape to one self-contained file.

    Parameters
    ----------
    found : sequence of Analysis
        Of the same tape, one for each policy.
    path : path-like

    Raises
    ------
    UnsupportedError
        If there is no analysis, or they are of different tapes.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile, analysis as an
    >>> found = an.analyze(an.nets.chain(1e5, 0.25, 10), "fp16", "float64")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_html([found], f"{folder}/report.html")
    ...     Path(f"{folder}/report.html").stat().st_size < 3e6
    True
    """
    Path(path).write_text(page(found), encoding="utf-8")


def page(found: Sequence[Found]) -> str:
    """Return the report as a page.

    Parameters
    ----------
    found : sequence of Analysis

    Returns
    -------
    str

    Raises
    ------
    UnsupportedError
        If there is no analysis, or they are of different tapes.
    """
    if not found:
        raise UnsupportedError("nothing to report: give at least one analysis")
    if any(other.tape is not found[0].tape for other in found):
        raise UnsupportedError("a report is about one tape; these analyses are of several: save one report for each")
    contents = [gather(one, max(1, MOST_NODES // len(found))) for one in found]
    style, script = _asset("report.css"), _asset("report.js")
    library, packed = _plotly()
    first = contents[0]
    reference = first.found.reference.to_json()
    title = f"{first.found.tape.name}: {first.target.name} in {', '.join(one.found.policy.name for one in contents)}"
    about = (
        f"{len(first.found.tape)} nodes, judged by {first.target.name} against the {reference['kind']} reference "
        f"at {reference['bits']} bits; floatemu {version()}"
    )
    articles = "\n".join(_article(content, index, len(contents)) for index, content in enumerate(contents))
    body = f"""<a class="skip" href="#report">Skip to the verdict</a>
<header>
<h1>{escape(title)}</h1>
<p class="soft">{escape(about)}</p>
<noscript><p class="warn">Figures, sorting, searching need JavaScript; the tables are whole without it.</p></noscript>
{_overview(contents)}
</header>
<main id="report">
{articles}
</main>
<footer>Errors are norms relative to the norm of the exact value unless a title says otherwise. Numbers are rounded
for reading; the CSV, Parquet and JSON outputs hold them in full.</footer>
<script type="application/json" id="report-data">{script_json(_data(contents))}</script>
<script type="text/plain" id="plotly">{packed}</script>
<script>{script}</script>
"""
    return page_of(title, style, body, script, library)


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8")


@functools.cache
def _plotly() -> tuple[str, str]:
    """The library's text, and the same packed: a third of the size."""
    text = str(get_plotlyjs())
    return text, base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _overview(contents: Sequence[Content]) -> str:
    if len(contents) == 1:
        return ""
    columns = (
        Column("policy"),
        Column("bits kept", numeric=True),
        Column("relative error", numeric=True),
        Column("range events", numeric=True),
        Column("first-order"),
        Column("verdict"),
    )
    rows = [
        (
            escape(content.found.policy.name),
            bits_kept(content.target),
            cell(content.target.rel_error),
            str(sum(event.node in content.path for event in content.range_events)),
            "yes" if content.attributions[0].order == "first" else f"no: {escape(content.attributions[0].reason)}",
            escape(content.verdict.partition(". ")[0]),
        )
        for content in contents
    ]
    listing = table(columns, rows, f"{contents[0].target.name} in {len(contents)} policies", kind="sort")
    tabs = "".join(
        f'<button type="button" role="tab" id="tab{index}" aria-controls="run{index}">'
        f"{escape(content.found.policy.name)}</button>"
        for index, content in enumerate(contents)
    )
    caption = (
        "Largest relative error (norm) at each place of the net, in every policy; no point where it is zero, infinite "
        "or NaN."
    )
    figure = plot("policies", caption)
    tablist = f'<nav role="tablist" aria-label="policy">{tabs}</nav>'
    return f"{wide(listing)}\n{figure}\n{tablist}"


def _article(content: Content, index: int, count: int) -> str:
    parts = []
    for name, section in SECTIONS:
        if text := section(content, f"r{index}"):
            parts.append(f'<section id="r{index}-section-{name}">\n{text}\n</section>')
    role = f' role="tabpanel" aria-labelledby="tab{index}"' if count > 1 else ""
    body = "\n".join(parts)
    title = f"<h2>{escape(content.found.policy.name)}</h2>\n" if count > 1 else ""
    return f'<article class="run" id="run{index}"{role}>\n{title}{body}\n</article>'


def _data(contents: Sequence[Content]) -> Any:
    drawn: dict[str, Any] = {"policies": policies(contents)} if len(contents) > 1 else {}
    runs = []
    for index, content in enumerate(contents):
        for name, draw in FIGURES.items():
            if (figure := draw(content)) is not None:
                drawn[f"r{index}-{name}"] = figure
        runs.append(_histograms(content))
    return plain(
        {
            "labels": labels(contents[0], drawn.values()),
            "figures": drawn,
            "histogram": histogram_template(),
            "runs": runs,
        }
    )


def _histograms(content: Content) -> dict[str, Any]:
    """Histograms by node, and the ends of each format: [log2 largest, log2 least normal, log2 least positive]."""
    formats = {node: fmt for node in content.histograms if (fmt := content.format(node)) is not None}
    return {
        "histograms": {node: [part.compact() for part in pair] for node, pair in content.histograms.items()},
        "formats": {fmt.name: ends(fmt) for fmt in formats.values()},
        "format_of": {node: fmt.name for node, fmt in formats.items()},
    }
