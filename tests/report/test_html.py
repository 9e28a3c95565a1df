"""The HTML report: order and content of its sections, escaping, what it may load, its figures, its size."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import analysis as an
import floatemu as fe
from analysis.dynamics import LossScale
from analysis.ops import Builder
from analysis.report.content import MOST_NODES, gather, stages
from analysis.report.error_figures import depth, heat, policies
from analysis.report.gradient_sections import growth_figure, loss_scale, scale_figure
from analysis.report.histogram import histogram
from analysis.report.markup import bar, cell, script_json
from analysis.report.range_figures import histogram_template, ranges
from analysis.report.sections import SECTIONS
from floatemu.errors import UnsupportedError

plotly = pytest.importorskip("plotly.graph_objects", reason="needs the extra: report")
from analysis.report.html import FIGURES, page, save_html  # noqa: E402

HOSTILE = (
    "</script><script>alert('path')</script>",
    "\"><img src=x onerror=alert('quote')>",
    "<!--<script>",
    "a&b &lt; 'c' \u2028 {{x}}",
)


def analysis(*policies: str, **options: Any) -> list[an.results.Analysis]:
    tape = an.nets.mlp(batch=8, **options)
    return [an.analyze(tape, policy, "float64") for policy in policies]


def hostile() -> an.results.Analysis:
    """An analysis in which every name that can be chosen is an attack."""
    builder = Builder(HOSTILE[0], site=HOSTILE[1])
    with builder.at(HOSTILE[0]):
        x = builder.leaf("input", np.array([[1e5, 0.3], [3.0, 1e-9]]))
        w = builder.leaf("parameter", np.array([[0.7, 1.1], [0.2, -0.4]]))
    for name in HOSTILE[1:]:
        with builder.at(name):
            x = x @ w
    total = x.sum(0).sum(0)
    builder.target(HOSTILE[2], total)
    builder.target("loss", total)
    for name, gradient in zip(HOSTILE[1:2], builder.backward(total, [w])):
        builder.target(f"grad:{name}", gradient)
    rules = an.Policy.uniform("fp16").rules
    return an.analyze(builder.build(note=HOSTILE[3]), an.Policy(HOSTILE[1], rules), "float64")


class Page(HTMLParser):
    """Elements, ids, scripts and the text of a page; cells of tables by row."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.style = ""
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self.inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        self.inside.append(tag)
        if tag == "script":
            self.scripts.append((given, ""))
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "script" in self.inside:
            given, text = self.scripts[-1]
            self.scripts[-1] = (given, text + data)
        elif "style" in self.inside:
            self.style += data
        else:
            self.text += data
            if {"td", "th"} & set(self.inside) and "table" in self.inside:
                self.tables[-1][-1][-1] += data.replace("\n", "")

    def data(self) -> Any:
        return json.loads(next(text for given, text in self.scripts if given.get("id") == "report-data"))

    def table(self, *titles: str) -> list[list[str]]:
        return next(rows for rows in self.tables if rows[0][: len(titles)] == list(titles))


@pytest.fixture(scope="module")
def two() -> list[an.results.Analysis]:
    return analysis("bf16", "e4m3fn")


@pytest.fixture(scope="module")
def text(two: list[an.results.Analysis]) -> str:
    return page(two)


def test_it_leads_with_the_verdict_then_range_events_then_contributions(
    two: list[an.results.Analysis], text: str
) -> None:
    for index, found in enumerate(two):
        article = text[text.index(f'<article class="run" id="run{index}"') :]
        places = [article.find(f'id="r{index}-section-{name}"') for name, _ in SECTIONS]
        there = [place for place in places if place >= 0]
        assert there == sorted(there)
        names = [name for (name, _), place in zip(SECTIONS, places) if place >= 0]
        assert [name for name in names if name != "diagnosis"] == [n for n, _ in SECTIONS if n != "diagnosis"]
        assert ("diagnosis" in names) == bool(found.diagnose())
        lead = Page(article[: article.index("</p>")]).text.strip()
        assert found.verdict().startswith(lead.splitlines()[-1].rstrip("."))


def test_words_of_the_engine_are_there_in_full(two: list[an.results.Analysis], text: str) -> None:
    shown = " ".join(Page(text).text.split())
    for found in two:
        first, _, rest = found.verdict().partition(". ")
        assert first in shown
        assert " ".join(rest.split()) in shown
        for cause in found.diagnose():
            assert cause.text in shown


