"""Regularisation of discriminators (critics): gradient penalties, penalties on outputs, weight clipping.

Gradients are those of the score with respect to the image, with one norm per sample over all pixels and channels.

    gancli train model=dcgan 'penalty=[r1,drift]' loss.penalties.r1.gamma=1
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from gancli.data.spec import Batch
from gancli.errors import UsageError
from gancli.losses.base import Term
from gancli.models.base import Model
from gancli.nn import ranks
from gancli.nn.annealed import Annealed, value
from gancli.ranges import Above, Positive


class PenaltyInputs(NamedTuple):
    """The inputs of a penalty: the penalised network, and images, (N, C, H, W), as the critic sees them.

    A penalty of the discriminator gets generated images without a gradient, drawn on request. A penalty of the
    generator (``generator_penalties``) gets them with their gradient and, if the model has latents, with their latents.
    """

    network: nn.Module
    score: Callable[[Tensor], Tensor]  # (N, C, H, W) -> (N,)
    real: Tensor
    fake: Callable[[], Tensor]  # draws as many generated images as there are real ones
    progress: Tensor | None = None  # () completed share of the run in [0, 1]
    latents: Tensor | None = None  # (N, ...), leaves of the graph from which fake() is generated
    before: "PenaltyInputs | None" = None  # the same with images before augmentation, through which score() then goes
    # Draws n images of a style-based generator: their styles, (n, styles, d), and the images that are made of them.
    styled: Callable[[int], tuple[Tensor, Tensor]] | None = None


class Regularizer:
    """A penalty or a projection of the critic, or of the generator; one that is a module has its state saved."""

    bounding: ClassVar[bool] = True  # whether it bounds the critic's slope

    def check(self, model: Model) -> None:
        """Refuse a model for which it is not defined. Raises UsageError."""

    def warning(self, critic: nn.Module, settings: Mapping[str, Any]) -> str | None:
        """Return one line if the critic or its optimizer's settings contradict the paper."""
        return None


class Penalty(Regularizer, ABC):
    """An additional term that the critic minimises.

    Args:
        interval: number of updates between evaluations, by which the term is scaled (lazy regularisation, Karras et al.
            2020, Analyzing and Improving the Image Quality of StyleGAN, section 3.1).
    """

    second_order: ClassVar[bool] = True
    through = shared = False  # see R1

    def __init__(self, interval: Positive = 1) -> None:
        self.interval = interval

    @abstractmethod
    def __call__(self, game: PenaltyInputs) -> Tensor:
        """Return the penalty, a scalar."""


class SlopePenalty(Penalty):
    """A penalty on the slope of the score at each image, which has to be a function of that image alone."""

    paper: ClassVar[str]  # who leaves batch norm out of the critic

    def warning(self, critic: nn.Module, settings: Mapping[str, Any]) -> str | None:
        if not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in critic.modules()):
            return None
        return (
            f"{type(self).__name__} on a critic with batch norm: its slopes then depend on the whole batch; "
            f"{self.paper} leave it out (model.discriminator_norm=none, which dcgan, lapgan, vae_gan and vqgan have)"
        )


class Projection(Regularizer, ABC):
    """A change of the critic's weights after each of its updates."""

    @abstractmethod
    def project(self, critic: nn.Module) -> None:
        """Change the weights in place."""


