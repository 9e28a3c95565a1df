"""The section of single instructions: a self-test, designed vectors, and random ones, each with a real C operand."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from .driver import Driver, DriverError, Output
from .fragments import LEADING, STRIDE, pack_a, pack_b, pack_c, threads_of, unpack_d
from .section import Clock, Section
from .table import INSTRUCTIONS, Instruction
from .vectors import LAYOUTS, generator, probe_vectors

Array = np.ndarray[Any, Any]
SEED = 1
BROKEN = "the launch failed its self-test: small integers gave a wrong product"
_WARPS = 4
_LAYOUTS = ((LEADING, STRIDE), (STRIDE, LEADING))


def sha256(codes: Array) -> str:
    """Of the bytes, little-endian and in C order."""
    return hashlib.sha256(np.ascontiguousarray(codes, codes.dtype.newbyteorder("<")).tobytes()).hexdigest()


def multiply(driver: Driver, i: Instruction, a: Array, b: Array, c: Array, offsets: tuple[int, int]) -> Array:
    """D = A B + C for tiles of codes (tiles, M, K), (tiles, K, N), (tiles, M, N)."""
    words = pack_c(i, c)
    room = Output(words.shape, words.dtype)
    inputs = (pack_a(i, a), pack_b(i, b), words, room)
    tiles = len(a)
    if i.family == "wgmma":
        (found,) = driver.run(i.kernel, tiles, threads_of(i), (*inputs, *offsets))
    else:
        (found,) = driver.run(i.kernel, -(-tiles // _WARPS), 32 * _WARPS, (*inputs, tiles))
    return unpack_d(i, found)


def dots(driver: Driver, i: Instruction, a: Array, b: Array, c: Array, offsets: tuple[int, int]) -> Array:
    """d_i = c_i + a_i . b_i, each in a place of its own on the diagonals of tiles; K chained, ascending."""
    m, n, k = i.shape
    count, length = a.shape
    tiles = -(-count // n)
    column = np.arange(count) % n
    tile = np.arange(count) // n
    row = column + n * (tile % (m // n))  # every row of the tile is used by some tile
    d = c
    for start in range(0, length, k):
        left, right = np.zeros((tiles, m, k), a.dtype), np.zeros((tiles, k, n), b.dtype)
        first = np.zeros((tiles, m, n), c.dtype)
        left[tile, row] = a[:, start : start + k]
        right[tile, :, column] = b[:, start : start + k]
        first[tile, row, column] = d
        d = multiply(driver, i, left, right, first, offsets)[tile, row, column]
    return d


def _integers(name: str, shape: tuple[int, ...], stream: int) -> tuple[Array, Array]:
    """Small integers and their codes."""
    layout = LAYOUTS[name]
    least = 0 if name.startswith("u") else -2
    draw = generator.words(SEED, stream, 0, int(np.prod(shape))) % np.uint64(5)
    values = draw.astype(np.int64).reshape(shape) + least
    codes = np.array([probe_vectors.code_of(layout, value) for value in range(least, least + 5)], np.uint64)
    return values, codes[values - least].astype(layout.dtype)


def self_test(driver: Driver, i: Instruction, offsets: tuple[int, int]) -> bool:
    """Whether whole tiles of small integers give the exact product; no rounding can hide a wrong place."""
    m, n, k = i.shape
    (a, a_codes), (b, b_codes) = _integers(i.a, (6, m, k), 1000), _integers(i.b, (6, k, n), 1001)
    c, c_codes = _integers(i.d, (6, m, n), 1002)
    exact = a @ b + c
    span = range(int(exact.min()), int(exact.max()) + 1)
    codes = np.array([probe_vectors.code_of(LAYOUTS[i.d], value) for value in span], np.uint64)
    expected = codes[exact - span.start].astype(LAYOUTS[i.d].dtype)
    return bool((multiply(driver, i, a_codes, b_codes, c_codes, offsets) == expected).all())


def _offsets(driver: Driver, i: Instruction) -> tuple[int, int] | None:
    """The descriptor's offsets with which the self-test passes, or None."""
    choices = _LAYOUTS if i.family == "wgmma" else _LAYOUTS[:1]
    return next((offsets for offsets in choices if self_test(driver, i, offsets)), None)


def test_of(i: Instruction, sm: int, name: str, n: int, k: int) -> dict[str, Any]:
    """A test's entry, without results."""
    register = {"tf32": "binary32"}
    return {
        "id": f"{i.kernel}/{name}", "instruction": i.ptx, "unit": i.unit(sm), "shape": list(i.shape),
        "formats": {"a": register.get(i.a, i.a), "b": register.get(i.b, i.b), "c": i.d, "d": i.d},
        "n": n, "k": k, "inputs": {}, "sha256": None, "status": "done", "reason": None, "d": None,
    }  # fmt: skip


def _distributions(i: Instruction) -> tuple[str, ...]:
    every: tuple[str, ...] = generator.DISTRIBUTIONS
    return every if LAYOUTS[i.a].p else ("raw", "zeros")


def capture(driver: Driver, section: Section, clock: Clock, vectors: int, covers: Any = None) -> None:
    """Ask every instruction that the device has; results go to ``section``.

    Parameters
    ----------
    driver : Driver
    section : Section
    clock : Clock
    vectors : int
        Random vectors of each distribution.
    covers : callable, optional
        Which instructions to ask, if not all.
    """
    section.facts["descriptors"] = ""
    for i in INSTRUCTIONS:
        if not i.runs_on(driver.sm) or (covers is not None and not covers(i)):
            continue
        labels, *designed = probe_vectors.probe_vectors(LAYOUTS[i.a], LAYOUTS[i.b], LAYOUTS[i.d], i.shape[2])
        layouts = (LAYOUTS[i.a], LAYOUTS[i.b], LAYOUTS[i.d], vectors, i.shape[2], SEED)
        tests: list[tuple[dict[str, Any], str | None]] = [
            (test_of(i, driver.sm, "probes", len(labels), i.shape[2]), None),
            *((test_of(i, driver.sm, name, vectors, i.shape[2]), name) for name in _distributions(i)),
        ]
        try:
            offsets = None if clock.over else _offsets(driver, i)
            broken = BROKEN
        except DriverError as error:
            offsets, broken = None, str(error)
        if offsets is not None and i.family == "wgmma":
            section.facts["descriptors"] = f"leading={offsets[0]},stride={offsets[1]}"
        for test, distribution in tests:
            if clock.over:
                section.skip(test, clock.reason)
                continue
            if offsets is None:
                section.fail(test, broken)
                continue
            a, b, c = designed if distribution is None else generator.vectors(distribution, *layouts)
            if distribution is None:
                test["labels"], test["inputs"] = labels, {"kind": "stored", "version": probe_vectors.VERSION}
            else:
                test["inputs"] = {
                    "kind": "generated", "distribution": distribution, "seed": SEED, "version": generator.VERSION,
                }  # fmt: skip
                if i.a == "tf32":
                    test["inputs"]["values"] = "tf32"
            test["sha256"] = {name: sha256(codes) for name, codes in zip("abc", (a, b, c))}
            try:
                results = dots(driver, i, a, b, c, offsets)
            except DriverError as error:
                section.fail(test, str(error))
                continue
            section.add(test, results, {"a": a, "b": b, "c": c} if distribution is None else {})
