"""The numbers of the lectures on latent variables, against closed forms and slow twins."""

import math

import pytest
import torch
from latent_models import all_nine, tiny
from torch.distributions import MultivariateNormal, kl_divergence

from gancli.lectures import elbo_gap, gumbel_softmax, posterior_collapse, reparametrisation
from gancli.models.latent import active

D = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gaps_are_kl_divergences_and_bounds_rise_to_the_likelihood():
    model = elbo_gap.linear_gaussian(5, 0.3, 0.8)
    x = model.images(100, seeded())
    truth, mean, inverse = model.log_prob(x), model.posterior_mean(x), torch.linalg.inv(model.precision)
    for name, covariance in elbo_gap.posteriors(model).items():
        at = torch.zeros_like(mean) if name == elbo_gap.PRIOR else mean
        gap = elbo_gap.divergence(model, mean - at, covariance)
        kl = kl_divergence(MultivariateNormal(at, covariance), MultivariateNormal(mean, inverse))
        assert gap.expand_as(kl).tolist() == pytest.approx(kl.tolist(), abs=1e-10)
        weights = elbo_gap.log_weights(model, x, at, covariance, 2000, seeded(1))
        found = [elbo_gap.importance_weighted(weights, truth, k) for k in (1, 5, 50, 2000)]
        sample = weights.mean(0) - (truth - gap)
        assert (sample.abs() < 6 * weights.std(0) / math.sqrt(2000) + 1e-9).all()
        assert all(b[0] < a[0] + 1e-12 for a, b in zip(found, found[1:])) or name == elbo_gap.EXACT
        assert found[-1][0] == pytest.approx(0, abs=max(0.06, 4 * found[-1][1]))
        if name == elbo_gap.EXACT:
            assert max(abs(each) for each, _ in found) < 1e-12
    assert elbo_gap.steps(5000)[-3:] == [1000, 2000, 5000] and elbo_gap.steps(1) == [1]


def test_the_best_diagonal_posterior_is_the_best():
    model = elbo_gap.linear_gaussian(4, 0.3, 0.8)
    none, best = torch.zeros(1, 2, dtype=D), elbo_gap.posteriors(model)[elbo_gap.BEST]
    least = elbo_gap.divergence(model, none, best).item()
    precision = model.precision
    assert least == pytest.approx((precision.diagonal().log().sum() - precision.logdet()).item() / 2, abs=1e-12)
    for scale in ((1.1, 1.0), (0.9, 1.0), (1.0, 1.1), (1.0, 0.9)):
        assert elbo_gap.divergence(model, none, best * torch.tensor(scale, dtype=D)).item() > least


def test_chi_squared_is_the_variance_of_the_weights():
    model = elbo_gap.linear_gaussian(4, 0.5, 0.5)
    line = torch.linspace(-8, 8, 801, dtype=D)
    z, zero = torch.cartesian_prod(line, line), torch.zeros(2, dtype=D)
    posterior = MultivariateNormal(zero, precision_matrix=model.precision).log_prob(z)
    for name, covariance in elbo_gap.posteriors(model).items():
        found = elbo_gap.chi_squared(model, covariance, name)
        if name == elbo_gap.PRIOR:
            assert math.isnan(found)
            continue
        q = MultivariateNormal(zero, covariance).log_prob(z)
        assert found == pytest.approx((2 * posterior - q).exp().sum().item() * 0.02**2 - 1, rel=1e-6, abs=1e-6)
    tight = elbo_gap.linear_gaussian(4, 0.25, 0.85)
    assert math.isinf(elbo_gap.chi_squared(tight, elbo_gap.posteriors(tight)[elbo_gap.BEST], elbo_gap.BEST))


@pytest.mark.parametrize(("d", "s"), [(1, 1.0), (3, 0.5), (10, 2.0)])
def test_variances_of_the_quadratic_are_those_of_samples(d, s):
    closed, measured = (
        reparametrisation.quadratic(d, s), reparametrisation.measured_quadratic(d, s, 40_000, seeded())
    )  # fmt: skip
    assert measured == {name: pytest.approx(each, rel=0.08) for name, each in closed.items()}
    mean, noise = torch.ones(d, dtype=D), torch.randn(40_000, d, generator=seeded(), dtype=D)
    for each in reparametrisation.gradients(mean, s, noise).values():
        assert ((each.mean(0) - 1).abs() < 5 * each.std(0) / 200).all()  # no bias: the gradient is m


