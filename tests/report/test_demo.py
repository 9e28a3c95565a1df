"""The demo: figures, sentences that stay true whatever is asked, and JSON that follows its schema."""

from __future__ import annotations

import io
import json
import math
import re
from fractions import Fraction
from importlib import resources
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import floatemu as fe
from analysis.chains import ChainRun, compare_chains, run_chain
from analysis.demo import FORMATS, run_demo
from analysis.report.table import print_demo

NONE, FINITE = fe.Saturation.SAT_NONE, fe.Saturation.SAT_FINITE


def chain(start: float, multiplier: float, steps: int, fmt: str, saturation: fe.Saturation = NONE) -> ChainRun:
    return run_chain(start, multiplier, steps, fe.get_format(fmt), saturation)


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    return run_demo()


# Acceptance experiment 1: format, saturation, stored start, result, bits, (step, cause), rounded multiplications
EXPERIMENT_1 = [
    ("binary64", "SAT_NONE", 1e5, 0.095367431640625, "0x3fb86a0000000000", None, "none", 0),
    ("binary32", "SAT_NONE", 1e5, 0.095367431640625, "0x3dc35000", None, "none", 0),
    ("bfloat16", "SAT_NONE", 99840.0, 0.09521484375, "0x3dc3", 0, "rounding", 0),
    ("binary16", "SAT_NONE", "inf", "inf", "0x7c00", 0, "overflow", 0),
    ("e5m2", "SAT_NONE", "inf", "inf", "0x7c", 0, "overflow", 0),
    ("e4m3fn", "SAT_NONE", "nan", "nan", "0x7f", 0, "overflow", 0),
    ("e4m3fn", "SAT_FINITE", 448.0, 0.0, "0x00", 0, "saturation", 2),
]


@pytest.mark.parametrize("index", range(len(EXPERIMENT_1)))
def test_acceptance_1_the_chain_from_1e5(demo: dict[str, Any], index: int) -> None:
    fmt, saturation, first, result, code, step, cause, rounded = EXPERIMENT_1[index]
    run = demo["runs"][index]
    assert (run["format"], run["saturation"]) == (fmt, saturation)
    assert (run["values"][0], run["result"], run["bits"]) == (first, result, code)
    assert run["first_loss"] == {"step": step, "cause": cause}
    assert run["rounded_multiplications"] == rounded
    assert run["exact"] == 0.095367431640625 == 3125 * 2.0**-15
    assert len(run["values"]) == 11


@pytest.mark.parametrize(
    ("fmt", "step"), [("binary16", 13), ("bfloat16", 67), ("binary32", 75), ("e5m2", 9), ("e4m3fn", 5)]
)
def test_acceptance_1_in_range_the_chain_reaches_zero_at_a_known_step(fmt: str, step: int) -> None:
    run = chain(1.0, 0.25, 80, fmt)
    assert run.values[step] == 0
    assert run.values[step - 1] > 0
    assert (run.first_loss.step, run.first_loss.cause, run.first_loss.after) == (step, "underflow", 0.0)  # type: ignore[union-attr]
    assert run.rounded == 1


def test_float16s_infinity_is_range_and_float32_and_float64_agree(demo: dict[str, Any]) -> None:
    said = " ".join(demo["statements"])
    assert "binary32 and binary64 agree bit for bit in all 11 values" in said
    assert "binary16 fails by overflow in the cast from 100000, and is exact to the last bit from 1" in said
    assert "one of range, not of rounding" in said
    half = demo["runs"][3]["sentence"]
    assert "the cast of the start 100000 overflows (binary16 ends at 65504) and gives inf" in half
    assert "none of the 10 multiplications rounded" in half


def test_the_statements_are_made_only_where_they_are_true() -> None:
    other = run_demo(1000.0, 0.3, 10, quick=True)
    assert not any("agree bit for bit" in text for text in other["statements"])
    assert any(text.startswith("binary32 and binary64 part") for text in other["statements"])
    assert not any("binary16 fails" in text for text in other["statements"])
    assert other["runs"][0]["sentence"] != run_demo(quick=True)["runs"][0]["sentence"]


def test_float64_rounds_too_and_says_so() -> None:
    run = chain(1000.0, 0.3, 10, "binary64")
    assert (run.first_loss.step, run.first_loss.cause) == (1, "rounding")  # type: ignore[union-attr]
    exact = [Fraction(a) * Fraction(0.3) != Fraction(b) for a, b in zip(run.values, run.values[1:], strict=False)]
    assert run.rounded == sum(exact) == 10


