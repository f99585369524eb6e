"""The conditional teacher: what it is given, what it samples, what it learns from."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.data.augmentation import Augmentation
from training.data.sampling import Draw
from training.teachers import diffusion, prior_files
from training.teachers.conditional import Conditional, TaughtCrops

TINY = {"model_channels": 16, "channel_mult": (1, 2), "attention_at": (), "groups": 8}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return prior_files.create_network("conditional", "small", TINY).eval()


def test_a_fresh_network_expects_the_mean_of_both_sources(network):
    """Its U-Net begins at 0; from noise alone it then gives the sources' mean."""
    ir, y, noise = torch.rand(3, 2, 1, 16, 24).mul(2.0).sub(1.0).unbind(0)
    t = torch.tensor([999, 600])
    guess = network(noise, t, network.condition(ir, y))
    a = torch.from_numpy(diffusion.linear_schedule().alphas_bar[t]).float()
    x0 = diffusion.image_from_noise(noise, guess, a)
    # x0 = sqrt(a) x_t - sqrt(1 - a) v, and v = -sqrt(1 - a) mean.
    a = a.view(-1, 1, 1, 1)
    expected = a.sqrt() * noise + (1.0 - a) * (ir + y) / 2.0
    assert torch.allclose(x0, expected, atol=1e-3)


def test_samples_follow_their_seeds_and_keep_the_size(network):
    torch.nn.init.normal_(network.unet.out[2].weight, 0.0, 0.1)
    teacher = Conditional(network, 3)
    ir, vis = torch.rand(1, 1, 37, 42), torch.rand(1, 3, 37, 42)
    fused = teacher.fuse(ir.expand(3, -1, -1, -1), vis.expand(3, -1, -1, -1), [1, 2, 1])
    assert fused.shape == (3, 1, 37, 42) and fused.min() >= 0.0 and fused.max() <= 1.0
    assert torch.allclose(fused[0], fused[2], atol=1e-6)
    assert (fused[0] - fused[1]).abs().mean() > 1e-3
    # Another scene, another image: the sources are seen.
    other = teacher.fuse(1.0 - ir, vis, [1])
    assert (fused[0] - other[0]).abs().mean() > 0.05


def test_a_checkpoint_of_another_kind_is_refused(network, tmp_path):
    path = tmp_path / "conditional.safetensors"
    prior_files.save_network(network, path)
    again = prior_files.load_network("conditional", path)
    assert again.config == network.config
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in network.state_dict().items())
    with pytest.raises(Exception, match="expected weights of ddfm in .*, found 'conditional'"):
        prior_files.load_network("ddfm", path)
    (tmp_path / "published.pth").write_bytes(b"nothing")
    with pytest.raises(Exception, match="published.pth"):
        prior_files.load_network("conditional", tmp_path / "published.pth")


def test_sources_have_faults_and_the_target_has_none(tmp_path):
    """Without a change of exposure the target is the file, whatever happens to the sources."""
    grey = {"IR": 60, "VIS": 120, "TEACHER_FUSED": 100}
    for side, level in grey.items():
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "a.png"), np.full((48, 48, 3), level, np.uint8))
    still = Augmentation(32, tone_prob=0.0, jpeg_prob=0.0, colour_prob=0.0, noise_prob=0.5)
    crops = TaughtCrops([tmp_path], still, 0, (), False)
    items = [crops[Draw(0, number)] for number in range(40)]
    assert all(item["image"].shape == (1, 32, 32) for item in items)
    target = torch.tensor(100 / 127.5 - 1.0)
    assert all(torch.allclose(item["image"], target) for item in items)
    noisy = sum(float(item["view_a"].std()) > 0.0 for item in items)
    assert 10 <= noisy <= 30
    assert torch.equal(items[3]["view_a"], crops[Draw(0, 3)]["view_a"])
