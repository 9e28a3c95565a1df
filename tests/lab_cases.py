"""Cases for sweeps, importable by workers of every kind; nothing here imports numpy."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Plain:
    """A case with a seed; ``seconds`` is how long it takes, ``fails`` whether it raises."""

    seed: int
    seconds: float = 0.0
    fails: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compute(case: Plain) -> dict[str, Any]:
    """A number that depends on the seed in all its bits."""
    time.sleep(case.seconds)
    if case.fails:
        raise ValueError(f"seed {case.seed} fails <b>by design</b>")
    digest = hashlib.sha256(str(case.seed).encode()).digest()
    return {"value": int.from_bytes(digest[:6], "big") / 2**40, "loss": [float("inf"), 1.0], "none": None}


def threads(case: Plain) -> dict[str, Any]:
    """What a worker is allowed to use."""
    import numba

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return {"environment": {name: os.environ.get(name) for name in names}, "numba": numba.get_num_threads()}


def die(case: Plain) -> dict[str, Any]:
    """End the worker, as the kernel does when memory runs out."""
    if case.fails:
        os._exit(9)
    return compute(case)


def spin(case: Plain) -> dict[str, Any]:
    """Keep one core busy, without numpy and without the interpreter's lock being of any use to others."""
    total = 0
    for index in range(int(case.seconds * 2e7)):
        total = (total * 1103515245 + index + case.seed) & 0xFFFFFFFF
    return {"value": total}
