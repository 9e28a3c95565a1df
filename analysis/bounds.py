"""Bounds next to measurements: of every sum and product of a replay, what is proven and what is estimated.

A hard bound that is broken is a defect of the emulation, never of the data: ``check``
raises. The estimates assume what data may not keep (independent errors, n u well below 1), and are never asserted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

import floatemu as fe
from floatemu.errors import UnsupportedError

from .arithmetics.base import Array
from .arithmetics.emulated import Rounder
from .arithmetics.exact import Exact
from .arithmetics.float64 import Float64
from .formulas import NEAREST, block_fma, dot, drift, gamma, higham_mary, moments, recursive_sum, stochastic_rounding
from .policy import Numerics, Policy
from .tape import Node, Tape

__all__ = [
    "Bound",
    "BoundBroken",
    "block_fma",
    "check",
    "dot",
    "drift",
    "every",
    "gamma",
    "higham_mary",
    "of",
    "recursive_sum",
    "stochastic_rounding",
]

DRIFT = 6.0
OPS = ("sum", "matmul")
_BITS = 200


class BoundBroken(ArithmeticError):
    """A replay went beyond a proven bound: its arithmetic has a defect."""


class _Run(Protocol):
    @property
    def tape(self) -> Tape: ...

    @property
    def records(self) -> Sequence[Any]: ...

    def value(self, what: int) -> Array: ...


@dataclass(frozen=True)
class Bound:
    """The bounds of one sum or product next to what was measured.

    Attributes
    ----------
    node : int
    op : str
    terms : int
        Number of terms of each element.
    accumulator : str
        Format of the partial sums.
    magnitude : ndarray of float64
        Sum of the terms' magnitudes.
    measured : ndarray of float64
        |emulated - exact|, the exact sum of the operands as the node saw them.
    hard : ndarray of float64
        Proven bound of it, the rounding of the result included. Infinite where it is void: beyond the range.
    estimates : mapping of str to float
        Factors of the magnitude, for the partial sums alone.
    drift, result_drift : float
        Of the roundings of products' partial sums, and of the results; see :func:`drift`. 0 where nothing is rounded
        but by binary64.
    """

    node: int
    op: str
    terms: int
    accumulator: str
    magnitude: Array
    measured: Array
    hard: Array
    estimates: Mapping[str, float]
    drift: float
    result_drift: float

    @property
    def broken(self) -> int:
        """Number of elements beyond the hard bound."""
        return int(np.count_nonzero(self.measured > self.hard))

    @property
    def void(self) -> int:
        """Number of elements of which nothing is proven: something left the range."""
        return int(np.count_nonzero(np.isinf(self.hard)))

    @property
    def used(self) -> float:
        """Largest share of its hard bound that an element reaches."""
        inside = np.isfinite(self.hard) & (self.hard > 0)
        return float((self.measured[inside] / self.hard[inside]).max(initial=0.0))

    @property
    def biased(self) -> bool:
        """Whether roundings drift: estimates that grow like sqrt(n), and sums of these results, do not hold then."""
        return max(abs(self.drift), abs(self.result_drift)) > DRIFT

    @property
    def complaint(self) -> str:
        """What to say of a broken bound."""
        return (
            f"{self.broken} elements lie beyond what is proven of {self.terms} terms added in {self.accumulator}, one "
            f"by {self.used:.3g} times: this is a defect of floatemu, please report it"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the bound as a JSON object: largest values, shares and counts.

        Returns
        -------
        dict
        """
        return {
            "node": self.node,
            "op": self.op,
            "terms": self.terms,
            "accumulator": self.accumulator,
            "measured": float(self.measured.max(initial=0.0)),
            "hard": float(self.hard.max(initial=0.0)),
            "used": self.used,
            "void": self.void,
            "broken": self.broken,
            "estimates": dict(self.estimates),
            "drift": self.drift,
            "result_drift": self.result_drift,
            "biased": self.biased,
        }


