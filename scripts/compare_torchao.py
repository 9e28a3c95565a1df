"""Compare block quantization and swizzled scales with torchao's eager kernels on the CPU, bit for bit.

    pip install torchao==0.18.0 && python scripts/compare_torchao.py

The numbers leave out what torchao 0.18.0 is known to get wrong: largest magnitudes below 2^-118, and infinities.
Its eager RCEIL takes a logarithm in binary32, which loses what lies just above a power of two: such scales are half of
ours; they are counted, and are no failure.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
import torchao
from torchao.prototype.mx_formats import config, mx_tensor, nvfp4_tensor, utils

import floatemu as fe

MX = {"mxfp8_e4m3": torch.float8_e4m3fn, "mxfp8_e5m2": torch.float8_e5m2, "mxfp4": torch.float4_e2m1fn_x2}
RULES = ("FLOOR", "CEIL", "EVEN", "RCEIL")


def numbers(rows: int, seed: int) -> np.ndarray:
    """Rows of 64 normal numbers of any magnitude, some with a largest one that is a format's largest value."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 64)) * 2.0 ** rng.integers(-60, 60, (rows, 1))
    tops = rng.choice([448.0, 57344.0, 6.0, 7.0, 480.0], x[::5].shape[0]) * 2.0 ** rng.integers(
        -60, 60, x[::5].shape[0]
    )
    x[::5] *= (tops / np.abs(x[::5]).max(axis=1))[:, None]
    return x.astype(np.float32)


def different(got: fe.BlockArray, scales: torch.Tensor, data: torch.Tensor, packed: bool) -> tuple[int, int]:
    """How many scales, and how many bytes of elements."""
    elements = got.pack().elements if packed else got.elements
    pairs = (got.scales, scales), (elements, data)
    return tuple(int(np.sum(a != b.view(torch.uint8).numpy())) for a, b in pairs)


def main() -> int:
    """Print one line a case; the exit status is 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    x = numbers(options.rows, options.seed)
    tensor = torch.from_numpy(x)
    found = {}
    for name, dtype in MX.items():
        for rule in RULES:
            scales, data = mx_tensor.to_mx(tensor, dtype, 32, getattr(config.ScaleCalculationMode, rule))
            got = fe.quantize(x, name, scale_rule=rule)
            found[f"{name} {rule}"] = different(got, scales, data, name == "mxfp4")
    got = fe.quantize(x, "nvfp4", scale_rule="NEAREST_DIVIDE", scale_min="normal", scaling="multiply", outer=1)
    found["nvfp4"] = different(got, *nvfp4_tensor.nvfp4_quantize(tensor), True)
    swizzled = utils.to_blocked(torch.from_numpy(got.scales)).numpy()
    found["swizzled scales"] = (int(np.sum(fe.block.swizzle(got.scales) != swizzled)), 0)
    print(f"torchao {torchao.__version__}, torch {torch.__version__}, {x.size} numbers: scales, elements that differ")
    for case, counts in found.items():
        print(f"{case:20} {counts[0]:8} {counts[1]:8}")
    return int(any(sum(counts) for case, counts in found.items() if not case.endswith("RCEIL")))


if __name__ == "__main__":
    sys.exit(main())
