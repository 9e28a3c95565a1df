"""Numbers as users type them are read exactly, and nothing else is read."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.numerals import decimal, dyadic, parse, ratio
from analysis.terminal import BadInput


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", Fraction(1, 10)),
        ("-2.5e-3", Fraction(-1, 400)),
        (".5", Fraction(1, 2)),
        ("+7.", Fraction(7)),
        ("1E3", Fraction(1000)),
        ("1/3", Fraction(1, 3)),
        ("-6/4", Fraction(-3, 2)),
        ("2^-9", Fraction(1, 512)),
        ("-2**3", Fraction(-8)),
        ("0x1.8p-3", Fraction(3, 16)),
        ("-0X.8P1", Fraction(-1)),
        ("0x1p0", Fraction(1)),
        ("0x1.8", Fraction(3, 2)),
        ("−1", Fraction(-1)),
        (" 1 ", Fraction(1)),
        ("1e-400", Fraction(1, 10**400)),
    ],
)
def test_numbers_are_exact(text, value):
    found = parse(text)
    assert (found.kind, found.value) == ("number", value)


@pytest.mark.parametrize(("text", "code"), [("0x7e", 0x7E), ("0b0101", 5), ("0X00FF", 0xFF)])
def test_codes(text, code):
    assert (parse(text).kind, parse(text).code) == ("code", code)


def test_specials_and_signed_zero():
    assert (parse("-inf").kind, parse("-inf").negative) == ("inf", True)
    assert (parse("Infinity").kind, parse("Infinity").negative) == ("inf", False)
    assert parse("-nan").kind == "nan"
    assert [parse(text).negative for text in ("-0", "0", "-0.0", "-0/1", "-0x0p0")] == [True, False, True, True, True]


REFUSED = (
    "", "-", ".", "e5", "1e", "1..2", "1_000", "0x", "0xp1", "0x.p1", "0b2", "-0x7e", "1/2/3", "1/-3", "1/0", "3^2",
    "١", "1e9999999999", "1e25001", "0x1p200000", "2^-100001", "infinit", "__import__('os')", "1" * 4001,
)  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_refused_with_what_is_accepted(text):
    with pytest.raises(BadInput) as caught:
        parse(text)
    error = caught.value.as_dict()
    assert error["hint"]
    assert any("fraction" in line for line in error["accepted"])
    assert len(error["message"]) < 200


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_decimal_and_hexadecimal_texts_of_floats_come_back(x):
    assert parse(repr(x)).value == Fraction(repr(x))
    assert parse(float.hex(x)).value == Fraction(x)
    assert parse(str(Fraction(x))).value == Fraction(x)


@given(st.integers(-(2**80), 2**80), st.integers(-2000, 2000))
def test_dyadic_says_the_value(top, exponent):
    value = top * Fraction(2) ** exponent
    odd, _, power = dyadic(value).replace("-2^", "-1*2^").partition("2^")
    odd = odd.rstrip("*")
    assert int(odd or 1) * Fraction(2) ** int(power or 0) == value


def test_dyadic_refuses_other_fractions():
    with pytest.raises(ValueError, match="power of two"):
        dyadic(Fraction(1, 3))


@given(st.fractions(), st.integers(1, 30))
def test_decimal_is_marked_when_it_is_not_exact(value, digits):
    text = decimal(value, digits)
    near = Fraction(text.removeprefix("≈"))
    assert text.startswith("≈") == (near != value)
    if value:
        assert abs(near - value) * 2 <= abs(value) * Fraction(10) ** (1 - digits)


@pytest.mark.parametrize("value", [Fraction(1, 3), Fraction(10) ** 6000, Fraction(-1, 10**6000)])
def test_ratio_is_exact_at_any_length(value):
    top, _, bottom = ratio(value).partition("/")
    assert Fraction(int(top, 0), int(bottom or "1", 0)) == value
