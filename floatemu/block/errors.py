"""What quantization did to the numbers of each block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from floatemu.block.scaling import Tiling

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class BlockErrors:
    """Errors of a quantized array, one entry a block in the shape of its scales.

    Attributes
    ----------
    sqnr : numpy.ndarray of float64
        Signal to quantization noise, 10 log10(sum x^2 / sum (x - y)^2) in dB; inf where nothing was lost, NaN where a
        block has an infinity or a NaN.
    clipped : numpy.ndarray of int64
        Numbers beyond the block's largest value.
    flushed : numpy.ndarray of int64
        Numbers other than 0 that became 0.
    largest : numpy.ndarray of float64
        Largest |x - y|.
    total : float
        The SQNR of all numbers together.

    Examples
    --------
    >>> import numpy as np, floatemu as fe
    >>> x = np.array([500.0, 1e-6, 3.0, 0.0] * 16)
    >>> errors = fe.quantize(x, "mxfp8_e4m3").errors(x)
    >>> errors.clipped.tolist(), errors.flushed.tolist(), errors.largest.tolist()
    ([8, 8], [8, 8], [52.0, 52.0])
    >>> print(errors)
    2 blocks: SQNR 19.7 dB (worst block 19.7); 16 of 64 numbers clipped, 16 flushed to 0
    """

    sqnr: Array
    clipped: Array
    flushed: Array
    largest: Array
    total: float
    numbers: int

    def worst(self, n: int = 5) -> list[tuple[int, ...]]:
        """Return the places of the ``n`` blocks of least SQNR, NaN first, worst first.

        Parameters
        ----------
        n : int

        Returns
        -------
        list of tuple of int
            Indices into the scales.

        Examples
        --------
        >>> import numpy as np, floatemu as fe
        >>> x = np.concatenate([np.ones(32), np.linspace(0, 1, 32)])
        >>> fe.quantize(x, "mxfp4").errors(x).worst(1)
        [(1,)]
        """
        flat = np.where(np.isnan(self.sqnr), -np.inf, self.sqnr).reshape(-1)
        return [
            tuple(int(i) for i in np.unravel_index(int(place), self.sqnr.shape))
            for place in np.argsort(flat, kind="stable")[:n]
        ]

    def __str__(self) -> str:
        least = float(np.nanmin(self.sqnr)) if np.any(~np.isnan(self.sqnr)) else float("nan")
        return (
            f"{self.sqnr.size} blocks: SQNR {self.total:.1f} dB (worst block {least:.1f}); "
            f"{int(self.clipped.sum())} of {self.numbers} numbers clipped, {int(self.flushed.sum())} flushed to 0"
        )


def _by_block(values: Array, tiles: Tiling, combine: Any) -> Array:
    rows = np.arange(0, tiles.rows, tiles.block_rows)
    cols = np.arange(0, tiles.cols, tiles.block_cols)
    return np.asarray(combine.reduceat(combine.reduceat(values, cols, axis=2), rows, axis=1)).reshape(tiles.shape)


def _decibels(signal: Array, noise: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(noise == 0, np.inf, 10 * np.log10(signal / noise))


def measure(x: Array, y: Array, most: Array, tiles: Tiling) -> BlockErrors:
    """Compare numbers with what they became.

    Parameters
    ----------
    x, y : numpy.ndarray of float64
    most : numpy.ndarray
        Largest values, broadcasting to (matrices, rows, cols, inner).
    tiles : Tiling

    Returns
    -------
    BlockErrors
    """
    if x.size == 0:
        none = np.zeros(tiles.shape)
        return BlockErrors(none + np.inf, none.astype(int), none.astype(int), none, float("inf"), 0)
    before, after = tiles.view(np.ascontiguousarray(x)), tiles.view(y)
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(before - after)
        # Relative to the block's largest magnitude, so that no square leaves the range of binary64.
        top = _by_block(np.abs(before), tiles, np.maximum)
        unit = tiles.spread(np.where((top > 0) & np.isfinite(top), top, 1.0))
        signal, noise = (_by_block(np.square(v / unit), tiles, np.add) for v in (before, gap))
        wild = ~np.isfinite(_by_block(gap, tiles, np.maximum))
        sqnr = np.where(wild, np.nan, _decibels(signal, noise))
        clipped = _by_block((np.abs(before) > most).astype(np.int64), tiles, np.add)
        flushed = _by_block(((before != 0) & (after == 0)).astype(np.int64), tiles, np.add)
        largest = _by_block(gap, tiles, np.maximum)
        scale = float(np.max(top)) or 1.0
        total = _decibels(np.sum(np.square(before / scale)), np.sum(np.square(gap / scale)))
    return BlockErrors(sqnr, clipped, flushed, largest, float(total), x.size)
