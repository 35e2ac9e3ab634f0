"""Networks that translate: what a patch sees, what stays on at test time, how labels go in, which sizes are taken."""

import pytest
import torch
from torch import nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.metrics.scoring.translations import Translations
from gancli.models.cyclegan import CycleGAN, block
from gancli.models.pix2pix import Pix2Pix
from gancli.models.stargan import StarGAN
from gancli.nn.noise import NoiseDropout, drawing
from gancli.nn.patchgan import layers_for, patchgan, receptive_field, smallest

TWO = ImageSpec(3, 16, 16, source_channels=3)
PAIRS = ImageSpec(3, 16, 16, source_channels=1, paired=True)
FOUR = ImageSpec(3, 16, 16, num_classes=4)


def seeded(make, *args, **kwargs):
    torch.manual_seed(0)
    return make(*args, **kwargs)


@pytest.mark.parametrize("layers, field", [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_receptive_fields_by_gradient(layers, field):
    """The papers' 16, 34, 70 and 142 pixels: where the gradient of one logit in the picture is not zero."""
    net = patchgan(1, 2, layers, lambda channels: nn.Identity())
    side = field + 3 * 2**layers
    image = torch.randn(1, 1, side, side, requires_grad=True)
    scores = net(image)
    centre = scores.shape[-1] // 2
    scores[0, 0, centre, centre].backward()
    rows, columns = (image.grad[0, 0].abs().sum(dim).nonzero().flatten() for dim in (0, 1))
    assert len(rows) == rows[-1] - rows[0] + 1 == field == receptive_field(layers) == len(columns)


def test_layers_by_size():
    assert [layers_for(side) for side in (8, 28, 32, 64, 128, 256, 512)] == [1, 1, 1, 2, 3, 3, 3]
    for layers in (1, 2, 3):
        net = patchgan(1, 2, layers, nn.InstanceNorm2d)
        assert net(torch.randn(1, 1, smallest(layers), smallest(layers))).shape == (1, 1, 1, 1)
        with pytest.raises(ValueError):
            net(torch.randn(1, 1, smallest(layers) - 1, smallest(layers) - 1))


def test_cyclegan_is_the_papers_network():
    model = CycleGAN(ImageSpec(3, 256, 256, source_channels=3))
    net = model.generators["a2b"]
    convolutions = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert [m.out_channels for m in convolutions] == [64, 128, 256, *[256] * 18, 128, 64, 3]
    assert not any(m.affine or m.track_running_stats for m in net.modules() if isinstance(m, nn.InstanceNorm2d))
    assert sum(p.numel() for p in net.parameters()) == 7 * 7 * 3 * 64 * 2 + 3 + 9 * (
        2 * (64 * 128 + 128 * 256) + 18 * 256 * 256
    )
    judge = [m.out_channels for m in model.discriminators["b"] if isinstance(m, nn.Conv2d)]
    assert judge == [64, 128, 256, 512, 1] and model.discriminators["b"](torch.zeros(1, 3, 256, 256)).shape[-1] == 30
    assert "patches of 70 pixels" in model.notes[0]
    assert 0.019 < convolutions[5].weight.std() < 0.021
    small = CycleGAN(ImageSpec(3, 128, 128, source_channels=3), width=2, discriminator_width=2)
    assert len([m for m in small.generators["a2b"] if type(m).__name__ == "Residual"]) == 6


def test_a_block_adds_and_does_not_clip():
    x = torch.randn(1, 4, 6, 6)
    net = block(4)
    out = net(x)
    assert torch.allclose(out - x, net.body(x), atol=1e-6) and (out < 0).any()
    assert isinstance(net.body[-1], nn.InstanceNorm2d)


def test_unequal_channels_and_sizes():
    model = CycleGAN(ImageSpec(3, 8, 12, source_channels=1), width=2, blocks=1, discriminator_width=2)
    grey, rgb = torch.randn(2, 1, 8, 12), torch.randn(2, 3, 8, 12)
    assert model.translate(grey, "a2b").shape == rgb.shape and model.translate(rgb, "b2a").shape == grey.shape
    for wrong in (ImageSpec(1, 30, 30, source_channels=1), ImageSpec(1, 4, 4, source_channels=1)):
        with pytest.raises(UsageError, match="multiples of 4"):
            CycleGAN(wrong, width=2)
    with pytest.raises(UsageError, match="data=unpaired"):
        CycleGAN(ImageSpec(1, 32, 32))
    with pytest.raises(UsageError, match="data=paired"):
        Pix2Pix(TWO)
    with pytest.raises(UsageError, match="data=domains"):
        StarGAN(ImageSpec(1, 32, 32))


def test_pix2pix_takes_the_batchs_statistics_and_drops_at_test_time():
    model = seeded(Pix2Pix, PAIRS, width=4, discriminator_width=4).eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert not layer.track_running_stats  # nothing but the batch to take statistics from
    source = torch.randn(4, 1, 16, 16)
    noise = lambda: torch.Generator().manual_seed(5)  # noqa: E731
    one, again, other = (model.translate(source, "a2b", torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert torch.equal(one, again) and not torch.equal(one, other)  # dropout is on, and drawn from the generator
    state = torch.get_rng_state()
    model.translate(source, "a2b", noise())
    assert torch.equal(state, torch.get_rng_state())
    still = seeded(Pix2Pix, PAIRS, width=4, dropout=0.0, discriminator_width=4).eval()
    assert torch.equal(still.translate(source), still.translate(source))
    company = torch.cat([source[:1], 3 * source[1:]])
    assert not torch.allclose(still.translate(source)[0], still.translate(company)[0], atol=1e-4)
    train = still.translate(source)
    assert torch.equal(train, still.train().translate(source))  # the same in both modes


def test_pix2pix_has_skips_a_free_innermost_layer_and_dropout_in_three_layers():
    model = Pix2Pix(ImageSpec(3, 256, 256, source_channels=3, paired=True))
    net = model.generators["a2b"]
    assert [layer[-1].out_channels if isinstance(layer[-1], nn.Conv2d) else layer[-2].out_channels
            for layer in net.down] == [64, 128, 256, 512, 512, 512, 512, 512]  # fmt: skip
    assert not any(isinstance(m, nn.BatchNorm2d) for layer in (net.down[0], net.down[-1]) for m in layer)
    assert ["NoiseDropout" in str(layer) for layer in net.up] == [True] * 3 + [False] * 5
    joined = [m.in_channels for m in net.up.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert joined == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert model.discriminators["b"][0].in_channels == 6 and model.multiple == 256


def test_the_conditional_discriminator_sees_the_source():
    model = seeded(Pix2Pix, PAIRS, width=4, discriminator_width=4)
    image, source = torch.randn(2, 3, 16, 16), torch.randn(2, 1, 16, 16)
    assert not torch.allclose(model.score(source, image), model.score(-source, image))


def test_stargan_is_told_the_domain_by_maps():
    model = seeded(StarGAN, FOUR, width=4, blocks=1, discriminator_width=4)
    seen = []
    model.generators["all"].register_forward_pre_hook(lambda net, args: seen.append(args[0]))
    image, label = torch.randn(3, 3, 16, 16), torch.tensor([2, 0, 3])
    moved = model.move(image, label)
    assert torch.equal(seen[0][:, :3], image)
    for maps, domain in zip(seen[0][:, 3:], label.tolist()):
        assert [float(each.min()) for each in maps] == [float(k == domain) for k in range(4)]
        assert torch.equal(maps.amin((1, 2)), maps.amax((1, 2)))
    assert torch.allclose(model.translate(image[:1], "2"), moved[:1], atol=1e-6)
    assert torch.equal(model.sample(3, source=image, label=label), moved)
    assert model.directions == ("0", "1", "2", "3")
    score, domain = model.judge(image)
    assert score.shape[:2] == (3, 1) and domain.shape == (3, 4)


def test_stargan_has_no_norm_to_judge_by_and_forgets_no_statistics_to_translate_by():
    model = StarGAN(ImageSpec(3, 128, 128, num_classes=5))
    judge, net = model.discriminators["all"], model.generators["all"]
    assert [m.out_channels for m in judge.body if isinstance(m, nn.Conv2d)] == [64, 128, 256, 512, 1024, 2048]
    assert not any("Norm" in type(m).__name__ for m in judge.modules())
    norms = [m for m in net.modules() if isinstance(m, nn.InstanceNorm2d)]
    assert norms and all(m.affine and not m.track_running_stats for m in norms)
    small = seeded(StarGAN, FOUR, width=4, blocks=1, discriminator_width=4)
    image = torch.randn(2, 3, 16, 16)
    assert torch.equal(small.eval().translate(image, "1"), small.train().translate(image, "1"))


@pytest.mark.parametrize("kind, spec", [(CycleGAN, TWO), (Pix2Pix, PAIRS), (StarGAN, FOUR)])
def test_only_what_mixes_batches_is_scored_in_those_of_the_training(kind, spec):
    own = {"dropout": 0.0} if kind is Pix2Pix else {}
    model = seeded(kind, spec, width=4, discriminator_width=4, **own).eval()
    source = torch.randn(4, spec.source_channels or 3, 16, 16)
    together = model.translate(source, model.directions[0])
    alone = torch.cat([model.translate(each, model.directions[0]) for each in source.split(1)])
    assert torch.allclose(together, alone, atol=1e-5) == (not kind.mixes_batches) == (kind is not Pix2Pix)
    assert Translations.batch_of(model, 3) == (3 if kind is Pix2Pix else 64)


def test_dropout_as_noise_is_dropout_that_stays_on():
    layer, x = NoiseDropout(0.25).eval(), torch.ones(4000)
    with drawing(layer, torch.Generator().manual_seed(0)):
        first, second = layer(x), layer(x)
    kept = torch.rand(4000, generator=torch.Generator().manual_seed(0)) >= 0.25
    assert torch.equal(first, kept / 0.75) and not torch.equal(first, second)
    assert first.mean().item() == pytest.approx(1, abs=0.03)  # four standard errors
    assert layer.generator is None and torch.equal(NoiseDropout(0)(x), x)
    with pytest.raises(ValueError, match="p=1"):
        NoiseDropout(1)
