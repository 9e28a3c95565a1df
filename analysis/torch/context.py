"""What a rule is given besides its operands, and how operands of other kinds become what the tape computes with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arithmetics.base import Array
from ..ops import Builder, Var
from .calls import Call

__all__ = ["Context", "NoRule", "rests_on_reals"]


class NoRule(Exception):
    """A call that the tape's operations cannot express: it is recorded as opaque."""


def rests_on_reals(x: Var) -> bool:
    """Whether a value was computed from real numbers, so that another arithmetic may give another.

    Parameters
    ----------
    x : Var

    Returns
    -------
    bool

    Examples
    --------
    >>> from analysis.ops import Builder
    >>> b = Builder("t")
    >>> rests_on_reals(b.leaf("target", [1, 2]).reshape((2, 1))), rests_on_reals(b.constant(1.0))
    (False, True)
    """
    waiting = [x.ref.node]
    while waiting:  # integers and booleans come from few nodes: views and logic, until a leaf or a comparison
        node = x.builder.nodes[waiting.pop()]
        if node.outputs[0].dtype == "float64":
            return True
        waiting += [ref.node for ref in node.inputs]
    return False


@dataclass
class Context:
    """The tape under construction, as rules see it.

    Attributes
    ----------
    builder : Builder
    call : Call or None
        The call that is being translated.
    notes : dict
        What a forward rule leaves for its backward rule, by storage number.
    results : tuple of Tensor
        What the call gave in the recorded run.
    frozen : Counter
        Integers and booleans that were computed from real numbers and are kept as recorded, by operation.
    """

    builder: Builder
    call: Call | None = None
    results: tuple[Any, ...] = ()
    notes: dict[int, Any] = field(default_factory=dict)
    frozen: Counter[str] = field(default_factory=Counter)
    _casts: dict[int, Var] = field(default_factory=dict)

    def real(self, x: Any) -> Var:
        """Return a number, boolean or integer operand as real numbers.

        Parameters
        ----------
        x : Var, int, float or bool

        Returns
        -------
        Var

        Raises
        ------
        NoRule
            If it is nothing of the kind.
        """
        if isinstance(x, (bool, int, float)):
            return self.builder.constant(float(x))
        if not isinstance(x, Var):
            raise NoRule
        if x.value.dtype.kind == "f":
            return x
        if x.ref.node not in self._casts:
            if x.value.dtype.kind == "b" and rests_on_reals(x):
                one, none = (self.builder.constant(c).broadcast(x.shape) for c in (1.0, 0.0))
                self._casts[x.ref.node] = self.builder.apply("select", x, one, none)
            else:
                self._casts[x.ref.node] = self.builder.leaf("constant", self.fixed(x).astype(np.float64))
        return self._casts[x.ref.node]

    def fixed(self, x: Any) -> Array:
        """Return integers or booleans as they were recorded; that they depended on real numbers is counted.

        Parameters
        ----------
        x : Var

        Returns
        -------
        ndarray

        Raises
        ------
        NoRule
            If they are real numbers.
        """
        if not isinstance(x, Var) or x.value.dtype.kind == "f":
            raise NoRule
        if self.call is not None and rests_on_reals(x):
            self.frozen[self.call.name] += 1
        return x.value

    def index(self, x: Any) -> Var:
        """Return integers as a leaf.

        Parameters
        ----------
        x : Var

        Returns
        -------
        Var
        """
        value = self.fixed(x)
        return x if self.builder.nodes[x.ref.node].leaf else self.builder.leaf("constant", value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first result."""
        assert self.call is not None
        return self.call.results[0].shape
