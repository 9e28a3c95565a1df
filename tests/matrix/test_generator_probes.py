"""Designed vectors: the codes are the numbers they claim, and units whose parameters are known read as they should."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import floatemu as fe
from floatemu.matrix import UNITS
from floatemu.matrix.generator import LAYOUTS
from floatemu.matrix.probe_matrices import GEMM_PROBES, gemm_probe
from floatemu.matrix.probe_vectors import PROBES, Case, code_of, probe_vectors, split

ROWS = {row.name: row for row in UNITS}
CASES = [
    ("binary16", "binary32", 16),
    ("binary16", "binary16", 16),
    ("binary16", "binary32", 4),
    ("bfloat16", "binary32", 16),
    ("tf32", "binary32", 8),
    ("e4m3fn", "binary32", 32),
    ("e5m2", "binary16", 32),
    ("binary64", "binary64", 16),
]


def layouts(a, c):
    return LAYOUTS[a], LAYOUTS[a], LAYOUTS[c]


def decoded(name, codes):
    layout = LAYOUTS[name]
    return fe.decode(np.asarray(codes).astype(np.uint64) >> np.uint64(layout.spare), fe.get_format(name))


def results(unit, *ids, k=None):
    """Results of a unit by label, as values, for designed vectors of some probes."""
    row = ROWS[unit]
    names = [fmt.name for fmt in (row.a, row.b, row.output)]
    k = k or {4: 4, 8: 8, 16: 16, 32: 32}[row.step.length]
    labels, a, b, c = probe_vectors(*(LAYOUTS[name] for name in names), k, ids=ids)
    d = fe.matrix.mma(row, a[:, None, :], b[:, :, None], c[:, None, None], codes=True)[:, 0, 0]
    return dict(zip(labels, decoded(names[2], d).tolist(), strict=True))


@pytest.mark.parametrize("name", ["binary16", "bfloat16", "e4m3fn", "e5m2"])
def test_code_of_every_value_and_of_none_between(name):
    layout, fmt = LAYOUTS[name], fe.get_format(name)
    codes = np.arange(0, layout.largest + 1, dtype=np.uint64)
    values = fe.decode(codes, fmt).tolist()
    assert [code_of(layout, value) for value in values] == codes.tolist()
    assert [code_of(layout, -value) for value in values[1:]] == (codes[1:] | layout.sign).tolist()
    assert {code_of(layout, (Fraction(x) + Fraction(y)) / 2) for x, y in pairwise(values)} == {None}
    assert code_of(layout, 2 * Fraction(values[-1])) is None


INTEGERS = [("int8", -128, 127), ("uint8", 0, 255), ("int32", -(2**31), 2**31 - 1)]


@pytest.mark.parametrize(("name", "least", "most"), INTEGERS)
def test_codes_of_integers_are_twos_complement(name, least, most):
    layout = LAYOUTS[name]
    assert [code_of(layout, value) for value in (least, most, most + 1, least - 1, 0.5)] == [
        least % 2**layout.k, most, None, None, None,
    ]  # fmt: skip


def test_codes_of_words():
    half, ocp, tf32 = LAYOUTS["binary16"], LAYOUTS["e4m3fn"], LAYOUTS["tf32"]
    assert [code_of(half, word) for word in ("inf", "-inf", "nan", "-0")] == [0x7C00, 0xFC00, 0x7E00, 0x8000]
    assert [code_of(ocp, word) for word in ("inf", "-inf", "nan")] == [None, None, 0x7F]
    assert [code_of(tf32, word) for word in (1, "inf", "code:0x3f800001")] == [0x3F800000, 0x7F800000, 0x3F800001]
    assert code_of(LAYOUTS["int8"], "nan") is None


@pytest.mark.parametrize("name", ["binary16", "e4m3fn", "tf32"])
def test_products_are_split_exactly_into_normal_numbers_if_that_can_be(name):
    layout = LAYOUTS[name]
    least = 2.0**layout.emin
    for e in range(2 * (layout.emin - layout.p + 1), 2 * layout.emax + 1):
        for odd in (1, -3):
            pair = split(layout, layout, odd * Fraction(2) ** e)
            if pair is None:
                assert odd != 1 or e > 2 * layout.emax
                continue
            x, y = decoded(name, pair)
            assert Fraction(float(x)) * Fraction(float(y)) == odd * Fraction(2) ** e
            if 2 * layout.emin <= e <= 2 * layout.emax - 2:
                assert abs(x) >= least <= abs(y)


@pytest.mark.parametrize(("a", "c", "k"), CASES)
def test_vectors_are_the_numbers_that_their_probe_asks_for(a, c, k):
    """Every finite vector, decoded: its products and its accumulator are those of the table, in their places."""
    case = Case(*layouts(a, c), k)
    labels, x, y, z = probe_vectors(*layouts(a, c), k)
    assert len(set(labels)) == len(labels)
    wanted = {f"{probe.id}/{v.label}": v for probe in PROBES if probe.wants == "float" for v in probe.build(case)}
    u, v, w = decoded(a, x), decoded(a, y), decoded(c, z)
    checked = 0
    for row, label in enumerate(labels):
        vector = wanted[label]
        for place in range(k):
            product = vector.products.get(place, vector.rest)
            factors = product if isinstance(product, tuple) else (product, 1)
            if not any(isinstance(factor, str) for factor in factors):
                given = Fraction(u[row, place]) * Fraction(v[row, place])
                assert given == Fraction(factors[0]) * Fraction(factors[1]), (label, place)
                checked += 1
        if not isinstance(vector.c, str):
            assert Fraction(w[row]) == Fraction(vector.c), label
    assert checked > len(labels)


def test_every_probe_has_vectors_somewhere():
    found = set()
    for a, c, k in [*CASES, ("int8", "int32", 32)]:
        found |= {label.partition("/")[0] for label in probe_vectors(*layouts(a, c), k)[0]}
    assert found == {probe.id for probe in PROBES}
    assert len(found) == len(PROBES)


DEPTHS = [
    ("volta.mma.binary16.binary16.binary32", 23), ("ampere.mma.binary16.binary16.binary32", 24),
    ("hopper.mma.bfloat16.bfloat16.binary32", 25), ("hopper.wgmma.e4m3fn.e4m3fn.binary32", 13),
    ("ada.mma.e5m2.e5m2.binary32", 13), ("blackwell.tcgen05.e5m2.e5m2.binary32", 25),
]  # fmt: skip


@pytest.mark.parametrize(("unit", "bits"), DEPTHS)
def test_p1_p6_p12_read_the_fraction_bits(unit, bits):
    for probe in ("P1", "P1c", "P6", "P12"):
        found = results(unit, probe)
        depths = {int(label.partition("=")[2]) for label in found}
        kept = {int(label.partition("=")[2]) for label, value in found.items() if value != 0}
        assert kept == {k for k in depths if k <= bits}, probe
        assert kept


@pytest.mark.parametrize(("unit", "bits"), DEPTHS)
def test_p5b_reads_them_beside_c(unit, bits):
    """Products of 2^-(F+1) beside c: lost from the F that the unit has on."""
    row = ROWS[unit]
    c = 2.0 ** Case(*(LAYOUTS[fmt.name] for fmt in (row.a, row.b, row.output)), row.step.length).scale
    found = {int(label.partition("=")[2]): value for label, value in results(unit, "P5b").items()}
    assert max(found) > bits
    assert {f for f, value in found.items() if value == c} == {f for f in found if f >= bits}


@pytest.mark.parametrize(("unit", "length", "k"), [
    ("volta.mma.binary16.binary16.binary32", 4, 16), ("ampere.mma.binary16.binary16.binary16", 8, 16),
    ("hopper.mma.binary16.binary16.binary32", 16, 32), ("ampere.mma.tf32.tf32.binary32", 4, 8),
    ("ada.mma.e4m3fn.e4m3fn.binary32", 16, 32), ("hopper.wgmma.e5m2.e5m2.binary32", 32, 64),
])  # fmt: skip
def test_p5_reads_the_products_of_a_step(unit, length, k):
    found = results(unit, "P5", k=k)
    kept = [int(label.partition("=")[2]) for label, value in found.items() if value != 0]
    assert kept == list(range(length, k))
    row = ROWS[unit]
    one = Case(*(LAYOUTS[fmt.name] for fmt in (row.a, row.b, row.output)), k).unit
    tree = results(unit, "P5t", k=k)
    # X and -X in the first step swallow the rest of it; with -X in the second step, that one goes as well.
    assert {tree[f"P5t/i=0,j={j}"] for j in range(1, length)} == {float((k - length) * one)}
    assert {tree[f"P5t/i=0,j={j}"] for j in range(length, 2 * length)} == {float((k - 2 * length) * one)}


def test_p2_reads_what_passes_through():
    exact = 1 + 2.0**-13 + 2.0**-14 + 2.0**-23
    assert results("hopper.mma.binary16.binary16.binary32", "P2")["P2/sum"] == exact
    assert results("hopper.wgmma.e4m3fn.e4m3fn.binary32", "P2")["P2/sum"] == 1 + 2.0**-13
    assert results("hopper.mma.e4m3fn.e4m3fn.binary32", "P2", k=32)["P2/sum"] == exact


def test_p3_and_p4_read_the_roundings():
    found = results("hopper.mma.binary16.binary16.binary32", "P3", "P4")
    ulp = 2.0 ** (14 - 25)
    assert [found[f"P3/F=25,q={q}"] / ulp for q in ("3/2", "1", "3/4", "1/2", "1/4")] == [1, 1, 0, 0, 0]
    assert [found[f"P3/F=25,q={q}"] / ulp for q in ("-3/2", "-1", "-3/4", "-1/2", "-1/4")] == [-1, -1, 0, 0, 0]
    assert (found["P4/units=3"], found["P4/units=-3"]) == (4, -4)
    assert found["P4/E8M13"] == 3.0001220703125
    assert results("hopper.wgmma.e4m3fn.e4m3fn.binary32", "P4")["P4/E8M13"] == 3.0
    assert results("hopper.mma.binary16.binary16.binary16", "P4")["P4/units=3"] == 4 + 2.0**-8


def test_p8_shows_a_larger_c_with_a_smaller_result():
    ampere = results("ampere.mma.binary16.binary16.binary32", "P8")
    assert ampere["P8/depth=25,c=below"] == 1 + 2.0**-23
    assert ampere["P8/depth=25,c=one"] == 1
    hopper = results("hopper.mma.binary16.binary16.binary32", "P8")
    assert hopper["P8/depth=25,c=below"] == hopper["P8/depth=25,c=one"] == 1 + 2.0**-23
    assert hopper["P8/depth=26,c=below"] == 1 + 2.0**-23
    assert hopper["P8/depth=26,c=one"] == 1


@pytest.mark.parametrize(("chip", "last"), [("hopper", 46), ("ampere", 44)])
def test_p9_reads_the_exponent_of_zero_with_binary16_output(chip, last):
    """F - e_zero = 25 + 21 and 24 + 20."""
    found = results(f"{chip}.mma.binary16.binary16.binary16", "P9")
    assert [label for label, value in found.items() if value] == [f"P9/k={k}" for k in range(40, last + 1)]


@pytest.mark.parametrize(("chip", "last", "k"), [("hopper", 158, 16), ("ampere", 156, 8)])
def test_p10_reads_the_exponent_of_zero_with_binary32_output(chip, last, k):
    """F - e_zero = 25 + 133; Ampere's 24 + 132 = 156 is the deepest ladder that eight products can hold, too."""
    found = results(f"{chip}.mma.bfloat16.bfloat16.binary32", "P10", k=k)
    kept = [int(label.partition("=")[2]) for label, value in found.items() if value == 2.0**-149]
    assert kept == list(range(152, last + 1))


