"""Published results of real matrix units: the two layouts in which they are passed on, and which unit each belongs to.

The results are those beside Khattak & Mikaitis, arXiv 2512.07004
(github.com/north-numerical-computing/MATLAB-tensor-core, BSD-2-Clause). This package does not carry them.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from floatemu.codec import decode, encode
from floatemu.errors import FormatError, UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.landmarks import isrepresentable
from floatemu.matrix.find import find
from floatemu.matrix.unit import MatrixUnit

__all__ = ["SOURCE", "VectorSet", "read_vectors"]

SOURCE = "Khattak & Mikaitis, arXiv 2512.07004, results beside its code"
INPUTS = {"fp16": "binary16", "bf16": "bfloat16", "tf32": "tf32", "E4M3": "e4m3fn", "E5M2": "e5m2"}
OUTPUTS = {"fp32": "binary32", "fp16": "binary16"}
BINARY16, BINARY32 = get_format("binary16"), get_format("binary32")
MOST_BYTES = 2**28
"""Files that unpack to more are not what was published."""
PUBLISHED = "https://github.com/north-numerical-computing/MATLAB-tensor-core"

Array = np.ndarray[Any, Any]


class _Rule(NamedTuple):
    """How the results of some GPUs and formats were made; the first rule that fits holds."""

    gpus: tuple[str, ...]  #: empty: all
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    instruction: str
    zero: bool  #: whether the accumulator was 0, whatever the file of accumulators says
    reason: str


RULES = (
    _Rule(("H100", "H200"), ("E4M3", "E5M2"), ("fp32",), "wgmma", True, "run through wgmma, with C = 0"),
    _Rule(
        ("H100", "H200", "B200"), ("E4M3", "E5M2"), ("fp32", "fp16"), "mma", False,
        "mma.sync, which this architecture emulates by two binary16 instructions",
    ),
    _Rule((), tuple(INPUTS), tuple(OUTPUTS), "mma", False, "mma.sync or wmma, one instruction"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class VectorSet:
    """Results of one GPU, input format and output format.

    Attributes
    ----------
    gpu, inputs, output : str
        As published: ``H100``, ``E4M3``, ``fp32``.
    a, b : ndarray of unsigned integers
        (n, K), operand codes; of binary32 for tf32.
    c, d : ndarray of unsigned integers
        (n,), codes of the accumulator given and of the result, in the output format.
    unit : MatrixUnit or None
        The row that made them; None if no row is known.
    reason : str
        Why that row, or why none.
    """

    gpu: str
    inputs: str
    output: str
    a: Array
    b: Array
    c: Array
    d: Array
    unit: MatrixUnit | None
    reason: str

    @property
    def name(self) -> str:
        """``H100|E4M3|fp32``."""
        return f"{self.gpu}|{self.inputs}|{self.output}"

    def __len__(self) -> int:
        return len(self.d)


def read_vectors(path: str | Path) -> tuple[VectorSet, ...]:
    """Return the published results that lie in a folder.

    Parameters
    ----------
    path : str or Path
        An ``.npz`` file of bit codes, arrays ``GPU|FORMAT|a``, ``b``, ``c32``, ``d_fp32``, ``d_fp16``, with the names
        of equal arrays in ``__alias__``; a folder that holds one; or a copy of the public repository, in whose
        ``model_validation/GPU/FORMAT`` lie ``a_GPU_FORMAT.txt`` and ``b_GPU_FORMAT.txt`` (binary32 in hexadecimal,
        K to a row), ``c_GPU_fp32.txt``, ``d_GPU_fp32.txt`` and ``d_GPU_fp16.txt`` (binary32 in binary digits).

    Returns
    -------
    tuple of VectorSet
        By GPU, input and output format. 8-bit operands, which both layouts hold as wider numbers, are codes of
        their own format; the accumulator is rounded to binary16 where the output is.

    Raises
    ------
    UnsupportedError
        If nothing is found, a file is missing or too large, sizes do not fit one another, or a number is none of
        its format.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> one = np.full((1, 4), 0x3C00, np.uint16)
    >>> arrays = {"a": one, "b": one, "c32": np.zeros(1, np.uint32), "d_fp32": np.array([0x40800000], np.uint32)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(pathlib.Path(folder) / "v.npz", **{f"V100|fp16|{name}": x for name, x in arrays.items()})
    ...     found = read_vectors(folder)
    >>> found[0].name, found[0].unit.name
    ('V100|fp16|fp32', 'volta.mma.binary16.binary16.binary32')
    """
    place = Path(path)
    archives = [place] if place.is_file() else sorted(place.glob("*.npz"))
    reader = _from_archives(archives) if archives else _from_texts(place)
    found = sorted(reader, key=lambda item: (item.gpu, item.inputs, item.output))
    if not found:
        raise UnsupportedError(
            f"no published vectors in {str(place)!r}; accepted: an .npz file of them, a folder with one, or a copy of "
            f"{PUBLISHED} (model_validation/GPU/FORMAT/d_GPU_fp32.txt)"
        )
    return tuple(found)


def _make(gpu: str, inputs: str, output: str, get: Callable[[str], Array]) -> VectorSet:
    """A set out of ``get``, which returns a, b (K to a row), c as binary32 codes, and d as it was published."""
    rule = next(r for r in RULES if (not r.gpus or gpu in r.gpus) and inputs in r.inputs and output in r.outputs)
    unit, reason = None, rule.reason
    try:
        unit = find(gpu, INPUTS[inputs], OUTPUTS[output], rule.instruction)
    except UnsupportedError as error:
        reason = str(error)
    a, b, d = get("a"), get("b"), get("d")
    c = np.zeros(d.shape, np.uint32) if rule.zero else get("c")
    if not (a.shape == b.shape and a.ndim == 2 and (len(a),) == c.shape == d.shape and a.size):
        raise UnsupportedError(
            f"{gpu}|{inputs}|{output}: a has shape {a.shape}, b {b.shape}, c {c.shape}, d {d.shape}; accepted: (n, K), "
            "(n, K), (n,), (n,), not empty"
        )
    if output == "fp16":
        c = np.asarray(encode(decode(c, BINARY32), BINARY16))
    return VectorSet(gpu, inputs, output, a, b, c, d, unit, reason)


def _narrow(codes: Array, source: Format, target: Format, what: str) -> Array:
    """Codes of ``target`` for numbers that it holds."""
    values = np.asarray(decode(codes, source))
    fits = np.asarray(isrepresentable(values, target))
    if not fits.all():
        place = tuple(int(i) for i in np.argwhere(~fits)[0])
        raise UnsupportedError(f"{what}{list(place)} = {float(values[place])!r} is no value of {target.name}")
    return np.asarray(encode(values, target))


def _from_archives(paths: list[Path]) -> Iterator[VectorSet]:
    for path in paths:
        try:
            with zipfile.ZipFile(path) as packed:
                total = sum(item.file_size for item in packed.infolist())
            if total > MOST_BYTES:
                raise UnsupportedError(f"{str(path)!r} unpacks to {total} bytes; accepted: at most {MOST_BYTES}")
            with np.load(path, allow_pickle=False) as archive:
                yield from _from_archive({name: archive[name] for name in archive.files}, path)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            if isinstance(error, (UnsupportedError, FormatError)):
                raise
            raise UnsupportedError(
                f"{str(path)!r} cannot be read as .npz without pickled objects: {error}; fetch the file again"
            ) from None


def _from_archive(arrays: dict[str, Array], path: Path) -> Iterator[VectorSet]:
    alias = {name: name for name in arrays} | _alias(arrays.pop("__alias__", None), path)
    for name in sorted(alias):
        match = re.fullmatch(r"([^|]+)\|([^|]+)\|d_(fp32|fp16)", name)
        if match is None or match[2] not in INPUTS:
            continue
        gpu, inputs, output = match.groups()

        def get(what: str, gpu: str = gpu, inputs: str = inputs, output: str = output) -> Array:
            key = f"{gpu}|{inputs}|{ {'c': 'c32', 'd': f'd_{output}'}.get(what, what) }"
            found = arrays.get(alias.get(key, key))
            wide = what == "c" or (what == "d" and output == "fp32") or (what in "ab" and inputs == "tf32")
            dtype = np.dtype(np.uint32 if wide else np.uint16)
            if found is None or found.dtype != dtype:
                given = "missing" if found is None else str(found.dtype)
                raise UnsupportedError(f"{str(path)!r}: array {key!r} is {given}; accepted: {dtype}")
            if what in "ab" and inputs in ("E4M3", "E5M2"):
                return _narrow(found, BINARY16, get_format(INPUTS[inputs]), key)
            return found

        yield _make(gpu, inputs, output, get)


def _alias(text: Array | None, path: Path) -> dict[str, str]:
    if text is None:
        return {}
    try:
        found = json.loads(str(text[()]))
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UnsupportedError(f"{str(path)!r}: __alias__ is no JSON object of array names")
    return found


def _from_texts(place: Path) -> Iterator[VectorSet]:
    roots = [place / "model_validation", place / "data" / "model_validation", place]
    for root in roots:
        paths = sorted(root.glob("*/*/d_*.txt"))
        for path in paths:
            gpu, inputs = path.parent.parent.name, path.parent.name
            match = re.fullmatch(rf"d_{re.escape(gpu)}_(fp32|fp16)\.txt", path.name)
            if match and inputs in INPUTS:
                yield _from_text(path.parent, gpu, inputs, match[1])
        if paths:
            return


def _from_text(folder: Path, gpu: str, inputs: str, output: str) -> VectorSet:
    operands = get_format(INPUTS[inputs])

    def get(what: str) -> Array:
        if what == "c":
            return _binary(folder / f"c_{gpu}_fp32.txt")
        if what == "d":
            path = folder / f"d_{gpu}_{output}.txt"
            found = _binary(path)
            return found if output == "fp32" else _narrow(found, BINARY32, BINARY16, str(path))
        path = folder / f"{what}_{gpu}_{inputs}.txt"
        flat, count = _hexadecimal(path), len(_tokens(folder / f"d_{gpu}_{output}.txt"))
        if not count or flat.size % count:
            raise UnsupportedError(f"{str(path)!r} holds {flat.size} numbers for {count} results; accepted: K for each")
        codes = flat.reshape(count, -1)
        return codes if operands.name == "tf32" else _narrow(codes, BINARY32, operands, str(path))

    return _make(gpu, inputs, output, get)


def _tokens(path: Path) -> list[str]:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UnsupportedError(f"{str(path)!r} has {size} bytes; accepted: at most {MOST_BYTES}")
        return path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        raise UnsupportedError(f"{str(path)!r} is missing; fetch it from {PUBLISHED}") from None
    except UnicodeDecodeError:
        raise UnsupportedError(f"{str(path)!r} is no plain text of digits") from None


def _words(path: Path, pattern: str, base: int, accepted: str) -> Array:
    words, fits = _tokens(path), re.compile(pattern)
    wrong = next((i for i, word in enumerate(words) if not fits.fullmatch(word)), None)
    if wrong is not None:
        raise UnsupportedError(f"{str(path)!r}: number {wrong} is {words[wrong][:40]!r}; accepted: {accepted}")
    return np.array([int(word, base) for word in words], np.uint32)


def _binary(path: Path) -> Array:
    return _words(path, "[01]{32}", 2, "binary32 in 32 binary digits")


def _hexadecimal(path: Path) -> Array:
    return _words(path, "(?:0[xX])?[0-9a-fA-F]{1,8}", 16, "binary32 in at most 8 hexadecimal digits")
