"""Block formats and scale rules: the tables, look-up, and what is refused."""

import numpy as np
import pytest

import floatemu as fe
from floatemu.block import ALIASES, FORMATS, RULES, BlockArray, BlockFormat, ScaleRule, get_block_format


def test_the_numbers_of_ocps_and_nvidias_formats():
    """OCP MX 1.0, table 1; NVFP4: blocks of 16 with scales in E4M3."""
    expected = {
        "mxfp8_e4m3": ("e4m3fn", 32, 8.25), "mxfp8_e5m2": ("e5m2", 32, 8.25), "mxfp6_e2m3": ("e2m3fn", 32, 6.25),
        "mxfp6_e3m2": ("e3m2fn", 32, 6.25), "mxfp4": ("e2m1fn", 32, 4.25), "mxint8": ("int8", 32, 8.25),
        "nvfp4": ("e2m1fn", 16, 4.5),
    }  # fmt: skip
    for name, (element, block, bits) in expected.items():
        fmt = FORMATS[name]
        assert (fmt.element.name, fmt.block, fmt.bits_per_number) == (element, block, bits)
        assert fmt.scale.name == ("e4m3fn" if name == "nvfp4" else "e8m0fnu")
        assert fmt.rule.name == ("NEAREST" if name == "nvfp4" else "FLOOR")
    emax = {"mxfp8_e4m3": 8, "mxfp8_e5m2": 15, "mxfp6_e2m3": 2, "mxfp6_e3m2": 4, "mxfp4": 2, "mxint8": 0}
    assert {name: FORMATS[name].element.emax for name in emax} == emax


def test_names_are_looked_up_in_any_case_and_are_unique():
    names = [*FORMATS, *(alias for words in ALIASES.values() for alias in words)]
    assert len(names) == len(set(names))
    for name, words in ALIASES.items():
        for word in (name, *words):
            assert get_block_format(f" {word.upper().replace('_', '-')} ") is FORMATS[name]
    assert fe.block.get_rule("floor") is RULES["FLOOR"]


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_describes_itself_and_is_used(name):
    assert FORMATS[name].describe().startswith(f"{name}: {FORMATS[name].element.name}, ")
    x = np.linspace(-4, 4, 600).reshape(3, 200)
    blocks = fe.quantize(x, name)
    assert repr(blocks).startswith(f"BlockArray({name}, shape (3, 200), scales ")
    assert blocks.errors(x).total > 12
    again = fe.quantize(blocks.dequantize(), name)
    if name.startswith("mx"):  # a scale of its own would be no other
        assert np.array_equal(again.dequantize(), blocks.dequantize())


@pytest.mark.parametrize("name", list(RULES))
def test_every_rule_has_a_source_and_is_used(name):
    assert RULES[name].source
    want = 0.875 if name.startswith("NEAREST") else 1.0  # 1/448 is nearest to 2^-9, and 448 2^-9 is all there is
    assert fe.quantize(np.ones(40), "mxfp8", scale_rule=name).dequantize().tolist() == [want] * 40


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: get_block_format("mxfp3"), "no block format is named 'mxfp3'; accepted: a BlockFormat, or mxfp8_e4m3"),
        (lambda: get_block_format(3), "no block format is named 3"),
        (lambda: fe.block.get_rule("ROUND"), "no scale rule is named 'ROUND'; accepted: a ScaleRule, or FLOOR"),
        (lambda: ScaleRule("x", "sum"), "x: divisor = 'sum' is none of max, power"),
        (lambda: ScaleRule("x", formula="fast"), "formula = 'fast' is none of exact, divide, multiply"),
        (lambda: ScaleRule("x", rounding="stochastic_a"), "a scale is not rounded by STOCHASTIC_A"),
        (lambda: BlockFormat("x", "binary32", 32), "cannot be an element: at most 16 bits"),
        (lambda: BlockFormat("x", "e8m0fnu", 32), "cannot be an element"),
        (lambda: BlockFormat("x", "int2", 32), "no format is named 'int2'"),
        (lambda: BlockFormat("x", "e4m3fn", 32, "binary64"), "cannot be a scale: at most 32 bits"),
        (lambda: BlockFormat("x", "e4m3fn", 0), "block = 0; accepted: a positive integer, two of them"),
        (lambda: BlockFormat("x", "e4m3fn", True), "block = True; accepted"),
        (lambda: BlockFormat("x", "e4m3fn", (1, 2, 3)), r"block = \(1, 2, 3\); accepted"),
        (lambda: BlockFormat("x", "e4m3fn", "column"), "block = 'column'; accepted"),
        (lambda: BlockFormat("x", "e4m3fn", 32, outer="bfloat16"), "outer = bfloat16; a scale over"),
        (lambda: BlockFormat("x", "binary16", 32, "binary32", outer="binary32"), "at most 53 bits"),
        (lambda: BlockFormat("x", "e4m3fn", 32, integer=True), "integer=True needs an element like int8"),
    ],
)
def test_formats_that_contradict_themselves(make, words):
    with pytest.raises(fe.FormatError, match=words):
        make()


