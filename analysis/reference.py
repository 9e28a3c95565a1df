"""References: the replay that all others are measured against, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError

from .arithmetics.exact import Exact
from .arithmetics.float64 import Float64
from .engine import Run, replay
from .measures import norm
from .tape import Tape

__all__ = ["KINDS", "Reference", "reference"]

KINDS = ("mpmath", "float64")
START_BITS = 106
MAX_BITS = 1696
STABLE = 2.0**-64
MAX_PRODUCTS = 3 * 10**8
MAX_NUMBERS = 5 * 10**6


@dataclass(frozen=True)
class Reference:
    """A run taken as exact.

    Attributes
    ----------
    run : Run
    kind : str
        "mpmath" or "float64".
    bits : int
        Precision of the run.
    checked : bool
        Whether the run at half the precision took the same decisions and agreed to 2^-64 at every node.

    Examples
    --------
    >>> import analysis as an
    >>> reference(an.nets.chain(1e5, 0.25, 10)).bits
    212
    """

    run: Run
    kind: str
    bits: int
    checked: bool

    def to_json(self) -> dict[str, Any]:
        """Return the contract's ``reference`` object.

        mpmath agrees with itself at half the precision, which is evidence, not proof: never "certified".

        Returns
        -------
        dict
        """
        return {
            "kind": self.kind,
            "bits": self.bits,
            "certified": False,
            "max_radius": None,
            "undecided_branches": None,
            "stable_under_doubling": self.checked,
        }


def reference(tape: Tape, kind: str = "mpmath", bits: int = START_BITS) -> Reference:
    """Return a reference run of a tape.

    Parameters
    ----------
    tape : Tape
    kind : str
        "mpmath": evaluated at ``bits`` and at twice as many; if the two disagree, the precision is doubled again.
        "float64": one binary64 replay, unchecked.
    bits : int
        First precision of "mpmath".

    Returns
    -------
    Reference

    Raises
    ------
    UnsupportedError
        If the kind is unknown, if "mpmath" would take many minutes or gigabytes, or if the runs still disagree at
        1696 bits; the message then names the node.

    Examples
    --------
    >>> import analysis as an
    >>> reference(an.nets.chain(1e5, 0.25, 10), "float64").run.value("result").item()
    0.095367431640625
    """
    if kind not in KINDS:
        raise UnsupportedError(f"reference={kind!r}; accepted: {', '.join(KINDS)}")
    if kind == "float64":
        return Reference(replay(tape, Float64()), kind, 53, False)
    if (products := _products(tape)) > MAX_PRODUCTS:
        raise UnsupportedError(
            f"{tape.name}: an mpmath reference of {products:.2g} multiplications in matrix products would take many "
            f"minutes; the limit is {MAX_PRODUCTS:.2g}; use reference='float64' or a smaller net or batch"
        )
    if (numbers := sum(output.size for node in tape.nodes for output in node.outputs)) > MAX_NUMBERS:
        raise UnsupportedError(
            f"{tape.name}: an mpmath reference would hold {numbers:.2g} numbers, some 250 bytes each; the limit is "
            f"{MAX_NUMBERS:.2g}; use reference='float64' or a smaller net or batch"
        )
    coarse = replay(tape, Exact(bits))
    while True:
        fine = replay(tape, Exact(2 * bits))
        moved = _first_difference(coarse, fine, bits)
        if moved is None:
            return Reference(fine, kind, 2 * bits, True)
        if 2 * bits >= MAX_BITS:
            label = tape.nodes[moved].label
            raise UnsupportedError(
                f"{tape.name}: {label} still changes at {2 * bits} bits; there is no stable reference"
            )
        coarse, bits = fine, 2 * bits


def _products(tape: Tape) -> int:
    total = 0
    for node in tape.nodes:
        if node.op == "matmul":
            left = node.inputs[0]
            total += node.outputs[0].size * tape.nodes[left.node].outputs[left.output].shape[-1]
    return total


def _first_difference(coarse: Run, fine: Run, bits: int) -> int | None:
    # What is zero in exact arithmetic comes out as noise, of which no digit is stable, but which shrinks with the
    # precision: a value within 40 bits of the finer run's resolution, relative to the tape's largest, is zero.
    largest = max((norm(value[0]) for value in fine.values if value[0].dtype.kind == "f"), default=0.0)
    noise = largest * 2.0 ** (40 - 2 * bits) if np.isfinite(largest) else 0.0
    for index, (a, b) in enumerate(zip(coarse.values, fine.values)):
        if a[0].dtype.kind != "f":
            if not np.array_equal(a[0], b[0]):
                return index
            continue
        if not _close(a[0], b[0], coarse.tail(index), fine.tail(index), noise):
            return index
    return None


def _close(a: Any, b: Any, a_tail: Any, b_tail: Any, noise: float) -> bool:
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    if not np.isfinite(a[finite]).all():
        return False
    difference = norm((a[finite] - b[finite]) + (a_tail[finite] - b_tail[finite]))
    size = norm(b[finite])
    return difference <= STABLE * size or size <= noise
