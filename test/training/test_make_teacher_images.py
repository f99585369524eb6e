"""Teacher images by the command: made, stopped, gone on with, shared, selected, read back."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tqdm")

from irvis_fusion_core.metrics import luminance, score_pair
from training import make_teacher_images
from training.data.dataset import FusionDataset
from training.data.images import read_pair
from training.data.listing import list_images
from training.evaluation.scores import WEIGHTS, merit
from training.teachers import prior_files

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "conditional": {"model_channels": 16, "channel_mult": (1, 2), "attention_at": (), "groups": 8},
    "ddfm": {"model_channels": 16, "channel_mult": (1, 2), "attention_at": (), "groups": 8},
    "mask_difuser": {
        "channels": 16,
        "channel_mult": (1, 2),
        "attention_levels": (),
        "content": (8, 16),
        "content_out": 8,
        "semantic_stem": 8,
        "semantic": 32,
        "semantic_layers": 1,
        "groups": 4,
    },
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of each teacher, untrained."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for teacher, config in TINY.items():
        network = prior_files.create_network(teacher, "small", config)
        prior_files.save_network(network, folder / f"{teacher}.safetensors")
    return {teacher: str(folder / f"{teacher}.safetensors") for teacher in TINY}


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    for side in ("IR", "VIS"):
        (tmp_path / side).mkdir()
        for stem, size in (("a", (56, 64)), ("b", (56, 64)), ("c", (48, 50))):
            small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / side / f"{stem}.png"), cv2.resize(small, size[::-1]))
    return tmp_path


def command(weights, data, *more, teachers=("ddfm",)):
    chosen = [a for t in teachers for a in ("--teacher", t, "--checkpoint", weights[t])]
    base = [
        *chosen,
        "--data_root",
        str(data),
        "--samples",
        "2",
        "--steps",
        "2",
        "--devices",
        "cpu",
    ]
    return [*base, *more]


def images_in(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.png"))}


def test_ensembles_are_what_the_dataset_reads(weights, data, capsys):
    assert make_teacher_images.main(command(weights, data)) == 0
    assert "3 ensembles made (6 samples kept, 0 diverged" in capsys.readouterr().out
    folder = data / "TEACHER_FUSED"
    assert sorted(images_in(folder)) == [
        f"{stem}{part}.png" for stem in "abc" for part in ("", "_0", "_1", "_var")
    ]
    listing = list_images(data).require_clean()
    assert [len(pair.teachers) for pair in listing.pairs] == [3, 3, 3]
    item = FusionDataset([data])[0]
    samples = [cv2.imread(str(folder / f"a_{k}.png"), cv2.IMREAD_COLOR) for k in (0, 1)]
    grey = np.stack([cv2.cvtColor(s, cv2.COLOR_BGR2GRAY) for s in samples]).astype(np.float64)
    mean = cv2.cvtColor(cv2.imread(str(folder / "a.png")), cv2.COLOR_BGR2GRAY)
    inside = (grey.max(0) < 250) & (grey.min(0) > 5)  # colours that clip lose luminance
    assert np.abs(mean - grey.mean(0))[inside].mean() < 1.0
    variance = item["variance"][0].numpy() * 255.0**2
    assert variance[inside].mean() == pytest.approx(grey.var(0)[inside].mean(), rel=0.25, abs=2)
    # The visible colour stays: equal chroma, where nothing clips.
    vis = cv2.imread(str(data / "VIS" / "a.png"))
    chroma = [cv2.cvtColor(p, cv2.COLOR_BGR2YCrCb)[..., 1:].astype(int) for p in (samples[0], vis)]
    whole = ((samples[0] > 3) & (samples[0] < 252)).all(2)
    assert np.abs(chroma[0] - chroma[1])[whole].max() <= 2


def test_a_stopped_run_goes_on_without_loss(weights, data, monkeypatch, capsys):
    """Stopped in the middle of writing the second pair, by an error like a full disk."""
    reference = data / "reference"
    assert make_teacher_images.main(command(weights, data, "--output", str(reference))) == 0
    from training import storage

    write, count = storage.write_bytes, []

    def fail_later(path, content):
        count.append(path)
        if len(count) == 8:  # the note, four files of a, three of b
            (path.parent / (path.name + ".part")).write_bytes(content[:10])
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(storage, "write_bytes", fail_later)
    assert make_teacher_images.main(command(weights, data)) == 130
    folder = data / "TEACHER_FUSED"
    assert (folder / "a_var.png").is_file() and not (folder / "b_var.png").is_file()
    monkeypatch.setattr(storage, "write_bytes", write)
    kept = (folder / "a_0.png").stat().st_mtime_ns
    assert make_teacher_images.main(command(weights, data)) == 0
    assert "2 ensembles made" in capsys.readouterr().out
    assert (folder / "a_0.png").stat().st_mtime_ns == kept
    assert images_in(folder) == images_in(reference / "TEACHER_FUSED")


def test_other_settings_are_not_mixed_in(weights, data, capsys):
    assert make_teacher_images.main(command(weights, data, "--limit", "1")) == 0
    assert make_teacher_images.main(command(weights, data, "--seed", "5")) == 1
    assert "found seed 0 not 5" in capsys.readouterr().err


def test_shares_of_several_processes_add_up(weights, data, monkeypatch):
    """RANK and WORLD_SIZE as torchrun sets them: no pair twice, and the same images."""
    whole = data / "whole"
    assert make_teacher_images.main(command(weights, data, "--output", str(whole))) == 0
    rows = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert make_teacher_images.main(command(weights, data)) == 0
        notes = (data / "TEACHER_FUSED" / f"ensembles.{rank}.jsonl").read_text().splitlines()
        rows.append([json.loads(line)["stem"] for line in notes])
    assert rows == [["a", "c"], ["b"]]
    # Batches differ, and with them the last bit of a convolution.
    ours, theirs = images_in(data / "TEACHER_FUSED"), images_in(whole / "TEACHER_FUSED")
    assert set(ours) == set(theirs)
    for name in ours:
        a, b = (cv2.imdecode(np.frombuffer(x[name], np.uint8), -1) for x in (ours, theirs))
        tolerance = 64 if name.endswith("_var.png") else 1
        assert np.abs(a.astype(int) - b.astype(int)).max() <= tolerance, name


@pytest.mark.slow
def test_two_processes_are_started_for_two_devices(weights, data):
    arguments = command(weights, data)
    arguments[arguments.index("cpu")] = "2"
    done = subprocess.run(
        [sys.executable, "-m", "training.make_teacher_images", *arguments, "--threads", "1"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((data / "TEACHER_FUSED").glob("*_var.png"))) == 3
    assert "[1/2]" in done.stderr and "[2/2]" in done.stderr  # both bars


def test_the_better_teacher_of_each_pair_is_selected(weights, data, capsys):
    both = tuple(TINY)
    assert make_teacher_images.main(command(weights, data, "--select", teachers=both)) == 0
    assert "best of" in capsys.readouterr().out
    for pair in list_images(data, check=False).pairs:
        ir = cv2.imread(str(pair.ir), cv2.IMREAD_GRAYSCALE)
        vis = cv2.cvtColor(cv2.imread(str(pair.vis)), cv2.COLOR_BGR2RGB)
        candidates = {t: data / f"TEACHER_FUSED_{t}" / f"{pair.stem}.png" for t in both}
        scores = {}
        for teacher, path in candidates.items():
            fused = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            scores[teacher] = merit(score_pair(fused, ir, vis, WEIGHTS))
        best = max(scores, key=scores.get)
        chosen = data / "TEACHER_FUSED" / f"{pair.stem}.png"
        assert chosen.read_bytes() == candidates[best].read_bytes()
    # Once more: nothing to make, the same choice.
    before = images_in(data / "TEACHER_FUSED")
    assert make_teacher_images.main(command(weights, data, "--select", teachers=both)) == 0
    assert images_in(data / "TEACHER_FUSED") == before


def test_when_every_sample_diverges_the_pair_fails_and_the_others_go_on(
    weights, data, monkeypatch, capsys
):
    fuse = make_teacher_images.ddfm.DDFM.fuse

    def broken(self, ir, vis, seeds):
        fused = fuse(self, ir, vis, seeds)
        return fused + (10.0 if ir.shape[2] == 48 else 0.0)

    monkeypatch.setattr(make_teacher_images.ddfm.DDFM, "fuse", broken)
    assert make_teacher_images.main(command(weights, data)) == 1
    said = capsys.readouterr()
    assert "2 diverged and left out" in said.out and "c: every sample diverged" in said.err
    assert len(list((data / "TEACHER_FUSED").glob("*_var.png"))) == 2


@pytest.mark.parametrize(
    "more, words",
    [
        (["--checkpoint", "x"], "one --checkpoint for each --teacher"),
        (["--select"], "at least two --teacher"),
        (["--samples", "0"], "of at least 1, found 0"),
        (["--samples", "2", "3"], "one --samples or one for each of 1 --teacher"),
        (["--steps", "-1"], "one --steps or one for each of 1 --teacher, of at least 0"),
        (["--eta", "2"], "between 0 and 1"),
        (["--devices", "gpu7"], "--devices auto, cpu"),
    ],
)
def test_wrong_options_are_named(weights, data, more, words, capsys):
    assert make_teacher_images.main(command(weights, data, *more)) == 1
    assert words in capsys.readouterr().err


def test_names_that_would_collide_are_refused(weights, data, capsys):
    for side in ("IR", "VIS"):
        (data / side / "b.png").rename(data / side / "a_1.png")
    assert make_teacher_images.main(command(weights, data)) == 1
    assert "found a and a_1" in capsys.readouterr().err


def test_many_folders_are_shared_out_and_a_broken_one_is_a_row(
    weights, data, dask_cluster, capsys
):
    whole, folders = data / "whole", [data / "first", data / "second"]
    for folder in folders:
        for side in ("IR", "VIS"):
            shutil.copytree(data / side, folder / side)
    assert make_teacher_images.main(command(weights, data, "--output", str(whole))) == 0
    broken = data / "broken"
    (broken / "IR").mkdir(parents=True)
    more = ["--scheduler", dask_cluster, "--report", str(data / "report")]
    arguments = command(weights, data, *more)
    place = arguments.index("--data_root") + 1
    arguments[place : place + 1] = [*map(str, folders), str(broken)]
    capsys.readouterr()
    assert make_teacher_images.main(arguments) == 1
    assert "2 done, 1 failed, 6 ensembles made" in capsys.readouterr().err
    with open(data / "report" / "runs.csv", newline="") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert [row["status"] for row in rows.values()] == ["done", "done", "failed"]
    assert rows["second"]["ensembles made"] == "3" and "broken" in rows["broken"]["error"]
    for folder in folders:
        assert set(images_in(folder / "TEACHER_FUSED")) == set(images_in(whole / "TEACHER_FUSED"))
    # Nothing is left to make.
    assert make_teacher_images.main(command(weights, folders[0])) == 0
    assert "0 ensembles made" in capsys.readouterr().out


def test_the_pairs_of_one_folder_are_shared_out(weights, data, capsys):
    assert make_teacher_images.main(command(weights, data, "--jobs", "2")) == 0
    assert "2 done, 3 ensembles made" in capsys.readouterr().err
    assert len(list((data / "TEACHER_FUSED").glob("*_var.png"))) == 3
    assert len(list((data / "TEACHER_FUSED").glob("ensembles.*.jsonl"))) == 2


def test_optimised_images_are_made_from_the_maximum(data, capsys):
    """Two steps of less than a grey level each: still near the maximum, without variance."""
    command = ["--teacher", "optimised", "--checkpoint", "maximum", "--steps", "2"]
    command += ["--data_root", str(data), "--devices", "cpu"]
    assert make_teacher_images.main(command) == 0
    printed = capsys.readouterr()
    assert "3 ensembles made (3 samples kept" in printed.out
    assert "the sources alone: give --detector FILE" in printed.err
    folder = data / "TEACHER_FUSED"
    image = cv2.cvtColor(cv2.imread(str(folder / "a.png")), cv2.COLOR_BGR2GRAY)
    listing = list_images(data).require_clean()
    ir, vis = read_pair(listing.pairs[0].ir, listing.pairs[0].vis)
    away = np.abs(image.astype(int) - np.maximum(ir, luminance(vis)))
    assert np.median(away) <= 2 and not cv2.imread(str(folder / "a_var.png"), -1).any()
    settings = json.loads((folder / "teacher.json").read_text())
    assert settings["checkpoint_sha256"] == "maximum" and settings["prior_sha256"] is None


def test_the_conditional_teacher_says_how_far_its_samples_differ(weights, data, capsys):
    assert make_teacher_images.main(command(weights, data, teachers=("conditional",))) == 0
    said = capsys.readouterr().out
    assert "conditional: the samples of a pair differ by" in said and "of 3 pairs" in said
    files = images_in(data / "TEACHER_FUSED")
    assert {"a_0.png", "a_1.png", "a.png", "a_var.png"} <= set(files)
    # Nothing is made again, and nothing is said of what was made before.
    assert make_teacher_images.main(command(weights, data, teachers=("conditional",))) == 0
    assert "differ" not in capsys.readouterr().out
    assert images_in(data / "TEACHER_FUSED") == files


def test_each_teacher_has_its_own_samples_and_steps(weights, data):
    """As alone: an ensemble that exists is taken into the selection."""
    more = ("--output", str(data / "alone"), "--samples", "3", "--steps", "1")
    assert make_teacher_images.main([*command(weights, data), *more]) == 0
    (data / "both").mkdir()
    made = data / "both" / "TEACHER_FUSED_ddfm"
    (data / "alone" / "TEACHER_FUSED").rename(made)
    before = images_in(made)
    two = command(weights, data, teachers=("conditional", "ddfm"))
    two += ["--select", "--output", str(data / "both")]
    two += ["--samples", "2", "3", "--steps", "2", "1"]
    assert make_teacher_images.main(two) == 0
    assert images_in(made) == before
    other = images_in(data / "both" / "TEACHER_FUSED_conditional")
    assert "a_1.png" in other and "a_2.png" not in other and "a_2.png" in before


def test_a_prior_of_the_optimised_teacher_is_another_setting(weights, data, capsys):
    command = ["--teacher", "optimised", "--checkpoint", "maximum", "--steps", "1", "--limit", "1"]
    command += ["--data_root", str(data), "--devices", "cpu"]
    assert make_teacher_images.main(command) == 0
    assert make_teacher_images.main([*command, "--prior", weights["ddfm"]]) == 1
    assert "found prior_sha256 None not" in capsys.readouterr().err
    other = ["--prior", weights["ddfm"], "--output", str(data / "held")]
    assert make_teacher_images.main([*command, *other]) == 0
    assert (data / "held" / "TEACHER_FUSED" / "a_var.png").is_file()
