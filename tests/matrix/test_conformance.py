"""Reports: what is equal passes, what is not is shown in bits, documented readings are known, nothing is hidden."""

from dataclasses import replace

import numpy as np
import pytest

import floatemu as fe
from floatemu.matrix import UNITS, mma
from floatemu.matrix import generator as g
from floatemu.matrix.conformance import Conformance, Outcome, check_vectors, compared, dots, judged, subject
from floatemu.matrix.readings import readings
from floatemu.matrix.unit import Integer
from floatemu.matrix.vectors import VectorSet

HOPPER = fe.matrix.find("H100", "fp16", "fp32", "mma")
NARROW = fe.matrix.find("H100", "fp16", "fp16", "mma")


def drawn(unit, distribution="normal", n=40, k=16, seed=1):
    a, b, c = (g.LAYOUTS[f.name] for f in (unit.a, unit.b, unit.output))
    return g.vectors(distribution, a, b, c, n, k, seed)


def answers(unit, a, b, c):
    """What a device of this unit gives."""
    return mma(unit, a[:, None, :], b[:, :, None], c[:, None, None], codes=True)[:, 0, 0]


def changed(unit, **parameters):
    return replace(unit, step=replace(unit.step, **parameters))


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 100])
@pytest.mark.parametrize("unit", [HOPPER, NARROW, fe.matrix.find("H100", "int8", "int32", "mma")], ids=str)
def test_vectors_taken_together_are_each_its_own(unit, n):
    a, b, c = drawn(unit, "raw", max(n, 1), 24)
    a, b, c = a[:n], b[:n], c[:n]
    got, want = dots(unit, a, b, c), answers(unit, a, b, c)
    assert got.dtype == want.dtype
    assert np.array_equal(got, want)


def test_equal_results_pass():
    a, b, c = drawn(HOPPER)
    found = judged("t", HOPPER, a, b, c, answers(HOPPER, a, b, c), "here")
    assert (found.status, found.n, found.equal, found.first, found.cause) == ("pass", 40, 40, None, None)
    assert (found.id, found.unit, found.op, found.source) == ("t", HOPPER.name, "mma", "here")
    assert found.formats == {"a": "binary16", "b": "binary16", "c": "binary32", "d": "binary32"}


def test_first_difference_is_shown_in_bits_and_decoded():
    a, b, c = drawn(HOPPER)
    d = answers(HOPPER, a, b, c)
    d[[7, 30]] ^= 1
    found = judged("t", HOPPER, a, b, c, d, "here")
    assert (found.status, found.n, found.equal) == ("fail", 40, 38)
    first = found.first
    assert first.index == (7,)
    assert (int(first.expected, 16), int(first.actual, 16)) == (int(d[7]), int(d[7]) ^ 1)
    assert (first.expected_value, first.actual_value) == tuple(
        float(np.uint32(x).view(np.float32)) for x in (d[7], d[7] ^ 1)
    )
    assert [int(x, 16) for x in first.inputs["a"]] == a[7].tolist()
    assert [int(x, 16) for x in first.inputs["b"]] == b[7].tolist()
    assert int(first.inputs["c"], 16) == c[7]
    assert len(first.expected) == 10
    assert len(first.inputs["a"][0]) == 6


@pytest.mark.parametrize(
    "parameters",
    [{"fraction": 24}, {"fraction": 26}, {"length": 8}, {"rounding": fe.Rounding.NEAREST_TIES_TO_EVEN}],
    ids=["fraction 24", "fraction 26", "length 8", "to nearest"],
)
def test_a_device_of_other_parameters_fails(parameters):
    a, b, c = drawn(HOPPER, "adversarial", n=200)
    found = judged("t", HOPPER, a, b, c, answers(changed(HOPPER, **parameters), a, b, c), "there")
    assert found.status == "fail"
    assert found.equal < found.n == 200
    assert found.cause is None


def test_labels_name_the_probes_that_differ():
    a, b, c = drawn(HOPPER, n=4)
    d = answers(HOPPER, a, b, c)
    d[[1, 3]] ^= 1
    found = judged("t", HOPPER, a, b, c, d, "here", ("P1/k=5", "P1/k=6", "P2", "P9/k=40"))
    assert found.reason == "differs in P1, P9"
    assert found.first.inputs["label"] == "P1/k=6"


NAN_CODES = [0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000]


@pytest.mark.parametrize("code", NAN_CODES, ids=hex)
def test_the_code_of_a_nan_counts(code):
    a, b, c = drawn(HOPPER, n=2)
    a[0, 0] = 0x7E00
    d = answers(HOPPER, a, b, c)
    d[0] = code
    found = judged("t", HOPPER, a, b, c, d, "here")
    assert found.status == ("pass" if code == 0x7FFFFFFF else "fail")
    if found.first is not None:
        assert str(found.first.expected_value) == str(found.first.actual_value) == "nan"


def test_signs_of_zeros_count():
    zeros = np.zeros((1, 16), np.uint16)
    found = judged("t", HOPPER, zeros, zeros, np.zeros(1, np.uint32), np.array([2**31], np.uint32), "here")
    assert (found.status, found.first.expected, found.first.actual) == ("fail", "0x80000000", "0x00000000")


