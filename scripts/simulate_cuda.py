r"""Run Python with a CUDA device that is none: torch's dispatch and autograd for CUDA, with the CPU's numbers.

python scripts/simulate_cuda.py -m pytest -p simulated_device tests/interop/test_torch_cuda.py \
    tests/recording/test_torch_cuda.py

For machines without a GPU. It needs a CUDA build of torch, nvcc of its version of CUDA, and nm. A runtime whose memory
is the host's is preloaded (tests/simulated_cuda/runtime.c), and every operation's CUDA kernel is replaced by its CPU
kernel on the same memory (simulated_device.py beside it, which the program must import first). It shows that calls on
CUDA tensors are recorded, watched and emulated as they should be; of a GPU's numbers it shows nothing.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "tests" / "simulated_cuda"


def symbols(files: Iterable[Path], kind: str, pattern: str) -> set[str]:
    """Names that libraries define ("T") or need ("U")."""
    found = set()
    for file in files:
        text = subprocess.run(["nm", "-D", str(file)], capture_output=True, text=True, check=True).stdout
        found.update(re.findall(rf" {kind} ({pattern})", text))
    return found


def compiled(out: Path, *given: str | Path) -> Path:
    """Compile a shared library."""
    options = ("--cudart", "none", "-shared", "-Xcompiler", "-fPIC,-w", "-o")
    subprocess.run(["nvcc", *options, str(out), *map(str, given)], check=True)
    return out


def build(folder: Path, torch: Path) -> Path:
    """Make the runtime, and a driver of which nothing is asked; return the runtime."""
    libraries = sorted((torch / "lib").glob("lib*.so"))
    own = symbols([compiled(folder / "own.so", HERE / "runtime.c")], "T", r"\w+")
    rest, driver, state = folder / "rest.c", folder / "driver.c", "cuDevicePrimaryCtxGetState"
    needed = symbols(libraries, "U", r"(?:__)?cuda[A-Z]\w*") - own
    rest.write_text("\n".join(f"int {name}() {{ return 0; }}" for name in sorted(needed)))
    asked = {name for name in symbols(libraries, "U", r"cu[A-Z]\w*") if not name.startswith("cuFile")} - {state}
    lines = [f"int {name}() {{ return 0; }}" for name in sorted(asked)]
    lines.append(f"int {state}(int device, unsigned *flags, int *active) {{ return *flags = 0, *active = 1, 0; }}")
    driver.write_text("\n".join(lines))
    compiled(folder / "libcuda.so.1", driver, "-Xlinker", "-soname,libcuda.so.1")
    return compiled(folder / "runtime.so", HERE / "runtime.c", rest)


def main() -> int:
    """Build, and run Python with these arguments."""
    spec = importlib.util.find_spec("torch")
    lacks = [name for name in ("nvcc", "nm") if shutil.which(name) is None]
    if len(sys.argv) < 2 or lacks or spec is None or spec.origin is None:
        print(__doc__ if len(sys.argv) < 2 else f"error: {', '.join(lacks) or 'torch'} is missing", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as made:
        runtime = build(Path(made), Path(spec.origin).parent)
        paths = [str(ROOT), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        added = {"LD_PRELOAD": str(runtime), "LD_LIBRARY_PATH": made, "PYTHONPATH": os.pathsep.join(paths)}
        return subprocess.run([sys.executable, *sys.argv[1:]], env={**os.environ, **added}, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
