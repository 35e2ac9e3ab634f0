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
from gancli.models.base import Model
from gancli.models.vqvae2 import VQVAE2
from gancli.nn.quantisers import perplexity, used


class VQVAE2Loss(TwoStages):
    """Train the autoencoder in the model's first stage, both priors in its second."""

    family = VQVAE2

    def phases(self, model: VQVAE2) -> list[Phase]:
        learned = ("quantiser",) if any(True for _ in model.quantiser.parameters()) else ()
        first = Phase(
            "autoencoder", ("encoder", "decoder", *learned), (Term(self.autoencoder),),
            after=self._update, statistics=self._statistics,
        )  # fmt: skip
        return self.stages(model, first)

    @staticmethod
    def _update(model: Model) -> None:
        assert isinstance(model, VQVAE2)
        for quantiser in model.quantisers().values():
            quantiser.update()

    @staticmethod
    def _statistics(model: Model) -> list[Tensor]:
        assert isinstance(model, VQVAE2)
        return [each for quantiser in model.quantisers().values() for each in quantiser.statistics()]

    def autoencoder(self, model: VQVAE2, batch: Batch) -> dict[str, Tensor]:
        coded, quantisers = model.quantise(batch.image), model.quantisers()
        z = model.joined(*(found.value for _, found in coded.values()))
        terms = {"reconstruction": model.reconstruction(z, batch.image)[0].mean()}
        for name, (vectors, found) in coded.items():
            quantiser = quantisers[name]
            quantiser.observe(vectors, found)
            terms |= {named(key, name): each for key, each in quantiser.penalties(vectors, found).items()}
            counts = used(found.number, model.levels)
            terms |= {
                named("perplexity", name): perplexity(counts),
                named("codes_used", name): (counts > 0).float().mean(),
            }
        return terms
