"""Activations, composed of the table's operations so that every error inside them has a place."""

from __future__ import annotations

import math

from ..ops.builder import Var
from ..ops.selection import absolute

__all__ = ["ACTIVATIONS", "gelu", "gelu_tanh", "identity", "relu", "sigmoid", "silu", "softplus"]


def relu(x: Var) -> Var:
    """Record max(x, 0) as a decision (x > 0) and a selection; NaN stays NaN.

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


def sigmoid(x: Var) -> Var:
    """Record 1 / (1 + e^-x).

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
    >>> sigmoid(Builder("t").leaf("input", np.array([-1000.0, 0.0]))).value.tolist()
    [0.0, 0.5]
    """
    return x.builder.apply("sigmoid", x)


def silu(x: Var) -> Var:
    """Record x sigmoid(x), also called swish (Elfwing et al. 2018, equation 5).

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
    >>> round(silu(Builder("t").leaf("input", np.array(1.0))).value.item(), 12)
    0.73105857863
    """
    return x * sigmoid(x)


def softplus(x: Var) -> Var:
    """Record log(1 + e^x) as max(x, 0) + log(1 + e^-|x|), which overflows nowhere.

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
    >>> softplus(Builder("t").leaf("input", np.array([0.0, 1000.0]))).value.tolist()
    [0.6931471805599453, 1000.0]
    """
    return relu(x) + (x.builder.constant(1.0) + (-absolute(x)).exp()).log()


def identity(x: Var) -> Var:
    """Return x itself: a linear net.

    Parameters
    ----------
    x : Var

    Returns
    -------
    Var

    Examples
    --------
    >>> from analysis.ops import Builder
    >>> x = Builder("t").constant(1.0)
    >>> identity(x) is x
    True
    """
    return x


ACTIVATIONS = {
    "relu": relu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "tanh": Var.tanh,
    "sigmoid": sigmoid,
    "silu": silu,
    "softplus": softplus,
    "identity": identity,
}
"""Name to composition, for net builders."""
