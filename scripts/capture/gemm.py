"""The section of whole matrix products: designed ones that read how a library goes through K, and random ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from .instructions import SEED, sha256
from .section import Clock, Section
from .table import ARCHITECTURES
from .vectors import LAYOUTS, generator, probe_matrices

Array = np.ndarray[Any, Any]
DEPTHS = (512, 4096)
SIZES = (128, 128)
_ACCUMULATOR = {"int32": "int32"}


class Call(NamedTuple):
    """A call of a library.

    Attributes
    ----------
    call : str
    options : dict
    a, b, d : str
        Formats; ``tf32`` operands lie in binary32.
    run : callable
        From codes (M, K), (N, K) to codes (M, N) and names of the kernels that ran.
    row : str or None
        The row that is used, if that is known.
    """

    call: str
    options: dict[str, Any]
    a: str
    b: str
    d: str
    run: Callable[[Array, Array], tuple[Array, list[str]]]
    row: str | None = None

    @property
    def name(self) -> str:
        """What tells it from others."""
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.call}({options}).{self.row or f'{self.a}.{self.b}.{self.d}'}"

    def unit(self, sm: int) -> str | None:
        """The row that the library uses, as far as is known, or is expected to use."""
        if self.row is not None or sm not in ARCHITECTURES:
            return self.row
        family = {90: "wgmma", 100: "tcgen05"}.get(sm, "mma")
        return f"{ARCHITECTURES[sm]}.{family}.{self.a}.{self.b}.{_ACCUMULATOR.get(self.d, 'binary32')}"


class Library(Protocol):
    """What offers calls."""

    def calls(self) -> Iterator[Call]:
        """Every call."""


def _inputs(call: Call, depths: tuple[int, ...]) -> Iterator[tuple[str, dict[str, Any], Array, Array]]:
    """Names, entries and operands for a call; probes whose numbers the formats cannot hold are left out."""
    a, b = LAYOUTS[call.a], LAYOUTS[call.b]
    result = LAYOUTS[_ACCUMULATOR.get(call.d, "binary32")]
    values = {"values": "tf32"} if call.a == "tf32" else {}
    for k in depths:
        for distribution in ("normal", "adversarial") if a.p else ("raw",):
            entry = {"kind": "generated", "distribution": distribution, "seed": SEED, "version": generator.VERSION}
            operands = generator.operands(distribution, a, b, result, *SIZES, k, SEED)
            yield f"{distribution}/k={k}", {**entry, **values}, *operands
        for probe in probe_matrices.GEMM_PROBES if a.p else ():
            try:
                _, x, y = probe_matrices.gemm_probe(probe, a, b, k)
            except ValueError:
                continue
            entry = {"kind": "designed", "probe": probe, "version": probe_matrices.VERSION}
            yield f"{probe}/k={k}", {**entry, **values}, x, y


def capture(library: Library, section: Section, clock: Clock, sm: int, depths: tuple[int, ...] = DEPTHS) -> None:
    """Make every call on every input that its formats can hold.

    Parameters
    ----------
    library : Library
    section : Section
    clock : Clock
    sm : int
        Compute capability.
    depths : tuple of int
        K of the products.
    """
    register = {"tf32": "binary32"}
    for call in library.calls():
        formats = {"a": register.get(call.a, call.a), "b": register.get(call.b, call.b), "d": call.d}
        for name, inputs, a, b in _inputs(call, depths):
            test: dict[str, Any] = {
                "id": f"{call.name}/{name}", "call": call.call, "options": call.options, "unit": call.unit(sm),
                "shape": [len(a), len(b), a.shape[1]], "formats": formats, "inputs": inputs,
                "sha256": {"a": sha256(a), "b": sha256(b)}, "kernels": [], "status": "done", "reason": None, "d": None,
            }  # fmt: skip
            if clock.over:
                section.skip(test, clock.reason)
                continue
            try:
                found, test["kernels"] = call.run(a, b)
            except Exception as error:  # whatever a library raises when it lacks a call is the answer
                first = (str(error).splitlines() or [""])[0]
                section.fail(test, f"{type(error).__name__}: {first}"[:300])
                continue
            section.add(test, found)
