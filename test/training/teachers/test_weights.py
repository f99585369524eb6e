"""The small prior that ships tells image from noise."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.teachers import diffusion, prior_files

WEIGHTS = Path(prior_files.__file__).parent / "weights"


def test_the_shipped_prior_finds_noise_it_has_not_seen():
    """On drawn shapes, at three levels: it knows nine tenths of what there is to know."""
    network = prior_files.load_network("ddfm", WEIGHTS / "ddfm_small.safetensors")
    image = np.full((64, 96), 70, np.uint8)
    cv2.rectangle(image, (10, 20), (40, 60), 140, -1)
    cv2.circle(image, (70, 30), 15, 30, -1)
    x0 = torch.from_numpy(cv2.GaussianBlur(image, (3, 3), 0))[None, None] / 127.5 - 1.0
    schedule = diffusion.linear_schedule()
    torch.manual_seed(0)
    for step in (200, 500, 800):
        noise = torch.randn_like(x0)
        x_t = diffusion.add_noise(x0, noise, torch.tensor(float(schedule.alphas_bar[step])))
        with torch.no_grad():
            guess = network(x_t, torch.tensor([step]))
        assert float((guess - noise).square().mean()) < 0.1


def test_every_file_has_its_row_in_the_card():
    card = (WEIGHTS / "README.md").read_text()
    files = sorted(WEIGHTS.glob("*.safetensors"))
    assert files and all(f"`{path.name}`" in card for path in files)
    assert sum(path.stat().st_size for path in files) < 6e6
