"""Points as data: the published mixtures, and that they are fresh, resumable and never taken for pictures."""

import numpy as np
import pytest
import torch
from helpers import NoHostSync, compose
from sklearn.datasets import make_moons, make_swiss_roll

from gancli.config import build_data
from gancli.data.loader import Loader
from gancli.data.points import Gaussians1D, Grid, Line, Points, Ring, SwissRoll, TwoMoons
from gancli.errors import UsageError
from gancli.training.build import build

CPU = torch.device("cpu")
SHIPPED = ["ring8", "grid25", "swiss_roll", "two_moons", "line", "gaussians_1d"]


def drawn(source: Points, n: int = 40_000) -> tuple[np.ndarray, np.ndarray | None]:
    points, labels = source.draw(n, torch.Generator().manual_seed(0))
    assert points.shape[2:] == (1, 1) and points.dtype == torch.float32
    return points.flatten(1).numpy(), None if labels is None else labels.numpy()


def shipped(name: str, *more: str) -> Points:
    return build_data(compose("train", [f"data={name}", "model=toy_gan", *more]).data)[0]


@pytest.mark.parametrize(
    "name, scale, count, radius, spacing, std",
    [
        ("ring8", None, 8, 2 / 1.414, 0.76537 * 2 / 1.414, 0.02 / 1.414),  # gan_toy.py; a chord of 45 degrees
        ("ring8", 1, 8, 1, 0.76537, 0.01),  # PacGAN
        ("grid25", None, 25, 4 * 2**0.5 / 2.828, 2 / 2.828, 0.05 / 2.828),
        ("grid25", 1, 25, 4 * 2**0.5, 2, 0.05),
    ],
)
def test_the_mixtures_have_the_published_scales(name, scale, count, radius, spacing, std):
    source = shipped(name, *([f"data.scale={scale}"] if scale else []))
    centres, deviation = source.modes()
    distances = np.linalg.norm(centres[:, None] - centres, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert len(centres) == count == source.split("test").spec.num_classes
    assert np.linalg.norm(centres, axis=1).max() == pytest.approx(radius, rel=1e-3)
    assert distances.min() == pytest.approx(spacing, rel=1e-3)  # all distinct: no mode is there twice
    assert deviation == pytest.approx([std] * count, rel=1e-3)
    points, labels = drawn(source)
    offsets = (points - centres[labels]) / std
    assert np.bincount(labels, minlength=count) == pytest.approx([40_000 / count] * count, rel=0.1)
    assert offsets.mean(0) == pytest.approx([0, 0], abs=0.03) and offsets.std(0) == pytest.approx([1, 1], abs=0.02)


def test_the_scales_of_gan_toy_give_unit_variance():
    for name in ("ring8", "grid25"):
        assert drawn(shipped(name))[0].std(0) == pytest.approx([1, 1], abs=0.02)


def moments(points: np.ndarray) -> np.ndarray:
    x, y = points.T
    return np.array([f.mean() for f in (x, y, x * x, y * y, x * y, x**3, y**3, x * y * y)])


def test_roll_and_moons_are_those_of_scikit_learn():
    roll = make_swiss_roll(200_000, noise=0.25, random_state=0)[0][:, [0, 2]] / 7.5
    moons = make_moons(200_000, noise=0.05, random_state=0)[0]
    for source, twin in ((shipped("swiss_roll"), roll), (shipped("two_moons"), moons)):
        assert moments(drawn(source, 200_000)[0]) == pytest.approx(moments(twin), abs=0.01)
    points, labels = drawn(TwoMoons(noise=0.0))
    assert abs(np.hypot(*(points - [1, 0.5] * labels[:, None]).T) - 1).max() < 1e-5


def test_the_line_is_that_of_example_1_and_one_dimension_has_its_moments():
    points, labels = drawn(Line(theta=0.7))
    assert labels is None and (points[:, 0] == np.float32(0.7)).all()
    assert points[:, 1].min() >= 0 and points[:, 1].max() <= 1 and points[:, 1].mean() == pytest.approx(0.5, abs=0.01)
    points, labels = drawn(Gaussians1D(means=[-1.0, 3.0], stds=[0.5, 2.0], scale=2.0))
    for label, mean, std in ((0, -2, 1), (1, 6, 4)):
        assert points[labels == label].mean() == pytest.approx(mean, abs=0.1)
        assert points[labels == label].std() == pytest.approx(std, rel=0.02)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_split_is_fixed_and_its_own(name):
    one, again = shipped(name), shipped(name)
    splits = [one.split(split) for split in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [100_000, 2_500, 2_500]
    assert len({split.fingerprint for split in splits}) == 3
    assert all(np.array_equal(split.pixels, again.split(split.split).pixels) for split in splits)
    assert shipped(name, "data.seed=1").split("test").fingerprint != splits[2].fingerprint
    assert splits[0].spec.points and splits[0].pixels.dtype == np.float32
    assert [split.fresh is not None for split in splits] == [True, False, False]


def test_training_draws_new_points_and_goes_on_bit_for_bit():
    images = Ring().split("train")
    whole = Loader(images, 32, device=CPU, seed=3)
    batches = [whole.next() for _ in range(4)]
    assert batches[0].image.shape == (32, 2, 1, 1) and not torch.equal(batches[0].image, batches[1].image)
    first = Loader(images, 32, device=CPU, seed=3)
    first.next(), first.next()
    second = Loader(images, 32, device=CPU, seed=99)
    second.load_state_dict(first.state_dict())
    for expected in batches[2:]:
        batch = second.next()
        assert torch.equal(batch.image, expected.image) and torch.equal(batch.label, expected.label)
    with NoHostSync():
        whole.next()


def test_a_fixed_set_gives_each_point_once_per_epoch():
    images = Ring(n=96, fresh=False).split("train")
    loader = Loader(images, 32, device=CPU)
    epoch = torch.cat([loader.next().image for _ in range(3)])
    assert sorted(map(tuple, epoch.flatten(1).tolist())) == sorted(map(tuple, images.pixels[..., 0, 0].tolist()))


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: Ring(count=1), "data.count=1"),
        (lambda: Ring(std=0.0), "data.std=0"),
        (lambda: Grid(spacing=-1.0), "data.spacing=-1"),
        (lambda: Grid(scale=float("nan")), "data.scale=nan"),
        (lambda: Gaussians1D(means=[0.0], stds=[1.0, 2.0]), "lists of equal length"),
        (lambda: SwissRoll(noise=-0.1), "data.noise=-0.1"),
    ],
)
def test_numbers_out_of_range_are_refused(make, says):
    with pytest.raises(UsageError, match=says) as error:
        make()
    assert "\n" not in str(error.value)


def test_models_of_pictures_refuse_points_and_name_those_that_do_not():
    for model in ("dcgan", "mlp_gan", "pixelcnn"):
        with pytest.raises(UsageError, match="grid25 are points, but .* generates images; .*: toy_gan"):
            build(compose("train", ["data=grid25", f"model={model}", "runtime=cpu"]))