def slopes(score: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Return the gradient of each score with respect to its image, (N, C*H*W), differentiable in the weights."""
    image = image.detach().requires_grad_()
    return slopes_of(score(image), image)


def slopes_of(score: Tensor, image: Tensor) -> Tensor:
    """As slopes(), for scores, (N,), that were computed from these images."""
    return torch.autograd.grad(score.sum(), image, create_graph=True)[0].flatten(1)


def between(start: Tensor, end: Tensor) -> Tensor:
    """Draw one point on each line from start to end, with one random number per sample (not per pixel or batch)."""
    share = torch.rand(len(start), *[1] * (start.ndim - 1), device=start.device, dtype=start.dtype)
    return torch.lerp(start, end, share)


Games = Callable[[Any, Batch], dict[str, PenaltyInputs]]  # takes a model and a batch; keys are suffixes of scalar names


def penalty_terms(penalties: Mapping[str, Regularizer], games: Games, *, through: bool = False) -> tuple[Term, ...]:
    """Return a term for each penalty, which is applied in every game; ``through``: these have images ``before``.

    Raises:
        UsageError: a penalty wants what the loss does not offer.
    """
    found = {name: each for name, each in penalties.items() if isinstance(each, Penalty)}
    for name, each in found.items():
        for key in ("shared",) if through else ("shared", "through"):
            if getattr(each, key):
                raise UsageError(f"{key}=true of the penalty {name}: this loss cannot do that; set it to false")
    return tuple(Term(partial(_penalty_term, n, p, games), p.interval, p.second_order) for n, p in found.items())


def _penalty_term(name: str, penalty: Penalty, games: Games, model: Any, batch: Batch) -> dict[str, Tensor]:
    return {f"{name}{ending}": penalty(game) for ending, game in games(model, batch).items()}


def projection(penalties: Mapping[str, Regularizer], network: str) -> Callable[[Any], None] | None:
    """Return a function that projects the weights of a model's child, or None if there are no projections."""
    found = [each for each in penalties.values() if isinstance(each, Projection)]

    def project(model: Any) -> None:
        for each in found:
            each.project(model.get_submodule(network))

    return project if found else None


def warnings(penalties: Mapping[str, Regularizer], critic: nn.Module, settings: Mapping[str, Any]) -> list[str]:
    """Return the penalties' warnings about a critic and its optimizer's settings."""
    return [line for each in penalties.values() if (line := each.warning(critic, settings))]


class GradientPenalty(SlopePenalty):
    """Gulrajani et al. 2017, Improved Training of Wasserstein GANs: slope 1 between real and generated images.

    The generated images are drawn for this term; the paper uses those of the loss (the expectation is the same).

    Args:
        weight: lambda.
        target: target of the gradient norm.
        one_sided: penalise only norms above the target (see their section 4, "Two-sided penalty").
        interval: see Penalty.
    """

    paper = "Gulrajani et al. 2017, section 4,"

    def __init__(
        self, weight: float | Annealed = 10.0, target: float = 1.0, one_sided: bool = False, interval: Positive = 1
    ) -> None:
        super().__init__(interval)
        self.weight, self.target, self.one_sided = weight, target, one_sided

    def __call__(self, game: PenaltyInputs) -> Tensor:
        return self._excess(slopes(game.score, between(game.fake(), game.real)), game.progress)

    def _excess(self, gradient: Tensor, progress: Tensor | None) -> Tensor:
        excess = torch.linalg.vector_norm(gradient, dim=1) - self.target
        return value(self.weight, progress) * (relu(excess) if self.one_sided else excess).square().mean()


class DRAGAN(GradientPenalty):
    """Kodali et al. 2017, On Convergence and Stability of GANs: unit gradient norm around real images.

    As in the authors' release, noise of [0, 1/2) standard deviations of the batch is added to each pixel, and the point
    is then drawn between the real and the noisy image, with one random number per sample.
    """

    def __call__(self, game: PenaltyInputs) -> Tensor:
        noise = 0.5 * ranks.std(game.real) * torch.rand_like(game.real)
        return self._excess(slopes(game.score, between(game.real, game.real + noise)), game.progress)


class R1(SlopePenalty):
    """Mescheder et al. 2018, Which Training Methods for GANs do actually Converge?: flat at real images.

    The penalty is gamma / 2 times the squared norm, summed over pixels; the authors' release lacks the 1/2.

    Args:
        gamma: weight; good values grow with the number of pixels.
        interval: see Penalty; 16 in StyleGAN2.
        through: take the slopes at images before augmentation, through it, as R3GAN does (Huang et al. 2024), where a
            mask, for one, hides pixels from the penalty.
        shared: use the loss's own scores, in eager mode and float32; saves a forward pass, for R2 generated images too.

    Raises:
        ValueError: ``shared`` together with an interval.
    """

    paper = "the networks of Mescheder et al. 2018"
    at_real: ClassVar[bool] = True  # whether the slopes are those at real images, or at generated ones

    def __init__(
        self, gamma: float | Annealed = 10.0, interval: Positive = 1, through: bool = False, shared: bool = False
    ) -> None:
        super().__init__(interval)
        if shared and interval > 1:
            raise ValueError(f"shared=true with interval={interval}: the loss's own scores are there in every update")
        self.gamma, self.through, self.shared = gamma, through, shared

    def __call__(self, game: PenaltyInputs) -> Tensor:
        if self.through:
            game = cast(PenaltyInputs, game.before)  # penalty_terms() refuses losses without it
        return self.flat(slopes(game.score, game.real if self.at_real else game.fake()), game.progress)

    def flat(self, gradient: Tensor, progress: Tensor | None) -> Tensor:
        """Return the penalty on gradients, (N, C*H*W), at a share of the run."""
        return value(self.gamma, progress) / 2 * gradient.square().sum(1).mean()


class R2(R1):
    """Mescheder et al. 2018: zero gradient at generated images."""

    at_real = False


class Drift(Penalty):
    """Karras et al. 2018, Progressive Growing of GANs: the scores of real images stay near zero.

    Args:
        weight: epsilon.
        interval: see Penalty.
    """

    second_order = False
    bounding = False

    def __init__(self, weight: float | Annealed = 0.001, interval: Positive = 1) -> None:
        super().__init__(interval)
        self.weight = weight

    def __call__(self, game: PenaltyInputs) -> Tensor:
        return value(self.weight, game.progress) * game.score(game.real).square().mean()


class WeightClipping(Projection):
    """Arjovsky et al. 2017, Wasserstein GAN, algorithm 1: every weight of the critic is clipped to [-c, c].

    This includes the scales of batch norm, as in the authors' release.

    Args:
        c: the bound.
    """

    def __init__(self, c: Above = 0.01) -> None:
        self.c = c

    def project(self, critic: nn.Module) -> None:
        parameters: list[Tensor] = list(critic.parameters())
        torch._foreach_clamp_min_(parameters, -self.c)
        torch._foreach_clamp_max_(parameters, self.c)

    def warning(self, critic: nn.Module, settings: Mapping[str, Any]) -> str | None:
        momentum = settings.get("momentum") or (settings.get("betas") or (0.0,))[0]
        if not momentum:
            return None
        return (
            f"the critic has weight clipping and momentum {momentum}; Arjovsky et al. 2017 found training "
            "with momentum unstable and used optimizer=rmsprop"
        )
