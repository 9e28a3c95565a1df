"""IEEE P3109 v4.0: projection at the ends of the range, at ties and below zero, by hand-computed rows.

A row holds the results of NearestTiesToEven, NearestTiesToAway, TowardPositive, TowardNegative,
TowardZero and ToOdd, then how many of R = 0..3 (N = 2) round away from zero under StochasticA, B, C.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import oracles
import pytest
from oracles import STOCHASTIC, Draw, assert_bits

import floatemu as fe
from floatemu import Rounding, Saturation, reference

ORDER = (
    Rounding.NEAREST_TIES_TO_EVEN,
    Rounding.NEAREST_TIES_TO_AWAY,
    Rounding.TOWARD_POSITIVE,
    Rounding.TOWARD_NEGATIVE,
    Rounding.TOWARD_ZERO,
    Rounding.TO_ODD,
)
ALL = Saturation.SAT_NONE, Saturation.SAT_FINITE, Saturation.SAT_PROPAGATE
CLAMPING = Saturation.SAT_FINITE, Saturation.SAT_PROPAGATE


def number(text: str) -> float:
    """A fraction, ``inf`` or ``N`` as a float64, exactly."""
    if text in ("inf", "-inf", "N"):
        return float(text.replace("N", "nan"))
    value = Fraction(text)
    assert Fraction(float(value)) == value
    return float(value)


def same(actual: Any, expected: float) -> bool:
    """Bits, because -0 does not exist in P3109."""
    return np.float64(actual).tobytes() == np.float64(expected).tobytes()


def results(x: float, fmt: fe.Format, saturation: Saturation, **arguments: Any) -> float:
    """Return the one result on which scalar, Fraction, array and code faces and the oracle agree."""
    arguments |= {"saturation": saturation}
    value = float(fe.round(x, fmt, **arguments))
    assert same(fe.round(np.array([x]), fmt, **arguments)[0], value)
    if math.isfinite(x):
        assert same(fe.round(Fraction(x), fmt, **arguments), value)
    code = int(fe.encode(x, fmt, **arguments))
    assert same(fe.decode(np.array([code], np.uint8), fmt)[0], value)
    by = fe.Projection(arguments["rounding"], saturation, arguments.get("random_bits"))
    assert code == reference.project(x, fmt, by, arguments.get("random", 0))
    return value


def row(fmt: fe.Format, x: str, six: str, counts: str = "", saturations: tuple[Saturation, ...] = ALL[:1]) -> None:
    """Check one row."""
    wanted = [number(text) for text in six.split()]
    wanted *= 6 if len(wanted) == 1 else 1
    for saturation in saturations:
        for mode, value in zip(ORDER, wanted, strict=True):
            got = results(number(x), fmt, saturation, rounding=mode)
            assert same(got, value), f"{fmt.name} {x} {mode.name} {saturation.name}: {got}, not {value}"
        away = wanted[2] if number(x) > 0 else wanted[3]
        for mode, count in zip(STOCHASTIC, counts.split(), strict=False):
            drawn = [results(number(x), fmt, saturation, rounding=mode, random_bits=2, random=r) for r in range(4)]
            assert sum(same(value, away) for value in drawn) == int(count), f"{fmt.name} {x} {mode.name}: {drawn}"


def rows(name: str, table: str, saturations: tuple[Saturation, ...] = ALL[:1]) -> None:
    for line in table.strip().splitlines():
        inputs, six, *counts = (part.strip() for part in line.split("|"))
        for x in inputs.split(","):
            row(fe.get_format(name), x.strip(), six, *counts, saturations=saturations)


def test_p3109_case_01_top_of_a_signed_extended_format() -> None:
    rows(
        "binary4p2se",
        """
        9/4   | 2 2 inf 2 2 inf     | 1 1 1
        5/2   | 2 inf inf 2 2 inf   | 2 2 2
        11/4  | inf inf inf 2 2 inf | 3 3 3
        3, 7  | inf inf inf 2 2 inf | 4 4 4
        inf   | inf                 | 4 4 4
        """,
    )


def test_p3109_case_02_bottom_of_a_signed_extended_format() -> None:
    rows(
        "binary4p2se",
        """
        -9/4   | -2 -2 -2 -inf -2 -inf     | 1 1 1
        -5/2   | -2 -inf -2 -inf -2 -inf   | 2 2 2
        -11/4  | -inf -inf -2 -inf -2 -inf | 3 3 3
        -3, -7 | -inf -inf -2 -inf -2 -inf | 4 4 4
        -inf   | -inf                      | 4 4 4
        """,
    )


def test_p3109_case_03_finite_signed_format_stays_finite() -> None:
    rows("binary4p2sf", "13/4, 7/2, 15/4, 4, 8, inf | 3 | 4 4 4", ALL)
    rows("binary4p2sf", "-13/4, -7/2, -15/4, -4, -8, -inf | -3 | 4 4 4", ALL)


def test_p3109_case_04_top_of_an_unsigned_extended_format() -> None:
    rows(
        "binary4p2ue",
        """
        13/2  | 6 6 inf 6 6 6     | 1 1 1
        7     | inf inf inf 6 6 6 | 2 2 2
        15/2  | inf inf inf 6 6 6 | 3 3 3
        8, 16 | inf inf inf 6 6 6 | 4 4 4
        inf   | inf               | 4 4 4
        """,
    )


def test_p3109_case_05_top_of_an_unsigned_finite_format() -> None:
    rows("binary4p2uf", "9, 10, 11, 12, 28, inf | 8 | 4 4 4", ALL)


@pytest.mark.parametrize("name", ["binary4p2ue", "binary4p2uf"])
def test_p3109_case_06_negative_into_unsigned(name: str) -> None:
    rows(
        name,
        """
        -1/64      | 0 0 0 N 0 N | 1 1 1
        -1/32      | 0 N 0 N 0 N | 2 2 2
        -3/64      | N N 0 N 0 N | 3 3 3
        -1/16,-100 | N N 0 N 0 N | 4 4 4
        -inf       | N           | 4 4 4
        """,
    )


@pytest.mark.parametrize(
    ("name", "wanted"), [("se", "2 inf -2 -inf"), ("sf", "3 3 -3 -3"), ("ue", "6 inf 0 0"), ("uf", "8 8 0 0")]
)
def test_p3109_case_07_saturation_that_propagates(name: str, wanted: str) -> None:
    for x, value in zip(("100", "inf", "-100", "-inf"), wanted.split(), strict=True):
        rows(f"binary4p2{name}", f"{x} | {value} | 4 4 4", (Saturation.SAT_PROPAGATE,))


@pytest.mark.parametrize(
    ("name", "wanted"), [("se", "2 2 -2 -2"), ("sf", "3 3 -3 -3"), ("ue", "6 6 0 0"), ("uf", "8 8 0 0")]
)
def test_p3109_case_08_saturation_to_finite(name: str, wanted: str) -> None:
    for x, value in zip(("100", "inf", "-100", "-inf"), wanted.split(), strict=True):
        rows(f"binary4p2{name}", f"{x} | {value} | 4 4 4", (Saturation.SAT_FINITE,))
    if name.startswith("u"):
        rows(f"binary4p2{name}", "-1/64 | 0 | 4 4 4", CLAMPING)


def test_p3109_case_09_top_of_binary8p4() -> None:
    rows(
        "binary8p4se",
        """
        232 | 224 inf inf 224 224 inf | 2 2 2
        233 | inf inf inf 224 224 inf | 2 2 2
        240 | inf inf inf 224 224 inf | 4 4 4
        """,
    )
    rows("binary8p4sf", "232 | 224 240 240 224 224 240")


def test_p3109_case_10_ties_of_powers_of_two() -> None:
    rows(
        "binary8p1uf",
        """
        3   | 4 4 4 2 2 2       | 2 2 2
        6   | 4 8 8 4 4 8       | 2 2 2
        3/2 | 1 2 2 1 1 2       | 2 2 2
        3/4 | 1 1 1 1/2 1/2 1/2 | 2 2 2
        """,
    )


def test_p3109_case_11_ends_of_powers_of_two() -> None:
    rows(
        "binary4p1se",
        """
        1/16 | 0 1/8 1/8 0 0 1/8
        3/16 | 1/4 1/4 1/4 1/8 1/8 1/8
        -3   | -4 -4 -2 -4 -2 -2
        5    | 4 4 inf 4 4 inf
        6    | 4 inf inf 4 4 inf
        """,
    )
    rows("binary4p1ue", "40 | 32 32 inf 32 32 32\n 48 | inf inf inf 32 32 32")
    rows("binary4p1uf", "80, 96, 128 | 64")


def test_p3109_case_12_fixed_point() -> None:
    rows(
        "binary4p4uf",
        """
        1/16  | 0 1/8 1/8 0 0 1/8
        15/16 | 1 1 1 7/8 7/8 7/8
        17/16 | 1 9/8 9/8 1 1 9/8
        29/16 | 7/4
        """,
    )


def test_p3109_case_13_subnormals() -> None:
    fmt, u = fe.get_format("binary8p4se"), Fraction(1, 1024)
    for x, six in (
        (Fraction(1, 2), (0, 1, 1, 0, 0, 1)),
        (Fraction(3, 4), (1, 1, 1, 0, 0, 1)),
        (Fraction(3, 2), (2, 2, 2, 1, 1, 1)),
        (Fraction(15, 2), (8, 8, 8, 7, 7, 7)),
        (Fraction(-1, 2), (0, -1, 0, -1, 0, -1)),
    ):
        row(fmt, str(x * u), " ".join(str(value * u) for value in six))
    for code, value in ((0x01, u), (0x07, 7 * u), (0x08, Fraction(1, 128)), (0x40, 1), (0x48, 2), (0xC0, -1)):
        assert fe.encode(float(value), fmt) == code
        assert fe.decode(np.array([code], np.uint8), fmt)[0] == float(value)


def counts(n: int, mode: Rounding) -> str:
    """For nu = 0, 1/16 ... 15/16: the number of R that round 1 + nu/8 away, in the faces and in the oracle."""
    fmt = fe.get_format("binary8p4se")
    x = 1 + np.arange(16) / 128
    away = sum((fe.round(x, fmt, mode, random_bits=n, random=r) == 1.125).astype(int) for r in range(2**n))
    fast = sum((oracles.expected(x, fmt, Draw(mode, n, r)).values == 1.125).astype(int) for r in range(2**n))
    assert np.array_equal(away, fast)
    drawn = fe.round(np.repeat(x, 2**n).reshape(16, -1), fmt, mode, random_bits=n, random=np.arange(2**n))
    assert np.array_equal((drawn == 1.125).sum(axis=1), away)
    return "".join(str(count) for count in away)


def test_p3109_case_14_stochastic_counts_of_two_bits() -> None:
    assert counts(2, Rounding.STOCHASTIC_A) == "0000111122223333"
    assert counts(2, Rounding.STOCHASTIC_B) == "0011112222333344"
    assert counts(2, Rounding.STOCHASTIC_C) == "0001112222233344"


def test_p3109_case_15_stochastic_counts_of_one_bit() -> None:
    assert counts(1, Rounding.STOCHASTIC_A) == "0000000011111111"
    assert counts(1, Rounding.STOCHASTIC_B) == "0000111111112222"
    assert counts(1, Rounding.STOCHASTIC_C) == "0000011111112222"


def test_p3109_case_16_binary16_as_a_target() -> None:
    fmt = fe.FORMATS["binary16"]
    least = 2.0**-24
    for x, six, away in (
        (65519.0, (65504, 65504, np.inf, 65504, 65504, 65504), (1, 2, 2)),
        (65520.0, (np.inf, np.inf, np.inf, 65504, 65504, 65504), (2, 2, 2)),
        (65536.0, (np.inf, np.inf, np.inf, 65504, 65504, np.inf), (4, 4, 4)),
    ):
        assert [float(fe.round(x, fmt, mode)) for mode in ORDER] == list(six)
        for mode, count in zip(STOCHASTIC, away, strict=True):
            drawn = [fe.round(x, fmt, mode, random_bits=2, random=r) for r in range(4)]
            assert sum(np.isinf(drawn)) == count
    # P3109 encodes an underflowed negative as +0; floatemu's binary16 is IEEE 754's, which keeps the sign of zero.
    six = [float(fe.round(-(2.0**-25), fmt, mode)) for mode in ORDER]
    assert_bits(np.array(six), np.array([-0.0, -least, -0.0, -least, -0.0, -least]))


def test_p3109_case_17_convert() -> None:
    def convert(source: str, target: str, pairs: str) -> None:
        for pair in pairs.split():
            code, wanted = (int(text, 16) for text in pair.split(">"))
            value = fe.decode(np.array([code], np.uint8), source)
            assert fe.encode(value, target)[0] == wanted, f"{source} {code:#x} to {target}"

    convert("binary8p3se", "binary8p4se", "7E>7F 01>00 80>80 41>42 FF>FF")
    convert("binary8p4se", "binary4p2sf", "34>2 28>0 7F>7 FF>F 80>8")
    assert fe.encode(np.array([-0.0], np.float32), "binary8p4se")[0] == 0
    assert_bits(fe.round(np.array([-0.0], np.float32), "binary8p4se"), np.array([0.0], np.float32))


def test_p3109_case_19_infinite_and_negative_results() -> None:
    """Log(0) = -inf, Exp(+inf) = +inf and Negate(1), as far as they are projections."""
    formats = ("binary8p4se", "binary8p4sf", "binary8p4ue", "binary8p4uf")
    table = {
        (-np.inf, Saturation.SAT_NONE): (-np.inf, -240, np.nan, np.nan),
        (-np.inf, Saturation.SAT_PROPAGATE): (-np.inf, -240, 0, 0),
        (-np.inf, Saturation.SAT_FINITE): (-224, -240, 0, 0),
        (np.inf, Saturation.SAT_NONE): (np.inf, 240, np.inf, 57344),
        (np.inf, Saturation.SAT_PROPAGATE): (np.inf, 240, np.inf, 57344),
        (np.inf, Saturation.SAT_FINITE): (224, 240, 53248, 57344),
    }
    for (x, saturation), wanted in table.items():
        for name, value in zip(formats, wanted, strict=True):
            for mode in ORDER:
                assert same(results(x, fe.get_format(name), saturation, rounding=mode), value)
    ue = fe.get_format("binary8p4ue")
    assert fe.encode(-np.inf, ue) == 0xFF
    for mode in ORDER:
        into_zero = mode in (Rounding.TOWARD_ZERO, Rounding.TOWARD_POSITIVE)
        assert same(results(-1.0, ue, Saturation.SAT_NONE, rounding=mode), 0.0 if into_zero else np.nan)
        for saturation in CLAMPING:
            assert same(results(-1.0, ue, saturation, rounding=mode), 0.0)


def test_p3109_case_23_neighbours_in_code_order() -> None:
    fmt = fe.get_format("binary4p2se")
    upward = [0xF, 0xE, 0xD, 0xC, 0xB, 0xA, 0x9, 0x0, 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0x7]
    values = fe.decode(np.array(upward, np.uint8), fmt)
    assert_bits(fe.nextafter(values[:-1], np.inf, fmt), values[1:])
    assert_bits(fe.nextafter(values[1:], -np.inf, fmt), values[:-1])


CHECK_SUMS = """
se None   28242 28306 27496 35688 24558 38368 112636 114220 114060
se Prop   25376 25430 26037 34229 24558 35450 101184 102720 102576
se Finite 25366 25420 26027 34219 24548 35440 101144 102680 102536
sf None   28242 28306 28908 37100 27382 38368 112636 114220 114060
sf Prop   28242 28306 28908 37100 27382 38368 112636 114220 114060
sf Finite 28242 28306 28908 37100 27382 38368 112636 114220 114060
ue None   54282 54400 25379 69254 21302 71110 216580 219668 219402
ue Prop   21577 21614 23355 21221 21221 23077 86114 86586 86490
ue Finite 21570 21607 23348 21214 21214 23070 86086 86558 86462
uf None   54282 54400 25379 71146 23194 73002 216580 219668 219402
uf Prop   23498 23535 25298 23113 23113 24969 93768 94264 94160
uf Finite 23498 23535 25298 23113 23113 24969 93768 94264 94160
"""


@pytest.mark.parametrize("line", CHECK_SUMS.strip().splitlines(), ids=lambda line: "-".join(line.split()[:2]))
def test_p3109_whole_space_check_sums(line: str) -> None:
    """Sums of the result codes of all formats of 3 and 4 bits; stochastic modes with N = 2, summed over R."""
    group, saturated, *sums = line.split()
    saturation = next(member for member in Saturation if member.name.startswith(f"SAT_{saturated.upper()}"))
    steps = np.ldexp(np.arange(16, 32) / 16, np.arange(-18, 19)[:, None]).ravel()
    x = np.concatenate([[np.nan, np.inf, -np.inf, 0.0], steps, -steps])
    assert x.size == 1188
    formats = [fmt for fmt in oracles.P3109_SMALL if fmt.k <= 4 and fmt.name.endswith(group)]
    assert len(formats) == (5 if group[0] == "s" else 7)
    for mode, wanted in zip((*ORDER, *STOCHASTIC), sums, strict=True):
        draws = [Draw(mode, 2, r) for r in range(4)] if mode.stochastic else [Draw(mode)]
        total = fast = 0
        for fmt in formats:
            for draw in draws:
                total += int(fe.encode(x, fmt, **oracles.call(draw, saturation)).sum(dtype=np.int64))
                fast += int(oracles.expected(x, fmt, draw, saturation).codes.sum())
        assert (total, fast) == (int(wanted), int(wanted)), f"{line} {mode.name}"
