"""The training loop, one for every family of models.

gancli train model=dcgan data=mnist
"""

import logging
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gancli import __version__, checkpoint, config, runtime
from gancli.checkpoint import Checkpoint
from gancli.console import RunProgress, StopSignal, setup_logging
from gancli.data.loader import Loader
from gancli.data.source import Images, Source
from gancli.ema import EMA
from gancli.errors import Interrupted, TrainingDiverged, UsageError
from gancli.evaluate import check_metrics, score
from gancli.grids import make_grid, save_png
from gancli.losses.base import Loss
from gancli.metrics.features import Features
from gancli.models.base import Model
from gancli.runtime import Runtime
from gancli.sample import draw
from gancli.schedules import Schedule
from gancli.step import Step
from gancli.tracker import Tracker

log = logging.getLogger("gancli")


class Every:
    """True once per ``every`` images and at the end; never, if ``every`` is 0."""

    def __init__(self, every: int, images: int) -> None:
        self.every, self.next = every, 0
        self._advance(images)

    def _advance(self, images: int) -> None:
        self.next = (images // self.every + 1) * self.every if self.every else 0

    def __call__(self, images: int, done: bool) -> bool:
        if not self.every or not (done or images >= self.next):
            return False
        self._advance(images)
        return True


@dataclass
class Run:
    """Everything a run is made of, built from its config before anything is written."""

    cfg: Any
    runtime: Runtime
    source: Source
    loader: Loader
    model: Model
    loss: Loss
    schedule: Schedule
    steps: list[Step]
    ema: EMA
    total: int  # images of the whole run
    reference: Images | None  # of the evaluations on the way
    features: Features | None
    images: int = 0  # seen so far: the clock
    best: float | None = None  # best value of eval.best so far

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "config": config.to_yaml(self.cfg),
            "spec": asdict(self.model.spec),
            "images": self.images,
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": {step.phase.name: step.state_dict() for step in self.steps},
            "loss": self.loss.state_dict(),
            "rng": runtime.rng_state(),
            "loader": self.loader.state_dict(),
            "metrics": {"best": self.best},
            "versions": {"gancli": __version__, "torch": str(torch.__version__)},
        }

    def restore(self, saved: Checkpoint) -> None:
        """Continue where a checkpoint stands, bit for bit on the CPU.

        Raises:
            UsageError: the checkpoint belongs to other networks or another loss.
        """
        state = saved.state
        if {step.phase.name for step in self.steps} != set(state["optimizers"]):
            raise UsageError(f"{saved.path} was trained in the phases {', '.join(state['optimizers'])}; resume with its own loss")
        try:
            self.model.load_state_dict(state["model"])
            self.ema.load_state_dict(state["ema"])
            self.loss.load_state_dict(state["loss"])
            for step in self.steps:
                step.load_state_dict(state["optimizers"][step.phase.name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise UsageError(f"{saved.path} does not fit this config: {str(error).splitlines()[-1].strip()}") from error
        self.loader.load_state_dict(state["loader"])
        self.images, self.best = saved.images, state["metrics"]["best"]
        runtime.set_rng_state(state["rng"])


def train(cfg: Any, run_dir: Path) -> dict[str, float]:
    """Train the model that ``cfg`` describes and return its last losses and scores.

    Args:
        cfg: the resolved config of ``conf/train.yaml``.
        run_dir: where everything is written.

    Raises:
        UsageError: data, model, loss and settings do not go together.
        TrainingDiverged: a loss or a weight is not finite; the last good checkpoint stays.
        Interrupted: a signal came; the step was finished and saved.
    """
    setup_logging()
    saved = checkpoint.load(cfg.resume) if cfg.resume else None
    run = build(cfg)
    if saved is not None:
        run.restore(saved)
        if run.images >= run.total:
            raise UsageError(f"{saved.path} has all its {run.total:,} images; to go on, add images={2 * run.total}")
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.yaml").write_text(config.to_yaml(cfg), encoding="utf-8")
    setup_logging(run_dir / "log.txt")
    log.info("%s on %s, %s images -> %s", cfg.model._target_, run.runtime.device, f"{run.total:,}", run_dir)
    with ExitStack() as stack:
        stack.callback(run.loader.close)
        tracker = Tracker(run_dir, run.images)
        stack.callback(tracker.close)
        tracker.text("config", f"```yaml\n{config.to_yaml(cfg)}\n```")
        _loop(run, run_dir, tracker)
        final = {k: v for k, v in tracker.last.items() if k.startswith(("loss/", "eval/"))}
        tracker.hparams(_flat(cfg), final)
        return final


def _loop(run: Run, run_dir: Path, tracker: Tracker) -> None:
    """Step until all images are seen: maintenance first, the exit in the middle, the step last."""
    cfg, batch_size = run.cfg, run.cfg.batch_size
    log_due, save_due, grid_due, eval_due = (
        Every(group.every, run.images) for group in (cfg.log, cfg.checkpoint, cfg.samples, cfg.eval)
    )
    if run.images == 0 and cfg.samples.every:
        _write_grid(run, run_dir, tracker)
    with ExitStack() as stack:
        progress = RunProgress(run.total, run.images)
        stack.callback(progress.close)
        stop = stack.enter_context(StopSignal())
        while True:
            done = run.images >= run.total or bool(stop.signum)
            if log_due(run.images, done):
                rate = progress.rate(run.images)
                extra = {"runtime/images_per_s": rate, **run.runtime.memory()}
                means = tracker.tick(run.images, extra | {k: v for s in run.steps for k, v in s.rates().items()})
                progress.tick(run.images, rate, means)
            if grid_due(run.images, done) and not stop.signum:
                _write_grid(run, run_dir, tracker)
            if eval_due(run.images, done) and not stop.signum:
                progress.score = _evaluate(run, run_dir, tracker)
            if save_due(run.images, done) or done:
                _save(run, run_dir / checkpoint.FOLDER / checkpoint.name(run.images))
                checkpoint.prune(run_dir, cfg.checkpoint.keep)
            if done:
                break
            _advance(run, tracker, measure=run.images + batch_size >= log_due.next)
    if stop.signum:
        raise Interrupted(
            stop.signum, f"stopped and saved at {run.images:,} images; go on with: gancli train resume={run_dir}"
        )


def _advance(run: Run, tracker: Tracker, *, measure: bool) -> None:
    """Do one step of every phase. Nothing here waits for the device."""
    batch, drawn = None, 0
    rates = run.schedule(run.images, run.total)
    for step in run.steps:
        step.set_rates(rates)
        for i in range(step.phase.repeat):
            if batch is None or i:  # the first batch serves all phases; n_critic's further updates get their own
                batch = run.loader.next(run.images / run.total)
                drawn += len(batch.image)
            tracker.add(step(batch, measure=measure))
    run.images += drawn
    run.ema.update(drawn, run.images)


def _save(run: Run, path: Path) -> None:
    """Write a checkpoint, but never one that could not be resumed from."""
    for name, net in run.model.named_children():
        if not all(torch.isfinite(p).all() for p in net.parameters()):
            raise TrainingDiverged(f"weights of {name} are not finite at {run.images:,} images")
    checkpoint.save(path, run.state())


def _write_grid(run: Run, run_dir: Path, tracker: Tracker) -> None:
    """Write the sample grid: always the same latents, so that grids can be compared."""
    with runtime.undisturbed(), run.ema.sampling() as model:
        drawn = torch.cat(list(draw(model, run.cfg.samples.n, seed=run.cfg.seed, batch_size=run.cfg.batch_size)))
    picture = make_grid(drawn)
    save_png(run_dir / "samples" / f"{run.images:012d}.png", picture)
    tracker.image("samples", picture, run.images)


def _evaluate(run: Run, run_dir: Path, tracker: Tracker) -> str:
    """Score the averaged model on the reference split, keep the best checkpoint, and return a few words for the bar."""
    settings = run.cfg.eval
    with runtime.undisturbed(), run.ema.sampling() as model:
        values = score(
            model, run.reference, run.features, n=settings.n, seed=run.cfg.seed, batch_size=run.cfg.batch_size,
            device=run.runtime.device, metrics=settings.metrics,
        )  # fmt: skip
    tracker.write(run.images, {f"eval/{key}": value for key, value in values.items()})
    value = values[settings.best]
    better = run.best is None or (value > run.best if settings.best == "is" else value < run.best)
    if better:
        run.best = value
        _save(run, run_dir / checkpoint.FOLDER / checkpoint.BEST)
    text = "  ".join(f"{key} {value:.4g}" for key, value in values.items())
    log.info("%s images: %s on %s%s", f"{run.images:,}", text, settings.split, " (best)" if better else "")
    return text


def build(cfg: Any) -> Run:
    """Build every part of a run; what may fail fails here, before the first file is written.

    Raises:
        UsageError: missing data, a loss of another family, sizes that do not fit, no CUDA.
    """
    machine = Runtime.from_config(cfg.runtime)
    torch.manual_seed(cfg.seed)
    source, loader_options = config.build_data(cfg.data, trust=cfg.trust)
    images = source.split("train")
    model = config.instantiate(cfg.model, Model, trust=cfg.trust, spec=images.spec)
    loss = config.instantiate(cfg.loss, Loss, trust=cfg.trust)
    if not isinstance(model, loss.family):
        raise UsageError(_wrong_family(model, loss, cfg))
    if not cfg.resume:
        model.fit_data(torch.from_numpy(images.pixels[:: -(-len(images) // 60_000)]))
    machine.place(model), loss.to(machine.device)
    optimizer = config.instantiate(
        {k: v for k, v in cfg.optimizer.items() if k != "overrides"}, torch.optim.Optimizer, trust=cfg.trust
    )
    schedule = config.instantiate(cfg.schedule, Schedule, trust=cfg.trust)
    steps = _steps(cfg, model, loss, optimizer, machine)
    reference, features = _evaluation(cfg, source, images, machine) if cfg.eval.every else (None, None)
    loader = Loader(images, cfg.batch_size, device=machine.device, seed=cfg.seed, **loader_options)
    total = cfg.images if cfg.epochs is None else cfg.epochs * len(images)
    ema = EMA(model, cfg.ema.half_life)
    return Run(cfg, machine, source, loader, model, loss, schedule, steps, ema, total, reference, features)


def _evaluation(cfg: Any, source: Source, images: Images, machine: Runtime) -> tuple[Images, Features]:
    """Get ready to score on the way: the reference split, and the features, trained or loaded."""
    check_metrics(cfg.eval.metrics, cfg.eval.n)
    if cfg.eval.best not in cfg.eval.metrics:
        raise UsageError(f"eval.best={cfg.eval.best} is none of eval.metrics=[{','.join(cfg.eval.metrics)}]")
    reference = source.split(cfg.eval.split)
    features = config.instantiate(cfg.features, Features, trust=cfg.trust)
    features.prepare(lambda: images, machine.device)
    return reference, features


def _steps(cfg: Any, model: Model, loss: Loss, optimizer: Any, machine: Runtime) -> list[Step]:
    """Make the steps of all phases, refusing optimizer overrides for networks that no phase updates."""
    phases = loss.phases(model)
    networks = sorted({name for phase in phases for name in phase.networks})
    overrides = {name: dict(values) for name, values in cfg.optimizer.overrides.items()}
    for name in overrides:
        if name not in networks:
            raise UsageError(f"optimizer.overrides.{name}: the loss trains no network of this name; it trains {', '.join(networks)}")
    return [
        Step(model, phase, optimizer, machine, overrides=overrides, accumulate=cfg.accumulate, clip=cfg.clip)
        for phase in phases
    ]


def _wrong_family(model: Model, loss: Loss, cfg: Any) -> str:
    families = {name: config.target_class(node, Loss, trust=cfg.trust).family for name, node in config.options("loss").items()}
    fitting = [name for name, family in families.items() if isinstance(model, family)]
    return (
        f"{type(loss).__name__} trains {loss.family.__name__} models, and {type(model).__name__} is none; "
        f"its losses are: {', '.join(fitting) or 'none'} (loss=...)"
    )


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten a nested config to dotted keys; lists become text."""
    flat = {}
    for key, value in node.items():
        flat |= _flat(value, f"{prefix}{key}.") if hasattr(value, "items") else {f"{prefix}{key}": value}
    return flat
