"""Write the generated parts of README.md and docs/ between their markers; --check only compares.

usage: make_docs.py [--check]
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
from pathlib import Path

import floatemu as fe
from analysis import landmarks
from analysis.numerals import decimal, dyadic

sys.path.insert(0, str(Path(__file__).parent))
import lab_advice
import lab_questions
import table_of_mitigations
import table_of_nets
import table_of_p3109
import table_of_presets
import table_of_units

ROOT = Path(__file__).resolve().parent.parent


def _table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def formats_table() -> str:
    """Return the table of named formats in Markdown."""
    titles = ["format", "k", "p", "bias", "emin", "emax", "max", "min normal", "min positive", "specials", "overflow"]
    rows = []
    for fmt in fe.FORMATS.values():
        facts = landmarks.landmarks(fmt)
        numbers = [str(facts[key]) for key in ("k", "p", "bias", "emin", "emax")]
        largest = decimal(fmt.max, 6)
        exact = [dyadic(value).replace("*", " · ") for value in (fmt.max, fmt.min_normal, fmt.min_positive)]
        exact[0] = exact[0] if largest.startswith("≈") else largest
        rows.append([f"`{fmt.name}`", *numbers, *exact, landmarks.specials(fmt), facts["overflow"]])
    return _table(titles, rows)


def aliases_table() -> str:
    """Return the table of aliases in Markdown."""
    return _table(["format", "also called"], [[f"`{name}`", ", ".join(words)] for name, words in fe.ALIASES.items()])


def demo_output() -> str:
    """Return what `floatemu demo --quick` prints, as a code block."""
    command = [sys.executable, "-c", "import sys; from analysis.cli import main; sys.exit(main())", "demo", "--quick"]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
    lines = [line.rstrip() for line in done.stdout.strip().splitlines()]
    return "\n".join(["```text", *lines, "```"])


def slow_tests() -> str:
    """Return the list of the tests marked slow, by file and function, with the first line of each docstring."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any("mark.slow" in ast.unparse(d) for d in node.decorator_list):
                summary = (ast.get_docstring(node) or "").split("\n")[0]
                found.append(f"- `{path.relative_to(ROOT)}::{node.name}`{': ' + summary if summary else ''}")
    return "\n".join(found) if found else "None so far."


PARTS = {
    "README.md": {"demo": demo_output},
    "docs/formats.md": {"formats": formats_table, "aliases": aliases_table},
    "docs/nets.md": {"nets": table_of_nets.nets_table, "operations": table_of_nets.operations_table},
    "docs/presets.md": {
        "presets": table_of_presets.presets_table,
        "rules": table_of_presets.rules_table,
        "causes": table_of_presets.causes_table,
    },
    "docs/matrix.md": {"units": table_of_units.units_table},
    "docs/mitigations.md": {
        **lab_questions.QUESTIONS,
        "advice": lab_advice.advice,
        **{name: getattr(table_of_mitigations, name) for name in ("failures", "matrix", "mitigations")},
    },
    "docs/p3109.md": {
        "clauses": table_of_p3109.clauses_table,
        "operations": table_of_p3109.operations_table,
        "tests": table_of_p3109.tests_list,
    },
    "CONTRIBUTING.md": {"slow": slow_tests},
}


def filled(text: str, name: str, content: str) -> str:
    """Return ``text`` with ``content`` between the markers of that name."""
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"the markers {begin} and {end} must each occur once")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"


def main() -> int:
    """Write or check every generated part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, parts in PARTS.items():
        old = new = (ROOT / name).read_text(encoding="utf-8")
        for part, make in parts.items():
            new = filled(new, part, make())
        if new != old:
            stale.append(name)
            if not check:
                (ROOT / name).write_text(new, encoding="utf-8")
    if check and stale:
        print(f"not current: {', '.join(stale)}; run `python scripts/make_docs.py`")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
