"""Policies: which format, projection and accumulator each output of each node uses."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import floatemu as fe
from floatemu.errors import UnsupportedError

from .numerics import OPERANDS, SUMS, Numerics
from .ops import Kind, get_op
from .recipes import recipe, refusal
from .tape import Node

if TYPE_CHECKING:
    from floatemu.interop.torch import Recipe

__all__ = ["NAMED", "OPERANDS", "SUMS", "Numerics", "Policy", "Rule"]

NAMED = ("torch_amp", "fp8_recipe")
_ACCEPTED = (
    f"accepted: {', '.join(NAMED)}, mixed:FORMAT, mixed:FORMAT:ACCUMULATOR, FORMAT, FORMAT/SatFinite, FORMAT/ROUNDING, "
    "torch_amp:LOW/GRADIENTS+HIGH"
)


@dataclass(frozen=True)
class Rule:
    """Numerics for the outputs that match every pattern (shell patterns, as in :mod:`fnmatch`).

    Parameters
    ----------
    numerics : Numerics
    op, path, direction : str
        Patterns; alternatives are separated by "|".
    output : int, optional
        One output of the node only.

    Examples
    --------
    >>> rule = Rule(Numerics(result="binary32"), path="loss*|*norm*")
    >>> rule.matches(Node(0, "exp", path="loss.softmax"), 0), rule.matches(Node(0, "exp", path="layer0"), 0)
    (True, False)
    """

    numerics: Numerics
    op: str = "*"
    path: str = "*"
    direction: str = "*"
    output: int | None = None

    def matches(self, node: Node, output: int) -> bool:
        """Whether the rule speaks about that output of that node."""
        if self.output is not None and self.output != output:
            return False
        pairs = ((self.op, node.op), (self.path, node.path), (self.direction, node.direction))
        return all(any(fnmatch.fnmatchcase(word, part) for part in given.split("|")) for given, word in pairs)


@dataclass(frozen=True)
class Policy:
    """An ordered list of rules; the first that matches an output decides.

    Outputs that only move numbers, decide, or hold integers are never rounded.

    Parameters
    ----------
    name : str
    rules : sequence of Rule
    seed : int
        Seed of stochastic rounding.

    Examples
    --------
    >>> Policy.uniform("bf16").numerics(Node(0, "mul"), 0).result.name
    'bfloat16'
    """

    name: str
    rules: tuple[Rule, ...]
    seed: int = 0
    _decided: dict[tuple[str, str, str, int], Numerics] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", tuple(self.rules))

    def numerics(self, node: Node, output: int = 0) -> Numerics:
        """Return the numerics of one output of a node.

        Parameters
        ----------
        node : Node
        output : int

        Returns
        -------
        Numerics

        Raises
        ------
        UnsupportedError
            If no rule matches.

        Examples
        --------
        >>> Policy("none", ()).numerics(Node(3, "mul"), 0)
        Traceback (most recent call last):
            ...
        floatemu.errors.UnsupportedError: policy 'none' has no rule for %3 mul (forward); end it with Rule(Numerics())
        """
        key = (node.op, node.path, node.direction, output)  # all that rules look at
        if key not in self._decided:
            self._decided[key] = self._decide(node, output)
        return self._decided[key]

    def _decide(self, node: Node, output: int) -> Numerics:
        if get_op(node.op).kind in (Kind.MOVE, Kind.BRANCH):
            return Numerics()
        for rule in self.rules:
            if rule.matches(node, output):
                return rule.numerics
        raise UnsupportedError(f"policy {self.name!r} has no rule for {node.label}; end it with Rule(Numerics())")

    def recipe(self) -> Recipe:
        """Return the recipe that makes a torch model's products as this policy does: for ``ft.emulate``.

        Returns
        -------
        Recipe
            Formats of operands and gradients, rounding, saturation, matrix units, and, as paths to skip, the rules that
            leave products alone. What a policy says about results and other operations is no matter of recipes: those
            stay in the model's dtype.

        Raises
        ------
        UnsupportedError
            If the policy's products are no recipe's, with the reason; or torch is missing.

        Examples
        --------
        With torch, ``ft.emulate(model, an.Policy.named("fp8_recipe").recipe())``.

        >>> Policy("none", ()).recipe()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        floatemu.errors.UnsupportedError: the policy 'none' is no recipe: no rule covers products in the forward ...
        """
        skip: dict[str, None] = {}
        forward, backward = (self._products(direction, skip) for direction in ("forward", "backward"))
        return recipe(self.name, forward, backward, tuple(skip), self.seed)

    def _products(self, direction: str, skip: dict[str, None]) -> Numerics:
        """The numerics of a pass's products wherever they are; notes the paths whose products stay as they are."""
        node = Node(0, "matmul", direction=direction)
        for rule in self.rules:
            if replace(rule, path="*").matches(node, 0):
                if rule.path == "*":
                    return rule.numerics
                if rule.numerics.operands is not None:
                    raise refusal(self.name, f"it has a rule of its own for products in {rule.path!r}")
                skip.update(dict.fromkeys(rule.path.split("|")))
        raise refusal(self.name, f"no rule covers products in the {direction} pass")

    @staticmethod
    def stream(node: Node, output: int, step: int) -> int:
        """Return the stream of stochastic rounding for one output: step * 2^32 + 16 * node + output.

        Parameters
        ----------
        node : Node
        output : int
            ``OPERANDS + i`` stands for operand i, ``SUMS`` for products and partial sums.
        step : int
            The training step or repetition that the replay stands for.

        Returns
        -------
        int

        Examples
        --------
        >>> Policy.stream(Node(2, "add"), 0, step=1) == 2**32 + 32
        True
        """
        return (step << 32) + (node.id << 4) + output

    @staticmethod
    def uniform(
        fmt: fe.Format | str,
        rounding: fe.Rounding | str = "rne",
        saturation: fe.Saturation | str = "SatNone",
        seed: int = 0,
        random_bits: int | None = None,
    ) -> Policy:
        """Return the policy in which every output, leaves included, is rounded once to one format.

        The output of a node is the binary64 result of its operation on its emulated operands, rounded once.

        Parameters
        ----------
        fmt : Format or str
        rounding : Rounding or str
        saturation : Saturation or str
        seed : int
        random_bits : int, optional
            For the stochastic modes.

        Returns
        -------
        Policy

        Examples
        --------
        >>> Policy.uniform("e4m3fn", saturation="SatFinite").name
        'e4m3fn/SAT_FINITE'
        """
        projection = fe.Projection(rounding, saturation, random_bits)  # type: ignore[arg-type]
        chosen = fe.get_format(fmt)
        words = [chosen.name]
        if projection.rounding is not fe.Rounding.NEAREST_TIES_TO_EVEN:
            words.append(projection.rounding.name)
        if projection.saturation is not fe.Saturation.SAT_NONE:
            words.append(projection.saturation.name)
        return Policy("/".join(words), (Rule(Numerics(result=chosen, projection=projection)),), seed)

    @staticmethod
    def mixed(
        compute: fe.Format | str,
        accumulate: fe.Format | str = "binary32",
        keep: tuple[str, ...] = ("loss", "norm", "softmax"),
        master: fe.Format | str = "binary32",
        saturation: fe.Saturation | str = "SatNone",
    ) -> Policy:
        """Return a mixed-precision policy.

        Parameters stay in ``master`` and are cast where a matrix product reads them; matrix products take
        operands in ``compute``, add in ``accumulate`` and give ``compute``; nodes whose path contains a word of
        ``keep`` work in ``master`` throughout; so do updates; all else works in ``compute``.

        Parameters
        ----------
        compute, accumulate, master : Format or str
        keep : sequence of str
        saturation : Saturation or str

        Returns
        -------
        Policy

        Examples
        --------
        >>> policy = Policy.mixed("binary16")
        >>> policy.numerics(Node(0, "exp", path="loss")).result.name, policy.numerics(Node(0, "matmul")).result.name
        ('binary32', 'binary16')
        """
        projection = fe.Projection("rne", saturation)  # type: ignore[arg-type]
        full = Numerics(result=master)
        product = Numerics(operands=compute, accumulate=accumulate, result=compute, projection=projection)
        rules = [
            Rule(full, op="parameter"),
            Rule(full, direction="update"),
            *(Rule(full, path=f"*{word}*") for word in keep),
            Rule(product, op="matmul"),
            # a sum adds in the accumulator too, as reductions in real kernels do
            Rule(replace(product, operands=None), op="sum"),
            Rule(Numerics(result=compute, projection=projection)),
        ]
        suffix = "" if projection.saturation is fe.Saturation.SAT_NONE else f"/{projection.saturation.name}"
        narrow = fe.get_format(accumulate)
        sums = "" if narrow.name == "binary32" else f":{narrow.name}"
        return Policy(f"mixed:{fe.get_format(compute).name}{sums}{suffix}", tuple(rules))

    @staticmethod
    def autocast(low: str, high: str = "binary32", gradients: str | None = None) -> Policy:
        """Return torch's mixed precision for any formats.

        Matrix products take operands in ``low``, add in binary32 and give ``low``; loss, normalisation, softmax, and
        exp, log, sum, div, sqrt, rsqrt, erf work in ``high``, as do updates and parameters; all else in ``low``.

        Parameters
        ----------
        low, high : str
        gradients : str, optional
            In place of ``low`` in the backward pass.

        Returns
        -------
        Policy

        Examples
        --------
        >>> Policy.autocast("e4m3fn", "bf16", "e5m2").numerics(Node(0, "matmul", direction="backward")).result.name
        'e5m2'
        """
        mixed, back = (Policy.mixed(fmt, master=high).rules for fmt in (low, gradients or low))
        products = replace(mixed[-3].numerics, result=back[-1].numerics.result, gradients=gradients or low)
        wide = Rule(Numerics(result=high), op="exp|log|sum|div|sqrt|rsqrt|erf")
        made = (Rule(products, op="matmul", direction="backward"), mixed[-3], wide)
        name = f"torch_amp:{low}{f'/{gradients}' if gradients else ''}+{high}"
        return Policy(name, (*mixed[:-3], *made, Rule(back[-1].numerics, direction="backward"), mixed[-1]))

    @staticmethod
    def named(name: str) -> Policy:
        """Return a policy by name.

        Parameters
        ----------
        name : str
            ``torch_amp``: :meth:`autocast` to binary16; ``torch_amp:LOW``, ``torch_amp:LOW/GRADIENTS+HIGH``: to others.
            ``fp8_recipe``: matrix products take weights and activations in e4m3fn and gradients in e5m2
            (saturating, without scaling), add in binary32, give bfloat16; all else in bfloat16, loss in binary32;
            parameters stay binary32. ``mixed:FORMAT`` and ``mixed:FORMAT:ACCUMULATOR``. ``FORMAT`` and
            ``FORMAT/MODE...``: uniform, with a rounding or saturation mode, such as ``e4m3fn/SatFinite`` or
            ``bf16/toward_zero``.

        Returns
        -------
        Policy

        Raises
        ------
        UnsupportedError
            If no policy has that name.

        Examples
        --------
        >>> [Policy.named(name).name for name in ("torch_amp", "mixed:bf16", "e4m3fn/SatFinite")]
        ['torch_amp', 'mixed:bfloat16', 'e4m3fn/SAT_FINITE']
        """
        if not isinstance(name, str):
            raise UnsupportedError(f"the policy {name!r} is {type(name).__name__}, not a name; {_ACCEPTED}")
        if name == "torch_amp":
            return Policy(name, Policy.autocast("binary16").rules)
        if name == "fp8_recipe":
            product = Numerics(
                operands="e4m3fn",
                gradients="e5m2",
                accumulate="binary32",
                result="bfloat16",
                projection=fe.Projection(saturation=fe.Saturation.SAT_FINITE),
            )
            return Policy(name, (Rule(product, op="matmul"), *Policy.mixed("bfloat16").rules))
        head, _, rest = name.partition(":")
        try:
            if head == "mixed" and rest:
                compute, _, accumulate = rest.partition(":")
                return Policy.mixed(compute, accumulate or "binary32")
            if head == "torch_amp" and rest:
                low, _, high = rest.partition("+")
                return Policy.autocast(low.partition("/")[0], high or "binary32", low.partition("/")[2] or None)
            return _uniform_by_name(name)
        except (fe.FormatError, fe.ProjectionError) as error:
            raise UnsupportedError(f"no policy is named {name!r} ({error}); {_ACCEPTED}") from None


def _uniform_by_name(name: str) -> Policy:
    fmt, *modes = name.split("/")
    chosen: dict[str, str] = {}
    for mode in modes:
        try:
            fe.Projection(saturation=mode)  # type: ignore[arg-type]
            chosen["saturation"] = mode
        except fe.ProjectionError:
            chosen["rounding"] = mode
    return Policy.uniform(fmt, **chosen)  # type: ignore[arg-type]
