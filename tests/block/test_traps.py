"""Numbered traps of block scales, and blocks at the edge."""

import numpy as np
import pytest

import floatemu as fe

RULES = ("FLOOR", "CEIL", "EVEN", "RCEIL")


def one(amax, fmt, rule, **options):
    """Scale and element of a block whose largest magnitude is amax."""
    got = fe.quantize(np.array([amax, 0.0], np.float32), fmt, scale_rule=rule, **options)
    return float(got.scale_values[0]), float(fe.decode(got.elements, got.format.element)[0])


@pytest.mark.parametrize(
    ("amax", "expected"),
    [
        (448, [(1, 448), (2, 224), (1, 448), (1, 448)]),
        (465, [(1, 448), (2, 240), (1, 448), (2, 240)]),
        (496, [(1, 448), (2, 256), (2, 256), (2, 256)]),
    ],
)
def test_trap_22_scale_rules_of_e4m3(amax, expected):
    assert [one(amax, "mxfp8_e4m3", rule) for rule in RULES] == expected


@pytest.mark.parametrize(
    ("amax", "scales"),
    [(6, [1, 2, 1, 1]), (5, [1, 2, 1, 1]), (6.9999, [1, 2, 1, 2]), (7, [1, 2, 2, 2])],
)
def test_trap_22_scale_rules_of_e2m1(amax, scales):
    assert [one(amax, "mxfp4", rule)[0] for rule in RULES] == scales
    if amax == 6:
        assert [one(amax, "mxfp4", rule)[1] for rule in RULES] == [6, 3, 6, 6]


@pytest.mark.parametrize("rule", RULES)
def test_trap_24_zeros_and_the_least_scale(rule):
    zeros = fe.quantize(np.zeros(32, np.float32), "mxfp8_e4m3", scale_rule=rule)
    assert zeros.scales.tolist() == [0]
    assert zeros.scale_values.tolist() == [2.0**-127]
    assert one(2.0**-126, "mxfp8_e4m3", rule) == (2.0**-127, 2.0)
    got = fe.quantize(np.full(32, 2.0**-126, np.float32), "mxfp8_e4m3", scale_rule=rule)
    assert got.dequantize().tolist() == [2.0**-126] * 32


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("wild", [np.inf, -np.inf, np.nan])
def test_trap_24_an_infinity_or_nan_makes_its_block_nan(rule, wild):
    x = np.ones(96, np.float32)
    x[40] = wild
    for name in ("mxfp8_e4m3", "mxfp4", "mxint8"):
        got = fe.quantize(x, name, scale_rule=rule)
        assert got.scales[1] == 0xFF
        y = got.dequantize()
        assert np.isnan(y[32:64]).all()
        assert np.array_equal(y[:32], x[:32])
        assert np.array_equal(y[64:], x[64:])


def test_trap_25_the_least_scale_of_nvfp4():
    x = np.array([0.01, 0.0], np.float32)
    normal = fe.quantize(x, "nvfp4", outer=1, scale_min="normal")
    assert (normal.scale_values[0], fe.decode(normal.elements, "e2m1fn")[0]) == (2.0**-6, 0.5)
    assert normal.dequantize()[0] == 0.0078125
    subnormal = fe.quantize(x, "nvfp4", outer=1)
    assert (subnormal.scale_values[0], fe.decode(subnormal.elements, "e2m1fn")[0]) == (2.0**-9, 6.0)
    assert subnormal.dequantize()[0] == 0.01171875


def test_trap_25_the_scale_of_nvfp4_goes_up_or_to_nearest():
    amax = 6 * 1.05  # between 1 and 1.125, nearer to 1
    assert one(amax, "nvfp4", "NEAREST", outer=1) == (1.0, 6.0)
    assert one(amax, "nvfp4", "UP", outer=1) == (1.125, 6.0)


