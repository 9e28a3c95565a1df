"""Stochastic arithmetic: every operation's result, every product and partial sum rounded at random to one format."""

from __future__ import annotations

from typing import Any

import numpy as np

import floatemu as fe
from floatemu.errors import UnsupportedError

from ..arithmetics.base import Array
from ..arithmetics.emulated import Rounder
from ..arithmetics.float64 import Float64

__all__ = ["RANDOM_BITS", "Stochastic"]

RANDOM_BITS = 32


class Stochastic(Float64):
    """Binary64 operations whose results are rounded stochastically, as an accumulator in a narrow format does it.

    A policy rounds what a node gives; this rounds inside nodes too. An object serves one replay: it counts its
    roundings, and each draws from a stream of its own.

    Parameters
    ----------
    fmt : Format or str
    seed : int
    run : int
        Number of the run within an ensemble; its streams are run * 2^32, run * 2^32 + 1 ...
    random_bits : int
        1..32. A rounding's mean is off by at most 2^-(random_bits + 1) ulp.

    Raises
    ------
    UnsupportedError
        If the format has more than 25 bits of precision: results are formed in binary64 first.

    Notes
    -----
    A number between two neighbours of the format goes to either, with the probability that makes its mean exact
    (M. P. Connolly, N. J. Higham and T. Mary, SIAM Journal on Scientific Computing 43(1), 2021).

    Examples
    --------
    >>> import numpy as np
    >>> ones = np.ones((4096, 1))
    >>> rounded = Stochastic("bfloat16", seed=1).sum(ones, 0, False).item()
    >>> 256 < rounded < 8192  # to nearest, the sum stops at 256
    True
    """

    name = "stochastic"

    def __init__(self, fmt: fe.Format | str, seed: int = 0, run: int = 0, random_bits: int = RANDOM_BITS) -> None:
        self.format = fe.get_format(fmt)
        if self.format.p > 25:
            raise UnsupportedError(
                f"{self.format.name} has p = {self.format.p} bits: results formed in binary64 and rounded at random "
                f"to more than 25 bits are rounded twice; accepted: formats of at most 25 bits"
            )
        self._projection = fe.Projection(fe.Rounding.STOCHASTIC_C, random_bits=random_bits)
        self._seed, self._stream = seed, run << 32

    def _round(self, x: Array) -> Array:
        self._stream += 1
        return Rounder(self.format, self._projection, self._seed, self._stream - 1)(x)

    def lift(self, x: Array) -> Array:
        """Return float64 data rounded: the cast."""
        return self._round(x) if x.dtype.kind == "f" else x

    def add(self, x: Array, y: Array) -> Array:
        """Return x + y."""
        return self._round(super().add(x, y))

    def sub(self, x: Array, y: Array) -> Array:
        """Return x - y."""
        return self._round(super().sub(x, y))

    def mul(self, x: Array, y: Array) -> Array:
        """Return x y."""
        return self._round(super().mul(x, y))

    def div(self, x: Array, y: Array) -> Array:
        """Return x / y."""
        return self._round(super().div(x, y))

    def exp(self, x: Array) -> Array:
        """Return e^x."""
        return self._round(super().exp(x))

    def log(self, x: Array) -> Array:
        """Return ln x."""
        return self._round(super().log(x))

    def sqrt(self, x: Array) -> Array:
        """Return the square root."""
        return self._round(super().sqrt(x))

    def tanh(self, x: Array) -> Array:
        """Return tanh x."""
        return self._round(super().tanh(x))

    def erf(self, x: Array) -> Array:
        """Return erf x."""
        return self._round(super().erf(x))

    def erf_slope(self, x: Array) -> Array:
        """Return 2/sqrt(pi) e^(-x^2)."""
        return self._round(super().erf_slope(x))

    def sin(self, x: Array) -> Array:
        """Return sin x."""
        return self._round(super().sin(x))

    def cos(self, x: Array) -> Array:
        """Return cos x."""
        return self._round(super().cos(x))

    def sum(self, x: Array, axis: int, keepdims: bool) -> Array:
        """Return the sum along an axis in index order, each partial sum rounded."""
        rows = np.moveaxis(x, axis, 0)
        total: Any = np.zeros(rows.shape[1:])
        for row in rows:
            total = self._round(total + row)
        return np.expand_dims(total, axis) if keepdims else np.asarray(total)

    def matmul(self, x: Array, y: Array) -> Array:
        """Return x @ y, each product and each partial sum rounded."""
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        total = np.zeros((*batch, x.shape[-2], y.shape[-1]))
        for k in range(x.shape[-1]):
            total = self._round(total + self._round(x[..., :, k, None] * y[..., None, k, :]))
        return total
