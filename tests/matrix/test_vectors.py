"""Both layouts of the published results are read, give the same sets, and damaged files are refused clearly."""

import json
import os
import zipfile

import numpy as np
import pytest

import floatemu as fe
from floatemu.errors import FloatEmuError
from floatemu.matrix import generator as g
from floatemu.matrix.vectors import INPUTS, OUTPUTS, read_vectors

FOLDER = os.environ.get("FLOATEMU_HW_VECTORS")
needs_vectors = pytest.mark.skipif(not FOLDER, reason="FLOATEMU_HW_VECTORS names no folder of published GPU results")

SETS = [
    ("V100", "fp16", "fp16", 4), ("A100", "bf16", "fp32", 8), ("A2", "tf32", "fp32", 4), ("L40S", "E5M2", "fp16", 32),
    ("H100", "E4M3", "fp32", 32), ("H200", "E4M3", "fp16", 32), ("B200", "E5M2", "fp32", 32),
    ("V100", "fp16", "fp32", 4),
]  # fmt: skip
UNIT = {
    "V100|fp16|fp16": "volta.mma.binary16.binary16.binary16",
    "V100|fp16|fp32": "volta.mma.binary16.binary16.binary32",
    "A100|bf16|fp32": "ampere.mma.bfloat16.bfloat16.binary32",
    "A2|tf32|fp32": "ampere.mma.tf32.tf32.binary32",
    "L40S|E5M2|fp16": "ada.mma.e5m2.e5m2.binary16",
    "H100|E4M3|fp32": "hopper.wgmma.e4m3fn.e4m3fn.binary32",
    "H200|E4M3|fp16": "hopper.mma.e4m3fn.e4m3fn.binary16",
    "B200|E5M2|fp32": "blackwell.mma.e5m2.e5m2.binary32",
}


def made(gpu, inputs, output, k, n=5):
    """Arrays as they are published: a, b (codes of their format), c (binary32 codes), d (codes of the output)."""
    layout = g.LAYOUTS[INPUTS[inputs]]
    seed = sum(map(ord, gpu + inputs))  # the same operands and accumulators for both outputs, as published
    a, b, c = g.vectors("normal", layout, layout, g.LAYOUTS["binary32"], n, k, seed)
    d = g.vectors("normal", layout, layout, g.LAYOUTS[OUTPUTS[output]], n, k, seed + 1)[2]
    return a, b, c, d


def values(codes, fmt):
    return np.asarray(fe.decode(codes, fmt))


def as_binary32(codes, name):
    return codes if name == "tf32" else fe.encode(values(codes, INPUTS[name]), "binary32")


def write_text(root, gpu, inputs, output, arrays, prefix=""):
    a, b, c, d = arrays
    folder = root / gpu / inputs
    folder.mkdir(parents=True, exist_ok=True)
    for name, codes in (("a", a), ("b", b)):
        rows = as_binary32(codes, inputs)
        lines = [" ".join(f"{prefix}{word:08x}" for word in row) for row in rows]
        (folder / f"{name}_{gpu}_{inputs}.txt").write_text("\n".join(lines) + "\n")
    wide = d if output == "fp32" else fe.encode(values(d, "fp16"), "binary32")
    (folder / f"c_{gpu}_fp32.txt").write_text("".join(f"{word:032b}\n" for word in c))
    (folder / f"d_{gpu}_{output}.txt").write_text("".join(f"{word:032b}\n" for word in wide))
    return folder


def write_archive(path, sets):
    """The sets in the other layout: 8-bit codes as binary16, equal arrays once."""
    arrays, alias = {}, {}
    for (gpu, inputs, output, _), (a, b, c, d) in sets:
        for name, x in (("a", a), ("b", b), ("c32", c), (f"d_{output}", d)):
            if name in "ab" and inputs in ("E4M3", "E5M2"):
                x = fe.encode(values(x, INPUTS[inputs]), "binary16")
            same = next((key for key, y in arrays.items() if y.dtype == x.dtype and np.array_equal(x, y)), None)
            alias[f"{gpu}|{inputs}|{name}"] = same or f"{gpu}|{inputs}|{name}"
            if same is None:
                arrays[f"{gpu}|{inputs}|{name}"] = x
    np.savez(path, **arrays, __alias__=np.array(json.dumps(alias)))


