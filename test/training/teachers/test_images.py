"""Colour, padding, seeds, divergence and statistics of ensembles."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from irvis_fusion_core.errors import FrameError
from training.teachers import images
from training.teachers.ensembles import Ensemble, summarize


def test_colour_is_the_visible_images():
    """Against OpenCV's full-range YCrCb: chroma within rounding where nothing clips."""
    rng = np.random.default_rng(0)
    vis = rng.integers(80, 160, (16, 16, 3), dtype=np.uint8)
    y = cv2.cvtColor(vis, cv2.COLOR_RGB2GRAY)
    fused = np.clip(y.astype(int) + rng.integers(-30, 30, y.shape), 0, 255).astype(np.uint8)
    tensor = torch.from_numpy(vis).permute(2, 0, 1)[None] / 255.0
    coloured = images.restore_colour(torch.from_numpy(fused)[None, None] / 255.0, tensor)
    image = (coloured[0].permute(1, 2, 0) * 255).round().byte().numpy()
    ours, theirs = (cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb).astype(int) for p in (image, vis))
    assert np.abs(ours[..., 0] - fused).max() <= 1
    assert np.abs(ours[..., 1:] - theirs[..., 1:]).max() <= 1


@pytest.mark.parametrize("size", [(8, 16), (9, 17), (3, 40), (1, 1)])
def test_padding_mirrors_to_the_next_multiple(size):
    x = torch.rand(1, 1, *size)
    padded = images.pad(x, 8)
    assert padded.shape[2] % 8 == padded.shape[3] % 8 == 0
    assert torch.equal(padded[:, :, : size[0], : size[1]], x)
    if size == (9, 17):
        assert torch.equal(padded[0, 0, 9], padded[0, 0, 7])  # mirrored about row 8


def test_seeds_depend_on_name_and_number_only():
    seeds = {images.seed_of(name, k, s) for name in "ab" for k in range(3) for s in (0, 1)}
    assert len(seeds) == 12
    # Recorded: a later version must not silently draw other images when it goes on.
    assert images.seed_of("00004N", 1) == 8816239546062202839


def test_what_lies_far_outside_both_sources_or_is_no_number_has_diverged():
    torch.manual_seed(0)
    ir, vis = torch.rand(4, 1, 32, 32) * 0.2, torch.rand(4, 3, 32, 32) * 0.2 + 0.3
    fused = torch.stack([ir[0], torch.full((1, 32, 32), 0.9), ir[2].clone(), vis[3].mean(0)[None]])
    fused[2, 0, 5, 5] = float("nan")
    assert images.diverged(fused, ir, vis) == [False, True, True, False]


@pytest.mark.parametrize("size", [(32, 40), (37, 50)])
def test_held_brightness_lies_between_the_sources_and_texture_stays(size):
    """Flat sources under a bright, textured sample: the texture comes back at their brightness."""
    ir = torch.full((1, 1, *size), 0.2)
    vis = torch.full((1, 3, *size), 0.3)
    rows = torch.arange(size[0]).view(-1, 1) % 2
    texture = 0.05 * (2.0 * rows.float() - 1.0).expand(size)[None, None]
    inside, above = 0.25 + texture, 0.7 + texture
    held = images.hold_brightness(above, ir, vis)
    whole = (slice(None), slice(None), slice(0, size[0] // 8 * 8 - 8))
    assert torch.allclose(held[whole], (0.3 + texture)[whole], atol=1e-5)
    assert torch.allclose(images.hold_brightness(inside, ir, vis)[whole], inside[whole])
    assert images.hold_brightness(above * float("nan"), ir, vis).isnan().any()


def test_mean_and_variance_are_numpys():
    samples = torch.rand(5, 1, 4, 4)
    mean, variance = summarize(
        Ensemble("a", dict(enumerate(samples)), [], samples[0], samples[0], 0.0)
    )
    assert np.allclose(mean, samples.double().numpy().mean(0))
    assert np.allclose(variance, samples.double().numpy().var(0)[0])


def test_other_shapes_are_refused():
    for ir, vis in (((1, 3, 8, 8), (1, 3, 8, 8)), ((1, 1, 8, 8), (1, 3, 8, 9))):
        with pytest.raises(FrameError, match="of one size"):
            images.check_pair(torch.rand(ir), torch.rand(vis))
