"""Conditional GANs against their papers: sizes, what the yaml picks, where the label enters."""

import math

import pytest
import torch
from helpers import SMALL, compose, overrides
from torch import nn
from torch.nn.functional import log_softmax, softplus

from gancli.data.spec import Batch, ImageSpec
from gancli.errors import UsageError
from gancli.losses.acgan import ACGAN as ACGANLoss
from gancli.losses.acgan import named
from gancli.models.acgan import ACGAN
from gancli.models.cdcgan import CDCGAN
from gancli.models.cgan import CGAN
from gancli.models.projection import Projection
from gancli.nn.labels import one_hot, with_maps
from gancli.nn.norm import ConditionalBatchNorm2d
from gancli.training.build import build

MNIST = ImageSpec(1, 28, 28, num_classes=10)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_codes_and_maps():
    code = one_hot(torch.tensor([2, 0]), 3)
    assert code.tolist() == [[0, 0, 1], [1, 0, 0]]
    x = torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    both = with_maps(x, code)
    assert torch.equal(both[:, :2], x) and both.shape == (2, 5, 4, 5)
    assert torch.equal(both[:, 2:], code[:, :, None, None] * torch.ones(4, 5))


def test_cgan_is_the_papers():
    model = CGAN(MNIST)
    g = 101 * 200 + 11 * 1000 + 1201 * 1200 + 1201 * 784
    d = 785 * 240 * 5 + 11 * 50 * 5 + 291 * 240 * 4 + 241
    assert (parameters(model.generator), parameters(model.discriminator)) == (g, d)
    for net, irange in ((model.generator, 0.05), (model.discriminator, 0.005)):
        for layer in (m for m in net.modules() if isinstance(m, nn.Linear)):
            assert layer.weight.abs().max() <= irange and layer.weight.std() > irange / 2 and not layer.bias.any()
    z = model.latent(2000, torch.Generator().manual_seed(0))
    assert z.min() >= 0 and z.max() <= 1 and z.mean().item() == pytest.approx(0.5, abs=0.01)
    assert sum(isinstance(m, nn.Dropout) for m in model.discriminator.modules()) == 3


def test_cgans_dropout_is_part_of_its_latents_at_test_time_too():
    model, label = CGAN(MNIST).eval(), torch.zeros(200, dtype=torch.int64)
    z = model.latent(200, torch.Generator().manual_seed(0))
    image = model.generate(z, label)
    assert torch.equal(image, model.generate(z, label))
    same = torch.cat([z[:1, :100].expand(200, -1), z[:, 100:]], 1)  # other units fall out, the latents stay
    assert model.generate(same, label).std(0).mean() > 0.1 * image.std(0).mean() > 0
    g = model.generator
    hidden = torch.cat([g.of_latent(z[:, :100]), g.of_label.weight[:, 0] + g.of_label.bias + torch.zeros(200, 1)], 1)
    kept = z[:, 100:1300] >= 0.5
    assert kept.float().mean().item() == pytest.approx(0.5, abs=0.01)
    hidden = g.joint(torch.where(kept, 2 * hidden.relu(), 0)).relu()
    hidden = torch.where(z[:, 1300:] >= 0.5, 2 * hidden, 0)
    slow = 2 * g.image(hidden).sigmoid().view(200, 1, 28, 28) - 1
    assert torch.allclose(image, slow, atol=1e-5)
    with pytest.raises(ValueError, match="drop=1"):
        CGAN(MNIST, drop=1)


def test_cgan_brings_its_papers_recipe():
    cfg = compose("train", ["model=cgan", *SMALL[:-2], "runtime=cpu"])
    assert cfg.batch_size == 100 and cfg.optimizer.lr == 0.1 and cfg.optimizer.momentum == 0.5
    rates = build(cfg).schedule
    assert rates(100, 10**9).lr == pytest.approx(1 / 1.00004)
    assert rates(10**8, 10**9).lr * cfg.optimizer.lr == pytest.approx(1e-6)
    assert rates(12_500_000, 10**9).momentum == pytest.approx(0.7)


