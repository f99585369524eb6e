"""Parameters, calibrations, annotations, and the records that runs and caches leave."""

from __future__ import annotations

import io
import json
import os
import types
from pathlib import Path

import numpy as np
from fuzz.reader import Reader, by_first_byte, file_of, folder, new_folder, numbered

from irvis_fusion_core.backends.engine_cache import EngineCache, EngineKey
from irvis_fusion_core.calibration.parameter_file import update_parameters, updated
from irvis_fusion_core.detectors.annotations import read_annotations
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.fleet import record
from irvis_fusion_core.fleet.folder import FleetFolder
from irvis_fusion_core.registration.camera_model import read_camera_file
from irvis_fusion_ros.bags.bag_error import BagError
from irvis_fusion_ros.bags.bag_place import MARK, BagPlace
from irvis_fusion_ros.bags.replay.interrupted_run import LEVELS, InterruptedRun
from irvis_fusion_ros.parameters.generated_files import yaml_text
from irvis_fusion_ros.parameters.settings_file import load_settings, settings_of_arguments
from training.errors import DataError

VALUES = {"ir_time_offset_s": 0.25, "registration.mode": "homography"}
CALIBRATION = """\
image_width: 64
image_height: 48
camera_name: ir
camera_matrix: {rows: 3, cols: 3, data: [60.0, 0.0, 32.0, 0.0, 60.0, 24.0, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.01, 0.0, 0.0, 0.0]}
projection_matrix: {rows: 3, cols: 4, data: [60.0, 0, 32.0, 0, 0, 60.0, 24.0, 0, 0, 0, 1.0, 0]}
"""
YAML_FORMS = """\
/**:
  ros__parameters:
    model: !!binary aGVsbG8=
    device: !!set {x, y}
    backend: 2001-12-14t21:59:43.10-05:00
    registration: !!pairs [mode: 1, f: 0x1F]
    registration.homography: [1:30, .inf, ~, 1e3, 0b1, 0o7]
    <<: {threads: !!omap [i: null]}
    ? ir_width
    : |
      text
"""
KEY = EngineKey("nano", "0" * 64, "tensorrt", "10.3", "any", "8.6", "fp16", 48, 64, {"level": 3})
SETTINGS = {"teacher": "ddfm", "steps": 25, "sizes": [48, 64]}


def read_parameters(data: bytes) -> None:
    """Read a parameter file, as the commands and the node do."""
    path = file_of(data, "parameters.yaml")
    settings_of_arguments(["--params-file", path])
    load_settings(path)


def read_argument(data: bytes) -> None:
    """Read a value of the command line."""
    text = data.decode("utf-8", "surrogateescape")
    settings_of_arguments(["-p", text])
    load_settings(None, [text])


def change_parameters(data: bytes) -> None:
    """Write measured values into a parameter file, and read them back."""
    path = file_of(data, "changed.yaml")
    update_parameters(path, VALUES, "measured")
    text = Path(path).read_text(encoding="utf-8")
    assert updated(text, VALUES) == text


def parameter_files() -> list[bytes]:
    """Return a short parameter file with the forms that ROS reads."""
    text = updated("# x\n/**:\n  ros__parameters:\n", VALUES)
    nested = "fusion_node:\n  ros__parameters:\n    thermal: {method: window, window_low: 1.0}\n"
    commented = "\n".join(yaml_text().splitlines()[:40]) + "\n"
    return [each.encode() for each in (text, nested, commented, YAML_FORMS)]


def read_calibration(data: bytes) -> None:
    """Read a calibration file, and use the camera as registration does."""
    path = file_of(data, "camera.yaml")
    for rectified in (False, True):
        camera = read_camera_file(path, "ir", rectified)
        assert np.isfinite(camera.matrix).all() and np.isfinite(camera.distortion).all()
        assert camera.widest_ray() > 0.0
        camera.for_size("ir", (96, 128)).rays(np.zeros((1, 2)))


def calibrations() -> list[bytes]:
    """Return files of camera_calibration for the lenses, and one of OpenCV."""
    older = CALIBRATION.replace("distortion_model: plumb_bob", "camera_model: fisheye")
    opencv = "%YAML:1.0\n---\n" + CALIBRATION.replace("x: {", "x: !!opencv-matrix {")
    texts = [CALIBRATION, CALIBRATION.replace("plumb_bob", "equidistant"), older, opencv]
    return [text.encode() for text in (*texts, CALIBRATION + YAML_FORMS)]


def read_coco(data: bytes) -> None:
    """Read annotations in COCO's form."""
    _use(file_of(data, "coco.json"))


def read_yolo(data: bytes) -> None:
    """Read a file of YOLO boxes in a folder with class names."""
    place = new_folder("yolo")
    (place / "classes.txt").write_text("car\nperson\n")
    (place / "000001.txt").write_bytes(data)
    _use(str(place))


def read_class_names(data: bytes) -> None:
    """Read the names of classes beside YOLO boxes."""
    place = new_folder("yolo")
    (place / "000001.txt").write_text("1 0.5 0.5 0.1 0.1\n")
    (place / "classes.txt").write_bytes(data)
    _use(str(place))


def _use(path: str) -> None:
    annotations = read_annotations(path, ("car",))
    for truth in annotations.of_frame(1, 1_700_000_000_000_000_000, 48, 64) or ():
        assert np.isfinite(truth.box).all() and truth.label in annotations.labels


def read_training_boxes(data: bytes) -> None:
    """Read a file of YOLO boxes as training does."""
    from training.data.boxes import padded_boxes, read_boxes

    boxes = read_boxes(Path(file_of(data, "boxes.txt")))
    assert np.isfinite(padded_boxes(boxes)).all()


