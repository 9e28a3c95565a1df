"""Arrays and single numbers through the core, to values or to codes: the engine under the faces."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from floatemu._core import kernels
from floatemu._core import rounding as core
from floatemu._core.random import MASK, draw, stream_state
from floatemu.errors import ProjectionError
from floatemu.format import Format
from floatemu.formats import FORMATS
from floatemu.operands import Exact, dtype_format, exact_number, random_integers
from floatemu.projection import Projection, Rounding
from floatemu.target import carried_by, carrier_target, check_nan_policy, integer_target, layout, scaled_target

BLOCK = 8192
"""Elements handled at a time where a source has to be converted: 64 KiB of binary64."""

CODED = 1 << 17
"""Elements whose values are kept until they are encoded: half a MiB or one."""

SPARE = 1 << 16
"""Elements that are rounded beside their array and copied back, where the result overwrites the source."""

NEAREST = int(Rounding.NEAREST_TIES_TO_EVEN)
NO_RANDOM = np.empty(0, np.uint32)
NO_RANDOM.flags.writeable = False
NO_FLAGS = np.empty(0, np.uint8)


@dataclass(frozen=True)
class Request:
    """One call's settings, checked: format, projection, NaN policy and source of random bits."""

    fmt: Format
    projection: Projection
    nan: str | None = None
    state: int = 0
    random: Any = None

    @property
    def bits(self) -> int:
        """N, the count of random bits; 0 where none are used."""
        return self.projection.random_bits or 0

    @staticmethod
    def make(
        fmt: Format,
        rounding: Any,
        saturation: Any,
        random_bits: int | None,
        random: Any,
        seed: int | None,
        stream: int,
        nan: str | None,
    ) -> Request:
        """Check one call's arguments and return them as a Request.

        Raises
        ------
        ProjectionError
            If one is unknown, or a stochastic mode has neither ``seed`` nor ``random``.
        """
        projection = Projection(rounding, saturation, random_bits)
        state = 0
        if projection.rounding.stochastic and random is None:
            if seed is None:
                raise ProjectionError(
                    f"{projection.rounding.name} needs random bits: give seed= (and stream=step, so that repeated "
                    "calls differ), or the integers themselves as random="
                )
            state = stream_state(_integer(seed, "seed"), _integer(stream, "stream"))
        given = random if projection.rounding.stochastic else None
        return Request(fmt, projection, check_nan_policy(nan), state, given)


def _integer(value: Any, what: str) -> int:
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise ProjectionError(f"{what}={value!r} is not an integer; use any integer, it is taken modulo 2^64") from None


# Single numbers ------------------------------------------------------------------------------------------------------


def project_number(x: Any, request: Request, index: int = 0) -> tuple[int, int]:
    """Return (code, flags) of a single number, computed on Python integers from its exact value."""
    fmt, projection = request.fmt, request.projection
    need = fmt.p + request.bits + 4
    number = x if isinstance(x, Exact) else exact_number(x, need)
    mode = int(projection.rounding)
    if number.special:
        target = integer_target(fmt, projection, request.nan, need)
        if number.special == "nan":
            if not fmt.has_nan and request.nan is None:
                raise ProjectionError(nan_message(fmt, ()))
            return target.nan, target.nan_flags
        if number.negative:
            return target.inf_neg, target.inf_neg_flags
        return target.inf_pos, target.inf_pos_flags
    # The sticky bit goes below a significand that has more bits than any mode looks at.
    sig, quantum = number.significand * 2 + number.sticky, number.quantum - 1
    missing = max(0, need - sig.bit_length())
    sig, quantum = sig << missing, quantum - missing
    top = sig.bit_length() - 1 if number.significand else need
    target = integer_target(fmt, projection, request.nan, top)
    r = 0
    if projection.rounding.stochastic:
        if request.random is None:
            r = draw(int, request.state, index & MASK, request.bits)
        else:
            r = int(random_integers(request.random, (), request.bits))
    sig = sig if number.significand else 0
    n = request.bits
    code, flags = core.project_scaled(
        int, top, sig, 0, top + quantum, number.negative, target, mode, r, n, 2**n - 1, True
    )
    return int(code), int(flags)


