"""Shapes that products come in: any K, one row or column, nothing at all, batches, views, threads; clear refusals."""

import numpy as np
import pytest

import floatemu as fe
from floatemu._core import kernels
from floatemu.errors import FloatEmuError
from floatemu.format import Format
from floatemu.matrix import gemm, mma
from floatemu.matrix import generator as g

NAMES = (
    "volta.mma.binary16.binary16.binary32",
    "ampere.mma.tf32.tf32.binary32",
    "hopper.mma.binary16.binary16.binary16",
    "hopper.wgmma.e4m3fn.e5m2.binary32",
    "hopper.mma.e4m3fn.e4m3fn.binary32",
    "hopper.mma.binary64.binary64.binary64",
    "hopper.wgmma.int8.uint8.int32",
    "ampere.mma.uint4.int4.int32.satfinite",
    "blackwell.tcgen05.e3m2fn.e2m1fn.binary16",
    "cdna1.mfma.binary16.binary16.binary32",
    "cdna2.mfma.bfloat16.bfloat16.binary32",
    "cdna3.mfma.e4m3fnuz.e5m2fnuz.binary32",
)
BY_NAME = {unit.name: unit for unit in fe.matrix.UNITS}
UNITS = [BY_NAME[name] for name in NAMES]
each_unit = pytest.mark.parametrize("unit", UNITS, ids=str)


def codes(kind, shape, seed, register=None):
    """Codes of every kind, NaN and infinities among them."""
    rng = np.random.default_rng(seed)
    width = (register or kind).k if isinstance(kind, Format) else kind.bits
    dtype = next(t for t in (np.uint8, np.uint16, np.uint32, np.uint64) if np.dtype(t).itemsize * 8 >= width)
    return rng.integers(0, 2**width, shape, np.uint64).astype(dtype)


def operands(unit, m, n, k, seed=1):
    a = codes(unit.a, (m, k), seed, unit.register)
    b = codes(unit.b, (k, n), seed + 1, unit.register)
    return a, b, codes(unit.output, (m, n), seed + 2)


def one_by_one(unit, a, b, c):
    """The same product, an element at a time."""
    return np.array(
        [
            [mma(unit, a[i : i + 1], b[:, [j]], c[[i]][:, [j]], codes=True)[0, 0] for j in range(len(b[0]))]
            for i in range(len(a))
        ]
    )


@each_unit
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 1, 7), (1, 6, 33), (3, 4, 65), (2, 2, 50)], ids=str)
def test_matrix_is_its_elements(unit, shape):
    a, b, c = operands(unit, *shape)
    got = mma(unit, a, b, c, codes=True)
    assert got.shape == shape[:2]
    assert np.array_equal(got, one_by_one(unit, a, b, c))


@each_unit
def test_wide_matrix_is_its_elements(unit):
    """More columns than the core handles together, more K than it packs at once."""
    a, b, c = operands(unit, 2, 150, 300)
    got = mma(unit, a, b, c, codes=True)
    for j in (0, 1, 127, 128, 149):
        assert np.array_equal(got[:, [j]], mma(unit, a, b[:, [j]], c[:, [j]], codes=True))


@each_unit
def test_views_are_what_they_show(unit):
    a, b, c = operands(unit, 6, 5, 40)
    want = mma(unit, a, b, c, codes=True)
    strided = np.repeat(np.repeat(a, 2, 0), 3, 1)[::2, ::3]
    backward = b[::-1, ::-1].copy()[::-1, ::-1]
    assert not strided.flags.c_contiguous
    assert not backward.flags.c_contiguous
    assert np.array_equal(mma(unit, strided, backward, np.asfortranarray(c), codes=True), want)
    assert np.array_equal(mma(unit, np.asfortranarray(a), b.T.copy().T, c, codes=True), want)
    for x in (a, b, c):
        x.flags.writeable = False
    assert np.array_equal(mma(unit, a, b, c, codes=True), want)


@each_unit
def test_leading_axes_broadcast(unit):
    a, b, c = operands(unit, 3, 2, 20)
    stack = np.stack([a, a[::-1], a ^ 1])
    got = mma(unit, stack[:, None], np.stack([b, b[::-1]]), c, codes=True)
    assert got.shape == (3, 2, 3, 2)
    for i, left in enumerate(stack):
        for j, right in enumerate((b, b[::-1])):
            assert np.array_equal(got[i, j], mma(unit, left, right, c, codes=True))


@each_unit
@pytest.mark.parametrize("threads", [2, 4, 7])
def test_threads_change_no_bit(unit, threads):
    a, b, c = operands(unit, 5, 6, 70)
    assert np.array_equal(mma(unit, a, b, c, codes=True, threads=threads), mma(unit, a, b, c, codes=True))


@each_unit
@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (0, 0, 0), (0, 3, 0)], ids=str)
def test_no_rows_or_columns_give_an_empty_result(unit, shape):
    m, n, k = shape
    a, b, _ = operands(unit, m, n, k)
    for found in (mma(unit, a, b, codes=True), gemm(unit, a, b, codes=True)):
        assert found.shape == (m, n)


@each_unit
def test_no_products_leave_the_accumulator(unit):
    a, b, c = operands(unit, 3, 4, 0)
    assert np.array_equal(mma(unit, a, b, np.zeros_like(c), codes=True), np.zeros((3, 4)))
    if not isinstance(unit.output, Format):
        assert np.array_equal(mma(unit, a, b, c, codes=True), c)


