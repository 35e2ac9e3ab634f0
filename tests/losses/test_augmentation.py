"""DiffAugment and ADA: changes of images against twins in loops, derivatives, and what happens how often."""

import math

import pytest
import torch
from helpers import NoHostSync, compose, overrides
from torch import Tensor

from gancli.errors import UsageError
from gancli.losses.augmentation import ADA, PIPE, POLICY, DiffAugment
from gancli.nn import augment
from gancli.training.build import build
from gancli.training.turn import run_turn

DONE = torch.tensor(0.5)


def images(n: int = 5, channels: int = 3, side: int = 8) -> Tensor:
    return torch.randn(n, channels, side, side + 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_translations_are_shifts_with_zeros_coming_in():
    x = images()
    torch.manual_seed(1)
    found = augment.translated(x, 0.25)
    torch.manual_seed(1)
    down, right = torch.randint(-2, 3, (5,)), torch.randint(-3, 4, (5,))  # 8 and 10 pixels: up to 2 and 2.5
    assert down.unique().numel() > 1
    for i in range(5):
        for r in range(8):
            for c in range(10):
                a, b = r - down[i], c - right[i]
                expected = x[i, :, a, b] if 0 <= a < 8 and 0 <= b < 10 else torch.zeros(3)
                assert torch.equal(found[i, :, r, c], expected.to(found))


def test_a_cutout_is_a_blank_rectangle_around_a_place_in_the_image():
    x = images(200)
    torch.manual_seed(1)
    found = augment.cut_out(x)
    torch.manual_seed(1)
    rows, columns = torch.randint(0, 9, (200,)), torch.randint(0, 10, (200,))  # sizes 4 (even) and 5 (odd)
    for i in range(200):
        expected = x[i].clone()
        expected[:, max(0, rows[i] - 2) : rows[i] + 2, max(0, columns[i] - 2) : columns[i] + 3] = 0
        assert torch.equal(found[i], expected)
    blank = (found == 0).all(1)
    assert blank[:, 0].any() and blank[:, -1].any() and blank.flatten(1).sum(1).max() == 20


def test_colour_jitter_is_the_formula():
    x = images()
    torch.manual_seed(1)
    found = augment.jitter(x)
    torch.manual_seed(1)
    add, saturate, contrast = (torch.rand(5, 1, 1, 1, dtype=torch.float64) for _ in range(3))
    for i in range(5):
        y = x[i] + add[i] - 0.5
        grey = y.mean(0)
        y = grey + 2 * saturate[i] * (y - grey)
        assert torch.allclose(found[i], y.mean() + (contrast[i] + 0.5) * (y - y.mean()), atol=1e-12)
    grey = images(channels=1)
    torch.manual_seed(1)
    assert augment.jitter(grey).shape == grey.shape


EVERY = {name: f for name, f in POLICY.items()} | {
    f"ada {name}": lambda x, f=f: f(x, torch.tensor(0.9)) for name, f in PIPE.items()
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", EVERY)
def test_every_change_is_differentiable_random_per_image_and_the_same_for_a_seed(name, channels):
    def change(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return EVERY[name](x)

    x = images(3, channels, 4).requires_grad_()
    assert torch.autograd.gradcheck(change, (x,))
    assert torch.equal(change(x), change(x)) and not torch.equal(EVERY[name](x), change(x))
    same = x.detach()[:1].expand(64, -1, -1, -1).float()
    assert len(EVERY[name](same).unique(dim=0)) > 8


@pytest.mark.parametrize("kind", ["diffaugment", "ada"])
def test_both_players_see_changed_images_and_the_generator_learns_through_the_change(kind):
    parts = build(compose("train", overrides("dcgan", f"stabilizer={kind}")))
    if kind == "ada":
        parts.loss.stabilizers["ada"].p.fill_(1.0)
    batch, (critic, generator) = parts.loader.next(), parts.steps
    seen, drawn, score, generate = [], [], parts.model.score, parts.model.generate
    parts.model.score = lambda x, y: seen.append(x.detach()) or score(x, y)
    parts.model.generate = lambda z, y: drawn.append(generate(z, y)) or drawn[-1]
    critic(batch)
    generator(batch)
    for given, judged in zip((batch.image, drawn[0], drawn[1]), seen, strict=True):
        assert given.shape == judged.shape and (given != judged).flatten(1).any(1).sum() >= 6
    for p in parts.model.generator.parameters():
        assert p.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["diffaugment", "ada"])
def test_the_halves_of_a_pair_are_moved_alike(kind):
    """Every picture is its own source here, so that whatever is judged, and penalised, has to be one still."""
    parts = build(compose("train", overrides("pix2pix", f"stabilizer={kind}", "penalty=[gradient_penalty]")))
    stabilizer = parts.loss.adversarial.stabilizers[kind]
    if kind == "ada":
        stabilizer.p.fill_(1.0)
        stabilizer.transforms = ["geometry"]
    batch = parts.loader.next()
    batch = batch._replace(source=batch.image[:, :1].repeat(1, parts.model.spec.source_channels, 1, 1))
    batch = batch._replace(image=batch.source[:, :1].repeat(1, parts.model.spec.channels, 1, 1))
    judged, score = [], parts.model.score
    parts.model.score = lambda source, image: judged.append((source.detach(), image.detach())) or score(source, image)
    parts.model.translate = lambda source, direction: 1.0 * batch.image.requires_grad_()
    for step in parts.steps:
        for term in step.phase.terms:
            term.fn(parts.model, batch)
    assert len(judged) == 4  # real and generated, one between them, and the generator's
    for source, image in judged:
        assert torch.allclose(source[:, :1], image[:, :1], atol=1e-6)
        assert (source != batch.source).flatten(1).any(1).all()
    assert not torch.equal(judged[0][0], judged[1][0])


@pytest.mark.parametrize("stabilizer", [DiffAugment(["color", "translation"]), ADA(transforms=["color", "geometry"])])
def test_the_colours_of_a_pairs_source_stay(stabilizer):
    if isinstance(stabilizer, ADA):
        stabilizer.p.fill_(1.0)
    x = images(2, 3).abs() + 1
    source, (one, other) = stabilizer.pairs(torch.full_like(x[:, :1], 0.5), [x, x], DONE)
    assert source.shape == (2, 1, 8, 10) and one.shape == other.shape == x.shape
    assert set(source.unique().tolist()) <= {0.0, 0.5} or torch.allclose(source, torch.full_like(source, 0.5))
    assert not torch.equal(one, other)  # each has its own colours


def test_without_probability_ada_changes_nothing():
    x = images().float()
    assert torch.allclose(ADA().image(x, DONE), x, atol=1e-5)
    assert not torch.allclose(DiffAugment(["translation"]).image(x, DONE), x)


@pytest.mark.parametrize("name", PIPE)
@pytest.mark.parametrize("p", [0.0, 1.0])
def test_places_and_colours_are_float32_also_under_autocast(name, p):
    """In bfloat16, pixels of an image of 64 would be up to 0.08 off, even where nothing is to change."""
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    found = []
    for on in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=on):
            found.append(PIPE[name](x, torch.tensor(p)))
    assert torch.equal(*found) and found[1].dtype == torch.float32


def test_known_motions():
    x = images(2, 3, 6)[..., :6]
    unit = torch.eye(3, dtype=torch.float64).expand(2, 3, 3)
    assert torch.allclose(augment.moved(x, unit), x, atol=1e-12)
    two = torch.full((2,), 2.0, dtype=torch.float64)
    assert torch.allclose(augment.moved(x, augment.scaling(-two / 2, two / 2)), x.flip(-1), atol=1e-12)
    assert torch.allclose(augment.moved(x, augment.rotation(two * math.pi / 4)), x.rot90(1, (2, 3)), atol=1e-10)
    away = augment.moved(x, augment.shifting(two, 0 * two))
    assert torch.allclose(away[..., :4], x[..., 2:], atol=1e-12)
    assert torch.allclose(
        away[..., 4:], x[..., [4, 3]], atol=1e-12
    )  # mirrored at the last pixel, which is not repeated
    padded = torch.nn.functional.pad(x, (3, 3, 4, 4), mode="reflect")
    far = augment.moved(x, augment.shifting(-3 + 0 * two, 4 + 0 * two))
    assert torch.allclose(far, padded[..., 8:14, :6], atol=1e-12)
    wide = images(2)  # 8 x 10: a turn must not squeeze
    back = augment.moved(augment.moved(wide, augment.rotation(two * math.pi / 2)), augment.rotation(two * math.pi / 2))
    assert torch.allclose(back, wide, atol=1e-10)


def test_known_colours():
    ones = torch.ones(1, dtype=torch.float64)
    pixel = torch.tensor([0.9, -0.3, 0.2], dtype=torch.float64).view(1, 3, 1, 1)
    plain = lambda m: augment.recoloured(pixel, m).flatten().tolist()  # noqa: E731
    assert plain(augment.circulant(ones, 0 * ones, 0 * ones)) == pytest.approx([0.9, -0.3, 0.2])
    assert plain(augment.circulant(0 * ones, ones, 0 * ones)) == pytest.approx([-0.3, 0.2, 0.9])  # a third of a turn
    assert plain(augment.circulant(ones / 3, ones / 3, ones / 3)) == pytest.approx([0.8 / 3] * 3)  # no saturation
    up = augment.matrices(1, 4, {(i, 3): 0.5 * ones for i in range(3)}, ones)
    assert plain(up) == pytest.approx([1.4, 0.2, 0.7])
    grey = torch.full((1, 1, 1, 1), 0.4, dtype=torch.float64)
    assert augment.recoloured(grey, up).item() == pytest.approx(0.9)
    luma = augment.circulant(ones / 3, -2 * ones / 3, -2 * ones / 3)
    assert augment.recoloured(grey, luma).item() == pytest.approx(-0.4)
    assert sum(plain(luma)) == pytest.approx(-0.8)  # the hue stays


def test_colour_changes_keep_what_they_should():
    """One at a time, by letting all the others keep their rest: greys stay grey, turns keep lengths."""
    x = images(400).float()
    grey = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.manual_seed(0)
    spread = augment.colour(grey, torch.tensor(0.8))
    assert spread.std(1).max() < 1e-5
    torch.manual_seed(0)
    alone = augment.colour(grey[:, :1], torch.tensor(0.8))
    ratio = (alone != grey[:, :1]).flatten(1).any(1).float().mean().item()
    assert ratio == pytest.approx(1 - 0.2**2 * (1 - 0.8 / 2), abs=0.03)  # brightness, contrast; luma half the times


def test_a_change_happens_with_its_probability():
    torch.manual_seed(0)
    some = augment.Sometimes(torch.zeros(20_000, 1, 1, 1), torch.tensor(0.3))
    share = (some(torch.ones(20_000), 0.0) == 1).float().mean().item()
    assert share == pytest.approx(0.3, abs=3 * math.sqrt(0.21 / 20_000))


def test_a_shift_moves_both_axes_or_none():
    """P(x and y) = p, not p^2: one coin per image and transformation, as in the authors' release."""
    torch.manual_seed(0)
    some = augment.Sometimes(torch.zeros(20_000, 1, 1, 1), torch.tensor(0.3))
    moved = some(some.normal(0.125, 2), 0.0) != 0
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert moved.all(1).float().mean().item() == pytest.approx(0.3, abs=3 * math.sqrt(0.21 / 20_000))
    whole = some(some.uniform(-0.125, 0.125, 2), 0.0)
    assert whole.abs().max() <= 0.125 and whole[:, 0].ne(whole[:, 1])[whole[:, 0] != 0].all()  # two numbers, one coin


def test_images_keep_to_their_axes_as_often_as_no_shift_happens(monkeypatch):
    """Of geometry, only the shifts: an image moves along both axes or along neither."""
    seen = []
    monkeypatch.setattr(
        augment, "shifting", lambda x, y: seen.append((x != 0, y != 0)) or augment.scaling(1 + 0 * x, 1 + 0 * y)
    )
    torch.manual_seed(0)
    augment.geometry(torch.zeros(4000, 1, 64, 64), torch.tensor(0.3))
    (wx, wy), (fx, fy) = seen
    assert torch.equal(fx, fy) and fx.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert (wx & wy).float().mean().item() == pytest.approx(0.3 * (16 / 17) ** 2, abs=0.04)  # some round to 0


def test_nothing_waits_for_the_device():
    class Silent:
        def add(self, scalars): ...

    on = ["stabilizer=[diffaugment,ada]", "loss.stabilizers.diffaugment.policy=[color,translation,cutout]"]
    parts = build(
        compose("train", overrides("dcgan", *on, "model.minibatch_std=4", "optimizer=adam", "data.channels=3"))
    )
    with NoHostSync():
        run_turn(parts, Silent(), measure=False)
        run_turn(parts, Silent(), measure=False)
    assert parts.images == 16  # both steps were taken, under a guard that raises


@pytest.mark.parametrize(
    "on, said",
    [
        (["loss=wasserstein", "stabilizer=ada"], "stabilizer=ada needs to know which images are classified as real"),
        (["loss=relativistic", "stabilizer=ada"], "use stabilizer=diffaugment"),
        (["stabilizer=ada", "loss.stabilizers.ada.target=2"], "target=2: must be -1 or more and at most 1"),
        (["stabilizer=ada", "loss.stabilizers.ada.speed=0"], "speed=0"),
        (
            ["stabilizer=ada", "loss.stabilizers.ada.transforms=[]"],
            "transforms is empty; name one or more of geometry, color",
        ),
        (
            ["stabilizer=diffaugment", "loss.stabilizers.diffaugment.policy=[]"],
            "policy is empty; name one or more of color",
        ),
        (["stabilizer=diffaugment", "loss.stabilizers.diffaugment.policy=[blur]"], "policy: expected"),
        (["model.minibatch_std=-1"], "minibatch_std=-1"),
    ],
)
def test_mistakes_are_refused_in_one_line(on, said):
    with pytest.raises(UsageError, match=said) as error:
        build(compose("train", overrides("dcgan", *on)))
    assert "\n" not in str(error.value)


def test_augmentation_goes_with_every_loss_that_allows_it():
    for loss, name in [("fgan", "ada"), ("lsgan", "ada"), ("hinge", "ada"), ("wasserstein", "diffaugment")]:
        parts = build(compose("train", overrides("dcgan", f"loss={loss}", f"stabilizer={name}")))
        assert list(parts.loss.stabilizers) == [name]
