"""The compiled loops and all compile policy: the only file that says njit.

Policy. No fastmath. ``nogil``, so that threads of the caller's run side by side. Kernels are compiled
on first use, one per (carrier, mode, kind of result), never per format, and cached on disk. numba's
own cache watches only the file a function stands in, so the key here holds a hash of the source of all
of ``_core`` and of the projection enums: an edit anywhere is seen.

A tile of the data is prefetched some tiles ahead: the loop bodies are long enough that out-of-order
execution alone does not keep the memory busy (measured: 2.9 against 1.6 times a plain copy).
"""

from __future__ import annotations

import hashlib
import re
import types as pytypes
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.caching import FunctionCache
from numba.extending import intrinsic, overload, register_jitable

from floatemu._core import exact as _exact
from floatemu._core import random as _random
from floatemu._core import rounding as _rounding
from floatemu._core.random import draw, word_at
from floatemu._core.rounding import (
    INEXACT,
    NA,
    NE,
    SA,
    SB,
    SC,
    TN,
    TO,
    TP,
    TZ,
    as_target,
    decode_code,
    project_carrier,
    project_scaled,
)

JIT_DISABLED: bool = getattr(config, "DISABLE_JIT")  # noqa: B009  (set when numba reads its settings)
_njit: Any = numba.njit


