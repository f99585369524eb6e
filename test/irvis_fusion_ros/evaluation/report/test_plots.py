"""Plots are well-formed XML, show the values that they are given, and stay small."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="draws with matplotlib: pip install '.[evaluate]'")

from irvis_fusion_ros.evaluation.report.plots import (
    MOST_POINTS,
    Series,
    decimate,
    histogram,
    line_chart,
    strip,
)

SVG = "{http://www.w3.org/2000/svg}"
VALUES = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.just(float("inf"))), max_size=60
)


def parsed(text):
    assert "nan" not in text and "#fe00" not in text
    return ElementTree.fromstring(text)


def points(path):
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d"))]


def lines(tree):
    """Hover text -> points of each line."""
    return {
        group.find(f"{SVG}title").text: points(group.find(f"{SVG}path"))
        for group in tree.iter(f"{SVG}g")
        if group.get("class") == "line"
    }


def ticks(tree, x_axis):
    """Value -> place of each tick label, by the axis: labels of x are centred."""
    anchor = "middle" if x_axis else "end"
    return {
        float(t.text.split()[0].replace("−", "-")): float(t.get("x" if x_axis else "y"))
        for t in tree.iter(f"{SVG}text")
        if f"text-anchor: {anchor}" in t.get("style") and re.match(r"[−\d.e]+( %)?$", t.text)
    }


@settings(max_examples=25, deadline=None)
@given(values=VALUES, from_zero=st.booleans())
def test_any_values_are_drawn_within_the_image(values, from_zero):
    y = np.array(values, float)
    series = [Series("a <b> & c", "s0", np.arange(y.size, dtype=float), y)]
    for text in (
        line_chart(series, 'a "title"', from_zero=from_zero),
        histogram(series, "t", "x"),
    ):
        tree = parsed(text)
        _, _, width, height = (float(v) for v in tree.get("viewBox").split())
        drawn = lines(tree)
        assert bool(drawn) == bool(np.isfinite(y).any())
        for line in drawn.values():
            assert all(-1 <= px <= width + 1 and -1 <= py <= height + 1 for px, py in line)


def test_titles_and_names_are_escaped():
    series = [Series("</g><b>", "s0", np.arange(2.0), np.arange(2.0))]
    tree = parsed(line_chart(series, '" onload="x', x_label="<i>"))
    assert tree.get("aria-label") == '" onload="x' and tree.get("onload") is None
    assert list(lines(tree)) == ["</g><b>"]
    assert "<i>" in [t.text for t in tree.iter(f"{SVG}text")]


def test_a_line_goes_where_the_ticks_say():
    x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 10.0, 5.0])
    tree = parsed(line_chart([Series("a", "s0", x, y)], "t"))
    for axis, values in ((0, x), (1, y)):
        marks = ticks(tree, x_axis=axis == 0)
        (low, at_low), (high, at_high) = min(marks.items()), max(marks.items())
        for value, point in zip(values, lines(tree)["a"]):
            place = at_low + (value - low) / (high - low) * (at_high - at_low)
            # A label of y stands 4 units above its baseline.
            assert point[axis] == pytest.approx(place - (4.2 if axis else 0), abs=0.1)


def test_many_points_become_few_and_keep_their_range():
    x = np.arange(50_000.0)
    y = np.sin(x / 500)
    y[12_345] = 7.0
    short_x, mean, low, high = decimate(x, y)
    assert len(mean) == MOST_POINTS
    assert high.max() == 7.0 and low.min() == pytest.approx(-1.0)
    assert mean.mean() == pytest.approx(y.mean(), abs=1e-9)
    assert short_x[0] < 200 and short_x[-1] > 49_800
    assert len(line_chart([Series("a", "s0", x, y)], "t")) < 60_000


def test_the_shares_of_a_histogram_sum_to_100_percent():
    y = np.random.default_rng(0).normal(5, 1, 1000)
    tree = parsed(histogram([Series("a", "s0", y, y)], "t", "x"))
    ((name, line),) = lines(tree).items()
    assert name.startswith("a: median 4.9")
    marks = ticks(tree, x_axis=False)
    scale = (max(marks) - min(marks)) / (marks[min(marks)] - marks[max(marks)])
    bottom = max(py for _, py in line)
    steps = {px: min(py for p, py in line if p == px) for px, _ in line}
    heights = {(px, py) for (px, py), (nx, ny) in zip(line, line[1:]) if py == ny and px != nx}
    assert sum((bottom - py) * scale for _, py in heights) == pytest.approx(100, abs=1.0)
    assert len(steps) > 8


def test_the_strip_has_each_kind_in_its_place():
    kinds = [0] * 10 + [1] * 5 + [2] * 5
    tree = parsed(strip(kinds, ("s2", "s4", "bad"), "t"))
    width, height = (float(v) for v in tree.get("viewBox").split()[2:])
    found = {}
    for path in tree.iter(f"{SVG}path"):
        colour = re.search(r"fill: var\(--(\w+)\)", path.get("style") or "")
        if colour:
            # Where the coloured area is as high as the image.
            xs = [px for px, py in points(path)]
            ys = {x: {py for px, py in points(path) if px == x} for x in xs}
            found[colour[1]] = sorted(x / width for x, at in ys.items() if len(at) > 1)
    assert found["s2"] == pytest.approx([0, 0.5])
    assert found["s4"][:2] + found["bad"][-1:] == pytest.approx([0.5, 0.75, 1.0])
    mixed = strip([0, 1] * 4000, ("s2", "s4"), "t")
    assert f" {height / 2:g}" in mixed and len(mixed) < 2000  # half and half, one area


def test_plots_are_the_same_in_every_run_and_load_nothing():
    series = [Series("a", "s0", np.arange(5.0), np.arange(5.0))]
    text = line_chart(series, "t")
    assert text == line_chart(series, "t")
    assert not re.search(r"(href|src)=\"(?!#)", text) and "<style" not in text
    ids = re.findall(r' id="(.*?)"', text)
    assert all(f"#{each}" in text for each in ids)
    assert "var(--s0)" in text and "var(--soft)" in text
