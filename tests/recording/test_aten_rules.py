"""The tape's operations against ATen's in float64, and the attribution of errors on recorded models."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.ops import Kind, get_op
from analysis.ops.spec import TABLE

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]

from torch_models import HUGGING_FACE, NO_TRANSFORMERS, make  # noqa: E402

Terms = Callable[..., tuple[Any, int]]


def _one(*operands: Any, result: Any) -> tuple[Any, int]:
    return result.abs(), 1


def _both(x: Any, y: Any, result: Any) -> tuple[Any, int]:
    return x.abs() + y.abs(), 1


# Operation of the tape: ATen's, its operands, attributes, and (sum of the magnitudes of the terms, their number).
RULES: dict[str, tuple[Callable[..., Any], tuple[str, ...], dict[str, Any], Terms]] = {
    "add": (torch.add, ("any", "any"), {}, _both),
    "sub": (torch.sub, ("any", "any"), {}, _both),
    "mul": (torch.mul, ("any", "any"), {}, _one),
    "div": (torch.div, ("any", "any"), {}, _one),
    "sum": (
        lambda x: torch.sum(x, 1),
        ("any",),
        {"axis": 1, "keepdims": False},
        lambda x, result: (x.abs().sum(1), x.shape[1]),
    ),
    "matmul": (torch.matmul, ("any", "turned"), {}, lambda x, y, result: (x.abs() @ y.abs(), x.shape[1])),
    **{name: (getattr(torch, name), ("any",), {}, _one) for name in ("exp", "tanh", "sigmoid", "sin", "cos", "erf")},
    **{name: (getattr(torch, name), ("positive",), {}, _one) for name in ("log", "sqrt", "rsqrt")},
    "erf_slope": (lambda x: 2 / math.sqrt(math.pi) * torch.exp(-x * x), ("small",), {}, _one),
}


def _operand(kind: str, seed: int) -> Any:
    random = np.random.default_rng(seed)
    x = random.standard_normal((40, 70)) * 2.0 ** random.integers(-6, 5, (40, 70))
    if kind == "positive":
        x = np.abs(x) * 2.0 ** random.integers(-40, 40, x.shape)
    if kind == "small":  # where -x x, rounded, moves its exponential by little
        x = np.clip(x, -1.0, 1.0)
    return torch.from_numpy(np.ascontiguousarray(x.T) if kind == "turned" else x)


def test_every_operation_that_computes_is_compared() -> None:
    assert set(RULES) == {name for name, spec in TABLE.items() if spec.kind is Kind.COMPUTE}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_its_aten_operation_to_the_error_of_its_sums(name: str) -> None:
    function, kinds, attributes, terms = RULES[name]
    operands = [_operand(kind, index) for index, kind in enumerate(kinds)]
    wanted = function(*operands)
    found = get_op(name).forward(an.Float64(), [one.numpy() for one in operands], attributes)
    size, count = terms(*operands, result=wanted)
    assert found.shape == tuple(wanted.shape)
    error = np.abs(found - wanted.numpy())
    assert (error <= 4 * count * 2.0**-53 * size.numpy()).all(), (error / size.numpy()).max() * 2.0**53
    moved = found * (1 + 2.0**-40)  # a wrong rule would be seen
    assert not (np.abs(moved - wanted.numpy()) <= 4 * count * 2.0**-53 * size.numpy()).all()


SMOOTH = ["mlp", "residual", "rnn", "gru", "lstm", "encoder", "tied", "autocast", "normalised"]
LARGE = [pytest.param(name, marks=NO_TRANSFORMERS) for name in HUGGING_FACE]


ZERO = {
    "vit": {f"grad:vit.layers.{i}.attention.k_proj.bias" for i in (0, 1)},
    "normalised": {"grad:first.bias", "grad:layer.bias"},
}
"""Gradients that are zero in exact arithmetic: softmax does not see what all keys have in common, nor a norm a bias."""


@pytest.mark.parametrize("name", [*SMOOTH, *LARGE])
def test_the_error_in_bfloat16_is_attributed_whole(name: str) -> None:
    case = make(name)
    tape = an.record(case.module, *case.inputs, loss=case.loss, keywords=case.keywords)
    found = an.analyze(tape, "bf16", "float64", target="loss")
    gradients = [target for target in tape.targets if target.startswith("grad:")]
    for target in {"loss", *gradients} - ZERO.get(name, set()):
        attribution = found.attribution(target)
        size = max(abs(attribution.measured), attribution.rss)
        assert size > 0, target
        assert abs(attribution.sum - attribution.measured) <= 0.03 * size, target
    for target in ZERO.get(name, ()):
        attribution = found.attribution(target)
        assert attribution.exact < 2.0**-40 * attribution.emulated
        assert attribution.reason.startswith(f"{target} is zero in exact arithmetic (its norm of ")


@NO_TRANSFORMERS
def test_a_bias_of_keys_changes_no_loss() -> None:
    """Why those gradients are zero: the bias may be anything."""
    case = make("vit")
    module, given = case.module.double(), [x.double() if x.is_floating_point() else x for x in case.inputs]
    losses = []
    with torch.no_grad():
        for size in (0.0, 3.0):
            for target in ZERO["vit"]:
                module.get_parameter(target.removeprefix("grad:")).fill_(size)
            result = module(*given, **case.keywords)
            losses.append(float(result.loss if case.loss is None else case.loss(result)))
    assert abs(losses[1] - losses[0]) <= 1e-13 * abs(losses[0])
