"""A run beside the program's own: the same calls on storages of its own, exact or rounded as a policy says."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch

import floatemu as fe
import floatemu.interop.torch as ft
from floatemu.errors import UnsupportedError

from ..arithmetics.emulated import Rounder
from ..policy import Numerics, Policy
from ..tape import Node
from . import kernels
from .calls import Call, Ref, flatten, map_refs, tensor_at
from .names import is_move, kept_outputs, plain, policy_name
from .private import storage_key

__all__ = ["Chain", "Computed", "Outside", "carrier_of", "check_policy", "laid_out"]

_NARROW = ("_grouped_mm", "_embedding_bag", "_embedding_bag_forward_only")
_LEAST_SUMS = 24  # significand bits of an accumulator that the carriers' sums may stand for


def carrier_of(policy: Policy | None) -> Any:
    """Return the dtype in which a chain computes and holds its numbers.

    Parameters
    ----------
    policy : Policy or None

    Returns
    -------
    torch.dtype
        float32 if every format is binary32 itself, or has 2 p + 2 <= 24 and quanta that binary32 has, and rounds to
        nearest: then + - x / and sqrt in binary32, rounded again, are the exact results rounded once (but for some
        among the subnormals), and sums are in binary32, as on devices. Else, and without a policy, float64.

    Notes
    -----
    That the second rounding does no harm from 2 p + 2 bits on: S. A. Figueroa, When is double rounding innocuous?,
    SIGNUM Newsletter 30(3), 1995.

    Examples
    --------
    >>> [carrier_of(Policy.named(name)) for name in ("bf16", "binary16", "binary32", "e4m3fn/toward_zero")]
    [torch.float32, torch.float32, torch.float32, torch.float64]
    """
    wide = fe.get_format("binary32")

    def fits(numerics: Numerics) -> bool:
        fmt = numerics.format
        if fmt is None:
            return False
        nearest = numerics.projection.rounding is fe.Rounding.NEAREST_TIES_TO_EVEN
        least = fmt.emin - fmt.p >= wide.emin - wide.p
        return nearest and (fmt == wide or (2 * fmt.p + 2 <= wide.p and fmt.emax <= wide.emax and least))

    return torch.float32 if policy is not None and all(fits(rule.numerics) for rule in policy.rules) else torch.float64


def check_policy(policy: Policy) -> None:
    """Refuse what a chain does not emulate.

    Parameters
    ----------
    policy : Policy

    Raises
    ------
    UnsupportedError
        If sums run in less than binary32, or in a matrix unit.
    """
    for rule in policy.rules:
        accumulate = rule.numerics.accumulate
        if rule.numerics.unit is not None or (isinstance(accumulate, fe.Format) and accumulate.p < _LEAST_SUMS):
            what = (
                rule.numerics.unit.name
                if rule.numerics.unit is not None
                else f"sums in {fe.get_format(accumulate or 'binary64').name}"
            )
            raise UnsupportedError(
                f"policy {policy.name!r} asks for {what}: a watch adds in binary32 or more, and rounds results; "
                "accepted: policies whose accumulators have p >= 24 (record one step and analyze it for others)"
            )


def _is_real(dtype: Any) -> bool:
    return bool(dtype.is_floating_point or dtype.is_complex)


@dataclass(frozen=True)
class Outside:
    """What is known of a storage from outside: role and path as in a tape's leaves."""

    role: str = "constant"
    path: str = ""


@dataclass(frozen=True)
class Computed:
    """One result of a chain's call.

    Attributes
    ----------
    value : Tensor
        After its rounding.
    format : Format or None
    tally : Tally
        Beside the reference.
    before : callable
        Returns the result before its rounding, None where the call has overwritten what it computed with.
    """

    value: Any
    format: fe.Format | None
    tally: ft.Tally
    before: Callable[[], Any]


