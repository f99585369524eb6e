"""The published checkpoint's names and shapes, built independently, load with strict=True."""

import pytest

torch = pytest.importorskip("torch")

from irvis_fusion_core.errors import CheckpointError, ConfigurationError
from training.teachers import prior_files, unet

WIDTH, EMBEDDING = 256, 1024
WIDTHS = [256, 256, 512, 512, 1024, 1024]
ATTENTION_FROM = 3  # levels 3, 4, 5: reductions 8, 16, 32


def conv(name, channels_in, channels_out, size):
    return {
        f"{name}.weight": (channels_out, channels_in, size, size),
        f"{name}.bias": (channels_out,),
    }


def pair(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def res_block(name, channels_in, channels_out):
    tensors = {
        **pair(f"{name}.in_layers.0", channels_in),
        **conv(f"{name}.in_layers.2", channels_in, channels_out, 3),
        **pair(f"{name}.emb_layers.1", 2 * channels_out, EMBEDDING),
        **pair(f"{name}.out_layers.0", channels_out),
        **conv(f"{name}.out_layers.3", channels_out, channels_out, 3),
    }
    if channels_in != channels_out:
        tensors.update(conv(f"{name}.skip_connection", channels_in, channels_out, 1))
    return tensors


def attention(name, channels):
    return {
        **pair(f"{name}.norm", channels),
        **pair(f"{name}.qkv", 3 * channels, channels, 1),
        **pair(f"{name}.proj_out", channels, channels, 1),
    }


def published_shapes():
    """256x256_diffusion_uncond.pt by its configuration: name -> shape."""
    tensors = {
        **pair("time_embed.0", EMBEDDING, WIDTH),
        **pair("time_embed.2", EMBEDDING, EMBEDDING),
        **conv("input_blocks.0.0", 3, WIDTH, 3),
    }
    number, channels, skips = 1, WIDTH, [WIDTH]
    for level, width in enumerate(WIDTHS):
        for _ in range(2):
            tensors.update(res_block(f"input_blocks.{number}.0", channels, width))
            if level >= ATTENTION_FROM:
                tensors.update(attention(f"input_blocks.{number}.1", width))
            channels, number = width, number + 1
            skips.append(width)
        if level < 5:
            tensors.update(res_block(f"input_blocks.{number}.0", width, width))
            number += 1
            skips.append(width)
    for place, build in enumerate((res_block, attention, res_block)):
        sizes = (channels,) if build is attention else (channels, channels)
        tensors.update(build(f"middle_block.{place}", *sizes))
    number = 0
    for level in range(5, -1, -1):
        width = WIDTHS[level]
        for block in range(3):
            tensors.update(res_block(f"output_blocks.{number}.0", channels + skips.pop(), width))
            channels, layer = width, 1
            if level >= ATTENTION_FROM:
                tensors.update(attention(f"output_blocks.{number}.1", width))
                layer = 2
            if level and block == 2:
                tensors.update(res_block(f"output_blocks.{number}.{layer}", width, width))
            number += 1
    return {**tensors, **pair("out.0", WIDTH), **conv("out.2", WIDTH, 6, 3)}


def test_the_published_checkpoint_loads_by_its_own_names(tmp_path):
    """Through the file, strictly; on torch's meta device, so 2.2 GB of weights weigh nothing."""
    shapes = published_shapes()
    with torch.device("meta"):
        tensors = {name: torch.empty(shape) for name, shape in shapes.items()}
        network = unet.UNet(unet.PUBLISHED)
    network.load_state_dict(tensors, strict=True)
    path = tmp_path / "256x256_diffusion_uncond.pt"
    torch.save(tensors, path)
    loaded = prior_files.load_network("ddfm", path)
    assert loaded.config == unet.PUBLISHED and loaded.multiple == 32
    assert sum(p.numel() for p in loaded.parameters()) == 552_814_086
    with torch.no_grad():
        x, t = torch.empty(1, 3, 64, 96, device="meta"), torch.zeros(1, device="meta")
        assert loaded(x, t).shape == (1, 6, 64, 96)


def test_what_does_not_fit_is_named(tmp_path):
    with torch.device("meta"):
        tensors = {name: torch.empty(shape) for name, shape in published_shapes().items()}
        tensors["extra.weight"] = torch.empty(1)
        tensors["out.0.bias"] = torch.empty(7)
        del tensors["middle_block.1.norm.bias"]
    path = tmp_path / "other.pt"
    torch.save(tensors, path)
    with pytest.raises(CheckpointError) as refusal:
        prior_files.load_network("ddfm", path)
    for part in (
        "1 missing (first: middle_block.1.norm.bias)",
        "1 unexpected (first: extra.weight)",
        "1 of another shape (first: out.0.bias (7,) instead of (256,))",
    ):
        assert part in str(refusal.value)


def small(**fields):
    torch.manual_seed(0)
    return prior_files.create_network(
        "ddfm", "small", {"model_channels": 16, "groups": 8, **fields}
    )


def test_attention_is_softmax_of_queries_and_keys():
    """Against a literal computation, head by head."""
    config = unet.UNetConfig(model_channels=16, groups=4, head_channels=8)
    layer = unet.Attention(16, config)
    torch.manual_seed(0)
    torch.nn.init.normal_(layer.proj_out.weight)
    x = torch.randn(2, 16, 3, 5)
    flat = x.reshape(2, 16, 15)
    qkv = torch.einsum("oi,bip->bop", layer.qkv.weight[:, :, 0], layer.norm(flat))
    qkv = qkv + layer.qkv.bias[:, None]
    heads = []
    for head in range(2):
        q, k, v = (qkv[:, 24 * head + 8 * part : 24 * head + 8 * part + 8] for part in range(3))
        weights = torch.softmax(torch.einsum("bcp,bcs->bps", q, k) / 8**0.5, -1)
        heads.append(torch.einsum("bps,bcs->bcp", weights, v))
    seen = torch.einsum("oi,bip->bop", layer.proj_out.weight[:, :, 0], torch.cat(heads, 1))
    expected = flat + seen + layer.proj_out.bias[:, None]
    assert torch.allclose(layer(x), expected.reshape(x.shape), atol=1e-5)


@pytest.mark.parametrize(
    "fields",
    [{}, {"patch": 1}, {"learned_variance": True}],
    ids=lambda f: ",".join(f) or "default",
)
def test_small_networks_run_learn_and_come_back_from_a_file(fields, tmp_path):
    network = small(**fields)
    x, t = torch.randn(2, network.config.in_channels, 32, 16), torch.tensor([3, 900])
    out = network(x, t)
    assert out.shape == (2, 2 if fields.get("learned_variance") else 1, 32, 16)
    assert not out.any()  # starts as nothing
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    network.eval()
    prior_files.save_network(network, tmp_path / "small.safetensors")
    again = prior_files.load_network("ddfm", tmp_path / "small.safetensors")
    assert again.config == network.config
    assert torch.equal(again(x, t), network(x, t))
    assert not torch.allclose(again(x, t), again(x, t.flip(0)))  # time matters


def test_time_is_told_as_cosines_and_sines():
    table = unet.timestep_embedding(torch.tensor([0, 10]), 8)
    assert table[0].tolist() == [1.0] * 4 + [0.0] * 4
    assert table[1, 1].item() == pytest.approx(torch.tensor(10 * 10000**-0.25).cos().item())


def test_files_of_the_other_teacher_and_broken_files_are_refused(tmp_path):
    path = tmp_path / "ours.safetensors"
    prior_files.save_network(small().half(), path)
    assert prior_files.load_network("ddfm", path).out[2].weight.dtype == torch.float32
    with pytest.raises(CheckpointError, match="expected weights of mask_difuser .* found 'ddfm'"):
        prior_files.load_network("mask_difuser", path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="whole safetensors file"):
        prior_files.load_network("ddfm", path)
    with pytest.raises(CheckpointError, match="no such file"):
        prior_files.load_network("ddfm", tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(CheckpointError, match="tensors alone"):
        prior_files.load_network("ddfm", tmp_path / "text.pt")


def test_widths_that_do_not_divide_are_named():
    with pytest.raises(ConfigurationError, match="multiples of groups"):
        unet.UNetConfig(model_channels=20, groups=16)
    with pytest.raises(ConfigurationError, match="expected fields out of"):
        prior_files.create_network("ddfm", "small", {"depth": 3})
