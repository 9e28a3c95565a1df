"""Policies as recipes: an emulated layer has the very bits of the tape's replay, and what is no recipe is refused."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import analysis as an
import floatemu as fe

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]

import floatemu.interop.torch as ft  # noqa: E402


def policy(**settings: Any) -> an.Policy:
    product = an.Numerics(operands="e4m3fn", gradients="e5m2", accumulate="binary32", result="binary32", **settings)
    return an.Policy("own", (an.Rule(product, op="matmul"), an.Rule(an.Numerics(result="binary32"))))


@pytest.mark.parametrize("saturation", ["SAT_FINITE", "SAT_NONE"])
def test_an_emulated_layer_has_the_bits_of_the_replay(saturation: str) -> None:
    """With few bits and small sums, whatever their order."""
    random = np.random.default_rng(3)
    x, w, g = (torch.from_numpy(random.integers(-99, 99, shape) / 64).float() for shape in ((6, 8), (4, 8), (6, 4)))
    x[0, 0], g[1, 1] = 2.0**12, 2.0**17  # beyond e4m3fn, beyond e5m2
    x.requires_grad_()
    layer = torch.nn.Linear(8, 4, bias=False)
    layer.weight.data.copy_(w)
    chosen = policy(projection=fe.Projection(saturation=saturation))
    tape = an.record(layer, x, loss=lambda y: (y * g).sum())
    run = an.replay(tape, chosen)
    layer.zero_grad()
    with ft.emulate(layer, chosen.recipe()):
        y = layer(x)
        (y * g).sum().backward()
    for name, found in (("result", y), ("grad:weight", layer.weight.grad)):
        assert run.value(name).astype(np.float32).tobytes() == found.detach().numpy().tobytes()
        assert np.isfinite(run.value(name)).all() == (saturation == "SAT_FINITE")


def test_named_policies_are_recipes() -> None:
    fp8 = an.Policy.named("fp8_recipe").recipe()
    assert (fp8.forward.name, fp8.backward.name, fp8.scaling, fp8.saturation) == (
        "e4m3fn",
        "e5m2",
        "none",
        fe.Saturation.SAT_FINITE,
    )
    amp = an.Policy.named("torch_amp:e4m3fn/e5m2+bf16").recipe()
    assert (amp.forward.name, amp.backward.name, amp.saturation) == ("e4m3fn", "e5m2", fe.Saturation.SAT_NONE)
    assert amp.skip == ("*loss*", "*norm*", "*softmax*")
    unit = fe.matrix.find(gpu="H100", inputs="bf16", output="fp32", instruction="wgmma")
    on_device = an.Policy("unit", (an.Rule(an.Numerics(unit=unit), op="matmul"), an.Rule(an.Numerics())))
    assert on_device.recipe().units == (unit,)


REFUSED = {
    "take operands as they are": an.Policy.uniform("bf16"),
    "sums are not binary32's": an.Policy.named("mixed:bf16:bf16"),
    "scales tensors by powers of two": policy(scaling="operands"),
    "a rule of its own for products in 'head'": an.Policy(
        "head", (an.Rule(an.Numerics(operands="bf16"), path="head"), *policy().rules)
    ),
    "in another format|of another format": an.Policy(
        "two", (an.Rule(an.Numerics(operands="bf16", accumulate="binary32"), direction="backward"), *policy().rules)
    ),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_no_recipe_is_refused_with_the_reason(words: str) -> None:
    with pytest.raises(fe.UnsupportedError, match=f"is no recipe: .*({words}).*accepted: policies that round operands"):
        REFUSED[words].recipe()