def of(run: _Run, node: Node | int, policy: Policy, step: int = 0) -> Bound:
    """Return the bounds of one sum or matrix product of an emulated replay, next to its measured error.

    Parameters
    ----------
    run : Run
    node : Node or int
        A "sum" or "matmul".
    policy : Policy
        The policy of the run.
    step : int
        The step that the replay stood for.

    Returns
    -------
    Bound

    Raises
    ------
    UnsupportedError
        If the node is another operation.

    Examples
    --------
    >>> import analysis as an
    >>> tape, policy = an.nets.mlp(batch=4), an.Policy.mixed("bf16", accumulate="bf16")
    >>> product = next(node for node in tape.nodes if node.op == "matmul")
    >>> found = of(an.replay(tape, policy), product, policy)
    >>> found.terms, found.accumulator, found.broken, 0 < found.used < 1
    (64, 'bfloat16', 0, True)
    """
    found = run.tape.nodes[node] if isinstance(node, int) else node
    if found.op not in OPS:
        raise UnsupportedError(f"{found.label}: bounds are of {' and '.join(OPS)}")
    with np.errstate(all="ignore"):
        return _Measured(run, found, policy, step).bound()


def every(run: _Run, policy: Policy, step: int = 0) -> tuple[Bound, ...]:
    """Return the bounds of all sums and matrix products of an emulated replay, broken or not.

    Parameters
    ----------
    run : Run
    policy : Policy
    step : int

    Returns
    -------
    tuple of Bound

    Examples
    --------
    >>> import analysis as an
    >>> tape, policy = an.nets.mlp(batch=4), an.Policy.uniform("bf16")
    >>> {bound.op for bound in every(an.replay(tape, policy), policy)} == {"matmul", "sum"}
    True
    """
    return tuple(of(run, node, policy, step) for node in run.tape.nodes if node.op in OPS)


def check(run: _Run, policy: Policy, step: int = 0) -> tuple[Bound, ...]:
    """Return the bounds of all sums and matrix products of an emulated replay; raise if one is broken.

    Parameters
    ----------
    run : Run
    policy : Policy
    step : int

    Returns
    -------
    tuple of Bound

    Raises
    ------
    BoundBroken
        If an element lies beyond its hard bound: the emulation has a defect.

    Examples
    --------
    >>> import analysis as an
    >>> tape, policy = an.nets.mlp(batch=4), an.Policy.uniform("e5m2")
    >>> max(bound.used for bound in check(an.replay(tape, policy), policy)) <= 1
    True
    """
    found = every(run, policy, step)
    for bound in found:
        if bound.broken:
            raise BoundBroken(f"{run.tape.nodes[bound.node].label}: {bound.complaint}")
    return found


