"""benchmark, export, quantize, analyze, build_engine, doctor, demo: run as a user runs them."""

import os
import re
import sys

import numpy as np
import pytest

from irvis_fusion_core.commands import analyze, benchmark, build_engine, demo, doctor, export
from irvis_fusion_core.commands import quantize as quantize_command
from irvis_fusion_core.demo.night_street import NightStreet
from irvis_fusion_core.errors import CalibrationError
from irvis_fusion_core.image_files import FilePair, write_image
from irvis_fusion_core.image_sheet import CAPTION_PX

ALL = [analyze, benchmark, build_engine, demo, doctor, export, quantize_command]


@pytest.fixture
def pairs(tmp_path):
    """Ten pairs of the drawn street, as a folder."""
    street = NightStreet(160, 128, pedestrians=2)
    folder = tmp_path / "pairs"
    for number in range(10):
        frame = street.frame(0.4 * number)
        write_image(str(folder / "IR" / f"{number}.png"), frame.ir)
        write_image(str(folder / "VIS" / f"{number}.png"), frame.vis[..., ::-1])
    return folder


@pytest.mark.parametrize("module", ALL, ids=lambda module: module.__name__.split(".")[-1])
def test_help_shows_an_example(module, capsys):
    with pytest.raises(SystemExit) as caught:
        module.main(["--help"])
    assert caught.value.code == 0
    name = module.__name__.rpartition(".")[2]
    assert re.search(rf"examples?:.*\n\n? +irvis_fusion {name}", capsys.readouterr().out)


def test_benchmark_prints_a_row_for_each_stage(zoo, capsys):
    pytest.importorskip("onnxruntime")
    arguments = ["--backends", "onnxruntime", "--models", "nano", "--sizes", "48x32,64x32"]
    assert benchmark.main([*arguments, "--rounds", "2", "--threads", "1", "--stages"]) == 0
    text = capsys.readouterr().out
    assert "48x32" in text and "64x32" in text
    assert len(re.findall(r"^onnxruntime +nano +fp32 +\w+ +[\d.]+", text, re.M)) == 2 * 4


def test_benchmark_names_what_it_cannot_measure(zoo, capsys):
    pytest.importorskip("onnxruntime")
    arguments = ["--backends", "onnxruntime", "--models", "nano", "--sizes", "48x32"]
    assert benchmark.main([*arguments, "--precisions", "int8", "--rounds", "1"]) == 1
    error = capsys.readouterr().err
    assert "not measured: onnxruntime nano int8: expected nano_int8.onnx" in error


