"""Random bits are a function of seed, stream and position, and of nothing else."""

from __future__ import annotations

import threading
from typing import Any

import ml_dtypes
import numpy as np
import oracles
import pytest
from oracles import STOCHASTIC, Draw, assert_bits

import floatemu as fe
from floatemu import Rounding, reference

SEEDS = (0, 1, 2**64 - 1, 1234567, 2**63, -1, 2**64 + 5)


def words(seed: int, stream: int, count: int, n: int) -> np.ndarray:
    """R of the first elements, by the oracle."""
    return np.array([reference.random_word(seed, stream, index) >> (32 - n) for index in range(count)], np.uint64)


@pytest.mark.parametrize("n", [1, 2, 8, 23, 32])
@pytest.mark.parametrize("seed", SEEDS)
def test_seed_gives_the_published_generators_bits(seed: int, n: int) -> None:
    x = 1 + np.arange(64) / 512
    for stream in (0, 1, 7, 2**64 - 1, 2**40):
        r = words(seed, stream, 64, n)
        for mode in STOCHASTIC:
            drawn = fe.round(x, "e4m3fn", mode, seed=seed, stream=stream, random_bits=n)
            assert_bits(drawn, fe.round(x, "e4m3fn", mode, random=r, random_bits=n), x, f"{seed} {stream} {n}")


def test_given_bits_are_used_element_by_element() -> None:
    """Whole chain: word, top bits, rule, by the oracles alone."""
    x = 1 + np.arange(200) / 1600
    r = words(42, 3, 200, 3)
    for mode in STOCHASTIC:
        right = np.empty(200)
        for value in range(8):
            chosen = r == value
            right[chosen] = oracles.expected(x[chosen], fe.FORMATS["e4m3fn"], Draw(mode, 3, value)).values
        assert_bits(fe.round(x, "e4m3fn", mode, seed=42, stream=3, random_bits=3), right, x)


def test_thirty_two_bits_are_the_default() -> None:
    x = np.linspace(1, 2, 1000)
    for mode in STOCHASTIC:
        assert_bits(fe.round(x, "e4m3fn", mode, seed=5), fe.round(x, "e4m3fn", mode, seed=5, random_bits=32))
    r = np.arange(1000, dtype=np.uint32) * np.uint32(4_000_037)
    assert_bits(fe.round(x, "e4m3fn", "sa", random=r), fe.round(x, "e4m3fn", "sa", random=r, random_bits=32))


def faces(x: np.ndarray, **call: Any) -> list[np.ndarray]:
    out = np.empty_like(x)
    fe.round(x, "e4m3fn", out=out, **call)
    return [
        fe.round(x, "e4m3fn", **call),
        fe.round_with_flags(x, "e4m3fn", **call)[0],
        fe.decode(fe.encode(x, "e4m3fn", **call), "e4m3fn", dtype=x.dtype),
        fe.rounder("e4m3fn", **call)(x),
        out,
    ]


@pytest.mark.parametrize("mode", STOCHASTIC)
def test_every_face_draws_the_same(mode: Rounding) -> None:
    x = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    first, *others = faces(x, rounding=mode, seed=9, stream=2)
    for other in others:
        assert_bits(other, first, x)
    assert_bits(fe.round(x.astype(np.float64), "e4m3fn", mode, seed=9, stream=2).astype(np.float32), first, x)


def test_position_is_the_c_order_position_in_the_result() -> None:
    x = np.random.default_rng(1).normal(size=(6, 50, 7))
    right = fe.round(x.ravel(), "e4m3fn", "sb", seed=4).reshape(x.shape)
    layouts: dict[str, np.ndarray] = {
        "contiguous": x,
        "fortran": np.asfortranarray(x),
        "transposed": np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0),
        "strided": np.repeat(x, 3, axis=1)[:, ::3],
        "reversed": np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1],
        "big-endian": x.astype(">f8"),
        "list": x.tolist(),  # type: ignore[dict-item]
    }
    for name, given in layouts.items():
        assert_bits(fe.round(given, "e4m3fn", "sb", seed=4).astype(np.float64), right, x, name)
    out = np.empty((7, 6, 50)).transpose(1, 2, 0)
    fe.round(x, "e4m3fn", "sb", seed=4, out=out)
    assert_bits(np.ascontiguousarray(out), right, x, "strided out")


