"""Watching: shadows against independent float64 runs, training untouched, emulated results, who made the infinity."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from floatemu import UnsupportedError

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]
nn = torch.nn

from torch_models import NAMES, make  # noqa: E402
from torch_runs import Widened, wide  # noqa: E402

from analysis.torch.calls import same_bits  # noqa: E402
from analysis.torch.names import is_move  # noqa: E402
from analysis.torch.private import plain_kernels  # noqa: E402

OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, amsgrad=True),
    "adamw, many tensors at once": lambda p: torch.optim.AdamW(p, 0.01, foreach=True),
    "adamw, one kernel": lambda p: torch.optim.AdamW(p, 0.01, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_shadow_is_an_independent_float64_run(name: str) -> None:
    case = make(name)
    double = copy.deepcopy(case.module).double()
    with plain_kernels():
        with Widened():
            wanted = case.run(double, wide)
            wanted.backward()
        with an.watch(case.module, every=1) as w, w.step():
            loss = case.run()
            loss.backward()
            found = {key: w.shadow(one.grad) for key, one in case.module.named_parameters() if one.grad is not None}
            shadow = w.shadow(loss)
    assert w.seeded == {}
    assert w.escapes == {}
    assert abs(shadow - wanted) <= 1e-14 * abs(wanted)
    gradients = {key: one.grad for key, one in double.named_parameters() if one.grad is not None}
    assert gradients.keys() == found.keys()
    whole = torch.stack([one.norm() for one in gradients.values()]).norm()
    for key, one in gradients.items():
        assert (found[key] - one).norm() <= 1e-14 * max(one.norm(), 1e-3 * whole), key


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_shadow_goes_through_clipping_and_the_optimisers_steps(name: str) -> None:
    case = make("encoder")
    double = copy.deepcopy(case.module).double()

    def train(module: Any, change: Callable[[Any], Any]) -> None:
        optimiser = OPTIMISERS[name](module.parameters())
        for _ in range(3):
            case.run(module, change).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)
            optimiser.step()
            optimiser.zero_grad()

    with plain_kernels():
        train(double, wide)
        with an.watch(case.module, every=1) as w, w.step():
            train(case.module, lambda x: x)
            found = {key: w.shadow(one) for key, one in case.module.named_parameters()}
    assert w.seeded == {}
    for key, one in double.named_parameters():
        assert (found[key] - one).norm() <= 1e-14 * one.norm(), key
    assert {row.direction for row in w.rows} == {"forward", "backward", "update"}
    assert {row.path for row in w.rows if row.direction == "update"} == {"", "optimizer"}


def _train(steps: int, watch: Any) -> tuple[list[Any], Any]:
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.GELU(), nn.Linear(8, 3))
    optimiser = torch.optim.AdamW(net.parameters(), 0.01)
    losses = []
    with watch(net) as w:
        for _ in range(steps):
            with w.step():
                loss = nn.functional.cross_entropy(net(torch.randn(6, 4)), torch.arange(6) % 3)
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
            losses.append(loss.detach())
    return [*losses, *net.parameters()], w


class NoWatch:
    """Stands in for a watch."""

    def __init__(self, module: Any) -> None: ...
    def __enter__(self) -> NoWatch:
        return self

    def __exit__(self, *error: object) -> None: ...
    def step(self) -> NoWatch:
        return self


@pytest.mark.parametrize("policy", [None, "bf16", "e4m3fn/toward_zero", "torch_amp"])
def test_training_has_the_bits_it_has_without(policy: str | None) -> None:
    plain, _ = _train(5, NoWatch)
    watched, w = _train(5, lambda net: an.watch(net, policy, every=2))
    assert len(plain) == len(watched) == 9
    assert all(same_bits(x, y) for x, y in zip(plain, watched, strict=True))
    assert (w.steps, w.sampled, sorted({row.step for row in w.rows})) == (5, 3, [0, 2, 4])
    assert [one for one in w.nonfinite if one.run == "live"] == []


@pytest.mark.parametrize("reference", ["live", "float64"])
def test_every_result_is_its_operation_rounded_once(reference: str) -> None:
    case = make("mlp")
    x = case.inputs[0]
    first = case.module[0]
    w = an.watch(case.module, "e5m2", every=1, reference=reference)
    with w, w.step():
        out = case.module(x)
        hidden = {index: w.shadow(out, "emulated") for index in (0,)}
    weight, bias, given = (fe.round(one.detach().double().numpy(), "e5m2") for one in (first.weight, first.bias, x))
    by_hand = fe.round(given @ weight.T + bias, "e5m2")
    rows = [row for row in w.rows if row.run == "emulated" and row.op == "addmm"]
    assert rows[0].format == "e5m2"
    assert rows[0].shape == by_hand.shape
    exact = (x.double() @ first.weight.double().T + first.bias.double()).detach().numpy()
    error = np.linalg.norm(by_hand - exact) / np.linalg.norm(exact)
    assert rows[0].error == pytest.approx(error, rel=1e-6)
    assert hidden[0].shape == out.shape
    assert torch.equal(hidden[0].double(), torch.from_numpy(fe.round(hidden[0].double().numpy(), "e5m2")))


def test_a_policy_of_several_formats_decides_by_operation_and_path() -> None:
    case = make("encoder")
    with an.watch(case.module, "torch_amp", every=1) as w, w.step():
        case.run().backward()
    rows = [row for row in w.rows if row.run == "emulated" and row.output == 0]
    formats = {(row.op, row.path): row.format for row in rows}
    assert {found for (op, _), found in formats.items() if op in ("mm", "addmm", "bmm")} == {"binary16"}
    assert {found for (_, path), found in formats.items() if path == "loss" or "norm" in path} == {"binary32"}
    assert all(row.local_error <= 2.0**-11 for row in w.rows if row.run == "emulated" and not row.subnormal)


class Faulty(nn.Module):
    """Adds a mask, and takes a function of what comes out."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.layer, self.inner = nn.Linear(4, 4), nn.Module()
        self.function = function

    def forward(self, x: Any) -> Any:
        scores = self.layer(x) @ x.T
        mask = torch.triu(torch.full(scores.shape, float("-inf")), 1)
        return self.function(torch.softmax(scores + mask, -1))


