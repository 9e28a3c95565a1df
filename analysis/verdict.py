"""Verdicts: what a run lost, in words built from its numbers and events."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .comparison import NodeReport, TargetReport
from .events import Event

__all__ = ["describe_event", "number", "numbers", "plural", "value", "verdict", "worst_node"]


def number(x: float, digits: int = 3) -> str:
    """Return a number for a sentence: few digits, but all of a short one.

    Parameters
    ----------
    x : float
    digits : int

    Returns
    -------
    str

    Examples
    --------
    >>> [number(x) for x in (65504.0, 0.1015625, 1.23456e-20, 1.0, float("inf"))]
    ['65504', '0.102', '1.23e-20', '1', 'inf']
    """
    if not math.isfinite(x):
        return "NaN" if math.isnan(x) else str(x)
    if x == int(x) and abs(x) < 1e6:
        return str(int(x))
    return f"{x:.{digits}g}"


def value(x: float, digits: int = 6) -> str:
    """Return a value in shortest form, or, where that takes more than 15 digits, rounded and marked so.

    Parameters
    ----------
    x : float
    digits : int
        Of the rounded form.

    Returns
    -------
    str

    Examples
    --------
    >>> [value(x) for x in (65504.0, 1e15, 2.0**-9, 0.1, 1e300, 0.1 + 0.2, float("nan"))]
    ['65504', '1000000000000000', '0.001953125', '0.1', '1e+300', '≈0.3', 'NaN']
    """
    if not math.isfinite(x) or (x == int(x) and abs(x) < 1e6):
        return number(x)
    text = repr(x).removesuffix(".0")
    significant = text.partition("e")[0].replace(".", "").strip("-0")
    return text if len(significant) <= max(15, digits) else f"≈{x:.{digits}g}"


def numbers(a: float, b: float) -> tuple[str, str]:
    """Return two numbers with as many digits as it takes to tell them apart, six at least.

    Parameters
    ----------
    a, b : float

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> numbers(0.3, 0.30000001192092896), numbers(1e5, 99840.0)
    (('0.3', '≈0.30000001'), ('100000', '99840'))
    """
    digits = 6
    while digits < 17 and a != b and value(a, digits).lstrip("≈") == value(b, digits).lstrip("≈"):
        digits += 1
    return value(a, digits), value(b, digits)


def plural(count: int, noun: str) -> str:
    """Return the count with its noun.

    Examples
    --------
    >>> plural(1, "element"), plural(2, "element")
    ('1 element', '2 elements')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _place(event: Event) -> str:
    words = ", ".join(word for word in (event.path, event.direction) if word)
    cast = "" if event.operand is None else f"the cast of operand {event.operand} of "
    return f"{cast}%{event.node} {event.op} ({words})"


def describe_event(event: Event, fmt: str) -> str:
    """Return one event as a clause.

    Parameters
    ----------
    event : Event
    fmt : str
        Name of the format.

    Returns
    -------
    str

    Examples
    --------
    >>> event = Event(3, "mul", "step2", "backward", "overflow", 3, 1, (), 1e5, 65504.0, 2, "inf")
    >>> describe_event(event, "binary16")
    '%3 mul (step2, backward) overflowed binary16 in 1 element (needed 100000, largest 65504) and gave inf'
    """
    where, count = _place(event), plural(event.count, "element")
    needed = "below binary64's range" if event.needed is None else value(event.needed)
    limit = "" if event.limit is None else value(event.limit)
    origin = "" if event.produced else f", fed by %{event.producer}"
    result = "NaN" if event.result == "nan" else event.result
    match event.kind:
        case "overflow":
            if event.needed is not None and event.needed < 0:
                return f"{where} fell below the range of {fmt} in {count} (needed {needed}, lowest {limit}): {result}"
            return f"{where} overflowed {fmt} in {count} (needed {needed}, largest {limit}) and gave {result}"
        case "saturation":
            end = "lowest" if event.needed is not None and event.needed < 0 else "largest"
            return f"{where} saturated in {count} (needed {needed}, {end} {limit}){origin}"
        case "underflow":
            if event.flushed:
                some = "all" if event.flushed == event.count else str(event.flushed)
                lost = f"flushed {some} of them to zero (smallest {needed}, least positive value {limit})"
            else:
                lost = f"lost bits below the normal range (smallest {needed}, least normal value {limit})"
            return f"{where} underflowed in {count} and {lost}"
        case "nan_born":
            return f"{where} made NaN in {count}{origin}"
        case "inf_born":
            return f"{where} made an infinity of a zero in {count}{origin}"
        case "branch_flip":
            return f"{where} decided {count} otherwise than the exact run"
        case "lost_update":
            return f"{where} left {count} unchanged by the update"
        case _:
            return f"{where} added a number too small to matter in {count}"