def test_numbers_of_the_table_are_those_of_the_analysis(two: list[an.results.Analysis], text: str) -> None:
    tables = [rows for rows in Page(text).tables if rows[0][:3] == ["node", "op", "path"]]
    assert len(tables) == 2
    keys = {
        "share": "contribution",
        "local error": "local_error",
        "inherited": "inherited_error",
        "error": "error",
        "condition": "condition",
        "largest": "amax",
        "smallest": "amin_nonzero",
        "flushed": "zeros_new",
        "beyond": "beyond",
        "flips": "flips",
    }
    for found, (titles, *rows) in zip(two, tables, strict=True):
        assert [row[0] for row in rows] == [f"%{node.id}" for node in found.nodes]
        for node, row in zip(found.nodes, rows, strict=True):
            for title, key in keys.items():
                assert row[titles.index(title)] == cell(getattr(node, key))
            kinds = {event.kind for event in found.events if event.node == node.id}
            assert set(row[titles.index("events")].replace("–", "").split()) == kinds


@pytest.mark.parametrize("policy", ["e4m3fn", "e5m2"])
def test_events_on_the_way_come_first_and_the_gravest_before_the_rest(policy: str) -> None:
    found = an.analyze(an.nets.llama(), policy, "float64")
    content = gather(found)
    ranged = content.range_events
    kinds = {"overflow", "saturation", "nan_born", "inf_born", "underflow"}
    key = lambda event: (event.node, event.kind, event.operand or -1)  # noqa: E731
    assert sorted(ranged, key=key) == sorted((e for e in found.events if e.kind in kinds), key=key)
    on_way = [event.node in content.path for event in ranged]
    assert on_way == sorted(on_way, reverse=True)
    for way in (True, False):
        grave = [event.fatal and event.produced for event in ranged if (event.node in content.path) == way]
        made = [event.produced for event in ranged if (event.node in content.path) == way]
        assert made == sorted(made, reverse=True)
        assert grave == sorted(grave, reverse=True)
    tables = [rows for rows in Page(page([found])).tables if rows[0][:2] == ["kind", "what happened"]]
    shown = [row for rows in tables for row in rows[1:]]
    assert [row[0] for row in shown[: len(ranged)]] == [event.kind for event in ranged]
    for event, row in zip(ranged, shown, strict=False):
        assert row[1] == content.sentence(event)
        assert row[2] == str(event.count)
        assert row[5] == ("itself" if event.produced else f"%{event.producer}")
        assert row[6] == ("yes" if event.node in content.path else "no")


def test_contributions_add_up_within_each_group(two: list[an.results.Analysis], text: str) -> None:
    found = two[0].attribution(two[0].main, "error")
    for group, title in (("cause", "cause"), ("direction", "direction"), ("layer", "layer"), ("op", "operation")):
        rows = Page(text).table(title, "share", "contribution")[1:]
        sums = found.by(group)
        assert [row[0] for row in rows] == list(sums)
        for row, value in zip(rows, sums.values(), strict=True):
            assert row[2] == cell(value)
            assert row[1] in bar(value / found.measured)
    shown = " ".join(Page(text).text.split())
    for value in (found.measured, found.sum, found.residual, found.rss):
        assert cell(value, 4) in shown
    assert "The split is complete" in shown


def test_what_is_not_first_order_says_so_with_its_reason() -> None:
    found = an.analyze(an.nets.chain(1e5, 0.25, 3), "fp16", "float64")
    shown = " ".join(Page(page([found])).text.split())
    reason = found.attribution().reason
    assert reason
    assert f"Not first-order: {reason}. The contributions do not add up" in shown
    assert "Infinite or NaN, so named here and never summed: %0 input (cast, backward)." in shown


def test_nothing_to_show_is_said_in_words() -> None:
    shown = Page(page([an.analyze(an.nets.chain(1.0, 0.5, 3), "bf16", "float64")])).text
    for words in (
        "No value left the range of its format",
        "No addend was absorbed",
        "No node contributes",
        "Not measured: ",
    ):
        assert words in shown
    tape = an.nets.mlp(batch=4)
    unrounded = an.analyze(tape, an.Policy("none", (an.Rule(an.Numerics()),)), "float64")
    assert "No result of the backward pass is rounded" in Page(page([unrounded])).text


