"""round, encode, decode, matmul, mma and gemm on tensors have the bits and dtypes of the faces on arrays."""

import sys

import numpy as np
import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
import ml_dtypes
import torch

import floatemu as fe
import floatemu.interop.torch as ft
from floatemu.interop.torch import faces, tensors

SAME = {torch.float16: np.float16, torch.float32: np.float32, torch.float64: np.float64, torch.int16: np.int16}
SAME |= {torch.uint8: np.uint8, torch.int64: np.int64, torch.bfloat16: ml_dtypes.bfloat16}
SAME |= {torch.float8_e4m3fn: ml_dtypes.float8_e4m3fn, torch.float8_e5m2: ml_dtypes.float8_e5m2}
SAME |= {torch.float8_e4m3fnuz: ml_dtypes.float8_e4m3fnuz, torch.float8_e5m2fnuz: ml_dtypes.float8_e5m2fnuz}
SAME |= {torch.float8_e8m0fnu: ml_dtypes.float8_e8m0fnu}
FORMATS = ("e4m3fn", "e5m2", "bfloat16", "binary16", "e4m3fnuz", "e2m3fn", "e8m0fnu", "tf32", "binary32")
WORDS = {1: torch.uint8, 2: torch.uint16, 4: torch.uint32, 8: torch.uint64}


def twins(dtype, count=2000):
    """The same random bits as a tensor and as an array of numpy's or ml_dtypes'."""
    kind = np.dtype(SAME[dtype])
    words = np.random.default_rng(3).integers(0, 2 ** (8 * kind.itemsize) - 1, count, np.uint64, endpoint=True)
    words = words.astype(f"u{kind.itemsize}")
    return torch.from_numpy(words.copy()).view(dtype), words.view(kind)


def bits(x):
    if isinstance(x, torch.Tensor):
        return x.contiguous().view(WORDS[x.dtype.itemsize]).numpy()
    return np.array(x, order="C").view(f"u{x.dtype.itemsize}")


def name(dtype):
    return str(dtype).removeprefix("torch.")


@pytest.fixture(params=["kernels", "torch operations"])
def route(request, monkeypatch):
    """The kernels, and what other devices use, here on the CPU."""
    if request.param == "torch operations":
        usable = faces.elementwise.carrier
        monkeypatch.setattr(faces, "_elsewhere", lambda x, fmt: usable(x.dtype, fmt) is not None)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("dtype", SAME, ids=name)
def test_round_and_encode_equal_the_numpy_face(dtype, fmt, route):
    x, array = twins(dtype)
    for mode in ("NEAREST_TIES_TO_EVEN", "TOWARD_NEGATIVE"):
        for saturation in ("SAT_NONE", "SAT_FINITE"):
            want = fe.round(array, fmt, mode, saturation=saturation, nan="zero")
            got = ft.round(x, fmt, mode, saturation=saturation, nan="zero")
            assert np.dtype(SAME[got.dtype]) == want.dtype
            assert np.array_equal(bits(got), bits(want))
            codes = ft.encode(x, fmt, mode, saturation=saturation, nan="zero")
            assert np.array_equal(codes.numpy(), fe.encode(array, fmt, mode, saturation=saturation, nan="zero"))


def test_random_bits_equal_the_numpy_face(route):
    x, array = twins(torch.float32)
    given = np.arange(x.numel()) % 8
    for settings in ({"seed": 5, "stream": 7}, {"random": given, "random_bits": 3}):
        want = fe.round(array, "e5m2", "stochastic_b", **settings)
        assert np.array_equal(bits(ft.round(x, "e5m2", "stochastic_b", **settings)), bits(want))
    got = ft.round(x, "e5m2", "stochastic_b", random=torch.from_numpy(given), random_bits=3)
    assert np.array_equal(bits(got), bits(want))


def test_double_rounding_of_binary64_is_not_done():
    """Trap 1: through float32 this would be 1.0."""
    x = torch.tensor([1 + 2**-4 + 2**-40], dtype=torch.float64)
    assert ft.round(x, "e4m3fn").item() == 1.125
    assert ft.encode(x, "e4m3fn").view(torch.float8_e4m3fn).float().item() == 1.125


