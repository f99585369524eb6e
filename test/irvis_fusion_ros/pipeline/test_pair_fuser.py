"""A fused image is written into the message that goes out, and nobody writes to it afterwards."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from message_builders import compressed, from_array, serialized, smooth_pixels

from irvis_fusion_ros.messages.image_messages import view, visible_frame
from irvis_fusion_ros.messages.serialized_image import (
    ImageInPlace,
    SerializedImage,
    head_bytes,
    image_bytes,
)
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.current_stages import CurrentStages
from irvis_fusion_ros.pipeline.frames import IrFrame, VisFrame
from irvis_fusion_ros.pipeline.pair_fuser import PairFuser

HEIGHT, WIDTH = 32, 48
MS = 1_000_000
HALF_COVERED = {
    "registration.mode": "homography",
    "registration.homography": [0.5, 0.0, 9.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
}


class Maximum:
    """Writes where it is told to, or gives an array of its own."""

    in_place = True

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        self.out = out
        return np.maximum(ir[..., np.newaxis], vis, out=out if self.in_place else None)


class OwnArray(Maximum):
    in_place = False


class Keeping(Maximum):
    """Writes to the arrays of earlier frames as well."""

    def __init__(self):
        self.kept = []

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        for earlier in self.kept:
            earlier[:] = 99
        self.kept.append(out)
        return super().fuse_frame(ir, vis, order, out)


def messages():
    """A visible message of each kind."""
    bgr = smooth_pixels(HEIGHT, WIDTH)
    alpha = np.dstack([bgr, bgr[..., :1]])
    arrays = {"rgb8": bgr, "bgr8": bgr, "8UC3": bgr, "rgba8": alpha, "bgra8": alpha}
    arrays.update({"mono8": bgr[..., 0], "bayer_rggb8": bgr[..., 0], "yuyv": bgr[..., :2]})
    arrays["mono16"] = bgr[..., 0].astype(np.uint16) * 256
    made = {name: serialized(from_array(name, array)) for name, array in arrays.items()}
    jpeg = cv2.imencode(".jpg", bgr)[1].tobytes()
    return {**made, "jpeg": serialized(compressed(jpeg, "bgr8; jpeg compressed bgr8"))}


def fuse(engine, message, stages, number=0):
    stamp_ns = number * 33 * MS
    frame = VisFrame(number, message, None, stamp_ns, 0, (HEIGHT, WIDTH))
    thermal = smooth_pixels(HEIGHT, WIDTH, 1, seed=number)[..., 0]
    return PairFuser(engine).fuse(frame, IrFrame(number, stamp_ns, thermal), stages)


def stages_of(**changes):
    changes = {"thermal.method": "none", "limit_flicker": False, **changes}
    return CurrentStages(Settings.of(changes)).stages


@pytest.mark.parametrize("kind", messages())
@pytest.mark.parametrize("changes", [{}, HALF_COVERED], ids=["covered", "half covered"])
def test_an_image_written_in_place_is_that_of_an_engine_with_its_own_array(kind, changes):
    message, engine = messages()[kind], Maximum()
    own = fuse(OwnArray(), message, stages_of(**changes))
    fused = fuse(engine, message, stages_of(**changes))
    assert (engine.out is None) == (kind in ("rgba8", "bgra8", "mono8", "mono16"))
    assert fused.message == own.message
    assert np.array_equal(fused.image, own.image)
    vis, order = visible_frame(message)
    inside = np.s_[:] if not changes else np.s_[:, 12:30]
    expected = np.maximum(fused.ir8[..., None], vis)
    assert fused.order == order and np.array_equal(fused.image[inside], expected[inside])
    if engine.out is not None:
        sent = SerializedImage(fused.message)
        assert np.array_equal(view(sent), fused.image)
        assert sent.head == message.head and sent.step == 3 * WIDTH
        with pytest.raises(ValueError, match="read-only"):
            fused.image[:] = 0


@pytest.mark.parametrize("engine", [Maximum, Keeping])
def test_a_message_that_is_kept_does_not_change_with_later_frames(engine):
    """Also where the engine holds on to what it was given."""
    message, given_engine = messages()["bgr8"], engine()
    stages, other = stages_of(limit_flicker=True), stages_of(limit_flicker=True)
    kept = [fuse(given_engine, message, stages, number) for number in range(4)]
    expected = [fuse(OwnArray(), message, other, number) for number in range(4)]
    assert [each.message for each in kept] == [each.message for each in expected]
    assert len({each.message for each in kept}) == 4
    for mine, reference in zip(kept, expected):
        assert np.array_equal(mine.image, reference.image)


@given(
    st.text(max_size=9),
    st.sampled_from(["rgb8", "bgr8", "mono8"]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.booleans(),
)
def test_a_message_written_in_place_has_the_bytes_of_one_made_at_once(name, encoding, size, holds):
    head = head_bytes(3, 4, name.replace("\0", ""))
    shape = size if encoding == "mono8" else (*size, 3)
    pixels = np.random.default_rng(size).integers(0, 256, shape, np.uint8)
    message = ImageInPlace(head, encoding, shape)
    message.pixels[:] = pixels
    held = message.pixels if holds else None
    raw, image = message.finish()
    if held is not None:
        held[:] = 0
    assert raw == image_bytes(head, encoding, pixels)
    assert np.array_equal(image, pixels)
