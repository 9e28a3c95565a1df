"""What a report shows of one analysis, gathered once: sections and figures only arrange it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import floatemu as fe
from floatemu.errors import FloatEmuError

from ..attribution import Attribution
from ..bounds import OPS, Bound, cost
from ..bounds import of as bound_of
from ..comparison import NodeReport, TargetReport, ancestors, compare_target
from ..diagnosis import Diagnosis
from ..dynamics import Growth, LossScale
from ..events import Event
from ..tape import Node, Tape
from ..verdict import describe_event
from .histogram import Histogram
from .manifest import Found, manifest

__all__ = ["MOST_NODES", "RANGE_KINDS", "Content", "gather", "harm", "stages"]

RANGE_KINDS = ("overflow", "saturation", "nan_born", "inf_born", "underflow")
MOST_NODES = 5000
MOST_STAGES = 240
BOUNDS_LIMIT = 3_000_000
"""Microseconds, more or less, that bounds may take: exact sums of long ones take minutes."""
FEW_STEPS = 3
Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Content:
    """One policy's part of a report.

    Attributes
    ----------
    found : Analysis
    verdict : str
    target : TargetReport
        The main one; ``targets`` has all.
    targets : tuple of TargetReport
    pinned : float
        Relative error of the main target with the exact run's decisions.
    path : set of int
        Nodes that the main target is computed from.
    range_events, other_events : tuple of Event
        What left the range of a format, worst first; all else in order.
    attributions : tuple of Attribution
        Of the main target: of the length of its error (a tensor), then of its norm or value.
    nodes : tuple of NodeReport
        Those shown one by one, in order: all, or the ``MOST_NODES`` that matter most.
    left_out : int
        Number of nodes that are not.
    stages : tuple of str
        Places along the depth or time of the net, in forward order; ``stage_of[i]`` is that of node i.
    stage_of : tuple of int
    histograms : dict of int to (Histogram, Histogram)
        By shown node that holds real numbers: emulated and exact values.
    diagnosis : tuple of Diagnosis
    growth : mapping of str to Growth, or str
        Of the exact and the emulated gradient; or why it has none.
    loss_scale : LossScale or str
    bounds : tuple of Bound
        Of the sums and products that contribute most, as many as a few seconds allow, in order.
    bounds_left : int
        Number of those left out.
    manifest : dict
    """

    found: Found
    verdict: str
    target: TargetReport
    targets: tuple[TargetReport, ...]
    pinned: float
    path: set[int]
    range_events: tuple[Event, ...]
    other_events: tuple[Event, ...]
    attributions: tuple[Attribution, ...]
    nodes: tuple[NodeReport, ...]
    left_out: int
    stages: tuple[str, ...]
    stage_of: tuple[int, ...]
    histograms: dict[int, tuple[Histogram, Histogram]]
    diagnosis: tuple[Diagnosis, ...]
    growth: Mapping[str, Growth] | str
    loss_scale: LossScale | str
    bounds: tuple[Bound, ...]
    bounds_left: int
    manifest: dict[str, Any]

    def format(self, node: int) -> fe.Format | None:
        """Return the format of a node's result; None where nothing is rounded."""
        record = self.found.runs["emulated"].records[node]
        return None if record is None else record.format

    def sentence(self, event: Event) -> str:
        """Return one event in words, with the format in which it happened."""
        node = self.found.tape.nodes[event.node]
        fmt = self.format(event.node)
        if event.operand is not None:
            numerics = self.found.policy.numerics(node)
            gradient = self.found.tape.nodes[node.inputs[event.operand].node].direction == "backward"
            cast = numerics.gradients if gradient else numerics.operands
            fmt = cast if isinstance(cast, fe.Format) else None
        return describe_event(event, self.found.policy.name if fmt is None else fmt.name)


