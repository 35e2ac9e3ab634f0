"""One command line of a verb: its words, the config that Hydra composes of them, and the job or sweep that it runs."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

from gancli.cli import arguments
from gancli.cli.job import Job, report, verdict
from gancli.errors import UsageError
from gancli.training import place
from gancli.verbs import VERBS

if TYPE_CHECKING:
    from gancli.cli import search


def run(verb: str, argv: list[str]) -> int:
    """Let Hydra compose the config and run a verb; all of Hydra's own flags are supported."""
    flags, settings = split(verb, argv)
    if (here := place.started(os.environ)).world > 1:
        return _one_of_several(verb, here, flags, settings)
    asks = "--help" in flags or "--shell-completion" in flags
    if VERBS[verb].searches and not asks:
        from gancli.cli import search

        return search.run(VERBS[verb], flags, settings)
    if asks or not VERBS[verb].several:
        return once(Job(verb), flags, settings)
    from gancli.cli import several  # imports Hydra: late, so that help and unknown verbs respond at once

    named = several.each(VERBS[verb], settings, multirun="--multirun" in flags)
    if len(named) < 2:
        return once(Job(verb), flags, named[0][1] if named else settings)
    _refuse_for_all(verb, flags, [own for _, own in named])
    ended, code, told = [], 0, set[str | None]()
    for path, own in named:
        print(f"gancli: {path}", flush=True)
        job = Job(verb, quiet=True)
        try:
            code = once(job, flags, own)
        except (Exception, KeyboardInterrupt) as error:
            code, job.error = verdict(error, job.config)[1], error
        if job.error and ((line := verdict(job.error, job.config)[0]) is None or line not in told):
            told.add(line)
            report(job.error, job.config)
        ended.append(several.Ended(path, job.metrics, " ".join(str(job.error).split()) if job.error else None))
        if code > 128:
            break
    if "--cfg" not in flags and "--info" not in flags:
        print(several.table(ended))
    return code if code > 128 else 2 * any(each.error for each in ended)


def _refuse_for_all(verb: str, flags: list[str], each: Sequence[list[str]]) -> None:
    """Refuse settings that are wrong alike for every checkpoint, before the first. Raises UsageError."""
    if not (first := _wrong(verb, flags, each[0])):
        return
    # What is allowed instead depends on the model.
    said = lambda line: re.split(r"; did you mean| \(allowed: ", line or "")[0]  # noqa: E731
    if all(said(_wrong(verb, flags, own)) == said(first) for own in each[1:]):
        raise UsageError(first)


def _wrong(verb: str, flags: list[str], settings: list[str]) -> str | None:
    """Return what is wrong with the config of one command line, in one line; None: nothing that is known yet."""
    job = Job(verb, quiet=True, only_config=True)
    try:
        once(job, arguments.without_config(flags), settings)
    except Exception as error:  # of composing
        job.error = error
    return verdict(job.error, None)[0] if job.error else None


def _one_of_several(verb: str, own: place.Group, flags: list[str], settings: list[str]) -> int:
    """Run a command line in one of the processes that torchrun started, all of which write into one folder."""
    from gancli.training import ranks

    try:
        settings = _together(verb, flags, settings)
        from gancli.config import naming

        ranks.join(own)
        naming.Stamp.agreed = ranks.agreed(naming.stamp())
        code = once(Job(verb, rank=own.rank), flags, settings)
    except UsageError:  # the command line is that of all processes, the first of which speaks of it
        if own.rank == 0:
            raise
        return 2
    if not code:
        ranks.leave()
    return code


def _together(verb: str, flags: list[str], settings: list[str]) -> list[str]:
    """Return the settings of a command that torchrun has started. Raises UsageError for one that it cannot start."""
    what = f"gancli {verb}{''.join(f' {flag}' for flag in flags)}"
    if flags or not VERBS[verb].parallel:
        raise UsageError(f"{what} runs in one process; start it without torchrun, or unset WORLD_SIZE")
    if not VERBS[verb].several:
        return settings
    from gancli.cli import several

    named = several.each(VERBS[verb], settings, multirun=False)
    if len(named) > 1:
        raise UsageError(f"{what} takes one checkpoint under torchrun; name one, or use runtime.gpus=2 instead")
    return named[0][1] if named else settings


def split(verb: str, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    own = VERBS[verb]
    keys = [each.name for each in fields(own.keys)]
    return arguments.split(list(argv), bare=own.bare, paths=own.paths(), keys=keys)


def once(job: Job, flags: list[str], settings: list[str], searches: "search.Search | None" = None) -> int:
    """Let Hydra compose the config of one command line, run its job or its sweep of jobs, and return the exit code.

    Args:
        job: is called once, or for each job of a sweep.
        flags: Hydra's own.
        settings: the overrides.
        searches: finds the values of a sweep on the way, and tells its end.
    """
    import hydra

    from gancli.cli import saved, shown, sweep
    from gancli.cli.launcher import plugin
    from gancli.config import composition, mended

    verb = job.verb
    if asked := shown.of_jobs(flags):
        job.shown = asked
        with shown.elsewhere(settings) as own:
            return once(job, arguments.without_config(flags), own)
    if arguments.shows_config(flags):  # Hydra shows the config of a job without calling it
        code = once(Job(verb, quiet=job.quiet, only_config=True), arguments.without_config(flags), settings)
        if code:
            return code
    typed = [verb, *("-m" if flag == "--multirun" else flag for flag in flags), *settings]
    settings, new = sweep.own_words(settings, multirun="--multirun" in flags)
    held = contextlib.ExitStack()
    opens = partial(plugin.opened, verb=VERBS[verb], held=held, sweeper=searches.sweeper() if searches else None)
    composition.SweepFolder.reset(kind="tune" if searches else "sweep", new=new, opens=opens)
    plugin.store()
    name = verb
    if "--help" in flags or "--shell-completion" in flags:
        composition.setup(verb)
    else:
        name, settings, job.resumed = saved.prepare(VERBS[verb], settings, multirun="--multirun" in flags)
    arguments.refuse_repeated(settings)
    settings = composition.with_lists(job.verb, settings, sweep="--multirun" in flags)
    with _hydra_process([f"gancli {verb}", *flags, *settings]), mended.mended_hydra():
        try:
            hydra.main(config_path=str(composition.conf_dir()), config_name=name, **composition.MAIN)(job)()
            code = 0
        except composition.Refused as refused:
            raise refused.error from None
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            if code and not job.called:  # Hydra itself refused the command line
                code = 2
        finally:
            held.close()
            folder = composition.SweepFolder.folder
            any_job = folder is not None and sweep.keep(folder)
    if job.shown and job.called:
        return code or 2 * bool(job.error)
    if folder is not None and not any_job and not code:
        raise UsageError(f"the sweep has no jobs: nothing is in {' or '.join(filter(arguments.is_sweep, settings))}")
    if folder is None or not any_job:
        return code
    if searches is not None:
        return searches.report(folder, code)
    return max(code, sweep.report(folder, typed, stopped=code > 128))


@contextlib.contextmanager
def _hydra_process(argv: list[str]) -> Iterator[None]:
    """Give Hydra its argv and let its errors propagate; restore both settings on exit."""
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv, os.environ["HYDRA_FULL_ERROR"] = argv, "1"
    try:
        yield
    finally:
        sys.argv = before
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full
