"""Flicker in training: the made next frame, and the share of change that no source shows."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from irvis_fusion_core import metrics
from irvis_fusion_core.network.student import create_student_model
from training.loop.distillation import DistillationTask
from training.losses.flicker_term import LEAST_CHANGE, REACH_PX, a_moment_later, unseen_change


def scenes(seed: int = 0, count: int = 3) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 1, 9, 10, generator=chance) * 200 + 20
    return torch.nn.functional.interpolate(coarse, scale_factor=8.0, mode="bilinear").round()


def test_the_next_frame_is_whole_grey_levels_and_the_same_for_the_same_batch():
    ir, y = scenes(0), scenes(1)
    first, second = a_moment_later(ir, y), a_moment_later(ir, y)
    for now, again, before in zip(first, second, (ir, y)):
        assert torch.equal(now, again) and now.shape == before.shape
        assert torch.equal(now, now.round()) and now.min() >= 0 and now.max() <= 255
        assert not torch.equal(now, before)
    assert not torch.equal(a_moment_later(ir + 1, y)[1], first[1])


def test_both_cameras_move_together(monkeypatch):
    """Without drift and noise the next frame is a window of the image: one shift for both."""
    for name in ("GAIN", "OFFSET", "NOISE"):
        monkeypatch.setattr(f"training.losses.flicker_term.{name}", 0.0)
    ir, y = scenes(2, 6), scenes(3, 6)
    later = a_moment_later(ir, y)
    seen = set()
    inside = slice(REACH_PX, -REACH_PX)
    for row in range(len(ir)):
        fits = [
            (down, right)
            for down in range(-REACH_PX, REACH_PX + 1)
            for right in range(-REACH_PX, REACH_PX + 1)
            if all(
                torch.equal(
                    torch.roll(old[row], (down, right), (1, 2))[:, inside, inside],
                    new[row][:, inside, inside],
                )
                for old, new in zip((ir, y), later)
            )
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert len(seen) > 1


def test_unseen_change_is_the_measure_of_videos():
    """Against `metrics.flicker`, and 0 for what follows its sources."""
    images = [scenes(k, 1) for k in range(6)]
    fused, ir, y = ((images[k], images[k + 1]) for k in (0, 2, 4))
    planes = [[p.numpy()[0, 0].astype(np.uint8) for p in pair] for pair in (fused, ir, y)]
    blocks = [
        np.abs(np.diff([p.astype(float).reshape(9, 8, 10, 8).mean((1, 3)) for p in pair], axis=0))
        for pair in planes[1:]
    ]
    expected = metrics.flicker(*planes) / np.maximum(*blocks).mean()
    assert float(unseen_change(fused, ir, y)) == pytest.approx(expected, rel=1e-4)
    for follows in (ir, y, tuple((a + b) / 2 for a, b in zip(ir, y))):
        assert float(unseen_change(follows, ir, y)) == 0.0
    still = (ir[0], ir[0])
    pumping = (ir[0], ir[0] + 1.0)
    assert float(unseen_change(pumping, still, still)) == pytest.approx(1.0 / LEAST_CHANGE)


def test_a_student_is_trained_for_it_and_its_image_stays_the_same():
    torch.manual_seed(0)
    student = create_student_model("nano").eval()
    batch = {
        "ir": scenes(0).byte(),
        "ir_aligned": scenes(0).byte(),
        "vis": scenes(1).byte().repeat(1, 3, 1, 1),
        "vis_clean": scenes(1).byte().repeat(1, 3, 1, 1),
        "has_teacher": torch.zeros(3, dtype=torch.bool),
    }
    alone = DistillationTask(student, {"src_ssim": 1.0})(batch)
    both = DistillationTask(student, {"src_ssim": 1.0, "src_flicker": 1.0}, later_share=0.5)(batch)
    assert torch.allclose(both["output"], alone["output"])
    terms = [float(found["terms"]["src_ssim"].detach()) for found in (both, alone)]
    assert terms[0] == pytest.approx(terms[1])
    # A student that doubts where nothing moved: its gates depend on noise.
    torch.nn.init.normal_(student.controls.weight, std=0.5)
    found = DistillationTask(student, {"src_flicker": 1.0})(batch)
    assert float(found["terms"]["src_flicker"].detach()) > 0.0
    found["loss"].backward()
    assert student.controls.weight.grad.abs().sum() > 0
