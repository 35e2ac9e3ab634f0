"""The generated shapes: what a picture shows is what its factors say."""

import numpy as np
import pytest

from gancli.data.shapes import COLOURS, SHAPES, Factors, Shapes, render
from gancli.errors import UsageError

SMALL = {"n": 300, "n_test": 60}


def plain(shape: int, **changes: float) -> Factors:
    """One picture of a white shape on black, in the middle of 64 pixels."""
    values = {"x": 32.0, "y": 32.0, "radius": 12.0, "ground": 0.0, "contrast": 0.0} | changes
    arrays = {key: np.array([value]) for key, value in values.items()}
    return Factors(shape=np.array([shape]), colour=np.full((1, 3), 255.0), wave=np.zeros((1, 3)), **arrays)


@pytest.mark.parametrize("shape", range(3))
def test_area_and_centre_are_those_of_the_circle(shape):
    picture = render(plain(shape), 64)[0, 0] / 255
    assert picture.sum() == pytest.approx(np.pi * 12**2, rel=0.01)
    at = np.arange(64) + 0.5
    assert (picture.sum(0) @ at / picture.sum(), picture.sum(1) @ at / picture.sum()) == pytest.approx(
        (32, 32), abs=0.1
    )


@pytest.mark.parametrize("shape, ratio", [(0, np.pi / 4), (1, 1.0), (2, 0.5)])
def test_each_shape_fills_its_share_of_its_box(shape, ratio):
    """A circle, square and triangle cover pi/4, 1 and 1/2 of the rectangle around them."""
    picture = render(plain(shape, x=128.0, y=128.0, radius=60.0), 256)[0, 0] / 255
    wide, high = np.ptp(np.nonzero(picture.max(0) > 0.5)) + 1, np.ptp(np.nonzero(picture.max(1) > 0.5)) + 1
    assert picture.sum() / (wide * high) == pytest.approx(ratio, rel=0.06)


def test_the_triangle_points_upwards():
    widths = (render(plain(2), 64)[0, 0] > 127).sum(1)
    widths = widths[widths > 0]
    assert (np.diff(widths) >= 0).all() and widths[0] <= 3 and widths[-1] > 25


def test_factors_are_the_ground_truth_of_every_split():
    source = Shapes(**SMALL, label="colour")
    for split in ("train", "validation", "test"):
        images, factors = source.split(split), source.factors(split)
        assert len(factors) == len(images) and np.array_equal(render(factors, 32), images.pixels)
        middle = images.pixels[np.arange(len(images)), :, factors.y.astype(int), factors.x.astype(int)]
        assert np.array_equal(middle, factors.colour.astype(np.uint8))
        named = [COLOURS[images.class_names[label]] for label in images.labels]
        assert np.array_equal(factors.colour, np.array(named, float))


def test_a_changed_colour_changes_the_shape_alone():
    factors = Shapes(**SMALL).factors("test")
    blue = Factors(**vars(factors) | {"colour": np.tile(np.array(COLOURS["blue"], float), (len(factors), 1))})
    before, after = render(factors, 32).astype(int), render(blue, 32).astype(int)
    at = np.arange(32) + 0.5
    far = np.hypot(at[None, None] - factors.x[:, None, None], at[None, :, None] - factors.y[:, None, None])
    outside = far > 1.6 * factors.radius[:, None, None] + 1  # beyond the triangle's corners
    assert np.array_equal(before.transpose(1, 0, 2, 3)[:, outside], after.transpose(1, 0, 2, 3)[:, outside])
    assert (before != after).any()


@pytest.mark.parametrize("size", [8, 16, 64])
def test_every_shape_lies_inside(size):
    factors = Shapes(n=500, n_test=2, size=size, validation=0).factors("train")
    bare = Factors(
        **vars(factors) | {"ground": np.zeros(500), "contrast": np.zeros(500), "colour": np.full((500, 3), 255.0)}
    )
    pixels = render(bare, size)[:, 0]
    assert not pixels[:, [0, -1]].any() and not pixels[:, :, [0, -1]].any()
    assert pixels.max((1, 2)).min() > 200


def test_shapes_and_colours_are_balanced_and_independent():
    source = Shapes(n=6000, n_test=2, size=8, validation=0)
    factors = source.factors("train")
    colours = np.array([list(COLOURS.values()).index(tuple(c)) for c in factors.colour.astype(int).tolist()])
    counts = np.histogram2d(factors.shape, colours, (len(SHAPES), len(COLOURS)))[0]
    expected = 6000 / counts.size
    assert ((counts - expected) ** 2 / expected).sum() < 35  # chi-square with 11 degrees of freedom: p = 2e-4


def test_choices_labels_seed_and_grey():
    source = Shapes(**SMALL, shapes=["square", "circle"], colours=["blue"], channels=1, size=16)
    train = source.split("train")
    assert train.spec.shape == (1, 16, 16) and train.class_names == ("square", "circle")
    assert set(source.factors("train").shape) == {0, 1}  # circle and square
    assert np.array_equal(train.labels == 1, source.factors("train").shape == 0)
    again, other = (Shapes(**SMALL, seed=s).split("train").fingerprint for s in (0, 1))
    assert Shapes(**SMALL).split("train").fingerprint == again != other


@pytest.mark.parametrize(
    "arguments, says",
    [
        ({"shapes": ["star"]}, "star"),
        ({"shapes": []}, "data.shapes"),
        ({"colours": ["red", "red"]}, "data.colours"),
        ({"label": "size"}, "data.label"),
        ({"size": 4}, "data.size"),
    ],
)
def test_wrong_arguments(arguments, says):
    with pytest.raises(UsageError, match=says):
        Shapes(**arguments)
