"""Matrix products with every operation rounded: matmul and conv2d, with order, product and accumulator named."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from floatemu._core import exact as ops
from floatemu._core import gemm as core_gemm
from floatemu._core import reductions as core
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.orders import NEAREST, Order, Plan
from floatemu.projecting import project_array
from floatemu.projection import Rounding
from floatemu.reductions import deliver, execute, operand, plain, refuse_nan
from floatemu.results import check_out, result_dtype
from floatemu.target import carried_by, carrier_format, carrier_target


def matmul(
    a: Any,
    b: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    product: Format | str | None = None,
    accumulate: Format | str | None = None,
    order: str | Order = "sequential",
    fused: bool = False,
    threads: int = 1,
    dtype: Any = None,
    out: Any = None,
    **options: Any,
) -> Any:
    """Return the matrix product of a and b with every multiplication and addition rounded once.

    ``c[i, j]`` is the sum over k of ``a[i, k] b[k, j]``: each product rounded to ``product``, each addition to
    ``accumulate``, in ``order``, and the result to ``fmt``. Bits do not depend on strides or ``threads``.

    Parameters
    ----------
    a, b : array_like
        Shapes (..., m, k) and (..., k, n); vectors and leading axes as in ``numpy.matmul``. Taken as the exact
        values they have.
    fmt : Format or str
        Format of the result.
    rounding : Rounding or str
        One of the nine modes, for every operation.
    product, accumulate : Format or str, optional
        Format of the products (default: the accumulator's) and of the accumulator (default: ``fmt``).
    order : str
        As for :func:`~floatemu.reductions.sum`; see :class:`~floatemu.orders.Order`.
    fused : bool
        Whether multiplication and addition are one operation.
    threads : int
        Threads that share the rows.
    dtype, out
        As for :func:`~floatemu.round`.
    **options
        ``saturation``, ``random_bits``, ``seed``, ``stream``, ``nan`` as for :func:`~floatemu.round`;
        ``flags=True`` returns (values, flags) as for :func:`~floatemu.reductions.sum`. Operation m of the
        element at C-order position i of a result of ``size`` elements uses the random bits of index
        ``m * size + i``; the product of term k is operation k, the additions follow in order (from 0 if
        fused), then comes the rounding to ``fmt``.

    Returns
    -------
    numpy.ndarray or scalar
        dtype: the operands' own if they share one that holds ``fmt``, else the smallest of float32 and
        float64 that does. With ``flags=True`` also a uint8 array of :class:`~floatemu.Flag` bits.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`~floatemu.round`; an unknown order; shapes that do not fit.

    Examples
    --------
    >>> from floatemu.gemm import matmul
    >>> import numpy as np
    >>> a, b = np.ones((1, 4096)), np.ones((4096, 1))
    >>> float(matmul(a, b, "binary16")[0, 0]), float(matmul(a, b, "binary16", accumulate="binary32")[0, 0])
    (2048.0, 4096.0)
    """
    plan = Plan.make(fmt, product, accumulate, order, fused, rounding, options)
    left, right = operand(a, "a"), operand(b, "b")
    values, marks = _product(plan, left, right, _thread_count(threads))
    return deliver(values, marks, (a, b), plan, dtype, out)


@dataclass(frozen=True)
class Carried:
    """A product that the vectorised loop can make, since binary32 or binary64 carries all that comes before a rounding.

    ``shift`` scales all values, half of it in each operand; ``bottom`` says that the accumulator's least normal has
    so become the carrier's; ``smooth`` that no sum is inexact and tiny, and none invalid.
    """

    plan: Plan
    carrier: str
    shift: int
    rounded: bool
    odd: bool
    bottom: bool
    smooth: bool

    @staticmethod
    def make(plan: Plan, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> Carried | None:
        """Return the arrangement for these operands, or None if there is none."""
        count = a.shape[-1]
        plain_formats = all(f.signed and f.zero and f.subnormals and f.has_nan for f in (plan.product, plan.accumulate))
        if plan.order.kind != "sequential" or count == 0 or not plain_formats:
            return None
        reach = _reach(a), _reach(b)
        scalable = _mostly_normal(a, b, plan.accumulate)
        for carrier in ("float32", "float64"):
            down = carrier_format(carrier).emin - plan.accumulate.emin
            for shift in [down, 0] if scalable or not down else [0]:
                found = Carried._fit(plan, carrier, shift, reach, count)
                if found is not None:
                    return found
        return None

    @staticmethod
    def _fit(plan: Plan, carrier: str, shift: int, reach: tuple[Reach, Reach], count: int) -> Carried | None:
        """The conditions of ``_core.gemm``, one after the other, for one carrier."""
        binary, fmt, mode = carrier_format(carrier), plan.accumulate, plan.request.projection.rounding
        x, y = reach
        bottom = shift == binary.emin - fmt.emin
        low, high, most = x.low + y.low, x.high + y.high + 1, x.most + y.most
        # 1. Operands and products are exact in the carrier.
        for part, moved in ((x, shift // 2), (y, shift - shift // 2)):
            if part.low + moved < binary.qmin or part.high + moved > binary.emax or part.most > binary.p:
                return None
        if most > binary.p or low + shift < binary.qmin or high + shift > binary.emax:
            return None
        # 2. Products need no rounding if all are values of their format.
        outer = plan.product
        kept = most <= outer.p and low >= outer.qmin and high <= outer.emax - 1 and not x.special + y.special
        rounded = not plan.fused and not (kept and outer.negative_zero >= fmt.negative_zero)
        if rounded and not carried_by(shifted(outer, shift), carrier):
            return None
        # 3. No sum leaves the carrier: terms are within the formats' ranges, or few and small.
        largest = min(high, outer.emax) if rounded else high
        nearest = mode in (Rounding.NEAREST_TIES_TO_EVEN, Rounding.NEAREST_TIES_TO_AWAY)
        growth = math.ceil(
            1.5 * (count + 1) * 2.0 ** ((0 if nearest else 1) - fmt.p)
        )  # (1 + u)^(k + 1) as a power of 2
        partial = max(high, fmt.emin, outer.emin) + count.bit_length() + growth + 1
        if max(min(partial, fmt.emax), largest) + 1 + shift >= binary.emax or not carried_by(
            shifted(fmt, shift), carrier
        ):
            return None
        # 4. How sums are rounded in the carrier.
        own = outer.p if rounded else most
        bits = plan.request.bits
        whole = outer.qmin >= fmt.qmin if rounded else low >= fmt.qmin  # below 2^emin such sums are exact
        finite = not rounded or high <= outer.emax - 1 or not outer.infinities
        smooth = bottom and whole and finite and not x.special + y.special
        if mode is NEAREST and not plan.flagged and (fmt.p == binary.p or (own <= fmt.p and 2 * fmt.p + 2 <= binary.p)):
            return Carried(plan, carrier, shift, rounded, False, bottom, smooth)
        if fmt.p + bits + 2 <= binary.p:
            return Carried(plan, carrier, shift, rounded, True, bottom, smooth)
        return None

    def scaled(self, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        """Both operands in the carrier, each with its half of the shift."""
        first = self.shift // 2
        return tuple(  # type: ignore[return-value]
            np.ascontiguousarray(np.ldexp(x, moved)).astype(self.carrier)
            for x, moved in ((a, first), (b, self.shift - first))
        )

    def run(
        self, a: Any, b: Any, out: np.ndarray[Any, Any], marks: np.ndarray[Any, Any], first: int, size: int
    ) -> None:
        """Some rows of one product: ``out`` gets its values, in ``plan.result``, and ``marks`` their marks."""
        plan, request = self.plan, self.plan.request
        projection = request.projection
        outer, inner = (
            carrier_target(shifted(f, self.shift), projection, request.nan, self.carrier, False)
            if f is plan.accumulate or self.rounded
            else None
            for f in (plan.product, plan.accumulate)
        )
        c = np.empty(out.shape, self.carrier)
        word = type(inner.drop)  # type: ignore[union-attr]
        adds = 0 if plan.fused else a.shape[1]
        state = np.uint64(request.state)
        settings = (inner if outer is None else outer, inner, word(request.bits), state, size, first, adds)
        if plan.flagged:
            seen = np.zeros(out.shape, word)
            core_gemm.flagged_loop(self.carrier, int(projection.rounding), self.rounded)(
                plain(a), plain(b), c, seen, *settings, self.smooth
            )
            marks[...] = seen
        else:
            alike = self.bottom and plan.product == plan.accumulate
            rounded = ("alike" if alike else "apart") if self.rounded else ""
            bottom = self.bottom and rounded != "apart"
            loop = core_gemm.product_loop(self.carrier, int(projection.rounding), rounded, self.odd, bottom)
            loop(plain(a), plain(b), c, *settings)
        out[...] = np.ldexp(c.astype(np.float64), -self.shift)
        if plan.result == plan.accumulate:
            return
        if projection.rounding.stochastic or plan.flagged or not plan.result.has_nan:
            rows, those = out.reshape(-1), marks.reshape(-1)
            last = adds + a.shape[1]
            core_gemm.finish_loop()(plain(rows), plan.step(plan.result), last, state, size, first, rows, those)
        else:
            project_array(out, request, out, coded=False)


class Reach(NamedTuple):
    """What :func:`floatemu._core.gemm.scan_loop` finds."""

    low: int
    high: int
    most: int
    special: int


def _reach(x: np.ndarray[Any, Any]) -> Reach:
    found = np.empty(4, np.int64)
    core_gemm.scan_loop()(plain(x.reshape(-1)).view(np.uint64), found)
    return Reach(*(int(v) for v in found))


def _mostly_normal(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], fmt: Format) -> bool:
    """Whether fewer than one in a thousand products of a sample are below the normal range; decides speed alone."""
    x, y = (np.abs(v.reshape(-1)[:: max(1, v.size // 128)]) for v in (a, b))
    with np.errstate(all="ignore"):
        products = np.multiply.outer(x[x > 0], y[y > 0])
    return bool(np.count_nonzero(products < float(fmt.min_normal)) * 1000 <= products.size)


@lru_cache(maxsize=512)
def shifted(fmt: Format, shift: int) -> Format:
    """The format with every value times 2^shift."""
    assert fmt.bias is not None
    return replace(fmt, bias=fmt.bias - shift)


def _thread_count(threads: Any) -> int:
    if isinstance(threads, (bool, np.bool_)) or not isinstance(threads, (int, np.integer)) or threads < 1:
        raise UnsupportedError(f"threads={threads!r} is not a positive integer")
    return int(threads)


def _fit(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> tuple[int, ...]:
    """Check the shapes of two operands with at least two axes each; return the shape of the leading axes."""
    if a.shape[-1] != b.shape[-2]:
        raise UnsupportedError(
            f"a of shape {a.shape} has rows of {a.shape[-1]} elements, b of shape {b.shape} columns of {b.shape[-2]}: "
            "they must be equal; transpose one"
        )
    try:
        return np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise UnsupportedError(
            f"the leading axes do not broadcast: a {a.shape}, b {b.shape}; insert axes of length 1 or reshape"
        ) from None


def _product(plan: Plan, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], threads: int) -> tuple[Any, Any]:
    """The product of binary64 operands, in binary64, and its marks, with the shape that ``numpy.matmul`` gives it."""
    for name, array in (("a", a), ("b", b)):
        if array.ndim == 0:
            raise UnsupportedError(f"{name} is a single number; matmul takes vectors and matrices, use mul")
    left = a[np.newaxis, :] if a.ndim == 1 else a
    right = b[:, np.newaxis] if b.ndim == 1 else b
    batch = _fit(left, right)
    m, n = left.shape[-2], right.shape[-1]
    values = np.empty((*batch, m, n), np.float64)
    marks = np.zeros(values.shape, np.uint16)
    fast = Carried.make(plan, left, right)
    if fast is not None:
        left, right = fast.scaled(left, right)
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    tasks = [
        (plan, fast, left[index], right[index], part, values[index], marks[index], position * m * n, values.size)
        for position, index in enumerate(np.ndindex(*batch))
        for part in _parts(m, threads)
    ]
    if values.size:
        if threads == 1:
            for task in tasks:
                _block(*task)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for done in [pool.submit(_block, *task) for task in tasks]:
                    done.result()
    shape = values.shape
    if a.ndim == 1:
        shape = (*shape[:-2], shape[-1])
    if b.ndim == 1:
        shape = shape[:-1]
    marks = marks.reshape(shape)
    refuse_nan(plan, marks)
    return values.reshape(shape), marks


def _parts(rows: int, threads: int) -> Iterator[slice]:
    """Slices of about equal length, one a thread."""
    bounds = [rows * t // threads for t in range(threads + 1)]
    for start, stop in pairwise(bounds):
        if start < stop:
            yield slice(start, stop)


def _block(
    plan: Plan, fast: Carried | None, a: Any, b: Any, part: slice, out: np.ndarray[Any, Any],
    marks: np.ndarray[Any, Any], first: int, size: int,
) -> None:  # fmt: skip
    """Some rows of one matrix product; ``first`` is the position of the product's element (0, 0)."""
    columns = out.shape[-1]
    kind = core.FUSED if plan.fused else core.PRODUCTS
    rows = out[part].reshape(-1)
    those = marks[part].reshape(-1)
    if fast is not None:
        fast.run(a[part], b, out[part], marks[part], first + part.start * columns, size)
        return
    execute(plan, kind, a[part], b.T, columns, ops.MUL, 1.0, size, first + part.start * columns, rows, those)


def conv2d(
    x: Any,
    weight: Any,
    fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dtype: Any = None,
    out: Any = None,
    **options: Any,
) -> Any:
    """Return the 2-D cross-correlation of images with filters, as one matrix product per image.

    The terms of one result are added in the order channel, row, column of the filter. Padding is with zeros,
    whose products are terms like others.

    Parameters
    ----------
    x : array_like
        Images, (images, channels, height, width). Taken as the exact values they have.
    weight : array_like
        Filters, (filters, channels, rows, columns).
    fmt, rounding, dtype, out
        As for :func:`matmul`.
    stride, padding : int or (int, int)
        Step between results and zeros added on each side, vertical first.
    **options
        All others of :func:`matmul`: ``product``, ``accumulate``, ``order``, ``fused``, ``threads``, ``flags`` ...

    Returns
    -------
    numpy.ndarray
        (images, filters, rows, columns). With ``flags=True`` also its flags.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`matmul`.

    Examples
    --------
    >>> from floatemu.gemm import conv2d
    >>> import numpy as np
    >>> image = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> conv2d(image, np.ones((1, 1, 2, 2)), "e4m3fn").tolist()
    [[[[8.0, 12.0], [20.0, 24.0]]]]
    """
    images, filters = operand(x, "x"), operand(weight, "weight")
    if images.ndim != 4 or filters.ndim != 4 or images.shape[1] != filters.shape[1]:
        raise UnsupportedError(
            f"x of shape {images.shape} and weight of shape {filters.shape} do not fit; accepted: "
            "(images, channels, height, width) and (filters, channels, rows, columns) with equal channels"
        )
    down, across = _pair(stride, "stride", 1)
    above, beside = _pair(padding, "padding", 0)
    padded = np.pad(images, ((0, 0), (0, 0), (above, above), (beside, beside)))
    window = filters.shape[2:]
    if any(w < 1 or w > s for w, s in zip(window, padded.shape[2:])):
        raise UnsupportedError(f"weight covers {window}, but x with its padding has {padded.shape[2:]}; pad more")
    patches = np.lib.stride_tricks.sliding_window_view(padded, window, (2, 3))[:, :, ::down, ::across]
    count, _, rows, columns = patches.shape[:4]
    terms = int(np.prod(filters.shape[1:]))
    right = patches.transpose(0, 1, 4, 5, 2, 3).reshape(count, terms, rows * columns)
    shape = (count, filters.shape[0], rows, columns)
    if out is not None:
        check_out(out, shape)
    kind = result_dtype([np.asarray(v).dtype for v in (x, weight)], get_format(fmt), dtype, out)
    flagged = bool(options.get("flags", False))
    found = matmul(filters.reshape(-1, terms), right, fmt, rounding, dtype=kind, **options)
    values, flags = found if flagged else (found, None)
    values = values.reshape(shape)
    if out is not None:
        out[...] = values
        values = out
    return (values, flags.reshape(shape)) if flags is not None else values


def _pair(value: Any, what: str, least: int) -> tuple[int, int]:
    given = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(given) != 2 or not all(isinstance(v, (int, np.integer)) and v >= least for v in given):
        raise UnsupportedError(f"{what}={value!r} is not one or two integers of at least {least}")
    return int(given[0]), int(given[1])
