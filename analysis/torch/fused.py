"""Rules for what torch runs as one kernel over all parameters: optimisers, whose step is that of
:mod:`analysis.optimisers`, and the division of gradients by a loss scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ops import Var
from ..optimisers import Adam, Sgd
from .context import Context, NoRule

__all__ = ["RULES"]


def _skipped(c: Context, found_inf: Any) -> bool:
    # whether a step is taken is as it was
    return found_inf is not None and c.real(found_inf).value.item() != 0


def _unscaled(c: Context, gradients: Sequence[Var], scale: Any) -> Sequence[Var]:
    return gradients if scale is None else [g / c.real(scale) for g in gradients]


def _adam(decoupled: bool) -> Callable[..., list[Var]]:
    def rule(
        c: Context,
        parameters: Sequence[Var],
        gradients: Sequence[Var],
        firsts: Sequence[Var],
        seconds: Sequence[Var],
        largest: Sequence[Var],
        steps: Sequence[Var],
        *,
        lr: Any,
        beta1: float,
        beta2: float,
        weight_decay: float,
        eps: float,
        amsgrad: bool,
        maximize: bool,
        grad_scale: Any = None,
        found_inf: Any = None,
    ) -> list[Var]:
        if amsgrad or maximize or not isinstance(lr, float):
            raise NoRule
        if _skipped(c, found_inf):
            return [*parameters, *gradients, *firsts, *seconds]
        gradients = _unscaled(c, gradients, grad_scale)
        step = Adam(lr, beta1, beta2, eps, weight_decay, decoupled).step
        new, one, two = [], [], []
        for w, g, first, second, count in zip(parameters, gradients, firsts, seconds, steps, strict=True):
            number = int(count.value.item())
            slots = {"first": first, "second": second} if number > 1 else {}
            w, _, kept = step(w, g, slots, number)
            new.append(w)
            one.append(kept["first"])
            two.append(kept["second"])
        return [*new, *gradients, *one, *two]

    return rule


def _sgd(
    c: Context,
    parameters: Sequence[Var],
    gradients: Sequence[Var],
    velocities: Sequence[Var],
    *,
    weight_decay: float,
    momentum: float,
    lr: Any,
    dampening: float,
    nesterov: bool,
    maximize: bool,
    is_first_step: bool,
    grad_scale: Any = None,
    found_inf: Any = None,
) -> list[Var]:
    if dampening or nesterov or maximize or not isinstance(lr, float):
        raise NoRule
    if _skipped(c, found_inf):
        return [*parameters, *gradients, *(velocities if momentum else ())]
    gradients = _unscaled(c, gradients, grad_scale)
    step, new, kept = Sgd(lr, momentum, weight_decay).step, [], []
    for index, (w, g) in enumerate(zip(parameters, gradients, strict=True)):
        slots = {"velocity": velocities[index]} if momentum and not is_first_step else {}
        w, _, after = step(w, g, slots, 1)
        new.append(w)
        kept += [after["velocity"]] if momentum else []
    return [*new, *gradients, *kept]


def _unscale(c: Context, gradients: Sequence[Var], found: Var, inverse: Var) -> list[Var | None]:
    return [*(c.real(g) * c.real(inverse) for g in gradients), None]


RULES: dict[str, Callable[..., Any]] = {
    "_fused_adam_": _adam(decoupled=False),
    "_fused_adamw_": _adam(decoupled=True),
    "_fused_sgd_": _sgd,
    "_amp_foreach_non_finite_check_and_unscale_": _unscale,
}
"""By name without overload; in the order in which the schema names what is written."""
