"""Node reports: errors, amplification, condition, cancellation and counts on programs small enough to do by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

import analysis as an
from analysis.comparison import NodeReport, TargetReport, ancestors, compare_target, flip_events
from analysis.ops import Builder, Var
from analysis.tape import TapeError
from analysis.verdict import describe_event, verdict, worst_node


def report(build: object, policy: str = "bfloat16") -> tuple[NodeReport, ...]:
    builder = Builder("t")
    builder.target("y", build(builder))  # type: ignore[operator]
    return an.analyze(builder.build(), an.Policy.named(policy)).nodes


def leaf(builder: Builder, *values: float) -> Var:
    return builder.leaf("input", np.array(values))


def test_a_subtraction_amplifies_by_its_condition_number() -> None:
    # 1 + 2^-9 is a tie in bfloat16 and becomes 1; the difference to 1 - 2^-4 then loses 2^-9 of 2^-4 + 2^-9
    nodes = report(lambda b: leaf(b, 1 + 2.0**-9) - leaf(b, 1 - 2.0**-4))
    first, second, difference = nodes
    exact = 2.0**-4 + 2.0**-9
    assert first.local_error == first.error == 2.0**-9 / (1 + 2.0**-9)
    assert second.error == 0.0
    assert difference.local_error == 0.0
    assert difference.inherited_error == difference.error == 2.0**-9 / exact
    assert difference.condition == (2 + 2.0**-9 - 2.0**-4) / exact
    assert difference.cancellation_bits == math.log2(difference.condition)
    assert difference.amplification == difference.error / first.error
    assert difference.amplification < difference.condition
    # in units of bfloat16's quantum at the exact difference, 2^(-4-7)
    assert difference.ulp_max == 2.0**-9 / 2.0**-11


def test_exact_operands_have_no_amplification() -> None:
    nodes = report(lambda b: leaf(b, 1.0) - leaf(b, 0.5))
    assert nodes[2].amplification is None
    assert nodes[2].error == 0.0


def test_counts_and_ranges() -> None:
    def build(b: Builder) -> Var:
        x = leaf(b, 300.0, 2.0**-13, 2.0**-7, 0.0, -3.0)
        return x * x

    product = report(build, "binary16")[1]
    # 90000 overflows, 2^-26 flushes, 2^-14 is normal, 0 is 0, 9 is 9
    assert (product.overflowed, product.zeros_new, product.zeros_inherited, product.subnormal) == (1, 1, 0, 0)
    assert (product.amax, product.amin_nonzero) == (math.inf, 2.0**-14)
    assert (product.exact_amax, product.exact_amin_nonzero) == (90000.0, 2.0**-26)
    after = report(lambda b: build(b) * leaf(b, 1.0, 1.0, 0.5, 1.0, 1.0), "binary16")[3]
    assert (after.zeros_new, after.zeros_inherited, after.subnormal) == (0, 1, 1)


def test_saturation_and_absorption_are_counted() -> None:
    saturated = report(lambda b: leaf(b, 500.0, 1.0), "e4m3fn/SatFinite")[0]
    assert (saturated.saturated, saturated.overflowed) == (1, 1)
    absorbed = report(lambda b: leaf(b, 256.0, 1.0, 0.0) + leaf(b, 1.0, 256.0, 1.0))[2]
    assert absorbed.absorbed == 2


def test_integers_have_no_errors_but_flips() -> None:
    def build(b: Builder) -> Var:
        x = leaf(b, 1 + 2.0**-10, 3.0) - leaf(b, 1.0, 1.0)
        return b.apply("mask", x, b.apply("positive", x))

    nodes = report(build)
    branch = next(node for node in nodes if node.op == "positive")
    assert (branch.flips, branch.error, branch.format) == (1, None, "none")


def test_what_only_moves_is_not_rounded_and_passes_errors_on() -> None:
    nodes = report(lambda b: -leaf(b, 0.1, 0.2))
    assert nodes[1].format == "none"
    assert (nodes[1].local_error, nodes[1].error) == (0.0, nodes[0].error)


def test_targets_scalars_by_value_and_arrays_by_norm() -> None:
    found = an.analyze(an.nets.mlp(batch=4), an.Policy.uniform("e5m2"), "float64")
    exact = found.runs["exact"]
    assert found.target("loss").exact == exact.value("loss").item()
    assert found.target("grad:W0").exact == an.measures.norm(exact.value("grad:W0"))
    with pytest.raises(TapeError, match="no target is named"):
        compare_target(found.runs["emulated"], exact, "grad:W9")


def test_ancestors_of_a_target_leave_the_rest_out() -> None:
    tape = an.nets.mlp(batch=4)
    loss, grad = ancestors(tape, "loss"), ancestors(tape, "grad:W0")
    assert loss < grad | loss
    assert not any(tape.nodes[index].direction == "backward" for index in loss)
    assert tape.target("grad:b1").id not in grad


def test_flips_are_found_by_comparing_runs() -> None:
    tape = an.nets.mlp()
    exact = an.replay(tape, an.Float64())
    run = an.replay(tape, an.Policy.uniform("e5m2"))
    for event in flip_events(run, exact):
        different = run.value(event.node) != exact.value(event.node)
        assert event.count == different.sum() > 0
        assert different[event.first_index]
        assert "decided" in describe_event(event, "e5m2")


def test_the_worst_node_of_a_fatal_run_is_the_producer() -> None:
    found = an.analyze(an.nets.chain(1e5, 0.25, 3), an.Policy.uniform("fp16"))
    worst = worst_node(found.nodes, found.events, {0, 1, 2, 3, 4})
    assert worst is not None
    assert worst.id == 0
    healthy = an.analyze(an.nets.chain(1.0, 0.25, 3), an.Policy.uniform("fp16"))
    assert worst_node(healthy.nodes, healthy.events, {0, 1, 2, 3, 4}) is None


def test_a_verdict_needs_no_more_than_its_numbers() -> None:
    target = TargetReport("loss", 2.0, 1.0, 0.5, 1.0, 0.5, 0.0)
    assert (
        verdict(target, (), (), set(), None, "bf16")
        == "loss keeps 1.0 bits in bf16 (relative error 0.5, norm ratio 0.5)."
    )
    gone = TargetReport("grad", 2.0, 0.0, 1.0, 0.0, 0.0, 1.0)
    assert verdict(gone, (), (), set(), None, "bf16") == "grad is entirely zero in bf16; the reference gives 2."
    wrong = TargetReport("grad", 2.0, -9.0, 5.5, -2.5, 4.5, 0.0)
    assert verdict(wrong, (), (), set(), None, "x").startswith("grad keeps no bit in x")