def coco() -> list[bytes]:
    """Return COCO annotations of two images."""
    images = [
        {"id": n, "width": 64, "height": 48, "file_name": name}
        for n, name in enumerate(("1700000000000000000.png", "frame_000001.png"))
    ]
    boxes = [
        {"image_id": n, "category_id": 1, "bbox": [1, 2, 3.5, 4], "iscrowd": n} for n in (0, 1)
    ]
    tree = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "Person"}]}
    return [json.dumps(tree).encode()]


def load_engine(data: bytes) -> None:
    """Look for an engine in a cache whose record has these bytes."""
    cache = EngineCache(str(new_folder("engines")))
    path = cache.store(KEY, b"engine", 1.0, "made up")
    _overwrite(path + ".json", data)
    assert cache.load(KEY)[0] in (None, b"engine")
    assert cache.load_blob(os.path.basename(path)) in (None, b"engine")
    assert cache.load(KEY._replace(height=96))[0] is None


def find_finished(data: bytes) -> None:
    """Look whether a run with such a record has finished."""
    place = new_folder("run")
    run, output = _run()
    (place / "record.json").write_bytes(data)
    facts = record.facts_of_finished(run, record.stamps(run.inputs), output)
    assert facts is None or isinstance(facts, dict)


def name_sources(data: bytes) -> None:
    """Give sources names in a folder with such a list of earlier ones."""
    place = new_folder("fleet")
    (place / ".names.json").write_bytes(data)
    sources = ["/data/a.db3", "/data/b.db3", "/data/a.db3"]
    assert sorted(FleetFolder(str(place)).name(sources).values()) == sources[:2]


def resume_run(data: bytes) -> None:
    """Go on with an interrupted run that left such a description of itself."""
    place = new_folder("resumed")
    part = place / "fused.part"
    part.mkdir()
    (part / MARK).write_text("begun")
    (part / ".run.json").write_bytes(data)
    bag = BagPlace(str(place / "fused"), False)
    bag.open(SETTINGS, True)
    bag.leave()


def read_levels(data: bytes) -> None:
    """Read the states of the flicker limiter that an interrupted run left."""
    place = types.SimpleNamespace(
        beside=lambda name: file_of(data, name), before=str(folder("levels") / "bag")
    )
    if not os.path.exists(place.before):
        from made_bags import make_bag, write_pairs

        pairs = write_pairs(folder("pairs"), 1, (4, 6))
        make_bag(place.before, pairs, 0.05)
    for name in (LEVELS, LEVELS + ".before"):
        (folder("files") / name).unlink(missing_ok=True)
    run = InterruptedRun()
    run.begin(types.SimpleNamespace(place=place), None)
    for run.published in range(4):
        level = run.next_level((2, 3))
        assert level is None or (level.shape == (2, 3) and level.dtype == np.float32)


def open_teacher_folder(data: bytes) -> None:
    """Go on in a folder of a teacher's images with such settings."""
    from training.teachers.ensemble_files import SETTINGS as NAME
    from training.teachers.ensemble_files import EnsembleFolder

    place = new_folder("teacher")
    (place / NAME).write_bytes(data)
    EnsembleFolder(place).open(SETTINGS)


def read_teacher_variance(data: bytes) -> None:
    """Read the variance of a teacher's images."""
    from training.data.images import read_variance

    variance = read_variance(Path(file_of(data, "a_var.npy")))
    assert variance.ndim == 2 and (variance >= 0.0).all()


def _overwrite(path: str, data: bytes) -> None:
    with open(path, "wb") as stream:  # its mode stays
        stream.write(data)


def _run() -> tuple[record.Run, str]:
    output = file_of(b"result", "output.txt")
    return record.Run(str(folder("run") / "record.json"), SETTINGS, (output,)), output


def records() -> list[bytes]:
    """Return what each writer leaves; `read_levels` takes numbers, rows, columns, float32."""
    cache = EngineCache(str(new_folder("engines")))
    engine = Path(cache.store(KEY, b"engine", 1.0, "made up") + ".json").read_bytes()
    run, output = _run()
    record.write(run, record.stamps(run.inputs), output, {"frames": 3})
    finished = Path(run.path).read_bytes()
    names = json.dumps({"a": "/data/a.db3"}).encode()
    settings = json.dumps(SETTINGS).encode()
    level = np.arange(6, dtype="<f4").tobytes()
    levels = b"".join(np.array([n], "<u8").tobytes() + b"\2\0\0\0\3\0\0\0" + level for n in (0, 2))
    variance = io.BytesIO()
    np.save(variance, np.full((2, 3), 0.1, np.float32))
    return numbered(
        [engine], [finished], [names], [settings], [levels], [settings], [variance.getvalue()]
    )


READERS = (
    Reader(
        "parameter files",
        by_first_byte(read_parameters, read_argument, change_parameters),
        lambda: numbered(
            parameter_files(), [b"ir_time_offset_s:=1.7e9", b"ir_width=[a, 1]"], parameter_files()
        ),
        (ConfigurationError,),
        ("yaml",),
        longest=2048,
    ),
    Reader("calibration files", read_calibration, calibrations, libraries=("yaml",), longest=2048),
    Reader(
        "annotations",
        by_first_byte(read_coco, read_yolo, read_class_names, read_training_boxes),
        lambda: numbered(
            coco(), [b"0 0.5 0.5 0.25 1\n"], [b"car\nperson\n"], [b"0 0.5 0.5 0.25 1\n"]
        ),
        libraries=("json",),
        longest=2048,
    ),
    Reader(
        "records of runs and engines",
        by_first_byte(
            load_engine,
            find_finished,
            name_sources,
            resume_run,
            read_levels,
            open_teacher_folder,
            read_teacher_variance,
        ),
        records,
        (ConfigurationError, BagError, DataError),
        ("json",),
    ),
)
