"""WGAN, WGAN-GP and SN-GAN against their papers: what the yaml picks, sizes, and spectral norms."""

import math

import pytest
import torch
from helpers import SMALL, compose, overrides
from torch import nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.dcgan import stages
from gancli.models.sngan import SNGAN
from gancli.models.wgan import WGAN
from gancli.models.wgan_gp import WGANGP, halved
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.training.loop import train

CIFAR = ImageSpec(3, 32, 32)
KINDS = {"wgan": WGAN, "wgan_gp": WGANGP, "sngan": SNGAN}


def recipe(model: str) -> dict:
    cfg = compose("train", [f"model={model}", *SMALL])
    optimizer = {k: cfg.optimizer[k] for k in ("_target_", "lr", "betas", "momentum") if k in cfg.optimizer}
    loss = {k: v for k, v in cfg.loss.items() if k in ("_target_", "repeat", "penalties")}
    return {"batch": cfg.batch_size, "loss": loss, "optimizer": optimizer}


def test_each_model_brings_its_papers_recipe():
    wgan, gp, sn = (recipe(name) for name in KINDS)
    assert wgan["loss"]["_target_"].endswith(".Wasserstein") and wgan["loss"]["repeat"] == 5
    assert {k: v["c"] for k, v in wgan["loss"]["penalties"].items()} == {"weight_clipping": 0.01}
    assert wgan["optimizer"] == {"_target_": "torch.optim.RMSprop", "lr": 5e-5, "momentum": 0.0}
    assert gp["loss"]["_target_"].endswith(".Wasserstein") and gp["loss"]["repeat"] == 5
    assert {k: (v["weight"], v["one_sided"]) for k, v in gp["loss"]["penalties"].items()} == {
        "gradient_penalty": (10, False)
    }
    assert gp["optimizer"] == {"_target_": "torch.optim.Adam", "lr": 1e-4, "betas": [0.5, 0.9]}
    assert sn["loss"] == {"_target_": "gancli.losses.adversarial.NonSaturating", "repeat": 1}
    assert sn["optimizer"] == {"_target_": "torch.optim.Adam", "lr": 2e-4, "betas": [0.5, 0.999]}


@pytest.mark.parametrize("name", KINDS)
def test_no_model_warns_about_its_own_recipe_and_all_of_it_can_be_changed(name):
    parts = build(compose("train", overrides(name, "data.size=16")))
    assert parts.warnings() == []
    other = build(compose("train", overrides(name, "penalty=[]", "loss=hinge")))
    assert other.loss.penalties == {} and type(other.loss).__name__ == "Hinge"


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size, channels", [(8, 1), (28, 1), (32, 3), (48, 3), (64, 3)])
def test_sizes(name, size, channels):
    model = KINDS[name](ImageSpec(channels, size, size), width=4)
    image = model.sample(2, generator=torch.Generator().manual_seed(0))
    assert image.shape == (2, channels, size, size) and model.score(image).shape == (2,)


@pytest.mark.parametrize("name", KINDS)
def test_sizes_without_a_seed_are_refused(name):
    with pytest.raises(UsageError, match="30x30.*data.size"):
        KINDS[name](ImageSpec(1, 30, 30))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("wrong", ["latent_dim", "width"])
def test_sizes_of_nothing_are_refused(name, wrong):
    with pytest.raises(UsageError, match=f"{wrong}=0: must be 1 or more"):
        build(compose("train", overrides(name, f"model.{wrong}=0")))


