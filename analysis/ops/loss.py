"""Activations and losses, composed of the table's operations so that every error inside them has a place."""

from __future__ import annotations

import math

from floatemu.errors import UnsupportedError

from ..ops.builder import Var

__all__ = ["ACTIVATIONS", "cross_entropy", "gelu", "gelu_tanh", "mean", "relu"]


def relu(x: Var) -> Var:
    """Record max(x, 0) as a decision (x > 0) and a selection.

    Parameters
    ----------
    x : Var

    Returns
    -------
    Var

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> relu(Builder("t").leaf("input", np.array([-1.0, 2.0]))).value.tolist()
    [0.0, 2.0]
    """
    return x.builder.apply("mask", x, x.builder.apply("positive", x))


def gelu(x: Var) -> Var:
    """Record x (1 + erf(x / sqrt 2)) / 2 (Hendrycks and Gimpel 2016, equation 1).

    Parameters
    ----------
    x : Var

    Returns
    -------
    Var

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> round(gelu(Builder("t").leaf("input", np.array(1.0))).value.item(), 12)
    0.841344746069
    """
    constant = x.builder.constant
    return (x * constant(0.5)) * (constant(1.0) + (x * constant(math.sqrt(0.5))).erf())


def gelu_tanh(x: Var) -> Var:
    """Record x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2, the tanh form of GELU.

    Parameters
    ----------
    x : Var

    Returns
    -------
    Var

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> round(gelu_tanh(Builder("t").leaf("input", np.array(1.0))).value.item(), 12)
    0.841191990608
    """
    constant = x.builder.constant
    inner = constant(math.sqrt(2.0 / math.pi)) * (x + constant(0.044715) * (x * (x * x)))
    return (x * constant(0.5)) * (constant(1.0) + inner.tanh())


def mean(x: Var, axis: int) -> Var:
    """Record the mean along an axis: a sum, divided by the count.

    Parameters
    ----------
    x : Var
    axis : int

    Returns
    -------
    Var

    Raises
    ------
    UnsupportedError
        If the axis is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> mean(Builder("t").leaf("input", np.array([1.0, 2.0])), 0).value.item()
    1.5
    """
    if x.shape[axis] == 0:
        raise UnsupportedError(f"the mean over axis {axis} of an array of shape {x.shape} has no value")
    return x.sum(axis) / x.builder.constant(float(x.shape[axis]))


def cross_entropy(logits: Var, labels: Var) -> Var:
    """Record the mean cross-entropy of softmax(logits) with the labels.

    The largest logit of each row is subtracted first; as a constant, since its gradient is zero in exact
    arithmetic (softmax does not change under a shift).

    Parameters
    ----------
    logits : Var
        Shape (batch, classes).
    labels : Var
        Shape (batch,), integers.

    Returns
    -------
    Var
        Scalar: the mean over the batch of log(sum(exp(z))) - z[label], z = logits - max.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> logits, labels = b.leaf("input", np.zeros((1, 2))), b.leaf("target", np.array([1]))
    >>> cross_entropy(logits, labels).value.item()
    0.6931471805599453
    """
    apply = logits.builder.apply
    largest = apply("pick", logits, apply("argmax", logits, axis=1), axis=1)
    shift = apply("detach", largest).reshape((logits.shape[0], 1))
    z = logits - shift
    return mean(z.exp().sum(1).log() - apply("pick", z, labels, axis=1), 0)


ACTIVATIONS = {"relu": relu, "gelu": gelu, "gelu_tanh": gelu_tanh, "tanh": Var.tanh}
"""Name to composition, for net builders."""
