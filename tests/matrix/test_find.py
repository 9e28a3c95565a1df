"""The table of matrix units: complete, composed, and found by the names people use."""

from __future__ import annotations

import dataclasses

import pytest

import floatemu as fe
from floatemu.matrix import UNITS, Evidence, find, units


def test_names_are_unique_and_say_what_a_row_is() -> None:
    assert len({unit.name for unit in UNITS}) == len(UNITS)
    for unit in UNITS:
        words = [unit.architecture, unit.instruction, unit.a.name, unit.b.name, unit.output.name]
        assert unit.name.split(".")[:5] == words
        assert unit.source
        assert unit.shapes
        assert unit.gpus


def test_rows_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        UNITS[0].name = "other"  # type: ignore[misc]


# (GPU, inputs, output, instruction): length, fraction, exponent of zero; from the table of the published models.
PARAMETERS = [
    ("V100", "fp16", "fp32", "mma", 4, 23, -131),
    ("V100", "fp16", "fp16", "mma", 4, 23, -19),
    ("A2", "bf16", "fp32", "mma", 8, 24, -132),
    ("A30", "tf32", "fp32", "mma", 4, 24, -132),
    ("A100", "fp16", "fp16", "mma", 8, 24, -20),
    ("L40S", "e4m3fn", "fp32", "mma", 16, 13, -132),
    ("Ada", "e5m2", "fp16", "mma", 16, 13, -20),
    ("H100", "fp16", "fp32", "wgmma", 16, 25, -133),
    ("H200", "tf32", "fp32", "mma", 8, 25, -133),
    ("H100", ("e4m3fn", "e5m2"), "fp32", "wgmma", 32, 13, -133),
    ("H100", "e4m3fn", "fp16", "wgmma", 32, 13, -21),
    ("B200", ("e2m1fn", "e3m2fn"), "fp32", "tcgen05", 32, 25, -133),
    ("RTX PRO 6000", "e4m3fn", "fp16", "mma", 32, 25, -21),
]


@pytest.mark.parametrize("row", PARAMETERS, ids=lambda row: "-".join(map(str, row[:4])).replace(" ", ""))
def test_parameters(row: tuple[object, ...]) -> None:
    gpu, inputs, output, instruction, *expected = row
    step = find(gpu, inputs, output, instruction).step  # type: ignore[arg-type]
    assert [step.length, step.fraction, step.zero_exponent] == expected  # type: ignore[union-attr]


def test_fp8_of_mma_sync_on_hopper_is_two_binary16_steps_and_an_addition() -> None:
    step = find("H100", "e4m3fn", "fp32", "mma").step
    assert (step.length, step.fraction, step.depth) == (16, 25, 32)  # type: ignore[union-attr]
    assert [k % 4 for k in step.order] == [0, 1] * 8 + [2, 3] * 8  # type: ignore[union-attr]


def test_block_scaled_rows_differ_by_scale_and_block() -> None:
    common = {"gpu": "B200", "inputs": "e2m1fn", "output": "fp32", "instruction": "tcgen05"}
    assert find(**common).step.length == 32  # type: ignore[union-attr]
    assert find(**common, scale="e4m3fn").step.group == 16  # type: ignore[union-attr]
    assert {u.block for u in units(**common, scale="e8m0fnu")} == {16, 32}  # type: ignore[arg-type]


def test_not_exactly_one_row_lists_them() -> None:
    with pytest.raises(fe.UnsupportedError, match=r"2 units fit.*hopper\.mma\.e4m3fn.*hopper\.wgmma\.e4m3fn"):
        find("H100", "e4m3fn", "fp32")
    with pytest.raises(fe.UnsupportedError, match=r"no unit fits.*near are: volta\.mma\.binary16"):
        find("V100", "bf16")
    with pytest.raises(fe.UnsupportedError, match="accepted: A100, A2"):
        find("RTX 2080", "fp16")
    with pytest.raises(fe.UnsupportedError, match="accepted: mfma, mma"):
        find("V100", "fp16", instruction="hmma")
    with pytest.raises(fe.FormatError, match="pair of formats"):
        find("V100", ("fp16", "fp16", "fp16"))


def test_what_is_claimed_has_evidence() -> None:
    by = {evidence: {u.architecture for u in UNITS if u.evidence is evidence} for evidence in Evidence}
    assert by[Evidence.SILICON] == {"volta", "ampere", "ada", "hopper", "blackwell"}
    assert {"cdna1", "cdna2", "cdna3"} <= by[Evidence.PUBLISHED]
    assert "no silicon vectors" in find("MI300", "fp16", shape="32x32x8").evidence.value
    assert by[Evidence.DISASSEMBLY] == {"hopper"}
