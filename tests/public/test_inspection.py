"""`inspect` and `formats` agree with the oracle, which shares no code with what they call."""

import io
from fractions import Fraction

import pytest
from rich.console import Console

import floatemu as fe
from analysis.inspection import inspect_number
from analysis.landmarks import landmarks, point, print_landmarks, specials, value_of
from analysis.numerals import decimal, parse

SMALL = [fmt for fmt in fe.FORMATS.values() if fmt.k <= 8]
NUMBERS = ("0.1", "-0.1", "1/3", "464.1", "464", "-1e9", "2^-9", "-2^-140", "3", "0", "-0", "1e-30", "2^200", "0x1.8p0")


def counted(x: Fraction, fmt: fe.Format, mode: fe.Rounding, bits: int) -> Fraction:
    """Chance that the magnitude is incremented, counted over every R by the definition."""
    magnitude = abs(x)
    exponent = max(fmt.emin, magnitude.numerator.bit_length() - magnitude.denominator.bit_length() - 1)
    while Fraction(2) ** (exponent + 1) <= magnitude:
        exponent += 1
    quantum = Fraction(2) ** (exponent - fmt.trailing_bits)
    steps = magnitude // quantum
    nu = magnitude / quantum - steps
    away = sum(mode.goes_away(nu, bool(steps % 2), x < 0, bits, r) for r in range(2**bits))
    return Fraction(away, 2**bits)


@pytest.mark.parametrize("mode", [mode for mode in fe.Rounding if mode.stochastic], ids=lambda mode: mode.name)
@pytest.mark.parametrize("text", ["0.1", "-1/3", "17/1024", "3/1000", "200.5", "2^-9", "1.0625"])
def test_probabilities_are_those_of_the_definition(text, mode):
    fmt = fe.get_format("e4m3fn")
    x = parse(text).value
    result = inspect_number(parse(text), fmt, random_bits=3)
    for entry in result["projections"]:
        if entry["rounding"] == mode.name:
            chances = [Fraction(item["probability"]) for item in entry["outcomes"]]
            assert sum(chances) == 1
            moved = counted(x, fmt, mode, 3)
            ends = [abs(value_of(int(item["code"], 16), fmt)) for item in entry["outcomes"]]
            assert ends == sorted(set(ends))
            assert chances == ([1 - moved, moved] if 0 < moved < 1 else [1])


@pytest.mark.parametrize("fmt", fe.FORMATS.values(), ids=fe.FORMATS)
@pytest.mark.parametrize("text", NUMBERS)
def test_neighbours_enclose_the_nearest_value(text, fmt):
    result = inspect_number(parse(text), fmt, random_bits=1)
    value = value_of(int(result["nearest"]["code"], 16), fmt)
    below, above = (
        None if side is None else value_of(int(side["code"], 16), fmt) for side in (result["below"], result["above"])
    )
    if not isinstance(value, Fraction):
        return
    assert below is None or below == "-inf" or below < value
    assert above is None or above == "inf" or above > value
    if fmt.k <= 8:
        finite = sorted({v for v in (value_of(code, fmt) for code in range(2**fmt.k)) if isinstance(v, Fraction)})
        place = finite.index(value)
        if isinstance(below, Fraction) or place:
            assert below == finite[place - 1]
        if isinstance(above, Fraction) or place + 1 < len(finite):
            assert above == finite[place + 1]
    if result["error"] is not None:
        assert Fraction(result["error"]["exact"]) == value - parse(text).value


@pytest.mark.parametrize("fmt", SMALL, ids=lambda fmt: fmt.name)
def test_every_code_is_inspected_as_itself(fmt):
    values = fe.decode(range(2**fmt.k), fmt)
    for code in range(2**fmt.k):
        result = inspect_number(parse(hex(code)), fmt, random_bits=1) if code % 16 < 2 else None
        if result is None:
            continue
        if values[code] == values[code]:
            assert int(result["nearest"]["code"], 16) == code
            assert result["nearest"]["value"] == values[code] or str(values[code]) == result["nearest"]["value"]
        elif fmt.has_nan:
            assert result["nearest"]["value"] == "nan"


