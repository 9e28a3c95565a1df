"""torch's convolutions, of one, two or three dimensions, forward and transposed, made of a product of matrices."""

from __future__ import annotations

from typing import Any

from torch.nn import functional

from floatemu.interop.torch.contractions import Product


def _each(value: Any, count: int) -> tuple[int, ...]:
    """One number for all axes, or one for each."""
    given = (value,) if isinstance(value, int) else tuple(value)
    return given * count if len(given) == 1 else given


def _padded(x: Any, before: Any, after: Any) -> Any:
    """Zeros around the last axes; negative counts cut off."""
    pairs = [n for both in zip(reversed(before), reversed(after), strict=True) for n in both]
    return functional.pad(x, pairs) if any(pairs) else x


def convolution(
    product: Product, x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Any:  # fmt: skip
    """As ``torch.conv1d``, ``conv2d``, ``conv3d``: the product of the kernels with the windows of the input."""
    kernel = weight.shape[2:]
    count = len(kernel)
    stride, dilation = _each(stride, count), _each(dilation, count)
    unbatched = x.ndim == count + 1
    x = x[None] if unbatched else x
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    before, after = [0] * count, [0] * count
    if padding == "same":
        before, after = [n // 2 for n in reach], [-(-n // 2) for n in reach]
    elif not isinstance(padding, str):
        before = after = list(_each(padding, count))
    x = _padded(x, before, after)
    for axis in range(count):
        x = x.unfold(2 + axis, reach[axis] + 1, stride[axis])[..., :: dilation[axis]]
    size = x.shape[2 : 2 + count]
    columns = x.unflatten(1, (groups, -1)).movedim((1, 2), (0, 1))  # group, channel, image, places, offsets
    columns = columns.flatten(3, 2 + count).flatten(4).permute(0, 1, 4, 2, 3).flatten(3).flatten(1, 2)
    y = product(weight.reshape(groups, weight.shape[0] // groups, -1), columns, weight="a")
    y = y.unflatten(-1, (x.shape[0], *size)).movedim(2, 0).flatten(1, 2)
    y = y if bias is None else y + bias.reshape(-1, *[1] * count)
    return y[0] if unbatched else y


def transposed(
    product: Product, x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """As ``torch.conv_transpose1d`` and so on: a convolution of the input, zeros between, with turned kernels."""
    kernel = weight.shape[2:]
    count = len(kernel)
    stride, padding, more, dilation = (_each(n, count) for n in (stride, padding, output_padding, dilation))
    unbatched = x.ndim == count + 1
    x = x[None] if unbatched else x
    spread = x.new_zeros((*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True))))
    spread[(..., *(slice(None, None, s) for s in stride))] = x
    around = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    spread = _padded(spread, around, [n + m for n, m in zip(around, more, strict=True)])
    turned = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(tuple(range(2, 2 + count)))
    y = convolution(product, spread, turned, bias, 1, 0, dilation, groups)
    return y[0] if unbatched else y
