"""LMConv: orders, masks at each place, what each pixel sees, mixtures that sum to one, exact completion."""

import logging
import math
from functools import partial

import pytest
import torch
from pixel_models import all_images, chi_square_is_plausible
from torch import nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.lmconv import LMConv
from gancli.models.pixel_sampling import Given
from gancli.nn.likelihoods import Bernoulli, Categorical, DiscretizedLogisticMixture
from gancli.nn.locally_masked import LocallyMaskedConv2d, follow, lattices
from gancli.nn.masked import MaskedConv2d
from gancli.nn.orders import CURVES, hilbert, last, neighbours, ranks, s_curve, symmetries

SIZES = [(1, 1), (1, 5), (4, 1), (2, 2), (3, 3), (7, 5), (6, 10), (8, 8)]
BINARY = ImageSpec(1, 3, 3, levels=2)


def make(spec: ImageSpec = BINARY, likelihood=Bernoulli, **kwargs) -> LMConv:
    """A small float64 network with random weights."""
    torch.manual_seed(0)
    model = LMConv(spec, likelihood, **{"width": 4, "blocks": 1, "stages": 2, **kwargs}).double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.4)
    return model


# Orders.


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("height,width", SIZES)
def test_orders_visit_every_pixel_once_in_eight_ways(curve, height, width):
    orders = symmetries(CURVES[curve], height, width)
    assert orders.shape == (8, height * width) and torch.equal(orders[0], CURVES[curve](height, width))
    assert (orders.sort(1).values == torch.arange(height * width)).all()
    assert len(orders.unique(dim=0)) == 8 or min(height, width) == 1
    assert torch.equal(orders.gather(1, ranks(orders)), torch.arange(height * width).expand(8, -1))


@pytest.mark.parametrize("height,width", SIZES)
def test_curves_go_from_neighbour_to_neighbour(height, width):
    for order, diagonal in ((s_curve(height, width), 1), (hilbert(height, width), 2 if height * width % 2 else 1)):
        rows, columns = order // width, order % width
        steps = rows.diff().abs() + columns.diff().abs()
        assert (steps <= diagonal).all()


def test_hilberts_curve_fills_quarter_after_quarter():
    order = hilbert(8, 8)
    rows, columns = order // 8, order % 8
    quarters = (rows // 4 * 2 + columns // 4).view(4, 16)
    assert (quarters == quarters[:, :1]).all() and order[0] == 0 and order[-1] == 7
    small = (rows // 2 * 4 + columns // 2).view(16, 4)
    assert (small == small[:, :1]).all()


def test_missing_pixels_come_last_and_the_rest_keeps_its_order():
    order, missing = torch.tensor([2, 0, 3, 1]), torch.tensor([True, False, False, True])
    assert last(order, missing).tolist() == [2, 1, 0, 3]


# The layer.


@pytest.mark.parametrize("image", [True, False])
@pytest.mark.parametrize("kernel", [3, 5])
def test_in_raster_order_it_equals_the_masked_convolution(image, kernel):
    torch.manual_seed(0)
    local, masked = LocallyMaskedConv2d(3, 4, kernel, image=image), MaskedConv2d(3, 4, kernel, image=image)
    masked.load_state_dict(local.state_dict())
    follow(local, torch.arange(42), 6, 7)
    x = torch.randn(2, 3, 6, 7, requires_grad=True)
    assert torch.allclose(local(x), masked(x), atol=1e-6)
    weights = torch.randn(2, 4, 6, 7)
    found, wanted = (
        torch.autograd.grad((layer(x) * weights).sum(), [x, layer.weight, layer.bias]) for layer in (local, masked)
    )
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(found, wanted))


def test_with_all_taps_it_is_a_convolution():
    layer = LocallyMaskedConv2d(2, 3, dilation=2)
    layer.mask = torch.ones(9, 6, 5, dtype=torch.bool)
    x = torch.randn(2, 2, 6, 5)
    plain = nn.functional.conv2d(x, layer.weight, layer.bias, padding=2, dilation=2)
    assert torch.allclose(layer(x), plain, atol=1e-6)


@pytest.mark.parametrize("dilation", [1, 2])
def test_it_equals_the_papers_masked_patches(dilation):
    """Algorithm 1: take patches apart, mask them, multiply."""
    torch.manual_seed(0)
    layer, order = LocallyMaskedConv2d(2, 3, dilation=dilation), torch.randperm(30)
    rank = ranks(order)
    follow(layer, rank, 6, 5)
    x = torch.randn(2, 2, 6, 5)
    patches = nn.functional.unfold(x, 3, dilation, dilation).view(2, 2, 9, 30)
    seen = torch.zeros(9, 30)
    for tap in range(9):
        for p in range(30):
            r, c = p // 5 + dilation * (tap // 3 - 1), p % 5 + dilation * (tap % 3 - 1)
            seen[tap, p] = 0 <= r < 6 and 0 <= c < 5 and rank[r * 5 + c] <= rank[p]
    slow = torch.einsum("oct,nctp->nop", layer.weight.flatten(2), patches * seen) + layer.bias[:, None]
    assert torch.allclose(layer(x).flatten(2), slow, atol=1e-6)


def test_its_gradient_is_that_of_finite_differences():
    torch.manual_seed(0)
    layer = LocallyMaskedConv2d(2, 2, dilation=2).double()
    follow(layer, torch.randperm(12), 3, 4)
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *p: layer(x), (x, layer.weight, layer.bias))


