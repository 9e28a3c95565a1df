"""Operations, functions, reductions and products of single numbers, one property each, drawn by hypothesis.

Few examples here; the profile "search" draws a million, as CONTRIBUTING says.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import summation
from function_values import C, inside, value
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from operands import KINDS, POOL, number, real, related
from operations import ARITY, operate
from oracles import assert_bits

import floatemu as fe
from floatemu import reference

share = settings(max_examples=25) if settings().derandomize else settings()
"""There are many of these tests: each has a part of the examples of the reproducible profile."""

WORDS = st.tuples(st.integers(0, len(KINDS) - 1), st.integers(0, 2**64 - 1), st.integers(0, 79), st.booleans())
TARGETS = st.sampled_from(POOL)
UNARY = ["exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh"]
UNARY += ["cosh", "tanh", "sigmoid", "erf", "gelu", "gelu_tanh", "silu", "softplus", "rsqrt"]
ORDERS = ["sequential", "pairwise", "blocked(2)", "numpy_pairwise(4, 2)", "kahan", "neumaier", "exact"]


def projections(modes: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, int, int, int]]:
    return st.tuples(modes, st.integers(0, 2), st.integers(0, 3), st.integers(0, 2**32 - 1))


PROJECTIONS = projections(st.integers(0, 8))


def projected(drawn: tuple[int, int, int, int], most: int = 32) -> tuple[fe.Projection, int]:
    """A projection and the integer R of its random bits."""
    mode, saturation, width, word = fe.Rounding(drawn[0]), fe.Saturation(drawn[1]), drawn[2], drawn[3]
    if not mode.stochastic:
        return fe.Projection(mode, saturation), 0
    n = (1, 3, 16, most)[width]
    return fe.Projection(mode, saturation, n), word % 2**n


def keywords(by: fe.Projection, r: int, fmt: fe.Format) -> dict[str, Any]:
    given: dict[str, Any] = {"rounding": by.rounding, "saturation": by.saturation, "dtype": np.float64}
    given |= {"nan": None if fmt.has_nan else "max", "flags": True}
    return given | ({"random_bits": by.random_bits, "random": r} if by.random_bits else {})


def judge(got: Any, exact: Any, extra: int, fmt: fe.Format, by: fe.Projection, r: int, what: str) -> None:
    nan = None if fmt.has_nan else "max"
    right = float(reference.round(exact, fmt, by, r, nan))
    raised = reference.flags(exact, fmt, by, r, nan) | extra
    if not fmt.has_nan:
        raised &= ~reference.NAN_BORN  # it is replaced
    assert_bits(np.float64(got[0]), np.float64(right), None, what)
    assert int(got[1]) == raised, f"flags of {what}: {got[1]} instead of {raised}"


@pytest.mark.parametrize("name", ARITY)
@share
@given(TARGETS, PROJECTIONS, st.tuples(WORDS, WORDS, WORDS), WORDS, st.integers(0, 6))
def test_operation(name: str, fmt: fe.Format, drawn: Any, words: Any, goal: Any, relation: int) -> None:
    by, r = projected(drawn)
    x = [number(word, fmt) for word in words[: ARITY[name]]]
    x = related(name, x, number(goal, fmt), relation, fmt)
    exact, extra = operate(name, [reference.exact(v) for v in x], by.rounding)
    got = getattr(fe, name)(*x, fmt, **keywords(by, r, fmt))
    judge(got, exact, extra, fmt, by, r, f"{name}{tuple(x)} into {fmt.name} by {by} R={r}")


@pytest.mark.parametrize("name", UNARY)
@share
@example(next(fmt for fmt in POOL if fmt.name == "low"), (0, 0, 0, 0), (6, 273, 0, False))  # tiny, where binary64 ends
@given(TARGETS.filter(lambda fmt: fmt.p <= 24), PROJECTIONS, WORDS)
def test_function(name: str, fmt: fe.Format, drawn: Any, word: Any) -> None:
    by, r = projected(drawn, 12)
    x = real(word, fmt)
    if name in ("asin", "acos") and abs(x) > 1:
        x = 1 / x
    if name in ("log", "log2", "log10", "rsqrt"):
        x = abs(x)
    assume(inside(name, x))
    got = getattr(fe, name)(x, fmt, **keywords(by, r, fmt))
    judge(got, value(name, x), 0, fmt, by, r, f"{name}({x}) into {fmt.name} by {by} R={r}")


@pytest.mark.parametrize("name", ["pow", "hypot"])
@share
@example(fe.get_format("binary16"), (0, 0, 0, 0), ((7, 7, 0, False), (7, 7, 0, False)))
@example(fe.get_format("bfloat16"), (2, 0, 0, 0), ((1, 0x7F400000, 0, False), (1, 0x7F400000, 0, False)))
@given(TARGETS.filter(lambda fmt: fmt.p <= 24), PROJECTIONS, st.tuples(WORDS, WORDS))
def test_function_of_two(name: str, fmt: fe.Format, drawn: Any, words: Any) -> None:
    """pow: 400 bits decide, for a result that is no short dyadic number is further from one than that."""
    by, r = projected(drawn, 12)
    x, y = (real(word, fmt) for word in words)
    if name == "pow":
        x, y = abs(x), math.copysign(min(abs(y), 40.0), y)
        assume(2.0**-60 < x < 2.0**60 and x != 1 and abs(y) > 2.0**-60)
        exact: Any = C.mpf(x) ** C.mpf(y)
    else:
        assume(0 < abs(x) < math.inf and 0 < abs(y) < math.inf)
        squares = [summation.product_of(v, v) for v in map(reference.exact, (x, y))]
        exact = summation.root_of(summation.sum_of(squares, False))
    got = getattr(fe, name)(x, y, fmt, **keywords(by, r, fmt))
    judge(got, exact, 0, fmt, by, r, f"{name}({x}, {y}) into {fmt.name} by {by} R={r}")


def reduced(x: Any, y: Any, order: str, by: fe.Projection, formats: Any, fused: bool, place: tuple[int, int]) -> float:
    machine = summation.Machine(by, 5, 2, *place, "zero")
    numbers = [int(v) for v in re.findall(r"\d+", order)]
    return float(summation.reduce(machine, x, y, order.split("(")[0], numbers, fused, *formats))


@pytest.mark.parametrize("order", ORDERS)
@share
@given(st.tuples(TARGETS, TARGETS), PROJECTIONS, st.lists(WORDS, min_size=1, max_size=4))
def test_sum(order: str, formats: Any, drawn: Any, words: Any) -> None:
    (accumulate, result), (by, _) = formats, projected(drawn)
    x = [real(word, accumulate) for word in words]
    right = reduced(x, None, order, by, (accumulate, accumulate, result), False, (1, 0))
    options = keywords(by, 0, result) | {"nan": "zero", "seed": 5, "stream": 2}
    options = {key: options[key] for key in options if key not in ("flags", "random")}
    got = fe.sum(x, result, order=order, accumulate=accumulate, **options)
    assert_bits(np.float64(got), np.float64(right), None, f"{x} in {accumulate.name}, {result.name} by {by}")


# Loops of products are compiled for each mode: one mode here, all nine in a search.
MODES = st.just(0) if settings().derandomize else st.integers(0, 8)


@pytest.mark.parametrize("fused", [False, True], ids=["separate", "fused"])
@share
@given(st.tuples(TARGETS, TARGETS), projections(MODES), st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3))
def test_product(fused: bool, formats: Any, drawn: Any, words: Any) -> None:
    (accumulate, result), (by, _) = formats, projected(drawn)
    x = [real(first, accumulate) for first, _ in words]
    y = [real(second, result) for _, second in words]
    options = keywords(by, 0, result) | {"nan": "zero", "seed": 5, "stream": 2}
    options = {key: options[key] for key in options if key not in ("flags", "random")}
    got = fe.matmul([x], np.array([y, y]).T, result, accumulate=accumulate, fused=fused, **options)
    trio = (accumulate, accumulate, result)
    right = [reduced(x, y, "sequential", by, trio, fused, (2, j)) for j in range(2)]
    assert_bits(got, np.array([right]), None, f"{x} times {y} in {accumulate.name}, {result.name} by {by}")
