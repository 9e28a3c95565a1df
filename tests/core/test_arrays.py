"""Arrays as users have them: shapes, strides, byte orders, read-only and overlapping memory, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numba import njit
from oracles import DETERMINISTIC, SATURATIONS, assert_bits, expected

import floatemu as fe
from floatemu import Rounding, projecting

RNG = np.random.default_rng(77)
X = RNG.normal(size=(5, 8, 6)) * 8
FLOATS = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16]


def right(x: Any, fmt: str = "e4m3fn") -> np.ndarray:
    """Element by element, by the oracle."""
    from oracles import Draw

    wide = np.asarray(x).astype(np.float64)
    return expected(wide.ravel(), fe.get_format(fmt), Draw(Rounding.NEAREST_TIES_TO_EVEN)).values.reshape(wide.shape)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "c": lambda x: x,
    "fortran": np.asfortranarray,
    "transposed": lambda x: x.transpose(2, 0, 1),
    "sliced": lambda x: x[1::2, ::-3, 1:],
    "reversed": lambda x: x[::-1, ::-1, ::-1],
    "broadcast": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "zero-stride": lambda x: np.lib.stride_tricks.as_strided(x, (4, 3), (0, x.strides[2]), writeable=False),
    "one-dimensional": np.ravel,
    "zero-dimensional": lambda x: np.array(x[0, 0, 0]),
    "empty": lambda x: x[:0],
    "empty-inside": lambda x: x[:, :, :0],
    "many-dimensional": lambda x: x.reshape(5, 2, 1, 2, 2, 1, 3, 2),
    "offset": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
def test_layouts(dtype: type, layout: Callable[[np.ndarray], np.ndarray]) -> None:
    x = layout(X.astype(dtype))
    before = x.tobytes()
    got = fe.round(x, "e4m3fn")
    assert_bits(np.asarray(got), right(x).astype(dtype), x)
    values, flags = fe.round_with_flags(x, "e4m3fn")
    assert_bits(np.asarray(values), right(x).astype(dtype), x)
    assert (np.asarray(flags).shape, np.asarray(flags).dtype) == (x.shape, np.uint8)
    codes = fe.encode(x, "e4m3fn")
    assert (np.shape(codes), np.asarray(codes).dtype) == (x.shape, np.uint8)
    assert_bits(np.asarray(fe.decode(codes, "e4m3fn")), right(x), x)
    assert x.tobytes() == before


@pytest.mark.parametrize("dtype", [">f2", "<f4", ">f4", ">f8", "<f8", ">i2", ">i4", ">i8", ">u8"])
def test_byte_orders(dtype: str) -> None:
    x = np.array([-100, -3, 0, 1, 17, 19, 27, 115], dtype if "u" not in dtype else "i8").astype(dtype)
    if "u" in dtype:
        x = np.array([0, 1, 17, 19, 27, 2**60 + 1], dtype)
    if "f" in dtype:
        x = (x / np.array(7, dtype)).astype(dtype)
    got = fe.round(x, "e5m2")
    assert_bits(got.astype(np.float64), right(x, "e5m2"), x)
    assert got.dtype.itemsize == (x.dtype.itemsize if "f" in dtype else 8)
    assert_bits(fe.decode(fe.encode(x, "e5m2"), "e5m2"), right(x, "e5m2"), x)


def test_read_only_arrays_are_read() -> None:
    x = X.copy()
    x.setflags(write=False)
    got = fe.round(x, "e4m3fn")
    assert_bits(got, right(x), x)
    assert got.flags.writeable


def test_results_never_share_memory_with_the_input() -> None:
    x = fe.values("e4m3fn").copy()
    for given in (x, x[::-1], x[:1]):
        assert not np.shares_memory(fe.round(given, "e4m3fn"), x)


def test_in_place() -> None:
    for dtype in FLOATS:
        x = X.astype(dtype)
        wanted = right(x).astype(dtype)
        assert fe.round(x, "e4m3fn", out=x) is x
        assert_bits(x, wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_in_place_piece_by_piece(dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random bits are of the place in the array, given ones too; the last piece is short."""
    monkeypatch.setattr(projecting, "SPARE", 96)
    x = (RNG.normal(size=1000) * 8).astype(dtype)
    for settings in (
        {"rounding": "rtz"},
        {"rounding": "sr", "seed": 3},
        {"rounding": "sr", "random": np.arange(1000) % 8},
    ):
        options = settings | ({"random_bits": 3} if "random" in settings else {})
        y = x.copy()
        wanted, flags = fe.round_with_flags(x, "e4m3fn", **options)
        fe.round(y, "e4m3fn", out=y, **options)
        assert_bits(y, wanted, x)
        y = x.copy()
        _, raised = fe.round_with_flags(y, "e4m3fn", out=y, **options)
        assert_bits(y, wanted, x)
        assert np.array_equal(raised, flags)


