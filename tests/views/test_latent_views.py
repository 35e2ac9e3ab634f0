"""Views of latent-variable models: reconstructions, manifolds, traversals and walks between codes."""

import numpy as np
import pytest
import torch
from helpers import compose, run
from PIL import Image

from gancli.data.fake import FakeImages
from gancli.data.levels import Quantised
from gancli.data.spec import quantise, scaled
from gancli.errors import UsageError
from gancli.training import checkpoint
from gancli.verbs.sample.run import sample
from gancli.views.base import RunData
from gancli.views.interpolation import Interpolation
from gancli.views.manifold import Manifold, square
from gancli.views.reconstruction import Reconstruction, panel
from gancli.views.traversal import Traversal, traversed

LABELLED = "data.num_classes=3"


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    run(folder, "images=64", "optimizer.lr=0.01", model="vae")
    return folder


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditional")
    run(folder, "images=64", "model.conditional=true", LABELLED, "model.latent_dim=2", model="vae")
    return folder


def data(classes=()) -> RunData:
    source = Quantised(FakeImages(n=20, n_test=12, size=8, channels=1, num_classes=3), binarise="dynamic")
    return RunData(lambda: source, classes)


def draw(view, folder, n=4, seed=0, known=None):
    return view.draw(checkpoint.rebuild(folder), known or data(), n=n, seed=seed, batch_size=5)[""]


def test_a_reconstruction_is_the_mean_at_the_mean_of_the_posterior(plain):
    model, found = checkpoint.rebuild(plain), draw(Reconstruction(), plain, n=12)
    image = scaled(torch.from_numpy(data().split("test").pixels))
    assert set(image.unique().tolist()) == {-1.0, 1.0} and len(found.raw) == 12
    expected = model.likelihood.mean(model.decode(model.infer(image)[0]), 1)
    assert torch.equal(found.raw, quantise(expected).cpu())
    two = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)
    grey = panel(two, two.flip(0))  # no names are drawn over the pictures: the last pixels are those of the last row
    assert grey[-20, -20, 0] == 0  # it was white and is black
    assert panel(two, two)[-20, -20, 0] in (127, 128)


def test_the_pictures_of_a_folder_keep_their_names(plain, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.png", "sub/b.png")):
        Image.fromarray(np.full((8, 8), 90 + 80 * i, np.uint8)).save(tmp_path / "in" / name)
    words = [f"ckpt={plain}", "view=reconstruction", f"view.source={tmp_path / 'in'}", "runtime=cpu"]
    sample(compose("sample", [*words, f"out={tmp_path / 'out'}"]))
    model = checkpoint.rebuild(plain)
    for name, level in (("a.png", -1.0), ("sub/b.png", 1.0)):  # the nearest of two levels
        expected = model.picture(model.code(torch.full((1, 1, 8, 8), level)))
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name)), quantise(expected)[0, 0].numpy())
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(tmp_path / "in" / "c.png")
    with pytest.raises(UsageError, match="c.png is 8x9 grey, the model's images are 8x8 grey"):
        sample(compose("sample", [*words, f"out={tmp_path / 'more'}"]))
    with pytest.raises(UsageError, match="all pictures of source=x are reconstructed"):
        Reconstruction("x").check_number(3, data())
    with pytest.raises(UsageError, match="has 12 images; use n=12 or fewer"):
        Reconstruction().check_number(13, data())


def test_a_manifold_is_a_square_of_equally_probable_latents(conditional, plain):
    z = square(4)
    shares = torch.distributions.Normal(0, 1).cdf(z).view(4, 4, 2)
    middles = torch.tensor([0.125, 0.375, 0.625, 0.875])
    assert torch.allclose(shares[0, :, 0], middles, atol=1e-6)
    assert torch.allclose(shares[:, 0, 1], middles.flip(0), atol=1e-6)
    found = draw(Manifold(4, label=2), conditional)
    model = checkpoint.rebuild(conditional)
    assert torch.equal(found.raw, quantise(model.picture(z, torch.full((16,), 2))))
    assert found.labels.tolist() == [2] * 16
    assert Manifold.suits(model) and not Manifold.suits(checkpoint.rebuild(plain))
    assert model.own_views() == ("grid", "reconstruction", "manifold")
    assert (conditional / "samples" / "000000000064-manifold.png").is_file()


def test_a_traversal_changes_one_latent_at_a_time_from_the_most_informative_on(plain):
    z = traversed(torch.tensor([0.1, 0.2, 0.3]), [2, 0], torch.tensor([-1.0, 1.0]))
    expected = [[0.1, 0.2, -1], [0.1, 0.2, 1], [-1, 0.2, 0.3], [1, 0.2, 0.3]]
    assert torch.allclose(z, torch.tensor(expected))
    model = checkpoint.rebuild(plain)
    found = draw(Traversal(image=3, latents=2, steps=3, reach=2.0), plain)
    image = scaled(torch.from_numpy(data().split("test").pixels))
    order = model.encode(image).stats["groups"].mean(0).argsort(descending=True)[:2].tolist()
    z = traversed(model.code(image)[3], order, torch.tensor([-2.0, 0.0, 2.0]))
    assert torch.equal(found.raw, quantise(model.picture(z)))
    with pytest.raises(UsageError, match="images 12: test has images 0 to 11"):
        draw(Traversal(image=12), plain)


def test_walks_between_draws_of_the_prior_and_between_images(plain, conditional):
    model = checkpoint.rebuild(plain)
    found = draw(Interpolation(steps=3), plain, n=6)
    ends = model.prior(4, torch.Generator().manual_seed(0))
    assert found.raw.n == 6
    drawn = torch.cat(list(found.raw.each))
    assert torch.equal(drawn[[0, 2, 3, 5]], quantise(model.picture(ends)))
    middle = (ends[0] + ends[1]) / 2 * 2**0.5  # at the variance of the prior
    assert (drawn[1].int() - quantise(model.picture(middle[None]))[0].int()).abs().max() <= 1
    found = draw(Interpolation(steps=3, images=[4, 7]), plain)
    image = scaled(torch.from_numpy(data().split("test").pixels))[[4, 7]]
    start, end = model.code(image)
    expected = quantise(model.picture(torch.stack([start, (start + end) / 2, end])))
    assert torch.equal(torch.cat(list(found.raw.each)), expected)
    label = int(data().split("test").labels[4])
    found = draw(Interpolation(steps=3, images=[4, 7]), conditional)
    assert found.labels.tolist() == [label] * 3
    with pytest.raises(UsageError, match="two images make one row"):
        Interpolation(images=[4, 7]).check_number(3, data())
    with pytest.raises(ValueError, match="must be two numbers"):
        Interpolation(images=[4])


def test_only_a_model_that_encodes_walks_between_images(tmp_path):
    run(tmp_path, "images=8")
    with pytest.raises(UsageError, match="DCGAN does not encode images; remove view.images"):
        draw(Interpolation(images=[0, 1]), tmp_path)
    for kind in (Reconstruction, Manifold, Traversal):
        assert not kind.suits(checkpoint.rebuild(tmp_path))


def test_a_conditional_model_needs_a_class_where_the_data_has_none(conditional, tmp_path):
    with pytest.raises(UsageError, match="add label=, 0 to 2"):
        draw(Reconstruction(source=str(tmp_path)), conditional)
    assert draw(Reconstruction(label=1), conditional).labels.tolist() == [1] * 4
