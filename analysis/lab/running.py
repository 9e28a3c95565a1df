"""``floatemu lab``: a plan carried out, and all that came of it as one JSON object."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..experiments import METRICS, run_case
from ..mitigations import parse
from ..terminal import Progress, head, plain
from .executors import open_executor
from .identity import source_hash, spec_hash
from .plan import Plan, Row, plan_from, standard_plan
from .store import Record, write_whole
from .sweeping import sweep

__all__ = ["FILE", "run_lab"]

FILE = "lab.json"
SEEDS = 3


def run_lab(
    spec: str | None = None,
    seeds: int | None = None,
    out: str = "lab",
    executor: str = "processes",
    workers: int | None = None,
    scheduler: str | None = None,
    retry: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Carry out the standard matrix, or a user's experiments, and write what came of it.

    Parameters
    ----------
    spec : str, optional
        A YAML file of experiments; see :func:`analysis.lab.plan.plan_from`. Default: the standard matrix.
    seeds : int, optional
        Of the standard matrix; default 3.
    out : str
        Folder for finished cases and ``lab.json``. Cases that it holds are not computed again.
    executor, workers, scheduler
        See :func:`analysis.lab.executors.open_executor`.
    retry : bool
        Whether cases that failed before are computed again.
    progress : callable, optional
        Called with (cases finished, all, text).

    Returns
    -------
    dict
        The contract's lab object, JSON values only; it is also the content of ``lab.json``.

    Raises
    ------
    FloatEmuError
        If the specification cannot be used, workers die, or the folder cannot be written.
    """
    if spec is None:
        plan = standard_plan(seeds or SEEDS)
    else:
        from .specs import read_yaml

        plan = plan_from(read_yaml(spec))
    with open_executor(executor, workers, scheduler) as pool:
        found = sweep(plan.cases(), run_case, out, pool, retry=retry, progress=progress)
    words = ["floatemu", "lab", *(("--spec", spec) if spec is not None else ("--seeds", str(len(plan.seeds))))]
    result = _described(plan, found.records, found.counts, shlex.join(words))
    result["out"] = out
    result["files"] = [FILE]
    write_whole(Path(out) / FILE, json.dumps(result, allow_nan=False) + "\n")
    return result


def _described(plan: Plan, records: Sequence[Record], counts: dict[str, int], command: str) -> dict[str, Any]:
    names = [
        (row.failure.name, " + ".join(combination)) for row in plan.rows for combination in ((), *row.combinations)
    ]
    keyed = [name for name in names for _ in plan.seeds]
    result = plain(
        {
            **head("lab", ok=counts["failed"] == 0),
            "name": plan.name,
            "spec_hash": spec_hash([record["case"] for record in records]),
            "source_hash": source_hash(),
            "reproduce": command,
            "seeds": plan.seeds,
            "failures": [_failure(row) for row in plan.rows],
            "mitigations": [_mitigation(text) for text in dict.fromkeys(name for _, name in names if name)],
            "cases": [_case(*name, record) for name, record in zip(keyed, records)],
            "matrix": plan.matrix(records),
            "counts": counts,
        }
    )
    assert isinstance(result, dict)
    return result


def _failure(row: Row) -> dict[str, Any]:
    failure = row.failure
    told = {key: getattr(failure, key) for key in ("name", "title", "text", "metric")}
    about = {"metric_text": METRICS[failure.metric].text, "healthy": failure.healthy}
    return {**told, **about, "case": failure.case.to_json(), "left_out": dict(row.left_out)}


def _words(text: str) -> str:
    """Text of a docstring without the roles of references."""
    return re.sub(r":\w+:`~?([\w.]+)`", r"\1", text)


def _mitigation(text: str) -> dict[str, Any]:
    parts = text.split(" + ")
    found = [parse(part)[0] for part in parts]
    return {
        "name": text,
        "title": text if len(parts) > 1 or ":" in text else found[0].title,
        "text": " ".join(_words(one.text) for one in found),
        "source": " ".join(_words(one.source) for one in found),
        "level": found[0].level if len(found) == 1 else "several",
    }


def _case(failure: str, mitigation: str, record: Record) -> dict[str, Any]:
    """A finished case as the contract has it: specification and results side by side."""
    case = {key: value for key, value in record["case"].items() if key != "args"}
    case["net"] = {"name": record["case"]["net"], "args": record["case"]["args"]}
    names = {"key": record["key"], "failure": failure, "mitigation": mitigation}
    rest = {key: record[key] for key in ("status", "error", "seconds")}
    return {**names, **case, **rest, **record["result"]}
