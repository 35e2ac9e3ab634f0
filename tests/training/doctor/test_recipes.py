"""The doctor on real troubles: recipes that go wrong on purpose, one seed of each as far as the alarm.

What all fifteen runs of these recipes said (2026-11-20, two CPU cores, torch 2.15; 8 to 15 CPU seconds each):

    gancli train -m experiment=doctor/vanishing,doctor/collapse,doctor/healthy seed=0,1,2,3,4
    gancli doctor outputs/sweep/*

    vanishing   5 of 5 "vanishing gradient", since 2,112 images, nothing else; the grids show noise
    collapse    5 of 5 "mode collapse", since 4,032 to 5,056 images, nothing else; two or three images fill the grids
    healthy     5 of 5 no alarm; digits of all kinds
"""

import pytest
from helpers import compose

from gancli.config import conf_dir
from gancli.files import json_lines
from gancli.training.doctor.history import History
from gancli.training.loop import train


@pytest.mark.parametrize(
    "recipe, images, alarms",
    [("vanishing", "5k", ["vanishing"]), ("collapse", "7k", ["collapse"]), ("healthy", "6k", [])],
)
def test_the_right_trouble_is_named(recipe, images, alarms, tmp_path):
    train(compose("train", [f"experiment=doctor/{recipe}", f"images={images}", "samples.every=0"]), tmp_path)
    history = History(json_lines(tmp_path / "metrics.jsonl"))
    assert history.examined >= 5 and [alarm.name for alarm in history.alarms] == alarms


def test_every_recipe_of_the_doctor_is_tested():
    assert {path.stem for path in (conf_dir() / "experiment" / "doctor").glob("*.yaml")} == {
        "vanishing", "collapse", "healthy",
    }  # fmt: skip
