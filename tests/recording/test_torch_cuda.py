"""Recordings, tapes and watches of models on a GPU: the same tests of truth as on the CPU."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import analysis as an

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]
if not torch.cuda.is_available():
    pytest.skip("no GPU", allow_module_level=True)

from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch_models import NAMES, Case, make  # noqa: E402
from torch_runs import Widened, wide  # noqa: E402

from analysis.torch import capture  # noqa: E402
from analysis.torch.calls import same_bits  # noqa: E402
from analysis.torch.private import plain_kernels  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*determini:UserWarning")
ON_CPU = ("autocast",)
"""Models that name the CPU themselves."""
ON_GPU = [name for name in NAMES if name not in ON_CPU]


@pytest.fixture(autouse=True)
def kernels_of_recordings() -> Iterator[None]:
    """The kernels that recordings use, and of these the ones that add in one order."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    with plain_kernels(), sdpa_kernel(SDPBackend.MATH):
        yield
    torch.use_deterministic_algorithms(False)


def _case(name: str) -> Case:
    with torch.device("cuda"):
        return make(name)


def _float64_run(case: Case) -> tuple[Any, dict[str, Any]]:
    module = copy.deepcopy(case.module).double()
    with torch.device("cuda"), Widened():
        loss = case.run(module, wide)
        loss.backward()
    return loss.detach(), {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ON_GPU)
def test_recorded_calls_replay_bit_for_bit(name: str) -> None:
    case = _case(name)
    with torch.device("cuda"):
        found = capture(case.module, *case.inputs, loss=case.loss, keywords=case.keywords)
        assert len(found.calls) > 20
        assert found.replay() == []


@pytest.mark.parametrize("name", ON_GPU)
def test_fused_recordings_are_the_plain_run_bit_for_bit(name: str) -> None:
    case = _case(name)
    module = copy.deepcopy(case.module)
    with torch.device("cuda"):
        found = capture(module, *case.inputs, loss=case.loss, keywords=case.keywords, decompose=False)
        loss = case.run()
        loss.backward()
    assert same_bits(found.loss, loss)
    plain = {key: one.grad for key, one in case.module.named_parameters() if one.grad is not None}
    assert plain.keys() == found.gradients.keys()
    assert [key for key, gradient in plain.items() if not same_bits(gradient, found.gradients[key])] == []


@pytest.mark.parametrize("name", ON_GPU)
def test_a_tape_in_float64_is_an_independent_float64_run(name: str) -> None:
    case = _case(name)
    loss, gradients = _float64_run(case)
    with torch.device("cuda"):
        tape = an.record(case.module, *case.inputs, loss=case.loss, keywords=case.keywords)
    assert tape.meta["opaque"] == tape.meta["drawn"] == tape.meta["escapes"] == {}
    run = an.replay(tape, an.Float64())
    assert abs(run.value("loss").item() - loss.item()) <= 1e-14 * abs(loss.item())
    assert {f"grad:{key}" for key in gradients} == {key for key in tape.targets if key.startswith("grad:")}
    plain = {key: one.cpu().numpy() for key, one in gradients.items()}
    whole = np.sqrt(sum(np.linalg.norm(one) ** 2 for one in plain.values()))
    for key, wanted in plain.items():
        size = max(np.linalg.norm(wanted), 1e-3 * whole)
        assert np.linalg.norm(run.value(f"grad:{key}") - wanted) <= 1e-14 * size, key


@pytest.mark.parametrize("name", ON_GPU)
def test_the_shadow_is_an_independent_float64_run(name: str) -> None:
    case = _case(name)
    wanted, gradients = _float64_run(case)
    with torch.device("cuda"), an.watch(case.module, every=1) as w, w.step():
        loss = case.run()
        loss.backward()
        found = {key: w.shadow(one.grad) for key, one in case.module.named_parameters() if one.grad is not None}
        shadow = w.shadow(loss)
    assert w.seeded == {}
    assert shadow.device.type == "cuda"
    assert abs(shadow - wanted) <= 1e-14 * abs(wanted)
    whole = torch.stack([one.norm() for one in gradients.values()]).norm()
    for key, one in gradients.items():
        assert (found[key] - one).norm() <= 1e-14 * max(one.norm(), 1e-3 * whole), key


