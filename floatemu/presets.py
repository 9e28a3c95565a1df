"""THE TABLE of casts of named real systems, each with its source and the evidence for it.

A preset is measured, if ``scripts/record_peers.py`` ran the system over every binary16 and bfloat16 number and probes
around every value and tie, and the preset gives every bit; or it is from documentation, with the reference.

Examples
--------
>>> import numpy as np
>>> from floatemu import presets
>>> x = np.array([1 + 2**-4 + 2**-40, 1e9, np.inf])
>>> [presets.get(name).round(x, "e4m3fn").tolist() for name in ("exact", "ml_dtypes", "torch", "torch_2.12")]
[[1.125, nan, nan], [1.0, nan, nan], [1.0, 448.0, 448.0], [1.0, nan, nan]]
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np

from floatemu.casting import FLOATS, Nan, Result, Rule, Span, Zeros
from floatemu.errors import UnsupportedError
from floatemu.format import Format
from floatemu.formats import FORMATS
from floatemu.preset import Preset
from floatemu.projection import Projection, Rounding, Saturation

__all__ = ["PRESETS", "Preset", "cast", "get"]

Array = np.ndarray[Any, Any]

SATURATING = Projection(saturation=Saturation.SAT_FINITE)
AWAY = Projection(Rounding.NEAREST_TIES_TO_AWAY)
AWAY_SATURATING = Projection(Rounding.NEAREST_TIES_TO_AWAY, Saturation.SAT_FINITE)
UP = Projection(Rounding.TOWARD_POSITIVE)
UP_SATURATING = Projection(Rounding.TOWARD_POSITIVE, Saturation.SAT_FINITE)
CUT = Projection(Rounding.TOWARD_ZERO)
CUT_SATURATING = Projection(Rounding.TOWARD_ZERO, Saturation.SAT_FINITE)
FP8 = "e4m3fn e5m2 e4m3fnuz e5m2fnuz"
FNUZ = "e4m3fnuz e5m2fnuz"
IEEE8 = "e3m4 e4m3"
NARROW = "e2m3fn e3m2fn e2m1fn"
SMALL = "binary16 bfloat16"
WIDE = "binary32 binary64"
FIRST_UP = Span(2.0**-127, 2.0**-126, Result.SECOND, open=True)
"""The operand's significand has no leading bit there, and its first bit is taken for the one that rounds."""


_TORCH_E8M0 = Rule(
    "e8m0fnu", via="binary32", projection=AWAY, magnitude=True, spans=(Span(0.0, 2.0**-127, Result.LEAST), FIRST_UP)
)
_CUDA_ZERO = Span(0.0, 2.0**-149, Result.LEAST)
_JAX_E8M0 = Rule("e8m0fnu", "binary64", projection=AWAY, spans=(Span(0.0, 2.0**-127, Result.NAN), FIRST_UP))
# Where the significand rounds up to the next power of two.
_ORT_E4M3 = Span(480.0, 496.0, Result.MAX)
_ORT_E5M2 = Span(61440.0, 65536.0, Result.NAN)


def _by_chance(bits: int, saturation: Saturation = Saturation.SAT_NONE) -> Projection:
    return Projection(Rounding.STOCHASTIC_A, saturation, bits)


def _qpytorch(target: str) -> Rule:
    fmt = FORMATS[target]
    # Every code is a number: no infinity, no NaN, one more binade than IEEE's.
    own = Format(f"QPyTorch {target}", k=fmt.k, p=fmt.p, infinities=False, overflow="max")
    shifted = Format(f"binary32 above 2^{own.emin}", k=32, p=24, bias=1 - own.emin, high_nans=1)
    return Rule(target, "bfloat16 binary32", (shifted,), projection=AWAY_SATURATING, zeros=Zeros.PLUS, values=own,
                carried=True, infinity=Result.MAX, nan=Nan.CARRIED)  # fmt: skip


