"""Inputs of captures: the same words everywhere, codes of the formats they claim, distributions as described."""

import hashlib
import math
from fractions import Fraction

import numpy as np
import pytest

import floatemu as fe
from floatemu._core import random as core
from floatemu.matrix import generator as gen
from floatemu.matrix.generator import DISTRIBUTIONS, LAYOUTS

FLOATS = [name for name, layout in LAYOUTS.items() if layout.p]
PAIRS = [
    ("binary16", "binary32"), ("binary16", "binary16"), ("bfloat16", "binary32"), ("tf32", "binary32"),
    ("e4m3fn", "binary32"), ("e5m2", "binary16"), ("binary64", "binary64"),
]  # fmt: skip
PINNED = {
    "normal": "aa153f79",
    "adversarial": "e243063e",
    "raw": "f38ac90d",
    "zeros": "a8391cc4",
    "underflow": "a77fc721",
    "finite": "c43c756d",
}


def reference_words(seed, count):
    """SplitMix64 written from its paper, on Python integers."""
    mask, state, out = 2**64 - 1, seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append(z ^ (z >> 31))
    return out


def test_reference_gives_the_published_numbers():
    """The outputs for seed 1234567 that are printed wherever SplitMix64 is."""
    assert reference_words(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize(("seed", "stream"), [(0, 0), (1, 0), (1, 9), (2**64 - 1, 2**40)])
def test_words_are_splitmix64_and_the_rest_of_the_package_draws_the_same(seed, stream):
    root = reference_words((seed + stream * 0x9E3779B97F4A7C15) % 2**64, 1)[0]
    assert gen.words(seed, stream, 0, 5).tolist() == reference_words(root, 5)
    assert gen.words(seed, stream, 2, 3).tolist() == reference_words(root, 5)[2:]
    assert root == core.stream_state(seed, stream)


@pytest.mark.parametrize("name", FLOATS)
def test_layouts_are_the_formats(name):
    layout, fmt = LAYOUTS[name], fe.get_format(name)
    assert (layout.k, layout.p, layout.bias) == (fmt.k, fmt.p, fmt.bias)
    assert fe.decode(np.array([layout.largest], np.uint64), fmt)[0] == float(fmt.max)
    assert (layout.emin, layout.emax) == (fmt.emin, fmt.emax)
    assert layout.infinity == fmt.inf_code
    assert math.isnan(fe.decode(np.array([layout.nan], np.uint64), fmt)[0])


@pytest.mark.parametrize("name", ["binary16", "e4m3fn", "e5m2", "bfloat16"])
def test_values_of_codes(name):
    layout, fmt = LAYOUTS[name], fe.get_format(name)
    codes = np.arange(layout.largest + 1, dtype=layout.dtype)
    codes = np.concatenate([codes, codes | layout.dtype.type(layout.sign)])
    assert gen._value(layout, codes).tobytes() == fe.decode(codes, fmt).tobytes()


def values(name, codes):
    layout = LAYOUTS[name]
    return fe.decode(codes.astype(np.uint64) >> np.uint64(layout.spare), fe.get_format(name))


def test_every_distribution_is_pinned():
    """Codes must never change under one version: captures are read back by them."""
    found = {}
    for distribution in DISTRIBUTIONS:
        digest = hashlib.sha256()
        for a, c in PAIRS:
            for array in gen.vectors(distribution, LAYOUTS[a], LAYOUTS[a], LAYOUTS[c], 37, 16, seed=1):
                digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        found[distribution] = digest.hexdigest()[:8]
    assert found == PINNED
    assert gen.VERSION == 1


@pytest.mark.parametrize(("a", "c"), PAIRS)
def test_normal_numbers_have_the_moments_of_the_normal_distribution(a, c):
    x, y, z = gen.vectors("normal", LAYOUTS[a], LAYOUTS[a], LAYOUTS[c], 2000, 16, seed=3)
    both = np.concatenate([values(a, x).ravel(), values(a, y).ravel()])
    assert abs(both.mean()) < 0.02
    # Cut to p bits, a number loses up to 2^(1-p) of itself, and half of that on average.
    assert 0.99 - 2.0 ** (1 - LAYOUTS[a].p) < both.std() < 1.01
    assert 2.7 < (both**4).mean() / (both**2).mean() ** 2 < 3.1  # twelve terms: 2.9
    assert 0.94 < values(c, z).std() < 1.06


def test_normal_numbers_are_cut_and_not_rounded():
    wide = values("binary64", gen.draw("normal", LAYOUTS["binary64"], (4000,), 5, 0, LAYOUTS["binary64"]))
    for name in ("binary16", "bfloat16", "e4m3fn", "e5m2"):
        codes = gen.draw("normal", LAYOUTS[name], (4000,), 5, 0, LAYOUTS["binary32"])
        assert codes.tolist() == fe.encode(wide, name, fe.Rounding.TOWARD_ZERO).tolist()


@pytest.mark.parametrize(("a", "c"), PAIRS)
def test_adversarial_accumulators_nearly_cancel_the_largest_product(a, c):
    x, y, z = gen.vectors("adversarial", LAYOUTS[a], LAYOUTS[a], LAYOUTS[c], 300, 16, seed=3)
    u, v, w = values(a, x), values(a, y), values(c, z)
    assert {math.frexp(abs(value))[1] - 1 for value in u.ravel()} == set(range(max(-7, LAYOUTS[a].emin), 8))
    products = [[Fraction(p) * Fraction(q) for p, q in zip(*row)] for row in zip(u.tolist(), v.tolist())]
    shift = 2 ** (max(LAYOUTS[c].p - 21, 0) + 1 - LAYOUTS[c].p)
    for row, accumulator in zip(products, w.tolist()):
        largest = max(row, key=abs)
        if abs(largest) > fe.finfo(c).max:
            assert abs(accumulator) >= fe.finfo(c).max * (1 - 4 * shift)
        else:
            assert abs(Fraction(accumulator) + largest) <= abs(largest) * Fraction(shift) * 4
        assert accumulator * largest < 0
    assert len({abs(accumulator) for accumulator in w.tolist()}) > 200


def test_raw_and_zeros_and_underflow_are_what_they_say():
    layout, result = LAYOUTS["binary16"], LAYOUTS["binary32"]
    raw = gen.draw("raw", layout, (2**16,), 1, 0, result)
    assert len(np.unique(raw)) > 0.6 * 2**16
    zeros = gen.draw("zeros", layout, (2**16,), 1, 0, result)
    assert 0.69 < ((zeros & 0x7FFF) == 0).mean() < 0.71
    assert {0, 0x8000} <= set(zeros.tolist())
    low = gen.draw("underflow", layout, (2**12,), 1, 0, result)
    assert set(((low >> 10) & 31).tolist()) == {0, 1, 2, 3}
    x, y, _ = gen.vectors("underflow", LAYOUTS["bfloat16"], LAYOUTS["bfloat16"], result, 500, 8, 1)
    exponents = np.frexp(values("bfloat16", x) * values("bfloat16", y))[1]
    assert exponents.min() < -170
    assert exponents.max() > -130


@pytest.mark.parametrize("name", FLOATS)
def test_finite_codes_are_raw_ones_without_specials(name):
    layout = LAYOUTS[name]
    codes = gen.draw("finite", layout, (2**14,), 1, 0, LAYOUTS["binary32"])
    found = values(name, codes)
    assert np.isfinite(found).all()
    assert math.frexp(abs(found).max())[1] - 1 == layout.emax
    assert (codes != gen.draw("finite", layout, (2**14,), 2, 0, LAYOUTS["binary32"])).any()


def test_operands_of_tf32_lie_in_binary32_registers():
    codes = gen.draw("raw", LAYOUTS["tf32"], (1000,), 1, 0, LAYOUTS["binary32"])
    assert codes.dtype == np.uint32
    assert not (codes & 0x1FFF).any()
    assert (codes >> 13).max() > 2**18


@pytest.mark.parametrize("distribution", ["normal", "gaussian"])
def test_refusals_name_what_is_accepted(distribution):
    with pytest.raises(ValueError, match=f"{distribution}.*not one of raw, zeros"):
        gen.draw(distribution, LAYOUTS["int8"], (4,), 1, 0, LAYOUTS["int32"])


def test_cast_samples_cover_every_upper_half():
    codes = gen.cast_samples(32)
    assert (codes >> 16).tolist() == list(range(2**16))
    assert len(np.unique(codes & 0xFFFF)) > 40000
    assert gen.cast_samples(16).tolist() == list(range(2**16))


def test_chunk_hash_tells_inputs_outputs_and_places_apart():
    outputs = np.arange(100, dtype=np.uint8)
    changed, swapped = outputs.copy(), outputs.copy()
    changed[50] += 1
    swapped[[3, 4]] = swapped[[4, 3]]
    hashes = {
        gen.chunk_hash(0, outputs),
        gen.chunk_hash(1, outputs),
        gen.chunk_hash(0, changed),
        gen.chunk_hash(0, swapped),
    }
    assert len(hashes) == 4
    mask = 2**64 - 1

    def finaliser(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    assert (
        gen.chunk_hash(2**32 - 100, outputs) == sum(finaliser((2**32 - 100 + i) << 32 | i) for i in range(100)) & mask
    )


def test_another_seed_and_another_operand_give_other_codes():
    layout, result = LAYOUTS["binary16"], LAYOUTS["binary32"]
    x, y, _ = gen.vectors("raw", layout, layout, result, 8, 8, 1)
    other, _, _ = gen.vectors("raw", layout, layout, result, 8, 8, 2)
    assert (x != y).any()
    assert (x != other).any()
