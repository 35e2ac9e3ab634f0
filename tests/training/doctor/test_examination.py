"""No measurement ends a run or changes it, and a run that diverges says so at the next examination."""

import numpy as np
import pytest
import torch
from helpers import compose, run, tensors
from PIL import Image

from gancli.errors import TrainingDiverged
from gancli.structure import read_rows
from gancli.training import checkpoint
from gancli.training.doctor.examination import Examination
from gancli.training.doctor.history import History
from gancli.training.doctor.measurements import Measurements
from gancli.training.loop import train
from gancli.training.runtime import Runtime
from gancli.training.step import Step

OFTEN = ["images=64", "log.every=64", "doctor.every=16", "checkpoint.every=16", "samples.every=0"]


def test_identical_training_pictures_do_not_end_a_run(tmp_path):
    (tmp_path / "same").mkdir()
    for i in range(60):  # nearly all are equal, so that distances to the nearest are 0
        Image.fromarray(np.full((8, 8), 255 * (i < 2), np.uint8)).save(tmp_path / "same" / f"{i}.png")
    words = ["data=folder", f"data.root={tmp_path / 'same'}", "data.size=8", "batch_size=8", "model.width=4"]
    train(compose("train", [*words, "runtime=cpu", *OFTEN]), tmp_path / "run")
    logged = (tmp_path / "run" / "log.txt").read_text()
    assert logged.count("not a finite number here, and left out") == 1 and "nearest" in logged
    rows = [row for row in read_rows(tmp_path / "run" / "metrics.jsonl") if "doctor/auc" in row]
    assert len(rows) == 4 and all("doctor/nearest" not in row for row in rows)


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), ValueError("x"), MemoryError(), KeyError("a")])
@pytest.mark.parametrize("where", ["__call__", "__init__"])
def test_a_measurement_that_raises_is_left_out_and_changes_nothing(tmp_path, monkeypatch, error, where):
    def raising(self, *args):
        torch.rand(3)  # would change the latents of training
        raise error

    run(tmp_path / "without", *OFTEN, "doctor.every=0")
    monkeypatch.setattr(Measurements, "_game" if where == "__call__" else "__init__", raising)
    run(tmp_path / "with", *OFTEN)
    logged = (tmp_path / "with" / "log.txt").read_text()
    assert logged.count("training goes on without") == 1
    one, other = (tensors(checkpoint.load(tmp_path / name).state) for name in ("with", "without"))
    assert one.keys() == other.keys() and [key for key in one if not torch.equal(one[key], other[key])] == []


def test_what_is_no_number_is_said_once_for_each_measurement(caplog, monkeypatch):
    monkeypatch.setattr("gancli.console.log.propagate", True)
    values = iter([{"doctor/a": 1.0, "doctor/b": torch.inf}, {"doctor/a": torch.nan, "doctor/b": torch.nan}])
    measure = lambda progress: {key: torch.tensor(value) for key, value in next(values).items()}  # noqa: E731
    examine = Examination(lambda: measure, Runtime(torch.device("cpu")))
    assert examine(0.1) == {"doctor/a": 1.0} and examine(0.2) == {}
    assert [message.split()[-1] for message in dict.fromkeys(caplog.messages)] == ["b", "a"]


@pytest.mark.parametrize("every", [16, 48])
def test_a_run_that_diverges_says_so_at_the_next_examination(tmp_path, monkeypatch, cli, every, caplog):
    """log.every=5k does not delay it, and gancli doctor knows what was examined."""
    update = Step.compute

    def breaking(self, batch, *, measure=False):
        values = update(self, batch, measure=measure)
        return {key: value * (float("nan") if self.updates > 6 else 1.0) for key, value in values.items()}

    monkeypatch.setattr(Step, "compute", breaking)
    monkeypatch.setattr("gancli.console.log.propagate", True)
    with pytest.raises(TrainingDiverged, match="of discriminator is not finite at (64|96) images; try a smaller opt"):
        run(tmp_path, "images=4000", f"doctor.every={every}", "samples.every=0")
    assert not [said for said in caplog.messages if "no alarm" in said or "nothing learned" in said]
    rows = list(read_rows(tmp_path / "metrics.jsonl"))
    assert [row["images"] for row in rows] == ([16, 32, 48, 64] if every == 16 else [48, 96])
    answer = cli("doctor", str(tmp_path))
    assert answer.code == 0 and "no examinations" not in answer.out and "newest:" in answer.out


def test_rows_of_earlier_releases_and_rows_of_their_own_are_judged_alike():
    loss = [{"loss/generator": 1.0}] * 4 + [{"loss/generator": 1e7}] * 2
    known = {"doctor/auc": 0.5, "doctor/surprise": 1.0, "lr/generator": 1e-4}
    together = [{"images": i, **row, **known} for i, row in enumerate(loss)]
    apart = [part for i, row in enumerate(loss) for part in ({"images": i, **row}, {"images": i, **known})]
    one, other = History(together), History(apart)
    assert one.alarms and one.alarms == other.alarms and one.examined == other.examined == 6


@pytest.mark.parametrize(
    "name, gone",
    [
        ("_surprise", {"surprise"}),
        ("_crowd", {"spread", "nearest", "duplicates"}),
        (
            "_generated",
            {"auc", "surprise", "feedback", "spread", "nearest", "duplicates", "distance", "copies", "classes"},
        ),
        ("_effective", {"classes"}),
    ],
)
def test_a_measurement_that_fails_takes_no_other_with_it(tmp_path, monkeypatch, name, gone):
    run(tmp_path / "whole", *OFTEN)
    original, ready = getattr(Measurements, name), Measurements.__call__

    def failing(self, *args):
        if getattr(self, "examining", False):
            raise RuntimeError("CUDA out of memory.\nTried to allocate")
        return original(self, *args)

    def examining(self, progress):
        self.examining = True
        return ready(self, progress)

    monkeypatch.setattr(Measurements, name, failing)
    monkeypatch.setattr(Measurements, "__call__", examining)
    run(tmp_path / "part", *OFTEN)
    whole, part = (
        [row for row in read_rows(tmp_path / each / "metrics.jsonl") if "doctor/largest_weight" in row]
        for each in ("whole", "part")
    )
    assert len(whole) == len(part) == 4
    for before, after in zip(whole, part):
        assert after == {key: value for key, value in before.items() if key.removeprefix("doctor/") not in gone}
        assert all("doctor/" + each in before for each in gone)
    logged = (tmp_path / "part" / "log.txt").read_text()
    assert logged.count("training goes on without") == 1
    (said,) = [line for line in logged.splitlines() if "not measured: " in line]
    assert "(CUDA out of memory.)" in said and all(each in said for each in gone)


def test_the_likelihood_of_held_out_images_fails_alone(tmp_path, monkeypatch):
    original = Measurements._nats

    def failing(self, batch):
        if batch is self.held_out:
            raise ValueError("no such thing")
        return original(self, batch)

    monkeypatch.setattr(Measurements, "_nats", failing)
    run(tmp_path, *OFTEN, "data.validation=20", model="pixelcnn")
    rows = [row for row in read_rows(tmp_path / "metrics.jsonl") if "doctor/nats" in row]
    assert len(rows) == 4 and all("doctor/nats_held_out" not in row for row in rows)
