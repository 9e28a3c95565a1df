"""What every reduction is told: the order of its additions, and the formats of products, sums and results."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from floatemu._core import reductions as core
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.projecting import Request
from floatemu.projection import Rounding, Saturation
from floatemu.target import carried_by, carrier_target, layout, scaled_target, smallest_float

NEAREST = Rounding.NEAREST_TIES_TO_EVEN
NONE = Saturation.SAT_NONE
EXACT = -1
MOST = 2**31 - 1
"""Terms of a block."""
_KINDS = {
    "sequential": core.SEQUENTIAL,
    "pairwise": core.PAIRWISE,
    "blocked": core.BLOCKED,
    "numpy_pairwise": core.LANED,
    "kahan": core.KAHAN,
    "neumaier": core.NEUMAIER,
    "exact": EXACT,
}
_ACCEPTED = "sequential, pairwise, blocked(n), numpy_pairwise(block, lanes), kahan, neumaier, exact"


@dataclass(frozen=True)
class Order:
    """The order in which the terms of a sum are added.

    Parameters
    ----------
    kind : str
        ``sequential``: from first to last. ``pairwise``: neighbours in pairs, level by level, an odd one out
        going up as it is. ``blocked``: blocks of n consecutive terms, each from first to last, then the
        blocks' sums from first to last. ``numpy_pairwise``: numpy's sum of a contiguous array, halves at
        multiples of ``lanes`` down to ``block`` terms, these through ``lanes`` accumulators. ``kahan``,
        ``neumaier``: compensated, from first to last. ``exact``: the exact sum, rounded once.
    block, lanes : int
        Numbers of ``blocked`` and ``numpy_pairwise``; 0 elsewhere. ``lanes`` is a power of two, and ``block`` at least
        2 lanes - 1: more terms than that have two halves.

    Raises
    ------
    UnsupportedError
        If the kind is unknown, or its numbers are missing, too many or out of range.

    Notes
    -----
    An accumulator starts with its first term rounded to the accumulator's format; every further operation is
    the exact result of its operands, rounded once to that format.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.Order.parse("blocked(32)")
    Order(kind='blocked', block=32, lanes=0)
    >>> float(fe.sum([1.0] * 5000, "binary16", order=fe.Order("blocked", 64)))
    5000.0
    """

    kind: str
    block: int = 0
    lanes: int = 0

    def __post_init__(self) -> None:
        text = f"{self.kind}({self.block}, {self.lanes})" if self.lanes else f"{self.kind}({self.block})"
        if self.kind not in _KINDS:
            raise UnsupportedError(f"order={self.kind!r} is not an order of addition; accepted: {_ACCEPTED}")
        if any(isinstance(n, bool) or not isinstance(n, int) for n in (self.block, self.lanes)):
            raise UnsupportedError(f"order={text}: block and lanes are integers")
        if self.kind not in ("blocked", "numpy_pairwise") and (self.block or self.lanes):
            raise UnsupportedError(f"order={text}: {self.kind} takes no number; accepted: {_ACCEPTED}")
        if self.kind == "blocked" and (self.lanes or not 1 <= self.block <= MOST):
            raise UnsupportedError(f"order={text}: blocked(n) takes one number; a block holds 1 to {MOST} terms")
        lanes = self.lanes
        if self.kind == "numpy_pairwise" and (
            lanes < 1 or lanes & (lanes - 1) or not 2 * lanes - 1 <= self.block <= MOST
        ):
            raise UnsupportedError(
                f"order={text}: lanes = {lanes} must be a power of two, and block = {self.block} at least "
                f"2 lanes - 1 = {2 * lanes - 1} and at most {MOST}"
            )

    @staticmethod
    def parse(text: Any) -> Order:
        """Return the order that a text such as "blocked(32)" names.

        Parameters
        ----------
        text : str or Order

        Returns
        -------
        Order

        Raises
        ------
        UnsupportedError
            If it names none.

        Examples
        --------
        >>> Order.parse("numpy_pairwise")
        Order(kind='numpy_pairwise', block=128, lanes=8)
        """
        if isinstance(text, Order):
            return text
        found = (
            re.fullmatch(r"\s*(\w+)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)\s*)?", text)
            if isinstance(text, str)
            else None
        )
        kind, given = (found[1].lower(), [int(v) for v in found.groups()[1:] if v]) if found else ("", [])
        if kind not in _KINDS:
            raise UnsupportedError(f"order={text!r} is not an order of addition; accepted: {_ACCEPTED}")
        if kind == "numpy_pairwise":
            given += [128, 8][len(given) :]
        elif len(given) != (kind == "blocked"):
            what = "blocked(n) takes one number" if kind == "blocked" else f"{kind} takes no number"
            raise UnsupportedError(f"order={text!r}: {what}; accepted: {_ACCEPTED}")
        return Order(kind, *given)

    @property
    def number(self) -> int:
        """The core's number of this order."""
        return _KINDS[self.kind]


@dataclass(frozen=True)
class Plan:
    """One reduction's settings, checked: the formats of products, accumulator and result, and the order."""

    product: Format
    accumulate: Format
    result: Format
    order: Order
    fused: bool
    request: Request
    flagged: bool = False

    @staticmethod
    def make(
        fmt: Any, product: Any, accumulate: Any, order: Any, fused: bool, rounding: Any, options: dict[str, Any]
    ) -> Plan:
        """Check the arguments that all reductions share; ``options`` holds those that ``fe.round`` takes too."""
        if options.get("random") is not None:
            raise UnsupportedError(
                "random= gives one operation its random bits, and a reduction is many: give seed= (and stream=), from "
                "which each operation of each element draws its own"
            )
        unknown = set(options) - {"saturation", "random_bits", "random", "seed", "stream", "nan", "flags"}
        if unknown:
            raise UnsupportedError(
                f"unknown option {', '.join(sorted(unknown))}; "
                "accepted: saturation, random_bits, seed, stream, nan, flags"
            )
        result = get_format(fmt)
        inner = result if accumulate is None else get_format(accumulate)
        parsed = Order.parse(order)
        if fused and product is not None:
            raise UnsupportedError(
                f"product={product!r} with fused=True: a fused product is not rounded; leave one out"
            )
        if fused and parsed.kind not in ("sequential", "blocked", "numpy_pairwise"):
            raise UnsupportedError(
                f"fused=True with order={parsed.kind!r}: fused operations accumulate one product at a time; "
                "use sequential, blocked(n) or numpy_pairwise, or fused=False"
            )
        request = Request.make(
            result, rounding, options.get("saturation", NONE), options.get("random_bits"), None,
            options.get("seed"), options.get("stream", 0), options.get("nan"),
        )  # fmt: skip
        outer = inner if product is None else get_format(product)
        for each in (outer, inner, result):
            smallest_float(each)  # refuses what binary64 does not hold
        return Plan(outer, inner, result, parsed, fused, request, bool(options.get("flags", False)))

    def step(self, fmt: Format) -> core.Step:
        """How the core rounds to ``fmt``, and whether it writes flags."""
        projection, nan = self.request.projection, self.request.nan
        carried = carried_by(fmt, "float64")
        scaled = scaled_target(fmt, projection, nan)
        target = carrier_target(fmt, projection, nan, "float64", False) if carried else scaled
        bits = self.request.bits
        fast = carried and fmt.p + bits + 2 <= 53
        return core.Step(target, scaled, layout(fmt), fast, int(projection.rounding), np.uint64(bits), self.flagged)
