"""The tables of docs/p3109.md: what IEEE P3109 v4.0 defines, whether it is here, and what tests it.

usage: table_of_p3109.py
"""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

from p3109_catalogue import CLAUSES, FORMED, OPERATIONS

import floatemu as fe

ops = fe.p3109_ops


class Row(NamedTuple):
    """One operation of the report."""

    name: str
    gives: str
    clause: str
    group: str
    tests: tuple[str, ...]

    @property
    def status(self) -> str:
        """Whether floatemu has it."""
        return "done" if hasattr(ops, self.name) else "not yet"


def rows() -> list[Row]:
    """Return every operation of the report but the forms for blocks."""
    found = []
    for family in OPERATIONS:
        for name in family.names.split():
            text = (inspect.getdoc(getattr(ops, name, None)) or "").split("\n")[0].removeprefix("Return ")
            text = re.sub(r":\w+:`(\w+)`", r"\1", text[:1].upper() + text[1:]).replace("|", r"\|")
            found.append(Row(name, text, family.clause, family.group, family.tests))
    return found


def forms() -> list[Row]:
    """Return the block form and the scaled form of each operation that has them."""
    group = {row.name: row.group for row in rows()}
    return [
        Row(f"{form}{name}", "", "5", f"K{group[name]}" if form == "Block" else "", (FORMED,))
        for form in ("Block", "Scaled")
        for name in ops.OPERATIONS
    ]


def _numbers() -> dict[str, int]:
    tests = [test for part in (CLAUSES, rows(), forms()) for row in part for test in row.tests]
    return {test: i + 1 for i, test in enumerate(dict.fromkeys(tests))}


def _table(titles: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [titles, ["---"] * len(titles), *lines])


def _cited(tests: tuple[str, ...]) -> str:
    return ", ".join(str(_numbers()[test]) for test in tests)


def clauses_table() -> str:
    """Return the table of what is no operation, in Markdown."""
    lines = [[part.clause, part.says, part.status, _cited(part.tests)] for part in CLAUSES]
    return _table(["clause", "says", "status", "tests"], lines)


def operations_table() -> str:
    """Return the table of operations in Markdown."""
    lines = [[f"`{r.name}`", r.gives, r.clause, r.group, r.status, _cited(r.tests)] for r in rows()]
    done = [row for row in forms() if row.status == "done"]
    names = f"`Block…` and `Scaled…` before each of the {len(ops.OPERATIONS)} names that project"
    gives = "The operation on decoded elements, divided by the result's scale (`Block…`), projected"
    groups = " ".join(sorted({row.group for row in forms() if row.group}))
    lines.append([names, gives, "5", groups, f"{len(done)} of {len(forms())} done", _cited((FORMED,))])
    return _table(["operation", "gives", "clause", "group", "status", "tests"], lines)


def tests_list() -> str:
    """Return the numbered list of the tests that the tables cite, in Markdown."""
    return "\n".join(f"{number}. `{test.removeprefix('tests/')}`" for test, number in _numbers().items())


if __name__ == "__main__":
    print(clauses_table(), operations_table(), tests_list(), sep="\n\n")
