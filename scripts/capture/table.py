"""THE TABLE of instructions that a capture asks, one PTX text each; names, shapes and formats are read off the text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .vectors import LAYOUTS

ARCHITECTURES = {80: "ampere", 86: "ampere", 89: "ada", 90: "hopper", 100: "blackwell", 120: "rtx_blackwell"}
"""Names that floatemu's rows begin with, by compute capability."""
FORMATS = {
    "f16": "binary16", "bf16": "bfloat16", "tf32": "tf32", "f32": "binary32", "f64": "binary64", "e4m3": "e4m3fn",
    "e5m2": "e5m2", "s8": "int8", "u8": "uint8", "s32": "int32",
}  # fmt: skip
FP8_IN_SOFTWARE = (90, 100)
"""Compute capabilities whose fp8 mma.sync is unpacking, two binary16 instructions and an addition."""


@dataclass(frozen=True)
class Instruction:
    """A matrix instruction.

    Attributes
    ----------
    ptx : str
    least : int
        Compute capability that it begins with.
    sass : str
        The machine instruction.
    """

    ptx: str
    least: int
    sass: str

    @property
    def family(self) -> str:
        """``mma`` or ``wgmma``; also the name of the CUDA source."""
        return self.ptx.split(".")[0]

    @property
    def satfinite(self) -> bool:
        """Whether integer sums clamp."""
        return "satfinite" in self.ptx

    @cached_property
    def _words(self) -> list[str]:
        return [word for word in self.ptx.split(".") if word in FORMATS]

    @property
    def shape_name(self) -> str:
        """``m16n8k16``."""
        return next(word for word in self.ptx.split(".") if word[0] == "m" and word[1].isdigit())

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """M, N, K."""
        m, rest = self.shape_name[1:].split("n")
        n, k = rest.split("k")
        return int(m), int(n), int(k)

    @property
    def kernel(self) -> str:
        """Name of the kernel in the CUDA source."""
        end = "_satfinite" if self.satfinite else ""
        return f"{self.family}_{self.shape_name}_{'_'.join(self._words[:3])}{end}"

    @property
    def d(self) -> str:
        """Format of C and D."""
        return FORMATS[self._words[0]]

    @property
    def a(self) -> str:
        """Format of A."""
        return FORMATS[self._words[1]]

    @property
    def b(self) -> str:
        """Format of B."""
        return FORMATS[self._words[2]]

    @property
    def bits(self) -> int:
        """Width of an operand in its register."""
        layout = LAYOUTS[self.a]
        return int(layout.k + layout.spare)

    @property
    def result_bits(self) -> int:
        """Width of a result."""
        return int(LAYOUTS[self.d].k)

    def unit(self, sm: int) -> str | None:
        """Name of floatemu's row, if the architecture has a name there."""
        if sm not in ARCHITECTURES:
            return None
        end = ".satfinite" if self.satfinite else ""
        return f"{ARCHITECTURES[sm]}.{self.family}.{self.a}.{self.b}.{self.d}{end}"

    def runs_on(self, sm: int) -> bool:
        """Whether the compiler takes it: wgmma exists on sm_90 alone."""
        return sm == 90 if self.family == "wgmma" else sm >= self.least

    def mnemonics(self, sm: int) -> tuple[str, ...]:
        """Machine instructions that a disassembly of the kernel must show."""
        if self.sass.startswith("QMMA") and sm in FP8_IN_SOFTWARE:
            # A row A, B unpacked apart if their types differ; then two steps, then C.
            unpack = sorted({f"F2FP.F16.{word.upper()}.UNPACK_B" for word in self._words[1:3]})
            return (*unpack, f"HMMA.16816.{'F32' if self.d == 'binary32' else 'F16'}",
                    "FADD" if self.d == "binary32" else "HADD2")  # fmt: skip
        if self.sass.startswith("DMMA"):
            if sm in (100, 120):
                return ("DMMA.8x8x4",)
            if self.shape_name == "m8n8k4":
                return ("DMMA.8x8x4",) if sm >= 90 else ("DMMA.884",)
        return (self.sass,)


