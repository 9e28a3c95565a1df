"""Tapes built without torch: the gradient chain and the multilayer perceptron, backward pass unrolled."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError

from . import datasets
from .arithmetics.base import Array
from .ops import ACTIVATIONS, Builder, Var, cross_entropy
from .tape import Tape

__all__ = ["INITS", "chain", "mlp"]

INITS = ("he", "xavier")
BATCH = 64
MAX_STEPS = 10_000
MAX_PARAMETERS = 10**7


def chain(start: float, multiplier: float, steps: int) -> Tape:
    """Record the gradient chain g <- g * m: a gradient travelling back through ``steps`` equal layers.

    Parameters
    ----------
    start : float
        First gradient; its node (step 0) is the cast.
    multiplier : float
        Factor of each step.
    steps : int
        Number of multiplications, 1..10000.

    Returns
    -------
    Tape
        Target "result". Node 0 is the start, node 1 the multiplier, node 1 + k the gradient after step k.

    Raises
    ------
    UnsupportedError
        If ``steps`` is out of range.

    Examples
    --------
    >>> tape = chain(1e5, 0.25, 10)
    >>> tape.nodes[-1].op, tape.nodes[-1].step
    ('mul', 10)
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise UnsupportedError(f"steps={steps!r}: a chain has 1..{MAX_STEPS} steps")
    builder = Builder("chain", site="nets.chain")
    builder.direction = "backward"
    with builder.at("cast", step=0):
        gradient, factor = builder.leaf("input", float(start)), builder.leaf("constant", float(multiplier))
    for step in range(1, steps + 1):
        with builder.at(f"step{step}", step=step):
            gradient = gradient * factor
    builder.target("result", gradient)
    return builder.build(net="chain", start=repr(float(start)), multiplier=repr(float(multiplier)), steps=steps)


def uniform(seed: int, stream: int, shape: tuple[int, ...], bound: float) -> Array:
    """Return numbers uniform in [-bound, bound), the same on every machine.

    Parameters
    ----------
    seed, stream : int
        Each pair gives its own sequence.
    shape : tuple of int
    bound : float

    Returns
    -------
    ndarray of float64
        Multiples of 2^-24 * bound, rounded to binary32, as weights are stored.

    Notes
    -----
    The top 25 bits of numpy's raw PCG64 words: raw output is fixed by numpy's compatibility policy, the methods
    of ``Generator`` are not.

    Examples
    --------
    >>> uniform(0, 0, (2,), 1.0).shape
    (2,)
    """
    words = np.random.PCG64([seed, stream]).random_raw(math.prod(shape))
    fraction = (np.asarray(words, dtype=np.uint64) >> np.uint64(39)).astype(np.float64) * 2.0**-24 - 1.0
    numbers: Array = (fraction * bound).astype(np.float32).astype(np.float64)
    return numbers.reshape(shape)


def _bound(init: str, fan_in: int, fan_out: int) -> float:
    # He et al. 2015, equation 10 (variance 2/fan_in) and Glorot and Bengio 2010, equation 16, both uniform
    return math.sqrt(6.0 / fan_in) if init == "he" else math.sqrt(6.0 / (fan_in + fan_out))


def _check_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise UnsupportedError(f"seed={seed!r}; accepted: an integer, 0..2^64 - 1")


def _check_sizes(sizes: Sequence[int] | None, features: int, classes: int) -> tuple[int, ...]:
    chosen = (features, 32, classes) if sizes is None else tuple(sizes)
    if len(chosen) < 2 or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in chosen):
        raise UnsupportedError(f"sizes={sizes!r}: a net has at least two layer sizes, positive integers")
    if chosen[0] != features or chosen[-1] < classes:
        raise UnsupportedError(
            f"sizes={chosen} do not fit the data: {features} features need sizes[0] = {features}, and labels up to "
            f"{classes - 1} need sizes[-1] >= {classes}"
        )
    if sum(a * b for a, b in itertools.pairwise(chosen)) > MAX_PARAMETERS:
        raise UnsupportedError(f"sizes={chosen} make more than {MAX_PARAMETERS} weights")
    return chosen


def mlp(
    sizes: Sequence[int] | None = None,
    activation: str = "relu",
    batch: int | None = None,
    data: Any = "digits",
    seed: int = 0,
    init: str | None = None,
) -> Tape:
    """Record a multilayer perceptron with cross-entropy, forward and backward, on real data.

    Parameters
    ----------
    sizes : sequence of int, optional
        Features, hidden layers, classes. Default (features, 32, classes): (64, 32, 10) for the digits.
    activation : str
        "relu", "gelu", "gelu_tanh" or "tanh", between layers.
    batch : int, optional
        Number of rows, chosen by the seed. Default 64, or all if there are fewer.
    data : str, path or (X, y)
        "digits" (pixels divided by 16), an .npz or .csv file with X and y, or the arrays.
    seed : int
        Of the weights and of the choice of rows.
    init : str, optional
        "he" or "xavier", uniform; default "xavier" for tanh, "he" otherwise. Biases start at 0.

    Returns
    -------
    Tape
        Targets "loss", "logits" and "grad:W0", "grad:b0" ...

    Raises
    ------
    UnsupportedError
        If an argument is unknown or does not fit the data.
    DataError
        If the data cannot be used.

    Examples
    --------
    >>> tape = mlp((64, 16, 10), "tanh", batch=8)
    >>> list(tape.targets)
    ['logits', 'loss', 'grad:W0', 'grad:b0', 'grad:W1', 'grad:b1']
    """
    _check_seed(seed)
    if activation not in ACTIVATIONS:
        raise UnsupportedError(f"activation={activation!r}; accepted: {', '.join(ACTIVATIONS)}")
    chosen_init = init or ("xavier" if activation == "tanh" else "he")
    if chosen_init not in INITS:
        raise UnsupportedError(f"init={init!r}; accepted: {', '.join(INITS)}")
    source, x, y = datasets.load(data)
    widths = _check_sizes(sizes, x.shape[1], int(y.max()) + 1)
    if batch is None:
        batch = min(BATCH, len(x))
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= len(x):
        raise UnsupportedError(f"batch={batch!r}: the data has {len(x)} rows; accepted: 1..{len(x)}")
    order = np.argsort(np.random.PCG64([seed, 0]).random_raw(len(x)), kind="stable")[:batch]

    builder = Builder("mlp", site="nets.mlp")
    with builder.at("data"):
        hidden, labels = builder.leaf("input", x[order]), builder.leaf("target", y[order])
    layers = list(itertools.pairwise(widths))
    parameters: dict[str, Var] = {}
    for index, (fan_in, fan_out) in enumerate(layers):
        with builder.at(f"layer{index}"):
            bound = _bound(chosen_init, fan_in, fan_out)
            weight = builder.leaf("parameter", uniform(seed, 1 + index, (fan_in, fan_out), bound))
            bias = builder.leaf("parameter", np.zeros(fan_out))
            parameters |= {f"W{index}": weight, f"b{index}": bias}
            hidden = hidden @ weight + bias
        if index + 1 < len(layers):
            with builder.at(f"layer{index}.{activation}"):
                hidden = ACTIVATIONS[activation](hidden)
    with builder.at("loss"):
        loss = cross_entropy(hidden, labels)
    builder.target("logits", hidden)
    builder.target("loss", loss)
    for name, gradient in zip(parameters, builder.backward(loss, list(parameters.values()))):
        builder.target(f"grad:{name}", gradient)
    return builder.build(
        net="mlp", sizes=list(widths), activation=activation, batch=batch, data=source, seed=seed, init=chosen_init
    )
