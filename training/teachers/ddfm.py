"""DDFM: fusion by an unconditional diffusion prior and an EM step at each of its steps.

Zhao et al., "DDFM: Denoising Diffusion Model for Multi-Modality Image Fusion", ICCV 2023. Nothing
is trained on pairs: the prior has seen photographs only, and `Rectifier`, one EM step a diffusion
step, pulls every estimate of the image towards both sources.

The fused f minimises |f - i|_1 + phi |f - v|_1 plus a total variation. With x = f - v, y = i - v
the E-step estimates hidden precisions (m of y - x, n of x) of Laplace noise, the M-step solves a
weighted least-squares problem per pixel. Images are in [-1, 1]. As in the paper f = x + v; the
published program returns i - x, which ends at the plain average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from irvis_fusion_core.errors import ConfigurationError, expect_one_of
from irvis_fusion_core.network.student import luminance
from training.teachers import diffusion, images
from training.teachers.unet import UNet

PUBLISHED_STEPS = 100


SMOOTHNESS = 0.5  # weight psi of the total variation
TINY = 1e-3  # least distance that counts, an eighth of a grey level: precisions stay finite


@dataclass(frozen=True)
class Precisions:
    """Where sampling starts and how the hidden precisions are estimated.

    Args:
        start: Share of the schedule whose noise is added to the sources' maximum; None: all noise.
        window: Side of the square whose pixels share one precision, odd; 1 is the paper's.
        regional_scales: Estimate the scales gamma and rho in that window too, so that one region
            may follow the infrared and another the visible.
        bound: n is at most this many times m: the infrared weight is at least 1 / (1 + bound).
    """

    start: float | None = None
    window: int = 1
    regional_scales: bool = False
    bound: float = 2.0


PAPER = Precisions()
REGIONAL = Precisions(start=0.15, window=15, regional_scales=True, bound=8.0)
# ``paper`` starts from pure noise with one precision a pixel; its first estimates are the prior's
# mean grey, so the source of less contrast tends to win everywhere. ``regional`` starts from the
# maximum of both sources and shares precisions in 15x15 pixels: each region chooses a source.
MODES = {"paper": PAPER, "regional": REGIONAL}


class Rectifier:
    """Rectify estimates of one batch of images; the scales of both noises are carried on.

    Args:
        ir: N x 1 x H x W, -1..1; `vis` is the visible luminance, the same.
        coupling: Eta, how strongly the M-step is held to the smoothed image.
    """

    def __init__(
        self,
        ir: torch.Tensor,
        vis: torch.Tensor,
        precisions: Precisions = PAPER,
        coupling: float = 0.01,
    ) -> None:
        self.vis, self.y, self.precisions, self.coupling = vis, ir - vis, precisions, coupling
        self.gamma = torch.ones_like(vis[:, :1, :1, :1])
        self.rho = torch.ones_like(self.gamma)

    def __call__(self, fused: torch.Tensor) -> torch.Tensor:
        """Do one E-step and one M-step from an estimate, N x 1 x H x W -> the same."""
        x = fused - self.vis
        m, n = self._expect(x)
        self.gamma = self._scale(m) + self.gamma / 2.0
        self.rho = self._scale(n) + self.rho / 2.0
        return self._maximise(x, m, n) + self.vis

    def _expect(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the precisions of y - x and of x, the second bounded by the first."""
        window = self.precisions.window
        m = (2.0 / self.gamma).sqrt() / _local_mean((self.y - x).abs(), window).clamp_min(TINY)
        n = (2.0 / self.rho).sqrt() / _local_mean(x.abs(), window).clamp_min(TINY)
        return m, torch.minimum(n, self.precisions.bound * m)

    def _scale(self, precision: torch.Tensor) -> torch.Tensor:
        if self.precisions.regional_scales:
            return _local_mean(1.0 / precision, self.precisions.window)
        return (1.0 / precision).mean((1, 2, 3), keepdim=True)

    def _maximise(self, x: torch.Tensor, m: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        k = smooth(self.y - x, SMOOTHNESS)
        pull = 2.0 * m * self.y + self.coupling * (self.y - k)
        return pull / (2.0 * m + 2.0 * n + self.coupling)


def smooth(image: torch.Tensor, weight: float) -> torch.Tensor:
    """Return the k that minimises |k - image|^2 + weight |grad k|^2, periodic, exactly.

    The quadratic half of the split total variation: in Fourier space it is one division.
    """
    like: Any = {"dtype": image.dtype, "device": image.device}
    axes = torch.fft.fftfreq(image.shape[2], **like), torch.fft.rfftfreq(image.shape[3], **like)
    rows, columns = (2.0 - 2.0 * torch.cos(2.0 * torch.pi * f) for f in axes)
    spectrum = torch.fft.rfft2(image) / (1.0 + weight * (rows[:, None] + columns))
    return torch.fft.irfft2(spectrum, s=image.shape[2:])


def _local_mean(x: torch.Tensor, window: int) -> torch.Tensor:
    """Return the mean over the part of a square window that lies inside the image."""
    if window == 1:
        return x
    return F.avg_pool2d(x, window, 1, window // 2, count_include_pad=False)


class DDFM:
    """The teacher. Its network guesses noise in luminance (1 channel) or in RGB (3).

    Args:
        steps: Number of calls of the network, spread evenly over the schedule's part in use.
        sampler: ``ddpm`` (ancestral, as the paper has it) or ``ddim``.
        eta: Of ``ddim``: 0 draws noise at the start only.
    """

    name = "ddfm"
    colour = staticmethod(images.restore_colour)

    def __init__(
        self,
        network: UNet,
        steps: int = PUBLISHED_STEPS,
        sampler: str = "ddpm",
        eta: float = 1.0,
        mode: str = "regional",
    ) -> None:
        expect_one_of("mode", mode, MODES)
        self.network, self.sampler, self.eta = network.eval(), sampler, eta
        self.mode = MODES[mode]
        whole = diffusion.linear_schedule()
        self.schedule = whole.first(self.mode.start or 1.0).respaced(steps, "ends")
        if self.schedule.timesteps[-1] >= network.config.t_below:
            raise ConfigurationError(
                f"expected a prior of all noise for the mode {mode}, found one of timesteps below "
                f"{network.config.t_below}; try --mode regional"
            )

    @torch.no_grad()
    def fuse(self, ir: torch.Tensor, vis: torch.Tensor, seeds: Sequence[int]) -> torch.Tensor:
        """Return one sample of each pair: luminance, N x 1 x H x W, 0..1, NaN where it diverged.

        Args:
            ir: N x 1 x H x W, 0..1, any size.
            vis: RGB, N x 3 x H x W, 0..1.
            seeds: One a pair; the same seed gives the same sample.
        """
        images.check_pair(ir, vis)
        channels, multiple = self.network.config.in_channels, self.network.multiple
        height, width = ir.shape[2:]
        i, y, rgb = (images.pad(2.0 * x - 1.0, multiple) for x in (ir, luminance(vis), vis))
        rectify = Rectifier(i, y, self.mode)
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
