"""The variational autoencoder: Kingma & Welling 2014, Auto-Encoding Variational Bayes (section 5, appendix C).

Encoder: pixels -> hidden layers -> mean and log variance of each latent. Decoder: latents -> hidden layers, mirrored ->
parameters of each pixel. With ``loss=iwae`` the same networks are those of Burda et al. 2016, Importance Weighted
Autoencoders: two tanh layers of 200 and 50 latents (``model=iwae``).

Deviations: ReLU layers of 400 where the paper has tanh layers of 500; PyTorch's initialisation for N(0, 0.01) (Burda et
al.: Glorot's); the output bias starts at the logit of the pixels' means, as in the code of Burda et al.; no weight
decay; Adam for Adagrad.

    gancli train model=vae data=mnist
    gancli train model=vae data=mnist model.latent_dim=2 'model.hidden=[400,400]'
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.latent import GaussianLatents
from gancli.nn.likelihoods import Likelihood
from gancli.ranges import Units

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


class VAE(GaussianLatents):
    """Two fully connected networks, which treat an image as a vector.

    Args:
        spec: shape and levels of the images.
        likelihood: called with ``levels=`` to build the likelihood.
        latent_dim: number of latents.
        hidden: units of the encoder's hidden layers; the decoder has them in reverse.
        activation: of the hidden layers.
        conditional: give encoder and decoder the class; for labelled data.

    Raises:
        UsageError: there is no hidden layer, or what LatentVariable refuses.
    """

    bf16_pays = True

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood],
        latent_dim: Units = 20,
        hidden: list[Units] | tuple[Units, ...] = (400,),
        activation: Literal["relu", "tanh"] = "relu",
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, likelihood, latent_dim, conditional)
        if not hidden:
            raise UsageError("model.hidden=[] has no layer: use model.hidden=[400]")
        parameters = self.likelihood.channels(spec.channels), spec.height, spec.width
        into = math.prod(spec.shape) + self.classes
        self.encoder = perceptron([into, *hidden, 2 * latent_dim], ACTIVATIONS[activation])
        back = [latent_dim + self.classes, *reversed(hidden), math.prod(parameters)]
        self.decoder = perceptron(back, ACTIVATIONS[activation]).append(nn.Unflatten(1, parameters))

    def fit_data(self, pixels: Tensor) -> None:
        self.begin_at(pixels, self.decoder[-2], over=(0,))  # type: ignore[index]  # a Sequential, see above

    def features(self, image: Tensor, code: Tensor | None) -> Tensor:
        x = (image.flatten(1) + 1) / 2  # black pixels are zero, as in the papers
        return self.encoder(x if code is None else torch.cat([x, code], 1))


def perceptron(units: list[int], activation: type[nn.Module]) -> nn.Sequential:
    """Return linear layers between these numbers of units, with the activation between them."""
    layers = [layer for sizes in pairwise(units) for layer in (nn.Linear(*sizes), activation())]
    return nn.Sequential(*layers[:-1])
