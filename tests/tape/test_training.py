"""The training loop: fast replays equal the engine's bit for bit, and a step equals the arithmetic written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from analysis.arithmetics.emulated import Rounder
from analysis.datasets import digits
from analysis.nets.program import parameters
from analysis.optimisers import adam, adamw, momentum, sgd
from analysis.training import Clip, Scaler, Setup, Stepper, Trainer, feed, train
from analysis.training.feeds import TEST
from analysis.training.treatment import LossScale, clipped, scale_leaf
from analysis.training.update import Weights

NETS = {
    "mlp": {"sizes": (64, 8, 10), "norm": "group"},
    "residual_mlp": {"width": 8, "depth": 2, "branch_scale": "depth", "init": "orthogonal"},
    "cnn": {"channels": (2,)},
    "rnn": {"length": 5, "hidden": 4, "features": 10, "recall": 2, "norm": "layer", "init": "lecun"},
    "gru": {"length": 3, "hidden": 4},
    "lstm": {"length": 5, "hidden": 4, "features": 10, "recall": 2},
    "attention": {"length": 4, "width": 8},
    "transformer": {"width": 8, "heads": 2, "length": 4, "vocabulary": 8, "norm": "rms", "branch_scale": "depth"},
    "llama": {"layers": 1, "width": 8, "heads": 2, "length": 4, "vocabulary": 8},
}
POLICIES = ("binary16/STOCHASTIC_C", "fp8_recipe", "mixed:e5m2:binary16")


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", POLICIES)
def test_fast_replays_have_the_values_of_the_engine_bit_for_bit(net: str, name: str) -> None:
    tape = an.nets.NETS[net](**NETS[net], batch=2)
    policy = an.Policy.named(name)
    exact = an.replay(tape, an.Float64())
    stepper = Stepper(tape, policy)
    for pinned, decisions in ((False, None), (exact, [value[0] for value in exact.values])):
        slow = an.replay(tape, policy, pinned=pinned, step=3)
        fast = stepper.run(step=3, decisions=decisions)
        assert [x.tobytes() for x in fast] == [x[0].tobytes() for x in slow.values]
    assert [x.tobytes() for x in Stepper(tape).run()] == [x[0].tobytes() for x in exact.values]


def test_fast_replays_draw_the_engines_bits_for_partial_sums() -> None:
    tape = an.nets.mlp((64, 4, 10), batch=2)
    numerics = an.Numerics(accumulate="bf16", result="bf16", projection=fe.Projection("stochastic_c"))
    policy = an.Policy("drawn", (an.Rule(numerics),), seed=3)
    for step in (0, 3):
        slow, fast = an.replay(tape, policy, step=step), Stepper(tape, policy).run(step=step)
        assert [x.tobytes() for x in fast] == [x[0].tobytes() for x in slow.values]


@pytest.mark.parametrize("net", NETS)
def test_gradients_are_proportional_to_the_seed_of_the_backward_pass(net: str) -> None:
    tape = an.nets.NETS[net](**NETS[net], batch=2)
    stepper, seed = Stepper(tape), scale_leaf(tape)
    plain, scaled = stepper.run(), stepper.run({seed: np.full(tape.nodes[seed].shape, 2.0**12)})
    for name in parameters(tape):
        got, want = stepper.value(scaled, f"grad:{name}"), stepper.value(plain, f"grad:{name}")
        assert got.tobytes() == (2.0**12 * want).tobytes()
    assert stepper.value(scaled, "loss") == stepper.value(plain, "loss")


@pytest.mark.parametrize("net", NETS)
def test_parameters_are_those_whose_gradients_the_tape_has(net: str) -> None:
    tape = an.nets.NETS[net](**NETS[net], batch=2, optimizer="sgd:lr=0.5")
    run = an.replay(tape, an.Float64())
    for name, node in parameters(tape).items():
        assert run.value(f"new:{name}").tobytes() == (tape.data[node] - 0.5 * run.value(f"grad:{name}")).tobytes()


@pytest.mark.parametrize("policy", ["bfloat16", "torch_amp", "binary16"])
@pytest.mark.parametrize("optimizer", [sgd(0.5, 0.125), momentum(0.25), adam(0.01, eps=1e-3), adamw(0.01, eps=1e-3)])
def test_training_equals_the_tape_of_all_its_steps_bit_for_bit(policy: str, optimizer: Any) -> None:
    """Three steps recorded one after the other, their updates tensor by tensor."""
    arguments = {"length": 3, "hidden": 4, "features": 3}
    setup = Setup("gru", arguments, an.Policy.named(policy), optimizer, steps=3, batch=2)
    tape = an.nets.gru(**arguments, batch=2, optimizer=optimizer, steps=3)
    run = an.replay(tape, policy)
    trained = train(setup)
    assert trained.losses[:3] == [run.value(name).item() for name in ("loss@1", "loss@2", "loss")]
    for name, found in trained.weights.items():
        assert found.tobytes() == run.value(f"new:{name}").tobytes()


def test_what_an_update_meant_is_its_exact_sum() -> None:
    # half an ulp of 1 is 2^-9 below it in bfloat16: 2^-10 is lost, Kahan's rest moves the weight in the second step
    for compensated, values in ((False, [1.0, 1.0]), (True, [1.0, 1.0 - 2.0**-8])):
        weights = Weights({"w": np.array([1.0])}, compensated)
        seen = []
        for step in range(2):
            weights.update({"w": np.array([2.0**-10 * (1 + step)])}, sgd(1.0), an.Policy.uniform("bf16"), step)
            seen.append(weights.values["w"].item())
        assert seen == values
        assert weights.meant.tolist() == [-3 * 2.0**-10]
        assert weights.motion_error == (1.0 if not compensated else 1 / 3)


@pytest.mark.parametrize("fmt", ["binary16", "bfloat16", "binary32"])
@pytest.mark.parametrize("size", ["small", "large", "inf", "nan", "zero"])
def test_clipping_equals_torch_bit_for_bit(fmt: str, size: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    clip = pytest.importorskip("torch.nn.utils", reason="torch is not installed")
    dtype = {"binary16": torch.float16, "bfloat16": torch.bfloat16, "binary32": torch.float32}[fmt]
    scale = {"small": 2.0**-6, "large": 2.0**4, "zero": 0.0}.get(size, 1.0)
    drawn = np.random.default_rng(5).standard_normal((2, 40)) * scale
    if fmt == "binary32":  # torch adds squares in binary32 itself: norms 5 and 13, which no order of addition changes
        drawn = np.zeros((2, 40))
        drawn[0, [1, 30]], drawn[1, [2, 31]] = (3 * scale, 4 * scale), (5 * scale, 12 * scale)
    if size in ("inf", "nan"):
        drawn[1, 7] = float(size)
    gradients = {str(i): np.asarray(fe.round(row, fmt)) for i, row in enumerate(drawn)}
    rounder = Rounder(fe.get_format(fmt), fe.Projection())
    for kind, limit in (("norm", 0.7), ("value", 0.3)):
        tensors = [torch.nn.Parameter(torch.zeros(40, dtype=dtype)) for _ in drawn]
        for tensor, gradient in zip(tensors, gradients.values()):
            tensor.grad = torch.tensor(gradient).to(dtype)
        if kind == "norm":
            clip.clip_grad_norm_(tensors, limit, foreach=False)
        else:
            clip.clip_grad_value_(tensors, limit, foreach=False)
        found = clipped(gradients, Clip(kind, limit), rounder)
        for tensor, mine in zip(tensors, found.values()):
            wanted = tensor.grad.to(torch.float64).numpy()
            assert np.array_equal(mine, wanted, equal_nan=True), (kind, mine, wanted)


def test_a_norm_that_overflows_erases_what_is_finite() -> None:
    """Trap: clipping does not cut an infinity off, it makes NaN of it, and zeros of everything else."""
    gradients = {"a": np.array([np.inf, 1.0]), "b": np.array([2.0])}
    found = clipped(gradients, Clip("norm", 1.0))
    assert np.isnan(found["a"][0])
    assert found["a"][1] == found["b"][0] == 0
    # and in binary16 a finite gradient's norm can overflow by itself
    half = Rounder(fe.get_format("binary16"), fe.Projection())
    assert clipped({"a": np.full(4, 60000.0)}, Clip("norm", 1.0), half)["a"].tolist() == [0.0] * 4


def test_dynamic_scales_follow_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    mine = LossScale(Scaler(2.0**10, 2))
    weight = torch.nn.Parameter(torch.ones(1))
    optimiser = torch.optim.SGD([weight], 0.0)
    for finite in (True, True, False, True, False, False, True, True, True, True):
        optimiser.zero_grad()
        theirs.scale(weight.sum() * (1.0 if finite else float("inf"))).backward()
        theirs.step(optimiser)
        theirs.update()
        assert mine.skips(finite) == (not finite)
        assert mine.value == theirs.get_scale()


def test_a_loss_scale_keeps_what_underflows_and_a_scaler_skips_what_overflows() -> None:
    base = {"sizes": (64, 8, 8, 8, 10), "activation": "tanh", "init": "small"}
    plain = Setup("mlp", base, an.Policy.named("torch_amp"), sgd(0.1), steps=3, batch=8)
    zeros = {}
    for scale in (1.0, 2.0**10):
        trainer = Trainer(plain)
        found = trainer.gradients(trainer.emulated, trainer.start(), 0, scale).gradients["W0"]
        zeros[scale] = int((found == 0).sum())
    assert zeros[1.0] > zeros[2.0**10]
    high = train(replace(plain, scaler=Scaler(2.0**30, 100)))
    assert (high.skipped, high.scale) == (3, 2.0**27)
    assert all(value.tobytes() == high.weights[name].tobytes() for name, value in Trainer(plain).start().items())
    broken = train(replace(plain, scaler=Scaler(2.0**30)))  # a constant scale skips nothing
    assert broken.diverged_at == 1


def test_digits_are_shuffled_anew_each_epoch_and_none_of_the_test_is_seen() -> None:
    tape = an.nets.mlp((64, 10), batch=32)
    data = feed(tape, seed=3)
    x, _ = digits()
    (inputs,) = (node.id for node in tape.nodes if node.op == "input")
    known = {row.tobytes() for row in x[:-TEST]}
    steps = (len(x) - TEST) // 32
    epoch = np.concatenate([data.batch(step, 0)[inputs] for step in range(steps)])
    assert len({row.tobytes() for row in epoch}) >= len(epoch) - 5  # a few images are equal
    assert {row.tobytes() for row in epoch} <= known
    assert data.batch(0, 0)[inputs].tobytes() == data.batch(0, 0)[inputs].tobytes()
    assert data.batch(0, 0)[inputs].tobytes() != data.batch(steps + 1, 0)[inputs].tobytes()


def test_a_copy_task_is_learned_by_an_lstm_in_bfloat16() -> None:
    """One symbol, four steps later: 1/8 by chance."""
    arguments = {"length": 6, "hidden": 16, "features": 10, "recall": 1}
    setup = Setup("lstm", arguments, an.Policy.named("mixed:bfloat16"), adam(0.03), steps=60, batch=16)
    found = train(setup)
    assert found.accuracy is not None
    assert found.accuracy > 0.5
    assert found.losses[-1] < found.losses[0]
