"""Bytes and pictures."""

import numpy as np
import torch
from PIL import Image

from gancli.data.spec import quantise
from gancli.views.grids import make_grid, save_png, to_pil


def test_quantise_inverts_the_loaders_scaling_for_every_byte():
    byte = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(quantise(byte.float() / 127.5 - 1), byte)


def test_quantise_rounds_and_clamps():
    assert quantise(torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 3.0])).tolist() == [0, 0, 128, 255, 255, 255]


def test_grid_places_every_image():
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 1, 64, 64) * 10
    grid = make_grid(images, columns=3, gap=2)
    assert grid.shape == (2 * 66 + 2, 3 * 66 + 2, 3) and grid.dtype == np.uint8
    for i in range(5):
        row, column = divmod(i, 3)
        assert (grid[2 + 66 * row : 66 + 66 * row, 2 + 66 * column : 66 + 66 * column] == 10 * i).all()
    assert (grid[68:, 2 + 132 :] == 255).all()  # the empty place


def test_small_images_are_enlarged_without_blur():
    image = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8).repeat(4, 4).view(1, 1, 8, 8)
    grid = make_grid(image, gap=0)
    assert grid.shape == (56, 56, 3) and set(np.unique(grid)) == {0, 255}


def test_png_round_trip_in_grey_and_colour(tmp_path):
    for channels, mode in ((1, "L"), (3, "RGB")):
        image = torch.randint(0, 256, (channels, 5, 7), dtype=torch.uint8)
        save_png(tmp_path / "x.png", to_pil(image))
        read = Image.open(tmp_path / "x.png")
        assert read.mode == mode
        assert np.array_equal(np.asarray(read).reshape(5, 7, channels), image.permute(1, 2, 0).numpy())
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
