"""The field's metrics of fused images on 8-bit luminance, and two for video.

Every function takes uint8 images, HxW or HxWx1 grey or HxWx3 RGB (reduced to BT.601 luminance,
rounded), all of one size, and returns a float. `score_pair` computes a whole row.

Plain names follow the evaluator of the CDDFuse family (CVPR 2023) in every detail, because most
papers quote its tables. `SSIM255`, `MS_SSIM` and `PSNR255` are the clean forms: mean over both
sources, dynamic range 255. Figures from other evaluators (bits in MI, VIFF for VIF, another SSIM
range) cannot be compared with these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.metrics import fidelity
from irvis_fusion_core.metrics.fidelity import ms_ssim, qabf, vif
from irvis_fusion_core.metrics.planes import luminance, planes
from irvis_fusion_core.metrics.video_metrics import FlickerMeter, alignment, flicker

__all__ = ["METRIC_NAMES", "names_for_size", "score_pair"]
__all__ += ["ag", "cc", "en", "mi", "ms_ssim", "psnr", "psnr255", "qabf", "scd", "sd", "sf"]
__all__ += ["ssim", "ssim255", "vif", "FlickerMeter", "alignment", "flicker", "luminance"]

# The published SSIM calls scikit-image on floats, whose assumed range is -1..1, that is 2.
_PUBLISHED_SSIM_RANGE = 2.0


def en(fused: np.ndarray) -> float:
    """Entropy of the 256-bin histogram, in bits (0..8)."""
    grey = luminance(fused).ravel()
    share = np.bincount(grey) / float(grey.size)
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum() + 0.0)


def sd(fused: np.ndarray) -> float:
    """Population standard deviation, grey levels."""
    return float(luminance(fused).std(dtype=np.float64))


def sf(fused: np.ndarray) -> float:
    """Spatial frequency: root of the summed mean squares of first differences."""
    (f,) = planes(fused)
    return float(np.sqrt(np.mean(np.diff(f, axis=1) ** 2) + np.mean(np.diff(f, axis=0) ** 2)))


def ag(fused: np.ndarray) -> float:
    """Average gradient from central differences (one-sided at the border)."""
    (f,) = planes(fused)
    down, right = np.gradient(f)
    return float(np.mean(np.sqrt((right * right + down * down) / 2.0)))


def mi(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Mutual information I(F;IR) + I(F;VIS) in nats."""
    f, a, b = (luminance(p) for p in (fused, ir, vis))
    planes(f, a, b)
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
    f, a, b = planes(fused, ir, vis)
    return _correlation(a, f - b) + _correlation(b, f - a)


def cc(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Mean of the correlations of the fused image with both sources, -1..1."""
    f, a, b = planes(fused, ir, vis)
    return (_correlation(a, f) + _correlation(b, f)) / 2.0


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / scale) if scale > 0 else 0.0


def psnr(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Published convention: peak^2 over the mean of both mean squared errors, dB.

    The peak is the brightest pixel of the fused image, so that dark results score lower than by
    `psnr255`. Infinite where all three images are equal, -inf for black.
    """
    return _psnr(fused, ir, vis, float(luminance(fused).max()))


def psnr255(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Clean convention: 255^2 over the mean of both mean squared errors, dB."""
    return _psnr(fused, ir, vis, 255.0)


def _psnr(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray, peak: float) -> float:
    f, a, b = planes(fused, ir, vis)
    error = (np.mean((f - a) ** 2) + np.mean((f - b) ** 2)) / 2.0
    if error == 0.0:
        return float("inf")
    return float(10.0 * np.log10(peak**2 / error)) if peak > 0.0 else float("-inf")


def ssim(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Published convention: SSIM(F,IR) + SSIM(F,VIS), 0..2, dynamic range taken as 2."""
    f, a, b = planes(fused, ir, vis)
    return 2.0 * fidelity.ssim_mean(f, a, b, _PUBLISHED_SSIM_RANGE)


def ssim255(fused: np.ndarray, ir: np.ndarray, vis: np.ndarray) -> float:
    """Clean convention: mean of both structural similarities, dynamic range 255."""
    f, a, b = planes(fused, ir, vis)
    return fidelity.ssim_mean(f, a, b, 255.0)


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
_BOTH_SSIM = {"SSIM": _PUBLISHED_SSIM_RANGE, "SSIM255": 255.0}
_LEAST_SIDE = {"VIF": fidelity.VIF_LEAST_SIDE, "MS_SSIM": fidelity.MS_SSIM_LEAST_SIDE}


def score_pair(
    fused: np.ndarray, ir: np.ndarray, vis: np.ndarray, names: Iterable[str] | None = None
) -> dict[str, float]:
    """Return one row of the table: metric name -> value, in the order of `names` (None: all)."""
    wanted = METRIC_NAMES if names is None else tuple(names)
    unknown = [name for name in wanted if name not in _METRICS]
    if unknown:
        raise ConfigurationError(
            f"unknown metrics {unknown}; the known ones are {', '.join(METRIC_NAMES)}"
        )
    grey = [luminance(image) for image in (fused, ir, vis)]
    row = {name: _METRICS[name](*grey) for name in wanted if name not in _BOTH_SSIM}
    shared = [name for name in wanted if name in _BOTH_SSIM]
    if shared:  # both conventions of SSIM share the window sums, the costly part
        ranges = [_BOTH_SSIM[name] for name in shared]
        f, a, b = planes(*grey)
        for name, value in zip(shared, fidelity.ssim_means(f, a, b, ranges)):
            row[name] = 2.0 * value if name == "SSIM" else value
    return {name: row[name] for name in wanted}


def names_for_size(height: int, width: int) -> tuple[str, ...]:
    """Return the metrics for images of this size; small ones have no VIF or MS-SSIM."""
    return tuple(n for n in METRIC_NAMES if min(height, width) >= _LEAST_SIDE.get(n, 8))
