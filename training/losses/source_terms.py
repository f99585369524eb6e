"""Differentiable terms of a fused luminance and its sources, for training without a teacher.

All terms take float tensors N x 1 x H x W in grey levels 0..255 and return one figure for each
image (N), 0 at best: strong edges by day count no more than faint ones by night. They follow
`irvis_fusion_core.metrics`, their reference in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F

from irvis_fusion_core.network.student import LARGEST_CHROMA, luminance

EPSILON = 1e-6
JUMP_STEEPNESS = 4.0  # per grey level, of the sigmoid in the gradient of Qabf's jump
# Data range -> share of SSIM. The range 2 is the published one, which sees faint structure.
SSIM_RANGES = {2.0: 0.75, 255.0: 0.25}
NOISE_FLAT = 1.0  # grey levels a pixel: variation is noise where neither source is steeper
BLOCK_PX = 4  # slopes and warmth are those of means over such blocks: noise averages out there
# Warm is this many grey levels above the mean of the blocks around; the rim is in blocks.
WARM_MARGIN, WARM_AROUND, WARM_RIM = 25.0, 17, 2
DARK = 80.0  # grey levels: in darker blocks the visible image is assumed to show nobody


def separable_filter(x: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """Filter N x 1 x H x W by a 1-D window along both axes, where it lies inside."""
    # On a CPU the gradient of a one-channel convolution takes ten times longer.
    rows, columns = (_band(length, window, x) for length in x.shape[2:])
    return rows @ x @ columns.transpose(0, 1)


def _band(length: int, window: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return the (length - taps + 1) x length matrix that slides the window along an axis."""
    band = like.new_zeros(length - window.numel() + 1, length)
    for tap, weight in enumerate(window.tolist()):
        band.diagonal(tap).fill_(weight)
    return band


def gaussian_window(size: int, sigma: float) -> torch.Tensor:
    """Return a normalised 1-D Gaussian of `size` taps."""
    x = torch.arange(size, dtype=torch.float32) - (size - 1) / 2.0
    weights = torch.exp(-(x**2) / (2.0 * sigma**2))
    return weights / weights.sum()


