"""Block arrays in .safetensors files, through that library: the only file that imports it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from floatemu.errors import FileError, UnsupportedError
from floatemu.storage import LIMIT, write_whole

try:
    from safetensors import safe_open
    from safetensors.numpy import save
except ImportError:
    raise UnsupportedError("safetensors is not installed; `pip install 'floatemu[safetensors]'`, or use .npz") from None

Array = np.ndarray[Any, Any]

KEY = "floatemu"
"""Of our metadata among a file's own."""


def write(path: str | os.PathLike[str], arrays: Mapping[str, Array], text: str) -> None:
    """Write arrays of bytes, and metadata beside them."""
    write_whole(path, lambda stream: stream.write(save(dict(arrays), metadata={KEY: text})))


def read(path: Path) -> tuple[dict[str, Array], bytes]:
    """Return the arrays and our metadata, empty where there are none.

    Raises
    ------
    FileError
        If the library does not accept the file, or it has more than 4 GiB.
    """
    if not path.is_file():
        raise FileError(f"{path}: there is no such file")
    if path.stat().st_size > LIMIT:
        raise FileError(f"{path}: has {path.stat().st_size} bytes, the limit is {LIMIT}")
    try:
        with safe_open(path, framework="np") as archive:
            text = (archive.metadata() or {}).get(KEY, "")
            return {name: archive.get_tensor(name) for name in archive.keys()}, text.encode()
    except Exception as error:
        # The library's own errors, and those of dtypes that numpy has not.
        raise FileError(f"{path}: not a readable .safetensors file ({str(error)[:200]})") from None
