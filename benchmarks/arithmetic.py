"""The same arithmetic by floatemu and by what else is installed, as named calls on prepared arrays of the same numbers.

One list for the pytest-benchmark file and for the table's script. What a peer does not have is left out; what it does
otherwise carries a note.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import floatemu as fe

COUNT = 2**22
SIZE = 512
FORMATS = {"bfloat16": "bfloat16", "binary16": "float16", "e4m3fn": "float8_e4m3fn"}
"""Name here, and in numpy, ml_dtypes and torch."""

OPERATIONS = ("add", "mul", "div", "sqrt", "fma", "exp", "exp of float32", "tanh", "sum", "matmul")
PEERS = ("floatemu", "ml_dtypes", "numpy", "torch", "gfloat")
NUMPYS = {"add": np.add, "mul": np.multiply, "div": np.divide, "sqrt": np.sqrt, "exp": np.exp, "tanh": np.tanh}

NOTES = {
    "single": "computes in binary32, then rounds: right for + - x / and the root, not promised for functions",
    "wide sum": "accumulates in binary32, in an order of its own, and rounds once at the end",
    "double": "binary64 operation by numpy, then gfloat's rounding: rounds twice; on 2^18 numbers, where it is faster",
}


@dataclass(frozen=True)
class Case:
    """One timed call on ``count`` elements, or multiply-adds; ``note`` is a key of NOTES."""

    operation: str
    fmt: str
    peer: str
    run: Callable[[], Any]
    count: int = COUNT
    note: str = ""


def operands(fmt: str, shape: Any = COUNT) -> list[np.ndarray]:
    """Three arrays of positive values of the format around 1, as float32: roots and quotients stay ordinary."""
    draw = np.random.Generator(np.random.PCG64(0))
    return [fe.round(np.exp(draw.standard_normal(shape, np.float32)), fmt) for _ in range(3)]


def stored(fmt: str) -> Any:
    """numpy's dtype that is the format, from ml_dtypes if need be; float32 without it."""
    if fmt == "binary16":
        return np.float16
    try:
        import ml_dtypes
    except ImportError:
        return np.float32
    return getattr(ml_dtypes, FORMATS[fmt])


def ours(fmt: str) -> Iterator[Case]:
    """floatemu on float32 arrays, every operation rounded to the format; functions of the format's own arrays, too."""
    x, y, z = operands(fmt)
    narrow, out = x.astype(stored(fmt)), np.empty_like(x)
    arguments: dict[str, tuple[np.ndarray, ...]] = dict.fromkeys(("add", "mul", "div"), (x, y))
    arguments |= {"sqrt": (x,), "fma": (x, y, z), "exp": (narrow,), "exp of float32": (x,), "tanh": (narrow,)}
    for name, args in arguments.items():
        function = getattr(fe, name.split()[0])
        yield Case(name, fmt, "floatemu", lambda f=function, a=args: f(*a, fmt, out=out))
    yield Case("sum", fmt, "floatemu", lambda: fe.sum(x, fmt))
    a, b, _ = operands(fmt, (SIZE, SIZE))
    yield Case("matmul", fmt, "floatemu", lambda: fe.matmul(a, b, fmt), SIZE**3)


def of_numpy(fmt: str, dtype: Any, peer: str) -> Iterator[Case]:
    """numpy's functions on arrays of its own float16, or of ml_dtypes."""
    x, y, _ = (v.astype(dtype) for v in operands(fmt))
    out = np.empty_like(x)
    for name, function in NUMPYS.items():
        args = (x, y) if function.nin == 2 else (x,)
        yield Case(name, fmt, peer, lambda f=function, a=args: f(*a, out=out), note="single")
    yield Case("sum", fmt, peer, lambda: np.sum(x), note="wide sum" if peer == "numpy" else "")
    a, b, _ = (v.astype(dtype) for v in operands(fmt, (SIZE, SIZE)))
    yield Case("matmul", fmt, peer, lambda: np.matmul(a, b), SIZE**3, "wide sum")


def of_torch(fmt: str) -> Iterator[Case]:
    """torch on the CPU, one thread; it has no arithmetic on 8-bit tensors."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)
    dtype = getattr(torch, FORMATS[fmt])
    x, y, _ = (torch.from_numpy(v).to(dtype) for v in operands(fmt))
    with contextlib.suppress(RuntimeError, NotImplementedError):
        out = torch.add(x, y)
        functions = {name: getattr(torch, name) for name in NUMPYS}
        for name, function in functions.items():
            args = (x, y) if NUMPYS[name].nin == 2 else (x,)
            yield Case(name, fmt, "torch", lambda f=function, a=args: f(*a, out=out), note="single")
        yield Case("sum", fmt, "torch", lambda: torch.sum(x), note="wide sum")
        a, b, _ = (torch.from_numpy(v).to(dtype) for v in operands(fmt, (SIZE, SIZE)))
        yield Case("matmul", fmt, "torch", lambda: torch.matmul(a, b), SIZE**3, "wide sum")


def of_gfloat(fmt: str) -> Iterator[Case]:
    """gfloat rounds; the operation before it is numpy's. On a part of the array: its many temporaries fit in cache."""
    try:
        import gfloat
        from gfloat import formats
    except ImportError:
        return
    info = getattr(formats, f"format_info_{'ocp_e4m3' if fmt == 'e4m3fn' else fmt}")
    x, y, _ = (v[: COUNT // 16].astype(np.float64) for v in operands(fmt))
    for name, function in NUMPYS.items():
        args = (x, y) if function.nin == 2 else (x,)
        run = lambda f=function, a=args: gfloat.round_ndarray(info, f(*a))  # noqa: E731
        yield Case(name, fmt, "gfloat", run, x.size, "double")


def cases(fmt: str) -> list[Case]:
    """All cases of one format, ours first."""
    found = [*ours(fmt)]
    if fmt == "binary16":
        found += of_numpy(fmt, np.float16, "numpy")
    else:
        with contextlib.suppress(ImportError):
            import ml_dtypes

            found += of_numpy(fmt, getattr(ml_dtypes, FORMATS[fmt]), "ml_dtypes")
    return [*found, *of_torch(fmt), *of_gfloat(fmt)]