def local_statistics(
    x: torch.Tensor, y: torch.Tensor, window: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return local means, variances (not negative) and covariance of two images."""
    stacked = separable_filter(torch.cat([x, y, x * x, y * y, x * y]), window)
    mean_x, mean_y, xx, yy, xy = stacked.chunk(5)
    var_x, var_y = (xx - mean_x**2).clamp_min(0.0), (yy - mean_y**2).clamp_min(0.0)
    return mean_x, mean_y, var_x, var_y, xy - mean_x * mean_y


def ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the SSIM of each image, 7x7 uniform window (Wang et al., TIP 2004)."""
    return ssim_of(local_statistics(x, y, torch.full((7,), 1.0 / 7.0)), 255.0)


def ssim_of(statistics: tuple[torch.Tensor, ...], data_range: float) -> torch.Tensor:
    """Return the SSIM of each image from its `local_statistics`."""
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y, var_x, var_y, cov = statistics
    structure = (2.0 * cov + c2) / (var_x + var_y + c2)
    brightness = (2.0 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (brightness * structure).mean((1, 2, 3))


def vif(fused: torch.Tensor, source: torch.Tensor, noise_variance: float = 2.0) -> torch.Tensor:
    """Return pixel-domain VIF of each image and its source (Sheikh and Bovik, TIP 2006)."""
    kept = offered = fused.new_zeros(fused.shape[0])
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        window = gaussian_window(size, size / 5.0)
        if scale:
            fused, source = (separable_filter(p, window)[:, :, ::2, ::2] for p in (fused, source))
        _, _, var_f, var_s, cov = local_statistics(fused, source, window)
        gain = (cov / (var_s + EPSILON)).clamp_min(0.0)
        noise = (var_f - gain * cov).clamp_min(EPSILON)
        kept = kept + torch.log1p(gain**2 * var_s / (noise + noise_variance)).sum((1, 2, 3))
        offered = offered + torch.log1p(var_s / noise_variance).sum((1, 2, 3))
    return kept / (offered + EPSILON)


def edges(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return Sobel strength and its two components, inside the image."""
    rows = x[:, :, :-2] + 2.0 * x[:, :, 1:-1] + x[:, :, 2:]
    columns = x[..., :-2] + 2.0 * x[..., 1:-1] + x[..., 2:]
    gx = rows[..., 2:] - rows[..., :-2]
    gy = columns[:, :, 2:] - columns[:, :, :-2]
    return torch.sqrt(gx**2 + gy**2 + EPSILON), gx, gy


def edge_kept(source: Sequence[torch.Tensor], fused: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the share of the source's edge strength and orientation kept, per pixel."""
    (strength_s, sx, sy), (strength_f, fx, fy) = source, fused
    ratio = torch.minimum(strength_s, strength_f) / torch.maximum(strength_s, strength_f)
    # Angle between two undirected orientations; `on_one_side` adds arctan's jump.
    cross, dot = sx * fy - sy * fx, sx * fx + sy * fy
    likeness = 1.0 - torch.atan2(cross.abs() + EPSILON, dot.abs() + EPSILON) / (torch.pi / 2.0)
    strength = 0.9994 * torch.sigmoid(15.0 * (ratio - 0.5))
    kept = strength * 0.9879 * torch.sigmoid(22.0 * (likeness - 0.8))
    return kept * on_one_side((sx, sy), (fx, fy), dot)


def on_one_side(
    source: Sequence[torch.Tensor], fused: Sequence[torch.Tensor], dot: torch.Tensor
) -> torch.Tensor:
    """Return 0 where a jump of arctan(gy / gx) lies between two gradients, else 1.

    The published measure loses an edge where gx changes its sign, however small it is; gx = 0
    has the sign of gy. So it keeps horizontal edges that are copied, not nearly copied ones. The
    derivative is that of a sigmoid. Takes the gradients (gx, gy) and their scalar product.
    """
    (sx, sy), (fx, fy) = source, fused
    side = torch.where(sx == 0.0, sy, sx).sign()
    # Seen along the source's direction: an undirected edge has two.
    along = torch.where(dot < 0.0, -1.0, 1.0)
    agreement = along * (fx + 0.5 * fy.sign()) * side
    soft = torch.sigmoid(JUMP_STEEPNESS * agreement)
    hard = (torch.where(fx == 0.0, fy, fx) * along * side >= 0.0).to(soft.dtype)
    return hard + soft - soft.detach()


def qabf(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return the share of the edges of both sources that each image keeps, by strength."""
    f, a, b = edges(fused), edges(ir), edges(vis)
    kept = edge_kept(a, f) * a[0] + edge_kept(b, f) * b[0]
    return kept.sum((1, 2, 3)) / (a[0] + b[0]).sum((1, 2, 3))


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
    window = torch.full((7,), 1.0 / 7.0)
    total = fused.new_zeros(fused.shape[0])
    for source in (ir, vis):
        found = local_statistics(fused, source, window)
        for data_range, share in SSIM_RANGES.items():
            total = total + share / 2.0 * ssim_of(found, data_range)
    return 1.0 - total


def intensity(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return the distance of blurred brightness from the brighter source's."""
    target = F.avg_pool2d(torch.maximum(ir, vis), 8)
    return (F.avg_pool2d(fused, 8) - target).abs().mean((1, 2, 3)) / 255.0


def noise(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return pixel noise beyond the louder source's where both are flat, in grey levels."""
    louder = torch.maximum(_fine_noise(ir), _fine_noise(vis))
    flat = _is_flat(ir) & _is_flat(vis)
    excess = (_fine_noise(fused) - louder).clamp_min(0.0) * flat
    return excess.sum((1, 2, 3)) / flat.sum((1, 2, 3)).clamp_min(1)


def _fine_noise(x: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of pixel noise in each block (Immerkaer, CVIU 1996)."""
    response = separable_filter(x, torch.tensor([1.0, -2.0, 1.0])).abs()
    response = F.pad(response, (1, 1, 1, 1), mode="replicate")
    return math.sqrt(math.pi / 2.0) / 6.0 * F.avg_pool2d(response, BLOCK_PX)


@torch.no_grad()
def _is_flat(x: torch.Tensor) -> torch.Tensor:
    """Return blocks where no two neighbours differ by a slope above `NOISE_FLAT`."""
    means = F.avg_pool2d(x, BLOCK_PX)
    highest, lowest = F.max_pool2d(means, 3, 1, 1), -F.max_pool2d(-means, 3, 1, 1)
    return highest - lowest < 2.0 * BLOCK_PX * NOISE_FLAT


def warm(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return how far edges of warm objects in the dark are from the thermal ones.

    A share of all edges of both images. Visible texture across a person at night hides it.
    """
    near = F.interpolate(_near_warm(ir, vis), size=ir.shape[2:])[:, :, 1:-1, 1:-1]
    (of_ir, ax, ay), (of_vis, _, _), (_, fx, fy) = edges(ir), edges(vis), edges(fused)
    away = torch.sqrt((fx - ax) ** 2 + (fy - ay) ** 2 + EPSILON)
    return (away * near).sum((1, 2, 3)) / (of_ir + of_vis).sum((1, 2, 3))


@torch.no_grad()
def _near_warm(ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return 1 for blocks that are warm, or at their rim, in dark surroundings; else 0."""
    means = [F.avg_pool2d(p, BLOCK_PX) for p in (ir, vis)]
    pad = WARM_AROUND // 2
    around = [F.avg_pool2d(p, WARM_AROUND, 1, pad, count_include_pad=False) for p in means]
    hot = (means[0] > around[0] + WARM_MARGIN).to(ir.dtype)
    return F.max_pool2d(hot, 2 * WARM_RIM + 1, 1, WARM_RIM) * (around[1] < DARK)


def max_intensity(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return the distance from the brighter source (SeAFusion, Inf. Fusion 2022)."""
    return (fused - torch.maximum(ir, vis)).abs().mean((1, 2, 3)) / 255.0


def max_gradient(fused: torch.Tensor, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return the distance from the stronger source's edges; 1 is from black to white."""
    strongest = torch.maximum(edges(ir)[0], edges(vis)[0])
    return (edges(fused)[0] - strongest).abs().mean((1, 2, 3)) / (4.0 * 255.0)


def colour(chroma: torch.Tensor, fused: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
    """Return how far the fused chroma is from the wanted one.

    Where the visible image is lit, chroma follows luminance: the saturation stays. In the dark it
    is no stronger than in the visible image: thermal light has no colour.

    Args:
        chroma: Fused RGB minus fused luminance before clipping, N x 3 x H x W grey levels.
        fused: Fused luminance, N x 1 x H x W grey levels.
        vis: RGB grey levels.
    """
    with torch.no_grad():
        y = luminance(vis)
        lit, unclipped = ((y - 45.0) / 35.0).clamp(0.0, 1.0), ((250.0 - fused) / 20.0).clamp(0, 1)
        brighter = (fused / y.clamp_min(20.0)).clamp_max(LARGEST_CHROMA)
        darker = (y / fused.clamp_min(1.0)).clamp_max(1.0)
        wanted = (vis - y) * (lit * brighter + (1.0 - lit) * darker)
        weight = lit * unclipped + 1.0 - lit
    return ((chroma - wanted).abs() * weight).mean() / 40.0


SOURCE_TERMS: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "ssim": structure,
    "qabf": lambda fused, ir, vis: 1.0 - qabf(fused, ir, vis),
    "vif": lambda fused, ir, vis: 1.0 - (vif(fused, ir) + vif(fused, vis)) / 2.0,
    "scd": lambda fused, ir, vis: 1.0 - scd(fused, ir, vis) / 2.0,
    "intensity": intensity,
    "noise": noise,
    "warm": warm,
    "max": max_intensity,
    "grad": max_gradient,
}
"""Terms on luminance by name, each 0 at its best."""

# How far below the pixel-wise maximum's a term is when its image leads clearly.
MARGINS = {"ssim": 0.005, "qabf": 0.05, "vif": 0.03, "scd": 0.03}


def source_losses(
    fused: torch.Tensor,
    ir: torch.Tensor,
    vis: torch.Tensor,
    names: Iterable[str] | None = None,
    lead_share: float = 1.0,
    factors: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Return the mean over the images of source terms by name.

    Args:
        names: All of `SOURCE_TERMS` by default.
        lead_share: Weight of an image's lead on the pixel-wise maximum beyond `MARGINS`. Below 1
            the terms in which an image is short come first.
        factors: Name -> weight of each image (N) in that term; 1 where missing.
    """
    found: dict[str, torch.Tensor] = {}
    for name in SOURCE_TERMS if names is None else names:
        term = SOURCE_TERMS[name]
        each = term(fused, ir, vis)
        if lead_share < 1.0 and name in MARGINS:
            with torch.no_grad():
                ahead = term(torch.maximum(ir, vis), ir, vis) - MARGINS[name]
            each = each + (1.0 - lead_share) * (ahead - each).clamp_min(0.0)
        if factors is not None and name in factors:
            each = each * factors[name].to(each)
        found[name] = each.mean()
    return found
