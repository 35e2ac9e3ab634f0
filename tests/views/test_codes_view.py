"""The view of codes: a square for each, in colours that tell vectors apart."""

import numpy as np
import pytest
import torch
from helpers import run

from gancli.data.fake import FakeImages
from gancli.data.levels import Quantised
from gancli.data.spec import quantise, scaled
from gancli.errors import UsageError
from gancli.models.dvae import relaxed
from gancli.training import checkpoint
from gancli.views import reconstruction
from gancli.views.base import RunData
from gancli.views.codes import Codes, palette, panel
from gancli.views.reconstruction import Reconstruction


def test_codes_are_squares_in_the_colours_of_their_vectors(tmp_path):
    run(tmp_path, "images=16", model="vqvae")
    written = {path.name for path in (tmp_path / "samples").glob("*.png")}
    assert "000000000016-codes.png" in written and "000000000016-reconstruction.png" in written
    model = checkpoint.rebuild(tmp_path)
    source = Quantised(FakeImages(n=20, n_test=12, size=8, channels=1), binarise="dynamic")
    data = RunData(lambda: source)
    found = Codes().draw(model, data, n=12, seed=0, batch_size=5)[""]
    image = scaled(torch.from_numpy(source.split("test").pixels))
    index, colours = model.tokens(image), palette(model.vectors()[""])
    assert colours.shape == (12, 3) and len(colours.unique(dim=0)) == 12  # of [3, 4] levels: two directions
    assert colours.amin(0)[:2].tolist() == [0, 0] and colours.amax(0)[:2].tolist() == [1, 1]
    assert torch.equal(found.raw, (colours[index].movedim(-1, 1) * 255).round().to(torch.uint8))
    again = Reconstruction().draw(model, data, n=12, seed=0, batch_size=5)[""]
    assert torch.equal(again.raw, quantise(model.picture(model.embed(index))))
    with pytest.raises(UsageError, match="has 12 images"):
        Codes().check_number(13, data)


def test_relaxed_reconstructions_stand_beside_those_of_hard_codes(tmp_path):
    run(tmp_path, "images=16", model="dvae")
    model = checkpoint.rebuild(tmp_path)
    source = Quantised(FakeImages(n=20, n_test=12, size=8, channels=1), binarise="dynamic")
    found = Reconstruction().draw(model, RunData(lambda: source), n=12, seed=3, batch_size=5)[""]
    image = scaled(torch.from_numpy(source.split("test").pixels))
    generator = torch.Generator().manual_seed(3)
    hard, soft = model.picture(model.code(image)), model.picture(relaxed(model.logits(image), 1 / 16, generator))
    assert not torch.equal(hard, soft) and len(found.raw) == 12
    assert np.array_equal(found.image, reconstruction.panel(image, hard, soft))
    assert len(found.image) > len(reconstruction.panel(image, hard)) * 1.2  # four rows in place of three


def test_the_squares_are_as_large_as_the_image():
    squares = torch.zeros(2, 3, 2, 2, dtype=torch.uint8)
    squares[0, 0, 0, 0] = 200
    black = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    picture = panel({"image": black, "codes": squares, "mean": black})
    assert (picture == (200, 0, 0)).all(2).sum() == 14 * 14 * 4  # make_grid() has enlarged it twice
