"""Tapes of watched steps: independent float64 runs, the advice of recorded ones, and why there may be none."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.advice import advise, run_advise
from analysis.cli import main
from analysis.watchlog import Log, read_tape
from floatemu import UnsupportedError
from floatemu.errors import FileError

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]
nn = torch.nn

from torch_models import NAMES, make  # noqa: E402
from torch_runs import Widened, wide  # noqa: E402

from analysis.torch.calls import same_bits  # noqa: E402
from analysis.torch.keeping import Keeper  # noqa: E402
from analysis.torch.private import plain_kernels  # noqa: E402

# An epsilon that the noise of gradients that are zero in exact arithmetic, those of keys' biases, does not reach.
OPTIMISERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, eps=1e-4),
    "adamw, many tensors at once": lambda p: torch.optim.AdamW(p, 0.01, eps=1e-4, foreach=True),
    "adamw, one kernel": lambda p: torch.optim.AdamW(p, 0.01, eps=1e-4, fused=True),
}


def _norm(x: Any) -> float:
    return float(np.linalg.norm(x))


@pytest.mark.parametrize("name", NAMES)
def test_the_tape_of_a_watched_step_is_an_independent_float64_run(name: str, tmp_path: Path) -> None:
    case = make(name)
    double = copy.deepcopy(case.module).double()
    with plain_kernels():
        with Widened():
            wanted = case.run(double, wide)
            wanted.backward()
        with an.watch(case.module, every=1, out=tmp_path / "run") as w, w.step():
            case.run().backward()
            case.module.zero_grad()  # gradients are gone when the step ends
    tape, path, manifest = read_tape(tmp_path / "run")
    assert (path, manifest["tape_limit"]) == (tmp_path / "run" / "tapes" / "first.npz", 2**28)
    assert tape.meta["opaque"] == tape.meta["drawn"] == tape.meta["escapes"] == {}
    assert tape.meta["watched"] == {"step": 0, "kind": "first", "policy": None}
    run = an.replay(tape, an.Float64())
    assert abs(run.value("loss").item() - wanted.item()) <= 1e-14 * abs(wanted.item())
    gradients = {key: one.grad.numpy() for key, one in double.named_parameters() if one.grad is not None}
    assert [key for key in tape.targets if key.startswith("grad:")] == [f"grad:{key}" for key in gradients]
    whole = np.sqrt(sum(_norm(one) ** 2 for one in gradients.values()))
    for key, one in gradients.items():
        assert _norm(run.value(f"grad:{key}") - one) <= 1e-14 * max(_norm(one), 1e-3 * whole), key
    if name != "gradient penalty":  # whose loss runs the backward pass within
        modules = {"", "loss", *(key for key, _ in case.module.named_modules())}
        places = {node.path for node in tape.nodes if not node.leaf}
        assert places <= modules | {key for key, _ in case.module.named_parameters()}


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_tape_goes_through_scaling_clipping_and_the_optimisers_step(
    name: str, scaled: bool, tmp_path: Path
) -> None:
    case = make("encoder")
    optimiser = OPTIMISERS[name](case.module.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=scaled)

    def step() -> None:
        scaler.scale(case.run()).backward()
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(case.module.parameters(), 0.5)
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad()

    step()
    with an.watch(case.module, every=1, out=tmp_path / "run") as w, w.step():
        step()
        found = {key: w.shadow(one).numpy() for key, one in case.module.named_parameters()}
    tape, _, _ = read_tape(tmp_path / "run")
    assert set(tape.meta["opaque"]) <= {"aten._amp_update_scale_"}
    run = an.replay(tape, an.Float64())
    for key, one in found.items():
        assert _norm(run.value(f"new:{key}") - one) <= 1e-13 * _norm(one), key


def _train(watch: Callable[[Any], Any]) -> list[Any]:
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.GELU(), nn.Linear(8, 3))
    optimiser = torch.optim.AdamW(net.parameters(), 0.01)
    losses = []
    with watch(net) as w:
        for _ in range(4):
            with torch.autocast("cpu", torch.bfloat16), w.step():
                loss = nn.functional.cross_entropy(net(torch.randn(6, 4)), torch.arange(6) % 3)
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
            losses.append(loss.detach())
    return [*losses, *net.parameters(), torch.get_rng_state()]


def test_training_has_the_bits_it_has_without_and_draws_are_the_programs(tmp_path: Path) -> None:
    plain = _train(lambda net: an.watch(net, every=100))
    kept = _train(lambda net: an.watch(net, every=2, out=tmp_path / "run"))
    assert all(same_bits(x, y) for x, y in zip(plain, kept, strict=True))
    tape, _, _ = read_tape(tmp_path / "run")
    assert tape.meta["drawn"] == {"aten.randn": 1, "aten.bernoulli_": 1}
    mask = next(one for one in tape.data.values() if one.shape == (6, 8))
    assert set(np.unique(mask)) <= {0.0, 1.0, np.float64(np.float32(1 / 0.7))}
    assert an.replay(tape, an.Float64()).value("loss").item() == pytest.approx(plain[0].item(), rel=0.02)


class Steep(nn.Module):
    """Numbers near one whose gradient binary16 cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.last(torch.tanh(self.first(x) * 2.0**-10) * 2.0**13)


