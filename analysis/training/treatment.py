"""Gradients between backward pass and optimiser: the loss scale, the sum over parts of a batch, and clipping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import floatemu as fe

from ..arithmetics.base import Array
from ..arithmetics.emulated import Rounder
from ..arithmetics.float64 import Float64
from ..dynamics import backward_seed
from ..measures import norm
from ..policy import Numerics, Policy
from ..tape import Tape
from ..training.feeds import Feed
from ..training.setup import Clip, Scaler, Setup, update_numerics
from ..training.stepping import Stepper

__all__ = ["LossScale", "Pass", "clipped", "gradients", "scale_leaf", "treat"]

_LARGEST = float(np.finfo(np.float32).max)

TINY = 1e-6
"""What PyTorch adds to a norm before it divides by it."""


class LossScale:
    """A loss scale on its way through a training run.

    Parameters
    ----------
    scaler : Scaler or None
        None: the scale is 1.

    Attributes
    ----------
    value : float

    Examples
    --------
    >>> scale = LossScale(Scaler(8.0, interval=1))
    >>> scale.skips(finite=False), scale.value
    (True, 4.0)
    >>> scale.skips(finite=True), scale.value
    (False, 8.0)
    """

    def __init__(self, scaler: Scaler | None) -> None:
        self.scaler, self.value, self._good = scaler, 1.0 if scaler is None else scaler.scale, 0

    def skips(self, finite: bool) -> bool:
        """Note whether a step's gradients are finite; return whether the step is to be left out.

        Parameters
        ----------
        finite : bool

        Returns
        -------
        bool
        """
        scaler = self.scaler
        if scaler is None or scaler.interval is None:
            return False
        self._good = self._good + 1 if finite else 0
        # in binary32, as torch keeps it: it may fall to zero, and does not grow to infinity
        if not finite:
            self.value = float(np.float32(self.value * scaler.backoff))
        elif self._good == scaler.interval:
            self._good, grown = 0, self.value * scaler.growth
            self.value = float(np.float32(grown)) if grown <= _LARGEST else self.value
        return not finite


@dataclass(frozen=True)
class Pass:
    """Forward and backward pass of one step, part by part.

    Attributes
    ----------
    loss : float
        Mean over the parts.
    gradients : mapping of str to ndarray
        Of the scaled loss, added up over the parts.
    values : sequence of list of ndarray
        Of all nodes, for each part.

    Examples
    --------
    >>> Pass(2.0, {}, ()).loss
    2.0
    """

    loss: float
    gradients: Mapping[str, Array]
    values: Sequence[list[Array]]

    @property
    def finite(self) -> bool:
        """Whether no gradient holds an infinity or NaN."""
        return all(bool(np.isfinite(gradient).all()) for gradient in self.gradients.values())


def scale_leaf(tape: Tape) -> int:
    """Return the leaf whose data a loss scale is.

    Parameters
    ----------
    tape : Tape

    Returns
    -------
    int

    Raises
    ------
    UnsupportedError
        If the tape has no backward pass that starts from a positive constant.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 10), batch=2)
    >>> tape.nodes[scale_leaf(tape)].path
    'loss'
    """
    seed = backward_seed(tape)
    if seed is None:
        raise fe.UnsupportedError(
            f"{tape.name}: there is no backward pass that starts from a constant, so no loss to scale"
        )
    return seed


def gradients(
    setup: Setup,
    stepper: Stepper,
    feed: Feed,
    weights: Mapping[int, Array],
    names: Sequence[str],
    step: int,
    scale: float = 1.0,
    decisions: Sequence[Sequence[Array]] | None = None,
) -> Pass:
    """Replay a step forward and backward, part by part, and add the gradients of the parts.

    Parameters
    ----------
    setup : Setup
    stepper : Stepper
    feed : Feed
    weights : mapping of int to ndarray
        By node of the tape.
    names : sequence of str
        Of the parameters.
    step : int
    scale : float
        Of the loss.
    decisions : sequence of sequence of ndarray, optional
        ``values`` of another pass of the same step, whose comparisons are taken over.

    Returns
    -------
    Pass
    """
    parts = 1 if setup.accumulation is None else setup.accumulation.parts
    seed = scale_leaf(stepper.tape)
    start = np.full(stepper.tape.nodes[seed].shape, scale / parts)
    found = []
    for part in range(parts):
        data = {**weights, **feed.batch(step, part), seed: start}
        found.append(stepper.run(data, step * parts + part, None if decisions is None else decisions[part]))
    loss = math.fsum(float(stepper.value(values, "loss").reshape(())) for values in found) / parts
    total = {
        name: _added(setup, stepper.policy, [stepper.value(values, f"grad:{name}") for values in found])
        for name in names
    }
    return Pass(loss, total, found)


def _added(setup: Setup, policy: Policy | None, parts: Sequence[Array]) -> Array:
    how = setup.accumulation
    if how is None or len(parts) == 1:
        return parts[0]
    stack = np.stack(parts)
    fmt = None if policy is None else how.format or update_numerics(policy).format
    if fmt is None:
        return Float64().sum(stack, 0, False)
    return np.asarray(fe.sum(stack, fmt, axis=0, order=how.order, dtype=np.float64))


def treat(
    setup: Setup, raw: Mapping[str, Array], scale: float, policy: Policy | None, step: int = 0
) -> dict[str, Array]:
    """Undo the loss scale, then clip: what an optimiser is given.

    Parameters
    ----------
    setup : Setup
    raw : mapping of str to ndarray
    scale : float
    policy : Policy or None
        None: in binary64.
    step : int

    Returns
    -------
    dict of str to ndarray
    """
    numerics = Numerics() if policy is None else update_numerics(policy)
    rounder = numerics.rounder(0 if policy is None else policy.seed, (step << 32) + (1 << 31))
    found = dict(raw)
    with np.errstate(all="ignore"):
        if scale != 1.0:
            found = {name: _rounded(rounder, g * (1.0 / scale)) for name, g in found.items()}
        return found if setup.clip is None else clipped(found, setup.clip, rounder)


def clipped(found: Mapping[str, Array], clip: Clip, rounder: Rounder | None = None) -> dict[str, Array]:
    """Limit gradients as PyTorch 2.13 does, operation by operation.

    Parameters
    ----------
    found : mapping of str to ndarray
    clip : Clip
    rounder : Rounder, optional
        Rounds each result; default none, binary64.

    Returns
    -------
    dict of str to ndarray

    Notes
    -----
    By norm: the norm of each gradient, the norm of those, 1 / (norm + 1e-6) times the limit, cut at 1, times each
    gradient. An infinite norm makes that factor 0: finite gradients become 0, infinite ones NaN; a NaN anywhere makes
    everything NaN. By value: NaN stays, infinities become the limit. Each norm is rounded once, as kernels that add in
    a wide format do; PyTorch's add binary32 gradients in binary32, so that its last bit can be another.

    Examples
    --------
    >>> import numpy as np
    >>> clipped({"w": np.array([np.inf, 1.0])}, Clip("norm", 1.0))["w"].tolist()
    [nan, 0.0]
    >>> clipped({"w": np.array([np.inf, 1.0])}, Clip("value", 0.5))["w"].tolist()
    [0.5, 0.5]
    """
    with np.errstate(all="ignore"):
        if clip.kind == "value":
            limit = float(_rounded(rounder, np.array(clip.limit)))
            return {name: np.where(np.isnan(g), g, np.clip(g, -limit, limit)) for name, g in found.items()}
        norms = np.array([float(_rounded(rounder, np.array(norm(g)))) for g in found.values()])
        total = _rounded(rounder, np.array(norm(norms)))
        # tensor methods: number / tensor is the reciprocal times the number, each rounded
        inverse = _rounded(rounder, 1.0 / _rounded(rounder, total + TINY))
        factor = np.minimum(_rounded(rounder, inverse * clip.limit), 1.0)  # NaN stays NaN
        return {name: _rounded(rounder, g * factor) for name, g in found.items()}


def _rounded(rounder: Rounder | None, x: Array) -> Array:
    return x if rounder is None else rounder(x)
