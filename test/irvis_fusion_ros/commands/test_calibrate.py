"""`irvis_fusion calibrate` as a user runs it: folders, a bag, a board; what it writes, when."""

import cv2
import numpy as np
import pytest
from bag_recording import MS, START_NS, Recording, needs_rosbags
from two_cameras import IR_SIZE, VIS_SIZE, corner_error, scene, truth

from irvis_fusion_core import image_sheet
from irvis_fusion_core.calibration.board_calibration import Board, BoardCalibration
from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.registration import make_registration
from irvis_fusion_core.registration.camera_model import make_camera, read_camera_file
from irvis_fusion_ros.calibration import boards as calibrate_boards
from irvis_fusion_ros.calibration.calibration_frames import CalibrationPair, bag_frames
from irvis_fusion_ros.commands import calibrate
from irvis_fusion_ros.commands.calibrate import main
from irvis_fusion_ros.parameters.settings_file import load_settings

pytest.importorskip("yaml", reason="needs pyyaml")


NEAR = ["--scales", "0.9", "1.3"]


def folders(tmp_path, pairs):
    for number, (ir, vis) in enumerate(pairs):
        write_image(str(tmp_path / "IR" / f"{number}.png"), ir)
        write_image(str(tmp_path / "VIS" / f"{number}.png"), vis)
    return ["--ir", str(tmp_path / "IR"), "--vis", str(tmp_path / "VIS")]


def test_two_folders_become_what_the_node_reads(tmp_path, capsys):
    output = tmp_path / "out" / "node.yaml"
    assert main([*folders(tmp_path, [scene(2)]), *NEAR, "--output", str(output)]) == 0
    settings = load_settings(str(output))
    assert settings.registration.mode == "homography"
    found = np.reshape(settings.registration.homography, (3, 3))
    assert corner_error(found, truth()) < 4.0
    registration = make_registration(
        "homography",
        homography=found,
        calibrated_ir_size=settings.registration.calibrated_ir_size,
        calibrated_vis_size=settings.registration.calibrated_vis_size,
    )
    warped, _ = registration.warp(scene(2)[0], VIS_SIZE)
    expected = cv2.warpPerspective(scene(2)[0], truth(), VIS_SIZE[::-1])
    inner = np.s_[40:-40, 40:-40]
    assert np.corrcoef(warped[inner].ravel(), expected[inner].ravel())[0, 1] > 0.9
    # Two checkerboards of the visible size, each below a caption.
    height = 2 * (VIS_SIZE[0] + image_sheet.CAPTION_PX) + image_sheet.GAP_PX
    assert cv2.imread(str(tmp_path / "out" / "node.png")).shape == (height, VIS_SIZE[1], 3)
    printed = capsys.readouterr().out
    assert "residual" in printed and "second opinion" in printed


def test_a_failed_estimate_writes_nothing_and_says_so(tmp_path, capsys):
    pairs = [(scene(1)[0], scene(11)[1])]
    output = tmp_path / "node.yaml"
    assert main([*folders(tmp_path, pairs), *NEAR, "--output", str(output)]) == 1
    assert "use more frames" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["IR", "VIS"]


def test_folders_of_different_cameras_are_refused_by_name(tmp_path, capsys):
    ir, vis = scene(1)
    arguments = folders(tmp_path, [(ir, vis), (ir, vis[:200])])
    assert main([*arguments, "--output", str(tmp_path / "node.yaml")]) == 1
    assert "in 0 and IR 160x128 with visible 320x200 in 1" in capsys.readouterr().err


@needs_rosbags
def test_frames_of_a_bag_keep_their_sizes_and_are_spread_over_it(tmp_path):
    recording = Recording(tmp_path / "bag")
    for number in range(9):
        ir, vis = scene(number, shapes=5)
        stamp_ns = START_NS + number * 100 * MS
        recording.image("/ir", stamp_ns + 5 * MS, ir.astype(np.uint16) * 9 + 2000, "mono16")
        recording.image("/vis", stamp_ns, np.ascontiguousarray(vis[..., ::-1]), "rgb8")
    pairs = bag_frames(recording.write(), ("/ir", "/vis"), 3)
    assert [pair.name[-5:-2] for pair in pairs] == ["000", "300", "600"]
    for number, pair in zip((0, 3, 6), pairs):
        assert (pair.ir.dtype, pair.ir.shape) == (np.uint8, IR_SIZE)
        assert np.array_equal(pair.vis, scene(number, shapes=5)[1])


