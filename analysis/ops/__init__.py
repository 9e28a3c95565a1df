"""THE TABLE of operations: one OpSpec each, one file per family, each rule written once over an arithmetic."""

from __future__ import annotations

# imported for what they register
from ..ops import decisions, elementwise, functions, leaves, linalg, reduce, shape  # noqa: F401
from ..ops.activations import ACTIVATIONS, gelu, gelu_tanh, relu, sigmoid, silu, softplus
from ..ops.builder import Builder, Var
from ..ops.gather import scatter_add
from ..ops.loss import cross_entropy, mean, squared_error
from ..ops.normalise import layer_norm, rms_norm, softmax, standardise
from ..ops.patches import average_pool, conv2d, max_pool
from ..ops.selection import absolute, clip, maximum, minimum
from ..ops.spec import Kind, OpSpec, get_op, register

__all__ = [
    "ACTIVATIONS",
    "Builder",
    "Kind",
    "OpSpec",
    "Var",
    "absolute",
    "average_pool",
    "clip",
    "conv2d",
    "cross_entropy",
    "gelu",
    "gelu_tanh",
    "get_op",
    "layer_norm",
    "max_pool",
    "maximum",
    "mean",
    "minimum",
    "register",
    "relu",
    "rms_norm",
    "scatter_add",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "squared_error",
    "standardise",
]