def test_trap_25_nvfp4_scale_that_vanishes_makes_zeros():
    got = fe.quantize(np.array([1e-5, -1e-5], np.float32), "nvfp4", outer=1)
    assert got.scales.tolist() == [0]
    assert got.elements.tolist() == [0, 8]
    assert got.dequantize().tolist() == [0.0, -0.0]


def test_the_exponent_of_amax_is_not_floor_log2():
    """Trap 10, in blocks: just below a power of two, logarithms of binary32 give the next exponent."""
    got = fe.quantize(np.array([7.9999995, 0.5, 0.75], np.float32), "mxfp4")
    assert got.dequantize().tolist() == [6.0, 0.5, 1.0]
    tops = np.nextafter(np.float32(2.0) ** np.arange(-20, 40, dtype=np.float32), np.float32(0))
    for top, e in zip(tops, range(-20, 40), strict=True):
        assert fe.block.scales(top, "mxfp8_e5m2", "FLOOR")[1] == 2.0 ** (e - 1 - 15)


def significands():
    """Every significand of binary32, in one binade."""
    return (np.arange(2**23, dtype=np.uint32) | np.uint32(127 << 23)).view(np.float32)


FORMULAS = {
    "mxfp8_e4m3": {}, "mxfp8_e5m2": {}, "mxfp6_e2m3": {}, "mxfp6_e3m2": {}, "mxfp4": {},
    "mxint8": {"MULTIPLY": [1.9843751]}, "nvfp4": {"MULTIPLY": [1.7812499]},
}  # fmt: skip
"""Where the scale by a formula of hardware is not that of the exact quotient; in no other place of a binade."""


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMULAS)
def test_where_formulas_part_among_all_significands(name):
    amax, rule = significands(), "NEAREST" if name == "nvfp4" else "RCEIL"
    want = fe.block.scales(amax, name, rule)[0]
    for formula in ("DIVIDE", "MULTIPLY"):
        found = fe.block.scales(amax, name, f"{rule}_{formula}")[0]
        assert amax[found != want].tolist() == np.float32(FORMULAS[name].get(formula, [])).tolist()


def test_where_formulas_part():
    """fl(amax / max) only where the quotient is subnormal; fl(amax fl(1 / max)) elsewhere too, though seldom."""
    for name, parted in FORMULAS.items():
        rule = "NEAREST" if name == "nvfp4" else "RCEIL"
        most = float(fe.block.FORMATS[name].element.max)
        tops = (most * 2.0 ** np.arange(-60, 60, 7)).astype(np.float32)
        amax = np.concatenate([tops, *(np.nextafter(tops, np.float32(to)) for to in (0, np.inf))])
        want = fe.block.scales(amax, name, rule)[0]
        assert np.array_equal(fe.block.scales(amax, name, f"{rule}_DIVIDE")[0], want)
        for top in parted.get("MULTIPLY", []):
            codes = [fe.block.scales(np.float32(top), name, r)[0] for r in (rule, f"{rule}_MULTIPLY")]
            assert codes[0] != codes[1]
    low = np.nextafter(np.float32(448 * 2.0**-127), np.float32(1))
    assert fe.block.scales(low, "mxfp8_e4m3", "RCEIL")[1] == 2.0**-126
    assert fe.block.scales(low, "mxfp8_e4m3", "RCEIL_DIVIDE")[1] == 2.0**-127


def test_subnormal_largest_magnitudes():
    for e in range(-149, -125):
        got = fe.quantize(np.array([2.0**e], np.float32), "mxfp8_e5m2")
        assert got.scales.tolist() == [0]
        want = fe.round(2.0 ** (e + 127), "e5m2") * 2.0**-127
        assert got.dequantize().tolist() == [want]
    assert fe.quantize(np.array([2.0**-149], np.float32), "fp8_1x128").dequantize().tolist() == [0.0]


