"""No face makes a temporary larger than a block, whatever it has to convert; threads change nothing."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import floatemu as fe

COUNT = 2**20
BLOCK = 2**19  # bytes: several operands of 8192 binary64 numbers, against 8 MiB for one array


def source(dtype: str) -> np.ndarray:
    generator = np.random.Generator(np.random.PCG64(2))
    return (generator.standard_normal(2 * COUNT) * 20).astype(dtype)


SOURCES: dict[str, Callable[[], np.ndarray]] = {
    "float32": lambda: source("float32")[:COUNT],
    "float64": lambda: source("float64")[:COUNT],
    "float16": lambda: source("float16")[:COUNT],
    "strided": lambda: source("float32")[::2],
    "swapped": lambda: source("float32")[:COUNT].astype(">f4"),
    "fortran": lambda: np.asfortranarray(source("float64")[:COUNT].reshape(1024, 1024)),
    "int64": lambda: source("int64")[:COUNT],
    "int8": lambda: source("int8")[:COUNT],
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("face", ["round", "stochastic", "given", "no NaN", "encode", "e8m0fnu"])
def test_temporaries_stay_within_a_block(name: str, face: str) -> None:
    x = SOURCES[name]()
    values, codes = np.empty(x.shape, np.float64), np.empty(x.shape, np.uint8)
    given = np.arange(COUNT, dtype=np.int64).reshape(x.shape) % 8
    calls: dict[str, Callable[[], object]] = {
        "round": lambda: fe.round(x, "e4m3fn", out=values),
        "stochastic": lambda: fe.round(x, "e4m3fn", "stochastic_a", seed=1, out=values),
        "given": lambda: fe.round(x, "e4m3fn", "stochastic_a", random=given, random_bits=3, out=values),
        "no NaN": lambda: fe.round(x, "e2m1fn", out=values),
        "encode": lambda: fe.encode(x, "e4m3fn", out=codes),
        "e8m0fnu": lambda: fe.round(x, "e8m0fnu", out=values),
    }
    calls[face]()  # compiles
    tracemalloc.start()
    calls[face]()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < BLOCK


@pytest.mark.parametrize("mode", ["rne", "stochastic_b"])
def test_threads_change_nothing(mode: str) -> None:
    arrays = [source("float32")[i::7] for i in range(7)]
    seeds = [{"seed": 4, "stream": i} if mode == "stochastic_b" else {} for i in range(7)]
    alone = [fe.encode(x, "e5m2", mode, **seed) for x, seed in zip(arrays, seeds, strict=True)]
    with ThreadPoolExecutor(7) as pool:
        together = list(pool.map(lambda a: fe.encode(a[0], "e5m2", mode, **a[1]), zip(arrays, seeds, strict=True)))
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one, other)
