"""Targets by optimisation: the pixels of the fused image, under the objective of the training.

`DistillationTask` sees `Pixels` in the place of a student, so the terms are those that students
are trained by. What a student gets right on average over scenes, this gets right for one scene, in
a thousand times the time.

With a prior it is plug-and-play: every few steps the luminance, under the noise of a small
timestep, passes through the denoiser (`UNet`), and the pixels are held to what it gives
(half-quadratic splitting; Zhu et al., DiffPIR, CVPRW 2023). The objective is the data term.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from irvis_fusion_core.detectors.detector_file import DetectorFile
from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import Student, chroma_scale, luminance, pad_to_multiple
from training.data.found_objects import FAINTEST, find_objects
from training.data.images import sky_mask
from training.data.object_masks import object_masks
from training.loop.distillation import DistillationTask, fuse_levels
from training.losses.filters import smooth
from training.losses.frozen_detector import FrozenDetector
from training.losses.source_terms import LEAST_VIF, wanted_saturation
from training.teachers import diffusion, images
from training.teachers.unet import UNet

DEFAULT_STEPS = 100
SIDE = 320  # of the square crops of the image that the objective sees, pixels
JITTER = 0.125  # of `SIDE`: they lie elsewhere in each step, so that no seam forms
RATE = 0.003  # the cosine's top, white is 1: three quarters of a grey level a step
SCORES = ("det", "det_box")
"""Terms of the detector's scores and places, which a student can have but pixels abuse: the
gradient draws noise that this one detector likes. `SMOOTH` leaves it the contrast of regions."""
SMOOTH = 17  # side of the window that smooths the gradient of the `SCORES`, pixels


class Pixels(nn.Module):
    """The luminance of one fused image, in the place of a student.

    The saturation follows it: `wanted_saturation`, where `src_colour` is 0.

    Args:
        fused: 1 x 1 x H x W, 0..1.
    """

    def __init__(self, fused: torch.Tensor) -> None:
        super().__init__()
        self.fused = nn.Parameter(fused.clone())
        self.crops: list[tuple[slice, slice]] = []

    def fuse_luminance(
        self, ir: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Return what `Student.fuse_luminance` returns, of `crops`; there are no features."""
        crops = [self.fused[:, :, rows, columns] for rows, columns in self.crops]
        fused = pad_to_multiple(torch.cat(crops))
        with torch.no_grad():
            full = chroma_scale(fused, y, torch.ones_like(y)).clamp_min(1e-3)
            chroma = (wanted_saturation(255.0 * fused, 255.0 * y) / full).clamp(0.0, 1.0)
        return fused - y, chroma, []


