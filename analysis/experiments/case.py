"""Cases: everything that a training experiment consists of, in texts and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from floatemu.errors import UnsupportedError

from ..mitigations import NotApplicable, apply, parse
from ..nets.catalogue import NETS, arguments, takes
from ..nets.checks import check_count, check_seed
from ..nets.copying import FEATURES
from ..optimisers import named
from ..policy import Policy
from ..training import Setup

__all__ = ["Case", "applies"]

MAX_EXTENT, MAX_STEPS, MAX_BATCH, MAX_LIST = 2048, 100_000, 4096, 64
_RESERVED = ("seed", "data", "batch", "optimizer", "steps", "recall")
_TRAINABLE = tuple(net for net in NETS if net != "chain")


@dataclass(frozen=True)
class Case:
    """One training experiment: net, data, policy, mitigations, seed.

    Parameters
    ----------
    net : str
        A name in :data:`analysis.nets.NETS`, the chain excepted.
    args : mapping of str to number, text, boolean or list of integers
        Of the net's builder, without seed, data, batch, optimiser and steps.
    data : str, optional
        "digits" for nets on images and rows (default there); "copy:N" for recurrent nets, N symbols to be repeated;
        "synthetic" for nets on sequences (default there).
    policy : str
        See :meth:`analysis.policy.Policy.named`.
    mitigations : sequence of str
        See :func:`analysis.mitigations.parse`; applied in order. None: the baseline.
    seed : int
        Of weights, data and stochastic rounding.
    steps, batch : int
    optimizer : str
        See :func:`analysis.optimisers.named`.

    Raises
    ------
    UnsupportedError
        If anything is unknown, too large, or does not fit; the message says what is accepted.

    Examples
    --------
    >>> case = Case("mlp", {"sizes": (64, 16, 10)}, policy="bf16", mitigations=["clip_norm:0.5"])
    >>> Case.from_json(case.to_json()) == case, case.mitigations
    (True, ('clip_norm:0.5',))
    """

    net: str = "mlp"
    args: Any = ()
    data: str = ""
    policy: str = "bfloat16"
    mitigations: Any = ()
    seed: int = 0
    steps: int = 20
    batch: int = 32
    optimizer: str = "sgd:lr=0.1"

    def __post_init__(self) -> None:
        if not isinstance(self.net, str) or self.net not in _TRAINABLE:
            raise UnsupportedError(f"net={self.net!r}; accepted: {', '.join(_TRAINABLE)}")
        object.__setattr__(self, "args", _frozen(self.net, self.args))
        object.__setattr__(self, "data", _data(self.net, self.data))
        listed = isinstance(self.mitigations, (list, tuple))
        if not listed or not all(isinstance(text, str) for text in self.mitigations):
            raise UnsupportedError(f"mitigations={self.mitigations!r}; accepted: a list of names, as in ['layer_norm']")
        object.__setattr__(self, "mitigations", tuple(self.mitigations))
        check_seed(self.seed)
        check_count(MAX_STEPS, steps=self.steps)
        check_count(MAX_BATCH, batch=self.batch)
        Policy.named(self.policy)
        if named(self.optimizer) is None:
            raise UnsupportedError("optimizer=None; accepted: an optimiser, as in 'sgd:lr=0.1'")
        for text in self.mitigations:
            parse(text)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the net's builder, what the data adds included."""
        found = dict(self.args)
        kind, _, count = self.data.partition(":")
        return {**found, "features": FEATURES, "recall": int(count)} if kind == "copy" else found

    def to_json(self) -> dict[str, Any]:
        """Return the case as a JSON object.

        Returns
        -------
        dict
        """
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in self.args}
        return {
            **{item.name: getattr(self, item.name) for item in fields(self)},
            "args": plain,
            "mitigations": list(self.mitigations),
        }

    @staticmethod
    def from_json(given: Any) -> Case:
        """Return the case that a JSON object describes; whatever it leaves out has its default.

        Parameters
        ----------
        given : mapping

        Returns
        -------
        Case

        Raises
        ------
        UnsupportedError
            If it is no mapping, has an unknown key, or a value does not fit.

        Examples
        --------
        >>> Case.from_json({"nets": "mlp"})
        Traceback (most recent call last):
            ...
        floatemu.errors.UnsupportedError: a case has no 'nets'; accepted: net, args, data, policy, mitigations, seed, \
steps, batch, optimizer
        """
        known = [item.name for item in fields(Case)]
        if not isinstance(given, Mapping):
            raise UnsupportedError(f"a case is {type(given).__name__}; accepted: a mapping with {', '.join(known)}")
        for key in given:
            if key not in known:
                raise UnsupportedError(f"a case has no {str(key)[:60]!r}; accepted: {', '.join(known)}")
        return Case(**given)

    def setup(self) -> Setup:
        """Return the training run, its mitigations applied.

        Returns
        -------
        Setup

        Raises
        ------
        NotApplicable
            If a mitigation finds nothing to work on.
        """
        optimizer = named(self.optimizer)
        assert optimizer is not None
        policy = replace(Policy.named(self.policy), seed=self.seed)
        setup = Setup(self.net, self.arguments, policy, optimizer, self.steps, self.batch, self.seed)
        for text in self.mitigations:
            setup = apply(text, setup)
        return setup