_TABLE = (
    Preset(
        "exact", "one rounding to nearest, ties to even, as the formats say: floatemu's own encode",
        (Rule(NARROW, nan=Nan.ZERO), Rule(" ".join(FORMATS), nan=Nan.PLUS, born=Nan.PLUS)),
        (), "IEEE 754-2019, 4.3 and 7.4; OCP OFP8 1.0, tables 1 and 2; docs/rounding.md",
    ),
    Preset(
        "ocp_nonsaturating", "OCP OFP8 1.0, conversion that does not saturate",
        (Rule("e4m3fn e5m2"),),
        (), "OCP 8-bit Floating Point Specification (OFP8) 1.0, conversions in non-saturating mode",
    ),
    Preset(
        "ocp_saturating", "OCP OFP8 1.0, saturating conversion, and the element formats of MX 1.0",
        (Rule("e4m3fn e5m2", projection=SATURATING), Rule(NARROW, nan=Nan.SIGNED_MAX)),
        (), "OCP OFP8 1.0, conversions in saturating mode; OCP MX 1.0, section 6.3 (NaN into FP6, FP4: free)",
    ),
    Preset(
        "ml_dtypes", "ml_dtypes arrays, astype",
        (
            Rule(f"bfloat16 {FP8} {IEEE8} e4m3b11fnuz", via="binary32"),
            Rule(NARROW, via="binary32", nan=Nan.OTHER_ZERO),
            Rule("e8m0fnu", via="binary32", projection=AWAY, spans=(FIRST_UP,)),
        ),
        ("ml_dtypes 0.2.0", "ml_dtypes 0.3.2", "ml_dtypes 0.4.1", "ml_dtypes 0.5.4", "ml_dtypes 0.6.0"),
        "jax-ml/ml_dtypes, include/float8.h and mxfloat.h; double rounding: pull request #401",
    ),
    Preset(
        "ml_dtypes_0.5.0", "ml_dtypes 0.5.0, where e8m0fnu is not as in later versions",
        (
            Rule(f"bfloat16 {FP8} {IEEE8} e4m3b11fnuz", via="binary32"),
            Rule(NARROW, via="binary32", nan=Nan.OTHER_ZERO),
            Rule("e8m0fnu", via="binary32", spans=(FIRST_UP,)),
        ),
        ("ml_dtypes 0.5.0",),
        "jax-ml/ml_dtypes; later versions round e8m0fnu by the operand's bits, not by the parity of the code",
    ),
    Preset(
        "torch", "torch from 2.13 on, CPU, Tensor.to",
        (
            Rule("binary16", via="binary32", nan=Nan.LEADING),
            Rule("bfloat16", "binary16", nan=Nan.PLUS),
            Rule("bfloat16", f"{WIDE} int64", via="binary32", nan=Nan.MINUS_ONES),
            Rule("e4m3fn", via="binary32", projection=SATURATING),
            Rule("e5m2", via="binary32", nan=Nan.ONES),
            Rule(FNUZ, via="binary32"),
            _TORCH_E8M0,
        ),
        ("torch 2.13.0", "torch 2.14.1", "torch 2.15.0"),
        "pytorch, torch/headeronly/util/Float8_*.h; saturation of e4m3fn: pull request #178817; NaNs of bfloat16 "
        "are 0x7fc0 where a number is not in a full vector",
    ),
    Preset(
        "torch_2.12", "torch up to 2.12, CPU, Tensor.to",
        (
            Rule("binary16", via="binary32", nan=Nan.LEADING),
            Rule("bfloat16", "binary16", nan=Nan.PLUS),
            Rule("bfloat16", f"{WIDE} int64", via="binary32", nan=Nan.MINUS_ONES),
            Rule("e4m3fn", via="binary32"),
            Rule("e5m2", via="binary32", nan=Nan.ONES),
            Rule(FNUZ, via="binary32"),
            _TORCH_E8M0,
        ),
        ("torch 2.9.0", "torch 2.10.0", "torch 2.11.0", "torch 2.12.1"),
        "pytorch before pull request #178817",
    ),
    Preset(
        "torch_cuda", "torch on CUDA devices, Tensor.to",
        (
            Rule("e4m3fn", via="binary32", projection=SATURATING),
            Rule("e5m2", via="binary32"),
        ),
        (), "pytorch pull requests #177870 and #178817 (e4m3fn saturates); codes of NaN are not documented",
    ),
    Preset(
        "jax", "JAX on the CPU, astype, with and without jit",
        (
            Rule("bfloat16", f"{SMALL} binary32"),
            Rule("bfloat16", "binary64 int64", via="binary32", flush=True),
            Rule("binary16", "bfloat16 binary32", nan=Nan.LEADING),
            Rule("binary16", "binary64 int64", via="binary32"),
            Rule("e5m2", SMALL, nan=Nan.PLUS_ONES),
            Rule(f"{FP8} {IEEE8} e4m3b11fnuz"),
            Rule("e8m0fnu", f"{SMALL} binary32", projection=AWAY, spans=(FIRST_UP,)),
            _JAX_E8M0,
            Rule("e8m0fnu", "int64", via="binary32", projection=AWAY),
            Rule("e2m1fn", nan=Nan.MINUS_ZERO),
        ),
        ("jax 0.10.2",),
        "openxla/xla, xla/service/elemental_ir_emitter.cc and the CPU backend's float conversions",
    ),
    Preset(
        "jax_0.7", "JAX 0.7 on the CPU: through binary16, from binary32 too",
        (
            Rule("bfloat16", "binary16", nan=Nan.LEADING),
            Rule("bfloat16", "binary32"),
            Rule("bfloat16", "binary64 int64", via="binary32", flush=True),
            Rule("binary16", "bfloat16 binary32", nan=Nan.LEADING),
            Rule("binary16", "binary64 int64", via="binary32"),
            Rule("e5m2", f"{SMALL} binary32", via="binary16", nan=Nan.LEADING),
            Rule("e4m3fn e4m3b11fnuz e5m2", via="binary16"),
            Rule("e5m2fnuz", "int64", via="binary16"),
            Rule(f"{FNUZ} {IEEE8}"),
            Rule("e8m0fnu", f"{SMALL} binary32", projection=AWAY, spans=(FIRST_UP,)),
            Rule("e8m0fnu", "binary64 int64", via="binary32", flush=True, projection=AWAY),
            Rule("e2m1fn", via="binary16", nan=Nan.MINUS_ZERO),
        ),
        ("jax 0.7.1",),
        "openxla/xla, xla/service/elemental_ir_emitter.cc",
    ),
    Preset(
        "tensorflow", "TensorFlow on the CPU, tf.cast",
        (
            Rule("bfloat16", "binary16"),
            Rule("bfloat16", "binary32", nan=Nan.PLUS),
            Rule("bfloat16", "binary64 int64", via="binary32", flush=True),
            Rule("binary16", via="binary32", nan=Nan.LEADING),
            Rule("e5m2", "binary16", nan=Nan.LEADING),
            Rule("e4m3fn e5m2", FLOATS),
        ),
        ("tensorflow-cpu 2.21.0",),
        "tensorflow, tensorflow/core/kernels/cast_op*.cc",
    ),
    Preset(
        "onnx", "ONNX Cast, saturate=1, the reference implementation",
        (
            Rule("binary16", "bfloat16"),
            Rule("binary16", nan=Nan.SAME),
            Rule("bfloat16", via="binary32"),
            Rule(FP8, via="binary32", projection=SATURATING),
            Rule("e8m0fnu", via="binary32", projection=UP_SATURATING, magnitude=True,
                 infinity=Result.NAN, spans=(Span(0.0, 2.0**-126, Result.SECOND, open=True),)),
            Rule("e2m1fn", via="binary32", nan=Nan.OTHER_ZERO),
        ),
        ("onnx 1.23.2",),
        "onnx, docs/operators Cast-25 and onnx/numpy_helper.py; the operator's table has NaN for infinity into FNUZ",
    ),
    Preset(
        "onnx_saturate_0", "ONNX Cast, saturate=0, the reference implementation",
        (
            Rule("binary16", "bfloat16"),
            Rule("binary16", nan=Nan.SAME),
            Rule("bfloat16", via="binary32"),
            Rule(FP8, via="binary32"),
            Rule("e8m0fnu", via="binary32", projection=UP, magnitude=True,
                 spans=(Span(0.0, 2.0**-149, Result.LEAST), Span(0.0, 2.0**-126, Result.SECOND, open=True))),
            Rule("e2m1fn", via="binary32", nan=Nan.OTHER_ZERO),
        ),
        ("onnx 1.23.2",),
        "onnx, docs/operators Cast-25 and onnx/numpy_helper.py",
    ),
    Preset(
        "onnxruntime", "ONNX Runtime on the CPU, Cast, saturate=1",
        (
            Rule("binary16", "binary32", nan=Nan.LEADING),
            Rule("binary16", "bfloat16 binary64 int64", via="binary32"),
            Rule("bfloat16", via="binary32"),
            Rule("e4m3fn", via="binary32", projection=SATURATING),
            Rule("e5m2", via="binary32", projection=SATURATING, nan=Nan.ONES),
            Rule(FNUZ, via="binary32", projection=SATURATING),
            Rule("e8m0fnu", via="binary32", projection=UP_SATURATING),
        ),
        ("onnxruntime 1.32.0",),
        "microsoft/onnxruntime, include/onnxruntime/core/common/float8.h",
    ),
    Preset(
        "onnxruntime_saturate_0", "ONNX Runtime on the CPU, Cast, saturate=0",
        (
            Rule("binary16", "binary32", nan=Nan.LEADING),
            Rule("binary16", "bfloat16 binary64 int64", via="binary32"),
            Rule("bfloat16", via="binary32"),
            Rule("e4m3fn", "bfloat16", nan=Nan.PLUS, spans=(_ORT_E4M3,)),
            Rule("e4m3fn", via="binary32", spans=(_ORT_E4M3,)),
            Rule("e5m2", "bfloat16", nan=Nan.PLUS_ONES, born=Nan.ONES, spans=(_ORT_E5M2,)),
            Rule("e5m2", via="binary32", nan=Nan.ONES, born=Nan.ONES, spans=(_ORT_E5M2,)),
            Rule(FNUZ, via="binary32"),
            Rule("e8m0fnu", via="binary32", projection=UP,
                 spans=(Span(0.0, 2.0**-127, Result.NAN, open=True),)),
        ),
        ("onnxruntime 1.32.0",),
        "microsoft/onnxruntime, include/onnxruntime/core/common/float8.h",
    ),
    Preset(
        "onnx_1.16", "ONNX Cast, saturate=1, the reference implementation of 1.16: bfloat16 is cut off",
        (
            Rule("binary16", "bfloat16"),
            Rule("binary16", nan=Nan.SAME),
            Rule("bfloat16", via="binary32", projection=CUT, nan=Nan.LEADING),
            Rule("e5m2", via="binary32", projection=SATURATING, nan=Nan.ONES),
            Rule(FP8, via="binary32", projection=SATURATING),
        ),
        ("onnx 1.16.2",),
        "onnx 1.16, onnx/helper.py",
    ),
    Preset(
        "numpy", "numpy's own float16, astype",
        (Rule("binary16", "binary32 binary64 int64", nan=Nan.SAME),),
        ("numpy 2.4.6",),
        "numpy, numpy/_core/src/common/half.hpp",
    ),
    Preset(
        "cuda_satfinite", "CUDA, cvt.rn.satfinite and __nv_cvt_*(…, __NV_SATFINITE); e8m0fnu rounded up",
        (
            Rule(SMALL, WIDE, nan=Nan.PLUS_ONES),
            Rule("e4m3fn", f"{SMALL} binary32", projection=SATURATING, nan=Nan.PLUS),
            Rule("e4m3fn", "binary64", projection=SATURATING),
            Rule("e5m2", f"{SMALL} binary32", projection=SATURATING, nan=Nan.PLUS_ONES),
            Rule("e5m2", "binary64", projection=SATURATING, nan=Nan.LEADING),
            Rule(NARROW, FLOATS, nan=Nan.MAX),
            Rule("e8m0fnu", FLOATS, projection=UP_SATURATING, magnitude=True),
        ),
        ("CUDA headers 13.0.88",),
        "cuda_fp8.hpp, cuda_fp6.hpp and cuda_fp4.hpp as compiled for a host; PTX ISA 9.0, cvt",
    ),
    Preset(
        "cuda_nosat", "CUDA, __nv_cvt_*(…, __NV_NOSAT); e8m0fnu rounded up",
        (
            Rule("e4m3fn", f"{SMALL} binary32", nan=Nan.PLUS),
            Rule("e4m3fn", "binary64"),
            Rule("e5m2", f"{SMALL} binary32", nan=Nan.PLUS_ONES),
            Rule("e5m2", "binary64", nan=Nan.LEADING),
            Rule("e8m0fnu", FLOATS, projection=UP, magnitude=True, spans=(_CUDA_ZERO,)),
        ),
        ("CUDA headers 13.0.88",),
        "cuda_fp8.hpp as compiled for a host",
    ),
    Preset(
        "cuda_rz", "CUDA, cvt.rz: binary16 and bfloat16 cut off; e8m0fnu rounded down and saturated",
        (
            Rule(SMALL, "binary32", projection=CUT, nan=Nan.PLUS_ONES),
            Rule("e8m0fnu", FLOATS, projection=CUT_SATURATING, magnitude=True),
        ),
        ("CUDA headers 13.0.88",),
        "cuda_fp16.hpp, cuda_bf16.hpp and cuda_fp8.hpp as compiled for a host; PTX ISA 9.0, cvt.rz",
    ),
    Preset(
        "cuda_rs", "CUDA, cvt.rs (sm_100a, sm_103a): stochastic, the random bits added to the highest that are cut off",
        (
            Rule("binary16", "binary32", projection=_by_chance(13), nan=Nan.PLUS_ONES),
            Rule("bfloat16", "binary32", projection=_by_chance(16), nan=Nan.PLUS_ONES),
            Rule("e2m1fn", "binary32", projection=_by_chance(8, Saturation.SAT_FINITE), nan=Nan.MAX),
        ),
        (), "PTX ISA 9.0, cvt.rs (f16x2: 13 bits each, bf16x2: 16); TransformerEngine #3281 (e2m1x4: 8)",
    ),
    Preset(
        "cuda_rna", "CUDA, cvt.rna.tf32.f32: ties away from zero",
        (Rule("tf32", "binary32", projection=AWAY),),
        (), "PTX ISA 9.0, cvt.rna.tf32.f32",
    ),
    Preset(
        "amd_fnuz", "AMD FNUZ (CDNA3), conversion that does not saturate",
        (Rule(FNUZ, f"{SMALL} binary32"),),
        (), "HIP, amd_hip_fp8.h, __HIP_NOSAT",
    ),
    Preset(
        "amd_fnuz_satfinite", "AMD FNUZ (CDNA3), saturating conversion",
        (Rule(FNUZ, f"{SMALL} binary32", projection=SATURATING, infinity=Result.NAN),),
        (), "HIP, amd_hip_fp8.h, __HIP_SATFINITE (infinities are not clipped)",
    ),
    Preset(
        "microxcaling", "microxcaling, element formats of MX with its default rounding",
        (
            Rule("e4m3fn e5m2 e2m3fn e3m2fn e2m1fn", f"{SMALL} binary32", projection=AWAY_SATURATING,
                 zeros=Zeros.OPERANDS_PLUS, nan=Nan.KEPT, carried=True),
        ),
        (), "microsoft/microxcaling 7bc4195, mx/elemwise_ops.py (saturate_normals=True, round='nearest': ties away)",
    ),
    Preset(
        "gfloat", "gfloat, round_ndarray and encode_ndarray, sat=False",
        (Rule("binary16 bfloat16 e4m3fn e5m2", FLOATS, nan=Nan.MINUS_ONES, born=Nan.MINUS_ONES),),
        ("gfloat 0.5.2",),
        "graphcore-research/gfloat, encode_ndarray.py",
    ),
    Preset(
        "qpytorch", "QPyTorch, float_quantize(exp, man), rounding='nearest': ties away, no infinity, no NaN",
        tuple(_qpytorch(name) for name in ("binary16", "e4m3fn", "e5m2", "e3m4", *NARROW.split())),
        ("qtorch 0.3.0",),
        "Tiiiger/QPyTorch, qtorch/quant/quant_cpu (a subnormal result is rounded after an addition in binary32)",
    ),
)  # fmt: skip


