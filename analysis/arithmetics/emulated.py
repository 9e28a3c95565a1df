"""Emulated arithmetic: binary64 operations whose partial sums are rounded, and the rounder for all the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

import floatemu as fe

from ..arithmetics.base import Array
from ..arithmetics.float64 import Float64

__all__ = ["Emulated", "Rounder"]


@dataclass(frozen=True)
class Rounder:
    """Rounds arrays to one format under one projection.

    Parameters
    ----------
    fmt : Format
    projection : Projection
    seed : int
        For the stochastic modes.
    stream : int
        For the stochastic modes: another number for each rounding of a run.
    scaled : bool
        Whether an array is multiplied by a power of two first, the largest that keeps its finite elements within the
        format, and divided by it afterwards.

    Examples
    --------
    >>> import numpy as np
    >>> values, flags = Rounder(fe.get_format("e4m3fn"), fe.Projection()).with_flags(np.array([0.3, 500.0]))
    >>> values.tolist(), [fe.Flag.OVERFLOW in fe.Flag(flag) for flag in flags.tolist()]
    ([0.3125, nan], [False, True])
    """

    fmt: fe.Format
    projection: fe.Projection
    seed: int = 0
    stream: int = 0
    scaled: bool = False

    def scale(self, x: Array) -> float:
        """Return what an array is multiplied by before it is rounded, 1 unless ``scaled``."""
        if not self.scaled:
            return 1.0
        largest, top = float(np.abs(x[np.isfinite(x)]).max(initial=0.0)), float(self.fmt.max)
        power = math.frexp(top)[1] - math.frexp(largest)[1]
        if math.ldexp(largest, power) > top:
            power -= 1
        return math.ldexp(1.0, min(power, 1023)) if largest else 1.0

    def _options(self) -> dict[str, Any]:
        random: dict[str, Any] = {}
        if self.projection.rounding.stochastic:
            random = {"random_bits": self.projection.random_bits, "seed": self.seed, "stream": self.stream}
        return {
            "rounding": self.projection.rounding,
            "saturation": self.projection.saturation,
            # a NaN reaching a format that has none must not stop a replay; its birth is an event of its own
            "nan": None if self.fmt.has_nan else "max",
            "dtype": np.float64,
            **random,
        }

    def with_flags(self, x: Array) -> tuple[Array, Array]:
        """Return (values, flags), float64 and uint8, shaped like x."""
        scale = self.scale(x)
        values, flags = fe.round_with_flags(x * scale if self.scaled else x, self.fmt, **self._options())
        return np.asarray(values / scale if self.scaled else values), np.asarray(flags)

    def __call__(self, x: Array) -> Array:
        """Return the rounded values."""
        scale = self.scale(x)
        values = fe.round(x * scale if self.scaled else x, self.fmt, **self._options())
        return np.asarray(values / scale if self.scaled else values)


class Emulated(Float64):
    """Binary64 with rounded partial sums; operands and results are rounded by the engine, which counts events.

    Parameters
    ----------
    accumulate : Format, optional
        Every product and every partial sum of sums and matrix products is rounded to it, to nearest even; None
        keeps them in binary64, so that a result is rounded once.
    order : str
        Order of such sums; see :class:`floatemu.Order`.
    unit : MatrixUnit, optional
        Makes the matrix products instead, of operands in its formats.
    promote_every : int, optional
        With a unit: see :func:`floatemu.matrix.gemm`.

    Examples
    --------
    >>> import numpy as np
    >>> Emulated(fe.get_format("bfloat16")).sum(np.ones(1000), 0, False).item()  # stops where 1 is half an ulp
    256.0
    """

    name = "emulated"

    def __init__(
        self,
        accumulate: fe.Format | None = None,
        order: str = "sequential",
        unit: fe.matrix.MatrixUnit | None = None,
        promote_every: int | None = None,
    ) -> None:
        self._accumulate, self._order, self._unit, self._every = accumulate, order, unit, promote_every

    def sum(self, x: Array, axis: int, keepdims: bool) -> Array:
        """Return the sum along an axis, each partial sum rounded."""
        fmt = self._accumulate
        if fmt is None or x.shape[axis] == 0:
            return super().sum(x, axis, keepdims)
        nan = None if fmt.has_nan else "max"  # as in a rounder: a NaN must not stop a replay
        total = fe.sum(x, fmt, axis=axis, keepdims=keepdims, order=self._order, nan=nan, dtype=np.float64)
        return np.asarray(total)

    def matmul(self, x: Array, y: Array) -> Array:
        """Return x @ y, each product and each partial sum rounded, or as the matrix unit makes it."""
        if self._unit is not None:
            return np.asarray(fe.matrix.gemm(self._unit, x, y, promote_every=self._every), np.float64)
        fmt = self._accumulate
        if fmt is None or x.shape[-1] == 0:
            return super().matmul(x, y)
        nan = None if fmt.has_nan else "max"
        return np.asarray(fe.matmul(x, y, fmt, order=self._order, nan=nan, dtype=np.float64))
