"""Mitigations: identity where nothing is lost, never worse at home, and the arithmetic of each by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.experiments import FAILURES, Case, metric
from analysis.experiments.run import measure_gradients
from analysis.mitigations import MITIGATIONS, apply
from analysis.nets.leaves import Leaves
from analysis.nets.program import Outcome, record
from analysis.optimisers import adam, sgd
from analysis.training import Setup, Trainer

# In binary64: what each changes, and nothing else.


def dyadic(batch: int = 8, seed: int = 0) -> an.Tape:
    """A linear net of small integers: every number of one step of training is a short dyadic fraction."""

    def program(leaves: Leaves) -> Outcome:
        with leaves.at("data"):
            x = leaves.data("x", "input", np.arange(4 * batch).reshape(batch, 4) % 3 - 1.0)
            y = leaves.data("y", "input", np.ones((batch, 2)))
        with leaves.at("layer0"):
            out = x @ leaves.parameter("W", np.array([[1.0, -1.0], [0.5, 0.0], [0.0, 2.0], [-1.0, 1.0]]))
        with leaves.at("loss"):
            difference = out - y
            loss = (difference * difference).reshape((2 * batch,)).sum(0) * leaves.builder.constant(2.0**-4)
        return Outcome(loss, out)

    return record("dyadic", program, seed)


@pytest.fixture
def exact_net(monkeypatch: pytest.MonkeyPatch) -> Setup:
    monkeypatch.setitem(an.nets.NETS, "dyadic", dyadic)
    policy = an.Policy.named("mixed:binary16:binary16")
    return Setup("dyadic", {}, policy, sgd(0.25), steps=1, batch=8)


def perceptron(policy: str = "binary64", **rest: Any) -> Setup:
    arguments = {"sizes": (64, 8, 10), "activation": "tanh", **rest}
    return Setup("mlp", arguments, an.Policy.named(policy), sgd(0.5), steps=1, batch=16)


def step(setup: Setup) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Weights before, gradients, and weights after the first step in binary64."""
    trainer = Trainer(setup)
    return (
        trainer.start(),
        dict(trainer.gradients(trainer.exact, trainer.start(), 0).gradients),
        dict(trainer.train(exact=True).weights),
    )


def weights(setup: Setup, exact: bool = False) -> bytes:
    found = Trainer(setup).train(exact).weights
    return b"".join(value.tobytes() for value in found.values())


def nothing(name: str, setup: Setup) -> None:
    """Nothing is rounded, so nothing may change, bit for bit."""
    reference = weights(setup, exact=True)
    assert weights(setup) == reference
    assert weights(apply(name, setup)) == reference
    assert weights(apply(name, setup), exact=True) == reference


def test_the_net_of_small_integers_rounds_nothing_and_moves(exact_net: Setup) -> None:
    trainer = Trainer(exact_net)
    trained = trainer.train()
    assert trained.losses == trainer.train(exact=True).losses
    assert trained.losses[0] > trained.losses[-1] > 0


def close(a: Any, b: Any, ulps: int = 64) -> None:
    assert np.abs(a - b).max() <= ulps * 2.0**-53 * max(1e-300, float(np.abs(b).max()))


def clips_by_norm(name: str) -> None:
    before, gradients, after = step(apply("clip_norm:0.25", perceptron()))
    size = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    assert size > 0.25
    for key, g in gradients.items():
        close(after[key], before[key] - 0.5 * (g * (0.25 / (size + 1e-6))))
    assert weights(apply("clip_norm:1e6", perceptron())) == weights(perceptron())


def clips_by_value(name: str) -> None:
    before, gradients, after = step(apply("clip_value:0.01", perceptron()))
    for key, g in gradients.items():
        assert after[key].tobytes() == (before[key] - 0.5 * np.clip(g, -0.01, 0.01)).tobytes()
    assert weights(apply("clip_value:1e6", perceptron())) == weights(perceptron())


def scales_the_rate(name: str) -> None:
    before, gradients, after = step(apply("learning_rate:0.25", perceptron()))
    for key, g in gradients.items():
        assert after[key].tobytes() == (before[key] - 0.125 * g).tobytes()


def chooses_epsilon(name: str) -> None:
    before, gradients, after = step(apply("adam_epsilon:0.5", replace(perceptron(), optimizer=adam(0.1))))
    for key, g in gradients.items():
        close(after[key], before[key] - 0.1 * (g / (np.abs(g) + 0.5)))  # in the first step m / sqrt(v) is the sign


