"""``floatemu diff``: exit status, one JSON object of its schema, the page, and how long it takes."""

import json
import re
import time
from importlib import resources

import jsonschema
import pytest

import floatemu as fe
from analysis.cli import main

SCHEMA = json.loads(resources.files("analysis").joinpath("schemas/diff.json").read_text(encoding="utf-8"))


@pytest.fixture
def run(capsys):
    def call(*words):
        status = main(["diff", *words])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def report(text):
    found = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


def test_systems_that_differ_exit_with_1(run):
    status, out, _ = run("--a", "torch", "--b", "ml_dtypes", "--format", "e4m3fn", "--source", "float16", "--json")
    found = report(out)
    assert (status, found["ok"], found["differ"], found["exhaustive"]) == (1, False, 14720, True)
    assert [cause["name"] for cause in found["causes"]] == ["infinity", "overflow"]
    assert found["causes"][0]["examples"][0]["b_value"] == "nan"


def test_systems_that_agree_exit_with_0(run):
    status, out, _ = run("--a", "ocp_saturating", "--b", "onnx", "--source", "bfloat16", "--json")
    assert (status, report(out)["ok"]) == (0, True)


def test_the_page_names_causes_and_shows_operands(run):
    status, out, err = run("--a", "torch", "--b", "ml_dtypes", "--source", "float64", "--examples", "2")
    assert (status, err) == (1, "")
    assert "4190 results differ" in out
    assert "(double rounding); saturates, infinity included" in " ".join(out.split())
    assert "measured: torch 2.13.0" in " ".join(out.split())
    assert "overflow: the operand is above the largest value" in " ".join(out.split())
    assert "0x7e" in out


def test_codes_are_whole_on_a_narrow_page(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    _, out, _ = run(
        "--a", "exact", "--b", "ml_dtypes", "--format", "bfloat16", "--source", "float64", "--examples", "1"
    )
    assert len(re.findall(r"0x[0-9a-f]{16}\b", out)) >= 2
    assert "…" not in out


def test_the_list_has_every_system_with_its_evidence(run):
    status, out, _ = run("--list", "--json")
    found = report(out)
    assert status == 0
    assert [row["name"] for row in found["presets"]] == list(fe.presets.PRESETS)
    assert {row["evidence"].split(":")[0] for row in found["presets"]} == {"measured", "from documentation"}
    page = run("--list")[1]
    assert all(name in page for name in fe.presets.PRESETS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--a", "torhc"], "did you mean torch"),
        (["--format", "e4m9"], "e4m9"),
        (["--format", "e2m1fn"], "torch has no cast into e2m1fn"),
        (["--source", "e5m2"], "no probes are made of e5m2"),
        (["--source", "nonsense"], "nonsense"),
        (["--a", "live:nothing"], "live:torch"),
        (["--examples", "-1"], "an integer, 0..1000"),
    ],
)
def test_bad_input_exits_with_2(run, words, message):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert message in err
    status, out, _ = run(*words, "--json")
    assert (status, json.loads(out)["ok"]) == (2, False)
    assert message in json.dumps(json.loads(out)["error"])


def test_the_note_on_e4m3_is_given(run):
    assert "OCP's E4M3" in run("--format", "e4m3", "--a", "jax", "--b", "exact", "--source", "float16")[2]


def test_the_widest_comparison_is_quick(run):
    start = time.process_time()
    run("--a", "torch", "--b", "exact", "--format", "bfloat16", "--source", "float64")
    assert time.process_time() - start < 10
