"""The door to recording torch modules: it is there without torch, and says what to install."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from floatemu.errors import UnsupportedError

from .tape import Tape

__all__ = ["record", "record_made", "unfollowed"]


def record(
    module: Any,
    *inputs: Any,
    loss: Callable[[Any], Any] | None = None,
    optimizer: Any = None,
    keywords: Mapping[str, Any] | None = None,
    decompose: bool = True,
    name: str | None = None,
) -> Tape:
    """Record one run of an unmodified torch module: forward, and backward and update where they are asked for.

    The run is a real one: gradients are accumulated in the parameters, an optimiser's step is taken, running
    statistics and the random generator go on.

    Parameters
    ----------
    module : torch.nn.Module
    *inputs : object
        Arguments of the module; tensors inside are the tape's inputs.
    loss : callable, optional
        Takes what the module returns and gives a scalar tensor. Default: the ``loss`` of what it returns, or the
        result itself, where that is a scalar; without any, the forward pass alone is recorded.
    optimizer : torch.optim.Optimizer, optional
        Takes one step after the backward pass.
    keywords : mapping of str to object, optional
        Further arguments of the module, by name.
    decompose : bool
        Whether fused operations are taken apart, as torch itself would. Where they are not, those without a rule
        are constants of the tape.
    name : str, optional
        Of the tape; default the module's class.

    Returns
    -------
    Tape
        Targets "result" (the module's, if it is one tensor of real numbers), "loss", "grad:NAME" for each parameter
        that has a gradient and, with an optimiser, "new:NAME". ``meta`` counts what the tape cannot follow, by name:
        "opaque" operations, which have no rule and whose results are constants; "drawn" random numbers, constants
        too; "frozen" integers and booleans that depend on real numbers; "escapes", numbers that became Python's.

    Raises
    ------
    UnsupportedError
        If the module is none, or compiled, the loss is no scalar, or torch is missing; the message names the extra.

    Examples
    --------
    With torch, ``record(torch.nn.Linear(2, 1), torch.ones(1, 2), loss=lambda y: y.sum())`` gives a tape with the
    targets result, loss, grad:weight and grad:bias.

    >>> record(None)
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: module is NoneType; accepted: a torch.nn.Module
    """
    if not callable(getattr(module, "named_parameters", None)):
        raise UnsupportedError(f"module is {type(module).__name__}; accepted: a torch.nn.Module")
    try:
        from .torch import record as recorded
    except ImportError as error:
        raise UnsupportedError(f"record needs torch ({error}): pip install 'floatemu[torch]'") from None
    return recorded(module, *inputs, loss=loss, optimizer=optimizer, keywords=keywords, decompose=decompose, name=name)


def record_made(spec: str, arguments: Mapping[str, str], seed: int) -> Tape:
    """Record the model that a function of the user's own makes: what ``floatemu trace --torch`` traces.

    Parameters
    ----------
    spec : str
        MODULE:FUNCTION, or FILE.py:FUNCTION. The function returns (module, inputs, loss) or (module, inputs, loss,
        optimizer); inputs are a tensor, a tuple of arguments, or a dict of named ones.
    arguments : mapping of str to str
        For the function; texts that are numbers become numbers.
    seed : int
        Of torch's generator, before anything is made.

    Returns
    -------
    Tape

    Raises
    ------
    UnsupportedError
        If the function cannot be found, it or the model raises, it returns something else, or torch is missing.

    Examples
    --------
    With torch, ``record_made("mypkg.mymodule:make_model", {"width": "64"}, 0)``.

    >>> record_made("none", {}, 0)
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: 'none' names no function; accepted: MODULE:FUNCTION or FILE.py:FUNCTION
    """
    where, sign, name = spec.rpartition(":")
    if not sign or not where or not name.isidentifier():
        raise UnsupportedError(f"{spec!r} names no function; accepted: MODULE:FUNCTION or FILE.py:FUNCTION")
    try:
        from .torch import record_made as recorded
    except ImportError as error:
        raise UnsupportedError(f"--torch needs torch ({error}): pip install 'floatemu[torch]'") from None
    return recorded(spec, arguments, seed)


_LIMITS = {
    "opaque": "operations without a rule, constants here",
    "drawn": "random numbers, those of the recorded run",
    "frozen": "decisions kept as they were recorded",
    "escapes": "numbers that became Python's, by module",
}


def unfollowed(tape: Tape) -> list[str]:
    """Return what a recorded tape could not follow, in words: no error is seen in it.

    Parameters
    ----------
    tape : Tape

    Returns
    -------
    list of str
        A line for each kind of which there is any.

    Examples
    --------
    >>> import dataclasses, analysis as an
    >>> tape = an.nets.chain(1.0, 0.5, 2)
    >>> unfollowed(tape), unfollowed(dataclasses.replace(tape, meta={"opaque": {"aten.sort": 2}}))
    ([], ['operations without a rule, constants here: aten.sort (2)'])
    """
    found = []
    for key, words in _LIMITS.items():
        counts = tape.meta.get(key)
        if isinstance(counts, Mapping) and counts:
            named = ", ".join(f"{name or 'outside of modules'} ({count})" for name, count in sorted(counts.items()))
            found.append(f"{words}: {named}")
    return found
