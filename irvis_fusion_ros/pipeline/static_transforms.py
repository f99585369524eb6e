"""Where one frame stands in another, from the messages of /tf_static.

Cameras on one mount do not move against one another, so the static tree is enough, and tf2 is not
needed; a chain over a moving joint (/tf) cannot be used for a calibration.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.registration.camera_geometry import quaternion_matrix

LONGEST_CHAIN = 100
"""Links from a frame to its root; a longer chain is a loop."""


class Extrinsics(NamedTuple):
    """Points of a source frame in a target frame: X_target = rotation X_source + translation."""

    rotation: np.ndarray
    translation_m: np.ndarray


class StaticTransforms:
    """The static tree: every frame's parent, and where it stands in it."""

    def __init__(self) -> None:
        """Know nothing."""
        self._links: dict[str, tuple[str, Extrinsics]] = {}

    def add(self, message: Any) -> None:
        """Take a tf2_msgs/msg/TFMessage.

        Raises:
            CalibrationError: a rotation is not a valid quaternion; the links before it are kept.
        """
        for stamped in message.transforms:
            q, t = stamped.transform.rotation, stamped.transform.translation
            link = Extrinsics(quaternion_matrix((q.x, q.y, q.z, q.w)), np.array((t.x, t.y, t.z)))
            self._links[_name(stamped.child_frame_id)] = (_name(stamped.header.frame_id), link)

    def between(self, target: str, source: str) -> Extrinsics:
        """Points of `source` in `target`, as `tf2_echo TARGET SOURCE` prints.

        Raises:
            CalibrationError: the two are not connected; says what is known.
        """
        to_root, root = self._to_root(_name(source))
        from_root, other_root = self._to_root(_name(target))
        if root != other_root:
            known = ", ".join(sorted(self._links)[:20]) or "none"
            raise CalibrationError(
                f"no static transform leads from {source!r} to {target!r}; frames on /tf_static:"
                f" {known}"
            )
        rotation = from_root.rotation.T @ to_root.rotation
        offset = from_root.rotation.T @ (to_root.translation_m - from_root.translation_m)
        return Extrinsics(rotation, offset)

    def _to_root(self, frame: str) -> tuple[Extrinsics, str]:
        """Points of `frame` in the frame at the root of its tree, and that one's name."""
        rotation, offset = np.eye(3), np.zeros(3)
        for _ in range(LONGEST_CHAIN):
            if frame not in self._links:
                return Extrinsics(rotation, offset), frame
            frame, link = self._links[frame]
            rotation = link.rotation @ rotation
            offset = link.rotation @ offset + link.translation_m
        raise CalibrationError(f"the static transforms above {frame!r} form a loop")


def _name(frame: str) -> str:
    """Frame names of ROS 1 began with a slash."""
    return str(frame).lstrip("/")
