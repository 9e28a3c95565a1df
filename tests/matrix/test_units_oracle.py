"""Every row of the table equals its published model, evaluated over fractions, in every distribution of inputs."""

from collections import Counter
from dataclasses import replace

import matrix_oracle as oracle
import numpy as np
import pytest
from matrix_inputs import designed, sweeps

from floatemu.format import Format
from floatemu.matrix import UNITS, mma
from floatemu.matrix import generator as g
from floatemu.projection import Rounding

FLOAT_UNITS = [unit for unit in UNITS if isinstance(unit.a, Format)]
SHARED = Counter((unit.step, unit.scale is None) for unit in FLOAT_UNITS)
DISTRIBUTIONS = (*g.DISTRIBUTIONS, "overflow", "subnormal")


def layout(fmt, register=None):
    """What the generator needs to know of a format."""
    infinity = fmt.max_code + 1 if fmt.infinities else None
    return g.Layout(
        fmt.name, fmt.k, fmt.p, fmt.bias, fmt.max_code, infinity, fmt.nan_code, register.k - fmt.k if register else 0
    )


def model(unit):
    if unit.instruction == "mfma":
        note = unit.name.split(".")[5] if unit.name.count(".") == 5 else ""
        return oracle.amd(unit.architecture, unit.a.name, unit.b.name, note=note)
    scale = None if unit.scale is None else unit.scale.name
    names = (unit.architecture, unit.instruction, unit.a.name, unit.b.name, unit.output.name)
    return oracle.nvidia(*names, shape=unit.shapes[0], scale=scale)


def inputs(unit, distribution, n, k, seed):
    """Codes a (n, k), b (n, k), c (n,)."""
    a, b, c = (layout(f, r) for f, r in ((unit.a, unit.register), (unit.b, unit.register), (unit.output, None)))
    if distribution not in ("overflow", "subnormal"):
        return g.vectors(distribution, a, b, c, n, k, seed)
    # The largest numbers there are, with few signs that differ: sums pass the range at one step and not at the next.
    x, y, z = g.vectors("raw", a, b, c, n, k, seed)
    rng = np.random.default_rng(seed)
    if distribution == "subnormal":
        # One operand without its leading bit beside a large one: the exponent that aligns is then the format's least.
        small = rng.random(x.shape) < 0.5
        for codes, own, other in ((x, a, small), (y, b, ~small)):
            tiny = np.uint64(1 << max(own.p - 1, 1)) - np.uint64(1)
            large = own.largest - rng.integers(0, 2 << max(own.p - 1, 1), codes.shape, np.uint64)
            word = codes.astype(np.uint64) >> np.uint64(own.spare)
            magnitude = np.where(other, word & tiny, np.where(rng.random(codes.shape) < 0.3, large, word & tiny))
            codes[...] = (magnitude | word & np.uint64(own.sign)) << np.uint64(own.spare)
        z[rng.random(z.shape) < 0.7] = 0
        return x, y, z
    for codes, own in ((x, a), (y, b), (z, c)):
        least = own.largest - (1 << max(own.p - 1, 1))
        big = rng.integers(least, own.largest, codes.shape, np.uint64, endpoint=True)
        signs = rng.random(codes.shape) < (0.1 if codes is x else 0.02)
        codes[...] = (big | np.where(signs, np.uint64(own.sign), np.uint64(0))) << np.uint64(own.spare)
    return x, y, z


