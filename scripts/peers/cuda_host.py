"""Run NVIDIA's conversions, as its headers define them for a host, over probes: compiled by g++, no GPU needed.

usage: cuda_host.py cuda_satfinite|cuda_nosat|cuda_rz PROBES.npz CODES.npz, in an environment with nvidia-cuda-runtime
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
SOURCE = Path(__file__).with_suffix(".cpp")
TARGETS = {
    "e4m3fn": 0, "e5m2": 1, "e8m0fnu": 2, "e2m3fn": 4, "e3m2fn": 5, "e2m1fn": 6, "binary16": 7, "bfloat16": 8,
}  # fmt: skip
TOWARD_ZERO = {"e8m0fnu": 3, "binary16": 9, "bfloat16": 10}


def widened(x: Array) -> Array:
    """binary16 as float, NaNs with their bits."""
    wide = x.astype(np.float32)
    nan = np.isnan(x)
    code = x.view(np.uint16)[nan].astype(np.uint32)
    wide.view(np.uint32)[nan] = ((code & 0x8000) << 16) | 0x7F800000 | ((code & 0x3FF) << 13)
    return wide


def main(mode: str, probes: str, out: str) -> None:
    """Compile, cast, write."""
    include = next(Path(sys.prefix).rglob("cuda_fp8.h")).parent
    found = {}
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        library = Path(folder) / "cuda_host.so"
        command = ["g++", "-O1", "-shared", "-fPIC", f"-I{include}", str(SOURCE), "-o", str(library)]
        subprocess.run(command, check=True)
        cast = ctypes.CDLL(str(library)).cast
        with np.load(probes, allow_pickle=False) as file:
            for key in file.files:
                source, target = key.split()
                number = (TOWARD_ZERO if mode == "cuda_rz" else TARGETS).get(target)
                small = target in ("binary16", "bfloat16")
                narrow = {"cuda_rz": ("binary32",), "cuda_satfinite": ("binary32", "binary64")}.get(mode, ())
                saturates = {"cuda_nosat": ("e4m3fn", "e5m2", "e8m0fnu")}.get(mode, tuple(TARGETS))
                if number is None or source == "int64" or (small and source not in narrow) or target not in saturates:
                    continue
                x = np.ascontiguousarray(widened(file[key]) if source == "binary16" else file[key])
                y = np.empty(x.size, np.uint16)
                pointers = ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data)
                cast(x.itemsize, number, int(mode != "cuda_nosat"), ctypes.c_int64(x.size), *pointers)
                found[key] = y
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
