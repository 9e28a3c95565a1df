"""Leaves: a tape's data. Their rule is the identity; rounding them is the cast."""

from __future__ import annotations

from ..ops.spec import Kind, OpSpec, register
from ..tape import ROLES

__all__: list[str] = []

register(*(OpSpec(role, 1, Kind.LEAF, lambda ar, x, _: x[0]) for role in ROLES))
