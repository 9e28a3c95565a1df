"""The optimiser's step on all weights at once, in the policy's arithmetic, with Kahan's compensation if asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..arithmetics.base import Array
from ..measures import relative_error
from ..ops import Builder, Var
from ..optimisers import Optimiser
from ..policy import Policy
from ..training.stepping import Stepper

__all__ = ["Weights"]


class Weights:
    """Weights on their way through a training run, with what the optimiser keeps beside them.

    Parameters
    ----------
    values : mapping of str to ndarray
    compensated : bool
        Whether what an addition could not take is kept and added to the next update.

    Attributes
    ----------
    tape : Tape
        Of the last update.
    meant : ndarray
        What all updates together would have moved the weights by, had each addition been exact.

    Examples
    --------
    >>> from analysis.optimisers import sgd
    >>> weights = Weights({"w": np.array([1.0, 2.0])})
    >>> weights.update({"w": np.array([0.5, 2.0**-10])}, sgd(1.0), Policy.uniform("bf16"), 0)
    (1, 2)
    >>> weights.values["w"].tolist()
    [0.5, 2.0]
    """

    def __init__(self, values: Mapping[str, Array], compensated: bool = False) -> None:
        self._shapes = {name: value.shape for name, value in values.items()}
        self._flat = _flat(list(values.values()))
        self._slots: dict[str, Array] = {}
        self._rest = np.zeros_like(self._flat) if compensated else None
        self._count = 0
        self.tape = Builder("update").build()
        self._start, self.meant = self._flat, np.zeros_like(self._flat)

    @property
    def values(self) -> dict[str, Array]:
        """Each weight tensor by name."""
        found, start = {}, 0
        for name, shape in self._shapes.items():
            size = int(np.prod(shape, dtype=np.int64))
            found[name] = self._flat[start : start + size].reshape(shape)
            start += size
        return found

    @property
    def motion_error(self) -> float:
        """Distance between where the weights went and where the updates meant them to go, relative to the latter."""
        return relative_error(self._flat - self._start, self.meant)

    @property
    def finite(self) -> bool:
        """Whether all weights are numbers."""
        return bool(np.isfinite(self._flat).all())

    def update(
        self, gradients: Mapping[str, Array], optimizer: Optimiser, policy: Policy | None, step: int
    ) -> tuple[int, int]:
        """Make one step of an optimiser.

        Parameters
        ----------
        gradients : mapping of str to ndarray
        optimizer : Optimiser
        policy : Policy or None
            None: in binary64.
        step : int
            Stochastic rounding draws other bits for each.

        Returns
        -------
        lost, wanted : int
            Weights that did not move, and whose compensation did not either, of those whose gradient is not zero.
        """
        self._count += 1
        builder = Builder("update")
        with np.errstate(all="ignore"), builder.at("optimizer", direction="update"):
            gradient = builder.leaf("input", _flat([gradients[name] for name in self._shapes]))
            before = builder.leaf("parameter", self._flat)
            slots = {name: builder.leaf("input", value) for name, value in self._slots.items()}
            new, change, kept = optimizer.step(before, gradient, slots, self._count)
            self.meant = self.meant + (new.value - before.value)
            rest = None
            if self._rest is not None:
                new, rest = _compensated(before, change, builder.leaf("input", self._rest))
        self.tape = builder.build()
        values = Stepper(self.tape, policy).run(step=step)
        self._slots = {name: values[var.ref.node] for name, var in kept.items()}
        wanted = gradient.value != 0
        lost = (values[new.ref.node] == values[before.ref.node]) & wanted
        self._flat = values[new.ref.node]
        if self._rest is not None and rest is not None:
            lost &= values[rest.ref.node] == self._rest
            self._rest = values[rest.ref.node]
        return int(np.count_nonzero(lost)), int(np.count_nonzero(wanted))


def _compensated(before: Var, change: Var, rest: Var) -> tuple[Var, Var]:
    """Kahan's addition: the rest is what the weight has still to take."""
    due = rest - change
    after = before + due
    return after, due + (before - after)


def _flat(parts: list[Array]) -> Array:
    return np.concatenate([part.ravel() for part in parts]) if parts else np.zeros(0)
