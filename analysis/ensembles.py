"""Ensembles: a tape replayed many times under stochastic rounding, and what its results scatter by.

The scatter is a measurement of the error of low precision that needs no reference (significant bits
s = -log2(sigma / |mu|), D. Sohier et al., "Confidence intervals for stochastic arithmetic", ACM Transactions on
Mathematical Software 47(2), 2021); the first-order prediction of the same scatter needs one replay and its adjoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import floatemu as fe
from floatemu.errors import UnsupportedError

from .adjoint import adjoints
from .arithmetics.base import Arithmetic, Array
from .arithmetics.stochastic import RANDOM_BITS
from .engine import Run, check_tape, replay
from .measures import norm, significant_bits
from .policy import Policy, Rule
from .tape import Tape

__all__ = ["Ensemble", "Spread", "ensemble", "predicted_deviation", "propagate", "rounding_variances", "stochastic"]


@dataclass(frozen=True)
class Spread:
    """How a target scatters over the runs.

    Attributes
    ----------
    mean, deviation : ndarray of float64
        Element by element: mean over the runs, and standard deviation (divisor runs - 1).
    runs : int
    broken : int
        Runs in which an element was infinite or NaN; mean and deviation are then NaN where that happened.

    Examples
    --------
    >>> Spread(np.array([1.0, 2.0]), np.array([0.25, 0.0]), 16, 0).element_bits.tolist()
    [2.0, inf]
    """

    mean: Array
    deviation: Array
    runs: int
    broken: int

    @property
    def standard_error(self) -> Array:
        """Standard deviation of the mean: deviation / sqrt(runs)."""
        return np.asarray(self.deviation / math.sqrt(self.runs))

    @property
    def element_bits(self) -> Array:
        """Significant bits of each element, -log2(deviation / |mean|)."""
        with np.errstate(all="ignore"):
            bits = -np.log2(self.deviation / np.abs(self.mean))
        return np.where(self.deviation == 0, np.inf, bits)

    @property
    def bits(self) -> float:
        """Significant bits of the whole: -log2 of the deviations' norm over the means' norm."""
        scatter, size = norm(self.deviation), norm(self.mean)
        if scatter == 0:
            return math.inf
        return significant_bits(scatter / size if size else math.inf)


@dataclass(frozen=True)
class Ensemble:
    """Replays of a tape that differ in their random bits alone.

    Attributes
    ----------
    tape : Tape
    policy : str
        Name of the policy.
    runs : int
    seed : int
    targets : mapping of str to Spread
    """

    tape: Tape
    policy: str
    runs: int
    seed: int
    targets: Mapping[str, Spread]

    def to_json(self) -> dict[str, Any]:
        """Return the ensemble as a JSON object: norms of mean, deviation and standard error, and bits, by target.

        Returns
        -------
        dict
        """
        targets = {
            name: {
                "mean": norm(spread.mean),
                "deviation": norm(spread.deviation),
                "standard_error": norm(spread.standard_error),
                "bits": spread.bits,
                "broken": spread.broken,
            }
            for name, spread in self.targets.items()
        }
        return {"policy": self.policy, "runs": self.runs, "seed": self.seed, "targets": targets}


def stochastic(policy: Policy, seed: int | None = None, random_bits: int = RANDOM_BITS) -> Policy:
    """Return a policy that rounds to the same formats stochastically.

    Parameters
    ----------
    policy : Policy
        Rules that round stochastically already stay as they are. Partial sums that a rule rounds become stochastic
        like operands and results.
    seed : int, optional
        Default: the policy's own.
    random_bits : int

    Returns
    -------
    Policy

    Examples
    --------
    >>> stochastic(Policy.uniform("bf16")).rules[0].numerics.projection.rounding.name
    'STOCHASTIC_C'
    """

    def changed(rule: Rule) -> Rule:
        projection = rule.numerics.projection
        if projection.rounding.stochastic:
            return rule
        drawn = fe.Projection(fe.Rounding.STOCHASTIC_C, projection.saturation, random_bits)
        return replace(rule, numerics=replace(rule.numerics, projection=drawn))

    rules = tuple(changed(rule) for rule in policy.rules)
    name = policy.name if rules == policy.rules else f"{policy.name}/STOCHASTIC_C"
    return Policy(name, rules, policy.seed if seed is None else seed)


def ensemble(tape: Tape, policy: Policy | str | Callable[[int], Arithmetic], runs: int = 30, seed: int = 0) -> Ensemble:
    """Replay a tape many times with other random bits.

    Parameters
    ----------
    tape : Tape
    policy : Policy, str or callable
        A policy, or the name of one, is made :func:`stochastic`; run number k draws from streams of its own (it is
        the ``step`` of :meth:`~analysis.policy.Policy.stream`). A callable gives the arithmetic of run number k,
        such as ``lambda k: Stochastic("bf16", seed, k)``.
    runs : int
        At least 2.
    seed : int

    Returns
    -------
    Ensemble
        The same, bit for bit, for the same arguments; its first runs are those of a smaller ensemble.

    Raises
    ------
    UnsupportedError
        If there are fewer than two runs, or the tape has no target.

    Examples
    --------
    >>> import analysis as an
    >>> spread = ensemble(an.nets.chain(1.0, 0.7, 4), "bf16", runs=40, seed=1).targets["result"]
    >>> abs(spread.mean - 0.7**4) < 4 * spread.standard_error, 5 < spread.bits < 9
    (np.True_, True)
    """
    check_tape(tape)
    if isinstance(runs, bool) or not isinstance(runs, int) or runs < 2:
        raise UnsupportedError(f"runs={runs!r}: a standard deviation takes an integer of at least 2 runs")
    if not tape.targets:
        raise UnsupportedError(f"{tape.name}: the tape has no target to gather")
    if isinstance(policy, str):
        policy = Policy.named(policy)
    chosen = stochastic(policy, seed) if isinstance(policy, Policy) else policy
    sums = {name: _Sums() for name in tape.targets if tape.target(name).outputs[0].dtype == "float64"}
    for k in range(runs):
        run = replay(tape, chosen, step=k) if isinstance(chosen, Policy) else replay(tape, chosen(k))
        for name, part in sums.items():
            part.add(run.value(name))
        label = run.arithmetic
    return Ensemble(tape, label, runs, seed, {name: part.spread() for name, part in sums.items()})


class _Sums:
    # B. P. Welford's recurrence (Technometrics 4(3), 1962): the mean and the sum of squared deviations so far

    def __init__(self) -> None:
        self.count, self.broken = 0, 0
        self.mean: Array = np.zeros(())
        self.squares: Array = np.zeros(())

    def add(self, value: Array) -> None:
        self.count += 1
        self.broken += not np.isfinite(value).all()
        with np.errstate(all="ignore"):
            step = value - self.mean
            self.mean = self.mean + step / self.count
            self.squares = self.squares + step * (value - self.mean)

    def spread(self) -> Spread:
        wrong = ~np.isfinite(self.mean) | np.isnan(self.squares)
        with np.errstate(all="ignore"):
            deviation = np.sqrt(self.squares / (self.count - 1))
        mean = np.where(wrong, np.nan, self.mean)
        return Spread(mean, np.where(wrong, np.nan, deviation), self.count, self.broken)


def rounding_variances(run: Run) -> dict[int, Array]:
    """Return the variance that stochastic rounding gives each node's result, from the values of one emulated run.

    Parameters
    ----------
    run : Run
        Its results before rounding are what is rounded: those of an exact run would count as rounded what the
        format holds exactly.

    Returns
    -------
    dict of int to ndarray
        (x - below)(above - x), with x between the neighbours below and above in the format; 0 for exact results. NaN
        beyond the format's range. Nodes that do not round are left out.

    Examples
    --------
    >>> import analysis as an
    >>> run = an.replay(an.nets.chain(1.0, 0.25 + 2.0**-10, 1), an.Policy.uniform("bf16"))
    >>> {node: value.item() for node, value in rounding_variances(run).items()} == {0: 0.0, 1: 2.0**-20, 2: 0.0}
    True
    """
    found = {}
    for index, record in enumerate(run.records):
        if record is not None and record.format is not None:
            x = record.raw
            below = fe.round(x, record.format, "toward_negative", dtype=np.float64)
            above = fe.round(x, record.format, "toward_positive", dtype=np.float64)
            with np.errstate(all="ignore"):
                found[index] = np.where(below == above, 0.0, (x - below) * (above - x))
    return found


def propagate(variances: Mapping[int, Array], sensitivities: Mapping[int, Array]) -> float:
    """Return the standard deviation of a number from those of the nodes it depends on.

    Parameters
    ----------
    variances : mapping of int to ndarray
        Variance of each node's own, independent errors.
    sensitivities : mapping of int to ndarray
        Derivative of the number with respect to each node's value: its adjoint.

    Returns
    -------
    float
        sqrt(sum over nodes and elements of sensitivity^2 variance).

    Examples
    --------
    >>> propagate({0: np.array([4.0]), 1: np.array([1.0])}, {0: np.array([3.0])})
    6.0
    """
    terms = [sensitivities[node] ** 2 * variance for node, variance in variances.items() if node in sensitivities]
    return math.sqrt(math.fsum(float(x) for term in terms for x in np.ravel(term)))


def predicted_deviation(run: Run, target: str, seed: Array | None = None) -> float:
    """Return the first-order prediction of a target's standard deviation under stochastic rounding.

    Parameters
    ----------
    run : Run
        One emulated run.
    target : str
    seed : ndarray of float64, optional
        Weights of the target's elements, for a number made of more than one; default 1 for a scalar.

    Returns
    -------
    float

    Raises
    ------
    UnsupportedError
        If the target has more elements and no weights are given.

    Notes
    -----
    One adjoint sweep in the place of an ensemble; rounding inside nodes (operands, partial sums) is not in it.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 8, 10), "tanh", batch=4)
    >>> run = an.replay(tape, stochastic(an.Policy.uniform("bf16")))
    >>> measured = ensemble(tape, "bf16", runs=30).targets["loss"].deviation.item()
    >>> 0.7 < measured / predicted_deviation(run, "loss") < 1.4
    True
    """
    value = run.value(target)
    if seed is None:
        if value.size != 1:
            raise UnsupportedError(f"{target} has {value.size} elements: give seed=, the weight of each")
        seed = np.ones(value.shape)
    return propagate(rounding_variances(run), dict(adjoints(run, run.tape.targets[target], seed)))
