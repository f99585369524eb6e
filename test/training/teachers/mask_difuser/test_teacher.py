"""Masks are complementary, the network learns, and a published state dict maps onto ours."""

import re

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given
from hypothesis import strategies as st

from irvis_fusion_core.errors import CheckpointError
from training.teachers import diffusion, prior_files
from training.teachers.mask_difuser import masking
from training.teachers.mask_difuser import teacher as mask_difuser

TINY = {
    "channels": 16,
    "channel_mult": (1, 2),
    "attention_levels": (1,),
    "cross_attention_from": 1,
    "content": (8, 16),
    "content_out": 8,
    "semantic_stem": 8,
    "semantic": 32,
    "semantic_layers": 1,
    "groups": 4,
}


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return prior_files.create_network("mask_difuser", "small", TINY).eval()


# --- masks -----------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_masks_are_complementary(seed):
    """What the paper asks for: half of the cells each, nine in ten painted, none in both."""
    a, b = masking.dual_masks(np.random.default_rng(seed))
    painted = np.stack([a, b]) == masking.PAINTED
    assert not painted.all(0).any()
    assert painted.sum((1, 2)).tolist() == [29, 29]  # 32 masked, 3 of them as degraded copies
    degraded = np.stack([a, b]) == masking.DEGRADED
    assert degraded.sum((1, 2)).tolist() == [6, 6]  # 3 of the masked, 3 of the shown


@given(
    st.integers(0, 2**32 - 1), st.integers(20, 70), st.integers(20, 70), st.sampled_from([1, 3])
)
def test_views_show_the_image_where_they_show_it(seed, height, width, channels):
    """Cells that are neither painted nor degraded are untouched; together they show most."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, channels), dtype=np.uint8)
    again = np.random.default_rng(seed + 1)
    a, b = masking.half_blind_views(image, again)
    assert a.shape == b.shape == image.shape and a.dtype == np.uint8
    untouched = [(view == image).all(2) for view in (a, b)]
    # 61 of 64 cells are shown whole by one view or the other, where the lots do not coincide.
    assert (untouched[0] | untouched[1]).mean() > 0.75
    assert 0.2 < untouched[0].mean() < 0.7 or np.array_equal(a, image)


@pytest.mark.parametrize("how", ["_blur", "_noise", "_snow", "_disturb_spectrum", "_expose"])
def test_degradations_change_the_image_and_keep_it_one(how):
    random = np.random.default_rng(0)
    image = cv2.resize(random.integers(20, 230, (9, 9), dtype=np.uint8), (48, 48))[:, :, None]
    degraded = getattr(masking, how)(image, random).reshape(image.shape)
    assert degraded.dtype == np.uint8
    difference = np.abs(degraded.astype(int) - image).mean()
    assert 0.3 < difference < 120


# --- the network -----------------------------------------------------------------------------


def test_the_network_sees_both_views_and_the_time(tiny):
    torch.manual_seed(1)
    a, b, x = torch.rand(3, 2, 1, 64, 32) * 2 - 1
    with torch.no_grad():
        seen = tiny.condition(a, b)
        noise = tiny(x, torch.tensor([5, 500]), seen)
        assert noise.shape == x.shape and torch.isfinite(noise).all()
        assert seen.tokens_a.shape == (2, 32, 2, 1)
        assert not torch.allclose(noise, tiny(x, torch.tensor([5, 500]), tiny.condition(b, a)))
        assert not torch.allclose(noise, tiny(x, torch.tensor([500, 5]), seen))
        only_tokens = seen._replace(tokens_b=seen.tokens_a)
        assert not torch.allclose(noise, tiny(x, torch.tensor([5, 500]), only_tokens))


class Constant(torch.nn.Module):
    """A layer that gives the same whatever it is given."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, _):
        return self.answer


