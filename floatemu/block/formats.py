"""THE TABLES of block formats and of scale rules, one literal each, and look-up by name.

A block format says how a stored block is read: the elements' format, which numbers share a scale, the scale's format.
A scale rule says how the scale is chosen from the largest magnitude of a block. Every rule of practice is a quotient
that is rounded, so a rule is a few words of data and has no code of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

from floatemu.errors import FormatError
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.projection import Rounding, as_rounding

Formula = Literal["exact", "divide", "multiply"]
FORMULAS = ("exact", "divide", "multiply")
Block = int | tuple[int, int] | Literal["row", "tensor"]

MOST_ELEMENT, MOST_SCALE = 16, 32
"""Bits of an element and of a scale: their product, and a binary32 scale of the whole array, fit binary64."""


@dataclass(frozen=True)
class ScaleRule:
    """How a block's scale is chosen from amax, its largest magnitude.

    The quotient q of amax by a divisor d is rounded, once for each step that is asked for:
    q = amax / (d * outer), then with ``even`` to the element's precision (to nearest, ties to even, no end to the
    exponent), with ``power`` to a power of two, and at last into the scale's format, saturating; the last two by
    ``rounding``.

    Attributes
    ----------
    name : str
    divisor : str
        ``max``: the largest value of the elements; ``power``: the largest power of two among them, 2^emax.
    rounding : Rounding or str
        Not a stochastic mode.
    power : bool
        Whether scales are powers of two in any format, as with E8M0 they always are.
    even : bool
    formula : str
        ``exact``: the quotient as a real number. ``divide``: fl(fl(amax / d) / outer). ``multiply``:
        fl(amax * fl(fl(1 / outer) * fl(1 / d))). fl rounds to binary32, or to binary64 for what binary32 does not hold.
    source : str
        Where the rule comes from.

    Raises
    ------
    FormatError
        If a word is unknown.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.block.RULES["EVEN"].even, fe.block.RULES["RCEIL"].rounding.name
    (True, 'TOWARD_POSITIVE')
    """

    name: str
    divisor: Literal["max", "power"] = "max"
    rounding: Rounding | str = Rounding.NEAREST_TIES_TO_EVEN
    power: bool = False
    even: bool = False
    formula: Formula = "exact"
    source: str = ""

    def __post_init__(self) -> None:
        mode = as_rounding(self.rounding)
        object.__setattr__(self, "rounding", mode)
        if mode.stochastic:
            raise FormatError(f"{self.name}: a scale is not rounded by {mode.name}; use a deterministic mode")
        for what, value, accepted in (
            ("divisor", self.divisor, ("max", "power")),
            ("formula", self.formula, FORMULAS),
        ):
            if value not in accepted:
                raise FormatError(f"{self.name}: {what} = {value!r} is none of {', '.join(accepted)}")


_RULES: tuple[ScaleRule, ...] = (
    ScaleRule("FLOOR", "power", "TOWARD_ZERO", power=True, source="OCP Microscaling (MX) 1.0, section 6.3"),
    ScaleRule("CEIL", "power", "TOWARD_POSITIVE", power=True, source="torchao ScaleCalculationMode.CEIL"),
    ScaleRule("EVEN", "power", "TOWARD_ZERO", power=True, even=True, source="torchao ScaleCalculationMode.EVEN; Quark"),
    ScaleRule("RCEIL", "max", "TOWARD_POSITIVE", power=True, source="cuBLAS and cuDNN: round_up(amax / max)"),
    ScaleRule("RCEIL_DIVIDE", "max", "TOWARD_POSITIVE", True, formula="divide", source="torchao RCEIL"),
    ScaleRule("RCEIL_MULTIPLY", "max", "TOWARD_POSITIVE", True, formula="multiply", source="Transformer Engine, MXFP8"),
    ScaleRule("NEAREST", "max", source="amax / max in the scale's format"),
    ScaleRule("NEAREST_DIVIDE", "max", formula="divide", source="torchao nvfp4_quantize; DeepSeek-V3 for binary32"),
    ScaleRule("NEAREST_MULTIPLY", "max", formula="multiply", source="Transformer Engine, NVFP4"),
    ScaleRule("UP", "max", "TOWARD_POSITIVE", source="cuDNN BlockScaling: quantize_round_up(amax / vmax)"),
)

RULES = MappingProxyType({rule.name: rule for rule in _RULES})
"""Read-only mapping from name to :class:`ScaleRule`."""


def get_rule(rule: ScaleRule | str) -> ScaleRule:
    """Return the scale rule of that name, in any case; a :class:`ScaleRule` is returned as it is.

    Raises
    ------
    FormatError
        If nothing has that name.
    """
    if isinstance(rule, ScaleRule):
        return rule
    found = RULES.get(rule.upper()) if isinstance(rule, str) else None
    if found is None:
        raise FormatError(f"no scale rule is named {rule!r}; accepted: a ScaleRule, or {', '.join(RULES)}")
    return found


_INTEGER = re.compile(r"int(\d{1,2})")


def _integer(name: Any) -> Format | None:
    """The values i 2^(2-k), |i| < 2^(k-1), as sign and magnitude: with one exponent bit all have the same quantum."""
    match = _INTEGER.fullmatch(name) if isinstance(name, str) else None
    if match is None or not 3 <= int(match[1]) <= MOST_ELEMENT:
        return None
    k = int(match[1])
    return Format(name, k=k, p=k - 1, bias=1, infinities=False)


@dataclass(frozen=True)
class BlockFormat:
    """Elements of a narrow format in blocks that share a scale.

    A stored number is element * scale * outer, exactly.

    Attributes
    ----------
    name : str
        Used in messages; two that differ in name alone are equal in all else.
    element : Format or str
        At most 16 bits, signed, with zero. ``int8`` (``int3`` .. ``int16``): two's complement integers times 2^(2-k),
        as OCP's MXINT8; the code -2^(k-1) is read, but never made.
    block : int, (int, int), "row" or "tensor"
        n: n numbers along the quantized axis. (m, n): m by n, m along the axis before it (of axis 0: after it).
        ``row``: all along the axis. ``tensor``: all of the array.
    scale : Format or str
        Of the scales: at most 32 bits, values that binary32 holds.
    rule : str or ScaleRule
        The scale rule unless another is asked for.
    outer : Format or str, optional
        ``binary32`` where a scale of the whole array stands over the blocks' (NVFP4).
    integer : bool
        Whether codes are two's complement; set by the name ``int8``.

    Raises
    ------
    FormatError
        If the parts do not fit together.

    Examples
    --------
    >>> import floatemu as fe
    >>> mine = fe.BlockFormat("mine", "e3m2fn", 64, "bfloat16", rule="NEAREST")
    >>> mine.element.name, mine.scale.name, mine.bits_per_number
    ('e3m2fn', 'bfloat16', 6.25)
    """

    name: str
    element: Any
    block: Block
    scale: Any = "e8m0fnu"
    rule: Any = "FLOOR"
    outer: Any = None
    integer: bool = False

    def __post_init__(self) -> None:
        integer = _integer(self.element)
        object.__setattr__(self, "integer", self.integer or integer is not None)
        object.__setattr__(self, "element", integer or get_format(self.element))
        object.__setattr__(self, "scale", get_format(self.scale))
        object.__setattr__(self, "outer", None if self.outer is None else get_format(self.outer))
        object.__setattr__(self, "rule", get_rule(self.rule))
        self._check_block()
        single, (e, s) = get_format("binary32"), (self.element, self.scale)
        if e.k > MOST_ELEMENT or not (e.signed and e.zero and single.holds(e)):
            raise FormatError(
                f"{self.name}: {e.describe()} cannot be an element: at most {MOST_ELEMENT} bits, signed, with zero, "
                "and values that binary32 holds"
            )
        if s.k > MOST_SCALE or not single.holds(s):
            raise FormatError(
                f"{self.name}: {s.describe()} cannot be a scale: at most {MOST_SCALE} bits, and values "
                "that binary32 holds"
            )
        if self.outer is not None and (self.outer != single or e.p + s.p > 29):
            raise FormatError(
                f"{self.name}: outer = {self.outer.name}; a scale over {e.p} + {s.p} bits of element and scale is "
                "binary32, and their product, of at most 53 bits, must be a binary64 number"
            )
        if self.integer and (e.exponent_bits != 1 or not e.negative_zero or e.has_nan or e.infinities):
            raise FormatError(
                f"{self.name}: integer=True needs an element like int8, without exponent; given {e.describe()}"
            )

    def _check_block(self) -> None:
        sizes = self.block if isinstance(self.block, tuple) else (self.block,)
        if self.block in ("row", "tensor"):
            return
        if len(sizes) > 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
            raise FormatError(
                f"{self.name}: block = {self.block!r}; accepted: a positive integer, two of them, 'row' or 'tensor'"
            )
        if sizes[0] == 1 and len(sizes) == 2:
            object.__setattr__(self, "block", sizes[1])

    @cached_property
    def bits_per_number(self) -> float:
        """Bits of storage for a number with its share of a scale, if that of a row or an array is taken to be 0."""
        sizes = self.block if isinstance(self.block, tuple) else (self.block,)
        count = 1
        for n in sizes:
            count = count * n if isinstance(n, int) else 0
        return float(self.element.k + (self.scale.k / count if count else 0))

    def describe(self) -> str:
        """Return one line of what the format is made of.

        Examples
        --------
        >>> import floatemu as fe
        >>> fe.block.FORMATS["nvfp4"].describe()
        'nvfp4: e2m1fn, 16 a block, scale e4m3fn, NEAREST, over a binary32 scale of the array'
        """
        block = f"{self.block} a block"
        if isinstance(self.block, tuple):
            block = f"{self.block[0]}x{self.block[1]} a block"
        elif isinstance(self.block, str):
            block = f"one block a {self.block}"
        outer = "" if self.outer is None else f", over a {self.outer.name} scale of the array"
        return f"{self.name}: {self.element.name}, {block}, scale {self.scale.name}, {self.rule.name}{outer}"


_FORMATS: tuple[tuple[BlockFormat, str], ...] = (
    # OCP Microscaling (MX) 1.0, table 1, and INT8 of section 5.3.4.
    (BlockFormat("mxfp8_e4m3", "e4m3fn", 32), "mxfp8 mxfp8_e4m3fn"),
    (BlockFormat("mxfp8_e5m2", "e5m2", 32), ""),
    (BlockFormat("mxfp6_e2m3", "e2m3fn", 32), "mxfp6_e2m3fn"),
    (BlockFormat("mxfp6_e3m2", "e3m2fn", 32), "mxfp6_e3m2fn"),
    (BlockFormat("mxfp4", "e2m1fn", 32), "mxfp4_e2m1 mxfp4_e2m1fn"),
    (BlockFormat("mxint8", "int8", 32), ""),
    # NVIDIA: scales of both levels; outer=1 in quantize leaves the second out.
    (BlockFormat("nvfp4", "e2m1fn", 16, "e4m3fn", "NEAREST", "binary32"), "nvfp4_e2m1"),
    # FP8 with binary32 scales; the blocks of DeepSeek-V3 (arXiv 2412.19437, section 3.3.2).
    (BlockFormat("fp8_tensor", "e4m3fn", "tensor", "binary32", "NEAREST"), ""),
    (BlockFormat("fp8_row", "e4m3fn", "row", "binary32", "NEAREST"), ""),
    (BlockFormat("fp8_1x128", "e4m3fn", 128, "binary32", "NEAREST"), ""),
    (BlockFormat("fp8_128x128", "e4m3fn", (128, 128), "binary32", "NEAREST"), ""),
)

FORMATS = MappingProxyType({fmt.name: fmt for fmt, _ in _FORMATS})
"""Read-only mapping from name to :class:`BlockFormat`, in the table's order."""

ALIASES = MappingProxyType({fmt.name: tuple(words.split()) for fmt, words in _FORMATS})
"""Read-only mapping from name to the aliases written in the table."""


def get_block_format(name: BlockFormat | str) -> BlockFormat:
    """Return the block format of that name or alias; a :class:`BlockFormat` is returned as it is.

    Parameters
    ----------
    name : str or BlockFormat
        Case does not matter.

    Returns
    -------
    BlockFormat

    Raises
    ------
    FormatError
        If nothing has that name.

    Examples
    --------
    >>> import floatemu as fe
    >>> fe.block.get_block_format("MXFP8").name
    'mxfp8_e4m3'
    """
    if isinstance(name, BlockFormat):
        return name
    key = name.strip().lower().replace("-", "_") if isinstance(name, str) else ""
    for fmt, words in _FORMATS:
        if key == fmt.name or key in words.split():
            return fmt
    raise FormatError(
        f"no block format is named {name!r}; accepted: a BlockFormat, or {', '.join(FORMATS)} "
        "(`floatemu formats` lists them)"
    )
