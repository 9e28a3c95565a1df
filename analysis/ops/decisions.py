"""Comparisons of every kind and logic on what they decide: what masks of recorded programs are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arithmetics.base import Arithmetic, Array
from ..ops.spec import Attributes, Kind, OpSpec, register

__all__: list[str] = []


def _compare(ar: Arithmetic, x: Sequence[Array], attributes: Attributes) -> Array:
    # IEEE 754, 5.11: with a NaN on either side only "ne" holds
    wanted = attributes["relation"]
    above = ar.greater(x[0], x[1])
    if wanted == "gt":
        return above
    below = ar.greater(x[1], x[0])
    if wanted == "lt":
        return below
    unordered = np.isnan(ar.lower(x[0])[0]) | np.isnan(ar.lower(x[1])[0])
    differ = above | below | unordered
    found: Array = {"ge": ~(below | unordered), "le": ~(above | unordered), "eq": ~differ, "ne": differ}[wanted]
    return found


def _both(ar: Arithmetic, x: Sequence[Array], attributes: Attributes) -> Array:
    rule = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}[attributes["relation"]]
    return np.asarray(rule(x[0], x[1]))


register(
    OpSpec("compare", 2, Kind.BRANCH, _compare),
    OpSpec("both", 2, Kind.BRANCH, _both),
    OpSpec("not", 1, Kind.BRANCH, lambda ar, x, _: np.logical_not(x[0])),
    OpSpec("any", 1, Kind.BRANCH, lambda ar, x, a: np.asarray(np.any(x[0], axis=a["axis"], keepdims=a["keepdims"]))),
)
