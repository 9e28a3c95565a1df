"""What was called: ATen operations with their operands as places in storages, and their replay through torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, NamedTuple

import torch

from .draws import Draw, undisturbed
from .private import neg_view, plain_kernels

__all__ = ["Call", "Mismatch", "Recording", "Ref", "flatten", "map_refs", "ref_of", "same_bits", "tensor_at", "whole"]


class Ref(NamedTuple):
    """A tensor as a place: autograd hands out new tensor objects for old storages, the place stays.

    Attributes
    ----------
    storage : int
        Number of the storage, in the order in which they were seen.
    dtype : torch.dtype
    shape, strides : tuple of int
    offset : int
        In elements.
    conjugate, negative : bool
        Whether the tensor shows its memory with the sign of the imaginary parts, or of everything, turned.
    """

    storage: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    conjugate: bool = False
    negative: bool = False


@dataclass(frozen=True)
class Call:
    """One call of an ATen operation.

    Attributes
    ----------
    func : OpOverload
    args, kwargs
        As given, with a Ref for each tensor.
    results : tuple of Ref
        Tensors that came back or were written, each once.
    fresh : frozenset of int
        Storages that did not exist before.
    path, direction, site : str
        As in a tape's node.
    draws : tuple of Draw
        Random generators that the call drew from, as they were before it.
    """

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Ref, ...]
    fresh: frozenset[int]
    path: str
    direction: str
    site: str
    draws: tuple[Draw, ...] = ()

    @cached_property
    def name(self) -> str:
        """Name without overload, such as "aten.add" or "aten.add_"."""
        return _name(self.func)

    @property
    def uninitialised(self) -> bool:
        """Whether the results are memory as it was found."""
        return self.name.split(".")[-1].startswith(("empty", "new_empty"))

    @cached_property
    def operands(self) -> list[Ref]:
        """All tensors among the arguments."""
        return list(flatten((self.args, self.kwargs), Ref))

    @cached_property
    def viewed(self) -> Ref | None:
        """The operand that all results only show in another way; None if the call does more."""
        if self.fresh or not self.results or _writes(self.func):
            return None
        for operand in self.operands:
            if all(ref.storage == operand.storage and ref.dtype == operand.dtype for ref in self.results):
                return operand
        return None


@cache
def _writes(func: Any) -> bool:
    # but for those such as transpose_: the tensor changes, no number does
    return func._schema.is_mutable and torch.Tag.inplace_view not in func.tags


@cache
def _name(func: Any) -> str:
    return str(func.overloadpacket)


class Mismatch(NamedTuple):
    """A result that a replay through torch did not reproduce.

    Attributes
    ----------
    call : int
    result : int
    name : str
    path : str
    """

    call: int
    result: int
    name: str
    path: str


@dataclass
class Recording:
    """All calls of a run, what came from outside, and (for the check) every result.

    Attributes
    ----------
    calls : list of Call
    outside : dict of int to Tensor
        Content of each storage that existed before the run, flat, as it was when first read.
    values : list of tuple of Tensor
        Results of each call.
    gradients : dict of str to Tensor
        Of each parameter, after the run.
    result, loss : object
        What the module returned, and the loss.
    escapes : Counter
        Calls that took a number out of a tensor, by path: what Python made of it is not seen.
    """

    calls: list[Call] = field(default_factory=list)
    outside: dict[int, Any] = field(default_factory=dict)
    values: list[tuple[Any, ...]] = field(default_factory=list)
    gradients: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    loss: Any = None
    escapes: Counter[str] = field(default_factory=Counter)

    def external(self, ref: Ref, flat: Any) -> None:
        """Note the content of a storage from outside."""
        self.outside[ref.storage] = flat.clone()

    def called(self, call: Call, results: tuple[Any, ...]) -> None:
        """Note a call and its results."""
        self.calls.append(call)
        self.values.append(tuple(one.detach().clone() for one in results))

    def escaped(self, path: str) -> None:
        """Note a number that left its tensor."""
        self.escapes[path] += 1

    def replay(self) -> list[Mismatch]:
        """Call everything again on copies and return which results have other bits.

        Returns
        -------
        list of Mismatch
            Empty on the same build of torch with the same number of threads.
        """
        memory = {number: flat.clone() for number, flat in self.outside.items()}
        wrong = []
        with torch.no_grad(), plain_kernels(), undisturbed(one for call in self.calls for one in call.draws):
            for index, (call, values) in enumerate(zip(self.calls, self.values, strict=True)):
                again = _again(call, memory)
                if call.uninitialised:  # no bits to reproduce: go on from those that were there
                    for found, value, ref in zip(again, values, call.results, strict=True):
                        found.copy_(value)
                        tensor_at(memory, ref).copy_(value)
                pairs = enumerate(zip(again, values, strict=True))
                wrong += [Mismatch(index, i, call.name, call.path) for i, (x, y) in pairs if not same_bits(x, y)]
        return wrong


def flatten(given: Any, kind: type | tuple[type, ...]) -> Iterator[Any]:
    """Yield everything of a kind in nested tuples, lists and dicts.

    Parameters
    ----------
    given : object
    kind : type or tuple of type
    """
    if isinstance(given, kind):
        yield given
    elif isinstance(given, (tuple, list)):
        for one in given:
            yield from flatten(one, kind)
    elif isinstance(given, dict):
        yield from flatten(list(given.values()), kind)


_SIMPLE = frozenset((int, float, bool, str, type(None)))  # never of a kind that is looked for


def map_refs(given: Any, kind: type | tuple[type, ...], change: Callable[[Any], Any]) -> Any:
    """Return nested tuples, lists and dicts with everything of a kind changed.

    Parameters
    ----------
    given : object
    kind : type or tuple of type
    change : callable
    """
    if type(given) in _SIMPLE:
        return given
    if isinstance(given, kind):
        return change(given)
    if isinstance(given, (tuple, list)):
        return type(given)([one if type(one) in _SIMPLE else map_refs(one, kind, change) for one in given])
    if isinstance(given, dict):
        return {key: map_refs(one, kind, change) for key, one in given.items()}
    return given


def ref_of(tensor: Any, storage: int) -> Ref:
    """Return the place of a tensor.

    Parameters
    ----------
    tensor : Tensor
    storage : int
        Its storage's number.
    """
    place = storage, tensor.dtype, tuple(tensor.shape), tuple(tensor.stride()), tensor.storage_offset()
    return Ref(*place, tensor.is_conj(), tensor.is_neg())


def whole(tensor: Any) -> Any:
    """Return all of the memory that a tensor shows a part of, flat, as it is.

    Parameters
    ----------
    tensor : Tensor
    """
    count = tensor.untyped_storage().nbytes() // tensor.element_size()
    return _turned(torch.as_strided(tensor.detach(), (count,), (1,), 0), tensor.is_conj(), tensor.is_neg())


def same_bits(x: Any, y: Any) -> bool:
    """Whether two tensors hold the same bits, NaN and signed zero included.

    Parameters
    ----------
    x, y : Tensor
    """
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    # a copy: one element is contiguous whatever its stride, and a stride of 0 has no view as bytes
    copies = (one.detach().clone(memory_format=torch.contiguous_format) for one in (x, y))
    left, right = (one.reshape(-1).view(torch.uint8) for one in copies)
    return bool(torch.equal(left, right))


def tensor_at(memory: dict[int, Any], ref: Ref, dtype: Any = None) -> Any:
    """Return the tensor that lies at a place.

    Parameters
    ----------
    memory : dict of int to Tensor
        Of each storage, a tensor that lies in it.
    ref : Ref
    dtype : torch.dtype, optional
        Of the storage's numbers; default that of ``ref``.
    """
    held, dtype = memory[ref.storage], dtype or ref.dtype
    if held.dtype == dtype:
        place = held.as_strided(ref.shape, ref.strides, ref.offset)
    else:
        place = torch.empty(0, dtype=dtype, device=held.device)
        place.set_(held.untyped_storage(), ref.offset, ref.shape, ref.strides)
    return _turned(place, ref.conjugate, ref.negative) if ref.conjugate or ref.negative else place


def _turned(x: Any, conjugate: bool, negative: bool) -> Any:
    x = x.conj() if conjugate else x
    return neg_view(x) if negative else x


def _again(call: Call, memory: dict[int, Any]) -> list[Any]:
    for one in call.draws:
        one.back()
    args = map_refs(call.args, Ref, lambda ref: tensor_at(memory, ref))
    kwargs = map_refs(call.kwargs, Ref, lambda ref: tensor_at(memory, ref))
    found = list(flatten(call.func(*args, **kwargs), torch.Tensor))
    results = []
    for position, ref in enumerate(call.results):
        if ref.storage in call.fresh:
            memory[ref.storage] = _turned(found[position], ref.conjugate, ref.negative)  # as it lies in memory
        results.append(tensor_at(memory, ref))
    return [one.clone() for one in results]
