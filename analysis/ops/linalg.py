"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arithmetics.base import Array
from ..arithmetics.float64 import Float64
from ..ops.builder import Var
from ..ops.spec import Attributes, Kind, OpSpec, register

__all__: list[str] = []


def _left_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return g @ x[1].T


def _right_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return x[0].T @ g


def _sensitivity(x: Sequence[Array], y: Array, attributes: Attributes) -> Array:
    return Float64().matmul(np.abs(x[0]), np.abs(x[1]))


register(
    OpSpec("matmul", 2, Kind.COMPUTE, lambda ar, x, _: ar.matmul(x[0], x[1]), (_left_vjp, _right_vjp), _sensitivity),
)
