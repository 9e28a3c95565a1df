"""OpSpec: all that is known about one operation, and the table they register in."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Arithmetic, Array

if TYPE_CHECKING:
    from ..ops.builder import Var

__all__ = ["Kind", "OpSpec", "get_op", "register"]

Attributes = Mapping[str, Any]
Forward = Callable[[Arithmetic, Sequence[Array], Attributes], Array]
Vjp = Callable[[Sequence["Var"], "Var", "Var", Attributes], "Var"]
Sensitivity = Callable[[Sequence[Array], Array, Attributes], Array]


class Kind(enum.Enum):
    """What an operation does to numbers.

    Attributes
    ----------
    LEAF
        Brings data in; rounding it is the cast.
    COMPUTE
        Makes new numbers, which a policy rounds.
    MOVE
        Only moves or selects numbers: exact in every format, never rounded.
    BRANCH
        Decides: comparisons and argmax, with boolean or integer results. What a pinned replay takes over.
    """

    LEAF = "leaf"
    COMPUTE = "compute"
    MOVE = "move"
    BRANCH = "branch"


@dataclass(frozen=True)
class OpSpec:
    """One operation: its value, derivative and sensitivity, each written once.

    Parameters
    ----------
    name : str
    arity : int
        Number of operands.
    kind : Kind
    forward : callable
        (arithmetic, operands, attributes) -> result, in that arithmetic's own numbers.
    vjps : tuple of callable or None
        One rule for each operand, None where it has no derivative:
        (operands, result, gradient of the result, attributes) -> gradient of the operand, all of them
        :class:`~analysis.ops.builder.Var`. A rule *records* ordinary nodes, so that the backward pass can be
        replayed, analysed and differentiated like any other. Empty: no operand has a derivative.
    sensitivity : callable, optional
        (operands, result, attributes) -> array shaped like the result with the condition number times the
        magnitude of the result, which is finite where the result is 0: ``abs(x f'(x))`` for a function of one
        operand, ``abs(a) + abs(b)`` for sums, ``abs(a) @ abs(b)`` for products.
    view : bool
        Whether the result shares the storage of the first operand.
    adds : bool
        Whether it adds two numbers, so that one can be absorbed by the other.
    stops : bool
        Whether gradients stop here although the result depends on its operand: the recorded backward pass does not
        follow its rule, adjoints, which ask what the tape computes, do.

    Examples
    --------
    >>> get_op("tanh").kind.name
    'COMPUTE'
    """

    name: str
    arity: int
    kind: Kind
    forward: Forward
    vjps: tuple[Vjp | None, ...] = ()
    sensitivity: Sensitivity | None = None
    view: bool = False
    adds: bool = False
    stops: bool = False


TABLE: dict[str, OpSpec] = {}


def register(*specs: OpSpec) -> None:
    """Enter operations into the table.

    Parameters
    ----------
    *specs : OpSpec

    Raises
    ------
    UnsupportedError
        If a name is taken.

    Examples
    --------
    >>> register(get_op("add"))
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: the operation 'add' is in the table already; give the new one another name
    """
    for spec in specs:
        if spec.name in TABLE:
            raise UnsupportedError(
                f"the operation {spec.name!r} is in the table already; give the new one another name"
            )
        TABLE[spec.name] = spec


def get_op(name: str) -> OpSpec:
    """Return the operation of that name.

    Parameters
    ----------
    name : str

    Returns
    -------
    OpSpec

    Raises
    ------
    UnsupportedError
        If there is none; the message lists all.

    Examples
    --------
    >>> get_op("matmul").arity
    2
    """
    if name not in TABLE:
        raise UnsupportedError(f"no rule for the operation {name!r}; supported: {', '.join(sorted(TABLE))}")
    return TABLE[name]
