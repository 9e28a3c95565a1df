"""The portable elementary functions against mpmath, and at the special values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mpmath.ctx_mp import MPContext

from analysis.arithmetics import elementary

CASES = [
    ("exp", -700.0, 709.0, 1.0),
    ("exp", -1.0, 1.0, 1.0),
    ("log", 1e-3, 3.0, 1.0),
    ("log", 1e-300, 1e300, 1.0),
    ("tanh", -1.2, 1.2, 2.0),
    ("tanh", -1e-3, 1e-3, 2.0),
    ("tanh", -20.0, 20.0, 2.0),
    ("erf", -6.0, 6.0, 3.0),
    ("erf", 1.3, 1.6, 3.0),
    ("erf_slope", -5.0, 5.0, 4.0),
    ("sin", -1.0, 1.0, 1.0),
    ("sin", -100.0, 100.0, 1.0),
    ("sin", -(2.0**20), 2.0**20, 1.0),
    ("sin", 1e6, 1e300, 1.0),
    ("cos", -1.0, 1.0, 1.0),
    ("cos", -100.0, 100.0, 1.0),
    ("cos", -(2.0**20), 2.0**20, 1.0),
    ("cos", 1e6, 1e300, 1.0),
]


@pytest.mark.parametrize(("name", "low", "high", "limit"), CASES)
def test_error_in_ulps_stays_below_what_the_docstrings_promise(
    name: str, low: float, high: float, limit: float
) -> None:
    mp = MPContext()
    mp.prec = 120
    x = np.random.default_rng(7).uniform(low, high, 400)
    y = getattr(elementary, name)(x)
    slope = 2 / mp.sqrt(mp.pi)
    function = (lambda value: slope * mp.exp(-value * value)) if name == "erf_slope" else getattr(mp, name)
    exact = [function(mp.mpf(float(value))) for value in x]
    errors = [abs((mp.mpf(float(a)) - b) / mp.mpf(float(np.spacing(abs(a))))) for a, b in zip(y, exact, strict=True)]
    assert float(max(errors)) < limit


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sine_and_cosine_next_to_their_zeros(name: str) -> None:
    # what is left of x after the multiple of pi/2 is tiny there: a reduction with too few bits of pi shows at once
    mp = MPContext()
    mp.prec = 1400
    multiples = np.random.default_rng(3).integers(1, 667_543, 300)
    near = np.array([float(mp.pi / 2 * int(k)) for k in multiples])
    worst = math.ldexp(6381956970095103.0, 797)  # of all binary64 numbers the nearest to a multiple of pi/2
    x = np.concatenate([near, np.nextafter(near, 0.0), [worst]])
    for given, found in zip(x.tolist(), getattr(elementary, name)(x).tolist(), strict=True):
        true = getattr(mp, name)(mp.mpf(given))
        assert abs(found - true) < mp.mpf(float(np.spacing(abs(found)))), given


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("exp", [0.0, -0.0, math.inf, -math.inf, 710.0, -746.0], [1.0, 1.0, math.inf, 0.0, math.inf, 0.0]),
        ("log", [1.0, 0.0, -0.0, math.inf, 5e-324], [0.0, -math.inf, -math.inf, math.inf, -744.4400719213812]),
        ("tanh", [0.0, math.inf, -math.inf, 1e-310], [0.0, 1.0, -1.0, 1e-310]),
        ("erf", [0.0, math.inf, -math.inf], [0.0, 1.0, -1.0]),
        ("sin", [0.0, 1e-310, -1e-5], [0.0, 1e-310, -9.999999999833334e-06]),
        ("cos", [0.0, -0.0, 1e-310], [1.0, 1.0, 1.0]),
    ],
)
def test_special_values(name: str, inputs: list[float], outputs: list[float]) -> None:
    assert getattr(elementary, name)(np.array(inputs)).tolist() == outputs


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "erf", "sin", "cos"])
def test_nan_stays_nan_and_negative_logarithms_are_nan(name: str) -> None:
    assert np.isnan(getattr(elementary, name)(np.array([np.nan])))[0]
    assert np.isnan(elementary.log(np.array([-1.0])))[0]
    if name in ("sin", "cos"):
        assert np.isnan(getattr(elementary, name)(np.array([np.inf, -np.inf]))).all()


@pytest.mark.parametrize("name", ["tanh", "erf", "sin"])
def test_odd_functions_are_odd_to_the_bit(name: str) -> None:
    x = np.random.default_rng(3).uniform(-4, 4, 300)
    function = getattr(elementary, name)
    assert np.array_equal(function(-x), -function(x))
    assert np.signbit(function(np.array([-0.0])))[0]


FIXED = {
    "exp": ["0x1.1aec7b35a00d4p+0", "0x1.5bf0a8b145769p+1", "0x1.85d6fd931e0bbp+3", "0x1.ceb088b68e804p+28"],
    "log": ["-0x1.26bb1bbb55515p+1", "0x0.0p+0", "0x1.d5240f0e0e078p-1", "0x1.7f7427b73e391p+1"],
    "tanh": ["0x1.983d7795f413ap-4", "0x1.85efab514f394p-1", "0x1.f9258260a71c2p-1", "0x1.0000000000000p+0"],
    "sin": ["0x1.98eaecb8bcb2cp-4", "0x1.aed548f090ceep-1", "0x1.326af0dcfcab0p-1", "0x1.d36d8f55d3ce0p-1"],
    "cos": ["0x1.fd712f9a817c1p-1", "0x1.14a280fb5068cp-1", "-0x1.9a2f7ef858b7dp-1", "0x1.a1e043964a83fp-2"],
    "erf": ["0x1.cca5ea24fb334p-4", "0x1.af767a741088ap-1", "0x1.ffcaa8f4c9beap-1", "0x1.0000000000000p+0"],
}


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("repeat", [1, 3, 16])
def test_the_bits_are_the_same_for_every_memory_layout(name: str, repeat: int) -> None:
    x = np.repeat(np.array([0.1, 1.0, 2.5, 20.0]), repeat)[::repeat]
    assert [value.hex() for value in getattr(elementary, name)(x).tolist()] == FIXED[name]
