"""Rules for attention as one kernel: what it computes, written out, so that an error inside it has an operation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ops import Var, softmax
from .context import Context, NoRule

__all__ = ["RULES"]


class _Heads:
    """Operands with an axis for the heads of a query that share those of a key: (..., shared, each, row, width)."""

    def __init__(self, c: Context, query: Any, key: Any, value: Any, scale: Any) -> None:
        self.query, self.key, self.value = c.real(query), c.real(key), c.real(value)
        self.c, self.each = c, self.query.shape[-3] // self.key.shape[-3]
        self.factor = c.builder.constant(1.0 / math.sqrt(self.query.shape[-1]) if scale is None else float(scale))
        self.q, self.k, self.v = self.split(self.query), self.split(self.key), self.split(self.value)

    def split(self, x: Var) -> Var:
        """Give the heads of an operand two axes."""
        shared = self.key.shape[-3]
        return x.reshape((*x.shape[:-3], shared, x.shape[-3] // shared, *x.shape[-2:]))

    def weights(self, causal: bool, mask: Any) -> Var:
        """The softmax of the scores."""
        scores = (self.q @ self.k.T) * self.factor
        if causal:
            later = np.triu(np.ones(scores.shape[-2:], dtype=np.bool_), 1)
            hidden = self.c.builder.leaf("constant", np.broadcast_to(later, scores.shape))
            least = self.c.builder.constant(-math.inf).broadcast(scores.shape)
            scores = self.c.builder.apply("select", hidden, least, scores)
        if mask is not None:
            scores = scores + self.split(self.c.real(mask).broadcast((*self.query.shape[:-1], self.key.shape[-2])))
        return softmax(scores)

    def together(self, x: Var, like: Var) -> Var:
        """Add what belongs to a shared head."""
        return (x.sum(len(x.shape) - 3) if self.each > 1 else x).reshape(like.shape)


def _attention(
    c: Context,
    query: Any,
    key: Any,
    value: Any,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    attn_mask: Any = None,
    scale: Any = None,
) -> tuple[Var, None]:
    if dropout:
        raise NoRule
    heads = _Heads(c, query, key, value, scale)
    weights = heads.weights(causal, attn_mask)
    assert c.call is not None
    c.notes[c.call.results[0].storage] = weights
    return (weights @ heads.v).reshape(c.shape), None


def _attention_backward(
    c: Context,
    gradient: Any,
    query: Any,
    key: Any,
    value: Any,
    out: Any,
    logsumexp: Any,
    dropout: float,
    causal: bool,
    *,
    attn_mask: Any = None,
    scale: Any = None,
) -> list[Var]:
    assert c.call is not None
    weights = next((c.notes[ref.storage] for ref in c.call.operands if ref.storage in c.notes), None)
    if weights is None:
        raise NoRule
    heads = _Heads(c, query, key, value, scale)
    g, y = heads.split(c.real(gradient)), heads.split(c.real(out))
    # the sum over a row of weights times their gradients is that of the result times its own
    slopes = weights * (g @ heads.v.T - (g * y).sum(len(g.shape) - 1, True)) * heads.factor
    return [
        (slopes @ heads.k).reshape(heads.query.shape),
        heads.together(slopes.T @ heads.q, heads.key),
        heads.together(weights.T @ g, heads.value),
    ]


RULES: dict[str, Callable[..., Any]] = {
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
}
"""By name without overload."""
