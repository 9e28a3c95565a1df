"""Adjoints: the derivative of a number on a tape with respect to the value of every node.

The table's derivative rules record nodes; evaluated where a replay has its values, they give the adjoints of all
nodes in one sweep, those of the tape's own backward pass included (whose derivatives are second derivatives).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .arithmetics.base import Array
from .engine import Run
from .ops.builder import Builder
from .tape import Tape, Value

__all__ = ["adjoints", "depends_on", "mean_adjoints"]


def depends_on(tape: Tape, what: Value) -> set[int]:
    """Return the ids of the nodes that a value is computed from, its own included.

    Parameters
    ----------
    tape : Tape
    what : Value

    Returns
    -------
    set of int

    Examples
    --------
    >>> import analysis as an
    >>> sorted(depends_on(an.nets.chain(1.0, 0.5, 2), Value(2)))
    [0, 1, 2]
    """
    found = {what.node}
    for node in reversed(tape.nodes[: what.node + 1]):
        if node.id in found:
            found.update(ref.node for ref in node.inputs)
    return found


def adjoints(run: Run, what: Value, seed: Array) -> Iterator[tuple[int, Array]]:
    """Give the derivative of ``sum(seed * value)`` with respect to every node, where a replay has its values.

    Parameters
    ----------
    run : Run
        Decisions are those that the run took.
    what : Value
    seed : ndarray of float64
        Shaped like that value.

    Yields
    ------
    node : int
        From ``what`` back; nodes without influence are left out.
    adjoint : ndarray of float64
        Shaped like the node's value.

    Notes
    -----
    Reverse accumulation: adjoint of a node = sum over its users of their adjoint times the partial derivative
    (Griewank and Walther, Evaluating Derivatives, 2008, chapter 3). Evaluated in binary64. Only the adjoints that
    are still to be passed on are held.

    Examples
    --------
    >>> import analysis as an
    >>> run = an.replay(an.nets.chain(3.0, 0.5, 2), an.Float64())
    >>> found = adjoints(run, run.tape.targets["result"], np.ones(()))
    >>> [(node, value.item()) for node, value in found]
    [(3, 1.0), (2, 0.5), (1, 3.0), (0, 0.25)]
    """
    builder = Builder.resume(run.tape, [outputs[0] for outputs in run.values])
    start = builder.leaf("constant", np.asarray(seed, np.float64))
    for node, gradient in builder.sweep(builder.var(what), start, depends_on(run.tape, what), through=True):
        if gradient.value.dtype.kind == "f":
            yield node, gradient.value


def mean_adjoints(
    first: Run, second: Run | None, what: Value, seeds: tuple[Array, Array]
) -> Iterator[tuple[int, Array]]:
    """Give the mean of the adjoints at two points, node by node: the trapezoidal rule between them.

    Parameters
    ----------
    first, second : Run
        Replays of one tape; without the second, the adjoints of the first.
    what : Value
    seeds : tuple of ndarray of float64
        Of each.

    Yields
    ------
    node : int
        As :func:`adjoints` gives them at the first point; where the second has none, that alone is given.
    adjoint : ndarray of float64

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.chain(3.1, 0.5, 1)
    >>> exact, run = an.replay(tape, an.Float64()), an.replay(tape, "e4m3fn")
    >>> one = np.ones(())
    >>> bool(dict(mean_adjoints(exact, run, tape.targets["result"], (one, one)))[1] == (3.1 + 3.0) / 2)
    True
    """
    others = iter(()) if second is None else adjoints(second, what, seeds[1])
    other = next(others, None)
    for node, here in adjoints(first, what, seeds[0]):
        while other is not None and other[0] > node:
            other = next(others, None)
        yield node, 0.5 * (here + other[1]) if other is not None and other[0] == node else here
