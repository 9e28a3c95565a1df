"""A net traced in several policies: what ``floatemu trace`` does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from floatemu.errors import UnsupportedError

from . import nets
from .policy import Policy
from .recording import record_made, unfollowed
from .reference import finest_unit
from .reference import reference as make_reference
from .report.save import save_trace
from .results import Analysis, analyze
from .terminal import head, plain

__all__ = ["run_trace"]

Progress = Callable[[int, int, str], None]


def _too_few(found: Analysis, least: float) -> str | None:
    kept = found.target(found.main).bits
    if kept >= least:  # NaN, of a target that is NaN, meets no bound
        return None
    many = f"keeps {kept:.1f} bits" if math.isfinite(kept) else "keeps no bit"
    return f"{found.main} {many} in {found.policy.name}, below {least:g}"


def _policies(policies: Sequence[str], formats: Sequence[str]) -> list[Policy]:
    chosen = [Policy.uniform(fmt) for fmt in formats] + [Policy.named(name) for name in policies]
    if not chosen:
        raise UnsupportedError("nothing to trace in: give at least one format or policy")
    unique = {policy.name: policy for policy in chosen}
    return list(unique.values())


def run_trace(
    *,
    net: str = "mlp",
    factory: str | None = None,
    arguments: Mapping[str, str] | None = None,
    data: Any = "digits",
    policies: Sequence[str] = (),
    formats: Sequence[str] = (),
    reference: str = "mpmath",
    target: str | None = None,
    out: str | Path | None = None,
    min_bits: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trace a net in several policies: the content of ``floatemu trace``.

    Parameters
    ----------
    net : str
        A name in :data:`analysis.nets.NETS`.
    factory : str, optional
        Instead of a net: a torch model of the user's own; see :func:`analysis.recording.record_made`.
    arguments : mapping of str to str, optional
        Arguments of the net as texts, see :func:`analysis.nets.build`; or of the factory.
    data : str or path
        For the nets that take data; see :func:`analysis.datasets.load`.
    policies, formats : sequence of str
        Named policies, and formats used uniformly.
    reference : str
        "mpmath", "ball", "float64" or "auto".
    target : str, optional
    out : path-like, optional
        Folder for the report as one page, a JSON file, one CSV file per policy, and two figures.
    min_bits : float, optional
        ``ok`` is False if a run keeps fewer bits of the target; ``failures`` then says which.
    seed : int
    progress : callable, optional
        Called with (done, total, text).

    Returns
    -------
    dict
        The contract's trace object, JSON values only.

    Raises
    ------
    FloatEmuError
        If anything given is unknown, does not fit, or cannot be read or written.

    Examples
    --------
    >>> found = run_trace(net="chain", formats=["bf16"], reference="float64")
    >>> found["runs"][0]["target"]["emulated"]
    0.09521484375
    """
    if net == "chain" and (data, seed) != ("digits", 0):
        raise UnsupportedError("the chain has neither data nor a seed; leave both out, or take net='mlp'")
    if min_bits is not None and math.isnan(min_bits):
        raise UnsupportedError("min_bits is NaN, which no result meets; accepted: a number of bits")
    chosen = _policies(policies, formats)
    own = isinstance(data, str) and data == "digits"  # what the nets on data take by themselves, and others not at all
    if factory is not None:
        tape = record_made(factory, arguments or {}, seed)
    else:
        tape = nets.build(net, arguments, data=None if own else data, seed=None if net == "chain" else seed)
    total = 2 + 2 * len(chosen)

    def tell(done: int, text: str) -> None:
        if progress is not None:
            progress(done, total, text)

    tell(0, f"{reference} reference of {len(tape)} nodes")
    exact = make_reference(tape, reference, unit=finest_unit(tape, chosen))
    analyses, runs = [], []
    for index, policy in enumerate(chosen):
        tell(1 + index, f"replay in {policy.name}")
        analyses.append(analyze(tape, policy, exact, target))
        runs.append(analyses[-1].to_json())
    files: list[str] = []
    notes = unfollowed(tape)
    failures = [] if min_bits is None else [text for found in analyses if (text := _too_few(found, min_bits))]
    result = {
        **head("trace", ok=not failures, seed=seed),
        "failures": failures,
        "net": {"name": factory or net, "args": plain(dict(tape.meta))},
        "data": tape.meta.get("data"),
        "reference": plain(exact.to_json()),
        "min_bits": plain(min_bits),
        "runs": runs,
        "out": None if out is None else str(out),
        "files": files,
        "notes": notes,
    }
    if out is not None:
        tell(1 + len(chosen), "files")
        save_trace(Path(out), analyses, result, files, notes)
    tell(total, "done")
    return result
