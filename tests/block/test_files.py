"""Files of block arrays: nothing is lost, and nothing that is not one is believed."""

import json
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import floatemu as fe

SUFFIXES = [".npz", ".safetensors"]


def need(suffix):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="safetensors is not installed")


def same(a, b):
    assert (a.format, a.format.name, a.axis, a.outer) == (b.format, b.format.name, b.axis, b.outer)
    for x, y in ((a.elements, b.elements), (a.scales, b.scales), (a.dequantize(), b.dequantize())):
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())


def example(name="nvfp4", shape=(3, 40)):
    return fe.quantize(np.random.default_rng(0).standard_normal(shape).astype(np.float32), name)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", list(fe.block.FORMATS))
def test_every_format_comes_back(name, suffix, tmp_path):
    need(suffix)
    for shape in ((3, 40), (2, 0), (2, 3, 5)):
        blocks = example(name, shape)
        blocks.save(tmp_path / f"x{suffix}")
        same(fe.BlockArray.load(tmp_path / f"x{suffix}"), blocks)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_quantize_pack_save_load_dequantize(data, tmp_path):
    """The round trip, of formats of one's own too."""
    element = data.draw(st.sampled_from(["e4m3fn", "e5m2", "e2m3fn", "e2m1fn", "int8", "int5", "binary16"]))
    scale = data.draw(st.sampled_from(["e8m0fnu", "e4m3fn", "binary32", "bfloat16", "tf32"]))
    outer = "binary32" if element == "e2m1fn" and scale == "e4m3fn" and data.draw(st.booleans()) else None
    shape = tuple(data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=3)))
    axis = data.draw(st.integers(0, len(shape) - 1))
    block = data.draw(st.sampled_from([1, 4, 7, "row", "tensor", *([(2, 3)] if len(shape) > 1 else [])]))
    rule = fe.block.ScaleRule("own", "power", "TOWARD_POSITIVE", power=True, even=data.draw(st.booleans()))
    fmt = fe.BlockFormat("own", element, block, scale, rule, outer)
    x = np.random.default_rng(data.draw(st.integers(0, 9))).standard_normal(shape)
    if x.size and data.draw(st.booleans()):
        x.flat[0] = np.nan
    blocks = fe.quantize(x, fmt, axis=axis)
    for order in ("low", "high"):
        packed = blocks.pack(order)
        n = shape[-1]
        assert np.array_equal(fe.block.unpack(packed.elements, fmt.element, n, order), blocks.elements)
    path = tmp_path / "x.npz"
    blocks.save(path)
    same(fe.BlockArray.load(path), blocks)


