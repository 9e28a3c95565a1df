"""What torch does on the GPU: conversions between dtypes, and matrix products through its libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from .gemm import Call
from .vectors import LAYOUTS

Array = np.ndarray[Any, Any]
DTYPES = {
    "binary16": "float16", "bfloat16": "bfloat16", "binary32": "float32", "tf32": "float32",
    "e4m3fn": "float8_e4m3fn", "e5m2": "float8_e5m2", "e4m3fnuz": "float8_e4m3fnuz", "e5m2fnuz": "float8_e5m2fnuz",
    "e8m0fnu": "float8_e8m0fnu", "int8": "int8", "int32": "int32",
}  # fmt: skip
CASTS = ("binary16", "bfloat16", "e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz", "e8m0fnu")
"""Targets of torch's conversions from float32."""
_SIGNED = {1: np.int8, 2: np.int16, 4: np.int32}
_MULTIPLE = 32


def to_torch(torch: Any, codes: Array, name: str, device: str) -> Any:
    """A tensor of the dtype whose elements have these codes."""
    plain = torch.from_numpy(np.ascontiguousarray(codes).view(_SIGNED[codes.dtype.itemsize]))
    return plain.view(getattr(torch, DTYPES[name])).to(device)


def from_torch(torch: Any, tensor: Any, name: str) -> Array:
    """The codes of a tensor's elements."""
    size = tensor.element_size()
    plain: Array = tensor.contiguous().view({1: torch.int8, 2: torch.int16, 4: torch.int32}[size]).cpu().numpy()
    layout = LAYOUTS.get(name)
    return plain.view(f"uint{8 * size}" if layout is None else layout.dtype)


