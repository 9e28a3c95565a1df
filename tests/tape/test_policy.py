"""Policies: first rule wins, and every named policy against a few lines of numpy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from analysis.ops import Builder
from analysis.tape import Node
from floatemu.errors import UnsupportedError

RNG = np.random.default_rng(4)
X, W, G = RNG.normal(size=(3, 8)), RNG.normal(size=(8, 2)), RNG.normal(size=(3, 2))


def _tape() -> an.Tape:
    # loss = sum(G * tanh(X @ W)); the loss part has a path that `mixed` keeps in its master format
    builder = Builder("t")
    with builder.at("layer"):
        x, w, g = builder.leaf("input", X), builder.leaf("parameter", W), builder.leaf("input", G)
        y = (x @ w).tanh()
    with builder.at("loss"):
        loss = (y * g).sum(0).sum(0)
    builder.target("y", y)
    builder.target("loss", loss)
    builder.target("grad", builder.backward(loss, [w])[0])
    return builder.build()


def rounded(fmt: str, **options: Any) -> Any:
    return lambda x: fe.round(np.asarray(x, dtype=np.float64), fmt, **options)


def _accumulated(a: np.ndarray, b: np.ndarray, r: Any) -> np.ndarray:
    total = np.zeros((a.shape[0], b.shape[1]))
    for k in range(a.shape[1]):
        total = r(total + r(a[:, k, None] * b[None, k, :]))
    return total


def _summed(x: np.ndarray, r: Any) -> np.ndarray:
    total = np.zeros(x.shape[1:])
    for row in x:
        total = r(total + row)
    return total


def test_the_first_rule_that_matches_wins() -> None:
    fp32, bf16, fp16 = (an.Numerics(result=name) for name in ("fp32", "bf16", "fp16"))
    policy = an.Policy(
        "t",
        (
            an.Rule(fp32, path="loss*|*.norm"),
            an.Rule(bf16, op="matmul", direction="backward"),
            an.Rule(fp32, op="exp", output=1),
            an.Rule(fp16),
        ),
    )

    def chosen(op: str, path: str = "layer", direction: str = "forward", output: int = 0) -> str:
        found = policy.numerics(Node(0, op, path=path, direction=direction), output).format
        return "" if found is None else found.name

    assert chosen("matmul", "loss.softmax") == chosen("add", "block.norm") == "binary32"
    assert chosen("matmul", direction="backward") == "bfloat16"
    assert chosen("matmul") == chosen("exp") == "binary16"
    assert chosen("exp", output=1) == "binary32"
    assert chosen("transpose") == chosen("positive") == chosen("mask", "loss") == ""


def test_golden_mixed() -> None:
    run = an.replay(_tape(), an.Policy.mixed("bfloat16"))
    bf16, fp32 = rounded("bfloat16"), rounded("binary32")
    from analysis.arithmetics.elementary import tanh

    w = fp32(W)
    y = bf16(tanh(bf16(_accumulated(bf16(X), bf16(w), fp32))))
    loss = fp32(_sum64(fp32(_sum64(fp32(y * bf16(G)), 0)), 0))
    g = fp32(1.0 * bf16(G))  # loss, backward: d(y g)/dy
    slope = bf16(g - bf16(g * bf16(y * y)))
    grad = bf16(_accumulated(bf16(X).T, slope, fp32))
    assert np.array_equal(run.value("y"), y)
    assert np.array_equal(run.value("loss"), loss)
    assert np.array_equal(run.value("grad"), grad)


def _sum64(x: np.ndarray, axis: int) -> np.ndarray:
    return np.add.accumulate(x, axis=axis).take(-1, axis=axis)


def test_golden_fp8_recipe() -> None:
    run = an.replay(_tape(), an.Policy.named("fp8_recipe"))
    bf16, fp32 = rounded("bfloat16"), rounded("binary32")
    e4m3, e5m2 = rounded("e4m3fn", saturation="SatFinite"), rounded("e5m2", saturation="SatFinite")
    from analysis.arithmetics.elementary import tanh

    y = bf16(tanh(bf16(_accumulated(e4m3(bf16(X)), e4m3(fp32(W)), fp32))))
    g = fp32(1.0 * bf16(G))
    slope = bf16(g - bf16(g * bf16(y * y)))
    # the activation is a forward value even where the backward pass transposes it: E4M3; the gradient: E5M2
    grad = bf16(_accumulated(e4m3(bf16(X)).T, e5m2(slope), fp32))
    assert np.array_equal(run.value("y"), y)
    assert np.array_equal(run.value("grad"), grad)


def test_golden_torch_amp() -> None:
    run = an.replay(_tape(), an.Policy.named("torch_amp"))
    fp16, fp32 = rounded("binary16"), rounded("binary32")
    from analysis.arithmetics.elementary import tanh

    y = fp16(tanh(fp16(_accumulated(fp16(X), fp16(fp32(W)), fp32))))
    assert np.array_equal(run.value("y"), y)
    assert np.array_equal(run.value("loss"), fp32(_sum64(fp32(_sum64(fp32(y * fp16(G)), 0)), 0)))


def test_golden_accumulated_sums_of_mixed_policies() -> None:
    builder = Builder("t")
    builder.target("s", builder.leaf("input", X).sum(0))
    run = an.replay(builder.build(), an.Policy.mixed("bfloat16", accumulate="e5m2"))
    bf16, e5m2 = rounded("bfloat16"), rounded("e5m2")
    assert np.array_equal(run.value("s"), bf16(_summed(bf16(X), e5m2)))


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("bf16", "bfloat16"),
        ("e4m3fn/SatFinite", "e4m3fn/SAT_FINITE"),
        ("half/toward_zero", "binary16/TOWARD_ZERO"),
        ("fp8_e5m2/sat/rz", "e5m2/TOWARD_ZERO/SAT_FINITE"),
        ("mixed:fp16", "mixed:binary16"),
        ("torch_amp", "torch_amp"),
    ],
)
def test_names(name: str, canonical: str) -> None:
    assert an.Policy.named(name).name == canonical


@pytest.mark.parametrize("name", ["", "nonsense", "mixed:", "mixed:nonsense", "bf16/sideways", "bf16/"])
def test_unknown_names_list_what_is_accepted(name: str) -> None:
    with pytest.raises(UnsupportedError, match="accepted: torch_amp, fp8_recipe, mixed:FORMAT"):
        an.Policy.named(name)


@pytest.mark.parametrize("name", [None, 5, fe.get_format("bf16")])
def test_what_is_no_name_is_refused_with_the_names(name: Any) -> None:
    with pytest.raises(UnsupportedError, match="not a name; accepted: torch_amp, fp8_recipe, mixed:FORMAT"):
        an.Policy.named(name)


def test_policies_go_by_name_wherever_one_is_taken() -> None:
    tape = an.nets.chain(1e5, 0.25, 10)
    assert an.analyze(tape, "bf16").target("result") == an.analyze(tape, an.Policy.uniform("bf16")).target("result")
    assert an.replay(tape, "mixed:bf16").arithmetic == "mixed:bfloat16"


@pytest.mark.parametrize("call", [an.analyze, an.replay])
def test_what_is_no_tape_or_policy_is_refused(call: Any) -> None:
    with pytest.raises(UnsupportedError, match="tape is str; accepted: a Tape"):
        call("x", "bf16")
    with pytest.raises(UnsupportedError, match=r"not a name; accepted|policy is NoneType; accepted: a Policy"):
        call(an.nets.chain(1.0, 0.5, 2), None)


@pytest.mark.parametrize("name", ["binary16p3se", "binary64p49se"])
def test_formats_beyond_binary64_are_refused_where_the_policy_is_made(name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"{name} reaches beyond binary64 .*accepted: formats within"):
        an.Policy.uniform(name)


def test_numerics_refuse_what_replays_cannot_do() -> None:
    with pytest.raises(UnsupportedError, match="order='random'"):
        an.Numerics(order="random")
    with pytest.raises(UnsupportedError, match="give a MatrixUnit"):
        an.Numerics(unit="H100")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="integers or block scales"):
        an.Numerics(unit=fe.matrix.find("A100", "int8", "int32"))
    with pytest.raises(UnsupportedError, match="takes no operands in"):
        an.Numerics(unit=fe.matrix.find("H100", "fp16", "fp32", "wgmma"), gradients="e5m2")
    with pytest.raises(UnsupportedError, match="give unit= too"):
        an.Numerics(promote_every=128)
    with pytest.raises(fe.FormatError, match="no format is named"):
        an.Numerics(result="nothing")


def test_integers_and_labels_are_never_rounded() -> None:
    tape = an.nets.mlp(batch=4)
    run = an.replay(tape, an.Policy.uniform("e2m1fn"))
    assert np.array_equal(run.value(1), tape.data[1])
    assert run.records[1] is None


def test_sums_run_in_the_named_order() -> None:
    tape = an.nets.mlp((64, 9, 10), "tanh", batch=5)
    numerics = an.Numerics(accumulate="binary16", order="blocked(8)", result="binary16")
    policy = an.Policy("blocked", (an.Rule(numerics, op="sum|matmul"), an.Rule(an.Numerics())))
    run = an.replay(tape, policy)
    for node in tape.nodes:
        if node.op in ("sum", "matmul"):
            operands = [run.value(ref) for ref in node.inputs]
            if node.op == "sum":
                axes = {name: node.attributes[name] for name in ("axis", "keepdims")}
                expected = fe.sum(operands[0], "binary16", order="blocked(8)", **axes)
            else:
                expected = fe.matmul(*operands, "binary16", order="blocked(8)")
            assert np.array_equal(run.value(node.id), expected)


@pytest.mark.parametrize(
    ("mode", "order"),
    [(mode, "sequential") for mode in ("toward_zero", "toward_positive", "to_odd", "stochastic_a", "stochastic_c")]
    + [("toward_negative", "pairwise"), ("stochastic_c", "kahan")],
)
def test_partial_sums_are_rounded_in_the_policys_mode(mode: str, order: str) -> None:
    """Bit for bit what the faces give with the mode, and the seed and stream of the node's sums."""
    tape = an.nets.mlp((64, 9, 10), "tanh", batch=5)
    bits = 7 if mode.startswith("stochastic") else None
    projection = fe.Projection(mode, "SatFinite", bits)
    numerics = an.Numerics(accumulate="bf16", order=order, result="bf16", projection=projection, stream=5)
    policy = an.Policy("sums", (an.Rule(numerics, op="sum|matmul"), an.Rule(an.Numerics())), seed=11)
    run = an.replay(tape, policy, step=2)
    seen = set()
    for node in tape.nodes:
        if node.op not in ("sum", "matmul"):
            continue
        stream = policy.stream(node, 15, 2) + 5
        drawn = {} if bits is None else {"random_bits": bits, "seed": 11, "stream": stream}
        options = {"rounding": mode, "order": order, "dtype": np.float64, **drawn}
        operands = [run.value(ref) for ref in node.inputs]
        if node.op == "sum":
            expected = fe.sum(operands[0], "bf16", **node.attributes, **options)
        else:
            expected = fe.matmul(*operands, "bf16", **options)
        assert np.array_equal(run.value(node.id), expected)
        seen.add(node.op)
        if node.op == "matmul":
            assert not np.array_equal(expected, fe.matmul(*operands, "bf16", dtype=np.float64))
    assert seen == {"sum", "matmul"}