def number_of_code(code: int, fmt: Format) -> Fraction | float:
    """Return the exact value of a code; infinities, NaN and -0 as floats."""
    magnitude = code & (fmt.sign_code - 1) if fmt.signed else code
    negative = magnitude != code
    if magnitude > fmt.max_code + fmt.infinities or (negative and magnitude == 0 and not fmt.negative_zero):
        return float("nan")
    if magnitude > fmt.max_code:
        return float("-inf" if negative else "inf")
    significand, quantum = fmt.scaled(magnitude)
    if significand == 0:
        return -0.0 if negative and fmt.negative_zero else Fraction(0)
    value = significand * Fraction(2) ** quantum
    return -value if negative else value


def nan_message(fmt: Format, index: tuple[int, ...]) -> str:
    """The text of the refusal of a NaN by a format that has none."""
    where = f" at index {index if len(index) != 1 else index[0]}" if index else ""
    return f"NaN{where}, but {fmt.name} has no NaN; give nan='zero' or nan='max' to replace it, or remove it first"


# Arrays --------------------------------------------------------------------------------------------------------------


def project_array(
    x: np.ndarray[Any, Any],
    request: Request,
    out: np.ndarray[Any, Any],
    *,
    coded: bool,
    flags: Any = None,
    first: int = 0,
) -> None:
    """Project every element of ``x`` into ``out`` (values, or codes if ``coded``), and its flags into ``flags``.

    Parameters
    ----------
    x : numpy.ndarray
        Checked by :func:`~floatemu.operands.as_array`.
    request : Request
    out : numpy.ndarray
        Same shape as ``x``, any strides; may be ``x`` itself.
    coded : bool
        Whether ``out`` (unsigned) takes codes.
    flags : numpy.ndarray, optional
        uint8, C-contiguous, same shape.
    first : int
        Position of the first element, which decides its random bits.

    Raises
    ------
    ProjectionError
        If ``x`` holds a NaN that the format cannot take; ``out`` is untouched then.
    """
    if not request.fmt.has_nan and request.nan is None:
        _refuse_nan(x, request.fmt)
    if x.dtype == object:
        _project_objects(x, request, out, coded, flags)
        return
    random = None
    if request.random is not None:
        random = random_integers(request.random, x.shape, request.bits)
    carrier = _carrier(x.dtype, request.fmt)
    written = _written(request.fmt, carrier, coded)
    if carrier is not None and _direct(x, out, carrier, written, random):
        views = [None if a is None else a.reshape(-1) for a in (x, out, flags, random)]
        piece = CODED if coded and _in_two_steps(request, flags) else max(x.size, 1)
        # In place the kernel would see that its arrays overlap, and take one number after another.
        spare = np.empty(min(SPARE, x.size), written) if np.may_share_memory(x, out) else None
        piece = piece if spare is None else SPARE
        for start in range(0, x.size, piece):
            parts: list[Any] = [None if a is None else a[start : start + piece] for a in views]
            result = parts[1] if spare is None else spare[: parts[1].size]
            carrier_block(parts[0], result, parts[2], parts[3], carrier, request, coded, first + start)
            if spare is not None:
                parts[1][...] = result
        return
    _project_blocks(x, request, out, carrier, coded, written, flags, random, first)


def _refuse_nan(x: np.ndarray[Any, Any], fmt: Format) -> None:
    if x.dtype.kind in "iu" or x.size == 0:
        return
    if x.dtype.kind == "O":
        found = (i for i, item in enumerate(x.reshape(-1)) if exact_number(item, 1).special == "nan")
        position = next(found, -1)
    elif x.dtype in (np.float32, np.float64) and x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative:
        with np.errstate(invalid="ignore"):  # a signalling NaN
            least = np.min(x)  # NaN if an element is: the fastest way to ask
        position = int(np.argmax(np.isnan(x.reshape(-1)))) if np.isnan(least) else -1
    else:
        position = -1
        for start, block in _blocks(x):
            nans = block != block
            if np.any(nans):
                position = start + int(np.argmax(nans))
                break
    if position >= 0:
        index = tuple(int(i) for i in np.unravel_index(position, x.shape))
        raise ProjectionError(nan_message(fmt, index))


