"""``floatemu lab`` and ``floatemu advise``: objects that fit their schemas, pages, and what the numbers say."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

pytest.importorskip("yaml", reason="needs the extra: lab")

import analysis as an
from analysis.advice import advise
from analysis.cli import main
from analysis.experiments import Case, run_case
from analysis.lab.running import run_lab
from analysis.report.advice_table import print_advice
from analysis.report.lab_content import Results, read_results, results
from analysis.report.lab_page import lab_page
from analysis.terminal import console
from floatemu.errors import FileError

SPEC = """
name: small
seeds: 2
experiments:
  - name: smooth
    net: mlp
    args: {sizes: [64, 8, 10], activation: tanh}
    policy: bf16
    steps: 3
    batch: 8
    metric: gradient_error
    mitigations: [clip_norm, [clip_norm, loss_scale]]
"""


def validate(found: Any, name: str) -> None:
    schema = json.loads(resources.files("analysis").joinpath("schemas", f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("lab")
    (path / "my.yaml").write_text(SPEC)
    run_lab(str(path / "my.yaml"), out=str(path / "out"), executor="here")
    return path


def test_the_object_fits_its_schema_and_is_what_the_file_holds(folder: Path, capsys: Any) -> None:
    words = ["lab", "--spec", str(folder / "my.yaml"), "--out", str(folder / "out"), "--executor", "here", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    validate(found, "lab")
    assert found == json.loads((folder / "out" / "lab.json").read_text())
    assert found["counts"] == {"done": 6, "failed": 0, "resumed": 6}
    assert [line["mitigation"] for line in found["matrix"]] == ["clip_norm", "clip_norm + loss_scale"]
    assert len({case["key"] for case in found["cases"]}) == 6


def test_results_are_those_of_the_cases_themselves(folder: Path) -> None:
    data = json.loads((folder / "out" / "lab.json").read_text())
    case = Case("mlp", {"sizes": (64, 8, 10), "activation": "tanh"}, "", "bf16", (), 1, 3, 8)
    alone = run_case(case)
    found = next(one for one in data["cases"] if one["mitigation"] == "" and one["seed"] == 1)
    assert found["loss"] == alone["loss"]
    assert found["gradient_rel_error"] == alone["gradient_rel_error"]
    errors = sorted(one["gradient_rel_error"]["free"] for one in data["cases"] if one["mitigation"] == "")
    baseline = data["matrix"][0]["baseline"]
    assert (baseline["lo"], baseline["hi"]) == tuple(errors)
    assert baseline["median"] == pytest.approx(sum(errors) / 2, rel=1e-15)


def test_the_page_is_printed_and_written(folder: Path, capsys: Any) -> None:
    assert main(["lab", "report", str(folder / "out")]) == 0
    out, err = capsys.readouterr()
    assert "clip_norm + loss_scale" in out
    assert "report.html" in err
    page = (folder / "out" / "report.html").read_text()
    assert page == lab_page(read_results(folder / "out"))
    assert "<script" not in page
    for anchor in ('id="m0"', 'id="m1"', 'id="f-smooth"', "<polyline"):
        assert anchor in page


HOSTILE = "</style><script>alert(1)</script><b title=\"x\" onclick='y'>"


def replaced(value: Any) -> Any:
    """Every text but the schema's name, hostile."""
    if isinstance(value, dict):
        return {
            key: value[key] if key in ("schema", "verdict", "status", "better") else replaced(value[key])
            for key in value
        }
    if isinstance(value, list):
        return [replaced(item) for item in value]
    return HOSTILE if isinstance(value, str) and value not in ("inf", "-inf", "nan") else value


