"""The catalogue of IEEE P3109 v4.0: what it defines, with the tests that judge it here; read by table_of_p3109.py.

usage: import it. Names are those of the report of 26 June 2026; a test checks that each named test exists.
"""

from __future__ import annotations

from typing import NamedTuple


def _tests(file: str, names: str) -> tuple[str, ...]:
    return tuple(f"tests/{file}.py::test_{name}" for name in names.split())


def _by_hand(names: str) -> tuple[str, ...]:
    return _tests("arithmetic/test_p3109_operations", names)


def _forms(names: str) -> tuple[str, ...]:
    return _tests("arithmetic/test_p3109_specializations", names)


def _blocks(names: str) -> tuple[str, ...]:
    return _tests("arithmetic/test_p3109_blocks", names)


EXHAUSTIVE = "arithmetic/test_p3109_exhaustive"
PAIRS = _tests(EXHAUSTIVE, "all_operands_of_three_bits_by_every_projection all_pairs_of_four_to_six_bits")
BINARY = PAIRS + _tests(EXHAUSTIVE, "operands_of_eight_bits_into_other_formats")
UNARY = PAIRS + _tests(EXHAUSTIVE, "functions_of_all_operands_of_eight_bits")
TERNARY = (PAIRS[0], *_tests(EXHAUSTIVE, "triples_of_four_bits operands_of_eight_bits_into_other_formats"))
BETWEEN, WITHIN = _forms("minimum_from_every_format_to_every_format minimum_inside_one_format")
NAN, SIX_MODES = _by_hand("p3109_case_18_nan_results p3109_case_21_functions_in_six_modes")
EXTREMA, ORDER = _by_hand("p3109_case_22_extrema p3109_case_23_neighbours_order_and_classes")
(CODES,) = _forms("predicates_and_neighbours_of_all_codes")
(FORMED,) = _blocks("block_and_scaled_forms_of_every_operation")
REDUCED, ENDS = _blocks("reductions_and_conversions p3109_case_24_zero_and_infinite_scales")
SCALES = "p3109_case_24_scale_of_the_greatest_finite_magnitude scales_of_the_greatest_finite_magnitude"


class Family(NamedTuple):
    """Operations of one kind: the report's group (annex G), their names, their tests, and the report's clause."""

    group: str
    names: str
    tests: tuple[str, ...]
    clause: str = "4.10 to 4.16"


