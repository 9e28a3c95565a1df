"""What a reference costs: binary64, balls and mpmath on nets of growing size, and the goals set for two of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.reference import reference
from analysis.tape import Tape


def _mlp() -> Tape:
    x = an.nets.uniform(0, 0, (4, 32), 1.0)
    return an.nets.mlp((32, 32, 32, 32, 32), "tanh", batch=4, data=(x, np.array([0, 5, 7, 31])))


NETS: dict[str, Callable[[], Tape]] = {
    "mlp 4x32, batch 4": _mlp,
    "digits mlp 64-32-10, batch 64": an.nets.mlp,
    "lstm, T = 100": lambda: an.nets.lstm(length=100),
    "llama, width 64, 2 layers, T = 32": lambda: an.nets.llama(layers=2, width=64, length=32),
}
SLOW = {("lstm, T = 100", "mpmath"), ("llama, width 64, 2 layers, T = 32", "mpmath")}


@pytest.mark.parametrize("kind", ["float64", "ball", "mpmath"])
@pytest.mark.parametrize("net", NETS)
def test_reference(benchmark: Any, net: str, kind: str) -> None:
    if kind == "ball":
        pytest.importorskip("flint")
    tape = NETS[net]()
    rounds = 1 if (net, kind) in SLOW else 3
    found = benchmark.pedantic(reference, (tape, kind), rounds=rounds)
    assert found.kind == kind


@pytest.mark.parametrize(
    ("net", "kind", "extra", "seconds"),
    [
        ("mlp 4x32, batch 4", "mpmath", "gmpy2", 0.2),
        ("llama, width 64, 2 layers, T = 32", "ball", "flint", 5.0),
    ],
)
def test_goal(net: str, kind: str, extra: str, seconds: float) -> None:
    pytest.importorskip(extra)
    tape = NETS[net]()
    times = []
    for _ in range(3):
        begin = time.process_time()
        found = reference(tape, kind)
        times.append(time.process_time() - begin)
    assert min(times) < seconds
    assert kind == "mpmath" or found.statement() == "certified"
