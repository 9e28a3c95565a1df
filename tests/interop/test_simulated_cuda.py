"""The runtime that stands for a GPU: it compiles, and a model trains on it, with the numbers of the CPU."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc, the compiler of GPU code")

PROGRAM = """
import simulated_device, torch
import analysis as an
for device in ("cuda", "cpu"):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).to(device)
    x = torch.linspace(-1, 1, 12).reshape(3, 4).to(device)
    with an.watch(net, "bf16", every=1) as w, w.step():
        net(x).square().sum().backward()
    print(net[0].weight.grad.device.type, net[0].weight.grad.cpu().numpy().tobytes().hex(), len(w.rows))
"""


@needs_nvcc
def test_the_runtime_compiles_without_warnings(tmp_path: Path) -> None:
    source = ROOT / "tests" / "simulated_cuda" / "runtime.c"
    flags = "-fPIC,-Wall,-Wextra,-Wno-unused-parameter,-Werror"
    command = [
        "nvcc",
        "--cudart",
        "none",
        "-shared",
        "-Xcompiler",
        flags,
        "-o",
        str(tmp_path / "runtime.so"),
        str(source),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


@needs_nvcc
def test_a_model_trains_on_the_device_that_is_none() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if torch.version.cuda is None:
        pytest.skip("this build of torch knows no GPU")
    command = [sys.executable, str(ROOT / "scripts" / "simulate_cuda.py"), "-c", PROGRAM]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    one, other = re.findall(r"^(cuda|cpu) (\w+) (\d+)$", text, re.MULTILINE)
    assert (one[0], other[0]) == ("cuda", "cpu")
    assert one[1:] == other[1:]
