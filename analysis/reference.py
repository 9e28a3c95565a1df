"""References: the replay that all others are measured against, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import floatemu as fe
from floatemu.errors import UnsupportedError

from .arithmetics.base import Array
from .arithmetics.exact import Exact
from .arithmetics.float64 import Float64
from .engine import Run, replay
from .measures import norm, relative_error
from .ops import Kind, get_op
from .policy import Numerics, Policy, Rule
from .tape import ROLES, Tape, Value

if TYPE_CHECKING:
    from .certified import Certificate

__all__ = ["KINDS", "Reference", "finest_unit", "reference", "shadow_error"]

KINDS = ("mpmath", "ball", "float64", "auto")
START_BITS = 106
MAX_BITS = 1696
STABLE = 2.0**-64
MAX_PRODUCTS = 3 * 10**8
MAX_NUMBERS = 5 * 10**6
MAX_BALL_PRODUCTS = 10**10
MAX_BALL_NUMBERS = 3 * 10**7
SHADOW = 1e-3
PROBE_LIMIT = 2.0**-6
_PROBE = fe.Format(name="40 bits in binary64's range", k=51, p=40, high_nans=2**39 - 1)


@dataclass(frozen=True)
class Reference:
    """A run taken as exact.

    Attributes
    ----------
    run : Run
    kind : str
        "mpmath", "ball" or "float64".
    bits : int
        Precision of the run.
    checked : bool
        Whether the run at half the precision took the same decisions and agreed to 2^-64 at every node.
    certificate : Certificate or None
        What is proven of a "ball" reference.
    note : str
        Why "auto" left binary64; empty otherwise.
    estimate : float or None
        What "auto" estimated binary64's relative error to be, at the worst target.

    Examples
    --------
    >>> import analysis as an
    >>> reference(an.nets.chain(1e5, 0.25, 10)).bits
    212
    """

    run: Run
    kind: str
    bits: int
    checked: bool
    certificate: Certificate | None = None
    note: str = ""
    estimate: float | None = None

    def radius(self, what: Value | int | str) -> Array | None:
        """Return proven bounds of |exact value - reference| for a target name, node id or :class:`Value`.

        Parameters
        ----------
        what : Value, int or str

        Returns
        -------
        ndarray of float64 or None
            None where nothing is proven, and for decisions.
        """
        if self.certificate is None:
            return None
        if isinstance(what, str):
            what = self.run.tape.target(what).id
        return self.certificate.radii[what.node if isinstance(what, Value) else what]

    def to_json(self) -> dict[str, Any]:
        """Return the contract's ``reference`` object.

        mpmath agrees with itself at half the precision, which is evidence, not proof: only balls are "certified",
        and only if every decision on the way was proven too. ``given`` counts, for each target, the decisions that
        were not.

        Returns
        -------
        dict
        """
        found = {
            "kind": self.kind,
            "bits": self.bits,
            "certified": False,
            "max_radius": None,
            "undecided_branches": None,
            "stable_under_doubling": self.checked,
            "statement": self.statement(),
            "note": self.note,
            "estimated_error_of_float64": self.estimate,
        }
        if self.certificate is not None:
            targets = {name: ref.node for name, ref in self.run.tape.targets.items()}
            found |= {
                "certified": self.statement() == "certified",
                "max_radius": self.certificate.max_radius,
                "undecided_branches": self.certificate.branches,
                "radii": {name: _largest(self.certificate.radii[node]) for name, node in targets.items()},
                "given": {name: self.certificate.given[node] for name, node in targets.items()},
            }
        return found

    def about(self, node: int) -> dict[str, Any]:
        """Return what is proven of one node, to stand beside what was measured there.

        Parameters
        ----------
        node : int

        Returns
        -------
        dict
            ``reference_radius``, the largest of its elements (None for decisions), and ``reference_given``, the number
            of open decisions it rests on; empty where nothing is proven.
        """
        if self.certificate is None:
            return {}
        radius = _largest(self.certificate.radii[node])
        return {"reference_radius": radius, "reference_given": self.certificate.given[node]}

    def statement(self, target: str | None = None) -> str:
        """Return in a few words how far the reference, or one target of it, can be trusted.

        Parameters
        ----------
        target : str, optional

        Returns
        -------
        str

        Examples
        --------
        >>> import analysis as an
        >>> tape = an.nets.chain(1e5, 0.25, 10)
        >>> [reference(tape, kind).statement("result") for kind in ("float64", "mpmath")]
        ['unchecked', 'stable under doubling of the precision']
        """
        if self.certificate is not None:
            return self.certificate.statement(None if target is None else self.run.tape.target(target).id)
        if self.checked:
            return "stable under doubling of the precision"
        return "unchecked" if self.estimate is None else f"unchecked, but estimated to be off by {self.estimate:.1g}"

    def remarks(self, target: str) -> list[str]:
        """Return what a verdict on a target must add about the reference.

        Parameters
        ----------
        target : str

        Returns
        -------
        list of str
            Sentences: why "auto" left binary64 behind, what a certificate leaves open, and whether the value cannot
            be told from zero.
        """
        said = [f"{self.note[0].upper()}{self.note[1:]}."] if self.note else []
        if self.certificate is not None and (words := self.statement(target)) != "certified":
            said.append(f"The reference is {words}.")
        radius, value = self.radius(target), self.run.value(target)
        if radius is not None and radius.any() and norm(value) <= norm(radius):
            said.append(f"The exact {target} is zero as far as {self.bits} bits tell.")
        return said


def _largest(radius: Array | None) -> float | None:
    return None if radius is None else float(radius.max(initial=0.0))


def reference(tape: Tape, kind: str = "mpmath", bits: int | None = None, unit: float = 2.0**-24) -> Reference:
    """Return a reference run of a tape.

    Parameters
    ----------
    tape : Tape
    kind : str
        "mpmath": evaluated at ``bits`` and at twice as many; if the two disagree, the precision is doubled again.
        "ball": every value with a proven radius (extra ``flint``); precision is doubled while a decision stays open
        or a radius large, up to 1536 bits. "float64": one binary64 replay, unchecked. "auto": "float64" where its
        error, estimated, stays below a thousandth of ``unit`` at every target; otherwise "ball", or "mpmath" without
        python-flint.
    bits : int, optional
        First precision; default 106 for "mpmath", 192 for "ball".
    unit : float
        For "auto": unit roundoff u = 2^-p of the finest format to be judged. Default: binary32's.

    Returns
    -------
    Reference

    Raises
    ------
    UnsupportedError
        If the kind is unknown, if "ball" lacks python-flint, if it would take many minutes or gigabytes, or if
        "mpmath" still disagrees with itself at 1696 bits; the message then names the node.

    Examples
    --------
    >>> import analysis as an
    >>> reference(an.nets.chain(1e5, 0.25, 10), "float64").run.value("result").item()
    0.095367431640625
    """
    if kind not in KINDS:
        raise UnsupportedError(f"reference={kind!r}; accepted: {', '.join(KINDS)}")
    if kind == "float64":
        return Reference(replay(tape, Float64()), kind, 53, False)
    if kind == "auto":
        return _auto(tape, unit)
    if kind == "ball":
        _check_cost(tape, "a reference of balls", MAX_BALL_PRODUCTS, MAX_BALL_NUMBERS)
        from .certified import certify  # which needs the extra

        run, proof = certify(tape) if bits is None else certify(tape, bits)
        return Reference(run, kind, proof.bits, False, proof)
    _check_cost(tape, "an mpmath reference", MAX_PRODUCTS, MAX_NUMBERS)
    bits = START_BITS if bits is None else bits
    coarse = replay(tape, Exact(bits))
    while True:
        fine = replay(tape, Exact(2 * bits))
        moved = _first_difference(coarse, fine, bits)
        if moved is None:
            return Reference(fine, kind, 2 * bits, True)
        if 2 * bits >= MAX_BITS:
            label = tape.nodes[moved].label
            raise UnsupportedError(
                f"{tape.name}: {label} still changes at {2 * bits} bits; there is no stable reference"
            )
        coarse, bits = fine, 2 * bits


def shadow_error(tape: Tape, base: Run | None = None) -> dict[str, float]:
    """Estimate, for each target, how far a binary64 replay is from the exact value.

    Parameters
    ----------
    tape : Tape
    base : Run, optional
        The binary64 replay, if there is one already.

    Returns
    -------
    dict of str to float
        kappa 2^-53, relative to the target's norm; infinite where the estimate is out of its depth.

    Notes
    -----
    The tape is replayed once more, results (not leaves) rounded to 40 bits in binary64's range, decisions pinned. To
    first order both replays' errors are kappa times their unit roundoff, kappa the condition number of the whole
    computation of the target, so that binary64's is 2^-13 of the difference. Above 2^-6 the difference is not of
    first order, and says only that kappa is large.

    Examples
    --------
    >>> import analysis as an
    >>> shadow_error(an.nets.mlp(batch=4))["loss"] < 2.0**-48
    True
    """
    base = replay(tape, Float64()) if base is None else base
    exact_leaves = Rule(Numerics(), op="|".join(ROLES))
    coarse = replay(tape, Policy("probe", (exact_leaves, Rule(Numerics(result=_PROBE)))), pinned=base)
    found = {}
    for name in tape.targets:
        error = relative_error(coarse.value(name).astype(np.float64), base.value(name).astype(np.float64))
        found[name] = error * 2.0 ** (_PROBE.p - 53) if error <= PROBE_LIMIT else np.inf
    return found


def finest_unit(tape: Tape, policies: Sequence[Policy]) -> float:
    """Return the smallest unit roundoff 2^-p among the formats that policies give a tape's results.

    Parameters
    ----------
    tape : Tape
    policies : sequence of Policy

    Returns
    -------
    float
        2^-53 where a result stays binary64.

    Examples
    --------
    >>> import analysis as an
    >>> finest_unit(an.nets.chain(1.0, 0.5, 3), [Policy.named("bf16"), Policy.named("fp16")]) == 2.0**-11
    True
    """
    bits = 1
    for node in tape.nodes:
        if get_op(node.op).kind in (Kind.LEAF, Kind.COMPUTE) and node.outputs[0].dtype == "float64":
            formats = [policy.numerics(node).format for policy in policies]
            bits = max([bits, *(53 if fmt is None else fmt.p for fmt in formats)])
    return 2.0**-bits


def _auto(tape: Tape, unit: float) -> Reference:
    base = replay(tape, Float64())
    errors = shadow_error(tape, base)
    worst = max(errors, key=lambda name: errors[name], default=None)
    limit = SHADOW * unit
    estimate = None if worst is None else errors[worst]
    if worst is None or errors[worst] <= limit:
        return Reference(base, "float64", 53, False, estimate=estimate)
    amount = f"{errors[worst]:.2g}" if np.isfinite(errors[worst]) else "beyond any estimate"
    weak = f"binary64 is too weak a reference for {worst} (error {amount}, {limit:.2g} allowed)"
    refusals = []
    for kind, used in (("ball", "certified balls"), ("mpmath", "mpmath")):
        try:
            chosen = reference(tape, kind)
        except UnsupportedError as error:
            refusals.append(str(error))
        else:
            note = f"{weak}: {used} of {chosen.bits} bits took its place"
            return replace(chosen, note=note, estimate=estimate)
    note = f"{weak}, and no better one is in reach: {'; '.join(refusals)}"
    return Reference(base, "float64", 53, False, note=note, estimate=estimate)


def _check_cost(tape: Tape, what: str, most_products: int, most_numbers: int) -> None:
    if (products := _products(tape)) > most_products:
        raise UnsupportedError(
            f"{tape.name}: {what} of {products:.2g} multiplications in matrix products would take many "
            f"minutes; the limit is {most_products:.2g}; use reference='float64' or a smaller net or batch"
        )
    if (numbers := sum(output.size for node in tape.nodes for output in node.outputs)) > most_numbers:
        raise UnsupportedError(
            f"{tape.name}: {what} would hold {numbers:.2g} numbers; the limit, for time and memory, is "
            f"{most_numbers:.2g}; use reference='float64' or a smaller net or batch"
        )


def _products(tape: Tape) -> int:
    total = 0
    for node in tape.nodes:
        if node.op == "matmul":
            left = node.inputs[0]
            total += node.outputs[0].size * tape.nodes[left.node].outputs[left.output].shape[-1]
    return total


def _first_difference(coarse: Run, fine: Run, bits: int) -> int | None:
    # What is zero in exact arithmetic comes out as noise, of which no digit is stable, but which shrinks with the
    # precision: a value within 40 bits of the finer run's resolution, relative to the tape's largest, is zero.
    # Infinities, such as the scores that a mask leaves out, say nothing about that.
    numbers = (value[0] for value in fine.values if value[0].dtype.kind == "f")
    largest = max((norm(value[np.isfinite(value)]) for value in numbers), default=0.0)
    noise = largest * 2.0 ** (40 - 2 * bits) if np.isfinite(largest) else 0.0
    for index, (a, b) in enumerate(zip(coarse.values, fine.values)):
        if a[0].dtype.kind != "f":
            if not np.array_equal(a[0], b[0]):
                return index
            continue
        if not _close(a[0], b[0], coarse.tail(index), fine.tail(index), noise):
            return index
    return None


def _close(a: Any, b: Any, a_tail: Any, b_tail: Any, noise: float) -> bool:
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    if not np.isfinite(a[finite]).all():
        return False
    difference = norm((a[finite] - b[finite]) + (a_tail[finite] - b_tail[finite]))
    size = norm(b[finite])
    return difference <= STABLE * size or size <= noise
