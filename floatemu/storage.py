"""Reading and writing .npz files that may come from strangers: sizes checked first, never any pickle."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from floatemu.errors import FileError

Array = npt.NDArray[Any]
LIMIT = 2**32
KINDS = "fiub"


def read_npz(path: str | os.PathLike[str], limit: int = LIMIT) -> dict[str, Array]:
    """Return the arrays of an .npz file, none of which may hold objects or claim more than it has.

    Parameters
    ----------
    path : path-like
        The file.
    limit : int
        Largest allowed sum of uncompressed sizes, in bytes. The default is 4 GiB.

    Returns
    -------
    dict of str to ndarray
        Real numbers only: floating point, integers, booleans.

    Raises
    ------
    FileError
        If the file is missing, empty, truncated, larger than ``limit``, or holds anything else.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_npz(f"{folder}/a.npz", {"x": np.arange(3)})
    ...     read_npz(f"{folder}/a.npz")
    {'x': array([0, 1, 2])}
    """
    file = Path(path)
    if not file.is_file():
        raise FileError(f"{file}: there is no such file")
    if file.stat().st_size == 0:
        raise FileError(f"{file}: the file is empty")
    try:
        with zipfile.ZipFile(file) as archive:
            total = sum(member.file_size for member in archive.infolist())
            if total > limit:
                raise FileError(f"{file}: holds {total} bytes when unpacked, the limit is {limit}")
            return {member.filename.removesuffix(".npy"): _read(archive, member, file) for member in archive.infolist()}
    except FileError:
        raise
    except Exception as error:
        # A damaged file speaks through zipfile, zlib, lzma and numpy, whose exceptions have no base in common.
        raise FileError(f"{file}: not a readable .npz file ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    first = error.args[0] if error.args else ""  # Python's tokenizer puts the place after it
    text = first if isinstance(first, str) else str(error)
    return (text.splitlines() or [""])[0] or type(error).__name__


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: Path) -> Array:
    # The header is compared with the member's true size before numpy allocates what the header claims.
    with archive.open(member) as stream:
        shape, dtype, header = _header(stream, f"{file}: {member.filename}")
    claimed = math.prod(shape) * dtype.itemsize
    if dtype.kind not in KINDS:
        raise FileError(f"{file}: {member.filename} has dtype {dtype}; accepted are real numbers, never objects")
    if claimed != member.file_size - header:
        raise FileError(
            f"{file}: {member.filename} claims {claimed} bytes of data (shape {shape}, {dtype}) but holds "
            f"{member.file_size - header}; the file is damaged"
        )
    with archive.open(member) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    # numpy warns about headers of old writers, which is nothing to a user, and hands a header to Python's tokenizer,
    # its parser and the constructor of dtypes: whatever one of them raises, the header is at fault.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            elif version == (2, 0):
                shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
            else:
                raise ValueError(f"version {version} of the .npy format")
    except Exception as error:
        raise FileError(f"{where} is not a .npy array ({_reason(error)})") from None
    if any(size < 0 for size in shape):
        raise FileError(f"{where} has a negative size in its shape {shape}")
    return shape, dtype, stream.tell()


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, Array]) -> None:
    """Write arrays to an .npz file, whole or not at all.

    Parameters
    ----------
    path : path-like
        The file.
    arrays : mapping of str to ndarray
        Floating point, integer or boolean arrays.

    Raises
    ------
    FileError
        If an array holds objects, or the folder cannot be written.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_npz(f"{folder}/a.npz", {"x": np.array([{}])})
    Traceback (most recent call last):
        ...
    floatemu.errors.FileError: array 'x' has dtype object; only real numbers are written
    """
    for name, array in arrays.items():
        if array.dtype.kind not in KINDS:
            raise FileError(f"array {name!r} has dtype {array.dtype}; only real numbers are written")
    write: Any = np.savez_compressed  # its stub would have the names of arrays be options
    write_whole(path, lambda stream: write(stream, **arrays))


def write_whole(path: str | os.PathLike[str], write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file, whole or not at all.

    Parameters
    ----------
    path : path-like
        Written under a temporary name in the same folder and then renamed.
    write : callable
        Given the open file.

    Raises
    ------
    FileError
        If the folder cannot be written.
    """
    file = Path(path)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as stream:
            write(stream)
        part.replace(file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FileError(f"{file}: cannot be written ({error.strerror or error})") from None
