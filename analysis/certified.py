"""Certified replays: every value of a tape with a proven radius, every decision proven or counted as open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .arithmetics.ball import Ball
from .arithmetics.base import Array
from .arithmetics.float64 import Float64
from .engine import Run, replay
from .measures import norm
from .ops import Kind, get_op
from .tape import Tape

__all__ = ["CAP", "START", "Certificate", "certify"]

START, CAP = 192, 1536
SHARP = 2.0**-64


@dataclass(frozen=True)
class Certificate:
    """What is proven about a run.

    Attributes
    ----------
    bits : int
        Precision of the last pass.
    radii : tuple of (ndarray of float64 or None)
        By node: bounds of |exact value - (value + tail)|; infinite where nothing is known or the value is beyond
        binary64. None for integers and booleans.
    undecided : mapping of int to int
        Decisions, by node, that stayed open at this precision and were taken as the midpoint has it.
    given : tuple of int
        By node: number of undecided decisions that the value rests on; its radius holds given these.

    Examples
    --------
    >>> import analysis as an
    >>> run, proof = certify(an.nets.mlp(batch=4))
    >>> proof.undecided, proof.radii[run.tape.target("loss").id].item() < 1e-25
    ({}, True)
    """

    bits: int
    radii: tuple[Array | None, ...]
    undecided: Mapping[int, int]
    given: tuple[int, ...]

    @property
    def branches(self) -> int:
        """Number of undecided decisions, element by element."""
        return sum(self.undecided.values())

    @property
    def max_radius(self) -> float:
        """Largest radius of any element of any node."""
        return max((float(radius.max()) for radius in self.radii if radius is not None and radius.size), default=0.0)

    def statement(self, node: int | None = None) -> str:
        """Return in words what is proven of one node's value, or of all.

        Parameters
        ----------
        node : int, optional

        Returns
        -------
        str

        Examples
        --------
        >>> Certificate(106, (np.zeros(1), np.zeros(1)), {0: 2}, (0, 2)).statement(1)
        'certified given 2 branches'
        """
        chosen = self.radii if node is None else (self.radii[node],)
        if not all(radius is None or bool(np.isfinite(radius).all()) for radius in chosen):
            return "not certified: a value is unknown or beyond binary64"
        count = self.branches if node is None else self.given[node]
        return "certified" if not count else f"certified given {count} branch{'es' if count > 1 else ''}"


def certify(tape: Tape, bits: int = START, cap: int = CAP) -> tuple[Run, Certificate]:
    """Evaluate a tape in balls, at twice the precision for as long as a decision is open or a radius is large.

    Parameters
    ----------
    tape : Tape
    bits : int
        First precision.
    cap : int
        Largest precision.

    Returns
    -------
    Run
    Certificate

    Raises
    ------
    UnsupportedError
        If the precision is out of range. (Without python-flint importing the module raises it.)
    TapeError
        If the tape's shapes contradict its operations.

    Notes
    -----
    A radius is large when its norm exceeds 2^-64 of the value's norm, unless the value is zero as far as the
    precision can tell: within 40 bits of what it resolves of the tape's largest value.

    Examples
    --------
    >>> import analysis as an
    >>> run, proof = certify(an.nets.chain(1e5, 0.25, 10))
    >>> run.value("result").item(), proof.max_radius, proof.statement()
    (0.095367431640625, 0.0, 'certified')
    """
    replay(tape, Float64())  # what is wrong with the tape itself is said here, by the engine
    while True:
        run, proof = _pass(tape, bits)
        if 2 * bits > cap or not (proof.undecided or _dull(run, proof)):
            return run, proof
        bits *= 2


def _pass(tape: Tape, bits: int) -> tuple[Run, Certificate]:
    ball, plain = Ball(bits), Float64()
    last_use = {ref.node: node.id for node in tape.nodes for ref in node.inputs}
    own: dict[int, Array] = {}
    values: list[Array] = []
    tails: list[Array | None] = []
    radii: list[Array | None] = []
    undecided: dict[int, int] = {}
    open_before: list[frozenset[int]] = []
    for node in tape.nodes:
        spec, sources = get_op(node.op), [ref.node for ref in node.inputs]
        if node.leaf:
            result = ball.lift(tape.data[node.id])
        else:
            ball.undecided = None
            result = np.asarray(spec.forward(ball, [own[i] for i in sources], node.attributes))
        own[node.id] = result
        for i in {*sources, node.id}:  # balls take a hundred bytes each, what is kept of them 24
            if last_use.get(i, i) <= node.id:
                del own[i]
        rests = frozenset[int]().union(*(open_before[i] for i in sources))
        if spec.kind is Kind.BRANCH and ball.undecided is not None:
            undecided[node.id] = int(np.count_nonzero(ball.undecided))
            rests |= {node.id}
        open_before.append(rests)
        if result.dtype != object:
            head, tail, radius = result, None, None
        elif spec.kind is Kind.MOVE:  # moved as the balls were: what is known of them need not be found again
            head, tail, known = (
                np.asarray(spec.forward(plain, [_either(x[i], values[i]) for i in sources], node.attributes))
                for x in (values, tails, radii)
            )
            if np.signbit(known).any() or np.signbit(head).any():  # negated: zero has no sign, nor has a radius
                head, known = head + 0.0, np.abs(known)
            radius = known
        else:
            head, tail, radius = ball.enclose(result)
        values.append(head)
        tails.append(tail)
        radii.append(radius)
    run = Run(
        tape,
        f"{ball.name} {bits} bits",
        tuple((value,) for value in values),
        tuple((tail,) for tail in tails),
        (None,) * len(tape),
        (),
    )
    given = tuple(sum(undecided[i] for i in rests) for rests in open_before)
    return run, Certificate(bits, tuple(radii), undecided, given)


def _either(known: Array | None, value: Array) -> Array:
    return value if known is None else known


def _dull(run: Run, proof: Certificate) -> bool:
    largest = max(norm(value[0][np.isfinite(value[0])]) for value in run.values if value[0].dtype.kind == "f")
    noise = largest * 2.0 ** (40 - proof.bits)
    for value, radius in zip(run.values, proof.radii):
        if radius is None:
            continue
        inside = ~np.isinf(value[0])  # beyond binary64, no precision helps
        size, doubt = norm(value[0][inside & ~np.isnan(value[0])]), norm(radius[inside])
        if doubt > SHARP * size and not size + doubt <= noise:
            return True
    return False
