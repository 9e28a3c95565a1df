"""Operation specializations by their written form: an operation with all of its formats, from codes to codes.

The standard recommends that an implementation answers whether a specialization exists, asked for by a text such as
``Exp<Binary8p3se, Binary8p4se, (NearestTiesToEven, SatFinite)>`` (P3109 v4.0, 4.5 and annex E).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from floatemu.codec import decode, encode
from floatemu.errors import FormatError, ProjectionError, UnsupportedError
from floatemu.format import Format
from floatemu.p3109_ops import blocks, formats, predicates
from floatemu.p3109_ops.engine import OPERATIONS, operate
from floatemu.p3109_ops.written import OF_A_FORMAT, PAIRS, QUERIES, SINGLE, read, signature
from floatemu.projection import Projection

_FACES = {name: getattr(predicates, name) for name in (*PAIRS, *SINGLE, "IsNormal", "IsSubnormal", "Class")}
_FACES |= {name: getattr(formats, name) for name in ("NextGreaterThan", "NextLessThan", *QUERIES)}


@dataclass(frozen=True)
class Specialization:
    """An operation with its formats and projection fixed; calling it takes codes and returns codes.

    Attributes
    ----------
    name : str
        The operation's name in the standard.
    operands : tuple of Format
        Of the operands in turn; a scale's comes before its element's.
    result : Format or None
        Of the result or its elements; None where that is no code.
    projection : Projection or None
        Of the result or its elements; None where nothing is projected.
    length : int or None
        B of an operation on blocks.
    scale, scale_projection : Format or None, Projection or None
        Of the scale of a result that is a block, and how it is made where the operation makes it.

    Examples
    --------
    >>> recip = specialization("Recip<Binary8p4se, Binary8p4se, (NearestTiesToEven, SatNone)>")
    >>> [hex(code) for code in recip([0x40, 0x00, 0x44])]  # of 1, 0 and 3/2
    ['0x40', '0x80', '0x3b']
    """

    name: str
    operands: tuple[Format, ...]
    result: Format | None = None
    projection: Projection | None = None
    length: int | None = None
    scale: Format | None = None
    scale_projection: Projection | None = None

    def __call__(
        self, *codes: Any, random: Any = None, seed: int | None = None, stream: int = 0, scale_random: Any = None
    ) -> Any:
        """Return the result for operands given by their codes.

        Parameters
        ----------
        *codes : array_like of int, or pairs of them
            One for each operand; of a block the pair (scales, elements); none for a query of a format. Where the
            caller chooses the scale of a block that results, its codes come last.
        random : array_like of int, optional
            R of a stochastic projection; else ``seed`` and ``stream`` as for :func:`~floatemu.round`.
        seed, stream : int
        scale_random : array_like of int, optional
            R of a stochastic projection of the scale; else ``seed`` and ``stream + 1``.

        Returns
        -------
        numpy.ndarray, scalar or Block
            Codes in the smallest unsigned dtype; booleans or names of classes of predicates; int or str of queries.

        Raises
        ------
        UnsupportedError
            If the number of operands or of a block's elements is wrong.
        FormatError
            If a code is out of range.
        """
        if self.name in QUERIES:
            self._expect(0, codes)
            return _FACES[self.name](self.operands[0])
        drawn: dict[str, Any] = {"random": random, "seed": seed, "stream": stream}
        if self.length is not None:
            return self._of_blocks(codes, drawn, scale_random)
        self._expect(len(self.operands), codes)
        values = [decode(given, fmt) for given, fmt in zip(codes, self.operands)]
        if self.projection is None:
            given = self.operands if self.name in OF_A_FORMAT else ()
            result = _FACES[self.name](*values, *given)
            return result if self.result is None else encode(result, self.result)
        assert self.result is not None
        rounding, options = self.projection.rounding, self._options(self.projection) | drawn
        if self.name in OPERATIONS:
            result = operate(OPERATIONS[self.name], tuple(values), self.result, rounding, options)
        else:
            scaled = blocks.scaled_operation(self.name.removeprefix("Scaled"))
            result = scaled(*values, self.result, rounding, **options)
        return encode(result, self.result)

    @staticmethod
    def _options(projection: Projection) -> dict[str, Any]:
        return {"saturation": projection.saturation, "random_bits": projection.random_bits, "dtype": np.float64}

    def _expect(self, count: int, codes: tuple[Any, ...]) -> None:
        if len(codes) != count:
            raise UnsupportedError(f"{self.name} takes {count} operands by their codes; given {len(codes)}")

    def _of_blocks(self, codes: tuple[Any, ...], drawn: dict[str, Any], scale_random: Any) -> Any:
        """Decode blocks, apply the operation, encode a block or the single results."""
        assert self.result is not None
        assert self.projection is not None
        values = self._block_operands(codes)
        options = self._options(self.projection) | drawn
        by: tuple[Any, ...] = (self.result, self.projection.rounding)
        if self.scale_projection is not None:
            assert self.scale is not None
            by = (self.result, self.scale, self.projection.rounding)
            given = {"random": scale_random, "seed": drawn["seed"], "stream": drawn["stream"] + 1}
            options |= {
                "scale_rounding": self.scale_projection.rounding,
                "scale_saturation": self.scale_projection.saturation,
                "scale_options": given | {"random_bits": self.scale_projection.random_bits},
            }
        plain = self.name.removeprefix("Block")
        face = blocks.block_operation(plain) if plain in OPERATIONS else getattr(blocks, self.name)
        result = face(*values, *by, **options)
        if self.scale is None:
            return encode(result, self.result)
        return blocks.Block(encode(result.scale, self.scale), encode(result.elements, self.result))

    def _block_operands(self, codes: tuple[Any, ...]) -> list[Any]:
        """Blocks or plain elements, then the scale of the result if the caller chooses it."""
        scaled = "s" in signature(self.name)
        count = len(self.operands) // 2 if scaled else 1
        chosen = self.scale is not None and self.scale_projection is None
        self._expect(count + chosen, codes)
        values: list[Any] = []
        for i, given in enumerate(codes[:count]):
            if scaled:
                if not isinstance(given, (tuple, list)) or len(given) != 2:
                    raise UnsupportedError(f"operand {i + 1} of {self.name} is no block; give (scale, elements) codes")
                values.append(blocks.Block(*(decode(part, fmt) for part, fmt in zip(given, self.operands[2 * i :]))))
            else:
                values.append(decode(given, self.operands[0]))
            elements = np.shape(values[-1][1] if scaled else values[-1])
            if not elements or elements[-1] != self.length:
                raise UnsupportedError(f"{self.name} is for blocks of {self.length} elements; given shape {elements}")
        if chosen:
            assert self.scale is not None
            values.append(decode(codes[-1], self.scale))
        return values


def specialization(text: str) -> Specialization:
    """Return the specialization that a text names, if there is one.

    Parameters
    ----------
    text : str
        ``Name<format, ..., format, (rounding, saturation)>``, formats in the order of the operands and that of the
        result last, as in the standard. Predicates have no result, queries and neighbours one format; ``Scaled...``
        operations ``(scale format, element format)`` for each operand; ``Block...`` operations before these the
        number of elements, and before the result's format that of its scale. A stochastic mode is followed by its
        count of bits, as ``StochasticA(8)``.

    Returns
    -------
    Specialization

    Raises
    ------
    UnsupportedError
        If the text names no operation here, or not the arguments that it has.
    FormatError, ProjectionError
        If it names no format or no mode of the standard.

    Examples
    --------
    >>> exp = specialization("Exp<Binary8p3se, Binary8p4se, (NearestTiesToEven, SatFinite)>")
    >>> hex(exp(0x40)), specialization("MaxFiniteOf<Binary8p4se>")()
    ('0x4b', 126)
    >>> dot = specialization(
    ...     "BlockDotProduct<2, Binary8p1uf, Binary4p2sf, Binary8p1uf, Binary4p2sf, binary32, (ToOdd, SatNone)>"
    ... )
    >>> hex(dot((0x80, [4, 5]), (0x81, [4, 4])))  # 1 (1, 3/2) times 2 (1, 1) is 5
    '0x40a00000'
    """
    name, found = read(text)
    result = found.operands[0] if name.startswith("Next") else found.result
    operands = tuple(found.operands)
    return Specialization(name, operands, result, found.projection, found.length, found.scale, found.scale_projection)


def exists(text: str) -> bool:
    """Whether a specialization exists here: the query that the standard recommends.

    Parameters
    ----------
    text : str
        As for :func:`specialization`.

    Returns
    -------
    bool

    Examples
    --------
    >>> exists("Exp<Binary8p3se, Binary8p4se, (NearestTiesToEven, SatFinite)>")
    True
    >>> exists("Pow<Binary8p3se, Binary8p3se, Binary8p4se, (NearestTiesToEven, SatFinite)>")
    False
    """
    try:
        specialization(text)
    except (UnsupportedError, FormatError, ProjectionError):
        return False
    return True
