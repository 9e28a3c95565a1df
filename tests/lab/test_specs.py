"""Experiments in YAML: what a user writes is taken or clearly refused, what a stranger smuggles in is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="needs the extra: lab")

from analysis.experiments import FAILURES, METRICS
from analysis.lab.plan import plan_from, standard_plan
from analysis.lab.specs import SpecError, parse_yaml, read_yaml
from floatemu.errors import FloatEmuError

GOOD = """
name: my experiments
seeds: [3, 5]
experiments:
  - failure: flips
    mitigations: [layer_norm, [layer_norm, "clip_norm:0.5"]]
  - name: mine
    net: mlp
    args: {sizes: [64, 8, 10], activation: tanh}
    policy: bf16
    steps: 2
    batch: 8
    optimizer: "sgd:lr=0.1"
    metric: gradient_error
    mitigations: [clip_norm]
"""
DEEP = "a: " + "[" * 200 + "]" * 200
LAUGHS = "\n".join(
    ["a: &a [x, x]", *(f"{name}: &{name} [*{old}, *{old}]" for old, name in zip("abcdefgh", "bcdefghi"))]
)
HOSTILE = {
    "python object": "name: !!python/object/apply:os.system ['echo hacked']",
    "python name": "name: !!python/name:os.system",
    "python module": "name: !!python/module:os",
    "own tag": "name: !mine 1",
    "billion laughs": LAUGHS,
    "alias": "a: &x 1\nb: *x",
    "alias of itself": "a: &x [*x]",
    "merge": "<<: {a: 1}",
    "deep lists": DEEP,
    "deep flow that never ends": "[" * 100_000,
    "repeated key": "name: a\nname: b",
    "key that is no word": "1: a",
    "list as key": "? [a]\n: b",
    "binary": "name: !!binary aGVsbG8=",
    "date": "name: 2001-01-01",
    "set": "name: !!set {a, b}",
    "integer without end": f"seeds: {'9' * 5000}",
    "hexadecimal integer without end": f"seeds: 0x{'f' * 9000}",
    "no YAML": "{",
    "control characters": "a: \x00",
    "long": "# " + "x" * 200_000,
}
WRONG = {
    "nothing": "",
    "a list": "[1, 2]",
    "unknown key": "experiment: []",
    "no experiments": "name: a",
    "no experiment": "experiments: []",
    "unknown key of an experiment": "experiments: [{failure: flips, mitigation: [clip_norm]}]",
    "unknown failure": "experiments: [{failure: plague}]",
    "unknown net": "experiments: [{net: unet, metric: gradient_error}]",
    "unknown argument": "experiments: [{net: mlp, args: {depth: 3}, metric: gradient_error}]",
    "unknown policy": "experiments: [{net: mlp, policy: e4m9, metric: gradient_error}]",
    "unknown metric": "experiments: [{net: mlp, metric: beauty}]",
    "unknown mitigation": "experiments: [{failure: flips, mitigations: [prayer]}]",
    "mitigation that is a number": "experiments: [{failure: flips, mitigations: [1]}]",
    "mitigations that are a word": "experiments: [{failure: flips, mitigations: some}]",
    "mitigation that does not apply": "experiments: [{failure: flips, mitigations: [adam_epsilon]}]",
    "failure with a case": "experiments: [{failure: flips, net: mlp}]",
    "huge net": "experiments: [{net: mlp, args: {sizes: [64, 1000000000, 10]}, metric: gradient_error}]",
    "many layers": f"experiments: [{{net: mlp, args: {{sizes: {[64] * 5000}}}, metric: gradient_error}}]",
    "endless training": "experiments: [{net: mlp, steps: 1000000000000, metric: gradient_error}]",
    "huge batch": "experiments: [{net: mlp, batch: 1000000000, metric: gradient_error}]",
    "too many seeds": "seeds: 100000\nexperiments: [{failure: flips}]",
    "no seeds": "seeds: 0\nexperiments: [{failure: flips}]",
    "negative seed": "seeds: [-1]\nexperiments: [{failure: flips}]",
    "equal seeds": "seeds: [1, 1]\nexperiments: [{failure: flips}]",
    "seeds that are a word": "seeds: many\nexperiments: [{failure: flips}]",
    "true as a seed": "seeds: true\nexperiments: [{failure: flips}]",
    "too many cases": "seeds: 1000\nexperiments: [{failure: flips}]",
    "equal names": "experiments: [{failure: flips}, {failure: flips}]",
    "healthy that is a word": "experiments: [{failure: flips, healthy: well}]",
    "a name that is a list": "name: [a]\nexperiments: [{failure: flips}]",
}


def test_what_a_user_writes_is_taken() -> None:
    plan = plan_from(parse_yaml(GOOD))
    assert [row.failure.name for row in plan.rows] == ["flips", "mine"]
    assert [row.combinations for row in plan.rows] == [
        (("layer_norm",), ("layer_norm", "clip_norm:0.5")),
        (("clip_norm",),),
    ]
    cases = plan.cases()
    assert len(cases) == 2 * (3 + 2)
    assert [case.seed for case in cases] == [3, 5] * 5
    assert cases[4].mitigations == ("layer_norm", "clip_norm:0.5")
    assert cases[-1].to_json()["args"] == {"activation": "tanh", "sizes": [64, 8, 10]}
    assert (cases[-1].steps, cases[-1].batch, cases[-1].policy) == (2, 8, "bf16")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_is_refused_at_once(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    began = time.process_time()
    with pytest.raises(SpecError) as caught:
        parse_yaml(text)
    assert time.process_time() - began < 2
    assert 5 < len(str(caught.value)) < 300
    assert "hacked" not in capfd.readouterr().out


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_wrong_specification_is_refused_with_what_is_accepted(text: str) -> None:
    began = time.process_time()
    with pytest.raises(FloatEmuError) as caught:
        plan_from(parse_yaml(text))
    assert time.process_time() - began < 5
    message = str(caught.value)
    assert len(message) < 700
    assert any(word in message for word in ("accepted", "does not apply", "leave out", "give another"))


def test_an_error_says_which_experiment_it_is_about() -> None:
    with pytest.raises(FloatEmuError, match=r"^experiments\[1\]: "):
        plan_from(parse_yaml("experiments: [{failure: flips, mitigations: [layer_norm]}, {failure: plague}]"))


def test_files_are_read_within_limits(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(GOOD)
    assert read_yaml(path)["seeds"] == [3, 5]
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(SpecError, match=r"my\.yaml: no text in UTF-8"):
        read_yaml(path)
    path.write_text("name: !mine 1")
    with pytest.raises(SpecError, match=r"my\.yaml: line 1: "):
        read_yaml(path)
    with pytest.raises(SpecError, match="cannot be read"):
        read_yaml(tmp_path)
    if Path("/dev/zero").exists():
        with pytest.raises(SpecError, match=r"characters|YAML"):
            read_yaml("/dev/zero")


def test_the_standard_matrix_is_small_enough_and_names_every_failure() -> None:
    plan = standard_plan(3)
    assert [row.failure.name for row in plan.rows] == list(FAILURES)
    assert len(FAILURES) == 8
    assert 400 <= len(plan.cases()) <= 600
    assert {row.failure.metric for row in plan.rows} <= set(METRICS)
    for row in plan.rows:
        assert len(row.combinations) + len(row.left_out) == len(plan.rows[0].combinations) + len(plan.rows[0].left_out)
        assert all(row.left_out.values())
