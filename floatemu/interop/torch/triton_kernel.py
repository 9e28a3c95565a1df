"""The rounding text of the core as one Triton kernel: projections on CUDA in one pass over memory.

Nothing of rounding stands here. The functions of ``floatemu._core.rounding`` and ``.random`` are handed to Triton's
compiler as they are, with Triton's names in the place of two builtins. What belongs to a format, the integers of its
:class:`~floatemu._core.rounding.Target`, lies in the device's memory: one compilation, for a carrier, a mode and a
kind of result, serves every format.
"""

from __future__ import annotations

import importlib.util
from functools import cache, lru_cache
from types import FunctionType
from typing import Any, NamedTuple

import torch

from floatemu._core import random as core_random
from floatemu._core import rounding as core
from floatemu._core.random import draw
from floatemu._core.rounding import Target, project_carrier

BLOCK = 1024
"""Numbers that one program projects."""
FIELDS = len(Target._fields)
NONE, DRAWN, GIVEN = range(3)
"""Where random bits come from: nowhere, the generator, the caller."""
SIGNED = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""As which results are stored: not every release of Triton writes unsigned ones."""
LEAST = (8, 0)
"""Compute capability from which on Triton supports NVIDIA's devices."""

tl: Any = None
"""``triton.language`` in what is compiled; Triton is imported when it is first used."""
constexpr = Any
"""``triton.language.constexpr`` there."""


def _word32(x: Any) -> Any:
    return tl.cast(x, tl.uint32)


def _word64(x: Any) -> Any:
    return tl.cast(x, tl.uint64)


def _max(a: Any, b: Any) -> Any:
    return tl.maximum(a, b)


def _min(a: Any, b: Any) -> Any:
    return tl.minimum(a, b)


def _kernel(
    source: Any, result: Any, constants: Any, random: Any, count: Any, word: constexpr, t: constexpr, mode: constexpr,
    origin: constexpr, coded: constexpr, block: constexpr,
) -> Any:  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = i < count
    # Triton knows tuples that are written out, and no range.
    target = Target(
        *[
            word(tl.load(constants + j))
            for j in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26)
        ]
    )
    n, ones = word(tl.load(constants + FIELDS)), word(tl.load(constants + (FIELDS + 1)))
    r = word(0)
    if origin == GIVEN:
        r = word(tl.load(random + i, mask=inside, other=0))
    if origin == DRAWN:
        state = _word64(tl.load(constants + (FIELDS + 2)))
        r = word(draw(_word64, state, _word64(i), _word64(n)))
    bits = tl.load(source + i, mask=inside, other=0)
    out, _ = project_carrier(word, t, bits, target, mode, r, n, ones, coded, False)
    tl.store(result + i, out, mask=inside)


class Compiled(NamedTuple):
    """What Triton makes of the text."""

    kernel: Any
    words: dict[int, Any]  #: by the trailing significand bits of the carrier


@cache
def compiled() -> Compiled:
    """Return the kernel and its words, for Triton's compiler, or its interpreter if TRITON_INTERPRET=1 is set.

    Integers are wrapped as constants, which is how Triton knows that they do not change.
    """
    import triton
    import triton.language as language

    names: dict[str, Any] = {**vars(core_random), **vars(core), "FIELDS": FIELDS, "NONE": NONE}
    names |= {"DRAWN": DRAWN, "GIVEN": GIVEN}
    names = {k: language.constexpr(v) if isinstance(v, int) else v for k, v in names.items()}
    # Annotations are read, too: Any says nothing.
    names |= {"tl": language, "constexpr": language.constexpr, "Any": language.constexpr(None)}
    own = {"max": _max, "min": _min, "_word32": _word32, "_word64": _word64}
    text = {function.__name__: function for function in (core.shift_right, *core_random.TEXT, *core.TEXT)}
    for name, function in {**own, **text}.items():
        names[name] = triton.jit(FunctionType(function.__code__, names, function.__name__))
    kernel = FunctionType(_kernel.__code__, names, "_kernel")
    kernel.__annotations__ = _kernel.__annotations__
    kernel = triton.jit(kernel, do_not_specialize=["count"])
    return Compiled(kernel, {23: names["_word32"], 52: names["_word64"]})


@cache
def serves(device: torch.device) -> bool:
    """Whether Triton is there, and makes code for a device."""
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return False
    return bool(torch.cuda.get_device_capability(device) >= LEAST)


@lru_cache(maxsize=512)
def _constants(words: tuple[int, ...], device: torch.device) -> Any:
    """Integers of 64 bits in a device's memory, by their two's complement."""
    return torch.tensor([(word + 2**63) % 2**64 - 2**63 for word in words], dtype=torch.int64, device=device)


def project(
    bits: Any, t: int, target: Target, mode: int, n: int, result: Any, *, coded: bool, state: int = 0,
    random: Any = None,
) -> None:  # fmt: skip
    """Project the bits of carrier numbers into ``result``.

    Parameters
    ----------
    bits : torch.Tensor of int32 or int64
        Contiguous; of binary32 (``t`` = 23) or binary64 (``t`` = 52) numbers.
    t : int
    target : Target
        From :func:`~floatemu.target.carrier_target`.
    mode, n, state : int
        Rounding mode, count of random bits, state of the generator.
    result : torch.Tensor
        Contiguous, of as many elements; of the dtype of ``bits``, or unsigned if ``coded``.
    coded : bool
        Whether results are codes.
    random : torch.Tensor of int64, optional
        The random integers themselves; contiguous.

    Notes
    -----
    Where TRITON_INTERPRET=1 was set at the first call, tensors on the CPU are taken, too.
    """
    count, stored = bits.numel(), result.view(SIGNED[result.dtype.itemsize])
    if not count:
        return
    made = compiled()
    words = (*map(int, target), n, 2**n - 1, state if random is None else 0)
    origin = NONE if n == 0 else DRAWN if random is None else GIVEN
    with torch.cuda.device_of(bits):
        made.kernel[(-(-count // BLOCK),)](
            bits, stored, _constants(words, bits.device), bits if random is None else random, count,
            word=made.words[t], t=t, mode=mode, origin=origin, coded=coded, block=BLOCK,
            enable_fp_fusion=False,
        )  # fmt: skip