def test_integers_are_decoded_with_their_sign():
    got, want = np.array([[1, 2]], np.uint32), np.array([[1, 2**32 - 5]], np.uint32)
    equal, first = compared(got, want, Integer(32), lambda place: {"at": str(place)})
    assert (equal, first.index, first.inputs) == (1, (0, 1), {"at": "(0, 1)"})
    assert (first.expected, first.expected_value, first.actual_value) == ("0xfffffffb", -5, 2)


DISPUTED = [
    unit
    for unit in UNITS
    if unit.name
    in (
        "volta.mma.binary16.binary16.binary16",
        "turing.mma.binary16.binary16.binary32.m8n8k4",
        "hopper.mma.binary16.binary16.binary16",
        "ada.mma.e4m3fn.e4m3fn.binary16",
        "cdna3.mfma.bfloat16.bfloat16.binary32",
    )
]


def designed(unit):
    """Terms below the cut of zeros, subnormal accumulators, zeros of both signs (probes P9, P11, P14); a tie that one
    bit decides, 32 below the accumulator (CDNA3)."""
    one, n = unit.a, 12
    a, b, c = np.zeros((n, unit.step.depth)), np.zeros((n, unit.step.depth)), np.zeros(n)
    low = {"binary16": 12, "e4m3fn": 9, "bfloat16": 20}[one.name]
    for i, k in enumerate(range(40, 49)):
        a[i, :2], b[i, :2] = (2.0**-low, 2.0**-24), (2.0 ** (low - 25), 2.0 ** (24 - k))
    a[9, :2], b[9, :2], c[9] = (2.0**-12, 2.0**-20), (2.0**-13, 2.0**-20), 2.0**-23
    a[10, :4], b[10, :4], c[10] = (2.0**-9, -(2.0**-9), -3 * 2.0**-13, 2.0**-16), (1, 1, 2.0**-12, 2.0**-16), 1
    a[11], b[11], c[11] = -0.0, 1.0, -0.0
    if one.name == "e4m3fn":  # its products are too large for the first
        a[:11], b[:11], c[:11] = 0, 0, 0
    return (*(np.asarray(fe.encode(x, one)) for x in (a, b)), np.asarray(fe.encode(c, unit.output)))


@pytest.mark.parametrize("unit", DISPUTED, ids=str)
def test_a_device_that_follows_another_published_reading_is_known(unit):
    """Wherever two readings can be told apart, the report finds one that gives all of the device's bits."""
    told = set()
    for reading in readings(unit):
        for a, b, c in (designed(unit), *(drawn(unit, name, 60, unit.step.depth) for name in ("zeros", "raw"))):
            d = answers(reading.unit, a, b, c)
            found = judged("t", unit, a, b, c, d, "there")
            if np.array_equal(answers(unit, a, b, c), d):
                assert found.status == "pass"
                continue
            told.add(reading.cause)
            assert (found.status, found.first is None) == ("known", False)
            other = next(r for r in readings(unit) if r.cause == found.cause)
            assert np.array_equal(answers(other.unit, a, b, c), d)
    if unit.name.startswith(("volta", "hopper")):
        assert told == {reading.cause for reading in readings(unit)}
    assert told


def test_readings_differ_from_the_row_and_from_one_another():
    for unit in UNITS:
        steps = [reading.unit.step for reading in readings(unit)]
        assert unit.step not in steps
        assert len(set(steps)) == len(steps)
        assert all(reading.unit.name == unit.name for reading in readings(unit))


def vector_set(unit, d=None):
    a, b, c = drawn(HOPPER)
    d = answers(HOPPER, a, b, c) if d is None else d
    return VectorSet("H100", "fp16", "fp32", a, b, c, d, unit, "why")


def test_vectors_pass_and_say_which_unit_and_why():
    seen = []
    found = check_vectors([vector_set(HOPPER), vector_set(None)], lambda *step: seen.append(step))
    assert [test.status for test in found.tests] == ["pass", "skipped"]
    assert [test.reason for test in found.tests] == ["why", "why"]
    assert found.totals == {"pass": 1, "known": 0, "fail": 0, "skipped": 1, "compared": 40}
    assert found.ok
    assert found.subject == subject("vectors", device="H100")
    assert seen == [(0, 2, "H100|fp16|fp32"), (1, 2, "H100|fp16|fp32")]


def test_one_wrong_result_fails_the_report():
    d = vector_set(HOPPER).d.copy()
    d[-1] ^= 2**31
    found = check_vectors([vector_set(HOPPER, d)])
    assert not found.ok
    assert found.tests[0].first.index == (39,)


def test_a_report_that_compared_nothing_is_not_well():
    assert not check_vectors([]).ok
    assert not check_vectors([vector_set(None)]).ok


def test_known_deviations_leave_a_report_well():
    test = Outcome("t", None, "mma", {}, 3, 2, "known", cause="a reading")
    assert Conformance(subject("capture"), (test,)).ok
    assert not Conformance(subject("capture"), (test, replace(test, status="fail"))).ok


def test_as_dict_is_plain():
    a, b, c = drawn(HOPPER)
    d = answers(HOPPER, a, b, c) ^ 1
    report = Conformance(subject("vectors"), (judged("t", HOPPER, a, b, c, d, "here"),)).as_dict()
    assert set(report) == {"subject", "tests", "totals"}
    assert report["tests"][0]["first"]["index"] == (0,)
    assert set(report["subject"]) == {"kind", "device", "sm", "driver", "cuda", "torch", "cpu"}
