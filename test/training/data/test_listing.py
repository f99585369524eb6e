"""Which files belong together, and that every bad one is named before the first step."""

import string

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pair_folders import write_pair_folder

from training.data.images import read_images, read_luminance, read_pair, read_variance
from training.data.listing import list_images
from training.errors import DataError, SizeError


def test_teachers_are_matched_by_stem_number_and_variance(tmp_path):
    write_pair_folder(tmp_path, 3, teacher=lambda ir, vis: ir)
    teachers = tmp_path / "TEACHER_FUSED"
    for name in ("p1_0", "p1_1", "p1_12", "p1_mask", "q_1"):
        cv2.imwrite(str(teachers / f"{name}.png"), np.zeros((64, 64), np.uint8))
    np.save(teachers / "p2_var.npy", np.full((64, 64), 0.01, np.float32))
    listing = list_images(tmp_path)
    assert [len(pair.teachers) for pair in listing.pairs] == [1, 4, 1]
    assert [pair.variance is not None for pair in listing.pairs] == [False, False, True]
    assert listing.unmatched == ["TEACHER_FUSED/p1_mask.png", "TEACHER_FUSED/q_1.png"]
    assert listing.with_teacher == 3 and "2 without a partner" in listing.report()
    scene = read_images(listing.pairs[2])
    assert scene.teachers.shape == (1, 64, 64) and scene.variance.max() == np.float32(0.01)


def test_a_pair_named_like_a_sample_keeps_its_own_teacher(tmp_path):
    """Frames are often called scene_1, scene_2: those are pairs, not samples of `scene`."""
    for side in ("IR", "VIS", "TEACHER_FUSED"):
        (tmp_path / side).mkdir()
        for stem in ("scene", "scene_1"):
            cv2.imwrite(str(tmp_path / side / f"{stem}.png"), np.zeros((16, 16), np.uint8))
    pairs = list_images(tmp_path).pairs
    assert [[path.stem for path in pair.teachers] for pair in pairs] == [["scene"], ["scene_1"]]


STEMS = st.sets(st.text(string.ascii_lowercase + "_0", min_size=1, max_size=4), max_size=5)


@settings(max_examples=30, deadline=None)
@given(ir=STEMS, vis=STEMS, teacher=STEMS)
def test_every_file_is_in_a_pair_or_reported(ir, vis, teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for side, stems in (("IR", ir), ("VIS", vis), ("TEACHER_FUSED", teacher)):
        (folder / side).mkdir()
        for stem in stems:
            (folder / side / f"{stem}.png").touch()
    if not ir & vis:
        with pytest.raises(DataError, match="no usable pair"):
            list_images(folder, check=False)
        return
    listing = list_images(folder, check=False)
    assert {pair.stem for pair in listing.pairs} == ir & vis
    used = sum(len(pair.teachers) + (pair.variance is not None) for pair in listing.pairs)
    assert 2 * len(listing.pairs) + used + len(listing.unmatched) == len(ir) + len(vis) + len(
        teacher
    )


def test_bad_files_are_named_by_kind_and_can_be_skipped(tmp_path):
    write_pair_folder(tmp_path, 5, teacher=lambda ir, vis: ir)
    truncated = tmp_path / "VIS" / "p0.png"
    truncated.write_bytes(truncated.read_bytes()[:-200])
    cv2.imwrite(str(tmp_path / "IR" / "p1.png"), np.zeros((32, 64), np.uint8))
    cv2.imwrite(str(tmp_path / "TEACHER_FUSED" / "p2.png"), np.zeros((64, 32), np.uint8))
    (tmp_path / "IR" / "p3.png").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "IR" / "lonely.png"), np.zeros((64, 64), np.uint8))
    listing = list_images(tmp_path)
    assert [pair.stem for pair in listing.pairs] == ["p4"]
    assert listing.unmatched == ["IR/lonely.png"]
    assert [row.split(":")[0] for row in listing.unreadable] == ["p0", "p3"]
    assert [row.split(":")[0] for row in listing.unequal] == ["p1", "p2"]
    with pytest.raises(DataError, match="found 5 faults.*--skip_bad") as error:
        listing.require_clean()
    for word in ("p0.png", "truncated", "64x32", "32x64", "lonely.png"):
        assert word in str(error.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_opencv_reads_half_a_file_and_we_refuse_it(tmp_path, suffix, share):
    path = tmp_path / f"half.{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match="half.*truncated"):
        read_luminance(path)


def test_missing_and_empty_folders_say_which(tmp_path):
    with pytest.raises(DataError, match="IR, found no such folder"):
        list_images(tmp_path)
    (tmp_path / "IR").mkdir()
    (tmp_path / "VIS").mkdir()
    with pytest.raises(DataError, match="found 0 and 0 images"):
        list_images(tmp_path)
    for suffix in ("png", "bmp"):
        cv2.imwrite(str(tmp_path / "IR" / f"a.{suffix}"), np.zeros((16, 16), np.uint8))
    with pytest.raises(DataError, match="a.bmp and a.png; remove one"):
        list_images(tmp_path)


def test_raw_thermal_takes_the_way_of_the_node(tmp_path):
    from irvis_fusion_core.thermal import ThermalRescale

    raw = np.random.default_rng(0).integers(7000, 9000, (48, 64)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "ir.tiff"), raw)
    cv2.imwrite(str(tmp_path / "vis.png"), np.full((48, 64, 3), (10, 20, 30), np.uint8))
    ir, vis = read_pair(tmp_path / "ir.tiff", tmp_path / "vis.png")
    assert np.array_equal(ir, ThermalRescale(smoothing_s=0.0)(raw))
    assert vis[0, 0].tolist() == [30, 20, 10]  # RGB
    cv2.imwrite(str(tmp_path / "small.png"), raw[:10].astype(np.uint8))
    with pytest.raises(SizeError, match="64x10.*64x48.*register"):
        read_pair(tmp_path / "small.png", tmp_path / "vis.png")


def test_variances_as_images_and_arrays_agree(tmp_path):
    variance = np.linspace(0.0, 0.25, 64 * 64, dtype=np.float32).reshape(64, 64)
    np.save(tmp_path / "a_var.npy", variance)
    cv2.imwrite(str(tmp_path / "b_var.png"), (variance * 4 * 65535).round().astype(np.uint16))
    cv2.imwrite(str(tmp_path / "c_var.tiff"), variance)
    for name, tolerance in (("a_var.npy", 0.0), ("b_var.png", 4e-6), ("c_var.tiff", 0.0)):
        assert np.abs(read_variance(tmp_path / name) - variance).max() <= tolerance, name
    np.save(tmp_path / "d_var.npy", -variance)
    with pytest.raises(DataError, match="0 or more"):
        read_variance(tmp_path / "d_var.npy")
    (tmp_path / "e_var.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="e_var"):
        read_variance(tmp_path / "e_var.npy")
