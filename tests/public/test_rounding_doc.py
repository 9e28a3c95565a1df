"""docs/rounding.md says what the code does: each row of its tables is tried."""

import re
from pathlib import Path

import numpy as np
import pytest

import floatemu as fe

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "rounding.md").read_text(encoding="utf-8")
INF, NAN = float("inf"), float("nan")


def rows(title):
    """Return the rows of the first table below a heading, as lists of cells."""
    section = TEXT.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


# What each row of the flags table says, in at least one case: (x, format, mode, saturation, nan policy, result).
CASES = {
    "the result is x, and not tiny or tiny and exact": [
        (1.0, "e4m3fn", "rne", "none", None, 1.0),
        (2.0**-9, "e4m3fn", "rne", "none", None, 2.0**-9),
        (0.0, "e4m3fn", "rne", "none", None, 0.0),
    ],
    "rounded, in range": [(1.01, "e4m3fn", "rne", "none", None, 1.0)],
    "finite x beyond the range → infinity": [(1e6, "binary16", "rne", "none", None, INF)],
    "finite x beyond the range → largest finite value, or 0 in an unsigned format": [
        (1e6, "binary16", "rz", "none", None, 65504.0),
        (1e6, "e4m3fn", "rne", "finite", None, 448.0),
        (-3.0, "binary8p3ue", "rne", "finite", None, 0.0),
    ],
    "finite x beyond the range → NaN": [
        (1e6, "e4m3fn", "rne", "none", None, NAN),
        (-3.0, "binary8p3ue", "rne", "none", None, NAN),
    ],
    "infinity → itself": [(INF, "binary16", "rz", "none", None, INF), (-INF, "e5m2", "rne", "propagate", None, -INF)],
    "infinity → a finite value": [(INF, "e4m3fn", "rne", "finite", None, 448.0)],
    "infinity → NaN": [(INF, "e4m3fn", "rz", "none", None, NAN)],
    "tiny and inexact": [
        (1.1 * 2.0**-9, "e4m3fn", "rne", "none", None, 2.0**-9),
        (2.0**-12, "e4m3fn", "rne", "none", None, 0.0),
    ],
    "0 or below into a format without zero → NaN": [
        (0.0, "e8m0fnu", "rne", "none", None, NAN),
        (-1.0, "e8m0fnu", "rne", "none", None, NAN),
    ],
    "0 into a format without zero → least value": [(0.0, "e8m0fnu", "rne", "finite", None, 2.0**-127)],
    "below 0 into a format without zero → least value": [(-1.0, "e8m0fnu", "rne", "finite", None, 2.0**-127)],
    "positive, below the least value of a format without zero": [
        (2.0**-140, "e8m0fnu", "rne", "none", None, 2.0**-127)
    ],
    "NaN → NaN": [(NAN, "e4m3fn", "rne", "none", None, NAN)],
    "NaN replaced through `nan=`": [
        (NAN, "e2m1fn", "rne", "none", "zero", 0.0),
        (NAN, "e2m1fn", "rne", "none", "max", 6.0),
    ],
}


def test_every_row_of_the_flags_table_is_tried():
    assert [row[0] for row in rows("Flags")] == list(CASES)


@pytest.mark.parametrize(("what", "words"), rows("Flags"), ids=[row[0] for row in rows("Flags")])
def test_flags_are_as_documented(what, words):
    always, _, sometimes = words.partition(";")
    expected = fe.Flag(0)
    for name in re.findall(r"[A-Z_]{4,}", always):
        expected |= fe.Flag[name]
    for x, fmt, mode, saturation, nan, result in CASES[what]:
        value, flags = fe.round_with_flags(np.array([x]), fmt, mode, saturation=saturation, nan=nan)
        np.testing.assert_array_equal(value, [result])
        flushed = fe.Flag.FLUSHED if sometimes and result == 0 else fe.Flag(0)
        assert fe.Flag(int(flags[0])) == expected | flushed, (x, fmt)


def test_the_modes_are_those_of_the_code_and_their_synonyms_work():
    table = rows("Rounding modes")
    assert [row[0] for row in table] == [mode.name for mode in fe.Rounding]
    for name, _, synonyms in table:
        for word in filter(None, synonyms.split(", ")):
            assert fe.Projection(word).rounding.name == name


def test_the_saturation_modes_are_those_of_the_code():
    assert [row[0] for row in rows("Beyond the range")] == [mode.name for mode in fe.Saturation]


@pytest.mark.parametrize("word", ["INFINITY", "NAN", "MAX"])
def test_the_formats_named_for_an_overflow_result_have_it(word):
    sentence = re.search(r"`overflow` is INFINITY for .*?\.", TEXT, re.DOTALL)[0]
    parts = dict(re.findall(r"(INFINITY|NAN|MAX) for (.*?)(?=, NAN|, and MAX|\.)", sentence.replace("\n", " ")))
    named = {name for name in fe.FORMATS if re.search(rf"\b{name}\b", parts[word])}
    assert named
    assert {fe.FORMATS[name].overflow.name for name in named} == {word}


def test_random_bits_are_as_documented():
    """SplitMix64 as the text defines it, written out here, gives the R that the rounding uses."""
    mask, gamma = 2**64 - 1, 0x9E3779B97F4A7C15
    assert "0x9E3779B97F4A7C15" in TEXT

    def output(seed, n):
        z = (seed + (n + 1) * gamma) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    x = np.random.default_rng(0).uniform(-400, 400, (4, 5))
    for seed, stream, bits in ((0, 0, 32), (7, 3, 5), (2**64 - 1, 2**63, 1)):
        state = output(seed, stream)
        halves = [output(state, index // 2) >> (32 if index % 2 else 0) & 0xFFFFFFFF for index in range(20)]
        r = np.array([half >> (32 - bits) for half in halves]).reshape(4, 5)
        drawn = fe.round(x, "e4m3fn", "STOCHASTIC_C", random_bits=bits, seed=seed, stream=stream)
        given = fe.round(x, "e4m3fn", "STOCHASTIC_C", random_bits=bits, random=r)
        assert drawn.tobytes() == given.tobytes()