def rewritten(path, change, suffix=".npz"):
    """The file with its arrays and metadata changed by a function."""
    example().save(path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive}
    document = json.loads(arrays["metadata"].tobytes())
    change(arrays, document)
    if "metadata" in arrays and arrays["metadata"].dtype == np.uint8:
        arrays["metadata"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(path, **arrays)
    return path


def setting(*keys, to):
    def change(arrays, document):
        where = document
        for key in keys[:-1]:
            where = where[key]
        where[keys[-1]] = to

    return change


def removing(name):
    return lambda arrays, document: arrays.pop(name)


def placing(name, array):
    return lambda arrays, document: arrays.__setitem__(name, array)


BAD = {
    "no metadata": (removing("metadata"), "no metadata of a block array"),
    "no elements": (removing("elements"), "array 'elements' is not there"),
    "short elements": (placing("elements", np.zeros(3, np.uint8)), "3 bytes a row, but 120 codes"),
    "elements of floats": (placing("elements", np.zeros(60)), "has dtype float64"),
    "elements of two axes": (placing("elements", np.zeros((2, 30), np.uint8)), "2 axes"),
    "short scales": (placing("scales", np.zeros(8, np.uint8)), "8 bytes a row, but 9 codes"),
    "objects": (placing("elements", np.array([{}], object)), "never objects|not a .npy array|dtype object"),
    "other schema": (setting("schema", to="floatemu.blocks/9"), "this version reads floatemu.blocks/1"),
    "schema of 1 MB": (setting("schema", to="x" * 2**20), "bytes of metadata; at most"),
    "huge shape": (setting("shape", to=[2**61, 2**61]), "bytes a row, but"),
    "shape of more": (setting("shape", to=[2**62]), "is not a list of sizes"),
    "negative shape": (setting("shape", to=[-3, -40]), "is not a list of sizes"),
    "shape of booleans": (setting("shape", to=[True, 120]), "is not a list of sizes"),
    "shape of many axes": (setting("shape", to=[1] * 60), "is not a list of sizes"),
    "axis of another array": (setting("axis", to=5), "axis=5 is none of an array"),
    "axis of words": (setting("axis", to="last"), "is not an axis"),
    "no axis": (setting("axis", to=None), "nvfp4 has blocks along an axis, and none is named"),
    "outer of 0": (setting("outer", to=0), "not a positive number of binary32"),
    "outer of binary64": (setting("outer", to=0.1), "not a positive number of binary32"),
    "outer that no float holds": (setting("outer", to=10**400), "not a number of binary64"),
    "outer NaN": (setting("outer", to=float("nan")), "not a positive number of binary32"),
    "unknown key": (setting("format", "colour", to=1), "the format has .*colour"),
    "no format": (setting("format", to=[1]), "the format has list"),
    "element of words": (setting("format", "element", to="e2m1fn"), "the format's element has str"),
    "huge element": (setting("format", "element", "k", to=2**70), "contradicts itself"),
    "element of 64 bits": (setting("format", "element", "k", to=64), "contradicts itself"),
    "negative bias": (setting("format", "element", "bias", to=-(10**9)), "contradicts itself"),
    "block of 0": (setting("format", "block", to=0), "contradicts itself"),
    "block of words": (setting("format", "block", to="all"), "contradicts itself"),
    "block of lists": (setting("format", "block", to=[[1], [2]]), "contradicts itself"),
    "unknown rounding": (setting("format", "rule", "rounding", to="up and down"), "contradicts itself"),
    "two formats": (setting("format", "integer", to=True), "contradicts itself"),
}


@pytest.mark.parametrize("case", BAD)
def test_contradicting_files_are_refused(case, tmp_path):
    change, words = BAD[case]
    with pytest.raises(fe.FileError, match=words):
        fe.BlockArray.load(rewritten(tmp_path / "x.npz", change))


def test_deep_json_is_refused(tmp_path):
    path = rewritten(tmp_path / "x.npz", lambda arrays, document: None)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive}
    for text in (b"[" * 60000, b"{", b"\xff\xfe", b'{"schema": 1}', b"null"):
        arrays["metadata"] = np.frombuffer(text, np.uint8)
        np.savez(path, **arrays)
        with pytest.raises(fe.FileError):
            fe.BlockArray.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_and_damaged_files_are_refused(suffix, tmp_path):
    need(suffix)
    path = tmp_path / f"x{suffix}"
    example().save(path)
    whole = path.read_bytes()
    for size in {0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:size])
        with pytest.raises(fe.FileError):
            fe.BlockArray.load(path)
    rng = np.random.default_rng(0)
    want = example()
    for _ in range(60):  # a changed byte is refused, or changes what it may change: a code, a name
        place = int(rng.integers(len(whole)))
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        try:
            assert fe.BlockArray.load(path).shape[0] >= 0
        except fe.FileError:
            pass
    path.write_bytes(whole)
    same(fe.BlockArray.load(path), want)


def test_safetensors_of_others_and_hostile_headers(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    path = tmp_path / "x.safetensors"
    safetensors.save_file({"w": np.ones(3, np.float32)}, path)
    with pytest.raises(fe.FileError, match="no metadata of a block array"):
        fe.BlockArray.load(path)
    for header in (b"{}", b'{"elements":{"dtype":"U8","shape":[99999999999],"data_offsets":[0,99999999999]}}'):
        for claimed in (len(header), 2**63 - 1, 2**31):
            path.write_bytes(struct.pack("<Q", claimed) + header)
            with pytest.raises(fe.FileError):
                fe.BlockArray.load(path)


def test_what_is_no_file_of_ours(tmp_path):
    with pytest.raises(fe.FileError, match="there is no such file"):
        fe.BlockArray.load(tmp_path / "x.npz")
    with pytest.raises(fe.FileError, match=r"the suffix '.pt' is unknown; accepted: .npz, .safetensors"):
        fe.BlockArray.load(tmp_path / "x.pt")
    with pytest.raises(fe.FileError, match="suffix"):
        example().save(tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("elements.npy", b"\x80\x04]q\x00.")
    with pytest.raises(fe.FileError, match=r"not a .npy array"):
        fe.BlockArray.load(tmp_path / "x.npz")
    with pytest.raises(fe.FileError, match="cannot be written"):
        example().save(tmp_path / "no folder" / "x.npz")
