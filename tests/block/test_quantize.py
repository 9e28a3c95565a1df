"""Quantization in blocks equals its definition over fractions, bit for bit."""

import os
import subprocess
import sys

import block_oracle as oracle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import floatemu as fe
from floatemu.block import quantization
from floatemu.projection import Projection

POWERS = ("FLOOR", "CEIL", "EVEN", "RCEIL", "RCEIL_DIVIDE", "RCEIL_MULTIPLY")
FLOATS = ("NEAREST", "UP", "NEAREST_DIVIDE", "NEAREST_MULTIPLY")
MX = ("mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4")


def normal(count, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(count).astype(dtype)


def bits(count, dtype=np.float32, seed=1):
    """Finite numbers of all magnitudes, subnormal ones too."""
    rng = np.random.default_rng(seed)
    word = np.dtype(f"u{np.dtype(dtype).itemsize}")
    drawn = rng.integers(0, 2 ** (8 * word.itemsize), 2 * count, dtype=word, endpoint=False)
    found = drawn.view(dtype)
    return found[np.isfinite(found)][:count].copy()


def edges(dtype=np.float32):
    """Blocks whose largest magnitudes are on either side of powers of two and of the formats' largest values."""
    tops = [t * 2.0**e for t in (1, 1.5, 1.75, 1.875, 1.984375) for e in (-140, -130, -126, -119, -20, 0, 7, 126)]
    near = [np.nextafter(np.array(t, dtype), np.array(to, dtype)) for t in tops for to in (0, np.inf)]
    tops = np.array([*tops, *near], dtype)
    rng = np.random.default_rng(2)
    found = (tops[:, None] * rng.uniform(-1, 1, (tops.size, 6))).astype(dtype)
    found[:, 0] = tops
    return found


def agree(got, want):
    elements, scales = want
    assert np.array_equal(got.scales, scales), np.flatnonzero(got.scales.ravel() != scales.ravel())[:5]
    assert np.array_equal(got.elements, elements), np.flatnonzero(got.elements.ravel() != elements.ravel())[:5]


def check(x, fmt, rule, **options):
    fmt = fe.block.get_block_format(fmt)
    outer = options.pop("outer", 1.0)
    got = fe.quantize(x, fmt, scale_rule=rule, **({"outer": outer} if fmt.outer else {}))
    along = {x.ndim - 1: fmt.block}
    agree(got, oracle.quantize(x, along, fmt.element, fmt.scale, rule, outer))


@pytest.mark.parametrize("rule", POWERS)
@pytest.mark.parametrize("name", MX)
def test_power_of_two_scales(name, rule):
    for x in (normal(70), bits(70)):
        check(x, name, rule)
    check(edges(), name, rule)


@pytest.mark.parametrize("rule", FLOATS)
@pytest.mark.parametrize("outer", [1.0, float(np.float32(0.0123)), 2.0**-30])
def test_nvfp4(rule, outer):
    for x in (normal(40), bits(40), normal(40) * np.float32(1e-3)):
        check(x, "nvfp4", rule, outer=outer)
    check(edges(), "nvfp4", rule, outer=outer)


@pytest.mark.parametrize("rule", [*FLOATS, "FLOOR", "RCEIL", "EVEN"])
def test_binary32_scales(rule):
    for x in (normal(150), bits(150)):
        check(x, "fp8_1x128", rule)
    check(edges(), "fp8_1x128", rule)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_sources(dtype):
    for name, rule in (("mxfp8_e4m3", "RCEIL"), ("nvfp4", "NEAREST"), ("mxfp8_e5m2", "RCEIL_DIVIDE")):
        check(normal(70, dtype), name, rule)
        check(bits(70, dtype), name, rule)
        if dtype is np.float64:
            check(edges(dtype), name, rule)


@pytest.mark.parametrize("name", MX)
def test_elements_are_the_casts_of_ml_dtypes(name):
    """Of quotients by powers of two, which binary32 holds."""
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    fmt = fe.block.FORMATS[name]
    kind = {8: "float8_", 6: "float6_", 4: "float4_"}[fmt.element.k] + fmt.element.name
    x = normal(32 * 2000) * np.float32(2.0) ** np.repeat(np.random.default_rng(3).integers(-20, 20, 2000), 32)
    got = fe.quantize(x.astype(np.float32), fmt, scale_rule="RCEIL")
    scales = got.scales.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
    assert np.array_equal(scales, got.scale_values)
    want = (x.astype(np.float32) / np.repeat(scales, 32)).astype(getattr(ml_dtypes, kind))
    assert np.array_equal(got.elements, want.view(np.uint8))


@pytest.mark.parametrize("scaling", ["divide", "multiply"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_hardwares_quotients(scaling, dtype):
    how = oracle.Elements(scaling=scaling)
    fmt = fe.block.FORMATS["nvfp4"]
    x = np.concatenate([normal(160, dtype), (edges(dtype)[::3, :4] * dtype(2**-3)).reshape(-1)])
    got = fe.quantize(x, fmt, scaling=scaling, outer=0.75)
    agree(got, oracle.quantize(x, {0: 16}, fmt.element, fmt.scale, "NEAREST", 0.75, how))
    exact = fe.quantize(x, fmt, outer=0.75)
    assert np.array_equal(got.scales, exact.scales)


def test_halfway_quotients_depend_on_how_they_are_formed():
    """Trap 25: x (1 / s) against x / s, on every tie of E2M1 under every positive scale of E4M3."""
    ties = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0])
    scales = fe.values("e4m3fn")[1:127]
    x = (ties[None] * scales[:, None]).astype(np.float32)  # exact
    one = fe.BlockFormat("one", "e2m1fn", 1, "binary32", "NEAREST")
    # A block of its own for each scale: the largest magnitude is 6 s.
    rows = np.concatenate([x, (6 * scales[:, None]).astype(np.float32)], axis=1)
    fmt = fe.BlockFormat("rows", one.element, "row", "e4m3fn", "NEAREST")
    codes = {way: fe.quantize(rows, fmt, scaling=way) for way in ("exact", "divide", "multiply")}
    assert np.array_equal(fe.decode(codes["exact"].scales, "e4m3fn")[:, 0], scales)
    different = {way: int(np.sum(codes[way].elements != codes["exact"].elements)) for way in ("divide", "multiply")}
    assert x.size == 882
    assert different == {"divide": 0, "multiply": 42}
    place = np.argwhere(x == np.float32(0.03662109375))[0]
    assert scales[place[0]] == 0.029296875
    values = {way: fe.decode(codes[way].elements, "e2m1fn")[tuple(place)] for way in codes}
    assert values == {"exact": 1.0, "divide": 1.0, "multiply": 1.5}


@settings(max_examples=120)
@given(st.data())
def test_any_shape_axis_block_mode_and_source(data):
    shape = tuple(data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4), label="shape"))
    axis = data.draw(st.integers(0, len(shape) - 1), label="axis")
    two = len(shape) > 1 and data.draw(st.booleans(), label="two")
    block = data.draw(st.tuples(st.integers(2, 3), st.integers(1, 4)) if two else st.sampled_from([1, 2, 3, "row"]))
    element = data.draw(st.sampled_from(["e4m3fn", "e2m1fn", "e5m2", "e4m3fnuz", "binary16", "bfloat16"]))
    scale, rule = data.draw(
        st.sampled_from(
            [
                ("e8m0fnu", "FLOOR"),
                ("e8m0fnu", "RCEIL"),
                ("e4m3fn", "NEAREST"),
                ("binary32", "UP"),
                ("bfloat16", "EVEN"),
            ]
        )
    )
    mode = data.draw(st.sampled_from(list(fe.Rounding)))
    n = data.draw(st.sampled_from([1, 8, 32])) if mode.stochastic else None
    by = Projection(mode, data.draw(st.sampled_from(list(fe.Saturation))), n)
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    seed = data.draw(st.integers(0, 99))
    size = int(np.prod(shape))
    x = (normal(size, dtype, seed) if seed % 2 else bits(4 * size + 8, dtype, seed)[:size]).reshape(shape)
    fmt = fe.BlockFormat("drawn", element, block, scale, rule)
    sizes = {axis: max(shape[axis], 1) if block == "row" else block}
    if two:
        sizes = {axis - 1: block[0], axis: block[1]} if axis else {1: block[0], 0: block[1]}
    options = {"random_bits": n, "seed": seed, "stream": 3} if n else {}
    got = fe.quantize(x, fmt, mode, axis=axis, saturation=by.saturation, **options)
    how = oracle.Elements(by, seed, 3)
    agree(got, oracle.quantize(x, sizes, fmt.element, fmt.scale, rule, how=how))
    assert got.shape == shape
    assert got.dequantize().shape == shape


