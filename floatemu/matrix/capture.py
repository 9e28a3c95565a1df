"""Read what a device answered: a folder that ``scripts/capture_gpu.py`` wrote (docs/capture-format.md).

A capture may come from a stranger. Its JSON is held to the package's schema, its arrays are checked for size and dtype
before they are made, nothing is unpickled, and inputs that are drawn again must have the hash that the device's had.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from floatemu.errors import FileError, FloatEmuError
from floatemu.matrix import generator, probe_matrices
from floatemu.matrix.generator import LAYOUTS, Layout
from floatemu.matrix.schema import faults
from floatemu.storage import read_npz

__all__ = ["Capture", "CaptureError", "CastTest", "GemmTest", "InstructionTest", "read_capture"]

Array = np.ndarray[Any, Any]
PARTS = ("instructions", "casts", "gemm")
MOST_FILE, MOST_UNPACKED = 16 * 2**20, 2**28
MOST_ELEMENTS, MOST_DRAWN = 2**25, 2**23
"""Numbers in an operand: designed or stored ones, and those that take 32 bytes each while they are drawn."""


class CaptureError(FloatEmuError, ValueError):
    """A capture is missing, damaged, of another schema, or not what its hashes say.

    Examples
    --------
    >>> raise CaptureError("capture.json: there is no such file")
    Traceback (most recent call last):
        ...
    floatemu.matrix.capture.CaptureError: capture.json: there is no such file
    """


@dataclass(frozen=True)
class InstructionTest:
    """n dot products that an instruction made.

    Attributes
    ----------
    id, instruction : str
    unit : str or None
        Name of the row that describes it.
    shape : tuple of int
        M, N, K of the instruction.
    formats : mapping
        Of a, b, c, d.
    labels : tuple of str
        One a vector, for designed ones.
    status : str
        ``done``, ``failed`` or ``skipped``; without results, arrays are None and ``reason`` says why.
    reason : str or None
    a, b, c, d : ndarray or None
        Codes (n, k), (n, k), (n,), (n,).
    """

    id: str
    instruction: str
    unit: str | None
    shape: tuple[int, ...]
    formats: Mapping[str, str]
    labels: tuple[str, ...]
    status: str
    reason: str | None
    a: Array | None = field(repr=False)
    b: Array | None = field(repr=False)
    c: Array | None = field(repr=False)
    d: Array | None = field(repr=False)


@dataclass(frozen=True)
class CastTest:
    """A conversion of every code of a format.

    Attributes
    ----------
    id, level, instruction, source, target : str
    rounding, saturation : str or None
        What is expected.
    status : str
    reason : str or None
    chunks, hashes : ndarray or None
        Chunk numbers (uint32) and their hashes (uint64), see :func:`floatemu.matrix.generator.chunk_hash`.
    inputs, results : ndarray or None
        Codes that were converted in full.
    """

    id: str
    level: str
    instruction: str
    source: str
    target: str
    rounding: str | None
    saturation: str | None
    status: str
    reason: str | None
    chunks: Array | None = field(repr=False)
    hashes: Array | None = field(repr=False)
    inputs: Array | None = field(repr=False)
    results: Array | None = field(repr=False)


@dataclass(frozen=True)
class GemmTest:
    """A matrix product that a library made.

    Attributes
    ----------
    id, call : str
    options : mapping
    unit : str or None
        Name of the row whose instruction the library is expected to use.
    shape : tuple of int
        M, N, K.
    formats : mapping
        Of a, b, d.
    kernels : tuple of str
        What the profiler saw.
    status : str
    reason : str or None
    a, b, d : ndarray or None
        Codes (M, K), (K, N), (M, N).
    """

    id: str
    call: str
    options: Mapping[str, Any]
    unit: str | None
    shape: tuple[int, ...]
    formats: Mapping[str, str]
    kernels: tuple[str, ...]
    status: str
    reason: str | None
    a: Array | None = field(repr=False)
    b: Array | None = field(repr=False)
    d: Array | None = field(repr=False)


Test = InstructionTest | CastTest | GemmTest


@dataclass(frozen=True)
class Capture:
    """A capture's index; tests are read when they are asked for.

    Attributes
    ----------
    path : Path
        The folder.
    subject, environment : mapping
    sections : tuple of mapping
        ``name``, ``status``, ``reason``, ``seconds`` of each section.
    """

    path: Path
    subject: Mapping[str, str | None]
    environment: Mapping[str, Any]
    sections: tuple[Mapping[str, Any], ...]

    def tests(self, *parts: str) -> Iterator[Test]:
        """Every test of the sections that are there, in the order of the files.

        Parameters
        ----------
        *parts : str
            ``instructions``, ``casts``, ``gemm``; by default all.

        Yields
        ------
        InstructionTest, CastTest or GemmTest

        Raises
        ------
        CaptureError
            If a section's files are damaged, or inputs cannot be drawn again as they were.
        """
        there = [section["name"] for section in self.sections if section["status"] == "done"]
        for part in parts or PARTS:
            if part not in PARTS:
                raise CaptureError(f"{part!r} is no section; accepted: {', '.join(PARTS)}")
            if part in there:
                document = _document(self.path / f"{part}.json", part)
                arrays = _arrays(self.path, document["npz"])
                for test in document["tests"]:
                    yield _test(part, test, arrays)


def read_capture(path: str | os.PathLike[str]) -> Capture:
    """Read a capture's index.

    Parameters
    ----------
    path : path-like
        The folder, or its ``capture.json``.

    Returns
    -------
    Capture

    Raises
    ------
    CaptureError
        If there is none, or it is not what the schema says.

    Examples
    --------
    >>> read_capture("nowhere")
    Traceback (most recent call last):
        ...
    floatemu.matrix.capture.CaptureError: nowhere/capture.json: there is no such file; a capture is a folder that ...
    """
    given = Path(path)
    folder = given.parent if given.name == "capture.json" else given
    document = _document(folder / "capture.json", "index")
    subject, environment = document["subject"], document["environment"]
    return Capture(folder, subject, environment, tuple(document["sections"]))


@cache
def _schema() -> dict[str, Any]:
    text = resources.files("floatemu.matrix").joinpath("schemas/capture.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _document(path: Path, part: str) -> dict[str, Any]:
    if not path.is_file():
        raise CaptureError(f"{path}: there is no such file; a capture is a folder that scripts/capture_gpu.py wrote")
    if path.stat().st_size > MOST_FILE:
        raise CaptureError(f"{path} has {path.stat().st_size} bytes; at most {MOST_FILE} are accepted")
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{path}: not readable as JSON ({error})") from None
    found = next(faults(document, _schema()["$defs"][part], _schema()), None)
    if found is not None:
        raise CaptureError(f"{path}: {found}; the format is described in docs/capture-format.md")
    ids = [test["id"] for test in document.get("tests", ())]
    if len(set(ids)) != len(ids):
        raise CaptureError(f"{path}: {next(i for i in ids if ids.count(i) > 1)!r} names two tests")
    return document


def _arrays(folder: Path, npz: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of a section, each compared with the room it takes before it is made."""
    path = folder / npz["file"]
    if not path.is_file() or path.stat().st_size != npz["bytes"] or npz["bytes"] > MOST_FILE:
        raise CaptureError(f"{path}: not there, or not of {npz['bytes']} bytes (at most {MOST_FILE})")
    if hashlib.sha256(path.read_bytes()).hexdigest() != npz["sha256"]:
        raise CaptureError(f"{path}: its SHA-256 is not the one that its JSON file names; it was changed or damaged")
    try:
        arrays = read_npz(path, MOST_UNPACKED)
    except FileError as error:
        raise CaptureError(str(error)) from None
    for name, array in arrays.items():
        if array.dtype.kind != "u":
            raise CaptureError(f"{path}: {name} is of {array.dtype}; accepted are unsigned integers")
    return arrays


