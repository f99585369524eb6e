"""Plots are well-formed XML, show what they are given, and stay small."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_ros.evaluation.report.svg import (
    MOST_POINTS,
    Series,
    bars,
    decimate,
    histogram,
    line_chart,
    number,
    percent,
    strip,
    ticks,
)

VALUES = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.just(float("inf"))), max_size=60
)


def parsed(text):
    assert "nan" not in text and "inf" not in text.replace("info", "")
    return ElementTree.fromstring(text)


@settings(max_examples=80, deadline=None)
@given(values=VALUES, from_zero=st.booleans())
def test_any_values_are_drawn_within_the_image(values, from_zero):
    y = np.array(values, float)
    series = [Series("a <b> & c", "s0", np.arange(y.size, dtype=float), y)]
    for text in (
        line_chart(series, 'a "title"', from_zero=from_zero),
        histogram(series, "t", "x"),
    ):
        tree = parsed(text)
        height = float(tree.get("viewBox").split()[3])
        for path in tree.iter("path"):
            for x, vertical in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d")):
                assert -1 <= float(vertical) <= height + 1
                assert float(x) >= -1


def test_a_line_goes_where_the_values_are():
    x = np.array([0.0, 1.0, 2.0])
    tree = parsed(line_chart([Series("a", "s0", x, np.array([0.0, 10.0, 5.0]))], "t"))
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in tree.iter("circle")]
    assert dots[0][0] < dots[1][0] < dots[2][0]
    assert dots[1][1] < dots[2][1] < dots[0][1]  # higher values stand higher
    assert dots[2][1] == pytest.approx((dots[0][1] + dots[1][1]) / 2, abs=0.11)


def test_many_points_become_few_and_keep_their_range():
    x = np.arange(50_000.0)
    y = np.sin(x / 500)
    y[12_345] = 7.0
    short_x, mean, low, high = decimate(x, y)
    assert len(mean) == MOST_POINTS
    assert high.max() == 7.0 and low.min() == pytest.approx(-1.0)
    assert mean.mean() == pytest.approx(y.mean(), abs=1e-9)
    assert short_x[0] < 200 and short_x[-1] > 49_800
    assert len(line_chart([Series("a", "s0", x, y)], "t")) < 40_000


def test_a_histogram_s_shares_come_to_all():
    y = np.random.default_rng(0).normal(5, 1, 1000)
    tree = parsed(histogram([Series("a", "s0", y, y)], "t", "x"))
    assert tree.find(".//title").text.startswith("a: median 4.9")
    line = next(p.get("d") for p in tree.iter("path") if p.get("class") == "line")
    heights = [float(v) for _, v in re.findall(r"(-?[\d.]+) (-?[\d.]+)", line)]
    # The scale, by two ticks of the axis: per cent against pixels.
    marks = [
        (float(t.text.split()[0]), float(t.get("y")) - 4)
        for t in tree.iter("text")
        if t.get("class") == "tick y"
    ]
    (low, low_y), (high, high_y) = marks[0], marks[-1]
    shares = [(low_y - h) / (low_y - high_y) * (high - low) + low for h in heights[1:-1:2]]
    assert sum(shares) == pytest.approx(100, abs=1.5)


def test_the_strip_has_each_kind_in_its_place():
    tree = parsed(strip([0] * 10 + [1] * 5 + [2] * 5, ("fused", "passed", "dropped"), "t", 200))
    found = [(r.get("class"), float(r.get("x"))) for r in tree.iter("rect")]
    assert [kind for kind, _ in found] == ["k0"] * 10 + ["k1"] * 5 + ["k2"] * 5
    assert found[10][1] == pytest.approx(100)
    mixed = parsed(strip([0, 1] * 4000, ("fused", "passed"), "t"))
    heights = {float(r.get("height")) for r in mixed.iter("rect")}
    assert heights == {17.0}  # half and half


def test_bars_are_as_long_as_their_values():
    tree = parsed(bars({"few": 1, "many": 4}, "t", lambda name: "k1"))
    first, second = (float(r.get("width")) for r in tree.iter("rect"))
    assert first == pytest.approx(4 * second)
    assert [t.text for t in tree.iter("text")][::2] == ["many", "few"]


@settings(max_examples=100, deadline=None)
@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5))
def test_ticks_are_round_within_the_range_and_few(low, span):
    found = ticks(low, low + span, 5)
    assert all(low - 1e-6 * span <= value <= low + span * (1 + 1e-6) for value in found)
    assert 2 <= len(found) <= 7


@pytest.mark.parametrize(
    "value, text",
    [(0.0, "0"), (1.0849, "1.08"), (64.19, "64.2"), (139.4, "139"), (-0.0301, "−0.0301"),
     (float("inf"), "∞"), (float("nan"), "–"), (12345.6, "12346"), (1e-7, "1e−07")],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_shares_are_never_rounded_to_all_or_nothing():
    assert percent(0, 10) == "0 %" and percent(10, 10) == "100 %"
    assert percent(9_999_999, 10_000_000) == "> 99.9 %"
    assert percent(1, 10_000_000) == "< 0.1 %"
    assert percent(1, 3) == "33.3 %" and percent(1, 0) == "–"
