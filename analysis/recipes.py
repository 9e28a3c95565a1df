"""Policies as recipes: what ``floatemu.interop.torch.emulate`` makes a torch model compute in."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import floatemu as fe
from floatemu.errors import UnsupportedError

from .numerics import Numerics

if TYPE_CHECKING:
    from floatemu.interop.torch import Recipe

__all__ = ["recipe", "refusal"]


def recipe(name: str, forward: Numerics, backward: Numerics, skip: Sequence[str], seed: int) -> Recipe:
    """Return the recipe whose products are a policy's; see :meth:`analysis.Policy.recipe`.

    Parameters
    ----------
    name : str
        The policy's.
    forward, backward : Numerics
        Of matrix products.
    skip : sequence of str
        Paths whose products stay as they are.
    seed : int

    Returns
    -------
    Recipe

    Raises
    ------
    UnsupportedError
        If they are no recipe's, with the reason; or torch is missing.

    Examples
    --------
    >>> recipe("plain", Numerics(), Numerics(), (), 0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: the policy 'plain' is no recipe: its products take operands as they are; ...
    """
    for words, refused in (
        ("its products take operands as they are", forward.operands is None or backward.gradients is None),
        ("weights and activations are of another format in the backward pass", forward.operands != backward.operands),
        ("it scales tensors by powers of two", forward.scaling is not None or backward.scaling is not None),
        ("its sums are not binary32's", not (_wide(forward) and _wide(backward))),
        ("saturation differs between the passes", forward.projection.saturation != backward.projection.saturation),
        (
            "it sets a number of random bits",
            (forward.projection.random_bits or backward.projection.random_bits) is not None,
        ),
        ("its matrix unit differs between the passes", forward.unit != backward.unit),
        ("its promotion differs between the passes", forward.promote_every != backward.promote_every),
    ):
        if refused:
            raise refusal(name, words)
    try:
        from floatemu.interop.torch import Recipe
    except ImportError as error:
        raise UnsupportedError(f"a recipe needs torch ({error}): pip install 'floatemu[torch]'") from None
    formats = [fe.get_format(one) for one in (forward.operands, backward.gradients) if one is not None]
    units = (backward.unit_for(*pair) for pair in product(formats, repeat=2))
    return Recipe(
        forward.operands,
        backward.gradients,
        scaling="none",
        rounding=forward.projection.rounding,
        backward_rounding=backward.projection.rounding,
        saturation=forward.projection.saturation,
        seed=seed,
        skip=tuple(skip),
        units=tuple(dict.fromkeys(unit for unit in units if unit is not None)),
        promote_every=forward.promote_every,
    )


def _wide(numerics: Numerics) -> bool:
    return numerics.unit is not None or getattr(numerics.accumulate, "name", None) == "binary32"


def refusal(name: str, words: str) -> UnsupportedError:
    """Return the error that says why a policy is no recipe.

    Parameters
    ----------
    name, words : str

    Returns
    -------
    UnsupportedError
    """
    return UnsupportedError(
        f"the policy {name!r} is no recipe: {words}; accepted: policies that round operands of products and add in "
        "binary32 or on a matrix unit, such as fp8_recipe, torch_amp, mixed:bfloat16"
    )
