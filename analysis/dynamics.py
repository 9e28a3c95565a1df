"""Growth of gradients along depth or time, and the loss scales that keep them in range."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

import floatemu as fe
from floatemu.errors import UnsupportedError

from .arithmetics.base import Array
from .arithmetics.emulated import Rounder
from .engine import Run
from .measures import norm
from .ops.builder import Builder
from .tape import Node, Tape, Value

__all__ = ["Growth", "LossScale", "Stage", "backward_seed", "growth", "loss_scale", "stages"]

FLUSHED = 0.01
"""Share of a gradient's nonzero elements that a loss scale may leave below the format."""


@dataclass(frozen=True)
class Stage:
    """A cut through the forward pass: the values that all later ones are computed from.

    Attributes
    ----------
    name : str
        Layer, or "step 3".
    nodes : tuple of int
        Nodes whose values cross the cut; parameters and inputs do not count.

    Examples
    --------
    >>> Stage("step 1", (7,)).name
    'step 1'
    """

    name: str
    nodes: tuple[int, ...]


@dataclass(frozen=True)
class Growth:
    """How fast a gradient grows on its way back through the stages of a tape.

    Attributes
    ----------
    stages : tuple of str
        From the last to the first, as the gradient travels.
    norms : tuple of float
        Norm of the gradient of the loss at each stage.
    exponents : tuple of float
        Lyapunov exponents per stage, largest first: mean of ln of the factor by which orthonormal directions grow.
    rate : float
        Geometric mean of the factors of the norm per stage: above 1 the gradient explodes, below it vanishes.
    amax : float
        Largest magnitude of the gradient at its start.

    Examples
    --------
    >>> Growth(("a", "b"), (1.0, 1.5), (0.4,), 1.5, 1.0).overflow_stage(fe.get_format("binary16"))
    28
    """

    stages: tuple[str, ...]
    norms: tuple[float, ...]
    exponents: tuple[float, ...]
    rate: float
    amax: float

    def overflow_stage(self, fmt: fe.Format | str) -> int | None:
        """Return after how many stages at this rate the largest element leaves a format; None if never.

        Parameters
        ----------
        fmt : Format or str

        Returns
        -------
        int or None
            The least t with amax rate^t beyond the largest finite value.
        """
        limit = Fraction(fe.get_format(fmt).max)
        return self._crossing(limit, self.rate > 1, lambda x: x > limit)

    def underflow_stage(self, fmt: fe.Format | str) -> int | None:
        """Return after how many stages at this rate even the largest element becomes zero; None if never.

        Parameters
        ----------
        fmt : Format or str

        Returns
        -------
        int or None
            The least t with amax rate^t at or below half of the smallest positive value.
        """
        limit = Fraction(fe.get_format(fmt).min_positive) / 2
        return self._crossing(limit, self.rate < 1, lambda x: x <= limit)

    def _crossing(self, limit: Fraction, nears: bool, crossed: Callable[[Fraction], bool]) -> int | None:
        if not (self.rate > 0 and self.amax > 0) or not math.isfinite(self.rate * self.amax):
            return None
        if crossed(Fraction(self.amax)):
            return 0
        if not nears:
            return None
        # Logarithms find the place, exact powers decide between its neighbours.
        near = max(math.floor((_log2(limit) - math.log2(self.amax)) / math.log2(self.rate)) - 1, 1)
        return next(t for t in range(near, near + 4) if crossed(Fraction(self.amax) * Fraction(self.rate) ** t))

    def to_json(self) -> dict[str, Any]:
        """Return the growth as a JSON object.

        Returns
        -------
        dict
        """
        return dict(self.__dict__)


