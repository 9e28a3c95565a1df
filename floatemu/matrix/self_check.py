"""Is this installation right? What it computes here, against what the package carries and against its oracle.

Units are compared with results that lie in ``data/self_check.json``, made (``scripts/make_self_check.py``) where the
units equalled their published models and every published result of a device. Codes and roundings are compared with
:mod:`floatemu.reference`, which shares no code with the compiled core.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from floatemu import reference
from floatemu.codec import decode, encode
from floatemu.format import Format
from floatemu.formats import FORMATS
from floatemu.matrix import generator
from floatemu.matrix.conformance import (
    Array,
    Conformance,
    Outcome,
    Progress,
    Status,
    compared,
    hexadecimal,
    subject,
)
from floatemu.matrix.generator import DISTRIBUTIONS, Layout
from floatemu.matrix.models import UNITS
from floatemu.matrix.product import mma
from floatemu.matrix.unit import Integer, MatrixUnit
from floatemu.projection import Projection, Rounding

__all__ = ["check_self", "results", "sampled"]

ROWS, COLUMNS = 2, 40
"""Of the products: more columns than any processor's vectors hold, and a rest."""
KEPT = 2
"""Results of each product that are carried in full, so that a difference can be shown."""
SEED, SAMPLES, BITS = 20, 160, 5
FILE = "data/self_check.json"
NAMED = dict(FORMATS)
SOURCE = "floatemu's own table, where it equalled every published result"
ORACLE = "floatemu.reference"


def layout(fmt: Format | Integer, register: Format | None = None) -> Layout:
    """A format as the generator of inputs takes it."""
    if isinstance(fmt, Integer):
        return Layout(fmt.name, fmt.bits)
    spare = register.k - fmt.k if register is not None else 0
    return Layout(fmt.name, fmt.k, fmt.p, fmt.bias or 0, fmt.max_code, fmt.inf_code, fmt.nan_code, spare)


def results(unit: MatrixUnit) -> dict[str, tuple[Array, Array, Array, Array]]:
    """Return what a unit makes of pinned inputs: a, b, c and d of one product for each distribution.

    Parameters
    ----------
    unit : MatrixUnit

    Returns
    -------
    dict
        From the distribution's name to codes (2, K), (K, 40), (2, 40), (2, 40), where K is two steps and a bit.

    Examples
    --------
    >>> import floatemu as fe
    >>> [x.shape for x in results(fe.matrix.find("A100", "fp16"))["normal"]]
    [(2, 19), (19, 40), (2, 40), (2, 40)]
    """
    a, b, c = layout(unit.a, unit.register), layout(unit.b, unit.register), layout(unit.output)
    k = 2 * unit.step.depth + 3 if unit.block is None else 2 * max(unit.step.depth, unit.block)
    found = {}
    for place, name in enumerate(DISTRIBUTIONS if isinstance(unit.a, Format) else ("raw", "zeros")):
        x, y = generator.operands(name, a, b, c, ROWS, COLUMNS, k, SEED)
        z = generator.draw(name, c, (ROWS, COLUMNS), SEED, 64 + place, c)
        scales: dict[str, Any] = {}
        if unit.scale is not None and unit.block is not None:
            blocks = k // unit.block
            scales["scale_a"] = _scales(unit.scale, (ROWS, blocks), 72 + place)
            scales["scale_b"] = _scales(unit.scale, (blocks, COLUMNS), 80 + place)
        found[name] = x, y.T, z, mma(unit, x, y.T, z, codes=True, **scales)
    return found


def _scales(fmt: Format, shape: tuple[int, int], stream: int) -> Array:
    """Codes of scales between 2^-8 and 2^7."""
    words = generator.words(SEED, stream, 0, shape[0] * shape[1]).reshape(shape)
    near = (words % np.uint64(16)).astype(np.int64) - 8 + (fmt.bias or 0)
    return ((near << (fmt.p - 1)).clip(0, fmt.max_code)).astype(np.uint8)


def sampled(unit: MatrixUnit) -> dict[str, Any]:
    """Return a unit's entry in the file: the hash of all its results, and the first few of each product.

    Parameters
    ----------
    unit : MatrixUnit

    Returns
    -------
    dict
        ``sha256`` of all codes, little-endian, in the order of the distributions; ``first``: codes in hexadecimal.

    Examples
    --------
    >>> import floatemu as fe
    >>> len(sampled(fe.matrix.find("A100", "fp16"))["first"]["normal"])
    2
    """
    found = results(unit)
    digest = hashlib.sha256()
    for *_, d in found.values():
        digest.update(np.ascontiguousarray(d, d.dtype.newbyteorder("<")).tobytes())
    first = {name: [hexadecimal(x, unit.output) for x in d[0, :KEPT]] for name, (*_, d) in found.items()}
    return {"sha256": digest.hexdigest(), "first": first}