def test_one_block_for_the_whole_array():
    x = bits(60).reshape(3, 4, 5)
    fmt = fe.block.FORMATS["fp8_tensor"]
    got = fe.quantize(x, fmt)
    elements, scales = oracle.quantize(x.reshape(-1), {0: 60}, fmt.element, fmt.scale, "NEAREST")
    agree(got, (elements.reshape(x.shape), scales.reshape(())))
    assert got.scales.shape == ()
    assert got.axis is None


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (0, 40)])
def test_numbers_alone_and_arrays_without_any(shape):
    got = fe.quantize(np.full(shape, 448.0), "fp8_tensor")
    assert got.dequantize().tolist() == np.full(shape, 448.0).tolist()
    if shape:
        got = fe.quantize(np.zeros(shape), "mxfp8")
        assert got.scales.shape == (*shape[:-1], -(-shape[-1] // 32))


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "nvfp4", "fp8_128x128", "fp8_row", "fp8_tensor", "mxint8"])
def test_pieces_and_threads_leave_no_seam(name, monkeypatch):
    """Whatever the size of the pieces, and with any number of threads."""
    x = normal(3 * 140 * 50).reshape(3, 140, 50) * np.float32(3e-3)
    options = {"rounding": "stochastic_b", "random_bits": 7, "seed": 5, "stream": 1}
    for axis in (0, 1, 2):
        want = fe.quantize(x, name, axis=axis, **options)
        for piece, threads in ((40, 2), (1000, 3), (9000, 1)):
            monkeypatch.setattr(quantization, "PIECE", piece)
            got = fe.quantize(x, name, axis=axis, threads=threads, **options)
            agree(got, (want.elements, want.scales))
        monkeypatch.undo()


