"""What torch is asked, and what floatemu computes for it: casts, operations, products of matrices.

A question is put to a device, or its answer is known from before, as a hash: so everything here but
:attr:`Question.ask` runs without the device.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import floatemu as fe
from floatemu.format import Format
from floatemu.interop.torch import readings
from floatemu.interop.torch.probes import matrices, pairs
from floatemu.interop.torch.tensors import DTYPES, codes
from floatemu.probes import probes

Array = np.ndarray[Any, Any]
SOURCES = (torch.float16, torch.float32, torch.float64)
TARGETS = tuple(d for d in DTYPES if d not in (torch.float32, torch.float64))
OPERATIONS = {"add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}
PRECISIONS = ("highest", "high", "medium")
"""Of float32 products, as torch names them."""
MATRIX_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Question:
    """One test of a torch build.

    Attributes
    ----------
    op : str
        As in :class:`~floatemu.matrix.conformance.Outcome`, like ``formats``.
    formats : dict
    fmt : Format
        Of the results.
    inputs : dict
        Operand's name: its codes, of the results' shape or for the whole test, and their format.
    ask : callable
        From a device's name to the codes that torch gives there.
    computed : callable
        Returns the codes that floatemu gives.
    known : callable
        From the answer to the ways in which torch is known to deviate: causes, and the codes they predict.
    """

    op: str
    formats: dict[str, str]
    fmt: Format
    inputs: dict[str, tuple[Array, Format]]
    ask: Callable[[str], Array]
    computed: Callable[[], Array]
    known: Callable[[Array], Iterable[readings.Reading]] = lambda answer: ()


def bits(x: Any) -> Array:
    """The codes of a floating tensor, on the CPU."""
    return np.asarray(codes(x.cpu().contiguous()).numpy())


def _cast(source: Any, target: Any) -> Question:
    fmt, own = DTYPES[target], DTYPES[source]
    x = probes(own.name, fmt)
    return Question(
        "cast",
        {"x": own.name, "d": fmt.name},
        fmt,
        {"x": (np.asarray(fe.encode(x, own)), own)},
        lambda device: bits(torch.from_numpy(x).to(device).to(target)),
        lambda: np.asarray(fe.encode(x, fmt)),
        lambda answer: readings.casts(x, own, fmt),
    )


def _decode(dtype: Any, wide: Any) -> Question:
    fmt, result = DTYPES[dtype], DTYPES[wide]
    listed = np.arange(2**fmt.k, dtype=f"u{fmt.k // 8}")
    return Question(
        "decode",
        {"x": fmt.name, "d": result.name},
        result,
        {"x": (listed, fmt)},
        lambda device: bits(torch.from_numpy(listed).view(dtype).to(device).to(wide)),
        lambda: np.asarray(fe.encode(fe.decode(listed, fmt), result)),
    )


def _operation(name: str, dtype: Any) -> Question:
    fmt = DTYPES[dtype]
    drawn = pairs(fmt, OPERATIONS[name])
    operands = tuple(np.asarray(fe.decode(c, fmt)) for c in drawn)

    def ask(device: str) -> Array:
        tensors = [torch.from_numpy(c).view(dtype).to(device) for c in drawn]
        return bits(torch.addcmul(tensors[2], *tensors[:2]) if name == "fma" else getattr(torch, name)(*tensors))

    def known(answer: Array) -> Iterable[readings.Reading]:
        if name == "sqrt":
            return readings.faithful(operands[0], fmt, answer)
        return readings.fused(operands, fmt) if name == "fma" else ()

    return Question(
        "arithmetic",
        dict.fromkeys((*"xyz"[: len(drawn)], "d"), fmt.name),
        fmt,
        {letter: (c, fmt) for letter, c in zip("xyz", drawn, strict=False)},
        ask,
        lambda: np.asarray(fe.encode(getattr(fe, name)(*operands, fmt), fmt)),
        known,
    )


@contextlib.contextmanager
def _precision(name: str | None) -> Iterator[None]:
    """How torch may make float32 products, for a while; None: as it is set."""
    with warnings.catch_warnings():
        # torch 2.9 says, to whoever reads the setting, that there is a newer one.
        warnings.simplefilter("ignore", UserWarning)
        before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name or before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _product(dtype: Any, precision: str | None = None) -> Question:
    fmt = DTYPES[dtype]
    a, b = matrices(fmt)

    def ask(device: str) -> Array:
        with _precision(precision):
            return bits(torch.from_numpy(a).to(device, dtype) @ torch.from_numpy(b).to(device, dtype))

    return Question(
        "matmul",
        dict.fromkeys("abd", fmt.name),
        fmt,
        {"a": (np.asarray(fe.encode(a, fmt)), fmt), "b": (np.asarray(fe.encode(b, fmt)), fmt)},
        ask,
        # Every partial sum in any order is a binary32 (binary64) number: only the result is rounded.
        lambda: np.asarray(fe.encode(a @ b, fmt)),
        lambda answer: readings.products(a, b, fmt.name),
    )


def questions() -> dict[str, Callable[[], Question]]:
    """Return every question by its id, made when it is called for.

    Examples
    --------
    >>> question = questions()["cast/binary16/e5m2"]()
    >>> question.op, float((question.ask("cpu") == question.computed()).mean()) > 0.9
    ('cast', True)
    """
    found: dict[str, Callable[[], Question]] = {}
    for source in SOURCES:
        for target in TARGETS:
            if source != target:
                key = f"cast/{DTYPES[source].name}/{DTYPES[target].name}"
                found[key] = lambda s=source, t=target: _cast(s, t)  # type: ignore[misc]
    for dtype in TARGETS:
        for wide in (torch.float32, torch.float64):
            key = f"decode/{DTYPES[dtype].name}/{DTYPES[wide].name}"
            found[key] = lambda d=dtype, w=wide: _decode(d, w)  # type: ignore[misc]
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        for name in OPERATIONS:
            found[f"{name}/{DTYPES[dtype].name}"] = lambda n=name, d=dtype: _operation(n, d)  # type: ignore[misc]
    for dtype in MATRIX_DTYPES:
        found[f"matmul/{DTYPES[dtype].name}"] = lambda d=dtype: _product(d)  # type: ignore[misc]
    for mode in PRECISIONS:
        found[f"matmul/binary32/{mode}"] = lambda m=mode: _product(torch.float32, m)  # type: ignore[misc]
    return found
