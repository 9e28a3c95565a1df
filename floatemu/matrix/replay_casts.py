"""Replay conversions: samples one by one, and the hash of every chunk of 2^20 inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from floatemu.codec import decode, encode
from floatemu.format import Format
from floatemu.formats import get_format
from floatemu.matrix import generator
from floatemu.matrix.capture import CastTest
from floatemu.matrix.conformance import Array, Difference, Outcome, Status, compared, hexadecimal, skipped

__all__ = ["check_cast"]

SATURATIONS = ("SAT_NONE", "SAT_FINITE", "SAT_PROPAGATE")


def check_cast(test: CastTest, source: str, chunks: int | None) -> Outcome:
    """Compare a conversion with what a device gave.

    Parameters
    ----------
    test : CastTest
        Where it names no rounding, to nearest even; no saturation: whichever the samples show.
    source : str
    chunks : int, optional
        Chunks to compute, at most; None: all.

    Returns
    -------
    Outcome
        ``reason`` says which rounding and saturation, and how NaN results are coded.
    """
    formats = {"x": test.source, "d": test.target}
    if test.status != "done" or test.inputs is None or test.results is None:
        return skipped(test.id, None, "cast", formats, test.reason or test.status, source)
    stated = [test.saturation] if test.saturation else SATURATIONS
    found: list[Outcome] = []
    for saturation in stated:
        found.append(_judged(test, test.inputs, test.results, saturation, source, chunks))
        if found[-1].status == "pass":
            return found[-1]
    return max(found, key=lambda outcome: outcome.equal)


def _judged(
    test: CastTest, inputs: Array, results: Array, saturation: str, source: str, chunks: int | None
) -> Outcome:  # fmt: skip
    x, y = get_format(test.source), get_format(test.target)
    conversion = _Conversion(x, y, test.rounding or "NEAREST_TIES_TO_EVEN", saturation, inputs, results)
    register = get_format("binary32") if conversion.shift else y
    equal, first = compared(conversion(inputs), results, register, lambda place: {"x": hexadecimal(inputs[place], x)})
    n, size = inputs.size, 1 << min(x.k, generator.CHUNK_BITS)
    for chunk, recorded in _chosen(test, chunks) if first is None else ():
        start = chunk * size
        found = generator.chunk_hash(
            start, conversion(np.arange(start, start + size, dtype=np.uint64).astype(np.uint32))
        )
        n += size
        if found == recorded:
            equal += size
        elif first is None:
            words = f"0x{recorded:016x}", f"0x{found:016x}"
            first = Difference((chunk,), {"chunk": f"0x{chunk:x}"}, *words, None, None)
    status: Status = "pass" if first is None else "fail"
    formats = {"x": test.source, "d": test.target}
    return Outcome(test.id, None, "cast", formats, n, equal, status, None, conversion.text, source, first)


def _chosen(test: CastTest, most: int | None) -> Iterator[tuple[int, int]]:
    """Numbers and hashes of the chunks to compute, spread over those recorded."""
    if test.chunks is None or test.hashes is None:
        return
    count = len(test.chunks)
    places = range(count) if most is None or most >= count else [i * count // most for i in range(most)]
    for i in places:
        yield int(test.chunks[i]), int(test.hashes[i])


class _Conversion:
    """A conversion as this package has it, with the device's own codes for NaN.

    No standard says which NaN a conversion gives. The samples show it: one code, one for either sign, or the
    operand's leading bits. What is compared is that a NaN comes out where one must, and that it is the same everywhere.
    """

    def __init__(self, x: Format, y: Format, rounding: str, saturation: str, inputs: Array, results: Array) -> None:
        self.x, self.y, self.rounding, self.saturation = x, y, rounding, saturation
        self.shift = 13 if y.name == "tf32" else 0
        """Such results lie in a binary32 register."""
        nan = np.isnan(self._values(inputs))
        rule, self.nan = self._nan_rule(inputs[nan], results[nan])
        self.text = f"{rounding}, {saturation}; {rule}"

    def _values(self, codes: Array) -> Array:
        if self.x.name == "binary32":
            return np.ascontiguousarray(codes, np.uint32).view(np.float32)
        return np.asarray(decode(codes, self.x))

    def _nan_rule(self, inputs: Array, results: Array) -> tuple[str, Callable[[Array], Array]]:
        negative = (inputs & self.x.sign_code) != 0
        either = [np.unique(results[side]) for side in (~negative, negative)]
        if all(found.size <= 1 for found in either):
            plus, minus = (int(found[0]) if found.size else 0 for found in either)
            names = " or ".join(sorted({f"0x{int(found[0]):x}" for found in either if found.size}))
            text = f"NaN is {names}" if names else "no NaN among the samples"
            return text, lambda codes: np.where((codes & self.x.sign_code) != 0, minus, plus).astype(np.uint32)
        return "a NaN keeps its sign and leading bits", self._leading

    def _leading(self, codes: Array) -> Array:
        cut = self.x.trailing_bits - self.y.trailing_bits
        low = (codes >> np.uint32(max(cut, 0))) << np.uint32(max(-cut, 0))
        low &= np.uint32((1 << self.y.trailing_bits) - 1)
        quiet = np.uint32((self.y.max_code + 1) | (1 << (self.y.trailing_bits - 1)))
        sign = np.where((codes & self.x.sign_code) != 0, self.y.sign_code, 0).astype(np.uint32)
        return (low | quiet | sign) << np.uint32(self.shift)

    def __call__(self, inputs: Array) -> Array:
        values = self._values(inputs)
        nan = np.isnan(values)
        policy = None if self.y.has_nan else "max"
        found = np.asarray(encode(values, self.y, self.rounding, saturation=self.saturation, nan=policy))
        found = found.astype(np.uint32) << np.uint32(self.shift)
        if nan.any():
            coded = self.nan(inputs[nan])
            if self.y.has_nan:  # a recorded code that is no NaN is wrong, and not to be taken over
                is_nan = np.isnan(np.asarray(decode(coded >> np.uint32(self.shift), self.y)))
                coded = np.where(is_nan, coded, found[nan])
            found[nan] = coded
        return found
