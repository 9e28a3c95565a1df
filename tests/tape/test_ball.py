"""Balls: every ball holds the exact value, infinities and NaN follow IEEE 754, and doubt is never hidden."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mpmath.ctx_mp import MPContext

import analysis as an
from analysis.arithmetics.base import Arithmetic
from analysis.arithmetics.exact import Exact
from analysis.arithmetics.float64 import Float64
from analysis.ops import Builder, get_op, relu
from analysis.ops.selection import maximum, minimum
from analysis.ops.spec import TABLE
from analysis.tape import Tape
from floatemu.errors import UnsupportedError

flint = pytest.importorskip("flint")

from analysis.arithmetics.ball import Ball  # noqa: E402 (needs the extra)

PRIMITIVES = sorted(name for name in vars(Arithmetic) if not name.startswith("_") and name not in ("name", "zero"))
UNARY = ("exp", "log", "sqrt", "tanh", "erf", "erf_slope", "sin", "cos", "neg")
BINARY = ("add", "sub", "mul", "div")
EDGES = np.array([0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.5, -0.75, 1e-320, 1e300, -1e300])


def test_every_primitive_is_there() -> None:
    assert [name for name in PRIMITIVES if not callable(getattr(Ball, name, None))] == []
    assert {*UNARY, *BINARY} < set(PRIMITIVES)


@pytest.mark.parametrize("name", BINARY)
def test_infinities_and_nan_are_those_of_ieee(name: str) -> None:
    x, y = (grid + 0.0 for grid in np.meshgrid(EDGES, EDGES))
    ball = Ball()
    with np.errstate(all="ignore"):
        expected = getattr(Float64(), name)(x, y)
    found, _, radius = ball.enclose(getattr(ball, name)(ball.lift(x), ball.lift(y)))
    # beyond binary64 the value is an infinity that is none, and the radius says so
    beyond = np.isinf(found) & np.isfinite(x) & np.isfinite(y) & (y != 0)
    assert np.array_equal(found, expected, equal_nan=True)
    assert np.array_equal(np.isinf(radius), beyond)


@pytest.mark.parametrize("name", UNARY)
def test_functions_at_their_limits(name: str) -> None:
    x = np.array([0.0, np.inf, -np.inf, np.nan, 1.0, -1.0])
    ball = Ball()
    with np.errstate(all="ignore"):
        expected = getattr(Float64(), name)(x)
    found, _, radius = ball.enclose(getattr(ball, name)(ball.lift(x)))
    special = ~np.isfinite(expected)
    assert np.array_equal(found[special], expected[special], equal_nan=True)
    assert np.isfinite(found[~special]).all()
    assert not np.isinf(radius).any()


def _fraction(number: Any) -> Fraction:
    sign, man, exponent, _ = number._mpf_
    value = Fraction(int(man)) * Fraction(2) ** exponent
    return -value if sign else value


def _holds(ball: Ball, x: Any, exact: Any) -> bool:
    """Whether head + tail plus or minus the radius holds an mpmath number of many bits, in rationals.

    An infinite radius is right for numbers beyond binary64 alone.
    """
    head, tail, radius = (part.ravel() for part in ball.enclose(x))
    numbers = [_fraction(number) for number in np.ravel(exact)]
    near = [
        abs(number) > sys.float_info.max if math.isinf(r) else abs(number - Fraction(h) - Fraction(t)) <= Fraction(r)
        for number, h, t, r in zip(numbers, head.tolist(), tail.tolist(), radius.tolist())
    ]
    return all(near)


finite = st.floats(-40, 40, allow_subnormal=True)


@given(st.lists(finite, min_size=2, max_size=2), st.sampled_from([54, 106, 160]))
@example([4.0, 2.0**-1022], 54)
def test_a_ball_holds_the_exact_result_of_every_number_inside_its_operands(pair: list[float], bits: int) -> None:
    ball, exact = Ball(bits), Exact(600)
    x, y = np.array(pair[:1]), np.array(pair[1:])
    three = np.array([3.0])
    wide_x, wide_y = (ball.div(ball.lift(v), ball.lift(three)) for v in (x, y))
    true_x, true_y = (exact.div(exact.lift(v), exact.lift(three)) for v in (x, y))
    for name in BINARY:
        if name != "div" or y[0]:
            assert _holds(ball, getattr(ball, name)(wide_x, wide_y), getattr(exact, name)(true_x, true_y)), name
    for name in UNARY:
        if name not in ("log", "sqrt") or x[0] > 0:
            assert _holds(ball, getattr(ball, name)(wide_x), getattr(exact, name)(true_x)), name


@given(st.integers(1, 5), st.integers(0, 2**32))
def test_products_and_sums_hold_the_exact_ones(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = 2.0 ** rng.integers(-30, 30, (2, size, size))
    a, b = rng.standard_normal((2, size, size)) * scale
    ball, exact = Ball(80), Exact(600)
    third = [arithmetic.lift(np.full((size, size), 3.0)) for arithmetic in (ball, exact)]
    left = [arithmetic.div(arithmetic.lift(a), t) for arithmetic, t in zip((ball, exact), third)]
    assert _holds(ball, ball.matmul(left[0], ball.lift(b)), exact.matmul(left[1], exact.lift(b)))
    assert _holds(ball, ball.sum(left[0], 0, False), exact.sum(left[1], 0, False))


def test_infinities_in_products_and_sums() -> None:
    a = np.array([[1.0, np.inf], [2.0, 3.0]])
    b = np.array([[1.0, -1.0, 0.0], [2.0, 0.0, -1.0]])
    ball = Ball()
    found = ball.lower(ball.matmul(ball.lift(a), ball.lift(b)))[0]
    with np.errstate(all="ignore"):
        assert np.array_equal(found, Float64().matmul(a, b), equal_nan=True)
    rows = np.array([[1.0, np.inf, 2.0], [np.inf, -np.inf, 1.0], [np.nan, 1.0, 1.0], [1.0, 2.0, 4.0]])
    sums = ball.lower(ball.sum(ball.lift(rows), 1, True))[0]
    assert np.array_equal(sums, [[np.inf], [np.nan], [np.nan], [7.0]], equal_nan=True)
    assert ball.lower(ball.sum(ball.lift(np.zeros((0, 2))), 0, False))[0].tolist() == [0.0, 0.0]


def _around_zero(ball: Ball) -> Any:
    # exp(1) - exp(1): zero, which no precision shows; some 2^-103 wide at 106 bits
    e = ball.exp(ball.lift(np.ones(1)))
    return ball.sub(e, ball.mul(e, ball.lift(np.ones(1))))


@pytest.mark.parametrize("name", ["log", "sqrt"])
def test_what_may_lie_outside_a_domain_is_unknown(name: str) -> None:
    ball = Ball()
    head, _, radius = ball.enclose(getattr(ball, name)(_around_zero(ball)))
    assert np.isnan(head).all()
    assert np.isinf(radius).all()


def test_unknown_stays_unknown_but_proven_nan_is_proven() -> None:
    ball = Ball()
    one = ball.lift(np.ones(1))
    unknown = ball.div(one, _around_zero(ball))
    nan, infinite = ball.lift(np.array([np.nan])), ball.lift(np.array([np.inf]))
    zero = ball.lift(np.zeros(1))
    quotients = [ball.div(*pair) for pair in ((one, unknown), (unknown, infinite), (zero, unknown), (unknown, one))]
    sums = [ball.add(unknown, infinite), ball.sub(infinite, unknown), ball.sum(np.concatenate([unknown, one]), 0, True)]
    for x in (unknown, *quotients, *sums, ball.mul(unknown, zero), ball.tanh(unknown), ball.sin(unknown)):
        assert np.isinf(ball.radius(x)).all()
    for x in (ball.add(unknown, nan), ball.div(nan, unknown), ball.mul(infinite, zero), ball.sin(infinite)):
        assert np.isnan(ball.lower(x)[0]).all()
        assert not ball.radius(x).any()
    assert np.isinf(ball.radius(ball.mul(_around_zero(ball), infinite))).all()
    assert np.isinf(ball.radius(ball.matmul(unknown[None], zero[:, None]))).all()
    assert not ball.positive(unknown).any()
    assert ball.undecided is not None


def _doubts(ball: Ball) -> list[bool] | None:
    doubts, ball.undecided = ball.undecided, None
    return None if doubts is None else doubts.ravel().tolist()


def test_decisions_are_proven_or_counted() -> None:
    ball = Ball()
    x = np.concatenate([ball.lift(np.array([1.0, 0.0, -1.0, np.nan, np.inf])), _around_zero(ball)])
    assert ball.positive(x)[:5].tolist() == [True, False, False, True, True]
    assert _doubts(ball) == [False] * 5 + [True]
    ones = ball.lift(np.ones(6))
    assert ball.greater(x, ones)[:5].tolist() == [False, False, False, False, True]
    assert _doubts(ball) is None
    tie = ball.add(np.concatenate([_around_zero(ball)] * 2), ball.lift(np.array([1.0, 1.0])))
    ball.greater(tie, ball.lift(np.ones(2)))
    assert _doubts(ball) == [True, True]


def test_doubts_add_up_until_they_are_taken_back() -> None:
    # an operation may ask twice, x > y and y > x: the second answer does not undo the doubt about the first
    ball = Ball()
    x = np.concatenate([_around_zero(ball), ball.lift(np.array([1.0, 2.0]))])
    ball.positive(x)
    near_one = ball.add(_around_zero(ball), ball.lift(np.ones(1)))
    ball.greater(x, np.concatenate([ball.lift(np.array([5.0])), near_one, ball.lift(np.zeros(1))]))
    assert _doubts(ball) == [True, True, False]


def test_decisions_on_integers_are_plain() -> None:
    ball, x = Ball(), np.array([[1, 5, 2], [-3, -3, -4]])
    assert ball.positive(x).tolist() == (x > 0).tolist()
    assert ball.greater(x, x[::-1]).tolist() == (x > x[::-1]).tolist()
    assert ball.argmax(x, 1).tolist() == [1, 0]


def test_the_largest_is_the_first_and_ties_of_inexact_numbers_are_open() -> None:
    ball = Ball()
    rows = ball.lift(np.array([[1.0, 3.0, 3.0], [5.0, 5.0, 5.0], [-np.inf, -np.inf, 0.0], [1.0, np.nan, 9.0]]))
    assert ball.argmax(rows, 1).tolist() == [1, 0, 2, 1]
    assert _doubts(ball) is None
    e = ball.exp(rows[:2])
    assert ball.argmax(e, 1).tolist() == [1, 0]
    assert _doubts(ball) == [True, True]
    assert ball.argmax(e[:, :2], 1).tolist() == [1, 0]
    assert _doubts(ball) == [False, True]
    assert ball.argmax(e.T, 0).tolist() == [1, 0]


def test_the_precision_of_the_process_is_left_alone() -> None:
    before = flint.ctx.prec
    ball = Ball(300)
    x = ball.div(ball.lift(np.ones(1)), ball.lift(np.array([3.0])))
    assert ball.radius(x)[0] < 2.0**-105
    assert flint.ctx.prec == before
    # negation happens at the ball's precision too, whatever the process has
    assert (ball.add(x, ball.neg(x))[0]).rad() < 2.0**-298
    with pytest.raises(TypeError):
        ball.add(np.array([object()]), x)
    assert flint.ctx.prec == before


@pytest.mark.parametrize("bits", [53, 2**17, True, 1.5])
def test_precisions_out_of_range_are_refused(bits: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"the precision of balls is an integer in 54\.\.65536"):
        Ball(bits)


def test_a_ball_around_zero_comes_out_as_zero_with_a_radius_that_holds_it() -> None:
    ball = Ball(106)
    x = ball.add(_around_zero(ball), ball.lift(np.array([2.0**-110])))
    head, tail, radius = ball.enclose(x)
    assert head[0] == tail[0] == 0.0
    assert x[0].abs_upper() <= radius[0] < 2.0**-95


def test_heads_are_nearest_and_radii_cover_what_two_floats_cannot_hold() -> None:
    mp = MPContext()
    mp.prec = 400
    ball = Ball(300)
    numbers = np.array([1 / 3, 2 / 3, 1e-310, 1e308, 5e-324, 0.1]) / 1.0
    x = ball.div(ball.lift(numbers), ball.lift(np.full(6, 7.0)))
    head, tail, radius = ball.enclose(x)
    for number, h, t, r in zip(numbers.tolist(), head.tolist(), tail.tolist(), radius.tolist()):
        true = mp.mpf(number) / 7
        assert h == float(true)
        assert abs(true - h - t) <= r <= abs(true) * 2.0**-100 + 2.0**-1072


def _selections() -> Tape:
    builder = Builder("selections")
    x, y = builder.leaf("input", np.array([1.0, np.nan, -2.0])), builder.leaf("input", np.array([3.0, 1.0, -2.5]))
    builder.target("largest", maximum(x.exp(), y.exp()))
    builder.target("smallest", minimum(builder.apply("sin", x), y.tanh()))
    builder.target("picked", builder.apply("select", builder.apply("greater", x, y), x, y))
    same, above = (builder.apply("compare", x, y, relation=relation) for relation in ("eq", "ge"))
    neither = builder.apply("not", builder.apply("both", same, above, relation="or"))
    some = builder.apply("any", neither, axis=0, keepdims=True).broadcast((3,))
    builder.target("masked", builder.apply("select", some, x, y))
    relations = [builder.apply("compare", x, y, relation=word) for word in ("lt", "le", "eq", "ne", "ge")]
    either = builder.apply("both", relations[1], builder.apply("not", relations[3]), relation="or")
    builder.target("any", builder.apply("any", either, axis=0, keepdims=False))
    return builder.build()


NETS = {
    "chain": lambda: an.nets.chain(1e5, 0.3, 40),
    "mlp relu": lambda: an.nets.mlp((64, 8, 10), batch=4),
    "mlp gelu": lambda: an.nets.mlp((64, 8, 10), "gelu", batch=4, norm="batch"),
    "mlp tanh": lambda: an.nets.mlp((64, 8, 10), "tanh", batch=4, optimizer="adamw"),
    "residual mlp": lambda: an.nets.residual_mlp(width=6, depth=2, batch=3),
    "cnn": lambda: an.nets.cnn(channels=(2, 2), batch=2),
    "rnn": lambda: an.nets.rnn(length=6, hidden=4, features=3, batch=2),
    "gru": lambda: an.nets.gru(length=4, hidden=4, features=3, batch=2),
    "lstm": lambda: an.nets.lstm(length=4, hidden=4, features=3, batch=2),
    "attention": lambda: an.nets.attention(length=5, width=6),
    "transformer": lambda: an.nets.transformer(width=8, heads=2, length=4, vocabulary=9),
    "llama": lambda: an.nets.llama(layers=1, width=8, heads=2, kv_heads=1, length=4, vocabulary=9),
    "selections": _selections,
}


def test_every_operation_is_in_one_of_the_nets() -> None:
    assert set(TABLE) - {node.op for make in NETS.values() for node in make().nodes} == set()


@pytest.mark.parametrize("name", NETS)
def test_mpmath_balls_and_float64_agree_to_what_they_promise(name: str) -> None:
    from analysis.certified import certify

    tape = NETS[name]()
    run, proof = certify(tape)
    fine, plain, exact = an.replay(tape, an.Exact(424)), an.replay(tape, Float64()), Exact(200)
    assert proof.statement() == "certified"
    assert proof.branches == 0
    for node in tape.nodes:
        value, true = run.value(node.id), fine.value(node.id)
        radius = proof.radii[node.id]
        if radius is None:
            assert np.array_equal(value, true)
            continue
        with np.errstate(invalid="ignore"):
            gap = np.where(np.isfinite(true), (value - true) + (run.tail(node.id) - fine.tail(node.id)), 0.0)
        assert np.array_equal(value[~np.isfinite(true)], true[~np.isfinite(true)], equal_nan=True)
        assert (np.abs(gap) <= radius + np.abs(np.nan_to_num(true)) * 2.0**-104).all(), node.label
        spec = get_op(node.op)
        if spec.sensitivity is not None:  # binary64: a few units of its own rounding, on the operands it has
            inputs = [plain.value(ref) for ref in node.inputs]
            own = plain.value(node.id)
            with np.errstate(all="ignore"):
                head = exact.lower(spec.forward(exact, [exact.lift(x) for x in inputs], node.attributes))[0]
                size = np.maximum(spec.sensitivity(inputs, own, node.attributes), np.abs(own))
                terms = 1 + sum(x.size for x in inputs) // max(own.size, 1)
                off = np.abs(own - head) > 16 * terms * 2.0**-53 * size + 5e-324
            assert not (off & np.isfinite(head)).any(), node.label


def _tied() -> Tape:
    builder = Builder("tied")
    x = builder.leaf("input", np.array([0.3, -2.0, 3.0]))
    zero = x.exp().log() - x
    builder.target("before", zero + x)
    builder.target("after", relu(zero) + x)
    return builder.build()


def test_open_branches_are_retried_then_pinned_counted_and_marked() -> None:
    from analysis.certified import certify

    tape = _tied()
    proof = certify(tape, bits=54, cap=216)[1]
    assert proof.bits == 216, "the precision was not raised to the cap"
    branch = next(node.id for node in tape.nodes if node.op == "positive")
    assert dict(proof.undecided) == {branch: 3}
    assert proof.branches == 3
    before, after = tape.target("before").id, tape.target("after").id
    assert proof.given[before] == 0
    assert proof.given[after] == 3
    assert proof.statement(before) == "certified"
    assert proof.statement(after) == "certified given 3 branches"


def test_an_open_decision_goes_to_the_midpoints_side() -> None:
    ball = Ball()
    zero = _around_zero(ball)
    above, below = (ball.add(zero, ball.lift(np.array([sign * 2.0**-110]))) for sign in (1, -1))
    for x, expected in ((above, True), (below, False)):
        assert ball.positive(x).tolist() == [expected]
        assert ball.greater(x, ball.lift(np.zeros(1))).tolist() == [expected]
        assert ball.greater(ball.lift(np.zeros(1)), x).tolist() == [not expected]
        assert _doubts(ball) == [True]
    pair = np.concatenate([below, above])
    assert ball.argmax(pair, 0) == 1
    assert ball.argmax(pair[::-1], 0) == 0


def test_a_branch_that_more_bits_decide_is_decided() -> None:
    from analysis.certified import certify

    builder = Builder("near")
    x = builder.leaf("input", np.array([2.0**-80]))
    one = builder.constant(1.0)
    zero = (one + x).exp() / one.exp() - one  # 2^-80, once the precision passes that
    builder.target("y", relu(zero))
    run, proof = certify(builder.build(), bits=60)
    assert proof.undecided == {}
    assert proof.bits == 120
    assert run.value("y")[0] == pytest.approx(2.0**-80, rel=1e-15)


def test_without_flint_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['flint'] = None\n"
        "import analysis as an; from analysis.reference import reference; from floatemu import UnsupportedError\n"
        "try: reference(an.nets.chain(1.0, 0.5, 2), 'ball')\n"
        "except UnsupportedError as error: print(error)\n"
        "print(reference(an.nets.chain(1.0, 0.5, 2), 'auto').kind)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["balls need python-flint: pip install 'floatemu[flint]'", "float64"]
