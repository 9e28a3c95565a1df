"""A matrix product with triton.language.dot: tiles of 128 x 16, K in steps of 128, one accumulator."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


@triton.jit
def _product(a, b, d, k, stride_a, stride_b, stride_d, rows: tl.constexpr, columns: tl.constexpr,
             depth: tl.constexpr, most: tl.constexpr):  # fmt: skip
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    inner = tl.arange(0, depth)
    total = tl.zeros((rows, columns), dtype=tl.float32)
    for start in range(0, k, depth):
        left = tl.load(a + row[:, None] * stride_a + (start + inner)[None, :])
        right = tl.load(b + column[None, :] * stride_b + (start + inner)[:, None])
        total = tl.dot(left, right, total, max_num_imprecise_acc=most)
    tl.store(d + row[:, None] * stride_d + column[None, :], total)


def matmul(torch: Any, a: Any, b: Any, most: int | None) -> Any:
    """``a`` (M, K) times ``b`` (K, N), b being a transposed (N, K); in float32.

    ``most``: products along K that one accumulator takes before it is added to another one; None: Triton's default.
    """
    m, k = a.shape
    n = b.shape[1]
    rows, columns = 128, 16
    blocks = -(-m // rows)
    # 8-bit floats have no zeros(); their bytes do.
    filled = torch.zeros((blocks * rows, k * a.element_size()), dtype=torch.uint8, device=a.device).view(a.dtype)
    filled[:m] = a
    right = b.t().contiguous()
    d = torch.empty((blocks * rows, n), dtype=torch.float32, device=a.device)
    strides = filled.stride(0), right.stride(0), d.stride(0)
    _product[(blocks, n // columns)](filled, right, d, k, *strides, rows, columns, 128, most, num_warps=4)
    return d[:m]
