"""Codes packed to bits, and scales swizzled: by definition, one bit and one scale at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import floatemu as fe
from floatemu.block import pack, swizzle, unpack, unswizzle

FORMATS = ["e2m1fn", "e2m3fn", "e3m2fn", "e4m3fn", "binary16", "tf32", "binary32", *(f"p{k}" for k in range(3, 16))]


def format_of(name):
    return fe.Format(name, k=int(name[1:]), p=2) if name.startswith("p") else fe.get_format(name)


def as_bits(codes, k, order):
    """The stream of bits, first bit first: lowest first in each byte if low, highest first if high."""
    text = "".join(f"{c:0{k}b}"[:: -1 if order == "low" else 1] for c in codes)
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8][:: -1 if order == "low" else 1], 2) for i in range(0, len(text), 8)]


@given(st.data())
def test_bits_by_definition_and_back(data):
    fmt = format_of(data.draw(st.sampled_from(FORMATS)))
    order = data.draw(st.sampled_from(["low", "high"]))
    codes = data.draw(st.lists(st.integers(0, 2**fmt.k - 1), max_size=20))
    packed = pack(np.array(codes, np.uint64), fmt, order)
    width = fmt.k if fmt.k in (3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 32) else 16 if fmt.k < 16 else 32
    want = as_bits(codes, width, order)
    assert packed.tolist()[: len(want)] == want
    assert not packed[len(want) :].any()
    back = unpack(packed, fmt, len(codes), order)
    assert back.tolist() == codes
    assert back.dtype == fe.encode(1.0, fmt).dtype


def test_two_to_a_byte_and_four_to_three_bytes():
    assert pack([0x1, 0x2, 0x3, 0x4], "e2m1fn").tolist() == [0x21, 0x43]
    assert pack([0x1, 0x2, 0x3, 0x4], "e2m1fn", "high").tolist() == [0x12, 0x34]
    word = 0b000001 | 0b000010 << 6 | 0b000011 << 12 | 0b100000 << 18
    assert pack([1, 2, 3, 32], "e2m3fn").tolist() == list(word.to_bytes(3, "little"))
    word = 0b000001 << 18 | 0b000010 << 12 | 0b000011 << 6 | 0b100000
    assert pack([1, 2, 3, 32], "e2m3fn", "high").tolist() == list(word.to_bytes(3, "big"))


def test_rows_begin_with_a_byte_of_their_own():
    codes = np.arange(15, dtype=np.uint8).reshape(3, 5)
    packed = pack(codes, "e2m1fn")
    assert packed.shape == (3, 3)
    assert np.array_equal(packed[1], pack(codes[1], "e2m1fn"))
    assert np.array_equal(unpack(packed, "e2m1fn", 5), codes)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pack([16], "e2m1fn"), fe.FormatError, "codes hold 16..16; those of e2m1fn are 0..15"),
        (lambda: pack([-1], "e2m1fn"), fe.FormatError, "codes hold -1"),
        (lambda: pack([1.0], "e2m1fn"), fe.UnsupportedError, "give an array of integers"),
        (lambda: pack([1], "e2m1fn", "middle"), fe.UnsupportedError, "order='middle' is unknown; accepted: 'low'"),
        (lambda: unpack(np.zeros(2, np.uint8), "e2m1fn", 1), fe.FormatError, "2 bytes a row, but 1 codes .* take 1"),
        (lambda: unpack(np.zeros(2), "e2m1fn", 1), fe.UnsupportedError, "give an array of uint8"),
        (lambda: unpack(np.array([0x21], np.uint8), "e2m1fn", 1), fe.FormatError, "bits behind the last"),
        (lambda: swizzle(np.zeros((2, 2))), fe.UnsupportedError, "give a matrix of uint8"),
        (lambda: unswizzle(np.zeros(511, np.uint8), 1, 1), fe.FormatError, "take 512 bytes"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(("rows", "blocks"), [(1, 1), (128, 4), (129, 5), (300, 9), (0, 3)])
def test_swizzled_scales_stand_where_the_formula_says(rows, blocks):
    """cuBLAS documentation, "1D Block Scaling Factors Layout"."""
    scales = np.random.default_rng(0).integers(1, 256, (rows, blocks), dtype=np.uint8)
    flat = swizzle(scales)
    assert flat.size == 512 * -(-rows // 128) * -(-blocks // 4)
    for r in range(rows):
        for c in range(blocks):
            tile = (r // 128) * -(-blocks // 4) + c // 4
            assert flat[tile * 512 + (r % 32) * 16 + (r % 128 // 32) * 4 + c % 4] == scales[r, c]
    assert np.count_nonzero(flat) == rows * blocks
    assert np.array_equal(unswizzle(flat, rows, blocks), scales)


def test_block_arrays_are_packed():
    x = np.random.default_rng(0).standard_normal((5, 70)).astype(np.float32)
    for name in ("mxfp4", "mxfp6_e2m3", "mxfp8", "nvfp4", "fp8_1x128"):
        blocks = fe.quantize(x, name)
        for order in ("low", "high"):
            packed = blocks.pack(order)
            assert np.array_equal(unpack(packed.elements, blocks.format.element, 70, order), blocks.elements)
            assert packed.scales.dtype == np.uint8
    blocks = fe.quantize(x, "nvfp4")
    assert np.array_equal(unswizzle(blocks.pack(swizzle=True).scales, 5, 5), blocks.scales)
    for other in (fe.quantize(x, "nvfp4", axis=0), fe.quantize(x, "fp8_1x128"), fe.quantize(x, "fp8_128x128")):
        with pytest.raises(fe.UnsupportedError, match="have no tiles of 128 by 4"):
            other.pack(swizzle=True)
