"""Models of codes: levels without an order are embedded, and nothing else about the models changes."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from pixel_models import all_images, make

from gancli.data.spec import ImageSpec
from gancli.errors import UsageError
from gancli.models.gated_pixelcnn import GatedPixelCNN
from gancli.models.lmconv import LMConv
from gancli.models.pixelcnn import PixelCNN
from gancli.models.pixelcnn_pp import PixelCNNpp
from gancli.models.pixelrnn import DiagonalBiLSTM, RowLSTM
from gancli.nn.levels import LevelEmbedding
from gancli.nn.likelihoods import Bernoulli, Categorical, DiscretizedLogisticMixture

NETWORKS = {
    "pixelcnn": partial(PixelCNN, width=6, blocks=2, head=6, kernel=3),
    "gated_pixelcnn": partial(GatedPixelCNN, width=6, blocks=2, head=6, kernel=3),
    "pixelcnn_pp": partial(PixelCNNpp, width=5, resnets=1, scales=1),
    "row_lstm": partial(RowLSTM, width=6, layers=1, head=6, kernel=3),
    "diagonal_bilstm": partial(DiagonalBiLSTM, width=6, layers=1, head=6, kernel=3),
    "lmconv": partial(LMConv, width=6, blocks=1, stages=1, orders=1),
}
CODES = ImageSpec(1, 4, 4, levels=5, nominal=True)


def embeddings(model: torch.nn.Module) -> list[LevelEmbedding]:
    return [module for module in model.modules() if isinstance(module, LevelEmbedding)]


@pytest.mark.parametrize("network", NETWORKS)
def test_five_codes_are_embedded_and_every_sampler_draws_the_same(network):
    model = make(NETWORKS[network], CODES, Categorical)
    assert [each.table.weight.shape for each in embeddings(model)] == [(5, model.EMBEDDED)]
    noise = model.noise(3, torch.Generator().manual_seed(1)).double()
    naive, *others = (model.from_noise(noise, None, sampler) for sampler in model.SAMPLERS)
    assert others and all(torch.equal(naive, other) for other in others)
    assert len(model.likelihood.level(naive).unique()) > 2


@pytest.mark.parametrize("network", NETWORKS)
def test_probabilities_of_all_images_of_codes_sum_to_one(network):
    spec = replace(CODES, height=2, width=2)
    model = make(NETWORKS[network], spec, Categorical)
    with torch.no_grad():
        log_p = model.log_prob(all_images(spec))
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-9) and log_p.std() > 0.1


@pytest.mark.parametrize("network", NETWORKS)
def test_codes_may_be_numbered_in_any_way(network):
    """Renumbering the codes of the data, the table and the logits gives the same probabilities: there is no order."""
    model = make(NETWORKS[network], CODES, Categorical)
    image = model.likelihood.value(torch.randint(5, (8, 1, 4, 4), generator=torch.Generator().manual_seed(2)).double())
    new = torch.tensor([3, 0, 4, 1, 2])  # the number that each code gets
    renumbered = model.likelihood.value(new[model.likelihood.level(image).long()].double())
    with torch.no_grad():
        before = model.log_prob(image)
        (embedding,) = embeddings(model)
        embedding.table.weight[new] = embedding.table.weight.clone()
        head = [module for module in model.modules() if getattr(module, "bias", None) is not None][-1]
        for name in ("weight", "bias", "gain"):
            if isinstance(getattr(head, name, None), torch.nn.Parameter):
                getattr(head, name)[new] = getattr(head, name).clone()
        after = model.log_prob(renumbered)
    assert torch.allclose(before, after, atol=1e-9)
    assert not torch.allclose(before, model.log_prob(image), atol=1e-3)


@pytest.mark.parametrize("network", NETWORKS)
def test_levels_in_order_are_read_as_they_are(network):
    model = make(NETWORKS[network], replace(CODES, nominal=False), Categorical)
    assert not embeddings(model) and not [key for key in model.state_dict() if "read" in key or "table" in key]


def test_likelihoods_that_need_an_order_refuse_codes():
    with pytest.raises(UsageError, match="unordered codes.*categorical"):
        PixelCNN(CODES, DiscretizedLogisticMixture)
    with pytest.raises(UsageError, match="one channel, but these have 3"):
        PixelCNN(replace(CODES, channels=3), Categorical)
    assert embeddings(PixelCNN(replace(CODES, levels=2), Bernoulli))  # of two levels no one lies between others
