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

    autostart: bool = row(True, "Configure and activate at start, without a manager.")
    enabled: bool = live_row(
        True,
        "Fuse; off, the visible image passes through unchanged. The service ~/enable sets it.",
    )
    lazy: bool = live_row(
        True, "Subscribe to the cameras only while somebody subscribes to a fused topic."
    )


class CameraTopicSettings(NamedTuple):
    """Transport and quality of service of one camera's topics."""

    transport: str
    reliability: str
    depth: int


@dataclass(frozen=True)
class TopicSettings:
    """Transports and quality of service."""

    ir_transport: str = row(
        "raw",
        "raw subscribes to ir/image_raw, compressed to ir/image_raw/compressed.",
        ("raw", "compressed"),
    )
    vis_transport: str = row(
        "raw",
        "raw subscribes to vis/image_raw, compressed to vis/image_raw/compressed.",
        ("raw", "compressed"),
    )
    max_pixels: int = live_row(
        MOST_PIXELS,
        "Width times height of the largest image of either camera that is taken; larger ones are"
        " dropped and counted, compressed ones without being unpacked.",
        (1, 100_000_000),
    )
    publish_compressed: bool = row(
        False,
        "Also publish fused/image_raw/compressed (JPEG), encoded only while somebody subscribes.",
    )
    jpeg_quality: int = live_row(90, "JPEG quality of the compressed output.", (1, 100))
    ir_qos_reliability: str = row(
        "auto",
        "Reliability requested for the IR images; auto takes what the publisher offers.",
        ("auto", "reliable", "best_effort"),
        name="ir_qos.reliability",
    )
    ir_qos_depth: int = row(
        10,
        "IR messages that the middleware may queue for the node.",
        (1, 100),
        name="ir_qos.depth",
    )
    vis_qos_reliability: str = row(
        "auto",
        "Reliability requested for the visible images; auto takes what the publisher offers.",
        ("auto", "reliable", "best_effort"),
        name="vis_qos.reliability",
    )
    vis_qos_depth: int = row(
        30,
        "Visible messages that the middleware may queue for the node.",
        (1, 100),
        name="vis_qos.depth",
    )
    output_qos_reliability: str = row(
        "reliable",
        "Reliability of the fused topics; reliable serves both kinds of subscriber.",
        ("reliable", "best_effort"),
        name="output_qos.reliability",
    )
    output_qos_durability: str = row(
        "volatile",
        "Durability of the fused topics.",
        ("volatile", "transient_local"),
        name="output_qos.durability",
    )
    output_qos_depth: int = row(
        5, "Fused messages kept for slow subscribers.", (1, 100), name="output_qos.depth"
    )
    shared_memory_width: int = row(
        1280,
        "Width of the largest visible image. Fast DDS gets shared memory for output_qos.depth + 1"
        " images at the start of the process: 8 to 24 MB, or 3 images.",
        (1, 16384),
        name="shared_memory.width",
    )
    shared_memory_height: int = row(
        1024,
        "Height of the largest visible image, as above.",
        (1, 16384),
        name="shared_memory.height",
    )

    def camera(self, name: str) -> CameraTopicSettings:
        """Return the settings of camera "ir" or "vis"."""
        ir = (self.ir_transport, self.ir_qos_reliability, self.ir_qos_depth)
        vis = (self.vis_transport, self.vis_qos_reliability, self.vis_qos_depth)
        return CameraTopicSettings(*(ir if name == "ir" else vis))


