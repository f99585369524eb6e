"""Differentiable terms of a fused luminance and its sources, for training without a teacher.

All terms take float tensors N x 1 x H x W in grey levels 0..255 and return one figure for each
image (N), 0 at best: strong edges by day count no more than faint ones by night. SSIM, Qabf, VIF
and SCD follow `irvis_fusion_core.metrics`, their reference in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from irvis_fusion_core.network.student import LARGEST_CHROMA, luminance
from training.losses.filters import gaussian_window, separable_filter, smooth

EPSILON = 1e-6
LEAST_VIF = 41  # side of the smallest image that has all scales of VIF, pixels
JUMP_STEEPNESS = 4.0  # per grey level, of the sigmoid in the gradient of Qabf's jump
# Data range -> share of SSIM. The range 2 is the published one, which sees faint structure.
SSIM_RANGES = {2.0: 0.75, 255.0: 0.25}
LEAST_FLAT = 0.3  # share of the image: noise of smaller flat regions counts less
LEAST_SKY, LEAST_HOT = 0.015, 0.005  # shares of the pixels: less sky or hot colour counts less
EDGES_BELOW_MAXIMUM = 0.04  # Qabf counts where it is further below the pixel-wise maximum's


def local_statistics(
    x: torch.Tensor, others: Sequence[torch.Tensor], window: torch.Tensor
) -> list[tuple[torch.Tensor, ...]]:
    """Return local means, variances (not negative) and covariance of an image and each other one.

    What belongs to one image alone is filtered once, and without a gradient where it has none.
    """
    of_x = separable_filter(torch.cat([x, x * x, *(x * y for y in others)]), window)
    mean_x, xx, *products = of_x.chunk(2 + len(others))
    of_others = separable_filter(torch.cat([*others, *(y * y for y in others)]), window)
    planes = of_others.chunk(2 * len(others))
    var_x = F.relu(xx - mean_x**2)
    found = []
    for mean_y, yy, xy in zip(planes, planes[len(others) :], products):
        var_y = F.relu(yy - mean_y**2)
        found.append((mean_x, mean_y, var_x, var_y, xy - mean_x * mean_y))
    return found


def ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the SSIM of each image, 7x7 uniform window (Wang et al., TIP 2004)."""
    return ssim_of(local_statistics(x, [y], torch.full((7,), 1.0 / 7.0))[0], 255.0)


def ssim_of(statistics: tuple[torch.Tensor, ...], data_range: float) -> torch.Tensor:
    """Return the SSIM of each image from its `local_statistics`."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y, var_x, var_y, cov = statistics
    structure = (2.0 * cov + c2) / (var_x + var_y + c2)
    brightness = (2.0 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (brightness * structure).mean((1, 2, 3))


def vif(fused: torch.Tensor, *sources: torch.Tensor, noise_variance: float = 2.0) -> torch.Tensor:
    """Return pixel-domain VIF of each image, the mean over its sources (Sheikh, TIP 2006)."""
    kept = fused.new_zeros(len(sources), len(fused))
    offered = torch.zeros_like(kept)
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        window = gaussian_window(size, size / 5.0)
        if scale:
            halved = [separable_filter(p, window)[:, :, ::2, ::2] for p in (fused, *sources)]
            fused, sources = halved[0], tuple(halved[1:])
        found = local_statistics(fused, sources, window)
        _, _, var_f, var_s, cov = (torch.stack(parts) for parts in zip(*found))
        gain = F.relu(cov / (var_s + EPSILON))
        noise = F.relu(var_f - gain * cov - EPSILON) + EPSILON
        kept = kept + torch.log1p(gain**2 * var_s / (noise + noise_variance)).sum((2, 3, 4))
        offered = offered + torch.log1p(var_s / noise_variance).sum((2, 3, 4))
    return (kept / (offered + EPSILON)).mean(0)


def edges(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return Sobel strength and its two components, inside the image."""
    rows = x[:, :, :-2] + 2.0 * x[:, :, 1:-1] + x[:, :, 2:]
    columns = x[..., :-2] + 2.0 * x[..., 1:-1] + x[..., 2:]
    gx = rows[..., 2:] - rows[..., :-2]
    gy = columns[:, :, 2:] - columns[:, :, :-2]
    return torch.sqrt(gx**2 + gy**2 + EPSILON), gx, gy


