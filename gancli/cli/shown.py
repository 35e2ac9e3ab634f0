"""``gancli train -m ... --cfg job``: the configs of a sweep's jobs, each checked as if it were run.

Hydra takes either flag. Here the sweep runs in a folder that nobody keeps, and its jobs print their configs.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from gancli.cli import sweep
from gancli.errors import UsageError


class Shown(NamedTuple):
    """What is shown of a job's config.

    Args:
        package: the node; None: all of it.
        resolve: whether interpolations are replaced by what they stand for.
    """

    package: str | None
    resolve: bool

    def text(self, cfg: Any) -> str:
        """Return what Hydra's ``--cfg job`` prints. Raises UsageError if there is no such node."""
        from gancli.config import composition

        return composition.shown(cfg, self.package, resolve=self.resolve)


def of_jobs(flags: Sequence[str]) -> Shown | None:
    """Return what the flags show of each job of a sweep; None: they run a job or jobs, or show one.

    Raises:
        UsageError: they ask for Hydra's own config, which is that of the sweep.
    """
    if not {"--cfg", "--multirun"} <= set(flags):
        return None
    if (what := flags[flags.index("--cfg") + 1]) != "job":
        raise UsageError(f"-m --cfg {what}: of a sweep's jobs only --cfg job is shown; use that, or leave -m out")
    package = flags[flags.index("--package") + 1] if "--package" in flags else None
    return Shown(None if package == "_global_" else package, "--resolve" in flags)


@contextmanager
def elsewhere(settings: Sequence[str]) -> Iterator[list[str]]:
    """Yield the settings of a sweep with a folder that is removed, so that they touch no sweep that is there."""
    with tempfile.TemporaryDirectory() as place:
        own = {sweep.FOLDER: place, sweep.LAUNCHER: "basic"}
        launching = ("sweep=", "launcher.", "hydra.launcher.")
        kept = [word for word in settings if word.partition("=")[0] not in own and not word.startswith(launching)]
        yield [*kept, *(f"{key}={value}" for key, value in own.items())]
