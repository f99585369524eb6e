"""The student with uint8 pixels as input and output, for the export and the torch backend.

The colour image stays H x W x 3: luminance is a weighted sum over the last axis, and its change is
added to all three channels, so that no plane is transposed.
"""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F

from irvis_fusion_core.errors import ConfigurationError
from irvis_fusion_core.network.student import LUMA_WEIGHTS, MULTIPLE, Student


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
        if vis_order not in ("rgb", "bgr"):
            raise ConfigurationError(f"expected vis_order 'rgb' or 'bgr', found {vis_order!r}")
        self.student, self.vis_order, self.fixed_size = student, vis_order, fixed_size
        weights = LUMA_WEIGHTS if vis_order == "rgb" else LUMA_WEIGHTS[::-1]
        self.register_buffer("luma", torch.tensor(weights).view(3, 1) / 255.0, persistent=False)

    def forward(self, ir: torch.Tensor, vis: torch.Tensor) -> torch.Tensor:
        height, width = (ir.shape[1], ir.shape[2]) if self.fixed_size is None else self.fixed_size
        vis = vis.float()
        y = torch.matmul(vis, self.luma).permute(0, 3, 1, 2)
        ir = ir.float().permute(0, 3, 1, 2) * (1.0 / 255.0)
        bottom, right = (-height) % MULTIPLE, (-width) % MULTIPLE
        if self.fixed_size is None or bottom or right:
            ir = F.pad(ir, (0, right, 0, bottom), mode="replicate")
            y = F.pad(y, (0, right, 0, bottom), mode="replicate")
        change, _ = self.student.luminance_change(ir, y)
        if self.fixed_size is None or bottom or right:
            change = change[:, :, :height, :width]
        change = change.permute(0, 2, 3, 1) * 255.0
        return (vis + change).round().clamp(0.0, 255.0).to(torch.uint8)
