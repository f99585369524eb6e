"""Causes of differences between the running node and the walk."""

import pytest

from irvis_fusion_ros.evaluation.live import compare as lc
from irvis_fusion_ros.evaluation.live.compare import LiveFrame, WalkFrame

FUSED = WalkFrame(100, "fused", 90, "AA")
PASSED = WalkFrame(100, "passed", None, "VV")
DROPPED = WalkFrame(100, "dropped", None, None)


@pytest.mark.parametrize(
    "walk, live, cause",
    [
        (FUSED, LiveFrame("AA", "VV", 90, "AA"), lc.IDENTICAL),
        (PASSED, LiveFrame("VV", "VV", None, "VV"), lc.IDENTICAL),
        (DROPPED, None, lc.KEPT_BACK),
        (DROPPED, LiveFrame(None, "VV", None, "VV"), lc.KEPT_BACK),
        (FUSED, None, lc.NOT_RECEIVED),
        (FUSED, LiveFrame(None, "VV", None, "VV"), lc.NOT_RECEIVED),
        (FUSED, LiveFrame("VV", "VV", None, "VV"), lc.PASSED_LIVE),
        (PASSED, LiveFrame("BB", "VV", 90, "BB"), lc.FUSED_LIVE),
        (PASSED, LiveFrame("BB", "VV", 90, "CC"), lc.UNEXPLAINED),
        (FUSED, LiveFrame("BB", "VV", 80, "BB"), lc.OTHER_THERMAL),
        (FUSED, LiveFrame("BB", "VV", 80, "CC"), lc.UNEXPLAINED),
        (FUSED, LiveFrame("BB", "VV", 90, "BB"), lc.OTHER_LIMITS),
        (FUSED, LiveFrame("BB", "VV", 90, "AA"), lc.UNEXPLAINED),
        (FUSED, LiveFrame("BB", "VV", None, "VV"), lc.UNKNOWN),
    ],
)
def test_every_difference_has_its_cause(walk, live, cause):
    assert lc.judge(walk, live) == cause


def test_both_have_a_frame_when_both_fused_the_same_two_images():
    assert lc.both_have(FUSED, LiveFrame("BB", "VV", 90, "BB"))
    assert not lc.both_have(FUSED, LiveFrame("BB", "VV", 80, "BB"))
    assert not lc.both_have(FUSED, LiveFrame("VV", "VV", None, "VV"))
    assert not lc.both_have(PASSED, LiveFrame("BB", "VV", 90, "BB"))
    assert not lc.both_have(FUSED, None)


def test_thermal_stamps_come_from_the_published_skews():
    # The node publishes IR stamp + offset - visible stamp.
    stamp, offset_ms = 1_700_000_000_000_000_000, 100
    ir_stamp = stamp - 112_500_000
    skew_ms = (ir_stamp - stamp) / 1e6 + offset_ms
    assert lc.thermal_stamps([stamp], [skew_ms], 1e-3 * offset_ms) == {stamp: ir_stamp}
    assert lc.thermal_stamps([stamp], [], 0.0) is None


def test_the_sentence_owns_up_to_what_nobody_can_explain():
    verdicts = [lc.IDENTICAL] * 8 + [lc.UNEXPLAINED, lc.NOT_RECEIVED]
    assert "1 differ for no known cause" in lc.sentence(verdicts, 9, 8, 8)
    assert "no known cause" not in lc.sentence([lc.IDENTICAL] * 3, 3, 3, 3)
    assert lc.count_causes(verdicts) == {lc.UNEXPLAINED: 1, lc.NOT_RECEIVED: 1}
