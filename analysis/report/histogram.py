"""Histograms of magnitudes by binade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Histogram", "histogram"]


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
    finite = np.isfinite(x)
    nonzero = finite & (x != 0)
    exponents = np.frexp(np.abs(x[nonzero]))[1].astype(np.int64) - 1  # frexp's fraction lies in [1/2, 1)
    low = int(exponents.min()) if exponents.size else 0
    counts = np.bincount(exponents - low) if exponents.size else np.zeros(0, np.int64)
    return Histogram(
        low,
        tuple(int(count) for count in counts),
        int(np.count_nonzero(x == 0)),
        int(np.count_nonzero(np.isinf(x))),
        int(np.count_nonzero(np.isnan(x))),
    )
