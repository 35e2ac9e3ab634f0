"""R3GAN: sizes to the parameter, what fresh networks compute, the recipe."""

import math

import pytest
import torch
from helpers import SMALL, compose, overrides
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.metrics.registry import choosing, metrics_named
from gancli.models.r3gan import R3GAN, Block, Down, Up
from gancli.nn.resample import doubled, halved
from gancli.training.build import build

LR_AND_GAMMA = (2e-3, 2e-4), (0.5, 0.05)  # of model=r3gan
GREY = ImageSpec(1, 16, 16, 3)


def small(spec: ImageSpec = GREY, **more) -> R3GAN:
    torch.manual_seed(0)
    return R3GAN(spec, **{"latent_dim": 5, "width": 4, "max_width": 8, "blocks": 1, "group": 4, **more}).double()


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_the_papers_networks_have_20_73_and_20_68_million_parameters():
    """Counted by hand: four stages of two blocks with 768 channels and groups of 16, 64 latents, 4x4 seeds."""
    c, inner = 768, 1536
    trunk = 8 * (c * inner + inner * 16 * 9 + inner * c + 2 * inner)
    g, d = trunk + 16 * c + 64 * c + 3 * c, trunk + 3 * c + 16 * c + c
    assert (g, d) == (20_732_160, 20_683_776)  # 20.73M and 20.68M in the paper
    with torch.device("meta"):
        plain, labelled = (R3GAN(ImageSpec(3, 32, 32, 10), conditional=on) for on in (False, True))
    assert (parameters(plain.generator), parameters(plain.discriminator)) == (g, d)
    assert parameters(labelled.generator) == g + 10 * 64 + 64 * c
    assert parameters(labelled.discriminator) == d + 10 * c + (c - 1) * c


def test_channels_double_away_from_the_image_up_to_a_limit():
    """96, 192, 384, 768, 768 ...: the paper's widths for FFHQ, here at 64 pixels and a thirty-second of the size."""
    model = R3GAN(ImageSpec(3, 64, 64), width=4, max_width=16, group=8)
    up = [m.channels for m in model.generator.trunk if isinstance(m, Up)]
    assert [type(m) for m in up] == [nn.Identity, nn.Identity, nn.Conv2d, nn.Conv2d]
    assert [m.expand.in_channels for m in model.generator.trunk if isinstance(m, Block)] == [16] * 6 + [8] * 2 + [4] * 2
    down = [m.expand.in_channels for m in model.discriminator.trunk if isinstance(m, Block)]
    assert down == [4] * 2 + [8] * 2 + [16] * 6 and sum(isinstance(m, Down) for m in model.discriminator.trunk) == 4
    assert {m.mix.groups for m in model.modules() if isinstance(m, Block)} == {1, 2, 4}


