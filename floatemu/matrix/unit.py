"""One row of the hardware table: what an instruction family takes and gives, how it adds, and how we know."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from floatemu.format import Format
from floatemu.matrix.amd import Exact, PairwiseFlush, TwoStage
from floatemu.matrix.steps import Chain, Fused, Integers

Arithmetic = Fused | Chain | Integers | Exact | PairwiseFlush | TwoStage


class Evidence(enum.Enum):
    """How a row is known to be right, best first."""

    SILICON = "silicon vectors"
    """Results of real devices are public, and the model reproduces them."""
    DISASSEMBLY = "disassembly"
    """The instruction is emulated in software that a disassembler shows, on a unit with silicon vectors."""
    SPECIFICATION = "specification"
    """The vendor's documents determine every bit."""
    PUBLISHED = "published model, no silicon vectors"
    """Only a model is public."""


@dataclass(frozen=True)
class Integer:
    """A two's complement or unsigned integer type.

    Attributes
    ----------
    bits : int
    signed : bool
    """

    bits: int
    signed: bool = True

    @property
    def name(self) -> str:
        """``int8``, ``uint4`` ..."""
        return f"{'' if self.signed else 'u'}int{self.bits}"

    @property
    def least(self) -> int:
        """Smallest value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def most(self) -> int:
        """Largest value."""
        return self.least + (1 << self.bits) - 1


@dataclass(frozen=True)
class MatrixUnit:
    """An instruction family of an architecture with its formats and its arithmetic.

    Attributes
    ----------
    name : str
        ``architecture.instruction.a.b.output`` and what else tells it from its neighbours.
    architecture : str
        ``volta``, ``turing``, ``ampere``, ``ada``, ``hopper``, ``blackwell`` (B200), ``rtx_blackwell`` (sm_120),
        ``cdna1`` to ``cdna3``.
    gpus : tuple of str
        Devices of that architecture by which :func:`~floatemu.matrix.find` knows it.
    instruction : str
        ``mma``, ``wgmma``, ``tcgen05`` or ``mfma``.
    shapes : tuple of str
        Shapes of the instructions, ``m16n8k16``; those that change nothing in the arithmetic are together.
    a, b : Format or Integer
        Formats of the operands.
    output : Format or Integer
        Format of C and D.
    step : Arithmetic
        How products and accumulator are added.
    scale : Format, optional
        Format of the block scales, if the instruction takes any.
    block : int, optional
        Products along K that share a scale.
    register : Format, optional
        Format of the register an operand lies in, if it is wider: the unit reads its upper bits (tf32).
    nan_code : int
        The code that a NaN result has.
    evidence : Evidence
    source : str
        Where the model and its parameters come from.
    """

    name: str
    architecture: str
    gpus: tuple[str, ...]
    instruction: str
    shapes: tuple[str, ...]
    a: Format | Integer
    b: Format | Integer
    output: Format | Integer
    step: Arithmetic
    scale: Format | None = None
    block: int | None = None
    register: Format | None = None
    nan_code: int = 0
    evidence: Evidence = Evidence.PUBLISHED
    source: str = ""

    def __str__(self) -> str:
        return self.name
