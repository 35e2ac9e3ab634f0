"""The loop: cadences, files, evaluation on the way, stopping, divergence, resume."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers import compose, overrides, run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gancli import config
from gancli.console import RunProgress
from gancli.errors import Interrupted, TrainingDiverged, UsageError
from gancli.losses.adversarial import NonSaturating
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.training.loop import Cadence, train
from gancli.training.runtime import Runtime
from gancli.training.stopping import StopSignal
from gancli.training.turn import run_turn


def fired(every: int, start: int, step: int, total: int) -> list[int]:
    due, images, hits = Cadence(every, start), start, []
    while True:
        if due(images, images >= total):
            hits.append(images)
        if images >= total:
            return hits
        images += step


@pytest.mark.parametrize(
    "every, start, step, total, hits",
    [
        (100, 0, 32, 320, [128, 224, 320]),  # the first step at or past 100, 200, 300; the end is one of them
        (100, 0, 50, 220, [100, 200, 250]),
        (100, 128, 32, 320, [224, 320]),  # resumed: as if it had never stopped
        (10, 0, 64, 128, [64, 128]),  # at most once per step
        (0, 0, 32, 64, []),
    ],
)
def test_every(every, start, step, total, hits):
    assert fired(every, start, step, total) == hits


def test_a_run_writes_its_files(tmp_path):
    values = run(tmp_path, "images=64", "log.every=16", "samples.every=32", "checkpoint.every=16", "checkpoint.keep=2")
    assert {"loss/discriminator", "loss/generator"} <= values.keys()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["images"] for row in rows if "loss/generator" in row] == [16, 32, 48, 64]
    wanted = {
        "loss/discriminator", "loss/generator",
        "discriminator/D(real)", "discriminator/D(fake)", "discriminator/accuracy",
        "grad_norm/discriminator", "grad_norm/generator", "lr/discriminator", "lr/generator", "runtime/images_per_s",
    }  # fmt: skip
    assert all(wanted <= row.keys() for row in rows if "loss/generator" in row)
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        *(f"{n:012d}.png" for n in (0, 32, 64)), "run.gif",
    ]  # fmt: skip
    assert [p.name for p in checkpoint.numbered(tmp_path)] == [checkpoint.name(48), checkpoint.name(64)]
    assert "64" in (tmp_path / "log.txt").read_text() and "model:" in (tmp_path / "config.yaml").read_text()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert wanted <= set(events.Tags()["scalars"]) and events.Tags()["images"] == ["samples"]
    assert {"config/text_summary", "_hparams_/session_start_info"} <= set(events.summary_metadata)


def test_hparams_name_what_tells_runs_apart():
    flat = config.flat(compose("train", overrides("dcgan", "optimizer.overrides.generator.lr=1e-3")))
    assert flat["model"] == "DCGAN" and flat["model.width"] == 4 and flat["optimizer.overrides.generator.lr"] == 1e-3
    assert not {"clip", "log.every", "runtime.device", "optimizer._partial_"} & flat.keys()


def test_epochs_are_the_other_way_to_say_images():
    cfg = compose("train", overrides("dcgan", "epochs=3", "data.validation=0"))
    assert build(cfg).total == 3 * 60


def test_repeat_gives_every_update_its_own_batch():
    parts = build(compose("train", overrides("dcgan", "loss.repeat=3")))
    seen = []
    parts.loader.compute = (lambda inner: lambda drawn: seen.append(inner(drawn)) or seen[-1])(parts.loader.compute)

    class Silent:
        def add(self, scalars): ...

    run_turn(parts, Silent(), measure=False)
    assert len(seen) == 3 and parts.images == 3 * 8
    assert not torch.equal(seen[0].image, seen[1].image)
    assert [s.updates for s in parts.steps] == [3, 1]


def test_evaluation_on_the_way_keeps_the_best_checkpoint(tmp_path):
    run(tmp_path, "images=64", "eval.every=32", "eval.n=20", "data.validation=20", "features.epochs=1")
    rows = [r for r in map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines()) if "eval/fid" in r]
    assert [r["images"] for r in rows] == [32, 64]
    best = checkpoint.load(tmp_path / "checkpoints" / "best.pt")
    winner = min(rows, key=lambda r: r["eval/fid"])
    assert best.images == winner["images"] and best.state["metrics"]["best"] == winner["eval/fid"]


def test_a_typed_metric_that_is_not_computed_cannot_choose_the_best(tmp_path):
    with pytest.raises(UsageError, match="eval.best.*fid"):
        build(compose("train", overrides("dcgan", "eval.every=32", "eval.best=sharpness")))


def test_a_finished_run_says_how_to_go_on(tmp_path):
    run(tmp_path, "images=16")
    with pytest.raises(UsageError, match="images=32"):
        run(tmp_path, "images=16", f"resume={tmp_path}")


def test_resuming_other_networks_is_refused(tmp_path):
    run(tmp_path, "images=16")
    with pytest.raises(UsageError, match="does not fit"):
        run(tmp_path, "images=32", "model.width=8", f"resume={tmp_path}")


def test_divergence_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    calls = []

    def exploding(self, fake, real):
        calls.append(1)
        return {"nonsaturating": fake.mean() * (float("inf") if len(calls) > 4 else 1)}

    monkeypatch.setattr(NonSaturating, "generator_loss", exploding)
    with pytest.raises(TrainingDiverged, match="nonsaturating of generator.*images"):
        run(tmp_path, "images=160", "log.every=16", "checkpoint.every=16")
    saved = checkpoint.load(tmp_path)
    assert saved.images == 32
    assert all(torch.isfinite(v).all() for v in saved.state["model"].values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path, monkeypatch):
    """The losses can look fine while the last update broke the weights: the next forward would show it, too late."""
    from gancli.training.step import Step

    update = Step.compute

    def breaking(self, batch, *, measure=False):
        values = update(self, batch, measure=measure)
        if self.updates == 4 and self.phase.name == "generator":
            self.params[0].data.view(-1)[0] = float("nan")
        return values

    monkeypatch.setattr(Step, "compute", breaking)
    with pytest.raises(TrainingDiverged, match="weights of generator"):
        run(tmp_path, "images=64", "checkpoint.every=16", "log.every=1000")
    assert checkpoint.load(tmp_path).images == 16


def test_unknown_network_in_overrides(tmp_path):
    with pytest.raises(UsageError, match="optimizer.overrides.critic.*discriminator, generator"):
        build(compose("train", overrides("dcgan", "optimizer.overrides.critic.lr=1e-4")))


@pytest.mark.parametrize(
    "signum, images",
    [
        (signal.SIGINT, 800), (signal.SIGTERM, 800), (signal.SIGINT, 24), (signal.SIGHUP, 800), (signal.SIGUSR1, 800),
        (signal.SIGUSR2, 24),
    ],
)  # fmt: skip
def test_a_signal_finishes_the_step_and_saves(tmp_path, monkeypatch, signum, images):
    """Ctrl-C, kill, a lost terminal, a cluster's warnings; also where the last step was the run's last one."""
    from gancli.training.step import Step

    update = Step.compute

    def interrupted(self, batch, *, measure=False):
        if self.updates == 3 and self.phase.name == "discriminator":
            os.kill(os.getpid(), signum)
        return update(self, batch, measure=measure)

    monkeypatch.setattr(Step, "compute", interrupted)
    before = signal.getsignal(signum)
    with pytest.raises(Interrupted, match=f"continue with:\ngancli train resume={tmp_path}") as stopped:
        run(tmp_path, f"images={images}")
    assert stopped.value.signum == signum and signal.getsignal(signum) is before
    assert checkpoint.load(tmp_path).images == 24  # the third step was finished


def test_a_second_ctrl_c_leaves_at_once():
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signum == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)


def test_kill_9_loses_at_most_the_work_since_the_last_checkpoint(tmp_path, cli):
    """A real process, killed without warning once it has checkpoints, then resumed to the end by this one."""
    command = [sys.executable, "-m", "gancli", "train", *overrides("dcgan", "checkpoint.every=16", "log.every=16")]
    out = tmp_path / "run"
    process = subprocess.Popen([*command, "images=10M", f"hydra.run.dir={out}"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while len(checkpoint.numbered(out)) < 2 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    stood = checkpoint.load(out).images
    assert stood >= 32
    answer = cli("train", f"resume={out}", f"images={stood + 64}")
    assert answer.code == 0, answer.err
    assert checkpoint.load(out).images == stood + 64
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    images = [row["images"] for row in rows if "loss/generator" in row]
    assert images == sorted(set(images))


def test_what_kills_the_last_evaluation_costs_no_training(tmp_path, monkeypatch):
    def killed(*args):
        raise MemoryError

    monkeypatch.setattr("gancli.training.loop.evaluate", killed)
    with pytest.raises(MemoryError):
        run(tmp_path, "images=32", "eval.every=32", "eval.n=20", "data.validation=20", "features.epochs=1")
    assert checkpoint.load(tmp_path).images == 32


def test_progress_in_plain_lines(caplog, monkeypatch):
    monkeypatch.setattr("gancli.console.log.propagate", True)
    caplog.set_level("INFO")
    progress = RunProgress(1000)
    progress.scored("fid 3.2")
    progress.tick(100, 50.0, {"loss/generator": 0.5, "discriminator/real": 1.0})
    assert "100/1,000 images" in caplog.text and "00:00:18 left" in caplog.text
    assert "generator 0.500" in caplog.text and "fid 3.2" in caplog.text


def test_the_time_left_is_said_to_be_that_of_a_stage_until_the_last_one(caplog, monkeypatch):
    monkeypatch.setattr("gancli.console.log.propagate", True)
    caplog.set_level("INFO")
    progress = RunProgress(1000, stage=lambda share: share >= 0.4)
    progress.tick(399, 50.0, {})
    progress.tick(400, 50.0, {})
    first, second = dict.fromkeys(caplog.messages)
    assert "00:00:12 left  at the speed of this stage, 50 img/s" in first
    assert "00:00:12 left  50 img/s" in second


def test_an_evaluation_does_not_count_as_training_time(monkeypatch):
    clock = iter([0.0, 10.0, 100.0, 110.0])  # made, paused from 10 to 100, read at 110: 20 seconds of training
    monkeypatch.setattr("gancli.console.time.monotonic", lambda: next(clock))
    progress = RunProgress(1000)
    with progress.paused():
        pass
    assert progress.rate(400) == pytest.approx(20.0)


def test_train_refuses_before_it_writes(tmp_path):
    cfg = compose("train", overrides("dcgan", "data.size=30"))
    with pytest.raises(UsageError, match="30x30"):
        train(cfg, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_machines_of_a_run_are_noted(tmp_path):
    run(tmp_path, "images=16")
    run(tmp_path, "images=32", f"resume='{tmp_path}'")
    first, second = json.loads((tmp_path / "machine.json").read_text())
    assert first["device"].startswith("CPU (") and first["threads"] >= 1 and first["precision"] == "fp32"
    assert first["instructions"] == torch.backends.cpu.get_cpu_capability()  # chips of one name differ in them
    assert (first["from_images"], second["from_images"]) == (0, 16) and first["torch"] == torch.__version__


def test_the_rate_is_taken_after_the_device_is_done(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(Runtime, "wait", lambda self: calls.append("wait"))
    monkeypatch.setattr(RunProgress, "rate", lambda self, images: calls.append("rate") or 1.0)
    run(tmp_path, "images=32", "log.every=16")
    assert calls == ["wait", "rate"] * 2
