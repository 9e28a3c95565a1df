"""A convolutional net on images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from floatemu.errors import UnsupportedError

from ..nets.checks import check_choice, check_count, check_number, check_seed, widths
from ..nets.layers import linear, normalised
from ..nets.leaves import Leaves, bound
from ..nets.perceptrons import choose_rows
from ..nets.program import Outcome, record
from ..ops import ACTIVATIONS, average_pool, conv2d, cross_entropy, max_pool
from ..optimisers import Optimiser
from ..tape import Tape

__all__ = ["cnn"]

POOLS = {"max": max_pool, "average": average_pool}


def _side(features: int, blocks: int) -> int:
    side = math.isqrt(features)
    if side * side != features:
        raise UnsupportedError(f"cnn needs square images; the data has {features} features, no square number")
    if side >> blocks == 0:
        raise UnsupportedError(f"{blocks} channels entries halve an image of {side} by {side} to nothing; give fewer")
    return side


def cnn(
    channels: Sequence[int] = (4, 8),
    kernel: int = 3,
    pool: str = "max",
    norm: str | None = None,
    activation: str = "relu",
    batch: int = 8,
    data: Any = "digits",
    seed: int = 0,
    *,
    eps: float = 1e-5,
    optimizer: Optimiser | str | None = None,
    steps: int = 1,
) -> Tape:
    """Record a convolutional net: blocks of convolution, normalisation, activation and pooling, then a linear layer.

    Parameters
    ----------
    channels : sequence of int
        Filters of each block; each halves the image.
    kernel : int
        Odd size of the filters; zeros around the image keep its size.
    pool : str
        "max" or "average", over 2 by 2.
    norm : str, optional
        "batch", over the rows and places of each channel.
    activation : str
        See :func:`~analysis.nets.mlp`.
    batch : int
        Number of rows, chosen by the seed.
    data : str, path or (X, y)
        Rows are square images.
    seed : int
    eps : float
        Of the normalisation.
    optimizer, steps
        See :func:`~analysis.nets.mlp`.

    Returns
    -------
    Tape
        Targets "logits", "loss" and "grad:NAME" for each parameter, such as "grad:conv0.W".

    Raises
    ------
    UnsupportedError
        If an argument is unknown or does not fit the data.
    DataError
        If the data cannot be used.

    Examples
    --------
    >>> tape = cnn((2,), batch=2)
    >>> list(tape.targets)
    ['logits', 'loss', 'grad:conv0.W', 'grad:conv0.b', 'grad:head.W', 'grad:head.b']
    """
    check_seed(seed)
    check_choice(tuple(ACTIVATIONS), activation=activation)
    check_choice(tuple(POOLS), pool=pool)
    check_choice((None, "batch"), norm=norm)
    check_number(0.0, 1.0, eps=eps)
    filters = widths("channels", channels, 1)
    check_count(**{f"channels[{index}]": width for index, width in enumerate(filters)})
    if isinstance(kernel, bool) or not isinstance(kernel, int) or kernel < 1 or kernel % 2 == 0:
        raise UnsupportedError(f"kernel={kernel!r}; accepted: an odd integer, 1, 3, 5 ...")
    source, x, y, classes = choose_rows(data, batch, seed)
    side = _side(x.shape[1], len(filters))

    def program(leaves: Leaves) -> Outcome:
        with leaves.at("data"):
            image = leaves.data("x", "input", x.reshape(-1, 1, side, side))
            labels = leaves.data("y", "target", y)
        for index, width in enumerate(filters):
            with leaves.at(f"conv{index}") as path:
                shape = (width, image.shape[1], kernel, kernel)
                weight = leaves.drawn(f"{path}.W", shape, bound("he", math.prod(shape[1:]), width))
                image = conv2d(image, weight, leaves.filled(f"{path}.b", (width,)), padding=kernel // 2)
                if norm is not None:
                    with leaves.at("norm") as inner:
                        image = normalised(leaves, image, norm, f"{inner}.gain", f"{inner}.bias", eps)
                with leaves.at(activation):
                    image = ACTIVATIONS[activation](image)
                with leaves.at("pool"):
                    image = POOLS[pool](image, 2)
        with leaves.at("head"):
            rows = image.reshape((image.shape[0], math.prod(image.shape[1:])))
            logits = linear(leaves, rows, classes, bound("xavier", rows.shape[1], classes))
        with leaves.at("loss"):
            return Outcome(cross_entropy(logits, labels), logits)

    facts = {"channels": list(filters), "kernel": kernel, "pool": pool, "norm": norm, "activation": activation}
    return record("cnn", program, seed, optimizer, steps, **facts, batch=batch, data=source, eps=eps)
