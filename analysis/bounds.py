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
from .arithmetics.exact import Exact
from .arithmetics.float64 import Float64
from .formulas import NEAREST, block_fma, dot, drift, gamma, higham_mary, moments, recursive_sum, stochastic_rounding
from .policy import OPERANDS, SUMS, Numerics, Policy
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
COMPENSATED = ("kahan", "neumaier")
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
        Proven bound of it, the rounding of the result included. Infinite where it is void: beyond the range, and for
        compensated sums and matrix units, of which nothing is proven here.
    estimates : mapping of str to float
        Factors of the magnitude, for the partial sums alone.
    drift, result_drift : float
        Of the roundings of partial sums, and of the results; see :func:`drift`. 0 where nothing is rounded but by
        binary64; of partial sums also in stochastic modes, whose errors have mean zero whatever the data, in other
        orders than the sequential one, and in matrix units.
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
    def nearest(self) -> tuple[float, float]:
        """Measured error and hard bound, over the magnitude, of the element that comes nearest its bound."""
        if not self.magnitude.any():
            return 0.0, 0.0
        with np.errstate(all="ignore"):
            measured, hard = self.measured / self.magnitude, self.hard / self.magnitude
            share = np.nan_to_num(measured / hard if np.isfinite(hard).any() else measured)
        place = int(share.argmax())
        return float(measured.flat[place]), float(hard.flat[place])

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


def cost(run: _Run, node: Node) -> int:
    """Return about how many microseconds the bounds of a sum or product take: most goes into its exact value."""
    x = run.value(node.inputs[0].node)
    return 4000 + (x.size if node.op == "sum" else math.prod(node.shape) * x.shape[-1])


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
        backward = [run.tape.made_backward(ref) for ref in node.inputs]
        for position, ref in enumerate(node.inputs):
            x = run.value(ref.node)
            stream = policy.stream(node, OPERANDS + position, step)
            rounder = self.numerics.operand_rounder(backward[position], policy.seed, stream)
            operands.append(x if rounder is None else rounder(x))
        # both operations as products of rows and columns; a sum has no second factor
        self.left, self.right = operands[0], operands[1] if node.op == "matmul" else None
        if node.op == "sum":
            self.left = np.moveaxis(self.left, node.attributes["axis"], -1)[..., None, :]
        unit, stream = self.numerics.unit, policy.stream(node, SUMS, step)
        self.device = self.right is not None and unit is not None
        accumulate = self.numerics.accumulate or "binary64"
        if self.device and unit is not None and isinstance(unit.output, fe.Format):
            accumulate = unit.output
        self.fmt = fe.get_format(accumulate)
        self.rounder = self.numerics.sum_rounder(policy.seed, stream)
        self.arithmetic = self.numerics.arithmetic(backward, policy.seed, stream)
        self.order = fe.Order.parse(self.numerics.order).kind
        self.mode = fe.Rounding.NEAREST_TIES_TO_EVEN if self.rounder is None else self.rounder.projection.rounding
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
        total = self._shaped(self._product(self.arithmetic, lambda x: x))
        drifted, void = self._steps() if self._followed() else (0.0, partial + magnitude > float(self.fmt.max))
        result_drift = drift(self.value - total, self.value) if self.numerics.format is not None else 0.0
        hard = partial + self._result(np.abs(head) + partial, total)
        # binary64 rounds in this very formula, in the magnitudes most of all
        hard = hard * (1 + (self.terms + 16) * 2.0**-52)
        flags = self.record.flags & (fe.Flag.OVERFLOW | fe.Flag.SATURATED)
        void = void | (flags != 0) | ~np.isfinite(self.value) | ~np.isfinite(head)
        u = 2.0**-self.fmt.p
        estimates = {
            "gamma": gamma(self.terms, u),
            "higham_mary": higham_mary(self.terms, u),
            "stochastic_rounding": stochastic_rounding(self.terms, u),
        }
        if self.right is not None and self.numerics.operands is not None:
            low = 2.0 ** -fe.get_format(self.numerics.operands).p
            estimates["block_fma"] = block_fma(self.terms, low, u)
        hard = np.where(void, np.inf, hard)
        measured = np.where(void & ~np.isfinite(measured), 0.0, measured)
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
        if self.device or self.order in COMPENSATED:
            return np.full(self.value.shape, np.inf)  # nothing is proven of how devices add, or of compensation here
        u, quantum = 2.0**-self.fmt.p, 2.0 ** (self.fmt.emin - self.fmt.p + 1)
        lost = float(self.fmt.min_positive) if not self.fmt.subnormals else quantum
        lost = lost / 2 if self.mode in NEAREST else lost
        tiny = 0.0 if self.fmt.subnormals else lost
        in_order, roundings = self.order == "sequential", max(self.terms - 1, 0)
        if self.right is None:
            held = self.rounder is None or np.array_equal(self.rounder(self.left), self.left, equal_nan=True)
            # terms that the format does not hold are rounded as they are added, and may be lost below its range
            roundings, tiny = (roundings, tiny) if held else (roundings + bool(self.terms), lost)
            bound = recursive_sum(roundings, u, magnitude, self.mode, tiny, in_order=in_order)
        else:
            bound = dot(self.terms, u, magnitude, self.mode, lost, tiny, in_order=in_order)
        # operands of more bits than half of binary64's are rounded to binary64 first, twice for each term
        return bound if self.rounder is None else bound + 2 * self.terms * 2.0**-53 * magnitude

    def _result(self, reach: Array, total: Array) -> Array:
        rounder = self.numerics.rounder(0, 0)
        if rounder is None:
            return np.zeros(reach.shape)
        fmt, nearest = rounder.fmt, rounder.projection.rounding in NEAREST
        quantum, u = float(fmt.min_positive) / rounder.scale(total), 2.0**-fmt.p
        halved = nearest and fmt.zero  # without a zero, all below the least value becomes that
        return np.asarray(np.maximum((u if nearest else 2 * u) * reach, quantum / 2 if halved else quantum))

    def _followed(self) -> bool:
        """Whether the partial sums can be seen one by one: those of other orders and of drawn bits are not."""
        return self.rounder is None or (self.order == "sequential" and not self.mode.stochastic and not self.device)

    def _steps(self) -> tuple[float, Array]:
        """Drift of the partial sums, and where one went beyond the largest value: nothing is proven there."""
        over: Array = np.zeros(self.value.shape, dtype=bool)
        if self.rounder is None:
            return 0.0, over
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
        return (first / math.sqrt(second) if second else 0.0), over
