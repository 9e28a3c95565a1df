"""Which call first made an infinity or a NaN, in one run of a program; infinities that are meant are let pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch

from ..watchlog import BEFORE, NonFinite
from .calls import Call, Ref
from .names import FILLS, is_move, plain

__all__ = ["Origins", "Result", "moved"]

Result = tuple[Any, Callable[[], Any]]

_WIDE = (torch.float32, torch.float64)  # integers that overflow in less are an error like others
_MASKS = [torch.finfo(dtype).max for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)]
MOST = 20
"""Producers that are told of, for one run and step."""


class Origins:
    """Follows infinities and NaN from storage to storage.

    Parameters
    ----------
    run : str
        "live" or "emulated".
    step : int
    allow : sequence of str
        Shell patterns of operations and of module paths whose infinities are meant.

    Attributes
    ----------
    found : list of NonFinite
        Producers, in the order of the run.
    """

    def __init__(self, run: str, step: int, allow: Sequence[str] = ()) -> None:
        self.run, self.step, self._allow = run, step, tuple(allow)
        self.found: list[NonFinite] = []
        self._sick: set[int] = set()
        self._meant: set[int] = set()

    def forget(self, number: int) -> None:
        """Drop a storage that is gone."""
        self._sick.discard(number)
        self._meant.discard(number)

    def adopt(self, number: int, before: Any, after: Any, role: str, path: str) -> None:
        """Look at a storage from outside.

        Parameters
        ----------
        number : int
        before, after : Tensor
            Flat, before and after its rounding.
        role, path : str
        """
        if _all_finite(after):
            return
        bad = ~torch.isfinite(after)
        made = before[bad & torch.isfinite(before)]
        mask = not bool(torch.isnan(after).any()) and role not in ("parameter", "buffer") and _only_limits(made)
        if mask:
            self._meant.add(number)
            return
        self._sick.add(number)
        cause = BEFORE if made.numel() == 0 else f"rounding of {float(made.abs().max()):.6g}"
        where = (int(bad.reshape(-1).nonzero()[0, 0]),)
        value = float(after.reshape(-1)[where[0]])
        self._add(NonFinite(self.step, self.run, role, path, "forward", "", cause, int(bad.sum()), where, value, ()))

    def fill(self, call: Call, ref: Ref, result: Any) -> None:
        """Follow a result that was only moved or filled in.

        Parameters
        ----------
        call : Call
        ref : Ref
        result : Tensor
        """
        sick, meant = self._states(call.operands)
        if plain(call.name) in FILLS and not sick and not _all_finite(result):
            meant = True
        self._mark(call, ref, sick, meant)

    def seen(
        self,
        call: Call,
        ref: Ref,
        value: Result,
        bad: int,
        operands: Callable[[], Iterable[tuple[Ref, Any]]],
        fixed: bool = False,
    ) -> bool:
        """Follow a computed result.

        Parameters
        ----------
        call : Call
        ref : Ref
        value : tuple of (Tensor, callable)
            The result, and what returns it as it was before its rounding (None if that is lost).
        bad : int
            Its infinities and NaN.
        operands : callable
            Returns operands as they are now.
        fixed : bool
            Whether the call rests on integers alone, such as positions: it gives the same in every step, and an
            infinity that no rounding made, such as the logarithm of a distance of 0, is meant.

        Returns
        -------
        bool
            Whether the call is a producer.
        """
        if bad == 0:
            self._mark(call, ref, False, False)
            return False
        after, before = value[0], value[1]()
        written = {one.storage for one in call.results if one.storage not in call.fresh}
        given = [(one, None if one.storage in written else x) for one, x in operands()]
        guilty = [one for one, x in given if self._is_bad(one, x)]
        sick, meant = self._states(guilty)
        if not sick:
            fresh_nan = bool(torch.isnan(after).any()) and not any(_has_nan(x) for _, x in given)
            made = None if before is None else before[~torch.isfinite(after)]
            masks = made is not None and not bool(torch.isnan(after).any()) and _only_limits(made)
            fixed = fixed and not fresh_nan and made is not None and bool(torch.isinf(made).all())
            fixed = fixed and ref.dtype in _WIDE
            if (guilty and meant and not fresh_nan) or masks or fixed or _is_log(call, ref) or self._allowed(call):
                self._mark(call, ref, False, True)
                return False
            self._add(_described(self.run, self.step, call, before, after, given))
        self._mark(call, ref, True, False)
        return not sick

    def _allowed(self, call: Call) -> bool:
        return any(fnmatchcase(word, one) for one in self._allow for word in (plain(call.name), call.path))

    def _is_bad(self, ref: Ref, x: Any) -> bool:
        if x is None:
            return ref.storage in self._sick or ref.storage in self._meant
        return x.is_floating_point() and not _all_finite(x)

    def _states(self, refs: Sequence[Ref]) -> tuple[bool, bool]:
        numbers = {ref.storage for ref in refs}
        return bool(numbers & self._sick), bool(numbers & self._meant)

    def _mark(self, call: Call, ref: Ref, sick: bool, meant: bool) -> None:
        if ref.storage in call.fresh:
            self.forget(ref.storage)
        if sick:
            self._sick.add(ref.storage)
        if meant:
            self._meant.add(ref.storage)

    def _add(self, one: NonFinite) -> None:
        if len(self.found) < MOST:
            self.found.append(one)


def _is_log(call: Call, ref: Ref) -> bool:
    # logarithms of the probabilities of alignments, among which zeros are usual
    return plain(call.name) == "_ctc_loss" and ref != call.results[0]


def _all_finite(x: Any) -> bool:
    # an infinity or NaN makes the sum one; the sum of finite numbers may overflow
    x = x.float() if x.element_size() == 1 else x  # of which torch makes no sums
    return math.isfinite(x.sum().item()) or bool(torch.isfinite(x).all())


def _only_limits(x: Any) -> bool:
    # the largest numbers of dtypes, with which programs mask
    magnitudes = x.double().abs()
    return bool(torch.stack([magnitudes == limit for limit in _MASKS]).any(0).all())


def _has_nan(x: Any) -> bool:
    return x is not None and x.is_floating_point() and bool(torch.isnan(x).any())


def _described(run: str, step: int, call: Call, before: Any, after: Any, given: Sequence[tuple[Ref, Any]]) -> NonFinite:
    bad = ~torch.isfinite(after)
    index = tuple(int(one) for one in bad.nonzero()[0])
    value = float(after[index] if before is None else before[index])
    rounding = math.isfinite(value)
    cause = "rounding" if rounding else "overflow" if not bool(torch.isnan(after[index])) else "invalid operation"
    shown = tuple(_operand(ref, x, tuple(after.shape), index) for ref, x in given if ref.dtype.is_floating_point)
    count = int(bad.sum())
    name = plain(call.name)
    return NonFinite(step, run, name, call.path, call.direction, call.site, cause, count, index, value, shown)


def _operand(ref: Ref, x: Any, shape: tuple[int, ...], index: tuple[int, ...]) -> str:
    sizes = "x".join(map(str, ref.shape)) or "scalar"
    if x is None:
        return f"{sizes} (overwritten)"
    if x.numel() == 0:
        return f"{sizes} (empty)"
    flat = x.detach().double().reshape(-1).abs()
    largest, least = float(flat.max()), float(flat.min())
    spread = f"magnitudes {least:.6g} to {largest:.6g}"
    try:
        element = float(torch.broadcast_to(x, shape)[index])
    except RuntimeError:  # a matrix product's operand has no element of the result's own
        return f"{sizes}: {spread}"
    return f"{sizes}: {element:.6g} there, {spread}"


def moved(call: Call) -> bool:
    """Whether a call computes nothing that could be the first infinity."""
    return is_move(call.name) or call.uninitialised
