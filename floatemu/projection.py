"""Rounding modes, saturation modes and their pair, the projection: names, meaning, synonyms.

The vocabulary is that of IEEE 754-2019 (section 4.3) and IEEE P3109 v4.0 (section 4.7). Each
:class:`Rounding` member carries its definition over exact rationals (:meth:`Rounding.goes_away`).
That definition is written here a second time *on purpose*: the compiled rule in
``floatemu._core.rounding`` is checked against it, and an oracle that shared the text would share
the mistake.
"""

from __future__ import annotations

import enum
import math
import operator
from dataclasses import dataclass
from fractions import Fraction

from floatemu.errors import ProjectionError


class Rounding(enum.IntEnum):
    """How a real number between two neighbouring values of a format is sent to one of them.

    Notes
    -----
    With ``nu`` in [0, 1) the discarded fraction in units of the quantum, ``odd`` the parity of the
    truncated magnitude's *code point*, and N random bits forming the integer R (P3109 v4.0, 4.7.4):

    ======================  =======================================================
    mode                    the magnitude is incremented when
    ======================  =======================================================
    NEAREST_TIES_TO_EVEN    nu > 1/2, or nu = 1/2 and odd
    NEAREST_TIES_TO_AWAY    nu >= 1/2
    TOWARD_ZERO             never
    TOWARD_POSITIVE         nu > 0 and x > 0
    TOWARD_NEGATIVE         nu > 0 and x < 0
    TO_ODD                  nu > 0 and not odd
    STOCHASTIC_A            floor(nu * 2^N) + R >= 2^N
    STOCHASTIC_B            floor(nu * 2^(N+1)) + 2 R + 1 >= 2^(N+1)
    STOCHASTIC_C            rne(nu * 2^N) + R >= 2^N, rne = to nearest integer, ties to even
    ======================  =======================================================
    """

    NEAREST_TIES_TO_EVEN = 0
    NEAREST_TIES_TO_AWAY = 1
    TOWARD_ZERO = 2
    TOWARD_POSITIVE = 3
    TOWARD_NEGATIVE = 4
    TO_ODD = 5
    STOCHASTIC_A = 6
    STOCHASTIC_B = 7
    STOCHASTIC_C = 8

    @property
    def stochastic(self) -> bool:
        """Whether the mode consumes random bits."""
        return self >= Rounding.STOCHASTIC_A

    def inward(self, negative: bool) -> bool:
        """Whether a value of that sign beyond the range is brought back to the largest finite value.

        IEEE 754-2019, 7.4: so it is toward zero, toward minus infinity for positive values and
        toward plus infinity for negative ones.
        """
        toward = Rounding.TOWARD_POSITIVE if negative else Rounding.TOWARD_NEGATIVE
        return self in (Rounding.TOWARD_ZERO, toward)

    def goes_away(self, nu: Fraction, odd: bool, negative: bool, random_bits: int = 0, random: int = 0) -> bool:
        """Return whether the truncated magnitude is incremented, by the definition over rationals.

        Parameters
        ----------
        nu : Fraction
            Discarded fraction of the quantum, 0 <= nu < 1.
        odd : bool
            Whether the code point of the truncated magnitude is odd.
        negative : bool
            Whether the number is negative.
        random_bits, random : int
            N and R of the stochastic modes, 0 <= R < 2^N.

        Returns
        -------
        bool

        Examples
        --------
        >>> from fractions import Fraction
        >>> Rounding.NEAREST_TIES_TO_EVEN.goes_away(Fraction(1, 2), odd=True, negative=False)
        True
        >>> [Rounding.STOCHASTIC_A.goes_away(Fraction(7, 8), False, False, 2, r) for r in range(4)]
        [False, True, True, True]
        """
        half, scale, r = Fraction(1, 2), 1 << random_bits, random
        match self:
            case Rounding.NEAREST_TIES_TO_EVEN:
                return nu > half or (nu == half and odd)
            case Rounding.NEAREST_TIES_TO_AWAY:
                return nu >= half
            case Rounding.TOWARD_ZERO:
                return False
            case Rounding.TOWARD_POSITIVE:
                return nu > 0 and not negative
            case Rounding.TOWARD_NEGATIVE:
                return nu > 0 and negative
            case Rounding.TO_ODD:
                return nu > 0 and not odd
            case Rounding.STOCHASTIC_A:
                return math.floor(nu * scale) + r >= scale
            case Rounding.STOCHASTIC_B:
                return math.floor(nu * 2 * scale) + 2 * r + 1 >= 2 * scale
            case Rounding.STOCHASTIC_C:
                return round(nu * scale) + r >= scale  # Fraction.__round__: ties to even


class Saturation(enum.IntEnum):
    """What becomes of a rounded value outside the finite range (P3109 v4.0, 4.7.3).

    ``SAT_NONE``: the format's own overflow result (IEEE 754 for the IEEE formats).
    ``SAT_FINITE``: the nearest finite value, for infinities too.
    ``SAT_PROPAGATE``: the nearest finite value, but infinities stay infinite where the format has them.
    """

    SAT_NONE = 0
    SAT_FINITE = 1
    SAT_PROPAGATE = 2


