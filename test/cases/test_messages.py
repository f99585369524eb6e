"""Image messages as drivers send them; the numbers are those of the table of reported cases."""

import cv2
import numpy as np
import pytest
from message_builders import compressed, from_array

from irvis_fusion_core.errors import ConfigurationError, FrameError
from irvis_fusion_core.thermal import ThermalRescale
from irvis_fusion_core.thermal.palettes import grey_of
from irvis_fusion_ros.messages.image_encodings import ImageMessageError
from irvis_fusion_ros.messages.image_messages import thermal_frame, thermal_image, visible_frame
from irvis_fusion_ros.pipeline.message_checks import MessageChecks


def ramp(height=48, width=64):
    y, x = np.mgrid[:height, :width]
    return ((x * 255 // (width - 1)) * 0.7 + y * 76 // (height - 1)).astype(np.uint8)


def coded(pixels, suffix=".jpg"):
    return cv2.imencode(suffix, pixels)[1].tobytes()


def notes_of(*messages):
    notes = []
    checks = MessageChecks(lambda *note: notes.append(note))
    frames = [checks.ir(message) for message in messages]
    return frames, notes


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("name", ["16UC1", "mono16", "32FC1"])
def test_b07_8_bit_data_under_a_16_bit_name_is_named(name, suffix):
    message = compressed(coded(np.full((48, 64), 255, np.uint8), suffix), f"{name}; compressed ")
    (frame,), ((kind, text),) = notes_of(message)
    assert frame is None and kind == "ir: wrong_depth" and name in text


def test_b07_raw_8_bit_data_under_a_16_bit_name_is_named():
    message = from_array("mono8", ramp())
    message.encoding = "16UC1"
    for step in (64, 128):
        message.step = step
        (frame,), ((kind, _),) = notes_of(message)
        assert frame is None and kind == "ir: wrong_depth"


def test_b07_16_bit_png_under_a_16_bit_name_is_used():
    raw = ramp().astype(np.uint16) * 40 + 12000
    message = compressed(coded(raw, ".png"), "16UC1; png compressed ")
    np.testing.assert_array_equal(thermal_frame(message), raw)


def test_b43_a_truncated_jpeg_in_a_message_is_refused():
    whole = coded(cv2.merge([ramp()] * 3))
    for share in (0.3, 0.9):
        with pytest.raises(ImageMessageError) as caught:
            visible_frame(compressed(whole[: int(len(whole) * share)], "jpeg"))
        assert caught.value.kind == "undecodable"


def test_bayer_that_was_sent_as_grey_is_not_demosaiced_again():
    grey = ramp()
    for suffix, word in ((".png", "png"), (".jpg", "jpeg")):
        message = compressed(coded(grey, suffix), f"bayer_rggb8; {word} compressed mono8")
        pixels, _ = visible_frame(message)
        stored = cv2.imdecode(np.frombuffer(coded(grey, suffix), np.uint8), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(pixels, np.dstack([stored] * 3))


def test_data_longer_than_its_rows_is_named_and_used():
    message = from_array("mono8", ramp())
    message.data.extend(range(100))
    (frame,), notes = notes_of(message)
    np.testing.assert_array_equal(frame.pixels, ramp())
    assert notes == [("ir: long data", "100 bytes behind the last row are ignored")]


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_grey_three_times_over_is_grey(encoding):
    (frame,), notes = notes_of(from_array(encoding, np.dstack([ramp()] * 3)))
    np.testing.assert_array_equal(frame.pixels, ramp())
    assert notes == []


@pytest.mark.parametrize("name", ["JET", "RAINBOW", "HOT", "INFERNO", "PLASMA", "TURBO"])
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "jpeg"])
def test_false_colours_are_turned_back_and_named(name, encoding):
    grey = ramp()
    bgr = cv2.applyColorMap(grey, getattr(cv2, "COLORMAP_" + name))
    if encoding == "jpeg":
        message = compressed(coded(bgr), "rgb8; jpeg compressed bgr8")
    else:
        message = from_array(encoding, bgr if encoding == "bgr8" else bgr[..., ::-1].copy())
    (frame,), ((kind, text),) = notes_of(message)
    assert kind == "ir: false colour" and name.lower() in text
    expected = 255 - grey if name == "RAINBOW" else grey  # OpenCV's rainbow begins with red
    difference = np.abs(frame.pixels.astype(int) - expected)
    assert np.median(difference) <= (6 if encoding == "jpeg" else 2)


def test_iron_keeps_the_order_of_temperatures():
    # The ironbow of another vendor, by its own colours.
    points = [(0, 0, 10), (20, 0, 120), (110, 0, 155), (200, 30, 130), (230, 80, 30),
              (245, 140, 0), (255, 200, 40), (255, 255, 245)]  # fmt: skip
    grey = ramp()
    places = np.linspace(0, 255, len(points))
    rgb = np.stack([np.interp(grey, places, [p[c] for p in points]) for c in range(3)], axis=-1)
    frame, palette = thermal_image(from_array("rgb8", rgb.astype(np.uint8)))
    assert palette == "iron"
    order = np.argsort(grey, axis=None, kind="stable")
    assert np.corrcoef(frame.ravel()[order], grey.ravel()[order])[0, 1] > 0.99


def test_colours_of_no_palette_are_named_and_give_their_luma():
    rng = np.random.default_rng(0)
    photograph = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48))
    (frame,), ((kind, text),) = notes_of(from_array("bgr8", photograph))
    assert kind == "ir: false colour" and "unknown" in text
    np.testing.assert_array_equal(frame.pixels, cv2.cvtColor(photograph, cv2.COLOR_BGR2GRAY))


def test_a_named_palette_is_used_without_recognition():
    jet = cv2.applyColorMap(ramp(), cv2.COLORMAP_JET)
    luma = cv2.cvtColor(jet, cv2.COLOR_BGR2GRAY)
    np.testing.assert_array_equal(grey_of(jet, "grey").grey, luma)
    assert np.median(np.abs(grey_of(jet, "jet").grey.astype(int) - ramp())) <= 2


def test_single_values_that_are_not_finite_are_repaired_like_dead_pixels():
    heat = 290 + ramp().astype(np.float32) / 10
    whole = ThermalRescale()(heat)
    for value in (np.nan, np.inf, -np.inf):
        broken = heat.copy()
        broken[[0, 20, 20, 33], [5, 30, 31, 63]] = value
        assert np.abs(ThermalRescale()(broken).astype(int) - whole).max() <= 8


def test_more_than_max_invalid_share_makes_a_frame_unusable():
    heat = 290 + ramp().astype(np.float32) / 10
    heat[:12] = np.nan  # a quarter
    assert (ThermalRescale(max_invalid_share=0.25)(heat)[:12] == 0).all()
    with pytest.raises(FrameError, match="25.0 %.*max_invalid_share"):
        ThermalRescale(max_invalid_share=0.2)(heat)
    with pytest.raises(ConfigurationError, match="max_invalid_share"):
        ThermalRescale(max_invalid_share=1.5)


def test_a_thermal_frame_with_a_few_values_that_are_not_finite_is_used():
    heat = ramp().astype(np.float32)
    heat[5, 7:9] = np.nan, np.inf
    assert np.isnan(thermal_frame(from_array("32FC1", heat))[5, 7])
    with pytest.raises(ImageMessageError) as caught:
        thermal_frame(from_array("32FC1", np.full((48, 64), np.nan, np.float32)))
    assert caught.value.kind == "not_finite"
