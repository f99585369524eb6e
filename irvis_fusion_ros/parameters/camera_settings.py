"""Sections of the table: rescaling the thermal image, and its registration.

Each field is one parameter. `irvis_fusion_ros.parameters.settings` joins the sections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from irvis_fusion_core.thermal.palettes import PALETTES
from irvis_fusion_ros.parameters.spec import live_row


@dataclass(frozen=True)
class ThermalSettings:
    """Raw thermal images to 8 bit."""

    TITLE = "Raw thermal to 8 bit"
    PREFIX = "thermal."

    method: str = live_row("percentile", ("percentile", "window", "fieldwise", "none"))
    """percentile: robust limits, smoothed over time; window: fixed limits; fieldwise: separate
    limits for each field of the image; none: 8-bit frames are used as they are."""
    low_percent: float = live_row(0.5, (0, 100))
    """Percentage of the pixels that becomes black."""
    high_percent: float = live_row(99.5, (0, 100))
    """Percentage of the pixels below white."""
    smoothing_s: float = live_row(2.0, (0, 3600))
    """Time constant of the limits, in seconds; 0 rescales each frame alone, which flickers."""
    window_low: float = live_row(0.0, (-1e6, 1e6))
    """window: raw value or temperature that becomes black."""
    window_high: float = live_row(40.0, (-1e6, 1e6))
    """window: raw value or temperature that becomes white."""
    window_unit: str = live_row("celsius", ("counts", "celsius", "kelvin"))
    """Unit of window_low and window_high; counts are raw values."""
    raw_unit: str = live_row("auto", ("auto", "counts", "centikelvin", "kelvin", "celsius"))
    """Unit of the raw values; auto: integers are counts (centikelvin for a window in degrees),
    floats are kelvin above 150, else Celsius."""
    invert: bool = live_row(False)
    """For black-hot cameras: invert the image so that hot is white."""
    clahe_clip: float = live_row(0.0, (0, 100))
    """Clip limit of CLAHE, applied after rescaling (2 is usual); 0 disables it."""
    dead_pixels: bool = live_row(False)
    """Repair single dead pixels."""
    columns: bool = live_row(False)
    """Repair fixed column noise."""
    saturated: float = live_row(0.0, (0, 65535))
    """Lowest raw value that is saturated (16383 for 14 bit); 0 means the type's maximum, and none
    of an 8-bit image."""
    fields: int = live_row(8, (2, 16))
    """fieldwise: fields along each side."""
    max_invalid_share: float = live_row(0.5, (0, 1))
    """Largest share of NaN and infinite pixels; an image with more is not fused."""
    palette: str = live_row("auto", PALETTES)
    """False colours of the thermal camera; auto: recognised in each image; grey: none, the luma is
    used."""


class CameraCalibrationSettings(NamedTuple):
    """Where one camera's calibration comes from."""

    calibration_file: str
    rectified: bool
    frame: str


