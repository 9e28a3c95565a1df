"""Captures are replayed: instructions, whole products in their ways through K, conversions with their own NaN."""

from types import SimpleNamespace

import numpy as np
import pytest

import floatemu as fe
from floatemu.matrix import gemm, mma
from floatemu.matrix import generator as g
from floatemu.matrix.capture import CastTest, GemmTest, InstructionTest
from floatemu.matrix.replay import check_capture

WGMMA = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
INTEGER = fe.matrix.find("H100", "int8", "int32", "mma")
SUBJECT = {"kind": "gpu", "device": "H100", "sm": "9.0", "driver": "1", "cuda": "13.0", "torch": None, "cpu": "x86_64"}


def capture(*tests, sections=()):
    return SimpleNamespace(subject=SUBJECT, sections=sections, tests=lambda: iter(tests))


def outcome(test, **options):
    (found,) = check_capture(capture(test), **options).tests
    assert found.source == "capture of H100"
    return found


def instruction(unit=WGMMA, flip=(), labels=(), status="done", reason=None, name=None):
    formats = dict(zip("abcd", ("e4m3fn", "e4m3fn", "binary32", "binary32")))
    arrays = None, None, None, None
    if status == "done":
        a, b, c = g.vectors("adversarial", *(g.LAYOUTS[formats[x]] for x in "abc"), 20, 64, 3)
        d = mma(WGMMA, a[:, None, :], b[:, :, None], c[:, None, None], codes=True)[:, 0, 0]
        d[list(flip)] ^= 1
        arrays = a, b, c, d
    name = name if name is not None else unit and unit.name
    return InstructionTest("i", "wgmma...", name, (64, 8, 32), formats, labels, status, reason, *arrays)


def test_instructions_pass():
    found = outcome(instruction())
    assert (found.status, found.n, found.unit, found.op) == ("pass", 20, WGMMA.name, "mma")


def test_instructions_fail_with_their_first_difference():
    found = outcome(instruction(flip=(4, 9), labels=tuple(f"P{i}/k=1" for i in range(20))))
    assert (found.status, found.equal, found.first.index, found.reason) == ("fail", 18, (4,), "differs in P4, P9")


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (instruction(status="skipped", reason="no nvcc"), "no nvcc"),
        (instruction(status="failed", reason="launch failed its self-test"), "launch failed its self-test"),
        (instruction(unit=None), "no row describes this instruction"),
        (instruction(name="hopper.none"), "no row of the table is named 'hopper.none'"),
        (instruction(name=fe.matrix.find("H100", "e5m2", "fp16", "wgmma").name), "codes"),
    ],
    ids=["skipped", "failed", "no unit", "unknown unit", "unit of other formats"],
)
def test_what_cannot_be_compared_is_skipped_and_says_why(test, reason):
    found = outcome(test)
    assert (found.status, found.n, found.equal) == ("skipped", 0, 0)
    assert reason in found.reason


def product(options, made, output="binary32", status="done", unit=WGMMA, k=512, m=6, n=5):
    a, b = g.operands("normal", g.LAYOUTS["e4m3fn"], g.LAYOUTS["e4m3fn"], g.LAYOUTS["binary32"], m, n, k, 1)
    d = gemm(WGMMA, a, b.T, output=output, codes=True, **made)
    formats = {"a": "e4m3fn", "b": "e4m3fn", "d": output}
    return GemmTest("p", "call", options, unit.name, (m, n, k), formats, ("kernel_1",), status, None, a, b.T, d)


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({"use_fast_accum": True}, {}),
        ({"use_fast_accum": False}, {"promote_every": 128}),
        ({"max_num_imprecise_acc": 64}, {"promote_every": 64}),
        ({"max_num_imprecise_acc": None}, {}),
        ({"max_num_imprecise_acc": 2**30}, {}),
        ({"promote_every": 32, "split_k": 2}, {"promote_every": 32, "split_k": 2}),
    ],
    ids=str,
)
@pytest.mark.parametrize("output", ["binary32", "binary16", "bfloat16"])
def test_products_go_through_k_as_their_options_say(options, made, output):
    found = outcome(product(options, made, output))
    assert (found.status, found.n, found.op, found.reason) == ("pass", 30, "gemm", "kernels: kernel_1")


