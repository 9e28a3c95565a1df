"""EmulatedArray: every operation equals the face it stands for, and what has no format is refused."""

from __future__ import annotations

import operator
import pickle
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from oracles import assert_bits

import floatemu as fe

FORMATS = ["e4m3fn", "bfloat16", "binary16", "binary32", "e5m2fnuz", "binary64"]
BINARY = {
    operator.add: fe.add,
    operator.sub: fe.sub,
    operator.mul: fe.mul,
    operator.truediv: fe.div,
    np.minimum: fe.minimum,
    np.maximum: fe.maximum,
    np.fmin: fe.minimumNumber,
    np.fmax: fe.maximumNumber,
}


def numbers(count: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(count) * 3


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
def test_operators_are_the_faces(function: Any, name: str) -> None:
    x, y = fe.asarray(numbers(seed=1), name), fe.asarray(numbers(seed=2), name)
    result = function(x, y)
    assert isinstance(result, fe.EmulatedArray)
    assert result.fmt == fe.get_format(name)
    assert_bits(result.values, BINARY[function](x.values, y.values, name))
    literal = fe.round(0.1, name)
    assert_bits(function(x, 0.1).values, BINARY[function](x.values, literal, name, dtype=x.values.dtype))
    assert_bits(function(0.1, x).values, BINARY[function](literal, x.values, name, dtype=x.values.dtype))


def test_functions_of_one_operand() -> None:
    x = fe.asarray(numbers(), "bfloat16")
    assert_bits(np.sqrt(abs(x)).values, fe.sqrt(np.abs(x.values), "bfloat16"))
    assert_bits((-x).values, -x.values)
    assert_bits(np.square(x).values, fe.mul(x.values, x.values, "bfloat16"))
    assert_bits(np.reciprocal(x).values, fe.div(1.0, x.values, "bfloat16", dtype=np.float32))
    for ours, theirs in ((fe.exp, np.exp), (fe.tanh, np.tanh), (fe.log1p, np.log1p), (fe.atan, np.arctan)):
        assert_bits(theirs(abs(x)).values, ours(np.abs(x.values), "bfloat16"))
    assert_bits((abs(x) ** 1.5).values, fe.pow(np.abs(x.values), 1.5, "bfloat16"))
    zero = fe.asarray([0.0], "e4m3fnuz")
    assert not np.signbit((-zero).values[0])  # trap 14: there is no -0 to flip to
    with pytest.raises(fe.UnsupportedError, match=r"np\.cbrt is not defined for EmulatedArray; defined: absolute"):
        np.cbrt(x)


def test_unsigned_formats_have_no_negative_numbers() -> None:
    x = fe.asarray([1.0, 0.0], "binary8p4ue")
    assert np.isnan((-x).values).tolist() == [True, False]
    saturating = fe.asarray([1.0, 0.0], "binary8p4ue", saturation="SatFinite")
    assert (-saturating).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("mode", ["truncate", "up", "to_odd", "stochastic_b"])
def test_settings_go_with_the_array(mode: str) -> None:
    seed = {"seed": 3} if mode == "stochastic_b" else {}
    x = fe.asarray(numbers(), "e5m2", mode, saturation="SatFinite", **seed)
    product = x * x * 1000
    assert np.isfinite(product.values).all()
    again = fe.asarray(numbers(), "e5m2", mode, saturation="SatFinite", **seed)
    assert_bits((again * again * 1000).values, product.values)
    if seed:
        assert (x + x * 0.3).stream != (x + x * 0.3 + x).stream
        other = fe.asarray(x, "e5m2", mode, saturation="SatFinite", seed=3, stream=1)
        assert (other + other * 0.3).tolist() != (x + x * 0.3).tolist()


def test_comparisons_are_exact_and_boolean() -> None:
    x = fe.asarray([0.1, 0.2], "e4m3fn")
    assert (x > 0.1).tolist() == [True, True]  # 0.1 is not rounded: the value stored for it is 0.1015625
    assert (x == fe.asarray([0.1, 0.2], "binary16")).tolist() == [False, False]
    assert np.isnan(fe.asarray([500.0], "e4m3fn")).tolist() == [True]


def test_parts_and_assignment_round() -> None:
    x = fe.asarray(np.arange(12.0).reshape(3, 4), "e4m3fn")
    assert x.T.shape == (4, 3)
    assert x[1, 2].values == 6.0
    assert float(x[0, 1]) == 1.0
    x[0] = 0.1
    x[1, :2] = [100.3, Fraction(1, 3)]
    assert x.values[0].tolist() == [0.1015625] * 4
    assert x.values[1, :2].tolist() == [104.0, 0.34375]
    x[2] = fe.asarray([1.0, 2.0, 3.0, 4.0], "binary16")
    x += 1
    assert x.values[2].tolist() == [2.0, 3.0, 4.0, 5.0]
    with pytest.raises(ValueError, match="read-only"):
        x.values[0] = 1
    assert [row.shape for row in x] == [(4,)] * 3


def test_broadcasting_and_shapes() -> None:
    x = fe.asarray(np.arange(6.0).reshape(2, 3), "bfloat16")
    assert (x + x[0]).shape == (2, 3)
    assert np.concatenate([x, x], axis=1).shape == (2, 6)
    assert np.stack([x, x]).values.shape == (2, 2, 3)
    chosen = np.where(x > 2, x, 0.1)
    assert chosen.values[0, 0] == np.float32(0.10009765625)
    assert np.argmax(x) == 5
    assert isinstance(np.max(x, axis=0), fe.EmulatedArray)
    with pytest.raises(fe.UnsupportedError, match="different formats"):
        np.concatenate([x, fe.asarray([[1.0, 2.0, 3.0]], "binary16")])
    with pytest.raises(fe.UnsupportedError, match=r"np\.median is not defined for EmulatedArray; defined: all"):
        np.median(x)


def test_reductions_and_products_run_in_the_format() -> None:
    x = fe.asarray(numbers(60).reshape(6, 10), "bfloat16")
    assert_bits((x @ x.T).values, fe.matmul(x.values, x.values.T, "bfloat16"))
    assert_bits(np.dot(x, x[0]).values, fe.matmul(x.values, x.values[0], "bfloat16"))
    assert_bits(np.sum(x, axis=0).values, fe.sum(x.values, "bfloat16", axis=0))
    assert_bits(x.sum(1, keepdims=True).values, fe.sum(x.values, "bfloat16", axis=1, keepdims=True))
    assert_bits(x.mean().values, fe.mean(x.values, "bfloat16"))
    assert_bits(np.linalg.norm(x, axis=1).values, fe.norm(x.values, "bfloat16", axis=1))
    assert float(fe.asarray(np.ones(1000), "bfloat16").sum()) == 256
    with pytest.raises(fe.UnsupportedError, match=r"np\.sum of an EmulatedArray takes axis and keepdims"):
        np.sum(x, dtype=np.float64)
    with pytest.raises(fe.UnsupportedError, match="has no format"):
        x @ np.ones((10, 2))


def test_what_has_no_format_is_refused() -> None:
    x = fe.asarray([1.0, 2.0], "e4m3fn")
    with pytest.raises(fe.UnsupportedError, match=r"float64 has no format; wrap it with fe\.asarray\(x, 'e4m3fn'\)"):
        x + np.ones(2)
    with pytest.raises(
        fe.UnsupportedError, match=r"different formats: e4m3fn .* and binary16 .*name the result's format"
    ):
        x + fe.asarray([1.0, 2.0], "binary16")
    with pytest.raises(fe.UnsupportedError, match="different settings"):
        x + fe.asarray([1.0, 2.0], "e4m3fn", "truncate")
    with pytest.raises(fe.UnsupportedError, match="bool has no format"):
        x + True
    with pytest.raises(fe.ProjectionError, match="needs seed="):
        fe.asarray([1.0], "e4m3fn", "stochastic_a")
    with pytest.raises(fe.UnsupportedError, match=r"add\.reduce"):
        np.add.reduce(x)


def test_in_and_out() -> None:
    x = fe.asarray(numbers(), "bfloat16")
    assert np.asarray(x).dtype == np.float32
    assert np.asarray(x, np.float64).dtype == np.float64
    back = pickle.loads(pickle.dumps(x))  # noqa: S301  (our own bytes)
    assert_bits(back.values, x.values)
    assert back.settings == x.settings
    brain = np.asarray(x).astype(ml_dtypes.bfloat16)
    assert_bits(fe.asarray(brain, "bfloat16").values, x.values)
    assert x.codes.tolist() == brain.view(np.uint16).tolist()
    assert_bits(np.from_dlpack(x), x.values)
    assert_bits(x.astype("e4m3fn").values, fe.round(x.values, "e4m3fn"))
    assert repr(fe.asarray([1.0, 0.1], "e4m3fn")) == "EmulatedArray([1.       , 0.1015625], e4m3fn)"
