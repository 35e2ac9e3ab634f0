"""Figures of a search: what matters, where the good values lie, and all trials at a glance."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState

from gancli.config import naming
from gancli.verbs.tune.study import best
from gancli.views import figures

COLOURS = "viridis_r"  # of a score: the better, the darker
LEVELS = 12  # of the contours
BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}  # of values beside an axis
LEAST = 4  # complete trials for importances and contours


def drawn(study: Study, objective: str) -> dict[str, Figure]:
    """Return the figures by name: always ``parallel``; with a few complete trials ``importance`` and ``contour``.

    Args:
        study: has a complete trial.
        objective: name of the value.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    keys = dict(complete[0].distributions)
    found = {"parallel": parallel(study, complete, keys, objective)}
    if len(complete) >= LEAST and len({each.value for each in complete}) > 1:
        weights = get_param_importances(study)
        found["importance"] = importance(weights, objective, len(complete))
        if len(weights) > 1:
            found["contour"] = contour(study, complete, keys, list(weights)[:2], objective)
    return found


def importance(weights: Mapping[str, float], objective: str, number: int) -> Figure:
    """Draw the share of each setting in the variance of the scores, the greatest on top.

    PED-ANOVA: Watanabe et al. 2023, arXiv 2304.10255.
    """
    figure, ((axes,),) = figures.panels(size=(5.2, 1.6 + 0.35 * len(weights)))
    names = list(weights)[::-1]
    axes.barh(range(len(names)), [weights[name] for name in names], color=figures.COLOURS[0])
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, 1)
    figures.label(axes, f"What {objective} depends on", f"share of the variance of {objective}, PED-ANOVA", "")
    figures.source(figure, f"{number} complete trials")
    return figure


def contour(
    study: Study,
    trials: Sequence[FrozenTrial],
    keys: Mapping[str, BaseDistribution],
    two: Sequence[str],
    objective: str,
) -> Figure:
    """Draw the scores over the two most important settings; between the trials they are interpolated linearly."""
    figure, ((axes,),) = figures.panels(size=(5.6, 4.2))
    x, y = (np.array([_place(keys[key], each.params[key]) for each in trials]) for key in two)
    z = np.array([float(each.value or 0.0) for each in trials])
    norm = _norm(z)
    colours = _colours(study)
    if len({*zip(x, y)}) >= LEAST and np.linalg.matrix_rank(np.stack([x - x.mean(), y - y.mean()])) == 2:
        axes.tricontourf(x, y, z, levels=LEVELS, cmap=colours, norm=norm, alpha=0.6)
    axes.scatter(x, y, c=z, cmap=colours, norm=norm, edgecolors="black", linewidths=0.6, label="complete trials")
    top = best(study)
    if top is not None:
        at = [_place(keys[key], top.params[key]) for key in two]
        axes.scatter(*at, marker="*", s=180, color=figures.COLOURS[1], edgecolors="black", label="the best")
    for axis, key in ((axes.xaxis, two[0]), (axes.yaxis, two[1])):
        axis.set_ticks(*_ticks(keys[key]))
    figures.label(axes, f"{objective} over the two settings that matter most", *map(_title(keys), two))
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=f"{objective} on the validation split")
    return figure


def parallel(
    study: Study, trials: Sequence[FrozenTrial], keys: Mapping[str, BaseDistribution], objective: str
) -> Figure:
    """Draw a line per complete trial through its values, an axis per setting, each from its least to its greatest."""
    figure, ((axes,),) = figures.panels(size=(max(4.5, 1.7 * len(keys) + 1.5), 4.0))
    z = np.array([float(each.value or 0.0) for each in trials])
    norm, colours = _norm(z), _colours(study)
    mapped, top = ScalarMappable(norm, colours), best(study)
    for each, colour in zip(trials, mapped.to_rgba(z)):
        heights = [_share(keys[key], each.params[key]) for key in keys]
        line = axes.plot(range(len(keys)), heights, color=colour, alpha=0.7)[0]
        line.set_marker("o" if len(keys) == 1 else "")
        if top is not None and each.number == top.number:
            line.set(linewidth=3.0, zorder=3, alpha=1.0, label=f"the best: trial-{each.number}")
    axes.set_xticks(range(len(keys)), list(map(_title(keys), keys)), fontsize=8, rotation=12)
    axes.set_yticks([])
    axes.set_ylim(-0.08, 1.08)
    for i, distribution in enumerate(keys.values()):
        _scale(axes, i, distribution)
    figures.label(
        axes, f"{objective} of {len(trials)} complete trials", "settings, each over its own range", "", legend=False
    )
    figure.legend(loc="outside lower center", frameon=False)
    figure.colorbar(mapped, ax=axes, label=f"{objective} on the validation split")
    return figure


def _scale(axes: Axes, at: int, distribution: BaseDistribution) -> None:
    """Write the values of an axis beside it."""
    axes.axvline(at, color="0.6", linewidth=0.8, zorder=0)
    for place, text in zip(*_ticks(distribution)):
        height = _height(distribution, place)
        axes.annotate(text, (at, height), (4, 0), textcoords="offset points", fontsize=7, va="center", bbox=BEHIND)


def _place(distribution: BaseDistribution, value: object) -> float:
    """Return where a value lies on a linear axis: its logarithm if it is searched like this, the index of a choice."""
    if isinstance(distribution, CategoricalDistribution):
        return float(distribution.choices.index(value))
    number = float(value)  # type: ignore[arg-type]
    return float(np.log10(number)) if getattr(distribution, "log", False) else number


def _ends(distribution: BaseDistribution) -> tuple[float, float]:
    if isinstance(distribution, CategoricalDistribution):
        return 0.0, float(max(1, len(distribution.choices) - 1))
    low, high = getattr(distribution, "low"), getattr(distribution, "high")  # noqa: B009
    return _place(distribution, low), _place(distribution, high)


def _height(distribution: BaseDistribution, place: float) -> float:
    low, high = _ends(distribution)
    return (place - low) / (high - low)


def _share(distribution: BaseDistribution, value: object) -> float:
    return _height(distribution, _place(distribution, value))


def _ticks(distribution: BaseDistribution) -> tuple[list[float], list[str]]:
    """Return places and their labels: all choices, or the ends and the quarters between them."""
    if isinstance(distribution, CategoricalDistribution):
        return [float(i) for i in range(len(distribution.choices))], [str(each) for each in distribution.choices]
    places = np.linspace(*_ends(distribution), 5).tolist()
    values = [10**place if getattr(distribution, "log", False) else place for place in places]
    return places, [f"{value:.3g}" for value in values]


def _title(keys: Mapping[str, BaseDistribution]):  # type: ignore[no-untyped-def]
    """Return a function from a key to its name on an axis, with the scale where that is logarithmic."""
    short = dict(zip(keys, naming.short(list(keys))))
    return lambda key: short[key] + (" (logarithmic)" if getattr(keys[key], "log", False) else "")


def _norm(z: np.ndarray) -> Normalize:
    """Return the scale of the colours: logarithmic where scores are positive and span more than a factor of ten."""
    low, high = float(z.min()), float(z.max())
    if low == high:
        return Normalize(low - 0.5, high + 0.5)
    return LogNorm(low, high) if low > 0 and high > 10 * low else Normalize(low, high)


def _colours(study: Study) -> str:
    return COLOURS.removesuffix("_r") if study.direction.name == "MINIMIZE" else COLOURS