def test_infinities_left_out_of_the_largest_magnitude():
    x = np.array([np.inf, 3.0, -np.inf, np.nan], np.float32)
    got = fe.quantize(x, "mxfp8_e4m3", nonfinite="finite")
    assert got.scale_values.tolist() == [2.0**-7]
    assert np.array_equal(got.dequantize(), [3.5, 3.0, -3.5, np.nan], equal_nan=True)
    with pytest.raises(fe.ProjectionError, match="NaN at index 3, but e2m1fn has no NaN"):
        fe.quantize(x, "mxfp4", nonfinite="finite")
    assert fe.quantize(x, "mxfp4", nonfinite="finite", nan="max").dequantize().tolist() == [3.0, 3.0, -3.0, 3.0]


def test_infinities_refused():
    x = np.array([[1.0, 2.0], [3.0, -np.inf]])
    with pytest.raises(fe.ProjectionError, match=r"-inf at index \(1, 1\), and nonfinite='refuse'"):
        fe.quantize(x, "mxfp8", nonfinite="refuse")
    fmt = fe.BlockFormat("x", "e4m3fn", 2, "e2m3fn", "NEAREST")
    with pytest.raises(fe.ProjectionError, match="a scale in e2m3fn cannot be NaN"):
        fe.quantize(x, fmt)


def test_infinite_block_of_a_tensor_with_an_outer_scale():
    x = np.ones(32, np.float32)
    x[3] = np.inf
    got = fe.quantize(x, "nvfp4")
    assert got.outer == float(np.float32(1 / 2688))
    assert np.isnan(got.dequantize()[:16]).all()
    assert got.scales[1] == fe.encode(448.0, "e4m3fn")


def test_outer_scale_is_the_exact_quotient_rounded_once():
    for amax in (1.0, 3.3, 1e-30, 1e30, 2.0**-149):
        x = np.array([amax, 0], np.float32)
        got = fe.quantize(x, "nvfp4")
        want = max(np.float32(np.float64(x[0]) / 2688), np.float32(2.0**-149))
        assert got.outer == float(want)
    assert fe.quantize(np.zeros(3), "nvfp4").outer == 1.0


def test_ragged_last_block_is_a_block_of_what_is_there():
    x = np.concatenate([np.full(32, 448.0), [1.0, 2.0, 448.0 * 2**-20]])
    got = fe.quantize(x, "mxfp8_e4m3")
    assert got.scales.shape == (2,)
    assert got.scale_values.tolist() == [1.0, 2.0**-7]
    assert np.array_equal(fe.quantize(x[32:], "mxfp8_e4m3").elements, got.elements[32:])


def test_mxint8():
    """OCP MX 1.0, 5.3.4: i 2^-6 in two's complement; the largest is 1 63/64, and -2 is not made."""
    x = np.array([1.0, -1.0, 1.984375, -1.99, 0.5, 2.0**-7, 3 * 2.0**-7, -0.0, -(2.0**-8)])
    got = fe.quantize(x, "mxint8")
    assert got.scale_values.tolist() == [1.0]
    assert got.elements.view(np.int8).tolist() == [64, -64, 127, -127, 32, 0, 2, 0, 0]
    all_codes = fe.BlockArray("mxint8", np.arange(256, dtype=np.uint8), np.full(8, 127, np.uint8), 0)
    assert all_codes.dequantize().tolist() == (np.arange(256, dtype=np.uint8).view(np.int8) / 64).tolist()
    assert all_codes.dequantize()[128] == -2.0
    again = fe.quantize(all_codes.dequantize()[32:64], "mxint8")
    assert again.dequantize().tolist() == all_codes.dequantize()[32:64].tolist()


def test_scales_in_a_format_of_floats_may_be_powers_of_two():
    x = np.array([450.0, 3.0], np.float32)
    for rule, scale in (("FLOOR", 1.0), ("CEIL", 2.0), ("RCEIL", 2.0), ("NEAREST", float(np.float32(450 / 448)))):
        assert fe.quantize(x, "fp8_1x128", scale_rule=rule).scale_values.tolist() == [scale]
