"""torch's linear layers, products of matrices and einsum, made of a product of matrices."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

Product = Callable[..., Any]
"""(..., M, K) times (..., K, N); ``weight`` = "a" or "b" where that one is a layer's weight."""


def linear(product: Product, x: Any, weight: Any, bias: Any = None) -> Any:
    """x W^T + b, as ``torch.nn.functional.linear``."""
    flat = x.reshape(-1, x.shape[-1])
    y = product(flat, weight.t(), weight="b").reshape(*x.shape[:-1], *weight.shape[:-1])
    return y if bias is None else y + bias


def matmul(product: Product, a: Any, *second: Any, **named: Any) -> Any:
    """As ``torch.matmul``, vectors included; its forms differ in the name of the second operand alone."""
    (b,) = second or named.values()
    left, right = (a[None, :] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    y = product(left, right)
    y = y.squeeze(-2) if a.ndim == 1 else y
    return y.squeeze(-1) if b.ndim == 1 else y


def inner(product: Product, a: Any, *second: Any, **named: Any) -> Any:
    """As ``torch.inner``: the last axes are summed; NotImplemented for single numbers, which it multiplies."""
    (b,) = second or named.values()
    if not (a.ndim and b.ndim):
        return NotImplemented
    left, right = (x.reshape(-1, x.shape[-1]) for x in (a, b))
    return product(left, right.t()).reshape((*a.shape[:-1], *b.shape[:-1]))


def grouped(product: Product, a: Any, b: Any, *rest: Any, **named: Any) -> Any:
    """As ``torch.nn.functional.grouped_mm`` of rows, a product for each group; NotImplemented for its other forms.

    Rows (S, K) are in groups that end at ``offs``; of matrices (G, K, N) each group has its own.
    """
    offs = rest[0] if rest else named.pop("offs", None)
    if offs is None or len(rest) > 1 or any(x is not None for x in named.values()) or (a.dim(), b.dim()) != (2, 3):
        return NotImplemented
    ends = [0, *offs.tolist()]
    parts = [product(a[i:j], b[k], weight="b") for k, (i, j) in enumerate(pairwise(ends))]
    return torch.cat([*parts, a.new_zeros(a.shape[0] - ends[-1], b.shape[-1])])


def add_matmul(product: Product, c: Any, *factors: Any, beta: float = 1, alpha: float = 1, **named: Any) -> Any:
    """beta c + alpha a b, as ``torch.addmm``, ``baddbmm`` and ``addmv``; c is not looked at if beta is 0."""
    a, b = (*factors, *(named[key] for key in sorted(named)))  # mat1 and mat2, batch1 and batch2, mat and vec
    y = matmul(product, a, b) * alpha
    return y if beta == 0 else c * beta + y


def each_matmul(product: Product, first: Any, mat2: Any) -> Any:
    """As ``torch.foreach.mm``: a product of each pair of two lists; NotImplemented for integers."""
    if not all(x.is_floating_point() for x in (*first, *mat2)):
        return NotImplemented
    return tuple(matmul(product, a, b) for a, b in zip(first, mat2, strict=True))


def einsum(product: Product, equation: Any, *operands: Any) -> Any:
    """As ``torch.einsum`` of two operands; NotImplemented where it is no single product of matrices.

    Letters of both operands and the result are batches, those of both alone are summed by the product, and those
    of one operand alone are summed before.
    """
    parsed = _parsed(equation, operands)
    if parsed is None:
        return NotImplemented
    (left, right), out, (a, b) = parsed
    sides = []
    for letters, x, others in ((left, a, right), (right, b, left)):
        alone = [axis for axis, letter in enumerate(letters) if letter not in others + out]
        kept = "".join(letter for letter in letters if letter in others + out)
        sides.append((kept, x.sum(alone) if alone else x))
    (left, a), (right, b) = sides
    batch = "".join(letter for letter in left if letter in right and letter in out)
    summed = "".join(letter for letter in left if letter in right and letter not in out)
    rows, columns = (
        "".join(letter for letter in letters if letter in out and letter not in batch) for letters in (left, right)
    )
    size = dict(zip(left + right, (*a.shape, *b.shape)))

    def extent(letters: str) -> int:
        return math.prod(size[letter] for letter in letters)

    shape = [size[letter] for letter in batch]
    a = a.permute([left.index(letter) for letter in batch + rows + summed]).reshape(
        *shape, extent(rows), extent(summed)
    )
    b = b.permute([right.index(letter) for letter in batch + summed + columns]).reshape(
        *shape, extent(summed), extent(columns)
    )
    y = product(a, b).reshape([size[letter] for letter in batch + rows + columns])
    return y.permute([(batch + rows + columns).index(letter) for letter in out])


def _parsed(equation: Any, operands: tuple[Any, ...]) -> tuple[list[str], str, tuple[Any, ...]] | None:
    """Letters of each operand and of the result, dots written out; None for what is not two plain operands."""
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not isinstance(equation, str) or len(operands) != 2:
        return None
    given, arrow, out = equation.replace(" ", "").partition("->")
    terms = given.split(",")
    free = "".join(letter for letter in string.ascii_letters if letter not in equation)
    spans = [x.ndim - len(term.replace("...", "")) for term, x in zip(terms, operands)]
    if len(terms) != 2 or len({span for span, term in zip(spans, terms) if "..." in term}) > 1:
        return None  # leading axes of which one operand has more
    dots = free[: max((span for span, term in zip(spans, terms) if "..." in term), default=0)]
    terms = [term.replace("...", dots) for term in terms]
    if not arrow:
        joined = "".join(terms)
        out = dots + "".join(sorted(letter for letter in set(joined) - set(dots) if joined.count(letter) == 1))
    out = out.replace("...", dots)
    sizes: dict[str, int] = {}
    for term, x in zip(terms, operands):
        if len(set(term)) < len(term) or len(term) != x.ndim:
            return None  # a diagonal, or an error that torch explains
        if any(sizes.setdefault(letter, n) != n for letter, n in zip(term, x.shape)):
            return None  # an axis of one element, which broadcasts
    known = set("".join(terms))
    return None if set(out) - known or len(set(out)) < len(out) else (terms, out, operands)
