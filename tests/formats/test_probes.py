"""Probes of casts: every number of 16 bits, both sides of every value and tie, NaNs of many kinds."""

import numpy as np
import pytest

import floatemu as fe
from floatemu.probes import NANS, SOURCES, probes


@pytest.mark.parametrize("source", ["binary32", "binary64"])
@pytest.mark.parametrize("target", ["e4m3fn", "binary16", "e8m0fnu"])
def test_probes_lie_on_both_sides_of_every_tie(source, target):
    fmt = fe.get_format(target)
    x = probes(source, fmt)
    known = np.unique(fe.values(fmt)[np.isfinite(fe.values(fmt))])
    ties = ((known[1:] + known[:-1]) / 2).astype(x.dtype)
    assert np.isin(ties, x).all()
    for side in (-np.inf, np.inf):
        assert np.isin(np.nextafter(ties, x.dtype.type(side)), x).all()
    assert np.isnan(x).any()
    assert np.isinf(x).sum() >= 2
    assert np.signbit(x[x == 0]).any()


@pytest.mark.parametrize("source", ["binary32", "binary64"])
def test_ends_and_multiples(source):
    x = probes(source, "e4m3fn")
    assert x.size % 64 == 0
    bits = x.view(f"u{x.itemsize}")
    if source == "binary32":
        assert np.isin(np.array(NANS, np.uint32), bits).all()
    else:
        signalling = 0x7FF0000000000001
        assert np.isin(np.array([signalling, 0x7FFFFFFFE0000000], np.uint64), bits).all()
    assert np.array_equal(x.view(np.uint8), probes(source, "e4m3fn").view(np.uint8))


def test_all_numbers_of_sixteen_bits():
    assert np.unique(probes("binary16", "e5m2").view(np.uint16)).size == 65536
    x = probes("bfloat16", "e5m2")
    assert np.unique(x.view(np.uint32)).size == 65536
    assert (x.view(np.uint32) & 0xFFFF).max() == 0


def test_integers_hold_what_double_rounding_moves():
    x = probes("int64", "bfloat16")
    assert np.isin([2**24 + 2**16 + 1, 0, -(2**62)], x).all()


def test_refusals():
    with pytest.raises(fe.UnsupportedError, match=f"accepted: {', '.join(SOURCES)}"):
        probes("binary8", "e5m2")
    with pytest.raises(fe.UnsupportedError, match="at most 16 bits"):
        probes("binary64", "binary32")
