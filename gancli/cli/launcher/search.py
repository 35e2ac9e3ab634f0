"""The sweeper of gancli tune: trials that a study proposes, as jobs of the launcher, given up while they train.

gancli tune model=dcgan data=mnist space=gan_lr trials=30
"""

import math
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from gancli.cli import status, sweep
from gancli.cli.launcher.board import Lines
from gancli.cli.launcher.plugin import SlotLauncher
from gancli.cli.launcher.pool import Child, Pool
from gancli.config import space
from gancli.errors import UsageError, counted
from gancli.structure import read_rows
from gancli.verbs.tune.verb import folder_name

if TYPE_CHECKING:  # importing Optuna takes a second
    from gancli.verbs.tune.study import Study, Trial

HISTORY = "metrics.jsonl"
HOPELESS = 3  # so many trials fail, and none is well: the settings that all share are wrong


class Trials:
    """Passes what the jobs do on to the study, and to what shows them; see pool.Listener.

    Args:
        study: is told the evaluations while a trial trains, and its end.
        lines: show the jobs.
    """

    def __init__(self, study: "Study", lines: Lines) -> None:
        self.study, self.lines = study, lines
        self.seen: dict[str, tuple[int, int]] = {}  # folder -> what its history was when it was read last
        self.pruned: dict[str, str] = {}  # folder -> what it was given up for
        self.well = self.ill = 0
        lines.states.update(study.ended())

    def begun(self, child: Child) -> None:
        self.lines.begun(child)

    def said(self, child: Child, line: str) -> None:
        self.lines.said(child, line)

    def passed(self) -> None:
        """It is counted where it is settled."""

    def look(self, running: list[Child]) -> None:
        """Read what is new in the histories, and stop those that the study gives up."""
        for child in running:
            if child.name not in self.pruned and self._is_bad(child):
                child.ask(signal.SIGTERM)
        self.lines.look(running)

    def _is_bad(self, child: Child) -> bool:
        file = child.folder / HISTORY
        try:
            found = file.stat()
        except OSError:  # it has just begun
            return False
        if self.seen.get(child.name) == (found.st_mtime_ns, found.st_size):
            return False
        self.seen[child.name] = found.st_mtime_ns, found.st_size
        values = evaluations(child.folder, self.study.settings.objective)
        if not self.study.report(number_of(child.folder), values):
            return False
        last = max(values)
        self.pruned[child.name] = f"{self._named(values[last])} after {last:,} images"
        return True

    def ended(self, child: Child, state: str, error: str | None) -> None:
        """Tell the study how a trial ended; one that was interrupted is gone on with by the next command."""
        if note := self.pruned.get(child.name):
            state = "pruned"
            if (own := status.read(child.folder)) and own["state"] != "done":
                status.write(child.folder, own | {"error": f"pruned: {note}"})
        else:
            state, note = self.settled(child.folder)
        self.lines.ended(child, state, error, note)

    def settled(self, folder: Path) -> tuple[str, str]:
        """Tell the study the end of a trial that its folder records; return its state, and its value in words."""
        number, own = number_of(folder), status.read(folder)
        if own is None or own["state"] not in ("done", "failed"):
            return "interrupted", ""
        name = self.study.settings.objective
        if own["state"] == "failed" or not math.isfinite(own["metrics"].get(f"eval/{name}", math.nan)):
            self.study.failed(number)
            self.ill += 1
            return "failed", ""
        value = float(own["metrics"][f"eval/{name}"])
        self.study.note(number, evaluations(folder, name))  # it may have ended before anybody looked
        self.study.done(number, value)
        self.well += 1
        best = self.study.best()
        assert best is not None  # this one, if no other
        return "done", f"{self._named(value)}, the best is {folder_name(best.number)}"

    def _named(self, value: float) -> str:
        return f"{self.study.settings.objective} {value:.4g}"

    def check(self) -> None:
        """Refuse to go on where every trial fails. Raises UsageError."""
        if self.ill >= HOPELESS and not self.well:
            raise UsageError(
                f"all of {counted(self.ill, 'trial')} failed; mend what they say, then begin with {sweep.ANEW}"
            )


class SearchSweeper(Sweeper):
    """Asks a study for values, and trains with them.

    Args:
        settings: see study.Settings.
    """

    __module__ = "hydra_plugins.gancli"  # Hydra takes sweepers from this package alone, see plugin.register()

    def __init__(self, **settings: Any) -> None:
        from gancli.verbs.tune.study import Settings

        self.settings = Settings(**settings)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.composed, self.folder = config, Path(config.hydra.sweep.dir)
        plugins = Plugins.instance()
        launcher = plugins.instantiate_launcher(hydra_context=hydra_context, task_function=task_function, config=config)
        self.jobs = cast(SlotLauncher, launcher)

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until there are as many as wanted.

        Raises:
            UsageError: the folder holds another search, or every trial fails.
            SystemExit: a signal asked to stop; all trials have ended by then.
        """
        from gancli.verbs.tune.study import FILE, Study

        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.composed, self.folder / sweep.RECORD)
        shared, axes = space.split(arguments)
        study = Study(axes, self.settings, self.folder / FILE)
        width = max(map(len, axes))
        print(*(f"gancli: {key:<{width}}  {axis.told()}" for key, axis in axes.items()), sep="\n", flush=True)
        made: list[Trials] = []

        def heard(lines: Lines) -> Trials:
            made.append(Trials(study, lines))
            return made[0]

        with self.jobs.opened(int(min(self.settings.trials, study.size)), "trial", heard) as pool:
            train = partial(self._train, pool, made[0], shared)
            _run(study, pool, made[0], train)

    def _train(self, pool: Pool, trials: Trials, shared: list[str], trial: "Trial") -> None:
        """Begin a trial, or go on with one; tell the study at once of one that is done, or wrong."""
        self.jobs.begin(pool, trial.number, [*shared, *trial.words], folder_name(trial.number))
        folder = self.folder / folder_name(trial.number)
        if all(child.folder.name != folder.name for child in pool.running):
            trials.lines.states[trials.settled(folder)[0]] += 1


def _run(study: "Study", pool: Pool, trials: Trials, train: Callable[["Trial"], None]) -> None:
    """Train what an earlier command had begun, and then what the study proposes, each when a slot is free."""
    for trial in study.begun():
        if pool.free():
            train(trial)
    while pool.free():
        trials.check()
        asked = study.ask()
        if asked is None:
            return
        train(asked)


def evaluations(folder: Path, objective: str) -> dict[int, float]:
    """Return the values of the objective in the history of a run, by the images seen."""
    key = f"eval/{objective}"
    return {row["images"]: float(row[key]) for row in read_rows(folder / HISTORY) if key in row}


def number_of(folder: Path) -> int:
    """Return the number of the trial in a folder, see folder_name()."""
    return int(folder.name.rpartition("-")[2])