def test_a_velocity_stands_for_the_noise_it_follows_from():
    """Where the last layer gives the true velocity, the network gives the true noise."""
    torch.manual_seed(3)
    image, noise = torch.randn(2, 2, 1, 32, 32)
    t = torch.tensor([20, 950])
    a = torch.from_numpy(diffusion.linear_schedule().alphas_bar[[20, 950]]).float()[:, None, None]
    velocity = a[:, None].sqrt() * noise - (1 - a[:, None]).sqrt() * image
    tail = torch.nn.functional.pixel_unshuffle(velocity, 2)
    network = prior_files.create_network("mask_difuser", "small", TINY)
    network.tail = Constant(tail)
    x_t = diffusion.add_noise(image, noise, a.flatten())
    with torch.no_grad():
        found = network(x_t, t, network.condition(image, image))
    assert torch.allclose(found, noise, atol=1e-4)


def test_it_comes_back_from_a_file(tiny, tmp_path):
    path = tmp_path / "tiny.safetensors"
    prior_files.save_network(tiny, path)
    again = prior_files.load_network("mask_difuser", path)
    a, b, x = torch.rand(3, 1, 1, 32, 32)
    t = torch.tensor([7])
    with torch.no_grad():
        ours, theirs = (network(x, t, network.condition(a, b)) for network in (again, tiny))
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_sampling_any_size_repeats_by_seed_and_varies_between_seeds(tiny):
    teacher = mask_difuser.MaskDiFuser(tiny, steps=2)
    torch.manual_seed(2)
    ir, vis = torch.rand(2, 1, 37, 50), torch.rand(2, 3, 37, 50)
    first, again = teacher.fuse(ir, vis, [1, 2]), teacher.fuse(ir, vis, [1, 2])
    assert first.shape == ir.shape and torch.equal(first, again)
    same_pair = teacher.fuse(ir[:1].expand(2, -1, -1, -1), vis[:1].expand(2, -1, -1, -1), [1, 2])
    assert torch.allclose(same_pair[0], first[0], atol=1e-5)
    assert (same_pair[0] - same_pair[1]).abs().mean() > 1e-3
    assert float(first.min()) >= 0.0 and float(first.max()) <= 1.0


# --- the published names ---------------------------------------------------------------------


