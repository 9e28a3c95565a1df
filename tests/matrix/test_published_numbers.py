"""Numbers that papers and tools published about matrix units, worked out again; every value carries its source.

* MSP: MMA-Sim, arXiv 2511.10909 v2, Table 8 and Eq. 10, as fpy's examples/mmasim quotes them.
* FHMP: Fasi, Higham, Mikaitis & Pranesh, PeerJ Computer Science 7:e330 (V100, T4, A100).
* KM25: Khattak & Mikaitis, HPEC 2025, arXiv 2510.15884 (A30).
* DG: DeepGEMM, issues 37 and 176. SA2: SageAttention2 (1-8-13). DS: DeepSeek-V3, arXiv 2412.19437.
* derived: worked out by hand from the published model of the row.
"""

import hashlib

import matrix_oracle as oracle
import numpy as np
import pytest

import floatemu as fe
from floatemu.format import Format
from floatemu.matrix import UNITS, gemm, mma
from floatemu.matrix import generator as g
from floatemu.matrix.steps import Fused


def find(gpu, inputs="fp16", output="fp32", instruction="mma", **more):
    return fe.matrix.find(gpu, inputs, output, instruction, **more)


def dot(unit, a, b, c=0.0, **scales):
    """One dot product, and c."""
    return float(mma(unit, [a], [[y] for y in b], [[c]], **scales)[0, 0])


# --- d = 2^23 + (-2^13 2^10) + (-0.5) + (-0.25) + (-0.125); exactly -0.875 -------------------------------------------

A, B, C = [-(2.0**13), -1.0, -1.0, -0.5], [2.0**10, 0.5, 0.25, 0.25], 2.0**23
MSP, DERIVED = "MSP Table 8", "derived"
NUMBERS = [
    # architecture, instruction, operands (None: all that hold them), d, source
    ("volta", "mma", "binary16", 0.0, MSP),
    ("turing", "mma", "binary16", -0.5, MSP),
    ("ampere", "mma", "binary16 bfloat16 tf32", -0.5, MSP),
    ("ada", "mma", "binary16", -0.5, MSP),
    ("ada", "mma", "bfloat16 tf32", -0.5, DERIVED),  # the same step as Ampere's
    ("ada", "mma", "e5m2", 0.0, MSP),
    ("hopper", "mma", "binary16", -0.75, MSP),
    ("hopper", "mma", "bfloat16 tf32", -0.75, DERIVED),  # F = 25, as binary16
    ("hopper", "mma", "e5m2", 0.0, DERIVED),  # emulated: -2^23 - 0.5 is cut to 24 bits before C is added
    ("hopper", "wgmma", "binary16", -0.75, MSP),
    ("hopper", "wgmma", "bfloat16 tf32", -0.75, DERIVED),
    ("hopper", "wgmma", "e5m2", 0.0, MSP),
    ("blackwell", "mma", "binary16", -0.75, MSP),
    ("blackwell", "mma", "bfloat16 tf32", -0.75, DERIVED),
    ("blackwell", "mma", "e5m2", 0.0, DERIVED),  # emulated, as on Hopper
    ("blackwell", "tcgen05", "binary16", -0.75, MSP),
    ("blackwell", "tcgen05", "bfloat16 tf32", -0.75, DERIVED),
    ("blackwell", "tcgen05", "e5m2", -0.75, MSP),
    ("rtx_blackwell", "mma", "binary16", -0.75, MSP),
    ("rtx_blackwell", "mma", "bfloat16 tf32", -0.75, DERIVED),
    ("rtx_blackwell", "mma", "e5m2", -0.75, MSP),
    *[(name, "mma", "binary64", -0.875, MSP) for name in ("ampere", "ada", "hopper", "blackwell", "rtx_blackwell")],
    ("cdna1", "mfma", "binary16 bfloat16", -0.875, MSP),
    ("cdna2", "mfma", "binary16", 0.0, MSP),
    ("cdna2", "mfma", "bfloat16", -0.375, MSP),  # the rows whose name ends in 1k: 0.0
    ("cdna3", "mfma", "binary16 bfloat16", -0.5, MSP),
    ("cdna3", "mfma", "tf32", -0.5, DERIVED),  # as binary16: the products are cut at 24 bits below 2^23
    ("cdna3", "mfma", "e5m2fnuz", -1.0, MSP),
    *[(name, "mfma", "binary64", -0.875, DERIVED) for name in ("cdna2", "cdna3")],  # exact, an FMA at a time
    *[(name, "mfma", "binary32", -0.875, DERIVED) for name in ("cdna1", "cdna2", "cdna3")],  # 2^23 - 2^23 comes first
]
EXPECTED = {(arch, ins, name): (d, source) for arch, ins, names, d, source in NUMBERS for name in names.split()}


