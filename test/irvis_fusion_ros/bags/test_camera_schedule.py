"""When made-up cameras take frames: against the closed form, and what must hold for any timing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_ros.bags.made_bag import CameraTiming, check_timing, shots


def test_a_steady_camera_is_a_comb():
    timing = CameraTiming(rate_hz=10.0, phase_s=0.02, stamp_offset_s=-0.3, delay_s=0.05)
    for number, shot in enumerate(shots(timing, 1.0, seed=0)):
        assert shot == pytest.approx(
            (0.07 + number / 10, -0.28 + number / 10, 0.02 + number / 10), abs=1e-12
        )
    assert number == 9


def test_gaps_are_empty_and_a_frozen_camera_shows_the_same_moment():
    timing = CameraTiming(rate_hz=10.0, gaps=((0.2, 0.5),), frozen=((0.65, 0.85),))
    taken = list(shots(timing, 1.0, seed=0))
    stamps = [round(shot.stamp_s, 3) for shot in taken]
    assert stamps == [0.0, 0.1, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert [shot.shows_s for shot in taken][4:] == [0.65, 0.65, pytest.approx(0.9)]


@settings(deadline=None)
@given(
    rate_hz=st.floats(1.0, 120.0),
    jitter=st.floats(0.0, 0.49),
    dropped_share=st.floats(0.0, 0.9),
    seed=st.integers(0, 2**32),
)
def test_frames_keep_their_order_and_stay_within_their_jitter(
    rate_hz, jitter, dropped_share, seed
):
    timing = CameraTiming(rate_hz, jitter / rate_hz, dropped_share=dropped_share)
    check_timing("any", timing)
    taken = list(shots(timing, 2.0, seed))
    assert taken == list(shots(timing, 2.0, seed))
    stamps = [shot.stamp_s for shot in taken]
    assert stamps == sorted(set(stamps))
    assert all(0 <= stamp_s < 2.0 + timing.jitter_s for stamp_s in stamps)
    for stamp_s in stamps:
        due = round(stamp_s * rate_hz)
        assert abs(stamp_s * rate_hz - due) <= jitter + 1e-6


def test_drops_have_their_share_and_leave_the_others_where_they_were():
    whole = {shot.stamp_s for shot in shots(CameraTiming(100.0, 0.002), 50.0, seed=1)}
    left = {shot.stamp_s for shot in shots(CameraTiming(100.0, 0.002, dropped_share=0.3), 50.0, 1)}
    assert left < whole and len(whole) == 5000
    assert len(left) == pytest.approx(3500, abs=130)  # four standard deviations


@pytest.mark.parametrize(
    "values",
    [
        {"rate_hz": 0.0},
        {"rate_hz": float("nan")},
        {"jitter_s": 0.02},
        {"dropped_share": 1.0},
        {"phase_s": -1.0},
        {"delay_s": -0.1},
    ],
)
def test_cameras_that_cannot_be_are_refused(values):
    with pytest.raises(ConfigurationError, match="thermal"):
        check_timing("thermal", CameraTiming(**values))
