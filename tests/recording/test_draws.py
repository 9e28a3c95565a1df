"""Random numbers from generators of the program's own, and from those of other devices than the CPU."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

import analysis as an

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]

from analysis.torch import capture  # noqa: E402
from analysis.torch.draws import drawn, may_draw, undisturbed  # noqa: E402


class Noisy(torch.nn.Module):
    """A mask and noise, of a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.random = torch.nn.Linear(4, 4), torch.Generator().manual_seed(3)

    def forward(self, x: Any) -> Any:
        y = self.layer(x)
        mask = torch.bernoulli(torch.full_like(y, 0.5), generator=self.random)
        return (
            y * mask + torch.randn(y.shape, generator=self.random) + torch.empty_like(y).normal_(generator=self.random)
        )


def _noisy() -> tuple[Noisy, Any]:
    torch.manual_seed(0)
    return Noisy(), torch.randn(3, 4)


def test_calls_that_draw_from_a_given_generator_replay_bit_for_bit() -> None:
    module, x = _noisy()
    found = capture(module, x, loss=lambda y: y.sum())
    after = module.random.get_state()
    assert [call.name for call in found.calls if call.draws] == ["aten.rand", "aten.randn", "aten.normal_"]
    assert found.replay() == []
    assert torch.equal(module.random.get_state(), after)


def test_a_tape_counts_what_was_drawn_from_a_given_generator() -> None:
    module, x = _noisy()
    tape = an.record(module, x, loss=lambda y: y.sum())
    assert tape.meta["drawn"] == {"aten.rand": 1, "aten.randn": 1, "aten.normal_": 1}
    again, x = _noisy()
    assert an.replay(tape, an.Float64()).value("result") == pytest.approx(again(x).detach().numpy(), rel=1e-6)


@pytest.mark.parametrize("policy", [None, "bf16"])
def test_a_watch_leaves_given_generators_alone(policy: str | None) -> None:
    def train(watch: Any) -> list[float]:
        module, x = _noisy()
        losses = []
        with contextlib.nullcontext() if watch is None else watch(module) as w:
            for _ in range(3):
                with contextlib.nullcontext() if w is None else w.step():
                    loss = module(x).square().sum()
                    loss.backward()
                    losses.append(loss.item())
        assert w is None or (w.seeded, w.sampled) == ({}, 3)
        return losses

    assert train(lambda module: an.watch(module, policy, every=1)) == train(None)


def test_the_generators_of_devices_that_are_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of torch's table of CUDA's generators, which here holds two of the CPU's."""
    first, second, own = (torch.Generator().manual_seed(seed) for seed in range(3))
    monkeypatch.setattr(torch.cuda, "default_generators", (first, second), raising=False)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    asked: Callable[..., list[Any]] = lambda *given: [one.generator for one in may_draw(given)]  # noqa: E731
    everyone = torch.default_generator
    assert asked() == asked(torch.ones(2), torch.device("cpu")) == [everyone]
    assert asked(torch.device("cuda:0")) == [everyone, first]
    assert asked(torch.device("cuda")) == [everyone, second]
    assert asked(torch.device("cuda", 1), torch.device("cuda", 0), torch.device("meta")) == [everyone, first, second]
    assert asked(torch.device("cuda:0"), own) == [own]
    before = may_draw([torch.device("cuda:0")])
    with undisturbed(before):
        state = first.get_state()
        torch.rand(3, generator=first)
        assert [one.generator for one in drawn(before)] == [first]
        assert torch.equal(drawn(before)[0].state, state)
    assert drawn(before) == ()
