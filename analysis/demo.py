"""The content of ``floatemu demo``: three experiments whose sentences are computed from replays.

1. The gradient chain g <- g * m, in each format: what was lost, at which step, by which cause.
2. The same chain starting at 1, in range of every format.
3. A real network's first-layer gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import floatemu as fe

from . import nets
from .attribution import attribute
from .chains import ChainRun, compare_chains, label, run_chain
from .comparison import ancestors, compare_nodes, compare_target, flip_events
from .engine import replay
from .measures import zero_fraction
from .policy import Policy
from .reference import reference
from .terminal import plain
from .verdict import verdict, worst_node

__all__ = ["FORMATS", "IN_RANGE_START", "run_demo"]

Progress = Callable[[int, int, str], None]
FORMATS = ("binary64", "binary32", "bfloat16", "binary16", "e5m2", "e4m3fn")
IN_RANGE_START = 1.0
TARGET = "grad:W0"


def _cases(formats: Sequence[str] | None) -> list[tuple[fe.Format, fe.Saturation]]:
    # both overflow policies where the format has no infinity to overflow to but a NaN: hardware offers both
    found: list[tuple[fe.Format, fe.Saturation]] = []
    for name in formats or FORMATS:
        fmt = fe.get_format(name)
        modes = [fe.Saturation.SAT_NONE]
        if fmt.overflow is fe.Overflow.NAN:
            modes.append(fe.Saturation.SAT_FINITE)
        found.extend((fmt, mode) for mode in modes if (fmt, mode) not in found)
    return found


def _mlp(cases: Sequence[tuple[fe.Format, fe.Saturation]], seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    tape = nets.mlp(batch=nets.BATCH, seed=seed)
    tell("network: reference in mpmath")
    exact = reference(tape)
    path = ancestors(tape, TARGET)
    runs = []
    for fmt, saturation in cases:
        policy = Policy.uniform(fmt, saturation=saturation)
        tell(f"network: {policy.name}")
        emulated = replay(tape, policy, local="mpmath")
        decided = replay(tape, policy, pinned=exact.run, local="mpmath")
        pinned = compare_target(decided, exact.run, TARGET).rel_error
        shares = attribute(emulated, exact.run, TARGET, "error", decided).shares()
        nodes = compare_nodes(emulated, exact.run, shares)
        events = sorted([*emulated.events, *flip_events(emulated, exact.run)], key=lambda event: event.node)
        target = compare_target(emulated, exact.run, TARGET)
        worst = worst_node(nodes, events, path)
        runs.append(
            {
                "format": fmt.name,
                "label": label(fmt.name, saturation.name),
                "saturation": saturation.name,
                "rel_error": target.rel_error,
                "bits": target.bits,
                "norm_ratio": target.norm_ratio,
                "zero_fraction": target.zero_fraction,
                "pinned_rel_error": pinned,
                "worst": None
                if worst is None
                else {"node": worst.id, "op": worst.op, "path": worst.path, "direction": worst.direction},
                "events": [event.to_json() for event in events],
                "sentence": verdict(target, nodes, events, path, pinned, label(fmt.name, saturation.name)),
            }
        )
    return {
        "target": TARGET,
        "batch": nets.BATCH,
        "net": dict(tape.meta),
        "nodes": len(tape),
        "exact_norm": compare_target(exact.run, exact.run, TARGET).exact,
        "exact_zero_fraction": zero_fraction(exact.run.value(TARGET)),
        "reference": exact.to_json(),
        "runs": runs,
    }


def run_demo(
    start: float = 1e5,
    multiplier: float = 0.25,
    steps: int = 10,
    formats: Sequence[str] | None = None,
    quick: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Return everything that ``floatemu demo`` prints.

    Parameters
    ----------
    start, multiplier : float
        Of the chain; taken as the binary64 numbers they are.
    steps : int
        Number of multiplications.
    formats : sequence of str, optional
        Default: ``FORMATS``. Formats that overflow to NaN are shown with SAT_NONE and with SAT_FINITE.
    quick : bool
        The chains only, without the network.
    seed : int
        Of the network.
    progress : callable, optional
        Called with (done, total, text).

    Returns
    -------
    dict
        The contract's demo object, JSON values only.

    Raises
    ------
    FloatEmuError
        If a format is unknown or ``steps`` is out of range.

    Examples
    --------
    >>> found = run_demo(quick=True, formats=["float16"])
    >>> found["runs"][0]["result"], found["runs"][0]["first_loss"]
    ('inf', {'step': 0, 'cause': 'overflow'})
    """
    cases = _cases(formats)
    total = 2 * len(cases) + (0 if quick else 1 + len(cases))
    done = 0

    def tell(text: str) -> None:
        nonlocal done
        if progress is not None:
            progress(done, total, text)
        done += 1

    def chains(first: float) -> list[ChainRun]:
        found = []
        for fmt, saturation in cases:
            tell(f"chain from {first!r}: {fmt.name}")
            found.append(run_chain(first, multiplier, steps, fmt, saturation))
        return found

    given, in_range = chains(float(start)), chains(IN_RANGE_START)
    network = None if quick else _mlp(cases, seed, tell)
    if progress is not None:
        progress(total, total, "done")
    result = plain(
        {
            "seed": seed,
            "ok": True,
            "chain": {"start": float(start), "multiplier": float(multiplier), "steps": steps},
            "runs": [run.to_json() for run in given],
            "in_range_start": IN_RANGE_START,
            "in_range": [run.to_json() for run in in_range],
            "statements": compare_chains(given, in_range),
            "mlp": network,
        }
    )
    assert isinstance(result, dict)
    return result
