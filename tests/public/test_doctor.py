"""`floatemu doctor` finds a foreign `analysis`, missing parts and a cache that cannot be written to."""

from pathlib import Path

import pytest

from analysis import doctor


def check(name):
    return next(item for item in doctor.examine()["checks"] if item["name"] == name)


def test_all_is_well_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert [item["name"] for item in doctor.examine()["checks"] if not item["ok"]] == []


@pytest.mark.parametrize("kind", ["folder", "package", "file"])
def test_an_analysis_of_the_users_own_is_named(monkeypatch, tmp_path, kind):
    if kind == "file":
        (tmp_path / "analysis.py").write_text("")
    else:
        (tmp_path / "analysis").mkdir()
        if kind == "package":
            (tmp_path / "analysis" / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    found = check("shadowing")
    assert not found["ok"]
    assert str(tmp_path) in found["text"]
    mine = tmp_path / ("analysis.py" if kind == "file" else "analysis")
    assert f"rename {mine}, " in found["hint"]


def test_our_own_folder_is_no_stranger(monkeypatch):
    monkeypatch.chdir(Path(doctor.__file__).parents[1])
    assert check("shadowing")["ok"]


def test_a_cache_that_cannot_be_written_to(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/floatemu")
    found = check("cache")
    assert not found["ok"]
    assert "NUMBA_CACHE_DIR" in found["hint"]


def test_a_cache_of_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert str(tmp_path) in check("cache")["text"]


def test_missing_extras_come_with_the_command(monkeypatch):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("torch", "numba") else real(name))
    found = doctor.examine()
    assert found["extras"]["torch"] == {"missing": ["torch"], "install": "pip install 'floatemu[torch]'"}
    assert [item["name"] for item in found["checks"] if not item["ok"]] == ["numba"]


def test_a_broken_core_is_reported_and_the_rest_is_still_said(monkeypatch):
    import floatemu as fe

    def broken(*args, **options):
        raise RuntimeError("no compiler\nlong story")

    monkeypatch.setattr(fe, "round", broken)
    found = check("rounding")
    assert (found["ok"], found["text"]) == (False, "fe.round fails with RuntimeError: no compiler")
