"""The loss of latent-variable models: its parts by hand, warm-up, free bits, the importance-weighted gradient."""

import math

import pytest
import torch
from helpers import NoHostSync
from latent_models import all_nine, tiny
from torch.distributions import Bernoulli as Coin
from torch.distributions import Normal, kl_divergence

from gancli.data.spec import Batch
from gancli.errors import UsageError
from gancli.losses.elbo import ELBO
from gancli.nn.annealed import Annealed

WARM_UP = Annealed(0.0, 1.0, until=0.5)


def batch(progress: float = 0.3) -> Batch:
    return Batch(all_nine()[::50], progress=torch.tensor(progress, dtype=torch.float64))


def scalars(loss: ELBO, progress: float = 0.3, seed: int = 0):
    model = tiny()
    torch.manual_seed(seed)
    return loss.term(model, batch(progress))


def test_the_parts_are_those_of_torch_distributions():
    """Sums over pixels and latents, means over images: nothing else is weighed."""
    model, image = tiny(), batch().image
    found = scalars(ELBO())
    mean, log_var = model.infer(image)
    q = Normal(mean, (log_var / 2).exp())
    torch.manual_seed(0)
    z = mean + q.stddev * torch.randn(1, *mean.shape, dtype=torch.float64)[0]
    kl = kl_divergence(q, Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(1).mean()
    reconstruction = -Coin(logits=model.decode(z)).log_prob((image + 1) / 2).sum((1, 2, 3)).mean()
    assert found["kl"].item() == pytest.approx(kl.item(), abs=1e-12) == found["weighted_kl"].item()
    assert found["reconstruction"].item() == pytest.approx(reconstruction.item(), abs=1e-10)
    assert found["bound"].item() == pytest.approx((kl + reconstruction).item(), abs=1e-10)
    assert {name for name, each in found.items() if each.requires_grad} == {"reconstruction", "weighted_kl"}


def test_beta_multiplies_the_kl_and_follows_the_share_of_the_run():
    plain = scalars(ELBO())
    for beta, progress, factor in ((4.0, 0.3, 4), (WARM_UP, 0.0, 0), (WARM_UP, 0.25, 0.5), (WARM_UP, 0.9, 1)):
        found = scalars(ELBO(beta), progress)
        assert found["weighted_kl"].item() == pytest.approx(factor * plain["kl"].item(), abs=1e-12)
        assert all(found[key].item() == plain[key].item() for key in ("kl", "reconstruction", "bound"))


def test_free_bits_cost_nothing_up_to_their_number_on_average_over_the_batch():
    groups = tiny().encode(batch().image).stats["groups"].mean(0)
    low, high = sorted(groups.tolist())
    for bits in (low / 2, (low + high) / 2, 2 * high):
        found = scalars(ELBO(free_bits=bits))
        assert found["weighted_kl"].item() == pytest.approx(max(low, bits) + max(high, bits), abs=1e-12)
        assert found["kl"].item() == pytest.approx(low + high, abs=1e-12)
    assert not scalars(ELBO(free_bits=2 * high))["weighted_kl"].requires_grad or _slope(2 * high) == 0


def _slope(bits: float) -> float:
    model = tiny()
    ELBO(free_bits=bits).term(model, batch())["weighted_kl"].backward()
    return sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None)


def test_the_importance_weighted_loss_is_its_definition_and_its_gradient_is_weighted_by_softmax():
    loss = ELBO(samples=6, bound="iwae")
    found = scalars(loss)
    model, image = tiny(), batch().image
    torch.manual_seed(0)
    weights = model.log_weights(image, None, 6)
    assert found["iwae"].item() == pytest.approx(-(weights.exp().mean(0).log()).mean().item(), abs=1e-12)
    assert [name for name, each in found.items() if each.requires_grad] == ["iwae"]
    parameter = model.encoder[0].weight
    (expected,) = torch.autograd.grad(-(weights.detach().softmax(0) * weights).sum(0).mean(), parameter)
    torch.manual_seed(0)
    again = loss.term(model, batch())["iwae"]
    assert torch.allclose(torch.autograd.grad(again, parameter)[0], expected, atol=1e-14)


def test_several_codes_average_the_reconstruction_and_one_importance_sample_is_the_elbo():
    several = torch.stack([scalars(ELBO(samples=50), seed=i)["reconstruction"].detach() for i in range(20)])
    single = torch.stack([scalars(ELBO(), seed=i)["reconstruction"].detach() for i in range(20)])
    assert several.std() < 0.4 * single.std()
    one = torch.stack([scalars(ELBO(bound="iwae"), seed=i)["iwae"].detach() for i in range(400)])
    bound = torch.stack([scalars(ELBO(), seed=i)["bound"] for i in range(400)])
    assert abs(one.mean() - bound.mean()) < 4 * math.hypot(one.std() / 20, bound.std() / 20)


@pytest.mark.parametrize("loss", [ELBO(WARM_UP, free_bits=0.1), ELBO(samples=3), ELBO(samples=3, bound="iwae")])
def test_nothing_in_the_term_waits_for_the_device(loss):
    model, given = tiny(), batch()
    with NoHostSync():
        values = loss.term(model, given)
        sum(each for each in values.values() if each.requires_grad).backward()


def test_measurements_are_the_kl_of_every_latent_and_the_active_ones():
    model = tiny()
    model.encoder[-1].weight.data[0] *= 5  # the mean of the first latent moves
    model.encoder[-1].weight.data[1] = 0
    found = {name: value().item() for name, value in ELBO().measurements(model, batch()).items()}
    assert found["active_units"] == 1 and list(found) == ["kl", "active_units", "kl_00", "kl_01"]
    assert found["kl_00"] + found["kl_01"] == pytest.approx(found["kl"])


def test_what_contradicts_itself_is_refused_or_warned_of():
    for wrong in ({"beta": 2.0}, {"free_bits": 0.1}, {"beta": WARM_UP}):
        with pytest.raises(ValueError, match="bound=iwae has no KL to weigh"):
            ELBO(bound="iwae", **wrong)
    assert ELBO(0.5).warnings(tiny(), {})[0].startswith("loss.beta=0.5 at the end: below 1")
    assert ELBO(WARM_UP).warnings(tiny(), {}) == ELBO(4.0).warnings(tiny(), {}) == []
    model = tiny()
    model.groups = 0
    with pytest.raises(UsageError, match="free_bits=0.1: VAE has no KL"):
        ELBO(free_bits=0.1).check(model)
