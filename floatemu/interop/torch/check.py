"""The torch build at hand against floatemu: casts, elementwise operations, products of matrices.

Expected is what torch gives, actual what floatemu computes. No standard says which NaN a cast or an operation gives:
NaNs count as equal, and torch's codes for them are named in the reason.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llvmlite import binding

import floatemu as fe
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.interop.torch import readings
from floatemu.interop.torch.probes import matrices, pairs
from floatemu.interop.torch.tensors import DTYPES, codes
from floatemu.matrix.conformance import Conformance, Outcome, Progress, compared, hexadecimal, skipped, subject
from floatemu.probes import probes

Array = np.ndarray[Any, Any]
SOURCES = (torch.float16, torch.float32, torch.float64)
TARGETS = tuple(d for d in DTYPES if d not in (torch.float32, torch.float64))
OPERATIONS = {"add": 2, "sub": 2, "mul": 2, "div": 2, "sqrt": 1, "fma": 3}
DRIVER = Path("/proc/driver/nvidia/version")
LISTED = 3
"""Codes of NaN that are named."""
PRECISIONS = ("highest", "high", "medium")
"""Of float32 products, as torch names them."""
MATRIX_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def judge(
    name: str, op: str, formats: dict[str, str], fmt: Format, inputs: dict[str, tuple[Array, Format]], want: Array,
    got: Array, known: Iterable[readings.Reading], source: str,
) -> Outcome:  # fmt: skip
    """Compare codes of one format, NaN with NaN, and look for a known way that explains every difference.

    Parameters
    ----------
    name, op, formats, source
        As in :class:`~floatemu.matrix.conformance.Outcome`.
    fmt : Format
        Of the codes.
    inputs : dict
        Operand's name: its codes, of the results' shape or for the whole test, and their format.
    want, got : ndarray of unsigned integers
        What torch gave, and what floatemu computes.
    known : iterable of (str, callable)
        Causes and the codes they predict.

    Returns
    -------
    Outcome

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> fmt, one, two = fe.get_format("e4m3fn"), np.array([0x38], np.uint8), np.array([0x39], np.uint8)
    >>> judge("x", "cast", {}, fmt, {}, one, two, [("a cause", lambda: one)], "a library").status
    'known'
    """

    def plain(x: Array) -> Array:
        nan = fmt.nan_code
        return x if nan is None else np.where(np.isnan(fe.decode(x, fmt)), nan, x).astype(x.dtype)

    def operands(place: tuple[int, ...]) -> dict[str, Any]:
        found = {}
        for key, (values, kind) in inputs.items():
            row = values[place] if values.shape == want.shape else values
            found[key] = (
                hexadecimal(row, kind) if np.ndim(row) == 0 else [hexadecimal(v, kind) for v in np.ravel(row)[:16]]
            )
        return found

    nans = np.unique(want[np.isnan(fe.decode(want, fmt))])
    reason = None
    if nans.size:
        more = f" … {nans.size} in all" if nans.size > LISTED else ""
        reason = f"torch's NaN: {', '.join(hexadecimal(code, fmt) for code in nans[:LISTED])}{more}"
    there = plain(want)
    equal, first = compared(plain(got), there, fmt, operands)
    outcome = Outcome(name, None, op, formats, want.size, equal, "pass", None, reason, source, first)
    if first is None:
        return outcome
    for cause, predicted in known:
        if np.array_equal(plain(predicted()), there):
            return replace(outcome, status="known", cause=cause)
    return replace(outcome, status="fail")


def _bits(x: Any) -> Array:
    return np.asarray(codes(x.cpu().contiguous()).numpy())


def _cast(source: Any, target: Any, device: str, origin: str) -> Outcome:
    fmt, own = DTYPES[target], DTYPES[source]
    x = probes(own.name, fmt)
    want = _bits(torch.from_numpy(x).to(device).to(target))
    got = np.asarray(fe.encode(x, fmt))
    formats = {"x": own.name, "d": fmt.name}
    inputs = {"x": (np.asarray(fe.encode(x, own)), own)}
    return judge(
        f"cast/{own.name}/{fmt.name}", "cast", formats, fmt, inputs, want, got, readings.casts(x, own, fmt), origin
    )


def _decode(dtype: Any, wide: Any, device: str, origin: str) -> Outcome:
    fmt, result = DTYPES[dtype], DTYPES[wide]
    listed = np.arange(2**fmt.k, dtype=f"u{fmt.k // 8}")
    want = _bits(torch.from_numpy(listed).view(dtype).to(device).to(wide))
    got = np.asarray(fe.encode(fe.decode(listed, fmt), result))
    formats = {"x": fmt.name, "d": result.name}
    return judge(
        f"decode/{fmt.name}/{result.name}", "decode", formats, result, {"x": (listed, fmt)}, want, got, (), origin
    )


def _operation(name: str, dtype: Any, device: str, origin: str) -> Outcome:
    fmt = DTYPES[dtype]
    drawn = pairs(fmt, OPERATIONS[name])
    tensors = [torch.from_numpy(c).view(dtype).to(device) for c in drawn]
    operands = tuple(np.asarray(fe.decode(c, fmt)) for c in drawn)
    want = _bits(torch.addcmul(tensors[2], *tensors[:2]) if name == "fma" else getattr(torch, name)(*tensors))
    got = np.asarray(fe.encode(getattr(fe, name)(*operands, fmt), fmt))
    formats = dict.fromkeys((*"xyz"[: len(drawn)], "d"), fmt.name)
    inputs = {letter: (c, fmt) for letter, c in zip("xyz", drawn, strict=False)}
    known = {"fma": lambda: readings.fused(operands, fmt), "sqrt": lambda: readings.faithful(operands[0], fmt, want)}
    return judge(f"{name}/{fmt.name}", "arithmetic", formats, fmt, inputs, want, got, known.get(name, tuple)(), origin)


@contextlib.contextmanager
def _precision(name: str | None) -> Iterator[None]:
    """How torch may make float32 products, for a while; None: as it is set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name or before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _product(dtype: Any, device: str, origin: str, precision: str | None = None) -> Outcome:
    fmt = DTYPES[dtype]
    a, b = matrices(fmt)
    # Every partial sum in any order is a binary32 (binary64) number: only the result is rounded.
    with _precision(precision):
        want = _bits(torch.from_numpy(a).to(device, dtype) @ torch.from_numpy(b).to(device, dtype))
    got = np.asarray(fe.encode(a @ b, fmt))
    inputs = {"a": (np.asarray(fe.encode(a, fmt)), fmt), "b": (np.asarray(fe.encode(b, fmt)), fmt)}
    known = readings.products(a, b, fmt.name)
    formats = dict.fromkeys("abd", fmt.name)
    name = f"matmul/{fmt.name}" + (f"/{precision}" if precision else "")
    return judge(name, "matmul", formats, fmt, inputs, want, got, known, origin)


