"""Analyses: a tape under a policy against a reference, what was lost at each node, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError

from .attribution import Attribution, attribute
from .bounds import Bound
from .bounds import every as every_bound
from .comparison import (
    NodeReport,
    TargetReport,
    ancestors,
    compare_nodes,
    compare_target,
    flip_events,
    to_json,
)
from .diagnosis import Case, Diagnosis, diagnose
from .dynamics import FLUSHED, Growth, LossScale, growth, loss_scale
from .engine import Run, check_tape, replay
from .events import Event
from .ops import Kind, get_op
from .policy import Policy
from .reference import Reference, finest_unit
from .reference import reference as make_reference
from .report.histogram import Histogram, histogram
from .report.manifest import manifest
from .report.save import save, to_dataframe
from .tape import Tape
from .terminal import plain
from .verdict import verdict

__all__ = ["Analysis", "analyze"]

DEFECTS_LIMIT = 200_000


@dataclass(frozen=True)
class Analysis:
    """What a policy loses on a tape.

    Attributes
    ----------
    tape : Tape
    policy : Policy
    reference : Reference
    runs : mapping of str to Run
        "exact", "emulated", and "pinned": the emulated replay with the exact run's decisions.
    main : str
        The target that ``nodes`` and the verdict speak about by default.

    Examples
    --------
    >>> import analysis as an
    >>> found = an.analyze(an.nets.mlp(batch=8), an.Policy.uniform("e5m2"), "float64")
    >>> found.target("grad:W0").bits < found.target("loss").bits
    True
    """

    tape: Tape
    policy: Policy
    reference: Reference
    runs: Mapping[str, Run]
    main: str

    @cached_property
    def nodes(self) -> tuple[NodeReport, ...]:
        """A report of every node, in order."""
        return self._nodes(self.main)

    def _nodes(self, name: str) -> tuple[NodeReport, ...]:
        shares = self.attribution(name, "error").shares()
        return compare_nodes(self.runs["emulated"], self.runs["exact"], shares)

    def histogram(self, node: int) -> tuple[Histogram, Histogram] | None:
        """Return how the magnitudes of a node's emulated and exact values spread over the binades.

        Parameters
        ----------
        node : int
            Its id.

        Returns
        -------
        tuple of two Histogram, or None
            None where the values are no real numbers.

        Examples
        --------
        >>> import analysis as an
        >>> emulated, exact = an.analyze(an.nets.chain(1e5, 0.25, 2), "binary16").histogram(0)
        >>> emulated.infinities, exact.low, exact.counts  # 2^16 <= 1e5 < 2^17
        (1, 16, (1,))
        """
        values = [self.runs[name].value(node) for name in ("emulated", "exact")]
        return None if values[0].dtype.kind != "f" else (histogram(values[0]), histogram(values[1]))

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """Events of the emulated run, in the order of the nodes."""
        emulated = self.runs["emulated"]
        return tuple(sorted([*emulated.events, *flip_events(emulated, self.runs["exact"])], key=lambda e: e.node))

    @cached_property
    def bounds(self) -> tuple[Bound, ...]:
        """Proven and estimated bounds of every sum and matrix product, next to their measured errors."""
        return every_bound(self.runs["emulated"], self.policy)

    def target(self, name: str) -> TargetReport:
        """Return how much of a target survives.

        Parameters
        ----------
        name : str

        Returns
        -------
        TargetReport

        Raises
        ------
        TapeError
            If the tape has no such target.
        """
        return compare_target(self.runs["emulated"], self.runs["exact"], name)

    def attribution(self, name: str | None = None, functional: str | Sequence[int] | None = None) -> Attribution:
        """Return how the error of a target splits among the nodes that rounded.

        Parameters
        ----------
        name : str, optional
            Default: the main target.
        functional : str or sequence of int, optional
            "value", "norm" or "error", or the index of an element; default "value" for scalars, "norm" else.

        Returns
        -------
        Attribution

        Raises
        ------
        TapeError
            If the tape has no such target.
        UnsupportedError
            If the functional does not fit the target.

        Examples
        --------
        >>> import analysis as an
        >>> found = an.analyze(an.nets.mlp(activation="tanh", batch=8), "bf16", "float64").attribution("grad:W0")
        >>> found.order, abs(found.ratio - 1) < 0.01
        ('first', True)
        """
        runs, name = self.runs, name or self.main
        key = (name, functional if functional is None or isinstance(functional, str) else tuple(functional))
        if key not in self._splits:  # two sweeps of adjoints, and several readers
            self._splits[key] = attribute(runs["emulated"], runs["exact"], name, functional, runs["pinned"])
        return self._splits[key]

    @cached_property
    def _splits(self) -> dict[Any, Attribution]:
        return {}

    def diagnose(self, name: str | None = None) -> tuple[Diagnosis, ...]:
        """Return the causes of what happened to a target, the gravest first; nothing if nothing is wrong.

        Parameters
        ----------
        name : str, optional
            Default: the main target.

        Returns
        -------
        tuple of Diagnosis

        Raises
        ------
        TapeError
            If the tape has no such target.
        """
        name = name or self.main
        self.tape.target(name)
        runs = self.runs
        nodes = self.nodes if name == self.main else self._nodes(name)
        parts = self.attribution(name, "error")
        return diagnose(
            Case(self.tape, runs["emulated"], runs["exact"], runs["pinned"], name, nodes, self.events, parts)
        )

    def growth(self, directions: int = 2) -> dict[str, Growth]:
        """Return how the gradient of the loss grows from stage to stage, exactly and emulated.

        Parameters
        ----------
        directions : int
            Number of Lyapunov exponents wanted.

        Returns
        -------
        dict of str to Growth
            "exact" and "emulated"; see :func:`analysis.dynamics.growth`.

        Raises
        ------
        UnsupportedError
            If the tape has no scalar loss, or fewer than two stages.
        """
        return {name: growth(self.runs[name], "loss", directions) for name in ("exact", "emulated")}

    def loss_scale(self, flushed: float = FLUSHED) -> LossScale:
        """Return the loss scales that keep every gradient in its format: :func:`analysis.dynamics.loss_scale`.

        Parameters
        ----------
        flushed : float
            Share of a tensor's nonzero elements that may round to zero.

        Returns
        -------
        LossScale

        Raises
        ------
        UnsupportedError
            If ``flushed`` is no share, or the tape has no backward pass.
        """
        return loss_scale(self.runs["emulated"], self.runs["exact"], flushed)

    def verdict(self, name: str | None = None) -> str:
        """Return in words what became of a target, and where.

        Parameters
        ----------
        name : str, optional
            Default: the main target.

        Returns
        -------
        str
        """
        name = name or self.main
        path = ancestors(self.tape, name)
        pinned = compare_target(self.runs["pinned"], self.runs["exact"], name).rel_error
        nodes = self.nodes if name == self.main else self._nodes(name)
        kind = self.reference.kind
        words = verdict(self.target(name), nodes, self.events, path, pinned, self.policy.name, kind)
        return " ".join([words, *self.reference.remarks(name)])

    def to_json(self) -> dict[str, Any]:
        """Return the contract's run object: policy, target, pinned, verdict, events, nodes.

        Returns
        -------
        dict
            JSON values; non-finite numbers as text.
        """
        pinned = compare_target(self.runs["pinned"], self.runs["exact"], self.main)
        found = plain(
            {
                "policy": self.policy.name,
                "target": to_json(self.target(self.main)),
                "targets": [to_json(self.target(name)) for name in self.tape.targets],
                "pinned": {"rel_error": pinned.rel_error},
                "completeness": self.attribution().to_json(),
                "verdict": self.verdict(),
                "diagnosis": [cause.to_json() for cause in self.diagnose()],
                "events": [event.to_json() for event in self.events],
                "defects": self._defects(),
                "nodes": [
                    {**to_json(node), "histogram": self._spread(node.id), **self.reference.about(node.id)}
                    for node in self.nodes
                ],
                "manifest": manifest(self),
            }
        )
        assert isinstance(found, dict)
        return found

    def _spread(self, node: int) -> dict[str, Any] | None:
        found = self.histogram(node)
        return None if found is None else dict(zip(("emulated", "exact"), (one.to_json() for one in found)))

    def _defects(self) -> list[dict[str, Any]]:
        # what no data can excuse; looked for where that costs little beside the replays
        if sum(output.size for node in self.tape.nodes for output in node.outputs) > DEFECTS_LIMIT:
            return []
        broken = [bound for bound in self.bounds if bound.broken]
        return [{"kind": "bound_broken", "text": bound.complaint, **bound.to_json()} for bound in broken]

    def to_dataframe(self) -> Any:
        """Return the nodes as a pandas DataFrame, one row each, the run's manifest in its ``attrs``.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        UnsupportedError
            Without pandas; the message names the extra.
        """
        return to_dataframe(self)

    def save(self, path: str | Path) -> None:
        """Write the analysis to a file; the suffix decides how.

        Parameters
        ----------
        path : path-like
            ``.html``: one self-contained page, figures included. ``.json``: everything. ``.csv``, ``.parquet``: one
            line per node. ``.png`` or ``.svg``: error and value range along the graph. All but JSON and CSV need the
            extra ``report``. Every file holds the run's manifest; a CSV file has it beside it, in a file of its own.

        Raises
        ------
        UnsupportedError
            If the suffix is another, or what writes it is missing; the message names the extra.
        FileError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile, analysis as an
        >>> found = an.analyze(an.nets.chain(1e5, 0.25, 10), an.Policy.uniform("bf16"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found.save(f"{folder}/chain.csv")
        ...     print(Path(f"{folder}/chain.csv").read_text()[:22])
        id,op,path,direction,s
        """
        save(self, path)


def analyze(
    tape: Tape,
    policy: Policy | str,
    reference: str | Reference = "mpmath",
    target: str | None = None,
) -> Analysis:
    """Replay a tape under a policy and measure it against a reference.

    Parameters
    ----------
    tape : Tape
    policy : Policy or str
        A policy or the name of one; see :meth:`analysis.policy.Policy.named`.
    reference : str or Reference
        "mpmath", "ball", "float64", "auto", or a reference of the same tape made before; see
        :func:`analysis.reference.reference`.
    target : str, optional
        What the node reports and the verdict speak about. Default: the first gradient, else the last target.

    Returns
    -------
    Analysis

    Raises
    ------
    UnsupportedError
        If the reference or policy is unknown, or the tape is none or has no target.
    TapeError
        If the tape has no such target.

    Examples
    --------
    >>> import analysis as an
    >>> analyze(an.nets.chain(1e5, 0.25, 10), "bf16").target("result").rel_error
    0.0016
    """
    check_tape(tape)
    if not isinstance(policy, Policy):
        policy = Policy.named(policy)
    if not tape.targets:
        raise UnsupportedError(f"{tape.name}: the tape has no target to analyse")
    main = target or next((name for name in tape.targets if name.startswith("grad:")), list(tape.targets)[-1])
    tape.target(main)
    if isinstance(reference, Reference):
        chosen = reference
    else:
        chosen = make_reference(tape, reference, unit=finest_unit(tape, [policy]))
    local = "float64" if chosen.kind == "float64" else "mpmath"
    emulated = replay(tape, policy, local=local)
    # with the same decisions the pinned replay is the free one, bit for bit
    same = all(np.array_equal(emulated.value(node), chosen.run.value(node)) for node in _decisions(tape))
    pinned = replace(emulated, pinned=True) if same else replay(tape, policy, pinned=chosen.run, local=local)
    runs = MappingProxyType({"exact": chosen.run, "emulated": emulated, "pinned": pinned})
    return Analysis(tape, policy, chosen, runs, main)


def _decisions(tape: Tape) -> list[int]:
    return [node.id for node in tape.nodes if get_op(node.op).kind is Kind.BRANCH]
