"""The CUDA sources compile, and a disassembly shows the machine instructions that the table names."""

import functools
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from capture import compiling  # noqa: E402
from capture.compiling import CompileError, arch_of, by_nvrtc, sources_for  # noqa: E402
from capture.table import CASTS, FP8_IN_SOFTWARE, INSTRUCTIONS  # noqa: E402

NVCC = shutil.which("nvcc")
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="needs nvcc, the compiler of GPU code")
CASES = [(name, sm) for sm in (80, 89, 90, 100, 120) for name in sources_for(sm) if (name, sm) != ("cvt", 100)]
MATRIX = re.compile(r"\b(?:HMMA|HGMMA|QMMA|QGMMA|IMMA|IGMMA|DMMA)[.A-Z0-9x]*")


@functools.cache
def cubin(name, sm):
    return compiling._by_nvcc(NVCC, name, arch_of(sm))


def disassembler():
    found = shutil.which("nvdisasm")
    if found:
        return found
    try:
        files = metadata.files("nvidia-cuda-nvdisasm") or []
    except metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == "nvdisasm"), None)


@functools.cache
def machine_code(name, sm, folder):
    """The text of each kernel in a disassembly."""
    path = Path(folder) / f"{name}_{sm}.cubin"
    path.write_bytes(cubin(name, sm))
    tool = disassembler()
    if not os.access(tool, os.X_OK):  # a wheel's file may have lost its mode
        tool = shutil.copy(tool, folder)
        os.chmod(tool, 0o755)
    text = subprocess.run([tool, "-c", str(path)], capture_output=True, text=True, check=True).stdout
    parts = re.split(r"^\.text\.(\w+):\s*$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cubin"))


def missing_kernels(code, name, sm):
    """The kernels of the table that compiled code does not name."""
    kernels = {i.kernel for i in INSTRUCTIONS if i.family == name and i.runs_on(sm)}
    if name == "cvt":
        kernels = {f"{kind}_{cast.kernel}" for cast in CASTS if sm >= cast.least for kind in ("chunk", "each")}
    assert kernels
    return {kernel for kernel in kernels if kernel.encode() + b"\0" not in code}


@needs_nvcc
@pytest.mark.parametrize(("name", "sm"), CASES)
def test_source_compiles(name, sm):
    code = cubin(name, sm)
    assert code[:4] == b"\x7fELF"
    assert missing_kernels(code, name, sm) == set()


@needs_nvcc
@pytest.mark.skipif(disassembler() is None, reason="needs nvdisasm, the disassembler of GPU code")
@pytest.mark.parametrize(("name", "sm"), [case for case in CASES if case[0] != "cvt"])
def test_machine_instructions_are_those_of_the_table(name, sm, folder):
    texts = machine_code(name, sm, folder)
    for i in INSTRUCTIONS:
        if i.family == name and i.runs_on(sm):
            expected = i.mnemonics(sm)
            found = {
                word
                for mnemonic in expected
                for word in re.findall(rf"\b{re.escape(mnemonic)}(?![.\w])", texts[i.kernel])
            }
            assert found == set(expected), (i.kernel, sm)
            own = {word for word in expected if MATRIX.fullmatch(word)}
            assert set(MATRIX.findall(texts[i.kernel])) == own


@needs_nvcc
@pytest.mark.skipif(disassembler() is None, reason="needs nvdisasm, the disassembler of GPU code")
@pytest.mark.parametrize("sm", FP8_IN_SOFTWARE)
def test_fp8_mma_is_two_binary16_instructions_and_an_addition_of_c(sm, folder):
    """What the model of the emulated instruction rests on: C is added last, by an ordinary addition."""
    for i in INSTRUCTIONS:
        if i.family == "mma" and i.a in ("e4m3fn", "e5m2"):
            text = machine_code("mma", sm, folder)[i.kernel]
            steps = re.findall(r"\bHMMA\.16816\.F(?:32|16) \w+, \w+, \w+, (\w+)", text)
            assert len(steps) == 2, i.kernel
            assert steps[0] == "RZ"  # the first one starts from zero ...
            assert steps[1] != "RZ"  # ... and the second one from its result
            additions = re.findall(r"\b(FADD|HADD2) ", text)
            assert additions == (["FADD"] * 4 if i.d == "binary32" else ["HADD2"] * 2)


@needs_nvcc
@pytest.mark.skipif(disassembler() is None, reason="needs nvdisasm, the disassembler of GPU code")
def test_wgmma_adds_to_the_registers_of_c(folder):
    for i in INSTRUCTIONS:
        if i.family == "wgmma":
            text = machine_code("wgmma", 90, folder)[i.kernel]
            ((result, accumulator),) = re.findall(r"GMMA\.64x8\S+ (R\d+), gdesc\[UR\d+\], (R\d+), gsb0", text)
            assert result == accumulator


@needs_nvcc
def test_refused_source_says_what_the_compiler_said(tmp_path, monkeypatch):
    (tmp_path / "mma.cu").write_text("nonsense")
    monkeypatch.setattr(compiling, "_FOLDER", tmp_path)
    with pytest.raises(CompileError, match=r"nvcc refused mma\.cu for sm_80.*error"):
        compiling._by_nvcc(NVCC, "mma", "sm_80")


def test_without_any_compiler_the_error_says_so(monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    monkeypatch.setattr(compiling, "_nvrtc_names", lambda: iter(["libnone.so"]))
    with pytest.raises(CompileError, match="no nvcc and no NVRTC"):
        compiling.build(90)


@pytest.mark.parametrize(("name", "sm"), [("mma", 90), ("wgmma", 90), ("cvt", 120)])
def test_runtime_compiler_takes_the_sources_too(name, sm):
    try:
        nvrtc = compiling._nvrtc()
    except CompileError:
        pytest.skip("needs NVRTC, which comes with torch for a GPU")
    code = by_nvrtc(nvrtc, name, arch_of(sm))
    assert code[:4] == b"\x7fELF"
    assert missing_kernels(code, name, sm) == set()


def test_triton_uses_the_tensor_core_and_promotes_when_asked(tmp_path, monkeypatch):
    """PTX for sm_90, compiled without a GPU: wgmma either way; binary32 additions only between 64 and 64 products."""
    triton = pytest.importorskip("triton", reason="needs Triton, which comes with torch for a GPU")
    from capture import triton_dot
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # 3.9 warns without; there is nothing to fuse here
    names = ("k", "stride_a", "stride_b", "stride_d")
    signature = {"a": "*fp8e4nv", "b": "*fp8e4nv", "d": "*fp32", **dict.fromkeys(names, "i32")}
    additions = {}
    for most in (None, 64):
        constants = {"rows": 128, "columns": 16, "depth": 128, "most": most}
        kinds = {**signature, **dict.fromkeys(constants, "constexpr")}
        source = ASTSource(fn=triton_dot._product, signature=kinds, constexprs=constants)
        ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4}).asm["ptx"]
        assert "wgmma.mma_async.sync.aligned.m64n16k32.f32.e4m3.e4m3" in ptx
        additions[most] = ptx.count("add.f32")
    # 128 x 16 sums over 4 warps of 32, twice for 128 products
    assert additions == {None: 0, 64: 2 * 128 * 16 // (32 * 4)}


def test_architectures():
    assert [arch_of(sm) for sm in (80, 89, 90, 120)] == ["sm_80", "sm_89", "sm_90a", "sm_120a"]
    assert [sources_for(sm) for sm in (80, 90, 100)] == [["mma", "cvt"], ["mma", "cvt", "wgmma"], ["mma", "cvt"]]