def holds(unit):
    """Whether the operands are numbers of the row's formats and the accumulator can be 2^23."""
    if not isinstance(unit.a, Format) or unit.a != unit.b or unit.output.name == "binary16" or unit.block == 16:
        return False
    return all(bool(np.all(fe.isrepresentable(x, unit.a))) for x in (A, B))


PAPER = [unit for unit in UNITS if holds(unit)]


@pytest.mark.parametrize("unit", PAPER, ids=str)
def test_table_8(unit):
    want, _ = EXPECTED[unit.architecture, unit.instruction, unit.a.name]
    if unit.name == "turing.mma.binary16.binary16.binary32.m8n8k4" or unit.name.endswith(".1k"):
        want = 0.0  # Volta's step (derived); CDNA2 adds four before it meets C (MSP Table 8)
    scales = {} if unit.scale is None else {"scale_a": [[1.0]], "scale_b": [[1.0]]}
    a, b = (A, B) if unit.scale is None else ([*A, *[0.0] * 28], [*B, *[0.0] * 28])
    assert dot(unit, a, b, C, **scales) == want


def test_table_8_covers_every_row_that_can_hold_it():
    found = {(unit.architecture, unit.instruction, unit.a.name) for unit in PAPER}
    assert found == set(EXPECTED)
    assert {architecture for architecture, _, _ in found} == {unit.architecture for unit in UNITS}