_MMA, _FP8 = "mma.sync.aligned.", "m16n8k32.row.col"
_WGMMA = "wgmma.mma_async.sync.aligned."
INSTRUCTIONS: tuple[Instruction, ...] = (
    Instruction(_MMA + "m16n8k16.row.col.f32.f16.f16.f32", 80, "HMMA.16816.F32"),
    Instruction(_MMA + "m16n8k16.row.col.f16.f16.f16.f16", 80, "HMMA.16816.F16"),
    Instruction(_MMA + "m16n8k16.row.col.f32.bf16.bf16.f32", 80, "HMMA.16816.F32.BF16"),
    Instruction(_MMA + "m16n8k8.row.col.f32.f16.f16.f32", 80, "HMMA.1688.F32"),
    Instruction(_MMA + "m16n8k8.row.col.f16.f16.f16.f16", 80, "HMMA.1688.F16"),
    Instruction(_MMA + "m16n8k8.row.col.f32.bf16.bf16.f32", 80, "HMMA.1688.F32.BF16"),
    Instruction(_MMA + "m16n8k8.row.col.f32.tf32.tf32.f32", 80, "HMMA.1688.F32.TF32"),
    Instruction(_MMA + "m16n8k4.row.col.f32.tf32.tf32.f32", 80, "HMMA.1684.F32.TF32"),
    Instruction(_MMA + "m16n8k32.row.col.s32.s8.s8.s32", 80, "IMMA.16832.S8.S8"),
    Instruction(_MMA + "m16n8k32.row.col.satfinite.s32.s8.s8.s32", 80, "IMMA.16832.S8.S8.SAT"),
    Instruction(_MMA + "m16n8k32.row.col.s32.u8.s8.s32", 80, "IMMA.16832.U8.S8"),
    Instruction(_MMA + "m8n8k4.row.col.f64.f64.f64.f64", 80, "DMMA.884"),
    Instruction(_MMA + "m16n8k8.row.col.f64.f64.f64.f64", 90, "DMMA.16x8x8"),
    Instruction(_MMA + "m16n8k16.row.col.f64.f64.f64.f64", 90, "DMMA.16x8x16"),
    Instruction(_MMA + _FP8 + ".f32.e4m3.e4m3.f32", 89, "QMMA.16832.F32.E4M3.E4M3"),
    Instruction(_MMA + _FP8 + ".f32.e5m2.e5m2.f32", 89, "QMMA.16832.F32.E5M2.E5M2"),
    Instruction(_MMA + _FP8 + ".f32.e4m3.e5m2.f32", 89, "QMMA.16832.F32.E4M3.E5M2"),
    Instruction(_MMA + _FP8 + ".f16.e4m3.e4m3.f16", 89, "QMMA.16832.F16.E4M3.E4M3"),
    Instruction(_MMA + _FP8 + ".f16.e5m2.e5m2.f16", 89, "QMMA.16832.F16.E5M2.E5M2"),
    Instruction(_WGMMA + "m64n8k16.f32.f16.f16", 90, "HGMMA.64x8x16.F32"),
    Instruction(_WGMMA + "m64n8k16.f16.f16.f16", 90, "HGMMA.64x8x16.F16"),
    Instruction(_WGMMA + "m64n8k16.f32.bf16.bf16", 90, "HGMMA.64x8x16.F32.BF16"),
    Instruction(_WGMMA + "m64n8k8.f32.tf32.tf32", 90, "HGMMA.64x8x8.F32.TF32"),
    Instruction(_WGMMA + "m64n8k32.f32.e4m3.e4m3", 90, "QGMMA.64x8x32.F32.E4M3.E4M3"),
    Instruction(_WGMMA + "m64n8k32.f32.e5m2.e5m2", 90, "QGMMA.64x8x32.F32.E5M2.E5M2"),
    Instruction(_WGMMA + "m64n8k32.f32.e4m3.e5m2", 90, "QGMMA.64x8x32.F32.E4M3.E5M2"),
    Instruction(_WGMMA + "m64n8k32.f16.e4m3.e4m3", 90, "QGMMA.64x8x32.F16.E4M3.E4M3"),
    Instruction(_WGMMA + "m64n8k32.f16.e5m2.e5m2", 90, "QGMMA.64x8x32.F16.E5M2.E5M2"),
    Instruction(_WGMMA + "m64n8k32.s32.s8.s8", 90, "IGMMA.64x8x32.S8.S8"),
    Instruction(_WGMMA + "m64n8k32.s32.s8.s8.satfinite", 90, "IGMMA.64x8x32.S8.S8.SAT"),
)


