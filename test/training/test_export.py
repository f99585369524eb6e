"""A checkpoint becomes files that RealtimeFusion runs; what is wrong leaves no half of them."""

import hashlib
import json

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx", reason="exporting needs onnx: pip install '.[train]'")
pytest.importorskip("onnxruntime", reason="needs an engine: pip install '.[onnx]'")

from pair_folders import smooth, write_pair_folder

from irvis_fusion_core import RealtimeFusion, create_student_model
from irvis_fusion_core.backends import model_file
from irvis_fusion_core.backends.model_file import read_model_file
from irvis_fusion_core.errors import CalibrationError, ConfigurationError, ModelError
from irvis_fusion_core.network.checkpoint import load_checkpoint
from irvis_fusion_core.network.pixel_student import PixelStudent
from training import export

IR, VIS = smooth(900), smooth(901, channels=3)


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(5)
    model = create_student_model("nano")
    torch.nn.init.normal_(model.controls.weight, std=0.05)
    return model.eval()


@pytest.fixture(scope="module")
def pth(student, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best_model.pth"
    torch.save(student.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def exported(pth, tmp_path_factory):
    """All files of one export, int8 included."""
    folder = tmp_path_factory.mktemp("exported")
    pairs = write_pair_folder(folder / "pairs", 8)
    out = folder / "out"
    assert run(pth, out, "--name", "yard", "--calibrate", pairs) == 0
    return out


def run(checkpoint, output, *more):
    return export.main([str(a) for a in ("--checkpoint", checkpoint, "--output", output, *more)])


def own_image(student):
    with torch.inference_mode():
        pair = torch.from_numpy(IR)[None, :, :, None], torch.from_numpy(VIS)[None]
        return PixelStudent(student)(*pair)[0].numpy()


def test_every_file_is_there_and_known_by_its_checksum(exported):
    names = {"yard_fp32.onnx", "yard_fp16.onnx", "yard_int8.onnx", "yard.safetensors"}
    assert {p.name for p in exported.iterdir()} == names | {"MODEL_CARD.md", "checksums.json"}
    record = json.loads((exported / "checksums.json").read_text())
    assert record == {n: hashlib.sha256((exported / n).read_bytes()).hexdigest() for n in names}
    card = (exported / "MODEL_CARD.md").read_text()
    assert all(record[name] in card for name in names if name.endswith(".onnx"))


def test_realtime_fusion_gives_the_students_own_image(exported, student):
    expected = own_image(student).astype(np.int16)
    assert np.abs(expected - VIS).max() > 20  # else the comparison would say nothing
    for precision, bound in (("fp32", 1), ("fp16", 4)):
        path = str(exported / f"yard_{precision}.onnx")
        with RealtimeFusion(path, "onnxruntime", threads=1) as fusion:
            fused = fusion.fuse_frame(IR, VIS)
        assert np.abs(fused - expected).max() <= bound
    # torch finds the weights beside the file by their name.
    with RealtimeFusion(str(exported / "yard_fp32.onnx"), "torch", device="cpu") as fusion:
        assert np.abs(fusion.fuse_frame(IR, VIS) - expected).max() <= 1


def test_int8_runs_and_says_what_it_costs(exported, student):
    model = read_model_file(str(exported / "yard_int8.onnx"))
    assert (model.precision, model.variant) == ("int8", "nano")
    with RealtimeFusion(model.path, "onnxruntime", threads=1) as fusion:
        fused = fusion.fuse_frame(IR, VIS)
    error = np.mean((fused.astype(np.float64) - own_image(student)) ** 2)
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 25.0
    assert "PSNR" in (exported / "MODEL_CARD.md").read_text()


def test_weights_are_the_checkpoints(exported, student):
    kept = load_checkpoint(exported / "yard.safetensors").state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in student.state_dict().items())


def test_without_pairs_there_is_no_int8(pth, tmp_path, capsys):
    (pth.parent / "config.json").write_text('{"epochs": 1234}')
    assert run(pth, tmp_path / "out") == 0
    assert "int8: not exported" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "out").glob("*.onnx")} == {
        "nano_fp32.onnx",
        "nano_fp16.onnx",
    }
    # The configuration that a training leaves beside its checkpoints goes into the card.
    assert '"epochs": 1234' in (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert not list((tmp_path / "out").glob("*int8*"))
    assert run(pth, tmp_path / "no", "--precisions", "int8") == 1
    assert "--calibrate" in capsys.readouterr().err
    assert not list((tmp_path / "no").iterdir())


def test_an_earlier_export_stays_when_the_next_one_fails(pth, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    out.mkdir()
    names = ("nano_fp32.onnx", "nano.safetensors", "MODEL_CARD.md", "checksums.json")
    before = {name: name.encode() for name in names}
    for name, data in before.items():
        (out / name).write_bytes(data)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_file", full)
    assert run(pth, out, "--precisions", "fp32") == 1
    assert "No space left on device; make room" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_two_models_share_a_folder_and_stale_precisions_are_named(tmp_path):
    out = tmp_path / "out"
    for name in ("first", "yard"):
        built = tmp_path / name
        built.mkdir()
        (built / f"{name}_fp32.onnx").write_bytes(name.encode())
        placed = export.put_in_place(built, out)
        assert placed[-1] == out / "checksums.json" and not list(built.iterdir())
    record = json.loads((out / "checksums.json").read_text())
    digests = {f"{n}_fp32.onnx": hashlib.sha256(n.encode()).hexdigest() for n in ("first", "yard")}
    assert record == digests
    (out / "yard_int8.onnx").write_bytes(b"of last week")
    stale = export.stale_files(out, "yard", ["yard_fp32.onnx", "yard_fp16.onnx"])
    assert stale == [out / "yard_int8.onnx"]


def test_a_damaged_record_of_checksums_is_named(tmp_path):
    built, out = tmp_path / "built", tmp_path / "out"
    for folder in (built, out):
        folder.mkdir()
    (out / "checksums.json").write_text("{")
    (built / "a.onnx").write_bytes(b"a")
    with pytest.raises(ConfigurationError, match="checksums.json.*remove it"):
        export.put_in_place(built, out)
    assert not (out / "a.onnx").exists()


def test_a_file_that_does_not_match_its_student_is_refused(student, tmp_path, monkeypatch):
    monkeypatch.setitem(model_file.BOUNDS, "fp32", -1)
    with pytest.raises(ModelError, match="at most -1 grey levels"):
        export.export_student(student, tmp_path, "x", ("fp32",))


def test_bad_input_is_one_clear_line(pth, tmp_path, capsys):
    small = write_pair_folder(tmp_path / "few", 3)
    empty = tmp_path / "empty"
    for side in ("IR", "VIS"):
        (empty / side).mkdir(parents=True)
    cases = (
        (("--variant", "small"), "another variant"),
        (("--calibrate", small), "at least 8 real pairs"),
        (("--calibrate", empty), "no usable pair"),
        (("--name", "../up"), "--name"),
        (("--size", "32x32", "--calibrate", small), "64x64"),
        (("--evaluation", pth.with_name("none.json")), "none.json"),
    )
    for more, expected in cases:
        assert run(pth, tmp_path / "out", *more) == 1, more
        assert expected in capsys.readouterr().err, more
    out = tmp_path / "out"
    assert not out.exists() or not list(out.iterdir())
    cut = pth.with_name("cut.pth")
    cut.write_bytes(pth.read_bytes()[:999])
    assert run(cut, out) == 1
    assert "not a checkpoint" in capsys.readouterr().err


def test_truncated_calibration_image_is_named(pth, tmp_path, capsys):
    pairs = write_pair_folder(tmp_path / "pairs", 8)
    victim = pairs / "VIS" / "p4.png"
    victim.write_bytes(victim.read_bytes()[:-60])
    assert run(pth, tmp_path / "out", "--calibrate", pairs) == 1
    assert "p4" in capsys.readouterr().err


def test_size_and_order_are_in_the_file(pth, student, tmp_path):
    out = tmp_path / "out"
    assert run(pth, out, "--precisions", "fp32", "--size", "64x64", "--vis-order", "bgr") == 0
    model = read_model_file(str(out / "nano_fp32.onnx"))
    assert model.fixed_size == (64, 64) and model.vis_order == "bgr"
    with RealtimeFusion(model.path, "onnxruntime", threads=1) as fusion:
        fused = fusion.fuse_frame(IR, cv2.cvtColor(VIS, cv2.COLOR_RGB2BGR), "bgr")
    difference = fused[..., ::-1].astype(np.int16) - own_image(student)
    assert np.abs(difference).max() <= 1


def test_int8_asks_for_pairs_before_it_exports(student, tmp_path):
    with pytest.raises(CalibrationError, match="real pairs"):
        export.export_student(student, tmp_path, "x", ("int8",))
