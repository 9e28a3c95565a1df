"""Models of a user's own on the command line: one error for whatever goes wrong, one object for what goes right."""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from analysis.cli import main
from floatemu import UnsupportedError

pytest.importorskip("torch.nn", reason="torch is not installed")

from analysis.torch.factory import made

MODEL = """
import torch
from torch import nn

def make(width=8, opaque=False):
    net = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))
    loss = lambda y: nn.functional.cross_entropy((0.1 * y).erfinv() if opaque else y, torch.arange(5) % 3)
    return net, torch.randn(5, 4), loss, torch.optim.SGD(net.parameters(), 0.1)

def named():
    net = nn.Bilinear(2, 3, 1)
    return net, {"input1": torch.ones(1, 2), "input2": torch.ones(1, 3)}, lambda y: y.sum()

def number(): return 3
def pair(): return nn.Linear(1, 1), torch.ones(1, 1)
def no_module(): return 1, torch.ones(1, 1), None
def no_inputs(): return nn.Linear(1, 1), "x", None
def no_loss(): return nn.Linear(1, 1), torch.ones(1, 1), 2.0
def no_optimizer(): return nn.Linear(1, 1), torch.ones(1, 1), None, 2.0
def raises(): raise ValueError("out\\nof luck")
def commands(): raise ValueError("\x1b[31mred\x9b0m\x07")
def paints():
    net = nn.Sequential()
    net.add_module("\x1b[31mred", nn.Linear(4, 3))
    return net, torch.ones(2, 4), lambda y: y.sum()
def leaves(): raise SystemExit(0)
def shapes(): return nn.Linear(3, 2), torch.ones(2, 4), None
def vector(): return nn.Linear(4, 2), torch.ones(2, 4), lambda y: y
thing = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module and a package."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users_model.py").write_text(MODEL)
    (tmp_path / "broken_model.py").write_text("def make(:\n")
    for name in ("users_model", "broken_model"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def _trace(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, object]]:
    status = main(["trace", *words, "--format", "bf16", "--reference", "float64", "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_factory_is_traced(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads(resources.files("analysis.schemas").joinpath("trace.json").read_text())
    for spec in ("users_model:make", "users_model.py:make"):
        status, found = _trace(capsys, "--torch", spec, "--arg", "width=4", "--target", "new:0.weight", "--seed", "3")
        assert status == 0
        jsonschema.validate(found, schema)
        assert found["net"]["name"] == spec
        assert (found["schema"], found["seed"]) == ("floatemu.trace/1", 3)
        assert found["runs"][0]["target"]["name"] == "new:0.weight"
        shapes = {tuple(node["shape"]) for node in found["runs"][0]["nodes"]}
        assert (4, 4) in shapes
        assert (8, 4) not in shapes
    assert _trace(capsys, "--torch", "users_model:named")[0] == 0


def test_what_is_opaque_is_named_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trace", "--torch", "users_model:make", "--arg", "opaque=true", "--format", "bf16"]
    assert main([*words, "--reference", "float64"]) == 0
    assert "without a rule, constants here: aten.erfinv (2)" in capsys.readouterr().out


def test_what_a_model_says_does_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["trace", "--torch", "users_model:commands", "--format", "bf16"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert r"ValueError: \x1b[31mred\x9b0m\x07" in said
    assert said.replace("\n", "").isprintable()
    assert main([*words, "--json"]) == 2
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "\x1b[31mred\x9b0m\x07" in json.loads(out)["error"]["message"]
    assert main(["trace", "--torch", "users_model:paints", "--format", "bf16", "--reference", "float64"]) == 0
    page = capsys.readouterr().out
    assert r"\x1b[31mred" in page
    assert page.replace("\n", "").isprintable()


BAD = {
    "users_model:number": "returned int; accepted: a tuple (module, inputs, loss) or",
    "users_model:pair": "returned 2 values; accepted",
    "users_model:no_module": "returned int as the module",
    "users_model:no_inputs": "returned str as inputs",
    "users_model:no_loss": "returned float as the loss",
    "users_model:no_optimizer": "returned float as the optimizer",
    "users_model:raises": "raised ValueError: out of luck (users_model.py:",
    "users_model:leaves": "raised SystemExit: 0",
    "users_model:shapes": "running the model of 'users_model:shapes' raised RuntimeError: ",
    "users_model:vector": "the loss is a tensor of shape (2, 2); accepted",
    "users_model:nothing": "'users_model' has no function 'nothing'",
    "users_model:thing": "'users_model' has no function 'thing'",
    "no_such_model:make": "importing 'no_such_model' raised ModuleNotFoundError",
    "broken_model:make": "importing 'broken_model' raised SyntaxError",
    "nowhere.py:make": "there is no file 'nowhere.py'",
    "users_model": "'users_model' names no function; accepted: MODULE:FUNCTION or FILE.py:FUNCTION",
    ":make": "names no function",
}


@pytest.mark.parametrize("spec", BAD)
def test_whatever_goes_wrong_is_one_error(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = _trace(capsys, "--torch", spec)
    assert status == 2
    error = found["error"]
    assert BAD[spec] in error["message"]
    assert "\n" not in error["message"]
    assert error["given"]
    assert error["hint"]


def test_wrong_arguments_and_options_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = _trace(capsys, "--torch", "users_model:make", "--arg", "depth=3")
    assert status == 2
    assert "raised TypeError: make() got an unexpected keyword argument 'depth'" in found["error"]["message"]
    for words in (["--net", "cnn"], ["--data", "digits"]):
        status, found = _trace(capsys, "--torch", "users_model:make", *words)
        assert status == 2
        assert "goes with neither --net nor --data" in found["error"]["message"]


def test_arguments_that_are_numbers_are_numbers() -> None:
    (Path("users_model.py")).write_text("def make(**given): raise KeyError(repr(given))")
    with pytest.raises(UnsupportedError, match=r"\{'a': 3, 'b': 0.5, 'c': True, 'd': None, 'e': 'gelu'\}"):
        made("users_model.py:make", {"a": "3", "b": "5e-1", "c": "true", "d": "none", "e": "gelu"}, 0)