class Optimised:
    """The teacher.

    Args:
        weights: Of the terms (`DistillationTask`).
        start: Student whose image is the start; None starts from the pixel-wise maximum.
        prior: Denoiser of luminance; None optimises without one.
        hold: Weight of the prior: the squared distance from its image, over its noise's variance.
        most_noise: Its first timestep; the last one is a tenth of it.
        every: Steps between two passes through it.
    """

    name = "optimised"

    def __init__(
        self,
        weights: Mapping[str, float],
        detectors: Sequence[FrozenDetector] = (),
        start: Student | None = None,
        steps: int = DEFAULT_STEPS,
        prior: UNet | None = None,
        hold: float = 0.2,
        most_noise: int = 30,
        every: int = 5,
    ) -> None:
        self.weights, self.detectors, self.start, self.steps = weights, detectors, start, steps
        self.prior, self.hold, self.most_noise, self.every = prior, hold, most_noise, every
        self.finders = [DetectorFile(str(each.path), FAINTEST) for each in detectors]
        self.alphas_bar = diffusion.linear_schedule().alphas_bar
        self.objective: list[tuple[float, float]] = []
        """Of each image: the mean objective of the first and of the last tenth of the steps."""
        if prior is not None and prior.config.t_below <= most_noise:
            raise ConfigurationError(
                f"expected a prior that was trained at timestep {most_noise}, found one below "
                f"{prior.config.t_below}; train one with --t_below 150"
            )

    @torch.enable_grad()
    def fuse(self, ir: torch.Tensor, vis: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Return the luminance of each pair, N x 1 x H x W, 0..1; see `DDFM.fuse`."""
        images.check_pair(ir, vis)
        height, width = ir.shape[2:]
        least = 48 if min(height, width) < LEAST_VIF else 1
        pairs = zip(images.pad(ir, least).split(1), images.pad(vis, least).split(1), seeds)
        return torch.cat([self._optimise(*pair) for pair in pairs])[:, :, :height, :width]

    @staticmethod
    def colour(fused: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
        """Return RGB of luminances, with the saturation that the objective saw."""
        y = luminance(vis)
        tint = wanted_saturation(255.0 * fused, 255.0 * y) * (vis - y)
        return (fused + tint).clamp(0.0, 1.0)

    def report(self) -> str:
        """Return what the objective was made of, and how far it fell on average."""
        seen = "the sources alone: give --detector FILE for what it finds"
        if self.detectors:
            seen = "the sources and of what the detector finds"
        line = f"objective of {seen}"
        if self.objective:
            first, last = np.mean(self.objective, axis=0)
            line += f"; {first:.3f} at the start, {last:.3f} at the end on average"
        return line

    def _optimise(self, ir: torch.Tensor, vis: torch.Tensor, seed: int) -> torch.Tensor:
        chance = torch.Generator().manual_seed(seed)
        height, width = ir.shape[2:]
        levels = {"ir": (255.0 * ir).round(), "vis": (255.0 * vis).round()}
        grey, rgb = (levels[k][0].permute(1, 2, 0).byte().cpu().numpy() for k in ("ir", "vis"))
        sky = sky_mask(rgb)
        levels["sky"] = (
            torch.zeros_like(ir) if sky is None else torch.from_numpy(sky).to(ir) / 255.0
        )
        levels["sky"] = levels["sky"].expand_as(ir)
        if self.finders:
            clean = grey[:, :, 0], rgb
            objects = np.concatenate([find_objects(finder, *clean) for finder in self.finders])
            masks = torch.from_numpy(object_masks(*clean, objects)).to(ir)
            levels["objects"], levels["vehicles"] = masks[:, None, None]
        pixels = Pixels(self._begin(levels["ir"], luminance(levels["vis"]).round()))
        task = DistillationTask(pixels, self.weights, detectors=self.detectors).to(ir.device)
        optimiser = torch.optim.Adam([pixels.fused], RATE, (0.9, 0.99))
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps, RATE / 20.0)
        found, clean, variance = [], pixels.fused.detach(), 1.0
        for step in range(self.steps):
            if self.prior is not None and step % self.every == 0:
                clean, variance = self._denoised(self.prior, pixels.fused.detach(), step, chance)
            pixels.crops = draw_crops(height, width, chance)
            batch = {**_batch(levels, pixels.crops), "draw": torch.tensor(step)}
            terms = task(batch, step=step)["terms"]
            weighted = {name: self.weights[name] * term for name, term in terms.items()}
            found.append(sum(term.item() for term in weighted.values()))
            scores = [weighted.pop(name) for name in SCORES if name in weighted]
            rest = torch.stack(list(weighted.values())).sum()
            if self.prior is not None:
                rest = rest + self.hold * (pixels.fused - clean).square().mean() / variance
            (gradient,) = torch.autograd.grad(rest, pixels.fused, retain_graph=bool(scores))
            if scores:
                by_scores = torch.autograd.grad(torch.stack(scores).sum(), pixels.fused)[0]
                gradient = gradient + smooth(by_scores, SMOOTH)
            pixels.fused.grad = gradient
            optimiser.step()
            cosine.step()
        part = math.ceil(self.steps / 10)
        self.objective.append((float(np.mean(found[:part])), float(np.mean(found[-part:]))))
        return pixels.fused.detach().clamp(0.0, 1.0)

    @torch.no_grad()
    def _begin(self, ir: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.start is None:
            return torch.maximum(ir, y) / 255.0
        return (y / 255.0 + fuse_levels(self.start, ir, y)[0]).clamp(0.0, 1.0)

    @torch.no_grad()
    def _denoised(
        self, prior: UNet, fused: torch.Tensor, step: int, chance: torch.Generator
    ) -> tuple[torch.Tensor, float]:
        """Return the prior's image of this step, and the variance of the noise (white is 1)."""
        t = round(self.most_noise * 0.1 ** (step / self.steps))
        channels = prior.config.in_channels
        shape = (1, channels, *fused.shape[2:])
        noise = torch.randn(shape, generator=chance).to(fused)
        level = torch.tensor(float(self.alphas_bar[t])).to(fused)
        x_t = diffusion.add_noise(2.0 * fused - 1.0, noise, level)
        clean = denoise(prior, x_t, t).mean(1, keepdim=True) / 2.0 + 0.5
        return clean, float((1.0 - level) / level / 4.0 / channels)


@torch.no_grad()
def denoise(prior: UNet, x_t: torch.Tensor, t: int) -> torch.Tensor:
    """Return the image without the noise of timestep t, clipped; both N x C x H x W, -1..1."""
    timesteps = torch.full((len(x_t),), t, device=x_t.device)
    guess = prior(images.pad(x_t, prior.multiple), timesteps)
    guess = guess[:, : x_t.shape[1], : x_t.shape[2], : x_t.shape[3]].float()
    level = torch.tensor(float(diffusion.linear_schedule().alphas_bar[t])).to(x_t)
    return diffusion.image_from_noise(x_t, guess, level).clamp(-1.0, 1.0)


def draw_crops(height: int, width: int, chance: torch.Generator) -> list[tuple[slice, slice]]:
    """Return square windows that cover an image, shifted a little by chance."""
    side = min(SIDE, height, width)
    starts = []
    for length in (height, width):
        count, reach = math.ceil(length / side), length - side
        places = torch.linspace(0.0, reach, count)
        moved = places + JITTER * side * (2.0 * torch.rand(count, generator=chance) - 1.0)
        starts.append(moved.round().long().clamp(0, reach).tolist())
    return [
        (slice(top, top + side), slice(left, left + side))
        for top in starts[0]
        for left in starts[1]
    ]


def _batch(
    levels: Mapping[str, torch.Tensor], crops: Sequence[tuple[slice, slice]]
) -> dict[str, torch.Tensor]:
    """Return crops of a clean scene as a batch of `training.data.dataset`."""
    batch = {
        name: torch.cat([image[:, :, rows, columns] for rows, columns in crops])
        for name, image in levels.items()
    }
    nothing = torch.zeros(len(crops), dtype=torch.bool)
    return {
        **batch,
        "ir_aligned": batch["ir"],
        "vis_clean": batch["vis"],
        "has_boxes": nothing,
        "boxes": torch.zeros(len(crops), 0, 5),
        "has_teacher": nothing,
    }
