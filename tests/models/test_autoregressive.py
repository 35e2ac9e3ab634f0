"""Every model of pixels in order: what a pixel sees, probabilities that sum to one, samplers that agree, completion."""

import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
from pixel_models import all_images, chi_square_is_plausible, make, sees
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.autoregressive import Autoregressive
from gancli.models.gated_pixelcnn import GatedPixelCNN
from gancli.models.pixelcnn import PixelCNN
from gancli.models.pixelcnn_pp import PixelCNNpp
from gancli.nn.likelihoods import Bernoulli, Categorical, DiscretizedLogisticMixture
from gancli.nn.logistic import DiscretizedLogistic
from gancli.nn.window import WindowConv2d, WindowTransposed2d

MIXTURE = partial(DiscretizedLogisticMixture, components=2)
NETWORKS: dict[str, Callable[..., Autoregressive]] = {
    "pixelcnn": partial(PixelCNN, width=6, blocks=2, head=6, kernel=3),
    "gated_pixelcnn": partial(GatedPixelCNN, width=6, blocks=3, head=6, kernel=3),
    "pixelcnn_pp": partial(PixelCNNpp, width=5, resnets=1, scales=1),
}
STRIDED = partial(PixelCNNpp, width=5, resnets=1, scales=2)  # for sides that divide by 2


@pytest.mark.parametrize("network", ["gated_pixelcnn", "pixelcnn_pp"])
@pytest.mark.parametrize("row,column", [(0, 0), (2, 3), (4, 0), (6, 5), (6, 6)])
def test_two_stacks_see_the_whole_past_and_nothing_of_the_future(network, row, column):
    wide = {"blocks": 8} if network == "gated_pixelcnn" else {"resnets": 2}
    model = make(NETWORKS[network], ImageSpec(1, 7, 7, levels=2), Bernoulli, **wide)
    seen = sees(model, row, column).flatten()
    assert seen[: row * 7 + column].all() and not seen[row * 7 + column :].any()


@pytest.mark.parametrize("row,column", [(0, 0), (3, 4), (4, 7), (7, 0), (7, 7)])
def test_a_strided_network_sees_no_future_either(row, column):
    seen = sees(make(partial(STRIDED, resnets=3), ImageSpec(3, 8, 8), MIXTURE), row, column).flatten(1)
    assert seen[:, : row * 8 + column].all() and not seen[:, row * 8 + column :].any()


@pytest.mark.parametrize("group", [0, 1, 2])
def test_gated_colours_see_earlier_colours_of_their_pixel(group):
    seen = sees(make(NETWORKS["gated_pixelcnn"], ImageSpec(3, 5, 5, levels=4), Categorical), 3, 2, group)
    assert torch.equal(seen[:, 3, 2], torch.arange(3) < group)
    assert seen.flatten(1)[:, :17].all() and not seen.flatten(1)[:, 18:].any()


def test_a_vertical_stack_one_row_too_low_would_leak():
    """The test of the future can fail."""
    model = make(NETWORKS["gated_pixelcnn"], ImageSpec(1, 7, 7, levels=2), Bernoulli)
    for layer in model.modules():
        if isinstance(layer, WindowConv2d) and layer.size == (1, 1):
            layer.top = 0
    assert sees(model, 3, 3).flatten()[24:].any()


@pytest.mark.parametrize(
    "kernel,top,left,stride", [((2, 3), 1, 1, 1), ((2, 3), 2, 1, 1), ((2, 2), 1, 1, 2), ((1, 1), 1, 0, 1)]
)
def test_a_window_is_its_table_of_taps(kernel, top, left, stride):
    layer = WindowConv2d(3, 4, kernel, top, left, stride=stride).double()
    assert_tabled(layer, torch.randn(2, 3, 6, 8, dtype=torch.float64))


@pytest.mark.parametrize("kernel,left", [((2, 3), 1), ((2, 2), 0)])
def test_a_transposed_window_is_its_table_of_taps(kernel, left):
    layer = WindowTransposed2d(3, 4, kernel, left=left).double()
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64)
    assert layer(x).shape == (2, 4, 6, 8)
    assert_tabled(layer, x)
    by_hand = torch.zeros(6, 8, dtype=torch.float64)
    for r, c, i, j in itertools.product(range(3), range(4), range(kernel[0]), range(kernel[1])):
        if 0 <= 2 * c - left + j < 8:
            by_hand[2 * r + i, 2 * c - left + j] += x[0, 0, r, c] * layer.weight[0, 0, i, j].detach()
    only_first = torch.cat([x[:, :1], torch.zeros_like(x[:, 1:])], 1)
    assert torch.allclose(layer(only_first)[0, 0] - layer.bias[0], by_hand)


