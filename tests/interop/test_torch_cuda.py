"""The faces and a recipe on a GPU: the bits that they have on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
import torch

import floatemu as fe
import floatemu.interop.torch as ft
from floatemu.interop.torch.check import check_torch

if not torch.cuda.is_available():
    pytest.skip("no GPU", allow_module_level=True)

SOURCES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e5m2, torch.int32)
FORMATS = ("binary16", "bfloat16", "tf32", "e4m3fn", "e5m2", "e4m3fnuz", "e8m0fnu", "e2m1fn", "binary8p3se")
MODES = ("rne", "TOWARD_ZERO", "TOWARD_POSITIVE", "TO_ODD", "STOCHASTIC_A", "STOCHASTIC_C")


def numbers(dtype, seed=0):
    """Of every magnitude: random bits, and integers as they are."""
    rng = np.random.default_rng(seed)
    if dtype is torch.int32:
        return torch.from_numpy(rng.integers(-(2**31), 2**31, 4096, dtype=np.int32))
    raw = rng.integers(0, 256, 4096 * dtype.itemsize, dtype=np.uint8)
    return torch.from_numpy(raw).view(dtype)


def same(a, b):
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    assert a.cpu().contiguous().view(torch.uint8).equal(b.cpu().contiguous().view(torch.uint8))


@pytest.mark.parametrize("source", SOURCES, ids=str)
@pytest.mark.parametrize("fmt", FORMATS)
def test_round_and_encode(source, fmt):
    x = numbers(source)
    for mode in MODES:
        options = {"nan": None if fe.get_format(fmt).has_nan else "max"}
        options |= {"random_bits": 9, "seed": 3, "stream": 4} if mode.startswith("STO") else {}
        for saturation in ("SAT_NONE", "SAT_FINITE"):
            for face in (ft.round, ft.encode):
                got = face(x.cuda(), fmt, mode, saturation=saturation, **options)
                assert got.device.type == "cuda"
                same(got, face(x, fmt, mode, saturation=saturation, **options))


def test_views_out_and_given_random_bits():
    x = numbers(torch.float32).view(64, 64)
    out = torch.empty(64, 64, device="cuda")
    same(ft.round(x.cuda().T, "e4m3fn", out=out), ft.round(x.T.contiguous(), "e4m3fn"))
    same(out, ft.round(x.T.contiguous(), "e4m3fn"))
    drawn = torch.arange(64 * 64).view(64, 64) % 256
    settings = {"random_bits": 8}
    got = ft.round(x.cuda(), "e5m2", "stochastic_b", random=drawn.cuda(), **settings)
    same(got, ft.round(x, "e5m2", "stochastic_b", random=drawn, **settings))


@pytest.mark.parametrize("fmt", ["e4m3fn", "binary16", "e8m0fnu", "binary8p3se"])
def test_decode(fmt):
    codes = torch.arange(256, dtype=torch.uint8 if fe.get_format(fmt).k == 8 else torch.int32)
    same(ft.decode(codes.cuda(), fmt), ft.decode(codes, fmt))


def test_products():
    a, b = (torch.randn(5, 64, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    same(ft.matmul(a.cuda(), b.cuda().T, "bfloat16"), ft.matmul(a, b.T, "bfloat16"))
    unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    x, y = (ft.round(one, "e4m3fn").to(torch.float8_e4m3fn) for one in (a, b))
    for face in (ft.mma, ft.gemm):
        same(face(unit, x.cuda(), y.cuda().T), face(unit, x, y.T))
    with pytest.raises(fe.UnsupportedError, match="apart: a on cuda:0, b on cpu"):
        ft.matmul(a.cuda(), b.T, "bfloat16")


def test_straight_through_gradients():
    x = numbers(torch.float32).nan_to_num(0.0, 1.0, -1.0)
    grads = []
    for device in ("cpu", "cuda"):
        own = x.to(device, copy=True).requires_grad_()
        ft.ste_round(own, "e4m3fn", saturation="SAT_FINITE").sum().backward()
        grads.append(own.grad)
    same(*grads)


@pytest.mark.parametrize(
    ("name", "largest"), [("fp8_tensor", 3.5), ("fp8_1x128", 3.5), ("mxfp8", 4.0), ("nvfp4", 2.625)]
)
def test_a_recipe_whose_products_are_exact(name, largest):
    """Small integers, scaled by powers of two: no order of additions shows, so that the bits must be the CPU's.

    448 / 3.5 and 448 * 6 / 2.625 are powers of two: the scales of E4M3, and of a tensor in NVFP4, whose blocks all
    have the scale 448 then.
    """
    generator = torch.Generator().manual_seed(7)
    x = torch.randint(-2, 3, (8, 128), generator=generator).float()
    w = torch.randint(-2, 3, (4, 128), generator=generator).float()
    x[:, ::16] = w[:, ::16] = largest
    found = []
    for device in ("cpu", "cuda"):
        layer = torch.nn.Linear(128, 4, bias=False).to(device)
        layer.weight.data.copy_(w)
        with ft.emulate(layer, name):
            y = layer(x.to(device))
        found.append(y.detach())
    assert torch.equal(found[0] * 2**20, (found[0] * 2**20).round())
    same(*found)


def test_tallies():
    x = numbers(torch.float32).nan_to_num(0.0, 1.0, -1.0).double()
    one, two = (ft.round_with_tally(x.to(device), "e4m3fn", x.to(device), nan="max") for device in ("cpu", "cuda"))
    same(one[0], two[0])
    for field, here, there in zip(ft.Tally._fields, one[1], two[1], strict=True):
        assert here == there or abs(here - there) <= 1e-12 * abs(here), field


def test_every_deviation_of_this_torch_on_the_gpu_is_known():
    found = check_torch("cuda")
    assert {test.id: test.first for test in found.tests if test.status == "fail"} == {}
