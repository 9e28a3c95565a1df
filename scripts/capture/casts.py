"""The section of conversions: every input, as a hash for each 2^20 of them, and 65536 inputs in full."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .driver import Driver, DriverError, Output
from .instructions import sha256
from .section import Clock, Section
from .table import CASTS, Cast
from .vectors import LAYOUTS, generator

Array = np.ndarray[Any, Any]
CHECKED = 0x3F8
"""The chunk that holds binary32's 1.0; its hash is made again here from results in full."""
UNLIKE = "the hash of a chunk made on the device differs from that of its results made here"


class Converter(Protocol):
    """One conversion on a device."""

    def hashes(self, first: int, count: int, size: int) -> Array:
        """Hashes of chunks of ``size`` inputs, from chunk ``first`` on."""

    def each(self, codes: Array) -> Array:
        """The results of some inputs."""


class OnDriver:
    """A conversion by a kernel of cvt.cu."""

    def __init__(self, driver: Driver, cast: Cast) -> None:
        self._driver, self._cast = driver, cast

    def hashes(self, first: int, count: int, size: int) -> Array:
        """One block for each chunk."""
        room = Output((count,), np.uint64)
        return self._driver.run(f"chunk_{self._cast.kernel}", count, 256, (room, first, size))[0]

    def each(self, codes: Array) -> Array:
        """One thread for each input."""
        room, n = Output(codes.shape, np.uint32), codes.size
        return self._driver.run(f"each_{self._cast.kernel}", -(-n // 256), 256, (codes, room, n))[0]


def entry(
    name: str, level: str, source: str, target: str, rounding: str | None, saturation: str | None
) -> dict[str, Any]:
    """A test's entry, without results."""
    return {
        "id": f"{level}.{name}", "level": level, "instruction": name, "source": source, "target": target,
        "rounding": rounding, "saturation": saturation, "chunk_bits": generator.CHUNK_BITS, "chunks": None,
        "hashes": None, "samples": None, "status": "done", "reason": None,
    }  # fmt: skip


def chunks_of(bits: int, most: int | None) -> Array:
    """Numbers of the chunks to hash: all, or ``most`` of them, spread."""
    count = 1 << max(bits - generator.CHUNK_BITS, 0)
    if most is None or most >= count:
        return np.arange(count, dtype=np.uint32)
    chosen = {CHECKED, *(i * count // most for i in range(most))}
    return np.array(sorted(chosen)[:most] if most > 1 else [CHECKED], np.uint32)


def ask(section: Section, test: dict[str, Any], converter: Converter, most: int | None) -> None:
    """Make one test: hashes, samples, and one chunk both ways."""
    bits, target = int(LAYOUTS[test["source"]].k), test["target"]
    size = 1 << min(bits, generator.CHUNK_BITS)
    chunks = chunks_of(bits, most)
    if len(chunks) == 1 << max(bits - generator.CHUNK_BITS, 0):
        hashes = converter.hashes(0, len(chunks), size)
    else:
        hashes = np.concatenate([converter.hashes(int(chunk), 1, size) for chunk in chunks])
    checked = CHECKED if CHECKED in chunks else 0
    start = checked * size
    outputs = converter.each(np.arange(start, start + size, dtype=np.uint64).astype(np.uint32))
    if generator.chunk_hash(start, outputs) != int(hashes[list(chunks).index(checked)]):
        section.fail(test, UNLIKE)
        return
    samples = generator.cast_samples(bits)
    results = converter.each(samples)
    key = section.key()
    width = LAYOUTS[target].dtype if target in LAYOUTS else np.dtype(np.uint8)
    test |= {"chunks": f"{key}.chunks", "hashes": f"{key}.hashes"}
    test["samples"] = {"version": generator.VERSION, "sha256": sha256(samples), "d": f"{key}.d"}
    section.arrays |= {f"{key}.chunks": chunks, f"{key}.hashes": hashes, f"{key}.d": results.astype(width)}
    section.tests.append(test)


def capture(driver: Driver | str, section: Section, clock: Clock, most: int | None) -> None:
    """Ask every conversion instruction that the device has.

    Parameters
    ----------
    driver : Driver or str
        Or why there is none.
    section : Section
    clock : Clock
    most : int, optional
        Chunks to hash, if not all.
    """
    for cast in CASTS:
        test = entry(cast.ptx, "ptx", cast.source, cast.target, cast.rounding, cast.saturation)
        if isinstance(driver, str):
            section.skip(test, driver)
        elif driver.sm >= cast.least:
            attempt(section, test, OnDriver(driver, cast), clock, most)


def attempt(section: Section, test: dict[str, Any], converter: Converter, clock: Clock, most: int | None) -> None:
    """:func:`ask`, unless the time is up; a driver's failure is the test's."""
    if clock.over:
        section.skip(test, clock.reason)
        return
    try:
        ask(section, test, converter, most)
    except (DriverError, RuntimeError) as error:
        section.fail(test, str(error).splitlines()[0])
