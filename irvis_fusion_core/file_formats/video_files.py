"""Videos on disk: frames with the times of their container."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.optional_packages import pip_advice
from irvis_fusion_core.streams.stamps import NS_PER_S

# Above it a container may state its clock, often 1000, because its rate varies: it is measured.
_DOUBTED_RATE_HZ = 240.0
_MEASURED_FRAMES = 300
# A video that ends this much earlier than it states is cut off.
_SHORT_S, _SHORT_FRAMES = 0.3, 3
_logger = logging.getLogger(__name__)
# FFmpeg's tags of formats above 8 bits: "Y1" (grey) or "Y3" (YUV), subsampling, bits; big-endian
# ones the other way round.
_DEEP = (b"Y1", b"Y3")
_GREY_16 = b"Y1\0\x10"
# Formats whose counts are in the upper bits.
_SHIFTS = {"p010le": 6, "p012le": 4}


def _luma(bgr: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)


class Video:
    """The frames of a video as (time in ns above 0, image), and how many and how fast they are.

    Thermal videos give HxW, uint16 with the counts as stored where the file has more than 8 bits;
    `to_grey` makes HxW of colours. Others give HxWx3, BGR.

    Attributes:
        frames: their number as the container says, 0 where it does not.
        rate_hz: frames a second; the mean where they vary.

    Raises:
        FrameError: OpenCV cannot read the file.
    """

    def __init__(
        self,
        path: str,
        thermal: bool = False,
        to_grey: Callable[[np.ndarray], np.ndarray] = _luma,
    ) -> None:
        self.path = path
        self._thermal, self._to_grey = thermal, to_grey
        self._readable = path_for_opencv(path)
        self._video = cv2.VideoCapture(self._readable)
        if not self._video.isOpened():
            raise FrameError(
                f"expected a video in {path}, found nothing that OpenCV can read; is it truncated,"
                " or in a format that this build of OpenCV lacks?"
            )
        self.frames = max(0, int(self._video.get(cv2.CAP_PROP_FRAME_COUNT)))
        rate_hz = self._video.get(cv2.CAP_PROP_FPS)
        self._stated_s = self.frames / rate_hz if rate_hz > 0.0 else 0.0
        if rate_hz > _DOUBTED_RATE_HZ:
            rate_hz, self.frames = _measured_rate_hz(self._readable), 0
        self.rate_hz = rate_hz if 0.1 <= rate_hz <= 1000.0 else 30.0  # some containers lack it
        self._deep_bits = self._keep_counts() if thermal else 0

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the frames once; the first has the time 1 s. Warn of a video that is cut off.

        Raises:
            FrameError: OpenCV cuts off thermal counts, or PyAV cannot decode them.
        """
        # OpenCV gives 8 bits of formats between 8 and 16.
        counts = _luma_counts(self._readable) if self._deep_bits not in (0, 16) else None
        number, first_ms, last_ns = 0, 0.0, 0
        for time_ms, image in self._frames() if counts is None else counts:
            first_ms = first_ms if number else time_ms
            time_ns = NS_PER_S + round((time_ms - first_ms) * 1e6)
            if time_ns <= last_ns:  # a container without times
                time_ns = last_ns + round(NS_PER_S / self.rate_hz)
            if self._deep_bits and image.dtype != np.uint16:
                raise FrameError(
                    f"expected a thermal video of 8 bits or gray16le in {self.path}, found "
                    f"{self._deep_bits} bits that OpenCV {cv2.__version__} cuts off; install "
                    f"PyAV, which reads them: {pip_advice('av')}; or convert it: "
                    "`ffmpeg -i IN -c:v ffv1 -pix_fmt gray16le OUT.mkv`"
                )
            if self._thermal and image.ndim == 3:
                image = self._to_grey(image)
            yield time_ns, image
            number, last_ns = number + 1, time_ns
        self._video.release()
        read_s = (last_ns / NS_PER_S - 1.0 if number else 0.0) + 1.0 / self.rate_hz
        if read_s < self._stated_s - max(_SHORT_S, _SHORT_FRAMES / self.rate_hz):
            _logger.warning(
                f"{self.path} states {self._stated_s:.1f} s, and {number} frames of {read_s:.1f} "
                "s can be read: is it cut off or damaged? copy it again"
            )

    def _frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield (time in ms, image) as OpenCV reads them."""
        while True:
            there, image = self._video.read()
            if not there:
                return
            # OpenCV before 4.5 gives the time of the next frame.
            yield self._video.get(cv2.CAP_PROP_POS_MSEC), image

    def _keep_counts(self) -> int:
        """Have 16-bit frames decoded as they are; return the bits of a deep video, 0 for 8.

        OpenCV would keep 8 bits of each pixel.
        """
        tag = int(self._video.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFFFFFF
        little, big = tag.to_bytes(4, "little"), tag.to_bytes(4, "big")
        if little == _GREY_16:
            self._video.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        if little[:1] == b"P" and little[1:].isdigit():  # P010, P016 of hardware encoders
            return int(little[2:])
        deep = [each[3] for each in (little, big) if each.startswith(_DEEP) and each[3] > 8]
        return deep[0] if deep else 0


def _measured_rate_hz(path: str) -> float:
    """Return the mean rate of the first frames; 0 where the container has no times."""
    video = cv2.VideoCapture(path)
    times_ms: list[float] = []
    while len(times_ms) < _MEASURED_FRAMES and video.grab():
        times_ms.append(video.get(cv2.CAP_PROP_POS_MSEC))
    video.release()
    span_ms = times_ms[-1] - times_ms[0] if times_ms else 0.0
    return 1e3 * (len(times_ms) - 1) / span_ms if span_ms > 0.0 else 0.0


def _luma_counts(path: str) -> Iterator[tuple[float, np.ndarray]] | None:
    """Return (time in ms, first plane uint16 HxW as stored) of each frame; None without PyAV."""
    try:
        import av  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None

    def planes() -> Iterator[tuple[float, np.ndarray]]:
        try:
            # Names in a container need not be UTF-8.
            with av.open(path, metadata_errors="replace") as container:
                for frame in container.decode(video=0):
                    plane = frame.planes[0]
                    order = ">u2" if frame.format.name.endswith("be") else "<u2"
                    rows = np.frombuffer(memoryview(plane), order)
                    rows = rows.reshape(-1, plane.line_size // 2)
                    counts = rows[: frame.height, : frame.width].astype(np.uint16)
                    yield 1e3 * (frame.time or 0.0), counts >> _SHIFTS.get(frame.format.name, 0)
        except Exception as error:  # of PyAV, which has many
            raise FrameError(
                f"expected a thermal video in {path}, found: {type(error).__name__}: "
                f"{error}; is it truncated? copy it again"
            ) from error

    return planes()


def path_for_opencv(path: str) -> str:
    """Return the path, or a link to it where OpenCV would crash on a name that is not UTF-8."""
    try:
        path.encode("utf-8")
        return path
    except UnicodeEncodeError:
        folder = tempfile.mkdtemp(prefix="irvis_fusion_")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        link = os.path.join(folder, "video" + os.path.splitext(path)[1])
        os.symlink(os.path.abspath(path), link)
        return link