class Chain:
    """The values of every storage, kept up by making each call again.

    Parameters
    ----------
    policy : Policy or None
        How results are rounded; None leaves them as they are.
    stream : int
        Added to the streams of stochastic rounding: the training step, shifted by 32.

    Attributes
    ----------
    dtype : torch.dtype
        Of all its floating numbers.
    memory : dict of int to Tensor
        Of each storage, by number.
    seeded : Counter
        Calls whose results had to be taken from the program's own run, by name.
    """

    def __init__(self, policy: Policy | None, stream: int = 0) -> None:
        self.policy, self._stream, self.dtype = policy, stream, carrier_of(policy)
        self.memory: dict[int, Any] = {}
        self.seeded: Counter[str] = Counter()
        self._backward: set[int] = set()
        self._known: dict[tuple[str, str, str, int], Numerics] = {}
        self._index = 0

    def kind(self, dtype: Any) -> Any:
        """Return the dtype in which numbers of a dtype are held.

        Parameters
        ----------
        dtype : torch.dtype
        """
        if dtype.is_complex:
            return torch.complex64 if self.dtype == torch.float32 else torch.complex128
        return self.dtype if dtype.is_floating_point else dtype

    def adopt(self, number: int, flat: Any, outside: Outside) -> None:
        """Take over a storage from outside, rounded where the policy rounds leaves.

        Parameters
        ----------
        number : int
        flat : Tensor
            All of it.
        outside : Outside
        """
        self._index += 1
        flat = flat.detach()
        # an optimiser's counters, and loss scales, stay what they are
        single = flat.numel() == 1 and not outside.path
        rounded = flat if single else self._leaf(flat, outside)
        self.memory[number] = rounded.to(self.kind(flat.dtype), copy=rounded is flat)

    def forget(self, number: int) -> None:
        """Drop a storage that is gone."""
        self.memory.pop(number, None)
        self._backward.discard(number)

    def at(self, ref: Ref) -> Any:
        """Return the tensor at a place.

        Parameters
        ----------
        ref : Ref

        Raises
        ------
        RuntimeError
            If the program looks at the bits of real numbers as something else, or the other way round: numbers of
            another width have other bits.
        """
        held, wanted = self.memory[ref.storage].dtype, self.kind(ref.dtype)
        if held != wanted and not (_is_real(held) and _is_real(wanted)):
            raise RuntimeError(f"memory of {held} as {wanted}")
        return tensor_at(self.memory, ref, wanted)

    def run(self, call: Call, results: tuple[Any, ...], references: Sequence[Any] | None) -> list[Computed | None]:
        """Make a call again.

        Parameters
        ----------
        call : Call
        results : tuple of Tensor
            Of the program's own.
        references : sequence of Tensor, optional
            What each result is compared with; without, nothing is rounded.

        Returns
        -------
        list of Computed or None
            For each result; None where nothing was computed, only moved or decided.
        """
        self._index += 1
        if call.direction == "backward":
            self._backward |= call.fresh
        own = HAND.get(plain(call.name))
        if own is None and call.draws:
            return self._seed(call, results, None)  # random numbers are those that the program drew
        try:
            found = self._again(call) if own is None else own(self, call, results)
        except (RuntimeError, NotImplementedError, TypeError, KeyError, IndexError):
            return self._seed(call, results, call.name)
        if call.func in _WITHOUT_WIDE:  # whose lists of integers, such as which bag an index is in, are its own affair
            found = [x if ref.dtype.is_floating_point else y for x, y, ref in zip(found, results, call.results)]
        if len(found) < len(results) or any(tuple(x.shape) != ref.shape for x, ref in zip(found, call.results)):
            return self._seed(call, results, call.name)
        kinds = (self.kind(ref.dtype) for ref in call.results)
        found = [x if x.dtype == kind else x.to(kind) for x, kind in zip(found, kinds)]
        moved, most = is_move(call.name), kept_outputs(call.name)
        computed: list[Computed | None] = []
        for output, (ref, x) in enumerate(zip(call.results, found)):
            if moved or not ref.dtype.is_floating_point or call.uninitialised or references is None:
                self._keep(call, ref, x if call.operands else self._leaf(x, Outside()))
                computed.append(None)
                continue
            numerics = self._of(call, output) if most is None or output < most else _AS_IT_IS
            tally = self._compared(x, numerics, output, references[output])
            self._keep(call, ref, x)
            again = partial(self._before, call, output)
            computed.append(Computed(x, numerics.format, tally, again))
        return computed

    def _before(self, call: Call, output: int) -> Any:
        return None if call.func._schema.is_mutable else self._again(call)[output]

    def _leaf(self, x: Any, outside: Outside) -> Any:
        rounder = self._numerics(outside.role, outside.path, "forward", 0).rounder(self._seed_of, self._where(0))
        if rounder is None or not x.is_floating_point():
            return x
        return ft.round(x, rounder.fmt, dtype=self.dtype, **_options(rounder))

    def _again(self, call: Call) -> list[Any]:
        numerics = self._of(call, 0)
        operands = self._operand(numerics) if numerics.operands is not None or numerics.gradients is not None else None

        def given(one: Any) -> Any:
            if isinstance(one, torch.dtype):
                return self.kind(one)
            return self.at(one) if operands is None or not one.dtype.is_floating_point else operands(one)

        both = map_refs((call.args, call.kwargs), (Ref, torch.dtype), given)
        if not call.operands and both[1].get("dtype") is None and _takes_dtype(call.func):
            both[1]["dtype"] = self.kind(call.results[0].dtype)  # the program's default is no default here
        rule = _WITHOUT_WIDE.get(call.func)
        found = NotImplemented if rule is None else rule(*both[0], **both[1])
        if found is NotImplemented:
            found = call.func(*both[0], **both[1])
        parts = list(flatten(found, torch.Tensor))
        # what was written to is read where it lies
        return parts + [self.at(ref) for ref in call.results[len(parts) :]]

    def _operand(self, numerics: Numerics) -> Callable[[Ref], Any]:
        def rounded(ref: Ref) -> Any:
            rounder = numerics.operand_rounder(ref.storage in self._backward, self._seed_of, self._where(8))
            x = self.at(ref)
            return x if rounder is None else ft.round(x, rounder.fmt, dtype=self.dtype, **_options(rounder))

        return rounded

    @property
    def _seed_of(self) -> int:
        return 0 if self.policy is None else self.policy.seed

    def _where(self, output: int) -> int:
        return self._stream + (self._index << 4) + output

    def _of(self, call: Call, output: int) -> Numerics:
        return self._numerics(policy_name(call.name), call.path, call.direction, output)

    def _numerics(self, op: str, path: str, direction: str, output: int) -> Numerics:
        if self.policy is None:
            return _AS_IT_IS
        key = (op, path, direction, output)
        if key not in self._known:
            node = Node(0, op, path=path, direction=direction)
            rules = (rule.numerics for rule in self.policy.rules if rule.matches(node, output))
            self._known[key] = next(rules, _AS_IT_IS)
        return self._known[key]

    def _compared(self, x: Any, numerics: Numerics, output: int, reference: Any) -> ft.Tally:
        rounder = numerics.rounder(self._seed_of, self._where(output))
        if rounder is None:
            return ft.tally(x, x, reference, _WIDEST)
        return ft.round_with_tally(x, rounder.fmt, reference, out=x, **_options(rounder))[1]

    def _keep(self, call: Call, ref: Ref, x: Any) -> None:
        if ref.storage not in call.fresh and ref.storage in self.memory:
            with contextlib.suppress(RuntimeError):  # of bits that were another kind of number nothing is left
                place = self.at(ref)
                if place.data_ptr() != x.data_ptr():
                    place.copy_(x)
                return
        shared = False
        if is_move(call.name):  # what the program copied may need no copy in binary64
            key, operands = storage_key(x), (self.memory.get(one.storage) for one in call.operands)
            shared = any(one is not None and storage_key(one) == key for one in operands)
        if shared or (x.stride(), x.storage_offset()) != (ref.strides, ref.offset):
            x = laid_out(x, ref, x.dtype)
        self.memory[ref.storage] = x

    def _seed(self, call: Call, results: tuple[Any, ...], name: str | None) -> list[Computed | None]:
        if name is not None:
            self.seeded[name] += 1
        for ref, live in zip(call.results, results, strict=True):
            own = live.detach().to(self.kind(ref.dtype))
            if ref.storage in self.memory and ref.storage not in call.fresh:
                try:
                    self.at(ref).copy_(own)
                    continue
                except RuntimeError:  # the storage was looked at as another kind of number, or has grown
                    pass
            self.memory[ref.storage] = laid_out(own, ref, own.dtype)
        return [None] * len(results)


