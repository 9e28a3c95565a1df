"""Comparing an emulated run with the exact one, node by node."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import floatemu as fe
from floatemu.surveys import Sample, Survey, survey_all

from . import measures
from .engine import Run
from .events import Event, flips
from .ops import get_op
from .tape import Node, Tape

__all__ = ["COUNTS", "NodeReport", "TargetReport", "ancestors", "compare_nodes", "compare_target", "flip_events"]


COUNTS = (
    "zeros_new",
    "zeros_inherited",
    "subnormal",
    "subnormal_new",
    "saturated",
    "overflowed",
    "beyond",
    "nonfinite_inherited",
    "absorbed",
    "flips",
)
"""What a report of a node counts among its elements."""


class NodeReport(NamedTuple):
    """What a replay lost at one node. Errors are norms relative to the norm of the exact value.

    Attributes
    ----------
    id, op, path, direction, site, shape
        Of the node.
    format : str
        Format of its output; "none" where nothing is rounded.
    local_error : float or None
        Of its own rounding, on its own operands. None for outputs that are no real numbers.
    inherited_error : float or None
        Of its operands' errors, carried through the exact operation.
    error : float or None
        Both together: emulated against exact.
    local_worst, inherited_worst, error_worst : float or None
        The same component by component: largest error of an element over its exact value; infinite where that is zero.
    local_ulp, inherited_ulp : float or None
        Largest of these errors of an element, in units in the last place of the format.
    ulp_max : float or None
        Largest error of an element, in units in the last place of the format.
    amplification : float or None
        inherited_error over the largest relative error of an operand; None where all operands are exact.
    condition : float or None
        Norm-wise condition number of the operation at the exact point.
    cancellation_bits : float or None
        Largest log2 of an element's condition number: leading bits that cancel.
    amax, amin_nonzero : float or None
        Range of the emulated magnitudes.
    exact_amax, exact_amin_nonzero : float or None
        Range of the exact magnitudes.
    zeros_new, zeros_inherited : int
        Zeros made by the rounding here; other zeros where the exact value is not zero.
    subnormal, saturated, overflowed, absorbed, flips : int
        Counts of elements.
    beyond : int
        Elements whose rounding left the range: overflowed, saturated, or both, each counted once.
    subnormal_new : int
        Of the subnormal elements, those that the rounding changed here; the others came as they are.
    nonfinite_inherited : int
        Infinities and NaN that the rounding did not make, where the exact value is finite. (Saturated numbers are like
        any others afterwards; the producer of an event tells where they were made.)
    contribution : float or None
        What this node's local error contributes to the target's error, over the norm of the target, signed; None if
        not asked for.

    Examples
    --------
    >>> import analysis as an
    >>> found = an.analyze(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("bfloat16"))
    >>> [(node.op, node.local_error) for node in found.nodes[:3]]
    [('input', 0.0016), ('constant', 0.0), ('mul', 0.0)]
    """

    id: int
    op: str
    path: str
    direction: str
    site: str
    shape: tuple[int, ...]
    format: str
    local_error: float | None
    inherited_error: float | None
    error: float | None
    local_worst: float | None
    inherited_worst: float | None
    error_worst: float | None
    local_ulp: float | None
    inherited_ulp: float | None
    ulp_max: float | None
    amplification: float | None
    condition: float | None
    cancellation_bits: float | None
    amax: float | None
    amin_nonzero: float | None
    exact_amax: float | None
    exact_amin_nonzero: float | None
    zeros_new: int
    zeros_inherited: int
    subnormal: int
    saturated: int
    overflowed: int
    absorbed: int
    flips: int
    beyond: int
    subnormal_new: int
    nonfinite_inherited: int
    contribution: float | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def fractions(self) -> dict[str, float]:
        """The counts as shares of the elements, by name; 0 where there is no element.

        Examples
        --------
        >>> import analysis as an
        >>> found = an.analyze(an.nets.mlp(batch=8), "e4m3fn", "float64")
        >>> max(node.fractions["zeros_new"] for node in found.nodes)
        0.0875
        """
        return {name: getattr(self, name) / max(self.size, 1) for name in COUNTS}

    @property
    def label(self) -> str:
        """Short name for tables: id, operation, path and direction."""
        return f"%{self.id} {self.op} ({', '.join(word for word in (self.path, self.direction) if word)})"


@dataclass(frozen=True)
class TargetReport:
    """How much of a target survives.

    Attributes
    ----------
    name : str
    exact, emulated : float
        The values of a scalar, the norms of anything larger.
    rel_error : float
    bits : float
        -log2(rel_error).
    norm_ratio, zero_fraction : float
    size : int
        Number of elements.

    Examples
    --------
    >>> import analysis as an
    >>> an.analyze(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("bf16")).target("result").emulated
    0.09521484375
    """

    name: str
    exact: float
    emulated: float
    rel_error: float
    bits: float
    norm_ratio: float
    zero_fraction: float
    size: int = 1


def compare_target(run: Run, exact: Run, name: str) -> TargetReport:
    """Compare one target of two runs of a tape.

    Parameters
    ----------
    run, exact : Run
    name : str

    Returns
    -------
    TargetReport

    Raises
    ------
    TapeError
        If the tape has no such target.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.chain(1e5, 0.25, 10)
    >>> compare_target(an.replay(tape, an.Policy.uniform("e5m2")), an.replay(tape, an.Float64()), "result").bits
    -inf
    """
    run.tape.target(name)
    actual, true = run.value(name).astype(np.float64), exact.value(name).astype(np.float64)
    relative = measures.relative_error(actual, true, exact.tail(name))
    size = measures.norm if true.size != 1 else lambda x: float(x.reshape(()))
    return TargetReport(
        name,
        size(true),
        size(actual),
        relative,
        measures.significant_bits(relative),
        measures.norm_ratio(actual, true),
        measures.zero_fraction(actual),
        int(true.size),
    )


def flip_events(run: Run, exact: Run) -> list[Event]:
    """Return the decisions of a run that differ from the exact ones.

    Parameters
    ----------
    run, exact : Run

    Returns
    -------
    list of Event

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp(batch=8)
    >>> flip_events(an.replay(tape, an.Float64()), an.replay(tape, an.Exact(106)))
    []
    """
    found = []
    for node in run.tape.nodes:
        if node.outputs[0].dtype != "float64" and not node.leaf:
            event = flips(node, run.value(node.id), exact.value(node.id))
            if event is not None:
                found.append(event)
    return found


def ancestors(tape: Tape, target: str) -> set[int]:
    """Return the ids of the nodes that a target is computed from, itself included.

    Parameters
    ----------
    tape : Tape
    target : str

    Returns
    -------
    set of int

    Examples
    --------
    >>> import analysis as an
    >>> sorted(ancestors(an.nets.chain(1.0, 0.5, 2), "result"))
    [0, 1, 2, 3]
    """
    found = {tape.target(target).id}
    for node in reversed(tape.nodes):
        if node.id in found:
            found.update(ref.node for ref in node.inputs)
    return found


def compare_nodes(run: Run, exact: Run, shares: Mapping[int, float] | None = None) -> tuple[NodeReport, ...]:
    """Compare every node of an emulated run with the exact run.

    Parameters
    ----------
    run : Run
        Emulated: its records are needed.
    exact : Run
    shares : mapping of int to float, optional
        What nodes contribute to a target: :meth:`analysis.attribution.Attribution.shares`.

    Returns
    -------
    tuple of NodeReport

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.chain(1e5, 0.25, 10)
    >>> nodes = compare_nodes(an.replay(tape, an.Policy.uniform("bf16")), an.replay(tape, an.Float64()))
    >>> nodes[-1].inherited_error
    0.0016
    """
    absorbed = {event.node: event.count for event in run.events if event.kind in ("absorption", "lost_update")}
    errors: list[float] = []
    found = []
    with np.errstate(all="ignore"):
        surveys = survey_all(_samples(run, exact))  # one after the other, as the nodes come: memory holds a few
        for node, values in zip(run.tape.nodes, run.values):
            share = None if shares is None else shares.get(node.id, 0.0)
            if values[0].dtype.kind == "f":
                before = max([errors[ref.node] for ref in node.inputs], default=0.0)
                record = run.records[node.id]
                fmt = None if record is None else record.format
                report = _report(node, fmt, next(surveys), before, absorbed.get(node.id, 0), share)
            else:
                wrong = 0 if node.leaf else int(np.count_nonzero(values[0] != exact.value(node.id)))
                report = NodeReport(*_head(node), "none", *(None,) * 16, *(0,) * 6, wrong, 0, 0, 0, share)
            errors.append(report.error or 0.0)
            found.append(report)
    return tuple(found)


def _samples(run: Run, exact: Run) -> Iterator[Sample]:
    for node, values, record in zip(run.tape.nodes, run.values, run.records):
        if values[0].dtype.kind != "f":
            continue
        spec, (true,), (tail,) = get_op(node.op), exact.values[node.id], exact.tails[node.id]
        felt = None
        if spec.sensitivity is not None:
            felt = np.asarray(spec.sensitivity([exact.value(ref) for ref in node.inputs], true, node.attributes))
        if record is None:
            yield Sample(values[0], true, None, tail, sensitivity=felt)
        else:
            yield Sample(values[0], true, record.format, tail, record.raw, record.tail, felt, record.flags)


def _head(node: Node) -> tuple[int, str, str, str, str, tuple[int, ...]]:
    return node.id, node.op, node.path, node.direction, node.site, node.shape


def _report(
    node: Node, fmt: fe.Format | None, found: Survey, before: float, absorbed: int, share: float | None
) -> NodeReport:
    known = get_op(node.op).sensitivity is not None
    inherited = _relative(found.inherited, found.size)
    return NodeReport(
        *_head(node),
        "none" if fmt is None else fmt.name,
        _relative(found.local, found.size),
        inherited,
        _relative(found.error, found.size),
        found.local_worst,
        found.inherited_worst,
        found.worst,
        None if fmt is None else found.local_ulps,
        None if fmt is None else found.inherited_ulps,
        None if fmt is None else found.ulps,
        inherited / before if before else None,
        _condition(found.sensitivity, found.size) if known else None,
        math.log2(max(1.0, found.ratio)) if known else None,
        found.amax,
        found.amin,
        found.exact_amax,
        found.exact_amin,
        found.zeros_new,
        found.zeros_inherited,
        found.subnormal,
        found.saturated,
        found.overflowed,
        absorbed,
        0,
        found.beyond,
        found.subnormal_new,
        found.unfit_inherited,
        share,
    )


def _relative(error: float, size: float) -> float:
    if error == 0:
        return 0.0
    if size == 0:  # as measures.relative_error: NaN stays NaN
        return error if math.isnan(error) else math.inf
    return error / size


def _condition(sensitivity: float, size: float) -> float | None:
    return sensitivity / size if size else (None if sensitivity == 0 else math.inf)


def to_json(report: NodeReport | TargetReport) -> dict[str, Any]:
    """Return a report as a JSON object.

    Parameters
    ----------
    report : NodeReport or TargetReport

    Returns
    -------
    dict
    """
    if isinstance(report, NodeReport):
        return {**report._asdict(), "size": report.size, "fractions": report.fractions}
    return dict(report.__dict__)
