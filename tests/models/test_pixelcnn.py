"""PixelCNN: what each pixel sees, that its probabilities sum to one, and that all samplers draw the same images."""

from functools import partial

import pytest
import torch
from pixel_models import LIKELIHOODS, all_images, chi_square_is_plausible, documented, sees
from torch import nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.pixelcnn import PixelCNN
from gancli.nn.incremental import Plan
from gancli.nn.likelihoods import Bernoulli, Categorical, DiscretizedLogisticMixture
from gancli.nn.masked import MaskedConv2d, mask


def make(spec: ImageSpec, likelihood, seed: int = 0, **kwargs) -> PixelCNN:
    """A small float64 network with random biases."""
    torch.manual_seed(seed)
    model = PixelCNN(spec, likelihood, **{"width": 6, "blocks": 2, "head": 6, **kwargs}).double()
    for layer in model.modules():
        if isinstance(layer, MaskedConv2d):
            nn.init.normal_(layer.bias)
            nn.init.normal_(layer.weight, std=1.5 / layer.weight[0].numel() ** 0.5)
    return model


@pytest.mark.parametrize("row,column", [(0, 0), (5, 4), (8, 8), (8, 0)])
def test_a_pixel_sees_the_documented_field_and_nothing_of_the_future(row, column):
    spec = ImageSpec(1, 9, 9, levels=2)
    seen = sees(make(spec, Bernoulli, kernel=5), row, column)[0]
    assert torch.equal(seen, documented(spec, row, column, kernel=5, blocks=2))
    assert not seen.flatten()[row * 9 + column :].any()


def test_the_blind_spot_is_the_papers():
    """3x3 with mask A and six 3x3 with mask B see 69 of the 84 pixels before (6, 6) of 13x13."""
    seen = sees(make(ImageSpec(1, 13, 13, levels=2), Bernoulli, kernel=3, blocks=6), 6, 6)
    assert seen.sum() == 69


@pytest.mark.parametrize("group", [0, 1, 2])
@pytest.mark.parametrize("width", [6, 4])
def test_colours_see_earlier_colours_of_their_pixel(group, width):
    spec = ImageSpec(3, 5, 5, levels=4)
    seen = sees(make(spec, Categorical, kernel=3, width=width), 3, 2, group)
    past = documented(spec, 3, 2, kernel=3, blocks=2)
    own = torch.tensor([colour < group for colour in range(3)])
    assert torch.equal(seen[:, 3, 2], own)
    past[3, 2] = False
    # The red of earlier pixels sees all of them; every colour sees every colour of the past.
    assert torch.equal(seen & ~torch.eye(25, dtype=torch.bool)[17].view(5, 5), past.expand(3, -1, -1))


def test_a_mixture_orders_its_colours_itself():
    seen = sees(make(ImageSpec(3, 5, 5), DiscretizedLogisticMixture, kernel=3), 3, 2)
    assert not seen[:, 3, 2].any() and not seen.flatten(1)[:, 17:].any() and seen[:, 3, 1].all()


def test_an_unmasked_head_would_leak():
    """The test of colours can fail: with the last mask open red sees green."""
    model = make(ImageSpec(3, 5, 5, levels=4), Categorical, kernel=3)
    for layer in model.modules():
        if isinstance(layer, MaskedConv2d) and layer.kernel_size == (1, 1):
            layer.mask.fill_(1)
    assert sees(model, 3, 2, 0)[:, 3, 2].any()


def test_masks_of_three_colours():
    a, b = mask(3, 3, 1, 3, image=True)[:, :, 0, 0], mask(6, 6, 3, 3, image=False)[:, :, 1, 1]
    assert a.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert b.tolist() == [[1, 1, 0, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 0, 0]] * 2 + [[1] * 6] * 2


