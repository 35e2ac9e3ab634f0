"""The moving average against its closed form."""

import pytest
import torch
from helpers import run
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from gancli.data.spec import ImageSpec
from gancli.models.dcgan import DCGAN
from gancli.models.kde import KDE
from gancli.nn.annealed import Annealed
from gancli.nn.spectral import spectral_
from gancli.training import checkpoint
from gancli.training.ema import EMA


def model() -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(ImageSpec(1, 8, 8), width=4)


def test_weights_follow_with_their_half_life():
    net = model()
    ema = EMA(net, half_life=1000)
    before = ema.model.generator[0].weight.clone()
    with torch.no_grad():
        net.generator[0].weight.fill_(1.0)
    ema.images = 10**6  # long after the ramp
    for _ in range(10):  # 10 x 100 images: one half-life
        ema.update(100)
    assert torch.allclose(ema.model.generator[0].weight, (before + 1) / 2, atol=1e-6)


def test_half_life_is_short_at_the_start():
    net = model()
    ema = EMA(net, half_life=10_000)
    with torch.no_grad():
        net.generator[0].weight.fill_(1.0)
    ema.update(64)  # half-life 3.2 images: the initialisation is forgotten
    assert torch.allclose(ema.model.generator[0].weight, torch.ones(()), atol=1e-5)


def test_a_half_life_that_changes_is_its_own_ramp():
    """R3GAN's schedule: 0.5 ** (batch / half-life), whatever the number of images so far."""
    half_life = Annealed(0, 5e6, "cosine", until=0.08)
    ema = EMA(model(), half_life)
    assert ema.prepare(512, 0.0) == 1.0
    ema.images = 10_000_000
    assert ema.prepare(512, 0.04) == pytest.approx(1 - 0.5 ** (512 / 2.5e6), rel=1e-9)
    ema.images = 20_000_000
    assert ema.prepare(512, 0.08) == pytest.approx(1 - 0.5 ** (512 / 5e6), rel=1e-9)


def test_only_what_is_sampled_is_copied():
    net = model()
    ema = EMA(net, half_life=1000)
    assert ema.model.discriminator is net.discriminator and ema.model.generator is not net.generator
    assert set(ema.state_dict()) == {k for k in net.state_dict() if k.startswith("generator.")}


def test_counters_are_those_of_the_trained_network():
    net = model()
    ema = EMA(net, half_life=1000)
    net.generator(net.latent(4))
    ema.images = 1000
    ema.update(4)
    assert ema.model.generator[1].num_batches_tracked == net.generator[1].num_batches_tracked == 1


def test_no_average_samples_the_trained_network_in_eval_mode_and_returns_it_to_training():
    net = model()
    ema = EMA(net, half_life=0)
    with ema.sampling() as sampled:
        assert sampled is net and not net.generator.training and net.discriminator.training
    assert net.generator.training and ema.state_dict() == {}
    net.generator.eval()
    with ema.sampling():
        pass
    assert not net.generator.training


@pytest.mark.parametrize("half_life", [0, 500])
def test_state_restores_the_average(half_life):
    net = model()
    ema = EMA(net, half_life)
    with torch.no_grad():
        net.generator[0].weight.add_(1.0)
    ema.images = 5000
    ema.update(64)
    other = EMA(model(), half_life)
    other.load_state_dict({k: v.clone() for k, v in ema.state_dict().items()})
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), ema.state_dict().values()))


def test_what_a_module_names_is_copied_and_the_rest_is_blended():
    net = model()
    net.generator.append(nn.Conv2d(1, 3, 3, padding=1))
    spectral_(net.generator)
    net.generator[3].register_buffer("codebook", torch.zeros(3))
    net.generator[3].copied = ("codebook",)
    net.train()
    ema = EMA(net, half_life=1000)
    ema.images = 10**6
    with torch.no_grad():
        net.generator[3].codebook.fill_(1.0)
        net.generator[1].running_mean.fill_(1.0)
    iteration = next(m for m in net.generator.modules() if getattr(m, "copied", None) == ("_u", "_v"))
    copy = next(m for m in ema.model.generator.modules() if getattr(m, "copied", None) == ("_u", "_v"))
    net.generator(net.latent(4))
    assert not torch.equal(iteration._u, copy._u)
    ema.update(1000)
    assert torch.equal(ema.model.generator[3].codebook, torch.ones(3)) and torch.equal(iteration._u, copy._u)
    assert not torch.equal(ema.model.generator[1].running_mean, net.generator[1].running_mean)


def test_the_clock_counts_what_the_averaged_networks_were_trained_on(tmp_path):
    """A critic's further batches are seen by the run, not by the generator."""
    run(tmp_path, "images=48", "loss=wasserstein", "penalty=gradient_penalty", "loss.repeat=5")
    state = checkpoint.load(tmp_path).state
    assert state["images"] == 80 and state["ema_images"] == 16 and state["turn"] == 2  # batches of 8, five per turn


def test_the_average_is_not_trained_and_a_resting_turn_leaves_it_alone():
    net = model()
    ema = EMA(net, half_life=1000)
    assert not any(p.requires_grad for p in ema.model.generator.parameters())
    assert all(p.requires_grad for p in net.parameters())
    before = {key: value.clone() for key, value in ema.state_dict().items()}
    net.generator(net.latent(4))  # counts a batch, moves the statistics
    ema.update(0)
    assert all(torch.equal(value, before[key]) for key, value in ema.state_dict().items()) and ema.images == 0


def test_all_counters_are_copied_by_one_operation():
    calls = []

    class Recorded(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            calls.append(func._schema.name)
            return func(*args, **(kwargs or {}))

    net = DCGAN(ImageSpec(1, 16, 16), width=4)
    ema = EMA(net, half_life=1000)
    assert len(ema.copied) > 1
    with Recorded():
        ema.update(10)
    assert calls.count("aten::_foreach_copy_") == 1 and "aten::copy_" not in calls


def test_a_model_without_networks_to_average_is_its_own_average():
    """Resuming replaces the buffers of a kernel density; a copy of the model would go on with the empty ones."""
    net = KDE(ImageSpec(1, 2, 2))
    ema = EMA(net, half_life=1000)
    assert ema.model is net and ema.state_dict() == {}
    with ema.sampling() as sampled:
        assert sampled is net
