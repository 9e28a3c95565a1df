"""Nets with one planted failure each: random place, size, format and seed; mathematically all of them are sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import analysis as an
from analysis.ops import ACTIVATIONS, Builder, Var, cross_entropy
from analysis.policy import Numerics, Policy, Rule

Change = Callable[[Var], Var]


@dataclass
class Net:
    """A random smooth classifier whose hidden values pass through a change after one layer."""

    rng: np.random.Generator
    builder: Builder = field(default_factory=lambda: Builder("planted"))
    weights: list[Var] = field(default_factory=list)

    def matrix(self, rows: int, columns: int, scale: float = 1.0) -> np.ndarray:
        return (scale * self.rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32).astype(np.float64)

    def build(self, change: Change, loss_factor: float = 1.0, inputs: np.ndarray | None = None) -> Any:
        """One tape: layers, the change after a random one, cross-entropy, gradients."""
        rng, b = self.rng, self.builder
        depth, width, batch = int(rng.integers(2, 5)), int(rng.integers(8, 17)), int(rng.integers(3, 6))
        name = ["tanh", "gelu"][int(rng.integers(2))]
        place = int(rng.integers(depth))
        with b.at("data"):
            x = rng.standard_normal((batch, width)) if inputs is None else inputs
            hidden = b.leaf("input", x)
            labels = b.leaf("target", rng.integers(0, 4, x.shape[0]))
        for index in range(depth):
            with b.at(f"layer{index}"):
                self.weights.append(b.leaf("parameter", self.matrix(hidden.shape[1], width)))
                hidden = ACTIVATIONS[name](hidden @ self.weights[-1])
            if index == place:
                with b.at("plant"):
                    hidden = change(hidden)
        with b.at("head"):
            self.weights.append(b.leaf("parameter", self.matrix(hidden.shape[1], 4)))
            logits = hidden @ self.weights[-1]
            loss = cross_entropy(logits, labels)
        with b.at("scale"):
            loss = loss * b.constant(loss_factor) if loss_factor != 1 else loss
        b.target("logits", logits)
        b.target("loss", loss)
        for index, gradient in enumerate(b.backward(loss, self.weights)):
            b.target(f"grad:W{index}", gradient)
        return b.build()


@dataclass
class Planted:
    """A case: the tape, the policy, what must be found, and where."""

    tape: Any
    policy: Policy
    causes: set[str]
    nodes: set[int]
    target: str = "grad:W0"


def find(tape: Any, op: str, direction: str, path: str = "plant") -> list[int]:
    """Ids of the nodes of an operation within the planted part."""
    return [n.id for n in tape.nodes if n.op == op and n.direction == direction and n.path.startswith(path)]


def times(*factors: float) -> Change:
    def change(h: Var) -> Var:
        for factor in factors:
            h = h * h.builder.constant(factor)
        return h

    return change


def overflow_forward(rng: np.random.Generator) -> Planted:
    power = int(rng.integers(10, 14))
    tape = Net(rng).build(times(*(2.0**power,) * 2, *(2.0**-power,) * 2))
    fmt = ["binary16", "e5m2"][int(rng.integers(2))]
    return Planted(tape, Policy.uniform(fmt), {"overflow"}, {find(tape, "mul", "forward")[1]})


def overflow_backward(rng: np.random.Generator) -> Planted:
    tape = Net(rng).build(times(2.0**-13, 2.0**13), loss_factor=2.0**14)
    return Planted(tape, Policy.uniform("binary16"), {"overflow"}, {find(tape, "mul", "backward")[0]})


def overflow_at_a_cast(rng: np.random.Generator) -> Planted:
    power = int(rng.integers(18, 40))

    def change(h: Var) -> Var:
        big = h.builder.leaf("parameter", 2.0**power * (1 + rng.random(h.shape[1:])))
        return h * (big * h.builder.constant(2.0**-14)) * h.builder.constant(2.0 ** (14 - power))

    tape = Net(rng).build(change)
    return Planted(tape, Policy.uniform("binary16"), {"overflow"}, {find(tape, "parameter", "forward")[0]})


def saturation(rng: np.random.Generator) -> Planted:
    tape = Net(rng).build(times(*(2.0**8,) * 2, *(2.0**-8,) * 2))
    policy = Policy.uniform("e4m3fn", saturation="SatFinite")
    return Planted(tape, policy, {"saturation"}, set(find(tape, "mul", "forward")[:2]), "logits")


def underflow_forward(rng: np.random.Generator) -> Planted:
    power = int(rng.integers(12, 15))
    tape = Net(rng).build(times(*(2.0**-power,) * 2, *(2.0**power,) * 2))
    return Planted(tape, Policy.uniform("binary16"), {"underflow"}, {find(tape, "mul", "forward")[1]}, "logits")


def underflow_backward(rng: np.random.Generator) -> Planted:
    def change(h: Var) -> Var:
        return times(2.0**7, 2.0**7, 2.0**-14)(h.tanh())

    tape = Net(rng).build(change, loss_factor=2.0**-4)
    return Planted(tape, Policy.uniform("binary16"), {"underflow"}, {find(tape, "mul", "backward")[0]})


def cancellation(rng: np.random.Generator) -> Planted:
    offset = float(rng.integers(80, 200))

    def change(h: Var) -> Var:
        shift = h.builder.constant(offset)
        return (h + shift) - shift

    tape = Net(rng).build(change)
    return Planted(tape, Policy.uniform("bfloat16"), {"cancellation"}, {find(tape, "sub", "forward")[0]})


def cancelling_variance(rng: np.random.Generator) -> Planted:
    offset = float(rng.integers(8, 16))

    def change(h: Var) -> Var:
        c = h.builder.constant
        x, n = h + c(offset), c(float(h.shape[1]))
        mean = x.sum(1) / n
        variance = (x * x).sum(1) / n - mean * mean
        return h * (variance * c(8.0)).reshape((h.shape[0], 1))

    tape = Net(rng).build(change)
    return Planted(tape, Policy.uniform("bfloat16"), {"cancellation"}, {find(tape, "sub", "forward")[0]})


def softmax(s: Var) -> Var:
    e = s.exp()
    return e / e.sum(1, keepdims=True)


def cancelling_softmax_backward(rng: np.random.Generator) -> Planted:
    """Values that share a large offset: the softmax's gradient is a small difference of large equal parts."""
    offset = float(rng.integers(200, 400))

    def change(h: Var) -> Var:
        values = h.builder.leaf("parameter", offset + rng.standard_normal(h.shape[::-1]))
        mixed = softmax(h) @ values - h.builder.constant(offset)
        return mixed @ h.builder.leaf("parameter", rng.standard_normal((h.shape[0], h.shape[1])) / 2)

    tape = Net(rng).build(change)
    backward = Rule(Numerics(result="bfloat16"), direction="backward")
    policy = Policy("bf16 gradients", (backward, Rule(Numerics(result="binary32"))))
    nodes = {*find(tape, "add", "backward"), *find(tape, "matmul", "backward")}
    return Planted(tape, policy, {"cancellation"}, nodes)


