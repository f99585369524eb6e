"""The board's part of `irvis_fusion calibrate`: files for both cameras and for the node."""

from __future__ import annotations

import os
from typing import Any, Callable, List

import numpy as np

from irvis_fusion_core.calibration.board_calibration import BoardCalibration, calibrate_boards
from irvis_fusion_core.calibration.overlay import before_and_after
from irvis_fusion_core.calibration.parameter_file import replace_file, update_parameters, yaml_text
from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.registration.camera_geometry import checked_homography, plane_homography
from irvis_fusion_core.registration.camera_model import CameraModel
from irvis_fusion_ros.calibration.calibration_frames import CalibrationPair


def calibrate_with_board(
    pairs: List[CalibrationPair], options: Any, say: Callable[[str], None]
) -> int:
    """Calibrate, write, and print what was found; returns the exit status.

    `options` are those of `irvis_fusion calibrate`: board, square_m, depth_m, output, overlay.

    Raises:
        CalibrationError: as `calibrate_boards`; nothing is written then.
    """
    say(f"looking for the board in {len(pairs)} pairs")
    found = calibrate_boards([(p.ir, p.vis) for p in pairs], options.board, options.square_m)
    homography = checked_homography(
        plane_homography(
            found.ir.matrix,
            found.vis.matrix,
            found.rotation,
            list(found.translation_m),
            options.depth_m,
        ),
        found.ir.size,
    )
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
    return 0


def camera_file_text(name: str, camera: CameraModel) -> str:
    """A camera as ROS's camera_calibration writes it (`ost.yaml`), for camera_info_manager."""
    height, width = camera.size

    def data(rows: int, columns: int, values: Any) -> str:
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


def quaternion_xyzw(rotation: np.ndarray) -> List[float]:
    """A unit quaternion (x, y, z, w), w >= 0, of a 3x3 rotation (Shepperd's method)."""
    r = np.asarray(rotation, np.float64)
    squares = np.array(
        [
            1.0 + r[0, 0] - r[1, 1] - r[2, 2],
            1.0 - r[0, 0] + r[1, 1] - r[2, 2],
            1.0 - r[0, 0] - r[1, 1] + r[2, 2],
            1.0 + np.trace(r),
        ]
    )
    # Four times the products of the largest component with all four.
    table = np.array(
        [
            [squares[0], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]],
            [r[0, 1] + r[1, 0], squares[1], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]],
            [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], squares[2], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], squares[3]],
        ]
    )
    quaternion = table[int(np.argmax(squares))]
    quaternion = quaternion / np.linalg.norm(quaternion)
    return [float(v) for v in (quaternion if quaternion[3] >= 0.0 else -quaternion)]


def _tell(found: BoardCalibration, files: Any, options: Any) -> None:
    ir, vis, both = found.views
    print(f"views            {ir} IR, {vis} visible, {both} both")
    print(
        f"residual         IR {found.ir_rms_px:.2f} px, visible {found.vis_rms_px:.2f} px, "
        f"together {found.pair_rms_px:.2f} px (RMS)"
    )
    for name, camera in (("IR", found.ir), ("visible", found.vis)):
        k = camera.matrix
        print(
            f"{name:17}f {k[0, 0]:.1f} {k[1, 1]:.1f}, centre {k[0, 2]:.1f} {k[1, 2]:.1f}, "
            "distortion " + " ".join(f"{v:.4f}" for v in camera.distortion)
        )
    x, y, z = found.translation_m * 100.0
    print(f"IR camera at     {x:.1f} {y:.1f} {z:.1f} cm (right, down, ahead of the visible one)")
    print(f"written          {options.output}, {files['ir']}, {files['vis']}")
    print(f"look at          {options.overlay} (fits at {options.depth_m:g} m)")