@pytest.mark.parametrize("shift", [1, -1, 3, 100, -100])
def test_overlapping_out(shift: int) -> None:
    """As numpy's ufuncs promise: as if the input had been copied first."""
    memory = RNG.normal(size=4000)
    source = slice(max(0, -shift), 4000 - max(0, shift))
    target = slice(max(0, shift), 4000 - max(0, -shift))
    wanted = right(memory[source])
    fe.round(memory[source], "e4m3fn", out=memory[target])
    assert_bits(memory[target], wanted)
    memory = RNG.normal(size=4000)
    wanted = right(memory[::-1])
    fe.round(memory[::-1], "e4m3fn", out=memory)
    assert_bits(memory, wanted)


def test_overlap_across_dtypes() -> None:
    memory = RNG.normal(size=512).astype(np.float32)
    wanted = right(memory[:256]).astype(np.float64)
    out = memory.view(np.float64)
    fe.round(memory[:256], "e4m3fn", out=out)
    assert_bits(out, wanted)


def test_out_of_any_layout_and_wider_dtype() -> None:
    x = X.astype(np.float32)
    for out in (
        np.empty(x.shape, np.float64),
        np.empty(x.shape, np.float16),
        np.empty(x.shape, ">f4"),
        np.empty(x.shape, ml_dtypes.bfloat16),
        np.empty(x.shape[::-1], np.float32).T,
        np.empty((10, 16, 12), np.float32)[::2, ::2, ::2],
    ):
        assert fe.round(x, "e4m3fn", out=out) is out
        assert_bits(np.ascontiguousarray(out).astype(np.float64), right(x), x)
    codes = np.empty((10, 8, 6), np.uint16)[::2]
    assert fe.encode(x, "e4m3fn", out=codes) is codes
    assert_bits(fe.decode(codes, "e4m3fn"), right(x), x)


@pytest.mark.parametrize(
    ("dtype", "fmt", "wanted"),
    [
        (np.float16, "e4m3fn", np.float16),
        (np.float16, "e5m2", np.float16),
        (np.float16, "binary16", np.float16),
        (np.float16, "bfloat16", np.float32),
        (np.float16, "e8m0fnu", np.float32),
        (np.float16, "binary64", np.float64),
        (ml_dtypes.bfloat16, "e4m3fn", ml_dtypes.bfloat16),
        (ml_dtypes.bfloat16, "bfloat16", ml_dtypes.bfloat16),
        (ml_dtypes.bfloat16, "e8m0fnu", ml_dtypes.bfloat16),
        (ml_dtypes.bfloat16, "binary16", np.float32),
        (ml_dtypes.bfloat16, "binary64", np.float64),
        (np.float32, "bfloat16", np.float32),
        (np.float32, "tf32", np.float32),
        (np.float32, "binary32", np.float32),
        (np.float32, "binary64", np.float64),
        (np.float32, "binary12p3se", np.float64),
        (np.float64, "e2m1fn", np.float64),
        (np.int8, "e2m1fn", np.float64),
        (np.uint64, "e4m3fn", np.float64),
        (ml_dtypes.float8_e4m3fn, "e2m1fn", ml_dtypes.float8_e4m3fn),
        (ml_dtypes.float8_e4m3fn, "bfloat16", np.float32),
        (ml_dtypes.float8_e5m2, "e4m3fn", np.float32),
    ],
)
def test_dtype_of_the_result(dtype: type, fmt: str, wanted: type) -> None:
    """x's own if it holds every finite value of the format, else the smaller of float32 and float64 that does."""
    x = np.ones(3, dtype)
    assert fe.round(x, fmt).dtype == np.dtype(wanted)
    assert fe.round_with_flags(x, fmt)[0].dtype == np.dtype(wanted)
    assert fe.rounder(fmt)(x).dtype == np.dtype(wanted)
    assert np.asarray(fe.round(x[0], fmt)).dtype == np.dtype(wanted)


