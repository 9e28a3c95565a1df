"""Whole products: order of K, promotion, split K, epilogue, batches, threads, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import floatemu as fe
from floatemu.matrix import find, gemm, mma
from floatemu.matrix.generator import LAYOUTS, operands

WGMMA8 = find("H100", "e4m3fn", "fp32", "wgmma")
HALF = find("A100", "fp16", "fp32")


def drawn(name: str, m: int, n: int, k: int, distribution: str = "adversarial") -> tuple[Any, Any]:
    """Values a (m, k) and b (k, n)."""
    layout = LAYOUTS[name]
    a, b = operands(distribution, layout, layout, LAYOUTS["binary32"], m, n, k, seed=5)
    return fe.decode(a, name), fe.decode(b, name).T


def same(x: Any, y: Any) -> bool:
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


def test_without_promotion_it_is_the_chained_instruction() -> None:
    a, b = drawn("e4m3fn", 5, 7, 192)
    assert same(gemm(WGMMA8, a, b), mma(WGMMA8, a, b))


def test_k_ascends_in_blocks_of_the_instruction() -> None:
    """2^20 first takes what follows below its last bit; last, it meets a sum that counts."""
    a = np.ones((1, 64))
    b = np.full((64, 1), 2.0**-6)
    b[0], late = 2.0**10, b.copy()
    late[0], late[63] = 2.0**-6, 2.0**10
    a[0, 0] = 2.0**10
    other = np.ones((1, 64))
    other[0, 63] = 2.0**10
    first, last = float(gemm(HALF, a, b)[0, 0]), float(gemm(HALF, other, late)[0, 0])
    # In the first block of 8 the unit 2^(20 - 24) keeps nothing of 2^-6; nor do later ones.
    assert first == 2.0**20
    # Seven blocks of 8 gather 56 2^-6, exactly; then 7 of 2^-6 vanish beside 2^20, and 2^(20 - 23) keeps 0.875.
    assert last == 2.0**20 + 0.875


@pytest.mark.parametrize("every", [32, 64, 128])
def test_promotion_adds_partial_sums_in_binary32(every: int) -> None:
    a, b = drawn("e4m3fn", 4, 6, 320)
    total = np.zeros((4, 6))
    for k in range(0, 320, every):
        part = mma(WGMMA8, a[:, k : k + every], b[k : k + every]).astype(np.float64)
        exact = np.vectorize(lambda x, y: Fraction(x) + Fraction(y), otypes=[object])(total, part)
        total = np.array([float(fe.round(v, "binary32")) for v in exact.ravel()]).reshape(4, 6)
    assert same(gemm(WGMMA8, a, b, promote_every=every), total.astype(np.float32))


def test_g1_a_promotion_interval_of_128_is_visible() -> None:
    """A small product survives beside a large one only from another promotion interval (DeepSeek-V3's N_C)."""
    k = 512
    a = np.zeros((k, k))
    a[:, 0] = 256
    a[np.arange(1, k), np.arange(1, k)] = 2.0**-6
    b = np.full((k, 1), 2.0**-6)
    out = gemm(WGMMA8, a, b, promote_every=128)[:, 0] - np.float32(4)
    assert (out[1:128] == 0).all()
    assert (out[128:] == np.float32(2.0**-12)).all()
    assert (gemm(WGMMA8, a, b)[:, 0] == 4).all()


def test_g2_split_k_adds_partials_to_nearest() -> None:
    """1 + 1.5 2^-24 is cut to 1 in one accumulator, and rounds to 1 + 2^-23 as two partial sums."""
    k = 64
    a = np.zeros((k, k))
    a[:, 0] = 4096
    a[np.arange(1, k), np.arange(1, k)] = 1.5 * 2.0**-12
    b = np.full((k, 1), 2.0**-12)
    assert (gemm(HALF, a, b)[:, 0] == 1).all()
    out = gemm(HALF, a, b, split_k=2)[:, 0]
    assert (out[1 : k // 2] == 1).all()
    assert (out[k // 2 :] == np.float32(1 + 2.0**-23)).all()


def test_parts_of_k_are_whole_instructions() -> None:
    a, b = drawn("binary16", 3, 3, 40)
    parts = [mma(HALF, a[:, s], b[s]).astype(np.float64) for s in (slice(0, 16), slice(16, 32), slice(32, 40))]
    expected = fe.add(fe.add(parts[0], parts[1], "binary32"), parts[2], "binary32")
    assert same(gemm(HALF, a, b, split_k=3), expected.astype(np.float32))


def test_epilogue_is_one_fused_multiply_add_and_one_cast() -> None:
    a, b = drawn("binary16", 4, 4, 32)
    c = np.asarray(fe.round(np.linspace(-3, 5, 16).reshape(4, 4), "binary16"))
    alpha, beta = float(np.float32(0.3)), float(np.float32(-1.7))
    total = gemm(HALF, a, b).astype(np.float64)
    scaled = np.vectorize(lambda x: float(fe.round(Fraction(beta) * Fraction(x), "binary32")))(c)
    exact = np.vectorize(lambda t, s: Fraction(alpha) * Fraction(t) + Fraction(s), otypes=[object])(total, scaled)
    single = np.array([float(fe.round(v, "binary32")) for v in exact.ravel()]).reshape(4, 4)
    out = gemm(HALF, a, b, c, alpha=alpha, beta=beta, output="fp16")
    assert same(out, fe.round(single, "binary16").astype(np.float32))
    codes = gemm(
        HALF, fe.encode(a, "fp16"), fe.encode(b, "fp16"), fe.encode(c, "fp16"), alpha=alpha, beta=beta, output="fp16",
        codes=True,
    )  # fmt: skip
    assert same(codes, fe.encode(single, "binary16"))


@pytest.mark.parametrize("unit", [WGMMA8, HALF, find("MI300", "fp16", shape="32x32x8"), find("A100", "int8", "int32")])
def test_threads_strides_and_batches_change_no_bit(unit: Any) -> None:
    if unit.output.name == "int32":
        a, b = np.arange(-70, 70).reshape(2, 7, 10) % 128, np.arange(120).reshape(10, 12) - 60
    else:
        a, b = drawn(unit.a.name, 14, 12, 40)
        a = a.reshape(2, 7, 40)
    expected = np.stack([mma(unit, a[0], b), mma(unit, a[1], b)])
    assert same(mma(unit, a, b, threads=3), expected)
    assert same(mma(unit, np.asfortranarray(a), b.T.copy().T[:, ::-1][:, ::-1]), expected)
    assert same(gemm(unit, a[None], b[None, None]), expected[None])


@pytest.mark.parametrize("shape", [(0, 3, 8), (3, 0, 8), (3, 2, 0), (1, 1, 1), (1, 5, 9), (5, 1, 9)])
def test_empty_and_thin_products(shape: tuple[int, int, int]) -> None:
    m, n, k = shape
    out = gemm(HALF, np.ones((m, k)), np.ones((k, n)))
    assert same(out, np.full((m, n), k, np.float32))
    assert same(mma(HALF, np.ones((m, k)), np.ones((k, n)), np.ones((m, n))), np.full((m, n), k + 1, np.float32))


def test_values_of_another_format_are_refused_with_their_place() -> None:
    a = np.ones((2, 4))
    a[1, 2] = 1 / 3
    with pytest.raises(fe.UnsupportedError, match=r"a\[1, 2\] = 0.333.*binary16.*fe.round\(a, 'binary16'\)"):
        mma(HALF, a, np.ones((4, 1)))
    with pytest.raises(fe.UnsupportedError, match=r"c\[0, 0\]"):
        mma(find("A100", "fp16", "fp16"), np.ones((1, 4)), np.ones((4, 1)), [[1 + 2.0**-12]])
    with pytest.raises(fe.UnsupportedError, match=r"int8's -128\.\.127"):
        mma(find("A100", "int8", "int32"), [[200]], [[1]])
    with pytest.raises(fe.UnsupportedError, match="takes integers"):
        mma(find("A100", "int8", "int32"), [[1.0]], [[1]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"a": np.ones((2, 3)), "b": np.ones((4, 2))}, "shapes do not fit"),
        ({"a": np.ones(3), "b": np.ones((3, 2))}, "shapes do not fit"),
        ({"promote_every": 7}, "multiple of 8"),
        ({"split_k": 0}, "positive integer"),
        ({"threads": 0}, "positive integer"),
        ({"alpha": 0.1}, "no binary32 number"),
        ({"beta": 1.0}, "needs c"),
        ({"scale_a": np.ones((2, 1))}, "takes no block scales"),
        ({"unit": "H100"}, "give a MatrixUnit"),
        ({"unit": find("A100", "fp16", "fp16"), "split_k": 2}, "accumulates in binary16"),
        ({"a": np.array([["x"]]), "b": np.ones((1, 1))}, "a has dtype"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_bad_input_is_one_clear_error(arguments: dict[str, Any], message: str) -> None:
    given = {"unit": HALF, "a": np.ones((2, 8)), "b": np.ones((8, 2)), **arguments}
    with pytest.raises(fe.FloatEmuError, match=message):
        gemm(given.pop("unit"), given.pop("a"), given.pop("b"), **given)


def test_scales_must_be_there_and_fit() -> None:
    unit = find("B200", "e4m3fn", "fp32", "tcgen05", scale="e8m0fnu")
    a, b = np.ones((2, 64)), np.ones((64, 3))
    out = mma(unit, a, b, scale_a=np.full((2, 2), 2.0), scale_b=np.full((2, 3), 0.25))
    assert same(out, np.full((2, 3), 32, np.float32))
    with pytest.raises(fe.UnsupportedError, match=r"needs scale_a \(\.\.\., M, K / 32\)"):
        mma(unit, a, b)
    with pytest.raises(fe.UnsupportedError, match=r"scale_a has shape \(2, 1\); accepted: \(\.\.\., 2, 2\)"):
        mma(unit, a, b, scale_a=np.ones((2, 1)), scale_b=np.ones((2, 3)))
    with pytest.raises(fe.UnsupportedError, match=r"scale_b\[0, 0\] = 3.0 is no value of e8m0fnu"):
        mma(unit, a, b, scale_a=np.ones((2, 2)), scale_b=np.full((2, 3), 3.0))


def test_nan_codes_are_the_hardware_s() -> None:
    nan = fe.encode([[np.nan]], "binary16")
    one = fe.encode([[1.0]], "binary16")
    assert mma(HALF, nan, one, codes=True).tolist() == [[0x7FFFFFFF]]
    assert mma(find("A100", "fp16", "fp16"), nan, one, codes=True).tolist() == [[0x7FFF]]
    # tf32 reads the upper 19 bits of its register: a payload below them turns a NaN into an infinity.
    tf32 = find("A100", "tf32", "fp32")
    register = np.array([[0x7F800001]], np.uint32)
    assert mma(tf32, register, fe.encode([[1.0]], "binary32"), codes=True).tolist() == [[0x7F800000]]


def test_integers_wrap_or_clamp() -> None:
    wrap, clamp = find("A100", "int8", "int32"), find("A100", "int8", "int32", saturate=True)
    a, b, c = np.full((1, 32), 127), np.full((32, 1), 127), np.array([[2**31 - 1]])
    assert mma(wrap, a, b, c).tolist() == [[2**31 - 1 + 32 * 127 * 127 - 2**32]]
    assert mma(clamp, a, b, c).tolist() == [[2**31 - 1]]
    assert mma(wrap, a, b, c).dtype == np.int32
    mixed = find("A100", ("uint8", "int8"), "int32")
    assert mma(mixed, np.array([[0xFF]]), np.array([[0xFF]]), codes=True).tolist() == [[2**32 - 255]]