def swamping_sum(rng: np.random.Generator) -> Planted:
    fmt, count = [("bfloat16", 2048), ("binary16", 16384)][int(rng.integers(2))]

    def change(h: Var) -> Var:
        terms = h.builder.leaf("input", 1.0 + rng.integers(0, 2, count) / 8)
        return h * (terms.sum(0) * h.builder.constant(1.0 / count))

    tape = Net(rng).build(change)
    policy = Policy(fmt, (Rule(Numerics(accumulate=fmt, result=fmt), op="sum"), Rule(Numerics(result=fmt))))
    return Planted(tape, policy, {"absorption"}, {find(tape, "sum", "forward")[0]})


def swamping_product(rng: np.random.Generator) -> Planted:
    count = 2048

    def change(h: Var) -> Var:
        leaf = h.builder.leaf
        terms, ones = leaf("input", 1.0 + rng.integers(0, 2, (1, count)) / 8), leaf("input", np.ones((count, 1)))
        return h * ((terms @ ones) * h.builder.constant(1.0 / count))

    tape = Net(rng).build(change)
    policy = Policy("bf16", (Rule(Numerics(accumulate="bfloat16", result="bfloat16")),))
    return Planted(tape, policy, {"absorption"}, {find(tape, "matmul", "forward")[0]})


