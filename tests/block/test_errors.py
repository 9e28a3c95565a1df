"""The report of errors, block by block, against sums over fractions."""

import block_oracle as oracle
import numpy as np
import pytest

import floatemu as fe


@pytest.mark.parametrize(("name", "axis"), [("mxfp4", 1), ("nvfp4", 0), ("fp8_128x128", 2), ("fp8_tensor", 0)])
def test_each_block(name, axis):
    x = np.random.default_rng(0).standard_normal((3, 40, 33))
    x[0, 0, :4] = [1e-9, 0.0, 300.0, -1e-9]
    blocks = fe.quantize(x, name, axis=axis)
    y, report = blocks.dequantize(), blocks.errors(x)
    block = blocks.format.block
    sizes = {"tensor": dict(enumerate(x.shape))}.get(block) or (
        {axis - 1: block[0], axis: block[1]} if isinstance(block, tuple) else {axis: block}
    )
    wholes = blocks.scale_values * float(blocks.format.element.max)
    for place, where in oracle.blocks(x.shape, sizes):
        entry = place if blocks.scales.shape else ()
        assert report.sqnr[entry] == pytest.approx(oracle.sqnr(x[where], y[where]), rel=1e-9)
        assert report.clipped[entry] == np.sum(np.abs(x[where]) > wholes[entry])
        assert report.flushed[entry] == np.sum((x[where] != 0) & (y[where] == 0))
        assert report.largest[entry] == np.max(np.abs(x[where] - y[where]))
    assert report.total == pytest.approx(oracle.sqnr(x, y), rel=1e-9)
    assert report.numbers == x.size
    assert report.clipped.shape == blocks.scales.shape


def test_worst_blocks_come_first_and_nan_before_them():
    x = np.ones((3, 32), np.float32)
    x[1] = np.linspace(0, 1, 32)
    x[2, 5] = np.nan
    report = fe.quantize(x, "mxfp4").errors(x)
    assert report.worst(2) == [(2, 0), (1, 0)]
    assert report.sqnr[0, 0] == np.inf
    assert np.isnan(report.sqnr[2, 0])


def test_magnitudes_whose_squares_leave_binary64():
    for scale in (2.0**-300, 2.0**300):
        x = np.linspace(1, 2, 32) * scale
        one = fe.BlockArray("fp8_row", fe.quantize(x / scale, "fp8_row").elements, np.zeros(1, np.uint32))
        report = one.errors(x)
        assert report.sqnr.tolist() == [0.0]  # all of it was lost


def test_nothing_to_report():
    report = fe.quantize(np.zeros((0, 32)), "mxfp8").errors(np.zeros((0, 32)))
    assert report.numbers == 0
    zeros = fe.quantize(np.zeros(32), "mxfp8").errors(np.zeros(32))
    assert zeros.sqnr.tolist() == [np.inf]
    assert str(zeros) == "1 blocks: SQNR inf dB (worst block inf); 0 of 32 numbers clipped, 0 flushed to 0"
