"""Batch norm over the batches of all processes, so that two halves train like the whole.

PyTorch's SyncBatchNorm works on GPUs only; this one takes over on CPUs, where training on
several machines, and the test of it, would otherwise see other statistics.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn as nn
from lightning.pytorch.plugins import LayerSync


class _SumOverProcesses(torch.autograd.Function):
    """All-reduce whose gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """`BatchNorm2d` with the statistics of all processes, which must have equal batches."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        count = x.numel() // x.shape[1] * dist.get_world_size()
        x = x.float()
        sums = torch.cat([x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])
        mean, square = (_SumOverProcesses.apply(sums) / count).chunk(2)
        variance = (square - mean.square()).clamp_min(0.0)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        # The formula with given statistics; gradients flow into them.
        shape = (1, -1, 1, 1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return x * scale.view(shape) + (self.bias - mean * scale).view(shape)


class SyncedNorm(LayerSync):
    """Lightning's hook: exchanges batch norms before processes are joined."""

    def apply(self, model: nn.Module) -> nn.Module:
        if any(p.is_cuda for p in model.parameters()):
            return nn.SyncBatchNorm.convert_sync_batchnorm(model)
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                # The same parameters and buffers under the same names, another forward.
                module.__class__ = SyncedBatchNorm2d
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for module in model.modules():
            if type(module) is SyncedBatchNorm2d:
                module.__class__ = nn.BatchNorm2d
        return model