def test_cdcgan_takes_the_label_in_every_layer():
    """The release's sizes at 28 pixels, each input with ten more for the label."""
    model = CDCGAN(MNIST)
    inputs = {"generator": [], "discriminator": []}
    outputs = {"generator": [], "discriminator": []}
    for name, net in model.named_children():
        for m in net.modules():
            if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                dense = isinstance(m, nn.Linear)
                inputs[name].append(m.in_features if dense else m.in_channels)
                outputs[name].append(m.out_features if dense else m.out_channels)
    assert inputs["generator"] == [100 + 10, 1024 + 10, 128 + 10, 64 + 10]
    assert outputs["generator"] == [1024, 128 * 7 * 7, 64, 1]
    assert inputs["discriminator"] == [1 + 10, 64 + 10, 128 * 7 * 7 + 10, 1024 + 10]
    assert outputs["discriminator"] == [64, 128, 1024, 1]
    norms = [sum(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in net.modules()) for net in model.children()]
    assert norms == [3, 2]
    cfg = compose("train", ["model=cdcgan", "data=fake", "runtime=cpu"])
    assert (cfg.batch_size, cfg.optimizer.lr, cfg.optimizer.betas[0], cfg.schedule.start) == (128, 2e-4, 0.5, 0.5)


def test_conditional_batch_norm_is_a_loop_over_classes():
    torch.manual_seed(0)
    layer = ConditionalBatchNorm2d(3, 4).double()
    x, label = torch.randn(12, 3, 2, 2, dtype=torch.float64), torch.arange(12) % 3  # nothing of class 3
    assert torch.allclose(layer(x, label).mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), atol=1e-12)
    with torch.no_grad():
        layer.scale.weight.normal_()
        layer.shift.weight.normal_()
    plain = nn.BatchNorm2d(3, affine=False).double()
    for training in (True, False):
        layer.train(training)
        plain.load_state_dict(layer.norm.state_dict())
        normal = plain.train(training)(x)
        expected = torch.empty_like(x)
        for k in range(3):
            for c in range(3):
                expected[label == k, c] = (
                    normal[label == k, c] * layer.scale.weight[k, c] + layer.shift.weight[k, c]
                ).detach()
        assert torch.allclose(layer(x, label), expected, atol=1e-12)
    layer(x, label).square().sum().backward()
    assert not layer.scale.weight.grad[3].any() and layer.scale.weight.grad[:3].all()


def test_the_projection_is_an_inner_product_with_the_class():
    torch.manual_seed(0)
    model = Projection(ImageSpec(1, 16, 16, 5), width=4, discriminator_width=6).double().eval()
    net, image, label = model.discriminator, torch.randn(7, 1, 16, 16, dtype=torch.float64), torch.arange(7) % 5
    h = torch.stack([net.trunk(x[None])[0].flatten(1).sum(1) for x in image])
    expected = [(net.linear.weight[0] @ h[i] + net.table.weight[label[i]] @ h[i]).item() for i in range(7)]
    assert model.score(image, label).tolist() == pytest.approx(expected, rel=1e-9)
    assert net.linear.bias is None
    assert torch.linalg.matrix_norm(net.table.weight, 2).item() == pytest.approx(1, abs=1e-3)
    assert sum(isinstance(m, ConditionalBatchNorm2d) for m in model.generator.modules()) == 2 * 2 + 1


def test_acgans_losses_are_the_papers():
    """L_S + L_C for the discriminator and L_C, non-saturating L_S for the generator, in float64 by loops."""

    class Fixed:
        """Says of an image what stands in it."""

        def target_labels(self, label):
            return 2 - label

        def latent(self, n):
            return torch.arange(n)

        def generate(self, z, label):
            return fakes[: len(z)]

        def judge(self, image):
            return image[:, 0], image[:, 1:]

    torch.manual_seed(0)
    reals, fakes = torch.randn(2, 6, 4, dtype=torch.float64)
    batch, wanted = Batch(reals, torch.tensor([0, 1, 2, 2, 1, 0])), [2, 1, 0, 0, 1, 2]
    loss = ACGANLoss(class_weight=0.7, generator_class_weight=0.1)
    d, g = loss.discriminator_term(Fixed(), batch), loss.generator_term(Fixed(), batch)
    right = lambda rows, labels: -sum(log_softmax(r[1:], 0)[y].item() for r, y in zip(rows, labels)) / 6  # noqa: E731
    assert d["class(real)"].item() == pytest.approx(0.7 * right(reals, batch.label), rel=1e-12)
    assert d["class(fake)"].item() == pytest.approx(0.7 * right(fakes, wanted), rel=1e-12)
    assert d["real"].item() == pytest.approx(sum(softplus(-r[0]).item() for r in reals) / 6, rel=1e-12)
    assert d["fake"].item() == pytest.approx(sum(softplus(r[0]).item() for r in fakes) / 6, rel=1e-12)
    assert g["class"].item() == pytest.approx(0.1 * right(fakes, wanted), rel=1e-12)
    assert g["fake"].item() == pytest.approx(sum(softplus(-r[0]).item() for r in fakes) / 6, rel=1e-12)
    assert d["named(real)"].item() == pytest.approx(sum(r[1:].argmax() == y for r, y in zip(reals, batch.label)) / 6)
    assert named(torch.eye(3), torch.tensor([0, 1, 0])).item() == pytest.approx(2 / 3)