@cache
def _carried() -> dict[str, Any]:
    text = resources.files("floatemu.matrix").joinpath(FILE).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _unit(unit: MatrixUnit) -> Outcome:
    formats = {"a": unit.a.name, "b": unit.b.name, "c": unit.output.name, "d": unit.output.name}
    here, there = sampled(unit), _carried()["units"][unit.name]
    n = ROWS * COLUMNS * len(here["first"])
    if here["sha256"] == there["sha256"]:
        return Outcome(f"unit/{unit.name}", unit.name, "mma", formats, n, n, "pass", source=SOURCE)
    first, equal = None, 0
    for name, codes in there["first"].items():
        a, b, c, d = results(unit)[name]
        want = np.array([int(code, 16) for code in codes], d.dtype)

        def inputs(
            place: tuple[int, ...], a: Array = a, b: Array = b, c: Array = c, name: str = name
        ) -> dict[str, Any]:
            left, right = (unit.register or f for f in (unit.a, unit.b))
            operands = {"a": [hexadecimal(x, left) for x in a[0]], "b": [hexadecimal(x, right) for x in b[:, place[0]]]}
            return {"label": name} | operands | {"c": hexadecimal(c[0, place[0]], unit.output)}

        same, difference = compared(d[0, :KEPT], want, unit.output, inputs)
        equal, first = equal + same, first or difference
    reason = f"{n} results have another hash; {equal} of the {KEPT * len(here['first'])} carried in full are equal"
    return Outcome(f"unit/{unit.name}", unit.name, "mma", formats, n, equal, "fail", None, reason, SOURCE, first)


def _decoding(fmt: Format) -> Outcome:
    """Every code, up to 16 bits."""
    codes = np.arange(2**fmt.k, dtype=np.uint32)
    want = np.array([float(reference.decode(int(code), fmt)) for code in codes])
    return _values(f"decode/{fmt.name}", "decode", fmt, codes, np.asarray(decode(codes, fmt, np.float64)), want)


def _values(name: str, op: str, fmt: Format, codes: Array, got: Array, want: Array) -> Outcome:
    formats = {"x": fmt.name, "d": "binary64"}
    # Which NaN stands for NaN is the carrier's affair, not the format's.
    here, there = (np.where(np.isnan(x), np.nan, x).view(np.uint64) for x in (got, want))
    equal, first = compared(here, there, FORMATS["binary64"], lambda place: {"x": hexadecimal(codes[place], fmt)})
    return Outcome(name, None, op, formats, codes.size, equal, "fail" if first else "pass", None, None, ORACLE, first)


def _numbers(fmt: Format) -> Array:
    """Binary64 numbers over the range of a format and a little beyond: few significant bits, so that ties occur."""
    words = generator.words(SEED, 96, 0, 3 * SAMPLES).reshape(3, SAMPLES)
    low, high = max(fmt.emin - fmt.p - 1, -1022), min(fmt.emax + 2, 1023)
    exponent = low + (words[0] % np.uint64(high - low)).astype(np.int64)
    width = np.minimum(fmt.p + 3, 53) - (words[1] % np.uint64(4)).astype(np.int64)
    fraction = (words[2] >> np.uint64(12)) >> np.maximum(53 - width, 0).astype(np.uint64)
    value = np.ldexp(1 + np.ldexp(fraction.astype(np.float64), -np.minimum(width - 1, 52)), exponent)
    value[:4] = 0.0, float(fmt.max), np.inf, np.nan if fmt.has_nan else 1.0
    negative = (words[1] >> np.uint64(63)).astype(bool) & fmt.signed
    return np.asarray(np.where(negative, -value, value))


def _rounding(fmt: Format, mode: Rounding) -> Outcome:
    x = _numbers(fmt)
    draws = (generator.words(SEED, 104, 0, SAMPLES) % np.uint64(2**BITS)).astype(np.int64)
    more: dict[str, Any] = {"random": draws, "random_bits": BITS} if mode.stochastic else {}
    by = Projection(mode, random_bits=BITS) if mode.stochastic else Projection(mode)
    got = np.asarray(encode(x, fmt, mode, **more)).astype(np.uint64)
    want = [reference.project(float(v), fmt, by, int(r) if mode.stochastic else 0) for v, r in zip(x, draws)]

    def inputs(place: tuple[int, ...]) -> dict[str, Any]:
        return {"x": hexadecimal(x[place].view(np.uint64), FORMATS["binary64"])} | (
            {"random": hex(int(draws[place]))} if mode.stochastic else {}
        )

    equal, first = compared(got, np.array(want, np.uint64), fmt, inputs)
    formats = {"x": "binary64", "d": fmt.name}
    status: Status = "fail" if first else "pass"
    return Outcome(
        f"round/{fmt.name}/{mode.name}", None, "round", formats, x.size, equal, status, None, None, ORACLE, first
    )


def _tests() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    for fmt in NAMED.values():
        if fmt.k <= 16:
            yield f"decode/{fmt.name}", _decoding, (fmt,)
    for fmt in NAMED.values():
        for mode in Rounding:
            yield f"round/{fmt.name}", _rounding, (fmt, mode)
    for unit in UNITS:
        yield unit.name, _unit, (unit,)


def check_self(progress: Progress | None = None) -> Conformance:
    """Check an installation: every format's codes, every rounding mode, every matrix unit.

    Parameters
    ----------
    progress : callable, optional
        Called with (tests done, tests in all, name).

    Returns
    -------
    Conformance
        ``subject["cpu"]`` is the processor that it ran on.

    Notes
    -----
    Some 500 tests; a few seconds, the first time less than a minute, since numba compiles.
    """
    from llvmlite import binding

    tests = list(_tests())
    found = []
    for done, (name, check, arguments) in enumerate(tests):
        if progress is not None:
            progress(done, len(tests), name)
        found.append(check(*arguments))
    return Conformance(subject("self", cpu=str(binding.get_host_cpu_name())), tuple(found))
