"""Where two systems differ: counts known from elsewhere, one cause for each operand, live libraries, functions."""

import numpy as np
import pytest

import floatemu as fe
from floatemu import peers
from floatemu.casting import Rule
from floatemu.differences import CAUSES
from floatemu.preset import Preset
from floatemu.probes import SOURCES, probes


def counts(*arguments, **options):
    return {cause.name: cause.count for cause in fe.diff(*arguments, **options).causes}


def test_torch_and_ml_dtypes_on_e4m3fn():
    """Trap 12: all above 464 is NaN in one, 448 in the other; nothing else differs."""
    found = fe.diff("torch", "ml_dtypes", "e4m3fn", "float16")
    x = probes("binary16", "e4m3fn")
    above = int((np.abs(x[np.isfinite(x)]) > 464).sum())
    assert (found.exhaustive, found.compared, found.differ) == (True, 65536, above + 2)
    assert counts("torch", "ml_dtypes", "e4m3fn", "float16") == {"infinity": 2, "overflow": above}
    first = found.causes[1].examples[0]
    assert (first.x_value, first.a, first.b, first.a_value) == (464.25, "0x7e", "0x7f", 448.0)
    assert np.isnan(first.b_value)


def test_torch_and_ml_dtypes_on_e8m0fnu():
    """Trap 16, divergence E: 32577 of 65536."""
    found = counts("torch", "ml_dtypes", "e8m0fnu", "bfloat16")
    assert sum(found.values()) == 32577
    assert found["zero"] == 2


@pytest.mark.parametrize(
    ("fmt", "x", "right"), [("e4m3fn", 1 + 2**-4 + 2**-40, 0x39), ("bfloat16", 1 + 2**-8 + 2**-40, 0x3F81)]
)
def test_double_rounding_is_named(fmt, x, right):
    """Trap 1."""
    found = next(c for c in fe.diff("exact", "ml_dtypes", fmt, "float64", examples=200).causes if "double" in c.name)
    assert int(fe.encode(x, fmt)) == right
    for shown in found.examples:
        once, twice = fe.encode(shown.x_value, fmt), fe.encode(np.float32(shown.x_value), fmt)
        assert (int(shown.a, 16), int(shown.b, 16)) == (int(once), int(twice))
        assert once != twice


def test_double_rounding_through_binary16_is_named():
    """Trap 3."""
    assert set(counts("jax_0.7", "jax", "e2m1fn", "float32")) == {"double rounding"}
    assert counts("jax_0.7", "jax", "e2m1fn", "float32")["double rounding"] == 20


def test_the_codes_of_nan_are_a_cause():
    """Trap 15: 0x7f and 0x7e."""
    found = fe.diff("torch", "ml_dtypes", "e5m2", "float16")
    assert [(cause.name, cause.count) for cause in found.causes] == [("NaN encoding", 2046)]
    assert {(shown.a, shown.b) for shown in found.causes[0].examples} == {("0x7f", "0x7e")}


def test_ties_and_signed_zeros():
    found = counts("microxcaling", "exact", "e2m1fn", "float16")
    assert found["tie"] == 2 * 4  # of 0.25 to 5 of either sign, those whose even neighbour is the nearer to zero
    assert found["signed zero"] == 1
    assert set(found) == {"tie", "signed zero", "NaN encoding", "infinity"}
    assert set(counts("cuda_rz", "exact", "e8m0fnu", "float32")) >= {"negative", "zero", "tie", "rounding"}


def test_subnormal_results_are_a_cause():
    fmt = fe.get_format("e4m3fn")

    def flushed(x):
        codes = fe.cast(x, fmt, "exact")
        return np.where(np.abs(x) < float(fmt.min_normal), codes & 0x80, codes)

    found = counts(flushed, "exact", fmt, "bfloat16")
    assert set(found) == {"tie", "subnormal"}


