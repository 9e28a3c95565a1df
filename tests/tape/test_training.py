"""The training loop: fast replays equal the engine's bit for bit, and a step equals the arithmetic written out."""

from __future__ import annotations

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from analysis.nets.program import parameters
from analysis.training import Stepper
from analysis.training.treatment import backward_seed

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
POLICIES = ("bfloat16", "binary16/STOCHASTIC_C", "torch_amp", "fp8_recipe", "mixed:e5m2:binary16")


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
    stepper, seed = Stepper(tape), backward_seed(tape)
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
