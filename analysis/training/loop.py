"""The training loop: replay one step, treat its gradients, update the weights, all in the policy's arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..arithmetics.base import Array
from ..nets.program import parameters
from ..tape import Tape
from ..training.feeds import accuracy, feed
from ..training.setup import Setup
from ..training.stepping import Stepper
from ..training.treatment import LossScale, Pass, gradients, treat
from ..training.update import Weights

__all__ = ["EXPLODED", "LastStep", "Trained", "Trainer", "diverged_at", "train"]

EXPLODED = 10.0
"""A loss this many times the first one counts as diverged."""


@dataclass(frozen=True)
class LastStep:
    """The last step of a training run: where to look when it went wrong.

    Attributes
    ----------
    step : int
    weights : mapping of str to ndarray
        Before it.
    scale : float
        Of its loss.
    update : Tape
        What the optimiser did.

    Examples
    --------
    >>> import analysis as an
    >>> LastStep(3, {}, 1.0, an.nets.chain(1.0, 0.5, 2)).step
    3
    """

    step: int
    weights: Mapping[str, Array]
    scale: float
    update: Tape


@dataclass(frozen=True)
class Trained:
    """What came of a training run.

    Attributes
    ----------
    losses : list of float
        Before each step, and after the last. Where a weight is no number, training stops after a loss of NaN.
    accuracy : float or None
        On the test; None where there is none.
    diverged_at : int or None
        First step whose loss was no number or ten times the first.
    test_loss : float
        Of the weights at the end, in binary64 whatever they were trained in: mean over the test, or over the next batch
        where there is none.
    motion_error : float
        Distance between where the weights went and where all updates together, each computed in the policy's arithmetic
        but added exactly, would have taken them, relative to the latter: 1 if nothing moved.
    lost : float or None
        Of all steps: share of the weights with a gradient that did not move. (Under stochastic rounding that is no
        loss: another step moves them by more.)
    skipped : int
        Steps that a loss scaler left out.
    scale : float
        Loss scale at the end.
    weights : mapping of str to ndarray
        At the end.
    last : LastStep or None
        The last step that was made.

    Examples
    --------
    >>> Trained([2.3, 2.2], 0.1, None, 2.25, 0.0, 0.0, 0, 1.0, {}).final_loss
    2.25
    """

    losses: list[float]
    accuracy: float | None
    diverged_at: int | None
    test_loss: float
    motion_error: float
    lost: float | None
    skipped: int
    scale: float
    weights: Mapping[str, Array] = field(repr=False)
    last: LastStep | None = field(default=None, repr=False)

    @property
    def final_loss(self) -> float:
        """Mean of the last three losses; NaN after divergence to what is no number."""
        last = self.losses[-3:]
        return math.fsum(last) / len(last) if all(map(math.isfinite, last)) else math.nan


class Trainer:
    """A training run made ready: its tape, its data, and steppers in its own and in exact arithmetic.

    Parameters
    ----------
    setup : Setup

    Attributes
    ----------
    tape : Tape
    feed : Feed
    emulated, exact : Stepper
    names : dict of str to int
        Nodes of the parameters.

    Examples
    --------
    >>> from analysis.optimisers import sgd
    >>> from analysis.policy import Policy
    >>> trainer = Trainer(Setup("mlp", {"sizes": (64, 8, 10)}, Policy.uniform("bf16"), sgd(0.1), steps=2, batch=8))
    >>> len(trainer.train().losses)
    3
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.tape = setup.tape()
        self.feed = feed(self.tape, setup.seed, 1 if setup.accumulation is None else setup.accumulation.parts)
        self.emulated, self.exact = Stepper(self.tape, setup.policy), Stepper(self.tape)
        self.names = parameters(self.tape)

    def start(self) -> dict[str, Array]:
        """Return the weights before the first step, as recorded."""
        return {name: self.tape.data[node] for name, node in self.names.items()}

    def leaves(self, weights: Mapping[str, Array]) -> dict[int, Array]:
        """Return weights by node."""
        return {self.names[name]: value for name, value in weights.items()}

    def gradients(
        self,
        stepper: Stepper,
        weights: Mapping[str, Array],
        step: int,
        scale: float = 1.0,
        decisions: Sequence[Sequence[Array]] | None = None,
    ) -> Pass:
        """Return what :func:`analysis.training.treatment.gradients` makes of a step.

        Parameters
        ----------
        stepper : Stepper
        weights : mapping of str to ndarray
        step : int
        scale : float
        decisions : sequence of sequence of ndarray, optional

        Returns
        -------
        Pass
        """
        names = tuple(self.names)
        return gradients(self.setup, stepper, self.feed, self.leaves(weights), names, step, scale, decisions)

    def train(self, exact: bool = False) -> Trained:
        """Carry the training out.

        Parameters
        ----------
        exact : bool
            In binary64 instead of the policy's arithmetic, all else alike.

        Returns
        -------
        Trained
        """
        setup, stepper = self.setup, self.exact if exact else self.emulated
        weights, scale = Weights(self.start(), setup.compensated), LossScale(setup.scaler)
        losses: list[float] = []
        lost = wanted = skipped = 0
        last = None
        for step in range(setup.steps + 1):
            used = scale.value
            found = self.gradients(stepper, weights.values, step, used)
            losses.append(found.loss)
            if step == setup.steps:
                break
            if scale.skips(found.finite):
                skipped += 1
                continue
            treated = treat(setup, found.gradients, used, stepper.policy, step)
            before = weights.values
            counts = weights.update(treated, setup.optimizer, stepper.policy, step)
            last = LastStep(step, before, used, weights.tape)
            lost, wanted = lost + counts[0], wanted + counts[1]
            if not weights.finite:
                losses.append(math.nan)
                break
        right, loss = self._accuracy(stepper, weights.values), self._test_loss(weights.values)
        share = lost / wanted if wanted else None
        return Trained(
            losses,
            right,
            diverged_at(losses),
            loss,
            weights.motion_error,
            share,
            skipped,
            scale.value,
            weights.values,
            last,
        )

    def _accuracy(self, stepper: Stepper, weights: Mapping[str, Array]) -> float | None:
        if not self.feed.test:
            return None
        leaves = self.leaves(weights)
        forward = Stepper(self.tape, stepper.policy, self.tape.targets["logits"].node)
        logits = [forward.value(forward.run({**leaves, **data}), "logits") for data, _ in self.feed.test]
        return accuracy(logits, [labels for _, labels in self.feed.test])

    def _test_loss(self, weights: Mapping[str, Array]) -> float:
        leaves = self.leaves(weights)
        forward = Stepper(self.tape, None, self.tape.targets["loss"].node)
        batches = [data for data, _ in self.feed.test] or [self.feed.batch(self.setup.steps, 0)]
        losses = [float(forward.value(forward.run({**leaves, **data}), "loss").reshape(())) for data in batches]
        return math.fsum(losses) / len(losses)


def diverged_at(losses: Sequence[float]) -> int | None:
    """Return the first step whose loss is no number or ten times the first one, None if there is none.

    Parameters
    ----------
    losses : sequence of float

    Returns
    -------
    int or None

    Examples
    --------
    >>> diverged_at([2.0, 1.0, 30.0]), diverged_at([2.0, 1.0])
    (2, None)
    """
    for step, loss in enumerate(losses):
        if not math.isfinite(loss) or loss > EXPLODED * abs(losses[0]):
            return step
    return None


def train(setup: Setup, exact: bool = False) -> Trained:
    """Train a net in the arithmetic of a policy.

    Parameters
    ----------
    setup : Setup
    exact : bool
        In binary64 instead, all else alike.

    Returns
    -------
    Trained

    Examples
    --------
    >>> from analysis.optimisers import sgd
    >>> from analysis.policy import Policy
    >>> setup = Setup("mlp", {"sizes": (64, 10)}, Policy.uniform("bf16"), sgd(2.0**-12), steps=4, batch=16)
    >>> train(setup).lost > 0.5  # a learning rate so small that bfloat16 weights do not feel it
    True
    """
    return Trainer(setup).train(exact)
