"""A small network for the dense displacement between a thermal and a visible image.

It follows RAFT (arXiv 2003.12039: a cost volume, then refinement steps that share weights) and
GMFlow (arXiv 2111.13680: a softmax over the matches gives the first field). UMF-CMGR (arXiv
2205.11876), ReCoNet (ECCV 2022) and SuperFusion (JAS 2022) register for fusion by such fields.
XoFTR (arXiv 2404.09692) shows that cross-spectral matches need features of their own.

A cell is 4 x 4 pixels of the network's input, which is the image at half its size: a cell is 1/8
of the image. Costs are compared within 4 cells, 32 pixels of the image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F

CELL = 4
"""Side of a cell in pixels of the input."""
MULTIPLE = 8
"""The sides of an input are multiples of this."""
REACH = 4
"""Largest first displacement, cells."""
_POOLS = (5, 9, 13, 19)
"""Pools of costs, one after the other: means over areas of 5 to 43 coarse cells, fading out."""
_AREA_WEIGHTS = (0.0, 0.0, 0.1, 1.0, 3.0)
"""Of costs in standard deviations: single cells are ambiguous."""
_USUAL_HEIGHT = 10.0  # of the highest match
_LEAST_BEND = 0.05  # of a parabola through three matches
_LARGEST_STEP = 0.75  # of a refinement, cells
_NEAR_POOLS = (5, 9, 13)
"""The same of refinement, in cells."""
_LEAST_CONTRAST = 5.0  # grey levels; a weaker texture is not raised to full contrast


def _block(inputs: int, outputs: int, kernel: int = 3, **options: int) -> nn.Sequential:
    """Convolution, batch norm (folded into it at export), ReLU."""
    padding = options.get("dilation", 1) * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False, **options)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Stages(NamedTuple):
    """The fields of all stages, the last one's confidence (logit), and the first matches.

    `matches` are the logits of the (2 REACH + 1)² displacements of coarse cells, 2 x 2 cells each.
    """

    fields: list[torch.Tensor]
    confidence: torch.Tensor
    matches: torch.Tensor


class DisplacementNetwork(nn.Module):
    """ir, vis (N x 1 x H x W, grey levels) -> displacement in pixels of the input, confidence.

    Args:
        width: Channels of the features.
        match: Channels that are compared.
        steps: Refinement steps.
    """

    def __init__(self, width: int = 24, match: int = 16, steps: int = 2) -> None:
        super().__init__()
        self.width, self.match, self.steps = width, match, steps
        self.encoder = nn.Sequential(
            _block(3, 12),
            _block(12, width, stride=2),
            _block(width, width, groups=3),
            _block(width, width, 1),
        )
        # Centred features: the cosine of unrelated cells is near 0.
        self.project = nn.Sequential(
            nn.Conv2d(width, match, 1, bias=False), nn.BatchNorm2d(match, affine=False)
        )
        # It sees nothing of the displacement itself, or it would learn how often there is none.
        self.refine = nn.Sequential(
            _block(9 * (1 + len(_NEAR_POOLS)) + match + 2, match, 1),
            _block(match, match),
            nn.Conv2d(match, 3, 1),
        )
        nn.init.zeros_(self.refine[-1].weight)
        nn.init.zeros_(self.refine[-1].bias)
        steps_1d = torch.arange(-REACH, REACH + 1.0)
        down, across = torch.meshgrid(steps_1d, steps_1d, indexing="ij")
        table = torch.stack([across.flatten(), down.flatten()])[:, :, None, None]
        self.register_buffer("offsets", table, persistent=False)

    def forward(self, ir: torch.Tensor, vis: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the last field, N x 2 x H/4 x W/4 (x, y), and its confidence, N x 1 x ..., 0..1.

        The visible pixel x lies at x + displacement in the thermal image.
        """
        found = self.stages(ir, vis)
        return found.fields[-1], torch.sigmoid(found.confidence)

    def stages(self, ir: torch.Tensor, vis: torch.Tensor) -> Stages:
        """Return what the losses need."""
        features = self.project(self.encoder(edges(even_contrast(torch.cat([vis, ir])))))
        query, key = features.chunk(2)
        # Cells of the coarse grid compare the mean of 2 x 2 cells at every place.
        wide_query = _unit(F.avg_pool2d(query, 2))
        wide_key = _unit(F.avg_pool2d(F.pad(key, (0, 1, 0, 1), mode="replicate"), 2, 1))
        query, key = _unit(query), _unit(key)
        costs = correlate_far(wide_query, wide_key)
        areas = [_standard(area) for area in _pooled(costs, _POOLS)]
        matches = sum(weight * area for weight, area in zip(_AREA_WEIGHTS, areas))
        field, *evidence = self._peak(matches)
        field, *evidence = (
            F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            for x in (field, *evidence)
        )
        fields, confidence = [field], evidence[0]
        places = cell_places(query)
        for _ in range(self.steps):
            before = field.detach()
            near = _pooled(correlate_near(query, sample(key, places + before)), _NEAR_POOLS)
            change = self.refine(torch.cat([*near, query, *evidence], 1))
            field = before + change[:, :2].clamp(-_LARGEST_STEP, _LARGEST_STEP)
            confidence = change[:, 2:]
            fields.append(field)
        return Stages([each * CELL for each in fields], confidence, matches)

    def _peak(self, matches: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the displacement (cells) of the highest match, its share, and its height.

        Parabolas through it and its neighbours, across and down, give the place between cells. The
        mean of all matches would lie between two peaks, where nothing is.
        """
        height = matches.amax(1, keepdim=True)
        highest = (matches >= height).to(matches.dtype)
        highest = highest / highest.sum(1, keepdim=True)
        at = [(highest * row).sum(1, keepdim=True).detach() for row in self.offsets]
        away = [(row - place).abs() for row, place in zip(self.offsets, at)]
        places = []
        for row, place, other in zip(self.offsets, at, away[::-1]):
            in_line = (other < 0.5).to(matches.dtype)
            before, after = (
                (matches * in_line * ((row - place - step).abs() < 0.5)).sum(1, keepdim=True)
                for step in (-1.0, 1.0)
            )
            bend = (before + after - 2.0 * height).clamp(max=-_LEAST_BEND)
            vertex = (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
            # At the end of the reach a neighbour is missing.
            places.append(place + vertex * (place.abs() < REACH - 0.5))
        around = ((away[0] < 1.5) & (away[1] < 1.5)).to(matches.dtype)
        share = (matches.softmax(1) * around).sum(1, keepdim=True)
        return torch.cat(places, 1), share, height / _USUAL_HEIGHT


def even_contrast(image: torch.Tensor) -> torch.Tensor:
    """Return the image less its local mean, over its local deviation (16 x 16 pixels)."""
    mean, square = (
        F.avg_pool2d(x, 16, 8, 4, count_include_pad=False) for x in (image, image * image)
    )
    gain = (square - mean * mean).clamp_min(0.0).add(_LEAST_CONTRAST**2).rsqrt()
    mean, gain = (
        F.interpolate(x, scale_factor=8.0, mode="bilinear", align_corners=False)
        for x in (mean, gain)
    )
    return (image - mean) * gain


def edges(image: torch.Tensor) -> torch.Tensor:
    """Return edges by strength and doubled angle, N x 3 x H/2 x W/2.

    The sign of contrast drops out. So the features start from what both spectra share (orientation
    correlation: Fitch, Kadyrov, Christmas and Kittler, BMVC 2002).
    """
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4.0
    kernels = torch.stack([sobel, sobel.T])[:, None].to(image)
    across, down = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernels).chunk(2, 1)
    squares = across * across + down * down
    over_strength = (squares + 0.01).rsqrt()
    difference, product = across * across - down * down, 2.0 * across * down
    return F.avg_pool2d(torch.cat([difference, product, squares], 1) * over_strength, 2)


def correlate_far(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return N x (2 REACH + 1)² x H x W: the similarity to keys up to `REACH` cells away.

    `key` is twice as fine as `query`. Beyond the image it counts as 0. Every row of queries is
    multiplied by all keys of its rows, which costs engines less than 81 products of images.
    """
    count, channels, height, width = query.shape
    side, padded = 2 * REACH + 1, 2 * (width + REACH)
    key = F.pad(key, (REACH, REACH, REACH, REACH))
    rows = [key[:, :, y : y + 2 * height : 2] for y in range(side)]
    keys = torch.stack(rows, 3).permute(0, 2, 1, 3, 4)  # N x H x C x side x padded
    keys = keys.reshape(count, height, channels, side * padded)
    products = query.permute(0, 2, 3, 1) @ keys  # N x H x W x (side x padded)
    products = products.reshape(count, height, width, side, padded).permute(0, 3, 1, 2, 4)
    # The wanted keys of a query start 2 columns after those of the one before: rows that are 2
    # longer bring them below each other.
    flat = F.pad(products.reshape(count, side, height, width * padded), (0, 2 * width))
    costs = flat.reshape(count, side, height, width, padded + 2)[..., :side]
    return costs.permute(0, 1, 4, 2, 3).reshape(count, side * side, height, width)


def correlate_near(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return N x 9 x H x W: the similarity to the keys of a cell and its neighbours."""
    height, width = key.shape[2:]
    key = F.pad(key, (1, 1, 1, 1))
    shifts = [key[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    channels = query.shape[1]
    # A convolution sums faster than nine reductions.
    sums = torch.eye(9, device=query.device, dtype=query.dtype).repeat_interleave(channels, 1)
    products = torch.cat([query * shift for shift in shifts], 1)
    return F.conv2d(products, sums[:, :, None, None])


def cell_places(like: torch.Tensor) -> torch.Tensor:
    """Return the columns and rows of cells, 1 x 2 x H x W."""
    ones = torch.ones_like(like[:1, :1])
    return torch.cat([ones.cumsum(3), ones.cumsum(2)], 1) - 1.0


def sample(image: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the image at places (N x 2 x H x W: columns, rows), its border beyond it."""
    height, width = image.shape[2:]
    grid = torch.stack(
        [(places[:, 0] + 0.5) * (2.0 / width) - 1.0, (places[:, 1] + 0.5) * (2.0 / height) - 1.0],
        3,
    )
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def _pooled(costs: torch.Tensor, pools: tuple[int, ...]) -> list[torch.Tensor]:
    """Return costs, and their means over the areas of pools one after the other."""
    areas = [costs]
    for side in pools:
        areas.append(F.avg_pool2d(areas[-1], side, 1, side // 2, count_include_pad=False))
    return areas


def _standard(costs: torch.Tensor) -> torch.Tensor:
    """Return costs less their mean, over their deviation, of the displacements of each cell."""
    costs = costs - costs.mean(1, keepdim=True)
    return costs * (costs.square().mean(1, keepdim=True) + 1e-5).rsqrt()


def _unit(features: torch.Tensor) -> torch.Tensor:
    return features * (features.square().sum(1, keepdim=True) + 1e-4).rsqrt()
