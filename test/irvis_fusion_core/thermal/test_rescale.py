"""Raw thermal to 8 bit: closed forms, bad values, steadiness on synthetic and real sequences."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from real_data import data_root

from irvis_fusion_core import metrics
from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.thermal import METHODS, ThermalOptions, ThermalRescale


def ramp(low, high, shape=(128, 160), dtype=np.uint16):
    return np.linspace(low, high, shape[0] * shape[1]).reshape(shape).astype(dtype)


def alone(**options):
    """A rescaler without a past, percentiles at the extremes."""
    return ThermalRescale(low_percent=0, high_percent=100, smoothing_s=0, **options)


# --- closed forms --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_a_ramp_becomes_the_whole_grey_range_by_the_formula(dtype):
    raw = ramp(3000, 9000, dtype=dtype)
    rescale = alone()
    grey = rescale(raw)
    low, high = rescale.limits
    expected = np.clip((raw.astype(float) - low) * 255 / (high - low), 0, 255)
    assert grey.dtype == np.uint8 and grey.shape == raw.shape and grey.flags.c_contiguous
    assert np.abs(grey - expected).max() <= 0.51
    assert grey.min() == 0 and grey.max() == 255


def test_default_percentiles_are_those_of_numpy():
    rng = np.random.default_rng(0)
    raw = rng.normal(8000, 300, (512, 640)).astype(np.uint16)
    rescale = ThermalRescale(low_percent=1, high_percent=99)
    rescale(raw)
    low, high = np.percentile(raw, [1, 99])
    assert rescale.limits == pytest.approx((low, high), abs=0.02 * (high - low))


@pytest.mark.parametrize(
    ("unit", "low", "high", "raw_unit", "convert", "dtype"),
    [
        ("counts", 29315, 31315, "auto", lambda c: 100 * (c + 273.15), np.uint16),
        ("celsius", 20, 40, "auto", lambda c: 100 * (c + 273.15), np.uint16),
        ("kelvin", 293.15, 313.15, "auto", lambda c: 100 * (c + 273.15), np.uint16),
        ("celsius", 20, 40, "auto", lambda c: c + 273.15, np.float32),
        ("celsius", 20, 40, "auto", lambda c: c, np.float32),
        ("kelvin", 293.15, 313.15, "celsius", lambda c: c, np.float32),
        ("celsius", 20, 40, "kelvin", lambda c: c + 273.15, np.float32),
    ],
)
def test_a_window_from_20_to_40_degrees_in_every_unit(unit, low, high, raw_unit, convert, dtype):
    celsius = np.tile(np.array([10, 20, 25, 30, 40, 60], np.float64), (12, 2))
    rescale = ThermalRescale(
        "window", window_low=low, window_high=high, window_unit=unit, raw_unit=raw_unit
    )
    grey = rescale(convert(celsius).round(3).astype(dtype))
    assert grey[0, :6] == pytest.approx([0, 0, 63.75, 127.5, 255, 255], abs=1)


def test_a_fixed_window_maps_equal_values_to_equal_grey_in_every_frame():
    rescale = ThermalRescale("window", window_low=1000, window_high=5000)
    cold, hot = ramp(1000, 2000), ramp(1000, 60000)
    cold[0, 0] = hot[0, 0] = 2000
    assert rescale(cold)[0, 0] == rescale(hot)[0, 0] == 64


def test_method_none_passes_8_bit_and_refuses_the_rest():
    rescale = ThermalRescale("none")
    raw = ramp(0, 255, dtype=np.uint8)
    grey = rescale(raw)
    assert np.array_equal(grey, raw) and not np.shares_memory(grey, raw)
    with pytest.raises(FrameError, match=r"uint16.*percentile"):
        rescale(ramp(0, 999))


@pytest.mark.parametrize("limits", [(0, 255), (17, 203), (100, 101), (-3.7, 311.2), (60, 60.5)])
def test_8_bit_frames_of_any_width_give_the_same_image(limits):
    """Widths that are multiples of 64 go another way, by vectors of pixels."""
    rescale = ThermalRescale("window", window_low=limits[0], window_high=limits[1])
    frame = np.random.default_rng(0).integers(0, 256, (130, 193), np.uint8)
    frame[:2, :128] = np.arange(256).reshape(2, 128)
    whole = rescale(frame)
    for width in (64, 128, 192):
        np.testing.assert_array_equal(rescale(frame[:, :width]), whole[:, :width])
        part = np.ascontiguousarray(frame[:, :width])
        np.testing.assert_array_equal(rescale(part), whole[:, :width])


def test_inversion_turns_black_hot_into_white_hot():
    raw = ramp(3000, 9000)
    assert (
        np.abs(alone(invert=True)(raw).astype(int) - (255 - alone()(raw).astype(int))).max() == 0
    )


def test_a_scene_without_contrast_does_not_become_noise():
    rng = np.random.default_rng(0)
    raw = (8000 + rng.integers(0, 4, (128, 160))).astype(np.uint16)
    assert ThermalRescale()(raw).max() <= 16
    assert ThermalRescale()(np.full((128, 160), 8000, np.uint16)).max() == 0


def test_fieldwise_shows_contrast_that_a_hot_corner_takes_from_the_rest():
    rng = np.random.default_rng(0)
    raw = (3000 + cv2.GaussianBlur(rng.normal(0, 900, (512, 640)), (0, 0), 4)).astype(np.uint16)
    raw[:128, :160] += 9000
    plain, fieldwise = ThermalRescale()(raw), ThermalRescale("fieldwise")(raw)
    far = np.s_[256:, 320:]
    assert fieldwise[far].std() > 1.3 * plain[far].std()
    # Hot stays hotter than what surrounds it.
    assert np.median(fieldwise[:96, :128]) > np.median(fieldwise[far])


def test_clahe_adds_local_contrast():
    texture = 150 * np.sin(np.arange(160) / 2.0)
    raw = (ramp(3000, 9000, (256, 160)) + texture).astype(np.uint16)
    plain, local = ThermalRescale()(raw), ThermalRescale(clahe_clip=4.0)(raw)
    assert np.diff(local.astype(int)).std() > 1.5 * np.diff(plain.astype(int)).std()


# --- bad values ----------------------------------------------------------------------------


def test_nan_is_black_infinity_is_hot_and_neither_moves_the_limits():
    raw = ramp(290, 310, dtype=np.float32)
    clean = ThermalRescale()
    clean(raw)
    raw[10:20, 10:20] = np.nan
    raw[30:32, 30:32] = np.inf
    raw[50:52, 50:52] = -np.inf
    kept = raw.copy()
    rescale = ThermalRescale()
    grey = rescale(raw)
    assert (grey[10:20, 10:20] == 0).all() and (grey[50:52, 50:52] == 0).all()
    assert (grey[30:32, 30:32] == 255).all()
    assert rescale.limits == pytest.approx(clean.limits, abs=0.2)
    assert np.array_equal(raw, kept, equal_nan=True)


def test_nan_stays_black_when_inverted():
    raw = ramp(290, 310, dtype=np.float32)
    raw[:3, :3] = np.nan
    assert ThermalRescale(invert=True)(raw)[0, 0] == 0


def test_saturated_counts_are_hot_and_do_not_widen_the_window():
    raw = ramp(3000, 4000)
    raw[:30] = 16383
    raw[100:] = 0
    rescale = ThermalRescale(saturated=16383)
    grey = rescale(raw)
    assert (grey[:30] == 255).all() and (grey[100:] == 0).all()
    low, high = rescale.limits
    assert 3000 < low < high < 4000


@pytest.mark.parametrize("method", ["percentile", "fieldwise"])
@pytest.mark.parametrize(
    "raw",
    [np.full((64, 64), np.nan, np.float32), np.zeros((64, 64), np.uint16)],
    ids=["all NaN", "all 0"],
)
def test_a_frame_without_a_usable_pixel_is_refused_and_forgotten(method, raw):
    rescale = ThermalRescale(method)
    good = ramp(3000, 9000, (64, 64), raw.dtype)
    first = rescale(good)
    with pytest.raises(FrameError, match="no (finite|usable) value"):
        rescale(raw)
    assert np.abs(rescale(good).astype(int) - first).max() <= 1


@pytest.mark.parametrize(
    "raw",
    [
        np.zeros((40, 40, 3), np.uint8),
        np.zeros((40,), np.uint16),
        np.zeros((0, 40), np.uint16),
        np.zeros((40, 40), np.int32),
        [[1, 2]],
    ],
)
def test_what_is_not_a_thermal_frame_is_refused(raw):
    with pytest.raises(FrameError, match="thermal frame must be"):
        ThermalRescale()(raw)


@settings(max_examples=40, deadline=None)
@given(
    method=st.sampled_from(sorted(set(METHODS) - {"none"})),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    shape=st.tuples(st.integers(1, 140), st.integers(1, 140)),
    seed=st.integers(0, 99),
)
@example(method="fieldwise", dtype=np.float32, shape=(1, 3), seed=0)  # most are not finite
def test_any_frame_gives_an_image_or_a_frame_error(method, dtype, shape, seed):
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, shape).astype(dtype)
    if dtype == np.float32:
        raw[rng.random(shape) < 0.3] = rng.choice([np.nan, np.inf, -np.inf, 1e30])
    rescale = ThermalRescale(method, window_low=10, window_high=200)
    try:
        grey = rescale(raw)
    except FrameError as error:
        assert "value" in str(error)
    else:
        assert grey.dtype == np.uint8 and grey.shape == shape


def test_big_endian_and_strided_frames_read_alike():
    raw = ramp(3000, 9000)
    expected = ThermalRescale()(raw)
    padded = np.zeros((128, 200), np.uint16)
    padded[:, :160] = raw
    assert np.array_equal(ThermalRescale()(raw.astype(">u2")), expected)
    assert np.array_equal(ThermalRescale()(padded[:, :160]), expected)
    assert np.array_equal(ThermalRescale()(raw[:, :, None]), expected)


# --- steadiness ----------------------------------------------------------------------------


def test_limits_follow_a_step_with_the_time_constant():
    rescale = ThermalRescale(low_percent=0, high_percent=100, smoothing_s=2.0)
    top = []
    for maximum in (2000, 2400):
        reading = ThermalRescale(low_percent=0, high_percent=100)
        reading(ramp(1000, maximum))
        top.append(reading.limits[1])
    rescale(ramp(1000, 2000), stamp_s=0.0)
    rescale(ramp(1000, 2400), stamp_s=2.0)
    assert rescale.limits[1] == pytest.approx(top[0] + (top[1] - top[0]) * (1 - np.exp(-1)), abs=1)


def test_one_hot_pixel_does_not_remap_the_image():
    rescale = ThermalRescale()
    calm = ramp(3000, 5000)
    before = rescale(calm)
    burst = calm.copy()
    burst[64, 80] = 60000
    after = rescale(burst)
    burst_free = np.ones(calm.shape, bool)
    burst_free[64, 80] = False
    assert np.abs(after.astype(int) - before)[burst_free].max() <= 1


def test_a_single_strange_frame_is_ignored_but_a_new_scene_is_followed():
    rescale = ThermalRescale()
    scene, other = ramp(3000, 5000), ramp(20000, 30000)
    before = rescale(scene)
    rescale(other)
    assert np.abs(rescale(scene).astype(int) - before).max() <= 1
    for _ in range(3):
        grey = rescale(other)
    assert rescale.limits == pytest.approx((20000, 30000), rel=0.02)
    assert grey.std() > 60


@pytest.mark.parametrize("stamps", [(10.0, 3.0), (10.0, 60.0)], ids=["jump back", "long pause"])
def test_a_jump_in_time_starts_anew(stamps):
    rescale = ThermalRescale()
    rescale(ramp(3000, 5000), stamps[0])
    rescale(ramp(3000, 7000), stamps[1])
    assert rescale.limits[1] == pytest.approx(7000, rel=0.02)


def test_reset_and_another_size_start_anew():
    rescale = ThermalRescale()
    rescale(ramp(3000, 5000))
    rescale(ramp(3000, 7000, (64, 80)))
    assert rescale.limits[1] == pytest.approx(7000, rel=0.02)
    rescale.reset()
    assert rescale.limits is None


@pytest.fixture(scope="module")
def raw_frames():
    folder = data_root() / "thermal_raw16"
    paths = sorted(folder.rglob("*.tif*"))
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths]


def pumping(raw_frames, grey_frames):
    """Grey change of pixels whose raw value is the same in both frames: the mapping's own."""
    steps = []
    for i in range(1, len(raw_frames)):
        still = raw_frames[i] == raw_frames[i - 1]
        assert still.sum() > 500
        steps.append(cv2.absdiff(grey_frames[i], grey_frames[i - 1])[still].mean())
    return np.mean(steps)


