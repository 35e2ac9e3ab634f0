"""The doctor at work: in the loop, the progress line, TensorBoard, log.txt and gancli doctor; and no weight changed."""

import json

import pytest
import torch
from helpers import compose, overrides, run, tensors
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gancli.console import RunProgress
from gancli.errors import TrainingDiverged
from gancli.losses.adversarial import NonSaturating
from gancli.structure import read_rows
from gancli.training import checkpoint
from gancli.training.doctor.history import History
from gancli.training.loop import train
from gancli.verbs.doctor import told

# Of pure noise a discriminator this fast knows each image at once, and the saturating loss passes nothing on.
ILL = [
    "loss=minimax", "loss.repeat=3", "optimizer.overrides.discriminator.lr=0.01", "images=1440", "log.every=96",
    "doctor.every=96", "samples.every=0", "model.hidden=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def ill(tmp_path_factory):
    """A run of the command line's own config in which the generator's gradient vanishes."""
    folder = tmp_path_factory.mktemp("ill")
    run(folder, *ILL)
    return folder


def rows(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def examinations(folder) -> list[dict[str, float]]:
    found = [{k: v for k, v in row.items() if k == "images" or k.startswith("doctor/")} for row in rows(folder)]
    return [row for row in found if len(row) > 1]


def test_every_examination_is_a_row(ill):
    assert [row["images"] for row in examinations(ill)] == [96 * i for i in range(1, 16)]
    wanted = {"auc", "surprise", "feedback", "known", "spread", "nearest", "duplicates", "copies", "distance"}
    assert all({f"doctor/{key}" for key in wanted} <= row.keys() for row in examinations(ill))


def test_the_trouble_is_told_where_people_look(ill):
    (alarm,) = History(rows(ill)).alarms
    assert alarm.name == "vanishing"
    logged = (ill / "log.txt").read_text()
    assert logged.count("WARNING doctor: vanishing gradient since") == 1  # when it began, once
    last = logged.splitlines()[-1]
    assert last.endswith(f"INFO doctor: {alarm.line()}")  # the summary comes last
    progress = [line for line in logged.splitlines() if " left " in line]
    assert "! vanishing gradient" in progress[-1] and "! vanishing" not in progress[0]
    events = EventAccumulator(str(ill)).Reload()
    assert "doctor/feedback" in events.Tags()["scalars"]
    (text,) = events.Tensors("doctor/text_summary")
    assert text.step == alarm.since + 2 * 96 and b"vanishing gradient" in text.tensor_proto.string_val[0]


def test_gancli_doctor_says_what_training_said(ill, cli, tmp_path):
    answer = cli("doctor", str(ill))
    lines = (ill / "log.txt").read_text().splitlines()
    (said,) = {line.partition("INFO ")[2] for line in lines if "INFO doctor" in line}
    assert answer.code == 0 and f"  {said}\n" in answer.out and str(ill) in answer.out
    run(tmp_path / "off", "images=16", "doctor.every=0")
    run(tmp_path / "on", "images=16", "doctor.every=16")
    answer = cli("doctor", str(tmp_path))
    assert "no examinations were recorded" in answer.out and "nothing learned yet in 1 examination" in answer.out
    assert cli("doctor", str(tmp_path / "none")).code == 2 and cli("doctor").code == 2


def test_the_progress_line_drops_an_alarm_that_is_over(caplog, monkeypatch):
    monkeypatch.setattr("gancli.console.log.propagate", True)
    monkeypatch.setattr("gancli.console.log.handlers", [])  # those of the runs before
    caplog.set_level("INFO")
    progress = RunProgress(1000)
    progress.alarmed(["mode collapse"])
    progress.tick(100, 50.0, {"loss/generator": 0.5})
    progress.alarmed([])
    progress.tick(200, 50.0, {"loss/generator": 0.5})
    first, second = caplog.messages
    assert "! mode collapse" in first and "!" not in second


@pytest.mark.parametrize("model", ["dcgan", "sngan", "mlp_gan", "cgan", "pixelcnn"])
def test_with_and_without_the_doctor_the_weights_are_equal_bit_for_bit(model, tmp_path):
    """Batch norm, power iterations, dropout, labels, and a likelihood."""
    for name, every in (("on", 24), ("off", 0)):
        run(tmp_path / name, "images=96", "log.every=48", f"doctor.every={every}", model=model)
    on, off = (tensors(checkpoint.load(tmp_path / name).state) for name in ("on", "off"))
    assert on.keys() == off.keys() and [k for k in on if not torch.equal(on[k], off[k])] == []
    assert len(examinations(tmp_path / "on")) == 4 and examinations(tmp_path / "off") == []


def test_a_resumed_run_keeps_its_history(ill, tmp_path):
    """Stopped in the middle of a streak and gone on with: the same rows, so the same alarm since the same image."""

    def without(images: str) -> list[str]:
        return [word for word in ILL if not word.startswith("images")] + [f"images={images}"]

    run(tmp_path, *without("768"))
    logged = (tmp_path / "log.txt").read_text()
    run(tmp_path, *without("1440"), f"resume={tmp_path}")
    assert examinations(tmp_path) == examinations(ill)
    assert History(rows(tmp_path)).summary() == History(rows(ill)).summary()
    assert (tmp_path / "log.txt").read_text().count("WARNING doctor: vanishing") == 1 or "vanishing" in logged


def test_the_last_word_comes_even_when_training_diverges(tmp_path, monkeypatch):
    calls = []

    def exploding(self, fake, *rest):
        calls.append(1)
        return {"nonsaturating": fake.mean() * (float("inf") if len(calls) > 60 else 2.0 ** len(calls))}

    monkeypatch.setattr(NonSaturating, "generator_loss", exploding)
    with pytest.raises(TrainingDiverged, match="nonsaturating of generator"):  # not: "spread of doctor"
        run(tmp_path, "images=4000", "log.every=8", "doctor.every=8", "samples.every=0", "clip=1e-9")
    (alarm, *_) = History(read_rows(tmp_path / "metrics.jsonl")).alarms
    assert alarm.name == "explosion"
    assert (tmp_path / "log.txt").read_text().splitlines()[-1].partition("INFO ")[2].startswith("doctor: ")


def test_without_labels_and_held_out_images_the_rest_is_examined(tmp_path):
    cfg = compose("train", overrides("dcgan", "images=32", "doctor.every=16", "log.every=16", "data.validation=0"))
    train(cfg, tmp_path)
    assert all("doctor/known" not in row and "doctor/spread" in row for row in examinations(tmp_path))


def test_rare_examinations_and_frequent_logs(tmp_path):
    run(tmp_path, "images=96", "log.every=16", "doctor.every=48")
    assert [row["images"] for row in examinations(tmp_path)] == [48, 96]
    assert [row["images"] for row in rows(tmp_path) if "loss/generator" in row] == [16, 32, 48, 64, 80, 96]


def test_values_of_one_kind_are_told_as_a_range():
    assert told({"kl": 3, "kl_00": 0.5, "kl_01": 2, "rank_7": 1}) == "kl 3  kl_* 0.5 to 2  rank_7 1"
