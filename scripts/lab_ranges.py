"""Answers of docs/mitigations.md on the range of formats: loss scales, long sequences; used by lab_questions.py."""

from __future__ import annotations

from table_of_mitigations import effects, kept, listed, made_by, span, table

from analysis.lab.verdicts import interval
from analysis.verdict import number


def loss_scale() -> str:
    """When does no loss scale exist?"""
    content = kept("loss_scale")
    rows, lost, harmless = [], [], []
    for name, told_of in content.failures.items():
        found = [case["loss_scale"] for case in content.records(name, "")]
        low, high = (interval([float(one[key]) for one in found]) for key in ("low", "high"))
        exists = sum(one["feasible"] for one in found)
        cells = [cell for (failure, _), cell in content.cells.items() if failure == name]
        least = min(cell.value[0] for cell in cells)
        if not exists:
            (lost if least > float(told_of["healthy"]) else harmless).append(f"{name} ({number(least)} lost)")
        ends = [span((one.median, one.lo, one.hi)) for one in (low, high)]
        shares = [span(cells[0].baseline), *(span(cell.value) for cell in cells)]
        rows.append([name, *ends, f"{exists} of {len(found)}", *shares])
    scales = [name.partition(":")[2] for name in dict.fromkeys(name for _, name in content.cells)]
    titles = ["net", "least log2 scale", "largest", "one exists, in seeds", "gradients lost at 1"]
    titles += [f"at {scale}" for scale in scales]
    sentences = (
        "A scale that keeps every tensor lifts the least that must not be lost above the format's least number and "
        "leaves the largest below its top. In no seed does one exist for the following nets. The best scale that was "
        f"tried does not save the gradients of: {listed(lost)}. It does save those of: {listed(harmless)}; what it "
        "loses are terms inside the backward pass that are too small beside others to matter."
    )
    return "\n\n".join([sentences, table(titles, rows), made_by(content)])


def sequences() -> str:
    """How much of a gradient survives the way back through a long sequence?"""
    content = kept("sequences")
    lines = []
    for net in dict.fromkeys(name.partition(",")[0] for name in content.failures):
        names = [name for name in content.failures if name.startswith(f"{net},")]
        cells = [cell for (failure, _), cell in content.cells.items() if failure in names]
        before = [next(cell.baseline for cell in cells if cell.failure == name) for name in names]
        course = listed(
            [f"{span(one)} at {name.split('length ')[1].split(',')[0]}" for one, name in zip(before, names)]
        )
        helped = [cell for cell in cells if cell.word in ("cured", "better")]
        by = listed(list(dict.fromkeys(f"`{cell.mitigation}`" for cell in helped)))
        lines.append(f"- {net}: lost {course}. Better in {len(helped)} of {len(cells)}: {by}.")
    return "\n\n".join(["\n".join(lines), effects(content, "net"), made_by(content)])
