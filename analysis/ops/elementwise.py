"""Elementwise operations. Operands have equal shapes; the builder records broadcasts as nodes of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arithmetics import elementary
from ..arithmetics.base import Arithmetic, Array
from ..ops.builder import Var
from ..ops.spec import Attributes, Kind, OpSpec, register

__all__: list[str] = []


def _magnitude(inputs: Sequence[Array], out: Array, attributes: Attributes) -> Array:
    return np.abs(out)


def _added(inputs: Sequence[Array], out: Array, attributes: Attributes) -> Array:
    return np.abs(inputs[0]) + np.abs(inputs[1])


def _erf_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    # an operation of its own: 2/sqrt(pi) as a constant on the tape would be rounded even in the exact replay
    return g * g.builder.apply("erf_slope", x[0])


def _slope_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return -(g * ((x[0] + x[0]) * y))


register(
    OpSpec(
        "add",
        2,
        Kind.COMPUTE,
        lambda ar, x, _: ar.add(x[0], x[1]),
        (lambda x, y, g, _: g, lambda x, y, g, _: g),
        _added,
        adds=True,
    ),
    OpSpec(
        "sub",
        2,
        Kind.COMPUTE,
        lambda ar, x, _: ar.sub(x[0], x[1]),
        (lambda x, y, g, _: g, lambda x, y, g, _: -g),
        _added,
        adds=True,
    ),
    OpSpec(
        "mul",
        2,
        Kind.COMPUTE,
        lambda ar, x, _: ar.mul(x[0], x[1]),
        (lambda x, y, g, _: g * x[1], lambda x, y, g, _: g * x[0]),
        _magnitude,
    ),
    OpSpec(
        "div",
        2,
        Kind.COMPUTE,
        lambda ar, x, _: ar.div(x[0], x[1]),
        (lambda x, y, g, _: g / x[1], lambda x, y, g, _: -(g * y) / x[1]),
        _magnitude,
    ),
    OpSpec("neg", 1, Kind.MOVE, lambda ar, x, _: ar.neg(x[0]), (lambda x, y, g, _: -g,)),
    OpSpec(
        "exp",
        1,
        Kind.COMPUTE,
        lambda ar, x, _: ar.exp(x[0]),
        (lambda x, y, g, _: g * y,),
        lambda x, y, _: np.abs(x[0] * y),
    ),
    OpSpec(
        "log",
        1,
        Kind.COMPUTE,
        lambda ar, x, _: ar.log(x[0]),
        (lambda x, y, g, _: g / x[0],),
        lambda x, y, _: np.ones_like(y),
    ),
    OpSpec(
        "sqrt",
        1,
        Kind.COMPUTE,
        lambda ar, x, _: ar.sqrt(x[0]),
        (lambda x, y, g, _: g / (y + y),),
        lambda x, y, _: 0.5 * np.abs(y),
    ),
    OpSpec(
        "tanh",
        1,
        Kind.COMPUTE,
        lambda ar, x, _: ar.tanh(x[0]),
        (lambda x, y, g, _: g - g * (y * y),),
        lambda x, y, _: np.abs(x[0] * (1.0 - y * y)),
    ),
    OpSpec(
        "erf",
        1,
        Kind.COMPUTE,
        lambda ar, x, _: ar.erf(x[0]),
        (_erf_vjp,),
        lambda x, y, _: np.abs(x[0]) * elementary.erf_slope(x[0]),
    ),
    OpSpec(
        "erf_slope",
        1,
        Kind.COMPUTE,
        lambda ar, x, _: ar.erf_slope(x[0]),
        (_slope_vjp,),
        lambda x, y, _: 2.0 * x[0] * x[0] * np.abs(y),
    ),
)


def _mask(ar: Arithmetic, x: Sequence[Array], attributes: Attributes) -> Array:
    keep = ~x[1] if attributes.get("invert") else x[1]
    return np.where(keep, x[0], ar.zero)


def _mask_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return g.builder.apply("mask", g, x[1], **attributes)


def _select_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return g.builder.apply("mask", g, x[0])


def _other_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return g.builder.apply("mask", g, x[0], invert=True)


register(
    # Decisions are nodes of their own, so that a replay can be pinned to another run's decisions.
    OpSpec("positive", 1, Kind.BRANCH, lambda ar, x, _: ar.positive(x[0])),
    OpSpec("greater", 2, Kind.BRANCH, lambda ar, x, _: ar.greater(x[0], x[1])),
    OpSpec("mask", 2, Kind.MOVE, _mask, (_mask_vjp, None)),
    OpSpec("select", 3, Kind.MOVE, lambda ar, x, _: np.where(x[0], x[1], x[2]), (None, _select_vjp, _other_vjp)),
    OpSpec("detach", 1, Kind.MOVE, lambda ar, x, _: x[0], (lambda x, y, g, _: g,), view=True, stops=True),
)