def stages(tape: Tape) -> tuple[Stage, ...]:
    """Cut a tape's forward pass into its time steps or, where it has none, its layers.

    Parameters
    ----------
    tape : Tape

    Returns
    -------
    tuple of Stage
        In order. A stage's nodes are what later stages use of it and all before, without leaves.

    Examples
    --------
    >>> import analysis as an
    >>> [stage.name for stage in stages(an.nets.mlp((64, 16, 16, 10), batch=4))]
    ['layer0', 'layer1', 'layer2']
    """
    forward = [node for node in tape.nodes if node.direction == "forward" and not node.leaf]
    timed = any(node.step is not None for node in forward)
    place: dict[int, str] = {}
    order: list[str] = []
    name = ""
    for node in forward:
        if timed:
            name = name if node.step is None else f"step {node.step}"
        else:
            name = node.path.split(".")[0] or name
        place[node.id] = name
        if name and name not in order:
            order.append(name)
    rank = {name: index for index, name in enumerate(order)}
    users: dict[int, int] = {}
    for node in forward:
        for ref in node.inputs:
            if ref.node in place and place[node.id]:
                users[ref.node] = max(users.get(ref.node, -1), rank[place[node.id]])
    crossing: list[list[int]] = [[] for _ in order]
    for n in place:
        if place[n] and tape.nodes[n].outputs[0].dtype == "float64":
            for index in range(rank[place[n]], users.get(n, -1)):
                crossing[index].append(n)
    return tuple(Stage(name, tuple(nodes)) for name, nodes in zip(order, crossing) if nodes)


def growth(run: Run, target: str = "loss", directions: int = 2) -> Growth:
    """Return how the gradient of a scalar grows from stage to stage, and how perturbations of any direction do.

    Parameters
    ----------
    run : Run
        Exact or emulated: derivatives are taken where it has its values.
    target : str
        A scalar computed in the forward pass.
    directions : int
        Number of Lyapunov exponents wanted.

    Returns
    -------
    Growth

    Raises
    ------
    UnsupportedError
        If the tape has fewer than two stages, or the target is no scalar.

    Notes
    -----
    Benettin et al., Meccanica 15, 1980: orthonormal directions are carried back through one stage after the
    other, each time made orthonormal anew by a QR factorisation, whose diagonal holds the factors.

    Examples
    --------
    >>> import analysis as an
    >>> found = growth(an.replay(an.nets.mlp((64, 16, 16, 16, 10), "tanh", batch=4), an.Float64()))
    >>> found.stages
    ('layer3', 'layer2', 'layer1', 'layer0')
    """
    tape = run.tape
    what = tape.targets[target] if target in tape.targets else Value(tape.target(target).id)
    if run.value(what).size != 1:
        raise UnsupportedError(f"growth needs a scalar target; {target} has shape {run.value(what).shape}")
    cuts = stages(tape)
    if len(cuts) < 2:
        raise UnsupportedError(f"{tape.name}: {len(cuts)} stages; growth needs at least two layers or time steps")
    builder = Builder.resume(tape, [outputs[0] for outputs in run.values])
    with np.errstate(all="ignore"):
        gradient = _pull(builder, [what.node], [np.ones(run.value(what).shape)], cuts[-1].nodes)
        norms, amax = [_size(gradient)], max(float(np.abs(part).max()) for part in gradient)
        for later, earlier in zip(cuts[::-1], cuts[-2::-1]):
            gradient = _pull(builder, later.nodes, gradient, earlier.nodes)
            norms.append(_size(gradient))
        exponents = _exponents(builder, cuts, run, directions)
    steps = len(norms) - 1
    ratio = norms[-1] / norms[0] if norms[0] else math.nan
    rate = ratio ** (1 / steps) if ratio >= 0 else math.nan
    return Growth(tuple(cut.name for cut in cuts[::-1]), tuple(norms), exponents, rate, amax)


def _size(parts: Sequence[Array]) -> float:
    return norm(np.concatenate([part.ravel() for part in parts]))


def _pull(builder: Builder, later: Sequence[int], seeds: Sequence[Array], earlier: Sequence[int]) -> list[Array]:
    """Gradients at the earlier nodes of the inner product of seeds with the later nodes' values."""
    reach = set(earlier)
    last = max(later)
    for node in builder.nodes[min(earlier) : last + 1]:
        if node.id not in reach and any(ref.node in reach for ref in node.inputs):
            reach.add(node.id)
    total: dict[int, Array] = {}
    for start, seed in zip(later, seeds):
        if start not in reach:
            continue
        found = {start: seed}
        if start not in earlier:
            var = builder.leaf("constant", seed)
            sweep = builder.sweep(builder.var(Value(start)), var, reach, through=True)
            found = {node: gradient.value for node, gradient in sweep}
        for index in earlier:
            if index in found:
                total[index] = total.get(index, 0.0) + found[index]
    return [total.get(index, np.zeros(builder.values[index].shape)) for index in earlier]