def adds_parts(name: str) -> None:
    """The sum of the parts' gradients is the batch's, which dyadic numbers show bit for bit."""
    whole, parts = perceptron(), apply("gradient_accumulation:4", perceptron())
    for key, g in step(parts)[1].items():
        close(g, step(whole)[1][key], 4096)  # sums of 16 in another order
    assert Trainer(parts).setup.rows == 4


def divides_branches(name: str) -> None:
    setup = replace(perceptron(), net="residual_mlp", arguments={"width": 4, "depth": 4, "norm": None})
    plain, scaled = setup.tape(), apply(name, setup).tape()
    count = sum(node.op == "mul" and node.path.count(".") == 0 and "block" in node.path for node in scaled.nodes)
    assert count >= 4
    values = {}
    for tape in (plain, scaled):
        run = an.replay(tape, an.Float64())
        adds = [n for n in tape.nodes if n.op == "add" and n.path == "block0" and n.direction == "forward"]
        values[tape.meta.get("branch_scale")] = run.value(adds[0].id) - run.value(adds[0].inputs[0])
    close(values["depth"], values[None] / 2.0)  # 1 / sqrt 4


def draws(bound: Callable[[int, int], float]) -> Callable[[str], None]:
    def check(name: str) -> None:
        setup = apply(name, perceptron(init="xavier" if name != "xavier_init" else "he"))
        first = Trainer(setup).start()["W0"]
        limit = bound(*first.shape)
        assert np.abs(first).max() <= limit * (1 + 2.0**-23)
        # uniform: variance limit^2 / 3, over 512 numbers within five deviations of it
        assert abs(float((first**2).mean()) * 3 / limit**2 - 1) < 5 * math.sqrt(4 / 5 / first.size)

    return check


def draws_orthogonal(name: str) -> None:
    first = Trainer(apply(name, perceptron())).start()["W0"]
    assert np.abs(first.T @ first - np.eye(8)).max() < 1e-14


def normalises(rows: Callable[[Any], Any], centred: bool = True) -> Callable[[str], None]:
    def check(name: str) -> None:
        tape = apply(name, perceptron()).tape()
        run = an.replay(tape, an.Float64())
        last = [n.id for n in tape.nodes if n.path == "layer0.norm" and n.op == "mul" and n.direction == "forward"][-1]
        found = rows(run.value(last))  # times a gain of 1
        if centred:
            assert np.abs(found.mean(axis=1)).max() < 1e-14
        squares = (found**2).mean(axis=1)  # variance / (variance + eps)
        assert squares.max() < 1 + 1e-14
        assert np.median(squares) > 0.999

    return check


CHANGES: dict[str, Callable[[str], None] | None] = {  # None: nothing at all
    "clip_norm": clips_by_norm,
    "clip_value": clips_by_value,
    "learning_rate": scales_the_rate,
    "loss_scale": None,
    "dynamic_loss_scale": None,
    "gradient_accumulation": adds_parts,
    "adam_epsilon": chooses_epsilon,
    "master_weights": None,
    "float32_loss": None,
    "autocast": None,
    "stochastic_updates": None,
    "stochastic_rounding": None,
    "kahan_updates": None,
    "chunked_accumulation": None,
    "promoted_accumulation": None,
    "per_tensor_scaling": None,
    "batch_norm": normalises(lambda x: x.T),
    "layer_norm": normalises(lambda x: x),
    "rms_norm": normalises(lambda x: x, centred=False),
    "group_norm": normalises(lambda x: x.reshape(-1, 2)),
    "xavier_init": draws(lambda a, b: math.sqrt(6 / (a + b))),
    "he_init": draws(lambda a, b: math.sqrt(6 / a)),
    "lecun_init": draws(lambda a, b: math.sqrt(3 / a)),
    "orthogonal_init": draws_orthogonal,
    "small_init": draws(lambda a, b: 0.1 * math.sqrt(6 / (a + b))),
    "residual_scaling": divides_branches,
}


def test_every_mitigation_says_what_it_changes() -> None:
    assert CHANGES.keys() == MITIGATIONS.keys()