@pytest.mark.parametrize("policy", [None, "bf16", "e4m3fn/toward_zero"])
def test_a_watched_training_has_the_bits_it_has_without(policy: str | None) -> None:
    """AdamW with all its tensors at once, and fused, as a GPU is used."""

    def train(fused: bool, watched: bool) -> list[Any]:
        case = _case("encoder")
        optimiser = torch.optim.AdamW(case.module.parameters(), 0.01, fused=fused)
        with (
            torch.device("cuda"),
            an.watch(case.module, policy, every=2 if watched else 10**9, start=0 if watched else 1) as w,
        ):
            for _ in range(3):
                with w.step():
                    case.run().backward()
                    optimiser.step()
                    optimiser.zero_grad()
        return [one.detach() for one in case.module.parameters()]

    for fused in (False, True):
        plain, seen = train(fused, False), train(fused, True)
        assert all(same_bits(one, other) for one, other in zip(plain, seen, strict=True))


class Dropped(torch.nn.Module):
    """Random numbers of the device: a dropout, and a mask that is drawn by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drop, self.head = torch.nn.Linear(6, 16), torch.nn.Dropout(0.4), torch.nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        mask = torch.bernoulli(torch.full((1, 16), 0.7, device=x.device))
        return self.head(self.drop(self.inner(x).tanh()) * mask)


def _dropped() -> tuple[Any, Any]:
    torch.manual_seed(0)
    return Dropped().cuda(), torch.randn(8, 6, device="cuda")


def test_draws_of_the_device_replay_and_are_counted() -> None:
    module, x = _dropped()
    found = capture(module, x, loss=lambda y: y.square().sum())
    state = torch.cuda.get_rng_state()
    assert sum(bool(call.draws) for call in found.calls) == 2
    assert found.replay() == []
    assert torch.equal(torch.cuda.get_rng_state(), state)
    tape = an.record(module, x, loss=lambda y: y.square().sum())
    assert sum(tape.meta["drawn"].values()) == 2


@pytest.mark.parametrize("policy", [None, "bf16"])
def test_mixed_precision_with_dropout_has_the_bits_it_has_without(policy: str | None) -> None:
    labels = torch.arange(8, device="cuda") % 3

    def train(watched: bool) -> list[Any]:
        module, x = _dropped()
        optimiser = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
        scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10, growth_interval=2)
        with an.watch(module, policy, every=1) if watched else contextlib.nullcontext() as w:
            for _ in range(3):
                with contextlib.nullcontext() if w is None else w.step():
                    with torch.autocast("cuda", torch.float16):
                        loss = torch.nn.functional.cross_entropy(module(x).float(), labels)
                    scaler.scale(loss).backward()
                    scaler.unscale_(optimiser)
                    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                    scaler.step(optimiser)
                    scaler.update()
                    optimiser.zero_grad()
        assert w is None or w.seeded == {}
        return [one.detach() for one in module.parameters()]

    assert all(same_bits(one, other) for one, other in zip(train(False), train(True), strict=True))


def test_gradients_that_add_up_have_a_line_of_the_program() -> None:
    module, x = _dropped()
    with an.watch(module, "bf16", every=1) as w, w.step():
        for _ in range(2):
            module(x).sum().backward()
    added = [row for row in w.rows if row.op == "add" and row.path == "head.weight"]
    assert added
    assert all(row.site.startswith("test_torch_cuda.py:") for row in added)


def test_the_first_infinity_is_named() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).cuda()
    with torch.no_grad():
        net[0].weight.fill_(1.0)  # so that tanh gives ones
        net[2].weight.fill_(3e38)
    with an.watch(net, every=1) as w, w.step():
        net(10 * torch.ones(3, 4, device="cuda")).sum().backward()
    assert w.first_nonfinite is not None
    assert w.first_nonfinite.path == "2"
