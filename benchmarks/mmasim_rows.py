"""MMA-Sim's simulators beside the rows of our table: which instruction of its package is which row, and how to call it.

Imports torch and mmasim (MIT licence), which live in an environment of the benchmark's own:
``pip install torch mmasim==2.1.1 ninja setuptools``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmasim.amd import sim as amd
from mmasim.nv_ptx import sim as nvidia

from floatemu.format import Format
from floatemu.matrix import MatrixUnit
from floatemu.matrix.generator import Layout, draw, vectors

ARCHITECTURES = {
    "volta": "Volta", "turing": "Turing", "ampere": "Ampere", "ada": "Ada Lovelace", "hopper": "Hopper",
    "blackwell": "Blackwell", "rtx_blackwell": "RTX Blackwell", "cdna1": "CDNA1", "cdna2": "CDNA2", "cdna3": "CDNA3",
}  # fmt: skip
PTX = {
    "binary16": "f16", "bfloat16": "bf16", "tf32": "tf32", "e4m3fn": "e4m3", "e5m2": "e5m2", "e3m2fn": "e3m2",
    "e2m3fn": "e2m3", "e2m1fn": "e2m1", "binary32": "f32", "binary64": "f64", "e8m0fnu": "ue8m0",
}  # fmt: skip
MFMA = {**PTX, "tf32": "xf32", "e4m3fnuz": "fp8", "e5m2fnuz": "bf8"}
DTYPES = {
    "binary16": torch.float16, "bfloat16": torch.bfloat16, "tf32": torch.float32, "binary32": torch.float32,
    "binary64": torch.float64, "e4m3fn": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2,
    "e4m3fnuz": torch.float8_e4m3fnuz, "e5m2fnuz": torch.float8_e5m2fnuz, "e8m0fnu": torch.float8_e8m0fnu,
}  # fmt: skip
SIGNED = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def simulators(unit: MatrixUnit) -> list[Any]:
    """The simulators of one row, one for each K of its shapes; empty if MMA-Sim has none."""
    if not isinstance(unit.a, Format) or getattr(unit.step, "order", ()):
        return []
    architecture, found = ARCHITECTURES[unit.architecture], {}
    for kind, name in _names(unit):
        try:
            one = kind(architecture, name)
        except AssertionError:
            continue
        found.setdefault(one.k, one)
    return list(found.values())


def _names(unit: MatrixUnit) -> Iterator[tuple[Any, str]]:
    names = MFMA if unit.instruction == "mfma" else PTX
    a, b, d = names[unit.a.name], names[unit.b.name], names[unit.output.name]
    for shape in unit.shapes:
        if unit.instruction == "mfma":
            one_k = "_1k" if unit.name.endswith("1k") else ""
            yield amd.MFMA, f"{d}_{shape}{a}{one_k}"
            for blocks in ("", "_2b", "_4b", "_16b"):
                yield amd.MFMA, f"{d}_{shape}{blocks}_{a}"
                yield amd.MFMA, f"{d}_{shape}{blocks}_{a}_{b}"
        elif unit.scale is not None:
            scale = "ue8m0" if unit.scale.name == "e8m0fnu" else "ue4m3"
            kind = next(word for word in unit.name.split(".") if word.startswith("mx"))
            core = f"kind::{kind}.block{unit.block}.f32.{a}.{b}"
            yield nvidia.TCGen05MMABlockScale, f"{shape.replace('mMnN', 'm128n8')}.{core}.{scale}"
            yield nvidia.MMABlockScale, f"{shape}.{core}.f32.{scale}"
        elif unit.instruction == "mma":
            yield nvidia.MMA, f"{shape}.{d}.{a}.{b}.{d}"
            yield nvidia.MMA, f"{shape}.kind::f8f6f4.{d}.{a}.{b}.{d}"
        elif unit.instruction == "wgmma":
            yield nvidia.WGMMA, f"{shape.replace('N', '8')}.{d}.{a}.{b}"
        else:
            for kind in ("f16", "tf32", "f8f6f4"):
                yield nvidia.TCGen05MMA, f"{shape.replace('mMnN', 'm64n8')}.kind::{kind}.{d}.{a}.{b}"


def tensor(codes: Any, name: str) -> torch.Tensor:
    """Codes as a tensor of the format: fp6 in the low bits of a byte, fp4 in bits 2 to 5."""
    if name in ("e3m2fn", "e2m3fn", "e2m1fn"):
        return torch.from_numpy((codes << (2 if name == "e2m1fn" else 0)).astype(np.uint8))
    kind = SIGNED[codes.itemsize]
    signed = codes if kind is torch.uint8 else codes.view(f"int{8 * codes.itemsize}")
    return torch.from_numpy(np.ascontiguousarray(signed)).view(DTYPES[name])


def layout(fmt: Format, register: Format | None) -> Layout:
    """The generator's layout of a format."""
    spare = 0 if register is None else register.k - fmt.k
    return Layout(fmt.name, fmt.k, fmt.p, fmt.bias, fmt.max_code, fmt.inf_code, fmt.nan_code, spare)


def inputs(unit: MatrixUnit, distribution: str, n: int, k: int, seed: int) -> list[Any]:
    """Codes a (n, k), b (n, k), c (n,) and, for units with scales, both scales (n, k / block)."""
    kinds = [layout(unit.a, unit.register), layout(unit.b, unit.register), layout(unit.output, None)]
    found = list(vectors(distribution, *kinds, n, k, seed))
    for i, fmt in enumerate((unit.a, unit.b)):
        if distribution != "raw" and not fmt.negative_zero:
            found[i] = np.where(found[i] == fmt.sign_code, 0, found[i])
    if unit.scale is not None:
        raw = [draw("raw", Layout("byte", 8), (n, k // unit.block), seed, 40 + i, kinds[2]) for i in (0, 1)]
        # Exponents about 0 but for raw, so that scaled products meet the accumulator.
        tame = distribution != "raw" and unit.scale.name == "e8m0fnu"
        found += [(code % 32 + 112).astype(np.uint8) if tame else code for code in raw]
    return found


def simulate(unit: MatrixUnit, simulator: Any, operands: list[Any]) -> Any:
    """MMA-Sim's codes of n dot products."""
    a, b, c, *scales = operands
    left, right = (tensor(x, (unit.register or fmt).name) for x, fmt in ((a, unit.a), (b, unit.b)))
    if unit.scale is not None and simulator.packing == 2:
        left, right = (torch.from_numpy(((x[:, 0::2] << 4) | x[:, 1::2]).astype(np.uint8)) for x in (a, b))
    more = [tensor(scale, unit.scale.name) for scale in scales]
    result = simulator.dpa(left, right, tensor(c, unit.output.name), *more)
    size = result.element_size()
    return result.view(SIGNED[size]).numpy().view(f"uint{8 * size}")