@pytest.mark.parametrize("fmt", [*SMALL, fe.p3109(7, 3, signed=False)], ids=lambda fmt: fmt.name)
def test_value_of_agrees_with_decode_on_every_code(fmt):
    for code, decoded in enumerate(fe.decode(range(2**fmt.k), fmt)):
        value = value_of(code, fmt)
        assert str(float(value)) == str(abs(decoded) if decoded == 0 else float(decoded))


def test_fields_of_a_subnormal():
    fields = inspect_number(parse("2^-9"), fe.get_format("e4m3fn"))["fields"]
    assert fields["class"] == "subnormal"
    assert (fields["exponent_field"], fields["trailing_significand"]) == ("0000", "001")
    assert (fields["significand"], fields["exponent"]) == ("0.001", -6)
    assert fields["ulp"]["exact"] == "2^-9"


def test_trap_11_ties_at_the_top_of_e4m3fn():
    for text, saturation, expected in (
        ("463.99", 0, 448.0),
        ("464", 0, 448.0),
        ("464.0001", 0, "nan"),
        ("464.0001", 1, 448.0),
    ):
        result = inspect_number(parse(text), fe.get_format("e4m3fn"))
        assert result["projections"][saturation]["outcomes"][0]["value"] == expected


def test_decimal_input_is_not_first_rounded_to_binary64():
    """The tie 1 + 2^-4 of e4m3fn, plus a tail that binary64 would lose, goes up."""
    text = "1.0625000000000000000000000000000001"
    assert float(text) == 1.0625
    assert inspect_number(parse(text), fe.get_format("e4m3fn"))["nearest"]["value"] == 1.125
    assert inspect_number(parse("1.0625"), fe.get_format("e4m3fn"))["nearest"]["value"] == 1.0


def test_nan_into_a_format_without_nan_is_refused_not_invented():
    result = inspect_number(parse("nan"), fe.get_format("e2m1fn"))
    assert result["nearest"] is None
    assert all(entry["refused"] and not entry["outcomes"] for entry in result["projections"])


@pytest.mark.parametrize("fmt", fe.FORMATS.values(), ids=fe.FORMATS)
def test_landmarks_are_those_of_the_format(fmt):
    marks = landmarks(fmt)["landmarks"]
    for key in ("max", "min_positive", "min_normal"):
        assert value_of(int(marks[key]["code"], 16), fmt) == getattr(fmt, key)
    assert (marks["nan"] is None) == (not fmt.has_nan)
    assert (marks["inf"] is None) == (not fmt.infinities)
    assert point(fmt.max_code, fmt) == marks["max"]
    assert ("NaN" in specials(fmt)) == fmt.has_nan


@pytest.mark.parametrize("text", ["2^200", "2^-200", "1e60", "-1e-60"])
def test_numbers_longer_than_any_word_are_read_whole(text):
    """The exact sum of 2 and a number far from it is still one number, rounded once."""
    x = 2 + parse(text).value
    for name in ("e8m0fnu", "bfloat16", "binary64", "binary64p49se"):
        fmt = fe.get_format(name)
        if x < 0 and not fmt.signed:
            continue
        up, down = (int(fe.encode(x, fmt, mode)) for mode in ("ru", "rd"))
        above, below = value_of(up, fmt), value_of(down, fmt)
        if x > fmt.max:
            assert (value_of(down, fmt), above) == (fmt.max, "inf" if fmt.infinities else "nan")
        else:
            assert below < x < above
            assert up - down == 1


def test_one_bit_is_called_one_bit():
    for name, words in (
        ("binary4p3sf", "1 exponent bit, 2"),
        ("e2m1fn", "2 exponent bits, 1 trailing significand bit;"),
    ):
        page = Console(file=io.StringIO(), width=200)
        print_landmarks(landmarks(fe.get_format(name)), page)
        assert words in page.file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [("1e-39", "1e-39"), ("2^-133", "9.1835496157991212e-41"), ("1e-7", "1e-07")]
)
def test_exponents_are_written_as_python_writes_them(value, text):
    assert decimal(parse(value).value).removeprefix("\u2248") == text
    assert float(text) == float(parse(value).value)
