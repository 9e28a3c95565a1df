"""Multilayer perceptrons on real data, plain, normalised and residual."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError

from .. import datasets
from ..arithmetics.base import Array
from ..nets.checks import check_choice, check_count, check_flag, check_number, check_seed, widths
from ..nets.layers import BRANCH_SCALES, linear, normalised, scaled_branch
from ..nets.leaves import INITS, MAX_PARAMETERS, Leaves
from ..nets.program import Outcome, record
from ..ops import ACTIVATIONS, Var, cross_entropy
from ..ops.normalise import check_norm
from ..optimisers import Optimiser
from ..tape import Tape

__all__ = ["BATCH", "mlp", "residual_mlp"]

BATCH = 64


def choose_rows(data: Any, batch: int | None, seed: int) -> tuple[str, Array, Array, int]:
    """Return a data set's name, some of its rows, their labels, and the number of classes in all of it.

    Parameters
    ----------
    data : str, path or (X, y)
    batch : int or None
        Number of rows, chosen by the seed; None: 64, or all if there are fewer.
    seed : int

    Returns
    -------
    tuple of (str, ndarray, ndarray, int)

    Raises
    ------
    UnsupportedError
        If there are not as many rows.
    DataError
        If the data cannot be used.

    Examples
    --------
    >>> name, x, y, classes = choose_rows("digits", 4, 0)
    >>> name, x.shape, y.shape, classes
    ('digits', (4, 64), (4,), 10)
    """
    source, x, y = datasets.load(data)
    if batch is None:
        batch = min(BATCH, len(x))
    if isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= len(x):
        raise UnsupportedError(f"batch={batch!r}: the data has {len(x)} rows; accepted: 1..{len(x)}")
    order = np.argsort(np.random.PCG64([seed, 0]).random_raw(len(x)), kind="stable")[:batch]
    return source, x[order], y[order], int(y.max()) + 1


def _check_sizes(sizes: Sequence[int] | None, features: int, classes: int) -> tuple[int, ...]:
    chosen = (features, 32, classes) if sizes is None else widths("sizes", sizes, 2)
    if chosen[0] != features or chosen[-1] < classes:
        raise UnsupportedError(
            f"sizes={chosen} do not fit the data: {features} features need sizes[0] = {features}, and labels up to "
            f"{classes - 1} need sizes[-1] >= {classes}"
        )
    if sum(a * b for a, b in itertools.pairwise(chosen)) > MAX_PARAMETERS:
        raise UnsupportedError(f"sizes={chosen} make more than {MAX_PARAMETERS} weights")
    return chosen


def _check(activation: str, init: str | None, norm: str | None, eps: float) -> str:
    check_choice(tuple(ACTIVATIONS), activation=activation)
    chosen = init or ("xavier" if activation == "tanh" else "he")
    if chosen not in INITS:
        raise UnsupportedError(f"init={init!r}; accepted: {', '.join(INITS)}")
    check_norm(norm)
    check_number(0.0, 1.0, eps=eps)
    return chosen


def mlp(
    sizes: Sequence[int] | None = None,
    activation: str = "relu",
    batch: int | None = None,
    data: Any = "digits",
    seed: int = 0,
    init: str | None = None,
    norm: str | None = None,
    *,
    eps: float = 1e-5,
    one_pass: bool = False,
    optimizer: Optimiser | str | None = None,
    steps: int = 1,
) -> Tape:
    """Record a multilayer perceptron with cross-entropy, forward and backward, on real data.

    Parameters
    ----------
    sizes : sequence of int, optional
        Features, hidden layers, classes. Default (features, 32, classes): (64, 32, 10) for the digits.
    activation : str
        "relu", "gelu", "gelu_tanh", "tanh", "sigmoid", "silu", "softplus" or "identity", between layers.
    batch : int, optional
        Number of rows, chosen by the seed. Default 64, or all if there are fewer.
    data : str, path or (X, y)
        "digits" (pixels divided by 16), an .npz or .csv file with X and y, or the arrays.
    seed : int
        Of the weights and of the choice of rows.
    init : str, optional
        "he", "xavier", "lecun" or "small", uniform, or "orthogonal"; default "xavier" for tanh, "he" otherwise. Biases
        start at 0.
    norm : str, optional
        "layer", "rms", "batch" or "group" (four groups): a normalisation before each activation, with gain "g0" ... and
        bias "s0" ...
    eps : float
        Of the normalisation.
    one_pass : bool
        Whether "layer", "batch" and "group" take the variance as the mean of squares less the square of the mean.
    optimizer : Optimiser or str, optional
        As :mod:`analysis.optimisers` makes them: its update is recorded too.
    steps : int
        Training steps, all on the same rows; more than 1 needs an optimiser.

    Returns
    -------
    Tape
        Targets "logits", "loss" and "grad:W0", "grad:b0" ...; with an optimiser "update:W0", "new:W0" ...

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
    check_seed(seed)
    chosen = _check(activation, init, norm, eps)
    check_flag(one_pass=one_pass)
    source, x, y, classes = choose_rows(data, batch, seed)
    sizes = _check_sizes(sizes, x.shape[1], classes)
    layers = list(itertools.pairwise(sizes))

    def program(leaves: Leaves) -> Outcome:
        with leaves.at("data"):
            hidden, labels = leaves.data("x", "input", x), leaves.data("y", "target", y)
        for index, (fan_in, fan_out) in enumerate(layers):
            with leaves.at(f"layer{index}"):
                weight = leaves.drawn(f"W{index}", (fan_in, fan_out), chosen)
                bias = leaves.filled(f"b{index}", (fan_out,))
                hidden = hidden @ weight + bias
                if index + 1 == len(layers):
                    break
                if norm is not None:
                    with leaves.at("norm"):
                        hidden = normalised(leaves, hidden, norm, f"g{index}", f"s{index}", eps, one_pass)
                with leaves.at(activation):
                    hidden = ACTIVATIONS[activation](hidden)
        with leaves.at("loss"):
            return Outcome(cross_entropy(hidden, labels), hidden)

    facts = {"sizes": list(sizes), "activation": activation, "batch": len(x), "data": source}
    extra = {} if norm is None else {"norm": norm, "eps": eps, "one_pass": one_pass}
    return record("mlp", program, seed, optimizer, steps, **facts, init=chosen, **extra)


