"""Sections of the table: the node itself, its topics, the engine, pairing, IR loss, reports.

Each field is one parameter. `irvis_fusion_ros.parameters.settings` joins the sections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from irvis_fusion_ros.messages.image_encodings import MOST_PIXELS
from irvis_fusion_ros.parameters.spec import live_row, row


@dataclass(frozen=True)
class NodeSettings:
    """Start of the node and its main switch."""

    TITLE = "Node"

    autostart: bool = row(True)
    """Configure and activate at start, without a manager."""
    enabled: bool = live_row(True)
    """Fuse; off, the visible image passes through unchanged. The service ~/enable sets it."""
    lazy: bool = live_row(True)
    """Subscribe to the cameras only while somebody subscribes to a fused topic."""


class CameraTopicSettings(NamedTuple):
    """Transport and quality of service of one camera's topics."""

    transport: str
    reliability: str
    depth: int


@dataclass(frozen=True)
class TopicSettings:
    """Transports and quality of service."""

    TITLE = "Topics and quality of service"

    ir_transport: str = row("raw", ("raw", "compressed"))
    """raw subscribes to ir/image_raw, compressed to ir/image_raw/compressed."""
    vis_transport: str = row("raw", ("raw", "compressed"))
    """raw subscribes to vis/image_raw, compressed to vis/image_raw/compressed."""
    max_pixels: int = live_row(MOST_PIXELS, (1, 100_000_000))
    """Width times height of the largest image of either camera that is taken; larger ones are
    dropped and counted, compressed ones without being unpacked."""
    publish_compressed: bool = row(False)
    """Also publish fused/image_raw/compressed (JPEG), encoded only while somebody subscribes."""
    jpeg_quality: int = live_row(90, (1, 100))
    """JPEG quality of the compressed output."""
    ir_qos_reliability: str = row(
        "auto", ("auto", "reliable", "best_effort"), name="ir_qos.reliability"
    )
    """Reliability requested for the IR images; auto takes what the publisher offers."""
    ir_qos_depth: int = row(10, (1, 100), name="ir_qos.depth")
    """IR messages that the middleware may queue for the node."""
    vis_qos_reliability: str = row(
        "auto", ("auto", "reliable", "best_effort"), name="vis_qos.reliability"
    )
    """Reliability requested for the visible images; auto takes what the publisher offers."""
    vis_qos_depth: int = row(30, (1, 100), name="vis_qos.depth")
    """Visible messages that the middleware may queue for the node."""
    output_qos_reliability: str = row(
        "reliable", ("reliable", "best_effort"), name="output_qos.reliability"
    )
    """Reliability of the fused topics; reliable serves both kinds of subscriber."""
    output_qos_durability: str = row(
        "volatile", ("volatile", "transient_local"), name="output_qos.durability"
    )
    """Durability of the fused topics."""
    output_qos_depth: int = row(5, (1, 100), name="output_qos.depth")
    """Fused messages kept for slow subscribers."""
    shared_memory_width: int = row(1280, (1, 16384), name="shared_memory.width")
    """Width of the largest visible image. Fast DDS gets shared memory for output_qos.depth + 1
    images at the start of the process: 8 to 24 MB, or 3 images."""
    shared_memory_height: int = row(1024, (1, 16384), name="shared_memory.height")
    """Height of the largest visible image, as above."""

    def camera(self, name: str) -> CameraTopicSettings:
        """Return the settings of camera "ir" or "vis"."""
        ir = (self.ir_transport, self.ir_qos_reliability, self.ir_qos_depth)
        vis = (self.vis_transport, self.vis_qos_reliability, self.vis_qos_depth)
        return CameraTopicSettings(*(ir if name == "ir" else vis))