@dataclass(frozen=True)
class EngineSettings:
    """Model, engine, and flicker limit."""

    model: str = row(
        "auto", "auto, a shipped model (nano, small, base), or the path of an .onnx file."
    )
    backend: str = row(
        "auto",
        "Inference engine; auto takes the best that is installed.",
        ("auto", "tensorrt", "tensorrt_rtx", "torch", "openvino", "onnxruntime", "numpy"),
    )
    precision: str = row(
        "auto",
        "Precision of a shipped model; auto lets the model and the engine choose.",
        ("auto", "fp32", "fp16", "bf16", "int8"),
    )
    device: str = row("auto", "Device of the engine, such as cpu or cuda:0.")
    threads: int = row(0, "CPU threads of the engine; 0 lets the engine choose.", (0, 256))
    engine_cache_dir: str = row(
        "", "Folder of built engines; empty means the user's cache folder."
    )
    engine_retry_s: float = row(
        5.0,
        "Seconds until an engine that failed to open or to fuse is opened again; doubled at each"
        " further failure, up to 16 times.",
        (0.1, 3600),
    )
    engine_stall_s: float = row(
        1.0,
        "Longest time for one frame, in seconds, before the visible images are published"
        " unchanged without waiting for the engine; shorter for an engine that is usually fast.",
        (0.05, 60),
    )
    limit_flicker: bool = live_row(
        True,
        "Let no part of the fused image change more from frame to frame than the camera images do"
        " there (blocks of 8x8 pixels).",
    )


@dataclass(frozen=True)
class PairingSettings:
    """Which IR frame belongs to which visible frame."""

    pairing: str = live_row(
        "latest_ir",
        "latest_ir: each visible frame with the nearest IR frame held, at the visible rate; pair:"
        " one to one within slop_s; message_filters: ROS's own synchroniser, where installed.",
        ("latest_ir", "pair", "message_filters"),
    )
    max_ir_age_s: float = live_row(
        0.3,
        "latest_ir: the oldest IR frame that may be fused (9 Hz cameras need at least 0.12).",
        (0.001, 10),
    )
    slop_s: float = live_row(
        0.05,
        "pair, message_filters: the largest difference of stamps within a pair.",
        (0.0001, 10),
    )
    max_wait_s: float = live_row(
        0.1, "pair, message_filters: how long a visible frame waits for its partner.", (0.001, 10)
    )
    ir_time_offset_s: float = live_row(
        0.0,
        "Added to IR stamps before pairing; a camera whose stamps are 0.3 s late needs -0.3, one"
        " that counts from its start the time at which it started.",
        (-4e9, 4e9),
    )
    pairing_depth: int = live_row(10, "Frames of each stream that pairing may hold.", (1, 100))
    on_unpaired: str = live_row(
        "passthrough",
        "pair, message_filters: for a visible frame without a partner while IR is healthy.",
        ("passthrough", "drop"),
    )


@dataclass(frozen=True)
class IrLossSettings:
    """When IR counts as lost, and what to publish then and on overload."""

    on_ir_loss: str = live_row(
        "passthrough",
        "Without usable IR: passthrough publishes the visible image unchanged, hold fuses with"
        " the last usable IR frame for hold_s and then passes through, stop publishes nothing.",
        ("passthrough", "hold", "stop"),
    )
    hold_s: float = live_row(
        1.0,
        "hold: how long an old IR frame may be fused; warm objects that move lag behind.",
        (0, 60),
    )
    ir_missing_after_s: float = live_row(
        2.0, "IR counts as missing after this many seconds without a message.", (0.1, 600)
    )
    ir_frozen_after_s: float = live_row(
        2.0,
        "IR counts as frozen when the image stays identical for this many seconds (a flat-field"
        " correction takes up to 0.9 s); 0 disables the check.",
        (0, 600),
    )
    ir_width: int = live_row(0, "Width that IR frames must have; 0 allows any.", (0, 16384))
    ir_height: int = live_row(0, "Height that IR frames must have; 0 allows any.", (0, 16384))
    on_overrun: str = live_row(
        "auto",
        "When a visible frame is displaced by a newer one before the engine took it: passthrough"
        " publishes it unchanged, drop drops it, auto publishes it unless more than a quarter of"
        " the frames are displaced for 2 s. All are counted.",
        ("auto", "passthrough", "drop"),
    )


@dataclass(frozen=True)
class ReportSettings:
    """Log and /diagnostics."""

    silence_timeout_s: float = live_row(
        5.0,
        "Seconds without a message after which the log reports the publishers and their QoS.",
        (0.5, 3600),
    )
    diagnostics_period_s: float = row(1.0, "Period of /diagnostics.", (0.1, 60))
