"""Sums and largest elements along one axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arithmetics.base import Array
from ..arithmetics.float64 import Float64
from ..ops.builder import Var
from ..ops.spec import Attributes, Kind, OpSpec, register

__all__: list[str] = []


def _sum_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    if not attributes["keepdims"]:
        shape = list(x[0].shape)
        shape[attributes["axis"]] = 1
        g = g.reshape(tuple(shape))
    return g.broadcast(x[0].shape)


def _sum_sensitivity(x: Sequence[Array], y: Array, attributes: Attributes) -> Array:
    return Float64().sum(np.abs(x[0]), attributes["axis"], attributes["keepdims"])


register(
    OpSpec(
        "sum",
        1,
        Kind.COMPUTE,
        lambda ar, x, a: ar.sum(x[0], a["axis"], a["keepdims"]),
        (_sum_vjp,),
        _sum_sensitivity,
    ),
    OpSpec("argmax", 1, Kind.BRANCH, lambda ar, x, a: ar.argmax(x[0], a["axis"])),
)
