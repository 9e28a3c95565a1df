"""THE TABLE of matrix units. Rows are composed of what their architecture, instruction and formats decide.

Sources, by the letters the rows carry:

* KM: Khattak & Mikaitis, arXiv 2512.07004, and the device results beside its code
  (github.com/north-numerical-computing/MATLAB-tensor-core).
* MS: MMA-Sim, arXiv 2511.10909 v2, and its package ``mmasim`` 2.1.1.
* FHMP: Fasi, Higham, Mikaitis & Pranesh, PeerJ Computer Science 7:e330, 2021.
* SASS: disassembly of what nvcc 13.0 makes of the instruction.
* PTX: the PTX ISA's definition of integer instructions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.matrix.amd import Exact, PairwiseFlush, TwoStage
from floatemu.matrix.steps import BINARY16, BINARY32, BINARY64, E8M13, NEAREST, Chain, Fused, Integers
from floatemu.matrix.unit import Evidence, Integer, MatrixUnit

BFLOAT16, TF32, E4M3, E5M2 = (get_format(name) for name in ("bfloat16", "tf32", "e4m3fn", "e5m2"))
E3M2, E2M3, E2M1, E8M0 = (get_format(name) for name in ("e3m2fn", "e2m3fn", "e2m1fn", "e8m0fnu"))
F8F6F4 = (E5M2, E4M3, E3M2, E2M3, E2M1)
NAN = {BINARY16: 0x7FFF, BINARY32: 0x7FFFFFFF, BINARY64: 0x7FF8000000000000}
S8, U8, S4, U4, S32 = Integer(8), Integer(8, False), Integer(4), Integer(4, False), Integer(32)

SILICON, DISASSEMBLY, SPECIFICATION, PUBLISHED = (
    Evidence.SILICON, Evidence.DISASSEMBLY, Evidence.SPECIFICATION, Evidence.PUBLISHED,
)  # fmt: skip


@dataclass(frozen=True)
class _Chip:
    """What an architecture's fused steps have in common."""

    name: str
    gpus: tuple[str, ...]
    fraction: int
    half: int  #: 16-bit products added at once; tf32 half as many
    zero32: int  #: exponent of zero terms with binary32 output ...
    zero16: int  #: ... and with binary16 output

    def step(self, output: Format, length: int, **changes: object) -> Fused:
        """The chip's fused step for an output format."""
        zero, rounding = (self.zero16, NEAREST) if output is BINARY16 else (self.zero32, Fused.rounding)
        return replace(Fused(length, self.fraction, zero, output, rounding), **changes)  # type: ignore[arg-type]

    def row(
        self, instruction: str, shapes: str, a: Format | Integer, b: Format | Integer, output: Format | Integer,
        step: Fused | Chain | Integers, evidence: Evidence, source: str, note: str = "", scale: Format | None = None,
        block: int | None = None,
    ) -> MatrixUnit:  # fmt: skip
        """A row of this architecture."""
        parts = (self.name, instruction, a.name, b.name, output.name, *([note] if note else []))
        return MatrixUnit(
            ".".join(parts), self.name, self.gpus, instruction, tuple(shapes.split()), a, b, output, step, scale, block,
            BINARY32 if a is TF32 else None, NAN.get(output, 0) if isinstance(output, Format) else 0, evidence, source,
        )  # fmt: skip


VOLTA = _Chip("volta", ("V100",), 23, 4, -131, -19)
TURING = _Chip("turing", ("T4",), 24, 8, -132, -20)
AMPERE = _Chip("ampere", ("A2", "A30", "A100"), 24, 8, -132, -20)
ADA = _Chip("ada", ("L40S",), 24, 8, -132, -20)
HOPPER = _Chip("hopper", ("H100", "H200"), 25, 16, -133, -21)
BLACKWELL = _Chip("blackwell", ("B200",), 25, 16, -133, -21)
RTX = _Chip("rtx_blackwell", ("RTX_PRO_6000",), 25, 16, -133, -21)


def _sixteen(chip: _Chip, instruction: str, shapes: str, evidence: Evidence, source: str) -> Iterator[MatrixUnit]:
    """The binary16 rows of one instruction."""
    for output in (BINARY32, BINARY16):
        yield chip.row(instruction, shapes, BINARY16, BINARY16, output, chip.step(output, chip.half), evidence, source)


