"""One gradient chain in one format: its replay, where it first lost something, and the sentence that says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import floatemu as fe

from . import nets
from .engine import Run, replay
from .events import Event
from .numerals import decimal
from .policy import Policy
from .verdict import number, numbers, plural, value

__all__ = ["CAUSES", "ChainRun", "compare_chains", "label", "run_chain"]

CAUSES = ("none", "rounding", "overflow", "saturation", "underflow", "nan")
_START, _MULTIPLIER = 0, 1  # node ids of a chain's leaves


def label(fmt: str, saturation: str = "SAT_NONE") -> str:
    """Return the name under which a format and its overflow are shown.

    Parameters
    ----------
    fmt, saturation : str

    Returns
    -------
    str

    Examples
    --------
    >>> label("binary16"), label("e4m3fn", "SAT_FINITE"), label("e4m3fnuz")
    ('binary16', 'e4m3fn saturating', 'e4m3fnuz')
    """
    return f"{fmt} saturating" if saturation != "SAT_NONE" else fmt


@dataclass(frozen=True)
class Loss:
    """Something lost at one node of a chain.

    Attributes
    ----------
    step : int
        0 is the cast.
    cause : str
        One of ``CAUSES``.
    node : int
    before, after : float
        What was to be stored, and what is.
    """

    step: int
    cause: str
    node: int
    before: float
    after: float


@dataclass(frozen=True)
class ChainRun:
    """A chain g <- g * m in one format.

    Attributes
    ----------
    fmt : Format
    saturation : Saturation
    start, multiplier : float
        As given.
    values : tuple of float
        The start as stored, then the gradient after each step.
    stored_multiplier : float
    losses : tuple of Loss
        In the order of the steps.
    rounded : int
        How many multiplications rounded their result: not exact, but not beyond the range.
    exact : Fraction or None
        start * multiplier^steps; None if that is no number.

    Examples
    --------
    >>> run = run_chain(1e5, 0.25, 10, fe.get_format("bf16"), fe.Saturation.SAT_NONE)
    >>> run.values[-1], run.rounded, run.losses[0].cause
    (0.09521484375, 0, 'rounding')
    """

    fmt: fe.Format
    saturation: fe.Saturation
    start: float
    multiplier: float
    values: tuple[float, ...]
    stored_multiplier: float
    losses: tuple[Loss, ...]
    rounded: int
    exact: Fraction | None

    @property
    def label(self) -> str:
        """Name for tables."""
        return label(self.fmt.name, self.saturation.name)

    @property
    def first_loss(self) -> Loss | None:
        """The first loss, None if there is none."""
        return self.losses[0] if self.losses else None

    @property
    def is_exact(self) -> bool:
        """Whether the result is the exact one."""
        result = self.values[-1]
        return self.exact is not None and math.isfinite(result) and Fraction(result) == self.exact

    @property
    def exact_text(self) -> str:
        """The exact result: in shortest form where a binary64 number is it, else rounded and marked so."""
        near = self.exact_float
        if self.exact is None or (math.isfinite(near) and Fraction(near) == self.exact):
            return "NaN" if math.isnan(near) else repr(near).removesuffix(".0")
        return decimal(self.exact, 12)

    @property
    def exact_float(self) -> float:
        """The exact result, to nearest in binary64: 0 or infinite where that lies beyond its range."""
        if self.exact is None:
            return _ieee(self.start, self.multiplier, len(self.values) - 1)
        return _to_float(self.exact)

    def to_json(self) -> dict[str, Any]:
        """Return the contract's run object.

        Returns
        -------
        dict
        """
        loss = self.first_loss
        code = int(fe.encode(self.values[-1], self.fmt))
        return {
            "format": self.fmt.name,
            "label": self.label,
            "saturation": self.saturation.name,
            "values": list(self.values),
            "result": self.values[-1],
            "bits": f"0x{code:0{(self.fmt.k + 3) // 4}x}",
            "first_loss": {
                "step": None if loss is None else loss.step,
                "cause": "none" if loss is None else loss.cause,
            },
            "rounded_multiplications": self.rounded,
            "exact": self.exact_float,
            "exact_text": self.exact_text,
            "is_exact": self.is_exact,
            "sentence": sentence(self),
        }


def _ieee(start: float, multiplier: float, steps: int) -> float:
    for _ in range(steps):
        start *= multiplier
    return start


def _to_float(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _cause(events: Sequence[Event], before: float, after: float, inexact: bool) -> str | None:
    kinds = {event.kind for event in events}
    if math.isnan(before):  # passed on, or replaced where the format has none
        return "nan"
    if "overflow" in kinds:
        return "saturation" if any(event.result == "max" for event in events) else "overflow"
    if "saturation" in kinds:
        return "saturation"
    if math.isnan(after):
        return "nan"
    if "underflow" in kinds:
        return "underflow"
    return "rounding" if inexact else None


def _losses(run: Run) -> tuple[list[Loss], int]:
    losses, rounded, gone = [], 0, False
    for node in run.tape.nodes:
        record = run.records[node.id]
        assert record is not None
        assert node.step is not None
        flags = fe.Flag(int(record.flags))
        before, after = float(record.raw), float(run.value(node.id))
        events = [event for event in run.events if event.node == node.id]
        inexact = fe.Flag.INEXACT in flags
        if node.op == "mul" and inexact and fe.Flag.OVERFLOW not in flags:
            rounded += 1
        cause = _cause(events, before, after, inexact)
        if cause == "nan" and math.isnan(after):  # where a NaN came from is a loss, its passing on is not
            cause, gone = (None if gone else "nan"), True
        gone = gone or math.isnan(after)
        if cause is not None:
            losses.append(Loss(node.step, cause, node.id, before, after))
    return losses, rounded


def run_chain(start: float, multiplier: float, steps: int, fmt: fe.Format, saturation: fe.Saturation) -> ChainRun:
    """Replay a chain in one format.

    Parameters
    ----------
    start, multiplier : float
    steps : int
    fmt : Format
    saturation : Saturation

    Returns
    -------
    ChainRun

    Raises
    ------
    UnsupportedError
        If ``steps`` is out of range.

    Examples
    --------
    >>> run_chain(1.0, 0.25, 13, fe.get_format("fp16"), fe.Saturation.SAT_NONE).first_loss
    Loss(step=13, cause='underflow', node=14, before=1.4901161193847656e-08, after=0.0)
    """
    tape = nets.chain(start, multiplier, steps)
    run = replay(tape, Policy.uniform(fmt, saturation=saturation), local="mpmath")
    losses, rounded = _losses(run)
    values = [float(run.value(_START)), *(float(run.value(index)) for index in range(2, len(tape)))]
    exact = None
    if math.isfinite(start) and math.isfinite(multiplier):
        exact = Fraction(start) * Fraction(multiplier) ** steps
    return ChainRun(
        fmt,
        saturation,
        float(start),
        float(multiplier),
        tuple(values),
        float(run.value(_MULTIPLIER)),
        tuple(losses),
        rounded,
        exact,
    )


def _percent(before: float, after: float) -> str:
    if not before or not math.isfinite(after) or not math.isfinite(before):
        return ""
    change = (after - before) / before * 100.0
    return f" ({change:+.2g} %)"


def _end(run: ChainRun, beyond: float) -> str:
    if beyond < 0 and not run.fmt.signed:
        return "has no negative values"
    return f"ends at {value(float(run.fmt.max))}"


def _cast_clause(run: ChainRun, loss: Loss) -> str:
    what = "start" if loss.node == _START else "multiplier"
    given, stored = numbers(loss.before, loss.after)
    end = _end(run, loss.before)
    match loss.cause:
        case "overflow":
            return f"the cast of the {what} {given} overflows ({run.fmt.name} {end}) and gives {stored}"
        case "saturation":
            return f"the cast of the {what} {given} saturates at {stored} ({run.fmt.name} {end})"
        case "underflow":
            if loss.after == 0:
                least = value(float(run.fmt.min_positive))
                return f"the cast of the {what} {given} underflows to 0 (least positive value {least})"
            least = value(float(run.fmt.min_normal))
            change = _percent(loss.before, loss.after)
            return f"the cast of the {what} {given} underflows (least normal value {least}) to {stored}{change}"
        case "nan":
            if not math.isnan(loss.after):
                return f"the {what} is NaN, and {run.fmt.name} has no NaN: the cast puts {stored} in its place"
            return f"the {what} {given} becomes NaN in the cast" if given != "NaN" else f"the {what} is NaN"
        case _:
            return f"the cast turns the {what} {given} into {stored}{_percent(loss.before, loss.after)}"


def _step_clause(run: ChainRun, loss: Loss) -> str:
    before = run.values[loss.step - 1]
    product = f"{value(before)} times {value(run.stored_multiplier)}"
    limits = run.fmt
    match loss.cause:
        case "overflow":
            end = _end(run, loss.before)
            return f"step {loss.step} overflows: {product} ({run.fmt.name} {end}) gives {value(loss.after)}"
        case "saturation":
            end = _end(run, loss.before)
            return f"step {loss.step} saturates: {product} ({run.fmt.name} {end}) gives {value(loss.after)}"
        case "underflow":
            if loss.after == 0:
                least = value(float(limits.min_positive))
                return (
                    f"step {loss.step} underflows to zero: {product} is at most half the least positive value {least}"
                )
            least = value(float(limits.min_normal))
            return f"step {loss.step} underflows: {product}, below the least normal value {least}, loses bits"
        case "nan":
            if not math.isnan(loss.after):
                instead = f"{run.fmt.name} has no NaN: {value(loss.after)} takes its place"
                return f"step {loss.step} gives NaN: {product}, and {instead}"
            return f"step {loss.step} gives NaN: {product}"
        case _:
            exact = Fraction(before) * Fraction(run.stored_multiplier)
            change = abs(_to_float((Fraction(loss.after) - exact) / exact))
            return f"step {loss.step} is the first to round, by a relative {number(change, 2)}"


def _result_clause(run: ChainRun) -> str:
    result = run.values[-1]
    if run.is_exact:
        return f"the result {value(result, 17)} is exact"  # all its digits: a rounded one would not be
    if run.exact is None:
        return f"the result is {value(result)}"
    shown, exact = numbers(result, run.exact_float)
    if run.exact and (math.isinf(run.exact_float) or abs(run.exact_float) < 1e-300):
        exact = decimal(run.exact, 6)
    if not math.isfinite(result) or result == 0:
        return f"the result is {shown} instead of {exact}"
    if run.exact == 0:
        return f"the result is {shown} instead of 0"
    off = abs(_to_float((Fraction(result) - run.exact) / run.exact))
    bits = -math.log2(off) if 0 < off < math.inf else math.inf
    kept = f"{bits:.1f} bits right" if bits >= 1 else "no bit right"
    if shown == exact:
        return f"the result {shown} has {kept}"
    return f"the result is {shown} instead of {exact}, {kept}"


def _counted(run: ChainRun) -> str:
    steps = len(run.values) - 1
    beyond = sum(loss.step > 0 and loss.cause in ("overflow", "saturation") for loss in run.losses)
    if steps == 1 and run.rounded == 0:
        return "the multiplication went beyond the range" if beyond else "the multiplication did not round"
    count = "none" if run.rounded == 0 else str(run.rounded)
    # a result beyond the range is inexact too, but what it lost is not precision
    within = f" within the range, {beyond} went beyond it" if beyond else ""
    return f"{count} of the {plural(steps, 'multiplication')} rounded{within}"


def sentence(run: ChainRun) -> str:
    """Return what a chain lost, at which step, by which cause, and how many multiplications rounded.

    Parameters
    ----------
    run : ChainRun

    Returns
    -------
    str

    Examples
    --------
    >>> text = sentence(run_chain(1e5, 0.25, 10, fe.get_format("fp16"), fe.Saturation.SAT_NONE))
    >>> print(text.replace("; ", "\\n"))
    binary16: the cast of the start 100000 overflows (binary16 ends at 65504) and gives inf
    none of the 10 multiplications rounded
    the result is inf instead of 0.095367431640625: range was lost, not precision.
    """
    clauses = [_cast_clause(run, loss) for loss in run.losses if loss.step == 0]
    told: set[str] = set()
    for loss in run.losses:
        # one clause for the first of each kind; rounding is worth one only if nothing worse came before it
        kind = "flush" if loss.cause == "underflow" and loss.after == 0 else loss.cause
        if loss.step == 0 or kind in told or (kind == "rounding" and told):
            continue
        if kind == "underflow" and any(other.after == 0 and other.cause == "underflow" for other in run.losses):
            continue  # the flush to zero is told instead
        told.add(kind)
        clauses.append(_step_clause(run, loss))
    if not clauses:
        clauses.append("nothing is lost")
    text = "; ".join([*clauses, _counted(run), _result_clause(run)])
    return f"{run.label}: {text}{_remark(run)}."


def _remark(run: ChainRun) -> str:
    causes = {loss.cause for loss in run.losses}
    if run.is_exact or "rounding" in causes or "nan" in causes:
        return ""
    top = bool(causes & {"overflow", "saturation"})
    bottom = any(loss.after == 0 for loss in run.losses if loss.cause == "underflow")
    if top and bottom:
        return ": range was lost at both ends"
    if top:
        return ": range was lost, not precision"
    return ": range was lost at the bottom" if bottom else ""


def _same_bits(a: ChainRun, b: ChainRun) -> int | None:
    # first step at which two chains hold different numbers; None if there is none
    for step, (x, y) in enumerate(zip(a.values, b.values)):
        if x.hex() != y.hex():
            return step
    return None


def compare_chains(given: Sequence[ChainRun], in_range: Sequence[ChainRun]) -> list[str]:
    """Return statements that take more than one run to make; each only where it is true.

    Parameters
    ----------
    given, in_range : sequence of ChainRun
        The same formats, from the given start and from one in range.

    Returns
    -------
    list of str

    Examples
    --------
    >>> modes = [(fe.get_format(name), fe.Saturation.SAT_NONE) for name in ("fp32", "fp64")]
    >>> print(compare_chains([run_chain(1e5, 0.25, 10, *mode) for mode in modes], [])[0])
    binary32 and binary64 agree bit for bit in all 11 values: binary32 lost nothing that binary64 keeps.
    """
    found = []
    named = {run.fmt.name: run for run in given}
    if "binary32" in named and "binary64" in named:
        single, double = named["binary32"], named["binary64"]
        step = _same_bits(single, double)
        if not math.isfinite(double.values[0]):
            pass
        elif step is None and single.stored_multiplier == double.stored_multiplier:
            found.append(
                f"binary32 and binary64 agree bit for bit in all {len(single.values)} values: "
                "binary32 lost nothing that binary64 keeps."
            )
        elif step is not None:
            a, b = numbers(single.values[step], double.values[step])
            where = "in the cast" if step == 0 else f"at step {step}"
            found.append(f"binary32 and binary64 part {where}: {a} against {b}.")
    for run, other in zip(given, in_range):
        lost, kept = run.first_loss, other.first_loss
        if run.is_exact or not math.isfinite(run.start) or lost is None or kept is not None:
            continue
        if lost.cause in ("overflow", "saturation"):
            where = "in the cast" if lost.step == 0 else f"at step {lost.step}"
            found.append(
                f"{run.label} fails by {lost.cause} {where} from {value(run.start)}, and is exact to the last bit "
                f"from {value(other.start)}, with the same {plural(len(run.values) - 1, 'multiplication')}: "
                "the loss is one of range, not of rounding."
            )
    return found
