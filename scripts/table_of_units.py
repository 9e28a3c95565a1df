"""The table of matrix units for docs/matrix.md: a line for rows that differ in the formats of their inputs alone.

usage: table_of_units.py
"""

from __future__ import annotations

import dataclasses

import floatemu as fe


def units_table() -> str:
    """Return the table in Markdown."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for unit in fe.matrix.UNITS:
        inputs = unit.a.name if unit.a == unit.b else f"{unit.a.name} x {unit.b.name}"
        scale = f", scales {unit.scale.name} per {unit.block}" if unit.scale else ""
        first = [unit.architecture, ", ".join(unit.gpus), unit.instruction, " ".join(unit.shapes)]
        last = [unit.output.name, f"`{step_text(unit)}`{scale}", unit.evidence.value, unit.source]
        lines.setdefault((*first, *last), []).append(inputs)
    titles = ["architecture", "devices", "instruction", "shapes", "inputs", "output", "one step", "evidence", "source"]
    rows = [titles, ["---"] * len(titles), *([*key[:4], "; ".join(names), *key[4:]] for key, names in lines.items())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def step_text(unit: fe.matrix.MatrixUnit) -> str:
    """Return a unit's step as the call that makes it: what has its default left out, names short."""
    shown = []
    for field in dataclasses.fields(unit.step):
        value = getattr(unit.step, field.name)
        if value != (unit.output if field.name == "result" else field.default):
            shown.append(f"{field.name}={'...' if field.name == 'order' else getattr(value, 'name', value)}")
    return f"{type(unit.step).__name__}({', '.join(shown)})"


if __name__ == "__main__":
    print(units_table())
