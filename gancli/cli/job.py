"""One job of a command line: from a composed config to a verb, its status.json, and its errors in one line."""

import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gancli import __version__
from gancli.cli.explain import explain, out_of_memory
from gancli.errors import Interrupted, RankLost, Terminated, TrainingDiverged, UsageError
from gancli.training import place
from gancli.verbs import VERBS
from gancli.verbs.base import processes

if TYPE_CHECKING:
    from gancli.cli import status


GRACE = 2  # seconds that torchrun has to end this process when the first one has failed


@dataclass
class Job:
    """The function that Hydra calls with a composed config, once per job of a sweep; launchers may pickle it."""

    verb: str
    resumed: Any = None  # config of the run that is resumed
    called: bool = False
    error: BaseException | None = None  # what ended it
    metrics: dict[str, float] = field(default_factory=dict)  # what the verb returned
    folder: Path = field(default_factory=Path)  # of the job
    config: Any = None  # checked
    quiet: bool = False  # errors are not printed
    only_config: bool = False  # the verb is not run
    shown: Any = None  # what is shown of the config instead: cli.shown.Shown
    rank: int = 0  # of this process among those that torchrun started
    handed: bool = False  # a job of a sweep is run by another process; here it is only found out whether it has to be

    def __getstate__(self) -> dict[str, Any]:
        from gancli.config import composition

        # A cluster's requeued job begins anew.
        begun: dict[str, Any] = {"called": False, "error": None, "metrics": {}, "config": None}
        return self.__dict__ | begun | {"swept": composition.SweepFolder.swept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from gancli.cli.launcher import child
        from gancli.config import composition

        child.follow_parent()
        composition.setup(state["verb"])  # a parallel launcher's worker process has not called it yet
        composition.SweepFolder.swept = state.pop("swept")
        self.__dict__.update(state)

    def __call__(self, cfg: Any) -> dict[str, Any] | float | None:
        """Check the config, run the verb, update status.json and report errors; only a signal ends a sweep early.

        Returns:
            The status of a job that another process is to run; of others the value that sweepers optimise, if it has
            one, see given().
        """
        from gancli.cli import status
        from gancli.config import composition
        from gancli.training import guard

        self.called = True
        job = composition.JobInfo.current()
        self.folder = job.folder
        if self.rank:
            self._join_in(cfg, job)
            return None
        sweeps = job.number is not None
        facts: dict[str, Any] = {"verb": self.verb, "overrides": job.overrides, "choices": job.choices}
        facts |= {"job": job.number, "swept": job.swept, "version": __version__}
        record = status.Record(job.folder, facts, kept=VERBS[self.verb].makes_runs or sweeps)
        try:
            with contextlib.nullcontext() if self.handed else guard.terminable():  # who hands it on catches signals
                return self._run(cfg, job, record)
        except (Exception, KeyboardInterrupt) as error:
            code, self.error = verdict(error, cfg)[1] if self.quiet else report(error, cfg), error
            # A resumed run that ran out of memory had begun; one with wrong settings had not.
            began = sweeps or code != 2 or (record.before is not None and not isinstance(error, UsageError))
            if began or not record.withdraw():
                state = "interrupted" if code > 128 else "failed"
                record.end(state, error=_told(error))
            _hand_on(code - 128)
            if not sweeps or code > 128:  # a failed job does not end its sweep
                raise SystemExit(code) from error
            return None

    def _run(self, cfg: Any, job: Any, record: "status.Record") -> dict[str, Any] | float | None:
        from gancli import config
        from gancli.cli import saved

        sweeps = job.number is not None
        if record.before and record.kept and not sweeps and self.resumed is None:
            raise UsageError(f"{job.folder} already holds a run; continue it with resume=, or choose another folder")
        if self.shown:
            print(f"# job {job.number}: {' '.join(job.overrides)}", flush=True)
        checked = self.config = config.check(cfg)
        if self.resumed is not None:
            saved.check_resumed(checked, self.resumed)
            record.go_on()
        config.check_used(job.overrides, VERBS[self.verb].without_effect(checked))
        if self.shown:
            print(self.shown.text(cfg), flush=True)
        if self.only_config or self.shown:
            record.withdraw()
            return None
        digest = config.digest(checked)
        if sweeps and record.is_done(digest):
            print(f"gancli: job {job.number} is already done: {job.folder}", flush=True)
            return None if self.handed else given(record.before, best_of(checked))
        if self.handed:
            return record.values | {"config": digest}
        if sweeps:
            begun = VERBS[self.verb].makes_runs and record.is_half_done(digest)
            if begun:
                checked.resume = str(job.folder)
            print(f"gancli: job {job.number}{' goes on' * begun}: {' '.join(job.overrides)}", flush=True)
        record.begin(digest)
        gc.enable()
        metrics = self._work(checked, job)
        self.metrics = {key: float(value) for key, value in metrics.items()}
        record.end("done", metrics=self.metrics)
        return given(record.values, best_of(checked))

    def _work(self, cfg: Any, job: Any) -> dict[str, float]:
        """Run the verb, in as many processes as the config asks for; torch is imported here and not before."""
        verb, torchrun = VERBS[self.verb], place.started(os.environ)
        number = processes(cfg.runtime) if verb.parallel else 1
        if torchrun.world == 1 and number > 1:
            from gancli.cli import ranks

            return ranks.run(["gancli", self.verb, *job.overrides], verb, cfg, self.folder, number)
        if number not in (1, here := int(os.environ.get("LOCAL_WORLD_SIZE", torchrun.world))):
            raise UsageError(
                f"the config asks for {number} processes, but torchrun started {here}; add runtime.processes=1 "
                "runtime.gpus=null"
            )
        return verb.run(cfg, self.folder)

    def _join_in(self, cfg: Any, job: Any) -> None:
        """Work as one of the processes that torchrun started, not the first, which records the run and speaks of it."""
        from gancli import config
        from gancli.training import guard

        checked = None
        try:
            with guard.terminable():
                checked = config.check(cfg)
                self._work(checked, job)
        except (Exception, KeyboardInterrupt) as error:
            # What is wrong with the settings is wrong with those of the first process, too, which says so.
            told = isinstance(error, (Interrupted, TrainingDiverged, RankLost, KeyboardInterrupt))
            if told or (checked is None and isinstance(error, UsageError)):
                raise SystemExit(verdict(error, cfg)[1]) from error
            if isinstance(error, UsageError):
                time.sleep(GRACE)  # the first process has probably failed alike; torchrun ends this one then
            print(f"gancli: of process {self.rank + 1}:", file=sys.stderr)
            raise SystemExit(report(error, cfg)) from error


def given(values: Mapping[str, Any] | None, best: str | None) -> float | None:
    """Return what sweepers such as Optuna's optimise: the last value of ``eval.best`` of a job that is done.

    Args:
        values: the job's status.
        best: its ``eval.best``; None: it has none.
    """
    found = values["metrics"].get(f"eval/{best}") if values and values["state"] == "done" and best else None
    return None if found is None else float(found)


def best_of(cfg: Any) -> str | None:
    """Return the value of the evaluations that chooses the best checkpoint of a run; None for other verbs."""
    return (cfg.get("eval") or {}).get("best")


def _hand_on(signum: int) -> None:
    """Let what had a handler of a signal before the job caught it have its turn, now that the run is saved.

    submitit's requeues the job of a cluster, which resumes then.
    """
    handler = signal.getsignal(signum) if signum in (signal.SIGUSR1, signal.SIGUSR2) else None
    if callable(handler):
        handler(signum, None)


def _told(error: BaseException) -> str:
    """Return an error as status.json holds it, in one line; the state says already that a run was interrupted."""
    kind = "" if isinstance(error, Interrupted) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())


def report(error: BaseException, cfg: Any = None) -> int:
    """Print one line for an error that can be explained, else its traceback, and return the exit code."""
    line, code = verdict(error, cfg)
    if line is None or os.environ.get("GANCLI_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    if line is not None:
        print(f"gancli: {line}", file=sys.stderr, flush=True)
    return code


def verdict(error: BaseException, cfg: Any) -> tuple[str | None, int]:
    if isinstance(error, UsageError):
        return str(error), 2
    if isinstance(error, RankLost):
        return str(error), 1
    if isinstance(error, TrainingDiverged):
        return str(error), 3
    if isinstance(error, Interrupted):
        return str(error), 128 + error.signum
    if isinstance(error, Terminated):
        return f"interrupted: {error}", 128 + error.signum
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 128 + signal.SIGINT
    line = out_of_memory(error, cfg) or explain(error)
    return line, 1 if line is None else 2