class _Measured:
    """One sum or product, done again: exactly, and step by step as the node did it."""

    def __init__(self, run: _Run, node: Node, policy: Policy, step: int) -> None:
        self.node, self.value, self.record = node, run.value(node.id), run.records[node.id]
        self.numerics: Numerics = policy.numerics(node)
        operands: list[Array] = []
        for position, ref in enumerate(node.inputs):
            x = run.value(ref.node)
            backward = _owner(run.tape, ref.node).direction == "backward"
            stream = policy.stream(node, 8 + position, step)
            rounder = self.numerics.operand_rounder(backward, policy.seed, stream)
            operands.append(x if rounder is None else rounder(x))
        # both operations as products of rows and columns; a sum has no second factor
        self.left, self.right = operands[0], operands[1] if node.op == "matmul" else None
        if node.op == "sum":
            self.left = np.moveaxis(self.left, node.attributes["axis"], -1)[..., None, :]
        accumulate = self.numerics.accumulate
        self.fmt = fe.get_format("binary64" if accumulate is None else accumulate)
        self.rounder = None if accumulate is None else Rounder(self.fmt, fe.Projection())
        self.terms = self.left.shape[-1]

    def _shaped(self, x: Array) -> Array:
        return x.reshape(self.value.shape)

    def _product(self, arithmetic: Any, lift: Any) -> Array:
        if self.right is None:
            return np.asarray(arithmetic.sum(lift(self.left), -1, False))
        return np.asarray(arithmetic.matmul(lift(self.left), lift(self.right)))

    def bound(self) -> Bound:
        exact = Exact(_BITS)
        head, tail = exact.lower(self._product(exact, exact.lift))
        head, tail = self._shaped(head), self._shaped(np.zeros(1) if tail is None else tail)
        magnitude = self._shaped(self._product(Float64(), np.abs))
        measured = np.abs((self.value - head) - tail)
        partial = self._partial_sums(magnitude)
        drifted, total, void = self._again()
        result_drift = drift(self.value - total, self.value) if self.numerics.format is not None else 0.0
        hard = partial + self._result(np.abs(head) + partial)
        # binary64 rounds in this very formula, in the magnitudes most of all
        hard = hard * (1 + (self.terms + 16) * 2.0**-52)
        flags = self.record.flags & (fe.Flag.OVERFLOW | fe.Flag.SATURATED)
        void |= (flags != 0) | ~np.isfinite(self.value) | ~np.isfinite(head)
        u = 2.0**-self.fmt.p
        estimates = {
            "gamma": gamma(self.terms, u),
            "higham_mary": higham_mary(self.terms, u),
            "stochastic_rounding": stochastic_rounding(self.terms, u),
        }
        if self.right is not None and self.numerics.operands is not None:
            low = 2.0 ** -fe.get_format(self.numerics.operands).p
            estimates["block_fma"] = block_fma(self.terms, low, u)
        hard, measured = np.where(void, np.inf, hard), np.where(void, 0.0, measured)
        return Bound(
            self.node.id,
            self.node.op,
            self.terms,
            self.fmt.name,
            magnitude,
            measured,
            hard,
            estimates,
            drifted,
            result_drift,
        )

    def _partial_sums(self, magnitude: Array) -> Array:
        # to nearest: so does Emulated add, whatever the projection of the result
        u, quantum = 2.0**-self.fmt.p, 2.0 ** (self.fmt.emin - self.fmt.p + 1)
        lost = float(self.fmt.min_positive) if not self.fmt.subnormals else quantum
        tiny = 0.0 if self.fmt.subnormals else lost / 2
        if self.right is None:
            held = self.rounder is None or np.array_equal(self.rounder(self.left), self.left, equal_nan=True)
            # terms that the format does not hold are rounded as they are added, and may be lost below its range
            roundings, tiny = (max(self.terms - 1, 0), tiny) if held else (self.terms, lost / 2)
            bound = recursive_sum(roundings, u, magnitude, tiny=tiny)
        else:
            bound = dot(self.terms, u, magnitude, lost_product=lost / 2, tiny=tiny)
        # operands of more bits than half of binary64's are rounded to binary64 first, twice for each term
        return bound if self.rounder is None else bound + 2 * self.terms * 2.0**-53 * magnitude

    def _result(self, reach: Array) -> Array:
        fmt = self.numerics.format
        if fmt is None:
            return np.zeros(reach.shape)
        nearest = self.numerics.projection.rounding in NEAREST
        quantum, u = float(fmt.min_positive), 2.0**-fmt.p
        halved = nearest and fmt.zero  # without a zero, all below the least value becomes that
        return np.asarray(np.maximum((u if nearest else 2 * u) * reach, quantum / 2 if halved else quantum))

    def _again(self) -> tuple[float, Array, Array]:
        """Drift and end of the partial sums, and where one went beyond the largest value: nothing is proven there."""
        over: Array = np.zeros(self.value.shape, dtype=bool)
        if self.rounder is None:
            return 0.0, self._shaped(self._product(Float64(), lambda x: x)), over
        first, second, limit = 0.0, 0.0, float(self.fmt.max)
        total: Array = np.zeros(())
        for k in range(self.terms):
            if self.right is None:
                term = self.left[..., k]
            else:
                product = self.left[..., :, k, None] * self.right[..., None, k, :]
                over |= self._shaped(np.abs(product) > limit)
                term = self.rounder(product)
            unrounded = total + term
            over |= self._shaped(np.abs(unrounded) > limit)
            total = self.rounder(unrounded)
            sums = moments(total - unrounded, total)
            first, second = first + sums[0], second + sums[1]
        total = self._shaped(np.broadcast_to(total, self.value.shape) if not self.terms else total)
        return (first / math.sqrt(second) if second else 0.0), total, over


def _owner(tape: Tape, node: int) -> Node:
    storage = tape.nodes[node].outputs[0].storage
    return next(other for other in tape.nodes if any(output.storage == storage for output in other.outputs))
