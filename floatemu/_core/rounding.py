"""The one rounding text: an integer significand, a shift, a mode, some random bits.

Everything that rounds in floatemu passes through :func:`away`, the only place where a rounding mode
means something. Two arrangements feed it: :func:`project_carrier` takes the bits of a binary32 or
binary64 number, :func:`project_scaled` a normalised integer significand with its exponent (wide
integers, rationals, anything that is no binary32 or binary64 number). Both end in the same choice of
special results, which a :class:`Target` holds as plain integers.

The text runs as plain Python on Python integers, and is compiled by ``kernels``. Its first argument
``w`` is the word: ``int``, ``numpy.uint32`` or ``numpy.uint64``. Every intermediate is cast back to
it, since numba widens 32-bit arithmetic to 64 bits, which would halve the lanes of a vector, and
turns uint64 mixed with int64 into float64. No intermediate is ever negative and none exceeds its word.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from floatemu.projection import Rounding

NE, NA = int(Rounding.NEAREST_TIES_TO_EVEN), int(Rounding.NEAREST_TIES_TO_AWAY)
TZ, TP, TN = int(Rounding.TOWARD_ZERO), int(Rounding.TOWARD_POSITIVE), int(Rounding.TOWARD_NEGATIVE)
TO = int(Rounding.TO_ODD)
SA, SB, SC = int(Rounding.STOCHASTIC_A), int(Rounding.STOCHASTIC_B), int(Rounding.STOCHASTIC_C)

INEXACT, OVERFLOW, UNDERFLOW, FLUSHED, SATURATED, INVALID, DIVIDE_BY_ZERO, NAN_BORN = (1 << i for i in range(8))


class Target(NamedTuple):
    """What a projection aims at, as integers of one word: where to cut, and what the special results are.

    Results are either bits of the carrier or codes of the format; ``least`` ... ``nan`` and ``sign``
    are of that kind. Exponents are biased alike in ``emin`` and in the numbers to be projected.
    """

    precision: Any
    trailing: Any  #: p - 1
    power: Any  #: 1 if p = 1, where the exponent decides a code's parity, else 0
    drop: Any  #: bits cut from a number at or above 2^emin
    emin: Any  #: biased exponent of the smallest normal value
    flush: Any  #: further bits cut below 2^emin, p - 1 in a format without subnormals
    origin: Any  #: 1 where code 0 is the smallest power of two rather than zero
    least: Any  #: the smallest positive value
    most_pos: Any  #: the largest magnitude in range, of positive numbers ...
    most_neg: Any  #: ... and of negative ones
    zero_pos: Any  #: result of a positive number that rounds to zero
    zero_neg: Any
    null_pos: Any  #: result of an exact zero
    null_neg: Any
    over_pos: Any
    over_neg: Any
    inf_pos: Any
    inf_neg: Any
    nan: Any
    sign: Any
    over_pos_flags: Any
    over_neg_flags: Any
    inf_pos_flags: Any
    inf_neg_flags: Any
    null_flags: Any
    nan_flags: Any
    flush_flags: Any


def as_target(w: Any) -> Target:
    """The target whose fields an array holds: to hand over one array takes a fraction of handing over 27 numbers."""
    return Target(
        w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14], w[15],
        w[16], w[17], w[18], w[19], w[20], w[21], w[22], w[23], w[24], w[25], w[26],
    )  # fmt: skip


class Layout(NamedTuple):
    """How a format encodes, as 64-bit words: what :func:`decode_code` needs to know."""

    trailing: Any  #: trailing significand bits
    max_code: Any
    infinities: Any  #: 1 or 0, as the next three
    sign: Any
    negative_zero: Any
    zero: Any
    subnormals: Any
    qmin: Any  #: biased exponent of the quantum below 2^emin


def nearest_even(w: Any, sig: Any, shift: Any, odd: Any) -> Any:
    """Whether ``sig >> shift`` goes up to nearest, ties to even; ``odd`` is 0 or 1.

    All in one comparison: with ``unit = 2^shift`` and ``rem`` the cut bits, ``2 rem + odd > unit``.
    For shift >= 1 both 2 rem and unit are even, so the added parity decides exactly the tie; for
    shift = 0, rem is 0 and unit is 1, and the comparison is false.
    """
    unit = w(w(1) << shift)
    rem = w(sig & w(unit - w(1)))
    return w(w(rem + rem) + odd) > unit


def shift_right(w: Any, x: Any, n: Any) -> Any:
    """``x >> n`` for 0 <= n < bits of the word; ``kernels`` compiles it to one instruction of that width."""
    return w(x >> n)


def pick(w: Any, condition: Any, yes: Any, no: Any) -> Any:
    """``yes if condition else no`` without a branch: compilers make one vector instruction of it.

    Written as a conditional expression it becomes control flow, which LLVM threads into a dozen mask
    operations where several choices follow one another.
    """
    return w(no ^ w(w(yes ^ no) * w(condition)))


def away(
    w: Any, sig: Any, shift: Any, depth: Any, odd: Any, negative: Any, mode: Any, random: Any, n: Any, ones: Any
) -> Any:
    """Whether the magnitude ``sig >> shift`` is incremented: the meaning of the nine modes.

    ``odd`` (0 or 1) is the parity of the truncated magnitude's code point; ``random`` holds the ``n``
    random bits R of the stochastic modes, ``ones`` is 2^n - 1. The discarded fraction is
    ``nu = rem / 2^depth``. ``depth`` is ``shift``, or more where ``shift`` was capped at a value with
    ``sig < 2^(shift - 1)``, so that rem = sig and the comparisons with 1/2 come out the same.

    Stochastic: with a = floor(nu 2^n) and c = 0 or 1, the modes say a + c + R >= 2^n, where c is 0 in
    A; the next bit of nu in B, since floor(nu 2^(n+1)) = 2a + c and 2a + c + 2R + 1 >= 2^(n+1) is
    a + R + (c + 1)/2 >= 2^n in integers a + R; and the carry of rounding to nearest in C. Written as a
    comparison of R with ``ones - a`` nothing exceeds n bits, so that 32 random bits fit a 32-bit word.
    """
    if mode == NE:
        return nearest_even(w, sig, shift, odd)
    unit = w(w(1) << shift)
    rem = w(sig & w(unit - w(1)))
    if mode == NA:
        return w(rem + rem) >= unit
    if mode == TZ:
        return rem < w(0)  # never; of the shape that the other modes answer in
    if mode == TP:
        return (rem > w(0)) & (negative ^ True)
    if mode == TN:
        return (rem > w(0)) & negative
    if mode == TO:
        return (rem > w(0)) & (odd == w(0))
    # a = rem * 2^(n - depth): one of the two shifts is zero. A shift down beyond shift + 1 leaves
    # a = 0 and c = 0 as that one does; a shift up is beyond 31 only for depth = 0, where rem = 0.
    reach = w(max(depth, n))
    down = w(min(w(reach - n), w(shift + w(1))))
    a = w(shift_right(w, rem, down) << w(min(w(reach - depth), w(31))))
    limit = w(ones - a)
    if mode == SA:
        return random > limit
    if mode == SB:
        carry = w(shift_right(w, w(rem + rem), down) & w(1)) != w(0)
    else:
        carry = nearest_even(w, rem, down, w(a & w(1)))
    return (random > limit) | ((random == limit) & carry)


def jam(w: Any, top: Any, sig: Any, shift: Any) -> Any:
    """Cut a shift beyond ``top`` down to it; what leaves the significand stays as a sticky last bit.

    For ``sig < 2^(top+1)`` with top >= n + 3: the discarded fraction nu keeps n + 2 leading bits and
    its being zero or not, and that is all that any mode looks at (n random bits, one more for mode B).
    """
    over = w(min(w(max(shift, w(top)) - w(top)), w(top)))
    kept = w(sig >> over)
    return w(kept | w(w(kept << over) != sig)), w(min(shift, w(top)))


def fold(w: Any, sig: Any, low: Any, shift: Any) -> Any:
    """Bring a second word ``low`` of a significand into what is cut: (significand, shift) for :func:`away`.

    Where more than 40 bits are cut a sticky bit says enough; else the discarded fraction is written with
    its 62 leading bits, the last one sticky, in a word of its own.
    """
    if low == w(0):
        return sig, shift
    if shift > w(40):
        return w(sig | w(1)), shift
    rest = w(sig & w(w(w(1) << shift) - w(1)))
    below = w(low >> w(shift + w(2)))
    sticky = w(w(below << w(shift + w(2))) != low)
    return w(w(w(rest << w(w(62) - shift)) | below) | sticky), w(62)


def tiny(
    w: Any,
    q: Any,
    sig: Any,
    shift: Any,
    depth: Any,
    negative: Any,
    target: Any,
    mode: Any,
    random: Any,
    n: Any,
    ones: Any,
) -> Any:
    """Whether a number below 2^emin, rounded to p bits with an unbounded exponent, stays below.

    It is so for all but those which round up to 2^emin from the binade under it; ``shift`` cuts at
    that binade's quantum, half of the subnormals'. Its codes would come one block earlier, which flips
    the parity where p = 1 and nowhere else. ``q`` is the significand so cut.
    """
    odd = w(w(q + target.power) & w(1))
    q = w(q + w(away(w, sig, shift, depth, odd, negative, mode, random, n, ones)))
    return shift_right(w, q, target.precision) == w(0)


def finite_flags(w: Any, inexact: Any, below: Any, q: Any, beyond: Any, negative: Any, target: Any) -> Any:
    """Flags of a finite nonzero number, rounded to a value in range or ``beyond``."""
    if beyond:
        return target.over_neg_flags if negative else target.over_pos_flags
    flags = w(INEXACT) if inexact else w(0)
    if inexact and below:
        flags = w(flags | w(UNDERFLOW))
        if q == w(0):
            flags = w(flags | target.flush_flags)
    return flags


def project_carrier(
    w: Any, t: Any, bits: Any, target: Any, mode: Any, random: Any, n: Any, ones: Any, coded: Any, flagged: Any
) -> Any:
    """Round and saturate the binary32 (t = 23) or binary64 (t = 52) number with these bits.

    Returns the bits of the result in the same carrier, or its code if ``coded``; and the flags if
    ``flagged`` (2: without UNDERFLOW and FLUSHED, for what is exact below 2^emin). Needs a target with a
    zero whose emin is not below the carrier's and whose finite values the carrier holds.

    Write the carrier's magnitude bits as ``(e - 1) * 2^t + sig``, where sig includes the leading bit:
    true for normal numbers (E field e, sig = 2^t + T) and for subnormals (e = 1, sig = T). Rounding
    replaces sig by ``q << shift``; if that carries into 2^(t+1), the sum carries into the exponent by
    itself. Only where shift > t, so that q is 0 or 1, is the sum wrong: there the result is zero or
    the target's smallest positive value. A code is ``q + (e - emin) * 2^(p-1)`` by the same argument.
    """
    width_mask = w((1 << (31 if t == 23 else 63)) - 1)
    infinity = w((255 << 23) if t == 23 else (2047 << 52))
    bits = w(bits)
    mag = w(bits & width_mask)
    negative = bits != mag
    field = shift_right(w, mag, w(t))
    sig = w(w(mag & w((1 << t) - 1)) | w(w(field != w(0)) << w(t)))
    e = w(max(field, w(1)))
    # 1. Where to cut: a fixed number of bits from emin on, at a fixed quantum below. A shift of t + 2
    #    leaves nu < 1/2 and nonzero, as every larger one does.
    binade = w(max(e, target.emin))
    graded = w(w(target.drop + binade) - e)
    depth = w(graded + w(target.flush * w(e < target.emin)))
    shift = w(min(depth, w(t + 2)))
    # 2. Split and round.
    q = shift_right(w, sig, shift)
    odd = w(w(q ^ w(w(binade ^ target.emin) & target.power)) & w(1))  # of q + (binade - emin) where p = 1
    q = w(q + w(away(w, sig, shift, depth, odd, negative, mode, random, n, ones)))
    # 3. Put together, in code space or in the carrier's.
    if coded:
        r = w(q + w(w(binade - target.emin) << w(target.trailing & w(31 if t == 23 else 63))))
    else:
        r = w(w(mag - sig) + w(q << shift))
    r = pick(w, shift > w(t), w(target.least * w(q != w(0))), r)
    # 4. Zeros, sign, range, and the inputs that are not finite.
    #    A positive zero is all zeros; a negative one is that or the sign alone.
    out = w(r | w(pick(w, q == w(0), target.zero_neg, target.sign) * w(negative)))
    beyond = r > pick(w, negative, target.most_neg, target.most_pos)
    out = pick(w, beyond, pick(w, negative, target.over_neg, target.over_pos), out)
    out = pick(w, mag >= infinity, pick(w, negative, target.inf_neg, target.inf_pos), out)
    out = pick(w, mag > infinity, target.nan, out)
    flags = w(0)
    if flagged:
        if mag >= infinity:
            flags = target.inf_neg_flags if negative else target.inf_pos_flags
            flags = target.nan_flags if mag > infinity else flags
        elif mag == w(0):
            flags = target.null_flags
        else:
            below = ((e < target.emin) | (shift_right(w, sig, w(t)) == w(0))) & (flagged != 2)
            if below & (graded > w(0)):  # graded = 0: nothing is cut, the number is exact
                finer = w(graded - w(1))
                near = w(min(finer, w(t + 2)))
                whole = shift_right(w, sig, near)
                below = tiny(w, whole, sig, near, finer, negative, target, mode, random, n, ones)
            flags = finite_flags(w, w(q << shift) != sig, below, q, beyond, negative, target)
    return out, flags


def project_scaled(
    w: Any,
    top: Any,
    sig: Any,
    low: Any,
    e: Any,
    negative: Any,
    target: Any,
    mode: Any,
    random: Any,
    n: Any,
    ones: Any,
    flagged: Any,
) -> Any:
    """Round and saturate ``(sig + low / 2^64) * 2^(e - top)``, where 2^top <= sig < 2^(top+1), or sig is 0.

    Returns the code of the result, and the flags if ``flagged``. Exponents are biased so that they
    are never negative. In 64-bit words top is 63, and the last bit of ``low`` may be a sticky one; Python
    integers hold any significand in ``sig``, and their ``low`` is 0.
    """
    if sig == w(0):
        return (target.null_neg if negative else target.null_pos), target.null_flags
    binade = w(max(e, target.emin))
    graded = w(w(target.drop + binade) - e)
    cut, shift = jam(w, top, sig, w(graded + target.flush) if e < target.emin else graded)
    q = w(cut >> shift)
    code = w(q + w(w(binade - target.emin) << target.trailing))
    # Where code 0 is 2^emin all codes are one lower: the parity flips, and q = 0 has no code.
    odd = w(w(code + target.origin) & w(1))
    part, depth = fold(w, cut, low, shift)
    up = w(away(w, part, depth, depth, odd, negative, mode, random, n, ones))
    q = w(q + up)
    r = w(w(code + up) - target.origin) if q > w(0) else w(0)
    if (e < target.emin) & (q > w(0)):
        r = max(r, target.least)
    # A code of more bits than the word has wraps around: its exponent alone, or the carry, tells. Where there
    # is no zero every negative number is beyond.
    beyond = (w(binade - target.emin) > w(target.most_pos >> target.trailing)) | (w(code + up) < code)
    beyond = beyond | (r > (target.most_neg if negative else target.most_pos))
    beyond = beyond | (negative & (target.origin != w(0)))
    out = w(r | target.sign) if negative else r
    if q == w(0):
        out = target.zero_neg if negative else target.zero_pos
    if beyond:
        out = target.over_neg if negative else target.over_pos
    if not flagged:
        return out, w(0)
    below = e < target.emin  # where there is no zero, all that is below 2^emin counts as tiny
    if below & (target.origin == w(0)):
        rest, finer = jam(w, top, sig, w(graded - w(1)))
        part, depth = fold(w, rest, low, finer)
        below = tiny(w, shift_right(w, rest, finer), part, depth, depth, negative, target, mode, random, n, ones)
    inexact = (w(q << shift) != cut) | (low != w(0))
    return out, finite_flags(w, inexact, below, q, beyond, negative, target)


def decode_code(w: Any, code: Any, layout: Any, bias: Any) -> Any:
    """Bits of the binary64 number with this code, in a format that binary64 holds.

    ``bias`` is that of ``layout.qmin``. P3109 v4.0, 4.7.1: significand T, or 2^(p-1) + T from E = 1 on
    (from E = 0 on in a format without zero).
    """
    mag = w(code & w(layout.sign - w(1))) if layout.sign != w(0) else code
    negative = mag != code
    sign = w(w(negative) << w(63))
    if (mag > w(layout.max_code + layout.infinities)) | (negative & (mag == w(0)) & (layout.negative_zero == w(0))):
        return w(0x7FF8000000000000)
    if mag > layout.max_code:
        return w(sign | w(0x7FF0000000000000))
    one = w(w(1) << layout.trailing)
    field, sig = w(mag >> layout.trailing), w(mag & w(one - w(1)))
    quantum = layout.qmin
    if (field == w(0)) & (layout.zero != w(0)):
        sig = w(sig * layout.subnormals)
    else:
        # Exponent field 1 (0 without zero) has the quantum of the subnormals, where there are such.
        steps = w(field - layout.zero)
        quantum = w(w(quantum + steps) - w(w(w(1) - layout.subnormals) * layout.trailing))
        sig = w(sig + one)
    if sig == w(0):
        return w(sign * layout.negative_zero)
    length = w(0)
    while w(sig >> length) != w(0):
        length = w(length + w(1))
    e = w(w(quantum + length) - w(1))  # biased exponent of the leading bit
    if e >= w(bias - 1022):
        field = w(e - w(bias - 1022))  # binary64's exponent field less one: the leading bit adds it
        return w(sign | w(w(field << w(52)) + w(sig << w(w(53) - length))))
    return w(sign | w(sig << w(quantum - w(bias - 1074))))


TEXT = (
    as_target,
    decode_code,
    nearest_even,
    pick,
    away,
    jam,
    fold,
    tiny,
    finite_flags,
    project_carrier,
    project_scaled,
)
"""The functions that ``kernels`` compiles."""
