"""The lecture on the Laplacian pyramid: exact, variances that add up, entropies against closed forms."""

import json

import pytest
import torch
from helpers import lecture

from gancli.errors import UsageError
from gancli.lectures.base import NUMBERS
from gancli.lectures.pyramid import LEVELS, entropy, variances
from gancli.nn import laplacian
from gancli.verbs.train import train


def test_reconstruction_is_exact_and_the_variances_add_up(tmp_path):
    train(lecture("pyramid", "lecture.images=30", "lecture.shown=1"), tmp_path)
    numbers = json.loads((tmp_path / NUMBERS).read_text())
    assert numbers["max_error"] < 1e-12 and numbers["max_low_frequency"] < 1e-12
    assert sum(numbers["variance"].values()) == pytest.approx(numbers["variance_of_images"], rel=1e-12)
    assert list(numbers["bits_image"]) == ["8", "16", "32"] and list(numbers["bits_residual"]) == ["16", "32"]
    assert all(0 < value <= 9 for value in numbers["bits_residual"].values())


def test_entropy_of_known_distributions():
    assert entropy(torch.zeros(10)) == 0
    assert entropy(torch.tensor([0.0, 1.0, 2.0, 3.0]) / LEVELS) == pytest.approx(2)
    assert entropy(torch.tensor([0.0, 0.2, 1.0, -0.3]) / LEVELS) == pytest.approx(0.811278, abs=1e-6)  # 3/4 and 1/4


def test_variance_of_a_checkerboard_is_all_in_the_residual():
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
    found = variances(laplacian.build(board[None, None].double(), 2))
    assert found == [0, 1]


def test_images_that_cannot_be_halved_are_refused(tmp_path):
    with pytest.raises(UsageError, match="lecture.smallest=20"):
        train(lecture("pyramid", "lecture.smallest=20"), tmp_path)