@pytest.mark.parametrize("curve, regular", [("raster", True), ("s_curve", True), ("hilbert", False)])
def test_regular_orders_fall_into_lattices(curve, regular):
    for rank in ranks(symmetries(CURVES[curve], 8, 8)):
        around = neighbours(rank, 8, 8, 3)
        found = lattices(around <= rank.view(8, 8), around < 64)
        assert (found is not None) == regular
        steps = {(rows.step, columns.step) for rows, columns, _ in found or ()}
        assert steps <= ({(1, 1)} if curve == "raster" else {(2, 1), (1, 2)}) and len(steps) == regular


@pytest.mark.parametrize("curve", ["raster", "s_curve"])
@pytest.mark.parametrize("kernel, dilation, image", [(3, 1, True), (3, 1, False), (3, 2, False), (5, 1, False)])
def test_convolutions_by_lattice_are_the_same(curve, kernel, dilation, image):
    torch.manual_seed(0)
    layer = LocallyMaskedConv2d(2, 3, kernel, dilation=dilation, image=image).double()
    x = torch.randn(2, 2, 7, 6, dtype=torch.float64)
    for rank in ranks(symmetries(CURVES[curve], 7, 6)):
        follow(layer, rank, 7, 6)
        known = layer(x)
        follow(layer, rank, 7, 6, read=True)
        assert layer.lattices and torch.allclose(layer(x), known, atol=1e-12)


# The model.


