"""Fuses one pair out of a bag as the node's worker does: rescale, register, fuse, fill.

What a calibrated registration needs comes from the bag as from the graph: camera_info of both
cameras and /tf_static, from when on they were recorded. Until then, and where they cannot be used,
`registration.fallback` holds. Imports no ROS.
"""

from __future__ import annotations

import time
import types
from typing import Any, Dict, List, Optional, Tuple

import cv2
import numpy as np

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.flicker_limiter import FlickerLimiter
from irvis_fusion_core.registration import fill_uncovered
from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.bags.replay.fused_frame import FusedFrame
from irvis_fusion_ros.messages import image_messages
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.frame_decision import NS_PER_S, ThermalItem
from irvis_fusion_ros.pipeline.known_cameras import known_cameras
from irvis_fusion_ros.pipeline.stages import (
    fallback_registration,
    make_registration,
    make_thermal,
)
from irvis_fusion_ros.pipeline.static_transforms import StaticTransforms

UNCALIBRATED = "uncalibrated"

LARGEST_SKEW_S = 0.05
"""Images further apart in time differ by what moved, and say nothing of the cameras."""


class PairFuser:
    """Holds thermal rescaling, registration and engine; fuses one pair after the other.

    Attributes:
        problem: why the registration is not the one that the parameters ask for; else empty.
    """

    def __init__(self, settings: Settings) -> None:
        """Build what the parameters ask for; `engine` is to be set before the first pair.

        Raises:
            ConfigurationError: thermal or registration parameters that do not go together.
        """
        self.engine: Any = None
        self.problem = ""
        self._settings = settings
        self._infos: Dict[str, Any] = {}
        self._keys: Dict[str, Any] = {}
        self._transforms = StaticTransforms()
        self._topics: Optional[FusionTopics] = None
        self._thermal = make_thermal(settings.thermal)
        self._registration = self._make_registration()
        self._warm_sizes: List[Tuple[int, int]] = []
        self._cache: Tuple[Any, Any] = (None, None)
        self._flicker = FlickerLimiter()

    def needs(self, topics: FusionTopics) -> List[str]:
        """Those of a bag's other topics that the registration is made of."""
        settings = self._settings.registration
        self._topics = topics
        if settings.base_mode != "calibration":
            return []
        wanted = [
            info
            for name, info in (("ir", topics.ir_info), ("vis", topics.vis_info))
            if info and not settings.camera(name).calibration_file
        ]
        if topics.tf_static and settings.extrinsics == "tf":
            wanted.append(topics.tf_static)
        return wanted

    def learn(self, topic: str, message: Any) -> None:
        """Take a message of one of the topics that `needs` named.

        Raises:
            CalibrationError: a static transform that is none.
        """
        topics = self._topics
        if topics is None or topic not in self.needs(topics):
            return
        if topic == topics.tf_static:
            self._transforms.add(message)
        else:
            camera = "ir" if topic == topics.ir_info else "vis"
            key = _content(message)
            if self._keys.get(camera) == key:
                return
            self._keys[camera], self._infos[camera] = key, message
        self._registration = self._make_registration()
        self._cache = (None, None)

    def fuse(self, frame: FusedFrame, thermal: ThermalItem) -> None:
        """Fill in `frame`: fused, or passed where there is no registration.

        Raises:
            FrameError, ConfigurationError, CalibrationError: the pair does not suit.
            EngineError: the engine failed.
        """
        vis, order = image_messages.visible_frame(frame.source.message)
        frame.keep("vis", vis, order)
        size = (vis.shape[0], vis.shape[1])
        if size not in self._warm_sizes:  # so that no frame's time holds the engine's building
            self._warm_sizes.append(size)
            self.engine.warm_up(*size)
        if self._registration is None:
            frame.pass_on(UNCALIBRATED)
            return
        ir, coverage, grey = self._prepare(thermal, size)
        if coverage is not None:
            code = cv2.COLOR_RGB2GRAY if order == "rgb" else cv2.COLOR_BGR2GRAY
            ir = fill_uncovered(ir, cv2.cvtColor(vis, code), coverage)
        started_s = time.perf_counter()
        fused = self.engine.fuse_frame(ir, vis, order=order)
        frame.engine_ms = 1e3 * (time.perf_counter() - started_s)
        if self._settings.engine.limit_flicker:
            self._flicker.limit(fused, ir, vis, frame.vis_stamp_ns / NS_PER_S, order)
        if coverage is not None:  # beyond the thermal image the visible one stands exactly
            cv2.copyTo(vis, cv2.compare(coverage, 0, cv2.CMP_EQ), fused)
        frame.message = image_messages.fill(blank_message(), fused, frame.source.message, order)
        frame.ir, frame.coverage = ir, coverage
        frame.keep("fused", fused, order)
        if hasattr(self._registration, "offer") and abs(frame.skew_s or 0.0) <= LARGEST_SKEW_S:
            self._registration.offer(grey, vis, frame.recorded_ns / NS_PER_S)

    def _prepare(
        self, frame: ThermalItem, size: Tuple[int, int]
    ) -> Tuple[np.ndarray, Optional[np.ndarray], np.ndarray]:
        """8-bit IR on the visible grid, coverage, 8-bit IR; once for each thermal frame."""
        key = (frame.number, size)
        if self._cache[0] != key:
            grey = self._thermal(frame.pixels, frame.stamp_ns / NS_PER_S)
            ir, coverage = self._registration.warp(grey, size)
            self._cache = (key, (ir, coverage, grey))
        prepared: Tuple[np.ndarray, Optional[np.ndarray], np.ndarray] = self._cache[1]
        return prepared

    def _make_registration(self) -> Any:
        """The registration asked for, else the fallback (None: the visible image alone)."""
        topics = self._topics
        names = {"ir": topics and topics.ir_info, "vis": topics and topics.vis_info}
        cameras = known_cameras(
            self._settings.registration,
            self._infos,
            self._transforms,
            topic_of=lambda name: str(names[name] or name + "/camera_info"),
        )
        self.problem = ""
        try:
            # Not in the background: the same bag gives the same images.
            return make_registration(self._settings.registration, cameras, in_background=False)
        except CalibrationError as error:
            self.problem = str(error)
        try:
            return fallback_registration(self._settings.registration)
        except CalibrationError:
            return None  # its own homography cannot be used either


def blank_message() -> Any:
    """What has the fields of sensor_msgs/Image, once `image_messages.fill` has filled it."""
    return types.SimpleNamespace()


def _content(info: Any) -> Tuple[Any, ...]:
    """What two camera_info messages of one calibration have in common."""
    roi = info.roi
    numbers = [np.asarray(part, float).tobytes() for part in (info.k, info.p, info.d, info.r)]
    area = (roi.x_offset, roi.y_offset, roi.height, roi.width)
    return (info.height, info.width, info.distortion_model, info.header.frame_id, *numbers, area)
