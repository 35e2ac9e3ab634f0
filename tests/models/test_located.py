"""Gated PixelCNNs that are conditioned on a map: eq. 5 of the paper, and that every sampler reads the map."""

from dataclasses import replace

import pytest
import torch
from pixel_models import all_images, make

from gancli.data.spec import ImageSpec
from gancli.models.gated_pixelcnn import GatedPixelCNN
from gancli.nn.labels import Located
from gancli.nn.likelihoods import Bernoulli, Categorical

SIZES = {"width": 6, "blocks": 3, "head": 6, "kernel": 3}
CODES = ImageSpec(1, 5, 4, num_classes=3, levels=6, nominal=True)


def located(spec: ImageSpec = CODES, likelihood=Categorical, conditional: bool = True, **kwargs) -> GatedPixelCNN:
    return make(GatedPixelCNN, spec, likelihood, conditional=conditional, context=2, **{**SIZES, **kwargs})


def maps(n: int, spec: ImageSpec = CODES, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(n, 2, spec.height, spec.width, generator=generator, dtype=torch.float64)


def test_every_sampler_draws_the_same_and_follows_the_map():
    model, label = located(), torch.tensor([0, 1, 2, 2])
    noise, drawn = model.noise(4, torch.Generator().manual_seed(1)).double(), []
    for seed in (0, 1):  # the second time from the memory of the first
        given = Located(label, maps(4, seed=seed))
        naive, *others = (model.from_noise(noise, given, sampler) for sampler in model.SAMPLERS)
        assert len(others) == 3 and all(torch.equal(naive, other) for other in others)
        drawn.append(naive)
    assert not torch.equal(*drawn)
    other = Located(label.flip(0), given.context)
    assert not torch.equal(model.from_noise(noise, other), drawn[1])


@torch.no_grad()
@pytest.mark.parametrize("conditional", [False, True])
def test_probabilities_of_all_images_sum_to_one_under_every_map(conditional):
    spec = replace(CODES, height=2, width=2, levels=4)
    model, images = located(spec, conditional=conditional), all_images(spec)
    label = torch.ones(len(images), dtype=torch.int64) if conditional else None
    each = [model.log_prob(images, Located(label, context.expand(256, -1, -1, -1))) for context in maps(3, spec)]
    assert torch.stack(each).logsumexp(1).tolist() == pytest.approx([0, 0, 0], abs=1e-9)
    assert (each[0] - each[1]).abs().max() > 0.1


@torch.no_grad()
def test_a_constant_map_is_a_class_whose_biases_are_its_products():
    """Eq. 5 with s alike at all pixels is eq. 4 with V h = V s."""
    spec = ImageSpec(1, 5, 4, num_classes=3, levels=2)
    model = make(GatedPixelCNN, spec, Bernoulli, conditional=True, **SIZES)
    twin = make(GatedPixelCNN, spec, Bernoulli, context=2, **SIZES)
    twin.load_state_dict(model.state_dict(), strict=False)
    s = torch.tensor([[0.5, -1.0], [2.0, 0.3], [-1.0, 1.0]], dtype=torch.float64)
    for layer, other in zip([model.net.first, *model.net.layers], [twin.net.first, *twin.net.layers]):
        layer.bias.weight.copy_(s @ other.place.weight[:, :, 0, 0].T)
    image = torch.rand(3, 1, 5, 4, dtype=torch.float64).round() * 2 - 1
    context = s[:, :, None, None].expand(-1, -1, 5, 4)
    assert torch.allclose(twin(image, Located(None, context)), model(image, torch.arange(3)), atol=1e-12)


def test_the_map_at_a_pixel_reaches_that_pixel_and_later_ones():
    model, image = located(), torch.zeros(1, 1, 5, 4, dtype=torch.float64)
    context = maps(1).requires_grad_()
    params = model(image, Located(torch.tensor([0]), context))
    for row, column in ((0, 0), (2, 1), (4, 3)):
        (slope,) = torch.autograd.grad(params[0, :, row, column].sum(), context, retain_graph=True)
        seen = slope[0].abs().amax(0).flatten() > 0
        assert seen[row * 4 + column] and not seen[row * 4 + column + 1 :].any()
