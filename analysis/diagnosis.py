"""Diagnosis: the causes of a bad result, ranked, each with the node it happened at and the evidence for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import floatemu as fe
from floatemu.errors import UnsupportedError

from . import measures
from .adjoint import depends_on, mean_adjoints
from .attribution import Attribution
from .comparison import NodeReport, TargetReport, compare_target
from .dynamics import Growth, growth, loss_scale
from .engine import Run
from .events import Event
from .ops import get_op
from .origins import updated, zero_origin
from .tape import Node, Tape, Value
from .verdict import number as short
from .verdict import plural

__all__ = ["CAUSES", "Case", "Diagnosis", "diagnose"]

CAUSES = (
    "overflow",
    "invalid",
    "saturation",
    "exploding",
    "underflow",
    "vanishing",
    "lost_update",
    "absorption",
    "cancellation",
    "branch_flips",
    "cast",
    "rounding",
)
"""What can be found, the loss of the range first."""
QUIET = 8
"""A target whose relative error is below this many unit roundoffs needs no explanation."""
SHARE = 0.25
"""Part of the error that a cause must make to be named."""
WORSE = 4
"""Factor by which an operation's result has a larger relative error than its operands where it is said to cancel."""
STEEP, FAR = 1.1, 64
"""Growth per stage and over all stages, or their inverses, from which the exact gradient explodes or vanishes."""
SAFE = ("bfloat16", "binary16", "e5m2", "binary32")


@dataclass(frozen=True)
class Diagnosis:
    """One cause.

    Attributes
    ----------
    cause : str
        One of ``CAUSES``.
    node : int
        Where it happened.
    text : str
        In words.
    evidence : mapping of str to JSON value
        The numbers behind the words.
    share : float
        Part of the target's error that it makes; infinite where numbers stopped being numbers.

    Examples
    --------
    >>> Diagnosis("overflow", 0, "inf", {}, math.inf).cause
    'overflow'
    """

    cause: str
    node: int
    text: str
    evidence: Mapping[str, Any]
    share: float

    def to_json(self) -> dict[str, Any]:
        """Return the contract's diagnosis object.

        Returns
        -------
        dict
        """
        return {"cause": self.cause, "node": self.node, "text": self.text, "evidence": dict(self.evidence)}


@dataclass(frozen=True)
class Case:
    """All that a diagnosis looks at.

    Attributes
    ----------
    tape : Tape
    run, exact, pinned : Run
        Emulated, exact, and emulated with the exact run's decisions.
    target : str
    nodes : sequence of NodeReport
    events : sequence of Event
        Branch flips included.
    parts : Attribution
        Of the length of the target's error.

    Examples
    --------
    >>> Case.__dataclass_fields__["target"].type
    'str'
    """

    tape: Tape
    run: Run
    exact: Run
    pinned: Run
    target: str
    nodes: Sequence[NodeReport]
    events: Sequence[Event]
    parts: Attribution


def diagnose(case: Case) -> tuple[Diagnosis, ...]:
    """Return the causes of what happened to a target, the gravest first; nothing if nothing is wrong.

    Parameters
    ----------
    case : Case

    Returns
    -------
    tuple of Diagnosis

    Examples
    --------
    >>> import analysis as an
    >>> [one.text for one in an.analyze(an.nets.chain(1e5, 0.25, 10), "binary16").diagnose()]
    ['result is inf: %0 input (cast, backward) overflowed binary16 (needed 100000, largest 65504); bfloat16 holds it']
    """
    return _Doctor(case).findings()


