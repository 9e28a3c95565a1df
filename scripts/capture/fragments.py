"""Which number lies in which register: tiles of codes to the words of a warp, and back.

One rule serves every mma shape (PTX ISA, "Matrix fragments"). With e operands to a word, g = lane / 4 and t = lane mod
4, word r of A holds row g + 8 (r mod 2) and k = 4e (r / 2) + e t + i for i < e; of B, column g and k = 4e r + e t + i.
Words of C and D hold columns 2t and 2t + 1 of row g, then of row g + 8. A wgmma warp w has rows 16w and on.

wgmma reads A and B from shared memory, here without swizzle: 8 rows of 16 bytes of K are a core matrix of 128
consecutive bytes, the next 16 bytes of K lie LEADING bytes on, the next 8 rows STRIDE bytes on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .table import Instruction

Array = np.ndarray[Any, Any]
Index = tuple[Array, Array]
LEADING, STRIDE = 128, 256
WIDTH = 32
"""Bytes of K in a row of a wgmma operand."""


def word_dtype(i: Instruction) -> np.dtype[Any]:
    """Registers are words of 32 bits, or of 64 for binary64."""
    return np.dtype(np.uint64 if i.bits == 64 else np.uint32)


def _lanes(registers: int, each: int) -> tuple[Array, Array, Array, Array]:
    lane = np.arange(32)[:, None, None]
    r, slot = np.arange(registers)[None, :, None], np.arange(each)[None, None, :]
    return lane // 4, lane % 4, r, slot


def places_of_a(i: Instruction) -> Index:
    """Rows and k of A by (lane, register, slot)."""
    m, _, k = i.shape
    each, halves = _each(i), min(m // 8, 2)
    g, t, r, slot = _lanes(m * k // (32 * each), each)
    row, inner = np.broadcast_arrays(g + 8 * (r % halves), 4 * each * (r // halves) + each * t + slot)
    return row, inner


def places_of_b(i: Instruction) -> Index:
    """k and columns of B by (lane, register, slot)."""
    _, n, k = i.shape
    each = _each(i)
    g, t, r, slot = _lanes(n * k // (32 * each), each)
    inner, column = np.broadcast_arrays(4 * each * r + each * t + slot, g)
    return inner, column


def places_of_d(i: Instruction) -> Index:
    """Rows and columns of C and D by (thread, register, slot); a wgmma has 128 threads."""
    m, n, _ = i.shape
    each, threads = _each_result(i), threads_of(i)
    g, t, r, slot = _lanes(m * n // (threads * each), each)
    element = r * each + slot
    row, column = np.broadcast_arrays(g + 8 * (element // 2), 2 * t + element % 2)
    warps = threads // 32
    return np.concatenate([row + 16 * w for w in range(warps)]), np.concatenate([column] * warps)


def threads_of(i: Instruction) -> int:
    """Threads that issue one instruction together."""
    return 128 if i.family == "wgmma" else 32


def _each(i: Instruction) -> int:
    return max(32 // i.bits, 1)


def _each_result(i: Instruction) -> int:
    return max(32 // i.result_bits, 1)


def _pack(tiles: Array, places: Index, dtype: np.dtype[Any], bits: int) -> Array:
    chosen = tiles[:, places[0], places[1]].astype(dtype)
    shift = (np.arange(chosen.shape[-1]) * bits).astype(dtype)
    words: Array = np.bitwise_or.reduce(chosen << shift, axis=-1)
    return words


def _image(rows: Array) -> Array:
    """Shared memory of a wgmma operand: rows (tiles, R, K) of codes, K-major, as words."""
    tiles, count, _ = rows.shape
    data = np.ascontiguousarray(rows).view(np.uint8).reshape(tiles, count // 8, 8, WIDTH // 16, 16)
    return np.ascontiguousarray(data.transpose(0, 1, 3, 2, 4)).reshape(tiles, -1).view(np.uint32)


def pack_a(i: Instruction, tiles: Array) -> Array:
    """Words of A: (tiles, M, K) codes to (tiles, lanes, registers), or for wgmma to (tiles, words of memory)."""
    if i.family == "wgmma":
        return _image(tiles)
    return _pack(tiles, places_of_a(i), word_dtype(i), i.bits)


def pack_b(i: Instruction, tiles: Array) -> Array:
    """Words of B, (tiles, K, N) codes."""
    if i.family == "wgmma":
        return _image(tiles.swapaxes(1, 2))
    return _pack(tiles, places_of_b(i), word_dtype(i), i.bits)


def pack_c(i: Instruction, tiles: Array) -> Array:
    """Words of C, (tiles, M, N) codes."""
    return _pack(tiles, places_of_d(i), word_dtype(i), i.result_bits)


def unpack_d(i: Instruction, words: Array) -> Array:
    """Codes (tiles, M, N) of the words (tiles, threads, registers) of D."""
    m, n, _ = i.shape
    places = places_of_d(i)
    slots = np.arange(places[0].shape[-1]) * i.result_bits
    codes = words[..., None] >> slots.astype(words.dtype)
    tiles = np.zeros((len(words), m, n), f"uint{i.result_bits}")
    tiles[:, places[0], places[1]] = codes & words.dtype.type(2**i.result_bits - 1)
    return tiles