def _tests(device: str, origin: str) -> dict[str, tuple[str, Callable[[], Outcome]]]:
    """Every test by its id: its op, and what runs it."""
    found: dict[str, tuple[str, Callable[[], Outcome]]] = {}
    for source in SOURCES:
        for target in TARGETS:
            if source != target:
                name = f"cast/{DTYPES[source].name}/{DTYPES[target].name}"
                found[name] = "cast", lambda s=source, t=target: _cast(s, t, device, origin)  # type: ignore[misc]
    for dtype in TARGETS:
        for wide in (torch.float32, torch.float64):
            name = f"decode/{DTYPES[dtype].name}/{DTYPES[wide].name}"
            found[name] = "decode", lambda d=dtype, w=wide: _decode(d, w, device, origin)  # type: ignore[misc]
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        for name in OPERATIONS:
            key = f"{name}/{DTYPES[dtype].name}"
            found[key] = "arithmetic", lambda n=name, d=dtype: _operation(n, d, device, origin)  # type: ignore[misc]
    for dtype in MATRIX_DTYPES:
        found[f"matmul/{DTYPES[dtype].name}"] = "matmul", lambda d=dtype: _product(d, device, origin)  # type: ignore[misc]
    for mode in PRECISIONS:
        key = f"matmul/binary32/{mode}"
        found[key] = "matmul", lambda m=mode: _product(torch.float32, device, origin, m)  # type: ignore[misc]
    return found


def _driver() -> str | None:
    """The version of NVIDIA's kernel module, where Linux tells it; torch does not say."""
    try:
        text = DRIVER.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else None


def _facts(device: str) -> dict[str, str | None]:
    cpu = f"{binding.get_host_cpu_name()}, of which torch uses {torch.backends.cpu.get_cpu_capability()}"
    facts: dict[str, str | None] = {"device": device, "torch": torch.__version__, "cpu": cpu}
    if torch.device(device).type != "cuda":
        return facts
    major, minor = torch.cuda.get_device_capability(device)
    facts |= {"device": torch.cuda.get_device_name(device), "sm": f"{major}.{minor}", "cuda": torch.version.cuda}
    return facts | {"driver": _driver()}


def check_torch(device: str = "cpu", progress: Progress | None = None, only: str = "") -> Conformance:
    """Compare floatemu with torch's own casts, operations and products on a device.

    Parameters
    ----------
    device : str
        As torch names it.
    progress : callable, optional
        Called with (tests done, tests in all, test).
    only : str
        Run the tests whose id starts with this.

    Returns
    -------
    Conformance
        A test that deviates is ``known`` if one documented way of torch gives every bit, else ``fail``.

    Raises
    ------
    UnsupportedError
        If torch has no such device.

    Examples
    --------
    >>> found = check_torch(only="cast/binary16/e5m2")
    >>> [(test.id, test.n, test.status) for test in found.tests]
    [('cast/binary16/e5m2', 65536, 'pass'), ('cast/binary16/e5m2fnuz', 65536, 'pass')]
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        text = str(error).split("\n")[0]
        raise UnsupportedError(
            f"torch has no device {device!r} here ({text}); accepted: cpu, cuda, cuda:1 ..."
        ) from None
    origin = f"torch {torch.__version__} on {device}"
    tests = {name: test for name, test in _tests(device, origin).items() if name.startswith(only)}
    found = []
    for done, (name, (op, run)) in enumerate(tests.items()):
        if progress is not None:
            progress(done, len(tests), name)
        try:
            found.append(run())
        except (RuntimeError, NotImplementedError) as error:
            reason = f"torch refuses: {str(error).splitlines()[0]}"
            found.append(skipped(name, None, op, {}, reason, origin))
    return Conformance(subject("torch", **_facts(device)), tuple(found))