@needs_rosbags
def test_a_bag_without_pairs_says_how_far_apart_frames_are(tmp_path, capsys):
    recording = Recording(tmp_path / "bag")
    ir, vis = scene(1)
    recording.image("/ir", START_NS + 400 * MS, ir, "mono8")
    recording.image("/vis", START_NS, vis, "bgr8")
    bag = recording.write()
    topics = ["--ir-topic", "/ir", "--vis-topic", "/vis"]
    assert main([bag, *topics, "--output", str(tmp_path / "n.yaml")]) == 1
    said = capsys.readouterr().err
    assert "0.400 s apart" in said and "estimate_time_offset" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "one source"),
        (["bag", "--ir", "a", "--vis", "b"], "one source"),
        (["--ir", "a"], "one source"),
        (["bag", "--frames", "0"], "above 0"),
        (["bag", "--scales", "2", "1"], "--scales"),
        (["bag", "--board", "chessboard:9x6"], "--square-m"),
        (["bag", "--depth-m", "-1"], "--depth-m"),
    ],
)
def test_options_that_cannot_be_are_refused(capsys, arguments, expected):
    assert main([*arguments, "--output", "never.yaml"]) == 1
    assert expected in capsys.readouterr().err


def test_a_board_becomes_files_of_both_cameras_and_the_nodes(tmp_path, monkeypatch, capsys):
    """The board itself is tested with the core; here a calibration takes its place."""
    rotation, _ = cv2.Rodrigues(np.array([0.02, -0.1, 0.3]))
    k = np.array([[200.0, 0, 80], [0, 201, 64], [0, 0, 1]])
    cameras = [
        make_camera("ir", k, [0.1, -0.02, 1e-3, 2e-3, 0.0], IR_SIZE, "plumb_bob"),
        make_camera("vis", np.diag([2, 2, 1]) @ k, [-0.1, 0.01, 0, 0, 0], VIS_SIZE, "plumb_bob"),
    ]
    truth_found = BoardCalibration(
        *cameras, rotation, np.array([0.06, -0.01, 1e-7]), 0.2, 0.3, 0.4, (9, 9, 8)
    )
    asked = {}

    def stand_in(pairs, board, square_m):
        asked.update(pairs=len(pairs), board=board, square_m=square_m)
        return truth_found

    monkeypatch.setattr(calibrate_boards, "calibrate_boards", stand_in)
    pair = CalibrationPair("0", *scene(1))
    monkeypatch.setattr(calibrate.calibration_frames, "folder_pairs", lambda *_: [pair])
    output = tmp_path / "node.yaml"
    arguments = ["--ir", "a", "--vis", "b", "--output", str(output)]
    arguments += ["--board", "chessboard:9x6", "--square-m", "0.04", "--depth-m", "3"]
    assert main(arguments) == 0
    assert asked == {"pairs": 1, "board": Board("chessboard", 9, 6), "square_m": 0.04}
    settings = load_settings(str(output))
    assert settings.registration.mode == "calibration"
    assert settings.registration.depth_m == 3.0
    np.testing.assert_allclose(settings.registration.translation_m, [0.06, -0.01, 1e-7])
    x, y, z, w = settings.registration.rotation_xyzw
    angle = 2 * np.arctan2(np.linalg.norm([x, y, z]), w)
    axis = np.array([x, y, z]) / np.linalg.norm([x, y, z])
    np.testing.assert_allclose(cv2.Rodrigues(axis * angle)[0], rotation, atol=1e-9)
    for name, camera in zip(("ir", "vis"), cameras):
        again = read_camera_file(settings.registration.camera(name).calibration_file, name)
        np.testing.assert_allclose(again.matrix, camera.matrix)
        np.testing.assert_allclose(again.distortion, camera.distortion)
        assert again.size == camera.size
    assert "6.0 -1.0 0.0 cm" in capsys.readouterr().out


@pytest.mark.parametrize("vector", [(0, 0, 0), (3.1, 0, 0), (0, -3.14, 0.01), (1, 2, -1.5)])
def test_quaternions_turn_as_their_matrices_do(vector):
    rotation, _ = cv2.Rodrigues(np.array(vector, float))
    x, y, z, w = calibrate_boards.quaternion_xyzw(rotation)
    again = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    np.testing.assert_allclose(again, rotation, atol=1e-9)
