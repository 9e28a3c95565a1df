"""Designed matrix products: how a library goes through K, where it promotes, whether it splits.

They are asked of whole matrices, through a library's call, where no accumulator can be given; see ``probe_vectors`` for
single instructions, and for why the import is relative.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from .generator import Layout
from .probe_vectors import code_of, power

__all__ = ["GEMM_PROBES", "VERSION", "gemm_probe"]

Array = np.ndarray[Any, Any]
VERSION = 1
GEMM_PROBES = {
    "G1": "promotion interval: the small product survives beside the large one only in another chunk of K",
    "G2": "split-K: 1.5 units of 2^-24 beside 1 are cut in one accumulator, rounded up between two",
    "G3": "the tree of additions over the whole of K: units that survive X at i and -X at j",
    "G4": "as G1, for narrow results: the large product is taken away at the end of K, the small one is left",
}
"""THE TABLE of designed matrix products, read over the whole of K."""
_LARGE = {
    "G1": (256, power(-6), power(-6), 0),
    "G2": (4096, Fraction(3, 2) * power(-12), power(-12), 0),
    "G4": (256, power(-6), power(-6), -256),
}
"""Numbers in A, first and somewhere; in B; in A, last."""
_ROWS, _COLUMNS, _ANCHORS = 512, 16, (0, 1, 4, 8, 16, 32, 64, 128)
MOST_ROWS = _ROWS * (len(_ANCHORS) + 1)
"""No probe has more."""


def gemm_probe(probe: str, a: Layout, b: Layout, k: int) -> tuple[list[str], Array, Array]:
    """A designed matrix product; every column of B is the same, every row of A asks one question.

    Parameters
    ----------
    probe : str
        ``G1`` to ``G4``.
    a, b : Layout
    k : int
        A multiple of 16.

    Returns
    -------
    tuple
        A label for each row; codes (rows, k) of A and (16, k) of B transposed.

    Raises
    ------
    ValueError
        If there is no such probe, or the formats cannot hold its numbers.

    Examples
    --------
    >>> from floatemu.matrix.generator import LAYOUTS
    >>> labels, x, y = gemm_probe("G1", LAYOUTS["e4m3fn"], LAYOUTS["e4m3fn"], 512)
    >>> labels[127], x.shape, y.shape
    ('j=127', (512, 512), (16, 512))
    """
    if probe not in GEMM_PROBES:
        raise ValueError(f"no matrix probe is named {probe!r}; there are {', '.join(GEMM_PROBES)}")
    rows = min(k, _ROWS)
    if probe == "G3":
        top, rest, right = power(min(15, a.emax)), power(max(-24, a.emin - a.p + 1)), Fraction(1)
        anchors = [i for i in (*_ANCHORS, k // 2) if i < k]
        pairs = [(i, j) for i in dict.fromkeys(anchors) for j in range(k - 1, 0, -max(k // _ROWS, 1)) if j != i]
        labels = [f"i={i},j={j}" for i, j in pairs]
        entries = {"first": top, "second": -top, "rest": rest}
    else:
        large, small, right, last = _LARGE[probe]
        pairs = [(0, (i + 1) * k // rows - 1) for i in range(rows)]
        labels = [f"j={j}" for _, j in pairs]
        entries = {"first": Fraction(large), "second": small, "rest": Fraction(0), "last": Fraction(last)}
    codes = {name: code_of(a, value) for name, value in entries.items()}
    column = code_of(b, right)
    if column is None or None in codes.values():
        raise ValueError(f"{probe}: {a.name} and {b.name} cannot hold its numbers")
    x = np.full((len(pairs), k), codes["rest"], a.dtype)
    row, place = np.arange(len(pairs)), np.array(pairs)
    x[row, place[:, 1]] = codes["second"]
    x[row, place[:, 0]] = codes["first"]
    if codes.get("last"):
        x[:, -1] = codes["last"]
    return labels, x, np.full((_COLUMNS, k), column, b.dtype)