def test_p11_p13_p15_and_p7():
    half = results("hopper.mma.binary16.binary16.binary16", "P11")
    assert half["P11/c=1/8388608,k=40"] == 2 * 2.0**-24
    wide = results("hopper.mma.bfloat16.bfloat16.binary32", "P13", "P7")
    assert wide["P13/cancel,c=1"] == 0
    assert wide["P13/alone,c=0"] == float("inf")
    assert wide["P7/late"] == 1 + 2.0**-21 + 2.0**-23
    cut = results("hopper.mma.tf32.tf32.binary32", "P15")
    assert [cut[f"P15/low={bits}"] for bits in ("0x1000", "0x1001", "0x1fff")] == [1, 1, 1]
    assert cut["P15/code=0x7f800001"] == float("inf")


def test_p16_reads_the_groups_of_the_emulated_instruction():
    """Small products survive in the group that X and -X are not in, and C comes last."""
    found = results("hopper.mma.e4m3fn.e4m3fn.binary32", "P16", k=32)
    unit = 2.0**-18
    # k mod 4 in {0, 1} first: X and -X both there leave the sixteen products of the second step.
    assert found["P16/i=0,j=1,c=0"] == 16 * unit
    assert found["P16/i=0,j=1,c=1/262144"] == 17 * unit
    # Both in the second step: they swallow what the first one had added up as well.
    assert found["P16/i=2,j=3,c=0"] == 0
    assert found["P16/i=2,j=3,c=1/262144"] == unit
    direct = results("blackwell.tcgen05.e4m3fn.e4m3fn.binary32", "P16", k=32)
    assert {value for label, value in direct.items() if label.endswith("c=0")} == {0.0}