@intrinsic
def _logical_shift_right(typing_context: Any, x: Any, n: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.lshr(*arguments)

    return x(x, x), generate


@overload(_rounding.shift_right)
def _shift_right(w: Any, x: Any, n: Any) -> Any:
    def implementation(w: Any, x: Any, n: Any) -> Any:
        return _logical_shift_right(x, n)  # type: ignore[call-arg]

    return implementation


def register(functions: Iterable[Callable[..., Any]]) -> None:
    """Let compiled code call these functions of the core's text as they stand."""
    for function in functions:
        register_jitable(function)


register((*_rounding.TEXT, *_random.TEXT))


@overload(_exact.bits_of)
def _bits_of(x: Any) -> Any:
    def implementation(x: Any) -> Any:
        return np.float64(x).view(np.uint64)

    return implementation


@overload(_exact.float_of)
def _float_of(bits: Any) -> Any:
    def implementation(bits: Any) -> Any:
        return np.uint64(bits).view(np.float64)

    return implementation


@intrinsic
def _fused(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@overload(_exact.fma64)
def _fma64(a: Any, b: Any, c: Any) -> Any:
    def implementation(a: Any, b: Any, c: Any) -> Any:
        return _fused(a, b, c)  # type: ignore[call-arg]

    return implementation


TILE_BYTES, AHEAD_BYTES, LINE = 512, 2048, 64
"""Bytes of source in the shortest tile, between a prefetch and its use, and in a cache line."""


def source_key(folder: Path | None = None) -> str:
    """Hash of every source text that a compiled kernel may contain.

    Parameters
    ----------
    folder : Path, optional
        The ``_core`` folder; its parent holds ``projection.py``. Default: this package's.

    Returns
    -------
    str
    """
    folder = Path(__file__).parent if folder is None else folder
    digest = hashlib.sha256()
    for path in [*sorted(folder.glob("*.py")), folder.parent / "projection.py"]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


SOURCE_KEY = source_key()
_DISPATCHERS: dict[str, Any] = {}


def specialisations() -> dict[str, int]:
    """How often each kernel has been compiled, or loaded from disk, in this process.

    Returns
    -------
    dict
        Label to number of signatures.
    """
    return {label: len(function.overloads) for label, function in _DISPATCHERS.items() if function.overloads}


class _KeyedCache(FunctionCache):
    """numba's disk cache with a key of our own: signature, target, specialisation, source of ``_core``."""

    label = ""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (sig, codegen.magic_tuple(), self.label, SOURCE_KEY)


def named(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    """Give a closure a name of its own, made of its label.

    numba names machine code after the function and a counter of the process. Two closures of one
    factory, compiled in two processes and loaded from disk into a third, can thus share a name, and
    one is then silently run for the other. A closure's constants are in its label, so a name made of
    the label cannot be shared by different code.
    """
    digest = hashlib.sha256(label.encode()).hexdigest()[:16]
    words = re.sub(r"[^0-9A-Za-z]+", "_", label)[:40]
    function.__qualname__ = f"{function.__name__}_{words}_{digest}"
    return function


def compiled(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    """Compile ``function`` on its first call, through the disk cache under ``label``.

    Parameters
    ----------
    function : callable
        A closure whose free variables are determined by ``label``.
    label : str
        Names the specialisation.

    Returns
    -------
    callable
    """
    dispatcher: Callable[..., Any] = _njit(nogil=True, error_model="numpy")(named(function, label))
    if JIT_DISABLED:
        return dispatcher  # the plain function
    _DISPATCHERS[label] = dispatcher
    make_cache: Any = _KeyedCache
    try:
        keyed = make_cache(function)
    except RuntimeError:  # no writable cache folder: compile in each process
        pass
    else:
        keyed.label = label
        dispatcher._cache = keyed  # type: ignore[attr-defined]
    return dispatcher


def _prefetch(write: int) -> Any:
    @intrinsic
    def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
        signature = types.void(array, index)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            from numba.np.arrayobj import make_array  # here: importing it costs as much as all of floatemu

            array_of: Any = make_array
            data = array_of(signature.args[0])(context, builder, arguments[0]).data
            pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
            i32 = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
            function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
            builder.call(function, [pointer, i32(write), i32(3), i32(1)])
            return context.get_dummy_value()

        return signature, generate

    return prefetch


_prefetch_read, _prefetch_write = _prefetch(0), _prefetch(1)


def _no_prefetch(array: Any, index: Any) -> None:
    """Stands in for the intrinsics where the JIT is disabled."""


if JIT_DISABLED:
    _prefetch_read = _prefetch_write = _no_prefetch

SCALED_BIAS = 2**17
"""Bias of the exponents handed to ``project_scaled``: more than any format's or binary64's exponent."""

# The generator multiplies modulo 2^64: numpy's scalars, used where the JIT is off, would warn of it.
GENERATOR_WORD = int if JIT_DISABLED else np.uint64

CARRIERS = pytypes.MappingProxyType({"float32": (np.uint32, 23), "float64": (np.uint64, 52)})
"""Word and trailing significand bits of each carrier."""


@cache
def carrier_loop(carrier: str, fixed: int | None, coded: bool, flagged: bool) -> Callable[..., Any]:
    """Return the loop that projects an array of carrier bits.

    Parameters
    ----------
    carrier : str
        "float32" or "float64".
    fixed : int, optional
        A :class:`~floatemu.projection.Rounding`, fixed at compile time; None: any other than nearest-even, as
        run-time data, which chooses among tiles that are each compiled for one: flags are wanted seldom enough to
        compile eight modes when the first is, and ten times faster so.
    coded : bool
        Whether results are codes rather than carrier bits.
    flagged : bool
        Whether flags are written.

    Returns
    -------
    callable
        ``loop(source, result, flags, words, mode, random, n, state, first)``; 1-D contiguous arrays, all of
        one length but ``words``, the fields of the target, ``flags`` (of any length unless ``flagged``) and ``random``
        (empty: numbers are computed from ``state`` and the index ``first + i``; used by stochastic modes only).
    """
    word, t = CARRIERS[carrier]
    may_draw = fixed is None or fixed >= SA
    known = fixed is not None
    w32, g = np.uint32, GENERATOR_WORD
    itemsize = np.dtype(carrier).itemsize
    # Each tile begins by loading the target. Where that counts beside memory, twice as long ones are 7 to 20 % faster.
    tile_size, ahead = TILE_BYTES * (2 if t == 23 or flagged else 1) // itemsize, AHEAD_BYTES // itemsize
    label = (
        f"{carrier} {'any' if fixed is None else fixed} {'codes' if coded else 'values'}{' flags' if flagged else ''}"
    )

    def make_tile(mode: int) -> Any:
        draws = mode >= SA
        # Whether a result is tiny takes a second rounding. That of stochastic modes is too long to be vectorised with
        # the first; it waits for a second pass, as most numbers do not need it.
        later = flagged and draws
        kind = 2 if later else int(flagged)
        magnitude = word((1 << (31 if t == 23 else 63)) - 1)

        def tile(source: Any, result: Any, flags: Any, target: Any, random: Any, n: Any, ones: Any) -> Any:
            for i in range(source.size):
                r = word(random[i]) if draws else word(0)
                out, flag = project_carrier(word, t, source[i], target, mode, r, n, ones, coded, kind)
                result[i] = out
                if flagged:
                    flags[i] = flag
            if later:
                normal: Any = word(target.emin << word(t))
                for i in range(source.size):
                    if word(source[i] & magnitude) < normal and flags[i] & INEXACT != 0:
                        r = word(random[i]) if draws else word(0)
                        _, flag = project_carrier(word, t, source[i], target, mode, r, n, ones, coded, 1)
                        flags[i] = flag

        # Part of the loop, a function of its own only so that LLVM sees a plain loop.
        register_jitable(named(tile, f"{label} {mode}"))
        return tile

    one = make_tile(fixed or 0)
    na, tz, tp, tn, to, sa, sb, sc = (one if known else make_tile(mode) for mode in range(NE + 1, SC + 1))

    def tiles(source: Any, result: Any, flags: Any, target: Any, given: Any, random: Any, n: Any, ones: Any) -> Any:
        if known:
            one(source, result, flags, target, random, n, ones)
        elif given == NA:
            na(source, result, flags, target, random, n, ones)
        elif given == TZ:
            tz(source, result, flags, target, random, n, ones)
        elif given == TP:
            tp(source, result, flags, target, random, n, ones)
        elif given == TN:
            tn(source, result, flags, target, random, n, ones)
        elif given == TO:
            to(source, result, flags, target, random, n, ones)
        elif given == SA:
            sa(source, result, flags, target, random, n, ones)
        elif given == SB:
            sb(source, result, flags, target, random, n, ones)
        else:
            sc(source, result, flags, target, random, n, ones)

    register_jitable(named(tiles, f"{label} tiles"))

    def loop(
        source: Any, result: Any, flags: Any, words: Any, given: Any, random: Any, n: Any, state: Any, first: Any
    ) -> Any:
        target = as_target(words)
        draws = may_draw if known else given >= SA
        drawn = np.empty(tile_size + 2 if may_draw else 0, np.uint32)
        spare = w32(32 - int(n))
        ones = word(2 ** int(n) - 1)
        size = source.size
        for start in range(0, size, tile_size):
            stop = min(start + tile_size, size)
            for i in range(start + ahead, min(stop + ahead, size), LINE // source.itemsize):
                _prefetch_read(source, i)
            for i in range(start + ahead, min(stop + ahead, size), LINE // result.itemsize):
                _prefetch_write(result, i)
            piece = drawn
            if draws:
                if random.size > 0:
                    piece = random[start:stop]
                else:
                    position = g(g(first) + g(start))
                    odd = int(position & g(1))
                    for i in range((stop - start + odd + 1) // 2):
                        both = word_at(g, g(state), g(g(position >> g(1)) + g(i)))
                        drawn[2 * i] = w32(both & g(0xFFFFFFFF)) >> spare
                        drawn[2 * i + 1] = w32(both >> g(32)) >> spare
                    piece = drawn[odd : odd + stop - start]
            tiles(source[start:stop], result[start:stop], flags[start:stop], target, given, piece, n, ones)

    return compiled(loop, label)


@cache
def scaled_loop() -> Callable[..., Any]:
    """Return the loop that projects integers times a power of two; any format, mode as run-time data.

    Returns
    -------
    callable
        ``loop(magnitudes, negatives, exponents, codes, flags, target, mode, random, n, state, first)``:
        uint64 magnitudes m, booleans, int64 exponents q (value m * 2^q, biased by ``SCALED_BIAS``).
    """
    w, g = np.uint64, GENERATOR_WORD

    def loop(
        magnitudes: Any,
        negatives: Any,
        exponents: Any,
        codes: Any,
        flags: Any,
        target: Any,
        mode: Any,
        random: Any,
        n: Any,
        state: Any,
        first: Any,
    ) -> Any:
        ones = w(w(w(1) << n) - w(1))
        for i in range(magnitudes.size):
            sig = magnitudes[i]
            zeros = w(0)
            while sig != w(0) and sig >> w(63) == w(0):
                sig = w(sig << w(1))
                zeros = w(zeros + w(1))
            e = w(w(exponents[i] + SCALED_BIAS + 63) - zeros)
            r = w(0)
            if mode >= SA:
                r = w(random[i]) if random.size > 0 else w(draw(g, g(state), g(g(first) + g(i)), g(n)))
            out, flag = project_scaled(w, 63, sig, w(0), e, negatives[i], target, mode, r, n, ones, True)
            codes[i] = out
            flags[i] = flag

    return compiled(loop, "scaled")


@cache
def decode_loop() -> Callable[..., Any]:
    """Return ``loop(codes, bits, layout)``: codes (uint64) to binary64 bits (uint64)."""
    w = np.uint64

    def loop(codes: Any, bits: Any, layout: Any) -> Any:
        for i in range(codes.size):
            bits[i] = decode_code(w, codes[i], layout, SCALED_BIAS)

    return compiled(loop, "decode")


def scalar_projection(target: Any, layout: Any, mode: int, n: int, state: int, carried: bool) -> Callable[..., Any]:
    """Return ``scalar(x, index)``: one binary64 number in, one out, callable from compiled code.

    Parameters
    ----------
    target, layout : Target, Layout
        In uint64 words; ``target`` for binary64 bits if ``carried``, else for ``project_scaled``.
    mode, n, state : int
        Rounding mode, random bits, generator state.
    carried : bool
        Which of the two arrangements serves the format.

    Returns
    -------
    callable
    """
    w, g = np.uint64, GENERATOR_WORD
    bits_n, ones, generator = np.uint64(n), np.uint64(2**n - 1), np.uint64(state)
    infinity = np.uint64(0x7FF0000000000000)

    def scalar(x: Any, index: Any = 0) -> Any:
        if isinstance(x, int) and abs(x) > 2**53:
            raise ValueError("an integer beyond 2^53 may not be a binary64 number, and would be rounded twice")
        bits = np.float64(x).view(np.uint64)
        r = w(0)
        if mode >= SA:
            r = w(draw(g, g(generator), g(index), g(bits_n)))
        if carried:
            out, _ = project_carrier(w, 52, bits, target, mode, r, bits_n, ones, False, False)
            return w(out).view(np.float64)
        mag = w(bits & w(0x7FFFFFFFFFFFFFFF))
        negative = mag != bits
        if mag >= infinity:
            code = target.inf_neg if negative else target.inf_pos
            if mag > infinity:
                code = target.nan
        else:
            sig = w(mag & w((1 << 52) - 1))
            field = w(mag >> w(52))
            if field > w(0):
                sig = w(sig | w(1 << 52))
            e = w(max(field, w(1)) + w(SCALED_BIAS - 1023))
            sig = w(sig << w(11))
            while (sig != w(0)) and (w(sig >> w(63)) == w(0)):
                sig = w(sig << w(1))
                e = w(e - w(1))
            code, _ = project_scaled(w, 63, sig, w(0), e, negative, target, mode, r, bits_n, ones, False)
        return w(decode_code(w, w(code), layout, SCALED_BIAS)).view(np.float64)

    constants = (*map(int, target), *map(int, layout), mode, n, state, carried)
    function: Callable[..., Any] = _njit(nogil=True)(named(scalar, f"rounder {constants}"))
    return function
