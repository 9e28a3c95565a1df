"""The numpy programs of examples/ in bfloat16 and others: bits against loops of exact operations, each then rounded."""

from __future__ import annotations

import sys
from fractions import Fraction
from importlib import util
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracles import assert_bits

import floatemu as fe
from floatemu import reference

PATH = Path(__file__).resolve().parents[2] / "examples" / "numpy_programs_in_bfloat16.py"
FORMATS = ["bfloat16", "binary16", "e5m2", "e4m3fn"]


@pytest.fixture(scope="module")
def programs() -> Any:
    spec = util.spec_from_file_location(PATH.stem, PATH)
    module = util.module_from_spec(spec)
    sys.modules[PATH.stem] = module
    spec.loader.exec_module(module)
    return module


class Rounder:
    """Exact operations on single rationals, rounded by the literal definition, saturating; no array in sight."""

    def __init__(self, name: str) -> None:
        self.fmt, self.by = fe.get_format(name), fe.Projection("TiesToEven", "SatFinite")

    def __call__(self, x: Any) -> Fraction:
        return reference.round(Fraction(x), self.fmt, self.by).value

    def list(self, x: Any) -> list[Any]:
        return [self.list(v) if isinstance(v, list) else self(v) for v in x]

    def dot(self, x: list[Fraction], y: list[Fraction]) -> Fraction:
        products = [self(a * b) for a, b in zip(x, y, strict=True)]
        total = products[0]
        for p in products[1:]:
            total = self(total + p)
        return total

    def norm(self, x: list[Fraction]) -> Fraction:
        square = self.dot(x, x)
        root = Fraction(2 * isqrt(int(square * 4**300)) + 1, 2 ** (301)) if square else Fraction(0)
        whole = Fraction(isqrt(int(square * 4**300)), 2**300)
        return self(whole if whole * whole == square else root)


def wrapped(x: Any, name: str) -> fe.EmulatedArray:
    return fe.asarray(x, name, saturation="SatFinite")


def same(found: fe.EmulatedArray, expected: Any) -> None:
    assert isinstance(found, fe.EmulatedArray)
    floats = np.array(expected, object).astype(np.float64)
    assert_bits(found.values.astype(np.float64) + 0.0, floats)  # rationals have one zero


@pytest.mark.parametrize("name", FORMATS)
def test_runge_kutta(programs: Any, name: str) -> None:
    r, h, y = Rounder(name), 0.125, [1.0, -0.3]
    found = programs.runge_kutta(lambda y: -y, wrapped(y, name), h, 6)
    half, whole, sixth = r(h / 2), r(h), r(h / 6)
    values = r.list(y)
    for _ in range(6):
        for i, v in enumerate(values):
            a = -v
            b = -r(v + r(a * half))
            c = -r(v + r(b * half))
            d = -r(v + r(c * whole))
            slope = r(r(r(a + r(2 * b)) + r(2 * c)) + d)
            values[i] = r(v + r(slope * sixth))
    same(found, values)


def matrix(n: int) -> np.ndarray:
    a = np.random.Generator(np.random.PCG64(11)).standard_normal((n, n))
    return (a + a.T) / 4 + 3 * np.eye(n)


@pytest.mark.parametrize("name", FORMATS)
def test_lu(programs: Any, name: str) -> None:
    r, n = Rounder(name), 5
    a = r.list(matrix(n).tolist())
    for k in range(n - 1):
        for i in range(k + 1, n):
            a[i][k] = r(a[i][k] / a[k][k])
            for j in range(k + 1, n):
                a[i][j] = r(a[i][j] - r(a[i][k] * a[k][j]))
    same(programs.lu(wrapped(matrix(n), name)), a)


@pytest.mark.parametrize("name", FORMATS)
def test_power_iteration(programs: Any, name: str) -> None:
    r, n = Rounder(name), 4
    start = [1.0, -0.5, 0.25, 2.0]
    a, v = r.list(matrix(n).tolist()), r.list(start)
    for _ in range(5):
        w = [r.dot(row, v) for row in a]
        size = r.norm(w)
        v = [r(x / size) for x in w]
    same(
        programs.power_iteration(wrapped(matrix(n), name), wrapped(start, name), 5), r.dot(v, [r.dot(x, v) for x in a])
    )


@pytest.mark.parametrize("name", FORMATS)
def test_k_means(programs: Any, name: str) -> None:
    r = Rounder(name)
    draw = np.random.Generator(np.random.PCG64(5))
    given = np.concatenate([draw.standard_normal((9, 2)) + centre for centre in ([0, 0], [5, 4])])
    points, centres = r.list(given.tolist()), r.list(given[[0, -1]].tolist())
    for _ in range(3):
        groups: list[list[Any]] = [[], []]
        for p in points:
            away = [[r(a - b) for a, b in zip(p, c, strict=True)] for c in centres]
            distance = [r.dot(d, d) for d in away]
            groups[distance.index(min(distance))].append(p)
        for c, members in zip(centres, groups, strict=True):
            for axis in range(2):
                total = members[0][axis]
                for p in members[1:]:
                    total = r(total + p[axis])
                c[axis] = r(total / len(members))
    found = programs.k_means(wrapped(given, name), wrapped(given[[0, -1]], name), 3)
    same(found, centres)
