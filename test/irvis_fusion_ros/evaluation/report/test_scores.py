"""Numbers and shares as people read them."""

import pytest

from irvis_fusion_ros.evaluation.report.scores import number, percent


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
