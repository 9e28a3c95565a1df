"""From a forward pass to a tape: the loss is differentiated, and an optimiser's steps follow where one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from floatemu.errors import UnsupportedError

from ..nets.checks import check_count, check_seed
from ..nets.leaves import Leaves
from ..ops import Builder, Var
from ..optimisers import Optimiser, named
from ..tape import Tape

__all__ = ["Outcome", "Program", "parameters", "record"]


@dataclass(frozen=True)
class Outcome:
    """What a forward pass gives.

    Attributes
    ----------
    loss, logits : Var
    watched : mapping of str to Var
        Other values whose gradients are targets, such as the first state of a recurrent net.

    Examples
    --------
    >>> x = Builder("t").constant(1.0)
    >>> Outcome(x, x).watched
    {}
    """

    loss: Var
    logits: Var
    watched: Mapping[str, Var] = field(default_factory=dict)


Program = Callable[[Leaves], Outcome]


def record(
    name: str, program: Program, seed: int, optimizer: Optimiser | str | None = None, steps: int = 1, **meta: Any
) -> Tape:
    """Record a net forward and backward and, with an optimiser, its updates, as often as asked for.

    Parameters
    ----------
    name : str
    program : callable
        Records the forward pass; takes leaves, gives an outcome.
    seed : int
    optimizer : Optimiser or str, optional
    steps : int
        Training steps; without an optimiser all would be the same, so that more than 1 is refused.
    **meta
        Arguments of the net, for the tape's ``meta``.

    Returns
    -------
    Tape
        Targets "logits", "loss", "grad:NAME" and, with an optimiser, "update:NAME" (what is subtracted) and "new:NAME",
        all of the last step; "loss@K" of the K-th of the steps before it.

    Raises
    ------
    UnsupportedError
        If seed, optimiser or steps are nothing of the kind.

    Examples
    --------
    >>> from analysis.ops import mean
    >>> import numpy as np
    >>> def program(leaves):
    ...     w = leaves.parameter("w", np.array([2.0]))
    ...     return Outcome((w * w).sum(0), w)
    >>> list(record("square", program, 0, "sgd:lr=0.25", steps=2).targets)
    ['loss@1', 'logits', 'loss', 'grad:w', 'update:w', 'new:w']
    """
    check_seed(seed)
    chosen = named(optimizer)
    check_count(1000, steps=steps)
    if steps > 1 and chosen is None:
        raise UnsupportedError(f"steps={steps} without an optimiser would repeat one step; give optimizer='sgd'")
    builder = Builder(name, site=f"nets.{name}")
    leaves = Leaves(builder, seed)
    slots: dict[str, Mapping[str, Var]] = {}
    for count in range(1, steps + 1):
        with builder.at(site=f"nets.{name}" if steps == 1 else f"nets.{name}, step {count}"):
            outcome = program(leaves)
            before = dict(leaves.parameters)
            wanted = {**before, **outcome.watched}
            if count == steps:
                builder.target("logits", outcome.logits)
            builder.target("loss" if count == steps else f"loss@{count}", outcome.loss)
            gradients = dict(zip(wanted, builder.backward(outcome.loss, list(wanted.values()))))
            if count == steps:
                for key, gradient in gradients.items():
                    builder.target(f"grad:{key}", gradient)
            if chosen is not None:
                _update(builder, leaves, chosen, gradients, slots, count, count == steps)
    extra = {} if chosen is None else {"optimizer": chosen.text, "steps": steps}
    return builder.build(net=name, **meta, seed=int(seed), **extra)


def _update(
    builder: Builder,
    leaves: Leaves,
    optimiser: Optimiser,
    gradients: Mapping[str, Var],
    slots: dict[str, Mapping[str, Var]],
    count: int,
    last: bool,
) -> None:
    for key, parameter in list(leaves.parameters.items()):
        with builder.at(f"optimizer.{key}", direction="update"):
            new, update, slots[key] = optimiser.step(parameter, gradients[key], slots.get(key, {}), count)
        leaves.parameters[key] = new
        if last:
            builder.target(f"update:{key}", update)
            builder.target(f"new:{key}", new)


def parameters(tape: Tape) -> dict[str, int]:
    """Return the nodes of a recorded net's parameters by name, in the order in which they were first used.

    Parameters
    ----------
    tape : Tape
        As :func:`record` makes it, of one step.

    Returns
    -------
    dict of str to int

    Raises
    ------
    UnsupportedError
        If parameters and gradients do not belong together: the tape is of another origin.

    Examples
    --------
    >>> import analysis as an
    >>> parameters(an.nets.mlp((64, 10), batch=2))
    {'W0': 2, 'b0': 3}
    """
    # gradients are targets in the order of their parameters; those of what else was watched come after them
    nodes = [node for node in tape.nodes if node.op == "parameter"]
    names = [name.removeprefix("grad:") for name in tape.targets if name.startswith("grad:")][: len(nodes)]
    shapes = [tape.target(f"grad:{name}").shape for name in names]
    if shapes != [node.shape for node in nodes]:
        raise UnsupportedError(f"{tape.name}: parameters and gradients do not pair up; accepted: a tape of an.nets")
    return {name: node.id for name, node in zip(names, nodes)}
