"""The dispatch mode: sees every ATen call of an unmodified program, and tells a listener where it belongs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol

import torch
from torch.overrides import TorchFunctionMode

from ..sites import is_users
from .calls import Call, Ref, flatten, map_refs, ref_of, whole
from .draws import drawn, may_draw
from .private import Mode, autograd_node, sequence_number, storage_key, storage_watch

__all__ = ["Listener", "Recorder"]

_UNSEEN = ("profiler", "debugprims")
_RANDOM = torch.Tag.nondeterministic_seeded
_DRAWN_FROM = (torch.Generator, torch.Tensor, torch.device)


class _Facts(NamedTuple):
    """What an operation's schema says, asked for once: torch makes it anew each time."""

    unseen: bool
    view: bool
    random: bool
    written: tuple[tuple[int, str], ...]  # position and name of the arguments that are written to


@cache
def _facts(func: Any) -> _Facts:
    arguments = enumerate(func._schema.arguments) if func._schema.is_mutable else ()
    written = [(i, one.name) for i, one in arguments if one.alias_info is not None and one.alias_info.is_write]
    return _Facts(func.namespace in _UNSEEN, func.is_view, _RANDOM in func.tags, tuple(written))


class Listener(Protocol):
    """What is told about a run."""

    def external(self, ref: Ref, flat: Any) -> None:
        """Take note of a storage from outside, before the first call that uses it; ``flat`` is all of it."""

    def called(self, call: Call, results: tuple[Any, ...]) -> None:
        """Take note of a call; ``results`` are the tensors behind ``call.results``."""

    def escaped(self, path: str) -> None:
        """Take note of a number that left its tensor."""


_LEAVES = frozenset((torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.__array__))


class _Leaving(TorchFunctionMode):  # type: ignore[misc]
    """Notices tensors whose numbers are taken out without a call of an operation."""

    def __init__(self, told: Callable[[], None]) -> None:
        super().__init__()
        self._told = told

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _LEAVES:
            self._told()
        return func(*args, **(kwargs or {}))


