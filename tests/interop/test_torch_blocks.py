"""Block arrays as tensors: torch's own dtypes, shared memory, and the numbers that torch reads."""

import numpy as np
import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
import torch

import floatemu as fe
import floatemu.interop.torch as ft

DTYPES = {
    "mxfp8_e4m3": (torch.float8_e4m3fn, torch.float8_e8m0fnu),
    "mxfp8_e5m2": (torch.float8_e5m2, torch.float8_e8m0fnu),
    "mxfp4": (torch.float4_e2m1fn_x2, torch.float8_e8m0fnu),
    "nvfp4": (torch.float4_e2m1fn_x2, torch.float8_e4m3fn),
    "fp8_1x128": (torch.float8_e4m3fn, torch.float32),
    "mxfp6_e2m3": (torch.uint8, torch.float8_e8m0fnu),
    "mxint8": (torch.uint8, torch.float8_e8m0fnu),
}


def numbers(shape=(3, 64)):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", DTYPES)
def test_there_and_back(name):
    blocks = fe.quantize(numbers(), name)
    elements, scales = ft.block_tensors(blocks)
    assert (elements.dtype, scales.dtype) == DTYPES[name]
    assert scales.data_ptr() == blocks.scales.ctypes.data
    if name not in ("mxfp4", "nvfp4"):
        assert elements.data_ptr() == blocks.elements.ctypes.data
    back = ft.block_array(elements, scales, name, outer=blocks.outer)
    assert np.array_equal(back.elements, blocks.elements)
    assert np.array_equal(back.scales, blocks.scales)
    assert np.array_equal(back.dequantize(), blocks.dequantize())
    if name not in ("mxfp4", "nvfp4"):
        assert back.elements.ctypes.data == elements.data_ptr()


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp8_e5m2", "fp8_1x128"])
def test_torch_reads_the_same_numbers(name):
    blocks = fe.quantize(numbers((5, 256)), name)
    elements, scales = ft.block_tensors(blocks)
    whole = elements.double() * scales.double().repeat_interleave(blocks.format.block, -1)
    assert np.array_equal(whole.numpy(), blocks.dequantize())


def test_pairs_lie_low_code_first():
    blocks = fe.quantize(np.array([[1.0, 6.0]], np.float32), "mxfp4")
    elements, _ = ft.block_tensors(blocks)
    assert elements.view(torch.uint8).tolist() == [[0x72]]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ft.block_tensors(fe.quantize(numbers((2, 33)), "mxfp4")), "which must be even"),
        (lambda: ft.block_array(torch.ones(2), torch.ones(1), "mxfp8"), "elements has dtype torch.float32; accepted"),
        (lambda: ft.block_array([1], torch.ones(1), "mxfp8"), "elements is list, not a tensor"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(fe.UnsupportedError, match=words):
        call()
