"""Versions of torch: the script that checks others, and that docs, recorded answers and setup.cfg speak of the same."""

import configparser
import importlib
import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield importlib.import_module("check_torch_versions")
        for name in ("check_torch_versions", "record_peers"):
            sys.modules.pop(name, None)


def numbers(version):
    return tuple(map(int, version.split("+")[0].split(".")))


def documented(script):
    """The rows of the table in docs/torch.md, by version."""
    text = (ROOT / "docs" / "torch.md").read_text(encoding="utf-8")
    body = re.search(r"<!-- begin: versions -->\n(.*?)<!-- end: versions -->", text, re.DOTALL)[1]
    head, _, *lines = body.splitlines()
    assert head == script.HEAD
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in rows} == {head.count("|") - 1}
    return {row[0].split("+")[0]: row for row in rows}


def test_documented_versions_are_those_whose_answers_are_kept(script):
    """Each row has the totals of its file, no test failed, and the floor of setup.cfg is the least of them."""
    kept = {}
    for path in script.ANSWERS.glob("torch-*-cpu.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        version = report["subject"]["torch"].split("+")[0]
        assert path.name == f"torch-{version}-cpu.json"
        kept[version] = [str(report["totals"][key]) for key in ("pass", "known", "fail", "skipped")]
    rows = documented(script)
    assert {version: row[-4:] for version, row in rows.items()} == kept
    assert {row[5] for row in rows.values()} == {"0"}
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    least = min(map(numbers, rows))
    for extra in ("torch", "hf"):
        floor = re.search(r"torch>=(\S+)", extras[extra])[1]
        assert numbers(floor) == least[: len(numbers(floor))], extra


def test_versions_differ_in_casts_to_e4m3fn_alone(script):
    """On processors of one kind, as docs/torch.md says it."""
    answers = {}
    for path in script.ANSWERS.glob("torch-*-cpu.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        version = numbers(report["subject"]["torch"])
        answers.setdefault(report["subject"]["cpu"], {})[version] = {t["id"]: t["sha256"] for t in report["tests"]}
    for found in answers.values():
        newest = found[max(found)]
        for version, hashes in found.items():
            assert hashes.keys() == newest.keys()
            other = {name for name, digest in hashes.items() if digest != newest[name]}
            old = version < (2, 13) <= max(found)
            assert other == ({f"cast/binary{k}/e4m3fn" for k in (16, 32, 64)} if old else set()), version


def test_every_file_that_names_torch_is_run(script, tmp_path):
    found = script.tests_of_torch(ROOT / "tests")
    assert len(found) > 30
    assert str(Path(__file__)) in found
    assert [path for path in found if Path(path).parent.name == "block"] == []
    (tmp_path / "test_a.py").write_text("import torch")
    (tmp_path / "test_b.py").write_text("import numpy")
    assert script.tests_of_torch(tmp_path) == [str(tmp_path / "test_a.py")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x\n2 failed, 1546 passed, 9 skipped in 131.01s (0:02:11)\n", {"failed": 2, "passed": 1546, "skipped": 9}),
        ("3 passed in 1s\n\n1 passed, 2 errors in 70.35s", {"passed": 1, "error": 2}),
        ("no tests ran in 0.01s", {}),
        ("INTERNALERROR", {}),
    ],
)
def test_the_last_line_of_pytest_is_read(script, text, expected):
    assert script.counts(text) == expected


def test_a_line_has_a_cell_for_each_column(script):
    totals = {"pass": 46, "known": 13, "fail": 1, "skipped": 2}
    line = script.row({"torch": "2.9.0", "transformers": "5.1"}, Counter(passed=7, failed=1, error=2), totals)
    assert line == "| 2.9.0 | none | 5.1 | 7 | 0 | 3 | 46 | 13 | 1 | 2 |"
    assert line.count("|") == script.HEAD.count("|")


def test_versions_are_checked_in_turn_and_environments_removed(script, tmp_path, monkeypatch, capsys):
    def check(version, environments):
        (environments / f"torch-{version}").mkdir()
        return f"| {version} |"

    monkeypatch.setattr(script, "check", check)
    monkeypatch.setattr(sys, "argv", ["x", "--environments", str(tmp_path / "made"), "--remove", "2.9.0", "3.0.0"])
    assert script.main() == 0
    assert capsys.readouterr().out.splitlines()[2:] == ["| 2.9.0 |", "| 3.0.0 |"]
    assert not list((tmp_path / "made").iterdir())
