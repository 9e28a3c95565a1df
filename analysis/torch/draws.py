"""Random numbers: which generators a call may draw from, and what was drawn from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch

__all__ = ["Draw", "drawn", "may_draw", "undisturbed"]


class Draw(NamedTuple):
    """A generator as it was before a call.

    Attributes
    ----------
    generator : torch.Generator
    state : Tensor
    """

    generator: Any
    state: Any

    def back(self) -> None:
        """Put the generator back to where it was."""
        self.generator.set_state(self.state)


def may_draw(given: Iterable[Any]) -> tuple[Draw, ...]:
    """Return the generators that a random operation may draw from, as they are now.

    Parameters
    ----------
    given : iterable
        The generators, tensors and devices among its arguments.

    Returns
    -------
    tuple of Draw
        Of the generators that are given; else of the CPU's own, and of those of all devices that are mentioned.
    """
    given = list(given)
    named = [one for one in given if isinstance(one, torch.Generator)]
    devices = {one if isinstance(one, torch.device) else one.device for one in given}
    generators = named or [torch.default_generator, *_of_devices(devices)]
    return tuple(Draw(one, one.get_state()) for one in generators)


def _of_devices(devices: Iterable[Any]) -> Iterator[Any]:
    for kind in sorted({one.type for one in devices} - {"cpu", "meta"}):
        module = torch.get_device_module(kind)
        if not hasattr(module, "default_generators"):
            continue
        indices = {module.current_device() if one.index is None else one.index for one in devices if one.type == kind}
        yield from (module.default_generators[index] for index in sorted(indices))


def drawn(before: Iterable[Draw]) -> tuple[Draw, ...]:
    """Return those that have moved on since.

    Parameters
    ----------
    before : iterable of Draw
    """
    return tuple(one for one in before if not torch.equal(one.state, one.generator.get_state()))


@contextlib.contextmanager
def undisturbed(draws: Iterable[Draw]) -> Iterator[None]:
    """Put all generators back afterwards to where they are now.

    Parameters
    ----------
    draws : iterable of Draw
        Their states do not matter.
    """
    held = {id(one.generator): Draw(one.generator, one.generator.get_state()) for one in draws}
    try:
        yield
    finally:
        for one in held.values():
            one.back()