_ROUNDING_SYNONYMS = {
    Rounding.NEAREST_TIES_TO_EVEN: "rne ne nearesteven nearest ties_to_even roundtiestoeven even",
    Rounding.NEAREST_TIES_TO_AWAY: "rna na nearestaway ties_to_away roundtiestoaway away",
    Rounding.TOWARD_ZERO: "rz tz rtz truncate trunc roundtowardzero zero",
    Rounding.TOWARD_POSITIVE: "ru tp rtp up ceil roundtowardpositive",
    Rounding.TOWARD_NEGATIVE: "rd tn rtn down floor roundtowardnegative",
    Rounding.TO_ODD: "ro to rto odd roundtoodd",
    Rounding.STOCHASTIC_A: "sa stochastic_fastest",
    Rounding.STOCHASTIC_B: "sb stochastic_fast",
    Rounding.STOCHASTIC_C: "sc stochastic sr",
}
_SATURATION_SYNONYMS = {
    Saturation.SAT_NONE: "none ovfinf nosat",
    Saturation.SAT_FINITE: "finite sat saturate satfinite",
    Saturation.SAT_PROPAGATE: "propagate satpropagate",
}


def _key(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _table(members: type[enum.IntEnum], synonyms: dict) -> dict[str, enum.IntEnum]:  # type: ignore[type-arg]
    table = {_key(member.name): member for member in members}
    for member, words in synonyms.items():
        for word in words.split():
            if table.setdefault(_key(word), member) is not member:
                raise AssertionError(f"{word!r} names two modes")
    return table


_ROUNDINGS = _table(Rounding, _ROUNDING_SYNONYMS)
_SATURATIONS = _table(Saturation, _SATURATION_SYNONYMS)


def as_rounding(mode: Rounding | str) -> Rounding:
    """Return the :class:`Rounding` that ``mode`` is or names.

    Parameters
    ----------
    mode : Rounding or str
        A member, its name in any case, or a synonym ("rne", "NearestTiesToEven", "truncate" ...).

    Returns
    -------
    Rounding

    Raises
    ------
    ProjectionError
        If the name is unknown.

    Examples
    --------
    >>> as_rounding("NearestTiesToEven") is Rounding.NEAREST_TIES_TO_EVEN
    True
    """
    if isinstance(mode, Rounding):
        return mode
    if isinstance(mode, str) and _key(mode) in _ROUNDINGS:
        return _ROUNDINGS[_key(mode)]  # type: ignore[return-value]
    accepted = ", ".join(member.name for member in Rounding)
    raise ProjectionError(
        f"rounding={mode!r} is not a rounding mode; accepted: {accepted} (or a synonym such as 'rne', 'truncate')"
    )


def as_saturation(mode: Saturation | str) -> Saturation:
    """Return the :class:`Saturation` that ``mode`` is or names.

    Parameters
    ----------
    mode : Saturation or str
        A member, its name in any case, or a synonym ("none", "SatFinite" ...).

    Returns
    -------
    Saturation

    Raises
    ------
    ProjectionError
        If the name is unknown.

    Examples
    --------
    >>> as_saturation("SatFinite") is Saturation.SAT_FINITE
    True
    """
    if isinstance(mode, Saturation):
        return mode
    if isinstance(mode, str) and _key(mode) in _SATURATIONS:
        return _SATURATIONS[_key(mode)]  # type: ignore[return-value]
    accepted = ", ".join(member.name for member in Saturation)
    raise ProjectionError(f"saturation={mode!r} is not a saturation mode; accepted: {accepted}")


@dataclass(frozen=True)
class Projection:
    """A rounding mode, a saturation mode and, for the stochastic modes, the count of random bits.

    Parameters
    ----------
    rounding : Rounding or str
        Default nearest, ties to even.
    saturation : Saturation or str
        Default ``SAT_NONE``.
    random_bits : int, optional
        N, 1..32; required by the stochastic modes (default 32 there), refused elsewhere.

    Raises
    ------
    ProjectionError
        If a name is unknown or ``random_bits`` does not fit the mode.

    Examples
    --------
    >>> Projection("rne", "SatFinite").saturation.name
    'SAT_FINITE'
    """

    rounding: Rounding = Rounding.NEAREST_TIES_TO_EVEN
    saturation: Saturation = Saturation.SAT_NONE
    random_bits: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rounding", as_rounding(self.rounding))
        object.__setattr__(self, "saturation", as_saturation(self.saturation))
        bits = self.random_bits
        if not self.rounding.stochastic:
            if bits is not None:
                raise ProjectionError(
                    f"random_bits={bits} was given, but {self.rounding.name} uses no random bits; "
                    "leave it out, or choose STOCHASTIC_A, STOCHASTIC_B or STOCHASTIC_C"
                )
            return
        bits = 32 if bits is None else bits
        try:
            count = operator.index(bits)
        except TypeError:
            count = 0
        if isinstance(bits, bool) or not 1 <= count <= 32:
            raise ProjectionError(f"random_bits={bits!r} is not an integer in 1..32")
        object.__setattr__(self, "random_bits", count)
