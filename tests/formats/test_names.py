"""Look-up by name: every alias of every library in common use, and never two formats for one name."""

from __future__ import annotations

import gfloat.formats
import ml_dtypes
import pytest

import floatemu as fe

EVERY = [(word, name) for name in fe.FORMATS for word in (name, *fe.ALIASES[name])]


@pytest.mark.parametrize(("word", "name"), EVERY)
def test_every_alias_finds_its_format_in_any_dress(word: str, name: str) -> None:
    for dressed in (word, word.upper(), f" {word.title()} ", word.replace("_", "-"), f"float8_{word}", f"torch.{word}"):
        assert fe.get_format(dressed) is fe.FORMATS[name]


def test_no_alias_names_two_formats() -> None:
    words = [word for word, _ in EVERY]
    assert len(words) == len(set(words))
    by_key: dict[str, set[str]] = {}
    for word, name in EVERY:
        by_key.setdefault(word.lower().replace("-", "_"), set()).add(name)
    assert {key: names for key, names in by_key.items() if len(names) > 1} == {}


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("bfloat16", "bfloat16"),
        ("float8_e3m4", "e3m4"),
        ("float8_e4m3", "e4m3"),
        ("float8_e4m3fn", "e4m3fn"),
        ("float8_e4m3fnuz", "e4m3fnuz"),
        ("float8_e4m3b11fnuz", "e4m3b11fnuz"),
        ("float8_e5m2", "e5m2"),
        ("float8_e5m2fnuz", "e5m2fnuz"),
        ("float8_e8m0fnu", "e8m0fnu"),
        ("float6_e2m3fn", "e2m3fn"),
        ("float6_e3m2fn", "e3m2fn"),
        ("float4_e2m1fn", "e2m1fn"),
    ],
)
def test_names_of_ml_dtypes(dtype: str, name: str) -> None:
    assert hasattr(ml_dtypes, dtype)
    assert fe.get_format(dtype) is fe.FORMATS[name]
    assert fe.get_format(f"ml_dtypes.{dtype}") is fe.FORMATS[name]


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ("ocp_e4m3", "e4m3fn"),
        ("ocp_e5m2", "e5m2"),
        ("ocp_e2m3", "e2m3fn"),
        ("ocp_e3m2", "e3m2fn"),
        ("ocp_e2m1", "e2m1fn"),
        ("ocp_e8m0", "e8m0fnu"),
        ("binary16", "binary16"),
        ("binary32", "binary32"),
        ("binary64", "binary64"),
        ("bfloat16", "bfloat16"),
    ],
)
def test_names_of_gfloat(info: str, name: str) -> None:
    assert fe.get_format(getattr(gfloat.formats, f"format_info_{info}").name) is fe.FORMATS[name]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("fp16", "binary16"),
        ("half", "binary16"),
        ("float16", "binary16"),
        ("bf16", "bfloat16"),
        ("fp32", "binary32"),
        ("float", "binary32"),
        ("double", "binary64"),
        ("fp64", "binary64"),
        ("TF32", "tf32"),
        ("torch.float8_e4m3fn", "e4m3fn"),
        ("torch.bfloat16", "bfloat16"),
        ("np.float32", "binary32"),
        ("FP4", "e2m1fn"),
        ("ue8m0", "e8m0fnu"),
    ],
)
def test_common_speech(word: str, name: str) -> None:
    assert fe.get_format(word) is fe.FORMATS[name]


def test_e4m3_is_the_ieee_style_one_and_e4m3fn_is_ocps() -> None:
    assert (fe.get_format("e4m3").max, fe.get_format("e4m3fn").max) == (240, 448)


@pytest.mark.parametrize("k", [3, 8, 12])
def test_p3109_names_come_back(k: int) -> None:
    for signed in (True, False):
        for p in range(1, k + (not signed)):
            for extended in (True, False):
                fmt = fe.p3109(k, p, signed, extended)
                for name in (fmt.name, fmt.name.title(), fmt.name.replace("binary", "p3109_k")):
                    assert fe.get_format(name) == fmt
                    assert fe.get_format(name).name == fmt.name


def test_a_format_is_its_own_name() -> None:
    mine = fe.Format("mine", k=6, p=3)
    assert fe.get_format(mine) is mine
