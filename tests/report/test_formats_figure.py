"""The picture of formats: what it draws is counted from the values themselves; the file; the command."""

import json
import re
from fractions import Fraction

import numpy as np
import pytest

import floatemu as fe
from analysis.cli import main
from analysis.report import formats_figure as figure

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
from matplotlib.figure import Figure

from analysis.report import plots

SMALL = [fmt.name for fmt in fe.FORMATS.values() if fmt.k <= 16] + ["binary8p3ue", "binary8p1se", "binary5p4uf"]


def positive(name):
    x = fe.values(name)
    return np.unique(x[np.isfinite(x) & (x > 0)])


@pytest.mark.parametrize("name", SMALL)
def test_values_in_a_binade_are_counted_right(name):
    places, counts = figure._per_binade(fe.get_format(name))
    exponents = np.floor(np.frexp(positive(name))[1] - 1).astype(int)
    found = {int(e): int(n) for e, n in zip(*np.unique(exponents, return_counts=True), strict=True)}
    assert dict(zip(places, counts, strict=True)) == found


@pytest.mark.parametrize("name", SMALL)
def test_single_values_are_drawn_where_they_are(name):
    drawn = figure._positive(fe.get_format(name))
    if fe.get_format(name).k > 9:
        assert drawn is None
    else:
        assert np.allclose(drawn, np.log2(positive(name)), rtol=0, atol=1e-12)


def lines(axes):
    return [line.get_xydata() for line in axes.lines]


def test_spacing_is_the_distance_to_the_next_value():
    formats = [fe.get_format(name) for name in ("e4m3fn", "e2m1fn")]
    drawn = Figure()
    figure.draw(drawn, formats, plots.COLOURS)
    for fmt, line in zip(formats, lines(drawn.axes[2]), strict=True):
        x = positive(fmt.name)[:-1]
        place = np.searchsorted(line[:, 0], np.log2(x) + 1e-12, side="right") - 1
        # On a straight piece between corners: one down for one to the right.
        here = line[place, 1] - (np.log2(x) - line[place, 0])
        assert np.allclose(np.exp2(here) * x, np.diff(positive(fmt.name)), rtol=1e-6)


def test_the_axis_bends_only_where_ranges_are_far_apart():
    assert figure._place([fe.get_format("e5m2"), fe.get_format("e2m1fn")]) is None
    there, back = figure._place([fe.get_format("bfloat16")])
    assert np.allclose(back(there(np.array([-133.0, 0.0, 5.5, 127.0]))), [-133.0, 0.0, 5.5, 127.0])


@pytest.mark.parametrize(
    ("value", "text"),
    [(Fraction(448), "448"), (Fraction(57344), "57344"), (Fraction(1, 512), "$2^{-9}$"), (Fraction(1, 2), "0.5")],
)
def test_numbers_are_short(value, text):
    assert figure._short(value) == text


def test_large_numbers_have_powers_of_ten():
    assert figure._short(fe.get_format("binary32").max) == "$3.403·10^{38}$"


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_picture_is_the_same_file(tmp_path, suffix):
    formats = [fe.get_format(name) for name in figure.DEFAULT]
    paths = [tmp_path / f"{n}.{suffix}" for n in (1, 2)]
    for path in paths:
        plots.plot_formats(formats, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(paths[0].read_bytes()) > 10**4


@pytest.mark.parametrize("names", [["binary64", "e8m0fnu", "binary8p1se"], ["binary16p1se"], list(fe.FORMATS)[:8]])
def test_formats_of_every_kind_are_drawn(tmp_path, names):
    plots.plot_formats([fe.get_format(name) for name in names], tmp_path / "a.png")


@pytest.mark.parametrize(("count", "file"), [(0, "a.png"), (9, "a.png"), (1, "a.pdf"), (1, "a")])
def test_refusals(tmp_path, count, file):
    with pytest.raises(fe.UnsupportedError, match="accepted"):
        plots.plot_formats([fe.get_format("e5m2")] * count, tmp_path / file)


def test_the_command_draws_and_says_where(tmp_path, capsys):
    path = tmp_path / "formats.svg"
    assert main(["formats", "--plot", str(path), "e4m3fn", "half", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == [str(path)]
    assert [item["name"] for item in found["formats"]] == ["e4m3fn", "binary16"]
    assert re.search(r"<svg", path.read_text(encoding="utf-8"))
    assert main(["formats", "--plot", str(path)]) == 0
    assert str(path) in capsys.readouterr().out.replace("\n", "")


def test_what_cannot_be_drawn_is_bad_input(tmp_path, capsys):
    assert main(["formats", "--plot", str(tmp_path / "a.pdf")]) == 2
    assert "accepted: .png, .svg" in capsys.readouterr().err
    assert main(["formats", "--plot", str(tmp_path / "no" / "a.png")]) == 2
