"""Run manifests: what it takes to know what a file shows, and to make it again."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, Protocol

from ..attribution import Attribution
from ..comparison import NodeReport, TargetReport
from ..diagnosis import Diagnosis
from ..dynamics import Growth, LossScale
from ..engine import Run
from ..events import Event
from ..policy import Numerics, Policy
from ..reference import Reference
from ..tape import Tape
from ..terminal import plain, version
from .histogram import Histogram

__all__ = ["SCHEMA", "Found", "manifest"]

SCHEMA = "floatemu.manifest/1"
LIBRARIES = ("numpy", "numba", "mpmath", "gmpy2", "python-flint")


class Found(Protocol):
    """What a report needs of an analysis: :class:`analysis.results.Analysis` has all of it."""

    @property
    def tape(self) -> Tape: ...
    @property
    def policy(self) -> Policy: ...
    @property
    def reference(self) -> Reference: ...
    @property
    def runs(self) -> Mapping[str, Run]: ...
    @property
    def main(self) -> str: ...
    @property
    def nodes(self) -> tuple[NodeReport, ...]: ...
    @property
    def events(self) -> tuple[Event, ...]: ...
    def histogram(self, node: int) -> tuple[Histogram, Histogram] | None: ...
    def target(self, name: str) -> TargetReport: ...
    def attribution(self, name: str | None = None, functional: str | Sequence[int] | None = None) -> Attribution: ...
    def diagnose(self, name: str | None = None) -> tuple[Diagnosis, ...]: ...
    def growth(self) -> dict[str, Growth]: ...
    def loss_scale(self) -> LossScale: ...
    def verdict(self, name: str | None = None) -> str: ...
    def to_json(self) -> dict[str, Any]: ...


def manifest(found: Found) -> dict[str, Any]:
    """Return what an analysis was made of: versions, the tape with seed and shapes, policy, reference, target.

    Parameters
    ----------
    found : Analysis

    Returns
    -------
    dict
        JSON values. No date: the same analysis gives the same files.

    Examples
    --------
    >>> import analysis as an
    >>> made = manifest(an.analyze(an.nets.mlp(batch=8, seed=3), "bf16", "float64"))
    >>> made["tape"]["meta"]["seed"], made["policy"]["rules"][0]["result"]
    (3, 'bfloat16')
    >>> [leaf["shape"] for leaf in made["tape"]["leaves"] if leaf["role"] == "input"]
    [[8, 64]]
    """
    tape = found.tape
    made = plain(
        {
            "schema": SCHEMA,
            "versions": _versions(),
            "tape": {
                "name": tape.name,
                "meta": dict(tape.meta),
                "nodes": len(tape),
                "data_sha256": _digest(tape),
                "leaves": [
                    {"node": node.id, "role": node.op, "path": node.path, "shape": node.shape}
                    for node in tape.nodes
                    if node.leaf
                ],
                "targets": {
                    name: {"node": ref.node, "shape": tape.nodes[ref.node].outputs[ref.output].shape}
                    for name, ref in tape.targets.items()
                },
            },
            "policy": {
                "name": found.policy.name,
                "seed": found.policy.seed,
                "rules": [
                    {"op": rule.op, "path": rule.path, "direction": rule.direction, "output": rule.output}
                    | _numerics(rule.numerics)
                    for rule in found.policy.rules
                ],
            },
            "reference": found.reference.to_json(),
            "target": found.main,
        }
    )
    assert isinstance(made, dict)
    return made


def _versions() -> dict[str, str]:
    found = {"floatemu": version(), "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found | {"system": f"{platform.system()} {platform.machine()}, {sys.byteorder} endian"}


def _digest(tape: Tape) -> str:
    """SHA-256 of the data of all leaves, in order: other data under the same arguments shows here."""
    digest = hashlib.sha256()
    for index in sorted(tape.data):
        array = tape.data[index]
        digest.update(f"{index} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _numerics(given: Numerics) -> dict[str, Any]:
    names = {key: getattr(given, key) for key in ("operands", "gradients", "accumulate", "result")}
    return {key: getattr(fmt, "name", None) for key, fmt in names.items()} | {
        "order": given.order,
        "rounding": given.projection.rounding.name,
        "saturation": given.projection.saturation.name,
        "random_bits": given.projection.random_bits,
        "unit": None if given.unit is None else str(given.unit),
    }
