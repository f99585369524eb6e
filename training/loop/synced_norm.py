"""Batch norm over the batches of all processes, so that two halves train like the whole.

On GPUs this is Lightning's ``sync_batchnorm``. PyTorch's SyncBatchNorm refuses CPU tensors, so
training in several processes on CPUs has a batch norm of its own here.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from lightning.pytorch.plugins import TorchSyncBatchNorm
from torch import nn
from torch.distributed.nn.functional import all_reduce


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """`BatchNorm2d` with the statistics of all processes, which must have equal batches."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        x = x.float()
        sums = torch.cat([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])
        mean, square = (all_reduce(sums) / count).chunk(2)
        variance = (square - mean.square()).clamp_min(0.0)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        # The formula with given statistics; gradients flow into them.
        shape = (1, -1, 1, 1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return x * scale.view(shape) + (self.bias - mean * scale).view(shape)


class SyncedNorm(TorchSyncBatchNorm):
    """Lightning's plugin behind ``sync_batchnorm``, which works on CPUs too."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Exchange the batch norms before the processes are joined."""
        if any(p.is_cuda for p in model.parameters()):
            return super().apply(model)
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                # The same parameters and buffers under the same names, another forward.
                module.__class__ = SyncedBatchNorm2d
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for module in model.modules():
            if type(module) is SyncedBatchNorm2d:
                module.__class__ = nn.BatchNorm2d
        return super().revert(model)
