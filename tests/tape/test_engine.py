"""Replays against hand-written numpy code, bit for bit; references; pinning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from analysis.arithmetics import elementary
from analysis.comparison import compare_nodes, compare_target
from analysis.ops import Builder, relu
from analysis.reference import reference
from floatemu.errors import UnsupportedError

FORMATS = ["binary32", "bfloat16", "binary16", "e5m2", "e4m3fn", "e2m1fn", "binary8p3sf"]
MODES = ["rne", "toward_zero", "toward_positive", "to_odd"]


def bits(x: Any) -> bytes:
    return np.asarray(x, dtype=np.float64).tobytes()


@pytest.mark.parametrize("fmt", [*FORMATS, "binary64"])
@pytest.mark.parametrize("mode", MODES)
def test_chain_equals_ten_lines_of_numpy(fmt: str, mode: str) -> None:
    run = an.replay(an.nets.chain(5.3, 0.7, 12), an.Policy.uniform(fmt, mode))
    g, m = fe.round(np.array(5.3), fmt, mode), fe.round(np.array(0.7), fmt, mode)
    for step in range(1, 13):
        g = fe.round(np.asarray(g * m), fmt, mode)
        assert bits(run.value(1 + step)) == bits(g)


def _sum(x: np.ndarray, axis: int) -> np.ndarray:
    return np.add.accumulate(x, axis=axis).take(-1, axis=axis)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    total = np.zeros((a.shape[0], b.shape[1]))
    for k in range(a.shape[1]):
        total = total + a[:, k, None] * b[None, k, :]
    return total


@pytest.mark.parametrize("fmt", ["bfloat16", "binary16", "e5m2", "e4m3fn", "binary32", "binary64"])
def test_golden_uniform_policy_on_the_network_equals_hand_written_numpy(fmt: str) -> None:
    tape = an.nets.mlp((64, 6, 10), "relu", batch=5, seed=3)
    run = an.replay(tape, an.Policy.uniform(fmt))
    leaves = [tape.data[node.id] for node in tape.nodes if node.op in ("input", "parameter")]

    def r(x: Any) -> np.ndarray:
        return fe.round(np.asarray(x), fmt)

    with np.errstate(all="ignore"):
        x, w0, b0, w1, b1 = (r(leaf) for leaf in leaves)
        labels = tape.data[1]
        h = r(r(_dot(x, w0)) + b0)
        a = np.where(h > 0, h, 0.0)
        z = r(r(_dot(a, w1)) + b1)
        z = r(z - z.max(axis=1, keepdims=True))
        e = r(elementary.exp(z))
        s = r(_sum(e, 1))
        n = r(np.array(5.0))
        losses = r(r(elementary.log(s)) - z[np.arange(5), labels])
        loss = r(r(_sum(losses, 0)) / n)
        g = np.full(5, r(r(np.array(1.0)) / n))
        picked = np.zeros((5, 10))
        picked[np.arange(5), labels] = -g
        gz = r(picked + r(r(g / s)[:, None] * e))
        gh = np.where(h > 0, r(_dot(gz, w1.T)), 0.0)
        expected = {
            "logits": r(r(_dot(a, w1)) + b1),
            "loss": loss,
            "grad:W1": r(_dot(a.T, gz)),
            "grad:b1": r(_sum(gz, 0)),
            "grad:W0": r(_dot(x.T, gh)),
            "grad:b0": r(_sum(gh, 0)),
        }
    for name, value in expected.items():
        found = run.value(name)
        assert np.array_equal(found, value, equal_nan=True), name
        assert found.shape == value.shape


def test_stochastic_replays_repeat_with_the_seed_and_differ_by_step() -> None:
    tape = an.nets.chain(1.1, 0.9, 8)
    policy = an.Policy.uniform("bfloat16", "stochastic_c", seed=5)
    first, again, later = an.replay(tape, policy), an.replay(tape, policy), an.replay(tape, policy, step=1)
    values = [[run.value(i).item() for i in range(len(tape))] for run in (first, again, later)]
    assert values[0] == values[1]
    assert values[0] != values[2]
    g, m = (
        fe.round(tape.data[i], "bfloat16", "stochastic_c", seed=5, stream=policy.stream(tape.nodes[i], 0, 0))
        for i in (0, 1)
    )
    one = fe.round(g * m, "bfloat16", "stochastic_c", seed=5, stream=policy.stream(tape.nodes[2], 0, 0))
    assert values[0][2] == float(one)


def test_stochastic_rounding_is_unbiased_over_steps() -> None:
    tape = an.nets.chain(1.0, 1.001, 1)
    policy = an.Policy.uniform("bfloat16", "stochastic_c", seed=1)
    results = [an.replay(tape, policy, step=step).value("result").item() for step in range(2000)]
    # the multiplier's cast goes to 1 or 1 + 2^-7; the mean's standard error is 0.00006
    assert abs(np.mean(results) - 1.001) < 0.0003


@pytest.mark.parametrize("net", ["relu", "gelu", "gelu_tanh", "tanh"])
def test_mpmath_agrees_with_float64_on_every_node(net: str) -> None:
    tape = an.nets.mlp((64, 8, 10), net, batch=6)
    found = reference(tape)
    assert found.checked
    assert found.bits >= 212
    float64 = an.replay(tape, an.Float64())
    for node in tape.nodes:
        a, b = float64.value(node.id), found.run.value(node.id)
        if a.dtype.kind == "f":
            assert an.measures.relative_error(a, b, found.run.tail(node.id)) < 1e-14, node.label
        else:
            assert np.array_equal(a, b)


def test_mpmath_context_of_the_caller_is_left_alone() -> None:
    import mpmath

    before = mpmath.mp.prec
    reference(an.nets.chain(1.0, 0.3, 3))
    assert mpmath.mp.prec == before


def test_a_reference_that_needs_more_digits_takes_them() -> None:
    builder = Builder("cancel")
    x, one = builder.leaf("input", np.array(2.0**-150)), builder.constant(1.0)
    builder.target("x", (one + x) - one)
    found = reference(builder.build())
    assert found.run.value("x").item() == 2.0**-150
    assert found.bits == 424  # 106 loses x, 212 and 424 agree


def test_a_reference_may_be_zero_where_mathematics_says_so() -> None:
    builder = Builder("zero")
    x = builder.leaf("input", np.array([0.1, 0.2]))
    root = x.sqrt()
    builder.target("zero", root * root - x)
    assert np.abs(reference(builder.build()).run.value("zero")).max() < 1e-60


def test_unreasonable_requests_for_a_reference_are_refused() -> None:
    tape = an.nets.chain(1.0, 0.5, 2)
    with pytest.raises(UnsupportedError, match="reference='exact'; accepted: mpmath, ball, float64, auto"):
        reference(tape, "exact")
    with pytest.raises(UnsupportedError, match=r"bits=53: the reference's precision"):
        reference(tape, bits=53)
    builder = Builder("large")
    big = builder.leaf("input", np.zeros((700, 700)))
    builder.target("x", big @ big)
    with pytest.raises(UnsupportedError, match=r"multiplications in matrix products.*use reference='float64'"):
        reference(builder.build())
    builder = Builder("long")
    x = builder.leaf("input", np.zeros(10**6))
    for _ in range(5):
        x = -x
    with pytest.raises(UnsupportedError, match=r"hold 6e\+06 numbers"):
        reference(builder.build())


def test_double_double_tails_carry_106_bits() -> None:
    exact = an.Exact(200)
    third = exact.div(exact.lift(np.array([1.0, -2.0, 0.0])), exact.lift(np.array([3.0, 7.0, 5.0])))
    head, tail = exact.lower(third)
    from fractions import Fraction

    for value, rest, true in zip(head, tail, [Fraction(1, 3), Fraction(-2, 7), Fraction(0)], strict=True):  # type: ignore[arg-type]
        assert abs(Fraction(value) + Fraction(rest) - true) <= abs(true) * Fraction(1, 2**106)
        assert float(true) == value


def test_exact_arithmetic_follows_ieee_at_the_poles() -> None:
    exact = an.Exact(100)
    lift = exact.lift
    x = lift(np.array([1.0, -1.0, 0.0, np.nan]))
    zero = lift(np.zeros(4))
    assert np.array_equal(exact.lower(exact.div(x, zero))[0], [np.inf, -np.inf, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(exact.lower(exact.log(x))[0], [0.0, np.nan, -np.inf, np.nan], equal_nan=True)
    assert np.array_equal(exact.lower(exact.sqrt(x))[0], [1.0, np.nan, 0.0, np.nan], equal_nan=True)
    assert exact.lower(exact.exp(lift(np.array([1e4]))))[0].item() == np.inf


def test_local_and_inherited_errors_add_up_to_the_error() -> None:
    tape = an.nets.mlp((64, 8, 10), "tanh", batch=6)
    exact = reference(tape).run
    run = an.replay(tape, an.Policy.uniform("bfloat16"))
    for node in compare_nodes(run, exact):
        if node.error is None:
            continue
        record, value, true = run.records[node.id], run.value(node.id), exact.value(node.id)
        raw = value if record is None else record.raw
        # as vectors they add; as norms they obey the triangle inequality
        assert np.abs((value - raw) + (raw - true) - (value - true)).max() <= 1e-15 * (1 + np.abs(true).max())
        assert node.error <= (node.local_error or 0) + (node.inherited_error or 0) + 1e-15
        if tape.nodes[node.id].leaf:
            assert node.inherited_error == 0
        if node.format == "bfloat16":
            assert node.local_error is not None
            assert node.local_error <= 2.0**-8


def test_local_errors_of_binary64_are_seen_through_mpmath() -> None:
    tape = an.nets.chain(1.0, 0.3, 5)
    blind = an.replay(tape, an.Policy.uniform("binary64"))
    seeing = an.replay(tape, an.Policy.uniform("binary64"), local="mpmath")
    inexact = [
        [i for i in range(2, 7) if run.records[i].flags & fe.Flag.INEXACT]  # type: ignore[union-attr]
        for run in (blind, seeing)
    ]
    assert inexact == [[], [3, 4, 5, 6]]  # 1 * 0.3 is exact
    assert bits(blind.value("result")) == bits(seeing.value("result"))


def test_local_error_below_the_least_binary64_number_is_still_underflow() -> None:
    run = an.replay(an.nets.chain(1e-320, 0.3, 1), an.Policy.uniform("binary64"), local="mpmath")
    assert [(event.kind, event.result) for event in run.events] == [("underflow", "subnormal")]


def test_binary64_is_tiny_after_rounding_not_before() -> None:
    # (1 + e)(1 - e) 2^-1022 = (1 - 2^-104) 2^-1022 lies below the least normal number, but rounds to it with 53 bits
    # and an unbounded exponent too: inexact, not underflow
    tape = an.nets.chain(float.fromhex("0x1.0000000000001p-1022"), 1 - 2.0**-52, 1)
    run = an.replay(tape, an.Policy.uniform("binary64"), local="mpmath")
    assert run.value("result").item() == 2.0**-1022
    assert int(run.records[2].flags) == fe.Flag.INEXACT  # type: ignore[union-attr]
    assert run.events == ()


def test_pinned_replays_take_over_every_decision() -> None:
    builder = Builder("knife")
    # 1 + 2^-10 is positive only where the last bits survive: bfloat16 decides otherwise
    x = builder.leaf("input", np.array([1.0 + 2.0**-10, 3.0]))
    y = relu(x - builder.constant(1.0))
    builder.target("y", y.sum(0))
    tape = builder.build()
    exact = an.replay(tape, an.Float64())
    policy = an.Policy.uniform("bfloat16")
    branch = next(node.id for node in tape.nodes if node.op == "positive")
    free, pinned, again = (
        an.replay(tape, policy),
        an.replay(tape, policy, pinned=exact),
        an.replay(tape, policy, pinned=True),
    )
    assert free.value(branch).tolist() == [False, True]
    assert pinned.value(branch).tolist() == again.value(branch).tolist() == [True, True]
    assert pinned.pinned
    assert not free.pinned
    with pytest.raises(UnsupportedError, match="pinned is a run of 3 nodes"):
        an.replay(tape, policy, pinned=an.replay(an.nets.chain(1.0, 1.0, 1), an.Float64()))


def test_branch_flips_own_most_of_the_gradient_error_of_a_relu_net() -> None:
    found = an.analyze(an.nets.mlp(), an.Policy.uniform("bfloat16"), "float64")
    free = found.target("grad:W0").rel_error
    pinned = compare_target(found.runs["pinned"], found.runs["exact"], "grad:W0").rel_error
    assert any(event.kind == "branch_flip" and event.op == "positive" for event in found.events)
    assert 1 - (pinned / free) ** 2 > 0.9


def test_first_order_growth_of_smooth_nets_follows_the_format_ladder() -> None:
    # acceptance experiment 17: bfloat16 errors are about 2^(11-8) times binary16's in smooth nets
    ratios = []
    for seed in range(5):
        tape = an.nets.mlp((64, 16, 16, 10), "tanh", batch=16, seed=seed)
        errors = [
            an.analyze(tape, an.Policy.uniform(fmt), "float64").target("grad:W0").rel_error for fmt in ("bf16", "fp16")
        ]
        ratios.append(errors[0] / errors[1])
    assert 5 < sorted(ratios)[2] < 12


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="local='exact'"):
        an.replay(an.nets.chain(1.0, 1.0, 1), an.Float64(), local="exact")
