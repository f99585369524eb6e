"""The training task: a student, optionally a teacher, and what the one should learn.

    task = DistillationTask(student, {"src_ssim": 5.0, "src_intensity": 5.0})
    found = task(batch)                    # a batch of `training.data.dataset`
    found["loss"].backward()
    found["terms"]                         # {"src_ssim": ..., "src_intensity": ...}, unweighted

It knows nothing of optimisers, devices or logs; `training.loop.lightning_module` does.
"""

from __future__ import annotations

import math
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import torch
import torch.nn as nn

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import Student, luminance, pad_to_multiple
from training.losses import source_terms as losses
from training.losses import teacher_terms as teacher_losses
from training.losses.emphasis import factors_of
from training.losses.features import FeatureAdapters
from training.losses.flicker_term import a_moment_later, unseen_change
from training.losses.perceptual import Vgg16, feature_shapes, perceptual_distance

TEACHER_TERMS = ("pix", "perc", "ssim", "grad", "feat")
SOURCE_TERMS = tuple("src_" + name for name in (*losses.SOURCE_TERMS, "colour", "flicker"))
TERMS = TEACHER_TERMS + SOURCE_TERMS

# What holds the brightness comes first, then structure, then deep features.
_STAGES = {"pix": 0, "src_intensity": 0, "src_max": 0, "src_colour": 0, "perc": 2, "feat": 2}


