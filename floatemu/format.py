"""A floating-point format: a few independent numbers, everything else derived from them.

Names follow IEEE 754-2019 and IEEE P3109 v4.0: k is the width in bits, p the precision (leading
bit included), ``bias`` the exponent bias, and the *quantum* of a value is the weight of the last
bit of its significand. Only Python integers and fractions live here.
"""

from __future__ import annotations

import enum
import operator
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cached_property

from floatemu.errors import FormatError


class Overflow(enum.Enum):
    """What a format gives above its range under ``SAT_NONE``."""

    INFINITY = "infinity"
    NAN = "nan"
    MAX = "max"


MAX_K, MAX_P, MAX_EXPONENT_BITS, MAX_BIAS = 64, 53, 15, 2**15


def as_integer(value: object, what: str) -> int:
    """Return an integer of any type (numpy's too) as int; FormatError, naming ``what``, for anything else."""
    if not isinstance(value, bool) and hasattr(value, "__index__"):
        return operator.index(value)
    raise FormatError(f"{what} = {value!r} is not an integer")


@dataclass(frozen=True)
class Format:
    """A binary floating-point format with an encoding.

    Codes are ``sign | exponent field E | trailing significand T``, high bit to low. A finite code has
    the value ``T * 2^(1-p) * 2^(1-bias)`` when E = 0 and ``(1 + T * 2^(1-p)) * 2^(E-bias)`` otherwise
    (P3109 v4.0, 4.7.1; IEEE 754-2019, 3.4). Special values take the highest positive codes: NaNs on
    top (``high_nans`` of them), infinity below. A signed format without negative zero keeps its one
    NaN where -0 would be.

    Parameters
    ----------
    name : str
        Name used in messages and tables; two formats that differ in name alone compare equal.
    k : int
        Width in bits, 2..64.
    p : int
        Precision in bits, leading bit included, 1..53.
    bias : int, optional
        Exponent bias, |bias| <= 2^15. Default: IEEE's, 2^(w-1) - 1 for an exponent field of w bits.
    signed : bool
        Whether there is a sign bit. An unsigned format has no negative zero.
    subnormals : bool
        Whether E = 0 holds subnormal numbers. Without them every code with E = 0 decodes to zero and
        the smallest positive value is 2^(1-bias). Of no meaning, and stored as False, when p = 1.
    negative_zero : bool
        Whether -0 exists.
    zero : bool
        Whether zero exists. Without it (p = 1 and unsigned only) code 0 is 2^-bias.
    infinities : bool
        Whether infinities exist.
    high_nans : int
        Number of NaN codes at the top of each sign's range.
    overflow : Overflow or str, optional
        Result above the range under ``SAT_NONE``. Default: INFINITY if the format has infinities,
        else NAN if it has a NaN, else MAX.

    Attributes
    ----------
    exponent_bits, trailing_bits : int
        Widths of the two fields.
    emin, emax : int
        Exponents of the smallest normal and of the largest finite value.
    qmin : int
        Exponent of the quantum below 2^emin: values there are multiples of 2^qmin.
    max, min_normal, min_positive : Fraction
        Landmarks; ``min_positive`` is the smallest subnormal where there are subnormals.
    max_code, inf_code, nan_code : int or None
        Codes of the largest finite value, of +infinity and of the canonical quiet NaN.

    Raises
    ------
    FormatError
        If the numbers contradict one another; the message shows both sides.

    Examples
    --------
    >>> f = Format("tiny", k=6, p=3, infinities=False)
    >>> f.bias, f.emin, float(f.max), float(f.min_positive)
    (3, -2, 28.0, 0.0625)
    >>> Format("wrong", k=8, p=8)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    floatemu.errors.FormatError: wrong: k = 8 leaves k - p = 0 bits for the exponent of a signed format ...
    """

    name: str = field(compare=False)
    k: int = 0
    p: int = 0
    bias: int | None = None
    signed: bool = True
    subnormals: bool = True
    negative_zero: bool = True
    zero: bool = True
    infinities: bool = True
    high_nans: int = 0
    overflow: Overflow | str | None = None

    def __post_init__(self) -> None:
        self._check_types()
        what = f"{self.name}:"
        if not 2 <= self.k <= MAX_K:
            raise FormatError(f"{what} k = {self.k} bits is outside 2..{MAX_K}")
        if not 1 <= self.p <= MAX_P:
            raise FormatError(f"{what} p = {self.p} is outside 1..{MAX_P}")
        if not 1 <= self.exponent_bits <= MAX_EXPONENT_BITS:
            kind, left = ("a signed", "k - p") if self.signed else ("an unsigned", "k - p + 1")
            raise FormatError(
                f"{what} k = {self.k} leaves {left} = {self.exponent_bits} bits for the exponent of {kind} format "
                f"with p = {self.p}, but 1..{MAX_EXPONENT_BITS} are needed; make p "
                f"{'smaller or k larger' if self.exponent_bits < 1 else 'larger or k smaller'}"
            )
        if self.bias is None:
            object.__setattr__(self, "bias", 2 ** (self.exponent_bits - 1) - 1)
        if abs(self._bias) > MAX_BIAS:
            raise FormatError(f"{what} |bias| = {abs(self._bias)} is above 2^15 = {MAX_BIAS}")
        if not self.signed:
            object.__setattr__(self, "negative_zero", False)
        if self.p == 1:
            object.__setattr__(self, "subnormals", False)
        if not self.zero and (self.signed or self.p != 1):
            raise FormatError(
                f"{what} zero=False needs an unsigned format with p = 1 (powers of two, as in E8M0); "
                f"given signed={self.signed}, p = {self.p}"
            )
        least = 1 if self.zero else 0
        if self.high_nans < 0 or self.max_code < least:
            raise FormatError(
                f"{what} high_nans = {self.high_nans} and infinities={self.infinities} take "
                f"{self.high_nans + self.infinities} of the {self._positive_codes} codes of one sign, which leaves no "
                "finite value other than zero; lower high_nans or raise k"
            )
        if self.min_positive > self.max:
            raise FormatError(
                f"{what} the smallest positive value 2^{self.emin} is above the largest finite value {self.max}: "
                "without subnormals no code is left between zero and the special values"
            )
        self._settle_overflow()

    def _check_types(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("k", "p", "high_nans") or (item.name == "bias" and value is not None):
                object.__setattr__(self, item.name, as_integer(value, f"{self.name}: {item.name}"))
            elif item.name in ("signed", "subnormals", "negative_zero", "zero", "infinities"):
                if not isinstance(value, bool):
                    raise FormatError(f"{self.name}: {item.name} = {value!r} is not True or False")
        if not isinstance(self.name, str):
            raise FormatError(f"name = {self.name!r} is not a string")

    def _settle_overflow(self) -> None:
        given = self.overflow
        if given is None:
            given = Overflow.INFINITY if self.infinities else Overflow.NAN if self.has_nan else Overflow.MAX
        try:
            chosen = given if isinstance(given, Overflow) else Overflow(str(given).lower())
        except ValueError:
            words = ", ".join(member.name for member in Overflow)
            raise FormatError(f"{self.name}: overflow = {given!r} is none of {words}") from None
        if chosen is Overflow.INFINITY and not self.infinities:
            raise FormatError(f"{self.name}: overflow = INFINITY, but infinities = False; use NAN or MAX")
        if chosen is Overflow.NAN and not self.has_nan:
            raise FormatError(
                f"{self.name}: overflow = NAN, but high_nans = 0 and negative_zero = {self.negative_zero} leave no NaN "
                "code; use MAX, or high_nans = 1"
            )
        object.__setattr__(self, "overflow", chosen)

    @property
    def _bias(self) -> int:
        assert self.bias is not None
        return self.bias

    @property
    def _positive_codes(self) -> int:
        return 1 << (self.k - self.signed)

    @property
    def exponent_bits(self) -> int:
        return self.k - self.p + (not self.signed)

    @property
    def trailing_bits(self) -> int:
        return self.p - 1

    @property
    def sign_code(self) -> int:
        """Code of the sign bit alone; 0 in an unsigned format."""
        return 1 << (self.k - 1) if self.signed else 0

    @property
    def has_nan(self) -> bool:
        return self.high_nans > 0 or (self.signed and not self.negative_zero)

    @cached_property
    def emin(self) -> int:
        return (1 if self.zero else 0) - self._bias

    @cached_property
    def qmin(self) -> int:
        return self.emin - self.trailing_bits if self.subnormals else self.emin

    @cached_property
    def emax(self) -> int:
        significand, quantum = self.scaled(self.max_code)
        return significand.bit_length() - 1 + quantum

    @cached_property
    def max_code(self) -> int:
        return self._positive_codes - 1 - self.high_nans - self.infinities

    @property
    def inf_code(self) -> int | None:
        return self.max_code + 1 if self.infinities else None

    @cached_property
    def nan_code(self) -> int | None:
        """Code of the canonical NaN: IEEE's quiet one where all NaNs are IEEE's, else the only or highest."""
        if self.high_nans == 0:
            return self.sign_code if self.has_nan else None
        if self.infinities and self.high_nans == (1 << self.trailing_bits) - 1:
            return self.max_code + 1 + (1 << (self.trailing_bits - 1))
        return self._positive_codes - 1

    def scaled(self, code: int) -> tuple[int, int]:
        """Return (significand, exponent of the quantum) of a non-negative finite code.

        Parameters
        ----------
        code : int
            A code in 0..max_code.

        Returns
        -------
        tuple of int
            (S, q) with value S * 2^q.

        Raises
        ------
        FormatError
            If the code is not that of a non-negative finite value.
        """
        if not 0 <= code <= self.max_code:
            raise FormatError(
                f"{self.name}: code {code:#x} is not in 0..{self.max_code:#x}, the non-negative finite ones"
            )
        exponent, trailing = divmod(code, (1 << self.trailing_bits))
        if exponent == 0 and self.zero:
            return (trailing if self.subnormals else 0), self.qmin
        return (1 << self.trailing_bits) + trailing, exponent - self._bias - self.trailing_bits

    @staticmethod
    def _fraction(scaled: tuple[int, int]) -> Fraction:
        significand, quantum = scaled
        return significand * Fraction(2) ** quantum

    @cached_property
    def max(self) -> Fraction:
        return self._fraction(self.scaled(self.max_code))

    @cached_property
    def min_normal(self) -> Fraction:
        return Fraction(2) ** self.emin

    @cached_property
    def min_positive(self) -> Fraction:
        return Fraction(2) ** self.qmin

    @property
    def min(self) -> Fraction:
        """Lowest finite value, M_lo: -max, or the least non-negative value of an unsigned format."""
        return -self.max if self.signed else Fraction(0) if self.zero else self.min_positive

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        # kept, since formats are keys of every table of compiled settings; of numbers alone, whose hashes are the same
        # in the process that unpickles it
        values = (getattr(self, part.name) for part in fields(self) if part.compare)
        return hash(tuple(value for value in values if isinstance(value, int)))

    def holds(self, other: Format) -> bool:
        """Whether every finite value of ``other`` is a value of this format.

        Parameters
        ----------
        other : Format

        Returns
        -------
        bool

        Examples
        --------
        >>> from floatemu import get_format
        >>> get_format("binary32").holds(get_format("bfloat16")), get_format("binary16").holds(get_format("e5m2"))
        (True, True)
        """
        if other.signed and not self.signed:
            return False
        if self.subnormals:
            fine = self.qmin <= other.emin - other.trailing_bits
        else:
            fine = self.min_normal <= other.min_positive
        return self.p >= other.p and fine and self.max >= other.max and (self.zero or not other.zero)

    def describe(self) -> str:
        """Return one line of the format's numbers.

        Examples
        --------
        >>> from floatemu import get_format
        >>> get_format("e4m3fn").describe()
        'e4m3fn: k=8 p=4 bias=7, signed, subnormals, -0, no infinities, 1 NaN per sign, overflow NAN'
        """
        assert isinstance(self.overflow, Overflow)
        per_sign = " per sign" if self.signed else ""
        nans = f"{self.high_nans} NaN{per_sign}" if self.high_nans else "one NaN" if self.has_nan else "no NaN"
        return (
            f"{self.name}: k={self.k} p={self.p} bias={self.bias}, {'signed' if self.signed else 'unsigned'}, "
            f"{'subnormals' if self.subnormals else 'no subnormals'}, {'-0' if self.negative_zero else 'no -0'}, "
            f"{'infinities' if self.infinities else 'no infinities'}, {nans}, overflow {self.overflow.name}"
        )