@pytest.mark.parametrize(("w", "s"), [(0.3, 1.0), (2.0, 0.7), (5.0, 1.0)])
def test_variances_of_the_sine_are_those_of_quadrature(w, s):
    e = torch.linspace(-10, 10, 20001, dtype=D)
    weight, z = torch.exp(-e.square() / 2) * 0.001 / math.sqrt(2 * math.pi), reparametrisation.PHASE + s * e
    value = (w * z).sin()
    expected = (weight * value).sum()
    samples = {
        reparametrisation.SCORE: value * e / s,
        reparametrisation.BASELINE: (value - expected) * e / s,
        reparametrisation.PATHWISE: w * (w * z).cos(),
    }
    slope = w * math.cos(w * reparametrisation.PHASE) * math.exp(-((w * s) ** 2) / 2)
    for name, each in samples.items():
        mean = (weight * each).sum().item()
        assert mean == pytest.approx(slope, abs=1e-9)
        closed = reparametrisation.sine(w, s)[name]
        assert closed == pytest.approx((weight * each.square()).sum().item() - mean**2, rel=1e-9, abs=1e-12)
    measured = reparametrisation.measured_sine(w, s, 40_000, seeded())
    assert measured == {name: pytest.approx(each, rel=0.06) for name, each in reparametrisation.sine(w, s).items()}


LOGITS, TARGET = torch.tensor([1.0, 2.0, 0.5], dtype=D), torch.tensor([0.5, 0.2, 0.3], dtype=D)


def test_gumbel_softmax_has_the_frequencies_of_the_classes_at_every_temperature_and_its_limits():
    n, pi = 50_000, LOGITS.softmax(0)
    noise = gumbel_softmax.gumbel((n, 3), seeded())
    for tau in (0.1, 1.0, 10.0):
        y = gumbel_softmax.relaxed(LOGITS, noise, tau)
        count = y.argmax(1).bincount(minlength=3)
        assert ((count - n * pi).square() / (n * pi)).sum() < 13.8  # chi-square of 2 degrees: 0.1 %
        assert y.sum(1).tolist() == pytest.approx([1.0] * n)
    assert (gumbel_softmax.relaxed(LOGITS, noise, 0.1).mean(0) - pi).abs().max() < 0.01
    assert (y.mean(0) - 1 / 3).abs().max() < 0.03
    found = gumbel_softmax.discreteness(y)
    assert found["entropy"] == pytest.approx(math.log(3), abs=0.01) and found["variance"] < 0.005
    hard = gumbel_softmax.discreteness(gumbel_softmax.relaxed(LOGITS, noise, 1e-3))
    assert hard["variance"] == pytest.approx(1 - pi.square().sum().item(), rel=0.02) and hard["largest"] > 0.99


def test_gradients_of_the_gumbel_softmax_are_those_of_autograd():
    noise = gumbel_softmax.gumbel((40, 3), seeded())
    logits = LOGITS.expand(40, 3).clone().requires_grad_()
    y = gumbel_softmax.relaxed(logits, noise, 0.7)
    hard = torch.nn.functional.one_hot(y.argmax(1), 3).to(D)
    found = gumbel_softmax.relaxed_gradients(y.detach(), TARGET, 0.7)
    for name, at in ((gumbel_softmax.RELAXED, y), (gumbel_softmax.STRAIGHT, hard + y - y.detach())):
        (slope,) = torch.autograd.grad((at - TARGET).square().sum(), logits, retain_graph=True)
        assert torch.allclose(found[name], slope, atol=1e-12)
    free = LOGITS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(free.softmax(0) @ gumbel_softmax.costs(TARGET), free)
    assert torch.allclose(gumbel_softmax.exact_gradient(LOGITS, TARGET), slope, atol=1e-12)


