"""Health of the thermal camera, on recorded behaviour of cores rebuilt frame by frame."""

import numpy as np
import pytest

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.streams import health
from irvis_fusion_core.streams.health import IrHealth, decide

S = 1_000_000_000
MS = 1_000_000
T0 = 1_700_000_000 * S


def noise_frame(seed, dtype=np.uint16, size=(24, 32)):
    return np.random.default_rng(seed).integers(0, 16000, size).astype(dtype)


def play(camera, frames, period_ms, stamp0=T0, mono0=0):
    """Give frames at their stamps; return the verdict after each, asked for at its own stamp."""
    verdicts = []
    for n, frame in enumerate(frames):
        stamp, mono = stamp0 + n * period_ms * MS, mono0 + n * period_ms * MS
        camera.add_frame(stamp, frame, mono)
        verdicts.append(camera.verdict(stamp + 5 * MS, mono + 5 * MS))
    return verdicts


def test_a_living_camera_is_usable():
    verdicts = play(IrHealth(), [noise_frame(n) for n in range(60)], 111)
    assert all(v.usable and v.reason == health.OK for v in verdicts)


def test_before_the_first_frame_it_is_missing():
    verdict = IrHealth().verdict(T0, 0)
    assert (verdict.usable, verdict.reason) == (False, health.MISSING)


def test_silence_is_first_stale_then_missing_then_cured_by_a_frame():
    camera = IrHealth(max_ir_age_s=0.3, missing_after_s=2.0)
    camera.add_frame(T0, noise_frame(0), 0)

    def after(ms):
        return camera.verdict(T0 + ms * MS, ms * MS).reason

    assert [after(ms) for ms in (300, 301, 2000, 2001)] == ["ok", "stale", "stale", "missing"]
    camera.add_frame(T0 + 5 * S, noise_frame(1), 5 * S)
    assert camera.verdict(T0 + 5 * S, 5 * S).usable


def test_a_bag_at_a_fifth_of_its_speed_is_judged_by_its_own_time():
    """9 Hz played slowly: 555 ms of wall time between frames, 111 ms by the stamps."""
    camera = IrHealth(max_ir_age_s=0.3)
    for n in range(20):
        camera.add_frame(T0 + n * 111 * MS, noise_frame(n), n * 555 * MS)
        assert camera.verdict(T0 + n * 111 * MS + 100 * MS, n * 555 * MS + 500 * MS).usable


def test_a_clock_set_forward_does_not_look_like_a_dead_camera():
    camera = IrHealth()
    camera.add_frame(T0, noise_frame(0), 0)
    verdict = camera.verdict(T0 + 3600 * S, 50 * MS)
    assert verdict.reason == health.LATE, "frames still arrive, only the stamps disagree"
    camera.reset()
    assert camera.verdict(T0 + 3600 * S, 60 * MS).reason == health.MISSING


