"""The metrics by their names, and what can be asked of a list of them before the first image is drawn."""

from collections.abc import Mapping, Sequence

from gancli.errors import UsageError, did_you_mean
from gancli.metrics.base import Metric
from gancli.metrics.class_balance import ClassBalance
from gancli.metrics.density_coverage import DensityCoverage
from gancli.metrics.features import Features, Images, Pixels
from gancli.metrics.fid import FID
from gancli.metrics.fid_infinity import FIDInfinity
from gancli.metrics.fid_per_class import FIDPerClass
from gancli.metrics.inception_score import IS
from gancli.metrics.kid import KID
from gancli.metrics.memorisation import Memorisation
from gancli.metrics.modes import Modes
from gancli.metrics.nll import NLL
from gancli.metrics.parzen import Parzen
from gancli.metrics.precision_recall import PrecisionRecall

_ALL = (
    FID(), IS(), KID(), PrecisionRecall(), DensityCoverage(), FIDInfinity(), FIDPerClass(), ClassBalance(),
    Memorisation(), Parzen(), Modes(), NLL(),
)  # fmt: skip
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}  # a metric is a file and a word here


def check_metrics(names: Sequence[str], n: int | None) -> None:
    """Refuse unknown metrics, and too few images for one of them; n None is not looked at. Raises UsageError."""
    for name in names:
        if name not in METRICS:
            raise UsageError(
                f"metrics: no metric {name!r}{did_you_mean(name, METRICS)} (there are: {', '.join(METRICS)})"
            )
    if not names:
        raise UsageError(f"metrics is empty: name one or more of {', '.join(METRICS)}")
    least = max(METRICS[name].least for name in names)
    if n is not None and n < least:
        raise UsageError(f"n={n} images are too few for metrics=[{','.join(names)}]: n={least} or more")


def choosing(best: str, names: Sequence[str], also: Mapping[str, bool]) -> dict[str, bool | None]:
    """Return what ``eval.best`` stands for, with whether higher is better: the first of these that is measured.

    Args:
        best: a metric, or a value of one.
        names: the metrics.
        also: values that come without a metric.

    Raises:
        UsageError: nothing of that name, or several values at once.
    """
    check_metrics(names, None)
    own = METRICS[best].values if best in names else {}
    if own.get(best) is not None:
        return dict(own)
    every = {key: higher for name in names for key, higher in METRICS[name].values.items()} | also
    if every.get(best) is not None:
        return {best: every[best]}
    allowed = [key for key, higher in every.items() if higher is not None]
    raise UsageError(
        f"eval.best={best} is no single value of eval.metrics=[{','.join(names)}] to choose by"
        f"{did_you_mean(best, allowed)}; allowed: {', '.join(allowed)}"
    )


def check_features(features: Features, images: Images) -> None:
    """Refuse, before they are trained or loaded, features of pictures for points and the reverse. Raises UsageError."""
    if features.points != images.spec.points and not isinstance(features, Pixels):
        what, fitting = ("points", "points") if images.spec.points else ("pictures", "inception")
        raise UsageError(
            f"features={features.name} are not for {images.name}, which are {what}: use features={fitting}"
        )


def use_features(names: Sequence[str]) -> bool:
    """Return whether any of these metrics looks at features; if none does, ``features.Pixels`` will do."""
    return any(each.network for name in names for statistics in METRICS[name].needs.values() for each in statistics)
