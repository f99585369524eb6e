"""How well does a diffusion prior remove noise, next to a blur and to non-local means?

    python -m benchmarks.denoiser --prior ddfm_small.safetensors ... --data DIR
        [--sets msrs/val roadscene/val m3fd] [--limit 8] [--timesteps 20 50 100]

White noise of a timestep (its deviation in grey levels is in the heading) is added to the central
crops of held-out images, visible luminance and thermal. Images are halved first by averaging, so
that less noise of the cameras is in the truth. The table has the mean PSNR in dB. Of the blur
(Gaussian) and of OpenCV's non-local means it is that of the best strength for each column, chosen
on the same crops, which favours them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.shared.options import VALIDATION_SETS, machine_facts, make_parser
from benchmarks.shared.pairs import as_seen, read_pairs
from training.tables import markdown_table
from training.teachers import diffusion
from training.teachers.optimised import denoise
from training.teachers.prior_files import load_network
from training.teachers.unet import UNet

SIDE = 128
BLURS = tuple(np.arange(0.3, 3.01, 0.1).round(1).tolist())
NLM_STRENGTHS = (0.5, 0.7, 0.9, 1.1)
"""Times the noise's deviation."""

Denoiser = Callable[[np.ndarray], np.ndarray]
"""Grey levels HxW, noisy -> clean."""


def psnr(clean: np.ndarray, found: np.ndarray) -> float:
    """Return the PSNR in dB of grey levels clipped to 0..255."""
    return cv2.PSNR(clean, np.clip(found, 0.0, 255.0))


def best(
    denoisers: Sequence[Denoiser], clean: Sequence[np.ndarray], noisy: Sequence[np.ndarray]
) -> float:
    """Return the mean PSNR of the best of some denoisers."""
    return max(float(np.mean([psnr(a, f(b)) for a, b in zip(clean, noisy)])) for f in denoisers)


def blur(sigma: float) -> Denoiser:
    return lambda image: cv2.GaussianBlur(image, (0, 0), sigma)


def nlm(strength: float) -> Denoiser:
    def of(image: np.ndarray) -> np.ndarray:
        levels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        return cv2.fastNlMeansDenoising(levels, None, strength).astype(np.float32)

    return of


def by_prior(prior: UNet, t: int, alpha_bar: float) -> Denoiser:
    """Return the denoiser of timestep t of a prior of luminance."""

    def of(image: np.ndarray) -> np.ndarray:
        x_t = torch.from_numpy(image / 127.5 - 1.0).float()[None, None] * alpha_bar**0.5
        return (denoise(prior, x_t, t)[0, 0].numpy() + 1.0) * 127.5

    return of


def crop(plane: np.ndarray) -> np.ndarray:
    """Return the centre of the halved plane, float32."""
    half = cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    top, left = ((length - min(SIDE, length)) // 2 for length in half.shape)
    return half[top : top + SIDE, left : left + SIDE].astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> None:
    sets = (*VALIDATION_SETS, "m3fd")
    parser = make_parser(__doc__, "data sets limit threads", sets=sets, limit=8, threads=1)
    parser.add_argument("--prior", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument("--timesteps", nargs="+", type=int, default=(20, 50, 100))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    machine_facts(options, "sets", "limit")
    planes: dict[str, list[np.ndarray]] = {"visible": [], "thermal": []}
    for name in options.sets:
        for pair in map(as_seen, read_pairs(options.data, name, options.limit, True)):
            planes["visible"].append(crop(pair.luma))
            planes["thermal"].append(crop(pair.ir))
    priors = {path.stem: load_network("ddfm", path) for path in options.prior}
    random = np.random.default_rng(0)
    columns: list[str] = []
    rows: dict[str, list[float]] = {}
    for t in options.timesteps:
        alpha_bar = float(diffusion.linear_schedule().alphas_bar[t])
        sigma = 127.5 * (1.0 / alpha_bar - 1.0) ** 0.5
        for kind, clean in planes.items():
            noisy = [c + random.normal(0.0, sigma, c.shape).astype(np.float32) for c in clean]
            candidates: dict[str, list[Denoiser]] = {
                "noisy": [lambda image: image],
                "best Gaussian blur": [blur(s) for s in BLURS],
                "best non-local means": [nlm(k * sigma) for k in NLM_STRENGTHS],
                **{k: [by_prior(prior, t, alpha_bar)] for k, prior in priors.items()},
            }
            columns.append(f"{kind}, t = {t} (deviation {sigma:.0f})")
            for name, denoisers in candidates.items():
                rows.setdefault(name, []).append(best(denoisers, clean, noisy))
    print(f"\n**{len(planes['visible'])} crops of each kind, PSNR in dB**\n")
    print(markdown_table(columns, rows, ".2f"))


if __name__ == "__main__":
    main()