@pytest.mark.parametrize("hold_ms", [500, 900])
def test_a_flat_field_correction_is_no_freeze(hold_ms):
    period = 33
    held = [noise_frame(7)] * (hold_ms // period)
    frames = [noise_frame(n) for n in range(30)] + held + [noise_frame(n) for n in range(40, 70)]
    assert all(v.usable for v in play(IrHealth(), frames, period))


def test_a_core_that_repeats_each_frame_three_times_at_26_hz_is_no_freeze():
    frames = [noise_frame(n // 3) for n in range(150)]
    assert all(v.usable for v in play(IrHealth(), frames, 38))


def test_a_frozen_camera_is_told_after_frozen_after_and_recovers_with_the_first_change():
    frames = [noise_frame(0)] * 91 + [noise_frame(1)]
    verdicts = play(IrHealth(frozen_after_s=2.0), frames, 33)
    by_hand = ["ok" if n * 33 < 2000 else "frozen" for n in range(91)] + ["ok"]
    assert [v.reason for v in verdicts] == by_hand


def test_frozen_frames_that_are_copies_count_as_the_same():
    frames = [noise_frame(0).copy() for _ in range(80)]
    assert play(IrHealth(), frames, 33)[-1].reason == health.FROZEN


@pytest.mark.parametrize("where", [(0, 0), (1, 1), (23, 31), (13, 6)])
def test_one_changed_pixel_anywhere_is_a_change(where):
    """Also where the strided digest does not look."""
    frames = []
    for n in range(80):
        frame = noise_frame(0)
        frame[where] = n
        frames.append(frame)
    assert all(v.usable for v in play(IrHealth(), frames, 33))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, ">u2"])
def test_freezing_is_seen_in_every_pixel_type_and_with_dead_pixels(dtype):
    frame = noise_frame(0, dtype)
    if frame.dtype.kind == "f":
        frame[3, 5] = np.nan
    frames = [frame.copy() for _ in range(80)]
    assert play(IrHealth(), frames, 33)[-1].reason == health.FROZEN


def test_a_loop_of_a_bag_starts_the_freeze_clock_again():
    """Still at the end of one loop and through the next: frozen 2 s into the next, not later."""
    camera = IrHealth(frozen_after_s=2.0)
    play(camera, [noise_frame(n) for n in range(100)], 100)
    assert all(v.usable for v in play(camera, [noise_frame(0)] * 10, 100, T0 + 10 * S, 10 * S))
    verdicts = play(camera, [noise_frame(0)] * 30, 100, T0, 11 * S)
    assert [v.reason for v in verdicts] == ["ok"] * 20 + ["frozen"] * 10


def test_zero_switches_the_freeze_check_off():
    assert play(IrHealth(frozen_after_s=0), [noise_frame(0)] * 200, 33)[-1].usable


def test_another_size_than_expected_is_named_with_both():
    camera = IrHealth(expected_size=(24, 32))
    assert play(camera, [noise_frame(0)], 33)[0].usable
    verdict = play(camera, [noise_frame(1, size=(12, 16))], 33, T0 + S)[0]
    assert verdict.reason == health.WRONG_SIZE
    assert "16x12" in verdict.text and "32x24" in verdict.text


@pytest.mark.parametrize("size, usable", [((0, 32), True), ((0, 16), False), ((24, 0), True)])
def test_width_and_height_are_checked_alone(size, usable):
    verdict = play(IrHealth(expected_size=size), [noise_frame(0, size=(24, 32))], 33)[0]
    assert verdict.usable == usable
    assert usable or "expected 16xany" in verdict.text


@pytest.mark.parametrize("skew_ms, reason", [(-900, "late"), (-100, "ok"), (900, "ahead")])
def test_stamps_offset_by_a_constant_are_told_apart_from_silence(skew_ms, reason):
    camera = IrHealth(max_ir_age_s=0.3)
    for n in range(10):
        camera.add_frame(T0 + (n * 100 + skew_ms) * MS, noise_frame(n), n * 100 * MS)
    verdict = camera.verdict(T0 + 900 * MS, 900 * MS)
    assert verdict.reason == reason
    corrected = IrHealth(max_ir_age_s=0.3, ir_time_offset_s=-skew_ms / 1000)
    corrected.add_frame(T0 + skew_ms * MS, noise_frame(0), 0)
    assert corrected.verdict(T0, 0).usable


def test_frames_without_stamp_are_named():
    camera = IrHealth()
    camera.add_frame(0, noise_frame(0), 0)
    assert camera.verdict(T0, 0).reason == health.UNSTAMPED


def test_the_real_monotonic_clock_is_the_default():
    camera = IrHealth()
    camera.add_frame(T0, noise_frame(0))
    assert camera.verdict(T0).usable


@pytest.mark.parametrize("on_ir_loss", health.ON_IR_LOSS)
def test_decide_follows_the_policy_only_when_the_camera_is_lost(on_ir_loss):
    assert decide(health.Verdict(True, health.OK, ""), on_ir_loss) == health.FUSE
    assert decide(health.Verdict(False, health.STALE, ""), on_ir_loss) == on_ir_loss


@pytest.mark.parametrize(
    "bad",
    [
        {"max_ir_age_s": 0},
        {"max_ir_age_s": float("nan")},
        {"frozen_after_s": -1},
        {"missing_after_s": 0},
        {"expected_size": (-1, 32)},
        {"ir_time_offset_s": float("inf")},
    ],
)
def test_values_out_of_range_are_refused_by_name(bad):
    with pytest.raises(ConfigurationError, match="|".join(bad)):
        IrHealth(**bad)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ConfigurationError, match="on_ir_loss"):
        decide(health.Verdict(True, health.OK, ""), "panic")
