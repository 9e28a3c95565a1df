"""A step that ran, kept as its calls and what they began with, and the tape that is made of it afterwards.

While the step runs nothing is computed and no call is changed, so that the program keeps its bits. The tape comes from
making the calls again, on copies, before the recorder and the translator of :func:`analysis.record`.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

from ..ops import Builder
from ..tape import Tape
from .calls import Call, Ref, flatten, map_refs, tensor_at
from .chain import Outside, laid_out
from .mode import Recorder
from .names import plain
from .private import decompositions, plain_kernels
from .prune import prune
from .translate import RULES, Translator

__all__ = ["Keeper"]

_NUMBER = 8  # bytes of one on a tape


class Keeper:
    """Listens to a step beside what follows it.

    Parameters
    ----------
    limit : int
        Largest size of all numbers that the step began with or computed, in bytes of binary64.

    Attributes
    ----------
    size : int
        In these bytes, so far.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self.size = limit, 0
        self._outside: list[tuple[Ref, Any, Outside]] = []
        self._calls: list[Call] = []
        self._drawn: dict[int, tuple[Any, ...]] = {}
        self._targets: dict[str, tuple[int, Ref]] = {}

    @property
    def full(self) -> bool:
        """Whether the step is larger than the limit."""
        return self.size > self._limit

    @property
    def refusal(self) -> str:
        """Why no tape can be made of the step; empty if one can."""
        if self.full:
            return f"its numbers take more than the {self._limit} bytes of tape_limit"
        return "" if any(call.direction == "backward" for call in self._calls) else "it has no backward pass"

    def _room(self, elements: int) -> bool:
        self.size += _NUMBER * elements
        if not self.full:
            return True
        self._outside, self._calls, self._drawn, self._targets = [], [], {}, {}
        return False

    def external(self, ref: Ref, flat: Any, outside: Outside) -> None:
        """Copy a storage from outside.

        Parameters
        ----------
        ref : Ref
        flat : Tensor
            All of it.
        outside : Outside
        """
        if self._room(flat.numel()):
            self._outside.append((ref, flat.clone(), outside))

    def called(self, call: Call, results: tuple[Any, ...]) -> None:
        """Take note of a call, and of results that no second run would give.

        Parameters
        ----------
        call : Call
        results : tuple of Tensor
        """
        if self._room(sum(math.prod(ref.shape) for ref in call.results)):
            if call.draws:
                self._drawn[len(self._calls)] = tuple(one.clone() for one in results)
            self._calls.append(call)

    def target(self, name: str, ref: Ref | None) -> None:
        """Name what a tensor holds now; an earlier one of that name is replaced.

        Parameters
        ----------
        name : str
        ref : Ref or None
            None, for a tensor that no call has used, says nothing.
        """
        if ref is not None and self._calls:
            self._targets[name] = (len(self._calls), ref)

    @property
    def updated(self) -> set[int]:
        """Storages that the optimiser's step wrote to."""
        return {ref.storage for call in self._calls if call.direction == "update" for ref in call.results}

    def _losses(self) -> dict[str, tuple[int, Ref]]:
        # torch begins a backward pass with ones, of the shape of what it is the pass of
        for index in range(len(self._calls) - 2, -1, -1):
            call = self._calls[index]
            starts = plain(call.name) == "ones_like" and self._calls[index + 1].direction == "backward"
            if starts and call.direction != "backward" and call.operands and math.prod(call.operands[0].shape) == 1:
                return {"loss": (index + 1, call.operands[0])}
        return {}

    def tape(self, module: Any, escapes: Counter[str], **meta: Any) -> Tape:
        """Make the calls again, and write the tape; what was kept is used up.

        Parameters
        ----------
        module : Module
        escapes : Counter
            Numbers that became Python's in the step.
        **meta
            JSON values for the tape's ``meta``.

        Returns
        -------
        Tape
        """
        builder = Builder(type(module).__name__)
        translator = Translator(builder)
        recorder = Recorder(translator, module, decompositions(frozenset(RULES)))
        memory: dict[int, Any] = {}
        for ref, flat, outside in self._outside:
            memory[ref.storage] = flat
            known = outside.path or outside.role != "constant"
            translator.naming = (outside.role, outside.path) if known else ("", "")
            recorder.ref(tensor_at(memory, ref))
        translator.naming = ("", "")
        found = {**self._losses(), **self._targets}
        named = sorted(found.items(), key=lambda item: item[1][0])
        with _bare(sorted({flat.device.index for _, flat, _ in self._outside if flat.device.type == "cuda"})):
            for index, call in enumerate(self._calls):
                recorder.place = call.path, call.direction, call.site
                self._again(index, call, memory, recorder, translator.drawn)
                while named and named[0][1][0] == index + 1:
                    name, (_, ref) = named.pop(0)
                    tensor = tensor_at(memory, ref)
                    translator.target(name, recorder.ref(tensor), tensor)
        order = [f"{kind}:{path}" for kind in ("grad", "new") for path, _ in module.named_parameters()]
        builder.targets = {
            name: builder.targets[name] for name in ("result", "loss", *order) if name in builder.targets
        }
        prune(builder, translator.abandoned)
        counts = {key: dict(getattr(translator, key)) for key in ("opaque", "drawn", "frozen")}
        about = {"recorded": builder.name, "torch": torch.__version__, "decomposed": True}
        return builder.build(**about, **counts, escapes=dict(escapes), **meta)

    def _again(self, index: int, call: Call, memory: dict[int, Any], recorder: Recorder, drawn: Counter[str]) -> None:
        given, named = map_refs((call.args, call.kwargs), Ref, lambda ref: tensor_at(memory, ref))
        if index in self._drawn:
            drawn[call.name] += 1
            found = list(self._drawn[index])
            if plain(call.name) == "native_dropout":  # the mask is random, what it is applied to is not
                with recorder:
                    found[0] = given[0] * found[1] / (1.0 - given[1]) if given[1] < 1.0 else given[0] * 0.0
        else:
            with recorder:
                found = list(flatten(call.func(*given, **named), torch.Tensor))
        found += [tensor_at(memory, ref) for ref in call.results[len(found) :]]
        with recorder:
            for ref, x in zip(call.results, found):
                _put(memory, call, ref, x)


def _put(memory: dict[int, Any], call: Call, ref: Ref, x: Any) -> None:
    if ref.storage in memory and ref.storage not in call.fresh:
        place = tensor_at(memory, ref)
        if place.data_ptr() != x.data_ptr():
            place.copy_(x)
    elif (x.stride(), x.storage_offset()) != (ref.strides, ref.offset):
        memory[ref.storage] = laid_out(x, ref, x.dtype)
    else:
        memory[ref.storage] = x


@contextlib.contextmanager
def _bare(devices: list[int]) -> Iterator[None]:
    # What surrounds the step, such as autocast, has had its say. No tensor asks for gradients, but some kernels keep
    # what a backward pass needs only where gradients are on. No random number is taken from the program.
    with torch.enable_grad(), plain_kernels(), torch.random.fork_rng(devices), contextlib.ExitStack() as stack:
        for kind in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield
