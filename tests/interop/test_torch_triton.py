"""The Triton kernel: the bits of the kernels of the CPU, run by Triton's interpreter; and code for a GPU.

Triton's interpreter takes some tens of milliseconds a launch, whatever the size: numbers are put together.
"""

import re

import numpy as np
import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
pytest.importorskip("triton", reason="triton, which makes code for a GPU, is not installed")
import torch
import triton
import triton.language as tl
from torch_numbers import HALVES, NARROW, SINGLES, near
from triton.backends.compiler import GPUTarget

import floatemu as fe
import floatemu.interop.torch as ft
from floatemu._core import rounding as core
from floatemu.interop.torch import elementwise, faces, triton_kernel
from floatemu.projecting import Request

MODES = list(fe.Rounding)


@pytest.fixture(scope="module")
def interpreter():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        triton_kernel.compiled.cache_clear()
        made = triton_kernel.compiled()
        triton_kernel.compiled.cache_clear()
    return made


@pytest.fixture
def language():
    """Put Triton's language back afterwards: up to 3.5.0 its interpreter stays in it, and the compiler is lost."""
    places = (tl, tl.core, tl.math, tl.core.tensor, tl.core.dtype, tl.core.tensor_descriptor_base)
    before = [dict(vars(place)) for place in places]
    yield
    for place, names in zip(places, before, strict=True):
        for name, value in list(vars(place).items()):
            if name not in names:
                delattr(place, name)
            elif value is not names[name]:
                setattr(place, name, names[name])


@pytest.fixture
def interpreted(monkeypatch, interpreter, language):
    """Every tensor goes through the kernel, which Triton's interpreter runs."""
    monkeypatch.setattr(triton_kernel, "compiled", lambda: interpreter)
    monkeypatch.setattr(triton_kernel, "BLOCK", 1 << 17)
    monkeypatch.setattr(triton_kernel, "serves", lambda device: True)


def project(x, coded, *settings):
    return elementwise.project(torch.from_numpy(x), Request.make(*settings), coded=coded).numpy()


@pytest.mark.parametrize("name", NARROW)
def test_every_binary16_number_and_what_is_near_values_and_ties(name, interpreted):
    fmt = fe.FORMATS[name]
    singles, doubles = near(fmt)
    x = np.concatenate([HALVES.astype(np.float32), singles])
    # Every mode in turn on one format or another; nearest-even, a directed and a stochastic one on each.
    turn = NARROW.index(name)
    for mode in (MODES[0], MODES[2 + turn % 4], MODES[6 + turn % 3]):
        n = 9 if mode.stochastic else None
        options = {"random_bits": n, "seed": 3, "stream": 4, "nan": "max", "dtype": np.float32}
        got = project(x, False, fmt, mode, "SAT_NONE", n, None, 3, 4, "max")
        assert got.tobytes() == fe.round(x, fmt, mode, **options).tobytes()
    mode = MODES[turn % len(MODES)]
    n = 32 if mode.stochastic else None
    got = project(doubles, True, fmt, mode, "SAT_FINITE", n, None, 2**63 + 5, -1, "zero")
    want = fe.encode(doubles, fmt, mode, saturation="SAT_FINITE", random_bits=n, seed=2**63 + 5, stream=-1, nan="zero")
    assert got.dtype == want.dtype
    assert np.array_equal(got, want)


def test_the_faces_on_tensors_of_every_kind(interpreted, monkeypatch):
    monkeypatch.setattr(faces, "_elsewhere", lambda x, fmt: elementwise.carrier(x.dtype, fmt) is not None)
    for dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.int16):
        words = torch.arange(256, dtype=torch.uint8).repeat(4)
        x = words.view(dtype) if dtype.itemsize > 1 else words[:256].view(dtype)
        for fmt in ("e5m2",):
            want = fe.round(x.double().numpy(), fmt, "TOWARD_NEGATIVE")
            assert np.array_equal(ft.round(x, fmt, "TOWARD_NEGATIVE").double().numpy(), want, equal_nan=True)
            codes = ft.encode(x, fmt, "TOWARD_NEGATIVE")
            assert np.array_equal(codes.numpy(), fe.encode(want, fmt))


def test_shapes_blocks_and_the_callers_random_integers(interpreted, monkeypatch):
    monkeypatch.setattr(triton_kernel, "BLOCK", 16)
    x = SINGLES[:60].reshape(3, 20)
    given = np.arange(20) % 8
    want = fe.round(x, "e5m2", "stochastic_b", random=given, random_bits=3)
    got = project(x, False, fe.get_format("e5m2"), "stochastic_b", "SAT_NONE", 3, given, None, 0, None)
    assert got.tobytes() == want.tobytes()
    # The place in the tensor, not in memory, is what random bits are of.
    turned = np.ascontiguousarray(x.T)
    want = fe.round(turned, "e5m2", "stochastic_a", seed=1)
    request = Request.make(fe.get_format("e5m2"), "stochastic_a", "SAT_NONE", None, None, 1, 0, None)
    got = elementwise.project(torch.from_numpy(x).T, request, coded=False).contiguous().numpy()
    assert got.tobytes() == want.tobytes()
    assert project(x[:0], True, fe.get_format("e5m2"), "rne", "SAT_NONE", None, None, None, 0, None).shape == (0, 20)


def test_one_compilation_serves_every_format():
    """What differs between formats is in memory, and the count is not looked at."""
    kernel = triton_kernel.compiled().kernel
    of_formats = {"word", "t", "mode", "origin", "coded", "block"}
    assert {p.name for p in kernel.params if p.is_constexpr} == of_formats
    assert [p.name for p in kernel.params if p.do_not_specialize] == ["count"]


@pytest.mark.parametrize(
    ("t", "pointer", "mode"), [(23, "*i32", core.NE), (23, "*i32", core.SC), (52, "*i64", core.TP)]
)
def test_code_for_a_gpu_is_made(t, pointer, mode):
    """No GPU is needed to compile for one: Triton's compiler takes the text, not its interpreter alone."""
    made = triton_kernel.compiled()
    origin = triton_kernel.DRAWN if mode >= core.SA else triton_kernel.NONE
    constants = {"word": made.words[t], "t": t, "mode": mode, "origin": origin, "coded": True}
    constants |= {"block": triton_kernel.BLOCK}
    pointers = {"source": pointer, "result": "*i8", "constants": "*i64", "random": pointer, "count": "i32"}
    source = triton.compiler.ASTSource(
        fn=made.kernel, signature=pointers | dict.fromkeys(constants, "constexpr"), constexprs=constants
    )
    code = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False}).asm["ptx"]
    assert ".entry _kernel" in code
    # The text is of integers: no floating-point instruction may have come in.
    assert not re.search(r"\.(rn|rz|ftz)?\.?f(16|32|64)\b", code)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_on_a_gpu(mode):
    n = 9 if mode.stochastic else None
    assert triton_kernel.serves(torch.device("cuda", 0))
    for name in NARROW:
        for x in (HALVES.astype(np.float32), *near(fe.FORMATS[name])):
            got = ft.round(torch.from_numpy(x).cuda(), name, mode, random_bits=n, seed=3, stream=4, nan="max").cpu()
            want = fe.round(x, name, mode, random_bits=n, seed=3, stream=4, nan="max", dtype=got.numpy().dtype)
            assert got.numpy().tobytes() == want.tobytes()
