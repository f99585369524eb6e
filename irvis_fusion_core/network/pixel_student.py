"""The student with uint8 pixels as input and output, for the export and the torch backend.

The colour image stays H x W x 3: luminance is a weighted sum over the last axis, and every channel
is scaled and shifted by one plane each, so that no plane of it is transposed.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from irvis_fusion_core.errors import expect_one_of
from irvis_fusion_core.network.student import LUMA_WEIGHTS, MULTIPLE, STEM, Student, chroma_scale


class PixelStudent(nn.Module):
    """A student between pixels.

    `forward(ir, vis)`: uint8 N x H x W x 1 and uint8 N x H x W x 3 -> uint8 N x H x W x 3, in
    `vis_order` (`rgb` or `bgr`). Conversion, scaling, padding, clipping and rounding (half
    to even) are inside; the last mix is fp32 whatever the student's own dtype.

    Args:
        fixed_size: (height, width) for a model of one size, whose padding is a constant, or none
            for multiples of 16. None: any size.
    """

    def __init__(
        self, student: Student, vis_order: str = "rgb", fixed_size: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        expect_one_of("vis_order", vis_order, ("rgb", "bgr"))
        self.student, self.vis_order, self.fixed_size = student, vis_order, fixed_size
        weights = LUMA_WEIGHTS if vis_order == "rgb" else LUMA_WEIGHTS[::-1]
        # Luminance and space-to-depth as one strided convolution.
        identity = torch.eye(STEM * STEM).view(STEM * STEM, 1, STEM, STEM) / 255.0
        luma = identity * torch.tensor(weights).view(1, 3, 1, 1)
        self.register_buffer("ir_blocks", identity, persistent=False)
        self.register_buffer("y_blocks", luma, persistent=False)

    def forward(self, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
        height, width = (ir.shape[1], ir.shape[2]) if self.fixed_size is None else self.fixed_size
        ir, vis = ir.float(), vis.float()
        bottom, right = (-height) % MULTIPLE, (-width) % MULTIPLE
        padded = self.fixed_size is None or bottom or right
        planes = [x.permute(0, 3, 1, 2) for x in (ir, vis)]
        if padded:
            planes = [F.pad(x, (0, right, 0, bottom), mode="replicate") for x in planes]
        blocks = [
            F.conv2d(x, kernel, stride=STEM)
            for x, kernel in zip(planes, (self.ir_blocks, self.y_blocks))
        ]
        y = blocks[1]
        change, chroma, _ = self.student.fuse_blocks(blocks[0], y)
        fused = (y + change).clamp(0.0, 1.0)
        scale = chroma_scale(fused, y, chroma)
        # fused + scale * (vis - y), with one plane for each of the two visible terms.
        planes = [F.pixel_shuffle(x, STEM) for x in (scale, (fused - scale * y) * 255.0)]
        if padded:
            planes = [x[:, :, :height, :width] for x in planes]
        scale, offset = (x.permute(0, 2, 3, 1) for x in planes)
        return (vis * scale + offset).round().clamp(0.0, 255.0).to(torch.uint8)
