"""Parameters, FLOPs, time and memory of a network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn

from irvis_fusion_core.errors import ConfigurationError, EngineUnavailableError


def count_macs(model: nn.Module, inputs: Sequence[torch.Tensor]) -> int:
    """Count the multiply-accumulates of convolutions and linear layers in one forward pass.

    Element-wise work does not count, as in papers.
    """
    total = [0]

    def count(module: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        weight = module.weight
        places = output.numel() // weight.shape[0]  # one filter application per place
        if isinstance(module, nn.ConvTranspose2d):
            places = given[0].numel() // weight.shape[0]
        total[0] += places * weight.numel()

    counted = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    training = model.training
    model.eval()
    _run_hooked(model, inputs, [m for m in model.modules() if isinstance(m, counted)], count)
    model.train(training)
    return total[0]


def _run_hooked(
    model: nn.Module, inputs: Sequence[torch.Tensor], modules: list[nn.Module], hook: Callable
) -> None:
    """Run one forward pass, and call `hook(module, inputs, output)` for these modules."""
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()


def analyze_model(
    model: nn.Module,
    input_size: Sequence[int] = (1, 3, 512, 512),
    device: str = "cpu",
    repeats: int = 10,
    verbose: bool = True,
) -> dict[str, float]:
    """Measure a student (any module that takes ir and vis of `input_size`).

    Args:
        input_size: (batch, channels, height, width) of each of the two inputs.
        device: `cpu` or `cuda`.

    Returns:
        `parameters`, `flops` (2 x multiply-accumulates), `latency_ms` (median of `repeats`
        after warm-up), `memory_mb`: on CUDA the peak of one pass; on the CPU the weights and the
        largest sum of one layer's input and output, a lower bound.

    Raises:
        ConfigurationError: `input_size` has not four positive numbers.
        EngineUnavailableError: CUDA is asked for and not there.
    """
    if len(input_size) != 4 or min(input_size) < 1:
        raise ConfigurationError(
            f"expected input_size (batch, channels, height, width), found {tuple(input_size)}"
        )
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EngineUnavailableError(
            "device 'cuda' was asked for, but torch sees no GPU; pass device='cpu'"
        )
    training = model.training
    model = model.to(device).eval()
    inputs = [torch.rand(*input_size, device=device) for _ in range(2)]
    parameters = sum(p.numel() for p in model.parameters())
    result = {
        "parameters": float(parameters),
        "flops": 2.0 * count_macs(model, inputs),
        "latency_ms": _median_latency_ms(model, inputs, repeats),
        "memory_mb": _memory_mb(model, inputs),
    }
    model.train(training)
    if verbose:
        print(f"Total parameters: {parameters / 1e6:.3f}M")
        print(f"FLOPs: {result['flops'] / 1e9:.2f}G")
        print(f"Inference time: {result['latency_ms']:.2f}ms")
        print(f"Memory: {result['memory_mb']:.1f} MB")
    return result


def _median_latency_ms(model: nn.Module, inputs: list[torch.Tensor], repeats: int) -> float:
    cuda = inputs[0].is_cuda
    times = []
    with torch.no_grad():
        for run in range(repeats + 2):
            started = time.perf_counter()
            model(*inputs)
            if cuda:
                torch.cuda.synchronize()
            if run >= 2:
                times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def _memory_mb(model: nn.Module, inputs: list[torch.Tensor]) -> float:
    if inputs[0].is_cuda:
        torch.cuda.reset_peak_memory_stats()
        with torch.no_grad():
            model(*inputs)
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / 2**20
    largest = [0]

    def look(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        tensors = [t for t in (*given, output) if isinstance(t, torch.Tensor)]
        largest[0] = max(largest[0], sum(t.numel() * t.element_size() for t in tensors))

    _run_hooked(model, inputs, [m for m in model.modules() if not list(m.children())], look)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return (weights + largest[0]) / 2**20