@each_unit
def test_empty_batch(unit):
    a, b, _ = operands(unit, 2, 3, 8)
    assert mma(unit, np.stack([a] * 2)[:0], b, codes=True).shape == (0, 2, 3)


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.a.name != "binary64"], ids=str)
def test_zeros_at_the_end_of_k_change_nothing(unit):
    a, b, c = operands(unit, 4, 4, 37)
    if unit.instruction == "mfma":
        c &= c.dtype.type((1 << (c.dtype.itemsize * 8 - 1)) - 1)  # -0 + 0 is +0 there, rightly
    wide = np.zeros((4, 64), a.dtype), np.zeros((64, 4), b.dtype)
    wide[0][:, :37], wide[1][:37] = a, b
    assert np.array_equal(mma(unit, *wide, c, codes=True), mma(unit, a, b, c, codes=True))


WITH_NAN = [unit for unit in UNITS if isinstance(unit.a, Format) and unit.a.has_nan]


@pytest.mark.parametrize("unit", WITH_NAN, ids=str)
def test_nan_of_either_sign_is_one_nan(unit):
    register = unit.register or unit.a
    nan, sign = register.nan_code, register.sign_code if register.negative_zero else 0
    one = int(fe.encode(1.0, unit.b if unit.register is None else unit.register))
    a = np.array([[nan], [nan | sign]], np.uint64)
    got = mma(unit, a, np.array([[one]]), codes=True)
    assert got.tolist() == [[unit.nan_code]] * 2
    out = unit.output
    c = np.array([[out.nan_code], [out.nan_code | out.sign_code]], np.uint64)
    assert mma(unit, np.zeros((2, 1), int), np.array([[one]]), c, codes=True).tolist() == [[unit.nan_code]] * 2


REFUSED = {
    "vectors": ((3,), (3,), None, "shapes do not fit"),
    "inner lengths": ((2, 3), (4, 2), None, "shapes do not fit"),
    "accumulator": ((2, 3), (3, 2), (3, 3), "shapes do not fit"),
    "batches": ((2, 2, 3), (3, 3, 2), None, "shapes do not fit"),
}


@pytest.mark.parametrize(("a", "b", "c", "message"), REFUSED.values(), ids=REFUSED)
def test_shapes_that_do_not_fit_are_refused(a, b, c, message):
    with pytest.raises(FloatEmuError, match=message):
        mma(UNITS[0], np.zeros(a), np.zeros(b), None if c is None else np.zeros(c))


def test_a_wrong_accumulator_is_not_taken_for_a_wrong_shape():
    zeros = np.zeros((1, 1))
    with pytest.raises(FloatEmuError, match=r"^c.*is no value of binary32"):
        mma(UNITS[0], zeros, zeros, [[2.0**-200]])
    with pytest.raises(FloatEmuError, match=r"^c: "):
        mma(UNITS[2], zeros.astype(int), zeros.astype(int), [[2**16]], codes=True)


@pytest.mark.parametrize("threads", [0, -1, 1.5, None], ids=str)
def test_number_of_threads_is_checked(threads):
    with pytest.raises(FloatEmuError, match="threads"):
        mma(UNITS[0], np.zeros((1, 1)), np.zeros((1, 1)), threads=threads)


@pytest.mark.parametrize("unit", [u for u in fe.matrix.UNITS if u.scale is not None][::9], ids=str)
def test_scaled_units_need_scales_that_fit(unit):
    a, b = np.zeros((2, 64)), np.zeros((64, 3))
    left, right = np.ones((2, 64 // unit.block)), np.ones((64 // unit.block, 3))
    assert mma(unit, a, b, scale_a=left, scale_b=right).tolist() == [[0] * 3] * 2
    with pytest.raises(FloatEmuError, match="needs scale_a"):
        mma(unit, a, b)
    with pytest.raises(FloatEmuError, match="accepted"):
        mma(unit, a, b, scale_a=left[:, 1:], scale_b=right)
    assert mma(unit, a[:0], b, scale_a=left[:0], scale_b=right).shape == (0, 3)


def test_scales_are_for_units_that_take_them():
    with pytest.raises(FloatEmuError, match="takes no block scales"):
        mma(UNITS[0], np.zeros((1, 32)), np.zeros((32, 1)), scale_a=[[1.0]], scale_b=[[1.0]])


def test_generator_and_table_agree_on_formats():
    for unit in UNITS:
        if unit.a.name in g.LAYOUTS and isinstance(unit.a, Format):
            assert (g.LAYOUTS[unit.a.name].k, g.LAYOUTS[unit.a.name].p) == (unit.a.k, unit.a.p)


@pytest.mark.parametrize("shape", ["m64nNk32", "M64NNK32", " m64nnk32 "])
def test_shapes_of_instructions_are_found_in_any_case(shape):
    assert fe.matrix.find("H100", "e4m3fn", "fp32", shape=shape).instruction == "wgmma"


def test_one_compiled_loop_serves_every_fused_unit():
    """Plain, emulated in software, scaled, grouped; any layout of the operands."""
    a, b = np.asfortranarray(np.zeros((2, 128))), np.zeros((256, 3))[::2]
    for unit in fe.matrix.UNITS[::7]:
        if isinstance(unit.a, Format):
            blocks = 0 if unit.block is None else 128 // unit.block
            scales = {"scale_a": np.ones((2, blocks)), "scale_b": np.ones((blocks, 3))} if blocks else {}
            mma(unit, a, b, **scales)
    assert kernels.specialisations()["matrix fused"] == 1