def _blocks(x: np.ndarray[Any, Any]) -> Any:
    start = 0
    with np.nditer(x, ["external_loop", "buffered", "refs_ok"], order="C", buffersize=BLOCK) as blocks:
        block: Any
        for block in blocks:
            yield start, block
            start += block.size


def _carrier(dtype: np.dtype[Any], fmt: Format) -> str | None:
    """The carrier that holds the source exactly and serves the format; None: integers of 64 bits do."""
    source = dtype_format(dtype)
    if source is None and dtype.itemsize == 8:
        return None
    narrow = source is not None and FORMATS["binary32"].holds(source)
    for carrier in ("float32", "float64") if narrow else ("float64",):
        if carried_by(fmt, carrier):
            return carrier
    return None


def _written(fmt: Format, carrier: str | None, coded: bool) -> np.dtype[Any]:
    """What a kernel writes: values of the carrier, bytes, or wider codes in the carrier's word (one kernel for all)."""
    wide = carrier != "float32"
    if not coded:
        return np.dtype(np.float64 if wide else np.float32)
    return np.dtype(np.uint8 if fmt.k <= 8 else np.uint64 if wide else np.uint32)


def _direct(x: Any, out: Any, carrier: str, written: np.dtype[Any], random: Any) -> bool:
    """Whether the kernel can run on the arrays themselves."""
    plain = bool(x.dtype == np.dtype(carrier) and out.dtype == written)
    arrays = [x, out] if random is None else [x, out, random]
    for array in arrays:
        plain = plain and array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
    plain = plain and (random is None or random.dtype == np.uint32)
    if plain and np.may_share_memory(x, out):  # in place is fine, a shifted overlap is not
        same = x.__array_interface__["data"][0] == out.__array_interface__["data"][0]
        plain = same and x.itemsize == out.itemsize
    return plain and (random is None or not np.may_share_memory(random, out))


