"""How the parts of a training run are built from a config."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gancli import config
from gancli.data.access import AtAccess
from gancli.data.levels import binarized
from gancli.data.loader import Loader
from gancli.data.source import Images, Source
from gancli.errors import UsageError, counted
from gancli.losses.base import Loss
from gancli.metrics.features import Features
from gancli.metrics.registry import choosing, metrics_named
from gancli.metrics.scoring.base import Scoring, Settings, scoring_of
from gancli.models.base import Model
from gancli.nn.annealed import changes
from gancli.training import fitting, ranks
from gancli.training.cautions import cautions
from gancli.training.doctor.examination import Examination
from gancli.training.doctor.measurements import Measurements
from gancli.training.ema import EMA
from gancli.training.graphs import Graphs
from gancli.training.run import Run
from gancli.training.runtime import Runtime
from gancli.training.schedules import Schedule
from gancli.training.step import Step
from gancli.training.tracker import Tracker
from gancli.views import choice

FIT_IMAGES = 60_000  # maximum number of images for a data-dependent initialisation
FIT_DECODED = 2_048  # the same where they have to be decoded for it: a mean of theirs is as good a start


def build(cfg: Any) -> Run:
    """Build every part of a run; all expected errors occur here, before the first file is written.

    In ``cfg``, ``accumulate: auto`` becomes a number, and ``runtime.precision: auto`` what suits device and model: a
    run is resumed with both.

    Raises:
        UsageError: missing data, a loss for another family of models, incompatible sizes, or no CUDA.
        RankLost: another of several processes has ended.
    """
    if cfg.accumulate != fitting.AUTO:
        return _built(cfg)
    machine = Runtime.from_config(cfg.runtime)
    if machine.world > 1:
        raise UsageError("batch_size=auto and accumulate=auto are for one process; give numbers, such as accumulate=2")
    probe = fitting.probing(
        lambda number: _built(_in_parts(cfg, number)), machine.device, partial(Tracker, Path(), main=False)
    )
    cfg.accumulate, line = fitting.parts(cfg.batch_size, probe)
    run = _built(cfg)
    run.notes.append(line)
    return run


def _in_parts(cfg: Any, number: int) -> Any:
    changed = copy.deepcopy(cfg)
    changed.accumulate = number
    return changed


def _built(cfg: Any) -> Run:
    machine = Runtime.from_config(cfg.runtime)
    if cfg.batch_size % (cfg.accumulate * machine.world):
        raise UsageError(
            f"batch_size={cfg.batch_size} must be a multiple of {cfg.accumulate * machine.world}: accumulate="
            f"{cfg.accumulate} parts in each of {counted(machine.world, 'process', 'processes')}"
        )
    torch.manual_seed(cfg.seed)
    kind = config.target_class(cfg.model, Model, trust=cfg.trust)
    metrics = metrics_named(cfg.eval.metrics, cfg.trust)  # the default of gancli eval, too
    if cfg.eval.every:
        choosing(cfg.eval.best, metrics, scoring_of(kind).better)
    with ranks.first_goes_first():  # it downloads and decodes what is not there yet
        source, loader_options = config.build_data(cfg.data, trust=cfg.trust)
        images = source.split("train")
    if images.spec.points and not kind.points:
        raise UsageError(_no_points(images.name, cfg))
    model = config.instantiate(cfg.model, Model, trust=cfg.trust, spec=images.spec)
    machine = machine.suited(model)
    cfg.runtime.precision = machine.precision
    loss = config.instantiate(cfg.loss, Loss, trust=cfg.trust)
    if not isinstance(model, loss.family):
        raise UsageError(_wrong_family(model, loss, cfg))
    loss.check(model)
    if not cfg.resume and kind.fit_data is not Model.fit_data:  # images that are decoded for nothing take a while
        few = isinstance(images.pixels, AtAccess) and loss.phases(model)  # without phases this is all the training
        step = -(-len(images) // (FIT_DECODED if few else FIT_IMAGES))
        model.fit_data(torch.from_numpy(binarized(images).pixels[::step]))
    machine.check_deterministic(model, loss)
    machine.place(model), loss.to(machine.device)
    schedule = config.instantiate(cfg.schedule, Schedule, trust=cfg.trust)
    steps = _steps(cfg, model, loss, machine)
    with ranks.first_goes_first():  # it trains classifiers that are not there yet
        scoring = _scoring(cfg, source, machine, model) if cfg.eval.every else None
    loader_options |= {"rank": machine.rank, "world": machine.world}
    loader = Loader(source.training(), cfg.batch_size, device=machine.device, seed=cfg.seed, **loader_options)
    total = cfg.images if cfg.epochs is None else cfg.epochs * len(images)
    ema = EMA(model, config.number(cfg.ema.half_life))
    measurements = None
    if cfg.doctor.every and steps and machine.is_main:
        measurements = Examination(partial(_measurements, cfg, source, images, model, loss, machine), machine)
    run = Run(cfg, machine, source, loader, model, loss, schedule, steps, ema, total, scoring, measurements)
    run.views = choice.of_model(model, cfg.samples.views, trust=cfg.trust) if cfg.samples.every else {}
    forward = cfg.batch_size // (cfg.accumulate * (1 if machine.sync_bn else machine.world))
    run.cautions = cautions(model, loss, images, cfg.batch_size, forward)
    run.cautions += measurements.cautions if measurements else []
    if any(step.running for step in steps):
        run.notes.append(f"batch norm sees {forward} images at a time, of each process; all: runtime.sync_bn=true")
    run.enter(0.0, reset=False)
    if machine.graphs and steps:
        run.graphs = Graphs(run)
    elif cfg.runtime.graphs and steps:
        why = f"the device is {machine.device.type} and not cuda" if machine.world == 1 else "several processes train"
        run.cautions.append(f"runtime.graphs: turns are done step by step, as {why}")
    if not steps:  # fit_data() has done all the training, and every image was seen once
        run.images = run.total = len(images)
    machine.part_ways(cfg.seed)  # by now the networks are the same in every process
    return run


def _scoring(cfg: Any, source: Source, machine: Runtime, model: Model) -> Scoring:
    """Prepare evaluations during training: the reference split, and the features, trained or loaded."""
    kind = scoring_of(type(model))
    settings = Settings(
        metrics_named(cfg.eval.metrics, cfg.trust), source, cfg.eval.split,
        lambda: config.instantiate(cfg.features, Features, trust=cfg.trust),
        batch_size=kind.batch_of(model, cfg.batch_size), device=machine.device, n=cfg.eval.n,
        precision=machine.dtype, autocast=machine.autocast, crew=ranks.crew(),
    )  # fmt: skip
    return kind(model, settings, type(model).__name__)


def _measurements(cfg: Any, source: Source, images: Images, model: Model, loss: Loss, machine: Runtime) -> Measurements:
    """Prepare the doctor's examinations, with held-out images if there are any."""
    try:
        held_out = source.split("validation")
    except UsageError:  # there is no validation split
        held_out = None
    return Measurements(model, loss, images, held_out, machine, cfg.batch_size // (cfg.accumulate * machine.world))


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
