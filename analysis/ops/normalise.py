"""softmax and the normalisations, composed of the table's operations so that every error inside them has a place."""

from __future__ import annotations

from floatemu.errors import UnsupportedError

from ..ops.builder import Var
from ..ops.loss import mean

__all__ = ["NORMS", "layer_norm", "rms_norm", "softmax", "standardise"]


def _kept(x: Var, axis: int) -> tuple[int, ...]:
    shape = list(x.shape)
    shape[axis] = 1
    return tuple(shape)


def softmax(x: Var, axis: int = -1) -> Var:
    """Record e^z / sum(e^z) along an axis, z = x - max(x).

    The largest element is a constant in the gradient: softmax does not change under a shift.

    Parameters
    ----------
    x : Var
        Minus infinity excludes an element; a row of nothing else is NaN.
    axis : int

    Returns
    -------
    Var

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> softmax(Builder("t").leaf("input", np.array([[0.0, 0.0, -np.inf]]))).value.tolist()
    [[0.5, 0.5, 0.0]]
    """
    apply, axis = x.builder.apply, axis % len(x.shape)
    largest = apply("pick", x, apply("argmax", x, axis=axis), axis=axis)
    e = (x - apply("detach", largest).reshape(_kept(x, axis))).exp()
    return e / e.sum(axis, keepdims=True)


def standardise(x: Var, axis: int, eps: float, one_pass: bool = False) -> Var:
    """Record (x - mean) / sqrt(variance + eps) along an axis.

    Parameters
    ----------
    x : Var
    axis : int
    eps : float
    one_pass : bool
        Whether the variance is mean(x^2) - mean^2, which cancels, instead of mean((x - mean)^2).

    Returns
    -------
    Var

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> standardise(Builder("t").leaf("input", np.array([[1.0, 3.0]])), 1, 0.0).value.tolist()
    [[-1.0, 1.0]]
    """
    axis %= len(x.shape)
    kept = _kept(x, axis)
    average = mean(x, axis).reshape(kept)
    centred = x - average
    if one_pass:
        variance = mean(x * x, axis).reshape(kept) - average * average
    else:
        variance = mean(centred * centred, axis).reshape(kept)
    # a quotient, not a product with rsqrt: the cube in rsqrt's derivative overflows where fused kernels, which have
    # none, do not
    return centred / (variance + x.builder.constant(eps)).sqrt()


def layer_norm(x: Var, gain: Var, bias: Var, eps: float = 1e-5, one_pass: bool = False) -> Var:
    """Record the layer normalisation of the last axis (Ba, Kiros and Hinton 2016, equation 4).

    Parameters
    ----------
    x : Var
        Shape (..., features).
    gain, bias : Var
        Shape (features,).
    eps : float
    one_pass : bool
        See :func:`standardise`.

    Returns
    -------
    Var

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> x, gain = b.leaf("input", np.array([[1.0, 3.0]])), b.leaf("parameter", np.array([2.0, 2.0]))
    >>> layer_norm(x, gain, b.leaf("parameter", np.zeros(2)), 0.0).value.tolist()
    [[-2.0, 2.0]]
    """
    return standardise(x, -1, eps, one_pass) * gain + bias


def rms_norm(x: Var, gain: Var, eps: float = 1e-6) -> Var:
    """Record x rsqrt(mean(x^2) + eps) * gain along the last axis (Zhang and Sennrich 2019, equation 4).

    Written with rsqrt, as the models' own code is; the cube in its derivative overflows binary16 where the root mean
    square is below 0.0248.

    Parameters
    ----------
    x : Var
        Shape (..., features).
    gain : Var
        Shape (features,).
    eps : float

    Returns
    -------
    Var

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> x, gain = b.leaf("input", np.array([[2.0, 2.0]])), b.leaf("parameter", np.ones(2))
    >>> rms_norm(x, gain, 0.0).value.tolist()
    [[1.0, 1.0]]
    """
    square = mean(x * x, -1).reshape(_kept(x, -1))
    return (x * x.builder.apply("rsqrt", square + x.builder.constant(eps))) * gain


NORMS = ("layer", "rms", "batch", "group")
"""Names of the normalisations of net builders."""


def check_norm(norm: object) -> None:
    """Refuse what is neither None nor the name of a normalisation.

    Parameters
    ----------
    norm : object

    Raises
    ------
    UnsupportedError

    Examples
    --------
    >>> check_norm("instance")
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: norm='instance'; accepted: None, layer, rms, batch, group
    """
    if norm is not None and norm not in NORMS:
        raise UnsupportedError(f"norm={norm!r}; accepted: None, {', '.join(NORMS)}")
