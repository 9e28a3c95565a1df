"""Tapes: the frozen single-assignment record of one concrete run, forward and backward.

A tape says what was computed (every operation with its operands and attributes), where (module path, source
place, direction) and in which storage each result lives. It holds the data of its leaves and nothing else: all
other values come from a replay in some arithmetic. It knows no torch and no operation; what an operation means
is written in :mod:`analysis.ops`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from floatemu.errors import FileError
from floatemu.storage import read_npz, write_npz

__all__ = ["DIRECTIONS", "ROLES", "SCHEMA", "Node", "Output", "Tape", "TapeError", "Value"]

Array = npt.NDArray[Any]
SCHEMA = "floatemu.tape/1"
ROLES = ("input", "parameter", "target", "constant")
DIRECTIONS = ("forward", "backward", "update")
DTYPES = {"float64": "f", "int64": "i", "bool": "b"}
MAX_SIZE = 2**40


class TapeError(FileError):
    """A tape contradicts itself: an operand that comes later, a shape that does not fit, an unknown target."""


class Value(NamedTuple):
    """One output of one node: what operands refer to.

    Attributes
    ----------
    node : int
        Id of the node.
    output : int
        Which of its outputs.
    """

    node: int
    output: int = 0


@dataclass(frozen=True)
class Output:
    """What a tape says about one output of a node.

    Attributes
    ----------
    shape : tuple of int
    dtype : str
        "float64" for every real number (the format is the policy's business), "int64", or "bool".
    storage : int
        Results that share memory (views, in-place updates) share this number.

    Examples
    --------
    >>> Output((2, 3), "float64", 0).size
    6
    """

    shape: tuple[int, ...]
    dtype: str
    storage: int

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size


@dataclass(frozen=True)
class Node:
    """One operation of the recorded run.

    Attributes
    ----------
    id : int
        Position on the tape; operands have smaller ids.
    op : str
        Name of the operation, or of the leaf's role: input, parameter, target, constant.
    inputs : tuple of Value
    attributes : mapping of str to JSON value
        Axes, shapes and the like. Never tensors: constants are leaves.
    outputs : tuple of Output
    path : str
        Module path, such as "layer0.relu"; a backward node has the path of the forward node it belongs to.
    direction : str
        "forward", "backward" or "update" (the optimiser's step).
    site : str
        Where the program asked for it: "file.py:12", or the builder's name.
    step : int or None
        Position in a sequence (chain step, time step), where there is one.

    Examples
    --------
    >>> Node(2, "add", (Value(0), Value(1)), {}, (Output((3,), "float64", 2),)).leaf
    False
    """

    id: int
    op: str
    inputs: tuple[Value, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    path: str = ""
    direction: str = "forward"
    site: str = ""
    step: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))

    @property
    def leaf(self) -> bool:
        """Whether the node brings data in instead of computing it."""
        return self.op in ROLES

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.outputs[0].shape

    @property
    def label(self) -> str:
        """Short name for tables: id, operation and path.

        Examples
        --------
        >>> Node(7, "matmul", path="layer0", direction="backward").label
        '%7 matmul (layer0, backward)'
        """
        return f"%{self.id} {self.op} ({', '.join(word for word in (self.path, self.direction) if word)})"


@dataclass(frozen=True)
class Tape:
    """A recorded run: nodes in order, the data of the leaves, and named targets.

    Parameters
    ----------
    nodes : sequence of Node
        In execution order; ``nodes[i].id == i``.
    data : mapping of int to ndarray
        The value of each leaf, by node id.
    targets : mapping of str to Value
        What is asked about: "loss", "grad:W0" ...
    name : str
    meta : mapping of str to JSON value
        How the tape came about (builder and arguments), for manifests.

    Raises
    ------
    TapeError
        If anything refers to what is not there or does not fit; the message names the node.

    Examples
    --------
    >>> import numpy as np
    >>> leaf = Node(0, "input", outputs=(Output((2,), "float64", 0),))
    >>> tape = Tape((leaf, Node(1, "neg", (Value(0),), {}, (Output((2,), "float64", 1),))),
    ...             {0: np.array([1.0, 2.0])}, {"result": Value(1)})
    >>> len(tape), tape.target("result").op
    (2, 'neg')
    """

    nodes: tuple[Node, ...]
    data: Mapping[int, Array]
    targets: Mapping[str, Value]
    name: str = "tape"
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frozen = {}
        for key, given in self.data.items():
            array = np.array(given)  # a private copy: the caller's array may change later
            array.setflags(write=False)
            frozen[key] = array
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "data", MappingProxyType(frozen))
        object.__setattr__(self, "targets", MappingProxyType({k: Value(*v) for k, v in self.targets.items()}))
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta)))
        for index, node in enumerate(self.nodes):
            self._check_node(index, node)
        if extra := sorted(set(self.data) - {node.id for node in self.nodes if node.leaf}):
            raise TapeError(f"{self.name}: data is given for {extra}, which are not leaves")
        for name, value in self.targets.items():
            self._check_value(f"target {name!r}", value, len(self.nodes))

    def __len__(self) -> int:
        return len(self.nodes)

    def made_backward(self, ref: Value) -> bool:
        """Whether a value was made in the backward pass, whatever views lie between.

        Parameters
        ----------
        ref : Value

        Returns
        -------
        bool
        """
        return self._owners[self.nodes[ref.node].outputs[ref.output].storage].direction == "backward"

    @cached_property
    def _owners(self) -> dict[int, Node]:
        owners: dict[int, Node] = {}
        for node in self.nodes:
            for output in node.outputs:
                owners.setdefault(output.storage, node)
        return owners

    def __repr__(self) -> str:
        return f"<Tape {self.name!r}: {len(self)} nodes, targets {', '.join(self.targets) or 'none'}>"

    def _check_value(self, what: str, value: Value, before: int) -> None:
        if not (0 <= value.node < before and 0 <= value.output < len(self.nodes[value.node].outputs)):
            raise TapeError(f"{self.name}: {what} refers to output {value.output} of node {value.node}, not there yet")

    def _check_node(self, index: int, node: Node) -> None:
        what = f"node {index} ({node.op})"
        if node.id != index:
            raise TapeError(f"{self.name}: {what} has id {node.id}; ids count from 0 without gaps")
        if node.direction not in DIRECTIONS:
            raise TapeError(f"{self.name}: {what} has direction {node.direction!r}; accepted: {', '.join(DIRECTIONS)}")
        for value in node.inputs:
            self._check_value(what, value, index)
        if not node.outputs:
            raise TapeError(f"{self.name}: {what} has no output")
        for output in node.outputs:
            if output.dtype not in DTYPES:
                raise TapeError(f"{self.name}: {what} has dtype {output.dtype!r}; accepted: {', '.join(DTYPES)}")
            if any(extent < 0 for extent in output.shape) or output.size > MAX_SIZE:
                raise TapeError(f"{self.name}: {what} has shape {output.shape}")
        if node.leaf:
            self._check_leaf(what, node)

    def _check_leaf(self, what: str, node: Node) -> None:
        if node.inputs or len(node.outputs) != 1:
            raise TapeError(f"{self.name}: {what} is a leaf: it has no operands and one output")
        if node.id not in self.data:
            raise TapeError(f"{self.name}: {what} is a leaf without data")
        given, output = self.data[node.id], node.outputs[0]
        if given.shape != output.shape or str(given.dtype) != output.dtype:
            raise TapeError(
                f"{self.name}: {what} declares {output.dtype} of shape {output.shape}, "
                f"its data is {given.dtype} of shape {given.shape}"
            )

    def target(self, name: str) -> Node:
        """Return the node behind a named target.

        Parameters
        ----------
        name : str

        Returns
        -------
        Node

        Raises
        ------
        TapeError
            If the tape has no such target; the message lists those it has.

        Examples
        --------
        >>> import analysis as an
        >>> an.nets.chain(1.0, 0.5, 3).target("loss")
        Traceback (most recent call last):
            ...
        analysis.tape.TapeError: chain: no target is named 'loss'; accepted: result
        """
        if name not in self.targets:
            raise TapeError(f"{self.name}: no target is named {name!r}; accepted: {', '.join(self.targets)}")
        return self.nodes[self.targets[name].node]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tape to an .npz file: one JSON text with the nodes, one array per leaf.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        FileError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile, analysis as an
        >>> tape = an.nets.chain(1.0, 0.5, 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tape.save(f"{folder}/chain.npz")
        ...     an.Tape.load(f"{folder}/chain.npz")
        <Tape 'chain': 5 nodes, targets result>
        """
        text = json.dumps(
            {
                "schema": SCHEMA,
                "name": self.name,
                "meta": dict(self.meta),
                "targets": {name: list(value) for name, value in self.targets.items()},
                "nodes": [_node_to_json(node) for node in self.nodes],
            },
            allow_nan=False,
        )
        arrays: dict[str, Array] = {"tape": np.frombuffer(text.encode(), dtype=np.uint8)}
        arrays.update({f"leaf_{key}": array for key, array in self.data.items()})
        write_npz(path, arrays)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Tape:
        """Read a tape that :meth:`save` wrote; anything else is refused with the reason.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        Tape

        Raises
        ------
        FileError
            If the file is missing, damaged, too large, or of another schema.
        TapeError
            If its content contradicts itself.

        Examples
        --------
        >>> Tape.load("nowhere.npz")
        Traceback (most recent call last):
            ...
        floatemu.errors.FileError: nowhere.npz: there is no such file
        """
        arrays = read_npz(path)
        text = arrays.pop("tape", None)
        if text is None or text.dtype != np.uint8 or text.ndim != 1:
            raise FileError(f"{path}: not a tape: there is no text named 'tape' in it")
        try:
            document = json.loads(text.tobytes())
        except (ValueError, RecursionError) as error:
            raise FileError(f"{path}: the tape's text is not JSON ({error})") from None
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != SCHEMA:
            raise FileError(f"{path}: schema {schema!r} is not {SCHEMA!r}, the one this version reads")
        try:
            data = {int(key.removeprefix("leaf_")): array for key, array in arrays.items()}
            targets = {str(name): Value(*map(_index, value)) for name, value in document["targets"].items()}
            nodes = tuple(_node_from_json(item) for item in document["nodes"])
            return Tape(nodes, data, targets, str(document["name"]), dict(document["meta"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, FileError):
                raise
            raise TapeError(f"{path}: the tape's text does not follow {SCHEMA} ({error!r})") from None


def _index(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(f"{given!r} is not an integer")
    return given


def _tuples(given: Any) -> Any:
    return tuple(map(_tuples, given)) if isinstance(given, list) else given


def _node_to_json(node: Node) -> dict[str, Any]:
    return {
        "id": node.id,
        "op": node.op,
        "inputs": [list(value) for value in node.inputs],
        "attributes": dict(node.attributes),
        "outputs": [{"shape": list(o.shape), "dtype": o.dtype, "storage": o.storage} for o in node.outputs],
        "path": node.path,
        "direction": node.direction,
        "site": node.site,
        "step": node.step,
    }


def _node_from_json(item: dict[str, Any]) -> Node:
    return Node(
        id=_index(item["id"]),
        op=str(item["op"]),
        inputs=tuple(Value(*map(_index, value)) for value in item["inputs"]),
        attributes={str(key): _tuples(value) for key, value in item["attributes"].items()},
        outputs=tuple(
            Output(tuple(map(_index, o["shape"])), str(o["dtype"]), _index(o["storage"])) for o in item["outputs"]
        ),
        path=str(item["path"]),
        direction=str(item["direction"]),
        site=str(item["site"]),
        step=None if item["step"] is None else _index(item["step"]),
    )
