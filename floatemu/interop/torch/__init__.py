"""floatemu on torch tensors: the faces, gradients straight through a rounding, models that compute in a recipe.

On the CPU the compiled kernels work on the tensors' own memory. :func:`round` and :func:`encode` run the same rounding
text on CUDA as a Triton kernel, and on other devices in torch's integer operations.

Examples
--------
>>> import torch
>>> import floatemu.interop.torch as ft
>>> ft.round(torch.tensor([0.1, 464.0, 465.0]), "e4m3fn").tolist()
[0.1015625, 448.0, nan]
"""

from __future__ import annotations

from floatemu.errors import UnsupportedError

try:
    import torch as _torch
except ImportError:
    raise UnsupportedError("torch is not installed; `pip install 'floatemu[torch]'`") from None

from floatemu.interop.torch.blocks import block_array as block_array
from floatemu.interop.torch.blocks import block_tensors as block_tensors
from floatemu.interop.torch.emulation import Emulation as Emulation
from floatemu.interop.torch.emulation import emulate as emulate
from floatemu.interop.torch.faces import decode as decode
from floatemu.interop.torch.faces import encode as encode
from floatemu.interop.torch.faces import round as round
from floatemu.interop.torch.gradients import ste_round as ste_round
from floatemu.interop.torch.matrices import gemm as gemm
from floatemu.interop.torch.matrices import matmul as matmul
from floatemu.interop.torch.matrices import mma as mma
from floatemu.interop.torch.recipes import RECIPES as RECIPES
from floatemu.interop.torch.recipes import Recipe as Recipe
from floatemu.interop.torch.tallies import Tally as Tally
from floatemu.interop.torch.tallies import round_with_tally as round_with_tally
from floatemu.interop.torch.tallies import tally as tally

__all__ = [
    "RECIPES",
    "Emulation",
    "Recipe",
    "Tally",
    "block_array",
    "block_tensors",
    "decode",
    "emulate",
    "encode",
    "gemm",
    "matmul",
    "mma",
    "round_with_tally",
    "ste_round",
    "tally",
]

del _torch
