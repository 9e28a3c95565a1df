"""CUDA source to machine code: by nvcc if it is there, else by the runtime compiler that comes with torch and cupy."""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

SOURCES = {"mma": 80, "cvt": 80, "wgmma": 90}
"""Name of a CUDA source and the compute capability it begins with; wgmma ends there, too."""
_FOLDER = Path(__file__).parent


class CompileError(RuntimeError):
    """No compiler, or it refused."""


class Image(NamedTuple):
    """Machine code of a source."""

    source: str
    arch: str
    by: str
    cubin: bytes

    @property
    def sha256(self) -> str:
        """Of the machine code."""
        return hashlib.sha256(self.cubin).hexdigest()


def arch_of(sm: int) -> str:
    """``sm_90a``: instructions of one architecture only need the suffix."""
    return f"sm_{sm}{'a' if sm >= 90 else ''}"


def sources_for(sm: int) -> list[str]:
    """Sources that a compute capability has instructions for."""
    return [name for name, least in SOURCES.items() if (sm == 90 if name == "wgmma" else sm >= least)]


def build(sm: int) -> list[Image]:
    """Compile every source that suits a device.

    Parameters
    ----------
    sm : int
        Compute capability, 90 for 9.0.

    Returns
    -------
    list of Image

    Raises
    ------
    CompileError
        If there is no compiler or it refuses a source.
    """
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc:
        return [Image(name, arch_of(sm), "nvcc", _by_nvcc(nvcc, name, arch_of(sm))) for name in sources_for(sm)]
    nvrtc = _nvrtc()
    return [Image(name, arch_of(sm), "NVRTC", by_nvrtc(nvrtc, name, arch_of(sm))) for name in sources_for(sm)]


def _by_nvcc(nvcc: str, name: str, arch: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "code.cubin"
        command = [nvcc, "-cubin", f"-arch={arch}", "-o", str(target), str(_FOLDER / f"{name}.cu")]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise CompileError(f"nvcc refused {name}.cu for {arch}: {done.stderr.strip()[:500]}")
        return target.read_bytes()


def _nvrtc() -> Any:
    for name in _nvrtc_names():
        try:
            # In a wheel's folder the library does not find its other half by itself; one that is loaded is found.
            for half in sorted(Path(name).parent.glob("libnvrtc-builtins.so*")):
                ctypes.CDLL(str(half), mode=ctypes.RTLD_GLOBAL)
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise CompileError("no nvcc and no NVRTC library were found")


def _nvrtc_names() -> Iterator[str]:
    """Files of the wheels that torch and cupy depend on, then what the system knows."""
    for wheel in ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu13", "nvidia-cuda-nvrtc-cu12"):
        try:
            files = metadata.files(wheel) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name.startswith("libnvrtc.so") and "alt" not in file.name:
                yield str(file.locate())
    yield from ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")


def by_nvrtc(nvrtc: Any, name: str, arch: str) -> bytes:
    """Compile one source with the runtime compiler, a ctypes library."""
    text = (_FOLDER / f"{name}.cu").read_bytes()
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    nothing = ctypes.c_void_p()
    options = (ctypes.c_char_p * 1)(f"--gpu-architecture={arch}".encode())
    status = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), ctypes.c_char_p(text), ctypes.c_char_p(f"{name}.cu".encode()), 0, nothing, nothing
    )
    if status:
        raise CompileError(f"NVRTC could not take {name}.cu: status {status}")
    try:
        if nvrtc.nvrtcCompileProgram(program, ctypes.c_int(1), options):
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            nvrtc.nvrtcGetProgramLog(program, log)
            raise CompileError(f"NVRTC refused {name}.cu for {arch}: {log.value.decode(errors='replace')[:500]}")
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetCUBIN(program, code)
        return code.raw
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
