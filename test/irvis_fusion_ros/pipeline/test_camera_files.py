"""Calibration files that are read in the background, against reading them directly."""

import threading

import numpy as np
import pytest

from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.registration.camera_model import read_camera_file
from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline import camera_files, current_stages
from irvis_fusion_ros.pipeline.camera_files import READS_MAX, CalibrationMissing, CameraFiles
from irvis_fusion_ros.pipeline.current_stages import CurrentStages

PATIENCE_S = 20.0
CALIBRATION = """\
image_width: 160
image_height: 120
camera_matrix: {data: [100, 0, 80, 0, 100, 60, 0, 0, 1]}
"""


@pytest.fixture
def path(tmp_path):
    pytest.importorskip("yaml", reason="needs PyYAML to read calibration files")
    path = tmp_path / "camera.yaml"
    path.write_text(CALIBRATION)
    return str(path)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A busy machine takes longer to read a file than an executor may wait."""
    for name in ("FIRST_READ_S", "READ_S"):
        monkeypatch.setattr(current_stages, name, PATIENCE_S)


@pytest.fixture
def drive(monkeypatch):
    """A drive that answers once this event is set."""
    answers = threading.Event()
    monkeypatch.setattr(current_stages, "READ_S", 0.0)

    def read(path, name, rectified):
        assert answers.wait(PATIENCE_S)
        return read_camera_file(path, name, rectified)

    monkeypatch.setattr(camera_files, "read_camera_file", read)
    yield answers
    answers.set()


def wait_until_arrived(arrived):
    waited = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if arrived():
            return
        waited.wait(0.01)
    pytest.fail("it was not read")


def settings(**changes):
    values = {"mode": "calibration", "extrinsics": "parameters", **changes}
    return Settings.of({"registration." + name: value for name, value in values.items()})


def test_a_file_is_what_reading_it_directly_gives(path):
    files, expected = CameraFiles(), read_camera_file(path, "ir")
    for _ in range(2):
        camera = files.read(path, "ir", False, PATIENCE_S)
        assert np.array_equal(camera.matrix, expected.matrix) and camera.size == expected.size
    assert not files.arrived()


def test_an_outcome_is_kept_until_the_files_are_renewed(path, tmp_path):
    files = CameraFiles()
    files.read(path, "ir", False, PATIENCE_S)
    (tmp_path / "camera.yaml").write_text("image_width: 1")
    assert files.read(path, "ir", False, PATIENCE_S).size == (120, 160)
    files = files.renewed()
    for _ in range(2):
        with pytest.raises(CalibrationError, match="camera_matrix|image_height"):
            files.read(path, "ir", False, PATIENCE_S)


def test_a_file_that_hangs_is_missing_until_it_arrives(path, drive):
    files = CameraFiles()
    for _ in range(3):
        with pytest.raises(CalibrationMissing, match="still being read"):
            files.read(path, "ir", False, 0.0)
    files = files.renewed()
    with pytest.raises(CalibrationMissing):
        files.read(path, "ir", False, 0.0)
    assert not files.arrived()
    drive.set()
    wait_until_arrived(files.arrived)
    assert files.read(path, "ir", False, 0.0).size == (120, 160)
    assert not files.arrived()


def test_files_that_hang_do_not_take_threads_without_end(path, drive):
    files = CameraFiles()
    before = threading.active_count()
    for number in range(READS_MAX):
        with pytest.raises(CalibrationMissing):
            files.read(f"{path}{number}", "ir", False, 0.0)
    files = files.renewed()
    for number in range(READS_MAX, 3 * READS_MAX):
        with pytest.raises(CalibrationError, match="does their drive answer"):
            files.read(f"{path}{number}", "ir", False, 0.0)
    assert threading.active_count() == before + READS_MAX


def test_the_registration_comes_when_the_files_do(path, drive):
    stages = CurrentStages(Settings())
    calibrated = settings(ir_calibration_file=path, vis_calibration_file=path, fallback="resize")
    stages.renew(calibrated)  # accepted: the files may be good
    assert "still being read" in stages.stages.problem
    assert stages.stages.registration.mode == "resize"
    stages.renew_registration()
    assert "still being read" in stages.stages.problem
    drive.set()
    wait_until_arrived(lambda: stages.follow_files() or not stages.stages.problem)
    assert stages.stages.registration.mode == "calibration"


BOMB = "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}' if level else '1'] * 9)}]\n"
    for level in range(8)
)


@pytest.mark.parametrize(
    "text",
    [
        CALIBRATION.replace("100,", "wide,"),
        CALIBRATION + "distortion_coefficients: {data: [a, b, c, d]}\n",
        CALIBRATION + "distortion_coefficients: {data: {a: 1}}\n",
        CALIBRATION.replace("160", "wide"),
        CALIBRATION.replace("160", ".inf"),
        BOMB + CALIBRATION.replace("[100, 0, 80, 0, 100, 60, 0, 0, 1]", "*a7"),
    ],
    ids=["matrix", "distortion", "mapping", "width", "infinite", "alias bomb"],
)
def test_a_file_that_is_no_calibration_passes_images_and_says_why(path, tmp_path, text):
    (tmp_path / "camera.yaml").write_text(text)
    stages = CurrentStages(settings(ir_calibration_file=path, vis_calibration_file=path))
    assert stages.stages.registration is None
    assert "found" in stages.stages.problem and len(stages.stages.problem) < 500
    stages = CurrentStages(Settings())
    before = stages.stages
    with pytest.raises(CalibrationError, match="found"):
        stages.renew(settings(ir_calibration_file=path))
    assert stages.stages is before