class _Doctor:
    """One diagnosis in the making."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.path = depends_on(case.tape, case.tape.targets[case.target])
        self.report: TargetReport = compare_target(case.run, case.exact, case.target)
        self.parts = case.parts
        self.events = [event for event in case.events if event.node in self.path]
        self.what = f"{case.target} {self._fate()}"

    def _fate(self) -> str:
        report = self.report
        if not math.isfinite(report.emulated):
            return "is inf" if math.isinf(report.emulated) else "is NaN"
        if report.emulated == 0 and report.exact != 0:
            return "is entirely zero"
        return f"has a relative error of {number(report.rel_error)}"

    def findings(self) -> tuple[Diagnosis, ...]:
        """All causes, gravest first."""
        lost = [*self._lost_updates()]
        fatal = [*self._range()]
        if fatal and not math.isfinite(self.report.emulated):
            return (*fatal, *lost)
        unit = self._unit()
        if not self.report.rel_error > QUIET * unit:  # NaN, of an exact value that is none, needs no explanation
            return (*(fatal if self.report.rel_error > unit else ()), *lost)
        found = [*fatal, *self._underflow(), *self._absorption(), *self._cancellation(), *self._flips(), *self._cast()]
        found.sort(key=lambda one: (-one.share, CAUSES.index(one.cause)))
        if not found:
            found = [*self._rounding(unit)]
        return (*lost, *found)

    def _unit(self) -> float:
        """Unit roundoff of the narrowest format on the way to the target."""
        formats = {record.format for i in self.path if (record := self.case.run.records[i]) and record.format}
        return max((2.0**-fmt.p for fmt in formats), default=2.0**-53)

    def _share(self, value: float) -> float:
        measured = self.parts.measured
        return abs(value) / measured if measured and math.isfinite(measured) else math.inf

    def _label(self, node: int) -> str:
        return self.case.tape.nodes[node].label

    # The range: what left it at the top.

    def _range(self) -> Iterator[Diagnosis]:
        seen: set[int] = set()
        broken = not math.isfinite(self.report.emulated)
        for event in self.events:
            if not event.fatal or event.node in seen:
                continue
            if not event.produced:
                if event.producer not in seen and broken and (source := self._flush(event)) is not None:
                    yield source
                    return
                continue
            seen.add(event.node)
            share = math.inf if broken else self._share(self._own(event.node))
            if not broken and share < SHARE:
                continue
            yield self._exceeded(event, share)
            if broken:  # what comes after the first one is its consequence
                return

    def _flush(self, event: Event) -> Diagnosis | None:
        """An infinity or NaN made of a zero that another node had flushed: that node is where it went wrong."""
        origin = zero_origin(self.case.run, self.case.exact, event.node, event.first_index)
        before = [one for one in self.case.events if one.node == origin and one.flushed]
        if not before:
            return None
        flush, made = before[0], "NaN" if event.result == "nan" else "inf"
        text = (
            f"{self.what}: {self._label(flush.node)} flushed {plural(flush.flushed, 'element')} to zero in "
            f"{self._format(flush)} (smallest {number(flush.needed)}, least {number(flush.limit)}), of which "
            f"{self._label(event.node)} made {made}"
        )
        evidence = {"needed": flush.needed, "limit": flush.limit, "flushed": flush.flushed, "made": event.node}
        return Diagnosis("underflow", flush.node, text, evidence, math.inf)

    def _attributed(self) -> Run:
        """The replay that the attribution was made at: the one with the exact run's decisions, where they differ."""
        flipped = any(part.cause == "branch_flip" for part in self.parts.contributions)
        return self.case.pinned if flipped else self.case.run

    def _own(self, node: int) -> float:
        return math.fsum(part.value for part in self.parts.contributions if part.node == node)

    def _exceeded(self, event: Event, share: float) -> Diagnosis:
        fmt = self._format(event)
        evidence: dict[str, Any] = {"needed": event.needed, "limit": event.limit, "count": event.count}
        if event.kind in ("nan_born", "inf_born"):
            source = self._source(event)
            evidence["operands"] = source
            text = (
                f"{self.what}: {self._label(event.node)} made {'NaN' if event.result == 'nan' else 'inf'} of {source}"
            )
            return Diagnosis("invalid", event.node, text, evidence, share)
        did = "saturated" if event.kind == "saturation" else "overflowed"
        numbers = f"needed {number(event.needed)}, largest {number(event.limit)}" if event.needed else ""
        where = f", where operand {event.operand} is cast" if event.operand is not None else ""
        text = f"{self.what}: {self._label(event.node)}{where} {did} {fmt} ({numbers})"
        rate = self._growth()
        if (
            rate is not None
            and rate.rate > STEEP
            and rate.norms[-1] > FAR * rate.norms[0]
            and not self._leaf(event.node)
        ):
            evidence |= {"growth_per_stage": rate.rate, "stages": len(rate.stages)}
            text += f"; in exact arithmetic too the gradient grows by {number(rate.rate)} a stage"
            return Diagnosis("exploding", event.node, text + self._remedy(event), evidence, share)
        cause = "saturation" if event.kind == "saturation" else "overflow"
        return Diagnosis(cause, event.node, text + self._remedy(event), evidence, share)

    def _format(self, event: Event) -> str:
        record = self.case.run.records[event.node]
        return record.format.name if record is not None and record.format is not None else "binary64"

    def _rounded(self, event: Event) -> int:
        """How many numbers were rounded where an event is: the result's, or the operand's that is cast."""
        where = event.node if event.operand is None else self.case.tape.nodes[event.node].inputs[event.operand]
        return self.case.run.value(where).size

    def _leaf(self, node: int) -> bool:
        return self.case.tape.nodes[node].leaf

    def _late(self, node: int) -> bool:
        return self.case.tape.nodes[node].direction == "backward" and not self._leaf(node)

    def _source(self, event: Event) -> str:
        node = self.case.tape.nodes[event.node]
        index = event.first_index
        words = []
        for ref in node.inputs:
            x = self.case.run.value(ref)
            if x.dtype.kind == "f":
                words.append(number(float(x[index])) if x.shape == node.shape else _extent(x))
        zero = event.producer if event.producer != event.node else None
        more = f", where {self._label(zero)} had flushed a number to zero" if zero is not None else ""
        return f"{node.op}({', '.join(words)}){more}"

    def _remedy(self, event: Event) -> str:
        """A loss scale under which no gradient overflows, and a format that holds all that the exact run needs."""
        case, parts = self.case, []
        values = [case.exact.value(node) for node in self.path if case.exact.value(node).dtype.kind == "f"]
        peak = max((float(np.abs(x).max()) for x in values if x.size), default=math.inf)
        if not math.isfinite(max(peak, abs(event.needed or math.inf))):
            return ""
        if self._late(event.node):
            scales = loss_scale(case.run, case.exact)
            parts += [f"a loss scale of 2^{scales.high}"] if scales.feasible and scales.high < 0 else []
        own = self._format(event)
        parts += [name for name in SAFE if float(fe.get_format(name).max) >= peak and name != own][:1]
        return f"; {' or '.join(parts)} {'would keep it' if len(parts) > 1 else 'holds it'}" if parts else ""

    def _growth(self) -> Growth | None:
        scalar = next((name for name in ("loss", *self.case.tape.targets) if self._scalar(name)), None)
        try:
            return None if scalar is None else growth(self.case.exact, scalar, 1)
        except UnsupportedError:
            return None

    def _scalar(self, name: str) -> bool:
        if name not in self.case.tape.targets:
            return False
        node = self.case.tape.target(name)
        return node.direction == "forward" and node.outputs[0].size == 1

    # The bottom of the range.

    def _underflow(self) -> Iterator[Diagnosis]:
        parts = {part.node: part.value for part in self.parts.contributions if part.cause == "underflow"}
        total = math.fsum(parts.values())
        events = [event for event in self.events if event.kind == "underflow"]
        dead = [event for event in events if 2 * event.flushed >= self._rounded(event) > 0]
        gone = self.report.emulated == 0 and self.report.exact != 0
        if not events or (self._share(total) < SHARE and not gone and not dead):
            return
        event = max(events, key=lambda event: (abs(parts.get(event.node, 0.0)), event.count))
        if self._share(total) < SHARE and dead:  # a tensor that vanishes takes its effect, to first order, along
            event = dead[0]
        size = self._rounded(event)
        into = f" {self._format(event)}" if event.operand is None else f", where operand {event.operand} is cast,"
        evidence: dict[str, Any] = {
            "needed": event.needed, "limit": event.limit, "count": event.count, "flushed": event.flushed, "size": size,
            "share": self._share(total),
        }  # fmt: skip
        text = (
            f"{self.what}: {self._label(event.node)} underflowed{into} in {event.count} of {plural(size, 'element')}, "
            f"{event.flushed} of them to zero (smallest {number(event.needed)}, least {number(event.limit)})"
        )
        rate = self._growth()
        if (
            rate is not None
            and rate.rate < 1 / STEEP
            and FAR * rate.norms[-1] < rate.norms[0]
            and self._late(event.node)
        ):
            evidence |= {"growth_per_stage": rate.rate, "stages": len(rate.stages)}
            text += f"; in exact arithmetic too the gradient shrinks to {number(rate.rate)} a stage"
            yield Diagnosis("vanishing", event.node, text, evidence, self._share(total))
        else:
            yield Diagnosis("underflow", event.node, text, evidence, self._share(total))

    # Additions that change nothing.

    def _lost_updates(self) -> Iterator[Diagnosis]:
        run, exact = self.case.run, self.case.exact
        for node in self.case.tape.nodes:
            weights = [one for ref in node.inputs if (one := updated(self.case.tape, ref, node)) is not None]
            record = run.records[node.id]
            if node.direction != "update" or not get_op(node.op).adds or not weights or record is None:
                continue
            stayed = (run.value(node.id) == run.value(weights[0])) & (exact.value(node.id) != exact.value(weights[0]))
            count, size = int(np.count_nonzero(stayed)), stayed.size
            if record.format is None or not count or count < SHARE * size:
                continue
            ratio = self._step_size(node, weights[0])
            text = (
                f"{count} of {plural(size, 'weight')} did not move: {node.label} adds steps of {number(ratio)} of the "
                f"weight, {record.format.name} resolves {number(2.0**-record.format.p)}; keep a master copy in a wider "
                "format, or round stochastically"
            )
            evidence = {"count": count, "size": size, "median_step": ratio}
            yield Diagnosis("lost_update", node.id, text, evidence, count / size)

    def _step_size(self, node: Node, weight: Value) -> float:
        before, after = self.case.exact.value(weight), self.case.exact.value(node.id)
        with np.errstate(all="ignore"):
            ratio = np.abs((after - before) / before)
        return float(np.median(ratio[np.isfinite(ratio)])) if np.isfinite(ratio).any() else math.nan

    def _absorption(self) -> Iterator[Diagnosis]:
        for node, share in self._loud():
            value, raw = self.case.run.value(node), self.case.run.records[node]
            unit = self._unit()
            local = measures.relative_error(value, raw.raw, raw.tail) if raw is not None else 0.0
            if local > QUIET * unit:
                label, count = self._label(node), self._terms(node)
                text = (
                    f"{self.what}: {label} lost {number(local)} of its sum of {plural(count, 'term')}: partial sums "
                    "grew until the terms no longer counted; accumulate in a wider format, or in blocks"
                )
                yield Diagnosis("absorption", node, text, {"local_error": local, "terms": count, "share": share}, share)

    def _terms(self, index: int) -> int:
        node = self.case.tape.nodes[index]
        shape = self.case.run.value(node.inputs[0]).shape
        return int(shape[node.attributes["axis"]] if node.op == "sum" else shape[-1])

    def _loud(self) -> Iterator[tuple[int, float]]:
        """Sums and products whose rounding within the range makes a share of the error."""
        for part in self.parts.contributions:
            if part.cause == "rounding" and part.op in ("sum", "matmul") and self._share(part.value) >= SHARE:
                yield part.node, self._share(part.value)

    # Subtractions that uncover earlier errors.

    def _cancellation(self) -> Iterator[Diagnosis]:
        case, unit = self.case, self._unit()
        what = case.tape.targets[case.target]
        error = measures.difference(case.run.value(what), case.exact.value(what), case.exact.tail(what))
        size = measures.norm(error)
        if not (math.isfinite(size) and size):
            return
        whole_known = self.parts.order == "first"
        best: tuple[float, NodeReport] | None = None
        for index, adjoint in mean_adjoints(case.exact, self._attributed(), what, (error / size, error / size)):
            report = case.nodes[index]
            if report.amplification is None or report.op not in ("add", "sub", "sum", "matmul"):
                continue
            if not (report.amplification >= WORSE and (report.inherited_error or 0) > QUIET * unit):
                continue
            whole = measures.difference(
                case.run.value(report.id), case.exact.value(report.id), case.exact.tail(report.id)
            )
            share = abs(float((adjoint * whole).sum())) / size
            if (share >= SHARE / 2 or not whole_known) and (
                best is None or report.amplification >= (best[1].amplification or 0)  # of equals, the earliest
            ):
                best = (share, report)
        if best is not None:
            share, report = best
            grown = report.amplification or 1.0
            text = (
                f"{self.what}: {self._label(report.id)} cancels {number(math.log2(grown))} bits: its operands' errors "
                f"grow {number(grown)} times to {number(report.inherited_error)}"
            )
            evidence = {
                "amplification": report.amplification,
                "cancellation_bits": report.cancellation_bits,
                "share": share,
            }
            yield Diagnosis("cancellation", report.id, text, evidence, share)

    # Decisions, casts, and the rest.

    def _flips(self) -> Iterator[Diagnosis]:
        share = self._share(self.parts.by("cause").get("branch_flip", 0.0))
        flips = [event for event in self.events if event.kind == "branch_flip"]
        if not flips or share < SHARE:
            return
        worst = max(flips, key=lambda event: event.count)
        count = sum(event.count for event in flips)
        pinned = compare_target(self.case.pinned, self.case.exact, self.case.target).rel_error
        if not pinned <= (1 - SHARE) * self.report.rel_error:  # the exact decisions would not have helped
            return
        text = (
            f"{self.what}: {plural(count, 'decision')} fell otherwise than in the exact run, most at "
            f"{self._label(worst.node)}; with the exact decisions the error is {number(pinned)}"
        )
        evidence = {"count": count, "nodes": [event.node for event in flips], "pinned_error": pinned, "share": share}
        yield Diagnosis("branch_flips", worst.node, text, evidence, share)

    def _cast(self) -> Iterator[Diagnosis]:
        everything = math.fsum(abs(part.value) for part in self.parts.contributions)
        for node in sorted({part.node for part in self.parts.contributions}):
            share = abs(self._own(node)) / everything
            if share >= 2 * SHARE and self.case.tape.nodes[node].leaf:
                report = self.case.nodes[node]
                text = (
                    f"{self.what}: {100 * share:.0f} % of it comes from storing {self._label(node)} in "
                    f"{report.format}, an error of {number(report.error)} relative to its norm"
                )
                yield Diagnosis("cast", node, text, {"error": report.error, "share": share}, share)

    def _rounding(self, unit: float) -> Iterator[Diagnosis]:
        top = self.parts.top(1)
        if not top:
            return
        worst, share = top[0], self._share(self._own(top[0].node))
        many = len({part.node for part in self.parts.contributions})
        text = (
            f"{self.what}, {number(self.report.rel_error / unit, 3)} unit roundoffs: the roundings of "
            f"{plural(many, 'node')} add up; most is made by {worst.label}, {100 * share:.0f} %"
        )
        yield Diagnosis("rounding", worst.node, text, {"share": share, "nodes": many}, share)


def number(x: float | None, digits: int = 3) -> str:
    """A number for a sentence; what was not measured is called so."""
    return "unknown" if x is None else short(x, digits)


def _extent(x: np.ndarray[Any, Any]) -> str:
    finite = np.isfinite(x)
    bad = "NaN" if np.isnan(x).any() else "inf" if not finite.all() else ""
    return f"{plural(x.size, 'element')}{f', {int((~finite).sum())} {bad}' if bad else ''}"
