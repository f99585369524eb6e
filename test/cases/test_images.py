"""Image files as people have them; the numbers are those of the table of reported cases."""

import os
import struct

import cv2
import numpy as np
import pytest
from real_data import data_root
from thermal_jpegs import dji, flir_of_a_drone, radiometric_flir

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.file_formats.image_bytes import is_whole
from irvis_fusion_core.image_files import match_by_stem, read_thermal, read_visible, write_image
from irvis_fusion_core.thermal.raw_frames import has_swapped_bytes


def scene(height=60, width=80):
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(0).normal(0, 1.5, (height, width))
    return np.clip(70 + x / 2 + 40 * np.sin(y / 9) + noise, 0, 255).astype(np.uint8)


def coded(suffix, *options):
    image = np.dstack([scene(), scene()[::-1], scene()[:, ::-1]])
    return cv2.imencode(suffix, image, options)[1].tobytes()


FILES = {
    "baseline.jpg": coded(".jpg"),
    "progressive.jpg": coded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "a.png": coded(".png"),
    "a.tiff": coded(".tiff"),
    "plain.tiff": coded(".tiff", cv2.IMWRITE_TIFF_COMPRESSION, 1),
    "a.bmp": coded(".bmp"),
    "a.webp": coded(".webp"),
    "a.ppm": coded(".ppm"),
}


@pytest.mark.parametrize("name", FILES)
def test_b43_truncated_images_are_refused_at_any_length(tmp_path, name):
    path = tmp_path / name
    for share in (0.0, 0.01, 0.1, 0.3, 0.6, 0.9, 0.999):
        path.write_bytes(FILES[name][: int(len(FILES[name]) * share)])
        for read in (read_visible, read_thermal):
            with pytest.raises(FrameError, match="truncated"):
                read(path)
    path.write_bytes(FILES[name])
    assert read_visible(path).shape == (60, 80, 3)


