"""Attribution: the error of a target as a sum over the nodes that rounded, and whether that sum is complete."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import floatemu as fe
from floatemu.errors import UnsupportedError

from . import measures
from .adjoint import depends_on, mean_adjoints
from .arithmetics.base import Array
from .arithmetics.float64 import Float64
from .engine import Record, Run
from .ops import Kind, get_op
from .tape import Node, Value

__all__ = ["CAUSES", "TOLERANCE", "Attribution", "Contribution", "attribute", "local_error"]

CAUSES = ("rounding", "underflow", "overflow", "branch_flip")
GROUPS = ("node", "op", "layer", "direction", "cause")
TOLERANCE = 0.01
"""A sum is complete if it misses the measured error by at most this share of it, or of the contributions' root."""
_OWN = 32  # roundings that the terms of a sum have been through, about


@dataclass(frozen=True)
class Contribution:
    """What the errors made at one node, of one cause, change in the target.

    Attributes
    ----------
    node : int
        For ``branch_flip``: the first node that decided otherwise than in the exact run.
    op, path, direction : str
        Of the node.
    cause : str
        ``rounding``; ``underflow``: rounded below the smallest normal value; ``overflow``: saturated, or beyond the
        range;
        ``branch_flip``: all decisions that fell otherwise, together.
    value : float
        In the target's own units, signed.

    Examples
    --------
    >>> Contribution(4, "mul", "layer0", "backward", "rounding", -0.5).label
    '%4 mul (layer0, backward)'
    """

    node: int
    op: str
    path: str
    direction: str
    cause: str
    value: float

    @property
    def label(self) -> str:
        """Short name for tables: id, operation, path and direction."""
        return f"%{self.node} {self.op} ({', '.join(word for word in (self.path, self.direction) if word)})"

    @property
    def layer(self) -> str:
        """First part of the path."""
        return self.path.split(".")[0]


@dataclass(frozen=True)
class Attribution:
    """The error of a number, split among the nodes that made it.

    Attributes
    ----------
    target : str
    functional : str
        ``value``: a scalar target. ``norm``: the Euclidean norm of a larger one. ``error``: the length of its error.
        ``[i, j]``: one element.
    exact, emulated : float
        That number in the two runs; for ``error`` the norms of the two values.
    measured : float
        Their difference.
    contributions : tuple of Contribution
        In the order of the nodes; none of them infinite or NaN.
    order : str
        ``first``: the sum is complete. ``not-first-order``: it is not, or cannot be.
    reason : str
        Why not; empty if it is.
    broken : tuple of int
        Nodes whose error, or its effect, is infinite or NaN: named here, never summed.
    tolerance : float

    Notes
    -----
    A contribution is the inner product of a node's local error with the mean of the adjoints at the exact and at
    the emulated point, the trapezoidal rule along the way from one to the other (as in Griewank and Walther,
    Evaluating Derivatives, 2008; Vassiliadis et al., CHEF-FP, IPDPS 2023, use the one at the emulated point). What
    is left out is of third order in the errors.
    """

    target: str
    functional: str
    exact: float
    emulated: float
    measured: float
    contributions: tuple[Contribution, ...]
    order: str
    reason: str
    broken: tuple[int, ...] = ()
    tolerance: float = TOLERANCE

    @property
    def sum(self) -> float:
        """Sum of the contributions."""
        return math.fsum(part.value for part in self.contributions)

    @property
    def residual(self) -> float:
        """What the sum misses: measured - sum."""
        return self.measured - self.sum

    @property
    def rss(self) -> float:
        """Root of the sum of the squares of the contributions: the error to expect if their signs were random."""
        return math.sqrt(math.fsum(part.value**2 for part in self.contributions))

    @property
    def ratio(self) -> float:
        """Sum over measured; NaN if nothing was measured."""
        return self.sum / self.measured if self.measured else math.nan

    def by(self, group: str) -> dict[str, float]:
        """Return the contributions added up within groups.

        Parameters
        ----------
        group : str
            "node", "op", "layer", "direction" or "cause".

        Returns
        -------
        dict
            Largest magnitude first; the values add up to ``sum``.

        Raises
        ------
        UnsupportedError
            If there is no such group.

        Examples
        --------
        >>> import analysis as an
        >>> found = an.analyze(an.nets.mlp(activation="tanh", batch=8), "bf16", "float64").attribution("loss")
        >>> sorted(found.by("direction"))
        ['forward']
        """
        if group not in GROUPS:
            raise UnsupportedError(f"by={group!r}; accepted: {', '.join(GROUPS)}")
        parts: dict[str, list[float]] = {}
        for part in self.contributions:
            name = part.label if group == "node" else getattr(part, group)
            parts.setdefault(name, []).append(part.value)
        sums = {name: math.fsum(values) for name, values in parts.items()}
        return dict(sorted(sums.items(), key=lambda item: -abs(item[1])))

    def shares(self) -> dict[int, float]:
        """Return what each node contributes, over the magnitude of the exact value; NaN for broken nodes.

        Returns
        -------
        dict of int to float
            By node; branch flips, which belong to no single node, are left out.
        """
        size = abs(self.exact) or 1.0
        parts: dict[int, float] = dict.fromkeys(self.broken, math.nan)
        for part in self.contributions:
            if part.cause != "branch_flip":
                parts[part.node] = parts.get(part.node, 0.0) + part.value / size
        return parts

    def top(self, n: int = 10) -> tuple[Contribution, ...]:
        """Return the n contributions of largest magnitude, largest first."""
        return tuple(sorted(self.contributions, key=lambda part: -abs(part.value))[:n])

    def to_json(self) -> dict[str, Any]:
        """Return the contract's completeness object, and the target it is about.

        Returns
        -------
        dict
        """
        names = ("sum", "measured", "residual", "rss", "ratio", "order", "reason", "target", "functional")
        return {name: getattr(self, name) for name in names}


