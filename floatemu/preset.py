"""A preset: the casts of one real system, with its source and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from floatemu.casting import Rule, apply, apply_values
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import FORMATS, get_format
from floatemu.operands import as_array

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Preset:
    """The casts of one system.

    Parameters
    ----------
    name : str
        As :func:`floatemu.presets.get` finds it.
    title : str
        The system, in words.
    rules : tuple of Rule
        The first that is for the target and the source holds.
    measured : tuple of str
        Libraries and versions that were recorded, "ml_dtypes 0.6.0"; empty: from documentation.
    source : str
        Where it comes from.

    Attributes
    ----------
    targets : tuple of str
        Names of the formats that the system casts into.
    evidence : str
        "measured" with the versions, or "from documentation".

    Examples
    --------
    >>> from floatemu.presets import get
    >>> get("torch").evidence, get("torch").targets[:3]
    ('measured: torch 2.13.0, torch 2.14.1, torch 2.15.0', ('binary16', 'bfloat16', 'e4m3fn'))
    """

    name: str
    title: str
    rules: tuple[Rule, ...]
    measured: tuple[str, ...]
    source: str

    @property
    def evidence(self) -> str:
        return f"measured: {', '.join(self.measured)}" if self.measured else "from documentation"

    @property
    def targets(self) -> tuple[str, ...]:
        named = {name for rule in self.rules for name in rule.targets.split()}
        return tuple(name for name in FORMATS if name in named)

    def sources(self, fmt: Format | str) -> tuple[str, ...]:
        """Return the names of the formats that the system casts into ``fmt`` from.

        Parameters
        ----------
        fmt : Format or str

        Returns
        -------
        tuple of str

        Examples
        --------
        >>> from floatemu.presets import get
        >>> get("qpytorch").sources("e5m2")
        ('bfloat16', 'binary32')
        """
        name = get_format(fmt).name
        return tuple(
            dict.fromkeys(s for rule in self.rules if name in rule.targets.split() for s in rule.sources.split())
        )

    def rule(self, source: str, fmt: Format | str) -> Rule:
        """Return the rule for a source and a target.

        Parameters
        ----------
        source : str
            Name of the operand's format, or "int64".
        fmt : Format or str

        Returns
        -------
        Rule

        Raises
        ------
        UnsupportedError
            If the system has no such cast.

        Examples
        --------
        >>> from floatemu.presets import get
        >>> print(get("ml_dtypes").rule("binary64", "e2m1fn").describe("binary64"))
        rounded to binary32 first, then again (double rounding)
        """
        name = get_format(fmt).name
        for rule in self.rules:
            if name in rule.targets.split() and source in rule.sources.split():
                return rule
        given = self.sources(name)
        if given:
            raise UnsupportedError(f"{self.name} does not cast {source} into {name}; accepted: {', '.join(given)}")
        raise UnsupportedError(f"{self.name} has no cast into {name}; accepted: {', '.join(self.targets)}")

    def format(self, fmt: Format | str, source: str = "binary32") -> Format:
        """Return the format whose codes :meth:`cast` gives: the target, or the system's own numbers of that name.

        Parameters
        ----------
        fmt : Format or str
        source : str

        Returns
        -------
        Format

        Examples
        --------
        >>> from floatemu.presets import get
        >>> float(get("qpytorch").format("e4m3fn").max)
        480.0
        """
        target = get_format(fmt)
        return self.rule(source, target).values or target

    def cast(
        self, x: Any, fmt: Format | str, *, source: str | None = None, random: Any = None, seed: int | None = None,
        stream: int = 0,
    ) -> Array:  # fmt: skip
        """Return the codes that the system gives.

        Parameters
        ----------
        x : array_like
            float16, float32, float64, integers, or what numpy makes one of these.
        fmt : Format or str
            The target.
        source : str, optional
            Name of the format that the numbers have in the system; only "bfloat16" in float32 cannot be told from x.
        random, seed, stream
            For presets that round stochastically, as for :func:`floatemu.round`.

        Returns
        -------
        ndarray of unsigned integers
            Codes of :meth:`format`, right-aligned.

        Raises
        ------
        UnsupportedError
            If the system has no such cast, or no codes.

        Examples
        --------
        >>> from floatemu.presets import get
        >>> [hex(code) for code in get("ml_dtypes").cast([464.0, 465.0, -0.0], "e4m3fn")]
        ['0x7e', '0x7f', '0x80']
        """
        array, given, kind = _operand(x, source)
        target = get_format(fmt)
        rule = self.rule(given, target)
        if rule.carried:
            raise UnsupportedError(
                f"{self.name} has no codes of {target.name}: its results are binary32 numbers; use "
                f'presets.get("{self.name}").round(x, "{target.name}")'
            )
        return apply(rule, array, kind, target, random=random, seed=seed, stream=stream)

    def round(
        self, x: Any, fmt: Format | str, *, source: str | None = None, random: Any = None, seed: int | None = None,
        stream: int = 0,
    ) -> Array:  # fmt: skip
        """Return the values of the codes that :meth:`cast` gives.

        Parameters
        ----------
        x, fmt, source, random, seed, stream
            As for :meth:`cast`.

        Returns
        -------
        ndarray of float64

        Raises
        ------
        UnsupportedError
            If the system has no such cast.

        Examples
        --------
        >>> from floatemu.presets import get
        >>> get("qpytorch").round(np.float32([464.0, 1.0625, np.inf]), "e4m3fn").tolist()
        [480.0, 1.125, 480.0]
        """
        array, given, kind = _operand(x, source)
        target = get_format(fmt)
        return apply_values(self.rule(given, target), array, kind, target, random=random, seed=seed, stream=stream)


def _operand(x: Any, source: str | None) -> tuple[Array, str, Format | None]:
    """Numbers as floats of numpy's or integers, the name of their format in the system, and the format."""
    array = as_array(np.asarray(x))
    kinds = {"float16": "binary16", "float32": "binary32", "float64": "binary64", "bfloat16": "bfloat16"}
    name = source or kinds.get(array.dtype.name, "int64")
    if array.dtype.kind == "V":  # ml_dtypes
        array = array.astype(np.float32)
    return array, name, None if name == "int64" else get_format(name)
