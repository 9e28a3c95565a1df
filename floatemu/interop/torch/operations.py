"""torch's functions that an emulation makes in a recipe, and those that it leaves."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch.nn import functional

from floatemu.interop.torch.contractions import Product, add_matmul, each_matmul, einsum, grouped, inner, linear, matmul
from floatemu.interop.torch.convolutions import convolution, transposed
from floatemu.interop.torch.recurrent import CELLS, LAYERS


def attention(
    product: Product, query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """As ``torch.nn.functional.scaled_dot_product_attention``: two products, and softmax as torch makes it."""
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    scores = product(query, key.mT) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        mask = attn_mask
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    weights = functional.dropout(torch.softmax(scores, -1), dropout_p, training=dropout_p > 0)
    return product(weights, value)


PRODUCTS: dict[str, Callable[..., Any]] = dict.fromkeys(
    ("matmul", "mm", "bmm", "mv", "dot", "vdot", "__matmul__"), matmul
)
PRODUCTS |= {"inner": inner, "addmm": add_matmul, "addmv": add_matmul, "baddbmm": add_matmul}
PRODUCTS |= {"_grouped_mm": grouped}  # which torch.nn.functional.grouped_mm calls without handing itself over
"""Products of torch's and of its tensors, by name."""
HANDLERS: dict[Any, tuple[str, Callable[..., Any]]] = {
    functional.linear: ("linear", linear),
    functional.scaled_dot_product_attention: ("attention", attention),
    torch.einsum: ("matmul", einsum),
    torch.linalg.matmul: ("matmul", matmul),
}
HANDLERS |= {
    getattr(place, name): ("matmul", make)
    for place in (torch, torch.Tensor)
    for name, make in PRODUCTS.items()
    if hasattr(place, name)
}
HANDLERS |= {
    getattr(place, name): ("matmul", each_matmul)
    for place, name in ((torch, "_foreach_mm"), (getattr(torch, "foreach", None), "mm"))  # from torch 2.15 on
    if hasattr(place, name)
}
HANDLERS |= dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), ("convolution", convolution))
HANDLERS |= dict.fromkeys(
    (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d), ("convolution", transposed)
)
HANDLERS |= {function: ("recurrent", make) for function, make in (CELLS | LAYERS).items()}
"""torch's functions that are made in a recipe: the operation they count as, and what makes them.

What gives NotImplemented has nothing for these arguments: the call is left as it is."""

OTHERS = (
    *("bilinear", "tensordot", "chain_matmul", "multi_dot", "matrix_power", "vecdot", "addbmm", "__rmatmul__"),
    *("addbmm_", "addmm_", "addmv_", "baddbmm_", "conv_tbc", "convolution", "linear_cross_entropy"),
    *("grouped_mm", "scaled_mm", "scaled_grouped_mm", "mm", "addmm", "smm", "hspmm", "sspaddmm"),
)
LEFT = frozenset(
    getattr(place, name)
    for place in (torch, torch.Tensor, torch.linalg, torch.sparse, functional)
    for name in OTHERS
    if hasattr(place, name)
) - frozenset(HANDLERS)
"""Functions that multiply matrices and stay as they are; an Emulation counts them."""


@cache
def entered(function: Any) -> Any:
    """A function of torch's in Python whose own calls are seen by a mode.

    Under a mode such functions hand themselves over whole, before they do anything. Here they are told that there is
    none: what they call then meets the mode.
    """
    told = {name: (lambda *_: False) for name in function.__globals__ if name.startswith("has_torch_function")}
    copy = FunctionType(function.__code__, {**function.__globals__, **told}, function.__name__, function.__defaults__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


ENTERED = frozenset({functional.multi_head_attention_forward})
"""Functions that are looked into."""
BACKWARD = frozenset({torch.Tensor.backward, torch.autograd.backward, torch.autograd.grad})
"""Functions that run the backward pass, in which a checkpoint computes its part of the model again."""
