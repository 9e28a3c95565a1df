"""``floatemu validate --torch``: probes, known ways of torch, unknown deviations, the report and the command."""

import json
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
import torch

import floatemu as fe
from analysis.cli import main
from analysis.validate import markdown
from floatemu.interop.torch import check, probes, questions, readings
from floatemu.presets import get

DATA = Path(__file__).parents[1] / "data"
SCHEMA = json.loads(resources.files("analysis").joinpath("schemas/validate.json").read_text(encoding="utf-8"))
E4M3, E8M0, BF16 = (fe.get_format(name) for name in ("e4m3fn", "e8m0fnu", "bfloat16"))


def question(fmt, computed, ways=()):
    return questions.Question("cast", {}, fmt, {}, lambda device: None, lambda: computed, lambda answer: ways)


@pytest.fixture(scope="module")
def report():
    return check.check_torch()


def test_this_torch_deviates_in_known_ways_alone(report):
    assert {test.id: test.first for test in report.tests if test.status == "fail"} == {}
    assert report.ok
    assert report.totals["compared"] > 10**6
    assert all(test.cause for test in report.tests if test.status == "known")


def test_every_kind_of_test_is_there(report):
    ids = [test.id for test in report.tests]
    assert len(ids) == len(set(ids))
    assert {test.op for test in report.tests} == {"cast", "decode", "arithmetic", "matmul"}
    for source in ("binary16", "binary32", "binary64"):
        for target in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0fnu", "bfloat16"):
            assert f"cast/{source}/{target}" in ids
    assert "cast/binary64/binary16" in ids
    assert {f"{name}/binary32" for name in ("add", "sub", "mul", "div", "sqrt", "fma")} <= set(ids)
    assert {f"matmul/binary32/{mode}" for mode in ("highest", "high", "medium")} <= set(ids)
    assert torch.get_float32_matmul_precision() == "highest"


def test_double_rounding_is_found_and_named(report):
    """Trap 1, as torch does it."""
    tests = {test.id: test for test in report.tests}
    assert tests["cast/binary64/e5m2"].cause == readings.VIA
    assert tests["cast/binary32/e5m2"].status == "pass"
    assert torch.tensor([1 + 2**-3 + 2**-40], dtype=torch.float64).to(torch.float8_e5m2).float().item() == 1.0


def test_what_this_torch_makes_of_infinity_is_found_and_named(report):
    """Trap 12: 448 from 2.13 on, NaN before."""
    became = torch.tensor([torch.inf]).to(torch.float8_e4m3fn).double().item()
    test = {test.id: test for test in report.tests}["cast/binary32/e4m3fn"]
    if became == 448.0:
        assert (test.status, test.cause) == ("known", "saturates, infinity included")
    else:
        assert np.isnan(became)
        assert (test.status, test.cause) == ("pass", None)


def test_the_subject_names_torch_and_processor(report):
    assert report.subject["torch"] == torch.__version__
    assert report.subject["cpu"]
    assert report.subject["kind"] == "torch"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC 12",
            "535.104.05",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n", "570.86.15"),
        ("something else", None),
    ],
)
def test_the_driver_of_a_gpu_is_read(text, version, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "DRIVER", tmp_path / "version")
    assert check._driver() is None
    (tmp_path / "version").write_text(text)
    assert check._driver() == version


def test_a_product_rounded_before_its_sum_would_be_known():
    """Of (1 + 2^-12)^2 - 1, the product's last bit is lost."""
    operands = tuple(np.array([x]) for x in (1 + 2.0**-12, 1 + 2.0**-12, -1.0))
    binary32 = fe.get_format("binary32")
    ((_, codes),) = readings.fused(operands, binary32)
    assert fe.decode(codes(), binary32) == 2.0**-11
    assert fe.fma(*operands, binary32) == 2.0**-11 + 2.0**-24


def test_a_deviation_that_no_way_explains_fails(monkeypatch):
    real = questions.bits

    def spoiled(x):
        codes = real(x).copy()
        codes.reshape(-1)[100] ^= 1
        return codes

    monkeypatch.setattr(questions, "bits", spoiled)
    found = check.check_torch(only="cast/binary16/e5m2")
    assert [test.status for test in found.tests] == ["fail", "fail"]
    assert not found.ok
    assert found.tests[0].first.inputs == {"x": "0x0064"}
    assert found.tests[0].n - found.tests[0].equal == 1


def test_a_report_is_replayed_from_its_hashes(report):
    """Nothing is asked of torch; what it was found to do, it is found to have done."""
    kept = json.loads(json.dumps(report.as_dict()))
    found = check.replay_torch(kept)
    assert found.ok
    for before, after in zip(report.tests, found.tests, strict=True):
        assert (before.id, before.sha256) == (after.id, after.sha256) or after.status == "skipped"
        assert after.status == before.status or before.cause in check.FROM_ANSWERS


REPORTS = sorted(path for kind in ("torch", "gpu") for path in (DATA / kind).glob("torch-*.json"))


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_reports_of_other_machines_are_replayed(path):
    found = check.replay_torch(json.loads(path.read_text(encoding="utf-8")))
    assert {test.id: test.reason for test in found.tests if test.status == "fail"} == {}
    compared = [test for test in found.tests if test.status in ("pass", "known")]
    assert len(compared) > 50
    assert {test.op for test in compared} == {"cast", "decode", "arithmetic", "matmul"}


