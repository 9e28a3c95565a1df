"""Kernels that are taken apart by hand, against torch's own; mixtures of experts, which have no float64 kernel."""

from __future__ import annotations

import copy
import sys
from typing import Any

import pytest

import analysis as an

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]
nn = torch.nn

from torch_models import grouped_mm  # noqa: E402

from analysis.torch.kernels import DECOMPOSITIONS  # noqa: E402

aten = torch.ops.aten


def _close(found: Any, wanted: Any) -> None:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    assert (found - wanted).norm() <= 2.0**-20 * wanted.norm()


@pytest.mark.parametrize("kind", ["rows", "columns", "sums", "batches"])
def test_grouped_products(kind: str) -> None:
    torch.manual_seed(0)
    ends = torch.tensor([4, 4, 12], dtype=torch.int32)
    given = {
        "rows": (torch.randn(12, 8), torch.randn(3, 8, 4), ends),
        "columns": (torch.randn(3, 4, 8), torch.randn(8, 12), ends),
        "sums": (torch.randn(4, 12), torch.randn(12, 8), ends),
        "batches": (torch.randn(3, 4, 8), torch.randn(3, 8, 4)),
    }[kind]
    _close(DECOMPOSITIONS[aten._grouped_mm.default](*given), aten._grouped_mm(*given))


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("padding", [-1, 2])
def test_bags(mode: int, last: bool, padding: int) -> None:
    torch.manual_seed(0)
    weight, indices = torch.randn(5, 3), torch.tensor([0, 2, 2, 4, 1])
    offsets = torch.tensor([0, 2, 2, 5] if last else [0, 2, 2])
    factors = torch.randn(5) if mode == 0 else None
    options = (False, mode, False, factors, last, padding)
    wanted = aten._embedding_bag(weight, indices, offsets, *options)
    found = DECOMPOSITIONS[aten._embedding_bag.default](weight, indices, offsets, *options)
    _close(found[0], wanted[0])
    grad = torch.randn_like(wanted[0])
    given = (grad, indices, offsets, *wanted[1:], 5, False, mode, False, factors, padding)
    _close(DECOMPOSITIONS[aten._embedding_bag_backward.default](*given), aten._embedding_bag_backward(*given))
    other = (False, 2, False, None, last, padding)
    assert DECOMPOSITIONS[aten._embedding_bag.default](weight, indices, offsets, *other) is NotImplemented


@pytest.mark.parametrize("dim", [0, -1])
def test_weight_norms(dim: int) -> None:
    torch.manual_seed(0)
    v, grad = torch.randn(4, 3), torch.randn(4, 3)
    g = torch.rand(4, 1) if dim == 0 else torch.rand(1, 3)
    norms = v.norm(dim=1 if dim == 0 else 0, keepdim=True)
    given = (grad, v, g, norms, dim % 2)
    wanted = aten._weight_norm_interface_backward(*given)
    for one, two in zip(DECOMPOSITIONS[aten._weight_norm_interface_backward.default](*given), wanted, strict=True):
        _close(one, two)


class Experts(nn.Module):
    """Rows go to the two experts that a router likes best."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.weight = nn.Linear(8, 3), nn.Parameter(torch.randn(3, 8, 8))

    def forward(self, x: Any) -> Any:
        best, chosen = self.router(x).softmax(-1).topk(2, -1)
        order = chosen.flatten().argsort(stable=True)
        ends = torch.bincount(chosen.flatten(), minlength=3).cumsum(0)
        rows = x[order // 2]
        if x.dtype == torch.float64:  # for which torch has no kernel
            parts = zip([0, *ends.tolist()], ends.tolist())
            y = torch.cat([rows[i:j] @ self.weight[k] for k, (i, j) in enumerate(parts)])
        else:
            y = grouped_mm(rows, self.weight, offs=ends.to(torch.int32))
        return torch.zeros_like(x).index_add(0, order // 2, y * best.flatten()[order, None]).tanh()


def test_mixtures_of_experts_are_followed() -> None:
    torch.manual_seed(1)
    module, x = Experts(), torch.randn(6, 8)
    double = copy.deepcopy(module).double()
    wanted = double(x.double()).mean()
    wanted.backward()
    with an.watch(module, every=1) as w, w.step():
        loss = module(x).mean()
        loss.backward()
        shadow, found = w.shadow(loss), {key: w.shadow(one.grad) for key, one in module.named_parameters()}
    assert w.seeded == {}
    module.zero_grad()
    tape = an.record(module, x, loss=lambda y: y.mean())
    assert tape.meta["opaque"] == {}
    assert tape.meta["escapes"] == {"": 6}  # the ends of three groups, forward and backward
    run = an.replay(tape, an.Float64())
    for value in (shadow, run.value("loss").item()):
        assert abs(value - wanted) <= 1e-14 * abs(wanted)
    for key, one in double.named_parameters():
        for gradient in (found[key], torch.from_numpy(run.value(f"grad:{key}"))):
            assert (gradient - one.grad).norm() <= 1e-14 * one.grad.norm(), key


F = nn.functional
LOSSES: dict[str, Any] = {
    "binary": lambda y: F.binary_cross_entropy(y.sigmoid(), torch.full_like(y, 0.3)),
    "binary with logits": lambda y: F.binary_cross_entropy_with_logits(y, torch.full_like(y, 0.3)),
    "cosine": lambda y: F.cosine_embedding_loss(y, y.flip(0) * 2 + 1, torch.tensor([1, -1, 1, 1])),
    "entropy": lambda y: F.cross_entropy(y, torch.tensor([0, -100, 2, 3]), label_smoothing=0.1),
    "gaussian": lambda y: F.gaussian_nll_loss(y, torch.zeros_like(y), y.exp()),
    "hinge": lambda y: F.hinge_embedding_loss(y, torch.ones_like(y)),
    "huber": lambda y: F.huber_loss(y, torch.zeros_like(y)),
    "kl": lambda y: F.kl_div(y.log_softmax(-1), torch.full_like(y, 1 / 6), reduction="batchmean"),
    "l1": lambda y: F.l1_loss(y, torch.zeros_like(y)) + F.smooth_l1_loss(y, torch.zeros_like(y)),
    "margin": lambda y: F.multi_margin_loss(y, torch.arange(4)),
    "margins of many": lambda y: F.multilabel_margin_loss(y, torch.tensor([[0, 2, -1, 1, 1, 1]] * 4)),
    "poisson": lambda y: F.poisson_nll_loss(y, torch.ones_like(y)),
    "soft margins": lambda y: (
        F.multilabel_soft_margin_loss(y, torch.ones_like(y)) + F.soft_margin_loss(y, torch.ones_like(y))
    ),
    "triplet": lambda y: F.triplet_margin_loss(y, y.flip(0) + 1, y.roll(1, 0)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_that_is_taken_apart_is_the_loss(name: str) -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(3, 6), torch.randn(4, 3)
    with torch.no_grad():
        wanted = LOSSES[name](copy.deepcopy(module).double()(x.double())).item()
    tape = an.record(module, x, loss=LOSSES[name])
    found = an.replay(tape, an.Float64()).value("loss").item()
    # a loss that stays whole has binary32's digits
    assert abs(found - wanted) <= (1e-6 if tape.meta["opaque"] else 1e-14) * abs(wanted)
