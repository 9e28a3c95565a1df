"""Layers that several nets share: matrix product with bias, and the normalisations."""

from __future__ import annotations

import math

from floatemu.errors import UnsupportedError

from ..nets.leaves import Leaves
from ..ops import Var, layer_norm, rms_norm, standardise

__all__ = ["BRANCH_SCALES", "GROUPS", "linear", "normalised", "scaled_branch"]

BRANCH_SCALES = (None, "depth")

GROUPS = 4
"""Of group normalisation."""


def linear(leaves: Leaves, x: Var, width: int, start: float | str, bias: bool = True) -> Var:
    """Record x @ W + b, all leading axes of x as rows of one matrix.

    Parameters
    ----------
    leaves : Leaves
        The parameters are "PATH.W" and "PATH.b" of the current path.
    x : Var
        Shape (..., features).
    width : int
    start : float or str
        Bound or initialisation of the weights, see :meth:`~analysis.nets.leaves.Leaves.drawn`; the bias starts at 0.
    bias : bool

    Returns
    -------
    Var
        Shape (..., width).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> leaves = Leaves(Builder("t"), 0)
    >>> with leaves.at("head"):
    ...     linear(leaves, leaves.data("x", "input", np.ones((2, 3, 4))), 5, 1.0).shape
    (2, 3, 5)
    >>> list(leaves.parameters)
    ['head.W', 'head.b']
    """
    path = leaves.builder.path
    rows = x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))
    product = rows @ leaves.drawn(f"{path}.W", (x.shape[-1], width), start)
    if bias:
        product = product + leaves.filled(f"{path}.b", (width,))
    return product.reshape((*x.shape[:-1], width))


def normalised(
    leaves: Leaves, x: Var, kind: str, gain: str, bias: str, eps: float = 1e-5, one_pass: bool = False
) -> Var:
    """Record a normalisation with its own parameters.

    Parameters
    ----------
    leaves : Leaves
    x : Var
        Shape (..., features); for images (batch, channels, height, width), which "batch" alone takes.
    kind : str
        "layer" and "rms" work on the last axis, "group" on four groups of it, "batch" on all but the features
        (channels).
    gain, bias : str
        Names of the parameters; "rms" has no bias.
    eps : float
    one_pass : bool
        Whether the variance is the mean of squares less the square of the mean.

    Returns
    -------
    Var

    Raises
    ------
    UnsupportedError
        If "group" does not divide the features.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> leaves = Leaves(Builder("t"), 0)
    >>> x = leaves.data("x", "input", np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> normalised(leaves, x, "batch", "g", "b", 0.25).value.round(3).tolist()
    [[-0.894, 0.0], [0.894, 0.0]]
    """
    image = len(x.shape) == 4
    features = x.shape[1] if image else x.shape[-1]
    scale = leaves.filled(gain, (features,), 1.0)
    if kind == "rms":
        return rms_norm(x, scale, eps)
    shift = leaves.filled(bias, (features,))
    if kind == "layer":
        return layer_norm(x, scale, shift, eps, one_pass)
    if kind == "group":
        if features % GROUPS:
            raise UnsupportedError(
                f"norm='group' cuts features into {GROUPS} groups; {features} features do not divide"
            )
        rows = x.reshape((x.value.size // features * GROUPS, features // GROUPS))
        return standardise(rows, 1, eps, one_pass).reshape(x.shape) * scale + shift
    if not image:
        rows = x.reshape((math.prod(x.shape[:-1]), features))
        return (standardise(rows, 0, eps, one_pass) * scale + shift).reshape(x.shape)
    batch, _, height, width = x.shape
    rows = x.transpose((0, 2, 3, 1)).reshape((batch * height * width, features))
    found = standardise(rows, 0, eps, one_pass) * scale + shift
    return found.reshape((batch, height, width, features)).transpose((0, 3, 1, 2))


def scaled_branch(branch: Var, scale: str | None, count: int) -> Var:
    """Record a residual branch as it is or, for "depth", divided by the square root of the number of branches.

    Parameters
    ----------
    branch : Var
    scale : str or None
    count : int

    Returns
    -------
    Var

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> scaled_branch(Builder("t").leaf("input", np.ones(2)), "depth", 4).value.tolist()
    [0.5, 0.5]
    """
    return branch if scale is None else branch * branch.builder.constant(1.0 / math.sqrt(count))
