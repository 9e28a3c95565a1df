"""Var: a value on a tape that is being built, whose operators record nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..arithmetics.base import Array
from ..tape import Value

if TYPE_CHECKING:
    from ..ops.builder import Builder

__all__ = ["Var"]


@dataclass(frozen=True, eq=False)
class Var:
    """A value on a tape that is being built; operators record nodes.

    Attributes
    ----------
    builder : Builder
    ref : Value
        Node and output.
    value : ndarray
        The value in binary64, known while building.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.ops import Builder
    >>> x = Builder("t").leaf("input", np.array([1.0, 2.0]))
    >>> (x * x).sum(0).value.item()
    5.0
    """

    builder: Builder
    ref: Value
    value: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    @property
    def T(self) -> Var:
        """The last two axes exchanged."""
        axes = list(range(len(self.shape)))
        axes[-2:] = [axes[-1], axes[-2]]
        return self.transpose(tuple(axes))

    def __add__(self, other: Var) -> Var:
        return self.builder.elementwise("add", self, other)

    def __sub__(self, other: Var) -> Var:
        return self.builder.elementwise("sub", self, other)

    def __mul__(self, other: Var) -> Var:
        return self.builder.elementwise("mul", self, other)

    def __truediv__(self, other: Var) -> Var:
        return self.builder.elementwise("div", self, other)

    def __matmul__(self, other: Var) -> Var:
        return self.builder.matmul(self, other)

    def __neg__(self) -> Var:
        return self.builder.apply("neg", self)

    def exp(self) -> Var:
        """Record e^x."""
        return self.builder.apply("exp", self)

    def log(self) -> Var:
        """Record ln x."""
        return self.builder.apply("log", self)

    def sqrt(self) -> Var:
        """Record the square root."""
        return self.builder.apply("sqrt", self)

    def tanh(self) -> Var:
        """Record tanh x."""
        return self.builder.apply("tanh", self)

    def erf(self) -> Var:
        """Record erf x."""
        return self.builder.apply("erf", self)

    def sum(self, axis: int, keepdims: bool = False) -> Var:
        """Record the sum along one axis."""
        return self.builder.apply("sum", self, axis=axis % len(self.shape), keepdims=keepdims)

    def transpose(self, axes: tuple[int, ...]) -> Var:
        """Record a permutation of axes."""
        return self.builder.apply("transpose", self, axes=axes)

    def reshape(self, shape: tuple[int, ...]) -> Var:
        """Record another shape of the same elements, in C order."""
        return self if shape == self.shape else self.builder.apply("reshape", self, shape=shape)

    def broadcast(self, shape: tuple[int, ...]) -> Var:
        """Record a repetition of axes of length one, and of new leading axes."""
        return self if shape == self.shape else self.builder.apply("broadcast", self, shape=shape)
