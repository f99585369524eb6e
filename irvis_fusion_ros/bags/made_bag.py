"""Record pairs of images into a bag as two cameras would; `make_bag` and the tests use it.

Cameras have a rate, jitter, drops, gaps, and a clock that may be wrong. The same timing and seed
give the same recording.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from irvis_fusion_core.demo.night_street import NightStreet
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.image_files import FilePair, pairs_in, read_thermal, read_visible
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags import made_images
from irvis_fusion_ros.bags.bag import CAMERA_INFO_TYPE
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.made_images import ImageForm

IMAGES_KEPT = 24
"""Converted images that a camera keeps: 22 MB at VGA."""


class CameraTiming(NamedTuple):
    """Timing of a camera's frames; seconds count from the start of the recording."""

    rate_hz: float = 30.0
    jitter_s: float = 0.0  # largest shift of a frame, uniformly distributed
    phase_s: float = 0.0  # from the start to the first frame
    stamp_offset_s: float = 0.0  # added to every stamp: error of the clock
    delay_s: float = 0.0  # from exposure to recording
    dropped_share: float = 0.0  # 0 … 1, at random
    gaps: tuple[tuple[float, float], ...] = ()  # (from, to): no frames
    frozen: tuple[tuple[float, float], ...] = ()  # (from, to): new stamps, unchanged image


class Shot(NamedTuple):
    """One frame: its time of recording, its stamp, and the time that its image shows, in s."""

    recorded_s: float
    stamp_s: float
    shows_s: float


def check_timing(name: str, timing: CameraTiming) -> None:
    """Raise ConfigurationError unless the timing is possible; `name` is the camera's."""
    rate_hz, jitter_s = timing.rate_hz, timing.jitter_s
    if not (math.isfinite(rate_hz) and 0 < rate_hz <= 1000):
        wrong = f"a rate above 0 and up to 1000 Hz, found {rate_hz}"
    elif not 0 <= jitter_s < 0.5 / rate_hz:
        wrong = (
            f"jitter of 0 to less than half a period ({0.5 / rate_hz:.4f} s), so that frames keep "
            f"their order, found {jitter_s}"
        )
    elif not 0 <= timing.dropped_share < 1:
        wrong = f"a share of drops from 0 to less than 1, found {timing.dropped_share}"
    elif timing.phase_s < 0 or timing.delay_s < 0:
        wrong = f"phase and delay of 0 s or more, found {timing.phase_s} and {timing.delay_s}"
    else:
        return
    raise ConfigurationError(f"expected for {name} images {wrong}")


def shots(timing: CameraTiming, duration_s: float, seed: int) -> Iterator[Shot]:
    """Yield the frames due within `duration_s`, in order."""
    random = np.random.default_rng(seed)
    number = 0
    while True:
        due_s = timing.phase_s + number / timing.rate_hz
        if due_s >= duration_s - 1e-9:
            return
        number += 1
        # Both are drawn for every frame: a drop does not change the jitter of later frames.
        moved_s = timing.jitter_s * (2.0 * random.random() - 1.0)
        lost = random.random() < timing.dropped_share
        taken_s = max(0.0, due_s + moved_s)
        if lost or _within(taken_s, timing.gaps) is not None:
            continue
        standing = _within(taken_s, timing.frozen)
        shows_s = taken_s if standing is None else standing
        yield Shot(taken_s + timing.delay_s, taken_s + timing.stamp_offset_s, shows_s)


def _within(at_s: float, spans: tuple[tuple[float, float], ...]) -> float | None:
    """Return the beginning of the span that contains `at_s`."""
    return next((start for start, end in spans if start <= at_s < end), None)


class MadeCamera(NamedTuple):
    """One camera: names, timing of its frames, form of its images."""

    name: str  # "ir" or "vis"
    topic: str  # compressed images go out on topic/compressed
    frame_id: str
    timing: CameraTiming
    form: ImageForm
    with_info: bool = True
    field_of_view_deg: float = 0.0

    @property
    def image_topic(self) -> str:
        return self.topic + ("/compressed" if self.form.codec else "")

    @property
    def info_topic(self) -> str:
        """`camera_info` in the namespace of the images, as image_transport has it."""
        return self.topic.rpartition("/")[0] + "/camera_info"


