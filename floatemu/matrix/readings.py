"""Where published models disagree: the other readings of a row, each with whose it is.

A row of the table has one value for each parameter. Where sources state another and no device's results decide,
a device that follows the other reading deviates for a known cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from floatemu.matrix.amd import TwoStage
from floatemu.matrix.steps import BINARY16, Fused
from floatemu.matrix.unit import MatrixUnit

__all__ = ["Reading", "readings"]


@dataclass(frozen=True)
class Reading:
    """A row as another source has it.

    Attributes
    ----------
    unit : MatrixUnit
        The row with the parameters changed.
    cause : str
        Which parameters, and whose reading it is.
    """

    unit: MatrixUnit
    cause: str


Change = tuple[dict[str, Any], str]

_ZERO_16 = (
    (-20, "MMA-Sim 2.0.3 (Volta), 2.1.0"),
    (-21, "MMA-Sim 2.0.3 (Ampere), 2.1.0"),
    (-22, "MMA-Sim 2.0.3 (Hopper mma)"),
    (-133, "MMA-Sim 2.0.3 (wgmma, tcgen05)"),
    (-126, "MMA-Sim 1"),
)
_KEPT_SIGN = ({"signed_zero": True}, "MMA-Sim 2.0.x")
_NORMALISED = ({"accumulator_emin": -24}, "Khattak & Mikaitis convert C to binary32 first")
SPECIAL_ALWAYS = 2**20
"""An exponent that no product reaches: infinite and NaN accumulators are never dropped."""


def _changes(unit: MatrixUnit) -> Iterator[list[Change]]:
    """Alternatives of one row, a list for each parameter that sources disagree on."""
    step = unit.step
    if isinstance(step, Fused):
        zeros = _ZERO_16 if step.result is BINARY16 else ((-126, "MMA-Sim 1"),)
        yield [({"zero_exponent": e}, source) for e, source in zeros if e != step.zero_exponent]
        if step.result is BINARY16:
            yield [_NORMALISED]
        yield [_KEPT_SIGN]
        if unit.architecture == "turing" and "m8n8k4" in unit.shapes:
            yield [({"fraction": 24}, "MMA-Sim 1")]
    if isinstance(step, TwoStage):
        yield [({"first": step.final}, "MMA-Sim's paper, one cut"), ({"first": step.final, "final": 60}, "MMA-Sim 1")]
        if step.interleaved:
            yield [({"special_exponent": SPECIAL_ALWAYS}, "infinities and NaN are kept, as everywhere else")]


def readings(unit: MatrixUnit) -> Iterator[Reading]:
    """Yield a row's other readings: one parameter changed, then two.

    Parameters
    ----------
    unit : MatrixUnit

    Yields
    ------
    Reading

    Examples
    --------
    >>> import floatemu as fe
    >>> next(readings(fe.matrix.find("H100", "fp16", "fp16", "mma"))).cause
    'zero_exponent = -20, not -21 (MMA-Sim 2.0.3 (Volta), 2.1.0)'
    """
    groups = list(_changes(unit))
    single = [(change,) for group in groups for change in group]
    pairs = [
        (left, right)
        for i, group in enumerate(groups)
        for other in groups[i + 1 :]
        for left in group
        for right in other
    ]
    for chosen in (*single, *pairs):
        causes = []
        step: Any = unit.step
        for changes, source in chosen:
            names = ", ".join(f"{name} = {value}, not {getattr(step, name)}" for name, value in changes.items())
            causes.append(f"{names} ({source})")
            step = replace(step, **changes)
        yield Reading(replace(unit, step=step), "; ".join(causes))