class DistillationTask(nn.Module):
    """Losses of a student by name.

    :param weights: weight of each term out of `TERMS`; terms of weight 0 are not computed.
    :param teacher: a trained larger student: its image stands in where there is no file of the
        teacher's, and its features are those that `feat` distils.
    :param vgg: for `perc`, and for `feat` where there is no `teacher` network.
    :param warmup_epochs: so long only the terms that hold brightness; as long again without
        the deep features (`active_terms`).
    :param rounding: round the image as on the topic, passing the gradient through. In the dark
        half a grey level is as much as the edges that should be kept.
    :param leak: share of the gradient that is kept where the image is clipped.
    :param later_share: share of a batch that `src_flicker` sees a moment later; each costs as
        much as another image.
    :param lead_share: see `losses.source_losses`.
    :param emphasis: for each training folder its factors (`losses.emphasis`); then a batch
        needs ``root``.
    :param variance_noise: grey levels; `pix` and `feat` trust a teacher whose samples vary by so
        much half (`teacher_losses.trust`). 0 trusts it everywhere.
    :raises ConfigurationError: an unknown term, a negative weight, or a term whose network is
        missing.
    """

    def __init__(
        self,
        student: Student,
        weights: Mapping[str, float],
        teacher: Optional[Student] = None,
        vgg: Optional[Vgg16] = None,
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
        # In a tuple: frozen networks belong neither to the checkpoint nor to the optimiser.
        self._frozen = (teacher, vgg)
        for network in self._frozen:
            if network is not None:
                network.requires_grad_(False).eval()
        self.adapters: Optional[FeatureAdapters] = None
        if self.weights.get("perc") and vgg is None:
            raise ConfigurationError("the perceptual term needs VGG-16; see open_vgg16")
        if self.weights.get("feat"):
            if teacher is None and vgg is None:
                raise ConfigurationError(
                    "feature distillation needs a teacher network or VGG-16; give "
                    "--teacher_checkpoint or --vgg_weights, or --lambda_feat 0"
                )
            wanted = feature_shapes() if teacher is None else teacher.size.channels
            self.adapters = FeatureAdapters(student.size.channels, wanted)

    @property
    def teacher(self) -> Optional[Student]:
        """The larger student, if there is one."""
        return self._frozen[0]

    def _apply(self, function, recurse: bool = True):
        """Frozen networks follow to other devices and types."""
        for network in self._frozen:
            if network is not None:
                network._apply(function)
        return super()._apply(function, recurse)

    def forward(self, batch: Mapping[str, torch.Tensor], epoch: int = 0) -> Dict[str, object]:
        """The loss of a batch.

        :param batch: as `training.data.dataset` makes it; images of any size.
        :return: ``loss`` (scalar), ``output`` (fused luminance N x 1 x H x W in grey levels),
            ``teacher`` (luminance of the rows that have one), and ``terms``: name -> scalar
            before its weight. Terms of the teacher are missing in a batch without one.
        """
        names = active_terms(self.weights, epoch, self.warmup_epochs)
        ir, aligned, y = (p.float() for p in _luminances(batch))
        seen_ir, seen_y, count = ir, y, len(y)
        if "src_flicker" in names:
            # In the same pass: normalised by the same statistics.
            later = a_moment_later(*(p[: math.ceil(count * self.later_share)] for p in (ir, y)))
            seen_ir, seen_y = torch.cat([ir, later[0]]), torch.cat([y, later[1]])
        change, features = self.student.luminance_change(_padded(seen_ir), _padded(seen_y))
        change = change[:, :, : y.shape[2], : y.shape[3]]
        features = [f[:count] for f in features]
        rows = batch["has_teacher"].bool()
        if self.teacher is not None:
            rows = torch.ones_like(rows)
        terms: Dict[str, torch.Tensor] = {}
        with torch.autocast(y.device.type, enabled=False):
            frames = self._pixels(seen_y + change.float() * 255.0)
            fused, change = frames[:count], change[:count]
            source = [n for n in losses.SOURCE_TERMS if "src_" + n in names]
            factors = factors_of(self.emphasis, batch["root"]) if any(self.emphasis) else None
            found = losses.source_losses(fused, aligned, y, source, self.lead_share, factors)
            terms.update({"src_" + name: term for name, term in found.items()})
            if "src_flicker" in names:
                pairs = ((p[: len(p) - count], p[count:]) for p in (frames, seen_ir, seen_y))
                terms["src_flicker"] = unseen_change(*pairs)
            if "src_colour" in names and batch["vis"].shape[1] == 3:
                vis = batch["vis"].float()
                shown = (vis + change.float() * 255.0).clamp(0.0, 255.0)
                terms["src_colour"] = losses.colour(shown, vis)
        image = None
        # The usual case is all or none: no copies then.
        if any(name in TEACHER_TERMS for name in names) and bool(rows.any()):
            chosen = slice(None) if bool(rows.all()) else rows
            image, deep = self._answer(batch, aligned, y, chosen)
            kept = [f[chosen] for f in features]
            terms.update(
                self._teacher_terms(names, fused[chosen], image, kept, deep, batch, chosen)
            )
        loss = fused.new_zeros(()) + sum(self.weights[name] * term for name, term in terms.items())
        if self.adapters is not None and "feat" not in terms:
            # Every process must have a gradient for every parameter.
            loss = loss + 0.0 * sum(p.sum() for p in self.adapters.parameters())
        return {"loss": loss, "output": fused.detach(), "teacher": image, "terms": terms}

    def _pixels(self, raw: torch.Tensor) -> torch.Tensor:
        """Grey levels as they would be published, differentiable."""
        clipped = raw.clamp(0.0, 255.0)
        pixels = clipped + self.leak * (raw - clipped)
        return pixels + (pixels.round() - pixels).detach() if self.rounding else pixels

    @torch.no_grad()
    def _answer(self, batch, aligned, y, rows):
        """The teacher's luminance of these rows, and its features where it is a network."""
        image = batch["teacher"][rows].float()
        if self.teacher is None:
            return image, None
        change, features = self.teacher.luminance_change(_padded(aligned[rows]), _padded(y[rows]))
        made = (y[rows] + change[:, :, : y.shape[2], : y.shape[3]].float() * 255.0).round()
        on_disk = batch["has_teacher"][rows].view(-1, 1, 1, 1).bool()
        return torch.where(on_disk, image, made.clamp(0.0, 255.0)), features

    def _teacher_terms(self, names, fused, teacher, features, deep, batch, rows):
        terms: Dict[str, torch.Tensor] = {}
        with torch.autocast(fused.device.type, enabled=False):
            weight = None
            if self.variance_noise > 0.0:
                variance = batch["variance"][rows].float()
                weight = teacher_losses.trust(variance, self.variance_noise)
            if "pix" in names:
                terms["pix"] = teacher_losses.pixel_l1(fused, teacher, weight)
            if "ssim" in names:
                terms["ssim"] = teacher_losses.structure(fused, teacher)
            if "grad" in names:
                terms["grad"] = teacher_losses.gradient(fused, teacher)
        vgg = self._frozen[1]
        from_vgg = "feat" in names and deep is None
        answer: List[torch.Tensor] = []
        if "perc" in names or from_vgg:
            with torch.no_grad():
                answer = [f.float() for f in vgg(teacher)]
        if "perc" in names:
            seen = [f.float() for f in vgg(fused, blocks=4)]
            terms["perc"] = perceptual_distance(seen, answer[:4])
        if "feat" in names:
            hints = deep if deep is not None else answer[2:]
            # A student's features cover its padded image; VGG's end where the image does.
            hints = [h[..., : f.shape[2], : f.shape[3]] for h, f in zip(hints, features)]
            features = [f[..., : h.shape[2], : h.shape[3]] for h, f in zip(hints, features)]
            terms["feat"] = self.adapters(features, hints, weight)
        return terms


def active_terms(weights: Mapping[str, float], epoch: int, warmup_epochs: int) -> List[str]:
    """The terms of an epoch: first what holds brightness, then structure, then deep features.

    Structure joins after `warmup_epochs`, deep features after twice as many. Where no term holds
    brightness there is nothing to warm up with, and all are active at once.
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


def _luminances(batch: Mapping[str, torch.Tensor]) -> Tuple[torch.Tensor, ...]:
    """Thermal as seen, thermal in place, and visible luminance, in whole grey levels."""
    return batch["ir"], batch["ir_aligned"], luminance(batch["vis"].float()).round()


def _padded(levels: torch.Tensor) -> torch.Tensor:
    """Grey levels to 0..1, in a size that the student takes."""
    return pad_to_multiple(levels / 255.0)


def needs_vgg(weights: Mapping[str, float], has_network: bool) -> bool:
    """Whether these weights need VGG-16; `has_network`: there is a teacher network."""
    return weights.get("perc", 0.0) > 0.0 or (weights.get("feat", 0.0) > 0.0 and not has_network)


def without_teacher(weights: Mapping[str, float]) -> Dict[str, float]:
    """The terms that remain where there is no teacher of any kind."""
    return {name: w for name, w in weights.items() if name not in TEACHER_TERMS}