@cache
def _takes_dtype(func: Any) -> bool:
    return any(one.name == "dtype" for one in func._schema.arguments)


# Kernels for binary32 and narrower numbers alone, or that give other lists of integers for these, made of others.
_WITHOUT_WIDE = {
    func: rule for func, rule in kernels.DECOMPOSITIONS.items() if plain(str(func.overloadpacket)) in _NARROW
}

_AS_IT_IS = Numerics()
_WIDEST = fe.get_format("binary64")


def laid_out(x: Any, ref: Ref, dtype: Any) -> Any:
    """Return a copy of a tensor that lies in a storage of its own as the tensor at a place does.

    Parameters
    ----------
    x : Tensor
        Of the place's shape.
    ref : Ref
    dtype : torch.dtype
    """
    size = 1 + ref.offset + sum((extent - 1) * stride for extent, stride in zip(ref.shape, ref.strides))
    if 0 in ref.shape:
        size = max(ref.offset, 1)
    flat = torch.zeros(size, dtype=dtype, device=x.device)
    place = flat.as_strided(ref.shape, ref.strides, ref.offset)
    place.copy_(x)
    return place


def _options(rounder: Rounder) -> dict[str, Any]:
    projection = rounder.projection
    options: dict[str, Any] = {"rounding": projection.rounding, "saturation": projection.saturation}
    if projection.rounding.stochastic:
        options |= {"random_bits": projection.random_bits, "seed": rounder.seed, "stream": rounder.stream}
    return {**options, "nan": None if rounder.fmt.has_nan else "max"}


