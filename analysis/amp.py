"""Mixed precision as torch trains with it, for any formats: emulated autocast, a loss scale, and why it fell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError

from .arithmetics.base import Array
from .arithmetics.float64 import Float64
from .dynamics import Interval, LossScale, loss_scale
from .engine import Run, replay
from .events import Event
from .optimisers import check_closure
from .policy import Policy
from .recording import record
from .tape import Tape
from .terminal import plain
from .training import Scaler
from .training.treatment import LossScale as Scale

__all__ = ["ScaleHistory", "ScaleStep", "train"]


@dataclass(frozen=True)
class ScaleStep:
    """What a step did to the loss scale.

    Attributes
    ----------
    step : int
    scale, after : float
        That the step's loss was multiplied by, and that of the next one.
    loss : float
        Emulated, without the scale.
    skipped : bool
        Whether a gradient held an infinity or NaN, so that the optimiser took no step.
    tensor : str
        Label of the operation that made the first of them; "" if the step was good.
    direction, kind : str
        Of that event: forward or backward; one of :data:`analysis.events.KINDS`.
    needed, limit : float or None
        The magnitude that was needed, and what the format offers.

    Examples
    --------
    >>> ScaleStep(0, 65536.0, 32768.0, 2.3, True, "%9 matmul (0, backward)", "backward", "overflow").skipped
    True
    """

    step: int
    scale: float
    after: float
    loss: float
    skipped: bool
    tensor: str = ""
    direction: str = ""
    kind: str = ""
    needed: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class ScaleHistory:
    """The loss scale of a training run, step by step, and the scales that would have fitted.

    Attributes
    ----------
    policy : str
    steps : tuple of ScaleStep
    scales : LossScale
        The scales 2^low .. 2^high that keep every gradient of the last step in its format, and the interval of each.

    Examples
    --------
    >>> ScaleHistory("torch_amp", (), LossScale((), 0, 0, True, ())).text
    'torch_amp: no step was taken'
    """

    policy: str
    steps: tuple[ScaleStep, ...]
    scales: LossScale

    @property
    def skipped(self) -> tuple[ScaleStep, ...]:
        """The steps that the optimiser did not take."""
        return tuple(step for step in self.steps if step.skipped)

    @property
    def text(self) -> str:
        """What became of the scale, which tensor overflowed first, and whether any scale would do."""
        if not self.steps:
            return f"{self.policy}: no step was taken"
        first, last = self.steps[0].scale, self.steps[-1].after
        words = [f"{self.policy}: the loss scale went from {first:g} to {last:g} in {len(self.steps)} steps"]
        gone = self.skipped
        if gone:
            words.append(f"{len(gone)} of them were skipped, the first at step {gone[0].step}: {_event(gone[0])}")
            if all(step.direction == "forward" for step in gone):
                words.append("it is in the forward pass, which no loss scale changes")
                return "; ".join(words)
        return "; ".join([*words, _fits(self.scales)])

    def to_json(self) -> dict[str, Any]:
        """Return the history as a JSON object.

        Returns
        -------
        dict
        """
        found = plain(
            {
                "policy": self.policy,
                "text": self.text,
                "steps": [asdict(step) for step in self.steps],
                "scales": self.scales.to_json(),
            }
        )
        assert isinstance(found, dict)
        return found


def _event(step: ScaleStep) -> str:
    if not step.tensor:
        return f"a gradient was not finite, at scale {step.scale:g}"
    needed = "" if step.needed is None or step.limit is None else f" (needed {step.needed:.3g}, largest {step.limit:g})"
    return f"{step.tensor} had an {step.kind.replace('_', ' ')}{needed}, at scale {step.scale:g}"


def _fits(scales: LossScale) -> str:
    if scales.nonfinite:
        named = ", ".join(scales.nonfinite[:3]) + (" ..." if len(scales.nonfinite) > 3 else "")
        return f"no scale fits: at the last step {named} held an infinity or NaN even in exact arithmetic"
    if not scales.intervals:
        return "no gradient is rounded: any scale fits"
    if scales.feasible:
        return f"at the last step the scales 2^{scales.low} to 2^{scales.high} keep every gradient in its format"
    need, tight = scales.conflict
    return (
        f"no scale fits: {need.label} needs at least 2^{need.low} in {need.format}, "
        f"{tight.label} at most 2^{tight.high} in {tight.format}"
    )


def train(
    module: Any,
    batches: Iterable[tuple[Any, Any]],
    loss: Callable[[Any, Any], Any],
    optimizer: Any,
    policy: Policy | str = "torch_amp",
    scaler: Scaler | None = None,
) -> ScaleHistory:
    """Train a torch module as autocast and ``GradScaler`` would, with formats of your choice.

    Each step records the module, replays it in the policy with the loss multiplied by the scale, divides the gradients
    by it, and lets the optimiser take its step with them, unless one is not finite. The module and the optimiser are
    changed as by training.

    Parameters
    ----------
    module : torch.nn.Module
    batches : iterable of (inputs, target)
        Inputs are a tensor or a tuple of arguments.
    loss : callable
        Of the module's result and the target; returns a scalar tensor.
    optimizer : torch.optim.Optimizer
    policy : Policy or str
        For instance ``torch_amp:bf16``, or ``torch_amp:e4m3fn/e5m2+bf16``; see :meth:`Policy.named`.
    scaler : Scaler, optional
        Default torch's: 65536 at first, halved after an infinity, doubled after 2000 good steps.

    Returns
    -------
    ScaleHistory

    Raises
    ------
    UnsupportedError
        If the module cannot be recorded, the optimiser's step needs a closure, or the scale is not dynamic; without
        torch the message names the extra.

    Notes
    -----
    The rule of ``torch.amp.GradScaler``; the scale is kept in binary32. P. Micikevicius et al., Mixed precision
    training, 2018, section 3.2.

    Examples
    --------
    With torch, ``train(model, batches, torch.nn.functional.cross_entropy, optimizer, "torch_amp").text``.

    >>> class Still:
    ...     def step(self): ...
    >>> train(None, [], lambda result, target: result, Still()).text
    'torch_amp: no step was taken'
    """
    chosen = Policy.named(policy) if isinstance(policy, str) else policy
    rule = Scaler(2.0**16, 2000) if scaler is None else scaler
    if not rule.dynamic:
        raise UnsupportedError("the scaler has no interval, so its scale never moves; give one, such as interval=2000")
    _check(batches, loss, optimizer)
    state, steps, scales = Scale(rule), [], LossScale((), 0, 0, True, ())
    for number, batch in enumerate(batches):
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise UnsupportedError(f"batch {number} is {type(batch).__name__}; accepted: a pair of inputs and a target")
        inputs, target = batch
        scale = state.value
        optimizer.zero_grad()
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        tape = record(module, *given, loss=lambda result: loss(result, target) * scale)  # noqa: B023  (called at once)
        run = replay(tape, chosen)
        gradients = {name: run.value(f"grad:{name}") for name, _ in _learned(module)}
        skipped = state.skips(all(bool(np.isfinite(one).all()) for one in gradients.values()))
        steps.append(_step(number, scale, state.value, run, skipped))
        scales = _absolute(loss_scale(run, replay(tape, Float64())), scale)
        if not skipped:
            _take(module, gradients, scale)
            optimizer.step()
    return ScaleHistory(chosen.name, tuple(steps), scales)


def _check(batches: Any, loss: Any, optimizer: Any) -> None:
    for name, given, fine, wanted in (
        ("batches", batches, isinstance(batches, Iterable), "pairs of inputs and a target"),
        ("loss", loss, callable(loss), "a function of the module's result and the target"),
        ("optimizer", optimizer, hasattr(optimizer, "step"), "a torch.optim.Optimizer"),
    ):
        if not fine:
            raise UnsupportedError(f"{name} is {type(given).__name__}; accepted: {wanted}")
    check_closure(optimizer, "train")


def _learned(module: Any) -> list[tuple[str, Any]]:
    return [(name, one) for name, one in module.named_parameters() if one.grad is not None]


def _take(module: Any, gradients: dict[str, Array], scale: float) -> None:
    for name, parameter in _learned(module):
        # the gradient is cast to the parameter's dtype and then unscaled in it, as torch does
        unscaled = parameter.grad.new_tensor(gradients[name]) * (1.0 / scale)
        parameter.grad.copy_(unscaled)


def _step(number: int, scale: float, after: float, run: Run, skipped: bool) -> ScaleStep:
    value = run.value("loss").item() / scale if scale else math.nan
    step = ScaleStep(number, scale, after, value, skipped)
    event = _first(run.events, run.tape) if skipped else None
    if event is None:
        return step
    label = run.tape.nodes[event.node].label
    return replace(
        step, tensor=label, direction=event.direction, kind=event.kind, needed=event.needed, limit=event.limit
    )


def _first(events: Iterable[Event], tape: Tape) -> Event | None:
    made = [event for event in events if event.produced and event.kind in ("overflow", "nan_born", "inf_born")]
    return min(made, key=lambda event: event.node, default=None)


def _absolute(scales: LossScale, scale: float) -> LossScale:
    """The same intervals, as scales of the loss itself: those of the tape come on top of its own scale."""
    if not scale:
        return scales
    shift = math.log2(scale)

    def moved(one: Interval) -> Interval:
        return replace(one, low=math.ceil(one.low + shift), high=math.floor(one.high + shift))

    if not scales.intervals:
        return scales
    return replace(
        scales,
        intervals=tuple(map(moved, scales.intervals)),
        low=math.ceil(scales.low + shift),
        high=math.floor(scales.high + shift),
        conflict=tuple(map(moved, scales.conflict)),
    )
