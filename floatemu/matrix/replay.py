"""Replay a capture: what a device answered, against what this package computes, without a device."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from floatemu.errors import FloatEmuError
from floatemu.format import Format
from floatemu.matrix.capture import Capture, CastTest, GemmTest, InstructionTest
from floatemu.matrix.conformance import (
    Conformance,
    Outcome,
    Progress,
    compared,
    hexadecimal,
    judged,
    kind,
    skipped,
    subject,
)
from floatemu.matrix.models import UNITS
from floatemu.matrix.product import gemm
from floatemu.matrix.replay_casts import check_cast
from floatemu.matrix.unit import MatrixUnit

__all__ = ["check_capture"]

Array = np.ndarray[Any, Any]
BY_NAME = {unit.name: unit for unit in UNITS}
PROMOTED = 128
"""Elements along K between two promotions of fp8 products without fast accumulation (cuBLAS, DeepSeek-V3)."""
SPLITS, INTERVALS = (1, 2, 3, 4, 5, 6, 7, 8), (None, 64, 128, 256, 512)
"""Ways through K that are tried where the expected one does not give the recorded bits."""
CHUNKS = 64


def check_capture(capture: Capture, progress: Progress | None = None, chunks: int | None = CHUNKS) -> Conformance:
    """Compute everything that a capture asked a device, and compare.

    Parameters
    ----------
    capture : Capture
        From :func:`floatemu.matrix.capture.read_capture`.
    progress : callable, optional
        Called with (tests done, tests in all, name); how many there are is not known before they are read, so both
        are the number done.
    chunks : int, optional
        Chunks of 2^20 inputs that are computed for each conversion, spread over those recorded; None: all, which
        takes about a minute for each.

    Returns
    -------
    Conformance

    Raises
    ------
    CaptureError
        If the capture is damaged.
    """
    facts = {name: value for name, value in capture.subject.items() if name != "kind"}
    source = f"capture of {facts.get('device') or 'an unnamed device'}"
    found: list[Outcome] = []
    for test in capture.tests():
        if progress is not None:
            progress(len(found), len(found) + 1, test.id)
        found.append(_outcome(test, source, chunks))
    found += [
        skipped(section["name"], None, "section", {}, section["reason"] or section["status"], source)
        for section in capture.sections
        if section["status"] != "done"
    ]
    return Conformance(subject("capture", **facts), tuple(found))


def _outcome(test: InstructionTest | CastTest | GemmTest, source: str, chunks: int | None) -> Outcome:
    if isinstance(test, CastTest):
        return check_cast(test, source, chunks)
    op = "mma" if isinstance(test, InstructionTest) else "gemm"
    if test.status != "done" or test.d is None or test.a is None or test.b is None:
        return skipped(test.id, test.unit, op, test.formats, test.reason or test.status, source)
    unit = BY_NAME.get(test.unit or "")
    if unit is None:
        reason = f"no row of the table is named {test.unit!r}" if test.unit else "no row describes this instruction"
        return skipped(test.id, test.unit, op, test.formats, reason, source)
    try:
        if isinstance(test, GemmTest):
            return _gemm(test, unit, source)
        assert test.c is not None
        outcome = judged(test.id, unit, test.a, test.b, test.c, test.d, source, test.labels)
        return replace(outcome, formats=dict(test.formats))
    except FloatEmuError as error:  # a capture may name a row that does not take its formats
        return skipped(test.id, test.unit, op, test.formats, str(error), source)


def _gemm(test: GemmTest, unit: MatrixUnit, source: str) -> Outcome:
    a, b, d, output = np.asarray(test.a), np.asarray(test.b), np.asarray(test.d), kind(test.formats["d"])

    def results(every: int | None, parts: int) -> Array:
        if not isinstance(output, Format):
            return gemm(unit, a, b, codes=True)
        return gemm(unit, a, b, promote_every=every, split_k=parts, output=output, codes=True)

    def inputs(place: tuple[int, ...]) -> dict[str, Any]:
        i, j = place
        left, right = (unit.register or f for f in (unit.a, unit.b))
        return {"a": [hexadecimal(x, left) for x in a[i]], "b": [hexadecimal(x, right) for x in b[:, j]]}

    expected = _schedule(test)
    equal, first = compared(results(*expected), d, output, inputs)
    kernels = f"kernels: {', '.join(test.kernels)}" if test.kernels else None
    outcome = Outcome(test.id, unit.name, "gemm", test.formats, d.size, equal, "pass", None, kernels, source, first)
    if first is None:
        return outcome
    ways = product(SPLITS, dict.fromkeys((expected[0], *INTERVALS))) if isinstance(output, Format) else ()
    found = [(every, parts) for parts, every in ways if np.array_equal(results(every, parts), d)]
    if found:
        names = " or ".join(f"promote_every = {every}, split_k = {parts}" for every, parts in found)
        return replace(outcome, status="known", cause=f"the library goes through K otherwise: {names}")
    return replace(outcome, status="fail")


def _schedule(test: GemmTest) -> tuple[int | None, int]:
    """Elements between promotions and parts of K, as far as the call's options say."""
    every = test.options.get("promote_every", test.options.get("max_num_imprecise_acc"))
    if "use_fast_accum" in test.options:
        every = None if test.options["use_fast_accum"] else PROMOTED
    parts = test.options.get("split_k", 1)
    return every if isinstance(every, int) and 0 < every < test.shape[2] else None, parts if isinstance(
        parts, int
    ) else 1
