"""floatemu: software emulation of floating-point formats, exact to the bit.

Examples
--------
>>> import floatemu as fe
>>> fe.round([0.1, 1e5], "binary16").tolist()
[0.0999755859375, inf]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from floatemu.codec import decode as decode
from floatemu.codec import encode as encode
from floatemu.codec import values as values
from floatemu.errors import FileError as FileError
from floatemu.errors import FloatEmuError as FloatEmuError
from floatemu.errors import FormatError as FormatError
from floatemu.errors import ProjectionError as ProjectionError
from floatemu.errors import UnsupportedError as UnsupportedError
from floatemu.format import Format as Format
from floatemu.format import Overflow as Overflow
from floatemu.formats import ALIASES as ALIASES
from floatemu.formats import FORMATS as FORMATS
from floatemu.formats import get_format as get_format
from floatemu.formats import p3109 as p3109
from floatemu.landmarks import finfo as finfo
from floatemu.landmarks import isrepresentable as isrepresentable
from floatemu.landmarks import nextafter as nextafter
from floatemu.landmarks import ulp as ulp
from floatemu.projection import Projection as Projection
from floatemu.projection import Rounding as Rounding
from floatemu.projection import Saturation as Saturation
from floatemu.rounding import Flag as Flag
from floatemu.rounding import round as round
from floatemu.rounding import round_with_flags as round_with_flags
from floatemu.rounding import rounder as rounder

if TYPE_CHECKING:
    from floatemu import block as block
    from floatemu import matrix as matrix
    from floatemu import p3109_ops as p3109_ops
    from floatemu import presets as presets
    from floatemu.arithmetic import add as add
    from floatemu.arithmetic import div as div
    from floatemu.arithmetic import fma as fma
    from floatemu.arithmetic import maximum as maximum
    from floatemu.arithmetic import maximumNumber as maximumNumber
    from floatemu.arithmetic import minimum as minimum
    from floatemu.arithmetic import minimumNumber as minimumNumber
    from floatemu.arithmetic import mul as mul
    from floatemu.arithmetic import remainder as remainder
    from floatemu.arithmetic import sqrt as sqrt
    from floatemu.arithmetic import sub as sub
    from floatemu.array import EmulatedArray as EmulatedArray
    from floatemu.array import asarray as asarray
    from floatemu.block import BlockArray as BlockArray
    from floatemu.block import BlockFormat as BlockFormat
    from floatemu.block import quantize as quantize
    from floatemu.comparisons import compare as compare
    from floatemu.differences import diff as diff
    from floatemu.functions import cosh as cosh
    from floatemu.functions import erf as erf
    from floatemu.functions import exp as exp
    from floatemu.functions import exp2 as exp2
    from floatemu.functions import expm1 as expm1
    from floatemu.functions import gelu as gelu
    from floatemu.functions import gelu_tanh as gelu_tanh
    from floatemu.functions import hypot as hypot
    from floatemu.functions import log as log
    from floatemu.functions import log1p as log1p
    from floatemu.functions import log2 as log2
    from floatemu.functions import log10 as log10
    from floatemu.functions import pow as pow
    from floatemu.functions import reciprocal as reciprocal
    from floatemu.functions import rsqrt as rsqrt
    from floatemu.functions import sigmoid as sigmoid
    from floatemu.functions import silu as silu
    from floatemu.functions import sinh as sinh
    from floatemu.functions import softplus as softplus
    from floatemu.functions import tanh as tanh
    from floatemu.functions_circular import acos as acos
    from floatemu.functions_circular import asin as asin
    from floatemu.functions_circular import atan as atan
    from floatemu.functions_circular import cos as cos
    from floatemu.functions_circular import sin as sin
    from floatemu.functions_circular import tan as tan
    from floatemu.gemm import conv2d as conv2d
    from floatemu.gemm import matmul as matmul
    from floatemu.normalisation import logsumexp as logsumexp
    from floatemu.normalisation import softmax as softmax
    from floatemu.orders import Order as Order
    from floatemu.presets import cast as cast
    from floatemu.reductions import dot as dot
    from floatemu.reductions import mean as mean
    from floatemu.reductions import norm as norm
    from floatemu.reductions import sum as sum

# Loaded when first used: formats and rounding need none of it, and importing it takes as long as they do.
_LATER = {
    "arithmetic": "add div fma maximum maximumNumber minimum minimumNumber mul remainder sqrt sub",
    "array": "EmulatedArray asarray",
    "block": "BlockArray BlockFormat quantize",
    "comparisons": "compare",
    "differences": "diff",
    "functions": "cosh erf exp exp2 expm1 gelu gelu_tanh hypot log log1p "
    "log2 log10 pow reciprocal rsqrt sigmoid silu sinh softplus tanh",
    "functions_circular": "acos asin atan cos sin tan",
    "gemm": "conv2d matmul",
    "normalisation": "logsumexp softmax",
    "orders": "Order",
    "presets": "cast",
    "reductions": "dot mean norm sum",
}
_WHERE = {name: module for module, names in _LATER.items() for name in names.split()}
_PACKAGES = ("block", "matrix", "p3109_ops", "presets")

__version__ = "0.1.0"

# `round`, `sum` and `pow` stay out, so that a star import hides no builtin.
__all__ = [
    "ALIASES",
    "FORMATS",
    "BlockArray",
    "BlockFormat",
    "EmulatedArray",
    "FileError",
    "Flag",
    "FloatEmuError",
    "Format",
    "FormatError",
    "Order",
    "Overflow",
    "Projection",
    "ProjectionError",
    "Rounding",
    "Saturation",
    "UnsupportedError",
    "acos",
    "add",
    "asarray",
    "asin",
    "atan",
    "block",
    "cast",
    "compare",
    "conv2d",
    "cos",
    "cosh",
    "decode",
    "diff",
    "div",
    "dot",
    "encode",
    "erf",
    "exp",
    "exp2",
    "expm1",
    "finfo",
    "fma",
    "gelu",
    "gelu_tanh",
    "get_format",
    "hypot",
    "isrepresentable",
    "log",
    "log1p",
    "log2",
    "log10",
    "logsumexp",
    "matmul",
    "matrix",
    "maximum",
    "maximumNumber",
    "mean",
    "minimum",
    "minimumNumber",
    "mul",
    "nextafter",
    "norm",
    "p3109",
    "p3109_ops",
    "presets",
    "quantize",
    "reciprocal",
    "remainder",
    "round_with_flags",
    "rounder",
    "rsqrt",
    "sigmoid",
    "silu",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "sqrt",
    "sub",
    "tan",
    "tanh",
    "ulp",
    "values",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"floatemu.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'floatemu' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"floatemu.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE, *_PACKAGES})
