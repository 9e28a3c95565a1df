"""Emulated arithmetic: binary64 operations whose partial sums are rounded, and the rounder for all the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
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

    def with_flags(self, x: Array) -> tuple[Array, Array]:
        """Return (values, flags), float64 and uint8, shaped like x."""
        if not self.scaled:
            values, flags = self._compiled.with_flags(x)
            return values, flags
        scale = self.scale(x)
        values, flags = self._compiled.with_flags(x * scale)
        return np.asarray(values / scale), flags

    @cached_property
    def _compiled(self) -> Any:
        return fe.rounder(self.fmt, saturation=self.projection.saturation, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """Rounding mode, random bits and what becomes of NaN, as every face of floatemu takes them."""
        # a NaN reaching a format that has none must not stop a replay; its birth is an event of its own
        options: dict[str, Any] = {"rounding": self.projection.rounding, "nan": None if self.fmt.has_nan else "max"}
        if self.projection.rounding.stochastic:
            options |= {"random_bits": self.projection.random_bits, "seed": self.seed, "stream": self.stream}
        return options

    def __call__(self, x: Array) -> Array:
        """Return the rounded values."""
        scale = self.scale(x)
        values = self._compiled(x * scale if self.scaled else x)
        return np.asarray(values / scale if self.scaled else values)


class Emulated(Float64):
    """Binary64 with rounded partial sums; operands and results are rounded by the engine, which counts events.

    Parameters
    ----------
    accumulate : Rounder, optional
        Every product and every partial sum of sums and matrix products is rounded to its format, in its rounding
        mode, from its stream (never saturated: that is for what is stored); None keeps them in binary64, so that a
        result is rounded once.
    order : str
        Order of such sums; see :class:`floatemu.Order`.
    unit : MatrixUnit, optional
        Makes the matrix products instead, of operands in its formats.
    promote_every : int, optional
        With a unit: see :func:`floatemu.matrix.gemm`.

    Examples
    --------
    >>> import numpy as np
    >>> accumulate = Rounder(fe.get_format("bfloat16"), fe.Projection())
    >>> Emulated(accumulate).sum(np.ones(1000), 0, False).item()  # stops where 1 is half an ulp
    256.0
    """

    name = "emulated"

    def __init__(
        self,
        accumulate: Rounder | None = None,
        order: str = "sequential",
        unit: fe.matrix.MatrixUnit | None = None,
        promote_every: int | None = None,
    ) -> None:
        self._unit, self._every = unit, promote_every
        self._accumulate = None if accumulate is None else accumulate.fmt
        self._options: dict[str, Any] = {"order": order, "dtype": np.float64}
        if accumulate is not None:
            self._options |= accumulate.options

    def sum(self, x: Array, axis: int, keepdims: bool) -> Array:
        """Return the sum along an axis, each partial sum rounded."""
        if self._accumulate is None or x.shape[axis] == 0:
            return super().sum(x, axis, keepdims)
        return np.asarray(fe.sum(x, self._accumulate, axis=axis, keepdims=keepdims, **self._options))

    def matmul(self, x: Array, y: Array) -> Array:
        """Return x @ y, each product and each partial sum rounded, or as the matrix unit makes it."""
        if self._unit is not None:
            return np.asarray(fe.matrix.gemm(self._unit, x, y, promote_every=self._every), np.float64)
        if self._accumulate is None or x.shape[-1] == 0:
            return super().matmul(x, y)
        return np.asarray(fe.matmul(x, y, self._accumulate, **self._options))