def edge_kept(source: Sequence[torch.Tensor], fused: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the share of the source's edge strength and orientation kept, per pixel."""
    return _EdgeKept.apply(*fused[1:], *source)


class _EdgeKept(torch.autograd.Function):
    """Qabf of each pixel, from the gradient of the fused image and the `edges` of the source.

    The published measure loses an edge where arctan(gy / gx) jumps: where gx changes its sign,
    however small it is; gx = 0 has the sign of gy. So it keeps horizontal edges that are copied,
    not nearly copied ones. The derivative of the jump is that of a sigmoid.

    The gradient is written out: PyTorch's, of minima and branches, takes three times longer.
    """

    @staticmethod
    def forward(ctx: Any, fx: torch.Tensor, fy: torch.Tensor, *source: torch.Tensor) -> Any:
        strength_s, sx, sy = source
        strength_f = torch.sqrt(fx**2 + fy**2 + EPSILON)
        ratio = torch.minimum(strength_s, strength_f) / torch.maximum(strength_s, strength_f)
        # Angle between two undirected orientations.
        cross, dot = sx * fy - sy * fx, sx * fx + sy * fy
        away, along = cross.abs() + EPSILON, dot.abs() + EPSILON
        likeness = 1.0 - torch.atan2(away, along) / (torch.pi / 2.0)
        strong, alike = torch.sigmoid(15.0 * (ratio - 0.5)), torch.sigmoid(22.0 * (likeness - 0.8))
        kept = 0.9994 * 0.9879 * strong * alike
        # Seen along the source's direction: an undirected edge has two.
        side = torch.where(sx == 0.0, sy, sx).sign() * (1.0 - 2.0 * (dot < 0.0))
        same_side = torch.where(fx == 0.0, fy, fx) * side >= 0.0
        if any(ctx.needs_input_grad[:2]):
            by_strength = 15.0 * (1.0 - strong) * (strength_s - strength_f).sign() * ratio
            by_strength = by_strength / strength_f**2
            by_angle = 22.0 * (1.0 - alike) * (2.0 / torch.pi) / (away**2 + along**2)
            # Towards the source's direction, and across it.
            nearer, farther = by_angle * away * dot.sign(), by_angle * along * cross.sign()
            soft = torch.sigmoid(JUMP_STEEPNESS * (fx + 0.5 * fy.sign()) * side)
            crossing = JUMP_STEEPNESS * soft * (1.0 - soft) * side
            kept_here = kept * same_side
            ctx.save_for_backward(
                kept_here * (by_strength * fx + nearer * sx + farther * sy) + kept * crossing,
                kept_here * (by_strength * fy + nearer * sy - farther * sx),
            )
        return kept * same_side

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        by_x, by_y = ctx.saved_tensors
        return gradient * by_x, gradient * by_y, None, None, None


def qabf(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return the share of the edges of both sources that each image keeps, by strength."""
    return qabf_of(edges(fused), edges(ir), edges(vis))


def qabf_of(
    fused: Sequence[torch.Tensor], ir: Sequence[torch.Tensor], vis: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return `qabf` from the `edges` of the images."""
    kept = edge_kept(ir, fused) * ir[0] + edge_kept(vis, fused) * vis[0]
    return kept.sum((1, 2, 3)) / (ir[0] + vis[0]).sum((1, 2, 3))


def correlation(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the Pearson correlation of each pair of images."""
    x, y = (p - p.mean((1, 2, 3), keepdim=True) for p in (x, y))
    scale = torch.sqrt((x * x).mean((1, 2, 3)) * (y * y).mean((1, 2, 3)) + EPSILON)
    return (x * y).mean((1, 2, 3)) / scale


def scd(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return the sum of the correlations of differences (Aslantas, Bendes, AEU 2015), -2..2."""
    return correlation(ir, fused - vis) + correlation(vis, fused - ir)


def structure(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return 1 - SSIM to both sources, with the shares of `SSIM_RANGES`."""
    total = fused.new_zeros(fused.shape[0])
    for found in local_statistics(fused, [ir, vis], torch.full((7,), 1.0 / 7.0)):
        for data_range, share in SSIM_RANGES.items():
            total = total + share / 2.0 * ssim_of(found, data_range)
    return 1.0 - total


def edges_lost(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return how far Qabf is below the pixel-wise maximum's less `EDGES_BELOW_MAXIMUM`.

    A hinge: to raise Qabf further, noise would be copied with the edges.
    """
    sources = edges(ir), edges(vis)
    wanted = qabf_of(edges(torch.maximum(ir, vis)), *sources) - EDGES_BELOW_MAXIMUM
    return (wanted - qabf_of(edges(fused), *sources)).clamp_min(0.0)


def base(
    fused: torch.Tensor,
    ir: torch.Tensor,
    vis: torch.Tensor,
    objects: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the distance of the base layer, means of 9x9 pixels, from the wanted one.

    Wanted is the visible base where it is exposed, so that skies stay clean, and the brighter one
    in the dark and in things that are warmer than their surroundings. A base outside both sources
    costs more.

    Args:
        objects: N x 1 x H x W, 0..1: `training.data.object_masks`, where this term does not
            count.
    """
    with torch.no_grad():
        base_ir, base_vis = smooth(ir, 9), smooth(vis, 9)
        low, high = torch.minimum(base_ir, base_vis), torch.maximum(base_ir, base_vis)
        around = smooth(F.avg_pool2d(ir, 8), 13)
        around = F.interpolate(around, size=ir.shape[2:], mode="bilinear")
        warm = ((base_ir - around - 15.0) / 25.0).clamp(0.0, 1.0)
        warm = smooth((3.0 * smooth(warm, 9)).clamp_max(1.0), 9)
        exposed = ((base_vis - 35.0) / 60.0).clamp(0.0, 1.0)
        warm = warm * (1.0 - 0.75 * exposed)
        wanted = warm * high + (1.0 - warm) * (exposed * base_vis + (1.0 - exposed) * high)
        counts = 1.0 if objects is None else 1.0 - objects
    found = smooth(fused, 9)
    outside = F.relu(low - found - 6.0) + F.relu(found - high - 6.0)
    away = (1.0 + warm) * (found - wanted).abs() + 2.0 * outside
    return (counts * away).mean((1, 2, 3)) / 255.0


def noise(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return fine variation beyond the visible image's where both are flat, in grey levels."""
    with torch.no_grad():
        flat = (smooth(fine(vis) ** 2, 9) < 9.0) & (_slow(vis) < 16.0) & (_slow(ir) < 25.0)
        allowed = 1.05 * smooth(fine(vis).abs(), 9)
    excess = F.relu(smooth(fine(fused).abs(), 9) - allowed) * flat
    least = LEAST_FLAT * flat[0].numel()
    return excess.sum((1, 2, 3)) / flat.sum((1, 2, 3)).clamp_min(least)


def fine(x: torch.Tensor) -> torch.Tensor:
    """Return an image minus its means of 5x5 pixels."""
    return x - smooth(x, 5)


def _slow(x: torch.Tensor) -> torch.Tensor:
    """Return the variance of the means of 5x5 pixels, in 15x15 pixels."""
    means = smooth(x, 5)
    return smooth(means * means, 15) - smooth(means, 15) ** 2


def colour(chroma: torch.Tensor, fused: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return how far the fused chroma is from the wanted one.

    Where the visible image is lit, chroma follows luminance: the saturation stays. In the dark it
    is no stronger than in the visible image: thermal light has no colour.

    Args:
        chroma: Fused RGB minus fused luminance before clipping, N x 3 x H x W grey levels.
        fused: Fused luminance, N x 1 x H x W grey levels.
        vis: RGB grey levels.
    """
    wanted, lit, unclipped = _wanted_chroma(fused, vis)
    return ((chroma - wanted).abs() * (lit * unclipped + 1.0 - lit)).mean() / 40.0


def hot_colour(
    chroma: torch.Tensor, fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor
) -> torch.Tensor:
    """Return the same distance of coloured, lit things alone for which thermal is brighter.

    They are few (signs, cars in the sun), and the first whose colour fades.
    """
    wanted, lit, unclipped = _wanted_chroma(fused, vis)
    y = luminance(vis)
    coloured = (vis - y).abs().amax(1, keepdim=True) > 8.0
    hot = lit * unclipped * ((ir - y - 25.0) / 20.0).clamp(0.0, 1.0) * coloured
    away = ((chroma - wanted).abs() * hot).mean(1).sum()
    return away / (hot.sum() + LEAST_HOT * hot.numel()) / 20.0


@torch.no_grad()
def _wanted_chroma(
    fused: torch.Tensor, vis: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the wanted chroma, how lit the visible image is, and where colour has room, 0..1."""
    y = luminance(vis)
    unclipped = ((250.0 - fused) / 20.0).clamp(0.0, 1.0)
    return (vis - y) * wanted_saturation(fused, y), _lit(y), unclipped


def sky_kept(fused: torch.Tensor, vis: torch.Tensor, sky: torch.Tensor) -> torch.Tensor:
    """Return how far a daylight sky is from the visible one, means of 5x5 pixels.

    `noise` ends where the sky has clouds, and `base` allows what lies between both sources, such
    as thermal clouds.

    Args:
        sky: N x 1 x H x W, 0..1 (`training.data.images.sky_mask`), without objects.
    """
    away = sky * (smooth(fused, 5) - smooth(vis, 5)).abs()
    return away.sum() / (sky.sum() + LEAST_SKY * sky.numel()) / 40.0


def wanted_saturation(fused: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the factor of the visible chroma where `colour` is 0; grey levels N x 1 x H x W."""
    brighter = (fused / y.clamp_min(20.0)).clamp_max(LARGEST_CHROMA)
    darker = (y / fused.clamp_min(1.0)).clamp_max(1.0)
    return _lit(y) * brighter + (1.0 - _lit(y)) * darker


def _lit(y: torch.Tensor) -> torch.Tensor:
    return ((y - 45.0) / 35.0).clamp(0.0, 1.0)


SOURCE_TERMS: dict[str, Callable[..., torch.Tensor]] = {
    "ssim": structure,
    "qabf": edges_lost,
    "vif": lambda fused, ir, vis: 1.0 - vif(fused, ir, vis),
    "scd": lambda fused, ir, vis: 1.0 - scd(fused, ir, vis) / 2.0,
    "base": base,
    "noise": noise,
}
"""Terms on luminance by name, each 0 at its best."""

WINDOWED = ("ssim", "qabf", "vif", "scd")
"""The costly terms, which a random window of each crop estimates."""


def source_losses(
    fused: torch.Tensor,
    ir: torch.Tensor,
    vis: torch.Tensor,
    names: Iterable[str] | None = None,
    objects: torch.Tensor | None = None,
    window: tuple[slice, ...] = (),
) -> dict[str, torch.Tensor]:
    """Return the mean over the images of source terms by name.

    Args:
        names: All of `SOURCE_TERMS` by default.
        objects: See `base`.
        window: What the `WINDOWED` terms see of the images; all by default.
    """
    found: dict[str, torch.Tensor] = {}
    for name in SOURCE_TERMS if names is None else names:
        if name == "base":
            found[name] = base(fused, ir, vis, objects).mean()
            continue
        seen = [x[window] if name in WINDOWED else x for x in (fused, ir, vis)]
        found[name] = SOURCE_TERMS[name](*seen).mean()
    return found