@dataclass(frozen=True)
class RegistrationSettings:
    """Registration of the IR image to the visible image."""

    TITLE = "Registration of IR to the visible image"
    PREFIX = "registration."

    mode: str = live_row(
        "resize", ("none", "resize", "homography", "calibration", "online", "learned")
    )
    """none: the IR image has the visible image's size and view; resize: it has the same view and
    is stretched to the visible size; homography: warp by registration.homography; calibration:
    warp by both cameras' calibrations, their extrinsics and depth_m; online: online_base,
    corrected from the images; learned: learned_base, and a field of displacements that follows
    parallax."""
    homography: tuple[float, ...] = live_row((1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    """Nine numbers, row by row, that map IR pixels to visible pixels."""
    calibrated_ir_size: tuple[int, ...] = live_row((0, 0), (0, 16384))
    """Height and width of the homography's IR images; 0: as the images received."""
    calibrated_vis_size: tuple[int, ...] = live_row((0, 0), (0, 16384))
    """Height and width of the homography's visible images; 0: as the images received."""
    soft_edge_px: float = live_row(16.0, (0, 999))
    """Width of the transition to the visible image alone where the thermal image ends."""
    depth_m: float = live_row(10.0, (0.01, 1e6))
    """calibration: distance from the IR camera, in metres, at which both images align exactly."""
    ir_calibration_file: str = live_row("")
    """calibration: YAML of the IR camera; empty takes the topic ir/camera_info."""
    vis_calibration_file: str = live_row("")
    """calibration: YAML of the visible camera; empty takes the topic vis/camera_info."""
    ir_rectified: bool = live_row(False)
    """calibration: image_proc has rectified the IR images: use P, no distortion."""
    vis_rectified: bool = live_row(False)
    """calibration: image_proc has rectified the visible images: use P, no distortion."""
    extrinsics: str = live_row("parameters", ("parameters", "tf"))
    """calibration: pose of the IR camera: translation_m and rotation_xyzw, or /tf_static (tf)."""
    translation_m: tuple[float, ...] = live_row((0.0, 0.0, 0.0), (-100, 100))
    """Position of the IR camera in the visible camera's optical frame (x right, y down, z ahead),
    as `tf2_echo VIS_FRAME IR_FRAME` prints it."""
    rotation_xyzw: tuple[float, ...] = live_row((0.0, 0.0, 0.0, 1.0), (-1000.0, 1000.0))
    """Orientation of the IR camera in the visible camera's optical frame, a quaternion."""
    ir_frame: str = live_row("")
    """tf: optical frame of the IR camera; empty takes the frame_id of its camera_info."""
    vis_frame: str = live_row("")
    """tf: optical frame of the visible camera; empty takes the frame_id of its camera_info."""
    fallback: str = live_row("passthrough", ("passthrough", "resize", "homography"))
    """Without a usable calibration: passthrough publishes the visible image unchanged; resize and
    homography register in that mode until there is one."""
    online_base: str = live_row("homography", ("resize", "homography", "calibration"))
    """online: the mode that is corrected, and that is used uncorrected without evidence."""
    online_motion: str = live_row("similarity", ("shift", "similarity", "affine"))
    """online: the corrections allowed: shift; similarity, with rotation and scale; affine (less
    stable)."""
    online_period_s: float = live_row(1.0, (0.05, 3600))
    """online: time between the pairs that are compared, in the background (10 to 25 ms each)."""
    online_smoothing_s: float = live_row(10.0, (0.1, 3600))
    """online: time constant of the evidence and of the correction that follows it."""
    online_max_shift_px: float = live_row(30.0, (1, 200))
    """online: largest correction of a corner, in visible pixels; beyond it, calibrate again."""
    online_min_confidence: float = live_row(4.0, (2, 100))
    """online: height of the correlation's peak, in standard deviations, from which an estimate
    counts (images of different scenes reach 3.5)."""
    online_hold_s: float = live_row(60.0, (0, 1e6))
    """online: how long the last confident correction is kept without further evidence."""

    learned_base: str = live_row(
        "resize", ("none", "resize", "homography", "calibration", "online")
    )
    """learned: the mode that is refined, and that is used alone where the network is not
    confident."""
    learned_smoothing_s: float = live_row(0.1, (0, 60))
    """learned: time constant of the field, in seconds; 0 takes every frame alone."""
    learned_min_shift_px: float = live_row(1.0, (0, 100))
    """learned: displacements below this over a wide area (twice this over a small one), in visible
    pixels, are left alone."""
    learned_model: str = live_row("")
    """learned: path of another network (.onnx); empty takes the shipped one."""

    def camera(self, name: str) -> CameraCalibrationSettings:
        """Return the calibration settings of camera "ir" or "vis"."""
        ir = (self.ir_calibration_file, self.ir_rectified, self.ir_frame)
        vis = (self.vis_calibration_file, self.vis_rectified, self.vis_frame)
        return CameraCalibrationSettings(*(ir if name == "ir" else vis))

    @property
    def base_mode(self) -> str:
        """The mode without corrections: of online and learned the one that they start from."""
        return self.online_base if self.follows_online else self.refined_mode

    @property
    def refined_mode(self) -> str:
        """The mode below the learned field: `mode` itself where there is none."""
        return self.learned_base if self.mode == "learned" else self.mode

    @property
    def follows_online(self) -> bool:
        """Whether the images correct the calibration, below a learned field or without one."""
        return self.refined_mode == "online"