def documented(model: LMConv, order: torch.Tensor, pixel: int) -> torch.Tensor:
    """The receptive field by a walk along the longest path, from the output back; every layer but the first keeps."""
    height, width = model.spec.height, model.spec.width
    rank, blocks, stages = ranks(order).tolist(), len(model.net.up[0]), len(model.net.up)
    up = [1] * (2 * blocks)
    down = [[1] * (2 * len(stage)) for stage in model.net.down]
    path = [d for i in range(stages) for d in (up + [2] if i < stages - 1 else up)]
    path += [d for i in range(stages) for d in (down[i] + [2] if i < stages - 1 else down[i])]
    places = {pixel}
    for i, dilation in enumerate(path[::-1] + [1]):
        first = i == len(path)
        places = {
            r * width + c
            for p in places
            for r in (p // width + dilation * k for k in (-1, 0, 1))
            for c in (p % width + dilation * k for k in (-1, 0, 1))
            if 0 <= r < height and 0 <= c < width and rank[r * width + c] < rank[p] + (not first)
        }
    found = torch.zeros(height * width, dtype=torch.bool)
    found[list(places)] = True
    return found


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("which", range(8))
def test_under_every_order_a_pixel_sees_the_documented_field_and_nothing_of_the_future(curve, which):
    spec = ImageSpec(3, 7, 6)
    model = make(spec, partial(DiscretizedLogisticMixture, components=2), curve=curve, stages=1)
    order = model.orders[which]
    with model.following(order):
        image = torch.rand(1, 3, 7, 6, dtype=torch.float64, requires_grad=True) * 2 - 1
        params = model(image).flatten(2)
        for pixel in order[[0, 20, 41]].tolist():
            (gradient,) = torch.autograd.grad(params[0, :, pixel].square().sum(), image, retain_graph=True)
            seen = (gradient[0].abs() > 0).flatten(1)
            assert torch.equal(seen, documented(model, order, pixel).expand(3, -1))
            assert not seen[:, order[order.tolist().index(pixel) :]].any()


def test_dilated_layers_are_in_the_documented_field():
    model = make(ImageSpec(1, 13, 13, levels=2), curve="raster")
    image = torch.rand(1, 1, 13, 13, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(image)[0, 0, 12, 6], image)
    assert torch.equal((gradient.abs() > 0).flatten(), documented(model, model.orders[0], 12 * 13 + 6))


def log_prob_under(model: LMConv, order: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad(), model.following(order):
        return -model.likelihood.nll(model(images), images)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(
    "spec,likelihood",
    [(BINARY, Bernoulli), (ImageSpec(1, 2, 2, levels=4), Categorical)],
    ids=["3x3 binary", "2x2 2-bit"],
)
def test_probabilities_sum_to_one_under_every_order_and_mixed(curve, spec, likelihood):
    model = make(spec, likelihood, curve=curve)
    images = all_images(spec)
    each = torch.stack([log_prob_under(model, order, images) for order in model.orders])
    assert each.logsumexp(1).numpy() == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        mixed = model.log_prob(images)
    assert mixed.logsumexp(0).item() == pytest.approx(0, abs=1e-9)
    assert torch.allclose(mixed, each.logsumexp(0) - math.log(8), atol=1e-12)
    assert (mixed >= each.mean(0)).all() and (mixed <= each.amax(0)).all() and (each.std(0) > 1e-3).any()


def test_colours_of_a_mixture_sum_to_one():
    spec = ImageSpec(3, 2, 1, levels=4)
    model = make(spec, partial(DiscretizedLogisticMixture, components=2))
    with torch.no_grad():
        assert model.log_prob(all_images(spec)).logsumexp(0).item() == pytest.approx(0, abs=1e-9)


def test_samples_have_the_enumerated_probabilities_of_the_mixture():
    model, n = make(), 8000
    with torch.no_grad():
        p = model.log_prob(all_images(BINARY)).exp()
    images = model.from_noise(model.noise(n, torch.Generator().manual_seed(0)).double())
    index = ((images.flatten(1) > 0) * 2 ** torch.arange(8, -1, -1)).sum(1)
    assert chi_square_is_plausible(torch.bincount(index, minlength=512).double(), n * p)


@pytest.mark.parametrize("curve", [*CURVES, "random"])
def test_all_samplers_draw_the_same_images(curve, caplog):
    caplog.set_level(logging.INFO, "gancli")
    spec = ImageSpec(3, 4, 5)
    likelihood = partial(DiscretizedLogisticMixture, components=2)
    model = make(spec, likelihood, curve="raster" if curve == "random" else curve, orders=3)
    if curve == "random":
        model.orders = torch.stack([torch.randperm(20) for _ in range(3)])
    noise = model.noise(7, torch.Generator().manual_seed(1)).double()
    naive, *others = (model.from_noise(noise, sampler=s) for s in model.SAMPLERS)
    assert len(naive.unique(dim=0)) == 7 and all(torch.equal(naive, each) for each in others)
    rounds = [record.args for record in caplog.records if "jacobi" in record.msg]
    assert rounds and all(2 <= found <= most + 1 and most == 20 for found, most in rounds)


def test_a_batch_trains_under_one_order_drawn_from_the_seed():
    model = make(orders=4)
    images = all_images(BINARY)[::37]
    each = torch.stack([-log_prob_under(model, order, images) for order in model.orders])
    drawn = set()
    for seed in range(30):
        torch.manual_seed(seed)
        nats = model.training_nats(images)
        torch.manual_seed(seed)
        assert torch.equal(nats, model.training_nats(images)) and nats.requires_grad
        (which,) = [i for i in range(4) if torch.allclose(nats, each[i], atol=1e-12)]
        drawn.add(which)
    assert drawn == {0, 1, 2, 3}


@pytest.mark.parametrize("orders,missing", [(1, [0, 1, 2, 4]), (8, [2, 3, 7]), (3, [8])])
def test_completions_are_exact_for_any_region(orders, missing):
    """log_prob_of and the draws of complete() against the enumerated mixture of the orders that put the region last."""
    model, images, n = make(curve="s_curve", orders=orders), all_images(BINARY), 1000
    mask = torch.zeros(9, dtype=torch.bool)
    mask[missing] = True
    moved = [last(order, mask) for order in model.orders]
    joint = torch.stack([log_prob_under(model, order, images) for order in moved]).logsumexp(0)
    one = images[333]
    same = (images.flatten(1)[:, ~mask] == one.flatten()[~mask]).all(1)
    conditional = joint[same] - joint[same].logsumexp(0)
    assert torch.allclose(model.log_prob_of(images[same], mask.view(3, 3)), conditional, atol=1e-9)
    noise = model.noise(n, torch.Generator().manual_seed(0)).double()
    drawn = model.from_noise(noise, given=Given(one.expand(n, -1, -1, -1), ~mask.view(3, 3)))
    assert (drawn.flatten(1)[:, ~mask] == one.flatten()[~mask]).all()
    which = (drawn.flatten(1)[:, None] == images[same].flatten(1)).all(2).double().argmax(1)
    assert chi_square_is_plausible(torch.bincount(which, minlength=int(same.sum())).double(), n * conditional.exp())
    assert not model.unseen(mask.view(3, 3)).any()


def test_impossible_settings_are_refused():
    with pytest.raises(UsageError, match="model.curve=hilber: allowed are .*did you mean.*hilbert"):
        make(curve="hilber")
    with pytest.raises(UsageError, match="model.orders=9"):
        make(orders=9)
    with pytest.raises(UsageError, match="add likelihood@model.likelihood=logistic_mixture"):
        make(ImageSpec(3, 4, 4), Categorical)
