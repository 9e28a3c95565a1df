"""Events: which operation first made an infinity, a NaN, a zero or a saturated value out of healthy numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import floatemu as fe

from .arithmetics.base import Array
from .tape import Node

__all__ = ["KINDS", "Event", "Health", "absorbed", "detect", "flips"]

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
_TOP = int(fe.Flag.OVERFLOW | fe.Flag.SATURATED)
_RANGE = int(fe.Flag.OVERFLOW | fe.Flag.SATURATED | fe.Flag.NAN_BORN | fe.Flag.UNDERFLOW)
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


@dataclass
class Health:
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

    @staticmethod
    def merge(parts: Sequence[Health]) -> Health:
        """Return the earliest of each."""
        sick, zero = None, None
        for part in parts:
            if part.sick is not None:
                sick = part.sick if sick is None else min(sick, part.sick)
            if part.zero is not None:
                zero = part.zero if zero is None else min(zero, part.zero)
        return Health(sick, zero)


def _event(node: Node, kind: str, mask: Array, producer: int | None, **rest: Any) -> Event:
    first = tuple(int(index) for index in np.argwhere(mask)[0])
    who = node.id if producer is None else producer
    count = int(np.count_nonzero(mask))
    return Event(node.id, node.op, node.path, node.direction, kind, who, count, first, step=node.step, **rest)


def _rounding_events(
    node: Node, fmt: fe.Format, raw: Array, value: Array, flags: Array, health: Health, operand: int | None
) -> Iterator[Event]:
    raised = int(np.bitwise_or.reduce(flags, axis=None))
    if not raised & _RANGE:
        return
    over, saturated = (flags & fe.Flag.OVERFLOW) != 0, (flags & fe.Flag.SATURATED) != 0
    magnitude, limit = np.abs(raw), float(fmt.max)
    # an unsigned format ends at its lowest value too: what lies below has another limit than what lies above
    below = (raw < 0) & (not fmt.signed)
    lowest = float(fmt.min)
    sides = ((~below, magnitude, limit), (below, raw, lowest)) if raised & _TOP else ()
    for side, need, end in sides:
        if (mask := over & ~saturated & side).any():
            result = "nan" if np.isnan(value[mask]).any() else "inf" if np.isinf(value[mask]).any() else "max"
            needed = float(need[mask][np.abs(need[mask]).argmax()])
            yield _event(node, "overflow", mask, None, needed=needed, limit=end, result=result, operand=operand)
        if (mask := saturated & side).any():
            producer = None if np.isfinite(raw[mask]).any() else health.sick
            needed = float(need[mask][np.abs(need[mask]).argmax()])
            yield _event(node, "saturation", mask, producer, needed=needed, limit=end, result="max", operand=operand)
    if (mask := ((flags & fe.Flag.NAN_BORN) != 0) & ~over).any():  # an infinity, in a format without infinities
        yield _event(node, "nan_born", mask, health.sick, result="nan", operand=operand)
    if (mask := (flags & fe.Flag.UNDERFLOW) != 0).any():
        flushed = int(np.count_nonzero((flags & fe.Flag.FLUSHED) != 0))
        yield _event(
            node,
            "underflow",
            mask,
            None,
            needed=float(magnitude[mask].min()) or None,  # 0: below binary64's own least number
            limit=float(fmt.min_positive if flushed else fmt.min_normal),
            result="zero" if flushed else "subnormal",
            flushed=flushed,
            operand=operand,
        )


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
    if np.isfinite(raw).all():
        return
    floats = [x for x in inputs if x.dtype.kind == "f"]
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
        yield _event(node, "overflow", mask, None, needed=float("inf"), limit=limit, result="inf")
    if (mask := born & poles).any():
        yield _event(node, "inf_born", mask, health.zero, result="inf")
    if (mask := np.isnan(raw) & numbers).any():
        unhealthy = not bool(healthy[mask].all())
        yield _event(node, "nan_born", mask, health.sick if unhealthy else health.zero, result="nan")


def absorbed(node: Node, inputs: Sequence[Array], value: Array) -> Array:
    """Return where adding one operand left the other as it was.

    Parameters
    ----------
    node : Node
        An "add" or "sub".
    inputs : sequence of ndarray
    value : ndarray

    Returns
    -------
    ndarray of bool

    Examples
    --------
    >>> absorbed(Node(2, "add"), [np.array([256.0]), np.array([1.0])], np.array([256.0])).tolist()
    [True]
    """
    a, b = inputs[0], inputs[1] if node.op == "add" else -inputs[1]
    mask: Array = ((value == a) & (b != 0) | (value == b) & (a != 0)) & np.isfinite(value)
    return mask


def detect(
    node: Node,
    fmt: fe.Format | None,
    inputs: Sequence[Array],
    raw: Array,
    value: Array,
    flags: Array,
    health: Health,
    adds: bool,
    casts: Sequence[tuple[int, fe.Format, Array, Array, Array]] = (),
) -> list[Event]:
    """Return the events of one emulated node.

    Parameters
    ----------
    node : Node
    fmt : Format or None
        Format of the result.
    inputs : sequence of ndarray
        Operands as the operation saw them.
    raw, value : ndarray of float64
        Result before and after its rounding.
    flags : ndarray of uint8
    health : Health
        Of the operands, merged.
    adds : bool
        Whether the operation adds two numbers.
    casts : sequence of (operand, format, before, after, flags)

    Returns
    -------
    list of Event

    Examples
    --------
    >>> node = Node(5, "div")
    >>> one, zero, inf = np.array([1.0]), np.array([0.0]), np.array([np.inf])
    >>> found = detect(node, fe.get_format("bf16"), [one, zero], inf, inf, np.zeros(1, np.uint8), Health(zero=3), False)
    >>> [(event.kind, event.producer) for event in found]
    [('inf_born', 3)]
    """
    found: list[Event] = []
    for operand, cast, before, after, raised in casts:
        found.extend(_rounding_events(node, cast, before, after, raised, health, operand))
    if fmt is None:
        fmt = fe.get_format("binary64")
    if not node.leaf:
        found.extend(_operation_events(node, fmt, inputs, raw, health))
    found.extend(_rounding_events(node, fmt, raw, value, flags, health, None))
    if adds and (mask := absorbed(node, inputs, value)).any():
        kind = "lost_update" if node.direction == "update" else "absorption"
        found.append(_event(node, kind, mask, None, result="unchanged"))
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
    return _event(node, "branch_flip", mask, None, result="flip") if mask.any() else None