def same(left, right):
    return left.dtype == right.dtype and np.array_equal(left, right)


@pytest.fixture
def sets():
    return [(key, made(*key)) for key in SETS]


def test_both_layouts_give_the_same_sets(tmp_path, sets):
    for (gpu, inputs, output, _), arrays in sets:
        write_text(tmp_path / "repository" / "model_validation", gpu, inputs, output, arrays)
    write_archive(tmp_path / "vectors.npz", sets)
    text, archive = read_vectors(tmp_path / "repository"), read_vectors(tmp_path)
    assert [s.name for s in text] == [s.name for s in archive] == sorted("|".join(key[:3]) for key, _ in sets)
    for one, other in zip(text, archive):
        assert (one.unit, one.reason) == (other.unit, other.reason)
        assert all(same(getattr(one, x), getattr(other, x)) for x in "abcd")
    by_name = {s.name: s for s in text}
    for (gpu, inputs, output, k), (a, b, c, d) in sets:
        found = by_name[f"{gpu}|{inputs}|{output}"]
        assert (found.unit.name, found.a.shape, len(found)) == (UNIT[found.name], (5, k), 5)
        assert same(found.a, a)
        assert same(found.b, b)
        assert same(found.d, d)
        if (gpu, output) == ("H100", "fp32"):
            assert not found.c.any()  # whatever the file says
        else:
            rounded = fe.round(values(c, "fp32"), "fp16") if output == "fp16" else values(c, "fp32")
            assert np.array_equal(values(found.c, OUTPUTS[output]), rounded)


@pytest.mark.parametrize("place", ["", "model_validation", "data/model_validation"])
def test_the_repository_is_found_below_the_folder_given(tmp_path, place):
    write_text(tmp_path / place, "V100", "fp16", "fp32", made("V100", "fp16", "fp32", 4), prefix="0x")
    assert [s.name for s in read_vectors(tmp_path)] == ["V100|fp16|fp32"]


def test_a_gpu_without_a_row_is_kept_and_says_so(tmp_path):
    write_text(tmp_path, "Q999", "fp16", "fp32", made("Q999", "fp16", "fp32", 4))
    (found,) = read_vectors(tmp_path)
    assert found.unit is None
    assert "Q999" in found.reason


def test_accumulators_that_were_not_used_need_not_be_there(tmp_path):
    folder = write_text(tmp_path, "H200", "E5M2", "fp32", made("H200", "E5M2", "fp32", 32))
    (folder / "c_H200_fp32.txt").unlink()
    assert not read_vectors(tmp_path)[0].c.any()


DAMAGE = {
    "a missing": ("a_V100_fp16.txt", None, "is missing; fetch it"),
    "c missing": ("c_V100_fp32.txt", None, "is missing; fetch it"),
    "short row": ("a_V100_fp16.txt", "3f800000 " * 19, "19 numbers for 5 results"),
    "other K": ("b_V100_fp16.txt", "3f800000 " * 15, r"a has shape \(5, 4\), b \(5, 3\)"),
    "too few c": ("c_V100_fp32.txt", "0" * 32, r"c \(1,\), d \(5,\)"),
    "no hexadecimal": ("a_V100_fp16.txt", "3f80000g " * 20, "number 0 is '3f80000g'"),
    "nine digits": ("a_V100_fp16.txt", "13f800000 " * 20, "at most 8 hexadecimal digits"),
    "no binary": ("d_V100_fp32.txt", "2" * 32, "32 binary digits"),
    "no fp16 number": ("b_V100_fp16.txt", "3f800001 " * 20, "is no value of binary16"),
    "no text": ("c_V100_fp32.txt", "é", "no plain text"),
    "nothing": ("d_V100_fp32.txt", "", "for 0 results"),
}


