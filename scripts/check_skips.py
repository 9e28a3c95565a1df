"""Fail if a test was skipped for a reason that does not name one of the given words.

usage: check_skips.py JUNIT_XML WORD [WORD ...]
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ET


def unexpected(path: str, words: list[str]) -> list[str]:
    """Return "test: reason" of each skipped test whose reason names none of the words."""
    found = []
    for case in ET.parse(path).getroot().iter("testcase"):
        skipped = case.find("skipped")
        if skipped is None or skipped.get("type") == "pytest.xfail":
            continue
        reason = f"{skipped.get('message')} {skipped.text}"  # that of a whole file stands in the text
        if not any(word.lower() in reason.lower() for word in words):
            found.append(f"{case.get('classname')}::{case.get('name')}: {reason}")
    return found


def main() -> int:
    """Print what must not have been skipped; silent if there is nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("junit_xml")
    parser.add_argument("words", nargs="+")
    options = parser.parse_args()
    found = unexpected(options.junit_xml, options.words)
    if found:
        print(f"skipped, though only {' or '.join(options.words)} may be missing here:", *found, sep="\n  ")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
