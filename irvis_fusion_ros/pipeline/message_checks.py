"""Looks at each camera message once: soundness, stamp and size, for the node and for bags.

What is odd is noted by kind; what cannot be used is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from irvis_fusion_core.streams.stamps import NS_PER_S, stamp_ns
from irvis_fusion_core.thermal.palettes import FalseColour
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.messages.image_encodings import PLANES, ImageMessageError
from irvis_fusion_ros.messages.protocols import (
    AnyImageMessage,
    CompressedImageMessage,
    ImageMessage,
)
from irvis_fusion_ros.parameters.settings import LiveSettings, Settings
from irvis_fusion_ros.pipeline.events import Note
from irvis_fusion_ros.pipeline.frames import IrFrame, VisFrame

FUTURE_NS = NS_PER_S
"""A stamp this far ahead of the clock is wrong, whatever the delay of the transport."""


@dataclass(eq=False)
class MessageChecks:
    """Turns messages into frames.

    Attributes:
        note: Called with a stable kind, such as "ir: short_data", and a text.
        now_ns: Reads the clock of the stamps. Without one no stamp lies in the future.
        live: The parameters now, for thermal.palette and max_pixels.
        sizes: (height, width) of the newest frame, by stream: "ir" and "vis".
        last_stamp_ns: Newest stamp above zero, by stream.
    """

    note: Note
    now_ns: Callable[[], int] | None = None
    live: LiveSettings = field(default_factory=lambda: LiveSettings(Settings()))

    def __post_init__(self) -> None:
        self.sizes: dict[str, tuple[int, int]] = {}
        self.last_stamp_ns: dict[str, int] = {}
        self._ir_count = 0

    def forget_stamps(self) -> None:
        """Accept any stamp next: the clock jumped, or the cameras were unsubscribed."""
        self.last_stamp_ns.clear()

    def unpack_ir(self, message: AnyImageMessage) -> FalseColour:
        """Return the pixels of a thermal message; slow for a compressed one. From any thread.

        Raises:
            ImageMessageError: It cannot be used.
        """
        # Dead pixels (NaN) are masked by the thermal rescaling. They are noted, not refused.
        settings = self.live.current
        palette, max_pixels = settings.thermal.palette, settings.topics.max_pixels
        return image_messages.thermal_image(message, False, palette, max_pixels)

    def unpack_vis(self, message: CompressedImageMessage) -> np.ndarray:
        """Return the pixels of a visible CompressedImage, HxWx3 BGR; as `unpack_ir`."""
        return image_messages.unpacked_visible(message, self.live.current.topics.max_pixels)

    def ir(self, message: AnyImageMessage, unpacked: FalseColour | None = None) -> IrFrame | None:
        """Return the thermal frame of a message, or None for a message that cannot be used.

        `unpacked` is what `unpack_ir` has given already.
        """
        try:
            pixels, palette = unpacked or self.unpack_ir(message)
        except ImageMessageError as error:
            self.note("ir: " + error.kind, str(error))
            return None
        if palette != "grey":
            found = f"{palette}; its colours are turned back into grey"
            if palette == "unknown":
                found = "unknown, so that the luma is used; set the camera to white-hot or raw"
            self.note("ir: false colour", f"the palette is {found}")
        if pixels.dtype.kind == "f":
            bad = pixels.size - int(np.isfinite(pixels).sum())
            if bad:
                text = f"NaN or infinity in {bad} of {pixels.size} pixels"
                self.note("ir: not_finite", text)
        stamp = self._check("ir", message, (pixels.shape[0], pixels.shape[1]))
        self._ir_count += 1
        return IrFrame(self._ir_count, stamp, pixels)

    def vis(self, frame: VisFrame) -> tuple[VisFrame, str | None]:
        """Return the frame with its pixels and stamp, and the kind of fault that forbids its use.

        A message of an encoding that is not known here is sound: a subscriber may know it.
        """
        message, pixels = frame.message, frame.pixels
        size_bytes = len(message.data)
        size: tuple[int, int] | None = None
        try:
            if image_messages.is_compressed(message):
                packed = cast(CompressedImageMessage, message)
                pixels = self.unpack_vis(packed) if pixels is None else pixels
                size = (pixels.shape[0], pixels.shape[1])
                size_bytes += pixels.nbytes
            else:
                image = cast(ImageMessage, message)
                size = (image.height, image.width)
                max_pixels = self.live.current.topics.max_pixels
                pixels = image_messages.view(image, False, max_pixels)
        except ImageMessageError as error:
            self.note("vis: " + error.kind, str(error))
            if size is None or error.kind != "unknown_encoding" or not len(message.data):
                return frame._replace(stamp_ns=stamp_ns(message.header.stamp)), error.kind
        stamp = self._check("vis", message, size)
        sound = frame._replace(pixels=pixels, stamp_ns=stamp, size=size, size_bytes=size_bytes)
        return sound, None

    def _check(self, stream: str, message: AnyImageMessage, size: tuple[int, int]) -> int:
        """Note an odd length, size or stamp; return the stamp in ns."""
        if not image_messages.is_compressed(message):
            image = cast(ImageMessage, message)
            extra = len(image.data) - int(
                PLANES.get(image.encoding, 1) * image.height * image.step
            )
            if extra > 0:
                self.note(stream + ": long data", f"{extra} bytes behind the last row are ignored")
        if self.sizes.get(stream) != size:
            if stream in self.sizes:
                text = "from {1}x{0} to {3}x{2}".format(*self.sizes[stream], *size)
                self.note(stream + ": size changed", text)
            self.sizes[stream] = size
        header_stamp = message.header.stamp
        stamp = header_stamp.sec * NS_PER_S + header_stamp.nanosec
        if stamp <= 0:
            self.note(stream + ": zero stamp", "the driver does not stamp its images")
            return stamp
        if self.now_ns is not None:
            now_ns = self.now_ns()
            ahead_ns = stamp - now_ns
            if ahead_ns > FUTURE_NS and now_ns > 0:  # 0: nothing on /clock so far
                text = f"{ahead_ns / NS_PER_S:.3f} s ahead of the node's clock"
                self.note(stream + ": stamp from the future", text)
        last_ns = self.last_stamp_ns.get(stream, stamp)
        if stamp < last_ns:
            text = f"by {(last_ns - stamp) / NS_PER_S:.3f} s; a bag that loops does this"
            self.note(stream + ": stamp went back", text)
        self.last_stamp_ns[stream] = stamp
        return stamp