def test_a_prefix_does_not_depend_on_what_follows() -> None:
    """Blocks and threads are cut somewhere: no cut may be seen."""
    x = np.random.default_rng(2).normal(size=300_001).astype(np.float32)
    whole = fe.round(x, "e5m2", "sc", seed=11, stream=1)
    for size in (1, 2, 7, 1023, 1024, 1025, 65_536, 65_537, 131_072, 262_145):
        assert_bits(fe.round(x[:size], "e5m2", "sc", seed=11, stream=1), whole[:size], None, str(size))


def test_threads_do_not_matter() -> None:
    x = np.random.default_rng(3).normal(size=200_000).astype(np.float32)
    right = fe.round(x, "e4m3fn", "sa", seed=1, stream=5)
    results: list[np.ndarray] = [x] * 4

    def work(position: int) -> None:
        results[position] = fe.round(x, "e4m3fn", "sa", seed=1, stream=5)

    threads = [threading.Thread(target=work, args=(position,)) for position in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for got in results:
        assert_bits(got, right, x)


def test_scalars_are_element_zero() -> None:
    x = 1.03
    for seed in range(40):
        array = fe.round(np.array([x, x]), "e4m3fn", "sa", seed=seed, stream=seed + 1)
        assert fe.round(x, "e4m3fn", "sa", seed=seed, stream=seed + 1) == array[0]
        assert fe.rounder("e4m3fn", "sa", seed=seed, stream=seed + 1)(np.array([x, x]))[1] == array[1]


def test_numpys_global_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    fe.round(np.ones(10) * 1.03, "e4m3fn", "sa", seed=1)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_streams_and_seeds_differ() -> None:
    x = np.full(4096, 1.0625)
    drawn = [fe.round(x, "e4m3fn", "sa", seed=seed, stream=stream) for seed in (0, 1) for stream in (0, 1, 2)]
    for first in range(6):
        for second in range(first):
            # Independent fair coins agree on 2048 +- 32 of 4096 (one standard deviation).
            agree = np.count_nonzero(drawn[first] == drawn[second])
            assert abs(agree - 2048) < 5 * 32


@pytest.mark.parametrize("mode", STOCHASTIC)
def test_the_mean_follows_the_number(mode: Rounding) -> None:
    for nu in (0.1, 0.5, 0.9):
        drawn = fe.round(np.full(40_000, 1 + nu / 8), "e4m3fn", mode, seed=8)
        away = np.count_nonzero(drawn == 1.125) / 40_000
        assert abs(away - nu) < 5 * np.sqrt(nu * (1 - nu) / 40_000)


def train(stream_of_step: Any, steps: int = 1000, weights: int = 2000) -> np.ndarray:
    """Add 1e-4 to bfloat16 weights of 1.0, whose spacing is 2^-7, step by step."""
    w = np.ones(weights, np.float32)
    for step in range(steps):
        w = fe.round(w + np.float32(1e-4), "bfloat16", "stochastic_b", seed=0, stream=stream_of_step(step))
    return w


def test_what_stream_is_for() -> None:
    """With stream=step the mean weight follows 1.1; one stream for all steps freezes nearly every weight."""
    moving = train(lambda step: step)
    # 1000 steps make a weight's variance at most 1000 * p (1 - p) * 2^-14 with p = 1e-4 * 2^7.
    spread = np.sqrt(1000 * 0.0128 * 0.9872) * 2.0**-7
    assert abs(moving.mean(dtype=np.float64) - 1.1) < 5 * spread / np.sqrt(moving.size)
    frozen = train(lambda step: 0)
    assert np.count_nonzero(frozen == 1.0) > 0.97 * frozen.size
    # To nearest, none moves at all.
    assert (fe.round(np.float32(1 + 1e-4), "bfloat16")) == 1.0


def test_a_random_array_broadcasts() -> None:
    x = np.full((4, 8), 1.03125)
    r = np.arange(8)
    right = np.where(r >= 6, 1.125, 1.0)  # nu = 1/4, N = 3: away from R = 6 on
    assert_bits(fe.round(x, "e4m3fn", "sa", random=r, random_bits=3), np.tile(right, (4, 1)))
    column = np.array([[0], [5], [6], [7]])
    got = fe.round(x, "e4m3fn", "sa", random=column, random_bits=3)
    assert_bits(got, np.repeat([[1.0], [1.0], [1.125], [1.125]], 8, axis=1))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, np.int16, ">u4"])
