"""Bounds: proven ones hold on every draw and every net, and would be seen to break; estimates are what papers say."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis as an
import floatemu as fe
from analysis import bounds
from analysis.formulas import (
    block_fma,
    dot,
    drift,
    gamma,
    higham_mary,
    moments,
    recursive_sum,
    stochastic_rounding,
)
from analysis.ops import Builder
from analysis.tape import Tape
from floatemu.errors import UnsupportedError

MODES = [mode for mode in fe.Rounding if not mode.stochastic]
SMALL = {p: fe.Format(name=f"p{p}", k=p + 9, p=p, high_nans=2 ** (p - 1) - 1) for p in (1, 2, 3, 4)}


def _exact(terms: Any) -> Fraction:
    return sum((Fraction(x) for x in terms), Fraction(0))


def _sum_case(p: int) -> Any:
    significands = st.integers(2 ** (p - 1), 2**p - 1)
    number = st.builds(
        lambda m, e, s: s * m * 2.0**e, significands, st.integers(-p - 3, 3), st.sampled_from([1.0, -1.0])
    )
    return st.lists(number, min_size=1, max_size=14)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("p", [1, 2, 3])
def test_hard_bound_of_sums_holds_in_rationals(p: int, mode: fe.Rounding) -> None:
    @given(_sum_case(p))
    @settings(max_examples=60)
    def holds(terms: list[float]) -> None:
        found = float(fe.sum(terms, SMALL[p], mode))
        size = float(_exact(map(abs, terms)))
        bound = recursive_sum(len(terms) - 1, 2.0**-p, np.array(size), mode).item()
        assert abs(Fraction(found) - _exact(terms)) <= Fraction(bound)

    holds()


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("p", [2, 3])
def test_hard_bound_of_dot_products_holds_in_rationals(p: int, mode: fe.Rounding) -> None:
    @given(_sum_case(p), st.randoms(use_true_random=False))
    @settings(max_examples=60)
    def holds(x: list[float], random: Any) -> None:
        y = list(x)
        random.shuffle(y)
        found = float(fe.dot(x, y, SMALL[p], mode))
        products = [Fraction(a) * Fraction(b) for a, b in zip(x, y)]
        bound = dot(len(x), 2.0**-p, np.array(float(sum(map(abs, products)))), mode).item()
        # the bound itself is a binary64 number, off by its own roundings
        assert abs(Fraction(found) - sum(products)) <= Fraction(bound) * (1 + Fraction(1, 2**45))

    holds()


def test_every_sum_of_three_numbers_of_two_bits_keeps_to_the_bound() -> None:
    numbers = [s * m * 2.0**e for e in range(-4, 2) for m in (2, 3) for s in (1, -1)]
    triples = np.array(list(itertools.product(numbers, repeat=3)))
    exact, size = triples.sum(1), np.abs(triples).sum(1)  # few bits: exact in binary64
    for mode in MODES:
        error = np.abs(fe.sum(triples, SMALL[2], mode, axis=1) - exact)
        bound = recursive_sum(2, 0.25, size, mode)
        assert (error <= bound).all(), mode.name
        assert (error > 0.4 * bound).any(), f"{mode.name}: the bound is far from what happens"


def test_twice_the_bound_of_nearest_fails_upward_without_its_condition() -> None:
    terms = np.array([0.125, 2.0, 0.125, 0.125])
    up = fe.Rounding.TOWARD_POSITIVE
    error = float(fe.sum(terms, SMALL[2], up)) - 2.375
    twice = 2 * 3 * 0.25 * 2.375
    assert error == 3.625 > twice  # 6.105 u S, where 2 (n - 1) u S is 6 u S, and 2 (n - 1) u = 1.5 > 1
    assert error <= recursive_sum(3, 0.25, np.array(2.375), up)
    # while 2 (n - 1) u <= 1 it is the bound, and toward zero it is for every n
    assert recursive_sum(2, 0.25, np.array(1.0), up) == 1.0
    assert recursive_sum(99, 0.25, np.array(1.0), fe.Rounding.TOWARD_ZERO) == 49.5


def test_bounds_beyond_gammas_reach_still_hold() -> None:
    ones = np.ones(4096)
    found = fe.sum(ones, "bf16")
    assert found == 256.0
    bound = recursive_sum(4095, 2.0**-8, np.array(4096.0))
    assert abs(found - 4096) <= bound
    assert gamma(4095, 2.0**-8) == math.inf


def _node(run: an.Run, op: str) -> Any:
    return next(node for node in run.tape.nodes if node.op == op)


NETS = {
    "mlp": lambda: an.nets.mlp((64, 8, 10), batch=4),
    "llama": lambda: an.nets.llama(layers=1, width=8, heads=2, kv_heads=1, length=4, vocabulary=9),
}


def _throughout(fmt: str, mode: str, order: str = "sequential", accumulate: str | None = None) -> an.Policy:
    numerics = an.Numerics(
        accumulate=accumulate or fmt,
        result=fmt,
        order=order,
        projection=fe.Projection(mode),  # type: ignore[arg-type]
    )
    return an.Policy(f"{fmt} {mode} {order}", (an.Rule(numerics),))


POLICIES: dict[str, Any] = {
    "bf16": lambda: an.Policy.uniform("bf16"),
    "e5m2 toward zero": lambda: an.Policy.uniform("e5m2", "toward_zero"),
    "fp16 up": lambda: an.Policy.uniform("fp16", "toward_positive"),
    "e4m3fn saturating": lambda: an.Policy.uniform("e4m3fn", saturation="SatFinite"),
    "e2m1fn": lambda: an.Policy.uniform("e2m1fn"),
    "bf16 at random": lambda: an.Policy.uniform("bf16", "stochastic_c", random_bits=8),
    "fp32": lambda: an.Policy.uniform("fp32"),
    "torch_amp": lambda: an.Policy.named("torch_amp"),
    "fp8_recipe": lambda: an.Policy.named("fp8_recipe"),
    "bf16 throughout": lambda: an.Policy.mixed("bf16", accumulate="bf16", keep=(), master="bf16"),
    "e4m3fn throughout": lambda: an.Policy.mixed("e4m3fn", accumulate="e4m3fn", keep=(), master="e4m3fn"),
    "bf16 up throughout": lambda: _throughout("bf16", "toward_positive"),
    "e5m2 toward zero throughout": lambda: _throughout("e5m2", "toward_zero"),
    "bf16 at random throughout": lambda: _throughout("bf16", "stochastic_c"),
    "e2m1fn at random in e5m2": lambda: _throughout("e2m1fn", "stochastic_a", accumulate="e5m2"),
    "bf16 down in pairs": lambda: _throughout("bf16", "toward_negative", "pairwise"),
    "bf16 in blocks": lambda: _throughout("bf16", "rne", "blocked(4)"),
    "e5m2 in e2m1fn": lambda: an.Policy.mixed("e5m2", accumulate="e2m1fn", keep=()),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("net", NETS)
def test_no_replay_breaks_a_hard_bound(net: str, policy: str) -> None:
    tape, chosen = NETS[net](), POLICIES[policy]()
    found = bounds.check(an.replay(tape, chosen, step=3), chosen, step=3)
    assert len(found) == sum(node.op in ("sum", "matmul") for node in tape.nodes)
    assert all(bound.used <= 1 for bound in found)
    if net == "mlp":  # a bound that nothing comes near would not notice a defect (a Llama in 4 bits is all zeros)
        assert max(bound.used for bound in found) > 0.05


@pytest.mark.parametrize("op", ["sum", "matmul"])
@pytest.mark.parametrize("policy", ["bf16", "bf16 throughout", "fp16 up"])
def test_a_wrong_result_breaks_the_bound_and_is_raised(policy: str, op: str) -> None:
    tape, chosen = NETS["mlp"](), POLICIES[policy]()
    run = an.replay(tape, chosen)
    node = _node(run, op)
    bound = bounds.of(run, node, chosen)
    wrong = run.value(node.id).copy()
    wrong.flat[0] += 1.5 * bound.hard.flat[0] + bound.measured.flat[0]
    values = list(run.values)
    values[node.id] = (wrong,)
    broken = replace(run, values=tuple(values))
    assert bounds.of(broken, node, chosen).broken == 1
    with pytest.raises(bounds.BoundBroken, match=rf"%{node.id} {op} .*1 elements lie beyond .* please report it"):
        bounds.check(broken, chosen)


def test_the_measured_error_is_against_the_exact_sum_of_the_operands_as_cast() -> None:
    builder = Builder("product")
    x, y = builder.leaf("input", np.array([[0.3, 0.7]])), builder.leaf("input", np.array([[1.1], [2.3]]))
    builder.target("p", x @ y)
    policy = an.Policy("cast", (an.Rule(an.Numerics(operands="e4m3fn", accumulate="bf16", result="bf16")),))
    run = an.replay(builder.build(), policy)
    a, b = fe.round(run.value(0), "e4m3fn"), fe.round(run.value(1), "e4m3fn")
    exact = sum(Fraction(p) * Fraction(q) for p, q in zip(a.ravel().tolist(), b.ravel().tolist()))
    found = bounds.of(run, 2, policy)
    assert Fraction(found.measured.item()) == abs(Fraction(run.value("p").item()) - exact)
    assert found.estimates["block_fma"] == block_fma(2, 2.0**-4, 2.0**-8)
    assert (found.terms, found.accumulator) == (2, "bfloat16")


def test_of_compensated_sums_and_devices_nothing_is_proven_and_nothing_broken() -> None:
    tape = NETS["mlp"]()
    kahan = _throughout("bf16", "rne", "kahan")
    found = bounds.check(an.replay(tape, kahan), kahan)
    assert all(bound.void == bound.hard.size and bound.used == 0 for bound in found)
    assert any(bound.measured.any() for bound in found)
    unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")  # cuts its sums at 14 bits
    on_device = an.Rule(an.Numerics(unit=unit, result="fp32"), op="matmul")
    policy = an.Policy("device", (on_device, an.Rule(an.Numerics(result="fp32"))))
    run = an.replay(tape, policy)
    products = [bound for bound in bounds.check(run, policy) if bound.op == "matmul"]
    assert all((bound.accumulator, bound.void) == ("binary32", bound.hard.size) for bound in products)
    assert any((bound.measured > dot(bound.terms, 2.0**-24, bound.magnitude)).any() for bound in products)


def test_a_sum_in_pairs_is_measured_in_pairs() -> None:
    builder = Builder("pairs")
    builder.target("t", builder.leaf("input", np.ones((1, 4096))).sum(1))
    policy = _throughout("bf16", "rne", "pairwise")
    found = bounds.of(an.replay(builder.build(), policy), 1, policy)
    assert (found.measured.item(), found.result_drift, found.broken) == (0.0, 0.0, 0)


def test_beyond_the_range_a_bound_is_void_not_broken() -> None:
    def total(terms: list[float], **numerics: Any) -> bounds.Bound:
        builder = Builder("total")
        builder.target("t", builder.leaf("input", np.array([terms])).sum(1))
        policy = an.Policy("p", (an.Rule(an.Numerics(), op="input"), an.Rule(an.Numerics(**numerics))))
        return bounds.of(an.replay(builder.build(), policy), 1, policy)

    assert total([6e4, 6e4], result="fp16").void == 1
    assert total([6e4, 6e4], result="fp16", projection=fe.Projection(saturation="SatFinite")).void == 1
    # in a format that saturates silently, partial sums alone show what happened
    stuck = total([6.0, 6.0, -6.0], accumulate="e2m1fn")
    assert (stuck.void, stuck.broken) == (1, 0)
    assert total([1.0, 1.0], accumulate="e2m1fn", result="e2m1fn").void == 0
    assert total([np.inf, 1.0], result="fp16").void == 1


def test_terms_that_the_accumulator_does_not_hold_may_be_lost_below_its_range() -> None:
    builder = Builder("lost")
    builder.target("t", builder.leaf("input", np.full((1, 2), 0.24)).sum(1))
    policy = an.Policy("p", (an.Rule(an.Numerics(), op="input"), an.Rule(an.Numerics(accumulate="e2m1fn"))))
    run = an.replay(builder.build(), policy)
    found = bounds.of(run, 1, policy)
    assert run.value("t") == 0  # each 0.24 is nearer to 0 than to the least number, 1/2
    assert found.broken == 0
    assert found.used > 0.1


def test_products_below_the_least_number_are_allowed_for() -> None:
    builder = Builder("tiny")
    x = builder.leaf("input", np.full((1, 2), 2.0**-9))
    builder.target("p", x @ x.T)
    policy = an.Policy("p", (an.Rule(an.Numerics(), op="input|transpose"), an.Rule(an.Numerics(accumulate="e5m2"))))
    run = an.replay(builder.build(), policy)
    assert run.value("p") == 0  # 2^-18 is a quarter of the least number, 2^-16
    found = bounds.of(run, _node(run, "matmul"), policy)
    assert found.measured.item() == 2.0**-17
    assert found.broken == 0
    assert found.used > 0.2
    flat = replace(fe.get_format("e5m2"), name="e5m2 without subnormals", subnormals=False)
    policy = an.Policy("flat", (an.Rule(an.Numerics(), op="input|transpose"), an.Rule(an.Numerics(accumulate=flat))))
    assert bounds.of(an.replay(run.tape, policy), _node(run, "matmul"), policy).broken == 0


def test_a_stopped_sum_raises_the_alarm_and_a_random_one_does_not() -> None:
    def total(terms: np.ndarray) -> bounds.Bound:
        builder = Builder("total")
        builder.target("t", builder.leaf("input", terms).sum(0))
        policy = an.Policy.mixed("fp16", accumulate="fp16")
        return bounds.of(an.replay(builder.build(), policy), 1, policy)

    swamped = total(np.ones(16000))
    # 2048 exact additions, then every error is minus the term
    assert swamped.drift == pytest.approx(-math.sqrt(16000 - 2048), rel=1e-15)
    assert swamped.biased
    assert swamped.measured > swamped.estimates["higham_mary"] * swamped.magnitude
    assert swamped.measured <= swamped.hard
    calm = total(fe.round(an.nets.uniform(0, 0, (2000,), 1.0), "fp16"))
    assert abs(calm.drift) < 4
    assert not calm.biased
    assert calm.measured < calm.estimates["higham_mary"] * calm.magnitude


def test_factors_are_those_of_the_papers() -> None:
    u = 2.0**-8
    assert gamma(10, u) == pytest.approx(float(Fraction(10, 256) / (1 - Fraction(10, 256))), rel=1e-15)
    assert gamma(256, u) == math.inf
    assert higham_mary(100, u, 2.0) == pytest.approx(math.exp(2 * 10 * u + 100 * u * u / (1 - u)) - 1, rel=1e-14)
    assert stochastic_rounding(100, u, 2.0) == pytest.approx(
        math.exp(2 * 10 * 2 * u + 100 * 4 * u * u / (1 - 2 * u)) - 1, rel=1e-14
    )
    assert higham_mary(10**12, 0.5) == math.inf
    assert block_fma(4096, 2.0**-11, 2.0**-24, rounded_operands=False) == 2.0**-12
    assert drift(np.zeros(3), np.ones(3)) == 0.0
    assert moments(np.array([1.0, np.nan]), np.array([-1.0, 1.0])) == (-1.0, 1.0)
    assert dot(0, u, np.zeros(2)).tolist() == [0.0, 0.0]
    assert dot(3, u, np.array(0.0), lost_product=1.0) == 3 * (1 + 2 * u)
    assert dot(3, u, np.array(0.0), fe.Rounding.TO_ODD, lost_product=1.0) == 3 + 2 * 2 * u * 3


def test_probabilistic_estimates_cover_random_data_far_below_the_hard_bound() -> None:
    n = 4096
    terms = fe.round(an.nets.uniform(1, 0, (64, n), 1.0), "fp16")
    found = fe.sum(terms, "fp16", axis=1)
    size = np.abs(terms).sum(1)
    error = np.abs(found - terms.sum(1))
    assert (error <= higham_mary(n, 2.0**-11) * size).all()
    assert (error <= 0.05 * recursive_sum(n - 1, 2.0**-11, size)).all()


def test_other_operations_have_no_bound() -> None:
    run = an.replay(an.nets.chain(1.0, 0.5, 2), "bf16")
    with pytest.raises(UnsupportedError, match=r"%2 mul \(step1, backward\): bounds are of sum and matmul"):
        bounds.of(run, 2, an.Policy.uniform("bf16"))


def test_a_bound_as_json() -> None:
    tape: Tape = NETS["mlp"]()
    policy = an.Policy.uniform("bf16")
    found = bounds.check(an.replay(tape, policy), policy)[0].to_json()
    assert found["op"] == "matmul"
    assert 0 < found["measured"] <= found["hard"]
    assert (found["broken"], found["void"], found["biased"], found["drift"]) == (0, 0, False, 0.0)


def test_an_analysis_holds_its_bounds_and_reports_a_broken_one_as_a_defect() -> None:
    found = an.analyze(NETS["mlp"](), "bf16", "float64")
    assert found.to_json()["defects"] == []
    assert {bound.op for bound in found.bounds} == {"sum", "matmul"}
    node = _node(found.runs["emulated"], "matmul")
    values = list(found.runs["emulated"].values)
    values[node.id] = (values[node.id][0] + 1.0,)
    wrong = replace(found, runs={**found.runs, "emulated": replace(found.runs["emulated"], values=tuple(values))})
    (defect,) = wrong.to_json()["defects"]
    assert (defect["kind"], defect["node"]) == ("bound_broken", node.id)
    assert "a defect of floatemu" in defect["text"]