def _exponents(builder: Builder, cuts: Sequence[Stage], run: Run, directions: int) -> tuple[float, ...]:
    sizes = [sum(run.value(node).size for node in cut.nodes) for cut in cuts]
    count = min(directions, *sizes)
    words = np.random.PCG64(1).random_raw(sizes[-1] * count)
    start = (np.asarray(words, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
    basis = np.linalg.qr(start.reshape(sizes[-1], count))[0]
    logs = np.zeros(count)
    for later, earlier in zip(cuts[::-1], cuts[-2::-1]):
        columns = []
        for column in basis.T:
            ends = np.cumsum([run.value(node).size for node in later.nodes])[:-1]
            parts = [part.reshape(run.value(node).shape) for part, node in zip(np.split(column, ends), later.nodes)]
            pulled = _pull(builder, later.nodes, parts, earlier.nodes)
            columns.append(np.concatenate([part.ravel() for part in pulled]))
        moved = np.stack(columns, axis=1)
        if not np.isfinite(moved).all():
            return (math.nan,) * count
        basis, factors = np.linalg.qr(moved)
        logs += np.log(np.abs(np.diag(factors)))
    return tuple(sorted((float(x) for x in logs / (len(cuts) - 1)), reverse=True))


@dataclass(frozen=True)
class Interval:
    """Loss scales that keep one rounded tensor in range, as exponents of two.

    Attributes
    ----------
    node : int
    label : str
        The node's, and which of its operands is cast, or that its sums are meant.
    format : str
    low, high : int
        2^low is the least scale that loses at most the allowed share of nonzero elements, 2^high the largest that
        does not overflow.

    Examples
    --------
    >>> Interval(3, "%3 mul", "binary16", -2, 10).high
    10
    """

    node: int
    label: str
    format: str
    low: int
    high: int


@dataclass(frozen=True)
class LossScale:
    """The loss scales that keep every gradient of a tape in range.

    Attributes
    ----------
    intervals : tuple of Interval
        One for each rounding of a tensor that the scale multiplies and that has a nonzero element: casts of operands,
        sums and results of backward nodes.
    low, high : int
        The scales 2^low .. 2^high fit all of them, if low <= high.
    feasible : bool
    conflict : tuple of Interval
        If no scale fits: the tensor that needs the largest least scale, and the one with the smallest greatest.
    nonfinite : tuple of str
        Gradients that hold an infinity or NaN even in exact arithmetic, by target: no scale makes them finite, and
        ``feasible`` is False.

    Examples
    --------
    >>> LossScale((), 0, 0, True, ()).feasible
    True
    """

    intervals: tuple[Interval, ...]
    low: int
    high: int
    feasible: bool
    conflict: tuple[Interval, ...]
    nonfinite: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the intervals as a JSON object.

        Returns
        -------
        dict
        """
        parts = {"intervals": self.intervals, "conflict": self.conflict}
        return {
            "low": self.low,
            "high": self.high,
            "feasible": self.feasible,
            "nonfinite": list(self.nonfinite),
            **{name: [dict(item.__dict__) for item in items] for name, items in parts.items()},
        }


def backward_seed(tape: Tape) -> int | None:
    """Return the leaf that a backward pass starts from: 1, or the loss scale.

    Parameters
    ----------
    tape : Tape

    Returns
    -------
    int or None
        None if the first leaf of the backward pass is no positive constant, or there is none.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 10), batch=2)
    >>> tape.nodes[backward_seed(tape)].path
    'loss'
    """
    first = next((node for node in tape.nodes if node.leaf and node.direction == "backward"), None)
    if first is None or first.op != "constant" or first.outputs[0].dtype != "float64":
        return None
    data = tape.data[first.id]
    return first.id if data.size and bool((data == data.flat[0]).all()) and data.flat[0] > 0 else None


def loss_scale(run: Run, exact: Run, flushed: float = FLUSHED) -> LossScale:
    """Return the powers of two by which a loss may be multiplied so that no gradient leaves its format.

    Parameters
    ----------
    run : Run
        Emulated: says what each node rounds, and to which format.
    exact : Run
        Says how large the gradients are.
    flushed : float
        Share of a tensor's nonzero elements that may round to zero.

    Returns
    -------
    LossScale

    Raises
    ------
    UnsupportedError
        If ``flushed`` is not between 0 and 1, or the tape has no backward pass.

    Notes
    -----
    Gradients are linear in the loss scale: with it, an element of magnitude x becomes 2^s x (Micikevicius et al.,
    Mixed precision training, 2018, section 3.2). It overflows beyond max + ulp/2, and rounds to zero up to half of
    the smallest positive value. Sums are looked at where they end: partial sums may be larger, if terms cancel. What
    is scaled to its format anyway (``Numerics.scaling``) has no interval.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 16, 10), "tanh", batch=4)
    >>> loss_scale(an.replay(tape, an.Policy.uniform("binary16")), an.replay(tape, an.Float64())).feasible
    True
    """
    if not 0 <= flushed < 1:
        raise UnsupportedError(f"flushed={flushed!r}: a share of elements, 0 <= flushed < 1")
    found = []
    scaled = _scaled(run.tape)
    for node in run.tape.nodes:
        if node.id not in scaled or node.direction != "backward":
            continue
        for what, rounder, value in _roundings(run, node, scaled):
            magnitude = np.abs(exact.value(value))
            kept = np.sort(magnitude[(magnitude > 0) & np.isfinite(magnitude)])
            if kept.size and rounder is not None and not rounder.scaled:
                least = float(kept[min(math.floor(flushed * kept.size), kept.size - 1)])
                found.append(_interval(node.id, node.label + what, rounder.fmt, least, float(kept[-1])))
    if not any(node.direction == "backward" for node in run.tape.nodes):
        raise UnsupportedError(f"{run.tape.name}: the tape has no backward pass")
    sick = tuple(
        name
        for name, value in run.tape.targets.items()
        if run.tape.made_backward(value) and not np.isfinite(exact.value(value)).all()
    )
    if not found:
        return LossScale((), 0, 0, not sick, (), sick)
    neediest, tightest = max(found, key=lambda item: item.low), min(found, key=lambda item: item.high)
    fits = neediest.low <= tightest.high
    conflict = () if fits else (neediest, tightest)
    return LossScale(tuple(found), neediest.low, tightest.high, fits and not sick, conflict, sick)


def _roundings(run: Run, node: Node, scaled: set[int]) -> Iterator[tuple[str, Rounder | None, Value]]:
    """What a node rounds of all that the loss scale multiplies: in words, how, and the value."""
    record, tape = run.records[node.id], run.tape
    if record is None:
        return
    numerics, result = record.numerics, Value(node.id)
    for position, ref in enumerate(node.inputs):
        if ref.node in scaled and tape.nodes[ref.node].outputs[ref.output].dtype == "float64":
            rounder = numerics.operand_rounder(tape.made_backward(ref), 0, 0)
            yield f", cast of operand {position}", rounder, ref
    if node.op in ("sum", "matmul"):
        yield ", sums", numerics.sum_rounder(0, 0), result
    yield "", numerics.rounder(0, 0), result


def _interval(node: int, label: str, fmt: fe.Format, least: float, most: float) -> Interval:
    edge = Fraction(fmt.max) + Fraction(2) ** (fmt.emax - fmt.p)
    half = Fraction(fmt.min_positive) / 2  # to zero: the even one of its neighbours

    def fits(power: int) -> bool:
        x = Fraction(most) * Fraction(2) ** power
        return x < edge or (x == edge and fmt.max_code % 2 == 0)

    def stays(power: int) -> bool:
        return Fraction(least) * Fraction(2) ** power > half

    low, high = (math.floor(_log2(end) - math.log2(size)) for end, size in ((half, least), (edge, most)))
    # logarithms may be off by one where a power of two lies between
    low = next(power for power in range(low - 1, low + 3) if stays(power))
    high = next(power for power in range(high + 1, high - 3, -1) if fits(power))
    return Interval(node, label, fmt.name, low, high)


def _scaled(tape: Tape) -> set[int]:
    """Nodes that a factor of the loss multiplies: the leaf that the backward pass starts from, and what comes of it."""
    seed = backward_seed(tape)
    if seed is None:
        return {node.id for node in tape.nodes if not node.leaf}
    reach = {seed}
    for node in tape.nodes:
        if any(ref.node in reach for ref in node.inputs):
            reach.add(node.id)
    return reach


def _log2(x: Fraction) -> float:
    return math.log2(x.numerator) - math.log2(x.denominator)