@pytest.mark.parametrize("name, dim", [("wgan", 100), ("wgan_gp", 128), ("sngan", 128)])
def test_latents_are_normal_and_walks_keep_their_variance(name, dim):
    model = KINDS[name](ImageSpec(1, 8, 8), width=4)
    start, end = (model.latent(2000, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert start.shape == (2000, dim)
    for t in (0.0, 0.3, 0.5, 1.0):
        z = model.interpolate(start, end, torch.tensor(t))
        assert z.std().item() == pytest.approx(1, abs=0.01) and z.mean().item() == pytest.approx(0, abs=0.01)
    assert torch.equal(model.interpolate(start, end, torch.tensor(0.0)), start)
    assert torch.equal(model.interpolate(start, end, torch.tensor(1.0)), end)


def test_wgan_gp_has_no_batch_norm_in_the_critic_and_the_release_s_sizes_at_32_pixels():
    model = WGANGP(CIFAR, width=128)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.discriminator)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.generator) == 3
    d = 25 * (3 * 128 + 128 * 256 + 256 * 512) + 128 + 256 + 512 + 4 * 4 * 512
    g = 128 * 4 * 4 * 512 + 25 * (512 * 256 + 256 * 128 + 128 * 3) + 3 + 2 * (512 + 256 + 128)
    assert sum(p.numel() for p in model.discriminator.parameters()) == d
    assert sum(p.numel() for p in model.generator.parameters()) == g


def test_wgan_gp_at_28_pixels_has_the_three_stages_of_the_release():
    """gan_mnist.py: 28-14-7-4 with 64, 128 and 256 channels in the critic, and back from 4x4, of 8x8 only 7x7."""
    model = WGANGP(ImageSpec(1, 28, 28), smallest=4)
    maps: dict[nn.Module, list] = {model.generator: [], model.discriminator: []}
    for net, seen in maps.items():
        for layer in net:
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.register_forward_hook(lambda _, args, out, seen=seen: seen.append(tuple(out.shape[1:])))
    assert model.score(model.sample(2)).shape == (2,)
    assert maps[model.discriminator] == [(64, 14, 14), (128, 7, 7), (256, 4, 4)]
    assert maps[model.generator] == [(128, 7, 7), (64, 14, 14), (1, 28, 28)]
    d = 25 * (64 + 64 * 128 + 128 * 256) + 64 + 128 + 256 + 256 * 16
    assert sum(p.numel() for p in model.discriminator.parameters()) == d


def test_a_row_that_is_not_made_is_one_that_would_be_cut_off():
    made, cut = nn.ConvTranspose2d(3, 2, 5, 2, 2, 0), nn.ConvTranspose2d(3, 2, 5, 2, 2, 1)
    cut.load_state_dict(made.state_dict())
    x = torch.randn(2, 3, 4, 4)
    assert torch.allclose(made(x), cut(x)[:, :, :7, :7], atol=1e-6)


@pytest.mark.parametrize(
    "size, smallest, sizes",
    [(28, 7, [28, 14, 7]), (28, 4, [28, 14, 7, 4]), (32, 7, [32, 16, 8, 4]), (32, 4, [32, 16, 8, 4]), (8, 7, [8, 4]),
     (24, 7, [24, 12, 6]), (24, 4, [24, 12, 6, 3]), (56, 4, [56, 28, 14, 7, 4])],
)  # fmt: skip
def test_maps_are_halved_until_they_are_small_and_without_the_key_as_dcgans(size, smallest, sizes):
    spec = ImageSpec(1, size, size)
    assert [h for h, w in halved(spec, smallest)] == sizes
    if smallest == 7:
        assert len(sizes) - 1 == stages(spec)
    model = WGANGP(spec, width=4, smallest=smallest)
    assert model.sample(1).shape == (1, 1, size, size)


def test_maps_that_are_not_square_and_sizes_out_of_range():
    model = WGANGP(ImageSpec(3, 28, 56), width=4, smallest=4)
    assert model.score(model.sample(2)).shape == (2,)
    for wrong in (3, 8):
        with pytest.raises(UsageError, match=f"smallest={wrong} from 4 to 7"):
            build(compose("train", overrides("wgan_gp", f"model.smallest={wrong}")))


def test_a_checkpoint_of_wgan_gp_that_names_no_smallest_maps_has_dcgans_stages(tmp_path):
    cfg = compose("train", overrides("wgan_gp", "data.size=28", "images=16", "model.smallest=7"))
    train(cfg, tmp_path)
    state = checkpoint.load(tmp_path).state
    state["config"] = state["config"].replace("  smallest: 7\n", "")
    assert "smallest" not in state["config"]
    checkpoint.save(tmp_path / "checkpoints" / checkpoint.name(16), state)
    assert sum(isinstance(m, nn.ConvTranspose2d) for m in checkpoint.rebuild(tmp_path).modules()) == 2


