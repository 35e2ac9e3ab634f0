"""GANs for points: the multilayer perceptrons of gan_toy.py, the release of Gulrajani et al. 2017 (their figure 2).

`model=toy_gan_paper` is that release: two normal latents, three ReLU layers of 512 in generator and critic, He-uniform
weights, Wasserstein loss with a gradient penalty of weight .1 (10 in the paper), 5 critic updates per generator update,
Adam with learning rate 1e-4 and betas (.5, .9), batches of 256, 100,000 generator updates.

`model=toy_gan`, gancli's own recipe, shows in minutes on one core what the release's recipe shows in hours: narrower
nets, the non-saturating loss with R1 (Mescheder et al. 2018), a larger learning rate, averaged weights.

Deviations: the discriminator's output has no bias, since the Wasserstein loss does not depend on it; hidden layers
start with random biases, since otherwise every ReLU of the first layer would have its kink at the origin; the generator
can also make images, and then ends in a tanh.

    gancli train model=toy_gan data=grid25
"""

import math

from torch import nn

from gancli.data.spec import ImageSpec
from gancli.models.base import NormalPrior
from gancli.ranges import Depth, Units


class ToyGAN(NormalPrior):
    """Two ReLU perceptrons with normal latents.

    Args:
        spec: shape of a point, or of an image.
        latent_dim: number of normal latents.
        width: units of a hidden layer.
        depth: hidden layers of each network.
    """

    points = True

    def __init__(self, spec: ImageSpec, latent_dim: Units = 2, width: Units = 512, depth: Depth = 3) -> None:
        super().__init__(spec, latent_dim)
        dim = math.prod(spec.shape)
        end = [] if spec.points else [nn.Tanh()]
        self.generator = nn.Sequential(*perceptron(latent_dim, width, depth, dim), *end, nn.Unflatten(1, spec.shape))
        self.discriminator = nn.Sequential(nn.Flatten(), *perceptron(dim, width, depth, 1), nn.Flatten(0))
        self.discriminator[-2].register_parameter("bias", None)


def perceptron(inputs: int, width: int, depth: int, outputs: int) -> list[nn.Module]:
    """Return linear layers with ReLUs between them and He-uniform weights, (N, inputs) -> (N, outputs)."""
    sizes = [inputs, *[width] * depth, outputs]
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")  # std sqrt(2 / fan_in)
        layers += [linear, nn.ReLU()]
    return layers[:-1]
