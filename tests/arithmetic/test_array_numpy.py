"""EmulatedArray in numpy's programs: every function it answers to, what it refuses, and the ways in and out."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from oracles import assert_bits

import floatemu as fe
from floatemu import array_functions, dlpack, reference


def matrix(name: str = "bfloat16", **options: Any) -> fe.EmulatedArray:
    generator = np.random.Generator(np.random.PCG64(7))
    return fe.asarray(generator.standard_normal((3, 4)) * 3, name, **options)


def step(name: str, x: Any, y: Any, fmt: str = "bfloat16") -> float:
    """One operation on single numbers, exact and then rounded by the literal definition."""
    a, b = Fraction(float(x)), Fraction(float(y))
    exact = {"add": lambda: a + b, "sub": lambda: a - b, "mul": lambda: a * b, "div": lambda: a / b}[name]()
    return float(reference.round(exact, fe.get_format(fmt)))


def test_sequences_of_operations_run_from_first_to_last() -> None:
    x = matrix()
    flat = x.values.ravel().tolist()
    running, product = [flat[0]], [flat[0]]
    for v in flat[1:]:
        running.append(step("add", running[-1], v))
        product.append(step("mul", product[-1], v))
    assert_bits(np.cumsum(x).values, np.array(running, np.float32))
    assert_bits(np.cumprod(x).values, np.array(product, np.float32))
    assert_bits(np.prod(x).values, np.array(product[-1], np.float32))
    assert_bits(np.cumsum(x, axis=1)[1].values, np.cumsum(x[1]).values)
    assert_bits(np.prod(x, axis=0).values, np.stack([np.prod(x[:, j]).values for j in range(4)]))
    by_hand = [[step("sub", row[j + 1], row[j]) for j in range(3)] for row in x.tolist()]
    assert_bits(np.diff(x).values, np.array(by_hand, np.float32))
    assert_bits(np.diff(x, axis=0).values, (x[1:] - x[:-1]).values)


def test_reductions_name_order_and_accumulator() -> None:
    x, ones = matrix(), fe.asarray(np.ones(4096), "e5m2")
    assert ones.sum().item() == 8
    assert (ones.sum(order="pairwise").item(), ones.sum(accumulate="binary32").item()) == (4096, 4096)
    assert_bits(x.mean(1, order="kahan").values, fe.mean(x.values, "bfloat16", axis=1, order="kahan"))
    with pytest.raises(fe.UnsupportedError, match="order='backwards' is not an order"):
        x.sum(order="backwards")
    with pytest.raises(fe.UnsupportedError, match=r"takes axis and keepdims; given \['precision'\]"):
        x.sum(precision=3)


def test_norms_are_roots_of_sums_of_squares() -> None:
    x = matrix()
    assert_bits(np.linalg.norm(x).values, np.asarray(fe.norm(x.values, "bfloat16")))
    assert_bits(np.linalg.norm(x, axis=1).values, fe.norm(x.values, "bfloat16", axis=1))
    assert_bits(np.linalg.norm(x, None, 1, True).values, fe.norm(x.values, "bfloat16", axis=1, keepdims=True))
    assert_bits(np.linalg.norm(x[0], 2).values, np.asarray(fe.norm(x.values[0], "bfloat16")))
    for other in (1, 2, np.inf, "fro"):
        with pytest.raises(fe.UnsupportedError, match="leave out ord"):
            np.linalg.norm(x, other)


def test_products_of_vectors() -> None:
    x, y = matrix()[0], matrix()[1]
    outer = [[step("mul", a, b) for b in y.tolist()] for a in x.tolist()]
    assert_bits(np.outer(x, y).values, np.array(outer, np.float32))
    total = step("mul", x[0], y[0])
    for a, b in zip(x.tolist()[1:], y.tolist()[1:], strict=True):
        total = step("add", total, step("mul", a, b))
    for found in (x @ y, np.dot(x, y), x.dot(y), np.vdot(x, y), np.inner(x, y)):
        assert found.item() == total
    assert_bits(np.inner(matrix(), matrix()).values, (matrix() @ matrix().T).values)
    assert_bits(np.dot(2, x).values, (2 * x).values)
    diagonal = matrix().tolist()
    assert np.trace(matrix()).item() == step("add", step("add", diagonal[0][0], diagonal[1][1]), diagonal[2][2])
    with pytest.raises(fe.UnsupportedError, match="3 axes is not defined"):
        np.dot(x, fe.asarray(np.ones((2, 4, 2)), "bfloat16"))


def test_clip_rounds_its_bounds() -> None:
    x = fe.asarray([-5.0, 0.05, 9.0], "e4m3fn")
    assert np.clip(x, 0.1, 3.3).tolist() == [0.1015625, 0.1015625, 3.25]
    assert np.clip(x, None, 3.3).tolist() == [-5.0, 0.05078125, 3.25]


MOVING = {
    "transpose": lambda x: np.transpose(x), "flip": lambda x: np.flip(x, 1), "rot90": lambda x: np.rot90(x),
    "split": lambda x: np.split(x, 2, axis=1)[1], "column_stack": lambda x: np.column_stack([x, x]),
    "dstack": lambda x: np.dstack([x, x]), "tile": lambda x: np.tile(x, 2), "take": lambda x: np.take(x, [0, 2], 1),
    "diagonal": lambda x: np.diagonal(x), "sort": lambda x: np.sort(x, axis=0), "unique": lambda x: np.unique(x),
    "delete": lambda x: np.delete(x, 1, axis=0), "atleast_3d": lambda x: np.atleast_3d(x),
    "meshgrid": lambda x: np.meshgrid(x[0], x[1])[0], "max": lambda x: x.max(axis=1), "min": lambda x: x.min(),
    "nanmax": lambda x: np.nanmax(x), "ravel": lambda x: x.ravel(), "flatten": lambda x: x.flatten(),
    "squeeze": lambda x: x[None].squeeze(0), "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "compress": lambda x: np.compress([True, False, True], x, axis=0), "mask": lambda x: x[x > 0],
    "fancy": lambda x: x[[0, 2], [1, 3]], "ellipsis": lambda x: x[..., None, 0], "roll": lambda x: np.roll(x, 1),
    "floor": lambda x: np.floor(x), "ceil": lambda x: np.ceil(x), "trunc": lambda x: np.trunc(x),
    "rint": lambda x: np.rint(x), "sign": lambda x: np.sign(x), "negative": lambda x: -x,
}  # fmt: skip


@pytest.mark.parametrize("move", MOVING.values(), ids=MOVING)
def test_what_makes_no_new_numbers_is_numpy(move: Any) -> None:
    x = matrix()
    found = move(x)
    assert isinstance(found, fe.EmulatedArray)
    assert found.fmt.name == "bfloat16"
    assert_bits(found.values, np.asarray(move(x.values)))


@pytest.mark.parametrize("function", [np.argmax, np.argmin, np.argsort, np.nonzero, np.count_nonzero, np.argwhere])
def test_places_and_counts_are_plain(function: Any) -> None:
    x = matrix()
    np.testing.assert_equal(function(x), function(x.values))
    assert (x.argmax(), x.argmin()) == (np.argmax(x.values), np.argmin(x.values))
    assert np.searchsorted(np.sort(x[0]), 0.0) == np.searchsorted(np.sort(x.values[0]), 0.0)


@pytest.mark.parametrize("fmt", ["e4m3fnuz", "e5m2fnuz", "e4m3b11fnuz"])
def test_trap_14_no_sign_comes_to_a_zero_that_has_none(fmt: str) -> None:
    zero = fe.asarray([0.0], fmt)
    for found in (np.copysign(zero, -1), -zero, np.negative(zero), zero * -1, fe.asarray([-0.0], fmt)):
        assert found.codes.tolist() == [0]


def test_filled_arrays_hold_values_of_the_format() -> None:
    x = matrix("e4m3fn")
    assert np.full_like(x, 0.1).tolist() == [[0.1015625] * 4] * 3
    assert np.zeros_like(x).tolist() == np.empty_like(x).tolist() == [[0.0] * 4] * 3
    assert np.ones_like(x[0], shape=(2,)).tolist() == [1.0, 1.0]
    assert np.isnan(np.zeros_like(fe.asarray([1.0], "e8m0fnu")).values).all()  # it has no zero


REFUSED = {
    "concatenate": lambda x: np.concatenate([x, np.array([[0.1] * 4])]),
    "stack": lambda x: np.stack([x, np.ones((3, 4))]),
    "where": lambda x: np.where(x > 0, x, np.full((3, 4), 0.1)),
    "array": lambda x: x + np.ones(4),
    "integers": lambda x: x * np.arange(4),
    "scalar of numpy": lambda x: x + np.float64(0.1),
    "list": lambda x: x * [1, 2, 3, 4],
    "product": lambda x: np.ones((2, 3)) @ x,
    "outer": lambda x: np.outer(x, np.ones(2)),
    "reflected": lambda x: np.float32(1) - x,
    "boolean": lambda x: x * True,
    "comparison": lambda x: x > np.zeros(4),
    "full_like": lambda x: np.full_like(x, np.float64(0.1)),
}


@pytest.mark.parametrize("use", REFUSED.values(), ids=REFUSED)
def test_numbers_without_a_format_are_refused_everywhere(use: Any) -> None:
    with pytest.raises(fe.UnsupportedError, match=r"has no format; wrap it with fe\.asarray\(x, 'bfloat16'\)"):
        use(matrix())


def test_unknown_functions_name_the_known_ones() -> None:
    for call in (lambda x: np.median(x), lambda x: np.linalg.inv(x), lambda x: np.convolve(x[0], x[0])):
        with pytest.raises(fe.UnsupportedError, match=r"is not defined for EmulatedArray; defined: all, amax"):
            call(matrix())
    with pytest.raises(fe.UnsupportedError, match=r"np\.cumsum of an EmulatedArray: .*dtype"):
        np.cumsum(matrix(), dtype=np.float64)
    with pytest.raises(fe.UnsupportedError, match="no numbers along axis 0"):
        np.prod(matrix()[:0], axis=0)


def test_every_name_in_the_tables_is_numpys() -> None:
    groups = [array_functions.ROUNDED, array_functions.MOVES, array_functions.EXACT]
    assert [name for group in groups for name in group if not isinstance(getattr(np, name), np.ufunc)] == []
    groups = [array_functions.SHAPES, array_functions.JOINS, array_functions.FILLED, array_functions.COMPOSED]
    assert [name for group in groups for name in group if not callable(getattr(np, name, None))] == []


def test_assignments_have_random_bits_of_their_own() -> None:
    x = fe.asarray(np.zeros(64), "e4m3fn", "stochastic_a", seed=1)
    for i in range(64):
        x[i] = 1.05
    assert set(x.tolist()) == {1.0, 1.125}
    again = fe.asarray(np.zeros(64), "e4m3fn", "stochastic_a", seed=1)
    for i in range(64):
        again[i] = 1.05
    assert again.tolist() == x.tolist()


def test_parts_of_an_array_have_random_bits_of_their_own() -> None:
    x = fe.asarray(np.full((64, 1), 1.25), "e4m3fn", "stochastic_a", seed=1)
    products = [(x[i] * 1.1).item() for i in range(64)]
    assert len(set(products)) == 2
    assert [(row * 1.1).item() for row in x] == products
    parts = np.split(x, 64)
    assert len({(part * 1.1).item() for part in parts}) == 2
    assert len({(x[np.array([i])] * 1.1).item() for i in range(64)}) == 2
    assert x[3].stream == x[np.int64(3)].stream == x[np.uint8(3)].stream
    assert x[3:5].stream == x[np.int64(3) : np.int64(5)].stream
    assert x[3:5].stream != x[3:6].stream != x[..., 0].stream


def test_comparisons_take_python_numbers_as_they_are() -> None:
    third = fe.asarray([1 / 3], "binary64")
    assert (third == 1 / 3).all()
    assert not (third == Fraction(1, 3)).any()
    assert (third < Fraction(1, 3)).all()
    assert (Fraction(1, 3) > third).all()
    large = fe.asarray([2.0**53], "binary64")
    assert (large < 2**53 + 1).all()
    assert (large < 10**400).all()
    assert (large != 2**53 + 1).all()
    assert (large[0] < 3) is np.False_
    found = np.empty(1, bool)
    assert np.less(large, 3, out=found) is found
    assert not found[0]
    assert (fe.asarray([float("nan")], "e4m3fn") != Fraction(1, 3)).all()


def test_results_go_where_they_are_wanted() -> None:
    x = matrix()
    target = np.zeros_like(x)
    assert np.add(x, 0.1, out=target) is target
    assert_bits(target.values, (x + 0.1).values)
    np.add(1, 0.1, out=target[0])
    assert target[0].tolist() == [1.1015625] * 4  # 0.1 is rounded first
    with pytest.raises(fe.UnsupportedError, match="out= must be an EmulatedArray of the same format"):
        np.add(x, x, out=np.zeros((3, 4)))


def test_numbers_of_python_in_and_out() -> None:
    x = fe.asarray([1.5, 2.0], "binary16")
    assert (x[0].item(), x.item(1), float(x[0]), int(x[1])) == (1.5, 2.0, 1.5, 2)
    assert (f"{x[0]:.3f}", f"{x}") == ("1.500", "EmulatedArray([1.5, 2. ], binary16)")
    with pytest.raises(TypeError):
        hash(x)


def canonical(x: np.ndarray) -> np.ndarray:
    """As binary64, with one NaN: others keep signs and payloads."""
    wide = x.astype(np.float64)
    return np.where(np.isnan(wide), np.nan, wide)


@pytest.mark.parametrize("name", ["bfloat16", "e4m3fn", "e5m2", "e4m3fnuz", "e8m0fnu", "e2m1fn", "e3m2fn", "binary16"])
def test_arrays_of_ml_dtypes_in_and_out(name: str) -> None:
    fmt = fe.get_format(name)
    codes = np.arange(2**fmt.k).astype(np.uint16 if fmt.k > 8 else np.uint8)
    values = fe.decode(codes, fmt)
    x = fe.asarray(values, fmt)
    theirs = x.to_ml_dtypes()
    assert fe.get_format(theirs.dtype.name) == fmt
    assert_bits(canonical(theirs), values)
    assert_bits(fe.asarray(theirs).values, x.values)
    assert fe.asarray(theirs).fmt == fmt
    assert_bits(canonical(np.asarray(x, theirs.dtype)), values)
    assert fe.asarray([1.0, 2.0], theirs.dtype).fmt == fmt
    assert fe.asarray([1.0, 2.0], "binary32").astype(theirs.dtype.type).fmt == fmt


def test_ways_out_that_do_not_exist_say_so() -> None:
    with pytest.raises(fe.UnsupportedError, match=r"no dtype of numpy or ml_dtypes is binary8p3se; use \.values"):
        fe.asarray([1.0], "binary8p3se").to_ml_dtypes()
    with pytest.raises(fe.FormatError, match=r"list has no format of its own: name one, as in fe\.asarray"):
        fe.asarray([1.0, 2.0])
    with pytest.raises(fe.UnsupportedError, match=r"^x has dtype <U3"):
        fe.asarray("abc", "e4m3fn")
    with pytest.raises(fe.FormatError, match="int64"):
        fe.asarray([1.0], np.int64)


def test_copies_and_pickles_are_independent() -> None:
    x = matrix("e5m2", rounding="up", saturation="SatFinite")
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.copy()):  # noqa: S301  (our own bytes)
        assert (other.fmt, other.settings, other.stream) == (x.fmt, x.settings, x.stream)
        assert_bits(other.values, x.values)
        other[0] = 0
        assert x.values[0, 0] != 0


class Tensor:
    """What a library's tensor looks like to others: numpy's memory under the DLPack type code given."""

    def __init__(self, array: np.ndarray, code: int, device: int = 1) -> None:
        self.array, self.code, self.device = array, code, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self) -> Any:
        capsule = self.array.__dlpack__()
        pointer = dlpack.ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = dlpack.ctypes.c_void_p, (dlpack.ctypes.py_object, dlpack.ctypes.c_char_p)
        dlpack._Tensor.from_address(pointer(capsule, b"dltensor")).code = self.code
        return capsule


@pytest.mark.parametrize(("code", "name"), [(c, n) for (c, _), n in dlpack.FLOATS.items() if c != 2])
def test_dlpack_brings_in_what_numpy_does_not_know(code: int, name: str) -> None:
    fmt = fe.get_format(name)
    codes = np.arange(2**fmt.k - 2**fmt.k % 4, dtype=np.uint16 if fmt.k > 8 else np.uint8).reshape(4, -1)
    for part in (codes, codes[::2, 1::3], codes.T, codes[::-1], codes[:0], codes[1, 1]):
        x = fe.asarray(Tensor(np.asarray(part), code))
        assert (x.fmt, x.shape) == (fmt, part.shape)
        assert_bits(x.values.astype(np.float64), np.asarray(fe.decode(part, fmt)))
    rounded = fe.asarray(Tensor(codes, code), "e2m1fn", nan="zero")
    assert_bits(rounded.values, np.asarray(fe.round(fe.decode(codes, fmt), "e2m1fn", nan="zero"), np.float32))


def test_dlpack_refuses_other_devices_and_takes_plain_types() -> None:
    with pytest.raises(fe.UnsupportedError, match="lies on DLPack device 2; copy it to the CPU first"):
        fe.asarray(Tensor(np.ones(2, np.float32), 2, device=2))
    x = fe.asarray(Tensor(np.array([1.0, 0.1], np.float32), 2), "e4m3fn")
    assert x.tolist() == [1.0, 0.1015625]
    assert fe.asarray(Tensor(np.ones(2), 2)).fmt.name == "binary64"


def test_tensors_that_cannot_be_exported_are_refused_in_words():
    pytest.importorskip("torch.nn", reason="torch is not installed")
    import torch

    for tensor in (torch.ones(3, device="meta"), torch.ones(3).to_sparse(), torch.ones(3, requires_grad=True)):
        with pytest.raises(fe.UnsupportedError, match="Tensor cannot be exported"):
            fe.asarray(tensor, "bfloat16")


def test_views_for_numpy_are_read_only_and_no_copies() -> None:
    x = matrix()
    view = np.asarray(x, copy=False)
    assert np.shares_memory(view, x.values)
    assert not view.flags.writeable
    assert not np.shares_memory(np.array(x), x.values)
    with pytest.raises(fe.UnsupportedError, match="as float64 they need a copy"):
        np.asarray(x, np.float64, copy=False)


def test_dlpack_out_is_a_copy() -> None:
    x = matrix()
    shared = np.from_dlpack(x)
    assert_bits(shared, x.values)
    assert not np.shares_memory(shared, x.values)
    assert np.shares_memory(np.from_dlpack(x, copy=False), x.values)


def test_ml_dtypes_and_we_agree_on_a_cast() -> None:
    x = matrix("binary32")
    assert_bits(x.astype(ml_dtypes.bfloat16).values, np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float32))


@pytest.mark.parametrize("name", ["bfloat16", "e4m3fn", "e5m2"])
def test_ml_dtypes_and_we_agree_on_sums_from_first_to_last(name: str) -> None:
    x = fe.asarray(np.random.Generator(np.random.PCG64(1)).standard_normal(3000), name)
    assert x.sum().item() == float(np.sum(x.to_ml_dtypes()))