class PairSource:
    """The scene of both cameras: consecutive pairs of images, or a drawn street.

    Attributes:
        count: Number of pairs; 0 for the endless street.
        title: Description for people.
    """

    def __init__(self, folder: str | None, rate_hz: float, stills: bool = False) -> None:
        """Show the pairs of `folder` (IR/ and VIS/) at `rate_hz`, again and again.

        A video frame is shown from half a period before its time, so that jitter shows none
        twice; a still is shown from its time on.

        Raises:
            ConfigurationError: No possible rate.
            FrameError: The folder holds no pairs.
        """
        if not 0 < rate_hz <= 1000:
            raise ConfigurationError(f"expected 0 to 1000 pairs a second, found {rate_hz}")
        self._files: list[FilePair] = [] if folder is None else pairs_in(folder)
        self._street = None if self._files else NightStreet()
        self._rate_hz = rate_hz
        self._begin = 1e-9 if stills else 0.5  # the small one for rounding
        self.count = len(self._files)
        self.title = f"{self.count} pairs" if self._files else "a drawn night street"

    def number_at(self, time_s: float) -> int:
        """Return the number of the pair that is shown at this time."""
        number = int(time_s * self._rate_hz + self._begin)
        return number % self.count if self.count else number

    def ir(self, number: int) -> np.ndarray:
        """Return the thermal image HxW, uint8, uint16 or float32 as stored."""
        if self._street is not None:
            return self._street.frame(number / self._rate_hz).ir
        return read_thermal(self._files[number].ir)

    def vis(self, number: int) -> np.ndarray:
        """Return the visible image HxWx3 uint8, RGB."""
        if self._street is not None:
            return self._street.frame(number / self._rate_hz).vis
        return cv2.cvtColor(read_visible(self._files[number].vis), cv2.COLOR_BGR2RGB)


def write_bag(
    writer: BagWriter,
    source: PairSource,
    cameras: Sequence[MadeCamera],
    duration_s: float,
    start_ns: int,
    seed: int = 0,
    loop_stamps: float = 0.0,
) -> Iterator[str]:
    """Write the recording of `duration_s` in order; yield each image's camera name.

    It begins at `start_ns`; `seed` is for jitter and drops. Stamps start again after `loop_stamps`
    seconds, 0 for never.

    Raises:
        ConfigurationError: Impossible timing or form of a camera.
        FrameError: An image cannot be read.
        BagError: The bag cannot be written.
    """
    if start_ns <= 0 or loop_stamps < 0:
        raise ConfigurationError(
            f"expected a start above 0 and no loop below 0 s, found {start_ns} ns, {loop_stamps} s"
        )
    for camera in cameras:
        check_timing(camera.name, camera.timing)
        made_images.check_form(camera.name, camera.form)
    cached = functools.lru_cache(IMAGES_KEPT)
    converted = [cached(functools.partial(_pixels, camera, source)) for camera in cameras]
    # Each camera has its own random numbers: leaving one out does not change the other.
    streams = [
        zip(shots(camera.timing, duration_s, seed + 7919 * index), itertools.repeat(index))
        for index, camera in enumerate(cameras)
    ]
    for shot, index in heapq.merge(*streams, key=lambda taken: taken[0].recorded_s):
        camera = cameras[index]
        stamp_s = shot.stamp_s
        if loop_stamps:
            within_s = (stamp_s - camera.timing.stamp_offset_s) % loop_stamps
            stamp_s = within_s + camera.timing.stamp_offset_s
        stamp_ns = start_ns + round(stamp_s * NS_PER_S)
        recorded_ns = start_ns + round(shot.recorded_s * NS_PER_S)
        pixels = converted[index](source.number_at(shot.shows_s))
        if camera.with_info:
            header = made_images.make_header(stamp_ns, camera.frame_id)
            height, width = pixels.shape[:2]
            info = made_images.camera_info(header, height, width, camera.field_of_view_deg)
            writer.write_message(camera.info_topic, CAMERA_INFO_TYPE, recorded_ns, info)
        message = made_images.image_message(pixels, camera.form, stamp_ns, camera.frame_id)
        writer.write_message(camera.image_topic, camera.form.type, recorded_ns, message)
        yield camera.name


def _pixels(camera: MadeCamera, source: PairSource, number: int) -> np.ndarray:
    """Return the camera's image of a pair, in the camera's own form."""
    if camera.name == "ir":
        return made_images.thermal_pixels(source.ir(number), camera.form)
    return made_images.visible_pixels(source.vis(number), camera.form)
