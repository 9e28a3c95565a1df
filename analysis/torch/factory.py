"""Models of a user's own, made by a function that is named as text, such as ``mypkg.mymodule:make_model``."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from floatemu.errors import UnsupportedError

from ..sites import is_users
from ..tape import Tape
from .record import record

__all__ = ["made", "record_made"]

PROTOCOL = (
    "accepted: a tuple (module, inputs, loss) or (module, inputs, loss, optimizer): a torch.nn.Module; a tensor, a "
    "tuple of arguments or a dict of named ones; a function of the module's result that returns a scalar tensor, or "
    "None where the result has a loss"
)


def record_made(spec: str, arguments: Mapping[str, str], seed: int) -> Tape:
    """Record the model that a factory makes; see :func:`analysis.recording.record_made`.

    Parameters
    ----------
    spec : str
    arguments : mapping of str to str
    seed : int

    Returns
    -------
    Tape

    Raises
    ------
    UnsupportedError
        If any part of it goes wrong.
    """
    with _here():
        module, inputs, loss, optimizer = made(spec, arguments, seed)
        positional, named = _split(inputs)
        with _about(f"running the model of {spec!r}"):
            return record(module, *positional, loss=loss, optimizer=optimizer, keywords=named, name=spec)


def made(spec: str, arguments: Mapping[str, str], seed: int) -> tuple[Any, Any, Any, Any]:
    """Return (module, inputs, loss, optimizer or None) as a factory makes them.

    Parameters
    ----------
    spec : str
        MODULE:FUNCTION or FILE.py:FUNCTION.
    arguments : mapping of str to str
        For the function; texts that are numbers become numbers.
    seed : int
        Of torch's generator, before anything is made.

    Raises
    ------
    UnsupportedError
        If the function cannot be found, raises, or returns something else.

    Examples
    --------
    >>> made("none:make", {}, 0)
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: importing 'none' raised ModuleNotFoundError: No module named 'none'
    """
    where, _, name = spec.rpartition(":")
    torch.manual_seed(seed)
    with _about(f"importing {where!r}"):
        module = _file(where) if where.endswith(".py") else importlib.import_module(where)
    factory = getattr(module, name, None)
    if not callable(factory):
        raise UnsupportedError(f"{where!r} has no function {name!r}; accepted: MODULE:FUNCTION or FILE.py:FUNCTION")
    given = {key: _number(text) for key, text in arguments.items()}
    with _about(f"{spec!r}"):
        found = factory(**given)
    return _checked(spec, found)


def _checked(spec: str, found: Any) -> tuple[Any, Any, Any, Any]:
    if not isinstance(found, tuple) or len(found) not in (3, 4):
        shown = f"{len(found)} values" if isinstance(found, tuple) else type(found).__name__
        raise UnsupportedError(f"{spec!r} returned {shown}; {PROTOCOL}")
    module, inputs, loss, optimizer = (*found, None)[:4]
    wrong = ""
    if not isinstance(module, torch.nn.Module):
        wrong = f"{type(module).__name__} as the module"
    elif not isinstance(inputs, (torch.Tensor, tuple, list, Mapping)):
        wrong = f"{type(inputs).__name__} as inputs"
    elif isinstance(inputs, Mapping) and not all(isinstance(key, str) for key in inputs):
        wrong = "inputs whose names are no texts"
    elif loss is not None and not callable(loss):
        wrong = f"{type(loss).__name__} as the loss"
    elif optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        wrong = f"{type(optimizer).__name__} as the optimizer"
    if wrong:
        raise UnsupportedError(f"{spec!r} returned {wrong}; {PROTOCOL}")
    return module, inputs, loss, optimizer


def _split(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs), {}


def _number(text: str) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _file(where: str) -> Any:
    path = Path(where)
    if not path.is_file():
        raise UnsupportedError(f"there is no file {where!r}; accepted: MODULE:FUNCTION or FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _here() -> Iterator[None]:
    """Let modules of the working directory be found, which a console script does not look in."""
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")


@contextlib.contextmanager
def _about(what: str) -> Iterator[None]:
    """Turn whatever a user's code raises into one error, with the line where it did."""
    try:
        yield
    except UnsupportedError:
        raise
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split()) or "without a word"
        frames = [one for one in traceback.extract_tb(error.__traceback__) if _theirs(one.filename)]
        place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
        raise UnsupportedError(f"{what} raised {type(error).__name__}: {words}{place}") from None


def _theirs(file: str) -> bool:
    return is_users(file, torch, importlib) and not file.startswith("<frozen")
