"""The training task: a student, optionally a teacher, and the losses between them.

    task = DistillationTask(student, {"src_ssim": 5.0, "src_intensity": 5.0})
    found = task(batch)                    # a batch of `training.data.dataset`
    found["loss"].backward()
    found["terms"]                         # {"src_ssim": ..., "src_intensity": ...}, unweighted

It knows nothing of optimisers, devices or logs; `training.loop.lightning_module` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import torch
from torch import nn

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import Student, chroma_scale, luminance, pad_to_multiple
from training.losses import source_terms as losses
from training.losses import teacher_terms as teacher_losses
from training.losses.emphasis import factors_of
from training.losses.features import FeatureAdapters
from training.losses.flicker_term import a_moment_later, unseen_change
from training.losses.perceptual import FEATURE_CHANNELS, Vgg16, perceptual_distance

TEACHER_TERMS = ("pix", "perc", "ssim", "grad", "feat")
SOURCE_TERMS = tuple("src_" + name for name in (*losses.SOURCE_TERMS, "colour", "flicker"))
TERMS = TEACHER_TERMS + SOURCE_TERMS

# Terms that hold the brightness join first, then structure (1), then deep features.
_STAGES = {"pix": 0, "src_intensity": 0, "src_max": 0, "src_colour": 0, "perc": 2, "feat": 2}


class TaskLoss(TypedDict):
    """The loss of a batch."""

    loss: torch.Tensor  # scalar
    output: torch.Tensor  # fused luminance Nx1xHxW in grey levels
    teacher: torch.Tensor | None  # the same of the teacher, for the rows that have one
    terms: dict[str, torch.Tensor]  # name -> scalar, before its weight


class DistillationTask(nn.Module):
    """Losses of a student by name.

    Args:
        weights: Weight of each term out of `TERMS`; terms of weight 0 are not computed.
        teacher: A trained larger student. Its features are distilled by `feat`; its image
            replaces the teacher's file where there is none.
        vgg: For `perc`, and for `feat` where there is no `teacher` network.
        warmup_epochs: Epochs of the terms that hold brightness alone (`active_terms`).
        rounding: Round the image as on the topic, and pass the gradient through. In dark scenes
            half a grey level is as large as the edges to keep.
        leak: Share of the gradient that is kept where the image is clipped.
        variance_noise: Grey levels; `pix` and `feat` trust a teacher whose samples vary by this
            half (`teacher_losses.trust`). 0 trusts it everywhere.
        later_share: Share of a batch that `src_flicker` renders a moment later; each costs as
            much as another image.
        lead_share: See `losses.source_losses`.
        emphasis: The factors of each training folder (`losses.emphasis`); a batch then needs
            ``root``.

    Raises:
        ConfigurationError: an unknown term, a negative weight, or a term whose network is missing.
    """

    def __init__(
        self,
        student: Student,
        weights: Mapping[str, float],
        teacher: Student | None = None,
        vgg: Vgg16 | None = None,
        warmup_epochs: int = 0,
        rounding: bool = True,
        leak: float = 0.01,
        variance_noise: float = 4.0,
        later_share: float = 1.0 / 3.0,
        lead_share: float = 1.0,
        emphasis: Sequence[Mapping[str, float]] = (),
    ) -> None:
        super().__init__()
        _check_weights(weights)
        if not 0.0 <= lead_share <= 1.0:
            raise ConfigurationError(f"expected lead_share within 0..1, found {lead_share}")
        self.weights = {name: float(w) for name, w in weights.items() if w > 0.0}
        self.student = student
        self.warmup_epochs, self.rounding, self.leak = warmup_epochs, rounding, leak
        self.variance_noise, self.later_share = variance_noise, later_share
        self.lead_share, self.emphasis = lead_share, emphasis
        # In a tuple, so that checkpoint and optimiser leave the frozen networks out.
        self._frozen = (teacher, vgg)
        for network in self._frozen:
            if network is not None:
                network.requires_grad_(False).eval()
        self.adapters: FeatureAdapters | None = None
        if self.weights.get("perc") and vgg is None:
            raise ConfigurationError("the perceptual term needs VGG-16; see open_vgg16")
        if self.weights.get("feat"):
            if teacher is None and vgg is None:
                raise ConfigurationError(
                    "feature distillation needs a teacher network or VGG-16; give "
                    "--teacher_checkpoint or --vgg_weights, or --lambda_feat 0"
                )
            wanted = FEATURE_CHANNELS if teacher is None else teacher.size.channels
            self.adapters = FeatureAdapters(student.size.channels, wanted)

    @property
    def teacher(self) -> Student | None:
        """The larger student, or None."""
        return self._frozen[0]

    def _apply(
        self, function: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> DistillationTask:
        """Move the frozen networks to other devices and types too."""
        for network in self._frozen:
            if network is not None:
                network._apply(function)
        return super()._apply(function, recurse)

    def forward(self, batch: Mapping[str, torch.Tensor], epoch: int = 0) -> TaskLoss:
        """Return the loss of a batch of `training.data.dataset`; images of any size.

        Terms of the teacher are missing in a batch without one.
        """
        names = active_terms(self.weights, epoch, self.warmup_epochs)
        # In whole grey levels: thermal as seen, thermal in place, visible luminance.
        ir, aligned = batch["ir"].float(), batch["ir_aligned"].float()
        y = luminance(batch["vis"].float()).round()
        seen_ir, seen_y, count = ir, y, len(y)
        if "src_flicker" in names:
            # In the same pass: normalised by the same statistics.
            later = a_moment_later(*(p[: math.ceil(count * self.later_share)] for p in (ir, y)))
            seen_ir, seen_y = torch.cat([ir, later[0]]), torch.cat([y, later[1]])
        change, chroma, features = _fuse(self.student, seen_ir, seen_y)
        features = [f[:count] for f in features]
        rows = batch["has_teacher"].bool()
        if self.teacher is not None:
            rows = torch.ones_like(rows)
        terms: dict[str, torch.Tensor] = {}
        with torch.autocast(y.device.type, enabled=False):
            frames = self._pixels(seen_y + change * 255.0)
            fused = frames[:count]
            source = [n for n in losses.SOURCE_TERMS if "src_" + n in names]
            factors = factors_of(self.emphasis, batch["root"]) if any(self.emphasis) else None
            found = losses.source_losses(fused, aligned, y, source, self.lead_share, factors)
            terms.update({"src_" + name: term for name, term in found.items()})
            if "src_flicker" in names:
                pairs = ((p[: len(p) - count], p[count:]) for p in (frames, seen_ir, seen_y))
                terms["src_flicker"] = unseen_change(*pairs)
            if "src_colour" in names and batch["vis"].shape[1] == 3:
                vis = batch["vis"].float()
                scale = chroma_scale(fused / 255.0, y / 255.0, chroma[:count])
                terms["src_colour"] = losses.colour(scale * (vis - y), fused, vis)
        image = None
        # Usually all rows have a teacher, or none: a slice makes no copies.
        if any(name in TEACHER_TERMS for name in names) and bool(rows.any()):
            chosen = slice(None) if bool(rows.all()) else rows
            image, deep = self._answer(batch, aligned, y, chosen)
            kept = [f[chosen] for f in features]
            variance = batch["variance"][chosen].float()
            terms.update(self._teacher_terms(names, fused[chosen], image, variance, kept, deep))
        loss = fused.new_zeros(()) + sum(self.weights[name] * term for name, term in terms.items())
        if self.adapters is not None and "feat" not in terms:
            # Every process must have a gradient for every parameter.
            loss = loss + 0.0 * sum(p.sum() for p in self.adapters.parameters())
        return {"loss": loss, "output": fused.detach(), "teacher": image, "terms": terms}

    def _pixels(self, raw: torch.Tensor) -> torch.Tensor:
        """Return grey levels as they would be published, differentiable."""
        clipped = raw.clamp(0.0, 255.0)
        pixels = clipped + self.leak * (raw - clipped)
        return pixels + (pixels.round() - pixels).detach() if self.rounding else pixels

    @torch.no_grad()
    def _answer(
        self,
        batch: Mapping[str, torch.Tensor],
        aligned: torch.Tensor,
        y: torch.Tensor,
        rows: slice | torch.Tensor,
    ) -> tuple[torch.Tensor, list[torch.Tensor] | None]:
        """Return the teacher's luminance of the rows, and its features where it is a network."""
        image = batch["teacher"][rows].float()
        if self.teacher is None:
            return image, None
        change, _, features = _fuse(self.teacher, aligned[rows], y[rows])
        made = (y[rows] + change * 255.0).round()
        on_disk = batch["has_teacher"][rows].view(-1, 1, 1, 1).bool()
        return torch.where(on_disk, image, made.clamp(0.0, 255.0)), features

    def _teacher_terms(
        self,
        names: Sequence[str],
        fused: torch.Tensor,
        teacher: torch.Tensor,
        variance: torch.Tensor,
        features: list[torch.Tensor],
        deep: list[torch.Tensor] | None,
    ) -> dict[str, torch.Tensor]:
        terms: dict[str, torch.Tensor] = {}
        with torch.autocast(fused.device.type, enabled=False):
            noise = self.variance_noise
            weight = teacher_losses.trust(variance, noise) if noise > 0.0 else None
            if "pix" in names:
                terms["pix"] = teacher_losses.pixel_l1(fused, teacher, weight)
            if "ssim" in names:
                terms["ssim"] = teacher_losses.structure(fused, teacher)
            if "grad" in names:
                terms["grad"] = teacher_losses.gradient(fused, teacher)
        vgg, answer = self._frozen[1], deep
        if vgg is not None and ("perc" in names or ("feat" in names and deep is None)):
            with torch.no_grad():
                of_vgg = [f.float() for f in vgg(teacher)]
            answer = of_vgg[2:] if deep is None else deep
            if "perc" in names:
                seen = [f.float() for f in vgg(fused, blocks=4)]
                terms["perc"] = perceptual_distance(seen, of_vgg[:4])
        if self.adapters is not None and answer is not None and "feat" in names:
            # A student's features cover its padded image, VGG's the image alone.
            hints = [h[..., : f.shape[2], : f.shape[3]] for h, f in zip(answer, features)]
            features = [f[..., : h.shape[2], : h.shape[3]] for h, f in zip(hints, features)]
            terms["feat"] = self.adapters(features, hints, weight)
        return terms


