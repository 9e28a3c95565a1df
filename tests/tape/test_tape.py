"""Tapes and the files they are kept in: round trips, and files that lie."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.tape import SCHEMA, Node, Output, Tape, TapeError, Value
from floatemu.errors import FileError
from floatemu.storage import read_npz, write_npz

LEAF = Node(0, "input", outputs=(Output((2,), "float64", 0),))
NEG = Node(1, "neg", (Value(0),), {}, (Output((2,), "float64", 1),))
DATA = {0: np.array([1.0, 2.0])}


@pytest.mark.parametrize("tape", [an.nets.chain(1e5, 0.25, 10), an.nets.mlp(batch=4, activation="gelu")], ids=str)
def test_round_trip_keeps_everything(tape: Tape, tmp_path: Path) -> None:
    tape.save(tmp_path / "tape.npz")
    again = Tape.load(tmp_path / "tape.npz")
    assert again.nodes == tape.nodes
    assert again.targets == tape.targets
    assert (again.name, again.meta) == (tape.name, tape.meta)
    assert again.data.keys() == tape.data.keys()
    for key, array in tape.data.items():
        assert again.data[key].dtype == array.dtype
        assert again.data[key].tobytes() == array.tobytes()
    a, b = an.replay(tape, an.Policy.uniform("e5m2")), an.replay(again, an.Policy.uniform("e5m2"))
    assert all(x[0].tobytes() == y[0].tobytes() for x, y in zip(a.values, b.values, strict=True))


def test_a_tape_is_frozen_and_keeps_its_own_copy() -> None:
    given = np.array([1.0, 2.0])
    tape = Tape((LEAF, NEG), {0: given}, {})
    given[0] = 99.0
    assert tape.data[0].tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        tape.data[0][0] = 1.0
    with pytest.raises(TypeError):
        tape.nodes[1].attributes["axis"] = 1  # type: ignore[index]
    with pytest.raises(AttributeError):
        tape.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("nodes", "data", "targets", "message"),
    [
        ((NEG,), {}, {}, "has id 1"),
        ((LEAF, Node(1, "neg", (Value(1),), {}, NEG.outputs)), DATA, {}, "not there yet"),
        ((LEAF, Node(1, "neg", (Value(-1),), {}, NEG.outputs)), DATA, {}, "not there yet"),
        ((LEAF, Node(1, "neg", (Value(0, 1),), {}, NEG.outputs)), DATA, {}, "output 1 of node 0"),
        ((LEAF, Node(1, "neg", (Value(0),), {}, ())), DATA, {}, "no output"),
        ((LEAF, Node(1, "neg", (Value(0),), {}, NEG.outputs, direction="up")), DATA, {}, "direction 'up'"),
        ((LEAF, Node(1, "neg", (Value(0),), {}, (Output((2,), "float16", 1),))), DATA, {}, "dtype 'float16'"),
        ((LEAF, Node(1, "neg", (Value(0),), {}, (Output((-2,), "float64", 1),))), DATA, {}, r"shape \(-2,\)"),
        ((LEAF,), {}, {}, "leaf without data"),
        ((LEAF,), {0: np.ones(3)}, {}, r"its data is float64 of shape \(3,\)"),
        ((LEAF,), {0: np.ones(2, np.float32)}, {}, "its data is float32"),
        ((LEAF, NEG), {**DATA, 1: np.ones(2)}, {}, "not leaves"),
        ((LEAF,), DATA, {"loss": Value(5)}, "target 'loss'"),
        ((Node(0, "input", (Value(0),), {}, LEAF.outputs),), DATA, {}, "not there yet"),
    ],
)
def test_contradictions_are_refused(nodes: Any, data: Any, targets: Any, message: str) -> None:
    with pytest.raises(TapeError, match=message):
        Tape(nodes, data, targets)


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(TapeError, match=r"no target is named 'grad:W7'; accepted: logits, loss, grad:W0"):
        an.nets.mlp(batch=2).target("grad:W7")


def _document(**changes: Any) -> dict[str, Any]:
    node = {"id": 0, "op": "input", "inputs": [], "attributes": {}, "path": "", "direction": "forward", "site": ""}
    node |= {"step": None, "outputs": [{"shape": [2], "dtype": "float64", "storage": 0}]}
    return {"schema": SCHEMA, "name": "t", "meta": {}, "targets": {}, "nodes": [node], **changes}


def _write(path: Path, document: Any, **arrays: np.ndarray) -> Path:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    np.savez(path, tape=np.frombuffer(text, np.uint8), **arrays)
    return path


def test_the_hand_written_document_loads(tmp_path: Path) -> None:
    tape = Tape.load(_write(tmp_path / "t.npz", _document(), leaf_0=np.ones(2)))
    assert tape.nodes[0].shape == (2,)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1, 2]", "schema None"),
        (_document(schema="floatemu.tape/99"), "schema 'floatemu.tape/99' is not 'floatemu.tape/1'"),
        (_document(nodes=5), "does not follow"),
        (_document(nodes=[{}]), "does not follow"),
        (_document(targets={"x": ["a", 0]}), "does not follow"),
        (_document(targets={"x": [True, 0]}), "does not follow"),
        (_document(targets={"x": [7, 0]}), "target 'x'"),
        (_document(targets=[]), "does not follow"),
        ({key: value for key, value in _document().items() if key != "name"}, "does not follow"),
    ],
)
def test_hostile_documents_are_refused(document: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=message):
        Tape.load(_write(tmp_path / "t.npz", document, leaf_0=np.ones(2)))


def test_no_text_no_tape(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.ones(2))
    with pytest.raises(FileError, match="not a tape"):
        Tape.load(tmp_path / "t.npz")
    np.savez(tmp_path / "u.npz", tape=np.ones(2))
    with pytest.raises(FileError, match="not a tape"):
        Tape.load(tmp_path / "u.npz")


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    np.savez(tmp_path / "t.npz", tape=np.array([Bomb()], dtype=object))
    with pytest.raises(FileError, match="never objects"):
        Tape.load(tmp_path / "t.npz")
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(FileError, match="dtype object"):
        write_npz(tmp_path / "u.npz", {"x": np.array([Bomb()], dtype=object)})


def test_truncation_at_every_place_is_one_clear_error(tmp_path: Path) -> None:
    an.nets.chain(1.0, 0.5, 2).save(tmp_path / "t.npz")
    whole = (tmp_path / "t.npz").read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"cut\.npz"):
            Tape.load(tmp_path / "cut.npz")


def test_flipped_bytes_never_give_anything_but_a_tape_or_one_clear_error(tmp_path: Path) -> None:
    an.nets.chain(1.0, 0.5, 2).save(tmp_path / "t.npz")
    whole = bytearray((tmp_path / "t.npz").read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(whole), 300):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        (tmp_path / "bad.npz").write_bytes(damaged)
        try:
            Tape.load(tmp_path / "bad.npz")
        except FileError:
            refused += 1
    assert refused > 150


def _npy(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n", b"12345678"), "claims"),
        (_npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n", b"12345678"), "negative|not a .npy"),
        (_npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"12345678"), "never objects"),
        (_npy(b"__import__('os').getcwd()\n"), "not a .npy"),
        (b"not numpy at all", "not a .npy"),
        (_npy(b"{'descr': '<f8', 'fortran_order': False, 'sha"), "not a .npy"),
        (_npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,"), "not a .npy"),
        (_npy(b"{'descr': (), 'fortran_order': False, 'shape': (1,), }\n"), "not a .npy"),
        (_npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + b"9" * 5000 + b",), }\n"), "not a .npy"),
        (_npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (0, 1" + b"0" * 30 + b"), }\n"), "not a readable"),
        (_npy(b"  {'descr': '<f8'}\n  x\n"), "not a .npy"),
        (_npy(b"\xff\x00(" * 100), "not a .npy"),
    ],
)
def test_headers_that_lie_are_found_before_memory_is_taken(content: bytes, message: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(FileError, match=message):
        read_npz(tmp_path / "t.npz")


def test_a_zip_bomb_is_refused_by_its_size(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros(2_000_000))
    with zipfile.ZipFile(tmp_path / "t.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", stream.getvalue())
    assert (tmp_path / "t.npz").stat().st_size < 100_000
    with pytest.raises(FileError, match="16000128 bytes when unpacked, the limit is 1000000"):
        read_npz(tmp_path / "t.npz", limit=10**6)


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        write_npz(tmp_path / "no" / "t.npz", {"x": np.ones(2)})
    write_npz(tmp_path / "t.npz", {"x": np.ones(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]


def test_a_tape_that_declares_what_its_operation_does_not_give_is_refused_in_replay() -> None:
    wrong = Node(1, "neg", (Value(0),), {}, (Output((3,), "float64", 1),))
    with pytest.raises(TapeError, match=r"declares shape \(3,\), its operation gives \(2,\)"):
        an.replay(Tape((LEAF, wrong), DATA, {}), an.Float64())
    missing = Node(1, "sum", (Value(0),), {}, (Output((), "float64", 1),))
    with pytest.raises(TapeError, match="cannot be evaluated"):
        an.replay(Tape((LEAF, missing), DATA, {}), an.Policy.uniform("e5m2"))
    few = Node(1, "add", (Value(0),), {}, (Output((2,), "float64", 1),))
    with pytest.raises(TapeError, match="has 1 operands, needs 2"):
        an.replay(Tape((LEAF, few), DATA, {}), an.Float64())
    unknown = Node(1, "sinh", (Value(0),), {}, (Output((2,), "float64", 1),))
    with pytest.raises(TypeError, match="no rule for the operation 'sinh'"):
        an.replay(Tape((LEAF, unknown), DATA, {}), an.Float64())
