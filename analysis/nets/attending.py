"""Attention: masks, heads, rotary positions, and a net of one attention layer."""

from __future__ import annotations

import math

import numpy as np

from floatemu.errors import UnsupportedError

from ..arithmetics import elementary
from ..nets.checks import check_count, check_flag, check_number, check_seed
from ..nets.layers import linear
from ..nets.leaves import Leaves, synthetic
from ..nets.program import Outcome, record
from ..ops import Var, softmax, squared_error
from ..optimisers import Optimiser
from ..tape import Tape

__all__ = ["attend", "attention", "check_heads", "rotate"]


def check_heads(width: int, heads: int, kv_heads: int | None = None, even: bool = False) -> None:
    """Refuse numbers of heads that do not divide the width, or one another.

    Parameters
    ----------
    width, heads : int
    kv_heads : int, optional
    even : bool
        Whether the width of a head must be even, for rotary positions.

    Raises
    ------
    UnsupportedError

    Examples
    --------
    >>> check_heads(16, 3)
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: heads=3 does not divide width=16; accepted: a divisor of the width
    """
    check_count(width=width, heads=heads)
    if width % heads:
        raise UnsupportedError(f"heads={heads} does not divide width={width}; accepted: a divisor of the width")
    if kv_heads is not None:
        check_count(kv_heads=kv_heads)
        if heads % kv_heads:
            raise UnsupportedError(f"kv_heads={kv_heads} does not divide heads={heads}; accepted: a divisor of heads")
    if even and width // heads % 2:
        raise UnsupportedError(
            f"width={width} gives each of {heads} heads {width // heads} numbers; rotary positions need an even number"
        )


def check_mask(mask_value: object, length: int, padding: object) -> None:
    """Refuse a mask value that is no number below 0, or padding that leaves no token.

    Parameters
    ----------
    mask_value : object
    length : int
    padding : object

    Raises
    ------
    UnsupportedError

    Examples
    --------
    >>> check_mask(-1e9, 8, 8)
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: padding=8 of length=8; accepted: an integer, 0..7
    """
    check_number(-math.inf, 0.0, mask_value=mask_value)
    if isinstance(padding, bool) or not isinstance(padding, int) or not 0 <= padding < length:
        raise UnsupportedError(f"padding={padding!r} of length={length}; accepted: an integer, 0..{length - 1}")


