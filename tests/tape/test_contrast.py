"""Two analyses side by side."""

from __future__ import annotations

import json
import math

import pytest

import analysis as an
import floatemu as fe


def test_more_precision_keeps_more_bits_and_the_shares_are_each_analysis_s_own() -> None:
    tape = an.nets.mlp((64, 16, 10), "tanh", batch=8)
    coarse, fine = an.analyze(tape, "bf16", "float64"), an.analyze(tape, "binary16", "float64")
    found = an.compare(coarse, fine)
    for target in tape.targets:
        assert found.gain(target) == fine.target(target).bits - coarse.target(target).bits
    for index, one in enumerate((coarse, fine)):
        parts = one.attribution("grad:W0", "error")
        assert math.isclose(sum(pair[index] for pair in found.shares.values()), parts.sum / parts.exact, rel_tol=1e-12)
    text = str(found)
    assert f"grad:W0: {found.gain('grad:W0'):.3g}"[:12] in text
    assert "bits more" in text


def test_events_that_come_and_go_are_counted() -> None:
    tape = an.nets.chain(1e5, 0.25, 10)
    found = an.compare(an.analyze(tape, "bfloat16"), an.analyze(tape, "binary16"))
    assert found.events["overflow"] == (0, 1)
    assert found.gain("result") == -math.inf
    assert "overflow: 0 elements in bfloat16, 1 in binary16" in str(found)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["gains"]["result"] == "-inf"


def test_two_tapes_are_named_apart() -> None:
    small, large = an.nets.mlp((64, 8, 10), batch=4), an.nets.mlp((64, 16, 10), batch=4)
    found = an.compare(*(an.analyze(tape, "bf16", "float64") for tape in (small, large)))
    assert found.names == ("mlp in bfloat16", "mlp in bfloat16")
    with pytest.raises(fe.UnsupportedError, match="no target in common"):
        an.compare(an.analyze(small, "bf16", "float64"), an.analyze(an.nets.chain(1.0, 0.5, 2), "bf16", "float64"))
    with pytest.raises(fe.UnsupportedError, match="accepted: logits, loss"):
        found.gain("grad:W9")
