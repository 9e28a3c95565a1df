"""Events: which operation first made an infinity, a NaN, a zero or a saturated value out of healthy numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import floatemu as fe
from floatemu.surveys import Scan, Step

from .arithmetics.base import Array
from .tape import Node

__all__ = ["HEALTHY", "KINDS", "Event", "Health", "Rounded", "detect", "flips", "quiet"]

KINDS = (
    "overflow",
    "underflow",
    "saturation",
    "nan_born",
    "inf_born",
    "absorption",
    "lost_update",
    "branch_flip",
)
_BEYOND = int(fe.Flag.OVERFLOW | fe.Flag.SATURATED | fe.Flag.NAN_BORN)
_RANGE = _BEYOND | int(fe.Flag.UNDERFLOW)
_FATAL = ("overflow", "saturation", "nan_born", "inf_born")


@dataclass(frozen=True)
class Event:
    """Something that happened at one node of a replay.

    Attributes
    ----------
    node : int
    op, path, direction : str
    kind : str
        One of ``KINDS``.
    producer : int
        Id of the node that made the trouble: the node itself if its operands were healthy, else the earliest
        node whose infinity, NaN or flushed zero reached it.
    count : int
        Number of elements.
    first_index : tuple of int
        The first of them.
    needed : float or None
        overflow, saturation: the largest magnitude that was needed; negative for values below the range of an
        unsigned format. underflow: the smallest magnitude.
    limit : float or None
        What the format offers: its largest (lowest) finite value, or its smallest positive value (smallest normal
        value where nothing was flushed to zero).
    step : int or None
        The node's place in a sequence.
    result : str
        What came of it: "inf", "nan", "max", "zero", "subnormal", "flip" or "unchanged".
    flushed : int
        Of the elements, how many became zero.
    operand : int or None
        The operand, if it happened where an operand was cast, not to the result.

    Examples
    --------
    >>> import analysis as an
    >>> run = an.replay(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("binary16"))
    >>> [(event.kind, event.node, event.needed, event.limit) for event in run.events]
    [('overflow', 0, 100000.0, 65504.0)]
    """

    node: int
    op: str
    path: str
    direction: str
    kind: str
    producer: int
    count: int
    first_index: tuple[int, ...]
    needed: float | None = None
    limit: float | None = None
    step: int | None = None
    result: str = ""
    flushed: int = 0
    operand: int | None = None

    @property
    def produced(self) -> bool:
        """Whether the node made the trouble itself, out of healthy operands."""
        return self.node == self.producer

    @property
    def fatal(self) -> bool:
        """Whether the range of the format was left at the top, or a number stopped being one."""
        return self.kind in _FATAL

    def to_json(self) -> dict[str, Any]:
        """Return the event as a JSON object.

        Returns
        -------
        dict
        """
        return {**self.__dict__, "first_index": list(self.first_index)}


class Rounded(NamedTuple):
    """One rounding at a node: of its result, or of an operand that it casts.

    Attributes
    ----------
    format : Format
        binary64 if nothing was rounded.
    before, after : ndarray of float64
    flags : ndarray of uint8
    operand : int or None
        The operand, if it is one.
    """

    format: fe.Format
    before: Array
    after: Array
    flags: Array
    operand: int | None = None

    def step(self, node: Node, inputs: Sequence[Array]) -> Step:
        """Return what a scan looks at, the operands that were added included.

        Parameters
        ----------
        node : Node
        inputs : sequence of ndarray
            What it added; nothing if it adds nothing.

        Returns
        -------
        Step
        """
        if not inputs:
            return Step(self.before, self.after, self.flags)
        # a tape that was read from a file may leave it to numpy to make the shapes equal
        left, right = (x if x.shape == self.after.shape else np.broadcast_to(x, self.after.shape) for x in inputs)
        return Step(self.before, self.after, self.flags, left, right, node.op == "sub")


class Health(NamedTuple):
    """Where the non-finite numbers and the flushed zeros of one value come from.

    Attributes
    ----------
    sick : int or None
        Earliest node that made an infinity or NaN still present in the value.
    zero : int or None
        Earliest node that flushed a number to zero on the way to the value.
    """

    sick: int | None = None
    zero: int | None = None

    def merge(self, other: Health) -> Health:
        """Return the earliest of each."""
        if self is HEALTHY or self == other:
            return other
        return Health(_earliest(self.sick, other.sick), _earliest(self.zero, other.zero))

    def after(self, events: Sequence[Event]) -> Health:
        """Return what remains after a node with these events."""
        fatal = [event.producer for event in events if event.result in ("inf", "nan")]
        zeros = [event.producer for event in events if event.flushed]
        if not fatal and not zeros:
            return self
        return self.merge(Health(min(fatal, default=None), min(zeros, default=None)))


def quiet(scan: Scan) -> bool:
    """Whether a rounding gives no reason to look for events.

    Parameters
    ----------
    scan : Scan

    Returns
    -------
    bool
    """
    return not (scan.raised & _RANGE or scan.unfit or scan.absorbed)


def _earliest(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


HEALTHY = Health()


def _event(
    node: Node, kind: str, count: int, first: int, shape: tuple[int, ...], producer: int | None = None, **rest: Any
) -> Event:
    index = tuple(int(i) for i in np.unravel_index(first, shape))
    who = node.id if producer is None else producer
    return Event(node.id, node.op, node.path, node.direction, kind, who, count, index, step=node.step, **rest)


def _masked(node: Node, kind: str, mask: Array, producer: int | None, **rest: Any) -> Event:
    return _event(node, kind, int(np.count_nonzero(mask)), int(mask.argmax()), mask.shape, producer, **rest)


def _rounding_events(node: Node, rounded: Rounded, scan: Scan, health: Health) -> Iterator[Event]:
    fmt, operand = rounded.format, rounded.operand
    if scan.raised & _BEYOND:
        yield from _range_events(node, rounded, health)
    if scan.underflows:
        yield _event(
            node,
            "underflow",
            scan.underflows,
            scan.first_underflow,
            rounded.after.shape,
            needed=scan.least or None,  # 0: below binary64's own least number
            limit=float(fmt.min_positive if scan.flushes else fmt.min_normal),
            result="zero" if scan.flushes else "subnormal",
            flushed=scan.flushes,
            operand=operand,
        )


def _range_events(node: Node, rounded: Rounded, health: Health) -> Iterator[Event]:
    fmt, raw, value, flags, operand = rounded
    over, saturated = (flags & fe.Flag.OVERFLOW) != 0, (flags & fe.Flag.SATURATED) != 0
    # an unsigned format ends at its lowest value too: what lies below has another limit than what lies above
    below = (raw < 0) & (not fmt.signed)
    for side, need, limit in ((~below, np.abs(raw), float(fmt.max)), (below, raw, float(fmt.min))):
        if (mask := over & ~saturated & side).any():
            result = "nan" if np.isnan(value[mask]).any() else "inf" if np.isinf(value[mask]).any() else "max"
            needed = float(need[mask][np.abs(need[mask]).argmax()])
            yield _masked(node, "overflow", mask, None, needed=needed, limit=limit, result=result, operand=operand)
        if (mask := saturated & side).any():
            producer = None if np.isfinite(raw[mask]).any() else health.sick
            needed = float(need[mask][np.abs(need[mask]).argmax()])
            yield _masked(node, "saturation", mask, producer, needed=needed, limit=limit, result="max", operand=operand)
    if (mask := ((flags & fe.Flag.NAN_BORN) != 0) & ~over).any():  # an infinity, in a format without infinities
        yield _masked(node, "nan_born", mask, health.sick, result="nan", operand=operand)


def _poles(node: Node, inputs: Sequence[Array], shape: tuple[int, ...]) -> Array:
    # where an infinity is the mathematical value, not one that left binary64's range
    if node.op == "div":
        return np.asarray(inputs[1] == 0)
    if node.op in ("log", "rsqrt"):
        return np.asarray(inputs[0] == 0)
    return np.zeros(shape, dtype=bool)


def _operation_events(
    node: Node, fmt: fe.Format, inputs: Sequence[Array], raw: Array, health: Health
) -> Iterator[Event]:
    floats = [x for x in inputs if x.dtype.kind == "f"]
    if any(np.isnan(x).all() for x in floats if x.size):
        return  # as after a NaN that went everywhere: nothing is born of it
    if all(x.shape == raw.shape for x in floats):
        healthy = np.logical_and.reduce([np.isfinite(x) for x in floats]) if floats else np.ones(raw.shape, bool)
        numbers = ~np.logical_or.reduce([np.isnan(x) for x in floats]) if floats else healthy
    else:  # sums and products: each element draws on many
        healthy = np.full(raw.shape, all(bool(np.isfinite(x).all()) for x in floats))
        numbers = np.full(raw.shape, not any(bool(np.isnan(x).any()) for x in floats))
    born = np.isinf(raw) & healthy
    poles = _poles(node, inputs, raw.shape)
    if (mask := born & ~poles).any():
        limit = float(fmt.max)
        yield _masked(node, "overflow", mask, None, needed=float("inf"), limit=limit, result="inf")
    if (mask := born & poles).any():
        yield _masked(node, "inf_born", mask, health.zero, result="inf")
    if (mask := np.isnan(raw) & numbers).any():
        unhealthy = not bool(healthy[mask].all())
        yield _masked(node, "nan_born", mask, health.sick if unhealthy else health.zero, result="nan")


def detect(
    node: Node, inputs: Sequence[Array], roundings: Sequence[Rounded], scans: Sequence[Scan], health: Health
) -> list[Event]:
    """Return the events of one emulated node.

    Parameters
    ----------
    node : Node
    inputs : sequence of ndarray
        Operands as the operation saw them.
    roundings : sequence of Rounded
        Of operands that were cast, and last of the result.
    scans : sequence of Scan
        What each of them shows.
    health : Health
        Of the operands, merged.

    Returns
    -------
    list of Event

    Examples
    --------
    >>> from floatemu.surveys import scan_all
    >>> node, one, zero, inf = Node(5, "div"), np.array([1.0]), np.array([0.0]), np.array([np.inf])
    >>> rounded = Rounded(fe.get_format("bf16"), inf, inf, np.zeros(1, np.uint8))
    >>> found = detect(node, [one, zero], [rounded], list(scan_all([rounded.step(node, [])])), Health(zero=3))
    >>> [(event.kind, event.producer) for event in found]
    [('inf_born', 3)]
    """
    found: list[Event] = []
    for cast, scan in zip(roundings[:-1], scans):
        found.extend(_rounding_events(node, cast, scan, health))
    result, scan = roundings[-1], scans[-1]
    if scan.unfit and not node.leaf:
        found.extend(_operation_events(node, result.format, inputs, result.before, health))
    found.extend(_rounding_events(node, result, scan, health))
    if scan.absorbed:
        kind = "lost_update" if node.direction == "update" else "absorption"
        shape = result.after.shape
        found.append(_event(node, kind, scan.absorbed, scan.first_absorbed, shape, result="unchanged"))
    return found


def flips(node: Node, decided: Array, exact: Array) -> Event | None:
    """Return the event of a decision that went another way than in the exact run, None if none did.

    Parameters
    ----------
    node : Node
        A branch.
    decided, exact : ndarray of bool or int64

    Returns
    -------
    Event or None

    Examples
    --------
    >>> flips(Node(3, "positive"), np.array([True, False]), np.array([True, True])).count
    1
    """
    mask = decided != exact
    return _masked(node, "branch_flip", mask, None, result="flip") if mask.any() else None
