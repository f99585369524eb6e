"""The training task: a student, optionally a teacher, and the losses between them.

    task = DistillationTask(student, {"src_ssim": 0.4, "src_base": 1.0})
    found = task(batch)                    # a batch of `training.data.dataset`
    found["loss"].backward()
    found["terms"]                         # {"src_ssim": ..., "src_base": ...}, unweighted

It knows nothing of optimisers, devices or logs; `training.loop.lightning_module` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypedDict

import torch
from torch import nn

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import Student, chroma_scale, luminance, pad_to_multiple
from training.losses import source_terms as losses
from training.losses import teacher_terms as teacher_losses
from training.losses.detector_term import (
    DETECTOR_TERMS,
    DetectorTerm,
    object_contrast,
    visible_kept,
)
from training.losses.flicker_term import a_moment_later, unseen_change
from training.losses.frozen_detector import FrozenDetector
from training.losses.perceptual import SCALES, Backbone, perceptual_distance
from training.losses.teacher_terms import FeatureAdapters

PLACED_TERMS = ("colour", "hot_colour", "sky")
TEACHER_TERMS = ("pix", "perc", "ssim", "grad", "feat")
SOURCE_TERMS = tuple("src_" + name for name in (*losses.SOURCE_TERMS, *PLACED_TERMS, "flicker"))
TERMS = TEACHER_TERMS + SOURCE_TERMS + DETECTOR_TERMS

# Terms that hold the brightness join first, then structure (1), then deep features.
_STAGES = {"pix": 0, "src_base": 0, "src_colour": 0, "perc": 2, "feat": 2}


class Fuser(Protocol):
    """What is trained: a `Student`, or anything that fuses as one."""

    def fuse_luminance(
        self, ir: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """See `Student.fuse_luminance`."""
        ...


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
        backbone: For `perc`, and for `feat` where there is no `teacher` network.
        warmup_epochs: Epochs of the terms that hold brightness alone (`active_terms`).
        rounding: Round the image as on the topic, and pass the gradient through. In dark scenes
            half a grey level is as large as the edges to keep.
        leak: Share of the gradient that is kept where the image is clipped.
        variance_noise: Grey levels; `pix` and `feat` trust a teacher whose samples vary by this
            half (`teacher_losses.trust`). 0 trusts it everywhere.
        later_share: Share of a batch that `src_flicker` renders a moment later; each costs as
            much as another image.
        window: Side of the random window of each crop that the costly terms see
            (`source_terms.WINDOWED`), pixels; 0 for all of it.
        detectors: For the terms of `detector_term`, used in turn by step.
        freeze_norm: Keep the statistics of the batch norms as they are.
        train_only: Beginnings of the names of the student's parameters that change; all by
            default. Modules whose parameters are all frozen stay in evaluation mode.

    Raises:
        ConfigurationError: an unknown term, a negative weight, a term whose network is missing,
            or a beginning that no parameter has.
    """

    def __init__(
        self,
        student: Student,
        weights: Mapping[str, float],
        teacher: Student | None = None,
        backbone: Backbone | None = None,
        warmup_epochs: int = 0,
        rounding: bool = True,
        leak: float = 0.02,
        variance_noise: float = 4.0,
        later_share: float = 1.0 / 3.0,
        window: int = 0,
        detectors: Sequence[FrozenDetector] = (),
        freeze_norm: bool = False,
        train_only: Sequence[str] = (),
    ) -> None:
        super().__init__()
        _check_weights(weights)
        self.weights = {name: float(w) for name, w in weights.items() if w > 0.0}
        self.student = student
        if train_only:
            _freeze_others(student, train_only)
        self.warmup_epochs, self.rounding, self.leak = warmup_epochs, rounding, leak
        self.variance_noise, self.later_share = variance_noise, later_share
        self.window, self.freeze_norm = window, freeze_norm
        # In tuples, so that checkpoint and optimiser leave the frozen networks out.
        self._frozen, self._detectors = (teacher, backbone), tuple(detectors)
        if any(map(self.weights.get, DETECTOR_TERMS)) and not detectors:
            raise ConfigurationError(
                f"the terms {', '.join(DETECTOR_TERMS)} need a detector; give --detector FILE, or "
                "weight 0 for these terms"
            )
        for network in self._frozen:
            if network is not None:
                network.requires_grad_(False).eval()
        self.adapters: FeatureAdapters | None = None
        if self.weights.get("perc") and backbone is None:
            raise ConfigurationError("the perceptual term needs a network; see open_backbone")
        if self.weights.get("feat"):
            if teacher is not None:
                wanted = teacher.size.channels
            elif backbone is not None:
                wanted = backbone.hint_channels
            else:
                raise ConfigurationError(
                    "feature distillation needs a teacher network or a backbone; give "
                    "--teacher_checkpoint or --vgg_weights, or --lambda_feat 0"
                )
            self.adapters = FeatureAdapters(student.size.channels, wanted)

    @property
    def teacher(self) -> Student | None:
        """The larger student, or None."""
        return self._frozen[0]

    @property
    def backbone(self) -> Backbone | None:
        """The network of the perceptual term, or None."""
        return self._frozen[1]

    def _apply(
        self, function: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> DistillationTask:
        """Move the frozen networks to other devices and types too."""
        for network in (*self._frozen, *self._detectors):
            if network is not None:
                network._apply(function)
        return super()._apply(function, recurse)

    def train(self, mode: bool = True) -> DistillationTask:
        """Set training mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.student.modules():
            own = list(module.parameters())
            frozen = bool(own) and not any(p.requires_grad for p in own)
            if frozen or (self.freeze_norm and isinstance(module, nn.BatchNorm2d)):
                module.eval()
        return self

    def forward(
        self, batch: Mapping[str, torch.Tensor], epoch: int = 0, step: int = 0
    ) -> TaskLoss:
        """Return the loss of a batch of `training.data.dataset`; images of any size.

        Terms of the teacher are missing in a batch without one. What is drawn depends on the
        images (and ``draw``, a number) alone, so a resumed run repeats an unbroken one.
        """
        names = active_terms(self.weights, epoch, self.warmup_epochs)
        # In whole grey levels: both as seen, and both clean and in place.
        ir, vis = batch["ir"].float(), batch["vis"].float()
        y = luminance(vis).round()
        clean_ir, clean_vis = batch["ir_aligned"].float(), batch["vis_clean"].float()
        clean_y = luminance(clean_vis).round()
        seed = int(clean_y.sum(dtype=torch.float64)) + int(batch.get("draw", 0))
        chance = torch.Generator().manual_seed(seed)
        seen_ir, seen_y, count = ir, y, len(y)
        if "src_flicker" in names:
            # In the same pass: normalised by the same statistics.
            later = a_moment_later(*(p[: math.ceil(count * self.later_share)] for p in (ir, y)))
            seen_ir, seen_y = torch.cat([ir, later[0]]), torch.cat([y, later[1]])
        change, chroma, features = fuse_levels(self.student, seen_ir, seen_y)
        features = [f[:count] for f in features]
        rows = batch["has_teacher"].bool()
        if self.teacher is not None:
            rows = torch.ones_like(rows)
        terms: dict[str, torch.Tensor] = {}
        with torch.autocast(y.device.type, enabled=False):
            frames = self._pixels(seen_y + change * 255.0)
            fused = frames[:count]
            scale = chroma_scale(fused / 255.0, y / 255.0, chroma[:count])
            tint = scale * (vis - y)
            objects = batch["objects"] if "det_object" in names else None
            if any(name in DETECTOR_TERMS for name in names):
                network = self._detectors[step % len(self._detectors)]
                terms.update(self._detector_terms(names, batch, network, fused, tint, chance))
            source = [n for n in losses.SOURCE_TERMS if "src_" + n in names]
            window = self._window(fused.shape[2:], chance)
            found = losses.source_losses(fused, clean_ir, clean_y, source, objects, window)
            terms.update({"src_" + name: term for name, term in found.items()})
            if "src_flicker" in names:
                pairs = ((p[: len(p) - count], p[count:]) for p in (frames, seen_ir, seen_y))
                terms["src_flicker"] = unseen_change(*pairs)
            terms.update(self._placed_terms(names, batch, fused, tint, objects))
        image = None
        # Usually all rows have a teacher, or none: a slice makes no copies.
        if any(name in TEACHER_TERMS for name in names) and bool(rows.any()):
            chosen = slice(None) if bool(rows.all()) else rows
            image, deep = self._answer(batch, clean_ir, clean_y, chosen)
            kept = [f[chosen] for f in features]
            variance = batch["variance"][chosen].float()
            terms.update(self._teacher_terms(names, fused[chosen], image, variance, kept, deep))
        # A batch may have no term: its gradient is 0.
        loss = 0.0 * fused.sum() + sum(self.weights[name] * t for name, t in terms.items())
        if self.adapters is not None and "feat" not in terms:
            # Every process must have a gradient for every parameter.
            loss = loss + 0.0 * sum(p.sum() for p in self.adapters.parameters())
        return {"loss": loss, "output": fused.detach(), "teacher": image, "terms": terms}

    @staticmethod
    def _placed_terms(
        names: Sequence[str],
        batch: Mapping[str, torch.Tensor],
        fused: torch.Tensor,
        tint: torch.Tensor,
        objects: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """Return the terms of colour and sky, which count in some places of the clean images."""
        ir, vis = batch["ir_aligned"].float(), batch["vis_clean"].float()
        terms = {}
        if "src_colour" in names and vis.shape[1] == 3:
            terms["src_colour"] = losses.colour(tint, fused.detach(), vis)
        if "src_hot_colour" in names and vis.shape[1] == 3:
            terms["src_hot_colour"] = losses.hot_colour(tint, fused.detach(), ir, vis)
        if "src_sky" in names:
            sky = batch["sky"] if objects is None else batch["sky"] * (1.0 - objects)
            terms["src_sky"] = losses.sky_kept(fused, luminance(vis).round(), sky)
        return terms

    def _pixels(self, raw: torch.Tensor) -> torch.Tensor:
        """Return grey levels as they would be published, differentiable."""
        pixels = self._clipped(raw)
        return pixels + (pixels.round() - pixels).detach() if self.rounding else pixels

    def _clipped(self, raw: torch.Tensor) -> torch.Tensor:
        clipped = raw.clamp(0.0, 255.0)
        return clipped + self.leak * (raw - clipped)

    def _window(self, shape: Sequence[int], chance: torch.Generator) -> tuple[slice, ...]:
        """Draw the window that the costly terms see."""
        sides = [min(self.window or length, length) for length in shape]
        drawn = torch.rand(2, generator=chance).tolist()
        starts = [int(d * (length - s + 1)) for d, length, s in zip(drawn, shape, sides)]
        spatial = (slice(a, a + side) for a, side in zip(starts, sides))
        return (slice(None), slice(None), *spatial)

    def _detector_terms(
        self,
        names: Sequence[str],
        batch: Mapping[str, torch.Tensor],
        network: FrozenDetector,
        fused: torch.Tensor,
        tint: torch.Tensor,
        chance: torch.Generator,
    ) -> dict[str, torch.Tensor]:
        """Return the detector's terms.

        Args:
            tint: Fused RGB minus `fused`, grey levels.
        """
        ir, vis = batch["ir_aligned"].float(), batch["vis_clean"].float()
        rgb = (fused + tint).expand(-1, 3, -1, -1)
        terms = {}
        if "det_object" in names:
            terms["det_object"] = object_contrast(fused, ir, batch["objects"])
        if "det_visible" in names:
            terms["det_visible"] = visible_kept(rgb, vis, batch["vehicles"])
        if "det" in names or "det_box" in names:
            annotated = batch["boxes"], batch["has_boxes"]
            detector = DetectorTerm(network, ir, vis, *annotated, chance)
            found = detector.terms(self._clipped(rgb))
            terms.update({name: term for name, term in found.items() if name in names})
        return terms

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
        change, _, features = fuse_levels(self.teacher, aligned[rows], y[rows])
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
        backbone, answer = self.backbone, deep
        if backbone is not None and ("perc" in names or ("feat" in names and deep is None)):
            with torch.no_grad():
                of_teacher = [f.float() for f in backbone(teacher)]
            answer = of_teacher[-3:] if deep is None else deep
            if "perc" in names:
                seen = [f.float() for f in backbone(fused, blocks=SCALES)]
                terms["perc"] = perceptual_distance(seen, of_teacher[:SCALES])
        if self.adapters is not None and answer is not None and "feat" in names:
            # A student's features cover its padded image, a backbone's the image alone.
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


def _freeze_others(student: nn.Module, prefixes: Sequence[str]) -> None:
    """Freeze the parameters whose names begin with none of `prefixes`."""
    names = [name for name, _ in student.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            known = sorted(
                {".".join(name.split(".")[:depth]) for name in names for depth in (1, 2)}
            )
            raise ConfigurationError(
                f"expected --train_only to begin the name of a parameter, found {prefix!r}; there "
                f"are {', '.join(known)}"
            )
    for name, parameter in student.named_parameters():
        parameter.requires_grad_(name.startswith(tuple(prefixes)))


def fuse_levels(
    student: Fuser, ir: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Return `Student.fuse_luminance` of grey levels in any size; features stay padded."""
    change, chroma, features = student.fuse_luminance(
        *(pad_to_multiple(levels / 255.0) for levels in (ir, y))
    )
    change, chroma = (x[:, :, : y.shape[2], : y.shape[3]].float() for x in (change, chroma))
    return change, chroma, features


def needs_backbone(weights: Mapping[str, float], has_network: bool) -> bool:
    """Return whether these weights need a `Backbone`; `has_network`: there is a teacher one."""
    return weights.get("perc", 0.0) > 0.0 or (weights.get("feat", 0.0) > 0.0 and not has_network)
