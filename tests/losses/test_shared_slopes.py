"""R1 and R2 through the augmentation, and from the forward passes of the loss: closed forms and the composed twin."""

import pytest
import torch
from helpers import NoHostSync, compose, overrides
from torch import Tensor, nn

from gancli.data.spec import Batch
from gancli.errors import UsageError
from gancli.losses.adversarial import NonSaturating
from gancli.losses.augmentation import Augment
from gancli.losses.penalties import R1, R2
from gancli.losses.relativistic import Relativistic
from gancli.losses.stabilizers import Stabilizer
from gancli.nn.annealed import Annealed
from gancli.training.build import build


class Halved(Stabilizer):
    """Half of the contrast, and the right half of the image is hidden."""

    def image(self, image: Tensor, progress: Tensor | None = None) -> Tensor:
        mask = torch.zeros_like(image)
        mask[..., : image.shape[-1] // 2] = 0.5
        return image * mask


class Game(nn.Module):
    """A fixed batch of generated images and a critic, in float64."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.discriminator, self.generator = critic.double(), nn.Identity()
        self.real, self.fake = torch.randn(2, 6, 2, 4, 4, dtype=torch.float64)
        self.forwards = 0

    def latent(self, n: int) -> Tensor:
        return torch.zeros(n)

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.fake

    def score(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        self.forwards += 1
        return self.discriminator(image)

    def target_labels(self, label: Tensor | None) -> Tensor | None:
        return label

    def updated(self, loss) -> tuple[dict[str, float], list[Tensor]]:
        """Return the scalars of the discriminator's update and the gradients of its weights."""
        batch = Batch(self.real, None, None, torch.tensor(0.25, dtype=torch.float64))
        rows: dict[str, Tensor] = {}
        for term in loss.phases(self)[0].terms:
            rows |= term.fn(self, batch)
        total = sum(value for value in rows.values() if value.requires_grad)
        gradients = torch.autograd.grad(total, list(self.discriminator.parameters()), allow_unused=True)
        return {key: value.item() for key, value in rows.items()}, list(gradients)


def smooth() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 6), nn.Tanh(), nn.Linear(6, 1), nn.Flatten(0))


def both(**more) -> dict[str, R1]:
    gamma = Annealed(2.0, 1.0, "cosine", until=0.5)
    return {"r1": R1(gamma, **more), "r2": R2(3.0, **more)}


@pytest.mark.parametrize("kind", [Relativistic, NonSaturating])
@pytest.mark.parametrize("through", [True, False])
@pytest.mark.parametrize("critic", [smooth, lambda: nn.Sequential(nn.BatchNorm2d(2), *smooth())])
def test_shared_penalties_equal_those_with_forward_passes_of_their_own(kind, through, critic):
    more = {"variant": "rsgan"} if kind is Relativistic else {}
    game, found = Game(critic()), []
    for shared, forwards in ((True, 2), (False, 4)):
        game.forwards = 0
        loss = kind(penalties=both(through=through, shared=shared), stabilizers={"hidden": Halved()}, **more)
        found.append(game.updated(loss))
        assert game.forwards == forwards
    assert found[0][0].keys() == found[1][0].keys() and {"r1", "r2"} <= found[0][0].keys()
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-10)
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert (one is None and other is None) or torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_some_penalties_may_share_and_others_not():
    game = Game(smooth())
    loss = Relativistic("rsgan", penalties={"r1": R1(1.0, shared=True), "r2": R2(1.0)})
    assert [term.second_order for term in loss.phases(game)[0].terms] == [True, True]
    whole, _ = game.updated(Relativistic("rsgan", penalties={"r1": R1(1.0), "r2": R2(1.0)}))
    assert game.updated(loss)[0] == pytest.approx(whole, rel=1e-10)


class Linear(nn.Module):
    """a'x."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.arange(32.0).view(2, 4, 4) / 10)

    def forward(self, image: Tensor) -> Tensor:
        return (self.a * image).sum((1, 2, 3))


class Quadratic(Linear):
    """x'x / 2."""

    def forward(self, image: Tensor) -> Tensor:
        return image.square().sum((1, 2, 3)) / 2 + 0 * self.a.sum()