def _ieee_steps(run: ChainRun) -> list[tuple[int, str]]:
    # the oracle: each step on its own, over Fractions and fe.round of them
    fmt, found = run.fmt, []
    before: list[tuple[int, float, Fraction | None]] = [(0, run.start, _fraction(run.start))]
    before += [(0, run.multiplier, _fraction(run.multiplier))]
    for step, value in enumerate(run.values[:-1], start=1):
        a, b = _fraction(value), _fraction(run.stored_multiplier)
        before.append((step, value * run.stored_multiplier, None if a is None or b is None else a * b))
    after = [run.values[0], run.stored_multiplier, *run.values[1:]]
    nan_seen = False
    for (step, ieee, exact), value in zip(before, after, strict=True):
        if math.isnan(value) and not (exact is not None and abs(exact) > fmt.max):
            if not nan_seen:
                found.append((step, "nan"))
            nan_seen = True
        elif exact is None:
            if math.isnan(ieee) and math.isfinite(value):  # a format without NaN
                found.append((step, "nan"))
            if math.isinf(ieee) and math.isfinite(value):
                found.append((step, "saturation"))
        elif math.isnan(value) or math.isinf(value):
            found.append((step, "overflow"))
            nan_seen = nan_seen or math.isnan(value)
        elif Fraction(value) != exact:
            beyond = abs(exact) > fmt.max and abs(Fraction(value)) == fmt.max
            ulp = Fraction(2) ** (fmt.emax - fmt.p + 1)
            odd = fmt.scaled(fmt.max_code)[0] % 2  # a tie goes to the even neighbour: 464 is 448 in E4M3
            if beyond and (abs(exact) > fmt.max + ulp / 2 or (odd and abs(exact) == fmt.max + ulp / 2)):
                found.append((step, "saturation"))
            else:
                found.append((step, "underflow" if _unbounded(exact, fmt.p) < fmt.min_normal else "rounding"))
    return found


def _unbounded(exact: Fraction, p: int) -> Fraction:
    # to nearest with p bits and no least exponent: what "tiny after rounding" is about
    magnitude = abs(exact)
    power = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** power:
        power -= 1
    quantum = Fraction(2) ** (power - p + 1)
    return round(magnitude / quantum) * quantum


def _fraction(x: float) -> Fraction | None:
    return Fraction(x) if math.isfinite(x) else None


STARTS = st.one_of(
    st.sampled_from(
        [0.0, -0.0, 1.0, -1e5, 1e5, 65519.0, 65520.0, 464.0, 5e-324, 1e-320, 1e308, math.inf, -math.inf, math.nan]
    ),
    st.floats(-1e6, 1e6),
    st.floats(),
)


@settings(max_examples=150)
@given(
    start=STARTS,
    multiplier=st.one_of(st.sampled_from([0.25, 0.3, 0.0, -0.5, 1.0, 3.0, 1e-9, 1e9, 1e300]), st.floats(-4, 4)),
    steps=st.integers(1, 6),
    case=st.sampled_from([(name, NONE) for name in FORMATS] + [("e4m3fn", FINITE), ("e2m1fn", NONE)]),
)
def test_losses_agree_with_an_oracle_over_fractions(
    start: float, multiplier: float, steps: int, case: tuple[str, fe.Saturation]
) -> None:
    run = chain(start, multiplier, steps, *case)
    assert [(loss.step, loss.cause) for loss in run.losses] == _ieee_steps(run)
    assert run.rounded == sum(step > 0 and cause in ("rounding", "underflow") for step, cause in _ieee_steps(run))
    _check_sentence(run)


def _check_sentence(run: ChainRun) -> None:
    text = run.to_json()["sentence"]
    steps = len(run.values) - 1
    # what is counted
    count = re.search(r"(none|\d+) of the (\d+) multiplication", text)
    if count:
        assert int(count[2]) == steps
        assert (0 if count[1] == "none" else int(count[1])) == run.rounded
    else:
        assert steps == 1
        assert run.rounded == 0
    # "exact" and "nothing is lost" are said exactly when they are so
    assert text.endswith(("is exact.",)) == run.is_exact
    assert ("nothing is lost" in text) == (not run.losses)
    # every cause that is named happened
    for word, causes in (
        ("overflows", {"overflow"}),
        ("saturates", {"saturation"}),
        ("underflows", {"underflow"}),
        ("first to round", {"rounding"}),
        ("range was lost, not precision", {"overflow", "saturation"}),
        ("lost at both ends", {"overflow", "saturation"}),
        ("lost at the bottom", {"underflow"}),
    ):
        if word in text:
            assert causes & {loss.cause for loss in run.losses}, text
    # every worse cause that happened is named
    for cause, word in (("overflow", "overflows"), ("saturation", "saturates"), ("underflow", "underflows")):
        if any(loss.cause == cause for loss in run.losses):
            assert word in text, text
    if "not precision" in text:
        assert not any(loss.cause == "rounding" for loss in run.losses)
    # steps that are named are where it happened
    for step, cause in re.findall(r"step (\d+) (overflows|saturates|underflows)", text):
        noun = {"overflows": "overflow", "saturates": "saturation", "underflows": "underflow"}[cause]
        assert (int(step), noun) in {(loss.step, loss.cause) for loss in run.losses}
    # stated bits
    kept = re.search(r"([\d.]+) bits right", text)
    if kept and run.exact:
        relative = abs((Fraction(run.values[-1]) - run.exact) / run.exact)
        assert abs(-math.log2(relative) - float(kept[1])) < 0.06


