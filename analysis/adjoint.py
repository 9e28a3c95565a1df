"""Adjoints: the derivative of a number on a tape with respect to the value of every node.

The table's derivative rules record nodes; evaluated where a replay has its values, they give the adjoints of all
nodes in one sweep, those of the tape's own backward pass included (whose derivatives are second derivatives).
"""

from __future__ import annotations

import numpy as np

from .arithmetics.base import Array
from .engine import Run
from .ops.builder import Builder, Var
from .tape import Tape, Value

__all__ = ["adjoints", "depends_on"]


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


def adjoints(run: Run, what: Value, seed: Array) -> dict[int, Array]:
    """Return the derivative of ``sum(seed * value)`` with respect to every node, where a replay has its values.

    Parameters
    ----------
    run : Run
        Decisions are those that the run took.
    what : Value
    seed : ndarray of float64
        Shaped like that value.

    Returns
    -------
    dict of int to ndarray of float64
        Shaped like the nodes' values; nodes without influence are left out.

    Notes
    -----
    Reverse accumulation: adjoint of a node = sum over its users of their adjoint times the partial derivative
    (Griewank and Walther, Evaluating Derivatives, 2008, chapter 3). Evaluated in binary64.

    Examples
    --------
    >>> import analysis as an
    >>> run = an.replay(an.nets.chain(3.0, 0.5, 2), an.Float64())
    >>> found = adjoints(run, run.tape.targets["result"], np.ones(()))
    >>> {node: value.item() for node, value in sorted(found.items())}
    {0: 0.25, 1: 3.0, 2: 0.5, 3: 1.0}
    """
    builder = Builder.resume(run.tape, [outputs[0] for outputs in run.values])
    start = builder.leaf("constant", np.asarray(seed, np.float64))
    found = builder.sweep(Var(builder, what), start, depends_on(run.tape, what), through=True)
    return {node: var.value for node, var in found.items() if var.value.dtype.kind == "f"}
