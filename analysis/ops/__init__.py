"""THE TABLE of operations: one OpSpec each, one file per family, each rule written once over an arithmetic."""

from __future__ import annotations

from ..ops import elementwise, leaves, linalg, reduce, shape  # noqa: F401 (they register their operations)
from ..ops.builder import Builder, Var
from ..ops.loss import ACTIVATIONS, cross_entropy, gelu, gelu_tanh, mean, relu
from ..ops.spec import Kind, OpSpec, get_op, register

__all__ = [
    "ACTIVATIONS",
    "Builder",
    "Kind",
    "OpSpec",
    "Var",
    "cross_entropy",
    "gelu",
    "gelu_tanh",
    "get_op",
    "mean",
    "register",
    "relu",
]