def test_every_name_is_text_and_nothing_else() -> None:
    found = hostile()
    text = page([found, found])
    parsed = Page(text)
    assert [given.get("id", given.get("type", "")) for given, _ in parsed.scripts] == ["report-data", "plotly", ""]
    tags = {tag for tag, _ in parsed.tags}
    assert tags.isdisjoint({"img", "iframe", "object", "link", "base", "form", "b2"})
    assert not any(name.startswith("on") for _, given in parsed.tags for name in given)
    for name in HOSTILE:
        assert name.replace("\u2028", "") in parsed.text.replace("\u2028", ""), name
    names = parsed.data()["labels"].values()
    assert len(names) > len(HOSTILE)
    for name in names:
        assert "<" not in name
        assert '"' not in name
    for figure in parsed.data()["figures"].values():
        for word in re.findall(r"<[^>]*>", json.dumps(figure)):
            assert word in ("<sup>", "</sup>", "<sub>", "</sub>", "<br>", "<extra>", "</extra>"), word


def test_json_in_the_page_comes_back_as_it_was() -> None:
    value = {name: [name, 1.5, None] for name in HOSTILE}
    text = script_json(value)
    assert json.loads(text) == value
    assert not set("<>&") & set(text)


def test_the_page_may_run_its_own_scripts_and_load_nothing(text: str) -> None:
    parsed = Page(text)
    allowed = next(given["content"] for tag, given in parsed.tags if tag == "meta" and "http-equiv" in given)
    assert allowed.startswith("default-src 'none'; ")
    own = next(content for given, content in parsed.scripts if not given)
    digests = re.findall(r"'sha256-([^']+)'", allowed)
    assert base64.b64encode(hashlib.sha256(own.encode()).digest()).decode() in digests
    assert len(digests) == 2
    assert "unsafe-inline" not in allowed.partition("style-src")[0]
    for _, given in parsed.tags:
        for name in ("src", "srcset", "data", "action", "poster"):
            assert name not in given
        assert given.get("href", "#").startswith("#")
    assert "@import" not in parsed.style
    assert "url(" not in parsed.style


def test_ids_are_unique_and_references_lead_somewhere(text: str) -> None:
    parsed = Page(text)
    ids = [given["id"] for _, given in parsed.tags if "id" in given]
    assert len(ids) == len(set(ids))
    wanted = {
        given[name].lstrip("#")
        for _, given in parsed.tags
        for name in ("href", "aria-controls", "aria-labelledby", "data-table", "data-all", "data-count", "data-plot")
        if name in given
    }
    assert wanted <= set(ids)
    assert set(parsed.data()["figures"]) <= set(ids)


def test_figures_and_columns_have_titles(text: str) -> None:
    parsed = Page(text)
    for tag, given in parsed.tags:
        if given.get("class") == "plot":
            assert given["role"] == "img"
            assert given["aria-label"]
        if tag == "th":
            assert given["scope"] == "col"
    assert ("html", {"lang": "en"}) in parsed.tags
    for figure in parsed.data()["figures"].values():
        for name, axis in figure["layout"].items():
            if re.fullmatch(r"[xy]axis\d*", name) and axis["title"]["text"] == "":
                assert axis["ticktext"], "operations need no title"
            elif name == "yaxis":
                assert "axis)" in axis["title"]["text"], "a logarithmic axis says so"


NETS = {
    "mlp": lambda: an.nets.mlp(batch=8),
    "rnn": lambda: an.nets.rnn(length=6),
    "overflowing chain": lambda: an.nets.chain(1e5, 0.25, 12),
    "llama": lambda: an.nets.llama(),
}