def assert_tabled(layer: WindowConv2d, x: Tensor) -> None:
    taps, grid = layer.taps(*x.shape[2:])
    matrix, bias = layer.matrix()
    padded = torch.cat([x.flatten(2), x.new_zeros(*x.shape[:2], 1)], 2)  # [-1]: missing
    columns = padded[:, :, taps].permute(0, 2, 3, 1).flatten(2)  # (N, H * W, T * inputs)
    found = (columns @ matrix + bias).transpose(1, 2).unflatten(2, grid)
    assert torch.allclose(found, layer(x))


SUMS = {
    "3x3 binary": (ImageSpec(1, 3, 3, levels=2), Bernoulli),
    "2x2 2-bit": (ImageSpec(1, 2, 2, levels=4), Categorical),
    "2x2 2-bit mixture": (ImageSpec(1, 2, 2, levels=4), MIXTURE),
    "rgb 2-bit mixture": (ImageSpec(3, 2, 1, levels=4), MIXTURE),
    "2x2 rgb binary": (ImageSpec(3, 2, 2, levels=2), Categorical),
}


@pytest.mark.parametrize("case", SUMS)
@pytest.mark.parametrize("network", NETWORKS)
def test_probabilities_of_all_images_sum_to_one(network, case):
    spec, likelihood = SUMS[case]
    if network == "pixelcnn_pp" and case == "2x2 rgb binary":
        pytest.skip("leaves the colours to its likelihood")
    model = make(NETWORKS[network], spec, likelihood)
    with torch.no_grad():
        log_p = model.log_prob(all_images(spec))
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-9) and log_p.std() > 0.1


def test_a_strided_network_sums_to_one():
    spec = ImageSpec(1, 2, 4, levels=2)
    with torch.no_grad():
        log_p = make(STRIDED, spec, Bernoulli).log_prob(all_images(spec))
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-9) and log_p.std() > 0.1


SAMPLED = {
    "binary": (ImageSpec(1, 6, 4, levels=2, num_classes=4), Bernoulli),
    "rgb softmax": (ImageSpec(3, 4, 6, levels=4, num_classes=4), Categorical),
    "rgb mixture": (ImageSpec(3, 4, 4, num_classes=4), MIXTURE),
}


@pytest.mark.parametrize("case", SAMPLED)
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("network", [*NETWORKS, "strided"])
def test_all_samplers_draw_the_same_images(network, case, conditional):
    spec, likelihood = SAMPLED[case]
    if network in ("pixelcnn_pp", "strided") and case == "rgb softmax":
        pytest.skip("leaves the colours to its likelihood")
    if network == "pixelcnn" and conditional:
        pytest.skip("knows no classes")
    kwargs = {"conditional": True} if conditional else {}
    model = make(NETWORKS.get(network, STRIDED), spec, likelihood, **kwargs)
    label = torch.tensor([0, 3, 1]) if conditional else None
    noise = model.noise(3, torch.Generator().manual_seed(1)).double()
    naive, *others = (model.from_noise(noise, label, sampler) for sampler in model.SAMPLERS)
    assert all(torch.equal(naive, other) for other in others)
    assert len(naive.unique(dim=0)) > 1 and not naive.is_inference()
    again = model.from_noise(
        noise.flip(0), None if label is None else label.flip(0)
    )  # the memory of before is taken again
    assert torch.equal(again, naive.flip(0))
    if conditional:
        assert not torch.allclose(model(naive, label), model(naive, label.roll(1)))


@pytest.mark.parametrize("network", ["gated_pixelcnn", "pixelcnn_pp"])
def test_samples_have_the_enumerated_probabilities(network):
    spec, n = ImageSpec(1, 3, 3, levels=2), 6000
    model = make(NETWORKS[network], spec, Bernoulli)
    with torch.no_grad():
        p = model.log_prob(all_images(spec)).exp()
    images = model.from_noise(model.noise(n, torch.Generator().manual_seed(0)).double())
    index = ((images.flatten(1) > 0) * 2 ** torch.arange(8, -1, -1)).sum(1)
    assert chi_square_is_plausible(torch.bincount(index, minlength=512).double(), n * p)


def test_new_weights_are_read_by_the_next_sampling():
    model = make(NETWORKS["gated_pixelcnn"], ImageSpec(1, 5, 5, levels=2), Bernoulli)
    noise = model.noise(4).double()
    before = model.from_noise(noise)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    after = model.from_noise(noise)
    assert not torch.equal(before, after) and torch.equal(after, model.from_noise(noise, sampler="naive"))


