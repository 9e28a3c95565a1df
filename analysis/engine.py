"""Replays: evaluate a tape in binary64, under a policy, or at any precision, freely or with pinned branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

import floatemu as fe
from floatemu.errors import UnsupportedError
from floatemu.surveys import PIECE, scan_all

from .arithmetics.base import Arithmetic, Array
from .arithmetics.emulated import Emulated
from .arithmetics.exact import Exact
from .arithmetics.float64 import Float64
from .events import HEALTHY, Event, Health, Rounded, detect, quiet
from .ops import Kind, OpSpec, get_op
from .policy import OPERANDS, SUMS, Numerics, Policy
from .tape import Node, Tape, TapeError, Value

__all__ = ["Record", "Run", "replay"]

# A binary64 result of a product or sum of two p-bit numbers is exact, or rounds again safely, up to this precision.
_NARROW = 25
_LOCAL_BITS = 160
_PLAIN = Emulated()
_BINARY64 = fe.get_format("binary64")


class Record(NamedTuple):
    """What an emulated replay notes about one output besides its value.

    Attributes
    ----------
    numerics : Numerics
        The policy's, for this output.
    raw : ndarray of float64
        The plain operation's result on its emulated operands: value - raw is the local error. (Operands and
        partial sums that a policy rounds inside the node belong to that error.)
    tail : ndarray of float64 or None
        raw + tail is that result to 106 bits, where binary64 was not enough (formats of more than 25 bits).
    flags : ndarray of uint8
        Bits of :class:`floatemu.Flag`.
    """

    numerics: Numerics
    raw: Array
    tail: Array | None
    flags: Array

    @property
    def format(self) -> fe.Format | None:
        """Format of the result; None where it was not rounded."""
        return self.numerics.format


@dataclass(frozen=True)
class Run:
    """The values of one replay.

    Attributes
    ----------
    tape : Tape
    arithmetic : str
        Name of the arithmetic or policy.
    values : tuple of tuple of ndarray
        ``values[node][output]``: float64, int64 or bool.
    tails : tuple of tuple of (ndarray or None)
        What to add to get the value to 106 bits, in replays at higher precision.
    records : tuple of (Record or None)
        Notes of an emulated replay, by node.
    events : tuple of Event
        In the order of the nodes.
    pinned : bool
        Whether decisions were taken over from another run.

    Examples
    --------
    >>> import analysis as an
    >>> run = an.replay(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("bfloat16"))
    >>> run.value("result").item()
    0.09521484375
    """

    tape: Tape
    arithmetic: str
    values: tuple[tuple[Array, ...], ...]
    tails: tuple[tuple[Array | None, ...], ...]
    records: tuple[Record | None, ...]
    events: tuple[Event, ...]
    pinned: bool = False

    def _ref(self, what: Value | int | str) -> Value:
        if isinstance(what, str):
            return Value(self.tape.target(what).id, self.tape.targets[what].output)
        return what if isinstance(what, Value) else Value(what)

    def value(self, what: Value | int | str) -> Array:
        """Return a value by target name, node id or :class:`Value`."""
        ref = self._ref(what)
        return self.values[ref.node][ref.output]

    def tail(self, what: Value | int | str) -> Array | None:
        """Return what to add to :meth:`value` to get 106 bits, or None."""
        ref = self._ref(what)
        return self.tails[ref.node][ref.output]


def replay(
    tape: Tape,
    policy: Policy | Arithmetic | str,
    *,
    pinned: bool | Run = False,
    step: int = 0,
    local: str = "float64",
) -> Run:
    """Evaluate a tape under a policy or in an arithmetic.

    Parameters
    ----------
    tape : Tape
    policy : Policy, str or Arithmetic
        A policy, or the name of one, emulates formats; an arithmetic, such as ``Float64()`` or ``Exact(200)``,
        rounds nothing more.
    pinned : bool or Run
        A run whose decisions (comparisons, argmax) are taken over instead of being made anew; True pins to the
        binary64 replay.
    step : int
        Training step or repetition: stochastic rounding draws other bits for each.
    local : str
        "float64", or "mpmath" to see rounding errors of operations in formats of more than 25 bits of precision,
        whose exact results binary64 cannot hold.

    Returns
    -------
    Run

    Raises
    ------
    UnsupportedError
        If the tape has an operation without a rule, or tape, policy or ``local`` is nothing of the kind.
    TapeError
        If the tape's shapes contradict its operations.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.chain(1e5, 0.25, 10)
    >>> an.replay(tape, an.Float64()).value("result").item()
    0.095367431640625
    """
    check_tape(tape)
    if isinstance(policy, str):
        policy = Policy.named(policy)
    elif not isinstance(policy, Policy) and not hasattr(policy, "lift"):
        given = type(policy).__name__
        raise UnsupportedError(f"policy is {given}; accepted: a Policy, the name of one, or an arithmetic as Float64()")
    if local not in ("float64", "mpmath"):
        raise UnsupportedError(f"local={local!r}; accepted: 'float64', 'mpmath'")
    for node in tape.nodes:
        if not node.leaf and len(node.inputs) != get_op(node.op).arity:
            raise TapeError(f"{tape.name}: {node.label} has {len(node.inputs)} operands, needs {get_op(node.op).arity}")
    if pinned is True:
        pinned = replay(tape, Float64())
    if isinstance(pinned, Run) and len(pinned.values) != len(tape):
        raise UnsupportedError(f"pinned is a run of {len(pinned.values)} nodes, the tape has {len(tape)}")
    pin = pinned if isinstance(pinned, Run) else None
    with np.errstate(all="ignore"):  # what numpy would warn about is found and counted as events
        if isinstance(policy, Policy):
            return _Emulation(tape, policy, pin, step, local).run()
        return _evaluate(tape, policy, pin)


def check_tape(tape: object) -> None:
    """Raise UnsupportedError unless ``tape`` is a Tape."""
    if not isinstance(tape, Tape):
        raise UnsupportedError(
            f"tape is {type(tape).__name__}; accepted: a Tape, from an.nets, an.record_numpy or an.Tape.load"
        )


def _forward(spec: OpSpec, arithmetic: Arithmetic, node: Node, inputs: Sequence[Array], tape: Tape) -> Array:
    try:
        result = np.asarray(spec.forward(arithmetic, inputs, node.attributes))
    except (ValueError, IndexError, KeyError, TypeError) as error:  # only a tape from a file can be at fault
        raise TapeError(f"{tape.name}: {node.label} cannot be evaluated ({error!r})") from None
    if result.shape != node.shape:
        raise TapeError(f"{tape.name}: {node.label} declares shape {node.shape}, its operation gives {result.shape}")
    return result


def _evaluate(tape: Tape, arithmetic: Arithmetic, pin: Run | None) -> Run:
    own: list[Array] = []
    values: list[tuple[Array, ...]] = []
    tails: list[tuple[Array | None, ...]] = []
    for node in tape.nodes:
        spec = get_op(node.op)
        if node.leaf:
            result = arithmetic.lift(tape.data[node.id])
        elif pin is not None and spec.kind is Kind.BRANCH:
            result = pin.value(node.id)
        else:
            result = _forward(spec, arithmetic, node, [own[ref.node] for ref in node.inputs], tape)
        own.append(result)
        head, tail = arithmetic.lower(result)
        values.append((head,))
        tails.append((tail,))
    bits = f" {arithmetic.bits} bits" if isinstance(arithmetic, Exact) else ""
    none: tuple[None, ...] = (None,) * len(tape)
    return Run(tape, arithmetic.name + bits, tuple(values), tuple(tails), none, (), pin is not None)


class _Done(NamedTuple):
    """A node that has its value, and whose events are looked for together with those of others."""

    node: Node
    value: Array
    record: Record | None = None
    inputs: Sequence[Array] = ()
    roundings: Sequence[Rounded] = ()


class _Emulation:
    """One emulated replay, node by node; events are looked for among many nodes at a time."""

    def __init__(self, tape: Tape, policy: Policy, pin: Run | None, step: int, local: str) -> None:
        self.tape, self.policy, self.pin, self.step = tape, policy, pin, step
        self.exact = Exact(_LOCAL_BITS) if local == "mpmath" else None
        self.values: list[Array] = []
        self.waiting: list[_Done] = []
        self.health: list[Health] = []
        self.records: list[Record | None] = []
        self.events: list[Event] = []

    def run(self) -> Run:
        """Evaluate all nodes."""
        room = PIECE
        for node in self.tape.nodes:
            done = self._node(node)
            self.values.append(done.value)
            self.waiting.append(done)
            room -= done.value.size
            if room <= 0:
                self._settle()
                room = PIECE
        self._settle()
        values = tuple((value,) for value in self.values)
        tails: tuple[tuple[None], ...] = ((None,),) * len(values)
        pinned = self.pin is not None
        return Run(self.tape, self.policy.name, values, tails, tuple(self.records), tuple(self.events), pinned)

    def _node(self, node: Node) -> _Done:
        spec = get_op(node.op)
        if spec.kind in (Kind.MOVE, Kind.BRANCH):
            if self.pin is not None and spec.kind is Kind.BRANCH:
                return _Done(node, self.pin.value(node.id))
            return _Done(node, _forward(spec, _PLAIN, node, [self.values[ref.node] for ref in node.inputs], self.tape))
        numerics = self.policy.numerics(node, 0)
        inputs, casts = self._operands(node, numerics)
        arithmetic = _PLAIN if numerics.plain else self._arithmetic(node, numerics)
        raw = self.tape.data[node.id] if node.leaf else _forward(spec, arithmetic, node, inputs, self.tape)
        if raw.dtype.kind != "f":
            return _Done(node, raw)
        record, value = self._round(node, spec, numerics, raw)
        # what the operation itself gave, rounded operands and partial sums included: where events happen
        made = raw if record.tail is None else record.raw
        result = Rounded(record.format or _BINARY64, made, value, record.flags)
        return _Done(node, value, record, inputs, (*casts, result))

    def _settle(self) -> None:
        """Find the events of the nodes that wait for it."""
        scans = scan_all(
            rounded.step(done.node, done.inputs if rounded is done.roundings[-1] and get_op(done.node.op).adds else ())
            for done in self.waiting
            for rounded in done.roundings
        )
        for done in self.waiting:
            health = HEALTHY
            for ref in done.node.inputs:
                if (other := self.health[ref.node]) is not HEALTHY:
                    health = health.merge(other)
            if done.roundings:
                seen = list(islice(scans, len(done.roundings)))
                if not all(map(quiet, seen)):
                    found = detect(done.node, done.inputs, done.roundings, seen, health)
                    self.events.extend(found)
                    health = health.after(found)
                sick = seen[-1].sick > 0
            else:
                sick = health.sick is not None and not _finite(done.value)
            if health.sick is not None and not sick:  # selected away, saturated, or divided into zero
                health = HEALTHY if health.zero is None else Health(None, health.zero)
            self.records.append(done.record)
            self.health.append(health)
        self.waiting = []

    def _arithmetic(self, node: Node, numerics: Numerics) -> Emulated:
        gradients = [self.tape.made_backward(ref) for ref in node.inputs]
        return numerics.arithmetic(gradients, self.policy.seed, self.policy.stream(node, SUMS, self.step))

    def _operands(self, node: Node, numerics: Numerics) -> tuple[list[Array], list[Rounded]]:
        if numerics.plain:
            return [self.values[ref.node] for ref in node.inputs], []
        inputs, casts = [], []
        for position, ref in enumerate(node.inputs):
            x = self.values[ref.node]
            stream = self.policy.stream(node, OPERANDS + position, self.step)
            rounder = numerics.operand_rounder(self.tape.made_backward(ref), self.policy.seed, stream)
            if rounder is not None and x.dtype.kind == "f":
                after, flags = rounder.with_flags(x)
                casts.append(Rounded(rounder.fmt, x, after, flags, position))
                x = after
            inputs.append(x)
        return inputs, casts

    def _round(self, node: Node, spec: OpSpec, numerics: Numerics, raw: Array) -> tuple[Record, Array]:
        rounder = numerics.rounder(self.policy.seed, self.policy.stream(node, 0, self.step))
        if rounder is None:
            value, flags = raw, np.zeros(raw.shape, np.uint8)
        else:
            value, flags = rounder.with_flags(raw)
        fmt = numerics.format
        if numerics.plain and (self.exact is None or node.leaf):
            return Record(numerics, raw, None, flags), value
        operands = [self.values[ref.node] for ref in node.inputs]
        if not node.leaf and not numerics.plain:
            # rounded operands and partial sums are part of the local error: it is against the plain operation
            raw = _forward(spec, Float64(), node, operands, self.tape)
        if self.exact is None or not numerics.plain or (fmt is not None and fmt.p <= _NARROW):
            return Record(numerics, raw, None, flags), value
        exact = self.exact
        result = _forward(spec, exact, node, [exact.lift(x) for x in operands], self.tape)
        head, tail = exact.lower(result)
        flags = flags | _wide_flags(exact, result, value, fmt or _BINARY64)
        return Record(numerics, head, tail, flags), value


def _finite(value: Array) -> bool:
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _wide_flags(exact: Exact, result: Array, value: Array, fmt: fe.Format) -> Array:
    # binary64 itself already rounded the result: recover the flags that this rounding would have raised. The
    # difference is looked at in the exact arithmetic, for it may lie below binary64's least number.
    representable = np.isfinite(exact.lower(result)[0])
    finite = np.isfinite(value) & representable
    rest = exact.sub(result, exact.lift(np.where(finite, value, 0.0)))
    inexact = finite & (exact.positive(rest) | exact.positive(exact.neg(rest)))
    # tiny after rounding: p bits and an unbounded exponent would still give less than 2^emin
    least = exact.lift(np.full(value.shape, float(fmt.min_normal)))
    bound = exact.sub(least, exact.mul(least, exact.lift(np.full(value.shape, 2.0 ** -(fmt.p + 1)))))
    tiny = inexact & exact.positive(exact.sub(bound, result)) & exact.positive(exact.add(bound, result))
    flags = np.where(inexact, int(fe.Flag.INEXACT), 0) | np.where(tiny, int(fe.Flag.UNDERFLOW), 0)
    # a sum whose exact value binary64 could hold, lost on the way there
    flags |= np.where(np.isinf(value) & representable, int(fe.Flag.INEXACT | fe.Flag.OVERFLOW), 0)
    flags |= np.where(np.isnan(value) & representable, int(fe.Flag.INVALID | fe.Flag.NAN_BORN), 0)
    return (flags | np.where(tiny & (value == 0), int(fe.Flag.FLUSHED), 0)).astype(np.uint8)
