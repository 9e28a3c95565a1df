"""Events: the right kind, at the node that made it, with what was needed and what the format offers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import analysis as an
from analysis.comparison import compare_nodes
from analysis.ops import Builder, Var


def run(program: Callable[[Builder], Var], policy: str) -> an.Run:
    builder = Builder("t")
    builder.target("y", program(builder))
    return an.replay(builder.build(), an.Policy.named(policy))


def summary(found: an.Run) -> list[tuple[str, str, int, int]]:
    return [(event.kind, event.op, event.node, event.producer) for event in found.events]


def leaf(builder: Builder, *values: float) -> Var:
    return builder.leaf("input", np.array(values))


@pytest.mark.parametrize(
    ("start", "policy", "expected"),
    [
        (1e5, "binary16", ("overflow", 1e5, 65504.0, "inf")),
        (65520.0, "binary16", ("overflow", 65520.0, 65504.0, "inf")),
        (-61440.0, "e5m2", ("overflow", 61440.0, 57344.0, "inf")),
        (464.5, "e4m3fn", ("overflow", 464.5, 448.0, "nan")),
        (464.5, "e4m3fn/SatFinite", ("saturation", 464.5, 448.0, "max")),
        (7.5, "e2m1fn", ("saturation", 7.5, 6.0, "max")),
        (2.0**-26, "binary16", ("underflow", 2.0**-26, 2.0**-24, "zero")),
        (1.3 * 2.0**-20, "binary16", ("underflow", 1.3 * 2.0**-20, 2.0**-14, "subnormal")),
        (np.inf, "e4m3fn/SatFinite", ("saturation", np.inf, 448.0, "max")),
    ],
)
def test_casts(start: float, policy: str, expected: tuple[str, float, float, str]) -> None:
    (event,) = run(lambda b: leaf(b, start, 1.0), policy).events
    assert (event.kind, event.needed, event.limit, event.result) == expected
    assert (event.node, event.producer, event.count, event.first_index) == (0, 0, 1, (0,))


@pytest.mark.parametrize(
    ("value", "policy"),
    [(65519.0, "binary16"), (464.0, "e4m3fn"), (2.0**-24, "binary16"), (0.0, "binary16"), (np.inf, "binary16")],
)
def test_what_is_no_event(value: float, policy: str) -> None:
    assert run(lambda b: leaf(b, value), policy).events == ()


def test_infinity_into_a_format_without_is_a_nan_born() -> None:
    assert summary(run(lambda b: leaf(b, np.inf), "e4m3fn")) == [("nan_born", "input", 0, 0)]


def test_the_producer_is_named_not_the_propagator() -> None:
    def program(b: Builder) -> Var:
        x = leaf(b, 300.0, 1.0)
        square = x * x  # node 1: 90000 overflows binary16
        return (square + x) * x

    found = run(program, "binary16")
    assert summary(found) == [("overflow", "mul", 1, 1)]
    assert np.isinf(found.value("y")[0])


def test_nan_of_two_infinities_names_the_node_that_made_the_infinity() -> None:
    def program(b: Builder) -> Var:
        x = leaf(b, 300.0)
        square = x * x
        return square - (square + x)

    assert summary(run(program, "binary16")) == [("overflow", "mul", 1, 1), ("nan_born", "sub", 3, 1)]


def test_infinity_out_of_a_flushed_zero_names_the_flush() -> None:
    def program(b: Builder) -> Var:
        x = leaf(b, 1e-5)
        square = x * x  # 1e-10 flushes in binary16
        return x / square.sqrt()

    found = run(program, "binary16")
    assert [(event.kind, event.node, event.producer, event.flushed) for event in found.events] == [
        ("underflow", 0, 0, 0),
        ("underflow", 1, 1, 1),
        ("inf_born", 3, 1, 0),
    ]
    assert not found.events[-1].produced


def test_a_true_division_by_zero_is_its_own_producer() -> None:
    found = run(lambda b: leaf(b, 1.0) / leaf(b, 0.0), "binary16")
    assert summary(found) == [("inf_born", "div", 2, 2)]
    assert summary(run(lambda b: leaf(b, 0.0) / leaf(b, 0.0), "binary16")) == [("nan_born", "div", 2, 2)]
    assert summary(run(lambda b: leaf(b, 0.0).log(), "binary16")) == [("inf_born", "log", 1, 1)]
    assert summary(run(lambda b: leaf(b, -1.0).log(), "binary16")) == [("nan_born", "log", 1, 1)]


def test_binary64_overflows_too() -> None:
    assert summary(run(lambda b: leaf(b, 1e200) * leaf(b, 1e200), "binary64")) == [("overflow", "mul", 2, 2)]
    assert summary(run(lambda b: leaf(b, 800.0).exp(), "binary64")) == [("overflow", "exp", 1, 1)]


def test_trouble_that_is_masked_away_is_forgotten() -> None:
    def program(b: Builder) -> Var:
        x = leaf(b, 300.0, 2.0)
        keep = b.leaf("input", np.array([False, True]))
        masked = b.apply("mask", x * x, keep)
        return masked - masked / leaf(b, 0.0)  # the new trouble is division by zero's own

    found = run(program, "binary16")
    assert [(event.kind, event.node, event.producer) for event in found.events] == [
        ("overflow", 2, 2),
        ("inf_born", 6, 6),
        ("nan_born", 6, 6),
    ]


@pytest.mark.parametrize(("policy", "absorbed"), [("bfloat16", 1), ("binary32", 0)])
def test_absorption_is_counted(policy: str, absorbed: int) -> None:
    found = run(lambda b: leaf(b, 256.0, 1.0) + leaf(b, 1.0, 1.0), policy)
    events = [(event.kind, event.count, event.first_index) for event in found.events]
    assert events == [("absorption", 1, (0,))] * absorbed


def test_adding_zero_absorbs_nothing() -> None:
    assert run(lambda b: leaf(b, 256.0) + leaf(b, 0.0), "bfloat16").events == ()


def test_a_lost_update_is_an_absorption_in_the_update() -> None:
    builder = Builder("t")
    w, g = builder.leaf("parameter", np.array([1.0])), builder.leaf("input", np.array([2.0**-10]))
    with builder.at(direction="update"):
        builder.target("w", w - g)
    found = an.replay(builder.build(), an.Policy.uniform("bfloat16"))
    assert [event.kind for event in found.events] == ["lost_update"]


@pytest.mark.parametrize(
    ("update", "lost"),
    [(2.0**-8, True), (-(2.0**-8), False), (-(2.0**-9), True), (2.0**-10, True), (-(2.0**-10), True)],
)
def test_acceptance_4_updates_of_a_bfloat16_weight_at_one(update: float, lost: bool) -> None:
    found = run(lambda b: leaf(b, 1.0) + leaf(b, update), "bfloat16")
    assert [event.kind for event in found.events] == ["absorption"] * lost
    assert (found.value("y").item() == 1.0) is lost


@pytest.mark.parametrize(
    ("fmt", "stops"), [("binary16", 2048.0), ("bfloat16", 256.0), ("e4m3fn", 16.0), ("e5m2", 8.0), ("tf32", 2048.0)]
)
def test_acceptance_2_trap_27_sums_of_ones_stop(fmt: str, stops: float) -> None:
    policy = an.Policy("t", (an.Rule(an.Numerics(accumulate=fmt, result=fmt)),))
    builder = Builder("ones")
    builder.target("sum", builder.leaf("input", np.ones(3000)).sum(0))
    assert an.replay(builder.build(), policy).value("sum").item() == stops


def test_operand_casts_have_events_of_their_own() -> None:
    found = run(lambda b: b.leaf("input", np.array([[500.0]])) @ b.leaf("parameter", np.array([[1.0]])), "fp8_recipe")
    (event,) = found.events
    assert (event.kind, event.node, event.operand, event.needed, event.limit) == ("saturation", 2, 0, 500.0, 448.0)


def test_json_of_an_event_follows_the_contract() -> None:
    (event,) = run(lambda b: leaf(b, 1e5), "binary16").events
    keys = "node op path direction kind producer count first_index needed limit step".split()
    assert list(event.to_json())[: len(keys)] == keys
    assert event.fatal
    assert event.produced


def test_below_the_range_of_an_unsigned_format() -> None:
    (event,) = run(lambda b: leaf(b, -3.0, 1.0), "binary8p3uf").events
    assert (event.kind, event.needed, event.limit, event.result) == ("overflow", -3.0, 0.0, "nan")
    (event,) = run(lambda b: leaf(b, -3.0, 1.0), "binary8p3uf/SatFinite").events
    assert (event.kind, event.needed, event.limit, event.result) == ("saturation", -3.0, 0.0, "max")
    both = run(lambda b: leaf(b, -3.0, 1e300), "binary8p3ue").events
    assert [(event.needed, event.limit) for event in both] == [(1e300, 2684354560.0), (-3.0, 0.0)]


def test_a_partial_sum_that_overflows_binary64_is_seen_though_the_sum_would_fit() -> None:
    builder = Builder("t")
    builder.target("y", builder.leaf("input", np.array([1e308, 1e308, -1e308])).sum(0))
    found = an.replay(builder.build(), an.Policy.uniform("binary64"), local="mpmath")
    assert found.value("y").item() == np.inf
    assert summary(found) == [("overflow", "sum", 1, 1)]


def test_the_earliest_of_several_producers_is_named() -> None:
    def program(b: Builder) -> Var:
        x = leaf(b, 300.0, 200.0)
        first = x * x  # node 1: 90000 overflows, 40000 does not
        second = first + first  # node 2: inherits one infinity, makes another
        return second - second

    assert summary(run(program, "binary16")) == [
        ("overflow", "mul", 1, 1),
        ("overflow", "add", 2, 2),
        ("nan_born", "sub", 3, 1),
    ]


def test_an_infinity_that_was_selected_away_is_not_blamed_for_a_later_one() -> None:
    def program(b: Builder) -> Var:
        x, keep = leaf(b, 300.0, 2.0), b.leaf("input", np.array([False, True]))
        healthy = b.apply("mask", x * x, keep)  # nodes 2 and 3: the overflow is masked away
        again = healthy * leaf(b, 1.0, 60000.0)  # node 5: another one
        return again - again

    assert [(event.kind, event.node, event.producer) for event in run(program, "binary16").events] == [
        ("overflow", 2, 2),
        ("overflow", 5, 5),
        ("nan_born", 6, 5),
    ]


def test_a_saturated_infinity_names_the_node_that_made_it() -> None:
    def program(b: Builder) -> Var:
        return b.leaf("input", np.array([[1e39]])) @ b.leaf("parameter", np.array([[1.0]]))

    cast, operand = run(program, "fp8_recipe").events
    assert (cast.kind, cast.node, cast.result) == ("overflow", 0, "inf")
    assert (operand.kind, operand.node, operand.operand, operand.producer) == ("saturation", 2, 0, 0)
    assert not operand.produced


@pytest.mark.parametrize("policy", ["e4m3fn", "e5m2/SatFinite", "torch_amp"])
def test_it_does_not_matter_how_many_nodes_are_looked_at_together(monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    tape = an.nets.lstm(4)
    exact = an.replay(tape, an.Float64())
    texts = set()
    for piece in (1, 100, 10**6):
        monkeypatch.setattr("analysis.engine.PIECE", piece)
        monkeypatch.setattr("floatemu.surveys.PIECE", piece)
        run = an.replay(tape, policy)
        texts.add(repr((run.events, compare_nodes(run, exact))))
    assert len(texts) == 1
    assert run.events
