"""VIF, Qabf, SSIM and MS-SSIM: how much a fused image keeps of its sources.

`vif`, `qabf` and `ms_ssim` take images as `metrics.table` does, the others planes: float64 HxW of
one size, grey levels 0..255.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from irvis_fusion_core.errors import FrameError
from irvis_fusion_core.metrics.planes import planes

# Xydeas and Petrovic, "Objective image fusion performance measure", Electronics Letters 2000.
_STRENGTH_GAIN, _STRENGTH_SLOPE, _STRENGTH_CENTRE = 0.9994, -15.0, 0.5
_ANGLE_GAIN, _ANGLE_SLOPE, _ANGLE_CENTRE = 0.9879, -22.0, 0.8

# Sheikh and Bovik, "Image information and visual quality", TIP 2006, pixel-domain form.
_VIF_NOISE_VARIANCE = 2.0
_VIF_EPSILON = 1e-10
VIF_LEAST_SIDE = 41

# Wang, Simoncelli and Bovik, "Multiscale structural similarity", Asilomar 2003.
MS_SSIM_LEAST_SIDE = 176
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def vif(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Pixel-domain visual information fidelity against IR plus against VIS, four scales.

    Windows of 17, 9, 5, 3 pixels without padding, so each side needs at least 41 pixels.
    """
    f, a, b = planes(fused, ir, vis)
    if min(f.shape) < VIF_LEAST_SIDE:
        raise FrameError(f"VIF needs at least 41x41 pixels for its four scales, found {f.shape}")
    gained, available = np.zeros(2), np.zeros(2)
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        kernel = cv2.getGaussianKernel(size, size / 5.0, cv2.CV_64F)
        if scale:
            f, a, b = (np.ascontiguousarray(_valid(p, kernel)[::2, ::2]) for p in (f, a, b))
        of_f = _moments(f, kernel)
        for index, source in enumerate((a, b)):
            _, _, var_f, var_s, covariance = _pair_moments(f, of_f, source, kernel)
            var_f, var_s = np.maximum(var_f, 0.0), np.maximum(var_s, 0.0)
            kept, own = _vif_terms(var_s, var_f, covariance)
            gained[index] += kept
            available[index] += own
    # A source without structure has nothing to lose.
    ratio = np.divide(gained, available, out=np.ones(2), where=available > 0)
    return float(ratio.sum())


