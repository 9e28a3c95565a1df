"""``floatemu validate``: its three subjects, exit status, JSON, page, and the results that are committed."""

import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import floatemu as fe
from analysis.cli import main
from analysis.validate import markdown, run_validation

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads(resources.files("analysis").joinpath("schemas/validate.json").read_text(encoding="utf-8"))
FOLDER = os.environ.get("FLOATEMU_HW_VECTORS")


@pytest.fixture
def run(capsys):
    def call(*words):
        code = main(["validate", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def report(text):
    found = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


@pytest.fixture
def vectors(tmp_path):
    """A folder of results as they are published, and a function that spoils one of them."""
    unit = fe.matrix.find("V100", "fp16", "fp32")
    rng = np.random.default_rng(1)
    a, b = (np.asarray(fe.encode(rng.normal(size=(6, 4)), "fp16")) for _ in "ab")
    c = rng.normal(size=6).astype(np.float32).view(np.uint32)
    d = fe.matrix.mma(unit, a[:, None, :], b[:, :, None], c[:, None, None], codes=True)[:, 0, 0]

    def write(flip=(), gpu="V100"):
        d[list(flip)] ^= np.uint32(1)
        arrays = {"a": a, "b": b, "c32": c, "d_fp32": d}
        np.savez(tmp_path / "v.npz", **{f"{gpu}|fp16|{name}": x for name, x in arrays.items()})
        return tmp_path

    return write


@pytest.fixture(scope="module")
def installation():
    return run_validation()


@pytest.fixture
def checked(monkeypatch, installation):
    """The command's work is done once for all tests; what it is asked is seen."""
    asked = []

    def work(*words):
        asked.append(words[:3])
        return installation

    monkeypatch.setattr("analysis.validate.run_validation", work)
    return asked


def test_this_installation(run, checked):
    code, out, _ = run("--self", "--json")
    found = report(out)
    assert (code, found["ok"], found["subject"]["kind"]) == (0, True, "self")
    assert found["totals"]["fail"] == found["totals"]["known"] == found["totals"]["skipped"] == 0
    assert found["totals"]["compared"] > 10**5
    assert checked == [(None, None, None)]


def test_the_page_sums_many_tests_up(run, checked):
    code, out, _ = run("--self")
    assert code == 0
    assert len(out.splitlines()) < 30
    assert "hopper.wgmma" in out


def test_published_results(run, vectors):
    code, out, _ = run("--vectors", vectors(), "--json")
    found = report(out)
    assert (code, found["ok"], found["command"]) == (0, True, "validate")
    assert found["totals"] == {"pass": 1, "known": 0, "fail": 0, "skipped": 0, "compared": 6}
    assert found["subject"]["device"] == "V100"


def test_a_deviation_exits_with_1_and_is_shown(run, vectors):
    folder = vectors(flip=[4])
    code, out, _ = run("--vectors", folder, "--json")
    found = report(out)
    first = found["tests"][0]["first"]
    assert (code, found["ok"], found["tests"][0]["equal"], first["index"]) == (1, False, 5, [4])
    code, out, _ = run("--vectors", folder)
    assert code == 1
    text = " ".join(out.split())
    assert "fail V100|fp16|fp32: 5 of 6 equal" in text
    assert f"first at [4]: recorded {first['expected']}" in text
    assert first["inputs"]["a"][3] in text


def test_files(run, vectors, tmp_path):
    place = tmp_path / "new" / "report"
    code, out, _ = run("--vectors", vectors(flip=[4]), "--out", place, "--json")
    found = report(out)
    assert code == 1
    assert (
        found["files"] == sorted(file.name for file in place.iterdir())[::-1] == ["validation.json", "validation.html"]
    )
    assert report((place / "validation.json").read_text()) == found
    assert "0x" in (place / "validation.html").read_text()
    code, out, _ = run("--vectors", vectors(), "--out", place)
    assert "validation.html" in " ".join(out.split())
    code, _, err = run("--vectors", vectors(), "--out", place / "validation.json" / "below")
    assert code == 2
    assert "--out" in err


def test_a_report_that_compared_nothing_exits_with_1(run, vectors):
    code, out, _ = run("--vectors", vectors(gpu="Q999"), "--json")
    found = report(out)
    assert (code, found["totals"]["skipped"], found["ok"]) == (1, 1, False)
    assert "Q999" in found["tests"][0]["reason"]


def test_non_finite_results_are_json(run, vectors, tmp_path):
    vectors()
    with np.load(tmp_path / "v.npz") as archive:
        arrays = dict(archive)
    arrays["V100|fp16|d_fp32"][:2] = 0x7F800000, 0x7FFFFFFF
    np.savez(tmp_path / "v.npz", **arrays)
    assert report(run("--vectors", tmp_path, "--json")[1])["tests"][0]["first"]["expected_value"] == "inf"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A capture of a device that the package itself plays."""
    folder = tmp_path_factory.mktemp("capture") / "hopper"
    words = ["--simulate", "hopper.wgmma.e4m3fn.e4m3fn.binary32", "--vectors", "4", "--chunks", "1"]
    script = str(ROOT / "scripts" / "capture_gpu.py")
    command = [sys.executable, script, "--out", str(folder), *words, "--parts", "instructions", "casts"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_capture(run, simulated):
    code, out, _ = run(simulated, "--json")
    found = report(out)
    assert (code, found["ok"], found["subject"]["kind"]) == (0, True, "capture")
    assert found["subject"]["device"].startswith("simulated hopper")
    assert {test["op"] for test in found["tests"] if test["status"] == "pass"} == {"mma", "cast"}
    assert found["totals"]["fail"] == 0


def test_chunks_of_a_capture(run, simulated):
    code, out, _ = run(simulated / "capture.json", "--chunks", "1")
    assert code == 0
    assert "hopper.wgmma" in out


def test_a_damaged_capture_is_bad_input(run, simulated, tmp_path):
    for path in simulated.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data = bytearray((tmp_path / "casts.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "casts.npz").write_bytes(data)
    code, out, err = run(tmp_path)
    assert (code, out) == (2, "")
    assert "SHA-256" in err


BAD = {
    "nothing chosen": [],
    "two chosen": ["--self", "--vectors", "x"],
    "all chosen": ["folder", "--self", "--vectors", "x"],
    "chunks of an installation": ["--self", "--chunks", "3"],
    "too many chunks": ["folder", "--chunks", "5000"],
    "no capture": ["no-such-folder"],
    "no vectors": ["--vectors", "no-such-folder"],
    "no folder": ["--vectors", "--self"],
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD)
def test_bad_input_exits_with_2(run, words):
    code, out, err = run(*words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    code, out, _ = run("--json", *words)
    error = json.loads(out)["error"]
    assert code == 2
    assert error["message"]
    assert error["hint"]


def test_progress_is_called_for_every_test(vectors):
    seen = []
    run_validation(vectors=str(vectors()), progress=lambda *step: seen.append(step))
    assert seen == [(0, 1, "V100|fp16|fp32")]


def test_markdown_says_what_deviates(vectors):
    page = markdown(run_validation(vectors=str(vectors(flip=[0]))))
    assert "## fail: V100|fp16|fp32" in page
    assert "- first at [0]: recorded 0x" in page
    assert page.count("\n| V100\\|fp16\\|fp32 |") == 1


def test_committed_results_are_all_equal():
    found = report((ROOT / "docs" / "conformance" / "vectors.json").read_text(encoding="utf-8"))
    assert found["totals"] == {"pass": 20, "known": 0, "fail": 0, "skipped": 0, "compared": 70000}
    assert markdown(found) == (ROOT / "docs" / "conformance" / "vectors.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not FOLDER, reason="FLOATEMU_HW_VECTORS names no folder of published GPU results")
def test_committed_results_are_what_a_fresh_run_says(run):
    code, out, _ = run("--vectors", FOLDER, "--json")
    fresh, committed = report(out), report((ROOT / "docs" / "conformance" / "vectors.json").read_text(encoding="utf-8"))
    assert code == 0
    assert fresh.pop("files") == []  # of the run, not of its results
    for found in (fresh, committed):
        del found["floatemu"]
    assert fresh == committed
