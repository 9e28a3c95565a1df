"""``floatemu identify``: a row asked blind, a capture, exit status, JSON and page."""

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from analysis.cli import main

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "capture_gpu.py"
SCHEMA = json.loads(resources.files("analysis").joinpath("schemas/identify.json").read_text(encoding="utf-8"))
ROW = "turing.mma.int8.int8.int32.satfinite"
HALF, TF32 = "hopper.wgmma.binary16.binary16.binary32", "hopper.wgmma.tf32.tf32.binary32"


@pytest.fixture
def run(capsys):
    def call(*words):
        code = main(["identify", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def report(text):
    found = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A capture of simulated instructions, by the script as a user runs it."""
    folder = tmp_path_factory.mktemp("capture") / "new"
    command = [sys.executable, str(SCRIPT), "--out", str(folder), "--simulate", "hopper.wgmma", "--vectors", "16"]
    done = subprocess.run([*command, "--parts", "instructions"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_row_is_identified_blind(run):
    code, out, _ = run("--unit", ROW, "--json")
    found = report(out)
    assert (code, found["ok"], found["subject"]["name"]) == (0, True, ROW)
    (kept,) = found["classes"]
    assert kept["parameters"] == {"family": "Integers", "depth": 32, "saturate": True}
    assert ROW in kept["units"]
    assert sum(probe["rejected"] for probe in found["probes"]) == found["hypotheses"] - 1


def test_the_page_says_what_was_found_and_what_cannot_be_seen(run):
    code, out, _ = run("--unit", "turing.mma.uint8.uint8.int32")
    assert code == 0
    assert "saturate = False" in out
    assert "depth cannot be seen: sums that wrap" in " ".join(out.split())
    assert "P17" in out


def test_a_capture_is_identified(run, capture):
    code, out, _ = run(capture, "--test", HALF, "--json")
    found = report(out)
    (kept,) = found["classes"]
    assert code == 0
    assert {key: kept["parameters"][key] for key in ("length", "fraction", "result")} == {
        "length": 16,
        "fraction": 25,
        "result": "binary32",
    }
    assert found["subject"] == {"kind": "capture", "name": str(capture), "test": HALF}
    assert {probe["probe"]: probe["reading"] for probe in found["probes"]}["P1"] == "not zero up to k=25 of 40"


def test_a_capture_that_leaves_several_gets_an_input_that_separates_them(run, capture):
    code, out, _ = run(capture, "--test", TF32, "--json")
    found = report(out)
    assert (code, found["ok"]) == (1, False)
    assert TF32 in [unit for kept in found["classes"] for unit in kept["units"]]
    separating = found["separating"]
    assert len(separating["predictions"]) == len(found["classes"])
    assert len(set(separating["predictions"])) > 1
    assert len(separating["a"]) == found["k"]
    code, out, _ = run(capture, "--test", TF32)
    assert code == 1
    assert "An input that separates them" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "either CAPTURE or --unit"),
        (("somewhere", "--unit", ROW), "either CAPTURE or --unit"),
        (("--unit", ROW, "--test", "x"), "--test is for CAPTURE"),
        (("somewhere", "--products", "4"), "--products for --unit"),
        (("--unit", "abacus"), "no unit is named 'abacus'"),
        (("no/such/folder",), "no/such/folder"),
    ],
    ids=["nothing", "both", "test", "products", "unknown unit", "no folder"],
)
def test_bad_input(run, words, message):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err


def test_a_capture_of_several_instructions_asks_which(run, capture):
    code, _, err = run(capture)
    assert code == 2
    assert HALF in err
    code, _, err = run(capture, "--test", "abacus")
    assert code == 2
    assert "no instruction 'abacus'" in err