def _layout(name: str, where: str) -> Layout:
    if name not in LAYOUTS:
        raise CaptureError(f"{where}: codes of {name!r} are unknown here; accepted: {', '.join(LAYOUTS)}")
    return LAYOUTS[name]


def _take(arrays: Mapping[str, Array], key: str | None, shape: tuple[int, ...], dtype: Any, where: str) -> Array:
    array = arrays.get(key or "")
    if array is None or array.shape != shape or array.dtype != dtype:
        found = "is not there" if array is None else f"is {array.shape} of {array.dtype}"
        raise CaptureError(f"{where}: array {key!r} {found}; expected {shape} of {np.dtype(dtype)}")
    return array


def _pinned(codes: Array, sha256: Mapping[str, str] | None, name: str, where: str) -> Array:
    found = hashlib.sha256(np.ascontiguousarray(codes, codes.dtype.newbyteorder("<")).tobytes()).hexdigest()
    if sha256 is None or sha256.get(name) != found:
        raise CaptureError(f"{where}: {name} has SHA-256 {found}, which is not that of the device's input")
    return codes


def _version(inputs: Mapping[str, Any], here: int, what: str, where: str) -> None:
    if inputs.get("version") != here:
        raise CaptureError(
            f"{where}: its inputs were drawn by version {inputs.get('version')} of {what}, this installation has {here}"
        )


def _drawn(inputs: Mapping[str, Any], where: str) -> tuple[str, int]:
    _version(inputs, generator.VERSION, generator.NAME, where)
    distribution, seed = inputs.get("distribution"), inputs.get("seed")
    if distribution not in generator.DISTRIBUTIONS or seed is None:
        raise CaptureError(f"{where}: distribution {distribution!r} with seed {seed!r} is none that can be drawn")
    return distribution, seed


def _bounded(inputs: Mapping[str, Any], *sizes: int, where: str) -> None:
    most = MOST_DRAWN if inputs["kind"] == "generated" else MOST_ELEMENTS
    if math.prod(sizes) > most:
        raise CaptureError(f"{where}: {' x '.join(map(str, sizes))} numbers are more than {most}")


