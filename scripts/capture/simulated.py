"""A device without silicon: executes the kernels of this folder thread by thread, floatemu being the arithmetic.

Where a number lies is written here from the PTX ISA's lists of matrix fragments, element by element and instruction by
instruction, and not with the one rule of ``fragments``: each is the other's check. The only file here that imports
floatemu.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .driver import Argument, DriverError, Output
from .gemm import Call
from .table import ARCHITECTURES, CASTS, INSTRUCTIONS, Cast, Instruction
from .vectors import LAYOUTS, generator

Array = np.ndarray[Any, Any]
Place = tuple[int, int]


def place_in_a(shape: str, bits: int, g: int, t: int, i: int) -> Place:
    """Row and column of element i of A in the lane of group g, thread t."""
    if bits == 16:
        if shape == "m16n8k8":
            return (g if i < 2 else g + 8), 2 * t + (i & 1)
        return (g if i < 2 or 4 <= i < 6 else g + 8), 2 * t + (i & 1) + (0 if i < 4 else 8)
    if bits == 8:
        return (g if i < 4 or 8 <= i < 12 else g + 8), 4 * t + (i & 3) + (0 if i < 8 else 16)
    if bits == 32:
        return (g if i in (0, 2) else g + 8), (t if i in (0, 1) else t + 4)
    if shape == "m8n8k4":
        return g, t
    return (g if i % 2 == 0 else g + 8), (i // 2) * 4 + t


def place_in_b(shape: str, bits: int, g: int, t: int, i: int) -> Place:
    """Row (k) and column of element i of B."""
    if bits == 16:
        return 2 * t + (i & 1) + (0 if i < 2 else 8), g
    if bits == 8:
        return 4 * t + (i & 3) + (0 if i < 4 else 16), g
    return t + 4 * i, g


def place_in_d(shape: str, g: int, t: int, i: int) -> Place:
    """Row and column of element i of C and D of mma."""
    return (g if i < 2 else g + 8), 2 * t + (i & 1)


class Simulated:
    """A driver whose device is a table row (or all rows of an architecture).

    Parameters
    ----------
    unit : str
        A row's name, or the beginning of several: ``hopper``, ``hopper.wgmma``.
    swapped : bool
        Whether descriptors' two offsets mean each other; for tests of the self-test.
    broken : str
        Kernel whose results have a wrong bit; for the same.
    """

    def __init__(self, unit: str, swapped: bool = False, broken: str = "") -> None:
        import floatemu.matrix

        self.emulator = floatemu.matrix
        self.rows = {row.name: row for row in floatemu.matrix.UNITS}
        architecture = unit.split(".")[0]
        known = {name: sm for sm, name in sorted(ARCHITECTURES.items(), reverse=True)}
        chosen = [name for name in self.rows if name == unit or name.startswith(unit + ".")]
        if architecture not in known or not chosen:
            raise DriverError(f"no row is named {unit!r}; given should be one of {', '.join(known)}, or a row's name")
        self.unit, self.name, self.sm = unit, f"simulated {unit}", known[architecture]
        self.swapped, self.broken = swapped, broken

    def covers(self, instruction: Instruction) -> bool:
        """Whether an instruction is one of the rows that were asked for."""
        name = instruction.unit(self.sm)
        return name is not None and name in self.rows and (name == self.unit or name.startswith(self.unit + "."))

    def run(self, kernel: str, grid: int, block: int, arguments: Sequence[Argument]) -> list[Array]:
        """Execute a kernel; see :class:`~.driver.Driver`."""
        for instruction in INSTRUCTIONS:
            if instruction.kernel == kernel:
                result = self._matrix(instruction, grid, block, arguments)
                if kernel == self.broken:
                    result.reshape(-1)[0] ^= 1
                return [result]
        for cast in CASTS:
            if kernel == f"chunk_{cast.kernel}":
                first, size = (x for x in arguments if isinstance(x, int))
                return [self._hashes(cast, grid, first, size)]
            if kernel == f"each_{cast.kernel}":
                codes, _, count = arguments
                assert isinstance(codes, np.ndarray)
                assert isinstance(count, int)
                return [convert(cast, codes[:count]).astype(np.uint32)]
        raise DriverError(f"no kernel is named {kernel}")

    def _matrix(self, i: Instruction, grid: int, block: int, arguments: Sequence[Argument]) -> Array:
        a, b, c = (x for x in arguments if isinstance(x, np.ndarray))
        (room,) = (x for x in arguments if isinstance(x, Output))
        numbers = [x for x in arguments if isinstance(x, int)]
        if i.family == "wgmma":
            leading, stride = numbers
            if self.swapped:
                leading, stride = stride, leading
            tiles, threads = grid, 128
            left = from_memory(a, 64, i.bits, leading, stride)
            right = from_memory(b, 8, i.bits, leading, stride).swapaxes(1, 2)
            if block != 128:
                raise DriverError(f"a warpgroup has 128 threads, the block {block}")
        else:
            (tiles,), threads = numbers, 32
            if grid * (block // 32) < tiles:
                raise DriverError(f"{grid} blocks of {block} threads are too few for {tiles} tiles")
            m, n, k = i.shape
            left = gather(a, (m, k), i.bits, lambda g, t, e: place_in_a(i.shape_name, i.bits, g, t, e))
            right = gather(b, (k, n), i.bits, lambda g, t, e: place_in_b(i.shape_name, i.bits, g, t, e))
        first = self._results(i, c, threads)
        row = self.rows[i.unit(self.sm) or ""]
        found = self.emulator.mma(row, left[:tiles], right[:tiles], first[:tiles], codes=True)
        return scatter(found, room.shape, np.dtype(room.dtype), i.result_bits, threads)

    @staticmethod
    def _results(i: Instruction, words: Array, threads: int) -> Array:
        m, n, _ = i.shape
        bands = [
            gather(words[:, 32 * w : 32 * w + 32], (min(m, 16), n), i.result_bits,
                   lambda g, t, e: place_in_d(i.shape_name, g, t, e))
            for w in range(threads // 32)
        ]  # fmt: skip
        return np.concatenate(bands, axis=1)

    @staticmethod
    def _hashes(cast: Cast, grid: int, first: int, size: int) -> Array:
        hashes = np.zeros(grid, np.uint64)
        for chunk in range(grid):
            start = (first + chunk) * size
            codes = np.arange(start, start + size, dtype=np.uint64).astype(np.uint32)
            hashes[chunk] = generator.chunk_hash(start, convert(cast, codes))
        return hashes


class SimulatedLibrary:
    """Matrix products by floatemu, for the rows that accumulate in 32 bits; 8-bit floats with and without promotion.

    Parameters
    ----------
    device : Simulated
    """

    def __init__(self, device: Simulated) -> None:
        self._device = device

    def calls(self) -> Iterator[Call]:
        """A call for each row, two for 8-bit floats."""
        seen = set()
        for i in INSTRUCTIONS:
            name = i.unit(self._device.sm)
            if not self._device.covers(i) or i.satfinite or i.d not in ("binary32", "int32") or name in seen:
                continue
            seen.add(name)
            for every in (None, 128) if i.bits == 8 and i.d == "binary32" else (None,):
                options = {} if every is None else {"promote_every": every}
                yield Call("floatemu.matrix.gemm", options, i.a, i.b, i.d, self._product(name or "", options), name)

    def _product(self, name: str, options: dict[str, Any]) -> Any:
        row = self._device.rows[name]

        def run(a: Array, b: Array) -> tuple[Array, list[str]]:
            return self._device.emulator.gemm(row, a, b.T, codes=True, **options), []

        return run


def gather(words: Array, shape: tuple[int, int], bits: int, place: Any) -> Array:
    """Matrices (tiles, rows, columns) of the words (tiles, 32, registers) of a warp."""
    each = max(32 // bits, 1)
    result = np.zeros((len(words), *shape), f"uint{bits}")
    mask = words.dtype.type(2**bits - 1)
    for lane in range(32):
        for element in range(words.shape[2] * each):
            word = words[:, lane, element // each] >> words.dtype.type(bits * (element % each))
            result[(slice(None), *place(lane >> 2, lane & 3, element))] = word & mask
    return result


def scatter(tiles: Array, shape: tuple[int, ...], dtype: Any, bits: int, threads: int) -> Array:
    """Words (tiles, threads, registers) of results; each warp has 16 rows."""
    each = max(32 // bits, 1)
    words = np.zeros(shape, dtype)
    for thread in range(threads):
        warp, lane = divmod(thread, 32)
        for element in range(shape[2] * each):
            row, column = place_in_d("", lane >> 2, lane & 3, element)
            code = tiles[:, 16 * warp + row, column].astype(dtype)
            words[:, thread, element // each] |= code << dtype.type(bits * (element % each))
    return words


def from_memory(images: Array, rows: int, bits: int, leading: int, stride: int) -> Array:
    """Rows of an operand as a descriptor finds them in shared memory, byte by byte; addresses wrap at its end."""
    data = np.ascontiguousarray(images).view(np.uint8)
    result = np.zeros((len(data), rows, 32), np.uint8)
    for row in range(rows):
        for byte in range(32):
            address = (row // 8) * stride + (byte // 16) * leading + (row % 8) * 16 + byte % 16
            result[:, row, byte] = data[:, address % data.shape[1]]
    return result.view(f"uint{bits}")


def convert(cast: Cast, codes: Array) -> Array:
    """What the instruction is expected to give; NaN becomes the largest value of a format that has none."""
    import floatemu as fe

    width = LAYOUTS[cast.source].dtype
    values = fe.decode(codes.astype(width), cast.source)
    policy = None if fe.get_format(cast.target).has_nan else "max"
    found = np.asarray(fe.encode(values, cast.target, cast.rounding, saturation=cast.saturation, nan=policy))
    if cast.target == "tf32":
        return found.astype(np.uint32) << np.uint32(13)
    return found