@pytest.mark.parametrize("threads", [1, 2])
def test_the_scale_of_the_array_is_of_its_largest_finite_number_wherever_that_is(threads, monkeypatch):
    monkeypatch.setattr(quantization, "PIECE", 40)
    for place in (0, 39, 40, 130):
        for wild in ([], [np.inf, np.nan], [-np.inf] * 41):
            x = np.full(131, 0.5, np.float32)
            x[: len(wild)] = wild
            x[place] = -21.0
            assert fe.quantize(x, "nvfp4", threads=threads).outer == np.float32(21 / 2688)
    assert fe.quantize(np.full(90, np.nan, np.float32), "nvfp4", threads=threads).outer == 1.0


@pytest.mark.parametrize("rule", [*POWERS, "NEAREST", "UP", "NEAREST_MULTIPLY"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scales_that_are_looked_up_are_those_that_are_computed(rule, dtype, monkeypatch):
    x = np.concatenate([bits(400, dtype), edges(dtype).reshape(-1), normal(200, dtype)])
    fmt = fe.BlockFormat("one", "e2m1fn", 1, "e8m0fnu" if rule in POWERS else "e4m3fn", rule)
    for smallest in ("subnormal", "normal"):
        want = fe.quantize(x, fmt, scale_min=smallest)
        monkeypatch.setattr(quantization, "MANY", 1)
        agree(fe.quantize(x, fmt, scale_min=smallest), (want.elements, want.scales))
        monkeypatch.undo()


def test_a_large_array_equals_its_rows():
    x = normal(1 << 19).reshape(2, -1)
    whole = fe.quantize(x, "mxfp4", threads=2)
    for row in range(2):
        one = fe.quantize(x[row], "mxfp4")
        assert np.array_equal(whole.elements[row], one.elements)
        assert np.array_equal(whole.scales[row], one.scales)


def test_strides_and_lists_are_taken_as_they_are():
    x = normal(64 * 4).reshape(64, 4)
    want = fe.quantize(np.ascontiguousarray(x.T), "mxfp8")
    for other in (x.T, x.T.tolist(), np.asfortranarray(x.T), x.T.astype(">f4")):
        agree(fe.quantize(other, "mxfp8"), (want.elements, want.scales))
    turned = fe.quantize(x, "mxfp8", axis=0)
    agree(turned, (want.elements.T, want.scales.T))


def test_random_integers_of_the_callers_are_used():
    x = np.linspace(0.5, 1.5, 64, dtype=np.float32)
    given_bits = np.random.default_rng(0).integers(0, 16, 64)
    drawn = fe.quantize(x, "mxfp8", "stochastic_a", random_bits=4, random=given_bits)
    scaled = x / np.repeat(drawn.scale_values, 32)
    want = fe.encode(scaled, "e4m3fn", "stochastic_a", saturation="SAT_FINITE", random_bits=4, random=given_bits)
    assert np.array_equal(drawn.elements, want)


def test_jit_disabled_gives_the_same():
    program = (
        "import warnings; warnings.simplefilter('ignore'); import numpy as np, floatemu as fe\n"
        "x = np.random.default_rng(0).standard_normal((3, 40)).astype(np.float32)\n"
        "for name in ('mxfp8', 'nvfp4'):\n"
        "    q = fe.quantize(x, name, scaling='exact'); print(q.elements.tobytes().hex(), q.scales.tobytes().hex())"
    )
    found = []
    for disabled in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert found[0] == found[1]
