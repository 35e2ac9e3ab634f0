"""The metrics by name, and checks of a list of metrics before the first image is drawn."""

from collections.abc import Mapping, Sequence

from gancli import config
from gancli.errors import UsageError, did_you_mean
from gancli.metrics.base import Metric
from gancli.metrics.class_balance import ClassBalance
from gancli.metrics.codes import CodeNats, Perplexity
from gancli.metrics.density_coverage import DensityCoverage
from gancli.metrics.features import Features, Images, Pixels
from gancli.metrics.fid import FID
from gancli.metrics.fid_infinity import FIDInfinity
from gancli.metrics.fid_per_class import FIDPerClass
from gancli.metrics.inception_score import IS
from gancli.metrics.kid import KID
from gancli.metrics.latent import ELBO, IWAE, ActiveUnits
from gancli.metrics.memorisation import Memorisation
from gancli.metrics.modes import Modes
from gancli.metrics.nll import NLL
from gancli.metrics.parzen import Parzen
from gancli.metrics.path_length import PathLength
from gancli.metrics.precision_recall import PrecisionRecall
from gancli.metrics.reconstruction import PSNR, RFID
from gancli.metrics.sharpness import ReconstructionSharpness, Sharpness

_ALL = (
    FID(), IS(), KID(), PrecisionRecall(), DensityCoverage(), FIDInfinity(), FIDPerClass(), ClassBalance(),
    Memorisation(), Parzen(), Modes(), NLL(), ELBO(), IWAE(), ActiveUnits(), PathLength(),
    Perplexity(), CodeNats(), PSNR(), RFID(), Sharpness(), ReconstructionSharpness(),
)  # fmt: skip
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}  # the shipped ones


def metrics_named(names: Sequence[str | Metric], trust: Sequence[str] = ()) -> list[Metric]:
    """Return the metrics of a list, each once.

    Args:
        names: names of shipped metrics, dotted names of classes elsewhere, ``mypackage.scores.Mine``, or metrics
            themselves.
        trust: packages outside gancli whose classes may be instantiated.

    Raises:
        UsageError: the list is empty, a metric is unknown, a class is not trusted, or two metrics have the same name.
    """
    if not names:
        raise UsageError(f"metrics is empty: name one or more of {', '.join(METRICS)}")
    found: dict[str, Metric] = {}
    for each in names:
        metric = _metric(each, trust) if isinstance(each, str) else each
        other = found.get(metric.name) or METRICS.get(metric.name)
        if other is not None and type(other) is not type(metric):
            raise UsageError(f"metrics: {each} has the name of another metric, {metric.name}: rename it")
        found[metric.name] = metric
    return list(found.values())


def _metric(name: str, trust: Sequence[str]) -> Metric:
    if name in METRICS:
        return METRICS[name]
    if "." not in name:
        raise UsageError(f"metrics: no metric {name!r}{did_you_mean(name, METRICS)} (allowed: {', '.join(METRICS)})")
    try:
        return config.instantiate({"_target_": name}, Metric, trust=trust)
    except UsageError as error:
        raise UsageError(f"metrics: {error}") from error


def check_metrics(metrics: Sequence[Metric], n: int | None) -> None:
    """Refuse n images if they are too few for one of the metrics; n=None always passes. Raises UsageError."""
    least = max(metric.least for metric in metrics)
    if n is not None and n < least:
        names = ",".join(metric.name for metric in metrics)
        raise UsageError(f"n={n}: too few images for metrics=[{names}]; use n={least} or more")


def choosing(best: str, metrics: Sequence[Metric], also: Mapping[str, bool]) -> dict[str, bool | None]:
    """Return what ``eval.best`` may stand for, with whether higher is better; the first value measured is used.

    Args:
        best: a metric or one of its values.
        metrics: the metrics that are measured.
        also: values that come without a metric.

    Raises:
        UsageError: the name is unknown, or stands for several values.
    """
    own = next((dict(metric.values) for metric in metrics if metric.name == best), {})
    if own.get(best) is not None:
        return own
    every = {key: higher for metric in metrics for key, higher in metric.values.items()} | dict(also)
    if every.get(best) is not None:
        return {best: every[best]}
    allowed = [key for key, higher in every.items() if higher is not None]
    names = ",".join(metric.name for metric in metrics)
    raise UsageError(
        f"eval.best={best} is not a single value of eval.metrics=[{names}]"
        f"{did_you_mean(best, allowed)}; allowed: {', '.join(allowed)}"
    )


def check_features(features: Features, images: Images) -> None:
    """Refuse features of images for points, and the reverse, before loading or training them. Raises UsageError."""
    if features.points != images.spec.points and not isinstance(features, Pixels):
        what, fitting = ("points", "points") if images.spec.points else ("images", "inception")
        raise UsageError(
            f"features={features.name} do not suit {images.name}, which are {what}: use features={fitting}"
        )


def use_features(metrics: Sequence[Metric]) -> bool:
    """Return whether any of the metrics uses features; if none does, ``features.Pixels`` is enough."""
    return any(each.network for metric in metrics for statistics in metric.needs.values() for each in statistics)
