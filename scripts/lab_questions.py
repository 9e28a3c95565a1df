"""Answers of docs/mitigations.md to questions, made from what scripts/keep_lab.py kept; used by make_docs.py."""

from __future__ import annotations

from collections.abc import Sequence

from lab_ranges import loss_scale, sequences
from table_of_mitigations import Triple, effects, kept, listed, made_by, span, table, told

from analysis.lab.verdicts import interval
from analysis.verdict import number


def clipping() -> str:
    """Does clipping change the relative error of a gradient, or only its size?"""
    content = kept("clipping")
    lines = []
    for kind, words in (("clip_norm", "the norm"), ("clip_value", "each value")):
        cells = [cell for (_, name), cell in content.cells.items() if name.startswith(kind)]
        ratios = [cell.value[0] / cell.baseline[0] for cell in cells]
        lines.append(
            f"Clipping {words} multiplies the median relative error by {min(ratios):.2f} to {max(ratios):.2f}. "
            f"{told(cells, 'experiments')}."
        )
    return "\n\n".join([*lines, effects(content, "gradient error"), made_by(content)])


def learning_rate() -> str:
    """What does a lower learning rate do to the share of bfloat16 updates that are lost?"""
    content = kept("learning_rate")
    lost = next(name for name in content.failures if name.startswith("share"))
    cells = [cell for (failure, _), cell in content.cells.items() if failure == lost]
    steps = [cells[0].baseline, *(cell.value for cell in cells)]
    medians = [step[0] for step in steps]
    course = "rises" if medians == sorted(medians) else "falls" if medians == sorted(medians)[::-1] else "changes"
    rates = ["0.1", *(number(0.1 * float(cell.mitigation.partition(":")[2])) for cell in cells)]
    shares = listed([f"{span(step)} at {rate}" for step, rate in zip(steps, rates)])
    sentence = f"It {course} as the learning rate falls: {shares}."
    return "\n\n".join([sentence, effects(content, "metric"), made_by(content)])


def normalisation() -> str:
    """Does normalisation repair range, rounding, or one at the cost of the other?"""
    content = kept("normalisation")
    lines = []
    for kind in ("rounding, plain", "rounding, residual", "range, plain", "range, residual"):
        cells = [cell for (failure, _), cell in content.cells.items() if failure.startswith(kind)]
        ratios = [cell.value[0] / cell.baseline[0] for cell in cells if cell.baseline[0]]
        factor = f"; the metric is multiplied by {min(ratios):.2g} to {max(ratios):.2g}" if ratios else ""
        lines.append(f"- {kind.replace(',', ' in')} nets. {told(cells, 'experiments')}{factor}.")
    return "\n\n".join(["\n".join(lines), effects(content, "net"), made_by(content)])


def flips() -> str:
    """How much of a ReLU net's gradient error is flipped masks?"""
    content = kept("flips")
    rows = []
    shares: dict[str, list[float]] = {"relu": [], "other": []}
    for name in content.failures:
        errors = [(case["gradient_rel_error"], case["flips"]) for case in content.records(name, "")]
        free, pinned = (interval([float(error[key]) for error, _ in errors]) for key in ("free", "pinned"))
        share = [100 * max(0.0, 1 - (error["pinned"] / error["free"]) ** 2) for error, flipped in errors if flipped]
        shares["relu" if name.startswith("relu") else "other"] += share
        cells = [span((one.median, one.lo, one.hi)) for one in (free, pinned)]
        middle = "" if not share else "{:.1f} % [{:.1f}, {:.1f}]".format(*_ends(share))
        rows.append([name, *cells, f"{len(share)} of {len(errors)}", middle])
    titles = [
        "net",
        "gradient error",
        "with the exact decisions",
        "seeds with a flip",
        "share of the squared error there",
    ]
    words = []
    for kind, found in shares.items():
        who = "nets of rectifiers" if kind == "relu" else "smooth nets, whose only decision is the softmax's maximum"
        if found:
            middle, low, high = _ends(found)
            words.append(f"in {who} {middle:.1f} % [{low:.1f}, {high:.1f}] of the squared error ({len(found)} runs)")
    return "\n\n".join(
        [f"Flipped decisions make, where there are any, {listed(words)}.", table(titles, rows), made_by(content)]
    )


def _ends(values: Sequence[float]) -> Triple:
    found = interval(values)
    return found.median, found.lo, found.hi


def initialisation() -> str:
    """Does initialisation matter to rounding or to range?"""
    content = kept("initialisation")
    lines = []
    for kind in ("rounding", "range"):
        for name in (name for name in content.failures if name.startswith(kind)):
            cells = [cell for (failure, _), cell in content.cells.items() if failure == name]
            medians = [cells[0].baseline[0], *(cell.value[0] for cell in cells)]
            lines.append(f"- {name}: from {number(min(medians))} to {number(max(medians))} between initialisations.")
    return "\n\n".join(["\n".join(lines), effects(content, "net"), made_by(content)])


QUESTIONS = {
    "clipping": clipping,
    "learning rate": learning_rate,
    "normalisation": normalisation,
    "loss scale": loss_scale,
    "flips": flips,
    "initialisation": initialisation,
    "sequences": sequences,
}
"""By the name of the part of the page."""
