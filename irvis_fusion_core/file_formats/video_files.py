"""Videos on disk: frames with the times of their container."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.streams.stamps import NS_PER_S

# FFmpeg's tag of grey formats above 8 bits: "Y1", 0, bits; big-endian ones the other way round.
_DEEP_GREY = b"Y1\0"


class Video:
    """The frames of a video as (time in ns above 0, image), and how many and how fast they are.

    Thermal videos give HxW, uint16 where the file has 16 bits; others give HxWx3, BGR.

    Attributes:
        frames: their number as the container says, 0 where it does not.
        rate_hz: frames a second.

    Raises:
        FrameError: OpenCV cannot read the file.
    """

    def __init__(self, path: str, thermal: bool = False) -> None:
        self.path = path
        self._thermal = thermal
        self._video = cv2.VideoCapture(path_for_opencv(path))
        if not self._video.isOpened():
            raise FrameError(
                f"expected a video in {path}, found nothing that OpenCV can read; is it truncated,"
                " or in a format that this build of OpenCV lacks?"
            )
        self.frames = max(0, int(self._video.get(cv2.CAP_PROP_FRAME_COUNT)))
        rate_hz = self._video.get(cv2.CAP_PROP_FPS)
        self.rate_hz = rate_hz if 0.1 <= rate_hz <= 1000.0 else 30.0  # some containers lack it
        self._deep_bits = self._keep_counts() if thermal else 0

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the frames once; the first has the time 1 s.

        Raises:
            FrameError: OpenCV cuts off thermal counts.
        """
        number, first_ms, last_ns = 0, 0.0, 0
        while True:
            there, image = self._video.read()
            if not there:
                break
            # OpenCV before 4.5 gives the time of the next frame.
            time_ms = self._video.get(cv2.CAP_PROP_POS_MSEC)
            first_ms = first_ms if number else time_ms
            time_ns = NS_PER_S + round((time_ms - first_ms) * 1e6)
            if time_ns <= last_ns:  # a container without times
                time_ns = last_ns + round(NS_PER_S / self.rate_hz)
            if self._deep_bits and image.dtype != np.uint16:
                raise FrameError(
                    f"expected a thermal video of 8 bits or gray16le in {self.path}, found "
                    f"{self._deep_bits} bits that OpenCV {cv2.__version__} cuts off; convert it: "
                    "`ffmpeg -i IN -c:v ffv1 -pix_fmt gray16le OUT.mkv`, or write 16-bit PNG files"
                )
            if self._thermal and image.ndim == 3:
                image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            yield time_ns, image
            number, last_ns = number + 1, time_ns
        self._video.release()

    def _keep_counts(self) -> int:
        """Have 16-bit frames decoded as they are; return the bits of a deep grey video, else 0.

        OpenCV would keep 8 bits of each pixel.
        """
        tag = int(self._video.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFFFFFF
        little, big = tag.to_bytes(4, "little"), tag.to_bytes(4, "big")
        if little == _DEEP_GREY + b"\x10":
            self._video.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        deep = [each[3] for each in (little, big) if each.startswith(_DEEP_GREY)]
        return deep[0] if deep else 0


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
