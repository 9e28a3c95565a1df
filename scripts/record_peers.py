"""Record the casts of other libraries into tests/data/peers/: one environment for each library and version.

usage: record_peers.py [--environments FOLDER] [--large] [NAME VERSION ...]

Without names, all of ENVIRONMENTS but the large ones (torch's wheels for Linux bring CUDA: 3 GB each).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from floatemu import FORMATS, peers, recorded
from floatemu.probes import SOURCES, probes

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "data" / "peers"
HERE = Path(__file__).parent / "peers"
# name, version, what pip installs, the casts (of peers.CASTS, or of scripts/peers) and the presets that they must equal
ENVIRONMENTS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("numpy", "2.4.6", "numpy==2.4.6", {"numpy": "numpy"}),
    *(
        ("ml_dtypes", version, f"ml_dtypes=={version} {numpy}", {"ml_dtypes": preset})
        for version, numpy, preset in (
            ("0.2.0", "numpy<2", "ml_dtypes"),
            ("0.3.2", "numpy<2", "ml_dtypes"),
            ("0.4.1", "numpy", "ml_dtypes"),
            ("0.5.0", "numpy", "ml_dtypes_0.5.0"),
            ("0.5.4", "numpy", "ml_dtypes"),
            ("0.6.0", "numpy", "ml_dtypes"),
        )
    ),
    ("jax", "0.7.1", "jax==0.7.1 jaxlib==0.7.1", {"jax": "jax_0.7"}),
    ("jax", "0.10.2", "jax==0.10.2 jaxlib==0.10.2", {"jax": "jax"}),
    ("tensorflow-cpu", "2.21.0", "tensorflow-cpu==2.21.0", {"tensorflow": "tensorflow"}),
    ("onnx", "1.16.2", "onnx==1.16.2 ml_dtypes", {"onnx": "onnx_1.16"}),
    ("onnx", "1.23.2", "onnx==1.23.2", {"onnx": "onnx", "onnx_saturate_0": "onnx_saturate_0"}),
    ("onnxruntime", "1.32.0", "onnxruntime==1.32.0 onnx==1.23.2",
     {"onnxruntime": "onnxruntime", "onnxruntime_saturate_0": "onnxruntime_saturate_0"}),
    ("gfloat", "0.5.2", "gfloat==0.5.2", {"gfloat": "gfloat"}),
    ("CUDA headers", "13.0.88", "nvidia-cuda-runtime==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl numpy",
     {"cuda_satfinite": "cuda_satfinite", "cuda_nosat": "cuda_nosat", "cuda_rz": "cuda_rz"}),
    ("torch", "2.13.0", "torch==2.13.0 numpy", {"torch": "torch"}),
)  # fmt: skip
LARGE: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("torch", "2.9.0", "torch==2.9.0 numpy", {"torch": "torch_2.12"}),
    ("torch", "2.10.0", "torch==2.10.0 numpy", {"torch": "torch_2.12"}),
    ("torch", "2.11.0", "torch==2.11.0 numpy", {"torch": "torch_2.12"}),
    ("torch", "2.12.1", "torch==2.12.1 numpy", {"torch": "torch_2.12"}),
    ("torch", "2.14.1", "torch==2.14.1 numpy", {"torch": "torch"}),
    ("torch", "2.15.0", "torch==2.15.0 numpy", {"torch": "torch"}),
    ("qtorch", "0.3.0", "qtorch==0.3.0 torch==2.14.1 numpy ninja setuptools", {"qpytorch": "qpytorch"}),
)  # fmt: skip


def save_probes(path: Path) -> None:
    """Write the numbers that libraries are asked to cast."""
    pairs = [(s, t) for s in SOURCES for t, fmt in FORMATS.items() if fmt.k <= 16 and s != t]
    np.savez(path, **{f"{s} {t}": probes(s, t) for s, t in pairs})


def environment(folder: Path, name: str, version: str, needs: str) -> Path:
    """Make the environment of a library if it is not there, and return its interpreter."""
    place = folder / f"{name.replace(' ', '-')}-{version}"
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *needs.split()], check=True)
    return python


def codes(python: Path, cast: str, scratch: Path) -> dict[str, Any]:
    """Run one cast over all probes in an environment."""
    out = scratch / f"{cast}.npz"
    program = Path(peers.__file__) if cast in peers.CASTS else HERE / "cuda_host.py"
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    command = [str(python), "-I", str(program), cast, str(scratch / "probes.npz"), str(out)]
    subprocess.run(command, check=True, env={**os.environ, "PATH": path, "PYTHONPATH": ""}, stdout=subprocess.DEVNULL)
    with np.load(out, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def write(name: str, version: str, made: dict[str, dict[str, Any]]) -> None:
    """Write the record of a library from the codes of its casts, by the preset that they must equal."""
    rows = [
        {"preset": preset, **recorded.summary(y, target=key.split()[1], source=key.split()[0])}
        for preset, found in made.items()
        for key, y in found.items()
    ]
    head = {"schema": recorded.SCHEMA, "library": name, "version": version, "machine": platform.machine()}
    lines = ",\n".join(json.dumps(row) for row in rows)
    path = FOLDER / f"{name.replace(' ', '-').lower()}-{version}.json"
    path.write_text(f'{json.dumps(head)[:-1]}, "casts": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{path.name}: {len(rows)} casts")


def main() -> int:
    """Record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()) / "floatemu-peers")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("only", nargs="*", metavar="NAME VERSION")
    given = parser.parse_args()
    named = set(zip(given.only[::2], given.only[1::2], strict=True))
    with tempfile.TemporaryDirectory() as folder:
        save_probes(Path(folder) / "probes.npz")
        for name, version, needs, casts in ENVIRONMENTS + (LARGE if given.large or named else ()):
            if named and (name, version) not in named:
                continue
            python = environment(given.environments, name, version, needs)
            write(name, version, {preset: codes(python, cast, Path(folder)) for cast, preset in casts.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