@pytest.mark.parametrize(("end", "most"), [("", -(2**31)), (".satfinite", 2**31 - 1)])
def test_p17_reads_integer_overflow(end, most):
    row = ROWS[f"hopper.mma.int8.int8.int32{end}"]
    labels, a, b, c = probe_vectors(LAYOUTS["int8"], LAYOUTS["int8"], LAYOUTS["int32"], 32)
    d = fe.matrix.mma(row, a[:, None, :], b[:, :, None], c[:, None, None], codes=True)[:, 0, 0].view(np.int32)
    found = dict(zip(labels, d.tolist(), strict=True))
    assert found["P17/most,one"] == most
    assert found["P17/most,cancel"] == 2**31 - 1


def test_matrix_probes_are_read_back():
    """G1 to G4 through floatemu's own products, whose promotion and split are known."""
    unit = ROWS["hopper.wgmma.e4m3fn.e4m3fn.binary32"]
    labels, a, b = gemm_probe("G1", LAYOUTS["e4m3fn"], LAYOUTS["e4m3fn"], 512)
    d = fe.matrix.gemm(unit, a, b.T, promote_every=128, codes=True).view(np.float32)
    assert next(label for label, value in zip(labels, d[:, 0]) if value > 4) == "j=128"
    labels, a, b = gemm_probe("G4", LAYOUTS["e4m3fn"], LAYOUTS["e4m3fn"], 512)
    d = fe.matrix.gemm(unit, a, b.T, promote_every=128, output="bfloat16", codes=True)[:, 0]
    assert {label for label, value in zip(labels, d) if value} == {f"j={j}" for j in range(128, 384)}
    assert set(fe.decode(d, "bfloat16").tolist()) == {0.0, 2.0**-12}
    unit = ROWS["hopper.wgmma.binary16.binary16.binary32"]
    labels, a, b = gemm_probe("G2", LAYOUTS["binary16"], LAYOUTS["binary16"], 512)
    whole, parts = (fe.matrix.gemm(unit, a, b.T, split_k=n, codes=True).view(np.float32)[:, 0] for n in (1, 2))
    assert set(whole.tolist()) == {1.0}
    assert next(label for label, value in zip(labels, parts) if value > 1) == "j=256"
    labels, a, b = gemm_probe("G3", LAYOUTS["binary16"], LAYOUTS["binary16"], 64)
    d = fe.matrix.gemm(unit, a, b.T, codes=True).view(np.float32)
    counts = dict(zip(labels, (d[:, 0] / 2.0**-24).tolist(), strict=True))
    # -X at j in step j // 16: what comes after that step survives, and nothing else.
    assert {counts[f"i=0,j={j}"] for j in range(1, 16)} == {48.0}
    assert {counts[f"i=0,j={j}"] for j in range(48, 64)} == {0.0}
    assert (d == d[:, :1]).all()


def test_matrix_probes_name_what_there_is():
    with pytest.raises(ValueError, match="no matrix probe is named 'G9'; there are G1, G2, G3, G4"):
        gemm_probe("G9", LAYOUTS["binary16"], LAYOUTS["binary16"], 64)
    with pytest.raises(ValueError, match="G2: e4m3fn and e4m3fn cannot hold its numbers"):
        gemm_probe("G2", LAYOUTS["e4m3fn"], LAYOUTS["e4m3fn"], 64)
    assert set(GEMM_PROBES) == {"G1", "G2", "G3", "G4"}
