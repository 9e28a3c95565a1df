"""Files of block arrays, .npz and .safetensors, read as if a stranger had written them."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from floatemu.block.formats import BlockFormat, ScaleRule
from floatemu.block.packing import pack, unpack
from floatemu.block.scaling import tiling
from floatemu.errors import FileError, FloatEmuError
from floatemu.format import Format, Overflow
from floatemu.storage import read_npz, write_npz

Array = np.ndarray[Any, Any]

SCHEMA = "floatemu.blocks/1"
MOST_METADATA = 2**16
SUFFIXES = (".npz", ".safetensors")


def _format(fmt: Format) -> dict[str, Any]:
    assert isinstance(fmt.overflow, Overflow)
    return {item.name: getattr(fmt, item.name) for item in fields(fmt)} | {"overflow": fmt.overflow.value}


def metadata(fmt: BlockFormat, shape: tuple[int, ...], axis: int | None, outer: float) -> str:
    """Everything but the codes, as JSON."""
    rule = asdict(fmt.rule) | {"rounding": fmt.rule.rounding.name}
    own = {
        "name": fmt.name,
        "element": _format(fmt.element),
        "block": fmt.block,
        "scale": _format(fmt.scale),
        "rule": rule,
        "outer": None if fmt.outer is None else _format(fmt.outer),
        "integer": fmt.integer,
    }
    return json.dumps({"schema": SCHEMA, "format": own, "shape": shape, "axis": axis, "outer": outer})


def _own(path: Path, found: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(found, dict) or set(found) != set(names):
        given = ", ".join(map(str, found))[:200] if isinstance(found, dict) else type(found).__name__
        raise FileError(f"{path}: {what} has {given}; expected {', '.join(names)}")
    return found


def _names(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))


def parse(path: Path, text: bytes) -> tuple[BlockFormat, tuple[int, ...], int | None, float]:
    """Read what :func:`metadata` wrote.

    Raises
    ------
    FileError
        If it is anything else.
    """
    if len(text) > MOST_METADATA:
        raise FileError(f"{path}: {len(text)} bytes of metadata; at most {MOST_METADATA} are accepted")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: the metadata are not JSON ({str(error)[:100]})") from None
    whole = _own(path, document, ("schema", "format", "shape", "axis", "outer"), "the metadata")
    if whole["schema"] != SCHEMA:
        raise FileError(f"{path}: schema {str(whole['schema'])[:50]!r}; this version reads {SCHEMA}")
    own = _own(path, whole["format"], _names(BlockFormat), "the format")
    parts: dict[str, Any] = {}
    for part in ("element", "scale", "outer"):
        if part != "outer" or own[part] is not None:
            parts[part] = _own(path, own[part], _names(Format), f"the format's {part}")
    rule = _own(path, own["rule"], _names(ScaleRule), "the scale rule")
    block = tuple(own["block"]) if isinstance(own["block"], list) else own["block"]
    shape, axis, outer = whole["shape"], whole["axis"], whole["outer"]
    try:
        made = {part: Format(**numbers) for part, numbers in parts.items()}
        fmt = BlockFormat(own["name"], block=block, rule=ScaleRule(**rule), integer=own["integer"], **made)
    except (FloatEmuError, TypeError, ValueError) as error:
        raise FileError(f"{path}: the format contradicts itself: {str(error)[:300]}") from None
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < 2**62 for n in shape) or len(shape) > 32:
        raise FileError(f"{path}: shape {str(shape)[:100]} is not a list of sizes")
    # Python's integers may be too long to be printed, too
    if type(outer) not in (int, float) or (type(outer) is int and abs(outer) > sys.float_info.max):
        raise FileError(f"{path}: outer of type {type(outer).__name__} is not a number of binary64")
    if axis is not None and type(axis) is not int:
        raise FileError(f"{path}: axis {str(axis)[:50]} is not an axis")
    if axis is None and fmt.block != "tensor":
        raise FileError(f"{path}: {fmt.name} has blocks along an axis, and none is named")
    return fmt, tuple(shape), axis, float(outer)


def write(
    path: str | os.PathLike[str], fmt: BlockFormat, elements: Array, scales: Array, axis: int | None, outer: float
) -> None:
    """Write codes and metadata; see :meth:`floatemu.BlockArray.save`."""
    arrays = {"elements": pack(elements.reshape(-1), fmt.element), "scales": pack(scales.reshape(-1), fmt.scale)}
    text = metadata(fmt, elements.shape, axis, outer)
    if _suffix(path) == ".npz":
        write_npz(path, arrays | {"metadata": np.frombuffer(text.encode(), np.uint8)})
        return
    from floatemu.block import safetensors_files

    safetensors_files.write(path, arrays, text)


def read(path: str | os.PathLike[str]) -> tuple[BlockFormat, Array, Array, int | None, float]:
    """Read what :func:`write` wrote: the arguments of a BlockArray."""
    file = Path(path)
    if _suffix(path) == ".npz":
        arrays: Mapping[str, Array] = read_npz(file)
        text = arrays["metadata"].tobytes() if "metadata" in arrays else b""
    else:
        from floatemu.block import safetensors_files

        arrays, text = safetensors_files.read(file)
    if not text:
        raise FileError(f"{file}: no metadata of a block array; it was written by something else")
    fmt, shape, axis, outer = parse(file, text)
    try:
        tiles = tiling(shape, fmt, axis or 0)
        elements = _codes(file, arrays, "elements", fmt.element, shape)
        return fmt, elements, _codes(file, arrays, "scales", fmt.scale, tiles.shape), axis, outer
    except FileError:
        raise
    except FloatEmuError as error:
        raise FileError(f"{file}: {error}") from None


def _codes(path: Path, arrays: Mapping[str, Array], name: str, fmt: Format, shape: tuple[int, ...]) -> Array:
    data = arrays.get(name)
    if data is None or data.dtype != np.uint8 or data.ndim != 1:
        found = "is not there" if data is None else f"has dtype {data.dtype} and {data.ndim} axes"
        raise FileError(f"{path}: array {name!r} {found}; expected bytes")
    return unpack(data, fmt, math.prod(shape)).reshape(shape)


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise FileError(f"{path}: the suffix {suffix!r} is unknown; accepted: {', '.join(SUFFIXES)}")
    return suffix