class Recorder(Mode):  # type: ignore[misc]
    """Watches calls while it is entered.

    Parameters
    ----------
    listener : Listener
    module : Module
        Its submodules' names are the paths.
    table : mapping of operation to callable, optional
        How fused operations are taken apart; without it they stay whole.
    views : bool
        Whether the listener is told about views, too, which compute nothing.

    Attributes
    ----------
    phase : str
        "forward", "backward" or "update"; backward calls are recognised by themselves, too.
    path : str
        Path of what is called outside the module.
    place : tuple of (path, direction, site), optional
        Of all that is called; None: it is found out.
    given : tuple of (args, kwargs)
        Of the call that the listener is told about, as they are after it.
    """

    def __init__(
        self, listener: Listener, module: Any, table: Mapping[Any, Callable[..., Any]] | None, views: bool = True
    ) -> None:
        super().__init__()
        self._views = views
        self.listener, self.module = listener, module
        self.phase, self.path = "forward", ""
        self.place: tuple[str, str, str] | None = None
        self._table = table
        self._names = {id(one): name for name, one in module.named_parameters(remove_duplicate=True)}
        self._stack: list[str] = []
        self._places: dict[int, tuple[str, str]] = {}
        self._numbers: dict[int, int] = {}
        self._count = -1
        # While these are held, a storage that is freed does not lend its key to another.
        self._gone: dict[int, Callable[[], bool]] = {}
        self.given: tuple[Any, Any] = ((), {})
        self._line = ""

    @contextlib.contextmanager
    def hooks(self) -> Iterator[None]:
        """Follow which module is running."""
        handles = []
        for name, one in self.module.named_modules():
            handles.append(one.register_forward_pre_hook(lambda *_, name=name: self._stack.append(name)))
            handles.append(one.register_forward_hook(lambda *_: self._leave(), always_call=True))
        # a recording that leaves operations whole has the program's bits: no mode may make a module take another way
        leaving = contextlib.nullcontext() if self._table is None else _Leaving(self._left)
        try:
            with leaving:
                yield
        finally:
            for handle in handles:
                handle.remove()
            self._stack.clear()

    def _leave(self) -> None:
        self._stack.pop()

    def _left(self) -> None:
        self.listener.escaped(self._stack[-1] if self._stack else self.path)

    def number(self, tensor: Any) -> tuple[int, bool]:
        """Return the number of a tensor's storage, and whether it is a new one.

        Parameters
        ----------
        tensor : Tensor
        """
        key = storage_key(tensor)
        if key in self._numbers:
            return self._numbers[key], False
        self._numbers[key] = self._count = self._count + 1
        self._gone[key] = storage_watch(tensor)
        return self._count, True

    def forget(self) -> list[int]:
        """Return the numbers of storages that are gone, and forget these.

        Returns
        -------
        list of int
        """
        keys = [key for key, gone in self._gone.items() if gone()]
        for key in keys:
            del self._gone[key]
        return [self._numbers.pop(key) for key in keys]

    def known(self, tensor: Any) -> Ref | None:
        """Return a tensor's place; None if no call has used its storage.

        Parameters
        ----------
        tensor : Tensor
        """
        number = self._numbers.get(storage_key(tensor))
        return None if number is None else ref_of(tensor, number)

    def ref(self, tensor: Any) -> Ref:
        """Return a tensor's place; if it comes from outside, tell the listener.

        Parameters
        ----------
        tensor : Tensor
        """
        number, new = self.number(tensor)
        ref = ref_of(tensor, number)
        if new and not tensor.is_meta:
            self.listener.external(ref, whole(tensor))
        return ref

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not all(kind is torch.Tensor or issubclass(kind, torch.nn.Parameter) for kind in types):
            return NotImplemented  # a subclass desugars itself first; its plain tensors come back here
        if _facts(func).unseen:
            return func(*args, **kwargs)
        if self._table is not None:
            rule = self._table.get(func, func.decompose)  # the latter knows operations that are composed of others
            with self:
                found = rule(*args, **kwargs)
            if found is not NotImplemented:
                return found
        return self._call(func, args, kwargs)

    def _site(self) -> str:
        # The backward pass of a GPU has a thread of its own, with no frame of the program: it is the last line before.
        self._line = _site() or self._line
        return self._line

    def _place(self) -> tuple[str, str, str]:
        if self.place is not None:
            return self.place
        path = self._stack[-1] if self._stack else self.path
        node, number = autograd_node(), sequence_number()
        if self.phase == "update" and not self._stack and node is None:  # else a closure runs the model within the step
            return path, "update", self._site()
        if self._stack or (node is None and self.phase == "forward"):
            place = (path, self._site())
            if number is not None:
                self._places.setdefault(number, place)
            # a module that runs inside the backward pass is computed again for it: a checkpoint
            return place[0], "forward" if node is None else "backward", place[1]
        variable = getattr(node, "variable", None)
        if node is None or variable is not None:  # accumulating a parameter's gradient belongs to no forward call
            return self._names.get(id(variable), path), "backward", self._site()
        known = self._made_by(node._sequence_nr())
        return known[0], "backward", known[1]

    def _made_by(self, number: int) -> tuple[str, str]:
        if number not in self._places:
            # a write to a view makes further nodes after its call: they belong to the last call before them
            number = max((one for one in self._places if one < number), default=-1)
        return self._places.get(number, (self.path, ""))

    def _call(self, func: Any, args: Any, kwargs: Any) -> Any:
        facts = _facts(func)
        if facts.view and not self._views:
            return func(*args, **kwargs)
        taken = map_refs((tuple(args), kwargs), torch.Tensor, self.ref)
        path, direction, site = self._place()
        before = may_draw(flatten((args, kwargs), _DRAWN_FROM)) if facts.random else ()
        found = func(*args, **kwargs)
        draws = drawn(before)
        results = list(flatten(found, torch.Tensor))
        for i, name in facts.written:
            results += flatten(args[i] if i < len(args) else kwargs.get(name), torch.Tensor)
        numbered = [(one, *self.number(one)) for one in results if not one.is_meta]  # those have shapes, and no numbers
        refs: dict[Ref, Any] = {}
        for one, number, _ in numbered:
            refs.setdefault(ref_of(one, number), one)
        if not refs:
            if func is torch.ops.aten._local_scalar_dense.default:
                self.listener.escaped(path)
            return found
        fresh = frozenset(number for _, number, new in numbered if new)
        operands, named = taken
        call = Call(func, operands, named, tuple(refs), fresh, path, direction, site, draws)
        self.given = args, kwargs
        self.listener.called(call, tuple(refs.values()))
        return found


def _site() -> str:
    # the innermost frame that is neither torch's nor ours
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = _shown(frame.f_code.co_filename)
        if name:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


@cache
def _shown(file: str) -> str:
    hidden = file.startswith("<") or "contextlib" in file or not is_users(file, torch)
    return "" if hidden else Path(file).name