def test_export_writes_a_file_that_gives_the_student_s_images(zoo, pairs, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    from irvis_fusion_core.backends.model_file import read_model_file

    output = tmp_path / "out" / "bgr.onnx"
    arguments = ["--variant", "nano", "--output", str(output), "--vis-order", "bgr"]
    assert export.main([*arguments, "--size", "160x128", "--pairs", str(pairs)]) == 0
    model = read_model_file(str(output))
    assert (model.vis_order, model.fixed_size, model.variant) == ("bgr", (128, 160), "nano")
    worst = int(re.search(r"at most (\d+) grey", capsys.readouterr().out).group(1))
    assert worst <= 1


def test_export_needs_a_model(capsys):
    with pytest.raises(SystemExit) as caught:
        export.main(["--output", "a.onnx"])
    assert caught.value.code == 2
    assert "--checkpoint" in capsys.readouterr().err


def test_quantize_writes_int8_and_says_what_it_costs(zoo, pairs, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    from irvis_fusion_core.backends.model_file import read_model_file

    output = str(tmp_path / "int8.onnx")
    assert quantize_command.main(["--pairs", str(pairs), "--output", output]) == 0
    assert read_model_file(output).precision == "int8"
    assert re.search(r"PSNR\s+mean [\d.]+ dB", capsys.readouterr().out)


def test_quantize_refuses_to_calibrate_without_images(zoo, tmp_path, capsys):
    output = tmp_path / "int8.onnx"
    arguments = ["--pairs", str(tmp_path), "--output", str(output)]
    assert quantize_command.main(arguments) == 1
    assert "expected real pairs to calibrate with" in capsys.readouterr().err
    assert not output.exists()


def test_calibration_pairs_are_spread_evenly():
    files = [FilePair(str(n), "", "") for n in range(100)]
    chosen = [int(pair.stem) for pair in quantize_command.spread(files, 8)]
    assert chosen == [0, 12, 25, 37, 50, 62, 75, 87]
    assert quantize_command.spread(files[:3], 8) == files[:3]
    with pytest.raises(CalibrationError, match="at least 1"):
        quantize_command.spread(files, 0)


def test_analyze_counts_the_parameters(capsys):
    torch = pytest.importorskip("torch")
    from irvis_fusion_core import create_student_model

    assert analyze.main(["--variants", "nano", "--size", "64x48", "--threads", "1"]) == 0
    torch.set_num_threads(1)
    row = re.search(r"^nano +([\d.]+) +([\d.]+) +([\d.]+)", capsys.readouterr().out, re.M)
    parameters = sum(p.numel() for p in create_student_model("nano").parameters())
    assert float(row.group(1)) == pytest.approx(parameters / 1e6, abs=6e-4)
    assert float(row.group(3)) == pytest.approx(2 * float(row.group(2)), abs=0.02)


def test_build_engine_says_what_is_missing_or_builds(zoo, tmp_path, capsys):
    arguments = ["--model", "nano", "--size", "64x48", "--cache-dir", str(tmp_path / "cache")]
    arguments += ["--engine", "tensorrt_rtx", "--compute-capability", "8.6"]
    status = build_engine.main(arguments)
    printed = capsys.readouterr()
    try:
        import tensorrt_rtx  # noqa: F401
    except ImportError:
        assert status == 1 and "tensorrt_rtx" in printed.err
        return
    assert status == 0
    path = printed.out.strip()
    assert os.path.getsize(path) > 1000 and os.path.isfile(path + ".json")
    assert build_engine.main(arguments) == 0  # now it is there
    assert "nothing to build" in capsys.readouterr().err


def test_doctor_says_which_engine_would_run(zoo, capsys):
    pytest.importorskip("onnxruntime")
    assert doctor.main(["--backend", "onnxruntime", "--model", "nano"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"ok +nano fp32 .*checksum holds", text)
    assert re.search(r"ok +engine +onnxruntime [\d.]+ on cpu", text)
    assert "opened, and fused a pair" in text


def test_doctor_ends_with_an_error_where_nothing_runs(tmp_path, monkeypatch, capsys):
    from irvis_fusion_core import model_zoo

    monkeypatch.setattr(model_zoo, "MODELS_DIR", str(tmp_path))
    assert doctor.main([]) == 1
    assert "install the package again" in capsys.readouterr().out


def test_the_demo_leaves_images(zoo, pairs, tmp_path, capsys):
    cv2 = pytest.importorskip("cv2")
    pytest.importorskip("onnxruntime")
    output = tmp_path / "demo"
    arguments = ["--pairs", str(pairs), "--count", "3", "--output", str(output)]
    assert demo.main([*arguments, "--backend", "onnxruntime", "--threads", "1"]) == 0
    for number in range(3):
        strip = cv2.imread(str(output / f"{number}.png"))
        assert strip.shape == (CAPTION_PX + 128, 3 * 160, 3)
        vis = cv2.imread(str(pairs / "VIS" / f"{number}.png"))
        np.testing.assert_array_equal(strip[CAPTION_PX:, :160], vis)
    films = [name for name in os.listdir(output) if name.startswith("demo.")]
    assert len(films) == 1 and os.path.getsize(output / films[0]) > 1000
    assert re.search(r"^ *0 +[\d.]+ ", capsys.readouterr().out, re.M)


def test_commands_do_not_import_engines_before_they_are_asked_to():
    """Of this process nothing can be said (other tests imported them): a fresh one is asked."""
    import subprocess

    code = (
        "import sys; from irvis_fusion_core.commands import fuse, benchmark, doctor, export, "
        "quantize, analyze, build_engine, demo; "
        "print([m for m in ('torch','onnx','onnxruntime','openvino','tensorrt','tensorrt_rtx',"
        "'rclpy') if m in sys.modules])"
    )
    root = os.path.dirname(os.path.dirname(build_engine.__file__))
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        cwd=os.path.dirname(root),
    )
    assert done.stdout.strip() == "[]"
