"""Block operations of P3109 v4.0 (section 5): elements that share a scale.

A :class:`Block` holds values: elements of shape (..., B) and scales of shape (...). What it stands for is the exact
product of each element with its scale. Reductions and products round once, from the exact sum. An element-wise
operation divides its exact result by the scale that the caller wants and projects the quotient, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from floatemu.arithmetic import div
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.p3109_ops.engine import (
    OPERATIONS,
    Array,
    Into,
    Rule,
    decoded,
    finished,
    into,
    number_of_operands,
    products,
    significant_bits,
)
from floatemu.p3109_ops.extrema import MaximumFinite
from floatemu.projection import Projection, Rounding, Saturation

NEAREST = Rounding.NEAREST_TIES_TO_EVEN
ODD = Format("odd50", k=61, p=50, high_nans=2**49 - 1)
"""Exact results on their way to a division by a scale: rounded to odd, to 50 bits and binary64's exponents.

The quotient V / S of a result V goes the one way or the other at a value or a breakpoint b of the result format, which
has at most p + N + 1 bits (N random bits): as V lies below, at or above b S. If S has q bits, b S has at most
p + N + 1 + q; up to 49 of them the number rounded to odd lies on the same side of b S as V itself.
"""
ODD_BITS = ODD.p - 1
TO_ODD = Projection(Rounding.TO_ODD, Saturation.SAT_PROPAGATE)


class Block(NamedTuple):
    """Elements and the scale that they share.

    Attributes
    ----------
    scale : array_like
        Values of shape (...).
    elements : array_like
        Values of shape (..., B).

    Examples
    --------
    >>> BlockDecode(Block(4.0, [1.5, -2.0, 0.5])).tolist()
    [6.0, -8.0, 2.0]
    """

    scale: Any
    elements: Any


def _parts(block: Any, name: str) -> tuple[Array, Array]:
    """Scales with a last axis of length 1, and elements."""
    if not isinstance(block, (tuple, list)) or len(block) != 2:
        raise UnsupportedError(f"{name} = {block!r} is no block; give Block(scale, elements)")
    scale, elements = decoded(block[0], f"{name}.scale"), decoded(block[1], f"{name}.elements")
    scale, elements = np.asarray(scale), np.asarray(elements)
    if elements.shape[:-1] != scale.shape or elements.ndim < 1 or elements.shape[-1] < 1:
        raise UnsupportedError(
            f"{name}: scales of shape {scale.shape} and elements of shape {elements.shape}; elements have one axis "
            "more, of at least one element, and otherwise the same shape"
        )
    return scale[..., None], elements


def BlockDecode(block: Any) -> Array:
    """Return the exact product of each element with its scale; NaN for 0 times an infinity.

    Parameters
    ----------
    block : Block

    Returns
    -------
    numpy.ndarray of float64
        Shape of the elements.

    Raises
    ------
    UnsupportedError
        If binary64 does not hold a product: never where scales and elements have at most 26 bits and 2^+-500.

    Examples
    --------
    >>> BlockDecode(Block([2.0, float("inf")], [[1.0, -3.0], [0.0, -1.0]])).tolist()
    [[2.0, -6.0], [nan, -inf]]
    """
    return products(*_parts(block, "block")) + 0.0


def BlockProject(scale: Any, x: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return elements of a block of that scale: X / S, projected.

    NaN where S or X is; else 0 where S = 0; else the product of the signs (1, 0 or -1) where S is infinite.

    Parameters
    ----------
    scale : array_like
        Values of shape (...).
    x : array_like
        Values of shape (..., B).
    fmt, rounding, **options
        Format and projection of the elements, as for every operation.

    Returns
    -------
    numpy.ndarray
        Shape of x, values.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for every operation; shapes that do not fit.

    Examples
    --------
    >>> BlockProject(64.0, [3.5, -48.0, float("inf")], "binary4p2sf").tolist()
    [0.0, -0.75, 3.0]
    >>> BlockProject(float("inf"), [3.5, 0.0, float("-inf")], "binary4p2sf").tolist()
    [1.0, 0.0, -1.0]
    """
    scales, values = _parts((scale, x), "block")
    where, out = into((x,), fmt, rounding, options)
    return finished(_scaled(where, values, scales), (values,), out)


