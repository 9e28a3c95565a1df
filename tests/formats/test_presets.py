"""Casts of named real systems: the numbered traps, every claim beside what was recorded, and live libraries."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import floatemu as fe
from floatemu import peers, presets, recorded
from floatemu.casting import Nan, Result, Rule, Span, Zeros, apply
from floatemu.preset import Preset
from floatemu.probes import SOURCES, probes

FOLDER = Path(__file__).resolve().parents[1] / "data" / "peers"
FILES = sorted(FOLDER.glob("*.json"))
RECORDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FILES}
RNE_SYSTEMS = [name for name in presets.PRESETS if name not in ("cuda_rz", "cuda_rs", "cuda_rna", "numpy")]


def value(preset, x, fmt, source=None):
    return presets.get(preset).round(np.asarray(x), fmt, source=source).tolist()


def codes(preset, x, fmt, source=None):
    return presets.get(preset).cast(np.asarray(x), fmt, source=source).tolist()


# The traps, by their numbers.

DOUBLE = [
    (1 + 2**-4 + 2**-40, "e4m3fn", 1.125, 1.0),
    (1 + 2**-8 + 2**-40, "bfloat16", 1.0078125, 1.0),
    (1 + 2**-11 + 2**-40, "binary16", 1.0009765625, 1.0),
    (2**-25 + 2**-60, "binary16", 2.0**-24, 0.0),
]


@pytest.mark.parametrize(("x", "fmt", "right", "twice"), DOUBLE)
def test_trap_1_double_rounding_from_binary64(x, fmt, right, twice):
    assert value("exact", x, fmt) == right
    assert value("torch", x, fmt) == twice
    for name in ("ml_dtypes", "onnx", "onnxruntime"):
        if fmt != "binary16":
            assert value(name, x, fmt) == twice, name
    if fmt == "binary16":
        assert (value("numpy", x, fmt), value("jax", x, fmt)) == (right, twice)


@pytest.mark.parametrize("name", ["ml_dtypes", "torch", "jax", "onnx"])
def test_trap_2_integers_go_through_binary32(name):
    x = np.array([2**24 + 2**16 + 1])
    assert value("exact", x, "bfloat16") == [16908288.0]
    assert value(name, x, "bfloat16") == [16777216.0]


def test_trap_3_chained_narrowing():
    assert value("exact", 1 + 2**-4 + 2**-12, "e4m3fn") == 1.125
    assert value("jax_0.7", 1 + 2**-4 + 2**-12, "e4m3fn") == 1.0
    x = np.float32(1 + 2**-4 + 2**-12)  # from binary32 too
    assert (value("jax_0.7", x, "e4m3fn"), value("jax", x, "e4m3fn")) == (1.0, 1.125)
    rule = Rule("e4m3fn", via="bfloat16")
    y = apply(rule, np.float32([1 + 2**-4 + 2**-9]), fe.get_format("binary32"), fe.get_format("e4m3fn"))
    assert fe.decode(y, "e4m3fn").tolist() == [1.0]


def test_trap_11_overflow_and_ties():
    nan = float("nan")
    for name, above in (("ml_dtypes", nan), ("torch", 448.0), ("torch_2.12", nan), ("cuda_satfinite", 448.0)):
        x = np.float32([463.99, 464, 464.001])
        assert np.array_equal(value(name, x, "e4m3fn"), [448.0, 448.0, above], equal_nan=True), name
    assert value("ml_dtypes", np.float32([61440, 61439.99]), "e5m2") == [np.inf, 57344.0]
    assert value("cuda_satfinite", np.float32([61440, 61439.99]), "e5m2") == [57344.0, 57344.0]
    assert np.array_equal(value("amd_fnuz", np.float32([248, 247.99]), "e4m3fnuz"), [nan, 240.0], equal_nan=True)
    assert value("amd_fnuz_satfinite", np.float32([248, 1e9]), "e4m3fnuz") == [240.0, 240.0]


def test_trap_12_infinity_into_e4m3fn_depends_on_the_system():
    x = np.float32([np.inf, -np.inf])
    became = {name: codes(name, x, "e4m3fn") for name in RNE_SYSTEMS if _has(name, "e4m3fn") and name != "exact"}
    saturating = {"torch", "torch_cuda", "cuda_satfinite", "ocp_saturating", "onnx", "onnx_1.16", "onnxruntime"}
    assert {name for name, y in became.items() if y == [0x7E, 0xFE]} == saturating
    assert all(y in ([0x7F, 0xFF], [0xFF, 0xFF]) for name, y in became.items() if name not in saturating)
    assert value("amd_fnuz_satfinite", x, "e4m3fnuz")[0] != 240.0  # infinities are not clipped there


def _has(name, fmt):
    try:
        return not presets.get(name).rule("binary32", fmt).carried
    except fe.UnsupportedError:
        return False


def test_trap_13_nan_into_a_format_without_nan():
    x = np.array([0x7FC00000, 0xFFC00000], np.uint32).view(np.float32)
    assert codes("ml_dtypes", x, "e2m1fn") == [0x8, 0x0]
    assert codes("ml_dtypes", x, "e2m3fn") == [0x20, 0x00]
    assert codes("jax", x, "e2m1fn") == [0x8, 0x8]
    assert codes("cuda_satfinite", x, "e2m1fn") == [0x7, 0x7]
    assert np.isnan(value("microxcaling", x, "e2m1fn")).all()


@pytest.mark.parametrize("name", ["ml_dtypes", "torch", "jax", "onnx", "onnxruntime", "amd_fnuz", "exact"])
@pytest.mark.parametrize("fmt", ["e4m3fnuz", "e5m2fnuz"])
def test_trap_14_minus_zero_and_tiny_negatives_are_never_nan(name, fmt):
    assert codes(name, np.float32([-0.0, -(2.0**-40), 0.0]), fmt) == [0, 0, 0]


def test_trap_15_every_nan_stays_one_and_its_code_is_the_systems():
    x = np.array([0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    for name, preset in presets.PRESETS.items():
        for fmt in preset.targets:
            if fe.get_format(fmt).has_nan and "binary32" in preset.sources(fmt) and name != "qpytorch":
                assert np.isnan(preset.round(x, fmt, source="binary32", seed=1)).all(), (name, fmt)
    assert (codes("ml_dtypes", x, "e5m2")[0], codes("torch", x, "e5m2")[0]) == (0x7E, 0x7F)
    assert (codes("torch", x, "bfloat16")[0], codes("ml_dtypes", x, "bfloat16")[0]) == (0xFFFF, 0x7FC0)


def test_trap_16_e8m0():
    x = np.float32([0.0, -3.0, 3.0, 1.5, 6.0, 1.5 * 2.0**127, 2.0**-130])
    nan = 0xFF
    assert codes("ml_dtypes", x, "e8m0fnu") == [nan, nan, 129, 128, 130, nan, 0]
    assert codes("torch", x, "e8m0fnu") == [0, 129, 129, 128, 130, nan, 0]
    assert codes("exact", x, "e8m0fnu")[2] == 128  # the tie goes to the even code, as P3109 says: 2
    assert codes("ml_dtypes_0.5.0", x, "e8m0fnu")[2] == 128
    assert codes("onnxruntime", x, "e8m0fnu") == [0, 0, 129, 128, 130, 254, 0]
    assert codes("cuda_satfinite", x, "e8m0fnu") == [0, 129, 129, 128, 130, 254, 0]
    assert codes("cuda_nosat", x, "e8m0fnu")[5] == nan
    assert codes("cuda_rz", x, "e8m0fnu")[2:5] == [128, 127, 129]


def test_divergence_b_and_e_torch():
    """Sections B and E: casts from binary64 go through binary32; e8m0fnu differs from ml_dtypes on 32577 of 65536."""
    x = probes("bfloat16", "e8m0fnu")
    assert (
        presets.get("torch").cast(x, "e8m0fnu", source="bfloat16") != codes("ml_dtypes", x, "e8m0fnu")
    ).sum() == 32577


def test_divergence_q_qpytorch():
    assert value("qpytorch", np.float32([np.inf, np.nan, 1e9]), "binary16") == [131008.0, 131008.0, 131008.0]
    assert value("qpytorch", np.float32([1.0625, -0.0]), "e4m3fn") == [1.125, 0.0]


def test_divergence_w_microxcaling():
    assert value("microxcaling", np.float32([1.0625, np.inf, 1e9]), "e4m3fn") == [1.125, np.inf, 448.0]
    assert np.signbit(value("microxcaling", np.float32([-0.0, -(2.0**-40)]), "e4m3fn")).tolist() == [False, True]


def test_random_bits_of_cuda():
    """E2M1 takes 8 random bits an element: 1.25 lies half way in its quantum, so half of the integers round it up."""
    rule = presets.get("cuda_rs").rule("binary32", "e2m1fn")
    assert rule.projection.random_bits == 8
    up = presets.get("cuda_rs").round(np.full(256, 1.25, np.float32), "e2m1fn", random=np.arange(256))
    assert (up == 1.5).sum() == 128
    assert presets.get("cuda_rs").round(np.float32([1.5, 6.0, 1e9]), "e2m1fn", seed=1).tolist() == [1.5, 6.0, 6.0]


# The table.


def test_the_table_is_a_table():
    assert len(presets.PRESETS) >= 20
    for name, preset in presets.PRESETS.items():
        assert isinstance(preset, Preset)
        assert (preset.name, preset.title.strip(), preset.source.strip()) == (name, preset.title, preset.source)
        assert preset.evidence.startswith("measured: ") or (preset.evidence == "from documentation" and preset.source)
        for rule in preset.rules:
            assert set(rule.sources.split()) <= set(SOURCES)
            assert [fe.get_format(target).name for target in rule.targets.split()] == rule.targets.split()
            assert rule.describe()


def test_each_rule_is_the_first_for_something():
    for preset in presets.PRESETS.values():
        used = {id(preset.rule(s, t)) for t in preset.targets for s in preset.sources(t)}
        assert used == {id(rule) for rule in preset.rules}, preset.name


def test_look_up():
    assert presets.get("ML-dtypes") is presets.PRESETS["ml_dtypes"]
    assert presets.get(presets.PRESETS["torch"]) is presets.PRESETS["torch"]
    with pytest.raises(fe.UnsupportedError, match="did you mean torch"):
        presets.get("torhc")
    with pytest.raises(fe.UnsupportedError, match="accepted: exact"):
        presets.get("")


def test_refusals_say_what_the_system_casts():
    with pytest.raises(fe.UnsupportedError, match="torch has no cast into e2m1fn; accepted: binary16"):
        fe.cast([1.0], "e2m1fn", "torch")
    with pytest.raises(
        fe.UnsupportedError, match="qpytorch does not cast binary64 into e4m3fn; accepted: bfloat16, bin"
    ):
        fe.cast([1.0], "e4m3fn", "qpytorch")
    with pytest.raises(fe.UnsupportedError, match=r"no codes.*presets.get\(\"microxcaling\"\).round"):
        fe.cast(np.float32([1.0]), "e4m3fn", "microxcaling")


def test_shapes_and_dtypes():
    y = fe.cast(np.zeros((2, 0, 3), np.float16), "e4m3fn", "torch")
    assert (y.shape, y.dtype) == ((2, 0, 3), np.uint8)
    assert fe.cast(np.float32(1.0), "bfloat16", "torch").dtype == np.uint16
    assert fe.cast([[1, 2], [3, 4]], "e5m2", "ml_dtypes").shape == (2, 2)
    x = np.float32([3.0])
    x.setflags(write=False)
    assert fe.cast(x, "e8m0fnu", "torch").tolist() == [129]


def test_a_bfloat16_array_counts_as_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    x = np.array([np.nan], ml_dtypes.bfloat16)
    assert fe.cast(x, "e5m2", "jax").tolist() == [0x7F]
    assert fe.cast(x.astype(np.float32), "e5m2", "jax").tolist() == [0x7E]


def test_spans_and_zeros():
    fmt, x = fe.get_format("e4m3fn"), np.float32([2.0, 3.0, -2.0, -0.0, -(2.0**-30), np.inf])
    rule = Rule("e4m3fn", spans=(Span(2.0, 3.0, Result.MAX),), zeros=Zeros.OPERANDS_PLUS, infinity=Result.LEAST)
    assert apply(rule, x, fe.get_format("binary32"), fmt).tolist() == [0x7E, 0x44, 0xFE, 0x00, 0x80, 0x01]
    rule = Rule("e4m3fn", spans=(Span(2.0, 4.0, Result.NAN, open=True),), zeros=Zeros.PLUS, born=Nan.MINUS_ONES)
    assert apply(rule, x, fe.get_format("binary32"), fmt).tolist() == [0x40, 0xFF, 0xC0, 0x00, 0x00, 0xFF]


def test_what_is_flushed_is_tiny_after_rounding_without_a_least_exponent():
    edge = 2.0**-126 * (1 - Fraction(1, 2**25))  # rounds up to the least normal number: kept
    x = np.array([float(edge), np.nextafter(float(edge), 0)])
    assert value("jax", x, "bfloat16") == [2.0**-126, 0.0]


@pytest.mark.parametrize("fmt", [fmt.name for fmt in fe.FORMATS.values() if fmt.k <= 16])
def test_exact_is_encode(fmt):
    for source in ("binary16", "binary32", "int64"):
        x = probes(source, fmt)
        nan = None if fe.get_format(fmt).has_nan else "zero"
        assert np.array_equal(fe.cast(x, fmt, "exact"), fe.encode(x, fmt, nan=nan)), source


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"targets": "float8_e4m3fn"}, "canonical names: e4m3fn"),
        ({"targets": "e4m9"}, "no format is named"),
        ({"targets": "e5m2", "sources": "float32"}, "accepted: binary16"),
        ({"targets": ""}, "at least one"),
        ({"targets": "e5m2", "spans": (Span(2.0, 2.0, Result.MAX),)}, "0 <= low < high"),
    ],
)
def test_a_wrong_rule_is_refused_where_it_is_written(wrong, message):
    with pytest.raises(fe.FormatError, match=message):
        Rule(**wrong)


# What was recorded of each library.


def test_every_measured_preset_was_recorded_and_nothing_else_was():
    recorded_of = {}
    for record in RECORDS.values():
        for row in record["casts"]:
            recorded_of.setdefault(row["preset"], set()).add(f"{record['library']} {record['version']}")
    assert recorded_of == {name: set(p.measured) for name, p in presets.PRESETS.items() if p.measured}
    assert all(record["schema"] == recorded.SCHEMA and record["casts"] for record in RECORDS.values())


def rows(stem, quick):
    for row in RECORDS[stem]["casts"]:
        small = row["target"] not in ("binary16", "bfloat16") and row["source"] in ("binary16", "binary32")
        if not quick or small:
            yield row


def check(stem, quick):
    for row in rows(stem, quick):
        x = probes(row["source"], row["target"])
        y = recorded.results(presets.get(row["preset"]), x, row["target"], row["source"])
        nan = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)
        words = recorded.bits(y).astype("<u4")
        found = [hashlib.sha256(words[where].tobytes()).hexdigest() for where in (~nan, nan)]
        assert found == [row["sha256"], row["nan"]["sha256"]], (stem, row["preset"], row["source"], row["target"])


@pytest.mark.parametrize("stem", RECORDS)
def test_presets_give_every_recorded_bit_of_small_casts(stem):
    check(stem, quick=True)


@pytest.mark.slow
@pytest.mark.parametrize("stem", RECORDS)
def test_presets_give_every_recorded_bit(stem):
    """All sources and targets of all libraries and versions."""
    check(stem, quick=False)


def test_every_target_and_source_of_a_measured_preset_was_recorded():
    for name, preset in presets.PRESETS.items():
        claimed = {(s, t) for t in preset.targets for s in preset.sources(t) if s != t and preset.measured}
        seen = {
            (row["source"], row["target"])
            for record in RECORDS.values()
            for row in record["casts"]
            if row["preset"] == name
        }
        assert claimed - seen == set(), name


def test_a_record_counts_what_is_not_exact():
    row = next(
        row for row in RECORDS["ml_dtypes-0.6.0"]["casts"] if (row["source"], row["target"]) == ("binary64", "e4m3")
    )
    assert row["inexact"] == 964
    first = row["first"][0]
    assert first["given"] != first["exact"]


def test_a_library_is_asked_without_floatemu(tmp_path):
    """The file of libraries runs alone, isolated, as the recording does it; what a library lacks is left out."""
    np.savez(tmp_path / "probes.npz", **{"binary64 binary16": [1 + 2**-11 + 2**-40], "binary64 e5m2": [1.0]})
    command = [sys.executable, "-I", peers.__file__, "numpy", str(tmp_path / "probes.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    with np.load(tmp_path / "out.npz") as found:
        assert {key: found[key].tolist() for key in found.files} == {"binary64 binary16": [0x3C01]}
    assert "numpy, binary64 e5m2: Absent" in done.stderr


# Libraries that are here.


@pytest.mark.parametrize("name", ["ml_dtypes", "gfloat", "torch"])
def test_the_library_that_is_installed_gives_the_same(name):
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    own = f"{name} {peers.version(name).split('+')[0]}"
    # a version that was not recorded should cast as the newest that was
    preset = next((p for p in presets.PRESETS.values() if own in p.measured), presets.get(name))
    for target in preset.targets:
        for source in ("binary16", "binary32", "binary64", "int64"):
            if source not in preset.sources(target) or (target in ("binary16", "bfloat16") and source != "binary32"):
                continue
            with np.errstate(all="ignore"):
                y = peers.CASTS[name][1](probes(source, target), source, target)
            x = preset.cast(probes(source, target), target, source=source)
            assert np.array_equal(x, y), (own, source, target, "record it: scripts/record_peers.py")
