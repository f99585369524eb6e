"""How good is a fused picture? The field's metrics on 8-bit luminance, plus two for video.

Every function takes uint8 pictures, HxW or HxWx1 grey or HxWx3 RGB (reduced to BT.601 luminance,
rounded), all of one size, and returns a float. `score_pair` computes a whole row.

Plain names follow the evaluator of the CDDFuse family (CVPR 2023), whose tables most papers
quote, oddities included, so that figures are comparable. `SSIM255`, `MS_SSIM` and `PSNR255` are
the clean forms: mean over both sources, dynamic range 255. Tables of papers with other
evaluators (bits in MI, VIFF for VIF, another SSIM range) cannot be mixed with these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Callable

import cv2
import numpy as np

from irvis_fusion_core import fidelity
from irvis_fusion_core.errors import ConfigurationError, FrameError

# The published SSIM calls scikit-image on floats, whose assumed range is -1..1, that is 2.
_PUBLISHED_SSIM_RANGE = 2.0

# For `alignment`, grey levels a pixel: gradients of sensor noise stay below both.
_GRADIENT_FLOOR = 2.0
_EDGE_NOISE = 4.0


def luminance(picture: np.ndarray) -> np.ndarray:
    """uint8 HxW, HxWx1 or HxWx3 RGB -> uint8 HxW, BT.601 full range, rounded."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        found = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
        raise FrameError(
            f"metrics need uint8 pictures, found {found}; round and clip to 0..255 first, "
            "because unrounded values inflate MI and EN"
        )
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    if picture.ndim == 2 and min(picture.shape) >= 8:
        return picture
    if picture.ndim == 3 and picture.shape[2] == 3 and min(picture.shape[:2]) >= 8:
        return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    raise FrameError(
        f"metrics need HxW, HxWx1 or HxWx3 pictures of at least 8x8, found {picture.shape}"
    )


def _planes(*pictures: np.ndarray) -> list[np.ndarray]:
    """Luminance of each picture as float64 HxW, all of one size."""
    planes = [luminance(picture) for picture in pictures]
    if len({plane.shape for plane in planes}) != 1:
        raise FrameError(
            "metrics need pictures of one size, found "
            + ", ".join(f"{plane.shape[1]}x{plane.shape[0]}" for plane in planes)
            + " (width x height); register IR to the visible picture first"
        )
    return [plane.astype(np.float64) for plane in planes]


# --- one picture ---------------------------------------------------------------------------


def en(fused: np.ndarray) -> float:
    """Entropy of the 256-bin histogram, in bits (0..8)."""
    share = np.bincount(luminance(fused).ravel(), minlength=256) / float(luminance(fused).size)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum() + 0.0)


def sd(fused: np.ndarray) -> float:
    """Population standard deviation, grey levels."""
    return float(luminance(fused).std(dtype=np.float64))


def sf(fused: np.ndarray) -> float:
    """Spatial frequency: root of the summed mean squares of first differences."""
    (f,) = _planes(fused)
    return float(np.sqrt(np.mean(np.diff(f, axis=1) ** 2) + np.mean(np.diff(f, axis=0) ** 2)))


def ag(fused: np.ndarray) -> float:
    """Average gradient from central differences (one-sided at the border)."""
    (f,) = _planes(fused)
    down, right = np.gradient(f)
    return float(np.mean(np.sqrt((right * right + down * down) / 2.0)))


# --- fused against both sources ------------------------------------------------------------