def test_a_random_array_of_any_integer_dtype(dtype: Any) -> None:
    r = np.arange(8).astype(dtype)
    got = fe.round(np.full(8, 1.03125), "e4m3fn", "sa", random=r, random_bits=3)
    assert got.tolist() == [1.0] * 6 + [1.125] * 2


@pytest.mark.parametrize(
    ("arguments", "words_of_message"),
    [
        ({"rounding": "sa"}, ["STOCHASTIC_A", "seed"]),
        ({"rounding": "sa", "seed": 1, "random_bits": 0}, ["random_bits=0", "1..32"]),
        ({"rounding": "sa", "seed": 1, "random_bits": 33}, ["random_bits=33", "1..32"]),
        ({"rounding": "sa", "seed": 1, "random_bits": 2.0}, ["random_bits=2.0", "1..32"]),
        ({"rounding": "sa", "seed": 1, "random_bits": True}, ["random_bits=True", "1..32"]),
        ({"rounding": "rne", "random_bits": 3}, ["random_bits=3", "NEAREST_TIES_TO_EVEN"]),
        ({"rounding": "sa", "seed": 1.5}, ["seed", "1.5"]),
        ({"rounding": "sa", "seed": "1"}, ["seed", "'1'"]),
        ({"rounding": "sa", "seed": True}, ["seed", "True"]),
        ({"rounding": "sa", "seed": 1, "stream": 0.5}, ["stream", "0.5"]),
        ({"rounding": "sa", "random_bits": 3, "random": 8}, ["8"]),
        ({"rounding": "sa", "random_bits": 3, "random": -1}, ["-1"]),
        ({"rounding": "sa", "random_bits": 3, "random": 1.5}, ["random"]),
        ({"rounding": "sa", "random_bits": 3, "random": np.zeros(5, int)}, ["random", "(5,)", "(4,)"]),
    ],
    ids=str,
)
def test_refusals(arguments: dict[str, Any], words_of_message: list[str]) -> None:
    for face in (fe.round, fe.encode, fe.round_with_flags):
        with pytest.raises(fe.FloatEmuError) as caught:
            face(np.full(4, 1.03), "e4m3fn", **arguments)
        for word in words_of_message:
            assert word in str(caught.value)


def test_numpy_integers_are_seeds() -> None:
    x = np.linspace(1, 2, 100)
    right = fe.round(x, "e4m3fn", "sa", seed=7, stream=3)
    assert_bits(fe.round(x, "e4m3fn", "sa", seed=np.int64(7), stream=np.uint8(3)), right)


def test_narrow_sources_draw_the_same() -> None:
    """The position counts, not the dtype."""
    x = np.arange(2**16, dtype=np.uint16).view(ml_dtypes.bfloat16)
    x = x[np.isfinite(x.astype(np.float32))]
    wide = x.astype(np.float64)
    got = fe.round(x, "e4m3fn", "sb", seed=3).astype(np.float64)
    assert_bits(got, fe.round(wide, "e4m3fn", "sb", seed=3), wide)