def test_partial_sums_of_another_step_or_seed_draw_other_bits() -> None:
    tape = an.nets.mlp((64, 9, 10), "tanh", batch=5)
    numerics = an.Numerics(accumulate="bf16", projection=fe.Projection("stochastic_c", random_bits=16))
    policies = [an.Policy("sums", (an.Rule(numerics, op="matmul"), an.Rule(an.Numerics())), seed) for seed in (0, 1)]
    product = next(node.id for node in tape.nodes if node.op == "matmul")
    found = [an.replay(tape, policy, step=step).value(product) for policy in policies for step in (0, 1)]
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(found, 2))
    assert np.array_equal(found[1], an.replay(tape, policies[0], step=1).value(product))


def test_accumulators_wider_than_binary32() -> None:
    """Partial sums of 30 bits: binary64 could not hold a product of such operands and round it again."""
    wide = fe.Format(name="wide", k=40, p=30)
    tape = an.nets.mlp((64, 6, 10), "tanh", batch=3)
    policy = an.Policy(
        "wide", (an.Rule(an.Numerics(accumulate=wide, result=wide), op="matmul"), an.Rule(an.Numerics()))
    )
    run = an.replay(tape, policy)
    node = next(node for node in tape.nodes if node.op == "matmul")
    expected = fe.matmul(*(run.value(ref) for ref in node.inputs), wide)
    assert np.array_equal(run.value(node.id), expected)


