"""Optimisers on the tape: torch's results, hand-written arithmetic bit for bit, and updates that are lost."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from analysis.nets.leaves import Leaves
from analysis.nets.program import Outcome, record
from analysis.ops import Builder
from analysis.optimisers import OPTIMISERS, Adam, Sgd, adam, adamw, momentum, named, sgd
from floatemu.errors import UnsupportedError

CHOICES = {
    "sgd": sgd(0.25, weight_decay=0.125),
    "momentum": momentum(0.1, 0.75, weight_decay=0.01),
    "adam": adam(0.01, 0.8, 0.95, 1e-6, weight_decay=0.1),
    "adamw": adamw(0.01, weight_decay=0.1),
}
STEPS = 4


def quadratic(optimizer: Any, steps: int = 1, start: float = 1.0, slope: float = 0.5) -> an.Tape:
    """The loss slope * w of two weights: its gradient is the slope, whatever the weight."""

    def program(leaves: Leaves) -> Outcome:
        w = leaves.parameter("w", np.array([start, -start]))
        loss = (w * leaves.data("slope", "input", np.full(2, slope))).sum(0)
        return Outcome(loss, w)

    return record("line", program, 0, optimizer, steps)


@pytest.mark.parametrize("name", CHOICES)
def test_updates_equal_their_formulas_over_several_steps(name: str) -> None:
    chosen = CHOICES[name]
    tape = quadratic(chosen, STEPS)
    w, slope = np.array([1.0, -1.0]), 0.5
    m = v = velocity = np.zeros(2)
    for count in range(1, STEPS + 1):
        g = np.full(2, slope)
        if isinstance(chosen, Sgd):
            g = g + chosen.weight_decay * w
            velocity = chosen.momentum * velocity + g
            update = chosen.lr * velocity
        else:
            if chosen.decoupled:
                w = w * (1 - chosen.lr * chosen.weight_decay)
            else:
                g = g + chosen.weight_decay * w
            m = chosen.beta1 * m + (1 - chosen.beta1) * g
            v = chosen.beta2 * v + (1 - chosen.beta2) * g**2
            high, low = m / (1 - chosen.beta1**count), v / (1 - chosen.beta2**count)
            update = chosen.lr * high / (np.sqrt(low) + chosen.eps)
        w = w - update
    run = an.replay(tape, an.Float64())
    # some twenty roundings in each step, on numbers of size 1
    assert np.abs(run.value("new:w") - w).max() <= STEPS * 20 * 2.0**-53
    assert np.abs(run.value("update:w") - update).max() <= STEPS * 20 * 2.0**-53


@pytest.mark.parametrize("name", CHOICES)
def test_updates_equal_those_of_torch(name: str) -> None:
    optimisers = pytest.importorskip("torch.optim", reason="torch is not installed")
    torch = sys.modules["torch"]
    chosen = CHOICES[name]
    w = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True)
    if isinstance(chosen, Sgd):
        steps = optimisers.SGD([w], chosen.lr, chosen.momentum, weight_decay=chosen.weight_decay)
    else:
        kind = optimisers.AdamW if chosen.decoupled else optimisers.Adam
        steps = kind([w], chosen.lr, (chosen.beta1, chosen.beta2), chosen.eps, chosen.weight_decay)
    for _ in range(STEPS):
        steps.zero_grad()
        (0.5 * w).sum().backward()
        steps.step()
    found = an.replay(quadratic(chosen, STEPS), an.Float64()).value("new:w")
    assert np.abs(found - w.detach().numpy()).max() <= STEPS * 20 * 2.0**-53


@pytest.mark.parametrize("fmt", ["binary16", "bfloat16"])
def test_adam_in_a_format_equals_rounding_by_hand_bit_for_bit(fmt: str) -> None:
    def r(x: Any) -> np.ndarray:
        return fe.round(np.asarray(x, float), fmt)

    run = an.replay(quadratic("adam:lr=0.1,eps=1e-3", 3, slope=0.3), fmt)
    w, g = r([1.0, -1.0]), r([0.3, 0.3])
    m = v = None
    for count in (1, 2, 3):
        b1, b2 = 1.0, 1.0
        for _ in range(count):
            b1, b2 = b1 * 0.9, b2 * 0.999
        new_m, new_v = r(r(1 - 0.9) * g), r(r(1 - 0.999) * r(g * g))
        m = new_m if m is None else r(r(r(0.9) * m) + new_m)
        v = new_v if v is None else r(r(r(0.999) * v) + new_v)
        root = r(r(r(np.sqrt(v)) / r(math.sqrt(1 - b2))) + r(1e-3))
        update = r(r(0.1 / (1 - b1)) * r(m / root))
        w = r(w - update)
    assert run.value("update:w").tobytes() == update.tobytes()
    assert run.value("new:w").tobytes() == w.tobytes()


def test_a_lost_update_is_an_event() -> None:
    # half an ulp of 1 in bfloat16 is 2^-8 above and 2^-9 below: 2^-10 is lost both ways
    run = an.replay(quadratic("sgd:lr=0.0009765625", slope=1.0), "bf16")
    assert run.value("new:w").tolist() == [1.0, -1.0]
    assert [(event.kind, event.op, event.path, event.count) for event in run.events] == [
        ("lost_update", "sub", "optimizer.w", 2)
    ]
    kept = an.replay(quadratic("sgd:lr=0.0078125", slope=1.0), "bf16")
    assert kept.events == ()
    assert kept.value("new:w").tolist() == [1 - 2.0**-7, -1 - 2.0**-7]


def test_the_second_moment_and_epsilon_flush_to_zero_in_binary16() -> None:
    # 0.001 g^2 is below half the least positive number for g < 5.5e-3, and 1e-8 is too
    run = an.replay(quadratic("adam", slope=4e-3), "fp16")
    flushed = {(event.op, event.direction) for event in run.events if event.kind == "underflow" and event.flushed}
    assert flushed == {("mul", "update"), ("constant", "update")}
    assert any(event.kind == "inf_born" and event.op == "div" for event in run.events)
    assert np.isinf(run.value("update:w")).all()


def test_rounded_decay_rates_are_on_the_tape() -> None:
    tape = quadratic("adam", 2)
    run = an.replay(tape, "bf16")
    held = {float(run.value(n.id)) for n in tape.nodes if n.op == "constant" and n.direction == "update"}
    assert {1.0, 0.8984375} <= held  # 0.999 and 0.9 in bfloat16


def test_steps_use_the_parameters_of_the_step_before() -> None:
    tape = an.nets.mlp((64, 4, 10), "tanh", 8, optimizer="sgd:lr=0.5", steps=3)
    assert [name for name in tape.targets if name.startswith("loss")] == ["loss@1", "loss@2", "loss"]
    run = an.replay(tape, an.Float64())
    losses = [run.value(name).item() for name in ("loss@1", "loss@2", "loss")]
    assert losses[0] > losses[1] > losses[2]
    data = dict(an.nets.mlp((64, 4, 10), "tanh", 8).data)
    one = an.nets.mlp((64, 4, 10), "tanh", 8, optimizer="sgd:lr=0.5")
    for loss in losses:
        step = an.replay(
            an.Tape(one.nodes, data | {k: one.data[k] for k in one.data if k not in data}, one.targets), an.Float64()
        )
        assert step.value("loss").item() == loss
        leaves = [node.id for node in one.nodes if node.op == "parameter"]
        for leaf, name in zip(leaves, ("W0", "b0", "W1", "b1"), strict=True):
            data[leaf] = step.value(f"new:{name}")
    assert step.value("new:W0").tobytes() == run.value("new:W0").tobytes()


def test_no_gradient_flows_through_an_update() -> None:
    # the second step's gradient is that of its own loss alone
    tape = quadratic("sgd:lr=0.5", 2, slope=3.0)
    assert an.replay(tape, an.Float64()).value("grad:w").tolist() == [3.0, 3.0]
    assert tape.nodes[0].site == "nets.line, step 1"


@pytest.mark.parametrize("net", sorted(set(an.nets.NETS) - {"chain"}))
def test_every_net_takes_an_optimiser(net: str) -> None:
    tape = an.nets.NETS[net](optimizer=adamw(1e-2), steps=2)
    run = an.replay(tape, an.Float64())
    names = [name.removeprefix("new:") for name in tape.targets if name.startswith("new:")]
    assert len(names) == sum(node.op == "parameter" for node in tape.nodes)
    for name in names:
        assert run.value(f"new:{name}").shape == run.value(f"grad:{name}").shape
    assert run.value("loss") < run.value("loss@1")
    assert tape.meta["optimizer"] == adamw(1e-2).text
    assert tape.meta["steps"] == 2


@pytest.mark.parametrize("name", OPTIMISERS)
def test_names_and_texts_give_the_same_optimiser(name: str) -> None:
    assert named(name) == OPTIMISERS[name]()
    assert named(f"{name}:lr=0.5,weight_decay=0.25") == OPTIMISERS[name](0.5, weight_decay=0.25)
    chosen = CHOICES[name]
    assert named(chosen.text) == chosen
    assert named(chosen) is chosen


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lion", "optimizer='lion'; accepted: sgd, momentum, adam, adamw, numbers as in adam:lr=0.1"),
        (3, "optimizer=3; accepted"),
        ("adam:lr", "'lr' is not name=number"),
        ("adam:lr=fast", "'lr=fast' is not name=number"),
        ("sgd:beta1=0.5", "sgd has no 'beta1'; accepted: lr, weight_decay"),
        ("sgd:lr=0", "lr=0.0; accepted: a number above 0"),
        ("sgd:lr=nan", "lr=nan; accepted"),
        ("momentum:momentum=1", "momentum=1.0; accepted: a number from 0 and below 1"),
        ("adam:eps=-1e-8", "eps=-1e-08; accepted: a number from 0"),
    ],
)
def test_optimisers_that_cannot_be_used_are_refused(given: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        named(given)


def test_numbers_of_other_kinds_are_refused() -> None:
    for wrong in ("0.1", True, None):
        with pytest.raises(UnsupportedError, match="accepted: a number above 0"):
            sgd(wrong)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match=r"beta2=1\.0; accepted: a number from 0 and below 1"):
        Adam(0.1, beta2=1.0)


def test_updates_have_their_own_direction_and_path() -> None:
    tape = an.nets.mlp((64, 10), batch=2, optimizer="sgd")
    updates = [node for node in tape.nodes if node.direction == "update"]
    assert {node.path for node in updates} == {"optimizer.W0", "optimizer.b0"}
    assert tape.nodes[-1].direction == "update"
    assert Builder.resume(tape, [values[0] for values in an.replay(tape, an.Float64()).values]).nodes == list(
        tape.nodes
    )