@pytest.mark.parametrize("policy", ["e4m3fn", "fp8_recipe"])
@pytest.mark.parametrize("net", NETS)
def test_figures_are_valid_plotly_and_show_the_extremes(net: str, policy: str) -> None:
    content = gather(an.analyze(NETS[net](), policy, "float64"))
    drawn = [draw(content) for draw in FIGURES.values()]
    for figure in [*drawn, policies([content, content]), histogram_template()]:
        if figure is not None:
            plotly.Figure(figure)  # raises if a property or value is none of plotly's
            json.dumps(figure, allow_nan=False)
    shown = [
        level
        for trace in heat(content)["data"]
        if trace["type"] == "heatmap" and trace["meta"]["group"] == "total"
        for row in trace["z"]
        for level in row
        if level is not None
    ]
    errors = [node.error for node in content.found.nodes if node.error is not None]
    finite = [error for error in errors if 0 < error < math.inf]
    crosses = sum(
        len(trace["x"])
        for trace in heat(content)["data"]
        if trace["meta"]["group"] == "total" and trace.get("marker", {}).get("symbol") == "x"
    )
    assert bool(crosses) == (not all(math.isfinite(error) for error in errors))
    if not crosses and finite:
        assert max(shown) == round(math.log2(max(finite)), 4)
        lines = [trace for trace in depth(content)["data"] if trace["name"].endswith(": error")]
        assert max(y for trace in lines for y in trace["y"] if y is not None) == max(shown)


def test_ranges_are_the_binades_of_the_values() -> None:
    found = an.analyze(an.nets.mlp(batch=8), "e4m3fn", "float64")
    content = gather(found)
    exact, emulated = ranges(content)["data"][:2]
    for trace, run in ((exact, "exact"), (emulated, "emulated")):
        seen = {trace["x"][i]: trace["y"][i : i + 2] for i in range(0, len(trace["x"]), 3)}
        for node in found.nodes:
            value = np.abs(found.runs[run].value(node.id).astype(np.float64))
            if found.runs[run].value(node.id).dtype.kind != "f" or not value.any():
                assert node.id not in seen
                continue
            low, high = seen[node.id]
            assert 2.0**low <= value[value > 0].min() < 2.0 ** (low + 1)
            assert 2.0 ** (high - 1) <= value.max() < 2.0**high
    marks = {trace["name"]: trace["x"] for trace in ranges(content)["data"]}
    assert marks["flushed to zero"] == [node.id for node in found.nodes if node.zeros_new]


def test_limits_follow_the_format_of_each_node() -> None:
    content = gather(an.analyze(an.nets.mlp(batch=4), "mixed:fp16", "float64"))
    lines = {trace["name"]: trace for trace in ranges(content)["data"]}
    x, y = lines["largest of the format"]["x"], lines["largest of the format"]["y"]
    spans = [(x[i], x[i + 1], y[i]) for i in range(0, len(x), 3)]
    for node in content.nodes:
        fmt = content.format(node.id)
        if fmt is not None:
            (level,) = {level for a, b, level in spans if a < node.id < b}
            assert level == round(math.log2(float(fmt.max)), 4)
    assert {level for _, _, level in spans} == {
        round(math.log2(float(fe.get_format(f).max)), 4) for f in ("fp16", "fp32")
    }


def test_a_histogram_counts_every_element_once() -> None:
    rng = np.random.default_rng(5)
    x = np.ldexp(rng.uniform(1, 2, 400), rng.integers(-1074, 1024, 400))
    x[:40] = [2.0**k for k in range(-20, 20)]  # the lower end of a binade belongs to it
    x[40:50], x[50:53], x[53:58] = 0.0, np.inf, np.nan
    x *= np.where(rng.random(400) < 0.5, -1, 1)
    found = histogram(x.reshape(20, 20))
    expected: dict[int, int] = {}
    for value in np.abs(x[np.isfinite(x) & (x != 0)]).tolist():
        exponent = math.frexp(value)[1] - 1
        expected[exponent] = expected.get(exponent, 0) + 1
    counted = {found.low + at: count for at, count in enumerate(found.counts) if count}
    assert counted == expected
    assert (found.zeros, found.infinities, found.nans) == (10, 3, 5)
    assert histogram(np.zeros(3)).counts == ()
    assert histogram(np.array([5e-324])).low == -1074


def test_places_along_time_and_depth() -> None:
    names, stage_of = stages(an.nets.lstm(length=5))
    assert names[:3] == ("data t=0", "lstm t=1", "lstm t=2")
    assert names[-2:] == ("head", "loss")
    assert len(stage_of) == len(an.nets.lstm(length=5))
    names, _ = stages(an.nets.llama())
    assert "layer0.attention.q" in names
    assert names.index("layer0.attention.q") < names.index("layer1.attention.q")
    deep = an.nets.chain(1.0, 0.99, 700)
    names, stage_of = stages(deep)
    assert [names[stage_of[node.id]] for node in deep.nodes[-2:]] == ["step699", "step700"]


