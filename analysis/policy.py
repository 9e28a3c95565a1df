"""Policies: which format, projection and accumulator each output of each node uses."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product

import floatemu as fe
from floatemu.errors import UnsupportedError

from .arithmetics.emulated import Emulated, Rounder
from .ops import Kind, get_op
from .tape import Node

__all__ = ["NAMED", "OPERANDS", "SUMS", "Numerics", "Policy", "Rule"]

OPERANDS, SUMS = 8, 15
"""In the place of an output: where streams of operands begin, and that of partial sums."""
NAMED = ("torch_amp", "fp8_recipe")
SCALINGS = (None, "operands", "result", "all")
_ACCEPTED = (
    f"accepted: {', '.join(NAMED)}, mixed:FORMAT, mixed:FORMAT:ACCUMULATOR, FORMAT, FORMAT/SatFinite, FORMAT/ROUNDING"
)
_LARGEST, _LEAST_EXPONENT = Fraction(sys.float_info.max), -1074  # of binary64


def _format(given: fe.Format | str | None) -> fe.Format | None:
    return None if given is None else fe.get_format(given)


def _check_range(fmt: fe.Format) -> None:
    if fmt.max > _LARGEST or fmt.emin - fmt.p + 1 < _LEAST_EXPONENT:
        raise UnsupportedError(
            f"{fmt.name} reaches beyond binary64 (emin {fmt.emin}, emax {fmt.emax}), in which replays hold their "
            f"values; accepted: formats within binary64's range, such as binary64 or bfloat16"
        )


@dataclass(frozen=True)
class Numerics:
    """How one output of one node is computed.

    Parameters
    ----------
    operands : Format or str, optional
        Format that the operands are rounded to first; None uses them as they are.
    accumulate : Format or str, optional
        Format of products and partial sums in sums and matrix products; None rounds the result alone.
    order : str
        Order of such sums: "sequential" (by index), "pairwise", "blocked(32)" ...; see :class:`floatemu.Order`.
    result : Format or str, optional
        Format of the output; None keeps binary64.
    projection : Projection
        Rounding of operands, partial sums and result; saturation of operands and result. (A matrix unit rounds its
        sums as the device does.)
    unit : MatrixUnit, optional
        Makes the matrix products: operands are rounded to its input formats (``gradients`` may name another format
        that the same instruction takes), what it gives is rounded to ``result``.
    promote_every : int, optional
        With a unit: elements along K between two additions to a binary32 total; see :func:`floatemu.matrix.gemm`.
    stream : int
        Added to the streams of stochastic rounding.
    gradients : Format or str, optional
        Format of operands that were made in the backward pass; default ``operands``.
    scaling : str, optional
        "operands", "result" or "all": those are multiplied by a power of two first, for each tensor the largest that
        keeps it within the format, and divided by it afterwards. Default: rounded as they are.

    Raises
    ------
    UnsupportedError
        If there is no such order, the unit is none for floating-point formats without block scales, or does not take
        the operands' formats, or a format reaches beyond binary64.

    Examples
    --------
    >>> Numerics(operands="e4m3fn", accumulate="binary32", result="bfloat16").result.name
    'bfloat16'
    """

    operands: fe.Format | str | None = None
    accumulate: fe.Format | str | None = None
    order: str = "sequential"
    result: fe.Format | str | None = None
    projection: fe.Projection = field(default_factory=fe.Projection)
    unit: fe.matrix.MatrixUnit | None = None
    stream: int = 0
    gradients: fe.Format | str | None = None
    promote_every: int | None = None
    scaling: str | None = None

    def __post_init__(self) -> None:
        if self.unit is not None:
            self._check_unit(self.unit)
            if self.operands is None:
                object.__setattr__(self, "operands", self.unit.a)
        if self.gradients is None:
            object.__setattr__(self, "gradients", self.operands)
        for name in ("operands", "gradients", "accumulate", "result"):
            chosen = _format(getattr(self, name))
            if chosen is not None:
                _check_range(chosen)
            object.__setattr__(self, name, chosen)
        fe.Order.parse(self.order)
        if self.scaling not in SCALINGS:
            raise UnsupportedError(f"scaling={self.scaling!r}; accepted: None, operands, result, all")
        if self.promote_every is not None and self.unit is None:
            raise UnsupportedError("promote_every is a matter of a matrix unit; give unit= too")
        if self.unit is not None:
            for pair in product((_format(self.operands), _format(self.gradients)), repeat=2):
                self.unit_for(*pair)

    @staticmethod
    def _check_unit(unit: object) -> None:
        if not isinstance(unit, fe.matrix.MatrixUnit):
            raise UnsupportedError(f"unit is {unit!r}; give a MatrixUnit, for instance from fe.matrix.find(...)")
        if not isinstance(unit.a, fe.Format) or unit.scale is not None:
            raise UnsupportedError(f"{unit.name} takes integers or block scales; replays have neither")

    def unit_for(self, left: fe.Format | None, right: fe.Format | None) -> fe.matrix.MatrixUnit | None:
        """Return the row of the unit's instruction that takes operands of these formats; None without a unit.

        Parameters
        ----------
        left, right : Format

        Returns
        -------
        MatrixUnit or None

        Raises
        ------
        UnsupportedError
            If the instruction takes no such operands.
        """
        unit = self.unit
        if unit is None or (unit.a, unit.b) == (left, right):
            return unit
        rows = fe.matrix.units(unit.architecture, (left, right), unit.output, unit.instruction, scale=None)
        same = [row for row in rows if set(row.shapes) & set(unit.shapes)]
        if not same:
            names = " and ".join(fmt.name for fmt in (left, right) if fmt is not None)
            raise UnsupportedError(f"{unit.name} is of an instruction that takes no operands in {names}")
        return same[0]

    @property
    def format(self) -> fe.Format | None:
        """Format of the result."""
        return _format(self.result)

    def rounder(self, seed: int, stream: int) -> Rounder | None:
        """Return what rounds the result; None where it stays binary64.

        Parameters
        ----------
        seed, stream : int

        Returns
        -------
        Rounder or None
        """
        if self.format is None:
            return None
        return Rounder(self.format, self.projection, seed, stream + self.stream, self.scaling in ("result", "all"))

    def operand_rounder(self, gradient: bool, seed: int, stream: int) -> Rounder | None:
        """Return what rounds an operand; None where it is used as it is.

        Parameters
        ----------
        gradient : bool
            Whether the operand was made in the backward pass.
        seed, stream : int

        Returns
        -------
        Rounder or None
        """
        fmt = _format(self.gradients if gradient else self.operands)
        if fmt is None:
            return None
        return Rounder(fmt, self.projection, seed, stream + self.stream, self.scaling in ("operands", "all"))

    @property
    def plain(self) -> bool:
        """Whether the result alone is rounded: operands as they are, sums in binary64."""
        return self.operands is None and self.gradients is None and self.accumulate is None

    def sum_rounder(self, seed: int, stream: int) -> Rounder | None:
        """Return what rounds products and partial sums; None where they stay binary64.

        Parameters
        ----------
        seed, stream : int

        Returns
        -------
        Rounder or None
        """
        fmt = _format(self.accumulate)
        unsaturated = replace(self.projection, saturation=fe.Saturation.SAT_NONE)
        return None if fmt is None else Rounder(fmt, unsaturated, seed, stream + self.stream)

    def arithmetic(self, gradients: Sequence[bool], seed: int = 0, stream: int = 0) -> Emulated:
        """Return what computes the unrounded result.

        Parameters
        ----------
        gradients : sequence of bool
            Of each operand, whether it was made in the backward pass.
        seed, stream : int
            Of partial sums that are rounded stochastically.

        Returns
        -------
        Emulated
        """
        unit = self.unit
        if unit is not None and len(gradients) == 2:
            unit = self.unit_for(*(_format(self.gradients if made else self.operands) for made in gradients))
        return Emulated(self.sum_rounder(seed, stream), self.order, unit, self.promote_every)


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
    def named(name: str) -> Policy:
        """Return a policy by name.

        Parameters
        ----------
        name : str
            ``torch_amp``: autocast to binary16: matrix products take binary16 and give binary16 with binary32
            sums; loss and exp, log, sum, div, sqrt, rsqrt, erf work in binary32; all else in binary16; parameters stay
            binary32. ``fp8_recipe``: matrix products take weights and activations in e4m3fn and gradients in e5m2
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
            full = Numerics(result="binary32")
            rule = Rule(full, op="exp|log|sum|div|sqrt|rsqrt|erf")
            mixed = Policy.mixed("binary16")
            return Policy(name, (*mixed.rules[:-2], rule, mixed.rules[-1]))
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