FAULTS: dict[str, tuple[Callable[[Any], Any], str, str, str]] = {
    "overflow": (lambda y: (y * 1e30 * 1e30).sum(), "mul", "forward", "overflow"),
    "invalid": (lambda y: (y - 2.0).log().sum(), "log", "forward", "invalid operation"),
    "pole in the backward pass": (lambda y: (y - y).sqrt().sum(), "div", "backward", "overflow"),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("policy", [None, "bf16"])
def test_the_producer_is_named_with_place_and_values(name: str, policy: str | None) -> None:
    function, op, direction, cause = FAULTS[name]
    torch.manual_seed(0)
    net = Faulty(function)
    with an.watch(net, policy, every=1) as w, w.step():
        net(torch.randn(3, 4)).backward()
    first = w.first_nonfinite
    assert first is not None
    assert (first.run, first.op, first.direction, first.cause, first.path) == ("live", op, direction, cause, "")
    assert first.site.startswith("test_watch.py:")
    assert len(first.operands) >= 1
    assert first.text.startswith(f"step 0, live run: {op} in the model itself (test_watch.py:")
    assert next(row.op for row in w.rows if row.producer) == op


def test_masks_are_meant_and_a_row_that_is_all_masked_is_not() -> None:
    net = Faulty(lambda y: y.sum())
    with an.watch(net, "binary16", every=1) as w, w.step():
        net(torch.randn(3, 4)).backward()
    assert w.first_nonfinite is None
    layer = nn.Linear(3, 3)
    with an.watch(layer, every=1) as w, w.step():
        torch.softmax(layer(torch.ones(1, 3)).masked_fill(torch.ones(1, 3, dtype=torch.bool), -torch.inf), -1)
    assert w.first_nonfinite is not None
    assert (w.first_nonfinite.op, w.first_nonfinite.cause) == ("_softmax", "invalid operation")
    with an.watch(layer, "bf16", every=1) as w, w.step():
        layer(torch.ones(1, 3)) + torch.full((1, 3), torch.finfo(torch.float32).min)  # infinite in bfloat16
    assert w.first_nonfinite is None


def _positions(y: Any) -> Any:
    """Buckets of distances as T5 has them: the logarithm of 0 is computed, and not chosen."""
    distance = torch.arange(3)
    far = (torch.log(distance.float() / 2) + 2).long()
    return y + torch.where(distance < 2, distance, far.clamp(max=3))


def _spelled(y: Any) -> Any:
    """Of alignments that are too short the probability is zero."""
    return nn.functional.ctc_loss(y.log_softmax(-1)[:, None], torch.tensor([[1, 2]]), [3], [2])


@pytest.mark.parametrize("policy", [None, "bf16"])
@pytest.mark.parametrize("function", [_positions, _spelled])
def test_infinities_that_are_no_fault_of_the_training_are_meant(function: Any, policy: str | None) -> None:
    torch.manual_seed(0)
    net = Faulty(lambda y: function(y).sum())
    with an.watch(net, policy, every=1) as w, w.step():
        net(torch.randn(3, 4)).backward()
    assert max(row.nonfinite for row in w.rows) > 0  # or there was nothing to forgive
    assert w.nonfinite == []
    with an.watch(net, policy, every=1) as w, w.step():
        net(torch.randn(3, 4) * torch.inf)
    assert w.nonfinite != []


def test_integers_too_large_for_a_format_are_an_error_like_others() -> None:
    net = Faulty(lambda y: (y + (torch.arange(3) * 40000).float() * 1.0).sum())
    with an.watch(net, "binary16", every=1) as w, w.step():
        net(torch.randn(3, 4))
    assert w.first_nonfinite is not None
    assert (w.first_nonfinite.op, w.first_nonfinite.cause, w.first_nonfinite.value) == ("mul", "rounding", 80000.0)


def test_a_step_in_which_nothing_was_seen_is_told() -> None:
    layer = nn.Linear(2, 1)
    thread = threading.Thread(target=lambda: layer(torch.ones(1, 2)).sum().backward())
    with an.watch(layer, every=1) as w, w.step():
        thread.start()
        thread.join()
    (alarm,) = w.alarms
    assert alarm.startswith("step 0 was sampled, and no operation was seen in it: a watch sees those of the thread")


def test_a_closure_within_the_optimisers_step_is_forward_and_backward() -> None:
    case = make("mlp")
    optimiser = torch.optim.LBFGS(case.module.parameters(), max_iter=2)

    def closure() -> Any:
        optimiser.zero_grad()
        loss = case.run()
        loss.backward()
        return loss

    with an.watch(case.module, every=1) as w, w.step():
        optimiser.step(closure)
    assert {row.direction for row in w.rows if row.path == "0"} == {"forward", "backward"}
    assert {row.direction for row in w.rows if row.path == "optimizer"} >= {"update"}


def test_an_overflow_of_the_policy_alone_is_told_with_what_was_needed() -> None:
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(300.0)
    with an.watch(layer, "binary16", every=1) as w, w.step():
        layer(torch.full((1, 2), 200.0))
    (found,) = w.nonfinite
    assert (found.run, found.op, found.cause, found.value) == ("emulated", "mm", "rounding", 120000.0)
    with an.watch(layer, "binary16", every=1, allow=("mm",)) as w, w.step():
        layer(torch.full((1, 2), 200.0))
    assert w.nonfinite == []


def test_a_weight_that_is_no_number_before_the_step_is_told_so() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.bias.fill_(torch.nan)
    with an.watch(layer, every=1) as w, w.step():
        layer(torch.ones(1, 2))
    assert [one.text for one in w.nonfinite] == [
        "step 0, live run: parameter bias holds 1 non-finite number from outside (was there before the step)"
    ]


def test_a_step_that_was_not_sampled_and_went_wrong_is_told_and_the_next_is_sampled() -> None:
    layer = nn.Linear(2, 1)
    with an.watch(layer, every=100) as w:
        for factor in (1.0, 1.0, 1e39, 1.0, 1.0):
            layer.zero_grad()
            with w.step():
                (layer(torch.ones(1, 2)) * factor).sum().backward()
    assert w.alarms == ["step 2 was not sampled, and left gradients or weights that are not finite"]
    assert sorted({row.step for row in w.rows}) == [0, 3]


def test_random_numbers_and_what_has_no_float64_form_come_from_the_program() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    with an.watch(net, every=1) as w, w.step():
        y = net(torch.ones(2, 4))
        assert torch.equal(w.shadow(y) == 0, y == 0)
    assert w.seeded == {}
    with an.watch(net, every=1) as w, w.step():
        net(torch.ones(2, 4)) * net[0].weight.sum().item()
    assert sum(w.escapes.values()) == 1


def test_weights_of_eight_bits_are_followed() -> None:
    layer = nn.Linear(4, 3)
    layer.register_buffer("table", torch.randn(3, 3).to(torch.float8_e4m3fn))
    wanted = (layer.weight.double().sum(1) + layer.bias.double()) @ layer.table.double()
    for policy in (None, "bf16"):
        with an.watch(layer, policy, every=1) as w, w.step():
            y = layer(torch.ones(2, 4)) @ layer.table.float()
            y.sum().backward()
            exact = w.shadow(y)
        assert w.seeded == {}
        assert w.nonfinite == []
        assert (exact - wanted).norm() <= 1e-14 * wanted.norm()  # of two rows that are alike


def test_checkpointed_parts_have_their_modules_place() -> None:
    case = make("tied")
    with an.watch(case.module, every=1) as w, w.step():
        case.run().backward()
    again = [row for row in w.rows if row.op == "tanh"]
    assert [(row.path, row.direction) for row in again] == [("", "forward"), ("", "backward")]
    assert {row.path for row in w.rows} >= {"middle", "loss"}


def test_steps_may_be_begun_without_a_block_and_nothing_is_left_behind() -> None:
    layer = nn.Linear(2, 1)
    with an.watch(layer, "bf16", every=2, start=10) as w:
        for _ in range(3):
            w.step()
            layer(torch.ones(1, 2)).sum().backward()
    assert sorted({row.step for row in w.rows}) == [10, 12]
    assert [one for one in layer.modules() if one._forward_hooks or one._forward_pre_hooks] == []
    assert w.shadow(layer.weight) is None


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_what_cannot_be_watched_is_refused() -> None:
    layer, compiled = nn.Linear(2, 1), nn.Linear(2, 2)
    compiled.compile(backend="eager")
    narrow = an.Policy("n", (an.Rule(an.Numerics(accumulate="binary16", result="binary16")),))
    unit = fe.matrix.find("H100", "e4m3fn", "fp32", "wgmma")
    for given, message in (
        ((torch.compile(layer),), "is compiled: its kernels call no operation"),
        ((nn.Sequential(compiled),), r"0 is compiled: .* watch the model before .compile\(\) is called"),
        ((nn.LazyLinear(2),), "weight has no numbers, since it gets its shape in the first run"),
        ((layer, "bf16", 0), "every=0; accepted: an integer >= 1"),
        ((layer, narrow), "asks for sums in binary16"),
        ((layer, an.Policy("u", (an.Rule(an.Numerics(unit=unit)),))), "a watch adds in binary32 or more"),
        ((layer, "no-such"), "no policy is named"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            an.watch(*given)
    with pytest.raises(UnsupportedError, match="accepted: auto, float64, live"):
        an.watch(layer, reference="exact")
    with pytest.raises(UnsupportedError, match="without a policy give 'float64'"):
        an.watch(layer, reference="live")


def test_every_name_of_a_move_is_one_of_torchs() -> None:
    from analysis.torch import names

    known = {str(name).split("::")[1].split(".")[0].rstrip("_") for name in torch._C._dispatch_get_all_op_names()}
    assert {name.rstrip("_") for name in names._MOVES | names.FILLS | set(names._BY_NAME)} <= known | {"norm"}
    assert is_move("aten.copy_")
