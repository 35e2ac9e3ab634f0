"""The ladder against what is known: a quadrature, torch.distributions, and a twin that walks down block by block."""

import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import avg_pool2d, gelu

from gancli.data.spec import Batch, ImageSpec
from gancli.errors import UsageError
from gancli.losses.elbo import ELBO
from gancli.models.hvae import HVAE, bottleneck
from gancli.models.latent import active
from gancli.nn.densities import Gaussian
from gancli.nn.likelihoods import Bernoulli, DiscretizedLogisticMixture


def ladder(coarse: int = 2, fine: int = 0, side: int = 4, **kwargs) -> HVAE:
    """Return a small ladder in float64 whose weights are large enough to matter, its priors' too."""
    torch.manual_seed(0)
    spec = ImageSpec(1, side, side, levels=2)
    model = HVAE(spec, Bernoulli, **{"latent_dim": 1, "width": 4, "inner": 3, **kwargs}, coarse=coarse, fine=fine)
    for parameter in model.double().eval().parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def codes(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def pictures(n: int, side: int = 4) -> Tensor:
    return torch.where(torch.rand(n, 1, side, side, generator=codes(7), dtype=torch.float64) < 0.4, 1.0, -1.0).double()


@torch.no_grad()
def exact_log_prob(model: HVAE, image: Tensor, points: int = 40) -> Tensor:
    """Return log p(x) by Gauss-Hermite quadrature over two latents, one a block, in the units of their priors."""
    at, weight = (torch.from_numpy(each) for each in np.polynomial.hermite_e.hermegauss(points))
    u = iter(torch.cartesian_prod(at, at).T[..., None, None, None])
    x, _ = model.decoder(points**2, None, None, lambda like: next(u))
    log_weight = torch.cartesian_prod(weight, weight).log().sum(1) - math.log(2 * math.pi)
    params = model.decode(x)
    total = [-model.likelihood.nll(params, each.expand(len(x), -1, -1, -1)) + log_weight for each in image]
    return torch.stack(total).logsumexp(1)


@torch.no_grad()
def test_the_bounds_lie_below_the_likelihood_and_reach_it():
    model, image = ladder(), pictures(15)
    exact = exact_log_prob(model, image)
    assert torch.allclose(exact, exact_log_prob(model, image, 30), atol=1e-6)
    elbo = torch.stack([model.bound(image, generator=codes(i)) for i in range(150)])
    error = elbo.std(0) / math.sqrt(len(elbo))
    assert (elbo.mean(0) < exact + 4 * error).all() and (exact - elbo.mean(0)).mean() > 0.1
    gaps = [float((exact - model.bound(image, k=k, generator=codes())).mean()) for k in (1, 10, 2000)]
    assert gaps[0] > gaps[1] > gaps[2] and abs(gaps[2]) < 0.01


@torch.no_grad()
def twin(model: HVAE, n: int, seen: tuple[Tensor, Tensor] | None, generator: Generator):
    """Walk down a ladder: the last map, every block's prior and posterior (or None), and its latents."""
    net, walked = model.decoder, []
    x = net.top.repeat(n, 1, 1, 1)
    for i, block in enumerate([*net.coarse, *net.fine]):
        if i == len(net.coarse):
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3) + net.middle
        said = block.prior(x)
        d = block.project.in_channels
        p, q = Normal(said[:, :d], (said[:, d : 2 * d] / 2).exp()), None
        if seen is not None:
            off, log_var = block.posterior(torch.cat([x, seen[i >= len(net.coarse)]], 1)).chunk(2, 1)
            q = Normal(p.mean + p.stddev * off, p.stddev * (log_var / 2).exp())
        noise = torch.randn(p.mean.shape, dtype=torch.float64, generator=generator)
        z = (q or p).mean + (q or p).stddev * noise
        x = x + said[:, 2 * d :] + block.project(z)
        x = x + block.residual.body(x)
        walked.append((p, q, z))
    return x, walked


@torch.no_grad()
def test_samples_are_drawn_block_by_block_from_the_top():
    model = ladder(2, 2, 8, latent_dim=2)
    x, _ = twin(model, 5, None, codes(3))
    logits = model.decoder.image(x)
    assert torch.allclose(model.sample(5, generator=codes(3)), logits.sigmoid() * 2 - 1, atol=1e-12)
    assert not torch.allclose(logits[0], logits[1])


@torch.no_grad()
def test_the_kl_of_every_block_is_that_of_torch_and_so_is_the_ratio():
    model, image, k = ladder(2, 2, 8, latent_dim=2), pictures(6, 8), 3
    found = model.encode(image, k=k, generator=codes())
    stem = model.encoder.stem(image)
    half = model.encoder.fine(stem)
    seen = tuple(each.repeat(k, 1, 1, 1) for each in (model.encoder.coarse(avg_pool2d(half, 2)), half))
    x, walked = twin(model, k * 6, seen, codes())
    kl = torch.stack([kl_divergence(q, p).flatten(1).sum(1) for p, q, _ in walked], 1).view(k, 6, 4)
    ratio = sum((q.log_prob(z) - p.log_prob(z)).flatten(1).sum(1) for p, q, z in walked).view(k, 6)
    assert torch.allclose(found.z, x, atol=1e-11) and torch.allclose(found.stats["groups"], kl.mean(0), atol=1e-11)
    assert torch.allclose(found.log_ratio, ratio, atol=1e-10) and torch.allclose(found.cost, kl.mean(0).sum(1))
    off = torch.cat([((q.mean - p.mean) / p.stddev).flatten(1) for p, q, _ in walked], 1).view(k, 6, -1).mean(0)
    assert torch.allclose(found.stats["mean"], off, atol=1e-11) and off.shape[1] == 2 * (2 * 4 + 2 * 16)