@pytest.mark.parametrize("name", MITIGATIONS)
def test_identity_where_nothing_is_lost(name: str, exact_net: Setup) -> None:
    check = CHANGES[name]
    if check is None:
        nothing(f"{name}:16" if "loss_scale" in name else name, exact_net)
    else:
        check(name)


def test_parts_of_a_batch_change_nothing_where_nothing_is_rounded(exact_net: Setup) -> None:
    for order in ("sequential", "pairwise"):
        whole = Trainer(exact_net)
        parts = Trainer(apply(f"gradient_accumulation:parts=2,order={order}", replace(exact_net, batch=16)))
        one, two = (
            trainer.gradients(trainer.emulated, trainer.start(), 0).gradients["W"] for trainer in (whole, parts)
        )
        assert one.tobytes() == two.tobytes()  # the same eight rows twice, each half weighted by a half


# Where each is meant to help.

HOMES = [(name, home) for name, found in MITIGATIONS.items() for home in found.home]


def measured(case: Case, name: str) -> float:
    """The failure's metric, without what it does not need."""
    trainer = Trainer(case.setup())
    if name in ("gradient_error", "range_loss"):
        return metric(name, measure_gradients(trainer))
    trained = trainer.train()
    return metric(name, {"test_loss": trained.test_loss, "motion_error": trained.motion_error})


BASELINES: dict[tuple[str, int], float] = {}


def beside_baseline(name: str, home: str, seeds: range) -> list[tuple[float, float]]:
    failure = FAILURES[home]
    found = []
    for seed in seeds:
        case = replace(failure.case, seed=seed)
        if (home, seed) not in BASELINES:
            BASELINES[home, seed] = measured(case, failure.metric)
        found.append((BASELINES[home, seed], measured(replace(case, mitigations=(name,)), failure.metric)))
    return found


def test_each_has_a_home_and_each_failure_is_one() -> None:
    assert {home for _, home in HOMES} == set(FAILURES) - {"flips"}  # which none of them is meant for
    assert [name for name, found in MITIGATIONS.items() if not found.home] == ["float32_loss"]


@pytest.mark.parametrize(("name", "home"), HOMES)
def test_never_worse_on_its_home_case(name: str, home: str) -> None:
    pairs = beside_baseline(name, home, range(1))
    assert all(after <= before for before, after in pairs)
    assert all(before > FAILURES[home].healthy for before, _ in pairs)


def test_never_worse_on_its_home_case_float32_loss() -> None:
    """None of the eight failures is one of the loss: its home is a softmax in e4m3fn, whose three bits are too few."""
    case = Case("mlp", {"sizes": (64, 10)}, policy="e4m3fn", batch=64, steps=1)
    for seed in range(4):
        before, after = (
            measured(replace(case, seed=seed, mitigations=names), "gradient_error") for names in ((), ("float32_loss",))
        )
        assert before > 0.1  # 0.20 to 0.31
        assert after < before / 3  # 0.031 to 0.038


@pytest.mark.slow
@pytest.mark.parametrize(("name", "home"), HOMES)
def test_never_worse_on_its_home_case_over_eight_seeds(name: str, home: str) -> None:
    """Of the seeds with which the failure happens: seven in the linear recurrent net, where one learns by itself.

    There, a clipped or smaller step is the worse one: what a mitigation costs where there is nothing to mitigate.
    """
    pairs = beside_baseline(name, home, range(8))
    failing = [(before, after) for before, after in pairs if before > FAILURES[home].healthy]
    assert len(failing) >= (7 if home == "exploding" else 8)
    assert all(after <= before for before, after in failing)
    if name != "lecun_init":
        assert median(after for _, after in failing) < median(before for before, _ in failing)


def test_a_loss_in_binary32_keeps_what_binary16_loses() -> None:
    """A mean over 1024 rows: the sum of their losses, 2357 at the start, is rounded to a multiple of 2."""
    case = Case("mlp", {"sizes": (64, 8, 10), "activation": "tanh"}, policy="binary16", batch=1024, steps=1)
    errors = {}
    for chosen in ((), ("float32_loss",)):
        trainer = Trainer(replace(case, mitigations=chosen).setup())
        start = trainer.start()
        exact = trainer.gradients(trainer.exact, start, 0).loss
        errors[chosen] = abs(trainer.gradients(trainer.emulated, start, 0).loss - exact)
    assert errors["float32_loss",] < errors[()]
