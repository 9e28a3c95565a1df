"""What each training step sees: rows of a data set, new sequences, or the tape's own data over and over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import datasets
from ..arithmetics.base import Array
from ..nets.copying import copy_memory
from ..tape import Tape

__all__ = ["TEST", "Feed", "feed"]

TEST = 256
"""Rows at the end of a data set that training never sees and accuracy is measured on; as many symbols of sequences."""
BATCHES = 8
"""The test takes no more than this many replays."""
_FRESH = 1 << 24  # streams of sequences for training begin here, those for the test below

Data = Mapping[int, Array]


@dataclass(frozen=True)
class Feed:
    """The data of a training run.

    Attributes
    ----------
    batch : callable
        (step, part) -> data of the input and target leaves, by node id.
    test : tuple of (mapping, ndarray)
        Data of each batch of the test, and the classes that are right for the rows of the logits; -1 where any is.
        Empty where there is nothing but the training data.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 8, 10), batch=16)
    >>> found = feed(tape, seed=0)
    >>> [array.shape for array in found.batch(0, 0).values()], len(found.test)
    ([(16, 64), (16,)], 8)
    """

    batch: Callable[[int, int], Data]
    test: tuple[tuple[Data, Array], ...]


def feed(tape: Tape, seed: int, parts: int = 1) -> Feed:
    """Return what a tape's net is to be trained on.

    Nets on digits see a permutation of all rows but the last 256, drawn anew for each epoch; nets that copy see new
    sequences in each step; all others see the data they were recorded with.

    Parameters
    ----------
    tape : Tape
    seed : int
    parts : int
        Parts of a batch, each as large as the tape's.

    Returns
    -------
    Feed
    """
    if tape.meta.get("data") == "digits":
        return _digits(tape, seed, parts)
    if tape.meta.get("recall"):
        return _sequences(tape, seed, parts)
    return Feed(lambda step, part: {}, ())


def _leaves(tape: Tape, role: str) -> list[int]:
    return [node.id for node in tape.nodes if node.op == role and node.path == "data"]


def _digits(tape: Tape, seed: int, parts: int) -> Feed:
    x, y = datasets.digits()
    (inputs,), (labels,) = _leaves(tape, "input"), _leaves(tape, "target")
    shape = tape.nodes[inputs].shape
    rows, many = shape[0], len(x) - TEST
    orders: dict[int, Array] = {}

    def chosen(count: int, size: int) -> Array:
        """The size rows after the first count of all epochs, one after the other."""
        found: list[int] = []
        while len(found) < size:
            epoch, place = divmod(count + len(found), many)
            if epoch not in orders:
                words = np.random.PCG64([seed, 1, epoch]).random_raw(many)
                orders[epoch] = np.argsort(words, kind="stable")
            found.extend(orders[epoch][place : place + size - len(found)].tolist())
        return np.array(found)

    def batch(step: int, part: int) -> Data:
        index = chosen((step * parts + part) * rows, rows)
        return {inputs: x[index].reshape(shape), labels: y[index]}

    test = []
    for start in range(many, len(x) - rows + 1, rows):
        index = np.arange(start, start + rows)
        test.append(({inputs: x[index].reshape(shape), labels: y[index]}, y[index]))
    return Feed(batch, tuple(test[:BATCHES]))


def _sequences(tape: Tape, seed: int, parts: int) -> Feed:
    meta = tape.meta
    steps = {node.step: node.id for node in tape.nodes if node.op == "input" and node.path == "data" and node.step}
    (labels,) = _leaves(tape, "target") or [node.id for node in tape.nodes if node.op == "target"]

    def drawn(stream: int) -> tuple[Data, Array]:
        inputs, wanted = copy_memory(seed, stream, meta["length"], meta["recall"], meta["batch"])
        return {**{steps[t + 1]: row for t, row in enumerate(inputs)}, labels: wanted}, wanted

    test = tuple(drawn(1 + index) for index in range(min(BATCHES, -(-TEST // (meta["recall"] * meta["batch"])))))
    return Feed(lambda step, part: drawn(_FRESH + step * parts + part)[0], test)


def accuracy(logits: Sequence[Array], wanted: Sequence[Array]) -> float:
    """Return the share of rows whose largest logit is that of the right class; NaN is never right.

    Parameters
    ----------
    logits, wanted : sequence of ndarray
        Of each batch, shapes (rows, classes) and (rows,).

    Returns
    -------
    float

    Examples
    --------
    >>> accuracy([np.array([[0.0, 1.0], [np.nan, 0.0]])], [np.array([1, 0])])
    0.5
    """
    right = total = 0
    for found, labels in zip(logits, wanted):
        good = ~np.isnan(found).any(axis=-1)
        right += int(np.count_nonzero((found.argmax(axis=-1) == labels) & good))
        total += labels.size
    return right / total
