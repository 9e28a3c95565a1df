"""Queries of formats and projections (P3109 v4.0, 4.14), and neighbours of values (4.10 to 4.16).

Queries give integers, words of the standard, or codes, as there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.landmarks import isrepresentable, nextafter
from floatemu.p3109_ops.engine import decoded, finished, standard_format
from floatemu.projection import Projection, Rounding, Saturation

ROUNDING_NAMES = {mode: "".join(word.capitalize() for word in mode.name.split("_")) for mode in Rounding}
"""The standard's name of each rounding mode."""
SATURATION_NAMES = {mode: "".join(word.capitalize() for word in mode.name.split("_")) for mode in Saturation}
"""The standard's name of each saturation mode."""


def BitwidthOf(fmt: Format | str) -> int:
    """Return K.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    int

    Raises
    ------
    FormatError
        If P3109 does not know the format.

    Examples
    --------
    >>> BitwidthOf("Binary8p4se"), BitwidthOf("binary32")
    (8, 32)
    """
    return standard_format(fmt).k


def PrecisionOf(fmt: Format | str) -> int:
    """Return P.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    int

    Examples
    --------
    >>> PrecisionOf("Binary8p4se"), PrecisionOf("bfloat16")
    (4, 8)
    """
    return standard_format(fmt).p


def SignednessOf(fmt: Format | str) -> str:
    """Return Signed or Unsigned.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    str

    Examples
    --------
    >>> SignednessOf("Binary8p4ue")
    'Unsigned'
    """
    return "Signed" if standard_format(fmt).signed else "Unsigned"


def DomainOf(fmt: Format | str) -> str:
    """Return Extended (there are infinities) or Finite.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    str

    Examples
    --------
    >>> DomainOf("Binary8p4sf"), DomainOf("binary16")
    ('Finite', 'Extended')
    """
    return "Extended" if standard_format(fmt).infinities else "Finite"


def ExponentBitwidthOf(fmt: Format | str) -> int:
    """Return the width of the exponent field in bits.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    int

    Examples
    --------
    >>> ExponentBitwidthOf("Binary8p4se"), ExponentBitwidthOf("Binary8p4ue")
    (4, 5)
    """
    return standard_format(fmt).exponent_bits


def TrailingSignificandBitwidthOf(fmt: Format | str) -> int:
    """Return the width of the trailing significand field in bits.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    int

    Examples
    --------
    >>> TrailingSignificandBitwidthOf("Binary8p4se")
    3
    """
    return standard_format(fmt).trailing_bits


def ExponentBiasOf(fmt: Format | str) -> int:
    """Return the exponent bias B.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    int

    Examples
    --------
    >>> ExponentBiasOf("Binary8p4se"), ExponentBiasOf("Binary8p1uf"), ExponentBiasOf("binary16")
    (8, 128, 15)
    """
    bias = standard_format(fmt).bias
    assert bias is not None
    return bias


def MaxFiniteOf(fmt: Format | str) -> int:
    """Return the code of the greatest finite value.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    int

    Examples
    --------
    >>> hex(MaxFiniteOf("Binary8p4se")), hex(MaxFiniteOf("Binary8p4uf"))
    ('0x7e', '0xfe')
    """
    return standard_format(fmt).max_code


def MinFiniteOf(fmt: Format | str) -> int:
    """Return the code of the least finite value: 0 in unsigned formats.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    int

    Examples
    --------
    >>> hex(MinFiniteOf("Binary8p4se")), hex(MinFiniteOf("Binary8p4uf"))
    ('0xfe', '0x0')
    """
    found = standard_format(fmt)
    return found.sign_code + found.max_code if found.signed else 0


def MinPositiveOf(fmt: Format | str) -> int:
    """Return the code of the least positive value.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    int

    Examples
    --------
    >>> MinPositiveOf("Binary8p4se")
    1
    """
    standard_format(fmt)
    return 1


def MaxSubnormalOf(fmt: Format | str) -> int:
    """Return the code of the greatest subnormal value, that of NaN where P = 1: there are none.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    int

    Examples
    --------
    >>> MaxSubnormalOf("Binary8p4se"), hex(MaxSubnormalOf("Binary8p1se"))
    (7, '0x80')
    """
    found = standard_format(fmt)
    assert found.nan_code is not None
    return (1 << found.trailing_bits) - 1 if found.p > 1 else found.nan_code


def MinNormalOf(fmt: Format | str) -> int:
    """Return the code of the least positive normal value.

    Parameters
    ----------
    fmt : Format or str

    Returns
    -------
    int

    Examples
    --------
    >>> MinNormalOf("Binary8p4se"), MinNormalOf("Binary8p1se")
    (8, 1)
    """
    return 1 << standard_format(fmt).trailing_bits


def RoundOf(projection: Projection) -> str:
    """Return the standard's name of a projection's rounding mode.

    Parameters
    ----------
    projection : Projection

    Returns
    -------
    str

    Examples
    --------
    >>> RoundOf(Projection("rne"))
    'NearestTiesToEven'
    """
    return ROUNDING_NAMES[projection.rounding]


def SatOf(projection: Projection) -> str:
    """Return the standard's name of a projection's saturation mode.

    Parameters
    ----------
    projection : Projection

    Returns
    -------
    str

    Examples
    --------
    >>> SatOf(Projection("rne", "propagate"))
    'SatPropagate'
    """
    return SATURATION_NAMES[projection.saturation]


def _neighbour(x: Any, fmt: Format | str, up: bool) -> Any:
    """Step along the values in their order; what has no neighbour that way gives NaN."""
    found = standard_format(fmt)
    values = np.asarray(decoded(x, "x"))
    foreign = ~np.asarray(isrepresentable(values, found))
    if foreign.any():
        raise UnsupportedError(
            f"{values[foreign].reshape(-1)[0]!r} is no value of {found.name}, so that it has no neighbour there: use "
            "Convert first, or fe.nextafter, which takes any number"
        )
    result = np.asarray(nextafter(values, np.inf if up else -np.inf, found))
    result[result == values] = np.nan  # the last value that way
    return finished(result, (x,))


def NextGreaterThan(x: Any, fmt: Format | str) -> Any:
    """Return the least value of the format above X, infinity included; NaN where there is none, and for NaN.

    Parameters
    ----------
    x : array_like
        Values of the format.
    fmt : Format or str

    Returns
    -------
    numpy.ndarray or scalar of float64
        Same shape.

    Raises
    ------
    FormatError
        If P3109 does not know the format.
    UnsupportedError
        If the format does not hold a value.

    Examples
    --------
    >>> NextGreaterThan([224.0, float("inf"), -(2.0**-10), float("-inf")], "Binary8p4se").tolist()
    [inf, nan, 0.0, -224.0]
    """
    return _neighbour(x, fmt, up=True)


def NextLessThan(x: Any, fmt: Format | str) -> Any:
    """Return the greatest value of the format below X, infinity included; NaN where there is none, and for NaN.

    Parameters
    ----------
    x : array_like
        Values of the format.
    fmt : Format or str

    Returns
    -------
    numpy.ndarray or scalar of float64
        Same shape.

    Raises
    ------
    FormatError
        If P3109 does not know the format.
    UnsupportedError
        If the format does not hold a value.

    Examples
    --------
    >>> NextLessThan([0.0, float("inf")], "Binary8p4se").tolist(), NextLessThan(0.0, "Binary8p4ue").item()
    ([-0.0009765625, 224.0], nan)
    """
    return _neighbour(x, fmt, up=False)
