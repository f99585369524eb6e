"""Terms on the teacher's image against second implementations."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

from training.losses import teacher_terms as teacher_losses


@pytest.fixture
def planes():
    rng = np.random.default_rng(0)
    return [
        cv2.resize(rng.uniform(0, 255, (9, 9)).astype(np.float32), (48, 40)).round()
        for _ in range(2)
    ]


def tensors(*planes):
    return [torch.from_numpy(p)[None, None] for p in planes]


def test_l1_is_numpys(planes):
    a, b = planes
    assert float(teacher_losses.pixel_l1(*tensors(a, b))) == pytest.approx(
        np.abs(a - b).mean() / 255, rel=1e-5
    )
    weight = np.random.default_rng(1).uniform(0, 1, a.shape).astype(np.float32)
    expected = np.average(np.abs(a - b), weights=weight) / 255
    found = teacher_losses.pixel_l1(*tensors(a, b, weight))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_an_uncertain_region_hardly_counts():
    teacher, fused = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    fused[..., 4:] = 255.0
    variance = torch.zeros(1, 1, 8, 8)
    variance[..., 4:] = (40.0 / 255.0) ** 2
    weight = teacher_losses.trust(variance, noise=4.0)
    assert float(weight[0, 0, 0, 0]) == 1.0
    assert float(weight[0, 0, 0, 7]) == pytest.approx(1.0 / 101.0, rel=1e-4)  # 16 / (16 + 1600)
    assert float(teacher_losses.pixel_l1(fused, teacher, weight)) == pytest.approx(
        1 / 102, rel=1e-3
    )


def test_structure_is_scikit_images_ssim(planes):
    metrics = pytest.importorskip("skimage.metrics")
    a, b = planes
    expected = 1.0 - metrics.structural_similarity(
        a, b, win_size=7, data_range=255, use_sample_covariance=False
    )
    assert float(teacher_losses.structure(*tensors(a, b))) == pytest.approx(expected, abs=2e-4)


def test_gradient_is_opencvs_sobel(planes):
    a, b = planes
    total = 0.0
    for direction in ((1, 0), (0, 1)):
        gradients = [cv2.Sobel(p, cv2.CV_32F, *direction)[1:-1, 1:-1] for p in (a, b)]
        total += np.abs(gradients[0] - gradients[1]).mean() / 2
    found = float(teacher_losses.gradient(*tensors(a, b)))
    assert found == pytest.approx(total / (4 * 255), rel=1e-4)


@pytest.mark.parametrize("name", ["pixel_l1", "structure", "gradient"])
def test_terms_are_zero_at_the_teacher_and_lead_there(planes, name):
    term = getattr(teacher_losses, name)
    start, teacher = tensors(*planes)
    assert float(term(teacher, teacher)) == pytest.approx(0.0, abs=1e-5)
    pixels = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([pixels], lr=2.0)
    for _ in range(40):
        optimizer.zero_grad()
        term(pixels, teacher).backward()
        optimizer.step()
    assert float(term(pixels.detach(), teacher)) < 0.7 * float(term(start, teacher))