def test_wgan_gp_starts_he_uniform():
    torch.manual_seed(0)
    for layer in WGANGP(CIFAR).modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.weight.numel() > 10_000:
            std = math.sqrt(4 / (25 * (layer.in_channels + layer.out_channels)))
            assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
            assert layer.weight.abs().max() <= std * math.sqrt(3)


def test_sngan_is_the_papers_at_32_pixels():
    """Table 3 of the paper: 3x3 64, 4x4 64, 3x3 128, 4x4 128, 3x3 256, 4x4 256, 3x3 512, dense."""
    model = SNGAN(CIFAR)
    layers = [m for m in model.discriminator if isinstance(m, nn.Conv2d)]
    assert [(m.kernel_size[0], m.out_channels, m.stride[0]) for m in layers] == [
        (3, 64, 1), (4, 64, 2), (3, 128, 1), (4, 128, 2), (3, 256, 1), (4, 256, 2), (3, 512, 1)
    ]  # fmt: skip
    assert {m.negative_slope for m in model.discriminator if isinstance(m, nn.LeakyReLU)} == {0.1}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.discriminator)
    drawn = [m for m in model.generator if isinstance(m, (nn.ConvTranspose2d, nn.Conv2d))]
    assert [(m.kernel_size[0], m.out_channels) for m in drawn] == [(4, 256), (4, 128), (4, 64), (3, 3)]
    assert model.generator[0].out_features == 4 * 4 * 512


def sigmas(net: nn.Module) -> list[float]:
    """The largest singular value of each weight as the network uses it, outputs in rows."""
    layers = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    return [torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2).item() for m in layers]


def test_every_weight_of_the_sngan_discriminator_has_spectral_norm_one_while_it_trains():
    parts = build(compose("train", overrides("sngan", "data.size=32", "model.width=8", "optimizer.lr=2e-4")))
    for _ in range(60):  # an iteration of the power method each: at higher rates, some chips' roundings need more
        batch = parts.loader.next()
        for step in parts.steps:
            step(batch)
    parts.model.discriminator.eval()
    found = sigmas(parts.model.discriminator)
    assert len(found) == 8 and all(1 - 1e-4 < sigma < 1.05 for sigma in found)
    raw = [p for key, p in parts.model.discriminator.named_parameters() if key.endswith("weight.original")]
    assert max(torch.linalg.matrix_norm(p.detach().flatten(1), 2).item() for p in raw) > 0.01
    assert any(abs(torch.linalg.matrix_norm(p.detach().flatten(1), 2).item() - 1) > 0.1 for p in raw)


def test_nothing_of_the_sngan_discriminator_moves_in_eval_mode():
    net = SNGAN(ImageSpec(1, 8, 8), width=4).discriminator
    image = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for training in (False, True):
        net.train(training)
        before = {k: v.clone() for k, v in net.state_dict().items()}
        net(image)
        moved = [k for k, v in net.state_dict().items() if not torch.equal(v, before[k])]
        assert bool(moved) is training and all(k.endswith(("_u", "_v")) for k in moved)


def test_singular_vectors_survive_a_checkpoint(tmp_path):
    train(compose("train", overrides("sngan", "images=32")), tmp_path)
    saved = checkpoint.load(tmp_path)
    vectors = {k: v for k, v in saved.state["model"].items() if k.endswith(("._u", "._v"))}
    assert len(vectors) == 2 * 4  # two convolutions per stage, the 3x3 one and the dense layer
    rebuilt = checkpoint.rebuild(saved)
    assert all(torch.equal(rebuilt.state_dict()[k], v) for k, v in vectors.items())
    assert all(1 - 1e-4 < sigma < 1.05 for sigma in sigmas(rebuilt.discriminator))