@dataclass(frozen=True)
class EngineSettings:
    """Model, engine, and flicker limit."""

    TITLE = "Model and engine"

    model: str = row("auto")
    """auto, a shipped model (nano, small, base), or the path of an .onnx file."""
    backend: str = row(
        "auto", ("auto", "tensorrt", "tensorrt_rtx", "torch", "openvino", "onnxruntime", "numpy")
    )
    """Inference engine; auto takes the best that is installed."""
    precision: str = row("auto", ("auto", "fp32", "fp16", "bf16", "int8"))
    """Precision of a shipped model; auto lets the model and the engine choose."""
    device: str = row("auto")
    """Device of the engine, such as cpu or cuda:0."""
    threads: int = row(0, (0, 256))
    """CPU threads of the engine; 0 lets the engine choose."""
    engine_cache_dir: str = row("")
    """Folder of built engines; empty means the user's cache folder."""
    engine_retry_s: float = row(5.0, (0.1, 3600))
    """Seconds until an engine that failed to open or to fuse is opened again; doubled at each
    further failure, up to 16 times."""
    engine_stall_s: float = row(1.0, (0.05, 60))
    """Longest time for one frame, in seconds, before the visible images are published unchanged
    without waiting for the engine; shorter for an engine that is usually fast."""
    limit_flicker: bool = live_row(True)
    """Let no part of the fused image change more from frame to frame than the camera images do
    there (blocks of 8x8 pixels)."""


@dataclass(frozen=True)
class PairingSettings:
    """Which IR frame belongs to which visible frame."""

    TITLE = "Pairing"

    pairing: str = live_row("latest_ir", ("latest_ir", "pair", "message_filters"))
    """latest_ir: each visible frame with the nearest IR frame held, at the visible rate; pair: one
    to one within slop_s; message_filters: ROS's own synchroniser, where installed."""
    max_ir_age_s: float = live_row(0.3, (0.001, 10))
    """latest_ir: the oldest IR frame that may be fused (9 Hz cameras need at least 0.12)."""
    slop_s: float = live_row(0.05, (0.0001, 10))
    """pair, message_filters: the largest difference of stamps within a pair."""
    max_wait_s: float = live_row(0.1, (0.001, 10))
    """pair, message_filters: how long a visible frame waits for its partner."""
    ir_time_offset_s: float = live_row(0.0, (-4e9, 4e9))
    """Added to IR stamps before pairing; a camera whose stamps are 0.3 s late needs -0.3, one that
    counts from its start the time at which it started."""
    pairing_depth: int = live_row(10, (1, 100))
    """Frames of each stream that pairing may hold."""
    on_unpaired: str = live_row("passthrough", ("passthrough", "drop"))
    """pair, message_filters: for a visible frame without a partner while IR is healthy."""


@dataclass(frozen=True)
class IrLossSettings:
    """When IR counts as lost, and what to publish then and on overload."""

    TITLE = "When the thermal camera is gone, and overload"

    on_ir_loss: str = live_row("passthrough", ("passthrough", "hold", "stop"))
    """Without usable IR: passthrough publishes the visible image unchanged, hold fuses with the
    last usable IR frame for hold_s and then passes through, stop publishes nothing."""
    hold_s: float = live_row(1.0, (0, 60))
    """hold: how long an old IR frame may be fused; warm objects that move lag behind."""
    ir_missing_after_s: float = live_row(2.0, (0.1, 600))
    """IR counts as missing after this many seconds without a message."""
    ir_frozen_after_s: float = live_row(2.0, (0, 600))
    """IR counts as frozen when the image stays identical for this many seconds (a flat-field
    correction takes up to 0.9 s); 0 disables the check."""
    ir_width: int = live_row(0, (0, 16384))
    """Width that IR frames must have; 0 allows any."""
    ir_height: int = live_row(0, (0, 16384))
    """Height that IR frames must have; 0 allows any."""
    on_overrun: str = live_row("auto", ("auto", "passthrough", "drop"))
    """When a visible frame is displaced by a newer one before the engine took it: passthrough
    publishes it unchanged, drop drops it, auto publishes it unless more than a quarter of the
    frames are displaced for 2 s. All are counted."""


@dataclass(frozen=True)
class ReportSettings:
    """Log and /diagnostics."""

    TITLE = "Reports"

    silence_timeout_s: float = live_row(5.0, (0.5, 3600))
    """Seconds without a message after which the log reports the publishers and their QoS."""
    diagnostics_period_s: float = row(1.0, (0.1, 60))
    """Period of /diagnostics."""
