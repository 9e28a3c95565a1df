"""Derivatives of the recorded derivatives: adjoints of backward nodes need every rule's own derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from analysis.arithmetics.exact import Exact
from analysis.ops import (
    ACTIVATIONS,
    Builder,
    Var,
    average_pool,
    conv2d,
    cross_entropy,
    get_op,
    layer_norm,
    max_pool,
    rms_norm,
    softmax,
    softplus,
    standardise,
)
from analysis.ops.spec import TABLE
from analysis.tape import Tape

EXACT = Exact(400)
STEP = EXACT.lift(np.array(2.0**-90))[()]  # its square, the error of a central difference, is 2^-180, or 1e-54


def evaluate(tape: Tape, leaves: dict[int, Any], what: int) -> list[Any]:
    """The nodes of a tape up to one at 400 bits, with some leaves replaced by numbers of that precision."""
    values: list[Any] = []
    for node in tape.nodes[: what + 1]:
        given = leaves.get(node.id)
        if node.leaf:
            values.append(EXACT.lift(tape.data[node.id]) if given is None else given)
        else:
            inputs = [values[ref.node] for ref in node.inputs]
            values.append(get_op(node.op).forward(EXACT, inputs, node.attributes))
    return values


def weighted(builder: Builder, x: Var, seed: int) -> Var:
    """A scalar that depends on every element with another weight."""
    weights = np.random.default_rng(seed).integers(1, 9, x.shape).astype(float)
    total = (x * builder.leaf("constant", weights)).reshape((x.value.size,))
    return total.sum(0)


CASES: dict[str, tuple[Callable[..., Var], Sequence[tuple[int, ...]]]] = {
    "mul": (lambda x, y: x * y, [(2, 3), (2, 3)]),
    "div": (lambda x, y: x / (y * y + x.builder.constant(1.0)), [(2, 2), (2, 2)]),
    "matmul": (lambda x, y: x @ y, [(2, 3), (3, 2)]),
    "exp": (lambda x: x.exp(), [(3,)]),
    "log": (lambda x: (x * x).log(), [(3,)]),
    "sqrt": (lambda x: (x * x + x.builder.constant(1.0)).sqrt(), [(3,)]),
    "rsqrt": (lambda x: x.builder.apply("rsqrt", x * x + x.builder.constant(1.0)), [(3,)]),
    "tanh": (lambda x: x.tanh(), [(3,)]),
    "erf": (lambda x: x.erf(), [(3,)]),
    "erf_slope": (lambda x: x.builder.apply("erf_slope", x), [(3,)]),
    "sin": (lambda x: x.builder.apply("sin", x), [(3,)]),
    "cos": (lambda x: x.builder.apply("cos", x), [(3,)]),
    "sigmoid": (lambda x: x.builder.apply("sigmoid", x), [(3,)]),
    "gather": (
        lambda x: x.builder.apply("gather", x * x, x.builder.leaf("target", np.array([[2, 0], [-1, 2]])), axis=0),
        [(3, 2)],
    ),
    "concat": (lambda x, y: x.builder.apply("concat", x * x, y * y, axis=1), [(2, 1), (2, 2)]),
    "select": (lambda x, y: x.builder.apply("select", x.builder.apply("positive", x), x * x, y * x), [(2, 2), (2, 2)]),
    "pick": (
        lambda x: x.builder.apply("pick", x * x, x.builder.leaf("target", np.array([2, 0])), axis=1),
        [(2, 3)],
    ),
    "sum, broadcast, transpose, slice": (
        lambda x: (x.T * x.sum(1)).builder.apply("slice", x.T * x.sum(1), slices=((1, 3, 1), (0, 2, 1))),
        [(2, 3)],
    ),
    "embed, place": (
        lambda x: x.builder.apply("embed", x * x, slices=((1, 3, 1),), shape=(4,)),
        [(2,)],
    ),
    "softmax": (softmax, [(2, 3)]),
    "layer norm": (lambda x, a, b: layer_norm(x, a, b), [(2, 3), (3,), (3,)]),
    "batch norm in one pass": (lambda x: standardise(x, 0, 1e-5, one_pass=True), [(3, 2)]),
    "rms norm": (lambda x, a: rms_norm(x, a), [(2, 3), (3,)]),
    "convolution": (lambda x, w, b: conv2d(x, w, b, padding=1), [(1, 1, 3, 3), (2, 1, 2, 2), (2,)]),
    "max pool": (lambda x: max_pool(x * x, 2), [(1, 1, 4, 4)]),
    "average pool": (lambda x: average_pool(x * x, 2, 1), [(1, 1, 3, 3)]),
    "softplus": (softplus, [(3,)]),
    "cross-entropy": (lambda x: cross_entropy(x, x.builder.leaf("target", np.array([1, 0]))), [(2, 3)]),
    **{f"{name} activation": (ACTIVATIONS[name], [(4,)]) for name in ("relu", "gelu", "gelu_tanh", "silu")},
}


def record(name: str) -> tuple[Builder, list[Var], list[tuple[Var, list[Var]]]]:
    """A case with two backward passes: the leaves, and each scalar with its derivatives."""
    function, shapes = CASES[name]
    builder, rng = Builder(name), np.random.default_rng(23)
    leaves = [builder.leaf("parameter", rng.uniform(-2, 2, shape)) for shape in shapes]
    first = weighted(builder, function(*leaves), 1)
    gradients = builder.backward(first, leaves)
    second = weighted(builder, gradients[0], 2)
    for seed, gradient in enumerate(gradients[1:], 3):
        second = second + weighted(builder, gradient, seed)
    return builder, leaves, [(first, gradients), (second, builder.backward(second, leaves))]


def test_every_rule_is_differentiated_somewhere() -> None:
    used = {node.op for name in CASES for node in record(name)[0].nodes}
    assert used >= {name for name, spec in TABLE.items() if spec.vjps and not spec.stops}


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_derivatives_equal_central_differences_at_50_digits(name: str) -> None:
    builder, leaves, levels = record(name)
    builder.target("end", levels[1][1][-1])
    tape = builder.build()
    values = evaluate(tape, {}, len(tape) - 1)
    moving = [EXACT.lift(leaf.value) for leaf in leaves]
    for result, derivatives in levels:
        for i, leaf in enumerate(leaves):
            for index in np.ndindex(leaf.shape):
                ends = []
                for sign in (1, -1):
                    there = moving[i].copy()
                    there[index] = there[index] + sign * STEP
                    ends.append(np.asarray(evaluate(tape, {leaf.ref.node: there}, result.ref.node)[-1]).item())
                slope = (ends[0] - ends[1]) / (2 * STEP)
                found = values[derivatives[i].ref.node][index]
                # constants such as sqrt(1/2) are on the tape in binary64, the same in both
                assert abs(found - slope) <= 2.0**-160 * (1 + abs(slope)), (name, i, index)