@pytest.mark.parametrize("pair", [("torch", "exact"), ("jax_0.7", "onnx"), ("ml_dtypes", "cuda_nosat")])
@pytest.mark.parametrize("fmt", ["e4m3fn", "e5m2"])
def test_each_operand_has_one_cause_and_examples_are_what_they_say(pair, fmt):
    found = fe.diff(*pair, fmt, "bfloat16", examples=2)
    assert sum(cause.count for cause in found.causes) == found.differ
    assert [cause.name for cause in found.causes] == [name for name in CAUSES if name in {c.name for c in found.causes}]
    x = probes("bfloat16", fmt)
    codes = [fe.presets.get(name).cast(x, fmt, source="bfloat16") for name in pair]
    assert found.differ == (codes[0] != codes[1]).sum()
    for cause in found.causes:
        assert len(cause.examples) == min(2, cause.count)
        assert cause.meaning == CAUSES[cause.name]
        for shown in cause.examples:
            i = int(shown.x, 16) >> 16
            assert [int(shown.a, 16), int(shown.b, 16)] == [y[i] for y in codes]
            assert repr(float(x[i])) == repr(shown.x_value)


@pytest.mark.parametrize("source", SOURCES)
def test_a_system_agrees_with_itself(source):
    found = fe.diff("ml_dtypes", fe.presets.get("ml_dtypes"), "e3m4", source)
    assert (found.differ, found.causes) == (0, ())
    assert "agree on all" in str(found)


def test_systems_at_random_agree_with_themselves_for_one_seed():
    assert fe.diff("cuda_rs", "cuda_rs", "e2m1fn", "float32", seed=3).differ == 0
    found = counts("cuda_rs", "exact", "e2m1fn", "float32", seed=3)
    assert "double rounding" not in found
    assert "rounding" in found


def test_functions_and_presets_of_the_users_own():
    own = Preset("mine", "mine", (Rule("e5m2", nan=fe.presets.get("torch").rule("binary32", "e5m2").nan),), (), "mine")
    assert fe.diff(own, "torch", "e5m2", "float32").differ == 0

    def wrong(x):
        return fe.encode(x, "e5m2", "TOWARD_ZERO")

    assert fe.diff(wrong, "exact", "e5m2", "bfloat16").a == "wrong"
    with pytest.raises(fe.UnsupportedError, match="wrong_shape returned uint8 of shape"):
        fe.diff(lambda_named("wrong_shape", lambda x: fe.encode(x[:3], "e5m2")), "exact", "e5m2")
    with pytest.raises(fe.FormatError, match="codes hold"):
        fe.diff(lambda x: np.full(x.shape, 300), "exact", "e5m2")


def lambda_named(name, function):
    function.__name__ = name
    return function


@pytest.mark.parametrize("name", ["ml_dtypes", "torch"])
def test_a_live_library_is_asked(name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    found = fe.diff(f"live:{name}", "exact", "e5m2", "float16")
    assert found.a == f"{name} {peers.version(name)}"
    assert {cause.name for cause in found.causes} <= {"NaN encoding"}


def test_refusals(monkeypatch):
    with pytest.raises(fe.UnsupportedError, match="accepted: live:numpy"):
        fe.diff("live:nothing", "exact")
    monkeypatch.setattr(peers, "version", lambda name: None)
    with pytest.raises(fe.UnsupportedError, match="jax is not installed; use the preset 'jax' instead"):
        fe.diff("live:jax", "exact")
    with pytest.raises(fe.UnsupportedError, match="no preset is named 'torhc'; did you mean torch"):
        fe.diff("torhc")
    with pytest.raises(fe.UnsupportedError, match="no probes are made of e5m2; accepted: binary16"):
        fe.diff(source="e5m2")
    with pytest.raises(fe.UnsupportedError, match="at most 16 bits"):
        fe.diff("exact", "exact", "binary32", "float64")
    with pytest.raises(fe.FormatError):
        fe.diff(fmt="e9m9")


def test_a_cast_that_the_live_library_lacks():
    pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    with pytest.raises(fe.UnsupportedError, match="live:ml_dtypes has no cast of binary32 into binary8p3se"):
        fe.diff("live:ml_dtypes", lambda x: fe.encode(x, "binary8p3se"), "binary8p3se")
