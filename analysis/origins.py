"""Where a zero comes from, back from one element to the rounding that flushed it; which parameter an update is of."""

from __future__ import annotations

import math

import numpy as np

from .arithmetics.float64 import Float64
from .engine import Run
from .ops import Kind, get_op
from .tape import Node, Tape, Value

__all__ = ["drawn_from", "updated", "zero_origin"]

Index = tuple[int, ...]


def zero_origin(run: Run, exact: Run, start: int, index: Index) -> int | None:
    """Return the node that flushed the zero which one element was made of.

    Parameters
    ----------
    run, exact : Run
        Emulated and exact.
    start : int
        A node, ``div`` say, that made an infinity of a zero.
    index : tuple of int
        Of the element.

    Returns
    -------
    int or None
        The nearest node on the way back whose exact result was not zero and whose rounded one is; None if there is
        none.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.record_numpy(lambda x: 1 / (x * x), np.array([1e-5]))
    >>> run, exact = an.replay(tape, an.Policy.uniform("binary16")), an.replay(tape, an.Float64())
    >>> tape.nodes[zero_origin(run, exact, len(tape) - 1, (0,))].op
    'mul'
    """
    todo, seen = [(start, index)], set()
    while todo:
        node, at = todo.pop(0)
        for ref in run.tape.nodes[node].inputs:
            for place in drawn_from(run.tape, node, ref.node, at):
                value, true = run.value(ref), exact.value(ref)
                if value.dtype.kind != "f" or value[place] != 0 or true[place] == 0 or (ref.node, place) in seen:
                    continue
                seen.add((ref.node, place))
                record = run.records[ref.node]
                if record is not None and record.raw[place] != 0:
                    return ref.node
                todo.append((ref.node, place))
    return None


def drawn_from(tape: Tape, node: int, operand: int, at: Index) -> list[Index]:
    """Return the elements of an operand that one element of a result is made of.

    Parameters
    ----------
    tape : Tape
    node, operand : int
        The operation and one of its operands.
    at : tuple of int
        Index into the result.

    Returns
    -------
    list of tuple of int
        Empty for operations that are not followed.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 10), batch=2)
    >>> node = next(node for node in tape.nodes if node.op == "sum")
    >>> drawn_from(tape, node.id, node.inputs[0].node, (1,))[:2]
    [(1, 0), (1, 1)]
    """
    one = tape.nodes[node]
    spec, shape = get_op(one.op), tape.nodes[operand].shape
    if shape == one.shape:
        return [at]
    if one.op == "sum":
        axis = one.attributes["axis"]
        rest = at[:axis] + at[axis + 1 :] if one.attributes["keepdims"] else at
        return [(*rest[:axis], i, *rest[axis:]) for i in range(shape[axis])]
    if one.op == "matmul":
        left = operand == one.inputs[0].node
        return [(*at[:-1], i) if left else (*at[:-2], i, at[-1]) for i in range(shape[-1] if left else shape[-2])]
    if spec.kind is Kind.MOVE and len(one.inputs) == 1:
        numbers = np.arange(1.0, 1.0 + math.prod(shape)).reshape(shape)
        source = int(np.asarray(spec.forward(Float64(), [numbers], one.attributes))[at])
        return [tuple(int(i) for i in np.unravel_index(source - 1, shape))] if source > 0 else []
    return []


def updated(tape: Tape, ref: Value, update: Node) -> Value | None:
    """Return the parameter that an operand of an update is, with or without a decay of the weights before it.

    Parameters
    ----------
    tape : Tape
    ref : Value
        The operand.
    update : Node
        The addition.

    Returns
    -------
    Value or None
        None if the operand is no parameter.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 3, 10), batch=2, optimizer="adamw:weight_decay=0.1")
    >>> last = tape.target("new:W0")
    >>> found = [updated(tape, ref, last) for ref in last.inputs]
    >>> [ref and tape.nodes[ref.node].op for ref in found]
    ['parameter', None]
    """
    node = tape.nodes[ref.node]
    while node.op == "mul" and node.direction == update.direction:
        factors = [one for one in node.inputs if tape.nodes[one.node].op not in ("broadcast", "constant")]
        if len(factors) != 1:
            return None
        ref, node = factors[0], tape.nodes[factors[0].node]
    return ref if node.op == "parameter" else None