def residual_mlp(
    width: int = 32,
    depth: int = 4,
    activation: str = "gelu",
    norm: str | None = "layer",
    batch: int = 16,
    data: Any = "digits",
    seed: int = 0,
    init: str | None = None,
    *,
    eps: float = 1e-5,
    branch_scale: str | None = None,
    optimizer: Optimiser | str | None = None,
    steps: int = 1,
) -> Tape:
    """Record a residual perceptron: blocks x + V act(U norm(x)) between two linear layers.

    Parameters
    ----------
    width : int
        Of the residual stream; the inside of a block is twice as wide.
    depth : int
        Number of blocks.
    activation : str
        See :func:`mlp`.
    norm : str or None
        "layer", "rms", "batch" or "group" at the entrance of each block, or none.
    batch : int
    data, seed, init, eps, optimizer, steps
        See :func:`mlp`.
    branch_scale : str, optional
        "depth": each block adds its branch divided by the square root of the number of blocks.

    Returns
    -------
    Tape
        Targets "logits", "loss" and "grad:NAME" for each parameter, such as "grad:block0.up.W".

    Raises
    ------
    UnsupportedError
        If an argument is unknown or does not fit the data.
    DataError
        If the data cannot be used.

    Examples
    --------
    >>> list(residual_mlp(8, 1, batch=2).targets)[2:6]
    ['grad:stem.W', 'grad:stem.b', 'grad:block0.norm.gain', 'grad:block0.norm.bias']
    """
    check_seed(seed)
    check_count(width=width, depth=depth)
    check_choice(BRANCH_SCALES, branch_scale=branch_scale)
    chosen = _check(activation, init, norm, eps)
    source, x, y, classes = choose_rows(data, batch, seed)

    def layer(leaves: Leaves, name: str, value: Var, fan_out: int) -> Var:
        with leaves.at(name):
            return linear(leaves, value, fan_out, chosen)

    def program(leaves: Leaves) -> Outcome:
        with leaves.at("data"):
            inputs, labels = leaves.data("x", "input", x), leaves.data("y", "target", y)
        stream = layer(leaves, "stem", inputs, width)
        for index in range(depth):
            with leaves.at(f"block{index}"):
                branch = stream
                if norm is not None:
                    with leaves.at("norm") as path:
                        branch = normalised(leaves, branch, norm, f"{path}.gain", f"{path}.bias", eps)
                branch = layer(leaves, "up", branch, 2 * width)
                with leaves.at(activation):
                    branch = ACTIVATIONS[activation](branch)
                branch = scaled_branch(layer(leaves, "down", branch, width), branch_scale, depth)
                stream = stream + branch
        logits = layer(leaves, "head", stream, classes)
        with leaves.at("loss"):
            return Outcome(cross_entropy(logits, labels), logits)

    facts = {"width": width, "depth": depth, "activation": activation, "norm": norm, "batch": batch, "data": source}
    extra = {} if branch_scale is None else {"branch_scale": branch_scale}
    return record("residual_mlp", program, seed, optimizer, steps, **facts, init=chosen, eps=eps, **extra)