@pytest.mark.parametrize("shared", [True, False])
def test_penalties_of_linear_and_quadratic_critics_in_closed_form(shared):
    """gamma/2 |a|^2 and gamma/2 E|x|^2; through a mask of m: gamma/2 |m a|^2 and gamma/2 E|m^2 x|^2."""
    cosine = 1.5  # half of the way from 2 to 1 at the quarter, half of the burn-in
    for through in (False, True):
        loss = NonSaturating(penalties=both(through=through, shared=shared), stabilizers={"hidden": Halved()})
        game = Game(Linear())
        a = game.discriminator.a.detach()
        square = (Halved().image(a[None]) if through else a).square().sum().item()
        row, _ = game.updated(loss)
        assert (row["r1"], row["r2"]) == pytest.approx((cosine / 2 * square, 3 / 2 * square))
        game = Game(Quadratic())
        masked = [Halved().image(x) for x in (game.real, game.fake)]
        slopes = [Halved().image(x) for x in masked] if through else masked
        real, fake = (s.square().sum((1, 2, 3)).mean().item() for s in slopes)
        row, _ = game.updated(loss)
        assert (row["r1"], row["r2"]) == pytest.approx((cosine / 2 * real, 3 / 2 * fake))


def test_what_a_loss_cannot_do_is_refused_before_the_run():
    on = ["penalty=r1", "loss.penalties.r1.shared=true"]
    for model, more in (("acgan", on), ("pix2pix", on), ("pix2pix", ["penalty=r1", "loss.penalties.r1.through=true"])):
        with pytest.raises(UsageError, match="=true of the penalty r1: this loss cannot do that; set it to false"):
            build(compose("train", overrides(model, *more)))
    with pytest.raises(UsageError, match="shared=true with interval=4"):
        build(compose("train", overrides("dcgan", *on, "loss.penalties.r1.interval=4")))


def test_labels_of_a_conditional_model_go_with_their_images():
    parts = build(compose("train", overrides("r3gan", "model.conditional=true")))
    batch, asked, score = parts.loader.next(), [], parts.model.score
    parts.model.score = lambda image, label: asked.append(label) or score(image, label)
    with NoHostSync():
        row = parts.steps[0](batch)
    assert len(asked) == 2 and all(torch.equal(label, batch.label) for label in asked)
    assert {"discriminator/pair", "discriminator/r1", "discriminator/r2"} <= row.keys()


def test_the_chance_of_an_augmentation_follows_the_run_and_its_factors():
    torch.manual_seed(0)
    images = torch.ones(4000, 1, 6, 6)
    augment = Augment(Annealed(0.0, 0.6, until=0.5), {"cutout": 0.5})
    changed = lambda share: (augment.image(images, share) != images).flatten(1).any(1).float().mean().item()  # noqa: E731
    assert changed(torch.tensor(0.0)) == changed(None) == 0
    assert changed(torch.tensor(0.25)) == pytest.approx(0.15, abs=0.02)
    assert changed(torch.tensor(0.9)) == pytest.approx(0.3, abs=0.025)


def test_every_augmentation_is_applied_to_some_images_and_to_pairs_alike():
    torch.manual_seed(0)
    images = torch.rand(64, 3, 8, 8) * 2 - 1
    for name in ("geometry", "color", "cutout"):
        changed = ((Augment(0.2, {name: 1.0}).image(images) - images).abs() > 1e-4).flatten(1).any(1)
        assert 0 < changed.sum() < 64
        source, (image,) = Augment(1.0, {name: 1.0}).pairs(images, [images])
        assert torch.allclose(source, image, atol=1e-6) == (name != "color")
        assert torch.equal(source, images) == (name == "color")


@pytest.mark.parametrize(
    "p, transforms, says",
    [(0.5, {}, "must be one or more of"), (0.5, {"blur": 1}, "blur"), (0.5, {"color": 2.0}, "from 0 to 1"),
     (Annealed(0, 1.5), {"color": 1.0}, "from 0 to 1")],
)  # fmt: skip
def test_augmentations_that_make_no_sense_are_refused(p, transforms, says):
    with pytest.raises(ValueError, match=says):
        Augment(p, transforms)
