"""`irvis_fusion fuse`: the image that `RealtimeFusion` gives is the one in the file."""

import cv2
import numpy as np
import pytest
from hostile_images import declaring, png, with_scans

from irvis_fusion_core import RealtimeFusion
from irvis_fusion_core.calibration.parameter_file import update_parameters
from irvis_fusion_core.commands.fuse import main
from irvis_fusion_core.demo.night_street import NightStreet
from irvis_fusion_core.image_files import write_image
from irvis_fusion_core.thermal import ThermalRescale

ENGINE = ["--model", "nano", "--backend", "onnxruntime", "--threads", "1", "--quiet"]


@pytest.fixture
def street(zoo):
    pytest.importorskip("onnxruntime", reason="the CPU engine of these tests")
    return NightStreet(96, 64, pedestrians=1)


def expected_bgr(frame):
    with RealtimeFusion("nano", "onnxruntime", threads=1) as fusion:
        return fusion.fuse_frame(frame.ir, frame.vis)[..., ::-1]


def write_pair(folder, name, frame):
    ir, vis = str(folder / "IR" / (name + ".png")), str(folder / "VIS" / (name + ".png"))
    write_image(ir, frame.ir)
    write_image(vis, frame.vis[..., ::-1])
    return ir, vis


def test_two_images(street, tmp_path):
    frame = street.frame(0.0)
    ir, vis = write_pair(tmp_path, "a", frame)
    output = str(tmp_path / "deep" / "fused.png")
    assert main(["--ir", ir, "--vis", vis, "--output", output, *ENGINE]) == 0
    np.testing.assert_array_equal(cv2.imread(output), expected_bgr(frame))


@pytest.mark.parametrize("nested", [True, False])
def test_the_file_of_calibrate_registers(street, tmp_path, nested):
    """`calibrate` writes dotted names; people nest them as well."""
    matrix = [1.0, 0.0, 5.0, 0.0, 1.0, -3.0, 0.0, 0.0, 1.0]
    path = tmp_path / "registration.yaml"
    if nested:
        text = f"    registration:\n      mode: homography\n      homography: {matrix}\n"
        path.write_text("fusion_node:\n  ros__parameters:\n" + text)
    else:
        values = {"registration.mode": "homography", "registration.homography": matrix}
        update_parameters(str(path), {**values, "registration.calibrated_ir_size": [64, 96]})
    frame = street.frame(0.0)
    ir, vis = write_pair(tmp_path, "a", frame)
    output = str(tmp_path / "fused.png")
    arguments = ["--ir", ir, "--vis", vis, "--output", output, "--registration", str(path)]
    assert main([*arguments, "--side-by-side", *ENGINE]) == 0
    thermal = cv2.imread(output, cv2.IMREAD_GRAYSCALE)[:, 96:192]
    inner = np.s_[20:40, 30:60]  # away from the soft edge
    moved = np.roll(ThermalRescale()(frame.ir), (-3, 5), (0, 1))
    np.testing.assert_array_equal(thermal[inner], moved[inner])


def test_side_by_side_is_visible_thermal_fused(street, tmp_path):
    frame = street.frame(0.0)
    ir, vis = write_pair(tmp_path, "a", frame)
    output = str(tmp_path / "fused.png")
    arguments = ["--ir", ir, "--vis", vis, "--output", output, "--side-by-side", *ENGINE]
    assert main(arguments) == 0
    thermal = ThermalRescale()(frame.ir)
    panels = [frame.vis[..., ::-1], np.dstack([thermal] * 3), expected_bgr(frame)]
    np.testing.assert_array_equal(cv2.imread(output), np.hstack(panels))


@pytest.mark.parametrize("side", ["ir", "vis"])
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (with_scans(500), "32 scans"),
        (declaring("PNG", 16000, 12000), "16000x12000"),
        (png(length=0x7FFFFFFF), "69 bytes"),
        (b"GIF89a" + bytes(50), "found GIF"),
    ],
)
def test_hostile_images_are_refused_with_their_path(data, found, side, street, tmp_path, capsys):
    paths = dict(zip(("ir", "vis"), write_pair(tmp_path, "a", street.frame(0.0))))
    with open(paths[side], "wb") as file:
        file.write(data)
    sides = [text for name, path in paths.items() for text in ("--" + name, path)]
    assert main([*sides, "--output", str(tmp_path / "out.png"), *ENGINE]) != 0
    error = capsys.readouterr().err
    assert found in error and paths[side] in error


def test_two_folders(street, tmp_path):
    frames = {name: street.frame(time_s) for name, time_s in (("a", 0.0), ("b", 1.0))}
    for name, frame in frames.items():
        write_pair(tmp_path, name, frame)
    sides = ["--ir", str(tmp_path / "IR"), "--vis", str(tmp_path / "VIS")]
    assert main([*sides, "--output", str(tmp_path / "out"), *ENGINE]) == 0
    for name, frame in frames.items():
        fused = cv2.imread(str(tmp_path / "out" / (name + ".png")))
        np.testing.assert_array_equal(fused, expected_bgr(frame))