@dataclass(frozen=True)
class Cast:
    """A conversion instruction.

    Attributes
    ----------
    ptx : str
        ``x2`` where an instruction converts two numbers; the other one is 0.
    kernel : str
        What the names of its two kernels end with.
    source, target : str
        Formats.
    rounding, saturation : str
        What is expected, in floatemu's words.
    least : int
        Compute capability that it begins with; 100: those of Blackwell that have a feature set (a).
    """

    ptx: str
    kernel: str
    source: str
    target: str
    rounding: str
    saturation: str
    least: int

    @property
    def bits(self) -> int:
        """Width of the source."""
        return int(LAYOUTS[self.source].k)


_NEAREST, _ZERO = "NEAREST_TIES_TO_EVEN", "TOWARD_ZERO"
CASTS: tuple[Cast, ...] = (
    Cast("cvt.rn.f16.f32", "rn_f16_f32", "binary32", "binary16", _NEAREST, "SAT_NONE", 80),
    Cast("cvt.rz.f16.f32", "rz_f16_f32", "binary32", "binary16", _ZERO, "SAT_NONE", 80),
    Cast("cvt.rm.f16.f32", "rm_f16_f32", "binary32", "binary16", "TOWARD_NEGATIVE", "SAT_NONE", 80),
    Cast("cvt.rp.f16.f32", "rp_f16_f32", "binary32", "binary16", "TOWARD_POSITIVE", "SAT_NONE", 80),
    Cast("cvt.rn.bf16.f32", "rn_bf16_f32", "binary32", "bfloat16", _NEAREST, "SAT_NONE", 80),
    Cast("cvt.rz.bf16.f32", "rz_bf16_f32", "binary32", "bfloat16", _ZERO, "SAT_NONE", 80),
    Cast("cvt.rna.tf32.f32", "rna_tf32_f32", "binary32", "tf32", "NEAREST_TIES_TO_AWAY", "SAT_NONE", 80),
    Cast("cvt.rn.tf32.f32", "rn_tf32_f32", "binary32", "tf32", _NEAREST, "SAT_NONE", 90),
    Cast("cvt.rz.tf32.f32", "rz_tf32_f32", "binary32", "tf32", _ZERO, "SAT_NONE", 90),
    Cast("cvt.rn.satfinite.e4m3x2.f32", "rn_satfinite_e4m3_f32", "binary32", "e4m3fn", _NEAREST, "SAT_FINITE", 89),
    Cast("cvt.rn.satfinite.e5m2x2.f32", "rn_satfinite_e5m2_f32", "binary32", "e5m2", _NEAREST, "SAT_FINITE", 89),
    Cast("cvt.rn.satfinite.e4m3x2.f16x2", "rn_satfinite_e4m3_f16", "binary16", "e4m3fn", _NEAREST, "SAT_FINITE", 89),
    Cast("cvt.rn.satfinite.e5m2x2.f16x2", "rn_satfinite_e5m2_f16", "binary16", "e5m2", _NEAREST, "SAT_FINITE", 89),
    Cast("cvt.rn.f16x2.e4m3x2", "rn_f16_e4m3", "e4m3fn", "binary16", _NEAREST, "SAT_NONE", 89),
    Cast("cvt.rn.f16x2.e5m2x2", "rn_f16_e5m2", "e5m2", "binary16", _NEAREST, "SAT_NONE", 89),
    Cast("cvt.rn.satfinite.e2m1x2.f32", "rn_satfinite_e2m1_f32", "binary32", "e2m1fn", _NEAREST, "SAT_FINITE", 100),
    Cast("cvt.rn.satfinite.e2m3x2.f32", "rn_satfinite_e2m3_f32", "binary32", "e2m3fn", _NEAREST, "SAT_FINITE", 100),
    Cast("cvt.rn.satfinite.e3m2x2.f32", "rn_satfinite_e3m2_f32", "binary32", "e3m2fn", _NEAREST, "SAT_FINITE", 100),
    Cast("cvt.rz.satfinite.ue8m0x2.f32", "rz_satfinite_e8m0_f32", "binary32", "e8m0fnu", _ZERO, "SAT_FINITE", 100),
    Cast("cvt.rp.satfinite.ue8m0x2.f32", "rp_satfinite_e8m0_f32", "binary32", "e8m0fnu", "TOWARD_POSITIVE",
         "SAT_FINITE", 100),
)  # fmt: skip
