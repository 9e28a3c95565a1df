"""References of balls in analyses: when "auto" leaves binary64, what the JSON says, what a verdict adds."""

from __future__ import annotations

import json
import re

import jsonschema
import numpy as np
import pytest

import analysis as an
from analysis.arithmetics.float64 import Float64
from analysis.measures import relative_error
from analysis.ops import Builder, relu
from analysis.reference import finest_unit, reference, shadow_error
from analysis.tape import Tape
from analysis.traced import run_trace
from floatemu.errors import UnsupportedError

pytest.importorskip("flint")

from analysis.certified import Certificate


def _logistic(steps: int) -> Tape:
    # x <- 3.9 x (1 - x): chaotic, an error doubles about every 1.4 steps
    builder = Builder("logistic")
    x, r, one = builder.leaf("input", np.array([0.3])), builder.constant(3.9), builder.constant(1.0)
    for _ in range(steps):
        x = r * x * (one - x)
    builder.target("x", x)
    return builder.build()


def test_auto_stays_with_binary64_where_that_is_enough() -> None:
    found = an.analyze(an.nets.mlp(batch=4), "bf16", "auto")
    assert found.reference.kind == "float64"
    assert not found.reference.note
    assert re.fullmatch(r"unchecked, but estimated to be off by \de-1[67]", found.reference.statement())
    assert found.verdict() == an.analyze(found.tape, "bf16", "float64").verdict()


def test_auto_escalates_by_the_policys_precision() -> None:
    tape = _logistic(30)  # binary64 is off by 1e-9: good enough to judge bfloat16, not binary32
    assert an.analyze(tape, "bf16", "auto").reference.kind == "float64"
    found = an.analyze(tape, "fp32", "auto")
    assert found.reference.kind == "ball"
    assert "Binary64 is too weak a reference for x" in found.verdict()
    assert "took its place" in found.verdict()


def test_a_chaotic_map_takes_more_bits_and_is_certified() -> None:
    found = reference(_logistic(200), "auto", unit=2.0**-8)
    assert (found.kind, found.statement()) == ("ball", "certified")
    assert found.bits > 192
    # binary64 has lost every digit, which is why it was left
    weak = an.replay(found.run.tape, Float64()).value("x")
    assert relative_error(weak, found.run.value("x")) > 0.01
    # mpmath, to which balls are a stranger, has the same
    fine = an.replay(found.run.tape, an.Exact(1200)).value("x")
    assert np.array_equal(fine, found.run.value("x"))


@pytest.mark.parametrize("steps", [6, 15, 27, 39])
def test_the_estimated_error_of_binary64_is_of_the_size_of_the_true_one(steps: int) -> None:
    tape = _logistic(steps)
    true = relative_error(an.replay(tape, Float64()).value("x"), reference(tape, "ball").run.value("x"))
    assert 1 / 32 < shadow_error(tape)["x"] / true < 32


def test_the_finest_format_of_several_policies_counts() -> None:
    tape = an.nets.mlp(batch=2)
    named = an.Policy.named
    assert finest_unit(tape, [named("e4m3fn")]) == 2.0**-4
    assert finest_unit(tape, [named("e4m3fn"), named("fp8_recipe")]) == 2.0**-24
    assert finest_unit(tape, [an.Policy("none", (an.Rule(an.Numerics()),))]) == 2.0**-53


def test_the_object_of_a_certified_reference_fits_the_schema() -> None:
    from importlib import resources

    trace = run_trace(net="chain", formats=["bf16"], reference="ball")
    found = trace["reference"]
    assert (found["kind"], found["certified"], found["max_radius"], found["undecided_branches"]) == (
        "ball",
        True,
        0.0,
        0,
    )
    assert found["statement"] == "certified"
    schema = json.loads(resources.files("analysis").joinpath("schemas/trace.json").read_text())
    schema = {**schema["properties"]["reference"], "$defs": schema["$defs"]}
    jsonschema.validate(found, schema)
    for kind in ("float64", "mpmath", "auto"):
        other = reference(an.nets.chain(1.0, 0.3, 3), kind).to_json()
        jsonschema.validate(other, schema)
        assert other["certified"] is False
        assert other["max_radius"] is None