def scales(unit, n, k, seed):
    """Codes of block scales (n, blocks): around 1, some at the ends of the range, zero and NaN."""
    if unit.scale is None:
        return None
    rng = np.random.default_rng(seed)
    shape = (n, -(-k // unit.block))
    near = layout(unit.scale)
    middle = near.bias << (near.p - 1)
    codes = rng.integers(middle - 8, middle + 8, shape, endpoint=True)
    wild = rng.integers(0, 2**unit.scale.k, shape)
    return np.where(rng.random(shape) < 0.1, wild, codes).astype(np.uint8)


def expected(unit, a, b, c, sa, sb):
    """Codes by the oracle, one element after the other."""
    fit = model(unit)
    cut = unit.register.p - unit.a.p if unit.register else 0
    found = []
    for i in range(len(c)):
        x, y = (
            [oracle.number(int(v) >> cut << cut, f.name) for v in row[i]]
            for row, f in ((a, unit.register or unit.a), (b, unit.register or unit.b))
        )
        pairs = []
        if unit.scale is not None:
            mask = 0x7F if unit.scale.name == "e4m3fn" else 0xFF
            each = [[oracle.number(int(v) & mask, unit.scale.name) for v in row[i]] for row in (sa, sb)]
            pairs = [pair for pair in zip(*each) for _ in range(unit.block // 16 if fit.groups > 1 else 1)]
            missing = -(-len(x) // fit.depth) * fit.groups - len(pairs)
            pairs += [(oracle.number(127, "e8m0fnu"),) * 2] * missing
        value = fit.run(x, y, oracle.number(int(c[i]), unit.output.name), pairs)
        found.append(oracle.code(value, unit.output.name, unit.nan_code))
    return np.array(found, np.uint64)


def batched(unit, a, b, c, sa=None, sb=None, **options):
    """One dot product after the other, through the face."""
    more = {} if sa is None else {"scale_a": sa[:, None, :], "scale_b": sb[:, :, None]}
    return mma(unit, a[:, None, :], b[:, :, None], c[:, None, None], codes=True, **more, **options)[:, 0, 0]


def check(unit, what, a, b, c, sa=None, sb=None):
    got, want = batched(unit, a, b, c, sa, sb), expected(unit, a, b, c, sa, sb)
    wrong = np.flatnonzero(got != want)
    if wrong.size:
        i = wrong[0]
        raise AssertionError(
            f"{what}, k = {a.shape[1]}: {wrong.size} of {len(got)} differ, first {i}: {int(got[i]):#x}, expected "
            f"{int(want[i]):#x}; a={a[i].tolist()} b={b[i].tolist()} c={int(c[i]):#x} "
            f"scales={None if sa is None else (sa[i].tolist(), sb[i].tolist())}"
        )


def compare(unit, total, least):
    """About ``total`` inputs of each distribution, shared between units that have their step in common."""
    n = max(least, total // SHARED[unit.step, unit.scale is None])
    depth = model(unit).depth
    for seed, distribution in enumerate(DISTRIBUTIONS, 1):
        # A whole chain of two, and one whose second step is filled up.
        for k in (2 * depth, depth + depth // 2 + 1)[seed % 2 :]:
            a, b, c = inputs(unit, distribution, n, k, seed)
            check(unit, distribution, a, b, c, scales(unit, n, k, 2 * seed), scales(unit, n, k, 2 * seed + 1))
    a, b, c = in_registers(unit, designed(unit.a, unit.b, unit.output, 5 * n, 2 * depth, reach(unit), 1))
    ones = one_scales(unit, len(c), 2 * depth)
    check(unit, "designed", a, b, c, ones, ones)


def reach(unit):
    """Products that meet before anything is rounded."""
    return getattr(unit.step, "length", model(unit).depth)


def in_registers(unit, codes):
    a, b, c = codes
    spare = unit.register.k - unit.a.k if unit.register else 0
    return (*(x.astype(np.uint32) << spare if spare else x for x in (a, b)), c)


def one_scales(unit, n, k):
    """Scales of 1, if the unit takes any."""
    if unit.scale is None:
        return None
    return np.full((n, k // unit.block), unit.scale.bias << (unit.scale.p - 1), np.uint8)


@pytest.mark.parametrize("unit", FLOAT_UNITS, ids=str)
def test_unit_equals_its_model(unit):
    compare(unit, total=30, least=4)


@pytest.mark.slow
@pytest.mark.parametrize("unit", FLOAT_UNITS, ids=str)
def test_unit_equals_its_model_on_hundreds_of_inputs(unit):
    """A few hundred inputs for each step and distribution, and every place of the cut for each unit: two minutes."""
    compare(unit, total=400, least=20)
    test_every_place_at_which_a_unit_might_cut(unit)


FIRST = {(unit.step, unit.scale is None): unit for unit in reversed(FLOAT_UNITS)}


@pytest.mark.parametrize("unit", FIRST.values(), ids=str)
def test_every_place_at_which_a_unit_might_cut(unit):
    """Kept or lost, and how it is cut: after cancellation, beside zeros, beside a subnormal accumulator."""
    depth = model(unit).depth
    places = (0, 1, 4) if depth == 32 else (0, 1, 2) if depth > 2 else (0, 1, 1)
    a, b, c = in_registers(unit, sweeps(unit.a, unit.b, unit.output, 2 * depth, places, 1))
    ones = one_scales(unit, len(c), 2 * depth)
    check(unit, "sweep", a, b, c, ones, ones)


PARAMETERS = {
    "fraction + 1": lambda step: {"fraction": step.fraction + 1},
    "fraction - 1": lambda step: {"fraction": step.fraction - 1},
    "rounded down": lambda step: {"alignment": Rounding.TOWARD_NEGATIVE},
    "rounded to nearest": lambda step: {"alignment": Rounding.NEAREST_TIES_TO_EVEN},
    "normalised": lambda step: {"normalised": True},
    "half the length": lambda step: {"length": step.length // 2},
    "zero exponent + 1": lambda step: {"zero_exponent": step.zero_exponent + 1},
    "zero exponent - 1": lambda step: {"zero_exponent": step.zero_exponent - 1},
    "accumulators normalised": lambda step: {"accumulator_emin": step.result.emin - 3},
    "operands normalised": lambda step: {"operand_emin": -150},
    "zeros keep their sign": lambda step: {"signed_zero": True},
}
SEEN = [
    pytest.param(unit, change, id=f"{unit.name}-{name}")
    for unit in FLOAT_UNITS
    if unit.name in ("hopper.mma.binary16.binary16.binary16", "hopper.mma.bfloat16.bfloat16.binary32")
    for name, change in PARAMETERS.items()
]


@pytest.mark.parametrize(("unit", "change"), SEEN)
def test_no_other_unit_would_pass(unit, change):
    """The inputs above see every parameter: a unit that differs in one is told from its model."""
    other = replace(unit, step=replace(unit.step, **change(unit.step)))
    depth = model(unit).depth
    found = sweeps(unit.a, unit.b, unit.output, 2 * depth, (0, 1, 2), 1)
    more = designed(unit.a, unit.b, unit.output, 100, 2 * depth, depth, 1)
    assert any((batched(other, *codes) != batched(unit, *codes)).any() for codes in (found, more))


MIXED = [u for u in FLOAT_UNITS if getattr(u.step, "order", ()) and u.a != u.b]


@pytest.mark.parametrize("unit", MIXED, ids=str)
def test_operands_converted_to_binary16_align_as_binary16(unit):
    """2^-9 is subnormal in e4m3fn and normal in binary16: times 2^15 it aligns at exponent 6, not 9."""
    x, y = np.zeros((1, 32)), np.zeros((1, 32))
    x[0, [0, 1, 4]] = 2.0**-9
    y[0, [0, 1, 4]] = 2.0**15, -(2.0**15), 2.0**-9
    a, b = (x, y) if unit.a.name == "e4m3fn" else (y, x)
    assert float(mma(unit, a, b.T)[0, 0]) == 2.0**-18


INTEGER_UNITS = [unit for unit in UNITS if not isinstance(unit.a, Format)]


@pytest.mark.parametrize("unit", INTEGER_UNITS, ids=str)
def test_integer_unit_equals_python_integers(unit):
    """Sums modulo 2^32, or clamped after each instruction; accumulators at the ends of the range among them."""
    depth = int(unit.shapes[-1].rpartition("k")[2])
    a, b, c = g.vectors("raw", *(g.Layout(x.name, x.bits) for x in (unit.a, unit.b, unit.output)), 24, 2 * depth + 5, 1)
    c[::3], c[1::3] = 2**31 - 1 - c[::3] % 2**9, 2**31 + c[1::3] % 2**9
    got = batched(unit, a, b, c)

    def value(code, kind):
        return int(code) - (1 << kind.bits) * (kind.signed and int(code) >> (kind.bits - 1))

    for i in range(len(c)):
        total = value(c[i], unit.output)
        for k in range(0, a.shape[1], depth):
            pairs = zip(a[i, k : k + depth], b[i, k : k + depth])
            total += sum(value(x, unit.a) * value(y, unit.b) for x, y in pairs)
            if unit.name.endswith("satfinite"):
                total = min(max(total, -(2**31)), 2**31 - 1)
        assert int(got[i]) == total % 2**32
