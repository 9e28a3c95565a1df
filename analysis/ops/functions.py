"""Functions of one operand beyond the basic ones; each is one operation, as it is one kernel in real frameworks.

sigmoid and rsqrt are evaluated through exp, sqrt and div of whatever arithmetic a replay runs in, and rounded once.
Written out as separate operations they would fail where kernels do not: below -11.1 the e^-x of a binary16 sigmoid
overflows, and its recorded derivative would be 0 times infinity.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arithmetics import elementary
from ..arithmetics.base import Arithmetic, Array
from ..ops.builder import Var
from ..ops.spec import Attributes, Kind, OpSpec, register

__all__: list[str] = []


def _ones(ar: Arithmetic, x: Array) -> Array:
    return ar.lift(np.ones(x.shape))


def _sigmoid(ar: Arithmetic, x: Sequence[Array], attributes: Attributes) -> Array:
    one = _ones(ar, x[0])
    return ar.div(one, ar.add(one, ar.exp(ar.neg(x[0]))))


def _sigmoid_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return g * (y * (g.builder.constant(1.0) - y))


def _rsqrt(ar: Arithmetic, x: Sequence[Array], attributes: Attributes) -> Array:
    return ar.div(_ones(ar, x[0]), ar.sqrt(x[0]))


def _rsqrt_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    # -g y^3 / 2, with the cube formed first, as frameworks do: it overflows binary16 for x below 0.0248^2
    return (g * g.builder.constant(-0.5)) * (y * (y * y))


def _sin_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return g * g.builder.apply("cos", x[0])


def _cos_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return -(g * g.builder.apply("sin", x[0]))


register(
    OpSpec(
        "sin",
        1,
        Kind.COMPUTE,
        lambda ar, x, _: ar.sin(x[0]),
        (_sin_vjp,),
        lambda x, y, _: np.abs(x[0] * elementary.cos(x[0])),
    ),
    OpSpec(
        "cos",
        1,
        Kind.COMPUTE,
        lambda ar, x, _: ar.cos(x[0]),
        (_cos_vjp,),
        lambda x, y, _: np.abs(x[0] * elementary.sin(x[0])),
    ),
    OpSpec(
        "sigmoid",
        1,
        Kind.COMPUTE,
        _sigmoid,
        (_sigmoid_vjp,),
        lambda x, y, _: np.abs(x[0]) * (y * (1.0 - y)),
    ),
    OpSpec("rsqrt", 1, Kind.COMPUTE, _rsqrt, (_rsqrt_vjp,), lambda x, y, _: 0.5 * np.abs(y)),
)
