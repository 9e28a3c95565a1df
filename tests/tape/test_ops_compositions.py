"""Compositions against their definitions: selections with NaN and signed zeros, pooling, normalisation, scatter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.arithmetics.exact import Exact
from analysis.arithmetics.float64 import Float64
from analysis.ops import (
    Builder,
    Var,
    absolute,
    average_pool,
    clip,
    conv2d,
    get_op,
    layer_norm,
    max_pool,
    maximum,
    minimum,
    relu,
    rms_norm,
    scatter_add,
    softmax,
    softplus,
    squared_error,
    standardise,
)
from analysis.ops.spec import TABLE
from floatemu.errors import UnsupportedError

EDGES = np.array([-np.inf, -2.5, -1.0, -0.0, 0.0, 1.0, 3.0, np.inf, np.nan])


def on_leaves(function: Callable[..., Var], *arrays: Any) -> np.ndarray:
    builder = Builder("t")
    value = function(*(builder.leaf("input", np.asarray(x)) for x in arrays)).value
    return np.asarray(value)


def bits(x: np.ndarray) -> list[int]:
    # NaN has no payload here: one pattern stands for all
    return np.where(np.isnan(x), np.nan, x).view(np.int64).tolist()


@pytest.mark.parametrize(("function", "numpy"), [(maximum, np.maximum), (minimum, np.minimum)])
def test_maximum_and_minimum_let_nan_through(function: Any, numpy: Any) -> None:
    x, y = (part.ravel() for part in np.meshgrid(EDGES, EDGES))
    found, expected = on_leaves(function, x, y), numpy(x, y)
    # of zeros of both signs either may be taken
    assert np.array_equal(found, expected, equal_nan=True)
    assert on_leaves(function, np.ones((2, 1)), np.array([0.0, 2.0])).tolist() == numpy([[1], [1]], [0, 2]).tolist()
    with pytest.raises(UnsupportedError, match="do not broadcast"):
        on_leaves(function, np.ones(2), np.ones(3))


def test_magnitudes_of_zeros_are_positive() -> None:
    assert bits(on_leaves(absolute, EDGES)) == bits(np.abs(EDGES))


def test_clip_and_its_refusals() -> None:
    assert np.array_equal(on_leaves(lambda x: clip(x, -1.0, 2.0), EDGES), np.clip(EDGES, -1, 2), equal_nan=True)
    for low, high in ((1.0, 0.0), (np.nan, 1.0)):
        with pytest.raises(UnsupportedError, match="accepted: low <= high"):
            on_leaves(lambda x, low=low, high=high: clip(x, low, high), EDGES)


def test_rectifiers_let_nan_through_in_every_arithmetic() -> None:
    assert np.array_equal(on_leaves(relu, EDGES), np.maximum(EDGES, 0), equal_nan=True)
    for arithmetic in (Float64(), Exact(106)):
        x = arithmetic.lift(EDGES)
        decided = get_op("positive").forward(arithmetic, [x], {})
        assert decided.tolist() == [False] * 5 + [True] * 4
        y = arithmetic.lift(np.zeros(len(EDGES)))
        assert get_op("exceeds").forward(arithmetic, [x, y], {}).tolist() == [False] * 5 + [True] * 4
        assert get_op("greater").forward(arithmetic, [x, y], {}).tolist() == [False] * 5 + [True] * 3 + [False]


def test_subgradients_at_kinks_are_those_of_torch() -> None:
    x = np.array([-1.0, -0.0, 0.0, 2.0])
    for function, expected in (
        (relu, [0.0, 0.0, 0.0, 1.0]),
        (absolute, [-1.0, 0.0, 0.0, 1.0]),
        (lambda v: clip(v, -0.5, 1.0), [0.0, 1.0, 1.0, 0.0]),
    ):
        builder = Builder("t")
        leaf = builder.leaf("parameter", x)
        (gradient,) = builder.backward(function(leaf).sum(0), [leaf])  # type: ignore[no-untyped-call]
        assert gradient.value.tolist() == expected


def test_softplus_overflows_nowhere() -> None:
    x = np.array([-1000.0, -30.0, 0.0, 30.0, 1000.0])
    assert np.abs(on_leaves(softplus, x) - np.logaddexp(0, x)).max() < 2e-16
    run = an.replay(_tape(softplus, np.array([-60000.0, 60000.0])), "fp16")
    assert run.value("y").tolist() == [0.0, 60000.0 // 32 * 32]
    assert all(event.kind == "underflow" for event in run.events)


def _tape(function: Callable[..., Var], x: np.ndarray) -> an.Tape:
    builder = Builder("t")
    builder.target("y", function(builder.leaf("input", x)))
    return builder.build()


def test_sigmoid_in_binary16_neither_overflows_nor_gives_nan() -> None:
    # e^12 is beyond binary16: written out, the derivative would be 0 times infinity
    builder = Builder("t")
    x = builder.leaf("parameter", np.array([-12.0, 12.0]))
    y = builder.apply("sigmoid", x)
    builder.target("slope", builder.backward(y.sum(0), [x])[0])
    run = an.replay(builder.build(), "fp16")
    assert np.isfinite(run.value("slope")).all()
    assert not [event for event in run.events if event.fatal]


def test_the_infinity_of_a_flushed_mean_square_is_traced_to_the_flush() -> None:
    # e4m3fn flushes what is not above 2^-10: the squares, 2^-12, and the epsilon
    builder = Builder("t")
    x, gain = builder.leaf("input", np.full((1, 4), 2.0**-6)), builder.leaf("parameter", np.ones(4))
    builder.target("y", rms_norm(x, gain))
    run = an.replay(builder.build(), an.Policy.uniform("e4m3fn", saturation="SatFinite"))
    (born,) = [event for event in run.events if event.kind == "inf_born"]
    assert (born.op, run.tape.nodes[born.producer].op) == ("rsqrt", "mul")
    wide = an.replay(builder.build(), "e5m2")  # down to 2^-16
    assert [event for event in wide.events if event.kind == "inf_born"] == []


UNARY = sorted(name for name, spec in TABLE.items() if spec.arity == 1 and spec.sensitivity and name != "sum")


@pytest.mark.parametrize("name", UNARY)
def test_condition_numbers_are_those_of_the_derivative(name: str) -> None:
    # |x f'(x)|, f' from the recorded derivative, which is held to differences at 50 digits elsewhere
    x = np.array([0.1, 0.7, 1.9, 3.0])
    builder = Builder("t")
    leaf = builder.leaf("parameter", x)
    y = builder.apply(name, leaf)
    (slope,) = builder.backward(y.sum(0), [leaf])
    sensitivity = get_op(name).sensitivity
    assert sensitivity is not None
    found, expected = sensitivity([x], y.value, {}), np.abs(x * slope.value)
    # tanh and sigmoid lose what 1 - y^2 and 1 - y cancel, at most 2^8 at x = 3
    assert np.abs(found / expected - 1).max() < 2.0**-40


def test_softmax_normalises_and_shuts_out_minus_infinity() -> None:
    x = np.array([[1.0, 2.0, -np.inf], [1000.0, 1000.0, 0.0]])
    found = on_leaves(softmax, x)
    e = np.exp(x - x.max(1, keepdims=True))
    assert np.abs(found - e / e.sum(1, keepdims=True)).max() < 1e-16
    assert found[0, 2] == 0
    assert np.isnan(on_leaves(softmax, np.full((1, 2), -np.inf))).all()
    assert np.array_equal(on_leaves(lambda v: softmax(v, 0), x[:, :2].T), found[:, :2].T / found[:, :2].sum(1))


def test_normalisations_follow_their_definitions() -> None:
    rng = np.random.default_rng(2)
    x, gain, bias = rng.normal(size=(4, 6)), rng.normal(size=6), rng.normal(size=6)
    mean, variance = x.mean(1, keepdims=True), x.var(1, keepdims=True)
    expected = (x - mean) / np.sqrt(variance + 1e-5) * gain + bias
    assert np.abs(on_leaves(layer_norm, x, gain, bias) - expected).max() < 1e-14
    assert np.abs(on_leaves(lambda *p: layer_norm(*p, one_pass=True), x, gain, bias) - expected).max() < 1e-14
    expected = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-6) * gain
    assert np.abs(on_leaves(rms_norm, x, gain) - expected).max() < 1e-14
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    assert np.abs(on_leaves(lambda v: standardise(v, 0, 1e-5), x) - expected).max() < 1e-14


def test_the_one_pass_variance_cancels() -> None:
    x = np.array([[100.0, 101.0, 102.0, 103.0]])
    errors = []
    for one_pass in (False, True):
        tape = _tape(lambda v, one_pass=one_pass: standardise(v, 1, 0.0, one_pass), x)
        run = an.replay(tape, "fp16")
        errors.append(an.measures.relative_error(run.value("y"), an.replay(tape, an.Float64()).value("y")))
    assert errors[0] < 2e-3
    assert errors[1] > 0.1


@pytest.mark.parametrize(("size", "stride"), [(2, None), (2, 1), (3, 2)])
def test_pooling_against_loops(size: int, stride: int | None) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 5, 6))
    step = stride or size
    tops, lefts = range(0, 5 - size + 1, step), range(0, 6 - size + 1, step)
    windows = np.array([[x[:, :, i : i + size, j : j + size] for j in lefts] for i in tops]).transpose(2, 3, 0, 1, 4, 5)
    assert np.array_equal(on_leaves(lambda v: max_pool(v, size, stride), x), windows.max((4, 5)))
    found = on_leaves(lambda v: average_pool(v, size, stride), x)
    assert np.abs(found - windows.mean((4, 5))).max() < 1e-15


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (1, 1), (2, 2)])
def test_convolution_against_loops(stride: int, padding: int) -> None:
    rng = np.random.default_rng(8)
    x, w, b = rng.normal(size=(2, 3, 5, 6)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    wide = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    down, across = ((n + 2 * padding - 3) // stride + 1 for n in (5, 6))
    expected = np.empty((2, 4, down, across))
    for i in range(down):
        for j in range(across):
            window = wide[:, :, i * stride : i * stride + 3, j * stride : j * stride + 3]
            expected[:, :, i, j] = np.einsum("nchw,fchw->nf", window, w) + b
    found = on_leaves(lambda *p: conv2d(*p, stride=stride, padding=padding), x, w, b)
    assert np.abs(found - expected).max() < 1e-13
    without = on_leaves(lambda *p: conv2d(*p, stride=stride, padding=padding), x, w)
    assert np.abs(without - (expected - b[:, None, None])).max() < 1e-13


def test_shapes_that_do_not_fit_are_refused() -> None:
    for shapes in (((1, 3, 4, 4), (2, 1, 3, 3)), ((1, 1, 4, 4), (2, 1, 3, 2)), ((4, 4), (2, 1, 3, 3))):
        with pytest.raises(UnsupportedError, match=r"conv2d: shapes .* do not fit"):
            on_leaves(conv2d, *(np.ones(shape) for shape in shapes))
    with pytest.raises(
        UnsupportedError, match="windows of 5 by 5 with stride 1 and padding 0 do not fit an image of 4"
    ):
        on_leaves(conv2d, np.ones((1, 1, 4, 4)), np.ones((1, 1, 5, 5)))
    with pytest.raises(UnsupportedError, match="stride -1"):
        on_leaves(lambda x: max_pool(x, 2, -1), np.ones((1, 1, 4, 4)))


@pytest.mark.parametrize("seed", range(5))
def test_scatter_add_against_numpy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    index = rng.integers(-1, 6, (3, 4))
    values = rng.integers(-99, 99, (2, 3, 4, 2)).astype(float)
    found = on_leaves(lambda v, i: scatter_add(v, i, 1, 7), values, index)
    expected = np.zeros((2, 7, 2))
    for row, column in np.ndindex(3, 4):
        if index[row, column] >= 0:
            expected[:, index[row, column]] += values[:, row, column]
    assert np.array_equal(found, expected)


def test_scatter_add_runs_in_the_order_of_the_index() -> None:
    values = np.array([1e16, 1.0, -1e16, 1.0])
    found = on_leaves(lambda v, i: scatter_add(v, i, 0, 2), values, np.array([1, 1, 1, 1]))
    assert found.tolist() == [0.0, 1.0]
    found = on_leaves(lambda v, i: scatter_add(v, i, 0, 2), values[[0, 2, 1, 3]], np.array([1, 1, 1, 1]))
    assert found.tolist() == [0.0, 2.0]
    nothing = on_leaves(lambda v, i: scatter_add(v, i, 0, 2), values, np.array([-1, -1, -1, -1]))
    assert nothing.tolist() == [0.0, 0.0]


def test_gathers_by_a_computed_index_have_no_derivative() -> None:
    builder = Builder("t")
    x = builder.leaf("parameter", np.array([[1.0, 3.0], [2.0, 0.0]]))
    chosen = builder.apply("gather", x, builder.apply("argmax", x, axis=1), axis=0)
    assert chosen.value.tolist() == [[2.0, 0.0], [1.0, 3.0]]
    with pytest.raises(UnsupportedError, match="the index is computed on the tape; accepted: a leaf"):
        builder.backward(chosen.sum(0).sum(0), [x])


def test_squared_errors_average_over_all_elements() -> None:
    assert on_leaves(squared_error, np.array([[1.0, 2.0]]), np.array([[3.0, 2.0]])).item() == 2.0
