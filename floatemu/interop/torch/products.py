"""One matrix product in a recipe, and its gradients, which are products in the recipe too."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import torch

from floatemu.errors import ProjectionError
from floatemu.format import Format
from floatemu.interop.torch.faces import round as round_tensor
from floatemu.interop.torch.recipes import Recipe
from floatemu.interop.torch.tensors import DTYPES


class State:
    """What a recipe remembers between calls: largest magnitudes by operand, and streams of random bits.

    Parameters
    ----------
    recipe : Recipe
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.streams = 0
        self.amax: dict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=recipe.history))
        self.used: dict[str, Any] = {}

    def stream(self) -> int:
        """A number that no rounding before has had."""
        self.streams += 1
        return self.streams - 1

    def scale(self, x: Any, fmt: Format, name: str, again: bool = False) -> Any:
        """The scale of a whole tensor, None where the recipe has none; ``delayed`` notes this tensor's magnitude.

        What is computed ``again``, in the backward pass of a checkpoint, has the scale that it had, and is noted once.
        """
        recipe = self.recipe
        if recipe.scaling in ("none", "block"):
            return None
        amax = x.abs().amax() if x.numel() else x.new_zeros(())
        if recipe.scaling == "tensor":
            return recipe.tensor_scale(amax, fmt)
        if again and name in self.used:
            return self.used[name]
        seen = self.amax[name]
        scale = recipe.tensor_scale(torch.stack(list(seen)).amax(), fmt) if seen else torch.ones_like(amax)
        seen.append(amax)
        self.used[name] = scale
        return scale


def _in_backward() -> bool:
    current = getattr(torch._C, "_current_graph_task_id", None)
    return current is not None and current() != -1


def _multiply(
    state: State, a: Any, b: Any, formats: tuple[Format, Format], scales: tuple[Any, Any], grads: Any, rows: Any
) -> Any:
    """(..., M, K) times (..., K, N): which is a gradient, and how many rows of each share a block."""
    if torch.is_autocast_enabled(a.device.type):  # which format the products are in is the recipe's business
        with torch.autocast(a.device.type, enabled=False):
            return _multiply(state, a, b, formats, scales, grads, rows)
    recipe = state.recipe
    (first, second), (left_grad, right_grad) = formats, grads
    if recipe.scaling != "block":
        operands = []
        for x, fmt, scale, grad in zip((a, b), formats, scales, grads, strict=True):
            scaled = x if scale is None else x * scale
            operands.append((recipe.project(scaled, fmt, grad, state.stream()), fmt))
        product = recipe.multiply(*operands)
        return product if scales[0] is None else product * (1 / scales[0] * (1 / scales[1]))
    x, x_scales, x_outer = recipe.blocks(a, first, left_grad, state.stream(), rows[0])
    y, y_scales, y_outer = recipe.blocks(b.mT, second, right_grad, state.stream(), rows[1])
    if recipe.scale != "binary32":
        # Powers of two, or few enough bits: the scaled values are exact in binary32.
        x, y = ((v * s.unsqueeze(-1)).flatten(-2) for v, s in ((x, x_scales), (y, y_scales)))
        return (x @ y.mT) * (x_outer * y_outer)
    total = torch.zeros((*x.shape[:-2], y.shape[-3]), dtype=x.dtype, device=x.device)
    for i in range(x.shape[-2]):
        part = recipe.multiply((x[..., i, :], first), (y[..., i, :].mT, second))
        total = total + part * (x_scales[..., i].unsqueeze(-1) * y_scales[..., i].unsqueeze(-2))
    return total


