"""8-bit frames take a shorter way to the same image; any frame gives one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from irvis_fusion_core.thermal import ThermalRescale
from irvis_fusion_core.thermal.methods import METHODS, frame_limits


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    st.floats(0, 50),
    st.floats(50.1, 100),
)
def test_counting_gives_the_percentiles_that_sorting_gives(sample, low_percent, high_percent):
    counted = frame_limits(sample, low_percent, high_percent)
    sorted_out = frame_limits(sample.astype(np.float32), low_percent, high_percent)
    assert [float(limit) for limit in counted] == [float(limit) for limit in sorted_out]
    assert all(limit.dtype == np.float32 and limit.ndim == 0 for limit in counted)


@pytest.mark.parametrize(
    "options", [{}, {"invert": True}, {"clahe_clip": 2.0}, {"smoothing_s": 0}]
)
def test_8_bit_frames_by_table_are_what_float_arithmetic_gives(options):
    rng = np.random.default_rng(5)
    table = ThermalRescale(**options)
    arithmetic = ThermalRescale(raw_unit="counts", **options)
    for number in range(4):
        frame = rng.integers(20 + 9 * number, 140, (160, 200)).astype(np.uint8)
        stamp_s = 100.0 + number / 9.0
        assert (table(frame, stamp_s) == arithmetic(frame.astype(np.float32), stamp_s)).all()
        assert table.limits == arithmetic.limits


@pytest.mark.parametrize("saturated, whitest", [(240, 90), (None, 250)])
def test_white_of_an_8_bit_frame_is_a_value_unless_it_is_called_saturated(saturated, whitest):
    raw = np.tile(np.linspace(30, 90, 160).astype(np.uint8), (120, 1))
    raw[:30] = 250
    rescale = ThermalRescale(saturated=saturated)
    assert (rescale(raw)[:30] == 255).all()
    assert whitest - 5 < rescale.limits[1] <= whitest


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"none"}))
def test_a_frame_of_equal_huge_values_gives_an_image(method):
    frame = np.full((4, 5), 1e30, np.float32)  # the next float32 is 7e22 away
    grey = ThermalRescale(method, window_low=10, window_high=200)(frame)
    assert grey.dtype == np.uint8 and grey.shape == frame.shape
