"""Every rule of the table: VJPs against finite differences at 50 digits, values against plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.arithmetics.exact import Exact
from analysis.arithmetics.float64 import Float64
from analysis.ops import ACTIVATIONS, Builder, Kind, cross_entropy, get_op, mean, register
from analysis.ops.spec import TABLE, OpSpec
from analysis.tape import ROLES
from floatemu.errors import UnsupportedError

MASK = np.array([[True, False, True], [False, True, True]])
INDEX = np.array([2, 0])
SHAPE = (2, 3)
# op, shapes of the real operands, operands that are not real, attributes, domain
CASES: list[tuple[str, list[tuple[int, ...]], dict[int, Any], dict[str, Any], tuple[float, float]]] = [
    ("add", [SHAPE, SHAPE], {}, {}, (-2, 2)),
    ("sub", [SHAPE, SHAPE], {}, {}, (-2, 2)),
    ("mul", [SHAPE, SHAPE], {}, {}, (-2, 2)),
    ("div", [SHAPE, SHAPE], {}, {}, (0.5, 2)),
    ("neg", [SHAPE], {}, {}, (-2, 2)),
    ("exp", [SHAPE], {}, {}, (-3, 3)),
    ("log", [SHAPE], {}, {}, (0.1, 5)),
    ("sqrt", [SHAPE], {}, {}, (0.1, 5)),
    ("tanh", [SHAPE], {}, {}, (-2, 2)),
    ("erf", [SHAPE], {}, {}, (-2, 2)),
    ("erf_slope", [SHAPE], {}, {}, (-2, 2)),
    ("mask", [SHAPE], {1: MASK}, {}, (-2, 2)),
    ("mask", [SHAPE], {1: MASK}, {"invert": True}, (-2, 2)),
    ("select", [SHAPE, SHAPE], {0: MASK}, {}, (-2, 2)),
    ("matmul", [(2, 3), (3, 4)], {}, {}, (-2, 2)),
    ("matmul", [(2, 2, 3), (2, 3, 2)], {}, {}, (-2, 2)),
    ("sum", [SHAPE], {}, {"axis": 0, "keepdims": False}, (-2, 2)),
    ("sum", [SHAPE], {}, {"axis": 1, "keepdims": True}, (-2, 2)),
    ("transpose", [(2, 3, 4)], {}, {"axes": (2, 0, 1)}, (-2, 2)),
    ("reshape", [SHAPE], {}, {"shape": (3, 2)}, (-2, 2)),
    ("broadcast", [(3,)], {}, {"shape": (2, 3)}, (-2, 2)),
    ("broadcast", [(2, 1)], {}, {"shape": (4, 2, 3)}, (-2, 2)),
    ("slice", [(4, 5)], {}, {"slices": ((1, 4, 2), (0, 5, 3))}, (-2, 2)),
    ("embed", [(2, 2)], {}, {"slices": ((1, 4, 2), (0, 5, 3)), "shape": (4, 5)}, (-2, 2)),
    ("pick", [SHAPE], {1: INDEX}, {"axis": 1}, (-2, 2)),
    ("place", [(2,)], {1: INDEX}, {"axis": 1, "size": 3}, (-2, 2)),
    ("sin", [SHAPE], {}, {}, (-4, 4)),
    ("cos", [SHAPE], {}, {}, (-4, 4)),
    ("sigmoid", [SHAPE], {}, {}, (-3, 3)),
    ("rsqrt", [SHAPE], {}, {}, (0.1, 5)),
    ("gather", [(4, 3)], {1: np.array([[2, 0], [-1, 2]])}, {"axis": 0}, (-2, 2)),
    ("gather", [(2, 3, 2)], {1: np.array([0, 2, 2, 1, 0])}, {"axis": 1}, (-2, 2)),
    ("gather", [(2, 3)], {1: np.array([2, 0])}, {"axis": 1}, (-2, 2)),
    ("concat", [(2, 3), (2, 2)], {}, {"axis": 1}, (-2, 2)),
]
NAMES = [f"{case[0]}-{index}" for index, case in enumerate(CASES)]


def _operands(case: Any) -> list[np.ndarray]:
    _, shapes, fixed, _, (low, high) = case
    rng = np.random.default_rng(11)
    reals = iter([rng.uniform(low, high, shape) for shape in shapes])
    return [fixed[i] if i in fixed else next(reals) for i in range(len(shapes) + len(fixed))]


def test_every_differentiable_operation_has_a_case() -> None:
    differentiable = {name for name, spec in TABLE.items() if spec.vjps and not spec.stops}
    assert differentiable == {case[0] for case in CASES}
    assert {name for name, spec in TABLE.items() if spec.kind is Kind.LEAF} == set(ROLES)


def _gradients(case: Any, operands: list[np.ndarray], exact: Exact) -> tuple[list[Any], np.ndarray]:
    name, _, _, attributes, _ = case
    builder = Builder(name)
    leaves = [builder.leaf("parameter", x) for x in operands]
    result = builder.apply(name, *leaves, **attributes)
    weights = np.random.default_rng(5).integers(1, 9, result.shape).astype(float)
    total = result * builder.leaf("constant", weights)
    while total.shape:
        total = total.sum(0)
    real = [leaf for leaf in leaves if leaf.value.dtype.kind == "f"]
    for index, gradient in enumerate(builder.backward(total, real)):
        builder.target(f"g{index}", gradient)
    run = an.replay(builder.build(), exact)
    return [(run.value(f"g{i}"), run.tail(f"g{i}")) for i in range(len(real))], weights


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_vjp_equals_a_central_difference_at_50_digits(case: Any) -> None:
    name, _, _, attributes, _ = case
    exact = Exact(400)
    operands = _operands(case)
    gradients, weights = _gradients(case, operands, exact)
    step = exact.lift(np.array(2.0**-90))  # its square, the error of a central difference, is 2^-180, or 1e-54

    def weighted(inputs: list[np.ndarray]) -> Any:
        result = get_op(name).forward(exact, inputs, attributes)
        return sum((result * exact.lift(weights)).ravel().tolist())

    lifted = [exact.lift(x) for x in operands]
    position = 0
    for i, x in enumerate(operands):
        if x.dtype.kind != "f":
            continue
        head, tail = gradients[position]
        for index in np.ndindex(x.shape):
            moved = []
            for sign in (1, -1):
                there = lifted[i].copy()
                there[index] = there[index] + sign * step[()]
                moved.append(weighted([*lifted[:i], there, *lifted[i + 1 :]]))
            slope = (moved[0] - moved[1]) / (2 * step[()])
            found = exact.lift(np.asarray(head[index]))[()] + exact.lift(np.asarray(tail[index]))[()]
            # the gradient is known to 106 bits through head + tail
            assert abs(found - slope) <= 2.0**-100 * (1 + abs(slope)), (name, index)
        position += 1


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_float64_rule_agrees_with_the_exact_rule(case: Any) -> None:
    name, _, _, attributes, _ = case
    operands = _operands(case)
    exact = Exact(200)
    value = get_op(name).forward(Float64(), operands, attributes)
    true, _ = exact.lower(get_op(name).forward(exact, [exact.lift(x) for x in operands], attributes))
    count = max((x.shape[-1] for x in operands if x.ndim), default=1)
    spec = get_op(name)
    scale = (
        np.abs(true)
        if spec.sensitivity is None
        else np.maximum(spec.sensitivity(operands, true, attributes), np.abs(true))
    )
    assert (np.abs(value - true) <= 8 * count * 2.0**-53 * scale).all()
    if spec.kind is Kind.MOVE:
        assert np.array_equal(value, true)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", lambda a, b: a + b),
        ("sub", lambda a, b: a - b),
        ("mul", lambda a, b: a * b),
        ("div", lambda a, b: a / b),
    ],
)
def test_float64_arithmetic_is_ieee(name: str, expected: Callable[..., Any]) -> None:
    a, b = np.array([1.0, -0.0, np.inf, 1e308, 3.0]), np.array([3.0, 5.0, -np.inf, 1e308, 0.0])
    with np.errstate(all="ignore"):
        assert np.array_equal(get_op(name).forward(Float64(), [a, b], {}), expected(a, b), equal_nan=True)


def test_condition_numbers_follow_their_formulas() -> None:
    x = np.array([0.5, -1.5])
    cases = {
        "exp": np.abs(x),
        "tanh": np.abs(2 * x / np.sinh(2 * x)),  # x f'/f
    }
    # Eight roundings at most lead to either side, two of them of functions good to 2 ulp; tanh's 1 - y^2
    # magnifies what y has by 2 y^2 / (1 - y^2), below 10 for these x.
    bound = (8 + 2 * 2 + 10 * 2) * 2.0**-52
    for name, kappa in cases.items():
        y = get_op(name).forward(Float64(), [x], {})
        found = get_op(name).sensitivity([x], y, {}) / np.abs(y)  # type: ignore[misc]
        assert (np.abs(found / kappa - 1) <= bound).all()
    a, b = np.array([1.0]), np.array([-0.9375])
    added = get_op("add").forward(Float64(), [a, b], {})
    assert (get_op("add").sensitivity([a, b], added, {}) / added).tolist() == [31.0]  # type: ignore[misc]


def test_second_derivatives_come_from_the_same_rules() -> None:
    builder = Builder("cubic")
    x = builder.leaf("parameter", np.array(2.0))
    (first,) = builder.backward(x * x * x, [x])
    (second,) = builder.backward(first, [x])
    assert (first.value.item(), second.value.item()) == (12.0, 12.0)


def test_gradients_that_meet_are_added_and_absent_ones_are_zero() -> None:
    builder = Builder("t")
    x, y = builder.leaf("parameter", np.array([1.0, 2.0])), builder.leaf("parameter", np.array([7.0]))
    gx, gy = builder.backward((x * x + x).sum(0), [x, y])
    assert gx.value.tolist() == [3.0, 5.0]
    assert gy.value.tolist() == [0.0]


def test_the_backward_pass_records_only_what_is_asked_for() -> None:
    builder = Builder("t")
    w, x = builder.leaf("parameter", np.ones((2, 2))), builder.leaf("input", np.ones((2, 2)))
    loss = (x @ w).sum(0).sum(0)
    builder.backward(loss, [w])
    backward = [node.op for node in builder.nodes if node.direction == "backward"]
    assert backward.count("matmul") == 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_against_their_definitions(name: str) -> None:
    from math import erf, pi, sqrt

    x = np.array([-3.0, -0.5, 0.0, 0.25, 2.0])
    logistic = 1 / (1 + np.exp(-x))
    value = ACTIVATIONS[name](Builder("t").leaf("input", x)).value
    expected = {
        "relu": np.maximum(x, 0),
        "tanh": np.tanh(x),
        "gelu": np.array([v * (1 + erf(v / sqrt(2))) / 2 for v in x]),
        "gelu_tanh": 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))),
        "sigmoid": logistic,
        "silu": x * logistic,
        "softplus": np.log1p(np.exp(x)),
        "identity": x,
    }[name]
    assert np.abs(value - expected).max() < 1e-15


def test_cross_entropy_against_its_definition_and_its_known_gradient() -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(5, 4)), np.array([0, 3, 1, 1, 2])
    builder = Builder("t")
    z = builder.leaf("parameter", logits)
    loss = cross_entropy(z, builder.leaf("target", labels))
    (gradient,) = builder.backward(loss, [z])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert abs(loss.value + np.log(p[np.arange(5), labels]).mean()) < 1e-15
    assert np.abs(gradient.value - (p - np.eye(4)[labels]) / 5).max() < 1e-16


def test_views_share_storage_and_results_do_not() -> None:
    builder = Builder("t")
    x = builder.leaf("input", np.ones((2, 3)))
    y = x.T.reshape((6,))
    z = y + y
    storages = [node.outputs[0].storage for node in builder.nodes]
    assert storages[0] == storages[1] == storages[2]
    assert storages[z.ref.node] != storages[0]


def test_errors_say_what_is_accepted() -> None:
    builder = Builder("t")
    x = builder.leaf("input", np.ones((2, 3)))
    with pytest.raises(UnsupportedError, match=r"no rule for the operation 'sinh'; supported: add, any, argmax"):
        builder.apply("sinh", x)
    with pytest.raises(UnsupportedError, match="mul takes 2 operands, given 1"):
        builder.apply("mul", x)
    with pytest.raises(UnsupportedError, match=r"shapes \(2, 3\) and \(2, 3\) do not fit"):
        x @ x
    with pytest.raises(UnsupportedError, match="do not broadcast"):
        x + builder.leaf("input", np.ones(4))
    with pytest.raises(UnsupportedError, match="backward needs a scalar"):
        builder.backward(x, [x])
    with pytest.raises(UnsupportedError, match="complex128"):
        builder.leaf("input", np.ones(2, complex))
    with pytest.raises(UnsupportedError, match="in the table already"):
        register(OpSpec("add", 2, Kind.COMPUTE, lambda ar, x, _: x[0]))
    with pytest.raises(UnsupportedError, match="has no value"):
        mean(builder.leaf("input", np.ones((0, 3))), 0)