def _dropout(chain: Chain, call: Call, results: tuple[Any, ...]) -> list[Any]:
    x, share = chain.at(call.args[0]), call.args[1]
    kept = results[1].detach()  # the mask that the program drew
    return [x * kept / (1.0 - share) if share < 1.0 else torch.zeros_like(x), kept]


def _unscale(chain: Chain, call: Call, results: tuple[Any, ...]) -> list[Any]:
    gradients, found, inverse = call.args[:3]
    factor, worst = chain.at(inverse), chain.at(found)
    for ref in gradients:
        gradient = chain.at(ref)
        worst.copy_(torch.maximum(worst, (~torch.isfinite(gradient)).any().to(worst.dtype).reshape(worst.shape)))
        gradient.mul_(factor)
    return [chain.at(ref) for ref in call.results]


def _rescale(chain: Chain, call: Call, results: tuple[Any, ...]) -> list[Any]:
    return [one.detach() for one in results]  # the scale is the program's: both runs are of one history


def _stepped(chain: Chain, call: Call, results: tuple[Any, ...]) -> list[Any]:
    given, named = map_refs((call.args, call.kwargs), Ref, chain.at)
    for name in ("grad_scale", "found_inf"):  # which the kernel takes in binary32 only
        named[name] = None if named.get(name) is None else named[name].float()
    call.func(*given, **named)
    return [chain.at(ref) for ref in call.results]


HAND: dict[str, Callable[[Chain, Call, tuple[Any, ...]], list[Any]]] = {
    "native_dropout": _dropout,
    "_amp_foreach_non_finite_check_and_unscale": _unscale,
    "_amp_update_scale": _rescale,
    **dict.fromkeys(("_fused_adam", "_fused_adamw", "_fused_sgd"), _stepped),
}
"""Calls that cannot be made again as they are, by plain name."""