def lost_update(rng: np.random.Generator) -> Planted:
    net = Net(rng)
    net.build(lambda h: h)
    b, weight = net.builder, net.weights[0]
    gradient = b.var(b.targets["grad:W0"])
    with b.at("plant", direction="update"):
        if rng.integers(2):  # a decay before it, as AdamW's
            weight = weight * b.constant(1.0 - 1e-7)
        new = weight - b.constant(10.0 ** -float(rng.integers(5, 7))) * gradient
    b.target("new:W0", new)
    tape = b.build()
    fmt = ["bfloat16", "binary16"][int(rng.integers(2))]
    return Planted(tape, Policy.uniform(fmt), {"lost_update"}, {new.ref.node}, "new:W0")


def adam_epsilon(rng: np.random.Generator) -> Planted:
    """Squares of gradients and epsilon vanish in binary16: 0 / (0 + 0)."""
    net = Net(rng)
    net.build(lambda h: h, loss_factor=2.0**-13)
    b, weight = net.builder, net.weights[0]
    gradient = b.var(b.targets["grad:W0"])
    with b.at("plant", direction="update"):
        epsilon = b.leaf("constant", 1e-8)
        second = gradient * gradient
        step = gradient / (second.sqrt() + epsilon)
        new = weight - b.constant(2.0**-7) * step
    b.target("new:W0", new)
    nodes = {epsilon.ref.node, second.ref.node}
    return Planted(b.build(), Policy.uniform("binary16"), {"underflow"}, nodes, "new:W0")


def mask_value(rng: np.random.Generator) -> Planted:
    """A row that is masked altogether, by a value that binary16 stores as minus infinity."""

    def change(h: Var) -> Var:
        keep = rng.random((h.shape[0], h.shape[1])) < 0.5
        keep[int(rng.integers(h.shape[0]))] = False
        b = h.builder
        low = b.leaf("constant", [float(np.finfo(np.float32).min), -1e9, -1e30][int(rng.integers(3))])
        scores = b.apply("select", b.leaf("input", keep), h, low.broadcast(h.shape))
        largest = b.apply("pick", scores, b.apply("argmax", scores, axis=1), axis=1).reshape((h.shape[0], 1))
        return softmax(scores - b.apply("detach", largest))

    tape = Net(rng).build(change)
    return Planted(tape, Policy.uniform("binary16"), {"overflow"}, {find(tape, "constant", "forward")[0]}, "loss")


def position(rng: np.random.Generator) -> Planted:
    """Rotary angles of positions that bfloat16 cannot tell apart."""

    def change(h: Var) -> Var:
        places = h.builder.leaf("input", rng.integers(1000, 4000, (h.shape[0], 1)) * 2.0 + 1)
        angle = places.broadcast(h.shape) * h.builder.leaf("constant", np.exp2(-np.arange(h.shape[1]) % 4.0))
        return h * h.builder.apply("cos", angle) + h.tanh() * h.builder.apply("sin", angle)

    tape = Net(rng).build(change)
    nodes = {find(tape, "input", "forward")[0]}
    policy = Policy("bf16 positions", (Rule(Numerics(result="bfloat16"), op="input", path="plant"), Rule(Numerics())))
    return Planted(tape, policy, {"cast"}, nodes)


def recurrence(rng: np.random.Generator, radius: float, steps: int) -> Any:
    size = int(rng.integers(4, 9))
    b = Builder("recurrence")
    with b.at("data"):
        hidden = b.leaf("input", rng.standard_normal((2, size)))
    with b.at("cell"):
        weight = b.leaf("parameter", radius * np.linalg.qr(rng.standard_normal((size, size)))[0])
    for step in range(steps):
        with b.at("cell", step=step):
            hidden = hidden @ weight
    with b.at("cell", step=steps):
        loss = hidden.sum(1).sum(0)
    b.target("loss", loss)
    b.target("grad:W", b.backward(loss, [weight])[0])
    return b.build()


