"""The family of latent-variable models: an encoder q(z|x), a decoder p(x|z) and a prior p(z); bounds in nats.

Whatever is estimated of log p(x) here is a lower bound of it, in expectation, and is called one. ``losses/elbo.py``
trains the family; its scores are ``metrics=[elbo]`` and ``metrics=[iwae]``.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.base import Model, between_normals
from gancli.models.bounds import chunks, said_by
from gancli.models.held_out import HeldOut
from gancli.nn import gaussian
from gancli.nn.labels import one_hot
from gancli.nn.likelihoods import Categorical, Likelihood, wide
from gancli.ranges import Positive, Units

ACTIVE = 0.01  # variance of a posterior mean over images from which a latent is active, as in the code of Burda et al.


class Posterior(NamedTuple):
    """What an encoder says of N images.

    Args:
        z: k codes of each image, (k N, ...): one code of every image, then another one of every image, and so on; for a
            model with several layers of latents a tuple of such tensors.
        cost: nats of the code of each image, (N,): KL(q(z|x) || p(z)), or -log p(z) of a code that is certain.
        stats: more about it; ``groups``, (N, G): the cost by group of latents, whose sum it is; ``mean``, (N, d): the
            means of the latents.
        log_ratio: log q(z|x) - log p(z) of each code, (k, N); None: the code is certain, and this is the cost.
    """

    z: Any
    cost: Tensor
    stats: Mapping[str, Tensor]
    log_ratio: Tensor | None = None


class LatentVariable(Model):
    """A model of images by codes that are not observed.

    sample() returns means of p(x|z), not samples of it, unless ``draw=sample`` is asked for: of independent pixels,
    samples are means with noise. A model whose decoder draws pictures that a discriminator judges has no p(x|z) of the
    pixels: it is ``bounded=False``, without a ``likelihood``, and what it decodes are the pictures themselves.

    Args:
        spec: shape and levels of the images.
        likelihood: called with ``levels=`` to build the likelihood p(x|z), whose pixels are independent given z; None:
            there is none.
        conditional: encoder, decoder and prior may depend on the class; for labelled data.

    Raises:
        UsageError: the model is conditional and the data has no classes, or the likelihood is one of levels and the
            data is dequantised, or the other way round.
    """

    sampled: ClassVar[tuple[str, ...]] = ("encoder", "decoder")  # an averaged decoder goes with an averaged encoder
    views: ClassVar[tuple[str, ...]] = ("grid", "reconstruction")
    certain: ClassVar[bool] = False  # whether an image has one code, so that more codes make no better bound
    bounded: ClassVar[bool] = True  # whether p(x|z) is a likelihood of the pixels, so that log p(x) has bounds
    groups: int = 0  # of latents in Posterior.stats["groups"]; 0: there are none
    encoder: nn.Module
    decoder: nn.Module
    likelihood: Likelihood

    def __init__(
        self, spec: ImageSpec, likelihood: Callable[..., Likelihood] | None, conditional: bool = False
    ) -> None:
        self.conditional = conditional
        super().__init__(spec)
        self.draw, self.k = "mean", 50
        if likelihood is not None:
            self.likelihood = likelihood(levels=spec.levels)
            self._check_levels(spec)

    @torch.no_grad()
    def begin_at(self, pixels: Tensor, layer: nn.Module, over: Sequence[int] = (0, 2, 3)) -> None:
        """Start the decoder's last layer at the mean and the spread of the pixels, see Likelihood.begun()."""
        start = self.likelihood.begun(pixels, over)
        if start is not None:
            layer.get_parameter("bias").copy_(start.flatten())

    def _check_levels(self, spec: ImageSpec) -> None:
        name = type(self.likelihood).__name__
        if spec.dequantised and not self.likelihood.density:
            raise UsageError(
                f"likelihood {name} gives probabilities to levels, but data.dequantise=uniform makes them continuous: "
                "use data.dequantise=null, or likelihood@model.likelihood=gaussian"
            )
        if self.likelihood.density and not spec.dequantised:
            raise UsageError(
                f"likelihood {name} is a density, which grows without bound at the levels of this data: add "
                "data.dequantise=uniform data.binarise=null, or choose likelihood@model.likelihood=logistic"
            )

    def set_sampling(self, draw: Literal["mean", "sample"] = "mean", k: Positive = 50) -> None:
        """Set the options of sample() and of the bounds.

        Args:
            draw: mean: images are the means of p(x|z); sample: they are drawn from it, pixel by pixel.
            k: codes per image of metrics=[iwae].
        """
        self.draw, self.k = draw, k

    @property
    def pixel_values(self) -> str | None:
        return "means" if self.bounded and self.draw == "mean" else None

    @abstractmethod
    def encode(
        self, image: Tensor, label: Tensor | None = None, k: int = 1, generator: Generator | None = None
    ) -> Posterior:
        """Return the posterior of images (N, C, H, W) in [-1, 1], with k codes of each."""

    def skip_codes(self, image: Tensor, label: Tensor | None, k: int, generator: Generator) -> None:
        """Leave a generator as encode() with these arguments leaves it, without codes if that is possible.

        Processes that evaluate together pass over the images of the others by it; here, encode() is called.
        """
        self.encode(image, label, k, generator)

    @abstractmethod
    def decode(self, z: Any, label: Tensor | None = None) -> Tensor:
        """Map codes (N, ...) to parameters of the pixels, (N, likelihood.channels(C), H, W)."""

    @abstractmethod
    def prior(self, n: int, generator: Generator | None = None, label: Tensor | None = None) -> Any:
        """Draw n codes from the prior, (n, ...), which may depend on the class, (n,)."""

    @abstractmethod
    def code(self, image: Tensor, label: Tensor | None = None) -> Any:
        """Return the most likely code of each image, (N, ...), without noise: that of its reconstruction."""

    def relaxed_code(self, image: Tensor, generator: Generator) -> Any:
        """Return a draw of continuous codes that stand for discrete ones in training; None: there are none."""
        return None

    def picture(self, z: Any, label: Tensor | None = None) -> Tensor:
        """Return the means of p(x|z), or the pictures that are decoded without one: (N, C, H, W) in [-1, 1]."""
        decoded = self.decode(z, label)
        return self.likelihood.mean(decoded, self.spec.channels) if self.bounded else decoded

    def known(self, image: Tensor) -> Tensor:
        """Return given images as the model knows them: rounded to its levels, unless it is one of densities."""
        if self.bounded and self.likelihood.density:
            return image
        return Categorical(self.spec.levels).snap(image)

    def sample(
        self, n: int, *, label: Tensor | None = None, source: Tensor | None = None, generator: Generator | None = None
    ) -> Tensor:
        label = self.labels(n, generator) if label is None else label
        z = self.prior(n, generator, label)
        if self.draw == "mean":
            return self.picture(z, label)
        return self.likelihood.sample(self.decode(z, label), self._pixel_noise(n, generator))

    def skip(self, n: int, *, label: Tensor | None = None, generator: Generator) -> None:
        self.prior(n, generator, self.labels(n, generator) if label is None else label)
        _ = self.draw == "mean" or self._pixel_noise(n, generator)

    def _pixel_noise(self, n: int, generator: Generator | None) -> Tensor:
        shape = n, self.likelihood.noise_channels(self.spec.channels), self.spec.height, self.spec.width
        return torch.rand(shape, device=self.device, generator=generator)

    def reconstruction(self, z: Any, image: Tensor, label: Tensor | None = None, k: int = 1) -> Tensor:
        """Return -log p(x|z) of N images and k codes of each, as in Posterior: (k N, ...) -> (k, N) nats."""
        label = None if label is None else label.repeat(k)
        return self.likelihood.nll(self.decode(z, label), image.repeat(k, 1, 1, 1)).view(k, len(image))

    def log_weights(self, image: Tensor, label: Tensor | None, k: int, generator: Generator | None = None) -> Tensor:
        """Return log p(x, z) - log q(z|x) of k codes of each image, (k, N) nats."""
        posterior = self.encode(image, label, k, generator)
        return log_weights(posterior, self.reconstruction(posterior.z, image, label, k))

    def bound(
        self, image: Tensor, label: Tensor | None = None, k: int = 1, generator: Generator | None = None
    ) -> Tensor:
        """Return a lower bound of log p(x), (N,) nats, in expectation over the codes.

        Args:
            image: (N, C, H, W) in [-1, 1].
            label: (N,) int64, for a conditional model.
            k: number of codes. 1: the ELBO, with the exact KL; more: log 1/k sum_i p(x, z_i) / q(z_i|x), which grows
                with k towards log p(x) (Burda et al. 2016, Importance Weighted Autoencoders, theorem 1).
            generator: of the codes.
        """
        if k == 1:
            return -self.parts(image, label, generator).sum(1)
        found = [self.log_weights(image, label, each, generator) for each in chunks(k, len(image))]
        return torch.cat(found).logsumexp(0) - math.log(k)

    def parts(self, image: Tensor, label: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """Return -log p(x|z) for one code of each image and the cost of the code: (N, 2) nats, the ELBO's two parts."""
        posterior = self.encode(image, label, 1, generator)
        return torch.stack([self.reconstruction(posterior.z, image, label)[0], posterior.cost], 1)

    def held_out(self) -> HeldOut:
        """Return the bounds, if there are any, and the reconstructions, see bounds.said_by()."""
        return said_by(self)


class GaussianLatents(LatentVariable):
    """A normal posterior with a diagonal covariance and a standard normal prior (Kingma & Welling 2014, section 3).

    ``encoder`` returns 2 d numbers per image, d means and d logs of variances; ``decoder`` takes d latents, and the
    one-hot class after them if the model is conditional.

    Args:
        spec: shape and levels of the images.
        likelihood: see LatentVariable.
        latent_dim: number d of latents.
        conditional: see LatentVariable.
    """

    def __init__(
        self,
        spec: ImageSpec,
        likelihood: Callable[..., Likelihood] | None,
        latent_dim: Units,
        conditional: bool = False,
    ) -> None:
        super().__init__(spec, likelihood, conditional)
        self.latent_dim = self.groups = latent_dim
        self.classes = spec.num_classes if conditional else 0

    def own_views(self) -> tuple[str, ...]:
        """Two latents are drawn as a manifold, too."""
        return (*super().own_views(), "manifold") if self.latent_dim == 2 else super().own_views()

    @abstractmethod
    def features(self, image: Tensor, code: Tensor | None) -> Tensor:
        """Return the encoder's 2 d outputs; ``code`` is the one-hot class, (N, classes), or None."""

    def infer(self, image: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return means and logs of the variances of q(z|x), (N, d) each, float32 or wider."""
        mean, log_var = wide(self.features(image, self._one_hot(label, image))).chunk(2, 1)
        return mean, log_var

    def encode(
        self, image: Tensor, label: Tensor | None = None, k: int = 1, generator: Generator | None = None
    ) -> Posterior:
        mean, log_var = self.infer(image, label)
        noise = torch.randn(k, *mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        z = mean + (log_var / 2).exp() * noise  # the reparametrisation, eq. 10
        groups = gaussian.kl(mean, log_var)
        ratio = gaussian.log_ratio(z, mean, log_var).sum(2)
        return Posterior(z.flatten(0, 1), groups.sum(1), {"groups": groups, "mean": mean}, ratio)

    def skip_codes(self, image: Tensor, label: Tensor | None, k: int, generator: Generator) -> None:
        shape = k, len(image), self.latent_dim
        torch.randn(shape, dtype=wide(image).dtype, device=image.device, generator=generator)

    def code(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        return self.infer(image, label)[0]

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        code = self._one_hot(label, z)
        return self.decoder(z if code is None else torch.cat([z, code], 1))

    def prior(self, n: int, generator: Generator | None = None, label: Tensor | None = None) -> Tensor:
        return torch.randn(n, self.latent_dim, device=self.device, generator=generator)

    def interpolate(self, start: Tensor, end: Tensor, t: Tensor) -> Tensor:
        return between_normals(start, end, t)

    def _one_hot(self, label: Tensor | None, like: Tensor) -> Tensor | None:
        if not self.conditional:
            return None
        assert label is not None, "a conditional model is given labels"
        return one_hot(label, self.classes).to(like.dtype)


def log_weights(posterior: Posterior, reconstruction: Tensor) -> Tensor:
    """Return log p(x, z) - log q(z|x) of a posterior's codes, whose -log p(x|z) are given: (k, N) nats."""
    return -reconstruction - (posterior.cost if posterior.log_ratio is None else posterior.log_ratio)


def active(means: Tensor, threshold: float = ACTIVE) -> Tensor:
    """Return which latents are active: the variance of their posterior means over images exceeds the threshold.

    Burda et al. 2016, section 5.2. (N, d) -> (d,) bool.
    """
    return means.var(0, correction=0) > threshold
