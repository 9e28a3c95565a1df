"""Kernels taken apart, of which torch has no decomposition; some of them exist in binary32 and narrower alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

__all__ = ["DECOMPOSITIONS"]

_SUM, _MEAN = 0, 1  # modes of an embedding bag


def _grouped(a: Any, b: Any, offs: Any = None, bias: Any = None, out_dtype: Any = None) -> Any:
    # products of the experts of a mixture: the groups' ends lie along rows, columns, or what is summed
    if bias is not None:
        return NotImplemented
    if offs is None:
        return torch.bmm(a, b).to(out_dtype or a.dtype)
    ends = [0, *(int(one) for one in offs)]
    groups = list(pairwise(ends))
    if a.dim() == 2 and b.dim() == 2:
        found = torch.stack([a[:, i:j] @ b[i:j] for i, j in groups])
    elif b.dim() == 3:
        parts = [a[i:j] @ b[k] for k, (i, j) in enumerate(groups)]
        found = torch.cat([*parts, a.new_zeros(a.shape[0] - ends[-1], b.shape[-1])])
    else:
        parts = [a[k] @ b[:, i:j] for k, (i, j) in enumerate(groups)]
        found = torch.cat([*parts, a.new_zeros(a.shape[1], b.shape[1] - ends[-1])], 1)
    return found.to(out_dtype or a.dtype)


def _weight_norm_backward(grad: Any, v: Any, g: Any, norms: Any, dim: int) -> tuple[Any, Any]:
    along = (grad * v).sum([axis for axis in range(v.dim()) if axis != dim % v.dim()], keepdim=True)
    return (g / norms) * (grad - v * (along / (norms * norms))), along / norms


def _bags(indices: Any, offsets: Any) -> Any:
    # of each index, the number of its bag
    places = torch.arange(indices.shape[0], device=indices.device, dtype=offsets.dtype)
    return torch.bucketize(places, offsets, right=True) - 1


def _embedding_bag(
    weight: Any,
    indices: Any,
    offsets: Any,
    by_frequency: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    factors: Any = None,
    last: bool = False,
    padding: int = -1,
) -> Any:
    if mode not in (_SUM, _MEAN) or sparse:
        return NotImplemented
    offsets = offsets[:-1] if last else offsets
    bags, count = _bags(indices, offsets), offsets.shape[0]
    kept = (indices != padding).nonzero().squeeze(1)
    rows = weight.index_select(0, indices.index_select(0, kept))
    rows = rows if factors is None else rows * factors.index_select(0, kept).unsqueeze(1)
    sizes = torch.bincount(bags.index_select(0, kept), minlength=count)
    found = weight.new_zeros(count, weight.shape[1]).index_add(0, bags.index_select(0, kept), rows)
    if mode == _MEAN:
        found = found / sizes.clamp(min=1).unsqueeze(1)
    return found, bags, sizes, sizes.clone()


def _embedding_bag_backward(
    grad: Any,
    indices: Any,
    offsets: Any,
    bags: Any,
    sizes: Any,
    largest: Any,
    count: int,
    by_frequency: bool,
    mode: int,
    sparse: bool,
    factors: Any,
    padding: int = -1,
) -> Any:
    if mode not in (_SUM, _MEAN) or sparse or by_frequency:
        return NotImplemented
    bags = _bags(indices, offsets)
    kept = (indices != padding).nonzero().squeeze(1)
    indices, bags = indices.index_select(0, kept), bags.index_select(0, kept)
    if mode == _MEAN:
        sizes = torch.bincount(bags, minlength=grad.shape[0])
        grad = grad / sizes.clamp(min=1).unsqueeze(1)
    rows = grad.index_select(0, bags)
    rows = rows if factors is None else rows * factors.index_select(0, kept).unsqueeze(1)
    return grad.new_zeros(count, grad.shape[1]).index_add(0, indices, rows)


def _distances(x: Any, y: Any, order: float, mode: Any) -> Any:
    if order != 2.0:
        return NotImplemented
    return (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1).sqrt()


def _distances_backward(grad: Any, x: Any, y: Any, order: float, found: Any) -> Any:
    if order != 2.0:
        return NotImplemented
    share = torch.where(found == 0, 0.0, grad / found)
    return (share.unsqueeze(-1) * (x.unsqueeze(-2) - y.unsqueeze(-3))).sum(-2)


_BY_NAME: dict[str, Callable[..., Any]] = {
    "_grouped_mm": _grouped,
    "_weight_norm_interface_backward": _weight_norm_backward,
    "_cdist_forward": _distances,
    "_cdist_backward": _distances_backward,
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    "_embedding_bag_backward": _embedding_bag_backward,
}
DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    getattr(torch.ops.aten, name).default: rule for name, rule in _BY_NAME.items() if hasattr(torch.ops.aten, name)
}
"""By operation; what gives NotImplemented stays whole. Where a kernel writes nothing, there are zeros."""
