"""Leave out what nothing uses: constants, and what a rule wrote before it gave up."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from ..ops import Builder
from ..tape import Value

__all__ = ["prune"]


def prune(builder: Builder, abandoned: Set[int]) -> None:
    """Take nodes off a tape and number the others anew.

    Parameters
    ----------
    builder : Builder
        Changed in place.
    abandoned : set of int
        Nodes that may go if nothing else uses them, as constants may.

    Examples
    --------
    >>> b = Builder("t")
    >>> unused, used = b.constant(1.0), b.constant(2.0)
    >>> b.target("result", -used)
    >>> prune(b, set())
    >>> [node.op for node in b.nodes], b.targets["result"].node
    (['constant', 'neg'], 1)
    """
    needed = {ref.node for ref in builder.targets.values()}
    for node in reversed(builder.nodes):
        idle = node.op == "constant" or node.id in abandoned
        if node.id in needed or not idle:
            needed.add(node.id)
            needed |= {ref.node for ref in node.inputs}
    kept = [node for node in builder.nodes if node.id in needed]
    numbers = {node.id: position for position, node in enumerate(kept)}
    builder.values = [builder.values[node.id] for node in kept]
    builder.nodes = [
        replace(node, id=numbers[node.id], inputs=tuple(Value(numbers[ref.node], ref.output) for ref in node.inputs))
        for node in kept
    ]
    builder.targets = {name: Value(numbers[ref.node], ref.output) for name, ref in builder.targets.items()}
