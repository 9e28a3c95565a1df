"""torch's functions as matrix products: linear, conv2d, attention, matmul."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch.nn import functional

Product = Callable[[Any, Any], Any]
"""(..., M, K) times (..., K, N)."""


def linear(product: Product, x: Any, weight: Any, bias: Any = None) -> Any:
    """x W^T + b, as ``torch.nn.functional.linear``."""
    flat = x.reshape(-1, x.shape[-1])
    y = product(flat, weight.t()).reshape(*x.shape[:-1], *weight.shape[:-1])
    return y if bias is None else y + bias


def matmul(product: Product, a: Any, b: Any, **unused: Any) -> Any:
    """As ``torch.matmul``, vectors included."""
    left, right = (a[None, :] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    y = product(left, right)
    y = y.squeeze(-2) if a.ndim == 1 else y
    return y.squeeze(-1) if b.ndim == 1 else y


def add_matmul(product: Product, c: Any, a: Any, b: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """beta c + alpha a b, as ``torch.addmm`` and ``torch.baddbmm``; c is not looked at if beta is 0."""
    y = product(a, b) * alpha
    return y if beta == 0 else c * beta + y


def conv2d(
    product: Product, x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Any:  # fmt: skip
    """As ``torch.nn.functional.conv2d``: the product of the kernels with the unfolded image."""
    kernel = tuple(weight.shape[-2:])
    stride, dilation = ((n, n) if isinstance(n, int) else tuple(n) for n in (stride, dilation))
    unbatched = x.ndim == 3
    x = x[None] if unbatched else x
    if padding == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        x = functional.pad(x, (reach[1] // 2, -(-reach[1] // 2), reach[0] // 2, -(-reach[0] // 2)))
    padding = 0 if isinstance(padding, str) else padding
    pad = (padding, padding) if isinstance(padding, int) else tuple(padding)
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(x.shape[-2:], pad, dilation, kernel, stride, strict=True)
    ]
    columns = functional.unfold(x, kernel, dilation, pad, stride)
    columns = columns.unflatten(1, (groups, -1)).permute(1, 2, 0, 3).flatten(2)
    y = product(weight.reshape(groups, weight.shape[0] // groups, -1), columns)
    y = y.unflatten(-1, (x.shape[0], *size)).permute(2, 0, 1, 3, 4).flatten(1, 2)
    y = y if bias is None else y + bias[:, None, None]
    return y[0] if unbatched else y


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


NAMES = ("matmul", "mm", "bmm")
HANDLERS: dict[Any, tuple[str, Callable[..., Any]]] = {
    functional.linear: ("linear", linear),
    torch.conv2d: ("conv2d", conv2d),
    functional.scaled_dot_product_attention: ("attention", attention),
    torch.addmm: ("matmul", add_matmul),
    torch.baddbmm: ("matmul", add_matmul),
}
HANDLERS |= dict.fromkeys(
    (*(getattr(torch, n) for n in NAMES), *(getattr(torch.Tensor, n) for n in (*NAMES, "__matmul__"))),
    ("matmul", matmul),
)
"""torch's functions that are made in a recipe: the operation they count as, and what makes them."""

LEFT = frozenset(
    {
        torch.einsum, torch.conv1d, torch.conv3d, torch.conv_transpose1d, torch.conv_transpose2d,
        torch.conv_transpose3d, torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu, torch.lstm_cell, torch.gru_cell,
        torch.rnn_tanh_cell, torch.rnn_relu_cell, torch.bilinear, torch.mv, torch.dot, torch.tensordot,
        functional.bilinear,
    }
)  # fmt: skip
"""Functions that multiply matrices and stay as they are; an Emulation counts them."""


@cache
def inner(function: Any) -> Any:
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
