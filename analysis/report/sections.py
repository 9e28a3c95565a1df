"""The sections of a report, in their order: each turns the content of one analysis into HTML.

A new section is a function here and its row in ``SECTIONS``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ..attribution import Attribution
from ..comparison import TargetReport
from ..events import Event
from ..recording import unfollowed
from ..terminal import plain
from ..verdict import plural
from .bound_section import bounds
from .content import Content
from .gradient_sections import growth, loss_scale
from .markup import Column, bar, cell, escape, plot, table, wide

__all__ = ["SECTIONS", "Section", "bits_kept"]

Section = Callable[[Content, str], str]
FIRST_EVENTS = 10
MOST_EVENTS = 200
MOST_GROUPS = 12
GROUPS = (
    ("cause", "by cause"),
    ("direction", "by direction"),
    ("layer", "by layer"),
    ("op", "by operation"),
    ("node", "by node"),
)


def verdict(content: Content, prefix: str) -> str:
    """Return the verdict: in words, and the figures it rests on."""
    first, dot, rest = content.verdict.partition(". ")
    target = content.target
    bits = "NaN" if math.isnan(target.bits) else f"{target.bits:.1f}" if target.bits >= 1 else "none"
    lost = not target.bits >= 1 and target.rel_error != 0
    ranged = sum(event.node in content.path for event in content.range_events)
    tiles = (
        ("bits kept", "all" if target.rel_error == 0 else bits, "significant bits: −log2 of the relative error"),
        ("relative error", cell(target.rel_error), "norm of the error over the norm of the reference"),
        ("norm ratio", cell(target.norm_ratio, 4), "norm in the emulated run over the norm in the reference"),
        ("zeros", f"{100 * target.zero_fraction:.1f} %", "share of elements that are zero in the emulated run"),
        ("with the exact decisions", cell(content.pinned), "relative error when every comparison falls as it should"),
        ("range events", str(ranged), "nodes on the way to the target that left the range of their format"),
    )
    limits = "".join(f"<p>{escape(line)}</p>\n" for line in unfollowed(content.found.tape))
    boxes = "".join(
        f'<div class="tile" title="{escape(hint)}"><b>{escape(what)}</b><span>{escape(name)}</span></div>'
        for name, what, hint in tiles
    )
    return (
        f'<div class="verdict{" lost" if lost else ""}"><p class="lead">{escape(first + dot.strip())}</p>'
        f"<p>{escape(rest)}</p></div>\n{limits}"
        f'<div class="tiles">{boxes}</div>\n{_targets(content.targets)}'
    )


def bits_kept(report: TargetReport) -> str:
    """Return the significant bits of a target, for a cell."""
    return f"{report.bits:.1f}".replace("-", "−") if math.isfinite(report.bits) else cell(report.bits)


def _targets(targets: Sequence[TargetReport]) -> str:
    columns = (
        Column("target"),
        Column("elements", numeric=True),
        Column("bits kept", "−log2 of the relative error", numeric=True),
        Column("relative error", "norm of the error over the norm of the reference", numeric=True),
        Column("norm ratio", "norm in the emulated run over the norm in the reference", numeric=True),
        Column("zeros", "share of elements that are zero in the emulated run", numeric=True),
        Column("reference", "the value of a scalar, the norm of anything larger", numeric=True),
        Column("emulated", "the value of a scalar, the norm of anything larger", numeric=True),
    )
    rows = [
        (
            escape(report.name),
            str(report.size),
            bits_kept(report),
            cell(report.rel_error),
            cell(report.norm_ratio, 4),
            f"{100 * report.zero_fraction:.1f} %",
            cell(report.exact, 6),
            cell(report.emulated, 6),
        )
        for report in targets
    ]
    return f"<details open><summary>All targets</summary>{wide(table(columns, rows, 'Targets', kind='sort'))}</details>"


def diagnosis(content: Content, prefix: str) -> str:
    """Return the ranked causes in words; nothing where none was named."""
    causes = content.diagnosis
    if not causes:
        return ""
    items = "".join(
        f"<li><b>{escape(cause.cause)}</b> {escape(cause.text)}"
        f"<details><summary>Evidence</summary><pre>{escape(_pretty(cause.evidence))}</pre></details>"
        for cause in causes
    )
    return f"<h3>Diagnosis</h3><ol>{items}</ol>"


def _pretty(evidence: Mapping[str, object]) -> str:
    return json.dumps(plain(evidence), indent=1, ensure_ascii=False)


def events(content: Content, prefix: str) -> str:
    """Return the range events, worst first, and behind them all other events."""
    ranged, other = content.range_events, content.other_events
    parts = ["<h3>Range events</h3>"]
    if ranged:
        on_path = sum(event.node in content.path for event in ranged)
        parts.append(
            f"<p>{_counts(ranged)}; {on_path} of these on the way to {escape(content.target.name)}, listed first.</p>"
        )
        parts.append(_event_table(content, ranged, "Values that left the range of their format"))
    else:
        parts.append(
            '<p class="empty">No value left the range of its format: nothing overflowed, saturated or underflowed, '
            "and no infinity or NaN was made.</p>"
        )
    if other:
        shown = _event_table(content, other, "Events within the range of the formats")
        parts.append(f"<details><summary>Other events: {_counts(other)}</summary>{shown}</details>")
    else:
        parts.append('<p class="empty">No addend was absorbed, and every decision fell as in the exact run.</p>')
    return "\n".join(parts)


def _counts(found: Sequence[Event]) -> str:
    kinds = Counter(event.kind for event in found)
    return ", ".join(f"{escape(kind)} at {plural(count, 'node')}" for kind, count in kinds.most_common())


_EVENT_COLUMNS = (
    Column("kind"),
    Column("what happened"),
    Column("elements", numeric=True),
    Column("gap", "what was needed over what the format offers there, as a power of two", numeric=True),
    Column("first element", "index of the first element"),
    Column("made by", "the node whose infinity, NaN or zero this is"),
    Column("on the way", "whether the target is computed from it"),
)


def _event_table(content: Content, found: Sequence[Event], caption: str) -> str:
    rows = [
        (
            f'<span class="kind {"fatal" if event.fatal else "mild"}">{escape(event.kind)}</span>',
            escape(content.sentence(event)),
            str(event.count),
            _gap(event),
            escape(list(event.first_index)) if event.first_index else "–",
            "itself" if event.produced else f"%{event.producer}",
            "yes" if event.node in content.path else "no",
        )
        for event in found[:MOST_EVENTS]
    ]
    shown = wide(table(_EVENT_COLUMNS, rows[:FIRST_EVENTS], caption, kind="sort events"))
    if rest := rows[FIRST_EVENTS:]:
        more = table(_EVENT_COLUMNS, rest, f"{caption}, continued", kind="sort events")
        shown += f"<details><summary>{plural(len(rest), 'more event')}</summary>{wide(more)}</details>"
    if left := len(found) - len(rows):
        shown += f'<p class="empty">{plural(left, "further event")} not shown; the JSON output has all.</p>'
    return shown


def _gap(event: Event) -> str:
    if not event.needed or not event.limit or not math.isfinite(event.needed):
        return "–"
    return f"2<sup>{math.log2(abs(event.needed) / abs(event.limit)):+.1f}</sup>".replace("-", "−")


def contributions(content: Content, prefix: str) -> str:
    """Return how the target's error splits among the nodes that rounded, and whether the split is complete."""
    main, *rest = content.attributions
    parts = ["<h3>Contributions to the error</h3>", _completeness(main)]
    if main.broken:
        nodes = ", ".join(escape(content.found.tape.nodes[index].label) for index in main.broken[:MOST_GROUPS])
        more = f" and {len(main.broken) - MOST_GROUPS} more" if len(main.broken) > MOST_GROUPS else ""
        parts.append(f'<p class="warn">Infinite or NaN, so named here and never summed: {nodes}{more}.</p>')
    if main.contributions:
        parts.append(f'<div class="groups">{"".join(_group(main, group, title) for group, title in GROUPS)}</div>')
    elif not main.broken:
        parts.append('<p class="empty">No node contributes: nothing that the target is computed from was rounded.</p>')
    parts += [f"<details><summary>{_what(extra)}, split</summary>{_completeness(extra)}</details>" for extra in rest]
    return "\n".join(parts)


