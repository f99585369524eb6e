"""Priors are trained by the command: they learn, resume exactly, and load as teachers."""

import argparse
import json
import shutil

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning", reason="training needs Lightning: pip install '.[train]'")

from training import train_teacher
from training.data.augmentation import Augmentation
from training.data.sampling import Draw
from training.errors import DataError, LossError
from training.loop import averaged_run
from training.teachers import photographs, prior_files, prior_task
from training.teachers.conditional import TaughtCrops

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
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    draw(folder)
    return folder


def draw(folder):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(small, (80, 60)))


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Pairs whose teacher took the brighter source; one has no teacher's image."""
    folder = tmp_path_factory.mktemp("taught")
    draw(folder / "VIS")
    (folder / "IR").mkdir()
    (folder / "TEACHER_FUSED").mkdir()
    for number in range(4):
        vis = cv2.imread(str(folder / "VIS" / f"{number}.png"))
        ir = cv2.cvtColor(vis, cv2.COLOR_BGR2GRAY)[::-1].copy()
        cv2.imwrite(str(folder / "IR" / f"{number}.png"), ir)
        if number:
            fused = np.maximum(vis, ir[:, :, None])
            cv2.imwrite(str(folder / "TEACHER_FUSED" / f"{number}.png"), fused)
    return folder


def train(folder, output, teacher="ddfm", *more):
    return train_teacher.main(
        [
            *("--teacher", teacher, "--config", json.dumps(TINY[teacher])),
            *("--train_root", str(folder), "--input_size", "32"),
            *(("--val_root", str(folder)) if teacher != "conditional" else ()),
            *(
                "--batch_size",
                "4",
                "--crops_per_epoch",
                "8",
                "--num_workers",
                "0",
                "--epochs",
                "2",
            ),
            *("--accelerator", "cpu", "--devices", "1", "--threads", "1"),
            *("--checkpoint_dir", str(output), "--log_dir", str(output / "log"), *more),
        ]
    )


@pytest.mark.parametrize("teacher", sorted(TINY))
def test_a_run_leaves_what_a_teacher_loads(folder, taught, tmp_path, teacher, capsys):
    of_pairs = teacher == "conditional"
    assert (
        train(
            taught if of_pairs else folder,
            tmp_path,
            teacher,
            "--image_terms_from",
            "1",
            "--use_amp",
        )
        == 0
    )
    network = prior_files.load_network(teacher, tmp_path / f"{teacher}.safetensors")
    fresh = prior_files.create_network(teacher, "small", TINY[teacher])
    assert network.config == fresh.config
    assert all(torch.isfinite(p).all() for p in network.parameters())
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["teacher"] == teacher and config["config"] == json.loads(
        json.dumps(TINY[teacher])
    )
    assert (tmp_path / "last.ckpt").is_file() and list((tmp_path / "log").rglob("events*"))
    what = "3 pairs with a teacher's image" if of_pairs else "4 photographs"
    assert f"{what}, 4 steps of 4 crops" in capsys.readouterr().out


@pytest.mark.parametrize("teacher", ["conditional", "ddfm"])
def test_going_on_is_as_if_never_stopped(folder, taught, tmp_path, teacher):
    """Two epochs at once, and one, stopped, then the second: the same weights to the last bit."""
    folder = taught if teacher == "conditional" else folder
    assert train(folder, tmp_path / "whole", teacher) == 0
    # The schedule is that of two epochs: stopped by a step limit it would be another.
    stop = averaged_run.SaveAverage.on_train_epoch_end

    def interrupt(self, trainer, task):
        stop(self, trainer, task)
        if trainer.current_epoch == 0:
            trainer.should_stop = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(averaged_run.SaveAverage, "on_train_epoch_end", interrupt)
        assert train(folder, tmp_path / "parts", teacher) == 0
    more = ("--resume", str(tmp_path / "parts/last.ckpt"))
    assert train(folder, tmp_path / "parts", teacher, *more) == 0
    whole, parts = (
        prior_files.load_network(teacher, tmp_path / run / f"{teacher}.safetensors").state_dict()
        for run in ("whole", "parts")
    )
    different = [name for name in whole if not torch.equal(whole[name], parts[name])]
    assert not different