def gather(found: Found, most_nodes: int = MOST_NODES) -> Content:
    """Return what a report shows of an analysis.

    Parameters
    ----------
    found : Analysis
    most_nodes : int
        Number of nodes that may be shown one by one.

    Returns
    -------
    Content

    Examples
    --------
    >>> import analysis as an
    >>> content = gather(an.analyze(an.nets.chain(1e5, 0.25, 2), "fp16", "float64"))
    >>> [event.kind for event in content.range_events], content.stages
    (['overflow'], ('cast t=0', 'step1', 'step2'))
    """
    runs, main = found.runs, found.main
    path = ancestors(found.tape, main)
    target = found.target(main)
    functionals = [None] if target.size == 1 else ["error", None]
    nodes = _chosen(found, path, most_nodes)
    names, stage_of = stages(found.tape)
    bounds, bounds_left = _bounds(found)
    return Content(
        found,
        found.verdict(),
        target,
        tuple(found.target(name) for name in found.tape.targets),
        compare_target(runs["pinned"], runs["exact"], main).rel_error,
        path,
        tuple(sorted((e for e in found.events if e.kind in RANGE_KINDS), key=lambda e: _urgency(e, path))),
        tuple(event for event in found.events if event.kind not in RANGE_KINDS),
        tuple(found.attribution(main, functional) for functional in functionals),
        nodes,
        len(found.tape) - len(nodes),
        names,
        stage_of,
        {node.id: pair for node in nodes if (pair := found.histogram(node.id)) is not None},
        found.diagnose(),
        _or_why_not(found.growth),
        _or_why_not(found.loss_scale),
        bounds,
        bounds_left,
        manifest(found),
    )


def _bounds(found: Found) -> tuple[tuple[Bound, ...], int]:
    run, chosen, spent = found.runs["emulated"], [], 0
    summing = [found.tape.nodes[node.id] for node in sorted(found.nodes, key=harm, reverse=True) if node.op in OPS]
    for node in summing:
        spent += cost(run, node)
        if spent > BOUNDS_LIMIT:
            break
        chosen.append(node.id)
    return tuple(bound_of(run, node, found.policy) for node in sorted(chosen)), len(summing) - len(chosen)


def _or_why_not(measure: Callable[[], Measured]) -> Measured | str:
    try:
        return measure()
    except FloatEmuError as error:  # no scalar loss on the tape, no backward pass, too few stages
        return str(error)


def _urgency(event: Event, path: set[int]) -> tuple[bool, bool, bool, bool, int]:
    # on the target's way, at its producer, beyond the range before below it, lost before merely coarse; then by place
    return event.node not in path, not event.produced, not event.fatal, not event.flushed, event.node


def harm(node: NodeReport) -> float:
    """Return what to order nodes by: share of the target's error, or local error; infinity for what is no number."""
    size = abs((node.local_error if node.contribution is None else node.contribution) or 0.0)
    return size if math.isfinite(size) else math.inf


def _chosen(found: Found, path: set[int], most: int) -> tuple[NodeReport, ...]:
    if len(found.nodes) <= most:
        return found.nodes
    eventful = {event.node for event in found.events if event.kind in RANGE_KINDS and event.node in path}
    ordered = sorted(found.nodes, key=lambda node: (node.id not in eventful, -harm(node), node.id))
    return tuple(sorted(ordered[:most], key=lambda node: node.id))


def _with_step(place: str, node: Node) -> str:
    if node.step is None or str(node.step) in re.findall(r"\d+", place):
        return place
    return f"{place} t={node.step}"


_PLACES: tuple[Callable[[Node], str], ...] = (
    lambda node: _with_step(node.path, node),
    lambda node: _with_step(".".join(node.path.split(".")[:2]), node),
    lambda node: _with_step(node.path.split(".")[0], node),
)


def stages(tape: Tape) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the places along a net, in forward order, and which of them each node belongs to.

    A place is a module path; where that makes too many of them, its first one or two parts. Along time it is the
    first part with the time step, and what is read at a step belongs to what reads it.

    Parameters
    ----------
    tape : Tape

    Returns
    -------
    names : tuple of str
    stage_of : tuple of int

    Examples
    --------
    >>> import analysis as an
    >>> stages(an.nets.mlp(batch=4))[0]
    ('data', 'layer0', 'layer0.relu', 'layer1', 'loss')
    """
    homes = _homes(tape)
    forward_first: Sequence[Node] = sorted(homes, key=lambda node: node.direction != "forward")
    timed = len({node.step for node in tape.nodes if node.step is not None}) > FEW_STEPS
    for place in _PLACES[-1:] if timed else _PLACES:
        order = {name: index for index, name in enumerate(dict.fromkeys(place(node) for node in forward_first))}
        if len(order) <= MOST_STAGES:
            break
    return tuple(name or "(no path)" for name in order), tuple(order[place(node)] for node in homes)


def _homes(tape: Tape) -> list[Node]:
    """For each node the one whose place it shares: itself, but for a leaf of a time step its first reader."""
    homes = list(tape.nodes)
    for node in reversed(tape.nodes):
        for ref in node.inputs:
            leaf = tape.nodes[ref.node]
            if leaf.leaf and leaf.step is not None and leaf.step == node.step:
                homes[ref.node] = node
    return homes
