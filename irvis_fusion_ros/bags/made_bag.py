"""Cameras that record pairs of images into a bag: what `make_bag` and the tests write."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from irvis_fusion_core.demo.night_street import NightStreet
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.image_files import FilePair, pairs_in, read_thermal, read_visible
from irvis_fusion_ros.bags.bag import CAMERA_INFO_TYPE, NS_PER_S
from irvis_fusion_ros.bags.bag_writer import BagWriter
from irvis_fusion_ros.bags.camera_schedule import CameraTiming, Shot, check_timing, shots
from irvis_fusion_ros.bags.made_images import (
    IR_ENCODINGS,
    VIS_ENCODINGS,
    ImageForm,
    camera_info,
    check_form,
    image_message,
    make_header,
    thermal_pixels,
    visible_pixels,
)

IMAGES_KEPT = 24
"""Images that a camera keeps ready, in its own form: 22 MB at VGA."""


class MadeCamera(NamedTuple):
    """One camera: what it is called, when it takes frames, and how it sends them."""

    name: str  # "ir" or "vis"
    topic: str  # compressed images go out on topic/compressed
    frame_id: str
    timing: CameraTiming
    form: ImageForm
    with_info: bool = True
    field_of_view_deg: float = 0.0

    @property
    def image_topic(self) -> str:
        """The topic of its images."""
        return self.topic + ("/compressed" if self.form.codec else "")

    @property
    def info_topic(self) -> str:
        """`camera_info` beside the images, as image_transport has it."""
        return self.topic.rpartition("/")[0] + "/camera_info"


class PairSource:
    """What both cameras look at: pairs of images that follow each other, or a drawn street.

    Attributes:
        count: how many pairs there are; 0 where they do not end.
        title: what it is, in words.
    """

    def __init__(self, folder: Optional[str], rate_hz: float, stills: bool = False) -> None:
        """Show the pairs of `folder` (IR/ and VIS/) at `rate_hz`, again and again.

        Frames of a video stand for the moment about them, so that jitter shows none of them
        twice; `stills` begin at their moment.

        Raises:
            ConfigurationError: no rate.
            FrameError: the folder holds no pairs.
        """
        if not 0 < rate_hz <= 1000:
            raise ConfigurationError(f"expected 0 to 1000 pairs a second, found {rate_hz}")
        self._files: List[FilePair] = [] if folder is None else pairs_in(folder)
        self._street = None if self._files else NightStreet()
        self._rate_hz = rate_hz
        self._begin = 1e-9 if stills else 0.5  # the small one for what rounding takes away
        self.count = len(self._files)
        self.title = f"{self.count} pairs" if self._files else "a drawn night street"

    def number_at(self, time_s: float) -> int:
        """The number of the pair that stands before the cameras at this time."""
        number = int(time_s * self._rate_hz + self._begin)
        return number % self.count if self.count else number

    def ir(self, number: int) -> np.ndarray:
        """HxW of uint8, uint16 or float32 as it is stored."""
        if self._street is not None:
            return self._street.frame(number / self._rate_hz).ir
        return read_thermal(self._files[number].ir)

    def vis(self, number: int) -> np.ndarray:
        """Uint8 HxWx3, RGB."""
        if self._street is not None:
            return self._street.frame(number / self._rate_hz).vis
        return cv2.cvtColor(read_visible(self._files[number].vis), cv2.COLOR_BGR2RGB)


class _Lens:
    """A camera's images of a source, in its own form; the last ones are kept."""

    def __init__(self, camera: MadeCamera, source: PairSource) -> None:
        self._camera, self._source = camera, source
        self._kept: "OrderedDict[int, np.ndarray]" = OrderedDict()

    def pixels(self, time_s: float) -> np.ndarray:
        number, form = self._source.number_at(time_s), self._camera.form
        if number not in self._kept:
            if self._camera.name == "ir":
                made = thermal_pixels(self._source.ir(number), form)
            else:
                made = visible_pixels(self._source.vis(number), form)
            self._kept[number] = made
            if len(self._kept) > IMAGES_KEPT:
                self._kept.popitem(last=False)
        return self._kept[number]


def write_bag(
    writer: BagWriter,
    source: PairSource,
    cameras: Sequence[MadeCamera],
    duration_s: float,
    start_ns: int,
    seed: int = 0,
    loop_stamps: float = 0.0,
) -> Iterator[str]:
    """Write what the cameras record within `duration_s`, in order; give each image's camera.

    Where `loop_stamps` is above 0, stamps begin anew after so many seconds.

    Raises:
        ConfigurationError: a camera that cannot be.
        FrameError: an image that cannot be read.
        BagError: the bag cannot be written.
    """
    if start_ns <= 0 or loop_stamps < 0:
        raise ConfigurationError(
            f"expected a start above 0 and no loop below 0 s, found {start_ns} ns, {loop_stamps} s"
        )
    for camera in cameras:
        check_timing(camera.name, camera.timing)
        encodings = IR_ENCODINGS if camera.name == "ir" else VIS_ENCODINGS
        check_form(camera.name, camera.form, encodings)
    lenses = [_Lens(camera, source) for camera in cameras]
    # Each camera has its own chance: one that is left out does not change the other.
    streams = [
        _numbered(index, shots(camera.timing, duration_s, seed + 7919 * index))
        for index, camera in enumerate(cameras)
    ]
    for _, index, shot in heapq.merge(*streams):
        camera = cameras[index]
        stamp_s = shot.stamp_s
        if loop_stamps:
            within_s = (stamp_s - camera.timing.stamp_offset_s) % loop_stamps
            stamp_s = within_s + camera.timing.stamp_offset_s
        stamp_ns = start_ns + round(stamp_s * NS_PER_S)
        recorded_ns = start_ns + round(shot.recorded_s * NS_PER_S)
        pixels = lenses[index].pixels(shot.shows_s)
        if camera.with_info:
            info = camera_info(
                make_header(stamp_ns, camera.frame_id),
                (pixels.shape[0], pixels.shape[1]),
                camera.field_of_view_deg,
            )
            writer.write_message(camera.info_topic, CAMERA_INFO_TYPE, recorded_ns, info)
        message: Any = image_message(pixels, camera.form, stamp_ns, camera.frame_id)
        writer.write_message(camera.image_topic, camera.form.type, recorded_ns, message)
        yield camera.name


def _numbered(index: int, taken: Iterator[Shot]) -> Iterator[Tuple[float, int, Shot]]:
    for shot in taken:
        yield shot.recorded_s, index, shot
