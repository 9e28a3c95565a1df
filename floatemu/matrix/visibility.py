"""Which parameters of a step no input of given formats can show: rules with their reasons, each a sufficient condition.

Steps that differ in such parameters alone are equal on every input, so that a fit cannot and need not choose
between them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from floatemu.matrix.amd import TwoStage
from floatemu.matrix.hypotheses import NO_FLOOR, Promoted, Question
from floatemu.matrix.steps import BINARY32, Fused, Integers
from floatemu.projection import Rounding

ZERO = Rounding.TOWARD_ZERO


class Span(NamedTuple):
    """Exponents that terms of a fused step can have, and the place of their last bits."""

    least: int  #: smallest exponent of a product that is not zero
    most: int  #: largest exponent of a product
    unit: int  #: no product has a bit below two to this
    quantum: int  #: no accumulator has
    top: int  #: largest exponent of an accumulator


def span(q: Question, step: Fused) -> Span:
    """What formats and a step's parameters allow.

    Parameters
    ----------
    q : Question
        With formats that are not integers.
    step : Fused

    Returns
    -------
    Span

    Examples
    --------
    >>> import floatemu as fe
    >>> unit = fe.matrix.find("A100", "fp16")
    >>> span(Question(unit.a, unit.b, unit.output, 16), unit.step)[:3]
    (-28, 30, -48)
    """
    a, b, output = q.formats
    unit, most = a.qmin + b.qmin, a.emax + b.emax
    least = sum(least_exponents(q, step.operand_emin))
    if step.normalised:
        least, most = unit, most + 1
    if q.scale is not None:
        unit += 2 * q.scale.qmin
        own_least, own_most = 2 * q.scale.emin, 2 * q.scale.emax
        least, most = (own_least, own_most) if step.group > 1 else (least + own_least, most + own_most)
    # Accumulators that no one can give are sums of products.
    quantum = unit if step.order or not q.accumulator else output.qmin
    return Span(least, most, unit, quantum, output.emax)


def least_exponents(q: Question, operand_emin: int | None) -> tuple[int, int]:
    """The exponents that the smallest operands of each format count with."""
    first, second = (f.emin if operand_emin is None else max(operand_emin, f.qmin) for f in q.formats[:2])
    return first, second


def canonical(step: Any, q: Question) -> tuple[Any, dict[str, str]]:
    """The step with all that cannot be seen set to fixed values, and why each of these cannot.

    Parameters
    ----------
    step : Fused, Chain, Integers, Exact, PairwiseFlush, TwoStage or Promoted
    q : Question

    Returns
    -------
    tuple
        Two steps that give equal canonical ones are equal on every input.

    Examples
    --------
    >>> import floatemu as fe
    >>> unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    >>> step, unseen = canonical(unit.step, Question(unit.a, unit.b, unit.output, 64))
    >>> sorted(unseen)
    ['accumulator_emin', 'zero_exponent']
    """
    if isinstance(step, Promoted):
        own, why = _fused(step.step, q)
        if own.order == tuple(range(step.every)):
            own, more = _fused(replace(own, order=()), q)
            why = {**why, **more, "order": "every total has one such sum"}
        return Promoted(own, step.every), why
    if isinstance(step, Fused) and q.promotion and step.result == BINARY32 and step.order == tuple(range(step.depth)):
        # An accumulator that is added apart, in binary32, is a total.
        return canonical(Promoted(replace(step, order=()), step.depth), q)
    if isinstance(step, Integers):
        return _integers(step, q)
    if isinstance(step, TwoStage):
        return _two_stage(step)
    return _fused(step, q) if isinstance(step, Fused) else (step, {})


def _two_stage(step: TwoStage) -> tuple[TwoStage, dict[str, str]]:
    """Sums of ``length`` products are below 2^(their exponent + 2 + carry)."""
    why: dict[str, str] = {}
    carry = step.length.bit_length() - 1
    first = step.final + 1 if step.first is None else step.first
    if first > step.final and step.final + 1 >= step.fraction + 4 + carry:
        # Where accumulator and products cancel so far that the later cut is the finer one, neither removes anything.
        step, why = replace(step, first=None), {"first": "what it keeps beyond one bit more than final, final cuts"}
    elif first + carry + 4 < step.final:
        step = replace(step, final=first + carry + 4)
        why = {"final": f"the sum has no bits beyond {first}, and carries fewer than {carry + 4}"}
    if not step.interleaved:
        why["special_exponent"] = "only small accumulators beside fp8 are dropped"
        step = replace(step, special_exponent=-1)
    return step, why


def _integers(step: Integers, q: Question) -> tuple[Integers, dict[str, str]]:
    if not step.saturate:
        return replace(step, depth=1), {"depth": "sums that wrap do not depend on where they do"}
    if not getattr(q.a, "signed", True) and not getattr(q.b, "signed", True):
        return replace(step, depth=1), {"depth": "no product is negative: what has been clamped once stays there"}
    return step, {}


def _fused(step: Fused, q: Question) -> tuple[Fused, dict[str, str]]:
    why: dict[str, str] = {}
    # What one rule settles may be what another one waits for.
    while True:
        changes: dict[str, Any] = {}
        for rule in (_operands, _everything, _floor, _subnormal, _exact, _signs):
            changes, text = rule(step, q)
            changes = {name: value for name, value in changes.items() if name not in why}
            if changes:
                step = replace(step, **changes)
                why |= dict.fromkeys(changes, text)
                break
        if not changes:
            return step, {name: text for name, text in why.items() if text}


Rule = tuple[dict[str, Any], str]
"""Parameters, the values they are set to, and why this changes no result; no text: another way to write the same."""


def _operands(step: Fused, q: Question) -> Rule:
    if step.group > 1:
        changes = {"normalised": False, "operand_emin": None}
        return changes, "only the scales' exponents count"
    if step.normalised:
        return {"operand_emin": None}, "products count with their own exponents"
    a, b, _ = q.formats
    if max(a.p, b.p) == 1:
        return {"normalised": False}, "products of powers of two are normalised"
    pair, fields = least_exponents(q, step.operand_emin), least_exponents(q, None)
    if step.operand_emin is None or pair == fields:
        return {"operand_emin": None}, ""
    s = span(q, step)
    scale = 0 if q.scale is None else 2 * q.scale.emax
    # The largest exponents of products of a subnormal a, and of a subnormal b: do they cut anything?
    tops = max(fields[0], pair[0]) + b.emax + scale, max(fields[1], pair[1]) + a.emax + scale
    shows = [top - step.fraction > min(s.unit, s.quantum) for top in tops]
    if not any(shows):
        return {
            "operand_emin": None
        }, f"subnormal operands make products up to 2^{max(tops)}, beside which nothing is cut"
    least = max(step.operand_emin, min(a.qmin, b.qmin))
    for i, fmt in enumerate((a, b)):
        if not shows[1 - i]:
            if pair[i] == fields[i]:
                return {
                    "operand_emin": None
                }, f"subnormal {(b, a)[i].name} operands make products too small to cut anything"
            value = min(pair[i], fields[1 - i])
            least = value if max(value, fmt.qmin) == pair[i] else least
    return {"operand_emin": least}, ""


def _everything(step: Fused, q: Question) -> Rule:
    # A cut at 2^(E - F) removes something only if a bit of some term lies below.
    s = span(q, replace(step, normalised=True))
    deepest = max(s.most - min(s.unit, s.quantum), s.top - s.unit, q.formats[2].p - 1)
    if step.fraction < deepest:
        return {}, ""
    changes = {
        "fraction": deepest, "alignment": ZERO, "normalised": False, "accumulator_emin": None, "operand_emin": None,
        "zero_exponent": NO_FLOOR,
    }  # fmt: skip
    return changes, f"no bit of a term lies {deepest} places or more below the largest term: nothing is ever cut"


def _floor(step: Fused, q: Question) -> Rule:
    """Whether ``zero_exponent`` matters."""
    s = span(q, step)
    unit = min(s.unit, s.quantum)
    emin = step.result.emin if step.accumulator_emin is None else step.accumulator_emin
    if step.zero_exponent <= min(s.least, emin):
        text = f"every term that is not zero has an exponent of at least {min(s.least, emin)}"
        return {"zero_exponent": NO_FLOOR}, text
    if step.zero_exponent - step.fraction <= unit:
        return {"zero_exponent": NO_FLOOR}, f"no term has a bit below 2^{unit}: a cut at or below it removes nothing"
    return {}, ""


def _subnormal(step: Fused, q: Question) -> Rule:
    """Whether the exponent of subnormal accumulators matters."""
    s = span(q, step)
    unit, emin = min(s.unit, s.quantum), step.result.emin
    cut, changes = emin - step.fraction, {"accumulator_emin": None}
    if cut <= unit:
        return (
            changes,
            f"no term has a bit below 2^{unit}, and beside a subnormal accumulator nothing above 2^{cut} is cut",
        )
    if step.zero_exponent >= emin:
        return changes, f"zero terms raise the exponent to {step.zero_exponent}"
    twice = step.alignment == step.rounding == ZERO and step.fraction >= step.result.p - 1
    if s.least >= emin and (twice or cut <= s.quantum):
        return changes, f"products have exponents of at least {s.least}, and a cut before the rounding changes nothing"
    return ({"accumulator_emin": None}, "") if step.accumulator_emin == emin else ({}, "")


def _exact(step: Fused, q: Question) -> Rule:
    """Whether sums are ever rounded: each term is below 2^(E + 2), and none has a bit below 2^(E - F)."""
    if step.order or step.group > 1:
        return {}, ""
    s = span(q, step)
    emin = step.result.emin if step.accumulator_emin is None else step.accumulator_emin
    least = max(step.zero_exponent, min(s.least, emin))
    bits = step.fraction + (4 * step.length + 2).bit_length()
    if step.result.p < bits or least - step.fraction < step.result.qmin:
        return {}, ""
    return {"result": q.formats[2], "rounding": ZERO}, f"sums have at most {bits} bits: none is ever rounded"


def _signs(step: Fused, q: Question) -> Rule:
    if not q.accumulator and step.order == tuple(range(q.k)):
        return {"order": ()}, "there is one sum and no accumulator"
    if step.order or not q.accumulator:
        return {"signed_zero": False}, "sums start at +0, not at an accumulator of -0"
    return {}, ""
