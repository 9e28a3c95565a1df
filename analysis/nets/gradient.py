"""The gradient chain: a gradient that travels back through equal layers, one number and one factor."""

from __future__ import annotations

import numpy as np

from floatemu.errors import UnsupportedError

from ..ops import Builder
from ..tape import Tape

__all__ = ["MAX_STEPS", "chain"]

MAX_STEPS = 10_000


def chain(start: float, multiplier: float, steps: int) -> Tape:
    """Record the gradient chain g <- g * m: a gradient travelling back through ``steps`` equal layers.

    Parameters
    ----------
    start : float
        First gradient; its node (step 0) is the cast.
    multiplier : float
        Factor of each step.
    steps : int
        Number of multiplications, 1..10000.

    Returns
    -------
    Tape
        Target "result". Node 0 is the start, node 1 the multiplier, node 1 + k the gradient after step k.

    Raises
    ------
    UnsupportedError
        If ``steps`` is out of range, or another argument is no number.

    Examples
    --------
    >>> tape = chain(1e5, 0.25, 10)
    >>> tape.nodes[-1].op, tape.nodes[-1].step
    ('mul', 10)
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise UnsupportedError(f"steps={steps!r}: a chain has 1..{MAX_STEPS} steps")
    for name, value in (("start", start), ("multiplier", multiplier)):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
            raise UnsupportedError(f"{name}={value!r}; accepted: a number")
    builder = Builder("chain", site="nets.chain")
    builder.direction = "backward"
    with builder.at("cast", step=0):
        gradient, factor = builder.leaf("input", float(start)), builder.leaf("constant", float(multiplier))
    for step in range(1, steps + 1):
        with builder.at(f"step{step}", step=step):
            gradient = gradient * factor
    builder.target("result", gradient)
    return builder.build(net="chain", start=repr(float(start)), multiplier=repr(float(multiplier)), steps=steps)
