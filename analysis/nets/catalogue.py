"""THE TABLE of nets by name, and their arguments as texts, for command lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from floatemu.errors import UnsupportedError

from ..nets.attending import attention
from ..nets.gradient import chain
from ..nets.images import cnn
from ..nets.language import llama, transformer
from ..nets.perceptrons import mlp, residual_mlp
from ..nets.sequences import gru, lstm, rnn
from ..tape import Tape

__all__ = ["NETS", "arguments", "build", "describe"]

NETS: Mapping[str, Callable[..., Tape]] = {
    "mlp": mlp,
    "residual_mlp": residual_mlp,
    "cnn": cnn,
    "rnn": rnn,
    "gru": gru,
    "lstm": lstm,
    "attention": attention,
    "transformer": transformer,
    "llama": llama,
    "chain": chain,
}
"""Name to builder."""

_CHAIN = {"start": 1e5, "multiplier": 0.25, "steps": 10}
_KINDS = {
    "int": "integer",
    "float": "number",
    "bool": "true or false",
    "str": "word",
    "int | None": "integer or none",
    "str | None": "word or none",
    "Sequence[int]": "integers, as in 8,16",
    "Sequence[int] | None": "integers, as in 64,32,10",
    "Optimiser | str | None": "optimiser, as in adam:lr=0.01, or none",
}


def arguments(name: str) -> dict[str, tuple[str, Any]]:
    """Return the arguments that a net takes as texts: what kind of value each is, and its default.

    ``data`` and ``seed`` are not among them: they are options of every command line.

    Parameters
    ----------
    name : str

    Returns
    -------
    dict of str to (str, object)

    Raises
    ------
    UnsupportedError
        If no net has that name.

    Examples
    --------
    >>> arguments("mlp")["sizes"], arguments("chain")["steps"]
    (('integers, as in 64,32,10', None), ('integer', 10))
    """
    if name not in NETS:
        raise UnsupportedError(f"net={name!r}; accepted: {', '.join(NETS)}")
    found = {}
    for key, item in inspect.signature(NETS[name]).parameters.items():
        if key not in ("data", "seed"):
            found[key] = _KINDS[item.annotation], _CHAIN[key] if name == "chain" else item.default
    return found


def takes(name: str, what: str) -> bool:
    """Return whether a net has an argument, such as ``data`` or ``seed``.

    Parameters
    ----------
    name, what : str

    Returns
    -------
    bool

    Examples
    --------
    >>> takes("mlp", "data"), takes("chain", "seed")
    (True, False)
    """
    return what in inspect.signature(NETS[name]).parameters


def _number(text: str) -> float:
    return float.fromhex(text) if "0x" in text.lower() else float(text)


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _parse(net: str, key: str, text: str) -> Any:
    kind = arguments(net)[key][0]
    if "none" in kind and text.lower() == "none":
        return None
    try:
        match kind.split(",")[0].removesuffix(" or none"):
            case "integer":
                return int(text)
            case "number":
                return _number(text)
            case "integers":
                return _integers(text)
            case "true or false":
                return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError, OverflowError):
        raise UnsupportedError(f"{net}: {key}={text!r} is not what it takes; accepted: {kind}") from None
    return text


def build(name: str, texts: Mapping[str, str] | None = None, data: Any = None, seed: int | None = None) -> Tape:
    """Build a net by name, with arguments as texts.

    Parameters
    ----------
    name : str
    texts : mapping of str to str, optional
        As :func:`arguments` lists them.
    data : str, path or (X, y), optional
        For nets on data; default their own.
    seed : int, optional
        For nets with one; default 0.

    Returns
    -------
    Tape

    Raises
    ------
    UnsupportedError
        If the net, an argument or its value is unknown; the message lists what is accepted.

    Examples
    --------
    >>> build("mlp", {"sizes": "64,8,10", "batch": "4", "optimizer": "sgd:lr=0.5"}).meta["sizes"]
    [64, 8, 10]
    >>> build("lstm", {"depth": "3"})
    Traceback (most recent call last):
        ...
    floatemu.errors.UnsupportedError: lstm takes no argument 'depth'; accepted: length, hidden, features, batch, \
forget_bias, scale, loss, recall, optimizer, steps
    """
    known = arguments(name)
    values: dict[str, Any] = dict(_CHAIN) if name == "chain" else {}
    for key, value in (("data", data), ("seed", seed)):
        if value is not None and not takes(name, key):
            able = ", ".join(net for net in NETS if takes(net, key))
            raise UnsupportedError(f"{name} takes no {key}; leave it out; accepted: {able}")
        if value is not None:
            values[key] = value
    for key, text in (texts or {}).items():
        if key not in known:
            raise UnsupportedError(f"{name} takes no argument {key!r}; accepted: {', '.join(known)}")
        values[key] = _parse(name, key, text)
    return NETS[name](**values)


def describe(name: str) -> str:
    """Return a net's arguments in one line, with their defaults.

    Parameters
    ----------
    name : str

    Returns
    -------
    str

    Examples
    --------
    >>> describe("chain")
    'chain: start=100000.0 multiplier=0.25 steps=10'
    """

    def shown(value: Any) -> str:
        if isinstance(value, tuple):
            return ",".join(map(str, value))
        return str(value).lower() if value is None or isinstance(value, bool) else str(value)

    return f"{name}: " + " ".join(f"{key}={shown(default)}" for key, (_, default) in arguments(name).items())