def test_strides_and_shapes(route):
    x, array = twins(torch.float32, 24)
    for view in (
        lambda a: a.reshape(4, 6).T,
        lambda a: a.reshape(2, 3, 4)[:, 1:, ::2],
        lambda a: a[5],
        lambda a: a[:0],
    ):
        got, want = ft.round(view(x), "bfloat16"), np.asarray(fe.round(view(array), "bfloat16"))
        assert got.shape == want.shape
        assert np.array_equal(bits(got), bits(want))
    column = x[:1].expand(3)
    assert ft.round(column, "e5m2").shape == (3,)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e5m2], ids=name)
def test_long_narrow_tensors_are_rounded_piece_by_piece(dtype, monkeypatch):
    x, array = twins(dtype, 1000)
    monkeypatch.setattr(faces, "PIECE", 96)
    for fmt, settings in (("e4m3fn", {}), ("e2m1fn", {"nan": "max"}), ("e5m2", {"rounding": "sr", "seed": 1})):
        want = fe.round(array.reshape(25, 40), fmt, **settings)
        got = ft.round(x.reshape(25, 40), fmt, **settings)
        assert np.dtype(SAME[got.dtype]) == want.dtype
        assert np.array_equal(bits(got), bits(want))
    first = int(np.argmax(np.isnan(fe.decode(bits(x), tensors.DTYPES[dtype]))))
    with pytest.raises(fe.ProjectionError, match=rf"index {first},"):
        ft.round(x, "e2m1fn")


def test_empty_narrow_tensors_keep_their_dtype(route):
    for dtype in tensors.DTYPES:
        assert ft.round(torch.empty(0, 3).to(dtype), DTYPE_FORMAT[dtype]).dtype == dtype


DTYPE_FORMAT = {dtype: fmt.name for dtype, fmt in tensors.DTYPES.items()}


def test_memory_is_shared_not_copied():
    x = torch.randn(10)
    assert tensors.array(x).__array_interface__["data"][0] == x.data_ptr()
    pointer, version = x.data_ptr(), x._version
    want = fe.round(x.numpy(), "e4m3fn")
    assert ft.round(x, "e4m3fn", out=x) is x
    assert (x.data_ptr(), x._version) == (pointer, version + 1)
    assert np.array_equal(x.numpy(), want)


def test_out_of_every_kind(route):
    x, array = twins(torch.float32, 12)
    want = fe.round(array, "e4m3fn")
    for out in (torch.zeros(24)[::2], torch.zeros(12, dtype=torch.float64), torch.zeros(12, dtype=torch.bfloat16)):
        assert ft.round(x, "e4m3fn", out=out) is out
        assert np.array_equal(out.double().numpy(), want.astype(float), equal_nan=True)


def test_autograd_notices_what_out_has_overwritten():
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    ft.round(torch.zeros(3), "e4m3fn", out=y.detach())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_narrow_results_have_the_formats_nan():
    x = torch.tensor([float("nan"), 1.0])
    for dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
        fmt = tensors.DTYPES[dtype]
        assert bits(ft.round(x, fmt, dtype=dtype))[0] == fmt.nan_code


BAD = {
    "list": (lambda: [1.0], "not a tensor"),
    "bool": (lambda: torch.tensor([True]), "torch.uint8"),
    "complex": (lambda: torch.tensor([1j]), ".real"),
    "sparse": (lambda: torch.eye(2).to_sparse(), "to_dense"),
    "meta": (lambda: torch.empty(2, device="meta"), "meta"),
    "packed": (lambda: torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "unpack"),
    "differentiable": (lambda: torch.ones(2, requires_grad=True), "ste_round"),
}


@pytest.mark.parametrize("make", [case[0] for case in BAD.values()], ids=BAD)
def test_what_is_refused(make, request):
    word = BAD[request.node.callspec.id][1]
    for call in (ft.round, ft.encode, ft.ste_round):
        if call is ft.ste_round and word == "ste_round":
            continue
        with pytest.raises(fe.UnsupportedError, match=word):
            call(make(), "e4m3fn")


def test_without_grad_mode_a_parameter_is_rounded():
    parameter = torch.nn.Parameter(torch.tensor([1.1]))
    with torch.no_grad():
        assert ft.round(parameter, "e4m3fn").tolist() == [1.125]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dtype": torch.float8_e5m2}, "cannot hold"),
        ({"dtype": np.float32}, "torch dtype"),
        ({"out": torch.zeros(3)}, "shape"),
        ({"out": np.zeros(2)}, "ndarray"),
        ({"out": torch.zeros(2, dtype=torch.float8_e5m2)}, "cannot hold"),
        ({"out": torch.zeros(2, requires_grad=True)}, "gradient"),
    ],
    ids=["narrow dtype", "numpy dtype", "shape", "array", "narrow out", "leaf"],
)
def test_results_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(fe.UnsupportedError, match=words):
        ft.round(torch.ones(2), "e4m3fn", **settings)