def local_error(record: Record, value: Array) -> Array:
    """Return the error made at a node: what it gave less the exact result of its own operands.

    Parameters
    ----------
    record : Record
    value : ndarray of float64

    Returns
    -------
    ndarray of float64
        0 where both are infinite alike; not finite where an infinity or NaN was made.
    """
    return measures.difference(value, record.raw, record.tail)


def attribute(
    run: Run,
    exact: Run,
    target: str,
    functional: str | Sequence[int] | None = None,
    pinned: Run | None = None,
    tolerance: float = TOLERANCE,
) -> Attribution:
    """Split the error of a target among the nodes that rounded.

    Parameters
    ----------
    run : Run
        Emulated.
    exact : Run
    target : str
    functional : str or sequence of int, optional
        "value", "norm" or "error", or the index of an element; default "value" for scalars, "norm" else.
    pinned : Run, optional
        The emulated replay with the exact run's decisions, with the same ``local``; needed if decisions differ.
    tolerance : float

    Returns
    -------
    Attribution

    Raises
    ------
    TapeError
        If there is no such target.
    UnsupportedError
        If the functional does not fit, or decisions differ and ``pinned`` lacks.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.chain(1e5, 0.25, 10)
    >>> found = attribute(an.replay(tape, an.Policy.uniform("bf16")), an.replay(tape, an.Float64()), "result")
    >>> found.measured == found.sum, found.by("op")["input"] == found.sum
    (True, True)
    """
    run.tape.target(target)
    kind = _kind(functional, exact.value(target), target)
    flipped = _flipped(run, exact, target)
    base = run
    if flipped and pinned is None:
        raise UnsupportedError(f"{target}: {len(flipped)} nodes decided otherwise than in the exact run; give pinned=")
    if flipped and pinned is not None:
        base = pinned
    low, high, whole = _measured(run, exact, target, kind)
    with np.errstate(all="ignore"):
        parts, missing = _contributions(base, exact, target, kind)
    if flipped:
        node = run.tape.nodes[flipped[0]]
        gap = whole - _measured(base, exact, target, kind)[2]
        if math.isfinite(gap) and gap:
            parts.append(Contribution(node.id, node.op, node.path, node.direction, "branch_flip", gap))
    parts.sort(key=lambda part: part.node)
    broken = tuple(node.id for node in missing)
    found = Attribution(target, str(kind), low, high, whole, tuple(parts), "first", "", broken, tolerance)
    reason = _reason(found, run, exact, missing, len(flipped))
    return replace(found, order="not-first-order" if reason else "first", reason=reason)


def _kind(functional: str | Sequence[int] | None, value: Array, target: str) -> str | list[int]:
    if functional is None:
        return "value" if value.size == 1 else "norm"
    if isinstance(functional, str):
        if functional in ("norm", "error") or (functional == "value" and value.size == 1):
            return functional
        raise UnsupportedError(
            f"{target} of shape {value.shape}: functional={functional!r}; accepted: 'value' (scalars), 'norm', "
            "'error', an index"
        )
    index = [int(i) for i in functional]
    if len(index) != value.ndim or any(not -n <= i < n for i, n in zip(index, value.shape)):
        raise UnsupportedError(f"{target} of shape {value.shape} has no element {index}")
    return index


def _measured(run: Run, exact: Run, target: str, kind: str | list[int]) -> tuple[float, float, float]:
    """The number in the exact and the emulated run, and their difference without cancellation."""
    value, true = run.value(target), exact.value(target)
    with np.errstate(all="ignore"):
        error = measures.difference(value, true, exact.tail(target))
    low, high = measures.norm(true), measures.norm(value)
    if kind == "error":
        return low, high, measures.norm(error)
    if kind == "norm":
        if not (math.isfinite(high) and low + high):
            return low, high, high - low
        # |v| - |t| = <v - t, v + t> / (|v| + |t|)
        return low, high, float((error * ((value + true) / (low + high))).sum())
    where = tuple(kind) if isinstance(kind, list) else (0,) * value.ndim
    return float(true[where]), float(value[where]), float(error[where])


