"""Emulated replays of small nets equal the same nets written with EmulatedArray, forward and backward, bit for bit.

EmulatedArray rounds every product and partial sum; so does the policy here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from analysis.policy import Numerics, Policy, Rule

FORMATS = ["binary16", "bfloat16"]


def run_of(tape: an.Tape, fmt: str) -> an.Run:
    return an.replay(tape, Policy("every operation", (Rule(Numerics(accumulate=fmt, result=fmt)),)))


def leaves(tape: an.Tape, fmt: str, role: str) -> list[Any]:
    found = [tape.data[node.id] for node in tape.nodes if node.op == role]
    return [fe.asarray(x, fmt) if x.dtype.kind == "f" else x for x in found]


def plain(x: Any) -> np.ndarray:
    return np.asarray(x, dtype=np.float64)


def loss_of(logits: Any, labels: np.ndarray) -> tuple[Any, Any]:
    """Cross-entropy and its gradient, operation by operation."""
    fmt = logits.fmt
    rows = np.arange(len(labels))
    z = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(z)
    s = e.sum(axis=1)
    losses = np.log(s) - z[rows, labels]
    count = fe.asarray(float(len(labels)), fmt)
    g = fe.asarray(np.ones(len(labels)), fmt) / count
    picked = np.zeros(logits.shape)
    picked[rows, labels] = np.asarray(-g)
    return losses.sum() / count, fe.asarray(picked, fmt) + (g / s)[:, None] * e


def same(run: an.Run, expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        found = run.value(name)
        assert found.tobytes() == plain(value).tobytes(), name


def tanh_slope(y: Any, g: Any) -> Any:
    return g - g * (y * y)


def total(parts: list[Any]) -> Any:
    """Gradients from the last step to the first, each added to those before it."""
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result


@pytest.mark.parametrize("fmt", FORMATS)
def test_rnn(fmt: str) -> None:
    tape = an.nets.rnn(3, 4, 2, 3, rho=1.5, seed=6)
    h0, *xs = leaves(tape, fmt, "input")
    u, w, b, v, c = leaves(tape, fmt, "parameter")
    (labels,) = leaves(tape, fmt, "target")
    hs = [h0]
    for x in xs:
        hs.append(np.tanh((x @ u + hs[-1] @ w) + b))
    logits = hs[-1] @ v + c
    loss, gl = loss_of(logits, labels)
    g, parts = gl @ v.T, []
    last = g
    for t in (3, 2, 1):
        inner = tanh_slope(hs[t], g)
        parts.append((xs[t - 1].T @ inner, hs[t - 1].T @ inner, inner.sum(axis=0)))
        g = inner @ w.T
    gu, gw, gb = (total([part[i] for part in parts]) for i in range(3))
    expected = {"logits": logits, "loss": loss, "grad:U": gu, "grad:W": gw, "grad:b": gb, "grad:h0": g, "grad:h3": last}
    same(run_of(tape, fmt), expected | {"grad:head.W": hs[-1].T @ gl, "grad:head.b": gl.sum(axis=0)})


@pytest.mark.parametrize("fmt", FORMATS)
def test_lstm(fmt: str) -> None:
    tape = an.nets.lstm(2, 3, 2, 2, seed=4)
    h, c, *xs = leaves(tape, fmt, "input")
    u, b, w, v, d = leaves(tape, fmt, "parameter")
    (labels,) = leaves(tape, fmt, "target")
    one = fe.asarray(1.0, fmt)

    def logistic(x: Any) -> Any:
        return fe.asarray(1 / (1 + np.exp(-np.asarray(x))), fmt)

    kept = []
    for x in xs:
        a = (x @ u + b) + h @ w
        i, f, n, o = logistic(a[:, 0:3]), logistic(a[:, 3:6]), np.tanh(a[:, 6:9]), logistic(a[:, 9:12])
        new = f * c + i * n
        t = np.tanh(new)
        kept.append((x, h, c, i, f, n, o, t))
        h, c = o * t, new
    logits = h @ v + d
    loss, gl = loss_of(logits, labels)
    gh, gc, parts = gl @ v.T, None, []
    for x, before, cell, i, f, n, o, t in reversed(kept):
        go, through = gh * t, tanh_slope(t, gh * o)
        gc = through if gc is None else gc + through
        gi, gn, gf, gc = gc * n, gc * i, gc * cell, gc * f
        sides = [gi * (i * (one - i)), gf * (f * (one - f)), tanh_slope(n, gn), go * (o * (one - o))]
        ga = fe.asarray(np.concatenate([np.asarray(side) for side in sides], axis=1), fmt)
        parts.append((x.T @ ga, ga.sum(axis=0), before.T @ ga))
        gh = ga @ w.T
    gu, gb, gw = (total([part[i] for part in parts]) for i in range(3))
    expected = {"logits": logits, "loss": loss, "grad:U": gu, "grad:b": gb, "grad:W": gw, "grad:h0": gh}
    same(run_of(tape, fmt), expected)


@pytest.mark.parametrize("fmt", FORMATS)
def test_gru(fmt: str) -> None:
    tape = an.nets.gru(2, 3, 2, 2, seed=8)
    h, *xs = leaves(tape, fmt, "input")
    u, b, w, c, v, d = leaves(tape, fmt, "parameter")
    (labels,) = leaves(tape, fmt, "target")
    one = fe.asarray(1.0, fmt)

    def logistic(x: Any) -> Any:
        return fe.asarray(1 / (1 + np.exp(-np.asarray(x))), fmt)

    kept = []
    for x in xs:
        a, s = x @ u + b, h @ w + c
        r, z = logistic(a[:, 0:3] + s[:, 0:3]), logistic(a[:, 3:6] + s[:, 3:6])
        n = np.tanh(a[:, 6:9] + r * s[:, 6:9])
        kept.append((x, h, r, z, n, s[:, 6:9]))
        h = n + z * (h - n)
    logits = h @ v + d
    loss, gl = loss_of(logits, labels)
    gh, parts = gl @ v.T, []
    for x, before, r, z, n, s in reversed(kept):
        gz, rest = gh * (before - n), gh * z
        inner = tanh_slope(n, gh - rest)
        sides = [(inner * s) * (r * (one - r)), gz * (z * (one - z))]
        ga, gs = (
            fe.asarray(np.concatenate([np.asarray(side) for side in [*sides, last]], axis=1), fmt)
            for last in (inner, inner * r)
        )
        parts.append((x.T @ ga, ga.sum(axis=0), before.T @ gs, gs.sum(axis=0)))
        gh = rest + gs @ w.T
    gu, gb, gw, gc = (total([part[i] for part in parts]) for i in range(4))
    expected = {"logits": logits, "loss": loss, "grad:U": gu, "grad:b": gb, "grad:W": gw, "grad:c": gc, "grad:h0": gh}
    same(run_of(tape, fmt), expected)


@pytest.mark.parametrize("fmt", FORMATS)
def test_residual_mlp_with_layer_normalisation(fmt: str) -> None:
    tape = an.nets.residual_mlp(4, 1, "relu", batch=3, seed=2)
    (x,) = leaves(tape, fmt, "input")
    ws, bs, gain, shift, wu, bu, wd, bd, wh, bh = leaves(tape, fmt, "parameter")
    (labels,) = leaves(tape, fmt, "target")
    four, eps = fe.asarray(4.0, fmt), fe.asarray(1e-5, fmt)
    stream = x @ ws + bs
    centred = stream - (stream.sum(axis=1) / four)[:, None]
    root = np.sqrt(((centred * centred).sum(axis=1) / four)[:, None] + eps)
    unit = centred / root
    normal = unit * gain + shift
    inside = normal @ wu + bu
    on = np.asarray(inside) > 0
    opened = fe.asarray(np.where(on, np.asarray(inside), 0.0), fmt)
    out = stream + (opened @ wd + bd)
    logits = out @ wh + bh
    loss, gl = loss_of(logits, labels)
    go = gl @ wh.T
    gi = fe.asarray(np.where(on, np.asarray(go @ wd.T), 0.0), fmt)
    gn = gi @ wu.T
    gx = gn * gain
    # the quotient, the root, the variance, the square, each as its own rule
    groot = (-(gx * unit) / root).sum(axis=1)[:, None]
    gvar = (groot / (root + root)) / four
    through = fe.asarray(np.broadcast_to(np.asarray(gvar), (3, 4)), fmt) * centred
    gc = (gx / root + through) + through
    gmean = (-gc).sum(axis=1)[:, None] / four
    gs = (go + gc) + fe.asarray(np.broadcast_to(np.asarray(gmean), (3, 4)), fmt)
    expected = {"logits": logits, "loss": loss, "grad:block0.norm.gain": (gn * unit).sum(axis=0)}
    expected |= {"grad:block0.norm.bias": gn.sum(axis=0), "grad:block0.down.W": opened.T @ go}
    same(run_of(tape, fmt), expected | {"grad:stem.W": x.T @ gs, "grad:stem.b": gs.sum(axis=0)})


@pytest.mark.parametrize("fmt", FORMATS)
def test_cnn(fmt: str) -> None:
    tape = an.nets.cnn((2,), batch=2, seed=1)
    (image,) = leaves(tape, fmt, "input")
    w, b, v, c = leaves(tape, fmt, "parameter")
    (labels,) = leaves(tape, fmt, "target")
    padded = fe.asarray(np.pad(np.asarray(image), ((0, 0), (0, 0), (1, 1), (1, 1))), fmt)
    patches = np.array(
        [np.asarray(padded)[n, 0, i : i + 3, j : j + 3].ravel() for n in range(2) for i in range(8) for j in range(8)]
    )
    rows = fe.asarray(patches, fmt)
    flat = rows @ w.reshape(2, 9).T + b
    on = np.asarray(flat) > 0
    found = np.where(on, np.asarray(flat), 0.0).reshape(2, 8, 8, 2).transpose(0, 3, 1, 2)
    windows = found.reshape(2, 2, 4, 2, 4, 2).transpose(0, 1, 2, 4, 3, 5).reshape(2, 2, 4, 4, 4)
    best = windows.argmax(-1)
    pooled = fe.asarray(np.take_along_axis(windows, best[..., None], -1).reshape(2, 32), fmt)
    logits = pooled @ v + c
    loss, gl = loss_of(logits, labels)
    back = np.zeros(windows.shape)
    np.put_along_axis(back, best[..., None], np.asarray(gl @ v.T).reshape(2, 2, 4, 4, 1), -1)
    back = back.reshape(2, 2, 4, 4, 2, 2).transpose(0, 2, 4, 3, 5, 1).reshape(128, 2)
    g = fe.asarray(np.where(on, back, 0.0), fmt)
    expected = {"logits": logits, "loss": loss, "grad:head.W": pooled.T @ gl, "grad:conv0.b": g.sum(axis=0)}
    same(run_of(tape, fmt), expected | {"grad:conv0.W": (rows.T @ g).T.reshape(2, 1, 3, 3)})


@pytest.mark.parametrize("fmt", FORMATS)
def test_attention(fmt: str) -> None:
    tape = an.nets.attention(3, 4, 2, batch=1, seed=2)
    (x,) = leaves(tape, fmt, "input")
    p = leaves(tape, fmt, "parameter")
    (wanted,) = leaves(tape, fmt, "target")
    rows, root = x.reshape(3, 4), fe.asarray(1 / np.sqrt(2.0), fmt)
    q, k, v = (rows @ p[2 * i] + p[2 * i + 1] for i in range(3))
    ahead = np.triu(np.ones((3, 3), bool), 1)
    mixed, inside = [], []
    for head in (slice(0, 2), slice(2, 4)):
        scores = np.asarray((q[:, head] @ k[:, head].T) * root)
        scores = fe.asarray(np.where(ahead, -np.inf, scores), fmt)
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        s = e.sum(axis=1)[:, None]
        inside.append((head, e, s, e / s))
        mixed.append(np.asarray((e / s) @ v[:, head]))
    joined = fe.asarray(np.concatenate(mixed, axis=1), fmt)
    out = joined @ p[6] + p[7]
    difference = (out - wanted.reshape(3, 4)).reshape(12)
    n = fe.asarray(12.0, fmt)
    loss = (difference * difference).sum() / n
    g = fe.asarray(np.full(12, float(fe.asarray(1.0, fmt) / n)), fmt) * difference
    g = (g + g).reshape(3, 4)
    gm = g @ p[6].T
    gq, gk, gv = (np.zeros((3, 4)) for _ in range(3))
    for head, e, s, y in inside:
        gy = gm[:, head] @ v[:, head].T
        gv[:, head] = np.asarray(y.T @ gm[:, head])
        ge = gy / s + (-(gy * y) / s).sum(axis=1)[:, None]
        gz = np.where(ahead, 0.0, np.asarray(ge * e))
        gs = fe.asarray(gz, fmt) * root
        gq[:, head], gk[:, head] = np.asarray(gs @ k[:, head]), np.asarray((q[:, head].T @ gs).T)
    expected = {"logits": out.reshape(1, 3, 4), "loss": loss, "grad:attention.out.W": joined.T @ g}
    for i, value in enumerate((gq, gk, gv)):
        side = fe.asarray(value, fmt)
        name = f"grad:attention.{'qkv'[i]}"
        expected |= {f"{name}.W": rows.T @ side, f"{name}.b": side.sum(axis=0)}
    same(run_of(tape, fmt), expected)


@pytest.mark.parametrize("fmt", FORMATS)
def test_llama_embedding_and_first_normalisation(fmt: str) -> None:
    tape = an.nets.llama(1, 8, 2, 1, 6, 5, std=0.3, seed=9)
    table = leaves(tape, fmt, "parameter")[0]
    gain = leaves(tape, fmt, "parameter")[1]
    text = next(tape.data[node.id] for node in tape.nodes if node.op == "input")
    x = fe.asarray(np.asarray(table)[text[0]], fmt)
    square = (x * x).sum(axis=1)[:, None] / fe.asarray(8.0, fmt)
    rsqrt = fe.asarray(1 / np.sqrt(np.asarray(square + fe.asarray(1e-6, fmt))), fmt)
    expected = (x * rsqrt) * gain
    run = run_of(tape, fmt)
    found = next(n.id for n in reversed(tape.nodes) if n.path == "layer0.attention.norm" and n.direction == "forward")
    assert run.value(found)[0].tobytes() == plain(expected).tobytes()
    # the embedding's gradient: the rows of one token added in the order of the text
    before = next(n for n in tape.nodes if n.path == "embedding" and n.op == "gather" and n.direction == "backward")
    flowing = run.value(before.inputs[0].node).reshape(6, 8)
    gradient = run.value("grad:embedding.W")
    for token in range(5):
        rows = fe.asarray(flowing[text[0] == token], fmt)
        by_hand = plain(rows.sum(axis=0)) if len(rows) else np.zeros(8)
        assert gradient[token].tobytes() == by_hand.tobytes(), token
