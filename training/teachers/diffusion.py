"""Gaussian diffusion: schedules, conversions between noise and image, and two samplers.

An image x0 gets noise over T steps, x_t = sqrt(a_t) x0 + sqrt(1 - a_t) e with e ~ N(0, 1) and a_t
(`alphas_bar`) falling from 1 to nearly 0 (Ho et al., DDPM, arXiv 2006.11239). A network predicts e
from x_t and t; a sampler goes back from noise in all steps or a few (DDIM, arXiv 2010.02502).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from irvis_fusion_core.errors import ConfigurationError, expect_one_of

SAMPLERS = ("ddim", "ddpm")


@dataclass(frozen=True)
class Schedule:
    """The kept steps, from little noise to much."""

    alphas_bar: np.ndarray  # share of the image's power that is left, float64, falling in (0, 1)
    timesteps: np.ndarray  # input of the network at each step, int64, rising

    def __len__(self) -> int:
        return len(self.timesteps)

    def first(self, share: float) -> Schedule:
        """Return the part with the least noise, 0 < share <= 1, at least one step."""
        count = max(1, round(share * len(self)))
        return Schedule(self.alphas_bar[:count], self.timesteps[:count])

    def respaced(self, steps: int, spacing: str = "ends") -> Schedule:
        """Keep `steps` of the steps.

        ``ends`` spreads them evenly from the first to the last (guided-diffusion's), ``stride``
        takes every (T // steps)-th from the first (DDIM's, Mask-DiFuser's).
        """
        total = len(self)
        if not 1 <= steps <= total:
            raise ConfigurationError(f"expected 1 to {total} diffusion steps, found {steps}")
        if spacing == "stride":
            kept = np.arange(steps) * (total // steps)
        elif steps == 1:
            kept = np.array([total - 1])
        else:
            kept = np.round(np.linspace(0, total - 1, steps)).astype(np.int64)
        return Schedule(self.alphas_bar[kept], self.timesteps[kept])

    def before(self, index: int) -> float:
        """Return the share of the image left one kept step nearer to it; 1 before the first."""
        return float(self.alphas_bar[index - 1]) if index > 0 else 1.0


def linear_schedule() -> Schedule:
    """Return 1000 noise variances from 1e-4 to 0.02, as in both published teachers."""
    betas = np.linspace(1e-4, 0.02, 1000, dtype=np.float64)
    return Schedule(np.cumprod(1.0 - betas), np.arange(1000, dtype=np.int64))


def add_noise(x0: torch.Tensor, noise: torch.Tensor, alpha_bar: torch.Tensor) -> torch.Tensor:
    """Return x_t; `alpha_bar` is a scalar or one value a sample."""
    alpha_bar = alpha_bar.view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * x0 + (1.0 - alpha_bar).sqrt() * noise


def image_from_noise(
    x_t: torch.Tensor, noise: torch.Tensor, alpha_bar: torch.Tensor
) -> torch.Tensor:
    """Return x0 when `noise` was added."""
    alpha_bar = alpha_bar.view(-1, 1, 1, 1)
    return (x_t - (1.0 - alpha_bar).sqrt() * noise) / alpha_bar.sqrt()


def ddim_step(
    x0: torch.Tensor,
    noise: torch.Tensor,
    alpha_bar: float,
    alpha_bar_next: float,
    eta: float,
    fresh: torch.Tensor,
) -> torch.Tensor:
    """Do one DDIM step to less noise (eq. 12): eta 0 is deterministic, 1 is DDPM's posterior."""
    variance = (1.0 - alpha_bar_next) / (1.0 - alpha_bar) * (1.0 - alpha_bar / alpha_bar_next)
    sigma = eta * variance**0.5
    along = max(1.0 - alpha_bar_next - sigma**2, 0.0) ** 0.5
    return alpha_bar_next**0.5 * x0 + along * noise + sigma * fresh


@torch.no_grad()
def sample(
    predict_noise: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    shape: tuple[int, int, int, int],
    schedule: Schedule,
    seeds: Sequence[int],
    sampler: str = "ddim",
    eta: float = 1.0,
    rectify: Callable[[torch.Tensor], torch.Tensor] | None = None,
    clip: bool = True,
    start: torch.Tensor | None = None,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Go from noise to images N x C x H x W.

    Args:
        predict_noise: (x_t, timesteps int64 [N]) -> the noise in it, of x_t's shape.
        seeds: One a sample; neither batch nor device change a sample.
        sampler: ``ddim`` with `eta`, or ``ddpm``, which is the same as `eta` 1.
        rectify: From each step's x0 (clipped) to a better one.
        clip: Clip x0 to [-1, 1] at every step, as both teachers do.
        start: Image under the first noise; None starts from noise alone.
    """
    expect_one_of("sampler", sampler, SAMPLERS)
    if not 0.0 <= eta <= 1.0:
        raise ConfigurationError(f"expected eta between 0 and 1, found {eta}")
    if len(seeds) != shape[0]:
        raise ConfigurationError(f"expected {shape[0]} seeds, one a sample, found {len(seeds)}")
    eta = 1.0 if sampler == "ddpm" else eta
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw() -> torch.Tensor:
        return torch.stack([torch.randn(shape[1:], generator=g) for g in generators]).to(device)

    x_t = draw()
    if start is not None:
        x_t = add_noise(start, x_t, torch.tensor(float(schedule.alphas_bar[-1]), device=device))
    for index in reversed(range(len(schedule))):
        alpha_bar, alpha_bar_next = float(schedule.alphas_bar[index]), schedule.before(index)
        level = torch.tensor(alpha_bar, device=device)
        timesteps = torch.full((shape[0],), int(schedule.timesteps[index]), device=device)
        noise = predict_noise(x_t, timesteps)
        x0 = image_from_noise(x_t, noise, level)
        x0 = x0.clamp(-1.0, 1.0) if clip else x0
        x0 = x0 if rectify is None else rectify(x0)
        if index == 0:
            return x0  # alpha_bar_next is 1: nothing but the image is left
        noise = (x_t - level.sqrt() * x0) / (1.0 - level).sqrt()  # of the clipped, rectified x0
        x_t = ddim_step(x0, noise, alpha_bar, alpha_bar_next, eta, draw())
    raise AssertionError("a schedule has at least one step")
