"""The HTML report in Chromium: drawn without an error and without the network, and used as a reader would."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.ops import Builder
from analysis.report.markup import cell

pytest.importorskip("plotly", reason="needs the extra: report")
pytest.importorskip("playwright", reason="needs a browser driven by playwright, of the extra: dev")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import picture_report

from analysis.report.html import save_html

pytestmark = pytest.mark.skipif(picture_report.find_browser() is None, reason="needs a browser: chromium")
TIMEOUT = 60_000
HOSTILE = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "<a href='https://a.b'>'x'</a>")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with picture_report.browser() as started:
        yield started


class Visit:
    """A report opened in a page of its own, and all that went wrong there."""

    def __init__(self, browser: Any, path: Path, *, scripts: bool = True, **options: Any) -> None:
        self.context = browser.new_context(
            viewport={"width": 1200, "height": 900}, java_script_enabled=scripts, **options
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(TIMEOUT)
        self.trouble: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.trouble.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        if scripts:
            picture_report.open_report(self.page, path)
        else:
            self.page.goto(path.as_uri())

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *failure: object) -> None:
        url = self.page.url
        self.context.close()
        if failure[0] is None:
            assert self.trouble == []
            assert self.requests == [url]


@pytest.fixture(scope="module")
def found() -> list[an.results.Analysis]:
    tape = an.nets.mlp((64, 16, 10), "gelu", batch=8)
    return [an.analyze(tape, policy, "float64") for policy in ("bf16", "e4m3fn")]


@pytest.fixture(scope="module")
def report(found: list[an.results.Analysis], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    save_html(found, path)
    return path


def rows(page: Any, run: int = 0) -> list[str]:
    """Ids of the nodes that the table shows, in its order."""
    shown: list[str] = page.eval_on_selector_all(
        f"#run{run} table.nodes tbody tr:not(.detail)",
        "rows => rows.filter(row => row.offsetParent).map(row => row.cells[0].textContent)",
    )
    return shown


def test_figures_are_drawn(browser: Any, report: Path) -> None:
    with Visit(browser, report) as page:
        assert page.evaluate("document.documentElement.dataset.figures") == "drawn"
        for name in ("heat", "depth", "ranges", "growth", "scale"):
            assert page.locator(f"#r0-{name} svg.main-svg").count() > 0, name
        assert page.locator("#r0-depth .scatterlayer .trace").count() >= 4
        assert page.locator("#r0-heat .hm image").count() > 0
        offered = page.eval_on_selector_all("#r0-depth .modebar-btn", "all => all.map(b => b.dataset.title)")
        assert "Zoom" in offered
        assert not [title for title in offered if "loud" in title or "hare" in title or "dit" in title], offered


def test_search_narrows_and_says_how_many(browser: Any, found: list[an.results.Analysis], report: Path) -> None:
    with Visit(browser, report) as page:
        box = page.locator("input[data-table=r0-nodes]")
        counter = page.locator("[data-count=r0-nodes]")
        total = len(found[0].nodes)
        assert counter.inner_text() == f"{total} nodes"
        box.fill("MATMUL backward")
        wanted = [f"%{node.id}" for node in found[0].nodes if (node.op, node.direction) == ("matmul", "backward")]
        assert wanted
        assert rows(page) == wanted
        assert counter.inner_text() == f"{len(wanted)} of {total} nodes"
        box.fill("no such node")
        assert rows(page) == []
        box.fill("")
        assert len(rows(page)) == total


def test_a_title_sorts_both_ways(browser: Any, found: list[an.results.Analysis], report: Path) -> None:
    nodes = found[0].nodes
    with Visit(browser, report) as page:
        title = page.locator("#run0 table.nodes th", has_text="local error")
        title.locator("button").click()
        assert title.get_attribute("aria-sort") == "descending"
        order = [int(row[1:]) for row in rows(page)]
        shown = [cell(nodes[index].local_error) for index in order]
        numbers = [float(text.replace("−", "-")) for text in shown if text != "–"]
        assert numbers == sorted(numbers, reverse=True)
        assert numbers[0] > 0
        assert shown[len(numbers) :] == ["–"] * (len(shown) - len(numbers)), "what there is none of comes last"
        title.locator("button").click()
        assert title.get_attribute("aria-sort") == "ascending"
        order = [int(row[1:]) for row in rows(page)]
        numbers = [float(text) for index in order if (text := cell(nodes[index].local_error)) != "–"]
        assert numbers == sorted(numbers)
        operations = page.locator("#run0 table.nodes th", has_text="op").first
        operations.locator("button").click()
        assert operations.get_attribute("aria-sort") == "ascending"
        assert title.get_attribute("aria-sort") is None
        names = [nodes[int(row[1:])].op for row in rows(page)]
        assert names == sorted(names)


@pytest.mark.parametrize(("fmt", "worst"), [("e5m2", "inf"), ("e4m3fn", "NaN")])
def test_infinities_and_nan_sort_as_the_largest(browser: Any, fmt: str, worst: str, tmp_path: Path) -> None:
    save_html([an.analyze(an.nets.chain(1e5, 0.3, 6), fmt, "float64")], tmp_path / "chain.html")
    with Visit(browser, tmp_path / "chain.html") as page:
        page.locator("table.nodes th", has_text="error").nth(1).locator("button").click()
        values = page.eval_on_selector_all("table.nodes tbody tr", "rows => rows.map(row => row.cells[9].textContent)")
        count = values.count(worst)
        assert 0 < count < len(values)
        assert values[:count] == [worst] * count


def test_a_node_shows_its_histogram(browser: Any, found: list[an.results.Analysis], report: Path) -> None:
    node = next(node for node in found[0].nodes if node.op == "matmul")
    branch = next(node for node in found[0].nodes if node.op == "target")
    with Visit(browser, report) as page:
        button = page.locator("#run0 table.nodes tbody td > button", has_text=f"%{node.id}").first
        button.click()
        assert button.get_attribute("aria-expanded") == "true"
        page.wait_for_selector("#run0 tr.detail .barlayer .point path")
        exact, emulated = (found[0].runs[run].value(node.id) for run in ("exact", "emulated"))
        drawn = page.evaluate("document.querySelector('#run0 tr.detail .plot').data.map(t => [t.x, t.y])")
        for (x, y), values in zip(drawn, (exact, emulated), strict=True):
            assert sum(y) == np.count_nonzero(values)
            for binade, count in zip(x, y, strict=True):
                low = 2.0 ** (binade - 0.5)
                assert count == np.count_nonzero((np.abs(values) >= low) & (np.abs(values) < 2 * low))
        assert f"exact: {np.count_nonzero(exact == 0)} zeros" in page.locator("#run0 tr.detail").inner_text()
        other = page.locator("#run0 table.nodes tbody td > button", has_text=f"%{branch.id}").first
        other.click()
        assert page.locator("#run0 tr.detail").count() == 1
        assert "no magnitudes" in page.locator("#run0 tr.detail").inner_text()
        other.click()
        assert page.locator("#run0 tr.detail").count() == 0


def test_policies_are_tabs_for_pointer_and_keyboard(browser: Any, report: Path) -> None:
    with Visit(browser, report) as page:
        assert page.locator("#run0").is_visible()
        assert not page.locator("#run1").is_visible()
        assert page.locator("#r1-depth svg").count() == 0, "drawn when it is first shown"
        page.click("#tab1")
        assert page.locator("#run1").is_visible()
        assert not page.locator("#run0").is_visible()
        assert page.get_attribute("#tab1", "aria-selected") == "true"
        page.wait_for_selector("#r1-depth svg.main-svg")
        page.keyboard.press("ArrowLeft")
        assert page.locator("#run0").is_visible()
        assert page.get_attribute("#tab1", "aria-selected") == "false"


def test_buttons_change_what_the_figures_show(browser: Any, report: Path) -> None:
    with Visit(browser, report) as page:
        visible = "document.getElementById('r0-heat').data.filter(t => t.visible).map(t => t.meta.group)"
        assert set(page.evaluate(visible)) == {"total"}
        page.click("button[data-plot=r0-heat][data-group=local]")
        assert set(page.evaluate(visible)) == {"local"}
        axis = "document.getElementById('r0-ranges').layout.yaxis.range"
        page.click("button[data-plot=r0-ranges][data-view=format]")
        low, high = page.evaluate(axis)
        assert low < -133
        assert high > 127
        page.click("button[data-plot=r0-ranges][data-view=values]")
        near, far = page.evaluate(axis)
        assert low < near < far < high
        pressed = page.get_attribute("button[data-plot=r0-ranges][data-view=values]", "aria-pressed")
        assert pressed == "true"
        assert not page.locator("#r0-nodes th", has_text="subnormal").is_visible()
        page.check("input[data-all=r0-nodes]")
        assert page.locator("#r0-nodes th", has_text="subnormal").is_visible()


def test_hostile_names_are_shown_and_do_nothing(browser: Any, tmp_path: Path) -> None:
    builder = Builder(HOSTILE[0], site=HOSTILE[1])
    with builder.at(HOSTILE[0]):
        x = weight = builder.leaf("parameter", np.array([1e5, 0.3]))
    for name in HOSTILE[1:]:
        with builder.at(name):
            x = x * x
    total = x.sum(0)
    builder.target("loss", total)
    builder.target(f"grad:{HOSTILE[1]}", builder.backward(total, [weight])[0])
    tape = builder.build()
    found = [an.analyze(tape, an.Policy(name, an.Policy.uniform("fp16").rules), "float64") for name in HOSTILE[:2]]
    save_html(found, tmp_path / "hostile.html")
    with Visit(browser, tmp_path / "hostile.html") as page:
        for button in page.locator("#run0 table.nodes tbody td > button").all():
            button.click()
        page.hover("#r0-depth .drag")
        shown = page.inner_text("body")
        for name in HOSTILE:
            assert name in shown
        ticks = page.locator("#r0-heat .xtick text").all_text_contents()
        assert ticks[0].endswith(HOSTILE[0][-20:])
        assert page.locator("img, #r0-heat a[href], #r0-depth a[href]").count() == 0
        assert page.locator("script").count() == 4, "three of the page, and the library unpacked"


def test_without_javascript_words_and_tables_are_there(
    browser: Any, found: list[an.results.Analysis], report: Path
) -> None:
    with Visit(browser, report, scripts=False) as page:
        shown = page.locator("body").inner_text()
        for one in found:
            assert one.verdict().partition(". ")[0] in shown
        assert page.locator("#run0").is_visible()
        assert page.locator("#run1").is_visible()
        assert page.locator("#run0 table.nodes tbody tr").count() == len(found[0].nodes)
        assert page.locator("#run1 table.nodes th", has_text="subnormal").is_visible()
        assert "need JavaScript" in shown
        assert not page.locator("#r0-heat").is_visible()


def test_dark_pages_and_paper(browser: Any, report: Path) -> None:
    ink = "document.getElementById('r0-depth').layout.font.color"
    paper = "getComputedStyle(document.body).backgroundColor"
    with Visit(browser, report, color_scheme="dark") as page:
        assert page.evaluate(paper) == "rgb(20, 23, 28)"
        dark = page.evaluate(ink)
        page.emulate_media(color_scheme="light")
        for _ in range(100):  # the page's policy forbids the strings that playwright's own waiting evaluates
            if page.evaluate(ink) != dark:
                break
            page.wait_for_timeout(50)
        assert page.evaluate(ink) != dark
        assert page.evaluate(paper) == "rgb(255, 255, 255)"
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate(paper) == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert not page.locator("input[data-table=r0-nodes]").is_visible()
        assert page.evaluate("getComputedStyle(document.getElementById('r0-nodes')).maxHeight") == "none"
        assert len(page.pdf()) > 50_000


def test_a_browser_without_decompression_says_why_there_are_no_figures(browser: Any, report: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("delete window.DecompressionStream")
    picture_report.open_report(page, report)
    assert page.evaluate("document.documentElement.dataset.figures") == "none"
    assert "cannot be drawn here: this browser cannot unpack" in page.inner_text("#r0-heat")
    page.fill("input[data-table=r0-nodes]", "matmul")
    assert 0 < len(rows(page)) < page.locator("#run0 table.nodes tbody tr").count()
    context.close()


def test_the_pictures_of_the_docs(browser: Any, tmp_path: Path) -> None:
    picture_report.take(browser, tmp_path)
    kept = [Path(__file__).resolve().parents[2] / "docs" / "images" / path.name for path in tmp_path.iterdir()]
    assert len(kept) == 2
    for path in (*tmp_path.iterdir(), *kept):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert 20_000 < path.stat().st_size < 300_000
