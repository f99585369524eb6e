"""What became of a bag's frames, second by second, as diagnostic_msgs/DiagnosticArray.

A viewer shows it next to the images. Nothing in it depends on the speed of the machine: the same
bag gives the same diagnostics.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

from irvis_fusion_core.streams.health import OK as HEALTHY
from irvis_fusion_core.streams.stamps import NS_PER_S
from irvis_fusion_ros.bags.made_images import make_header
from irvis_fusion_ros.bags.replay.fused_frame import FusedFrame
from irvis_fusion_ros.pipeline.frames import DROPPED, FUSED

DIAGNOSTICS_TYPE = "diagnostic_msgs/msg/DiagnosticArray"
OK, WARN, ERROR = 0, 1, 2


class SecondsOfFrames:
    """Gathers frames and reports once a second of recording what became of them."""

    def __init__(self) -> None:
        self._from_ns: int | None = None
        self._frames: list[FusedFrame] = []

    def add(self, frame: FusedFrame) -> Any | None:
        """Take the next frame; return the message about the second that it ends, or None."""
        if self._from_ns is None:
            self._from_ns = frame.recorded_ns
        self._frames.append(frame)
        passed_ns = frame.recorded_ns - self._from_ns
        if passed_ns < NS_PER_S:
            return None
        message = _message(self._frames, passed_ns / NS_PER_S)
        self._from_ns, self._frames = frame.recorded_ns, []
        return message


def _message(frames: list[FusedFrame], seconds: float) -> Any:
    last = frames[-1]
    fused = [frame for frame in frames if frame.outcome == FUSED]
    skews_s = [abs(frame.skew_s) for frame in fused if frame.skew_s is not None]
    if any(frame.outcome == DROPPED for frame in frames):
        level, said = ERROR, "visible frames are dropped"
    elif len(fused) < len(frames):
        level, said = WARN, "visible frames pass unchanged: " + last.reason
    else:
        level, said = OK, "all visible frames are fused"
    values: dict[str, str] = {
        "visible rate (Hz)": f"{len(frames) / seconds:.2f}",
        "fused of them": f"{len(fused)} of {len(frames)}",
        "largest skew (ms)": f"{1e3 * max(skews_s):.1f}" if skews_s else "none fused",
    }
    values.update({name: str(count) for name, count in sorted(last.counts.items())})
    health_level = OK if last.ir_health == HEALTHY else WARN
    return types.SimpleNamespace(
        header=make_header(last.recorded_ns, ""),
        status=[
            _status("fuse_bag: fusion", level, said, values),
            _status("fuse_bag: ir", health_level, "thermal camera: " + last.ir_health, {}),
        ],
    )


def _status(name: str, level: int, text: str, values: Mapping[str, str]) -> Any:
    return types.SimpleNamespace(
        level=level,
        name=name,
        message=text,
        hardware_id="",
        values=[types.SimpleNamespace(key=key, value=value) for key, value in values.items()],
    )