def test_a_layer_that_is_not_pixelwise_is_found_out():
    """A mirror image holds the future: the naive sampler goes along, the cached ones say so, at the end or at once."""

    class Leaky(PixelCNN):
        def forward(self, image, label=None):
            return self.net(image).flip(-1)  # of rows the channels

    class Mean(PixelCNN):
        def forward(self, image, label=None):
            return self.net(image) + self.net(image).mean((2, 3), keepdim=True)

    model = make(partial(Leaky, width=6, blocks=1, head=6, kernel=3), ImageSpec(1, 4, 4, levels=2), Bernoulli)
    model.from_noise(model.noise(2).double(), sampler="naive")
    with pytest.raises(UsageError, match="cache.* differs from the whole one"):
        model.from_noise(model.noise(2).double(), sampler="cache")
    model = make(partial(Mean, width=6, blocks=1, head=6, kernel=3), ImageSpec(1, 4, 4, levels=2), Bernoulli)
    with pytest.raises(UsageError, match="does not consist of pixelwise operations.*use sampler=naive"):
        model.from_noise(model.noise(2).double())


def test_a_mask_that_leaks_is_found_before_sampling():
    model = make(NETWORKS["pixelcnn"], ImageSpec(1, 4, 4, levels=2), Bernoulli)
    model.net[0].mask.fill_(1)
    with pytest.raises(ValueError, match="pixel 0 of the image reads pixel 1"):
        model.from_noise(model.noise(2).double(), sampler="wavefront")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("sampler", Autoregressive.SAMPLERS)
def test_completions_keep_what_is_there_and_have_the_conditional_probability(network, sampler):
    """The lower part given the upper one, against the enumerated conditional distribution."""
    spec, n = ImageSpec(1, 3, 3, levels=2), 2000
    model = make(NETWORKS[network], spec, Bernoulli, sampler=sampler)
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask.view(-1)[5:] = True
    images, chosen = all_images(spec), 37 * 16
    there = images[(images.flatten(1)[:, :5] == images[chosen % 512].flatten()[:5]).all(1)]  # 16 of them
    done = model.complete(there[:1].expand(n, -1, -1, -1), mask, generator=torch.Generator().manual_seed(0))
    assert (done[:, :, ~mask] == there[0, :, ~mask]).all()
    with torch.no_grad():
        log_p = model.log_prob(there)
        conditional = model.log_prob_of(there, mask)
    assert torch.allclose(conditional, log_p - log_p.logsumexp(0))
    index = ((done.flatten(1)[:, 5:] > 0) * 2 ** torch.arange(3, -1, -1)).sum(1)
    assert chi_square_is_plausible(torch.bincount(index, minlength=16).double(), n * conditional.exp())
    assert not model.unseen(mask).any()
    assert model.unseen(~mask).tolist() == [[False] * 3, [False, False, True], [True] * 3]


def test_temperature_sharpens_what_is_drawn():
    model = make(NETWORKS["pixelcnn"], ImageSpec(3, 4, 4, levels=4), Categorical)
    noise = model.noise(300).double()
    with torch.no_grad():

        def spread(temperature):
            model.temperature = temperature
            return model.log_prob(model.from_noise(noise)).mean()

        cold, usual, hot = spread(0.5), spread(1.0), spread(2.0)
    assert cold > usual > hot


@pytest.mark.parametrize(
    "network,spec,likelihood,says",
    [
        (NETWORKS["gated_pixelcnn"], ImageSpec(3, 4, 4), partial(Categorical), None),
        (partial(GatedPixelCNN, kernel=4), ImageSpec(1, 4, 4, levels=2), Bernoulli, "model.kernel=4: must be odd"),
        (partial(GatedPixelCNN, width=2), ImageSpec(3, 4, 4), Categorical, "must be 3 or more"),
        (partial(GatedPixelCNN, conditional=True), ImageSpec(1, 4, 4, levels=2), Bernoulli, "has no classes"),
        (STRIDED, ImageSpec(1, 5, 4, levels=2), Bernoulli, "4x5 images are not divisible by 2"),
        (STRIDED, ImageSpec(3, 4, 4), Categorical, "use likelihood@model.likelihood=logistic_mixture"),
        (NETWORKS["gated_pixelcnn"], ImageSpec(1, 4, 4), DiscretizedLogistic, "a scale that all pixels share"),
    ],
)
def test_impossible_settings_are_refused(network, spec, likelihood, says):
    if says is None:
        assert network(spec, likelihood)
    else:
        with pytest.raises(UsageError, match=says):
            network(spec, likelihood)


def test_the_first_images_standardise_every_layer():
    model = PixelCNNpp(ImageSpec(1, 8, 8), MIXTURE, width=6, resnets=1, scales=2)
    pixels = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model.fit_data(pixels)
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, WindowConv2d):
            layer.register_forward_hook(lambda m, _, y, name=name: found.update({name: (m.scale, y)}))
    model.eval()(pixels[:16].float() / 127.5 - 1)
    assert len(found) > 10
    for scale, y in found.values():
        assert torch.allclose(y.mean((0, 2, 3)), torch.zeros(y.shape[1]), atol=1e-3)
        assert torch.allclose(y.std((0, 2, 3), correction=0), torch.full((y.shape[1],), scale), rtol=1e-2)