def _what(found: Attribution) -> str:
    name = escape(found.target)
    words = {"error": f"Length of the error of {name}", "norm": f"Norm of {name}", "value": f"Value of {name}"}
    return words.get(found.functional, f"Element {escape(found.functional)} of {name}")


def _completeness(found: Attribution) -> str:
    first = found.order == "first"
    said = (
        "The split is complete: first-order contributions add up to the measured error."
        if first
        else f"Not first-order: {found.reason}. The contributions do not add up to the measured error: they are hints."
    )
    numbers = (
        ("measured", found.measured),
        ("sum of contributions", found.sum),
        ("residual", found.residual),
        ("root of their squares", found.rss),
        ("ratio", found.ratio if math.isfinite(found.measured) else None),
    )
    listed = "".join(f"<span>{escape(name)} <b>{cell(value, 4)}</b></span>" for name, value in numbers)
    return (
        f'<div class="complete {"good" if first else "bad"}"><p>{escape(said)}</p>'
        f'<p class="numbers"><span>{_what(found)}:</span> {listed}</p></div>'
    )


def _group(found: Attribution, group: str, title: str) -> str:
    sums = found.by(group)
    whole = abs(found.measured) if found.measured and math.isfinite(found.measured) else 0.0
    scale = whole or sum(abs(value) for value in sums.values()) or 1.0
    share = "share of the measured error" if whole else "share of the sum of magnitudes"
    shown = list(sums.items())[:MOST_GROUPS]
    full = max([1.0, *(abs(value) / scale for _, value in shown)])
    rows = [(escape(name or "(no path)"), bar(value / scale, full), cell(value)) for name, value in shown]
    if left := list(sums.values())[MOST_GROUPS:]:
        rest = math.fsum(left)
        rows.append((f"<i>{len(left)} more</i>", bar(rest / scale, full), cell(rest)))
    columns = (Column(title[3:]), Column("share", share), Column("contribution", "in the target's units", numeric=True))
    return f'<div class="group {group}">{table(columns, rows, title.capitalize())}</div>'


