"""Keep results of the lab for the documentation: docs/lab/NAME.json, what docs/mitigations.md is made of.

usage: keep_lab.py NAME=FOLDER [NAME=FOLDER ...]

FOLDER is where `floatemu lab` wrote lab.json. The matrix is kept whole, of the cases only what the page speaks of.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from analysis.report.lab_content import read_results

KEPT = Path(__file__).resolve().parent.parent / "docs" / "lab"
NAMES = ("failure", "mitigation", "seed", "status")
OF_CASES = {"flips": ("gradient_rel_error", "flips"), "loss_scale": ("loss_scale",)}
"""What the page takes from single cases, by the name of the results; the rest is in the matrix."""


def kept(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the results without what the page does not need: loss curves, gradients one by one, tracebacks."""
    wanted = OF_CASES.get(name)
    cases = [] if wanted is None else [{key: case.get(key) for key in NAMES + wanted} for case in data["cases"]]
    return {**data, "cases": cases, "out": "", "files": []}


def text(data: dict[str, Any]) -> str:
    """Return JSON with one line for each entry of a list, so that changes can be read."""
    parts = []
    for key, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines = ",\n".join(json.dumps(item, allow_nan=False) for item in value)
            parts.append(f"{json.dumps(key)}: [\n{lines}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{" + ",\n".join(parts) + "}\n"


def main() -> None:
    """Write one file for each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", metavar="NAME=FOLDER")
    for given in parser.parse_args().folders:
        name, _, folder = given.partition("=")
        data = dict(read_results(folder).data)
        spec = KEPT / f"{name}.yaml"
        if spec.exists():  # as a reader of the repository runs it
            data["reproduce"] = f"floatemu lab --spec docs/lab/{name}.yaml"
        (KEPT / f"{name}.json").write_text(text(kept(name, data)), encoding="utf-8")


if __name__ == "__main__":
    main()
