"""Train a prior to predict noise."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from training.loop.averaged_run import AveragedTask
from training.losses.source_terms import ssim
from training.teachers import diffusion, images
from training.teachers.mask_difuser.network import MaskDiFuserNetwork
from training.teachers.unet import ConditionalUNet

VALIDATION_SHARES = (0.05, 0.2, 0.5, 0.8)  # of the timesteps that are trained


class PriorTask(AveragedTask):
    """Train the network of DDFM (`UNet`) or of Mask-DiFuser on crops of photographs.

    Or the conditional teacher's on a teacher's images, as Mask-DiFuser's (`TaughtCrops`).

    The loss is the squared error of the noise, or of the velocity where the network predicts it.
    From epoch `image_terms_from` on, both conditional networks add terms on the image that follows
    (`image_terms`). A learned variance is not trained: our samplers use the fixed one.
    """

    def __init__(
        self, *common: Any, image_terms_from: int = 0, seed: int = 0, **more: Any
    ) -> None:
        super().__init__(*common, **more)
        self.conditional = isinstance(self.network, (MaskDiFuserNetwork, ConditionalUNet))
        self.velocity = (
            self.conditional
            and getattr(self.network.config, "prediction", "velocity") == "velocity"
        )
        self.image_terms_from, self.seed = image_terms_from, seed
        t_below = getattr(self.network.config, "t_below", None)
        levels = torch.from_numpy(diffusion.linear_schedule().alphas_bar[:t_below]).float()
        self.register_buffer("alphas_bar", levels, persistent=False)

    def guess(
        self, network: torch.nn.Module, batch: dict[str, torch.Tensor], x_t: torch.Tensor, t: Any
    ) -> torch.Tensor:
        """Return the noise that a network sees in x_t at timesteps t, fp32."""
        if self.conditional:
            seen = network.condition(batch["view_a"], batch["view_b"])
            return network(x_t, t, seen).float()
        return network(x_t, t)[:, : x_t.shape[1]].float()

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        image = batch["image"]
        # From the step's number alone, so that a resumed training draws the same.
        seed = images.seed_of(f"step {self.global_step}", self.global_rank, self.seed)
        random = torch.Generator().manual_seed(seed)
        t = torch.randint(len(self.alphas_bar), (len(image),), generator=random)
        noise = torch.randn(image.shape, generator=random).to(image)
        t = t.to(image.device)
        x_t = diffusion.add_noise(image, noise, self.alphas_bar[t])
        guess = self.guess(self.network, batch, x_t, t)
        error = (guess - noise).square().mean((1, 2, 3))
        if self.velocity:
            error = error / self.alphas_bar[t]  # the squared error of the velocity
        terms = {"noise": error.mean()}
        if self.conditional and self.current_epoch >= self.image_terms_from:
            x0 = diffusion.image_from_noise(x_t, guess, self.alphas_bar[t]).clamp(-1.0, 1.0)
            terms.update(image_terms(x0, image))
        loss = self.total(terms)
        self.log_dict({f"train/{k}": v for k, v in terms.items()})
        self.log("loss", terms["noise"], prog_bar=True, logger=False)
        return loss

    def validation_step(self, batch: dict[str, torch.Tensor], number: int) -> None:
        """Log the error of the averaged network at fixed timesteps under fixed noise."""
        image = batch["image"]
        generator = torch.Generator().manual_seed(number)
        errors: list[torch.Tensor] = []
        for step in (int(share * len(self.alphas_bar)) for share in VALIDATION_SHARES):
            noise = torch.randn(image.shape, generator=generator).to(image.device)
            x_t = diffusion.add_noise(image, noise, self.alphas_bar[step])
            t = torch.full((len(image),), step, device=image.device)
            errors.append(F.mse_loss(self.guess(self.average, batch, x_t, t), noise))
            self.log(f"val/noise_t{step}", errors[-1], batch_size=len(image), sync_dist=True)
        mean = torch.stack(errors).mean()
        self.log("val/noise", mean, prog_bar=True, batch_size=len(image), sync_dist=True)


def image_terms(x0: torch.Tensor, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return terms on an estimate of the image, N x C x H x W in -1..1; 0 where equal.

    ``image`` is the squared error, ``colour`` 1 - cosine of the angle between colours (RGB only).
    """
    grey, truth = (127.5 * (x.flatten(0, 1)[:, None] + 1.0) for x in (x0, image))
    terms = {"image": F.mse_loss(x0, image), "ssim": 1.0 - ssim(grey, truth).mean()}
    if image.shape[1] == 3:
        cosine = F.cosine_similarity((x0 + 1.0) + 1e-3, (image + 1.0) + 1e-3, dim=1)
        terms["colour"] = 1.0 - cosine.mean()
    return terms
