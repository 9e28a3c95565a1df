"""Casts of other libraries, as they are installed: the only place that calls them for the sake of comparing.

The file also runs alone, in an environment that has the library and numpy but not floatemu:
``python -I peers.py NAME PROBES.npz CODES.npz`` casts the arrays of PROBES, whose keys are "source target". Numbers of
bfloat16 lie in float32. Nothing here is imported before it is called.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Cast = Callable[[Array, str, str], Array]
"""(numbers, name of their format, name of the target) -> codes, or values where a library has no codes."""

_ONNX = {
    "binary16": "FLOAT16", "bfloat16": "BFLOAT16", "binary32": "FLOAT", "binary64": "DOUBLE", "int64": "INT64",
    "e4m3fn": "FLOAT8E4M3FN", "e4m3fnuz": "FLOAT8E4M3FNUZ", "e5m2": "FLOAT8E5M2", "e5m2fnuz": "FLOAT8E5M2FNUZ",
    "e8m0fnu": "FLOAT8E8M0", "e2m1fn": "FLOAT4E2M1",
}  # fmt: skip
_BITS = {"binary16": (5, 10), "e4m3fn": (4, 3), "e5m2": (5, 2), "e3m4": (3, 4), "e2m3fn": (2, 3), "e3m2fn": (3, 2),
         "e2m1fn": (2, 1)}  # fmt: skip


class Absent(Exception):
    """The library has no such cast."""


def _dtype(module: Any, target: str) -> Any:
    width = {"e2m3fn": "float6_", "e3m2fn": "float6_", "e2m1fn": "float4_"}.get(target, "float8_")
    name = {"binary16": "float16", "bfloat16": "bfloat16"}.get(target, width + target)
    found = getattr(module, name, None)
    if found is None:
        raise Absent(f"{module.__name__} has no {name}")
    return found


def _upper(x: Array) -> Array:
    """The codes of bfloat16 numbers that lie in float32."""
    return (np.ascontiguousarray(x).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def _with_bfloat16(x: Array, source: str) -> Array:
    if source != "bfloat16":
        return x
    return _upper(x).view(importlib.import_module("ml_dtypes").bfloat16)


def _codes(y: Array) -> Array:
    return np.ascontiguousarray(y).view(f"u{y.dtype.itemsize}")


def _numpy(x: Array, source: str, target: str) -> Array:
    if target != "binary16" or source == "bfloat16":
        raise Absent(f"numpy has no {target}, or no {source}")
    return _codes(x.astype(np.float16))


def _ml_dtypes(x: Array, source: str, target: str) -> Array:
    if target == "binary16":
        raise Absent("float16 is numpy's")
    dtype = _dtype(importlib.import_module("ml_dtypes"), target)
    return _codes(_with_bfloat16(x, source).astype(dtype))


def _torch(device: str) -> Cast:
    def cast(x: Array, source: str, target: str) -> Array:
        torch = importlib.import_module("torch")
        if device == "cuda" and not torch.cuda.is_available():
            raise Absent("torch finds no CUDA device here")
        tensor = torch.from_numpy(_upper(x)).view(torch.bfloat16) if source == "bfloat16" else torch.from_numpy(x)
        y = tensor.to(device).to(_dtype(torch, target))
        return np.asarray(y.view(torch.uint16 if y.element_size() == 2 else torch.uint8).cpu().numpy())

    return cast


def _jax(x: Array, source: str, target: str) -> Array:
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    dtype = _dtype(jax.numpy, target)
    return _codes(np.asarray(jax.numpy.asarray(_with_bfloat16(x, source)).astype(dtype)))


def _tensorflow(x: Array, source: str, target: str) -> Array:
    tf = importlib.import_module("tensorflow")
    place = tf if target in ("binary16", "bfloat16") else tf.dtypes.experimental
    return _codes(tf.cast(tf.constant(_with_bfloat16(x, source)), _dtype(place, target)).numpy())


def _onnx_model(source: str, target: str, saturate: int) -> Any:
    onnx = importlib.import_module("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    try:
        start, end = (getattr(kinds, _ONNX[name]) for name in (source, target))
    except (KeyError, AttributeError):
        raise Absent(f"ONNX has no {source} or {target}") from None
    options = {"saturate": saturate} if target.startswith("e") and target != "e2m1fn" else {}
    node = helper.make_node("Cast", ["x"], ["y"], to=end, **options)
    ends = [helper.make_tensor_value_info(name, kind, [None]) for name, kind in (("x", start), ("y", end))]
    version = min(onnx.defs.onnx_opset_version(), 25)
    graph = helper.make_graph([node], "cast", ends[:1], ends[1:])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", version)], ir_version=min(11, onnx.IR_VERSION)
    )


def _onnx(saturate: int) -> Cast:
    def cast(x: Array, source: str, target: str) -> Array:
        model = _onnx_model(source, target, saturate)
        evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator(model)
        return _codes(evaluator.run(None, {"x": _with_bfloat16(x, source)})[0])

    return cast


def _onnxruntime(saturate: int) -> Cast:
    def cast(x: Array, source: str, target: str) -> Array:
        runtime = importlib.import_module("onnxruntime")
        kinds = importlib.import_module("onnx").TensorProto
        model = _onnx_model(source, target, saturate).SerializeToString()
        try:
            session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise Absent(str(error).split("\n")[0]) from None
        value, out = runtime.OrtValue, np.zeros(x.size, np.uint16 if target.startswith("b") else np.uint8)
        if source == "bfloat16":
            operand = value.ortvalue_from_numpy_with_onnx_type(_upper(x), kinds.BFLOAT16)
        else:
            operand = value.ortvalue_from_numpy(x)
        result = value.ortvalue_from_numpy_with_onnx_type(out, getattr(kinds, _ONNX[target]))
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", operand)
        binding.bind_ortvalue_output("y", result)
        session.run_with_iobinding(binding)
        return out

    return cast


def _gfloat(x: Array, source: str, target: str) -> Array:
    formats = importlib.import_module("gfloat.formats")
    name = {"e4m3fn": "ocp_e4m3", "e5m2": "ocp_e5m2", "e2m3fn": "ocp_e2m3", "e3m2fn": "ocp_e3m2", "e2m1fn": "ocp_e2m1"}
    info = getattr(formats, f"format_info_{name.get(target, target)}", None)
    if info is None or source == "int64":
        raise Absent(f"gfloat has no {target}, or takes no {source}")
    gfloat = importlib.import_module("gfloat")
    values = gfloat.round_ndarray(info, x.astype(np.float64), gfloat.RoundMode.TiesToEven, False)
    return np.asarray(gfloat.encode_ndarray(info, values)).astype(np.uint16)


def _qtorch(x: Array, source: str, target: str) -> Array:
    if target not in _BITS or source not in ("binary32", "bfloat16"):
        raise Absent(f"QPyTorch has no {target}, or takes no {source}")
    torch, quant = importlib.import_module("torch"), importlib.import_module("qtorch.quant")
    exponent, significand = _BITS[target]
    return np.asarray(quant.float_quantize(torch.from_numpy(x), exponent, significand, "nearest").numpy())


CASTS: dict[str, tuple[str, Cast]] = {
    "numpy": ("numpy", _numpy),
    "ml_dtypes": ("ml_dtypes", _ml_dtypes),
    "torch": ("torch", _torch("cpu")),
    "torch_cuda": ("torch", _torch("cuda")),
    "jax": ("jax", _jax),
    "tensorflow": ("tensorflow", _tensorflow),
    "onnx": ("onnx", _onnx(1)),
    "onnx_saturate_0": ("onnx", _onnx(0)),
    "onnxruntime": ("onnxruntime", _onnxruntime(1)),
    "onnxruntime_saturate_0": ("onnxruntime", _onnxruntime(0)),
    "gfloat": ("gfloat", _gfloat),
    "qpytorch": ("qtorch", _qtorch),
}
"""By name: the module that must be there, and the cast."""


def version(name: str) -> str | None:
    """Return the version of the library behind a name of ``CASTS`` that is installed, or None.

    Parameters
    ----------
    name : str

    Returns
    -------
    str or None

    Examples
    --------
    >>> version("numpy") == np.__version__
    True
    """
    module = CASTS[name][0]
    try:
        found = importlib.metadata.packages_distributions().get(module, [])
        return importlib.metadata.version(found[0]) if found else None
    except importlib.metadata.PackageNotFoundError:
        return None


def main(name: str, probes: str, out: str) -> None:
    """Cast every array of a file of probes, and write the results; what the library lacks is left out."""
    found: dict[str, Any] = {}
    with np.load(probes, allow_pickle=False) as file, np.errstate(all="ignore"):
        for key in file.files:
            source, target = key.split(" ")
            try:
                found[key] = CASTS[name][1](np.ascontiguousarray(file[key]), source, target)
            except Exception as error:
                sys.stderr.write(f"{name}, {key}: {type(error).__name__}: {str(error)[:80]!r}\n")
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
