"""What an identification found, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from floatemu.matrix.hypotheses import Question, parameters
from floatemu.matrix.models import UNITS
from floatemu.matrix.steps import Array
from floatemu.matrix.visibility import canonical

SAME_FORMATS = ("a", "b", "output", "scale", "block")


@dataclass(frozen=True)
class Candidate:
    """Arithmetics that are equal on every input of these formats.

    Attributes
    ----------
    step : Fused, Chain, Integers, Exact, PairwiseFlush, TwoStage or Promoted
        One of them: that of a row of the hardware table if one is among them.
    unseen : dict
        The parameters that cannot be seen, and why each cannot.
    units : tuple of str
        Rows of the hardware table with this arithmetic and these formats.
    """

    step: Any
    unseen: dict[str, str]
    units: tuple[str, ...]

    @staticmethod
    def of(step: Any, q: Question) -> Candidate:
        """The class of a step."""
        key, unseen = canonical(step, q)
        rows = [u for u in UNITS if all(getattr(u, name) == getattr(q, name) for name in SAME_FORMATS)]
        rows = [u for u in rows if canonical(u.step, q)[0] == key]
        return Candidate(rows[0].step if rows else step, unseen, tuple(u.name for u in rows))

    def seen(self) -> dict[str, Any]:
        """The parameters that were found: all but those that cannot be seen."""
        return {name: value for name, value in parameters(self.step).items() if name not in self.unseen}


@dataclass
class Finding:
    """What one probe said.

    Attributes
    ----------
    probe : str
        Its name.
    feature : str
        What it is for.
    inputs : int
        Dot products asked.
    rejected : int
        Hypotheses for which it was the first to disagree.
    reading : str
        What its results say by themselves.
    """

    probe: str
    feature: str = ""
    inputs: int = 0
    rejected: int = 0
    reading: str = ""


@dataclass(frozen=True)
class Identification:
    """What :func:`~floatemu.matrix.identify.identify` found.

    Attributes
    ----------
    question : Question
        The formats and what the device takes.
    classes : tuple of Candidate
        What answers as the device does; one if it has been identified.
    findings : tuple of Finding
    hypotheses : int
        Hypotheses that were run.
    tried : int
        Inputs on which what was left was compared with each other or, at last, with the device.
    separating : dict, optional
        Codes a, b, c of an input on which classes differ, and ``predictions``, the code each of them gives: where the
        device could not be asked.
    """

    question: Question
    classes: tuple[Candidate, ...]
    findings: tuple[Finding, ...]
    hypotheses: int
    tried: int
    separating: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether exactly one class is left."""
        return len(self.classes) == 1

    @property
    def step(self) -> Any:
        """A step of the one class that is left; None if there is not exactly one."""
        return self.classes[0].step if self.ok else None

    def contains(self, step: Any) -> bool:
        """Whether a step is among what is left, or equal on every input to one that is."""
        key = canonical(step, self.question)[0]
        return any(canonical(found.step, self.question)[0] == key for found in self.classes)

    def __str__(self) -> str:
        q = self.question
        lines = [
            f"{q.a.name} x {q.b.name} -> {q.output.name}, {q.k} products: {len(self.classes)} "
            f"{'class' if self.ok else 'classes'} of {self.hypotheses} hypotheses left"
        ]
        for found in self.classes:
            text = ", ".join(f"{name}={value}" for name, value in found.seen().items() if value not in ([], None))
            lines.append(f"  {text}")
            lines += [f"    {name} cannot be seen: {why}" for name, why in found.unseen.items()]
            if found.units:
                more = f" and {len(found.units) - 3} more" if len(found.units) > 3 else ""
                lines.append(f"    as {', '.join(found.units[:3])}{more}")
        if len(self.classes) > 1:
            lines.append(f"  {self.tried} inputs were tried to separate them")
        if not self.classes:
            lines.append("  nothing that was tried answers as this device does")
        width = max((len(f.probe) for f in self.findings), default=0)
        lines += [
            f"  {f.probe:{width}} {f.inputs:6} inputs, {f.rejected:6} rejected{'; ' if f.reading else ''}{f.reading}"
            for f in self.findings
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it.

        Returns
        -------
        dict
        """
        q = self.question
        separating = self.separating
        return {
            "formats": {"a": q.a.name, "b": q.b.name, "output": q.output.name, "scale": q.scale and q.scale.name},
            "block": q.block,
            "k": q.k,
            "accumulator": q.accumulator,
            "classes": [
                {"parameters": parameters(found.step), "unseen": found.unseen, "units": list(found.units)}
                for found in self.classes
            ],
            "probes": [
                {name: getattr(f, name) for name in ("probe", "feature", "inputs", "rejected", "reading")}
                for f in self.findings
            ],
            "hypotheses": self.hypotheses,
            "tried": self.tried,
            "separating": separating and {key: _hexadecimal(value) for key, value in separating.items()},
        }  # fmt: skip


def _hexadecimal(value: Any) -> Any:
    if isinstance(value, (list, np.ndarray)):
        return [hex(int(code)) for code in value]
    return hex(int(value))


def reading(probe: str, labels: list[str], answers: Array) -> str:
    """What a designed probe's results say by themselves.

    Parameters
    ----------
    probe : str
    labels : list of str
        ``P1/k=5`` ...
    answers : ndarray
        Results, a number for each label.

    Returns
    -------
    str
        Empty where only a comparison with hypotheses tells.

    Examples
    --------
    >>> reading("P1", ["P1/k=5", "P1/k=6", "P1/k=7"], np.array([0.5, 0.25, 0.0]))
    'not zero up to k=6 of 7'
    """
    names = [label.partition("/")[2] for label in labels]
    if probe in ("P1", "P1c", "P6", "P9", "P10", "P12"):
        kept = [int(name[2:]) for name, answer in zip(names, answers) if answer != 0]
        most = max(int(name[2:]) for name in names)
        return f"not zero up to k={max(kept)} of {most}" if kept else "always zero"
    if probe == "P2":
        passed = [
            int(name[4:]) for name, x in zip(names, answers) if name[:4] == "bit=" and x == 1 + 2.0 ** -int(name[4:])
        ]
        return f"fraction bits up to {max(passed)} pass" if passed else "no fraction bit passes"
    if probe == "P5":
        apart = [name for name, answer in zip(names, answers) if answer != 0]
        return f"first place outside the first product's step: {apart[0]}" if apart else "all places share a step"
    if probe == "P15":
        return "; ".join(f"{name}: {answer!r}" for name, answer in zip(names, answers.tolist()))
    if probe in ("P5t", "P16"):
        values = sorted({float(x) for x in answers})
        return f"{len(values)} different counts"
    return ""
