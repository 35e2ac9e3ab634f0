"""Commands for programs: the path of the command line, with errors that are raised instead of printed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gancli.cli import command, several
from gancli.cli.job import Job, verdict
from gancli.errors import Interrupted, TrainingDiverged, UsageError, did_you_mean
from gancli.verbs import VERBS


def call(verb: str, overrides: Sequence[str], *, only_config: bool = False) -> Job:
    """Run a command for a program: the job that ran is returned, and errors are raised instead of printed.

    Args:
        verb: name of the command.
        overrides: its settings, and bare words if it takes any.
        only_config: compose and check the config, and run nothing.

    Raises:
        UsageError: what the command would explain in one line.
        TrainingDiverged, Interrupted: as the verb raises them.
    """
    jobs = call_each(verb, overrides, only_config=only_config)
    if len(jobs) > 1:
        raise UsageError(f"{len(jobs)} checkpoints are named; call it once for each of them")
    return next(iter(jobs.values()))()


def call_each(
    verb: str, overrides: Sequence[str], *, only_config: bool = False
) -> dict[Path | None, Callable[[], Job]]:
    """Return a function that runs the command as call() does, for each of the checkpoints that are named.

    Returns:
        Functions by what they score: a run or a checkpoint; None where none is named, or the verb takes one only.

    Raises:
        UsageError: what the command would explain in one line.
    """
    if verb not in VERBS:
        raise UsageError(f"no verb {verb!r}{did_you_mean(verb, VERBS)} (allowed: {', '.join(VERBS)})")
    with _explained():
        flags, settings = command.split(verb, overrides)
        if flags:
            raise UsageError(f"{flags[0]} is only for the command line; give settings such as 'seed=1'")
        named = dict[Path | None, list[str]](several.each(VERBS[verb], settings, multirun=False))
    return {path: partial(_once, verb, own, only_config) for path, own in (named or {None: settings}).items()}


def _once(verb: str, settings: list[str], only_config: bool) -> Job:
    job = Job(verb, quiet=True, only_config=only_config)
    with _explained(job):
        command.once(job, [], settings)
        if job.error:
            raise job.error
    return job


@contextmanager
def _explained(job: Job | None = None) -> Iterator[None]:
    """Raise errors that the command would explain in one line as UsageErrors with that line."""
    try:
        yield
    except (UsageError, TrainingDiverged, Interrupted):
        raise
    except Exception as error:
        line, _ = verdict(error, job.config if job else None)
        if line is None:
            raise
        raise UsageError(line) from error
