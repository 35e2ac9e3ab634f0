"""Penalties of the generator, and weights that change over the run."""

from functools import partial

import pytest
import torch
from helpers import compose, game, overrides
from torch import Tensor

from gancli.losses.adversarial import NonSaturating
from gancli.losses.penalties import (
    R1,
    Penalty,
    PenaltyInputs,
    WeightClipping,
)  # fmt: skip
from gancli.nn.annealed import Annealed
from gancli.training.build import build
from gancli.training.step import Step


class Length(Penalty):
    """A toy: the squared length of the gradient of an image in its latents, as of a generator's path."""

    def __call__(self, game: PenaltyInputs) -> Tensor:
        (slope,) = torch.autograd.grad(game.fake().sum(), game.latents, create_graph=True)
        return game.progress * slope.square().sum(1).mean()


def test_the_generator_pays_penalties_too():
    run = build(compose("train", overrides("dcgan")))
    loss = NonSaturating(generator_penalties={"length": Length(interval=2), "clip": WeightClipping(0.01)})
    critic, phase = loss.phases(run.model)
    assert critic.terms[1:] == () and critic.after is None
    step = Step(run.model, phase, partial(torch.optim.SGD, lr=0.1), run.runtime)
    batch = run.loader.next(0.5)
    first, second = step(batch), step(batch)
    assert first["generator/length"] > 0 and "generator/length" not in second
    assert first["loss/generator"].item() == pytest.approx(
        first["generator/fake"].item() + 2 * first["generator/length"].item(), rel=1e-5
    )
    assert all(p.abs().max() <= 0.01 for p in run.model.generator.parameters())
    assert any(p.abs().max() > 0.01 for p in run.model.discriminator.parameters())
    assert all(p.grad is None for p in run.model.discriminator.parameters())


class Size(Penalty):
    """A toy: how large generated pictures are."""

    second_order = False

    def __call__(self, game: PenaltyInputs) -> Tensor:
        assert game.latents is None and game.progress is not None
        return game.fake().square().mean() + 0 * sum(p.sum() for p in game.network.parameters())


@pytest.mark.parametrize("model", ["cyclegan", "pix2pix", "stargan"])
def test_generators_of_translations_pay_them_too(model):
    run = build(compose("train", overrides(model)))
    run.loss.adversarial.generator_penalties = {"size": Size()}
    phase = next(phase for phase in run.loss.phases(run.model) if phase.name == "generators")
    scalars = Step(run.model, phase, partial(torch.optim.SGD, lr=0.1), run.runtime)(run.loader.next(0.5))
    assert [key for key in scalars if key.startswith("generators/size")]


def test_a_weight_that_changes_is_read_by_the_share_of_the_run():
    play = game()
    values = [R1(gamma=Annealed(4, 2))(play._replace(progress=torch.tensor(share))) for share in (0.0, 0.5, 1.0)]
    assert [(v / R1(gamma=1.0)(play)).item() for v in values] == pytest.approx([4, 3, 2])