def exploding(rng: np.random.Generator) -> Planted:
    tape = recurrence(rng, float(rng.uniform(1.5, 1.8)), int(rng.integers(40, 60)))
    return Planted(tape, Policy.uniform("binary16"), {"exploding"}, set(find(tape, "matmul", "forward", "")), "grad:W")


def vanishing(rng: np.random.Generator) -> Planted:
    sizes = (64, *(16,) * int(rng.integers(28, 36)), 10)
    tape = an.nets.mlp(sizes, "gelu", batch=6, init="xavier", seed=int(rng.integers(1000)))
    nodes = {n.id for n in tape.nodes if n.direction == "backward"}
    return Planted(tape, Policy.uniform("binary16"), {"vanishing", "underflow"}, nodes)


def flips(rng: np.random.Generator) -> Planted:
    sizes = (64, *(48,) * int(rng.integers(14, 18)), 10)
    tape = an.nets.mlp(sizes, "relu", batch=32, seed=int(rng.integers(1000)))
    nodes = {n.id for n in tape.nodes if n.op == "positive"}
    return Planted(tape, Policy.uniform("bfloat16"), {"branch_flips"}, nodes)


def exponential(rng: np.random.Generator) -> Planted:
    def change(h: Var) -> Var:
        spread = h + h.builder.leaf("constant", float(rng.uniform(12, 14)))
        e = spread.exp()
        return e / e.sum(1, keepdims=True)

    tape = Net(rng).build(change)
    return Planted(tape, Policy.uniform("binary16"), {"overflow"}, {find(tape, "exp", "forward")[0]})


def logarithm(rng: np.random.Generator) -> Planted:
    def change(h: Var) -> Var:
        c = h.builder.constant
        return (h - c(float(rng.uniform(19, 25)))).exp().log() * c(2.0**-4)

    tape = Net(rng).build(change)
    return Planted(tape, Policy.uniform("binary16"), {"underflow"}, {find(tape, "exp", "forward")[0]})


def mean_square(rng: np.random.Generator) -> Planted:
    def change(h: Var) -> Var:
        x = h * h.builder.constant(2.0 ** -float(rng.integers(13, 15)))
        size = (x * x).sum(1, keepdims=True) / h.builder.constant(float(h.shape[1]))
        return x / size.sqrt()

    tape = Net(rng).build(change)
    nodes = {find(tape, "mul", "forward")[1], find(tape, "div", "forward")[0]}
    return Planted(tape, Policy.uniform("binary16"), {"underflow"}, nodes)


def loss_factor(rng: np.random.Generator) -> Planted:
    tape = Net(rng).build(lambda h: h, loss_factor=2.0 ** float(rng.integers(15, 17)) * 60)
    nodes = {*find(tape, "constant", "forward", "scale"), *find(tape, "mul", "forward", "scale")}
    return Planted(tape, Policy.uniform("binary16"), {"overflow"}, nodes | set(find(tape, "mul", "backward", "scale")))


def input_offset(rng: np.random.Generator) -> Planted:
    """Inputs whose differences are below the format's resolution."""
    shape = (int(rng.integers(3, 6)), int(rng.integers(8, 17)))
    net = Net(rng)

    def change(h: Var) -> Var:
        data = h.builder.leaf("input", 128.0 + rng.standard_normal(h.shape))
        return h + (data - h.builder.constant(128.0))

    tape = net.build(change, inputs=rng.standard_normal(shape))
    return Planted(
        tape,
        Policy.uniform("bfloat16"),
        {"cast", "cancellation"},
        {*find(tape, "input", "forward"), *find(tape, "sub", "forward")},
    )


KINDS: dict[str, Callable[[np.random.Generator], Planted]] = {
    kind.__name__: kind
    for kind in (
        overflow_forward, overflow_backward, overflow_at_a_cast, saturation, underflow_forward, underflow_backward,
        cancellation, cancelling_variance, cancelling_softmax_backward, swamping_sum, swamping_product, lost_update,
        adam_epsilon, mask_value, position, exploding, vanishing, flips, exponential, logarithm, mean_square,
        loss_factor, input_offset,
    )
}  # fmt: skip
