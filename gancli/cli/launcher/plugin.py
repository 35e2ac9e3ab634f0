"""The launcher as Hydra knows it, and what happens when a sweep is opened: its folder is locked, its launcher chosen.

gancli train -m seed=1,2,3 launcher.slots=2
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.plugin import Plugin
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from gancli.cli import status, sweep
from gancli.cli.job import Job, best_of, given
from gancli.cli.launcher import slots
from gancli.cli.launcher.board import Lines, board
from gancli.cli.launcher.child import Task
from gancli.cli.launcher.pool import Listener, Pool
from gancli.config import composition
from gancli.errors import counted
from gancli.training.guard import locked
from gancli.verbs.base import Verb

_WHERE: dict[str, Any] = {"job_dir_key": "hydra.sweep.dir", "job_subdir_key": "hydra.sweep.subdir"}


class SlotLauncher(Launcher):
    """Runs the jobs of a sweep in processes of their own, as many at a time as the machine has slots.

    Args:
        slots: number of jobs at a time, or ``auto``, see slots.plan().
    """

    __module__ = "hydra_plugins.gancli"  # Hydra takes launchers from this package alone, see _register()

    def __init__(self, slots: int | str = slots.AUTO) -> None:
        self.slots = slots

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.job, self.config = hydra_context, cast(Job, task_function), config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; what each of them gave is in its status.json.

        Raises:
            SystemExit: a signal asked to stop; all jobs have ended by then.
        """
        returns = []
        with self.opened(len(job_overrides), "job") as pool:
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                if not pool.signum:
                    returns.append((self.begin(pool, number, list(overrides)), self.job.folder))
        for found, job_folder in returns:
            found.return_value = given(status.read(job_folder), best_of(found.cfg))
        return [found for found, _ in returns]

    @contextmanager
    def opened(
        self, number: int, what: str, heard: Callable[[Lines], Listener] = lambda lines: lines
    ) -> Iterator[Pool]:
        """Yield a pool for so many jobs, and wait for all that were begun.

        Args:
            number: of jobs, for the user.
            what: the jobs are called.
            heard: makes what listens to the jobs of what shows them.

        Raises:
            SystemExit: a signal asked to stop; all jobs have ended by then.
        """
        setup_globals()
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        shared = planned(self.config, self.slots)
        print(f"gancli: {counted(number, what)} in {folder}, {shared.told()}", flush=True)
        with board(number) as lines:
            pool = Pool(shared, heard(lines))
            with pool.open():
                yield pool
        if pool.signum:
            raise SystemExit(128 + pool.signum)

    def begin(self, pool: Pool, number: int, overrides: list[str], name: str | None = None) -> JobReturn:
        """Check a job here, where a wrong setting is told at once, and start it unless it is done or wrong.

        Args:
            pool: it runs there; without a free slot this waits for one.
            number: of the job.
            overrides: its settings.
            name: of its folder; None: what varies.
        """
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
            if name is not None:
                config.hydra.sweep.subdir = name
        self.job.handed = True
        found = run_job(hydra_context=self.context, task_function=self.job, config=config, **_WHERE)
        self.job.handed = False
        if facts := found.return_value:
            with read_write(config.hydra), open_dict(config.hydra):  # what was computed here need not be computed there
                config.hydra.sweep.dir, config.hydra.sweep.subdir = str(self.job.folder.parent), self.job.folder.name
            task = Task(["gancli", self.job.verb, *facts["overrides"]], replace(self.job, config=None), config)
            pool.start(self.job.folder, facts, task)
        else:
            pool.listener.passed()
        found.return_value = None
        return found


def run(task: Task) -> int:
    """Run a job in its own process; return 0, or 128 + n after a signal. An error of the job is recorded by then."""
    setup_globals()
    from hydra._internal.callbacks import Callbacks

    context = HydraContext(config_loader=cast(ConfigLoader, None), callbacks=Callbacks(task.config))  # is composed
    try:
        run_job(hydra_context=context, task_function=cast(TaskFunction, task.job), config=task.config, **_WHERE)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def store() -> None:
    """Make the launcher an option of Hydra's, ``hydra/launcher=gancli``; idempotent."""
    composition.store_launcher(sweep.OWN, _node())


def register(kind: type[Plugin]) -> None:
    """Let Hydra find a plugin by its name, whose module exists in memory only.

    This is left out where another launcher is used: it would look for that module in its processes.
    """
    plugins = Plugins.instance()  # has looked for installed plugins by now
    parent, _, name = kind.__module__.rpartition(".")
    try:
        package = import_module(parent)
    except ModuleNotFoundError:  # no plugin is installed
        package = sys.modules[parent] = ModuleType(parent)
    module = sys.modules.setdefault(kind.__module__, ModuleType(kind.__module__))
    setattr(package, name, module)
    setattr(module, kind.__name__, kind)
    plugins.register(kind)


def _node() -> dict[str, Any]:
    return {"_target_": f"{SlotLauncher.__module__}.{SlotLauncher.__name__}", "slots": slots.AUTO}


def planned(config: DictConfig, asked: int | str = slots.AUTO) -> slots.Slots:
    """Return how this machine is shared among jobs, by the settings of ``runtime`` that a sweep has for all of them."""
    keys = ("device", "threads", "processes", "gpus")
    device, threads, *several = (OmegaConf.select(config, f"runtime.{key}") for key in keys)
    processes = max((each for each in several if isinstance(each, int)), default=1)
    return slots.plan(asked, device=getattr(device, "name", device) or slots.AUTO, threads=threads, processes=processes)


def opened(
    config: DictConfig, folder: Path, *, verb: Verb, held: ExitStack, sweeper: Mapping[str, Any] | None = None
) -> None:
    """Lock the folder of a sweep before its first job, say if it is there already, and choose the launcher.

    Training takes gancli's own where there is more than one slot and nothing else was chosen, and so does a search,
    whose sweeper is given.

    Raises:
        UsageError: another process runs a sweep in this folder.
    """
    begun = sweep.is_begun(folder)
    held.enter_context(locked(folder))
    if begun:
        print(f"gancli: going on with the sweep in {folder}; {sweep.ANEW} begins another one", flush=True)
    typed = any(word.startswith(f"{sweep.LAUNCHER}=") for word in config.hydra.overrides.hydra)
    chosen = typed or config.hydra.runtime.choices[sweep.LAUNCHER] != "basic"
    if sweeper is not None:
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweeper = dict(sweeper)
    if verb.makes_runs and not chosen and (sweeper is not None or planned(config).number > 1):
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.launcher = _node()
    if config.hydra.launcher._target_ == _node()["_target_"]:
        register(SlotLauncher)
