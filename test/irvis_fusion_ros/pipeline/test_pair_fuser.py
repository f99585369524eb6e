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
    return fuse_with(PairFuser(engine), message, stages, number)


def fuse_with(fuser, message, stages, number):
    stamp_ns = number * 33 * MS
    frame = VisFrame(number, message, None, stamp_ns, 0, (HEIGHT, WIDTH))
    thermal = smooth_pixels(HEIGHT, WIDTH, 1, seed=number)[..., 0]
    return fuser.fuse(frame, IrFrame(number, stamp_ns, thermal), stages)


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
    message, fuser = messages()["bgr8"], PairFuser(engine())
    stages, other = stages_of(limit_flicker=True), stages_of(limit_flicker=True)
    kept = [fuse_with(fuser, message, stages, number) for number in range(4)]
    expected = [fuse(OwnArray(), message, other, number) for number in range(4)]
    assert [each.message for each in kept] == [each.message for each in expected]
    assert len({each.message for each in kept}) == 4
    for mine, reference in zip(kept, expected):
        assert np.array_equal(mine.image, reference.image)


class LetsGo:
    def fuse_frame(self, ir, vis, order="rgb", out=None):
        return np.maximum(ir[..., np.newaxis], vis, out=out)


def test_frames_of_which_none_is_kept_are_made_in_the_same_memory():
    message, fuser, stages = messages()["bgr8"], PairFuser(LetsGo()), stages_of()
    taken = [np.empty(3 * HEIGHT * WIDTH + 60, np.uint8) for _ in range(3)]

    def address(number):
        found = fuse_with(fuser, message, stages, number).image.ctypes.data
        taken.append(np.empty_like(taken[0]))  # takes what was freed
        return found

    assert len({address(number) for number in range(5)}) == 1


class FailsEachSecond(Keeping):
    """Goes on writing to the image at which it failed."""

    def fuse_frame(self, ir, vis, order="rgb", out=None):
        image = super().fuse_frame(ir, vis, order, out)
        if len(self.kept) % 2 == 0:
            raise RuntimeError("out of memory")
        return image


def test_an_image_that_was_not_finished_is_not_written_to_again():
    message, fuser, stages = messages()["bgr8"], PairFuser(FailsEachSecond()), stages_of()
    kept = []
    for number in range(6):
        if number % 2:
            with pytest.raises(RuntimeError):
                fuse_with(fuser, message, stages, number)
        else:
            kept.append(fuse_with(fuser, message, stages, number))
    expected = [fuse(OwnArray(), message, stages_of(), number) for number in (0, 2, 4)]
    assert [each.message for each in kept] == [each.message for each in expected]


NAMES = st.text(max_size=9).map(lambda name: name.replace("\0", ""))
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(
    st.lists(
        st.tuples(NAMES, st.sampled_from(["rgb8", "bgr8", "mono8"]), SHAPES, st.booleans()),
        min_size=1,
        max_size=6,
    ),
    st.sets(st.integers(0, 5)),
    st.sets(st.integers(0, 5)),
)
def test_messages_written_in_place_have_the_bytes_of_those_made_at_once(made, kept, given_up):
    outgoing, rng = ImageInPlace(), np.random.default_rng(len(made))
    all_held, found, expected = [], [], []
    for number, (name, encoding, size, holds) in enumerate(made):
        head, shape = head_bytes(3, number, name), size if encoding == "mono8" else (*size, 3)
        pixels = rng.integers(0, 256, shape, np.uint8)
        outgoing.begin(head, encoding, shape)
        for held in all_held:  # whoever holds earlier pixels writes to them
            held[:] = 77
        outgoing.pixels[:] = pixels
        all_held += [outgoing.pixels] if holds else []
        if number in given_up:
            continue
        raw, image = outgoing.finish()
        assert raw == image_bytes(head, encoding, pixels) and np.array_equal(image, pixels)
        if number in kept:
            found.append((raw, image))
            expected.append((image_bytes(head, encoding, pixels), pixels))
        del raw, image
    for (raw, image), (message, pixels) in zip(found, expected):
        assert raw == message and np.array_equal(image, pixels)
