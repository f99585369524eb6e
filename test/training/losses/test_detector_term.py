"""What the detector is shown, what it is to find, and what masked objects are to look like."""

import pytest

torch = pytest.importorskip("torch")

from irvis_fusion_core.network.student import create_student_model
from training.loop.distillation import DistillationTask
from training.losses.detector_term import (
    DAMPED,
    DetectorTerm,
    Tile,
    draw_canvas,
    object_contrast,
    paint,
    visible_kept,
)
from training.losses.frozen_detector import CLASSES, Found

CELL = 8


class BrightDetector(torch.nn.Module):
    """Finds an object in each cell of 8 x 8 pixels, as sure as the cell is bright."""

    size, bars = 64, 0.0

    @property
    def centres(self):
        place = torch.arange(self.size // CELL) * CELL + CELL / 2.0
        rows, columns = torch.meshgrid(place, place, indexing="ij")
        return torch.stack([columns.flatten(), rows.flatten()], 1)

    def forward(self, image):
        means = torch.nn.functional.avg_pool2d(image.mean(1, keepdim=True), CELL).flatten()
        others = torch.zeros(len(means), len(CLASSES) - 1)
        scores = torch.cat([means[:, None] / 255.0, others], 1)
        return Found(means[:, None].expand(-1, 4), scores)


def crops(*levels, side=32):
    return torch.stack([torch.full((1, side, side), float(level)) for level in levels])


def term(ir, vis, boxes=None, seed=0):
    table = torch.full((len(ir), 32, 5), -1.0)
    has = torch.zeros(len(ir), dtype=torch.bool)
    for row, found in (boxes or {}).items():
        has[row] = True
        for n, box in enumerate(found):
            table[row, n] = torch.tensor(box)
    chance = torch.Generator().manual_seed(seed)
    return DetectorTerm(BrightDetector(), ir, vis.expand(-1, 3, -1, -1), table, has, chance)


def seed_of_mosaic(count=4):
    """Return a seed that draws the mosaic."""
    draws = (draw_canvas(count, 64, torch.Generator().manual_seed(n)) for n in range(99))
    return next(n for n, canvas in enumerate(draws) if len(canvas) == count)


def test_four_crops_are_a_mosaic_and_one_alone_has_a_random_scale():
    chance = torch.Generator().manual_seed(0)
    mosaics = {c for c in (draw_canvas(6, 64, chance) for _ in range(40)) if len(c) > 1}
    first, second = sorted(mosaics)
    assert first == (
        Tile(0, 0, 0, 32),
        Tile(1, 32, 0, 32),
        Tile(2, 0, 32, 32),
        Tile(3, 32, 32, 32),
    )
    assert [tile.row for tile in second] == [4, 5]
    images = crops(10, 20, 30, 40).expand(-1, 3, -1, -1)
    image = paint(images, first, 64, 114.0)
    corners = image[0, 1, ::63, ::63]
    assert corners.tolist() == [[10.0, 20.0], [30.0, 40.0]]
    drawn = [draw_canvas(4, 64, chance) for _ in range(200)]
    alone = [canvas[0] for canvas in drawn if len(canvas) == 1]
    assert 60 < len(alone) < 140 and {tile.row for tile in alone} == {0, 1, 2, 3}
    sides = [tile.side for tile in alone]
    assert 44 <= min(sides) < 48 and 60 < max(sides) <= 64
    shown = paint(images, (Tile(2, 0, 0, 50),), 64, 114.0)
    assert shown[0, 0, 49, 49] == 30.0 and (shown[0, :, 50:] == 114.0).all()


def test_the_target_is_the_better_source_for_each_anchor():
    ir, vis = crops(200, 10, 120, 0), crops(50, 100, 120, 0)
    scores, places = term(ir, vis, seed=seed_of_mosaic()).target()
    grid = (scores[:, 0] * 255.0).reshape(8, 8)
    assert grid[::7, ::7].flatten().tolist() == pytest.approx([200, 100, 120, 0])
    assert places[:, 0] == pytest.approx(scores[:, 0] * 255.0)
    assert not scores[:, 1:].any()


def test_annotated_objects_are_raised_and_what_is_beside_them_counts_less():
    ir, vis = crops(102, 102, 102, 102), crops(51, 51, 51, 51)  # scores 0.4 and 0.2
    boxes = {0: [(0, 0.5, 0.5, 0.5, 0.5)], 1: [], 2: [(3, 0.5, 0.5, 0.5, 0.5)]}
    scores, _ = term(ir, vis, boxes, seed_of_mosaic()).target()
    grid = scores[:, 0].reshape(8, 8)
    damped = 0.4 * (1.0 - DAMPED)
    assert grid[1:3, 1:3].flatten().tolist() == pytest.approx(4 * [0.4 + 0.5 * 0.45])
    assert grid[0, 0] == pytest.approx(damped)
    assert (grid[:4, 4:] - damped).abs().max() < 1e-6  # annotated, without objects
    assert (grid[4:, :4] - damped).abs().max() < 1e-6  # a dog, which no column tells
    assert (grid[4:, 4:] - 0.4).abs().max() < 1e-6  # not annotated
    # Cells at the rim of the object keep their score.
    wide = {0: [(0, 0.5, 0.5, 0.75, 0.75)]}
    scores, _ = term(ir, vis, wide, seed_of_mosaic()).target()
    assert scores[:, 0].reshape(8, 8)[0, 0] == pytest.approx(0.4)


def test_the_terms_are_least_where_the_fused_image_shows_the_better_source():
    ir, vis = crops(220, 20, 150, 20), crops(30, 200, 150, 20)
    found = term(ir, vis, seed=seed_of_mosaic())
    best = found.terms(torch.maximum(ir, vis).expand(-1, 3, -1, -1))
    assert float(best["det"]) == pytest.approx(0.0, abs=1e-4) and float(best["det_box"]) == 0.0
    for other in (ir, vis, (ir + vis) / 2):
        terms = found.terms(other.expand(-1, 3, -1, -1))
        assert float(terms["det"]) > 0.1 and float(terms["det_box"]) > 1.0


def test_objects_show_the_thermal_and_vehicles_the_visible_image():
    ir, vis = crops(0, 0), crops(0, 0).expand(-1, 3, -1, -1)
    mask = torch.zeros_like(ir)
    mask[0, :, 8:24, 8:24] = 1.0
    ir[0, :, 4:28, 4:28] = 255.0
    assert float(object_contrast(ir, ir, mask)) == 0.0
    assert float(object_contrast(0 * ir, ir, mask)) > 0.9
    assert float(visible_kept(vis, vis, mask)) == 0.0
    elsewhere = vis.clone()
    elsewhere[1] = 255.0
    assert float(visible_kept(elsewhere, vis, mask)) == 0.0
    assert float(visible_kept(ir.expand(-1, 3, -1, -1), vis, mask)) > 0.9
    # Few pixels count little.
    few = torch.zeros_like(mask)
    few[0, :, 8:10, 8:10] = 1.0
    assert float(object_contrast(0 * ir, ir, few)) < 0.4


def batch(count=4, side=32):
    chance = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 4, 4, 4, generator=chance) * 255.0
    images = torch.nn.functional.interpolate(coarse, side).round().byte()
    return {
        "ir": images[:, :1],
        "ir_aligned": images[:, :1],
        "vis": images[:, 1:],
        "vis_clean": images[:, 1:],
        "boxes": torch.full((count, 32, 5), -1.0),
        "has_boxes": torch.zeros(count, dtype=torch.bool),
        "has_teacher": torch.zeros(count, dtype=torch.bool),
        "objects": (images[:, :1] > 127).float(),
        "vehicles": torch.zeros(count, 1, side, side),
    }