@pytest.mark.parametrize(("name", "text", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_text_is_refused(tmp_path, name, text, message):
    folder = write_text(tmp_path, "V100", "fp16", "fp32", made("V100", "fp16", "fp32", 4))
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(FloatEmuError, match=message):
        read_vectors(tmp_path)


def archive(path, **changes):
    a, b, c, d = made("V100", "fp16", "fp32", 4)
    arrays = {"V100|fp16|a": a, "V100|fp16|b": b, "V100|fp16|c32": c, "V100|fp16|d_fp32": d} | changes
    np.savez(path, **{name: x for name, x in arrays.items() if x is not None})


ARCHIVES = {
    "array missing": ({"V100|fp16|b": None}, "is missing; accepted: uint16"),
    "other dtype": ({"V100|fp16|a": np.zeros((5, 4), np.int64)}, "int64; accepted: uint16"),
    "other length": ({"V100|fp16|c32": np.zeros(4, np.uint32)}, r"c \(4,\)"),
    "other shape": ({"V100|fp16|d_fp32": np.zeros((5, 1), np.uint32)}, r"d \(5, 1\)"),
    "single number": ({"V100|fp16|d_fp32": np.uint32(0)}, r"d \(\)"),
    "objects": ({"V100|fp16|a": np.array([{}])}, "without pickled objects"),
    "alias of no array": ({"__alias__": np.array('{"V100|fp16|a": "none"}')}, "is missing"),
    "alias no JSON": ({"__alias__": np.array("{")}, "__alias__"),
    "alias a number": ({"__alias__": np.array(3)}, "__alias__"),
}


@pytest.mark.parametrize(("changes", "message"), ARCHIVES.values(), ids=ARCHIVES)
def test_damaged_archives_are_refused(tmp_path, changes, message):
    archive(tmp_path / "v.npz", **changes)
    with pytest.raises(FloatEmuError, match=message):
        read_vectors(tmp_path)


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "v.npz"
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(FloatEmuError, match="cannot be read"):
        read_vectors(tmp_path)
    archive(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FloatEmuError, match="cannot be read"):
        read_vectors(path)


def test_archives_that_unpack_to_too_much_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "v.npz", "w", zipfile.ZIP_DEFLATED) as packed, packed.open("x.npy", "w") as member:
        for _ in range(257):
            member.write(bytes(2**20))
    with pytest.raises(FloatEmuError, match="accepted: at most"):
        read_vectors(tmp_path)


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_an_empty_folder_says_what_is_looked_for(tmp_path, name):
    with pytest.raises(FloatEmuError, match="no published vectors"):
        read_vectors(tmp_path / name)


@needs_vectors
def test_published_sets_survive_the_text_layout(tmp_path):
    """The archive's sets, written as text and read back, are the same sets."""
    archived = read_vectors(FOLDER)
    assert len(archived) == 20
    assert all(len(s) == 3500 for s in archived)
    for s in archived:
        part = slice(0, 200)
        c = s.c[part] if s.output == "fp32" else fe.encode(values(s.c[part], "fp16"), "binary32")
        write_text(tmp_path, s.gpu, s.inputs, s.output, (s.a[part], s.b[part], c, s.d[part]))
        if s.output == "fp16":  # the folder's accumulators are binary32 numbers, shared by both outputs
            (tmp_path / s.gpu / s.inputs / f"d_{s.gpu}_fp32.txt").unlink(missing_ok=True)
        (found,) = [t for t in read_vectors(tmp_path) if t.name == s.name]
        assert (found.unit, found.reason) == (s.unit, s.reason)
        assert all(same(getattr(found, x), getattr(s, x)[part]) for x in "abcd")
        for path in (tmp_path / s.gpu / s.inputs).iterdir():
            path.unlink()


@needs_vectors
def test_every_published_result_is_reproduced():
    for s in read_vectors(FOLDER):
        got = fe.matrix.mma(s.unit, s.a[:, None, :], s.b[:, :, None], s.c[:, None, None], codes=True)[:, 0, 0]
        assert same(got, s.d), s.name
