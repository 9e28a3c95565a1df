"""Growth along depth and time, and loss-scale intervals, against what linear nets make by construction."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from analysis.dynamics import Growth, _interval, growth, loss_scale, stages
from analysis.ops import Builder


def linear(factors: list[np.ndarray], start: np.ndarray, timed: bool = True) -> Any:
    """h <- h @ W for each W; the loss is the sum of the last h."""
    builder = Builder("linear")
    with builder.at("data"):
        hidden = builder.leaf("input", start)
    weights = []
    for index, factor in enumerate(factors):
        with builder.at("cell" if timed else f"layer{index}", step=index if timed else None):
            weights.append(builder.leaf("parameter", factor))
            hidden = hidden @ weights[-1]
    with builder.at("loss" if not timed else "cell", step=len(factors) if timed else None):
        loss = hidden.sum(1).sum(0)
    builder.target("loss", loss)
    for index, gradient in enumerate(builder.backward(loss, weights)):
        builder.target(f"grad:W{index}", gradient)
    return builder.build()


def orthogonal(size: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


@pytest.mark.parametrize("rho", [0.5, 0.9, 1.0, 1.5])
def test_experiment_7_an_orthogonal_recurrence_grows_by_rho_each_step(rho: float) -> None:
    steps = 20
    tape = linear([rho * orthogonal(6, 3)] * steps, np.random.default_rng(0).standard_normal((2, 6)))
    found = growth(an.replay(tape, an.Float64()), directions=3)
    assert len(found.norms) == steps
    # every direction grows by rho: QR and products in binary64, some hundred operations of a few ulp each
    assert math.isclose(found.rate, rho, rel_tol=1e-12)
    assert all(math.isclose(x, math.log(rho), abs_tol=1e-12) for x in found.exponents)
    assert math.isclose(found.norms[-1] / found.norms[0], rho ** (steps - 1), rel_tol=1e-12)


def test_experiment_7_where_the_range_ends() -> None:
    """By formula, from amax 1: 1.5^t > 65504 at t = 28; binary32 and bfloat16 at 219; 0.5^25 is half of 2^-24."""

    def crossing(rate: float) -> Growth:
        return Growth(("b", "a"), (1.0, rate), (math.log(rate),), rate, 1.0)

    assert crossing(1.5).overflow_stage("binary16") == 28
    assert crossing(1.5).overflow_stage("binary32") == 219
    assert crossing(1.5).overflow_stage("bfloat16") == 219
    assert crossing(0.5).underflow_stage("binary16") == 25
    assert crossing(0.5).overflow_stage("binary16") is None
    assert crossing(1.0).overflow_stage("e4m3fn") is None
    assert Growth(("b", "a"), (1.0, 2.0), (), 2.0, 1e6).overflow_stage("binary16") == 0


def test_exponents_of_unequal_directions_come_sorted() -> None:
    factor = np.diag([2.0, 1.0, 0.25])
    found = growth(an.replay(linear([factor] * 30, np.ones((1, 3))), an.Float64()), directions=3)
    # the sum is ln |det|, exactly; each one by itself is off by the start's share, some e-fold over 29 steps
    assert math.isclose(sum(found.exponents), math.log(0.5), rel_tol=1e-12)
    assert np.abs(np.array(found.exponents) - np.log([2.0, 1.0, 0.25])).max() < 5 / 29
    assert list(found.exponents) == sorted(found.exponents, reverse=True)


def test_stages_are_layers_or_steps_and_carry_all_that_crosses() -> None:
    layered = linear([np.eye(3)] * 4, np.ones((1, 3)), timed=False)
    assert [stage.name for stage in stages(layered)] == ["layer0", "layer1", "layer2", "layer3"]
    timed = linear([np.eye(3)] * 4, np.ones((1, 3)))
    assert [stage.name for stage in stages(timed)] == [f"step {i}" for i in range(4)]
    builder = Builder("skip")
    with builder.at("a"):
        x = builder.leaf("input", np.ones(2))
        u, v = x * x, x + x
    with builder.at("b"):
        w = u * u
    with builder.at("c"):
        loss = (w * v).sum(0)
    builder.target("loss", loss)
    first, second = stages(builder.build())
    assert first.nodes == (u.ref.node, v.ref.node)
    assert second.nodes == (v.ref.node, w.ref.node)
    found = growth(an.replay(builder.build(), an.Float64()), directions=1)
    # at b: loss = sum(w v), so |(v, w)| ; at a: d/du = 2 u v, d/dv = w
    assert math.isclose(found.norms[0], math.sqrt(2 * (2.0**2 + 1.0**2)))
    assert math.isclose(found.norms[1], math.sqrt(2 * ((2 * 1.0 * 2.0) ** 2 + 1.0**2)))


def test_growth_refuses_what_has_no_stages() -> None:
    tape = an.nets.chain(1.0, 0.5, 3)
    with pytest.raises(fe.UnsupportedError, match="at least two layers or time steps"):
        growth(an.replay(tape, an.Float64()), "result")
    with pytest.raises(fe.UnsupportedError, match="needs a scalar"):
        growth(an.replay(an.nets.mlp(batch=4), an.Float64()), "grad:W0")


def test_loss_scales_are_the_ones_that_work() -> None:
    """Each end of an interval tried by rounding: at 2^high nothing overflows, at 2^(high + 1) something does."""
    tape = linear([0.3 * orthogonal(8, 1)] * 12, np.random.default_rng(2).standard_normal((4, 8)))
    run, exact = an.replay(tape, an.Policy.uniform("e5m2")), an.replay(tape, an.Float64())
    found = loss_scale(run, exact, flushed=0)
    assert found.intervals
    for item in found.intervals:
        values = exact.value(item.node)
        at = {s: fe.round(values * 2.0**s, "e5m2") for s in (item.low - 1, item.low, item.high, item.high + 1)}
        assert np.isfinite(at[item.high]).all()
        assert not np.isfinite(at[item.high + 1]).all()
        assert (at[item.low][values != 0] != 0).all()
        assert (at[item.low - 1][values != 0] == 0).any()
    assert found.low == max(item.low for item in found.intervals)
    assert found.high == min(item.high for item in found.intervals)


@pytest.mark.parametrize("fmt", ["binary16", "e5m2", "e4m3fn", "bfloat16", "e2m1fn"])
def test_the_ends_of_an_interval_are_exact_on_ties(fmt: str) -> None:
    """Halves of the least number are lost; ties above the largest go up, but e4m3fn's 464."""
    form = fe.get_format(fmt)
    half, edge = float(form.min_positive) / 2, float(form.max) + 2.0 ** (form.emax - form.p)

    def survives(x: float) -> bool:
        value, flags = fe.round_with_flags(x, form, saturation="SAT_FINITE")
        return bool(value != 0) and not int(flags) & int(fe.Flag.OVERFLOW | fe.Flag.SATURATED)

    near = [1.0, 3.0, edge, np.nextafter(edge, 0), np.nextafter(edge, np.inf), half, np.nextafter(half, 1), 2.9999999]
    for start in near:
        x = float(start) * 2.0**-3
        found = _interval(0, "", form, x, x)
        assert survives(x * 2.0**found.low)
        assert not survives(x * 2.0 ** (found.low - 1))
        assert survives(x * 2.0**found.high)
        assert not survives(x * 2.0 ** (found.high + 1))


