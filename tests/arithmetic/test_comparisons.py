"""Comparisons: every predicate on all pairs of small codes, and operands of mixed types against exact rationals."""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest
from oracles import SMALL

import floatemu as fe
from floatemu import reference
from floatemu.comparisons import ALIASES, PREDICATES

NAN, INF = float("nan"), float("inf")

# Tables 5.1 and 5.2 of IEEE 754-2019 in words of their own: from "less", "equal" and "greater", all false for NaN.
BASIC = {
    "Equal": lambda less, equal, greater: equal,
    "NotEqual": lambda less, equal, greater: ~equal,
    "Greater": lambda less, equal, greater: greater,
    "GreaterEqual": lambda less, equal, greater: greater | equal,
    "Less": lambda less, equal, greater: less,
    "LessEqual": lambda less, equal, greater: less | equal,
    "NotGreater": lambda less, equal, greater: ~greater,
    "LessUnordered": lambda less, equal, greater: ~(greater | equal),
    "NotLess": lambda less, equal, greater: ~less,
    "GreaterUnordered": lambda less, equal, greater: ~(less | equal),
    "Unordered": lambda less, equal, greater: ~(less | equal | greater),
    "Ordered": lambda less, equal, greater: less | equal | greater,
}


def test_the_predicates_are_the_twenty_two_of_the_standard():
    both = [f"compare{kind}{name}" for kind in ("Quiet", "Signaling") for name in BASIC if not name.endswith("rdered")]
    both += [f"compareQuiet{name}Unordered" for name in ("Less", "Greater")]
    both += [f"compareSignaling{name}Unordered" for name in ("Less", "Greater")]
    assert sorted(PREDICATES) == sorted([*both, "compareQuietUnordered", "compareQuietOrdered"])
    assert len(PREDICATES) == 22


def place(x: reference.Datum) -> Any:
    """A number that orders data, None for NaN."""
    if x.kind == "nan":
        return None
    size = Fraction(2) ** 40000 if x.kind == "infinite" else x.magnitude
    return -size if x.negative else size


def relations(x: list[Any], y: list[Any]) -> tuple[Any, Any, Any]:
    """Less, equal, greater between every x and every y by exact rationals."""
    order = {v: i for i, v in enumerate(sorted({v for v in (*x, *y) if v is not None}))}
    left, right = (np.array([NAN if v is None else order[v] for v in values]) for values in (x, y))
    left, right = left[:, None], right[None, :]
    return left < right, left == right, left > right


@pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: fmt.name)
def test_all_pairs_of_codes(fmt):
    data = [reference.decode(code, fmt) for code in range(2**fmt.k)]
    values = fe.values(fmt)
    expected = relations([place(v) for v in data], [place(v) for v in data])
    for name in PREDICATES:
        kind, basic = re.fullmatch("compare(Quiet|Signaling)(.*)", name).groups()
        holds, flags = fe.compare(values[:, None], values, name, flags=True)
        assert np.array_equal(holds, BASIC[basic](*expected)), name
        raised = np.where(BASIC["Unordered"](*expected) & (kind == "Signaling"), np.uint8(fe.Flag.INVALID), np.uint8(0))
        assert np.array_equal(flags, raised), name
        assert (holds.dtype, flags.dtype) == (np.dtype(bool), np.dtype(np.uint8))


BIG = 2**53
NUMBERS: list[Any] = [
    0, -0.0, 1, -1, BIG, BIG + 1, BIG + 2, -BIG - 1, 2**63 - 1, 2**64, 10**400, float(BIG), float(2**63), 2.0**1023,
    -5e-324, 5e-324, 0.1, Fraction(1, 10), Decimal("0.1"), mpmath.mpf(0.1), mpmath.mpf(1) / 3, Fraction(1, 3), 1 / 3,
    NAN, INF, -INF, Decimal("NaN"), Decimal("-Infinity"), mpmath.mpf("nan"), mpmath.mpf("inf"), np.float32(0.1),
    np.int8(-1), np.float16(65504.0), 65504, Fraction(3, 2) * 10**-400, np.uint64(2**64 - 1), 2**64 - 1,
]  # fmt: skip


