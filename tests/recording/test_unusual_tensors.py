"""Tensors that are not what they seem: signs turned in a view, bits seen as other numbers, shapes without numbers."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.watchlog import read_tape

pytest.importorskip("torch.nn", reason="torch is not installed")
torch = sys.modules["torch"]
nn = torch.nn

from torch_models import Around  # noqa: E402
from torch_runs import wide  # noqa: E402

from analysis.torch import capture  # noqa: E402
from analysis.torch.calls import ref_of, same_bits, tensor_at, whole  # noqa: E402


def _rotated(y: Any) -> Any:
    """Rotary embedding as Meta's Llama has it: pairs as complex numbers."""
    angles = torch.polar(torch.ones(2, dtype=y.dtype), torch.arange(2, dtype=y.dtype))
    return torch.view_as_real(torch.view_as_complex(y.reshape(-1, 2, 2)) * angles).flatten(1)


def _turned_in_place(y: Any) -> Any:
    pairs = torch.view_as_complex(y.reshape(-1, 2, 2)).clone()
    seen = torch.view_as_real(pairs)
    pairs.mul_(2j)
    return seen.flatten(1) + pairs.conj().imag.repeat(1, 2) + pairs.resolve_conj().real.sum()


def _bits(y: Any) -> Any:
    # the power of two below: the exponent's bits alone
    power = (y.float().view(torch.int32) & 0x7F800000).view(torch.float32)
    return y * power.to(y.dtype)


def _forward_mode(y: Any) -> Any:
    return torch.func.jvp(lambda z: z.tanh(), (y,), (torch.ones_like(y),))[1]


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")  # torch.func uses it itself
UNUSUAL = {"complex": _rotated, "complex, in place": _turned_in_place, "bits": _bits, "forward mode": _forward_mode}


def _case(name: str) -> tuple[Around, Any]:
    torch.manual_seed(2)
    return Around(UNUSUAL[name]), torch.randn(3, 4)


@pytest.mark.parametrize("decompose", [True, False])
@pytest.mark.parametrize("name", UNUSUAL)
def test_calls_replay_bit_for_bit(name: str, decompose: bool) -> None:
    module, x = _case(name)
    assert capture(module, x, loss=lambda y: y.tanh().mean(), decompose=decompose).replay() == []


@pytest.mark.parametrize("name", UNUSUAL)
def test_the_shadow_is_an_independent_float64_run_or_says_what_it_took_over(name: str) -> None:
    module, x = _case(name)
    double = copy.deepcopy(module).double()
    wanted = double(wide(x)).tanh().mean()
    wanted.backward()
    with an.watch(module, every=1) as w, w.step():
        loss = module(x).tanh().mean()
        loss.backward()
        found, gradient = w.shadow(loss), w.shadow(module.layer.weight.grad)
    # bits of binary32 are the program's own, and so is what is computed with them
    assert set(w.seeded) == ({"aten.bitwise_and", "aten.mul"} if name == "bits" else set())
    bound = 1e-6 if name == "bits" else 1e-14
    assert abs(found - wanted) <= bound * abs(wanted)
    assert (gradient - double.layer.weight.grad).norm() <= bound * gradient.norm()


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_a_tape_cannot_express_has_the_programs_numbers(name: str) -> None:
    module, x = _case(name)
    tape = an.record(module, x, loss=lambda y: y.tanh().mean())
    assert bool(tape.meta["opaque"]) == (name != "forward mode")
    with torch.no_grad():
        wanted = module(x).tanh().mean().double().item()
    assert abs(an.replay(tape, an.Float64()).value("loss").item() - wanted) <= 1e-6 * abs(wanted)


def test_a_place_tells_how_signs_are_turned() -> None:
    given = torch.randn(3, dtype=torch.complex64)
    for tensor in (given, given.conj(), given.conj().imag, given.conj()[1:]):
        ref = ref_of(tensor, 7)
        assert same_bits(tensor_at({7: whole(tensor).clone()}, ref), tensor)
    assert torch.equal(whole(given.conj()), given)


def test_gradients_of_complex_parameters_are_no_targets_of_a_tape() -> None:
    torch.manual_seed(2)
    module = Around(lambda y: y)
    module.weight = nn.Parameter(torch.randn(4, dtype=torch.complex64))
    module.function = lambda y: (y * module.weight).abs()
    tape = an.record(module, torch.randn(3, 4), loss=lambda y: y.mean())
    assert module.weight.grad is not None
    assert [name for name in tape.targets if name.startswith("grad:")] == ["grad:layer.weight", "grad:layer.bias"]
    assert tape.meta["opaque"]["aten.abs"] >= 1


@pytest.mark.parametrize("name", UNUSUAL)
def test_a_watched_step_becomes_a_tape(name: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    module, x = _case(name)
    module.phase = nn.Parameter(torch.ones(3, dtype=torch.complex64))
    with an.watch(module, "bf16", every=1, out=tmp_path / "run") as w, w.step():
        y = module(x)
        (y.tanh().mean() + (module.phase * y[:, 0]).abs().mean()).backward()
    tape, _, _ = read_tape(tmp_path / "run")
    assert list(tape.targets) == ["result", "loss", "grad:layer.weight", "grad:layer.bias"]
    found = an.replay(tape, an.Float64()).value("result")
    assert np.linalg.norm(found - y.detach().double().numpy()) <= 1e-6 * np.linalg.norm(found)
