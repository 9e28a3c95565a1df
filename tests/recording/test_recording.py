"""What a recording keeps and counts: optimisers, opaque operations, random numbers, views, refusals, analyses."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis as an
from floatemu import UnsupportedError

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]
nn = torch.nn

from torch_models import Around, make  # noqa: E402

from analysis.ops import Builder  # noqa: E402
from analysis.sites import is_users  # noqa: E402
from analysis.torch import capture  # noqa: E402
from analysis.torch.calls import Ref, same_bits  # noqa: E402
from analysis.torch.memory import Leaf, Memory, overlay, take  # noqa: E402

Optimisers = dict[str, Callable[[Any], Any]]
OPTIMISERS: Optimisers = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.01),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, amsgrad=True),
    "adamw, many tensors at once": lambda p: torch.optim.AdamW(p, 0.01, foreach=True),
    "sgd, many tensors at once": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
    "adam, one kernel": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1, fused=True),
    "adamw, one kernel": lambda p: torch.optim.AdamW(p, 0.01, fused=True),
    "sgd, one kernel": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01),
}


def _stepped(name: str, wide: bool) -> Any:
    case = make("mlp")
    module = copy.deepcopy(case.module).double() if wide else case.module
    return case, module, OPTIMISERS[name](module.parameters())


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimisers_step_is_on_the_tape(name: str) -> None:
    case, module, optimiser = _stepped(name, wide=True)
    case.run(module, lambda x: x.double()).backward()
    optimiser.step()
    wanted = {key: one.detach().numpy() for key, one in module.named_parameters()}
    case, module, optimiser = _stepped(name, wide=False)
    before = {key: one.detach().clone() for key, one in module.named_parameters()}
    tape = an.record(module, *case.inputs, loss=case.loss, optimizer=optimiser)
    assert tape.meta["opaque"] == {}
    run = an.replay(tape, an.Float64())
    for key, new in wanted.items():
        assert np.linalg.norm(run.value(f"new:{key}") - new) <= 1e-14 * np.linalg.norm(new), key
        assert not torch.equal(before[key], module.get_parameter(key)), "the step was not taken"
    updates = [node for node in tape.nodes if node.direction == "update" and not node.leaf]
    assert updates
    assert {node.path for node in updates} == {"optimizer"}


@pytest.mark.parametrize("name", ["momentum", "adam", "adam, one kernel", "sgd, one kernel"])
def test_two_steps_are_two_tapes_of_the_same_run(name: str) -> None:
    case, module, optimiser = _stepped(name, wide=False)
    for _ in range(2):
        optimiser.zero_grad()
        tape = an.record(module, *case.inputs, loss=case.loss, optimizer=optimiser)
    double, wide = _stepped(name, wide=True)[1:]
    for _ in range(2):
        wide.zero_grad()
        case.run(double, lambda x: x.double()).backward()
        wide.step()
    # the second tape starts from binary32 weights and moments, so that the two agree to binary32 only
    found = an.replay(tape, an.Float64()).value("new:0.weight")
    wanted = double.get_parameter("0.weight").detach().numpy()
    assert 0 < np.linalg.norm(found - wanted) <= 1e-6 * np.linalg.norm(wanted)


def test_a_fused_optimiser_without_a_rule_is_opaque_and_counted() -> None:
    case = make("mlp")
    optimiser = torch.optim.Adam(case.module.parameters(), 0.01, fused=True, amsgrad=True)
    tape = an.record(case.module, *case.inputs, loss=case.loss, optimizer=optimiser)
    assert tape.meta["opaque"] == {"aten._fused_adam_": 1}
    run = an.replay(tape, an.Float64())
    for key, one in case.module.named_parameters():
        assert run.value(f"new:{key}").tolist() == one.detach().double().numpy().tolist()


def _around(function: Callable[[Any], Any]) -> Any:
    torch.manual_seed(1)
    return an.record(Around(function), torch.randn(3, 4), loss=lambda y: y.exp().mean())


def test_an_operation_without_a_rule_is_a_constant_with_its_name_counted() -> None:
    tape = _around(lambda y: y.tanh().erfinv().tanh())
    assert tape.meta["opaque"] == {"aten.erfinv": 2}  # forward and backward
    torch.manual_seed(1)
    module, x = Around(lambda y: y.tanh().erfinv()), torch.randn(3, 4)
    tanh = [node for node in tape.nodes if node.op == "tanh"][1]
    operand = tape.nodes[tanh.inputs[0].node]
    assert operand.op == "constant"
    assert tape.data[operand.id].tolist() == module(x).detach().double().numpy().tolist()


@pytest.mark.parametrize(
    ("function", "key", "name"),
    [
        (lambda y: nn.functional.dropout(y, 0.5), "drawn", "aten.bernoulli_"),
        (lambda y: y * y.sum().item(), "escapes", ""),
        (lambda y: y * float(y.detach().numpy().sum()), "escapes", ""),
        (lambda y: y * y.tolist()[0][0], "escapes", ""),
        (lambda y: y[y > 0], "frozen", "aten.index"),
    ],
    ids=["random numbers", "numbers that leave", "arrays", "lists", "data-dependent shapes"],
)
def test_what_a_tape_cannot_follow_is_counted(function: Callable[[Any], Any], key: str, name: str) -> None:
    tape = _around(function)
    assert tape.meta[key][name] == 1
    assert tape.meta["opaque"] == {}


def test_random_numbers_are_drawn_again_from_the_same_state() -> None:
    torch.manual_seed(0)
    found = capture(Around(lambda y: nn.functional.dropout(y, 0.5)), torch.randn(8, 4), loss=lambda y: y.sum())
    before = torch.get_rng_state()
    assert found.replay() == []
    assert torch.equal(before, torch.get_rng_state())


def test_results_that_share_memory_share_a_storage() -> None:
    tape = _around(lambda y: (-y).t().mul_(2.0))
    forward = [node for node in tape.nodes if node.direction == "forward"]
    start = next(i for i, node in enumerate(forward) if node.op == "neg")
    wanted = {"neg", "transpose", "mul"}
    assert len({node.outputs[0].storage for node in forward[start:] if node.op in wanted}) == 1
    assert wanted <= {node.op for node in forward[start:]}


def test_backward_operations_have_the_place_of_their_forward_operation() -> None:
    case = make("mlp")
    tape = an.record(case.module, *case.inputs, loss=case.loss)
    sites = {node.path: node.site for node in tape.nodes if node.direction == "forward" and not node.leaf}
    backward = [node for node in tape.nodes if node.direction == "backward" and node.op in ("matmul", "sum")]
    assert {node.path for node in backward} == {"loss", "0", "2", "4"}
    assert all(node.site == sites[node.path] for node in backward)
    products = [node for node in tape.nodes if node.op == "matmul"]
    places = [(node.direction, node.path) for node in products]
    forward = [("forward", "0"), ("forward", "2"), ("forward", "4")]
    assert places == [*forward, *[("backward", name) for name in ("4", "4", "2", "2", "0")]]


def test_what_a_checkpoint_computes_again_has_its_modules_place() -> None:
    case = make("tied")
    tape = an.record(case.module, *case.inputs, loss=case.loss)
    products = [(node.direction, node.path) for node in tape.nodes if node.op == "matmul" and node.path == "middle"]
    assert products == [("forward", "middle"), *[("backward", "middle")] * 3]
    assert sum(node.op == "tanh" for node in tape.nodes) == 2
    leaves = [node.path for node in tape.nodes if node.op == "parameter"]
    assert sorted(leaves) == ["middle.bias", "middle.weight", "table.weight"]


def test_a_tape_survives_its_file(tmp_path: Path) -> None:
    case = make("encoder")
    tape = an.record(case.module, *case.inputs, loss=case.loss)
    tape.save(tmp_path / "encoder.npz")
    again = an.Tape.load(tmp_path / "encoder.npz")
    assert dict(again.meta) == dict(tape.meta)
    for name in tape.targets:
        left, right = (an.replay(one, an.Float64()).value(name) for one in (tape, again))
        assert left.tobytes() == right.tobytes()


@pytest.mark.parametrize("name", ["mlp", "residual", "encoder"])
@pytest.mark.parametrize("target", ["loss", "gradient"])
def test_attribution_is_complete_on_recorded_smooth_models(name: str, target: str) -> None:
    case = make(name)
    tape = an.record(case.module, *case.inputs, loss=case.loss)
    chosen = target if target == "loss" else next(key for key in tape.targets if key.startswith("grad:"))
    found = an.analyze(tape, "bf16", "float64", chosen)
    attribution = found.attribution()
    assert attribution.order == "first"
    assert abs(attribution.ratio - 1) <= 0.03
    assert found.verdict().startswith(f"{chosen} keeps ")
    assert found.diagnose() is not None


def test_the_module_is_left_without_hooks() -> None:
    case = make("mlp")
    an.record(case.module, *case.inputs, loss=case.loss)
    assert [one for one in case.module.modules() if one._forward_hooks or one._forward_pre_hooks] == []
    with pytest.raises(UnsupportedError, match=r"the loss is a tensor of shape \(5, 3\); accepted: a tensor with one"):
        an.record(case.module, *case.inputs, loss=lambda y: y)
    assert [one for one in case.module.modules() if one._forward_hooks or one._forward_pre_hooks] == []


def test_switches_of_the_process_are_as_before_when_several_threads_have_recorded() -> None:
    before, together = torch._C._get_mkldnn_enabled(), threading.Barrier(3)

    def meet(y: Any) -> Any:
        together.wait(10)
        return y

    def record() -> None:
        found.append(an.record(Around(meet), torch.ones(3, 4), loss=lambda y: y.sum()))

    found: list[an.Tape] = []
    threads = [threading.Thread(target=record) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({len(tape.nodes) for tape in found}) == 1
    assert torch._C._get_mkldnn_enabled() == before


def test_a_forward_pass_alone() -> None:
    tape = an.record(nn.Linear(2, 3), torch.ones(1, 2), name="alone")
    assert (tape.name, list(tape.targets)) == ("alone", ["result"])


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_what_cannot_be_seen_is_refused() -> None:
    linear = nn.Linear(2, 1)
    with pytest.raises(UnsupportedError, match="OptimizedModule is compiled: its kernels call no operation"):
        an.record(torch.compile(linear), torch.ones(1, 2))
    with pytest.raises(UnsupportedError, match="the loss is float; accepted: a tensor with one element"):
        an.record(linear, torch.ones(1, 2), loss=lambda y: y.item())
    for made in (torch.jit.script(linear), torch.jit.trace(linear, torch.ones(1, 2))):
        with pytest.raises(
            UnsupportedError, match=r"^1 is compiled: .* record the model with the module it was made from"
        ):
            an.record(nn.Sequential(nn.Linear(2, 2), made), torch.ones(1, 2))
    with pytest.raises(UnsupportedError, match=r"layout torch.sparse_coo, .*Embedding\(..., sparse=False\)"):
        an.record(nn.Embedding(4, 2, sparse=True), torch.tensor([1]), loss=lambda y: y.sum())
    with pytest.raises(UnsupportedError, match="a nested tensor, whose memory cannot be followed"):
        an.record(linear, torch.nested.nested_tensor([torch.ones(1, 2), torch.ones(2, 2)]))
    optimiser = torch.optim.LBFGS(linear.parameters())
    with pytest.raises(UnsupportedError, match=r"LBFGS.step needs a closure"):
        an.record(linear, torch.ones(1, 2), loss=lambda y: y.sum(), optimizer=optimiser)
    assert all(one.grad is None for one in linear.parameters())  # refused before anything ran


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (nn.LazyLinear(2), {}, "^weight has no numbers, since it gets its shape in the first run: call the model once"),
        (
            nn.Linear(2, 1, device="meta"),
            {},
            "^weight has no numbers, since it lies on the meta device: give it numbers",
        ),
        (nn.Linear(2, 1), {"loss": 3}, "^loss is int; accepted: a function of the module's result"),
        (nn.Linear(2, 1), {"optimizer": "sgd"}, "^optimizer is str; accepted: a torch.optim.Optimizer"),
        (nn.Linear(2, 1), {"keywords": [1]}, "^keywords is list; accepted: a mapping"),
        (
            nn.Linear(2, 1),
            {"optimizer": torch.optim.SGD([torch.ones(1)])},
            r"^the result, a tensor of shape \(3, 1\), is no loss for the optimiser's step; give loss=",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused(module: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        an.record(module, torch.ones(3, 2), **options)


@pytest.mark.parametrize("decompose", [True, False])
def test_one_element_of_stride_zero_is_compared_too(decompose: bool) -> None:
    """The gradient of a sum is expanded: one element of it is contiguous, and yet has no view as bytes."""
    linear = nn.Linear(4, 1)
    assert capture(linear, torch.ones(1, 4), loss=lambda y: y.sum(), decompose=decompose).replay() == []
    log = nn.LogSoftmax(-1)
    target, lengths = torch.tensor([[1, 2]]), (torch.tensor([5]), torch.tensor([2]))
    loss = lambda y: nn.functional.ctc_loss(y, target, *lengths)  # noqa: E731
    found = capture(log, torch.zeros(5, 1, 4, requires_grad=True), loss=loss, decompose=decompose)
    assert found.replay() == []


def test_bits_are_compared_whatever_the_stride() -> None:
    one = torch.ones(1).expand(1)
    zero, minus = torch.zeros(1, 1).as_strided((1,), (0,)), torch.tensor([-0.0])
    assert same_bits(one, torch.ones(1))
    assert not same_bits(zero, minus)
    assert same_bits(minus.as_strided((1,), (0,)), minus)


def test_the_example_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "torch-tracing.md").read_text(encoding="utf-8")
    exec(compile(text.split("```")[1], "torch-tracing.md", "exec"), {"__name__": "__main__"})
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("grad:0.weight keeps ")
    assert len(rest) == 3


ORDERS = {
    "all": np.arange(24),
    "reshaped": np.arange(24).reshape(4, 6),
    "transposed": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    "sliced": np.arange(24).reshape(2, 3, 4)[:, 1:, ::3],
    "sliced and transposed": np.arange(24).reshape(2, 3, 4)[1:, :, 1:3].transpose(2, 1, 0),
    "one": np.array(7),
    "expanded": np.broadcast_to(np.arange(24).reshape(2, 3, 4)[:, :1], (2, 5, 4)),
    "split and turned": np.arange(24).reshape(6, 2, 2).transpose(1, 0, 2),
    "backwards": np.arange(24)[::-1],
    "diagonal": np.arange(0, 24, 5),
    "anywhere": np.array([[3, 3], [0, 23]]),
    "none": np.zeros((0, 2), dtype=np.int64),
}


@pytest.mark.parametrize("name", ORDERS)
def test_views_are_what_their_indices_say(name: str) -> None:
    order = ORDERS[name]
    builder = Builder("t")
    x = builder.leaf("input", np.arange(24.0).reshape(2, 3, 4) + 100.0)
    found = take(x, order)
    assert found.value.tolist() == (order + 100.0).tolist()
    gathers = sum(node.op == "gather" for node in builder.nodes)
    assert gathers == (name in ("backwards", "diagonal", "anywhere"))
    if np.unique(order).size == order.size:
        after = overlay(x, builder.leaf("input", -np.ones(order.shape)), order).value.ravel()
        assert after.tolist() == [-1.0 if i in order else 100.0 + i for i in range(24)]


def test_a_write_through_one_view_is_seen_through_others() -> None:
    builder = Builder("t")
    memory = Memory(builder)
    whole = Ref(0, torch.float32, (2, 3), (3, 1), 0)
    memory.define(whole, Leaf(np.arange(6.0).reshape(2, 3)))
    column, turned = Ref(0, torch.float32, (2,), (3,), 1), Ref(0, torch.float32, (3, 2), (1, 3), 0)
    assert memory.read(turned).value.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    memory.write(column, builder.leaf("input", np.array([-1.0, -2.0])))
    assert memory.read(turned).value.tolist() == [[0.0, 3.0], [-1.0, -2.0], [2.0, 5.0]]
    memory.write(turned, builder.leaf("input", np.ones((3, 2))))
    assert memory.read(whole).value.tolist() == [[1.0] * 3] * 2


def test_a_torch_behind_a_link_is_torch(tmp_path: Path) -> None:
    """An environment may be reached through a link: its files are named by it, and are no user's all the same."""
    (tmp_path / "torch").symlink_to(Path(torch.__file__).parent)
    assert not is_users(str(tmp_path / "torch" / "nn" / "functional.py"), torch)
    assert is_users(str(tmp_path / "torch_of_mine.py"), torch)
    assert is_users(torch.__file__)