def exact(x: Any) -> Any:
    """The number as a Fraction beside infinities as in :func:`place`."""
    if x != x:
        return None
    if x in (INF, -INF):
        return Fraction(2) ** 40000 * (1 if x > 0 else -1)
    if hasattr(x, "_mpf_"):
        sign, man, exp, _ = x._mpf_
        return Fraction(-int(man) if sign else int(man)) * Fraction(2) ** exp
    return Fraction(x.item() if isinstance(x, np.generic) else x)


def test_mixed_numbers_are_compared_exactly():
    expected = relations([exact(v) for v in NUMBERS], [exact(v) for v in NUMBERS])
    column = np.empty((len(NUMBERS), 1), object)
    column[:, 0] = NUMBERS
    for name in ("less", "equal", "greater", "unordered"):
        want = BASIC[name.capitalize()](*expected)
        assert np.array_equal(fe.compare(column, column.T, name), want), name
        for (i, x), (j, y) in itertools.product(enumerate(NUMBERS), repeat=2):
            assert fe.compare(x, y, name) == want[i, j], (x, name, y)


def test_trap_2_an_int64_is_not_rounded_to_binary64():
    x = np.array([BIG - 1, BIG, BIG + 1, -BIG - 1, 2**63 - 1], np.int64)
    y = np.array([BIG - 1, BIG, BIG, -BIG, 2**63], np.float64)
    assert fe.compare(x, y, "equal").tolist() == [True, True, False, False, False]
    assert fe.compare(x, y, "less").tolist() == [False, False, False, True, True]
    assert fe.compare(x.astype(np.uint64)[2:3], y[2:3], "greater").tolist() == [True]
    assert fe.compare([16777217], np.array([16777216], np.float32), "greater").tolist() == [True]


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.int16, np.uint8]
)
def test_arrays_of_any_dtype(dtype):
    x = np.array([0, 1, 3, 100]).astype(dtype)
    assert fe.compare(x, np.array([0.0, 1.0, 2.9, 100.5]), "less_equal").tolist() == [True, True, False, x[3] <= 100.5]
    assert fe.compare(x, Fraction(1), "greater").tolist() == [False, False, True, True]


def test_emulated_arrays_are_operands():
    x = fe.asarray([1.0, 2.0, 300.0], "e4m3fn")
    assert fe.compare(x, [1, Fraction(5, 2), 289], "less").tolist() == [False, True, True]  # 300 has become 288
    assert fe.compare(x, fe.asarray([1.0, 2.0, 300.0], "binary16"), "equal").tolist() == [True, True, False]


def test_aliases_are_the_quiet_predicates_and_shapes_broadcast():
    x = np.array([1.0, NAN, 2.0])
    for alias, name in ALIASES.items():
        holds, flags = fe.compare(x[:, None], x, alias, flags=True)
        assert name.startswith("compareQuiet")
        assert np.array_equal(holds, fe.compare(x[:, None], x, name))
        assert holds.shape == (3, 3)
        assert not flags.any()
    assert isinstance(fe.compare(1, 2.5, "less"), np.bool_)
    assert fe.compare(np.array(1.0), 2, "less").shape == ()
    assert fe.compare(np.empty((0, 3)), 1, "less").shape == (0, 3)


@pytest.mark.parametrize(
    ("x", "y", "predicate", "words"),
    [
        (1, 2, "<", "predicate='<' is no comparison; accepted: equal, not_equal, less"),
        (1, 2, None, "predicate=None is no comparison"),
        ([1, 2], [1, 2, 3], "less", "do not broadcast: x (2,), y (3,)"),
        (1, "two", "less", "y has dtype <U3, which is not accepted"),
        (1j, 1, "equal", "x has dtype complex128, which is not accepted: take its .real and .imag apart"),
        (1, [None, 1], "equal", "y holds no number at index 0: None of type NoneType"),
        (np.array([True]), 1, "equal", "x has dtype bool"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(x, y, predicate, words):
    with pytest.raises(fe.UnsupportedError, match=re.escape(words)):
        fe.compare(x, y, predicate)
