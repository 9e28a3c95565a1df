"""One step under watch: the program's own run, with chains in binary64 beside it, compared call by call."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

import floatemu as fe
import floatemu.interop.torch as ft

from ..policy import Policy
from ..watchlog import NonFinite, Row
from .calls import Call, Ref, flatten
from .chain import Chain, Computed, Outside
from .keeping import Keeper
from .mode import Recorder
from .names import plain
from .origins import Origins, Result, moved
from .private import unseen

__all__ = ["Sample"]

_FORMATS = {
    torch.float16: fe.get_format("binary16"),
    torch.bfloat16: fe.get_format("bfloat16"),
    torch.float32: fe.get_format("binary32"),
    torch.float64: fe.get_format("binary64"),
    torch.float8_e4m3fn: fe.get_format("e4m3fn"),
    torch.float8_e5m2: fe.get_format("e5m2"),
    torch.float8_e4m3fnuz: fe.get_format("e4m3fnuz"),
    torch.float8_e5m2fnuz: fe.get_format("e5m2fnuz"),
}
"""The format of each floating dtype."""
_WIDE = (torch.float32, torch.float64)
_SWEEP = 64  # calls between two searches for storages that are gone


class Sample:
    """Watches while it is entered; the program's own numbers are not touched.

    Parameters
    ----------
    module : Module
    policy : Policy or None
        Of the emulated chain; None: there is none.
    exact : bool
        Whether a chain without rounding is the reference; else the program's own run is.
    step : int
    allow : sequence of str
        As for :class:`analysis.torch.origins.Origins`.
    keeper : Keeper, optional
        Keeps the step's calls for a tape.

    Attributes
    ----------
    rows : list of Row
    escapes : Counter
        Numbers that left their tensors, by path: chains go on with the program's own.
    calls : int
        Operations seen, but for views.
    narrow : int
        Results of the program's own run in less than binary32.
    exact, emulated : Chain or None
    """

    def __init__(
        self,
        module: Any,
        policy: Policy | None,
        exact: bool,
        step: int,
        allow: Sequence[str],
        keeper: Keeper | None = None,
    ) -> None:
        self.step, self.narrow, self.keeper = step, 0, keeper
        self.rows: list[Row] = []
        self.escapes: Counter[str] = Counter()
        self.exact = Chain(None) if exact else None
        self.emulated = None if policy is None else Chain(policy, step << 32)
        runs = ["live"] if policy is None else ["live", "emulated"]
        self.origins = {run: Origins(run, step, allow) for run in runs}
        self._recorder = Recorder(self, module, None, views=False)
        self._recorder.path = "loss"
        self._reals: set[int] = set()  # storages that rest on real numbers from outside, or on drawn ones
        self.calls, self._returned = 0, False
        self._outside = Outside()
        self._stack = contextlib.ExitStack()

    @property
    def found(self) -> list[NonFinite]:
        """Producers of infinities and NaN, those of the program's own run first."""
        return [one for origins in self.origins.values() for one in origins.found]

    @property
    def seeded(self) -> Counter[str]:
        """Calls whose results chains had to take from the program's own run, by name."""
        chains = [chain for chain in (self.exact, self.emulated) if chain is not None]
        return sum((chain.seeded for chain in chains), Counter[str]())

    def __enter__(self) -> Sample:
        module = self._recorder.module
        for role, named in (("parameter", module.named_parameters()), ("constant", module.named_buffers())):
            for path, one in named:
                self._outside = Outside(role, path)
                self._recorder.ref(one)
        self._outside = Outside()
        self._stack.enter_context(self._recorder.hooks())
        hooks = [
            register_optimizer_step_pre_hook(lambda *_: self._phase("update", "optimizer")),
            register_optimizer_step_post_hook(lambda *_: self._phase("forward", "loss")),
            module.register_forward_pre_hook(lambda _, *given: self._entered(given), with_kwargs=True),
        ]
        if self.keeper is not None:
            hooks += self._naming(module, self.keeper)
        for hook in hooks:
            self._stack.callback(hook.remove)
        self._stack.enter_context(self._recorder)
        return self

    def _entered(self, given: Any) -> None:
        # tensors of a class of their own take themselves apart first, and are found by their parts
        tensors = [one for one in flatten(given, torch.Tensor) if type(one) is torch.Tensor]
        with unseen():
            for index, one in enumerate(tensors):
                self._outside = Outside("input", "input" if len(tensors) == 1 else f"input{index}")
                self._recorder.ref(one)
        self._outside = Outside()

    def _naming(self, module: Any, keeper: Keeper) -> list[Any]:
        # what a tape of the step is asked about: the result, and gradients as the backward pass leaves them
        def named(name: str, tensor: Any) -> None:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                keeper.target(name, self._recorder.known(tensor))

        hooks = [module.register_forward_hook(lambda _, given, result: named("result", result))]
        for path, one in module.named_parameters():
            if one.requires_grad and one.is_leaf:
                hook = one.register_post_accumulate_grad_hook(lambda p, path=path: named(f"grad:{path}", p.grad))
                hooks.append(hook)
        return hooks

    def __exit__(self, *error: Any) -> None:
        self._stack.close()
        if self.keeper is not None:
            updated = self.keeper.updated
            for path, one in self._recorder.module.named_parameters():
                ref = self._recorder.known(one)
                if ref is not None and ref.storage in updated:
                    self.keeper.target(f"new:{path}", ref)
        for chain in (self.exact, self.emulated):
            if chain is not None:
                chain.memory.clear()
        self._recorder.given = (), {}

    def value(self, chain: Chain, tensor: Any) -> Any:
        """Return a copy of what a chain holds where a tensor lies; None if no call has used it.

        Parameters
        ----------
        chain : Chain
        tensor : Tensor
        """
        with unseen():
            ref = self._recorder.known(tensor)
            try:
                return None if ref is None else chain.at(ref).clone()
            except RuntimeError:  # bits looked at as another kind of number
                return None

    def _phase(self, phase: str, path: str) -> None:
        self._recorder.phase, self._recorder.path = phase, path

    def external(self, ref: Ref, flat: Any) -> None:
        """Take over a storage from outside."""
        if self.keeper is not None:
            self.keeper.external(ref, flat, self._outside)
        role, path = self._outside.role, self._outside.path
        if self.exact is not None:
            self.exact.adopt(ref.storage, flat, self._outside)
        if self.emulated is not None:
            self.emulated.adopt(ref.storage, flat, self._outside)
        if flat.is_floating_point():
            self._reals.add(ref.storage)
            self.origins["live"].adopt(ref.storage, flat, flat, role, path)
            if self.emulated is not None:
                self.origins["emulated"].adopt(ref.storage, flat, self.emulated.memory[ref.storage], role, path)

    def escaped(self, path: str) -> None:
        """Take note of a number that left its tensor."""
        self.escapes[path] += 1

    def called(self, call: Call, results: tuple[Any, ...]) -> None:
        """Follow a call in every chain, and compare."""
        self.calls += 1
        if call.draws or not self._reals.isdisjoint(ref.storage for ref in call.operands):
            self._reals.update(ref.storage for ref in call.results)
        self._returned |= call.direction == "backward"
        if call.viewed is not None:  # such as an identity, which is no view to torch
            return
        if self._returned and call.direction == "forward" and call.path == "loss" and not torch.is_grad_enabled():
            call = replace(call, direction="update", path="")  # between the backward pass and the optimiser's step
        results = tuple(one.detach() for one in results)
        if self.keeper is not None:
            self.keeper.called(call, results)
        references = results
        if self.exact is not None:
            self.exact.run(call, results, None)
            references = tuple(self.exact.at(ref) for ref in call.results)
        emulated = None if self.emulated is None else self.emulated.run(call, results, references)
        for output, (ref, live) in enumerate(zip(call.results, results, strict=True)):
            if ref.dtype.is_floating_point:
                own = None if emulated is None else emulated[output]
                self._compare(call, output, ref, live, references[output], own)
        if self.calls % _SWEEP == 0:
            self._forget()

    def _forget(self) -> None:
        for number in self._recorder.forget():
            self._reals.discard(number)
            for holder in (self.exact, self.emulated, *self.origins.values()):
                if holder is not None:
                    holder.forget(number)

    def _compare(self, call: Call, output: int, ref: Ref, live: Any, reference: Any, emulated: Computed | None) -> None:
        cast = self.exact is not None and ref.dtype not in _WIDE and plain(call.name) == "_to_copy"
        self.narrow += ref.dtype not in _WIDE
        if moved(call) and not cast:
            self.origins["live"].fill(call, ref, live)
            if self.emulated is not None:
                self.origins["emulated"].fill(call, ref, self.emulated.at(ref))
            return
        if self.exact is not None:
            fmt = _FORMATS.get(ref.dtype, _WIDEST)
            found = ft.tally(live, live, reference, fmt)
            self._row(call, output, ref, "live", (live, lambda: live), fmt.name, found)
        if emulated is not None:
            name = "" if emulated.format is None else emulated.format.name
            self._row(call, output, ref, "emulated", (emulated.value, emulated.before), name, emulated.tally)
            if self.exact is None:
                self._seen(call, ref, "live", (live, lambda: live), emulated.tally.nonfinite_exact)

    def _row(self, call: Call, output: int, ref: Ref, run: str, value: Result, fmt: str, found: ft.Tally) -> None:
        producer = self._seen(call, ref, run, value, found.nonfinite)
        self.rows.append(
            Row(
                step=self.step,
                call=self.calls,
                output=output,
                run=run,
                op=plain(call.name),
                path=call.path,
                direction=call.direction,
                site=call.site,
                format=fmt,
                shape=ref.shape,
                elements=found.elements,
                amax=found.amax,
                amin=found.amin,
                norm=found.exact,
                norm_ratio=_ratio(found.after, found.exact, 1.0),
                error=_ratio(found.error, found.exact, 0.0),
                local_error=_ratio(found.local, found.before, 0.0),
                zeros=found.zeros_exact,
                zeros_new=found.zeros_new,
                flushed=found.flushed,
                subnormal=found.subnormal,
                saturated=found.saturated,
                overflowed=found.overflowed,
                nonfinite=found.nonfinite,
                nonfinite_reference=found.nonfinite_exact,
                producer=producer,
            )
        )

    def _seen(self, call: Call, ref: Ref, run: str, value: Result, bad: int) -> bool:
        fixed = bad > 0 and self._reals.isdisjoint(one.storage for one in call.operands)
        return self.origins[run].seen(call, ref, value, bad, lambda: self._operands(call, run), fixed)

    def _operands(self, call: Call, run: str) -> list[tuple[Ref, Any]]:
        if run == "emulated":
            assert self.emulated is not None
            return [(one, self.emulated.at(one)) for one in call.operands]
        given = (one.detach() for one in flatten(self._recorder.given, torch.Tensor))
        return list(zip(call.operands, given, strict=True))


_WIDEST = fe.get_format("binary64")


def _ratio(part: float, whole: float, none: float) -> float:
    if whole == 0:
        return none if part == 0 else math.inf
    return part / whole