def test_every_convolution_is_masked():
    for spec, likelihood in LIKELIHOODS.values():
        convs = [m for m in make(spec, likelihood).modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
        assert len(convs) == 1 + 3 * 2 + 3 and all(isinstance(m, MaskedConv2d) for m in convs)
        assert [m.image for m in convs] == [True] + [False] * 9


@pytest.mark.parametrize(
    "spec,likelihood",
    [
        (ImageSpec(1, 3, 3, levels=2), Bernoulli),
        (ImageSpec(1, 2, 2, levels=4), Categorical),
        (ImageSpec(1, 2, 2, levels=4), partial(DiscretizedLogisticMixture, components=2)),
        (ImageSpec(3, 2, 2, levels=2), Categorical),
        (ImageSpec(3, 2, 1, levels=4), partial(DiscretizedLogisticMixture, components=2)),
    ],
    ids=["3x3 binary", "2x2 2-bit", "2x2 2-bit mixture", "2x2 rgb binary", "rgb 2-bit mixture"],
)
def test_probabilities_of_all_images_sum_to_one(spec, likelihood):
    model = make(spec, likelihood, kernel=3)
    with torch.no_grad():
        log_p = model.log_prob(all_images(spec))
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-9)
    assert log_p.std() > 0.1  # not just the uniform distribution


def test_samples_have_the_enumerated_probabilities():
    """Those of one sampler do, and the others draw the same ones."""
    spec, n = ImageSpec(1, 3, 3, levels=2), 50_000
    model = make(spec, Bernoulli, kernel=3)
    with torch.no_grad():
        p = model.log_prob(all_images(spec)).exp()
    noise = model.noise(n, torch.Generator().manual_seed(0)).double()
    images = model.from_noise(noise, sampler="wavefront")
    assert all(torch.equal(model.from_noise(noise[:500], sampler=s), images[:500]) for s in PixelCNN.SAMPLERS)
    index = ((images.flatten(1) > 0) * 2 ** torch.arange(8, -1, -1)).sum(1)
    counts = torch.bincount(index, minlength=512).double()
    assert chi_square_is_plausible(counts, n * p)


@pytest.mark.parametrize("case", LIKELIHOODS)
def test_all_samplers_draw_the_same_images(case):
    model = make(*LIKELIHOODS[case])
    noise = model.noise(3, torch.Generator().manual_seed(1)).double()
    naive, cache, wave = (model.from_noise(noise, sampler=s) for s in ("naive", "cache", "wavefront"))
    assert torch.equal(naive, cache) and torch.equal(naive, wave)
    assert len(naive.unique(dim=0)) == 3


@pytest.mark.parametrize("case", LIKELIHOODS)
def test_samples_are_what_one_full_forward_says(case):
    """Teacher forcing on the samples with the same noise gives the samples again."""
    model = make(*LIKELIHOODS[case])
    noise = model.noise(3).double()
    image = model.from_noise(noise)
    assert torch.equal(model.likelihood.sample(model(image), noise), image)


@pytest.mark.parametrize("kernel,groups", [(3, 82), (7, 136)])
def test_wavefronts_hold_every_pixel_once_after_all_that_it_sees(kernel, groups):
    model = make(ImageSpec(1, 28, 28, levels=2), Bernoulli, kernel=kernel)
    plan = Plan(model, 28, 28, model.order(), labelled=False, together=True)
    assert plan.steps == groups  # width + s * (height - 1) with s = kernel // 2 + 1
    fronts = plan.layouts[plan.output].pixels.split(plan.layouts[plan.output].counts)
    time = {divmod(int(p), 28): t for t, front in enumerate(fronts) for p in front}
    assert len(time) == 784 and min(map(len, fronts)) > 0
    field = documented(model.spec, 10, 14, kernel, blocks=2).nonzero().tolist()
    latest = max(time[tuple(place)] for place in field)
    assert latest == time[10, 14] - 1


def test_off_grid_inputs_are_read_as_their_level():
    """3-bit levels stored as bytes lie beside the grid; likelihood and network see the level itself."""
    model = make(ImageSpec(1, 4, 4, levels=8), Categorical)
    exact = model.likelihood.value(torch.randint(0, 8, (2, 1, 4, 4)).double())
    stored = ((exact + 1) * 127.5).round() / 127.5 - 1
    assert not torch.equal(exact, stored) and torch.equal(model.log_prob(exact), model.log_prob(stored))


def test_impossible_settings_are_refused():
    rgb = ImageSpec(3, 8, 8)
    with pytest.raises(UsageError, match="model.width=2: must be 3 or more"):
        PixelCNN(rgb, Categorical, width=2)
    with pytest.raises(UsageError, match="model.kernel=4"):
        PixelCNN(rgb, Categorical, width=6, head=6, kernel=4)
    with pytest.raises(UsageError, match="did you mean.*wavefront"):
        PixelCNN(rgb, Categorical, sampler="wavefrnt")
