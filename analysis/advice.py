"""Advice on a recorded run: every mitigation that its tape can be replayed with, measured on that very run."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from statistics import median, median_low
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError

from .comparison import ancestors, compare_target
from .mitigations import MITIGATIONS, NotApplicable, on_tape, parse
from .policy import Policy
from .results import Analysis, analyze
from .tape import Tape
from .terminal import Progress, plain
from .watchlog import is_log, read_tape

__all__ = ["Advice", "Effect", "Option", "advise", "run_advise"]

CLEAR = 0.5
"""Bits by which a result must differ before it is called better or worse."""
SHARE = 0.1
"""Share of lost updates by which it must."""
REPEATS = 5
"""Replays with other random bits, where a policy rounds stochastically."""
MOST_BITS = 53.0
RANGE = ("overflow", "saturation", "nan_born", "inf_born", "underflow")


@dataclass(frozen=True)
class Effect:
    """What a replay keeps of a target.

    Attributes
    ----------
    rel_error, pinned : float
        Relative error, free and with the exact run's decisions.
    bits : float
        -log2 of the relative error, within 0 and 53; 0 where it is infinite or NaN.
    norm_ratio, zero_fraction : float
    range_events : int
        Elements on the way to the target that left the range of their format.
    flips : int
        Decisions on that way that fell otherwise than in the exact run.
    lost_updates : float
        Share of the weights that an optimiser's step on the tape did not move; 0 without one.
    """

    rel_error: float
    pinned: float
    bits: float
    norm_ratio: float
    zero_fraction: float
    range_events: int
    flips: int
    lost_updates: float


@dataclass(frozen=True)
class Option:
    """A mitigation and what it does to the recorded run.

    Attributes
    ----------
    mitigation : str
        As :func:`analysis.mitigations.parse` reads it.
    title, text : str
        Its name in words; what it can and cannot fix.
    effect : Effect
        Medians, where the replay was repeated.
    bits_gained : (float, float, float)
        Median, least and largest gain over the baseline.
    fewer_lost : float
        By how much the share of lost updates fell.
    replays : int
        How many of them: 1 where nothing is random.
    """

    mitigation: str
    title: str
    text: str
    effect: Effect
    bits_gained: tuple[float, float, float]
    fewer_lost: float
    replays: int

    @property
    def verdict(self) -> str:
        """What the option does.

        "better" or "worse" if all replays differ by ``CLEAR`` bits or more, or, where they do not, the share of lost
        updates by ``SHARE`` or more; else "unchanged".
        """
        _, least, most = self.bits_gained
        if least >= CLEAR or most <= -CLEAR:
            return "better" if least >= CLEAR else "worse"
        return "unchanged" if abs(self.fewer_lost) < SHARE else "better" if self.fewer_lost > 0 else "worse"


@dataclass(frozen=True)
class Advice:
    """What mitigations do to a recorded run.

    Attributes
    ----------
    tape : Tape
    policy : Policy
    target : str
    baseline : Effect
    options : tuple of Option
        What helps most, first.
    unmeasured : mapping of str to str
        Mitigations that a recorded run cannot be replayed with, and why.
    diagnosis : tuple of str
        What is wrong without any.
    """

    tape: Tape
    policy: Policy
    target: str
    baseline: Effect
    options: tuple[Option, ...]
    unmeasured: dict[str, str]
    diagnosis: tuple[str, ...]


def _effect(found: Analysis) -> Effect:
    name = found.main
    path = ancestors(found.tape, name)
    report = found.target(name)
    bits = min(max(report.bits, 0.0), MOST_BITS) if math.isfinite(report.rel_error) else 0.0
    pinned = compare_target(found.runs["pinned"], found.runs["exact"], name).rel_error
    hit = [event for event in found.events if event.node in path]
    ranged, flips = (sum(one.count for one in hit if one.kind in kinds) for kinds in (RANGE, ("branch_flip",)))
    return Effect(report.rel_error, pinned, bits, report.norm_ratio, report.zero_fraction, ranged, flips, _lost(found))


def _lost(found: Analysis) -> float:
    moved = [ref for name, ref in found.tape.targets.items() if name.startswith("new:")]
    weights = {ref.node: found.runs["emulated"].value(ref).size for ref in moved}
    lost = sum(event.count for event in found.events if event.kind == "lost_update" and event.node in weights)
    return lost / sum(weights.values()) if weights else 0.0


def _middle(effects: Sequence[Effect]) -> Effect:
    if len(effects) == 1:
        return effects[0]

    def middle(name: str) -> Any:
        return median_low(math.inf if math.isnan(x) else x for x in (getattr(one, name) for one in effects))

    return Effect(**{item.name: middle(item.name) for item in fields(Effect)})


def _random(policy: Policy) -> bool:
    return any(rule.numerics.projection.rounding.stochastic for rule in policy.rules)


def _failed(found: Analysis) -> str | None:
    def finite(run: str, name: str) -> bool:
        return bool(np.isfinite(found.runs[run].value(name)).all())

    broken = [name for name in found.tape.targets if finite("exact", name) and not finite("emulated", name)]
    return next((name for name in broken if name.startswith("grad:")), broken[0] if broken else None)


def _loss_scale(found: Analysis) -> list[str]:
    """Loss scales to try: one amid those that keep every gradient, or the usual one where none does."""
    try:
        scales = found.loss_scale()
    except UnsupportedError:
        return ["loss_scale"]
    if not scales.feasible:
        return ["loss_scale"]
    low, high = scales.low, scales.high
    return [] if low <= 0 <= high else [f"loss_scale:2^{(low + high) // 2}"]


def advise(
    tape: Tape,
    policy: Policy | str,
    reference: str = "float64",
    target: str | None = None,
    progress: Progress | None = None,
) -> Advice:
    """Measure, in replays of a recorded run, what each mitigation does to one of its results.

    Parameters
    ----------
    tape : Tape
    policy : Policy or str
        The arithmetic that gave trouble; see :meth:`analysis.policy.Policy.named`.
    reference : str
        See :func:`analysis.analyze`.
    target : str, optional
        What is judged. Default: the first gradient that is infinite or NaN, else another result that is, where the
        exact one is not; where none is, the first gradient, else the last target.
    progress : callable, optional
        Called with (mitigations measured, all, text).

    Returns
    -------
    Advice

    Raises
    ------
    FloatEmuError
        If policy, reference or target is unknown, or the tape cannot be replayed.

    Notes
    -----
    Each option is one analysis of the same data: what a mitigation does to later steps, or to other data, is the lab's
    affair. A loss scale is compared with the exact gradients scaled alike: unscaling is not part of it, and is exact
    for a power of two in the range of the format that gradients end up in.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.rnn(40, activation="identity", rho=1.5, scale=0.0, loss="linear")
    >>> for best in advise(tape, "fp16", target="grad:h0").options[:2]:
    ...     print(best.mitigation, best.verdict)
    per_tensor_scaling better
    loss_scale:2^-13 better
    """
    chosen = Policy.named(policy) if isinstance(policy, str) else policy
    first = analyze(tape, chosen, reference, target)
    if target is None:
        first = replace(first, main=_failed(first) or first.main)
    baseline = _effect(first)
    tried = [text for name in MITIGATIONS for text in (_loss_scale(first) if name == "loss_scale" else [name])]
    options, unmeasured = [], {}
    for index, text in enumerate(tried):
        if progress is not None:
            progress(index, len(tried), text)
        try:
            changed = on_tape(text, tape, chosen)
        except NotApplicable as error:
            unmeasured[text] = str(error)
            continue
        options.append(_option(text, first, baseline, *changed))
    options.sort(key=_rank)
    causes = tuple(cause.text for cause in first.diagnose())
    return Advice(tape, chosen, first.main, baseline, tuple(options), unmeasured, causes)


def _rank(option: Option) -> tuple[float, ...]:
    """What helps most comes first: verdicts, then bits, then updates, then what was kept in range."""
    effect = option.effect
    verdict = ("better", "unchanged", "worse").index(option.verdict)
    return verdict, -option.bits_gained[0], -option.fewer_lost, effect.zero_fraction, effect.range_events


def _option(text: str, first: Analysis, baseline: Effect, tape: Tape, policy: Policy) -> Option:
    reference = first.reference if tape is first.tape else first.reference.kind
    seeds = range(policy.seed, policy.seed + (REPEATS if _random(policy) else 1))
    effects = [_effect(analyze(tape, replace(policy, seed=seed), reference, first.main)) for seed in seeds]
    gains = sorted(effect.bits - baseline.bits for effect in effects)
    found, _ = parse(text)
    title = found.title if text == found.name else f"{found.title} {text.partition(':')[2]}"
    effect, gained = _middle(effects), (median(gains), gains[0], gains[-1])
    fewer = baseline.lost_updates - effect.lost_updates
    return Option(text, title, found.text, effect, gained, fewer, len(effects))


def run_advise(
    path: str | os.PathLike[str],
    policy: str | None = None,
    reference: str = "float64",
    target: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Advise on a recorded run in a file or folder: the content of ``floatemu advise``.

    Parameters
    ----------
    path : path-like
        A tape, as :meth:`analysis.Tape.save` wrote it, or the log of a watch, whose tape is taken: that of the first
        step that made an infinity or NaN if there was one, else that of the first step.
    policy : str, optional
        Default, for a watch: the policy that was watched.
    reference, target, progress
        See :func:`advise`.

    Returns
    -------
    dict
        JSON values only.

    Raises
    ------
    FloatEmuError
        If the file cannot be used, no policy is known, or anything given is unknown.
    """
    if is_log(path):
        tape, path, manifest = read_tape(path)
        policy = manifest.get("policy") if policy is None else policy
    else:
        tape = Tape.load(path)
    if not isinstance(policy, str):
        raise UnsupportedError(
            f"{path} does not say which arithmetic gave trouble; accepted: --format NAME or --policy NAME"
        )
    found = advise(tape, policy, reference, target, progress)
    made = plain(
        {
            "tape": {"path": str(path), "name": tape.name, "nodes": len(tape), "meta": dict(tape.meta)},
            "policy": found.policy.name,
            "reference": reference,
            "target": found.target,
            "baseline": asdict(found.baseline),
            "diagnosis": found.diagnosis,
            "options": [
                {**asdict(one), "verdict": one.verdict, "bits_gained": _triple(one.bits_gained)}
                for one in found.options
            ],
            "unmeasured": [{"mitigation": name, "reason": reason} for name, reason in found.unmeasured.items()],
        }
    )
    assert isinstance(made, dict)
    return made


def _triple(given: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip(("median", "lo", "hi"), given))
