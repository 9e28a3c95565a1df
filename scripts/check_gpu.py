"""Do everything that needs a GPU, at once: capture it, ask its torch, record its casts, run the tests that CI skips.

usage: check_gpu.py --out FOLDER [--vectors N] [--limit SECONDS]
       check_gpu.py --record CODES.npz PRESET LIBRARY VERSION

Parts run beside each other; what each printed is in FOLDER/logs. Afterwards, anywhere:

floatemu validate FOLDER/capture      compares the capture with the models (FOLDER/small: one to be committed)
FOLDER/torch/validation.json          what `floatemu validate` replays; to be committed under tests/data/gpu
check_gpu.py --record FOLDER/casts/torch_cuda.npz torch_cuda "torch cuda" 2.13.0      makes tests/data/peers/...
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from record_peers import save_probes, write

ROOT = Path(__file__).resolve().parent.parent
TESTS = {
    "tests_faces": ("tests/interop/test_torch_cuda.py", "tests/interop/test_torch_triton.py"),
    "tests_models": ("tests/recording/test_torch_cuda.py",),
    "tests_compiling": ("tests/matrix/test_capture_compiling.py",),
}
COMMAND = "import sys; from analysis.cli import main; sys.exit(main(sys.argv[1:]))"


def commands(out: Path, vectors: int) -> dict[str, list[str]]:
    """Every part by name, as the interpreter's arguments."""
    capture = str(ROOT / "scripts" / "capture_gpu.py")
    found = {
        "capture": [capture, "--out", str(out / "capture"), "--vectors", str(vectors)],
        "small": [capture, "--out", str(out / "small"), "--vectors", "512", "--chunks", "64"],
        "torch": ["-c", COMMAND, "validate", "--torch", "--device", "cuda", "--out", str(out / "torch")],
    }
    for name in ("torch_cuda", "jax"):
        peers = str(ROOT / "floatemu" / "peers.py")
        found[f"casts_{name}"] = [peers, name, str(out / "probes.npz"), str(out / "casts" / f"{name}.npz")]
    plain = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=--import-mode=importlib -rs",
        "--durations=5",
    ]
    return found | {name: [*plain, *paths] for name, paths in TESTS.items()}


def run(name: str, arguments: list[str], out: Path, limit: float) -> str:
    """Run one part, keep what it prints, and return a line on how it ended."""
    begin, log = time.monotonic(), out / "logs" / f"{name}.txt"
    # Sums in one order where libraries offer it; JAX leaves the others some memory.
    settings = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONUNBUFFERED": "1"}
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    with log.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                [sys.executable, *arguments], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, timeout=limit,
                env={**os.environ, **settings, "PYTHONPATH": paths}, check=False,
            )  # fmt: skip
            ended = f"exit {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"stopped after {limit:g} s"
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or [""]
    return f"{name}: {ended}, {time.monotonic() - begin:.0f} s; {last[0][:160]}"


def main() -> int:
    """Run every part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    aim = parser.add_mutually_exclusive_group(required=True)
    aim.add_argument("--out", type=Path)
    aim.add_argument("--record", nargs=4, metavar=("CODES.npz", "PRESET", "LIBRARY", "VERSION"))
    parser.add_argument("--vectors", type=int, default=4096, help="random vectors of each distribution in the capture")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="for each part")
    options = parser.parse_args()
    if options.record:
        codes, preset, library, version = options.record
        with np.load(codes, allow_pickle=False) as file:
            write(library, version, {preset: {key: file[key] for key in file.files}})
        return 0
    out = options.out.resolve()
    for folder in ("logs", "casts"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    save_probes(out / "probes.npz")
    parts = commands(out, options.vectors)
    with ThreadPoolExecutor(len(parts)) as pool:
        jobs = [pool.submit(run, name, arguments, out, options.limit) for name, arguments in parts.items()]
        for job in jobs:
            print(job.result(), flush=True)
    (out / "probes.npz").unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
