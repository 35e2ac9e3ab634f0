"""The two stages of a VQ-VAE-2: Razavi et al. 2019, Generating Diverse High-Fidelity Images with VQ-VAE-2, section 3.

As of a VQ-VAE (``vqvae.py``), with two maps of codes: first encoder and decoder minimise -log p(x|top, bottom) and what
both quantisers add, then the priors minimise -log p(top) and -log p(bottom|top), in one phase, since neither has
a gradient in the other.

    gancli train model=vqvae2 data=mnist model.autoencoder=0.3
"""

from torch import Tensor

from gancli.data.spec import Batch
from gancli.losses.base import Phase, Term
from gancli.losses.vqvae import TwoStages, named
from gancli.models.vqvae2 import VQVAE2
from gancli.nn.quantisers import perplexity, used


class VQVAE2Loss(TwoStages):
    """Train the autoencoder in the model's first stage, both priors in its second."""

    family = VQVAE2

    def phases(self, model: VQVAE2) -> list[Phase]:
        learned = ("quantiser",) if any(True for _ in model.quantiser.parameters()) else ()
        first = Phase(
            "autoencoder", ("encoder", "decoder", *learned), (Term(self.autoencoder),),
            after=lambda model: [each.update() for each in model.quantiser.values()],  # type: ignore
            statistics=lambda model: [x for each in model.quantiser.values() for x in each.statistics()],  # type: ignore
        )  # fmt: skip
        return self.stages(model, first)

    def autoencoder(self, model: VQVAE2, batch: Batch) -> dict[str, Tensor]:
        coded = model.quantise(batch.image)
        z = model.joined(*(found.value for _, found in coded.values()))
        terms = {"reconstruction": model.reconstruction(z, batch.image)[0].mean()}
        for name, (vectors, found) in coded.items():
            quantiser = model.quantiser[name]
            quantiser.observe(vectors, found)  # type: ignore[operator]
            penalties = quantiser.penalties(vectors, found)  # type: ignore[operator]
            terms |= {named(key, name): each for key, each in penalties.items()}
            counts = used(found.number, model.levels)
            terms |= {
                named("perplexity", name): perplexity(counts),
                named("codes_used", name): (counts > 0).float().mean(),
            }
        return terms
