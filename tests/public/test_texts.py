"""The README and docs: snippets run, generated parts are current, links lead somewhere."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippets():
    pattern = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
    for path in TEXTS:
        for index, (code, output) in enumerate(pattern.findall(path.read_text(encoding="utf-8"))):
            yield pytest.param(code, output, id=f"{path.name}-{index}")


@pytest.mark.parametrize(("code", "output"), list(snippets()))
def test_snippet_prints_what_stands_below_it(code, output):
    if re.search(r"^import torch$|^from torch|^import floatemu\.interop\.torch", code, re.MULTILINE):
        pytest.importorskip("torch.nn", reason="torch is not installed")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "snippet", "exec"), {"__name__": "__main__"})
    assert printed.getvalue() == output


def test_readme_begins_with_a_sentence_and_a_short_example():
    first = README.split("```python\n")[1].split("```")[0].strip().splitlines()
    assert len([line for line in first if line]) <= 6
    assert README.split("\n\n")[1].count(". ") == 0


@pytest.mark.parametrize(
    "line", ["pip install -e . && floatemu demo", "pip install -e '.[test]' && pytest", "python3 -m venv .venv"]
)
def test_readme_has_the_commands_that_ci_runs(line):
    assert any(found.startswith(line) for found in README.splitlines())
    if "venv" not in line:
        assert README.index("python3 -m venv") < README.index(line)
        assert line in (ROOT / ".ci" / "run").read_text()


def test_generated_parts_are_current():
    command = [sys.executable, str(ROOT / "scripts" / "make_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_every_command_is_in_the_readme():
    from analysis.cli import app

    assert [name for name in app.commands if f"`floatemu {name}" not in README] == []


def test_every_extra_is_in_the_readme():
    import configparser

    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = set(config["options.extras_require"])
    assert extras == {"torch", "hf", "report", "flint", "dask", "safetensors", "lab", "test", "dev"}
    assert [name for name in extras if f"`{name}`" not in README and f"[{name}]" not in README] == []


def test_skip_reasons_are_checked(tmp_path):
    """The script that CI uses to find skipped tests does find them."""
    report = tmp_path / "tests.xml"
    case = '<testcase classname="t" name="a"><skipped type="pytest.skip" message="{}"/></testcase>'
    command = [sys.executable, str(ROOT / "scripts" / "check_skips.py"), str(report), "GPU", "browser"]
    for reason, expected in (("needs torch", 1), ("needs a GPU", 0)):
        report.write_text(f"<testsuites><testsuite>{case.format(reason)}</testsuite></testsuites>")
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == expected
        assert ("needs torch" in done.stdout) == bool(expected)