OPERATIONS = (
    Family("A", "Convert Negate Abs", (*UNARY, BETWEEN, WITHIN)),
    Family("A", "Add Subtract Multiply", (*BINARY, *_forms("minimum_sums_and_products"), NAN)),
    Family("A", "FMA FAA", TERNARY + _forms("minimum_of_three_operands") + _by_hand("p3109_case_20_one_rounding")),
    Family("A", "Minimum Maximum MinimumNumber MaximumNumber MinimumMagnitude", (*BINARY, WITHIN, EXTREMA)),
    Family("A", "MaximumMagnitude MinimumMagnitudeNumber MaximumMagnitudeNumber", (*BINARY, WITHIN, EXTREMA)),
    Family("A", "MinimumFinite MaximumFinite", (*BINARY, WITHIN, EXTREMA)),
    Family("A", "Clamp", (*TERNARY, EXTREMA)),
    Family("A", "CompareLess CompareLessEqual CompareEqual CompareGreater CompareGreaterEqual", (WITHIN,)),
    Family("A", "IsZero IsOne IsNaN IsInfinite IsFinite IsSignMinus IsNormal IsSubnormal", (CODES,)),
    Family("M", "BitwidthOf PrecisionOf SignednessOf DomainOf", _forms("queries_of_formats"), "4.14"),
    Family("M", "ExponentBitwidthOf TrailingSignificandBitwidthOf", _forms("queries_of_formats"), "4.14"),
    Family("M", "ExponentBiasOf", _forms("queries_of_formats") + _by_hand("trap_17_p3109_layout"), "4.14"),
    Family("M", "MaxFiniteOf MinFiniteOf MinPositiveOf", _forms("queries_of_formats"), "4.14"),
    Family("M", "MaxSubnormalOf MinNormalOf", _forms("queries_of_formats"), "4.14"),
    Family("M", "RoundOf SatOf", _forms("stochastic_specializations_take_their_bits"), "4.14"),
    Family("B", "Divide", (*BINARY, NAN, *_by_hand("trap_17_division_by_zero_is_nan"))),
    Family("B", "Sqrt Recip RSqrt", (*UNARY, NAN)),
    Family("B", "Exp Exp2 ExpMinusOne Log Log2 LogOnePlus Softplus", (*UNARY, SIX_MODES)),
    Family("B", "NextGreaterThan NextLessThan Class", (CODES, ORDER)),
    Family("B", "CopySign", BINARY),
    Family("B", "TotalOrder", (WITHIN, ORDER)),
    Family("C", "Hypot ArcTan2 ArcTan2Pi", (*BINARY, NAN, SIX_MODES)),
    Family("C", "Sin Cos Tan ArcSin ArcCos ArcTan Sinh Cosh Tanh ArcSinh ArcCosh ArcTanh", (*UNARY, SIX_MODES)),
    Family("C", "SinPi CosPi TanPi ArcSinPi ArcCosPi ArcTanPi", (*UNARY, NAN)),
    Family("KA", "BlockDecode BlockProject ConvertFromBlock ConvertToBlock", (REDUCED, ENDS), "5"),
    Family("KA", "ConvertToBlockMaxAbsFinite", (*_blocks(SCALES), ENDS), "5"),
    Family(
        "E",
        "BlockReduceAdd BlockReduceMultiply BlockDotProduct",
        (REDUCED, *_blocks("p3109_case_24_dot_and_scaled_operations reductions_beyond_fifty_three_bits")),
        "5",
    ),
)


class Clause(NamedTuple):
    """A part of the report that is no operation: its clause, what it says, how far that is here, and its tests."""

    clause: str
    says: str
    status: str
    tests: tuple[str, ...]


DECODING = _tests("formats/test_codes", "every_code_of_p3109_up_to_eight_bits_comes_back")
ROUNDING = "10_ties_of_powers_of_two 13_subnormals 14_stochastic_counts_of_two_bits 15_stochastic_counts_of_one_bit"
ENDINGS = "01_top_of_a_signed_extended_format 06_negative_into_unsigned 07_saturation_that_propagates"
MODES = _tests("core/test_p3109_cases", " ".join(f"p3109_case_{name}" for name in ROUNDING.split()))
SATURATION = _tests("core/test_p3109_cases", " ".join(f"p3109_case_{name}" for name in ENDINGS.split()))
SUMS = _tests("core/test_p3109_cases", "p3109_whole_space_check_sums")
EXTERNAL = _by_hand("external_formats_have_one_zero p3109_case_17_convert_by_codes")
FEW = "done for P up to 53 and exponents of up to 15 bits; arrays need values that binary64 holds"
NARROW = "done for p + N + q up to 48, with elements of p bits, N random bits and a scale of q bits"
CLAUSES = (
    Clause("3, annexes B, C", "formats of every K and P", FEW, DECODING + _by_hand("trap_17_p3109_layout")),
    Clause("4.7", "Decode and Encode", "done", DECODING),
    Clause("4.7", "RoundToPrecision: six modes, StochasticA, B and C", "done for up to 32 random bits", MODES + SUMS),
    Clause("4.7", "Saturate: three modes, four kinds of formats", "done", SATURATION + SUMS),
    Clause("4.8, 4.9, A.2 to A.4", "binary64, binary32, binary16, BFloat16; one zero, one NaN", "done", EXTERNAL),
    Clause("4.4, annex D", "kappa of an approximate operation", "done", _by_hand("p3109_case_25_kappa")),
    Clause("4.5, annex E", "the required minimum of specializations", "done", _forms("the_minimum_exists")),
    Clause("4.5, annex E", "whether a specialization exists", "done", _forms("refusals_teach blocks_by_codes")),
    Clause("5", "scales of the results of block operations", NARROW, (FORMED,)),
)
