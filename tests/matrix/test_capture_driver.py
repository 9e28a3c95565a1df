"""The launch through CUDA's driver, whose place a library of C callbacks takes: every call, argument and byte of it."""

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from capture import compiling, instructions, session  # noqa: E402
from capture.casts import OnDriver  # noqa: E402
from capture.driver import Cuda, DriverError, Output  # noqa: E402
from capture.section import Clock, Section  # noqa: E402
from capture.simulated import Simulated  # noqa: E402
from capture.table import CASTS, INSTRUCTIONS  # noqa: E402

Int, U32, U64, Size, Pointer = ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p
PROTOTYPES = {
    "cuInit": (U32,),
    "cuDeviceGet": (ctypes.POINTER(Int), Int),
    "cuDeviceGetName": (Pointer, Int, Int),
    "cuDeviceGetAttribute": (ctypes.POINTER(Int), Int, Int),
    "cuDriverGetVersion": (ctypes.POINTER(Int),),
    "cuDevicePrimaryCtxRetain": (ctypes.POINTER(Pointer), Int),
    "cuCtxSetCurrent": (Pointer,),
    "cuModuleLoadData": (ctypes.POINTER(Pointer), ctypes.c_char_p),
    "cuModuleGetFunction": (ctypes.POINTER(Pointer), Pointer, ctypes.c_char_p),
    "cuMemAlloc_v2": (ctypes.POINTER(U64), Size),
    "cuMemcpyHtoD_v2": (U64, Pointer, Size),
    "cuMemcpyDtoH_v2": (Pointer, U64, Size),
    "cuMemFree_v2": (U64,),
    "cuCtxSynchronize": (),
    "cuLaunchKernel": (Pointer, *[U32] * 7, Pointer, ctypes.POINTER(Pointer), Pointer),
    "cuGetErrorString": (Int, ctypes.POINTER(ctypes.c_char_p)),
}
KERNELS = {i.kernel: "aaaonn" if i.family == "wgmma" else "aaaon" for i in INSTRUCTIONS}
KERNELS |= {f"chunk_{cast.kernel}": "onn" for cast in CASTS} | {f"each_{cast.kernel}": "aon" for cast in CASTS}


