"""What a system's casts gave, in few bytes: hashes of the results for all probes, and the first that are not exact."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from floatemu.codec import decode
from floatemu.preset import Preset
from floatemu.presets import get
from floatemu.probes import probes

Array = np.ndarray[Any, Any]
SCHEMA = "floatemu.peers/1"
SHOWN = 3


def bits(x: Array) -> Array:
    """Return the bits of numbers as unsigned integers of their width; of unsigned integers, themselves."""
    return x if x.dtype.kind == "u" else np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}")


def results(preset: Preset, x: Array, target: str, source: str) -> Array:
    """Return what a preset gives for probes: codes, or float32 values if it has no codes.

    Parameters
    ----------
    preset : Preset
    x : ndarray
        Probes of ``source``.
    target, source : str

    Returns
    -------
    ndarray

    Examples
    --------
    >>> results(get("ml_dtypes"), np.array([1.0]), "e5m2", "binary64")
    array([60], dtype=uint8)
    """
    if preset.rule(source, target).carried:
        with np.errstate(all="ignore"):
            return preset.round(x, target, source=source).astype(np.float32)
    return preset.cast(x, target, source=source)


def summary(y: Array, target: str, source: str) -> dict[str, Any]:
    """Return the entry of a file of records for one cast.

    Parameters
    ----------
    y : ndarray
        What the system gave for the probes of ``source`` into ``target``: codes, or float32 values.
    target, source : str

    Returns
    -------
    dict
        source, target, n (probes), sha256 (of all results but those of NaNs), nan (the same of those of NaNs, and up to
        eight of their codes), inexact (how many results differ from one rounding, all NaNs being alike), first (some of
        these).

    Examples
    --------
    >>> found = summary(results(get("ml_dtypes"), probes("binary32", "e5m2"), "e5m2", "binary32"), "e5m2", "binary32")
    >>> found["inexact"], found["nan"]["codes"]
    (0, ['0x7e', '0xfe'])
    """
    x = probes(source, target)
    codes = bits(y)
    nan = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)
    exact = results(get("exact"), x, target, source)
    value = get("exact").round(x, target, source=source)
    if y.dtype.kind == "u":
        same = (codes == exact) | (np.isnan(decode(y.astype(exact.dtype), target)) & np.isnan(value))
    else:
        same = (y == value) & (np.signbit(y) == np.signbit(value))
    if y.dtype.kind != "u":
        exact = bits(value.astype(np.float32))
    differs = np.flatnonzero(~same & ~nan)
    words = codes.astype("<u4")
    return {
        "source": source,
        "target": target,
        "n": int(x.size),
        "sha256": hashlib.sha256(words[~nan].tobytes()).hexdigest(),
        "nan": {
            "sha256": hashlib.sha256(words[nan].tobytes()).hexdigest(),
            "codes": [f"{code:#x}" for code in np.unique(codes[nan])[:8]],
        },
        "inexact": int(differs.size),
        "first": [
            {"x": f"{bits(x)[i]:#x}", "given": f"{codes[i]:#x}", "exact": f"{exact[i]:#x}"} for i in differs[:SHOWN]
        ],
    }