class _Product(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any, state: State, name: str, weight: str) -> Any:
        fmt = state.recipe.forward
        ctx.rows = rows = tuple(state.recipe.weight_rows if weight == operand else 1 for operand in "ab")
        again = _in_backward()
        scales = state.scale(a, fmt, f"{name}.a", again), state.scale(b, fmt, f"{name}.b", again)
        ctx.save_for_backward(a, b, *scales)
        ctx.state, ctx.name = state, name
        return _multiply(state, a, b, (fmt, fmt), scales, (False, False), rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        saved = ctx.saved_tensors  # where a checkpoint computes its part of the model again
        with torch.no_grad(), torch._C.DisableTorchFunction():  # what follows is not the model's: no mode is asked
            found = _Product.gradients(ctx, saved, *gradients)
        if torch.is_grad_enabled():  # with create_graph
            given = *gradients, *saved[:2]
            return *(None if one is None else _Last.apply(one, ctx.name, *given) for one in found), None, None, None
        return *found, None, None, None

    @staticmethod
    def gradients(ctx: Any, saved: Any, g: Any) -> tuple[Any, Any]:
        """Of both operands, None where it is not asked for."""
        a, b, scale_a, scale_b = saved
        state, fmt, other = ctx.state, ctx.state.recipe.forward, ctx.state.recipe.backward
        scale = state.scale(g, other, f"{ctx.name}.g")
        left = right = None
        if ctx.needs_input_grad[0]:
            left = _multiply(state, g, b.mT, (other, fmt), (scale, scale_b), (True, False), (1, ctx.rows[1]))
        if ctx.needs_input_grad[1]:
            right = _multiply(state, a.mT, g, (fmt, other), (scale_a, scale), (False, True), (ctx.rows[0], 1))
        return left, right


class _Last(torch.autograd.Function):  # type: ignore[misc]
    """A gradient that has none itself, and says so to whoever asks."""

    @staticmethod
    def forward(ctx: Any, x: Any, name: str, *given: Any) -> Any:
        ctx.name = name
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise ProjectionError(
            f"{ctx.name}: the gradient of an emulated product's gradient, which recipes do not say anything about; "
            "compute penalties of gradients outside of the emulation, or name the modules in the recipe's skip"
        )


class _Cast(torch.autograd.Function):  # type: ignore[misc]
    """To a narrower dtype through the core's rounding; the gradient is widened or narrowed likewise."""

    @staticmethod
    def forward(ctx: Any, x: Any, dtype: Any) -> Any:
        ctx.dtype = x.dtype
        return cast(x, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return _Cast.apply(gradients[0], ctx.dtype), None


def cast(x: Any, dtype: Any) -> Any:
    """Numbers in another dtype, rounded by the core where it is narrower."""
    return x.to(dtype) if DTYPES[dtype].holds(DTYPES[x.dtype]) else round_tensor(x.detach(), DTYPES[dtype], dtype=dtype)


def product(a: Any, b: Any, state: State, name: str, weight: str = "") -> Any:
    """Return the product of two tensors in a recipe, and let gradients pass in it.

    Parameters
    ----------
    a, b : torch.Tensor
        (..., M, K) and (..., K, N); leading axes broadcast.
    state : State
    name : str
        Under which delayed scales are remembered.
    weight : {"", "a", "b"}
        Which of them is a layer's weight.

    Returns
    -------
    torch.Tensor
        (..., M, N), of the operands' common dtype; computed in float32, float64 if an operand is.

    Raises
    ------
    ProjectionError
        Within a transform of ``torch.func``.

    Examples
    --------
    >>> import torch
    >>> from floatemu.interop.torch.recipes import RECIPES
    >>> product(torch.tensor([[1.1]]), torch.tensor([[1.0]]), State(RECIPES["bfloat16"]), "")
    tensor([[1.1016]])
    """
    common = torch.promote_types(a.dtype, b.dtype)
    wide = torch.float64 if common == torch.float64 else torch.float32
    batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = (x.to(wide).expand(*batch, *x.shape[-2:]) for x in (a, b))
    try:
        result = _Product.apply(left, right, state, name, weight)
    except RuntimeError as error:
        if "functorch" not in str(error):
            raise
        # no UnsupportedError: that is a TypeError, of which the operator @ would make one of its own
        raise ProjectionError(
            f"{name}: a product within a transform of torch.func (vmap, grad, jvp ...), which does not pass emulated "
            "products; give the batch as a leading axis, and call backward() for gradients"
        ) from None
    return result if wide == common else _Cast.apply(result, common)
