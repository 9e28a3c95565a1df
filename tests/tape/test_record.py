"""Recording a user's own numpy function: values, gradients, places in the source, and what cannot be recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis as an
from floatemu.errors import UnsupportedError

RNG = np.random.default_rng(8)
A, B, V = RNG.uniform(0.5, 2, (3, 4)), RNG.uniform(0.5, 2, (4, 3)), RNG.uniform(0.5, 2, 4)

FUNCTIONS: list[tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = [
    (lambda x: x + 1, (A,)),
    (lambda x: 1 - x / 3, (A,)),
    (lambda x: -x * x, (A,)),
    (lambda x: 2 / x, (A,)),
    (lambda x: x**2 + x**0.5 + x**3 + x**4, (A,)),
    (lambda x: np.exp(x) + np.log(x) + np.sqrt(x) + np.tanh(x), (A,)),
    (lambda x: np.square(x) + np.reciprocal(x) + np.abs(-x), (A,)),
    (lambda x, y: x @ y, (A, B)),
    (lambda x, y: np.dot(x, y), (A, V)),
    (lambda x, y: y @ x, (B, V)),
    (lambda x, y: x @ y, (V, V)),
    (lambda x: np.maximum(x - 1, 0.0), (A,)),
    (lambda x: np.sin(x) * np.cos(x + 1) + np.abs(x - 1), (A,)),
    (lambda x: np.clip(x, -0.5, 0.5) + np.clip(x, None, 1.0) * np.clip(x, 0.25, None), (A,)),
    (lambda x, y: np.concatenate([x.T, y, x.T * 2], axis=0), (A, B)),
    (lambda x: np.exp(x[np.array([1, 0, 1])]) + x[[-1, 0, 0]], (A,)),
    (lambda x, y: np.maximum(x, y.T) + np.minimum(x, 1.0), (A, B)),
    (lambda x: np.where(x > 1, x, 2 * x), (A,)),
    (lambda x: np.where(x < 1, x, 0.0), (A,)),
    (lambda x: x.sum(), (A,)),
    (lambda x: np.sum(x, axis=-1, keepdims=True) + x, (A,)),
    (lambda x: x.mean(axis=0) + np.mean(x), (A,)),
    (lambda x: np.max(x, axis=1, keepdims=True) * x + x.max(), (A,)),
    (lambda x: x.T.reshape(2, 6) + np.reshape(x, (2, -1)), (A,)),
    (lambda x: np.transpose(x, (1, 0)).transpose(1, 0) + x.transpose().T, (A,)),
    (lambda x: x[1] + x[-1, ::2].sum() + x[..., 0].sum() + x[:2, 1:3].sum(), (A,)),
    (lambda x: x[:, None] * x[1, 0] + x[None, ..., :2, None].sum(), (A,)),
    (lambda x: x - x.mean(axis=1, keepdims=True) + np.mean(x, axis=(0, 1)), (A,)),
    (lambda x: np.min(x, axis=0) + x - np.expand_dims(x[:, 1], 1) + np.squeeze(x[:1]), (A,)),
    (lambda x: np.broadcast_to(x[0], (5, 4)), (A,)),
    (lambda x: x * np.arange(4) + np.ones((3, 1)), (A,)),
]


@pytest.mark.parametrize(("function", "arrays"), FUNCTIONS, ids=range(len(FUNCTIONS)))
def test_values_equal_numpys(function: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> None:
    found = an.replay(an.record_numpy(function, *arrays), an.Float64()).value("result")
    expected = function(*arrays)
    assert found.shape == np.shape(expected)
    # numpy's own exp, tanh and BLAS may differ from the portable ones in the last bits
    assert np.abs(found - expected).max() <= 1e-14 * np.abs(expected).max()


@pytest.mark.parametrize(("function", "arrays"), FUNCTIONS, ids=range(len(FUNCTIONS)))
def test_gradients_equal_central_differences(function: Callable[..., Any], arrays: tuple[np.ndarray, ...]) -> None:
    def scalar(*given: Any) -> Any:
        return np.sum(function(*given) * 1.0)

    tape = an.record_numpy(scalar, *arrays, wrt=range(len(arrays)))
    run = an.replay(tape, an.Float64())
    for position, array in enumerate(arrays):
        gradient = run.value(f"grad:arg{position}")
        direction = RNG.normal(size=array.shape)
        moved = [
            scalar(*arrays[:position], array + sign * 1e-6 * direction, *arrays[position + 1 :]) for sign in (1, -1)
        ]
        slope = (moved[0] - moved[1]) / 2e-6
        assert abs(slope - (gradient * direction).sum()) < 1e-6 * (1 + abs(slope))


def test_names_targets_and_sites() -> None:
    def model(weights: Any, data: Any) -> Any:
        hidden = np.tanh(data @ weights)
        return hidden.sum()

    tape = an.record_numpy(model, B, A, wrt="weights")
    assert list(tape.targets) == ["result", "grad:weights"]
    assert tape.nodes[0].op == "parameter"
    assert (tape.nodes[0].path, tape.nodes[1].path) == ("weights", "data")
    line = model.__code__.co_firstlineno
    here = Path(__file__).name
    assert {node.op: node.site for node in tape.nodes if node.direction == "forward"}["matmul"] == f"{here}:{line + 1}"
    assert tape.nodes[tape.targets["result"].node].site == f"{here}:{line + 2}"
    # what happens backward is placed where its forward operation stands
    assert all(node.site.startswith(here) for node in tape.nodes if node.direction == "backward")


def test_a_recorded_function_is_analysed_like_any_net() -> None:
    def overflow(x: Any) -> Any:
        return np.exp(x * 4.0).sum()

    found = an.analyze(an.record_numpy(overflow, np.array([1.0, 3.0]), wrt=0), an.Policy.uniform("binary16"))
    (event,) = [event for event in found.events if event.kind == "overflow" and event.direction == "forward"]
    assert (event.op, event.first_index) == ("exp", (1,))
    assert "overflowed binary16" in found.verdict()


def test_the_same_function_in_hand_written_emulation() -> None:
    import floatemu as fe

    def program(x: Any) -> Any:
        return (x * x + 0.1) / x

    found = an.replay(an.record_numpy(program, A), an.Policy.uniform("e5m2")).value("result")

    def r(x: Any) -> Any:
        return fe.round(np.asarray(x), "e5m2")

    x = r(A)
    assert np.array_equal(found, r(r(r(x * x) + r(0.1)) / x))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (np.sinh, "np.sinh cannot be recorded; supported: np.absolute, np.add"),
        (np.sort, "numpy.sort cannot be recorded; supported functions: np.amax, np.amin, np.broadcast_to"),
        (np.linalg.inv, "numpy.linalg.inv cannot be recorded"),
        (lambda x: np.add.accumulate(x), "np.add.accumulate cannot be recorded"),
        (lambda x: np.add(x, x, dtype=np.float32), r"the options \['dtype'\]"),
        (lambda x: x**7, "exponent 7"),
        (lambda x: x[::-1], "slices forward"),
        (lambda x: x[9], "integers within range"),
        (lambda x: x[[0, 9]], "into 3 rows; accepted: integers within range"),
        (lambda x: x[np.array([True, False, True])], "an index array of bool"),
        (lambda x: x[[0, 1], 0], "cannot be recorded"),
        (lambda x: np.clip(x, np.zeros(4), 1.0), "np.clip between arrays cannot be recorded"),
        (lambda x: np.concatenate([x, x], axis=None), "numpy.concatenate with these options"),
        (lambda x: x if x > 0 else -x, "cannot branch on a traced value"),
        (lambda x: float(x.sum()), "cannot leave the recording"),
        (lambda x: np.array(x), "cannot become a plain array"),
        (lambda x: np.where(x, x, x), "needs a condition of booleans"),
        (lambda x: x[0, 0, 0], "integers within range"),
        (lambda x: x[5:, 0, :], "cannot be recorded"),
        (lambda x: np.sum(x, initial=3.0), "numpy.sum with these options.*initial"),
        (lambda x: x.__setitem__(0, 1.0), "cannot be assigned to"),
        (lambda x: x.__iadd__(1.0), r"the options \['out'\]"),
        (lambda x: 5.0, "it must return one array"),
        (lambda x: (x, x), "it must return one array"),
        (lambda x: x @ x, "do not fit"),
    ],
)
def test_what_cannot_be_recorded_is_named(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        an.record_numpy(function, A)


def test_wrt_is_checked() -> None:
    with pytest.raises(UnsupportedError, match=r"wrt='z'; accepted: 0\.\.0 or x"):
        an.record_numpy(lambda x: x.sum(), A, wrt="z")
    with pytest.raises(UnsupportedError, match="wrt=3"):
        an.record_numpy(lambda x: x.sum(), A, wrt=3)
    with pytest.raises(UnsupportedError, match="has no gradient"):
        an.record_numpy(lambda x: x.sum(), np.arange(3), wrt=0)
    with pytest.raises(UnsupportedError, match="backward needs a scalar"):
        an.record_numpy(lambda x: x, A, wrt=0)


def test_arrays_of_two_recordings_may_not_meet() -> None:
    kept: list[Any] = []
    an.record_numpy(lambda x: kept.append(x) or x, A)
    with pytest.raises(UnsupportedError, match="two recordings"):
        an.record_numpy(lambda x: x + kept[0], A)
