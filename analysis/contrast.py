"""Two analyses side by side: which target keeps more, through which operations, and which events came or went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from floatemu.errors import UnsupportedError

from .comparison import TargetReport, to_json
from .terminal import plain
from .verdict import number

if TYPE_CHECKING:
    from .results import Analysis

__all__ = ["Contrast", "compare"]

EVEN = 0.1
"""Bits by which two results may differ and still be called alike."""


@dataclass(frozen=True)
class Contrast:
    """What two analyses of the same targets say.

    Attributes
    ----------
    names : (str, str)
        Of the policies; of the tapes too, where they differ.
    targets : mapping of str to (TargetReport, TargetReport)
        By target.
    shares : mapping of str to (float, float)
        Error of the main target that each operation contributes, relative to the exact norm.
    events : mapping of str to (int, int)
        Elements hit by each kind of event.
    main : str
        The target that ``shares`` is about.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 16, 10), "tanh", batch=8)
    >>> found = compare(*(an.analyze(tape, name, "float64") for name in ("bf16", "binary16")))
    >>> found.names, found.gain("grad:W0") > 2
    (('bfloat16', 'binary16'), True)
    """

    names: tuple[str, str]
    targets: Mapping[str, tuple[TargetReport, TargetReport]]
    shares: Mapping[str, tuple[float, float]]
    events: Mapping[str, tuple[int, int]]
    main: str

    def gain(self, target: str) -> float:
        """Return how many bits more the second analysis keeps of a target.

        Parameters
        ----------
        target : str

        Returns
        -------
        float
            Infinite where one of them is exact, NaN where both are or one is NaN.

        Raises
        ------
        UnsupportedError
            If the target is not common to both.
        """
        if target not in self.targets:
            raise UnsupportedError(f"target {target!r} is not common to both; accepted: {', '.join(self.targets)}")
        first, second = self.targets[target]
        return second.bits - first.bits

    def __str__(self) -> str:
        lines = []
        for name, (first, second) in self.targets.items():
            gain = self.gain(name)
            words = "alike" if abs(gain) <= EVEN or first.bits == second.bits else f"{number(gain)} bits more"
            if gain < -EVEN:
                words = f"{number(-gain)} bits less"
            errors = f"{number(first.rel_error)} in {self.names[0]}, {number(second.rel_error)} in {self.names[1]}"
            lines.append(f"{name}: {words if not math.isnan(gain) else 'not comparable'} (relative error {errors})")
        for kind, (first_count, second_count) in self.events.items():
            if first_count != second_count:
                lines.append(f"{kind}: {first_count} elements in {self.names[0]}, {second_count} in {self.names[1]}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON object; non-finite numbers as text.

        Returns
        -------
        dict
        """
        found = plain(
            {
                "names": list(self.names),
                "main": self.main,
                "targets": [[to_json(report) for report in pair] for pair in self.targets.values()],
                "gains": {name: self.gain(name) for name in self.targets},
                "shares": {name: list(pair) for name, pair in self.shares.items()},
                "events": {name: list(pair) for name, pair in self.events.items()},
            }
        )
        assert isinstance(found, dict)
        return found


def compare(first: Analysis, second: Analysis) -> Contrast:
    """Compare two analyses: other policies on one tape, or one policy on two tapes with the same targets.

    Parameters
    ----------
    first, second : Analysis

    Returns
    -------
    Contrast

    Raises
    ------
    UnsupportedError
        If they have no target in common.

    Examples
    --------
    >>> import analysis as an
    >>> chain = an.nets.chain(1e5, 0.25, 10)
    >>> print(compare(an.analyze(chain, "binary16"), an.analyze(chain, "bfloat16")))
    result: inf bits more (relative error inf in binary16, 0.0016 in bfloat16)
    overflow: 1 elements in binary16, 0 in bfloat16
    """
    common = [name for name in first.tape.targets if name in second.tape.targets]
    if not common:
        raise UnsupportedError(
            f"{first.tape.name} and {second.tape.name} have no target in common: {', '.join(first.tape.targets)} and "
            f"{', '.join(second.tape.targets)}"
        )
    main = first.main if first.main in common else common[0]
    names = (first.policy.name, second.policy.name)
    if names[0] == names[1]:
        names = (f"{first.tape.name} in {names[0]}", f"{second.tape.name} in {names[1]}")
    return Contrast(
        names,
        {name: (first.target(name), second.target(name)) for name in common},
        _joined(_shares(first, main), _shares(second, main), 0.0),
        _joined(_events(first), _events(second), 0),
        main,
    )


def _shares(found: Analysis, target: str) -> dict[str, float]:
    parts = found.attribution(target, "error" if found.target(target).size > 1 else None)
    size = abs(parts.exact) or 1.0
    return {name: value / size for name, value in parts.by("op").items()}


def _events(found: Analysis) -> dict[str, int]:
    counts: dict[str, int] = {}
    for event in found.events:
        counts[event.kind] = counts.get(event.kind, 0) + event.count
    return counts


def _joined(first: dict[str, Any], second: dict[str, Any], nothing: Any) -> dict[str, tuple[Any, Any]]:
    return {name: (first.get(name, nothing), second.get(name, nothing)) for name in [*first, *second]}
