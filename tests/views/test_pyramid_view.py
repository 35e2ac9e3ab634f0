"""The view of a pyramid of GANs: levels at their own size, samples of the same seed, refined real images."""

import pytest
import torch
from helpers import compose, overrides, run

from gancli.data.spec import quantise, scaled
from gancli.errors import UsageError
from gancli.nn import laplacian
from gancli.training.build import build
from gancli.training.ema import EMA
from gancli.views.base import RunData
from gancli.views.choice import build as build_view
from gancli.views.choice import check_suits
from gancli.views.grids import make_grid
from gancli.views.pyramid import WHITE, Pyramid


@pytest.fixture(scope="module")
def parts():
    return build(compose("train", overrides("lapgan", "data.size=16")))


def drawn(parts, n=3, **kwargs):
    data = RunData(lambda: parts.source)
    with EMA(parts.model, 0).sampling() as model:
        return model, Pyramid(**kwargs).draw(model, data, n=n, seed=5, batch_size=2)


def test_samples_are_those_of_the_seed_and_every_level_has_its_own_size(parts):
    model, pictures = drawn(parts)
    model.eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        images = model.chain(model.latent(3, generator))
    assert torch.equal(pictures[""].raw, quantise(images[-1]))
    rows, residual = 5, laplacian.residuals(images)[1]
    tiles = torch.full((rows * 3, 1, 16, 16), WHITE, dtype=torch.uint8)
    tiles[:3, :, 6:10, 6:10], tiles[3:6, :, 4:12, 4:12] = quantise(images[0]), quantise(residual / 2)
    tiles[6:9, :, 4:12, 4:12], tiles[12:] = quantise(images[1]), quantise(images[2])
    tiles[9:12] = quantise(laplacian.residuals(images)[2] / 2)
    names = ("4", "8 residual", "8", "16 residual", "16")
    assert (pictures[""].image == make_grid(tiles, 3, names=names)).all()


def test_refined_images_stand_on_real_coarse_ones(parts):
    model, pictures = drawn(parts)
    model.eval()
    refined = torch.as_tensor(pictures["refined"].raw)
    real = scaled(torch.from_numpy(parts.source.split("test").pixels[:3]))
    generator, levels = torch.Generator().manual_seed(5), model.pyramid(real)
    with torch.no_grad():
        model.latent(3, generator)
        noise = [model.noise(level, 3, generator) for level in (1, 2)]
        assert torch.equal(refined, quantise(model.level(2, noise[1], levels[1])))


def test_training_writes_grid_and_pyramid(tmp_path):
    run(tmp_path, "images=16", "samples.n=4", model="lapgan")
    names = {path.stem.partition("-")[2] for path in (tmp_path / "samples").glob("*.png")}
    assert names == {"", "pyramid", "pyramid-refined"}


def test_it_shows_pyramids_alone():
    other = build(compose("train", overrides("dcgan"))).model
    with pytest.raises(UsageError, match="Pyramid shows a model of a Laplacian pyramid"):
        check_suits(build_view("pyramid"), other)


def test_a_class_of_a_conditional_model():
    parts = build(compose("train", overrides("lapgan", "model.conditional=true")))
    _, pictures = drawn(parts, n=4, label=1)
    assert pictures[""].labels.tolist() == [1] * 4
    assert pictures["refined"].labels.tolist() == parts.source.split("test").labels[:4].tolist()
