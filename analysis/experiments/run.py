"""run_case: train a case in its policy and in exact arithmetic, and measure the gradients of its first step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Array
from ..arithmetics.float64 import Float64
from ..attribution import attribute
from ..comparison import compare_nodes, flip_events
from ..diagnosis import Case as Sheet
from ..diagnosis import diagnose
from ..dynamics import growth, loss_scale
from ..engine import Run, replay
from ..events import Event
from ..experiments.case import Case
from ..measures import norm_ratio, relative_error, zero_fraction
from ..training import Trained, Trainer
from ..training.setup import update_numerics
from ..training.treatment import scale_leaf, treat

__all__ = ["measure_gradients", "run_case"]

LOST = 0.25
"""Share of lost updates that a diagnosis names."""


def run_case(case: Case) -> dict[str, Any]:
    """Carry a training experiment out: the same numbers whatever the machine, the process and the thread.

    Parameters
    ----------
    case : Case

    Returns
    -------
    dict
        ``gradient_rel_error``: {free, pinned}, of the first parameter's gradient in the first step, as the
        optimiser gets it, against the same mitigations in binary64; pinned: with the decisions of the exact
        run. ``gradients``: the same for every parameter, with norm_ratio and zero_fraction. ``range_loss``:
        share of the elements of all gradients that are zero or no number, of those that are not zero in exact
        arithmetic. ``events``: how many elements, by kind. ``flips``. ``growth``: factor of the exact
        gradient's norm a stage, None without stages. ``loss_scale``: {low, high, feasible}, exponents of two,
        None where nothing is rounded. ``loss``, ``accuracy``, ``diverged_at``, ``lost_updates``,
        ``motion_error``, ``skipped``, ``scale``: of the training. ``final_loss``: mean of the last three.
        ``test_loss``: of the last weights, in binary64. ``reference``: the same of that training in binary64.
        ``diagnosis``: the gravest cause in words, None if there is none.

    Raises
    ------
    NotApplicable
        If a mitigation finds nothing to work on.

    Examples
    --------
    >>> found = run_case(Case("mlp", {"sizes": (64, 8, 10), "activation": "tanh"}, policy="bf16", steps=2, batch=8))
    >>> found["gradient_rel_error"]["free"] < 0.05, len(found["loss"])
    (True, 3)
    """
    trainer = Trainer(case.setup())
    trained, exact = trainer.train(), trainer.train(exact=True)
    start = _scale(trainer)
    runs = _runs(trainer, trainer.start(), 0, start)
    found = [*runs["emulated"].events, *flip_events(runs["emulated"], runs["exact"])]
    events = Counter({event.kind: 0 for event in found})
    for event in found:
        events[event.kind] += event.count
    return {
        **measure_gradients(trainer),
        "events": {kind: events[kind] for kind in sorted(events) if kind != "branch_flip"},
        "flips": events["branch_flip"],
        "growth": _growth(runs["exact"]),
        "loss_scale": _scales(runs, start),
        **_outcome(trained),
        "reference": _outcome(exact),
        "diagnosis": _diagnosis(trainer, trained, runs),
    }


def _outcome(trained: Trained) -> dict[str, Any]:
    return {
        "loss": trained.losses,
        "final_loss": trained.final_loss,
        "test_loss": trained.test_loss,
        "accuracy": trained.accuracy,
        "diverged_at": trained.diverged_at,
        "lost_updates": trained.lost,
        "motion_error": trained.motion_error,
        "skipped": trained.skipped,
        "scale": trained.scale,
    }


def measure_gradients(trainer: Trainer) -> dict[str, Any]:
    """Return what of the gradients of the first step reaches the optimiser.

    Parameters
    ----------
    trainer : Trainer

    Returns
    -------
    dict
        ``gradient_rel_error``, ``norm_ratio``, ``zero_fraction``, ``range_loss`` and ``gradients`` of :func:`run_case`.

    Examples
    --------
    >>> trainer = Trainer(Case("mlp", {"sizes": (64, 8, 10), "init": "small"}, policy="e4m3fn", batch=8).setup())
    >>> measure_gradients(trainer)["range_loss"] > 0.1
    True
    """
    gradients = _gradients(trainer, _scale(trainer))
    first = next(iter(gradients.values()))
    lost, nonzero = (sum(item[key] for item in gradients.values()) for key in ("lost", "nonzero"))
    return {
        "gradient_rel_error": {"free": first["free"], "pinned": first["pinned"]},
        "norm_ratio": first["norm_ratio"],
        "zero_fraction": first["zero_fraction"],
        "range_loss": lost / nonzero if nonzero else 0.0,
        "gradients": gradients,
    }


def _scale(trainer: Trainer) -> float:
    return 1.0 if trainer.setup.scaler is None else trainer.setup.scaler.scale


def _gradients(trainer: Trainer, scale: float) -> dict[str, dict[str, float]]:
    setup, weights = trainer.setup, trainer.start()
    exact = trainer.gradients(trainer.exact, weights, 0, scale)
    free = trainer.gradients(trainer.emulated, weights, 0, scale)
    pinned = trainer.gradients(trainer.emulated, weights, 0, scale, exact.values)
    true = treat(setup, exact.gradients, scale, None)
    parts = [treat(setup, found.gradients, scale, setup.policy) for found in (free, pinned)]
    return {
        name: {
            "free": relative_error(parts[0][name], wanted),
            "pinned": relative_error(parts[1][name], wanted),
            "norm_ratio": norm_ratio(parts[0][name], wanted),
            "zero_fraction": zero_fraction(parts[0][name]),
            "lost": int(np.count_nonzero((wanted != 0) & ((parts[0][name] == 0) | ~np.isfinite(parts[0][name])))),
            "nonzero": int(np.count_nonzero(wanted)),
        }
        for name, wanted in true.items()
    }


def _runs(trainer: Trainer, weights: Mapping[str, Array], step: int, scale: float) -> dict[str, Run]:
    """Full replays of the first part of a step, for what needs events and records."""
    tape = trainer.tape
    seed = scale_leaf(tape)
    start = tape.data[seed] * (scale / (trainer.setup.batch // trainer.setup.rows))
    data = {**tape.data, **trainer.leaves(weights), **trainer.feed.batch(step, 0), seed: start}
    tape = replace(tape, data=data)
    exact = replay(tape, Float64())
    emulated = replay(tape, trainer.setup.policy, step=step)
    pinned = emulated
    if flip_events(emulated, exact):
        pinned = replay(tape, trainer.setup.policy, pinned=exact, step=step)
    return {"exact": exact, "emulated": emulated, "pinned": pinned}


def _growth(exact: Run) -> float | None:
    try:
        return growth(exact, "loss", 1).rate
    except UnsupportedError:
        return None


def _scales(runs: Mapping[str, Run], scale: float) -> dict[str, Any] | None:
    found = loss_scale(runs["emulated"], runs["exact"])
    if not found.intervals:
        return None
    shift = round(math.log2(scale))
    return {"low": found.low + shift, "high": found.high + shift, "feasible": found.feasible}


def _diagnosis(trainer: Trainer, trained: Trained, runs: Mapping[str, Run]) -> str | None:
    last = trained.last
    if trained.diverged_at is not None and last is not None:
        if not all(math.isfinite(loss) for loss in trained.losses):
            born = [event for event in replay(last.update, trainer.setup.policy, step=last.step).events if event.fatal]
            runs = _runs(trainer, last.weights, last.step, last.scale)
            if born and not any(event.fatal for event in runs["emulated"].events):
                return _born(born[0], last.step)
        else:
            runs = _runs(trainer, last.weights, last.step, last.scale)
    causes = _causes(trainer, runs)
    random = update_numerics(trainer.setup.policy, "sub").projection.rounding.stochastic
    if trained.lost is not None and trained.lost >= LOST and not random:
        causes = [f"{100 * trained.lost:.0f} % of the updates did not move their weight", *causes]
    return causes[0] if causes else None


def _born(event: Event, step: int) -> str:
    return f"step {step}: the optimiser's {event.op} made {event.result} ({event.kind}, {event.count} weights)"


def _causes(trainer: Trainer, runs: Mapping[str, Run]) -> Sequence[str]:
    emulated, exact, pinned = runs["emulated"], runs["exact"], runs["pinned"]
    target = f"grad:{next(iter(trainer.names))}"
    parts = attribute(emulated, exact, target, "error", pinned)
    nodes = compare_nodes(emulated, exact, parts.shares())
    events = sorted([*emulated.events, *flip_events(emulated, exact)], key=lambda event: event.node)
    sheet = Sheet(emulated.tape, emulated, exact, pinned, target, nodes, events, parts)
    return [cause.text for cause in diagnose(sheet)]