class TorchCast:
    """A conversion ``x.to(dtype)`` of float32 numbers, hashed on the device with 64-bit integers.

    Parameters
    ----------
    torch : module
    target : str
    device : str
    """

    batch = 2**24

    def __init__(self, torch: Any, target: str, device: str) -> None:
        self._torch, self._device = torch, device
        self._dtype = getattr(torch, DTYPES[target])

    def _outputs(self, inputs: Any) -> Any:
        torch = self._torch
        wrapped = torch.where(inputs >= 2**31, inputs - 2**32, inputs).to(torch.int32)
        found = wrapped.view(torch.float32).to(self._dtype)
        size = found.element_size()
        plain = found.view({1: torch.uint8, 2: torch.int16, 4: torch.int32}[size]).to(torch.int64)
        return plain & (2 ** (8 * size) - 1)

    def hashes(self, first: int, count: int, size: int) -> Array:
        """See :class:`~.casts.Converter`."""
        torch, found = self._torch, []
        step = max(self.batch // size, 1)
        for chunk in range(first, first + count, step):
            many = min(step, first + count - chunk)
            inputs = torch.arange(chunk * size, (chunk + many) * size, dtype=torch.int64, device=self._device)
            words = mix((inputs << 32) | self._outputs(inputs))
            found.append(words.reshape(many, size).sum(1).cpu().numpy().view(np.uint64))
        return np.concatenate(found)

    def each(self, codes: Array) -> Array:
        """See :class:`~.casts.Converter`."""
        inputs = self._torch.from_numpy(codes.astype(np.int64)).to(self._device)
        plain: Array = self._outputs(inputs).cpu().numpy()
        return plain.astype(np.uint32)


def mix(z: Any) -> Any:
    """SplitMix64's finaliser of an int64 tensor, which wraps like uint64; its shifts are made logical by masks."""
    z = (z ^ ((z >> 30) & (2**34 - 1))) * (0xBF58476D1CE4E5B9 - 2**64)
    z = (z ^ ((z >> 27) & (2**37 - 1))) * (0x94D049BB133111EB - 2**64)
    return z ^ ((z >> 31) & (2**33 - 1))


class TorchLibrary:
    """Matrix products through torch.

    Parameters
    ----------
    torch : module
    sm : int
        Compute capability.
    device : str
    """

    def __init__(self, torch: Any, sm: int, device: str = "cuda") -> None:
        self._torch, self._sm, self._device = torch, sm, device
        matmul = torch.backends.cuda.matmul
        # These only permit split-K reductions in the output's format, which would hide what the unit does.
        matmul.allow_fp16_reduced_precision_reduction = False
        matmul.allow_bf16_reduced_precision_reduction = False

    def calls(self) -> Iterator[Call]:
        """Every call that this torch and this device have."""
        for name in ("binary16", "bfloat16"):
            yield self._call("torch.mm", {}, name, name, name, self._mm)
            yield self._call("torch.mm", {"out_dtype": "float32"}, name, name, "binary32", self._mm_wide)
        yield self._call("torch.mm", {"allow_tf32": True}, "tf32", "tf32", "binary32", self._mm_tf32)
        yield self._call("torch._int_mm", {}, "int8", "int8", "int32", self._int_mm)
        if self._sm >= 89:
            for a, b in (("e4m3fn", "e4m3fn"), ("e4m3fn", "e5m2"), ("e5m2", "e4m3fn")):
                for fast in (True, False):
                    options = {"use_fast_accum": fast}
                    yield self._call("torch._scaled_mm", options, a, b, "binary32", self._scaled(fast))
            for fast in (True, False):  # row-wise scales are another library's kernels, with bfloat16 results
                options = {"use_fast_accum": fast, "scales": "row-wise"}
                run = self._scaled(fast, by_row=True)
                yield self._call("torch._scaled_mm", options, "e4m3fn", "e4m3fn", "bfloat16", run)
        yield from self._triton()

    def _call(self, call: str, options: dict[str, Any], a: str, b: str, d: str, run: Callable[[Any, Any], Any]) -> Call:
        def on_codes(x: Array, y: Array) -> tuple[Array, list[str]]:
            rows = len(x)
            padded = np.concatenate([x, np.repeat(x[-1:], -rows % _MULTIPLE, axis=0)])  # libraries want whole tiles
            left, right = to_torch(self._torch, padded, a, self._device), to_torch(self._torch, y, b, self._device)
            found, kernels = self._profiled(lambda: run(left, right.t()))
            return from_torch(self._torch, found[:rows], d), kernels

        return Call(call, options, a, b, d, on_codes)

    def _profiled(self, run: Callable[[], Any]) -> tuple[Any, list[str]]:
        found = run()
        if self._device == "cpu":
            return found, []
        self._torch.cuda.synchronize()
        return found, self._kernels(run)

    def _kernels(self, run: Callable[[], Any]) -> list[str]:
        """Names of the kernels that a second run launches."""
        torch = self._torch
        try:
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                run()
                torch.cuda.synchronize()
            names = [event.name for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
        except Exception:  # a machine may forbid tracing in many ways, and the results are there all the same
            return []
        return list(dict.fromkeys(name for name in names if not name.startswith(("Memcpy", "Memset"))))

    def _mm(self, a: Any, b: Any) -> Any:
        return self._torch.mm(a, b)

    def _mm_wide(self, a: Any, b: Any) -> Any:
        return self._torch.mm(a, b, out_dtype=self._torch.float32)

    def _mm_tf32(self, a: Any, b: Any) -> Any:
        matmul = self._torch.backends.cuda.matmul
        before, matmul.allow_tf32 = matmul.allow_tf32, True
        try:
            return self._torch.mm(a, b)
        finally:
            matmul.allow_tf32 = before

    def _int_mm(self, a: Any, b: Any) -> Any:
        return self._torch._int_mm(a, b)

    def _scaled(self, fast: bool, by_row: bool = False) -> Callable[[Any, Any], Any]:
        torch = self._torch

        def run(a: Any, b: Any) -> Any:
            shapes: tuple[tuple[int, ...], ...] = ((len(a), 1), (1, b.shape[1])) if by_row else ((), ())
            left, right = (torch.ones(shape, dtype=torch.float32, device=self._device) for shape in shapes)
            wanted = torch.bfloat16 if by_row else torch.float32
            return torch._scaled_mm(a, b, scale_a=left, scale_b=right, out_dtype=wanted, use_fast_accum=fast)

        return run

    def _triton(self) -> Iterator[Call]:
        try:
            from . import triton_dot
        except ImportError:
            return
        for name, most in (("binary16", None), ("bfloat16", None), ("e4m3fn", None), ("e4m3fn", 64), ("e5m2", None)):
            if name.startswith("e") and self._sm < 89:
                continue
            options = {"max_num_imprecise_acc": most, "block": 128}
            run = partial(triton_dot.matmul, self._torch, most=most)
            yield self._call("triton.language.dot", options, name, name, "binary32", run)