def test_a_prior_of_little_noise_starts_from_another_one(folder, tmp_path, capsys):
    assert train(folder, tmp_path / "all") == 0
    start = str(tmp_path / "all" / "ddfm.safetensors")
    more = ("--init", start, "--t_below", "150", "--lr", "1e-9", "--ema", "0")
    assert train(folder, tmp_path / "little", "ddfm", *more) == 0
    first, then = (
        prior_files.load_network("ddfm", tmp_path / run / "ddfm.safetensors")
        for run in ("all", "little")
    )
    assert (first.config.t_below, then.config.t_below) == (1000, 150)
    values = zip(first.state_dict().values(), then.state_dict().values())
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in values)
    figures = json.loads((tmp_path / "little" / "training.jsonl").read_text().splitlines()[-1])
    assert {f"val/noise_t{t}" for t in (7, 30, 75, 120)} < set(figures)
    assert train(folder, tmp_path / "other", "ddfm", "--init", start, "--config", "{}") == 1
    assert "expected weights of this network in --init" in capsys.readouterr().err


def test_held_out_scenes_are_left_out(tmp_path):
    """Of RoadScene one run of frame numbers, of MSRS what is annotated."""
    for name in ("FLIR_00100", "FLIR_01300", "00010D", "00020D"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((40, 40), np.uint8))
    (tmp_path / "boxes").mkdir()
    (tmp_path / "boxes" / "00020D.txt").write_text("")
    options = argparse.Namespace(
        train_root=[str(tmp_path)],
        val_root=[],
        boxes=[str(tmp_path / "boxes")],
        exclude_validation=True,
        input_size=32,
        teacher="ddfm",
        seed=0,
        batch_size=2,
        num_workers=0,
        crops_per_epoch=4,
    )
    data = train_teacher.Photographs(options, 1)
    assert [path.stem for path in data.train.paths] == ["00010D", "FLIR_00100"]
    for name in ("FLIR_00100", "00010D"):
        (tmp_path / f"{name}.png").unlink()
    with pytest.raises(DataError, match="all are held out; leave out --exclude_validation"):
        train_teacher.Photographs(options, 1)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_checkpoint_that_would_run_code_is_refused(folder, tmp_path, capsys):
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {}, "bomb": Bomb(str(tmp_path / "exploded"))}, foreign)
    assert train(folder, tmp_path / "run", "ddfm", "--resume", str(foreign)) == 1
    assert "expected a checkpoint of training.train_teacher" in capsys.readouterr().err
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("teacher", sorted(TINY))
def test_it_learns(folder, taught, teacher):
    """Twenty steps on one batch and one noise: the error falls below half."""
    torch.manual_seed(0)
    network = prior_files.create_network(teacher, "small", TINY[teacher])
    task = prior_task.PriorTask(network, {"noise": 1.0}, 1e-3, 0.0, 40, image_terms_from=1)
    crops = photographs.PhotographCrops(
        photographs.list_photographs([folder]), 1, 32, views=teacher == "mask_difuser"
    )
    if teacher == "conditional":
        crops = TaughtCrops([taught], Augmentation(32), 0, (), False)
    items = [crops[i % len(crops)] for i in range(4)]
    batch = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    optimizer = torch.optim.Adam(network.parameters(), 4e-3)
    errors = []
    for _ in range(20):
        error = task.training_step(batch, 0)  # without a trainer it is always step 0
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.5 * errors[0]


def test_terms_on_the_image_are_zero_where_equal_and_follow_their_formulas():
    torch.manual_seed(0)
    a, b = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    assert all(
        float(term) == pytest.approx(0.0, abs=1e-5)
        for term in prior_task.image_terms(a, a).values()
    )
    terms = prior_task.image_terms(a, b)
    assert set(terms) == {"image", "ssim", "colour"}
    assert float(terms["image"]) == pytest.approx(float(((a - b) ** 2).mean()))
    cosine = [
        np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y)
        for x, y in zip(
            (a + 1.001).permute(0, 2, 3, 1).reshape(-1, 3).numpy(),
            (b + 1.001).permute(0, 2, 3, 1).reshape(-1, 3).numpy(),
        )
    ]
    assert float(terms["colour"]) == pytest.approx(1 - np.mean(cosine), rel=1e-4)
    assert "colour" not in prior_task.image_terms(a[:, :1], b[:, :1])


