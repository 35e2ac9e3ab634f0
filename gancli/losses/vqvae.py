"""The two stages of a VQ-VAE: van den Oord et al. 2017, Neural Discrete Representation Learning, eq. 3 and section 3.2.

First encoder and decoder minimise -log p(x|z) and what the quantiser adds (eq. 3 is printed with the sign of its first
term reversed), then the prior minimises -log p(z) of the codes, which no longer change. All in nats per image, sums
over pixels and positions; a codebook's squared distances are sums, too. Both stages have an optimizer of their own.

    gancli train model=vqvae data=mnist model.autoencoder=0.3
"""

from collections.abc import Callable
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from gancli.data.spec import Batch
from gancli.losses.base import Loss, Phase, Term
from gancli.models.base import Model
from gancli.models.discrete import DiscreteLatents
from gancli.models.vqvae import VQVAE
from gancli.nn.quantisers import perplexity, used


def named(key: str, level: str) -> str:
    """Return the key of a number of a map of codes; one that is alone has no name."""
    return f"{key}_{level}" if level else key


class TwoStages(Loss):
    """Train an autoencoder in the model's first stage, the prior of its codes in the second."""

    family: ClassVar[type[Model]] = DiscreteLatents

    def stages(self, model: DiscreteLatents, first: Phase) -> list[Phase]:
        """Return the updates of both stages, of which the first is given; it may be the only one."""
        first = first._replace(repeat=lambda moment: int(not model.learned))
        second = Phase("prior", model.priors, (Term(self.prior),), repeat=lambda moment: int(model.learned))
        return [first, second] if model.learns_prior else [first]

    def prior(self, model: DiscreteLatents, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            index = model.tokens(batch.image)
        costs = model.costs(index, batch.label, learned=True)
        return {named("code_nats", name): each.mean() for name, each in costs.items()}

    def nats(self, model: DiscreteLatents, batch: Batch) -> Tensor | None:
        """Return the negative bound, with the prior of the stage; None: the model has none."""
        return -model.bound(batch.image, batch.label) if model.bounded else None

    def measurements(self, model: DiscreteLatents, batch: Batch) -> dict[str, Callable[[], Tensor]]:
        """Return how many codes the images use, and, once the prior learns, its nats and those of a uniform one.

        Of several maps of codes the one that uses the fewest counts, beside each alone.
        """
        index = cache(lambda: model.tokens(batch.image))
        sizes = model.sizes

        @cache
        def use(name: str) -> tuple[Tensor, Tensor]:
            maps = model.by_level(index())[name]
            counts = used(maps, sizes[name])
            # Of as many codes as there are, or as many as the images have positions.
            return (counts > 0).float().mean(), perplexity(counts) / min(sizes[name], maps.numel())

        found: dict[str, Callable[[], Tensor]] = {
            "codes_used": lambda: torch.stack([use(name)[0] for name in sizes]).amin(),
            "codes_alive": lambda: torch.stack([use(name)[1] for name in sizes]).amin(),
        }
        if len(sizes) > 1:
            for name in sizes:
                found[named("codes_used", name)] = lambda name=name: use(name)[0]  # type: ignore[misc]
                found[named("codes_alive", name)] = lambda name=name: use(name)[1]  # type: ignore[misc]
        if model.learned:
            found["code_nats"] = lambda: model.cost(index(), batch.label).mean()
            found["uniform_nats"] = model.uniform_nats
        return found


class VQVAELoss(TwoStages):
    """Train the autoencoder in the model's first stage, the prior in its second."""

    family = VQVAE

    def phases(self, model: VQVAE) -> list[Phase]:
        quantiser = model.quantiser
        learned = ("quantiser",) if any(True for _ in quantiser.parameters()) else ()
        first = Phase(
            "autoencoder", ("encoder", "decoder", *learned), (Term(self.autoencoder),),
            after=lambda model: model.quantiser.update(),  # type: ignore[union-attr, operator]
            statistics=lambda model: model.quantiser.statistics(),  # type: ignore[union-attr, operator]
        )  # fmt: skip
        return self.stages(model, first)

    def autoencoder(self, model: VQVAE, batch: Batch) -> dict[str, Tensor]:
        z = model.encoder(batch.image)
        found = model.quantiser(z)
        reconstruction = model.reconstruction(found.value, batch.image)[0].mean()
        model.quantiser.observe(z, found)
        counts = used(found.number, model.levels)
        told = {"perplexity": perplexity(counts), "codes_used": (counts > 0).float().mean()}
        return {"reconstruction": reconstruction, **model.quantiser.penalties(z, found), **told}
