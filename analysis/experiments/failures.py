"""THE TABLE of failures: eight ways in which low precision or depth breaks training, each on its smallest net."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from floatemu.errors import UnsupportedError

from ..experiments.case import Case
from ..training.loop import EXPLODED

__all__ = ["FAILURES", "METRICS", "Failure", "metric"]

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Failure:
    """One way in which training breaks.

    Attributes
    ----------
    name, title : str
    case : Case
        Its smallest net, without mitigations; the seed is 0.
    metric : str
        A name in ``METRICS``: what is compared. Less is better, for all of them.
    text : str
        What happens, and why.

    Examples
    --------
    >>> FAILURES["flips"].metric
    'gradient_error'
    """

    name: str
    title: str
    case: Case
    metric: str
    text: str


def _gradient_error(record: Record) -> float:
    error = float(record["gradient_rel_error"]["free"])
    return min(error, 1.0) if math.isfinite(error) else 1.0


def _capped(record: Record) -> float:
    most = EXPLODED * abs(float(record["loss"][0])) if math.isfinite(record["loss"][0]) else math.inf
    loss = float(record["final_loss"])
    return min(loss, most) if math.isfinite(loss) else most


def _loss(record: Record) -> float:
    # a loss that is no number from the start on is measured by that of exact arithmetic
    first = float(record["reference"]["loss"][0])
    loss = _capped(record)
    return loss if math.isfinite(loss) else EXPLODED * abs(first)


def _loss_gap(record: Record) -> float:
    return _loss(record) - _loss({**record["reference"], "reference": record["reference"]})


def _lost_updates(record: Record) -> float:
    lost = record["lost_updates"]
    return 1.0 if lost is None else float(lost)


METRICS: Mapping[str, Callable[[Record], float]] = {
    "gradient_error": _gradient_error,
    "final_loss": _loss,
    "loss_gap": _loss_gap,
    "lost_updates": _lost_updates,
}
"""What cases are compared by; less is better. ``gradient_error``: relative error of the first parameter's gradient in
the first step, at most 1: as bad as no gradient. ``final_loss``: at most ten times the first loss, which is also what
NaN counts as. ``loss_gap``: what the final loss lies above that of the same training in binary64. ``lost_updates``:
share of the updates that did not move their weight."""


def metric(name: str, record: Record) -> float:
    """Return what a case is compared by.

    Parameters
    ----------
    name : str
        In ``METRICS``.
    record : mapping
        As :func:`analysis.experiments.run_case` returns it.

    Returns
    -------
    float
        Finite; less is better.

    Raises
    ------
    UnsupportedError
        If there is no such metric.

    Examples
    --------
    >>> metric("gradient_error", {"gradient_rel_error": {"free": math.nan}})
    1.0
    """
    if name not in METRICS:
        raise UnsupportedError(f"metric={name!r}; accepted: {', '.join(METRICS)}")
    return METRICS[name](record)


def _table(*failures: Failure) -> dict[str, Failure]:
    return {failure.name: failure for failure in failures}


FAILURES: Mapping[str, Failure] = _table(
    Failure(
        "exploding",
        "gradients explode in exact arithmetic",
        Case("rnn", {"length": 20, "hidden": 16, "rho": 1.6, "activation": "relu"}, "copy:3", "bfloat16", batch=8),
        "final_loss",
        "A recurrent net multiplies the gradient by its recurrent matrix once a time step; with a spectral radius "
        "above 1 the gradient grows exponentially, in any format.",
    ),
    Failure(
        "overflow",
        "activations overflow binary16",
        Case("residual_mlp", {"width": 16, "depth": 24, "norm": None, "activation": "relu"}, "", "binary16", steps=10),
        "gradient_error",
        "Each residual block without normalisation doubles the variance of the stream, until it leaves binary16.",
    ),
    Failure(
        "vanishing",
        "gradients vanish: no loss scale exists",
        Case("mlp", {"sizes": (64, *(16,) * 48, 10), "activation": "relu", "init": "xavier"}, "", "binary16", steps=4),
        "gradient_error",
        "Xavier's initialisation halves the mean square in each ReLU layer; after 48 of them activations and gradients "
        "span more binades than binary16 has.",
    ),
    Failure(
        "underflow",
        "gradients underflow below the format",
        Case("mlp", {"sizes": (64, 16, 10), "activation": "tanh"}, "", "mixed:e4m3fn", steps=20),
        "gradient_error",
        "Gradients of a mean over the batch lie below the least number of an 8-bit format.",
    ),
    Failure(
        "stagnation",
        "updates are lost in bfloat16 weights",
        Case("mlp", {"sizes": (64, 16, 10), "activation": "tanh"}, "", "bfloat16", steps=40, optimizer="sgd:lr=0.01"),
        "loss_gap",
        "A step below half an ulp of its weight changes nothing, however often it is made.",
    ),
    Failure(
        "swamping",
        "sums stop in a narrow accumulator",
        Case("mlp", {"sizes": (64, 16, 10), "activation": "tanh"}, "", "mixed:bfloat16:bfloat16", batch=1024, steps=4),
        "gradient_error",
        "Sums over a large batch outgrow their terms: what is below half an ulp of the partial sum is not added.",
    ),
    Failure(
        "flips",
        "rectifiers decide otherwise in bfloat16",
        Case("mlp", {"sizes": (64, *(32,) * 16, 10), "activation": "relu"}, "", "bfloat16", batch=16, steps=8),
        "gradient_error",
        "Rounding moves values across zero; a rectifier that opens or shuts by mistake loses or adds a whole gradient.",
    ),
    Failure(
        "adam_epsilon",
        "Adam divides by zero in binary16",
        Case("mlp", {"sizes": (64, 16, 10), "activation": "tanh"}, "", "binary16", steps=20, optimizer="adam:lr=0.01"),
        "loss_gap",
        "Adam's epsilon of 1e-8 and the squares of small gradients are zero in binary16: 0 / 0 is NaN.",
    ),
)
"""Name to failure."""