class FakeLibrary:
    """The driver's functions as C functions without prototypes, as ctypes finds them; a simulation does the work."""

    def __init__(self, unit, fail=None):
        self.device, self.fail, self.calls = Simulated(unit), fail, []
        self.memory, self.functions, self.modules, self.freed = {}, [], [], 0
        self._kept = []
        for name, kinds in PROTOTYPES.items():
            callback = ctypes.CFUNCTYPE(Int, *kinds)(self._recorded(name))
            bare = ctypes.CFUNCTYPE(Int)(ctypes.cast(callback, Pointer).value)
            self._kept.append(callback)
            setattr(self, name, bare)

    def _recorded(self, name):
        def call(*arguments):
            self.calls.append(name)
            if name == self.fail:
                return 700
            return getattr(self, f"_{name}")(*arguments)

        return call

    def _cuInit(self, flags):
        return 0 if flags == 0 else 1

    def _cuDeviceGet(self, device, ordinal):
        device[0] = 5
        return 0 if ordinal == 0 else 101

    def _cuDeviceGetName(self, text, size, device):
        assert (size, device) == (256, 5)
        ctypes.memmove(text, b"fake H100\0", 10)
        return 0

    def _cuDeviceGetAttribute(self, value, attribute, device):
        value[0] = {75: self.device.sm // 10, 76: self.device.sm % 10}[attribute]
        return 0

    def _cuDriverGetVersion(self, value):
        value[0] = 13010
        return 0

    def _cuDevicePrimaryCtxRetain(self, context, device):
        context[0] = 77
        return 0

    def _cuCtxSetCurrent(self, context):
        return 0 if context == 77 else 1

    def _cuModuleLoadData(self, module, image):
        self.modules.append(image)
        module[0] = len(self.modules)
        return 0

    def _cuModuleGetFunction(self, function, module, name):
        if name.decode() not in KERNELS or self.modules[module - 1] == b"empty":
            return 500
        self.functions.append(name.decode())
        function[0] = len(self.functions)
        return 0

    def _cuMemAlloc_v2(self, pointer, size):
        room = np.full(size, 0xA5, np.uint8)
        self.memory[room.ctypes.data] = room
        pointer[0] = room.ctypes.data
        return 0

    def _cuMemcpyHtoD_v2(self, where, host, size):
        assert size <= self.memory[where].size
        if size:
            ctypes.memmove(where, host, size)
        return 0

    def _cuMemcpyDtoH_v2(self, host, where, size):
        assert size <= self.memory[where].size
        ctypes.memmove(host, where, size)
        return 0

    def _cuMemFree_v2(self, where):
        del self.memory[where]
        self.freed += 1
        return 0

    def _cuCtxSynchronize(self):
        return 0

    def _cuGetErrorString(self, status, text):
        text[0] = b"an illegal memory access was encountered"
        return 0

    def _cuLaunchKernel(self, function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra):
        assert (gy, gz, by, bz, shared, stream, extra) == (1, 1, 1, 1, 0, None, None)
        kernel = self.functions[function - 1]
        i = next((i for i in INSTRUCTIONS if i.kernel == kernel), None)
        wide = np.uint64 if i is not None and i.bits == 64 else np.uint32
        arguments, room = [], None
        for place, kind in enumerate(KERNELS[kernel]):
            if kind == "n":
                arguments.append(ctypes.cast(parameters[place], ctypes.POINTER(U32))[0])
                continue
            data = self.memory[ctypes.cast(parameters[place], ctypes.POINTER(U64))[0]]
            array = data.view(np.uint64 if kernel.startswith("chunk") else wide)
            if i is not None:
                array = array.reshape(*self._shape(i, "abcd"[place], gx if i.family == "wgmma" else None, array.size))
            if kind == "o":
                room = array
                arguments.append(Output(array.shape, array.dtype))
            else:
                arguments.append(array)
        assert not room.any()  # outputs begin at zero
        room[...] = self.device.run(kernel, gx, bx, arguments)[0]
        return 0

    @staticmethod
    def _shape(i, operand, tiles, size):
        m, n, k = i.shape
        if i.family == "wgmma" and operand in "ab":
            return (tiles, size // tiles)
        threads = 128 if i.family == "wgmma" else 32
        elements = {"a": m * k, "b": k * n, "c": m * n, "d": m * n}[operand]
        bits = i.bits if operand in "ab" else i.result_bits
        return (-1, threads, elements * min(bits, 64) // (threads * (64 if i.bits == 64 else 32)))


UNIT = "hopper.mma.binary16.binary16.binary32"


@pytest.mark.parametrize("unit", [UNIT, "hopper.wgmma.e4m3fn.e4m3fn.binary32", "hopper.mma.binary64.binary64.binary64"])
def test_instructions_through_the_driver_give_what_the_simulation_gives(unit):
    results = []
    library = FakeLibrary(unit)
    for driver in (Cuda([b"code"], library), Simulated(unit)):
        section = Section("instructions")
        instructions.capture(driver, section, Clock(60), 12, library.device.covers)
        results.append((section.tests, {name: array.tobytes() for name, array in section.arrays.items()}))
    assert results[0] == results[1]
    assert {test["status"] for test in results[0][0]} == {"done"}
    assert library.memory == {}
    assert library.freed > 0


def test_conversions_through_the_driver():
    driver = Cuda([b"empty", b"code"], FakeLibrary(UNIT))
    cast = CASTS[0]
    plain = OnDriver(Simulated(UNIT), cast)
    codes = np.arange(0x3F800000, 0x3F800000 + 777, dtype=np.uint32)
    assert OnDriver(driver, cast).each(codes).tobytes() == plain.each(codes).tobytes()
    assert OnDriver(driver, cast).hashes(3, 2, 512).tolist() == plain.hashes(3, 2, 512).tolist()


def test_what_the_driver_says_about_itself():
    driver = Cuda((), FakeLibrary("ada"))
    assert (driver.name, driver.sm, driver.cuda) == ("fake H100", 89, "13.1")


@pytest.mark.parametrize("name", ["cuInit", "cuModuleLoadData", "cuMemAlloc_v2", "cuLaunchKernel", "cuCtxSynchronize"])
def test_failures_are_named_and_leave_no_memory(name):
    library = FakeLibrary(UNIT, fail=name)
    with pytest.raises(DriverError, match=f"{name} failed with 700: an illegal memory access"):
        OnDriver(Cuda([b"code"], library), CASTS[0]).each(np.arange(4, dtype=np.uint32))
    assert library.memory == {}


def test_kernels_that_no_module_has():
    with pytest.raises(DriverError, match="no loaded module has a kernel nothing"):
        Cuda([b"code"], FakeLibrary(UNIT)).run("nothing", 1, 32, ())


def test_failure_during_a_test_is_recorded_and_the_others_go_on():
    library = FakeLibrary(UNIT)
    driver = Cuda([b"code"], library)
    runs = []
    right = library._cuLaunchKernel

    def launch(*arguments):
        runs.append(0)
        return 719 if len(runs) == 3 else right(*arguments)

    library._cuLaunchKernel = launch
    section = Section("instructions")
    instructions.capture(driver, section, Clock(60), 4, library.device.covers)
    states = [test["status"] for test in section.tests]
    assert states.count("failed") == 1
    assert states.count("done") == len(states) - 1
    assert "failed with 719" in next(test["reason"] for test in section.tests if test["status"] == "failed")


def options(tmp_path, **changes):
    values = {"simulate": None, "vectors": 4, "chunks": 1, "budget": 100.0, "parts": session.PARTS}
    return session.Options(out=tmp_path, **{**values, **changes})


@pytest.fixture
def gpu(monkeypatch):
    """A machine with a driver and a compiler and without torch."""
    library = FakeLibrary("ampere")
    monkeypatch.setattr(session, "Cuda", lambda images: Cuda(images, library))
    monkeypatch.setattr(compiling, "build", lambda sm: [compiling.Image("mma", f"sm_{sm}", "nvcc", b"code")])
    monkeypatch.setattr(session, "_torch_library", lambda sm: "torch could not be imported")
    monkeypatch.setattr(session, "_nvidia_smi", lambda: "580.1")
    return library


def test_without_torch_the_capture_says_so(gpu, tmp_path):
    lines = []
    assert not session.run(options(tmp_path, parts=("casts", "gemm")), lines.append)
    index = json.loads((tmp_path / "capture.json").read_text())
    assert index["subject"] | {"cpu": ""} == {
        "kind": "gpu", "device": "fake H100", "sm": "8.0", "driver": "580.1", "cuda": "13.1", "torch": None, "cpu": "",
    }  # fmt: skip
    states = {row["name"]: (row["status"], row["reason"]) for row in index["sections"]}
    assert states == {"casts": ("done", None), "gemm": ("missing", "torch could not be imported")}
    assert index["environment"]["cubin_mma"].startswith("sm_80 by nvcc, sha256 ")
    assert lines[1].startswith("gemm: missing")


def test_without_a_compiler_the_capture_says_so(gpu, tmp_path, monkeypatch):
    def build(sm):
        raise compiling.CompileError("no nvcc and no NVRTC library were found")

    monkeypatch.setattr(compiling, "build", build)
    assert not session.run(options(tmp_path), lambda line: None)
    index = json.loads((tmp_path / "capture.json").read_text())
    assert [row["status"] for row in index["sections"]] == ["missing"] * 3
    assert index["sections"][0]["reason"] == "no kernels: no nvcc and no NVRTC library were found"


def test_trouble_in_one_section_does_not_cost_the_others(gpu, tmp_path, monkeypatch):
    def trouble(*arguments):
        raise MemoryError("no room")

    monkeypatch.setitem(session._MAKE, "instructions", trouble)
    assert not session.run(options(tmp_path, parts=("instructions", "casts")), lambda line: None)
    index = json.loads((tmp_path / "capture.json").read_text())
    assert [(row["status"], row["reason"]) for row in index["sections"]] == [
        ("failed", "MemoryError: no room"), ("done", None),
    ]  # fmt: skip


def test_torch_s_conversions_are_part_of_the_section(gpu, tmp_path, monkeypatch):
    """With a torch that has one of the dtypes only, and no device of its own."""
    from capture import torch_level

    class Torch:
        __version__ = "2.4"
        float16 = "float16"

    class TorchCast(OnDriver):
        def __init__(self, torch, target, device):
            assert (torch, target, device) == (Torch, "binary16", "cuda")
            super().__init__(Simulated("ampere"), CASTS[0])

    monkeypatch.setattr(torch_level, "TorchCast", TorchCast)
    device = session.find_device()
    device.torch = Torch
    section = Section("casts")
    session._casts(device, section, Clock(60), options(tmp_path))
    states = {
        test["instruction"]: (test["status"], test["reason"]) for test in section.tests if test["level"] == "torch"
    }
    assert states.pop("x.to(torch.float16)") == ("done", None)
    assert set(states.values()) == {("skipped", f"torch 2.4 has no {name}") for name in (
        "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
    )}  # fmt: skip
    assert {test["level"] for test in section.tests} == {"ptx", "torch"}


def test_a_machine_needs_neither_the_package_nor_numba():
    """Everything up to the search for a driver runs where both imports fail."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['floatemu', 'analysis', 'numba', 'mpmath', 'torch']))\n"
        f"sys.path.insert(0, {str(SCRIPTS)!r})\n"
        "from capture import casts, gemm, instructions, session, torch_level\n"
        "from capture.vectors import LAYOUTS, probe_vectors\n"
        "labels = probe_vectors.probe_vectors(*[LAYOUTS['binary16']] * 3, 16)[0]\n"
        "print(len(labels) > 100, session._torch_library(90)[:5])\n"
        "session.find_device()"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "torch"], done.stderr
    if "DriverError" not in done.stderr:
        assert done.returncode == 0  # a machine that has a GPU
    else:
        assert "there is no CUDA driver here" in done.stderr or "cuInit failed" in done.stderr
