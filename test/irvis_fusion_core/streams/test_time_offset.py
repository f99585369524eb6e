"""Offsets against drawn motion whose stamps were moved by a known time."""

import numpy as np
import pytest

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.streams.time_offset import MotionEnergy, estimate_time_offset


def position(t, seed=0):
    """A place that moves by fits and starts: sines of unrelated rates, cubed."""
    rng = np.random.default_rng(seed)
    rates, phases = rng.uniform(0.3, 1.4, 5), rng.uniform(0, 6.28, 5)
    return 12 * sum(
        np.sin(2 * np.pi * rate * t + phase) ** 3 for rate, phase in zip(rates, phases)
    )


def stream(rate_hz, late_s=0.0, seconds=12.0, seed=0, width=80, noise=1.0, path=position):
    """Motion of images of a texture that follows `path`; stamps are `late_s` late."""
    rng = np.random.default_rng(seed + int(rate_hz))
    x = np.linspace(0, 30, width)
    motion = MotionEnergy()
    for t in np.arange(0.0, seconds, 1.0 / rate_hz):
        row = 100 + 60 * np.sin(x + 0.2 * path(t)) + 20 * np.sin(2.7 * x + 0.54 * path(t))
        image = np.tile(row, (40, 1)) + rng.normal(0, noise, (40, width))
        motion.add(t + late_s, image.astype(np.float32))
    return motion


@pytest.mark.parametrize("late_s", [0.123, -0.31, 0.0, 0.7])
def test_late_infrared_stamps_give_a_negative_offset_to_a_fraction_of_a_frame(late_s):
    found = estimate_time_offset(stream(9.0, late_s), stream(30.0))
    assert found.ir_time_offset_s == pytest.approx(-late_s, abs=0.02)
    assert found.correlation > 0.5 and found.peak_ratio > 1.25


def test_frames_that_a_core_repeats_do_not_count():
    once, thrice = MotionEnergy(), MotionEnergy()
    for t in np.arange(0, 6, 1 / 9.0):
        image = np.tile(np.sin(np.linspace(0, 20, 60) + 0.2 * position(t)), (40, 1))
        once.add(t, image)
        for repeat in range(3):
            thrice.add(t + repeat / 27.0, image)
    assert np.array_equal(once.energies, thrice.energies)


def test_a_still_scene_is_refused():
    still = {"path": lambda t: 0.0}
    with pytest.raises(CalibrationError, match="nothing moves by fits and starts"):
        estimate_time_offset(stream(9.0, **still), stream(30.0, **still))


def test_even_motion_is_refused():
    even = {"path": lambda t: 8.0 * t}
    with pytest.raises(CalibrationError):
        estimate_time_offset(stream(9.0, **even), stream(30.0, **even))


def test_streams_that_move_apart_from_one_another_are_refused():
    with pytest.raises(CalibrationError, match="no offset stands out"):
        estimate_time_offset(
            stream(9.0), stream(30.0, path=lambda t: position(t, 5)), largest_s=1.0
        )


def test_too_few_frames_and_streams_of_different_times_are_refused():
    with pytest.raises(CalibrationError, match=r"infrared frames.*found 10 over"):
        estimate_time_offset(stream(10.0, seconds=1.0), stream(30.0))
    with pytest.raises(CalibrationError, match="infrared.*found 0"):
        estimate_time_offset(MotionEnergy(), stream(30.0))
    with pytest.raises(CalibrationError, match="do not overlap in time"):
        estimate_time_offset(stream(9.0, 100.0), stream(30.0))


def test_stamps_that_step_back_and_bad_values_do_no_harm():
    motion = stream(9.0)
    before = motion.energies
    motion.add(1.0, np.zeros((40, 80)))
    assert np.array_equal(motion.energies, before)
    bad = np.full((40, 80), np.nan)
    bad[10:] = 3.0
    motion.add(13.0, bad)
    assert np.isfinite(motion.energies).all()
