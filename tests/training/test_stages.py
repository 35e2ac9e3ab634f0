"""Phases that rest and models that grow: what a turn does, what a stage changes, and that both survive a resume."""

from pathlib import Path

import pytest
import torch
from helpers import compose, overrides, run, tensors

from gancli.losses.adversarial import NonSaturating
from gancli.losses.base import Moment, Phase
from gancli.models.base import Model
from gancli.models.dcgan import DCGAN
from gancli.training import checkpoint
from gancli.training.build import build
from gancli.training.turn import run_turn


class Silent:
    def add(self, scalars): ...


def alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the generator rest in the first half of a run, and the discriminator in every second turn of the other."""
    original = NonSaturating.phases

    def phases(self: NonSaturating, model: Model) -> list[Phase]:
        first, second = original(self, model)
        return [
            first._replace(repeat=lambda moment: 1 if moment.share < 0.5 else moment.turn % 2),
            second._replace(repeat=lambda moment: int(moment.share >= 0.5)),
        ]

    monkeypatch.setattr(NonSaturating, "phases", phases)


def grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a DCGAN have two stages: the second doubles what it draws, and starts the optimizers anew."""
    generate = DCGAN.generate
    monkeypatch.setattr(DCGAN, "resets", True)
    monkeypatch.setattr(DCGAN, "stage", lambda self, share: 1 if share < 0.5 else 2)
    monkeypatch.setattr(DCGAN, "enter", lambda self, stage: setattr(self, "gain", float(stage)))
    monkeypatch.setattr(
        DCGAN, "generate", lambda self, z, label=None: (generate(self, z, label) * self.gain).clamp(-1, 1)
    )


def test_a_phase_may_have_no_update_in_a_turn(monkeypatch):
    alternate(monkeypatch)
    parts = build(compose("train", overrides("dcgan", "images=64")))
    seen = []
    while parts.images < parts.total:
        before = [step.updates for step in parts.steps]
        run_turn(parts, Silent(), measure=False)
        seen.append(tuple(step.updates - b for step, b in zip(parts.steps, before)))
    assert seen == [(1, 0)] * 4 + [(0, 1), (1, 1), (0, 1), (1, 1)]
    assert parts.turn == 8 and parts.ema.images == 32  # the average rests with the generator


def test_a_turn_without_any_update_is_an_error(monkeypatch):
    parts = build(compose("train", overrides("dcgan")))
    for step in parts.steps:
        step.phase = step.phase._replace(repeat=0)
    with pytest.raises(RuntimeError, match="no phase of NonSaturating has an update in turn 0"):
        run_turn(parts, Silent(), measure=False)


@pytest.mark.parametrize("change", [alternate, grow])
@pytest.mark.parametrize("at", [24, 32, 40])
def test_resting_phases_and_stages_resume_bit_for_bit(change, at, tmp_path, monkeypatch):
    change(monkeypatch)
    run(tmp_path / "whole", "images=64")
    parts = build(compose("train", overrides("dcgan", "images=64")))
    while parts.images < at:
        run_turn(parts, Silent(), measure=True)
    checkpoint.save(tmp_path / "parts" / "checkpoints" / checkpoint.name(at), parts.state())
    torch.manual_seed(999)
    run(tmp_path / "parts", "images=64", f"resume={tmp_path / 'parts'}")
    whole, resumed = (tensors(checkpoint.load(tmp_path / name).state) for name in ("whole", "parts"))
    assert whole.keys() == resumed.keys()
    assert [key for key in whole if not torch.equal(whole[key], resumed[key])] == []


def updates(parts) -> int:
    """Adam's own count of the discriminator's updates; 0: its state is cleared."""
    return max((int(each["step"]) for each in parts.steps[0].optimizer.state.values()), default=0)


def test_a_new_stage_resets_the_optimizers_and_a_checkpoint_is_rebuilt_in_its_own(tmp_path, monkeypatch):
    grow(monkeypatch)
    parts = build(compose("train", overrides("dcgan", "images=64")))
    counts = []
    while parts.images < parts.total:
        run_turn(parts, Silent(), measure=False)
        counts.append(updates(parts))
    assert counts == [1, 2, 3, 0, 1, 2, 3, 4]  # the fourth turn ends the stage
    checkpoint.save(tmp_path / "checkpoints" / checkpoint.name(64), parts.state())
    assert checkpoint.rebuild(tmp_path).gain == 2 and parts.ema.model.gain == 2


def test_the_moment_is_turn_and_share():
    assert Phase("x", (), (), repeat=lambda m: m.turn + int(10 * m.share)).updates(Moment(3, 0.5)) == 8


def begun(images: int, path: Path):
    """The parts of a run of 64 images after some of them, and its checkpoint."""
    parts = build(compose("train", overrides("dcgan", "images=64")))
    while parts.images < images:
        run_turn(parts, Silent(), measure=False)
    checkpoint.save(path, parts.state())


def test_a_run_that_is_made_shorter_begins_the_stage_of_its_share_anew(tmp_path, monkeypatch):
    grow(monkeypatch)
    path = tmp_path / "checkpoints" / checkpoint.name(24)
    begun(24, path)  # in the first stage
    shorter = build(compose("train", overrides("dcgan", "images=40", f"resume={path}")))
    shorter.restore(checkpoint.load(path))  # 24 of 40 images are the second stage
    assert shorter.model.gain == 2 and updates(shorter) == 0


def test_a_run_that_is_made_longer_stays_in_its_stage(tmp_path, monkeypatch):
    grow(monkeypatch)
    path = tmp_path / "checkpoints" / checkpoint.name(40)
    begun(40, path)  # in the second stage
    longer = build(compose("train", overrides("dcgan", "images=640", f"resume={path}")))
    longer.restore(checkpoint.load(path))  # 40 of 640 images would be the first
    run_turn(longer, Silent(), measure=False)
    assert longer.model.gain == longer.ema.model.gain == 2 and updates(longer) == 2
    again = tmp_path / "again" / "checkpoints" / checkpoint.name(48)
    checkpoint.save(again, longer.state())
    assert checkpoint.rebuild(again).gain == 2
