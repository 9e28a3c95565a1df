"""The report's section about bounds: its numbers are those of the bounds, its alarm rings where they say so."""

from __future__ import annotations

import math
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

import analysis as an
from analysis.ops import Builder
from analysis.report import content as contents
from analysis.report.bound_section import ESTIMATES, bounds, bounds_figure
from analysis.report.content import Content, gather
from analysis.report.markup import cell


@pytest.fixture(scope="module")
def content() -> Content:
    policy = an.Policy.mixed("fp16", accumulate="bf16", keep=())
    return gather(an.analyze(an.nets.mlp((64, 8, 10), batch=4), policy, "float64"))


def _swamped(terms: int = 2000) -> Content:
    builder = Builder("swamped")
    builder.target("total", builder.leaf("input", np.ones(terms)).sum(0))
    return gather(an.analyze(builder.build(), an.Policy.mixed("bf16", accumulate="bf16"), "float64"))


def test_every_sum_is_there_with_its_figures(content: Content) -> None:
    found = content.found.bounds
    assert [bound.node for bound in content.bounds] == [bound.node for bound in found]
    shown = unescape(bounds(content, "r0"))
    nearest = max(found, key=lambda bound: bound.used)
    assert f"In all {len(found)} sums and products every element lies within its hard bound" in shown
    assert f"the nearest at {100 * nearest.used:.0f} % of it" in shown
    measured, hard = nearest.nearest
    assert f'{cell(measured)}<td class="n">{cell(hard)}<td class="n">{100 * nearest.used:.0f} %' in shown
    assert measured / hard == pytest.approx(nearest.used, rel=1e-12)
    assert "No bias alarm" in shown


def test_the_figure_draws_measured_errors_below_hard_bounds_and_every_estimate(content: Content) -> None:
    figure = bounds_figure(content)
    assert figure is not None
    traces = {trace["name"]: trace for trace in figure["data"]}
    assert set(traces) == {"measured error", "hard bound", *(f"estimate: {name[0]}" for name in ESTIMATES.values())}
    for node, low, high in zip(traces["hard bound"]["x"], traces["measured error"]["y"], traces["hard bound"]["y"]):
        assert low is None or low <= high, node
    for key, (words, _, _) in ESTIMATES.items():
        for bound, level in zip(content.bounds, traces[f"estimate: {words}"]["y"], strict=True):
            factor = bound.estimates.get(key)
            assert level is None or level == pytest.approx(math.log2(factor or 1.0), abs=1e-3)


def test_the_alarm_rings_where_a_sum_has_stopped() -> None:
    content = _swamped()
    (bound,) = content.bounds
    assert bound.biased
    shown = bounds(content, "r0")
    assert f"Bias alarm at 1 node: roundings lean to one side, at %1 sum (forward) by {abs(bound.drift):.0f}" in shown
    assert f"{abs(bound.drift):.1f} (alarm)" in shown
    figure = bounds_figure(content)
    assert figure is not None
    alarm = next(trace for trace in figure["data"] if trace["name"] == "bias alarm")
    assert alarm["x"] == [1]


def test_a_broken_bound_is_said_to_be_a_defect(content: Content) -> None:
    bound = content.bounds[0]
    wrong = replace(bound, measured=bound.hard * 3)
    shown = bounds(replace(content, bounds=(wrong, *content.bounds[1:])), "r0")
    assert 'class="complete bad"' in shown
    assert f"%{bound.node} {bound.op}: {wrong.complaint}." in shown


def test_long_sums_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch, content: Content) -> None:
    monkeypatch.setattr(contents, "BOUNDS_LIMIT", 10_000)
    few = gather(content.found)
    assert 0 < len(few.bounds) <= 2
    assert few.bounds_left == len(content.bounds) - len(few.bounds)
    assert f"{few.bounds_left} of {len(content.bounds)} sums and products are left out" in bounds(few, "r0")
    monkeypatch.setattr(contents, "BOUNDS_LIMIT", 0)
    none = gather(content.found)
    assert "Nothing to bound: the sums are too long for it here" in bounds(none, "r0")
    assert bounds_figure(none) is None


def test_a_tape_without_sums_has_nothing_to_bound() -> None:
    content = gather(an.analyze(an.nets.chain(1.0, 0.3, 3), "bf16", "float64"))
    assert "Nothing to bound: the tape has no sum or matrix product" in bounds(content, "r0")