def active_terms(weights: Mapping[str, float], epoch: int, warmup_epochs: int) -> list[str]:
    """Return the terms of an epoch.

    The terms that hold brightness come first, structure joins after `warmup_epochs`, deep features
    after twice as many. Without a term that holds brightness all are active at once.
    """
    if not warmup_epochs or not any(_STAGES.get(name, 1) == 0 for name in weights):
        return list(weights)
    stage = epoch // warmup_epochs
    return [name for name in weights if _STAGES.get(name, 1) <= stage]


def _check_weights(weights: Mapping[str, float]) -> None:
    unknown = sorted(set(weights) - set(TERMS))
    if unknown or not weights:
        raise ConfigurationError(
            f"expected terms out of {', '.join(TERMS)}, found {', '.join(unknown) or 'none'}"
        )
    for name, weight in weights.items():
        if not 0.0 <= weight < float("inf"):
            raise ConfigurationError(f"expected lambda_{name} of 0 or more, found {weight}")
    if not any(weights.values()):
        raise ConfigurationError("expected a term of a weight above 0, found all of them 0")


def _fuse(
    student: Student, ir: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Return `Student.fuse_luminance` of grey levels in any size; features stay padded."""
    change, chroma, features = student.fuse_luminance(
        *(pad_to_multiple(levels / 255.0) for levels in (ir, y))
    )
    change, chroma = (x[:, :, : y.shape[2], : y.shape[3]].float() for x in (change, chroma))
    return change, chroma, features


def needs_vgg(weights: Mapping[str, float], has_network: bool) -> bool:
    """Return whether these weights need VGG-16; `has_network`: there is a teacher network."""
    return weights.get("perc", 0.0) > 0.0 or (weights.get("feat", 0.0) > 0.0 and not has_network)