def _ampere_set(chip: _Chip, evidence: Evidence, tf32: Evidence, double_shapes: str) -> Iterator[MatrixUnit]:
    """What mma.sync offers from Ampere on."""
    yield from _sixteen(chip, "mma", "m16n8k8 m16n8k16", evidence, "KM, MS")
    yield chip.row(
        "mma", "m16n8k8 m16n8k16", BFLOAT16, BFLOAT16, BINARY32, chip.step(BINARY32, chip.half), evidence, "KM, MS"
    )
    yield chip.row("mma", "m16n8k4 m16n8k8", TF32, TF32, BINARY32, chip.step(BINARY32, chip.half // 2), tf32, "KM, MS")
    yield chip.row("mma", double_shapes, BINARY64, BINARY64, BINARY64, Chain(BINARY64), PUBLISHED, "MS")


def _integers(chip: _Chip, instruction: str, shapes: str, depth: int, types: str) -> Iterator[MatrixUnit]:
    """Integer rows: wrapping, and clamping (``satfinite``)."""
    wide = (S8, U8) if types == "8" else (S4, U4)
    for a, b, saturate in product(wide, wide, (False, True)):
        note = "satfinite" if saturate else ""
        yield chip.row(instruction, shapes, a, b, S32, Integers(depth, saturate), SPECIFICATION, "PTX", note)


def _fp8(
    chip: _Chip, instruction: str, shapes: str, step: Fused, evidence: dict[Format, Evidence], source: str
) -> Iterator[MatrixUnit]:
    """Every pair of 8-bit formats into both outputs; ``step`` is that of binary32 output."""
    for a, b, output in product((E4M3, E5M2), (E4M3, E5M2), (BINARY32, BINARY16)):
        own = step
        if output is BINARY16:
            own = replace(step, result=BINARY16, rounding=NEAREST, zero_exponent=chip.zero16)
        weaker = PUBLISHED if evidence[output] is SILICON else evidence[output]  # results are of equal formats alone
        yield chip.row(instruction, shapes, a, b, output, own, evidence[output] if a == b else weaker, source)


def _small(chip: _Chip, instruction: str, shapes: str) -> Iterator[MatrixUnit]:
    """Blackwell's kind::f8f6f4 and its block-scaled relatives."""
    for a, b, output in product(F8F6F4, F8F6F4, (BINARY32, BINARY16)):
        step = chip.step(output, 32)
        yield chip.row(instruction, f"{shapes}k32", a, b, output, step, PUBLISHED, "MS; DeepGEMM issue 176")
    for a, b in product(F8F6F4, F8F6F4):
        step = chip.step(BINARY32, 32)
        yield chip.row(
            instruction, f"{shapes}k32", a, b, BINARY32, step, PUBLISHED, "MS", "mxf8f6f4", scale=E8M0, block=32
        )
    four = Fused(64, 35, -139, group=16)
    for scale, block, kind in ((E8M0, 32, "mxf4"), (E8M0, 16, "mxf4nvf4.e8m0fnu"), (E4M3, 16, "mxf4nvf4.e4m3fn")):
        yield chip.row(
            instruction, f"{shapes}k64", E2M1, E2M1, BINARY32, four, PUBLISHED, "MS; DeepGEMM issue 176", kind,
            scale=scale, block=block,
        )  # fmt: skip


def _emulated(chip: _Chip) -> Fused:
    """fp8 mma.sync as software: unpacked to binary16, two HMMA (k mod 4 in {0, 1}, then {2, 3}), then C added."""
    order = tuple(k for half in ((0, 1), (2, 3)) for k in range(32) if k % 4 in half)
    return chip.step(BINARY32, chip.half, order=order, operand_emin=BINARY16.emin)


def _nvidia() -> Iterator[MatrixUnit]:
    volta_shape = VOLTA.step(BINARY32, 4), VOLTA.step(BINARY16, 4)
    yield from _sixteen(VOLTA, "mma", "m8n8k4", SILICON, "KM, MS")
    yield from _sixteen(TURING, "mma", "m16n8k8", PUBLISHED, "MS; FHMP (T4)")
    for output, step in zip((BINARY32, BINARY16), volta_shape):
        yield TURING.row("mma", "m8n8k4", BINARY16, BINARY16, output, step, PUBLISHED, "MS 2.1.1", "m8n8k4")
    yield from _ampere_set(AMPERE, SILICON, SILICON, "m8n8k4")
    yield from _ampere_set(ADA, SILICON, SILICON, "m8n8k4")
    double_shapes = "m8n8k4 m16n8k4 m16n8k8 m16n8k16"  # PTX has the larger ones from sm_90 on; SASS chains 8x8x4
    yield from _ampere_set(HOPPER, SILICON, PUBLISHED, double_shapes)
    yield from _ampere_set(BLACKWELL, SILICON, PUBLISHED, double_shapes)
    yield from _ampere_set(RTX, PUBLISHED, PUBLISHED, double_shapes)
    for chip in (TURING, AMPERE, ADA, HOPPER, BLACKWELL, RTX):
        yield from _integers(chip, "mma", "m8n8k16 m16n8k16 m16n8k32", 32, "8")
        yield from _integers(chip, "mma", "m8n8k32 m16n8k32 m16n8k64", 64, "4")
    # 8-bit floats: a cut at 13 bits on Ada and in Hopper's wgmma, software elsewhere, 25 bits from Blackwell on.
    narrow = Fused(16, 13, ADA.zero32, E8M13)
    yield from _fp8(ADA, "mma", "m16n8k16 m16n8k32", narrow, {BINARY32: SILICON, BINARY16: SILICON}, "KM, MS")
    software = {BINARY32: DISASSEMBLY, BINARY16: SILICON}
    yield from _fp8(HOPPER, "mma", "m16n8k32", _emulated(HOPPER), software, "SASS; KM's H100 and H200 results")
    software = {BINARY32: SILICON, BINARY16: SILICON}
    yield from _fp8(BLACKWELL, "mma", "m16n8k32", _emulated(BLACKWELL), software, "SASS; KM's B200 results")
    yield from _sixteen(HOPPER, "wgmma", "m64nNk16", PUBLISHED, "MS")
    wide = HOPPER.step(BINARY32, HOPPER.half)
    yield HOPPER.row("wgmma", "m64nNk16", BFLOAT16, BFLOAT16, BINARY32, wide, PUBLISHED, "MS")
    yield HOPPER.row("wgmma", "m64nNk8", TF32, TF32, BINARY32, HOPPER.step(BINARY32, 8), PUBLISHED, "MS")
    narrow = Fused(32, 13, HOPPER.zero32, E8M13)
    yield from _fp8(
        HOPPER, "wgmma", "m64nNk32", narrow, {BINARY32: SILICON, BINARY16: PUBLISHED}, "KM (with C = 0), MS"
    )
    yield from _integers(HOPPER, "wgmma", "m64nNk32", 32, "8")
    yield from _sixteen(BLACKWELL, "tcgen05", "mMnNk16", PUBLISHED, "MS")
    wide = BLACKWELL.step(BINARY32, BLACKWELL.half)
    yield BLACKWELL.row("tcgen05", "mMnNk16", BFLOAT16, BFLOAT16, BINARY32, wide, PUBLISHED, "MS")
    yield BLACKWELL.row("tcgen05", "mMnNk8", TF32, TF32, BINARY32, BLACKWELL.step(BINARY32, 8), PUBLISHED, "MS")
    yield from _small(BLACKWELL, "tcgen05", "mMnN")
    yield from _small(RTX, "mma", "m16n8")


def _mfma(
    architecture: str, gpus: tuple[str, ...], a: Format, step: Exact | PairwiseFlush | TwoStage | Chain, shapes: str,
    note: str = "", b: Format | None = None, register: Format | None = None,
) -> MatrixUnit:  # fmt: skip
    """A row of an AMD architecture; C and D are binary32, or binary64 with operands of that format."""
    b = b or a
    output = BINARY64 if a is BINARY64 else BINARY32
    name = ".".join([architecture, "mfma", a.name, b.name, output.name, *([note] if note else [])])
    nan = output.nan_code or 0
    return MatrixUnit(
        name, architecture, gpus, "mfma", tuple(shapes.split()), a, b, output, step, None, None, register, nan,
        PUBLISHED, "MS",
    )  # fmt: skip


def _amd() -> Iterator[MatrixUnit]:
    first, second, third = ("cdna1", ("MI100",)), ("cdna2", ("MI250",)), ("cdna3", ("MI300",))
    for chip in (first, second, third):
        yield _mfma(*chip, BINARY32, Chain(BINARY32), "32x32x2 16x16x4 4x4x1")
    for chip in (second, third):
        yield _mfma(*chip, BINARY64, Chain(BINARY64), "16x16x4 4x4x4")
    yield _mfma(*first, BINARY16, Exact(4), "32x32x8 16x16x16 4x4x4")
    yield _mfma(*first, BFLOAT16, Exact(2), "32x32x4 16x16x8 4x4x2")
    yield _mfma(*second, BINARY16, PairwiseFlush(4), "32x32x8 16x16x16 4x4x4")
    yield _mfma(*second, BFLOAT16, PairwiseFlush(2), "32x32x4 16x16x8 4x4x2")
    yield _mfma(*second, BFLOAT16, PairwiseFlush(4), "32x32x8 16x16x16 4x4x4", "1k")
    for a in (BINARY16, BFLOAT16):
        yield _mfma(*third, a, TwoStage(8), "32x32x8 16x16x16")
        yield _mfma(*third, a, TwoStage(4), "32x32x4 16x16x4 4x4x4", "k4")
    yield _mfma(*third, TF32, TwoStage(4), "16x16x8 32x32x4", register=BINARY32)
    small = get_format("e4m3fnuz"), get_format("e5m2fnuz")
    for a, b in product(small, small):
        yield _mfma(*third, a, TwoStage(16, interleaved=True), "16x16x32 32x32x16", b=b)


UNITS: tuple[MatrixUnit, ...] = (*_nvidia(), *_amd())
"""Every row, NVIDIA's first."""
