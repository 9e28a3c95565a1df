"""The tables of docs/presets.md: systems with their evidence, what each does, and causes of differences.

usage: table_of_presets.py
"""

from __future__ import annotations

import floatemu as fe
from floatemu.casting import Rule
from floatemu.differences import CAUSES
from floatemu.probes import SOURCES


def _table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def presets_table() -> str:
    """Return the systems, each with its evidence and source, in Markdown."""
    rows = [[f"`{p.name}`", p.title, p.evidence, p.source.replace("*", "\\*")] for p in fe.presets.PRESETS.values()]
    return _table(["name", "system", "evidence", "source"], rows)


def _cells(rule: Rule) -> list[str]:
    """What is done on the way, in the last rounding, beyond the range, with NaN, and besides."""
    steps = rule.narrowings(None)
    way = ", ".join("binary32's quantum" if step.name not in fe.FORMATS else step.name for step in steps) or "—"
    projection = rule.projection
    mode = projection.rounding.name.replace("_", " ").lower()
    mode += f", {projection.random_bits} bits" if projection.random_bits else ""
    beyond = "—" if projection.saturation is fe.Saturation.SAT_NONE else "largest value"
    if rule.infinity is not None and rule.infinity.value != beyond:
        beyond = f"{beyond}; infinity: {rule.infinity.value}"
    besides = [*(span.describe() for span in rule.spans)]
    besides += ["subnormal binary32 becomes 0 on the way"] if rule.flush else []
    besides += ["the sign is dropped"] if rule.magnitude else []
    besides += [rule.zeros.value] if rule.zeros.name != "SIGNED" else []
    besides += ["numbers of its own, to twice IEEE's range"] if rule.values is not None else []
    return [way, mode, beyond.replace("the ", ""), rule.nan.value, "; ".join(besides)]


def rules_table() -> str:
    """Return what each system does, one line for casts that are alike, in Markdown."""
    rows = []
    for preset in fe.presets.PRESETS.values():
        alike: dict[tuple[str, ...], list[str]] = {}
        for target in preset.targets:
            used: dict[Rule, list[str]] = {}
            for source in preset.sources(target):
                used.setdefault(preset.rule(source, target), []).append(source)
            for rule, sources in used.items():
                given = "all" if len(sources) == len(SOURCES) else ", ".join(sources)
                alike.setdefault((given, *_cells(rule)), []).append(target)
        rows += [[f"`{preset.name}`", ", ".join(targets), *cells] for cells, targets in alike.items()]
    titles = ["name", "into", "from", "first into", "rounds", "beyond the range", "NaN becomes", "besides"]
    return _table(titles, rows)


def causes_table() -> str:
    """Return the kinds of difference in Markdown."""
    return _table(["cause", "holds if"], [[name, meaning] for name, meaning in CAUSES.items()])


if __name__ == "__main__":
    print(presets_table(), rules_table(), causes_table(), sep="\n\n")
