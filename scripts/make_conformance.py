"""Write docs/conformance: what `floatemu validate --vectors` says of the published results of GPUs.

usage: make_conformance.py FOLDER

FOLDER is what `floatemu validate --vectors` takes. vectors.json is the command's --json, vectors.md the same as a page.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from analysis.terminal import head, plain
from analysis.validate import markdown, run_validation

TARGET = Path(__file__).resolve().parent.parent / "docs" / "conformance"


def report(folder: str) -> dict[str, Any]:
    """Return the object that `floatemu validate --vectors FOLDER --json` prints."""
    found: dict[str, Any] = plain({**head("validate", ok=True), **run_validation(vectors=folder)})
    return found


def main() -> int:
    """Write both files; exit status 1 if a result deviates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER")
    found = report(parser.parse_args().folder)
    TARGET.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    (TARGET / "vectors.json").write_text(text + "\n", encoding="utf-8")
    (TARGET / "vectors.md").write_text(markdown(found), encoding="utf-8")
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
