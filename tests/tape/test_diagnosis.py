"""Diagnosis on a bench of planted failures in random nets: the planted node is named, healthy nets stay silent."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.diagnosis import CAUSES

sys.path.insert(0, str(Path(__file__).parent))
import planted

FEW, MANY = 3, 40


def check(name: str, seed: int) -> None:
    case = planted.KINDS[name](np.random.default_rng([seed, *name.encode()]))
    found = an.analyze(case.tape, case.policy, "float64", case.target).diagnose(case.target)
    assert found, f"{name} {seed}: nothing found"
    first = found[0]
    assert first.cause in case.causes, f"{name} {seed}: {first.text}"
    assert first.node in case.nodes, f"{name} {seed}: {first.text}"
    assert case.tape.nodes[first.node].label in first.text
    assert first.cause in CAUSES
    json.dumps(first.to_json())


def test_there_are_enough_kinds() -> None:
    assert len(planted.KINDS) >= 20


@pytest.mark.parametrize("seed", range(FEW))
@pytest.mark.parametrize("name", list(planted.KINDS))
def test_the_planted_node_is_named(name: str, seed: int) -> None:
    check(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(planted.KINDS))
def test_the_planted_node_is_named_in_many_nets(name: str) -> None:
    """Forty nets of each kind."""
    for seed in range(FEW, FEW + MANY):
        check(name, seed)


def healthy(seed: int) -> tuple[Any, str]:
    rng = np.random.default_rng([seed, 77])
    fmt = ["bfloat16", "binary16", "binary32"][seed % 3]
    if seed % 2:
        return planted.Net(rng).build(lambda h: h), fmt
    activation = ["tanh", "gelu", "relu"][seed // 2 % 3]
    depth = 2 if activation == "relu" else int(rng.integers(1, 6))
    return an.nets.mlp((64, *(24,) * depth, 10), activation, batch=8, seed=seed), fmt


@pytest.mark.parametrize("seed", range(24))
def test_healthy_nets_stay_silent(seed: int) -> None:
    tape, fmt = healthy(seed)
    found = an.analyze(tape, fmt, "float64")
    for target in tape.targets:
        assert found.diagnose(target) == (), (target, found.diagnose(target)[0].text)


def test_a_chain_within_range_stays_silent() -> None:
    assert an.analyze(an.nets.chain(1.0, 0.25, 10), "binary16").diagnose() == ()


def test_the_issue_s_example_in_words() -> None:
    """What overflowed, where, how much was needed, how the gradient grows, and what would keep it."""
    tape = planted.recurrence(np.random.default_rng(1), 1.5, 40)
    found = an.analyze(tape, "binary16", "float64", "grad:W").diagnose()[0]
    assert found.cause == "exploding"
    assert "overflowed binary16" in found.text
    assert "largest 65504" in found.text
    assert "grows by 1.5 a stage" in found.text
    assert "bfloat16" in found.text
    assert found.evidence["needed"] > 65504
    assert math.isclose(found.evidence["growth_per_stage"], 1.5, rel_tol=1e-6)


def test_json_of_an_analysis_carries_the_diagnosis() -> None:
    run = an.analyze(an.nets.chain(1e5, 0.25, 10), "binary16").to_json()
    assert [sorted(one) for one in run["diagnosis"]] == [["cause", "evidence", "node", "text"]]


def test_an_operand_that_underflows_is_counted_by_its_own_size() -> None:
    """A small operand of a matrix product is cast; the result is bigger than it, and of another format."""
    tape = an.record_numpy(lambda x, y: ((x @ y) ** 2).sum() * 1e12, np.full((8, 2), 1e-6), np.ones((2, 8)))
    policy = an.Policy(
        "narrow", (an.Rule(an.Numerics(operands="e4m3fn", result="binary32"), op="matmul"), an.Rule(an.Numerics()))
    )
    found = an.analyze(tape, policy, "float64")
    (cause,) = (cause for cause in found.diagnose() if cause.cause == "underflow")
    assert "where operand 0 is cast, in 16 of 16 elements, 16 of them to zero" in cause.text
    assert (cause.evidence["count"], cause.evidence["size"]) == (16, 16)
