"""Builder and Var: record a program operation by operation, then its backward pass by the table's rules."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence, Set
from typing import Any

import numpy as np

from floatemu.errors import UnsupportedError

from ..arithmetics.base import Array
from ..arithmetics.float64 import Float64
from ..ops.spec import get_op
from ..ops.var import Var
from ..tape import Node, Output, Tape, Value

__all__ = ["Builder", "Var"]


class Builder:
    """Records a tape, evaluating each operation in binary64 as it goes.

    Parameters
    ----------
    name : str
        Name of the tape.
    site : str
        Where the program is written; :meth:`at` changes it.

    Attributes
    ----------
    values : list of ndarray
        Binary64 value of each node so far.
    path, direction, site, step
        Given to the next nodes.

    Examples
    --------
    >>> import numpy as np
    >>> b = Builder("square")
    >>> x = b.leaf("input", np.array([3.0]))
    >>> y = (x * x).sum(0)
    >>> [g.value.tolist() for g in b.backward(y, [x])]
    [[6.0]]
    """

    def __init__(self, name: str, site: str = "") -> None:
        self.name, self.path, self.direction, self.site = name, "", "forward", site
        self.step: int | None = None
        self.nodes: list[Node] = []
        self.values: list[Array] = []
        self.targets: dict[str, Value] = {}
        self._arithmetic = Float64()
        self._storages = 0
        self._constants: dict[tuple[float, str, str], Var] = {}
        self._keeps = True

    @contextlib.contextmanager
    def at(self, path: str | None = None, **changes: Any) -> Iterator[None]:
        """Give the nodes recorded inside another path, direction, site or step.

        Parameters
        ----------
        path : str, optional
        **changes
            ``direction``, ``site``, ``step``.

        Examples
        --------
        >>> b = Builder("t")
        >>> with b.at("layer0", step=3):
        ...     _ = b.constant(1.0)
        >>> b.nodes[0].path, b.nodes[0].step
        ('layer0', 3)
        """
        names = ("path", "direction", "site", "step")
        before = {name: getattr(self, name) for name in names}
        if path is not None:
            changes["path"] = path
        try:
            for name, value in changes.items():
                setattr(self, name, value)
            yield
        finally:
            for name in names:
                setattr(self, name, before[name])

    def _record(self, op: str, inputs: Sequence[Var], attributes: dict[str, Any], value: Array, view: bool) -> Var:
        if not self._keeps:
            return Var(self, Value(len(self.nodes)), value)
        if view:
            storage = self.nodes[inputs[0].ref.node].outputs[inputs[0].ref.output].storage
        else:
            storage, self._storages = self._storages, self._storages + 1
        node = Node(
            id=len(self.nodes),
            op=op,
            inputs=tuple(var.ref for var in inputs),
            attributes=attributes,
            outputs=(Output(value.shape, str(value.dtype), storage),),
            path=self.path,
            direction=self.direction,
            site=self.site,
            step=self.step,
        )
        self.nodes.append(node)
        self.values.append(value)
        return Var(self, Value(node.id), value)

    def var(self, ref: Value) -> Var:
        """Return a value that is on the tape.

        Parameters
        ----------
        ref : Value

        Returns
        -------
        Var
        """
        return Var(self, ref, self.values[ref.node])

    def leaf(self, role: str, data: Any) -> Var:
        """Record data.

        Parameters
        ----------
        role : str
            "input", "parameter", "target" or "constant".
        data : array_like
            Floats become float64, integers int64, booleans stay.

        Returns
        -------
        Var

        Raises
        ------
        UnsupportedError
            If the data is of another kind, such as complex numbers or text.

        Examples
        --------
        >>> Builder("t").leaf("target", [1, 2]).value.dtype
        dtype('int64')
        """
        array = np.asarray(data)
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise UnsupportedError(f"a tape holds float64, integer and boolean data; given dtype {array.dtype}")
        kind = {"f": np.float64, "b": np.bool_}.get(array.dtype.kind, np.int64)
        return self._record(role, (), {}, array.astype(kind), view=False)

    def constant(self, number: float) -> Var:
        """Record a scalar constant, once for each place.

        Parameters
        ----------
        number : float

        Returns
        -------
        Var

        Examples
        --------
        >>> b = Builder("t")
        >>> b.constant(2.0) is b.constant(2.0)
        True
        """
        key = (float(number), self.path, self.direction)
        if key not in self._constants:
            self._constants[key] = self.leaf("constant", np.float64(number))
        return self._constants[key]

    def apply(self, op: str, *inputs: Var, **attributes: Any) -> Var:
        """Record one operation.

        Parameters
        ----------
        op : str
            A name in the table.
        *inputs : Var
        **attributes
            JSON values.

        Returns
        -------
        Var

        Raises
        ------
        UnsupportedError
            If there is no such operation, or the number of operands is wrong.

        Examples
        --------
        >>> b = Builder("t")
        >>> b.apply("exp", b.constant(0.0)).value.item()
        1.0
        """
        spec = get_op(op)
        if len(inputs) != spec.arity:
            raise UnsupportedError(f"{op} takes {spec.arity} operands, given {len(inputs)}")
        with np.errstate(all="ignore"):  # events are found by replays, not by numpy's warnings
            value = spec.forward(self._arithmetic, [var.value for var in inputs], attributes)
        return self._record(op, inputs, attributes, np.asarray(value), spec.view)

    def elementwise(self, op: str, x: Var, y: Var) -> Var:
        """Record a binary elementwise operation, and the broadcasts it needs.

        Parameters
        ----------
        op : str
        x, y : Var

        Returns
        -------
        Var

        Examples
        --------
        >>> import numpy as np
        >>> b = Builder("t")
        >>> _ = b.elementwise("add", b.leaf("input", np.zeros(2)), b.constant(1.0))
        >>> [node.op for node in b.nodes]
        ['input', 'constant', 'broadcast', 'add']
        """
        try:
            shape = np.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            raise UnsupportedError(f"{op}: shapes {x.shape} and {y.shape} do not broadcast") from None
        return self.apply(op, x.broadcast(shape), y.broadcast(shape))

    def matmul(self, x: Var, y: Var) -> Var:
        """Record a matrix product of operands with at least two axes; batch axes broadcast.

        Parameters
        ----------
        x, y : Var
            Shapes (..., M, K) and (..., K, N).

        Returns
        -------
        Var

        Raises
        ------
        UnsupportedError
            If the shapes do not fit.

        Examples
        --------
        >>> import numpy as np
        >>> b = Builder("t")
        >>> b.matmul(b.leaf("input", np.ones((2, 3))), b.leaf("parameter", np.ones((3, 1)))).value.tolist()
        [[3.0], [3.0]]
        """
        if len(x.shape) < 2 or len(y.shape) < 2 or x.shape[-1] != y.shape[-2]:
            raise UnsupportedError(f"matmul: shapes {x.shape} and {y.shape} do not fit; (..., M, K) by (..., K, N)")
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
        return self.apply("matmul", x.broadcast((*batch, *x.shape[-2:])), y.broadcast((*batch, *y.shape[-2:])))

    def backward(self, result: Var, wrt: Sequence[Var]) -> list[Var]:
        """Unroll the backward pass of a scalar: record each operation's VJP as ordinary nodes.

        Parameters
        ----------
        result : Var
            One element.
        wrt : sequence of Var

        Returns
        -------
        list of Var
            Gradients, in the order and shapes of ``wrt``; zeros where the result does not depend on one.

        Raises
        ------
        UnsupportedError
            If the result has more than one element.

        Examples
        --------
        >>> b = Builder("t")
        >>> x = b.constant(2.0)
        >>> b.backward(x * x * x, [x])[0].value.item()
        12.0
        """
        if result.value.size != 1:
            raise UnsupportedError(f"backward needs a scalar; the result has shape {result.shape}; sum it first")
        needed = self._between(result, wrt)
        last = self.nodes[result.ref.node]
        with self.at(last.path, direction="backward", step=last.step, site=last.site):
            seed = self.constant(1.0).broadcast(result.shape)
        gradients = dict(self.sweep(result, seed, needed))
        with self.at(direction="backward"):
            return [gradients.get(var.ref.node) or self.constant(0.0).broadcast(var.shape) for var in wrt]

    def sweep(self, result: Var, seed: Var, needed: Set[int], through: bool = False) -> Iterator[tuple[int, Var]]:
        """Record the VJPs of all nodes between some nodes and a result, last node first.

        Parameters
        ----------
        result : Var
        seed : Var
            Gradient of the result, of its shape.
        needed : set of int
            Nodes that gradients are passed on to.
        through : bool
            Whether to go on through operations at which gradients stop.

        Yields
        ------
        node : int
        gradient : Var
            Of each needed node that the result depends on, from the result back; it is complete, and kept no longer.

        Examples
        --------
        >>> b = Builder("t")
        >>> x = b.constant(3.0)
        >>> y = x * x
        >>> [(node, g.value.item()) for node, g in b.sweep(y, b.constant(1.0), {0, 1})]
        [(1, 1.0), (0, 6.0)]
        """
        gradients = {result.ref.node: seed}
        for index in range(result.ref.node, min(needed, default=0) - 1, -1):
            if index not in gradients:
                continue
            gradient = gradients.pop(index)
            yield index, gradient
            node = self.nodes[index]
            spec = get_op(node.op)
            if index not in needed or (spec.stops and not through):
                continue
            inputs = [self.var(ref) for ref in node.inputs]
            with self.at(node.path, direction="backward", step=node.step, site=node.site):
                for ref, vjp in zip(node.inputs, spec.vjps):
                    if vjp is not None and ref.node in needed:
                        grad = vjp(inputs, self.var(Value(index)), gradient, node.attributes)
                        known = gradients.get(ref.node)
                        gradients[ref.node] = grad if known is None else known + grad

    @classmethod
    def resume(cls, tape: Tape, values: Sequence[Array]) -> Builder:
        """Return a builder that computes with the values of a tape's replay, and records nothing.

        Parameters
        ----------
        tape : Tape
        values : sequence of ndarray
            One for each node, in binary64.

        Returns
        -------
        Builder
            What it computes lives as long as its Var: a sweep holds the gradients that are still to be passed on.

        Examples
        --------
        >>> import analysis as an
        >>> tape = an.nets.chain(1.0, 0.5, 2)
        >>> values = [outputs[0] for outputs in an.replay(tape, an.Float64()).values]
        >>> builder = Builder.resume(tape, values)
        >>> (builder.var(tape.targets["result"]) + builder.constant(1.0)).value.item(), len(builder.nodes) == len(tape)
        (1.25, True)
        """
        builder = cls(tape.name)
        builder.nodes, builder.values = list(tape.nodes), list(values)
        builder.targets = dict(tape.targets)
        builder._keeps = False
        return builder

    def _between(self, result: Var, wrt: Sequence[Var]) -> set[int]:
        # nodes that depend on one of wrt: gradients of all others are never asked for and not recorded
        needed = {var.ref.node for var in wrt}
        for node in self.nodes[: result.ref.node + 1]:
            spec = get_op(node.op)
            rules = zip(node.inputs, () if spec.stops else spec.vjps)
            if any(vjp is not None and ref.node in needed for ref, vjp in rules):
                needed.add(node.id)
        return needed

    def target(self, name: str, var: Var) -> None:
        """Name a value that analyses can ask for.

        Parameters
        ----------
        name : str
        var : Var

        Examples
        --------
        >>> b = Builder("t")
        >>> b.target("x", b.constant(1.0))
        >>> b.build().target("x").op
        'constant'
        """
        self.targets[name] = var.ref

    def build(self, **meta: Any) -> Tape:
        """Return the tape.

        Parameters
        ----------
        **meta
            JSON values for the tape's ``meta``.

        Returns
        -------
        Tape

        Examples
        --------
        >>> b = Builder("t")
        >>> _ = b.constant(1.0)
        >>> b.build(seed=0).meta["seed"]
        0
        """
        data = {node.id: self.values[node.id] for node in self.nodes if node.leaf}
        return Tape(tuple(self.nodes), data, self.targets, self.name, meta)