def worst_node(nodes: Sequence[NodeReport], events: Sequence[Event], path: set[int]) -> NodeReport | None:
    """Return the node that did most harm to a target.

    Parameters
    ----------
    nodes : sequence of NodeReport
    events : sequence of Event
    path : set of int
        Ids of the nodes that the target is computed from.

    Returns
    -------
    NodeReport or None
        The first producer of an infinity or NaN; otherwise the node that contributes most to the target's error,
        or, where that was not measured, the one with the largest local error; None if nothing was lost.

    Examples
    --------
    >>> import analysis as an
    >>> found = an.analyze(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("bf16"))
    >>> worst_node(found.nodes, found.events, {0, 1, 2}).label
    '%0 input (cast, backward)'
    """
    for event in events:
        if event.result in ("inf", "nan") and event.producer in path:
            return nodes[event.producer]
    best, harm = None, 0.0
    for node in nodes:
        loss = abs((node.local_error if node.contribution is None else node.contribution) or 0.0)
        if node.id in path and (loss > harm or math.isnan(loss)):
            best, harm = node, math.inf if math.isnan(loss) else loss
    return best


def _range_events(events: Sequence[Event], path: set[int], fmt: str) -> list[str]:
    clauses = []
    kinds = ("overflow", "inf_born", "nan_born", "saturation", "underflow")
    for kind in kinds:
        chosen = [event for event in events if event.kind == kind and event.node in path]
        if kind == "underflow":
            chosen = [event for event in chosen if event.flushed]
        if not chosen:
            continue
        first = max(chosen, key=lambda event: event.flushed) if kind == "underflow" else chosen[0]
        more = sum(event.count if kind != "underflow" else event.flushed for event in chosen if event is not first)
        others = len(chosen) - 1
        clause = describe_event(first, fmt)
        what = "zero" if kind == "underflow" else "element"
        clauses.append(
            clause + (f"; {plural(others, 'other node')} did so too ({plural(more, what)})" if others else "")
        )
    return clauses


def _no_judge(target: TargetReport, reference: str) -> str:
    what = "NaN" if math.isnan(target.exact) else "infinite"
    if reference == "mpmath":
        return f"{target.name} cannot be judged: it is {what} in the reference, no number within binary64's range"
    if reference == "ball":
        what = "unknown or NaN" if math.isnan(target.exact) else "infinite"
        return f"{target.name} cannot be judged: it is {what} in the certified reference"
    return f'{target.name} cannot be judged: the {reference} reference is {what} itself; take reference="mpmath"'


def _true(target: TargetReport) -> str:
    if target.size == 1:
        return f"; the reference gives {value(target.exact)}"
    return f"; its norm in the reference is {number(target.exact)}"


def verdict(
    target: TargetReport,
    nodes: Sequence[NodeReport],
    events: Sequence[Event],
    path: set[int],
    pinned_error: float | None,
    fmt: str,
    reference: str = "mpmath",
) -> str:
    """Return what a run lost of a target, and where.

    Parameters
    ----------
    target : TargetReport
    nodes : sequence of NodeReport
    events : sequence of Event
    path : set of int
        Ids of the nodes that the target is computed from.
    pinned_error : float or None
        Relative error of the target with the exact run's decisions.
    fmt : str
        Name of the policy.
    reference : str
        What it was compared with; only "mpmath" and "ball" show that a result is exact.

    Returns
    -------
    str
        One to five sentences.

    Examples
    --------
    >>> import analysis as an
    >>> found = an.analyze(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("float16"))
    >>> print(found.verdict("result").replace(". ", ".\\n"))
    result is inf in binary16; the reference gives 0.095367431640625.
    %0 input (cast, backward) overflowed binary16 in 1 element (needed 100000, largest 65504) and gave inf.
    """
    if not math.isfinite(target.exact):
        sentences = [_no_judge(target, reference)]
    elif target.rel_error == 0 and target.exact == 0:
        sentences = [f"{target.name} is zero, in the reference and in {fmt}"]
    elif target.rel_error == 0:
        exact = "is exact" if reference == "mpmath" else "is exact as far as the certified reference tells"
        equal = f"equals the {reference} reference to the last bit" if reference == "float64" else exact
        sentences = [f"{target.name} {equal} in {fmt}"]
    elif not math.isfinite(target.emulated):
        what = "inf" if math.isinf(target.emulated) else "NaN"
        sentences = [f"{target.name} is {what} in {fmt}{_true(target)}"]
    elif target.emulated == 0:
        sentences = [f"{target.name} is entirely zero in {fmt}{_true(target)}"]
    else:
        bits = f"keeps {target.bits:.1f} bits" if target.bits >= 1 else "keeps no bit"
        sentences = [
            f"{target.name} {bits} in {fmt} (relative error {number(target.rel_error)}, "
            f"norm ratio {number(target.norm_ratio, 4)})"
        ]
    sentences += _range_events(events, path, fmt)
    worst = worst_node(nodes, events, path)
    if worst is not None and target.rel_error and math.isfinite(target.emulated) and math.isfinite(target.exact):
        if worst.contribution:
            share = f"its own rounding makes {100 * worst.contribution / target.rel_error:.0f} % of the error"
        else:
            share = f"it rounds off {number(worst.local_error or 0.0)}"
        sentences.append(f"Most harm is done by {worst.label}: {share}")
    flipped = sum(event.count for event in events if event.kind == "branch_flip" and event.node in path)
    if flipped and pinned_error is not None and math.isfinite(target.exact):
        sentences.append(
            f"{plural(flipped, 'decision')} (comparisons, argmax) fell otherwise than in the exact run; "
            f"with the exact decisions the error is {number(pinned_error)}"
        )
    rest = (sentence[0].upper() + sentence[1:] for sentence in sentences[1:])
    return ". ".join([sentences[0], *rest]) + "."
