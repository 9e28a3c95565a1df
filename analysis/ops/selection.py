"""maximum, minimum, abs and clip: decisions that a replay can be pinned to, and selections that change no number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Arithmetic, Array
from ..ops.builder import Var
from ..ops.spec import Attributes, Kind, OpSpec, register

__all__ = ["absolute", "clip", "maximum", "minimum"]


def _exceeds(ar: Arithmetic, x: Sequence[Array], attributes: Attributes) -> Array:
    decided: Array = ar.greater(x[0], x[1]) | np.isnan(ar.lower(x[0])[0])
    return decided


register(
    # x > y, or x is NaN: with y chosen otherwise, a NaN on either side comes through
    OpSpec("exceeds", 2, Kind.BRANCH, _exceeds),
)


def _pair(x: Var, y: Var) -> tuple[Var, Var]:
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        raise UnsupportedError(f"shapes {x.shape} and {y.shape} do not broadcast") from None
    return x.broadcast(shape), y.broadcast(shape)


def maximum(x: Var, y: Var) -> Var:
    """Record the larger of two numbers; NaN if either is.

    The gradient goes to the one that was chosen; where both are equal, to y.

    Parameters
    ----------
    x, y : Var
        Shapes that broadcast.

    Returns
    -------
    Var

    Raises
    ------
    UnsupportedError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> maximum(b.leaf("input", np.array([-1.0, 2.0, np.nan])), b.constant(1.0)).value.tolist()
    [1.0, 2.0, nan]
    """
    x, y = _pair(x, y)
    return x.builder.apply("select", x.builder.apply("exceeds", x, y), x, y)


def minimum(x: Var, y: Var) -> Var:
    """Record the smaller of two numbers; NaN if either is.

    The gradient goes to the one that was chosen; where both are equal, to y.

    Parameters
    ----------
    x, y : Var
        Shapes that broadcast.

    Returns
    -------
    Var

    Raises
    ------
    UnsupportedError
        If the shapes do not broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> minimum(b.leaf("input", np.array([-1.0, 2.0, np.nan])), b.constant(1.0)).value.tolist()
    [-1.0, 1.0, nan]
    """
    x, y = _pair(x, y)
    # -x exceeds -y: y > x or x is NaN
    return x.builder.apply("select", x.builder.apply("exceeds", -x, -y), x, y)


def absolute(x: Var) -> Var:
    """Record the magnitude; its gradient at 0 is 0.

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
    >>> absolute(Builder("t").leaf("input", np.array([-1.0, 0.0, 2.0]))).value.tolist()
    [1.0, 0.0, 2.0]
    """
    apply = x.builder.apply
    opposite = -x
    # at a zero of either sign neither is positive, and the mask gives +0
    return apply("select", apply("positive", x), x, apply("mask", opposite, apply("positive", opposite)))


def clip(x: Var, low: float, high: float) -> Var:
    """Record min(max(x, low), high); NaN stays NaN.

    Parameters
    ----------
    x : Var
    low, high : float

    Returns
    -------
    Var

    Raises
    ------
    UnsupportedError
        If low > high, or either is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> clip(Builder("t").leaf("input", np.array([-3.0, 0.5, 2.0])), -1.0, 1.0).value.tolist()
    [-1.0, 0.5, 1.0]
    """
    if not low <= high:
        raise UnsupportedError(f"clip: low={low!r} and high={high!r}; accepted: low <= high")
    constant = x.builder.constant
    return minimum(maximum(x, constant(low)), constant(high))
