"""Validation figures, what counts as better, and the images to look at."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pair_folders import write_pair_folder

from irvis_fusion_core import metrics
from irvis_fusion_core.network.student import create_student_model
from training.data.dataset import FusionDataset
from training.loop.callbacks import GAP, panel
from training.loop.lightning_module import moving_average
from training.loop.validation import fuse, is_better, score_batch


@pytest.fixture
def batch(tmp_path):
    folder = write_pair_folder(tmp_path, 2, teacher=lambda ir, vis: np.maximum(ir, vis[:, :, 1]))
    dataset = FusionDataset([folder])
    return torch.utils.data.default_collate([dataset[0]])


def test_figures_are_those_of_the_metrics_on_the_published_image(batch):
    student = create_student_model("nano").eval()
    row = score_batch(student, batch, trivial=True)
    fused = fuse(student, batch)[0]
    assert fused.shape == (64, 64, 3) and fused.dtype == np.uint8
    ir = batch["ir"][0, 0].numpy()
    y = metrics.luminance(np.ascontiguousarray(batch["vis"][0].permute(1, 2, 0).numpy()))
    names = ("SCD", "VIF", "Qabf", "SSIM")
    for prefix, image in (
        ("", metrics.luminance(fused)),
        ("maximum/", np.maximum(ir, y)),
        ("mean/", np.round((ir.astype(float) + y) / 2 + 0.001).astype(np.uint8)),
    ):
        expected = metrics.score_pair(image, ir, y, names=names)
        assert {n: row[prefix + n] for n in names} == pytest.approx(expected), prefix
        quality = 2 * expected["SSIM"] + expected["VIF"] + 3 * expected["Qabf"]
        assert row[prefix + "quality"] == pytest.approx(quality)
    teacher = batch["teacher"][0, 0].numpy()
    error = np.mean((metrics.luminance(fused).astype(float) - teacher) ** 2)
    assert row["psnr_teacher"] == pytest.approx(10 * np.log10(255**2 / error), rel=1e-4)
    assert 0 < row["ssim_teacher"] < 1 and "lpips_teacher" not in row


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_figures_are_those_of_fp32_in_half_precision_training(batch, dtype):
    student = create_student_model("nano").eval()
    plain = score_batch(student, batch)
    with torch.autocast("cpu", dtype):
        assert score_batch(student, batch) == plain


def test_better_is_more_but_for_lpips():
    assert is_better("Qabf", 0.5, None) and not is_better("Qabf", float("nan"), None)
    assert is_better("Qabf", 0.5, 0.4) and not is_better("Qabf", 0.5, 0.5)
    assert is_better("lpips_teacher", 0.1, 0.2) and not is_better("lpips_teacher", 0.3, 0.2)


def test_panels_show_each_sample_in_a_row(batch):
    for key in batch:
        batch[key] = torch.cat([batch[key], batch[key]])
    fused = torch.full((2, 1, 64, 64), 128.0)
    image = panel(batch, fused, batch["teacher"])
    assert image.shape == (3, 2 * 64 + GAP, 4 * 64 + 3 * GAP) and image.dtype == torch.uint8
    assert torch.equal(image[:, :64, :64], batch["ir"][0].expand(3, -1, -1))
    assert torch.equal(image[:, :64, 64 + GAP : 128 + GAP], batch["vis"][0])
    assert (image[:, 64 : 64 + GAP] == 255).all()
    assert panel(batch, fused, rows=1).shape == (3, 64, 3 * 64 + 2 * GAP)


def test_the_average_is_the_recursion_and_no_part_of_training():
    torch.manual_seed(0)
    student = create_student_model("nano")
    average = moving_average(student, 0.9)
    assert not any(p.requires_grad for p in average.parameters())
    expected = copy.deepcopy(student).controls.weight.detach()
    for step in range(1, 200):
        student.controls.weight.data += 0.01 * torch.randn_like(student.controls.weight)
        average.update_parameters(student)
        decay = min(0.9, step / (step + 10.0))
        expected = decay * expected + (1 - decay) * student.controls.weight.detach()
    assert torch.allclose(average.module.controls.weight, expected, atol=1e-5)
    follower = moving_average(student, 0.0)
    student.controls.weight.data += 1.0
    follower.update_parameters(student)
    assert torch.equal(follower.module.controls.weight, student.controls.weight)
