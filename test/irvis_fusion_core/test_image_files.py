"""Images on disk: what is written is read, and what is broken is named."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.image_files import (
    images_by_stem,
    match_by_stem,
    pairs_in,
    read_thermal,
    read_thermal_8_bit,
    read_visible,
    write_image,
)
from irvis_fusion_core.thermal import ThermalRescale

IMAGE = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)


def test_a_lossless_image_comes_back(tmp_path):
    path = str(tmp_path / "new" / "a.png")
    write_image(path, IMAGE)
    np.testing.assert_array_equal(read_visible(path), IMAGE)


@pytest.mark.parametrize(
    "dtype, suffix",
    [(np.uint8, "png"), (np.uint16, "png"), (np.uint16, "tiff"), (np.float32, "tiff")],
)
def test_thermal_depth_is_kept(tmp_path, dtype, suffix):
    raw = (np.arange(120).reshape(10, 12) * (1 if dtype == np.uint8 else 137)).astype(dtype)
    path = str(tmp_path / ("raw." + suffix))
    assert cv2.imwrite(path, raw)
    found = read_thermal(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, raw)


def test_thermal_saved_as_colour_is_read_as_grey(tmp_path):
    grey = IMAGE[:, :, 0]
    write_image(str(tmp_path / "a.png"), np.dstack([grey] * 3))
    np.testing.assert_array_equal(read_thermal(str(tmp_path / "a.png")), grey)


@settings(max_examples=25, deadline=None)
@given(
    ir=st.sets(st.integers(0, 12), max_size=8),
    vis=st.sets(st.integers(0, 12), max_size=8),
)
def test_pairs_are_the_common_names_or_an_error(tmp_path_factory, ir, vis):
    root = tmp_path_factory.mktemp("pairs")
    for side, numbers, suffix in (("IR", ir, ".png"), ("VIS", vis, ".JPG")):
        (root / side).mkdir()
        (root / side / "notes.txt").write_text("no image")
        for number in numbers:
            (root / side / f"{number:03d}{suffix}").write_bytes(b"")
    if ir == vis and ir:
        found = pairs_in(str(root))
        assert [pair.stem for pair in found] == [f"{n:03d}" for n in sorted(ir)]
        assert all(p.ir.endswith(p.stem + ".png") and p.vis.endswith(".JPG") for p in found)
    else:
        with pytest.raises(FrameError, match="expected"):
            pairs_in(str(root))


def test_one_name_twice_is_refused(tmp_path):
    for name in ("a.png", "a.jpg"):
        write_image(str(tmp_path / name), IMAGE)
    with pytest.raises(FrameError, match="one image called a"):
        match_by_stem(str(tmp_path), str(tmp_path))


def test_missing_truncated_and_unwritable_files_are_named(tmp_path):
    with pytest.raises(FrameError, match="no such file"):
        read_visible(str(tmp_path / "none.png"))
    whole = cv2.imencode(".png", IMAGE)[1].tobytes()
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole[:20])
    with pytest.raises(FrameError, match="20 bytes"):
        read_thermal(str(cut))
    with pytest.raises(FrameError, match="no such folder"):
        match_by_stem(str(tmp_path / "none"), str(tmp_path))
    with pytest.raises(FrameError, match="expected to write"):
        write_image(str(tmp_path / "a.xyz"), IMAGE)


def test_thermal_images_are_rescaled_as_in_the_node(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (32, 1))
    for name, image in (("eight.png", ramp), ("raw.png", ramp.astype(np.uint16) * 9 + 7000)):
        write_image(str(tmp_path / name), image)
    expected = ThermalRescale(smoothing_s=0.0)(ramp)
    assert (read_thermal_8_bit(str(tmp_path / "eight.png")) == expected).all()
    rescaled = read_thermal_8_bit(str(tmp_path / "raw.png"))
    assert rescaled.dtype == np.uint8 and (np.diff(rescaled[0].astype(int)) >= 0).all()
    assert rescaled.min() == 0 and rescaled.max() == 255  # raw counts as they are would wrap


def test_images_by_stem_leaves_out_hidden_files_and_may_be_empty(tmp_path):
    write_image(str(tmp_path / "a.png"), np.zeros((4, 4), np.uint8))
    (tmp_path / "._a.png").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("no image")
    assert images_by_stem(tmp_path) == {"a": str(tmp_path / "a.png")}
    (tmp_path / "empty").mkdir()
    assert images_by_stem(tmp_path / "empty") == {}
