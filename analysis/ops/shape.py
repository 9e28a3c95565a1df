"""Operations that move numbers and change none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arithmetics.base import Arithmetic, Array
from ..ops.builder import Var
from ..ops.spec import Attributes, Kind, OpSpec, Vjp, register

__all__: list[str] = []


def _slices(attributes: Attributes) -> tuple[slice, ...]:
    return tuple(slice(*item) for item in attributes["slices"])


def _embed(ar: Arithmetic, x: Sequence[Array], attributes: Attributes) -> Array:
    out = np.full(attributes["shape"], ar.zero, dtype=x[0].dtype)
    out[_slices(attributes)] = x[0]
    return out


def _place(ar: Arithmetic, x: Sequence[Array], attributes: Attributes) -> Array:
    # indices along the axis differ from row to row, so no two numbers meet: nothing is added, nothing rounded
    axis = attributes["axis"]
    shape = list(x[0].shape)
    shape.insert(axis, attributes["size"])
    out = np.full(shape, ar.zero, dtype=x[0].dtype)
    np.put_along_axis(out, np.expand_dims(x[1], axis), np.expand_dims(x[0], axis), axis)
    return out


def _pick(ar: Arithmetic, x: Sequence[Array], attributes: Attributes) -> Array:
    axis = attributes["axis"]
    return np.take_along_axis(x[0], np.expand_dims(x[1], axis), axis).squeeze(axis)


def _pick_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    axis = attributes["axis"]
    return g.builder.apply("place", g, x[1], axis=axis, size=x[0].shape[axis])


def _place_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return g.builder.apply("pick", g, x[1], axis=attributes["axis"])


def _broadcast_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    lead = len(y.shape) - len(x[0].shape)
    for _ in range(lead):
        g = g.sum(0)
    for axis, extent in enumerate(x[0].shape):
        if extent == 1 and g.shape[axis] != 1:
            g = g.sum(axis, keepdims=True)
    return g


def _transpose_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    axes = attributes["axes"]
    return g.transpose(tuple(axes.index(axis) for axis in range(len(axes))))


def _slice_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return g.builder.apply("embed", g, slices=attributes["slices"], shape=x[0].shape)


def _embed_vjp(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
    return g.builder.apply("slice", g, slices=attributes["slices"])


def _concat_vjp(position: int) -> Vjp:
    def part(x: Sequence[Var], y: Var, g: Var, attributes: Attributes) -> Var:
        axis = attributes["axis"]
        start = x[0].shape[axis] if position else 0
        slices = tuple((start, start + n, 1) if i == axis else (0, n, 1) for i, n in enumerate(x[position].shape))
        return g.builder.apply("slice", g, slices=slices)

    return part


register(
    OpSpec("transpose", 1, Kind.MOVE, lambda ar, x, a: np.transpose(x[0], a["axes"]), (_transpose_vjp,), view=True),
    OpSpec(
        "reshape",
        1,
        Kind.MOVE,
        lambda ar, x, a: np.reshape(x[0], a["shape"]),
        (lambda x, y, g, _: g.reshape(x[0].shape),),
        view=True,
    ),
    OpSpec("broadcast", 1, Kind.MOVE, lambda ar, x, a: np.broadcast_to(x[0], a["shape"]), (_broadcast_vjp,), view=True),
    OpSpec("slice", 1, Kind.MOVE, lambda ar, x, a: x[0][_slices(a)], (_slice_vjp,), view=True),
    OpSpec(
        "concat",
        2,
        Kind.MOVE,
        lambda ar, x, a: np.concatenate(x, axis=a["axis"]),
        (_concat_vjp(0), _concat_vjp(1)),
    ),
    OpSpec("embed", 1, Kind.MOVE, _embed, (_embed_vjp,)),
    OpSpec("pick", 2, Kind.MOVE, _pick, (_pick_vjp, None)),
    OpSpec("place", 2, Kind.MOVE, _place, (_place_vjp, None)),
)