def test_a_loss_that_is_no_number_stops_the_run(folder):
    network = prior_files.create_network("ddfm", "small", TINY["ddfm"])
    task = prior_task.PriorTask(network, {"noise": 1.0}, 1e-3, 0.0, 10)
    with torch.no_grad():
        network.out[2].bias.fill_(float("nan"))
    with pytest.raises(LossError, match="terms .'noise'.*lower --lr"):
        task.training_step({"image": torch.zeros(1, 1, 16, 16)}, 0)


# --- photographs -----------------------------------------------------------------------------


def test_crops_have_their_size_and_range_and_repeat_by_number(folder):
    paths = photographs.list_photographs([folder])
    for channels in (1, 3):
        crops = photographs.PhotographCrops(paths, channels, 48, views=True, seed=3)
        first, again, other = (crops[Draw(1, n)] for n in (7, 7, 8))
        assert set(first) == {"image", "view_a", "view_b"}
        for name, tensor in first.items():
            assert tensor.shape == (channels, 48, 48) and tensor.dtype == torch.float32
            assert tensor.min() >= -1.0 and tensor.max() <= 1.0
            assert torch.equal(tensor, again[name])
        assert not torch.equal(first["image"], other["image"])


def test_small_images_are_enlarged_and_memory_is_bounded(folder):
    paths = photographs.list_photographs([folder])
    crops = photographs.PhotographCrops(paths, 1, 96, views=False, limit_gb=1.5 * 4800 / 1024**3)
    assert crops[0]["image"].shape == (1, 96, 96)
    crops[1]
    assert crops.store.used == 4800  # the second image finds no room


def test_of_a_folder_of_pairs_the_visible_images_are_taken(tmp_path, folder):
    for side in ("IR", "VIS"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "a.png"), np.zeros((40, 40), np.uint8))
    assert photographs.list_photographs([tmp_path]) == [tmp_path / "VIS" / "a.png"]
    assert len(photographs.list_photographs([tmp_path, folder])) == 5
    with pytest.raises(DataError, match="found none"):
        photographs.list_photographs([tmp_path / "nothing"])


def test_crops_that_do_not_fit_the_network_are_refused(folder, tmp_path, capsys):
    assert train(folder, tmp_path, "mask_difuser", "--input_size", "40") == 1
    assert "multiple of 32 for this network, found 40; try 32" in capsys.readouterr().err


# --- the conditional teacher -----------------------------------------------------------------


def test_pairs_of_other_folders_validate_the_conditional_teacher(taught, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(taught, other)
    more = ("--epochs", "1", "--val_root")
    assert train(taught, tmp_path / "run", "conditional", *more, str(other)) == 0
    figures = json.loads((tmp_path / "run" / "training.jsonl").read_text().splitlines()[-1])
    assert figures["val/noise"] > 0.0 and (tmp_path / "run" / "best.ckpt").is_file()
    assert train(taught, tmp_path / "same", "conditional", *more, str(taught)) == 1
    assert "expected other images for validation, found 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more, words",
    [
        (("--t_below", "150"), "all timesteps for the conditional teacher"),
        (("--size", "published"), "expected size"),
        (("--config", '{"in_channels": 3}'), "expected luminance"),
    ],
)
def test_what_the_conditional_teacher_cannot_have_is_named(taught, tmp_path, more, words, capsys):
    assert train(taught, tmp_path, "conditional", *more) == 1
    assert words in capsys.readouterr().err


def test_without_targets_the_conditional_teacher_says_how_to_make_them(taught, tmp_path, capsys):
    for side in ("IR", "VIS"):
        shutil.copytree(taught / side, tmp_path / "pairs" / side)
    assert train(tmp_path / "pairs", tmp_path / "run", "conditional") == 1
    assert "expected TEACHER_FUSED/ in" in capsys.readouterr().err