def test_the_score_function_has_no_bias_and_the_variance_of_an_enumeration():
    pi, f, exact = LOGITS.softmax(0), gumbel_softmax.costs(TARGET), gumbel_softmax.exact_gradient(LOGITS, TARGET)
    noise = gumbel_softmax.gumbel((50_000, 3), seeded())
    for name, each in gumbel_softmax.score_gradients(LOGITS, noise, TARGET).items():
        b = 0 if name == gumbel_softmax.SCORE else pi @ f
        every = (f - b)[:, None] * (torch.eye(3, dtype=D) - pi)
        assert torch.allclose(pi @ every, exact, atol=1e-12)
        found = gumbel_softmax.moments(each, exact)
        assert found["variance"] == pytest.approx((pi @ (every - exact).square()).sum().item(), rel=0.03)
        assert found["bias"] < 4 * found["standard_error"]


def covariance(p: int = 5) -> torch.Tensor:
    """Return a covariance whose variances are 4, 2, 1, 0.5, ... along random directions."""
    directions = torch.linalg.qr(torch.randn(p, p, generator=seeded(), dtype=D))[0]
    return directions * 4 / 2 ** torch.arange(p, dtype=D) @ directions.T


def test_the_objective_of_the_linear_autoencoder_is_the_mean_over_images():
    w, v, log_var = (torch.randn(*shape, generator=seeded(1), dtype=D) for shape in ((5, 2), (2, 5), (2,)))
    x = torch.randn(40, 5, generator=seeded(2), dtype=D)
    x, total = x - x.mean(0), 0.0
    for each in x:
        mean, variance = v @ each, log_var.exp()
        error = (each - w @ mean).square().sum() + (w.square().sum(0) * variance).sum()
        q = torch.distributions.Normal(mean, variance.sqrt())
        total += error / (2 * 0.7) + kl_divergence(q, torch.distributions.Normal(torch.zeros(2, dtype=D), 1.0)).sum()
    found, kl = posterior_collapse.objective(x.T.cov(correction=0), 0.7, w, v, log_var)
    assert found.item() == pytest.approx(total.item() / 40) and kl.shape == (2,)


@pytest.mark.parametrize("noise", [0.3, 1.5, 5.0])
def test_the_linear_autoencoder_learns_the_closed_form(noise):
    """Probabilistic PCA: W = U (L - noise)^1/2, and a latent is active where the variance is above the noise."""
    c = covariance()
    variances, directions = (each.flip(-1)[..., :3] for each in torch.linalg.eigh(c))
    w = (directions * (variances - noise).clamp(min=0).sqrt()).requires_grad_()
    inverse = torch.linalg.inv(w.T @ w + noise * torch.eye(3, dtype=D)).detach()
    v = (inverse @ w.T).detach().requires_grad_()
    log_var = (noise * inverse.diagonal()).log().requires_grad_()
    best, kl = posterior_collapse.objective(c, noise, w, v, log_var)
    assert max(each.abs().max() for each in torch.autograd.grad(best, (w, v, log_var))) < 1e-10
    closed = posterior_collapse.kl_of(variances, noise)
    assert torch.allclose(kl, closed, atol=1e-12)
    found = posterior_collapse.trained(c, noise, 3, 300, seeded())
    assert found["objective"] == pytest.approx(best.item(), abs=1e-4) and found["objective"] > best.item() - 1e-9
    assert found["kl"] == pytest.approx(closed.tolist(), abs=0.02)
    assert found["active"] == posterior_collapse.active_of(variances, noise).sum() == (variances > noise).sum()


def test_the_parts_of_a_model_add_up():
    model, image = tiny(), all_nine()
    found = posterior_collapse.measured(model, image, None, 3)
    assert sum(found["kl"]) == pytest.approx(found["total_kl"]) and found["kl"][0] >= found["kl"][1]
    assert found["bound"] == pytest.approx(-model.bound(image, generator=seeded(3)).mean().item())
    assert found["active"] == active(model.infer(image)[0]).sum()


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: posterior_collapse.PosteriorCollapse([]), "must name a weight"),
        (lambda: elbo_gap.ELBOGap(pixels=1), "pixels=1 must be 2"),
        (lambda: gumbel_softmax.GumbelSoftmax([1.0], [1.0], [1.0]), "must be two or more"),
        (lambda: gumbel_softmax.GumbelSoftmax([1.0, 2.0], [1.0], [1.0]), "as many"),
        (lambda: gumbel_softmax.GumbelSoftmax([1.0, 2.0], [], [1.0, 2.0]), "must not be empty"),
    ],
)
def test_what_cannot_be_drawn_is_refused(build, says):
    with pytest.raises(ValueError, match=says):
        build()