@settings(max_examples=60)
@given(start=STARTS, multiplier=st.floats(-4, 4), steps=st.integers(1, 6))
def test_statements_about_float32_and_float64_are_true(start: float, multiplier: float, steps: int) -> None:
    runs = [chain(start, multiplier, steps, name) for name in ("binary64", "binary32")]
    same = [a.hex() == b.hex() for a, b in zip(runs[0].values, runs[1].values, strict=True)]
    for text in compare_chains(runs, []):
        if "agree" in text:
            assert all(same)
        elif "part" in text:
            step = re.search(r"at step (\d+)", text)
            assert same.index(False) == (int(step[1]) if step else 0)


def test_exact_results_beyond_binary64_are_still_shown() -> None:
    assert "instead of ≈1e+330" in chain(1e300, 1e10, 3, "binary64").to_json()["sentence"]
    assert chain(1e300, 1e10, 3, "binary64").exact_float == math.inf
    assert "instead of ≈2.7e-341" in chain(1e-300, 3e-14, 3, "binary32").to_json()["sentence"]


@pytest.mark.parametrize(("multiplier", "result"), [(1.0, 6.0), (0.25, 0.0)])
def test_a_nan_that_the_format_cannot_hold_is_told(multiplier: float, result: float) -> None:
    found = chain(math.nan, multiplier, 3, "e2m1fn").to_json()
    assert found["first_loss"] == {"step": 0, "cause": "nan"}
    assert (found["values"][0], found["result"]) == (6.0, result)
    assert "the start is NaN, and e2m1fn has no NaN: the cast puts 6 in its place" in found["sentence"]
    assert "nothing is lost" not in found["sentence"]
    factor = chain(2.0, math.nan, 1, "e2m1fn").to_json()
    assert factor["first_loss"] == {"step": 0, "cause": "nan"}
    assert "the multiplier is NaN, and e2m1fn has no NaN" in factor["sentence"]


@pytest.mark.parametrize(
    ("start", "multiplier", "steps", "near", "text"),
    [
        (1e300, 1e-300, 3, 0.0, "≈1e-600"),
        (1e308, 1e308, 3, math.inf, "≈1e+1232"),
        (1e5, 0.25, 10, 0.095367431640625, "0.095367431640625"),
        (0.1, 1.0, 1, 0.1, "0.1"),
        (1e300, 1.0, 1, 1e300, "1e+300"),
        (0.1, 0.1, 1, 0.1 * 0.1, "≈0.01"),
        (math.nan, 1.0, 1, math.nan, "NaN"),
        (-math.inf, 1.0, 1, -math.inf, "-inf"),
    ],
)
def test_the_exact_result_is_never_shown_as_another(
    start: float, multiplier: float, steps: int, near: float, text: str
) -> None:
    found = run_demo(start, multiplier, steps, ["binary64"], quick=True)
    run = found["runs"][0]
    assert run["exact"] == near or (math.isnan(near) and run["exact"] == "nan") or run["exact"] == str(near)
    assert run["exact_text"] == text
    page = Console(file=io.StringIO(), width=110)
    print_demo(found, page)
    assert f"Exact result: {text}\n" in page.file.getvalue()  # type: ignore[attr-defined]


def test_numbers_are_in_shortest_form_or_marked() -> None:
    page = Console(file=io.StringIO(), width=110)
    print_demo(run_demo(0.1, 0.25, 8, ["e4m3fn", "binary64"], quick=True), page)
    text = page.file.getvalue()  # type: ignore[attr-defined]
    assert "A gradient of 0.1, multiplied by 0.25, 8 times" in text
    assert "least positive value 0.001953125" in " ".join(text.split())
    assert "0.00195312 " not in text
    assert "0.10000000000000001" not in text


def test_exact_results_show_all_their_digits() -> None:
    assert "the result 0.30000000000000004 is exact" in chain(0.1 + 0.2, 1.0, 1, "binary64").to_json()["sentence"]
    assert "the cast turns the start ≈0.3 into 0.30078125" in chain(0.1 + 0.2, 1.0, 1, "bfloat16").to_json()["sentence"]