@pytest.mark.parametrize("x", [3, 1.5, Fraction(1, 3), [1, 2.5], [[1], [2]], (1.0,)], ids=repr)
def test_python_numbers_and_lists_give_float64(x: Any) -> None:
    assert np.asarray(fe.round(x, "e4m3fn")).dtype == np.float64
    assert np.shape(fe.round(x, "e4m3fn")) == np.shape(x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, "float32", ml_dtypes.bfloat16])
def test_dtype_may_be_chosen(dtype: Any) -> None:
    got = fe.round(X, "e4m3fn", dtype=dtype)
    assert_bits(got, right(X).astype(dtype), X)


def test_scalars_stay_scalars() -> None:
    for x in (1.03, 3, Fraction(1, 3), np.float32(1.03), np.float64(2), np.array(1.03)):
        assert np.shape(fe.round(x, "e4m3fn")) == ()
        assert np.shape(fe.encode(x, "e4m3fn")) == ()
        assert float(fe.round(x, "e4m3fn")) == right(np.float64(float(x)))


def test_scalars_beyond_binary64_are_fractions() -> None:
    wide = fe.Format("wide", k=20, p=5, bias=2**14)
    assert fe.round(Fraction(1, 2**16000), wide) == Fraction(1, 2**16000)
    assert isinstance(fe.round(1.3, wide), Fraction)
    assert fe.round(1.3, wide) == Fraction(21, 16)
    with pytest.raises(fe.UnsupportedError, match="wide"):
        fe.round(np.ones(3), wide)
    codes = fe.encode(np.array([1.3, -1.3]), wide)
    assert codes.tolist() == [fe.encode(Fraction(21, 16), wide), fe.encode(Fraction(-21, 16), wide)]


REFUSED: list[tuple[Any, str]] = [
    (np.ones(3, complex), "complex"),
    (1j, "complex"),
    (np.array([True, False]), "bool"),
    (True, "bool"),
    (np.array(["1.0"], object), "'1.0'"),
    (np.array(["1.0"]), "U3"),
    (["a", "b"], "a"),
    ("1.0", "U3"),
    (None, "None"),
    ([1.0, None], "None"),
    ([[1.0], [1.0, 2.0]], "ragged"),
    (np.array(["2020-01-01"], "M8[D]"), "datetime64"),
    ({"a": 1}, "dict"),
    (np.zeros(2, [("a", "f4")]), "'a'"),
    (b"1", "S1"),
]


