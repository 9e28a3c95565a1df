"""Attribution: contributions add up to the measured error, and where they cannot, the reason is named."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from analysis.adjoint import adjoints
from analysis.attribution import GROUPS, TOLERANCE, attribute
from analysis.tape import TapeError, Value


def runs(tape: Any, fmt: str) -> tuple[Any, Any, Any]:
    """Emulated, exact, and pinned replay."""
    exact = an.replay(tape, an.Float64())
    return an.replay(tape, an.Policy.uniform(fmt)), exact, an.replay(tape, an.Policy.uniform(fmt), pinned=exact)


def test_adjoints_are_derivatives_of_every_node() -> None:
    """Against central differences of the tape itself: the gradients on it have second derivatives."""
    tape = an.nets.mlp((64, 5, 10), "tanh", batch=3)
    base = an.replay(tape, an.Float64())
    what = tape.targets["grad:W0"]
    seed = np.random.default_rng(0).standard_normal(base.value(what).shape)
    found = dict(adjoints(base, what, seed))
    rng = np.random.default_rng(1)
    for leaf in (0, 2, 3):
        direction = rng.standard_normal(tape.nodes[leaf].shape)
        values = []
        for sign in (1, -1):
            data = {**tape.data, leaf: tape.data[leaf] + sign * 2.0**-20 * direction}
            moved = an.replay(an.Tape(tape.nodes, data, tape.targets), an.Float64()).value(what)
            values.append(float((seed * moved).sum()))
        slope = (values[0] - values[1]) * 2.0**19
        # central differences: error h^2/6 times a third derivative, and 2^-53/h of the value
        assert math.isclose(slope, float((found[leaf] * direction).sum()), rel_tol=2.0**-25)


def test_stopped_gradients_still_carry_errors() -> None:
    """The shift of a softmax is held constant in the backward pass; what it computes depends on it all the same."""
    tape = an.nets.mlp((64, 10), batch=2)
    detach = next(node for node in tape.nodes if node.op == "detach")
    found = dict(adjoints(an.replay(tape, an.Float64()), tape.targets["loss"], np.ones(())))
    assert detach.id in found


SMOOTH = ("tanh", "gelu", "silu")


def check_sums(tape: an.Tape, fmt: str) -> None:
    """Contributions to the loss, and to every gradient's norm, add up to what was measured, within 1 %."""
    run, exact, pinned = runs(tape, fmt)
    gradients = [name for name in tape.targets if name.startswith("grad:")]
    assert not [event for event in run.events if event.fatal]
    for target in ("loss", *gradients):
        found = attribute(run, exact, target, None, pinned)
        assert found.order == "first", (target, found.reason)
        assert abs(found.sum - found.measured) <= 0.01 * max(abs(found.measured), found.rss)


@pytest.mark.parametrize("depth", range(1, 9))
@pytest.mark.parametrize("fmt", ["bfloat16", "binary16"])
@pytest.mark.parametrize("activation", SMOOTH)
def test_contributions_add_up_in_smooth_nets(activation: str, fmt: str, depth: int) -> None:
    for seed in range(2):
        check_sums(an.nets.mlp((64, *(12,) * depth, 10), activation, batch=4, seed=seed), fmt)


@pytest.mark.slow
@pytest.mark.parametrize("depth", range(1, 9))
@pytest.mark.parametrize("fmt", ["bfloat16", "binary16"])
@pytest.mark.parametrize("activation", SMOOTH)
def test_contributions_add_up_whatever_the_width_start_and_seed(activation: str, fmt: str, depth: int) -> None:
    """Widths from 6 to 48, batches from 1 to 32, four ways to draw weights."""
    draw = np.random.default_rng([depth, len(activation), len(fmt)])
    for init in ("he", "xavier", "lecun", "orthogonal"):
        for width in (6, 16, 48):
            batch, seed = int(draw.choice([1, 2, 8, 32])), int(draw.integers(2**20))
            check_sums(an.nets.mlp((64, *(width,) * depth, 10), activation, batch=batch, seed=seed, init=init), fmt)


@pytest.mark.parametrize("activation", SMOOTH)
def test_every_way_to_group_contributions_adds_up(activation: str) -> None:
    tape = an.nets.mlp((64, 12, 12, 10), activation, batch=4)
    run, exact, pinned = runs(tape, "bfloat16")
    for target in ("loss", "grad:W0"):
        for functional in (None, "error"):
            found = attribute(run, exact, target, functional, pinned)
            assert found.order == "first", (target, found.reason)
            for group in GROUPS:
                assert math.isclose(math.fsum(found.by(group).values()), found.sum, rel_tol=1e-12, abs_tol=1e-300)


def test_where_errors_are_too_large_to_add_up_it_is_said() -> None:
    """A layer of three units normalised: what little is left of the first gain's gradient is of second order."""
    tape = an.nets.mlp((64, *(3,) * 7, 10), "gelu", batch=1, seed=549445, init="xavier", norm="layer")
    run, exact, pinned = runs(tape, "bfloat16")
    found = attribute(run, exact, "grad:g0", None, pinned)
    assert not [event for event in run.events if event.kind in ("underflow", "overflow")]
    assert abs(found.residual) > 0.5 * abs(found.measured)
    assert (found.order, found.reason) == ("not-first-order", "the errors are too large for their effects to add up")