def applies(mitigation: str, case: Case) -> str | None:
    """Return why a mitigation does not apply to a case, None if it does.

    Parameters
    ----------
    mitigation : str
    case : Case

    Returns
    -------
    str or None

    Raises
    ------
    UnsupportedError
        If there is no such mitigation.

    Examples
    --------
    >>> applies("adam_epsilon", Case())
    'the optimiser is sgd, which has no epsilon'
    >>> applies("he_init", Case())
    'nothing changes: the case is so already'
    """
    before = case.setup()
    try:
        after = apply(mitigation, before)
        if (after.net, dict(after.arguments)) != (before.net, dict(before.arguments)):
            if after.tape().data.keys() == before.tape().data.keys() and _same(after, before):
                return "nothing changes: the case is so already"
    except NotApplicable as error:
        return str(error)
    return None


def _same(after: Setup, before: Setup) -> bool:
    one, two = after.tape(), before.tape()
    return one.nodes == two.nodes and all(one.data[key].tobytes() == two.data[key].tobytes() for key in one.data)


def _frozen(net: str, given: Any) -> tuple[tuple[str, Any], ...]:
    if isinstance(given, tuple) and all(isinstance(item, tuple) and len(item) == 2 for item in given):
        given = dict(given)
    if not isinstance(given, Mapping):
        raise UnsupportedError(f"args={given!r}; accepted: a mapping of the net's arguments, as in depth: 4")
    known = [name for name in arguments(net) if name not in _RESERVED]
    found = {}
    for key, value in given.items():
        if key not in known:
            raise UnsupportedError(f"{net} takes no argument {str(key)[:60]!r}; accepted: {', '.join(known)}")
        found[str(key)] = _small(key, tuple(value) if isinstance(value, (list, tuple)) else value)
    return tuple(sorted(found.items()))


def _small(key: str, value: Any) -> Any:
    numbers = value if isinstance(value, tuple) else (value,)
    if len(numbers) > MAX_LIST or any(isinstance(n, int) and abs(n) > MAX_EXTENT for n in numbers):
        raise UnsupportedError(f"{key}={str(value)[:60]}; accepted: at most {MAX_LIST} numbers of at most {MAX_EXTENT}")
    if not all(isinstance(item, (int, float, str, bool, type(None))) for item in numbers):
        raise UnsupportedError(f"{key}={str(value)[:60]}; accepted: numbers, words, true, false, lists of integers")
    return value


def _data(net: str, given: Any) -> str:
    rows, copies = takes(net, "data"), "recall" in arguments(net)
    accepted = ["digits"] if rows else ["synthetic", *(["copy:N"] if copies else [])]
    if given == "":
        return accepted[0]
    kind, _, count = given.partition(":") if isinstance(given, str) else ("", "", "")
    if given in accepted or (kind == "copy" and copies and count.isdecimal() and 1 <= int(count) <= 100):
        return str(given)
    raise UnsupportedError(f"data={given!r} for {net}; accepted: {', '.join(accepted)}")
