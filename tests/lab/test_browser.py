"""The lab's page in Chromium: no script, no request, nothing wider than the window, themes that can be read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="needs a browser driven by playwright, of the extra: dev")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import picture_report

from analysis.experiments import FAILURES
from analysis.lab.verdicts import compare
from analysis.report.lab_content import results
from analysis.report.lab_page import save_lab_page

pytestmark = pytest.mark.skipif(picture_report.find_browser() is None, reason="needs a browser: chromium")
NAMES = ("clip_norm", "master_weights", "layer_norm", "<b>bold</b>")


def planted() -> dict[str, Any]:
    """A lab in which each mitigation multiplies each metric by a factor of its own, and one case failed."""
    cases: list[dict[str, Any]] = []
    matrix = []
    for failure in FAILURES:
        before = {seed: 1.0 + seed / 8 for seed in range(5)}
        for index, name in enumerate(("", *NAMES)):
            values = {seed: value * (1.0, 1.0, 0.01, 2.0, 0.5)[index] for seed, value in before.items()}
            for seed, value in values.items():
                loss = [2.0 / (1 + step * value) for step in range(20)]
                loss[12:] = ["nan"] * 8 if name == "" else loss[12:]  # type: ignore[list-item]
                case = {"failure": failure, "mitigation": name, "seed": seed, "status": "done", "loss": loss}
                cases.append(
                    {**case, "reference": {"loss": [2.0 / (1 + step) for step in range(20)]}, "diagnosis": "<i>x"}
                )
            if name:
                found = compare(before, values)
                assert found is not None
                matrix.append({"failure": failure, "mitigation": name, **found.to_json(), "healthy": index == 2})
    cases.append(
        {"failure": "flips", "mitigation": "", "seed": 9, "status": "failed", "error": "<script>alert(1)</script>"}
    )
    text = dict.fromkeys(("text", "metric", "metric_text", "source", "level"), "words <b>with</b> signs")
    return {
        "schema": "floatemu.lab/1",
        "floatemu": "0",
        **{"name": "planted", "spec_hash": "0" * 64, "source_hash": "1" * 64, "reproduce": "floatemu lab"},
        "seeds": list(range(5)),
        "failures": [
            {"name": name, "title": one.title, **text, "left_out": {"x": "<u>"}} for name, one in FAILURES.items()
        ],
        "mitigations": [{"name": name, "title": name, **text} for name in NAMES],
        "cases": cases,
        "matrix": matrix,
        "counts": {"done": len(cases) - 1, "failed": 1, "resumed": 0},
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found: Path = tmp_path_factory.mktemp("page") / "report.html"
    save_lab_page(results(planted()), found)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with picture_report.browser() as started:
        yield started


@pytest.fixture(params=["light", "dark"])
def page(request: Any, browser: Any, path: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme=request.param)
    shown = context.new_page()
    shown.set_default_timeout(60_000)
    trouble: list[str] = []
    requests: list[str] = []
    shown.on("console", lambda message: trouble.append(message.text))
    shown.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
    shown.on("request", lambda asked: requests.append(asked.url))
    shown.goto(path.as_uri())
    yield shown
    context.close()
    assert trouble == []
    assert requests == [path.as_uri()]


CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = ".matrix td b, .matrix td span, .card p, .key, figcaption, svg text";
  return [...document.querySelectorAll(texts)].map((element) => {
    const style = getComputedStyle(element);
    const ink = element.closest("svg") && element.tagName === "text" ? style.fill : style.color;
    const [a, b] = [light(ink), light(behind(element))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }).reduce((least, ratio) => Math.min(least, ratio), 99);
}"""


def test_the_page_shows_matrix_curves_and_sections(page: Any) -> None:
    assert page.locator(".matrix tbody tr").count() == len(NAMES) + 1
    words = [text.split()[0] for text in page.locator(".matrix tbody tr td:nth-child(2)").all_inner_texts()]
    assert words == ["baseline", "unchanged", "cured", "worse", "better"]
    assert page.locator(".card svg polyline.baseline").count() >= 8
    assert page.locator("svg path.end.baseline").count() >= 8  # the loss that is no number ends in a cross
    assert page.locator("section.one").count() == len(NAMES)
    page.get_by_role("link", name="layer_norm").first.click()
    assert page.url.endswith("#m2")
    assert page.locator("b", has_text="<b>bold</b>").count() == 0  # a name is text, never markup
    assert page.get_by_text("<b>bold</b>").count() > 0


def test_all_text_stands_out_and_fits(page: Any) -> None:
    assert page.evaluate(CONTRAST) >= 4.5
    page.set_viewport_size({"width": 420, "height": 800})
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0
    clipped = page.evaluate(
        "[...document.querySelectorAll('.matrix td')].filter((cell) => cell.scrollWidth > cell.clientWidth + 1).length"
    )
    assert clipped == 0
