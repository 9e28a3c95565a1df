"""Recurrent nets unrolled over time: RNN, GRU and LSTM on synthetic sequences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Array
from ..nets.checks import check_choice, check_count, check_number, check_seed
from ..nets.copying import FEATURES, check_recall, copy_memory
from ..nets.layers import normalised
from ..nets.leaves import INITS, Leaves, start, synthetic, tokens
from ..nets.program import Outcome, record
from ..ops import ACTIVATIONS, Var, cross_entropy, mean, sigmoid
from ..ops.normalise import check_norm
from ..optimisers import Optimiser
from ..tape import Tape

__all__ = ["gru", "lstm", "rnn"]

CLASSES = 10
LOSSES = ("cross_entropy", "linear")
Cell = Callable[[Leaves, Var, dict[str, Var]], dict[str, Var]]


def _unrolled(
    name: str,
    cell: Cell,
    states: tuple[str, ...],
    sizes: dict[str, int],
    seed: int,
    scale: float,
    loss: str,
    recall: int,
    optimizer: Optimiser | str | None,
    steps: int,
    **facts: Any,
) -> Tape:
    # cell: (leaves, input of the step, states) -> states; the first of them is read out at the end
    check_seed(seed)
    check_count(**sizes)
    check_number(0.0, 1e38, scale=scale)
    check_choice(LOSSES, loss=loss)
    length, hidden, features, batch = (sizes[key] for key in ("length", "hidden", "features", "batch"))
    check_recall(length, recall)
    if recall and (features != FEATURES or loss == "linear"):
        raise UnsupportedError(
            f"recall={recall} with features={features}, loss={loss!r}; accepted: features={FEATURES} (symbols, blank, "
            "cue), loss='cross_entropy'"
        )
    if recall:
        sequence, classes = copy_memory(seed, 0, length, recall, batch)
        sequence = sequence * scale
    else:
        sequence, classes = synthetic(seed, 0, (length, batch, features), scale), tokens(seed, 1, (batch,), CLASSES)

    def program(leaves: Leaves) -> Outcome:
        with leaves.at("data", step=0):
            first = {key: leaves.data(f"{key}0", "input", np.zeros((batch, hidden))) for key in states}
        state, kept = first, []
        for step in range(1, length + 1):
            with leaves.at("data", step=step):
                given = leaves.data(f"x{step}", "input", sequence[step - 1])
            with leaves.at(name, step=step):
                state = cell(leaves, given, state)
            kept.append(state[states[0]])
        last = read = kept[-1]
        with leaves.at("head") as path:
            for earlier in kept[-2 : -recall - 1 : -1]:  # states that symbols are read from, the last one at the end
                read = read.builder.apply("concat", earlier, read, axis=0)
            limit = math.sqrt(6.0 / (hidden + CLASSES))
            if loss == "linear":
                logits = last * leaves.data("readout", "constant", synthetic(seed, 2, (hidden,))).broadcast(last.shape)
            else:
                logits = read @ leaves.drawn(f"{path}.W", (hidden, CLASSES), limit)
                logits = logits + leaves.filled(f"{path}.b", (CLASSES,))
        with leaves.at("loss"):
            if loss == "linear":
                result = mean(logits.sum(1), 0)
            else:
                result = cross_entropy(logits, leaves.data("y", "target", classes))
        watched = {f"{states[0]}0": first[states[0]], f"{states[0]}{length}": last}
        return Outcome(result, logits, watched)

    data = {"data": "copy", "recall": recall} if recall else {"data": "synthetic"}
    return record(name, program, seed, optimizer, steps, **sizes, **facts, scale=scale, loss=loss, **data)


def rnn(
    length: int = 20,
    hidden: int = 16,
    features: int = 8,
    batch: int = 4,
    activation: str = "tanh",
    rho: float = 1.0,
    seed: int = 0,
    *,
    init: str = "orthogonal",
    norm: str | None = None,
    scale: float = 1.0,
    loss: str = "cross_entropy",
    recall: int = 0,
    optimizer: Optimiser | str | None = None,
    steps: int = 1,
) -> Tape:
    """Record an Elman network h <- act(x U + h W + b) with W = rho Q, Q orthogonal by default, unrolled over time.

    The gradient of a linear one is multiplied by rho in each step, exactly.

    Parameters
    ----------
    length : int
        Number of time steps; each node of step t has ``step == t``.
    hidden, features, batch : int
    activation : str
        See :func:`~analysis.nets.mlp`; "identity" makes it linear.
    rho : float
        Factor of the recurrent matrix: its spectral radius, where that is orthogonal.
    seed : int
    init : str
        Of the recurrent matrix; see :func:`~analysis.nets.mlp`.
    norm : str, optional
        "layer", "rms", "batch" or "group": a normalisation before each activation, its parameters shared by all steps.
    scale : float
        Of the synthetic inputs, uniform in [-scale, scale); 0 leaves every state at 0 (for tanh and identity).
    loss : str
        "cross_entropy" of a read-out of the last state with synthetic classes, or "linear": the batch mean of the
        product of the last state with a fixed vector, whose gradient does not depend on the state.
    recall : int
        More than 0: the copy memory task, with as many symbols to be repeated at the end (Hochreiter and Schmidhuber
        1997, section 5), read out at each of the last steps; it needs features=10.
    optimizer, steps
        See :func:`~analysis.nets.mlp`.

    Returns
    -------
    Tape
        Targets "logits", "loss", "grad:NAME" for each parameter ("grad:U", "grad:W", "grad:b", the head's), and
        "grad:h0", "grad:hLENGTH" for the first and the last state.

    Raises
    ------
    UnsupportedError
        If an argument is unknown or out of range.

    Examples
    --------
    >>> import numpy as np, analysis as an
    >>> run = an.replay(rnn(10, activation="identity", rho=1.5, loss="linear"), an.Float64())
    >>> first, last = (np.linalg.norm(run.value(name)) for name in ("grad:h0", "grad:h10"))
    >>> round(float(first / last / 1.5**10), 12)
    1.0
    """
    check_choice(tuple(ACTIVATIONS), activation=activation)
    check_number(-1e6, 1e6, rho=rho)
    check_choice(INITS, init=init)
    check_norm(norm)
    sizes = {"length": length, "hidden": hidden, "features": features, "batch": batch}

    def cell(leaves: Leaves, given: Var, state: dict[str, Var]) -> dict[str, Var]:
        inward = given @ leaves.drawn("U", (features, hidden), math.sqrt(6.0 / (features + hidden)))
        if "W" not in leaves.parameters:
            leaves.parameter("W", rho * start(init, seed, leaves.stream(), (hidden, hidden)))
        onward = state["h"] @ leaves.parameters["W"]
        total = inward + onward + leaves.filled("b", (hidden,))
        if norm is not None:
            with leaves.at("norm"):
                total = normalised(leaves, total, norm, "gain", "shift")
        return {"h": ACTIVATIONS[activation](total)}

    facts: dict[str, Any] = {"activation": activation, "rho": rho}
    facts |= {} if init == "orthogonal" else {"init": init}
    facts |= {} if norm is None else {"norm": norm}
    return _unrolled("rnn", cell, ("h",), sizes, seed, scale, loss, recall, optimizer, steps, **facts)


def _gates(leaves: Leaves, given: Var, h: Var, bias: Array) -> tuple[Var, Var]:
    # x U + b and h W, all gates side by side
    limit = 1.0 / math.sqrt(h.shape[1])
    inward = given @ leaves.drawn("U", (given.shape[1], bias.size), limit) + leaves.parameter("b", bias)
    return inward, h @ leaves.drawn("W", (h.shape[1], bias.size), limit)


def _part(x: Var, index: int, hidden: int) -> Var:
    slices = ((0, x.shape[0], 1), (index * hidden, (index + 1) * hidden, 1))
    return x.builder.apply("slice", x, slices=slices)


def gru(
    length: int = 20,
    hidden: int = 16,
    features: int = 8,
    batch: int = 4,
    seed: int = 0,
    *,
    scale: float = 1.0,
    loss: str = "cross_entropy",
    recall: int = 0,
    optimizer: Optimiser | str | None = None,
    steps: int = 1,
) -> Tape:
    """Record a GRU unrolled over time (Cho et al. 2014, with the reset gate after the product, as in PyTorch).

    Parameters
    ----------
    length, hidden, features, batch, seed, scale, loss, recall, optimizer, steps
        See :func:`rnn`.

    Returns
    -------
    Tape
        Targets as those of :func:`rnn`; the gates reset, update and new lie side by side in U, b, W and c.

    Raises
    ------
    UnsupportedError
        If an argument is unknown or out of range.

    Notes
    -----
    r = sigmoid(x Ur + br + h Wr + cr), z likewise, n = tanh(x Un + bn + r (h Wn + cn)), h <- n + z (h - n).

    Examples
    --------
    >>> sorted(gru(2, 4, 3, 1).targets)[:5]
    ['grad:U', 'grad:W', 'grad:b', 'grad:c', 'grad:h0']
    """
    sizes = {"length": length, "hidden": hidden, "features": features, "batch": batch}

    def cell(leaves: Leaves, given: Var, state: dict[str, Var]) -> dict[str, Var]:
        h = state["h"]
        inward, onward = _gates(leaves, given, h, np.zeros(3 * hidden))
        onward = onward + leaves.filled("c", (3 * hidden,))
        with leaves.at("reset"):
            reset = sigmoid(_part(inward, 0, hidden) + _part(onward, 0, hidden))
        with leaves.at("update"):
            update = sigmoid(_part(inward, 1, hidden) + _part(onward, 1, hidden))
        with leaves.at("new"):
            new = (_part(inward, 2, hidden) + reset * _part(onward, 2, hidden)).tanh()
        with leaves.at("state"):
            return {"h": new + update * (h - new)}

    return _unrolled("gru", cell, ("h",), sizes, seed, scale, loss, recall, optimizer, steps)


def lstm(
    length: int = 20,
    hidden: int = 16,
    features: int = 8,
    batch: int = 4,
    forget_bias: float = 1.0,
    seed: int = 0,
    *,
    scale: float = 1.0,
    loss: str = "cross_entropy",
    recall: int = 0,
    optimizer: Optimiser | str | None = None,
    steps: int = 1,
) -> Tape:
    """Record an LSTM unrolled over time (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    Parameters
    ----------
    length, hidden, features, batch, seed, scale, loss, recall, optimizer, steps
        See :func:`rnn`.
    forget_bias : float
        Start of the forget gate's bias; the others start at 0.

    Returns
    -------
    Tape
        Targets as those of :func:`rnn`; the gates input, forget, cell and output lie side by side in U, b and W.

    Raises
    ------
    UnsupportedError
        If an argument is unknown or out of range.

    Notes
    -----
    i, f, o = sigmoid(x U + b + h W), g = tanh(...), c <- f c + i g, h <- o tanh(c).

    Examples
    --------
    >>> sorted(lstm(2, 4, 3, 1).targets)[:5]
    ['grad:U', 'grad:W', 'grad:b', 'grad:h0', 'grad:h2']
    """
    check_number(-1e6, 1e6, forget_bias=forget_bias)
    sizes = {"length": length, "hidden": hidden, "features": features, "batch": batch}

    def cell(leaves: Leaves, given: Var, state: dict[str, Var]) -> dict[str, Var]:
        h, c = state["h"], state["c"]
        inward, onward = _gates(leaves, given, h, np.repeat([0.0, float(forget_bias), 0.0, 0.0], hidden))
        total = inward + onward
        with leaves.at("input"):
            entering = sigmoid(_part(total, 0, hidden))
        with leaves.at("forget"):
            keeping = sigmoid(_part(total, 1, hidden))
        with leaves.at("cell"):
            candidate = _part(total, 2, hidden).tanh()
        with leaves.at("output"):
            leaving = sigmoid(_part(total, 3, hidden))
        with leaves.at("state"):
            c = keeping * c + entering * candidate
            return {"h": leaving * c.tanh(), "c": c}

    facts = {"forget_bias": forget_bias}
    return _unrolled("lstm", cell, ("h", "c"), sizes, seed, scale, loss, recall, optimizer, steps, **facts)
