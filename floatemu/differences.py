"""On which numbers two systems disagree when they cast into one format, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from floatemu import peers
from floatemu.codec import code_dtype, decode
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.preset import Preset
from floatemu.presets import PRESETS, get
from floatemu.probes import SOURCES, probes
from floatemu.projection import Saturation
from floatemu.rounding import round as round_to

__all__ = ["Cause", "Difference", "Example", "diff"]

Array = np.ndarray[Any, Any]
System = str | Preset | Callable[[Array], Any]
LIVE = "live:"
NARROWED = ("binary32", "binary16")
"""What systems round to on the way."""
CAUSES = {
    "NaN encoding": "a NaN, as operand or as both results, has different codes",
    "infinity": "the operand is infinite",
    "double rounding": "one result is that of rounding to binary32 or binary16 first; one rounding would give another",
    "overflow": "the operand is above the largest value",
    "negative": "the operand is negative, and the format has no sign",
    "zero": "the operand is zero, and the format has none",
    "signed zero": "the results are zeros of different signs",
    "tie": "the operand lies halfway between two values",
    "subnormal": "the operand is below the least normal value",
    "rounding": "the rest: both results are numbers",
}
"""Kinds of disagreement; each operand counts for the first that holds."""


@dataclass(frozen=True)
class Example:
    """One operand with its two results: codes in hexadecimal (None if a system has none), and values."""

    x: str
    x_value: float
    a: str | None
    b: str | None
    a_value: float
    b_value: float


@dataclass(frozen=True)
class Cause:
    """How many operands disagree for one reason, and the first few."""

    name: str
    count: int
    meaning: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Difference:
    """What :func:`diff` found.

    Attributes
    ----------
    a, b : str
        The systems.
    format, source : str
        The target, and the format of the operands.
    exhaustive : bool
        Whether every number of ``source`` was tried, or probes around every value and tie.
    compared, differ : int
        Operands, and those on which the systems disagree.
    causes : tuple of Cause
        In the order of ``CAUSES``, those that occur.

    Examples
    --------
    >>> found = diff("torch", "ml_dtypes", "e4m3fn", "float16")
    >>> print(found)
    torch and ml_dtypes differ on 14720 of 65536 binary16 numbers cast into e4m3fn: 2 infinity, 14718 overflow
    """

    a: str
    b: str
    format: str
    source: str
    exhaustive: bool
    compared: int
    differ: int
    causes: tuple[Cause, ...]

    def __str__(self) -> str:
        what = f"{self.compared} {self.source} {'numbers' if self.exhaustive else 'probes'} cast into {self.format}"
        if not self.differ:
            return f"{self.a} and {self.b} agree on all {what}"
        counts = ", ".join(f"{cause.count} {cause.name}" for cause in self.causes)
        return f"{self.a} and {self.b} differ on {self.differ} of {what}: {counts}"

    def as_dict(self) -> dict[str, Any]:
        """Return the same as nested dicts and lists.

        Returns
        -------
        dict

        Examples
        --------
        >>> diff("jax", "ml_dtypes", "e4m3", "bfloat16").as_dict()["differ"]
        0
        """
        return asdict(self)


@dataclass(frozen=True)
class _Results:
    """Values, and codes of the target if the system has them; whether random bits made them."""

    name: str
    values: Array
    codes: Array | None
    chance: bool = False


def diff(
    a: System = "torch", b: System = "ml_dtypes", fmt: Format | str = "e4m3fn", source: str = "float32", *,
    examples: int = 3, seed: int = 0,
) -> Difference:  # fmt: skip
    """Find the numbers on which two systems disagree.

    Parameters
    ----------
    a, b : str, Preset or callable
        A name of ``floatemu.presets.PRESETS``; "live:" and the name of a library that is installed (``live:torch``),
        which is then asked itself; or a function that takes an array of ``source`` (bfloat16 in float32) and returns
        codes.
    fmt : Format or str
        The target, of at most 16 bits.
    source : str
        Format of the operands: float16 and bfloat16, of which every number is tried; float32, float64 and int64, with
        probes around every value and tie (see :func:`floatemu.probes.probes`).
    examples : int
        Shown for each cause, at most.
    seed : int
        Of the random bits of systems that round stochastically.

    Returns
    -------
    Difference

    Raises
    ------
    UnsupportedError
        If there is no such system, or it has no such cast, or is not installed.

    Notes
    -----
    Codes are compared where both systems have them; else values, zeros with their sign and every NaN like another.

    Examples
    --------
    >>> import floatemu as fe
    >>> found = fe.diff("exact", "ml_dtypes", "e4m3", "float64")
    >>> [(cause.name, cause.count) for cause in found.causes]
    [('NaN encoding', 6), ('double rounding', 964)]
    >>> print(fe.diff(lambda x: fe.encode(x, "e5m2"), "exact", "e5m2", "bfloat16"))
    function and exact agree on all 65536 bfloat16 numbers cast into e5m2
    """
    target = get_format(fmt)
    name = "int64" if source == "int64" else get_format(source).name
    if name not in SOURCES:
        raise UnsupportedError(f"source={source!r}: no probes are made of {name}; accepted: {', '.join(SOURCES)}")
    x = probes(name, target)
    with np.errstate(all="ignore"):
        first, second = (_ask(system, x, target, name, seed) for system in (a, b))
        if first.codes is not None and second.codes is not None:
            differs = first.codes != second.codes
        else:
            differs = ~_same(first.values, second.values)
        places = np.flatnonzero(differs)
        labels = _labelled(x[places], first, second, places, target, name)
        causes = tuple(_causes(x, places, labels, (first, second), examples))
    exhaustive = name in ("binary16", "bfloat16")
    return Difference(first.name, second.name, target.name, name, exhaustive, x.size, places.size, causes)


def _same(a: Array, b: Array) -> Array:
    """Equal values; zeros with their sign, NaNs alike."""
    return np.asarray(((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b)))


def _ask(system: System, x: Array, fmt: Format, source: str, seed: int) -> _Results:
    if callable(system):
        return _decoded(
            getattr(system, "__name__", "function").strip("<>").replace("lambda", "function"), system(x), x, fmt
        )
    if isinstance(system, str) and system.lower().startswith(LIVE):
        return _live(system, x, fmt, source)
    if isinstance(system, str) and not (system := system.strip()):
        raise UnsupportedError(f"a system has no name; accepted: {', '.join(PRESETS)}, or live: and a library")
    preset = get(system)
    rule = preset.rule(source, fmt)
    if rule.carried:
        return _Results(preset.name, preset.round(x, fmt, source=source, seed=seed), None)
    found = _decoded(preset.name, preset.cast(x, fmt, source=source, seed=seed), x, fmt)
    return replace(found, chance=rule.projection.rounding.stochastic)


def _decoded(name: str, codes: Any, x: Array, fmt: Format) -> _Results:
    array = np.asarray(codes)
    if array.shape != x.shape or array.dtype.kind not in "iu":
        raise UnsupportedError(
            f"{name} returned {array.dtype} of shape {array.shape}; accepted: integer codes of shape {x.shape}"
        )
    return _Results(name, np.asarray(decode(array, fmt)), array.astype(code_dtype(fmt)))


def _live(system: str, x: Array, fmt: Format, source: str) -> _Results:
    name = system[len(LIVE) :].strip().lower().replace("-", "_")
    if name not in peers.CASTS:
        accepted = ", ".join(LIVE + known for known in peers.CASTS)
        raise UnsupportedError(f"no library is asked under the name {system!r}; accepted: {accepted}")
    version = peers.version(name)
    if version is None:
        raise UnsupportedError(f"{system}: {peers.CASTS[name][0]} is not installed; use the preset {name!r} instead")
    try:
        y = peers.CASTS[name][1](x, source, fmt.name)
    except peers.Absent as error:
        raise UnsupportedError(f"{system} has no cast of {source} into {fmt.name}: {error}") from None
    label = f"{name} {version}"
    return _decoded(label, y, x, fmt) if y.dtype.kind in "iu" else _Results(label, y.astype(np.float64), None)


def _labelled(x: Array, first: _Results, second: _Results, places: Array, fmt: Format, source: str) -> Array:
    """The name of the first cause that holds, for each operand."""
    a, b = first.values[places], second.values[places]
    by_chance = first.chance or second.chance
    wide = x.astype(np.float64)
    finite = np.where(np.isfinite(wide), wide, 0.0)
    low, high = (_rounded(finite, fmt, mode) for mode in ("TOWARD_NEGATIVE", "TOWARD_POSITIVE"))
    holds = {
        "NaN encoding": np.isnan(wide) | (np.isnan(a) & np.isnan(b)),
        "infinity": np.isinf(wide),
        "double rounding": _twice(x, finite, a, b, fmt, source) & (not by_chance),
        "overflow": np.abs(wide) > float(fmt.max),
        "negative": (wide < 0) & (not fmt.signed),
        "zero": (wide == 0) & (not fmt.zero),
        "signed zero": (a == 0) & (b == 0),
        "tie": (low != high) & (wide == (low + high) / 2),
        "subnormal": np.abs(wide) < float(fmt.min_normal),
    }
    return np.select(list(holds.values()), list(holds), "rounding")


def _rounded(x: Array, fmt: Format, mode: str) -> Array:
    return np.asarray(round_to(x, fmt, mode, saturation=Saturation.SAT_FINITE, dtype=np.float64))


def _twice(x: Array, wide: Array, a: Array, b: Array, fmt: Format, source: str) -> Array:
    """Where one of the results is that of two roundings, and not of one; beyond the range all results are alike."""

    def rounded(numbers: Array) -> Array:
        values = np.asarray(round_to(numbers, fmt, nan=None if fmt.has_nan else "zero", dtype=np.float64))
        return np.where(np.isnan(values), np.inf, values)

    a, b = (np.where(np.isfinite(values), values, np.copysign(np.inf, wide)) for values in (a, b))
    once = np.copysign(rounded(wide), wide)
    found = np.zeros(x.shape, bool)
    for step in NARROWED:
        if source != "int64" and get_format(step).holds(get_format(source)):
            continue
        narrow = np.asarray(round_to(x if x.dtype.kind != "f" else wide, step, dtype=np.float64))
        twice = np.copysign(rounded(narrow), wide)
        found |= (once != twice) & ((a == twice) | (b == twice))
    # Beyond the range the largest value may as well come of saturation.
    return found & np.isfinite(once)


def _causes(
    x: Array, places: Array, labels: Array, systems: tuple[_Results, _Results], examples: int
) -> Iterator[Cause]:  # fmt: skip
    a, b = systems
    width = x.dtype.itemsize

    def hexadecimal(code: Any, digits: int) -> str:
        return f"0x{int(code):0{digits}x}"

    def shown(codes: Array | None, i: int) -> str | None:
        return None if codes is None else hexadecimal(codes[i], 2 * codes.dtype.itemsize)

    for name, meaning in CAUSES.items():
        hit = places[labels == name]
        if not hit.size:
            continue
        chosen = tuple(
            Example(
                hexadecimal(x[i : i + 1].view(f"u{width}")[0], 2 * width), float(x[i]),
                shown(a.codes, i), shown(b.codes, i), float(a.values[i]), float(b.values[i]),
            )
            for i in hit[:examples]
        )  # fmt: skip
        yield Cause(name, int(hit.size), meaning, chosen)
