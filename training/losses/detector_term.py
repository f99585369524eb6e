"""Loss of a detector trained on RGB images: the fused image shows it what either source shows.

For every anchor the target is the larger of the scores of the clean visible and the clean thermal
image, and the place of the winner. Annotated scenes correct it: an object that was found is to be
found more surely, and what is found beside the annotated objects counts less.

The detector sees four crops as a mosaic, or one crop alone at a random scale.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from training.losses.frozen_detector import CLASSES, FrozenDetector
from training.losses.source_terms import fine

DETECTOR_TERMS = ("det", "det_box", "det_object", "det_visible")
MOSAIC_SHARE = 0.5  # of the steps; the others show one crop
LEAST_SIDE = 0.69  # of one crop alone, as a share of the detector's input
HOT = 0.25  # score from which the place of an object counts
# Number in an annotation file (training/data/boxes.py) -> columns of CLASSES. The detectors do
# not tell a dog.
COLUMNS = {0: (0,), 1: (1,), 2: (2, 3, 4)}
FOUND = 0.1  # score from which an annotated object is raised, half of the way to SURE
SURE = 0.85
DAMPED = 0.6  # share of the score that is taken away beside the annotated objects


class Tile(NamedTuple):
    """Where a crop lies in the detector's input, pixels."""

    row: int
    left: int
    top: int
    side: int


Canvas = tuple[Tile, ...]


def draw_canvas(count: int, size: int, chance: torch.Generator) -> Canvas:
    """Return four crops (the last of fewer) of `count` as a mosaic, or one at a random scale."""
    alone, which, scale = torch.rand(3, generator=chance).tolist()
    if alone >= MOSAIC_SHARE:
        side = round(size * (LEAST_SIDE + (1.0 - LEAST_SIDE) * scale))
        return (Tile(int(which * count), 0, 0, side),)
    half = size // 2
    first = 4 * int(which * math.ceil(count / 4))
    return tuple(
        Tile(row, n % 2 * half, n // 2 * half, half)
        for n, row in enumerate(range(first, min(first + 4, count)))
    )


def paint(images: torch.Tensor, canvas: Canvas, size: int, bars: float) -> torch.Tensor:
    """Return crops N x 3 x H x H in their places of an image 1 x 3 x `size` x `size`."""
    image = images.new_full((1, 3, size, size), bars)
    for row, left, top, side in canvas:
        how = {"size": (side, side), "mode": "bilinear", "antialias": True}
        crop = F.interpolate(images[row : row + 1], **how)
        image[:, :, top : top + side, left : left + side] = crop
    return image


class DetectorTerm:
    """The terms of one batch.

    Args:
        ir: Clean thermal image, N x 1 x H x H grey levels.
        vis: Clean RGB.
        boxes: N x M x 5: class (-1: none), centre and size in shares of the crop.
        has_boxes: N, whether the scene is annotated.
        chance: Draws the canvas.
    """

    def __init__(
        self,
        detector: FrozenDetector,
        ir: torch.Tensor,
        vis: torch.Tensor,
        boxes: torch.Tensor,
        has_boxes: torch.Tensor,
        chance: torch.Generator,
    ) -> None:
        self.detector, self.ir, self.vis = detector, ir, vis
        self.boxes, self.has_boxes = boxes, has_boxes
        self.canvas = draw_canvas(len(ir), detector.size, chance)

    def terms(self, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``det`` and ``det_box`` of fused RGB, N x 3 x H x H grey levels."""
        wanted, places = self.target()
        canvas = self._paint(rgb)
        found = self.detector(canvas + (canvas.round() - canvas).detach())
        scores = found.scores.clamp(1e-5, 1.0 - 1e-5)
        entropy = -(wanted * scores.log() + (1.0 - wanted) * (1.0 - scores).log())
        # As in quality focal loss (arXiv 2006.04388): anchors that are right already count little.
        weight = (1.0 + 20.0 * wanted) * (found.scores.detach() - wanted).abs()
        hot = wanted.amax(1) > HOT
        away = F.smooth_l1_loss(found.places[hot], places[hot], reduction="sum")
        return {
            "det": 20.0 * (weight * entropy).sum(1).mean(),
            "det_box": away / (4 * hot.sum()).clamp_min(1),
        }

    @torch.no_grad()
    def target(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the wanted scores, A x `CLASSES`, and places, A x 4, of the canvas."""
        grey = self.ir.expand(-1, 3, -1, -1)
        vis, ir = (self.detector(self._paint(images)) for images in (self.vis, grey))
        scores = torch.maximum(vis.scores, ir.scores)
        of_vis = vis.scores.amax(1) >= ir.scores.amax(1)
        places = torch.where(of_vis[:, None], vis.places, ir.places)
        annotated, beside = self._annotated()
        raised = scores + 0.5 * (SURE - scores).clamp_min(0.0)
        scores = torch.where(annotated & (scores > FOUND), raised, scores)
        return torch.where(beside[:, None] & ~annotated, (1.0 - DAMPED) * scores, scores), places

    def _paint(self, images: torch.Tensor) -> torch.Tensor:
        return paint(images, self.canvas, self.detector.size, self.detector.bars)

    def _annotated(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return where anchors are in an annotated object, A x `CLASSES`, and beside all, A."""
        centres = self.detector.centres
        inside_one = torch.zeros(len(centres), len(CLASSES), dtype=torch.bool).to(centres.device)
        beside = torch.zeros_like(inside_one[:, 0])
        for row, left, top, side in self.canvas:
            if not bool(self.has_boxes[row]):
                continue
            place = (centres - centres.new_tensor([left, top])) / side
            inside = ((place > 0.0) & (place < 1.0)).all(1)
            beside |= inside
            for kind, *box in self.boxes[row].tolist():
                columns = COLUMNS.get(int(kind))
                if columns is None:
                    continue
                away = (place - place.new_tensor(box[:2])).abs() / place.new_tensor(box[2:])
                away = away.amax(1)  # 0.5 is the side of the box
                inside_one[:, list(columns)] |= (inside & (away < 0.3))[:, None]
                beside &= ~(inside & (away < 0.6))
        return inside_one, beside


def object_contrast(fused: torch.Tensor, ir: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
    """Return how far `training.data.object_masks` are from the sharpened thermal image, 0..1."""
    sharp = ir + 0.5 * fine(ir)
    # Few pixels of objects count little: four crops of 320 pixels would have 2000 of noise.
    enough = objects.sum() + 0.005 * objects.numel()
    return (objects * (fused - sharp).abs()).sum() / enough / 255.0


def visible_kept(rgb: torch.Tensor, vis: torch.Tensor, vehicles: torch.Tensor) -> torch.Tensor:
    """Return how far vehicles (the second of these masks) are from the visible RGB, 0..1."""
    enough = vehicles.sum() + 0.005 * vehicles.numel()
    return (vehicles * (rgb - vis).abs()).mean(1).sum() / enough / 255.0
