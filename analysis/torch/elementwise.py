"""Rules for elementwise ATen operations, reductions, comparisons and casts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arithmetics.base import Array
from ..ops import Var, absolute, maximum, minimum, relu
from .context import Context, NoRule

__all__ = ["DECISIONS", "RULES", "STEPS"]


def _binary(op: str) -> Callable[..., Var]:
    def rule(c: Context, x: Any, y: Any, alpha: Any = 1, rounding_mode: Any = None) -> Var:
        if rounding_mode is not None:
            raise NoRule
        right = c.real(y)
        return c.builder.elementwise(op, c.real(x), right if alpha == 1 else right * c.real(alpha))

    return rule


def _unary(op: str) -> Callable[..., Var]:
    return lambda c, x: c.builder.apply(op, c.real(x))


def _rsub(c: Context, x: Any, y: Any, alpha: Any = 1) -> Var:
    return _binary("sub")(c, y, x, alpha)


def _power(c: Context, x: Any, y: Any) -> Var:
    base, one = c.real(x), c.builder.constant(1.0)
    if not isinstance(y, (int, float)):
        return _by_logarithm(c, base, c.real(y))
    if abs(y) == 0.5:
        return base.sqrt() if y > 0 else c.builder.apply("rsqrt", base)
    if y != int(y) or not 1 <= abs(y) <= 16:
        return _by_logarithm(c, base, c.real(y))
    found = base
    for _ in range(int(abs(y)) - 1):
        found = found * base
    return found if y > 0 else one / found


def _by_logarithm(c: Context, base: Var, exponent: Var) -> Var:
    # a power of a negative number, and 0^0, are no exponentials
    if (base.value < 0).any() or ((base.value == 0).any() and (exponent.value <= 0).any()):
        raise NoRule
    return c.builder.elementwise("mul", exponent, base.log()).exp()


def _remainder(step: Callable[[Array], Array]) -> Callable[..., Var]:
    # what is left beyond a whole number of y; how many that are stays as it was
    def rule(c: Context, x: Any, y: Any = 1.0) -> Var:
        x, y = c.real(x), c.real(y)
        with np.errstate(all="ignore"):
            whole = step(x.value / y.value)
        assert c.call is not None
        c.frozen[c.call.name] += 1
        found: Var = x - c.builder.leaf("constant", whole) * y
        return found

    return rule


def _clamp(c: Context, x: Any, low: Any = None, high: Any = None) -> Var:
    found = c.real(x)
    if low is not None:
        found = maximum(found, c.real(low))
    return found if high is None else minimum(found, c.real(high))


def _shrunk(c: Context, g: Any, x: Any, limit: Any) -> Var:
    # where the magnitude is at most the limit there is no slope
    small = _not(c, _compare("gt")(c, absolute(c.real(x)), limit))
    return _where(c, small, 0.0, g)


def _sign(c: Context, x: Any) -> Var:
    x = c.real(x)
    parts = [c.builder.constant(number).broadcast(x.shape) for number in (1.0, -1.0, 0.0)]
    zero = c.builder.constant(0.0).broadcast(x.shape)
    below = c.builder.apply("select", c.builder.apply("compare", x, zero, relation="lt"), parts[1], parts[2])
    return c.builder.apply("select", c.builder.apply("compare", x, zero, relation="gt"), parts[0], below)


def _where(c: Context, condition: Any, x: Any, y: Any) -> Var:
    if not isinstance(condition, Var) or condition.value.dtype.kind != "b":
        raise NoRule
    x, y = c.real(x), c.real(y)
    shape = np.broadcast_shapes(condition.shape, x.shape, y.shape)
    return c.builder.apply("select", *(one.broadcast(shape) for one in (condition, x, y)))


def _masked_fill(c: Context, x: Any, mask: Any, value: Any) -> Var:
    return _where(c, mask, value, x)


def _lerp(c: Context, start: Any, end: Any, weight: Any) -> Var:
    low, high, share = c.real(start), c.real(end), c.real(weight)
    if share.value.size != 1 or abs(share.value.item()) < 0.5:  # a number: from the nearer end, as torch does it
        return low + share * (high - low)
    return high - (high - low) * (c.builder.constant(1.0) - share)


def _product_added(op: str) -> Callable[..., Var]:
    def rule(c: Context, x: Any, y: Any, z: Any, value: Any = 1) -> Var:
        scaled = c.real(y) if value == 1 else c.real(value) * c.real(y)
        return c.real(x) + c.builder.elementwise(op, scaled, c.real(z))

    return rule


def _axes(x: Var, dims: Any) -> list[int]:
    if dims is None or dims == []:
        return list(range(len(x.shape)))
    return sorted({d % len(x.shape) for d in ([dims] if isinstance(dims, int) else dims)} if x.shape else set())


def _sum(c: Context, x: Any, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> Var:
    found = c.real(x)
    for axis in reversed(_axes(found, dims)):
        found = found.sum(axis, keepdim)
    return found


def _mean(c: Context, x: Any, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> Var:
    x = c.real(x)
    count = math.prod(x.shape[axis] for axis in _axes(x, dims))
    return _sum(c, x, dims, keepdim) / c.builder.constant(float(count))


def _var_mean(c: Context, x: Any, dims: Any = None, correction: Any = 1, keepdim: bool = False) -> tuple[Var, Var]:
    x = c.real(x)
    kept = _mean(c, x, dims, True)
    centred = x - kept
    count = math.prod(x.shape[axis] for axis in _axes(x, dims)) - (1 if correction is None else correction)
    spread = _sum(c, centred * centred, dims, keepdim) / c.builder.constant(float(count))
    return spread, kept if keepdim else kept.reshape(spread.shape)


def _largest(c: Context, x: Var, axis: int, keepdim: bool) -> Var:
    best = c.builder.apply("pick", x, c.builder.apply("argmax", x, axis=axis), axis=axis)
    return best.reshape((*x.shape[:axis], 1, *x.shape[axis + 1 :])) if keepdim else best


def _amax(c: Context, x: Any, dims: Any = (), keepdim: bool = False) -> Var:
    found = c.real(x)
    for axis in reversed(_axes(found, list(dims) if isinstance(dims, (list, tuple)) else dims)):
        found = _largest(c, found, axis, keepdim)
    return found


def _amin(c: Context, x: Any, dims: Any = (), keepdim: bool = False) -> Var:
    return -_amax(c, -c.real(x), dims, keepdim)


def _max(c: Context, x: Any, *rest: Any) -> Any:
    if not rest:
        return _amax(c, x)
    if isinstance(rest[0], Var):
        return maximum(c.real(x), c.real(rest[0]))
    x, keepdim = c.real(x), len(rest) > 1 and bool(rest[1])
    return _largest(c, x, rest[0] % len(x.shape), keepdim), None


def _min(c: Context, x: Any, *rest: Any) -> Any:
    if rest and isinstance(rest[0], Var):
        return minimum(c.real(x), c.real(rest[0]))
    found = _max(c, -c.real(x), *rest)
    return -found if isinstance(found, Var) else (-found[0], None)


def _group_norm(
    c: Context, x: Any, weight: Any, bias: Any, batch: int, channels: int, size: int, groups: int, eps: float
) -> tuple[Var, Var, Var]:
    x = c.real(x)
    rows = x.reshape((batch, groups, channels // groups * size))
    spread, centre = _var_mean(c, rows, 2, 0, True)
    scale = c.builder.apply("rsqrt", spread + c.builder.constant(eps))
    found, wide = ((rows - centre) * scale).reshape(x.shape), (channels,) + (1,) * (len(x.shape) - 2)
    found = found if weight is None else found * c.real(weight).reshape(wide)
    found = found if bias is None else found + c.real(bias).reshape(wide)
    return found, centre.reshape((batch, groups)), scale.reshape((batch, groups))


def _norm(c: Context, x: Any, order: Any = 2, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> Var:
    x = c.real(x)
    if order == 2:
        return _sum(c, x * x, dims, keepdim).sqrt()
    if order == 1:
        return _sum(c, absolute(x), dims, keepdim)
    if order == math.inf:
        return _amax(c, absolute(x), dims or (), keepdim)
    raise NoRule


def _same(c: Context, x: Any, *_: Any, **__: Any) -> Var:
    return c.real(x)


def _copy(c: Context, target: Any, source: Any, non_blocking: bool = False) -> Var:
    return c.real(source).broadcast(target.shape)


def _compare(relation: str) -> Callable[..., Var]:
    def rule(c: Context, x: Any, y: Any) -> Var:
        left, right = c.real(x), c.real(y)
        shape = np.broadcast_shapes(left.shape, right.shape)
        return c.builder.apply("compare", left.broadcast(shape), right.broadcast(shape), relation=relation)

    return rule


def _both(relation: str) -> Callable[..., Var]:
    def rule(c: Context, x: Any, y: Any) -> Var:
        if not all(isinstance(one, Var) and one.value.dtype.kind == "b" for one in (x, y)):
            raise NoRule
        shape = np.broadcast_shapes(x.shape, y.shape)
        return c.builder.apply("both", x.broadcast(shape), y.broadcast(shape), relation=relation)

    return rule


def _not(c: Context, x: Any) -> Var:
    if not isinstance(x, Var) or x.value.dtype.kind != "b":
        raise NoRule
    return c.builder.apply("not", x)


def _any(c: Context, x: Any, dims: Any = None, keepdim: bool = False) -> Var:
    if not isinstance(x, Var) or x.value.dtype.kind != "b":
        raise NoRule
    found: Var = x
    for axis in reversed(_axes(found, dims)):
        found = c.builder.apply("any", found, axis=axis, keepdims=keepdim)
    return found


def _all(c: Context, x: Any, dims: Any = None, keepdim: bool = False) -> Var:
    return _not(c, _any(c, _not(c, x), dims, keepdim))


def _argmax(c: Context, x: Any, dim: Any = None, keepdim: bool = False) -> Var:
    if not isinstance(x, Var) or x.value.dtype.kind != "f":
        raise NoRule
    if dim is None:
        return c.builder.apply("argmax", x.reshape((x.value.size,)), axis=0)
    axis = dim % len(x.shape)
    best = c.builder.apply("argmax", x, axis=axis)
    return best.reshape((*x.shape[:axis], 1, *x.shape[axis + 1 :])) if keepdim else best


RULES: dict[str, Callable[..., Any]] = {
    **{name: _binary(name) for name in ("add", "sub", "mul", "div")},
    **{name: _unary(name) for name in ("neg", "exp", "log", "sqrt", "rsqrt", "tanh", "erf", "sigmoid", "sin", "cos")},
    "rsub": _rsub,
    "true_divide": _binary("div"),
    "reciprocal": lambda c, x: c.builder.constant(1.0) / c.real(x),
    "log1p": lambda c, x: (c.builder.constant(1.0) + c.real(x)).log(),
    "expm1": lambda c, x: c.real(x).exp() - c.builder.constant(1.0),
    "square": lambda c, x: c.real(x) * c.real(x),
    "pow": _power,
    "frac": _remainder(np.trunc),
    "fmod": _remainder(np.trunc),
    "remainder": _remainder(np.floor),
    "exp2": lambda c, x: (c.real(x) * c.builder.constant(math.log(2.0))).exp(),
    "log2": lambda c, x: c.real(x).log() / c.builder.constant(math.log(2.0)),
    "log10": lambda c, x: c.real(x).log() / c.builder.constant(math.log(10.0)),
    "tan": lambda c, x: c.builder.apply("sin", c.real(x)) / c.builder.apply("cos", c.real(x)),
    "abs": lambda c, x: absolute(c.real(x)),
    "sign": _sign,
    "sgn": _sign,
    "relu": lambda c, x: relu(c.real(x)),
    "clamp": _clamp,
    "clamp_min": lambda c, x, low: _clamp(c, x, low),
    "clamp_max": lambda c, x, high: _clamp(c, x, None, high),
    "maximum": lambda c, x, y: maximum(c.real(x), c.real(y)),
    "minimum": lambda c, x, y: minimum(c.real(x), c.real(y)),
    "where": _where,
    "masked_fill": _masked_fill,
    "lerp": _lerp,
    "softshrink_backward": _shrunk,
    "hardshrink_backward": _shrunk,
    "addcmul": _product_added("mul"),
    "addcdiv": _product_added("div"),
    "sum": _sum,
    "mean": _mean,
    "var_mean": _var_mean,
    "var": lambda c, *a, **k: _var_mean(c, *a, **k)[0],
    "amax": _amax,
    "amin": _amin,
    "max": _max,
    "min": _min,
    "native_group_norm": _group_norm,
    "linalg_vector_norm": _norm,
    "norm": _norm,
    "copy_": _copy,
    "_to_copy": _same,
    "convert_element_type": _same,
    "clone": _same,
    "lift_fresh_copy": _same,
    "conj_physical": _same,
    "contiguous": _same,
}
"""By name without overload; in-place forms end in an underscore and are found under the plain name."""

STEPS = frozenset(("floor", "ceil", "round", "trunc", "histc", "bincount", "floor_divide"))
"""Operations whose results are whole numbers, which stay as recorded, like other integers that depend on real ones."""

DECISIONS: dict[str, Callable[..., Any]] = {
    **{name: _compare(name) for name in ("gt", "ge", "lt", "le", "eq", "ne")},
    **{f"logical_{name}": _both(name) for name in ("and", "or", "xor")},
    **{f"bitwise_{name}": _both(name) for name in ("and", "or", "xor")},
    "logical_not": _not,
    "bitwise_not": _not,
    "any": _any,
    "all": _all,
    "argmax": _argmax,
    "isnan": lambda c, x: _compare("ne")(c, x, x),
    "clone": lambda c, x, **_: x,
    "copy_": lambda c, target, source, *_: source.broadcast(target.shape),
}
"""Operations with boolean or integer results that depend on real numbers."""
