"""Whose a source file is: places that are told to a user are lines of the user's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType

__all__ = ["is_users"]

_OURS = Path(__file__).resolve().parent


@cache
def is_users(file: str, *libraries: ModuleType) -> bool:
    """Whether a source file is the user's, neither this package's nor of a library, whatever links lead to them.

    Parameters
    ----------
    file : str
        As a code object names it; what is no file, such as "<stdin>", is the user's.
    *libraries : module
        Packages, each with all that lies in its folder.

    Returns
    -------
    bool

    Examples
    --------
    >>> import json, json.decoder, logging
    >>> is_users(json.decoder.__file__, json), is_users(json.decoder.__file__, logging), is_users("<stdin>", json)
    (False, True, True)
    """
    place = Path(file).resolve()
    folders = (_OURS, *(Path(str(library.__file__)).resolve().parent for library in libraries))
    return file.startswith("<") or not any(place.is_relative_to(folder) for folder in folders)
