"""A format that contradicts itself is refused where it is built, and the message shows both sides."""

from __future__ import annotations

import re
from typing import Any

import pytest

import floatemu as fe

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"k": 1, "p": 1}, "x: k = 1 bits is outside 2..64"),
    ({"k": 65, "p": 53}, "x: k = 65 bits is outside 2..64"),
    ({"k": 8, "p": 0}, "x: p = 0 is outside 1..53"),
    ({"k": 64, "p": 54}, "x: p = 54 is outside 1..53"),
    ({"k": 8, "p": 8}, "x: k = 8 leaves k - p = 0 bits for the exponent of a signed format with p = 8, but 1..15 are "
     "needed; make p smaller or k larger"),
    ({"k": 20, "p": 3, "signed": False}, "x: k = 20 leaves k - p + 1 = 18 bits for the exponent of an unsigned format "
     "with p = 3, but 1..15 are needed; make p larger or k smaller"),
    ({"k": 8, "p": 4, "bias": 32769}, "x: |bias| = 32769 is above 2^15 = 32768"),
    ({"k": 8, "p": 4, "zero": False}, "x: zero=False needs an unsigned format with p = 1 (powers of two, as in E8M0); "
     "given signed=True, p = 4"),
    ({"k": 8, "p": 2, "signed": False, "zero": False}, "x: zero=False needs an unsigned format with p = 1 (powers of "
     "two, as in E8M0); given signed=False, p = 2"),
    ({"k": 4, "p": 2, "high_nans": 7}, "x: high_nans = 7 and infinities=True take 8 of the 8 codes of one sign, which "
     "leaves no finite value other than zero; lower high_nans or raise k"),
    ({"k": 4, "p": 2, "high_nans": -1}, "x: high_nans = -1 and infinities=True take 0 of the 8 codes of one sign, "
     "which leaves no finite value other than zero; lower high_nans or raise k"),
    ({"k": 4, "p": 3, "subnormals": False, "high_nans": 3}, "x: the smallest positive value 2^1 is above the largest "
     "finite value 0: without subnormals no code is left between zero and the special values"),
    ({"k": 8, "p": 4, "infinities": False, "overflow": "infinity"}, "x: overflow = INFINITY, but infinities = False; "
     "use NAN or MAX"),
    ({"k": 8, "p": 4, "overflow": "nan"}, "x: overflow = NAN, but high_nans = 0 and negative_zero = True leave no NaN "
     "code; use MAX, or high_nans = 1"),
    ({"k": 8, "p": 4, "overflow": "wrap"}, "x: overflow = 'wrap' is none of INFINITY, NAN, MAX"),
    ({"k": 8.0, "p": 4}, "x: k = 8.0 is not an integer"),
    ({"k": 8, "p": True}, "x: p = True is not an integer"),
    ({"k": 8, "p": 4, "bias": "7"}, "x: bias = '7' is not an integer"),
    ({"k": 8, "p": 4, "signed": 1}, "x: signed = 1 is not True or False"),
]  # fmt: skip


@pytest.mark.parametrize(("numbers", "message"), REFUSED, ids=[str(numbers) for numbers, _ in REFUSED])
def test_a_contradiction_is_refused_with_both_sides(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(fe.FormatError, match=f"^{re.escape(message)}$"):
        fe.Format("x", **numbers)


@pytest.mark.parametrize("error", [ValueError, fe.FloatEmuError])
def test_a_format_error_is_a_value_error(error: type[Exception]) -> None:
    with pytest.raises(error):
        fe.Format("x", k=8, p=8)


def test_a_name_must_be_text() -> None:
    with pytest.raises(fe.FormatError, match="name = 8 is not a string"):
        fe.Format(8, k=8, p=4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 1), "binary2p1se: P3109 needs k >= 3 and 1 <= p <= k - 1 for a signed format; given k = 2, p = 1"),
        ((8, 8), "binary8p8se: P3109 needs k >= 3 and 1 <= p <= k - 1 for a signed format; given k = 8, p = 8"),
        ((8, 9, False), "binary8p9ue: P3109 needs k >= 3 and 1 <= p <= k for an unsigned format; given k = 8, p = 9"),
        ((8, 0, False), "binary8p0ue: P3109 needs k >= 3 and 1 <= p <= k for an unsigned format; given k = 8, p = 0"),
        ((8, 4.0), "p3109: p = 4.0 is not an integer"),
        ((20, 1), "binary20p1se: k = 20 leaves k - p = 19 bits for the exponent of a signed format with p = 1, but "
         "1..15 are needed; make p larger or k smaller"),
    ],
)  # fmt: skip
def test_p3109_limits(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(fe.FormatError, match=f"^{re.escape(message)}$"):
        fe.p3109(*arguments)


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(fe.FormatError, match=r"no format is named 'e4m4'; did you mean .*e4m3.* accepted: binary16, "):
        fe.get_format("e4m4")
    with pytest.raises(fe.FormatError, match=r"a format is a floatemu\.Format or its name; given 8 of type int"):
        fe.get_format(8)  # type: ignore[arg-type]
    with pytest.raises(fe.FormatError, match="no format is named"):
        fe.round(1.0, "zzz")


def test_scaled_takes_non_negative_finite_codes_only() -> None:
    fmt = fe.FORMATS["e4m3fn"]
    assert fmt.scaled(0x7E) == (14, 5)
    for code in (0x7F, -1, 0x80):
        with pytest.raises(fe.FormatError, match=r"is not in 0\.\.0x7e, the non-negative finite ones"):
            fmt.scaled(code)
