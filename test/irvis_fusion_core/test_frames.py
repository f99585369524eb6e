"""Frames: what is refused, and that what is accepted comes out with the same pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.frames import normalize_ir, normalize_pair, swap_order

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))


def images(channels):
    return SIZES.flatmap(lambda size: hnp.arrays(np.uint8, (*size, *channels)))


def strided(array, kind):
    """The same pixels in another memory layout."""
    if kind == "flipped":
        return np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1]
    if kind == "fortran":
        return np.asfortranarray(array)
    if kind == "padded rows":
        wide = np.zeros((array.shape[0], array.shape[1] + 3, *array.shape[2:]), np.uint8)
        wide[:, : array.shape[1]] = array
        return wide[:, : array.shape[1]]
    if kind == "read only":
        array = array.copy()
        array.flags.writeable = False
    return array


LAYOUTS = st.sampled_from(["plain", "flipped", "fortran", "padded rows", "read only"])


@settings(max_examples=60, deadline=None)
@given(vis=images((3,)), layout=LAYOUTS, flat=st.booleans())
def test_any_strides_give_the_same_pixels_in_c_order(vis, layout, flat):
    ir = vis[:, :, 0] if flat else vis[:, :, :1]
    out_ir, out_vis = normalize_pair(strided(ir, layout), strided(vis, layout))
    assert out_ir.flags.c_contiguous and out_vis.flags.c_contiguous
    assert out_ir.shape == (*vis.shape[:2], 1)
    np.testing.assert_array_equal(out_ir[:, :, 0], vis[:, :, 0])
    np.testing.assert_array_equal(out_vis, vis)


@settings(max_examples=30, deadline=None)
@given(grey=images(()))
def test_three_equal_channels_are_that_channel(grey):
    np.testing.assert_array_equal(normalize_ir(np.dstack([grey] * 3))[:, :, 0], grey)


@pytest.mark.parametrize(
    "order, weights", [("rgb", (0.299, 0.587, 0.114)), ("bgr", (0.114, 0.587, 0.299))]
)
def test_false_colour_becomes_luminance(order, weights):
    ir = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    expected = ir.astype(np.float64) @ weights
    assert np.abs(normalize_ir(ir, order)[:, :, 0] - expected).max() <= 0.51


def test_contiguous_frames_are_not_copied():
    ir, vis = np.zeros((4, 5, 1), np.uint8), np.zeros((4, 5, 3), np.uint8)
    out_ir, out_vis = normalize_pair(ir, vis)
    assert np.shares_memory(out_ir, ir) and np.shares_memory(out_vis, vis)


@settings(max_examples=20, deadline=None)
@given(vis=images((3,)))
def test_swapping_the_order_reverses_the_channels(vis):
    np.testing.assert_array_equal(swap_order(vis), vis[:, :, ::-1])


GOOD_IR = np.zeros((4, 5), np.uint8)
GOOD_VIS = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    "ir, vis, told",
    [
        (None, GOOD_VIS, "None"),
        ([[1, 2]], GOOD_VIS, "list"),
        (GOOD_IR.astype(np.uint16), GOOD_VIS, "uint16"),
        (np.full((4, 5), np.nan, np.float32), GOOD_VIS, "20 values that are NaN"),
        (np.zeros((4, 5), np.float32), GOOD_VIS, "float32"),
        (GOOD_IR[None, None], GOOD_VIS, r"shape \[1, 1, 4, 5\]"),
        (np.zeros((4, 5, 2), np.uint8), GOOD_VIS, "found 2"),
        (np.zeros((0, 5), np.uint8), GOOD_VIS, "empty"),
        (GOOD_IR, GOOD_IR, r"shape \[4, 5\]"),
        (GOOD_IR, np.zeros((4, 5, 4), np.uint8), r"vis\[\.\.\., :3\]"),
        (GOOD_IR, np.zeros((4, 5, 1), np.uint8), "GRAY2RGB"),
        (GOOD_IR, np.zeros((3, 4, 5), np.uint8), "channels first"),
        (GOOD_IR, np.zeros((4, 5, 3), np.float64), "float64"),
        (GOOD_IR, np.full((4, 5, 3), np.inf), "60 values that are NaN or infinite"),
        (GOOD_IR, np.zeros((4, 0, 3), np.uint8), "empty"),
        (GOOD_IR, np.zeros((5, 4, 3), np.uint8), "5x4 and 4x5"),
    ],
)
def test_bad_frames_are_refused_with_what_was_found(ir, vis, told):
    with pytest.raises(FrameError, match=told) as caught:
        normalize_pair(ir, vis)
    assert str(caught.value).startswith("expected ")


@pytest.mark.parametrize("order", ["RGB", "yuv", "", None])
def test_an_unknown_order_is_refused(order):
    with pytest.raises(ConfigurationError, match="rgb or bgr"):
        normalize_pair(GOOD_IR, GOOD_VIS, order)


@settings(max_examples=80, deadline=None)
@given(
    ir=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32, np.int8, np.bool_]),
        hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    ),
    vis=hnp.arrays(
        st.sampled_from([np.uint8, np.float64]),
        hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    ),
)
def test_whatever_comes_is_a_pair_or_a_frame_error(ir, vis):
    try:
        out_ir, out_vis = normalize_pair(ir, vis)
    except FrameError:
        return
    assert out_ir.dtype == out_vis.dtype == np.uint8
    assert out_vis.shape == (*out_ir.shape[:2], 3) and out_ir.shape[2] == 1 and out_ir.size