@pytest.mark.parametrize(
    ("made", "cause"),
    [
        ({"promote_every": 128}, "promote_every = 128, split_k = 1"),
        ({"split_k": 4}, "promote_every = None, split_k = 4"),
        ({"promote_every": 64, "split_k": 2}, "promote_every = 64, split_k = 2"),
    ],
    ids=str,
)
def test_other_ways_through_k_are_found_and_named(made, cause):
    found = outcome(product({"use_fast_accum": True}, made))
    assert found.status == "known"
    assert cause in found.cause.removeprefix("the library goes through K otherwise: ").split(" or ")
    assert found.equal < found.n


def test_a_wrong_product_fails():
    test = product({"use_fast_accum": True}, {})
    test.d[3, 2] ^= 1
    found = outcome(test)
    assert (found.status, found.equal, found.first.index) == ("fail", 29, (3, 2))
    assert [int(x, 16) for x in found.first.inputs["b"]] == test.b[:, 2].tolist()
    assert [int(x, 16) for x in found.first.inputs["a"]] == test.a[3].tolist()


def test_integer_products():
    a, b = g.operands("raw", g.LAYOUTS["int8"], g.LAYOUTS["int8"], g.LAYOUTS["int32"], 3, 4, 32, 1)
    exact = a.view(np.int8).astype(np.int32) @ b.T.astype(np.uint8).view(np.int8).astype(np.int32)
    for wrong in (0, 1):
        d = (exact + wrong).view(np.uint32)
        formats = {"a": "int8", "b": "int8", "d": "int32"}
        test = GemmTest("p", "_int_mm", {}, INTEGER.name, (3, 4, 32), formats, (), "done", None, a, b.T, d)
        found = outcome(test)
        assert found.status == ("fail" if wrong else "pass")
        assert found.reason is None
    assert found.first.expected_value == found.first.actual_value + 1


def cast(
    target="e4m3fn", rounding="NEAREST_TIES_TO_EVEN", saturation="SAT_FINITE", source="binary32", change=None, **more
):
    """A conversion as a device would answer it; ``change(inputs, outputs)`` is what the device does otherwise."""
    x, y = fe.get_format(source), fe.get_format(target)
    register = 13 if target == "tf32" else 0
    made = {"rounding": rounding or "rne", "saturation": more.get("made", saturation or "SAT_NONE")}

    def device(codes):
        values = codes.view(np.float32) if source == "binary32" else fe.decode(codes, x)
        found = fe.encode(values, y, nan=None if y.has_nan else "max", **made).astype(np.uint32) << register
        return found if change is None else change(codes, values, found)

    size = 1 << min(x.k, g.CHUNK_BITS)
    chunks = np.array(more.get("chunks", [0]), np.uint32)
    hashes = [
        g.chunk_hash(i * size, device(np.arange(i * size, i * size + size, dtype=np.uint32))) for i in chunks.tolist()
    ]
    inputs = g.cast_samples(x.k)
    return CastTest(
        "c", "ptx", "cvt...", source, target, rounding, saturation, "done", None, chunks,
        np.array(hashes, np.uint64), inputs, device(inputs),
    )  # fmt: skip


@pytest.mark.parametrize("target", ["binary16", "bfloat16", "e4m3fn", "e5m2", "tf32", "e2m1fn", "e8m0fnu"])
def test_conversions_pass(target):
    found = outcome(cast(target, chunks=[0x3F8, 0x7F8]))
    assert (found.status, found.n, found.equal) == ("pass", 2**16 + 2**21, 2**16 + 2**21)
    assert found.reason.startswith("NEAREST_TIES_TO_EVEN, SAT_FINITE; ")