def readonly(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A view that cannot be written: one constness for all callers, since numba compiles the two apart."""
    array = array.view()
    array.flags.writeable = False
    return array


def carrier_block(
    x: Any, out: Any, flags: Any, random: Any, carrier: str, request: Request, coded: bool, first: int
) -> None:
    """Project flat arrays of the carrier, of codes and of flags as they are: no NaN is refused, nothing converted."""
    if coded and _in_two_steps(request, flags):
        # The values are the format's own: encoding them rounds nothing, in any mode.
        values = np.empty(x.size, carrier)
        carrier_block(x, values, flags, random, carrier, request, False, first)
        x, flags, random, request = values, None, None, Request(request.fmt, Projection())
    loop, words, mode, bits = _loop(request.fmt, request.projection, request.nan, carrier, coded, flags is not None)
    loop(
        readonly(x.view(words.dtype)),
        out if coded else out.view(words.dtype),
        NO_FLAGS if flags is None else flags,
        words,
        mode,
        NO_RANDOM if random is None else readonly(random),
        bits,
        np.uint64(request.state),
        np.uint64(first),
    )


@lru_cache(maxsize=512)
def _loop(
    fmt: Format, projection: Projection, nan: str | None, carrier: str, coded: bool, flagged: bool
) -> tuple[Any, Any, int, Any]:
    """The kernel of a projection and what is handed to it: target, mode and number of random bits."""
    mode = int(projection.rounding)
    loop = kernels.carrier_loop(carrier, None if flagged and mode != NEAREST else mode, coded, flagged)
    words = readonly(np.array(carrier_target(fmt, projection, nan, carrier, coded)))
    return loop, words, mode, words.dtype.type(projection.random_bits or 0)


def _in_two_steps(request: Request, flags: Any) -> bool:
    """Whether codes are made from values: no second kernel for each mode, nor for the flags of wide codes."""
    nearest = request.projection.rounding is Rounding.NEAREST_TIES_TO_EVEN
    return not nearest or (flags is not None and request.fmt.k > 8)


def _scaled_block(x: Any, out: Any, flags: Any, random: Any, request: Request, coded: bool, first: int) -> None:
    """Any source, any format: integers times powers of two, then codes, then values."""
    magnitudes, negatives, exponents = _split(x)
    codes = np.empty(x.size, np.uint64)
    marks = np.empty(x.size, np.uint8)
    target = scaled_target(request.fmt, request.projection, request.nan)
    kernels.scaled_loop()(
        magnitudes,
        negatives,
        exponents,
        codes,
        marks,
        target,
        int(request.projection.rounding),
        NO_RANDOM if random is None else readonly(random),
        np.uint64(request.bits),
        np.uint64(request.state),
        np.uint64(first),
    )
    if x.dtype.kind == "f":
        for mask, code, flag in (
            (x == np.inf, target.inf_pos, target.inf_pos_flags),
            (x == -np.inf, target.inf_neg, target.inf_neg_flags),
            (x != x, target.nan, target.nan_flags),
        ):
            codes[mask], marks[mask] = code, flag
    if flags is not None:
        flags[...] = marks
    out[...] = codes if coded else decode_codes(codes, request.fmt)


def _split(x: np.ndarray[Any, Any]) -> tuple[Any, Any, Any]:
    """Magnitudes (uint64), signs and exponents of 64-bit integers or binary64 numbers."""
    if x.dtype.kind in "iu":
        negatives = x < 0
        bits = x.view(np.uint64)
        magnitudes = np.where(negatives, ~bits + np.uint64(1), bits)
        return magnitudes, negatives, np.zeros(x.size, np.int64)
    bits = x.view(np.uint64)
    field = ((bits >> np.uint64(52)) & np.uint64(0x7FF)).astype(np.int64)
    magnitudes = bits & np.uint64(2**52 - 1)
    magnitudes[(field > 0) & (field < 0x7FF)] |= np.uint64(2**52)
    return magnitudes, np.signbit(x), np.maximum(field, 1) - 1075


def _project_blocks(
    x: Any,
    request: Request,
    out: Any,
    carrier: str | None,
    coded: bool,
    written: Any,
    flags: Any,
    random: Any,
    first: int,
) -> None:
    if carrier is not None:
        source: Any = np.dtype(carrier)
    else:
        source = np.dtype(
            np.float64 if dtype_format(x.dtype) is not None else np.int64 if x.dtype.kind == "i" else np.uint64
        )
    operands, dtypes = [x, out], [source, written]
    modes: Any = [["readonly", "aligned", "contig"], ["writeonly", "aligned", "contig"]]
    if random is not None:
        operands.append(random)
        dtypes.append(np.dtype(np.uint32))
        modes.append(["readonly", "aligned", "contig"])
    marks = None if flags is None else flags.reshape(-1)
    done = 0
    with np.nditer(
        operands,
        ["external_loop", "buffered", "zerosize_ok", "copy_if_overlap"],
        modes,
        dtypes,
        order="C",
        casting="unsafe",
        buffersize=BLOCK,
    ) as blocks:
        if x.size == 0:
            return
        for block in blocks:
            part = None if marks is None else marks[done : done + block[0].size]
            drawn = block[2] if random is not None else None
            if carrier is not None:
                carrier_block(block[0], block[1], part, drawn, carrier, request, coded, first + done)
            else:
                _scaled_block(block[0], block[1], part, drawn, request, coded, first + done)
            done += block[0].size


def _project_objects(x: Any, request: Request, out: Any, coded: bool, flags: Any) -> None:
    random = None
    if request.random is not None:
        random = random_integers(request.random, x.shape, request.bits)
    marks = None if flags is None else flags.reshape(-1)
    for position, index in enumerate(np.ndindex(x.shape)):
        one = request
        if random is not None:
            one = Request(request.fmt, request.projection, request.nan, 0, random[index])
        code, flag = project_number(x[index], one, position)
        out[index] = code if coded else float(number_of_code(code, request.fmt))
        if marks is not None:
            marks[position] = flag


def decode_codes(codes: np.ndarray[Any, Any], fmt: Format) -> np.ndarray[Any, Any]:
    """Return the binary64 values of 1-D unsigned codes; not checked."""
    values = np.empty(codes.shape, np.float64)
    for start in range(0, codes.size, BLOCK):
        part = slice(start, start + BLOCK)
        block = np.ascontiguousarray(codes[part], np.uint64)
        kernels.decode_loop()(readonly(block), values[part].view(np.uint64), layout(fmt))
    return values
