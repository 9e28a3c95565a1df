"""How one output of one node is computed: formats of operands, partial sums and result, and what rounds them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from itertools import product

import floatemu as fe
from floatemu.errors import UnsupportedError

from .arithmetics.emulated import Emulated, Rounder

__all__ = ["OPERANDS", "SUMS", "Numerics"]

OPERANDS, SUMS = 8, 15
"""In the place of an output: where streams of operands begin, and that of partial sums."""
SCALINGS = (None, "operands", "result", "all")
_LARGEST, _LEAST_EXPONENT = Fraction(sys.float_info.max), -1074  # of binary64


def _format(given: fe.Format | str | None) -> fe.Format | None:
    return None if given is None else fe.get_format(given)


def _check_range(fmt: fe.Format) -> None:
    if fmt.max > _LARGEST or fmt.emin - fmt.p + 1 < _LEAST_EXPONENT:
        raise UnsupportedError(
            f"{fmt.name} reaches beyond binary64 (emin {fmt.emin}, emax {fmt.emax}), in which replays hold their "
            f"values; accepted: formats within binary64's range, such as binary64 or bfloat16"
        )


@dataclass(frozen=True)
class Numerics:
    """How one output of one node is computed.

    Parameters
    ----------
    operands : Format or str, optional
        Format that the operands are rounded to first; None uses them as they are.
    accumulate : Format or str, optional
        Format of products and partial sums in sums and matrix products; None rounds the result alone.
    order : str
        Order of such sums: "sequential" (by index), "pairwise", "blocked(32)" ...; see :class:`floatemu.Order`.
    result : Format or str, optional
        Format of the output; None keeps binary64.
    projection : Projection
        Rounding of operands, partial sums and result; saturation of operands and result. (A matrix unit rounds its
        sums as the device does.)
    unit : MatrixUnit, optional
        Makes the matrix products: operands are rounded to its input formats (``gradients`` may name another format
        that the same instruction takes), what it gives is rounded to ``result``.
    promote_every : int, optional
        With a unit: elements along K between two additions to a binary32 total; see :func:`floatemu.matrix.gemm`.
    stream : int
        Added to the streams of stochastic rounding.
    gradients : Format or str, optional
        Format of operands that were made in the backward pass; default ``operands``.
    scaling : str, optional
        "operands", "result" or "all": those are multiplied by a power of two first, for each tensor the largest that
        keeps it within the format, and divided by it afterwards. Default: rounded as they are.

    Raises
    ------
    UnsupportedError
        If there is no such order, the unit is none for floating-point formats without block scales, or does not take
        the operands' formats, or a format reaches beyond binary64.

    Examples
    --------
    >>> Numerics(operands="e4m3fn", accumulate="binary32", result="bfloat16").result.name
    'bfloat16'
    """

    operands: fe.Format | str | None = None
    accumulate: fe.Format | str | None = None
    order: str = "sequential"
    result: fe.Format | str | None = None
    projection: fe.Projection = field(default_factory=fe.Projection)
    unit: fe.matrix.MatrixUnit | None = None
    stream: int = 0
    gradients: fe.Format | str | None = None
    promote_every: int | None = None
    scaling: str | None = None

    def __post_init__(self) -> None:
        if self.unit is not None:
            self._check_unit(self.unit)
            if self.operands is None:
                object.__setattr__(self, "operands", self.unit.a)
        if self.gradients is None:
            object.__setattr__(self, "gradients", self.operands)
        for name in ("operands", "gradients", "accumulate", "result"):
            chosen = _format(getattr(self, name))
            if chosen is not None:
                _check_range(chosen)
            object.__setattr__(self, name, chosen)
        fe.Order.parse(self.order)
        if self.scaling not in SCALINGS:
            raise UnsupportedError(f"scaling={self.scaling!r}; accepted: None, operands, result, all")
        if self.promote_every is not None and self.unit is None:
            raise UnsupportedError("promote_every is a matter of a matrix unit; give unit= too")
        if self.unit is not None:
            for pair in product((_format(self.operands), _format(self.gradients)), repeat=2):
                self.unit_for(*pair)

    @staticmethod
    def _check_unit(unit: object) -> None:
        if not isinstance(unit, fe.matrix.MatrixUnit):
            raise UnsupportedError(f"unit is {unit!r}; give a MatrixUnit, for instance from fe.matrix.find(...)")
        if not isinstance(unit.a, fe.Format) or unit.scale is not None:
            raise UnsupportedError(f"{unit.name} takes integers or block scales; replays have neither")

    def unit_for(self, left: fe.Format | None, right: fe.Format | None) -> fe.matrix.MatrixUnit | None:
        """Return the row of the unit's instruction that takes operands of these formats; None without a unit.

        Parameters
        ----------
        left, right : Format

        Returns
        -------
        MatrixUnit or None

        Raises
        ------
        UnsupportedError
            If the instruction takes no such operands.
        """
        unit = self.unit
        if unit is None or (unit.a, unit.b) == (left, right):
            return unit
        rows = fe.matrix.units(unit.architecture, (left, right), unit.output, unit.instruction, scale=None)
        same = [row for row in rows if set(row.shapes) & set(unit.shapes)]
        if not same:
            names = " and ".join(fmt.name for fmt in (left, right) if fmt is not None)
            raise UnsupportedError(f"{unit.name} is of an instruction that takes no operands in {names}")
        return same[0]

    @cached_property
    def format(self) -> fe.Format | None:
        """Format of the result."""
        return _format(self.result)

    def rounder(self, seed: int, stream: int) -> Rounder | None:
        """Return what rounds the result; None where it stays binary64.

        Parameters
        ----------
        seed, stream : int

        Returns
        -------
        Rounder or None
        """
        if not self._draws:
            return self._steady
        return self._rounder(self.format, seed, stream, self.scaling in ("result", "all"))

    @cached_property
    def _draws(self) -> bool:
        return self.projection.rounding.stochastic

    @cached_property
    def _steady(self) -> Rounder | None:
        # without random bits one rounder serves all nodes; to make it takes longer than to round a small array
        return self._rounder(self.format, 0, 0, self.scaling in ("result", "all"))

    def operand_rounder(self, gradient: bool, seed: int, stream: int) -> Rounder | None:
        """Return what rounds an operand; None where it is used as it is.

        Parameters
        ----------
        gradient : bool
            Whether the operand was made in the backward pass.
        seed, stream : int

        Returns
        -------
        Rounder or None
        """
        fmt = _format(self.gradients if gradient else self.operands)
        return self._rounder(fmt, seed, stream, self.scaling in ("operands", "all"))

    def _rounder(self, fmt: fe.Format | None, seed: int, stream: int, scaled: bool) -> Rounder | None:
        return None if fmt is None else Rounder(fmt, self.projection, seed, stream + self.stream, scaled)

    @property
    def plain(self) -> bool:
        """Whether the result alone is rounded: operands as they are, sums in binary64."""
        return self.operands is None and self.gradients is None and self.accumulate is None

    def sum_rounder(self, seed: int, stream: int) -> Rounder | None:
        """Return what rounds products and partial sums; None where they stay binary64.

        Parameters
        ----------
        seed, stream : int

        Returns
        -------
        Rounder or None
        """
        fmt = _format(self.accumulate)
        unsaturated = replace(self.projection, saturation=fe.Saturation.SAT_NONE)
        return None if fmt is None else Rounder(fmt, unsaturated, seed, stream + self.stream)

    def arithmetic(self, gradients: Sequence[bool], seed: int = 0, stream: int = 0) -> Emulated:
        """Return what computes the unrounded result.

        Parameters
        ----------
        gradients : sequence of bool
            Of each operand, whether it was made in the backward pass.
        seed, stream : int
            Of partial sums that are rounded stochastically.

        Returns
        -------
        Emulated
        """
        unit = self.unit
        if unit is not None and len(gradients) == 2:
            unit = self.unit_for(*(_format(self.gradients if made else self.operands) for made in gradients))
        return Emulated(self.sum_rounder(seed, stream), self.order, unit, self.promote_every)
