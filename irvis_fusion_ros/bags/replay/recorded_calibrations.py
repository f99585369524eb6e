"""What a bag tells about the cameras: camera_info of both, and /tf_static, as recorded."""

from __future__ import annotations

from typing import Any

from irvis_fusion_ros.bags.bag_topics import FusionTopics
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.known_cameras import KnownCameras, needed_topics


class RecordedCalibrations:
    """Takes calibration messages in the order of recording; `known` says what they tell."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics: FusionTopics | None = None
        self.known = KnownCameras(self._topic_of)

    def needs(self, topics: FusionTopics) -> list[str]:
        """Return those of a bag's other topics that the registration is made of."""
        self._topics = topics
        names = topics.ir_info, topics.vis_info, topics.tf_static
        wanted = zip(needed_topics(self._settings), names)
        return [name for is_needed, name in wanted if is_needed and name]

    def add(self, topic: str, message: Any) -> bool:
        """Take a message of one of the topics that `needs` named; True when it changes anything.

        Raises:
            CalibrationError: A static transform is not a transform.
        """
        topics = self._topics
        if topics is None or topic not in self.needs(topics):
            return False
        if topic == topics.tf_static:
            return self.known.add_transforms(message, self._settings)
        return self.known.add_info("ir" if topic == topics.ir_info else "vis", message)

    def _topic_of(self, camera: str) -> str:
        return getattr(self._topics, camera + "_info", None) or camera + "/camera_info"
