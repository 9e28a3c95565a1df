"""mpmath arithmetic: products formed in integers are mpmath's own, and heads and tails hold 106 bits."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.arithmetics.exact import Exact

wide = st.floats(allow_nan=False, allow_infinity=False)


def _fraction(number: object) -> Fraction:
    sign, man, exponent, _ = number._mpf_  # type: ignore[attr-defined]
    return (-1) ** sign * Fraction(int(man)) * Fraction(2) ** exponent


@given(st.lists(st.tuples(wide, wide), min_size=1, max_size=5))
def test_a_dot_product_is_the_exact_sum_rounded_once(pairs: list[tuple[float, float]]) -> None:
    exact, fine = Exact(106), Exact(5000)  # all of binary64's products fit into 4500 bits
    x, y = np.array(pairs).T
    found = exact.matmul(exact.lift(x[None]), exact.lift(y[:, None]))[0, 0]
    true = sum((Fraction(a) * Fraction(b) for a, b in pairs), Fraction(0))
    rounded = fine.matmul(fine.lift(x[None]), fine.lift(y[:, None]))[0, 0]
    assert _fraction(rounded) == true
    assert found == exact._mp.mpf(rounded)


def test_products_of_numbers_far_apart_are_exact_too() -> None:
    # exponents that differ by more than integers are stretched over: mpmath's own dot product takes their place
    exact = Exact(200)
    tiny = exact.exp(exact.lift(np.array([-2000.0, 3000.0, 0.0])))
    product = exact.mul(tiny, tiny)
    found = exact.matmul(product[None], product[:, None])[0, 0]
    assert found == exact._mp.fdot(product.tolist(), product.tolist())


def test_infinities_and_nan_in_products_are_those_of_ieee() -> None:
    exact = Exact(106)
    a = np.array([[1.0, np.inf], [2.0, 3.0], [np.nan, 1.0]])
    b = np.array([[1.0, -1.0], [2.0, 5.0]])
    with np.errstate(invalid="ignore"):
        assert np.array_equal(exact.lower(exact.matmul(exact.lift(a), exact.lift(b)))[0], a @ b, equal_nan=True)
    assert exact.matmul(exact.lift(np.zeros((2, 0))), exact.lift(np.zeros((0, 3)))).tolist() == [[0] * 3] * 2


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=2, max_size=2))
def test_heads_are_nearest_and_tails_complete_them(pair: list[float]) -> None:
    exact = Exact(300)
    x, y = (exact.lift(np.array([value])) for value in pair)
    for value in (exact.mul(x, y), exact.add(x, y), exact.mul(exact.mul(x, x), exact.mul(y, y))):
        head, tail = exact.lower(value)
        assert tail is not None
        true = _fraction(value[0])
        if abs(true) < 2**1023:
            assert head[0] == float(true)  # Fraction's division is rounded to nearest once
            # 106 bits, and what lies below binary64's least number
            assert abs(true - Fraction(head[0]) - Fraction(tail[0])) <= abs(true) / 2**106 + Fraction(1, 2**1075)


def test_repeated_numbers_are_lowered_once_and_shaped_alike() -> None:
    exact = Exact(106)
    row = exact.div(exact.lift(np.ones((1, 3))), exact.lift(np.array([[3.0, 7.0, 11.0]])))
    head, tail = exact.lower(np.broadcast_to(row, (4, 3)))
    once, rest = exact.lower(row)
    assert tail is not None
    assert rest is not None
    assert np.array_equal(head, np.broadcast_to(once, (4, 3)))
    assert np.array_equal(tail, np.broadcast_to(rest, (4, 3)))
    assert head.flags.c_contiguous
    assert head.flags.writeable
    scalar, _ = exact.lower(exact.lift(np.array(1.0)))
    assert scalar.shape == ()


@pytest.mark.parametrize("value", [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1.7976931348623157e308])
def test_binary64_numbers_come_back_as_they_went_in(value: float) -> None:
    exact = Exact(54)
    head, tail = exact.lower(exact.lift(np.array([value])))
    assert np.array_equal(head, [value], equal_nan=True)
    assert tail is not None
    assert not tail.any()