def common_step(raw_frames, grey_frames):
    """By how much those pixels become brighter or darker together."""
    steps = []
    for i in range(1, len(raw_frames)):
        still = raw_frames[i] == raw_frames[i - 1]
        change = grey_frames[i][still].astype(float) - grey_frames[i - 1][still]
        steps.append(abs(change.mean()))
    return np.mean(steps)


@pytest.mark.parametrize("method", ["percentile", "fieldwise"])
def test_real_frames_pump_a_third_of_min_max_at_no_less_entropy(raw_frames, method):
    min_max = [cv2.normalize(f, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U) for f in raw_frames]
    rescale = ThermalRescale(method)
    steady = [rescale(frame) for frame in raw_frames]
    assert pumping(raw_frames, steady) <= pumping(raw_frames, min_max) / 3
    assert common_step(raw_frames, steady) <= common_step(raw_frames, min_max) / 3
    entropies = [np.mean([metrics.en(g) for g in greys]) for greys in (steady, min_max)]
    assert entropies[0] >= entropies[1]


# --- options -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"method": "agc"}, "method.*percentile.*agc"),
        ({"low_percent": 60, "high_percent": 40}, "low_percent"),
        ({"high_percent": 101}, "high_percent"),
        ({"smoothing_s": -1}, "smoothing_s"),
        ({"clahe_clip": -1}, "clahe_clip"),
        ({"fields": 1}, "fields"),
        ({"window_unit": "fahrenheit"}, "window_unit"),
        ({"raw_unit": "fahrenheit"}, "raw_unit"),
        ({"method": "window"}, "window_low"),
        ({"method": "window", "window_low": 9, "window_high": 9}, "window_low < window_high"),
        (
            {
                "method": "window",
                "window_low": 0,
                "window_high": 9,
                "window_unit": "celsius",
                "raw_unit": "counts",
            },
            "radiometric",
        ),
    ],
)
def test_impossible_options_are_refused_by_name(options, names):
    with pytest.raises(ConfigurationError, match=names):
        ThermalRescale(**options)


def test_options_as_one_object_are_the_same_as_by_name():
    expected = ThermalRescale("fieldwise", fields=4, invert=True)(ramp(3000, 9000))
    options = ThermalOptions("fieldwise", fields=4)
    assert np.array_equal(ThermalRescale(options, invert=True)(ramp(3000, 9000)), expected)


def test_a_window_in_degrees_refuses_8_bit_frames():
    rescale = ThermalRescale("window", window_low=0, window_high=40, window_unit="celsius")
    with pytest.raises(FrameError, match="radiometric"):
        rescale(ramp(0, 255, dtype=np.uint8))


def test_another_type_of_the_same_size_starts_anew_with_its_own_unit():
    def rescale():
        return ThermalRescale("window", window_low=0, window_high=40, window_unit="celsius")

    celsius = ramp(0, 40, dtype=np.float32)
    switched = rescale()
    switched(ramp(27315, 31315))
    assert np.array_equal(switched(celsius), rescale()(celsius))
