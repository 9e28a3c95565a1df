"""The log of a watch: columns, what is read back, what an exception leaves, event files that TensorBoard reads."""

from __future__ import annotations

import io
import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

import analysis as an
from analysis.tensorboard import EventWriter, crc32c, masked
from analysis.watchlog import COLUMNS, Log, NonFinite, Row, read_log
from floatemu import UnsupportedError
from floatemu.errors import FileError

ROOT = Path(__file__).resolve().parents[2]
ROW = Row(3, 1, 0, "live", "mm", "head", "forward", "a.py:1", "bfloat16", (2, 3), 6, 1.5, 0.5, 2.0, 1.0, 0.25, 0.125,
          0, 0, 0, 0, 0, 0, 0, 0, False)  # fmt: skip
FOUND = NonFinite(3, "live", "exp", "head", "forward", "a.py:2", "overflow", 1, (0,), float("inf"), ("1: 99 there",))


def test_columns_are_the_fields_of_a_row_and_stand_in_the_docs() -> None:
    assert tuple(COLUMNS) == Row._fields
    text = (ROOT / "docs" / "watch.md").read_text(encoding="utf-8")
    for name, (kind, meaning) in COLUMNS.items():
        assert f"| `{name}` | {kind} | {meaning} |" in text


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    log = Log(tmp_path / "run", {"module": "Net", "every": 5})
    log.write(3, [ROW, ROW._replace(amin=float("inf"), site="ü")], {"error/live": 0.25}, [FOUND])
    log.write(8, [ROW._replace(step=8, shape=(), error=float("nan"))], {}, [])
    manifest, rows, found = read_log(tmp_path / "run")  # of a log that nobody has closed
    assert (manifest["schema"], manifest["module"], manifest["every"]) == ("floatemu.watch/1", "Net", 5)
    assert rows[:2] == [ROW, ROW._replace(amin=float("inf"), site="ü")]
    assert rows[2]._replace(error=0.0) == ROW._replace(step=8, shape=(), error=0.0)
    assert (found[0]["text"], found[0]["value"], found[0]["index"]) == (FOUND.text, "inf", [0])
    log.close()
    with pytest.raises(FileError, match="holds the log of another watch"):
        Log(tmp_path / "run", {})


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = __import__("pyarrow.parquet", fromlist=["write_table"])
    with pytest.raises(FileError, match="cannot be read"):
        read_log(tmp_path / "none")
    for text, message in (("[1]", "holds no JSON object"), ('{"schema": "x/1"}', "has schema 'x/1'"), ("{", "not the")):
        (tmp_path / "watch.json").write_text(text)
        with pytest.raises(FileError, match=message):
            read_log(tmp_path)
    (tmp_path / "watch.json").write_text('{"schema": "floatemu.watch/1"}')
    (tmp_path / "rows").mkdir()
    parquet.write_table(pyarrow.table({"step": [1]}), tmp_path / "rows" / "part-000000.parquet")
    with pytest.raises(FileError, match="has other columns"):
        read_log(tmp_path)
    (tmp_path / "rows" / "part-000000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(FileError, match="not the log of a watch"):
        read_log(tmp_path)


def test_a_log_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'floatemu\[report\]'"):
        Log(tmp_path, {})


def test_an_exception_in_the_model_loses_nothing(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    torch: Any = pytest.importorskip("torch.nn", reason="torch is not installed") and sys.modules["torch"]
    layer = torch.nn.Linear(2, 1)

    def train() -> None:
        with an.watch(layer, "bf16", every=1, out=tmp_path / "run") as w:
            for number in range(3):
                with w.step():
                    y = layer(torch.ones(1, 2)).exp()
                    if number == 2:
                        raise RuntimeError("out of luck")
                    y.sum().backward()

    with pytest.raises(RuntimeError, match="out of luck"):
        train()
    manifest, rows, _ = read_log(tmp_path / "run")
    assert (manifest["policy"], manifest["parameters"]) == ("bfloat16", {"weight": [1, 2], "bias": [1]})
    assert {row.step for row in rows} == {0, 1, 2}
    assert [row.op for row in rows if row.step == 2] == ["addmm", "exp"]
    assert layer(torch.ones(1, 2)).shape == (1, 1)
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_rows_of_all_steps_are_a_data_frame(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pytest.importorskip("pandas", reason="pandas is not installed")
    torch: Any = pytest.importorskip("torch.nn", reason="torch is not installed") and sys.modules["torch"]
    layer = torch.nn.Linear(2, 1)
    for out in (None, tmp_path / "run"):
        with an.watch(layer, every=1, out=out) as w:
            for _ in range(2):
                with w.step():
                    layer(torch.ones(1, 2))
        assert w.to_dataframe()["step"].tolist() == [0, 1]
        assert [row.step for row in w.rows] == ([0, 1] if out is None else [1])


def _records(path: Path) -> list[bytes]:
    data, found, place = path.read_bytes(), [], 0
    while place < len(data):
        length, check = struct.unpack_from("<QI", data, place)
        assert check == masked(crc32c(data[place : place + 8]))
        body = data[place + 12 : place + 12 + length]
        assert struct.unpack_from("<I", data, place + 12 + length)[0] == masked(crc32c(body))
        found.append(body)
        place += 16 + length
    return found


def test_checksums_are_those_of_the_standard() -> None:
    # RFC 3720, appendix B.4
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(bytes(range(31, -1, -1))) == 0x113FDB5C


def test_event_files_have_the_wire_format_by_hand(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.out.tfevents.1")
    writer.scalars({"a": 1.5}, step=300)
    writer.close()
    first, second = _records(tmp_path / "events.out.tfevents.1")
    assert first[0:1] == b"\x09"
    assert first[9:] == b"\x10\x00\x1a\x0dbrain.Event:2"
    assert second[9:] == b"\x10\xac\x02\x2a\x0a\x0a\x08\x0a\x01a\x15" + struct.pack("<f", 1.5)


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    accumulator: Any = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    writer = EventWriter(tmp_path / "events.out.tfevents.1")
    for step in range(3):
        writer.scalars({"error/layer": 0.1 * step, "größe": 1e300}, step=10 * step)
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["scalars"] == ["error/layer", "größe"]
    found = [(one.step, one.value) for one in events.Scalars("error/layer")]
    assert found == [(10 * step, struct.unpack("<f", struct.pack("<f", 0.1 * step))[0]) for step in range(3)]
    assert events.Scalars("größe")[0].value == float("inf")
    writer.close()


def test_json_of_a_log_has_no_numbers_that_json_lacks(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    Log(tmp_path, {"loss": float("nan")}).close()
    assert json.loads((tmp_path / "watch.json").read_text(), parse_constant=pytest.fail)["loss"] == "nan"


class Terminal(io.StringIO):
    """Standard error that draws."""

    def isatty(self) -> bool:
        return True


def test_a_line_tells_how_far_the_training_is(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh())
    with an.watch(net, "bf16", every=2) as w:
        for _ in range(3):
            with w.step():
                net(torch.ones(1, 2)).sum().backward()
    shown = screen.getvalue()
    assert "step 0 · 1 of 1 sampled · largest error" in shown
    assert "step 2 · 2 of 3 sampled · largest error" in shown
    assert "non-finite: 0" in shown