def test_long_tapes_stay_small_and_say_what_is_left_out() -> None:
    short = len(page([an.analyze(an.nets.chain(1.0, 0.999, 10), "bf16", "float64")]))
    tape = an.nets.chain(1.0, 0.999, 1010)
    found = an.analyze(tape, "bf16", "float64")
    text = page([found])
    assert "are not shown" not in text
    most = short + MOST_NODES * (len(text) - short) / 1000  # histograms of long vectors take twice as much as here
    assert most < 6_000_000
    content = gather(found, 100)
    assert len(content.nodes) == 100
    assert content.left_out == len(tape) - 100
    worst = max(found.nodes, key=lambda node: abs(node.contribution or 0.0))
    assert worst in content.nodes
    for _, section in SECTIONS:
        if section.__name__ in ("nodes", "ranges"):
            assert f"{content.left_out} of {len(tape)} nodes are not shown" in section(content, "r0")


def test_figures_name_every_node_they_speak_of(text: str) -> None:
    data = Page(text).data()
    for figure in data["figures"].values():
        for trace in figure["data"]:
            field = trace.get("meta", {}).get("label")
            rows = trace[field] if field else []
            for row in rows if rows and isinstance(rows[0], list) else [rows]:
                assert {str(node) for node in row if node is not None} <= set(data["labels"])


def test_range_events_are_never_left_out_for_rounding() -> None:
    found = an.analyze(an.nets.mlp(batch=8), "e4m3fn", "float64")
    eventful = {event.node for event in gather(found).range_events if event.node in gather(found).path}
    content = gather(found, len(eventful))
    assert {node.id for node in content.nodes} == eventful


def test_of_a_node_that_rounds_several_times_the_narrowest_scales_are_drawn() -> None:
    found = an.analyze(an.nets.mlp(batch=4), "fp8_recipe", "float64")
    figure, scale = scale_figure(gather(found)), found.loss_scale()
    assert figure is not None
    assert len(scale.intervals) > len({part.node for part in scale.intervals})
    drawn = {x: trace["y"][i : i + 2] for trace in figure["data"] for i, x in enumerate(trace["x"]) if i % 3 == 0}
    for node, (low, high) in drawn.items():
        own = [part.high - part.low for part in scale.intervals if part.node == node]
        assert high - low == min(own)


def test_gradients_that_no_scale_makes_finite_are_named() -> None:
    content = gather(an.analyze(an.nets.mlp(batch=4), "bf16", "float64"))
    sick = replace(content, loss_scale=LossScale((), 0, 0, False, (), ("grad:W0",)))
    assert scale_figure(sick) is None
    assert "None fits: grad:W0 held an infinity or NaN even in exact arithmetic" in loss_scale(sick, "r0")


def test_growth_and_loss_scale_are_those_of_the_analysis() -> None:
    found = an.analyze(an.nets.rnn(length=8), "e5m2", "float64")
    content = gather(found)
    figure, intervals = growth_figure(content), scale_figure(content)
    assert figure is not None
    assert intervals is not None
    growth = found.growth()
    for trace, name in zip(figure["data"], ("exact", "emulated"), strict=True):
        assert trace["y"] == [None if not norm else round(math.log2(norm), 4) for norm in growth[name].norms]
    scale = found.loss_scale()
    drawn = {x: trace["y"][i : i + 2] for trace in intervals["data"] for i, x in enumerate(trace["x"]) if i % 3 == 0}
    assert drawn == {part.node: [part.low, part.high] for part in scale.intervals}
    shown = " ".join(Page(page([found])).text.split())
    assert f"by a factor of {cell(growth['exact'].rate, 4)} per stage" in shown
    said = f"Loss scales from 2^{scale.low} to 2^{scale.high} keep" if scale.feasible else "No loss scale keeps"
    assert said in shown


def test_the_same_analysis_gives_the_same_page(two: list[an.results.Analysis], text: str) -> None:
    assert page(two) == text


def test_a_report_is_about_one_tape(tmp_path: Any) -> None:
    one, other = analysis("bf16")[0], analysis("bf16", seed=1)[0]
    with pytest.raises(UnsupportedError, match="these analyses are of several: save one report for each"):
        save_html([one, other], tmp_path / "a.html")
    with pytest.raises(UnsupportedError, match="give at least one analysis"):
        save_html([], tmp_path / "a.html")