def test_resampling_is_the_convolution_with_its_filter():
    x = torch.randn(2, 3, 6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    line = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8
    kernel = (line[:, None] * line).expand(3, 1, 4, 4)
    assert torch.allclose(halved(x), conv2d(x, kernel, stride=2, padding=1, groups=3), atol=1e-12)
    up = conv_transpose2d(x, 4 * kernel, stride=2, padding=1, groups=3)
    assert doubled(x).shape == (2, 3, 12, 20) and torch.allclose(doubled(x), up, atol=1e-12)


def test_a_block_is_its_formula_and_starts_as_the_identity():
    torch.manual_seed(0)
    block, x = Block(4, 4, 3).double(), torch.randn(2, 4, 5, 6, dtype=torch.float64)
    assert torch.equal(block(x), x)
    for p in block.parameters():
        nn.init.normal_(p)
    active = lambda h: torch.where(h > 0, h, 0.2 * h)  # noqa: E731
    h = torch.einsum("oi,nihw->nohw", block.expand.weight[:, :, 0, 0], x) + block.expand.bias[:, None, None]
    parts = [conv2d(active(h)[:, g], block.mix.weight[g], padding=1) for g in (slice(0, 4), slice(4, 8))]
    h = active(torch.cat(parts, 1) + block.mix.bias[:, None, None])
    assert torch.allclose(block(x), x + torch.einsum("oi,nihw->nohw", block.contract.weight[:, :, 0, 0], h))
    assert block.contract.bias is None


def test_fresh_weights_have_their_variances():
    torch.manual_seed(0)
    block = Block(64, 16, 8)
    model = R3GAN(ImageSpec(3, 32, 32, 10), latent_dim=100, width=256, max_width=256, conditional=True)
    gain = 1.3868 * 0.5946  # of a leaky ReLU, and 8 ** -0.25
    assert block.expand.weight.std().item() == pytest.approx(gain / 64**0.5, rel=0.03)
    assert block.mix.weight.std().item() == pytest.approx(gain / (16 * 9) ** 0.5, rel=0.03)
    g, d = model.generator, model.discriminator
    deviations = {g.basis: 1, g.scale.weight: 200**-0.5, g.image.weight: 1 / 16, d.image.weight: 3**-0.5}
    deviations |= {d.basis.weight: 1 / 4, d.linear.weight: 1 / 16}
    deviations |= {g.table.weight: 10**-0.5, d.table.weight: 10**-0.5 / 16}
    for weight, std in deviations.items():
        assert weight.std().item() == pytest.approx(std, rel=0.08) and abs(weight.mean().item()) < 0.1 * std


def test_fresh_networks_are_linear():
    model = small()
    z, x = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 1, 16, 16, dtype=torch.float64)
    assert torch.allclose(model.generate(-2.5 * z), -2.5 * model.generate(z))
    assert torch.allclose(model.generate(z).mean(0), model.generate(z.mean(0, keepdim=True))[0])
    assert torch.allclose(model.score(-2.5 * x), -2.5 * model.score(x)) and model.score(x).abs().min() > 0
    assert not model.score(torch.zeros_like(x)).any()


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_of_a_fresh_block_only_the_last_layer_gets_a_gradient(player):
    model = small()
    x = model.generate(torch.randn(3, 5, dtype=torch.float64))
    (x if player == "generator" else model.score(x)).square().sum().backward()
    blocks = [m for m in model.get_submodule(player).modules() if isinstance(m, Block)]
    assert len(blocks) == 3
    for block in blocks:
        assert not any(p.grad.any() for layer in (block.expand, block.mix) for p in layer.parameters())
        assert block.contract.weight.grad.any()


def test_the_score_of_a_class_is_an_inner_product_with_its_embedding():
    model = small(conditional=True)
    x, z, label = torch.randn(3, 1, 16, 16).double(), torch.randn(3, 5).double(), torch.tensor([2, 0, 2])
    d = model.discriminator
    h = torch.einsum("nchw,chw->nc", d.trunk(d.image(x)), d.basis.weight[:, 0]) @ d.linear.weight.T
    assert torch.allclose(model.score(x, label), (h * d.table.weight[label]).sum(1))
    both = torch.cat([z, model.generator.table.weight[label]], 1)
    assert torch.allclose(model.generator.scale(both), both @ model.generator.scale.weight.T)
    images = [model.sample(2, label=torch.full((2,), k), generator=torch.Generator().manual_seed(0)) for k in (0, 1)]
    assert not torch.equal(*images)


@pytest.mark.parametrize(
    "height, width, seed", [(8, 8, (4, 4)), (28, 28, (7, 7)), (48, 24, (12, 6)), (128, 128, (4, 4))]
)
@pytest.mark.parametrize("conditional", [False, True])
def test_sizes(height, width, seed, conditional):
    model = small(ImageSpec(2, height, width, 3), conditional=conditional).float()
    assert model.generator.basis.shape[1:] == seed and model.discriminator.basis.kernel_size == seed
    image = model.sample(2, generator=torch.Generator().manual_seed(0))
    assert image.shape == (2, 2, height, width) and image.abs().max() <= 1
    assert model.score(image, torch.tensor([0, 2])).shape == (2,)


