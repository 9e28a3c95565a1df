"""The page of a validation: what it says, that it runs nothing, that names in it are text."""

from html.parser import HTMLParser

import pytest

from analysis.validation_page import validation_page
from floatemu.matrix.conformance import subject

HOSTILE = "<script>alert(1)</script>\" onload='x'"


def outcome(status, **facts):
    plain = {"id": f"cast/{status}", "unit": None, "op": "cast", "formats": {"x": "binary32", "d": "e4m3fn"}, "n": 10}
    plain |= {
        "equal": 10 if status == "pass" else 7,
        "status": status,
        "cause": None,
        "reason": None,
        "source": "a GPU",
    }
    first = {"index": (3,), "inputs": {"x": "0x40"}, "expected": "0x7e", "actual": "0x7f"}
    first |= {"expected_value": 448.0, "actual_value": float("nan")}
    return plain | {"first": None if status in ("pass", "skipped") else first} | facts


def result(*tests, **facts):
    totals = {key: sum(test["status"] == key for test in tests) for key in ("pass", "known", "fail", "skipped")}
    totals["compared"] = sum(test["n"] for test in tests)
    about = subject("torch", device="H100", driver="535.1", cuda="12.4", torch="2.13.0", **facts)
    return {"ok": not totals["fail"] and totals["compared"] > 0, "subject": about, "tests": tests, "totals": totals}


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text.append(data)


def read(found):
    reader = Reader()
    reader.feed(validation_page(found))
    return reader, " ".join(" ".join(reader.text).split())


def test_the_page_names_device_driver_and_versions():
    _, text = read(result(outcome("pass"), cpu="a processor"))
    for fact in ("H100", "driver 535.1", "CUDA 12.4", "torch 2.13.0", "processor a processor"):
        assert fact in text
    assert "Every result is equal" in text
    assert "Unexplained" not in text


@pytest.mark.parametrize(
    ("status", "lead", "section"),
    [("known", "Every deviation has a known cause", "Explained"), ("fail", "nothing explains them", "Unexplained")],
)
def test_what_deviates_is_shown_with_its_first_result(status, lead, section):
    _, text = read(result(outcome("pass"), outcome(status, cause="a double rounding")))
    assert lead in text
    assert f"{section} 1 tests" in text
    assert "3 of 10 cause: a double rounding" in text
    assert "first at [3]: recorded 0x7e = 448.0, computed 0x7f = nan" in text


def test_nothing_compared():
    _, text = read(result(outcome("skipped", n=0, equal=0, reason="no such kernel")))
    assert "Nothing was compared" in text
    assert "no such kernel" in text


def test_names_are_text_and_nothing_runs():
    hostile = dict.fromkeys(("id", "unit", "cause", "reason", "source"), HOSTILE)
    reader, text = read(result(outcome("fail", **hostile, formats={HOSTILE: HOSTILE}), cpu=HOSTILE))
    assert not {"script", "img", "iframe", "link"} & set(reader.tags)
    assert not {name for name in reader.attributes if name.startswith("on")}
    assert text.count("<script>alert(1)</script>") >= 6
    assert "default-src 'none'; style-src 'unsafe-inline'" in validation_page(result())
