"""The lecture on a VAE and a GAN: their common network, the curves, and the deviations."""

from functools import partial

import pytest
import torch

from gancli.data.spec import ImageSpec
from gancli.lectures.vae_vs_gan import DCGANAutoencoder, Means, spread
from gancli.models.dcgan import DCGAN
from gancli.nn.likelihoods import Bernoulli


def test_the_decoder_is_the_generator_up_to_the_last_activation():
    spec = ImageSpec(1, 8, 8, levels=2)
    vae, gan = DCGANAutoencoder(spec, partial(Bernoulli), 5, 4, 6).eval(), DCGAN(spec, 5, 4, hidden=6).eval()
    vae.decoder.load_state_dict(gan.generator.state_dict())
    z = torch.randn(7, 5)
    s = vae.decode(z)
    assert torch.allclose(gan.generate(z[:, :, None, None]), s.tanh(), atol=1e-6)
    assert torch.allclose(vae.picture(z), (s / 2).tanh(), atol=1e-6) and s.std() > 0


def test_curves_are_means_of_the_losses_since_the_last_look():
    means = Means()
    for value in (1.0, 2.0, 6.0):
        means.add({"loss/generator": torch.tensor(value), "generator/fake": torch.tensor(9.0)})
    means.add({"loss/discriminator": torch.tensor(5.0)})
    assert means.take() == {"generator": 3.0, "discriminator": 5.0} and means.take() == {}


def test_deviations_are_those_of_the_seeds():
    runs = [{"scores": {"fid": value}} for value in (1.0, 3.0, 8.0)]
    assert spread(runs)["fid"] == {"mean": 4.0, "std": pytest.approx(13**0.5)}
    assert spread(runs[:1])["fid"] == {"mean": 1.0, "std": 0.0}
