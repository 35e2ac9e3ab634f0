"""What trials are compared by: a value of the evaluations on the validation split, and when those are made."""

from typing import Any, NamedTuple

from gancli.errors import UsageError
from gancli.metrics.registry import METRICS, choosing, metrics_named
from gancli.metrics.scoring.base import known_better
from gancli.verbs.tune.study import Settings


class Objective(NamedTuple):
    """How the trials of a search are measured.

    Args:
        settings: of the study.
        words: the settings of a trial that measure it.
        told: both, for the user.
    """

    settings: Settings
    words: list[str]
    told: str


def chosen(cfg: Any, *, often: bool) -> Objective:
    """Return the objective of a checked config. A metric that measures it is added where none of ``eval.metrics`` does.

    Args:
        cfg: the config that trials share.
        often: whether ``eval.every`` says when trials are evaluated, and not ``evaluations``.

    Raises:
        UsageError: no metric has such a value, or neither more nor less of it is better; ``epochs`` without
            ``eval.every``.
    """
    if cfg.epochs is not None and not often:
        raise UsageError(f"epochs={cfg.epochs}: evaluations are counted in images; give images=... or eval.every=...")
    name, metrics = cfg.objective or cfg.eval.best, list(cfg.eval.metrics)
    if name not in _values(metrics, cfg) and name not in known_better():
        metrics += [each.name for each in METRICS.values() if name in (each.name, *each.values)][:1]
    try:
        better = choosing(name, metrics_named(metrics, cfg.trust), known_better())
    except UsageError as error:
        raise UsageError(str(error).replace("eval.best=", "objective=")) from None
    value = name if name in better else next(iter(better))
    every = cfg.eval.every if often else max(1, cfg.images // cfg.evaluations)
    if not every:
        raise UsageError("eval.every=0: trials are compared by their evaluations; omit it")
    number = cfg.evaluations if cfg.epochs is not None else max(1, cfg.images // every)
    settings = Settings(
        objective=value, higher=bool(better[value]), trials=cfg.trials, sampler=cfg.sampler, pruner=cfg.pruner,
        every=every, evaluations=number, seed=cfg.seed,
    )  # fmt: skip
    words = [
        f"eval.metrics=[{','.join(metrics)}]",
        f"eval.best={value}",
        f"eval.every={every}",
        "eval.split=validation",
    ]
    held = cfg.data.get("validation")
    part = "" if held is None else f" (data.validation={held})"
    told = (
        f"gancli: {'more' if settings.higher else 'less'} {value} is better, on the validation split{part} every "
        f"{every:,} images; the test split is not used"
    )
    return Objective(settings, words, told)


def _values(metrics: list[str], cfg: Any) -> set[str]:
    """Return what metrics give, and their names."""
    return {key for each in metrics_named(metrics, cfg.trust) for key in (each.name, *each.values)}
