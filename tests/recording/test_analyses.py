"""What the engine does with any tape works on recorded ones: references, pinned replays, events, diagnosis, reports."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import analysis as an

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]

from torch_models import make  # noqa: E402

RULES = ["cnn", "encoder", "gru", "resized", "pools", "ranks", "bags", "masked"]


def _recorded(name: str) -> an.Tape:
    case = make(name)
    return an.record(case.module, *case.inputs, loss=case.loss, keywords=case.keywords)


@pytest.mark.parametrize("name", RULES)
def test_more_digits_confirm_the_replay_in_binary64(name: str) -> None:
    tape = _recorded(name)
    found, exact = an.analyze(tape, "bf16", "float64", "loss"), an.analyze(tape, "bf16", "mpmath", "loss")
    assert exact.reference.bits > 100
    one, two = (run.reference.run.value("loss").item() for run in (found, exact))
    assert abs(one - two) <= 1e-13 * abs(two)
    assert found.verdict().split(". ")[0] == exact.verdict().split(". ")[0]


@pytest.mark.parametrize("name", RULES)
def test_a_proof_holds_the_replay_in_binary64(name: str) -> None:
    pytest.importorskip("flint", reason="python-flint is not installed")
    found = an.analyze(_recorded(name), "bf16", "ball", "loss")
    certificate = found.reference.certificate
    assert certificate is not None
    tape, proven = found.reference.run.tape, found.reference.run.value("loss").item()
    radius = certificate.radii[tape.targets["loss"].node]
    plain = an.replay(tape, an.Float64()).value("loss").item()
    assert radius is not None
    assert radius.item() <= 1e-20 * abs(proven)
    assert certificate.undecided == {}
    assert abs(plain - proven) <= 1e-13 * abs(proven)


def test_a_pinned_replay_decides_as_the_exact_one() -> None:
    tape = _recorded("relu mlp")
    exact = an.replay(tape, an.Float64())
    free, pinned = an.replay(tape, "e2m1fn"), an.replay(tape, "e2m1fn", pinned=True)
    decisions = [node.id for node in tape.nodes if not node.leaf and node.outputs[0].dtype == "bool"]
    assert len(decisions) >= 2
    assert all(np.array_equal(pinned.value(node), exact.value(node)) for node in decisions)
    assert any(not np.array_equal(free.value(node), exact.value(node)) for node in decisions)


def test_an_overflow_is_found_in_its_module_told_and_reported(tmp_path: Path) -> None:
    case = make("encoder")
    with torch.no_grad():
        case.module.linear1.weight.mul_(1e5)
    tape = an.record(case.module, *case.inputs, loss=case.loss)
    found = an.analyze(tape, "binary16", "float64", "loss")
    first = next(event for event in found.events if event.kind == "overflow" and event.produced)
    assert tape.nodes[first.node].path == "linear1"
    assert "linear1" in found.diagnose("loss")[0].text
    found.save(tmp_path / "found.html")
    page = (tmp_path / "found.html").read_text()
    assert "linear1" in page
    assert "torch_models.py" in page
