"""What a training run consists of, as one frozen value that mitigations change and the loop carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import floatemu as fe
from floatemu.errors import UnsupportedError

from ..nets import NETS
from ..optimisers import Optimiser
from ..policy import Numerics, Policy
from ..tape import Node, Tape

__all__ = ["Accumulation", "Clip", "Scaler", "Setup", "update_numerics"]


@dataclass(frozen=True)
class Clip:
    """A limit on gradients, as PyTorch's ``clip_grad_norm_`` and ``clip_grad_value_`` set it.

    Parameters
    ----------
    kind : str
        "norm": all gradients are scaled so that their common norm is at most the limit; "value": each element is cut.
    limit : float

    Raises
    ------
    UnsupportedError
        If either is nothing of the kind.

    Examples
    --------
    >>> Clip("norm", 1.0).limit
    1.0
    """

    kind: str
    limit: float

    def __post_init__(self) -> None:
        if self.kind not in ("norm", "value"):
            raise UnsupportedError(f"clip kind={self.kind!r}; accepted: norm, value")
        _positive("clip limit", self.limit)


@dataclass(frozen=True)
class Scaler:
    """A loss scale: the backward pass starts from it instead of from 1, and gradients are divided by it afterwards.

    Parameters
    ----------
    scale : float
        At the start.
    interval : int, optional
        None: the scale stays, whatever comes out. Else it is dynamic: a step whose gradients hold an infinity or NaN is
        skipped and multiplies the scale by ``backoff``; after ``interval`` good steps it is multiplied by ``growth``.
    growth, backoff : float

    Raises
    ------
    UnsupportedError
        If a number is out of range.

    Notes
    -----
    The rule of PyTorch's ``GradScaler`` and of Micikevicius et al., Mixed precision training, 2018, section 3.2.

    Examples
    --------
    >>> Scaler(2.0**16, 2000).dynamic
    True
    """

    scale: float
    interval: int | None = None
    growth: float = 2.0
    backoff: float = 0.5

    def __post_init__(self) -> None:
        for name in ("scale", "growth", "backoff"):
            _positive(name, getattr(self, name))
        if self.interval is not None and (isinstance(self.interval, bool) or self.interval < 1):
            raise UnsupportedError(f"interval={self.interval!r}; accepted: an integer from 1, or none")

    @property
    def dynamic(self) -> bool:
        """Whether the scale follows what the gradients do."""
        return self.interval is not None


@dataclass(frozen=True)
class Accumulation:
    """A batch in parts, whose gradients are added up.

    Parameters
    ----------
    parts : int
        Each has the size of the whole batch divided by this number.
    order : str
        Of the additions; see :class:`floatemu.Order`.
    format : str, optional
        That the sum is kept in; default that of the gradients.

    Raises
    ------
    UnsupportedError
        If there are no such parts, order or format.

    Examples
    --------
    >>> Accumulation(4, "pairwise").parts
    4
    """

    parts: int
    order: str = "sequential"
    format: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.parts, bool) or not isinstance(self.parts, int) or not 1 <= self.parts <= 4096:
            raise UnsupportedError(f"parts={self.parts!r}; accepted: an integer, 1..4096")
        fe.Order.parse(self.order)
        if self.format is not None:
            fe.get_format(self.format)


@dataclass(frozen=True)
class Setup:
    """A training run: a net, its numbers, and how each step treats gradients and updates.

    Parameters
    ----------
    net : str
        Name in :data:`analysis.nets.NETS`.
    arguments : mapping of str to object
        Of the net's builder, ``seed`` and ``batch`` excepted.
    policy : Policy
    optimizer : Optimiser
    steps, batch, seed : int
    clip : Clip, optional
    scaler : Scaler, optional
    accumulation : Accumulation, optional
    compensated : bool
        Whether updates are added by Kahan's summation: what a weight could not take is kept for the next step.

    Examples
    --------
    >>> from analysis.optimisers import sgd
    >>> setup = Setup("mlp", {"activation": "tanh"}, Policy.uniform("bf16"), sgd(0.1), batch=8)
    >>> setup.tape().meta["activation"]
    'tanh'
    """

    net: str
    arguments: Mapping[str, Any]
    policy: Policy
    optimizer: Optimiser
    steps: int = 20
    batch: int = 32
    seed: int = 0
    clip: Clip | None = None
    scaler: Scaler | None = None
    accumulation: Accumulation | None = None
    compensated: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))

    @property
    def rows(self) -> int:
        """Rows of one replay: the batch, or the part of it whose gradients are added to those of the others.

        Raises
        ------
        UnsupportedError
            If the batch cannot be cut into as many parts.
        """
        parts = 1 if self.accumulation is None else self.accumulation.parts
        if self.batch % parts:
            raise UnsupportedError(f"batch={self.batch} cannot be cut into {parts} equal parts")
        return self.batch // parts

    def tape(self) -> Tape:
        """Return the recorded forward and backward pass of one part of one step.

        Returns
        -------
        Tape
        """
        return NETS[self.net](**self.arguments, batch=self.rows, seed=self.seed)


def update_numerics(policy: Policy, op: str = "mul") -> Numerics:
    """Return the numerics of gradients between backward pass and optimiser: of what unscales, adds and clips them.

    Parameters
    ----------
    policy : Policy
    op : str
        "sub" for those of the last operation of an update, which moves the weight.

    Returns
    -------
    Numerics

    Examples
    --------
    >>> update_numerics(Policy.named("torch_amp")).result.name
    'binary32'
    """
    return policy.numerics(Node(0, op, path="optimizer", direction="update"))


def _positive(name: str, given: object) -> None:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 < given < float("inf"):
        raise UnsupportedError(f"{name}={given!r}; accepted: a finite number above 0")
