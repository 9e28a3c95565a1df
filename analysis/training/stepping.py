"""Steppers: one tape under one policy, made ready once, then evaluated again and again with other data, values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arithmetics.base import Array
from ..arithmetics.emulated import Rounder
from ..arithmetics.float64 import Float64
from ..ops import Kind, get_op
from ..policy import OPERANDS, SUMS, Numerics, Policy
from ..tape import Node, Tape

__all__ = ["Stepper"]

Cast = Callable[[Array, int], Array]


class Stepper:
    """A replay without events and records, for loops: the values of :func:`analysis.engine.replay`, bit for bit.

    Parameters
    ----------
    tape : Tape
    policy : Policy, optional
        Default: binary64, nothing rounded.
    until : int, optional
        Last node wanted; default all.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 8, 10), batch=4)
    >>> stepper = Stepper(tape, an.Policy.uniform("bf16"))
    >>> values = stepper.run()
    >>> run = an.replay(tape, "bf16")
    >>> all(a.tobytes() == b[0].tobytes() for a, b in zip(values, run.values))
    True
    """

    def __init__(self, tape: Tape, policy: Policy | None = None, until: int | None = None) -> None:
        self.tape, self.policy = tape, policy
        last = len(tape) if until is None else until + 1
        self._plan = [self._ready(node) for node in tape.nodes[:last]]
        self._casts: dict[int, tuple[Array, Array]] = {}

    def run(
        self,
        data: Mapping[int, Array] | None = None,
        step: int = 0,
        decisions: Sequence[Array] | None = None,
    ) -> list[Array]:
        """Return the values of all nodes.

        Parameters
        ----------
        data : mapping of int to ndarray, optional
            What leaves hold instead of what the tape has for them, by node id.
        step : int
            Stochastic rounding draws other bits for each.
        decisions : sequence of ndarray, optional
            Values of another run whose comparisons are taken over instead of being made anew.

        Returns
        -------
        list of ndarray
        """
        values: list[Array] = []
        data = data or {}
        with np.errstate(all="ignore"):  # what numpy would warn about is what is being studied
            for node, (evaluate, branch) in zip(self.tape.nodes, self._plan):
                if branch and decisions is not None:
                    values.append(decisions[node.id])
                else:
                    values.append(evaluate(values, data, step))
        return values

    def value(self, values: Sequence[Array], what: str) -> Array:
        """Return a target among the values of a run.

        Parameters
        ----------
        values : sequence of ndarray
        what : str

        Returns
        -------
        ndarray
        """
        self.tape.target(what)
        return values[self.tape.targets[what].node]

    def _ready(self, node: Node) -> tuple[Callable[[list[Array], Mapping[int, Array], int], Array], bool]:
        spec = get_op(node.op)
        inputs, attributes = [ref.node for ref in node.inputs], node.attributes
        if node.leaf:
            return self._leaf(node), False
        if spec.kind in (Kind.MOVE, Kind.BRANCH) or self.policy is None:
            arithmetic: Float64 = Float64()
            drawn: Numerics | None = None
            casts: list[Cast | None] = [None] * len(inputs)
            finish = None
        else:
            policy, numerics = self.policy, self.policy.numerics(node, 0)
            backward = [self.tape.made_backward(ref) for ref in node.inputs]
            arithmetic = self._arithmetic(node, numerics, 0)
            drawn = numerics if numerics.accumulate and numerics.projection.rounding.stochastic else None
            casts = [
                self._cast(numerics.operand_rounder(made, policy.seed, policy.stream(node, OPERANDS + i, 0)))
                for i, made in enumerate(backward)
            ]
            finish = self._cast(numerics.rounder(policy.seed, policy.stream(node, 0, 0)))
        forward = spec.forward

        def evaluate(values: list[Array], data: Mapping[int, Array], step: int) -> Array:
            operands = [values[i] for i in inputs]
            for position, cast in enumerate(casts):
                if cast is not None and operands[position].dtype.kind == "f":
                    operands[position] = cast(operands[position], step)
            chosen = arithmetic if drawn is None else self._arithmetic(node, drawn, step)
            result = np.asarray(forward(chosen, operands, attributes))
            return finish(result, step) if finish is not None and result.dtype.kind == "f" else result

        return evaluate, spec.kind is Kind.BRANCH

    def _arithmetic(self, node: Node, numerics: Numerics, step: int) -> Float64:
        assert self.policy is not None
        backward = [self.tape.made_backward(ref) for ref in node.inputs]
        return numerics.arithmetic(backward, self.policy.seed, self.policy.stream(node, SUMS, step))

    def _leaf(self, node: Node) -> Callable[[list[Array], Mapping[int, Array], int], Array]:
        own, finish, stochastic = self.tape.data[node.id], None, False
        if self.policy is not None and own.dtype.kind == "f":
            rounder = self.policy.numerics(node, 0).rounder(self.policy.seed, self.policy.stream(node, 0, 0))
            finish = self._cast(rounder)
            stochastic = rounder is not None and rounder.projection.rounding.stochastic

        def evaluate(values: list[Array], data: Mapping[int, Array], step: int) -> Array:
            given = data.get(node.id, own)
            if finish is None:
                return given
            if given is not own or stochastic:
                return finish(given, step)
            if node.id not in self._casts:  # the same every time
                self._casts[node.id] = (given, finish(given, step))
            return self._casts[node.id][1]

        return evaluate

    @staticmethod
    def _cast(rounder: Rounder | None) -> Cast | None:
        if rounder is None:
            return None
        if not rounder.projection.rounding.stochastic:
            return lambda x, step: rounder(x)
        chosen: Any = rounder
        return lambda x, step: replace(chosen, stream=chosen.stream + (step << 32))(x)
