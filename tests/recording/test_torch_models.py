"""The test of truth: recorded calls replayed through torch bit for bit, tapes against independent float64 runs."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import analysis as an

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]

from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch_models import MODELS, NAMES, Case, make  # noqa: E402
from torch_runs import Widened, wide  # noqa: E402

from analysis.torch import capture  # noqa: E402
from analysis.torch.calls import same_bits  # noqa: E402
from analysis.torch.private import plain_kernels  # noqa: E402


@pytest.fixture(autouse=True)
def kernels_of_recordings() -> Iterator[None]:
    """Runs that are compared with recordings use the kernels that recordings use."""
    with plain_kernels(), sdpa_kernel(SDPBackend.MATH):
        yield


def _float64_run(case: Case) -> tuple[float, dict[str, np.ndarray]]:
    module = copy.deepcopy(case.module).double()
    with Widened():
        loss = case.run(module, wide)
        loss.backward()
    return loss.item(), {name: p.grad.numpy() for name, p in module.named_parameters() if p.grad is not None}


def _recorded(case: Case, **options: Any) -> Any:
    module = copy.deepcopy(case.module)
    return capture(module, *case.inputs, loss=case.loss, keywords=case.keywords, **options)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_calls_replay_bit_for_bit(name: str) -> None:
    found = _recorded(make(name))
    assert len(found.calls) > 20
    assert found.replay() == []


@pytest.mark.parametrize("name", NAMES)
def test_fused_recordings_are_the_plain_run_bit_for_bit_and_replay_so(name: str) -> None:
    case = make(name)
    found = _recorded(case, decompose=False)
    loss = case.run()
    loss.backward()
    plain = {key: one.grad for key, one in case.module.named_parameters() if one.grad is not None}
    assert same_bits(found.loss, loss)
    assert plain.keys() == found.gradients.keys()
    assert [key for key, gradient in plain.items() if not same_bits(gradient, found.gradients[key])] == []
    assert found.replay() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_tape_in_float64_is_an_independent_float64_run_and_every_node_has_its_place(name: str) -> None:
    case = make(name)
    loss, gradients = _float64_run(case)
    tape = an.record(case.module, *case.inputs, loss=case.loss, keywords=case.keywords)
    assert tape.meta["opaque"] == tape.meta["drawn"] == tape.meta["escapes"] == {}
    run = an.replay(tape, an.Float64())
    assert abs(run.value("loss").item() - loss) <= 1e-14 * abs(loss)
    assert {f"grad:{key}" for key in gradients} == {key for key in tape.targets if key.startswith("grad:")}
    whole = np.sqrt(sum(np.linalg.norm(one) ** 2 for one in gradients.values()))
    for key, wanted in gradients.items():
        # norm-wise; a gradient that is zero but for rounding is measured against all of them together
        size = max(np.linalg.norm(wanted), 1e-3 * whole)
        assert np.linalg.norm(run.value(f"grad:{key}") - wanted) <= 1e-14 * size, key
    _check_places(name, case, tape)


def _check_places(name: str, case: Case, tape: an.Tape) -> None:
    modules = {"", "loss", *(key for key, _ in case.module.named_modules())}
    computed = [node for node in tape.nodes if not node.leaf]
    assert {node.path for node in computed} <= modules | {key for key, _ in case.module.named_parameters()}
    assert {node.direction for node in computed} == {"forward", "backward"}
    forward = {node.path for node in computed if node.direction == "forward"}
    backward = {node.path for node in computed if node.direction == "backward"}
    assert len(backward & forward) > len(backward) / 2
    placed = [node for node in computed if node.site]
    assert len(placed) > 0.9 * len(computed)
    if name in MODELS:
        assert {node.site.split(":")[0] for node in placed} <= {"torch_models.py", "test_torch_models.py"}


def test_a_replay_sees_a_changed_bit() -> None:
    found = _recorded(make("mlp"))
    index = next(i for i, call in enumerate(found.calls) if call.name == "aten.tanh")
    found.values[index][0].view(torch.int32)[0, 0] ^= 1
    assert [(one.call, one.name) for one in found.replay()] == [(index, "aten.tanh")]
