"""The check of an installation passes here, is current, and sees what is wrong."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from floatemu.formats import FORMATS
from floatemu.matrix import UNITS, self_check
from floatemu.matrix.self_check import check_self, results, sampled
from floatemu.projection import Rounding

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report():
    return check_self()


def test_this_installation_is_well(report):
    assert [test for test in report.tests if test.status != "pass"] == []
    assert report.ok
    assert report.subject["kind"] == "self"
    assert report.subject["cpu"]


def test_every_unit_format_and_mode_is_checked(report):
    ops = Counter(test.op for test in report.tests)
    assert {test.unit for test in report.tests if test.op == "mma"} == {unit.name for unit in UNITS}
    assert ops == {
        "mma": len(UNITS),
        "round": len(FORMATS) * len(Rounding),
        "decode": sum(fmt.k <= 16 for fmt in FORMATS.values()),
    }
    assert len({test.id for test in report.tests}) == len(report.tests)


def test_the_file_that_is_carried_is_current():
    command = [sys.executable, str(ROOT / "scripts" / "make_self_check.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_inputs_hold_what_decides():
    """Each product has more columns than vectors have lanes, and K is more than one step."""
    for unit in UNITS[::17]:
        found = results(unit)
        assert sum(len(np.unique(d)) for *_, d in found.values()) > 40
        for a, b, c, d in found.values():
            assert (len(a), b.shape[1], c.shape, d.shape) == (2, 40, (2, 40), (2, 40))
            assert a.shape[1] == b.shape[0] > unit.step.depth


SOME = UNITS[::23]


@pytest.fixture
def broken(monkeypatch):
    def breaks(name, work, units=(), formats=()):
        real = getattr(self_check, name)
        with monkeypatch.context() as patch:
            patch.setattr(self_check, name, lambda *args, **more: work(real(*args, **more)))
            patch.setattr(self_check, "UNITS", units)
            patch.setattr(self_check, "NAMED", {name: FORMATS[name] for name in formats})
            return check_self()

    return breaks


def spoiled(place):
    def work(found):
        found = np.array(found)
        if found.ndim and found.shape[-1] > 30:
            found[..., place] ^= found.dtype.type(1)
        return found

    return work


def test_a_wrong_first_result_is_shown(broken):
    wrong = [test for test in broken("mma", spoiled(0), SOME).tests if test.status == "fail"]
    assert {test.unit for test in wrong} == {unit.name for unit in SOME}
    first = wrong[0].first
    assert (first.index, int(first.expected, 16) ^ int(first.actual, 16)) == ((0,), 1)
    assert first.inputs["label"] == "normal"
    assert (wrong[0].equal, len(first.inputs["a"])) == (6, 11)


def test_a_wrong_result_that_is_not_carried_fails_by_the_hash(broken):
    wrong = [test for test in broken("mma", spoiled(33), SOME).tests if test.status == "fail"]
    assert {test.unit for test in wrong} == {unit.name for unit in SOME}
    assert all(test.first is None and "another hash" in test.reason for test in wrong)


def test_wrong_codes_and_roundings_fail(broken):
    names = ("e4m3fn", "e8m0fnu", "binary64")
    found = broken("encode", lambda found: found ^ found.dtype.type(1), formats=names)
    assert Counter((test.op, test.status) for test in found.tests) == {
        ("round", "fail"): 3 * len(Rounding),
        ("decode", "pass"): 2,
    }
    assert all(test.first.expected != test.first.actual for test in found.tests if test.op == "round")
    found = broken("decode", lambda found: found * 2, formats=names)
    assert {test.status for test in found.tests if test.op == "decode"} == {"fail"}


def test_entries_are_hashes_and_first_results():
    entry = sampled(UNITS[0])
    assert set(entry) == {"sha256", "first"}
    assert {len(codes) for codes in entry["first"].values()} == {self_check.KEPT}
