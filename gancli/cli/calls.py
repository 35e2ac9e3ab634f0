"""Commands for programs: the path of the command line, with errors that are raised instead of printed."""

from collections.abc import Sequence

from gancli import cli
from gancli.cli import several
from gancli.errors import Interrupted, TrainingDiverged, UsageError, did_you_mean
from gancli.verbs import VERBS


def call(verb: str, overrides: Sequence[str], *, only_config: bool = False) -> cli.Job:
    """Run a command for a program: the job that ran is returned, and errors are raised instead of printed.

    Args:
        verb: name of the command.
        overrides: its settings, and bare words if it takes any.
        only_config: compose and check the config, and run nothing.

    Raises:
        UsageError: what the command would explain in one line.
        TrainingDiverged, Interrupted: as the verb raises them.
    """
    if verb not in VERBS:
        raise UsageError(f"no verb {verb!r}{did_you_mean(verb, VERBS)} (allowed: {', '.join(VERBS)})")
    job = cli.Job(verb, quiet=True, only_config=only_config)
    try:
        flags, settings = cli.split(verb, overrides)
        if flags:
            raise UsageError(f"{flags[0]} is only for the command line; give settings such as 'seed=1'")
        named = several.each(VERBS[verb], settings, multirun=False)
        if len(named) > 1:
            raise UsageError(f"{len(named)} checkpoints are named; call it once for each of them")
        cli.once(job, flags, named[0][1] if named else settings)
        if job.error:
            raise job.error
    except (UsageError, TrainingDiverged, Interrupted):
        raise
    except Exception as error:
        line, _ = cli.verdict(error, job.config)
        if line is None:
            raise
        raise UsageError(line) from error
    return job
