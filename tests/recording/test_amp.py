"""Mixed precision with a loss scale beside torch's own autocast and GradScaler; why a scale falls, which would do."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis import amp
from analysis.training import Scaler
from analysis.training.treatment import LossScale
from floatemu import UnsupportedError

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]
nn = torch.nn


@pytest.mark.parametrize(
    ("growth", "backoff", "interval", "share"),
    [(2.0, 0.5, 3, 0.2), (1.7, 0.3, 1, 0.4), (2.0, 0.5, 1, 0.0), (1.5, 0.5, 2, 1.0)],
)
def test_histories_of_scales_are_torchs_bit_for_bit(growth: float, backoff: float, interval: int, share: float) -> None:
    scaler = torch.amp.GradScaler("cpu", 2.0**16, growth, backoff, interval)
    own = LossScale(Scaler(2.0**16, interval, growth, backoff))
    weight = nn.Parameter(torch.ones(1))
    optimiser = torch.optim.SGD([weight], 0.0)
    random = np.random.default_rng(7)
    found, wanted = [], []
    for _ in range(400):  # 2^16 halves to zero, and doubles to binary32's largest number, within these
        bad = bool(random.random() < share)
        scaler.scale(weight.sum())  # makes the scaler's own tensors
        weight.grad = torch.tensor([torch.inf if bad else 1.0])
        scaler.step(optimiser)
        scaler.update()
        own.skips(not bad)
        wanted.append(scaler.get_scale())
        found.append(own.value)
    assert found == wanted
    assert len(set(found)) > 3
    assert (share < 1.0) or found[-1] == 0.0


def _net(scale: float) -> Any:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))
    with torch.no_grad():
        net[4].weight.mul_(scale)
    return net


def _batches(count: int) -> list[tuple[Any, Any]]:
    random = torch.Generator().manual_seed(4)
    return [(torch.randn(8, 6, generator=random), torch.arange(8) % 3) for _ in range(count)]


def test_emulated_training_has_the_scales_of_torchs_own() -> None:
    net, scaler = _net(8.0), torch.amp.GradScaler("cpu", 2.0**22, growth_interval=3)
    optimiser, wanted = torch.optim.SGD(net.parameters(), 0.05), []
    for x, labels in _batches(12):
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = nn.functional.cross_entropy(net(x), labels)
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        wanted.append(scaler.get_scale())
    own = _net(8.0)
    optimiser = torch.optim.SGD(own.parameters(), 0.05)
    found = amp.train(own, _batches(12), nn.functional.cross_entropy, optimiser, scaler=Scaler(2.0**22, 3))
    assert [step.after for step in found.steps] == wanted
    assert 0 < len(found.skipped) < 12
    for x, y in zip(net.parameters(), own.parameters(), strict=True):
        assert (x - y).norm() <= 2e-3 * x.norm()
    first = found.skipped[0]
    assert (first.step, first.scale, first.direction, first.kind) == (0, 2.0**22, "backward", "overflow")
    assert first.limit == 65504.0
    assert first.needed is not None
    assert first.needed > 65504.0
    assert "matmul" in first.tensor or "mul" in first.tensor
    assert f"the first at step 0: {first.tensor} had an overflow (needed " in found.text
    assert f"the scales 2^{found.scales.low} to 2^{found.scales.high} keep every gradient in its format" in found.text
    assert found.steps[-1].scale <= 2.0**found.scales.high
    assert json.loads(json.dumps(found.to_json()))["steps"][0]["skipped"] is True


def test_a_forward_overflow_is_told_apart() -> None:
    net = _net(1e6)
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    found = amp.train(net, _batches(3), nn.functional.cross_entropy, optimiser)
    assert [step.after for step in found.steps] == [32768.0, 16384.0, 8192.0]
    assert {step.direction for step in found.steps} == {"forward"}
    assert found.text.endswith("it is in the forward pass, which no loss scale changes")


def test_gradients_that_are_not_finite_in_exact_arithmetic_are_told_apart() -> None:
    net = _net(1.0)
    with torch.no_grad():
        net[2].weight[0, 0] = torch.nan
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    found = amp.train(net, _batches(3), nn.functional.cross_entropy, optimiser)
    assert len(found.skipped) == 3
    assert not found.scales.feasible
    assert "grad:4.bias" in found.scales.nonfinite
    assert (
        "no scale fits: at the last step grad:0.weight, grad:0.bias, grad:2.weight ... held an infinity" in found.text
    )
    assert "keep every gradient" not in found.text
    assert found.to_json()["scales"]["nonfinite"] == list(found.scales.nonfinite)


def test_two_tensors_that_no_scale_fits_are_named() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small, self.large = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

        def forward(self, x: Any) -> Any:
            return self.large(x * 300.0).sum() + self.small(x * 2.0**-8).sum() * 2.0**-10

    net = Wide()
    optimiser = torch.optim.SGD(net.parameters(), 0.0)
    batches = [(torch.ones(2, 4), None)]
    loss = lambda y, _: y  # noqa: E731
    found = amp.train(net, batches, loss, optimiser, "torch_amp:e4m3fn", Scaler(1.0, 2000))
    assert not found.scales.feasible
    need, tight = found.scales.conflict
    assert need.low > tight.high
    assert f"no scale fits: {need.label} needs at least 2^{need.low} in e4m3fn" in found.text
    assert f"{tight.label} at most 2^{tight.high} in e4m3fn" in found.text


def test_intervals_do_not_depend_on_the_scale_that_was_used() -> None:
    found = []
    for scale in (1.0, 2.0**10):
        net = _net(1.0)
        optimiser = torch.optim.SGD(net.parameters(), 0.0)
        found.append(
            amp.train(net, _batches(1), nn.functional.cross_entropy, optimiser, scaler=Scaler(scale, 9)).scales
        )
    assert (found[0].low, found[0].high) == (found[1].low, found[1].high)


def test_an_optimiser_that_runs_the_model_itself_is_refused() -> None:
    net = torch.nn.Linear(2, 1)
    optimiser = torch.optim.LBFGS(net.parameters())
    with pytest.raises(UnsupportedError, match=r"LBFGS.step needs a closure .*; train with an optimiser"):
        an.amp.train(net, [(torch.ones(1, 2), None)], lambda y, _: y.sum(), optimiser)


def test_arguments_that_are_none_are_told() -> None:
    net = torch.nn.Linear(2, 1)
    optimiser = torch.optim.SGD(net.parameters(), 0.1)
    for given, message in (
        ((3, len, optimiser), "^batches is int; accepted: pairs of inputs and a target"),
        (([], None, optimiser), "^loss is NoneType; accepted: a function of"),
        (([], len, "sgd"), "^optimizer is str; accepted: a torch.optim.Optimizer"),
        (([torch.ones(2, 2)], len, optimiser), "^batch 0 is Tensor; accepted: a pair"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            an.amp.train(net, *given)


def test_policies_of_any_formats_and_a_scale_that_stays() -> None:
    policy = an.Policy.named("torch_amp:e4m3fn/e5m2+bf16")
    node = an.Node(0, "matmul", direction="backward")
    numerics = policy.numerics(node)
    assert (numerics.result.name, numerics.operands.name, numerics.gradients.name) == ("e5m2", "e4m3fn", "e5m2")
    assert policy.numerics(an.Node(0, "exp")).result.name == "bfloat16"
    assert policy.numerics(an.Node(0, "mul")).result.name == "e4m3fn"
    assert policy.numerics(an.Node(0, "mul", direction="backward")).result.name == "e5m2"
    assert an.Policy.named("torch_amp").rules == an.Policy.autocast("binary16").rules
    with pytest.raises(UnsupportedError, match="no policy is named 'torch_amp:none'"):
        an.Policy.named("torch_amp:none")
    with pytest.raises(UnsupportedError, match="its scale never moves"):
        amp.train(None, [], None, None, scaler=Scaler(8.0))