def _seeds(run: Run, exact: Run, target: str, kind: str | list[int]) -> tuple[Array, Array]:
    """Derivative of the functional at the exact and at the emulated point."""
    value, true = run.value(target), exact.value(target)
    if kind == "error":
        error = measures.difference(value, true, exact.tail(target))
        size = measures.norm(error)
        direction = error / size if size else np.zeros(true.shape)
        return direction, direction
    if kind == "norm":
        low, high = measures.norm(true), measures.norm(value)
        return (true / low if low else np.zeros(true.shape)), (value / high if high else np.zeros(true.shape))
    seed = np.zeros(true.shape)
    seed[tuple(kind) if isinstance(kind, list) else (0,) * true.ndim] = 1.0
    return seed, seed


def _contributions(run: Run, exact: Run, target: str, kind: str | list[int]) -> tuple[list[Contribution], list[Node]]:
    """Contributions of all nodes, and the nodes whose own cannot be a number."""
    what = run.tape.targets[target]
    seeds = _seeds(run, exact, target, kind)
    missing = [node for node in run.tape.nodes if _broken(run, node)]
    healthy = all(np.isfinite(seed).all() for seed in seeds)
    found, lost = [], []
    for index, mean in mean_adjoints(exact, run if healthy else None, what, seeds):
        record, node = run.records[index], run.tape.nodes[index]
        if record is None:
            continue
        delta = local_error(record, run.value(index))
        if not (delta != 0).any():
            continue
        terms = delta * mean
        for cause, mask in _causes(record.flags):
            part = float(terms[mask].sum())
            if not math.isfinite(part):
                lost.append(node)
            elif part:
                found.append(Contribution(index, node.op, node.path, node.direction, cause, part))
    return found, sorted({node.id: node for node in [*missing, *lost]}.values(), key=lambda node: node.id)


def _broken(run: Run, node: Node) -> bool:
    record = run.records[node.id]
    return record is not None and not np.isfinite(local_error(record, run.value(node.id))).all()


def _causes(flags: Array) -> Iterator[tuple[str, Array]]:
    over = (flags & (fe.Flag.OVERFLOW | fe.Flag.SATURATED)) != 0
    under = ((flags & fe.Flag.UNDERFLOW) != 0) & ~over
    for cause, mask in (("rounding", ~(over | under)), ("underflow", under), ("overflow", over)):
        if mask.any():
            yield cause, mask


def _flipped(run: Run, exact: Run, target: str) -> list[int]:
    before = depends_on(run.tape, run.tape.targets[target])
    kinds = {node.id for node in run.tape.nodes if not node.leaf and node.outputs[0].dtype != "float64"}
    return [index for index in sorted(before & kinds) if (run.value(index) != exact.value(index)).any()]


def _reason(found: Attribution, run: Run, exact: Run, missing: Sequence[Node], flips: int) -> str:
    """Why the contributions do not add up to the measured error; empty if they do."""
    if not math.isfinite(found.exact):
        return f"{found.target} is {found.exact} in the exact run"
    if not math.isfinite(found.emulated) or missing:
        fatal = next((event for event in run.events if event.fatal and event.produced), None)
        if fatal is not None:
            return f"{fatal.kind} at %{fatal.node} {fatal.op} ({fatal.path}, {fatal.direction})"
        return f"an infinity or NaN was made at {missing[0].label}" if missing else f"{found.target} is not finite"
    gap = abs(found.residual)
    if gap <= found.tolerance * max(abs(found.measured), found.rss):
        return ""
    if found.functional == "norm" and _cancelled(exact, exact.tape.targets[found.target]):
        return (
            f"{found.target} is zero in exact arithmetic (its norm of {found.exact:.2g} is within the rounding errors "
            "of a sum in binary64): all that the run gives is error, and a norm has no derivative at zero"
        )
    ranged = [part for part in found.contributions if part.cause in ("underflow", "overflow")]
    worst = max(ranged, key=lambda part: abs(part.value), default=None)
    if worst is not None and abs(worst.value) > found.tolerance * found.rss:
        count = sum(event.count for event in run.events if event.node == worst.node)
        return f"{worst.cause} at {worst.label}, {count} elements"
    if flips:
        return f"{flips} nodes decided otherwise, and the rest is not linear in its errors"
    return "the errors are too large for their effects to add up"


def _cancelled(exact: Run, ref: Value) -> bool:
    """Whether a sum, moved or added to others, is no more than its own error in binary64."""
    size, count = _terms(exact, ref)
    return count > 1 and bool((np.abs(exact.value(ref)) <= size * ((count + _OWN) * 2.0**-53)).all())


def _terms(exact: Run, ref: Value) -> tuple[Array, int]:
    # the sum of the magnitudes of the terms, and how many there are, through sums of sums
    node = exact.tape.nodes[ref.node]
    parts = [_terms(exact, one) for one in node.inputs] if node.op in ("sum", "add") or _moves(node) else []
    if node.op == "add":
        return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]
    if not parts:
        return np.abs(exact.value(ref)), 1
    ((size, count),) = parts
    found = np.asarray(get_op(node.op).forward(Float64(), [size], node.attributes))
    return found, count * (size.shape[node.attributes["axis"]] if node.op == "sum" else 1)


def _moves(node: Node) -> bool:
    return get_op(node.op).kind is Kind.MOVE and len(node.inputs) == 1
