"""Mitigations of a tape that is already recorded, of whatever program."""

from __future__ import annotations

from dataclasses import replace

from ..mitigations.table import NotApplicable, parse
from ..policy import Policy
from ..tape import Tape
from ..training.treatment import scale_leaf

__all__ = ["on_tape", "scaled"]


def scaled(tape: Tape, scale: float) -> Tape:
    """Return a tape whose backward pass starts from a loss scale; its gradients are larger by as much.

    Parameters
    ----------
    tape : Tape
    scale : float

    Returns
    -------
    Tape

    Raises
    ------
    UnsupportedError
        If the tape has no backward pass that starts from a constant.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 10), batch=2)
    >>> pair = [an.replay(one, an.Float64()).value("grad:W0") for one in (tape, scaled(tape, 4.0))]
    >>> bool((pair[1] == 4.0 * pair[0]).all())
    True
    """
    seed = scale_leaf(tape)
    return replace(tape, data={**tape.data, seed: tape.data[seed] * scale})


def on_tape(text: str, tape: Tape, policy: Policy) -> tuple[Tape, Policy]:
    """Return a tape and a policy with a mitigation.

    Parameters
    ----------
    text : str
        See :func:`~analysis.mitigations.parse`. Those of a policy apply to every tape, loss scales to those with a
        backward pass that starts from a constant.
    tape : Tape
    policy : Policy

    Returns
    -------
    tuple of (Tape, Policy)

    Raises
    ------
    NotApplicable
        If it needs more than a recorded tape: another net, or the loop of a training run.

    Examples
    --------
    >>> import analysis as an
    >>> tape = an.nets.mlp((64, 10), batch=2)
    >>> scaled_tape, policy = on_tape("loss_scale:8", tape, an.Policy.uniform("fp16"))
    >>> float(scaled_tape.data[scale_leaf(tape)])
    8.0
    """
    found, given = parse(text)
    if found.level == "policy":
        return tape, found.change(policy, **given)
    if found.name == "loss_scale":
        return scaled(tape, given.get("scale", found.parameters["scale"])), policy
    needs = "another net" if found.level == "net" else "a training loop"
    raise NotApplicable(
        f"{found.name} needs {needs}, a recorded tape has none; accepted: those of a policy, loss_scale"
    )