def test_underflow_in_a_deep_gelu_net_is_named() -> None:
    tape = an.nets.mlp((64, *(24,) * 24, 10), "gelu", batch=8, init="xavier")
    run, exact, pinned = runs(tape, "binary16")
    found = attribute(run, exact, "grad:W0", None, pinned)
    assert found.order == "not-first-order"
    assert found.reason.startswith("underflow at %")
    node = int(found.reason.split("%")[1].split()[0])
    assert tape.nodes[node].direction == "backward"
    assert any(event.node == node and event.flushed and event.produced for event in run.events)
    assert abs(found.by("cause")["underflow"]) > 0


def test_a_flip_is_free_minus_pinned() -> None:
    tape = an.nets.mlp((64, 32, 32, 32, 32, 10), "relu", batch=16)
    run, exact, pinned = runs(tape, "bfloat16")
    found = attribute(run, exact, "grad:W0", "error", pinned)
    norm = lambda r: math.sqrt(((r.value("grad:W0") - exact.value("grad:W0")) ** 2).sum())  # noqa: E731
    assert math.isclose(found.by("cause")["branch_flip"], norm(run) - norm(pinned), rel_tol=1e-12)
    assert found.order == "first"
    flip = next(part for part in found.contributions if part.cause == "branch_flip")
    assert tape.nodes[flip.node].op == "positive"
    with pytest.raises(fe.UnsupportedError, match="give pinned="):
        attribute(run, exact, "grad:W0", "error")


def test_infinities_are_named_and_never_summed() -> None:
    tape = an.nets.chain(1e5, 0.25, 10)
    run, exact, _ = runs(tape, "binary16")
    found = attribute(run, exact, "result")
    assert found.reason == "overflow at %0 input (cast, backward)"
    assert found.broken[0] == 0
    assert all(math.isfinite(part.value) for part in found.contributions)
    assert math.isnan(found.shares()[0])


def test_the_chain_in_bfloat16_is_explained_by_its_cast() -> None:
    """1e5 * 0.25^10: nothing rounds but the cast, 160 of 100000; the adjoint of the start is 0.25^10 exactly."""
    tape = an.nets.chain(1e5, 0.25, 10)
    run, exact, _ = runs(tape, "bfloat16")
    found = attribute(run, exact, "result")
    assert [(part.node, part.cause) for part in found.contributions] == [(0, "rounding")]
    assert Fraction(found.sum) == Fraction(-160) / 4**10 == Fraction(found.measured)
    assert found.ratio == 1
    assert found.top(1)[0].label == "%0 input (cast, backward)"


def test_functionals() -> None:
    tape = an.nets.mlp((64, 6, 10), "tanh", batch=4)
    run, exact, pinned = runs(tape, "bfloat16")
    one = attribute(run, exact, "grad:W0", (3, 2), pinned)
    assert one.measured == run.value("grad:W0")[3, 2] - exact.value("grad:W0")[3, 2]
    assert abs(one.residual) <= TOLERANCE * max(abs(one.measured), one.rss)
    norm = attribute(run, exact, "grad:W0", "norm", pinned)
    lengths = [math.sqrt(math.fsum((x * x).ravel())) for x in (run.value("grad:W0"), exact.value("grad:W0"))]
    assert math.isclose(norm.measured, lengths[0] - lengths[1], rel_tol=1e-9)
    shares = attribute(run, exact, "grad:W0", "error", pinned).shares()
    assert math.isclose(math.fsum(shares.values()), an.analyze(tape, "bf16").target("grad:W0").rel_error, rel_tol=0.01)
    for wrong in ("mean", "value", (1,), (64, 0)):
        with pytest.raises(fe.UnsupportedError):
            attribute(run, exact, "grad:W0", wrong, pinned)  # type: ignore[arg-type]
    with pytest.raises(TapeError):
        attribute(run, exact, "grad:W7", None, pinned)
    with pytest.raises(fe.UnsupportedError, match="accepted: node, op, layer"):
        norm.by("module")


def test_binary32_is_explained_too() -> None:
    """Where binary64 cannot hold local errors to a percent, the run keeps them to 106 bits."""
    tape = an.nets.mlp((64, 12, 10), "tanh", batch=6)
    found = an.analyze(tape, "binary32").attribution("grad:W0")
    assert found.order == "first"
    assert 0 < abs(found.measured) < 1e-6


def test_analysis_reports_completeness_and_shares() -> None:
    found = an.analyze(an.nets.mlp((64, 12, 10), "tanh", batch=6), "bf16", "float64")
    json = found.to_json()
    assert json["completeness"]["order"] == "first"
    assert json["completeness"]["target"] == "grad:W0"
    assert math.isclose(sum(node["contribution"] for node in json["nodes"]), json["target"]["rel_error"], rel_tol=0.01)
    worst = max(found.nodes, key=lambda node: abs(node.contribution or 0.0))
    assert f"Most harm is done by {worst.label}" in found.verdict()


def test_trapezoid_is_exact_for_products() -> None:
    """x y is quadratic: the mean of the adjoints at both points leaves nothing out, however large the errors."""
    builder = an.record_numpy(lambda x, y: (x * y).sum(), np.array([1.3, 2.7]), np.array([3.1, -0.4]))
    exact = an.replay(builder, an.Float64())
    run = an.replay(builder, an.Policy.uniform("e2m1fn"))
    found = attribute(run, exact, next(iter(builder.targets)))
    assert math.isclose(found.sum, found.measured, rel_tol=1e-15)
    assert abs(found.measured) > 0.05
    assert Value(0) in [Value(part.node) for part in found.contributions]
