"""The static binarisation of MNIST: three files as they are, or one line of what is missing."""

import numpy as np
import pytest

from gancli.data import static_mnist
from gancli.data.levels import Quantised
from gancli.data.static_mnist import FILES, FOLDER, StaticMNIST
from gancli.errors import UsageError


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A few lines of random zeros and ones in place of each file."""
    monkeypatch.setattr(static_mnist, "COUNTS", {"train": 5, "validation": 3, "test": 2})
    (tmp_path / FOLDER).mkdir()
    random, found = np.random.RandomState(0), {}
    for split, count in static_mnist.COUNTS.items():
        found[split] = random.randint(0, 2, (count, 784))
        text = "\n".join(" ".join(map(str, row)) for row in found[split])
        (tmp_path / FOLDER / FILES[split]).write_text(text + "\n")
    return found


def test_the_files_are_taken_as_they_are(written, tmp_path):
    source = StaticMNIST(str(tmp_path))
    for split, rows in written.items():
        images = source.split(split)
        assert np.array_equal(images.pixels.reshape(-1, 784), rows * 255) and images.pixels.dtype == np.uint8
        assert images.spec.levels == 2 and images.labels is None and "Larochelle & Murray" in images.levels
    assert len(StaticMNIST(str(tmp_path), validation=0).split("train")) == 8
    with pytest.raises(UsageError, match="no validation split"):
        StaticMNIST(str(tmp_path), validation=0).split("validation")


@pytest.mark.parametrize("more", [{"binarise": "dynamic"}, {"binarise": "fixed_seed"}, {"bits": 3}])
def test_binary_data_is_not_drawn_again_and_keeps_its_name(written, tmp_path, more):
    own, images = (
        s.split("train") for s in (StaticMNIST(str(tmp_path)), Quantised(StaticMNIST(str(tmp_path)), **more))
    )
    assert images is not None and images.levels == own.levels and images.fingerprint == own.fingerprint
    assert not images.probabilities


def test_what_is_not_there_is_said_in_one_line(written, tmp_path):
    file = tmp_path / FOLDER / FILES["test"]
    file.write_text("0 1 2\n")
    with pytest.raises(UsageError, match="holds 3 digits where 1,568 zeros and ones are expected"):
        StaticMNIST(str(tmp_path)).split("test")
    file.unlink()
    with pytest.raises(
        UsageError, match="binarized_mnist_test.amat is not there; put .* data.binarise=fixed_seed"
    ) as error:
        StaticMNIST(str(tmp_path)).split("test")
    assert "\n" not in str(error.value)
    for wrong in ({"size": 32}, {"channels": 3}, {"validation": 0.1}):
        with pytest.raises(UsageError, match="static_mnist allows only"):
            StaticMNIST(str(tmp_path), **wrong)