def test_open_branches_show_in_the_object_the_verdict_and_by_target() -> None:
    builder = Builder("tied")
    x = builder.leaf("input", np.array([0.3, -2.0]))
    zero = x.exp().log() - x
    builder.target("before", zero + x)
    builder.target("after", relu(zero) + x)
    found = an.analyze(builder.build(), "bf16", "ball", target="after")
    content = found.reference.to_json()
    assert (content["certified"], content["undecided_branches"]) == (False, 2)
    assert content["given"] == {"before": 0, "after": 2}
    assert content["radii"]["before"] < 1e-30
    given = [node["reference_given"] for node in found.to_json()["nodes"]]
    decided = next(node.id for node in found.tape.nodes if node.op == "positive")
    assert given[:decided] == [0] * decided
    assert given[decided] == given[-1] == 2
    assert found.to_json()["nodes"][decided]["reference_radius"] is None
    assert found.to_json()["nodes"][decided - 1]["reference_radius"] > 0
    assert found.verdict().endswith("The reference is certified given 2 branches.")
    assert "certified given" not in found.verdict("before")


def test_a_target_that_is_zero_is_said_to_be() -> None:
    builder = Builder("zero")
    x = builder.leaf("input", np.array([0.3]))
    builder.target("y", x.exp().log() - x)
    found = an.analyze(builder.build(), "fp32", "ball")
    assert found.verdict().endswith(f"The exact y is zero as far as {found.reference.bits} bits tell.")
    assert found.target("y").exact == 0.0


def test_a_gradient_that_mathematics_makes_zero_is_no_work_for_binary64() -> None:
    # the softmax does not see a constant added to all scores of a row, which is what a key's bias does
    found = an.analyze(an.nets.attention(), "bf16", "auto", target="grad:attention.k.b")
    assert found.reference.kind == "ball"
    assert not found.reference.run.value(found.main).any()
    assert an.replay(found.tape, Float64()).value(found.main).any()
    assert found.verdict().endswith("The exact grad:attention.k.b is zero as far as 192 bits tell.")


def test_an_unknown_value_is_not_certified_and_cannot_be_judged() -> None:
    builder = Builder("unknown")
    x = builder.leaf("input", np.array([0.3]))
    builder.target("y", x / (x.exp().log() - x))
    found = an.analyze(builder.build(), "fp32", "ball")
    assert found.reference.statement() == "not certified: a value is unknown or beyond binary64"
    assert found.reference.to_json()["certified"] is False
    assert found.verdict().startswith("y cannot be judged: it is unknown or NaN in the certified reference")


def test_radii_by_name_node_and_value() -> None:
    tape = an.nets.mlp(batch=2)
    found = reference(tape, "ball")
    by_name = found.radius("loss")
    assert by_name is not None
    assert np.array_equal(by_name, found.radius(tape.targets["loss"]))
    assert np.array_equal(by_name, found.radius(tape.target("loss").id))
    assert reference(tape, "float64").radius("loss") is None
    decision = next(node.id for node in tape.nodes if node.op == "positive")
    assert found.radius(decision) is None


def test_what_is_too_large_is_refused_and_auto_says_why_it_stayed() -> None:
    builder = Builder("large")
    x, r, one = builder.leaf("input", np.array(0.3)), builder.constant(3.9), builder.constant(1.0)
    for _ in range(80):
        x = r * x * (one - x)
    builder.target("x", x)
    x.broadcast((31_000_000,))
    tape = builder.build()
    with pytest.raises(UnsupportedError, match=r"a reference of balls would hold 3\.1e\+07 numbers"):
        reference(tape, "ball")
    found = reference(tape, "auto")
    assert found.kind == "float64"
    assert "too weak a reference for x" in found.remarks("x")[0]
    assert "and no better one is in reach: large: a reference of balls would hold" in found.remarks("x")[0]


def test_a_certificate_counts_in_words() -> None:
    radii = (np.zeros(2), np.array([0.5]), None)
    proof = Certificate(106, radii, {2: 1}, (0, 1, 1))
    assert (proof.branches, proof.max_radius) == (1, 0.5)
    assert [proof.statement(node) for node in (None, 0, 1, 2)] == [
        "certified given 1 branch",
        "certified",
        "certified given 1 branch",
        "certified given 1 branch",
    ]
