"""k bits, and the two binarisations: what is drawn, when, and that it is said in the spec."""

import numpy as np
import pytest
import torch

from gancli.config import build_data
from gancli.data.digits import Digits
from gancli.data.levels import Quantised, binarized
from gancli.data.loader import Loader
from gancli.errors import UsageError

CPU = torch.device("cpu")


@pytest.mark.parametrize("bits", range(1, 9))
def test_bits_keep_the_upper_bits_spread_over_the_range(bits):
    grey, images = Digits().split("train"), Quantised(Digits(), bits).split("train")
    assert images.spec.levels == 2**bits and images.pixels.dtype == np.uint8
    step = 255 / (2**bits - 1)
    assert np.array_equal(np.round(images.pixels / step).astype(int), grey.pixels >> (8 - bits))
    assert (images.fingerprint == grey.fingerprint) == (bits == 8)


def test_fixed_seed_draws_ones_with_the_pixels_probabilities():
    grey = Digits().split("train")
    images = Quantised(Digits(), binarise="fixed_seed").split("train")
    assert images.spec.levels == 2 and set(np.unique(images.pixels)) == {0, 255} and not images.probabilities
    for low, high in ((60, 70), (120, 140), (200, 210)):
        where = (grey.pixels >= low) & (grey.pixels < high)
        error = (images.pixels[where] / 255).mean() - (grey.pixels[where] / 255).mean()
        assert abs(error) < 4 * 0.5 / np.sqrt(where.sum())
    assert not images.pixels[grey.pixels == 0].any() and images.pixels[grey.pixels == 255].all()
    again = Quantised(Digits(), binarise="fixed_seed").split("train")
    assert images.fingerprint == again.fingerprint


def test_dynamic_draws_train_at_every_access_and_the_rest_once():
    source = Quantised(Digits(), binarise="dynamic")
    train = source.split("train")
    loader = Loader(train, len(train), device=CPU)
    means, first = torch.zeros(1, 8, 8), None
    for _ in range(20):
        image = loader.next().image
        assert set(image.unique().tolist()) == {-1.0, 1.0}
        means += image.mean(0) / 20
        assert first is None or not torch.equal(first, image)
        first = image
    wanted = torch.from_numpy(train.pixels).float().div(127.5).sub(1).mean(0)
    assert (means - wanted).abs().max() < 0.05
    for split in ("validation", "test"):
        once, again = (Quantised(Digits(), binarise=b).split(split) for b in ("dynamic", "fixed_seed"))
        assert once.spec.levels == 2 and once.fingerprint == again.fingerprint and not once.probabilities


def test_a_fixed_draw_of_dynamic_data_is_that_of_the_fixed_seed():
    one, other = (binarized(Quantised(Digits(), binarise=b).split("train")) for b in ("dynamic", "fixed_seed"))
    assert one.fingerprint == other.fingerprint and np.array_equal(one.pixels, other.pixels)


def test_dynamic_batches_resume_bit_for_bit():
    train = Quantised(Digits(), binarise="dynamic").split("train")
    loader, other = (Loader(train, 100, device=CPU, seed=3, flip=True) for _ in range(2))
    loader.next()
    other.load_state_dict(loader.state_dict())
    assert torch.equal(loader.next().image, other.next().image)


def test_the_config_keys_wrap_any_source():
    node = {"_target_": "gancli.data.digits.Digits", "flip": False, "bits": 8, "binarise": None}
    plain, options = build_data(node)
    assert isinstance(plain, Digits) and options == {"flip": False}
    source, _ = build_data(node | {"bits": 5})
    assert source.name == "digits" and source.split("train").spec.levels == 32
    source, _ = build_data(node | {"binarise": "dynamic"})
    assert source.split("train").probabilities


@pytest.mark.parametrize("wrong,text", [({"bits": 9}, "data.bits=9"), ({"binarise": "static"}, "dynamic, fixed_seed")])
def test_wrong_values_are_refused(wrong, text):
    with pytest.raises(UsageError, match=text):
        Quantised(Digits(), **wrong)