@pytest.mark.parametrize("name", FILES)
def test_b43_is_found_without_the_decoder(name):
    if name != "a.ppm":  # every OpenCV refuses these
        assert not is_whole(FILES[name][: len(FILES[name]) * 3 // 10])
    assert is_whole(FILES[name])


def test_a_bmp_with_a_wrong_size_in_its_head_is_read(tmp_path):
    """As in the TNO data set: the head declares more bytes than the file and its pixels have."""
    data = bytearray(FILES["a.bmp"])
    data[2:6] = struct.pack("<I", 2 * len(data))
    (tmp_path / "a.bmp").write_bytes(data)
    assert read_visible(tmp_path / "a.bmp").shape == (60, 80, 3)


def test_b43_an_exif_thumbnail_does_not_hide_the_missing_end(tmp_path):
    whole = FILES["baseline.jpg"]
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(whole)) + whole
    path = tmp_path / "a.jpg"
    path.write_bytes(whole[:2] + thumbnail + whole[2:])
    assert read_visible(path).shape == (60, 80, 3)
    path.write_bytes(whole[:2] + thumbnail + whole[2 : len(whole) // 2])
    with pytest.raises(FrameError, match="truncated"):
        read_visible(path)


def test_b43_a_flipped_bit_in_a_png_is_refused(tmp_path):
    data = bytearray(FILES["a.png"])
    data[len(data) // 2] ^= 4
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(FrameError):
        read_visible(tmp_path / "a.png")


def test_b45_names_that_are_not_utf_8(tmp_path):
    folder = os.fsencode(tmp_path)
    try:
        for side in (b"IR", b"VIS"):
            os.mkdir(os.path.join(folder, side))
            with open(os.path.join(folder, side, b"bild_\xfc.png"), "wb") as file:
                file.write(FILES["a.png"])
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (pair,) = match_by_stem(tmp_path / "IR", tmp_path / "VIS")
    expected = cv2.imdecode(np.frombuffer(FILES["a.png"], np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read_visible(pair.vis), expected)
    write_image(os.path.join(tmp_path, "out", pair.stem + ".png"), expected)
    assert os.listdir(folder + b"/out") == [b"bild_\xfc.png"]


def test_b49_hidden_files_are_left_out_and_said(tmp_path, caplog):
    for side in ("IR", "VIS"):
        write_image(tmp_path / side / "a.png", scene())
        (tmp_path / side / "._a.png").write_bytes(b"\0\5\26\7" + bytes(100))
    assert [pair.stem for pair in match_by_stem(tmp_path / "IR", tmp_path / "VIS")] == ["a"]
    assert len([r for r in caplog.messages if "'._a.png'" in r]) == 2


def test_b13_swapped_bytes_of_a_flir_png_are_swapped_back(tmp_path):
    counts = scene().astype(np.uint16) * 40 + 12000
    for name, image in (("right", counts), ("swapped", counts.byteswap())):
        write_image(tmp_path / f"{name}.png", image)
        np.testing.assert_array_equal(read_thermal(tmp_path / f"{name}.png"), counts)


@pytest.mark.parametrize(
    "image",
    [
        scene().astype(np.uint16),
        scene().astype(np.uint16) * 256,
        scene().astype(np.uint16) * 257,
        scene().astype(np.uint16) // 50 + 29300,
        np.full((60, 80), 29315, np.uint16),
        np.random.default_rng(1).integers(0, 65536, (60, 80), np.uint16),
        (np.random.default_rng(2).normal(29315, 5, (60, 80))).astype(np.uint16),
    ],
    ids=["8 bits", "upper byte", "both bytes", "flat", "constant", "noise", "faint noise"],
)
def test_b13_images_in_the_right_order_stay(image):
    assert not has_swapped_bytes(image)


def test_radiometric_flir_jpeg_gives_kelvin(tmp_path):
    pytest.importorskip("flyr", reason="reads radiometric JPEGs of FLIR")
    counts = scene().astype(np.uint16) * 20 + 13000
    (tmp_path / "a.jpg").write_bytes(radiometric_flir(counts))
    kelvin = read_thermal(tmp_path / "a.jpg")
    expected = 1501.0 / np.log(21106.77 / (0.012545258 * (counts - 7340.0)) + 1.0)
    assert kelvin.dtype == np.float32
    np.testing.assert_allclose(kelvin, expected, atol=0.05)


def test_radiometric_flir_jpeg_without_its_library_or_data_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(radiometric_flir(scene().astype(np.uint16)).replace(b"FFF\0", b"xxxx"))
    monkeypatch.setitem(__import__("sys").modules, "flyr", None)
    with pytest.raises(FrameError, match="pip install flyr.*or export it"):
        read_thermal(path)
    assert read_visible(path).shape == (60, 80, 3)


def test_a_flir_jpeg_is_read_no_further_than_it_goes(tmp_path):
    """A kilobyte declared 4 billion records; flyr walked them, and Pillow unpacked the images."""
    pytest.importorskip("flyr", reason="reads radiometric JPEGs of FLIR")
    counts = scene().astype(np.uint16) * 20 + 13000
    whole, path = radiometric_flir(counts), tmp_path / "a.jpg"
    path.write_bytes(whole)
    kelvin = read_thermal(path)
    count = struct.pack(">III", 100, 64, 4)
    assert whole.count(count) == 1
    path.write_bytes(whole.replace(count, struct.pack(">III", 100, 64, 0xFFFFFFFF)))
    np.testing.assert_array_equal(read_thermal(path), kelvin)
    path.write_bytes(radiometric_flir(np.zeros((2100, 2000), np.uint16)))
    with pytest.raises(FrameError, match="at most 4194304 pixels.*2000x2100"):
        read_thermal(path)


def test_a_flir_core_in_a_drone_gives_its_counts(tmp_path):
    counts = scene().astype("<u2") * 9 + 2000
    (tmp_path / "a.jpg").write_bytes(flir_of_a_drone(counts))
    np.testing.assert_array_equal(read_thermal(tmp_path / "a.jpg"), counts)


# Shape, and least and largest values that such a scene has: kelvin, or counts.
REAL = {
    "DJI_XT2.jpg": ((512, 640), 2000, 8000),
    "H20T_DJI_0001_R.JPG": ((512, 640), 10000, 25000),
    "FLIR_AX8.jpg": ((60, 80), 290, 305),
    "FLIR_E40.jpg": ((120, 160), 285, 305),
    "FLIR_T640.jpg": ((480, 640), 290, 380),
}


@pytest.mark.parametrize("name", REAL)
def test_real_radiometric_files_give_their_raster(name):
    path = data_root() / "rjpeg" / name
    if name.startswith("FLIR"):
        pytest.importorskip("flyr", reason="reads radiometric JPEGs of FLIR")
    shape, least, most = REAL[name]
    raster = read_thermal(path)
    assert raster.shape == shape and raster.dtype == (np.float32 if most < 1000 else np.uint16)
    assert least < raster.min() < raster.max() < most


def test_radiometric_dji_jpeg_gives_its_counts(tmp_path):
    counts = scene().astype("<u2") * 7 + 3000
    (tmp_path / "a.jpg").write_bytes(dji(counts.tobytes()))
    np.testing.assert_array_equal(read_thermal(tmp_path / "a.jpg"), counts)
    (tmp_path / "a.jpg").write_bytes(dji(counts.tobytes()[:-10]))
    with pytest.raises(FrameError, match="DJI.*16-bit TIFF"):
        read_thermal(tmp_path / "a.jpg")


def false_colours(name):
    """A scene as the named map of OpenCV colours it; the true levels are `scene()`."""
    return cv2.applyColorMap(scene(), getattr(cv2, "COLORMAP_" + name))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("name", ["INFERNO", "JET", "HOT"])
def test_a_file_in_false_colours_is_turned_into_grey_as_messages_are(tmp_path, name, suffix):
    path = tmp_path / f"a{suffix}"
    write_image(path, false_colours(name))
    found = read_thermal(path).astype(int)
    assert np.abs(found - scene()).mean() < 4
    luma = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(read_thermal(path, palette="grey"), luma)


def test_grey_files_with_three_channels_and_photographs_give_their_luminance(tmp_path, caplog):
    write_image(tmp_path / "grey.png", np.dstack([scene()] * 3))
    np.testing.assert_array_equal(read_thermal(tmp_path / "grey.png"), scene())
    rng = np.random.default_rng(0)
    photograph = cv2.GaussianBlur(rng.integers(0, 256, (60, 80, 3), np.uint8), (0, 0), 2)
    photograph = cv2.normalize(photograph, None, 0, 255, cv2.NORM_MINMAX)
    write_image(tmp_path / "photograph.png", photograph)
    luma = cv2.imread(str(tmp_path / "photograph.png"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(read_thermal(tmp_path / "photograph.png"), luma)
    assert "no known palette" in caplog.text


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float64])
def test_numbers_that_no_camera_message_has_become_float32(tmp_path, kind):
    pixels = scene().astype(kind) * 50 - 5000
    tifffile = pytest.importorskip("tifffile", reason="writes signed TIFF files")
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    found = read_thermal(tmp_path / "a.tif")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, pixels)


def test_an_indexed_png_in_false_colours_is_turned_into_grey(tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="writes indexed PNG files")
    colours = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)
    image = pillow.frombytes("P", scene().shape[::-1], scene().tobytes())
    image.putpalette(colours[:, 0, ::-1].ravel().tolist())
    image.save(tmp_path / "a.png")
    assert np.abs(read_thermal(tmp_path / "a.png").astype(int) - scene()).mean() < 4
