"""Comparisons and logic of recorded programs, against Python's own operators."""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

import numpy as np
import pytest

from analysis.arithmetics.exact import Exact
from analysis.arithmetics.float64 import Float64
from analysis.ops import Kind, get_op

NUMBERS = [-math.inf, -1.5, -0.0, 0.0, 5e-324, 1.0, math.nextafter(1.0, 2.0), math.inf, math.nan]
LOGIC = {"and": operator.and_, "or": operator.or_, "xor": operator.xor}


@pytest.mark.parametrize("relation", ["gt", "ge", "lt", "le", "eq", "ne"])
@pytest.mark.parametrize("arithmetic", [Float64(), Exact(200)], ids=["float64", "exact"])
def test_relations_are_those_of_python_nan_included(relation: str, arithmetic: Any) -> None:
    x, y = (np.array(side) for side in zip(*itertools.product(NUMBERS, NUMBERS)))
    rule = getattr(operator, relation)
    wanted = [rule(a, b) for a, b in zip(x.tolist(), y.tolist())]
    spec = get_op("compare")
    found = spec.forward(arithmetic, [arithmetic.lift(x), arithmetic.lift(y)], {"relation": relation})
    assert found.tolist() == wanted
    assert spec.kind is Kind.BRANCH


@pytest.mark.parametrize("relation", LOGIC)
def test_logic_is_that_of_python(relation: str) -> None:
    x, y = np.array([False, False, True, True]), np.array([False, True, False, True])
    wanted = [LOGIC[relation](a, b) for a, b in zip(x.tolist(), y.tolist())]
    assert get_op("both").forward(Float64(), [x, y], {"relation": relation}).tolist() == wanted


def test_not_and_any() -> None:
    x = np.array([[False, False], [True, False]])
    assert get_op("not").forward(Float64(), [x], {}).tolist() == [[True, True], [False, True]]
    assert get_op("any").forward(Float64(), [x], {"axis": 1, "keepdims": False}).tolist() == [False, True]
    assert get_op("any").forward(Float64(), [x], {"axis": 0, "keepdims": True}).tolist() == [[True, False]]
