"""The parts of a training run, and its clock."""

from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancli import __version__, config
from gancli.data.identity import identity
from gancli.data.loader import Loader
from gancli.data.source import Source
from gancli.errors import TrainingDiverged, UsageError
from gancli.losses.base import Loss, Moment
from gancli.metrics.scoring.base import Scoring
from gancli.models.base import Model
from gancli.training import checkpoint, ranks, same_data
from gancli.training.checkpoint import Checkpoint
from gancli.training.doctor.examination import Examination
from gancli.training.ema import EMA
from gancli.training.integrity import load_weights
from gancli.training.older import renewed
from gancli.training.runtime import Runtime
from gancli.training.schedules import Schedule
from gancli.training.step import Step
from gancli.views.base import View

# An examination, pictures, an evaluation, and what a run does once all images were seen, in the order of the log.
OWED = ("doctor", "samples", "eval", "end")


@dataclass
class Run:
    """The parts of a run and its clock, built before anything is written."""

    cfg: Any
    runtime: Runtime
    source: Source
    loader: Loader
    model: Model
    loss: Loss
    schedule: Schedule
    steps: list[Step]
    ema: EMA
    total: int  # number of images of the whole run
    scoring: Scoring | None  # for evaluations during training; None for no evaluations
    measurements: Examination | None  # for the doctor's examinations; None for no examinations
    images: int = 0  # images seen so far, the run's clock
    turn: int = 0  # turns done so far; in each turn every phase does its updates
    best: float | None = None  # best value of eval.best so far
    reached: float = 0.0  # largest share of the run so far, which the model's stage follows
    stage: Hashable = None  # current stage of the model, see Model.stage()
    views: dict[str, View] = field(default_factory=dict)  # for the pictures during training
    notes: list[str] = field(default_factory=list)  # of a resumed run: from where, and with which other settings
    cautions: list[str] = field(default_factory=list)  # about too few images, see cautions()
    pending: dict[str, Tensor] = field(default_factory=dict)  # scalars since the last tick, see Tracker.state_dict()
    earlier_data: list[dict[str, Any]] = field(default_factory=list)  # fingerprints, with the images seen until then
    graphs: Callable[..., list[dict[str, Tensor]]] | None = None  # does turns as graphs, see Graphs; None: step by step
    owed: list[str] = field(default_factory=list)  # of OWED: what is due at these images and not yet done
    others: list[dict[str, Any]] = field(default_factory=list)  # what differs in the processes after the first one

    @property
    def share(self) -> float:
        """The completed share of the run, in [0, 1]."""
        return min(self.images / self.total, 1.0)

    def batches(self) -> int:
        """Return the number of batches in the next turn: one for all phases, and one per repeated update."""
        moment = Moment(self.turn, self.share)
        return 1 + sum(max(step.phase.updates(moment) - 1, 0) for step in self.steps)

    def enter(self, share: float, *, reset: bool) -> None:
        """Put the model, its average and its optimizers into their state at a share of the run, or a later one reached.

        What has grown stays: a run that is made longer remains in its stage until its share is as large again.
        """
        self.reached = max(self.reached, share)
        before, self.stage = self.stage, self.model.stage(self.reached)
        for model in {id(each): each for each in (self.model, self.ema.model)}.values():
            if self.stage != before:
                model.enter(self.stage)
            model.advance(self.reached)
        for step in self.steps if self.stage != before else ():
            step.enter(reset=reset)

    def warnings(self) -> list[str]:
        """Return one line for each setting that contradicts the paper it comes from, or that has too few images."""
        told = self.loss.warnings(self.model, {k: v for step in self.steps for k, v in step.settings().items()})
        return told + self.cautions

    @cached_property
    def data(self) -> dict[str, Any]:
        """The fingerprint of the training images, see data.identity."""
        return identity(self.source.split("train"))

    def state(self) -> dict[str, Any]:
        """Return the contents of a checkpoint."""
        return {
            "config": config.to_yaml(self.cfg),
            "spec": asdict(self.model.spec),
            "classes": list(self.source.split("train").class_names),
            "data": self.data,
            "earlier_data": self.earlier_data,
            "images": self.images,
            "share": self.share,
            "reached": self.reached,
            "turn": self.turn,
            "owed": list(self.owed),
            "pending": self.pending,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "ema_images": self.ema.images,
            "optimizers": {step.phase.name: step.state_dict() for step in self.steps},
            "loss": self.loss.state_dict(),
            "rng": self.runtime.rng_state(),
            "loader": self.loader.state_dict(),
            "ranks": self.others,
            "metrics": {"best": self.best},
            "versions": {"gancli": __version__, "torch": str(torch.__version__)},
        }

    def gather(self) -> None:
        """Collect what differs between processes: random numbers, flips, pools of images. All of them call it.

        Raises:
            RankLost: another process has ended.
        """
        if self.runtime.world > 1:
            own = {"rng": self.runtime.rng_state(), "loader": self.loader.state_dict(), "loss": self._own_buffers()}
            self.others = ranks.gathered(own)[1:]

    def _own_buffers(self) -> dict[str, Tensor]:
        """Return the buffers of the loss that belong to this process alone."""
        owners = {name: each for name, each in self.loss.named_modules() if getattr(each, "per_process", False)}
        buffers = ((f"{name}.{key}", b) for name, each in owners.items() for key, b in each.named_buffers())
        return {name: buffer.cpu() for name, buffer in buffers}

    def save(self, path: Path) -> None:
        """Write a checkpoint, in the main process only.

        Raises:
            TrainingDiverged: a weight is not finite, so that the checkpoint would be useless.
        """
        weights = {name: list(net.parameters()) for name, net in self.model.named_children()}
        weights = {name: each for name, each in weights.items() if each}
        finite = [torch.stack([p.isfinite().all() for p in each]).all() for each in weights.values()]
        for name, good in zip(weights, torch.stack(finite).tolist() if finite else ()):  # one wait for the device
            if not good:
                raise TrainingDiverged.at(self.images, f"weights of {name} are")
        if self.runtime.is_main:
            checkpoint.save(path, self.state())

    def _mine(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return what a checkpoint holds for this process alone; nothing for the first, and for one that is new."""
        others, rank = state.get("ranks", []), self.runtime.rank
        return others[rank - 1] if 0 < rank <= len(others) else {}

    def restore(self, saved: Checkpoint) -> None:
        """Restore the state of a checkpoint; on the CPU, training continues bit for bit.

        Raises:
            UsageError: the checkpoint belongs to other networks, another loss or other images.
        """
        state = saved.state
        lines, self.earlier_data = same_data.check(saved, self.cfg, self.data)
        self.cautions += lines
        if {step.phase.name for step in self.steps} != set(state["optimizers"]):
            phases = ", ".join(state["optimizers"])
            raise UsageError(f"{saved.path} was trained with other phases ({phases}); resume it with its own loss")
        try:
            state = renewed(state, self.model, {step.phase.name: step.params for step in self.steps})
            load_weights(self.model, state["model"])
            self.ema.load_state_dict(state["ema"])
            mine = self._mine(state)
            load_weights(self.loss, state["loss"] | mine.get("loss", {}))
            for step in self.steps:
                step.load_state_dict(state["optimizers"][step.phase.name])
            self.loader.load_state_dict(mine.get("loader", state["loader"]), others=self.cfg.other_data)
            anew = (self.cfg.seed, saved.images, *[self.runtime.rank] * (self.runtime.rank > 0))
            continued = self.runtime.set_rng_state(mine.get("rng", state["rng"]), anew)
            if self.runtime.rank and not mine:  # it is new, and must not repeat what the first process draws
                self.runtime.part_ways(self.cfg.seed, saved.images)
                self.loader.part_ways()
        except (*checkpoint.DAMAGED, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
            raise UsageError(f"{saved.path} does not fit this config: {reason}") from error
        if not continued:
            self.notes.append(f"{saved.path} is from another kind of device: the random numbers go on with new ones")
        same = self.earlier_data == state.get("earlier_data", [])  # else the best score was one on other images
        self.images, self.best = saved.images, state["metrics"]["best"] if same else None
        # Defaults for format gancli-1, where one phase had one update per turn and the average used the run's clock.
        self.turn = state.get("turn", min((step.updates for step in self.steps), default=0))
        self.ema.images = state.get("ema_images", saved.images)
        self.pending = state.get("pending", {})
        # The stage it was saved in, and then, with another number of images=, perhaps a later one, which resets.
        self.enter(float(state.get("reached", state.get("share", self.share))), reset=False)
        self.enter(self.share, reset=self.model.resets)