def test_acgans_discriminator_does_not_see_the_label_and_its_loss_needs_one_that_names_it():
    model = ACGAN(MNIST, width=4).eval()
    image = torch.rand(3, 1, 28, 28)
    assert torch.equal(model.score(image, torch.zeros(3).long()), model.score(image, torch.ones(3).long()))
    assert model.judge(image)[1].shape == (3, 10)
    with pytest.raises(
        UsageError, match="loss=acgan needs a discriminator that predicts classes, unlike DCGAN's; use model=acgan"
    ):
        build(compose("train", overrides("dcgan", "loss=acgan")))
    with pytest.raises(UsageError, match="class_weight=-1"):
        build(compose("train", overrides("acgan", "loss.class_weight=-1")))
    parts = build(compose("train", overrides("acgan", "loss=hinge")))
    assert type(parts.loss).__name__ == "Hinge"  # a plain GAN then


@pytest.mark.parametrize(
    "make", [lambda: Projection(MNIST, width=4, discriminator_width=4), lambda: ACGAN(MNIST, width=4)]
)
def test_generated_images_are_of_uniform_classes_where_the_paper_has_them(make):
    torch.manual_seed(0)
    drawn = make().target_labels(torch.zeros(5000, dtype=torch.int64)).bincount(minlength=10)
    assert drawn.sum() == 5000 and (drawn - 500).abs().max() < 5 * (5000 * 0.09) ** 0.5
    for model in (CGAN(MNIST, width=0.1), CDCGAN(MNIST, width=4)):
        assert model.target_labels(torch.tensor([3, 1])).tolist() == [3, 1]


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: CGAN(ImageSpec(1, 28, 28)), "is class-conditional"),
        (lambda: CGAN(MNIST, width=0.01), "width=0.01 leaves no units"),
        (lambda: CGAN(MNIST, drop=1.5), "drop=1.5"),
        (lambda: CDCGAN(ImageSpec(1, 30, 30, 10)), "30x30.*data.size"),
        (lambda: Projection(MNIST, discriminator_width=0), "discriminator_width=0"),
        *[
            (lambda kind=kind: kind(ImageSpec(1, 28, 28)), f"{kind.__name__} is class-conditional")
            for kind in (CDCGAN, Projection, ACGAN)
        ],
    ],
)
def test_impossible_settings_are_refused(make, said):
    with pytest.raises((UsageError, ValueError), match=said):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: CGAN(MNIST, width=0.1),
        lambda: CDCGAN(MNIST, width=4, hidden=8),
        lambda: Projection(MNIST, width=4, discriminator_width=4),
        lambda: ACGAN(MNIST, width=4),
    ],
)
def test_images_and_their_scores_depend_on_the_label(make):
    torch.manual_seed(0)
    model = make()
    for norm in (m for m in model.modules() if isinstance(m, ConditionalBatchNorm2d)):
        nn.init.normal_(norm.shift.weight)  # all classes start alike
    model.eval()
    z, image = model.latent(2), torch.rand(2, 1, 28, 28) * 2 - 1
    a, b = torch.tensor([0, 0]), torch.tensor([0, 7])
    drawn = (model.generate(z, a) - model.generate(z, b)).flatten(1).abs().amax(1)
    judged = (model.score(image, a) - model.score(image, b)).abs()
    assert drawn[0] == 0 and drawn[1] > 0 and judged.shape == (2,)
    assert judged[0] == 0 and (judged[1] > 0) != isinstance(model, ACGAN)
    assert math.prod(model.generate(z, a).shape) == 2 * 784
