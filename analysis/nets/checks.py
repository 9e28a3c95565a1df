"""Checks of the arguments of nets: each error says what was given and what is accepted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from floatemu.errors import UnsupportedError

__all__ = ["check_choice", "check_count", "check_flag", "check_number", "check_seed", "widths"]


def check_seed(seed: object) -> None:
    """Refuse what is no seed.

    Parameters
    ----------
    seed : object

    Raises
    ------
    UnsupportedError

    Examples
    --------
    >>> check_seed(0)
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise UnsupportedError(f"seed={seed!r}; accepted: an integer, 0..2^64 - 1")


def check_count(most: int = 10_000, **given: object) -> None:
    """Refuse what is no positive integer, or too large.

    Parameters
    ----------
    most : int
    **given
        Name and value.

    Raises
    ------
    UnsupportedError

    Examples
    --------
    >>> check_count(depth=0)
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: depth=0; accepted: an integer, 1..10000
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise UnsupportedError(f"{name}={value!r}; accepted: an integer, 1..{most}")


def check_number(low: float, high: float, **given: object) -> None:
    """Refuse what is no number between two bounds, both included.

    Parameters
    ----------
    low, high : float
    **given
        Name and value.

    Raises
    ------
    UnsupportedError

    Examples
    --------
    >>> check_number(0, 1, eps=-1.0)
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: eps=-1.0; accepted: a number, 0..1
    """
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise UnsupportedError(f"{name}={value!r}; accepted: a number, {low}..{high}")


def check_flag(**given: object) -> None:
    """Refuse what is neither True nor False.

    Parameters
    ----------
    **given
        Name and value.

    Raises
    ------
    UnsupportedError

    Examples
    --------
    >>> check_flag(causal=1)
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: causal=1; accepted: True, False
    """
    for name, value in given.items():
        if not isinstance(value, bool):
            raise UnsupportedError(f"{name}={value!r}; accepted: True, False")


def widths(name: str, given: object, least: int) -> tuple[int, ...]:
    """Return the sizes of layers as a tuple, or refuse what is none.

    Parameters
    ----------
    name : str
    given : object
    least : int
        Number of sizes.

    Returns
    -------
    tuple of int

    Raises
    ------
    UnsupportedError

    Examples
    --------
    >>> widths("channels", [4, 8], 1)
    (4, 8)
    """
    found = tuple(given) if isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, str) else ()
    if len(found) < least or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in found):
        raise UnsupportedError(f"{name}={given!r}; accepted: {least} or more positive integers")
    return tuple(map(int, found))


def check_choice(accepted: Sequence[object], **given: object) -> None:
    """Refuse what is not in a list.

    Parameters
    ----------
    accepted : sequence
    **given
        Name and value.

    Raises
    ------
    UnsupportedError

    Examples
    --------
    >>> check_choice(("max", "average"), pool="sum")
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: pool='sum'; accepted: max, average
    """
    for name, value in given.items():
        if value not in accepted:
            raise UnsupportedError(f"{name}={value!r}; accepted: {', '.join(map(str, accepted))}")