@pytest.mark.parametrize("gpu", ["B200", "RTX_PRO_6000"])
@pytest.mark.parametrize(("scale", "block"), [("e8m0fnu", 32), ("e8m0fnu", 16), ("e4m3fn", 16)])
def test_table_8_in_nvfp4(gpu, scale, block):
    """Group 0 makes -2^23, the group of the second scale -0.875; F = 35 keeps all of it (MSP Table 8)."""
    instruction, shape = ("tcgen05", "mMnNk64") if gpu == "B200" else ("mma", "m16n8k64")
    unit = find(gpu, "e2m1fn", "fp32", instruction, scale=scale, block=block, shape=shape)
    a, b = np.zeros(64), np.zeros(64)
    if scale == "e8m0fnu":
        a[0], b[0], first = -4, 4, (2.0**11, 2.0**8)
    else:  # 2^11 is none of its numbers: eight products instead of one
        a[:8], b[:8], first = -4, 4, (2.0**8, 2.0**8)
    a[block : block + 3], b[block : block + 3] = (-1, -1, -0.5), (1, 0.5, 0.5)
    left, right = np.ones((1, 64 // block)), np.ones((64 // block, 1))
    left[0, 0], right[0, 0], right[1, 0] = *first, 0.5
    assert dot(unit, a, b, C, scale_a=left, scale_b=right) == -0.875


# --- numerical features ----------------------------------------------------------------------------------------------

ULP = 2.0**-23
FHMP = {
    # what: (a, b, c, {gpu: d})
    "subnormal operands take part": ([2.0**-24], [4.0], 0.0, {"V100 T4 A100": 2.0**-22}),
    "subnormal accumulators take part": ([0.0], [0.0], 2.0**-149, {"V100 T4 A100": 2.0**-149}),
    "products are exact": ([1 - 2.0**-11] * 4, [1 - 2.0**-11] * 4, 0.0, {"V100 T4 A100": 4 * (1 - 2.0**-11) ** 2}),
    "small products are cut off": ([2.0**-12] * 4, [2.0**-13] * 4, 1.0, {"V100 T4 A100": 1.0}),
    "toward zero above": ([1.0, 2.0**-12], [2.0, 3 * 2.0**-12], 0.0, {"V100 T4 A100": 2.0}),
    "toward zero below": ([-1.0, -(2.0**-12)], [2.0, 3 * 2.0**-12], 0.0, {"V100 T4 A100": -2.0}),
    "extra bits at alignment": ([1.0], [1.0], -(1 - 2.0**-24), {"V100": 2.0**-23, "T4 A100": 2.0**-24}),
    "normalised once, at the end": ([2.0**-12] * 4, [2.0**-12] * 4, 1 - 2.0**-24, {"T4 A100": 1 + ULP}),
    "carries": ([1.5, 1.75, 1.875, 1.875], [1.0] * 4, 1.0, {"V100 T4 A100": 8.0}),
    "the sum is cut, not rounded": ([1.0, 3 * 2.0**-12], [1.0, 2.0**-11], 4.0, {"V100 T4 A100": 5.0}),
}  # fmt: skip
FEATURES = [
    pytest.param(gpu, a, b, c, want, id=f"{what}-{gpu}")
    for what, (a, b, c, results) in FHMP.items()
    for gpus, want in results.items()
    for gpu in gpus.split()
]


@pytest.mark.parametrize(("gpu", "a", "b", "c", "want"), FEATURES)
def test_features_of_fasi_higham_mikaitis_pranesh(gpu, a, b, c, want):
    unit = find(gpu, shape="m16n8k8") if gpu == "T4" else find(gpu)
    assert dot(unit, a, b, c) == want


@pytest.mark.parametrize("gpu", ["V100", "A100"])
def test_binary16_results_are_rounded_to_nearest(gpu):
    """FHMP: 2^-25 + 2^-26 is three quarters of the least subnormal number."""
    assert dot(find(gpu, output="fp16"), [2.0**-12, 2.0**-13], [2.0**-13, 2.0**-13]) == 2.0**-24


@pytest.mark.parametrize(("gpu", "low", "high"), [("A100", 1 + ULP, 1.0), ("H100", 1 + ULP, 1 + ULP)])
def test_monotonicity(gpu, low, high):
    """FHMP: on A100 a larger accumulator gives a smaller sum; H100 needs other numbers (derived)."""
    a, b = [2.0**-12] * 3 + [3 * 2.0**-12], [2.0**-13] * 4
    assert dot(find(gpu), a, b, 1 - 2.0**-24) == low
    assert dot(find(gpu), a, b, 1.0) == high


def test_monotonicity_fails_on_hopper_one_bit_further():
    """Derived: terms of 2^-26 are below what F = 25 keeps beside 1, but not beside 1 - 2^-24."""
    a, b = [2.0**-13] * 12, [2.0**-13] * 12
    assert dot(find("H100"), a, b, 1 - 2.0**-24) == 1 + ULP
    assert dot(find("H100"), a, b, 1.0) == 1.0


def test_hopper_keeps_what_the_tests_of_earlier_chips_say_is_lost():
    """Derived: four products of 2^-25 beside 1 count, since F = 25."""
    assert dot(find("H100"), [2.0**-12] * 4, [2.0**-13] * 4, 1.0) == 1 + ULP


def extra_bits(unit):
    """Bits kept at alignment beyond binary32's 23: KM25's test, 1 - (1 - 2^-k) with ever smaller terms."""
    kept = [k for k in range(8, 41) if dot(unit, [1.0, -1.0, 2.0 ** -(k // 2)], [1.0, 1.0, 2.0 ** -(k - k // 2)])]
    assert kept == list(range(8, max(kept) + 1))
    return max(kept) - 23


def block_length(unit, most=40):
    """Products added at once: the first that outlives 2^30 - 2^30 (KM25; probe P5)."""
    a, b = np.zeros((most, most + 1)), np.zeros(most + 1)
    a[:, 0], b[0] = -(2.0**15), 2.0**15
    for j in range(1, most + 1):
        a[j - 1, j], b[j] = 1, 1
    found = mma(unit, a, b[:, None], np.full((most, 1), 2.0**30))[:, 0]
    return int(np.argmax(found == 1)) + 1


@pytest.mark.parametrize(
    ("gpu", "bits", "length"),
    [("V100", 0, 4), ("A30", 1, 8), ("A100", 1, 8), ("T4", 1, 8), ("H100", 2, 16), ("B200", 2, 16)],
)
def test_alignment_bits_and_block_length(gpu, bits, length):
    """KM25 (A30: one extra bit, FMA size 8); the others derived from the published models."""
    unit = find(gpu, shape="m16n8k8") if gpu == "T4" else find(gpu)
    assert (extra_bits(unit), block_length(unit)) == (bits, length)


def test_features_of_a30():
    """KM25, fp16 on A30: three carry bits, late normalisation, every cut toward zero, binary16 to nearest."""
    unit = find("A30")
    assert dot(unit, [2 - 2.0**-10] * 8, [2 - 2.0**-10] * 8, 0.0) == 8 * (2 - 2.0**-10) ** 2
    for sign in (1, -1):
        assert dot(unit, [1, -1, sign * 1.5 * 2.0**-12], [1, 1, 2.0**-12]) == sign * 2.0**-24
        assert dot(unit, [sign * 2.0**-12] * 3, [2.0**-11] * 3, sign * (1 + 3 * ULP)) == sign * (1 + 6 * ULP)
        # From block to block: what the first one leaves is cut too.
        assert dot(unit, [sign * 2.0**-12] * 16, [2.0**-12] * 16, sign * 1.0) == sign * (1 + 8 * ULP)
    assert dot(find("A30", output="fp16"), [3 * 2.0**-12], [1.0], 1.0) == 1 + 2.0**-10
    assert dot(find("A30", output="fp16"), [2.0**-11], [1.0], 1.0) == 1.0


WIDTHS = {
    "Hopper's wgmma, fp8: 13 (DG 37; SA2)": (find("H100", "e4m3fn", "fp32", "wgmma"), 13),
    "Ada, fp8: 13 (SA2)": (find("L40S", "e5m2", "fp32"), 13),
    "B200, f8f6f4: 25 (DG 176)": (find("B200", "e4m3fn", "fp32", "tcgen05"), 25),
    "RTX Blackwell, f8f6f4: 25 (MS)": (find("RTX_PRO_6000", "e5m2", "fp32", "mma"), 25),
}


@pytest.mark.parametrize(("unit", "bits"), WIDTHS.values(), ids=WIDTHS)
def test_accumulator_widths(unit, bits):
    """256 - 256 + 256 2^-k is not zero as long as k is at most F."""
    kept = []
    for k in range(5, 34):
        low = np.array([2.0 ** -((k - 8) // 2), 2.0 ** -((k - 8) - (k - 8) // 2)])
        if all(fe.isrepresentable(low, unit.a)):
            kept += [k] if dot(unit, [16, 16, low[0]], [16, -16, low[1]]) else []
    top = min(bits, 26 if unit.a.name == "e4m3fn" else 40)
    assert max(kept) == top


# --- accumulation in fp8, K = 4096 -----------------------------------------------------------------------------------

K, SIZE = 4096, 40


def uniform(stream, *shape):
    """Multiples of 2^-24 in [0, 1), from the package's own generator."""
    words = g.words(1, stream, 0, int(np.prod(shape)))
    return ((words >> np.uint64(40)).astype(np.float64) * 2.0**-24).reshape(shape)


def bell(stream, *shape):
    """Sums of twelve uniform numbers less 6: variance 1, and no function of a library."""
    return uniform(stream, 12, *shape).sum(0) - 6


DATA = {
    "uniform": uniform,
    "normal": bell,
    "magnitude": lambda stream, *shape: np.abs(bell(stream, *shape)),
}
FIGURES = {
    # data, unit, promotion: mean relative error, its largest size, relative Frobenius error, SHA-256 of the results
    ("uniform", "H100", None): (-6.596e-2, 7.043e-2, 6.596e-2, "e4923608b1cc2081"),
    ("uniform", "H100", 128): (-4.948e-4, 5.773e-4, 4.954e-4, "9ae1c834a54389d1"),
    ("uniform", "B200", None): (-4.717e-7, 8.447e-7, 4.849e-7, "84137ec7c302eac8"),
    ("magnitude", "H100", None): (-7.035e-2, 7.568e-2, 7.037e-2, "d3114dedd6e2a097"),
    ("magnitude", "H100", 128): (-6.255e-4, 7.393e-4, 6.265e-4, "fe07ed677695bc20"),
    ("magnitude", "B200", None): (-1.077e-6, 1.706e-6, 1.090e-6, "fcf1a49d4a926118"),
    ("normal", "H100", None): (1.974e-4, 1.320e-1, 1.343e-3, "f930111136ae4236"),
    ("normal", "H100", 128): (9.356e-6, 1.680e-2, 1.278e-4, "c6386870129f0a1d"),
    ("normal", "B200", None): (-4.675e-10, 1.776e-6, 5.623e-8, "3b4488a8a4dbc21b"),
}


@pytest.mark.parametrize(("data", "gpu", "every"), FIGURES, ids=str)
def test_accumulation_in_fp8(data, gpu, every):
    """DS reports "nearly 2 %" for a product of random matrices of unnamed distribution, and promotion every 128 as the
    remedy. Frozen here is what these inputs give; the sums compared with are exact in binary64 (46 bits)."""
    a = np.asarray(fe.round(DATA[data](0, SIZE, K), "e4m3fn"))
    b = np.asarray(fe.round(DATA[data](1, K, SIZE), "e4m3fn"))
    unit = find(gpu, "e4m3fn", "fp32", "wgmma" if gpu == "H100" else "tcgen05")
    got = gemm(unit, a, b, promote_every=every)
    exact = a @ b
    error = got - exact
    mean, most, frobenius, digest = FIGURES[data, gpu, every]
    found = [
        np.mean(error / np.abs(exact)),
        np.max(np.abs(error / exact)),
        np.linalg.norm(error) / np.linalg.norm(exact),
    ]
    assert [float(f"{x:.3e}") for x in found] == [mean, most, frobenius]
    assert hashlib.sha256(got.view(np.uint32).astype("<u4").tobytes()).hexdigest()[:16] == digest


def test_accumulation_in_fp8_is_the_published_model():
    """Two of those sums, a step at a time over fractions."""
    a, b = (np.asarray(fe.encode(uniform(stream, 2, K), "e4m3fn")) for stream in (0, 1))
    unit = find("H100", "e4m3fn", "fp32", "wgmma")
    got = mma(unit, a[:, None, :], b[:, :, None], codes=True)[:, 0, 0]
    model = oracle.nvidia("hopper", "wgmma", "e4m3fn", "e4m3fn", "binary32", shape="m64nNk32", scale=None)
    for x, y, code in zip(a, b, got):
        numbers = [[oracle.number(int(v), "e4m3fn") for v in row] for row in (x, y)]
        assert oracle.code(model.run(*numbers, oracle.ZERO), "binary32", 0) == code


# --- error theory ----------------------------------------------------------------------------------------------------

BOUNDED = {
    unit.step: unit
    for unit in reversed(UNITS)
    if isinstance(unit.step, Fused) and not unit.scale and not unit.step.order
}


@pytest.mark.parametrize("unit", BOUNDED.values(), ids=str)
@pytest.mark.parametrize("distribution", ["normal", "adversarial"])
def test_error_of_one_step_is_bounded(unit, distribution):
    """|error| < (terms that are cut) 2^(E - F) + an ulp of the result, or half of it where it is rounded to nearest."""
    step, n = unit.step, 300
    a, b, c = (
        g.Layout(f.name, f.k, f.p, f.bias, f.max_code, f.inf_code, f.nan_code, r.k - f.k if r else 0)
        for f, r in ((unit.a, unit.register), (unit.b, unit.register), (unit.output, None))
    )
    x, y, z = g.vectors(distribution, a, b, c, n, step.length, 5)
    got = mma(unit, x[:, None, :], y[:, :, None], z[:, None, None], codes=True)[:, 0, 0]
    d = np.asarray(fe.decode(got, unit.output), np.float64)
    x, y = (
        np.asarray(fe.decode(codes >> own.spare, f), np.float64) for codes, own, f in ((x, a, unit.a), (y, b, unit.b))
    )
    z = np.asarray(fe.decode(z, unit.output), np.float64)

    def exponents(values, emin):
        return np.maximum(np.frexp(values)[1] - 1, emin)

    top = np.where(x * y != 0, exponents(x, unit.a.emin) + exponents(y, unit.b.emin), step.zero_exponent).max(1)
    top = np.maximum(top, np.where(z != 0, exponents(z, step.result.emin), step.zero_exponent))
    terms = np.concatenate([x * y, z[:, None]], axis=1)
    quantum = np.ldexp(1.0, top - step.fraction)
    cut = (terms != np.trunc(terms / quantum[:, None]) * quantum[:, None]).sum(1)
    exact = terms.sum(1)  # exact, or within 2^-40 of the quantum: at most 48 bits each, of magnitudes within 2^17
    ulp = np.ldexp(1.0, exponents(d, step.result.emin) - step.result.p + 1)
    bound = cut * quantum + ulp * (0.5 if step.result.name == "binary16" else 1.0)
    finite = np.isfinite(d)
    assert finite.sum() > n // 2
    error = np.abs(d - exact)[finite]
    assert np.all(error <= bound[finite])
    assert np.max(error / bound[finite]) > 0.2  # the bound is of the right size


BIAS = {
    # unit, operands, how far the estimate may be off: short significands are cut less often than half the time
    "fp8 on Hopper": (find("H100", "e4m3fn", "fp32", "wgmma"), "e4m3fn", 0.30),
    "fp8 on Ada": (find("L40S", "e4m3fn", "fp32"), "e4m3fn", 0.30),
    "binary16 on A100": (find("A100"), "binary16", 0.15),
    "binary16 on V100": (find("V100"), "binary16", 0.15),
    "binary16 on H100": (find("H100"), "binary16", 0.15),
}


@pytest.mark.parametrize(("unit", "fmt", "margin"), BIAS.values(), ids=BIAS)
def test_bias_of_sums_of_one_sign(unit, fmt, margin):
    """Each of a step's L products loses half of 2^(e - F) on average, e the accumulator's exponent; then the sum its
    own half, where the result has fewer bits than F."""
    a = np.asarray(fe.round(uniform(2, 24, K), fmt), np.float64)
    b = np.asarray(fe.round(uniform(3, K, 24), fmt), np.float64)
    exact = a @ b
    step, predicted = unit.step, np.zeros_like(exact)
    for k in range(0, K, step.length):
        reached = a[:, : k + step.length] @ b[: k + step.length]
        e = np.frexp(reached)[1] - 1
        lost = step.length / 2 * np.ldexp(1.0, e - step.fraction)
        predicted -= lost + (np.ldexp(1.0, e - step.result.p + 1) - np.ldexp(1.0, e - step.fraction)) / 2
    measured = np.mean((gemm(unit, a, b) - exact) / exact)
    estimate = np.mean(predicted / exact)
    assert measured < 0
    assert abs(estimate - measured) < margin * abs(measured)
