"""Run every test that names torch, and `floatemu validate --torch`, on other versions of torch, and print a table.

usage: check_torch_versions.py [--environments FOLDER] [--remove] VERSION [VERSION ...]

For each version: an environment of its own (made of this interpreter; torch's wheels for Linux bring CUDA, 5 to 8 GB),
its casts as tests/data/peers/torch-VERSION.json if record_peers.py knows the version, its answers as
tests/data/torch/torch-VERSION-cpu.json, and the tests, whose output goes to FOLDER/torch-VERSION.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import record_peers

ROOT = Path(__file__).resolve().parent.parent
ANSWERS = ROOT / "tests" / "data" / "torch"
EXTRAS = "hf,report,flint,dask,lab,safetensors,test"
NAMED = ("torch", "triton", "transformers")
"""Packages whose versions are told."""
HEAD = "| torch | triton | transformers | tests passed | skipped | failed | validated: pass | known | fail | skipped |"
COMMAND = "import sys; from analysis.cli import main; sys.exit(main(sys.argv[1:]))"


def tests_of_torch(folder: Path) -> list[str]:
    """Return the test files below a folder whose text names torch, in order."""
    return [str(p) for p in sorted(folder.rglob("test_*.py")) if "torch" in p.read_text(encoding="utf-8")]


def counts(text: str) -> Counter[str]:
    """Return the numbers in the last line that pytest prints: of "2 failed, 7 passed in 3s" 2 and 7."""
    last = [line for line in text.splitlines() if re.search(r" in [\d.:]+", line)][-1:]
    return Counter(
        {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) ([a-z]+)", "".join(last).split(" in ")[0])}
    )


def row(packages: dict[str, str], tests: Counter[str], totals: dict[str, int]) -> str:
    """Return a version's line of the table."""
    cells: list[Any] = [packages.get(name, "none") for name in NAMED]
    cells += [tests["passed"], tests["skipped"], tests["failed"] + tests["error"]]
    return f"| {' | '.join(map(str, [*cells, *(totals[key] for key in ('pass', 'known', 'fail', 'skipped'))]))} |"


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an environment's interpreter on this project's code."""
    paths = {"PYTHONPATH": str(ROOT), "PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]])}
    command = [str(python), *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **paths}, capture_output=True, text=True, check=False)


def record(version: str, environments: Path) -> None:
    """Record the version's casts, if its line is in record_peers.py: tests compare the installed torch with them."""
    known = {(name, made) for name, made, *_ in record_peers.ENVIRONMENTS + record_peers.LARGE}
    if ("torch", version) not in known:
        print(f"torch {version}: record_peers.py has no line, tests compare its casts with the newest", file=sys.stderr)
        return
    command = [sys.executable, record_peers.__file__, "--environments", str(environments), "torch", version]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def validate(python: Path, version: str) -> dict[str, int]:
    """Ask the version's torch, keep its answers, and return how many were what."""
    with tempfile.TemporaryDirectory() as folder:
        done = run(python, "-c", COMMAND, "validate", "--torch", "--out", folder)
        made = Path(folder) / "validation.json"
        if not made.exists():
            raise SystemExit(f"torch {version} was not validated: {done.stderr[-2000:]}")
        shutil.copyfile(made, ANSWERS / f"torch-{version}-cpu.json")
    totals: dict[str, int] = json.loads((ANSWERS / f"torch-{version}-cpu.json").read_text(encoding="utf-8"))["totals"]
    return totals


def check(version: str, environments: Path) -> str:
    """Do all for one version, and return its line."""
    needs = f"torch=={version} tensorboard -e {ROOT}[{EXTRAS}]"
    python = record_peers.environment(environments, "torch", version, needs)
    record(version, environments)
    totals = validate(python, version)
    done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests_of_torch(ROOT / "tests"))
    (environments / f"torch-{version}.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    packages = json.loads(run(python, "-m", "pip", "list", "--format", "json").stdout)
    return row({package["name"]: package["version"] for package in packages}, counts(done.stdout), totals)


def main() -> int:
    """Check each version."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()) / "floatemu-torch")
    parser.add_argument("--remove", action="store_true", help="each environment, when it is done with")
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    options = parser.parse_args()
    options.environments.mkdir(parents=True, exist_ok=True)
    print(HEAD, re.sub(r"[^|]+", "---", HEAD), sep="\n", flush=True)
    for version in options.versions:
        print(check(version, options.environments), flush=True)
        if options.remove:
            shutil.rmtree(options.environments / f"torch-{version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
