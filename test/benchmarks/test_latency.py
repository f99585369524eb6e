"""The yardstick is what it claims to be, and the ratios are against it."""

import numpy as np
import pytest

from irvis_fusion_core.benchmark import example_pair, summarize


def test_the_yardstick_has_the_published_size_and_cost():
    torch = pytest.importorskip("torch")
    from benchmarks.latency.yardstick import PlainStudent
    from irvis_fusion_core.network.analysis import count_macs

    model = PlainStudent()
    parameters = sum(p.numel() for p in model.parameters())
    inputs = [torch.zeros(1, 3, 128, 128)] * 2
    macs = count_macs(model, inputs) * (512 / 128) ** 2  # convolutions: proportional to the area
    # Published: 4.34 M and 23.7 GMAC at 512x512. Never above: that would flatter us.
    assert 0.95 * 4.34e6 <= parameters <= 4.34e6
    assert 0.95 * 23.7e9 <= macs <= 23.7e9


def test_the_yardstick_takes_and_gives_pixels_of_any_size():
    pytest.importorskip("torch")
    from benchmarks.latency.yardstick import PixelYardstick

    ir, vis = example_pair(50, 70)
    fused = PixelYardstick(threads=1).fuse(ir, vis)
    assert fused.dtype == np.uint8 and fused.shape == (50, 70, 3)


def test_ratios_are_medians_against_the_yardstick():
    from benchmarks.latency.__main__ import YARDSTICK, table

    timings = {
        YARDSTICK: summarize([0.9, 1.0, 5.0]),
        ("engine", "nano", "fp32"): summarize([0.02]),
    }
    rows = table(timings)
    assert rows[1][-1] == "1.0x"
    assert rows[2] == ["engine", "nano", "fp32", "20.00", "20.00", "50.0x"]