def _loss(scale: float) -> Callable[[Any], Any]:
    return lambda y: y.mean() * scale


def _steep(folder: Path, scale: float = 2.0**11) -> tuple[Any, Any, Any]:
    torch.manual_seed(1)
    net, x = Steep(), torch.randn(16, 4)
    before = copy.deepcopy(net)
    optimiser = torch.optim.SGD(net.parameters(), 2.0**-10)
    with an.watch(net, "binary16", every=1, out=folder) as w, w.step():
        _loss(scale)(net(x)).backward()
        optimiser.step()
    return before, x, w


def test_a_run_that_fails_in_fp16_gets_what_cures_it_as_its_record_does(tmp_path: Path) -> None:
    net, x, w = _steep(tmp_path / "run")
    assert w.first_nonfinite is not None
    found = run_advise(tmp_path / "run")  # in the policy that was watched
    assert (found["policy"], found["tape"]["meta"]["watched"]["kind"]) == ("binary16", "nonfinite")
    assert found["baseline"]["bits"] == 0
    best = found["options"][0]
    assert best["verdict"] == "better"
    assert best["effect"]["rel_error"] < 2.0**-7
    scale = next(one["mitigation"] for one in found["options"] if one["mitigation"].startswith("loss_scale"))
    _, _, cured = _steep(tmp_path / "again", 2.0**11 * 2.0 ** int(scale.partition("^")[2]))
    assert cured.first_nonfinite is None
    optimiser = torch.optim.SGD(net.parameters(), 2.0**-10)
    recorded = an.record(net, x, loss=_loss(2.0**11), optimizer=optimiser)
    other = advise(recorded, "binary16")
    assert list(recorded.targets) == list(read_tape(tmp_path / "run")[0].targets)
    assert other.target == found["target"]
    assert [one.mitigation for one in other.options] == [one["mitigation"] for one in found["options"]]
    assert [one.effect.bits for one in other.options] == [one["effect"]["bits"] for one in found["options"]]


def test_the_first_infinity_made_is_kept_beside_the_first_step_and_preferred(tmp_path: Path) -> None:
    net = nn.Linear(2, 1)
    with an.watch(net, "binary16", every=1, out=tmp_path / "run") as w:
        for factor in (1.0, 1.0, 1e5, 1e6):
            with w.step():
                net.zero_grad()
                (net(torch.ones(1, 2)).sum() * factor).backward()
    assert sorted(one.name for one in (tmp_path / "run" / "tapes").glob("*.npz")) == ["first.npz", "nonfinite.npz"]
    tape, path, _ = read_tape(tmp_path / "run")
    assert (path.name, tape.meta["watched"]) == (
        "nonfinite.npz",
        {"step": 2, "kind": "nonfinite", "policy": "binary16"},
    )
    assert an.Tape.load(path.with_name("first.npz")).meta["watched"]["step"] == 0


def test_a_step_that_began_with_no_number_does_not_count(tmp_path: Path) -> None:
    net = nn.Linear(2, 1)
    with an.watch(net, every=1, out=tmp_path / "run") as w:
        for _ in range(2):
            with w.step():
                net(torch.ones(1, 2)).sum().backward()
            with torch.no_grad():
                net.bias.fill_(torch.nan)
    assert w.first_nonfinite is not None
    assert [one.name for one in (tmp_path / "run" / "tapes").glob("*.npz")] == ["first.npz"]


def _watched(folder: Path, **options: Any) -> Path:
    net = nn.Linear(2, 1)
    with an.watch(net, "bf16", every=1, out=folder, **options) as w, w.step():
        net(torch.ones(1, 2)).sum().backward()
    return folder