def test_loss_scales_know_casts_of_operands_and_sums() -> None:
    """A scale that every interval allows leaves gradients finite and one more does not, whichever rounding it is."""
    tape, wide = an.nets.mlp((64, 8, 10), "tanh", batch=4), an.Rule(an.Numerics(result="binary32"))
    exact = an.replay(tape, an.Float64())
    for product, what in (
        (an.Numerics(operands="binary16", result="binary32"), "cast of operand"),
        (an.Numerics(accumulate="binary16", result="binary32"), "sums"),
    ):
        policy = an.Policy("narrow", (an.Rule(product, op="matmul"), wide))
        found = loss_scale(an.replay(tape, policy), exact)
        tightest = min(found.intervals, key=lambda item: item.high)
        assert what in tightest.label
        assert tightest.format == "binary16"
        for exponent, fits in ((found.high, True), (found.high + 1, False)):
            run = an.replay(an.mitigations.on_tape(f"loss_scale:2^{exponent}", tape, policy)[0], policy)
            assert all(np.isfinite(run.value(name)).all() for name in tape.targets) is fits
    # activations that are cast are none of the loss scale's, nor is what is scaled to its format anyway
    cast = {item.node for item in loss_scale(an.replay(tape, an.Policy.named("fp8_recipe")), exact).intervals}
    assert all(tape.nodes[node].direction == "backward" for node in cast)
    fitted = an.Policy("fitted", (an.Rule(an.Numerics(operands="e5m2", result="e5m2", scaling="all")),))
    assert loss_scale(an.replay(tape, fitted), exact).intervals == ()


