"""Every family of nets: gradients at 50 digits, what is on the tape, files, and arguments that cannot be used."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.nets.catalogue import NETS, arguments, takes
from analysis.nets.leaves import orthogonal, synthetic, tokens, uniform
from analysis.ops import get_op
from analysis.reference import reference
from floatemu.errors import UnsupportedError

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {"sizes": (64, 5, 10), "activation": "gelu", "batch": 4}),
    "mlp, silu, layer norm": ("mlp", {"sizes": (64, 6, 10), "activation": "silu", "batch": 4, "norm": "layer"}),
    "mlp, sigmoid, rms norm": ("mlp", {"sizes": (64, 6, 10), "activation": "sigmoid", "batch": 4, "norm": "rms"}),
    "mlp, softplus, batch norm": (
        "mlp",
        {"sizes": (64, 6, 10), "activation": "softplus", "batch": 4, "norm": "batch", "one_pass": True},
    ),
    "residual mlp": ("residual_mlp", {"width": 6, "depth": 2, "batch": 3}),
    "residual mlp, batch norm": ("residual_mlp", {"width": 6, "depth": 1, "batch": 3, "norm": "batch"}),
    "cnn": ("cnn", {"channels": (2, 3), "batch": 2}),
    "cnn, average, batch norm": (
        "cnn",
        {"channels": (2,), "batch": 3, "pool": "average", "norm": "batch", "activation": "tanh", "kernel": 5},
    ),
    "rnn": ("rnn", {"length": 4, "hidden": 5, "features": 3, "batch": 2, "rho": 1.25}),
    "rnn, linear": ("rnn", {"length": 3, "hidden": 4, "features": 2, "activation": "identity", "loss": "linear"}),
    "gru": ("gru", {"length": 3, "hidden": 4, "features": 3, "batch": 2}),
    "lstm": ("lstm", {"length": 3, "hidden": 4, "features": 3, "batch": 2}),
    "attention": ("attention", {"length": 4, "width": 6, "heads": 3, "batch": 2}),
    "attention, padded": ("attention", {"length": 4, "width": 4, "padding": 1, "mask_value": -1e9}),
    "attention, not causal": ("attention", {"length": 3, "width": 4, "causal": False, "batch": 1}),
    "transformer": ("transformer", {"width": 8, "heads": 2, "length": 5, "vocabulary": 7}),
    "llama": ("llama", {"layers": 2, "width": 8, "heads": 4, "kv_heads": 2, "length": 5, "vocabulary": 7, "std": 0.3}),
}


def tape_of(case: str, **more: Any) -> an.Tape:
    name, options = SMALL[case]
    return NETS[name](**options, **more)


def parameters(tape: an.Tape) -> dict[str, int]:
    """Name to leaf: gradients are named in the order in which the parameters came."""
    names = [name.removeprefix("grad:") for name in tape.targets if name.startswith("grad:")]
    return dict(zip(names, (node.id for node in tape.nodes if node.op == "parameter"), strict=False))


def test_every_net_has_a_small_case() -> None:
    assert {name for name, _ in SMALL.values()} == set(NETS) - {"chain"}


@pytest.mark.parametrize("case", SMALL)
def test_gradients_equal_a_central_difference_at_50_digits(case: str) -> None:
    tape, exact = tape_of(case), an.Exact(400)
    step = exact.lift(np.array(2.0**-90))[()]
    rng = np.random.default_rng(5)
    leaves = parameters(tape)
    directions = {leaf: rng.integers(-8, 9, tape.data[leaf].shape).astype(float) for leaf in leaves.values()}
    losses = []
    for sign in (1, -1):
        values: list[Any] = []
        for node in tape.nodes[: tape.targets["loss"].node + 1]:
            if node.leaf:
                value = exact.lift(tape.data[node.id])
                if node.id in directions:
                    value = value + exact.lift(directions[node.id]) * (sign * step)
                values.append(value)
            else:
                inputs = [values[ref.node] for ref in node.inputs]
                values.append(get_op(node.op).forward(exact, inputs, node.attributes))
        losses.append(np.asarray(values[-1]).item())
    slope = (losses[0] - losses[1]) / (2 * step)
    run = an.replay(tape, exact)
    found = 0
    for name, leaf in leaves.items():
        gradient = exact.lift(run.value(f"grad:{name}")) + exact.lift(run.tail(f"grad:{name}"))
        found += sum((gradient * exact.lift(directions[leaf])).ravel().tolist())
    # each gradient is known to 106 bits of its largest elements
    size = sum(float(np.abs(run.value(f"grad:{name}") * directions[leaf]).sum()) for name, leaf in leaves.items())
    assert abs(found - slope) <= 2.0**-100 * size


@pytest.mark.parametrize("case", SMALL)
def test_float64_agrees_with_mpmath_on_every_node(case: str) -> None:
    tape = tape_of(case)
    found, float64 = reference(tape), an.replay(tape, an.Float64())
    assert found.checked
    for node in tape.nodes:
        a, b = float64.value(node.id), found.run.value(node.id)
        if a.dtype.kind != "f":
            assert np.array_equal(a, b), node.label
            continue
        finite = np.isfinite(b)
        assert np.array_equal(a[~finite], b[~finite], equal_nan=True), node.label
        # gradients that are zero in exact arithmetic are noise in both: measured against what was added up to them
        scale = max(np.abs(b[finite]).max(initial=0.0), 1e-3)
        assert np.abs(a[finite] - b[finite]).max(initial=0.0) <= 1e-12 * scale, node.label


@pytest.mark.parametrize("case", SMALL)
def test_every_parameter_has_a_gradient_of_its_shape(case: str) -> None:
    tape = tape_of(case)
    found = parameters(tape)
    assert len(found) == sum(node.op == "parameter" for node in tape.nodes)
    for name, leaf in found.items():
        assert tape.target(f"grad:{name}").shape == tape.nodes[leaf].shape
    assert tape.target("loss").shape == ()
    assert tape.meta["net"] == SMALL[case][0]
    assert all(node.site == f"nets.{tape.name}" for node in tape.nodes)
    assert {node.direction for node in tape.nodes} == {"forward", "backward"}


@pytest.mark.parametrize("case", SMALL)
def test_tapes_come_back_from_their_files(case: str, tmp_path: Path) -> None:
    tape = tape_of(case, optimizer="adam", seed=3)
    tape.save(tmp_path / "tape.npz")
    back = an.Tape.load(tmp_path / "tape.npz")
    assert back.nodes == tape.nodes
    assert (dict(back.targets), dict(back.meta)) == (dict(tape.targets), dict(tape.meta))
    assert all(back.data[key].tobytes() == tape.data[key].tobytes() for key in tape.data)
    one, two = an.replay(tape, "bf16"), an.replay(back, "bf16")
    assert all(one.value(i).tobytes() == two.value(i).tobytes() for i in range(len(tape)))


@pytest.mark.parametrize("name", sorted(set(NETS) - {"chain"}))
def test_the_seed_chooses_and_nothing_else_does(name: str) -> None:
    case = next(case for case, (net, _) in SMALL.items() if net == name)
    a, b, c = tape_of(case), tape_of(case), tape_of(case, seed=1)
    assert all(a.data[key].tobytes() == b.data[key].tobytes() for key in a.data)
    moved = [node.id for node in a.nodes if node.leaf and not np.array_equal(a.data[node.id], c.data[node.id])]
    assert {a.nodes[i].op for i in moved} >= {"input", "parameter"}


def test_paths_say_layer_and_part_and_steps_say_when() -> None:
    tape = an.nets.llama()
    forward = {node.path for node in tape.nodes if node.direction == "forward"}
    assert {"layer0.attention.q", "layer1.attention.softmax", "layer0.mlp.silu", "rope", "embedding"} <= forward
    backward = {node.path for node in tape.nodes if node.direction == "backward" and node.op == "matmul"}
    assert {"layer0.attention.q", "layer1.mlp.down", "head"} <= backward
    tape = an.nets.lstm(5)
    steps = {node.step for node in tape.nodes if node.op == "tanh"}
    assert steps == {1, 2, 3, 4, 5}
    assert {node.step for node in tape.nodes if node.path == "lstm.forget" and node.direction == "backward"} == steps


def test_the_gradient_of_a_linear_rnn_grows_by_rho_in_each_step() -> None:
    for rho, length in itertools.product((0.5, 1.5), (1, 30)):
        tape = an.nets.rnn(length, activation="identity", rho=rho, loss="linear")
        run = an.replay(tape, an.Float64())
        first, last = run.value("grad:h0"), run.value(f"grad:h{length}")
        ratio = np.linalg.norm(first) / np.linalg.norm(last)
        # W = rho Q is rounded, and each step adds an error of 16 products
        assert abs(ratio / rho**length - 1) < 20 * length * 2.0**-52
    quiet = an.replay(an.nets.rnn(30, rho=1.5, scale=0.0, loss="linear"), an.Float64())
    assert np.linalg.norm(quiet.value("grad:h0")) / np.linalg.norm(quiet.value("grad:h30")) == pytest.approx(1.5**30)


def test_orthogonal_matrices_are_orthogonal_and_differ() -> None:
    for n in (1, 2, 7, 32):
        q = orthogonal(4, 1, n)
        assert np.abs(q @ q.T - np.eye(n)).max() < 4 * n * 2.0**-53
    assert not np.array_equal(orthogonal(4, 1, 5), orthogonal(4, 2, 5))
    # the determinant of n - 1 reflections
    assert np.linalg.det(orthogonal(4, 1, 4)) == pytest.approx(-1.0)


def test_synthetic_data_are_fixed_numbers() -> None:
    assert synthetic(1, 0, (3,)).tolist() == uniform(1, 1 << 20, (3,), 1.0).tolist()
    found = tokens(2, 0, (1000,), 7)
    assert (found.min(), found.max()) == (0, 6)
    assert np.bincount(found).min() > 100
    assert tokens(2, 0, (5,), 7).tolist() == found[:5].tolist()


def test_masks_leave_out_what_lies_ahead() -> None:
    tape = an.nets.attention(5, 8, batch=1)
    run = an.replay(tape, an.Float64())
    weights = run.value(next(n.id for n in tape.nodes if n.path == "attention.softmax" and n.op == "div"))
    assert (weights[:, :, *np.triu_indices(5, 1)] == 0).all()
    assert np.abs(weights.sum(-1) - 1).max() < 1e-15
    # the first row of a padded sequence sees nothing at all
    padded = an.nets.attention(4, 8, batch=1, padding=1)
    assert np.isnan(an.replay(padded, an.Float64()).value("loss"))
    finite = an.replay(an.nets.attention(4, 8, batch=1, padding=1, mask_value=-1e9), an.Float64())
    assert np.isfinite(finite.value("loss"))
    # what programs take for the least number of their format is minus infinity in a narrower one
    least = -3.4028234663852886e38
    found = an.replay(an.nets.attention(4, 8, batch=1, padding=1, mask_value=least), "bf16")
    assert np.isnan(found.value("loss"))
    assert [event.kind for event in found.events][:2] == ["overflow", "nan_born"]


def test_positions_that_bfloat16_cannot_tell_apart_turn_alike() -> None:
    tape = an.nets.llama(1, 8, 2, 1, 4, 8, position=1024)
    cos = next(node.id for node in tape.nodes if node.op == "cos")
    exact, bf16 = an.replay(tape, an.Float64()).value(cos), an.replay(tape, "bf16").value(cos)
    assert len({tuple(row) for row in exact.tolist()}) == 4
    assert len({tuple(row) for row in bf16.tolist()}) == 1
    for keep, count in ((("loss", "norm", "softmax"), 1), (("loss", "rope"), 4)):
        found = an.replay(tape, an.Policy.mixed("bf16", keep=keep)).value(cos)
        assert len({tuple(row) for row in found.tolist()}) == count


def test_grouped_queries_share_keys() -> None:
    tape = an.nets.llama(1, 8, 4, 2, 4, 8)
    assert tape.target("grad:layer0.attention.q.W").shape == (8, 8)
    assert tape.target("grad:layer0.attention.k.W").shape == (8, 4)


def test_an_embedding_row_that_no_token_names_has_no_gradient() -> None:
    tape = an.nets.llama(1, 8, 2, 1, 4, 32)
    text = next(node.id for node in tape.nodes if node.op == "input" and node.outputs[0].dtype == "int64")
    gradient = an.replay(tape, an.Float64()).value("grad:embedding.W")
    named = np.isin(np.arange(32), tape.data[text])
    assert (gradient[~named] == 0).all()
    assert (np.abs(gradient[named]).max(1) > 0).all()


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [
        ("cnn", {"channels": ()}, "accepted: 1 or more positive integers"),
        ("cnn", {"channels": (20_000,)}, r"channels\[0\]=20000; accepted: an integer, 1\.\.10000"),
        ("attention", {"causal": 1}, "causal=1; accepted: True, False"),
        ("mlp", {"one_pass": None}, "one_pass=None; accepted: True, False"),
        ("chain", {"start": "1", "multiplier": 1.0, "steps": 1}, "start='1'; accepted: a number"),
        ("cnn", {"channels": (4, 4, 4, 4)}, "halve an image of 8 by 8 to nothing"),
        ("cnn", {"kernel": 2}, "accepted: an odd integer"),
        ("cnn", {"pool": "sum"}, "pool='sum'; accepted: max, average"),
        ("cnn", {"norm": "layer"}, "norm='layer'; accepted: None, batch"),
        ("cnn", {"batch": 2, "data": (np.ones((3, 5)), [0, 1, 0])}, "5 features, no square number"),
        ("residual_mlp", {"depth": 0}, r"depth=0; accepted: an integer, 1\.\.10000"),
        ("residual_mlp", {"norm": "instance"}, "norm='instance'; accepted: None, layer, rms, batch, group"),
        ("rnn", {"length": 2.0}, "length=2.0; accepted"),
        ("rnn", {"rho": "big"}, "rho='big'; accepted: a number"),
        ("rnn", {"loss": "hinge"}, "loss='hinge'; accepted: cross_entropy, linear"),
        ("rnn", {"activation": "sin"}, "activation='sin'; accepted: relu"),
        ("gru", {"scale": -1.0}, "scale=-1.0; accepted"),
        ("lstm", {"batch": True}, "batch=True; accepted"),
        ("lstm", {"steps": 2}, "steps=2 without an optimiser would repeat one step; give optimizer="),
        ("lstm", {"steps": 0, "optimizer": "sgd"}, r"steps=0; accepted: an integer, 1\.\.1000"),
        ("lstm", {"optimizer": "lion"}, "optimizer='lion'; accepted: sgd, momentum, adam, adamw"),
        ("attention", {"heads": 3}, "heads=3 does not divide width=16"),
        ("attention", {"mask_value": 1.0}, "mask_value=1.0; accepted: a number, -inf..0"),
        ("attention", {"padding": 8}, r"padding=8 of length=8; accepted: an integer, 0\.\.7"),
        ("transformer", {"std": -0.1}, "std=-0.1"),
        ("llama", {"kv_heads": 3}, "kv_heads=3 does not divide heads=4"),
        ("llama", {"width": 12, "heads": 4, "kv_heads": 4}, "rotary positions need an even number"),
        ("llama", {"vocabulary": 10**5, "width": 10**4}, r"accepted: an integer, 1\.\.10000"),
        ("llama", {"vocabulary": 10**4, "width": 10**4, "inner": 8}, "more than 10000000 weights"),
        ("llama", {"seed": -1}, "seed=-1"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(net: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        NETS[net](**options)


def test_nets_by_name_take_their_arguments_as_texts() -> None:
    tape = an.nets.build("cnn", {"channels": "2,3", "pool": "average", "norm": "none"}, seed=2)
    assert tape.nodes == an.nets.cnn((2, 3), pool="average", seed=2).nodes
    tape = an.nets.build("llama", {"mask_value": "-1e9", "width": "8", "heads": "2", "kv_heads": "1", "inner": "none"})
    assert (tape.meta["mask_value"], tape.meta["inner"]) == ("-1000000000.0", 22)
    tape = an.nets.build("attention", {"causal": "false", "optimizer": "adam:lr=0.5"})
    assert (tape.meta["causal"], tape.meta["optimizer"][:12]) == (False, "adam:lr=0.5,")
    assert an.nets.build("chain", {"multiplier": "0x1p-1"}).meta["multiplier"] == "0.5"
    for name, text, message in (
        ("unet", {}, "net='unet'; accepted: mlp, residual_mlp, cnn"),
        ("lstm", {"depth": "2"}, "lstm takes no argument 'depth'; accepted: length, hidden"),
        ("mlp", {"seed": "2"}, "mlp takes no argument 'seed'; accepted: sizes"),
        ("mlp", {"sizes": "64,x,10"}, "mlp: sizes='64,x,10' is not what it takes; accepted: integers, as in 64,32,10"),
        ("lstm", {"length": "3.5"}, "length='3.5' is not what it takes; accepted: integer"),
        ("attention", {"causal": "maybe"}, "causal='maybe' is not what it takes; accepted: true or false"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            an.nets.build(name, text)


def test_data_and_seeds_go_to_the_nets_that_take_them() -> None:
    data = (np.array([[0.0, 1.0], [1.0, 0.5]]), [0, 1])
    assert an.nets.build("mlp", {"batch": "2"}, data=data, seed=3).meta["sizes"] == [2, 32, 2]
    with pytest.raises(UnsupportedError, match="lstm takes no data; leave it out; accepted: mlp, residual_mlp, cnn"):
        an.nets.build("lstm", data="digits")
    with pytest.raises(UnsupportedError, match="chain takes no seed"):
        an.nets.build("chain", seed=0)


def test_every_argument_of_every_net_has_a_kind() -> None:
    for name in NETS:
        assert all(kind for kind, _ in arguments(name).values())
        assert an.nets.describe(name).startswith(f"{name}: ")
    assert [name for name in NETS if takes(name, "data")] == ["mlp", "residual_mlp", "cnn"]
