"""Files of an analysis: what each kind holds, the manifest in every one, the libraries they need."""

from __future__ import annotations

import csv
import json
import math
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analysis as an
from analysis.comparison import COUNTS
from analysis.report.manifest import SCHEMA, manifest
from analysis.report.save import SUFFIXES, manifest_path
from analysis.terminal import plain
from floatemu.errors import FileError, UnsupportedError


@pytest.fixture(scope="module")
def found() -> an.results.Analysis:
    """An analysis with infinities, NaN and entries that no node has."""
    return an.analyze(an.nets.mlp(batch=4, seed=7), "e4m3fn", "float64")


@pytest.fixture(scope="module")
def broken() -> an.results.Analysis:
    return an.analyze(an.nets.chain(1e5, 0.25, 3), "e5m2", "float64")


def test_the_manifest_says_what_the_run_was_made_of(found: an.results.Analysis) -> None:
    made = manifest(found)
    assert made["schema"] == SCHEMA
    assert {"floatemu", "python", "numpy", "numba", "mpmath", "system"} <= set(made["versions"])
    assert made["tape"]["meta"]["seed"] == 7
    assert made["tape"]["nodes"] == len(found.tape)
    leaves = {(leaf["role"], tuple(leaf["shape"])) for leaf in made["tape"]["leaves"]}
    assert leaves >= {("input", (4, 64)), ("target", (4,)), ("parameter", (64, 32)), ("parameter", (10,))}
    assert made["tape"]["targets"]["grad:W0"]["shape"] == [64, 32]
    assert made["policy"]["name"] == "e4m3fn"
    (rule,) = made["policy"]["rules"]
    assert (rule["result"], rule["rounding"], rule["saturation"]) == ("e4m3fn", "NEAREST_TIES_TO_EVEN", "SAT_NONE")
    assert made["reference"] == plain(found.reference.to_json())
    assert made["target"] == "grad:W0"
    json.dumps(made, allow_nan=False)


def test_every_rule_and_seed_of_a_policy_is_in_the_manifest() -> None:
    tape = an.nets.mlp(batch=4)
    mixed = an.Policy.named("fp8_recipe")
    made = manifest(an.analyze(tape, mixed, "float64"))["policy"]
    assert [(rule["op"], rule["path"]) for rule in made["rules"]] == [(rule.op, rule.path) for rule in mixed.rules]
    assert (made["rules"][0]["operands"], made["rules"][0]["gradients"]) == ("e4m3fn", "e5m2")
    assert made["rules"][0]["accumulate"] == "binary32"
    drawn = an.Policy.uniform("bf16", "StochasticB", seed=11, random_bits=9)
    made = manifest(an.analyze(tape, drawn, "float64"))["policy"]
    assert (made["seed"], made["rules"][0]["random_bits"]) == (11, 9)


def test_other_data_has_another_digest() -> None:
    def digest(**options: Any) -> str:
        tape = an.nets.mlp(batch=4, **options)
        found: str = manifest(an.analyze(tape, "bf16", "float64"))["tape"]["data_sha256"]
        return found

    assert digest() == digest()
    assert digest() != digest(seed=1)


def test_json_holds_everything(found: an.results.Analysis, tmp_path: Path) -> None:
    found.save(tmp_path / "a.json")
    read = json.loads((tmp_path / "a.json").read_text())
    assert read == found.to_json()
    assert read["manifest"] == manifest(found)


