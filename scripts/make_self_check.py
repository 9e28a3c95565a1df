"""Write what `floatemu validate --self` compares matrix units with; --check only compares the file.

usage: make_self_check.py [--check]

Run it after a row of the table or the generator of inputs has changed, and only where the tests against the
published models and device results pass.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import floatemu as fe
from floatemu.matrix import generator
from floatemu.matrix.self_check import FILE, sampled

PATH = Path(fe.__file__).parent / "matrix" / FILE


def text() -> str:
    """Return the file's text, a unit a line."""
    head = {"generator": generator.NAME, "version": generator.VERSION}
    lines = [f"  {json.dumps(unit.name)}: {json.dumps(sampled(unit))}" for unit in fe.matrix.UNITS]
    units = ",\n".join(lines)
    return f'{json.dumps(head)[:-1]}, "units": {{\n{units}\n}}}}\n'


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        PATH.write_text(text(), encoding="utf-8")
        return 0
    current = PATH.read_text(encoding="utf-8") == text()
    if not current:
        print(f"not current: {PATH}; run `python scripts/make_self_check.py`")
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
