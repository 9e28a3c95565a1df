"""The tree is what the design says: no stray files, no module too long, one word for the significand."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = {
    ".ci",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "analysis",
    "benchmarks",
    "docs",
    "examples",
    "floatemu",
    "pyproject.toml",
    "ruff.toml",
    "scripts",
    "setup.cfg",
    "tests",
}
MODULES = sorted(path for folder in ("floatemu", "analysis", "scripts") for path in (ROOT / folder).rglob("*.py"))


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        return [path.name for path in ROOT.iterdir() if path.name in TOP]
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_top_level_holds_nothing_else():
    assert {name.split("/")[0] for name in tracked()} <= TOP


def test_what_the_build_and_the_readme_need_is_there():
    needed = {"setup.cfg", "pyproject.toml", "ruff.toml", "LICENSE", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert needed <= {path.name for path in ROOT.iterdir()}
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_pyproject_holds_the_build_system_alone():
    lines = (ROOT / "pyproject.toml").read_text().split("\n")
    assert lines[0] == "[build-system]"
    assert len([line for line in lines if line]) == 3


def test_tests_are_no_package_and_hide_none():
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert not (ROOT / "tests" / "analysis").exists()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_stay_readable(path):
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent.name == "scripts"], ids=lambda path: path.name)
def test_scripts_stay_thin_and_say_how_to_use_them(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 130
    assert ast.get_docstring(ast.parse(text))


def test_one_word_for_the_significand():
    other = "manti" + "ssa"
    texts = (ROOT / name for name in tracked() if Path(name).suffix in {".py", ".md", ".cfg", ".toml", ".json"})
    assert [str(path) for path in texts if path.is_file() and other in path.read_text().lower()] == []


def test_ci_script_is_sound_bash_that_stops_at_the_first_failure():
    path = ROOT / ".ci" / "run"
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True).returncode == 0
    assert "set -euo pipefail" in path.read_text()