def test_csv_has_its_manifest_beside_it(broken: an.results.Analysis, tmp_path: Path) -> None:
    broken.save(tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["id"]) for row in rows] == [node.id for node in broken.nodes]
    assert rows[0]["error"] == "inf"
    assert rows[1]["condition"] == ""
    assert json.loads(manifest_path(tmp_path / "a.csv").read_text()) == manifest(broken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.csv.manifest.json"]


@pytest.mark.parametrize("which", ["found", "broken"])
def test_parquet_keeps_every_value_and_type(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra: report")
    one = request.getfixturevalue(which)
    one.save(tmp_path / "a.parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert json.loads(table.schema.metadata[b"floatemu"]) == manifest(one)
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    for node, row in zip(one.nodes, table.to_pylist(), strict=True):
        for name, given in node._asdict().items():
            if isinstance(given, float) and math.isnan(given):
                assert math.isnan(row[name]), (node.label, name)
            else:
                assert row[name] == (list(given) if isinstance(given, tuple) else given), (node.label, name)
    assert (types["id"], types["error"], types["op"], types["flips"]) == ("int64", "double", "string", "int64")
    assert types["ulp_max"] == "double"
    assert (types["overflowed_fraction"], types["histogram_low"], types["histogram"][:4]) == ("double", "int64", "list")


def test_infinity_nan_and_nothing_are_three_things_in_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra: report")
    one = an.analyze(an.nets.chain(1e5, 0.25, 2), "e4m3fn", "float64")  # NaN; and no amplification of exact operands
    one.save(tmp_path / "a.parquet")
    first, second = parquet.read_table(tmp_path / "a.parquet").to_pylist()[:2]
    assert math.isnan(first["error"])
    assert second["error"] == 0.0
    assert first["condition"] is None


def test_rows_have_shares_and_histograms(found: an.results.Analysis, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra: report")
    found.save(tmp_path / "a.parquet")
    described = found.to_json()["nodes"]
    for node, row, json_row in zip(found.nodes, parquet.read_table(tmp_path / "a.parquet").to_pylist(), described):
        values, exact = (found.runs[name].value(node.id) for name in ("emulated", "exact"))
        for name in COUNTS:
            assert json_row["fractions"][name] == row[f"{name}_fraction"] == getattr(node, name) / values.size
        if values.dtype.kind != "f":
            assert json_row["histogram"] is row["histogram"] is row["exact_histogram_low"] is None
            continue
        for key, x in (("histogram", values), ("exact_histogram", exact)):
            binades = np.frexp(x[np.isfinite(x) & (x != 0)])[1] - 1
            assert row[key] == [np.count_nonzero(binades == row[f"{key}_low"] + i) for i in range(len(row[key]))]
            spread = json_row["histogram"]["exact" if key.startswith("exact") else "emulated"]
            assert (spread["low"], spread["counts"]) == (row[f"{key}_low"], row[key])
            assert sum(spread["counts"]) + spread["zeros"] + spread["infinities"] + spread["nans"] == x.size


def test_a_dataframe_carries_the_manifest(found: an.results.Analysis) -> None:
    pytest.importorskip("pandas", reason="needs the extra: report")
    frame = found.to_dataframe()
    assert frame.attrs["manifest"] == manifest(found)
    assert len(frame) == len(found.nodes)
    assert frame.groupby("direction").size().sum() == len(found.nodes)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_figures_hold_the_manifest_and_are_the_same_bytes_every_time(
    found: an.results.Analysis, suffix: str, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: report")
    for name in ("a", "b"):
        found.save(tmp_path / f"{name}{suffix}")
    data = (tmp_path / f"a{suffix}").read_bytes()
    assert data == (tmp_path / f"b{suffix}").read_bytes()
    if suffix == ".png":
        from PIL import Image

        with Image.open(tmp_path / "a.png") as picture:
            text = picture.info["Description"]
    else:
        names = {"dc": "http://purl.org/dc/elements/1.1/"}
        element = ET.fromstring(data).find(".//dc:description", names)
        assert element is not None
        text = element.text or ""
    assert json.loads(text) == [manifest(found)]


def test_names_in_figures_are_text_not_mathematics(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: report")
    from analysis.ops import Builder

    builder = Builder("tape")
    with builder.at(r"a$b_{$ \frac"):
        x = builder.leaf("input", 1.1)
        builder.target("$y$", x * x)
    name = r"$\policy"
    one = an.analyze(builder.build(), an.Policy(name, an.Policy.uniform("bf16").rules), "float64")
    one.save(tmp_path / "a.svg")
    from analysis.report.plots import plot_errors, plot_ranges

    for plot in (plot_errors, plot_ranges):
        plot([one.to_json()], tmp_path / "b.svg")


def test_html_shows_the_manifest(found: an.results.Analysis, tmp_path: Path) -> None:
    pytest.importorskip("plotly", reason="needs the extra: report")
    import html

    found.save(tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    full = html.unescape(text[text.index("The manifest in full") :])
    body = full[full.index("<pre>") + 5 : full.index("</pre>")]
    assert json.loads(body) == manifest(found)


def test_suffixes_in_capitals_are_the_same(broken: an.results.Analysis, tmp_path: Path) -> None:
    broken.save(tmp_path / "a.JSON")
    assert json.loads((tmp_path / "a.JSON").read_text()) == broken.to_json()
    with pytest.raises(UnsupportedError, match=r"a: accepted suffixes are \.html, "):
        broken.save(tmp_path / "a")


@pytest.mark.parametrize(
    ("suffix", "library", "message"),
    [
        (".parquet", "pyarrow", r"Parquet files need pyarrow: pip install 'floatemu\[report\]'"),
        (".html", "plotly", r"report.html needs plotly: pip install 'floatemu\[report\]'"),
        (".png", "matplotlib", r"figures need matplotlib: pip install 'floatemu\[report\]'"),
    ],
)
def test_what_is_missing_is_named_with_the_command(
    suffix: str,
    library: str,
    message: str,
    broken: an.results.Analysis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modules = (library, "analysis.report.plots", "analysis.report.html")
    for name in [name for name in sys.modules if name.startswith(modules)]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("plots", "html"):
        monkeypatch.delattr(f"analysis.report.{name}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UnsupportedError, match=message):
        broken.save(tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix in (".json", ".csv")])
def test_a_folder_that_is_not_there_is_one_clear_line(suffix: str, broken: an.results.Analysis, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be written"):
        broken.save(tmp_path / "none" / f"a{suffix}")