def _heads(x: Var, heads: int) -> Var:
    # (batch, length, heads * d) -> (batch, heads, length, d)
    batch, length, width = x.shape
    return x.reshape((batch, length, heads, width // heads)).transpose((0, 2, 1, 3))


def rotate(leaves: Leaves, x: Var, theta: float, position: int) -> Var:
    """Record rotary positions: pairs (i, i + d/2) turned by the angle position * theta^(-2i/d).

    Angles, sines and cosines are on the tape: positions that a format cannot tell apart give the same rotation.

    Parameters
    ----------
    leaves : Leaves
    x : Var
        Shape (batch, heads, length, d), d even.
    theta : float
    position : int
        Of the first token.

    Returns
    -------
    Var

    Notes
    -----
    Su et al. 2021, equation 34, in the arrangement of Llama's published code, halves instead of neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> leaves = Leaves(Builder("t"), 0)
    >>> x = leaves.data("x", "input", np.ones((1, 1, 1, 2)))
    >>> rotate(leaves, x, 1e4, 0).value.tolist()
    [[[[1.0, 1.0]]]]
    """
    apply = x.builder.apply
    length, half = x.shape[2], x.shape[3] // 2
    exponents = np.arange(half) * (-1.0 / half)
    frequencies = elementary.exp(exponents * elementary.log(np.array([theta])))
    if "cos" not in leaves.derived:
        with x.builder.at("rope"):  # once for all layers
            positions = leaves.data("positions", "input", np.arange(position, position + length, dtype=np.float64))
            turning = leaves.data("frequencies", "constant", frequencies)
            angles = positions.reshape((length, 1)) * turning
            leaves.derived |= {"cos": apply("cos", angles), "sin": apply("sin", angles)}
    with leaves.at("rope"):
        cos, sin = leaves.derived["cos"], leaves.derived["sin"]
        whole = [(0, extent, 1) for extent in x.shape[:3]]
        first = apply("slice", x, slices=(*whole, (0, half, 1)))
        second = apply("slice", x, slices=(*whole, (half, 2 * half, 1)))
        return apply("concat", first * cos - second * sin, second * cos + first * sin, axis=3)


def attend(
    leaves: Leaves,
    x: Var,
    heads: int,
    bound: float,
    *,
    kv_heads: int | None = None,
    causal: bool = True,
    mask_value: float = -math.inf,
    padding: int = 0,
    bias: bool = True,
    rope: float | None = None,
    position: int = 0,
) -> Var:
    """Record scaled dot-product attention (Vaswani et al. 2017, equation 1) with its four projections.

    Parameters
    ----------
    leaves : Leaves
        The parameters are "PATH.q.W" ... of the current path, "q", "k", "v" and "out".
    x : Var
        Shape (batch, length, width).
    heads : int
    bound : float
        Of the weights.
    kv_heads : int, optional
        Fewer heads for keys and values, each shared by heads / kv_heads queries (grouped-query attention).
    causal : bool
        Whether later tokens are masked.
    mask_value : float
        What takes the place of a masked score.
    padding : int
        Number of tokens at the start that are masked for all; their own rows are masked wholly if ``causal``.
    bias : bool
    rope : float, optional
        Base of rotary positions, such as 10000.
    position : int
        Of the first token.

    Returns
    -------
    Var
        Shape (batch, length, width).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> leaves = Leaves(Builder("t"), 0)
    >>> attend(leaves, leaves.data("x", "input", np.ones((1, 3, 4))), 2, 1.0).shape
    (1, 3, 4)
    """
    batch, length, width = x.shape
    d, groups = width // heads, kv_heads or heads
    apply, constant = x.builder.apply, x.builder.constant

    def projected(name: str, count: int) -> Var:
        with leaves.at(name):
            return _heads(linear(leaves, x, count * d, bound, bias), count)

    q, k, v = projected("q", heads), projected("k", groups), projected("v", groups)
    if rope is not None:
        q, k = rotate(leaves, q, rope, position), rotate(leaves, k, rope, position)
    if groups != heads:
        k, v = (_repeated(part, heads // groups) for part in (k, v))
    with leaves.at("scores"):
        scores = (q @ k.T) * constant(1.0 / math.sqrt(d))
    if causal or padding:
        with leaves.at("mask"):
            allowed = np.ones((length, length), dtype=bool)
            if causal:
                allowed = np.tril(allowed)
            allowed[:, :padding] = False
            keep = leaves.data("mask", "constant", allowed)
            scores = apply("select", keep.broadcast(scores.shape), scores, constant(mask_value).broadcast(scores.shape))
    with leaves.at("softmax"):
        weights = softmax(scores)
    with leaves.at("mix"):
        mixed = (weights @ v).transpose((0, 2, 1, 3)).reshape((batch, length, width))
    with leaves.at("out"):
        return linear(leaves, mixed, width, bound, bias)


def _repeated(x: Var, times: int) -> Var:
    batch, groups, length, d = x.shape
    wide = x.reshape((batch, groups, 1, length, d)).broadcast((batch, groups, times, length, d))
    return wide.reshape((batch, groups * times, length, d))


def attention(
    length: int = 8,
    width: int = 16,
    heads: int = 2,
    causal: bool = True,
    mask_value: float = -math.inf,
    padding: int = 0,
    batch: int = 2,
    seed: int = 0,
    *,
    scale: float = 1.0,
    optimizer: Optimiser | str | None = None,
    steps: int = 1,
) -> Tape:
    """Record one attention layer on synthetic inputs, with the mean square distance to synthetic targets.

    Parameters
    ----------
    length, width, heads, batch : int
    causal : bool
    mask_value : float
        What takes the place of masked scores: minus infinity, or the finite values that programs use, such as -1e9
        or -3.4028234663852886e38, which is minus infinity itself in binary16 and bfloat16.
    padding : int
        Number of tokens at the start that nobody may look at. With a causal mask the padding's own rows are masked
        wholly: NaN for minus infinity, uniform weights for finite values.
    seed : int
    scale : float
        Of the inputs, uniform in [-scale, scale).
    optimizer, steps
        See :func:`~analysis.nets.mlp`.

    Returns
    -------
    Tape
        Targets "logits" (the layer's output), "loss" and "grad:attention.q.W" ...

    Raises
    ------
    UnsupportedError
        If an argument is unknown or out of range.

    Examples
    --------
    >>> import analysis as an
    >>> an.replay(attention(4, 8), an.Float64()).value("logits").shape
    (2, 4, 8)
    """
    check_seed(seed)
    check_count(length=length, batch=batch)
    check_heads(width, heads)
    check_mask(mask_value, length, padding)
    check_number(0.0, 1e38, scale=scale)
    check_flag(causal=causal)
    shape = (batch, length, width)

    def program(leaves: Leaves) -> Outcome:
        with leaves.at("data"):
            x = leaves.data("x", "input", synthetic(seed, 0, shape, scale))
            wanted = leaves.data("y", "target", synthetic(seed, 1, shape))
        limit = math.sqrt(3.0 / width)
        with leaves.at("attention"):
            found = attend(leaves, x, heads, limit, causal=causal, mask_value=mask_value, padding=padding)
        with leaves.at("loss"):
            return Outcome(squared_error(found, wanted), found)

    facts = {"length": length, "width": width, "heads": heads, "causal": causal, "mask_value": repr(float(mask_value))}
    facts |= {"padding": padding, "batch": batch, "scale": scale, "data": "synthetic"}
    return record("attention", program, seed, optimizer, steps, **facts)