def heat(content: Content, prefix: str) -> str:
    """Return the place of the heat map."""
    buttons = "".join(
        f'<button type="button" data-plot="{prefix}-heat" data-group="{group}" aria-pressed="{pressed}">{word}</button>'
        for group, word, pressed in (
            ("total", "error against the reference", "true"),
            ("local", "error made at the node", "false"),
        )
    )
    caption = (
        "Largest relative error (norm) by place and operation. Green dots are exact, red crosses infinite or NaN; "
        "empty cells have no such operation."
    )
    controls = f'<div class="controls">{buttons}</div>'
    return f"<h3>Where the errors are</h3>{plot(f'{prefix}-heat', caption, controls)}"


def depth(content: Content, prefix: str) -> str:
    """Return the place of the error along depth or time."""
    caption = (
        "Largest relative error (norm) among the nodes of each place, by direction; dotted: made there by rounding. "
        "Places without an error have no point."
    )
    return f"<h3>Error along depth and time</h3>{plot(f'{prefix}-depth', caption)}"


def ranges(content: Content, prefix: str) -> str:
    """Return the place of the value ranges."""
    caption = (
        "From the smallest to the largest non-zero finite magnitude of each node, to whole binades, against the range "
        "of the node's format. Red triangles: elements flushed to zero, elements beyond the range."
    )
    buttons = "".join(
        f'<button type="button" data-plot="{prefix}-ranges" data-view="{view}">{word}</button>'
        for view, word in (("values", "zoom to the values"), ("format", "whole range of the format"))
    )
    figure = plot(f"{prefix}-ranges", caption, f'<div class="controls">{buttons}</div>')
    return f"<h3>Value ranges and the range of the format</h3>{figure}{_left_out(content)}"


def _left_out(content: Content) -> str:
    if not content.left_out:
        return ""
    return (
        f'<p class="warn">{content.left_out} of {len(content.found.tape)} nodes are not shown one by one here: shown '
        "are those with range events on the way to the target, and those that contribute most. The CSV, Parquet and "
        "JSON outputs have all.</p>"
    )


_NODE_COLUMNS = (
    Column("node", "press for the histogram of its values", numeric=True),
    Column("op"),
    Column("path"),
    Column("direction"),
    Column("format", "of its result; none: not rounded"),
    Column("shape"),
    Column("share", "what its own error contributes to the target's relative error, signed", numeric=True),
    Column("local error", "what its own rounding adds, relative to the norm of the exact value", numeric=True),
    Column("inherited", "what the errors of its operands become", numeric=True),
    Column("error", "both together, against the reference", numeric=True),
    Column("worst", "largest error of an element over its exact value", numeric=True, extra=True),
    Column("ulp", "largest error of an element, in units in the last place of the format", numeric=True, extra=True),
    Column("amplification", "inherited error over the largest error of an operand", numeric=True, extra=True),
    Column("condition", "norm-wise condition number of the operation there", numeric=True),
    Column("cancelled", "leading bits that cancel, in the worst element", numeric=True, extra=True),
    Column("largest", "largest emulated magnitude", numeric=True),
    Column("smallest", "smallest non-zero emulated magnitude", numeric=True),
    Column("flushed", "elements made zero here", numeric=True),
    Column("zeros inherited", "other zeros where the exact value is none", numeric=True, extra=True),
    Column("subnormal", "elements below the normal range", numeric=True, extra=True),
    Column("beyond", "elements that overflowed or saturated here", numeric=True),
    Column("absorbed", "elements that an addition left unchanged", numeric=True, extra=True),
    Column("flips", "decisions that fell otherwise than in the exact run", numeric=True, extra=True),
    Column("events", "kinds of its events", extra=True),
    Column("site", "where the program asked for it", extra=True),
)