def _operand_layouts(test: Mapping[str, Any], where: str) -> tuple[Layout, Layout]:
    """Formats in which operands were drawn: their own, or the narrower one that ``values`` names."""
    own = test["inputs"].get("values")
    return _layout(own or test["formats"]["a"], where), _layout(own or test["formats"]["b"], where)


def _test(part: str, test: dict[str, Any], arrays: Mapping[str, Array]) -> Test:
    where = f"{part}.json: {test['id']}"
    try:
        found: Test = _READERS[part](test, arrays, where)
    except CaptureError:
        raise
    except (ValueError, KeyError, IndexError) as error:  # values that the schema allows and that do not go together
        raise CaptureError(f"{where}: cannot be read ({type(error).__name__}: {error})") from None
    return found


def _instruction(test: dict[str, Any], arrays: Mapping[str, Array], where: str) -> InstructionTest:
    a = b = c = d = None
    if test["status"] == "done":
        n, k, inputs, formats = test["n"], test["k"], test["inputs"], test["formats"]
        _bounded(inputs, n, k, where=where)
        own = {name: _layout(formats[name], where).dtype for name in formats}
        d = _take(arrays, test["d"], (n,), own["d"], where)
        if inputs["kind"] == "stored":
            shapes = {"a": (n, k), "b": (n, k), "c": (n,)}
            a, b, c = (_take(arrays, f"{test['d']}.{x}", shapes[x], own[x], where) for x in "abc")
        else:
            distribution, seed = _drawn(inputs, where)
            left, right = _operand_layouts(test, where)
            a, b, c = generator.vectors(distribution, left, right, _layout(formats["c"], where), n, k, seed)
        a, b, c = (_pinned(codes, test["sha256"], x, where) for x, codes in zip("abc", (a, b, c)))
        if "labels" in test and len(test["labels"]) != n:
            raise CaptureError(f"{where}: {len(test['labels'])} labels for {n} vectors")
    return InstructionTest(
        test["id"], test["instruction"], test["unit"], tuple(test["shape"]), test["formats"],
        tuple(test.get("labels", ())), test["status"], test["reason"], a, b, c, d,
    )  # fmt: skip


def _cast(test: dict[str, Any], arrays: Mapping[str, Array], where: str) -> CastTest:
    chunks = hashes = inputs = results = None
    if test["status"] == "done" and test["samples"] is not None:
        bits = _layout(test["source"], where).k
        chunks, hashes = (arrays.get(test[name] or "") for name in ("chunks", "hashes"))
        size = 0 if chunks is None else chunks.size
        chunks = _take(arrays, test["chunks"], (size,), np.uint32, where)
        hashes = _take(arrays, test["hashes"], (size,), np.uint64, where)
        if size and int(chunks.max()) >= 1 << max(bits - generator.CHUNK_BITS, 0):
            raise CaptureError(f"{where}: chunk {int(chunks.max())} lies beyond the codes of {test['source']}")
        _version(test["samples"], generator.VERSION, generator.NAME, where)
        inputs = _pinned(generator.cast_samples(bits), {"x": test["samples"]["sha256"]}, "x", where)
        kept = arrays.get(test["samples"]["d"])
        results = _take(arrays, test["samples"]["d"], inputs.shape, "uint8" if kept is None else kept.dtype, where)
    return CastTest(
        test["id"], test["level"], test["instruction"], test["source"], test["target"], test["rounding"],
        test["saturation"], test["status"], test["reason"], chunks, hashes, inputs, results,
    )  # fmt: skip


def _gemm(test: dict[str, Any], arrays: Mapping[str, Array], where: str) -> GemmTest:
    a = b = d = None
    if test["status"] == "done":
        (m, n, k), inputs, formats = test["shape"], test["inputs"], test["formats"]
        _bounded(inputs, max(m, n, probe_matrices.MOST_ROWS if inputs["kind"] == "designed" else 1), k, where=where)
        left, right = _operand_layouts(test, where)
        d = _take(arrays, test["d"], (m, n), _layout(formats["d"], where).dtype, where)
        if inputs["kind"] == "designed":
            _version(inputs, probe_matrices.VERSION, "the designed products", where)
            _, a, b = probe_matrices.gemm_probe(inputs["probe"], left, right, k)
        else:
            distribution, seed = _drawn(inputs, where)
            result = _layout("int32" if formats["d"] == "int32" else "binary32", where)
            a, b = generator.operands(distribution, left, right, result, m, n, k, seed)
        a, b = (_pinned(codes, test["sha256"], x, where) for x, codes in zip("ab", (a, b)))
        b = b.T
    return GemmTest(
        test["id"], test["call"], test["options"], test["unit"], tuple(test["shape"]), test["formats"],
        tuple(test["kernels"]), test["status"], test["reason"], a, b, d,
    )  # fmt: skip


_READERS: dict[str, Any] = {"instructions": _instruction, "casts": _cast, "gemm": _gemm}
