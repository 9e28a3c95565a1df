"""The torch level, as far as a CPU can show it: codes of tensors, hashes made with tensors, calls and their padding."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from capture import casts, gemm, torch_level  # noqa: E402
from capture.section import Clock, Section  # noqa: E402
from capture.vectors import LAYOUTS, generator, probe_vectors  # noqa: E402

import floatemu as fe  # noqa: E402

EXPECTED = {"binary16": "SAT_NONE", "bfloat16": "SAT_NONE"}
"""Targets whose conversion from float32 by torch on a CPU is round to nearest even, without saturation."""


@pytest.mark.parametrize("target", torch_level.CASTS)
def test_hashes_made_with_tensors_are_those_of_the_results(target):
    """Chunks at both ends of the inputs, in the order of unsigned codes, across a batch's edge."""
    cast = torch_level.TorchCast(torch, target, "cpu")
    cast.batch = 2**13
    size = 2**12
    for first in (0, 2**20 - 3):  # the last inputs are NaN with the sign set
        found = cast.hashes(first, 3, size)
        for chunk, found_hash in enumerate(found, first):
            inputs = np.arange(chunk * size, (chunk + 1) * size, dtype=np.uint64).astype(np.uint32)
            assert int(found_hash) == generator.chunk_hash(chunk * size, cast.each(inputs))


@pytest.mark.parametrize("target", EXPECTED)
def test_results_are_torch_s_own(target):
    codes = generator.cast_samples(32)
    codes = codes[~np.isnan(codes.view(np.float32))]
    found = torch_level.TorchCast(torch, target, "cpu").each(codes)
    assert found.tolist() == fe.encode(codes.view(np.float32), target, saturation=EXPECTED[target]).tolist()


def test_mix_of_tensors_wraps_like_unsigned_words():
    words = generator.words(3, 1, 0, 1000)
    found = torch_level.mix(torch.from_numpy(words.view(np.int64))).numpy().view(np.uint64)
    assert found.tolist() == generator.mix(words).tolist()


@pytest.mark.parametrize("name", ["binary16", "bfloat16", "binary32", "e4m3fn", "e5m2", "int8", "int32"])
def test_codes_come_and_go(name):
    codes = generator.draw("raw", LAYOUTS[name], (4, 6), 1, 0, LAYOUTS["binary32"])
    tensor = torch_level.to_torch(torch, codes, name, "cpu")
    assert tensor.dtype == getattr(torch, torch_level.DTYPES[name])
    assert torch_level.from_torch(torch, tensor, name).tobytes() == codes.tobytes()
    if name == "binary16":
        assert tensor.numpy().tobytes() == codes.tobytes()


def library():
    return torch_level.TorchLibrary(torch, 90, "cpu")


def test_calls_cover_what_is_to_be_read():
    found = {(call.call, call.a, call.b, call.d, tuple(call.options.items())) for call in library().calls()}
    assert {
        ("torch.mm", "binary16", "binary16", "binary32", (("out_dtype", "float32"),)),
        ("torch.mm", "tf32", "tf32", "binary32", (("allow_tf32", True),)),
        ("torch._int_mm", "int8", "int8", "int32", ()),
        ("torch._scaled_mm", "e4m3fn", "e4m3fn", "binary32", (("use_fast_accum", True),)),
        ("torch._scaled_mm", "e4m3fn", "e5m2", "binary32", (("use_fast_accum", False),)),
        ("torch._scaled_mm", "e4m3fn", "e4m3fn", "bfloat16", (("use_fast_accum", False), ("scales", "row-wise"))),
    } <= found
    assert not any(call.call == "torch._scaled_mm" for call in torch_level.TorchLibrary(torch, 80, "cpu").calls())
    assert len({call.name for call in library().calls()}) == len(list(library().calls()))


def test_a_call_multiplies_rows_of_a_with_columns_of_b():
    """Small integers, 5 rows of 3 columns: every sum is exact, whatever the order."""
    call = next(call for call in library().calls() if call.a == "tf32")
    words = generator.words(1, 0, 0, 8 * 32) % np.uint64(7)
    values = words.astype(np.int64).reshape(8, 32) - 3
    codes = np.array([[probe_vectors.code_of(LAYOUTS["binary32"], int(x)) for x in row] for row in values], np.uint32)
    before = torch.backends.cuda.matmul.allow_tf32
    found, kernels = call.run(codes[:5], codes[5:])
    assert kernels == []
    assert found.view(np.float32).tolist() == (values[:5] @ values[5:].T).tolist()
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_names_of_kernels_are_those_the_profiler_saw(monkeypatch):
    """Each once, without copies; none where the profiler fails."""

    class Event:
        def __init__(self, name, kind):
            self.name, self.device_type = name, kind

    class Profile:
        def __init__(self, activities):
            assert activities == [torch.profiler.ProfilerActivity.CUDA]

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def events(self):
            device, host = torch.autograd.DeviceType.CUDA, torch.autograd.DeviceType.CPU
            names = ["nvjet_a", "Memcpy HtoD", "nvjet_a", "splitKreduce"]
            return [*(Event(name, device) for name in names), Event("cudaLaunchKernel", host)]

    runs = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.profiler, "profile", Profile)
    assert library()._kernels(lambda: runs.append(0)) == ["nvjet_a", "splitKreduce"]
    assert len(runs) == 1

    def fail(activities):
        raise RuntimeError("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES")

    monkeypatch.setattr(torch.profiler, "profile", fail)
    assert library()._kernels(lambda: None) == []


def test_a_section_of_calls_records_results_and_refusals():
    """On a CPU some calls work and some do not; each is an answer."""
    section = Section("gemm")
    gemm.capture(library(), section, Clock(60), 90, (64,))
    states = {test["id"]: test["status"] for test in section.tests}
    assert states["torch.mm(allow_tf32=True).tf32.tf32.binary32/normal/k=64"] == "done"
    assert set(states.values()) <= {"done", "failed"}
    for test in section.tests:
        assert (test["reason"] is None) == (test["status"] == "done")
        assert test["unit"].startswith("hopper.wgmma.")


def test_a_conversion_becomes_a_test():
    section = Section("casts")
    test = casts.entry("x.to(torch.float16)", "torch", "binary32", "binary16", None, None)
    casts.attempt(section, test, torch_level.TorchCast(torch, "binary16", "cpu"), Clock(60), 1)
    (made,) = section.tests
    assert made["status"] == "done"
    assert section.arrays[made["chunks"]].tolist() == [casts.CHECKED]
    assert section.arrays[made["samples"]["d"]].dtype == np.uint16


def test_a_wrong_hash_is_noticed():
    class Wrong(torch_level.TorchCast):
        def hashes(self, first, count, size):
            return super().hashes(first, count, size) + np.uint64(1)

    section = Section("casts")
    test = casts.entry("x.to(torch.float16)", "torch", "binary32", "binary16", None, None)
    casts.attempt(section, test, Wrong(torch, "binary16", "cpu"), Clock(60), 1)
    assert [(made["status"], made["reason"]) for made in section.tests] == [("failed", casts.UNLIKE)]
