"""The parts of a training run, and how they are built from a config."""

from collections.abc import Hashable
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancli import __version__, config
from gancli.data.identity import identity
from gancli.data.levels import binarized
from gancli.data.loader import Loader
from gancli.data.source import Images, Source
from gancli.errors import TrainingDiverged, UsageError
from gancli.losses.base import Loss, Moment
from gancli.metrics.features import Features
from gancli.metrics.registry import choosing, metrics_named
from gancli.metrics.scoring.base import Scoring, Settings, scoring_of
from gancli.models.base import Model
from gancli.nn.annealed import changes
from gancli.training import checkpoint, same_data
from gancli.training.cautions import cautions
from gancli.training.checkpoint import Checkpoint
from gancli.training.doctor.examination import Examination
from gancli.training.doctor.measurements import Measurements
from gancli.training.ema import EMA
from gancli.training.integrity import load_weights
from gancli.training.runtime import Runtime
from gancli.training.schedules import Schedule
from gancli.training.step import Step
from gancli.training.tracker import Tracker
from gancli.views import choice
from gancli.views.base import View

OWED = ("samples", "eval", "end")  # pictures, an evaluation, and what a run does once all images were seen
FIT_IMAGES = 60_000  # maximum number of images for a data-dependent initialisation


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
    stage: Hashable = None  # current stage of the model, see Model.stage()
    views: dict[str, View] = field(default_factory=dict)  # for the pictures during training
    notes: list[str] = field(default_factory=list)  # of a resumed run: from where, and with which other settings
    cautions: list[str] = field(default_factory=list)  # about too few images, see cautions()
    pending: dict[str, Tensor] = field(default_factory=dict)  # scalars since the last tick, see Tracker.state_dict()
    owed: list[str] = field(default_factory=list)  # of OWED: what is due at these images and not yet done

    @property
    def share(self) -> float:
        """The completed share of the run, in [0, 1]."""
        return min(self.images / self.total, 1.0)

    def batches(self) -> int:
        """Return the number of batches in the next turn: one for all phases, and one per repeated update."""
        moment = Moment(self.turn, self.share)
        return 1 + sum(max(step.phase.updates(moment) - 1, 0) for step in self.steps)

    def enter(self, stage: Hashable, *, reset: bool) -> None:
        """Put the model, its average and its optimizers into a stage."""
        self.stage = stage
        for model in {id(each): each for each in (self.model, self.ema.model)}.values():
            model.enter(stage)
        for step in self.steps:
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
            "images": self.images,
            "share": self.share,
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
            "metrics": {"best": self.best},
            "versions": {"gancli": __version__, "torch": str(torch.__version__)},
        }

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
                raise TrainingDiverged(f"weights of {name} are not finite at {self.images:,} images")
        if self.runtime.is_main:
            checkpoint.save(path, self.state())

    def restore(self, saved: Checkpoint) -> None:
        """Restore the state of a checkpoint; on the CPU, training continues bit for bit.

        Raises:
            UsageError: the checkpoint belongs to other networks, another loss or other images.
        """
        state = saved.state
        self.cautions += same_data.check(saved, self.cfg, self.data)
        if {step.phase.name for step in self.steps} != set(state["optimizers"]):
            phases = ", ".join(state["optimizers"])
            raise UsageError(f"{saved.path} was trained with other phases ({phases}); resume it with its own loss")
        try:
            load_weights(self.model, state["model"])
            self.ema.load_state_dict(state["ema"])
            load_weights(self.loss, state["loss"])
            for step in self.steps:
                step.load_state_dict(state["optimizers"][step.phase.name])
            self.loader.load_state_dict(state["loader"])
            continued = self.runtime.set_rng_state(state["rng"], (self.cfg.seed, saved.images))
        except (*checkpoint.DAMAGED, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
            raise UsageError(f"{saved.path} does not fit this config: {reason}") from error
        if not continued:
            self.notes.append(f"{saved.path} is from another kind of device: the random numbers go on with new ones")
        self.images, self.best = saved.images, state["metrics"]["best"]
        # Defaults for format gancli-1, where one phase had one update per turn and the average used the run's clock.
        self.turn = state.get("turn", min((step.updates for step in self.steps), default=0))
        self.ema.images = state.get("ema_images", saved.images)
        self.pending = state.get("pending", {})
        # The stage it was saved in: with another number of images= the next turn begins another, and resets.
        self.enter(self.model.stage(float(state.get("share", self.share))), reset=False)


def build(cfg: Any) -> Run:
    """Build every part of a run; all expected errors occur here, before the first file is written.

    Raises:
        UsageError: missing data, a loss for another family of models, incompatible sizes, or no CUDA.
    """
    machine = Runtime.from_config(cfg.runtime)
    torch.manual_seed(cfg.seed)
    kind = config.target_class(cfg.model, Model, trust=cfg.trust)
    if cfg.eval.every:
        choosing(cfg.eval.best, metrics_named(cfg.eval.metrics, cfg.trust), scoring_of(kind).better)
    source, loader_options = config.build_data(cfg.data, trust=cfg.trust)
    images = source.split("train")
    if images.spec.points and not kind.points:
        raise UsageError(_no_points(images.name, cfg))
    model = config.instantiate(cfg.model, Model, trust=cfg.trust, spec=images.spec)
    loss = config.instantiate(cfg.loss, Loss, trust=cfg.trust)
    if not isinstance(model, loss.family):
        raise UsageError(_wrong_family(model, loss, cfg))
    if not cfg.resume:
        model.fit_data(torch.from_numpy(binarized(images).pixels[:: -(-len(images) // FIT_IMAGES)]))
    machine.check_deterministic(model, loss)
    machine.place(model), loss.to(machine.device)
    schedule = config.instantiate(cfg.schedule, Schedule, trust=cfg.trust)
    steps = _steps(cfg, model, loss, machine)
    scoring = _scoring(cfg, source, machine, model) if cfg.eval.every else None
    loader_options |= {"rank": machine.rank, "world": machine.world}
    loader = Loader(source.training(), cfg.batch_size, device=machine.device, seed=cfg.seed, **loader_options)
    total = cfg.images if cfg.epochs is None else cfg.epochs * len(images)
    ema = EMA(model, config.number(cfg.ema.half_life))
    measurements = None
    if cfg.doctor.every and steps:
        measurements = Examination(partial(_measurements, cfg, source, images, model, loss, machine), machine)
    run = Run(cfg, machine, source, loader, model, loss, schedule, steps, ema, total, scoring, measurements)
    run.views = choice.of_model(model, cfg.samples.views, trust=cfg.trust) if cfg.samples.every else {}
    run.cautions = cautions(model, loss, images, cfg.batch_size, cfg.batch_size // (cfg.accumulate * machine.world))
    run.cautions += measurements.cautions if measurements else []
    run.enter(model.stage(0.0), reset=False)
    if not steps:  # fit_data() has done all the training, and every image was seen once
        run.images = run.total = len(images)
    return run


def run_turn(run: Run, tracker: Tracker, *, measure: bool) -> None:
    """Do the updates of every phase that are due in this turn, without waiting for the device.

    Raises:
        RuntimeError: no phase has an update, so the run would never end.
    """
    batch, drawn, averaged = None, 0, 0
    if (stage := run.model.stage(run.share)) != run.stage:
        run.enter(stage, reset=run.model.resets)
    rates, moment = run.schedule(run.images, run.total), Moment(run.turn, run.share)
    for step in run.steps:
        seen = 0
        for i in range(step.phase.updates(moment)):
            if batch is None or i:  # all phases share the first batch; further updates (n_critic) get their own
                batch = run.loader.next(run.images / run.total)
                drawn += len(batch.image) * run.runtime.world
            step.prepare(moment.share, rates)
            tracker.add(step.compute(batch, measure=measure))
            seen += len(batch.image) * run.runtime.world
        if set(step.phase.networks) & set(run.model.sampled):
            averaged = max(averaged, seen)
    if not drawn:
        raise RuntimeError(f"no phase of {type(run.loss).__name__} has an update in turn {run.turn}")
    run.images += drawn
    run.turn += 1
    run.ema.update(averaged, run.share)


def _scoring(cfg: Any, source: Source, machine: Runtime, model: Model) -> Scoring:
    """Prepare evaluations during training: the reference split, and the features, trained or loaded."""
    settings = Settings(
        metrics_named(cfg.eval.metrics, cfg.trust), source, cfg.eval.split,
        lambda: config.instantiate(cfg.features, Features, trust=cfg.trust),
        batch_size=cfg.batch_size, device=machine.device, n=cfg.eval.n,
    )  # fmt: skip
    return scoring_of(type(model))(model, settings, type(model).__name__)


def _measurements(cfg: Any, source: Source, images: Images, model: Model, loss: Loss, machine: Runtime) -> Measurements:
    """Prepare the doctor's examinations, with held-out images if there are any."""
    try:
        held_out = source.split("validation")
    except UsageError:  # there is no validation split
        held_out = None
    return Measurements(model, loss, images, held_out, machine, cfg.batch_size // cfg.accumulate)


def _steps(cfg: Any, model: Model, loss: Loss, machine: Runtime) -> list[Step]:
    """Make the steps of all phases, and refuse optimizer overrides for networks that no phase updates."""
    phases = loss.phases(model)
    networks = sorted({name for phase in phases for name in phase.networks})
    given = {key: config.number(value) for key, value in cfg.optimizer.items() if key != "overrides"}
    rates = {key: number for key, number in given.items() if changes(number)}
    node = {key: number for key, number in given.items() if key not in rates}
    optimizer = config.instantiate(node, torch.optim.Optimizer, trust=cfg.trust)
    overrides = {
        name: {key: config.number(value) for key, value in values.items()}
        for name, values in cfg.optimizer.overrides.items()
    }
    for name in overrides:
        if name not in networks:
            known = ", ".join(networks)
            raise UsageError(f"optimizer.overrides.{name}: the loss trains no such network; it trains {known}")
    options = {"overrides": overrides, "rates": rates, "accumulate": cfg.accumulate, "clip": cfg.clip}
    try:
        return [Step(model, phase, optimizer, machine, **options) for phase in phases]
    except (ValueError, RuntimeError) as error:  # from the optimizer's own checks, e.g. of a negative learning rate
        raise UsageError(f"optimizer: {' '.join(str(error).split())}") from error


def _no_points(data: str, cfg: Any) -> str:
    models = {name: config.target_class(each, Model, trust=cfg.trust) for name, each in config.options("model").items()}
    fitting = ", ".join(name for name, each in models.items() if each.points)
    name = cfg.model._target_.rpartition(".")[2]
    return f"data={data} are points, but {name} generates images; models for points are: {fitting} (model=...)"


def _wrong_family(model: Model, loss: Loss, cfg: Any) -> str:
    losses = {name: config.target_class(node, Loss, trust=cfg.trust) for name, node in config.options("loss").items()}
    fitting = [name for name, each in losses.items() if isinstance(model, each.family)]
    parts = {key for name in fitting for key, kind in losses[name].parts.items() if isinstance(loss, kind)}
    own = next((name for name, each in losses.items() if each is type(loss)), None)
    inside = "".join(f"; in those, use it as loss/{key}={own}" for key in sorted(parts) if own)
    return (
        f"{type(loss).__name__} trains {loss.family.__name__} models, but {type(model).__name__} is not one; "
        f"its losses are: {', '.join(fitting) or 'none'} (loss=...){inside}"
    )
