"""Schedules, conversions, and samplers against a Gaussian whose exact denoiser is known."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_core.errors import ConfigurationError
from training.teachers import diffusion

MEAN, SPREAD = 0.3, 0.5
SCHEDULE = diffusion.linear_schedule()


def exact_noise(x_t, timesteps):
    """E[noise | x_t] for images whose pixels are N(MEAN, SPREAD^2)."""
    a = float(SCHEDULE.alphas_bar[int(timesteps[0])])
    return (1 - a) ** 0.5 * (x_t - a**0.5 * MEAN) / (a * SPREAD**2 + 1 - a)


def moments_of_ddim(schedule, eta):
    """Mean and deviation that DDIM ends with: each step is affine, so both follow exactly."""
    mean, variance = 0.0, 1.0
    for i in reversed(range(len(schedule))):
        a, b = schedule.alphas_bar[i], schedule.before(i)
        total = a * SPREAD**2 + 1 - a
        # noise = e1 x + e0, image = p1 x + p0
        e1, e0 = (1 - a) ** 0.5 / total, -((1 - a) ** 0.5) * a**0.5 * MEAN / total
        p1, p0 = (1 - (1 - a) ** 0.5 * e1) / a**0.5, -((1 - a) ** 0.5) * e0 / a**0.5
        sigma2 = eta**2 * (1 - b) / (1 - a) * (1 - a / b)
        along = max(1 - b - sigma2, 0.0) ** 0.5
        gain = b**0.5 * p1 + along * e1
        mean, variance = gain * mean + b**0.5 * p0 + along * e0, gain**2 * variance + sigma2
    return mean, variance**0.5


def draw(sampler, eta, schedule, count=20):
    return diffusion.sample(
        exact_noise,
        (count, 1, 40, 40),
        schedule,
        range(count),
        sampler,
        eta,
        clip=False,
    )


def test_linear_schedule_is_the_published_one():
    betas = 1 - SCHEDULE.alphas_bar / np.r_[1.0, SCHEDULE.alphas_bar[:-1]]
    assert betas[[0, 500, 999]] == pytest.approx([1e-4, 1e-4 + 500 * 0.0199 / 999, 0.02])
    assert SCHEDULE.before(0) == 1.0 and SCHEDULE.before(5) == SCHEDULE.alphas_bar[4]


@given(st.integers(1, 1000), st.sampled_from(("ends", "stride")))
def test_respaced_steps_are_steps_of_the_whole(steps, spacing):
    kept = SCHEDULE.respaced(steps, spacing)
    assert len(kept) == steps and (np.diff(kept.timesteps) > 0).all()
    assert np.array_equal(kept.alphas_bar, SCHEDULE.alphas_bar[kept.timesteps])


def test_respacing_by_ends_and_by_stride():
    assert SCHEDULE.respaced(5, "stride").timesteps.tolist() == [0, 200, 400, 600, 800]
    ends = SCHEDULE.respaced(100).timesteps
    assert ends[0] == 0 and ends[-1] == 999 and len(set(np.diff(ends))) <= 2
    for wrong in (0, 1001):
        with pytest.raises(ConfigurationError, match="1 to 1000"):
            SCHEDULE.respaced(wrong)


def test_the_image_follows_from_the_noise():
    torch.manual_seed(0)
    image, noise = torch.randn(2, 3, 1, 8, 8, dtype=torch.float64)
    level = torch.tensor([0.9, 0.5, 0.01], dtype=torch.float64)
    x_t = diffusion.add_noise(image, noise, level)
    assert torch.allclose(diffusion.image_from_noise(x_t, noise, level), image)


@pytest.mark.parametrize("sampler, eta", [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0)])
def test_a_gaussian_is_sampled_with_its_mean_and_variance(sampler, eta):
    """All 1000 steps: 32000 pixels, whose deviation is uncertain by 0.4 %."""
    x0 = draw(sampler, eta, SCHEDULE)
    assert float(x0.mean()) == pytest.approx(MEAN, abs=0.012)
    assert float(x0.std()) == pytest.approx(SPREAD, rel=0.02)
    # Independent pixels: neighbours do not correlate.
    left, right = x0[..., :-1].flatten(), x0[..., 1:].flatten()
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.02


@pytest.mark.parametrize("steps, eta", [(5, 0.0), (5, 1.0), (25, 0.5)])
def test_few_steps_give_the_moments_of_the_closed_form(steps, eta):
    """With few steps the variance is too small, by exactly as much as the recursion says."""
    schedule = SCHEDULE.respaced(steps)
    mean, spread = moments_of_ddim(schedule, eta)
    x0 = draw("ddim", eta, schedule)
    assert float(x0.mean()) == pytest.approx(mean, abs=0.012)
    assert float(x0.std()) == pytest.approx(spread, rel=0.02)


@given(st.floats(0.01, 0.98), st.floats(0.01, 0.99))
def test_steps_of_eta_1_are_ddpms_posterior(low, share):
    """Two formulas, one distribution: DDIM's eta = 1 and DDPM's eq. 6 and 7."""
    a, b = low, low + share * (0.999 - low)
    torch.manual_seed(0)
    x0, noise, fresh = torch.randn(3, 4, 1, 2, 2, dtype=torch.float64)
    x_t = diffusion.add_noise(x0, noise, torch.tensor(a, dtype=torch.float64))
    of_image = b**0.5 * (1 - a / b) / (1 - a)
    of_noisy = (a / b) ** 0.5 * (1 - b) / (1 - a)
    sigma = ((1 - b) / (1 - a) * (1 - a / b)) ** 0.5
    assert torch.allclose(
        diffusion.ddim_step(x0, noise, a, b, 1.0, fresh),
        of_image * x0 + of_noisy * x_t + sigma * fresh,
        atol=1e-9,
    )


def test_a_sample_depends_on_its_seed_alone():
    schedule = SCHEDULE.respaced(4)
    several = draw("ddim", 1.0, schedule, count=3)
    alone = diffusion.sample(exact_noise, (1, 1, 40, 40), schedule, [2], clip=False)
    assert torch.equal(several[2], alone[0]) and not torch.equal(several[0], several[1])


def test_rectified_and_clipped_images_are_what_comes_out():
    seen = []

    def rectify(x0):
        assert x0.abs().max() <= 1.0
        seen.append(x0)
        return torch.full_like(x0, 0.25)

    x0 = diffusion.sample(
        lambda x, t: 3 * x,
        (1, 1, 8, 8),
        SCHEDULE.respaced(3),
        [0],
        rectify=rectify,
    )
    assert len(seen) == 3 and torch.equal(x0, torch.full_like(x0, 0.25))


@pytest.mark.parametrize(
    "wrong", [{"sampler": "euler"}, {"eta": 1.5}, {"seeds": []}], ids=lambda w: next(iter(w))
)
def test_wrong_arguments_are_named(wrong):
    arguments = {"seeds": [0], **wrong}
    with pytest.raises(ConfigurationError, match="expected"):
        diffusion.sample(exact_noise, (1, 1, 8, 8), SCHEDULE.respaced(2), **arguments)