def test_multiplications_beyond_the_range_are_not_said_to_be_exact() -> None:
    text = chain(60000.0, 2.0, 3, "binary16").to_json()["sentence"]
    assert "none of the 3 multiplications rounded within the range, 1 went beyond it" in text
    assert "the multiplication went beyond the range" in chain(60000.0, 2.0, 1, "binary16").to_json()["sentence"]
    assert "went beyond" not in chain(1e5, 0.25, 3, "binary16").to_json()["sentence"]


def test_formats_are_shown_by_their_own_names() -> None:
    found = run_demo(1.0, 0.5, 2, ["e4m3", "e4m3fn", "binary16"], quick=True)
    assert [run["label"] for run in found["runs"]] == ["e4m3", "e4m3fn", "e4m3fn saturating", "binary16"]
    page = Console(file=io.StringIO(), width=110)
    print_demo(found, page)
    text = page.file.getvalue()  # type: ignore[attr-defined]
    assert "(binary16 is float16, e4m3fn is OCP's E4M3)" in text
    assert text.count("float16") == text.count("E4M3") == 1


def test_the_network_loses_more_in_narrower_formats(demo: dict[str, Any]) -> None:
    runs = {(run["format"], run["saturation"]): run for run in demo["mlp"]["runs"]}
    errors = [runs[name, "SAT_NONE"]["rel_error"] for name in ("binary64", "binary32", "binary16", "bfloat16", "e5m2")]
    assert errors == sorted(errors)
    assert errors[0] < 1e-15
    assert 1e-9 < errors[1] < 1e-6
    assert runs["e4m3fn", "SAT_NONE"]["zero_fraction"] > demo["mlp"]["exact_zero_fraction"]
    assert demo["mlp"]["target"] == "grad:W0"
    assert demo["mlp"]["batch"] == 64
    # bfloat16's error is one flipped decision: pinned, it is several times smaller
    bf16 = runs["bfloat16", "SAT_NONE"]
    assert bf16["pinned_rel_error"] < bf16["rel_error"] / 3
    assert any(event["kind"] == "branch_flip" for event in bf16["events"])
    assert "with the exact decisions the error is" in bf16["sentence"]


def _schema(name: str) -> Any:
    return json.loads((resources.files("analysis") / "schemas" / f"{name}.json").read_text())


@pytest.mark.parametrize("start", [1e5, math.nan, math.inf, -0.0, 1e-320])
def test_json_follows_the_schema_whatever_the_start(start: float) -> None:
    found = run_demo(start, 0.3, 3, quick=True)
    text = json.dumps(found, allow_nan=False)
    head = {"schema": "floatemu.demo/1", "floatemu": "0", "command": "demo"}
    jsonschema.validate({**json.loads(text), **head}, _schema("demo"))
    assert found["mlp"] is None


def test_the_whole_demo_follows_the_schema(demo: dict[str, Any]) -> None:
    json.dumps(demo, allow_nan=False)
    jsonschema.validate({**demo, "schema": "floatemu.demo/1", "floatemu": "0", "command": "demo"}, _schema("demo"))


def test_progress_counts_up_to_its_total() -> None:
    seen: list[tuple[int, int, str]] = []
    run_demo(1.0, 0.5, 2, ["bf16", "e4m3fn"], quick=True, progress=lambda *given: seen.append(given))
    assert [done for done, _, _ in seen] == list(range(7))
    assert {total for _, total, _ in seen} == {6}


def test_formats_may_be_named_by_alias_and_are_shown_once() -> None:
    found = run_demo(1.0, 0.5, 2, ["half", "fp16", "ocp_e4m3"], quick=True)
    assert [(run["format"], run["saturation"]) for run in found["runs"]] == [
        ("binary16", "SAT_NONE"),
        ("e4m3fn", "SAT_NONE"),
        ("e4m3fn", "SAT_FINITE"),
    ]
    with pytest.raises(fe.FormatError, match="no format is named 'fp15'"):
        run_demo(formats=["fp15"])


@pytest.mark.parametrize("width", [60, 110, 200])
def test_the_page_holds_every_sentence_and_number(demo: dict[str, Any], width: int) -> None:
    page = Console(file=io.StringIO(), width=width)
    print_demo(demo, page)
    text = page.file.getvalue()  # type: ignore[attr-defined]
    flowing = " ".join(text.split())
    for run in [*demo["runs"], *demo["in_range"], *demo["mlp"]["runs"]]:
        assert run["sentence"] in flowing
    for statement in demo["statements"]:
        assert statement in flowing
    assert "Exact result: 0.095367431640625" in text
    assert max(map(len, text.splitlines())) <= width
