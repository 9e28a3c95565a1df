"""Where blocks lie in an array, and the scales of blocks."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from floatemu._core import blocks as core
from floatemu._core import kernels
from floatemu.block.formats import FORMULAS, BlockFormat, ScaleRule, get_block_format, get_rule
from floatemu.codec import code_dtype, encode, values
from floatemu.errors import ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.projecting import readonly
from floatemu.projection import Projection, Saturation, as_rounding
from floatemu.rounding import round as round_number
from floatemu.target import layout, scaled_target

Array = np.ndarray[Any, Any]

SMALLEST = ("subnormal", "normal")
NO_TABLE = np.empty(0)


class Tiling(NamedTuple):
    """An array as matrices of rows, each of ``cols`` groups of ``inner`` numbers, and its blocks in them."""

    rows: int
    cols: int
    inner: int
    block_rows: int
    block_cols: int
    matrices: int
    shape: tuple[int, ...]  #: of the array of scales

    @property
    def bands(self) -> int:
        """Rows of blocks in a matrix."""
        return -(-self.rows // self.block_rows)

    @property
    def groups(self) -> int:
        """Blocks in a row."""
        return -(-self.cols // self.block_cols) * self.inner

    def spread(self, scales: Array) -> Array:
        """Values of the blocks as an array that broadcasts to (matrices, rows, cols, inner)."""
        own = scales.reshape(self.matrices, self.bands, -(-self.cols // self.block_cols), self.inner)
        if own.shape[2] > 1:
            own = np.repeat(own, self.block_cols, axis=2)[:, :, : self.cols]
        return np.repeat(own, self.block_rows, axis=1)[:, : self.rows] if own.shape[1] > 1 else own

    def view(self, array: Array) -> Array:
        """A contiguous array as (matrices, rows, cols, inner)."""
        return array.reshape(self.matrices, self.rows, self.cols, self.inner)


def tiling(shape: tuple[int, ...], fmt: BlockFormat, axis: int) -> Tiling:
    """Return how the blocks of ``fmt`` lie in an array.

    Parameters
    ----------
    shape : tuple of int
    fmt : BlockFormat
    axis : int
        Along which numbers are quantized; of no meaning where the whole array is one block.

    Returns
    -------
    Tiling

    Raises
    ------
    UnsupportedError
        If the array has no such axis, or only one for blocks of two.
    """
    if fmt.block == "tensor":
        size = math.prod(shape)
        return Tiling(1, size, 1, 1, max(size, 1), 1, ())
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)) or not -len(shape) <= axis < len(shape):
        raise UnsupportedError(
            f"axis={axis!r} is none of an array of shape {shape}; {fmt.name} quantizes along an axis "
            f"{-len(shape)}..{len(shape) - 1}" + ("" if shape else " (reshape the number to an array of one)")
        )
    a, n = int(axis) % len(shape), len(shape)
    if not isinstance(fmt.block, tuple):
        along = max(shape[a], 1) if fmt.block == "row" else fmt.block
        assert isinstance(along, int)
        scales = (*shape[:a], -(-shape[a] // along), *shape[a + 1 :])
        return Tiling(1, shape[a], math.prod(shape[a + 1 :]), 1, along, math.prod(shape[:a]), scales)
    if n < 2:
        raise UnsupportedError(
            f"{fmt.name} has blocks of {fmt.block[0]} by {fmt.block[1]}, but the array of shape {shape} one axis; "
            "reshape it to a matrix"
        )
    first, (rows, cols) = (a - 1, fmt.block) if a else (0, fmt.block[::-1])
    grid = (-(-shape[first] // rows), -(-shape[first + 1] // cols))
    scales = (*shape[:first], *grid, *shape[first + 2 :])
    inner, matrices = math.prod(shape[first + 2 :]), math.prod(shape[:first])
    return Tiling(shape[first], shape[first + 1], inner, rows, cols, matrices, scales)


@lru_cache(maxsize=256)
def _table(scale: Format) -> Array:
    """Values of all codes, where they are few."""
    return values(scale) if scale.k <= 8 else NO_TABLE


@lru_cache(maxsize=256)
def least_code(scale: Format, smallest: str) -> int:
    """The least code that a scale may have: 0, or that of the least normal value."""
    if smallest not in SMALLEST:
        raise ProjectionError(f"scale_min={smallest!r} is unknown; accepted: {', '.join(SMALLEST)}")
    return int(encode(scale.min_normal, scale)) if smallest == "normal" else 0


class Making(NamedTuple):
    """What the kernels need to make scales: checked settings of one call."""

    scaling: core.Scaling
    target: Any
    layout: Any
    table: Any

    def run(
        self, bits: Array, shape: tuple[int, ...], carrier: str, codes: Array, factors: Array, steps: Any = None
    ) -> None:
        """Make the scales of whole bands: codes (uint64), and what numbers are divided by (binary64)."""
        if bits.size:
            known = np.empty(0, bits.dtype) if steps is None else steps
            loop = core.scales_loop(carrier)
            loop(bits, shape, codes, factors, self.scaling, self.target, self.layout, self.table, readonly(known))

    def steps(self, carrier: str) -> Any:
        """The least magnitude of each code, as carrier bits, found by bisection; None where codes are many."""
        if self.table.size == 0:
            return None
        word: Any = kernels.CARRIERS[carrier][0]
        infinity = 0xFF << 23 if carrier == "float32" else 0x7FF << 52
        wanted = np.arange(core.STEPS, dtype=np.uint64)
        low, high = np.zeros(core.STEPS, word), np.full(core.STEPS, infinity, word)
        codes, factors = np.empty(core.STEPS, np.uint64), np.empty(core.STEPS)
        while np.any(low < high):
            middle = low + (high - low) // word(2)
            self.run(readonly(middle), (1, core.STEPS, 1, 1, 1), carrier, codes, factors)
            enough = (codes >= wanted) | (middle == infinity)
            low, high = np.where(enough, low, middle + word(1)), np.where(enough, middle, high)
        return np.where(low == infinity, ~word(0), low)


def making(fmt: BlockFormat, rule: ScaleRule, outer: float, smallest: str, finite: bool) -> Making:
    """Return the settings of the loop that makes scales."""
    element, mode = fmt.element, as_rounding(rule.rounding)
    divisor = float(element.max) if rule.divisor == "max" else 2.0**element.emax
    nan = fmt.scale.nan_code if fmt.scale.has_nan else 0
    scaling = core.Scaling(
        divisor,
        float(outer),
        FORMULAS.index(rule.formula),
        element.p if rule.even else 0,
        rule.power,
        int(mode),
        finite,
        np.uint64(least_code(fmt.scale, smallest)),
        np.uint64(nan),
    )
    target = scaled_target(fmt.scale, Projection(mode, Saturation.SAT_FINITE), None)
    return Making(scaling, target, layout(fmt.scale), _table(fmt.scale))


def carrier_of(x: Array, what: str = "x") -> Array:
    """Return numbers as binary32 or binary64, whichever holds them, in C order.

    Raises
    ------
    UnsupportedError
        If neither does.
    """
    if x.dtype.kind in "iu":
        narrow = x.dtype.itemsize <= 2
        if x.dtype.itemsize == 8 and x.size and max(abs(int(x.min())), abs(int(x.max()))) > 2**53:
            raise UnsupportedError(f"{what} holds integers beyond 2^53, which binary64 does not; scale them down first")
    elif x.dtype == object:
        raise UnsupportedError(f"{what} holds Python numbers; blocks are made of arrays of floating-point numbers")
    else:
        narrow = x.dtype.itemsize <= 4
    return np.asarray(x, np.float32 if narrow else np.float64, order="C")


def outer_scale(amax: float, fmt: BlockFormat | str) -> float:
    """Return the scale of a whole array: amax over the largest value that element and scale make, in binary32.

    Parameters
    ----------
    amax : float
        Its largest magnitude.
    fmt : BlockFormat or str

    Returns
    -------
    float
        1 where ``amax`` is 0, infinite or NaN, or the format has no such scale; never 0.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.block.outer_scale(2688.0, "nvfp4"), fe.block.outer_scale(2688.0, "mxfp4")
    (1.0, 1.0)
    """
    fmt = get_block_format(fmt)
    if fmt.outer is None or not math.isfinite(amax) or amax == 0:
        return 1.0
    most = fmt.element.max * fmt.scale.max
    found = round_number(Fraction(float(amax)) / most, fmt.outer, saturation=Saturation.SAT_FINITE)
    return float(max(found, float(fmt.outer.min_positive)))


def scales(
    amax: Any,
    fmt: BlockFormat | str,
    rule: ScaleRule | str | None = None,
    *,
    outer: float = 1.0,
    scale_min: str = "subnormal",
) -> tuple[Array, Array]:
    """Return the scales of blocks whose largest magnitudes are known.

    Parameters
    ----------
    amax : array_like of float
        Not negative.
    fmt : BlockFormat or str
    rule : ScaleRule or str, optional
        Default: the format's.
    outer : float
        The scale of the whole array.
    scale_min : {"subnormal", "normal"}
        The least scale: the least value of the scale's format (0 if it has one), or its least normal value.

    Returns
    -------
    codes : numpy.ndarray
        Of the scales, unsigned; the shape of ``amax``.
    factors : numpy.ndarray of float64
        Their values times ``outer``: what elements are multiplied with.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        If a name is unknown, or ``amax`` no array of floating-point numbers.

    Examples
    --------
    >>> import floatemu as fe
    >>> for rule in ("FLOOR", "CEIL", "EVEN", "RCEIL"):
    ...     print(rule, *fe.block.scales([448.0, 465.0, 496.0], "mxfp8_e4m3", rule)[1].tolist())
    FLOOR 1.0 1.0 1.0
    CEIL 2.0 2.0 2.0
    EVEN 1.0 1.0 2.0
    RCEIL 1.0 2.0 2.0
    """
    fmt = get_block_format(fmt)
    x = np.asarray(amax)
    if x.dtype.kind not in "fiuV":
        raise UnsupportedError(f"amax has dtype {x.dtype}; give floating-point numbers")
    array = carrier_of(x, "amax")
    make = making(fmt, get_rule(fmt.rule if rule is None else rule), outer, scale_min, False)
    codes, factors = np.empty(array.shape, np.uint64), np.empty(array.shape)
    carrier = array.dtype.name
    bits = readonly(array.reshape(-1).view(kernels.CARRIERS[carrier][0]))
    make.run(bits, (1, array.size, 1, 1, 1), carrier, codes.reshape(-1), factors.reshape(-1))
    return codes.astype(code_dtype(fmt.scale)), factors
