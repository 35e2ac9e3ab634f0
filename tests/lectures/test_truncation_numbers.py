"""The numbers of lecture/truncation, where they are known whatever was learned."""

import json

import pytest
from helpers import lecture

from gancli.errors import UsageError
from gancli.lectures.truncation import Truncation
from gancli.verbs.train import train

SMALL = ["images=32", "batch_size=16", "model.width=4", "model.latent_dim=4", "lecture.n=40", "features.epochs=1"]


def test_no_truncation_is_a_truncation_of_one_and_full_truncation_shows_one_image(tmp_path):
    train(lecture("truncation", *SMALL, "lecture.values=[1,1.0e-6]"), tmp_path)
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert list(numbers) == ["real training images", "none", "1", "1e-06"]
    assert numbers["none"] == numbers["1"]
    assert numbers["1e-06"]["recall"] == 0 and numbers["1e-06"] != numbers["1"]  # k equal images: balls of radius 0
    assert numbers["real training images"]["fid"] < numbers["1"]["fid"]


def test_classes_are_drawn_in_turn(tmp_path):
    conditional = ["model.conditional=true", "lecture.values=[0.5]"]
    assert train(lecture("truncation", *SMALL, *conditional), tmp_path)["none.fid"] > 0


def test_a_model_without_truncation_is_refused(tmp_path):
    with pytest.raises(UsageError, match="truncation"):
        train(lecture("truncation", "model=dcgan", "images=32"), tmp_path)


@pytest.mark.parametrize(
    "given", [{"values": []}, {"values": [0.5], "shown": [0.4]}, {"values": [4, 3, 2, 1], "shown": [4, 3, 2, 1]}]
)
def test_what_cannot_be_shown_is_refused(given):
    with pytest.raises(ValueError, match="values"):
        Truncation(**given)
    assert Truncation(values=[4, 3, 2, 1]).shown == [4, 2]