def nodes(content: Content, prefix: str) -> str:
    """Return the table of nodes, which the page makes searchable and sortable."""
    kinds: dict[int, list[str]] = {}
    for event in (*content.range_events, *content.other_events):
        kinds.setdefault(event.node, []).append(event.kind)
    rows = [
        (
            f"%{node.id}",
            *(escape(word) for word in (node.op, node.path or "–", node.direction, node.format)),
            cell(tuple(node.shape)),
            *(cell(x) for x in (node.contribution, node.local_error, node.inherited_error, node.error)),
            *(
                cell(x)
                for x in (node.error_worst, node.ulp_max, node.amplification, node.condition, node.cancellation_bits)
            ),
            *(cell(x) for x in (node.amax, node.amin_nonzero)),
            *(str(x) for x in (node.zeros_new, node.zeros_inherited, node.subnormal, node.beyond)),
            *(str(x) for x in (node.absorbed, node.flips)),
            escape(" ".join(dict.fromkeys(kinds.get(node.id, [])))) or "–",
            escape(node.site) or "–",
        )
        for node in content.nodes
    ]
    controls = (
        f'<div class="controls js"><label>Search <input type="search" data-table="{prefix}-nodes" '
        'placeholder="matmul backward layer0"></label>'
        f'<label><input type="checkbox" data-all="{prefix}-nodes"> all columns</label>'
        f'<span class="count" data-count="{prefix}-nodes" aria-live="polite"></span>'
        "<span>Press a title to sort, a node's number for its histogram.</span></div>"
    )
    shown = table(_NODE_COLUMNS, rows, "Nodes in the order of execution", kind="sort nodes")
    holder = f'<div class="wide tall" id="{prefix}-nodes" tabindex="0">{shown}</div>'
    return f"<h3>Nodes</h3>{_left_out(content)}{controls}{holder}"


def made_of(content: Content, prefix: str) -> str:
    """Return the manifest: what the run was made of, in a table and in full."""
    made = content.manifest
    tape, reference = made["tape"], made["reference"]
    inputs = ", ".join(
        f"{leaf['path'] or '%' + str(leaf['node'])} {cell(tuple(leaf['shape']))}"
        for leaf in tape["leaves"]
        if leaf["role"] in ("input", "target")
    )
    facts: Mapping[str, str] = {
        "tape": f"{tape['name']}, {plural(tape['nodes'], 'node')}",
        "made with": ", ".join(f"{key}={value}" for key, value in tape["meta"].items()) or "–",
        "inputs and labels": inputs or "–",
        "parameters": plural(sum(leaf["role"] == "parameter" for leaf in tape["leaves"]), "tensor"),
        "policy": f"{made['policy']['name']}, {plural(len(made['policy']['rules']), 'rule')}, "
        f"seed {made['policy']['seed']}",
        "reference": f"{reference['kind']}, {reference['bits']} bits; {reference.get('statement', '')}",
        "versions": ", ".join(f"{key} {value}" for key, value in made["versions"].items()),
    }
    rows = [(escape(name), escape(text)) for name, text in facts.items()]
    listing = table((Column("what"), Column("value")), rows, "Run manifest", kind="facts")
    full = escape(json.dumps(made, indent=1, ensure_ascii=False))
    return (
        f"<h3>What this was made of</h3>{listing}"
        f"<details><summary>The manifest in full</summary><pre>{full}</pre></details>"
    )


SECTIONS: tuple[tuple[str, Section], ...] = (
    ("verdict", verdict),
    ("diagnosis", diagnosis),
    ("events", events),
    ("contributions", contributions),
    ("heat", heat),
    ("depth", depth),
    ("ranges", ranges),
    ("bounds", bounds),
    ("growth", growth),
    ("scale", loss_scale),
    ("nodes", nodes),
    ("manifest", made_of),
)
"""Name and function of every section, in order; a function that returns nothing leaves its section out."""
