"""The table of denoisers: figures by hand, and the command on drawn images."""

import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.denoiser import __main__ as denoiser
from irvis_fusion_core.image_files import write_image
from training.teachers import diffusion, prior_files


def test_psnr_is_its_formula_and_the_best_strength_counts():
    clean = np.full((8, 8), 100.0, np.float32)
    assert denoiser.psnr(clean, clean + 10.0) == pytest.approx(10 * np.log10(255**2 / 100))
    assert denoiser.psnr(clean + 155.0, clean + 300.0) == denoiser.psnr(clean, clean)  # clipped
    shifts = [lambda image: image + 8.0, lambda image: image + 1.0]
    assert denoiser.best(shifts, [clean], [clean]) == pytest.approx(10 * np.log10(255**2))


def test_a_prior_sees_the_noise_of_its_timestep():
    """One that finds the right noise for a grey of 51 gives back that grey."""
    level = float(diffusion.linear_schedule().alphas_bar[50])

    class Knowing:
        multiple, config = 8, types.SimpleNamespace(in_channels=1)

        def __call__(self, x_t, timesteps):
            assert int(timesteps[0]) == 50
            return (x_t - level**0.5 * (51 / 127.5 - 1)) / (1 - level) ** 0.5

    noisy = 51.0 + np.random.default_rng(0).normal(0, 22, (20, 16)).astype(np.float32)
    assert np.allclose(denoiser.by_prior(Knowing(), 50, level)(noisy), 51.0, atol=1e-3)


def test_the_command_prints_a_column_for_each_noise_and_camera(tmp_path, capsys):
    random = np.random.default_rng(0)
    for side in ("IR", "VIS"):
        image = np.kron(random.integers(60, 200, (4, 4)), np.ones((40, 40))).astype(np.uint8)
        write_image(str(tmp_path / "set" / side / "a.png"), image)
    config = {"model_channels": 16, "channel_mult": (1, 2), "attention_at": (), "groups": 8}
    network = prior_files.create_network("ddfm", "small", config)
    prior_files.save_network(network, tmp_path / "untrained.safetensors")
    denoiser.main(
        [
            *("--data", str(tmp_path), "--sets", "set", "--timesteps", "20"),
            *("--prior", str(tmp_path / "untrained.safetensors")),
        ]
    )
    printed = capsys.readouterr().out
    assert "1 crops of each kind" in printed and "visible, t = 20 (deviation 10)" in printed
    rows = {r.split("|")[1].strip(): r.split("|")[2:4] for r in printed.splitlines() if "|" in r}
    for camera in (0, 1):
        noisy, blurred = (float(rows[k][camera]) for k in ("noisy", "best Gaussian blur"))
        assert 27.0 < noisy < 29.5 and blurred > noisy
        # It finds no noise: it only undoes the share of the image that is left.
        assert float(rows["untrained"][camera]) == pytest.approx(noisy, abs=0.3)
