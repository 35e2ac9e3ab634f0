"""The likelihood of a split, and the loss, against sums by hand."""

import math

import numpy as np
import pytest
import torch

from gancli.data.digits import Digits
from gancli.data.spec import Batch, ImageSpec
from gancli.losses.nll import NLL
from gancli.metrics.nll import nll
from gancli.models.pixelcnn import PixelCNN
from gancli.nn.likelihoods import Bernoulli

CPU = torch.device("cpu")


def brightness(image, label):
    """Some nats that differ between images."""
    return (image + 1).flatten(1).sum(1) * 50 + label


@pytest.mark.parametrize("batch_size", [1, 64, 359, 360, 1000])
def test_every_image_counts_once_whatever_the_batch_size(batch_size):
    images = Digits().split("test")
    values = (images.pixels.astype(np.float64) / 127.5).sum((1, 2, 3)) * 50 + images.labels
    found = nll(brightness, images, batch_size=batch_size, device=CPU)
    assert found["nats"] == pytest.approx(values.mean(), rel=1e-6)
    assert found["nats_se"] == pytest.approx(values.std(ddof=1) / math.sqrt(len(values)), rel=1e-5)
    assert found["bits_per_dim"] == pytest.approx(values.mean() / math.log(2) / 64, rel=1e-6)
    assert found["impossible"] == 0


def test_impossible_images_are_counted_and_not_averaged():
    images = Digits().split("test")

    def nats(image, label):
        return torch.where(label == 0, math.inf, 3.0)

    found = nll(nats, images, batch_size=50, device=CPU, density=True)
    assert found["nats"] == 3 and found["impossible"] == pytest.approx((images.labels == 0).mean())
    assert "bits_per_dim" not in found


def test_not_a_number_stays():
    found = nll(lambda x, y: torch.full((len(x),), math.nan), Digits().split("test"), batch_size=50, device=CPU)
    assert math.isnan(found["nats"])


def test_the_loss_is_the_mean_of_the_nats():
    spec = ImageSpec(1, 4, 4, levels=2)
    model = PixelCNN(spec, Bernoulli, width=2, blocks=1, head=4)
    image = torch.randint(0, 2, (5, 1, 4, 4)).float() * 2 - 1
    loss = NLL()
    (phase,) = loss.phases(model)
    scalars = loss.term(model, Batch(image))
    assert phase.networks == ("net",)
    assert torch.allclose(scalars["nats"], -model.log_prob(image).mean()) and scalars["nats"].requires_grad
    assert not scalars["bits_per_dim"].requires_grad
    assert scalars["bits_per_dim"].item() == pytest.approx(scalars["nats"].item() / (16 * math.log(2)))