def _key(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


PRESETS = MappingProxyType({preset.name: preset for preset in _TABLE})
"""Read-only mapping from name to :class:`Preset`, in the table's order."""


def get(name: str | Preset) -> Preset:
    """Return the preset of that name; a :class:`Preset` is returned as it is.

    Parameters
    ----------
    name : str or Preset
        Case does not matter, nor - for _.

    Returns
    -------
    Preset

    Raises
    ------
    UnsupportedError
        If nothing has that name; the message lists those that come near.

    Examples
    --------
    >>> get("ML-dtypes").title
    'ml_dtypes arrays, astype'
    """
    if isinstance(name, Preset):
        return name
    if isinstance(name, str) and _key(name) in PRESETS:
        return PRESETS[_key(name)]
    import difflib

    near = difflib.get_close_matches(_key(str(name)), PRESETS, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}? " if near else ""
    raise UnsupportedError(f"no preset is named {name!r}; {hint}accepted: {', '.join(PRESETS)}")


def cast(
    x: Any, fmt: Format | str, preset: str | Preset, *, random: Any = None, seed: int | None = None, stream: int = 0
) -> Array:
    """Return the codes that a named real system gives when it casts ``x``.

    Parameters
    ----------
    x : array_like
        float16, bfloat16 of ml_dtypes, float32, float64, integers.
    fmt : Format or str
        The target.
    preset : str or Preset
        A name of ``PRESETS``: "torch", "ml_dtypes", "cuda_satfinite" ...
    random, seed, stream
        For presets that round stochastically, as for :func:`floatemu.round`.

    Returns
    -------
    ndarray of unsigned integers
        Codes, right-aligned.

    Raises
    ------
    UnsupportedError
        If there is no such preset, or the system has no such cast.

    Examples
    --------
    >>> import floatemu as fe
    >>> x = [1 + 2**-4 + 2**-40, 500.0]
    >>> [fe.decode(fe.cast(x, "e4m3fn", name), "e4m3fn").tolist() for name in ("exact", "ml_dtypes", "torch")]
    [[1.125, nan], [1.0, nan], [1.0, 448.0]]
    """
    return get(preset).cast(x, fmt, random=random, seed=seed, stream=stream)