def test_nothing_in_a_file_becomes_markup(folder: Path) -> None:
    data = json.loads((folder / "out" / "lab.json").read_text())
    data["cases"][0] |= {"status": "failed", "error": HOSTILE}
    page = lab_page(results(replaced(data)))
    assert "<script" not in page
    assert "<b title" not in page
    assert page.count("</style>") == 1
    assert page.count("&lt;script&gt;") > 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "floatemu.trace/1"}, "accepted: 'floatemu.lab/1'"),
        ({"cases": None}, "accepted: list"),
        ({"cases": [3]}, "no object"),
        ({"failures": [{"name": 3}]}, "as texts"),
        ({"mitigations": []}, "not described"),
        ({"matrix": [{"failure": "smooth", "mitigation": []}]}, "not described"),
    ],
)
def test_a_file_of_another_kind_is_refused(folder: Path, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    data = json.loads((folder / "out" / "lab.json").read_text()) | change
    (tmp_path / "lab.json").write_text(json.dumps(data))
    with pytest.raises(FileError, match=message):
        read_results(tmp_path)


@pytest.mark.parametrize("text", ["", "[", "null", "[" * 10**5, '{"a": ' + "9" * 5000 + "}"])
def test_a_file_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(FileError, match=r"lab\.json: "):
        read_results(tmp_path)


def test_odd_numbers_in_a_file_are_shown(folder: Path) -> None:
    data = json.loads((folder / "out" / "lab.json").read_text())
    line = data["matrix"][0]
    line["value"] = {"median": "nan", "lo": "-inf", "hi": 10**400}
    line["difference"] = None
    data["cases"][0]["loss"] = ["nan", None, {}, "x", 1e308, -1.0]
    content: Results = results(data)
    assert "NaN" in lab_page(content)
    assert content.cells["smooth", "clip_norm"].value[2] == float("inf")


def test_a_case_that_raises_makes_the_check_fail(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.lab import running

    def fails(case: Case) -> dict[str, Any]:
        if case.mitigations:
            raise ZeroDivisionError("by <design>")
        return run_case(case)

    monkeypatch.setattr(running, "run_case", fails)
    (tmp_path / "my.yaml").write_text(SPEC)
    words = ["lab", "--spec", str(tmp_path / "my.yaml"), "--out", str(tmp_path / "out"), "--executor", "here"]
    assert main([*words, "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    validate(found, "lab")
    assert not found["ok"]
    assert found["counts"] == {"done": 2, "failed": 4, "resumed": 0}
    assert [line["verdict"] for line in found["matrix"]] == ["failed", "failed"]
    assert "check failed: 4 cases raised" in err
    assert main(words) == 1
    assert "4 failed" in capsys.readouterr().out
    assert main(["lab", "report", str(tmp_path / "out")]) == 1
    assert "by &lt;design&gt;" in (tmp_path / "out" / "report.html").read_text()


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("tape") / "rnn.npz"
    an.nets.rnn(34, 4, 2, 2, activation="identity", rho=1.5, scale=0.0, loss="linear").save(path)
    return path


def test_advice_is_ordered_by_what_it_measured(tape: Path, capsys: Any) -> None:
    words = ["advise", str(tape), "--format", "fp16", "--target", "grad:h0"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    validate(found, "advise")
    gains = [option["bits_gained"]["median"] for option in found["options"]]
    assert gains == sorted(gains, reverse=True)
    # 1.5^34 overflows binary16; a loss scale of a power of two brings back what the format can hold, and no more
    scale = next(option for option in found["options"] if option["mitigation"].startswith("loss_scale"))
    assert found["baseline"]["bits"] == 0
    assert (scale["verdict"], scale["mitigation"][:14]) == ("better", "loss_scale:2^-")
    assert 7 < scale["effect"]["bits"] < 12
    assert {one["mitigation"] for one in found["unmeasured"]} >= {"clip_norm", "layer_norm", "learning_rate"}
    print_advice(found, console())
    out = capsys.readouterr().out
    assert "per_tensor_scaling" in out
    assert "overflowed binary16" in out


def test_advice_agrees_with_an_analysis_of_the_same_change(tape: Path) -> None:
    found = advise(an.Tape.load(tape), "fp16", target="grad:h0")
    option = next(one for one in found.options if one.mitigation.startswith("loss_scale"))
    exponent = int(option.mitigation.partition("^")[2])
    whole = an.Tape.load(tape)
    run = an.replay(an.mitigations.on_tape(f"loss_scale:2^{exponent}", whole, found.policy)[0], found.policy)
    exact = an.replay(whole, an.Float64()).value("grad:h0")
    by_hand = an.measures.relative_error(run.value("grad:h0") / 2.0**exponent, exact)
    assert option.effect.rel_error == by_hand  # a power of two changes no bit of the quotient


def test_where_nothing_is_lost_nothing_helps_or_harms() -> None:
    tape = an.nets.mlp((64, 8, 10), "tanh", batch=4)
    found = advise(tape, "binary64")
    assert found.baseline.rel_error == 0
    assert {one.verdict for one in found.options} <= {"unchanged", "worse"}
    exact = [one for one in found.options if one.mitigation in ("per_tensor_scaling", "stochastic_updates")]
    assert all(one.effect.rel_error == 0 for one in exact)


def test_lost_updates_are_seen_where_the_tape_has_a_step() -> None:
    tape = an.nets.mlp((64, 8, 10), "tanh", batch=8, optimizer="sgd:lr=0.001")
    found = advise(tape, "bf16")
    assert found.baseline.lost_updates > 0.5
    best = found.options[0]
    assert (best.verdict, best.effect.lost_updates) == ("better", 0.0)
    assert best.mitigation in ("master_weights", "autocast")
