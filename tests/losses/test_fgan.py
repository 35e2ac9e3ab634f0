"""f-GAN's table against its definitions: conjugates by maximisation, bounds by quadrature, bounds that are learnt."""

import math

import pytest
import torch

from gancli.losses.fgan import DIVERGENCES, FGAN

X = torch.linspace(-12, 13, 20_001, dtype=torch.float64)
P, Q = (torch.exp(-((X - mean) ** 2) / 2) / math.sqrt(2 * math.pi) * (X[1] - X[0]) for mean in (0, 1))

F = {
    "kl": lambda u: u * u.log(),
    "reverse_kl": lambda u: -u.log(),
    "pearson": lambda u: (u - 1) ** 2,
    "squared_hellinger": lambda u: (u.sqrt() - 1) ** 2,
    "jensen_shannon": lambda u: u * u.log() - (u + 1) * ((1 + u) / 2).log(),
    "gan": lambda u: u * u.log() - (u + 1) * (u + 1).log(),
}
VALUES = {  # of D_f(N(0,1) || N(1,1)): 1/2, 1/2, e - 1, 2 - 2 exp(-1/8), 2 JSD, 2 JSD - log 4
    "kl": 0.5,
    "reverse_kl": 0.5,
    "pearson": 1.718282,
    "squared_hellinger": 0.235006,
    "jensen_shannon": 0.222843,
    "gan": -1.163451,
}
RATIO = {  # the best score: V = g_f^-1(f'(u)), as a function of log u = log p/q
    "kl": lambda r: 1 + r,
    "reverse_kl": lambda r: r,
    "pearson": lambda r: 2 * (r.exp() - 1),
    "squared_hellinger": lambda r: r / 2,
    "jensen_shannon": lambda r: r,
    "gan": lambda r: r,
}


def bound(loss: FGAN, score: torch.Tensor) -> torch.Tensor:
    """E_P[T] - E_Q[f*(T)] by quadrature, from what the discriminator pays."""
    return -(P * loss.on_real(score)).sum() - (Q * loss.on_fake(score)).sum()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_conjugate_is_the_largest_of_all_tangents(name):
    """f*(t) = max over u of u t - f(u), and the activation stays where that is finite."""
    score = torch.tensor([-1.5, -0.5, 0.0, 0.7, 1.2], dtype=torch.float64)
    t = DIVERGENCES[name].activation(score)
    u = torch.logspace(-6, 3, 400_001, dtype=torch.float64)
    slow = torch.stack([(u * each - F[name](u)).max() for each in t])
    assert torch.allclose(DIVERGENCES[name].conjugate(score), slow, atol=2e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_thresholds_are_where_the_densities_are_equal(name):
    one = torch.ones((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(F[name](one), one)  # f'(1)
    threshold = torch.tensor(DIVERGENCES[name].threshold, dtype=torch.float64)
    assert DIVERGENCES[name].activation(threshold).item() == pytest.approx(slope.item(), abs=1e-12)
    assert RATIO[name](torch.zeros(())).item() == DIVERGENCES[name].threshold == FGAN(name).threshold


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_bound_is_the_divergence_at_the_best_score_and_below_it_elsewhere(name):
    loss, best = FGAN(name), RATIO[name](0.5 - X)  # log p/q = (1 - 2x)/2
    assert bound(loss, best).item() == pytest.approx(VALUES[name], abs=1e-4)
    assert (Q * F[name](P / Q)).sum().item() == pytest.approx(VALUES[name], abs=1e-4)
    for other in (best + 0.1, best * 0.9, torch.zeros_like(X), torch.sin(X)):
        assert bound(loss, other) < VALUES[name]


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_trained_score_reaches_the_divergence_from_below(name):
    torch.manual_seed(0)
    x = X[::20, None]
    net = torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1), torch.nn.Flatten(0))
    net.double()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=300, line_search_fn="strong_wolfe")
    loss, p, q = FGAN(name), 20 * P[::20], 20 * Q[::20]

    def closure():
        optimizer.zero_grad()
        value = (p * loss.on_real(net(x))).sum() + (q * loss.on_fake(net(x))).sum()
        value.backward()
        return value

    optimizer.step(closure)
    reached = -closure().item()
    assert VALUES[name] - 0.02 * abs(VALUES[name]) < reached < VALUES[name] + 1e-6


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_two_updates_of_the_generator(name):
    score = torch.linspace(-2, 2, 9, dtype=torch.float64)
    literal, alternative = (FGAN(name, generator=g).generator_loss(score)["fake"] for g in ("literal", "alternative"))
    assert literal.item() == pytest.approx(-DIVERGENCES[name].conjugate(score).mean().item())
    assert alternative.item() == pytest.approx(-DIVERGENCES[name].activation(score).mean().item())


def test_gan_is_the_gan_and_the_recorded_bound_is_the_objective():
    from gancli.losses.adversarial import Minimax, NonSaturating

    real, fake = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    values = FGAN("gan").discriminator_loss(real, fake)
    assert values["bound"].item() == pytest.approx(-sum(Minimax().discriminator_loss(real, fake).values()).item())
    for kind, twin in (("literal", Minimax), ("alternative", NonSaturating)):
        assert torch.allclose(
            FGAN("gan", generator=kind).generator_loss(fake)["fake"], twin().on_generated(fake).mean()
        )


@pytest.mark.parametrize("name", ["pearson", "jensen_shannon", "gan"])
def test_finite_at_extreme_scores(name):
    score = torch.tensor([-1e4, -100.0, 100.0, 1e4], requires_grad=True)
    loss = FGAN(name)
    total = sum(v for v in loss.discriminator_loss(score, score).values()) + loss.generator_loss(score)["fake"]
    (grad,) = torch.autograd.grad(total, score)
    assert torch.isfinite(total) and torch.isfinite(grad).all()