def mi(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Mutual information I(F;IR) + I(F;VIS) in nats."""
    f, a, b = (luminance(p) for p in (fused, ir, vis))
    _planes(f, a, b)
    return _mutual_information(f, a) + _mutual_information(f, b)


def _mutual_information(x: np.ndarray, y: np.ndarray) -> float:
    pair = np.left_shift(x.ravel().astype(np.int32), 8) | y.ravel()
    joint = np.bincount(pair, minlength=65536).reshape(256, 256) / float(x.size)
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def scd(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Sum of the correlations of differences r(IR, F-VIS) + r(VIS, F-IR), -2..2.

    Aslantas and Bendes, AEU 2015. A constant difference correlates with nothing: 0.
    """
    f, a, b = _planes(fused, ir, vis)
    return _correlation(a, f - b) + _correlation(b, f - a)


def cc(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Mean of the correlations of the fused picture with both sources, -1..1."""
    f, a, b = _planes(fused, ir, vis)
    return (_correlation(a, f) + _correlation(b, f)) / 2.0


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x = x - x.mean()
    y = y - y.mean()
    scale = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / scale) if scale > 0 else 0.0


def psnr(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Published convention: peak^2 over the mean of both mean squared errors, dB.

    The peak is the brightest pixel of the fused picture: a dark result scores lower than the
    255 of `psnr255` would say. Infinite where all three pictures are equal, -inf for black.
    """
    return _psnr(fused, ir, vis, float(luminance(fused).max()))


def psnr255(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Clean convention: 255^2 over the mean of both mean squared errors, dB."""
    return _psnr(fused, ir, vis, 255.0)


def _psnr(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray, peak: float) -> float:
    f, a, b = _planes(fused, ir, vis)
    error = (np.mean((f - a) ** 2) + np.mean((f - b) ** 2)) / 2.0
    if error == 0.0:
        return float("inf")
    return float(10.0 * np.log10(peak**2 / error)) if peak > 0.0 else float("-inf")


def vif(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Pixel-domain visual information fidelity against IR plus against VIS (>= 41x41 pixels)."""
    return fidelity.vif(*_planes(fused, ir, vis))


def qabf(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Edge strength and orientation kept of both sources, 0..1."""
    return fidelity.qabf(*_planes(fused, ir, vis))


def ssim(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Published convention: SSIM(F,IR) + SSIM(F,VIS), 0..2, dynamic range taken as 2."""
    f, a, b = _planes(fused, ir, vis)
    return 2.0 * fidelity.ssim_mean(f, a, b, _PUBLISHED_SSIM_RANGE)


def ssim255(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Clean convention: mean of both structural similarities, dynamic range 255."""
    f, a, b = _planes(fused, ir, vis)
    return fidelity.ssim_mean(f, a, b, 255.0)


def ms_ssim(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Five-scale SSIM, mean over both sources, range 255 (>= 176x176 pixels)."""
    return fidelity.ms_ssim(*_planes(fused, ir, vis))


# --- doubled edges and video ---------------------------------------------------------------


def alignment(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> dict[str, float]:
    """Do the edges of the fused picture lie where the sources have theirs?

    * `ir`, `vis`: agreement with that source, 0..1: squared cosine between the gradients,
      weighted by the source's gradient strength (normalised gradient fields, Haber and
      Modersitzki, MICCAI 2006). Contrast and sign of an edge do not matter, its place does.
    * `ghost`: share of the fused gradient that neither source accounts for, 0..1. To measure
      doubled edges, pass the sources as they should lie, not the shifted one that was fused.
    """
    f, a, b = (_gradient(plane) for plane in _planes(fused, ir, vis))
    agreement_ir, agreement_vis = _gradient_agreement(f, a), _gradient_agreement(f, b)
    strength_f = np.hypot(*f)
    unexplained = strength_f * (1.0 - np.maximum(agreement_ir, agreement_vis))
    # Below the noise floor agreement means nothing in either direction.
    strong = strength_f > _EDGE_NOISE
    return {
        "ir": _weighted_mean(agreement_ir, np.hypot(*a)),
        "vis": _weighted_mean(agreement_vis, np.hypot(*b)),
        "ghost": _weighted_mean(unexplained / np.maximum(strength_f, 1e-12), strength_f * strong),
    }


def _gradient(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives in grey levels a pixel at the scale of 1 px (Gaussian, then Sobel)."""
    smooth = cv2.GaussianBlur(plane, (0, 0), 1.0)
    return (
        cv2.Sobel(smooth, -1, 1, 0, ksize=3, scale=0.125),
        cv2.Sobel(smooth, -1, 0, 1, ksize=3, scale=0.125),
    )


def _gradient_agreement(
    f: tuple[np.ndarray, np.ndarray], s: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    product = f[0] * s[0] + f[1] * s[1]
    floor = _GRADIENT_FLOOR**2
    return product**2 / ((f[0] ** 2 + f[1] ** 2 + floor) * (s[0] ** 2 + s[1] ** 2 + floor))


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> float:
    total = weights.sum()
    return float((values * weights).sum() / total) if total > 0 else 0.0


def flicker(
    fused_frames: Sequence[np.ndarray],
    ir_frames: Sequence[np.ndarray],
    vis_frames: Sequence[np.ndarray],
) -> float:
    """Change of the fused video that neither source shows, grey levels a frame (0 is steady).

    Mean over pixels and consecutive frames of |dF| beyond max(|dIR|, |dVIS|), where d is the
    change from one frame to the next after averaging blocks of 8x8 pixels: sensor noise
    averages out there, pumping brightness does not. The mean and the maximum of both sources
    score 0 by construction; a per-frame min-max stretch does not.
    """
    lengths = (len(fused_frames), len(ir_frames), len(vis_frames))
    if len(set(lengths)) != 1 or lengths[0] < 2:
        raise FrameError(
            "flicker needs three sequences of one length, at least two frames, found lengths "
            f"{lengths}"
        )
    excess = []
    before = None
    for frames in zip(fused_frames, ir_frames, vis_frames):
        now = [_block_means(plane) for plane in _planes(*frames)]
        if before is not None:
            if now[0].shape != before[0].shape:
                raise FrameError("flicker needs one picture size throughout the sequence")
            f, a, b = (np.abs(n - o) for n, o in zip(now, before))
            excess.append(np.mean(np.maximum(f - np.maximum(a, b), 0.0)))
        before = now
    return float(np.mean(excess))


def _block_means(plane: np.ndarray, size: int = 8) -> np.ndarray:
    rows, columns = plane.shape[0] // size, plane.shape[1] // size
    whole = plane[: rows * size, : columns * size]
    return whole.reshape(rows, size, columns, size).mean(axis=(1, 3))


# --- tables --------------------------------------------------------------------------------

_METRICS: dict[str, Callable[..., float]] = {
    "EN": lambda f, a, b: en(f),
    "SD": lambda f, a, b: sd(f),
    "SF": lambda f, a, b: sf(f),
    "AG": lambda f, a, b: ag(f),
    "MI": mi,
    "SCD": scd,
    "VIF": vif,
    "Qabf": qabf,
    "SSIM": ssim,
    "SSIM255": ssim255,
    "MS_SSIM": ms_ssim,
    "PSNR": psnr,
    "PSNR255": psnr255,
    "CC": cc,
}
METRIC_NAMES: tuple[str, ...] = tuple(_METRICS)


def score_pair(
    fused: np.ndarray,
    ir: np.ndarray,
    vis: np.ndarray,
    names: Iterable[str] | None = None,
) -> dict[str, float]:
    """One row of the table: metric name -> value, in the order of `names` (default: all)."""
    wanted = METRIC_NAMES if names is None else tuple(names)
    unknown = [name for name in wanted if name not in _METRICS]
    if unknown:
        raise ConfigurationError(
            f"unknown metrics {unknown}; the known ones are {', '.join(METRIC_NAMES)}"
        )
    planes = [luminance(picture) for picture in (fused, ir, vis)]
    return {name: _METRICS[name](*planes) for name in wanted}
