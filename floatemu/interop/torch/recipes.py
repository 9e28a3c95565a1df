"""Recipes: in which formats, with which scales, a model's matrix products are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch

from floatemu import block as blocks_of
from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.interop.torch.faces import round as round_tensor
from floatemu.interop.torch.matrices import gemm
from floatemu.interop.torch.tensors import stores
from floatemu.matrix.unit import MatrixUnit
from floatemu.projection import Rounding, Saturation, as_rounding, as_saturation

Scaling = Literal["none", "tensor", "delayed", "block"]
SCALINGS = ("none", "tensor", "delayed", "block")
SCALES = ("binary32", "e8m0fnu", "e4m3fn")
OPERATIONS = ("linear", "convolution", "attention", "matmul", "recurrent")


@dataclass(frozen=True)
class Recipe:
    """How a model's matrix products are made: formats, scales, what takes part.

    Each operand is scaled, rounded once to its format, multiplied, accumulated in binary32, and the scales are taken
    back out of the result.

    Attributes
    ----------
    forward, backward : Format or str
        Of activations and weights, and of incoming gradients.
    scaling : str
        ``none``; ``tensor``: one scale, from the largest magnitude of this tensor; ``delayed``: from the largest of the
        ``history`` calls before (1 at first), as Transformer Engine's DelayedScaling; ``block``: one for each
        ``block`` elements along the summed axis.
    block : int
        32 in MX, 128 in DeepSeek-V3 (arXiv 2412.19437), 16 in NVFP4.
    weight_rows : int
        Rows that a block of a layer's weight spans: 1, or 128 in DeepSeek-V3, whose blocks of weights are 128 by 128.
    scale : str
        Format of blocks' scales: ``binary32``, ``e8m0fnu``, or ``e4m3fn`` (over a binary32 scale of the tensor, NVFP4).
    scale_rule : str or ScaleRule, optional
        How they are chosen (``floatemu.block.RULES``). Default: FLOOR for ``e8m0fnu``, as in OCP MX; else
        NEAREST_DIVIDE.
    margin : int
        Powers of two left free under the largest value, for ``tensor`` and ``delayed``.
    history : int
        Calls that ``delayed`` remembers.
    rounding, backward_rounding : Rounding or str
        Of forward operands, and of gradients.
    saturation : Saturation or str
        Of both: what lies beyond the range becomes the largest value unless this says otherwise.
    seed : int, optional
        For stochastic modes; every rounding of an :class:`Emulation` has a stream of its own.
    operations : tuple of str
        Out of ``linear``, ``convolution``, ``attention``, ``matmul`` (einsum too), ``recurrent``.
    skip : tuple of str
        Paths of modules that stay as they are, with * as in file names.
    units : tuple of MatrixUnit
        Units that make the products, chosen by their operands' formats; empty: torch's float32 product.
    promote_every : int, optional
        As for :func:`floatemu.matrix.gemm`.

    Raises
    ------
    FormatError, ProjectionError
        If a format or a mode is unknown, or a stochastic mode has no seed.
    UnsupportedError
        If another field is not as said here, or float32 does not hold a format.

    Examples
    --------
    >>> Recipe(scaling="tensor", skip=("head",)).forward.name
    'e4m3fn'
    """

    forward: Any = "e4m3fn"
    backward: Any = "e5m2"
    scaling: Scaling = "tensor"
    block: int = 128
    weight_rows: int = 1
    scale: str = "binary32"
    scale_rule: Any = None
    margin: int = 0
    history: int = 16
    rounding: Any = Rounding.NEAREST_TIES_TO_EVEN
    backward_rounding: Any = Rounding.NEAREST_TIES_TO_EVEN
    saturation: Any = Saturation.SAT_FINITE
    seed: int | None = None
    operations: tuple[str, ...] = OPERATIONS
    skip: tuple[str, ...] = ()
    units: tuple[MatrixUnit, ...] = ()
    promote_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("forward", "backward"):
            fmt = get_format(getattr(self, name))
            if not stores(torch.float32, fmt) or not fmt.zero:
                raise UnsupportedError(
                    f"{name}={fmt.name!r} is no format of products: float32 must hold it, with a zero"
                )
            object.__setattr__(self, name, fmt)
        for name in ("rounding", "backward_rounding"):
            mode = as_rounding(getattr(self, name))
            if mode.stochastic and self.seed is None:
                raise ProjectionError(f"{name}={mode.name} needs random bits; give seed=")
            object.__setattr__(self, name, mode)
        object.__setattr__(self, "saturation", as_saturation(self.saturation))
        for name, value, accepted in (
            ("scaling", self.scaling, SCALINGS),
            ("scale", self.scale, SCALES),
            *(("operations", operation, OPERATIONS) for operation in self.operations),
        ):
            if value not in accepted:
                raise UnsupportedError(f"{name}: {value!r} is unknown; accepted: {', '.join(accepted)}")
        rule = self.scale_rule or ("FLOOR" if self.scale == "e8m0fnu" else "NEAREST_DIVIDE")
        object.__setattr__(self, "scale_rule", blocks_of.get_rule(rule))
        for name, least in (("block", 1), ("weight_rows", 1), ("history", 1), ("margin", 0)):
            count = getattr(self, name)
            if not isinstance(count, int) or count < least:
                raise UnsupportedError(f"{name}={count!r} is not an integer from {least} on")
        if self.units and self.scaling == "block" and self.scale != "binary32":
            raise UnsupportedError("units take operands without scales; use scaling='tensor', or scale='binary32'")

    def multiply(self, a: Any, b: Any) -> Any:
        """Return the product of values of formats, accumulated by a unit or in binary32.

        Parameters
        ----------
        a, b : tuple of (torch.Tensor, Format)
            (..., M, K) and (..., K, N).

        Returns
        -------
        torch.Tensor
            (..., M, N).

        Raises
        ------
        UnsupportedError
            If there are units, but none for these formats.
        """
        (left, first), (right, second) = a, b
        if not self.units:
            return left @ right
        found = next((u for u in self.units if u.a == first and u.b == second), None)
        if found is None:
            raise UnsupportedError(
                f"no unit of the recipe multiplies {first.name} by {second.name}; it has "
                f"{', '.join(unit.name for unit in self.units)}"
            )
        return gemm(found, left, right, promote_every=self.promote_every).to(left.dtype)

    def tensor_scale(self, amax: Any, fmt: Format) -> Any:
        """Return the factor that brings ``amax`` to the largest value of ``fmt``; 1 if amax is 0 or not finite."""
        # one division: a number by a tensor is, to torch, the tensor's reciprocal times the number
        scale = torch.full_like(amax, float(fmt.max)) / amax / 2.0**self.margin
        usable = torch.isfinite(amax) & (amax > 0) & torch.isfinite(scale)
        return torch.where(usable, scale, torch.ones_like(scale))

    def project(self, x: Any, fmt: Format, backward: bool, stream: int) -> Any:
        """Round scaled numbers to a format."""
        mode = self.backward_rounding if backward else self.rounding
        return round_tensor(x, fmt, mode, saturation=self.saturation, seed=self.seed, stream=stream, dtype=x.dtype)

    def blocks(self, x: Any, fmt: Format, backward: bool, stream: int, rows: int = 1) -> tuple[Any, Any, Any]:
        """Quantize along the last axis in blocks; one with an infinity or a NaN has the scale NaN, as in OCP MX.

        Parameters
        ----------
        x : torch.Tensor
            (..., N, K).
        fmt : Format
            Of the elements.
        backward : bool
            Whether ``x`` is a gradient.
        stream : int
        rows : int
            That share a block.

        Returns
        -------
        values : torch.Tensor
            (..., N, blocks, block), values of ``fmt``; filled up with zeros.
        scales : torch.Tensor
            (..., N, blocks), what values are multiplied with.
        outer : float
            The tensor's own scale (1 but in NVFP4).
        """
        x = torch.nn.functional.pad(x, (0, -x.shape[-1] % self.block)).unflatten(-1, (-1, self.block))
        amax = x.abs().amax(-1)
        if rows > 1:
            n = amax.shape[-2]
            whole = torch.nn.functional.pad(amax, (0, 0, 0, -n % rows)).unflatten(-2, (-1, rows)).amax(-2)
            amax = whole.repeat_interleave(rows, -2)[..., :n, :]
        outer_format = "binary32" if self.scale == "e4m3fn" else None
        own = blocks_of.BlockFormat("recipe", fmt, self.block, self.scale, outer=outer_format)
        top = amax.cpu().numpy()
        outer = blocks_of.outer_scale(float(top.max(initial=0, where=np.isfinite(top))), own)
        _, factors = blocks_of.scales(top, own, self.scale_rule, outer=outer)
        whole = torch.from_numpy(factors).to(x.dtype).to(x.device).unsqueeze(-1)
        scaled = torch.where(whole > 0, x / whole, torch.zeros_like(x))
        scales = torch.from_numpy(factors / outer).to(x.dtype).to(x.device)
        return self.project(scaled, fmt, backward, stream), scales, outer


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "fp8_tensor": Recipe(),
        "fp8_delayed": Recipe(scaling="delayed"),
        "fp8_1x128": Recipe(backward="e4m3fn", scaling="block", block=128, weight_rows=128),
        "mxfp8": Recipe(backward="e4m3fn", scaling="block", block=32, scale="e8m0fnu"),
        "nvfp4": Recipe("e2m1fn", "e2m1fn", scaling="block", block=16, scale="e4m3fn"),
        "bfloat16": Recipe("bfloat16", "bfloat16", scaling="none"),
        "binary16": Recipe("binary16", "binary16", scaling="none"),
    }
)
"""THE TABLE of named recipes."""


def get_recipe(recipe: Recipe | str) -> Recipe:
    """Return the recipe of that name; a :class:`Recipe` is returned as it is.

    Raises
    ------
    UnsupportedError
        If nothing has that name.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise UnsupportedError(f"no recipe is named {recipe!r}; accepted: a Recipe, or {', '.join(RECIPES)}")
    return RECIPES[recipe]