def test_nan_into_a_format_without_is_refused_with_its_place(route):
    with pytest.raises(fe.ProjectionError, match=r"index \(1, 0\)"):
        ft.round(torch.tensor([[1.0], [float("nan")]]), "e2m1fn")


def test_random_integers_out_of_range_are_refused(route):
    for random in (torch.tensor([4, 0]), torch.tensor([0, 0, 0])):
        with pytest.raises(fe.ProjectionError, match="random"):
            ft.round(torch.ones(2), "e5m2", "stochastic_a", random=random, random_bits=2)


@pytest.mark.parametrize("dtype", [d for d, fmt in tensors.DTYPES.items() if fmt.k <= 16], ids=name)
def test_decode_gives_every_value(dtype):
    fmt = tensors.DTYPES[dtype]
    codes = np.arange(2**fmt.k).astype(f"u{fmt.k // 8}")
    want = fe.decode(codes, fmt)
    for given in (torch.from_numpy(codes), torch.from_numpy(codes).view(dtype)):
        assert np.array_equal(bits(ft.decode(given, fmt)), bits(want))
    assert np.array_equal(bits(ft.decode(torch.from_numpy(codes), fmt, dtype)), bits(fe.encode(want, fmt)))


def test_decode_refuses_another_formats_tensor():
    with pytest.raises(fe.FormatError, match="not e5m2"):
        ft.decode(torch.ones(2).to(torch.float8_e4m3fn), "e5m2")
    with pytest.raises(fe.FormatError, match="codes hold"):
        ft.decode(torch.tensor([256]), "e5m2")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn], ids=name)
def test_matmul_equals_the_numpy_face(dtype):
    torch.manual_seed(0)
    a, b = torch.randn(2, 5, 7).to(dtype), torch.randn(9, 7).to(dtype)
    arrays = [bits(x).view(SAME[dtype]).reshape(x.shape).astype(np.float32) for x in (a, b)]
    want = fe.matmul(arrays[0], arrays[1].T, "e4m3fn", accumulate="binary16", dtype=np.float32)
    got = ft.matmul(a, b.T, "e4m3fn", accumulate="binary16")
    assert got.dtype == dtype
    assert np.array_equal(got.float().numpy(), want)


def test_matrix_units_equal_the_numpy_face():
    unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    torch.manual_seed(1)
    a, b, c = torch.randn(6, 64).to(torch.float8_e4m3fn), torch.randn(64, 5).to(torch.float8_e4m3fn), torch.randn(6, 5)
    left, right = (x.float().numpy() for x in (a, b))
    want = fe.matrix.mma(unit, left, right, c.numpy())
    assert np.array_equal(bits(ft.mma(unit, a, b, c)), bits(want))
    codes = ft.mma(unit, a, b, c, codes=True)
    assert np.array_equal(codes.numpy(), want.view(np.uint32))
    chained = fe.matrix.gemm(unit, left, right, promote_every=32)
    assert np.array_equal(bits(ft.gemm(unit, a, b, promote_every=32)), bits(chained))


def test_products_say_what_they_do_not_take():
    unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    leaf, meta = torch.ones(2, 2, requires_grad=True), torch.ones(2, 2, device="meta")
    for call in (lambda x: ft.matmul(x, x, "e5m2"), lambda x: ft.mma(unit, x, x), lambda x: ft.gemm(unit, x, x)):
        with pytest.raises(fe.UnsupportedError, match="emulate"):
            call(leaf)
        with pytest.raises(fe.UnsupportedError, match="meta"):
            call(meta)
    with pytest.raises(fe.UnsupportedError, match="neither flags nor out"):
        ft.matmul(torch.ones(2, 2), torch.ones(2, 2), "e5m2", flags=True)


def test_without_torch_the_import_names_the_extra(monkeypatch):
    for loaded in [key for key in sys.modules if key.startswith("floatemu.interop.torch")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(fe.UnsupportedError, match=r"floatemu\[torch\]"):
        __import__("floatemu.interop.torch")


def test_star_import_hides_no_builtin():
    assert not set(ft.__all__) & {"round", "sum", "pow"}
    assert all(callable(getattr(ft, item)) or item == "RECIPES" for item in ft.__all__)
