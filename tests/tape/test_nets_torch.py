"""Every family of nets against the same model written in torch, in float64, within a tolerance from the adjoints.

The tape's rules serve reference and emulation alike, so that a wrong rule would go unnoticed between them; torch's
own modules and its autograd share nothing with them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.adjoint import adjoints
from analysis.nets.catalogue import NETS
from analysis.ops import get_op
from analysis.reference import reference

# a submodule: a folder of tests named torch would pass for the package where there is none
nn = pytest.importorskip("torch.nn.functional", reason="torch is not installed")
torch = sys.modules["torch"]
Parameters = dict[str, Any]
ACTIVATION = {"gelu": lambda x: nn.gelu(x), "tanh": lambda x: torch.tanh(x), "relu": lambda x: torch.relu(x)}


def _linear(p: Parameters, name: str, x: Any) -> Any:
    bias = p.get(f"{name}.b")
    return nn.linear(x, p[f"{name}.W"].T, bias)


def _norm(p: Parameters, name: str, x: Any) -> Any:
    return nn.layer_norm(x, x.shape[-1:], p[f"{name}.gain"], p[f"{name}.bias"], 1e-5)


def _mlp(p: Parameters, data: list[Any]) -> tuple[Any, Any]:
    x = torch.relu(nn.batch_norm(data[0] @ p["W0"] + p["b0"], None, None, p["g0"], p["s0"], True, 0.1, 1e-5))
    logits = x @ p["W1"] + p["b1"]
    return logits, nn.cross_entropy(logits, data[1])


def _residual(p: Parameters, data: list[Any]) -> tuple[Any, Any]:
    x = _linear(p, "stem", data[0])
    for block in ("block0", "block1"):
        x = x + _linear(p, f"{block}.down", nn.gelu(_linear(p, f"{block}.up", _norm(p, f"{block}.norm", x))))
    logits = _linear(p, "head", x)
    return logits, nn.cross_entropy(logits, data[1])


def _cnn(p: Parameters, data: list[Any]) -> tuple[Any, Any]:
    x = data[0]
    for name in ("conv0", "conv1"):
        x = nn.conv2d(x, p[f"{name}.W"], p[f"{name}.b"], padding=1)
        gain, bias = p[f"{name}.norm.gain"], p[f"{name}.norm.bias"]
        x = nn.max_pool2d(torch.relu(nn.batch_norm(x, None, None, gain, bias, True, 0.1, 1e-5)), 2)
    logits = _linear(p, "head", x.flatten(1))
    return logits, nn.cross_entropy(logits, data[1])


def _last(p: Parameters, h: Any, labels: Any) -> tuple[Any, Any]:
    logits = _linear(p, "head", h)
    return logits, nn.cross_entropy(logits, labels)


def _cell(kind: type, p: Parameters, data: list[Any]) -> tuple[Any, Any]:
    # torch's own cell, its parameters replaced; the zeros of the first state come first
    *states, labels = [x for x in data if x.dtype == torch.int64 or not x.any()]
    sequence = [x for x in data if x.dtype != torch.int64 and x.any()]
    h, width = states[0], p["W"].shape[1]
    cell = kind(sequence[0].shape[1], h.shape[1]).double()
    held = {
        "weight_ih": p["U"].T,
        "weight_hh": p["W"].T,
        "bias_ih": p["b"],
        "bias_hh": p.get("c", torch.zeros(width, dtype=torch.float64)),
    }
    for x in sequence:
        given = (x, (h, states[1])) if len(states) == 2 else (x, h)
        found = torch.func.functional_call(cell, held, given)
        h, *rest = found if isinstance(found, tuple) else (found,)
        states = [h, *rest]
    return _last(p, h, labels)


def _attend(p: Parameters, at: str, x: Any, heads: int, groups: int, rope: Any = None) -> Any:
    batch, length, width = x.shape
    d = width // heads

    def split(name: str, count: int) -> Any:
        return _linear(p, f"{at}.{name}", x).reshape(batch, length, count, d).transpose(1, 2)

    q, k, v = split("q", heads), split("k", groups), split("v", groups)
    if rope is not None:
        q, k = rope(q), rope(k)
    k, v = (part.repeat_interleave(heads // groups, 1) for part in (k, v))
    mixed = nn.scaled_dot_product_attention(q, k, v, is_causal=True)
    return _linear(p, f"{at}.out", mixed.transpose(1, 2).reshape(batch, length, width))


def _attention(p: Parameters, data: list[Any]) -> tuple[Any, Any]:
    found = _attend(p, "attention", data[0], 2, 2)
    return found, nn.mse_loss(found, data[1])


def _tokens(logits: Any, labels: Any) -> tuple[Any, Any]:
    return logits, nn.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels)


def _transformer(p: Parameters, data: list[Any]) -> tuple[Any, Any]:
    x = nn.embedding(data[0], p["embedding.W"]) + p["positions.W"]
    x = x + _attend(p, "layer0.attention", _norm(p, "layer0.attention.norm", x), 2, 2)
    found = nn.gelu(_linear(p, "layer0.mlp.up", _norm(p, "layer0.mlp.norm", x)))
    x = x + _linear(p, "layer0.mlp.down", found)
    return _tokens(_linear(p, "head", _norm(p, "norm", x)), data[1])


def _llama(p: Parameters, data: list[Any]) -> tuple[Any, Any]:
    text, labels = (x for x in data if x.dtype == torch.int64)

    def rms(name: str, x: Any) -> Any:
        return nn.rms_norm(x, x.shape[-1:], p[f"{name}.gain"], 1e-6)

    def rope(x: Any) -> Any:
        half = x.shape[-1] // 2
        angles = torch.outer(
            torch.arange(x.shape[2], dtype=torch.float64),
            10000.0 ** (-torch.arange(half, dtype=torch.float64) / half),
        )
        turn = torch.polar(torch.ones_like(angles), angles)
        turned = torch.complex(x[..., :half], x[..., half:]) * turn
        return torch.cat([turned.real, turned.imag], -1)

    x = nn.embedding(text, p["embedding.W"])
    for layer in ("layer0", "layer1"):
        x = x + _attend(p, f"{layer}.attention", rms(f"{layer}.attention.norm", x), 4, 2, rope)
        found = rms(f"{layer}.mlp.norm", x)
        opened = nn.silu(_linear(p, f"{layer}.mlp.gate", found)) * _linear(p, f"{layer}.mlp.up", found)
        x = x + _linear(p, f"{layer}.mlp.down", opened)
    return _tokens(_linear(p, "head", rms("norm", x)), labels)


Model = Callable[[Parameters, list[Any]], tuple[Any, Any]]
CASES: dict[str, tuple[dict[str, Any], Model]] = {
    "mlp": ({"sizes": (64, 6, 10), "batch": 5, "norm": "batch"}, _mlp),
    "residual_mlp": ({"width": 6, "depth": 2, "batch": 3}, _residual),
    "cnn": ({"channels": (2, 3), "batch": 3, "norm": "batch"}, _cnn),
    "rnn": ({"length": 5, "hidden": 4, "features": 3}, lambda p, d: _cell(torch.nn.RNNCell, p, d)),
    "gru": ({"length": 4, "hidden": 4, "features": 3}, lambda p, d: _cell(torch.nn.GRUCell, p, d)),
    "lstm": ({"length": 4, "hidden": 4, "features": 3}, lambda p, d: _cell(torch.nn.LSTMCell, p, d)),
    "attention": ({"length": 4, "width": 6}, _attention),
    "transformer": ({"width": 8, "heads": 2, "length": 5, "vocabulary": 7, "std": 0.3}, _transformer),
    "llama": (
        {"layers": 2, "width": 8, "heads": 4, "kv_heads": 2, "length": 5, "vocabulary": 7, "std": 0.3},
        _llama,
    ),
}


def test_every_net_has_its_twin() -> None:
    assert set(CASES) == set(NETS) - {"chain"}


def _tolerance(run: an.Run, target: str, seed: np.ndarray) -> float:
    """How far two binary64 evaluations of sum(seed * target) may lie apart, to first order.

    Each operation errs by at most the number of its roundings times 2^-53 times its sensitivity (which for
    sums is the sum of magnitudes); the adjoint carries that to the result. torch may order its own otherwise:
    as many roundings again, and twice that for what it fuses.
    """
    total = 0.0
    for index, adjoint in adjoints(run, run.tape.targets[target], seed):
        node = run.tape.nodes[index]
        spec, value = get_op(node.op), run.value(index)
        if spec.sensitivity is None:
            continue
        inputs = [run.value(ref) for ref in node.inputs]
        with np.errstate(invalid="ignore"):
            size = np.maximum(
                np.nan_to_num(spec.sensitivity(inputs, value, node.attributes), posinf=0.0), np.abs(value)
            )
        terms = 4.0  # exp, tanh, erf and their kind: a few units in the last place
        if node.op == "matmul":
            terms = inputs[0].shape[-1] + 1.0
        elif node.op == "sum":
            terms = float(inputs[0].shape[node.attributes["axis"]])
        total += terms * float((np.abs(adjoint) * np.where(np.isfinite(size), size, 0.0)).sum())
    return 4 * 2.0**-53 * total


@pytest.mark.parametrize("name", CASES)
def test_loss_logits_and_gradients_equal_torch_in_float64(name: str) -> None:
    options, model = CASES[name]
    tape = NETS[name](**options)
    names = [key.removeprefix("grad:") for key in tape.targets if key.startswith("grad:")]
    leaves = [node.id for node in tape.nodes if node.op == "parameter"]
    rng = np.random.default_rng(3)
    # parameters that start at 0 or 1 would hide what multiplies or adds them
    data = {
        key: value + rng.integers(-8, 9, value.shape) / 64 if key in leaves else value
        for key, value in tape.data.items()
    }
    tape = an.Tape(tape.nodes, data, tape.targets, tape.name)
    run = reference(tape).run
    p = {key: torch.tensor(tape.data[leaf], requires_grad=True) for key, leaf in zip(names, leaves, strict=False)}
    given = [torch.tensor(tape.data[node.id]) for node in tape.nodes if node.op in ("input", "target")]
    logits, loss = model(p, given)
    loss.backward()
    found = {"logits": logits.detach().numpy(), "loss": loss.detach().numpy()}
    found |= {f"grad:{key}": tensor.grad.numpy() for key, tensor in p.items()}
    for target, value in found.items():
        assert value.shape == tape.target(target).shape, target
        seed = rng.choice([-1.0, 1.0], value.shape)
        tail = run.tail(target)
        assert tail is not None
        difference = ((value - run.value(target)) - tail) * seed
        assert abs(math.fsum(difference.ravel())) <= _tolerance(run, target, seed), target