def _scaled(to: Into, values: Array, scales: Array) -> Array:
    """Values, exact or rounded to odd, divided by scales and projected."""
    scales = np.broadcast_to(scales, values.shape)
    unknown, endless = np.isnan(scales) | np.isnan(values), np.isinf(scales)
    with np.errstate(invalid="ignore"):  # the sign of NaN
        signs = np.sign(values) * np.sign(scales)
    divided = np.select([unknown, scales == 0, endless], [np.nan, 0.0, signs], values)
    return to(div, divided, np.where(unknown | endless | (scales == 0), 1.0, scales))


def ConvertFromBlock(block: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the values that a block stands for, each projected.

    Parameters
    ----------
    block : Block
    fmt, rounding, **options
        Format and projection of the results, as for every operation.

    Returns
    -------
    numpy.ndarray
        Shape of the elements, values.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for every operation and :func:`BlockDecode`.

    Examples
    --------
    >>> ConvertFromBlock(Block(64.0, [3.0, -0.75]), "binary8p4se").tolist()
    [192.0, -48.0]
    """
    values = BlockDecode(block)
    where, out = into((block[1],), fmt, rounding, options)
    return finished(where.of(values), (values,), out)


def ConvertToBlock(x: Any, scale: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Block:
    """Return the block of that scale whose elements are X / S, projected as :func:`BlockProject` does.

    Parameters
    ----------
    x : array_like
        Values of shape (..., B).
    scale : array_like
        Values of shape (...).
    fmt, rounding, **options
        Format and projection of the elements, as for every operation.

    Returns
    -------
    Block

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`BlockProject`.

    Examples
    --------
    >>> ConvertToBlock([3.5, -48.0, 0.0], 64.0, "binary4p2sf")
    Block(scale=np.float64(64.0), elements=array([ 0.  , -0.75,  0.  ]))
    """
    elements = BlockProject(scale, x, fmt, rounding, **options)
    return Block(finished(np.array(decoded(scale, "scale")), (scale,)), elements)


def ConvertToBlockMaxAbsFinite(
    x: Any,
    fmt: Format | str,
    scale_fmt: Format | str,
    rounding: Rounding | str = NEAREST,
    *,
    scale_rounding: Rounding | str = NEAREST,
    scale_saturation: Saturation | str = Saturation.SAT_NONE,
    scale_options: dict[str, Any] | None = None,
    **options: Any,
) -> Block:
    """Return the block whose scale is the greatest finite magnitude among the elements, projected.

    An infinite magnitude is taken if no finite one is there, NaN if all are NaN. The scale is not divided by the
    greatest element, as OCP MX and NVFP4 do: elements come out within about -1 .. 1.

    Parameters
    ----------
    x : array_like
        Values of shape (..., B).
    fmt, rounding, **options
        Format and projection of the elements, as for every operation.
    scale_fmt, scale_rounding, scale_saturation : Format or str, Rounding or str, Saturation or str
        Format and projection of the scale.
    scale_options : dict, optional
        ``random_bits``, ``random``, ``seed``, ``stream`` of the scale's projection.

    Returns
    -------
    Block

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for :func:`BlockProject`.

    Examples
    --------
    >>> x = [3.5, -48.0, 0.0, 0.3125, 10.0]
    >>> block = ConvertToBlockMaxAbsFinite(x, "binary4p2sf", "binary8p1uf", scale_rounding="TowardPositive")
    >>> float(block.scale), block.elements.tolist()
    (64.0, [0.0, -0.75, 0.0, 0.0, 0.25])
    """
    values = np.asarray(decoded(x, "x"))
    if values.ndim < 1 or values.shape[-1] < 1:
        raise UnsupportedError(f"x has shape {values.shape}; a block has at least one element along the last axis")
    sizes = abs(values)
    finite = np.where(np.isfinite(sizes), sizes, -1.0).max(axis=-1)
    infinite = np.where(np.isinf(sizes).any(axis=-1), np.inf, np.nan)
    largest = np.where(finite >= 0, finite, infinite)
    scale = MaximumFinite(
        largest, np.nan, scale_fmt, scale_rounding, saturation=scale_saturation, **(scale_options or {})
    )
    return ConvertToBlock(x, scale, fmt, rounding, **options)


# Reductions -----------------------------------------------------------------------------------------------------------


def BlockReduceAdd(block: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the exact sum of the values that a block stands for, projected once.

    Parameters
    ----------
    block : Block
    fmt, rounding, **options
        Format and projection of the result, as for every operation.

    Returns
    -------
    numpy.ndarray or scalar
        Shape of the scales, values.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for every operation and :func:`BlockDecode`.

    Examples
    --------
    >>> BlockReduceAdd(Block(1.0, [224.0, 224.0, -224.0, 1.0]), "binary8p4se").item()
    224.0
    """
    values = BlockDecode(block)
    where, out = into((block[1],), fmt, rounding, options)
    return finished(where.total(values), (block[0],), out)


def BlockReduceMultiply(block: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the exact product of the values that a block stands for, projected once.

    Parameters
    ----------
    block : Block
    fmt, rounding, **options
        Format and projection of the result, as for every operation.

    Returns
    -------
    numpy.ndarray or scalar
        Shape of the scales, values.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for every operation and :func:`BlockDecode`.

    Examples
    --------
    >>> BlockReduceMultiply(Block(2.0, [1.5, -0.25, 224.0, 0.0625]), "binary8p4se").item()  # -84 is a tie
    -80.0
    """
    values = BlockDecode(block)
    where, out = into((block[1],), fmt, rounding, options)
    return finished(where.product(values), (block[0],), out)


def BlockDotProduct(x: Any, y: Any, fmt: Format | str, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
    """Return the exact sum of the products of what two blocks stand for, projected once.

    Parameters
    ----------
    x, y : Block
        Of equally many elements; scales broadcast.
    fmt, rounding, **options
        Format and projection of the result, as for every operation.

    Returns
    -------
    numpy.ndarray or scalar
        Shape of the scales, values.

    Raises
    ------
    FormatError, ProjectionError, UnsupportedError
        As for every operation and :func:`BlockDecode`; blocks of different lengths.

    Examples
    --------
    >>> BlockDotProduct(Block(4.0, [1.5, -2.0, 0.5]), Block(0.5, [3.0, 1.5, 0.25]), "binary8p4se").item()
    3.25
    """
    first, second = _aligned([BlockDecode(x), BlockDecode(y)])
    where, out = into((x[1], y[1]), fmt, rounding, options)
    return finished(where.total(first, second), (x[0], y[0]), out)


def _aligned(values: list[Array]) -> list[Array]:
    """Decoded blocks of one shape."""
    lengths = {x.shape[-1] for x in values}
    try:
        if len(lengths) == 1:
            return list(np.broadcast_arrays(*values))
    except ValueError:
        pass
    raise UnsupportedError(
        f"blocks of shapes {', '.join(str(x.shape) for x in values)}; all need equally many elements along the last "
        "axis, and other axes that broadcast"
    )


# Element-wise operations ----------------------------------------------------------------------------------------------


def block_operation(name: str) -> Callable[..., Block]:
    """Return the block form of an operation: ``BlockAdd(x, y, scale, fmt, rounding, **options)`` of "Add".

    Parameters
    ----------
    name : str
        A name from :data:`OPERATIONS`, such as "Add", "FMA" or "Exp".

    Returns
    -------
    callable
        Takes as many blocks as the operation has operands, the scale that the result shall have, and the format and
        projection of the result's elements; returns a Block.

    Raises
    ------
    UnsupportedError
        If there is no such operation. The callable: where 50 bits do not carry the quotient by the scale, that is
        for p + N + q > 48, with p bits and N random bits of the elements, and q of the scale.

    Examples
    --------
    >>> double = block_operation("Add")
    >>> x = Block(2.0, [1.5, -3.0])
    >>> double(x, x, 4.0, "binary4p2sf")
    Block(scale=np.float64(4.0), elements=array([ 1.5, -3. ]))
    """
    rule, count = _rule(name), number_of_operands(name)

    def run(*given: Any, rounding: Rounding | str = NEAREST, **options: Any) -> Block:
        if len(given) == count + 3:
            *given, rounding = given  # type: ignore[assignment]
        if len(given) != count + 2:
            raise UnsupportedError(
                f"Block{name} takes {count} block{'s' * (count > 1)}, the result's scale and its elements' format; "
                f"given {len(given)} arguments"
            )
        *blocks, scale, fmt = given
        values = _aligned([BlockDecode(block) for block in blocks])
        to, out = into(tuple(block[1] for block in blocks), fmt, rounding, options)
        scales = np.asarray(decoded(scale, "scale"))
        scales = np.broadcast_to(scales[..., None] if scales.ndim else scales, values[0].shape)
        _check(to, scales, name)
        elements = _scaled(to, rule(Into(ODD, TO_ODD), *values), scales)
        return Block(finished(np.array(decoded(scale, "scale")), (scale,)), finished(elements, (values[0],), out))

    run.__name__ = run.__qualname__ = f"Block{name}"
    run.__doc__ = f"{name} of what blocks stand for, as a block of the given scale; see block_operation."
    return run


def scaled_operation(name: str) -> Callable[..., Any]:
    """Return the scaled form of an operation: ``ScaledAdd(s1, x1, s2, x2, fmt, rounding, **options)`` of "Add".

    Parameters
    ----------
    name : str
        A name from :data:`OPERATIONS`, such as "Add", "FMA" or "Exp".

    Returns
    -------
    callable
        Takes a scale and an element for each operand of the operation, arrays that broadcast, and the format and
        projection of the result; returns values.

    Raises
    ------
    UnsupportedError
        If there is no such operation.

    Examples
    --------
    >>> scaled_operation("Multiply")(8.0, 1.5, 0.5, -3.0, "binary8p4se").item()
    -18.0
    """
    rule, count = _rule(name), number_of_operands(name)

    def run(*given: Any, rounding: Rounding | str = NEAREST, **options: Any) -> Any:
        if len(given) == 2 * count + 2:
            *given, rounding = given  # type: ignore[assignment]
        if len(given) != 2 * count + 1:
            raise UnsupportedError(
                f"Scaled{name} takes {count} scale{'s' * (count > 1)}, each followed by an element, and the result's "
                f"format; given {len(given)} arguments"
            )
        *pairs, fmt = given
        arrays = [decoded(x, "scale" if i % 2 == 0 else "element") for i, x in enumerate(pairs)]
        values = [products(*np.broadcast_arrays(*arrays[i : i + 2])) + 0.0 for i in range(0, 2 * count, 2)]
        to, out = into(tuple(pairs[1::2]), fmt, rounding, options)
        return finished(rule(to, *np.broadcast_arrays(*values)), tuple(pairs), out)

    run.__name__ = run.__qualname__ = f"Scaled{name}"
    run.__doc__ = f"{name} of elements times scales; see scaled_operation."
    return run


def _rule(name: str) -> Rule:
    if name not in OPERATIONS:
        raise UnsupportedError(f"{name!r} is no operation with a block form; accepted: {', '.join(OPERATIONS)}")
    return OPERATIONS[name]


def _check(to: Into, scales: Array, name: str) -> None:
    """Refuse scales by which a result rounded to odd may not be divided."""
    ordinary = scales[np.isfinite(scales) & (scales != 0)]
    if not ordinary.size:
        return
    need = to.fmt.p + to.bits + 1 + significant_bits(ordinary)
    reach = int(abs(np.frexp(ordinary)[1]).max()) + 2
    # What overflows or underflows in ODD must do so in the result's format too, after the division.
    if need > ODD_BITS or ODD.emin + reach > to.fmt.qmin - to.bits - 3 or ODD.emax - reach <= to.fmt.emax:
        raise UnsupportedError(
            f"Block{name} into {to.fmt.name} with these scales needs {need} bits and exponents to 2^{reach}, of "
            f"{ODD_BITS} bits and 2^1000: use fewer random bits, or scales with fewer bits, such as powers of two"
        )