def test_matrix_products_on_a_device() -> None:
    """E4M3 forward, E5M2 gradients, on Hopper's wgmma with promotion: each product equals that of the unit's row."""
    unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    tape = an.nets.mlp((64, 40, 10), "tanh", batch=40)
    on_device = an.Numerics(unit=unit, gradients="e5m2", result="bfloat16", promote_every=32)
    run = an.replay(tape, an.Policy("h100", (an.Rule(on_device, op="matmul"), an.Rule(an.Numerics(result="bfloat16")))))
    rows = set()
    for node in tape.nodes:
        if node.op != "matmul":
            continue
        formats = ["e5m2" if tape.nodes[ref.node].direction == "backward" else "e4m3fn" for ref in node.inputs]
        for index, ref in enumerate(node.inputs):  # a transposed forward value is a view made in the backward pass
            if tape.nodes[ref.node].op == "transpose":
                source = tape.nodes[ref.node].inputs[0].node
                formats[index] = "e5m2" if tape.nodes[source].direction == "backward" else "e4m3fn"
        row = fe.matrix.find("H100", tuple(formats), "fp32", "wgmma")
        operands = [fe.round(run.value(ref), fmt) for ref, fmt in zip(node.inputs, formats)]
        expected = fe.round(fe.matrix.gemm(row, *operands, promote_every=32), "bfloat16")
        assert np.array_equal(run.value(node.id), expected)
        rows.add(row.name)
    assert len(rows) == 3  # forward, weight gradients, input gradients
