"""Mask-DiFuser as a teacher, and the names of its published checkpoint.

Tang, Li and Ma, "Mask-DiFuser: A Masked Diffusion Model for Unified Unsupervised Image Fusion",
TPAMI 2025. Trained on two half-blind views of photographs (`masking.py`), it fuses IR and visible.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from irvis_fusion_core.network.student import luminance
from training.teachers import diffusion, images
from training.teachers.mask_difuser.network import MaskDiFuserNetwork
from training.teachers.unet import ConditionalUNet

PUBLISHED_STEPS = 5

_PREFIXES = (
    ("time_embedding.timembedding.1", "time_embed.0"),
    ("time_embedding.timembedding.3", "time_embed.2"),
    ("content_encoder.conv", "content.view"),
    *zip(
        (f"content_encoder.fusion.{layer}{n}" for n in "1234" for layer in ("conv", "norm")),
        (f"content.mix.by_{what}.{n}" for what in ("channel", "place") for n in (0, 1, 3, 4)),
    ),
    ("content_encoder.enhance", "content.refine"),
    ("encoder.conv", "semantic.stem"),
    ("encoder.transformer_encoder.transformer_encoder", "semantic.transformer"),
    ("proj_in", "noisy"),
    ("downblocks", "down"),
    ("middleblocks", "middle"),
    ("upblocks", "up"),
)
_INSIDE_A_BLOCK = (
    ("block1", "first"),
    ("block2", "second"),
    ("temb_proj", "time"),
    ("shortcut", "skip"),
    ("attn.group_norm", "attention.norm"),
    ("attn.proj_", "attention."),
    ("attn.proj", "attention.out"),
    ("cross_attention.norm_x", "cross.norm"),
    ("cross_attention.norm_cond", "cross.token_norm"),
    ("cross_attention.proj_q", "cross.q"),
    ("cross_attention.proj_k1", "cross.k"),
    ("cross_attention.proj_v1", "cross.v"),
    ("conbine", "combine"),
    ("main.", ""),
)
# The second name of the projection of the noisy image, a layer that is only copied from, and
# the table of sinusoids that we compute.
_LEFT_OUT = ("conbine.", "encoder.transformer_encoder.layers.", "time_embedding.timembedding.0.")


def our_name(published: str) -> str | None:
    """Return the name of a published tensor in `MaskDiFuserNetwork`; None if unneeded."""
    name = _renamed(published, [("module.", "")])
    if name.startswith(_LEFT_OUT):
        return None
    name = _renamed(name, _PREFIXES)
    block = re.match(r"((?:down|middle|up)\.\d+\.)(.*)", name)
    return block.group(1) + _renamed(block.group(2), _INSIDE_A_BLOCK) if block else name


def _renamed(name: str, prefixes: Sequence[tuple[str, str]]) -> str:
    """Exchange the first of `prefixes` (theirs, ours) that the name has."""
    for theirs, ours in prefixes:
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    return name


def from_published(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a published state dict under our names; unknown names stay."""
    return {ours: v for name, v in tensors.items() if (ours := our_name(name)) is not None}


class MaskDiFuser:
    """The teacher. Its network sees luminance (1 channel) or RGB (3). See also `Conditional`.

    Args:
        steps: Of DDIM, of the 1000 the network was trained with.
        eta: 1 is the published, stochastic sampling: an ensemble has a variance.
    """

    name = "mask_difuser"
    colour = staticmethod(images.restore_colour)

    def __init__(
        self,
        network: MaskDiFuserNetwork | ConditionalUNet,
        steps: int = PUBLISHED_STEPS,
        eta: float = 1.0,
    ) -> None:
        self.network, self.eta = network.eval(), eta
        self.schedule = diffusion.linear_schedule().respaced(steps, "stride")

    @torch.no_grad()
    def fuse(self, ir: torch.Tensor, vis: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Return one sample of each pair; arguments and result as `DDFM.fuse`."""
        images.check_pair(ir, vis)
        channels = self.network.config.in_channels
        height, width = ir.shape[2:]
        views = (ir.expand(-1, channels, -1, -1), vis if channels == 3 else luminance(vis))
        a, b = (images.pad(2.0 * view - 1.0, self.network.multiple) for view in views)
        seen = self.network.condition(a, b)
        x0 = diffusion.sample(
            lambda x_t, timesteps: self.network(x_t, timesteps, seen).float(),
            tuple(a.shape),
            self.schedule,
            seeds,
            "ddim",
            self.eta,
            device=ir.device,
        )
        return (luminance(x0)[:, :, :height, :width] + 1.0) / 2.0
