"""Statistics: means without a wait, both logs, and what is not finite."""

import json

import pytest
import torch
from helpers import NoHostSync
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gancli.errors import TrainingDiverged
from gancli.training.tracker import Tracker, write_scalars
from gancli.views.grids import png


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_tick_writes_means_since_the_last_tick(tmp_path):
    tracker = Tracker(tmp_path)
    with NoHostSync():
        for i in range(600):  # more than one fold
            tracker.add({"loss/d": torch.tensor(float(i))} | ({"rare": torch.tensor(2.0)} if i % 100 == 0 else {}))
    assert tracker.tick(100, {"lr/d": 0.5}) == {"loss/d": pytest.approx(299.5), "rare": 2.0}
    tracker.add({"loss/d": torch.tensor(7.0)})
    assert tracker.tick(200) == {"loss/d": 7.0}
    tracker.close()
    assert rows(tmp_path) == [
        {"images": 100, "loss/d": 299.5, "rare": 2.0, "lr/d": 0.5},
        {"images": 200, "loss/d": 7.0},
    ]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/d")] == [(100, 299.5), (200, 7.0)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_names_phase_term_and_images(tmp_path, bad):
    tracker = Tracker(tmp_path)
    tracker.add(
        {"loss/critic": torch.tensor(bad), "critic/penalty": torch.tensor(bad), "critic/real": torch.tensor(1.0)}
    )
    tracker.add(
        {"loss/critic": torch.tensor(bad), "critic/penalty": torch.tensor(bad), "critic/real": torch.tensor(bad)}
    )
    with pytest.raises(TrainingDiverged, match="penalty of critic is not finite at 1,234 images"):
        tracker.tick(1234)
    tracker.close()


def test_a_resumed_log_holds_no_line_twice(tmp_path):
    tracker = Tracker(tmp_path)
    for images in (100, 200, 300):
        tracker.write(images, {"x": float(images)})
    tracker.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"images": 400, "x"')  # torn by a kill
    resumed = Tracker(tmp_path, images=200)
    resumed.write(300, {"x": 3.0})
    resumed.close()
    assert [(r["images"], r["x"]) for r in rows(tmp_path)] == [(100, 100.0), (200, 200.0), (300, 3.0)]


def test_pictures_text_and_hparams_reach_tensorboard(tmp_path):
    tracker = Tracker(tmp_path)
    tracker.image("samples", png(torch.zeros(4, 6, 3, dtype=torch.uint8).numpy()), 50)
    tracker.text("config", "seed: 0")
    tracker.hparams({"seed": 0, "data.name": "x", "clip": None})
    tracker.close()
    write_scalars(tmp_path, {"eval/fid": 2.5}, 60)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["images"] == ["samples"]
    (image,) = events.Images("samples")
    assert (image.height, image.width, image.step) == (4, 6, 50)
    assert image.encoded_image_string == png(torch.zeros(4, 6, 3, dtype=torch.uint8).numpy())
    assert {"config/text_summary", "_hparams_/session_start_info"} <= {*events.Tags()["tensors"]} | {
        *events.summary_metadata
    }
    assert [e.value for e in events.Scalars("eval/fid")][-1] == 2.5
