"""Histograms of magnitudes by binade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Histogram", "histogram"]

_TOP = 0x7FF
"""Exponent field of binary64's infinities and NaN."""


@dataclass(frozen=True)
class Histogram:
    """How many elements of a value lie in each binade.

    Attributes
    ----------
    low : int
        Exponent of the first binade; ``counts[i]`` elements have 2^(low + i) <= abs(x) < 2^(low + i + 1).
    counts : tuple of int
        Empty if there is no finite number other than zero.
    zeros, infinities, nans : int

    Examples
    --------
    >>> found = histogram(np.array([0.0, 1.0, -1.5, 4.0, np.inf]))
    >>> found.low, found.counts, found.zeros, found.infinities
    (0, (2, 0, 1), 1, 1)
    """

    low: int
    counts: tuple[int, ...]
    zeros: int
    infinities: int
    nans: int

    @property
    def high(self) -> int:
        """Exponent just above the last binade."""
        return self.low + len(self.counts)

    def to_json(self) -> dict[str, Any]:
        """Return the histogram as a JSON object."""
        return {**self.__dict__, "counts": list(self.counts)}

    def compact(self) -> list[Any]:
        """Return the numbers as a short JSON list: low, counts, zeros, infinities, nans."""
        return [self.low, list(self.counts), self.zeros, self.infinities, self.nans]


def histogram(x: npt.NDArray[Any]) -> Histogram:
    """Count the elements of an array by binade.

    Parameters
    ----------
    x : ndarray of float64
        Of any shape.

    Returns
    -------
    Histogram
    """
    flat = np.ascontiguousarray(x).reshape(-1)
    exponents = (flat.view(np.uint64) >> 52 & _TOP).astype(np.int64) - 1023
    zeros, unfit = int(np.count_nonzero(flat == 0)), exponents == _TOP - 1023
    if zeros or unfit.any():
        exponents = exponents[(flat != 0) & ~unfit]
    if exponents.size and exponents.min() == -1023:  # below binary64's normal range, its exponents are all one
        exponents = np.frexp(flat[(flat != 0) & ~unfit])[1].astype(np.int64) - 1  # frexp's fraction is in [1/2, 1)
    low = int(exponents.min()) if exponents.size else 0
    counts = np.bincount(exponents - low).tolist() if exponents.size else []
    nans = int(np.count_nonzero(flat != flat))
    return Histogram(low, tuple(counts), zeros, int(np.count_nonzero(unfit)) - nans, nans)