@pytest.mark.parametrize("source", ["binary16", "e4m3fn"])
def test_conversions_of_narrow_formats_pass(source):
    found = outcome(cast("e5m2", source=source))
    assert (found.status, found.n) == ("pass", 2 * 2 ** fe.get_format(source).k)


@pytest.mark.parametrize("made", ["SAT_NONE", "SAT_FINITE", "SAT_PROPAGATE"])
def test_a_saturation_that_nobody_states_is_read_off(made):
    found = outcome(cast("e5m2", None, None, made=made, chunks=[0x7F8]))  # the chunk that holds infinity
    assert found.status == "pass"
    assert made in found.reason


def signed_nan(codes, values, found):
    nan = np.isnan(values)
    found[nan] = np.where(codes[nan] >> 31, 0xFF, 0x7F)
    return found


def payload_nan(codes, values, found):
    nan = np.isnan(values)
    found[nan] = (codes[nan] >> 16) | 0x7FC0
    return found


@pytest.mark.parametrize(
    ("target", "change", "rule"),
    [("e4m3fn", signed_nan, "0x7f or 0xff"), ("bfloat16", payload_nan, "keeps its sign and leading bits")],
    ids=["by sign", "by payload"],
)
def test_the_devices_own_nan_codes_are_taken_over_and_said(target, change, rule):
    found = outcome(cast(target, change=change, chunks=[0x7F8, 0xFF9]))
    assert found.status == "pass"
    assert rule in found.reason


def no_nan(codes, values, found):
    return np.where(np.isnan(values), 0, found).astype(np.uint32)


def wrong_tie(codes, values, found):
    return np.where(values == 17.0, found + 1, found).astype(np.uint32)


def low_bits(codes, values, found):
    return found | 1


def rare(codes, values, found):
    return np.where(codes == 5, found ^ 1, found).astype(np.uint32)


def test_nan_that_becomes_a_number_fails():
    found = outcome(cast("e4m3fn", change=no_nan))
    assert (found.status, found.first.actual, found.first.expected) == ("fail", "0x7f", "0x00")


def test_bits_below_tf32_fail():
    found = outcome(cast("tf32", change=low_bits, saturation="SAT_NONE"))
    assert found.status == "fail"
    assert int(found.first.expected, 16) == int(found.first.actual, 16) + 1


def test_one_wrong_input_of_four_billion_fails_by_its_chunk():
    found = outcome(cast("e4m3fn", change=rare, chunks=[1, 0]))
    assert (found.status, found.n, found.equal) == ("fail", 2**16 + 2**21, 2**16 + 2**20)
    assert (found.first.index, found.first.inputs) == ((0,), {"chunk": "0x0"})
    assert len(found.first.expected) == 18
    assert found.first.expected_value is None


def test_a_wrong_rounding_fails_on_the_samples():
    found = outcome(cast("bfloat16", "NEAREST_TIES_TO_EVEN", "SAT_NONE", change=lambda c, v, f: c >> 16))
    assert found.status == "fail"
    assert found.n == 2**16
    want, got = found.first.expected_value, found.first.actual_value
    assert abs(got) > abs(want) or np.isnan(want)


def test_chunks_are_limited_and_spread():
    test = cast("e4m3fn", chunks=range(6))
    assert outcome(test, chunks=2).n == 2**16 + 2 * 2**20
    assert outcome(test, chunks=None).n == 2**16 + 6 * 2**20
    damaged = test.hashes.copy()
    damaged[3] ^= 1
    found = outcome(CastTest(**{**vars(test), "hashes": damaged}), chunks=2)
    assert found.first.index == (3,)


def test_sections_that_are_missing_are_named():
    sections = [
        {"name": "casts", "status": "missing", "reason": "no time", "seconds": 0},
        {"name": "gemm", "status": "done"},
    ]
    seen = []
    found = check_capture(capture(instruction(), sections=sections), lambda *step: seen.append(step))
    assert [(test.id, test.status, test.reason) for test in found.tests[1:]] == [("casts", "skipped", "no time")]
    assert found.subject == {**SUBJECT, "kind": "capture"}
    assert seen == [(0, 1, "i")]
    assert found.ok
