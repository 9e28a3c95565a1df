"""Cases of the lab: what is accepted, what is refused and how, and what comes of one."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from typing import Any

import pytest

from analysis.experiments import FAILURES, METRICS, Case, applies, metric, run_case
from analysis.mitigations import MITIGATIONS, NotApplicable, on_tape, parse
from analysis.nets import mlp
from analysis.policy import Policy
from floatemu.errors import UnsupportedError

SMALL = Case("mlp", {"sizes": (64, 8, 10), "activation": "tanh"}, policy="bf16", steps=3, batch=8)


@pytest.mark.parametrize("case", [SMALL, *(failure.case for failure in FAILURES.values())])
def test_cases_survive_json_pickle_and_hashing(case: Case) -> None:
    changed = replace(case, mitigations=("clip_norm:0.5",), seed=7)
    text = json.dumps(changed.to_json())
    assert Case.from_json(json.loads(text)) == changed
    assert pickle.loads(pickle.dumps(changed)) == changed  # noqa: S301
    assert len({case, changed, Case.from_json(json.loads(text))}) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mlp", "a case is str; accepted: a mapping with net, args"),
        ({"model": "mlp"}, "a case has no 'model'; accepted: net, args, data"),
        ({"net": "resnet"}, "net='resnet'; accepted: mlp, residual_mlp"),
        ({"net": "chain"}, "net='chain'; accepted: mlp"),
        ({"net": ["mlp"]}, r"net=\['mlp'\]; accepted"),
        ({"args": {"depth": 3}}, "mlp takes no argument 'depth'; accepted: sizes, activation"),
        ({"args": {"seed": 3}}, "mlp takes no argument 'seed'"),
        ({"args": [1, 2]}, r"args=\[1, 2\]; accepted: a mapping"),
        ({"args": {"sizes": [64, 10**6, 10]}}, "accepted: at most 64 numbers of at most 2048"),
        ({"args": {"sizes": [64] * 100}}, "accepted: at most 64 numbers"),
        ({"args": {"sizes": {"a": 1}}}, "accepted: numbers, words, true, false"),
        ({"net": "rnn", "data": "digits"}, "data='digits' for rnn; accepted: synthetic, copy:N"),
        ({"net": "rnn", "data": "copy:0"}, "data='copy:0' for rnn"),
        ({"net": "rnn", "data": "copy:-1"}, "data='copy:-1' for rnn"),
        ({"data": "/etc/passwd"}, "data='/etc/passwd' for mlp; accepted: digits"),
        ({"policy": "fp12"}, "no policy is named 'fp12'"),
        ({"policy": None}, "not a name; accepted: torch_amp"),
        ({"policy": "mixed:bf16:fp12"}, "no policy is named 'mixed:bf16:fp12'"),
        ({"mitigations": "clip_norm"}, "mitigations='clip_norm'; accepted: a list of names"),
        ({"mitigations": None}, "mitigations=None; accepted: a list of names"),
        ({"mitigations": [3]}, r"mitigations=\[3\]; accepted: a list of names"),
        ({"mitigations": ["prayer"]}, "mitigation 'prayer'; accepted: "),
        ({"mitigations": ["clip_norm:many"]}, "limit='many' is no number, as in 0.5 or 2"),
        ({"mitigations": ["clip_norm:9^999"]}, "is no number"),
        ({"mitigations": ["layer_norm:3"]}, "layer_norm has no '3'; accepted: no number"),
        ({"seed": -1}, "seed=-1; accepted: an integer"),
        ({"steps": 0}, "steps=0; accepted: an integer, 1..100000"),
        ({"steps": 10**9}, "steps=1000000000; accepted"),
        ({"batch": True}, "batch=True; accepted: an integer, 1..4096"),
        ({"optimizer": "lion"}, "optimizer='lion'; accepted: sgd"),
        ({"optimizer": None}, "optimizer=None; accepted: an optimiser"),
    ],
)
def test_what_is_no_case_is_refused_with_what_is_accepted(given: Any, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        Case.from_json(given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip_norm:-1", "clip limit=-1.0; accepted: a finite number above 0"),
        ("learning_rate:0", "factor=0.0; accepted: a finite number above 0"),
        ("loss_scale:nan", "scale=nan; accepted"),
        ("gradient_accumulation:parts=3", "a batch of 8 cannot be cut into 3 equal parts"),
        ("gradient_accumulation:parts=0", "parts=0; accepted: an integer, 1..4096"),
        ("gradient_accumulation:order=sideways", "order='sideways' is not an order of addition"),
        ("chunked_accumulation", "bfloat16 rounds each sum once: it has no accumulator"),
        ("adam_epsilon", "the optimiser is sgd, which has no epsilon"),
        ("residual_scaling", "mlp is built without branch_scale"),
    ],
)
def test_mitigations_that_cannot_work_say_why(text: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        replace(SMALL, mitigations=(text,)).setup()


def test_applying_says_what_stands_against_it() -> None:
    assert applies("autocast", replace(SMALL, policy="binary32")) == "binary32 computes in binary32 already"
    assert applies("kahan_updates", replace(SMALL, optimizer="adamw")) == (
        "AdamW multiplies the weights themselves, which is no addition to compensate"
    )
    assert applies("xavier_init", SMALL) == "nothing changes: the case is so already"
    assert applies("he_init", SMALL) is None


def test_tapes_take_what_needs_no_loop_and_no_other_net() -> None:
    tape, policy = mlp((64, 8, 10), "tanh", batch=4), Policy.named("mixed:binary16:binary16")
    for name, found in MITIGATIONS.items():
        if found.level == "policy" or name == "loss_scale":
            changed, other = on_tape(name, tape, policy)
            assert (changed is tape) == (name != "loss_scale")
            assert (other is policy) == (name == "loss_scale")
        else:
            with pytest.raises(NotApplicable, match=f"{name} needs (another net|a training loop)"):
                on_tape(name, tape, policy)


@pytest.mark.parametrize("name", MITIGATIONS)
def test_each_says_what_it_can_and_cannot_fix_and_where_that_comes_from(name: str) -> None:
    found = MITIGATIONS[name]
    assert len(found.text) > 120
    assert found.text.endswith(".")
    assert any(mark in found.source for mark in ("19", "20"))  # a year
    assert parse(name) == (found, {})


@pytest.mark.parametrize(
    "text", ["", "clip_norm:0.5", "stochastic_rounding", "loss_scale:2^12", "gradient_accumulation"]
)
def test_a_case_gives_the_same_bits_every_time_and_is_json(text: str) -> None:
    case = replace(SMALL, mitigations=tuple(filter(None, [text])))
    first, second = (json.dumps(run_case(case), sort_keys=True) for _ in range(2))
    assert first == second
    found = json.loads(first)
    assert found.keys() >= {
        "gradient_rel_error", "events", "growth", "lost_updates", "loss", "accuracy", "diverged_at", "diagnosis",
    }  # fmt: skip
    assert len(found["loss"]) == 4
    assert all(math.isfinite(metric(name, found)) for name in METRICS)
    if text == "stochastic_rounding":
        assert json.dumps(run_case(replace(case, seed=1)), sort_keys=True) != first


def test_in_binary64_nothing_is_lost() -> None:
    found = run_case(replace(SMALL, policy="binary64"))
    assert found["gradient_rel_error"] == {"free": 0.0, "pinned": 0.0}
    assert found["loss"] == found["reference"]["loss"]
    assert (metric("loss_gap", found), metric("range_loss", found), metric("lost_updates", found)) == (0.0, 0.0, 0.0)
    assert found["diagnosis"] is None


def test_the_diagnosis_looks_where_training_broke() -> None:
    adam = run_case(FAILURES["adam_epsilon"].case)
    assert adam["diagnosis"].startswith("step 0: the optimiser's div made inf (inf_born, ")
    assert adam["diverged_at"] == 1
    assert metric("test_loss", adam) == math.inf
    lost = run_case(replace(FAILURES["stagnation"].case, steps=5))
    assert lost["diagnosis"].endswith("of the updates did not move their weight")


def test_a_metric_that_is_none_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="metric='speed'; accepted: gradient_error, range_loss"):
        metric("speed", {})
