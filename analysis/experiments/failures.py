"""THE TABLE of failures: eight ways in which low precision or depth breaks training, each on its smallest net."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from floatemu.errors import UnsupportedError

from ..experiments.case import Case

__all__ = ["FAILURES", "METRICS", "Failure", "Metric", "metric"]

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """What cases are compared by: less is better, for all of them.

    Attributes
    ----------
    name : str
    text : str
        What is measured, in a phrase.
    measure : callable
        Of what :func:`analysis.experiments.run_case` returns; infinite where nothing is left of what is measured.

    Examples
    --------
    >>> METRICS["gradient_error"].text
    "relative error of the first parameter's gradient"
    """

    name: str
    text: str
    measure: Callable[[Record], float]


def _finite(x: float) -> float:
    return x if math.isfinite(x) else math.inf


def _gradient_error(record: Record) -> float:
    return min(_finite(float(record["gradient_rel_error"]["free"])), 1.0)  # 1: as bad as no gradient


def _loss_gap(record: Record) -> float:
    return _finite(float(record["test_loss"]) - float(record["reference"]["test_loss"]))


def _motion(record: Record) -> float:
    return min(_finite(float(record["motion_error"])), 1.0)


def _lost_updates(record: Record) -> float:
    return 1.0 if record["lost_updates"] is None else float(record["lost_updates"])


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("gradient_error", "relative error of the first parameter's gradient", _gradient_error),
        Metric(
            "range_loss", "share of the gradients' elements that became zero or no number", lambda r: r["range_loss"]
        ),
        Metric("test_loss", "loss of the trained weights on the test", lambda record: _finite(record["test_loss"])),
        Metric("loss_gap", "test loss above that of the same training in binary64", _loss_gap),
        Metric("motion_error", "distance of the weights from where the updates meant them to go", _motion),
        Metric("lost_updates", "share of the updates that did not move their weight", _lost_updates),
    )
}
"""Name to metric."""


@dataclass(frozen=True)
class Failure:
    """One way in which training breaks.

    Attributes
    ----------
    name, title : str
    case : Case
        Its smallest net, without mitigations; the seed is 0.
    metric : str
        A name in ``METRICS``: what is compared.
    healthy : float
        Value of the metric at or below which the failure counts as gone.
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
    healthy: float
    text: str


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
        Less is better; infinite where the case failed altogether.

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
    return float(METRICS[name].measure(record))


def _table(*failures: Failure) -> dict[str, Failure]:
    return {failure.name: failure for failure in failures}


def _perceptron(*hidden: int, **rest: Any) -> dict[str, Any]:
    return {"sizes": (64, *hidden, 10), **rest}


_LINEAR = {"length": 20, "rho": 1.15, "activation": "identity"}
FAILURES: Mapping[str, Failure] = _table(
    Failure(
        "exploding",
        "gradients explode in exact arithmetic",
        Case("rnn", _LINEAR, "copy:3", "bfloat16", (), 0, 15, 8, "sgd:lr=0.015"),
        "test_loss",
        10.0,
        "A recurrent net multiplies the gradient by its recurrent matrix once a time step; with a spectral radius "
        "above 1 the gradient grows exponentially, in any format, and steps are too long for the loss.",
    ),
    Failure(
        "overflow",
        "activations overflow binary16",
        Case("residual_mlp", {"width": 16, "depth": 22, "norm": None, "activation": "relu"}, "", "binary16", steps=3),
        "range_loss",
        0.01,
        "Each residual block without normalisation doubles the variance of the stream, until it leaves binary16.",
    ),
    Failure(
        "vanishing",
        "gradients vanish, and no loss scale exists",
        Case("mlp", _perceptron(*(16,) * 48, activation="relu", init="xavier"), "", "binary16", batch=16, steps=1),
        "range_loss",
        0.01,
        "Xavier's initialisation halves the mean square in each ReLU layer; after 48 of them activations and gradients "
        "span more binades than binary16 has.",
    ),
    Failure(
        "underflow",
        "gradients underflow, and a loss scale exists",
        Case("mlp", _perceptron(*(16,) * 5, activation="tanh", init="small"), "", "mixed:binary16", batch=16),
        "range_loss",
        0.01,
        "Small weights make small gradients: they lie below binary16, all in one part of its range.",
    ),
    Failure(
        "stagnation",
        "updates are lost in bfloat16 weights",
        Case("mlp", _perceptron(16, activation="tanh"), "", "bfloat16", (), 0, 60, 16, "sgd:lr=0.01"),
        "motion_error",
        0.3,
        "A step below half an ulp of its weight changes nothing, however often it is made.",
    ),
    Failure(
        "swamping",
        "sums stop in a narrow accumulator",
        Case("mlp", _perceptron(16, activation="tanh"), "", "mixed:bfloat16:bfloat16", batch=1024, steps=3),
        "gradient_error",
        0.01,
        "Sums over a large batch outgrow their terms: what is below half an ulp of the partial sum is not added.",
    ),
    Failure(
        "flips",
        "rectifiers decide otherwise in bfloat16",
        Case("mlp", _perceptron(*(32,) * 16, activation="relu"), "", "bfloat16", batch=16, steps=4),
        "gradient_error",
        0.02,
        "Rounding moves values across zero; a rectifier that opens or shuts by mistake loses or adds a whole gradient.",
    ),
    Failure(
        "adam_epsilon",
        "Adam divides by zero in binary16",
        Case("mlp", _perceptron(16, activation="tanh"), "", "binary16", optimizer="adam:lr=0.01"),
        "test_loss",
        2.0,
        "Adam's epsilon of 1e-8 and the squares of small gradients are zero in binary16: a quotient by zero.",
    ),
)
"""Name to failure."""
