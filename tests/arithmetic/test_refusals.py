"""Bad input to any face: one clear error that names the operand and the way out; empty arrays and single numbers."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import floatemu as fe

BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "remainder",
    "minimum",
    "maximum",
    "minimumNumber",
    "maximumNumber",
    "pow",
    "hypot",
]
FUNCTIONS = [
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "sigmoid", "erf", "gelu", "gelu_tanh", "silu", "softplus", "rsqrt", "reciprocal",
]  # fmt: skip
UNARY = ["sqrt", "encode", "round", *FUNCTIONS]
REDUCTIONS = ["sum", "mean", "norm", "softmax", "logsumexp"]

# Face, position of the bad operand, what stands in the other places, and the name that messages must give it.
PLACES = {
    **{f"{name}, x": (name, 0, [1.0, 1.0], "x") for name in BINARY},
    **{f"{name}, y": (name, 1, [1.0, 1.0], "y") for name in BINARY},
    **{f"{name}, x": (name, 0, [1.0], "x") for name in [*UNARY, *REDUCTIONS]},
    "fma, z": ("fma", 2, [1.0, 1.0, 1.0], "z"),
    "dot, y": ("dot", 1, [[1.0], [1.0]], "y"),
    "matmul, a": ("matmul", 0, [1.0, np.ones((2, 1))], "a"),
    "matmul, b": ("matmul", 1, [np.ones((1, 2)), 1.0], "b"),
    "conv2d, x": ("conv2d", 0, [1.0, np.ones((1, 1, 1, 1))], "x"),
    "conv2d, weight": ("conv2d", 1, [np.ones((1, 1, 1, 1)), 1.0], "weight"),
}
BAD: dict[str, tuple[Any, str]] = {
    "strings": (np.array([["a", "b"]]), "has dtype <U1, which is not accepted: convert it to numbers first"),
    "objects": (np.array([[1.0, "a"]], object), "holds no number at index (0, 1): 'a' of type str"),
    "none": (np.array([[None, 1.0]], object), "holds no number at index (0, 0): None of type NoneType"),
    "None": (None, "holds no number: None of type NoneType"),
    "complex": (np.array([[1j, 2]]), "has dtype complex128, which is not accepted: take its .real and .imag apart"),
    "complex objects": (np.array([[1.0, 1j]], object), "holds no number at index (0, 1): 1j of type complex"),
    "booleans": (np.array([[True, False]]), "has dtype bool, which is not accepted: convert it with .astype(np.uint8)"),
    "boolean objects": (np.array([[True, 1]], object), "holds no number at index (0, 0): True is a boolean"),
    "dates": (np.array([["2020-01-01"]], "M8[D]"), "has dtype datetime64[D], which is not accepted"),
    "wider": (np.ones((1, 2), np.longdouble), "binary64 is the widest array source; pass mpmath or Fraction numbers"),
    "ragged": ([[1.0], [1.0, 2.0]], "is ragged"),
    "masked": (np.ma.masked_array([[1.0, 2.0]], [[0, 1]]), "is a masked array, whose mask would be lost; use .filled"),
    "set": ({1.0}, "holds no number: {1.0} of type set"),
}
if np.dtype(np.longdouble).itemsize == 8:  # where it is binary64 itself
    del BAD["wider"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", PLACES)
def test_operands_that_are_no_numbers(place, bad):
    name, position, operands, label = PLACES[place]
    value, words = BAD[bad]
    given = [value if i == position else v for i, v in enumerate(operands)]
    with pytest.raises(fe.UnsupportedError, match=re.escape(f"{label} {words}") if words[0] != "b" else words):
        getattr(fe, name)(*given, "binary16")


@pytest.mark.parametrize("name", [*BINARY, "fma", "dot"])
def test_shapes_that_do_not_broadcast(name):
    operands = [np.ones((2, 3)), np.ones((4, 3))] + [1.0] * (name == "fma")
    with pytest.raises(fe.UnsupportedError, match=re.escape("do not broadcast: x (2, 3), y (4, 3)") + ".*reshape"):
        getattr(fe, name)(*operands, "binary16")


CALLS: dict[str, tuple[Any, ...]] = {
    "add": (1.0, 1.0), "exp": (1.0,), "pow": (1.0, 1.0), "sum": ([1.0],), "mean": ([1.0],), "dot": ([1.0], [1.0]),
    "norm": ([1.0],), "softmax": ([1.0],), "logsumexp": ([1.0],), "matmul": ([[1.0]], [[1.0]]),
    "conv2d": (np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1))), "encode": ([1.0],), "round": ([1.0],),
}  # fmt: skip
SETTINGS = [
    ({"rounding": "sideways"}, "rounding='sideways' is not a rounding mode; accepted: NEAREST_TIES_TO_EVEN"),
    ({"saturation": "much"}, "saturation='much' is not a saturation mode; accepted: SAT_NONE"),
    ({"rounding": "stochastic_a"}, "STOCHASTIC_A needs random bits: give seed="),
    ({"rounding": "stochastic_a", "seed": 1.5}, "seed=1.5 is not an integer"),
    ({"rounding": "stochastic_a", "seed": 1, "random_bits": 33}, "random_bits=33 is not an integer in 1..32"),
    ({"random_bits": 3}, "random_bits=3 was given, but NEAREST_TIES_TO_EVEN uses no random bits"),
    ({"nan": "skip"}, "nan='skip' is not a NaN policy; accepted: None (refuse), 'zero', 'max'"),
    ({"out": [0.0]}, "out is "),
    ({"out": np.zeros((7, 7))}, "out has shape (7, 7)"),
]


@pytest.mark.parametrize(("given", "words"), SETTINGS, ids=lambda v: next(iter(v)) if isinstance(v, dict) else None)
@pytest.mark.parametrize("name", CALLS)
def test_settings_that_mean_nothing(name, given, words):
    if name == "encode" and isinstance(given.get("out"), np.ndarray):
        given = {"out": np.zeros((7, 7), np.uint16)}
    with pytest.raises(fe.FloatEmuError, match=re.escape(words)):
        getattr(fe, name)(*CALLS[name], "binary16", **given)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("fmt", "words"), [("binary128", "did you mean binary"), (None, "a floatemu.Format or its name")]
)
def test_formats_that_are_none(name, fmt, words):
    with pytest.raises(fe.FormatError, match=re.escape(words)):
        getattr(fe, name)(*CALLS[name], fmt)
    with pytest.raises(fe.FormatError, match=re.escape("p = 54 is outside 1..53")):
        fe.Format("too precise", k=64, p=54)


REDUCED = [name for name in CALLS if name in (*REDUCTIONS, "dot", "matmul", "conv2d")]


@pytest.mark.parametrize("name", REDUCED)
def test_reductions_take_a_seed_and_no_random_integers(name):
    with pytest.raises(fe.UnsupportedError, match=r"random= gives one operation its random bits.*give seed="):
        getattr(fe, name)(*CALLS[name], "binary16", "stochastic_a", random=[1], random_bits=3)
    with pytest.raises(fe.UnsupportedError, match="order='sideways' is not an order of addition; accepted: sequential"):
        getattr(fe, name)(*CALLS[name], "binary16", order="sideways")
    with pytest.raises(fe.UnsupportedError, match=r"unknown option colour; accepted: saturation.*flags"):
        getattr(fe, name)(*CALLS[name], "binary16", colour=1)


@pytest.mark.parametrize("name", [*REDUCTIONS, "dot"])
@pytest.mark.parametrize(
    ("axis", "words"),
    [(1.5, "axis=1.5 is not an axis"), ("a", "axis='a' is not an axis"), (True, "axis=True is not an axis"),
     (1, "axis=1 is out of range for x with 1 axes; accepted: -1..0"), ((0, -1), "names an axis twice")],
)  # fmt: skip
def test_axes_that_are_none(name, axis, words):
    with pytest.raises(fe.UnsupportedError, match=re.escape(words)):
        getattr(fe, name)(*CALLS[name], "binary16", axis=axis)


def test_a_single_number_has_no_axis():
    for name, operands in (("softmax", (2.0,)), ("dot", (2.0, 3.0))):
        with pytest.raises(fe.UnsupportedError, match="axis=-1 of a single number, which has none; use axis=None"):
            getattr(fe, name)(*operands, "binary16")
    with pytest.raises(fe.UnsupportedError, match="y holds no number: None"):
        fe.dot([1.0, 2.0], None, "binary16")


# Nothing, and single numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [False, True])
def test_no_elements_give_no_elements(flags):
    e, none = np.empty((0, 3)), np.empty((3, 0))
    calls = [(name, (e, 1.0), (0, 3)) for name in BINARY] + [(name, (e,), (0, 3)) for name in ("sqrt", *FUNCTIONS)]
    calls += [
        ("encode", (e,), (0, 3)),
        ("fma", (e, 1, e), (0, 3)),
        ("softmax", (e,), (0, 3)),
        ("softmax", (none,), (3, 0)),
    ]
    calls += [("dot", (e, e), (0,)), ("matmul", (e, np.ones((3, 2))), (0, 2)), ("add", ([], []), (0,))]
    calls += [("conv2d", (np.ones((0, 1, 3, 3)), np.ones((1, 1, 2, 2))), (0, 1, 2, 2))]
    for name, operands, shape in calls:
        result = getattr(fe, name)(*operands, "binary16", flags=flags)
        parts = result if flags else (result,)
        assert [part.shape for part in parts] == [shape] * len(parts), name
        assert not flags or parts[1].dtype == np.uint8


def test_reductions_of_no_terms():
    none = np.empty((3, 0))
    assert fe.sum(none, "binary16", axis=1).tolist() == fe.norm(none, "binary16", axis=1).tolist() == [0.0] * 3
    assert fe.matmul(none, none.T, "binary16").tolist() == np.zeros((3, 3)).tolist()
    values, flags = fe.logsumexp(none, "binary16", axis=1, flags=True)
    assert (values.tolist(), flags.tolist()) == ([-np.inf] * 3, [fe.Flag.DIVIDE_BY_ZERO] * 3)
    with pytest.raises(
        fe.UnsupportedError, match=re.escape("mean of no numbers: x has shape (3, 0), reduced over axis 1")
    ):
        fe.mean(none, "binary16", axis=1)


@pytest.mark.parametrize(
    "x", [2, 2.0, Fraction(2), np.float32(2), np.array(2.0)], ids=["int", "float", "Fraction", "float32", "0-d"]
)
def test_single_numbers_give_single_numbers(x):
    array = isinstance(x, np.ndarray)
    for name, more, want in [
        ("add", (1,), 3), ("sqrt", (), 1.4140625), ("exp2", (), 4), ("pow", (3,), 8), ("fma", (2, 1), 5),
        ("encode", (), 0x4000),
    ]:  # fmt: skip
        value, flags = getattr(fe, name)(x, *more, "binary16", flags=True)
        assert (value, flags) == (want, name == "sqrt")
        assert all(isinstance(part, np.ndarray if array else np.generic) for part in (value, flags))
    for name, want in [("sum", 2), ("mean", 2), ("norm", 2), ("logsumexp", 2)]:
        value, flags = getattr(fe, name)(x, "binary16", flags=True)
        assert (value, flags) == (want, 0)
        assert isinstance(value, np.generic)
        assert isinstance(flags, np.generic)
