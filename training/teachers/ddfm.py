"""DDFM: fusion by an unconditional diffusion prior and an EM step at each of its steps.

Zhao et al., "DDFM: Denoising Diffusion Model for Multi-Modality Image Fusion", ICCV 2023. Nothing
is trained on pairs: the prior has seen photographs only, and `likelihood.Rectifier` pulls every
estimate of the image towards both sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import luminance
from training.teachers import diffusion, images, likelihood
from training.teachers.unet import UNet

PUBLISHED_STEPS = 100


class Mode(NamedTuple):
    """Where sampling starts and how precisions are estimated."""

    start: float | None  # share of the schedule whose noise is added to the maximum; None: all
    precisions: likelihood.Precisions


# ``paper`` starts from pure noise with one precision a pixel; its first estimates are the prior's
# mean grey, so the source of less contrast tends to win everywhere. ``regional`` starts from the
# maximum of both sources and shares precisions in 15x15 pixels: each region chooses a source.
MODES = {"paper": Mode(None, likelihood.PAPER), "regional": Mode(0.15, likelihood.REGIONAL)}


class DDFM:
    """The teacher. Its network guesses noise in luminance (1 channel) or in RGB (3).

    Args:
        steps: Number of calls of the network, spread evenly over the schedule's part in use.
        sampler: ``ddpm`` (ancestral, as the paper has it) or ``ddim``.
        eta: Of ``ddim``: 0 draws noise at the start only.

    Raises:
        ConfigurationError: No such mode, or more steps than the schedule's part has.
    """

    name = "ddfm"

    def __init__(
        self,
        network: UNet,
        steps: int = PUBLISHED_STEPS,
        sampler: str = "ddpm",
        eta: float = 1.0,
        mode: str = "regional",
    ) -> None:
        if mode not in MODES:
            raise ConfigurationError(f"expected a mode out of {sorted(MODES)}, found {mode!r}")
        self.network, self.sampler, self.eta = network.eval(), sampler, eta
        self.mode = MODES[mode]
        whole = diffusion.linear_schedule()
        self.schedule = whole.first(self.mode.start or 1.0).respaced(steps, "ends")

    @torch.no_grad()
    def fuse(self, ir: torch.Tensor, vis: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Return one sample of each pair.

        Args:
            ir: N x 1 x H x W, 0..1, any size.
            vis: RGB, N x 3 x H x W, 0..1.
            seeds: One a pair; the same seed gives the same sample.

        Returns:
            Luminance, N x 1 x H x W, 0..1, NaN where it diverged (`images.restore_colour`).
        """
        images.check_pair(ir, vis)
        channels, multiple = self.network.config.in_channels, self.network.multiple
        height, width = ir.shape[2:]
        i, y, rgb = (images.pad(2.0 * x - 1.0, multiple) for x in (ir, luminance(vis), vis))
        rectify = likelihood.Rectifier(i, y, self.mode.precisions)
        rectified = y

        def rectify_luminance(x0: torch.Tensor) -> torch.Tensor:
            nonlocal rectified
            y0 = luminance(x0)
            rectified = rectify(y0).clamp(-1.0, 1.0)
            return (x0 + (rectified - y0)).clamp(-1.0, 1.0)

        start = None
        if self.mode.start is not None:
            change = (i - y).clamp_min(0.0)
            start = ((rgb if channels == 3 else y) + change).clamp(-1.0, 1.0)
        diffusion.sample(
            lambda x_t, timesteps: self.network(x_t, timesteps)[:, :channels].float(),
            (len(ir), channels, *i.shape[2:]),
            self.schedule,
            seeds,
            self.sampler,
            self.eta,
            rectify_luminance,
            start=start,
            device=ir.device,
        )
        # Not the luminance of the last x0: where a channel of its own colour clipped, it differs.
        return (rectified[:, :, :height, :width] + 1.0) / 2.0