def test_why_a_step_has_no_tape_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="without a tape: none was written, under tape_limit=0; accepted: the folder"):
        read_tape(_watched(tmp_path / "none", tape_limit=0))
    with pytest.raises(
        FileError, match="of step 0 none was made: its numbers take more than the 40 bytes of tape_limit"
    ):
        read_tape(_watched(tmp_path / "small", tape_limit=40))
    with an.watch(nn.Linear(2, 1), every=1, out=tmp_path / "forward") as w, w.step():
        w._module(torch.ones(1, 2))
    with pytest.raises(FileError, match="of step 0 none was made: it has no backward pass"):
        read_tape(tmp_path / "forward")
    monkeypatch.setattr(Keeper, "tape", lambda *_, **__: 1 // 0)
    with pytest.raises(FileError, match="none was made: ZeroDivisionError: integer division or modulo by zero"):
        read_tape(_watched(tmp_path / "failed"))  # and the training went on
    for wrong in (-1, True, 0.5):
        with pytest.raises(UnsupportedError, match=f"tape_limit={wrong!r}; accepted: an integer >= 0, in bytes"):
            an.watch(nn.Linear(2, 1), tape_limit=wrong)


def test_a_step_that_raises_after_its_backward_pass_is_kept(tmp_path: Path) -> None:
    net = nn.Linear(2, 1)

    def train() -> None:
        with an.watch(net, "binary16", every=1, out=tmp_path / "run") as w, w.step():
            (net(torch.ones(1, 2)).sum() * 1e5).backward()
            raise FloatingPointError("no number")

    with pytest.raises(FloatingPointError, match="no number"):
        train()
    assert list(read_tape(tmp_path / "run")[0].targets) == ["result", "loss", "grad:weight", "grad:bias"]


class Own(torch.Tensor):
    """A tensor of a class of its own, as libraries of images have."""


def test_inputs_are_leaves_by_role_and_those_of_other_classes_are_found(tmp_path: Path) -> None:
    net = nn.Linear(2, 1)
    for kind, role in ((torch.Tensor, "input"), (Own, "constant")):
        net.zero_grad()
        x = torch.full((1, 2), 5.0).as_subclass(kind)
        with an.watch(net, every=1, out=tmp_path / role) as w, w.step():
            net(x).sum().backward()
        tape = read_tape(tmp_path / role)[0]
        (leaf,) = (node for node in tape.nodes if node.leaf and np.array_equal(tape.data[node.id], [[5.0, 5.0]]))
        assert leaf.op == role


def test_the_command_advises_on_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = _watched(tmp_path / "run")
    assert main(["advise", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["policy"], found["target"]) == (True, "bfloat16", "grad:weight")
    assert found["tape"]["path"] == str(folder / "tapes" / "first.npz")
    assert main(["advise", str(folder), "--format", "e5m2", "--json"]) == 0  # another arithmetic than was watched
    assert json.loads(capsys.readouterr().out)["policy"] == "e5m2"
    assert main(["advise", str(folder)]) == 0
    assert "Step 0 under watch, the first one sampled" in capsys.readouterr().out


def _hostile(folder: Path, name: str, content: bytes | None) -> None:
    file = folder / name
    file.unlink() if content is None else file.write_bytes(content)


HOSTILE: dict[str, tuple[str, bytes | None, str]] = {
    "a missing tape": ("tapes/first.npz", None, "of step 0 none was made: None"),
    "an empty tape": ("tapes/first.npz", b"", "the file is empty"),
    "a truncated tape": ("tapes/first.npz", b"PK\x03\x04 and no more", "not a readable .npz file"),
    "a nested manifest": ("watch.json", b"[" * 100_000, "not of the log of a watch"),
    "a large manifest": ("watch.json", b" " * (1 << 21), "is larger than any that a watch writes"),
    "a manifest of another schema": ("watch.json", b'{"schema": "x/1"}', "has schema 'x/1'"),
    "a policy that is none": (
        "watch.json",
        b'{"schema": "floatemu.watch/1", "policy": ["bf16"]}',
        "does not say which arithmetic gave trouble",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_folder_is_one_clear_error(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, content, message = HOSTILE[name]
    folder = _watched(tmp_path / "run")
    _hostile(folder, file, content)
    assert main(["advise", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
    assert main(["advise", str(folder), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_a_kept_tape_needs_no_torch_to_be_read(tmp_path: Path) -> None:
    log = Log(tmp_path / "run", {"policy": "fp16"})
    log.keep("first", 0, an.nets.mlp((64, 8, 10), "tanh", batch=4))
    log.close()
    assert run_advise(tmp_path / "run")["tape"]["name"] == "mlp"