def test_training_sees_images_beyond_the_range_that_samples_are_clipped_to():
    model, z = small(), 9 * torch.randn(50, 5, dtype=torch.float64)
    assert model.generate(z).abs().max() > 1
    model.latent = lambda n, generator=None: z
    assert torch.equal(model.sample(50), model.generate(z).clamp(-1, 1))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="group=3 must divide 8"):
        small(group=3)
    with pytest.raises(ValueError, match="width=9 must be at most max_width=8"):
        small(width=9)
    with pytest.raises(UsageError, match="no classes"):
        small(ImageSpec(1, 16, 16, 0), conditional=True)
    with pytest.raises(UsageError, match="30x30"):
        small(ImageSpec(1, 30, 30))


def test_the_recipe_follows_one_cosine():
    """Table 9 for CIFAR-10: 20 of 250 million images of burn-in; model=r3gan burns in for all of its run."""
    for name, share in (("r3gan_paper", 0.08), ("r3gan", 1.0)):
        cfg = compose("train", overrides(name))
        parts = build(cfg)
        step, penalties = parts.steps[0], parts.loss.penalties
        assert parts.loss.paired and parts.warnings() == []
        for at, way in ((0.0, 0.0), (share / 2, 0.5), (share, 1.0), (1.0, 1.0)):
            step.prepare(at)
            group = step.optimizer.param_groups[0]
            lr, gamma = ((2e-4, 5e-5), (0.05, 0.005)) if name == "r3gan_paper" else LR_AND_GAMMA
            assert group["lr"] == pytest.approx(lr[0] + way * (lr[1] - lr[0]))
            assert group["betas"] == pytest.approx((0, 0.9 + way * 0.09))
            for each in ("r1", "r2"):
                assert penalties[each].gamma(at) == pytest.approx(gamma[0] + way * (gamma[1] - gamma[0]))
                assert penalties[each].through and penalties[each].shared
            if name == "r3gan_paper":
                assert parts.ema.half_life(at) == pytest.approx(way * 5e6)
                assert parts.loss.stabilizers["augment"].p(at) == pytest.approx(way * 0.55)
    paper = compose("train", ["model=r3gan_paper", *SMALL[:5]])
    assert (paper.images, paper.batch_size, paper.model.width, paper.model.blocks) == (250_000_000, 512, 768, 2)


@pytest.mark.parametrize("way", ["shared", "composed"])
def test_the_loss_is_log_2_at_equal_scores_and_its_gradient_half_of_each(way):
    """softplus(-(D(x) - D(G(z)))) at a difference of zero: log 2, slope -1/2 in D(x) and 1/2 in D(G(z)); over N."""
    on = [f"loss.penalties.{each}.shared={str(way == 'shared').lower()}" for each in ("r1", "r2")]
    parts = build(compose("train", overrides("r3gan", *on)))
    batch, scores = parts.loader.next(), []

    def score(image, label=None):
        scores.append((0.0 * image.sum((1, 2, 3))).requires_grad_())
        return scores[-1]

    parts.model.score = score
    for step in parts.steps:
        scores.clear()
        step.prepare()
        with torch.enable_grad():
            row = step.phase.terms[0].fn(parts.model, batch)
        assert row["pair"].item() == pytest.approx(math.log(2), abs=1e-6)
        gradients = torch.autograd.grad(row["pair"], scores)
        assert len(gradients) == 2 and all(g.abs().allclose(torch.tensor(1 / 16)) for g in gradients)
        assert gradients[0].sign().eq(-1).all() and gradients[1].sign().eq(1).all()  # D: x first; G: G(z) first


def test_the_rows_of_stacked_mnist_are_two_losses_with_both_penalties_or_r1_alone():
    rows = []
    for loss in ("r3gan/relativistic", "nonsaturating"):
        for penalties in ("r3gan/r1,r3gan/r2", "r3gan/r1"):
            cfg = compose("train", ["experiment=stacked_mnist", f"loss={loss}", f"penalty=[{penalties}]"])
            assert choosing(cfg.eval.best, metrics_named(cfg.eval.metrics, []), {}) and cfg.eval.split == "validation"
            rows.append((cfg.loss._target_.rpartition(".")[2], cfg.loss.get("variant"), list(cfg.loss.penalties)))
    pairs, plain = ("Relativistic", "rsgan"), ("NonSaturating", None)
    assert rows == [(*each, names) for each in (pairs, plain) for names in (["r1", "r2"], ["r1"])]