@torch.no_grad()
def test_a_posterior_that_is_the_prior_costs_nothing_and_has_no_active_unit():
    """Although the means of the lower blocks vary from draw to draw with the latents above them."""
    model, image = ladder(2, 1, 8), pictures(20, 8)
    for block in [*model.decoder.coarse, *model.decoder.fine]:
        torch.nn.init.zeros_(block.posterior[-1].weight), torch.nn.init.zeros_(block.posterior[-1].bias)
    found = model.encode(image, k=2)
    assert not found.cost.any() and not found.log_ratio.any() and not active(found.stats["mean"]).any()
    _, walked = twin(model, 20, None, codes())
    assert walked[1][0].mean.std() > 0.01


@torch.no_grad()
def test_reconstructions_follow_the_means():
    model, image = ladder(1, 1, 8), pictures(6, 8)
    assert torch.equal(model.code(image), model.code(image))
    for block in [*model.decoder.coarse, *model.decoder.fine]:  # q is almost certain
        half = len(block.posterior[-1].bias) // 2
        torch.nn.init.zeros_(block.posterior[-1].weight[half:]), block.posterior[-1].bias[half:].fill_(-60)
    assert torch.allclose(model.encode(image).z, model.code(image), atol=1e-9)


@torch.no_grad()
def test_a_fresh_prior_is_standard_normal_and_branches_are_scaled_by_the_number_of_blocks():
    model = HVAE(ImageSpec(1, 8, 8, levels=2), Bernoulli, width=4, inner=3, coarse=3, fine=1)
    _, walked = twin(model.double(), 5, None, codes())
    assert all(torch.equal(p.mean, torch.zeros_like(p.mean)) and (p.stddev == 1).all() for p, _, _ in walked)
    bound = 1 / math.sqrt(3) / math.sqrt(4)  # PyTorch's of three channels, over the root of four blocks
    networks = [model.decoder.coarse, model.decoder.fine, model.encoder.coarse, model.encoder.fine]
    branches = [getattr(each, "residual", each).body[0][-1] for blocks in networks for each in blocks]
    largest = max(float(each.weight.abs().max()) for each in branches)
    assert len(branches) == 8 and 0.9 * bound < largest <= bound
    assert float(model.decoder.coarse[0].posterior[-1].weight.abs().max()) > bound
    x = torch.randn(2, 5, 4, 4)
    net = bottleneck(5, 3, 2)
    expected = x
    for layer in net[1::2]:
        expected = torch.conv2d(gelu(expected), layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)
    assert torch.allclose(net(x), expected) and [each.kernel_size[0] for each in net[1::2]] == [1, 3, 3, 1]


def test_free_bits_and_measurements_are_by_block():
    model, batch = ladder(2, 1, 8), Batch(pictures(9, 8), progress=torch.tensor(0.5, dtype=torch.float64))
    torch.manual_seed(0)
    kl = model.encode(batch.image).stats["groups"].mean(0).detach()
    bits = float(kl.median())
    torch.manual_seed(0)
    found = ELBO(free_bits=bits).term(model, batch)
    assert found["weighted_kl"].item() == pytest.approx(sum(max(bits, each) for each in kl.tolist()), abs=1e-10)
    assert found["weighted_kl"].item() > found["kl"].item() + 1e-6
    names = list(ELBO().measurements(model, batch))
    assert names == ["kl", "active_units", "kl_00", "kl_01", "kl_02"]


@pytest.mark.parametrize("likelihood, dequantised", [(DiscretizedLogisticMixture, False), (Gaussian, True)])
def test_colours_and_classes(likelihood, dequantised):
    spec = ImageSpec(3, 8, 12, num_classes=3, dequantised=dequantised)
    model = HVAE(spec, likelihood, width=6, inner=4, coarse=1, fine=1, conditional=True)
    model.fit_data(torch.randint(0, 256, (9, 3, 8, 12), dtype=torch.uint8))
    image, label = torch.rand(5, 3, 8, 12) * 2 - 1, torch.tensor([0, 1, 2, 0, 1])
    posterior = model.encode(image, label, k=2)
    assert posterior.z.shape == (10, 6, 4, 6) and posterior.log_ratio.shape == (2, 5)
    bound = model.bound(image, label, k=3)
    assert bound.shape == (5,) and bound.isfinite().all()
    pictures = [model.picture(model.prior(2, codes(), torch.full((2,), each))) for each in (0, 1)]
    assert pictures[0].shape == (2, 3, 8, 12) and not torch.equal(*pictures)
    assert not torch.equal(model.code(image[:1], label[:1]), model.code(image[:1], label[1:2]))


def test_sides_that_do_not_divide_are_refused_in_one_line():
    with pytest.raises(UsageError, match="8x10 does not divide by 4") as error:
        HVAE(ImageSpec(1, 10, 8, levels=2), Bernoulli)
    assert "\n" not in str(error.value)