@pytest.mark.parametrize(("x", "word"), REFUSED, ids=[repr(x) for x, _ in REFUSED])
@pytest.mark.parametrize("face", [fe.round, fe.encode, fe.round_with_flags], ids=lambda face: face.__name__)
def test_refused_inputs_are_named(face: Callable[..., Any], x: Any, word: str) -> None:
    with pytest.raises(fe.UnsupportedError) as caught:
        face(x, "e4m3fn")
    message = str(caught.value)
    assert word in message
    assert "accepted" in message or word == "ragged"
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dtype": np.float16}, ["bfloat16", "float16"]),
        ({"dtype": np.int32}, ["int32"]),
        ({"dtype": complex}, ["complex"]),
        ({"out": np.zeros(3, np.float16)}, ["bfloat16", "float16"]),
        ({"out": np.zeros(4, np.float32)}, ["(4,)", "(3,)"]),
        ({"out": np.zeros((3, 1), np.float32)}, ["(3, 1)", "(3,)"]),
        ({"out": np.zeros(3, np.int64)}, ["int64"]),
        ({"out": [0.0] * 3}, ["list"]),
        ({"out": np.broadcast_to(np.float32(0), (3,))}, ["out"]),
    ],
    ids=str,
)
def test_refused_outputs_say_why(arguments: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(fe.FloatEmuError) as caught:
        fe.round(np.ones(3, np.float32), "bfloat16", **arguments)
    for word in words:
        assert word in str(caught.value)


def test_encode_refuses_a_narrow_out() -> None:
    with pytest.raises(fe.FloatEmuError, match="uint8"):
        fe.encode(np.ones(3), "bfloat16", out=np.empty(3, np.uint8))
    with pytest.raises(fe.FloatEmuError, match="float32"):
        fe.encode(np.ones(3), "e4m3fn", out=np.empty(3, np.float32))


def test_unknown_modes_are_refused_with_the_names() -> None:
    with pytest.raises(fe.ProjectionError, match=r"rounding='up_a_bit'.*TOWARD_POSITIVE"):
        fe.round(1.0, "e4m3fn", "up_a_bit")
    with pytest.raises(fe.ProjectionError, match=r"saturation='wrap'.*SAT_FINITE"):
        fe.round(1.0, "e4m3fn", saturation="wrap")


def test_nothing_is_written_when_an_array_is_refused() -> None:
    x = np.array([1.0, np.nan, 3.0])
    out = np.full(3, 0.625)
    with pytest.raises(fe.ProjectionError, match=r"\(1,\)|index 1"):
        fe.round(x, "e2m1fn", out=out)
    y = x.copy()
    with pytest.raises(fe.ProjectionError):
        fe.round(y, "e2m1fn", out=y)
    assert_bits(y, x)


def test_the_first_nan_is_named_in_any_layout_and_size() -> None:
    x = np.zeros((300, 1000), np.float32)
    x[217, 3] = x[217, 900] = x[250, 0] = np.nan
    for given in (x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
        with pytest.raises(fe.ProjectionError, match=r"\(217, 3\)"):
            fe.round(given, "e2m1fn")
        with pytest.raises(fe.ProjectionError, match=r"\(217, 3\)"):
            fe.encode(given, "e2m1fn")


@pytest.mark.parametrize("mode", ["NEAREST_TIES_TO_EVEN", "TOWARD_ZERO", "STOCHASTIC_A"])
@pytest.mark.parametrize("name", ["binary64", "binary16", "e4m3fn", "e8m0fnu", "e2m1fn", "binary8p3ue"])
def test_rounder_gives_the_flags_too(name: str, mode: str) -> None:
    options = {"rounding": mode, "saturation": "SAT_FINITE", "nan": "max", "stream": 3}
    options |= {"seed": 5} if mode == "STOCHASTIC_A" else {}
    to, x = fe.rounder(name, **options), np.array([[0.1, -3.0, 1e-300, np.nan], [np.inf, 500.0, 2.0**-10, -0.0]])
    for given in (x, x.T, x[:, ::-2], x[:0], x[0, 0], np.asarray(x[0, 1]), x.astype(np.float32), x.astype(">f8"), 0.3):
        values, flags = to.with_flags(given)
        right, raised = fe.round_with_flags(given, name, **options)
        assert_bits(values, right, given)
        assert_bits(flags, raised, given)
        assert type(values) is type(right)
    with pytest.raises(fe.ProjectionError) if name == "e2m1fn" else nullcontext():
        fe.rounder(name).with_flags(x)


@pytest.mark.parametrize("mode", DETERMINISTIC)
def test_rounder_inside_the_users_own_njit(mode: Rounding) -> None:
    half = fe.rounder("e4m3fn", mode, saturation=SATURATIONS[1])

    @njit
    def each(x: np.ndarray) -> np.ndarray:
        out = np.empty_like(x)
        for position in range(x.size):
            out[position] = half(x[position])
        return out

    from oracles import Draw, probes

    draw = Draw(mode)
    x = probes(fe.FORMATS["e4m3fn"], draw)
    assert_bits(each(x), expected(x, fe.FORMATS["e4m3fn"], draw, SATURATIONS[1]).values, x)


@pytest.mark.parametrize("name", ["binary16", "e8m0fnu", "e2m1fn", "binary8p3ue"])
def test_rounder_of_other_formats_inside_njit(name: str) -> None:
    fmt = fe.get_format(name)
    call = fe.rounder(name, nan="max")

    @njit
    def each(x: np.ndarray) -> np.ndarray:
        out = np.empty_like(x)
        for position in range(x.size):
            out[position] = call(x[position])
        return out

    from oracles import Draw, probes

    draw = Draw(Rounding.NEAREST_TIES_TO_EVEN)
    x = np.concatenate([probes(fmt, draw), [np.nan]])
    assert_bits(each(x), expected(x, fmt, draw, nan="max").values, x)