@pytest.mark.parametrize("text", ["{", "[]", '{"subject": {"kind": "torch"}, "tests": [{"id": "cast/binary32/e5m2"}]}'])
def test_the_command_refuses_what_is_no_report(text, tmp_path, capsys):
    path = tmp_path / "report.json"
    path.write_text(text)
    assert main(["validate", str(path)]) == 2
    assert "report" in capsys.readouterr().err


def test_the_command_replays_a_report(tmp_path, capsys, report):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report.as_dict()))
    assert main(["validate", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert found["subject"] == report.subject
    assert found["totals"]["known"] > 0


def test_a_replay_sees_one_other_bit(report):
    kept = report.as_dict()
    for test in kept["tests"]:
        if test["id"] in ("cast/binary16/e5m2", "cast/binary64/e5m2"):
            test["sha256"] = "0" * 64
    found = {test.id: test for test in check.replay_torch(kept).tests if test.status == "fail"}
    assert set(found) == {"cast/binary16/e5m2", "cast/binary64/e5m2"}
    assert {test.reason for test in found.values()} == {"the hash is another"}


@pytest.mark.parametrize("text", [{}, {"subject": {"kind": "self"}, "tests": []}, {"subject": {"kind": "torch"}}])
def test_what_is_no_report_of_torch_is_refused(text):
    with pytest.raises(fe.UnsupportedError, match="report"):
        check.replay_torch(text)


def test_every_way_is_tried_for_every_bit():
    one, two = np.array([0x38, 0x39], np.uint8), np.array([0x39, 0x39], np.uint8)
    ways = [("half of it", lambda: np.array([0x39, 0x38], np.uint8)), ("all", lambda: two)]
    found = check.judge("x", question(E4M3, one, ways), two, "")
    assert (found.status, found.cause, found.equal) == ("known", "all", 1)
    assert check.judge("x", question(E4M3, one, ways[:1]), two, "").status == "fail"


def test_a_number_in_the_place_of_a_nan_is_a_deviation():
    nan, other, number = (np.array([code], np.uint8) for code in (0x7F, 0xFF, 0x7E))
    assert check.judge("x", question(E4M3, nan), other, "").status == "pass"
    assert check.judge("x", question(E4M3, nan), number, "").status == "fail"


def test_casts_that_torch_lacks_are_skipped_with_its_words(monkeypatch):
    def refuse(*arguments):
        raise NotImplementedError("no such kernel\nand more")

    monkeypatch.setattr(questions, "bits", refuse)
    found = check.check_torch(only="cast/binary16/e5m2")
    assert {test.status for test in found.tests} == {"skipped"}
    assert found.tests[0].reason == "torch refuses: no such kernel"
    assert not found.ok


def test_exact_products_see_a_shorter_operand():
    a, b = probes.matrices(fe.get_format("binary32"))
    exact = fe.encode(a @ b, "binary32")
    for cause, codes in readings.products(a, b, "binary32"):
        assert (codes() != exact).mean() > 0.5, cause


def test_products_in_lower_precision_would_be_known():
    a, b = probes.matrices(fe.get_format("binary32"))
    short = fe.encode(fe.round(a, "bfloat16") @ fe.round(b, "bfloat16"), "binary32")
    exact = fe.encode(a @ b, "binary32")
    ways = readings.products(a, b, "binary32")
    found = check.judge("x", question(fe.get_format("binary32"), exact, ways), short, "")
    assert found.status == "known"
    assert "bfloat16" in found.cause


def test_e8m0_as_torch_makes_it():
    """Trap 16: ties go up, signs are dropped, zero is the least number."""
    x = np.array([3.0, -3.0, 0.0, 1.5, 2.0**-127, 1.25 * 2.0**-127], np.float32)
    codes = get("torch").cast(x, E8M0)
    assert codes.tolist() == [129, 129, 0, 128, 0, 1]
    assert np.array_equal(codes, torch.from_numpy(x).to(torch.float8_e8m0fnu).view(torch.uint8).numpy())


def test_the_ways_of_casts_are_those_of_the_table():
    x = np.array([1e9, np.inf])
    ways = dict(readings.casts(x, fe.get_format("binary64"), E4M3))
    assert [codes().tolist() for codes in ways.values()] == [[0x7E, 0x7E], [0x7F, 0x7F]]
    assert list(ways)[1] == readings.VIA


@pytest.fixture
def run(capsys, monkeypatch, report):
    """The command; its work is done once for all tests."""
    asked = []

    def work(device, progress):
        asked.append(device)
        return report

    monkeypatch.setattr(check, "check_torch", work)

    def call(*words):
        code = main(["validate", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err, asked

    return call


def test_the_command_prints_json_of_the_schema(run):
    code, out, _, asked = run("--torch", "--json")
    found = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    assert (code, found["ok"], found["subject"]["kind"], asked) == (0, True, "torch", ["cpu"])
    assert f"torch on {found['subject']['device']}" in markdown(found)


def test_the_command_prints_a_page(run):
    code, out, _, asked = run("--torch", "--device", "cpu")
    assert (code, asked) == (0, ["cpu"])
    assert f"torch {torch.__version__}" in " ".join(out.split())
    assert "double rounding" in " ".join(out.split())


@pytest.mark.parametrize("words", [("--torch", "--self"), ("--self", "--device", "cpu"), ("--torch", "--chunks", "3")])
def test_bad_input_exits_with_2(run, words):
    code, out, err, asked = run(*words)
    assert (code, out, asked) == (2, "", [])
    assert err


def test_an_unknown_device_is_bad_input(capsys):
    assert main(["validate", "--torch", "--device", "nowhere"]) == 2
    assert "accepted: cpu" in capsys.readouterr().err
