"""Recurrent cells that CUDA runs as one kernel each, taken apart: torch's own decompositions lack them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["DECOMPOSITIONS"]


def _added(gates: Any, *more: Any) -> Any:
    for one in more:
        gates = gates if one is None else gates + one
    return gates


def _lstm(given: Any, hidden: Any, cx: Any, given_bias: Any = None, hidden_bias: Any = None) -> tuple[Any, Any, Any]:
    i, f, g, o = _added(given, hidden, given_bias, hidden_bias).chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * cx + i * g
    return o * cy.tanh(), cy, torch.cat([i, f, g, o], 1)


def _lstm_backward(grad_hy: Any, grad_cy: Any, cx: Any, cy: Any, kept: Any, has_bias: bool) -> tuple[Any, Any, Any]:
    if grad_hy is None and grad_cy is None:
        return None, None, None
    i, f, g, o = kept.chunk(4, 1)
    t = cy.tanh()
    if grad_hy is None:
        of_cy, of_o = grad_cy, torch.zeros_like(o)
    else:
        of_cy, of_o = grad_hy * o * (1 - t * t), grad_hy * t * (1 - o) * o
        of_cy = of_cy if grad_cy is None else of_cy + grad_cy
    gates = torch.cat([of_cy * g * (1 - i) * i, of_cy * cx * (1 - f) * f, of_cy * i * (1 - g * g), of_o], 1)
    return gates, of_cy * f, gates.sum(0) if has_bias else None


def _gru(given: Any, hidden: Any, hx: Any, given_bias: Any = None, hidden_bias: Any = None) -> tuple[Any, Any]:
    given, hidden = _added(given, given_bias), _added(hidden, hidden_bias)
    (r, z, n), (hr, hz, hn) = given.chunk(3, 1), hidden.chunk(3, 1)
    r, z = (r + hr).sigmoid(), (z + hz).sigmoid()
    n = (n + r * hn).tanh()
    return n + z * (hx - n), torch.cat([r, z, n, hx, hn], 1)


def _gru_backward(grad_hy: Any, kept: Any, has_bias: bool) -> tuple[Any, ...]:
    r, z, n, hx, hn = kept.chunk(5, 1)
    of_n = grad_hy * (1 - z) * (1 - n * n)
    of_r, of_z = of_n * hn * (1 - r) * r, grad_hy * (hx - n) * (1 - z) * z
    given, hidden = torch.cat([of_r, of_z, of_n], 1), torch.cat([of_r, of_z, of_n * r], 1)
    sums = (given.sum(0), hidden.sum(0)) if has_bias else (None, None)
    return given, hidden, grad_hy * z, *sums


_BY_NAME: dict[str, Callable[..., Any]] = {
    "_thnn_fused_lstm_cell": _lstm,
    "_thnn_fused_lstm_cell_backward_impl": _lstm_backward,
    "_thnn_fused_gru_cell": _gru,
    "_thnn_fused_gru_cell_backward": _gru_backward,
}
DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    getattr(torch.ops.aten, name).default: rule for name, rule in _BY_NAME.items() if hasattr(torch.ops.aten, name)
}
"""By operation; in the order of torch's kernels, whose results the backward ones take: gates after their functions."""
