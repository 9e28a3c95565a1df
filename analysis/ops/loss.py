"""Means and losses, composed of the table's operations so that every error inside them has a place."""

from __future__ import annotations

from floatemu.errors import UnsupportedError

from ..ops.builder import Var

__all__ = ["cross_entropy", "mean", "squared_error"]


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


def squared_error(found: Var, wanted: Var) -> Var:
    """Record the mean over all elements of (found - wanted)^2.

    Parameters
    ----------
    found, wanted : Var
        Equal shapes.

    Returns
    -------
    Var
        Scalar.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> squared_error(b.leaf("input", np.array([1.0, 2.0])), b.leaf("target", np.array([1.0, 4.0]))).value.item()
    2.0
    """
    difference = (found - wanted).reshape((found.value.size,))
    return mean(difference * difference, 0)
