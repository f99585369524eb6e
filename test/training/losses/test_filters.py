"""Sliding windows against PyTorch's convolution and pooling, and their gradients."""

import pytest

torch = pytest.importorskip("torch")

from training.losses.filters import gaussian_window, separable_filter, smooth


def test_separable_filter_is_a_convolution():
    window = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.05])
    x = torch.rand(2, 1, 20, 23, requires_grad=True)
    expected = torch.nn.functional.conv2d(x, torch.outer(window, window)[None, None])
    found = separable_filter(x, window)
    assert torch.allclose(found, expected, atol=1e-6)
    weights = torch.rand_like(found)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-6)


@pytest.mark.parametrize("size", [5, 7, 9, 13])
def test_smooth_is_the_mean_of_the_pixels_that_exist(size):
    x = torch.rand(2, 1, 20, 7, requires_grad=True)
    expected = torch.nn.functional.avg_pool2d(x, size, 1, size // 2, count_include_pad=False)
    found = smooth(x, size)
    assert torch.allclose(found, expected, atol=1e-6)
    weights = torch.rand_like(found)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (found, expected)]
    assert torch.allclose(*gradients, atol=1e-6)


def test_a_window_sums_to_one_and_falls_as_a_gaussian():
    window = gaussian_window(9, 1.5)
    assert float(window.sum()) == pytest.approx(1.0)
    assert float(window[4] / window[7]) == pytest.approx(float(torch.tensor(2.0).exp()), rel=1e-5)