def test_a_16_bit_thermal_image_is_rescaled_first(street, tmp_path):
    frame = street.frame(0.0)
    ir, vis = write_pair(tmp_path, "a", frame)
    raw = (29000 + 10 * frame.ir.astype(np.uint16)).astype(np.uint16)
    write_image(ir, raw)
    output = str(tmp_path / "fused.png")
    assert main(["--ir", ir, "--vis", vis, "--output", output, *ENGINE]) == 0
    rescaled = frame._replace(ir=ThermalRescale()(raw))
    np.testing.assert_array_equal(cv2.imread(output), expected_bgr(rescaled))


def write_video(path, frames):
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, frames[0].shape[1::-1]
    )
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame))
    writer.release()


def test_two_videos_as_long_as_the_shorter(street, tmp_path, capsys):
    frames = [street.frame(0.1 * n) for n in range(6)]
    write_video(tmp_path / "ir.avi", [np.dstack([f.ir] * 3) for f in frames])
    write_video(tmp_path / "vis.avi", [f.vis[..., ::-1] for f in frames[:4]])
    output = tmp_path / "fused.avi"
    sides = ["--ir", str(tmp_path / "ir.avi"), "--vis", str(tmp_path / "vis.avi")]
    assert main([*sides, "--output", str(output), *ENGINE]) == 0
    assert "vis.avi ends before" in capsys.readouterr().err
    video = cv2.VideoCapture(str(output))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5, abs=0.1)
    count = 0
    while True:
        there, image = video.read()
        if not there:
            break
        # JPEG was applied twice: close to the image, not equal.
        difference = np.abs(image.astype(int) - expected_bgr(frames[count]))
        assert difference.mean() < 8.0
        count += 1
    assert count == 4


class Pumping:
    """A fusion whose images of a still scene jump by 40 grey levels."""

    def __init__(self):
        self.count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def warm_up(self, height, width):
        pass

    def describe(self):
        return {"engine": "none", "model": "none"}

    def fuse_frame(self, ir, vis, order):
        self.count += 1
        return np.full_like(vis, 80 + 40 * (self.count % 2))


@pytest.mark.parametrize("kind, jump", [("video", 0), ("folder", 40)])
def test_a_still_video_stands_still_and_images_are_fused_alone(
    street, tmp_path, monkeypatch, kind, jump
):
    monkeypatch.setattr("irvis_fusion_core.command_line.open_fusion", lambda _: Pumping())
    frame = street.frame(0.0)
    ending = ".avi" if kind == "video" else ""
    if kind == "video":
        write_video(tmp_path / "IR.avi", [np.dstack([frame.ir] * 3)] * 4)
        write_video(tmp_path / "VIS.avi", [frame.vis] * 4)
    for name in "abcd" if kind == "folder" else "":
        write_pair(tmp_path, name, frame)
    sides = ["--ir", str(tmp_path / f"IR{ending}"), "--vis", str(tmp_path / f"VIS{ending}")]
    output = tmp_path / f"fused{ending}"
    assert main([*sides, "--output", str(output), "--quiet"]) == 0
    if kind == "video":
        video = cv2.VideoCapture(str(output))
        images = [video.read()[1] for _ in range(4)]
    else:
        images = [cv2.imread(str(output / f"{name}.png")) for name in "abcd"]
    assert np.ptp([image.mean() for image in images]) == pytest.approx(jump, abs=4)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"--ir": "none.png"}, "found nothing there"),
        ({"--ir": "IR"}, "of one kind"),
        ({"--output": "fused"}, "end in one of"),
        ({"--output": "VIS/a.png"}, "differ from the inputs"),
        ({"--vis": "cut.png"}, "truncated"),
        ({"--vis": "large.png", "--registration": "none"}, "needs IR of"),
        ({"--registration": "homography.yaml"}, "registration"),
        ({"--model": "none.onnx"}, "no such file"),
        ({"--backend": "caffe"}, "expected backend"),
    ],
)
def test_what_cannot_be_done_ends_with_one_line(street, tmp_path, capsys, change, told):
    write_pair(tmp_path, "a", street.frame(0.0))
    (tmp_path / "cut.png").write_bytes((tmp_path / "VIS" / "a.png").read_bytes()[:30])
    write_image(str(tmp_path / "large.png"), np.zeros((70, 96, 3), np.uint8))
    arguments = {"--ir": "IR/a.png", "--vis": "VIS/a.png", "--output": "fused.png"}
    arguments.update(change)
    line = list(ENGINE)
    for name, value in arguments.items():
        if name in ("--ir", "--vis", "--output") or "/" in value or value == "none.onnx":
            value = str(tmp_path / value)
        line += [name, value]
    assert main(line) == 1
    error = capsys.readouterr().err
    assert error.startswith("irvis_fusion fuse: ") and told in error
    assert "Traceback" not in error and not (tmp_path / "fused.png").exists()
