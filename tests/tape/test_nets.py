"""Nets and data: the same bits everywhere, what is recorded, and input that cannot be used."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.datasets import DataError, digits, load
from analysis.nets import uniform
from floatemu.errors import FloatEmuError, UnsupportedError

GOOD_X, GOOD_Y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 1])


def test_the_digits_are_the_uci_test_set() -> None:
    x, y = digits()
    assert x.shape == (1797, 64)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (x * 16 == np.floor(x * 16)).all()
    assert (x.min(), x.max()) == (0.0, 1.0)
    assert x[0, :8].tolist() == [0.0, 0.0, 5 / 16, 13 / 16, 9 / 16, 1 / 16, 0.0, 0.0]


def test_a_damaged_digits_file_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.datasets.DIGITS_SHA256", "0" * 64)
    with pytest.raises(DataError, match="install floatemu again"):
        digits()


def test_weights_are_fixed_numbers() -> None:
    # published once; a numpy that changed its raw generator would be seen here
    found = uniform(0, 1, (4,), 1.0)
    assert (found == found.astype(np.float32)).all()
    digest = hashlib.sha256(uniform(7, 3, (1000,), 0.5).tobytes()).hexdigest()
    assert digest == "13f9eda62bd8d8eb2a7312bcb4c64dcc65c5429ff4458247ecaf2e0e9a87111b"


def test_uniform_numbers_are_uniform() -> None:
    found = uniform(1, 1, (20_000,), 2.0)
    assert found.min() >= -2
    assert found.max() < 2
    assert abs(found.mean()) < 0.03
    assert abs(found.var() - 4 / 3) < 0.03


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "tanh"])
def test_gradients_equal_central_differences(activation: str) -> None:
    tape = an.nets.mlp((64, 5, 10), activation, batch=7, seed=2)
    run = an.replay(tape, an.Float64())
    parameters = [node.id for node in tape.nodes if node.op == "parameter"]
    rng = np.random.default_rng(0)
    for name, leaf in zip(("W0", "b0", "W1", "b1"), parameters, strict=True):
        direction = rng.normal(size=tape.data[leaf].shape)
        losses = []
        for sign in (1, -1):
            data = {**tape.data, leaf: tape.data[leaf] + sign * 1e-6 * direction}
            losses.append(an.replay(an.Tape(tape.nodes, data, tape.targets), an.Float64()).value("loss").item())
        slope = (losses[0] - losses[1]) / 2e-6
        assert abs(slope - float((run.value(f"grad:{name}") * direction).sum())) < 1e-7 * (1 + abs(slope))


def test_the_seed_chooses_weights_and_rows_and_nothing_else_does() -> None:
    a, b, c = an.nets.mlp(batch=8), an.nets.mlp(batch=8), an.nets.mlp(batch=8, seed=1)
    assert all(a.data[key].tobytes() == b.data[key].tobytes() for key in a.data)
    assert not np.array_equal(a.data[0], c.data[0])
    assert not np.array_equal(a.data[2], c.data[2])


def test_chain_steps_and_paths() -> None:
    tape = an.nets.chain(2.0, -0.5, 3)
    assert [(node.step, node.op, node.direction) for node in tape.nodes] == [
        (0, "input", "backward"),
        (0, "constant", "backward"),
        (1, "mul", "backward"),
        (2, "mul", "backward"),
        (3, "mul", "backward"),
    ]
    assert an.replay(tape, an.Float64()).value("result").item() == -0.25


@pytest.mark.parametrize("start", [0.0, -0.0, 5e-324, 1e308, float("inf"), float("nan")])
def test_chains_take_every_number(start: float) -> None:
    value = an.replay(an.nets.chain(start, 1.0, 1), an.Float64()).value("result").item()
    assert np.array_equal(value, start, equal_nan=True)


@pytest.mark.parametrize("steps", [0, -1, 10_001, 2.5, True])
def test_chains_refuse_odd_numbers_of_steps(steps: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"a chain has 1\.\.10000 steps"):
        an.nets.chain(1.0, 1.0, steps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "swish"}, "accepted: relu, gelu, gelu_tanh, tanh, sigmoid, silu, softplus, identity"),
        ({"init": "zeros"}, "accepted: he, xavier"),
        ({"batch": 0}, r"accepted: 1\.\.1797"),
        ({"batch": 1798}, r"accepted: 1\.\.1797"),
        ({"sizes": (64,)}, "accepted: 2 or more positive integers"),
        ({"sizes": (64, 0, 10)}, "positive integers"),
        ({"sizes": (63, 10)}, r"sizes\[0\] = 64"),
        ({"sizes": (64, 9)}, r"sizes\[-1\] >= 10"),
        ({"sizes": (64, 10**6, 10)}, "more than"),
    ],
)
def test_the_network_refuses_what_does_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        an.nets.mlp(**options)


def _file(folder: Path, kind: str, x: Any = GOOD_X, y: Any = GOOD_Y) -> Path:
    path = folder / f"data.{kind}"
    if kind == "npz":
        np.savez(path, X=x, y=y)
    else:
        np.savetxt(path, np.column_stack([x, y]), delimiter=",", header="a,b,label", comments="")
    return path


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_the_users_own_data(kind: str, tmp_path: Path) -> None:
    name, x, y = load(_file(tmp_path, kind))
    assert name == f"data.{kind}"
    assert np.array_equal(x, GOOD_X)
    assert np.array_equal(y, GOOD_Y)
    assert y.dtype == np.int64
    tape = an.nets.mlp(data=str(_file(tmp_path, kind)))
    assert tape.meta["sizes"] == [2, 32, 2]
    assert tape.meta["batch"] == 2


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0), "there is nothing in it"),
        (np.zeros((2, 0)), np.zeros(2), "there is nothing in it"),
        (GOOD_X[0], GOOD_Y, r"X has shape \(2,\)"),
        (GOOD_X, GOOD_Y[:1], r"accepted: \(rows, features\) and \(rows,\)"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), GOOD_Y, r"X\[0, 1\] is nan; 1 value is"),
        (np.array([[1.0, 0.0], [-np.inf, 1.0]]), GOOD_Y, r"X\[1, 0\] is -inf"),
        (GOOD_X, np.array([0.0, np.nan]), r"y\[1\] is nan"),
        (GOOD_X, np.array([0.0, 0.5]), r"y holds 0\.5"),
        (GOOD_X, np.array([0, -1]), r"y holds -1\.0"),
        (GOOD_X, np.array([0, 10**6]), "below 100000"),
        (GOOD_X.astype(complex), GOOD_Y, "complex128"),
    ],
)
def test_data_that_cannot_be_used_is_one_clear_error(x: Any, y: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load((x, y))
    if x.dtype.kind != "c":
        with pytest.raises(DataError, match=message):
            load(_file(tmp_path, "npz", x, y))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"\n\n", "at least one row"),
        ("a.csv", b"x,y\n", "at least one row"),
        ("a.csv", b"1\n2\n", "one feature and a label"),
        ("a.csv", b"1,0\n1,2,3\n", "line 2 has 3 cells, the first row has 2"),
        ("a.csv", b"1,0\n1,cat\n", "line 2, column 2: 'cat' is no number"),
        ("a.csv", b"1,2x,0\n1,2,0\n1,3,1\n", "line 1, column 2: '2x' is no number"),
        ("a.csv", b"a,b,y\nc,d,e\n", "line 2, column 1: 'c' is no number"),
        ("a.csv", b"a,b,y\n1,,0\n", "line 2, column 2: '' is no number"),
        ("a.csv", b"1;2;0\n", "line 1, column 1: '1;2;0' is no number; cells are separated by commas, not by ';'"),
        ("a.csv", b"\xff\xfe\x00", "not a text table"),
        ("a.npz", b"not a zip", "not a readable"),
        ("a.txt", b"1,0\n", r"ending in \.npz or \.csv"),
    ],
)
def test_files_that_cannot_be_used_are_one_clear_error(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FloatEmuError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"1,2,0\n3,4,1\n",
        b"\xef\xbb\xbf1,2,0\r\n3,4,1\r\n",
        b"\xef\xbb\xbfa,b,y\n1,2,0\n3,4,1\n",
        b"\n,a,y\n1,2,0\n\n3,4,1",
    ],
    ids=["bare", "byte order mark", "mark and names", "blank lines"],
)
@pytest.mark.parametrize("name", ["a.csv", "A.CSV"])
def test_no_row_of_a_table_is_lost(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    _, x, y = load(tmp_path / name)
    assert (x.tolist(), y.tolist()) == (GOOD_X.tolist(), GOOD_Y.tolist())


def test_one_bad_value_is_counted_as_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 value is NaN or infinite$"):
        load((np.array([[1.0, np.nan]]), np.array([0])))


def test_numbers_beyond_binary64_are_refused_without_a_warning() -> None:
    if np.finfo(np.longdouble).maxexp == 1024:
        return  # longdouble is binary64 here, and holds no such number
    with pytest.raises(DataError, match=r"X\[0, 1\] is 1e\+400; 1 value is NaN or infinite or beyond binary64"):
        load((np.array([["1", "1e400"]]).astype(np.longdouble), np.array([0])))


@pytest.mark.parametrize("seed", [-1, 2**64, "a", None, 1.0, True])
def test_seeds_are_integers_of_64_bits(seed: Any) -> None:
    with pytest.raises(UnsupportedError, match=r"seed=.*accepted: an integer, 0\.\.2\^64 - 1"):
        an.nets.mlp(seed=seed, batch=2)


def test_missing_arrays_files_and_odd_arguments(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=GOOD_X)
    with pytest.raises(DataError, match="no array named y"):
        load(tmp_path / "a.npz")
    with pytest.raises(DataError, match="there is no such file"):
        load("cats")
    with pytest.raises(DataError, match="data=int"):
        load(5)
    with pytest.raises(DataError, match="not arrays of numbers"):
        load(([[1, 2], [3]], [0, 1]))
