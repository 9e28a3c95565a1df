"""One text, four ways: Python integers, the JIT disabled, compiled scalars and compiled loops agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import floatemu as fe
from floatemu._core import kernels, rounding
from floatemu._core.random import draw, stream_state
from floatemu.target import _target, carrier_format

FORMATS = ["e4m3fn", "e5m2fnuz", "e2m1fn", "bfloat16", "binary16", "binary8p1se", "binary8p3uf"]
CARRIERS = [("float32", 23, 127), ("float64", 52, 1023)]


def probes(carrier: str, fmt: fe.Format, count: int = 300) -> np.ndarray:
    """Raw bits, and numbers around the format's own range."""
    generator = np.random.Generator(np.random.PCG64(11))
    word = kernels.CARRIERS[carrier][0]
    raw = generator.integers(0, 2 ** (8 * word().itemsize), count, dtype=word).view(carrier)
    exponents = generator.uniform(fmt.qmin - 3, fmt.emax + 3, count)
    near = (np.sign(generator.uniform(-1, 1, count)) * 2.0**exponents).astype(carrier)
    return np.concatenate([raw, near, np.array([0.0, -0.0, np.inf, -np.inf, np.nan], carrier)])


@pytest.mark.parametrize("mode", fe.Rounding)
@pytest.mark.parametrize(("carrier", "t", "bias"), CARRIERS)
@pytest.mark.parametrize("name", FORMATS)
def test_python_integers_and_compiled_loop_agree(name: str, carrier: str, t: int, bias: int, mode: fe.Rounding) -> None:
    fmt = fe.get_format(name)
    n = 7 if mode.stochastic else 0
    projection = fe.Projection(mode, "none", n or None)
    x = probes(carrier, fmt)
    bits = x.view(kernels.CARRIERS[carrier][0])
    draws = [draw(int, stream_state(5, 9), i, n) if n else 0 for i in range(x.size)]
    random = {"seed": 5, "stream": 9, "random_bits": n} if n else {}
    values, flags = fe.round_with_flags(x, fmt, mode, nan="max", dtype=carrier, **random)
    codes = fe.encode(x, fmt, mode, nan="max", **random)
    for coded, result in ((False, values.view(bits.dtype)), (True, codes)):
        target = _target(fmt, projection, "max", t, bias, None if coded else carrier_format(carrier))
        expected = [
            rounding.project_carrier(int, t, int(b), target, int(mode), r, n, 2**n - 1, coded, True)
            for b, r in zip(bits, draws, strict=True)
        ]
        assert [int(v) for v in result] == [out for out, _ in expected]
        assert [int(f) for f in flags] == [flag for _, flag in expected]


PROGRAM = """
import json, sys
import numpy as np
import floatemu as fe
x = np.array([0.1, -0.1, 1e-9, 464.0, 465.0, -1e9, 0.0, -0.0, np.inf, 3.3e-3], sys.argv[1])
result = []
for mode in fe.Rounding:
    random = {"seed": 3, "random_bits": 4} if mode.stochastic else {}
    values, flags = fe.round_with_flags(x, "e4m3fn", mode, **random)
    codes = fe.encode(x, "e4m3fn", mode, **random)
    result.append([values.astype(str).tolist(), flags.tolist(), codes.tolist()])
    result.append(fe.round(np.array([3, 2**62 + 1, -7]), "e8m0fnu", mode, **random).astype(str).tolist())
print(json.dumps(result))
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_jit_disabled_gives_the_same(dtype: str) -> None:
    results = []
    for disabled in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        command = [sys.executable, "-W", "error", "-c", PROGRAM, dtype]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]


@pytest.mark.parametrize("mode", fe.Rounding)
@pytest.mark.parametrize("name", ["e4m3fn", "binary16", "e8m0fnu", "binary8p1uf", "binary5p2ue"])
def test_rounder_inside_compiled_code(name: str, mode: fe.Rounding) -> None:
    from numba import njit

    random = {"seed": 8, "stream": 2, "random_bits": 5} if mode.stochastic else {}
    r = fe.rounder(name, mode, **random)
    fmt = fe.get_format(name)

    @njit
    def each(x, out):  # type: ignore[no-untyped-def]
        for i in range(x.size):
            out[i] = r(x[i], i)

    x = probes("float64", fmt, 100)
    out = np.empty_like(x)
    each(x, out)
    expected = fe.round(x, fmt, mode, dtype=np.float64, **random)
    assert np.array_equal(out.view(np.uint64), expected.view(np.uint64))
