"""Emulated models in programs of every kind: checkpoints, autocast, penalties of gradients, mixtures of experts."""

from itertools import pairwise

import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
import torch
from torch.utils.checkpoint import checkpoint
from torch_models import grouped_mm

import floatemu as fe
import floatemu.interop.torch as ft


class Blocks(torch.nn.Module):
    """Two layers, the second perhaps computed again in the backward pass."""

    def __init__(self, reentrant):
        super().__init__()
        self.first, self.second = torch.nn.Linear(8, 8), torch.nn.Linear(8, 4)
        self.reentrant = reentrant

    def forward(self, x):
        x = self.first(x)
        if self.reentrant is None:
            return self.second(x.tanh())
        return checkpoint(lambda y: self.second(y.tanh()), x, use_reentrant=self.reentrant)


def _trained(recipe, reentrant, back):
    torch.manual_seed(0)
    model = Blocks(reentrant)
    emulation = ft.emulate(model, recipe)
    for _ in range(3):
        model.zero_grad()
        with emulation:
            back(model(torch.randn(5, 8)).square().sum(), model)
    return [one.grad.clone() for one in model.parameters()], emulation


BACKWARD = {
    "method": lambda loss, model: loss.backward(),
    "function": lambda loss, model: torch.autograd.backward(loss),
    "gradients": lambda loss, model: [
        setattr(one, "grad", found)
        for one, found in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True)
    ],
}


@pytest.mark.parametrize("recipe", ["bfloat16", "fp8_delayed", "nvfp4"])
@pytest.mark.parametrize("way", BACKWARD)
@pytest.mark.parametrize("reentrant", [True, False])
def test_what_a_checkpoint_computes_again_is_emulated_as_the_first_was(recipe, way, reentrant):
    if reentrant and way == "gradients":  # torch itself refuses
        return
    plain, _ = _trained(recipe, None, BACKWARD[way])
    again, emulation = _trained(recipe, reentrant, BACKWARD[way])
    assert all(torch.equal(x, y) for x, y in zip(plain, again, strict=True))
    # without re-entrance torch breaks off within the last operation, once it has what it needs
    assert emulation.counts["second", "linear"] == (6 if reentrant else 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("recipe", ["bfloat16", "fp8_tensor", "nvfp4"])
def test_autocast_leaves_products_to_the_recipe(recipe, dtype):
    torch.manual_seed(0)
    model, x = (
        torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.LayerNorm(32), torch.nn.Linear(32, 4)),
        torch.ones(2, 32),
    )
    found = []
    for enabled in (False, True):
        model.zero_grad()
        with ft.emulate(model, recipe), torch.autocast("cpu", dtype, enabled=enabled):
            y = model(x)
            y.sum().backward()
        found.append([y.detach(), *(one.grad for one in model.parameters())])
    assert all(torch.equal(x, y) for x, y in zip(*found, strict=True))


def test_gradients_of_gradients_are_refused_in_words():
    model, x = torch.nn.Linear(4, 1), torch.ones(2, 4, requires_grad=True)
    with ft.emulate(model, "fp8_tensor"):
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        assert slope.shape == x.shape
        with pytest.raises(fe.ProjectionError, match=r"#1: the gradient of an emulated product's gradient"):
            slope.square().sum().backward()
    with ft.emulate(model, ft.Recipe(skip=("*",))):  # outside it is as ever
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        slope.square().sum().backward()
    assert model.weight.grad is not None


class Experts(torch.nn.Module):
    """Groups of rows, each with a matrix of its own."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(3, 8, 4))

    def forward(self, x, ends, grouped):
        if grouped:
            return grouped_mm(x, self.weight, offs=ends)
        return torch.cat([x[i:j] @ self.weight[k] for k, (i, j) in enumerate(pairwise([0, *ends.tolist()]))])


@pytest.mark.parametrize("recipe", ["bfloat16", "fp8_tensor", "mxfp8"])
def test_grouped_products_are_a_product_for_each_group(recipe):
    torch.manual_seed(0)
    model, x, ends = Experts(), torch.randn(12, 8), torch.tensor([4, 4, 12], dtype=torch.int32)
    found = []
    for grouped in (True, False):
        model.zero_grad()
        with ft.emulate(model, recipe) as emulation:
            y = model(x, ends, grouped)
            y.square().sum().backward()
        found.append((y.detach(), model.weight.grad.clone()))
        assert sum(emulation.counts.values()) == (1 if grouped else 3)
        assert emulation.left == {}
    assert all(torch.equal(x, y) for x, y in zip(*found, strict=True))
    with ft.emulate(model, recipe) as emulation:
        model(x.reshape(3, 4, 8), None, True)  # batches, which have a function of their own
    assert emulation.left == {("", "_grouped_mm"): 1}
