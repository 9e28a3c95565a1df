"""Traces: the contract's JSON, files, verdicts, and the gate on bits."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from rich.console import Console

import analysis as an
from analysis.cli import main
from analysis.report.table import print_trace
from analysis.traced import run_trace
from analysis.verdict import number, numbers
from floatemu.errors import FileError, FloatEmuError, UnsupportedError


@pytest.fixture(scope="module")
def trace() -> dict[str, Any]:
    return run_trace(formats=["bf16", "e4m3fn"], policies=["fp8_recipe"])


def test_json_follows_the_schema(trace: dict[str, Any]) -> None:
    schema = json.loads((resources.files("analysis") / "schemas" / "trace.json").read_text())
    jsonschema.validate(json.loads(json.dumps(trace, allow_nan=False)), schema)


def test_the_file_holds_what_the_command_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--net", "chain", "--format", "bf16", "--reference", "float64", "--out", str(tmp_path)]
    assert main(["trace", *words, "--json"]) == 0
    kept = json.loads((tmp_path / "trace.json").read_text())
    assert kept == json.loads(capsys.readouterr().out)
    jsonschema.validate(kept, json.loads((resources.files("analysis") / "schemas" / "trace.json").read_text()))


def test_every_node_and_policy_is_there(trace: dict[str, Any]) -> None:
    assert [run["policy"] for run in trace["runs"]] == ["bfloat16", "e4m3fn", "fp8_recipe"]
    for run in trace["runs"]:
        assert [node["id"] for node in run["nodes"]] == list(range(len(run["nodes"])))
        assert run["target"]["name"] == "grad:W0"
        assert {target["name"] for target in run["targets"]} >= {"loss", "grad:W0", "grad:b1"}
    assert trace["reference"]["certified"] is False
    assert trace["reference"]["stable_under_doubling"] is True


def test_the_verdict_says_what_the_numbers_say(trace: dict[str, Any]) -> None:
    for run in trace["runs"]:
        target = run["target"]
        assert f"keeps {target['bits']:.1f} bits in {run['policy']}" in run["verdict"]
        worst = max(run["nodes"], key=lambda node: abs(node["contribution"] or 0.0))
        assert f"Most harm is done by %{worst['id']} {worst['op']}" in run["verdict"]
        flipped = sum(event["count"] for event in run["events"] if event["kind"] == "branch_flip")
        assert f"{flipped} decisions" in run["verdict"]
        flushed = any(event["flushed"] for event in run["events"])
        assert ("flushed" in run["verdict"]) == flushed


def test_counts_of_nodes_and_events_agree(trace: dict[str, Any]) -> None:
    for run in trace["runs"][:2]:
        for node in run["nodes"]:
            events = [event for event in run["events"] if event["node"] == node["id"]]
            flushed = sum(event["flushed"] for event in events)
            assert node["zeros_new"] == flushed
            absorbed = sum(event["count"] for event in events if event["kind"] == "absorption")
            assert node["absorbed"] == absorbed
            assert node["flips"] == sum(event["count"] for event in events if event["kind"] == "branch_flip")


@pytest.mark.parametrize(("bits", "ok"), [(5.0, True), (6.5, False), (None, True)])
def test_the_gate_on_bits(bits: float | None, ok: bool) -> None:
    assert run_trace(formats=["bf16"], reference="float64", min_bits=bits)["ok"] is ok


def test_infinite_targets_fail_every_gate() -> None:
    found = run_trace(net="chain", formats=["fp16"], min_bits=-1000.0)
    assert found["ok"] is False
    assert found["runs"][0]["target"]["bits"] == "-inf"
    assert "overflowed binary16 in 1 element (needed 100000, largest 65504) and gave inf" in found["runs"][0]["verdict"]
    nan = run_trace(net="chain", formats=["e4m3fn"], min_bits=-1000.0)
    assert nan["runs"][0]["target"]["bits"] == "nan"
    assert nan["ok"] is False


def test_files_hold_what_was_found(tmp_path: Path) -> None:
    for name in ("matplotlib", "plotly"):
        pytest.importorskip(name, reason="needs the extra: report")
    found = run_trace(
        formats=["e5m2"], policies=["e4m3fn/SatFinite"], reference="float64", out=tmp_path / "deep" / "er"
    )
    tables = ["nodes-e5m2.csv", "nodes-e4m3fn-SAT_FINITE.csv"]
    names = [name for table in tables for name in (table, f"{table}.manifest.json")]
    names += ["report.html", "errors.png", "ranges.png", "trace.json"]
    assert found["files"] == names
    folder = tmp_path / "deep" / "er"
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    with open(folder / "nodes-e5m2.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    nodes = found["runs"][0]["nodes"]
    assert len(rows) == len(nodes)
    for row, node in zip(rows, nodes, strict=True):
        assert int(row["id"]) == node["id"]
        for key in ("local_error", "error", "amax"):
            assert row[key] == ("" if node[key] is None else str(node[key]))
    assert json.loads((folder / "trace.json").read_text())["runs"] == found["runs"]
    for name in ("errors.png", "ranges.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_figures_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: report")
    from analysis.report.plots import plot_errors, plot_ranges

    runs = run_trace(net="chain", formats=["bf16", "fp16"], policies=["e4m3fn/SatFinite"])["runs"]
    for plot in (plot_errors, plot_ranges):
        for name in ("a.png", "b.png"):
            plot(runs, tmp_path / name)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_without_the_extra_pages_and_figures_are_left_out_with_a_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = ("matplotlib", "plotly")
    for name in [name for name in sys.modules if name.startswith((*libraries, "analysis.report.plots"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in libraries:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "analysis.report.html", raising=False)
    for name in ("plots", "html"):
        monkeypatch.delattr(f"analysis.report.{name}", raising=False)
    found = run_trace(net="chain", formats=["bf16"], out=tmp_path)
    assert found["files"] == ["nodes-bfloat16.csv", "nodes-bfloat16.csv.manifest.json", "trace.json"]
    assert found["notes"] == [
        "report.html needs plotly: pip install 'floatemu[report]'",
        "figures need matplotlib: pip install 'floatemu[report]'",
    ]


def test_without_pandas_the_dataframe_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    found = an.analyze(an.nets.chain(1.0, 0.3, 2), an.Policy.uniform("bf16"))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'floatemu\[report\]'"):
        found.to_dataframe()


def test_dataframe_has_a_row_for_each_node() -> None:
    pytest.importorskip("pandas", reason="needs the extra: report")
    found = an.analyze(an.nets.chain(1.0, 0.3, 2), an.Policy.uniform("bf16"))
    frame = found.to_dataframe()
    assert frame["id"].tolist() == [0, 1, 2, 3]
    assert frame["local_error"].tolist() == [node.local_error for node in found.nodes]


def test_saving_by_suffix(tmp_path: Path) -> None:
    found = an.analyze(an.nets.chain(1.0, 0.3, 2), an.Policy.uniform("bf16"))
    found.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == found.to_json()
    with pytest.raises(UnsupportedError, match=r"accepted suffixes are \.html, \.json, \.csv, \.parquet, \.png, \.svg"):
        found.save(tmp_path / "a.xls")
    with pytest.raises(FileError, match="cannot be written"):
        found.save(tmp_path / "none" / "a.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net": "unet", "formats": ["bf16"]}, "net='unet'; accepted: mlp, residual_mlp, cnn"),
        ({}, "at least one format or policy"),
        ({"formats": ["fp15"]}, "no format is named 'fp15'"),
        ({"policies": ["fp15"]}, "no policy is named 'fp15'"),
        ({"formats": ["bf16"], "reference": "exact"}, "accepted: mpmath, ball, float64, auto"),
        ({"formats": ["bf16"], "target": "grad:W9"}, "no target is named 'grad:W9'; accepted: logits, loss"),
        ({"formats": ["bf16"], "data": "cats.csv"}, "there is no such file"),
    ],
)
def test_bad_input_is_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FloatEmuError, match=message) as caught:
        run_trace(**options)
    assert "\n" not in str(caught.value)


def test_the_users_own_table_is_traced(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.normal(size=(20, 3)), rng.integers(0, 2, 20)])
    np.savetxt(path, table, delimiter=",")
    found = run_trace(data=str(path), formats=["fp16"], seed=5)
    assert found["data"] == "mine.csv"
    assert found["net"]["args"]["sizes"] == [3, 32, 2]
    assert found["seed"] == 5


def test_the_page_shows_verdict_and_worst_nodes(trace: dict[str, Any]) -> None:
    page = Console(file=io.StringIO(), width=150)
    print_trace(trace, page)
    text = " ".join(page.file.getvalue().split())  # type: ignore[attr-defined]
    for run in trace["runs"]:
        assert run["verdict"] in text
        worst = max(run["nodes"], key=lambda node: abs(node["contribution"] or 0.0))
        assert f"%{worst['id']} {worst['op']} ({worst['path']}, {worst['direction']})" in text


@pytest.mark.parametrize("width", [80, 110, 140])
def test_the_table_fits_the_terminal(trace: dict[str, Any], width: int) -> None:
    page = Console(file=io.StringIO(), width=width)
    print_trace(trace, page)
    lines = page.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= width
    nodes = [line for line in lines if re.match(r"%\d+ \w+ \(\w", line)]
    assert len(nodes) == 6 * len(trace["runs"])  # each on one line
    assert ("condition" in page.file.getvalue()) == (width >= 130)  # type: ignore[attr-defined]


def test_names_with_markup_are_printed_as_they_are(trace: dict[str, Any]) -> None:
    run = {**trace["runs"][0], "policy": "[bold]x[/bold]"}
    page = Console(file=io.StringIO(), width=150)
    print_trace({**trace, "runs": [run]}, page)
    assert "[bold]x[/bold]" in page.file.getvalue()  # type: ignore[attr-defined]


def test_a_saturated_element_is_counted_once() -> None:
    data = ([[1000.0, -3.0], [1.0, 2.0]], [0, 1])
    found = an.analyze(an.nets.mlp(data=data), an.Policy.uniform("e2m1fn"))
    told = 0
    for node, report in zip(found.tape.nodes, found.nodes, strict=True):
        record = found.runs["emulated"].records[node.id]
        if record is None or report.overflowed != report.saturated:
            continue
        told += report.beyond > 0
        assert report.beyond == report.saturated
        events = [e.count for e in found.events if e.node == node.id and e.kind in ("overflow", "saturation")]
        assert report.beyond == sum(events)
    assert told
    page = Console(file=io.StringIO(), width=150)
    result = run_trace(data="digits", formats=["e2m1fn"])
    print_trace(result, page)
    for line in page.file.getvalue().splitlines():  # type: ignore[attr-defined]
        if found_node := re.match(r"%(\d+) \w+ \(\w", line):
            assert line.split()[-1] == str(result["runs"][0]["nodes"][int(found_node[1])]["beyond"])


def test_a_reference_that_overflowed_cannot_judge() -> None:
    tape = an.record_numpy(lambda x: (x * x).sum(), np.array([1e200, 2.0]), wrt=(0,))
    words = an.analyze(tape, an.Policy.uniform("bf16"), "float64", "result").verdict()
    assert words.startswith(
        'result cannot be judged: the float64 reference is infinite itself; take reference="mpmath"'
    )
    assert "exactly" not in words
    assert "Most harm" not in words


def test_a_norm_is_called_a_norm() -> None:
    words = an.analyze(an.nets.mlp(batch=8), an.Policy.uniform("e8m0fnu"), "float64").verdict("grad:W0")
    assert re.match(r"grad:W0 is NaN in e8m0fnu; its norm in the reference is \d", words)
    scalar = an.analyze(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("float16")).verdict()
    assert scalar.startswith("result is inf in binary16; the reference gives 0.095367431640625.")


def test_a_gradient_of_zero_is_called_zero() -> None:
    tape = an.nets.mlp(data=(np.zeros((4, 3)), [0, 1, 0, 1]))
    for reference in ("float64", "mpmath"):
        words = an.analyze(tape, an.Policy.uniform("e2m1fn"), reference).verdict("grad:W0")
        assert words.startswith("grad:W0 is zero, in the reference and in e2m1fn.")


def test_zeros_that_become_nan_are_nan_in_every_column() -> None:
    found = an.analyze(an.nets.mlp(batch=4), an.Policy.uniform("e8m0fnu"), "float64")
    seen = 0
    for node in found.nodes:
        values = found.runs["emulated"].value(node.id)
        if (
            values.dtype.kind == "f"
            and np.isnan(values).any()
            and np.isfinite(found.runs["exact"].value(node.id)).all()
        ):
            seen += 1
            assert node.error is not None
            assert math.isnan(node.error), node.label
            assert node.local_error == 0.0 or math.isnan(node.local_error or 0.0), node.label
    assert seen
    bias = next(node for node in found.nodes if node.op == "parameter" and node.exact_amax == 0.0)
    assert math.isnan(bias.local_error or 0.0), "its zeros become NaN"


def test_verdicts_of_other_targets() -> None:
    found = an.analyze(an.nets.mlp(batch=8), an.Policy.uniform("e5m2"), "float64")
    assert found.verdict("loss").startswith(f"loss keeps {found.target('loss').bits:.1f} bits in e5m2")
    exact = an.analyze(an.nets.chain(1.0, 0.5, 3), an.Policy.uniform("e5m2"))
    assert exact.verdict() == "result is exact in e5m2."
    assert exact.target("result").bits == math.inf


def test_numbers_in_sentences() -> None:
    assert [number(x) for x in (0.0, -3.0, 1e6, 0.1015625, math.nan, -math.inf)] == [
        "0",
        "-3",
        "1e+06",
        "0.102",
        "NaN",
        "-inf",
    ]
    assert numbers(1.0, 1.0) == ("1", "1")
    assert numbers(0.1, 0.1 + 2**-56)[0] != numbers(0.1, 0.1 + 2**-56)[1]
