"""Plans: failures, each with the mitigations to try, over some seeds; and the matrix of verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from floatemu.errors import UnsupportedError

from ..experiments import FAILURES, METRICS, Case, Failure, applies, metric
from ..mitigations import MITIGATIONS
from .store import Record
from .verdicts import compare

__all__ = ["MOST_CASES", "Plan", "Row", "plan_from", "standard_plan"]

MOST_CASES = 20_000
MOST_SEEDS = 1000
Combination = tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One failure and what is tried against it.

    Attributes
    ----------
    failure : Failure
    combinations : tuple of tuple of str
        Mitigations applied together, each a text such as "clip_norm:1.0"; the baseline without any is not among them.
    left_out : mapping of str to str
        Mitigations that do not apply, and why.
    """

    failure: Failure
    combinations: tuple[Combination, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def case(self, combination: Combination, seed: int) -> Case:
        """Return the case of one combination and seed; the combination joins what the failure's own case has."""
        base = self.failure.case
        return replace(base, mitigations=(*base.mitigations, *combination), seed=seed)


@dataclass(frozen=True)
class Plan:
    """Rows over seeds.

    Attributes
    ----------
    name : str
    rows : tuple of Row
    seeds : tuple of int
    """

    name: str
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]

    def cases(self) -> list[Case]:
        """Return all cases: by row, combination (the baseline first), seed."""
        return [
            row.case(combination, seed)
            for row in self.rows
            for combination in ((), *row.combinations)
            for seed in self.seeds
        ]

    def matrix(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """Return the verdict on each combination for each failure.

        Parameters
        ----------
        records : sequence of dict
            In the order of :meth:`cases`.

        Returns
        -------
        list of dict
            The contract's rows. ``verdict`` is "failed" where no seed has a result with and without; those that do not
            apply are not among them.
        """
        taken = iter(records)
        found = []
        for row in self.rows:
            baseline: dict[int, float] = {}
            for combination in ((), *row.combinations):
                group = {seed: next(taken) for seed in self.seeds}
                values = _values(row.failure, group)
                if not combination:
                    baseline = values
                    continue
                found.append(_line(row, combination, baseline, values))
        return found


def _values(failure: Failure, group: Mapping[int, Record]) -> dict[int, float]:
    done = {seed: _restored(record["result"]) for seed, record in group.items() if record["status"] == "done"}
    return {seed: metric(failure.metric, result) for seed, result in done.items()}


def _restored(value: Any) -> Any:
    """What JSON has as a text, infinities and NaN, as the numbers they are."""
    if isinstance(value, dict):
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return float(value) if value in ("inf", "-inf", "nan") else value


def _line(
    row: Row, combination: Combination, baseline: Mapping[int, float], values: Mapping[int, float]
) -> dict[str, Any]:
    name, metric_name = row.failure.name, row.failure.metric
    line: dict[str, Any] = {"failure": name, "mitigation": " + ".join(combination), "metric": metric_name}
    found = compare(baseline, values)
    if found is None:
        return {**line, "verdict": "failed", "seeds": 0}
    return {**line, **found.to_json(), "healthy": found.value.median <= row.failure.healthy}


def standard_plan(seeds: int = 3) -> Plan:
    """Return the standard matrix: every named failure with every mitigation that applies to it.

    Parameters
    ----------
    seeds : int

    Returns
    -------
    Plan
    """
    return Plan("standard", tuple(_all_of(failure) for failure in FAILURES.values()), tuple(range(seeds)))


def _all_of(failure: Failure) -> Row:
    reasons = {name: applies(name, failure.case) for name in MITIGATIONS}
    fitting = tuple((name,) for name, reason in reasons.items() if reason is None)
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    return Row(failure, fitting, left_out)


_KEYS = ("name", "seeds", "experiments")
_OWN = ("failure", "name", "text", "metric", "healthy", "mitigations")


def plan_from(given: Any) -> Plan:
    """Return the plan that a user's specification describes.

    Parameters
    ----------
    given : object
        A mapping: ``name``; ``seeds``, a number or a list (default 5); ``experiments``, a list of mappings. Each has
        either ``failure``, the name of a standard one, or ``name`` and ``metric`` with the keys of a case
        (:class:`analysis.experiments.Case`); then ``mitigations``, "all" or a list of texts, or of lists of texts to
        apply together.

    Returns
    -------
    Plan

    Raises
    ------
    UnsupportedError
        If anything is unknown or too large; the message says where, and what is accepted.

    Examples
    --------
    >>> one = {"failure": "flips", "mitigations": ["layer_norm", ["layer_norm", "clip_norm:0.5"]]}
    >>> len(plan_from({"name": "mine", "seeds": 2, "experiments": [one]}).cases())
    6
    >>> plan_from({"name": "mine", "experiment": []})
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: unknown key 'experiment'; accepted: name, seeds, experiments
    """
    _mapping(given, "the specification", _KEYS)
    name = given.get("name", "custom")
    if not isinstance(name, str) or not 0 < len(name) <= 100:
        raise UnsupportedError("name: accepted: a text of 1 to 100 characters")
    experiments = given.get("experiments")
    if not isinstance(experiments, list) or not experiments:
        raise UnsupportedError("experiments: accepted: a list of at least one experiment")
    seeds = _seeds(given.get("seeds", 5))
    rows = []
    for index, one in enumerate(experiments):
        try:
            rows.append(_row(one, index))
        except UnsupportedError as error:
            raise UnsupportedError(f"experiments[{index}]: {error}") from None
    names = [row.failure.name for row in rows]
    for index, row in enumerate(rows):
        if row.failure.name in names[:index]:
            raise UnsupportedError(
                f"experiments[{index}]: the name {row.failure.name!r} occurs twice; give another name"
            )
    count = sum(len(row.combinations) + 1 for row in rows) * len(seeds)
    if count > MOST_CASES:
        raise UnsupportedError(f"{count} cases (experiments x mitigations x seeds); accepted: at most {MOST_CASES}")
    return Plan(name, tuple(rows), seeds)


def _mapping(given: Any, what: str, keys: Sequence[str]) -> None:
    if not isinstance(given, dict):
        raise UnsupportedError(f"{what} is {type(given).__name__}; accepted: a mapping of {', '.join(keys)}")
    for key in given:
        if key not in keys:
            raise UnsupportedError(f"unknown key {key!r}; accepted: {', '.join(keys)}")


def _seeds(given: Any) -> tuple[int, ...]:
    whole = isinstance(given, int) and not isinstance(given, bool)
    found = list(range(given)) if whole and 0 < given <= MOST_SEEDS else given
    good = isinstance(found, list) and 0 < len(found) <= MOST_SEEDS and len(set(map(str, found))) == len(found)
    if not good or not all(type(seed) is int and 0 <= seed < 2**32 for seed in found):
        raise UnsupportedError(
            f"seeds: accepted: a number, 1..{MOST_SEEDS}, or a list of different integers, 0..2^32 - 1"
        )
    return tuple(found)


def _row(given: Any, index: int) -> Row:
    fields = tuple(key for key in Case.__dataclass_fields__ if key not in ("seed", "mitigations"))
    _mapping(given, "an experiment", (*_OWN, *fields))
    failure = _failure(given, index, fields)
    chosen = given.get("mitigations", "all")
    if chosen == "all":
        return _all_of(failure)
    if not isinstance(chosen, list):
        raise UnsupportedError("mitigations: accepted: all, or a list of mitigations, or of lists to apply together")
    combinations = [tuple(one) if isinstance(one, list) else (one,) for one in chosen]
    for combination in combinations:
        _check_combination(combination, failure)
    return Row(failure, tuple(dict.fromkeys(combinations)))


def _check_combination(combination: Combination, failure: Failure) -> None:
    case = failure.case
    for text in combination:
        if not isinstance(text, str):
            raise UnsupportedError(f"mitigations: {text!r}; accepted: texts such as clip_norm:1.0")
        reason = applies(text, case)
        if reason is not None:
            raise UnsupportedError(f"{text} does not apply: {reason}")
        case = replace(case, mitigations=(*case.mitigations, text))


def _failure(given: Mapping[str, Any], index: int, fields: Sequence[str]) -> Failure:
    own = {key: given[key] for key in fields if key in given}
    if "failure" in given:
        if own:
            raise UnsupportedError(f"failure: has a case of its own; leave out {', '.join(own)}, or give name and net")
        if not isinstance(given["failure"], str) or given["failure"] not in FAILURES:
            raise UnsupportedError(f"failure={str(given['failure'])[:60]!r}; accepted: {', '.join(FAILURES)}")
        known = FAILURES[given["failure"]]
        return replace(known, healthy=_healthy(given, known.healthy))
    chosen = given.get("metric")
    if not isinstance(chosen, str) or chosen not in METRICS:
        raise UnsupportedError(f"metric={str(chosen)[:60]!r}; accepted: {', '.join(METRICS)}")
    name, text = given.get("name", f"experiment {index}"), given.get("text", "")
    for key, value in (("name", name), ("text", text)):
        if not isinstance(value, str) or len(value) > 500:
            raise UnsupportedError(f"{key}: accepted: a text of at most 500 characters")
    return Failure(name, name, Case.from_json(own), chosen, _healthy(given, 0.0), text)


def _healthy(given: Mapping[str, Any], default: float) -> float:
    value = given.get("healthy", default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnsupportedError(f"healthy={value!r}; accepted: a number")
    return float(value)