def test_a_student_learns_to_show_objects():
    torch.manual_seed(0)
    weights = {"det": 1.0, "det_box": 0.01, "det_object": 1.0, "src_base": 0.1}
    task = DistillationTask(
        create_student_model("nano"), weights, detectors=[BrightDetector()], freeze_norm=True
    ).train()
    optimizer = torch.optim.AdamW(task.parameters(), 3e-3)
    seen = []
    for _ in range(40):
        found = task(batch())
        seen.append(float(found["loss"].detach()))
        optimizer.zero_grad()
        found["loss"].backward()
        optimizer.step()
    assert set(found["terms"]) == set(weights)
    assert min(seen[-5:]) < 0.7 * seen[0]
    assert not any("detector" in name for name in task.state_dict())


def test_detectors_take_turns_and_a_batch_draws_the_same_again():
    student = create_student_model("nano").eval()
    dark = BrightDetector()
    dark.bars = 255.0
    one = DistillationTask(student, {"det": 1.0}, detectors=[BrightDetector()]).eval()
    two = DistillationTask(student, {"det": 1.0}, detectors=[BrightDetector(), dark]).eval()
    given = batch(3)  # the fourth place shows bars
    first = [float(one(given, step=n)["loss"].detach()) for n in range(3)]
    assert len(set(first)) == 1
    turns = [float(two(given, step=n)["loss"].detach()) for n in range(4)]
    assert turns[:2] == turns[2:] and turns[0] == first[0]
