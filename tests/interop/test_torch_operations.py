"""The core's rounding text in torch's integer operations: the bits of the kernels, for every narrow format and mode."""

import numpy as np
import pytest

pytest.importorskip("torch.nn", reason="torch is not installed")
import torch
from torch_numbers import DOUBLES, HALVES, NARROW, SINGLES, near

import floatemu as fe
from floatemu.interop.torch import elementwise
from floatemu.projecting import Request


def projected(x, request, coded):
    return elementwise.project(torch.from_numpy(x), request, coded=coded).numpy()


@pytest.mark.parametrize("mode", fe.Rounding, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", NARROW)
def test_every_binary16_number_and_samples_of_wider_ones(name, mode):
    fmt = fe.FORMATS[name]
    bits = 9 if mode.stochastic else None
    settings = {"random_bits": bits, "seed": 3, "stream": 4, "nan": "max"}
    request = Request.make(fmt, mode, "SAT_NONE", bits, None, 3, 4, "max")
    for x in (HALVES, *near(fmt)):
        got = projected(x, request, False)
        want = fe.round(x, fmt, mode, dtype=got.dtype, **settings)
        assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("saturation", fe.Saturation, ids=lambda saturation: saturation.name)
@pytest.mark.parametrize("name", NARROW)
def test_codes(name, saturation):
    fmt = fe.FORMATS[name]
    for mode in (fe.Rounding.NEAREST_TIES_TO_EVEN, fe.Rounding.TO_ODD):
        request = Request.make(fmt, mode, saturation, None, None, None, 0, "zero")
        for x in near(fmt):
            want = fe.encode(x, fmt, mode, saturation=saturation, nan="zero")
            assert np.array_equal(projected(x, request, True), want)


@pytest.mark.parametrize("bits", [1, 31, 32])
def test_counts_of_random_bits(bits):
    for mode in ("stochastic_a", "stochastic_b", "stochastic_c"):
        request = Request.make(fe.FORMATS["e5m2"], mode, "SAT_NONE", bits, None, 2**63 + 5, -1, None)
        for x in (SINGLES, DOUBLES):
            want = fe.round(x, "e5m2", mode, random_bits=bits, seed=2**63 + 5, stream=-1)
            assert projected(x, request, False).tobytes() == want.tobytes()


def test_wide_formats_and_formats_without_subnormals_or_infinities():
    flushing = fe.Format("flushing", k=8, p=4, subnormals=False, high_nans=1)
    formats = [fe.get_format(name) for name in ("binary32", "binary64", "tf32", "binary8p1se", "binary12p5uf")]
    for fmt in (flushing, *formats):
        for x in (SINGLES, DOUBLES):
            if elementwise.carrier(torch.from_numpy(x).dtype, fmt) is None:
                continue
            request = Request.make(fmt, "NEAREST_TIES_TO_AWAY", "SAT_PROPAGATE", None, None, None, 0, "zero")
            got = projected(x, request, False)
            want = fe.round(x, fmt, "rna", saturation="SAT_PROPAGATE", nan="zero", dtype=got.dtype)
            assert got.tobytes() == want.tobytes()


def test_what_no_carrier_serves():
    assert elementwise.carrier(torch.float32, fe.FORMATS["e8m0fnu"]) is None
    assert elementwise.carrier(torch.int64, fe.FORMATS["e5m2"]) is None
    assert elementwise.carrier(torch.int32, fe.FORMATS["e5m2"]) is torch.float64
    assert elementwise.carrier(torch.bfloat16, fe.FORMATS["binary64"]) is torch.float64
