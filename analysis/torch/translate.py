"""From ATen calls to a tape, call by call while the program runs."""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..arithmetics.base import Array
from ..ops import Builder, Var
from . import attention, elementwise, fused, indexing, ordering, resizing, windows
from .calls import Call, Ref, map_refs
from .context import Context, NoRule
from .memory import Leaf, Memory, places

__all__ = ["Translator", "to_numpy"]

RULES: dict[str, Callable[..., Any]] = {
    **elementwise.RULES,
    **indexing.RULES,
    **ordering.RULES,
    **windows.RULES,
    **resizing.RULES,
    **fused.RULES,
    **attention.RULES,
}
DECISIONS, STEPS = elementwise.DECISIONS, elementwise.STEPS
_IGNORED = {"dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "implicit", "generator"}


def to_numpy(tensor: Any) -> Array:
    """Return a tensor's numbers as a tape holds them: float64, int64 or bool.

    Parameters
    ----------
    tensor : Tensor

    Returns
    -------
    ndarray

    Raises
    ------
    NoRule
        If they are complex.
    """
    if tensor.is_complex():
        raise NoRule
    kind = torch.float64 if tensor.is_floating_point() else torch.bool if tensor.dtype == torch.bool else torch.int64
    found: Array = tensor.detach().to("cpu", kind).contiguous().numpy().copy()
    return found


class Translator:
    """Listens to a run and writes the tape.

    Parameters
    ----------
    builder : Builder

    Attributes
    ----------
    naming : tuple of (str, str)
        Role and path of the next storages from outside.
    opaque : Counter
        Calls without a rule, by name; their results are constants of the tape.
    drawn : Counter
        Calls that drew random numbers; these are constants, too.
    escapes : Counter
        Numbers that left their tensors, by path.
    abandoned : set of int
        Nodes written by a rule that gave up.
    """

    def __init__(self, builder: Builder) -> None:
        self.builder, self.memory, self.context = builder, Memory(builder), Context(builder)
        self.naming = ("", "")
        self.abandoned: set[int] = set()
        self.opaque: Counter[str] = Counter()
        self.drawn: Counter[str] = Counter()
        self.escapes: Counter[str] = Counter()

    @property
    def frozen(self) -> Counter[str]:
        """Integers and booleans kept as recorded although they depend on real numbers, by operation."""
        return self.context.frozen

    def escaped(self, path: str) -> None:
        """Take note of a number that left its tensor."""
        self.escapes[path] += 1

    def external(self, ref: Ref, flat: Any) -> None:
        """Take note of a storage from outside."""
        role, path = self.naming
        if not role:
            role = "constant" if flat.is_floating_point() or flat.dtype == torch.bool else "target"
        try:
            data = to_numpy(flat)
        except NoRule:
            data = np.zeros(flat.shape)  # complex: whatever reads it is opaque
        inside = places(ref).ravel()
        if inside.size == data.size and np.array_equal(np.sort(inside), np.arange(data.size)):
            self.memory.define(ref, Leaf(data[places(ref)], role, path))
        else:
            whole = Ref(ref.storage, ref.dtype, data.shape, (1,), 0)
            self.memory.define(whole, Leaf(data, role, path))

    def target(self, name: str, ref: Ref, tensor: Any) -> None:
        """Name what a tensor holds now; what is not known of it, such as parts of complex numbers, is a constant.

        Complex numbers themselves have no place on a tape.

        Parameters
        ----------
        name : str
        ref : Ref
        tensor : Tensor
            That lies there.
        """
        if tensor.is_complex():
            return
        try:
            found = self.memory.read(ref)
        except NoRule:
            self.opaque["a view of other numbers"] += 1
            found = self.builder.leaf("constant", to_numpy(tensor))
        self.builder.target(name, found)

    def called(self, call: Call, results: tuple[Any, ...]) -> None:
        """Write what a call computed."""
        source = call.viewed
        if source is not None:
            with self._at(call), contextlib.suppress(NoRule):  # of numbers that are not known: so is what reads it
                for ref in call.results:
                    self.memory.view(ref, source)
            return
        with self._at(call):
            start = len(self.builder.nodes)
            self.context.results = results
            try:
                found = self._apply(call)
            except NoRule:
                self.abandoned |= set(range(start, len(self.builder.nodes)))
                self.opaque[call.name] += 1
                found = [None] * len(results)
            for ref, var, actual in zip(call.results, found, results, strict=True):
                self._keep(call, ref, var, actual)

    def _at(self, call: Call) -> Any:
        return self.builder.at(call.path, direction=call.direction, site=call.site)

    def _keep(self, call: Call, ref: Ref, var: Var | None, actual: Any) -> None:
        if var is not None and var.shape != ref.shape:
            raise AssertionError(f"{call.name}: the rule gives shape {var.shape}, torch {ref.shape}")
        if var is not None and ref.storage in call.fresh:
            self.memory.define(ref, var)
        elif var is not None:
            self.memory.write(ref, var)
        else:
            try:
                data = to_numpy(actual)
            except NoRule:
                data = np.zeros(ref.shape)
            number = _filling(call)
            if number is not None and data.dtype.kind == "f":
                data = np.full(data.shape, number)  # 0.1 as the program has it, not as binary32 holds it
            leaf = Leaf(data, "constant", call.path, call.direction)
            if ref.storage in call.fresh:
                self.memory.define(ref, leaf)
            else:
                self.memory.write(ref, self.builder.leaf("constant", data))

    def _apply(self, call: Call) -> list[Var | None]:
        none: list[Var | None] = [None] * len(call.results)
        if any(ref.dtype.is_complex for ref in (*call.results, *call.operands)):
            raise NoRule
        name = call.name.split(".")[-1]
        if call.draws:
            self.drawn[call.name] += 1
            return none
        if name.startswith(("empty", "new_")) or name in ("fill_", "zero_") or name.endswith("_like"):
            return none  # filled by a number, whatever was there
        real = any(ref.dtype.is_floating_point for ref in call.results)
        if not call.operands:
            return none
        if real:
            rule = RULES.get(name) or RULES.get(name.rstrip("_"))
        else:
            if not self._computed(call):
                return none  # integers from integers: the same in every arithmetic
            rule = DECISIONS.get(name) or DECISIONS.get(name.rstrip("_"))
            if rule is None:
                self.frozen[call.name] += 1
                return none
        if rule is None and name.startswith("_foreach_"):
            plain = name.removeprefix("_foreach_")
            rule = _each(RULES.get(plain) or RULES.get(plain.rstrip("_")))
        if rule is None and name.rstrip("_").removeprefix("_foreach_") in STEPS:
            self.frozen[call.name] += 1
            return none
        if rule is None:
            raise NoRule
        return self._by_rule(call, rule, none)

    def _by_rule(self, call: Call, rule: Callable[..., Any], none: list[Var | None]) -> list[Var | None]:
        self.context.call = call
        given, named = map_refs(_positional(call), Ref, self.memory.read)
        try:
            bound = inspect.signature(rule).bind(self.context, *given, **named)
        except TypeError:
            raise NoRule from None  # an overload whose arguments the rule does not know
        found = rule(*bound.args, **bound.kwargs)
        parts: list[Var | None] = list(found) if isinstance(found, (tuple, list)) else [found]
        if len(parts) > len(none):  # the caller of an out= variant gave room for fewer
            raise NoRule
        return [*parts, *none[len(parts) :]]

    def _computed(self, call: Call) -> bool:
        return any(self.memory.computed(ref) for ref in call.operands)


def _each(rule: Callable[..., Any] | None) -> Callable[..., Any] | None:
    # one operation on many tensors: lists are gone through together, all else is given to each
    if rule is None:
        return None

    def every(c: Context, first: list[Any], *rest: Any, **named: Any) -> list[Any]:
        def pick(given: Any, i: int) -> Any:
            return given[i] if isinstance(given, (list, tuple)) else given

        parts = enumerate(first)
        return [rule(c, x, *(pick(y, i) for y in rest), **{k: pick(y, i) for k, y in named.items()}) for i, x in parts]

    return every


def _filling(call: Call) -> float | None:
    # the number that a tensor was filled with
    name = call.name.split(".")[-1]
    if call.uninitialised or name in ("zero_", "zeros", "zeros_like", "new_zeros"):
        return 0.0
    position = {"full": 1, "full_like": 1, "fill_": 1, "scalar_tensor": 0, "new_full": 2}.get(name)
    given = None if position is None or position >= len(call.args) else call.args[position]
    return float(given) if isinstance(given, (int, float)) else None


def _positional(call: Call) -> tuple[list[Any], dict[str, Any]]:
    # arguments in the schema's order, without those that say where a result goes and not what it is
    named = {key: value for key, value in call.kwargs.items() if key not in _IGNORED}
    given = list(call.args)
    for one in call.func._schema.arguments[len(given) :]:
        if one.is_out or one.name in _IGNORED:
            named.pop(one.name, None)
        elif not one.kwarg_only and any(later.name in named for later in call.func._schema.arguments[len(given) :]):
            given.append(named.pop(one.name, one.default_value))
    return given, named
