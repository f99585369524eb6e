"""Calibrate with a board: write files for both cameras and parameters for the node."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from irvis_fusion_core.calibration.board_calibration import BoardCalibration, calibrate_boards
from irvis_fusion_core.calibration.overlay import before_and_after
from irvis_fusion_core.calibration.parameter_file import replace_file, update_parameters, yaml_text
from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.registration.camera_geometry import checked_homography, plane_homography
from irvis_fusion_core.registration.camera_model import CameraModel
from irvis_fusion_ros.calibration.calibration_frames import CalibrationPair


def calibrate_with_board(
    pairs: Sequence[CalibrationPair], options: argparse.Namespace, say: Callable[[str], None]
) -> None:
    """Calibrate both cameras by the options of `calibrate`; write the files, print the result.

    Raises:
        CalibrationError: As `calibrate_boards`; nothing is written then.
    """
    say(f"looking for the board in {len(pairs)} pairs")
    found = calibrate_boards([(p.ir, p.vis) for p in pairs], options.board, options.square_m)
    pose = found.rotation, list(found.translation_m), options.depth_m
    plane = plane_homography(found.ir.matrix, found.vis.matrix, *pose)
    homography = checked_homography(plane, found.ir.size)
    middle = pairs[len(pairs) // 2]
    write_image(options.overlay, before_and_after(middle.ir, middle.vis, homography))
    files = {}
    for name, camera in (("ir", found.ir), ("vis", found.vis)):
        files[name] = f"{os.path.splitext(os.path.abspath(options.output))[0]}_{name}_camera.yaml"
        replace_file(files[name], camera_file_text(name, camera))
    update_parameters(
        options.output,
        {
            "registration.mode": "calibration",
            "registration.depth_m": float(options.depth_m),
            "registration.ir_calibration_file": files["ir"],
            "registration.vis_calibration_file": files["vis"],
            "registration.extrinsics": "parameters",
            "registration.translation_m": [float(v) for v in found.translation_m],
            "registration.rotation_xyzw": quaternion_xyzw(found.rotation),
        },
        f"From {found.views[2]} views of a board: residual {found.pair_rms_px:.2f} px.",
    )
    _tell(found, files, options)


def camera_file_text(name: str, camera: CameraModel) -> str:
    """Return a camera as ROS's camera_calibration writes it (`ost.yaml`)."""
    height, width = camera.size

    def data(rows: int, columns: int, values: np.ndarray) -> str:
        text = yaml_text("data", [float(v) for v in np.ravel(values)])
        return f"  rows: {rows}\n  cols: {columns}\n  data: {text}\n"

    projection = np.hstack([camera.matrix, np.zeros((3, 1))])
    return (
        f"image_width: {width}\nimage_height: {height}\ncamera_name: {name}\n"
        f"camera_matrix:\n{data(3, 3, camera.matrix)}"
        "distortion_model: plumb_bob\n"
        f"distortion_coefficients:\n{data(1, camera.distortion.size, camera.distortion)}"
        f"rectification_matrix:\n{data(3, 3, np.eye(3))}"
        f"projection_matrix:\n{data(3, 4, projection)}"
    )


def quaternion_xyzw(rotation: np.ndarray) -> list[float]:
    """Return the unit quaternion (x, y, z, w), w >= 0, of a 3x3 rotation."""
    vector = cv2.Rodrigues(np.asarray(rotation, np.float64))[0].ravel()  # axis times angle
    angle = float(np.linalg.norm(vector))
    xyz = 0.5 * np.sinc(0.5 * angle / np.pi) * vector  # sin(angle / 2) times the axis
    return [*map(float, xyz), float(np.cos(0.5 * angle))]


def _tell(found: BoardCalibration, files: Mapping[str, str], options: argparse.Namespace) -> None:
    ir, vis, both = found.views
    print(f"views            {ir} IR, {vis} visible, {both} both")
    print(
        f"residual         IR {found.ir_rms_px:.2f} px, visible {found.vis_rms_px:.2f} px, "
        f"together {found.pair_rms_px:.2f} px (RMS)"
    )
    for name, camera in (("IR", found.ir), ("visible", found.vis)):
        k, distortion = camera.matrix, " ".join(f"{v:.4f}" for v in camera.distortion)
        lens = f"f {k[0, 0]:.1f} {k[1, 1]:.1f}, centre {k[0, 2]:.1f} {k[1, 2]:.1f}"
        print(f"{name:17}{lens}, distortion {distortion}")
    x, y, z = found.translation_m * 100.0
    print(f"IR camera at     {x:.1f} {y:.1f} {z:.1f} cm (right, down, ahead of the visible one)")
    print(f"written          {options.output}, {files['ir']}, {files['vis']}")
    print(f"look at          {options.overlay} (fits at {options.depth_m:g} m)")