def published_shapes():
    """The published configuration's tensors by the published names, written out from its anatomy.

    Width 128, multiples 1 2 3 4, two blocks a level, attention at level 2, content encoder
    32-64-128 to 64 channels, semantic encoder of four stride-2 convolutions to 128 with four
    transformer layers of eight heads.
    """
    shapes = {}

    def layer(name, *weight):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = weight, weight[:1]

    def conv(name, channels_in, channels_out, size=3):
        layer(name, channels_out, channels_in, size, size)

    def block(name, channels_in, channels, attend):
        layer(f"{name}.block1.0", channels_in)
        conv(f"{name}.block1.2", channels_in, channels)
        layer(f"{name}.temb_proj.1", channels, 512)
        layer(f"{name}.block2.0", channels)
        conv(f"{name}.block2.3", channels, channels)
        if channels_in != channels:
            conv(f"{name}.shortcut", channels_in, channels, 1)
        if attend:
            layer(f"{name}.attn.group_norm", channels)
            for part in ("proj_q", "proj_k", "proj_v", "proj"):
                conv(f"{name}.attn.{part}", channels, channels, 1)
        layer(f"{name}.cross_attention.norm_x", channels)
        layer(f"{name}.cross_attention.norm_cond", 128)
        conv(f"{name}.cross_attention.proj_q", channels, channels, 1)
        conv(f"{name}.cross_attention.proj_k1", 128, channels, 1)
        conv(f"{name}.cross_attention.proj_v1", 128, channels, 1)
        conv(f"{name}.conbine.0", 3 * channels, channels)
        layer(f"{name}.conbine.1", channels)

    shapes["time_embedding.timembedding.0.weight"] = (1000, 128)
    layer("time_embedding.timembedding.1", 512, 128)
    layer("time_embedding.timembedding.3", 512, 512)
    content = "content_encoder"
    for place, (before, width) in zip((0, 3, 6), ((3, 32), (32, 64), (64, 128))):
        conv(f"{content}.conv.{place}", before, width)
    for place, width in ((1, 32), (4, 64)):
        layer(f"{content}.conv.{place}", width)
    for number, before, width in ((1, 512, 256), (2, 256, 128), (3, 256, 128), (4, 128, 128)):
        conv(f"{content}.fusion.conv{number}", before, width, 1)
        layer(f"{content}.fusion.norm{number}", width)
    layer(f"{content}.enhance.0", 128)
    conv(f"{content}.enhance.2", 128, 64)
    layer(f"{content}.enhance.3", 64)
    conv(f"{content}.enhance.5", 64, 64)
    widths = [3, 32, 32, 64, 128, 128]
    for number, (before, width) in enumerate(zip(widths, widths[1:])):
        conv(f"encoder.conv.{3 * number}", before, width)
        if number < 4:
            layer(f"encoder.conv.{3 * number + 1}", width)
    inner = "encoder.transformer_encoder"
    copies = [f"{inner}.layers"] + [f"{inner}.transformer_encoder.layers.{i}" for i in range(4)]
    for name in copies:
        shapes[f"{name}.self_attn.in_proj_weight"] = (384, 128)
        shapes[f"{name}.self_attn.in_proj_bias"] = (384,)
        layer(f"{name}.self_attn.out_proj", 128, 128)
        layer(f"{name}.linear1", 2048, 128)
        layer(f"{name}.linear2", 128, 2048)
        layer(f"{name}.norm1", 128)
        layer(f"{name}.norm2", 128)
    for name in ("proj_in", "conbine"):  # one layer under two names
        conv(f"{name}.0", 3, 64)
        layer(f"{name}.1", 64)
    conv("head", 128, 128)
    number, channels, skips = 0, 128, [128]
    for level in range(4):
        for _ in range(2):
            block(f"downblocks.{number}", channels, 128 * (level + 1), level == 2)
            channels, number = 128 * (level + 1), number + 1
            skips.append(channels)
        if level < 3:
            conv(f"downblocks.{number}.main", channels, channels)
            number += 1
            skips.append(channels)
    block("middleblocks.0", 512, 512, True)
    block("middleblocks.1", 512, 512, False)
    number = 0
    for level in (3, 2, 1, 0):
        for _ in range(3):
            block(f"upblocks.{number}", channels + skips.pop(), 128 * (level + 1), level == 2)
            channels, number = 128 * (level + 1), number + 1
        if level:
            conv(f"upblocks.{number}.main", channels, channels)
            number += 1
    layer("tail.0", 128)
    conv("tail.2", 128, 3)
    return shapes


def test_a_published_checkpoint_loads_by_the_key_map(tmp_path):
    """As DataParallel saves it, with `module.` before every name."""
    with torch.device("meta"):
        tensors = {"module." + k: torch.empty(shape) for k, shape in published_shapes().items()}
    path = tmp_path / "mask_difuser.pth"
    torch.save(tensors, path)
    network = prior_files.load_network("mask_difuser", path)
    used = {mask_difuser.our_name(name) for name in tensors} - {None}
    assert used == set(network.state_dict())
    with torch.no_grad():
        network.to_empty(device="meta")
        x = torch.empty(1, 3, 32, 48, device="meta")
        t = torch.zeros(1, dtype=torch.long, device="meta")
        assert network(x, t, network.condition(x, x)).shape == x.shape


def test_names_that_nobody_knows_are_reported(tmp_path):
    with torch.device("meta"):
        tensors = {k: torch.empty(shape) for k, shape in published_shapes().items()}
        tensors["upblocks.0.style.weight"] = tensors.pop("tail.2.bias")
    path = tmp_path / "other.pth"
    torch.save(tensors, path)
    with pytest.raises(CheckpointError, match=re.escape("1 missing (first: tail.2.bias)")) as said:
        prior_files.load_network("mask_difuser", path)
    assert "1 unexpected (first: up.0.style.weight)" in str(said.value)
