"""Optimisers as operations on the tape: what they do to a parameter can be replayed and analysed like anything else."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from floatemu.errors import UnsupportedError

from .ops import Var

__all__ = ["OPTIMISERS", "Adam", "Optimiser", "Sgd", "adam", "adamw", "check_closure", "momentum", "named", "sgd"]

Slots = Mapping[str, Var]


@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent, with or without momentum; see :func:`sgd` and :func:`momentum`.

    Attributes
    ----------
    lr, momentum, weight_decay : float

    Examples
    --------
    >>> Sgd(0.1).text
    'sgd:lr=0.1,weight_decay=0.0'
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, below_one=("momentum",))

    @property
    def text(self) -> str:
        """The optimiser as :func:`named` reads it."""
        return _text("momentum", self) if self.momentum else _text("sgd", self, "momentum")

    def step(self, parameter: Var, gradient: Var, slots: Slots, count: int) -> tuple[Var, Var, Slots]:
        """Record one update of one parameter.

        Parameters
        ----------
        parameter, gradient : Var
            Equal shapes.
        slots : mapping of str to Var
            What the last step left; empty before the first.
        count : int
            Number of this step, from 1.

        Returns
        -------
        tuple of (Var, Var, mapping of str to Var)
            The new parameter, what was subtracted from the old one, and the slots for the next step.

        Examples
        --------
        >>> import numpy as np
        >>> from analysis.ops import Builder
        >>> b = Builder("t")
        >>> w, g = b.leaf("parameter", np.array([1.0])), b.leaf("input", np.array([0.5]))
        >>> new, update, _ = Sgd(0.5).step(w, g, {}, 1)
        >>> new.value.tolist(), update.value.tolist()
        ([0.75], [0.25])
        """
        constant = parameter.builder.constant
        if self.weight_decay:
            gradient = gradient + constant(self.weight_decay) * parameter
        kept: Slots = {}
        if self.momentum:
            # the first velocity is the gradient itself, not a sum with momentum times zero
            gradient = constant(self.momentum) * slots["velocity"] + gradient if slots else gradient
            kept = {"velocity": gradient}
        update = constant(self.lr) * gradient
        return parameter - update, update, kept


@dataclass(frozen=True)
class Adam:
    """Adam and AdamW; see :func:`adam` and :func:`adamw`.

    Attributes
    ----------
    lr, beta1, beta2, eps, weight_decay : float
    decoupled : bool
        Whether the decay is AdamW's.

    Examples
    --------
    >>> Adam(1e-3).eps
    1e-08
    """

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False

    def __post_init__(self) -> None:
        _check(self, below_one=("beta1", "beta2"))

    @property
    def text(self) -> str:
        """The optimiser as :func:`named` reads it."""
        return _text("adamw" if self.decoupled else "adam", self, "decoupled")

    def step(self, parameter: Var, gradient: Var, slots: Slots, count: int) -> tuple[Var, Var, Slots]:
        """Record one update of one parameter; arguments and results as those of :meth:`Sgd.step`.

        Parameters
        ----------
        parameter, gradient : Var
        slots : mapping of str to Var
        count : int

        Returns
        -------
        tuple of (Var, Var, mapping of str to Var)

        Examples
        --------
        >>> import numpy as np
        >>> from analysis.ops import Builder
        >>> b = Builder("t")
        >>> w, g = b.leaf("parameter", np.array([1.0])), b.leaf("input", np.array([4.0]))
        >>> new, _, _ = Adam(0.25, eps=0.0).step(w, g, {}, 1)
        >>> round(new.value.item(), 12)  # the first step is as long as the learning rate
        0.75
        """
        constant = parameter.builder.constant
        if self.weight_decay and self.decoupled:
            parameter = parameter * constant(1.0 - self.lr * self.weight_decay)
        elif self.weight_decay:
            gradient = gradient + constant(self.weight_decay) * parameter
        new = {
            "first": constant(1.0 - self.beta1) * gradient,
            "second": constant(1.0 - self.beta2) * (gradient * gradient),
        }
        if slots:
            new["first"] = constant(self.beta1) * slots["first"] + new["first"]
            new["second"] = constant(self.beta2) * slots["second"] + new["second"]
        first, second = 1.0 - _power(self.beta1, count), 1.0 - _power(self.beta2, count)
        root = new["second"].sqrt() / constant(math.sqrt(second)) + constant(self.eps)
        update = constant(self.lr / first) * (new["first"] / root)
        return parameter - update, update, new


Optimiser = Sgd | Adam


def _power(base: float, count: int) -> float:
    result = 1.0  # by multiplication: the C library's pow differs in the last bit from one to the next
    for _ in range(count):
        result *= base
    return result


def _check(given: Optimiser, below_one: tuple[str, ...]) -> None:
    for item in fields(given):
        value = getattr(given, item.name)
        if item.name == "decoupled":
            continue
        low, high = 0.0, 1.0 if item.name in below_one else math.inf
        accepted = f"a number {'above 0' if item.name == 'lr' else 'from 0'}{' and below 1' if high == 1.0 else ''}"
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (number and low <= value < high) or (item.name == "lr" and value == 0):
            raise UnsupportedError(f"{item.name}={value!r}; accepted: {accepted}")


def _text(name: str, given: Optimiser, without: str = "") -> str:
    return f"{name}:" + ",".join(f"{f.name}={getattr(given, f.name)!r}" for f in fields(given) if f.name != without)


def sgd(lr: float = 0.1, weight_decay: float = 0.0) -> Sgd:
    """Return plain gradient descent: w - lr (g + weight_decay w).

    Parameters
    ----------
    lr : float
    weight_decay : float

    Returns
    -------
    Sgd

    Raises
    ------
    UnsupportedError
        If a number is out of range.

    Examples
    --------
    >>> import analysis as an
    >>> list(an.nets.mlp((64, 10), batch=2, optimizer=sgd(0.5)).targets)[-2:]
    ['update:b0', 'new:b0']
    """
    return Sgd(lr, 0.0, weight_decay)


def momentum(lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0) -> Sgd:
    """Return gradient descent with momentum: v = momentum v + g, w - lr v, with v = g in the first step.

    Parameters
    ----------
    lr, momentum, weight_decay : float

    Returns
    -------
    Sgd

    Raises
    ------
    UnsupportedError
        If a number is out of range.

    Notes
    -----
    The form of PyTorch and of Sutskever et al. 2013 with the learning rate outside the velocity.

    Examples
    --------
    >>> momentum().momentum
    0.9
    """
    return Sgd(lr, momentum, weight_decay)


def adam(
    lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
) -> Adam:
    """Return Adam (Kingma and Ba 2015, algorithm 1); weight decay is added to the gradient.

    Parameters
    ----------
    lr, beta1, beta2, eps, weight_decay : float

    Returns
    -------
    Adam

    Raises
    ------
    UnsupportedError
        If a number is out of range.

    Notes
    -----
    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; the step is
    lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps), in the order in which PyTorch evaluates it.

    Examples
    --------
    >>> adam(1e-2).text
    'adam:lr=0.01,beta1=0.9,beta2=0.999,eps=1e-08,weight_decay=0.0'
    """
    return Adam(lr, beta1, beta2, eps, weight_decay)


def adamw(
    lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.01
) -> Adam:
    """Return AdamW (Loshchilov and Hutter 2019, algorithm 2): Adam after w (1 - lr weight_decay).

    Parameters
    ----------
    lr, beta1, beta2, eps, weight_decay : float

    Returns
    -------
    Adam

    Raises
    ------
    UnsupportedError
        If a number is out of range.

    Examples
    --------
    >>> adamw().decoupled
    True
    """
    return Adam(lr, beta1, beta2, eps, weight_decay, decoupled=True)


OPTIMISERS: Mapping[str, Callable[..., Optimiser]] = {"sgd": sgd, "momentum": momentum, "adam": adam, "adamw": adamw}
"""Name to function, for command lines."""


def named(given: Optimiser | str | None) -> Optimiser | None:
    """Return an optimiser from its name and numbers, such as "adam" or "adam:lr=0.01,eps=1e-6".

    Parameters
    ----------
    given : str, Optimiser or None
        The last two are returned as they are.

    Returns
    -------
    Optimiser or None

    Raises
    ------
    UnsupportedError
        If the name or a number is unknown.

    Examples
    --------
    >>> named("momentum:lr=0.5").lr
    0.5
    >>> named("lion")
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: optimizer='lion'; accepted: sgd, momentum, adam, adamw, numbers as in adam:lr=0.1
    """
    if given is None or isinstance(given, Optimiser):
        return given
    accepted = f"accepted: {', '.join(OPTIMISERS)}, numbers as in adam:lr=0.1"
    if not isinstance(given, str):
        raise UnsupportedError(f"optimizer={given!r}; {accepted}")
    name, _, rest = given.partition(":")
    if name not in OPTIMISERS:
        raise UnsupportedError(f"optimizer={given!r}; {accepted}")
    known = inspect.signature(OPTIMISERS[name]).parameters
    numbers: dict[str, float] = {}
    for word in filter(None, rest.split(",")):
        key, _, text = word.partition("=")
        if key not in known:
            raise UnsupportedError(f"optimizer={given!r}: {name} has no {key!r}; accepted: {', '.join(known)}")
        try:
            numbers[key] = float(text)
        except ValueError:
            raise UnsupportedError(f"optimizer={given!r}: {word!r} is not name=number; {accepted}") from None
    return OPTIMISERS[name](**numbers)


def check_closure(optimizer: Any, doing: str) -> None:
    """Refuse an optimiser of torch's whose step runs the model by itself.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    doing : str
        What the caller does with it, as a command.

    Raises
    ------
    UnsupportedError
        If its step does.

    Examples
    --------
    >>> class Search:
    ...     def step(self, closure): ...
    >>> check_closure(Search(), "train")  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: Search.step needs a closure that computes the loss again, so that one step is
    many passes; train with an optimiser whose step() takes nothing
    """
    try:
        inspect.signature(optimizer.step).bind()
    except TypeError:
        raise UnsupportedError(
            f"{type(optimizer).__name__}.step needs a closure that computes the loss again, so that one step is many "
            f"passes; {doing} with an optimiser whose step() takes nothing"
        ) from None