def _valid(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the separable filter's result where the window lies inside the image."""
    half = kernel.shape[0] // 2
    full = cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return full[half : full.shape[0] - half, half : full.shape[1] - half]


def _vif_terms(
    var_source: np.ndarray, var_fused: np.ndarray, covariance: np.ndarray
) -> tuple[float, float]:
    """Return the information that the fused image keeps of one source, and the source's own."""
    gain = covariance / (var_source + _VIF_EPSILON)
    # Missing and inverted structure counts as distortion.
    lost = (var_source < _VIF_EPSILON) | (var_fused < _VIF_EPSILON) | (gain < 0)
    gain[lost] = 0.0
    noise = np.maximum(var_fused - gain * covariance, _VIF_EPSILON)
    kept = np.log1p(gain * gain * var_source / (noise + _VIF_NOISE_VARIANCE)).sum()
    return float(kept), float(np.log1p(var_source / _VIF_NOISE_VARIANCE).sum())


def qabf(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Edge strength and orientation kept of both sources, weighted by source strength, 0..1.

    Sobel with zeros outside the image, as published (replicated borders give other values).
    """
    edges_f, *sources = (edges(plane) for plane in planes(fused, ir, vis))
    weight = sum(source[0].sum() for source in sources)
    kept = sum((edge_kept(source, edges_f) * source[0]).sum() for source in sources)
    return float(kept / weight) if weight else 0.0


def edges(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Sobel strength and orientation, -pi/2..pi/2 (pi/2 where the x part is zero)."""
    x = cv2.Sobel(plane, -1, 1, 0, ksize=3, borderType=cv2.BORDER_CONSTANT)
    y = cv2.Sobel(plane, -1, 0, 1, ksize=3, borderType=cv2.BORDER_CONSTANT)
    flat = x == 0
    x[flat] = 1.0
    angle = np.arctan(y / x)
    angle[flat] = np.pi / 2.0
    x[flat] = 0.0
    return np.sqrt(x * x + y * y), angle


def edge_kept(
    source: tuple[np.ndarray, np.ndarray], fused: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    larger = np.maximum(source[0], fused[0])
    ratio = np.minimum(source[0], fused[0]) / np.maximum(larger, 1e-300)
    # Where both are equal the published code puts the strength itself in place of the ratio 1:
    # it saturates the sigmoid (0.9994 instead of 0.9988). Kept, for comparable tables.
    ratio = np.where(source[0] == fused[0], source[0], ratio)
    likeness = 1.0 - np.abs(source[1] - fused[1]) / (np.pi / 2.0)
    strength = 1.0 + np.exp(_STRENGTH_SLOPE * (ratio - _STRENGTH_CENTRE))
    angle = 1.0 + np.exp(_ANGLE_SLOPE * (likeness - _ANGLE_CENTRE))
    return (_STRENGTH_GAIN * _ANGLE_GAIN) / (strength * angle)


def ssim_mean(f: np.ndarray, a: np.ndarray, b: np.ndarray, data_range: float) -> float:
    """Return the mean of SSIM(f, a) and SSIM(f, b), -1..1, for a dynamic range."""
    return ssim_means(f, a, b, [data_range])[0]


def ssim_means(
    f: np.ndarray, a: np.ndarray, b: np.ndarray, data_ranges: Sequence[float]
) -> list[float]:
    """As `ssim_mean` for several dynamic ranges, which share the window sums.

    Wang et al., TIP 2004: 7x7 uniform window, sample (n-1) covariance, border left out.
    """
    kernel, unbiased = np.full((7, 1), 1.0 / 7.0), 49.0 / 48.0
    of_f = _moments(f, kernel, unbiased)
    sums = [0.0] * len(data_ranges)
    for source in (a, b):
        moments = _pair_moments(f, of_f, source, kernel, unbiased)
        for index, data_range in enumerate(data_ranges):
            luma, structure = _ssim_maps(moments, data_range)
            sums[index] += float(np.mean(luma * structure))
    return [total / 2.0 for total in sums]


def _moments(plane: np.ndarray, kernel: np.ndarray, unbiased: float = 1.0) -> list[np.ndarray]:
    """Return local means and variances."""
    mean = _valid(plane, kernel)
    return [mean, unbiased * (_valid(plane * plane, kernel) - mean * mean)]


def _pair_moments(
    f: np.ndarray, of_f: list[np.ndarray], s: np.ndarray, kernel: np.ndarray, unbiased: float = 1.0
) -> list[np.ndarray]:
    """Return both means, both variances, and the covariance; `of_f` are the moments of f."""
    of_s = _moments(s, kernel, unbiased)
    covariance = unbiased * (_valid(f * s, kernel) - of_f[0] * of_s[0])
    return [of_f[0], of_s[0], of_f[1], of_s[1], covariance]


def _ssim_maps(moments: list[np.ndarray], span: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the luminance map and the contrast-structure map of SSIM from `_pair_moments`."""
    f, s, var_f, var_s, cov = moments
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    luma = (2.0 * (f * s) + c1) / (f * f + s * s + c1)
    return luma, (2.0 * cov + c2) / (var_f + var_s + c2)


def ms_ssim(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Five-scale SSIM, mean over both sources, range 255; each side needs 176 pixels.

    11x11 Gaussian of sigma 1.5, halving by 2x2 means. A negative scale (inverted structure)
    counts as zero: it has no fractional power.
    """
    f, a, b = planes(fused, ir, vis)
    if min(f.shape) < MS_SSIM_LEAST_SIDE:
        raise FrameError(f"MS-SSIM needs at least 176x176 pixels for five scales, found {f.shape}")
    kernel = cv2.getGaussianKernel(11, 1.5, cv2.CV_64F)
    products = np.ones(2)
    for scale, weight in enumerate(_MS_SSIM_WEIGHTS):
        if scale:
            half = (f.shape[1] // 2, f.shape[0] // 2)
            even = [p[: 2 * half[1], : 2 * half[0]] for p in (f, a, b)]
            f, a, b = (cv2.resize(p, half, interpolation=cv2.INTER_AREA) for p in even)
        of_f = _moments(f, kernel)
        last = scale == len(_MS_SSIM_WEIGHTS) - 1
        for index, source in enumerate((a, b)):
            luma, structure = _ssim_maps(_pair_moments(f, of_f, source, kernel), 255.0)
            value = np.mean(luma * structure) if last else np.mean(structure)
            products[index] *= max(float(value), 0.0) ** weight
    return float(products.mean())
