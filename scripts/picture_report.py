"""Draw docs/images/report.png and report-figures.png: a report as a browser shows it. Needs playwright and Chromium.

usage: picture_report.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 120_000  # milliseconds: a browser beside busy programs takes its time
SECTIONS = (("verdict", "diagnosis"), ("contributions", "bounds"))  # first and last of each picture


def find_browser() -> str | None:
    """Path of an installed Chromium, None if there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A running Chromium without a window."""
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox refuses to work for the superuser, as whom containers run
    unboxed = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_browser(), args=unboxed)
        try:
            yield started
        finally:
            started.close()


def open_report(page: Any, path: Path) -> None:
    """Open a report and wait until its figures are drawn, or cannot be."""
    page.goto(path.as_uri(), timeout=PATIENCE)
    page.wait_for_selector("html[data-figures]", state="attached", timeout=PATIENCE)


def make_report(path: Path) -> None:
    """Write the report that the pictures show: a small network in three policies."""
    import analysis as an
    from analysis.report.html import save_html

    tape = an.nets.mlp((64, 32, 32, 10), "gelu")
    save_html([an.analyze(tape, policy, "float64") for policy in ("e4m3fn", "fp8_recipe", "bf16")], path)


def small(path: Path) -> None:
    """Reduce a picture to 256 colours, chosen to keep rare ones: a third of the size."""
    from PIL import Image

    picture = Image.open(path).convert("RGB")
    picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def take(started: Any, out: Path) -> None:
    """Write the pictures, with a browser that runs."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        make_report(report)
        page = started.new_page(viewport={"width": 1180, "height": 900}, color_scheme="light")
        open_report(page, report)
        for name, (first, last) in zip(("report.png", "report-figures.png"), SECTIONS):
            boxes = [page.locator(f"#r0-section-{section}").bounding_box() for section in (first, last)]
            top = 0 if first == "verdict" else boxes[0]["y"]
            area = {"x": 0, "y": top, "width": 1180, "height": boxes[1]["y"] + boxes[1]["height"] - top + 12}
            page.screenshot(path=out / name, full_page=True, clip=area)
            small(out / name)
        page.close()


def main() -> int:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with browser() as started:
        take(started, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
