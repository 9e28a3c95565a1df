"""Blocks of numbers that share a scale: formats, scale rules, quantization, packed storage, files.

Examples
--------
>>> import floatemu as fe
>>> fe.quantize([[1.0, 500.0, 1e-3, -6.0]], "nvfp4", outer=1).dequantize().tolist()
[[0.0, 480.0, 0.0, -0.0]]
"""

from __future__ import annotations

from floatemu.block.array import BlockArray as BlockArray
from floatemu.block.errors import BlockErrors as BlockErrors
from floatemu.block.formats import ALIASES as ALIASES
from floatemu.block.formats import FORMATS as FORMATS
from floatemu.block.formats import RULES as RULES
from floatemu.block.formats import BlockFormat as BlockFormat
from floatemu.block.formats import ScaleRule as ScaleRule
from floatemu.block.formats import get_block_format as get_block_format
from floatemu.block.formats import get_rule as get_rule
from floatemu.block.packing import Packed as Packed
from floatemu.block.packing import pack as pack
from floatemu.block.packing import swizzle as swizzle
from floatemu.block.packing import unpack as unpack
from floatemu.block.packing import unswizzle as unswizzle
from floatemu.block.quantization import quantize as quantize
from floatemu.block.scaling import outer_scale as outer_scale
from floatemu.block.scaling import scales as scales

__all__ = [
    "ALIASES",
    "FORMATS",
    "RULES",
    "BlockArray",
    "BlockErrors",
    "BlockFormat",
    "Packed",
    "ScaleRule",
    "get_block_format",
    "get_rule",
    "outer_scale",
    "pack",
    "quantize",
    "scales",
    "swizzle",
    "unpack",
    "unswizzle",
]