def test_loss_scales_of_the_fp8_recipe_are_those_of_its_gradients_format() -> None:
    tape, policy = an.nets.mlp((64, 8, 10), "tanh", batch=4), an.Policy.named("fp8_recipe")
    exact = an.replay(tape, an.Float64())
    found = loss_scale(an.replay(tape, policy), exact, flushed=0)
    casts = [item for item in found.intervals if item.format == "e5m2"]
    assert {item.format for item in found.intervals} == {"e5m2", "bfloat16", "binary32"}
    assert found.low == max(item.low for item in casts)
    assert found.high == min(item.high for item in casts)
    for item in casts:
        operand = tape.nodes[item.node].inputs[int(item.label[-1])]
        values = exact.value(operand)
        assert np.isfinite(fe.round(values * 2.0**item.high, "e5m2")).all()
        assert not np.isfinite(fe.round(values * 2.0 ** (item.high + 1), "e5m2")).all()
        assert (fe.round(values * 2.0**item.low, "e5m2")[values != 0] != 0).all()


def test_experiment_13_a_deep_narrowing_net_has_no_feasible_scale() -> None:
    """Xavier and ReLU shrink a gradient by about 2^-1/2 a layer: 48 of them span more than binary16 holds."""
    sizes = (64, *(32,) * 48, 10)
    deep = an.nets.mlp(sizes, "relu", batch=8, init="xavier")
    found = loss_scale(an.replay(deep, an.Policy.uniform("binary16")), an.replay(deep, an.Float64()))
    assert not found.feasible
    low, high = found.conflict
    assert (low.low, high.high) == (found.low, found.high)
    assert deep.nodes[low.node].path != deep.nodes[high.node].path
    flat = an.nets.mlp(sizes, "relu", batch=8, init="he")
    kept = loss_scale(an.replay(flat, an.Policy.uniform("binary16")), an.replay(flat, an.Float64()))
    assert kept.high - kept.low > found.high - found.low


def test_share_of_flushed_elements_moves_the_lower_end() -> None:
    builder = Builder("spread")
    with builder.at("layer"):
        x = builder.leaf("parameter", 2.0 ** -np.arange(40.0))
        loss = (x * x).sum(0)
    builder.target("loss", loss)
    builder.target("grad:x", builder.backward(loss, [x])[0])
    tape = builder.build()
    run, exact = an.replay(tape, an.Policy.uniform("binary16")), an.replay(tape, an.Float64())
    strict, loose = loss_scale(run, exact, flushed=0), loss_scale(run, exact, flushed=0.5)
    node = tape.targets["grad:x"].node
    lows = [next(item.low for item in found.intervals if item.node == node) for found in (strict, loose)]
    # gradient 2^(1-k): the smallest is 2^-38, half of them are at or above 2^-18; 2^-25 rounds to zero, more does not
    assert lows == [-24 + 38, -24 + 18]
    assert Fraction(2) ** -24 == fe.get_format("binary16").min_positive
    with pytest.raises(fe.UnsupportedError, match="share of elements"):
        loss_scale(run, exact, flushed=1.0)