X = np.ones((4, 8), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fe.quantize(X, "mxfp8", axis=2), fe.UnsupportedError, "axis=2 is none of an array of shape"),
        (lambda: fe.quantize(X, "mxfp8", axis=True), fe.UnsupportedError, "axis=True is none"),
        (lambda: fe.quantize(1.0, "mxfp8"), fe.UnsupportedError, "reshape the number to an array of one"),
        (lambda: fe.quantize(X[0], "fp8_128x128"), fe.UnsupportedError, "blocks of 128 by 128, but the array"),
        (lambda: fe.quantize(X, "mxfp8", scaling="fast"), fe.ProjectionError, "scaling='fast' is unknown; accepted"),
        (lambda: fe.quantize(X, "mxfp8", nonfinite="zero"), fe.ProjectionError, "nonfinite='zero' is unknown"),
        (lambda: fe.quantize(X, "mxfp8", scale_min=0.1), fe.ProjectionError, "scale_min=0.1 is unknown; accepted"),
        (lambda: fe.quantize(X, "mxfp8", threads=0), fe.UnsupportedError, "threads=0 is not a positive integer"),
        (lambda: fe.quantize(X, "mxfp8", outer=2.0), fe.UnsupportedError, "mxfp8_e4m3 has no scale of the whole array"),
        (lambda: fe.quantize(X, "nvfp4", outer=0.1), fe.ProjectionError, "not a positive number of binary32; round it"),
        (lambda: fe.quantize(X, "nvfp4", outer=-1.0), fe.ProjectionError, "not a positive number of binary32"),
        (lambda: fe.quantize(X, "mxfp8", "stochastic_a"), fe.ProjectionError, "needs random bits"),
        (lambda: fe.quantize(X > 0, "mxfp8"), fe.UnsupportedError, "dtype bool"),
        (lambda: fe.quantize(X * 1j, "mxfp8"), fe.UnsupportedError, "dtype complex64"),
        (lambda: fe.quantize([2**60 + 1, 1], "mxfp8"), fe.UnsupportedError, "Python numbers"),
        (lambda: fe.block.scales("x", "mxfp8"), fe.UnsupportedError, "amax has dtype"),
        (lambda: fe.quantize(X, "mxfp8").dequantize("int8"), fe.UnsupportedError, "accepted: float64"),
        (lambda: fe.quantize(X, "mxfp8").errors(X[0]), fe.UnsupportedError, "give what was quantized"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()


CODES, SCALES = np.zeros((4, 32), np.uint8), np.zeros((4, 1), np.uint8)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: BlockArray("mxfp8", CODES.astype(int), SCALES), fe.UnsupportedError, "elements is int64; codes of"),
        (lambda: BlockArray("mxfp8", CODES, [1]), fe.UnsupportedError, "scales is list"),
        (
            lambda: BlockArray("mxfp8", CODES, SCALES[:3]),
            fe.UnsupportedError,
            r"scales have shape \(3, 1\)",
        ),
        (
            lambda: BlockArray("mxfp4", CODES + 16, SCALES),
            fe.FormatError,
            "elements hold 16; codes of e2m1fn",
        ),
        (lambda: BlockArray("mxfp8", CODES, SCALES, None), fe.UnsupportedError, "axis=None, but mxfp8_e4m3"),
        (lambda: BlockArray("mxfp8", CODES, SCALES, -1, 2.0), fe.FormatError, "has no scale of the whole array"),
        (lambda: BlockArray("nvfp4", CODES, np.zeros((4, 2), np.uint8), -1, 0.1), fe.FormatError, "outer=0.1"),
    ],
)
def test_block_arrays_that_contradict_themselves(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_dequantized_numbers_are_exact_products_in_binary64_and_rounded_once_below():
    blocks = fe.quantize(np.random.default_rng(0).standard_normal((4, 48)), "nvfp4")
    want = fe.decode(blocks.elements, "e2m1fn") * np.repeat(fe.decode(blocks.scales, "e4m3fn"), 16, 1) * blocks.outer
    assert np.array_equal(blocks.dequantize(), want)
    assert np.array_equal(blocks.dequantize(np.float32), want.astype(np.float32))
    least = fe.BlockArray("mxfp8", np.array([1], np.uint8), np.array([0], np.uint8))
    assert least.dequantize().tolist() == [2.0**-136]
    most = fe.BlockArray("mxfp8", np.array([126], np.uint8), np.array([254], np.uint8))
    assert most.dequantize(np.float32).tolist() == [np.inf]


def test_custom_format_of_ones_own_element():
    element = fe.Format("e1m6", k=8, p=7, infinities=False)
    fmt = BlockFormat("mine", element, (2, 8), "bfloat16", "NEAREST")
    x = np.random.default_rng(0).standard_normal((6, 20))
    blocks = fe.quantize(x, fmt)
    assert blocks.scales.shape == (3, 3)
    assert blocks.errors(x).total > 35
